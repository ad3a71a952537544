//! Where the loop stands.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::base::RunId;
use crate::base::time::{self, Instant};
use crate::store::{ChangeState, Filter, PullRecord, RunRecord};

use super::schedule::ScheduleStatus;
use super::{CheckReport, Hub, PipelineError, Upkeep};

/// Runs that a status lists.
const RUNS_SHOWN: usize = 20;

/// Where the loop stands, from the control state and the last cut alone.
#[derive(Debug, Clone, Serialize)]
pub struct Status {
    /// The plant's current instant.
    pub now: Instant,
    /// The environment, and the production run that it stands on.
    pub environment: Option<(String, Option<RunId>)>,
    /// The last complete cut and its instant.
    pub cut: Option<(RunId, Instant)>,
    pub systems: Vec<Freshness>,
    pub pulls: Vec<PullRecord>,
    /// Latest first.
    pub runs: Vec<RunRecord>,
    /// Kind → state → changes, without those superseded.
    pub changes: BTreeMap<String, BTreeMap<String, usize>>,
    pub schedules: Vec<ScheduleStatus>,
    /// Checks that did not hold when they last ran.
    pub checks: Vec<CheckReport>,
    /// What maintenance last found.
    pub upkeep: Option<Upkeep>,
    /// Why nothing is written, if so.
    pub refused: Option<String>,
}

/// Ages are by the wall clock.
#[derive(Debug, Clone, Serialize)]
pub struct Freshness {
    pub system: String,
    pub pulled_at: Option<Instant>,
    pub age_seconds: Option<i64>,
    pub max_age_seconds: u64,
    pub stale: bool,
}

impl Hub {
    pub async fn status(&self) -> Result<Status, PipelineError> {
        let control = &self.store.control;
        let behind = self.store.control_behind().await?;
        let (wall, cut) = (time::now(), self.store.cut().await?);
        let base = cut.as_ref().and_then(|cut| cut.base.as_ref()).map(|base| base.run);
        // What an environment reads of production is as fresh as that says.
        let systems = self.project.systems.keys().filter(|_| self.pulls());
        Ok(Status {
            environment: self.project.environment.as_ref().map(|environment| (environment.name.clone(), base)),
            now: self.now()?,
            cut: cut.map(|cut| (cut.run, cut.as_of)),
            systems: systems.map(|system| self.freshness(system, wall)).collect::<Result<_, _>>()?,
            pulls: control.last_pulls()?,
            runs: control.runs(RUNS_SHOWN)?,
            changes: self.counts()?,
            schedules: self.schedules(wall)?,
            checks: self.failing_checks()?,
            upkeep: self.upkeep()?,
            refused: behind.map(|behind| {
                format!(
                    "the control state knows runs up to {}, run {} was published: run `loopline write recover`",
                    behind.known, behind.published
                )
            }),
        })
    }

    pub(super) fn freshness(&self, system: &str, now: Instant) -> Result<Freshness, PipelineError> {
        let pulled_at = self.writeback().pulled_at(system)?;
        let max_age = self.project.systems.get(system).map(|system| system.max_age).unwrap_or_default();
        let age = pulled_at.map(|at| time::age(at, now));
        Ok(Freshness {
            system: system.into(),
            pulled_at,
            age_seconds: age.and_then(|age| i64::try_from(age.as_secs()).ok()),
            max_age_seconds: max_age.as_secs(),
            stale: age.is_none_or(|age| age > max_age),
        })
    }

    fn counts(&self) -> Result<BTreeMap<String, BTreeMap<String, usize>>, PipelineError> {
        let mut counts: BTreeMap<String, BTreeMap<String, usize>> = BTreeMap::new();
        for change in self.store.control.changes(&Filter::default())? {
            if change.state != ChangeState::Superseded {
                let state = format!("{:?}", change.state).to_lowercase();
                *counts.entry(change.kind).or_default().entry(state).or_default() += 1;
            }
        }
        Ok(counts)
    }
}
