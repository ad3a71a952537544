//! Dates and instants as text, and local time in a zone.
//!
//! Local time is not always an instant: where a clock change repeats an hour, the first pass is meant; where it skips one, the time is
//! shifted forward by the gap (02:30 that does not exist is 03:30). Both are what PostgreSQL and most applications do.

use std::fmt::Write;

use chrono::{DateTime, Datelike, Days, NaiveDate, NaiveDateTime, Offset, TimeDelta, TimeZone, Timelike};
use chrono_tz::Tz;

/// 1970-01-01 in chrono's count of days from 0001-01-01.
const EPOCH_DAYS_FROM_CE: i32 = 719_163;
const MICROS_PER_SECOND: i64 = 1_000_000;
const SECONDS_PER_DAY: i64 = 86_400;

/// A point in time as text gives it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Moment {
    /// The clock's reading as microseconds since 1970-01-01T00:00:00 on that clock.
    pub(super) local_micros: i64,
    /// Seconds east of UTC, where the text says so.
    pub(super) offset_seconds: Option<i32>,
}

impl Moment {
    /// Microseconds since the epoch; `None` without an offset.
    pub(super) fn instant(self) -> Option<i64> {
        let offset_micros = i64::from(self.offset_seconds?) * MICROS_PER_SECOND;
        self.local_micros.checked_sub(offset_micros)
    }
}

/// `YYYY-MM-DDTHH:MM:SS[.ffffff]Z`; `None` outside of chrono's years (about ±262,000).
pub(super) fn instant_text(micros: i64) -> Option<String> {
    let utc = DateTime::from_timestamp_micros(micros)?.naive_utc();
    let mut text = local_text(utc, 'T', 0);
    text.push('Z');
    Some(text)
}

/// `YYYY-MM-DD`, `separator`, `HH:MM:SS[.ffffff]`, with at least `fraction_digits` after the point (0 or 1 to 6).
pub(super) fn local_text(local: NaiveDateTime, separator: char, fraction_digits: usize) -> String {
    let mut text = format!("{}{separator}{}", local.format("%Y-%m-%d"), local.format("%H:%M:%S"));
    let micros = local.nanosecond() / 1_000;
    if micros != 0 || fraction_digits > 0 {
        let digits =
            if micros.is_multiple_of(10_u32.pow(6 - fraction_digits.min(6) as u32)) { fraction_digits.min(6) } else { 6 };
        let fraction = format!("{micros:06}");
        let _infallible = write!(text, ".{}", &fraction[..digits]);
    }
    text
}

/// `YYYY-MM-DD`; `None` outside of chrono's years.
pub(super) fn date_text(days: i32) -> Option<String> {
    let date = NaiveDate::from_num_days_from_ce_opt(days.checked_add(EPOCH_DAYS_FROM_CE)?)?;
    Some(date.format("%Y-%m-%d").to_string())
}

/// Days since 1970-01-01 of `YYYY-MM-DD`.
pub(super) fn parse_date(text: &str) -> Option<i32> {
    let mut rest = Text(text.as_bytes());
    let days = rest.date()?;
    rest.0.is_empty().then_some(days)
}

/// Reads ISO 8601 text: a date, or a date and a time (`T` or a blank between), seconds and fraction optional, then `Z`, an offset or nothing.
/// Digits behind the microseconds are cut.
pub(super) fn parse_moment(text: &str) -> Option<Moment> {
    let mut rest = Text(text.as_bytes());
    let days = rest.date()?;
    let mut micros = i64::from(days).checked_mul(SECONDS_PER_DAY * MICROS_PER_SECOND)?;
    let mut offset_seconds = None;
    if rest.skip(b'T') || rest.skip(b' ') {
        micros = micros.checked_add(rest.time_micros()?)?;
        offset_seconds = rest.offset()?;
    }
    rest.0.is_empty().then_some(Moment { local_micros: micros, offset_seconds })
}

/// What is left of a text that is being read.
struct Text<'a>(&'a [u8]);

