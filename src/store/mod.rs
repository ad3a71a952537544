//! Delta tables and the control state; the only module that knows either format.
//!
//! Tables live at `<store>/<schema>/<name>/`: `raw.<system>__<stream>` (pulled rows, live only), `raw.<system>__<stream>__deleted` (last image of
//! deleted rows), `raw.<system>__<stream>__discarded` (what the stream's contract left out), contracts and models under their own names, `write.<system>__<outbox>` (write maps), `system.cuts`.
//! Pulled and staged files lie in the table's folder: `p-<pull>-….parquet`, `d-<pull>-….parquet` (deleted images), `s-<run>-….parquet`, `c-<run>-….parquet`
//! (cuts), `k-<version>-….parquet` (compacted); beside them `_change_data/` (the change feed of pulled tables) and `deletion_vector_….bin` (rows of files that no longer count). Beside the tables: `system/store.json` (the store's id), `system/manifests/<run>.json` (publications that are not finished), `env/<name>/` (environments).
//! What stays true: a pull's rows, its number and its cursor are one commit; a run's tables become visible together.

mod changes;
mod chosen;
mod compact;
mod compare;
mod control;
mod cut;
mod delta;
mod diff;
mod discard;
mod disk;
mod encode;
#[cfg(test)]
mod engines;
mod env;
mod error;
mod evolve;
mod feed;
mod file;
mod forget;
mod hash;
mod incoming;
mod join;
mod journal;
mod kept;
mod keyed;
mod known;
mod land;
#[cfg(test)]
mod land_model;
mod lease;
mod ledger;
mod limits;
mod merge;
mod old_column;
mod output;
mod place;
mod pulls;
mod pulls_table;
mod replace;
mod retain;
mod rewrite;
#[cfg(test)]
mod rivals;
mod schedules;
mod sort;
mod splice;
mod stage;
mod state;
mod stats;
mod stored;
#[cfg(test)]
mod testing;
mod types;
mod upsert;
mod vector;
mod view;

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::sync::{Arc, Mutex};

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use futures::stream::{BoxStream, StreamExt, TryStreamExt};
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt, PutMode, PutOptions};

use crate::base::time::{Instant, now};
use crate::base::{RunId, TableName};
use crate::project::Project;

pub use control::{Control, RunOutcome, RunRecord};
pub use env::base_row;
pub use error::{StoreError, retry_after};
use place::Place;
pub use pulls::{PullKind, PullRecord};
pub use pulls_table::pulls_schema;

pub use chosen::{Chosen, Compared};
pub use compact::{AFTER_RUN, Bounds, Compacted, THOROUGH};
pub use feed::{CHANGE_TYPE, COMMIT_VERSION, Changed};
pub use forget::Forgotten;
pub use lease::Lease;
pub use ledger::{Change, ChangeEvent, ChangeId, Filter, NewChange};
pub use replace::Replacement;
pub use retain::{Keep, Keeping, Trimmed};
pub use schedules::{Paused, ScheduleState};
pub use state::ChangeState;
pub use types::wider as wider_type;
pub use vector::DeletionVector;
pub use view::View;

/// Rows on their way in; errors of the reader pass through as they are.
pub type Batches = BoxStream<'static, Result<RecordBatch, Box<dyn std::error::Error + Send + Sync>>>;

/// The tables of one project and its control state.
#[derive(Debug)]
pub struct Store {
    pub control: Control,
    place: Place,
    /// An environment's: production's store, which is only read.
    base: Option<Box<Self>>,
    cache: Mutex<delta::Cache>,
    known: known::KnownVersions,
    limits: limits::Limits,
    /// Column of the hub's own key, by system and outbox.
    hub_keys: BTreeMap<(String, String), String>,
}

/// One version of one table: a list of Parquet files. It stays readable while later versions are committed.
#[derive(Debug, Clone)]
pub struct TableVersion {
    pub table: TableName,
    pub version: u64,
    pub schema: SchemaRef,
    pub files: Vec<DataFile>,
    /// Delta table properties, e.g. `loopline.cursor`, `loopline.fingerprint`, `loopline.data`.
    pub properties: BTreeMap<String, String>,
}

/// A Parquet file of a table, committed or staged.
#[derive(Debug, Clone, serde::Serialize, serde::Deserialize)]
pub struct DataFile {
    /// Path from the root of the store's object store ([`Store::object_store`]).
    pub path: String,
    pub size_bytes: u64,
    /// Rows that count: without those that the deletion vector marks.
    pub rows: u64,
    /// Delta's file statistics (JSON); they count deleted rows, too.
    pub stats: Option<String>,
    /// Rows of the file that no longer count.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deletion_vector: Option<DeletionVector>,
}

