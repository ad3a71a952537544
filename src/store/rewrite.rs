//! Writing a file anew for a few of its rows, at the cost of what changes.
//!
//! Row groups without a change are copied as they are, encoded and compressed, and so are the columns of other row groups in which no value changes. What
//! remains is decoded and encoded one column of one row group at a time, which bounds the memory.

use std::ops::Range;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, MutableArrayData, RecordBatch, UInt64Array, make_array, new_null_array};
use arrow::compute::take;
use arrow::datatypes::{DataType, Field, SchemaRef};
use bytes::Bytes;
use object_store::ObjectStore;
use parquet::errors::ParquetError;
use parquet::file::metadata::PageIndexPolicy;
use parquet::schema::types::ColumnDescPtr;
use roaring::RoaringTreemap;

use super::encode::{self, Chunk, Codec, Column, PAGE_ROWS};
use super::file::{Opened, columns_with_nan, parquet_error, unique};
use super::old_column::{OldColumn, cut_short};
use super::output::Output;
use super::splice::splice;
use super::{DataFile, StoreError};

/// What becomes of a file's rows. Positions count all rows of the file, also those that a deletion vector marks.
pub(super) struct Edit {
    /// Ascending positions in the file.
    pub(super) replaced: Vec<u64>,
    /// The rows that come in their place, in the same order, with the table's schema.
    pub(super) rows: RecordBatch,
    /// The rows as they were, if they are at hand: what they share with the new ones need not be looked at.
    pub(super) old: Option<RecordBatch>,
    /// Ascending positions in the file, none of them replaced.
    pub(super) removed: Vec<u64>,
}

/// Writes `file` anew as `<stem>-….parquet` with the columns of `schema`: rows keep their order, columns that the file lacks are null, rows that its
/// deletion vector marks are left out. `None`: no row is left. Nobody sees the file until a commit names it.
///
/// Decoding and encoding are the caller's own work; files edited side by side need a task each. Memory: one row group as it is encoded, twice, and
/// one column's changed pages decoded.
pub(super) async fn edit(
    store: &Arc<dyn ObjectStore>,
    table: &str,
    stem: &str,
    schema: &SchemaRef,
    file: &DataFile,
    edit: &Edit,
) -> Result<Option<DataFile>, StoreError> {
    let mut old = Opened::new(store, table, file, PageIndexPolicy::Optional).await?;
    // Rows that were deleted before are removed as well.
    let mut removed = std::mem::take(&mut old.deleted);
    removed.extend(edit.removed.iter().copied());
    if removed.len() >= old.rows() {
        return Ok(None);
    }
    let path = unique(stem);
    let failed = |source| parquet_error(table, &path, "write it", source);
    let mut output = Output::begin(store, path.clone(), schema).map_err(failed)?;
    let with_dictionary = encode::dictionaries_like(schema, old.metadata.metadata());
    let mut start = 0;
    for group in 0..old.metadata.metadata().num_row_groups() {
        let metadata = old.metadata.metadata().row_group(group);
        let end = start + metadata.num_rows().unsigned_abs();
        let piece = Piece::new(start..end, edit, &removed);
        start = end;
        if piece.rows_left() == 0 {
            continue;
        }
        let ranges =
            metadata.columns().iter().map(|chunk| chunk.byte_range()).map(|(from, length)| from..from + length).collect();
        let chunks = old.bytes(ranges).await?;
        let chunks = rewrite(&mut output, &old, group, &chunks, schema, &with_dictionary, &piece)?;
        output.add(chunks).await.map_err(failed)?;
    }
    let mut with_nan = columns_with_nan(&edit.rows, &[]);
    with_nan.extend(unbounded(schema, file));
    output.finish(&with_nan).await.map_err(failed).map(Some)
}

