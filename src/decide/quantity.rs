//! Quantities and days as decisions calculate with them: exact integers, no floats.

use std::fmt;

use chrono::NaiveDate;

use super::Context;

/// A quantity in millionths of the item's stock unit, i.e. the unscaled value of a `decimal(18,6)`.
pub type Micro = i128;

/// One stock unit.
pub const MICRO: Micro = 1_000_000;

/// The largest value of a `decimal(18,6)`. Products of two of them, and sums of 10^20 of them, fit an `i128`.
pub const QUANTITY_MAX: Micro = 999_999_999_999_999_999;

/// A day since 1970-01-01, as Arrow's `Date32`.
pub type Day = i32;

/// Days that a lead time or fence may have at most; more is a unit mistaken.
pub const DAYS_MAX: i64 = 100_000;

/// The run's day in UTC.
pub fn today(context: &Context) -> Day {
    context.as_of.date_naive().to_epoch_days()
}

/// Reads a lead time or a fence; the error says what is wrong with it.
pub fn days(what: &str, days: i64) -> Result<Day, String> {
    match Day::try_from(days) {
        Ok(fits) if (0..=DAYS_MAX).contains(&days) => Ok(fits),
        _ => Err(format!("{what} of {days} days is not between 0 and {DAYS_MAX}")),
    }
}

/// `total * per` in micro-units, rounded up to the next millionth: a requirement is never understated.
pub fn times(total: Micro, per: Micro) -> Micro {
    let product = total.saturating_mul(per);
    product.div_euclid(MICRO) + Micro::from(product.rem_euclid(MICRO) != 0)
}

/// The smallest multiple of `lot` that is at least `quantity`; both positive.
pub fn round_up(quantity: Micro, lot: Micro) -> Micro {
    let rest = quantity.rem_euclid(lot);
    if rest == 0 { quantity } else { quantity - rest + lot }
}

/// A quantity for people: `12`, `0.25`, `-3.5`.
pub struct Units(pub Micro);

impl fmt::Display for Units {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sign = if self.0 < 0 { "-" } else { "" };
        let micro = self.0.unsigned_abs();
        let (whole, fraction) = (micro / MICRO.unsigned_abs(), micro % MICRO.unsigned_abs());
        match fraction {
            0 => write!(f, "{sign}{whole}"),
            _ => write!(f, "{sign}{whole}.{}", format!("{fraction:06}").trim_end_matches('0')),
        }
    }
}

/// A day for people: `2026-11-30`.
pub struct Date(pub Day);

impl fmt::Display for Date {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match NaiveDate::from_epoch_days(self.0) {
            Some(date) => date.fmt(f),
            None => write!(f, "day {}", self.0),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantities_read_well() {
        for (micro, text) in [(0, "0"), (12 * MICRO, "12"), (250_000, "0.25"), (-3_500_000, "-3.5"), (1, "0.000001")] {
            assert_eq!(Units(micro).to_string(), text);
        }
        assert_eq!(Date(20_787).to_string(), "2026-11-30");
    }

    #[test]
    fn products_round_up() {
        assert_eq!(times(3 * MICRO, 2 * MICRO), 6 * MICRO);
        assert_eq!(times(1, 1), 1);
        assert_eq!(times(3, 500_000), 2);
        assert_eq!(round_up(101, 50), 150);
        assert_eq!(round_up(100, 50), 100);
    }

    #[test]
    fn lead_times_are_plausible() {
        assert_eq!(days("a lead time", 3), Ok(3));
        assert_eq!(days("a lead time", -1).unwrap_err(), "a lead time of -1 days is not between 0 and 100000");
    }
}
