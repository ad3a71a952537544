//! Which files a landing writes anew.
//!
//! An upsert reads what the source yields, tells new and changed rows from equal ones by hashes of key and row, and writes anew only those files that
//! hold a changed or deleted key. Files are sorted by key, so that their statistics say which keys they can hold.
//!
//! Memory: a hash of each key of the files that are looked at (all of them for a whole read), and at most [`CHANGES_BYTES`] of changed rows.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Array, RecordBatch, TimestampMicrosecondArray};
use arrow::datatypes::SchemaRef;
use futures::StreamExt;
use object_store::ObjectStore;

use crate::base::time::Instant;

use super::evolve::deleted_schema;
use super::file::{FileWriter, read_file};
use super::keyed::{Fate, Hashes, Index, Keyed, NEW, Seen};
use super::{Batches, DataFile, Landed, StoreError, types};

/// Changed rows held in memory; more are written as files of their own.
const CHANGES_BYTES: usize = 128 << 20;
/// An incremental read up to this size is collected first, so that only the files that can hold its keys are read.
const COLLECT_BYTES: usize = 64 << 20;
/// New rows join a file below this size instead of making another small one.
const SMALL_FILE_BYTES: u64 = 16 << 20;
/// A whole read may remove this many rows, or this share of them, without being asked.
const SWEEP_ROWS: u64 = 20;
const SWEEP_PERCENT: u64 = 5;

/// What a landing is about.
pub(super) struct Scope {
    pub(super) pull: i64,
    pub(super) whole: bool,
    pub(super) at: Instant,
    /// Every file is written anew, because a column became wider.
    pub(super) rewrite_all: bool,
    /// Files of the version that the landing starts from.
    pub(super) files: Vec<DataFile>,
}

/// The work of one landing.
pub(super) struct Upsert {
    store: Arc<dyn ObjectStore>,
    /// Start of the names of its files.
    stem: String,
    keyed: Keyed,
    scope: Scope,
    index: Index,
    /// Files that hold a row that is replaced or gone.
    touched: BTreeSet<u32>,
    changes: Changes,
    /// Files written because the changes grew too large.
    spilled: Vec<DataFile>,
    landed: Landed,
}

/// New and changed rows.
#[derive(Default)]
struct Changes {
    batches: Vec<RecordBatch>,
    /// For each row: the file that holds the row it replaces, or [`NEW`].
    replaces: Vec<u32>,
    bytes: usize,
}

/// Files of a landing.
pub(super) struct Written {
    pub(super) add: Vec<DataFile>,
    pub(super) remove: Vec<DataFile>,
    /// Images of deleted rows.
    pub(super) deleted: Vec<DataFile>,
}

impl Upsert {
    pub(super) fn new(store: Arc<dyn ObjectStore>, stem: String, keyed: Keyed, scope: Scope) -> Self {
        let (index, touched, changes) = Default::default();
        Self { store, stem, keyed, scope, index, touched, changes, spilled: Vec::new(), landed: Landed::default() }
    }

    /// Reads all rows and sorts out what changed. `incoming`: their storable types.
    pub(super) async fn read(&mut self, mut batches: Batches, incoming: &SchemaRef) -> Result<(), StoreError> {
        let mut collected = Vec::new();
        let mut bytes = 0;
        // A whole read is compared with every file anyway, an empty table with none.
        let mut collecting = !(self.scope.whole || self.scope.rewrite_all || self.scope.files.is_empty());
        if !collecting {
            self.load_index((0..self.scope.files.len()).collect(), None).await?;
        }
        while let Some(batch) = batches.next().await {
            let table = &self.keyed.table;
            let batch = batch.map_err(|source| StoreError::Input { table: table.clone(), source })?;
            let batch = self.adapt(&types::by_position(table, &batch, incoming)?)?;
            self.keyed.check_nulls(&batch, self.landed.rows_read)?;
            self.landed.rows_read += batch.num_rows() as u64;
            if !collecting {
                self.see(&batch).await?;
                continue;
            }
            bytes += batch.get_array_memory_size();
            collected.push(batch);
            if bytes > COLLECT_BYTES {
                collecting = false;
                self.load_index((0..self.scope.files.len()).collect(), None).await?;
                self.see_all(std::mem::take(&mut collected)).await?;
            }
        }
        if collecting {
            let mut wanted = HashSet::new();
            for batch in &collected {
                wanted.extend(self.keyed.key_hashes(batch)?);
            }
            self.load_index(self.keyed.candidates(&self.scope.files, &collected), Some(&wanted)).await?;
            self.see_all(collected).await?;
        }
        Ok(())
    }

