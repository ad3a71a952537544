//! A past run once more.

use serde::Serialize;

use crate::base::RunId;
use crate::base::time::Instant;
use crate::model::{self, Beside, BuildContext, ReplayOutcome, Replayed};

use super::{Hub, PipelineError};

/// What came of a replay.
#[derive(Debug, Clone, Serialize)]
pub struct ReplayReport {
    pub run: RunId,
    pub as_of: Instant,
    /// Whether every table that the run made came out as it was published.
    pub identical: bool,
    pub tables: Vec<Replayed>,
}

impl Hub {
    /// Makes the tables of `run` again from the versions that it read, as of its instant, and compares them with what it published. Writes nothing.
    ///
    /// # Errors
    /// A run that published nothing, or whose versions are no longer kept.
    pub async fn replay(
        &self,
        run: RunId,
        progress: &(dyn Fn(&Replayed, usize, usize) + Sync),
    ) -> Result<ReplayReport, PipelineError> {
        let graph = self.graph()?;
        let cut = self.store.cut_of(run).await?;
        let (pinned, current) = self.split(&cut).await?;
        let context = BuildContext {
            store: &self.store,
            run,
            as_of: cut.as_of,
            pinned,
            current,
            memory_limit_bytes: self.project.memory_limit_bytes,
            full: true,
            beside: Beside::Nothing,
        };
        let tables = model::replay(&self.project, graph, context, progress).await?;
        let is_wrong = |table: &Replayed| matches!(table.outcome, ReplayOutcome::Differs | ReplayOutcome::Failed);
        Ok(ReplayReport { run, as_of: cut.as_of, identical: !tables.iter().any(is_wrong), tables })
    }
}
