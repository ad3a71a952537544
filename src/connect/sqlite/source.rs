//! Reading.

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use arrow::array::RecordBatch;
use arrow::datatypes::{DataType, SchemaRef};
use async_trait::async_trait;
use chrono_tz::Tz;
use futures::StreamExt;
use rusqlite::types::{Value as SqlValue, ValueRef};
use rusqlite::{Connection, InterruptHandle, OpenFlags};
use tokio::sync::{mpsc, oneshot};

use super::keys::{Lookup, Wanted};
use super::value::{decode, decode_as};
use super::{catalog, failure, open};
use crate::connect::cells::{Batcher, Fault, schema_of};
use crate::connect::change::{key_text, quoted};
use crate::connect::declared::{check_after, check_cursor, check_names};
use crate::connect::error::Place;
use crate::connect::instant::date_text;
use crate::connect::task::{blocking, ended, part_of};
use crate::connect::value::{Scalar, scalar_json, scale_of};
use crate::connect::{ConnectError, CursorValue, Discards, Extent, Part, Reading};
use crate::project::{ColumnType, Policy, Stream, System};

/// Batches that wait for the consumer.
const BATCHES_AHEAD: usize = 2;

type Batches = mpsc::Sender<Result<RecordBatch, ConnectError>>;

/// A file, held in one read transaction.
pub(in crate::connect) struct Source {
    system: String,
    zone: Option<Tz>,
    connection: Arc<Mutex<Connection>>,
    interrupt: Arc<InterruptHandle>,
}

/// One reading under way. If nobody reads on, its statement is stopped: one that finds no more rows would otherwise never notice.
struct Running {
    has_ended: Arc<AtomicBool>,
    interrupt: Arc<InterruptHandle>,
}

impl Running {
    /// The part, which takes this with it.
    fn of(self, part: Part) -> Part {
        part.inspect(move |_| _ = &self).boxed()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if !self.has_ended.load(Ordering::Acquire) {
            self.interrupt.interrupt();
        }
    }
}

impl Source {
    pub(in crate::connect) async fn open(system: &System, root: &Path) -> Result<Self, ConnectError> {
        let connection = open(system, root, OpenFlags::SQLITE_OPEN_READ_ONLY).await?;
        let name = system.name.clone();
        let connection = blocking(&system.name, move || {
            // A deferred transaction takes its snapshot at its first read.
            let begun = connection.execute_batch("begin; select count(*) from sqlite_schema");
            begun.map(|()| connection).map_err(|error| failure(&name, "beginning a read transaction", error))
        })
        .await?;
        let interrupt = Arc::new(connection.get_interrupt_handle());
        Ok(Self { system: system.name.clone(), zone: system.time_zone, connection: Arc::new(Mutex::new(connection)), interrupt })
    }
}

#[async_trait]
impl crate::connect::Source for Source {
    async fn read(&self, stream: &Stream, extent: Extent) -> Result<Reading, ConnectError> {
        let place = Place::stream(&self.system, &stream.name);
        check_after(&place, stream, extent.after())?;
        if matches!(extent, Extent::NewFiles(_)) {
            return Err(ConnectError::Changed { place, what: "a table has no files".into() });
        }
        let (connection, stream, zone) = (Arc::clone(&self.connection), stream.clone(), self.zone);
        let (facts_sender, facts) = oneshot::channel();
        let discards = Discards::default();
        let noted = discards.clone();
        let (sender, batches) = mpsc::channel(BATCHES_AHEAD);
        let running = Running { has_ended: Arc::default(), interrupt: Arc::clone(&self.interrupt) };
        let has_ended = Arc::clone(&running.has_ended);
        let thread = tokio::task::spawn_blocking(move || {
            let connection = lock(&connection);
            let plan = match Plan::new(&connection, place, &stream, &extent, zone) {
                Ok(plan) => plan,
                Err(error) => {
                    let _reader_gone = facts_sender.send(Err(error));
                    return;
                }
            };
            if facts_sender.send(Ok((Arc::clone(&plan.schema), plan.is_unique, plan.rows_expected))).is_ok()
                && let Err(error) = plan.pump(&connection, &sender, noted)
            {
                let _reader_gone = sender.blocking_send(Err(error));
            }
            drop(connection);
            has_ended.store(true, Ordering::Release);
        });
        let (schema, is_unique, rows_expected) = facts.await.map_err(|source| ended(&self.system, source))??;
        Ok(Reading {
            schema,
            parts: vec![running.of(part_of(self.system.clone(), batches, thread))],
            safe_until: None,
            is_unique,
            rows_expected,
            files: Vec::new(),
            discards,
        })
    }
}

