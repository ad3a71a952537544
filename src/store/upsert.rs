//! Writing what a landing changes: few rows in their places, many as files of their own.
//!
//! Files are sorted by key as far as new rows allow, so that their statistics say which keys they can hold.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use arrow::array::{RecordBatch, TimestampMicrosecondArray};
use arrow::compute::concat_batches;
use futures::stream::BoxStream;
use futures::{FutureExt, Stream, StreamExt, TryStreamExt, try_join};
use roaring::RoaringBitmap;

use crate::base::TableName;
use crate::base::time::Instant;

use super::diff::{Diff, Rows, Spot};
use super::feed::{Change, Feed};
use super::file::FileWriter;
use super::incoming::{Files, Incoming, Picked, STEP, interleave, side_by_side, workers};
use super::limits::Limits;
use super::rewrite::{self, Edit};
use super::stored::Stored;
use super::{DataFile, StoreError, vector};

/// One landing, once it is known what it changes.
pub(super) struct Upsert {
    pub(super) table: TableName,
    /// Files of the table that are written.
    pub(super) files: Files,
    /// Files of deleted images that are written, if they are kept.
    pub(super) deleted: Option<Files>,
    pub(super) stored: Arc<Stored>,
    pub(super) incoming: Incoming,
    pub(super) diff: Diff,
    pub(super) limits: Limits,
    pub(super) at: Instant,
    /// A column became wider, so that every file is written anew.
    pub(super) widened: bool,
    pub(super) deletion_vectors: bool,
}

/// Files of a landing.
#[derive(Default)]
pub(super) struct Written {
    pub(super) add: Vec<DataFile>,
    pub(super) remove: Vec<DataFile>,
    /// Images of deleted rows.
    pub(super) deleted: Vec<DataFile>,
    /// Rows of the change feed. None are needed where files are only added.
    pub(super) changes: Vec<DataFile>,
}

/// How much larger than in a file rows are in memory, for a rough guess.
const UNPACKED: u64 = 8;

/// Rows as they were.
type Images = BoxStream<'static, Result<RecordBatch, StoreError>>;

/// A stored file that changes.
struct Touched {
    /// Position in its table's list.
    file: u32,
    /// Rows that come in the place of others.
    replacing: BTreeMap<u32, Spot>,
    removed: RoaringBitmap,
}

impl Upsert {
    pub(super) async fn write(self) -> Result<Written, StoreError> {
        let count = self.diff.inserted.count() + self.diff.updated.count();
        let few = self.diff.pairs.as_ref().filter(|_| self.incoming.bytes_of(count) <= self.limits.rows_bytes);
        let picked = match few {
            Some(_) => Some(self.incoming.pick(self.diff.inserted.union(&self.diff.updated)).await?),
            None => None,
        };
        let in_place = few.filter(|_| !self.widened && !self.deletion_vectors);
        let host = picked.as_ref().and_then(|_| self.host(in_place.is_some()));
        let touched = self.touched(in_place.map_or(&[], Vec::as_slice), host);
        let moved: Rows = match in_place {
            Some(pairs) => pairs.iter().filter(|pair| Some(pair.stored.0) == host).map(|pair| pair.read).collect(),
            None => self.diff.updated.clone(),
        };
        let new = self.diff.inserted.union(&moved);
        let mut beside = Vec::new();
        for touched in &touched {
            if Some(touched.file) == host {
                let all: RoaringBitmap = self.positions(touched.file).collect();
                beside = self.stored.rows(touched.file, &(all - &touched.removed)).try_collect().await?;
            }
        }
        let feeds = !touched.is_empty();
        let remove = touched.iter().map(|touched| self.stored.list[touched.file as usize].clone()).collect();
        let add = match &picked {
            Some(picked) => self.write_sorted(beside, picked, &new).await?,
            None => self.incoming.adopt(&new).await?,
        };
        let rewritten = touched.into_iter().filter(|touched| Some(touched.file) != host).collect();
        let (rewritten, mut written) = try_join!(self.rewrite(rewritten, picked.as_ref()), self.images(feeds, picked.as_ref()))?;
        (written.add, written.remove) = ([add, rewritten].concat(), remove);
        let used: BTreeSet<&str> = written.add.iter().map(|file| file.path.as_str()).collect();
        self.files.discard(self.incoming.staged().filter(|file| !used.contains(file.path.as_str()))).await;
        Ok(written)
    }