/// Columns of doubles whose statistics in `file` have no bounds although there may be some: where a NaN may be.
fn unbounded(schema: &SchemaRef, file: &DataFile) -> Vec<usize> {
    let stats = file.stats.as_deref().and_then(|json| serde_json::from_str::<serde_json::Value>(json).ok()).unwrap_or_default();
    let is_unbounded = |column: &usize| {
        let field = schema.field(*column);
        let is_null = stats["nullCount"][field.name()].as_u64().is_some_and(|nulls| nulls == file.rows_in_file());
        *field.data_type() == DataType::Float64 && !is_null && stats["maxValues"][field.name()].is_null()
    };
    (0..schema.fields().len()).filter(is_unbounded).collect()
}

/// What becomes of the rows of one row group. Positions count its rows.
pub(super) struct Piece {
    count: usize,
    /// New rows, and where they are.
    rows: RecordBatch,
    old: Option<RecordBatch>,
    replaced: UInt64Array,
    /// Ascending.
    removed: Vec<u64>,
}

impl Piece {
    fn new(range: Range<u64>, edit: &Edit, removed: &RoaringTreemap) -> Self {
        let new = within(&edit.replaced, &(range.start as usize..range.end as usize));
        let mut gone = removed.iter();
        gone.advance_to(range.start);
        let (first, length) = (new.start, new.len());
        Self {
            count: (range.end - range.start) as usize,
            rows: edit.rows.slice(first, length),
            old: edit.old.as_ref().map(|old| old.slice(first, length)),
            replaced: edit.replaced[new].iter().map(|position| position - range.start).collect::<Vec<_>>().into(),
            removed: gone.take_while(|position| *position < range.end).map(|position| position - range.start).collect(),
        }
    }

    fn rows_left(&self) -> usize {
        self.count - self.removed.len()
    }

    /// Whether it is known without a look at the file that a column keeps its values.
    fn keeps(&self, column: usize) -> bool {
        let is_same = |old: &RecordBatch| old.column(column).as_ref() == self.rows.column(column).as_ref();
        self.removed.is_empty() && (self.replaced.is_empty() || self.old.as_ref().is_some_and(is_same))
    }

    /// Whether one of these old rows is replaced or removed.
    pub(super) fn changes(&self, rows: &Range<usize>) -> bool {
        !within(self.replaced.values(), rows).is_empty() || !within(&self.removed, rows).is_empty()
    }

    /// The new rows' values of a column.
    pub(super) fn new_values(&self, column: usize) -> &ArrayRef {
        self.rows.column(column)
    }

    /// What becomes of these old rows, whose values of a column are `old`. `new`: those of the new rows.
    pub(super) fn values_of(&self, new: &ArrayRef, old: &ArrayRef, rows: Range<usize>) -> Result<ArrayRef, ParquetError> {
        let replaced = within(self.replaced.values(), &rows).map(|number| (self.replaced.value(number) as usize, Some(number)));
        let removed = self.removed[within(&self.removed, &rows)].iter().map(|position| (*position as usize, None));
        let mut changes: Vec<_> = replaced.chain(removed).collect();
        changes.sort_unstable();
        let (old, new) = (old.to_data(), new.to_data());
        let mut values = MutableArrayData::new(vec![&old, &new], false, rows.len());
        let mut next = rows.start;
        for (position, number) in changes {
            values.try_extend(0, next - rows.start, position - rows.start)?;
            number.map_or(Ok(()), |number| values.try_extend(1, number, number + 1))?;
            next = position + 1;
        }
        values.try_extend(0, next - rows.start, rows.len())?;
        Ok(make_array(values.freeze()))
    }

    /// Whether a column, whose values of these rows are `old`, gets other ones. No row is removed.
    fn changes_values(&self, column: usize, old: &ArrayRef, rows: &Range<usize>) -> Result<bool, ParquetError> {
        let new = within(self.replaced.values(), rows);
        let at: UInt64Array = self.replaced.values()[new.clone()].iter().map(|position| position - rows.start as u64).collect();
        Ok(take(old, &at, None)?.as_ref() != self.rows.column(column).slice(new.start, new.len()).as_ref())
    }
}

