//! A join by key of rows on two sides, in bounded memory.
//!
//! Both sides are sets of [`Entry`]: hashes of key and row, and where the row lies. Above a limit they are spilled to one file, in pieces by the key's hash,
//! and joined piece by piece. The file has no name while it is used, so that nothing is left of a process that was killed.

use std::cmp::Ordering;
use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use super::StoreError;
use super::incoming::{side_by_side, workers};

/// Words of an entry in a spill file.
const WORDS: usize = 5;
const ENTRY_BYTES: usize = WORDS * 8;
/// Pieces that a spill is split into: 600 million entries make pieces of 47 MB.
const PIECES_BITS: u32 = 9;
/// Entries of a piece that are written at once (32 kB); all pieces together buffer 16 MB.
const BLOCK: usize = 800;
/// How often a piece that is too large is split again; more would not help against one key that occurs millions of times.
const SPLITS_MAX: u32 = 3;

/// A row on one side of a join. The order is by key, then what was read before what is stored, then by place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Entry {
    key: [u64; 2],
    unit: u32,
    /// Row within the unit.
    pub(super) position: u32,
    row: [u64; 2],
}

const STORED: u32 = 1 << 31;
const EXPECTED: u32 = 1 << 30;

impl Entry {
    /// Row `position` of part `part` of a reading.
    pub(super) fn read(key: u128, row: u128, part: u32, position: u32) -> Self {
        Self { key: split(key), unit: part, position, row: split(row) }
    }

    /// Row `position` of file `file`. `expected`: it is gone if the other side lacks its key.
    pub(super) fn stored(key: u128, row: u128, file: u32, position: u32, expected: bool) -> Self {
        Self { key: split(key), unit: file | STORED | if expected { EXPECTED } else { 0 }, position, row: split(row) }
    }

    pub(super) fn is_stored(&self) -> bool {
        self.unit & STORED != 0
    }

    pub(super) fn is_expected(&self) -> bool {
        self.unit & EXPECTED != 0
    }

    /// The part or file.
    pub(super) fn unit(&self) -> u32 {
        self.unit & !(STORED | EXPECTED)
    }

    pub(super) fn row(&self) -> u128 {
        u128::from(self.row[0]) << 64 | u128::from(self.row[1])
    }

    fn words(&self) -> [u64; WORDS] {
        [self.key[0], self.key[1], self.row[0], self.row[1], u64::from(self.unit) << 32 | u64::from(self.position)]
    }

    fn from_words(words: &[[u8; 8]; WORDS]) -> Self {
        let word = |at: usize| u64::from_le_bytes(words[at]);
        let place = word(4);
        Self { key: [word(0), word(1)], row: [word(2), word(3)], unit: (place >> 32) as u32, position: place as u32 }
    }
}

impl Ord for Entry {
    fn cmp(&self, other: &Self) -> Ordering {
        let rest = |entry: &Self| (entry.key[1], entry.unit, entry.position, entry.row());
        self.key[0].cmp(&other.key[0]).then_with(|| rest(self).cmp(&rest(other)))
    }
}

impl PartialOrd for Entry {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

fn split(hash: u128) -> [u64; 2] {
    [(hash >> 64) as u64, hash as u64]
}

/// Entries on their way into a join.
#[derive(Debug)]
pub(super) struct Join {
    /// Where a spill goes.
    folder: PathBuf,
    bytes_max: usize,
    /// Bits of the key that earlier splits used up.
    used_bits: u32,
    entries: Vec<Entry>,
    spill: Option<Spill>,
}

impl Join {
    pub(super) fn new(folder: &Path, bytes_max: usize) -> Self {
        Self { folder: folder.into(), bytes_max, used_bits: 0, entries: Vec::new(), spill: None }
    }

    pub(super) fn push(&mut self, entry: Entry) -> Result<(), StoreError> {
        if let Some(spill) = &mut self.spill {
            return spill.push(entry, self.used_bits);
        }
        self.entries.push(entry);
        if self.entries.len() * ENTRY_BYTES <= self.bytes_max {
            return Ok(());
        }
        let spill = self.spill.insert(Spill::new(&self.folder)?);
        std::mem::take(&mut self.entries).into_iter().try_for_each(|entry| spill.push(entry, self.used_bits))
    }

