//! Planning, sending and proving outside of a run.

use std::collections::BTreeMap;

use crate::base::time;
use crate::project::WriteRule;
use crate::store::{ChangeId, RunOutcome};
use crate::writeback::{PlanRequest, Preview, Recovered, Undone};

use super::inputs::SystemsOf;
use super::pull::causes;
use super::run::Running;
use super::{Hub, PipelineError, RunOptions, RunReport, WriteSummary};

impl Hub {
    /// Sends what is approved, pulls what was written, confirms.
    pub async fn apply(&self, options: &RunOptions<'_>) -> Result<WriteSummary, PipelineError> {
        self.lease()?;
        self.may("write")?;
        let _busy = self.busy.lock().await;
        let as_of = options.as_of.map_or_else(|| self.now(), Ok)?;
        let run = self.store.control.start_run("apply", as_of)?;
        let mut running = Running { run, as_of, options, report: RunReport::new(run, "apply", as_of) };
        match self.send_and_prove(&mut running).await {
            Ok(()) => {
                let (applied, confirmed) = (&running.report.summary.applied, &running.report.summary.confirmed);
                let message = format!("{} changes sent, {} confirmed", applied.sent, confirmed.confirmed);
                self.store.control.finish_run(run, running.report.outcome, &message)?;
                Ok(running.report.summary)
            }
            Err(error) => {
                self.store.control.finish_run(run, RunOutcome::Failed, &causes(&error))?;
                Err(error)
            }
        }
    }

    /// What the next plan of `pipeline` (all pipelines' rules if `None`) would hold, from the last cut; touches nothing.
    pub async fn plan(&self, pipeline: Option<&str>) -> Result<Preview, PipelineError> {
        let graph = self.graph()?;
        let rules = match pipeline {
            Some(name) => self.pipeline(name)?.write.clone(),
            None => self.all_rules(),
        };
        let cut = self.cut().await?;
        let inputs = SystemsOf::new(graph).of_writes();
        let request = PlanRequest { run: cut.run, cut: &cut, rules: &rules, inputs: &inputs, now: time::now() };
        Ok(self.writeback().preview(&request).await?)
    }

    /// Every kind's rule; where pipelines differ, the stricter one.
    fn all_rules(&self) -> BTreeMap<String, WriteRule> {
        let mut rules: BTreeMap<String, WriteRule> = BTreeMap::new();
        let strictness = |rule: &WriteRule| match rule.mode {
            crate::project::Mode::Off => 0,
            crate::project::Mode::Auto => 1,
            crate::project::Mode::Approve => 2,
        };
        for (kind, rule) in self.project.pipelines.values().flat_map(|pipeline| &pipeline.write) {
            if rules.get(kind).is_none_or(|known| strictness(known) < strictness(rule)) {
                rules.insert(kind.clone(), rule.clone());
            }
        }
        rules
    }

    /// Plans the reverse of confirmed changes; `by` is the person's name. Sent by the next apply or run, once approved.
    pub async fn undo(&self, ids: &[ChangeId], by: &str) -> Result<Undone, PipelineError> {
        self.may("write")?;
        let cut = self.cut().await?;
        Ok(self.writeback().undo(cut.run, ids, by).await?)
    }

    /// After a lost or restored control state: looks at the targets, adopts the hub's own rows, and lifts the refusal to write unless a target could
    /// not be looked at.
    pub async fn recover(&self, options: &RunOptions<'_>) -> Result<Recovered, PipelineError> {
        let lease = self.lease()?;
        self.may("write")?;
        let _busy = self.busy.lock().await;
        options.go_on()?;
        let cut = self.cut().await?;
        let recovered = self.writeback().recover(&cut).await?;
        if recovered.errors.is_empty() {
            self.store.adopt_control(lease).await?;
        }
        Ok(recovered)
    }
}