    /// Finds the rows that a whole read lacks. `spared`: keys of rows that it lacks although the source has them; `None`: any row may be one.
    pub(super) fn find_gone(&mut self, spared: Option<&[RecordBatch]>) -> Result<(), StoreError> {
        if !self.scope.whole {
            return Ok(());
        }
        let Some(spared) = spared else {
            self.index.spare_all();
            return Ok(());
        };
        for batch in spared {
            self.keyed.hashes_of_keys(batch)?.into_iter().for_each(|key| self.index.spare(key));
        }
        let gone: Vec<u32> = self.index.gone().collect();
        self.landed.deleted = gone.len() as u64;
        self.touched.extend(gone);
        Ok(())
    }

    /// Refuses a whole read that would remove suspiciously many rows.
    pub(super) fn guard(&self, allow_mass_delete: bool) -> Result<(), StoreError> {
        let (deleted, rows) = (self.landed.deleted, self.index.stored());
        if allow_mass_delete || deleted <= SWEEP_ROWS || deleted * 100 <= rows * SWEEP_PERCENT {
            return Ok(());
        }
        Err(StoreError::MassDelete { table: self.keyed.table.clone(), deleted, rows })
    }

    /// Writes the changed rows and what stays of the files that they touch.
    pub(super) async fn write(mut self, deleted_stem: String) -> Result<(Written, Landed), StoreError> {
        if self.scope.rewrite_all {
            self.touched.extend(0..self.scope.files.len() as u32);
        }
        let host = self.host();
        let changes = std::mem::take(&mut self.changes);
        let mut parts = self.split(changes, host)?;
        if let Some(host) = host.filter(|host| parts.contains_key(host)) {
            self.touched.insert(host);
        }
        let mut deleted =
            FileWriter::new(self.store.clone(), &self.keyed.table, deleted_stem, deleted_schema(&self.keyed.schema));
        let mut written = Written { add: std::mem::take(&mut self.spilled), remove: Vec::new(), deleted: Vec::new() };
        for position in &self.touched {
            let file = &self.scope.files[*position as usize];
            let changes = parts.remove(position).unwrap_or_else(|| RecordBatch::new_empty(self.keyed.schema.clone()));
            written.add.extend(self.rewrite(file, &changes, &mut deleted).await?);
            written.remove.push(file.clone());
        }
        // What replaces no row of a file, and found no host.
        for rows in parts.into_values() {
            written.add.extend(self.write_sorted(&rows).await?);
        }
        written.deleted = deleted.finish().await?;
        Ok((written, self.landed))
    }

    /// A batch of the source as rows of the table.
    fn adapt(&self, batch: &RecordBatch) -> Result<RecordBatch, StoreError> {
        let (table, schema) = (&self.keyed.table, &self.keyed.schema);
        let mut columns = types::by_name(table, batch, schema)?.columns().to_vec();
        columns.pop();
        columns.push(Arc::new(Int64Array::from(vec![self.scope.pull; batch.num_rows()])));
        assemble(table, schema, columns)
    }

    /// Reads the keys of `files`; with `wanted` only those.
    async fn load_index(&mut self, files: Vec<usize>, wanted: Option<&HashSet<u128>>) -> Result<(), StoreError> {
        for position in files {
            let mut rows = self.open(&self.scope.files[position]);
            while let Some(batch) = rows.next().await {
                let hashes = match wanted {
                    Some(wanted) => self.keyed.hashes_of(&batch?, wanted)?,
                    None => self.keyed.hashes(&batch?)?,
                };
                self.index.store(&hashes, position as u32);
            }
        }
        Ok(())
    }

