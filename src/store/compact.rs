//! Compaction: small files are joined, files whose ranges of keys overlap too much are sorted together, files with many deleted rows are written anew.
//!
//! A compaction is one commit that moves no row (`dataChange` = false) and leaves every property as it is, so no model looks changed. It is computed
//! against a version and never rebased: a commit that came in between wins, and the compaction is forgotten and computed again next time.
//! Its work is bounded by [`Bounds`], its memory by a sorted run ([`super::sort`]) and one file writer.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use arrow::array::RecordBatch;
use futures::StreamExt;
use object_store::ObjectStoreExt;
use object_store::path::Path;

use crate::base::{TableName, failpoint};

use super::delta::{Commit, Loaded};
use super::evolve::KEY;
use super::file::{FileWriter, read_file};
use super::place::Place;
use super::sort::{RUN_BYTES, Sorter};
use super::stats::{KeyRange, key_range};
use super::{DataFile, Store, StoreError};

/// A file below both is small: about a quarter of what a file may grow to.
const SMALL_BYTES: u64 = 32 << 20;
const SMALL_ROWS: u64 = 1 << 18;
/// Files that may hold the same key before they are sorted together. Sorting pays where an upsert would read all of them.
const OVERLAP_MAX: usize = 8;
/// Files that are sorted together, in bytes: also the space that sorting may need on the local disk, a few times that when uncompressed.
const GROUP_BYTES: u64 = 512 << 20;
/// Who commits compactions; the number is the version's.
pub(super) const APP: &str = "loopline/maintain";
/// Tables that are appended to and hang on a pulled table: their files count only once the pull that wrote them is committed.
const SIBLINGS: [&str; 2] = ["__deleted", "__discarded"];

/// How much one compaction of one table may do.
#[derive(Debug, Clone, Copy)]
pub struct Bounds {
    /// Small files that are left alone.
    pub small_files_max: usize,
    /// Bytes of files that are written anew at most.
    pub rewrite_bytes_max: u64,
}

/// After a run: only what pays at once, so that runs are not held up.
pub const AFTER_RUN: Bounds = Bounds { small_files_max: 16, rewrite_bytes_max: 256 << 20 };
/// On request and once a day.
pub const THOROUGH: Bounds = Bounds { small_files_max: 1, rewrite_bytes_max: 2 << 30 };

/// What a compaction did, or would do.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize)]
pub struct Compacted {
    /// Files of the table before.
    pub files: usize,
    /// Of these, small ones.
    pub small_files: usize,
    /// Files taken out and put in, with their bytes. Nothing was put in if this was only a look.
    pub files_out: usize,
    pub bytes_out: u64,
    pub files_in: usize,
    pub bytes_in: u64,
    /// Another commit came first, so nothing was done.
    pub overtaken: bool,
}

impl Store {
    /// Compacts the latest version of `table` as far as `bounds` let it; with `is_look` only says what it would do.
    /// `None` if there is no such table.
    pub async fn compact(&self, table: &TableName, bounds: Bounds, is_look: bool) -> Result<Option<Compacted>, StoreError> {
        let Some(base) = self.load(table).await? else { return Ok(None) };
        let key = key_of(&base);
        let files = self.settled(&base).await?;
        let groups = groups(&files, key.first().map(String::as_str), bounds);
        let out = || groups.iter().flatten();
        let mut done = Compacted {
            files: base.version.files.len(),
            small_files: base.version.files.iter().filter(|file| is_small(file)).count(),
            files_out: out().count(),
            bytes_out: out().map(|file| file.size_bytes).sum(),
            ..Compacted::default()
        };
        if is_look || groups.is_empty() {
            return Ok(Some(done));
        }
        self.control.check_lease()?;
        let mut add = Vec::new();
        for group in &groups {
            add.extend(self.rewrite_group(&base, &key, group).await?);
        }
        (done.files_in, done.bytes_in) = (add.len(), add.iter().map(|file| file.size_bytes).sum());
        failpoint::hit("maintain.compact.before");
        match self.replace_files(&base, add.clone(), out().cloned().collect()).await {
            Ok(_) => failpoint::hit("maintain.compact.after"),
            Err(StoreError::Conflict { .. }) => {
                for file in add {
                    // A file left behind is removed by a later maintenance.
                    let _ = self.place.folder.delete(&Path::from(file.path)).await;
                }
                done = Compacted { files_in: 0, bytes_in: 0, overtaken: true, ..done };
            }
            Err(error) => return Err(error),
        }
        Ok(Some(done))
    }

