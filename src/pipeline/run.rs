//! One run from pull to proof.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, PoisonError};
use std::time::Instant as Stopwatch;

use crate::base::time::{self, Instant};
use crate::base::{RunId, TableName};
use crate::model::{self, BuildContext, Built, Graph, ModelOutcome, ModelRun};
use crate::project::{Pipeline, Selector, Severity};
use crate::store::{Cut, RunOutcome};
use crate::writeback::{PlanRequest, WritebackError};

use super::ground::Ground;
use super::inputs::SystemsOf;
use super::live::Watched;
use super::progress::{Progress, Stage};
use super::pull::{Order, causes};
use super::{Hub, PipelineError, PullReport, RunOptions, RunReport, StageTime, WriteSummary};

/// A run under way.
pub(super) struct Running<'a> {
    pub run: RunId,
    pub as_of: Instant,
    pub options: &'a RunOptions<'a>,
    pub report: RunReport,
}

/// Why a run stopped without being broken: what it found forbids going on.
pub(super) struct Stopped(pub String);

impl Hub {
    /// Runs `pipeline`. A failed check, or a system that could not be pulled and may not be stale, makes a report with outcome `failed`, not an error.
    pub async fn run(&self, pipeline: &str, options: &RunOptions<'_>) -> Result<RunReport, PipelineError> {
        let pipeline = self.pipeline(pipeline)?;
        let graph = self.graph()?;
        let targets = self.targets_of(graph, pipeline).await?;
        let report = self.execute(&pipeline.name, Some(pipeline), graph, &targets, options).await?;
        self.tidy(options).await;
        Ok(report)
    }

    /// Builds the tables that `selectors` mean (all if there are none) from what was last pulled, and publishes; neither pulls nor writes.
    pub async fn build(&self, selectors: &[Selector], options: &RunOptions<'_>) -> Result<RunReport, PipelineError> {
        let graph = self.graph()?;
        let tables = self.selected(graph, selectors).await?;
        self.execute("build", None, graph, &tables, options).await
    }

    async fn execute(
        &self,
        name: &str,
        pipeline: Option<&Pipeline>,
        graph: &Graph,
        targets: &[TableName],
        options: &RunOptions<'_>,
    ) -> Result<RunReport, PipelineError> {
        self.lease()?;
        let _busy = self.busy.lock().await;
        if self.store.control_behind().await?.is_some() {
            // Publishing would make the control state look current, and nobody would look at the targets any more.
            return Err(WritebackError::ControlBehind.into());
        }
        let as_of = self.instant(options.as_of).await?;
        let run = self.store.control.start_run(name, as_of)?;
        let progress = Watched::new(&self.live, run, name, options.progress);
        let options = &RunOptions { progress: &progress, cancel: options.cancel.clone(), ..*options };
        let mut running = Running { run, as_of, options, report: RunReport::new(run, name, as_of) };
        let done = self.steps(pipeline, graph, targets, &mut running).await;
        self.close(running, done)
    }

    /// Records how the run ended.
    pub(super) fn close(
        &self,
        running: Running<'_>,
        done: Result<Result<(), Stopped>, PipelineError>,
    ) -> Result<RunReport, PipelineError> {
        let Running { run, mut report, .. } = running;
        let published = report.cut;
        match done {
            Ok(Ok(())) => report.message = report.summary_text(),
            Ok(Err(Stopped(why))) => {
                report.outcome = RunOutcome::Failed;
                report.message = why;
            }
            Err(error) => {
                // What is published stays published, whatever went wrong after it.
                let outcome = if published { RunOutcome::Degraded } else { RunOutcome::Failed };
                self.store.control.finish_run(run, outcome, &causes(&error))?;
                return Err(error);
            }
        }
        self.store.control.finish_run(run, report.outcome, &report.message)?;
        Ok(report)
    }

    async fn steps(
        &self,
        pipeline: Option<&Pipeline>,
        graph: &Graph,
        targets: &[TableName],
        running: &mut Running<'_>,
    ) -> Result<Result<(), Stopped>, PipelineError> {
        let systems = SystemsOf::new(graph);
        if let Some(pipeline) = pipeline.filter(|_| self.pulls()) {
            self.settle_and_pull(pipeline, running).await?;
        }
        // What an environment reads of production was fresh enough for that.
        if self.pulls()
            && let Err(stopped) = self.check_freshness(&systems.of_all(targets), running)?
        {
            return Ok(Err(stopped));
        }
        let cut = match self.build_and_publish(graph, targets, running).await? {
            Ok(cut) => cut,
            Err(stopped) => return Ok(Err(stopped)),
        };
        running.report.cut = true;
        if let Some(pipeline) = pipeline.filter(|_| self.writes()) {
            self.plan_and_apply(pipeline, &cut, &systems, running).await?;
        }
        Ok(Ok(()))
    }

