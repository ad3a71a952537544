//! When pipelines run by themselves, and the loop that runs them.
//!
//! `due` knows cron lines and time zones, `next` what a schedule does with what is known, this file asks the store and runs. Schedules follow the
//! wall clock. What stays true: how far a schedule is, is kept before a run and after it, so a restart neither forgets nor doubles one; one run at a
//! time, that which is due the longest first.

mod due;
mod next;

use std::time::Duration;

use serde::Serialize;

use crate::base::time::{self, Instant};
use crate::project::{Pipeline, Schedule};
use crate::store::{Paused, RunOutcome, RunRecord, ScheduleState};

use super::pull::causes;
use super::{Cancel, Hub, PipelineError, Progress, RunOptions};
use next::{News, Next, Why, end, mend, next, resume, start};

pub use due::next_due;

/// Longest sleep: a clock that was set, a machine that slept, or a schedule that was resumed elsewhere is noticed after that.
const SLEEP_MAX: Duration = Duration::from_secs(30);

/// How a pipeline's schedule stands.
#[derive(Debug, Clone, Serialize)]
pub struct ScheduleStatus {
    pub pipeline: String,
    /// What starts it, in words: `0 0 5 * * * Europe/Berlin`, `after night`, `on fresh erp`.
    pub starts: Vec<String>,
    /// By the wall clock; `None` while it is paused, or where something else starts it.
    pub next_due: Option<Instant>,
    /// The run that is due next tries a failed one again.
    pub is_retry: bool,
    /// Runs in a row that failed.
    pub failures: u32,
    pub paused: Option<Paused>,
    /// The latest run, by schedule or by hand.
    pub last: Option<RunRecord>,
}

/// Runs every pipeline that has a schedule when it is due, until cancelled. The log says how each run ended.
pub async fn serve(hub: &Hub, progress: &dyn Progress, cancel: &Cancel) -> Result<(), PipelineError> {
    hub.resume_schedules(time::now())?;
    while !cancel.cancelled() {
        let Some(until) = hub.tick(&time::now, progress, cancel).await? else { continue };
        let sleep = until.and_then(|until| (until - time::now()).to_std().ok()).unwrap_or(SLEEP_MAX);
        tokio::select! {
            () = tokio::time::sleep(sleep.min(SLEEP_MAX)) => {}
            () = cancel.wait() => {}
        }
    }
    Ok(())
}

impl Hub {
    fn scheduled(&self) -> impl Iterator<Item = (&Pipeline, &Schedule)> {
        self.project.pipelines.values().filter_map(|pipeline| Some((pipeline, pipeline.schedule.as_ref()?)))
    }

    /// Decides about what was missed while no scheduler ran; call it before the first [`Hub::tick`].
    pub fn resume_schedules(&self, now: Instant) -> Result<(), PipelineError> {
        let newest = self.store.control.newest_run()?;
        for (pipeline, schedule) in self.scheduled() {
            self.store.control.change_schedule(&pipeline.name, now, |state| resume(state, schedule, newest, now))?;
        }
        Ok(())
    }

    /// Runs the pipeline that is due the longest by `clock`. If none is: when one will be (`None` within: when something happens elsewhere).
    pub async fn tick(
        &self,
        clock: &(dyn Fn() -> Instant + Sync),
        progress: &dyn Progress,
        cancel: &Cancel,
    ) -> Result<Option<Option<Instant>>, PipelineError> {
        let now = clock();
        let mut first: Option<(Instant, &Pipeline, &Schedule, Why)> = None;
        let mut until: Option<Instant> = None;
        for (pipeline, schedule) in self.scheduled() {
            let state = self.store.control.change_schedule(&pipeline.name, now, |state| mend(state, schedule, now))?;
            match next(schedule, &state, &self.news(pipeline, schedule, &state)?, now)? {
                Next::Start { since, why } if first.as_ref().is_none_or(|(earliest, ..)| since < *earliest) => {
                    first = Some((since, pipeline, schedule, why));
                }
                Next::Wait(Some(at)) => until = Some(until.map_or(at, |until| until.min(at))),
                _ => {}
            }
        }
        let Some((_, pipeline, schedule, why)) = first else { return Ok(Some(until)) };
        let options = RunOptions { progress, cancel: cancel.clone(), ..RunOptions::default() };
        self.run_scheduled(pipeline, schedule, &why, clock, &options).await?;
        Ok(None)
    }