    async fn see_all(&mut self, batches: Vec<RecordBatch>) -> Result<(), StoreError> {
        for batch in batches {
            self.see(&batch).await?;
        }
        Ok(())
    }

    /// Keeps the rows of `batch` that are new or changed.
    async fn see(&mut self, batch: &RecordBatch) -> Result<(), StoreError> {
        let Hashes { keys, rows } = self.keyed.hashes(batch)?;
        let mut keep = vec![false; keys.len()];
        for (row, (key, hash)) in keys.into_iter().zip(rows).enumerate() {
            let replaces = match self.index.see(key, hash) {
                Seen::Unchanged => continue,
                Seen::Clash => {
                    return Err(StoreError::DuplicateKey {
                        table: self.keyed.table.clone(),
                        key: self.keyed.describe(batch, row),
                    });
                }
                Seen::Inserted => {
                    self.landed.inserted += 1;
                    NEW
                }
                Seen::Updated(file) => {
                    self.landed.updated += 1;
                    self.touched.insert(file);
                    file
                }
            };
            keep[row] = true;
            self.changes.replaces.push(replaces);
        }
        if !keep.contains(&true) {
            return Ok(());
        }
        let kept = self.keyed.filter(batch, keep)?;
        self.changes.bytes += kept.get_array_memory_size();
        self.changes.batches.push(kept);
        if self.changes.bytes > CHANGES_BYTES { self.spill().await } else { Ok(()) }
    }

    /// Writes the changes so far as files of their own: where a row lies does not matter, only that the one it replaces is taken out.
    async fn spill(&mut self) -> Result<(), StoreError> {
        let changes = std::mem::take(&mut self.changes);
        let rows = self.keyed.concat(&changes.batches)?;
        let rows = self.keyed.sorted(&rows)?;
        let files = self.write_sorted(&rows).await?;
        self.spilled.extend(files);
        Ok(())
    }

    /// The file that new rows join: a small one, best one that is written anyway.
    fn host(&self) -> Option<u32> {
        let small = |position: &u32| self.scope.files[*position as usize].size_bytes < SMALL_FILE_BYTES;
        let mut touched = self.touched.iter().copied();
        touched.find(small).or_else(|| {
            let all = (0..self.scope.files.len() as u32).filter(small);
            all.min_by_key(|position| self.scope.files[*position as usize].size_bytes)
        })
    }

    /// The changes in the order of their keys, by the file they go to.
    fn split(&self, changes: Changes, host: Option<u32>) -> Result<BTreeMap<u32, RecordBatch>, StoreError> {
        let rows = self.keyed.concat(&changes.batches)?;
        let mut parts: BTreeMap<u32, Vec<u32>> = BTreeMap::new();
        for row in self.keyed.order(&rows)? {
            let file = match changes.replaces[row as usize] {
                NEW => host.unwrap_or(NEW),
                file => file,
            };
            parts.entry(file).or_default().push(row);
        }
        parts.into_iter().map(|(file, part)| Ok((file, self.keyed.take(&rows, part)?))).collect()
    }

    /// Writes `file` anew with `changes` (sorted) merged in; images of rows that are gone go to `deleted`.
    async fn rewrite(
        &self,
        file: &DataFile,
        changes: &RecordBatch,
        deleted: &mut FileWriter,
    ) -> Result<Vec<DataFile>, StoreError> {
        let mut writer = self.writer();
        let order = self.keyed.keys(changes)?;
        let mut next = 0;
        let mut rows = self.open(file);
        while let Some(batch) = rows.next().await {
            let batch = batch?;
            let fates = self.fates(&batch)?;
            let gone = self.keyed.filter(&batch, fates.iter().map(|fate| *fate == Fate::Gone).collect())?;
            deleted.write(&self.image(&gone)?).await?;
            let stays = self.keyed.filter(&batch, fates.iter().map(|fate| *fate == Fate::Stays).collect())?;
            let keys = self.keyed.keys(&batch)?;
            let last = batch.num_rows().checked_sub(1).map(|last| keys.row(last));
            let due =
                (next..changes.num_rows()).take_while(|row| last.as_ref().is_some_and(|last| order.row(*row) <= *last)).count();
            if due == 0 {
                writer.write(&stays).await?;
            } else {
                let merged = self.keyed.concat([&stays, &changes.slice(next, due)])?;
                writer.write(&self.keyed.sorted(&merged)?).await?;
                next += due;
            }
        }
        writer.write(&changes.slice(next, changes.num_rows() - next)).await?;
        writer.finish().await
    }

