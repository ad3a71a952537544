//! A Parquet file being written, row group by row group.
//!
//! Column chunks are handed to the upload as they are: Parquet's own writer would copy each of them into a buffer of its own. What stands at a file's
//! end is left to the library.

use std::io::{self, Write};
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use bytes::Bytes;
use object_store::ObjectStore;
use object_store::buffered::BufWriter;
use object_store::path::Path;
use parquet::arrow::{ARROW_SCHEMA_META_KEY, ArrowSchemaConverter, encode_arrow_schema};
use parquet::errors::ParquetError;
use parquet::file::metadata::{
    ColumnChunkMetaData, FileMetaData, KeyValue, OffsetIndexBuilder, ParquetMetaData, ParquetMetaDataBuilder,
    ParquetMetaDataWriter, RowGroupMetaData,
};
use parquet::file::page_index::column_index::ColumnIndexMetaData;
use parquet::file::page_index::offset_index::OffsetIndexMetaData;
use parquet::file::writer::TrackedWrite;
use parquet::schema::types::{ColumnDescPtr, SchemaDescPtr};
use tokio::io::AsyncWriteExt;

use super::DataFile;
use super::encode::{Chunk, Codec, Column};
use super::file::{external, written};

/// Bytes of one part of an upload.
const PART_BYTES: usize = 8 << 20;
/// Parts under way at once: memory is bounded by them.
const PARTS_AT_ONCE: usize = 2;
/// By which every Parquet file begins.
const MAGIC: &[u8] = b"PAR1";
/// Of the format; only the second version's kind of data pages would need another.
const FORMAT_VERSION: i32 = 1;

/// Nobody sees the file until a commit names it.
pub(super) struct Output {
    pub(super) path: Path,
    pub(super) codec: Codec,
    schema: SchemaRef,
    columns: SchemaDescPtr,
    upload: BufWriter,
    bytes: usize,
    groups: Vec<RowGroupMetaData>,
    /// Of each row group and column.
    column_index: Vec<Vec<ColumnIndexMetaData>>,
    offset_index: Vec<Vec<OffsetIndexMetaData>>,
}

impl Output {
    pub(super) fn begin(store: &Arc<dyn ObjectStore>, path: Path, schema: &SchemaRef) -> Result<Self, ParquetError> {
        Ok(Self {
            upload: BufWriter::with_capacity(store.clone(), path.clone(), PART_BYTES).with_max_concurrency(PARTS_AT_ONCE),
            path,
            codec: Codec::new()?,
            schema: schema.clone(),
            columns: Arc::new(ArrowSchemaConverter::new().convert(schema)?),
            bytes: 0,
            groups: Vec::new(),
            column_index: Vec::new(),
            offset_index: Vec::new(),
        })
    }

    pub(super) fn descriptors(&self) -> Vec<ColumnDescPtr> {
        self.columns.columns().to_vec()
    }

    /// The columns of a row group; `with_dictionary` says which of them get one.
    pub(super) fn columns(&self, with_dictionary: &[bool]) -> Vec<Column> {
        let columns = self.descriptors().into_iter().zip(with_dictionary);
        columns.map(|(descriptor, with_dictionary)| Column::new(descriptor, *with_dictionary)).collect()
    }

    /// Appends rows to the columns of a row group.
    pub(super) fn fill(&mut self, columns: &mut [Column], rows: &RecordBatch) -> Result<(), ParquetError> {
        columns.iter_mut().zip(rows.columns()).try_for_each(|(column, values)| column.write(values, &mut self.codec))
    }

    /// Writes a row group.
    pub(super) async fn end_group(&mut self, columns: Vec<Column>) -> Result<(), ParquetError> {
        let chunks = columns.into_iter().map(|column| column.close(&mut self.codec)).collect::<Result<_, _>>()?;
        self.add(chunks).await
    }