    /// Commits other files with the same rows.
    pub(super) async fn replace_files(
        &self,
        base: &Arc<Loaded>,
        add: Vec<DataFile>,
        remove: Vec<DataFile>,
    ) -> Result<u64, StoreError> {
        let now = &base.version;
        let number = i64::try_from(now.version + 1).unwrap_or(i64::MAX);
        let commit = Commit {
            base: Some(Arc::clone(base)),
            schema: now.schema.clone(),
            properties: BTreeMap::new(),
            add,
            remove,
            data_change: false,
            txn: (APP.to_owned(), number),
        };
        self.commit(&now.table, commit).await
    }

    /// The rows of `group` in the order of the key, in new files.
    async fn rewrite_group(&self, base: &Loaded, key: &[String], group: &[DataFile]) -> Result<Vec<DataFile>, StoreError> {
        let now = &base.version;
        let name = now.table.to_string();
        let stem = format!("{}/k-{}", Place::table_folder(&now.table), now.version + 1);
        let mut writer = FileWriter::new(Arc::clone(&self.place.folder), &name, stem, now.schema.clone());
        let positions: Vec<usize> = key.iter().filter_map(|column| now.schema.index_of(column).ok()).collect();
        let mut sorter = match positions.is_empty() {
            true => None,
            false => Some(Sorter::new(&name, now.schema.clone(), positions, RUN_BYTES)?),
        };
        let (mut rows_in, mut rows_out) = (0, 0);
        for file in group {
            let mut rows = read_file(Arc::clone(&self.place.folder), name.clone(), file, now.schema.clone());
            while let Some(batch) = rows.next().await {
                let batch: RecordBatch = batch?;
                rows_in += batch.num_rows() as u64;
                match &mut sorter {
                    Some(sorter) => sorter.push(batch)?,
                    None => writer.write(&batch).await?,
                }
            }
        }
        if let Some(sorter) = sorter {
            let mut sorted = sorter.finish()?;
            while let Some(batch) = sorted.next()? {
                writer.write(&batch).await?;
            }
        }
        let files = writer.finish().await?;
        rows_out += files.iter().map(|file| file.rows).sum::<u64>();
        if rows_in != rows_out {
            // A compaction that loses or doubles a row must never be committed, whatever the reason.
            return Err(StoreError::Malformed { what: format!("{rows_out} rows written of {rows_in} in table {name}") });
        }
        Ok(files)
    }

    /// Files whose rows count: those of a pull that was cut short are left for the next landing, which takes them out.
    async fn settled(&self, base: &Loaded) -> Result<Vec<DataFile>, StoreError> {
        let table = &base.version.table;
        let live = SIBLINGS.iter().find_map(|sibling| table.name.strip_suffix(sibling));
        let Some(live) = live else { return Ok(base.version.files.clone()) };
        let last = self.next_pull(&TableName::new(&table.schema, live)).await? - 1;
        Ok(base.version.files.iter().filter(|file| number_of(file).is_none_or(|pull| pull <= last)).cloned().collect())
    }
}

/// The key's columns; empty for a table without one.
fn key_of(base: &Loaded) -> Vec<String> {
    let key = base.version.properties.get(KEY).and_then(|json| serde_json::from_str(json).ok());
    key.unwrap_or_default()
}

/// The number in a file's name (`d-7-….parquet`); a compacted file's is not a pull's.
fn number_of(file: &DataFile) -> Option<i64> {
    let (kind, rest) = file.path.rsplit('/').next()?.split_once('-')?;
    if kind == "k" { None } else { rest.split('-').next()?.parse().ok() }
}

pub(super) fn is_small(file: &DataFile) -> bool {
    file.size_bytes < SMALL_BYTES && file.rows < SMALL_ROWS
}

