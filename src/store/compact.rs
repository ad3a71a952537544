//! Compaction: small files are joined, files whose ranges of keys overlap too much are sorted together, files with many deleted rows are written anew.
//!
//! A compaction is one commit that moves no row (`dataChange` = false) and leaves every property as it is, so no model looks changed. It is computed
//! against a version and never rebased: a commit that came in between wins, and the compaction is forgotten and computed again next time.
//! Its work is bounded by [`Bounds`], its memory by sorted runs ([`super::sort`]) and one file writer.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use arrow::array::RecordBatch;
use futures::stream::{BoxStream, StreamExt, TryStreamExt};
use object_store::ObjectStoreExt;
use object_store::path::Path;
use tokio::sync::mpsc::channel;
use tokio::task::JoinSet;

use crate::base::{TableName, failpoint};

use super::cut::cuts_table;
use super::delta::{Commit, Loaded};
use super::evolve::KEY;
use super::file::read_file;
use super::incoming::{Files, side_by_side, workers};
use super::place::Place;
use super::sort::Sorter;
use super::stats::{KeyRange, key_range};
use super::{DataFile, Store, StoreError};

/// A file below both is small: about a quarter of what a file may grow to.
const SMALL_BYTES: u64 = 32 << 20;
const SMALL_ROWS: u64 = 1 << 18;
/// A file of whose rows more than this share no longer count is written anew.
const DELETED_PERCENT: u64 = 20;
/// Files that may hold the same key before they are sorted together. Sorting pays where an upsert would read all of them.
const OVERLAP_MAX: usize = 8;
/// Files that are sorted together, in bytes: also the space that sorting may need on the local disk, a few times that when uncompressed.
const GROUP_BYTES: u64 = 512 << 20;
/// Between those who merge and the one who writes.
const BATCHES_AHEAD: usize = 4;
/// The schema of pulled tables.
const PULLED: &str = "raw";
/// Who commits compactions; the number is the version's.
pub(super) const APP: &str = "loopline/maintain";
/// Tables that are appended to and hang on a pulled table: their files count only once the pull that wrote them is committed.
const SIBLINGS: [&str; 3] = ["__deleted", "__discarded", "__files"];

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
    /// Of these, small ones, and how many small ones there are afterwards.
    pub small_files: usize,
    pub small_files_left: usize,
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
        if *table == cuts_table() && !is_look {
            let joined = self.join_cuts(&BTreeSet::new(), bounds.small_files_max).await?;
            return Ok(Some(Compacted { files_out: joined, files_in: usize::from(joined > 0), ..Compacted::default() }));
        }
        let Some(base) = self.load(table).await? else { return Ok(None) };
        // Models are written whole each time: they have no small files, and their cuts name versions that must not move.
        if table.schema != PULLED {
            return Ok(Some(Compacted { files: base.version.files.len(), ..Compacted::default() }));
        }
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
        done.small_files_left = done.small_files;
        if is_look || groups.is_empty() {
            return Ok(Some(done));
        }
        self.control.check_lease()?;
        let mut add = Vec::new();
        for group in &groups {
            add.extend(self.rewrite_group(&base, &key, group).await?);
        }
        (done.files_in, done.bytes_in) = (add.len(), add.iter().map(|file| file.size_bytes).sum());
        let small = |files: &mut dyn Iterator<Item = &DataFile>| files.filter(|file| is_small(file)).count();
        done.small_files_left = done.small_files - small(&mut out()) + small(&mut add.iter());
        failpoint::hit("maintain.compact.before");
        match self.replace_files(&base, add.clone(), out().cloned().collect()).await {
            Ok(_) => failpoint::hit("maintain.compact.after"),
            Err(StoreError::Conflict { .. }) => {
                for file in add {
                    // A file left behind is removed by a later maintenance.
                    let _ = self.place.folder.delete(&Path::from(file.path)).await;
                }
                done = Compacted { files_in: 0, bytes_in: 0, small_files_left: done.small_files, overtaken: true, ..done };
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
            changes: Vec::new(),
            data_change: false,
            txn: (APP.to_owned(), number),
        };
        self.commit(&now.table, commit).await
    }

    /// The rows of `group` in the order of the key, in new files.
    async fn rewrite_group(&self, base: &Loaded, key: &[String], group: &[DataFile]) -> Result<Vec<DataFile>, StoreError> {
        let now = &base.version;
        let table = now.table.to_string();
        let stem = format!("{}/k-{}", Place::table_folder(&now.table), now.version + 1);
        let files = Files { store: Arc::clone(&self.place.folder), table, stem, schema: now.schema.clone() };
        let key: Vec<usize> = key.iter().filter_map(|column| now.schema.index_of(column).ok()).collect();
        let rows_in = Arc::new(AtomicU64::new(0));
        let mut rows = match key.is_empty() {
            true => one_by_one(&files, group.to_vec(), &rows_in),
            false => sorted(&files, &key, group, self.limits.rows_bytes, &rows_in).await?,
        };
        // Writing takes as long as merging: each has a core.
        let (sender, mut receiver) = channel(BATCHES_AHEAD);
        let mut writing = JoinSet::new();
        let mut writer = files.writer();
        writing.spawn(async move {
            while let Some(batch) = receiver.recv().await {
                writer.write(&batch).await?;
            }
            writer.finish().await
        });
        while let Some(batch) = rows.try_next().await? {
            if sender.send(batch).await.is_err() {
                break; // the writer says why
            }
        }
        drop(sender);
        let mut written = Vec::new();
        while let Some(done) = writing.join_next().await {
            written.extend(done.map_err(|source| StoreError::Task { table: files.table.clone(), source })??);
        }
        let rows_out: u64 = written.iter().map(|file| file.rows).sum();
        let rows_in = rows_in.load(Ordering::Relaxed);
        if rows_in != rows_out {
            // A compaction that loses or doubles a row must never be committed, whatever the reason.
            let what = format!("{rows_out} rows written of {rows_in} in table {}", files.table);
            return Err(StoreError::Malformed { what });
        }
        Ok(written)
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

type Rows = BoxStream<'static, Result<RecordBatch, StoreError>>;

/// The rows of `group`, file by file; `count` rises by those that were read.
fn one_by_one(files: &Files, group: Vec<DataFile>, count: &Arc<AtomicU64>) -> Rows {
    let (files, count) = (files.clone(), count.clone());
    let rows = move |file| read_file(files.store.clone(), files.table.clone(), &file, files.schema.clone());
    let counted = move |batch: &RecordBatch| {
        count.fetch_add(batch.num_rows() as u64, Ordering::Relaxed);
    };
    futures::stream::iter(group).flat_map(rows).inspect_ok(counted).boxed()
}

/// The rows of `group` in the order of the key, sorted on all cores. `bytes_max`: of the rows that are held in memory.
async fn sorted(
    files: &Files,
    key: &[usize],
    group: &[DataFile],
    bytes_max: usize,
    count: &Arc<AtomicU64>,
) -> Result<Rows, StoreError> {
    let part = |number| {
        let (files, key, count) = (files.clone(), key.to_vec(), count.clone());
        let share: Vec<DataFile> = group.iter().skip(number).step_by(workers()).cloned().collect();
        async move {
            let mut sorter = Sorter::new(&files.table, files.schema.clone(), key, bytes_max / workers())?;
            let mut rows = one_by_one(&files, share, &count);
            while let Some(batch) = rows.try_next().await? {
                sorter.push(batch)?;
            }
            Ok(sorter)
        }
    };
    let sorters = side_by_side(&files.table, workers(), (0..workers()).map(part)).await?;
    let Some(all) = sorters.into_iter().reduce(Sorter::and) else { return Ok(futures::stream::empty().boxed()) };
    let mut sorted = all.finish()?;
    Ok(futures::stream::iter(std::iter::from_fn(move || sorted.next().transpose())).boxed())
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

/// Whether so many rows of it no longer count that reading past them costs more than writing it anew.
fn is_worn(file: &DataFile) -> bool {
    let deleted = file.rows_in_file() - file.rows;
    deleted * 100 > file.rows_in_file() * DELETED_PERCENT
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
    let worn: Vec<&DataFile> = ranged.iter().map(|(_, file)| *file).filter(|file| is_worn(file)).collect();
    let is_joined = |file: &DataFile| groups.iter().flatten().any(|other: &DataFile| other.path == file.path);
    let worn: Vec<&DataFile> = worn.into_iter().filter(|file| !is_joined(file)).collect();
    groups.extend(parts(&worn, &mut left).into_iter().filter(|part| !part.is_empty()));
    // Small ones overlap by nature, and are joined once there are more of them.
    ranged.retain(|(_, file)| !is_small(file) && !is_worn(file));
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

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::testing::*;
    use super::*;

    async fn small_files(bench: &Bench, count: i64) {
        bench.land(1, orders(&[(0, "first")]), whole()).await.unwrap();
        for pull in 2..=count {
            append(&bench.store, pull, &[(1_000 - pull, "x"), (1_000 + pull, "y")]).await.unwrap();
        }
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn small_files_are_joined_and_no_row_moves() {
        let mut bench = Bench::new().await;
        small_files(&bench, 16).await;
        let few = bench.store.compact(&name(TABLE), AFTER_RUN, false).await.unwrap().unwrap();
        assert_eq!((few.small_files, few.files_out), (16, 0), "so few are left alone");
        append(&bench.store, 17, &[(500, "m")]).await.unwrap();
        let (before, rows) = (bench.table(TABLE).await, bench.rows(TABLE).await);
        let look = bench.store.compact(&name(TABLE), AFTER_RUN, true).await.unwrap().unwrap();
        assert_eq!((look.files_out, look.files_in), (17, 0));
        assert_eq!(bench.table(TABLE).await.version, before.version);

        let done = bench.store.compact(&name(TABLE), AFTER_RUN, false).await.unwrap().unwrap();
        bench.check_memory().await;
        assert_eq!((done.files, done.files_out, done.files_in, done.overtaken), (17, 17, 1, false));
        bench.restart().await;
        let after = bench.table(TABLE).await;
        assert_eq!((after.version, after.files.len()), (before.version + 1, 1));
        assert_eq!(after.properties, before.properties, "nothing looks changed");
        assert_eq!(bench.rows(TABLE).await, rows);
        let log = bench.store.read_commit(&name(TABLE), after.version).await.unwrap();
        assert!(!log.contains("\"dataChange\":true") && log.matches("\"dataChange\":false").count() == 18, "{log}");
        let ids: Vec<String> = rows_in_order(&bench).await;
        assert_eq!((ids[0].as_str(), ids.last().unwrap().as_str()), ("0", "1016"), "in the order of the key");

        assert_eq!(bench.store.next_pull(&name(TABLE)).await.unwrap(), 18, "the pull's number is another");
        let landed = bench.land(18, orders(&[(500, "M"), (984, "x")]), changed("1")).await.unwrap();
        assert_eq!((landed.updated, landed.inserted), (1, 0));
        assert_eq!(bench.store.compact(&name("raw.none"), AFTER_RUN, false).await.unwrap(), None);
    }

    async fn rows_in_order(bench: &Bench) -> Vec<String> {
        let table = bench.table(TABLE).await;
        let batches: Vec<RecordBatch> = futures::TryStreamExt::try_collect(bench.store.read(&table)).await.unwrap();
        let id = |batch: &RecordBatch, row| arrow::util::display::array_value_to_string(batch.column(0), row).unwrap();
        batches.iter().flat_map(|batch| (0..batch.num_rows()).map(|row| id(batch, row)).collect::<Vec<_>>()).collect()
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_pull_that_comes_in_between_wins() {
        let bench = Bench::new().await;
        small_files(&bench, 20).await;
        let stale = bench.store.load(&name(TABLE)).await.unwrap().unwrap();
        let files = stale.version.files.clone();
        let joined = bench.store.rewrite_group(&stale, &["id".into()], &files).await.unwrap();
        bench.land(21, orders(&[(0, "changed")]), changed("1")).await.unwrap();
        let rows = bench.rows(TABLE).await;
        let overtaken = bench.store.replace_files(&stale, joined, files).await.unwrap_err();
        assert!(matches!(overtaken, StoreError::Conflict { .. }), "{overtaken}");
        assert_eq!(bench.rows(TABLE).await, rows, "no row is there twice");
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn images_of_a_pull_that_never_committed_are_left_alone() {
        let bench = Bench::new().await;
        let deleted = name("raw.erp__orders__deleted");
        bench.land(1, orders(&[(1, "a"), (2, "b"), (3, "c")]), whole()).await.unwrap();
        bench.land(2, orders(&[(1, "a"), (2, "b")]), whole()).await.unwrap();
        bench.land(3, orders(&[(1, "a")]), whole()).await.unwrap();
        // A pull 4 that ended between its two commits.
        let base = bench.store.load(&deleted).await.unwrap().unwrap();
        let file = base.version.files[0].clone();
        let copy = DataFile { path: file.path.replace("d-2-", "d-4-").replace("d-3-", "d-4-"), ..file.clone() };
        bench.store.object_store().copy(&Path::from(file.path), &Path::from(copy.path.clone())).await.unwrap();
        bench.store.replace_files(&base, vec![copy.clone()], Vec::new()).await.unwrap();
        bench.store.compact(&deleted, THOROUGH, false).await.unwrap();
        let files = bench.table("raw.erp__orders__deleted").await.files;
        assert_eq!(files.len(), 2, "{files:?}");
        assert!(files.iter().any(|file| file.path == copy.path));
        bench.land(4, orders(&[(1, "A")]), whole()).await.unwrap();
        assert_eq!(bench.rows("raw.erp__orders__deleted").await.len(), 2, "the next landing takes them out");
    }

    fn file(number: usize, least: i64, greatest: i64, mebibytes: u64) -> DataFile {
        let stats = format!(r#"{{"numRecords":9,"minValues":{{"id":{least}}},"maxValues":{{"id":{greatest}}}}}"#);
        DataFile {
            path: format!("f{number:04}"),
            size_bytes: mebibytes << 20,
            rows: 1 << 20,
            stats: Some(stats),
            deletion_vector: None,
        }
    }

    proptest! {
        /// Sorting what [`deepest`] names, as if every file had its rows evenly, comes to an end at which no key is in many files.
        #[test]
        fn overlapping_files_become_few_for_each_key(
            ranges in proptest::collection::vec((0_i64..100_000, 0_i64..100_000), 0..60),
            mebibytes in 40_u64..128,
        ) {
            let mut files: Vec<DataFile> = ranges.iter().enumerate().map(|(n, (a, b))| file(n, *a.min(b), *a.max(b), mebibytes)).collect();
            let bounds = Bounds { rewrite_bytes_max: 700 << 20, ..THOROUGH };
            for round in 0.. {
                prop_assert!(round < 200, "no end: {files:?}");
                let groups = groups(&files, Some("id"), bounds);
                let bytes: u64 = groups.iter().flatten().map(|file| file.size_bytes).sum();
                prop_assert!(bytes <= bounds.rewrite_bytes_max);
                if groups.is_empty() {
                    break;
                }
                for (n, group) in groups.iter().enumerate() {
                    prop_assert!(group.len() > 1 && group.iter().map(|file| file.size_bytes).sum::<u64>() <= GROUP_BYTES);
                    let range = |file: &DataFile| match key_range(file.stats.as_deref(), "id") {
                        KeyRange::Integer(least, greatest) => (least, greatest),
                        other => panic!("{other:?}"),
                    };
                    let least = group.iter().map(|file| range(file).0).min().unwrap();
                    let greatest = group.iter().map(|file| range(file).1).max().unwrap();
                    files.retain(|file| !group.iter().any(|other| other.path == file.path));
                    let (count, width) = (group.len() as i64, greatest - least);
                    let sorted = |part: i64| file(1_000 + round * 1_000 + n * 100 + part as usize, least + width * part / count, least + width * (part + 1) / count, mebibytes);
                    files.extend((0..count).map(sorted));
                }
            }
            for at in (0..100_000).step_by(500) {
                let holds = files.iter().filter(|file| matches!(key_range(file.stats.as_deref(), "id"), KeyRange::Integer(a, b) if a < b && (a..=b).contains(&at)));
                prop_assert!(holds.count() <= OVERLAP_MAX);
            }
        }
    }

    #[test]
    fn files_without_a_range_or_of_one_key_are_left_alone() {
        let same: Vec<DataFile> = (0..30).map(|n| file(n, 7, 7, 100)).collect();
        assert!(groups(&same, Some("id"), THOROUGH).is_empty());
        let wide: Vec<DataFile> = (0..30).map(|n| file(n, 0, 9, 100)).collect();
        assert!(groups(&wide, None, THOROUGH).is_empty(), "no key");
        assert_eq!(groups(&wide, Some("id"), THOROUGH).len(), 4, "as much as one run may do: 20 files of 100 MiB");
    }
}
