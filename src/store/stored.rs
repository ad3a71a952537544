//! The rows of a table as one side of a join: all of them, or those whose keys a reading has.

use std::collections::{HashMap, HashSet};
use std::hash::{BuildHasherDefault, Hasher};
use std::sync::{Arc, Mutex, PoisonError};

use arrow::array::{Array, AsArray, BooleanArray, RecordBatch, UInt32Array};
use arrow::compute::{concat_batches, filter_record_batch, take_record_batch};
use arrow::datatypes::{FieldRef, Schema, SchemaRef};
use futures::stream::{BoxStream, StreamExt, TryStreamExt};
use roaring::RoaringBitmap;

use super::incoming::{Files, side_by_side, workers};
use super::join::{Entry, Join};
use super::keyed::{Keyed, Wanted};
use super::{Chosen, DataFile, StoreError};

/// Column with the path of the file that a row came from, in streams of files.
pub(super) const FILE: &str = "_file";

/// Which stored rows are gone if the reading lacks their key, besides those that are said to be.
pub(super) enum Expected {
    None,
    All,
    /// Rows of these files.
    Of(HashSet<String>),
    /// Rows with these values.
    Chosen(Arc<Chosen>),
}

/// Sees rows and their hashes.
pub(super) type Observer = Box<dyn Fn(&RecordBatch, &[u128]) -> Result<(), StoreError> + Send + Sync>;

/// Keys by the upper half of their hashes: a chance hit costs a look, not truth.
pub(super) type KeySet = HashSet<u64, BuildHasherDefault<Unhashed>>;

/// Hashes what is a hash already.
#[derive(Debug, Default)]
pub(super) struct Unhashed(u64);

impl Hasher for Unhashed {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        self.0 = bytes.iter().fold(self.0, |hash, byte| hash << 8 ^ u64::from(*byte));
    }

    fn write_u64(&mut self, hash: u64) {
        self.0 = hash;
    }

    fn write_u128(&mut self, hash: u128) {
        self.0 = half(hash);
    }
}

/// Half of a key's hash.
pub(super) fn half(key: u128) -> u64 {
    (key >> 64) as u64
}

/// Keys that are looked for among many: of those that are none of them, most are told apart by one of these bits.
struct Sought {
    bits: Vec<u64>,
    keys: KeySet,
}

impl Sought {
    const BITS_A_KEY: usize = 32;

    fn new(keys: KeySet) -> Self {
        let mut bits = vec![0; (keys.len() * Self::BITS_A_KEY).div_ceil(64).next_power_of_two()];
        for key in &keys {
            let (word, bit) = Self::place(*key, bits.len());
            bits[word] |= bit;
        }
        Self { bits, keys }
    }

    fn place(key: u64, words: usize) -> (usize, u64) {
        ((key >> 6) as usize & (words - 1), 1 << (key & 63))
    }

    fn contains(&self, key: u64) -> bool {
        let (word, bit) = Self::place(key, self.bits.len());
        self.bits[word] & bit != 0 && self.keys.contains(&key)
    }
}

/// Files of a table, and what is asked of them.
pub(super) struct Stored {
    pub(super) files: Files,
    pub(super) keyed: Arc<Keyed>,
    pub(super) list: Vec<DataFile>,
    pub(super) expected: Expected,
    /// Keys that are known to be gone.
    pub(super) gone: HashSet<u128>,
    /// Keys that are known not to be gone, although they are expected and the reading lacks them.
    pub(super) spared: HashSet<u128>,
    /// Whether rows are compared; otherwise only their keys count.
    pub(super) compares: bool,
    /// Sees all rows of a scan with their hashes.
    pub(super) observe: Option<Observer>,
    /// Rows that were read for comparison, by file: they are needed again if they differ.
    images: Mutex<Images>,
    images_bytes_max: usize,
}

#[derive(Default)]
struct Images {
    by_file: HashMap<u32, (RoaringBitmap, Vec<RecordBatch>)>,
    bytes: usize,
}

impl Stored {
    pub(super) fn new(files: Files, keyed: Arc<Keyed>, list: Vec<DataFile>, images_bytes_max: usize) -> Self {
        let (expected, gone, spared) = (Expected::None, HashSet::new(), HashSet::new());
        Self {
            files,
            keyed,
            list,
            expected,
            gone,
            spared,
            compares: true,
            observe: None,
            images: Mutex::default(),
            images_bytes_max,
        }
    }