/// Where those of ascending `positions` are that lie in `rows`.
fn within(positions: &[u64], rows: &Range<usize>) -> Range<usize> {
    let before = |row: usize| positions.partition_point(|position| (*position as usize) < row);
    before(rows.start)..before(rows.end)
}

/// What becomes of one row group; `chunks`: the columns of the old one.
fn rewrite(
    output: &mut Output,
    old: &Opened,
    group: usize,
    chunks: &[Bytes],
    schema: &SchemaRef,
    with_dictionary: &[bool],
    piece: &Piece,
) -> Result<Vec<Chunk>, StoreError> {
    let path = output.path.clone();
    let failed = |source| parquet_error(&old.table, &path, "write it", source);
    let metadata = old.metadata.metadata().row_group(group);
    let mut written = Vec::new();
    for (position, descriptor) in output.descriptors().into_iter().enumerate() {
        let (codec, field) = (&mut output.codec, schema.field(position));
        let leaf = metadata.columns().iter().position(|chunk| chunk.column_path() == descriptor.path());
        let column = leaf.map(|leaf| OldColumn { file: old, group, leaf, bytes: &chunks[leaf] });
        // What another program wrote in another form is encoded anew.
        if let Some(column) = column.filter(|column| column.metadata().column_descr() == descriptor.as_ref())
            && let Some(chunk) = reuse(column, (position, field), piece, &descriptor, codec)?
        {
            written.push(chunk);
            continue;
        }
        let values: Values = match &column {
            Some(column) => Box::new(column.values(field)?),
            None => Box::new(nulls(field, piece.count)),
        };
        let bytes = column.map_or(0, |column| column.bytes.len());
        let mut anew = Column::new(descriptor, with_dictionary[position]).with_room(bytes);
        let mut end = 0;
        for values in values {
            let (rows, mut values) = values?;
            end = rows.end;
            if piece.changes(&rows) {
                values = piece.values_of(piece.new_values(position), &values, rows).map_err(failed)?;
            }
            anew.write(&values, codec).map_err(failed)?;
        }
        if end != piece.count {
            return Err(failed(cut_short(group)));
        }
        written.push(anew.close(codec).map_err(failed)?);
    }
    Ok(written)
}

/// The column as it is if no value changes, else with those pages anew in which one does. `None`: it is to be encoded anew.
fn reuse(
    column: OldColumn,
    (position, field): (usize, &Field),
    piece: &Piece,
    descriptor: &ColumnDescPtr,
    codec: &mut Codec,
) -> Result<Option<Chunk>, StoreError> {
    if piece.keeps(position)
        && let Some(as_it_is) = column.copy()
    {
        return Ok(Some(as_it_is));
    }
    let failed = column.file.failed("write it anew");
    if piece.old.is_some() || !piece.removed.is_empty() {
        let anew = splice(column, (position, field), piece, descriptor, codec)?;
        return anew.map(|anew| anew.close(codec)).transpose().map_err(failed);
    }
    let Some(as_it_is) = column.copy() else { return Ok(None) };
    for values in column.values(field)? {
        let (rows, values) = values?;
        if piece.changes_values(position, &values, &rows).map_err(&failed)? {
            return Ok(None);
        }
    }
    Ok(Some(as_it_is))
}

type Values<'a> = Box<dyn Iterator<Item = Result<(Range<usize>, ArrayRef), StoreError>> + 'a>;

/// The values of a column that the file lacks.
fn nulls(field: &Field, count: usize) -> impl Iterator<Item = Result<(Range<usize>, ArrayRef), StoreError>> {
    (0..count).step_by(PAGE_ROWS).map(move |start| {
        let rows = start..count.min(start + PAGE_ROWS);
        Ok((rows.clone(), new_null_array(field.data_type(), rows.len())))
    })
}

#[cfg(test)]
mod tests {
    use std::time::Instant as Clock;

