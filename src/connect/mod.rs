//! Speaks to systems: reads streams as record batches, applies changes. Knows nothing of the store: `pipeline` commits what is read here.

mod error;
mod postgres;
mod sqlite;
mod value;

use std::path::Path;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use async_trait::async_trait;
use futures::stream::BoxStream;
use serde::{Deserialize, Serialize};

use crate::base::{Row, RowChange};
use crate::project::{Stream, System};

pub use error::ConnectError;
pub use value::{canonical_json, cell_json};

/// Opens `system` for reading: one snapshot, which every stream read through it shares. `root` is what relative addresses start from.
pub async fn source(_system: &System, _root: &Path) -> Result<Box<dyn Source>, ConnectError> {
    todo!("match on the URL's scheme: sqlite, postgres")
}

/// Opens `system` for writing.
pub async fn target(_system: &System, _root: &Path) -> Result<Box<dyn Target>, ConnectError> {
    todo!()
}

/// A system that can be read. Column types: docs of [`Reading::schema`].
#[async_trait]
pub trait Source: Send + Sync {
    /// Reads `stream` in the snapshot: everything, or with `after` the rows whose cursor column is at or after it (inclusive).
    /// Checks the declared key (present, not null) and the cursor column (present, of its kind) before the first row.
    async fn read(&self, stream: &Stream, after: Option<CursorValue>) -> Result<Reading, ConnectError>;
}

/// What one read of a stream yields.
pub struct Reading {
    /// The source's columns in its order, without excluded ones. Only these types: Utf8, Int32, Int64, Float64, Boolean, Date32,
    /// Decimal128(p, s), Timestamp(Microsecond, "UTC"), Binary. Zoneless timestamps were read in the system's zone.
    pub schema: SchemaRef,
    /// Batches of at most 8,192 rows.
    pub batches: BoxStream<'static, Result<RecordBatch, ConnectError>>,
    /// No row that commits after this snapshot can carry a cursor below this one; the next pull starts no later.
    pub safe_until: Option<CursorValue>,
}

/// A value of a cursor column.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum CursorValue {
    /// Microseconds since 1970-01-01T00:00:00Z.
    Timestamp(i64),
    Integer(i64),
}

/// What became of one change.
#[derive(Debug, Clone, PartialEq)]
pub enum Outcome {
    Applied,
    /// The row is not what was decided from; it was left as it is. `found` is its image now (`None`: gone; for an insert: already there).
    Conflict { found: Option<Row> },
    /// The target refuses the change whoever sends it (a constraint, a missing right).
    Refused { reason: String },
}

/// A system that can be written.
#[async_trait]
pub trait Target: Send + Sync {
    /// Applies `changes` in one transaction, each one only if its row still has `version` and `before` (compare-and-set). An insert whose key exists is a
    /// conflict. Outcomes are in the order of `changes`. An error means that the outcome of all of them is unknown.
    async fn apply(&self, changes: &[RowChange]) -> Result<Vec<Outcome>, ConnectError>;

    /// The rows with these keys as they are now, with `columns`; `None` where there is no such row.
    async fn look(&self, table: &str, columns: &[String], keys: &[Row]) -> Result<Vec<Option<Row>>, ConnectError>;
}
