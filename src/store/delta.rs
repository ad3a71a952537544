//! Delta log: snapshots and commits.
//!
//! Every commit carries a transaction (`txn`) by which a retry sees that it is already there. A commit is made against the version that its actions were
//! computed from and is never rebased: a conflict is an error, and the caller computes again.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use arrow::datatypes::SchemaRef;
use chrono::Utc;
use deltalake_core::kernel::transaction::CommitData;
use deltalake_core::kernel::{Action, Add, AddCDCFile, Metadata, Protocol, Remove, Transaction};
use deltalake_core::logstore::CommitOrBytes;
use deltalake_core::protocol::{DeltaOperation, SaveMode};
use deltalake_core::table::state::DeltaTableState;
use deltalake_core::{DeltaTable, DeltaTableError, checkpoints};
use futures::StreamExt;
use object_store::ObjectStoreExt;
use object_store::path::Path;
use serde_json::json;

use crate::base::TableName;

use super::error::BoxError;
use super::file::FILE_BYTES;
use super::place::Place;
use super::{DataFile, DeletionVector, Store, StoreError, TableVersion, types};

/// Commits between two checkpoints of the log; a reader parses at most this many commit files.
const CHECKPOINT_EVERY: u32 = 20;
/// Entry of a commit's info by which its writer knows it again: a number could be another hub's, too.
const TOKEN: &str = "loopline.commit";
/// Old versions kept in memory; each is a list of files.
const OLD_VERSIONS: usize = 256;

/// Table properties by which other engines know what a table uses.
const CHANGE_FEED: &str = "delta.enableChangeDataFeed";
const DELETION_VECTORS: &str = "delta.enableDeletionVectors";
/// What a table with deletion vectors uses of the protocol.
const READER_FEATURES: [&str; 1] = ["deletionVectors"];
const WRITER_FEATURES: [&str; 4] = ["appendOnly", "invariants", "changeDataFeed", "deletionVectors"];

/// A version of a table as the log has it.
#[derive(Debug)]
pub(super) struct Loaded {
    pub(super) version: TableVersion,
    protocol: Protocol,
    metadata: Metadata,
    /// As it was read from the log; `None` for a version that was committed here, which nobody needs to read.
    state: Option<DeltaTableState>,
    /// The last number that each writer committed, of those that were asked for or committed here: to find one, the log is read.
    numbers: Mutex<Numbers>,
}

type Numbers = HashMap<String, Option<i64>>;

impl Loaded {
    /// What the log says of one version, in the store's own words.
    fn read(table: &TableName, state: DeltaTableState) -> Result<Self, StoreError> {
        let version = table_version(table, &state)?;
        let (protocol, metadata) = (state.protocol().clone(), state.metadata().clone());
        Ok(Self { version, protocol, metadata, state: Some(state), numbers: Mutex::default() })
    }

    /// What `commit` makes of its base.
    fn after(table: &TableName, commit: Commit, protocol: Protocol, metadata: Metadata) -> Result<Self, StoreError> {
        let base = commit.base.as_ref().map(|base| &base.version);
        let stayed = base.map_or_else(Vec::new, |base| DataFile::beside(&base.files, &commit.remove));
        let version = TableVersion {
            table: table.clone(),
            version: commit.version(),
            schema: types::from_delta(&table.to_string(), metadata.schema_string())?,
            files: [commit.add, stayed].concat(),
            properties: properties_of(&metadata),
        };
        let mut numbers = commit.base.as_ref().map(|base| base.numbers().clone()).unwrap_or_default();
        numbers.insert(commit.txn.0, Some(commit.txn.1));
        Ok(Self { version, protocol, metadata, state: None, numbers: Mutex::new(numbers) })
    }

    fn numbers(&self) -> MutexGuard<'_, Numbers> {
        self.numbers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Snapshots that were loaded before.
#[derive(Debug, Default)]
pub(super) struct Cache {
    latest: BTreeMap<TableName, Arc<Loaded>>,
    old: BTreeMap<(TableName, u64), TableVersion>,
}

impl Cache {
    fn get(&self, table: &TableName, version: u64) -> Option<TableVersion> {
        let latest = self.latest.get(table).map(|latest| &latest.version).filter(|latest| latest.version == version);
        latest.or_else(|| self.old.get(&(table.clone(), version))).cloned()
    }
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
    /// Files of the change feed ([`super::feed::Feed`]). If there are any, they say all that changes.
    pub(super) changes: Vec<DataFile>,
    /// Whether rows change; a compaction only moves them to other files.
    pub(super) data_change: bool,
    /// Who commits, and the ascending number of this commit.
    pub(super) txn: (String, i64),
}

impl Commit {
    /// The version that it makes.
    fn version(&self) -> u64 {
        self.base.as_ref().map_or(0, |base| base.version.version + 1)
    }
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
        let loaded = Arc::new(Loaded::read(table, state)?);
        self.cache().latest.insert(table.clone(), loaded.clone());
        Ok(Some(loaded))
    }