    use arrow::array::{Float64Array, Int64Array, StringArray, TimestampMicrosecondArray};
    use arrow::compute::take_record_batch;
    use futures::TryStreamExt;
    use object_store::memory::InMemory;
    use proptest::prelude::*;

    use super::super::file::{FileWriter, Located, read_columns, read_file, read_rows};
    use super::super::testing::*;
    use super::super::types;
    use super::super::vector::mark;
    use super::*;

    type Row = (i64, Option<String>, Option<f64>);

    fn batch(rows: &[Row]) -> RecordBatch {
        let columns: Vec<(&str, ArrayRef)> = vec![
            ("id", Arc::new(Int64Array::from_iter_values(rows.iter().map(|row| row.0)))),
            ("what", Arc::new(rows.iter().map(|row| row.1.clone()).collect::<StringArray>())),
            ("share", Arc::new(rows.iter().map(|row| row.2).collect::<Float64Array>())),
        ];
        RecordBatch::try_from_iter_with_nullable(columns.into_iter().map(|(name, column)| (name, column, true))).unwrap()
    }

    async fn rows_in(store: &Arc<dyn ObjectStore>, file: &DataFile, schema: &SchemaRef) -> Vec<String> {
        let batches: Vec<RecordBatch> = read_file(store.clone(), TABLE.into(), file, schema.clone()).try_collect().await.unwrap();
        batches.iter().flat_map(lines).collect()
    }

    /// What happens to a row.
    #[derive(Debug, Clone, Copy, PartialEq)]
    enum Fate {
        Stays,
        SetsText,
        SetsAll,
        Removed,
        /// Marked by a deletion vector before.
        Deleted,
    }

    fn case() -> impl Strategy<Value = (Vec<(Row, Fate)>, usize, bool)> {
        let share = prop_oneof![Just(None), (-5_i32..5).prop_map(|n| Some(f64::from(n))), Just(Some(f64::NAN))];
        let row = (0_i64..9, prop::option::of("[a-c]{0,3}"), share);
        let fate = prop_oneof![
            9 => Just(Fate::Stays), 1 => Just(Fate::SetsText), 1 => Just(Fate::SetsAll), 1 => Just(Fate::Removed), 1 => Just(Fate::Deleted)
        ];
        (prop::collection::vec((row, fate), 1..80), 1_usize..12, any::<bool>())
    }

