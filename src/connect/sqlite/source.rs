//! Reading.

use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use arrow::array::RecordBatch;
use arrow::datatypes::{DataType, SchemaRef};
use async_trait::async_trait;
use chrono_tz::Tz;
use futures::StreamExt;
use futures::stream::BoxStream;
use rusqlite::types::{Value as SqlValue, ValueRef};
use rusqlite::{Connection, OpenFlags};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;

use super::value::decode;
use super::{blocking, catalog, ended, failure, open};
use crate::connect::cells::{Batcher, schema_of};
use crate::connect::change::{key_text, quoted};
use crate::connect::declared::{check_after, check_cursor, check_names};
use crate::connect::error::Place;
use crate::connect::instant::date_text;
use crate::connect::value::{Scalar, scalar_json, scale_of};
use crate::connect::{ConnectError, CursorValue, Discards, Extent, Reading};
use crate::project::{Policy, Stream, System};

/// Batches that wait for the consumer.
const BATCHES_AHEAD: usize = 2;

type Batches = mpsc::Sender<Result<RecordBatch, ConnectError>>;

/// A file, held in one read transaction.
pub(in crate::connect) struct Source {
    system: String,
    zone: Option<Tz>,
    connection: Arc<Mutex<Connection>>,
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
        Ok(Self { system: system.name.clone(), zone: system.time_zone, connection: Arc::new(Mutex::new(connection)) })
    }
}

#[async_trait]
impl crate::connect::Source for Source {
    async fn read(&self, stream: &Stream, extent: Extent) -> Result<Reading, ConnectError> {
        let after = extent.after();
        let place = Place::stream(&self.system, &stream.name);
        check_after(&place, stream, after)?;
        let (connection, stream, zone) = (Arc::clone(&self.connection), stream.clone(), self.zone);
        let discards = Discards::default();
        let noted = discards.clone();
        let (schema_sender, schema) = oneshot::channel();
        let (sender, batches) = mpsc::channel(BATCHES_AHEAD);
        let thread = tokio::task::spawn_blocking(move || {
            let connection = lock(&connection);
            let plan = match Plan::new(&connection, place, &stream, after, zone) {
                Ok(plan) => plan,
                Err(error) => {
                    let _reader_gone = schema_sender.send(Err(error));
                    return;
                }
            };
            if schema_sender.send(Ok(Arc::clone(&plan.schema))).is_ok()
                && let Err(error) = plan.pump(&connection, &sender, noted)
            {
                let _reader_gone = sender.blocking_send(Err(error));
            }
        });
        let schema = schema.await.map_err(|source| ended(&self.system, source))??;
        Ok(Reading {
            schema,
            parts: vec![batches_of(self.system.clone(), batches, thread)],
            safe_until: None,
            is_unique: false,
            rows_expected: None,
            files: Vec::new(),
            discards,
        })
    }
}

/// A thread that panicked left the connection as SQLite keeps it: consistent.
fn lock(connection: &Mutex<Connection>) -> MutexGuard<'_, Connection> {
    connection.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The batches until the thread has ended; if it ended by a panic, that is the last item, so that half a table never looks like all of it.
fn batches_of(
    system: String,
    batches: mpsc::Receiver<Result<RecordBatch, ConnectError>>,
    thread: JoinHandle<()>,
) -> BoxStream<'static, Result<RecordBatch, ConnectError>> {
    let next = move |(mut batches, thread): (mpsc::Receiver<_>, Option<JoinHandle<()>>)| {
        let system = system.clone();
        async move {
            if let Some(batch) = batches.recv().await {
                return Some((batch, (batches, thread)));
            }
            match thread?.await {
                Ok(()) => None,
                Err(source) => Some((Err(ended(&system, source)), (batches, None))),
            }
        }
    };
    futures::stream::unfold((batches, Some(thread)), next).boxed()
}

/// What to read and how, settled before the first row.
struct Plan {
    place: Arc<Place>,
    schema: SchemaRef,
    key: Vec<String>,
    /// Positions of the key columns.
    key_at: Vec<usize>,
    sql: String,
    bound: Option<SqlValue>,
    /// Position of a timestamp cursor and the first instant wanted: text cannot be compared in SQL across forms and zones.
    floor: Option<(usize, i64)>,
    zone: Option<Tz>,
    values: Policy,
}

