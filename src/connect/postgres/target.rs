//! Writing. A row is locked when it is compared (`for update`), so what was compared cannot change before it is set.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::datatypes::DataType;
use async_trait::async_trait;
use chrono_tz::Tz;
use tokio::sync::Mutex;
use tokio_postgres::types::{FromSql, ToSql, Type};
use tokio_postgres::{GenericClient, Transaction};

use super::catalog::{self, Column, Kind};
use super::decode::decode;
use super::encode::encode;
use super::failure::{failure, refusal};
use super::session::{Purpose, Session, connect};
use crate::base::{Operation, Row, RowChange, Secret};
use crate::connect::change::{Found, assigned, key_text, quoted, touched, verdict};
use crate::connect::declared::check_column;
use crate::connect::error::{Place, Role};
use crate::connect::value::{scalar_json, scale_of};
use crate::connect::{ConnectError, Outcome};
use crate::project::System;

/// A connection that writes.
pub(in crate::connect) struct Target {
    system: String,
    zone: Option<Tz>,
    session: Mutex<Session>,
}

impl Target {
    pub(in crate::connect) async fn open(system: &System, secret: Option<Secret>) -> Result<Self, ConnectError> {
        let session = connect(system, secret, Purpose::Write).await?;
        Ok(Self { system: system.name.clone(), zone: system.time_zone, session: Mutex::new(session) })
    }

    async fn table(&self, client: &impl GenericClient, schema: Option<&str>, name: &str) -> Result<Table, ConnectError> {
        let place = Place::table(&self.system, name);
        let catalog = catalog::describe(client, &place, schema, name).await?;
        let types = catalog.columns.iter().filter_map(|column| Some((column.name.clone(), column.kind?.data_type()))).collect();
        Ok(Table { place, catalog, types, zone: self.zone })
    }
}

#[async_trait]
impl crate::connect::Target for Target {
    async fn apply(&self, changes: &[RowChange]) -> Result<Vec<Outcome>, ConnectError> {
        let fail = |error| failure(&self.system, "applying changes", error);
        let mut session = self.session.lock().await;
        let Session { client, schema, .. } = &mut *session;
        let mut transaction = client.transaction().await.map_err(fail)?;
        // A deferred constraint would fail the commit, and with it every change of the slice.
        transaction.batch_execute("set constraints all immediate").await.map_err(fail)?;
        let mut tables: BTreeMap<&str, Table> = BTreeMap::new();
        let mut outcomes = Vec::with_capacity(changes.len());
        for change in changes {
            if !tables.contains_key(change.table.as_str()) {
                tables.insert(&change.table, self.table(&transaction, schema.as_deref(), &change.table).await?);
            }
            let Some(table) = tables.get(change.table.as_str()) else { continue };
            outcomes.push(apply(&mut transaction, table, change).await?);
        }
        transaction.commit().await.map_err(fail)?;
        Ok(outcomes)
    }

    async fn look(&self, table: &str, columns: &[String], keys: &[Row]) -> Result<Vec<Option<Row>>, ConnectError> {
        let mut session = self.session.lock().await;
        let Session { client, schema, .. } = &mut *session;
        let build = client.build_transaction().isolation_level(tokio_postgres::IsolationLevel::RepeatableRead).read_only(true);
        let transaction = build.start().await.map_err(|error| failure(&self.system, "looking at rows", error))?;
        let table = self.table(&transaction, schema.as_deref(), table).await?;
        table.check(columns, Role::Looked)?;
        let mut rows = Vec::with_capacity(keys.len());
        for key in keys {
            table.check(&key.keys().cloned().collect::<Vec<_>>(), Role::Key)?;
            rows.push(match table.fetch(&transaction, columns, key, "").await {
                Ok(Found::One(row)) => Some(row),
                Ok(Found::Nothing) => None,
                Ok(Found::Several) => return Err(table.unlookable(key, "the key finds more than one row".into())),
                Err(Failure::Refused(reason)) => return Err(table.unlookable(key, reason)),
                Err(Failure::Server(error)) => return Err(failure(&self.system, "looking at rows", error)),
            });
        }
        Ok(rows)
    }
}

/// Why a statement did not get through.
enum Failure {
    Refused(String),
    Server(tokio_postgres::Error),
}

impl From<tokio_postgres::Error> for Failure {
    fn from(error: tokio_postgres::Error) -> Self {
        Self::Server(error)
    }
}

