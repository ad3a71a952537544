//! Sending what is approved and proving it, outside of a run.

use crate::store::ChangeId;
use crate::writeback::{Preview, Recovered, Undone};

use super::{Hub, PipelineError, RunOptions, WriteSummary};

impl Hub {
    /// Sends what is approved, pulls what was written, confirms.
    pub async fn apply(&self, _options: &RunOptions<'_>) -> Result<WriteSummary, PipelineError> {
        todo!()
    }

    /// What the next plan of `pipeline` (all pipelines' rules if `None`) would hold, from the last cut; touches nothing.
    pub async fn plan(&self, _pipeline: Option<&str>) -> Result<Preview, PipelineError> {
        todo!()
    }

    /// Plans the reverse of confirmed changes; `by` is the person's name.
    pub async fn undo(&self, _ids: &[ChangeId], _by: &str) -> Result<Undone, PipelineError> {
        todo!()
    }

    /// After a lost or restored control state: looks at the targets, adopts the hub's own rows, and lifts the refusal to write.
    pub async fn recover(&self, _options: &RunOptions<'_>) -> Result<Recovered, PipelineError> {
        todo!()
    }
}
