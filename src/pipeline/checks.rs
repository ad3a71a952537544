//! What becomes of failed checks: the run stops or goes on, failing rows are kept in tables outside of the cut until the check is met again.

use arrow::util::pretty::pretty_format_batches;

use crate::base::RunId;
use crate::model::{FailedCheck, Graph};
use crate::project::Severity;
use crate::store::RunOutcome;

use super::run::{Running, Stopped};
use super::{CheckReport, Hub, PipelineError};

/// Rows of a failed check that are shown with the run.
const SAMPLE_ROWS: usize = 20;
/// Note: the checks that did not hold when they last ran.
const FAILING: &str = "failing checks";

impl Hub {
    /// The checks that did not hold when they last ran, by table.
    pub fn failing_checks(&self) -> Result<Vec<CheckReport>, PipelineError> {
        let note = self.store.control.note(FAILING)?;
        Ok(note.and_then(|text| serde_json::from_str(&text).ok()).unwrap_or_default())
    }

    /// Reports what did not hold, and keeps the failing rows to look at.
    pub(super) async fn judge(
        &self,
        failed: &[FailedCheck],
        graph: &Graph,
        running: &mut Running<'_>,
    ) -> Result<Result<(), Stopped>, PipelineError> {
        let (run, reports) = (running.run, failed.iter().map(|check| CheckReport::new(running.run, check)).collect::<Vec<_>>());
        self.keep_failing(run, failed, &reports, graph, running).await?;
        if failed.is_empty() {
            return Ok(Ok(()));
        }
        if let Ok(text) = serde_json::to_string(&reports) {
            self.store.control.set_note(&format!("checks of run {run}"), &text)?;
        }
        let fatal = reports.iter().filter(|check| check.severity == Severity::Error);
        let fatal: Vec<String> = fatal.map(|check| format!("{}: {} ({})", check.table, check.check, check.found)).collect();
        running.report.checks = reports;
        if fatal.is_empty() {
            running.report.outcome = RunOutcome::Degraded;
            return Ok(Ok(()));
        }
        Ok(Err(Stopped(format!("nothing is published: {}", fatal.join("; ")))))
    }

    /// Failing rows take the place of those of an earlier run; what is met again, or is no longer checked, keeps none.
    async fn keep_failing(
        &self,
        run: RunId,
        failed: &[FailedCheck],
        reports: &[CheckReport],
        graph: &Graph,
        running: &Running<'_>,
    ) -> Result<(), PipelineError> {
        let before = self.failing_checks()?;
        // A run that stops may not have come to a check that failed before.
        let stops = failed.iter().any(|check| check.severity == Severity::Error);
        let ran = |table: &str| !stops && running.report.models.iter().any(|model| model.table == table);
        let gone = |table: &str| table.parse().is_ok_and(|table| graph.node(&table).is_none());
        let (met, mut failing): (Vec<CheckReport>, Vec<CheckReport>) =
            before.into_iter().partition(|check| ran(&check.table) || gone(&check.table));
        for check in failed {
            self.store.keep_rows(run, &check.kept, &check.sample).await?;
        }
        for table in met.iter().filter(|check| !reports.iter().any(|report| report.kept == check.kept)) {
            if let Ok(table) = table.kept.parse() {
                self.store.clear_kept(run, &table).await?;
            }
        }
        failing.retain(|check| !reports.iter().any(|report| report.kept == check.kept));
        failing.extend(reports.iter().cloned());
        failing.sort_by(|a, b| a.kept.cmp(&b.kept));
        let text = serde_json::to_string(&failing).map_err(|error| PipelineError::Task(error.to_string()))?;
        let nothing = failing.is_empty() && self.store.control.note(FAILING)?.is_none();
        if nothing { Ok(()) } else { Ok(self.store.control.set_note(FAILING, &text)?) }
    }
}

impl CheckReport {
    fn new(run: RunId, check: &FailedCheck) -> Self {
        let sample = check.sample.slice(0, check.sample.num_rows().min(SAMPLE_ROWS));
        Self {
            run,
            table: check.table.to_string(),
            check: check.check.clone(),
            severity: check.severity,
            rows: check.rows,
            found: check.found.clone(),
            kept: check.kept.to_string(),
            sample: pretty_format_batches(&[sample]).map(|table| table.to_string()).unwrap_or_default(),
        }
    }
}
