//! Delta log: snapshots and commits.
//!
//! Every commit carries a transaction (`txn`) by which a retry sees that it is already there. A commit is made against the version that its actions were
//! computed from and is never rebased: a conflict is an error, and the caller computes again.

use std::collections::BTreeMap;
use std::sync::{Arc, MutexGuard, PoisonError};

use arrow::datatypes::SchemaRef;
use chrono::Utc;
use deltalake_core::kernel::transaction::{CommitBuilder, CommitProperties, TableReference};
use deltalake_core::kernel::{Action, Add, Metadata, Protocol, Remove, Transaction};
use deltalake_core::protocol::{DeltaOperation, SaveMode};
use deltalake_core::table::state::DeltaTableState;
use futures::StreamExt;
use object_store::ObjectStoreExt;
use object_store::path::Path;
use serde_json::json;

use crate::base::TableName;

use super::error::BoxError;
use super::file::FILE_BYTES;
use super::place::Place;
use super::{DataFile, Store, StoreError, TableVersion, types};

/// Commits between two checkpoints of the log; a reader parses at most this many commit files.
const CHECKPOINT_EVERY: u32 = 20;
/// Entry of a commit's info by which its writer knows it again: a number could be another hub's, too.
const TOKEN: &str = "loopline.commit";
/// Old versions kept in memory; each is a list of files.
const OLD_VERSIONS: usize = 256;

/// A version of a table as the log has it.
#[derive(Debug)]
pub(super) struct Loaded {
    pub(super) version: TableVersion,
    state: DeltaTableState,
}

/// Snapshots that were loaded before.
#[derive(Debug, Default)]
pub(super) struct Cache {
    latest: BTreeMap<TableName, Arc<Loaded>>,
    old: BTreeMap<(TableName, u64), TableVersion>,
}

/// What a commit changes.
pub(super) struct Commit {
    /// The version that this was computed from; `None` makes the table.
    pub(super) base: Option<Arc<Loaded>>,
    pub(super) schema: SchemaRef,
    /// Added to the table's properties, or in place of those of the same name.
    pub(super) properties: BTreeMap<String, String>,
    pub(super) add: Vec<DataFile>,
    pub(super) remove: Vec<DataFile>,
    /// Whether rows change; a compaction only moves them to other files.
    pub(super) data_change: bool,
    /// Who commits, and the ascending number of this commit.
    pub(super) txn: (String, i64),
}

impl Store {
    /// The latest version, loaded again only if the log has a newer one.
    pub(super) async fn load(&self, table: &TableName) -> Result<Option<Arc<Loaded>>, StoreError> {
        let known = self.cache().latest.get(table).cloned();
        if let Some(known) = known {
            if !self.commit_exists(table, known.version.version + 1).await? {
                return Ok(Some(known));
            }
        } else if !self.table_exists(table).await? {
            return Ok(None);
        }
        let log = self.place.log(table)?;
        let state = DeltaTableState::try_new(&log, None).await.map_err(|e| delta_error(table, "cannot read its log", e))?;
        self.keep(table, state).map(Some)
    }

    pub(super) async fn load_at(&self, table: &TableName, version: u64) -> Result<TableVersion, StoreError> {
        if let Some(latest) = self.load(table).await?.filter(|latest| latest.version.version == version) {
            return Ok(latest.version.clone());
        }
        if let Some(old) = self.cache().old.get(&(table.clone(), version)) {
            return Ok(old.clone());
        }
        let log = self.place.log(table)?;
        let state = DeltaTableState::try_new(&log, Some(version))
            .await
            .map_err(|e| delta_error(table, "cannot read an old version", e))?;
        let loaded = table_version(table, &state)?;
        let mut cache = self.cache();
        if cache.old.len() >= OLD_VERSIONS {
            cache.old.clear();
        }
        cache.old.insert((table.clone(), version), loaded.clone());
        Ok(loaded)
    }

