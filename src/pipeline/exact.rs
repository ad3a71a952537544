//! Values in another type, exactly or not at all.

use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, StringArray, new_null_array};
use arrow::compute::kernels::cmp::not_distinct;
use arrow::compute::{CastOptions, can_cast_types, cast_with_options, is_not_null, not, nullif};
use arrow::datatypes::DataType;
use arrow::error::ArrowError;
use arrow::util::display::FormatOptions;

/// A value that does not fit is an error.
pub(super) const STRICT: CastOptions<'static> = CastOptions { safe: false, format_options: FormatOptions::new() };
/// A value that does not fit is null.
const LOOSE: CastOptions<'static> = CastOptions { safe: true, format_options: FormatOptions::new() };

/// `column` as `to`, null where a value is not exactly one of that type; and for each row whether that is so.
///
/// Exact is what comes back as it was: text `5.0` is a decimal, `05` and ` 5` are not, because the zero and the blank would be lost.
pub(super) fn exact(column: &ArrayRef, to: &DataType) -> Result<(ArrayRef, BooleanArray), ArrowError> {
    let from = column.data_type();
    if !related(from, to) {
        return Ok((new_null_array(to, column.len()), is_not_null(column)?));
    }
    let values = cast_with_options(column, to, &LOOSE)?;
    let back = cast_with_options(&values, from, &LOOSE)?;
    let same = match (from, to) {
        (DataType::Utf8, DataType::Decimal128(_, _) | DataType::Float64) => not_distinct(&plain(column), &plain(&back))?,
        _ => not_distinct(column, &back)?,
    };
    let misfit = not(&same)?;
    Ok(if misfit.true_count() == 0 { (values, misfit) } else { (nullif(&values, &misfit)?, misfit) })
}

/// Whether values of the two types can mean the same. Arrow would cast more: an instant to the number of its microseconds.
fn related(from: &DataType, to: &DataType) -> bool {
    let is_number = |data_type: &DataType| {
        matches!(data_type, DataType::Int32 | DataType::Int64 | DataType::Float64 | DataType::Decimal128(_, _))
    };
    let is_text = |data_type: &DataType| *data_type == DataType::Utf8;
    let mean_the_same = is_text(from) || is_text(to) || (is_number(from) && is_number(to));
    mean_the_same && can_cast_types(from, to) && can_cast_types(to, from)
}

/// Numbers in text without zeros at the end of their fraction.
fn plain(column: &ArrayRef) -> StringArray {
    let plain = |text: &str| match text.split_once('.') {
        Some((whole, fraction)) if fraction.bytes().all(|byte| byte.is_ascii_digit()) && !fraction.is_empty() => {
            let fraction = fraction.trim_end_matches('0');
            if fraction.is_empty() { whole.to_owned() } else { format!("{whole}.{fraction}") }
        }
        _ => text.to_owned(),
    };
    column.as_string::<i32>().iter().map(|text| text.map(plain)).collect()
}

