//! Builds nodes in order, into staged files.
//!
//! A node is skipped when nothing that could change its rows did: its statement, the data of what it reads, its clock cut to the grain, the
//! versions of the decision functions that it calls. What it read is kept with its version (`loopline.inputs`), so that the next run can say
//! what changed. A node whose rows come out as they were leaves its readers alone. A failed check stops the nodes behind it, not the others.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};

use arrow::array::RecordBatch;
use arrow::datatypes::{Schema, SchemaRef};
use datafusion::datasource::TableProvider;
use datafusion::datasource::empty::EmptyTable;
use datafusion::error::DataFusionError;
use datafusion::execution::SessionState;
use datafusion::logical_expr::LogicalPlan;
use datafusion::physical_plan::execute_stream;
use futures::stream::FuturesUnordered;
use futures::{StreamExt, TryStreamExt};

use super::check::{self, Rule};
use super::engine::{Engine, Tables, frugal};
use super::fingerprint::{Fingerprint, definition};
use super::graph::{Node, NodeKind};
use super::plan::{Planned, Planner, changes_schema, deleted_schema};
use super::table::Files;
use super::{Beside, BuildContext, Built, FailedCheck, Graph, ModelError, ModelOutcome, ModelRun, Progress};
use crate::base::TableName;
use crate::project::{Project, Severity};
use crate::store::{Batches, Staged, StoreError, TableVersion};

/// Nodes built at the same time; each already uses several threads.
const NODES_AT_ONCE: usize = 2;

/// Property of a table version: what its rows were made from.
const FINGERPRINT: &str = "loopline.fingerprint";
/// Property: the parts of the fingerprint, to say what changed.
const INPUTS: &str = "loopline.inputs";
/// Property: hash of the checks that the rows passed.
const CHECKS: &str = "loopline.checks";
/// Property: hash of the rows; set by the store.
const CONTENT: &str = "loopline.content";
/// Why a table of an environment is not built.
const AS_PRODUCTION: &str = "as in production";
/// Property: what last changed the rows, a pull or a run.
const DATA: &str = "loopline.data";

/// Builds `targets` and everything they need; skips what cannot have changed.
pub async fn build(
    project: &Project,
    graph: &Graph,
    targets: &[TableName],
    context: BuildContext<'_>,
    progress: &dyn Progress,
) -> Result<Built, ModelError> {
    let wanted = graph.closure(targets)?;
    let engine = Engine::new(context.store.object_store(), context.memory_limit_bytes)?;
    let planner = Planner { project, engine: &engine, as_of: context.as_of };
    let builder = Builder { planner, graph, context: &context, ready: Mutex::default() };
    builder.run(wanted, progress).await
}

/// The engine's error, kept aside.
pub(super) type Cause = Arc<Mutex<Option<DataFusionError>>>;

/// A table that later nodes may read.
#[derive(Clone)]
struct Ready {
    /// Changes when the rows do.
    data: String,
    /// `None` for a mapped view, which is planned where it is read.
    provider: Option<Arc<dyn TableProvider>>,
}

impl Ready {
    fn view(fingerprint: &Fingerprint) -> Self {
        Self { data: fingerprint.of_view(), provider: None }
    }

    fn kept(current: &TableVersion) -> Self {
        let data = current.properties.get(CONTENT).cloned().unwrap_or_else(|| current.version.to_string());
        Self { data, provider: Some(Arc::new(Files::of(current))) }
    }
}

pub(super) struct Builder<'a> {
    pub planner: Planner<'a>,
    graph: &'a Graph,
    pub context: &'a BuildContext<'a>,
    ready: Mutex<BTreeMap<TableName, Ready>>,
}

/// What became of one node.
struct Done<'a> {
    node: &'a Node,
    ready: Ready,
    /// Nothing for a mapped view.
    run: Option<ModelRun>,
    staged: Option<Staged>,
    failed_checks: Vec<FailedCheck>,
}

