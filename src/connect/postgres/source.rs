//! Reading.

use std::pin::Pin;
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use async_trait::async_trait;
use chrono_tz::Tz;
use futures::StreamExt;
use futures::stream::{BoxStream, try_unfold};
use tokio::sync::{Mutex, OwnedMutexGuard};
use tokio_postgres::CopyOutStream;

use super::catalog::{self, Kind, Table};
use super::copy::{Fields, Malformed, Rows};
use super::decode::decode;
use super::failure::failure;
use super::session::{Purpose, Session, connect};
use crate::base::Secret;
use crate::connect::cells::{Batcher, schema_of};
use crate::connect::change::{key_text, quoted};
use crate::connect::declared::{check_after, check_cursor, check_names};
use crate::connect::error::Place;
use crate::connect::instant::{instant_text, local_floor, local_text};
use crate::connect::value::{scalar_json, scale_of};
use crate::connect::{ConnectError, CursorValue, Discards, Extent, Reading};
use crate::project::{CursorKind, Stream, System};

/// A connection, held in one read-only transaction.
pub(in crate::connect) struct Source {
    system: String,
    zone: Option<Tz>,
    /// Held by the reading that uses the connection.
    session: Arc<Mutex<Session>>,
    /// See [`catalog::oldest_open_transaction`].
    safe_until: Option<i64>,
}

impl Source {
    pub(in crate::connect) async fn open(system: &System, secret: Option<Secret>) -> Result<Self, ConnectError> {
        let fail = |error| failure(&system.name, "beginning a read transaction", error);
        let session = connect(system, secret, Purpose::Read).await?;
        // Before the snapshot: a transaction that commits in between is in the snapshot, one that begins in between is younger than the bound.
        let safe_until = catalog::oldest_open_transaction(&session.client).await.map_err(fail)?;
        // The first query takes the snapshot.
        let begin = "begin isolation level repeatable read read only; select pg_catalog.now(); savepoint stream";
        session.client.batch_execute(begin).await.map_err(fail)?;
        Ok(Self { system: system.name.clone(), zone: system.time_zone, session: Arc::new(Mutex::new(session)), safe_until })
    }
}

#[async_trait]
impl crate::connect::Source for Source {
    async fn read(&self, stream: &Stream, extent: Extent) -> Result<Reading, ConnectError> {
        let after = extent.after();
        let place = Place::stream(&self.system, &stream.name);
        check_after(&place, stream, after)?;
        let session = Arc::clone(&self.session).lock_owned().await;
        let fail = |error| failure(&place.system, &format!("reading stream \"{}\"", place.name), error);
        // An error in the last reading leaves the transaction unusable up to here; the snapshot stays the same.
        session.client.batch_execute("rollback to savepoint stream").await.map_err(fail)?;
        let table = catalog::describe(&session.client, &place, session.schema.as_deref(), &stream.table).await?;
        let plan = Plan::new(Arc::clone(&place), &table, stream, after, self.zone)?;
        let copy = session.client.copy_out(&plan.sql).await.map_err(fail)?;
        let is_timestamp = stream.cursor.as_ref().is_some_and(|cursor| cursor.kind == CursorKind::Timestamp);
        let safe_until = self.safe_until.filter(|_| is_timestamp).map(CursorValue::Timestamp);
        Ok(Reading {
            schema: Arc::clone(&plan.schema),
            parts: vec![batches(session, copy, plan)],
            safe_until,
            is_unique: false,
            rows_expected: None,
            files: Vec::new(),
            discards: Discards::default(),
        })
    }
}

/// What to read and how, settled before the first row.
struct Plan {
    place: Arc<Place>,
    schema: SchemaRef,
    kinds: Vec<Kind>,
    key: Vec<String>,
    sql: String,
    zone: Option<Tz>,
}

impl Plan {
    fn new(
        place: Arc<Place>,
        table: &Table,
        stream: &Stream,
        after: Option<CursorValue>,
        zone: Option<Tz>,
    ) -> Result<Self, ConnectError> {
        check_names(&place, stream, &table.names())?;
        let kept: Vec<_> = table.columns.iter().filter(|column| !stream.exclude.contains(&column.name)).collect();
        let kinds: Vec<Kind> = kept.iter().map(|column| column.readable(&place, zone)).collect::<Result<_, _>>()?;
        let types: Vec<_> = kinds.iter().map(|kind| kind.data_type()).collect();
        let columns = kept.iter().map(|column| column.name.as_str()).zip(&types);
        check_cursor(&place, stream, columns.clone())?;

        let list = kept.iter().map(|column| column.selected()).collect::<Vec<_>>().join(", ");
        let cursor = stream.cursor.as_ref().map(|cursor| cursor.field.as_str());
        let kind = cursor.and_then(|field| columns.clone().position(|(name, _)| name == field)).map(|at| kinds[at]);
        let condition =
            cursor.zip(kind).zip(after).and_then(|((field, kind), after)| since(field, kind, after, zone)).unwrap_or_default();
        let sql = format!("copy (select {list} from {}{condition}) to stdout (format binary)", table.sql_name);
        Ok(Self { place, schema: schema_of(columns), kinds, key: stream.key.clone(), sql, zone })
    }

