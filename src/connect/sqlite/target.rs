//! Writing. A transaction takes the write lock at its start, so what was compared cannot change before it is set.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use arrow::datatypes::DataType;
use async_trait::async_trait;
use chrono_tz::Tz;
use rusqlite::types::Value as SqlValue;
use rusqlite::{Connection, ErrorCode, OpenFlags, TransactionBehavior, params_from_iter};

use super::catalog::{self, Column};
use super::text::InstantForm;
use super::value::{decode, encode};
use super::{failure, open};
use crate::base::{Operation, Row, RowChange};
use crate::connect::change::{Found, assigned, quoted, touched, verdict};
use crate::connect::declared::check_column;
use crate::connect::error::{Place, Role};
use crate::connect::task::blocking;
use crate::connect::value::{scalar_json, scale_of};
use crate::connect::{ConnectError, Outcome};
use crate::project::System;

/// A file that is written to.
pub(in crate::connect) struct Target {
    system: String,
    zone: Option<Tz>,
    connection: Arc<Mutex<Connection>>,
}

impl Target {
    pub(in crate::connect) async fn open(system: &System, root: &Path) -> Result<Self, ConnectError> {
        let connection = open(system, root, OpenFlags::SQLITE_OPEN_READ_WRITE).await?;
        let ready = connection.execute_batch("pragma foreign_keys = on");
        ready.map_err(|error| failure(&system.name, "opening the file", error))?;
        Ok(Self { system: system.name.clone(), zone: system.time_zone, connection: Arc::new(Mutex::new(connection)) })
    }

    /// Runs `work` on the connection, on a thread that may block.
    async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut Connection, &Session) -> Result<T, ConnectError> + Send + 'static,
    ) -> Result<T, ConnectError> {
        let connection = Arc::clone(&self.connection);
        let session = Session { system: self.system.clone(), zone: self.zone };
        blocking(&self.system, move || work(&mut connection.lock().unwrap_or_else(PoisonError::into_inner), &session)).await
    }
}

#[async_trait]
impl crate::connect::Target for Target {
    async fn apply(&self, changes: &[RowChange]) -> Result<Vec<Outcome>, ConnectError> {
        let changes = changes.to_vec();
        self.run(move |connection, session| session.apply(connection, &changes)).await
    }

    async fn look(&self, table: &str, columns: &[String], keys: &[Row]) -> Result<Vec<Option<Row>>, ConnectError> {
        let (table, columns, keys) = (table.to_owned(), columns.to_vec(), keys.to_vec());
        self.run(move |connection, session| session.look(connection, &table, &columns, &keys)).await
    }
}

/// Why a change did not get through.
enum Stop {
    /// The target's answer to this change; the others go on.
    Refused(String),
    /// Ends the whole slice.
    Failed(ConnectError),
}

impl From<ConnectError> for Stop {
    fn from(error: ConnectError) -> Self {
        Self::Failed(error)
    }
}

/// A table that is written, with the form in which each of its timestamp columns is written.
struct Table {
    place: Arc<Place>,
    catalog: catalog::Table,
    forms: BTreeMap<String, InstantForm>,
}

impl Table {
    fn column(&self, name: &str) -> Option<&Column> {
        self.catalog.columns.iter().find(|column| column.name == name)
    }

    fn type_of(&self, name: &str) -> Option<&DataType> {
        self.column(name)?.data_type.as_ref()
    }

    fn check(&self, columns: &[String], role: Role) -> Result<(), ConnectError> {
        let names = self.catalog.names();
        columns.iter().try_for_each(|column| check_column(&self.place, &self.place.name, &names, column, role))
    }

    /// The values of a row in the order of its columns, ready to be bound.
    fn bind(&self, row: &Row, zone: Option<Tz>) -> Result<Vec<SqlValue>, String> {
        let bind = |(name, value)| {
            let name: &String = name;
            let data_type = self.type_of(name).ok_or_else(|| format!("column \"{name}\" has a type that cannot be written"))?;
            let form = self.forms.get(name).copied().unwrap_or_else(|| InstantForm::of(None, zone));
            encode(value, data_type, form).map_err(|reason| format!("column \"{name}\": {reason}"))
        };
        row.iter().map(bind).collect()
    }
}

