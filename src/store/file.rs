//! Parquet files: writing with Delta statistics, reading with the table's schema.

use std::ops::Range;
use std::sync::Arc;

use arrow::array::{Array, AsArray, RecordBatch};
use arrow::datatypes::{DataType, Float64Type, SchemaRef};
use bytes::{Buf, Bytes};
use futures::future::{BoxFuture, FutureExt};
use futures::stream::{BoxStream, StreamExt, TryStreamExt};
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt};
use parquet::arrow::arrow_reader::{ArrowReaderMetadata, ArrowReaderOptions, RowSelection};
use parquet::arrow::async_reader::AsyncFileReader;
use parquet::arrow::{ParquetRecordBatchStreamBuilder, ProjectionMask};
use parquet::errors::ParquetError;
use parquet::file::metadata::{PageIndexPolicy, ParquetMetaData, ParquetMetaDataReader, RowGroupMetaData};
use parquet::file::reader::{ChunkReader, Length};
use roaring::RoaringTreemap;

use super::encode::{self, Column, GROUP_ROWS};
use super::output::Output;
use super::{DataFile, StoreError, stats, types};

/// A file is closed at either of these: large enough to scan well, small enough to rewrite for a few rows.
pub(super) const FILE_BYTES: usize = 128 << 20;
const FILE_ROWS: u64 = 1 << 19;
/// Memory at which a row group is closed early. One of a million short rows needs a fraction of it.
const GROUP_BYTES: usize = 24 << 20;
/// Texts of a row group as they are, before encoding: a rewrite decodes a column of it at once.
const GROUP_TEXT_BYTES: usize = 48 << 20;
/// Rows after which the sizes above are looked at.
const STEP_ROWS: usize = 8 << 10;
/// Bytes at a file's end that are read at once: almost always all that says where what lies.
const FOOTER_BYTES: usize = 64 << 10;
/// Rows of a batch read from a file.
pub(super) const BATCH_ROWS: usize = 8_192;

/// Writes rows into as many files as their size asks for. Files that were begun are visible to nobody until a commit names them.
///
/// Encoding is the caller's own work (about 30 ns a value), so that several writers need a task each to keep several cores busy. Memory: what
/// [`GROUP_BYTES`] and the parts of an upload say, about 40 MB.
pub(super) struct FileWriter {
    store: Arc<dyn ObjectStore>,
    table: String,
    /// Folder and start of the files' names; each gets a unique end.
    stem: String,
    schema: SchemaRef,
    open: Option<Open>,
    done: Vec<DataFile>,
}

struct Open {
    output: Output,
    with_dictionary: Vec<bool>,
    /// The row group that is being filled.
    columns: Vec<Column>,
    group_rows: usize,
    group_text_bytes: usize,
    rows: u64,
    /// Columns in which a NaN was seen.
    with_nan: Vec<usize>,
}

impl Open {
    fn bytes(&self) -> usize {
        self.columns.iter().map(Column::bytes).sum()
    }

    async fn end_group(&mut self) -> Result<(), ParquetError> {
        let next = self.output.columns(&self.with_dictionary);
        (self.group_rows, self.group_text_bytes) = (0, 0);
        self.output.end_group(std::mem::replace(&mut self.columns, next)).await
    }
}

impl FileWriter {
    /// `stem`: path from the store's folder without the unique end, e.g. `raw/erp__orders/p-7`.
    pub(super) fn new(store: Arc<dyn ObjectStore>, table: &str, stem: String, schema: SchemaRef) -> Self {
        Self { store, table: table.into(), stem, schema, open: None, done: Vec::new() }
    }

    /// Appends rows of the writer's schema.
    pub(super) async fn write(&mut self, batch: &RecordBatch) -> Result<(), StoreError> {
        for start in (0..batch.num_rows()).step_by(STEP_ROWS) {
            self.write_step(&batch.slice(start, STEP_ROWS.min(batch.num_rows() - start))).await?;
        }
        Ok(())
    }

