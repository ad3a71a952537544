//! When pipelines are due, and the loop that runs them.
//!
//! Schedules follow the wall clock. A schedule that names hours runs once a day at a clock change, as people expect: what falls into the hour that
//! is skipped runs right after it, what falls into the hour that comes twice runs in the first one. A schedule for every hour follows elapsed time.

use std::str::FromStr;
use std::time::Duration;

use chrono::offset::LocalResult;
use chrono::{Offset, TimeDelta, TimeZone, Utc};
use chrono_tz::Tz;

use crate::base::time::{self, Instant};
use crate::project::{Missed, Overlap, Pipeline, Schedule};

use super::pull::causes;
use super::{Cancel, Hub, PipelineError, Progress, RunOptions};

/// Longest sleep: a clock that was set, or a machine that slept, is noticed after that.
const SLEEP_MAX: Duration = Duration::from_secs(30);

/// Clocks are corrected by less than this all the time, which is no reason to run twice.
const CLOCK_STEP: TimeDelta = TimeDelta::minutes(1);

/// The first instant after `after` at which `cron` (six fields, seconds first) fires in `zone`; `None` if it never fires again.
pub fn next_due(cron: &str, zone: Tz, after: Instant) -> Result<Option<Instant>, PipelineError> {
    let schedule =
        cron::Schedule::from_str(cron).map_err(|error| PipelineError::Cron { cron: cron.into(), what: error.to_string() })?;
    let every_hour = cron.split_whitespace().nth(2).is_some_and(|hours| hours.starts_with('*'));
    if every_hour {
        return Ok(next_by_the_hour(&schedule, zone, after));
    }
    // Local times as if they were UTC, one hour early so that the second pass of a repeated hour cannot hide a time from us.
    let local = after.with_timezone(&zone).naive_local() - TimeDelta::hours(1);
    let dues = schedule.after_owned(Utc.from_utc_datetime(&local)).map(|naive| naive.naive_utc());
    Ok(dues.map(|naive| resolve(zone, naive)).find(|due| *due > after))
}

/// For schedules of every hour: the offset of now goes on, which a change by whole hours does not disturb.
fn next_by_the_hour(schedule: &cron::Schedule, zone: Tz, after: Instant) -> Option<Instant> {
    let local = after.with_timezone(&zone);
    let steady = schedule.after(&local.with_timezone(&local.offset().fix())).next();
    steady
        .filter(|due| schedule.includes(due.with_timezone(&zone)))
        .map(|due| due.with_timezone(&Utc))
        .or_else(|| schedule.after(&local).next().map(|due| due.with_timezone(&Utc)))
}

/// A local time as an instant: the first of two, or the end of the gap that it falls into.
fn resolve(zone: Tz, naive: chrono::NaiveDateTime) -> Instant {
    match zone.from_local_datetime(&naive) {
        LocalResult::Single(at) | LocalResult::Ambiguous(at, _) => at.with_timezone(&Utc),
        LocalResult::None => {
            // No zone skips more than a day.
            let end = (1..=96)
                .map(|quarters| naive + TimeDelta::minutes(15 * quarters))
                .find_map(|later| zone.from_local_datetime(&later).earliest());
            end.map_or_else(|| Utc.from_utc_datetime(&naive), |at| at.with_timezone(&Utc))
        }
    }
}

