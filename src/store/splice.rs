//! A column of a row group written anew for a few of its rows: pages without a change are copied as they are, encoded and compressed, and where values are
//! numbers in a dictionary only numbers change.

use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray};
use arrow::datatypes::{Field, UInt32Type};
use parquet::basic::Encoding;
use parquet::column::page::{Page, PageReader};
use parquet::errors::ParquetError;
use parquet::schema::types::ColumnDescPtr;

use super::StoreError;
use super::encode::{Codec, Column};
use super::old_column::{OldColumn, OldPage};
use super::rewrite::Piece;

/// What `piece` makes of `old`. `None` where that saves nothing. `position`: the column's in the table.
pub(super) fn splice(
    old: OldColumn,
    (position, field): (usize, &Field),
    piece: &Piece,
    descriptor: &ColumnDescPtr,
    codec: &mut Codec,
) -> Result<Option<Column>, StoreError> {
    let Some(pages) = old.pages(|rows| !piece.changes(rows)) else { return Ok(None) };
    let failed = old.file.failed("write it anew");
    let new = piece.new_values(position);
    if old.metadata().dictionary_page_offset().is_some() {
        return splice_numbers(old, pages, new, piece, descriptor, codec).map_err(failed);
    }
    if pages.iter().all(|page| page.facts.is_none()) {
        return Ok(None);
    }
    let changed: Vec<_> = pages.iter().filter(|page| page.facts.is_none()).map(|page| page.rows.clone()).collect();
    let values = old.values_of(field, &changed)?;
    let (mut column, mut decoded) = (Column::new(descriptor.clone(), false).with_room(old.bytes.len()), 0);
    for page in pages {
        match page.facts {
            Some(facts) => column.copy_page(&old.bytes[page.bytes], &facts, codec).map_err(&failed)?,
            None => {
                let of_page = values.slice(decoded, page.rows.len());
                decoded += of_page.len();
                let values = piece.values_of(new, &of_page, page.rows).map_err(&failed)?;
                column.write(&values, codec).map_err(&failed)?;
            }
        }
    }
    Ok(Some(column))
}

/// The same where values are numbers in a dictionary. `None`, too, where a page has none or there are too many new values.
fn splice_numbers(
    old: OldColumn,
    pages: Vec<OldPage>,
    new: &ArrayRef,
    piece: &Piece,
    descriptor: &ColumnDescPtr,
    codec: &mut Codec,
) -> Result<Option<Column>, ParquetError> {
    let mut reader = old.page_reader()?;
    let Some(Page::DictionaryPage { buf, num_values, .. }) = reader.get_next_page()? else { return Ok(None) };
    let Some(column) = Column::going_on(descriptor.clone(), &buf, num_values as usize) else { return Ok(None) };
    let mut column = column.with_room(old.bytes.len());
    let Some(new) = column.numbers_of(new)? else { return Ok(None) };
    let new: ArrayRef = Arc::new(new);
    for page in pages {
        if let Some(facts) = page.facts {
            reader.skip_next_page()?;
            column.copy_page(&old.bytes[page.bytes], &facts, codec)?;
            continue;
        }
        let of_page = match reader.get_next_page()? {
            Some(Page::DataPage {
                buf,
                num_values,
                encoding: Encoding::RLE_DICTIONARY,
                def_level_encoding: Encoding::RLE,
                ..
            }) if num_values as usize == page.rows.len() => column.numbers_in(&buf, page.rows.len()),
            _ => None,
        };
        let Some(of_page) = of_page else { return Ok(None) };
        let of_page: ArrayRef = Arc::new(of_page);
        column.write_numbers(piece.values_of(&new, &of_page, page.rows)?.as_primitive::<UInt32Type>(), codec)?;
    }
    Ok(Some(column))
}

#[cfg(test)]
mod tests {
    use arrow::array::{Decimal128Array, Float64Array, Int32Array, Int64Array, RecordBatch, StringArray, UInt64Array};
    use arrow::compute::{concat_batches, interleave_record_batch, take_record_batch};
    use arrow::datatypes::SchemaRef;
    use bytes::Bytes;
    use futures::TryStreamExt;
    use object_store::memory::InMemory;
    use object_store::{ObjectStore, ObjectStoreExt};
    use parquet::file::metadata::PageIndexPolicy;
    use parquet::file::page_index::offset_index::PageLocation;
    use proptest::prelude::*;

    use super::super::DataFile;
    use super::super::file::{FileWriter, Opened, read_file};
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
            // These get dictionaries.
            (
                "status",
                Arc::new((0..ROWS).map(|n| (n % 7 > 0).then(|| format!("status {}", random(n) % 5))).collect::<StringArray>()),
            ),
            (
                "quantity",
                Arc::new(
                    Decimal128Array::from_iter_values((0..ROWS).map(|n| i128::from(random(n) % 50) + i128::from(salt % 100)))
                        .with_precision_and_scale(30, 2)
                        .unwrap(),
                ),
            ),
            ("shelf", Arc::new((0..ROWS).map(|n| (n != 3).then_some((salt % 3) as i32)).collect::<Int32Array>())),
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

    /// A dictionary does not keep values for ever that nobody has.
    #[tokio::test]
    async fn a_dictionary_that_grows_is_made_anew() {
        let store: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
        let numbers = |numbers: Vec<i64>| {
            RecordBatch::try_from_iter_with_nullable([("n", Arc::new(Int64Array::from(numbers)) as ArrayRef, true)]).unwrap()
        };
        let first = numbers(vec![0; 5_000]);
        let schema = first.schema();
        let mut writer = FileWriter::new(store.clone(), TABLE, "p-1".into(), schema.clone());
        writer.write(&first).await.unwrap();
        let mut file = writer.finish().await.unwrap().remove(0);
        let mut most = 0;
        for pull in 1..600 {
            let edited =
                Edit { replaced: vec![7], rows: numbers(vec![pull]), old: Some(numbers(vec![pull - 1])), removed: Vec::new() };
            file = edit(&store, TABLE, "p-2", &schema, &file, &edited).await.unwrap().unwrap();
            let opened = Opened::new(&store, TABLE, &file, PageIndexPolicy::Required).await.unwrap();
            let bytes = store.get(&file.path.as_str().into()).await.unwrap().bytes().await.unwrap();
            let of = opened.metadata.metadata().row_group(0).column(0);
            let (start, length) = of.byte_range();
            let chunk = bytes.slice(start as usize..(start + length) as usize);
            let column = OldColumn { file: &opened, group: 0, leaf: 0, bytes: &chunk };
            let Some(Page::DictionaryPage { num_values, .. }) = column.page_reader().unwrap().get_next_page().unwrap() else {
                panic!("no dictionary")
            };
            most = most.max(num_values);
        }
        assert_eq!(most, 256);
        let rows = read(&store, &file, &schema).await;
        let mut expected = vec![0; 5_000];
        expected[7] = 599;
        assert!(rows == numbers(expected));
    }
}