impl Plan {
    fn new(
        connection: &Connection,
        place: Arc<Place>,
        stream: &Stream,
        after: Option<CursorValue>,
        zone: Option<Tz>,
    ) -> Result<Self, ConnectError> {
        let table = catalog::describe(connection, &place, &stream.table)?;
        check_names(&place, stream, &table.names())?;
        let kept = table.columns.iter().filter(|column| !stream.exclude.contains(&column.name));
        let columns: Vec<(&str, &DataType)> =
            kept.map(|column| Ok((column.name.as_str(), column.readable(&place)?))).collect::<Result<_, ConnectError>>()?;
        check_cursor(&place, stream, columns.iter().copied())?;

        let position = |name: &String| columns.iter().position(|(column, _)| column == name);
        let cursor = stream.cursor.as_ref().map(|cursor| &cursor.field);
        let (condition, bound, floor) = match (cursor.zip(after), cursor.and_then(position)) {
            (Some((field, CursorValue::Integer(first))), _) => (since(field), Some(SqlValue::Integer(first)), None),
            (Some((field, CursorValue::Timestamp(first))), Some(at)) => (since(field), first_day(first), Some((at, first))),
            _ => (String::new(), None, None),
        };
        let condition = if bound.is_some() { condition } else { String::new() };
        let list = columns.iter().map(|(name, _)| quoted(name)).collect::<Vec<_>>().join(", ");
        let sql = format!("select {list} from {}{condition}", table.sql_name);
        let key_at = stream.key.iter().filter_map(position).collect();
        Ok(Self {
            place,
            schema: schema_of(columns),
            key: stream.key.clone(),
            key_at,
            sql,
            bound,
            floor,
            zone,
            values: stream.contract.values,
        })
    }

    /// Sends all batches; ends early without error when nobody reads them any more.
    fn pump(&self, connection: &Connection, sender: &Batches, discards: Discards) -> Result<(), ConnectError> {
        let fail = |error| failure(&self.place.system, &format!("reading stream \"{}\"", self.place.name), error);
        let mut statement = connection.prepare(&self.sql).map_err(fail)?;
        let mut rows = statement.query(rusqlite::params_from_iter(self.bound.iter())).map_err(fail)?;
        let mut batcher =
            Batcher::new(Arc::clone(&self.place), Arc::clone(&self.schema), &self.key).with_policy(self.values, discards);
        while let Some(row) = rows.next().map_err(fail)? {
            if self.is_before_floor(row) {
                continue;
            }
            for (at, field) in self.schema.fields().iter().enumerate() {
                let value = row.get_ref(at).map_err(fail)?;
                batcher.push(at, decode(value, field.data_type(), self.zone), || self.key_of(row))?;
            }
            if let Some(batch) = batcher.end_row()?
                && sender.blocking_send(Ok(batch)).is_err()
            {
                return Ok(());
            }
        }
        if let Some(batch) = batcher.flush()? {
            let _reader_gone = sender.blocking_send(Ok(batch));
        }
        Ok(())
    }

    /// Whether the row's cursor lies before what is wanted. A value that is no timestamp is not: reading it says what is wrong with it.
    fn is_before_floor(&self, row: &rusqlite::Row<'_>) -> bool {
        let Some((at, first)) = self.floor else { return false };
        let value = row.get_ref(at).unwrap_or(ValueRef::Null);
        matches!(decode(value, self.schema.field(at).data_type(), self.zone), Ok(Some(Scalar::Instant(micros))) if micros < first)
    }

    fn key_of(&self, row: &rusqlite::Row<'_>) -> String {
        let parts = self.key_at.iter().map(|at| {
            let field = self.schema.field(*at);
            let value = row.get_ref(*at).map(|value| decode(value, field.data_type(), self.zone));
            let shown = match value {
                Ok(Ok(Some(scalar))) => scalar_json(&scalar, scale_of(field.data_type())).to_string(),
                _ => "?".into(),
            };
            (field.name().as_str(), shown)
        });
        key_text(parts)
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