/// A type in the words of `types` in connector.toml.
pub(super) fn word(data_type: &DataType) -> String {
    match data_type {
        DataType::Utf8 => "text".into(),
        DataType::Int32 => "integer".into(),
        DataType::Int64 => "long".into(),
        DataType::Float64 => "double".into(),
        DataType::Boolean => "boolean".into(),
        DataType::Date32 => "date".into(),
        DataType::Timestamp(_, _) => "timestamp".into(),
        DataType::Decimal128(precision, scale) => format!("decimal({precision},{scale})"),
        DataType::Binary => "binary".into(),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{Decimal128Array, Float64Array, Int32Array, Int64Array};
    use arrow::datatypes::TimeUnit;
    use proptest::prelude::*;

    use crate::connect::{canonical_json, cell_json};

    use super::*;

    /// `None` where the text is not exactly one of the type.
    fn from_text(text: &str, to: &DataType) -> Option<String> {
        let column: ArrayRef = Arc::new(StringArray::from(vec![text]));
        let (values, misfit) = exact(&column, to).unwrap();
        assert_eq!(values.is_null(0), misfit.value(0));
        values.is_valid(0).then(|| cell_json(&values, 0).to_string())
    }

    #[test]
    fn texts_are_read_only_where_nothing_is_lost() {
        let instant = DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()));
        let cases = [
            (
                DataType::Int64,
                vec![("7", "7"), ("-7", "-7")],
                vec!["07", " 7", "7.0", "7e2", "9223372036854775808", "", "seven", "+7"],
            ),
            (
                DataType::Decimal128(6, 2),
                vec![("5", "\"5\""), ("5.0", "\"5\""), ("5.10", "\"5.1\""), ("-0.5", "\"-0.5\"")],
                vec!["5.123", "05.1", "10000", ".5", "5.", "1e1"],
            ),
            (
                DataType::Float64,
                vec![("5", "5.0"), ("0.1", "0.1"), ("2.50", "2.5")],
                vec!["0.10000000000000000001", "05", "five"],
            ),
            (DataType::Boolean, vec![("true", "true")], vec!["1", "yes", "TRUE"]),
            (
                DataType::Date32,
                vec![("2026-03-01", "\"2026-03-01\"")],
                vec!["2026-02-30", "2026-3-1", "01.03.2026", "0000-00-00"],
            ),
            (instant, vec![("2026-03-29T00:30:00Z", "\"2026-03-29T00:30:00Z\"")], vec!["2026-03-29 00:30:00", "2026-03-29"]),
        ];
        for (to, exact, inexact) in cases {
            for (text, value) in exact {
                assert_eq!(from_text(text, &to).as_deref(), Some(value), "{text:?} as {to}");
            }
            for text in inexact {
                assert_eq!(from_text(text, &to), None, "{text:?} as {to}");
            }
        }
    }

    #[test]
    fn an_instant_is_no_number_and_a_number_no_boolean() {
        for (from, to) in [
            (DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())), DataType::Int64),
            (DataType::Date32, DataType::Int32),
            (DataType::Date32, DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()))),
            (DataType::Int64, DataType::Boolean),
            (DataType::Boolean, DataType::Int64),
            (DataType::Binary, DataType::Int64),
        ] {
            let (values, misfit) = exact(&new_null_array(&from, 2), &to).unwrap();
            assert_eq!((values.null_count(), misfit.true_count()), (2, 0), "{from} to {to}: null is null of any type");
            assert!(!related(&from, &to), "{from} to {to}");
        }
    }

    proptest! {
        /// Against a slow reading of one value at a time.
        #[test]
        fn numbers_are_exact_or_not_taken(
            longs in prop::collection::vec(prop_oneof![any::<i64>(), -2_000_000_i64..2_000_000], 1..20),
            eighths in prop::collection::vec(-80_000_000_000_i64..80_000_000_000, 1..20),
            unscaled in prop::collection::vec(-9_999_999_999_i128..9_999_999_999, 1..20),
            scale in 0_i8..=4,
        ) {
            let columns: [ArrayRef; 4] = [
                Arc::new(Int32Array::from_iter_values(longs.iter().map(|n| (*n % 2_000_000_000) as i32))),
                Arc::new(Int64Array::from(longs)),
                Arc::new(Float64Array::from_iter_values(eighths.iter().map(|n| *n as f64 / 8.0 + 0.0))),
                Arc::new(Decimal128Array::from(unscaled).with_precision_and_scale(10, scale).unwrap()),
            ];
            let targets = [DataType::Int32, DataType::Int64, DataType::Float64, DataType::Decimal128(9, 2), DataType::Decimal128(20, 0)];
            for column in &columns {
                for to in targets.iter().filter(|to| *to != column.data_type()) {
                    let (values, misfit) = exact(column, to).unwrap();
                    for row in 0..column.len() {
                        let cell = cell_json(column, row);
                        let slow = canonical_json(&cell, to);
                        if *to == DataType::Float64 && cell.as_i64().is_some_and(|n| n.unsigned_abs() > 1 << 53) {
                            continue; // the slow one refuses all of these, although some are exact
                        }
                        prop_assert_eq!(misfit.value(row), slow.is_none(), "{} to {}: {}", column.data_type(), to, cell);
                        prop_assert_eq!(cell_json(&values, row), slow.unwrap_or_default());
                    }
                }
            }
        }
    }
}