impl DataFile {
    /// Rows of the file itself, deleted or not.
    pub fn rows_in_file(&self) -> u64 {
        self.rows + self.deletion_vector.as_ref().map_or(0, DeletionVector::rows)
    }

    /// Those of `files` that are not among `others`.
    pub fn beside(files: &[Self], others: &[Self]) -> Vec<Self> {
        let known: BTreeSet<&str> = others.iter().map(|file| file.path.as_str()).collect();
        files.iter().filter(|file| !known.contains(file.path.as_str())).cloned().collect()
    }

    /// Positions in the file of the rows that count, ascending; `None`: all of them.
    pub async fn live(&self, store: &Arc<dyn ObjectStore>) -> Result<Option<Vec<Range<u64>>>, StoreError> {
        let Some(vector) = &self.deletion_vector else { return Ok(None) };
        let deleted = vector.read(store).await?;
        Ok(Some(file::without(std::slice::from_ref(&(0..self.rows_in_file())), &deleted)))
    }
}

/// What a pull brings for one stream.
pub struct Landing {
    pub table: TableName,
    /// Ascending number of this stream's pull; the Delta `txn` version. A landing whose number the table already has is a no-op.
    pub pull: i64,
    pub key: Vec<String>,
    pub scope: LandingScope,
    /// Lets a landing remove more than 5 % (and more than 20) of the table's rows; otherwise that is an error, because a source that answers
    /// with half its rows is likelier than one that lost them.
    pub allow_mass_delete: bool,
    /// Keys that a sweep found gone from the source: batches of the key's columns.
    pub gone: Vec<RecordBatch>,
    /// Whether the source guarantees that keys are unique and not null; otherwise the landing proves it.
    pub is_unique: bool,
    /// Of several rows with one key the last one counts (files in their order; one part only); otherwise they must be equal.
    pub last_wins: bool,
    /// Write rows of old files by deletion vectors instead of writing the files anew.
    pub deletion_vectors: bool,
    /// Instant of the pull; `_deleted_at` of rows that it finds gone.
    pub at: Instant,
    /// Opaque to the store; kept as table property `loopline.cursor` in the same commit. Called after the last batch was read.
    pub cursor: Box<dyn FnOnce() -> Option<String> + Send>,
    /// What of the reading is not among the rows. Called after the last batch was read.
    pub left_out: Box<dyn FnOnce() -> LeftOut + Send>,
    pub schema: SchemaRef,
    /// Disjoint parts of the rows, drained side by side.
    pub parts: Vec<Batches>,
}

impl Landing {
    /// New and changed rows of `table`, merged by `key`; what else is to be said is set afterwards.
    pub fn new(table: TableName, pull: i64, key: Vec<String>, at: Instant, schema: SchemaRef, parts: Vec<Batches>) -> Self {
        Self {
            table,
            pull,
            key,
            scope: LandingScope::Changes,
            allow_mass_delete: false,
            gone: Vec::new(),
            is_unique: false,
            last_wins: false,
            deletion_vectors: false,
            at,
            cursor: Box::new(|| None),
            left_out: Box::new(LeftOut::default),
            schema,
            parts,
        }
    }
}

/// What a pull read and does not land.
#[derive(Debug)]
pub struct LeftOut {
    /// Rows for `…__discarded`, which puts `_pull` and `at` before these columns. Those that it has already are not added again.
    pub entries: Option<RecordBatch>,
    /// Keys of rows that the source has although they are not landed, so they are not gone: batches of the key's columns. `None`: which rows these
    /// are is not known, and no row counts as gone.
    pub keys: Option<Vec<RecordBatch>>,
}

impl Default for LeftOut {
    /// Nothing.
    fn default() -> Self {
        Self { entries: None, keys: Some(Vec::new()) }
    }
}

/// What the rows of a landing are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LandingScope {
    /// The whole table: rows that are missing were deleted.
    Whole,
    /// New and changed rows, merged by key.
    Changes,
    /// Rows of which those with a known key are known to be unchanged.
    Append,
    /// All rows of these files (column `_file`): rows of them that are missing were deleted.
    Files(Vec<String>),
}

/// How the rows of a source differ from those of a table, by key.
#[derive(Debug, Default)]
pub struct Comparison {
    pub source_rows: u64,
    pub table_rows: u64,
    /// Rows whose key the table lacks, whose values differ, whose key the source lacks.
    pub absent: u64,
    pub differing: u64,
    pub gone: u64,
    /// Keys of rows that are absent or differ: batches of the key's columns. Empty if `is_too_different`.
    pub wanted_keys: Vec<RecordBatch>,
    /// Keys of rows that are gone. Empty if `is_too_different`.
    pub gone_keys: Vec<RecordBatch>,
    /// More keys differ than it pays to list: read the whole table.
    pub is_too_different: bool,
    /// By ranges of the key, ascending; together all rows.
    pub ranges: Vec<RangeComparison>,
}

