//! Sorting the rows of several files by key in bounded memory: runs are sorted and put aside on the local disk, then merged as they are read.
//!
//! A run is a file without a name in the temporary folder, which is gone with the process, however it ends.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::fs::{File, OpenOptions};

use arrow::array::{ArrayRef, RecordBatch};
use arrow::compute::interleave_record_batch;
use arrow::datatypes::SchemaRef;
use arrow::error::ArrowError;
use arrow::row::{OwnedRow, RowConverter, Rows, SortField};
use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_reader::{ParquetRecordBatchReader, ParquetRecordBatchReaderBuilder};
use parquet::errors::ParquetError;
use parquet::file::properties::{EnabledStatistics, WriterProperties};

use super::StoreError;
use super::file::BATCH_ROWS;

/// A page of a run: every run that is merged holds one of each column in memory.
const PAGE_BYTES: usize = 64 << 10;
const PAGE_ROWS: usize = 2_048;

/// Takes rows in any order.
pub(super) struct Sorter {
    order: Order,
    run_bytes: usize,
    batches: Vec<RecordBatch>,
    keys: Vec<Rows>,
    bytes: usize,
    runs: Vec<File>,
}

/// How the rows of one table are ordered.
pub(super) struct Order {
    table: String,
    schema: SchemaRef,
    /// Positions of the key's columns; without any, rows stay in the order in which they come.
    key: Vec<usize>,
    converter: RowConverter,
}

impl Order {
    fn keys(&self, batch: &RecordBatch) -> Result<Rows, StoreError> {
        let columns: Vec<ArrayRef> = self.key.iter().map(|column| batch.column(*column).clone()).collect();
        self.converter.convert_columns(&columns).map_err(|source| self.arrow("encode keys", source))
    }

    fn arrow(&self, what: &'static str, source: ArrowError) -> StoreError {
        StoreError::Arrow { table: self.table.clone(), what, source }
    }

    fn aside(&self, source: impl Into<ParquetError>) -> StoreError {
        let (what, path) = ("put sorted rows aside in it", std::env::temp_dir().display().to_string());
        StoreError::Parquet { table: self.table.clone(), path, what, source: source.into() }
    }

    fn pick(&self, pool: &[RecordBatch], rows: &[(usize, usize)]) -> Result<RecordBatch, StoreError> {
        let pool: Vec<&RecordBatch> = pool.iter().collect();
        interleave_record_batch(&pool, rows).map_err(|source| self.arrow("sort rows", source))
    }
}

impl Sorter {
    /// `key`: positions of columns of `schema`; `run_bytes`: rows held in memory until they are put aside as a sorted run.
    pub(super) fn new(table: &str, schema: SchemaRef, key: Vec<usize>, run_bytes: usize) -> Result<Self, StoreError> {
        let fields = key.iter().map(|column| SortField::new(schema.field(*column).data_type().clone())).collect();
        let converter =
            RowConverter::new(fields).map_err(|source| StoreError::Arrow { table: table.into(), what: "encode keys", source })?;
        let order = Order { table: table.into(), schema, key, converter };
        Ok(Self { order, run_bytes, batches: Vec::new(), keys: Vec::new(), bytes: 0, runs: Vec::new() })
    }

    pub(super) fn push(&mut self, batch: RecordBatch) -> Result<(), StoreError> {
        let keys = self.order.keys(&batch)?;
        self.bytes += batch.get_array_memory_size() + keys.size();
        self.batches.push(batch);
        self.keys.push(keys);
        if self.bytes >= self.run_bytes { self.put_aside() } else { Ok(()) }
    }

    /// The rows of both.
    pub(super) fn and(mut self, other: Self) -> Self {
        self.batches.extend(other.batches);
        self.keys.extend(other.keys);
        self.bytes += other.bytes;
        self.runs.extend(other.runs);
        self
    }