/// A thread that panicked left the connection as SQLite keeps it: consistent.
fn lock(connection: &Mutex<Connection>) -> MutexGuard<'_, Connection> {
    connection.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What to read and how, settled before the first row.
struct Plan {
    place: Arc<Place>,
    schema: SchemaRef,
    key: Vec<String>,
    /// Positions of the key columns.
    key_at: Vec<usize>,
    sql: String,
    /// The statement is run once with each of these.
    bounds: Vec<Vec<SqlValue>>,
    /// Of the rows that come, only those with these keys.
    wanted: Option<Wanted>,
    is_unique: bool,
    rows_expected: Option<u64>,
    /// Position of a timestamp cursor and the first instant wanted: text cannot be compared in SQL across forms and zones.
    floor: Option<(usize, i64)>,
    zone: Option<Tz>,
    values: Policy,
    /// By column: the type that the connector chose.
    choices: Vec<Option<ColumnType>>,
}

impl Plan {
    fn new(
        connection: &Connection,
        place: Arc<Place>,
        stream: &Stream,
        extent: &Extent,
        zone: Option<Tz>,
    ) -> Result<Self, ConnectError> {
        let mut table = catalog::describe(connection, &place, &stream.table)?;
        table.choose(&stream.types);
        check_names(&place, stream, &table.names())?;
        let kept = table.columns.iter().filter(|column| !stream.exclude.contains(&column.name));
        let mut columns: Vec<(&str, &DataType)> =
            kept.map(|column| Ok((column.name.as_str(), column.readable(&place)?))).collect::<Result<_, ConnectError>>()?;
        check_cursor(&place, stream, columns.iter().copied())?;
        if let Extent::Columns(wanted) = extent {
            columns.retain(|(name, _)| wanted.iter().any(|wanted| wanted == name));
        }

        let position = |name: &String| columns.iter().position(|(column, _)| column == name);
        let cursor = stream.cursor.as_ref().map(|cursor| &cursor.field);
        let is_unique = catalog::is_unique(connection, &place, &table, &stream.table, &stream.key)?;
        let all = catalog::rows_expected(connection, &stream.table);
        let (mut condition, mut bounds, mut floor, mut wanted, mut rows_expected) =
            (String::new(), vec![Vec::new()], None, None, all);
        match (extent, cursor) {
            (Extent::Since(after), Some(field)) => {
                let bound = match after {
                    CursorValue::Integer(first) => Some(SqlValue::Integer(*first)),
                    CursorValue::Timestamp(first) => {
                        floor = position(field).map(|at| (at, *first));
                        first_day(*first)
                    }
                };
                rows_expected = None;
                if let Some(bound) = bound {
                    (condition, bounds) = (since(field), vec![vec![bound]]);
                }
            }
            (Extent::Keys(keys), _) => {
                rows_expected = Some(keys.iter().map(|keys| keys.num_rows() as u64).sum());
                match Lookup::new(keys, &table, &stream.key, is_unique) {
                    Lookup::Each { conditions, keys } => (condition, bounds) = (conditions, keys),
                    Lookup::Among(keys) => wanted = Some(keys),
                }
            }
            _ => {}
        }
        let list = columns.iter().map(|(name, _)| quoted(name)).collect::<Vec<_>>().join(", ");
        let sql = format!("select {list} from {}{condition}", table.sql_name);
        let key_at = stream.key.iter().filter_map(position).collect();
        let choices = columns.iter().map(|(name, _)| stream.types.get(*name).copied()).collect();
        let (schema, key) = (schema_of(columns), stream.key.clone());
        Ok(Self {
            place,
            schema,
            key,
            key_at,
            sql,
            bounds,
            wanted,
            is_unique,
            rows_expected,
            floor,
            zone,
            values: stream.contract.values,
            choices,
        })
    }

