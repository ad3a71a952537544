//! Tables of the demo products and how their rows get into a database.

pub mod copy;
pub mod ddl;
pub mod mysql;
pub mod postgres;
pub mod sqlite;
mod text;

use std::borrow::Cow;

use async_trait::async_trait;
use chrono::{DateTime, Utc};

use self::copy::{Copy, CopyBuffer};
use super::DemoError;
use super::calendar::Seconds;
use super::plant::DayNo;

/// What a column holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Text,
    Int,
    /// A number that the database gives to a row that comes without; the table's only key column.
    Serial,
    /// Precision, scale.
    Dec(u8, u8),
    Date,
    /// An instant as clocks on the wall show it, without zone (Europe/Berlin).
    Local,
    /// An instant in UTC.
    Zoned,
}

/// The column that tells when a row changed, kept by triggers. It always grows: never below the plant's clock, never below any other row's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stamp {
    Zoned(&'static str),
    Local(&'static str),
    /// Milliseconds since 1970-01-01T00:00:00Z.
    Millis(&'static str),
    /// A number of its own.
    Version(&'static str),
}

impl Stamp {
    pub fn column(self) -> &'static str {
        match self {
            Self::Zoned(name) | Self::Local(name) | Self::Millis(name) | Self::Version(name) => name,
        }
    }

    pub fn kind(self) -> Kind {
        match self {
            Self::Zoned(_) => Kind::Zoned,
            Self::Local(_) => Kind::Local,
            Self::Millis(_) | Self::Version(_) => Kind::Int,
        }
    }
}

/// A table of a product. The stamp's column comes last, after `columns`.
#[derive(Debug)]
pub struct Table {
    pub name: &'static str,
    pub columns: &'static [(&'static str, Kind)],
    pub key: &'static [&'static str],
    pub stamp: Option<Stamp>,
    /// Columns that people and the hub set: the simulation fills them once and then leaves them.
    pub keep: &'static [&'static str],
    /// What a column gets when a row comes without: a literal in SQL.
    pub defaults: &'static [(&'static str, &'static str)],
}

/// A cell.
#[derive(Debug, Clone)]
pub enum Value<'a> {
    Null,
    Text(Cow<'a, str>),
    Int(i64),
    /// Unscaled number, scale.
    Dec(i64, u8),
    Day(DayNo),
    At(Seconds),
}

impl From<String> for Value<'_> {
    fn from(text: String) -> Self {
        Self::Text(Cow::Owned(text))
    }
}

impl<'a> From<&'a str> for Value<'a> {
    fn from(text: &'a str) -> Self {
        Self::Text(Cow::Borrowed(text))
    }
}

impl From<i64> for Value<'_> {
    fn from(number: i64) -> Self {
        Self::Int(number)
    }
}

impl From<u32> for Value<'_> {
    fn from(number: u32) -> Self {
        Self::Int(i64::from(number))
    }
}

impl<'a, T: Into<Value<'a>>> From<Option<T>> for Value<'a> {
    fn from(value: Option<T>) -> Self {
        value.map_or(Value::Null, Into::into)
    }
}

/// Takes the rows of one product, table by table.
pub trait Sink {
    /// The rows that follow are of `table`.
    fn table(&mut self, table: &'static Table) -> Result<(), DemoError>;
    /// One row: its columns without the stamp, and when it changed.
    fn row(&mut self, changed: Seconds, values: &[Value<'_>]) -> Result<(), DemoError>;
    /// The row with this key is gone; no error where there is none.
    fn remove(&mut self, key: &[Value<'_>]) -> Result<(), DemoError>;
}

/// One product's tables on a server, inside one transaction until they are committed (where the server's `create` can be in one).
#[async_trait]
pub trait Server: Send {
    /// Drops and makes the schema with empty `tables`.
    async fn create(&mut self, schema: &str, tables: &[&'static Table]) -> Result<(), DemoError>;
    async fn set_clock(&mut self, now: DateTime<Utc>) -> Result<(), DemoError>;
    /// Copies rows into empty tables.
    async fn load(&mut self, copies: &[Copy]) -> Result<(), DemoError>;
    /// Adds and replaces rows, and deletes those that are gone.
    async fn merge(&mut self, copies: &[Copy]) -> Result<(), DemoError>;
    /// Adds indexes and triggers to `tables`; numbers that the database gives go on behind those that were loaded.
    async fn finish(&mut self, tables: &[&'static Table]) -> Result<(), DemoError>;
    /// All rows of a query, each cell as text.
    async fn query(&mut self, table: &str, sql: &str) -> Result<Vec<Vec<Option<String>>>, DemoError>;
    async fn commit(self: Box<Self>) -> Result<(), DemoError>;

    /// The highest row version of each table that has one, to go on from.
    async fn buffer(&mut self, tables: &[&'static Table]) -> Result<CopyBuffer, DemoError> {
        let mut buffer = CopyBuffer::default();
        for table in tables {
            if let Some(Stamp::Version(column)) = table.stamp {
                let sql = format!("select max({}) from {}", ddl::quoted(column), ddl::quoted(table.name));
                let newest = self.query(table.name, &sql).await?.into_iter().flatten().flatten().next();
                buffer.versions.insert(table.name, newest.and_then(|number| number.parse().ok()).unwrap_or(0));
            }
        }
        Ok(buffer)
    }
}

/// Connects to `url` to work on the tables of `system` in `schema`.
pub async fn server(system: &'static str, url: &str, schema: &str) -> Result<Box<dyn Server>, DemoError> {
    if mysql::speaks(url) {
        return Ok(Box::new(mysql::MysqlDatabase::open(system, url, schema).await?));
    }
    Ok(Box::new(postgres::PostgresSchema::open(system, url, schema).await?))
}