    async fn check(rows: Vec<(Row, Fate)>, group: usize, adds_column: bool) {
        let knows_old = rows.len().is_multiple_of(2);
        let store: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
        let old: Vec<Row> = rows.iter().map(|(row, _)| row.clone()).collect();
        let positions = |of: &[Fate]| (0..rows.len()).filter(|n| of.contains(&rows[*n].1)).map(|n| n as u64).collect::<Vec<_>>();
        let new = |(row, fate): &(Row, Fate)| match fate {
            Fate::SetsText => Some((row.0, Some("new".to_owned()), row.2)),
            Fate::SetsAll => Some((row.0 + 100, None, Some(0.5))),
            _ => None,
        };
        let mut replacing = batch(&rows.iter().filter_map(new).collect::<Vec<_>>());
        let after =
            |row: &(Row, Fate)| (!matches!(row.1, Fate::Removed | Fate::Deleted)).then(|| new(row).unwrap_or(row.0.clone()));
        let left: Vec<Row> = rows.iter().filter_map(after).collect();
        let mut expected = batch(&left);
        if adds_column {
            replacing = with_quantity(&replacing, vec![7; replacing.num_rows()]);
            let quantity = |row: &(Row, Fate)| after(row).map(|_| new(row).map(|_| 7));
            let quantities: ArrayRef = Arc::new(rows.iter().filter_map(quantity).collect::<arrow::array::Int32Array>());
            let columns = expected.columns().iter().cloned().chain([quantities]).collect();
            expected = RecordBatch::try_new(replacing.schema(), columns).unwrap();
        }
        let mut file = file_of(&store, &batch(&old), group).await;
        let deleted = positions(&[Fate::Deleted]);
        if !deleted.is_empty() && deleted.len() < rows.len() {
            file = mark(&store, &name(TABLE), vec![(file, deleted)]).await.unwrap().remove(0).unwrap();
        } else if !deleted.is_empty() {
            return;
        }
        let live = (0..rows.len()).filter(|n| file.deletion_vector.is_none() || rows[*n].1 != Fate::Deleted).map(|n| n as u64);
        let found = read_columns(store.clone(), TABLE.into(), &file, batch(&old).schema()).try_collect::<Vec<_>>().await.unwrap();
        assert_eq!(found.iter().flat_map(|found| found.positions.clone()).collect::<Vec<_>>(), live.collect::<Vec<_>>());
        let all = lines(&batch(&old));
        let at = |located: &Located| located.positions.iter().map(|n| all[*n as usize].clone()).collect::<Vec<_>>();
        assert!(found.iter().all(|found| lines(&found.rows) == at(found)));
        let (schema, replaced) = (replacing.schema(), positions(&[Fate::SetsText, Fate::SetsAll]));
        let before = take_record_batch(&batch(&old), &UInt64Array::from(replaced.clone())).unwrap();
        let before = knows_old.then(|| types::by_name(TABLE, &before, &schema).unwrap());
        let change = Edit { replaced, rows: replacing.clone(), old: before, removed: positions(&[Fate::Removed]) };
        let edited = edit(&store, TABLE, "raw/erp__orders/p-2", &schema, &file, &change).await.unwrap();
        assert_eq!(edited.is_some(), !left.is_empty());
        let Some(edited) = edited else { return };
        assert_eq!((edited.rows, edited.rows_in_file()), (left.len() as u64, left.len() as u64));
        assert_eq!(rows_in(&store, &edited, &schema).await, lines(&expected));
        let odd: Vec<u64> = (0..left.len() as u64).filter(|n| n % 2 == 1).collect();
        let some = read_rows(store.clone(), TABLE.into(), &edited, schema.clone(), odd.clone());
        let some: Vec<_> = some.try_collect::<Vec<_>>().await.unwrap();
        assert_eq!(some.iter().flat_map(|found| found.positions.clone()).collect::<Vec<_>>(), odd);
        let expected = lines(&expected);
        let expected: Vec<_> = odd.iter().map(|n| expected[*n as usize].clone()).collect();
        assert_eq!(some.iter().flat_map(|found| lines(&found.rows)).collect::<Vec<_>>(), expected);

        let stats: serde_json::Value = serde_json::from_str(edited.stats.as_deref().unwrap()).unwrap();
        assert_eq!(stats["numRecords"], left.len());
        assert_eq!(stats["nullCount"]["what"], left.iter().filter(|row| row.1.is_none()).count());
        let (least, most) = (stats["minValues"]["id"].as_i64().unwrap(), stats["maxValues"]["id"].as_i64().unwrap());
        assert!(left.iter().all(|row| (least..=most).contains(&row.0)), "{stats}");
        if let (Some(least), Some(most)) = (stats["minValues"]["share"].as_f64(), stats["maxValues"]["share"].as_f64()) {
            assert!(left.iter().filter_map(|row| row.2).all(|share| (least..=most).contains(&share)), "{stats} {left:?}");
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]
        #[test]
        fn an_edited_file_holds_what_it_should((rows, group, adds_column) in case()) {
            futures::executor::block_on(check(rows, group, adds_column));
        }
    }