    /// The rows in order, in batches of at most [`BATCH_ROWS`].
    pub(super) fn finish(mut self) -> Result<Sorted, StoreError> {
        if self.runs.is_empty() {
            let rows = self.sorted();
            return Ok(Sorted::Memory { order: self.order, pool: self.batches, rows, next: 0 });
        }
        self.put_aside()?;
        let mut merge = Merge { order: self.order, pool: Vec::new(), runs: Vec::new(), heap: BinaryHeap::new() };
        for file in self.runs {
            let reader = ParquetRecordBatchReaderBuilder::try_new(file).and_then(|r| r.with_batch_size(PAGE_ROWS).build());
            let reader = reader.map_err(|source| merge.order.aside(source))?;
            merge.runs.push(Run { reader, keys: None, batch: 0, row: 0 });
            merge.turn(merge.runs.len() - 1)?;
        }
        Ok(Sorted::Merged(Box::new(merge)))
    }

    /// Batch and row of each row in memory, in order.
    fn sorted(&self) -> Vec<(usize, usize)> {
        let mut rows: Vec<(usize, usize)> =
            self.batches.iter().enumerate().flat_map(|(n, batch)| (0..batch.num_rows()).map(move |row| (n, row))).collect();
        rows.sort_by(|a, b| self.keys[a.0].row(a.1).cmp(&self.keys[b.0].row(b.1)));
        rows
    }

    fn put_aside(&mut self) -> Result<(), StoreError> {
        let rows = self.sorted();
        let file = nameless().map_err(|source| self.order.aside(ParquetError::External(Box::new(source))))?;
        let properties = WriterProperties::builder()
            .set_dictionary_enabled(false)
            .set_statistics_enabled(EnabledStatistics::None)
            .set_data_page_size_limit(PAGE_BYTES)
            .set_data_page_row_count_limit(PAGE_ROWS)
            .build();
        let aside = |source: ParquetError| self.order.aside(source);
        let copy = file.try_clone().map_err(|source| aside(ParquetError::External(Box::new(source))))?;
        let mut writer = ArrowWriter::try_new(copy, self.order.schema.clone(), Some(properties)).map_err(aside)?;
        for chunk in rows.chunks(BATCH_ROWS) {
            writer.write(&self.order.pick(&self.batches, chunk)?).map_err(aside)?;
        }
        writer.close().map_err(aside)?;
        self.runs.push(file);
        (self.batches, self.keys, self.bytes) = (Vec::new(), Vec::new(), 0);
        Ok(())
    }
}

/// A new file that nobody else can open.
fn nameless() -> std::io::Result<File> {
    let path = std::env::temp_dir().join(format!("loopline-sort-{}", uuid::Uuid::new_v4().simple()));
    let file = OpenOptions::new().read(true).write(true).create_new(true).open(&path)?;
    std::fs::remove_file(&path)?;
    Ok(file)
}

/// Rows in the order of their keys.
pub(super) enum Sorted {
    Memory { order: Order, pool: Vec<RecordBatch>, rows: Vec<(usize, usize)>, next: usize },
    Merged(Box<Merge>),
}

impl Sorted {
    /// The next batch; `None` at the end.
    pub(super) fn next(&mut self) -> Result<Option<RecordBatch>, StoreError> {
        match self {
            Self::Merged(merge) => merge.next(),
            Self::Memory { order, pool, rows, next } => {
                let chunk = &rows[*next..rows.len().min(*next + BATCH_ROWS)];
                *next += chunk.len();
                if chunk.is_empty() { Ok(None) } else { order.pick(pool, chunk).map(Some) }
            }
        }
    }
}

/// Sorted runs that become one.
pub(super) struct Merge {
    order: Order,
    /// Batches that rows of the next batch come from.
    pool: Vec<RecordBatch>,
    runs: Vec<Run>,
    /// The least key of each run that has rows left.
    heap: BinaryHeap<Reverse<(OwnedRow, usize)>>,
}

struct Run {
    reader: ParquetRecordBatchReader,
    /// Of its current batch, which is `pool[batch]`; `None` at its end.
    keys: Option<Rows>,
    batch: usize,
    row: usize,
}