    fn fates(&self, batch: &RecordBatch) -> Result<Vec<Fate>, StoreError> {
        let keys = self.keyed.key_hashes(batch)?;
        Ok(keys.iter().map(|key| self.index.fate(*key, self.scope.whole)).collect())
    }

    /// Rows as `…__deleted` keeps them.
    fn image(&self, rows: &RecordBatch) -> Result<RecordBatch, StoreError> {
        let at = vec![self.scope.at.timestamp_micros(); rows.num_rows()];
        let mut columns = rows.columns().to_vec();
        columns.push(Arc::new(TimestampMicrosecondArray::from(at).with_timezone("UTC")));
        assemble(&self.keyed.table, &deleted_schema(&self.keyed.schema), columns)
    }

    async fn write_sorted(&self, rows: &RecordBatch) -> Result<Vec<DataFile>, StoreError> {
        const STEP: usize = 64 * 1024; // so that the size of a file is looked at often enough
        let mut writer = self.writer();
        for start in (0..rows.num_rows()).step_by(STEP) {
            writer.write(&rows.slice(start, STEP.min(rows.num_rows() - start))).await?;
        }
        writer.finish().await
    }

    fn writer(&self) -> FileWriter {
        FileWriter::new(self.store.clone(), &self.keyed.table, self.stem.clone(), self.keyed.schema.clone())
    }

    fn open(&self, file: &DataFile) -> futures::stream::BoxStream<'static, Result<RecordBatch, StoreError>> {
        read_file(self.store.clone(), self.keyed.table.clone(), file, self.keyed.schema.clone())
    }
}

fn assemble(table: &str, schema: &SchemaRef, columns: Vec<ArrayRef>) -> Result<RecordBatch, StoreError> {
    RecordBatch::try_new(schema.clone(), columns).map_err(|source| StoreError::Arrow {
        table: table.into(),
        what: "assemble rows",
        source,
    })
}

#[cfg(test)]
mod tests {
    use std::time::Instant as Clock;

    use super::super::testing::*;

    /// How long landings take; prints, asserts nothing about time.
    #[tokio::test(flavor = "multi_thread")]
    #[ignore = "a measurement"]
    async fn measure() {
        let bench = Bench::new().await;
        let texts: Vec<(i64, String)> = (0..1_000_000).map(|id| (id, format!("order of customer {}", id % 977))).collect();
        let batches = |rows: &[(i64, String)]| {
            let chunk = |rows: &[(i64, String)]| orders(&rows.iter().map(|(id, text)| (*id, text.as_str())).collect::<Vec<_>>());
            rows.chunks(8_192).map(chunk).collect::<Vec<_>>()
        };
        let cases = [
            ("first, whole", 0..1_000_000, whole()),
            ("equal, whole", 0..1_000_000, whole()),
            ("10 equal", 5_000..5_010, changed("1")),
        ];
        for (pull, (what, rows, options)) in cases.into_iter().enumerate() {
            let rows = batches(&texts[rows]);
            let start = Clock::now();
            let landed = bench.store.land(landing(pull as i64 + 1, rows, options)).await.unwrap();
            println!("{what}: {:?} {landed:?}", start.elapsed());
        }
        let changes: Vec<(i64, String)> = (999_990..1_000_010).map(|id| (id, "new".into())).collect();
        let start = Clock::now();
        let landed = bench.store.land(landing(9, batches(&changes), changed("2"))).await.unwrap();
        println!("20 changed: {:?} {landed:?}", start.elapsed());
        for _ in 0..2 {
            let start = Clock::now();
            bench.table(TABLE).await;
            println!("latest: {:?}", start.elapsed());
        }
    }
}
