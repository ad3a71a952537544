//! Reading.

use std::collections::VecDeque;
use std::sync::Arc;

use async_trait::async_trait;
use chrono_tz::Tz;
use tokio::sync::Mutex;
use tokio_postgres::Client;
use tokio_postgres::error::SqlState;

use super::catalog;
use super::failure::failure;
use super::part::{Shared, part};
use super::plan::{Piece, Plan};
use super::relation::{self, Range};
use super::snapshot::Snapshot;

use crate::base::Secret;
use crate::connect::declared::check_after;
use crate::connect::error::Place;
use crate::connect::{ConnectError, CursorValue, Discards, Extent, Reading};
use crate::project::{CursorKind, Stream, System};

/// Keys for which a second connection is worth it.
const SPLIT_KEY_STATEMENTS_MIN: usize = 8;

/// A system, held in one snapshot.
pub(in crate::connect) struct Source {
    system: String,
    zone: Option<Tz>,
    connections: usize,
    /// Held by the reading that uses the connections.
    snapshot: Arc<Mutex<Snapshot>>,
}

impl Source {
    pub(in crate::connect) async fn open(system: &System, secret: Option<Secret>) -> Result<Self, ConnectError> {
        let snapshot = Snapshot::take(system, secret).await?;
        let (name, connections) = (system.name.clone(), system.load.connections);
        Ok(Self { system: name, zone: system.time_zone, connections, snapshot: Arc::new(Mutex::new(snapshot)) })
    }
}

#[async_trait]
impl crate::connect::Source for Source {
    async fn read(&self, stream: &Stream, extent: Extent) -> Result<Reading, ConnectError> {
        let place = Place::stream(&self.system, &stream.name);
        check_after(&place, stream, extent.after())?;
        let mut snapshot = Arc::clone(&self.snapshot).lock_owned().await;
        let fail = |error| failure(&place.system, &format!("looking up table \"{}\"", stream.table), error);
        let session = Arc::clone(snapshot.first().await?);
        let client = &session.client;
        let table = catalog::describe(client, &place, session.schema.as_deref(), &stream.table).await?;
        let plan = Plan::new(Arc::clone(&place), &table, stream, &extent, self.zone)?;

        let key: Vec<&str> = plan.exact_key.iter().map(String::as_str).collect();
        let cursor = stream.cursor.as_ref().map(|cursor| cursor.field.as_str());
        let relation = relation::describe(client, &plan.sql_name, &key, cursor).await.map_err(fail)?;
        let relation = relation.ok_or_else(|| plan.changed("it is gone"))?;
        settle(client, &plan).await?;
        let (pieces, rows_expected) = match &extent {
            Extent::Keys(batches) => {
                let rows = batches.iter().map(|batch| batch.num_rows() as u64).sum();
                (plan.keys(&table, stream, batches)?, Some(rows))
            }
            Extent::NewFiles(_) => return Err(plan.changed("a table has no files")),
            // The index finds the rows faster than all connections together.
            Extent::Since(_) if relation.has_index => {
                (vec![Piece::Range(Range { from: plan.sql_name.as_str().into(), pages: None })], None)
            }
            Extent::Whole | Extent::Columns(_) | Extent::Since(_) => {
                let ranges = relation.ranges(client, &plan.sql_name, self.connections).await.map_err(fail)?;
                let rows = relation.rows.filter(|_| extent.after().is_none());
                (ranges.into_iter().map(Piece::Range).collect(), rows)
            }
        };
        let worth = if matches!(extent, Extent::Keys(_)) { pieces.len() / SPLIT_KEY_STATEMENTS_MIN } else { pieces.len() };
        let sessions = snapshot.sessions(worth).await;
        let is_timestamp = stream.cursor.as_ref().is_some_and(|cursor| cursor.kind == CursorKind::Timestamp);
        let safe_until = snapshot.safe_until.filter(|_| is_timestamp).map(CursorValue::Timestamp);
        let (schema, discards) = (Arc::clone(&plan.schema), Discards::default());
        let pieces = std::sync::Mutex::new(VecDeque::from(pieces));
        let shared = Arc::new(Shared { plan, pieces, discards: discards.clone(), _snapshot: snapshot });
        Ok(Reading {
            schema,
            parts: sessions.into_iter().map(|session| part(Arc::clone(&shared), session)).collect(),
            safe_until,
            is_unique: relation.is_unique,
            rows_expected,
            files: Vec::new(),
            discards,
        })
    }
}

/// Locks the table against changes of its shape for as long as the reading lasts, and refuses one that does not look any more as the snapshot
/// shows it: the catalog that a statement is planned with is always the newest.
async fn settle(client: &Client, plan: &Plan) -> Result<(), ConnectError> {
    let doing = format!("reading stream \"{}\"", plan.place.name);
    let fail = |error| failure(&plan.place.system, &doing, error);
    let changed = |error: tokio_postgres::Error| match error.code() {
        Some(&SqlState::UNDEFINED_COLUMN | &SqlState::UNDEFINED_TABLE) => {
            plan.changed(error.as_db_error().map_or_else(|| "a name is gone".into(), |answer| answer.message().to_owned()))
        }
        _ => fail(error),
    };
    let statement = client.prepare(&format!("{} limit 0", plan.select())).await.map_err(changed)?;
    let now = statement.columns().iter().map(|column| column.type_().oid());
    if let Some((_, column)) = now.zip(plan.oids()).zip(statement.columns()).find(|((now, then), _)| now != then) {
        return Err(plan.changed(format!("column \"{}\" has another type now", column.name())));
    }
    // Running it locks partitions and checks rights, too.
    client.query(&statement, &[]).await.map_err(fail)?;
    match relation::rewritten(client).await.map_err(fail)? {
        Some(table) => Err(plan.changed(format!("the rows of table {table} were written anew after this pull began"))),
        None => Ok(()),
    }
}