impl Merge {
    fn next(&mut self) -> Result<Option<RecordBatch>, StoreError> {
        let mut rows = Vec::with_capacity(BATCH_ROWS);
        while rows.len() < BATCH_ROWS {
            let Some(Reverse((_, number))) = self.heap.pop() else { break };
            let run = &mut self.runs[number];
            rows.push((run.batch, run.row));
            run.row += 1;
            match run.keys.as_ref().filter(|keys| run.row < keys.num_rows()) {
                Some(keys) => self.heap.push(Reverse((keys.row(run.row).owned(), number))),
                None => self.turn(number)?,
            }
        }
        if rows.is_empty() {
            return Ok(None);
        }
        let batch = self.order.pick(&self.pool, &rows)?;
        // Only what the runs stand in is still needed.
        let mut pool = Vec::with_capacity(self.runs.len());
        for run in self.runs.iter_mut().filter(|run| run.keys.is_some()) {
            pool.push(self.pool[run.batch].clone());
            run.batch = pool.len() - 1;
        }
        self.pool = pool;
        Ok(Some(batch))
    }

    /// Goes on to the next batch of a run.
    fn turn(&mut self, number: usize) -> Result<(), StoreError> {
        let run = &mut self.runs[number];
        run.keys = None;
        let Some(batch) = run.reader.next() else { return Ok(()) };
        let batch = batch.map_err(|source| self.order.aside(source))?;
        let keys = self.order.keys(&batch)?;
        self.heap.push(Reverse((keys.row(0).owned(), number)));
        self.pool.push(batch);
        (run.keys, run.batch, run.row) = (Some(keys), self.pool.len() - 1, 0);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{AsArray, Int64Array, StringArray};
    use arrow::datatypes::Int64Type;
    use proptest::prelude::*;

    use super::*;

    fn batch(rows: &[(i64, Option<i64>)]) -> RecordBatch {
        let key: ArrayRef = Arc::new(Int64Array::from_iter_values(rows.iter().map(|row| row.0)));
        let text = rows.iter().map(|row| row.1.map(|n| format!("text {n}")));
        let text: ArrayRef = Arc::new(text.collect::<StringArray>());
        RecordBatch::try_from_iter_with_nullable([("key", key, true), ("text", text, true)]).unwrap()
    }

    fn sort(batches: &[Vec<(i64, Option<i64>)>], run_bytes: usize) -> Vec<(i64, Option<String>)> {
        let sorter = |batches: &[Vec<(i64, Option<i64>)>]| {
            let mut sorter = Sorter::new("t", batch(&[]).schema(), vec![0, 1], run_bytes).unwrap();
            batches.iter().for_each(|rows| sorter.push(batch(rows)).unwrap());
            sorter
        };
        let (one, other) = batches.split_at(batches.len() / 3);
        let mut sorted = sorter(one).and(sorter(other)).finish().unwrap();
        let mut rows = Vec::new();
        while let Some(batch) = sorted.next().unwrap() {
            assert!(batch.num_rows() <= BATCH_ROWS);
            let keys = batch.column(0).as_primitive::<Int64Type>().iter().flatten();
            rows.extend(keys.zip(batch.column(1).as_string::<i32>().iter().map(|text| text.map(str::to_owned))));
        }
        rows
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]
        #[test]
        fn rows_come_in_the_order_of_their_keys(
            batches in proptest::collection::vec(proptest::collection::vec((-9_i64..9, proptest::option::of(0_i64..40)), 0..300), 0..12),
            run_bytes in prop_oneof![Just(1), Just(4_000), Just(20_000), Just(usize::MAX)],
        ) {
            let mut expected: Vec<(i64, Option<String>)> =
                batches.iter().flatten().map(|(key, n)| (*key, n.map(|n| format!("text {n}")))).collect();
            expected.sort();
            prop_assert_eq!(sort(&batches, run_bytes), expected);
        }
    }

    #[test]
    fn a_run_of_many_pages_is_merged() {
        let rows: Vec<(i64, Option<i64>)> = (0..40_000).map(|n| ((n * 7_919) % 40_000, Some(n))).collect();
        let batches: Vec<Vec<_>> = rows.chunks(9_000).map(<[_]>::to_vec).collect();
        let sorted = sort(&batches, 300_000);
        assert!(sorted.iter().map(|row| row.0).eq(0..40_000));
    }
}