/// A range of keys in a source and a table.
#[derive(Debug, Clone, serde::Serialize)]
pub struct RangeComparison {
    /// Values of the key's first column, as text: the first of the range, and the first after it. `None` is unbounded.
    pub from: Option<String>,
    pub to: Option<String>,
    pub source_rows: u64,
    pub table_rows: u64,
    /// Sums of the rows' 128-bit hashes over the compared columns, in hexadecimal: equal for equal rows in any order.
    pub source_checksum: String,
    pub table_checksum: String,
}

/// What a landing did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize)]
pub struct Landed {
    /// Version that holds the rows; the version before if nothing changed.
    pub version: u64,
    pub rows_read: u64,
    pub inserted: u64,
    pub updated: u64,
    pub deleted: u64,
}

/// A table written but not yet visible.
#[derive(Debug, Clone, serde::Serialize, serde::Deserialize)]
pub struct Staged {
    pub table: TableNameText,
    /// Arrow schema as Delta schema JSON.
    pub schema_json: String,
    pub files: Vec<DataFile>,
    pub rows: u64,
    /// Hash of the rows that does not depend on their order; equal contents make no new version.
    pub content: String,
    /// Table properties to set with the commit (`loopline.fingerprint`, …).
    pub properties: BTreeMap<String, String>,
    /// What differs from the version before, where that is known; otherwise all rows count as written anew.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub edit: Option<Edit>,
}

/// How staged files came about from those of a version.
#[derive(Debug, Clone, serde::Serialize, serde::Deserialize)]
pub struct Edit {
    /// [`Staged::content`] of that version.
    pub base_content: String,
    /// Files of the change feed; empty if rows were only added or whole files removed.
    pub changes: Vec<DataFile>,
}

/// A table's name in a serialised manifest.
pub type TableNameText = String;

/// The tables that one complete run published together.
#[derive(Debug, Clone)]
pub struct Cut {
    pub run: RunId,
    pub as_of: Instant,
    /// Of an environment: its own tables only.
    pub tables: BTreeMap<TableName, u64>,
    /// The cut of production on which an environment's stands.
    pub base: Option<Box<Self>>,
}

/// How far the control state is behind the tables.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
pub struct ControlBehind {
    /// Newest run in `system.cuts`.
    pub published: RunId,
    /// Newest published run that the control state knows; 0 if none.
    pub known: RunId,
}

/// The store's id, made with the store; the control state keeps a copy.
const STORE_ID: &str = "system/store.json";

impl Store {
    /// Opens or makes the store and its control state. A publication that was cut short stays invisible until [`Store::roll_forward`].
    /// Reading needs no lease; everything that commits needs one ([`Control::lease`]).
    pub async fn open(project: &Project) -> Result<Self, StoreError> {
        let writes = |system: &crate::project::System| {
            let of = |write: &crate::project::Write| Some(((system.name.clone(), write.outbox.clone()), write.hub_key.clone()?));
            system.connector.writes.values().filter_map(of).collect::<Vec<_>>()
        };
        let hub_keys: BTreeMap<_, _> = project.systems.values().flat_map(writes).collect();
        let limits = limits::Limits::within(project.memory_limit_bytes);
        let open = |store: &str, control: &std::path::Path| {
            Ok::<_, StoreError>((Place::open(&project.root, store)?, Control::open(&project.root.join(control))?))
        };
        let (mut place, control) = open(&project.store, &project.control)?;
        let mut base = None;
        if let Some(environment) = &project.environment {
            let (under, control) = open(&environment.production_store, &environment.production_control)?;
            place = place.over(&under);
            let production = Self::assemble(under, control, hub_keys.clone()).await?;
            base = Some(Box::new(Self { limits, ..production }));
        }
        let store = Self::assemble(place, control, hub_keys).await?;
        Ok(Self { limits, base, ..store })
    }

    async fn assemble(place: Place, control: Control, hub_keys: BTreeMap<(String, String), String>) -> Result<Self, StoreError> {
        let store = Self {
            control,
            place,
            base: None,
            cache: Mutex::default(),
            known: known::KnownVersions::default(),
            limits: limits::Limits::default(),
            hub_keys,
        };
        store.identify().await?;
        Ok(store)
    }

    /// What [`DataFile::path`] is relative to.
    pub fn object_store(&self) -> Arc<dyn ObjectStore> {
        self.place.folder.clone()
    }

    /// The table's latest version; `None` if there is no such table.
    pub async fn latest(&self, table: &TableName) -> Result<Option<TableVersion>, StoreError> {
        Ok(self.load(table).await?.map(|loaded| loaded.version.clone()))
    }