    /// Folds the entries of each key, what was read before what is stored, into one of the results; keys come in no particular order. There are several
    /// results because several cores work.
    pub(super) async fn fold<V: Send + 'static>(
        self,
        table: &str,
        make: impl Fn() -> V,
        visit: fn(&mut V, &[Entry]),
    ) -> Result<Vec<V>, StoreError> {
        let workers = if self.spill.is_some() { workers() } else { 1 };
        let pieces = Arc::new(Mutex::new(self.pieces(workers)?));
        let work = |mut result: V| {
            let (pieces, table) = (pieces.clone(), table.to_owned());
            let work = move || {
                loop {
                    let piece = pieces.lock().unwrap_or_else(PoisonError::into_inner).next()?;
                    let Some(piece) = piece else { return Ok(result) };
                    piece.each(&mut |entries| visit(&mut result, entries))?;
                }
            };
            async move { tokio::task::spawn_blocking(work).await.map_err(|source| StoreError::Task { table, source })? }
        };
        let results: Vec<V> = (0..workers).map(|_| make()).collect();
        side_by_side(table, workers, results.into_iter().map(work)).await
    }

    fn each(mut self, visit: &mut impl FnMut(&[Entry])) -> Result<(), StoreError> {
        if self.spill.is_none() {
            self.entries.sort_unstable();
            self.entries.chunk_by(|a, b| a.key == b.key).for_each(visit);
            return Ok(());
        }
        let mut pieces = self.pieces(1)?;
        while let Some(piece) = pieces.next()? {
            piece.each(visit)?;
        }
        Ok(())
    }

    /// `workers`: how many pieces will be held at once.
    fn pieces(mut self, workers: usize) -> Result<Pieces, StoreError> {
        let spill = self.spill.take().map(Spill::finish).transpose()?;
        let mut like = Self::new(&self.folder, self.bytes_max / workers);
        like.used_bits = self.used_bits;
        let whole = spill.is_none().then_some(self);
        Ok(Pieces { whole, spill, next: 0, like })
    }
}

/// Joins that together are one.
struct Pieces {
    whole: Option<Join>,
    spill: Option<Spill>,
    next: usize,
    like: Join,
}

impl Pieces {
    fn next(&mut self) -> Result<Option<Join>, StoreError> {
        let Some(spill) = self.spill.as_mut().filter(|spill| self.next < spill.blocks.len()) else {
            return Ok(self.whole.take());
        };
        let size = spill.blocks[self.next].iter().map(|block| block.entries * ENTRY_BYTES).sum::<usize>();
        let mut join = Join::new(&self.like.folder, self.like.bytes_max);
        join.used_bits = self.like.used_bits + PIECES_BITS;
        if size <= join.bytes_max || join.used_bits >= SPLITS_MAX * PIECES_BITS {
            join.bytes_max = usize::MAX;
            join.entries.reserve_exact(size / ENTRY_BYTES);
        }
        spill.read(self.next, |entry| join.push(entry))?;
        self.next += 1;
        Ok(Some(join))
    }
}

/// Entries in a file, by piece.
#[derive(Debug)]
struct Spill {
    file: File,
    path: PathBuf,
    end: u64,
    buffers: Vec<Vec<Entry>>,
    blocks: Vec<Vec<Block>>,
}

#[derive(Debug, Clone, Copy)]
struct Block {
    start: u64,
    entries: usize,
}

impl Spill {
    fn new(folder: &Path) -> Result<Self, StoreError> {
        let path = folder.join(format!("spill-{}", uuid::Uuid::new_v4().simple()));
        let open = OpenOptions::new().read(true).write(true).create_new(true).open(&path);
        let file = open.map_err(|source| StoreError::Spill { path: path.clone(), source })?;
        // Where a file in use cannot be removed, `drop` does it.
        let _ = std::fs::remove_file(&path);
        let pieces = 1 << PIECES_BITS;
        Ok(Self { file, path, end: 0, buffers: vec![Vec::new(); pieces], blocks: vec![Vec::new(); pieces] })
    }

    fn push(&mut self, entry: Entry, used_bits: u32) -> Result<(), StoreError> {
        let piece = (entry.key[0] << used_bits >> (u64::BITS - PIECES_BITS)) as usize;
        let buffer = &mut self.buffers[piece];
        buffer.push(entry);
        if buffer.len() >= BLOCK { self.flush(piece) } else { Ok(()) }
    }

