//! Where the loop stands.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::base::RunId;
use crate::base::time::Instant;
use crate::store::{PullRecord, RunRecord};

use super::{Hub, PipelineError};

/// Where the loop stands, from the control state and the last cut alone.
#[derive(Debug, Clone, Serialize)]
pub struct Status {
    pub now: Instant,
    /// The last complete cut and its instant.
    pub cut: Option<(RunId, Instant)>,
    pub systems: Vec<Freshness>,
    pub pulls: Vec<PullRecord>,
    /// Latest first.
    pub runs: Vec<RunRecord>,
    /// (kind, state) → changes, without those superseded.
    pub changes: BTreeMap<String, BTreeMap<String, usize>>,
    /// Pipelines and when they are due next.
    pub due: Vec<(String, Option<Instant>)>,
    /// Why nothing is written, if so.
    pub refused: Option<String>,
}

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
        todo!()
    }
}