    async fn write_step(&mut self, batch: &RecordBatch) -> Result<(), StoreError> {
        if self.open.is_none() {
            self.open = Some(self.begin(batch)?);
        }
        let Some(open) = self.open.as_mut() else { return Ok(()) };
        let path = open.output.path.clone();
        let failed = |source| parquet_error(&self.table, &path, "write it", source);
        let text_bytes = text_bytes(batch);
        let is_full = open.group_rows + batch.num_rows() > GROUP_ROWS || open.group_text_bytes + text_bytes > GROUP_TEXT_BYTES;
        if is_full && open.group_rows > 0 {
            open.end_group().await.map_err(failed)?;
        }
        open.output.fill(&mut open.columns, batch).map_err(failed)?;
        open.rows += batch.num_rows() as u64;
        open.group_rows += batch.num_rows();
        open.group_text_bytes += text_bytes;
        open.with_nan.extend(columns_with_nan(batch, &open.with_nan));
        let bytes = open.bytes();
        if bytes >= GROUP_BYTES {
            open.end_group().await.map_err(failed)?;
        }
        if open.rows >= FILE_ROWS || open.output.bytes_written() + bytes >= FILE_BYTES {
            self.end().await?;
        }
        Ok(())
    }

    /// Closes the last file and returns all of them, synced.
    pub(super) async fn finish(mut self) -> Result<Vec<DataFile>, StoreError> {
        self.end().await?;
        Ok(self.done)
    }

    /// `sample`: first rows of the file.
    fn begin(&self, sample: &RecordBatch) -> Result<Open, StoreError> {
        let path = unique(&self.stem);
        let output = Output::begin(&self.store, path.clone(), &self.schema)
            .map_err(|source| parquet_error(&self.table, &path, "begin it", source))?;
        let with_dictionary = encode::dictionaries_for(sample);
        let columns = output.columns(&with_dictionary);
        Ok(Open { output, with_dictionary, columns, group_rows: 0, group_text_bytes: 0, rows: 0, with_nan: Vec::new() })
    }

    async fn end(&mut self) -> Result<(), StoreError> {
        let Some(mut open) = self.open.take() else { return Ok(()) };
        let path = open.output.path.clone();
        let failed = |source| parquet_error(&self.table, &path, "finish it", source);
        if open.group_rows > 0 {
            open.end_group().await.map_err(failed)?;
        }
        self.done.push(open.output.finish(&open.with_nan).await.map_err(failed)?);
        Ok(())
    }
}

/// A name of a file that there is not yet.
pub(super) fn unique(stem: &str) -> Path {
    Path::from(format!("{stem}-{}.parquet", uuid::Uuid::new_v4().simple()))
}

/// A file that was written completely. `with_nan`: positions of columns that hold a NaN.
pub(super) fn written(schema: &SchemaRef, path: &Path, size: usize, metadata: &ParquetMetaData, with_nan: &[usize]) -> DataFile {
    DataFile {
        path: path.to_string(),
        size_bytes: size as u64,
        rows: metadata.file_metadata().num_rows().unsigned_abs(),
        stats: Some(stats::to_json(schema, metadata, with_nan)),
        deletion_vector: None,
    }
}

/// Positions of the columns that hold a NaN, which no statistics of Parquet's show; `known` are left out.
pub(super) fn columns_with_nan(batch: &RecordBatch, known: &[usize]) -> Vec<usize> {
    let has_nan = |column: usize| {
        let values = batch.column(column).as_primitive_opt::<Float64Type>();
        !known.contains(&column) && values.is_some_and(|values| values.values().iter().any(|value| value.is_nan()))
    };
    (0..batch.num_columns()).filter(|column| has_nan(*column)).collect()
}

/// Bytes of the longest column of texts.
fn text_bytes(batch: &RecordBatch) -> usize {
    let bytes = |offsets: &[i32]| offsets.last().zip(offsets.first()).map_or(0, |(last, first)| (last - first).unsigned_abs());
    let of = |column: &arrow::array::ArrayRef| match column.data_type() {
        DataType::Utf8 => bytes(column.as_string::<i32>().value_offsets()),
        DataType::Binary => bytes(column.as_binary::<i32>().value_offsets()),
        _ => 0,
    };
    batch.columns().iter().map(of).max().unwrap_or(0) as usize
}

/// Rows of a file and where they lie.
pub(super) struct Located {
    /// Ascending positions in the file; those that a deletion vector marks are counted, but never there.
    pub(super) positions: Vec<u64>,
    pub(super) rows: RecordBatch,
}

