//! Delta's statistics of a file (`numRecords`, least, greatest, count of nulls), by which every engine skips files.
//!
//! They are put together from those that Parquet's writer keeps for each row group, so that no value is looked at twice and a rewritten file gets
//! them from the row groups that were copied. Long texts are cut there, so that a bound may lie beyond the values.

use std::cmp::Ordering;
use std::fmt::Write;

use arrow::datatypes::{DataType, Field, Schema};
use chrono::{DateTime, Days, NaiveDate, SecondsFormat};
use parquet::basic::ConvertedType;
use parquet::file::metadata::{ColumnChunkMetaData, ParquetMetaData, RowGroupMetaData};
use parquet::file::statistics::Statistics;
use serde_json::Value;

/// Delta indexes this many columns by default; more would only make the log larger.
const COLUMNS: usize = 32;
/// A double holds this many decimal digits exactly, and engines read statistics as doubles.
const DECIMAL_DIGITS: u8 = 15;

/// A least or greatest value.
#[derive(Debug, Clone, PartialEq)]
enum Bound {
    Integer(i128),
    Double(f64),
    Text(String),
}

impl Bound {
    fn compare(&self, other: &Self) -> Ordering {
        match (self, other) {
            (Self::Integer(a), Self::Integer(b)) => a.cmp(b),
            (Self::Double(a), Self::Double(b)) => a.total_cmp(b),
            (Self::Text(a), Self::Text(b)) => a.cmp(b),
            _ => Ordering::Equal, // bounds of one column are of one kind
        }
    }
}

/// What is known of one column of a file.
#[derive(Debug, Default)]
struct ColumnStats {
    nulls: u64,
    bounds: Option<(Bound, Bound)>,
    /// Whether there are values that the bounds do not hold.
    unbounded: bool,
}

/// The statistics of a file of `schema`'s columns as Delta's JSON. `unbounded`: columns with values that no bound holds (NaN), by position.
pub(super) fn to_json(schema: &Schema, metadata: &ParquetMetaData, unbounded: &[usize]) -> String {
    let column = |(position, field): (usize, &std::sync::Arc<Field>)| {
        let mut stats = ColumnStats { unbounded: unbounded.contains(&position), ..ColumnStats::default() };
        metadata.row_groups().iter().for_each(|group| stats.add(field.data_type(), group.column(position)));
        (field.clone(), stats)
    };
    // Columns are never nested, so that a field is a leaf.
    let columns: Vec<_> = schema.fields().iter().take(COLUMNS).enumerate().map(column).collect();
    let pick = |value: &dyn Fn(&Field, &ColumnStats) -> Option<String>| {
        let entry = |(field, stats): &(std::sync::Arc<Field>, ColumnStats)| {
            Some(format!("{}:{}", quoted(field.name()), value(field, stats)?))
        };
        columns.iter().filter_map(entry).collect::<Vec<_>>().join(",")
    };
    let bound = |pick: fn(&(Bound, Bound)) -> &Bound| {
        move |field: &Field, stats: &ColumnStats| {
            pick(stats.bounds.as_ref().filter(|_| !stats.unbounded)?).json(field.data_type())
        }
    };
    // By hand, because decimals are JSON numbers with all their digits. Writing to a String cannot fail.
    let mut json = format!("{{\"numRecords\":{}", metadata.file_metadata().num_rows());
    let _ = write!(json, ",\"minValues\":{{{}}}", pick(&bound(|bounds| &bounds.0)));
    let _ = write!(json, ",\"maxValues\":{{{}}}", pick(&bound(|bounds| &bounds.1)));
    let _ = write!(json, ",\"nullCount\":{{{}}}}}", pick(&|_, stats| Some(stats.nulls.to_string())));
    json
}

impl ColumnStats {
    fn add(&mut self, data_type: &DataType, chunk: &ColumnChunkMetaData) {
        let nulls = chunk.statistics().and_then(Statistics::null_count_opt).unwrap_or(0);
        self.nulls += nulls;
        match chunk.statistics().and_then(|statistics| bounds(data_type, statistics)) {
            Some((least, greatest)) => {
                let bounds = self.bounds.get_or_insert_with(|| (least.clone(), greatest.clone()));
                if least.compare(&bounds.0) == Ordering::Less {
                    bounds.0 = least;
                }
                if greatest.compare(&bounds.1) == Ordering::Greater {
                    bounds.1 = greatest;
                }
            }
            None => self.unbounded |= nulls < chunk.num_values().unsigned_abs(),
        }
    }
}