    /// Writes a row group of a chunk for each column.
    pub(super) async fn add(&mut self, chunks: Vec<Chunk>) -> Result<(), ParquetError> {
        if self.groups.is_empty() {
            self.put(Bytes::from_static(MAGIC)).await?;
        }
        let (start, ordinal) = (self.bytes, i16::try_from(self.groups.len()));
        let rows = chunks.first().map_or(0, |chunk| chunk.metadata.num_values());
        let (mut columns, mut column_index, mut offset_index) = (Vec::new(), Vec::new(), Vec::new());
        for chunk in chunks {
            let by = self.bytes as i64 - chunk.metadata.byte_range().0.cast_signed();
            offset_index.push(moved_index(&chunk.offset_index, by, rows));
            column_index.push(chunk.column_index);
            columns.push(moved(chunk.metadata, by)?);
            for bytes in chunk.bytes {
                self.put(bytes).await?;
            }
        }
        let group = RowGroupMetaData::builder(self.columns.clone())
            .set_num_rows(rows)
            .set_total_byte_size(columns.iter().map(ColumnChunkMetaData::uncompressed_size).sum())
            .set_column_metadata(columns)
            .set_ordinal(ordinal.map_err(|error| ParquetError::External(error.into()))?)
            .set_file_offset(start as i64);
        self.groups.push(group.build()?);
        self.column_index.push(column_index);
        self.offset_index.push(offset_index);
        Ok(())
    }

    async fn put(&mut self, bytes: Bytes) -> Result<(), ParquetError> {
        self.bytes += bytes.len();
        self.upload.put(bytes).await.map_err(external)
    }

    pub(super) fn bytes_written(&self) -> usize {
        self.bytes
    }

    /// `with_nan`: positions of columns that hold a NaN.
    pub(super) async fn finish(mut self, with_nan: &[usize]) -> Result<DataFile, ParquetError> {
        let rows = self.groups.iter().map(RowGroupMetaData::num_rows).sum();
        let created_by = concat!("loopline ", env!("CARGO_PKG_VERSION")).to_owned();
        let arrow_schema = KeyValue::new(ARROW_SCHEMA_META_KEY.to_owned(), encode_arrow_schema(&self.schema));
        let about =
            FileMetaData::new(FORMAT_VERSION, rows, Some(created_by), Some(vec![arrow_schema]), self.columns.clone(), None);
        let metadata = ParquetMetaDataBuilder::new(about)
            .set_row_groups(std::mem::take(&mut self.groups))
            .set_column_index(Some(std::mem::take(&mut self.column_index)))
            .set_offset_index(Some(std::mem::take(&mut self.offset_index)))
            .build();
        self.put(end(&metadata, self.bytes)?).await?;
        self.upload.shutdown().await.map_err(|error| ParquetError::External(Box::new(error)))?;
        Ok(written(&self.schema, &self.path, self.bytes, &metadata, with_nan))
    }
}

/// What is known of a chunk that lies `by` bytes further on. Bloom filters, which lie elsewhere in a file, are left behind.
fn moved(chunk: ColumnChunkMetaData, by: i64) -> Result<ColumnChunkMetaData, ParquetError> {
    let (data, dictionary) = (chunk.data_page_offset() + by, chunk.dictionary_page_offset().map(|offset| offset + by));
    let chunk = chunk.into_builder().set_data_page_offset(data).set_dictionary_page_offset(dictionary);
    chunk.set_index_page_offset(None).set_bloom_filter_offset(None).set_bloom_filter_length(None).build()
}

fn moved_index(index: &OffsetIndexMetaData, by: i64, rows: i64) -> OffsetIndexMetaData {
    let mut moved = OffsetIndexBuilder::new();
    let pages = index.page_locations();
    let ends = pages.iter().skip(1).map(|next| next.first_row_index).chain([rows]);
    for (page, end) in pages.iter().zip(ends) {
        moved.append_offset_and_size(page.offset + by, page.compressed_page_size);
        moved.append_row_count(end - page.first_row_index);
    }
    moved.build()
}

/// What follows the columns, which end at byte `position`.
fn end(metadata: &ParquetMetaData, position: usize) -> Result<Bytes, ParquetError> {
    /// Drops what comes first.
    struct Rest {
        skipped: usize,
        bytes: Vec<u8>,
    }

    impl Write for Rest {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let skipped = self.skipped.min(bytes.len());
            self.skipped -= skipped;
            self.bytes.extend_from_slice(&bytes[skipped..]);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    let mut rest = Rest { skipped: position, bytes: Vec::new() };
    let mut output = TrackedWrite::new(&mut rest);
    // The library knows where it is in a file by what it wrote.
    const ZEROS: &[u8] = &[0; 1 << 16];
    for start in (0..position).step_by(ZEROS.len()) {
        output.write_all(&ZEROS[..ZEROS.len().min(position - start)])?;
    }
    ParquetMetaDataWriter::new_with_tracked(output, metadata).finish()?;
    Ok(rest.bytes.into())
}
