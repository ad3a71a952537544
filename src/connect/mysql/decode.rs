//! Single values between the driver's form and ours.

use chrono::{Datelike, NaiveDate, NaiveDateTime, Timelike};
use chrono_tz::Tz;
use mysql_async::Value;

use super::catalog::{Column, Kind};
use super::field::Field;
use crate::connect::cells::Fault;
use crate::connect::chosen;
use crate::connect::instant::{from_local, instant_text, to_local};
use crate::connect::value::{Scalar, decimal_text, decimal_unscaled, scalar_of, scale_of};
use crate::project::ColumnType;

/// 1970-01-01 in chrono's count of days from 0001-01-01.
const EPOCH_DAYS_FROM_CE: i32 = 719_163;
const MICROS_PER_SECOND: i64 = 1_000_000;
const MICROS_PER_DAY: i64 = 86_400 * MICROS_PER_SECOND;

/// Reads one value; `None` is null. `zone` is that of timestamps without one.
pub(super) fn decode(kind: Kind, field: Field<'_>, zone: Option<Tz>) -> Result<Option<Scalar<'_>>, Fault> {
    let scalar = match (kind, field) {
        (_, Field::Null) => return Ok(None),
        (Kind::Int4 | Kind::Int8, Field::Int(integer)) => Scalar::Integer(integer),
        (Kind::Int4 | Kind::Int8, Field::UInt(integer)) => Scalar::Integer(i64::try_from(integer).map_err(|_| Fault::Shape)?),
        (Kind::UnsignedInt8, Field::UInt(integer)) => Scalar::Decimal(integer.into()),
        (Kind::Float, Field::Float(double)) => Scalar::Double(double.into()),
        (Kind::Double | Kind::Chosen(ColumnType::Double), Field::Double(double)) => Scalar::Double(double),
        (Kind::Decimal { precision, scale }, Field::Bytes(bytes)) => Scalar::Decimal(decimal(bytes, precision, scale)?),
        (Kind::Bit, Field::Bytes(bytes)) => Scalar::Boolean(bits(bytes)? != 0),
        (Kind::Bits, Field::Bytes(bytes)) => Scalar::Integer(i64::try_from(bits(bytes)?).map_err(|_| Fault::Shape)?),
        (Kind::WideBits, Field::Bytes(bytes)) => Scalar::Decimal(bits(bytes)?.into()),
        (Kind::Date, Field::Date(year, month, day, 0, 0, 0, 0)) => Scalar::Date(date(year, month, day)?),
        (Kind::Datetime | Kind::Timestamp, Field::Date(year, month, day, hour, minute, second, micros)) => {
            let seconds = i64::from(hour) * 3_600 + i64::from(minute) * 60 + i64::from(second);
            let days = i64::from(date(year, month, day)?);
            let local = days * MICROS_PER_DAY + seconds * MICROS_PER_SECOND + i64::from(micros);
            Scalar::Instant(if kind == Kind::Timestamp { local } else { in_zone(local, zone)? })
        }
        (Kind::Text | Kind::TextCast, Field::Bytes(bytes)) => Scalar::Text(text(bytes)?.into()),
        (Kind::Bytes, Field::Bytes(bytes)) => Scalar::Bytes(bytes.into()),
        (Kind::Chosen(choice), Field::Bytes(bytes)) => chosen::read(text(bytes)?, choice, zone)?,
        _ => return Err(Fault::Shape),
    };
    Ok(Some(scalar))
}

fn in_zone(local: i64, zone: Option<Tz>) -> Result<i64, Fault> {
    from_local(local, zone.ok_or(Fault::NoZone)?)
        .ok_or_else(|| Fault::value("the timestamp lies outside of the years that can be converted"))
}

fn text(bytes: &[u8]) -> Result<&str, Fault> {
    std::str::from_utf8(bytes)
        .map_err(|error| Fault::value(format!("the text is not valid UTF-8 (byte {})", error.valid_up_to())))
}

/// Big-endian, as many bytes as the column's bits need.
fn bits(bytes: &[u8]) -> Result<u64, Fault> {
    match bytes.len() {
        1..=8 => Ok(bytes.iter().fold(0, |sum, byte| sum << 8 | u64::from(*byte))),
        _ => Err(Fault::Shape),
    }
}

/// Days since 1970-01-01. The server keeps dates that are none: `0000-00-00`, `2026-02-00`.
fn date(year: u16, month: u8, day: u8) -> Result<i32, Fault> {
    NaiveDate::from_ymd_opt(year.into(), month.into(), day.into())
        .map(|date| date.num_days_from_ce() - EPOCH_DAYS_FROM_CE)
        .ok_or_else(|| {
            let shown = format!("{year:04}-{month:02}-{day:02}");
            Fault::value(format!("the date is {shown}, which no calendar has")).found(shown)
        })
}

/// The server sends exactly the column's digits behind the point, so up to 18 digits can be taken as they come.
fn decimal(bytes: &[u8], precision: u8, scale: i8) -> Result<i128, Fault> {
    let (negative, digits) = match bytes {
        [b'-', rest @ ..] => (true, rest),
        rest => (false, rest),
    };
    let point = digits.iter().position(|byte| *byte == b'.').unwrap_or(digits.len());
    let (whole, fraction) = (&digits[..point], digits.get(point + 1..).unwrap_or_default());
    if (1..=18).contains(&(whole.len() + fraction.len())) && fraction.len() == usize::from(scale.unsigned_abs()) {
        let unscaled = whole.iter().chain(fraction).try_fold(0_i64, |sum, byte| {
            if byte.is_ascii_digit() { Ok(sum * 10 + i64::from(byte - b'0')) } else { Err(Fault::Shape) }
        })?;
        return Ok(i128::from(if negative { -unscaled } else { unscaled }));
    }
    let text = text(bytes)?;
    decimal_unscaled(text, precision, scale)
        .ok_or_else(|| Fault::value(format!("the number does not fit decimal({precision},{scale}) exactly")).found(text))
}

/// What is bound for a canonical JSON value of a column, or why the column cannot hold it without loss.
pub(super) fn encode(value: &serde_json::Value, column: &Column, kind: Kind, zone: Option<Tz>) -> Result<Value, String> {
    if value.is_null() {
        return Ok(Value::NULL);
    }
    let data_type = kind.data_type();
    let misfit = || format!("{value} does not fit type {}", column.type_name);
    Ok(match (scalar_of(value, &data_type).ok_or_else(misfit)?, kind) {
        (Scalar::Boolean(flag), _) => Value::UInt(flag.into()),
        (Scalar::Integer(integer), _) => Value::Int(integer),
        (Scalar::Double(double), _) if !double.is_finite() => return Err(misfit()),
        (Scalar::Double(double), Kind::Float) if f64::from(double as f32) != double => return Err(misfit()),
        (Scalar::Double(double), _) => Value::Double(double),
        (Scalar::Decimal(unscaled), Kind::UnsignedInt8 | Kind::WideBits) => {
            Value::UInt(u64::try_from(unscaled).map_err(|_| misfit())?)
        }
        (Scalar::Decimal(unscaled), _) => Value::Bytes(decimal_text(unscaled, scale_of(&data_type)).into_bytes()),
        (Scalar::Date(days), _) => {
            let date = days.checked_add(EPOCH_DAYS_FROM_CE).and_then(NaiveDate::from_num_days_from_ce_opt);
            moment(date.ok_or_else(misfit)?.and_time(chrono::NaiveTime::MIN)).ok_or_else(misfit)?
        }
        (Scalar::Instant(micros), _) if micros % 10_i64.pow(6 - column.fraction_digits.min(6)) != 0 => return Err(misfit()),
        (Scalar::Instant(micros), Kind::Datetime) => {
            let zone = zone.ok_or_else(misfit)?;
            let local = to_local(micros, zone).ok_or_else(|| {
                let instant = instant_text(micros).unwrap_or_else(|| micros.to_string());
                format!("{instant} has no local time of its own in {zone}: the clocks show it twice")
            })?;
            moment(local).ok_or_else(misfit)?
        }
        (Scalar::Instant(micros), _) => instant(micros).ok_or_else(misfit)?,
        (Scalar::Text(text), _) => Value::Bytes(text.into_owned().into_bytes()),
        (Scalar::Bytes(bytes), _) => Value::Bytes(bytes.into_owned()),
    })
}

/// An instant as the server's clock in UTC shows it; `None` outside of the years that it can hold.
pub(super) fn instant(micros: i64) -> Option<Value> {
    moment(chrono::DateTime::from_timestamp_micros(micros)?.naive_utc())
}

/// A clock's reading; `None` outside of the years that the server can hold.
pub(super) fn moment(at: NaiveDateTime) -> Option<Value> {
    let year = u16::try_from(at.year()).ok().filter(|year| *year <= 9_999)?;
    let part = |part: u32| u8::try_from(part).ok();
    let (month, day) = (part(at.month())?, part(at.day())?);
    Some(Value::Date(year, month, day, part(at.hour())?, part(at.minute())?, part(at.second())?, at.nanosecond() / 1_000))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// Against the slow way, whatever the digits.
        #[test]
        fn decimals_decode_exactly(unscaled in -10_i128.pow(30)..10_i128.pow(30), short in any::<bool>(), scale in 0_i8..=30) {
            let unscaled = if short { unscaled % 10_i128.pow(15) } else { unscaled };
            let places = usize::from(scale.unsigned_abs());
            let digits = format!("{:0>width$}", unscaled.unsigned_abs(), width = places + 1);
            let (whole, fraction) = digits.split_at(digits.len() - places);
            let text = format!("{}{whole}{}{fraction}", if unscaled < 0 { "-" } else { "" }, if places > 0 { "." } else { "" });
            prop_assert_eq!(decimal(text.as_bytes(), 38, scale), Ok(unscaled), "{}", text);
        }

        #[test]
        fn no_bytes_panic(bytes in prop::collection::vec(any::<u8>(), 0..40), numbers in any::<(u16, u8, u8, u8, u8, u8, u32)>()) {
            let (year, month, day, hour, minute, second, micros) = numbers;
            let values = [Value::Bytes(bytes), Value::Date(year, month, day, hour, minute, second, micros), Value::UInt(u64::MAX)];
            let zone = Some(chrono_tz::Europe::Berlin);
            for kind in [Kind::Int4, Kind::Bits, Kind::Date, Kind::Datetime, Kind::Timestamp, Kind::Text, Kind::Decimal { precision: 18, scale: 2 },
                Kind::Chosen(ColumnType::Timestamp), Kind::Chosen(ColumnType::Long), Kind::Chosen(ColumnType::Boolean)] {
                values.iter().filter_map(Field::of).for_each(|field| { let _ = decode(kind, field, zone); });
            }
        }
    }

    #[test]
    fn what_does_not_fit_is_refused() {
        let zero = Field::Date(0, 0, 0, 0, 0, 0, 0);
        let fault = |kind, field| decode(kind, field, None).unwrap_err().describe().to_owned();
        assert_eq!(fault(Kind::Date, zero), "the date is 0000-00-00, which no calendar has");
        assert_eq!(fault(Kind::Timestamp, zero), "the date is 0000-00-00, which no calendar has");
        assert_eq!(
            fault(Kind::Chosen(ColumnType::Integer), Field::Bytes(b"1.50")),
            "\"1.50\" is not exactly an integer of 32 bits"
        );
        assert_eq!(decode(Kind::Chosen(ColumnType::Integer), Field::Bytes(b"1.00"), None), Ok(Some(Scalar::Integer(1))));
        assert_eq!(decode(Kind::Int4, Field::Bytes(b"1"), None), Err(Fault::Shape));
        assert_eq!(decode(Kind::UnsignedInt8, Field::UInt(u64::MAX), None), Ok(Some(Scalar::Decimal(u64::MAX.into()))));
    }

    #[test]
    fn zoneless_time_is_read_in_the_system_s_zone() {
        let noon = Field::Date(2026, 7, 1, 12, 0, 0, 500_000);
        let read = |kind| match decode(kind, noon, Some(chrono_tz::Europe::Berlin)) {
            Ok(Some(Scalar::Instant(micros))) => instant_text(micros).unwrap(),
            other => panic!("{other:?}"),
        };
        assert_eq!(read(Kind::Datetime), "2026-07-01T10:00:00.500000Z");
        assert_eq!(read(Kind::Timestamp), "2026-07-01T12:00:00.500000Z");
    }
}