/// The least and the greatest value of a column chunk, as far as Delta has a form for them.
fn bounds(data_type: &DataType, statistics: &Statistics) -> Option<(Bound, Bound)> {
    let integers = |least: i128, greatest: i128| Some((Bound::Integer(least), Bound::Integer(greatest)));
    match (data_type, statistics) {
        (DataType::Boolean | DataType::Binary, _) => None,
        (_, Statistics::Int32(found)) => integers((*found.min_opt()?).into(), (*found.max_opt()?).into()),
        (_, Statistics::Int64(found)) => integers((*found.min_opt()?).into(), (*found.max_opt()?).into()),
        (DataType::Float64, Statistics::Double(found)) => {
            Some((Bound::Double(*found.min_opt()?), Bound::Double(*found.max_opt()?)))
        }
        (DataType::Utf8, Statistics::ByteArray(found)) => {
            let text = |value: &parquet::data_type::ByteArray| Some(Bound::Text(value.as_utf8().ok()?.into()));
            Some((text(found.min_opt()?)?, text(found.max_opt()?)?))
        }
        _ => None,
    }
}

impl Bound {
    fn json(&self, data_type: &DataType) -> Option<String> {
        match (self, data_type) {
            (Self::Integer(n), DataType::Int32 | DataType::Int64) => Some(n.to_string()),
            (Self::Integer(n), DataType::Decimal128(p, s)) if *p <= DECIMAL_DIGITS => Some(decimal(*n, *s)),
            (Self::Integer(n), DataType::Date32) => Some(quoted(&date(*n)?)),
            (Self::Integer(n), DataType::Timestamp(_, _)) => {
                let at = DateTime::from_timestamp_micros(i64::try_from(*n).ok()?)?;
                Some(quoted(&at.to_rfc3339_opts(SecondsFormat::Micros, true)))
            }
            (Self::Double(x), DataType::Float64) if x.is_finite() => serde_json::to_string(x).ok(),
            (Self::Text(text), DataType::Utf8) => Some(quoted(text)),
            _ => None,
        }
    }
}

fn quoted(text: &str) -> String {
    Value::from(text).to_string()
}

fn decimal(unscaled: i128, scale: i8) -> String {
    let Ok(scale) = usize::try_from(scale) else { return unscaled.to_string() };
    if scale == 0 {
        return unscaled.to_string();
    }
    let digits = format!("{:0>width$}", unscaled.unsigned_abs(), width = scale + 1);
    let (whole, part) = digits.split_at(digits.len() - scale);
    format!("{}{whole}.{part}", if unscaled < 0 { "-" } else { "" })
}

fn date(days: i128) -> Option<String> {
    let epoch = NaiveDate::from_ymd_opt(1970, 1, 1)?;
    let count = Days::new(u64::try_from(days.unsigned_abs()).ok()?);
    let date = if days < 0 { epoch.checked_sub_days(count) } else { epoch.checked_add_days(count) };
    Some(date?.to_string())
}

/// The least and greatest value of one column of a file, as far as its statistics say: text and whole numbers only.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum KeyRange {
    Integer(i64, i64),
    Text(String, String),
    /// Nothing is known: the file may hold any value.
    Any,
}

/// Reads the range of `column` from a file's statistics.
pub(super) fn key_range(stats: Option<&str>, column: &str) -> KeyRange {
    let Some(stats) = stats.and_then(|text| serde_json::from_str::<Value>(text).ok()) else { return KeyRange::Any };
    range_of(&stats["minValues"][column], &stats["maxValues"][column])
}

fn range_of(least: &Value, greatest: &Value) -> KeyRange {
    match (least, greatest) {
        (Value::Number(least), Value::Number(greatest)) => match (least.as_i64(), greatest.as_i64()) {
            (Some(least), Some(greatest)) => KeyRange::Integer(least, greatest),
            _ => KeyRange::Any,
        },
        (Value::String(least), Value::String(greatest)) => KeyRange::Text(least.clone(), greatest.clone()),
        _ => KeyRange::Any,
    }
}

