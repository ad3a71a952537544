//! From a reading to what a commit says: reads it, finds out what differs from the table, writes that.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use arrow::array::{Int64Array, RecordBatch};
use arrow::datatypes::SchemaRef;

use crate::base::TableName;

use super::diff::{Diff, Rows, Rules};
use super::incoming::{Files, Incoming, Intake};
use super::join::{Entry, Join};
use super::keyed::Keyed;
use super::limits::Limits;
use super::stored::{Expected, FILE, KeySet, Stored, half};
use super::upsert::{Upsert, Written};
use super::{DataFile, Landed, Landing, LandingScope, LeftOut, StoreError, types};

/// A whole reading may remove this many rows, or this share of them, without being asked.
const SWEEP_ROWS: u64 = 20;
const SWEEP_PERCENT: u64 = 5;
/// How rows were hashed; contents of another way are unknown.
const HASHING: &str = "xx1";

/// The rows of a table as a count and a sum of hashes: equal for equal rows in any order.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Content {
    pub(super) rows: u64,
    pub(super) sum: u128,
}

impl Content {
    pub(super) fn text(self) -> String {
        format!("{HASHING}-{}-{:032x}", self.rows, self.sum)
    }

    pub(super) fn parse(text: &str) -> Option<Self> {
        let (rows, sum) = text.strip_prefix(HASHING)?.strip_prefix('-')?.split_once('-')?;
        Some(Self { rows: rows.parse().ok()?, sum: u128::from_str_radix(sum, 16).ok()? })
    }

    pub(super) fn add(&mut self, hashes: &[u128]) {
        self.rows += hashes.len() as u64;
        self.sum = hashes.iter().copied().fold(self.sum, u128::wrapping_add);
    }
}

/// A landing under way, before anything of it is committed.
pub(super) struct Merge {
    pub(super) table: TableName,
    pub(super) keyed: Arc<Keyed>,
    /// Files of the version that it starts from.
    pub(super) list: Vec<DataFile>,
    /// The table's content, if it is known.
    pub(super) content: Option<Content>,
    /// Files of the table and of deleted images that are written.
    pub(super) files: Files,
    pub(super) deleted: Files,
    pub(super) limits: Limits,
    pub(super) spill_folder: PathBuf,
    /// Storable types of the reading.
    pub(super) incoming: SchemaRef,
    /// A column became wider, so that every file is written anew.
    pub(super) widened: bool,
}

/// What is to be committed.
#[derive(Default)]
pub(super) struct Merged {
    pub(super) landed: Landed,
    pub(super) written: Written,
    /// The table's content afterwards.
    pub(super) content: Option<Content>,
    /// Entries for `…__discarded`.
    pub(super) discarded: Option<RecordBatch>,
}