    /// Adds every row to `join`. Returns the wrapping sum of their hashes.
    pub(super) async fn scan(self: &Arc<Self>, join: &Arc<Mutex<Join>>) -> Result<u128, StoreError> {
        let scan = |file: u32| {
            let (stored, join) = (self.clone(), join.clone());
            async move { stored.scan_file(file, &join).await }
        };
        let sums = side_by_side(&self.keyed.table, workers(), (0..self.list.len() as u32).map(scan)).await?;
        Ok(sums.into_iter().fold(0, u128::wrapping_add))
    }

    /// Adds the rows whose key is in `wanted` or that are expected. Only where statistics say that one of `keys` may be (`None`: anywhere) is looked
    /// for them, and first only at the keys.
    pub(super) async fn probe(
        self: &Arc<Self>,
        keys: Option<Wanted>,
        wanted: KeySet,
        join: &Arc<Mutex<Join>>,
    ) -> Result<(), StoreError> {
        let may_hold = |file: &usize| match &self.expected {
            Expected::Chosen(chosen) => chosen.may_be_in(&self.list[*file]),
            _ => keys.as_ref().is_none_or(|keys| keys.may_be_in(&self.list[*file])),
        };
        let candidates: Vec<usize> = (0..self.list.len()).filter(may_hold).collect();
        let (wanted, keys) = (Arc::new(Sought::new(wanted)), Arc::new(keys));
        let probe = |file: usize| {
            let (stored, wanted, keys, join) = (self.clone(), wanted.clone(), keys.clone(), join.clone());
            async move { stored.probe_file(file as u32, &keys, &wanted, &join).await }
        };
        side_by_side(&self.keyed.table, workers(), candidates.into_iter().map(probe)).await?;
        Ok(())
    }

    /// Columns by which rows are looked up.
    fn probed(&self) -> SchemaRef {
        match &self.expected {
            Expected::Of(_) => self.keyed.key_schema(&[FILE]),
            Expected::Chosen(chosen) => self.keyed.key_schema(&chosen.columns()),
            _ => self.keyed.key_schema(&[]),
        }
    }

    async fn scan_file(&self, file: u32, join: &Mutex<Join>) -> Result<u128, StoreError> {
        let schema = if self.compares { self.keyed.schema.clone() } else { self.probed() };
        let mut columns = self.files.columns(&self.list[file as usize], schema);
        let mut sum = 0_u128;
        while let Some(located) = columns.next().await {
            let located = located?;
            let keys = self.keyed.key_hashes(&located.rows)?;
            let rows = if self.compares { self.keyed.row_hashes(&located.rows)? } else { vec![0; keys.len()] };
            sum = rows.iter().copied().fold(sum, u128::wrapping_add);
            self.observe.iter().try_for_each(|observe| observe(&located.rows, &rows))?;
            let expected = self.expected(&located.rows, &keys)?;
            let mut join = join.lock().unwrap_or_else(PoisonError::into_inner);
            for (row, key) in keys.into_iter().enumerate() {
                join.push(Entry::stored(key, rows[row], file, located.positions[row] as u32, expected[row]))?;
            }
        }
        Ok(sum)
    }

