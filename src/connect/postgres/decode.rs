//! Single values in PostgreSQL's binary form.

use chrono_tz::Tz;

use super::catalog::Kind;
use crate::connect::cells::Fault;
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
        Kind::PaddedText => Scalar::Text(text(bytes)?.trim_end_matches(' ').into()),
        Kind::Numeric { precision, scale } => Scalar::Decimal(numeric(bytes, precision, scale)?),
        Kind::Date => Scalar::Date(date(i32::from_be_bytes(fixed(bytes)?))?),
        Kind::TimestampTz => Scalar::Instant(timestamp(i64::from_be_bytes(fixed(bytes)?))?),
        Kind::Timestamp => {
            let local = timestamp(i64::from_be_bytes(fixed(bytes)?))?;
            let instant = from_local(local, zone.ok_or(Fault::NoZone)?);
            Scalar::Instant(instant.ok_or_else(|| Fault::value("the timestamp lies outside of the years that can be converted"))?)
        }
        Kind::Bytes => Scalar::Bytes(bytes.into()),
    };
    Ok(Some(scalar))
}

fn fixed<const N: usize>(bytes: &[u8]) -> Result<[u8; N], Fault> {
    bytes.try_into().map_err(|_| Fault::Shape)
}

fn text(bytes: &[u8]) -> Result<&str, Fault> {
    std::str::from_utf8(bytes)
        .map_err(|error| Fault::value(format!("the text is not valid UTF-8 (byte {})", error.valid_up_to())))
}

fn date(days: i32) -> Result<i32, Fault> {
    match days {
        i32::MAX | i32::MIN => Err(Fault::value("the date is infinity, which tables cannot hold")),
        days => days.checked_add(EPOCH_DAYS).ok_or(Fault::Shape),
    }
}

fn timestamp(micros: i64) -> Result<i64, Fault> {
    match micros {
        i64::MAX | i64::MIN => Err(Fault::value("the timestamp is infinity, which tables cannot hold")),
        micros => micros
            .checked_add(EPOCH_MICROS)
            .ok_or_else(|| Fault::value("the timestamp lies outside of the years that tables can hold")),
    }
}

/// A numeric is a count of base-10,000 digits, the weight of the first (as a power of 10,000), a sign, a display scale, then the digits.
fn numeric(bytes: &[u8], precision: u8, scale: i8) -> Result<i128, Fault> {
    const NEGATIVE: u16 = 0x4000;
    let word =
        |at: usize| bytes.get(at..at + 2).and_then(|word| word.try_into().ok()).map(u16::from_be_bytes).ok_or(Fault::Shape);
    let (count, weight, sign) = (word(0)?, word(2)?.cast_signed(), word(4)?);
    let digits = bytes.get(8..).filter(|digits| digits.len() == usize::from(count) * 2).ok_or(Fault::Shape)?;
    match sign {
        0 | NEGATIVE => {}
        0xC000 => return Err(Fault::value("the number is NaN, which a decimal cannot hold")),
        0xD000 | 0xF000 => return Err(Fault::value("the number is infinity, which a decimal cannot hold")),
        _ => return Err(Fault::Shape),
    }
    let unscaled = digits
        .chunks_exact(2)
        .try_fold(0_i128, |sum, digit| sum.checked_mul(10_000)?.checked_add(u16::from_be_bytes([digit[0], digit[1]]).into()));
    let last_power = (i32::from(weight) - i32::from(count) + 1) * 4;
    let unscaled = unscaled
        .and_then(|unscaled| shift(unscaled, last_power + i32::from(scale)))
        .filter(|unscaled| fits(*unscaled, precision));
    match unscaled {
        Some(unscaled) if sign == NEGATIVE => Ok(-unscaled),
        Some(unscaled) => Ok(unscaled),
        None => Err(Fault::value(format!(
            "the number does not fit decimal({precision},{scale}) exactly; declare the column's digits in the source"
        ))),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

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
        let weight = i16::try_from(digits.len()).unwrap() - fraction_digits - 1;
        let words = [u16::try_from(digits.len()).unwrap(), weight.cast_unsigned(), if unscaled < 0 { 0x4000 } else { 0 }, 0];
        words.into_iter().chain(digits).flat_map(u16::to_be_bytes).collect()
    }

    proptest! {
        #[test]
        fn numerics_decode_exactly(unscaled in -10_i128.pow(30)..10_i128.pow(30), scale in 0_u32..20) {
            prop_assert_eq!(numeric(&encoded(unscaled, scale), 38, i8::try_from(scale).unwrap()), Ok(unscaled));
        }

        #[test]
        fn no_bytes_panic(bytes in prop::collection::vec(any::<u8>(), 0..40)) {
            for kind in [Kind::Boolean, Kind::Int8, Kind::Text, Kind::Numeric { precision: 18, scale: 2 }, Kind::Date, Kind::Timestamp, Kind::TimestampTz] {
                let _ = decode(kind, Some(&bytes), Some(chrono_tz::Europe::Berlin));
            }
        }
    }

    #[test]
    fn what_does_not_fit_is_refused() {
        assert_eq!(
            numeric(&encoded(12_345, 3), 5, 2),
            Err(Fault::value("the number does not fit decimal(5,2) exactly; declare the column's digits in the source"))
        );
        assert_eq!(numeric(&encoded(12_340, 3), 5, 2), Ok(1_234));
        assert_eq!(
            numeric(&[0, 0, 0, 0, 0xC0, 0, 0, 0], 5, 2),
            Err(Fault::value("the number is NaN, which a decimal cannot hold"))
        );
        assert_eq!(timestamp(i64::MAX), Err(Fault::value("the timestamp is infinity, which tables cannot hold")));
        assert_eq!(decode(Kind::Int4, Some(&[0; 8]), None), Err(Fault::Shape));
    }
}
