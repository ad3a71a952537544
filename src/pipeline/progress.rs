//! What a caller sees of a run as it goes on, and how it stops one.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use serde::Serialize;

use crate::model::ModelRun;
use crate::writeback::Applied;

use super::report::StreamPull;

/// A part of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Stage {
    Settle,
    Pull,
    Build,
    Publish,
    Plan,
    Apply,
    Confirm,
}

/// Called as a run goes on, from any thread. Every method has an empty default.
pub trait Progress: Send + Sync {
    fn stage(&self, _stage: Stage) {}
    /// `rows` more rows of a stream were read.
    fn rows(&self, _system: &str, _stream: &str, _rows: u64) {}
    /// A stream is done; `done` of `total` streams of this pull are.
    fn pulled(&self, _pull: &StreamPull, _done: usize, _total: usize) {}
    fn model(&self, _run: &ModelRun, _done: usize, _total: usize) {}
    fn applied(&self, _applied: &Applied) {}
}

/// Shows nothing.
pub struct Silent;

impl Progress for Silent {}

/// A request to stop, shared by clones. A run looks at it between durable steps: what is done stays, the rest is left to the next run.
#[derive(Debug, Clone, Default)]
pub struct Cancel(Arc<AtomicBool>);

impl Cancel {
    pub fn cancel(&self) {
        self.0.store(true, Ordering::SeqCst);
    }

    pub fn cancelled(&self) -> bool {
        self.0.load(Ordering::SeqCst)
    }
}
