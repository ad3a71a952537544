//! Single values, from SQLite's storage classes and to them.

use arrow::datatypes::{DataType, TimeUnit};
use chrono_tz::Tz;
use rusqlite::types::{Value as SqlValue, ValueRef};
use serde_json::Value;

use super::text::InstantForm;
use crate::connect::cells::Fault;
use crate::connect::chosen;
use crate::connect::instant::{date_text, from_local, parse_date, parse_moment};
use crate::connect::value::{Scalar, decimal_text, decimal_unscaled, scalar_of, scale_of};
use crate::project::ColumnType;

/// Reads a stored value as one of `data_type`. `zone` is that of timestamps without one.
pub(super) fn decode<'a>(value: ValueRef<'a>, data_type: &DataType, zone: Option<Tz>) -> Result<Option<Scalar<'a>>, Fault> {
    let scalar = match (data_type, value) {
        (_, ValueRef::Null) => return Ok(None),
        (DataType::Int64, ValueRef::Integer(integer)) => Scalar::Integer(integer),
        (DataType::Boolean, ValueRef::Integer(flag @ (0 | 1))) => Scalar::Boolean(flag == 1),
        (DataType::Float64, ValueRef::Real(real)) => Scalar::Double(real),
        (DataType::Float64, ValueRef::Integer(integer)) => exact_double(integer)?,
        (DataType::Decimal128(precision, scale), value) => decimal(value, *precision, *scale)?,
        (DataType::Date32, ValueRef::Text(text)) => date(utf8(text)?)?,
        (DataType::Timestamp(TimeUnit::Microsecond, _), ValueRef::Text(text)) => instant(utf8(text)?, zone)?,
        (DataType::Binary, ValueRef::Blob(bytes)) => Scalar::Bytes(bytes.into()),
        (DataType::Utf8, ValueRef::Text(text)) => Scalar::Text(utf8(text)?.into()),
        // Expressions of a view and untyped columns hold numbers; their text is exact.
        (DataType::Utf8, ValueRef::Integer(integer)) => Scalar::Text(integer.to_string().into()),
        (DataType::Utf8, ValueRef::Real(real)) => Scalar::Text(real.to_string().into()),
        (data_type, value) => return Err(misfit(data_type, value)),
    };
    Ok(Some(scalar))
}

/// Reads a stored value as the type that the connector chose, from its text.
pub(super) fn decode_as<'a>(value: ValueRef<'a>, choice: ColumnType, zone: Option<Tz>) -> Result<Option<Scalar<'a>>, Fault> {
    let number = match value {
        ValueRef::Null => return Ok(None),
        ValueRef::Text(text) => return chosen::read(utf8(text)?, choice, zone).map(Some),
        ValueRef::Blob(_) => return Err(misfit(&chosen::data_type(choice), value)),
        ValueRef::Integer(integer) => integer.to_string(),
        ValueRef::Real(real) => real.to_string(),
    };
    chosen::read(&number, choice, zone).map(|scalar| Some(scalar.into_owned()))
}

fn utf8(text: &[u8]) -> Result<&str, Fault> {
    std::str::from_utf8(text).map_err(|error| Fault::value(format!("the text is not valid UTF-8 (byte {})", error.valid_up_to())))
}

fn exact_double<'a>(integer: i64) -> Result<Scalar<'a>, Fault> {
    const EXACT_MAX: u64 = 1 << 53; // beyond it a double skips integers
    if integer.unsigned_abs() <= EXACT_MAX {
        Ok(Scalar::Double(integer as f64))
    } else {
        Err(Fault::value(format!("{integer} is not exact as a double")))
    }
}

/// From text, an integer, or a real through its shortest decimal text, which is the one that was entered if it had at most 15 digits.
fn decimal<'a>(value: ValueRef<'_>, precision: u8, scale: i8) -> Result<Scalar<'a>, Fault> {
    let text = match value {
        ValueRef::Integer(integer) => integer.to_string(),
        ValueRef::Real(real) => real.to_string(),
        ValueRef::Text(text) => utf8(text)?.to_owned(),
        value => return Err(misfit(&DataType::Decimal128(precision, scale), value)),
    };
    decimal_unscaled(text.trim(), precision, scale)
        .map(Scalar::Decimal)
        .ok_or_else(|| Fault::value(format!("\"{text}\" does not fit decimal({precision},{scale})")))
}