    pub(super) async fn load_at(&self, table: &TableName, version: u64) -> Result<TableVersion, StoreError> {
        if let Some(cached) = self.cache().get(table, version) {
            return Ok(cached);
        }
        if let Some(known) = self.known(table, version).await {
            return Ok(known);
        }
        if let Some(latest) = self.load(table).await?.filter(|latest| latest.version.version == version) {
            return Ok(latest.version.clone());
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
        let known = loaded.numbers().get(app).copied();
        if let Some(number) = known {
            return Ok(number);
        }
        let number = self.read_txn(loaded, app).await?;
        loaded.numbers().insert(app.to_owned(), number);
        Ok(number)
    }

    async fn read_txn(&self, loaded: &Loaded, app: &str) -> Result<Option<i64>, StoreError> {
        let table = &loaded.version.table;
        let failed = |e: DeltaTableError| delta_error(table, "cannot read its transactions", e);
        let log = self.place.log(table)?;
        // The state reads on in the log files that it was loaded from, and another hub may have removed them since.
        if let Some(state) = &loaded.state
            && let Ok(number) = state.transaction_version(&log, app).await
        {
            return Ok(number);
        }
        let state = DeltaTableState::try_new(&log, Some(loaded.version.version)).await.map_err(failed)?;
        state.transaction_version(&log, app).await.map_err(failed)
    }

    /// Forgets what is known of a table whose log files were removed.
    pub(super) fn forget_snapshots(&self, table: &TableName) {
        let mut cache = self.cache();
        cache.latest.remove(table);
        cache.old.retain(|(of, _), _| of != table);
        self.known.forget(table);
    }

    /// Commits and returns the new version. After an error the log is looked at: a commit that got through all the same is a success, another
    /// program's in its place a conflict.
    pub(super) async fn commit(&self, table: &TableName, commit: Commit) -> Result<u64, StoreError> {
        self.control.check_lease()?;
        let version = commit.version();
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

    /// Writes the log entry itself: delta-rs' own way to commit, built without DataFusion, refuses tables with a change feed, because their writers
    /// must also know constraints and generated columns, of which there are none here; and it looks for conflicts to get over, which is unwanted.
    async fn try_commit(&self, table: &TableName, commit: Commit, token: &str) -> Result<(), StoreError> {
        let failed = |e: DeltaTableError| delta_error(table, "cannot commit", e);
        let log = self.place.log(table)?;
        let version = commit.version();
        let operation = match commit.data_change {
            true => DeltaOperation::Write { mode: SaveMode::Append, partition_by: None, predicate: None },
            false => DeltaOperation::Optimize { predicate: None, target_size: FILE_BYTES as i64 },
        };
        let properties = properties(table, &commit);
        let protocol = protocol(table, &commit, &properties)?;
        let metadata = metadata(table, &commit, properties)?;
        let actions = actions(table, &commit, &protocol, &metadata);
        let entry = CommitData::new(actions, operation, HashMap::from([(TOKEN.to_owned(), token.into())]), Vec::new());
        let bytes = entry.get_bytes().map_err(|e| failed(e.into()))?;
        let written = log.write_commit_entry(version, CommitOrBytes::LogBytes(bytes), uuid::Uuid::new_v4()).await;
        written.map_err(|e| failed(e.into()))?;
        if (version + 1).is_multiple_of(CHECKPOINT_EVERY.into()) {
            let mut at = DeltaTable::new(log.clone());
            at.state = Some(DeltaTableState::try_new(&log, Some(version)).await.map_err(failed)?);
            checkpoints::create_checkpoint(&at, None).await.map_err(failed)?;
        }
        let loaded = Arc::new(Loaded::after(table, commit, protocol, metadata)?);
        self.cache().latest.insert(table.clone(), loaded);
        Ok(())
    }

    /// The latest version as the log alone has it, and that which is remembered.
    #[cfg(test)]
    pub(super) async fn read_and_remembered(&self, table: &TableName) -> [String; 2] {
        let remembered = self.load(table).await.unwrap().unwrap();
        let state = DeltaTableState::try_new(&self.place.log(table).unwrap(), None).await.unwrap();
        let read = Loaded::read(table, state).unwrap();
        assert!(read.protocol == remembered.protocol && read.metadata == remembered.metadata);
        [&read, &remembered].map(|loaded| format!("{:#?}", loaded.version))
    }

    fn cache(&self) -> MutexGuard<'_, Cache> {
        // Each change of the cache is one insert or remove: a panic elsewhere leaves it whole.
        self.cache.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The actions of one commit, one JSON object on each line.
    pub(super) async fn read_commit(&self, table: &TableName, version: u64) -> Result<String, StoreError> {
        let path = Place::commit_path(table, version);
        let failed = |source| StoreError::Object { what: "reading", path: path.to_string(), source };
        let bytes = self.place.folder.get(&path).await.map_err(failed)?.bytes().await.map_err(failed)?;
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    }

    async fn commit_exists(&self, table: &TableName, version: u64) -> Result<bool, StoreError> {
        let path = Place::commit_path(table, version);
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

/// A version of the log in the store's own words.
fn table_version(table: &TableName, state: &DeltaTableState) -> Result<TableVersion, StoreError> {
    let features = state.protocol().reader_features().unwrap_or_default();
    if let Some(unknown) = features.iter().find(|feature| !READER_FEATURES.contains(&feature.to_string().as_str())) {
        return Err(delta_error(table, "it was changed to use what loopline does not know", unknown.to_string()));
    }
    let metadata = state.metadata();
    let folder = Place::table_folder(table);
    let mut files = Vec::new();
    for view in state.log_data().iter() {
        let path = format!("{folder}/{}", view.object_store_path());
        let deletion_vector = view.deletion_vector_descriptor().map(|found| DeletionVector::of(table, found)).transpose()?;
        let stats = view.stats();
        let rows = stats.as_deref().and_then(rows_of).or_else(|| view.num_records().map(|rows| rows as u64)).unwrap_or_default();
        let rows = rows.saturating_sub(deletion_vector.as_ref().map_or(0, DeletionVector::rows));
        files.push(DataFile { path, size_bytes: u64::try_from(view.size()).unwrap_or_default(), rows, stats, deletion_vector });
    }
    Ok(TableVersion {
        table: table.clone(),
        version: state.version(),
        schema: types::from_delta(&table.to_string(), metadata.schema_string())?,
        files,
        properties: properties_of(metadata),
    })
}

fn properties_of(metadata: &Metadata) -> BTreeMap<String, String> {
    metadata.configuration().iter().map(|(name, value)| (name.clone(), value.clone())).collect()
}

fn rows_of(stats: &str) -> Option<u64> {
    serde_json::from_str::<serde_json::Value>(stats).ok()?["numRecords"].as_u64()
}

fn actions(table: &TableName, commit: &Commit, protocol: &Protocol, metadata: &Metadata) -> Vec<Action> {
    let mut actions = Vec::with_capacity(commit.add.len() + commit.remove.len() + commit.changes.len() + 3);
    let base = commit.base.as_ref();
    if base.is_none_or(|base| base.protocol != *protocol) {
        actions.push(Action::Protocol(protocol.clone()));
    }
    if base.is_none_or(|base| base.metadata != *metadata) {
        actions.push(Action::Metadata(metadata.clone()));
    }
    actions.push(Action::Txn(Transaction::new(&commit.txn.0, commit.txn.1)));
    let now = Utc::now().timestamp_millis();
    actions.extend(commit.remove.iter().map(|file| Action::Remove(remove(table, file, commit.data_change, now))));
    actions.extend(commit.add.iter().map(|file| Action::Add(add(table, file, commit.data_change, now))));
    actions.extend(commit.changes.iter().map(|file| Action::Cdc(change(table, file))));
    actions
}

/// The table's properties after the commit. What a table needs of Delta's features is set by what is committed, so that older tables get it, too.
fn properties(table: &TableName, commit: &Commit) -> BTreeMap<String, String> {
    let mut properties = commit.base.as_ref().map_or_else(first_properties, |base| base.version.properties.clone());
    properties.extend(commit.properties.clone());
    if table.schema == "raw" && !table.name.ends_with("__deleted") || !commit.changes.is_empty() {
        properties.insert(CHANGE_FEED.into(), "true".into());
    }
    if commit.add.iter().any(|file| file.deletion_vector.is_some()) {
        properties.insert(DELETION_VECTORS.into(), "true".into());
    }
    properties
}

/// The table's protocol after the commit: the oldest one that has all that is used here, so that every engine reads the table.
fn protocol(table: &TableName, commit: &Commit, properties: &BTreeMap<String, String>) -> Result<Protocol, StoreError> {
    let uses = |name: &str| properties.get(name).is_some_and(|value| value == "true");
    let wanted = if uses(DELETION_VECTORS) {
        json!({ "minReaderVersion": 3, "minWriterVersion": 7, "readerFeatures": READER_FEATURES, "writerFeatures": WRITER_FEATURES })
    } else if uses(CHANGE_FEED) {
        json!({ "minReaderVersion": 1, "minWriterVersion": 4 })
    } else {
        json!({ "minReaderVersion": 1, "minWriterVersion": 2 })
    };
    let wanted: Protocol = serde_json::from_value(wanted).map_err(|e| delta_error(table, "cannot state its protocol", e))?;
    let base = commit.base.as_ref().map(|base| &base.protocol);
    let has_all = base.filter(|base| base.min_writer_version() >= wanted.min_writer_version());
    Ok(has_all.cloned().unwrap_or(wanted))
}

/// The table's metadata after the commit.
fn metadata(table: &TableName, commit: &Commit, properties: BTreeMap<String, String>) -> Result<Metadata, StoreError> {
    let base = commit.base.as_ref();
    if let Some(base) = base.filter(|base| base.version.properties == properties && base.version.schema == commit.schema) {
        return Ok(base.metadata.clone());
    }
    let old = base.map(|base| &base.metadata);
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
    serde_json::from_value(value).map_err(|e| delta_error(table, "cannot state its metadata", e))
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
        deletion_vector: file.deletion_vector.as_ref().map(|vector| vector.descriptor().clone()),
        ..Default::default()
    }
}

fn remove(table: &TableName, file: &DataFile, data_change: bool, now: i64) -> Remove {
    Remove {
        path: within(table, file),
        data_change,
        deletion_timestamp: Some(now),
        deletion_vector: file.deletion_vector.as_ref().map(|vector| vector.descriptor().clone()),
        extended_file_metadata: Some(true),
        partition_values: Some(Default::default()),
        size: i64::try_from(file.size_bytes).ok(),
        ..Default::default()
    }
}

fn change(table: &TableName, file: &DataFile) -> AddCDCFile {
    AddCDCFile { path: within(table, file), size: i64::try_from(file.size_bytes).unwrap_or(i64::MAX), ..Default::default() }
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
    use super::super::testing::*;

    #[tokio::test(flavor = "multi_thread")]
    async fn every_type_comes_back_through_a_checkpoint() {
        let mut bench = Bench::new().await;
        for pull in 1..=25 {
            bench.land(pull, every_type(0..20 + pull, (pull % 3) as i32), whole()).await.unwrap();
            bench.check_memory().await;
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

    #[tokio::test(flavor = "multi_thread")]
    async fn an_older_table_gets_what_it_lacks() {
        let mut bench = Bench::new().await;
        let log = |version| bench.folder.path().join(format!("store/raw/erp__orders/_delta_log/{version:020}.json"));
        let (first, second) = (log(0), log(1));
        bench.land(1, orders(&[(1, "a")]), whole()).await.unwrap();
        let text = std::fs::read_to_string(&first).unwrap();
        let older = text.replace("\"minWriterVersion\":4", "\"minWriterVersion\":2").replace("delta.enableChangeDataFeed", "x.y");
        assert!(older.matches("\"minWriterVersion\":2").count() == 1 && older.contains("x.y"), "{text}");
        std::fs::write(&first, older).unwrap();
        bench.restart().await;
        bench.land(2, orders(&[(1, "b")]), whole()).await.unwrap();
        bench.check_memory().await;
        let text = std::fs::read_to_string(&second).unwrap();
        assert!(text.contains("\"minReaderVersion\":1,\"minWriterVersion\":4"), "{text}");
        assert!(text.contains("\"delta.enableChangeDataFeed\":\"true\""), "{text}");
        bench.restart().await;
        assert_eq!(bench.rows(TABLE).await, ["1|b|2"]);
    }
}