    async fn probe_file(
        self: &Arc<Self>,
        file: u32,
        keys: &Arc<Option<Wanted>>,
        wanted: &Sought,
        join: &Mutex<Join>,
    ) -> Result<(), StoreError> {
        let (stored, keys) = (self.clone(), keys.clone());
        let may_hold = move |group: &_| match &stored.expected {
            Expected::Chosen(chosen) => chosen.may_be_in_group(group),
            _ => keys.as_ref().as_ref().is_none_or(|keys| keys.may_be_in_group(group)),
        };
        let mut columns = self.files.groups(&self.list[file as usize], self.probed(), may_hold);
        let (mut found, mut positions, mut probed) = (Vec::new(), RoaringBitmap::new(), Vec::new());
        while let Some(located) = columns.next().await {
            let located = located?;
            let keys = self.keyed.key_hashes(&located.rows)?;
            let expected = self.expected(&located.rows, &keys)?;
            let mut chosen = Vec::new();
            for (row, key) in keys.into_iter().enumerate() {
                if expected[row] || wanted.contains(half(key)) {
                    positions.insert(located.positions[row] as u32);
                    found.push((key, expected[row]));
                    chosen.push(row as u32);
                }
            }
            if self.compares && !chosen.is_empty() {
                let chosen = take_record_batch(&located.rows, &UInt32Array::from(chosen));
                probed.push(chosen.map_err(self.files.arrow("pick rows"))?);
            }
        }
        let rows = match probed.first().map(RecordBatch::schema) {
            Some(schema) => {
                let probed = concat_batches(&schema, &probed).map_err(self.files.arrow("put rows together"))?;
                self.image_hashes(file, &positions, probed).await?
            }
            None => vec![0; found.len()],
        };
        let mut join = join.lock().unwrap_or_else(PoisonError::into_inner);
        let entries = found.into_iter().zip(rows).zip(&positions);
        entries
            .into_iter()
            .try_for_each(|(((key, expected), row), position)| join.push(Entry::stored(key, row, file, position, expected)))
    }

    /// Hashes of the rows at `positions`, which are kept if there is room. `probed`: what is known of them.
    async fn image_hashes(&self, file: u32, positions: &RoaringBitmap, probed: RecordBatch) -> Result<Vec<u128>, StoreError> {
        let (mut hashes, mut images) = (Vec::new(), Some(Vec::new()));
        let mut rows = self.completed(file, positions, probed);
        while let Some(batch) = rows.next().await {
            let batch = batch?;
            hashes.extend(self.keyed.row_hashes(&batch)?);
            let sizes = batch.columns().iter().map(|column| column.to_data().get_slice_memory_size());
            let bytes: usize = sizes.sum::<Result<_, _>>().map_err(self.files.arrow("measure rows"))?;
            let mut held = self.images.lock().unwrap_or_else(PoisonError::into_inner);
            held.bytes += bytes;
            if held.bytes > self.images_bytes_max {
                images = None;
            }
            if let Some(images) = &mut images {
                images.push(batch);
            }
        }
        if let Some(images) = images {
            self.images.lock().unwrap_or_else(PoisonError::into_inner).by_file.insert(file, (positions.clone(), images));
        }
        Ok(hashes)
    }