/// Applies one change under a savepoint, so that what the server refuses leaves the others alone.
async fn apply(transaction: &mut Transaction<'_>, table: &Table, change: &RowChange) -> Result<Outcome, ConnectError> {
    let fail = |error| failure(&table.place.system, "applying changes", error);
    let columns = touched(change);
    table.check(&columns, Role::Written)?;
    let savepoint = transaction.savepoint("change").await.map_err(fail)?;
    let outcome = match settle(&savepoint, table, change, &columns).await {
        Ok(outcome) => outcome,
        Err(Failure::Refused(reason)) => Outcome::Refused { reason },
        Err(Failure::Server(error)) => match refusal(&error) {
            Some(reason) => Outcome::Refused { reason },
            None => return Err(fail(error)),
        },
    };
    if outcome == Outcome::Applied {
        savepoint.commit().await.map_err(fail)?;
        return Ok(outcome);
    }
    savepoint.rollback().await.map_err(fail)?;
    if change.operation == Operation::Insert && matches!(outcome, Outcome::Refused { .. }) {
        // Someone else may have inserted the key in the meantime: that is a conflict, not a refusal.
        let savepoint = transaction.savepoint("change").await.map_err(fail)?;
        let found = table.fetch(&savepoint, &columns, &change.key, "").await;
        savepoint.rollback().await.map_err(fail)?;
        if let Ok(Found::One(row)) = found {
            return Ok(Outcome::Conflict { found: Some(row) });
        }
    }
    Ok(outcome)
}

async fn settle(client: &impl GenericClient, table: &Table, change: &RowChange, columns: &[String]) -> Result<Outcome, Failure> {
    let lock = if change.operation == Operation::Insert { "" } else { " for update" };
    let found = table.fetch(client, columns, &change.key, lock).await?;
    if let Some(outcome) = verdict(change, found, |column| table.types.get(column)) {
        return Ok(outcome);
    }
    let Some((sql, values)) = table.statement(change).map_err(Failure::Refused)? else { return Ok(Outcome::Applied) };
    match client.execute_typed(&sql, &parameters(&values)).await? {
        1 => Ok(Outcome::Applied),
        rows => Err(Failure::Refused(format!("the change would have touched {rows} rows instead of one (a trigger?)"))),
    }
}

/// Values travel as text (`None` is null); the statement casts each to its column's type.
type Texts = Vec<Option<String>>;

fn parameters(values: &[Option<String>]) -> Vec<(&(dyn ToSql + Sync), Type)> {
    values.iter().map(|value| (value as &(dyn ToSql + Sync), Type::TEXT)).collect()
}

/// A table that is written.
struct Table {
    place: Arc<Place>,
    catalog: catalog::Table,
    /// Of the columns that can be read.
    types: BTreeMap<String, DataType>,
    zone: Option<Tz>,
}

impl Table {
    fn check(&self, columns: &[String], role: Role) -> Result<(), ConnectError> {
        let names = self.catalog.names();
        columns.iter().try_for_each(|column| check_column(&self.place, &self.place.name, &names, column, role))
    }

    fn unlookable(&self, key: &Row, what: String) -> ConnectError {
        let column = key.keys().next().cloned().unwrap_or_default();
        let key = key_text(key.iter().map(|(column, value)| (column.as_str(), value.to_string())));
        ConnectError::Value { place: Arc::clone(&self.place), column, key, what }
    }

    /// A column of a change; they were checked to exist.
    fn column(&self, name: &str) -> Result<(&Column, Kind), String> {
        let column = self.catalog.column(name).ok_or_else(|| format!("there is no column \"{name}\""))?;
        match column.kind {
            Some(Kind::Timestamp) if self.zone.is_none() => {
                Err(format!("column \"{name}\" holds timestamps without a zone, and the system declares no time_zone"))
            }
            Some(kind) => Ok((column, kind)),
            None => Err(format!("column \"{name}\" has type {}, which cannot be read", column.type_name)),
        }
    }

