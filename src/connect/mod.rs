//! Speaks to systems: reads streams as record batches, applies changes. Knows nothing of the store: `pipeline` commits what is read here.
//!
//! Every value is read exactly or not at all: one that its column's type cannot hold is an error that names the row. Identifiers are always
//! quoted and values bound; where a command takes no parameters (`copy`), only numbers and instants that this module formatted are spliced in.

mod cells;
mod change;
mod chosen;
mod declared;
mod error;
mod files;
mod instant;
mod mysql;
mod postgres;
mod sqlite;
mod task;
mod value;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use async_trait::async_trait;
use futures::StreamExt;
use futures::stream::BoxStream;
use serde::{Deserialize, Serialize};

use crate::base::{Row, RowChange, Secret};
use crate::project::{Protocol, Stream, System};

pub use crate::base::Retry;
pub use error::{ConnectError, Object, Place, Role};
pub use value::{canonical_json, cell_json};

/// Opens `system` for reading: one snapshot, which every stream read through it shares. `root` is what relative addresses start from.
pub async fn source(system: &System, root: &Path) -> Result<Box<dyn Source>, ConnectError> {
    match scheme(system)? {
        Scheme::Sqlite => Ok(Box::new(sqlite::Source::open(system, root).await?)),
        Scheme::Postgres => Ok(Box::new(postgres::Source::open(system, secret(system)?).await?)),
        Scheme::Mysql => Ok(Box::new(mysql::Source::open(system, secret(system)?).await?)),
        Scheme::Files => Ok(Box::new(files::Source::open(system, root)?)),
    }
}

/// Opens `system` for writing.
pub async fn target(system: &System, root: &Path) -> Result<Box<dyn Target>, ConnectError> {
    match scheme(system)? {
        Scheme::Sqlite => Ok(Box::new(sqlite::Target::open(system, root).await?)),
        Scheme::Postgres => Ok(Box::new(postgres::Target::open(system, secret(system)?).await?)),
        Scheme::Mysql => Ok(Box::new(mysql::Target::open(system, secret(system)?).await?)),
        Scheme::Files => Err(ConnectError::Address {
            system: system.name.clone(),
            what: "files cannot be written".into(),
            hint: "remove the [write.…] sections from its connector.toml".into(),
        }),
    }
}

/// Which implementation an address means.
enum Scheme {
    Sqlite,
    Postgres,
    Mysql,
    Files,
}