    /// The table as of `version`.
    pub async fn at(&self, table: &TableName, version: u64) -> Result<TableVersion, StoreError> {
        self.load_at(table, version).await
    }

    /// All rows of a version, file by file, with the version's columns: those that an older file lacks are null.
    pub fn read(&self, table: &TableVersion) -> Batches {
        let (folder, name, schema) = (self.object_store(), table.table.to_string(), table.schema.clone());
        let rows = move |file: DataFile| file::read_file(folder.clone(), name.clone(), &file, schema.clone());
        futures::stream::iter(table.files.clone()).flat_map(rows).map_err(Into::into).boxed()
    }

    /// Whether the control state is older than the tables (restored from a backup, lost, or another store's): nothing may be written to a system
    /// before `recover` has looked at the targets and called [`Store::adopt_control`].
    pub async fn control_behind(&self) -> Result<Option<ControlBehind>, StoreError> {
        let Some(published) = self.newest_run().await? else { return Ok(None) };
        // A cut that is committed while its manifest is still there is known.
        let pending = self.control.manifests()?.into_iter().map(|(run, _)| run).max().unwrap_or(RunId(0));
        let known = self.control.last_published_run()?.max(pending);
        Ok((published > known).then_some(ControlBehind { published, known }))
    }

    /// Accepts the control state as it is from now on; the last step of `recover`.
    pub async fn adopt_control(&self, _lease: &Lease) -> Result<(), StoreError> {
        self.control.check_lease()?;
        if let Some(behind) = self.control_behind().await? {
            self.control.set_ledger_lost(behind.published, now())?;
        }
        match self.newest_run().await? {
            Some(run) => self.control.published(run),
            None => Ok(()),
        }
    }

    /// All tables of the store, by name.
    pub async fn tables(&self) -> Result<Vec<TableName>, StoreError> {
        let folders = |path: Option<Path>| async move {
            let what = path.as_ref().map_or_else(|| "/".into(), Path::to_string);
            let listed = self.place.folder.list_with_delimiter(path.as_ref()).await;
            listed.map(|listed| listed.common_prefixes).map_err(|source| StoreError::Object {
                what: "listing",
                path: what,
                source,
            })
        };
        let mut tables = Vec::new();
        for schema in folders(None).await?.into_iter().filter(|folder| folder.as_ref() != env::FOLDER) {
            for folder in folders(Some(schema.clone())).await? {
                let name = |path: &Path| path.filename().map(str::to_owned);
                let table = name(&schema).zip(name(&folder)).and_then(|(schema, name)| format!("{schema}.{name}").parse().ok());
                tables.extend(table);
            }
        }
        tables.sort();
        Ok(tables)
    }

    async fn newest_run(&self) -> Result<Option<RunId>, StoreError> {
        Ok(self.latest(&cut::cuts_table()).await?.as_ref().and_then(cut::newest_run))
    }

    /// Sees to it that tables and control state belong together, and that no run number is used twice.
    async fn identify(&self) -> Result<(), StoreError> {
        let id = self.store_id().await?;
        match self.control.store_id()? {
            Some(known) if known != id => return Err(StoreError::ControlForeign { path: self.control.path().into() }),
            Some(_) => {}
            None => self.control.set_store_id(&id)?,
        }
        match self.newest_run().await? {
            Some(run) => self.control.raise_run_floor(run),
            None => Ok(()),
        }
    }

    /// The store's id; made up if there is none yet.
    async fn store_id(&self) -> Result<String, StoreError> {
        let path = Path::from(STORE_ID);
        let failed = |what| move |source| StoreError::Object { what, path: STORE_ID.into(), source };
        let id = serde_json::json!({ "id": uuid::Uuid::new_v4().to_string() }).to_string();
        match self.place.folder.head(&path).await {
            Ok(_) => {}
            Err(object_store::Error::NotFound { .. }) => {
                let create = PutOptions { mode: PutMode::Create, ..PutOptions::default() };
                match self.place.folder.put_opts(&path, id.into_bytes().into(), create).await {
                    // Another process was faster; its id counts.
                    Ok(_) | Err(object_store::Error::AlreadyExists { .. }) => {}
                    Err(source) => return Err(failed("writing")(source)),
                }
            }
            Err(source) => return Err(failed("reading")(source)),
        }
        let bytes = self.place.folder.get(&path).await.map_err(failed("reading"))?.bytes().await.map_err(failed("reading"))?;
        let value: serde_json::Value =
            serde_json::from_slice(&bytes).map_err(|source| StoreError::Json { what: STORE_ID.into(), source })?;
        value["id"].as_str().map(Into::into).ok_or_else(|| StoreError::Malformed { what: STORE_ID.into() })
    }
}
