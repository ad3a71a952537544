//! Single values in PostgreSQL's binary form: [`decode`] for one, [`fill`] for the many of a reading.

use arrow::array::ArrowPrimitiveType;
use chrono_tz::Tz;

use super::catalog::Kind;
use super::copy::Field;
use crate::connect::cells::{Cells, Fault, Numbers, Texts, text};
use crate::connect::chosen;
use crate::connect::instant::from_local;
use crate::connect::value::{Scalar, fits, shift};

/// 2000-01-01, the server's epoch, in days and microseconds since 1970-01-01.
const EPOCH_DAYS: i32 = 10_957;
const EPOCH_MICROS: i64 = 946_684_800_000_000;

/// Reads one value; `None` is null. `zone` is that of timestamps without one.
pub(super) fn decode(kind: Kind, bytes: Option<&[u8]>, zone: Option<Tz>) -> Result<Option<Scalar<'_>>, Fault> {
    let Some(bytes) = bytes else { return Ok(None) };
    let scalar = match kind {
        Kind::Boolean => Scalar::Boolean(fixed::<1>(bytes)? != [0]),
        Kind::Int2 => Scalar::Integer(i16::from_be_bytes(fixed(bytes)?).into()),
        Kind::Int4 => Scalar::Integer(i32::from_be_bytes(fixed(bytes)?).into()),
        Kind::Int8 => Scalar::Integer(i64::from_be_bytes(fixed(bytes)?)),
        Kind::Float4 => Scalar::Double(f32::from_be_bytes(fixed(bytes)?).into()),
        Kind::Float8 => Scalar::Double(f64::from_be_bytes(fixed(bytes)?)),
        Kind::Text | Kind::TextCast | Kind::Json => Scalar::Text(text(bytes)?.into()),
        Kind::PaddedText => Scalar::Text(text(unpadded(bytes))?.into()),
        Kind::Numeric { precision, scale } => Scalar::Decimal(numeric(bytes, precision, scale)?),
        Kind::Date => Scalar::Date(date(i32::from_be_bytes(fixed(bytes)?))?),
        Kind::TimestampTz => Scalar::Instant(timestamp(i64::from_be_bytes(fixed(bytes)?))?),
        Kind::Timestamp => Scalar::Instant(local(i64::from_be_bytes(fixed(bytes)?), zone)?),
        Kind::Bytes => Scalar::Bytes(bytes.into()),
        Kind::Chosen(choice) => chosen::read(text(bytes)?, choice, zone)?,
    };
    Ok(Some(scalar))
}

/// How far [`fill`] went.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Filled {
    All,
    /// A null was met; it is taken, and the caller appends it.
    UpToNull,
}

/// Appends values to their column: what [`decode`] gives, without the step in between for the types that most columns have. On a fault its value
/// is taken and nothing appended.
pub(super) fn fill<'a>(
    kind: Kind,
    fields: &mut (impl Iterator<Item = Option<Field<'a>>> + Clone),
    zone: Option<Tz>,
    cells: &mut Cells,
) -> Result<Filled, Fault> {
    match (kind, cells) {
        (Kind::Int8, Cells::Int64(cells)) => numbers(fields, cells, |bytes| Ok(i64::from_be_bytes(fixed(bytes)?))),
        (Kind::Int4, Cells::Int32(cells)) => numbers(fields, cells, |bytes| Ok(i32::from_be_bytes(fixed(bytes)?))),
        (Kind::Numeric { precision, scale }, Cells::Decimal(cells)) => {
            numbers(fields, cells, |bytes| numeric(bytes, precision, scale))
        }
        (Kind::Date, Cells::Date(cells)) => numbers(fields, cells, |bytes| date(i32::from_be_bytes(fixed(bytes)?))),
        (Kind::TimestampTz, Cells::Instant(cells)) => {
            numbers(fields, cells, |bytes| timestamp(i64::from_be_bytes(fixed(bytes)?)))
        }
        (Kind::Float8, Cells::Float64(cells)) => numbers(fields, cells, |bytes| Ok(f64::from_be_bytes(fixed(bytes)?))),
        (Kind::Text | Kind::TextCast | Kind::Json, Cells::Utf8(cells)) => texts(fields, cells, |field| field.len),
        (Kind::PaddedText, Cells::Utf8(cells)) => texts(fields, cells, |field| unpadded(field.bytes()).len()),
        (kind, cells) => each(fields, |field| cells.push(decode(kind, Some(field.bytes()), zone)?).map(drop)),
    }
}