impl<'a> Builder<'a> {
    /// A builder for which every table of `context.current` is made already. A view of which a pulled table is missing is not: who reads it will say so.
    pub fn over_current(planner: Planner<'a>, graph: &'a Graph, context: &'a BuildContext<'a>) -> Self {
        let builder = Self { planner, graph, context, ready: Mutex::default() };
        for node in &graph.nodes {
            let ready = match (node.kind, context.current.get(&node.table)) {
                (NodeKind::Mapped, _) => builder.fingerprint(node).ok().map(|fingerprint| Ready::view(&fingerprint)),
                (_, Some(current)) => Some(Ready::kept(current)),
                (_, None) => None,
            };
            if let Some(ready) = ready {
                builder.ready.lock().unwrap_or_else(PoisonError::into_inner).insert(node.table.clone(), ready);
            }
        }
        builder
    }

    async fn run(&self, mut waiting: Vec<usize>, progress: &dyn Progress) -> Result<Built, ModelError> {
        let total = waiting.iter().filter(|at| self.graph.nodes[**at].kind != NodeKind::Mapped).count();
        let mut open: BTreeSet<&TableName> = waiting.iter().map(|at| &self.graph.nodes[*at].table).collect();
        let mut built = Built {
            staged: vec![],
            unchanged: BTreeMap::new(),
            as_production: BTreeSet::new(),
            models: vec![],
            failed_checks: vec![],
        };
        let mut running = FuturesUnordered::new();
        loop {
            while running.len() < NODES_AT_ONCE {
                let ready = |at: &usize| !self.graph.nodes[*at].inputs.iter().any(|input| open.contains(input));
                let Some(next) = waiting.iter().position(ready) else { break };
                running.push(self.make(&self.graph.nodes[waiting.remove(next)]));
            }
            let Some(done) = running.next().await else { break };
            let done = done?;
            // The nodes behind a failed check stay open, and are never started.
            if !done.failed_checks.iter().any(|check| check.severity == Severity::Error) {
                open.remove(&done.node.table);
            }
            self.record(done, &mut built, progress, total);
        }
        Ok(built)
    }

    fn record(&self, done: Done, built: &mut Built, progress: &dyn Progress, total: usize) {
        let Done { node, ready, run, staged, failed_checks } = done;
        if let Some(run) = run {
            if run.reason == AS_PRODUCTION {
                built.as_production.insert(node.table.clone());
            } else if let (None, Some(current)) = (&staged, self.context.current.get(&node.table)) {
                built.unchanged.insert(node.table.clone(), current.version);
            }
            built.staged.extend(staged);
            built.failed_checks.extend(failed_checks);
            built.models.push(run);
            if let Some(run) = built.models.last() {
                progress.model(run, built.models.len(), total);
            }
        }
        self.ready.lock().unwrap_or_else(PoisonError::into_inner).insert(node.table.clone(), ready);
    }

