//! SQLite files: loaded in one transaction with prepared statements.

use std::path::Path;

use chrono::{DateTime, Utc};
use rusqlite::types::{Value as SqlValue, ValueRef};
use rusqlite::{Connection, params_from_iter};

use super::ddl::{self, Dialect};
use super::{Kind, Sink, Stamp, Table, Value, text};
use crate::demo::DemoError;
use crate::demo::calendar::Seconds;

/// One product's file, inside one transaction until [`SqliteFile::commit`].
pub struct SqliteFile {
    system: &'static str,
    connection: Connection,
    fresh: bool,
    table: Option<Open>,
    rows: u64,
}

/// The table that rows are of.
struct Open {
    table: &'static Table,
    columns: Vec<(&'static str, Kind)>,
    sql: String,
    version: i64,
    /// Rows that are not written yet, cell by cell.
    cells: Vec<SqlValue>,
}

impl SqliteFile {
    /// Makes a new file with empty `tables`.
    pub fn create(system: &'static str, path: &Path, tables: &[&'static Table]) -> Result<Self, DemoError> {
        let failed = |source| DemoError::Sqlite { system, table: "plant_clock".into(), source };
        let connection = Connection::open(path).map_err(failed)?;
        connection.execute_batch("pragma journal_mode = off; pragma synchronous = off; begin").map_err(failed)?;
        connection.execute_batch(ddl::CLOCK).map_err(failed)?;
        for table in tables {
            let made = connection.execute_batch(&ddl::create(table, Dialect::Sqlite));
            made.map_err(|source| DemoError::Sqlite { system, table: table.name.into(), source })?;
        }
        Ok(Self { system, connection, fresh: true, table: None, rows: 0 })
    }

    /// Opens an existing file to add a day.
    pub fn open(system: &'static str, path: &Path) -> Result<Self, DemoError> {
        let failed = |source| DemoError::Sqlite { system, table: "plant_clock".into(), source };
        let connection = Connection::open_with_flags(path, rusqlite::OpenFlags::SQLITE_OPEN_READ_WRITE).map_err(failed)?;
        connection.busy_timeout(std::time::Duration::from_secs(30)).map_err(failed)?;
        connection.execute_batch("begin immediate").map_err(failed)?;
        Ok(Self { system, connection, fresh: false, table: None, rows: 0 })
    }

    fn failed(&self, table: &str) -> impl FnOnce(rusqlite::Error) -> DemoError {
        let (system, table) = (self.system, table.to_owned());
        move |source| DemoError::Sqlite { system, table, source }
    }

    /// Sets the clock that triggers read.
    pub fn set_clock(&self, now: DateTime<Utc>) -> Result<(), DemoError> {
        let (utc, local) = text::clock_texts(now);
        let failed = |source| DemoError::Sqlite { system: self.system, table: "plant_clock".into(), source };
        self.connection.execute("delete from plant_clock", []).map_err(failed)?;
        let values = rusqlite::params![now.timestamp_millis(), utc, local];
        self.connection.execute("insert into plant_clock values (?1, ?2, ?3)", values).map_err(failed)?;
        Ok(())
    }