impl Text<'_> {
    fn skip(&mut self, byte: u8) -> bool {
        match self.0.split_first() {
            Some((first, rest)) if *first == byte => {
                self.0 = rest;
                true
            }
            _ => false,
        }
    }

    /// Exactly `count` digits.
    fn number(&mut self, count: usize) -> Option<u32> {
        let (digits, rest) = self.0.split_at_checked(count)?;
        let number =
            digits.iter().try_fold(0_u32, |sum, byte| byte.is_ascii_digit().then(|| sum * 10 + u32::from(byte - b'0')))?;
        self.0 = rest;
        Some(number)
    }

    /// A year has four digits, or a sign and four to six.
    fn year(&mut self) -> Option<i32> {
        let negative = self.0.first() == Some(&b'-');
        let signed = self.skip(b'-') || self.skip(b'+');
        let digits = self.0.iter().take_while(|byte| byte.is_ascii_digit()).count();
        let digits = if signed { digits.clamp(4, 6) } else { 4 };
        let year = i32::try_from(self.number(digits)?).ok()?;
        Some(if negative { -year } else { year })
    }

    fn date(&mut self) -> Option<i32> {
        let year = self.year()?;
        let month = self.skip(b'-').then(|| self.number(2)).flatten()?;
        let day = self.skip(b'-').then(|| self.number(2)).flatten()?;
        NaiveDate::from_ymd_opt(year, month, day)?.num_days_from_ce().checked_sub(EPOCH_DAYS_FROM_CE)
    }

    fn time_micros(&mut self) -> Option<i64> {
        let hour = self.number(2).filter(|hour| *hour < 24)?;
        let minute = self.skip(b':').then(|| self.number(2)).flatten().filter(|minute| *minute < 60)?;
        let mut micros = i64::from(hour * 3_600 + minute * 60) * MICROS_PER_SECOND;
        if self.skip(b':') {
            micros += i64::from(self.number(2).filter(|second| *second < 60)?) * MICROS_PER_SECOND;
            if self.skip(b'.') {
                micros += self.fraction_micros()?;
            }
        }
        Some(micros)
    }

    fn fraction_micros(&mut self) -> Option<i64> {
        let digits = self.0.iter().take_while(|byte| byte.is_ascii_digit()).count();
        if digits == 0 {
            return None;
        }
        let micros = (0..6).fold(0, |sum, at| sum * 10 + if at < digits { i64::from(self.0[at] - b'0') } else { 0 });
        self.0 = &self.0[digits..];
        Some(micros)
    }

    /// `Some(None)`: the text ends without an offset. `None`: something else follows.
    fn offset(&mut self) -> Option<Option<i32>> {
        self.skip(b' ');
        if self.0.is_empty() {
            return Some(None);
        }
        if self.skip(b'Z') {
            return Some(Some(0));
        }
        let sign = if self.skip(b'+') {
            1
        } else if self.skip(b'-') {
            -1
        } else {
            return None;
        };
        let hours = self.number(2).filter(|hours| *hours <= 18)?;
        let minutes = if self.skip(b':') || !self.0.is_empty() { self.number(2).filter(|minutes| *minutes < 60)? } else { 0 };
        i32::try_from(hours * 3_600 + minutes * 60).ok().map(|seconds| Some(sign * seconds))
    }
}

/// The instant at which the clocks of `zone` show `local_micros`; see the module for clock changes. `None` outside of chrono's years.
pub(super) fn from_local(local_micros: i64, zone: Tz) -> Option<i64> {
    if zone == Tz::UTC {
        return Some(local_micros);
    }
    let local = DateTime::from_timestamp_micros(local_micros)?.naive_utc();
    if let Some(instant) = zone.from_local_datetime(&local).earliest() {
        return Some(instant.timestamp_micros());
    }
    let offset_seconds = offset_before_gap(local, zone)?;
    local_micros.checked_sub(i64::from(offset_seconds) * MICROS_PER_SECOND)
}

fn offset_before_gap(local: NaiveDateTime, zone: Tz) -> Option<i32> {
    const GAP_HOURS_MAX: i64 = 26; // the longest gap so far is a whole day (Samoa, 2011)
    (1..=GAP_HOURS_MAX).find_map(|hours| {
        let before = local.checked_sub_signed(TimeDelta::hours(hours))?;
        zone.offset_from_local_datetime(&before).latest().map(|offset| offset.fix().local_minus_utc())
    })
}

/// What the clocks of `zone` show at an instant, if reading that back gives the instant again: the second pass of a repeated hour does not.
pub(super) fn to_local(micros: i64, zone: Tz) -> Option<NaiveDateTime> {
    let local = local_at(micros, zone)?;
    (from_local(local.and_utc().timestamp_micros(), zone) == Some(micros)).then_some(local)
}

fn local_at(micros: i64, zone: Tz) -> Option<NaiveDateTime> {
    let utc = DateTime::from_timestamp_micros(micros)?.naive_utc();
    utc.checked_add_offset(zone.offset_from_utc_datetime(&utc).fix())
}

