//! A connector folder: `connector.toml`, one `<schema>.<table>.sql` map for each contract it fills, one `write.<outbox>.sql` for each write.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use chrono_tz::Tz;

use super::SqlFile;
use crate::base::{Operation, TableName};

/// How a product is read and written; shared by every system that runs this product.
#[derive(Debug)]
pub struct Connector {
    /// The folder's name.
    pub name: String,
    pub file: PathBuf,
    pub protocol: Protocol,
    pub time_zone: Option<Tz>,
    pub streams: BTreeMap<String, Stream>,
    /// Keyed by the outbox model's name (`purchase_requests`).
    pub writes: BTreeMap<String, Write>,
    /// Contract → the `select` that fills it. In a map a bare table name is one of this connector's streams.
    pub maps: BTreeMap<TableName, SqlFile>,
}

/// How to speak to a product. The implementations are in `connect`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Protocol {
    /// Whatever database the system's URL names: `sqlite:` or `postgres:`.
    Sql,
}

/// One table or resource of a product that is pulled.
#[derive(Debug, Clone)]
pub struct Stream {
    pub name: String,
    /// The source's own name, `schema.table` or `table`; the stream's name where the TOML is silent.
    pub table: String,
    /// Key columns in the source; never empty.
    pub key: Vec<String>,
    /// Without a cursor every pull reads the whole table and keeps the difference.
    pub cursor: Option<Cursor>,
    /// With a cursor: how often the whole table is read and compared all the same, which finds deletes and silent changes.
    pub sweep_every: Option<Duration>,
    /// Columns to leave out (large, private or useless ones).
    pub exclude: Vec<String>,
}

/// The column that orders changes of a stream.
#[derive(Debug, Clone)]
pub struct Cursor {
    pub field: String,
    pub kind: CursorKind,
    /// Each pull starts this far before the last cursor: seconds for instants, counts for integers.
    pub lookback: i64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum CursorKind {
    Timestamp,
    Integer,
}

/// How a product takes the rows of one outbox model.
#[derive(Debug, Clone)]
pub struct Write {
    /// The outbox model's name, without schema.
    pub outbox: String,
    /// The stream whose source table is written; it is also what the next pull is compared with.
    pub resource: String,
    /// Columns of the resource that find one row; the write map yields all of them. All other columns it yields are fields to set,
    /// except those that start with `_` (`_reason`).
    pub key: Vec<String>,
    /// Column of the resource that stores the hub's own key: a row is the hub's own only if the ledger shows that the hub inserted it.
    /// Inserts and deletes need it; it is one of `key`.
    pub hub_key: Option<String>,
    /// Column that changes with every change of the row; compared before a write. The before-image of the fields is compared as well.
    pub version: Option<String>,
    pub operations: Vec<Operation>,
    /// Condition over the resource's columns under which the hub may still update or delete a row (`status = 'DRAFT'`). A row that no longer
    /// meets it was taken over by a person and is left alone.
    pub editable: Option<String>,
    pub map: SqlFile,
}
