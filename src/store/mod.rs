//! Delta tables and the control state; the only module that knows either format.
//!
//! Tables live at `<store>/<schema>/<name>/`: `raw.<system>__<stream>` (pulled rows, live only), `raw.<system>__<stream>__deleted` (last image of
//! deleted rows), contracts and models under their own names, `write.<system>__<outbox>` (write maps), `system.cuts`.
//! What stays true: a pull's rows, its number and its cursor are one commit; a run's tables become visible together.

mod control;
mod cut;
mod delta;
mod error;
mod ledger;
mod stage;
mod upsert;

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use futures::stream::BoxStream;
use object_store::ObjectStore;

use crate::base::time::Instant;
use crate::base::{RunId, TableName};
use crate::project::Project;

pub use control::{Control, Lease, PullRecord, RunOutcome, RunRecord};
pub use error::StoreError;
pub use ledger::{Change, ChangeEvent, ChangeId, ChangeState, Filter, NewChange};

/// Rows on their way in; errors of the reader pass through as they are.
pub type Batches = BoxStream<'static, Result<RecordBatch, Box<dyn std::error::Error + Send + Sync>>>;

/// The tables of one project and its control state.
pub struct Store {
    pub control: Control,
    // object store, root URL, cache of snapshots
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
    pub rows: u64,
    /// Delta's file statistics (JSON).
    pub stats: Option<String>,
}

/// What a pull brings for one stream.
pub struct Landing {
    pub table: TableName,
    /// Ascending number of this stream's pull; the Delta `txn` version. A landing whose number the table already has is a no-op.
    pub pull: i64,
    pub key: Vec<String>,
    /// Whether `batches` is the whole table (rows that are missing were deleted) or only changed rows.
    pub whole: bool,
    /// Lets a whole read remove more than 5 % (and more than 20) of the table's rows; otherwise that is an error, because a source that answers
    /// with half its rows is likelier than one that lost them.
    pub allow_mass_delete: bool,
    /// Instant of the pull; `_deleted_at` of rows that it finds gone.
    pub at: Instant,
    /// Opaque to the store; kept as table property `loopline.cursor` in the same commit. Called after the last batch was read.
    pub cursor: Box<dyn FnOnce() -> Option<String> + Send>,
    pub schema: SchemaRef,
    pub batches: Batches,
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
}

/// A table's name in a serialised manifest.
pub type TableNameText = String;

/// The tables that one complete run published together.
#[derive(Debug, Clone)]
pub struct Cut {
    pub run: RunId,
    pub as_of: Instant,
    pub tables: BTreeMap<TableName, u64>,
}

/// How far the control state is behind the tables.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
pub struct ControlBehind {
    /// Newest run in `system.cuts`.
    pub published: RunId,
    /// Newest published run that the control state knows; 0 if none.
    pub known: RunId,
}

impl Store {
    /// Opens or makes the store and its control state. A publication that was cut short stays invisible until [`Store::roll_forward`].
    /// Reading needs no lease; everything that commits needs one ([`Control::lease`]).
    pub async fn open(_project: &Project) -> Result<Self, StoreError> {
        todo!()
    }

    /// What [`DataFile::path`] is relative to.
    pub fn object_store(&self) -> Arc<dyn ObjectStore> {
        todo!()
    }

    /// The table's latest version; `None` if there is no such table.
    pub async fn latest(&self, _table: &TableName) -> Result<Option<TableVersion>, StoreError> {
        todo!()
    }

    /// The table as of `version`.
    pub async fn at(&self, _table: &TableName, _version: u64) -> Result<TableVersion, StoreError> {
        todo!()
    }

    /// All rows of a version, file by file.
    pub fn read(&self, _table: &TableVersion) -> Batches {
        todo!()
    }

    /// Number that the next landing in `table` must carry: one above the last that was committed, 1 for a new table.
    pub async fn next_pull(&self, _table: &TableName) -> Result<i64, StoreError> {
        todo!()
    }

    /// Finishes publications that were cut short: commits what their manifests name, then their cuts. Marks runs as failed that an earlier holder of
    /// the lease left running. Call it once after taking the lease, before anything else is written. Returns the runs that it published.
    pub async fn roll_forward(&self, _lease: &Lease) -> Result<Vec<RunId>, StoreError> {
        todo!()
    }

    /// Whether the control state is older than the tables (restored from a backup, lost, or another store's): nothing may be written to a system
    /// before `recover` has looked at the targets and called [`Store::adopt_control`].
    pub async fn control_behind(&self) -> Result<Option<ControlBehind>, StoreError> {
        todo!()
    }

    /// Accepts the control state as it is from now on; the last step of `recover`.
    pub async fn adopt_control(&self, _lease: &Lease) -> Result<(), StoreError> {
        todo!()
    }

    /// The ledger as rows of `system.changes`.
    pub fn changes_batch(&self) -> Result<RecordBatch, StoreError> {
        todo!()
    }

    /// Commits one pull of one stream: rows, pull number and cursor in one commit.
    pub async fn land(&self, _landing: Landing) -> Result<Landed, StoreError> {
        todo!()
    }

    /// Writes `batches` as the whole next content of `table`, visible to nobody yet.
    pub async fn stage(&self, _run: RunId, _table: &TableName, _schema: SchemaRef, _batches: Batches, _properties: BTreeMap<String, String>) -> Result<Staged, StoreError> {
        todo!()
    }

    /// Publishes a run: stores the manifest, commits each staged table whose content differs, and last the cut, which names the version of every
    /// table of `staged` and `unchanged`. Killed anywhere, the next [`Store::open`] by a lease holder finishes it.
    pub async fn publish(&self, _run: RunId, _as_of: Instant, _staged: Vec<Staged>, _unchanged: BTreeMap<TableName, u64>) -> Result<Cut, StoreError> {
        todo!()
    }

    /// The last complete cut; `None` before the first run.
    pub async fn cut(&self) -> Result<Option<Cut>, StoreError> {
        todo!()
    }
}