    /// The rows at `positions` of a file; only those columns are read that `probed` lacks.
    fn completed(
        &self,
        file: u32,
        positions: &RoaringBitmap,
        probed: RecordBatch,
    ) -> BoxStream<'static, Result<RecordBatch, StoreError>> {
        let (schema, failed) = (self.keyed.schema.clone(), self.files.arrow("put columns together"));
        let is_left = |field: &&FieldRef| probed.column_by_name(field.name()).is_none();
        let left: Vec<FieldRef> = schema.fields().iter().filter(is_left).cloned().collect();
        let mut start = 0;
        let mut complete = move |rest: RecordBatch| {
            let known = probed.slice(start, rest.num_rows());
            start += rest.num_rows();
            let column = |field: &FieldRef| known.column_by_name(field.name()).or(rest.column_by_name(field.name())).cloned();
            let columns = schema.fields().iter().filter_map(column).collect();
            RecordBatch::try_new(schema.clone(), columns).map_err(&failed)
        };
        let rest = self.files.rows(&self.list[file as usize], Arc::new(Schema::new(left)), positions);
        rest.map(move |located| complete(located?.rows)).boxed()
    }

    /// The rows at `positions` of a file.
    pub(super) fn rows(&self, file: u32, positions: &RoaringBitmap) -> BoxStream<'static, Result<RecordBatch, StoreError>> {
        if let Some(batches) = self.held(file, positions) {
            return futures::stream::iter(batches.collect::<Vec<_>>()).boxed();
        }
        let rows = self.files.rows(&self.list[file as usize], self.keyed.schema.clone(), positions);
        rows.map_ok(|located| located.rows).boxed()
    }

    /// The same, if they were kept.
    pub(super) fn held(
        &self,
        file: u32,
        positions: &RoaringBitmap,
    ) -> Option<impl Iterator<Item = Result<RecordBatch, StoreError>>> {
        let held = self.images.lock().unwrap_or_else(PoisonError::into_inner);
        let (all, batches) = held.by_file.get(&file).filter(|(all, _)| positions.is_subset(all))?;
        let keep: Vec<bool> = all.iter().map(|position| positions.contains(position)).collect();
        let mut start = 0;
        let failed = self.files.arrow("pick rows");
        Some(batches.clone().into_iter().map(move |batch| {
            let end = start + batch.num_rows();
            let keep = BooleanArray::from(keep[std::mem::replace(&mut start, end)..end].to_vec());
            filter_record_batch(&batch, &keep).map_err(&failed)
        }))
    }

    fn expected(&self, batch: &RecordBatch, keys: &[u128]) -> Result<Vec<bool>, StoreError> {
        match &self.expected {
            Expected::All => return Ok(keys.iter().map(|key| self.spared.is_empty() || !self.spared.contains(key)).collect()),
            Expected::Chosen(chosen) => return chosen.holds(&self.keyed.table, batch),
            _ => {}
        }
        let mut expected: Vec<bool> =
            if self.gone.is_empty() { vec![false; keys.len()] } else { keys.iter().map(|key| self.gone.contains(key)).collect() };
        if let (Expected::Of(files), Some(column)) =
            (&self.expected, batch.column_by_name(FILE).and_then(|column| column.as_string_opt::<i32>()))
        {
            let is_of = |row: usize| column.is_valid(row) && files.contains(column.value(row));
            let is_gone = |row: usize| is_of(row) && !self.spared.contains(&keys[row]);
            expected.iter_mut().enumerate().for_each(|(row, expected)| *expected |= is_gone(row));
        }
        Ok(expected)
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::super::testing::*;
    use super::*;

    /// The rows that `probe` finds, as they are held, and as they are read when they are not.
    async fn found(whole: &RecordBatch, of_file: &RecordBatch, ids: std::ops::Range<usize>, step: usize) -> [Vec<String>; 2] {
        let bench = Bench::new().await;
        let store = bench.store.object_store();
        let list = vec![file_of(&store, of_file, 5_000).await];
        let keyed = Arc::new(Keyed::new(TABLE, whole.schema(), vec![0], ["id"]).unwrap());
        let files = Files { store, table: TABLE.into(), stem: "p".into(), schema: whole.schema() };
        let ids: Vec<u32> = ids.step_by(step).map(|id| id as u32).collect();
        let keys = keyed.key_hashes(&take_record_batch(whole, &UInt32Array::from(ids.clone())).unwrap()).unwrap();
        let mut lines_of = [Vec::new(), Vec::new()];
        for (images_bytes_max, lines_of) in [usize::MAX, 0].into_iter().zip(&mut lines_of) {
            let stored = Arc::new(Stored::new(files.clone(), keyed.clone(), list.clone(), images_bytes_max));
            let join = Arc::new(Mutex::new(Join::new(Path::new("."), usize::MAX)));
            stored.probe(None, keys.iter().copied().map(half).collect(), &join).await.unwrap();
            let positions: RoaringBitmap = ids.iter().copied().collect();
            assert_eq!(stored.held(0, &positions).is_some(), images_bytes_max > 0);
            let images: Vec<_> = stored.rows(0, &positions).try_collect().await.unwrap();
            *lines_of = images.iter().flat_map(lines).collect();
        }
        lines_of
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn images_are_whole_rows() {
        let texts: Vec<_> = (0..20_000).map(|id| (id, format!("order {}", id * 7))).collect();
        let whole = orders(&texts.iter().map(|(id, text)| (*id, text.as_str())).collect::<Vec<_>>());
        let only_ids = whole.project(&[0]).unwrap();
        for step in [1, 3, 4_999] {
            let [held, read] = found(&whole, &whole, 100..20_000, step).await;
            assert_eq!(held.last().unwrap(), &lines(&whole)[100 + 19_899 / step * step]);
            assert!(held == read);
            let [held, read] = found(&whole, &only_ids, 100..20_000, step).await;
            assert_eq!((held[0].as_str(), held.len()), ("100|", 19_900_usize.div_ceil(step)), "columns that the file lacks");
            assert!(held == read);
            let [held, read] = found(&only_ids, &only_ids, 0..20_000, step).await;
            assert_eq!(held.len(), 20_000_usize.div_ceil(step), "nothing but the key");
            assert!(held == read);
        }
    }
}
