//! Tables as text, for the tests of decision functions.

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, BooleanArray, Date32Array, Decimal128Array, Int64Array, RecordBatch, StringArray,
    TimestampMicrosecondArray,
};
use arrow::datatypes::{DataType, Date32Type, Decimal128Type, Int64Type, Schema, TimestampMicrosecondType};
use chrono::{DateTime, NaiveDate, NaiveDateTime};

use super::quantity::{Date, Units};
use super::{Context, DecideError, Decision, Input};

/// A batch of an input: one line for each row, cells between `|`, `-` is null. Days are `2026-01-31`, instants `2026-01-31 06:00`. The first line may
/// name the columns; no line at all is an input that was not named.
pub fn table(input: &Input, rows: &str) -> RecordBatch {
    let mut rows: Vec<Vec<&str>> =
        rows.lines().filter(|line| !line.trim().is_empty()).map(|line| line.split('|').map(str::trim).collect()).collect();
    if rows.is_empty() {
        return RecordBatch::new_empty(Arc::new(Schema::empty()));
    }
    let known = |cell: &str| input.columns.iter().copied().find(|(name, _)| *name == cell);
    let named: Option<Vec<(&str, &str)>> = rows[0].iter().map(|cell| known(cell)).collect();
    let columns = match named {
        Some(named) => {
            rows.remove(0);
            named
        }
        None => input.columns.to_vec(),
    };
    assert!(rows.iter().all(|row| row.len() == columns.len()), "{} has {} columns", input.name, columns.len());
    let columns = columns.iter().enumerate().map(|(at, (name, kind))| {
        let cells: Vec<Option<&str>> = rows.iter().map(|row| Some(row[at]).filter(|cell| *cell != "-")).collect();
        (*name, column(kind.trim_end_matches('?'), &cells))
    });
    RecordBatch::try_from_iter_with_nullable(columns.map(|(name, array)| (name, array, true))).unwrap()
}

fn column(kind: &str, cells: &[Option<&str>]) -> ArrayRef {
    let each = cells.iter().copied();
    match kind {
        "text" => Arc::new(each.collect::<StringArray>()),
        "bigint" => Arc::new(each.map(|cell| cell.map(|cell| cell.parse::<i64>().unwrap())).collect::<Int64Array>()),
        "boolean" => Arc::new(each.map(|cell| cell.map(|cell| cell.parse::<bool>().unwrap())).collect::<BooleanArray>()),
        "date" => Arc::new(each.map(|cell| cell.map(day)).collect::<Date32Array>()),
        "decimal" => {
            let micro = |cell: &str| (cell.parse::<f64>().unwrap() * 1e6).round() as i128;
            Arc::new(each.map(|cell| cell.map(micro)).collect::<Decimal128Array>().with_precision_and_scale(18, 6).unwrap())
        }
        _ => Arc::new(each.map(|cell| cell.map(instant)).collect::<TimestampMicrosecondArray>().with_timezone("UTC")),
    }
}

pub fn day(text: &str) -> i32 {
    text.parse::<NaiveDate>().unwrap().to_epoch_days()
}

pub fn instant(text: &str) -> i64 {
    let minutes = NaiveDateTime::parse_from_str(text, "%Y-%m-%d %H:%M");
    minutes.or_else(|_| NaiveDateTime::parse_from_str(text, "%Y-%m-%d %H:%M:%S")).unwrap().and_utc().timestamp_micros()
}

/// A run at midnight of a day.
pub fn context(as_of: &str) -> Context {
    Context::at(DateTime::from_timestamp_micros(i64::from(day(as_of)) * 86_400_000_000).unwrap())
}

pub fn decide(decision: &dyn Decision, as_of: &str, tables: &[&str]) -> Result<RecordBatch, DecideError> {
    let rows = tables.iter().copied().chain(std::iter::repeat(""));
    let batches: Vec<RecordBatch> = decision.inputs().iter().zip(rows).map(|(input, rows)| table(input, rows)).collect();
    let result = decision.decide(&batches, &context(as_of))?;
    assert_eq!(result.schema(), decision.schema());
    Ok(result)
}

/// The cells of some columns, rows as lines, as [`table`] reads them.
pub fn show(batch: &RecordBatch, columns: &[&str]) -> String {
    let rows = (0..batch.num_rows()).map(|row| columns.iter().map(|name| cell(batch, name, row)).collect::<Vec<_>>().join(" | "));
    rows.collect::<Vec<_>>().join("\n")
}

pub fn cell(batch: &RecordBatch, name: &str, row: usize) -> String {
    let array = batch.column_by_name(name).unwrap_or_else(|| panic!("column {name}"));
    if array.is_null(row) {
        return "-".into();
    }
    match array.data_type() {
        DataType::Date32 => Date(array.as_primitive::<Date32Type>().value(row)).to_string(),
        DataType::Int64 => array.as_primitive::<Int64Type>().value(row).to_string(),
        DataType::Decimal128(_, _) => Units(array.as_primitive::<Decimal128Type>().value(row)).to_string(),
        DataType::Utf8 => array.as_string::<i32>().value(row).to_owned(),
        _ => {
            let micros = array.as_primitive::<TimestampMicrosecondType>().value(row);
            DateTime::from_timestamp_micros(micros).unwrap().format("%Y-%m-%d %H:%M:%S").to_string()
        }
    }
}

/// Compares a result with lines, ignoring indentation.
pub fn check(batch: &RecordBatch, columns: &[&str], expected: &str) {
    let expected: Vec<&str> = expected.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    assert_eq!(show(batch, columns).lines().collect::<Vec<_>>(), expected);
}
