//! Reading.
//!
//! Several connections see one snapshot if all begin while nothing commits. A further connection brings that moment about: by `backup stage
//! block_commit` on MariaDB, which lets statements go on and only holds commits back, by `flush tables with read lock` on MySQL. It lasts as long as
//! the others need to begin, and is given up after two seconds of waiting; then, or without the right to it (`reload`), one connection reads all.

use std::collections::VecDeque;
use std::sync::{Arc, PoisonError};

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use async_trait::async_trait;
use chrono_tz::Tz;
use futures::StreamExt;
use mysql_async::Error;
use mysql_async::prelude::Queryable;
use tokio::sync::{Mutex, OwnedMutexGuard, mpsc};

use super::catalog::{self, Kind, Table};
use super::decode::{decode, fill};
use super::failure::{code, failure};
use super::field::{Field, Row};
use super::pieces::{self, LARGE_BYTES, Piece};
use super::session::{Purpose, Session, connect, wires};
use super::wire::Wire;
use crate::base::Secret;
use crate::connect::cells::{Batcher, schema_of};
use crate::connect::change::key_text;
use crate::connect::declared::{check_after, check_column, check_cursor, check_names};
use crate::connect::error::{Place, Role};
use crate::connect::task::{blocking, part_of};
use crate::connect::value::{scalar_json, scale_of};
use crate::connect::{ConnectError, Discards, Extent, Part, Reading};
use crate::project::{Policy, Stream, System};

/// Batches of a part that wait for the consumer.
const BATCHES_AHEAD: usize = 2;

/// Connections, held in read-only transactions with one snapshot.
pub(in crate::connect) struct Source {
    system: String,
    zone: Option<Tz>,
    /// Looks tables up; what it finds is not of the snapshot, but the server refuses to read a table that was altered since.
    lookup: Mutex<Session>,
    /// Never empty.
    wires: Vec<Arc<std::sync::Mutex<Wire>>>,
    /// Held by all parts of the reading that uses the connections.
    turn: Arc<Mutex<()>>,
}

impl Source {
    pub(in crate::connect) async fn open(system: &System, secret: Option<Secret>) -> Result<Self, ConnectError> {
        let fail = |error| failure(&system.name, "beginning a read transaction", error);
        let mut lookup = connect(system, secret.as_ref(), Purpose::Read).await?;
        let is_worth_several = system.load.connections > 1 && has_large_table(&mut lookup).await.map_err(fail)?;
        let count = if is_worth_several { system.load.connections } else { 1 };
        let mut wires = wires(system, secret.as_ref(), &lookup, count).await?;
        let guard = match wires.len() {
            1 => None,
            _ => match stand_still(system, secret.as_ref()).await {
                Ok(guard) => Some(guard),
                Err(error) => {
                    let why =
                        std::error::Error::source(&error).map_or_else(|| error.to_string(), |cause| format!("{error}: {cause}"));
                    tracing::info!(system = system.name, why, "reading over one connection");
                    wires.truncate(1);
                    None
                }
            },
        };
        let name = system.name.clone();
        let wires = blocking(&system.name, move || {
            let begin = |wire: &mut Wire| wire.run("start transaction with consistent snapshot, read only");
            let begun = wires.iter_mut().try_for_each(begin);
            begun.map(|()| wires).map_err(|error| failure(&name, "beginning a read transaction", error))
        });
        let wires = wires.await;
        if let Some(mut guard) = guard {
            // Ends with the connection at the latest.
            let end = if guard.is_mariadb { "backup stage end" } else { "unlock tables" };
            guard.conn.query_drop(end).await.map_err(fail)?;
            guard.conn.disconnect().await.map_err(fail)?;
        }
        let wires = wires?.into_iter().map(|wire| Arc::new(std::sync::Mutex::new(wire))).collect();
        Ok(Self { system: system.name.clone(), zone: system.time_zone, lookup: Mutex::new(lookup), wires, turn: Arc::default() })
    }
}

/// Whether there is a table that is worth several connections.
async fn has_large_table(session: &mut Session) -> Result<bool, Error> {
    let sql = "select count(*) from information_schema.tables where table_schema = ? and data_length > ?";
    let tables: Option<u64> = session.conn.exec_first(sql, (&session.database, LARGE_BYTES)).await?;
    Ok(tables.is_some_and(|tables| tables > 0))
}