    /// The last number that `app` committed in this table.
    pub(super) async fn txn(&self, loaded: &Loaded, app: &str) -> Result<Option<i64>, StoreError> {
        let table = &loaded.version.table;
        let log = self.place.log(table)?;
        loaded.state.transaction_version(&log, app).await.map_err(|e| delta_error(table, "cannot read its transactions", e))
    }

    /// Commits and returns the new version. After an error the log is looked at: a commit that got through all the same is a success, another
    /// program's in its place a conflict.
    pub(super) async fn commit(&self, table: &TableName, commit: Commit) -> Result<u64, StoreError> {
        self.control.check_lease()?;
        let version = commit.base.as_ref().map_or(0, |base| base.version.version + 1);
        let token = uuid::Uuid::new_v4().to_string();
        let Err(failure) = self.try_commit(table, commit, &token).await else { return Ok(version) };
        self.cache().latest.remove(table);
        match self.read_commit(table, version).await {
            Ok(text) if text.contains(&token) => Ok(version),
            Ok(_) => match failure {
                StoreError::Delta { table, source, .. } => Err(StoreError::Conflict { table, source }),
                failure => Err(failure),
            },
            Err(_) => Err(failure),
        }
    }

    async fn try_commit(&self, table: &TableName, commit: Commit, token: &str) -> Result<(), StoreError> {
        let log = self.place.log(table)?;
        let properties = CommitProperties::default()
            .with_max_retries(0)
            .with_create_checkpoint(true)
            .with_cleanup_expired_logs(Some(false))
            .with_metadata([(TOKEN.to_owned(), token.into())]);
        let operation = match commit.data_change {
            true => DeltaOperation::Write { mode: SaveMode::Append, partition_by: None, predicate: None },
            false => DeltaOperation::Optimize { predicate: None, target_size: FILE_BYTES as i64 },
        };
        let builder = CommitBuilder::from(properties).with_actions(actions(table, &commit)?);
        let base = commit.base.as_ref().map(|base| &base.state as &dyn TableReference);
        let done = builder.build(base, log, operation).await.map_err(|e| delta_error(table, "cannot commit", e))?;
        self.keep(table, done.snapshot())?;
        Ok(())
    }

    fn keep(&self, table: &TableName, state: DeltaTableState) -> Result<Arc<Loaded>, StoreError> {
        let loaded = Arc::new(Loaded { version: table_version(table, &state)?, state });
        self.cache().latest.insert(table.clone(), loaded.clone());
        Ok(loaded)
    }

    fn cache(&self) -> MutexGuard<'_, Cache> {
        // Each change of the cache is one insert or remove: a panic elsewhere leaves it whole.
        self.cache.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The actions of one commit, one JSON object on each line.
    pub(super) async fn read_commit(&self, table: &TableName, version: u64) -> Result<String, StoreError> {
        let path = Path::from(format!("{}/_delta_log/{version:020}.json", Place::table_folder(table)));
        let failed = |source| StoreError::Object { what: "reading", path: path.to_string(), source };
        let bytes = self.place.folder.get(&path).await.map_err(failed)?.bytes().await.map_err(failed)?;
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    }

    async fn commit_exists(&self, table: &TableName, version: u64) -> Result<bool, StoreError> {
        let path = Path::from(format!("{}/_delta_log/{version:020}.json", Place::table_folder(table)));
        match self.place.folder.head(&path).await {
            Ok(_) => Ok(true),
            Err(object_store::Error::NotFound { .. }) => Ok(false),
            Err(source) => Err(StoreError::Object { what: "look-up", path: path.to_string(), source }),
        }
    }

    async fn table_exists(&self, table: &TableName) -> Result<bool, StoreError> {
        let path = Path::from(format!("{}/_delta_log", Place::table_folder(table)));
        match self.place.folder.list(Some(&path)).next().await {
            None | Some(Err(object_store::Error::NotFound { .. })) => Ok(false),
            Some(Ok(_)) => Ok(true),
            Some(Err(source)) => Err(StoreError::Object { what: "listing", path: path.to_string(), source }),
        }
    }
}