/// Runs every pipeline that has a schedule when it is due, until cancelled. One run at a time; the log says how each ended.
pub async fn serve(hub: &Hub, progress: &dyn Progress, cancel: &Cancel) -> Result<(), PipelineError> {
    let project = hub.project.clone();
    let scheduled: Vec<(&Pipeline, &Schedule)> =
        project.pipelines.values().filter_map(|pipeline| Some((pipeline, pipeline.schedule.as_ref()?))).collect();
    catch_up(hub, &scheduled)?;
    while !cancel.cancelled() {
        let now = time::now();
        let mut next: Option<(Instant, &Pipeline, &Schedule)> = None;
        for (pipeline, schedule) in &scheduled {
            let last = last_started(hub, pipeline, now)?;
            let due = next_due(&schedule.cron, schedule.timezone, last)?;
            if let Some(due) = due.filter(|due| next.is_none_or(|(earliest, ..)| *due < earliest)) {
                next = Some((due, pipeline, schedule));
            }
        }
        match next {
            Some((due, pipeline, schedule)) if due <= now => run_due(hub, pipeline, schedule, progress, cancel).await?,
            next => {
                let until = next.and_then(|(due, ..)| (due - now).to_std().ok()).unwrap_or(SLEEP_MAX);
                tokio::select! {
                    () = tokio::time::sleep(until.min(SLEEP_MAX)) => {}
                    () = cancel.wait() => {}
                }
            }
        }
    }
    Ok(())
}

/// When a pipeline was last started. If that lies ahead, the clock was set back since: it goes on from now, not when the clock gets there again.
fn last_started(hub: &Hub, pipeline: &Pipeline, now: Instant) -> Result<Instant, PipelineError> {
    let last = hub.store.control.last_scheduled(&pipeline.name)?.unwrap_or(now);
    if last <= now + CLOCK_STEP {
        return Ok(last);
    }
    hub.store.control.set_last_scheduled(&pipeline.name, now)?;
    Ok(now)
}

/// Decides about runs whose time passed while the hub was down: several become one, or none.
fn catch_up(hub: &Hub, scheduled: &[(&Pipeline, &Schedule)]) -> Result<(), PipelineError> {
    let now = time::now();
    for (pipeline, schedule) in scheduled {
        let last = hub.store.control.last_scheduled(&pipeline.name)?;
        if last.is_none() || schedule.missed == Missed::Skip {
            hub.store.control.set_last_scheduled(&pipeline.name, now)?;
        }
    }
    Ok(())
}

async fn run_due(
    hub: &Hub,
    pipeline: &Pipeline,
    schedule: &Schedule,
    progress: &dyn Progress,
    cancel: &Cancel,
) -> Result<(), PipelineError> {
    // Before the run: killed within it, it counts as started, and the next start goes on from what it left.
    hub.store.control.set_last_scheduled(&pipeline.name, time::now())?;
    let options = RunOptions { progress, cancel: cancel.clone(), ..RunOptions::default() };
    match hub.run(&pipeline.name, &options).await {
        Ok(report) => {
            tracing::info!(pipeline = %pipeline.name, run = %report.run, outcome = ?report.outcome, "{}", report.message);
        }
        Err(PipelineError::Cancelled) => {}
        Err(error) => tracing::error!(pipeline = %pipeline.name, "{}", causes(&error)),
    }
    if schedule.overlap == Overlap::Skip {
        hub.store.control.set_last_scheduled(&pipeline.name, time::now())?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
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
    }

    #[test]
    fn a_skipped_hour_runs_right_after_it() {
        // 2026-03-29: 02:00 becomes 03:00 in Berlin.
        let dues = ["2026-03-28T01:30:00Z", "2026-03-29T01:00:00Z", "2026-03-30T00:30:00Z"];
        check("0 30 2 * * *", "Europe/Berlin", "2026-03-27T12:00:00Z", &dues);
    }

    #[test]
    fn a_repeated_hour_runs_once() {
        // 2026-10-25: 03:00 becomes 02:00 in Berlin.
        let dues = ["2026-10-24T00:30:00Z", "2026-10-25T00:30:00Z", "2026-10-26T01:30:00Z"];
        check("0 30 2 * * *", "Europe/Berlin", "2026-10-23T12:00:00Z", &dues);
        let hourly = ["2026-10-25T00:00:00Z", "2026-10-25T01:00:00Z", "2026-10-25T02:00:00Z"];
        check("0 0 * * * *", "Europe/Berlin", "2026-10-24T23:30:00Z", &hourly);
    }

    #[test]
    fn a_wrong_expression_is_an_error() {
        assert!(next_due("every day", chrono_tz::UTC, time::now()).is_err());
    }
}
