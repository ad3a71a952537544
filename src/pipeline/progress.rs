//! What a caller sees of a run as it goes on, and how it stops one.

use std::sync::Arc;

use serde::Serialize;
use tokio::sync::watch;

use crate::base::TableName;
use crate::model::ModelRun;
use crate::writeback::Applied;

use super::pull::Flow;
use super::report::{StreamCheck, StreamPull};

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

impl Stage {
    /// A word, and what is done in it.
    pub fn words(self) -> (&'static str, &'static str) {
        match self {
            Self::Settle => ("settle", "looking up what became of earlier changes"),
            Self::Pull => ("pull", "opening the systems"),
            Self::Build => ("build", "reading the statements"),
            Self::Publish => ("publish", "making the run's tables visible together"),
            Self::Plan => ("plan", "comparing what is wanted with the systems"),
            Self::Apply => ("write", "sending what is approved"),
            Self::Confirm => ("confirm", "reading back what was written"),
        }
    }
}

/// Called as a run goes on, from any thread. Every method has an empty default.
pub trait Progress: Send + Sync {
    fn stage(&self, _stage: Stage) {}
    /// How far a stream is that is being read; a few times a second.
    fn rows(&self, _flow: &Flow<'_>) {}
    /// A stream is done; `done` of `total` streams of this pull are.
    fn pulled(&self, _pull: &StreamPull, _done: usize, _total: usize) {}
    /// A stream was compared with its table.
    fn verified(&self, _check: &StreamCheck, _done: usize, _total: usize) {}
    /// A table is being built from now on.
    fn started(&self, _table: &TableName) {}
    /// A table is done, or failed; `done` of `total` are.
    fn model(&self, _run: &ModelRun, _done: usize, _total: usize) {}
    fn applied(&self, _applied: &Applied) {}
}

/// Shows nothing.
pub struct Silent;

impl Progress for Silent {}

/// A request to stop, shared by clones. A run looks at it between durable steps: what is done stays, the rest is left to the next run.
#[derive(Debug, Clone)]
pub struct Cancel(Arc<watch::Sender<bool>>);

impl Default for Cancel {
    fn default() -> Self {
        Self(Arc::new(watch::Sender::new(false)))
    }
}

impl Cancel {
    pub fn cancel(&self) {
        self.0.send_replace(true);
    }

    pub fn cancelled(&self) -> bool {
        *self.0.borrow()
    }

    /// Returns when someone cancels.
    pub async fn wait(&self) {
        // the sender lives as long as `self`
        let _ = self.0.subscribe().wait_for(|cancelled| *cancelled).await;
    }
}