/// The rows of one file with the columns and types of `schema`; columns that the file lacks are null.
pub(super) fn read_file(
    store: Arc<dyn ObjectStore>,
    table: String,
    file: &DataFile,
    schema: SchemaRef,
) -> BoxStream<'static, Result<RecordBatch, StoreError>> {
    read_columns(store, table, file, schema).map_ok(|located| located.rows).boxed()
}

/// Like [`read_file`], with the rows' positions. Only the columns of `schema` are read.
pub(super) fn read_columns(
    store: Arc<dyn ObjectStore>,
    table: String,
    file: &DataFile,
    schema: SchemaRef,
) -> BoxStream<'static, Result<Located, StoreError>> {
    read_groups(store, table, file, schema, |_| true)
}

/// Like [`read_columns`], of those row groups that are `wanted`.
pub(super) fn read_groups(
    store: Arc<dyn ObjectStore>,
    table: String,
    file: &DataFile,
    schema: SchemaRef,
    wanted: impl Fn(&RowGroupMetaData) -> bool + Send + 'static,
) -> BoxStream<'static, Result<Located, StoreError>> {
    let file = file.clone();
    let open = async move {
        let opened = Opened::new(&store, &table, &file, PageIndexPolicy::Skip).await?;
        let groups = opened.groups(wanted);
        opened.read(schema, &joined(groups))
    };
    futures::stream::once(open).try_flatten().boxed()
}

/// Neighbours as one range.
fn joined(ranges: Vec<Range<u64>>) -> Vec<Range<u64>> {
    let mut joined: Vec<Range<u64>> = Vec::new();
    for range in ranges {
        match joined.last_mut() {
            Some(last) if last.end == range.start => last.end = range.end,
            _ => joined.push(range),
        }
    }
    joined
}

/// The rows at `positions` (ascending) with the columns of `schema`; of the file's pages only those that hold one are read. Rows that a deletion
/// vector marks are left out.
pub(super) fn read_rows(
    store: Arc<dyn ObjectStore>,
    table: String,
    file: &DataFile,
    schema: SchemaRef,
    positions: Vec<u64>,
) -> BoxStream<'static, Result<Located, StoreError>> {
    let file = file.clone();
    let open = async move {
        let opened = Opened::new(&store, &table, &file, PageIndexPolicy::Optional).await?;
        let wanted: Vec<_> = positions.chunk_by(|a, b| a + 1 == *b).map(|run| run[0]..run[0] + run.len() as u64).collect();
        opened.read(schema, &wanted)
    };
    futures::stream::once(open).try_flatten().boxed()
}

/// A file whose end was read.
pub(super) struct Opened {
    pub(super) table: String,
    pub(super) path: Path,
    pub(super) metadata: ArrowReaderMetadata,
    /// Positions of the rows that no longer count.
    pub(super) deleted: RoaringTreemap,
    reader: FileReader,
}

impl Opened {
    pub(super) async fn new(
        store: &Arc<dyn ObjectStore>,
        table: &str,
        file: &DataFile,
        pages: PageIndexPolicy,
    ) -> Result<Self, StoreError> {
        let path = Path::from(file.path.as_str());
        let mut reader = FileReader { store: store.clone(), path: path.clone(), size: file.size_bytes };
        let options = ArrowReaderOptions::new().with_page_index_policy(pages);
        let metadata = ArrowReaderMetadata::load_async(&mut reader, options)
            .await
            .map_err(|source| parquet_error(table, &path, "read it", source))?;
        let deleted = match &file.deletion_vector {
            Some(vector) => vector.read(store).await?,
            None => RoaringTreemap::new(),
        };
        Ok(Self { table: table.into(), path, metadata, deleted, reader })
    }

    /// Rows of the file itself, deleted or not.
    pub(super) fn rows(&self) -> u64 {
        self.metadata.metadata().file_metadata().num_rows().unsigned_abs()
    }

    pub(super) fn failed(&self, what: &'static str) -> impl Fn(ParquetError) -> StoreError + use<> {
        let (table, path) = (self.table.clone(), self.path.clone());
        move |source| parquet_error(&table, &path, what, source)
    }

