//! Writing. A row is locked when it is compared (`for update`), so what was compared cannot change before it is set.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::datatypes::DataType;
use async_trait::async_trait;
use chrono_tz::Tz;
use mysql_async::prelude::Queryable;
use mysql_async::{Transaction, TxOpts, Value};
use tokio::sync::Mutex;

use super::catalog::{self, Column, Kind, quoted};
use super::decode::{decode, encode};
use super::failure::{failure, refusal};
use super::field::Field;
use super::pieces::placeholder;
use super::session::{Purpose, Session, connect};
use crate::base::{Operation, Row, RowChange, Secret};
use crate::connect::cells::Fault;
use crate::connect::change::{Found, assigned, key_text, touched, verdict};
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
        let session = connect(system, secret.as_ref(), Purpose::Write).await?;
        Ok(Self { system: system.name.clone(), zone: system.time_zone, session: Mutex::new(session) })
    }

    async fn table(&self, client: &mut impl Queryable, database: &str, name: &str) -> Result<Table, ConnectError> {
        let place = Place::table(&self.system, name);
        let catalog = catalog::describe(client, &place, database, name).await?;
        let types = catalog.columns.iter().filter_map(|column| Some((column.name.clone(), column.kind?.data_type()))).collect();
        Ok(Table { place, catalog, types, zone: self.zone })
    }

    async fn apply_all(
        &self,
        transaction: &mut Transaction<'_>,
        database: &str,
        changes: &[RowChange],
    ) -> Result<Vec<Outcome>, ConnectError> {
        let mut tables: BTreeMap<&str, Table> = BTreeMap::new();
        let mut outcomes = Vec::with_capacity(changes.len());
        for change in changes {
            if !tables.contains_key(change.table.as_str()) {
                tables.insert(&change.table, self.table(transaction, database, &change.table).await?);
            }
            let Some(table) = tables.get(change.table.as_str()) else { continue };
            outcomes.push(apply(transaction, table, change).await?);
        }
        Ok(outcomes)
    }
}

#[async_trait]
impl crate::connect::Target for Target {
    async fn apply(&self, changes: &[RowChange]) -> Result<Vec<Outcome>, ConnectError> {
        let fail = |error| failure(&self.system, "applying changes", error);
        let mut session = self.session.lock().await;
        let Session { conn, database, .. } = &mut *session;
        let mut transaction = conn.start_transaction(TxOpts::default()).await.map_err(fail)?;
        match self.apply_all(&mut transaction, database, changes).await {
            Ok(outcomes) => transaction.commit().await.map(|()| outcomes).map_err(fail),
            Err(error) => {
                // Locks are let go at once; where the connection is lost the server does it.
                let _lost = transaction.rollback().await;
                Err(error)
            }
        }
    }

    async fn look(&self, table: &str, columns: &[String], keys: &[Row]) -> Result<Vec<Option<Row>>, ConnectError> {
        let fail = |error| failure(&self.system, "looking at rows", error);
        let mut session = self.session.lock().await;
        let Session { conn, database, .. } = &mut *session;
        let mut snapshot = TxOpts::default();
        snapshot.with_consistent_snapshot(true).with_readonly(true);
        let mut transaction = conn.start_transaction(snapshot).await.map_err(fail)?;
        let table = self.table(&mut transaction, database, table).await?;
        table.check(columns, Role::Looked)?;
        let mut rows = Vec::with_capacity(keys.len());
        for key in keys {
            table.check(&key.keys().cloned().collect::<Vec<_>>(), Role::Key)?;
            rows.push(match table.fetch(&mut transaction, columns, key, "").await {
                Ok(Found::One(row)) => Some(row),
                Ok(Found::Nothing) => None,
                Ok(Found::Several) => return Err(table.unlookable(key, "the key finds more than one row".into())),
                Err(Failure::Refused(reason)) => return Err(table.unlookable(key, reason)),
                Err(Failure::Server(error)) => return Err(fail(error)),
            });
        }
        transaction.commit().await.map_err(fail)?;
        Ok(rows)
    }
}

/// Why a statement did not get through.
enum Failure {
    Refused(String),
    Server(mysql_async::Error),
}

impl From<mysql_async::Error> for Failure {
    fn from(error: mysql_async::Error) -> Self {
        Self::Server(error)
    }
}

/// Applies one change under a savepoint, so that what the server refuses leaves the others alone.
async fn apply(transaction: &mut Transaction<'_>, table: &Table, change: &RowChange) -> Result<Outcome, ConnectError> {
    let fail = |error| failure(&table.place.system, "applying changes", error);
    let columns = touched(change);
    table.check(&columns, Role::Written)?;
    transaction.query_drop("savepoint loopline").await.map_err(fail)?;
    let outcome = match settle(transaction, table, change, &columns).await {
        Ok(outcome) => outcome,
        Err(Failure::Refused(reason)) => Outcome::Refused { reason },
        Err(Failure::Server(error)) => match refusal(&error) {
            Some(reason) => Outcome::Refused { reason },
            None => return Err(fail(error)),
        },
    };
    if outcome == Outcome::Applied {
        transaction.query_drop("release savepoint loopline").await.map_err(fail)?;
        return Ok(outcome);
    }
    transaction.query_drop("rollback to savepoint loopline").await.map_err(fail)?;
    if change.operation == Operation::Insert && matches!(outcome, Outcome::Refused { .. }) {
        // Someone else may have inserted the key in the meantime: that is a conflict, not a refusal.
        if let Ok(Found::One(row)) = table.fetch(transaction, &columns, &change.key, LOCK).await {
            return Ok(Outcome::Conflict { found: Some(row) });
        }
    }
    Ok(outcome)
}