/// What the log says of one version, in the store's own words.
fn table_version(table: &TableName, state: &DeltaTableState) -> Result<TableVersion, StoreError> {
    let metadata = state.metadata();
    let folder = Place::table_folder(table);
    let mut files = Vec::new();
    for view in state.log_data().iter() {
        let path = format!("{folder}/{}", view.object_store_path());
        if view.deletion_vector_descriptor().is_some() {
            return Err(StoreError::DeletionVector { table: table.to_string(), path });
        }
        let stats = view.stats();
        let rows = stats.as_deref().and_then(rows_of).or_else(|| view.num_records().map(|rows| rows as u64)).unwrap_or_default();
        files.push(DataFile { path, size_bytes: u64::try_from(view.size()).unwrap_or_default(), rows, stats });
    }
    Ok(TableVersion {
        table: table.clone(),
        version: state.version(),
        schema: types::from_delta(&table.to_string(), metadata.schema_string())?,
        files,
        properties: metadata.configuration().iter().map(|(name, value)| (name.clone(), value.clone())).collect(),
    })
}

fn rows_of(stats: &str) -> Option<u64> {
    serde_json::from_str::<serde_json::Value>(stats).ok()?["numRecords"].as_u64()
}

fn actions(table: &TableName, commit: &Commit) -> Result<Vec<Action>, StoreError> {
    let mut actions = Vec::with_capacity(commit.add.len() + commit.remove.len() + 3);
    if commit.base.is_none() {
        actions.push(Action::Protocol(protocol(table)?));
    }
    if let Some(metadata) = metadata(table, commit)? {
        actions.push(Action::Metadata(metadata));
    }
    actions.push(Action::Txn(Transaction::new(&commit.txn.0, commit.txn.1)));
    let now = Utc::now().timestamp_millis();
    for file in &commit.remove {
        actions.push(Action::Remove(remove(table, file, commit.data_change, now)));
    }
    for file in &commit.add {
        actions.push(Action::Add(add(table, file, commit.data_change, now)));
    }
    Ok(actions)
}

/// The oldest protocol that has all that is used here; every engine reads it.
fn protocol(table: &TableName) -> Result<Protocol, StoreError> {
    serde_json::from_value(json!({ "minReaderVersion": 1, "minWriterVersion": 2 }))
        .map_err(|e| delta_error(table, "cannot state its protocol", e))
}

/// The table's metadata after the commit; `None` if they stay as they are.
fn metadata(table: &TableName, commit: &Commit) -> Result<Option<Metadata>, StoreError> {
    let base = commit.base.as_ref();
    let mut properties = base.map_or_else(first_properties, |base| base.version.properties.clone());
    properties.extend(commit.properties.clone());
    if base.is_some_and(|base| base.version.properties == properties && base.version.schema == commit.schema) {
        return Ok(None);
    }
    let old = base.map(|base| base.state.metadata());
    let value = json!({
        "id": old.map_or_else(|| uuid::Uuid::new_v4().to_string(), |old| old.id().to_string()),
        "name": table.to_string(),
        "description": old.and_then(|old| old.description()),
        "format": { "provider": "parquet", "options": {} },
        "schemaString": types::to_delta(&commit.schema),
        "partitionColumns": [],
        "configuration": properties,
        "createdTime": old.and_then(|old| old.created_time()).unwrap_or_else(|| Utc::now().timestamp_millis()),
    });
    serde_json::from_value(value).map(Some).map_err(|e| delta_error(table, "cannot state its metadata", e))
}

/// The log is trimmed by the hub's own maintenance, below the oldest cut that is kept; no other program may do so earlier.
fn first_properties() -> BTreeMap<String, String> {
    BTreeMap::from([
        ("delta.enableExpiredLogCleanup".into(), "false".into()),
        ("delta.checkpointInterval".into(), CHECKPOINT_EVERY.to_string()),
    ])
}