    async fn settle_and_pull(&self, pipeline: &Pipeline, running: &mut Running<'_>) -> Result<(), PipelineError> {
        let watch = running.enter(Stage::Settle);
        running.report.summary.settled = self.writeback().settle().await?;
        running.leave(Stage::Settle, watch)?;

        let watch = running.enter(Stage::Pull);
        let systems = pipeline.pull.iter().map(|system| (system.clone(), None)).collect();
        running.report.pull = self.pull_systems(&running.order(systems)).await?;
        if !running.report.pull.complete() {
            running.report.outcome = RunOutcome::Degraded;
        }
        running.leave(Stage::Pull, watch)?;

        let watch = running.enter(Stage::Confirm);
        self.prove(running).await?;
        running.leave(Stage::Confirm, watch)
    }

    /// What the pulled rows say of changes under way; where an incremental pull cannot tell, the table is pulled whole.
    pub(super) async fn prove(&self, running: &mut Running<'_>) -> Result<(), PipelineError> {
        let mut confirmed = self.writeback().confirm().await?;
        if !confirmed.whole_needed.is_empty() {
            let mut order = running.order(by_system(&confirmed.whole_needed));
            order.whole = true;
            let pull = self.pull_systems(&order).await?;
            running.report.pull.add(pull);
            confirmed.add(self.writeback().confirm().await?);
        }
        let summary = &mut running.report.summary;
        let before = std::mem::replace(&mut summary.confirmed, confirmed);
        let whole_needed = std::mem::take(&mut summary.confirmed.whole_needed);
        summary.confirmed.add(before);
        summary.confirmed.whole_needed = whole_needed;
        Ok(())
    }

    fn check_freshness(
        &self,
        systems: &BTreeSet<String>,
        running: &mut Running<'_>,
    ) -> Result<Result<(), Stopped>, PipelineError> {
        let found = self.staleness(systems)?;
        if !found.tolerated.is_empty() {
            running.report.outcome = RunOutcome::Degraded;
            running.report.stale.clone_from(&found.tolerated);
        }
        if found.refused.is_empty() {
            return Ok(Ok(()));
        }
        let mut why = found.refused.join("; ");
        for (system, error) in running.report.pull.incomplete() {
            why += &format!("; pull of \"{system}\": {error}");
        }
        running.report.stale.extend(found.refused);
        Ok(Err(Stopped(why)))
    }

    async fn build_and_publish(
        &self,
        graph: &Graph,
        targets: &[TableName],
        running: &mut Running<'_>,
    ) -> Result<Result<Cut, Stopped>, PipelineError> {
        let ground = self.ground(graph).await?;
        self.build_on(graph, targets, ground, running).await
    }

    /// Builds, checks and publishes as one cut.
    pub(super) async fn build_on(
        &self,
        graph: &Graph,
        targets: &[TableName],
        ground: Ground<'_>,
        running: &mut Running<'_>,
    ) -> Result<Result<Cut, Stopped>, PipelineError> {
        let watch = running.enter(Stage::Build);
        let Ground { mut pinned, current, beside, mut tables, exports } = ground;
        let mut exported = Vec::new();
        if exports {
            let changes = self.export_changes(running.run).await?;
            pinned.insert(changes.version.table.clone(), changes.version);
            exported.push(changes.staged);
        }
        let (memory_limit_bytes, full) = (self.project.memory_limit_bytes, running.options.full);
        let (run, as_of) = (running.run, running.as_of);
        let context = BuildContext { store: &self.store, run, as_of, pinned, current, memory_limit_bytes, full, beside };
        let progress = Models { progress: running.options.progress, seen: Mutex::default() };
        let built = model::build(&self.project, graph, targets, context, &progress).await;
        self.note_models(running, &progress).await;
        let Built { mut staged, unchanged, as_production, models, failed_checks } = built?;
        running.report.models = models;
        running.leave(Stage::Build, watch)?;
        if let Err(stopped) = self.judge(&failed_checks, graph, running).await? {
            return Ok(Err(stopped));
        }

        let watch = running.enter(Stage::Publish);
        tables.retain(|table, _| !as_production.contains(table));
        tables.extend(unchanged);
        if exports {
            exported.push(self.export_freshness(run).await?);
        }
        staged.extend(exported);
        for table in staged.iter().filter_map(|staged| staged.table.parse().ok()) {
            tables.remove::<TableName>(&table);
        }
        let cut = self.store.publish(run, as_of, staged, tables).await?;
        if let Some(base) = &cut.base {
            self.store.stand_on(base.run, None).await?;
        }
        running.leave(Stage::Publish, watch)?;
        Ok(Ok(cut))
    }

    /// Notes what became of each table in `system.model_runs`, whether the run goes on or not.
    async fn note_models(&self, running: &Running<'_>, progress: &Models<'_>) {
        let models = std::mem::take(&mut *progress.seen.lock().unwrap_or_else(PoisonError::into_inner));
        let noted = match model::model_runs_batch(running.run, running.as_of, &models) {
            None => return,
            Some(Ok(rows)) => self.store.append_model_runs(running.run, rows).await.map_err(|error| causes(&error)),
            Some(Err(error)) => Err(error.to_string()),
        };
        if let Err(error) = noted {
            tracing::warn!("cannot note what was built in system.model_runs: {error}");
        }
    }

