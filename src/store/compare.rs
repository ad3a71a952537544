//! How a source's rows differ from a table's, found without changing either.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use arrow::array::{ArrayRef, RecordBatch};
use arrow::datatypes::{Schema, SchemaRef};
use arrow::error::ArrowError;
use arrow::row::{OwnedRow, RowConverter, SortField};
use arrow::util::display::array_value_to_string;
use futures::TryStreamExt;
use object_store::local::LocalFileSystem;
use roaring::RoaringBitmap;

use crate::base::TableName;

use super::diff::{Diff, Rules};
use super::evolve::{self, PULL};
use super::incoming::{Files, Incoming, Intake};
use super::join::{Entry, Join};
use super::keyed::Keyed;
use super::merge::Content;
use super::stored::{Expected, Stored};
use super::{Batches, Comparison, RangeComparison, Store, StoreError, TableVersion, types};

/// Keys that are listed at most; to read so many rows one by one costs as much as to read a table of some million.
const KEYS_MAX: u64 = 200_000;
/// Above this many keys also no larger share of the table's rows is listed.
const KEYS_FEW: u64 = 10_000;
const KEYS_PERCENT: u64 = 5;
/// Ranges of the key by which counts and checksums are told apart.
const RANGES: usize = 16;
/// Rows of the table whose keys say where the ranges lie.
const SAMPLE_ROWS: u64 = 4_096;

/// Start of the names of temporary folders, and the age at which one belongs to a process that was killed.
const SPILL: &str = "spill-";
const LEFT_OVER: Duration = Duration::from_secs(24 * 3_600);

impl Store {
    /// Compares the rows of a source with those of `table`, by `key`; changes nothing, needs no lease.
    ///
    /// `schema`: the source's columns. Values are compared in the types that the table would have after a landing, over `columns`, or over all but
    /// `_pull`. A table that does not exist has no rows. Keys are read back from temporary files beside the control state; memory is bounded.
    pub async fn compare(
        &self,
        table: &TableName,
        key: &[String],
        schema: SchemaRef,
        columns: Option<&[String]>,
        parts: Vec<Batches>,
    ) -> Result<Comparison, StoreError> {
        let name = table.to_string();
        let old = self.load(table).await?.map(|loaded| only(&loaded.version, key, columns));
        let incoming = types::storable(&name, &schema)?;
        let schema = evolve::evolve(&name, old.as_ref(), &incoming)?.schema;
        let positions = evolve::key_columns(&name, old.as_ref(), &schema, key)?;
        let compared = schema
            .fields()
            .iter()
            .map(|field| field.name().as_str())
            .filter(|name| *name != PULL && columns.is_none_or(|columns| columns.iter().any(|column| column == name)));
        let first = positions[0];
        let keyed = Arc::new(Keyed::new(&name, schema.clone(), positions, compared)?);
        let ours =
            Files { store: Arc::clone(&self.place.folder), table: name.clone(), stem: String::new(), schema: schema.clone() };
        let list = old.map(|old| old.files).unwrap_or_default();
        let mut stored = Stored::new(ours, keyed.clone(), list, 0);
        let ranges = Arc::new(Ranges::of(&stored, first).await?);
        stored.expected = Expected::All;
        stored.observe = Some(Box::new({
            let ranges = ranges.clone();
            move |rows, hashes| ranges.add(rows, hashes, Side::Table)
        }));
        let folder = self.control.path().parent().unwrap_or(Path::new("."));
        let spill = SpillFolder::new(folder)?;
        let intake = Arc::new(Comparing {
            join: Arc::new(Mutex::new(Join::new(&spill.path, self.limits.join_bytes))),
            key_schema: keyed.key_schema(&[]),
            keyed,
            incoming,
            ranges: ranges.clone(),
        });
        let keys = Files { store: spill.store()?, table: name.clone(), stem: "keys".into(), schema: intake.key_schema.clone() };
        let reading = Incoming::drain(keys, parts, self.limits.rows_bytes, intake.clone()).await?;
        let stored = Arc::new(stored);
        stored.scan(&intake.join).await?;
        let join = std::mem::replace(&mut *intake.join.lock().unwrap_or_else(PoisonError::into_inner), Join::new(folder, 0));
        let diff = Diff::of(&name, join, Rules { last_wins: true, ..Rules::default() }).await?;
        let mut comparison = Comparison {
            source_rows: reading.rows,
            table_rows: stored.list.iter().map(|file| file.rows).sum(),
            absent: diff.inserted.count(),
            differing: diff.updated.count(),
            gone: diff.gone.count(),
            ranges: ranges.result(),
            ..Comparison::default()
        };
        let keys = comparison.absent + comparison.differing + comparison.gone;
        let most = comparison.source_rows.max(comparison.table_rows);
        comparison.is_too_different = keys > KEYS_MAX || keys > KEYS_FEW && keys * 100 > most * KEYS_PERCENT;
        if !comparison.is_too_different {
            comparison.wanted_keys = reading.rows(&diff.inserted.union(&diff.updated)).try_collect().await?;
            for (file, number) in stored.list.iter().zip(0..) {
                let Some(gone) = diff.gone.of(number) else { continue };
                let keys = stored.files.rows(file, intake.key_schema.clone(), gone);
                comparison.gone_keys.extend(keys.map_ok(|located| located.rows).try_collect::<Vec<_>>().await?);
            }
        }
        Ok(comparison)
    }
}