    /// The row with this key, in canonical JSON; `lock` ends the statement.
    async fn fetch(&self, client: &impl GenericClient, columns: &[String], key: &Row, lock: &str) -> Result<Found, Failure> {
        if key.is_empty() || key.values().any(serde_json::Value::is_null) {
            return Err(Failure::Refused("a key column has no value".into()));
        }
        let columns = columns.iter().map(|name| self.column(name)).collect::<Result<Vec<_>, _>>().map_err(Failure::Refused)?;
        let values = self.bind(key).map_err(Failure::Refused)?;
        let list: String = columns.iter().map(|(column, kind)| column.selected(*kind) + ", ").collect();
        let condition = self.condition(key, 0).map_err(Failure::Refused)?;
        let sql = format!("select {list}1 from {} where {condition} limit 2{lock}", self.catalog.sql_name);
        let rows = client.query_typed(&sql, &parameters(&values)).await?;
        let row = match rows.as_slice() {
            [] => return Ok(Found::Nothing),
            [row] => row,
            _ => return Ok(Found::Several),
        };
        let mut found = Row::new();
        for (at, (column, kind)) in columns.iter().enumerate() {
            let Raw(bytes) = row.try_get(at)?;
            let scalar = decode(*kind, bytes, self.zone)
                .map_err(|fault| Failure::Refused(format!("column \"{}\" of the row: {}", column.name, fault.describe())))?;
            let value = scalar.map_or(serde_json::Value::Null, |scalar| scalar_json(&scalar, scale_of(&kind.data_type())));
            found.insert(column.name.clone(), value);
        }
        Ok(Found::One(found))
    }

    /// The statement of a change and what it binds; `None` if an update sets nothing.
    fn statement(&self, change: &RowChange) -> Result<Option<(String, Texts)>, String> {
        let (name, set) = (&self.catalog.sql_name, assigned(change));
        let mut values = self.bind(&set)?;
        let sql = match change.operation {
            Operation::Insert => {
                let columns = set.keys().map(|column| quoted(column)).collect::<Vec<_>>().join(", ");
                let places = self.placed(&set, 0, |_, place| place)?.join(", ");
                format!("insert into {name} ({columns}) values ({places})")
            }
            Operation::Update if set.is_empty() => return Ok(None),
            Operation::Update => {
                let assignments = self.placed(&set, 0, |column, place| format!("{column} = {place}"))?.join(", ");
                format!("update {name} set {assignments} where {}", self.condition(&change.key, values.len())?)
            }
            Operation::Delete => format!("delete from {name} where {}", self.condition(&change.key, 0)?),
        };
        if change.operation != Operation::Insert {
            values.extend(self.bind(&change.key)?);
        }
        Ok(Some((sql, values)))
    }

    /// `"a" = $3::text::int4 and …`, after `bound` other parameters.
    fn condition(&self, key: &Row, bound: usize) -> Result<String, String> {
        Ok(self.placed(key, bound, |column, place| format!("{column} = {place}"))?.join(" and "))
    }

    /// For each column of `row` what `part` makes of its quoted name and its parameter, cast to the column's type.
    fn placed(&self, row: &Row, bound: usize, part: impl Fn(String, String) -> String) -> Result<Vec<String>, String> {
        let placed = row.keys().enumerate().map(|(at, name)| {
            let (column, kind) = self.column(name)?;
            let number = bound + at + 1;
            let place = match kind {
                Kind::Bytes => format!("decode(${number}::text, 'hex')"),
                _ => format!("${number}::text::{}", column.cast),
            };
            Ok(part(quoted(name), place))
        });
        placed.collect()
    }

    /// The values of a row as text, in the order of its columns.
    fn bind(&self, row: &Row) -> Result<Texts, String> {
        let bind = |(name, value): (&String, &serde_json::Value)| {
            let (column, kind) = self.column(name)?;
            if value.is_null() {
                return Ok(None);
            }
            encode(value, column, kind, self.zone).map(Some).map_err(|reason| format!("column \"{name}\": {reason}"))
        };
        row.iter().map(bind).collect()
    }
}

/// A column's bytes as the server sent them, of any type.
struct Raw<'a>(Option<&'a [u8]>);

impl<'a> FromSql<'a> for Raw<'a> {
    fn from_sql(_: &Type, bytes: &'a [u8]) -> Result<Self, Box<dyn std::error::Error + Sync + Send>> {
        Ok(Self(Some(bytes)))
    }

    fn from_sql_null(_: &Type) -> Result<Self, Box<dyn std::error::Error + Sync + Send>> {
        Ok(Self(None))
    }

    fn accepts(_: &Type) -> bool {
        true
    }
}
