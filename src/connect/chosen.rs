//! Types that a connector chooses for columns (`types = { price = "double" }`): a value's own text, read exactly as the chosen type or refused.

use arrow::datatypes::DataType;
use chrono_tz::Tz;

use super::cells::{Fault, instant_type};
use super::instant::{from_local, parse_date, parse_moment};
use super::value::{Scalar, decimal_unscaled};
use crate::project::ColumnType;

/// The Arrow type of a chosen type.
pub(super) fn data_type(choice: ColumnType) -> DataType {
    match choice {
        ColumnType::Text => DataType::Utf8,
        ColumnType::Integer => DataType::Int32,
        ColumnType::Long => DataType::Int64,
        ColumnType::Double => DataType::Float64,
        ColumnType::Decimal { precision, scale } => DataType::Decimal128(precision, scale),
        ColumnType::Boolean => DataType::Boolean,
        ColumnType::Date => DataType::Date32,
        ColumnType::Timestamp => instant_type(),
    }
}

/// Reads a value's text as the chosen type; numbers in plain or scientific notation, dates and timestamps in ISO form, booleans as `true`, `t`,
/// `1` and their opposites. `zone` is that of timestamps without one. Only a double may lose digits.
pub(super) fn read<'a>(text: &'a str, choice: ColumnType, zone: Option<Tz>) -> Result<Scalar<'a>, Fault> {
    let plain = text.trim();
    let integer = |digits| decimal_unscaled(plain, digits, 0).and_then(|value| i64::try_from(value).ok());
    let scalar = match choice {
        ColumnType::Text => Some(Scalar::Text(text.into())),
        ColumnType::Integer => integer(10).filter(|value| i32::try_from(*value).is_ok()).map(Scalar::Integer),
        ColumnType::Long => integer(19).map(Scalar::Integer),
        ColumnType::Double => double(plain).map(Scalar::Double),
        ColumnType::Decimal { precision, scale } => decimal(plain, precision, scale).map(Scalar::Decimal),
        ColumnType::Boolean => boolean(plain).map(Scalar::Boolean),
        ColumnType::Date => parse_date(plain).map(Scalar::Date),
        ColumnType::Timestamp => instant(plain, zone)?.map(Scalar::Instant),
    };
    scalar.ok_or_else(|| {
        let shown: String = text.chars().take(40).collect(); // a long text must not flood the message
        Fault::value(format!("\"{shown}\" is not exactly {}", spoken(choice))).found(text)
    })
}

/// A chosen type's name for people.
fn spoken(choice: ColumnType) -> String {
    match choice {
        ColumnType::Text => "text".into(),
        ColumnType::Integer => "an integer of 32 bits".into(),
        ColumnType::Long => "an integer of 64 bits".into(),
        ColumnType::Double => "a number".into(),
        ColumnType::Decimal { precision, scale } => format!("decimal({precision},{scale})"),
        ColumnType::Boolean => "true or false".into(),
        ColumnType::Date => "a date (YYYY-MM-DD)".into(),
        ColumnType::Timestamp => "a timestamp (YYYY-MM-DD HH:MM:SS)".into(),
    }
}

fn boolean(text: &str) -> Option<bool> {
    match text.to_ascii_lowercase().as_str() {
        "true" | "t" | "1" => Some(true),
        "false" | "f" | "0" => Some(false),
        _ => None,
    }
}

fn double(text: &str) -> Option<f64> {
    match text {
        "NaN" => Some(f64::NAN),
        "Infinity" => Some(f64::INFINITY),
        "-Infinity" => Some(f64::NEG_INFINITY),
        // What Rust reads beyond numbers ("inf", "nan" in any case) is no number to a database; neither is one that overflows.
        number => number.parse().ok().filter(|value: &f64| value.is_finite()),
    }
}

/// `1.25`, `1.25e3`.
fn decimal(text: &str, precision: u8, scale: i8) -> Option<i128> {
    let Some((mantissa, exponent)) = text.split_once(['e', 'E']) else { return decimal_unscaled(text, precision, scale) };
    let exponent: i32 = exponent.parse().ok()?;
    let shifted = i8::try_from(i32::from(scale).checked_add(exponent)?).ok()?;
    decimal_unscaled(mantissa, precision, shifted)
}

fn instant(text: &str, zone: Option<Tz>) -> Result<Option<i64>, Fault> {
    let Some(moment) = parse_moment(text) else { return Ok(None) };
    match (moment.offset_seconds, zone) {
        (Some(_), _) => Ok(moment.instant()),
        (None, Some(zone)) => Ok(from_local(moment.local_micros, zone)),
        (None, None) => Err(Fault::NoZone),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reads(text: &str, choice: ColumnType) -> Option<Scalar<'_>> {
        read(text, choice, Some(chrono_tz::Europe::Berlin)).ok()
    }

    #[test]
    fn text_is_read_exactly_or_refused() {
        use ColumnType::{Boolean, Date, Decimal, Double, Integer, Long, Text, Timestamp};
        let money = Decimal { precision: 6, scale: 2 };
        let cases = [
            (" x ", Text, Some(Scalar::Text(" x ".into()))),
            (" 7.0", Integer, Some(Scalar::Integer(7))),
            ("2147483648", Integer, None),
            ("2147483648", Long, Some(Scalar::Integer(2_147_483_648))),
            ("9223372036854775808", Long, None),
            ("7.5", Long, None),
            ("0.1", Double, Some(Scalar::Double(0.1))),
            ("-Infinity", Double, Some(Scalar::Double(f64::NEG_INFINITY))),
            ("inf", Double, None),
            ("1e999", Double, None),
            ("1.25e3", money, Some(Scalar::Decimal(125_000))),
            ("1.25e-1", money, None),
            ("125e-2", money, Some(Scalar::Decimal(125))),
            ("12345.00", money, None),
            ("1e200", money, None),
            ("T", Boolean, Some(Scalar::Boolean(true))),
            ("yes", Boolean, None),
            ("2026-02-30", Date, None),
            ("1970-01-02", Date, Some(Scalar::Date(1))),
            ("1970-01-01 01:00", Timestamp, Some(Scalar::Instant(0))),
            ("1970-01-01T00:00:00.000001Z", Timestamp, Some(Scalar::Instant(1))),
            ("infinity", Timestamp, None),
            ("", Long, None),
        ];
        for (text, choice, expected) in cases {
            assert_eq!(reads(text, choice), expected, "{text:?} as {choice:?}");
        }
        assert_eq!(read("1970-01-01 01:00", Timestamp, None), Err(Fault::NoZone));
    }
}
