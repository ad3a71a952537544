//! What a run did, for people and machines: every type serialises.

use serde::Serialize;

use crate::base::RunId;
use crate::base::time::Instant;
use crate::model::ModelRun;
use crate::store::RunOutcome;
use crate::writeback::{Applied, Confirmed, Settled, WriteReport};

use super::progress::Stage;

/// One run of a pipeline.
#[derive(Debug, Clone, Serialize)]
pub struct RunReport {
    pub run: RunId,
    pub pipeline: String,
    /// The instant that every decision of this run saw.
    pub as_of: Instant,
    pub outcome: RunOutcome,
    /// One line for a person.
    pub message: String,
    /// Whether the run published its tables.
    pub cut: bool,
    /// Systems that are older than they should be.
    pub stale: Vec<String>,
    pub pull: PullReport,
    pub models: Vec<ModelRun>,
    pub checks: Vec<CheckReport>,
    pub writes: Vec<WriteReport>,
    pub summary: WriteSummary,
    pub stages: Vec<StageTime>,
}

/// What became of changes during a run, over all kinds.
#[derive(Debug, Clone, Default, Serialize)]
pub struct WriteSummary {
    pub settled: Settled,
    pub applied: Applied,
    pub confirmed: Confirmed,
    /// Planned changes that wait for a person.
    pub waiting: usize,
}

#[derive(Debug, Clone, Default, Serialize)]
pub struct PullReport {
    pub systems: Vec<SystemPull>,
}

impl PullReport {
    /// Whether every stream of every system was pulled.
    pub fn complete(&self) -> bool {
        self.systems.iter().all(|system| system.error.is_none() && system.streams.iter().all(|stream| stream.error.is_none()))
    }
}

#[derive(Debug, Clone, Serialize)]
pub struct SystemPull {
    pub system: String,
    pub streams: Vec<StreamPull>,
    /// The system could not be opened; `streams` is empty then.
    pub error: Option<String>,
    /// What to do about `error`.
    pub hint: Option<String>,
    pub seconds: f64,
}

#[derive(Debug, Clone, Serialize)]
pub struct StreamPull {
    pub system: String,
    pub stream: String,
    pub rows_read: u64,
    pub inserted: u64,
    pub updated: u64,
    pub deleted: u64,
    /// Rows, and single values of other rows, that the stream's contract left out; they are in `raw.<system>__<stream>__discarded`.
    pub discarded_rows: u64,
    pub discarded_values: u64,
    /// Whether the whole table was read.
    pub whole: bool,
    pub error: Option<String>,
    pub hint: Option<String>,
    pub seconds: f64,
}

/// A check that did not hold.
#[derive(Debug, Clone, Serialize)]
pub struct CheckReport {
    pub table: String,
    pub check: String,
    /// `error` or `warn`.
    pub severity: String,
    /// How many rows fail.
    pub rows: u64,
    /// The first failing rows as a text table.
    pub sample: String,
}

#[derive(Debug, Clone, Copy, Serialize)]
pub struct StageTime {
    pub stage: Stage,
    pub seconds: f64,
}
