//! A column of a row group of a file that is written anew.

use std::ops::Range;
use std::sync::Arc;

use arrow::array::{ArrayRef, new_empty_array};
use arrow::compute::concat;
use arrow::datatypes::Field;
use bytes::Bytes;
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::{ParquetRecordBatchReader, ParquetRecordBatchReaderBuilder, RowSelection};
use parquet::basic::{Compression, Encoding};
use parquet::errors::ParquetError;
use parquet::file::metadata::ColumnChunkMetaData;
use parquet::file::page_index::column_index::ColumnIndexMetaData;
use parquet::file::page_index::offset_index::{OffsetIndexMetaData, PageLocation};
use parquet::file::reader::SerializedPageReader;

use super::encode::{Bounds, Chunk, PAGE_ROWS, PageFacts};
use super::file::{FilePart, Opened};
use super::{StoreError, types};

/// The column and the file that it is of.
#[derive(Clone, Copy)]
pub(super) struct OldColumn<'a> {
    pub(super) file: &'a Opened,
    pub(super) group: usize,
    /// Which column of the file it is.
    pub(super) leaf: usize,
    pub(super) bytes: &'a Bytes,
}

/// A page of it.
pub(super) struct OldPage {
    pub(super) rows: Range<usize>,
    /// In the column's bytes.
    pub(super) bytes: Range<usize>,
    /// `None`: it cannot be copied.
    pub(super) facts: Option<PageFacts>,
}

impl OldColumn<'_> {
    pub(super) fn metadata(&self) -> &ColumnChunkMetaData {
        self.file.metadata.metadata().row_group(self.group).column(self.leaf)
    }

    fn rows(&self) -> usize {
        self.file.metadata.metadata().row_group(self.group).num_rows().unsigned_abs() as usize
    }

    fn column_index(&self) -> Option<&ColumnIndexMetaData> {
        self.file.metadata.metadata().column_index()?.get(self.group)?.get(self.leaf)
    }

    fn part(&self) -> FilePart {
        FilePart { start: self.metadata().byte_range().0, bytes: self.bytes.clone() }
    }

    fn offset_index(&self) -> Option<&OffsetIndexMetaData> {
        self.file.metadata.metadata().offset_index()?.get(self.group)?.get(self.leaf)
    }

    /// All of it. `None`: it is not known where its pages are.
    pub(super) fn copy(&self) -> Option<Chunk> {
        Some(Chunk {
            bytes: vec![self.bytes.clone()],
            metadata: self.metadata().clone(),
            column_index: self.column_index().cloned().unwrap_or(ColumnIndexMetaData::NONE),
            offset_index: self.offset_index()?.clone(),
        })
    }

    /// Its pages, of which those that `keeps_rows` may be copied. `None`: not enough is known of them.
    pub(super) fn pages(&self, keeps_rows: impl Fn(&Range<usize>) -> bool) -> Option<Vec<OldPage>> {
        if !matches!(self.metadata().compression(), Compression::ZSTD(_)) {
            return None;
        }
        let (index, locations) = (self.column_index()?, self.offset_index()?.page_locations());
        let start = i64::try_from(self.metadata().byte_range().0).ok()?;
        let ends = locations.iter().skip(1).map(|next| next.first_row_index).chain([i64::try_from(self.rows()).ok()?]);
        let page = |(number, (location, end)): (usize, (&PageLocation, i64))| {
            let rows = usize::try_from(location.first_row_index).ok()?..usize::try_from(end).ok()?;
            let first = usize::try_from(location.offset - start).ok()?;
            let bytes = first..first + usize::try_from(location.compressed_page_size).ok()?;
            let facts =
                if keeps_rows(&rows) { Some(facts(index, number, self.bytes.get(bytes.clone())?, rows.len())?) } else { None };
            Some(OldPage { rows, bytes, facts })
        };
        locations.iter().zip(ends).enumerate().map(page).collect()
    }

    /// Reads its pages one by one.
    pub(super) fn page_reader(&self) -> Result<SerializedPageReader<FilePart>, ParquetError> {
        let locations = self.offset_index().map(|index| index.page_locations().clone());
        SerializedPageReader::new(Arc::new(self.part()), self.metadata(), self.rows(), locations)
    }

    fn reader(&self, batch_rows: usize, selection: Option<RowSelection>) -> Result<ParquetRecordBatchReader, ParquetError> {
        let builder = ParquetRecordBatchReaderBuilder::new_with_metadata(self.part(), self.file.metadata.clone())
            .with_projection(ProjectionMask::leaves(self.file.metadata.parquet_schema(), [self.leaf]))
            .with_row_groups(vec![self.group])
            .with_batch_size(batch_rows);
        match selection {
            Some(selection) => builder.with_row_selection(selection).build(),
            None => builder.build(),
        }
    }

    /// Its values with the type of `field`, as many as a page holds at a time.
    pub(super) fn values(
        &self,
        field: &Field,
    ) -> Result<impl Iterator<Item = Result<(Range<usize>, ArrayRef), StoreError>>, StoreError> {
        let failed = self.file.failed("read it");
        let batches = self.reader(PAGE_ROWS, None).map_err(&failed)?;
        let mut next = 0;
        Ok(batches.map(move |batch| {
            let values = types::cast(&self.file.table, field, batch.map_err(|error| failed(error.into()))?.column(0))?;
            let rows = next..next + values.len();
            next = rows.end;
            Ok((rows, values))
        }))
    }

    /// The values of these rows, one after the other.
    pub(super) fn values_of(&self, field: &Field, rows: &[Range<usize>]) -> Result<ArrayRef, StoreError> {
        let count = rows.iter().map(Range::len).sum();
        if count == 0 {
            return Ok(new_empty_array(field.data_type()));
        }
        let read = || {
            let selection = RowSelection::from_consecutive_ranges(rows.iter().cloned(), self.rows());
            let batches = self.reader(count, Some(selection))?;
            let columns = batches.map(|batch| Ok(batch?.column(0).clone())).collect::<Result<Vec<_>, ParquetError>>()?;
            let columns: Vec<_> = columns.iter().map(|column| column.as_ref()).collect();
            let values = if columns.is_empty() { None } else { Some(concat(&columns)?).filter(|values| values.len() == count) };
            values.ok_or_else(|| cut_short(self.group))
        };
        types::cast(&self.file.table, field, &read().map_err(self.file.failed("read it"))?)
    }
}

