//! In which form a column writes its instants as text.

use chrono::DateTime;
use chrono_tz::Tz;

use crate::connect::instant::{instant_text, local_text, to_local};

/// How the other values of a column look; what is written looks the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct InstantForm {
    separator: char,
    fraction_digits: usize,
    zone: ZoneForm,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum ZoneForm {
    /// Local time in the system's zone.
    Local(Tz),
    /// UTC, marked by this suffix.
    Utc(&'static str),
}

impl InstantForm {
    /// The form of `sample`, a value of the column; without one, local time where the system has a zone, UTC otherwise.
    pub(super) fn of(sample: Option<&str>, zone: Option<Tz>) -> Self {
        let (separator, default_zone) = match zone {
            Some(zone) => (' ', ZoneForm::Local(zone)),
            None => ('T', ZoneForm::Utc("Z")),
        };
        let Some((_, time)) = sample.and_then(|sample| sample.split_at_checked(10)).filter(|(_, time)| !time.is_empty()) else {
            return Self { separator, fraction_digits: 0, zone: default_zone };
        };
        let fraction = time.split_once('.').map_or("", |(_, fraction)| fraction);
        let fraction_digits = fraction.bytes().take_while(u8::is_ascii_digit).count().min(6);
        let separator = if time.starts_with('T') { 'T' } else { ' ' };
        let zone = if time.ends_with('Z') {
            ZoneForm::Utc("Z")
        } else if time.contains(['+', '-']) {
            ZoneForm::Utc("+00:00")
        } else {
            default_zone
        };
        Self { separator, fraction_digits, zone }
    }

    /// The text of an instant, or why there is none.
    pub(super) fn write(self, micros: i64) -> Result<String, String> {
        let shown = || instant_text(micros).unwrap_or_else(|| micros.to_string());
        match self.zone {
            ZoneForm::Local(zone) => to_local(micros, zone)
                .map(|local| local_text(local, self.separator, self.fraction_digits))
                .ok_or_else(|| format!("{} has no local time of its own in {zone}: the clocks show it twice", shown())),
            ZoneForm::Utc(suffix) => DateTime::from_timestamp_micros(micros)
                .map(|utc| local_text(utc.naive_utc(), self.separator, self.fraction_digits) + suffix)
                .ok_or_else(|| format!("{} is no instant of this calendar", shown())),
        }
    }
}

#[cfg(test)]
mod tests {
    use chrono_tz::Europe::Berlin;

    use super::*;

    #[test]
    fn writes_as_the_column_does() {
        let micros = 1_782_900_000_000_000; // 2026-07-01T10:00:00Z
        let written = |sample, zone| InstantForm::of(sample, zone).write(micros).unwrap();
        assert_eq!(written(None, Some(Berlin)), "2026-07-01 12:00:00");
        assert_eq!(written(None, None), "2026-07-01T10:00:00Z");
        assert_eq!(written(Some("2026-01-01T00:00:00.000"), Some(Berlin)), "2026-07-01T12:00:00.000");
        assert_eq!(written(Some("2026-01-01 00:00:00+02:00"), Some(Berlin)), "2026-07-01 10:00:00+00:00");
        assert_eq!(written(Some("2026-01-01T00:00:00.000000Z"), Some(Berlin)), "2026-07-01T10:00:00.000000Z");
        assert_eq!(written(Some("2026-01-01"), Some(Berlin)), "2026-07-01 12:00:00");
    }

    #[test]
    fn an_instant_that_local_time_cannot_tell_is_refused() {
        let second_pass = 1_792_891_800_000_000; // 2026-10-25T01:30:00Z, the second 02:30 in Berlin
        let reason = InstantForm::of(None, Some(Berlin)).write(second_pass).unwrap_err();
        assert_eq!(reason, "2026-10-25T01:30:00Z has no local time of its own in Europe/Berlin: the clocks show it twice");
    }
}
