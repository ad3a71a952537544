//! A column of a row group written anew for a few of its rows: pages without a change are copied as they are, encoded and compressed.

use std::ops::Range;

use arrow::array::{ArrayRef, new_empty_array};
use arrow::compute::concat;
use arrow::datatypes::Field;
use bytes::Bytes;
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::{ParquetRecordBatchReaderBuilder, RowSelection};
use parquet::basic::{Compression, Encoding};
use parquet::errors::ParquetError;
use parquet::file::page_index::column_index::ColumnIndexMetaData;
use parquet::file::page_index::offset_index::PageLocation;

use super::encode::{Bounds, Codec, Column, PageFacts};
use super::file::{FilePart, Opened};
use super::rewrite::Piece;
use super::{StoreError, types};

/// A page of the old column.
struct Page {
    rows: Range<usize>,
    /// In the column's bytes.
    bytes: Range<usize>,
    /// `None`: its rows change.
    copied: Option<PageFacts>,
}

/// Fills `column`, which has no dictionary, with what `piece` makes of column `leaf` of row group `group`, whose bytes are `chunk`. `false`, and
/// nothing is filled, where no page can be copied. `position`: the column's in the table.
pub(super) fn splice(
    old: &Opened,
    (group, leaf): (usize, usize),
    chunk: &Bytes,
    (position, field): (usize, &Field),
    piece: &Piece,
    column: &mut Column,
    codec: &mut Codec,
) -> Result<bool, StoreError> {
    let pages = pages(old, (group, leaf), chunk, piece).filter(|pages| pages.iter().any(|page| page.copied.is_some()));
    let Some(pages) = pages else { return Ok(false) };
    let failed = old.failed("write it anew");
    let changed: Vec<_> = pages.iter().filter(|page| page.copied.is_none()).map(|page| page.rows.clone()).collect();
    let values = decode(old, (group, leaf), chunk, field, &changed)?;
    let mut decoded = 0;
    for page in pages {
        match page.copied {
            Some(facts) => column.copy_page(&chunk[page.bytes], &facts, codec).map_err(&failed)?,
            None => {
                let of_page = values.slice(decoded, page.rows.len());
                decoded += of_page.len();
                let values = piece.values_of(position, &of_page, page.rows).map_err(&failed)?;
                column.write(&values, codec).map_err(&failed)?;
            }
        }
    }
    Ok(true)
}

/// The pages of a column; `None` where not enough is known of them.
fn pages(old: &Opened, (group, leaf): (usize, usize), chunk: &Bytes, piece: &Piece) -> Option<Vec<Page>> {
    let metadata = old.metadata.metadata();
    let of = metadata.row_group(group).column(leaf);
    if of.dictionary_page_offset().is_some() || !matches!(of.compression(), Compression::ZSTD(_)) {
        return None;
    }
    let index = metadata.column_index()?.get(group)?.get(leaf)?;
    let locations = metadata.offset_index()?.get(group)?.get(leaf)?.page_locations();
    let (start, rows) = (i64::try_from(of.byte_range().0).ok()?, metadata.row_group(group).num_rows());
    let ends = locations.iter().skip(1).map(|next| next.first_row_index).chain([rows]);
    let page = |(number, (location, end)): (usize, (&PageLocation, i64))| {
        let rows = usize::try_from(location.first_row_index).ok()?..usize::try_from(end).ok()?;
        let first = usize::try_from(location.offset - start).ok()?;
        let bytes = first..first + usize::try_from(location.compressed_page_size).ok()?;
        let copied = if piece.changes(&rows) { None } else { Some(facts(index, number, chunk.get(bytes.clone())?, rows.len())?) };
        Some(Page { rows, bytes, copied })
    };
    locations.iter().zip(ends).enumerate().map(page).collect()
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
        _ => return None,
    };
    let head = page.len().checked_sub(usize::try_from(compressed).ok()?)?;
    Some((encoding, usize::try_from(uncompressed).ok()? + head))
}