    /// Positions of all rows of a file, deleted or not.
    fn positions(&self, file: u32) -> std::ops::Range<u32> {
        0..self.stored.list[file as usize].rows_in_file() as u32
    }

    /// The file that new rows join: the smallest one, if it is small.
    fn host(&self, in_place: bool) -> Option<u32> {
        let is_new = self.diff.inserted.count() > 0 || !in_place && self.diff.updated.count() > 0;
        let smallest = self.stored.list.iter().zip(0..).min_by_key(|(file, _)| file.size_bytes);
        smallest.filter(|(file, _)| is_new && file.size_bytes < self.limits.small_file_bytes).map(|(_, position)| position)
    }

    /// The files that change.
    fn touched(&self, pairs: &[super::diff::Pair], host: Option<u32>) -> Vec<Touched> {
        let mut by_file: BTreeMap<u32, BTreeMap<u32, Spot>> = BTreeMap::new();
        for pair in pairs.iter().filter(|pair| Some(pair.stored.0) != host) {
            by_file.entry(pair.stored.0).or_default().insert(pair.stored.1, pair.read);
        }
        let lost = self.diff.replaced.union(&self.diff.gone);
        let touched = |file: u32| {
            let replacing = by_file.remove(&file).unwrap_or_default();
            let mut removed = lost.of(file).cloned().unwrap_or_default();
            for position in replacing.keys() {
                removed.remove(*position);
            }
            let is_touched = self.widened || Some(file) == host || !replacing.is_empty() || !removed.is_empty();
            is_touched.then_some(Touched { file, replacing, removed })
        };
        (0..self.stored.list.len() as u32).filter_map(touched).collect()
    }

    /// Writes the change feed and the images of deleted rows.
    async fn images(&self, feeds: bool, picked: Option<&Picked>) -> Result<Written, StoreError> {
        let mut feed = Feed::new(self.files.store.clone(), &self.files.table, &self.files.stem, &self.files.schema);
        let mut deleted = self.deleted.as_ref().map(Files::writer);
        let mut lost = Box::pin(self.lost());
        while let Some((change, mut images)) = lost.try_next().await? {
            while let Some(batch) = images.next().await {
                let batch = batch?;
                feed.write(change, &batch).await?;
                if let (Change::Delete, Some(files), Some(writer)) = (change, &self.deleted, &mut deleted) {
                    self.delete(files, writer, &batch).await?;
                }
            }
        }
        for (rows, change) in [(&self.diff.inserted, Change::Insert), (&self.diff.updated, Change::After)] {
            if !feeds {
                continue;
            }
            if let Some(picked) = picked {
                feed.write(change, &picked.take(rows.spots())?).await?;
                continue;
            }
            let mut batches = self.incoming.rows(rows);
            while let Some(batch) = batches.next().await {
                feed.write(change, &batch?).await?;
            }
        }
        let deleted = match deleted {
            Some(writer) => writer.finish().await?,
            None => Vec::new(),
        };
        Ok(Written { deleted, changes: feed.finish().await?, ..Written::default() })
    }

