//! When a cron line fires, in a time zone whose clock is set twice a year.
//!
//! A line that names hours and minutes fires once at each local time: one that the clock skips, at the first instant after the gap (several of them
//! together); one that comes twice, the first time. A line with a `*` or `*/n` in its second, minute or hour is an interval: it fires at every
//! instant whose local time matches, so it runs on through the hour that comes twice and knows nothing of the one that is skipped. That is what
//! Vixie cron does.

use std::str::FromStr;

use chrono::offset::LocalResult;
use chrono::{NaiveDateTime, Offset, TimeDelta, TimeZone, Utc};
use chrono_tz::Tz;

use crate::base::time::Instant;
use crate::pipeline::PipelineError;

/// No zone sets its clock twice within this time.
const STEADY: TimeDelta = TimeDelta::hours(12);

/// The first instant after `after` at which `cron` (six fields, seconds first) fires in `zone`; `None` if it never fires again.
pub fn next_due(cron: &str, zone: Tz, after: Instant) -> Result<Option<Instant>, PipelineError> {
    let schedule =
        cron::Schedule::from_str(cron).map_err(|error| PipelineError::Cron { cron: cron.into(), what: error.to_string() })?;
    let is_interval = cron.split_whitespace().take(3).any(|field| field.starts_with('*'));
    Ok(if is_interval { next_match(&schedule, zone, after) } else { next_once(&schedule, zone, after) })
}

/// Local times as if they were UTC; their first instants ascend with them.
fn next_once(schedule: &cron::Schedule, zone: Tz, after: Instant) -> Option<Instant> {
    let local = Utc.from_utc_datetime(&after.with_timezone(&zone).naive_local());
    schedule.after_owned(local).map(|local| first_instant(zone, local.naive_utc())).find(|due| *due > after)
}

/// The first instant at which clocks show `local`, or the end of the gap that it falls into.
fn first_instant(zone: Tz, local: NaiveDateTime) -> Instant {
    match zone.from_local_datetime(&local) {
        LocalResult::Single(at) | LocalResult::Ambiguous(at, _) => at.with_timezone(&Utc),
        LocalResult::None => {
            // No clock is further from UTC than a day, nor set by more than one.
            let near = Utc.from_utc_datetime(&local);
            next_change(zone, near - TimeDelta::hours(26), near + TimeDelta::hours(26)).unwrap_or(near)
        }
    }
}

/// Goes from one change of the zone's clock to the next; in between, it runs like any other.
fn next_match(schedule: &cron::Schedule, zone: Tz, after: Instant) -> Option<Instant> {
    let mut after = after;
    loop {
        let offset = after.with_timezone(&zone).offset().fix();
        let due = schedule.after_owned(after.with_timezone(&offset)).next().map(|due| due.with_timezone(&Utc))?;
        match next_change(zone, after, due) {
            None => return Some(due),
            // The instant of the change belongs to what comes after it; cron lines know whole seconds.
            Some(change) if schedule.includes(change.with_timezone(&zone)) => return Some(change),
            Some(change) => after = change,
        }
    }
}

