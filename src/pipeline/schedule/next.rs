//! What one schedule does next: no clock, no store, only what is known of both.

use chrono::TimeDelta;

use crate::base::RunId;
use crate::base::time::Instant;
use crate::pipeline::PipelineError;
use crate::project::{Missed, Overlap, Schedule};
use crate::store::{Paused, ScheduleState};

use super::due::next_due;

/// Clocks are corrected by less than this all the time, which is no reason to run twice.
const CLOCK_STEP: TimeDelta = TimeDelta::minutes(1);

/// What happened elsewhere since a schedule last looked.
#[derive(Debug, Clone, Default)]
pub(super) struct News {
    /// The pipeline that it runs after published this run.
    pub after: Option<RunId>,
    /// A system with fresh rows, and the run that pulled them.
    pub fresh: Option<(String, RunId)>,
}

#[derive(Debug, Clone, PartialEq)]
pub(super) enum Next {
    /// Due, and since when: what is due the longest comes first.
    Start {
        since: Instant,
        why: Why,
    },
    /// Due then; `None`: only something that happens elsewhere starts it.
    Wait(Option<Instant>),
    Paused,
}

/// What starts a run.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Why {
    Clock,
    Retry,
    After(RunId),
    Fresh(String, RunId),
}

/// What `schedule` does at `now`.
pub(super) fn next(schedule: &Schedule, state: &ScheduleState, news: &News, now: Instant) -> Result<Next, PipelineError> {
    if state.paused.is_some() {
        return Ok(Next::Paused);
    }
    let due = match &schedule.cron {
        Some(cron) => next_due(&cron.expression, cron.timezone, state.last)?,
        None => None,
    };
    let by_clock = [due.map(|due| (due, Why::Clock)), state.retry_at.map(|at| (at, Why::Retry))];
    let soonest = by_clock.into_iter().flatten().min_by_key(|(at, _)| *at);
    Ok(match (soonest, &news.after, &news.fresh) {
        (Some((since, why)), ..) if since <= now => Next::Start { since, why },
        (_, Some(run), _) => Next::Start { since: now, why: Why::After(*run) },
        (_, None, Some((system, run))) => Next::Start { since: now, why: Why::Fresh(system.clone(), *run) },
        (soonest, None, None) => Next::Wait(soonest.map(|(at, _)| at)),
    })
}

/// When the hub starts: what was missed while it was down is left out where the schedule says so.
pub(super) fn resume(state: &mut ScheduleState, schedule: &Schedule, newest: RunId, now: Instant) {
    if schedule.missed == Missed::Skip {
        (state.last, state.seen, state.retry_at) = (now, newest, None);
    }
}

/// What lies further ahead than it can was noted before the clock was set back: it goes on from now, not when the clock gets there again.
pub(super) fn mend(state: &mut ScheduleState, schedule: &Schedule, now: Instant) {
    if state.last > now + CLOCK_STEP {
        state.last = now;
    }
    let longest = TimeDelta::from_std(schedule.retries.max).unwrap_or(TimeDelta::MAX);
    if state.retry_at.is_some_and(|at| at > now + longest + CLOCK_STEP) {
        state.retry_at = Some(now);
    }
}

/// Before a run: killed within it, it counts as started, and is retried like one that failed.
pub(super) fn start(state: &mut ScheduleState, schedule: &Schedule, why: &Why, newest: RunId, now: Instant) {
    state.tries = if *why == Why::Retry { state.tries + 1 } else { 0 };
    (state.last, state.seen) = (state.last.max(now), newest);
    state.retry_at = retry(state, schedule, now);
}

/// After a run; `failure` says why it failed.
pub(super) fn end(state: &mut ScheduleState, schedule: &Schedule, failure: Option<&str>, now: Instant) {
    if schedule.overlap == Overlap::Skip {
        state.last = state.last.max(now);
    }
    let Some(failure) = failure else {
        (state.tries, state.retry_at, state.failures) = (0, None, 0);
        return;
    };
    state.retry_at = retry(state, schedule, now);
    if state.retry_at.is_none() {
        (state.tries, state.failures) = (0, state.failures + 1);
        if schedule.pause_after.is_some_and(|most| state.failures >= most) && state.paused.is_none() {
            let why = format!("{} runs in a row failed, the last one: {failure}", state.failures);
            state.paused = Some(Paused { why, since: now });
        }
    }
}

