//! A Parquet file being written, row group by row group.

use std::io;
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use bytes::{Buf, Bytes};
use object_store::ObjectStore;
use object_store::buffered::BufWriter;
use object_store::path::Path;
use parquet::arrow::arrow_writer::{ArrowWriter, ArrowWriterOptions};
use parquet::column::writer::ColumnCloseResult;
use parquet::errors::ParquetError;
use parquet::file::properties::WriterProperties;
use parquet::file::reader::{ChunkReader, Length};
use parquet::file::writer::{SerializedFileWriter, SerializedRowGroupWriter};
use parquet::schema::types::ColumnDescPtr;
use tokio::io::AsyncWriteExt;

use super::DataFile;
use super::encode::{Codec, Column};
use super::file::{external, written};

/// Bytes of one part of an upload.
const PART_BYTES: usize = 8 << 20;
/// Parts under way at once: memory is bounded by them.
const PARTS_AT_ONCE: usize = 2;

/// Nobody sees the file until a commit names it.
pub(super) struct Output {
    pub(super) path: Path,
    schema: SchemaRef,
    writer: SerializedFileWriter<Vec<u8>>,
    codec: Codec,
    upload: BufWriter,
}

impl Output {
    pub(super) fn begin(
        store: &Arc<dyn ObjectStore>,
        path: Path,
        schema: &SchemaRef,
        codec: io::Result<Codec>,
    ) -> Result<Self, ParquetError> {
        let properties = WriterProperties::builder().set_created_by(concat!("loopline ", env!("CARGO_PKG_VERSION")).into());
        let options = ArrowWriterOptions::new().with_properties(properties.build());
        let (writer, _) = ArrowWriter::try_new_with_options(Vec::new(), schema.clone(), options)?.into_serialized_writer()?;
        let upload = BufWriter::with_capacity(store.clone(), path.clone(), PART_BYTES).with_max_concurrency(PARTS_AT_ONCE);
        Ok(Self { path, schema: schema.clone(), writer, codec: codec?, upload })
    }

    pub(super) fn descriptors(&self) -> Vec<ColumnDescPtr> {
        self.writer.schema_descr().columns().to_vec()
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

    /// Makes room for a row group of about so many bytes, which otherwise moves as it grows.
    pub(super) fn expect(&mut self, bytes: usize) {
        self.writer.inner_mut().reserve(bytes);
    }

    /// Writes a row group.
    pub(super) async fn end_group(&mut self, columns: Vec<Column>) -> Result<(), ParquetError> {
        self.expect(columns.iter().map(Column::bytes).sum());
        let (mut group, codec) = self.group()?;
        columns.into_iter().try_for_each(|column| append(column, codec, &mut group))?;
        group.close()?;
        self.upload().await
    }

    /// The next row group, to be filled column by column and closed.
    pub(super) fn group(&mut self) -> Result<(SerializedRowGroupWriter<'_, Vec<u8>>, &mut Codec), ParquetError> {
        Ok((self.writer.next_row_group()?, &mut self.codec))
    }

    pub(super) fn bytes_written(&self) -> usize {
        self.writer.bytes_written()
    }

    /// Sends on what was written so far.
    pub(super) async fn upload(&mut self) -> Result<(), ParquetError> {
        let bytes = std::mem::take(self.writer.inner_mut());
        self.upload.put(bytes.into()).await.map_err(external)
    }

    /// `with_nan`: positions of columns that hold a NaN.
    pub(super) async fn finish(mut self, with_nan: &[usize]) -> Result<DataFile, ParquetError> {
        let metadata = self.writer.finish()?;
        self.upload().await?;
        self.upload.shutdown().await.map_err(|error| ParquetError::External(Box::new(error)))?;
        Ok(written(&self.schema, &self.path, self.writer.bytes_written(), &metadata, with_nan))
    }
}

/// Encodes what is left of a column and adds it to its row group.
pub(super) fn append(
    column: Column,
    codec: &mut Codec,
    group: &mut SerializedRowGroupWriter<'_, Vec<u8>>,
) -> Result<(), ParquetError> {
    let (bytes, close): (Bytes, ColumnCloseResult) = column.close(codec)?;
    group.append_column(&Chunk { start: 0, bytes }, close)
}

/// A part of a file, at its place in the file.
pub(super) struct Chunk {
    pub(super) start: u64,
    pub(super) bytes: Bytes,
}

impl Chunk {
    fn after(&self, position: u64) -> Result<Bytes, ParquetError> {
        let skipped = position.checked_sub(self.start).filter(|skipped| *skipped <= self.bytes.len() as u64);
        let skipped = skipped.ok_or_else(|| ParquetError::EOF(format!("byte {position} is not in the column")))?;
        Ok(self.bytes.slice(skipped as usize..))
    }
}

impl Length for Chunk {
    fn len(&self) -> u64 {
        self.start + self.bytes.len() as u64
    }
}

impl ChunkReader for Chunk {
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