/// A connection that keeps everybody from committing as long as it is in the state in which it is handed out.
async fn stand_still(system: &System, secret: Option<&Secret>) -> Result<Session, ConnectError> {
    let fail = |error| failure(&system.name, "asking for a moment without commits", error);
    let mut guard = connect(system, secret, Purpose::Read).await?;
    guard.conn.query_drop("set session lock_wait_timeout = 2").await.map_err(fail)?;
    let steps: &[&str] =
        if guard.is_mariadb { &["backup stage start", "backup stage block_commit"] } else { &["flush tables with read lock"] };
    for step in steps {
        guard.conn.query_drop(*step).await.map_err(fail)?;
    }
    Ok(guard)
}

#[async_trait]
impl crate::connect::Source for Source {
    async fn read(&self, stream: &Stream, extent: Extent) -> Result<Reading, ConnectError> {
        let place = Place::stream(&self.system, &stream.name);
        check_after(&place, stream, extent.after())?;
        let turn = Arc::new(Arc::clone(&self.turn).lock_owned().await);
        let mut lookup = self.lookup.lock().await;
        let Session { conn, database, .. } = &mut *lookup;
        let table = catalog::describe(conn, &place, database, &stream.table).await?;
        if let Some(engine) = &table.untransacted {
            tracing::warn!(
                system = self.system,
                stream = stream.name,
                engine,
                "the table knows no transactions: it is not read as of the snapshot"
            );
        }
        let plan = Plan::new(Arc::clone(&place), &table, stream, &extent, self.zone)?;
        let ranges = match &extent {
            Extent::Whole | Extent::Columns(_) if self.wires.len() > 1 => {
                pieces::ranges(conn, &table).await.map_err(|error| plan.failure(error))?
            }
            _ => None,
        };
        drop(lookup);
        let pieces = match ranges {
            Some(ranges) => ranges,
            None => plan.pieces(&table, stream, &extent)?,
        };
        let parts_max = self.wires.len().min(pieces.len().max(1));
        let plan = Arc::new(Plan { queue: std::sync::Mutex::new(pieces.into()), ..plan });
        let parts = self.wires[..parts_max].iter().map(|wire| {
            let (plan, wire, turn) = (Arc::clone(&plan), Arc::clone(wire), Arc::clone(&turn));
            futures::stream::once(part(plan, wire, turn)).flatten().boxed()
        });
        Ok(Reading {
            schema: Arc::clone(&plan.schema),
            parts: parts.collect(),
            safe_until: None,
            is_unique: plan.is_unique(&table),
            rows_expected: table.rows.filter(|_| matches!(extent, Extent::Whole | Extent::Columns(_))),
            files: Vec::new(),
            discards: plan.discards.clone(),
        })
    }
}

/// Starts a part when it is first asked for a batch, so that a reading that only tells its schema costs nothing.
async fn part(plan: Arc<Plan>, wire: Arc<std::sync::Mutex<Wire>>, turn: Arc<OwnedMutexGuard<()>>) -> Part {
    let (sender, batches) = mpsc::channel(BATCHES_AHEAD);
    let system = plan.place.system.clone();
    let thread = tokio::task::spawn_blocking(move || {
        let mut wire = wire.lock().unwrap_or_else(PoisonError::into_inner);
        if let Err(error) = plan.pump(&mut wire, &sender) {
            let _reader_gone = sender.blocking_send(Err(error));
        }
        drop(turn);
    });
    part_of(system, batches, thread)
}

/// What to read and how, settled before the first row.
struct Plan {
    place: Arc<Place>,
    schema: SchemaRef,
    kinds: Vec<Kind>,
    key: Vec<String>,
    /// Up to the condition.
    sql: String,
    zone: Option<Tz>,
    values: Policy,
    discards: Discards,
    queue: std::sync::Mutex<VecDeque<Piece>>,
}

impl Plan {
    fn new(place: Arc<Place>, table: &Table, stream: &Stream, extent: &Extent, zone: Option<Tz>) -> Result<Self, ConnectError> {
        let names = table.names();
        check_names(&place, stream, &names)?;
        let readable: Vec<_> = table
            .columns
            .iter()
            .filter(|column| !stream.exclude.contains(&column.name))
            .map(|column| Ok((column, column.readable(&place, zone, stream.types.get(&column.name).copied())?)))
            .collect::<Result<_, ConnectError>>()?;
        let types: Vec<_> = readable.iter().map(|(column, kind)| (column.name.as_str(), kind.data_type())).collect();
        check_cursor(&place, stream, types.iter().map(|(name, data_type)| (*name, data_type)))?;
        let kept: Vec<_> = match extent {
            Extent::Columns(wanted) => {
                wanted.iter().try_for_each(|column| check_column(&place, &stream.table, &names, column, Role::Looked))?;
                readable.into_iter().filter(|(column, _)| wanted.contains(&column.name)).collect()
            }
            _ => readable,
        };
        let list = kept.iter().map(|(column, kind)| column.selected(*kind)).collect::<Vec<_>>().join(", ");
        let kept_types = types.iter().filter(|(name, _)| kept.iter().any(|(column, _)| column.name == *name));
        Ok(Self {
            schema: schema_of(kept_types.map(|(name, data_type)| (*name, data_type))),
            kinds: kept.iter().map(|(_, kind)| *kind).collect(),
            key: stream.key.clone(),
            sql: format!("select {list} from {}", table.sql_name),
            zone,
            values: stream.contract.values,
            discards: Discards::default(),
            queue: Default::default(),
            place,
        })
    }

