//! The rows of a table as one side of a join: all of them, or those whose keys a reading has.

use std::collections::{HashMap, HashSet};
use std::hash::{BuildHasherDefault, Hasher};
use std::sync::{Arc, Mutex, PoisonError};

use arrow::array::{Array, AsArray, BooleanArray, RecordBatch};
use arrow::compute::filter_record_batch;
use arrow::datatypes::SchemaRef;
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
    const BITS_A_KEY: usize = 16;

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
        let (mut found, mut positions) = (Vec::new(), RoaringBitmap::new());
        while let Some(located) = columns.next().await {
            let located = located?;
            let keys = self.keyed.key_hashes(&located.rows)?;
            let expected = self.expected(&located.rows, &keys)?;
            for (row, key) in keys.into_iter().enumerate() {
                if expected[row] || wanted.contains(half(key)) {
                    positions.insert(located.positions[row] as u32);
                    found.push((key, expected[row]));
                }
            }
        }
        let rows = if self.compares { self.image_hashes(file, &positions).await? } else { vec![0; found.len()] };
        let mut join = join.lock().unwrap_or_else(PoisonError::into_inner);
        let entries = found.into_iter().zip(rows).zip(&positions);
        entries
            .into_iter()
            .try_for_each(|(((key, expected), row), position)| join.push(Entry::stored(key, row, file, position, expected)))
    }

    /// Hashes of the rows at `positions`, which are kept if there is room.
    async fn image_hashes(&self, file: u32, positions: &RoaringBitmap) -> Result<Vec<u128>, StoreError> {
        let (mut hashes, mut images) = (Vec::new(), Some(Vec::new()));
        if positions.is_empty() {
            return Ok(hashes);
        }
        let mut rows = self.files.rows(&self.list[file as usize], self.keyed.schema.clone(), positions);
        while let Some(located) = rows.next().await {
            let batch = located?.rows;
            hashes.extend(self.keyed.row_hashes(&batch)?);
            let mut held = self.images.lock().unwrap_or_else(PoisonError::into_inner);
            held.bytes += batch.get_array_memory_size();
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