pub(super) fn cut_short(group: usize) -> ParquetError {
    ParquetError::EOF(format!("row group {group} is cut short"))
}

fn facts(index: &ColumnIndexMetaData, number: usize, page: &[u8], rows: usize) -> Option<PageFacts> {
    let (encoding, uncompressed_bytes) = head(page)?;
    let nulls = usize::try_from(index.null_count(number)?).ok()?;
    let bounds = Bounds::in_index(index, number);
    (bounds.is_some() || nulls == rows).then_some(PageFacts { rows, nulls, encoding, bounds, uncompressed_bytes })
}

/// Encoding and uncompressed size of a data page, its head included, if the head is what our writer makes of one: Thrift's compact form of the page's
/// kind, its two sizes, and of the number of its values and their encoding.
fn head(page: &[u8]) -> Option<(Encoding, usize)> {
    /// The next field is a number, the one after next a structure.
    const NUMBER: u8 = 0x15;
    const STRUCTURE: u8 = 0x2c;
    const DATA_PAGE: u64 = 0;
    let mut rest = page;
    let mut number = |before: &[u8]| {
        rest = rest.strip_prefix(before)?;
        let length = rest.iter().take(5).position(|byte| *byte < 0x80)? + 1;
        let (bytes, after) = rest.split_at(length);
        rest = after;
        let zigzag = bytes.iter().rev().fold(0, |number, byte| number << 7 | u64::from(byte & 0x7f));
        zigzag.is_multiple_of(2).then_some(zigzag / 2)
    };
    if number(&[NUMBER])? != DATA_PAGE {
        return None;
    }
    let (uncompressed, compressed) = (number(&[NUMBER])?, number(&[NUMBER])?);
    number(&[STRUCTURE, NUMBER])?;
    let encoding = match number(&[NUMBER])? {
        0 => Encoding::PLAIN,
        5 => Encoding::DELTA_BINARY_PACKED,
        6 => Encoding::DELTA_LENGTH_BYTE_ARRAY,
        8 => Encoding::RLE_DICTIONARY,
        _ => return None,
    };
    let head = page.len().checked_sub(usize::try_from(compressed).ok()?)?;
    Some((encoding, usize::try_from(uncompressed).ok()? + head))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_heads_of_our_own_form_are_understood() {
        let head_of = |bytes: &[u8]| head(&[bytes, &[0; 300]].concat());
        assert_eq!(
            head_of(&[0x15, 0, 0x15, 0xd0, 0x0f, 0x15, 0xd8, 0x04, 0x2c, 0x15, 200, 1, 0x15, 10]),
            Some((Encoding::DELTA_BINARY_PACKED, 1_014))
        );
        assert_eq!(
            head_of(&[0x15, 0, 0x15, 0xd0, 0x0f, 0x15, 0xd8, 0x04, 0x2c, 0x15, 200, 1, 0x15, 18]),
            None,
            "another encoding"
        );
        assert_eq!(
            head_of(&[0x15, 6, 0x15, 0xd0, 0x0f, 0x15, 0xd8, 0x04, 0x2c, 0x15, 200, 1, 0x15, 10]),
            None,
            "another kind of page"
        );
        assert_eq!(head(&[0x15, 0xff, 0xff]), None);
    }
}