fn scheme(system: &System) -> Result<Scheme, ConnectError> {
    if system.connector.protocol == Protocol::Files {
        return Ok(Scheme::Files);
    }
    match system.url.split_once(':').map(|(scheme, _)| scheme) {
        Some("sqlite") => Ok(Scheme::Sqlite),
        Some("postgres" | "postgresql") => Ok(Scheme::Postgres),
        Some("mysql" | "mariadb") => Ok(Scheme::Mysql),
        _ => Err(ConnectError::Address {
            system: system.name.clone(),
            what: "its address names no database that protocol \"sql\" can speak to".into(),
            hint: "write url = \"sqlite:path\", \"postgres://user@host:port/database\" or \"mysql://user@host:port/database\""
                .into(),
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
    /// Reads `extent` of `stream` in the snapshot. Checks the declared key (present, not null) and the cursor column (present, of its kind)
    /// before the first row.
    ///
    /// One reading at a time: the next `read` waits until the parts of the last one were read to the end or dropped.
    async fn read(&self, stream: &Stream, extent: Extent) -> Result<Reading, ConnectError>;
}

/// What of a stream is read.
#[derive(Debug, Clone)]
pub enum Extent {
    /// Every row.
    Whole,
    /// Rows whose cursor column is at or after this (inclusive), together with those that have no cursor yet. More rows may come where the
    /// source cannot compare exactly (local time near a clock change).
    Since(CursorValue),
    /// Of every row only these columns, for a sweep: the key's and those that tell its version.
    Columns(Vec<String>),
    /// The rows with these keys: batches of the key's columns, in the key's order, of the types that a reading has.
    Keys(Vec<RecordBatch>),
    /// Rows of the files that are not among these (path → file as it was taken); streams of files only.
    NewFiles(Arc<BTreeMap<String, SourceFile>>),
}

impl Extent {
    /// The cursor that rows are read from.
    pub fn after(&self) -> Option<CursorValue> {
        match self {
            Self::Since(after) => Some(*after),
            _ => None,
        }
    }
}

/// A file of a stream of files; one whose size or ETag differs is another file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SourceFile {
    /// From the root of the system's address.
    pub path: String,
    pub size_bytes: u64,
    pub etag: Option<String>,
    /// Microseconds since 1970-01-01T00:00:00Z.
    pub modified: i64,
}

/// What one read of a stream yields.
pub struct Reading {
    /// The source's columns in its order, without excluded ones. Only these types: Utf8, Int32, Int64, Float64, Boolean, Date32,
    /// Decimal128(p, s), Timestamp(Microsecond, "UTC"), Binary. Zoneless timestamps were read in the system's zone (the first pass of a
    /// repeated hour; times that a clock change skips are shifted forward by the gap). Every field is
    /// nullable; key columns hold no null all the same.
    pub schema: SchemaRef,
    /// Disjoint parts that together are the reading, to be drained side by side; batches of at most 8,192 rows.
    pub parts: Vec<Part>,
    /// No row that commits after this snapshot can carry a cursor below this one; the next pull starts no later. `None`: the source gives
    /// no such bound, and only the stream's lookback and its sweeps protect from late commits.
    pub safe_until: Option<CursorValue>,
    /// Whether the source itself guarantees that no two rows have one key (a primary key, a unique constraint over columns without nulls).
    pub is_unique: bool,
    /// Rows to expect, by the source's own statistics: for progress only.
    pub rows_expected: Option<u64>,
    /// Files whose rows these are; streams of files only.
    pub files: Vec<SourceFile>,
    /// Rows and values that the stream's contract leaves out, complete once all parts have ended.
    pub discards: Discards,
}

impl Reading {
    /// All parts, one after the other.
    pub fn rows(self) -> Part {
        futures::stream::iter(self.parts).flatten().boxed()
    }
}

/// Batches of one part of a reading.
pub type Part = BoxStream<'static, Result<RecordBatch, ConnectError>>;

/// Where the parts of a reading note what they leave out; clones share it.
#[derive(Debug, Clone, Default)]
pub struct Discards(Arc<Mutex<Kept>>);

#[derive(Debug, Default)]
struct Kept {
    list: Vec<Discard>,
    count: usize,
    bytes: usize,
}

/// Discards of one reading: more are no exceptions any more, and all are in memory until the reading ends.
const DISCARDS_MAX: usize = 100_000;
const DISCARD_BYTES_MAX: usize = 64 << 20;

/// A row, or one value of it, that a stream's contract leaves out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Discard {
    /// `id=5, line=2`.
    pub key: String,
    pub column: String,
    /// What is wrong with the value.
    pub reason: String,
    /// The value, or as much of it as is fit to show.
    pub value: String,
    /// The whole row as a JSON object where the row was left out, `None` where only the value was.
    pub row: Option<String>,
}

impl Discards {
    /// Keeps a discard; `false` where there are so many that the reading must end.
    #[must_use]
    pub fn note(&self, discard: Discard) -> bool {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        kept.count += 1;
        kept.bytes +=
            discard.key.len() + discard.reason.len() + discard.value.len() + discard.row.as_ref().map_or(0, String::len);
        kept.list.push(discard);
        kept.count <= DISCARDS_MAX && kept.bytes <= DISCARD_BYTES_MAX
    }

    /// What was noted so far; the list is empty afterwards.
    pub fn take(&self) -> Vec<Discard> {
        std::mem::take(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner).list)
    }
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