    fn flush(&mut self, piece: usize) -> Result<(), StoreError> {
        let entries = self.buffers[piece].len();
        let mut bytes = vec![0; entries * ENTRY_BYTES];
        for (entry, bytes) in self.buffers[piece].iter().zip(bytes.as_chunks_mut::<8>().0.as_chunks_mut::<WORDS>().0) {
            let words = entry.words();
            for at in 0..WORDS {
                bytes[at] = words[at].to_le_bytes();
            }
        }
        self.file.write_all(&bytes).map_err(|source| self.failed(source))?;
        self.buffers[piece].clear();
        self.blocks[piece].push(Block { start: self.end, entries });
        self.end += bytes.len() as u64;
        Ok(())
    }

    /// Writes what is buffered and frees the buffers.
    fn finish(mut self) -> Result<Self, StoreError> {
        (0..self.buffers.len())
            .filter(|piece| !self.buffers[*piece].is_empty())
            .collect::<Vec<_>>()
            .into_iter()
            .try_for_each(|piece| self.flush(piece))?;
        self.buffers = Vec::new();
        Ok(self)
    }

    fn read(&mut self, piece: usize, mut take: impl FnMut(Entry) -> Result<(), StoreError>) -> Result<(), StoreError> {
        let mut bytes = Vec::new();
        for block in std::mem::take(&mut self.blocks[piece]) {
            bytes.resize(block.entries * ENTRY_BYTES, 0);
            let read = self.file.seek(SeekFrom::Start(block.start)).and_then(|_| self.file.read_exact(&mut bytes));
            read.map_err(|source| self.failed(source))?;
            let (words, _) = bytes.as_chunks::<8>();
            for entry in words.as_chunks::<WORDS>().0 {
                take(Entry::from_words(entry))?;
            }
        }
        Ok(())
    }

    fn failed(&self, source: io::Error) -> StoreError {
        StoreError::Spill { path: self.path.clone(), source }
    }
}

impl Drop for Spill {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.path);
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    fn groups(entries: &[Entry], bytes_max: usize) -> BTreeMap<[u64; 2], Vec<Entry>> {
        let folder = tempfile::tempdir().unwrap();
        let mut join = Join::new(folder.path(), bytes_max);
        entries.iter().for_each(|entry| join.push(*entry).unwrap());
        let mut found = BTreeMap::new();
        join.each(&mut |group: &[Entry]| assert!(found.insert(group[0].key, group.to_vec()).is_none(), "a key comes once"))
            .unwrap();
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0, "nothing is left");
        found
    }

    fn entry() -> impl Strategy<Value = Entry> {
        // Few distinct keys, alike in their upper bits, so that pieces are split again.
        let key = (0_u64..40).prop_map(|n| (u128::from(n % 3) << 124 | u128::from(n) << 90) | u128::from(n));
        (key, 0_u128..3, 0_u32..4, 0_u32..1000, 0..3).prop_map(|(key, row, unit, position, side)| match side {
            0 => Entry::read(key, row, unit, position),
            side => Entry::stored(key, row, unit, position, side == 1),
        })
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]
        #[test]
        fn spilled_or_not_the_groups_are_the_same(entries in prop::collection::vec(entry(), 0..3000), bytes_max in 0_usize..50_000) {
            let mut expected: BTreeMap<[u64; 2], Vec<Entry>> = BTreeMap::new();
            entries.iter().for_each(|entry| expected.entry(entry.key).or_default().push(*entry));
            expected.values_mut().for_each(|group| group.sort());
            prop_assert_eq!(groups(&entries, bytes_max), expected);
        }
    }

    #[test]
    fn an_entry_says_what_it_was_made_of() {
        let entry = Entry::stored(7 << 70 | 1, 5 << 100 | 3, (1 << 30) - 1, u32::MAX, true);
        assert!(entry.is_stored() && entry.is_expected());
        assert_eq!((entry.unit(), entry.position, entry.row()), ((1 << 30) - 1, u32::MAX, 5 << 100 | 3));
        assert_eq!(Entry::from_words(&entry.words().map(u64::to_le_bytes)), entry);
        let read = Entry::read(1, 2, 3, 4);
        assert!(!read.is_stored() && !read.is_expected() && read < Entry::stored(1, 0, 0, 0, false));
    }
}