/// When a failure is tried again; `None` if it was tried often enough.
fn retry(state: &ScheduleState, schedule: &Schedule, now: Instant) -> Option<Instant> {
    let pause = TimeDelta::from_std(schedule.retries.pause(state.tries)).unwrap_or(TimeDelta::MAX);
    (state.tries < schedule.retries.count).then(|| now + pause)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::project::{Cron, Retries};

    /// A schedule, what is kept of it, and a clock that only the test moves.
    struct Bench {
        schedule: Schedule,
        state: ScheduleState,
        now: Instant,
    }

    fn at(time: &str) -> Instant {
        format!("2026-03-02T{time}Z").parse().unwrap()
    }

    fn bench(cron: &str, time: &str) -> Bench {
        let schedule = Schedule {
            cron: Some(Cron { expression: cron.into(), timezone: chrono_tz::UTC }),
            after: None,
            on_fresh: vec![],
            missed: Missed::RunOnce,
            overlap: Overlap::Skip,
            retries: Retries { count: 0, backoff: Duration::from_secs(60), max: Duration::from_secs(150) },
            pause_after: None,
        };
        let state = ScheduleState { last: at(time), seen: RunId(0), tries: 0, retry_at: None, failures: 0, paused: None };
        Bench { schedule, state, now: at(time) }
    }

    impl Bench {
        fn next(&self) -> Next {
            next(&self.schedule, &self.state, &News::default(), self.now).unwrap()
        }

        fn waits_until(&mut self, time: &str) {
            assert_eq!(self.next(), Next::Wait(Some(at(time))), "at {}", self.now);
            self.now = at(time);
        }

        /// Runs until `end`, as the loop does.
        fn runs(&mut self, until: &str, failure: Option<&str>) {
            let Next::Start { why, .. } = self.next() else { panic!("nothing is due at {}", self.now) };
            start(&mut self.state, &self.schedule, &why, RunId(1), self.now);
            self.now = at(until);
            end(&mut self.state, &self.schedule, failure, self.now);
        }
    }

    #[test]
    fn what_comes_due_during_a_run_is_left_out_or_runs_once_after_it() {
        let mut bench = bench("0 */10 * * * *", "08:00:00");
        bench.waits_until("08:10:00");
        bench.runs("08:35:00", None);
        bench.waits_until("08:40:00");
        bench.schedule.overlap = Overlap::Wait;
        bench.runs("09:05:00", None);
        assert_eq!(bench.next(), Next::Start { since: at("08:50:00"), why: Why::Clock });
        bench.runs("09:06:00", None);
        bench.waits_until("09:10:00");
    }

    #[test]
    fn what_was_missed_runs_once_or_not_at_all() {
        let mut bench = bench("0 */10 * * * *", "08:00:00");
        bench.now = at("11:03:00");
        resume(&mut bench.state, &bench.schedule, RunId(0), bench.now);
        bench.runs("11:04:00", None);
        bench.waits_until("11:10:00");
        bench.now = at("15:03:00");
        bench.schedule.missed = Missed::Skip;
        bench.state.retry_at = Some(at("14:00:00"));
        resume(&mut bench.state, &bench.schedule, RunId(0), bench.now);
        bench.waits_until("15:10:00");
    }

    #[test]
    fn failures_are_tried_again_with_longer_pauses_and_then_it_pauses() {
        let mut bench = bench("0 0 * * * *", "08:00:00");
        bench.schedule.retries.count = 3;
        bench.schedule.pause_after = Some(2);
        for hour in ["09", "10"] {
            bench.waits_until(&format!("{hour}:00:00"));
            bench.runs(&format!("{hour}:00:10"), Some("erp is down"));
            bench.waits_until(&format!("{hour}:01:10"));
            bench.runs(&format!("{hour}:01:20"), Some("erp is down"));
            bench.waits_until(&format!("{hour}:03:20"));
            bench.runs(&format!("{hour}:03:30"), Some("erp is down"));
            bench.waits_until(&format!("{hour}:06:00")); // two minutes twice would be more than the most of two and a half
            assert_eq!((bench.state.tries, bench.state.paused.is_some()), (2, false));
            bench.runs(&format!("{hour}:06:10"), Some("erp is down"));
        }
        assert_eq!(bench.next(), Next::Paused);
        let paused = bench.state.paused.as_ref().unwrap();
        assert_eq!((paused.since, paused.why.as_str()), (at("10:06:10"), "2 runs in a row failed, the last one: erp is down"));
    }

    #[test]
    fn one_success_forgets_the_failures_before_it() {
        let mut bench = bench("0 0 * * * *", "08:00:00");
        (bench.schedule.retries.count, bench.schedule.pause_after) = (1, Some(2));
        bench.waits_until("09:00:00");
        bench.runs("09:00:00", Some("x"));
        bench.waits_until("09:01:00");
        bench.runs("09:01:00", Some("x"));
        bench.waits_until("10:00:00");
        bench.runs("10:00:00", Some("x"));
        bench.waits_until("10:01:00");
        bench.runs("10:01:00", None);
        assert_eq!((bench.state.failures, bench.state.tries, bench.state.retry_at), (0, 0, None));
        bench.waits_until("11:00:00");
    }

    #[test]
    fn a_run_that_was_killed_is_tried_again() {
        let mut bench = bench("0 0 * * * *", "08:00:00");
        bench.schedule.retries.count = 1;
        bench.waits_until("09:00:00");
        start(&mut bench.state, &bench.schedule, &Why::Clock, RunId(1), bench.now);
        bench.waits_until("09:01:00");
        assert_eq!(bench.next(), Next::Start { since: at("09:01:00"), why: Why::Retry });
    }

    #[test]
    fn a_clock_that_is_set_neither_stops_nor_doubles_a_schedule() {
        let mut bench = bench("0 0 * * * *", "08:00:00");
        bench.waits_until("09:00:00");
        bench.runs("09:00:00", None);
        // Forth by some hours: one run. Back again: on from there.
        bench.now = at("15:30:00");
        bench.runs("15:30:00", None);
        bench.now = at("09:10:00");
        mend(&mut bench.state, &bench.schedule, bench.now);
        bench.waits_until("10:00:00");
        bench.runs("10:00:00", None);
        // Half a minute back is a correction: what ran at ten does not run at ten again.
        bench.now = at("09:59:30");
        mend(&mut bench.state, &bench.schedule, bench.now);
        bench.waits_until("11:00:00");
        // A retry that lies far ahead does not wait for the clock to get there.
        bench.state.retry_at = Some(at("23:00:00"));
        mend(&mut bench.state, &bench.schedule, bench.now);
        assert_eq!(bench.next(), Next::Start { since: at("11:00:00"), why: Why::Clock });
        assert_eq!(bench.state.retry_at, Some(at("11:00:00")));
    }

    #[test]
    fn what_happens_elsewhere_starts_it_and_a_pause_stops_everything() {
        let mut bench = bench("0 0 * * * *", "08:00:00");
        bench.schedule.cron = None;
        assert_eq!(bench.next(), Next::Wait(None));
        let news = News { after: Some(RunId(4)), fresh: Some(("erp".into(), RunId(5))) };
        let found = next(&bench.schedule, &bench.state, &news, bench.now).unwrap();
        assert_eq!(found, Next::Start { since: bench.now, why: Why::After(RunId(4)) });
        let news = News { after: None, ..news };
        let found = next(&bench.schedule, &bench.state, &news, bench.now).unwrap();
        assert_eq!(found, Next::Start { since: bench.now, why: Why::Fresh("erp".into(), RunId(5)) });
        bench.state.paused = Some(Paused { why: "ann".into(), since: bench.now });
        assert_eq!(next(&bench.schedule, &bench.state, &news, bench.now).unwrap(), Next::Paused);
    }
}