    /// Stored rows that are replaced or gone. Where they are few, several files are read side by side.
    fn lost(&self) -> impl Stream<Item = Result<(Change, Images), StoreError>> + '_ {
        let all = [(&self.diff.replaced, Change::Before), (&self.diff.gone, Change::Delete)];
        let lost = all.into_iter().flat_map(|(rows, change)| {
            let files = 0..self.stored.list.len() as u32;
            files.filter_map(move |file| Some((file, rows.of(file)?.clone(), change)))
        });
        let bytes_max = (self.limits.rows_bytes / workers()) as u64;
        let read = move |(file, rows, change): (u32, RoaringBitmap, Change)| {
            let stored = self.stored.clone();
            let of = &stored.list[file as usize];
            let are_few = rows.len() * of.size_bytes * UNPACKED / of.rows_in_file().max(1) <= bytes_max;
            let read = async move {
                let images = stored.rows(file, &rows);
                if !are_few {
                    return Ok::<_, StoreError>((change, images));
                }
                let images: Vec<_> = images.try_collect().await?;
                Ok((change, futures::stream::iter(images.into_iter().map(Ok)).boxed()))
            };
            let failed = |source| StoreError::Task { table: self.files.table.clone(), source };
            tokio::spawn(read).map(move |done| done.map_err(failed)?)
        };
        futures::stream::iter(lost).map(read).buffered(workers())
    }

    /// Keeps rows as `…__deleted` has them.
    async fn delete(&self, files: &Files, writer: &mut FileWriter, rows: &RecordBatch) -> Result<(), StoreError> {
        let at = vec![self.at.timestamp_micros(); rows.num_rows()];
        let mut columns = rows.columns().to_vec();
        columns.push(Arc::new(TimestampMicrosecondArray::from(at).with_timezone("UTC")));
        let images = RecordBatch::try_new(files.schema.clone(), columns).map_err(files.arrow("assemble rows"))?;
        writer.write(&images).await
    }

    /// Writes the rows `new` of `picked` and those `beside` in the order of their keys.
    async fn write_sorted(&self, mut beside: Vec<RecordBatch>, picked: &Picked, new: &Rows) -> Result<Vec<DataFile>, StoreError> {
        let count = beside.len();
        let mut rows: Vec<(usize, usize)> =
            beside.iter().zip(0..).flat_map(|(batch, number)| (0..batch.num_rows()).map(move |row| (number, row))).collect();
        rows.extend(picked.find(new.spots()).into_iter().map(|(batch, row)| (batch + count, row)));
        beside.extend(picked.batches.iter().cloned());
        self.stored.keyed.sort(&beside, &mut rows)?;
        let mut writer = self.files.writer();
        for rows in rows.chunks(STEP) {
            writer.write(&interleave(&self.files, &beside, rows)?).await?;
        }
        writer.finish().await
    }

    /// Writes files anew, or marks their rows, several side by side.
    async fn rewrite(&self, touched: Vec<Touched>, picked: Option<&Picked>) -> Result<Vec<DataFile>, StoreError> {
        if self.deletion_vectors && !self.widened {
            let mark = |touched: Touched| {
                let positions = touched.removed.into_iter().map(u64::from).collect();
                (self.stored.list[touched.file as usize].clone(), positions)
            };
            let marked = vector::mark(&self.files.store, &self.table, touched.into_iter().map(mark).collect()).await?;
            return Ok(marked.into_iter().flatten().collect());
        }
        let mut jobs = Vec::new();
        for touched in touched {
            let file = self.stored.list[touched.file as usize].clone();
            if touched.removed.len() == file.rows {
                continue;
            }
            if self.widened {
                jobs.push(recast(self.files.clone(), self.stored.clone(), touched).boxed());
                continue;
            }
            let rows = match picked {
                Some(picked) => picked.take(touched.replacing.values().copied())?,
                None => RecordBatch::new_empty(self.files.schema.clone()),
            };
            let replaced: RoaringBitmap = touched.replacing.keys().copied().collect();
            let old = self.stored.held(touched.file, &replaced).map(|batches| {
                let batches = batches.collect::<Result<Vec<_>, _>>()?;
                concat_batches(&self.files.schema, &batches).map_err(self.files.arrow("put rows together"))
            });
            let (replaced, old) = (replaced.into_iter().map(u64::from).collect(), old.transpose()?);
            let edit = Edit { replaced, rows, old, removed: touched.removed.into_iter().map(u64::from).collect() };
            let files = self.files.clone();
            jobs.push(
                async move {
                    let edited = rewrite::edit(&files.store, &files.table, &files.stem, &files.schema, &file, &edit).await?;
                    Ok(edited.into_iter().collect())
                }
                .boxed(),
            );
        }
        // One more than there are cores for: one of them is waiting for the disk to have a file.
        Ok(side_by_side(&self.files.table, workers() + 1, jobs).await?.concat())
    }
}

/// Writes what stays of a file with the table's types of now.
async fn recast(files: Files, stored: Arc<Stored>, touched: Touched) -> Result<Vec<DataFile>, StoreError> {
    let file = &stored.list[touched.file as usize];
    let all: RoaringBitmap = (0..file.rows_in_file() as u32).collect();
    let mut rows = stored.rows(touched.file, &(all - touched.removed));
    let mut writer = files.writer();
    while let Some(batch) = rows.next().await {
        writer.write(&batch?).await?;
    }
    writer.finish().await
}