fn add(table: &TableName, file: &DataFile, data_change: bool, now: i64) -> Add {
    Add {
        path: within(table, file),
        size: i64::try_from(file.size_bytes).unwrap_or(i64::MAX),
        modification_time: now,
        data_change,
        stats: file.stats.clone(),
        ..Default::default()
    }
}

fn remove(table: &TableName, file: &DataFile, data_change: bool, now: i64) -> Remove {
    Remove {
        path: within(table, file),
        data_change,
        deletion_timestamp: Some(now),
        extended_file_metadata: Some(true),
        partition_values: Some(Default::default()),
        size: i64::try_from(file.size_bytes).ok(),
        ..Default::default()
    }
}

/// The file's path from the table's folder, as the log names it.
fn within(table: &TableName, file: &DataFile) -> String {
    let folder = format!("{}/", Place::table_folder(table));
    file.path.strip_prefix(&folder).unwrap_or(&file.path).into()
}

fn delta_error(table: &TableName, what: &'static str, source: impl Into<BoxError>) -> StoreError {
    StoreError::Delta { table: table.to_string(), what, source: source.into() }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{
        ArrayRef, BinaryArray, BooleanArray, Date32Array, Decimal128Array, Float64Array, Int32Array, Int64Array, RecordBatch,
        StringArray, TimestampMicrosecondArray,
    };

    use super::super::testing::*;

    fn every_type(ids: std::ops::Range<i64>, mark: i32) -> RecordBatch {
        let count = ids.clone().count();
        let some = |id: i64| (id % 7 != 3).then_some(id);
        let columns: Vec<(&str, ArrayRef)> = vec![
            ("id", Arc::new(Int64Array::from_iter_values(ids.clone()))),
            ("mark", Arc::new(Int32Array::from(vec![mark; count]))),
            ("name", Arc::new(ids.clone().map(|id| some(id).map(|id| format!("näme {id}"))).collect::<StringArray>())),
            ("share", Arc::new(ids.clone().map(|id| some(id).map(|id| id as f64 / 8.0)).collect::<Float64Array>())),
            ("open", Arc::new(ids.clone().map(|id| some(id).map(|id| id % 2 == 0)).collect::<BooleanArray>())),
            ("due", Arc::new(ids.clone().map(|id| some(id).map(|id| id as i32 - 5)).collect::<Date32Array>())),
            (
                "price",
                Arc::new(
                    ids.clone()
                        .map(|id| some(id).map(i128::from))
                        .collect::<Decimal128Array>()
                        .with_precision_and_scale(18, 6)
                        .unwrap(),
                ),
            ),
            (
                "at",
                Arc::new(
                    ids.clone()
                        .map(|id| some(id).map(|id| id * 1_000_001))
                        .collect::<TimestampMicrosecondArray>()
                        .with_timezone("UTC"),
                ),
            ),
            ("photo", Arc::new(BinaryArray::from_iter_values(ids.map(|id| id.to_le_bytes())))),
        ];
        RecordBatch::try_from_iter_with_nullable(columns.into_iter().map(|(name, column)| (name, column, true))).unwrap()
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn every_type_comes_back_through_a_checkpoint() {
        let mut bench = Bench::new().await;
        for pull in 1..=25 {
            bench.land(pull, every_type(0..20 + pull, (pull % 3) as i32), whole()).await.unwrap();
        }
        let log = bench.folder.path().join("store/raw/erp__orders/_delta_log");
        assert!(log.join("_last_checkpoint").exists());
        bench.restart().await;
        assert_eq!(bench.table(TABLE).await.version, 24);
        let rows = bench.rows(TABLE).await;
        assert_eq!(rows.len(), 45);
        assert!(
            rows.contains(&"8|1|näme 8|1.0|true|1970-01-04|0.000008|1970-01-01T00:00:08.000008Z|0800000000000000|25".to_owned()),
            "{rows:?}"
        );
        assert!(rows.contains(&"10|1|||||||0a00000000000000|25".to_owned()), "{rows:?}");
        assert_eq!(bench.store.at(&name(TABLE), 3).await.unwrap().files.iter().map(|file| file.rows).sum::<u64>(), 24);
        assert!(bench.table(TABLE).await.files.iter().all(|file| file.stats.is_some()));
    }

    /// Polars, deltalake and DuckDB's own Delta reader; `LOOPLINE_TEST_PYTHON` names an interpreter that has them.
    #[tokio::test(flavor = "multi_thread")]
    async fn other_engines_read_the_same() {
        const SCRIPT: &str = r#"
import glob, json, os, sys
path = sys.argv[1]
def rows(columns):
    names = ["id", "mark", "name", "share", "open", "due", "price", "at", "_pull"]
    return sorted([[str(v) for v in row] for row in zip(*[columns[n] for n in names])], key=lambda r: int(r[0]))
def arrow(table):
    return rows({n: table.column(n).to_pylist() for n in table.column_names})
found = {}
def attempt(engine, read):
    try:
        found[engine] = read()
    except Exception as error:
        found[engine] = f"{type(error).__name__}: {error}"[:300]
def polars():
    import polars as pl
    return rows(pl.read_delta(path).to_dict(as_series=False))
def polars_skips():
    import polars as pl
    return rows(pl.scan_delta(path).filter(pl.col("id") >= 0).collect().to_dict(as_series=False))
def deltalake():
    from deltalake import DeltaTable
    import pyarrow
    return arrow(pyarrow.table(DeltaTable(path).to_pyarrow_table()))
def duckdb():
    import duckdb, duckdb_extension_delta
    db = duckdb.connect()
    extension = glob.glob(os.path.dirname(duckdb_extension_delta.__file__) + "/extensions/*/delta.duckdb_extension")[0]
    db.execute(f"load '{extension}'; set timezone = 'UTC'")
    cursor = db.execute(f"select * from delta_scan('{path}') where id >= 0")
    names = [d[0] for d in cursor.description]
    return rows(dict(zip(names, zip(*cursor.fetchall()))))
for engine in (polars, polars_skips, deltalake, duckdb):
    attempt(engine.__name__, engine)
print(json.dumps(found))
"#;
        let Ok(python) = std::env::var("LOOPLINE_TEST_PYTHON") else {
            assert!(std::env::var("CI").is_err(), "LOOPLINE_TEST_PYTHON is not set: run the tests with `bash tests/run`");
            println!("skipped: LOOPLINE_TEST_PYTHON is not set");
            return;
        };
        let bench = Bench::new().await;
        for pull in 1..=25 {
            bench.land(pull, every_type(0..20 + pull, (pull % 3) as i32), whole()).await.unwrap();
        }
        let path = bench.folder.path().join("store/raw/erp__orders");
        let output = std::process::Command::new(python).arg("-c").arg(SCRIPT).arg(&path).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let found: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
        for engine in ["polars", "polars_skips", "deltalake", "duckdb"] {
            let rows = found[engine].as_array().unwrap_or_else(|| panic!("{engine}: {}", found[engine]));
            let (eight, ten) = (&rows[8], &rows[10]);
            assert_eq!(rows.len(), 45, "{engine}");
            assert_eq!(
                (eight[2].as_str(), eight[5].as_str(), eight[8].as_str()),
                (Some("näme 8"), Some("1970-01-04"), Some("25"))
            );
            assert_eq!((eight[6].as_str(), ten[6].as_str()), (Some("0.000008"), Some("None")));
            assert!(eight[7].as_str().unwrap().starts_with("1970-01-01 00:00:08.000008"), "{eight}");
        }
    }
}
