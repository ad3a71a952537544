//! Delta's statistics of a file (`numRecords`, least, greatest, count of nulls), by which every engine skips files.

use std::cmp::Ordering;
use std::fmt::Write;

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch};
use arrow::compute::{max, max_string, min, min_string};
use arrow::datatypes::{
    DataType, Date32Type, Decimal128Type, Float64Type, Int32Type, Int64Type, Schema, TimestampMicrosecondType,
};
use chrono::{DateTime, Days, NaiveDate, SecondsFormat};
use serde_json::Value;

/// Delta indexes this many columns by default; more would only make the log larger.
const COLUMNS: usize = 32;
/// Longest text kept as it is. A longer least value is cut, a longer greatest one left out.
const TEXT_BYTES: usize = 64;
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

#[derive(Debug)]
struct ColumnStats {
    name: String,
    data_type: DataType,
    nulls: u64,
    least: Option<Bound>,
    greatest: Option<Bound>,
    /// Whether a value was seen that bounds cannot describe (NaN).
    unbounded: bool,
}

/// Gathers the statistics of one file while it is written.
#[derive(Debug)]
pub(super) struct Stats {
    rows: u64,
    columns: Vec<ColumnStats>,
}

impl Stats {
    pub(super) fn new(schema: &Schema) -> Self {
        let column = |field: &arrow::datatypes::FieldRef| ColumnStats {
            name: field.name().clone(),
            data_type: field.data_type().clone(),
            nulls: 0,
            least: None,
            greatest: None,
            unbounded: false,
        };
        Self { rows: 0, columns: schema.fields().iter().take(COLUMNS).map(column).collect() }
    }

    pub(super) fn rows(&self) -> u64 {
        self.rows
    }

    pub(super) fn add(&mut self, batch: &RecordBatch) {
        self.rows += batch.num_rows() as u64;
        for (stats, column) in self.columns.iter_mut().zip(batch.columns()) {
            stats.add(column);
        }
    }

    /// Delta's JSON; written by hand because decimals are JSON numbers with all their digits.
    pub(super) fn to_json(&self) -> String {
        let pick = |bound: fn(&ColumnStats) -> Option<String>| {
            let entries: Vec<String> =
                self.columns.iter().filter_map(|c| Some(format!("{}:{}", quoted(&c.name), bound(c)?))).collect();
            entries.join(",")
        };
        let mut json = format!("{{\"numRecords\":{}", self.rows);
        // Writing to a String cannot fail.
        let _ = write!(json, ",\"minValues\":{{{}}}", pick(|c| c.json(c.least.as_ref(), false)));
        let _ = write!(json, ",\"maxValues\":{{{}}}", pick(|c| c.json(c.greatest.as_ref(), true)));
        let _ = write!(json, ",\"nullCount\":{{{}}}}}", pick(|c| Some(c.nulls.to_string())));
        json
    }
}

impl ColumnStats {
    fn add(&mut self, column: &ArrayRef) {
        self.nulls += column.null_count() as u64;
        let Some((least, greatest)) = bounds(column) else { return };
        if matches!((&least, &greatest), (Bound::Double(a), Bound::Double(b)) if a.is_nan() || b.is_nan()) {
            self.unbounded = true;
        }
        if self.least.as_ref().is_none_or(|old| least.compare(old) == Ordering::Less) {
            self.least = Some(least);
        }
        if self.greatest.as_ref().is_none_or(|old| greatest.compare(old) == Ordering::Greater) {
            self.greatest = Some(greatest);
        }
    }