impl Merge {
    /// Reads all parts of `landing` and writes files that nobody sees yet.
    pub(super) async fn run(mut self, landing: &mut Landing) -> Result<Merged, StoreError> {
        let whole = landing.scope == LandingScope::Whole;
        let stored_rows = self.list.iter().map(|file| file.rows).sum();
        // A wider decimal may be another number of units.
        self.content = self.content.filter(|content| content.rows == stored_rows && !self.widened);
        let gone = landing.gone.iter().map(|batch| types::by_name(&self.keyed.table, batch, &self.keyed.key_schema(&[])));
        let gone: Vec<RecordBatch> = gone.collect::<Result<_, _>>()?;
        let intake = Arc::new(Merging {
            keyed: self.keyed.clone(),
            incoming: self.incoming.clone(),
            pull: landing.pull,
            probe_rows: self.limits.probe_rows,
            // What a source guarantees needs no proof.
            joins: !(self.list.is_empty() && landing.is_unique),
            join: Arc::new(Mutex::new(Join::new(&self.spill_folder, self.limits.join_bytes))),
            seen: Mutex::new(Seen { content: Content::default(), keys: (!whole && !self.list.is_empty()).then(KeySet::default) }),
        });
        let parts = std::mem::take(&mut landing.parts);
        let incoming = Incoming::drain(self.files.clone(), parts, self.limits.rows_bytes, intake.clone()).await?;
        let (read, keys) = {
            let mut seen = lock(&intake.seen);
            (seen.content, seen.keys.take())
        };
        let landed = Landed { rows_read: incoming.rows, ..Landed::default() };
        let left_out = std::mem::replace(&mut landing.left_out, Box::new(LeftOut::default));
        let LeftOut { entries: discarded, keys: spared } = left_out();
        if whole && incoming.rows == 0 && spared.as_ref().is_some_and(Vec::is_empty) {
            guard(landing, stored_rows, stored_rows, 0)?;
        }
        if whole && self.content == Some(read) {
            self.files.discard(incoming.staged()).await;
            return Ok(Merged { landed, content: self.content, discarded, ..Merged::default() });
        }
        let stored = Arc::new(self.stored(landing, &gone, spared)?);
        if !self.list.is_empty() {
            self.content =
                self.read_stored(&stored, &landing.scope, &incoming, &gone, keys, &intake.join).await?.or(self.content);
        }
        let rules = Rules { append: landing.scope == LandingScope::Append, last_wins: landing.last_wins };
        let diff = self.diff(&intake, rules, &incoming, read).await?;
        let landed =
            Landed { inserted: diff.inserted.count(), updated: diff.updated.count(), deleted: diff.gone.count(), ..landed };
        if whole || !gone.is_empty() {
            guard(landing, landed.deleted, stored_rows, SWEEP_ROWS)?;
        }
        let content = self.content.map(|content| Content {
            rows: content.rows + landed.inserted - landed.deleted,
            sum: content.sum.wrapping_add(diff.content),
        });
        let upsert = Upsert {
            table: self.table,
            files: self.files,
            deleted: Some(self.deleted),
            stored,
            incoming,
            diff,
            limits: self.limits,
            at: landing.at,
            widened: self.widened,
            deletion_vectors: landing.deletion_vectors,
        };
        Ok(Merged { landed, written: upsert.write().await?, content, discarded })
    }

    /// `spared`: keys of rows that the source has although they are not in the reading; `None`: any may be.
    fn stored(&self, landing: &Landing, gone: &[RecordBatch], spared: Option<Vec<RecordBatch>>) -> Result<Stored, StoreError> {
        let mut stored = Stored::new(self.files.clone(), self.keyed.clone(), self.list.clone(), self.limits.rows_bytes);
        for batch in gone {
            stored.gone.extend(self.keyed.key_hashes(batch)?);
        }
        // Nothing is compared where rows are only added.
        stored.compares = landing.scope != LandingScope::Append || !gone.is_empty();
        let is_known = spared.is_some();
        for batch in spared.into_iter().flatten() {
            let keys = types::by_name(&self.keyed.table, &batch, &self.keyed.key_schema(&[]))?;
            stored.spared.extend(self.keyed.key_hashes(&keys)?);
        }
        stored.expected = match &landing.scope {
            _ if !is_known => Expected::None,
            LandingScope::Whole => Expected::All,
            LandingScope::Changes | LandingScope::Append => Expected::None,
            LandingScope::Files(files) if self.keyed.schema.index_of(FILE).is_ok() => {
                Expected::Of(files.iter().cloned().collect())
            }
            LandingScope::Files(_) => {
                let problem = "rows of files must say which file they are of".into();
                return Err(StoreError::Column { table: self.keyed.table.clone(), column: FILE.into(), problem });
            }
        };
        Ok(stored)
    }