    fn failure(&self, error: tokio_postgres::Error) -> ConnectError {
        failure(&self.place.system, &format!("reading stream \"{}\"", self.place.name), error)
    }

    fn changed(&self, what: &str) -> ConnectError {
        ConnectError::Changed { place: Arc::clone(&self.place), what: what.into() }
    }

    /// Adds one row to the batch being filled; yields a batch when it is full.
    fn decode_row(&self, batcher: &mut Batcher, bytes: &[u8], fields: &Fields) -> Result<Option<RecordBatch>, ConnectError> {
        for (at, (kind, field)) in self.kinds.iter().zip(fields).enumerate() {
            let value = field.as_ref().map(|range| &bytes[range.clone()]);
            batcher.push(at, decode(*kind, value, self.zone), || self.key_of(bytes, fields))?;
        }
        batcher.end_row()
    }

    fn key_of(&self, bytes: &[u8], fields: &Fields) -> String {
        let columns =
            self.schema.fields().iter().zip(&self.kinds).zip(fields).filter(|((column, _), _)| self.key.contains(column.name()));
        key_text(columns.map(|((column, kind), field)| {
            let shown = match decode(*kind, field.as_ref().map(|range| &bytes[range.clone()]), self.zone) {
                Ok(Some(scalar)) => scalar_json(&scalar, scale_of(column.data_type())).to_string(),
                _ => "?".into(),
            };
            (column.name().as_str(), shown)
        }))
    }
}

/// The condition for rows at or after a cursor. `copy` takes no parameters: what is spliced in are digits formatted here.
/// Rows without a cursor value may have changed at any time. `None`: a cursor before all time.
fn since(field: &str, kind: Kind, after: CursorValue, zone: Option<Tz>) -> Option<String> {
    let first = match (after, kind) {
        (CursorValue::Integer(first), _) => format!("{first}"),
        (CursorValue::Timestamp(first), Kind::Timestamp) => {
            format!("timestamp '{}'", local_text(local_floor(first, zone?)?, ' ', 6))
        }
        (CursorValue::Timestamp(first), _) => format!("timestamptz '{}'", instant_text(first)?),
    };
    let field = quoted(field);
    Some(format!(" where ({field} >= {first} or {field} is null)"))
}

/// What is kept between two batches.
struct Pump {
    copy: Pin<Box<CopyOutStream>>,
    plan: Plan,
    rows: Rows,
    batcher: Batcher,
    /// Batches that one message completed beyond the first.
    ready: std::collections::VecDeque<RecordBatch>,
    is_done: bool,
    _session: OwnedMutexGuard<Session>,
}

fn batches(
    session: OwnedMutexGuard<Session>,
    copy: CopyOutStream,
    plan: Plan,
) -> BoxStream<'static, Result<RecordBatch, ConnectError>> {
    let batcher = Batcher::new(Arc::clone(&plan.place), Arc::clone(&plan.schema), &plan.key);
    let rows = Rows::new(plan.kinds.len());
    let pump = Pump { copy: Box::pin(copy), plan, rows, batcher, ready: Default::default(), is_done: false, _session: session };
    try_unfold(pump, |mut pump| async move { Ok(pump.next().await?.map(|batch| (batch, pump))) }).boxed()
}

/// Why a message could not be taken.
enum Stop {
    Malformed(Malformed),
    Failed(ConnectError),
}

impl From<Malformed> for Stop {
    fn from(malformed: Malformed) -> Self {
        Self::Malformed(malformed)
    }
}

impl Pump {
    async fn next(&mut self) -> Result<Option<RecordBatch>, ConnectError> {
        loop {
            if let Some(batch) = self.ready.pop_front() {
                return Ok(Some(batch));
            }
            if self.is_done {
                return Ok(None);
            }
            match self.copy.next().await {
                Some(Ok(message)) => self.take(&message)?,
                Some(Err(error)) => return Err(self.plan.failure(error)),
                None if self.rows.has_ended() => {
                    self.is_done = true;
                    self.ready.extend(self.batcher.flush()?);
                }
                None => return Err(self.plan.changed("the server ended the stream early")),
            }
        }
    }

    fn take(&mut self, message: &[u8]) -> Result<(), ConnectError> {
        let Self { plan, rows, batcher, ready, .. } = self;
        let taken = rows.take(message, |bytes, fields| {
            let batch = plan.decode_row(batcher, bytes, fields).map_err(Stop::Failed)?;
            ready.extend(batch);
            Ok(())
        });
        taken.map_err(|stop| match stop {
            Stop::Malformed(Malformed(what)) => plan.changed(what),
            Stop::Failed(error) => error,
        })
    }
}