/// What the work on the blocking thread knows of the system.
struct Session {
    system: String,
    zone: Option<Tz>,
}

impl Session {
    fn failed(&self, doing: &str) -> impl Fn(rusqlite::Error) -> ConnectError {
        move |error| failure(&self.system, doing, error)
    }

    fn table(&self, connection: &Connection, name: &str) -> Result<Table, ConnectError> {
        let place = Place::table(&self.system, name);
        let catalog = catalog::describe(connection, &place, name)?;
        let mut forms = BTreeMap::new();
        for column in &catalog.columns {
            if matches!(column.data_type, Some(DataType::Timestamp(_, _))) {
                let sample = catalog::sample_text(connection, &catalog, &quoted(&column.name))
                    .map_err(self.failed("looking at a table"))?;
                forms.insert(column.name.clone(), InstantForm::of(sample.as_deref(), self.zone));
            }
        }
        Ok(Table { place, catalog, forms })
    }

    fn apply(&self, connection: &mut Connection, changes: &[RowChange]) -> Result<Vec<Outcome>, ConnectError> {
        let failed = self.failed("applying changes");
        let mut transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate).map_err(&failed)?;
        let mut tables: BTreeMap<&str, Table> = BTreeMap::new();
        let mut outcomes = Vec::with_capacity(changes.len());
        for change in changes {
            if !tables.contains_key(change.table.as_str()) {
                tables.insert(&change.table, self.table(&transaction, &change.table)?);
            }
            let Some(table) = tables.get(change.table.as_str()) else { continue };
            let savepoint = transaction.savepoint().map_err(&failed)?;
            let outcome = match self.apply_one(&savepoint, table, change) {
                Ok(outcome) => outcome,
                Err(Stop::Failed(error)) => return Err(error),
                Err(Stop::Refused(reason)) => Outcome::Refused { reason },
            };
            if outcome == Outcome::Applied {
                savepoint.commit().map_err(&failed)?;
            } else {
                drop(savepoint); // rolls back to it
            }
            outcomes.push(outcome);
        }
        transaction.commit().map_err(&failed)?;
        Ok(outcomes)
    }

    fn apply_one(&self, connection: &Connection, table: &Table, change: &RowChange) -> Result<Outcome, Stop> {
        let columns = touched(change);
        table.check(&columns, Role::Written)?;
        let found = self.fetch(connection, table, &columns, &change.key)?;
        if let Some(outcome) = verdict(change, found, |column| table.type_of(column)) {
            return Ok(outcome);
        }
        let (sql, values) = self.statement(table, change).map_err(Stop::Refused)?;
        let Some(sql) = sql else { return Ok(Outcome::Applied) };
        match connection.prepare(&sql).and_then(|mut statement| statement.execute(params_from_iter(values))) {
            Ok(1) => Ok(Outcome::Applied),
            Ok(rows) => Err(Stop::Refused(format!("the change would have touched {rows} rows instead of one (a trigger?)"))),
            // A trigger that rolls back ends the whole transaction.
            Err(error) if refuses(&error) && !connection.is_autocommit() => Err(Stop::Refused(reason(&error))),
            Err(error) => Err(Stop::Failed(self.failed("applying changes")(error))),
        }
    }

    /// The statement of a change and what it binds; no statement if an update sets nothing.
    fn statement(&self, table: &Table, change: &RowChange) -> Result<(Option<String>, Vec<SqlValue>), String> {
        let (name, set) = (&table.catalog.sql_name, assigned(change));
        let mut values = table.bind(&set, self.zone)?;
        let list = |separator: &str, part: &dyn Fn(usize, String) -> String| {
            set.keys().enumerate().map(|(at, column)| part(at + 1, quoted(column))).collect::<Vec<_>>().join(separator)
        };
        let sql = match change.operation {
            Operation::Insert => {
                let (columns, places) = (list(", ", &|_, column| column), list(", ", &|at, _| format!("?{at}")));
                format!("insert into {name} ({columns}) values ({places})")
            }
            Operation::Update if set.is_empty() => return Ok((None, values)),
            Operation::Update => {
                let assignments = list(", ", &|at, column| format!("{column} = ?{at}"));
                format!("update {name} set {assignments} where {}", condition(&change.key, values.len()))
            }
            Operation::Delete => format!("delete from {name} where {}", condition(&change.key, 0)),
        };
        if change.operation != Operation::Insert {
            values.extend(table.bind(&change.key, self.zone)?);
        }
        Ok((Some(sql), values))
    }

    fn look(
        &self,
        connection: &mut Connection,
        table: &str,
        columns: &[String],
        keys: &[Row],
    ) -> Result<Vec<Option<Row>>, ConnectError> {
        let transaction = connection.transaction().map_err(self.failed("looking at rows"))?;
        let table = self.table(&transaction, table)?;
        table.check(columns, Role::Looked)?;
        let look = |key: &Row| {
            table.check(&key.keys().cloned().collect::<Vec<_>>(), Role::Key)?;
            match self.fetch(&transaction, &table, columns, key) {
                Ok(Found::One(row)) => Ok(Some(row)),
                Ok(Found::Nothing) => Ok(None),
                Ok(Found::Several) => Err(unlookable(&table.place, key, "the key finds more than one row")),
                Err(Stop::Refused(reason)) => Err(unlookable(&table.place, key, &reason)),
                Err(Stop::Failed(error)) => Err(error),
            }
        };
        keys.iter().map(look).collect()
    }

    /// The row with this key, in canonical JSON.
    fn fetch(&self, connection: &Connection, table: &Table, columns: &[String], key: &Row) -> Result<Found, Stop> {
        if key.is_empty() || key.values().any(serde_json::Value::is_null) {
            return Err(Stop::Refused("a key column has no value".into()));
        }
        let failed = |error| Stop::Failed(self.failed("looking at rows")(error));
        let values = table.bind(key, self.zone).map_err(Stop::Refused)?;
        let list: String = columns.iter().map(|column| quoted(column) + ", ").collect();
        let sql = format!("select {list}1 from {} where {} limit 2", table.catalog.sql_name, condition(key, 0));
        let mut statement = connection.prepare(&sql).map_err(failed)?;
        let mut rows = statement.query(params_from_iter(values)).map_err(failed)?;
        let Some(row) = rows.next().map_err(failed)? else { return Ok(Found::Nothing) };
        let mut found = Row::new();
        for (at, name) in columns.iter().enumerate() {
            let Some(data_type) = table.type_of(name) else { continue };
            let value = row.get_ref(at).map_err(failed)?;
            let scalar = decode(value, data_type, self.zone)
                .map_err(|fault| Stop::Refused(format!("column \"{name}\" of the row: {}", fault.describe())))?;
            found
                .insert(name.clone(), scalar.map_or(serde_json::Value::Null, |scalar| scalar_json(&scalar, scale_of(data_type))));
        }
        Ok(if rows.next().map_err(failed)?.is_some() { Found::Several } else { Found::One(found) })
    }
}