    async fn plan_and_apply(
        &self,
        pipeline: &Pipeline,
        cut: &Cut,
        systems: &SystemsOf,
        running: &mut Running<'_>,
    ) -> Result<(), PipelineError> {
        let watch = running.enter(Stage::Plan);
        let inputs = systems.of_writes();
        let request = PlanRequest { run: running.run, cut, rules: &pipeline.write, inputs: &inputs, now: time::now() };
        let plan = self.writeback().plan(&request).await?;
        running.report.summary.waiting = plan.writes.iter().map(|write| write.waiting).sum();
        running.report.writes = plan.writes;
        running.leave(Stage::Plan, watch)?;
        self.send_and_prove(running).await
    }

    /// Sends what is approved, pulls what was written, confirms.
    pub(super) async fn send_and_prove(&self, running: &mut Running<'_>) -> Result<(), PipelineError> {
        let watch = running.enter(Stage::Apply);
        let applied = self.writeback().apply(time::now()).await?;
        running.options.progress.applied(&applied);
        let written: BTreeSet<(String, String)> = applied.written.iter().cloned().collect();
        if !applied.errors.is_empty() {
            running.report.outcome = RunOutcome::Degraded;
        }
        running.report.summary.applied = applied;
        running.leave(Stage::Apply, watch)?;
        if written.is_empty() {
            return Ok(());
        }
        let watch = running.enter(Stage::Confirm);
        let pull = self.pull_systems(&running.order(by_system(&written))).await?;
        running.report.pull.add(pull);
        self.prove(running).await?;
        running.leave(Stage::Confirm, watch)
    }
}

impl<'a> Running<'a> {
    pub fn order(&self, systems: BTreeMap<String, Option<BTreeSet<String>>>) -> Order<'a> {
        let (options, full) = (self.options, self.options.full);
        Order {
            run: self.run,
            systems,
            whole: full,
            allow_mass_delete: full,
            any_hour: options.any_hour,
            options,
            as_of: self.as_of,
        }
    }

    pub fn enter(&self, stage: Stage) -> Stopwatch {
        self.options.progress.stage(stage);
        Stopwatch::now()
    }

    /// Notes how long a stage took, and stops if someone asked for it: every stage ends with a durable step.
    pub fn leave(&mut self, stage: Stage, watch: Stopwatch) -> Result<(), PipelineError> {
        let seconds = watch.elapsed().as_secs_f64();
        match self.report.stages.iter_mut().find(|time| time.stage == stage) {
            Some(time) => time.seconds += seconds,
            None => self.report.stages.push(StageTime { stage, seconds }),
        }
        self.options.go_on()
    }
}

fn by_system(streams: &BTreeSet<(String, String)>) -> BTreeMap<String, Option<BTreeSet<String>>> {
    let mut systems: BTreeMap<String, Option<BTreeSet<String>>> = BTreeMap::new();
    for (system, stream) in streams {
        systems.entry(system.clone()).or_default().get_or_insert_default().insert(stream.clone());
    }
    systems
}

/// Hands a build's progress on, and keeps it.
struct Models<'a> {
    progress: &'a dyn Progress,
    seen: Mutex<Vec<ModelRun>>,
}

impl model::Progress for Models<'_> {
    fn started(&self, table: &TableName) {
        self.progress.started(table);
    }

    fn model(&self, run: &ModelRun, done: usize, total: usize) {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).push(run.clone());
        self.progress.model(run, done, total);
    }
}

impl RunReport {
    pub(super) fn new(run: RunId, pipeline: &str, as_of: Instant) -> Self {
        Self {
            run,
            pipeline: pipeline.into(),
            as_of,
            outcome: RunOutcome::Published,
            message: String::new(),
            cut: false,
            stale: Vec::new(),
            pull: PullReport::default(),
            models: Vec::new(),
            checks: Vec::new(),
            writes: Vec::new(),
            summary: WriteSummary::default(),
            stages: Vec::new(),
        }
    }

    fn summary_text(&self) -> String {
        let made = self.models.iter().filter(|model| model.outcome != ModelOutcome::Skipped).count();
        let mut parts = Vec::new();
        if !self.pull.systems.is_empty() {
            parts.push(self.pull.summary());
        }
        parts.push(format!("{made} of {} tables built", self.models.len()));
        let (applied, confirmed) = (&self.summary.applied, &self.summary.confirmed);
        let counts = [
            (self.checks.iter().filter(|check| check.severity == Severity::Warn).count(), "checks warn"),
            (applied.sent, "changes sent"),
            (confirmed.confirmed, "confirmed"),
            (applied.conflicted, "conflicted"),
            (applied.failed, "refused by their target"),
            (confirmed.overridden, "overridden"),
            (self.summary.waiting, "waiting for approval"),
        ];
        parts.extend(counts.iter().filter(|(count, _)| *count > 0).map(|(count, what)| format!("{count} {what}")));
        parts.extend(self.stale.iter().cloned());
        parts.join(", ")
    }
}
