//! Pulling systems into raw tables: systems side by side, the streams of one after the other in one snapshot.
//!
//! What stays true:
//! - A landing is committed only when its reading was complete; whatever stops it leaves the table as it was.
//! - A stream that fails stops no other. A fault that may pass is tried again with a fresh connection, and so in a later snapshot.
//!
//! `system` keeps a system's connection and tries again, `stream` says what of a stream is read and lands it, `files` knows which files were taken,
//! `sweep` and `verify` compare.

mod failure;
mod files;
mod meter;
mod stream;
mod sweep;
mod system;
mod verify;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicUsize, Ordering};

use futures::future::try_join_all;

use crate::base::time::Instant;
use crate::base::{RunId, TableName, nearest};
use crate::project::Stream;
use crate::store::RunOutcome;

use super::{Hub, PipelineError, PullReport, RunOptions, StreamPull};

pub(super) use crate::base::causes;
pub use meter::Flow;
pub use verify::Verification;

/// Which streams to pull, and how.
pub(super) struct Order<'a> {
    pub run: RunId,
    /// System → streams; `None` means all of them.
    pub systems: BTreeMap<String, Option<BTreeSet<String>>>,
    /// Read whole tables whatever the cursors say.
    pub whole: bool,
    /// Let whole readings and sweeps remove any number of rows.
    pub allow_mass_delete: bool,
    /// Pull outside of the systems' hours, too.
    pub any_hour: bool,
    pub options: &'a RunOptions<'a>,
    /// Instant of the plant's clock.
    pub as_of: Instant,
}

/// How far a pull of several systems is.
struct Count {
    done: AtomicUsize,
    total: usize,
}

impl Hub {
    /// Pulls these systems (all if empty): systems side by side, the streams of one in one snapshot. A stream that fails stops no other; see the report.
    /// A system that is named is pulled at any hour.
    pub async fn pull(&self, systems: &[String], options: &RunOptions<'_>) -> Result<PullReport, PipelineError> {
        let report = self.pull_only(systems, options).await?;
        self.tidy(options).await;
        Ok(report)
    }

    async fn pull_only(&self, systems: &[String], options: &RunOptions<'_>) -> Result<PullReport, PipelineError> {
        self.lease()?;
        self.may("pull")?;
        let _busy = self.busy.lock().await;
        let any_hour = options.any_hour || !systems.is_empty();
        let systems = self.systems(systems)?;
        let as_of = options.as_of.map_or_else(|| self.now(), Ok)?;
        let run = self.store.control.start_run("pull", as_of)?;
        let systems = systems.into_iter().map(|system| (system, None)).collect();
        let full = options.full;
        let order = Order { run, systems, whole: full, allow_mass_delete: full, any_hour, options, as_of };
        let report = match self.pull_systems(&order).await {
            Ok(report) => report,
            Err(error) => {
                self.store.control.finish_run(run, RunOutcome::Failed, &error.to_string())?;
                return Err(error);
            }
        };
        let outcome = if report.complete() { RunOutcome::Published } else { RunOutcome::Degraded };
        self.store.control.finish_run(run, outcome, &report.summary())?;
        Ok(report)
    }

    fn systems(&self, names: &[String]) -> Result<Vec<String>, PipelineError> {
        let known = &self.project.systems;
        for name in names {
            if !known.contains_key(name) {
                let near = nearest(name, known.keys().map(String::as_str));
                let hint = near.map(|near| format!("did you mean \"{near}\"?"));
                return Err(PipelineError::Unknown { what: "system", name: name.clone(), hint });
            }
        }
        Ok(if names.is_empty() { known.keys().cloned().collect() } else { names.to_vec() })
    }

    /// Copies what is known of pulls to `system.pulls`. The pulls themselves are done: if this fails, the next copy has these, too.
    async fn note_pulls(&self) {
        if let Err(error) = self.store.copy_pulls().await {
            tracing::warn!("cannot note pulls in system.pulls: {}", causes(&error));
        }
    }

    pub(super) async fn pull_systems(&self, order: &Order<'_>) -> Result<PullReport, PipelineError> {
        let mut tasks = Vec::new();
        let mut total = 0;
        for (name, only) in &order.systems {
            let Some(system) = self.project.systems.get(name) else { continue };
            let wanted = |stream: &&Stream| only.as_ref().is_none_or(|only| only.contains(&stream.name));
            let streams: Vec<&Stream> = system.connector.streams.values().filter(wanted).collect();
            total += streams.len();
            tasks.push((system, streams));
        }
        let count = Count { done: AtomicUsize::new(0), total };
        let pulls = tasks.into_iter().map(|(system, streams)| self.pull_system(order, system, streams, &count));
        // What the notes need of their table is read while systems answer; should that fail, they say so.
        let (done, _known) = tokio::join!(try_join_all(pulls), self.store.know_pulls());
        self.note_pulls().await;
        Ok(PullReport { systems: done? })
    }
}

impl Count {
    /// One stream more is done.
    fn note(&self, order: &Order<'_>, pull: &StreamPull) {
        let done = self.done.fetch_add(1, Ordering::Relaxed) + 1;
        order.options.progress.pulled(pull, done, self.total);
    }
}

/// `raw.<system>__<stream>`.
pub(super) fn raw_table(system: &str, stream: &str) -> TableName {
    TableName::new("raw", format!("{system}__{stream}"))
}
