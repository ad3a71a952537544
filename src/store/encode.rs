//! How the columns of a file are encoded: cheap to write, small, readable by every engine.
//!
//! A dictionary where values repeat; else whole numbers, dates, instants and decimals up to 18 digits as packed differences, everything else as it is;
//! all of it compressed with zstd.

use std::collections::HashSet;

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch};
use arrow::datatypes::{DataType, Schema};
use parquet::basic::{Compression, Encoding, ZstdLevel};
use parquet::file::metadata::ParquetMetaData;
use parquet::file::properties::WriterProperties;
use parquet::schema::types::ColumnPath;

/// Rows of a row group at most: what a rewrite copies or encodes anew as one piece.
pub(super) const GROUP_ROWS: usize = 128 << 10;
/// Rows of a page at most: what a look-up of single rows decodes for one of them.
const PAGE_ROWS: usize = 8 << 10;
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

/// For a file whose rows are like those of `sample`.
pub(super) fn for_rows(schema: &Schema, sample: &RecordBatch) -> WriterProperties {
    properties(schema, |column| repeats(sample.column(column)))
}

/// For a file with the rows of another, whose encodings are kept; what it lacks is null.
pub(super) fn like(schema: &Schema, other: &ParquetMetaData) -> WriterProperties {
    let with_dictionary: HashSet<&str> = other
        .row_groups()
        .iter()
        .flat_map(|group| group.columns())
        .filter(|chunk| chunk.dictionary_page_offset().is_some())
        .filter_map(|chunk| chunk.column_path().parts().first().map(String::as_str))
        .collect();
    let root = other.file_metadata().schema_descr();
    let is_there = |name: &str| root.columns().iter().any(|column| column.name() == name);
    properties(schema, |column| {
        let name = schema.field(column).name();
        with_dictionary.contains(name.as_str()) || !is_there(name)
    })
}

fn properties(schema: &Schema, with_dictionary: impl Fn(usize) -> bool) -> WriterProperties {
    let mut builder = WriterProperties::builder()
        .set_compression(Compression::ZSTD(ZstdLevel::default()))
        .set_max_row_group_row_count(Some(GROUP_ROWS))
        .set_data_page_row_count_limit(PAGE_ROWS)
        .set_dictionary_page_size_limit(DICTIONARY_BYTES)
        .set_created_by(concat!("loopline ", env!("CARGO_PKG_VERSION")).into());
    for (position, field) in schema.fields().iter().enumerate() {
        let path = || ColumnPath::from(vec![field.name().clone()]);
        builder = builder.set_column_dictionary_enabled(path(), with_dictionary(position));
        if is_packed(field.data_type()) {
            builder = builder.set_column_encoding(path(), Encoding::DELTA_BINARY_PACKED);
        }
    }
    builder.build()
}

/// Whether Parquet stores values of this type as whole numbers of 32 or 64 bits.
fn is_packed(data_type: &DataType) -> bool {
    match data_type {
        DataType::Int32 | DataType::Int64 | DataType::Date32 | DataType::Timestamp(_, _) => true,
        DataType::Decimal128(precision, _) => *precision <= 18,
        _ => false,
    }
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