/// `version` as if it had only the key and `columns`.
fn only(version: &TableVersion, key: &[String], columns: Option<&[String]>) -> TableVersion {
    let Some(columns) = columns else { return version.clone() };
    let named = |name: &String| name == PULL || columns.contains(name) || key.contains(name);
    let fields: Vec<_> = version.schema.fields().iter().filter(|field| named(field.name())).cloned().collect();
    TableVersion { schema: Arc::new(Schema::new(fields)), ..version.clone() }
}

/// A folder for one comparison, gone with it.
struct SpillFolder {
    path: PathBuf,
}

impl SpillFolder {
    /// Removes those of processes that were killed, too.
    fn new(parent: &Path) -> Result<Self, StoreError> {
        for old in std::fs::read_dir(parent).into_iter().flatten().filter_map(Result::ok) {
            let age = old.metadata().and_then(|of| of.modified()).ok().and_then(|at| at.elapsed().ok());
            if old.file_name().to_string_lossy().starts_with(SPILL) && age.is_some_and(|age| age > LEFT_OVER) {
                let _ = std::fs::remove_dir_all(old.path());
            }
        }
        let path = parent.join(format!("{SPILL}{}", uuid::Uuid::new_v4().simple()));
        std::fs::create_dir(&path).map_err(|source| StoreError::Spill { path: path.clone(), source })?;
        Ok(Self { path })
    }

    fn store(&self) -> Result<Arc<LocalFileSystem>, StoreError> {
        let failed = |source| StoreError::Object { what: "opening", path: self.path.display().to_string(), source };
        LocalFileSystem::new_with_prefix(&self.path).map(Arc::new).map_err(failed)
    }
}

impl Drop for SpillFolder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.path);
    }
}

/// Adds the rows of the source to the join and to the ranges; of each row only the key is held.
struct Comparing {
    keyed: Arc<Keyed>,
    key_schema: SchemaRef,
    incoming: SchemaRef,
    join: Arc<Mutex<Join>>,
    ranges: Arc<Ranges>,
}

impl Intake for Comparing {
    fn take(&self, part: u32, position: u32, batch: &RecordBatch) -> Result<RecordBatch, StoreError> {
        let table = &self.keyed.table;
        let batch = types::by_name(table, &types::by_position(table, batch, &self.incoming)?, &self.keyed.schema)?;
        self.keyed.check_nulls(&batch, position.into())?;
        let (keys, rows) = (self.keyed.key_hashes(&batch)?, self.keyed.row_hashes(&batch)?);
        self.ranges.add(&batch, &rows, Side::Source)?;
        let mut join = self.join.lock().unwrap_or_else(PoisonError::into_inner);
        for ((key, row), position) in keys.into_iter().zip(rows).zip(position..) {
            join.push(Entry::read(key, row, part, position))?;
        }
        types::by_name(table, &batch, &self.key_schema)
    }
}