    fn json(&self, bound: Option<&Bound>, upper: bool) -> Option<String> {
        if self.unbounded {
            return None;
        }
        match (bound?, &self.data_type) {
            (Bound::Integer(n), DataType::Int32 | DataType::Int64) => Some(n.to_string()),
            (Bound::Integer(n), DataType::Decimal128(p, s)) if *p <= DECIMAL_DIGITS => Some(decimal(*n, *s)),
            (Bound::Integer(n), DataType::Date32) => Some(quoted(&date(*n)?)),
            (Bound::Integer(n), DataType::Timestamp(_, _)) => {
                let at = DateTime::from_timestamp_micros(i64::try_from(*n).ok()?)?;
                Some(quoted(&at.to_rfc3339_opts(SecondsFormat::Micros, true)))
            }
            (Bound::Double(x), DataType::Float64) if x.is_finite() => serde_json::to_string(x).ok(),
            (Bound::Text(text), DataType::Utf8) if text.len() <= TEXT_BYTES => Some(quoted(text)),
            (Bound::Text(text), DataType::Utf8) if !upper => Some(quoted(&text[..text.floor_char_boundary(TEXT_BYTES)])),
            _ => None,
        }
    }
}

fn bounds(column: &ArrayRef) -> Option<(Bound, Bound)> {
    let integers = |least: Option<i128>, greatest: Option<i128>| Some((Bound::Integer(least?), Bound::Integer(greatest?)));
    match column.data_type() {
        DataType::Int32 => {
            let values = column.as_primitive::<Int32Type>();
            integers(min(values).map(i128::from), max(values).map(i128::from))
        }
        DataType::Int64 => {
            let values = column.as_primitive::<Int64Type>();
            integers(min(values).map(i128::from), max(values).map(i128::from))
        }
        DataType::Date32 => {
            let values = column.as_primitive::<Date32Type>();
            integers(min(values).map(i128::from), max(values).map(i128::from))
        }
        DataType::Timestamp(_, _) => {
            let values = column.as_primitive::<TimestampMicrosecondType>();
            integers(min(values).map(i128::from), max(values).map(i128::from))
        }
        DataType::Decimal128(_, _) => {
            let values = column.as_primitive::<Decimal128Type>();
            integers(min(values), max(values))
        }
        DataType::Float64 => {
            let values = column.as_primitive::<Float64Type>();
            Some((Bound::Double(min(values)?), Bound::Double(max(values)?)))
        }
        DataType::Utf8 => {
            let values = column.as_string::<i32>();
            Some((Bound::Text(min_string(values)?.into()), Bound::Text(max_string(values)?.into())))
        }
        _ => None,
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
    match (&stats["minValues"][column], &stats["maxValues"][column]) {
        (Value::Number(least), Value::Number(greatest)) => match (least.as_i64(), greatest.as_i64()) {
            (Some(least), Some(greatest)) => KeyRange::Integer(least, greatest),
            _ => KeyRange::Any,
        },
        (Value::String(least), Value::String(greatest)) => KeyRange::Text(least.clone(), greatest.clone()),
        _ => KeyRange::Any,
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{Date32Array, Decimal128Array, Float64Array, Int64Array, StringArray, TimestampMicrosecondArray};

    use super::*;

    fn stats(columns: Vec<(&str, ArrayRef)>) -> Value {
        let batch = RecordBatch::try_from_iter(columns).unwrap();
        let mut stats = Stats::new(&batch.schema());
        stats.add(&batch.slice(0, 1));
        stats.add(&batch.slice(1, batch.num_rows() - 1));
        serde_json::from_str(&stats.to_json()).unwrap()
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
        assert_eq!(found["nullCount"]["n"], 1);
    }

    #[test]
    fn long_texts_are_cut_below_and_left_out_above() {
        let long = "é".repeat(100);
        let found = stats(vec![("t", Arc::new(StringArray::from(vec![long.as_str(), "z"])))]);
        assert_eq!(found["minValues"]["t"], "z");
        assert_eq!(found["maxValues"].get("t"), None);
        let found = stats(vec![("t", Arc::new(StringArray::from(vec![long.as_str(), long.as_str()])))]);
        assert_eq!(found["minValues"]["t"], "é".repeat(32));
    }

    #[test]
    fn a_range_is_read_back() {
        let text = r#"{"numRecords":2,"minValues":{"n":1,"t":"a"},"maxValues":{"n":9},"nullCount":{}}"#;
        assert_eq!(key_range(Some(text), "n"), KeyRange::Integer(1, 9));
        assert_eq!(key_range(Some(text), "t"), KeyRange::Any);
        assert_eq!(key_range(None, "n"), KeyRange::Any);
    }
}
