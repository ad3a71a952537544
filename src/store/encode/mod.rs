//! How the columns of a file are encoded: cheap to write, small, readable by every engine.
//!
//! A dictionary where values repeat; else whole numbers, dates, instants and decimals up to 18 digits as packed differences, texts one behind the
//! other after the packed differences of their lengths, everything else as it is; all of it compressed with zstd.

mod bounds;
mod column;
mod dictionary;
mod numbered;
mod pack;

use std::collections::HashSet;

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch};
use arrow::datatypes::{DataType, Schema};
use parquet::file::metadata::ParquetMetaData;

pub(super) use self::bounds::Bounds;
pub(super) use self::column::{Chunk, Codec, Column, PageFacts};

/// Rows of a row group at most: what a rewrite copies or encodes anew as one piece.
pub(super) const GROUP_ROWS: usize = 128 << 10;
/// Rows of a page at most: what a look-up of single rows decodes for one of them.
pub(super) const PAGE_ROWS: usize = 8 << 10;
/// Rows by which it is decided whether a dictionary pays.
const SAMPLE_ROWS: usize = 4 << 10;
/// Fewer say nothing: the dictionary is tried, and given up where it grows too large.
const SAMPLE_ROWS_MIN: usize = 512;
/// A dictionary of texts pays if a value occurs this often in a sample, on average: it costs less than compressing them.
const REPEATS_TEXT: usize = 2;
/// Numbers are packed so cheaply that only a small dictionary pays.
const REPEATS_NUMBER: usize = 32;
/// Encoded bytes at which a dictionary is given up.
const DICTIONARY_BYTES: usize = 512 << 10;

/// For each column of rows like those of `sample`, whether it gets a dictionary.
pub(super) fn dictionaries_for(sample: &RecordBatch) -> Vec<bool> {
    sample.columns().iter().map(repeats).collect()
}

/// For each column of `schema`, whether it gets a dictionary in a file with the rows of another: as it was there. What that file lacks is null.
pub(super) fn dictionaries_like(schema: &Schema, other: &ParquetMetaData) -> Vec<bool> {
    let with_dictionary: HashSet<&str> = other
        .row_groups()
        .iter()
        .flat_map(|group| group.columns())
        .filter(|chunk| chunk.dictionary_page_offset().is_some())
        .filter_map(|chunk| chunk.column_path().parts().first().map(String::as_str))
        .collect();
    let root = other.file_metadata().schema_descr();
    let is_there = |name: &str| root.columns().iter().any(|column| column.name() == name);
    let names = schema.fields().iter().map(|field| field.name().as_str());
    names.map(|name| with_dictionary.contains(name) || !is_there(name)).collect()
}

