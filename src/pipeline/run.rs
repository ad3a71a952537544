//! One run from pull to proof.

use super::{Hub, PipelineError, RunOptions, RunReport};

impl Hub {
    /// Runs `pipeline`. A failed check, or a system that could not be pulled and may not be stale, makes a report with outcome `failed`, not an error.
    pub async fn run(&self, _pipeline: &str, _options: &RunOptions<'_>) -> Result<RunReport, PipelineError> {
        todo!()
    }

    /// Builds `targets` (schemas or tables; all if empty) from what was last pulled, and publishes; neither pulls nor writes.
    pub async fn build(&self, _targets: &[String], _options: &RunOptions<'_>) -> Result<RunReport, PipelineError> {
        todo!()
    }
}
