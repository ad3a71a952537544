//! The hub: an opened project.

use std::sync::Arc;

use crate::base::time::Instant;
use crate::project::Project;
use crate::store::{Lease, Store};
use crate::writeback::Writeback;

use super::progress::{Cancel, Progress};
use super::{PipelineError, Silent};

/// Whether a hub may commit to the store and write to systems.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// Any number at a time. Approvals need no more than this.
    Read,
    /// One process at a time: takes the store's lease.
    Write,
}

/// An opened project: what every command and route works on.
pub struct Hub {
    pub project: Arc<Project>,
    pub store: Store,
    pub(super) lease: Option<Lease>,
}

/// How to run, apart from what the pipeline says.
pub struct RunOptions<'a> {
    /// Overrides the run's instant (default: [`Hub::now`]).
    pub as_of: Option<Instant>,
    /// Reads every table whole, and lets sweeps remove any number of rows.
    pub full: bool,
    pub progress: &'a dyn Progress,
    pub cancel: Cancel,
}

impl Default for RunOptions<'_> {
    fn default() -> Self {
        Self { as_of: None, full: false, progress: &Silent, cancel: Cancel::default() }
    }
}

impl Hub {
    pub async fn open(_project: Arc<Project>, _access: Access) -> Result<Self, PipelineError> {
        todo!()
    }

    /// The plant's current instant: the project's clock file, else the wall clock.
    pub fn now(&self) -> Result<Instant, PipelineError> {
        todo!()
    }

    /// The ledger's side of this hub.
    pub fn writeback(&self) -> Writeback<'_> {
        Writeback::new(&self.project, &self.store)
    }
}