/// The first instant after `from`, up to `until`, from which on the zone's clock is set otherwise than at `from`.
fn next_change(zone: Tz, from: Instant, until: Instant) -> Option<Instant> {
    let offset = |at: Instant| at.with_timezone(&zone).offset().fix();
    let mut before = from;
    while before < until {
        let mut change = (before + STEADY).min(until);
        if offset(change) != offset(before) {
            while change - before > TimeDelta::seconds(1) {
                let middle = before + TimeDelta::milliseconds((change - before).num_milliseconds() / 2);
                if offset(middle) == offset(before) { before = middle } else { change = middle }
            }
            return Some(Utc.timestamp_opt(change.timestamp(), 0).single().unwrap_or(change));
        }
        before = change;
    }
    None
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use chrono::{DateTime, Datelike, Timelike};
    use proptest::prelude::*;

    use super::*;

    fn check(cron: &str, zone: &str, after: &str, expected: &[&str]) {
        let mut at: Instant = after.parse().unwrap();
        for due in expected {
            at = next_due(cron, zone.parse().unwrap(), at).unwrap().unwrap();
            assert_eq!(at, due.parse::<Instant>().unwrap(), "{cron} in {zone}");
        }
    }

    #[test]
    fn schedules_follow_the_zone() {
        check("0 0 5 * * Mon-Fri", "Europe/Berlin", "2026-01-02T04:00:00Z", &["2026-01-05T04:00:00Z", "2026-01-06T04:00:00Z"]);
        check("0 0 5 * * *", "Europe/Berlin", "2026-07-01T00:00:00Z", &["2026-07-01T03:00:00Z"]);
        check("0 30 5,13,21 * * *", "UTC", "2026-07-01T13:30:00Z", &["2026-07-01T21:30:00Z", "2026-07-02T05:30:00Z"]);
        check("15 0 5 29 2 *", "Europe/Berlin", "2026-07-01T00:00:00Z", &["2028-02-29T04:00:15Z"]);
    }

    #[test]
    fn a_skipped_time_runs_right_after_the_gap() {
        // 2026-03-29: 02:00 becomes 03:00 in Berlin.
        let dues = ["2026-03-28T01:30:00Z", "2026-03-29T01:00:00Z", "2026-03-30T00:30:00Z"];
        check("0 30 2 * * *", "Europe/Berlin", "2026-03-27T12:00:00Z", &dues);
        check("0 7 2 * * *", "Europe/Berlin", "2026-03-28T12:00:00Z", &["2026-03-29T01:00:00Z", "2026-03-30T00:07:00Z"]);
        check("0 10,20 2 * * *", "Europe/Berlin", "2026-03-28T12:00:00Z", &["2026-03-29T01:00:00Z", "2026-03-30T00:10:00Z"]);
        // 2011-12-30 did not happen in Samoa.
        check("0 0 12 * * *", "Pacific/Apia", "2011-12-29T22:00:00Z", &["2011-12-30T10:00:00Z", "2011-12-30T22:00:00Z"]);
    }

    #[test]
    fn a_repeated_time_runs_once_and_an_interval_runs_on() {
        // 2026-10-25: 03:00 becomes 02:00 in Berlin.
        let dues = ["2026-10-24T00:30:00Z", "2026-10-25T00:30:00Z", "2026-10-26T01:30:00Z"];
        check("0 30 2 * * *", "Europe/Berlin", "2026-10-23T12:00:00Z", &dues);
        let hourly = ["2026-10-25T00:00:00Z", "2026-10-25T01:00:00Z", "2026-10-25T02:00:00Z"];
        check("0 0 * * * *", "Europe/Berlin", "2026-10-24T23:30:00Z", &hourly);
        let often = ["2026-10-25T00:30:00Z", "2026-10-25T01:00:00Z", "2026-10-25T01:30:00Z", "2026-10-26T01:00:00Z"];
        check("0 */30 2 * * *", "Europe/Berlin", "2026-10-25T00:00:00Z", &often);
        check("0 0 * * * *", "Europe/Berlin", "2026-03-29T00:30:00Z", &["2026-03-29T01:00:00Z", "2026-03-29T02:00:00Z"]);
    }

    #[test]
    fn a_wrong_expression_is_an_error() {
        assert!(next_due("every day", chrono_tz::UTC, DateTime::UNIX_EPOCH).is_err());
    }

    /// The values that a field names, read by other means than the program's.
    fn values(field: &str, least: u32, most: u32) -> BTreeSet<u32> {
        let range = |part: &str| match part.split_once('-') {
            _ if part == "*" => (least, most),
            Some((from, to)) => (from.parse().unwrap(), to.parse().unwrap()),
            None => (part.parse().unwrap(), part.parse().unwrap()),
        };
        let one = |part: &str| {
            let (part, step) = part.split_once('/').map_or((part, 1), |(part, step)| (part, step.parse().unwrap()));
            let (from, to) = range(part);
            (from..=to).step_by(step).collect::<Vec<_>>()
        };
        field.split(',').flat_map(one).collect()
    }

    /// The dues of `cron` in `from..until`, found by asking the zone's clock every second.
    fn second_by_second(cron: &str, zone: Tz, from: Instant, until: Instant) -> Vec<Instant> {
        let fields: Vec<&str> = cron.split_whitespace().collect();
        let (seconds, minutes, hours) = (values(fields[0], 0, 59), values(fields[1], 0, 59), values(fields[2], 0, 23));
        let (days, months) = (values(fields[3], 1, 31), values(fields[4], 1, 12));
        // Sunday is 1.
        let weekdays = values(fields[5], 1, 7);
        let matches = |local: NaiveDateTime| {
            seconds.contains(&local.second())
                && minutes.contains(&local.minute())
                && hours.contains(&local.hour())
                && days.contains(&local.day())
                && months.contains(&local.month())
                && weekdays.contains(&(local.weekday().num_days_from_sunday() + 1))
        };
        let is_interval = fields[..3].iter().any(|field| field.starts_with('*'));
        let local = |at: Instant| at.with_timezone(&zone).naive_local();
        let second = TimeDelta::seconds(1);
        let mut dues = Vec::new();
        // What clocks have shown so far, at most: a time up to it comes again.
        let mut shown = local(from - TimeDelta::hours(3));
        let mut at = from - TimeDelta::hours(3);
        while at < until {
            let now = local(at);
            let is_due = match is_interval {
                true => matches(now),
                false => {
                    let mut skipped = std::iter::successors(Some(shown + second), |time| Some(*time + second));
                    skipped.by_ref().take_while(|time| *time <= now).any(matches)
                }
            };
            if is_due && at > from {
                dues.push(at);
            }
            shown = shown.max(now);
            at += second;
        }
        dues
    }

    /// Zones, and days on which their clocks are set: by an hour, by half an hour, at midnight, by a whole day.
    const CHANGES: [(&str, &str); 12] = [
        ("Europe/Berlin", "2026-03-29"),
        ("Europe/Berlin", "2026-10-25"),
        ("America/New_York", "2026-03-08"),
        ("America/New_York", "2026-11-01"),
        ("Australia/Lord_Howe", "2026-10-03"),
        ("Australia/Lord_Howe", "2026-04-04"),
        ("America/Santiago", "2026-09-06"),
        ("Africa/Cairo", "2026-10-29"),
        ("Asia/Beirut", "2026-03-29"),
        ("Africa/Casablanca", "2026-02-15"),
        ("Pacific/Apia", "2011-12-30"),
        ("UTC", "2026-03-29"),
    ];

    fn field(least: u32, most: u32, near: Vec<u32>) -> impl Strategy<Value = String> {
        prop_oneof![
            3 => prop::sample::select(near.clone()).prop_map(|value| value.to_string()),
            1 => Just("*".to_owned()),
            1 => prop::sample::select(vec![2_u32, 5, 7, 20]).prop_map(|step| format!("*/{step}")),
            2 => (prop::sample::select(near.clone()), 0_u32..4).prop_map(move |(from, more)| format!("{from}-{}", (from + more).min(most))),
            1 => prop::collection::btree_set(least..=most, 1..4)
                .prop_map(|values| values.iter().map(u32::to_string).collect::<Vec<_>>().join(",")),
        ]
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]
        #[test]
        fn dues_are_those_that_a_clock_shows(
            second in prop::sample::select(vec!["0", "0", "30", "10,40"]),
            minute in field(0, 59, vec![0, 7, 15, 30, 59]),
            hour in field(0, 23, vec![0, 1, 2, 3, 23]),
            weekday in prop::sample::select(vec!["*", "*", "1", "2-6"]),
            change in prop::sample::select(CHANGES.to_vec()),
            start in 0_i64..86_400,
        ) {
            let (zone, day) = change;
            let (zone, cron): (Tz, String) = (zone.parse().unwrap(), format!("{second} {minute} {hour} * * {weekday}"));
            let from = format!("{day}T00:00:00Z").parse::<Instant>().unwrap() - TimeDelta::hours(24) + TimeDelta::seconds(start);
            let until = from + TimeDelta::hours(32);
            let expected = second_by_second(&cron, zone, from, until);
            let mut found = Vec::new();
            let mut at = from;
            while let Some(due) = next_due(&cron, zone, at).unwrap().filter(|due| *due < until) {
                prop_assert!(due > at);
                found.push(due);
                at = due;
            }
            prop_assert_eq!(found, expected, "{} in {}", cron, zone);
        }
    }
}