    fn news(&self, pipeline: &Pipeline, schedule: &Schedule, state: &ScheduleState) -> Result<News, PipelineError> {
        let control = &self.store.control;
        let mut news = News::default();
        if let Some(after) = &schedule.after {
            news.after = control.published_since(after, state.seen)?;
        }
        for system in &schedule.on_fresh {
            if let Some(run) = control.fresh_since(system, state.seen, &pipeline.name)? {
                news.fresh.get_or_insert((system.clone(), run));
            }
        }
        Ok(news)
    }

    async fn run_scheduled(
        &self,
        pipeline: &Pipeline,
        schedule: &Schedule,
        why: &Why,
        clock: &(dyn Fn() -> Instant + Sync),
        options: &RunOptions<'_>,
    ) -> Result<(), PipelineError> {
        let (control, name) = (&self.store.control, pipeline.name.as_str());
        let newest = control.newest_run()?;
        control.change_schedule(name, clock(), |state| start(state, schedule, why, newest, clock()))?;
        let failure = match self.run(name, options).await {
            Ok(report) => {
                tracing::info!(pipeline = name, ?why, run = %report.run, outcome = ?report.outcome, "{}", report.message);
                (report.outcome == RunOutcome::Failed).then_some(report.message)
            }
            // Stopped with the server: what it left is taken up when that starts again.
            Err(PipelineError::Cancelled) => return Ok(()),
            Err(error) => {
                let text = causes(&error);
                tracing::error!(pipeline = name, ?why, "{text}");
                Some(text)
            }
        };
        let state = control.change_schedule(name, clock(), |state| end(state, schedule, failure.as_deref(), clock()))?;
        if let (Some(_), Some(paused)) = (&failure, &state.paused) {
            tracing::error!(pipeline = name, "its schedule is paused: {}", paused.why);
        }
        Ok(())
    }

    /// How every schedule stands.
    pub fn schedules(&self, now: Instant) -> Result<Vec<ScheduleStatus>, PipelineError> {
        self.scheduled().map(|(pipeline, schedule)| self.schedule_status(pipeline, schedule, now)).collect()
    }

    fn schedule_status(&self, pipeline: &Pipeline, schedule: &Schedule, now: Instant) -> Result<ScheduleStatus, PipelineError> {
        let cron = schedule.cron.iter().map(|cron| format!("{} {}", cron.expression, cron.timezone));
        let after = schedule.after.iter().map(|after| format!("after {after}"));
        let fresh = schedule.on_fresh.iter().map(|system| format!("on fresh {system}"));
        let state = self.store.control.schedule(&pipeline.name)?;
        let mut status = ScheduleStatus {
            pipeline: pipeline.name.clone(),
            starts: cron.chain(after).chain(fresh).collect(),
            next_due: None,
            is_retry: false,
            failures: state.as_ref().map_or(0, |state| state.failures),
            paused: state.as_ref().and_then(|state| state.paused.clone()),
            last: self.store.control.last_run(&pipeline.name)?,
        };
        let seen = self.store.control.newest_run()?;
        let new = ScheduleState { last: now, seen, tries: 0, retry_at: None, failures: 0, paused: None };
        let state = state.unwrap_or(new);
        match next(schedule, &state, &self.news(pipeline, schedule, &state)?, now)? {
            Next::Start { since, why } => (status.next_due, status.is_retry) = (Some(since), why == Why::Retry),
            Next::Wait(at) => (status.next_due, status.is_retry) = (at, at.is_some() && at == state.retry_at),
            Next::Paused => {}
        }
        Ok(status)
    }

    /// Stops the schedule of `pipeline`, also in a hub that serves; `why` is shown wherever it is.
    pub fn pause_schedule(&self, pipeline: &str, why: &str) -> Result<(), PipelineError> {
        let (name, now) = (self.with_schedule(pipeline)?, time::now());
        let paused = Paused { why: why.into(), since: now };
        self.store.control.change_schedule(name, now, |state| state.paused = Some(paused))?;
        Ok(())
    }

    /// Lets the schedule of `pipeline` go on from now: what came due in the pause does not run.
    pub fn resume_schedule(&self, pipeline: &str) -> Result<(), PipelineError> {
        let (name, now) = (self.with_schedule(pipeline)?, time::now());
        let seen = self.store.control.newest_run()?;
        let resumed = ScheduleState { last: now, seen, tries: 0, retry_at: None, failures: 0, paused: None };
        self.store.control.change_schedule(name, now, |state| *state = resumed)?;
        Ok(())
    }

    fn with_schedule<'a>(&'a self, pipeline: &str) -> Result<&'a str, PipelineError> {
        let pipeline = self.pipeline(pipeline)?;
        match pipeline.schedule {
            Some(_) => Ok(&pipeline.name),
            None => Err(PipelineError::NoSchedule { pipeline: pipeline.name.clone(), file: pipeline.file.clone() }),
        }
    }
}