    /// The pieces of a reading that is not split by ranges.
    fn pieces(&self, table: &Table, stream: &Stream, extent: &Extent) -> Result<Vec<Piece>, ConnectError> {
        let stored = |name: &String| {
            let column = table.column(name);
            column.map(|column| Ok((column, column.readable(&self.place, self.zone, None)?))).transpose()
        };
        Ok(match (extent, &stream.cursor) {
            (Extent::Keys(batches), _) => {
                let columns = stream.key.iter().filter_map(|name| stored(name).transpose()).collect::<Result<Vec<_>, _>>()?;
                pieces::keys(&columns, batches, self.zone)
            }
            (Extent::Since(after), Some(cursor)) => match stored(&cursor.field)? {
                Some((_, kind)) => vec![pieces::since(&cursor.field, kind, *after, self.zone)],
                None => vec![Piece::whole()],
            },
            // A database has no files: nothing of it was taken before.
            _ => vec![Piece::whole()],
        })
    }

    /// Whether a unique index lies within the key, and two of its values are two of ours. Local times of a clock change are not.
    fn is_unique(&self, table: &Table) -> bool {
        let told_apart = |name: &String| {
            let kind = self.schema.index_of(name).ok().and_then(|at| self.kinds.get(at));
            kind.is_some_and(|kind| !matches!(kind, Kind::Datetime | Kind::Chosen(_)))
        };
        table.unique.iter().any(|index| index.iter().all(|name| self.key.contains(name) && told_apart(name)))
    }

    fn failure(&self, error: Error) -> ConnectError {
        match code(&error) {
            // 1412: altered since the snapshot; 1054 and 1146: column or table gone since it was looked up.
            Some(1412 | 1054 | 1146) => ConnectError::Changed { place: Arc::clone(&self.place), what: error.to_string() },
            _ => failure(&self.place.system, &format!("reading stream \"{}\"", self.place.name), error),
        }
    }

    fn next_piece(&self) -> Option<Piece> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner).pop_front()
    }

    /// Sends batches until no piece is left; ends early without error when nobody reads them any more.
    fn pump(&self, wire: &mut Wire, sender: &mpsc::Sender<Result<RecordBatch, ConnectError>>) -> Result<(), ConnectError> {
        let mut batcher = Batcher::new(Arc::clone(&self.place), Arc::clone(&self.schema), &self.key)
            .with_policy(self.values, self.discards.clone());
        while let Some(piece) = self.next_piece() {
            let sql = format!("{}{}", self.sql, piece.condition);
            wire.query(&sql, &piece.values).map_err(|error| self.failure(error))?;
            while let Some(row) = wire.row().map_err(|error| self.failure(error))? {
                if let Some(batch) = self.decode_row(&mut batcher, row)?
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

    /// Adds one row to the batch being filled; yields a batch when it is full.
    fn decode_row(&self, batcher: &mut Batcher, row: Row<'_>) -> Result<Option<RecordBatch>, ConnectError> {
        let filled = row.fields(|at, field| match field {
            Field::Null => batcher.push_null(at),
            field => match fill(self.kinds[at], field, self.zone, batcher.cells(at)) {
                Ok(()) => Ok(()),
                Err(fault) => batcher.misfit(at, fault, || self.key_of(row)),
            },
        });
        filled.map_err(|error| self.failure(error))??;
        batcher.add_bytes(row.bytes.len());
        batcher.end_row()
    }

    fn key_of(&self, row: Row<'_>) -> String {
        let mut parts = Vec::new();
        let _read_before = row.fields::<()>(|at, field| {
            let column = self.schema.field(at);
            if self.key.contains(column.name()) {
                let shown = match decode(self.kinds[at], *field, self.zone) {
                    Ok(Some(scalar)) => scalar_json(&scalar, scale_of(column.data_type())).to_string(),
                    _ => "?".into(),
                };
                parts.push((column.name().as_str(), shown));
            }
            Ok(())
        });
        key_text(parts)
    }
}
