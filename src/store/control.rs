//! The control state: runs, pulls, the ledger, schedules and the writer lease, in one SQLite file.

use crate::base::RunId;
use crate::base::time::Instant;

use super::StoreError;

/// The control state. All calls are short; durable when they return (`synchronous = FULL`, WAL).
pub struct Control {}

/// The right to write to the store, held by one process at a time (an OS file lock, released with the process, and an epoch that rises with each holder).
pub struct Lease {
    pub epoch: i64,
}

/// One execution of a pipeline.
#[derive(Debug, Clone, serde::Serialize)]
pub struct RunRecord {
    pub run: RunId,
    pub pipeline: String,
    pub as_of: Instant,
    pub started_at: Instant,
    pub finished_at: Option<Instant>,
    pub outcome: RunOutcome,
    /// One line for a person: what failed, or what was done.
    pub message: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum RunOutcome {
    Running,
    Published,
    /// Published, but a system could not be pulled or a check warned.
    Degraded,
    Failed,
}

/// One pull of one stream.
#[derive(Debug, Clone, serde::Serialize)]
pub struct PullRecord {
    pub run: RunId,
    pub system: String,
    pub stream: String,
    pub started_at: Instant,
    pub seconds: f64,
    pub rows_read: u64,
    pub inserted: u64,
    pub updated: u64,
    pub deleted: u64,
    /// Whether the whole table was read.
    pub whole: bool,
    pub error: Option<String>,
}

impl Control {
    /// Takes the lease, or says who holds it.
    pub fn lease(&self) -> Result<Lease, StoreError> {
        todo!()
    }

    /// Starts a run and gives it the next number.
    pub fn start_run(&self, _pipeline: &str, _as_of: Instant) -> Result<RunId, StoreError> {
        todo!()
    }

    pub fn finish_run(&self, _run: RunId, _outcome: RunOutcome, _message: &str) -> Result<(), StoreError> {
        todo!()
    }

    /// Latest first.
    pub fn runs(&self, _limit: usize) -> Result<Vec<RunRecord>, StoreError> {
        todo!()
    }

    pub fn record_pull(&self, _pull: &PullRecord) -> Result<(), StoreError> {
        todo!()
    }

    /// The last pull of each stream.
    pub fn last_pulls(&self) -> Result<Vec<PullRecord>, StoreError> {
        todo!()
    }

    /// When the last pull of all streams of `system` that succeeded was started; the freshness of the system. `None` if never.
    pub fn pulled_at(&self, _system: &str) -> Result<Option<Instant>, StoreError> {
        todo!()
    }

    /// When a pipeline was last due and started; survives a restart.
    pub fn last_scheduled(&self, _pipeline: &str) -> Result<Option<Instant>, StoreError> {
        todo!()
    }

    pub fn set_last_scheduled(&self, _pipeline: &str, _at: Instant) -> Result<(), StoreError> {
        todo!()
    }
}