    #[tokio::test]
    async fn what_does_not_change_is_copied() {
        let store: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
        let rows = batch(&(0..40).map(|id| (id, Some(format!("text {id}")), Some(0.25))).collect::<Vec<_>>());
        let file = file_of(&store, &rows, 10).await;
        let new = batch(&[(13, Some("other".into()), Some(0.25))]);
        let change = Edit { replaced: vec![13], rows: new, old: None, removed: vec![25] };
        let edited = edit(&store, TABLE, "p", &rows.schema(), &file, &change).await.unwrap().unwrap();
        let chunks = async |file: &DataFile| {
            let mut opened = Opened::new(&store, TABLE, file, PageIndexPolicy::Required).await.unwrap();
            let metadata = opened.metadata.metadata().clone();
            let ranges = metadata.row_groups().iter().flat_map(|group| group.columns()).map(|chunk| chunk.byte_range());
            let ranges = ranges.map(|(start, length)| start..start + length).collect();
            opened.bytes(ranges).await.unwrap()
        };
        let (before, after) = (chunks(&file).await, chunks(&edited).await);
        let same: Vec<bool> = before.iter().zip(&after).map(|(before, after)| before == after).collect();
        let (copied, none, text) = ([true; 3], [false; 3], [true, false, true]);
        assert_eq!(same, [copied, text, none, copied].concat());
    }

    /// What rewriting costs; prints, asserts nothing about time.
    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    #[ignore = "a measurement"]
    async fn measure() {
        const ROWS: u64 = 1_000_000;
        let bench = Bench::new().await;
        let store = bench.store.object_store();
        let random = |n: u64| n.wrapping_mul(0x9E37_79B9_7F4A_7C15).rotate_left(29).wrapping_mul(0xBF58_476D_1CE4_E5B9) >> 11;
        let rows = |ids: Vec<u64>, round: u64| {
            let columns: Vec<(&str, ArrayRef)> = vec![
                ("id", Arc::new(Int64Array::from_iter_values(ids.iter().map(|id| *id as i64 * 7)))),
                ("x", Arc::new(Float64Array::from_iter_values(ids.iter().map(|id| random(id + round) as f64 / 1e3)))),
                ("n", Arc::new(Int64Array::from_iter_values(ids.iter().map(|id| random(id ^ round) as i64 % 1_000_000)))),
                (
                    "t",
                    Arc::new(StringArray::from_iter_values(
                        ids.iter().map(|id| format!("text {}", random(*id + round) % 100_000)),
                    )),
                ),
                (
                    "at",
                    Arc::new(
                        TimestampMicrosecondArray::from_iter_values(
                            ids.iter().map(|id| random(id + round) as i64 % 1_700_000_000_000_000),
                        )
                        .with_timezone("UTC"),
                    ),
                ),
            ];
            RecordBatch::try_from_iter_with_nullable(columns.into_iter().map(|(name, column)| (name, column, true))).unwrap()
        };
        let all = rows((0..ROWS).collect(), 1);
        let schema = all.schema();
        let mut writer = FileWriter::new(store.clone(), TABLE, "raw/erp__orders/p-1".into(), schema.clone());
        writer.write(&all).await.unwrap();
        let file = writer.finish().await.unwrap().remove(0);
        let replaced = |count: u64, every: u64| (0..count).map(|n| n * every).collect::<Vec<_>>();
        for (what, positions) in [("10,000 random", replaced(10_000, 100)), ("6,000 clustered", replaced(6_000, 1))] {
            let new = Edit { rows: rows(positions.clone(), 2), replaced: positions, old: None, removed: Vec::new() };
            let new = Arc::new(new);
            let start = (Clock::now(), cpu_s());
            let edits = (0..4).map(|_| {
                let (store, schema, file, new) = (store.clone(), schema.clone(), file.clone(), new.clone());
                async move {
                    for _ in 0..2 {
                        edit(&store, TABLE, "raw/erp__orders/p-2", &schema, &file, &new).await.unwrap();
                    }
                }
            });
            let edits: Vec<_> = edits.map(tokio::spawn).collect();
            futures::future::try_join_all(edits).await.unwrap();
            println!(
                "{what} of {ROWS} in each of 8 files ({} bytes), four at a time: {:?}, {:.2} s CPU",
                file.size_bytes,
                start.0.elapsed(),
                cpu_s() - start.1
            );
        }
    }
}