    /// Sends all batches; ends early without error when nobody reads them any more.
    fn pump(&self, connection: &Connection, sender: &Batches, discards: Discards) -> Result<(), ConnectError> {
        let fail = |error| failure(&self.place.system, &format!("reading stream \"{}\"", self.place.name), error);
        let mut statement = connection.prepare(&self.sql).map_err(fail)?;
        let mut batcher =
            Batcher::new(Arc::clone(&self.place), Arc::clone(&self.schema), &self.key).with_policy(self.values, discards);
        for bound in &self.bounds {
            let mut rows = statement.query(rusqlite::params_from_iter(bound)).map_err(fail)?;
            while let Some(row) = rows.next().map_err(fail)? {
                if self.is_before_floor(row) || self.is_unwanted(row) {
                    continue;
                }
                for at in 0..self.choices.len() {
                    let value = row.get_ref(at).map_err(fail)?;
                    batcher.push(at, self.decode(value, at), || self.key_of(row))?;
                }
                if let Some(batch) = batcher.end_row()?
                    && sender.blocking_send(Ok(batch)).is_err()
                {
                    return Ok(());
                }
            }
        }
        if let Some(batch) = batcher.flush()? {
            let _reader_gone = sender.blocking_send(Ok(batch));
        }
        Ok(())
    }

    fn decode<'r>(&self, value: ValueRef<'r>, at: usize) -> Result<Option<Scalar<'r>>, Fault> {
        match self.choices[at] {
            Some(choice) => decode_as(value, choice, self.zone),
            None => decode(value, self.schema.field(at).data_type(), self.zone),
        }
    }

    /// Whether the row's cursor lies before what is wanted. A value that is no timestamp is not: reading it says what is wrong with it.
    fn is_before_floor(&self, row: &rusqlite::Row<'_>) -> bool {
        let Some((at, first)) = self.floor else { return false };
        let value = row.get_ref(at).unwrap_or(ValueRef::Null);
        matches!(self.decode(value, at), Ok(Some(Scalar::Instant(micros))) if micros < first)
    }

    /// Whether only certain keys are wanted and this is none of them. A key that cannot be read is: reading it says what is wrong with it.
    fn is_unwanted(&self, row: &rusqlite::Row<'_>) -> bool {
        let Some(wanted) = &self.wanted else { return false };
        let key: Option<Vec<serde_json::Value>> = self.key_at.iter().map(|at| self.cell(row, *at)).collect();
        key.is_some_and(|key| !wanted.contains(key))
    }

    fn cell(&self, row: &rusqlite::Row<'_>, at: usize) -> Option<serde_json::Value> {
        let data_type = self.schema.field(at).data_type();
        match self.decode(row.get_ref(at).ok()?, at) {
            Ok(Some(scalar)) => Some(scalar_json(&scalar, scale_of(data_type))),
            _ => None,
        }
    }

    fn key_of(&self, row: &rusqlite::Row<'_>) -> String {
        let shown = |at: &usize| self.cell(row, *at).map_or_else(|| "?".into(), |cell| cell.to_string());
        key_text(self.key_at.iter().map(|at| (self.schema.field(*at).name().as_str(), shown(at))))
    }
}

/// Rows without a cursor value may have changed at any time.
fn since(field: &str) -> String {
    let field = quoted(field);
    format!(" where ({field} >= ?1 or {field} is null)")
}

/// The day before the day before an instant: ISO texts in any zone that are at or after the instant sort behind it, so that an index helps.
fn first_day(micros: i64) -> Option<SqlValue> {
    const DAY_MICROS: i64 = 86_400_000_000;
    let days = i32::try_from(micros.div_euclid(DAY_MICROS) - 2).ok()?;
    date_text(days).filter(|day| day.len() == 10).map(SqlValue::Text)
}