    /// Adds indexes and triggers to `tables`.
    pub fn finish(&mut self, tables: &[&'static Table]) -> Result<(), DemoError> {
        self.flush()?;
        for table in tables {
            for statement in ddl::finish(table, Dialect::Sqlite) {
                self.connection.execute_batch(&statement).map_err(self.failed(table.name))?;
            }
        }
        Ok(())
    }

    /// All rows of a query, each cell as text.
    pub fn query(&self, table: &str, sql: &str) -> Result<Vec<Vec<Option<String>>>, DemoError> {
        let mut statement = self.connection.prepare(sql).map_err(self.failed(table))?;
        let width = statement.column_count();
        let rows = statement.query_map([], |row| (0..width).map(|index| Ok(cell(row.get_ref(index)?))).collect());
        rows.and_then(Iterator::collect).map_err(self.failed(table))
    }

    /// Rows written so far.
    pub fn rows(&self) -> u64 {
        self.rows
    }

    pub fn commit(mut self) -> Result<(), DemoError> {
        self.flush()?;
        self.connection.execute_batch("commit").map_err(self.failed("plant_clock"))
    }

    fn version_base(&self, table: &'static Table) -> Result<i64, DemoError> {
        let Some(Stamp::Version(column)) = table.stamp else { return Ok(0) };
        let sql = format!("select coalesce(max({}), 0) from {}", ddl::quoted(column), ddl::quoted(table.name));
        self.connection.query_row(&sql, [], |row| row.get(0)).map_err(self.failed(table.name))
    }
}

fn cell(value: ValueRef<'_>) -> Option<String> {
    match value {
        ValueRef::Null => None,
        ValueRef::Integer(number) => Some(number.to_string()),
        ValueRef::Real(number) => Some(number.to_string()),
        ValueRef::Text(bytes) | ValueRef::Blob(bytes) => Some(String::from_utf8_lossy(bytes).into_owned()),
    }
}

/// Rows that are collected before one prepared statement writes them.
const BATCH_ROWS: usize = 4_096;

impl SqliteFile {
    /// Writes what is collected.
    fn flush(&mut self) -> Result<(), DemoError> {
        let Some(open) = &mut self.table else { return Ok(()) };
        if open.cells.is_empty() {
            return Ok(());
        }
        let failed = || failed_in(self.system, open.table);
        let mut statement = self.connection.prepare(&open.sql).map_err(failed())?;
        for row in open.cells.chunks_exact(open.columns.len()) {
            statement.execute(params_from_iter(row)).map_err(failed())?;
        }
        open.cells.clear();
        Ok(())
    }
}

impl Sink for SqliteFile {
    fn table(&mut self, table: &'static Table) -> Result<(), DemoError> {
        self.flush()?;
        let sql = if self.fresh {
            ddl::insert(table)
        } else {
            ddl::upsert(table, &format!("values ({})", ddl::marks(table)), Dialect::Sqlite)
        };
        let version = self.version_base(table)?;
        self.table = Some(Open { table, columns: ddl::columns(table), sql, version, cells: Vec::new() });
        Ok(())
    }

    fn row(&mut self, changed: Seconds, values: &[Value<'_>]) -> Result<(), DemoError> {
        let Some(open) = &mut self.table else { return Ok(()) };
        self.rows += 1;
        debug_assert_eq!(values.len(), open.table.columns.len(), "{}", open.table.name);
        open.cells.extend(values.iter().zip(&open.columns).map(|(value, (_, kind))| cell_of(value, *kind, false)));
        if let Some(stamp) = open.table.stamp {
            open.version += 1;
            open.cells.push(cell_of(&stamp_value(stamp, changed, open.version), stamp.kind(), true));
        }
        if open.cells.len() >= BATCH_ROWS * open.columns.len() {
            self.flush()?;
        }
        Ok(())
    }

    fn remove(&mut self, key: &[Value<'_>]) -> Result<(), DemoError> {
        self.flush()?;
        let Some(open) = &self.table else { return Ok(()) };
        let cells = key.iter().map(|value| cell_of(value, Kind::Text, false));
        let deleted = self.connection.execute(&ddl::delete(open.table), params_from_iter(cells));
        deleted.map(|_| ()).map_err(failed_in(self.system, open.table))
    }
}

fn failed_in(system: &'static str, table: &'static Table) -> impl FnOnce(rusqlite::Error) -> DemoError {
    move |source| DemoError::Sqlite { system, table: table.name.into(), source }
}

/// The stamp of a row that changed at `changed`.
pub(super) fn stamp_value(stamp: Stamp, changed: Seconds, version: i64) -> Value<'static> {
    match stamp {
        Stamp::Zoned(_) | Stamp::Local(_) => Value::At(changed),
        Stamp::Millis(_) => Value::Int(changed * 1_000),
        Stamp::Version(_) => Value::Int(version),
    }
}

fn cell_of(value: &Value<'_>, kind: Kind, fine: bool) -> SqlValue {
    match value {
        Value::Null => SqlValue::Null,
        Value::Int(number) => SqlValue::Integer(*number),
        Value::Text(text) => SqlValue::Text(text.as_ref().to_owned()),
        value => {
            // SQLite itself turns the text of a decimal into a number.
            let mut out = String::with_capacity(24);
            text::push(&mut out, value, kind, fine);
            SqlValue::Text(out)
        }
    }
}