#[derive(Debug, Clone, Copy)]
enum Side {
    Source,
    Table,
}

/// Counts and checksums by ranges of the key's first column.
struct Ranges {
    table: String,
    /// Name and order of the column.
    column: String,
    order: RowConverter,
    /// Where a range ends and the next begins.
    bounds: Vec<OwnedRow>,
    texts: Vec<String>,
    /// Source and table, by range.
    sums: Mutex<Vec<(Content, Content)>>,
}

impl Ranges {
    /// Ranges with about as many rows of the table each.
    async fn of(stored: &Stored, column: usize) -> Result<Self, StoreError> {
        let field = stored.keyed.schema.field(column).clone();
        let failed = stored.files.arrow("order keys");
        let order = RowConverter::new(vec![SortField::new(field.data_type().clone())]).map_err(&failed)?;
        let total: u64 = stored.list.iter().map(|file| file.rows).sum();
        let step = (total / SAMPLE_ROWS).max(1) as usize;
        let mut samples = Vec::new();
        let schema = Arc::new(Schema::new(vec![field.clone()]));
        for file in &stored.list {
            let positions: RoaringBitmap = (0..file.rows_in_file() as u32).step_by(step).collect();
            let rows: Vec<_> = stored.files.rows(file, schema.clone(), &positions).try_collect().await?;
            for located in rows {
                let column = located.rows.column(0);
                let keys = order.convert_columns(std::slice::from_ref(column)).map_err(&failed)?;
                let text = |row| array_value_to_string(column, row).map_err(&failed);
                for row in 0..column.len() {
                    samples.push((keys.row(row).owned(), text(row)?));
                }
            }
        }
        samples.sort();
        samples.dedup_by(|a, b| a.0 == b.0);
        let ranges = RANGES.min(samples.len().max(1));
        let (bounds, texts): (Vec<_>, Vec<_>) = (1..ranges).map(|range| samples[range * samples.len() / ranges].clone()).unzip();
        let sums = Mutex::new(vec![Default::default(); bounds.len() + 1]);
        Ok(Self { table: stored.keyed.table.clone(), column: field.name().clone(), order, bounds, texts, sums })
    }

    fn add(&self, rows: &RecordBatch, hashes: &[u128], side: Side) -> Result<(), StoreError> {
        let Some(column) = rows.column_by_name(&self.column) else { return Ok(()) };
        let failed = |source: ArrowError| StoreError::Arrow { table: self.table.clone(), what: "order keys", source };
        let keys = self.order.convert_columns(std::slice::from_ref::<ArrayRef>(column)).map_err(failed)?;
        let mut sums = self.sums.lock().unwrap_or_else(PoisonError::into_inner);
        for (row, hash) in keys.iter().zip(hashes) {
            let range = self.bounds.partition_point(|bound| bound.row() <= row);
            match side {
                Side::Source => sums[range].0.add(&[*hash]),
                Side::Table => sums[range].1.add(&[*hash]),
            }
        }
        Ok(())
    }