/// Whether the values of `column` repeat so often that a dictionary pays.
fn repeats(column: &ArrayRef) -> bool {
    let rows = column.len().min(SAMPLE_ROWS);
    let valid = rows - column.slice(0, rows).null_count();
    if valid < SAMPLE_ROWS_MIN {
        return true;
    }
    let rows = (0..rows).filter(|row| column.is_valid(*row));
    let (distinct, wanted) = match column.data_type() {
        DataType::Utf8 => {
            let texts = column.as_string::<i32>();
            (rows.map(|row| texts.value(row).as_bytes()).collect::<HashSet<_>>().len(), REPEATS_TEXT)
        }
        DataType::Binary => {
            let values = column.as_binary::<i32>();
            (rows.map(|row| values.value(row)).collect::<HashSet<_>>().len(), REPEATS_TEXT)
        }
        data_type => {
            let Some(width) = data_type.primitive_width() else { return false };
            let data = column.to_data();
            let Some(bytes) = data.buffers().first() else { return false };
            let value = |row: usize| bytes.get((data.offset() + row) * width..).and_then(|rest| rest.get(..width));
            (rows.map(value).collect::<HashSet<_>>().len(), REPEATS_NUMBER)
        }
    };
    distinct * wanted <= valid
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{
        BinaryArray, BooleanArray, Date32Array, Decimal128Array, Float64Array, Int32Array, Int64Array, StringArray,
        TimestampMicrosecondArray,
    };
    use arrow::compute::concat_batches;
    use futures::executor::block_on;
    use object_store::memory::InMemory;
    use object_store::path::Path;
    use object_store::{ObjectStore, ObjectStoreExt};
    use parquet::arrow::arrow_reader::{ArrowReaderOptions, ParquetRecordBatchReaderBuilder, RowSelection};
    use parquet::arrow::arrow_writer::{ArrowWriter, ArrowWriterOptions};
    use parquet::file::metadata::PageIndexPolicy;
    use parquet::file::properties::WriterProperties;
    use proptest::prelude::*;

    use super::super::output::Output;
    use super::*;

    /// What a cell of any column is made of.
    type Seed = Option<(i64, String)>;

    fn rows_of(seeds: &[Seed]) -> RecordBatch {
        let number = |seed: &Seed| seed.as_ref().map(|seed| seed.0);
        let numbers = || seeds.iter().map(number);
        let double = |number: i64| if number % 7 == 0 { f64::NAN } else { f64::from_bits(number.cast_unsigned()) };
        let decimal = |limit: i128| numbers().map(move |number| Some(i128::from(number?) % limit)).collect::<Decimal128Array>();
        let wide = numbers().map(|number| Some(i128::from(number?) * 100_000_000_000_007)).collect::<Decimal128Array>();
        let texts = || seeds.iter().map(|seed| seed.as_ref().map(|seed| seed.1.as_str()));
        let columns: Vec<(&str, ArrayRef)> = vec![
            ("int", Arc::new(numbers().map(|number| Some(number? as i32)).collect::<Int32Array>())),
            ("long", Arc::new(numbers().collect::<Int64Array>())),
            ("few", Arc::new(numbers().map(|number| Some(number? % 3)).collect::<Int64Array>())),
            ("date", Arc::new(numbers().map(|number| Some(number? as i32)).collect::<Date32Array>())),
            ("at", Arc::new(numbers().collect::<TimestampMicrosecondArray>().with_timezone("UTC"))),
            ("double", Arc::new(numbers().map(|number| Some(double(number?))).collect::<Float64Array>())),
            ("flag", Arc::new(numbers().map(|number| Some(number? % 2 == 0)).collect::<BooleanArray>())),
            ("small", Arc::new(decimal(100_000).with_precision_and_scale(5, 2).unwrap())),
            ("money", Arc::new(decimal(1_000_000_000_000_000).with_precision_and_scale(15, 2).unwrap())),
            ("wide", Arc::new(wide.with_precision_and_scale(38, 9).unwrap())),
            ("text", Arc::new(texts().collect::<StringArray>())),
            ("bytes", Arc::new(texts().map(|text| text.map(str::as_bytes)).collect::<BinaryArray>())),
        ];
        RecordBatch::try_from_iter_with_nullable(columns.into_iter().map(|(name, column)| (name, column, true))).unwrap()
    }

    /// A file with one row group; batches of `step` rows.
    fn file_of(rows: &RecordBatch, step: usize, with_dictionary: bool) -> bytes::Bytes {
        let (store, path): (Arc<dyn ObjectStore>, _) = (Arc::new(InMemory::new()), Path::from("file"));
        block_on(async {
            let mut output = Output::begin(&store, path.clone(), &rows.schema()).unwrap();
            let mut columns = output.columns(&vec![with_dictionary; rows.num_columns()]);
            for start in (0..rows.num_rows()).step_by(step) {
                output.fill(&mut columns, &rows.slice(start, step.min(rows.num_rows() - start))).unwrap();
            }
            let takes_none = columns.iter().all(|column| column.bytes() == 0);
            assert_eq!(takes_none, rows.columns().iter().all(|values| values.null_count() == rows.num_rows()));
            output.end_group(columns).await.unwrap();
            output.finish(&[]).await.unwrap();
            store.get(&path).await.unwrap().bytes().await.unwrap()
        })
    }

    /// The same by Parquet's own writer, in pages of as many rows.
    fn file_by_another(rows: &RecordBatch) -> bytes::Bytes {
        let properties = WriterProperties::builder().set_data_page_row_count_limit(PAGE_ROWS).set_write_batch_size(PAGE_ROWS);
        let options = ArrowWriterOptions::new().with_properties(properties.set_dictionary_enabled(false).build());
        let mut writer = ArrowWriter::try_new_with_options(Vec::new(), rows.schema(), options).unwrap();
        writer.write(rows).unwrap();
        writer.into_inner().unwrap().into()
    }

    fn read(file: &bytes::Bytes, selection: Option<RowSelection>) -> (RecordBatch, Arc<ParquetMetaData>) {
        let options = ArrowReaderOptions::new().with_page_index_policy(PageIndexPolicy::Required);
        let builder = ParquetRecordBatchReaderBuilder::try_new_with_options(file.clone(), options).unwrap();
        let (schema, metadata) = (builder.schema().clone(), builder.metadata().clone());
        let builder = match selection {
            Some(selection) => builder.with_row_selection(selection),
            None => builder,
        };
        let batches: Vec<_> = builder.build().unwrap().map(Result::unwrap).collect();
        (concat_batches(&schema, &batches).unwrap(), metadata)
    }

    fn check(rows: &RecordBatch, step: usize, with_dictionary: bool) {
        let file = file_of(rows, step, with_dictionary);
        let (back, metadata) = read(&file, None);
        assert!(back.columns() == rows.columns(), "{back:?}");
        let count = rows.num_rows();
        let middle = count / 3..count / 3 + count.div_ceil(2).min(count - count / 3);
        let selection = RowSelection::from_consecutive_ranges([middle.clone()].into_iter(), count);
        let expected = rows.slice(middle.start, middle.len());
        assert!(read(&file, Some(selection)).0.columns() == expected.columns());
        let (_, other) = read(&file_by_another(rows), None);
        for (own, other) in metadata.row_group(0).columns().iter().zip(other.row_group(0).columns()) {
            let name = own.column_path().string();
            let (own, other) = (own.statistics().unwrap(), other.statistics().unwrap());
            assert_eq!(own.null_count_opt(), other.null_count_opt(), "{name}");
            // Zeros of doubles have a sign that the other writer leaves as it is.
            let zero = |bytes: Option<&[u8]>| {
                bytes.map(|bytes| if bytes[..] == [0, 0, 0, 0, 0, 0, 0, 128] { vec![0; 8] } else { bytes.to_vec() })
            };
            if name == "bytes" {
                continue; // long ones are cut at other places
            }
            assert_eq!(zero(own.min_bytes_opt()), zero(other.min_bytes_opt()), "{name}");
            assert_eq!(zero(own.max_bytes_opt()), zero(other.max_bytes_opt()), "{name}");
        }
    }

    fn seed() -> impl Strategy<Value = Seed> {
        let number = prop_oneof![Just(0), -9_i64..9, any::<i64>(), Just(i64::MIN), Just(i64::MAX)];
        let text = prop_oneof![5 => "[a-c]{0,2}", 3 => "[a-zé ]{0,40}", 1 => "[x-zé𝄞]{60,70}"];
        prop_oneof![1 => Just(None), 6 => (number, text).prop_map(Some)]
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 48, failure_persistence: None, ..ProptestConfig::default() })]
        /// Parquet's own reader gives back what was written, and its own writer says the same of it.
        #[test]
        fn what_is_written_is_read(seeds in prop::collection::vec(seed(), 1..300), repeat in 1_usize..80, step in 1_usize..9_000, with_dictionary in any::<bool>()) {
            let seeds: Vec<Seed> = (0..repeat).flat_map(|_| seeds.clone()).collect();
            check(&rows_of(&seeds), step.max(seeds.len() / 50), with_dictionary);
        }
    }

    /// A dictionary that grows too large is given up, in pages that come after those that need it; long texts make short pages.
    #[test]
    fn large_values_end_dictionaries_and_pages() {
        let text = |n: i64| format!("{n:08} {}", "long ".repeat(if n % 1_000 == 999 { 300_000 } else { 10 }));
        let seeds: Vec<Seed> = (0..30_000).map(|n| (n % 11 > 0).then(|| (n * 7_919, text(n)))).collect();
        let rows = rows_of(&seeds);
        check(&rows, 1_000, true);
        check(&rows, 30_000, false);
        let (_, metadata) = read(&file_of(&rows, 30_000, true), None);
        let encodings: Vec<_> = metadata.row_group(0).column(10).encodings().collect();
        assert!(encodings.contains(&parquet::basic::Encoding::DELTA_LENGTH_BYTE_ARRAY), "{encodings:?}");
        assert!(metadata.row_group(0).column(10).dictionary_page_offset().is_some());
    }
}