    /// Adds the stored side to `join`. Returns the table's content if it was read completely.
    async fn read_stored(
        &self,
        stored: &Arc<Stored>,
        scope: &LandingScope,
        incoming: &Incoming,
        gone: &[RecordBatch],
        keys: Option<KeySet>,
        join: &Arc<Mutex<Join>>,
    ) -> Result<Option<Content>, StoreError> {
        match (scope, keys) {
            (LandingScope::Changes | LandingScope::Append, Some(keys)) if keys.is_empty() && gone.is_empty() => Ok(None),
            (LandingScope::Changes | LandingScope::Append | LandingScope::Files(_), Some(mut keys)) => {
                keys.extend(stored.gone.iter().copied().map(half));
                let wanted = match incoming.held() {
                    Some(held) if !matches!(scope, LandingScope::Files(_)) => {
                        Some(self.keyed.wanted(held.into_iter().chain(gone))?)
                    }
                    _ => None,
                };
                stored.probe(wanted, keys, join).await?;
                Ok(None)
            }
            _ => {
                let sum = stored.scan(join).await?;
                let rows = self.list.iter().map(|file| file.rows).sum();
                Ok(stored.compares.then_some(Content { rows, sum }))
            }
        }
    }

    async fn diff(&self, intake: &Merging, rules: Rules, incoming: &Incoming, read: Content) -> Result<Diff, StoreError> {
        if !intake.joins {
            return Ok(Diff::all(incoming.all(), read.sum));
        }
        let join = std::mem::replace(&mut *lock(&intake.join), Join::new(&self.spill_folder, 0));
        let table = &self.keyed.table;
        let diff = Diff::of(table, join, rules).await?;
        match diff.clash {
            None => Ok(diff),
            Some(clash) => {
                let row = incoming.pick(Rows::from_iter([clash])).await?;
                let key = row.batches.iter().map(|batch| self.keyed.describe(batch, 0)).collect();
                Err(StoreError::DuplicateKey { table: table.clone(), key })
            }
        }
    }
}

/// Refuses to remove suspiciously many rows.
fn guard(landing: &Landing, deleted: u64, rows: u64, allowed: u64) -> Result<(), StoreError> {
    if landing.allow_mass_delete || deleted <= allowed || allowed > 0 && deleted * 100 <= rows * SWEEP_PERCENT {
        return Ok(());
    }
    Err(StoreError::MassDelete { table: landing.table.to_string(), deleted, rows })
}

fn lock<T>(shared: &Mutex<T>) -> MutexGuard<'_, T> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Makes rows of a source rows of the table, and adds them to the join.
struct Merging {
    keyed: Arc<Keyed>,
    incoming: SchemaRef,
    pull: i64,
    probe_rows: usize,
    joins: bool,
    join: Arc<Mutex<Join>>,
    seen: Mutex<Seen>,
}

struct Seen {
    content: Content,
    /// `None` where the table is scanned: for a whole reading, or once they are too many.
    keys: Option<KeySet>,
}

impl Intake for Merging {
    fn take(&self, part: u32, position: u32, batch: &RecordBatch) -> Result<RecordBatch, StoreError> {
        let (table, schema) = (&self.keyed.table, &self.keyed.schema);
        let mut columns = types::by_name(table, &types::by_position(table, batch, &self.incoming)?, schema)?.columns().to_vec();
        columns.pop();
        columns.push(Arc::new(Int64Array::from(vec![self.pull; batch.num_rows()])));
        let batch = RecordBatch::try_new(schema.clone(), columns).map_err(|source| StoreError::Arrow {
            table: table.clone(),
            what: "assemble rows",
            source,
        })?;
        self.keyed.check_nulls(&batch, position.into())?;
        let rows = self.keyed.row_hashes(&batch)?;
        lock(&self.seen).content.add(&rows);
        if self.joins {
            let keys = self.keyed.key_hashes(&batch)?;
            let mut join = lock(&self.join);
            for ((key, row), position) in keys.iter().zip(rows).zip(position..) {
                join.push(Entry::read(*key, row, part, position))?;
            }
            drop(join);
            let mut seen = lock(&self.seen);
            if let Some(known) = &mut seen.keys {
                known.extend(keys.into_iter().map(half));
                if known.len() > self.probe_rows {
                    seen.keys = None;
                }
            }
        }
        Ok(batch)
    }
}
