//! Single values between the driver's form and ours.

use chrono::{Datelike, NaiveDate, NaiveDateTime, Timelike};
use chrono_tz::Tz;
use mysql_async::Value;

use super::catalog::{Column, Kind};
use super::field::Field;
use crate::connect::cells::{Cells, Fault, text};
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

/// Appends one value to its column: what [`decode`] gives, without the step in between for the types that most columns have. Appends nothing
/// on a fault.
#[inline(always)]
pub(super) fn fill(kind: Kind, field: &Field<'_>, zone: Option<Tz>, cells: &mut Cells) -> Result<(), Fault> {
    match (kind, field, cells) {
        (Kind::Int8, Field::Int(integer), Cells::Int64(cells)) => cells.append(*integer),
        (Kind::Int4, Field::Int(integer), Cells::Int32(cells)) => {
            cells.append(i32::try_from(*integer).map_err(|_| Fault::Shape)?);
        }
        (Kind::Decimal { precision, scale }, Field::Bytes(bytes), Cells::Decimal(cells)) => {
            cells.append(decimal(bytes, precision, scale)?);
        }
        (Kind::Date, Field::Date(year, month, day, 0, 0, 0, 0), Cells::Date(cells)) => cells.append(date(*year, *month, *day)?),
        (Kind::Text | Kind::TextCast, Field::Bytes(bytes), Cells::Utf8(cells)) => {
            // Most texts are ASCII, which is seen faster than that they are UTF-8.
            if !bytes.is_ascii() {
                text(bytes)?;
            }
            cells.append(bytes, bytes.len());
        }
        (kind, field, cells) => {
            cells.push(decode(kind, *field, zone)?)?;
        }
    }
    Ok(())
}

fn in_zone(local: i64, zone: Option<Tz>) -> Result<i64, Fault> {
    from_local(local, zone.ok_or(Fault::NoZone)?)
        .ok_or_else(|| Fault::value("the timestamp lies outside of the years that can be converted"))
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
    /// Days of a common year before each month.
    const BEFORE: [i32; 13] = [0, 31, 59, 90, 120, 151, 181, 212, 243, 273, 304, 334, 365];
    let years = i32::from(year) - 1; // since 0001-01-01
    let leaps = |years: i32| years.div_euclid(4) - years.div_euclid(100) + years.div_euclid(400);
    let is_leap = leaps(years + 1) > leaps(years);
    let months = usize::from(month).wrapping_sub(1);
    let length = BEFORE.get(months..).and_then(|from| Some(from.get(1)? - from.first()? + i32::from(is_leap && month == 2)));
    if !length.is_some_and(|length| (1..=length).contains(&i32::from(day))) {
        let shown = format!("{year:04}-{month:02}-{day:02}");
        return Err(Fault::value(format!("the date is {shown}, which no calendar has")).found(shown));
    }
    let in_year = BEFORE[months] + i32::from(is_leap && month > 2) + i32::from(day);
    Ok(years * 365 + leaps(years) + in_year - EPOCH_DAYS_FROM_CE)
}

/// The server sends exactly the column's digits behind the point, so up to 18 digits can be taken as they come.
fn decimal(bytes: &[u8], precision: u8, scale: i8) -> Result<i128, Fault> {
    if let Some(unscaled) = short_decimal(bytes, usize::from(scale.unsigned_abs())) {
        return Ok(unscaled.into());
    }
    let text = text(bytes)?;
    decimal_unscaled(text, precision, scale)
        .ok_or_else(|| Fault::value(format!("the number does not fit decimal({precision},{scale}) exactly")).found(text))
}

fn short_decimal(bytes: &[u8], scale: usize) -> Option<i64> {
    let (is_negative, digits) = match bytes {
        [b'-', rest @ ..] => (true, rest),
        rest => (false, rest),
    };
    let (whole, fraction) = match digits.split_at_checked(digits.len().checked_sub(scale)?)? {
        ([whole @ .., b'.'], fraction) if scale > 0 => (whole, fraction),
        (whole, []) => (whole, &[][..]),
        _ => return None,
    };
    if !(1..=18).contains(&(whole.len() + fraction.len())) {
        return None;
    }
    let digit = |sum: i64, byte: &u8| byte.is_ascii_digit().then(|| sum * 10 + i64::from(byte - b'0'));
    let unscaled = fraction.iter().try_fold(whole.iter().try_fold(0, digit)?, digit)?;
    Some(if is_negative { -unscaled } else { unscaled })
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
        fn dates_are_those_of_the_calendar(year in 0_u16..=9_999, month in 0_u8..15, day in 0_u8..34) {
            let known = NaiveDate::from_ymd_opt(year.into(), month.into(), day.into());
            prop_assert_eq!(date(year, month, day).ok(), known.map(|date| date.num_days_from_ce() - EPOCH_DAYS_FROM_CE));
        }

        /// The fast way and the slow way agree, and neither panics.
        #[test]
        fn filling_is_decoding(text in "-?[0-9]{0,20}[.]?[0-9]{0,3}|.{0,9}", int in any::<i64>(), day in (0_u16..3_000, 0_u8..14, 0_u8..33, 0_u8..2)) {
            let zone = Some(chrono_tz::Europe::Berlin);
            let fields = [Field::Bytes(text.as_bytes()), Field::Int(int), Field::Int(int % 9), Field::Date(day.0, day.1, day.2, day.3, 0, 0, 0)];
            for kind in [Kind::Int4, Kind::Int8, Kind::Decimal { precision: 18, scale: 2 }, Kind::Decimal { precision: 30, scale: 0 }, Kind::Date,
                Kind::Timestamp, Kind::Text, Kind::Bytes] {
                for field in fields {
                    let type_of = kind.data_type();
                    let json = |scalar: &Scalar<'_>| crate::connect::value::scalar_json(scalar, scale_of(&type_of));
                    let mut cells = Cells::new(&type_of, 0, 0);
                    let filled = fill(kind, &field, zone, &mut cells);
                    let filled = filled.map(|()| crate::connect::cell_json(&cells.finish(&type_of, 0).unwrap(), 0));
                    let decoded = decode(kind, field, zone).and_then(|scalar| {
                        let mut cells = Cells::new(&type_of, 0, 0);
                        cells.push(scalar.clone())?; // an integer may be too long for its column
                        Ok(json(&scalar.unwrap()))
                    });
                    prop_assert_eq!(filled, decoded, "{:?} {:?}", kind, field);
                }
            }
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