/// The range of the column `field` in a row group; nothing is known where the file has another type.
pub(super) fn group_range(field: &Field, group: &RowGroupMetaData) -> KeyRange {
    let chunk = group.columns().iter().find(|chunk| chunk.column_path().parts() == [field.name().as_str()]);
    let is_known = |chunk: &&ColumnChunkMetaData| match field.data_type() {
        DataType::Utf8 => true,
        // Others are the same number in any type but instants, which count in units of their own.
        DataType::Timestamp(_, _) => chunk.column_descr().converted_type() == ConvertedType::TIMESTAMP_MICROS,
        _ => chunk.column_descr().converted_type() != ConvertedType::DECIMAL,
    };
    let found = chunk.filter(is_known).and_then(ColumnChunkMetaData::statistics);
    match found.and_then(|statistics| bounds(field.data_type(), statistics)) {
        Some((Bound::Integer(least), Bound::Integer(greatest))) => match (least.try_into(), greatest.try_into()) {
            (Ok(least), Ok(greatest)) => KeyRange::Integer(least, greatest),
            _ => KeyRange::Any,
        },
        Some((Bound::Text(least), Bound::Text(greatest))) => KeyRange::Text(least, greatest),
        _ => KeyRange::Any,
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{
        ArrayRef, Date32Array, Decimal128Array, Float64Array, Int64Array, RecordBatch, StringArray, TimestampMicrosecondArray,
    };
    use parquet::arrow::ArrowWriter;
    use parquet::file::properties::WriterProperties;

    use super::*;

    /// In two row groups.
    fn stats(columns: Vec<(&str, ArrayRef)>) -> Value {
        let batch =
            RecordBatch::try_from_iter_with_nullable(columns.into_iter().map(|(name, column)| (name, column, true))).unwrap();
        let properties = WriterProperties::builder().set_max_row_group_row_count(Some(1)).build();
        let mut writer = ArrowWriter::try_new(Vec::new(), batch.schema(), Some(properties)).unwrap();
        writer.write(&batch).unwrap();
        let metadata = writer.close().unwrap();
        let nan = batch.schema().fields().iter().position(|field| field.name() == "nan");
        serde_json::from_str(&to_json(&batch.schema(), &metadata, &nan.into_iter().collect::<Vec<_>>())).unwrap()
    }

    #[test]
    fn each_type_as_delta_writes_it() {
        let found = stats(vec![
            ("n", Arc::new(Int64Array::from(vec![Some(i64::MAX), None, Some(-5)]))),
            ("t", Arc::new(StringArray::from(vec!["b\"", "a", "c"]))),
            ("d", Arc::new(Date32Array::from(vec![0, -1, 20_000]))),
            ("m", Arc::new(Decimal128Array::from(vec![-5, 1_234, 0]).with_precision_and_scale(10, 2).unwrap())),
            ("w", Arc::new(Decimal128Array::from(vec![1, 2, 3]).with_precision_and_scale(30, 2).unwrap())),
            ("x", Arc::new(Float64Array::from(vec![0.5, 1e300, -2.0]))),
            ("nan", Arc::new(Float64Array::from(vec![0.5, f64::NAN, -2.0]))),
            ("none", Arc::new(Int64Array::from(vec![None, None, None]))),
            ("at", Arc::new(TimestampMicrosecondArray::from(vec![0, 1, 1_700_000_000_000_001]).with_timezone("UTC"))),
        ]);
        assert_eq!(found["numRecords"], 3);
        let expected = serde_json::json!({
            "n": -5, "t": "a", "d": "1969-12-31", "m": -0.05, "x": -2.0, "at": "1970-01-01T00:00:00.000000Z"
        });
        assert_eq!(found["minValues"], expected);
        let expected = serde_json::json!({
            "n": i64::MAX, "t": "c", "d": "2024-10-04", "m": 12.34, "x": 1e300, "at": "2023-11-14T22:13:20.000001Z"
        });
        assert_eq!(found["maxValues"], expected);
        assert_eq!((&found["nullCount"]["n"], &found["nullCount"]["none"]), (&Value::from(1), &Value::from(3)));
    }

    #[test]
    fn long_texts_are_cut_outwards() {
        let long = "é".repeat(100);
        let found = stats(vec![("t", Arc::new(StringArray::from(vec![long.as_str(), long.as_str()])))]);
        assert_eq!(found["minValues"]["t"], "é".repeat(32));
        assert_eq!(found["maxValues"]["t"], format!("{}ê", "é".repeat(31)));
    }

    #[test]
    fn a_range_is_read_back() {
        let text = r#"{"numRecords":2,"minValues":{"n":1,"t":"a"},"maxValues":{"n":9},"nullCount":{}}"#;
        assert_eq!(key_range(Some(text), "n"), KeyRange::Integer(1, 9));
        assert_eq!(key_range(Some(text), "t"), KeyRange::Any);
        assert_eq!(key_range(None, "n"), KeyRange::Any);
    }
}