/// Appends values up to a null or a fault.
#[inline(always)]
fn each<'a>(
    fields: &mut impl Iterator<Item = Option<Field<'a>>>,
    mut append: impl FnMut(Field<'a>) -> Result<(), Fault>,
) -> Result<Filled, Fault> {
    for field in fields {
        match field {
            Some(field) => append(field)?,
            None => return Ok(Filled::UpToNull),
        }
    }
    Ok(Filled::All)
}

#[inline(always)]
fn numbers<'a, T: ArrowPrimitiveType>(
    fields: &mut impl Iterator<Item = Option<Field<'a>>>,
    cells: &mut Numbers<T>,
    read: impl Fn(&'a [u8]) -> Result<T::Native, Fault>,
) -> Result<Filled, Fault> {
    each(fields, |field| {
        cells.append(read(field.bytes())?);
        Ok(())
    })
}

/// Texts are looked at when all of them are appended: most are ASCII. `len`: of what is to be taken of a field.
#[inline(always)]
fn texts<'a>(
    fields: &mut (impl Iterator<Item = Option<Field<'a>>> + Clone),
    cells: &mut Texts,
    len: impl Fn(Field<'a>) -> usize,
) -> Result<Filled, Fault> {
    let (before, mark) = (fields.clone(), cells.mark());
    let filled = each(fields, |field| {
        cells.append(field.rest, len(field));
        Ok(())
    });
    if cells.are_texts(&mark) {
        return filled;
    }
    cells.go_back(mark);
    *fields = before;
    each(fields, |field| {
        let len = len(field);
        text(&field.rest[..len])?;
        cells.append(field.rest, len);
        Ok(())
    })
}

#[inline]
fn fixed<const N: usize>(bytes: &[u8]) -> Result<[u8; N], Fault> {
    bytes.try_into().map_err(|_| Fault::Shape)
}

/// `char(n)` without its padding.
#[inline]
fn unpadded(mut bytes: &[u8]) -> &[u8] {
    while let Some((rest, last)) = bytes.split_last_chunk::<8>() {
        let blanks = (u64::from_le_bytes(*last) ^ u64::from_le_bytes([b' '; 8])).leading_zeros() / 8;
        if blanks < 8 {
            return &bytes[..bytes.len() - blanks as usize];
        }
        bytes = rest;
    }
    while let [rest @ .., b' '] = bytes {
        bytes = rest;
    }
    bytes
}

fn date(days: i32) -> Result<i32, Fault> {
    match days {
        i32::MAX => Err(Fault::value("the date is infinity, which tables cannot hold").found("infinity")),
        i32::MIN => Err(Fault::value("the date is -infinity, which tables cannot hold").found("-infinity")),
        days => days.checked_add(EPOCH_DAYS).ok_or(Fault::Shape),
    }
}

fn timestamp(micros: i64) -> Result<i64, Fault> {
    match micros {
        i64::MAX => Err(Fault::value("the timestamp is infinity, which tables cannot hold").found("infinity")),
        i64::MIN => Err(Fault::value("the timestamp is -infinity, which tables cannot hold").found("-infinity")),
        micros => micros
            .checked_add(EPOCH_MICROS)
            .ok_or_else(|| Fault::value("the timestamp lies outside of the years that tables can hold")),
    }
}

/// A timestamp without zone, read in `zone`.
fn local(micros: i64, zone: Option<Tz>) -> Result<i64, Fault> {
    from_local(timestamp(micros)?, zone.ok_or(Fault::NoZone)?)
        .ok_or_else(|| Fault::value("the timestamp lies outside of the years that can be converted"))
}

/// A numeric is a count of base-10,000 digits, the weight of the first (as a power of 10,000), a sign, a display scale, then the digits.
#[inline]
fn numeric(bytes: &[u8], precision: u8, scale: i8) -> Result<i128, Fault> {
    match short_numeric(bytes, precision, scale) {
        Some(unscaled) => Ok(unscaled.into()),
        None => long_numeric(bytes, precision, scale),
    }
}

const NEGATIVE: u16 = 0x4000;

/// The usual case, in 64 bits: at most four digits, hardly to be shifted. `None`: not that, or a fault.
#[inline]
fn short_numeric(bytes: &[u8], precision: u8, scale: i8) -> Option<i64> {
    const POWERS: [u64; 19] = {
        let mut powers = [1; 19];
        let mut at = 1;
        while at < powers.len() {
            powers[at] = powers[at - 1] * 10;
            at += 1;
        }
        powers
    };
    let (head, digits) = bytes.split_first_chunk::<8>()?;
    let count = u16::from_be_bytes([head[0], head[1]]);
    let weight = u16::from_be_bytes([head[2], head[3]]).cast_signed();
    let sign = u16::from_be_bytes([head[4], head[5]]);
    if digits.len() != usize::from(count) * 2 || count > 4 || sign & !NEGATIVE != 0 {
        return None;
    }
    let mut sum = 0_u64; // below 10^16
    for digit in digits.chunks_exact(2) {
        sum = sum * 10_000 + u64::from(u16::from_be_bytes([digit[0], digit[1]]));
    }
    let power = (i32::from(weight) - i32::from(count) + 1) * 4 + i32::from(scale);
    let unscaled = match power {
        0..=2 => sum * POWERS[power.unsigned_abs() as usize],
        // The divisors are constants, so that none of this is a division.
        -1 if sum.is_multiple_of(10) => sum / 10,
        -2 if sum.is_multiple_of(100) => sum / 100,
        -3 if sum.is_multiple_of(1_000) => sum / 1_000,
        _ if sum == 0 => 0,
        _ => return None,
    };
    let limit = *POWERS.get(usize::from(precision)).unwrap_or(&POWERS[18]);
    let unscaled = (unscaled < limit).then(|| unscaled.cast_signed())?;
    Some(if sign == NEGATIVE { -unscaled } else { unscaled })
}

/// Any numeric.
#[cold]
fn long_numeric(bytes: &[u8], precision: u8, scale: i8) -> Result<i128, Fault> {
    let word =
        |at: usize| bytes.get(at..at + 2).and_then(|word| word.try_into().ok()).map(u16::from_be_bytes).ok_or(Fault::Shape);
    let (count, weight, sign) = (word(0)?, word(2)?.cast_signed(), word(4)?);
    let digits = bytes.get(8..).filter(|digits| digits.len() == usize::from(count) * 2).ok_or(Fault::Shape)?;
    match sign {
        0 | NEGATIVE => {}
        0xC000 => return Err(Fault::value("the number is NaN, which a decimal cannot hold").found("NaN")),
        0xD000 => return Err(Fault::value("the number is infinity, which a decimal cannot hold").found("Infinity")),
        0xF000 => return Err(Fault::value("the number is -infinity, which a decimal cannot hold").found("-Infinity")),
        _ => return Err(Fault::Shape),
    }
    let words = || digits.chunks_exact(2).map(|digit| u16::from_be_bytes([digit[0], digit[1]]));
    let unscaled = words().try_fold(0_i128, |sum, digit| sum.checked_mul(10_000)?.checked_add(digit.into()));
    let last_power = (i32::from(weight) - i32::from(count) + 1) * 4;
    let unscaled = unscaled
        .and_then(|unscaled| shift(unscaled, last_power + i32::from(scale)))
        .filter(|unscaled| fits(*unscaled, precision));
    match unscaled {
        Some(unscaled) if sign == NEGATIVE => Ok(-unscaled),
        Some(unscaled) => Ok(unscaled),
        None => {
            let what = format!(
                "the number does not fit decimal({precision},{scale}) exactly; declare the column's digits in the source"
            );
            let minus = if sign == NEGATIVE { "-" } else { "" };
            Err(Fault::value(what).found(format!("{minus}{}", plain(words(), weight))))
        }
    }
}

/// A numeric's text, without sign.
fn plain(mut digits: impl Iterator<Item = u16>, weight: i16) -> String {
    const WORDS_MAX: u16 = 64; // nobody reads more
    if weight.unsigned_abs() > WORDS_MAX {
        return format!("a number near 10^{}", i32::from(weight) * 4);
    }
    let whole: String = (0..=weight).map(|_| format!("{:04}", digits.next().unwrap_or(0))).collect();
    let zeros = "0000".repeat(usize::from((-1 - weight).max(0).unsigned_abs()));
    let fraction: String = digits.take(usize::from(WORDS_MAX)).map(|digit| format!("{digit:04}")).collect();
    let (whole, fraction) = (whole.trim_start_matches('0'), zeros + &fraction);
    let (whole, fraction) = (if whole.is_empty() { "0" } else { whole }, fraction.trim_end_matches('0'));
    if fraction.is_empty() { whole.to_owned() } else { format!("{whole}.{fraction}") }
}

#[cfg(test)]
mod tests {
    use arrow::array::AsArray;
    use arrow::datatypes::DataType;
    use proptest::prelude::*;

    use super::*;
    use crate::connect::value::decimal_text;

    const KINDS: [Kind; 15] = [
        Kind::Boolean,
        Kind::Int2,
        Kind::Int4,
        Kind::Int8,
        Kind::Float4,
        Kind::Float8,
        Kind::Text,
        Kind::PaddedText,
        Kind::Json,
        Kind::Numeric { precision: 18, scale: 2 },
        Kind::Numeric { precision: 38, scale: 10 },
        Kind::Date,
        Kind::Timestamp,
        Kind::TimestampTz,
        Kind::Bytes,
    ];

    /// The server's form of `unscaled / 10^scale`, made the slow way.
    fn encoded(unscaled: i128, scale: u32) -> Vec<u8> {
        let pad = (4 - scale % 4) % 4;
        let mut rest = unscaled.unsigned_abs() * 10_u128.pow(pad);
        let mut digits = Vec::new();
        while rest > 0 {
            digits.insert(0, u16::try_from(rest % 10_000).unwrap());
            rest /= 10_000;
        }
        let fraction_digits = i16::try_from((scale + pad) / 4).unwrap();
        let mut weight = i16::try_from(digits.len()).unwrap() - fraction_digits - 1;
        while digits.last() == Some(&0) {
            digits.pop(); // the server keeps no zeros at the end
        }
        if digits.is_empty() {
            weight = 0;
        }
        let words = [u16::try_from(digits.len()).unwrap(), weight.cast_unsigned(), if unscaled < 0 { 0x4000 } else { 0 }, 0];
        words.into_iter().chain(digits).flat_map(u16::to_be_bytes).collect()
    }

    /// What a column holds after one value, or the fault. `after`: what else was received.
    fn filled(kind: Kind, bytes: &[u8], after: &[u8], zone: Option<Tz>) -> Result<serde_json::Value, Fault> {
        let mut cells = Cells::new(&kind.data_type(), 0, 0);
        let rest = [bytes, after].concat();
        let mut fields = [Some(Field { rest: &rest, len: bytes.len() }), None].into_iter();
        assert_eq!(fill(kind, &mut fields, zone, &mut cells)?, Filled::UpToNull);
        Ok(crate::connect::cell_json(&cells.finish(&kind.data_type(), 0).unwrap(), 0))
    }

    proptest! {
        #[test]
        fn numerics_decode_exactly(unscaled in -10_i128.pow(30)..10_i128.pow(30), small in -100_000_000_000_i128..100_000_000_000, scale in 0_u32..20) {
            for unscaled in [unscaled, small, small / 1_000 * 1_000, small % 100] {
                let bytes = encoded(unscaled, scale);
                let exact = i8::try_from(scale).unwrap();
                prop_assert_eq!(numeric(&bytes, 38, exact), Ok(unscaled));
                prop_assert_eq!(numeric(&bytes, 38, exact + 2), Ok(unscaled * 100));
                for scale in -3..12 {
                    prop_assert_eq!(numeric(&bytes, 9, scale), long_numeric(&bytes, 9, scale));
                }
            }
        }

        #[test]
        fn a_refused_numeric_shows_itself(unscaled in -10_i128.pow(30)..10_i128.pow(30), scale in 0_u32..20) {
            if let Err(Fault::Value { found, .. }) = numeric(&encoded(unscaled, scale), 3, 1) {
                prop_assert_eq!(found, Some(decimal_text(unscaled, i8::try_from(scale).unwrap())));
            }
        }

        /// The fast way and the slow way agree on any bytes, and none panics.
        #[test]
        fn filling_is_decoding(bytes in prop::collection::vec(any::<u8>(), 0..20), text in "[ -~]{0,40} {0,20}|.{0,12}", after in prop::collection::vec(any::<u8>(), 0..40)) {
            let zone = Some(chrono_tz::Europe::Berlin);
            for kind in KINDS {
                for bytes in [bytes.as_slice(), bytes.get(..8).unwrap_or_default(), bytes.get(..4).unwrap_or_default(), text.as_bytes()] {
                    let json = |scalar: &Scalar<'_>| {
                        crate::connect::value::scalar_json(scalar, crate::connect::value::scale_of(&kind.data_type()))
                    };
                    let decoded = decode(kind, Some(bytes), zone).map(|scalar| json(&scalar.unwrap()));
                    prop_assert_eq!(filled(kind, bytes, &after, zone), decoded, "{:?}", kind);
                }
            }
        }
    }

    proptest! {
        /// However many values are appended together: nulls, texts of any length and bytes that are none come out one by one.
        #[test]
        fn texts_come_one_by_one(values in prop::collection::vec(prop::option::of(prop_oneof![
            "[ -~]{0,80}".prop_map(String::into_bytes),
            ".{0,9}".prop_map(String::into_bytes),
            prop::collection::vec(any::<u8>(), 0..9),
        ]), 0..30)) {
            let texts: Vec<Option<&str>> = values.iter().map(|value| std::str::from_utf8(value.as_deref()?).ok()).collect();
            // What follows a value is no part of it.
            let block: Vec<_> = values.iter().map(|value| value.as_ref().map(|value| [value.as_slice(), &[0xff; 70]].concat())).collect();
            let mut fields = block.iter().map(|rest| rest.as_ref().map(|rest| Field { rest, len: rest.len() - 70 }));
            let (mut cells, mut refused) = (Cells::new(&DataType::Utf8, 0, 0), 0);
            loop {
                match fill(Kind::Text, &mut fields, None, &mut cells) {
                    Ok(Filled::All) => break,
                    Ok(Filled::UpToNull) => {}
                    Err(_) => refused += 1,
                }
                cells.push_null();
            }
            prop_assert_eq!(refused, values.iter().zip(&texts).filter(|(value, text)| value.is_some() && text.is_none()).count());
            let column = cells.finish(&DataType::Utf8, 0).unwrap();
            prop_assert_eq!(column.as_string::<i32>().iter().collect::<Vec<_>>(), texts);
        }
    }

    #[test]
    fn what_does_not_fit_is_refused() {
        let what = |result: Result<i128, Fault>| result.unwrap_err().describe().to_owned();
        assert_eq!(
            what(numeric(&encoded(12_345, 3), 5, 2)),
            "the number does not fit decimal(5,2) exactly; declare the column's digits in the source"
        );
        assert_eq!(numeric(&encoded(12_340, 3), 5, 2), Ok(1_234));
        assert_eq!(what(numeric(&[0, 0, 0, 0, 0xC0, 0, 0, 0], 5, 2)), "the number is NaN, which a decimal cannot hold");
        assert_eq!(timestamp(i64::MAX).unwrap_err().describe(), "the timestamp is infinity, which tables cannot hold");
        assert_eq!(decode(Kind::Int4, Some(&[0; 8]), None), Err(Fault::Shape));
    }
}
