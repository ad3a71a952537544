//! A part of a reading: one connection that takes one piece after the other from the reading's queue.

use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use arrow::array::RecordBatch;
use bytes::Bytes;
use futures::StreamExt;
use futures::channel::mpsc::Receiver;
use futures::stream::try_unfold;
use tokio::sync::OwnedMutexGuard;
use tokio_postgres::CopyOutStream;

use super::copy::{Block, Field, Fields, Found, Malformed, Rows};
use super::decode::{Filled, decode, fill};
use super::failure::failure;
use super::plan::{Piece, Plan};
use super::session::Session;
use super::snapshot::Snapshot;
use crate::connect::cells::Batcher;
use crate::connect::change::key_text;
use crate::connect::value::{scalar_json, scale_of};
use crate::connect::{ConnectError, Discards};

/// Rows that are decoded together: few enough that they stay in the fastest memory from one column to the next.
const ROWS_AT_ONCE: usize = 128;

/// What the parts of a reading share.
pub(super) struct Shared {
    pub(super) plan: Plan,
    pub(super) pieces: Mutex<VecDeque<Piece>>,
    pub(super) discards: Discards,
    /// Held until the last part has ended, so that no other reading uses the connections.
    pub(super) _snapshot: OwnedMutexGuard<Snapshot>,
}

struct Part {
    shared: Arc<Shared>,
    session: Arc<Session>,
    /// The piece that is being read.
    copy: Option<Copy>,
    /// Whether a statement was sent whose answer has not ended.
    is_running: bool,
    /// Rows on their way from what was received to the batch.
    found: Found,
    batcher: Batcher,
    /// Batches that are complete and not given out yet.
    ready: VecDeque<RecordBatch>,
    has_ended: bool,
}

/// A statement whose rows are coming.
struct Copy {
    /// Its rows where they are tapped.
    blocks: Option<Receiver<Bytes>>,
    /// Everything else, and where nothing is tapped its rows.
    stream: Pin<Box<CopyOutStream>>,
    rows: Rows,
}

/// The batches that `session` reads of what is left in the queue.
pub(super) fn part(shared: Arc<Shared>, session: Arc<Session>) -> crate::connect::Part {
    let plan = &shared.plan;
    let batcher = Batcher::new(Arc::clone(&plan.place), Arc::clone(&plan.schema), &plan.key);
    let batcher = batcher.with_policy(plan.values, shared.discards.clone());
    let found = Found::new(plan.kinds.len());
    let part = Part { shared, session, copy: None, is_running: false, found, batcher, ready: VecDeque::new(), has_ended: false };
    try_unfold(part, |mut part| async move { Ok(part.next().await?.map(|batch| (batch, part))) }).boxed()
}

impl Part {
    async fn next(&mut self) -> Result<Option<RecordBatch>, ConnectError> {
        loop {
            if let Some(batch) = self.ready.pop_front() {
                return Ok(Some(batch));
            }
            if self.has_ended {
                return Ok(None);
            }
            let Some(Copy { blocks, stream, rows }) = &mut self.copy else {
                self.begin().await?;
                continue;
            };
            if let Some(of_copy) = blocks {
                match of_copy.next().await {
                    Some(block) => self.take(Block::of_messages(&block))?,
                    None => *blocks = None,
                }
                continue;
            }
            match stream.next().await {
                Some(Ok(message)) => self.take(Block::of_message(&message))?,
                Some(Err(error)) => {
                    self.is_running = false;
                    return Err(self.failed(error));
                }
                None if rows.has_ended() => (self.copy, self.is_running) = (None, false),
                None => return Err(self.shared.plan.changed("the server ended the stream early")),
            }
        }
    }

    /// Begins the next piece, or ends the part.
    async fn begin(&mut self) -> Result<(), ConnectError> {
        let piece = self.shared.pieces.lock().unwrap_or_else(PoisonError::into_inner).pop_front();
        let Some(piece) = piece else {
            self.has_ended = true;
            self.ready.extend(self.batcher.flush()?);
            return Ok(());
        };
        self.is_running = true;
        let copy = self.session.client.copy_out(&self.shared.plan.copy(&piece)).await;
        self.is_running = copy.is_ok();
        let stream = Box::pin(copy.map_err(|error| self.failed(error))?);
        let rows = Rows::new(self.shared.plan.kinds.len());
        self.copy = Some(Copy { blocks: self.session.copies.take(), stream, rows });
        Ok(())
    }

    fn failed(&self, error: tokio_postgres::Error) -> ConnectError {
        let place = &self.shared.plan.place;
        failure(&place.system, &format!("reading stream \"{}\"", place.name), error)
    }

    /// Decodes rows, some of them at a time and these column by column, which takes less time than value by value.
    fn take(&mut self, mut block: Block<'_>) -> Result<(), ConnectError> {
        let Self { shared, copy: Some(Copy { rows, .. }), found, batcher, ready, .. } = self else { return Ok(()) };
        let plan = &shared.plan;
        loop {
            let (max, bytes) = batcher.room();
            let malformed = |Malformed(what)| plan.changed(what);
            rows.find(&mut block, max.min(ROWS_AT_ONCE), bytes, found).map_err(malformed)?;
            if found.rows == 0 {
                return Ok(());
            }
            for (column, kind) in plan.kinds.iter().enumerate() {
                let mut fields = found.column(&block, column);
                loop {
                    match fill(*kind, &mut fields, plan.zone, batcher.cells(column)) {
                        Ok(Filled::All) => break,
                        Ok(Filled::UpToNull) => batcher.push_null(column)?,
                        Err(fault) => {
                            let row = fields.taken() - 1;
                            batcher.misfit(column, fault, || key_of(plan, found.row(&block, row)))?;
                        }
                    }
                }
            }
            batcher.add_bytes(found.bytes);
            ready.extend(batcher.end_rows(found.rows)?);
        }
    }
}

/// How long the rest of a reading that nobody wants may take before it is stopped.
const REST_MAX: Duration = Duration::from_millis(100);

/// A part that is dropped half read stops its statement: the server would send the rest all the same, and the connection read it. The
/// snapshot stays held until then.
impl Drop for Part {
    fn drop(&mut self) {
        if !self.is_running {
            return;
        }
        let (session, shared, copy) = (Arc::clone(&self.session), Arc::clone(&self.shared), self.copy.take());
        let Ok(runtime) = tokio::runtime::Handle::try_current() else { return };
        runtime.spawn(async move {
            if let Some(Copy { blocks, mut stream, .. }) = copy {
                drop(blocks);
                let rest = async { while let Some(Ok(_)) = stream.next().await {} };
                if tokio::time::timeout(REST_MAX, rest).await.is_ok() {
                    return;
                }
            }
            if let Err(error) = session.stop().await {
                tracing::debug!(system = shared.plan.place.system, error = %error, "a reading could not be stopped; it runs to its end");
            }
        });
    }
}

/// The key of a row for people.
fn key_of(plan: &Plan, row: Fields<'_>) -> String {
    let mut shown = Vec::with_capacity(plan.key.len());
    for ((column, kind), field) in plan.schema.fields().iter().zip(&plan.kinds).zip(row) {
        if plan.key.contains(column.name()) {
            let text = match decode(*kind, field.map(Field::bytes), plan.zone) {
                Ok(Some(scalar)) => scalar_json(&scalar, scale_of(column.data_type())).to_string(),
                _ => "?".into(),
            };
            shown.push((column.name().as_str(), text));
        }
    }
    key_text(shown)
}