    /// The rows of those row groups that `holds`.
    pub(super) fn groups(&self, holds: impl Fn(&RowGroupMetaData) -> bool) -> Vec<Range<u64>> {
        let mut start = 0;
        let mut rows = |group: &RowGroupMetaData| {
            start += group.num_rows().unsigned_abs();
            start - group.num_rows().unsigned_abs()..start
        };
        let groups = self.metadata.metadata().row_groups().iter();
        groups.map(|group| (rows(group), holds(group))).filter_map(|(rows, holds)| holds.then_some(rows)).collect()
    }

    /// Bytes of the file.
    pub(super) async fn bytes(&mut self, ranges: Vec<Range<u64>>) -> Result<Vec<Bytes>, StoreError> {
        let failed = self.failed("read it");
        self.reader.get_byte_ranges(ranges).await.map_err(failed)
    }

    /// Those rows of `wanted` (ascending) that are not deleted.
    pub(super) fn read(
        self,
        schema: SchemaRef,
        wanted: &[Range<u64>],
    ) -> Result<BoxStream<'static, Result<Located, StoreError>>, StoreError> {
        let failed = self.failed("read it");
        let live = without(wanted, &self.deleted);
        let file_schema = self.metadata.parquet_schema();
        let is_wanted = |leaf: &usize| schema.column_with_name(&file_schema.column(*leaf).path().parts()[0]).is_some();
        let mask = ProjectionMask::leaves(file_schema, (0..file_schema.num_columns()).filter(is_wanted));
        let total = self.rows();
        let mut builder = ParquetRecordBatchStreamBuilder::new_with_metadata(self.reader, self.metadata)
            .with_batch_size(BATCH_ROWS)
            .with_projection(mask);
        if live.as_slice() != std::slice::from_ref(&(0..total)) {
            let ranges = live.iter().map(|range| range.start as usize..range.end as usize);
            builder = builder.with_row_selection(RowSelection::from_consecutive_ranges(ranges, total as usize));
        }
        let rows = builder.build().map_err(&failed)?;
        let mut positions = live.into_iter().flatten();
        let table = self.table;
        let located = move |batch: Result<RecordBatch, ParquetError>| {
            let rows = types::by_name(&table, &batch.map_err(&failed)?, &schema)?;
            Ok(Located { positions: positions.by_ref().take(rows.num_rows()).collect(), rows })
        };
        Ok(rows.map(located).boxed())
    }
}

/// The parts of `ranges` (ascending) without the positions in `holes`.
pub(super) fn without(ranges: &[Range<u64>], holes: &RoaringTreemap) -> Vec<Range<u64>> {
    let mut left = Vec::with_capacity(ranges.len());
    for range in ranges {
        let mut start = range.start;
        let mut inside = holes.iter();
        inside.advance_to(range.start);
        for hole in inside.take_while(|hole| *hole < range.end) {
            left.push(start..hole);
            start = hole + 1;
        }
        left.push(start..range.end);
    }
    left.retain(|range| !range.is_empty());
    left
}

pub(super) fn parquet_error(table: &str, path: &Path, what: &'static str, source: ParquetError) -> StoreError {
    StoreError::Parquet { table: table.into(), path: path.to_string(), what, source }
}

/// Reads byte ranges of one object.
struct FileReader {
    store: Arc<dyn ObjectStore>,
    path: Path,
    size: u64,
}

pub(super) fn external(error: object_store::Error) -> ParquetError {
    ParquetError::External(Box::new(error))
}

/// A part of a file that was read, at its place in the file.
pub(super) struct FilePart {
    pub(super) start: u64,
    pub(super) bytes: Bytes,
}

impl FilePart {
    fn after(&self, position: u64) -> Result<Bytes, ParquetError> {
        let skipped = position.checked_sub(self.start).filter(|skipped| *skipped <= self.bytes.len() as u64);
        let skipped = skipped.ok_or_else(|| ParquetError::EOF(format!("byte {position} is not in the column")))?;
        Ok(self.bytes.slice(skipped as usize..))
    }
}

impl Length for FilePart {
    fn len(&self) -> u64 {
        self.start + self.bytes.len() as u64
    }
}

impl ChunkReader for FilePart {
    type T = bytes::buf::Reader<Bytes>;

    fn get_read(&self, start: u64) -> Result<Self::T, ParquetError> {
        Ok(self.after(start)?.reader())
    }