    fn result(&self) -> Vec<RangeComparison> {
        let sums = self.sums.lock().unwrap_or_else(PoisonError::into_inner);
        let range = |(range, (source, table)): (usize, &(Content, Content))| RangeComparison {
            from: range.checked_sub(1).map(|before| self.texts[before].clone()),
            to: self.texts.get(range).cloned(),
            source_rows: source.rows,
            table_rows: table.rows,
            source_checksum: format!("{:032x}", source.sum),
            table_checksum: format!("{:032x}", table.sum),
        };
        sums.iter().enumerate().map(range).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::*;
    use super::*;

    fn texts(rows: std::ops::Range<i64>, of: impl Fn(i64) -> String) -> Vec<(i64, String)> {
        rows.map(|id| (id, of(id))).collect()
    }

    fn batches(rows: &[(i64, String)]) -> Vec<RecordBatch> {
        let chunk = |rows: &[(i64, String)]| orders(&rows.iter().map(|(id, text)| (*id, text.as_str())).collect::<Vec<_>>());
        rows.chunks(1_000).map(chunk).collect()
    }

    fn ids(batches: &[RecordBatch]) -> Vec<i64> {
        use arrow::array::AsArray;
        use arrow::datatypes::Int64Type;
        let of = |batch: &RecordBatch| batch.column(0).as_primitive::<Int64Type>().values().to_vec();
        let mut ids: Vec<i64> = batches.iter().flat_map(of).collect();
        ids.sort_unstable();
        ids
    }

    async fn compare(bench: &Bench, rows: &[(i64, String)], columns: Option<&[String]>) -> Comparison {
        let schema = orders(&[]).schema();
        // Two parts that come side by side.
        let (a, b) = rows.split_at(rows.len() / 3);
        let parts = vec![stream(batches(a)), stream(batches(b))];
        bench.store.compare(&name(TABLE), &["id".into()], schema, columns, parts).await.unwrap()
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn differences_are_counted_and_listed() {
        let mut bench = Bench::new().await;
        let table = texts(0..5_000, |id| format!("order {id}"));
        bench.store.land(landing(1, batches(&table), whole())).await.unwrap();
        let source = texts(3..5_004, |id| if id % 1_000 == 7 { "changed".into() } else { format!("order {id}") });
        for tiny in [false, true] {
            if tiny {
                bench.store.limits = crate::store::limits::Limits { rows_bytes: 1, join_bytes: 1_000, ..bench.store.limits };
            }
            let found = compare(&bench, &source, None).await;
            assert_eq!((found.source_rows, found.table_rows), (5_001, 5_000));
            assert_eq!((found.absent, found.differing, found.gone), (4, 5, 3));
            assert_eq!(ids(&found.wanted_keys), [7, 1_007, 2_007, 3_007, 4_007, 5_000, 5_001, 5_002, 5_003]);
            assert_eq!(ids(&found.gone_keys), [0, 1, 2]);
            assert_eq!(found.wanted_keys[0].num_columns(), 1);
            assert_eq!(found.ranges.len(), RANGES);
            assert_eq!(found.ranges.iter().map(|range| range.source_rows).sum::<u64>(), 5_001);
            assert_eq!(found.ranges.iter().map(|range| range.table_rows).sum::<u64>(), 5_000);
            let differing = found.ranges.iter().filter(|range| range.source_checksum != range.table_checksum).count();
            assert_eq!(differing, 6, "five changed rows, and the last range");
            assert_eq!((found.ranges[0].from.as_deref(), &found.ranges[0].to), (None, &found.ranges[1].from));
        }
        let spilled = std::fs::read_dir(bench.folder.path()).unwrap().filter_map(Result::ok);
        assert_eq!(spilled.filter(|entry| entry.file_name().to_string_lossy().starts_with("spill-")).count(), 0);

        let only_keys = compare(&bench, &source, Some(&["id".into()])).await;
        assert_eq!((only_keys.absent, only_keys.differing, only_keys.gone), (4, 0, 3), "only the key is compared");
        let same = compare(&bench, &table, None).await;
        assert_eq!((same.absent, same.differing, same.gone, same.is_too_different), (0, 0, 0, false));
        assert!(same.ranges.iter().all(|range| range.source_checksum == range.table_checksum));
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn what_is_too_different_is_not_listed() {
        let bench = Bench::new().await;
        let source = texts(0..20_000, |id| id.to_string());
        let absent = compare(&bench, &source, None).await;
        assert_eq!((absent.absent, absent.is_too_different, absent.ranges.len()), (20_000, true, 1), "there is no table");
        assert!(absent.wanted_keys.is_empty());
    }
}