/// A reading that locks sees the newest row; any other sees the transaction's snapshot.
const LOCK: &str = " for update";

async fn settle(client: &mut Transaction<'_>, table: &Table, change: &RowChange, columns: &[String]) -> Result<Outcome, Failure> {
    if let Some(engine) = &table.catalog.untransacted {
        return Err(Failure::Refused(format!("the table's engine {engine} knows no transactions")));
    }
    let found = table.fetch(client, columns, &change.key, LOCK).await?;
    if let Some(outcome) = verdict(change, found, |column| table.types.get(column)) {
        return Ok(outcome);
    }
    let Some((sql, values)) = table.statement(change).map_err(Failure::Refused)? else { return Ok(Outcome::Applied) };
    match client.exec_iter(sql, values).await?.affected_rows() {
        1 => Ok(Outcome::Applied),
        rows => Err(Failure::Refused(format!("the change would have touched {rows} rows instead of one"))),
    }
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
            Some(Kind::Datetime) if self.zone.is_none() => {
                Err(format!("column \"{name}\" holds timestamps without a zone, and the system declares no time_zone"))
            }
            Some(kind) => Ok((column, kind)),
            None => Err(format!("column \"{name}\" has type {}, which cannot be read", column.type_name)),
        }
    }

    /// The row with this key, in canonical JSON; `lock` ends the statement.
    async fn fetch(&self, client: &mut Transaction<'_>, columns: &[String], key: &Row, lock: &str) -> Result<Found, Failure> {
        if key.is_empty() || key.values().any(serde_json::Value::is_null) {
            return Err(Failure::Refused("a key column has no value".into()));
        }
        let columns = columns.iter().map(|name| self.column(name)).collect::<Result<Vec<_>, _>>().map_err(Failure::Refused)?;
        let (condition, values) = self.placed(key, " and ").map_err(Failure::Refused)?;
        let list: String = columns.iter().map(|(column, kind)| column.selected(*kind) + ", ").collect();
        let sql = format!("select {list}1 from {} where {condition} limit 2{lock}", self.catalog.sql_name);
        let rows: Vec<mysql_async::Row> = client.exec(sql, values).await?;
        let row = match rows.as_slice() {
            [] => return Ok(Found::Nothing),
            [row] => row,
            _ => return Ok(Found::Several),
        };
        let mut found = Row::new();
        for (at, (column, kind)) in columns.iter().enumerate() {
            let field = row.as_ref(at).and_then(Field::of).ok_or(Fault::Shape);
            let scalar = field
                .and_then(|field| decode(*kind, field, self.zone))
                .map_err(|fault| Failure::Refused(format!("column \"{}\" of the row: {}", column.name, fault.describe())))?;
            let value = scalar.map_or(serde_json::Value::Null, |scalar| scalar_json(&scalar, scale_of(&kind.data_type())));
            found.insert(column.name.clone(), value);
        }
        Ok(Found::One(found))
    }

    /// The statement of a change and what it binds; `None` if an update sets nothing.
    fn statement(&self, change: &RowChange) -> Result<Option<(String, Vec<Value>)>, String> {
        let (name, set) = (&self.catalog.sql_name, assigned(change));
        Ok(Some(match change.operation {
            Operation::Insert => {
                let (assignments, values) = self.placed(&set, ", ")?;
                (format!("insert into {name} set {assignments}"), values)
            }
            Operation::Update if set.is_empty() => return Ok(None),
            Operation::Update => {
                let (assignments, values) = self.placed(&set, ", ")?;
                let (condition, key) = self.placed(&change.key, " and ")?;
                (format!("update {name} set {assignments} where {condition}"), [values, key].concat())
            }
            Operation::Delete => {
                let (condition, key) = self.placed(&change.key, " and ")?;
                (format!("delete from {name} where {condition}"), key)
            }
        }))
    }

    /// `` `a` = ? and … `` and what is bound.
    fn placed(&self, row: &Row, separator: &str) -> Result<(String, Vec<Value>), String> {
        let placed = row.iter().map(|(name, value)| {
            let (column, kind) = self.column(name)?;
            let bound = encode(value, column, kind, self.zone).map_err(|reason| format!("column \"{name}\": {reason}"))?;
            Ok((format!("{} = {}", quoted(name), placeholder(column, kind)), bound))
        });
        let (parts, values): (Vec<_>, Vec<_>) = placed.collect::<Result<Vec<_>, String>>()?.into_iter().unzip();
        Ok((parts.join(separator), values))
    }
}
