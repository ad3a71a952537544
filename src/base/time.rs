//! Instants and durations. Every instant in the hub is UTC with microseconds.

use std::time::Duration;

use chrono::{DateTime, SubsecRound, Utc};

/// An instant in UTC, at most microseconds precise.
pub type Instant = DateTime<Utc>;

/// The wall clock, cut to microseconds. Only orchestration calls this: decisions see the run's `as_of` instead.
pub fn now() -> Instant {
    Utc::now().trunc_subsecs(6)
}

/// How long ago `at` was. An instant that lies ahead was noted before the clock was set back: how far it lies ahead is the least that is known of its
/// age, and what waits for something to become old never waits for ever.
pub fn age(at: Instant, now: Instant) -> Duration {
    now.signed_duration_since(at).abs().to_std().unwrap_or_default()
}

/// A duration of whole seconds as [`parse_duration`] reads it, in the largest unit that needs no fraction.
pub fn duration_text(duration: Duration) -> String {
    let seconds = duration.as_secs();
    let unit =
        [(86_400, 'd'), (3_600, 'h'), (60, 'm')].into_iter().find(|(unit, _)| seconds > 0 && seconds.is_multiple_of(*unit));
    let (unit, letter) = unit.unwrap_or((1, 's'));
    format!("{}{letter}", seconds / unit)
}

/// Reads a duration as users write it: a whole number and one of `s`, `m`, `h`, `d`, e.g. `5m`, `400d`.
pub fn parse_duration(text: &str) -> Result<Duration, String> {
    let refuse = || format!("\"{text}\" is not a duration (a whole number and s, m, h or d: 30s, 5m, 2h, 1d)");
    let unit = text.chars().last().ok_or_else(refuse)?;
    let seconds = match unit {
        's' => 1,
        'm' => 60,
        'h' => 3_600,
        'd' => 86_400,
        _ => return Err(refuse()),
    };
    let count: u64 = text[..text.len() - 1].parse().map_err(|_| refuse())?;
    count.checked_mul(seconds).map(Duration::from_secs).ok_or_else(refuse)
}