    async fn make(&self, node: &'a Node) -> Result<Done<'a>, ModelError> {
        let started = std::time::Instant::now();
        let fingerprint = self.fingerprint(node)?;
        if node.kind == NodeKind::Mapped {
            let ready = Ready::view(&fingerprint);
            return Ok(Done { node, ready, run: None, staged: None, failed_checks: vec![] });
        }
        let current = self.context.current.get(&node.table);
        let (outcome, reason, rows, ready, staged, failed_checks) = match current {
            _ if let Some(version) = self.beside(node, &fingerprint) => self.take(node, version).await?,
            Some(current) if current.properties.get(FINGERPRINT) == Some(&fingerprint.hash()) => {
                let (ready, failed) = self.skip(node, current).await?;
                (ModelOutcome::Skipped, "nothing changed".to_owned(), rows_of(current), ready, None, failed)
            }
            _ => {
                let reason = fingerprint.difference(current.and_then(|current| current.properties.get(INPUTS)));
                let (same, ready, staged, failed) = self.construct(node, &fingerprint).await?;
                let outcome = if same { ModelOutcome::Same } else { ModelOutcome::Built };
                (outcome, reason, staged.rows, ready, Some(staged), failed)
            }
        };
        let run = ModelRun { table: node.table.to_string(), outcome, reason, rows, seconds: started.elapsed().as_secs_f64() };
        Ok(Done { node, ready, run: Some(run), staged, failed_checks })
    }

    /// The version of the node elsewhere that was made from the same.
    fn beside(&self, node: &Node, fingerprint: &Fingerprint) -> Option<&TableVersion> {
        let (Beside::Production(versions) | Beside::Tested(_, versions)) = &self.context.beside else { return None };
        let is_same = |version: &&TableVersion| version.properties.get(FINGERPRINT) == Some(&fingerprint.hash());
        // What is current needs no copy.
        let current = self.context.current.get(&node.table).filter(is_same);
        let is_kept = matches!(self.context.beside, Beside::Tested(..)) && current.is_some();
        versions.get(&node.table).filter(is_same).filter(|_| !is_kept)
    }

    /// Reads a version from elsewhere, or copies it; checks that it has not passed yet run all the same.
    async fn take(
        &self,
        node: &Node,
        version: &TableVersion,
    ) -> Result<(ModelOutcome, String, u64, Ready, Option<Staged>, Vec<FailedCheck>), ModelError> {
        let Beside::Tested(environment, _) = self.context.beside else {
            let (ready, failed) = self.skip(node, version).await?;
            return Ok((ModelOutcome::Skipped, AS_PRODUCTION.into(), rows_of(version), ready, None, failed));
        };
        let staged = self.context.store.adopt(self.context.run, environment, version).await?;
        let copy = TableVersion { files: staged.files.clone(), ..version.clone() };
        let (ready, failed) = self.skip(node, &copy).await?;
        Ok((ModelOutcome::Copied, format!("tested in {environment}"), staged.rows, ready, Some(staged), failed))
    }

    /// Keeps the current version; checks that it has not passed yet run all the same.
    async fn skip(&self, node: &Node, current: &TableVersion) -> Result<(Ready, Vec<FailedCheck>), ModelError> {
        let provider: Arc<dyn TableProvider> = Arc::new(Files::of(current));
        let rules = self.rules(node, &provider);
        let checked = current.properties.get(CHECKS) == Some(&check::hash(&rules));
        let failed = if checked { vec![] } else { check::failed(&self.planner, node, &rules, provider).await? };
        Ok((Ready::kept(current), failed))
    }

    /// Runs the statement into staged files and checks them. The flag says whether the rows are those of the current version.
    async fn construct(
        &self,
        node: &Node,
        fingerprint: &Fingerprint,
    ) -> Result<(bool, Ready, Staged, Vec<FailedCheck>), ModelError> {
        let planned = self.plan(node).await?;
        let schema = stored_schema(&planned.schema());
        let properties = BTreeMap::from([
            (FINGERPRINT.to_owned(), fingerprint.hash()),
            (INPUTS.to_owned(), fingerprint.to_json()),
            (DATA.to_owned(), format!("run {}", self.context.run)),
        ]);
        let mut staged = self.stage(node, planned, &schema, properties).await?;
        let current = self.context.current.get(&node.table);
        let same =
            current.is_some_and(|c| c.properties.get(CONTENT) == Some(&staged.content) && stored_schema(&c.schema) == schema);
        let provider: Arc<dyn TableProvider> = Arc::new(Files::new(schema, staged.files.clone()));
        let rules = self.rules(node, &provider);
        let failed = check::failed(&self.planner, node, &rules, provider.clone()).await?;
        // What a check warns of is told again by every run until it is mended.
        if failed.is_empty() {
            staged.properties.insert(CHECKS.to_owned(), check::hash(&rules));
        }
        Ok((same, Ready { data: staged.content.clone(), provider: Some(provider) }, staged, failed))
    }

    /// The node's plan over what it reads.
    pub async fn plan(&self, node: &Node) -> Result<Planned, ModelError> {
        let tables = self.tables(node).await?;
        self.planner.node(node, tables).await.map_err(first)
    }

    fn rules(&self, node: &Node, provider: &Arc<dyn TableProvider>) -> Vec<Rule> {
        check::rules(self.planner.project, node, &provider.schema())
    }

    /// Everything on which the node's rows depend.
    pub fn fingerprint(&self, node: &Node) -> Result<Fingerprint, ModelError> {
        let mut parts = BTreeMap::from([(Fingerprint::DEFINITION.to_owned(), definition(self.planner.project, node))]);
        if self.planner.grain(node).is_some() {
            parts.insert(Fingerprint::CLOCK.to_owned(), self.planner.instant(node).to_rfc3339());
        }
        for input in &node.inputs {
            parts.insert(input.to_string(), self.data(node, input)?);
        }
        Ok(Fingerprint { parts })
    }

    /// Changes when the rows of `table` do.
    fn data(&self, node: &Node, table: &TableName) -> Result<String, ModelError> {
        if let Some(ready) = self.ready.lock().unwrap_or_else(PoisonError::into_inner).get(table) {
            return Ok(ready.data.clone());
        }
        match self.context.pinned.get(table) {
            Some(version) => Ok(version.properties.get(DATA).cloned().unwrap_or_else(|| version.version.to_string())),
            None => self.outside(node, table).map(|_| "empty".into()),
        }
    }

    /// A table that no node makes: pulled rows or the ledger.
    fn outside(&self, node: &Node, table: &TableName) -> Result<Arc<dyn TableProvider>, ModelError> {
        if let Some(version) = self.context.pinned.get(table) {
            return Ok(Arc::new(Files::of(version)));
        }
        if table.schema == "system" {
            return Ok(Arc::new(EmptyTable::new(changes_schema())));
        }
        let live = table.name.strip_suffix("__deleted").map(|name| TableName::new(&table.schema, name));
        if let Some(live) = live.and_then(|live| self.context.pinned.get(&live)) {
            return Ok(Arc::new(EmptyTable::new(deleted_schema(&live.schema))));
        }
        let source = node.sources.iter().find(|source| source.select.reads.iter().any(|read| read.table == *table));
        let system = source.and_then(|source| source.system.clone()).unwrap_or_default();
        let stream = table.name.strip_prefix(&format!("{system}__")).unwrap_or(&table.name);
        let stream = stream.strip_suffix("__deleted").unwrap_or(stream).to_owned();
        let path = source.map_or_else(|| self.planner.path(node), |source| &source.path).to_owned();
        Err(ModelError::NeverPulled { system, stream, table: table.clone(), path })
    }

    /// What the node reads; mapped views are planned here.
    async fn tables(&self, node: &Node) -> Result<Tables, ModelError> {
        let mut tables = Tables::new();
        for input in &node.inputs {
            let ready = self.ready.lock().unwrap_or_else(PoisonError::into_inner).get(input).cloned();
            let provider = match (ready, self.graph.node(input)) {
                (Some(Ready { provider: Some(provider), .. }), _) => provider,
                (_, Some(view)) if view.kind == NodeKind::Mapped => self.view(view).await?,
                _ => self.outside(node, input)?,
            };
            tables.insert(input.clone(), provider);
        }
        Ok(tables)
    }

    async fn view(&self, view: &Node) -> Result<Arc<dyn TableProvider>, ModelError> {
        let raw = view.inputs.iter().map(|input| Ok((input.clone(), self.outside(view, input)?)));
        let raw = raw.collect::<Result<Tables, ModelError>>()?;
        self.planner.node(view, raw).await.map(Planned::into_view).map_err(first)
    }

    /// Runs the plan; where it does not fit into memory, once more with operators that spill.
    async fn stage(
        &self,
        node: &Node,
        planned: Planned,
        schema: &SchemaRef,
        properties: BTreeMap<String, String>,
    ) -> Result<Staged, ModelError> {
        let Planned { state, plan } = planned;
        match self.execute(node, &state, &plan, schema, properties.clone()).await {
            Err(ModelError::Memory { source, .. }) => {
                tracing::warn!(table = %node.table, cause = %source, "out of memory, planned again without hash joins");
                self.execute(node, &frugal(state), &plan, schema, properties).await
            }
            other => other,
        }
    }

    async fn execute(
        &self,
        node: &Node,
        state: &SessionState,
        plan: &LogicalPlan,
        schema: &SchemaRef,
        properties: BTreeMap<String, String>,
    ) -> Result<Staged, ModelError> {
        let (batches, cause) = self.rows(node, state, plan, schema).await?;
        let staged = self.context.store.stage(self.context.run, &node.table, schema.clone(), batches, properties).await;
        self.judge(node, &cause, staged)
    }

    /// The rows of a plan on their way to the store, and where the engine's error will be if there is one.
    pub async fn rows(
        &self,
        node: &Node,
        state: &SessionState,
        plan: &LogicalPlan,
        schema: &SchemaRef,
    ) -> Result<(Batches, Cause), ModelError> {
        let physical = state.create_physical_plan(plan).await.map_err(|error| match node.sources.first() {
            Some(source) if !is_memory(&error) => source.error(&error),
            _ => self.failed(node, error),
        })?;
        let stream = execute_stream(physical, state.task_ctx()).map_err(|error| self.failed(node, error))?;
        let cause = Cause::default();
        let (kept, target) = (cause.clone(), schema.clone());
        let batches = stream
            .and_then(move |batch| {
                let batch = RecordBatch::try_new(target.clone(), batch.columns().to_vec());
                async move { Ok(batch?) }
            })
            .map_err(move |error| {
                let text = error.to_string();
                kept.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(error);
                text.into()
            });
        Ok((batches.boxed(), cause))
    }

    /// What the store made of [`Builder::rows`]: it hands errors on in its own words, the engine's counts.
    pub fn judge<T>(&self, node: &Node, cause: &Cause, done: Result<T, StoreError>) -> Result<T, ModelError> {
        match cause.lock().unwrap_or_else(PoisonError::into_inner).take() {
            Some(error) => Err(self.failed(node, error)),
            None => Ok(done?),
        }
    }

    fn failed(&self, node: &Node, source: DataFusionError) -> ModelError {
        let (table, path, memory) = (node.table.clone(), self.planner.path(node).to_owned(), is_memory(&source));
        let source = Box::new(source);
        if memory { ModelError::Memory { table, path, source } } else { ModelError::Run { table, path, source } }
    }
}

fn rows_of(version: &TableVersion) -> u64 {
    version.files.iter().map(|file| file.rows).sum()
}

/// The build stops at the first error; `check` tells all of them.
pub(super) fn first(errors: Vec<ModelError>) -> ModelError {
    let none = || ModelError::Engine { source: Box::new(DataFusionError::Internal("an error without a message".into())) };
    errors.into_iter().next().unwrap_or_else(none)
}

fn is_memory(error: &DataFusionError) -> bool {
    matches!(error.find_root(), DataFusionError::ResourcesExhausted(_))
}

/// Tables do not say which columns are never null: checks do, and other engines need not enforce it.
pub(super) fn stored_schema(schema: &SchemaRef) -> SchemaRef {
    let fields = schema.fields().iter().map(|field| field.as_ref().clone().with_nullable(true).with_metadata(Default::default()));
    Arc::new(Schema::new(fields.collect::<Vec<_>>()))
}