/// The values of these rows of a column, one after the other.
fn decode(
    old: &Opened,
    (group, leaf): (usize, usize),
    chunk: &Bytes,
    field: &Field,
    rows: &[Range<usize>],
) -> Result<ArrayRef, StoreError> {
    let metadata = old.metadata.metadata().row_group(group);
    let (count, total) = (rows.iter().map(Range::len).sum(), metadata.num_rows().unsigned_abs() as usize);
    if count == 0 {
        return Ok(new_empty_array(field.data_type()));
    }
    let read = || {
        let (start, _) = metadata.column(leaf).byte_range();
        let batches =
            ParquetRecordBatchReaderBuilder::new_with_metadata(FilePart { start, bytes: chunk.clone() }, old.metadata.clone())
                .with_projection(ProjectionMask::leaves(old.metadata.parquet_schema(), [leaf]))
                .with_row_groups(vec![group])
                .with_row_selection(RowSelection::from_consecutive_ranges(rows.iter().cloned(), total))
                .with_batch_size(count)
                .build()?;
        let columns = batches.map(|batch| Ok(batch?.column(0).clone())).collect::<Result<Vec<_>, ParquetError>>()?;
        let columns: Vec<_> = columns.iter().map(|column| column.as_ref()).collect();
        let values = if columns.is_empty() { None } else { Some(concat(&columns)?).filter(|values| values.len() == count) };
        values.ok_or_else(|| ParquetError::EOF(format!("row group {group} is cut short")))
    };
    types::cast(&old.table, field, &read().map_err(old.failed("read it"))?)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{Float64Array, Int64Array, RecordBatch, StringArray, UInt64Array};
    use arrow::compute::{concat_batches, interleave_record_batch, take_record_batch};
    use arrow::datatypes::SchemaRef;
    use futures::TryStreamExt;
    use object_store::ObjectStore;
    use object_store::memory::InMemory;
    use parquet::file::metadata::PageIndexPolicy;
    use proptest::prelude::*;

    use super::super::DataFile;
    use super::super::file::{FileWriter, read_file};
    use super::super::rewrite::{Edit, edit};
    use super::super::testing::TABLE;
    use super::*;

    const ROWS: u64 = 20_000;

    fn rows(salt: u64) -> RecordBatch {
        let random = |n: u64| (n + salt).wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 20;
        let columns: Vec<(&str, ArrayRef)> = vec![
            ("id", Arc::new(Int64Array::from_iter_values((0..ROWS).map(|n| n as i64)))),
            (
                "what",
                Arc::new(
                    (0..ROWS)
                        .map(|n| (n % 13 > 0).then(|| format!("{} {:x}", "é".repeat(20), random(n))))
                        .collect::<StringArray>(),
                ),
            ),
            (
                "share",
                Arc::new((0..ROWS).map(|n| if n % 9_000 == 1 { None } else { Some(random(n) as f64) }).collect::<Float64Array>()),
            ),
            ("none", Arc::new((0..ROWS).map(|_| None).collect::<Int64Array>())),
        ];
        RecordBatch::try_from_iter_with_nullable(columns.into_iter().map(|(name, column)| (name, column, true))).unwrap()
    }

    async fn read(store: &Arc<dyn ObjectStore>, file: &DataFile, schema: &SchemaRef) -> RecordBatch {
        let batches: Vec<_> = read_file(store.clone(), TABLE.into(), file, schema.clone()).try_collect().await.unwrap();
        concat_batches(schema, &batches).unwrap()
    }

    /// The pages of each column, and bounds of the column and of its pages.
    async fn pages_in(store: &Arc<dyn ObjectStore>, file: &DataFile) -> Vec<Vec<Bytes>> {
        let mut opened = Opened::new(store, TABLE, file, PageIndexPolicy::Required).await.unwrap();
        let metadata = opened.metadata.metadata().clone();
        let mut pages = Vec::new();
        for locations in &metadata.offset_index().unwrap()[0] {
            let range = |page: &PageLocation| page.offset as u64..page.offset as u64 + page.compressed_page_size as u64;
            pages.push(opened.bytes(locations.page_locations().iter().map(range).collect()).await.unwrap());
        }
        pages
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 12, failure_persistence: None, ..ProptestConfig::default() })]
        /// Twice in a row, since pages that were copied or written anew are copied again.
        #[test]
        fn a_file_that_is_written_anew_page_by_page_holds_what_it_should(
            edits in prop::collection::vec((prop::collection::btree_set(0..ROWS, 0..4), prop::collection::btree_set(0..ROWS, 0..3)), 2),
            salts in any::<[u32; 2]>(),
        ) {
            futures::executor::block_on(async {
                let store: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
                let mut now = rows(0);
                let schema = now.schema();
                let mut writer = FileWriter::new(store.clone(), TABLE, "p-1".into(), schema.clone());
                writer.write(&now).await.unwrap();
                let mut file = writer.finish().await.unwrap().remove(0);
                for ((replaced, removed), salt) in edits.into_iter().zip(salts) {
                    let count = now.num_rows() as u64;
                    let removed: Vec<u64> = removed.into_iter().filter(|row| *row < count).collect();
                    let replaced: Vec<u64> = replaced.into_iter().filter(|row| *row < count && !removed.contains(row)).collect();
                    let new = take_record_batch(&rows(salt.into()), &UInt64Array::from(replaced.clone())).unwrap();
                    let old = take_record_batch(&now, &UInt64Array::from(replaced.clone())).unwrap();
                    let sources: Vec<(usize, usize)> = (0..count as usize)
                        .filter(|row| !removed.contains(&(*row as u64)))
                        .map(|row| replaced.iter().position(|at| *at == row as u64).map_or((0, row), |at| (1, at)))
                        .collect();
                    let expected = interleave_record_batch(&[&now, &new], &sources).unwrap();
                    let before = pages_in(&store, &file).await;
                    let changes = replaced.len() + removed.len();
                    let change = Edit { replaced, rows: new, old: Some(old), removed };
                    file = edit(&store, TABLE, "p-2", &schema, &file, &change).await.unwrap().unwrap();
                    assert!(read(&store, &file, &schema).await == expected);
                    for (before, after) in before.iter().zip(pages_in(&store, &file).await) {
                        let copied = before.iter().filter(|page| after.contains(page)).count();
                        assert!(copied + changes >= before.len(), "{copied} of {}", before.len());
                    }
                    // What says where values may be says the same as if all had been written at once.
                    let mut writer = FileWriter::new(store.clone(), TABLE, "p-3".into(), schema.clone());
                    writer.write(&expected).await.unwrap();
                    assert_eq!(file.stats, writer.finish().await.unwrap()[0].stats);
                    now = expected;
                }
            });
        }
    }

    #[test]
    fn only_heads_of_our_own_form_are_understood() {
        let head_of = |bytes: &[u8]| head(&[bytes, &[0; 300]].concat());
        assert_eq!(
            head_of(&[0x15, 0, 0x15, 0xd0, 0x0f, 0x15, 0xd8, 0x04, 0x2c, 0x15, 200, 1, 0x15, 10]),
            Some((Encoding::DELTA_BINARY_PACKED, 1_014))
        );
        assert_eq!(
            head_of(&[0x15, 0, 0x15, 0xd0, 0x0f, 0x15, 0xd8, 0x04, 0x2c, 0x15, 200, 1, 0x15, 16]),
            None,
            "of a dictionary"
        );
        assert_eq!(
            head_of(&[0x15, 6, 0x15, 0xd0, 0x0f, 0x15, 0xd8, 0x04, 0x2c, 0x15, 200, 1, 0x15, 10]),
            None,
            "another kind of page"
        );
        assert_eq!(head(&[0x15, 0xff, 0xff]), None);
    }
}