fn date<'a>(text: &str) -> Result<Scalar<'a>, Fault> {
    let midnight = |time: &str| !time.is_empty() && time[1..].bytes().all(|byte| matches!(byte, b'0' | b':' | b'.'));
    let days = match text.split_at_checked(10) {
        Some((day, "")) => parse_date(day),
        // Drivers that know no dates write midnight.
        Some((day, time)) if time.starts_with(['T', ' ']) && midnight(time) => parse_date(day),
        _ => parse_date(text),
    };
    days.map(Scalar::Date).ok_or_else(|| Fault::value(format!("\"{text}\" is no date (YYYY-MM-DD)")))
}

fn instant<'a>(text: &str, zone: Option<Tz>) -> Result<Scalar<'a>, Fault> {
    let wrong = || Fault::value(format!("\"{text}\" is no timestamp (YYYY-MM-DD HH:MM:SS, with or without a zone)"));
    let moment = parse_moment(text).ok_or_else(wrong)?;
    let micros = match (moment.offset_seconds, zone) {
        (Some(_), _) => moment.instant(),
        (None, Some(zone)) => from_local(moment.local_micros, zone),
        (None, None) => return Err(Fault::NoZone),
    };
    micros.map(Scalar::Instant).ok_or_else(wrong)
}

fn misfit(data_type: &DataType, value: ValueRef<'_>) -> Fault {
    const SHOWN_MAX: usize = 40; // a long text must not flood the message
    let found = match value {
        ValueRef::Null => "null".into(),
        ValueRef::Integer(integer) => format!("integer {integer}"),
        ValueRef::Real(real) => format!("real {real}"),
        ValueRef::Text(text) => {
            let text = String::from_utf8_lossy(text);
            format!("text \"{}\"", text.chars().take(SHOWN_MAX).collect::<String>())
        }
        ValueRef::Blob(bytes) => format!("a blob of {} bytes", bytes.len()),
    };
    let expected = match data_type {
        DataType::Int64 => "an integer",
        DataType::Boolean => "0 or 1",
        DataType::Float64 => "a number",
        DataType::Decimal128(_, _) => "a decimal",
        DataType::Date32 => "an ISO date as text",
        DataType::Timestamp(_, _) => "an ISO timestamp as text",
        DataType::Binary => "a blob",
        _ => "text",
    };
    Fault::value(format!("holds {found}, but its declared type needs {expected}"))
}

/// What is bound for a canonical JSON value of a column, or why the column cannot hold it.
pub(super) fn encode(value: &Value, data_type: &DataType, form: InstantForm) -> Result<SqlValue, String> {
    if value.is_null() {
        return Ok(SqlValue::Null);
    }
    let scalar = scalar_of(value, data_type).ok_or_else(|| format!("{value} does not fit its type"))?;
    Ok(match scalar {
        Scalar::Boolean(flag) => SqlValue::Integer(flag.into()),
        Scalar::Integer(integer) => SqlValue::Integer(integer),
        Scalar::Double(real) if real.is_nan() => return Err("SQLite stores NaN as null".into()),
        Scalar::Double(real) => SqlValue::Real(real),
        Scalar::Text(text) => SqlValue::Text(text.into_owned()),
        Scalar::Decimal(unscaled) => stored_decimal(&decimal_text(unscaled, scale_of(data_type)))?,
        Scalar::Date(days) => SqlValue::Text(date_text(days).ok_or_else(|| format!("{value} is no date of this calendar"))?),
        Scalar::Instant(micros) => SqlValue::Text(form.write(micros)?),
        Scalar::Bytes(bytes) => SqlValue::Blob(bytes.into_owned()),
    })
}

/// SQLite keeps a decimal as integer or double; one that a double does not give back is refused rather than rounded.
fn stored_decimal(text: &str) -> Result<SqlValue, String> {
    if let Ok(integer) = text.parse() {
        return Ok(SqlValue::Integer(integer));
    }
    match text.parse::<f64>() {
        Ok(real) if real.to_string() == text => Ok(SqlValue::Real(real)),
        _ => Err(format!("{text} has more digits than SQLite stores exactly")),
    }
}

