//! The hub: an opened project.

use std::mem::ManuallyDrop;
use std::sync::{Arc, OnceLock};

use chrono::{DateTime, SubsecRound, Utc};
use tokio::sync::Mutex;

use crate::base::time::{self, Instant};
use crate::base::{RunId, nearest};
use crate::model::{Graph, Reader};
use crate::project::{Pipeline, Project};
use crate::store::{Cut, Lease, Store};
use crate::writeback::Writeback;

use super::live::Live;
use super::progress::{Cancel, Progress};
use super::promote::known_environment;
use super::{PipelineError, Silent};

/// Whether a hub may commit to the store and write to systems.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// Any number at a time. Approvals need no more than this.
    Read,
    /// One process at a time: takes the store's lease, and finishes a publication that was cut short.
    Write,
}

/// An opened project: what every command and route works on.
pub struct Hub {
    pub project: Arc<Project>,
    pub store: Store,
    pub(super) lease: Option<Lease>,
    /// Held by whatever writes, so that runs of one process never overlap.
    pub(super) busy: Mutex<()>,
    pub(super) live: Live,
    /// Never taken apart: it lives as long as the process, and a thousand syntax trees take a while.
    pub(super) graph: OnceLock<ManuallyDrop<Graph>>,
}

/// How to run, apart from what the pipeline says.
pub struct RunOptions<'a> {
    /// Overrides the run's instant (default: [`Hub::now`]).
    pub as_of: Option<Instant>,
    /// Reads every table whole, lets sweeps remove any number of rows, and builds every model whole.
    pub full: bool,
    /// Pulls systems outside of their hours, too.
    pub any_hour: bool,
    pub progress: &'a dyn Progress,
    pub cancel: Cancel,
}

impl Default for RunOptions<'_> {
    fn default() -> Self {
        Self { as_of: None, full: false, any_hour: false, progress: &Silent, cancel: Cancel::default() }
    }
}

impl RunOptions<'_> {
    /// An error if someone asked to stop; called between durable steps.
    pub(super) fn go_on(&self) -> Result<(), PipelineError> {
        if self.cancel.cancelled() { Err(PipelineError::Cancelled) } else { Ok(()) }
    }
}

impl Hub {
    pub async fn open(project: Arc<Project>, access: Access) -> Result<Self, PipelineError> {
        if let (Access::Read, Some(environment)) = (access, &project.environment) {
            // Looking for what is not there must not make it.
            known_environment(&Store::environments_beside(&project).await?, &environment.name)?;
        }
        let store = Store::open(&project).await?;
        let lease = match access {
            Access::Read => None,
            Access::Write => {
                let lease = store.control.lease()?;
                store.roll_forward(&lease).await?;
                Some(lease)
            }
        };
        Ok(Self { project, store, lease, busy: Mutex::new(()), live: Live::default(), graph: OnceLock::new() })
    }

    /// The plant's current instant: the project's clock file, else the wall clock.
    pub fn now(&self) -> Result<Instant, PipelineError> {
        let Some(path) = &self.project.clock_file else { return Ok(time::now()) };
        let path = self.project.root.join(path);
        let wrong = |what: String| PipelineError::Clock { path: path.clone(), what };
        let text = std::fs::read_to_string(&path).map_err(|error| wrong(error.to_string()))?;
        let instant = DateTime::parse_from_rfc3339(text.trim()).map_err(|error| wrong(error.to_string()))?;
        Ok(instant.with_timezone(&Utc).trunc_subsecs(6))
    }

    /// The ledger's side of this hub.
    pub fn writeback(&self) -> Writeback<'_> {
        Writeback::new(&self.project, &self.store)
    }

    /// SQL over the last complete cut.
    pub async fn reader(&self) -> Result<Reader<'_>, PipelineError> {
        let cut = self.cut().await?;
        Ok(Reader::new(&self.project, &self.store, &cut).await?)
    }

    /// The last complete cut.
    pub async fn cut(&self) -> Result<Cut, PipelineError> {
        self.store.cut().await?.ok_or(PipelineError::NoCut)
    }

    /// The cut of a run, as long as it is kept; the last complete one for `None`.
    pub async fn cut_of(&self, run: Option<RunId>) -> Result<Cut, PipelineError> {
        match run {
            Some(run) => Ok(self.store.cut_of(run).await?),
            None => self.cut().await,
        }
    }

    pub(super) fn lease(&self) -> Result<&Lease, PipelineError> {
        self.lease.as_ref().ok_or(PipelineError::ReadOnly)
    }

    pub(super) fn pipeline(&self, name: &str) -> Result<&Pipeline, PipelineError> {
        self.project.pipelines.get(name).ok_or_else(|| {
            let names = self.project.pipelines.keys().map(String::as_str);
            let hint = match nearest(name, names.clone()) {
                Some(near) => format!("did you mean \"{near}\"?"),
                None => format!("the project has: {}", names.collect::<Vec<_>>().join(", ")),
            };
            PipelineError::Unknown { what: "pipeline", name: name.into(), hint: Some(hint) }
        })
    }
}
