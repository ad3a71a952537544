//! Pulling systems into raw tables.

use super::{Hub, PipelineError, PullReport, RunOptions};

impl Hub {
    /// Pulls these systems (all if empty): systems side by side, the streams of one in one snapshot. A stream that fails stops no other; see the report.
    pub async fn pull(&self, _systems: &[String], _options: &RunOptions<'_>) -> Result<PullReport, PipelineError> {
        todo!()
    }
}