#[cfg(test)]
mod tests {
    use chrono_tz::Europe::Berlin;
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;
    use crate::connect::cells::instant_type;
    use crate::connect::value::scalar_json;

    fn read(value: ValueRef<'_>, data_type: &DataType) -> Result<Value, String> {
        let scalar = decode(value, data_type, Some(Berlin)).map_err(|fault| fault.describe().to_owned())?;
        Ok(scalar.map_or(Value::Null, |scalar| scalar_json(&scalar, scale_of(data_type))))
    }

    #[test]
    fn values_fit_their_declared_type_or_are_refused() {
        let money = DataType::Decimal128(10, 2);
        assert_eq!(read(ValueRef::Real(0.1), &money), Ok(json!("0.1")));
        assert_eq!(read(ValueRef::Real(0.125), &money), Err("\"0.125\" does not fit decimal(10,2)".into()));
        assert_eq!(read(ValueRef::Text(b"12.50"), &money), Ok(json!("12.5")));
        assert_eq!(read(ValueRef::Real(1.0e15), &money), Err("\"1000000000000000\" does not fit decimal(10,2)".into()));
        assert_eq!(
            read(ValueRef::Integer(2), &DataType::Boolean),
            Err("holds integer 2, but its declared type needs 0 or 1".into())
        );
        assert_eq!(
            read(ValueRef::Text(b"abc"), &DataType::Int64),
            Err("holds text \"abc\", but its declared type needs an integer".into())
        );
        assert_eq!(read(ValueRef::Text(&[0x61, 0xff]), &DataType::Utf8), Err("the text is not valid UTF-8 (byte 1)".into()));
        assert_eq!(read(ValueRef::Text(b"2026-07-01T00:00:00"), &DataType::Date32), Ok(json!("2026-07-01")));
        assert_eq!(
            read(ValueRef::Text(b"2026-07-01 10:00"), &DataType::Date32),
            Err("\"2026-07-01 10:00\" is no date (YYYY-MM-DD)".into())
        );
        assert_eq!(read(ValueRef::Text(b"2026-07-01 12:00:00"), &instant_type()), Ok(json!("2026-07-01T10:00:00Z")));
        assert_eq!(decode(ValueRef::Text(b"2026-07-01 12:00:00"), &instant_type(), None), Err(Fault::NoZone));
    }

    #[test]
    fn a_chosen_type_reads_the_text_of_whatever_is_stored() {
        let read = |value, choice| {
            let scalar = decode_as(value, choice, Some(Berlin)).map_err(|fault| fault.describe().to_owned())?;
            Ok::<_, String>(scalar.map(|scalar| scalar_json(&scalar, 2)))
        };
        assert_eq!(read(ValueRef::Integer(7), ColumnType::Text), Ok(Some(json!("7"))));
        assert_eq!(read(ValueRef::Text(b"007"), ColumnType::Integer), Ok(Some(json!(7))));
        assert_eq!(read(ValueRef::Real(1.25), ColumnType::Decimal { precision: 9, scale: 2 }), Ok(Some(json!("1.25"))));
        assert_eq!(read(ValueRef::Null, ColumnType::Date), Ok(None));
        assert_eq!(
            read(ValueRef::Integer(1 << 40), ColumnType::Integer),
            Err("\"1099511627776\" is not exactly an integer of 32 bits".into())
        );
        assert!(read(ValueRef::Blob(&[1]), ColumnType::Long).is_err());
    }

    proptest! {
        /// What is written is read back as the same value, or was refused.
        #[test]
        fn decimals_round_trip_or_are_refused(unscaled in -10_i128.pow(20)..10_i128.pow(20)) {
            let data_type = DataType::Decimal128(38, 6);
            let json = Value::String(decimal_text(unscaled, 6));
            if let Ok(stored) = encode(&json, &data_type, InstantForm::of(None, None)) {
                prop_assert_eq!(read(ValueRef::from(&stored), &data_type), Ok(json));
            }
        }

        #[test]
        fn instants_round_trip_or_are_refused(micros in 0_i64..4_000_000_000_000_000) {
            let json = scalar_json(&Scalar::Instant(micros), 0);
            if let Ok(stored) = encode(&json, &instant_type(), InstantForm::of(None, Some(Berlin))) {
                prop_assert_eq!(read(ValueRef::from(&stored), &instant_type()), Ok(json));
            }
        }
    }
}
