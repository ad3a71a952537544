//! Speaks to systems: reads streams as record batches, applies changes. Knows nothing of the store: `pipeline` commits what is read here.
//!
//! Every value is read exactly or not at all: one that its column's type cannot hold is an error that names the row. Identifiers are always
//! quoted and values bound; where a command takes no parameters (`copy`), only numbers and instants that this module formatted are spliced in.

mod cells;
mod change;
mod declared;
mod error;
mod instant;
mod postgres;
mod sqlite;
mod value;

use std::path::Path;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use async_trait::async_trait;
use futures::stream::BoxStream;
use serde::{Deserialize, Serialize};

use crate::base::{Row, RowChange, Secret};
use crate::project::{Protocol, Stream, System};

pub use error::{ConnectError, Object, Place, Role};
pub use value::{canonical_json, cell_json};

/// Opens `system` for reading: one snapshot, which every stream read through it shares. `root` is what relative addresses start from.
pub async fn source(system: &System, root: &Path) -> Result<Box<dyn Source>, ConnectError> {
    match scheme(system)? {
        Scheme::Sqlite => Ok(Box::new(sqlite::Source::open(system, root).await?)),
        Scheme::Postgres => Ok(Box::new(postgres::Source::open(system, secret(system)?).await?)),
    }
}

/// Opens `system` for writing.
pub async fn target(system: &System, root: &Path) -> Result<Box<dyn Target>, ConnectError> {
    match scheme(system)? {
        Scheme::Sqlite => Ok(Box::new(sqlite::Target::open(system, root).await?)),
        Scheme::Postgres => Ok(Box::new(postgres::Target::open(system, secret(system)?).await?)),
    }
}

/// Which implementation an address means.
enum Scheme {
    Sqlite,
    Postgres,
}

fn scheme(system: &System) -> Result<Scheme, ConnectError> {
    let Protocol::Sql = system.connector.protocol;
    match system.url.split_once(':').map(|(scheme, _)| scheme) {
        Some("sqlite") => Ok(Scheme::Sqlite),
        Some("postgres" | "postgresql") => Ok(Scheme::Postgres),
        _ => Err(ConnectError::Address {
            system: system.name.clone(),
            what: "its address names no database that protocol \"sql\" can speak to".into(),
            hint: "write url = \"sqlite:path\" or \"postgres://user@host:port/database\"".into(),
        }),
    }
}

fn secret(system: &System) -> Result<Option<Secret>, ConnectError> {
    let read = system.secret.as_ref().map(|secret| secret.read()).transpose();
    read.map_err(|source| ConnectError::Secret { system: system.name.clone(), source })
}

/// A system that can be read. Column types: docs of [`Reading::schema`].
#[async_trait]
pub trait Source: Send + Sync {
    /// Reads `stream` in the snapshot: everything, or with `after` the rows whose cursor column is at or after it (inclusive), together with
    /// those that have no cursor yet. More rows may come where the source cannot compare exactly (local time near a clock change).
    /// Checks the declared key (present, not null) and the cursor column (present, of its kind) before the first row.
    ///
    /// One reading at a time: the next `read` waits until the batches of the last one were read to the end or dropped.
    async fn read(&self, stream: &Stream, after: Option<CursorValue>) -> Result<Reading, ConnectError>;
}

/// What one read of a stream yields.
pub struct Reading {
    /// The source's columns in its order, without excluded ones. Only these types: Utf8, Int32, Int64, Float64, Boolean, Date32,
    /// Decimal128(p, s), Timestamp(Microsecond, "UTC"), Binary. Zoneless timestamps were read in the system's zone (the first pass of a
    /// repeated hour; times that a clock change skips are shifted forward by the gap). Every field is
    /// nullable; key columns hold no null all the same.
    pub schema: SchemaRef,
    /// Batches of at most 8,192 rows.
    pub batches: BoxStream<'static, Result<RecordBatch, ConnectError>>,
    /// No row that commits after this snapshot can carry a cursor below this one; the next pull starts no later. `None`: the source gives
    /// no such bound, and only the stream's lookback and its sweeps protect from late commits.
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
    Conflict {
        found: Option<Row>,
    },
    /// The target refuses the change whoever sends it (a constraint, a missing right, a value that the column cannot hold).
    Refused {
        reason: String,
    },
}

/// A system that can be written.
#[async_trait]
pub trait Target: Send + Sync {
    /// Applies `changes` in one transaction, each one only if its row still has `version` and `before` (compare-and-set, by the meaning of the
    /// column's type: decimal 5 is 5.00). An insert whose key exists is a conflict. Outcomes are in the order of `changes`. An error means
    /// that the outcome of all of them is unknown.
    async fn apply(&self, changes: &[RowChange]) -> Result<Vec<Outcome>, ConnectError>;

    /// The rows with these keys as they are now, with `columns`; `None` where there is no such row.
    async fn look(&self, table: &str, columns: &[String], keys: &[Row]) -> Result<Vec<Option<Row>>, ConnectError>;
}
