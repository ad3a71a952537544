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
use super::place::Place;
use super::{DataFile, Store, StoreError, TableVersion, types};

/// Commits between two checkpoints of the log; a reader parses at most this many commit files.
const CHECKPOINT_EVERY: u32 = 20;
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

    /// Commits and returns the new version. After an error the log is looked at: a commit of this very transaction that got through is a success.
    pub(super) async fn commit(&self, table: &TableName, commit: Commit) -> Result<u64, StoreError> {
        self.control.check_lease()?;
        let (app, number) = commit.txn.clone();
        let base = commit.base.as_ref().map(|base| base.version.version);
        let Err(failure) = self.try_commit(table, commit).await else {
            return self
                .load(table)
                .await?
                .map(|now| now.version.version)
                .ok_or_else(|| StoreError::NoTable { table: table.to_string() });
        };
        self.cache().latest.remove(table);
        let Ok(Some(now)) = self.load(table).await else { return Err(failure) };
        if self.txn(&now, &app).await?.is_some_and(|done| done >= number) {
            return Ok(now.version.version);
        }
        match failure {
            StoreError::Delta { table, source, .. } if base != Some(now.version.version) => {
                Err(StoreError::Conflict { table, source })
            }
            failure => Err(failure),
        }
    }

    async fn try_commit(&self, table: &TableName, commit: Commit) -> Result<(), StoreError> {
        let log = self.place.log(table)?;
        let properties =
            CommitProperties::default().with_max_retries(0).with_create_checkpoint(true).with_cleanup_expired_logs(Some(false));
        let operation = DeltaOperation::Write { mode: SaveMode::Append, partition_by: None, predicate: None };
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
        actions.push(Action::Remove(remove(table, file, now)));
    }
    for file in &commit.add {
        actions.push(Action::Add(add(table, file, now)));
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

fn add(table: &TableName, file: &DataFile, now: i64) -> Add {
    Add {
        path: within(table, file),
        size: i64::try_from(file.size_bytes).unwrap_or(i64::MAX),
        modification_time: now,
        data_change: true,
        stats: file.stats.clone(),
        ..Default::default()
    }
}

fn remove(table: &TableName, file: &DataFile, now: i64) -> Remove {
    Remove {
        path: within(table, file),
        data_change: true,
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
