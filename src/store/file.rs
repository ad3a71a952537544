//! Parquet files: writing with Delta statistics, reading with the table's schema.

use std::ops::Range;
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use bytes::Bytes;
use futures::future::{BoxFuture, FutureExt};
use futures::stream::{BoxStream, StreamExt, TryStreamExt};
use object_store::buffered::BufWriter;
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt};
use parquet::arrow::arrow_reader::ArrowReaderOptions;
use parquet::arrow::async_reader::AsyncFileReader;
use parquet::arrow::{AsyncArrowWriter, ParquetRecordBatchStreamBuilder};
use parquet::basic::{Compression, ZstdLevel};
use parquet::errors::ParquetError;
use parquet::file::metadata::{ParquetMetaData, ParquetMetaDataReader};
use parquet::file::properties::WriterProperties;

use super::stats::Stats;
use super::{DataFile, StoreError, types};

/// Size at which a file is closed and the next begun: large enough to scan well, small enough to rewrite for a few rows.
pub(super) const FILE_BYTES: usize = 128 << 20;
/// Rows of a row group at most.
const GROUP_ROWS: usize = 1 << 20;
/// Encoded bytes at which a row group is closed, which bounds the writer's memory for wide rows.
const GROUP_BYTES: usize = 64 << 20;
/// Rows of a batch read from a file.
pub(super) const BATCH_ROWS: usize = 8_192;

/// Writes rows into as many files as their size asks for. Files that were begun are visible to nobody until a commit names them.
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
    path: Path,
    writer: AsyncArrowWriter<BufWriter>,
    stats: Stats,
}

impl FileWriter {
    /// `stem`: path from the store's folder without the unique end, e.g. `raw/erp__orders/p-7`.
    pub(super) fn new(store: Arc<dyn ObjectStore>, table: &str, stem: String, schema: SchemaRef) -> Self {
        Self { store, table: table.into(), stem, schema, open: None, done: Vec::new() }
    }

    /// Appends rows of the writer's schema.
    pub(super) async fn write(&mut self, batch: &RecordBatch) -> Result<(), StoreError> {
        if batch.num_rows() == 0 {
            return Ok(());
        }
        if self.open.is_none() {
            self.open = Some(self.begin()?);
        }
        let Some(open) = self.open.as_mut() else { return Ok(()) };
        let failed = |source| parquet_error(&self.table, &open.path, "write it", source);
        open.stats.add(batch);
        open.writer.write(batch).await.map_err(failed)?;
        if open.writer.in_progress_size() >= GROUP_BYTES {
            open.writer.flush().await.map_err(failed)?;
        }
        if open.writer.bytes_written() + open.writer.in_progress_size() >= FILE_BYTES {
            self.end().await?;
        }
        Ok(())
    }

    /// Closes the last file and returns all of them, synced.
    pub(super) async fn finish(mut self) -> Result<Vec<DataFile>, StoreError> {
        self.end().await?;
        Ok(self.done)
    }

    fn begin(&self) -> Result<Open, StoreError> {
        let path = Path::from(format!("{}-{}.parquet", self.stem, uuid::Uuid::new_v4().simple()));
        let properties = WriterProperties::builder()
            .set_compression(Compression::ZSTD(ZstdLevel::default()))
            .set_max_row_group_row_count(Some(GROUP_ROWS))
            .set_created_by(concat!("loopline ", env!("CARGO_PKG_VERSION")).into())
            .build();
        let sink = BufWriter::new(self.store.clone(), path.clone());
        let writer = AsyncArrowWriter::try_new(sink, self.schema.clone(), Some(properties))
            .map_err(|source| parquet_error(&self.table, &path, "begin it", source))?;
        Ok(Open { path, writer, stats: Stats::new(&self.schema) })
    }

    async fn end(&mut self) -> Result<(), StoreError> {
        let Some(mut open) = self.open.take() else { return Ok(()) };
        open.writer.finish().await.map_err(|source| parquet_error(&self.table, &open.path, "finish it", source))?;
        self.done.push(DataFile {
            path: open.path.to_string(),
            size_bytes: open.writer.bytes_written() as u64,
            rows: open.stats.rows(),
            stats: Some(open.stats.to_json()),
        });
        Ok(())
    }
}

/// The rows of one file with the columns and types of `schema`; columns that the file lacks are null.
pub(super) fn read_file(
    store: Arc<dyn ObjectStore>,
    table: String,
    file: &DataFile,
    schema: SchemaRef,
) -> BoxStream<'static, Result<RecordBatch, StoreError>> {
    let path = Path::from(file.path.as_str());
    let size = file.size_bytes;
    let open = async move {
        let failed = |source| parquet_error(&table, &path, "read it", source);
        let reader = FileReader { store, path: path.clone(), size };
        let rows = ParquetRecordBatchStreamBuilder::new(reader)
            .await
            .map_err(failed)?
            .with_batch_size(BATCH_ROWS)
            .build()
            .map_err(failed)?;
        Ok::<_, StoreError>(rows.map(move |batch| {
            let batch = batch.map_err(|source| parquet_error(&table, &path, "read it", source))?;
            types::by_name(&table, &batch, &schema)
        }))
    };
    futures::stream::once(open).try_flatten().boxed()
}

fn parquet_error(table: &str, path: &Path, what: &'static str, source: ParquetError) -> StoreError {
    StoreError::Parquet { table: table.into(), path: path.to_string(), what, source }
}

/// Reads byte ranges of one object.
struct FileReader {
    store: Arc<dyn ObjectStore>,
    path: Path,
    size: u64,
}

fn external(error: object_store::Error) -> ParquetError {
    ParquetError::External(Box::new(error))
}

impl AsyncFileReader for FileReader {
    fn get_bytes(&mut self, range: Range<u64>) -> BoxFuture<'_, Result<Bytes, ParquetError>> {
        async move { self.store.get_range(&self.path, range).await.map_err(external) }.boxed()
    }

    fn get_byte_ranges(&mut self, ranges: Vec<Range<u64>>) -> BoxFuture<'_, Result<Vec<Bytes>, ParquetError>> {
        async move { self.store.get_ranges(&self.path, &ranges).await.map_err(external) }.boxed()
    }

    fn get_metadata<'a>(
        &'a mut self,
        options: Option<&'a ArrowReaderOptions>,
    ) -> BoxFuture<'a, Result<Arc<ParquetMetaData>, ParquetError>> {
        async move {
            let size = self.size;
            let metadata = ParquetMetaDataReader::new().with_arrow_reader_options(options).load_and_finish(self, size).await?;
            Ok(Arc::new(metadata))
        }
        .boxed()
    }
}