    fn get_bytes(&self, start: u64, length: usize) -> Result<Bytes, ParquetError> {
        let rest = self.after(start)?;
        let cut = || ParquetError::EOF(format!("{length} bytes from byte {start} are not in the column"));
        if length <= rest.len() { Ok(rest.slice(..length)) } else { Err(cut()) }
    }
}

impl AsyncFileReader for FileReader {
    fn get_bytes(&mut self, range: Range<u64>) -> BoxFuture<'_, Result<Bytes, ParquetError>> {
        async move { self.store.get_range(&self.path, range).await.map_err(external) }.boxed()
    }

    fn get_byte_ranges(&mut self, ranges: Vec<Range<u64>>) -> BoxFuture<'_, Result<Vec<Bytes>, ParquetError>> {
        // A disk is asked once for pages that lie together; a bucket would be, anyway.
        async move {
            let mut ascending = ranges.clone();
            ascending.sort_unstable_by_key(|range| range.start);
            let wholes = joined(ascending);
            let bytes = self.store.get_ranges(&self.path, &wholes).await.map_err(external)?;
            let part = |range: &Range<u64>| {
                let whole = wholes.partition_point(|whole| whole.start <= range.start).checked_sub(1)?;
                let start = range.start - wholes[whole].start;
                let within = start as usize..(start + (range.end - range.start)) as usize;
                bytes.get(whole).filter(|bytes| within.end <= bytes.len()).map(|bytes| bytes.slice(within))
            };
            let cut = || ParquetError::EOF(format!("{} ends early", self.path));
            ranges.iter().map(|range| part(range).ok_or_else(cut)).collect()
        }
        .boxed()
    }

    fn get_metadata<'a>(
        &'a mut self,
        options: Option<&'a ArrowReaderOptions>,
    ) -> BoxFuture<'a, Result<Arc<ParquetMetaData>, ParquetError>> {
        async move {
            let (size, prefetch) = (self.size, Some(FOOTER_BYTES));
            let reader = ParquetMetaDataReader::new().with_arrow_reader_options(options).with_prefetch_hint(prefetch);
            Ok(Arc::new(reader.load_and_finish(self, size).await?))
        }
        .boxed()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant as Clock;

    use arrow::array::{ArrayRef, Date32Array, Decimal128Array, Int32Array, Int64Array, StringArray};
    use rand::{Rng, RngExt, SeedableRng};

    use super::super::testing::*;
    use super::*;

    /// Rows like those of TPC-H's `lineitem`.
    fn line_items(first_order: i64, rows: usize, dice: &mut impl Rng) -> RecordBatch {
        const WORDS: [&str; 12] = [
            "carefully",
            "final",
            "deposits",
            "sleep",
            "furiously",
            "regular",
            "ideas",
            "above",
            "the",
            "quickly",
            "express",
            "accounts",
        ];
        let money = |least: i128, most: i128, dice: &mut dyn FnMut(i128, i128) -> i128| {
            let values = (0..rows).map(|_| dice(least, most)).collect::<Vec<_>>();
            Arc::new(Decimal128Array::from(values).with_precision_and_scale(15, 2).unwrap()) as ArrayRef
        };
        let mut roll = |least: i128, most: i128| dice.random_range(least..=most);
        let decimals = [(100, 5_000), (90_000, 10_500_000), (0, 10), (0, 8)].map(|(least, most)| money(least, most, &mut roll));
        let [quantity, price, discount, tax] = decimals;
        let mut big = |least: i64, most: i64| {
            Arc::new(Int64Array::from_iter_values((0..rows).map(|_| roll(least.into(), most.into()) as i64))) as ArrayRef
        };
        let (part, supplier) = (big(1, 200_000), big(1, 10_000));
        let dates = [0, 30, 60].map(|after| {
            Arc::new(Date32Array::from_iter_values((0..rows).map(|_| 8_036 + after + roll(0, 2_500) as i32))) as ArrayRef
        });
        let [ship, commit, receipt] = dates;
        let mut one_of = |of: &[&str]| {
            Arc::new((0..rows).map(|_| Some(of[roll(0, of.len() as i128 - 1) as usize])).collect::<StringArray>()) as ArrayRef
        };
        let (returned, status) = (one_of(&["A", "N", "R"]), one_of(&["F", "O"]));
        let instruct = one_of(&["DELIVER IN PERSON", "COLLECT COD", "NONE", "TAKE BACK RETURN"]);
        let mode = one_of(&["AIR", "FOB", "MAIL", "RAIL", "REG AIR", "SHIP", "TRUCK"]);
        let comment = (0..rows).map(|_| {
            let words: Vec<_> = (0..roll(2, 5)).map(|_| WORDS[roll(0, 11) as usize]).collect();
            let start = roll(0, 9) as usize;
            words.join(" ").get(start..).map(str::to_owned)
        });
        let comment: ArrayRef = Arc::new(comment.collect::<StringArray>());
        let orders: ArrayRef = Arc::new(Int64Array::from_iter_values((0..rows as i64).map(|row| first_order + row / 4)));
        let lines: ArrayRef = Arc::new(Int32Array::from_iter_values((0..rows as i32).map(|row| row % 4 + 1)));
        let columns = [
            ("l_orderkey", orders),
            ("l_partkey", part),
            ("l_suppkey", supplier),
            ("l_linenumber", lines),
            ("l_quantity", quantity),
            ("l_extendedprice", price),
            ("l_discount", discount),
            ("l_tax", tax),
            ("l_returnflag", returned),
            ("l_linestatus", status),
            ("l_shipdate", ship),
            ("l_commitdate", commit),
            ("l_receiptdate", receipt),
            ("l_shipinstruct", instruct),
            ("l_shipmode", mode),
            ("l_comment", comment),
        ];
        RecordBatch::try_from_iter_with_nullable(columns.map(|(name, column)| (name, column, true))).unwrap()
    }

    /// What writing and reading cost; prints, asserts nothing about time.
    #[tokio::test(flavor = "multi_thread")]
    #[ignore = "a measurement"]
    async fn measure() {
        let bench = Bench::new().await;
        let mut dice = rand_chacha::ChaCha8Rng::seed_from_u64(7);
        let rows = 8_192;
        let batches: Vec<_> = (0..64).map(|n| line_items(n * rows as i64 / 4, rows, &mut dice)).collect();
        let schema = batches[0].schema();
        let start = (Clock::now(), cpu_s());
        let mut writer = FileWriter::new(bench.store.object_store(), TABLE, "raw/erp__orders/p-1".into(), schema.clone());
        let mut most = 0;
        for round in 0..732 {
            writer.write(&batches[round % batches.len()]).await.unwrap();
            most = most.max(writer.open.as_ref().map_or(0, |open| open.bytes()));
        }
        let files = writer.finish().await.unwrap();
        let bytes: u64 = files.iter().map(|file| file.size_bytes).sum();
        println!(
            "6 M rows of 16 columns: {:?}, {:.2} s CPU, {bytes} bytes in {} files, row group of {most} bytes",
            start.0.elapsed(),
            cpu_s() - start.1,
            files.len()
        );
        for (column, field) in schema.fields().iter().enumerate() {
            let one = Arc::new(schema.project(&[column]).unwrap());
            let start = cpu_s();
            let mut writer = FileWriter::new(bench.store.object_store(), TABLE, "raw/erp__orders/p-2".into(), one);
            for round in 0..732 {
                writer.write(&batches[round % batches.len()].project(&[column]).unwrap()).await.unwrap();
            }
            let files = writer.finish().await.unwrap();
            let bytes: u64 = files.iter().map(|file| file.size_bytes).sum();
            println!("{}: {:.2} s, {} kB", field.name(), cpu_s() - start, bytes >> 10);
        }
        let start = (Clock::now(), cpu_s());
        for file in &files {
            let mut rows = read_file(bench.store.object_store(), TABLE.into(), file, schema.clone());
            while let Some(batch) = rows.next().await {
                batch.unwrap();
            }
        }
        println!("reading: {:?}, {:.2} s CPU", start.0.elapsed(), cpu_s() - start.1);
        let start = (Clock::now(), cpu_s());
        let wanted: Vec<u64> = (0..500).map(|n| n * 2_000).collect();
        let found = read_rows(bench.store.object_store(), TABLE.into(), &files[0], schema.clone(), wanted.clone());
        let found: Vec<Located> = found.try_collect().await.unwrap();
        assert_eq!(found.iter().flat_map(|located| located.positions.clone()).collect::<Vec<_>>(), wanted);
        println!("500 single rows of a million: {:?}, {:.2} s CPU", start.0.elapsed(), cpu_s() - start.1);
    }
}