/// A local time such that every local time whose instant is at or after `micros` is at or after it. Clock changes disturb the order of
/// local times, so near one this is earlier than need be.
pub(super) fn local_floor(micros: i64, zone: Tz) -> Option<NaiveDateTime> {
    let yesterday = local_at(micros.checked_sub(SECONDS_PER_DAY * MICROS_PER_SECOND)?, zone)?;
    let tomorrow = local_at(micros.checked_add(SECONDS_PER_DAY * MICROS_PER_SECOND)?, zone)?;
    let exact = local_at(micros, zone)?;
    let quiet = yesterday.checked_add_days(Days::new(1)) == Some(exact) && exact.checked_add_days(Days::new(1)) == Some(tomorrow);
    if quiet { Some(exact) } else { Some(yesterday) }
}

#[cfg(test)]
mod tests {
    use chrono_tz::Europe::Berlin;
    use proptest::prelude::*;

    use super::*;

    fn berlin(text: &str) -> String {
        let moment = parse_moment(text).unwrap();
        instant_text(from_local(moment.local_micros, Berlin).unwrap()).unwrap()
    }

    #[test]
    fn reads_iso_text_in_its_variants() {
        let reads = |text: &str| {
            parse_moment(text).map(|moment| {
                (
                    local_text(DateTime::from_timestamp_micros(moment.local_micros).unwrap().naive_utc(), 'T', 0),
                    moment.offset_seconds,
                )
            })
        };
        let time = |text: &str, offset| Some((text.to_owned(), offset));
        assert_eq!(reads("2026-11-23"), time("2026-11-23T00:00:00", None));
        assert_eq!(reads("2026-11-23 04:05"), time("2026-11-23T04:05:00", None));
        assert_eq!(reads("2026-11-23T04:05:06.7Z"), time("2026-11-23T04:05:06.700000", Some(0)));
        assert_eq!(reads("2026-11-23 04:05:06.1234567"), time("2026-11-23T04:05:06.123456", None));
        assert_eq!(reads("2026-11-23 04:05:06+02"), time("2026-11-23T04:05:06", Some(7_200)));
        assert_eq!(reads("2026-11-23 04:05:06 -0330"), time("2026-11-23T04:05:06", Some(-12_600)));
        for wrong in [
            "",
            "2026-11-23T",
            "2026-11-23 24:00:00",
            "2026-11-23 04:05:06.",
            "23.11.2026",
            "2026-11-23 04:05:06 CET",
            "2026-13-01",
            "20261123",
        ] {
            assert_eq!(reads(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn clock_changes_take_the_first_pass_and_skip_the_gap() {
        assert_eq!(berlin("2026-07-01 12:00:00"), "2026-07-01T10:00:00Z");
        assert_eq!(berlin("2026-10-25 02:30:00"), "2026-10-25T00:30:00Z", "02:30 comes twice");
        assert_eq!(berlin("2026-03-29 02:30:00"), "2026-03-29T01:30:00Z", "02:30 never comes: 03:30");
        let second_pass = parse_moment("2026-10-25T01:30:00Z").unwrap().instant().unwrap();
        assert_eq!(to_local(second_pass, Berlin), None);
    }

    #[test]
    fn fractions_keep_the_column_s_digits_unless_more_are_needed() {
        let local = DateTime::from_timestamp_micros(1_500_000).unwrap().naive_utc();
        assert_eq!(local_text(local, ' ', 3), "1970-01-01 00:00:01.500");
        assert_eq!(local_text(local, ' ', 0), "1970-01-01 00:00:01.500000");
        let precise = DateTime::from_timestamp_micros(1_500_001).unwrap().naive_utc();
        assert_eq!(local_text(precise, ' ', 3), "1970-01-01 00:00:01.500001");
    }

    proptest! {
        /// A cursor's lower bound misses no row, clock changes included.
        #[test]
        fn local_floor_is_a_floor(cursor in 1_700_000_000_000_000_i64..1_900_000_000_000_000, ahead in 0_i64..300_000_000_000) {
            let row_local = local_at(cursor + ahead, Berlin).unwrap();
            let row = from_local(row_local.and_utc().timestamp_micros(), Berlin).unwrap();
            if row >= cursor {
                prop_assert!(row_local >= local_floor(cursor, Berlin).unwrap());
            }
        }

        #[test]
        fn any_text_is_read_or_refused(text in "[-+0-9TZ:. ]{0,40}") {
            let _ = parse_moment(&text);
            let _ = parse_date(&text);
        }
    }
}