/// The files to be written anew, by the group in which they are sorted.
fn groups(files: &[DataFile], key: Option<&str>, bounds: Bounds) -> Vec<Vec<DataFile>> {
    let ranged = |file: &DataFile| key.map_or(KeyRange::Any, |key| key_range(file.stats.as_deref(), key));
    let mut ranged: Vec<(KeyRange, &DataFile)> = files.iter().map(|file| (ranged(file), file)).collect();
    ranged.sort_by(|(a, x), (b, y)| least(a).cmp(&least(b)).then_with(|| x.path.cmp(&y.path)));
    let mut left = bounds.rewrite_bytes_max;
    let mut groups = Vec::new();
    let small: Vec<&DataFile> = ranged.iter().map(|(_, file)| *file).filter(|file| is_small(file)).collect();
    if small.len() > bounds.small_files_max {
        groups.extend(parts(&small, &mut left).into_iter().filter(|part| part.len() > 1));
    }
    let taken: BTreeSet<String> = groups.iter().flatten().map(|file: &DataFile| file.path.clone()).collect();
    ranged.retain(|(_, file)| !taken.contains(&file.path));
    while let Some(group) = deepest(&ranged, left.min(GROUP_BYTES)) {
        let paths: BTreeSet<&str> = group.iter().map(|file| file.path.as_str()).collect();
        ranged.retain(|(_, file)| !paths.contains(file.path.as_str()));
        left -= group.iter().map(|file| file.size_bytes).sum::<u64>();
        groups.push(group);
    }
    groups
}

/// `files` one after the other in groups of at most [`GROUP_BYTES`], until nothing is `left` to be spent.
fn parts(files: &[&DataFile], left: &mut u64) -> Vec<Vec<DataFile>> {
    let mut parts: Vec<Vec<DataFile>> = vec![Vec::new()];
    let mut bytes = 0;
    for file in files {
        if file.size_bytes > *left {
            break;
        }
        if bytes + file.size_bytes > GROUP_BYTES {
            parts.push(Vec::new());
            bytes = 0;
        }
        *left -= file.size_bytes;
        bytes += file.size_bytes;
        parts.last_mut().map(|part| part.push((*file).clone())).unwrap_or_default();
    }
    parts
}

/// The least value of a range, by which files are ordered.
fn least(range: &KeyRange) -> (i64, &str) {
    match range {
        KeyRange::Integer(least, _) => (*least, ""),
        KeyRange::Text(least, _) => (0, least),
        KeyRange::Any => (i64::MIN, ""),
    }
}

fn greatest(range: &KeyRange) -> (i64, &str) {
    match range {
        KeyRange::Integer(_, greatest) => (*greatest, ""),
        KeyRange::Text(_, greatest) => (0, greatest),
        KeyRange::Any => (i64::MAX, ""),
    }
}

/// Where more than [`OVERLAP_MAX`] files can hold the same key, the widest of them, up to `bytes`: sorted together they become as many narrow
/// ones. `files` ascend by their least key. A file of one key cannot become narrower, one of which nothing is known is left alone.
fn deepest(files: &[(KeyRange, &DataFile)], bytes: u64) -> Option<Vec<DataFile>> {
    let ranged = files.iter().filter(|(range, _)| *range != KeyRange::Any && least(range) < greatest(range));
    let ranged: Vec<&(KeyRange, &DataFile)> = ranged.collect();
    let mut open: Vec<&(KeyRange, &DataFile)> = Vec::new();
    let mut deepest: Vec<&(KeyRange, &DataFile)> = Vec::new();
    for file in &ranged {
        open.retain(|other| greatest(&other.0) >= least(&file.0));
        open.push(file);
        if open.len() > deepest.len() {
            deepest.clone_from(&open);
        }
    }
    if deepest.len() <= OVERLAP_MAX {
        return None;
    }
    // How wide a file is, in files that begin within its range: that has a meaning for texts, too.
    let rank = |value: (i64, &str)| ranged.partition_point(|other| least(&other.0) <= value);
    deepest.sort_by_key(|(range, _)| std::cmp::Reverse(rank(greatest(range)) - rank(least(range))));
    let mut left = bytes;
    let fits = deepest.iter().map_while(|(_, file)| {
        left = left.checked_sub(file.size_bytes)?;
        Some((*file).clone())
    });
    Some(fits.collect::<Vec<_>>()).filter(|group| group.len() > 1)
}