/// `"a" = ?3 and "b" = ?4`, after `bound` other parameters.
fn condition(key: &Row, bound: usize) -> String {
    let parts = key.keys().enumerate().map(|(at, column)| format!("{} = ?{}", quoted(column), bound + at + 1));
    parts.collect::<Vec<_>>().join(" and ")
}

fn unlookable(place: &Arc<Place>, key: &Row, what: &str) -> ConnectError {
    let column = key.keys().next().cloned().unwrap_or_default();
    let key = crate::connect::change::key_text(key.iter().map(|(column, value)| (column.as_str(), value.to_string())));
    ConnectError::Value { place: Arc::clone(place), column, key, what: what.into() }
}

/// Whether the database answered to the change itself.
fn refuses(error: &rusqlite::Error) -> bool {
    matches!(error, rusqlite::Error::SqlInputError { .. })
        || matches!(error.sqlite_error_code(), Some(ErrorCode::ConstraintViolation | ErrorCode::TypeMismatch | ErrorCode::TooBig))
}

/// The database's own words.
fn reason(error: &rusqlite::Error) -> String {
    match error {
        rusqlite::Error::SqliteFailure(_, Some(message)) | rusqlite::Error::SqlInputError { msg: message, .. } => message.clone(),
        error => error.to_string(),
    }
}
