//! What a run of this process is doing right now, for whoever looks.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use serde::Serialize;

use crate::base::time::{self, Instant};
use crate::base::{RunId, TableName};
use crate::model::ModelRun;
use crate::writeback::Applied;

use super::pull::Flow;
use super::report::{StreamCheck, StreamPull};
use super::{Hub, PipelineError, Progress, Stage};

/// A run under way.
#[derive(Debug, Clone, Serialize)]
pub struct LiveRun {
    pub run: RunId,
    pub pipeline: String,
    pub started_at: Instant,
    pub stage: Option<Stage>,
    /// Of the tables that are built or left as they are: how many are done, and how many there are.
    pub done: usize,
    pub total: usize,
    /// Tables that are being built, and since when.
    pub building: BTreeMap<String, Instant>,
    /// Tables that are done, in the order in which they were.
    pub tables: Vec<ModelRun>,
}

/// Where the run under way is noted, if there is one.
#[derive(Debug, Default)]
pub(super) struct Live(Mutex<Option<LiveRun>>);

impl Live {
    fn get(&self) -> MutexGuard<'_, Option<LiveRun>> {
        // Only ever shown: half an update does no harm.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Hub {
    /// The run under way in this process.
    pub fn live(&self) -> Option<LiveRun> {
        self.live.get().clone()
    }

    /// The tables that a run builds, those that need none of the others first.
    pub fn ranks(&self) -> Result<Vec<Vec<TableName>>, PipelineError> {
        Ok(self.graph()?.ranks())
    }
}

/// Notes a run's progress, and hands it on.
pub(super) struct Watched<'a> {
    live: &'a Live,
    inner: &'a dyn Progress,
}

impl<'a> Watched<'a> {
    pub fn new(live: &'a Live, run: RunId, pipeline: &str, inner: &'a dyn Progress) -> Self {
        *live.get() = Some(LiveRun {
            run,
            pipeline: pipeline.into(),
            started_at: time::now(),
            stage: None,
            done: 0,
            total: 0,
            building: BTreeMap::new(),
            tables: vec![],
        });
        Self { live, inner }
    }

    fn note(&self, note: impl FnOnce(&mut LiveRun)) {
        if let Some(run) = self.live.get().as_mut() {
            note(run);
        }
    }
}

impl Drop for Watched<'_> {
    fn drop(&mut self) {
        *self.live.get() = None;
    }
}

impl Progress for Watched<'_> {
    fn stage(&self, stage: Stage) {
        self.note(|run| run.stage = Some(stage));
        self.inner.stage(stage);
    }

    fn rows(&self, flow: &Flow<'_>) {
        self.inner.rows(flow);
    }

    fn pulled(&self, pull: &StreamPull, done: usize, total: usize) {
        self.inner.pulled(pull, done, total);
    }

    fn verified(&self, check: &StreamCheck, done: usize, total: usize) {
        self.inner.verified(check, done, total);
    }

    fn started(&self, table: &TableName) {
        self.note(|run| {
            run.building.insert(table.to_string(), time::now());
        });
        self.inner.started(table);
    }

    fn model(&self, model: &ModelRun, done: usize, total: usize) {
        self.note(|run| {
            run.building.remove(&model.table);
            (run.done, run.total) = (done, total);
            run.tables.push(model.clone());
        });
        self.inner.model(model, done, total);
    }

    fn applied(&self, applied: &Applied) {
        self.inner.applied(applied);
    }
}
