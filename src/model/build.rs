//! Builds nodes in order, into staged files.
//!
//! A node is skipped when nothing that could change its rows did: its statement, the data of what it reads, its clock cut to the grain, the
//! versions of the decision functions that it calls. What it read is kept with its version (`loopline.inputs`), so that the next run can say
//! what changed. A node whose rows come out as they were leaves its readers alone. A failed check stops the nodes behind it, not the others.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use arrow::array::RecordBatch;
use arrow::datatypes::{Schema, SchemaRef};
use datafusion::datasource::TableProvider;
use datafusion::datasource::empty::EmptyTable;
use datafusion::error::DataFusionError;
use datafusion::execution::SessionState;
use datafusion::logical_expr::LogicalPlan;
use datafusion::physical_plan::ExecutionPlanProperties;
use futures::stream::FuturesUnordered;
use futures::{StreamExt, TryStreamExt};
use tokio::sync::RwLock;

use super::check::{self, CHECKS};
use super::checked::json;
use super::engine::{Engine, Tables, cores, frugal};
use super::fingerprint::{Cause, Fingerprint, reason};
use super::graph::{Node, NodeKind};
use super::incremental::{self, Job, MADE};
use super::meter::{Meter, counted, spilled_bytes};
use super::order::Order;
use super::plan::{Planned, Planner, changes_schema, deleted_schema};
use super::preview::{kept, pulled};
use super::table::Files;
use super::{Beside, BuildContext, Built, FailedCheck, Graph, ModelError, ModelOutcome, ModelRun, Progress, function};
use crate::base::{Retry, TableName, causes};
use crate::project::{Model, Project, Severity};
use crate::store::{Batches, DataFile, Staged, StoreError, TableVersion};

/// How often a node is run in all when faults come that may pass.
const TRIES_MAX: u32 = 4;
/// How much longer each wait before another try is than the one before.
const WAIT_FACTOR: u32 = 4;

/// Property of a table version: what its rows were made from.
pub(super) const FINGERPRINT: &str = "loopline.fingerprint";
/// Property: the parts of the fingerprint, to say what changed.
pub(super) const INPUTS: &str = "loopline.inputs";
/// Property: iterations that the search of a decision function did for these rows; a replay does as many.
pub(super) const ITERATIONS: &str = "loopline.iterations";
/// Property: hash of the rows; set by the store.
pub(super) const CONTENT: &str = "loopline.content";
/// Property: what last changed the rows, a pull or a run.
pub(super) const DATA: &str = "loopline.data";
/// Why a table of an environment is not built.
const AS_PRODUCTION: &str = "as in production";
/// Property: how long the rows took to make.
const SECONDS: &str = "loopline.seconds";

/// Builds `targets` and everything they need; skips what cannot have changed.
pub async fn build(
    project: &Project,
    graph: &Graph,
    targets: &[TableName],
    context: BuildContext<'_>,
    progress: &dyn Progress,
) -> Result<Built, ModelError> {
    let wanted: Vec<usize> = graph.closure(targets)?.into_iter().filter(|at| graph.nodes[*at].kind != NodeKind::Mapped).collect();
    let engine = Engine::new(context.store.object_store(), context.memory_limit_bytes)?;
    let planner = Planner { project, engine: &engine, as_of: context.as_of };
    Builder::new(planner, graph, &context, progress).run(&wanted).await
}

/// A table that later nodes may read.
#[derive(Clone)]
struct Ready {
    /// Changes when the rows do.
    data: String,
    provider: Arc<dyn TableProvider>,
    /// Change feed against the current version, where there is one.
    changes: Vec<DataFile>,
}

pub(super) struct Builder<'a> {
    pub planner: Planner<'a>,
    pub(super) graph: &'a Graph,
    pub(super) context: &'a BuildContext<'a>,
    progress: &'a dyn Progress,
    ready: Mutex<BTreeMap<TableName, Ready>>,
    taken: Mutex<BTreeMap<TableName, Taken>>,
    /// Statements run side by side; one that did not fit into memory beside others runs alone.
    pub turns: RwLock<()>,
}

/// What a node's statement took.
#[derive(Debug, Clone, Copy, Default)]
struct Taken {
    spilled_bytes: u64,
    peak_memory_bytes: u64,
    tries: u32,
}

/// What became of one node.
struct Done {
    at: usize,
    ready: Ready,
    run: ModelRun,
    staged: Option<Staged>,
    failed_checks: Vec<FailedCheck>,
}

impl<'a> Builder<'a> {
    pub fn new(planner: Planner<'a>, graph: &'a Graph, context: &'a BuildContext<'a>, progress: &'a dyn Progress) -> Self {
        let (ready, taken, turns) = (Mutex::default(), Mutex::default(), RwLock::default());
        Self { planner, graph, context, progress, ready, taken, turns }
    }

    /// Whether a later node may read the table; a mapped view always.
    pub(super) fn is_ready(&self, table: &TableName) -> bool {
        let is_view = |node: &Node| node.kind == NodeKind::Mapped;
        lock(&self.ready).contains_key(table) || self.graph.node(table).is_none_or(is_view)
    }

    /// Nodes that read `table` see its current version.
    pub fn keep(&self, table: &TableName) {
        if let Some(current) = self.context.current.get(table) {
            lock(&self.ready)
                .insert(table.clone(), Ready { data: kept(current), provider: Arc::new(Files::of(current)), changes: vec![] });
        }
    }

    /// The node's plan over what is ready.
    pub async fn plan(&self, node: &Node) -> Result<Planned, Vec<ModelError>> {
        let mut tables = self.tables(node).await.map_err(|error| vec![error])?;
        if self.takes_views(node) {
            for provider in tables.values_mut() {
                if let Some(files) = provider.downcast_ref::<Files>() {
                    *provider = Arc::new(files.viewed());
                }
            }
        }
        self.planner.node(node, tables).await
    }

    /// Decision functions take texts as they are stored, and what is computed by key is compared with what is stored.
    fn takes_views(&self, node: &Node) -> bool {
        let decides = node.sources.iter().any(|source| !source.select.decisions.is_empty());
        let is_whole = |model: &Model| model.incremental.is_none();
        !decides && self.planner.project.models.get(&node.table).is_some_and(is_whole)
    }

    /// What the engine says about a node while it runs.
    pub fn failed(&self, node: &Node, source: DataFusionError) -> ModelError {
        let (table, path, source) = (node.table.clone(), self.planner.path(node).to_owned(), Box::new(source));
        match is_memory(&source) {
            true => ModelError::Memory { table, path, operator: operator(&source), source },
            false => ModelError::Run { table, path, source },
        }
    }

    async fn run(&self, wanted: &[usize]) -> Result<Built, ModelError> {
        let took = |table: &TableName| self.context.current.get(table)?.properties.get(SECONDS)?.parse().ok();
        let mut order = Order::new(self.graph, wanted, took);
        let mut built = Built {
            staged: vec![],
            unchanged: BTreeMap::new(),
            as_production: BTreeSet::new(),
            models: vec![],
            failed_checks: vec![],
        };
        let mut running = FuturesUnordered::new();
        loop {
            while running.len() < nodes_at_once() {
                let Some(next) = order.next() else { break };
                running.push(self.make(next));
            }
            let Some(done) = running.next().await else { break };
            let done = done.inspect_err(|(run, _)| self.progress.model(run, built.models.len(), wanted.len()));
            let done = done.map_err(|(_, error)| error)?;
            // The nodes behind a failed check stay open, and are never started.
            let is_fatal = done.failed_checks.iter().any(|check| check.severity == Severity::Error);
            let at = done.at;
            self.record(done, &mut built, wanted.len());
            if !is_fatal {
                order.done(at);
            }
        }
        drop(running);
        self.check_all_across(wanted, &mut built).await?;
        Ok(built)
    }

    fn record(&self, done: Done, built: &mut Built, total: usize) {
        let Done { at, ready, run, staged, failed_checks } = done;
        let table = &self.graph.nodes[at].table;
        if run.reason == AS_PRODUCTION {
            built.as_production.insert(table.clone());
        } else if let (None, Some(current)) = (&staged, self.context.current.get(table)) {
            built.unchanged.insert(table.clone(), current.version);
        }
        built.staged.extend(staged);
        built.failed_checks.extend(failed_checks);
        self.progress.model(&run, built.models.len() + 1, total);
        built.models.push(run);
        lock(&self.ready).insert(table.clone(), ready);
    }

    /// Makes one node; where that fails, says how far it came.
    async fn make(&self, at: usize) -> Result<Done, (ModelRun, ModelError)> {
        let (node, started) = (&self.graph.nodes[at], std::time::Instant::now());
        let made = self.try_make(at, node).await;
        let taken = lock(&self.taken).remove(&node.table).unwrap_or_default();
        let note = |run: &mut ModelRun| {
            run.seconds = started.elapsed().as_secs_f64();
            (run.spilled_bytes, run.peak_memory_bytes, run.tries) = (taken.spilled_bytes, taken.peak_memory_bytes, taken.tries);
        };
        match made {
            Ok(mut done) => {
                note(&mut done.run);
                if let Some(staged) = &mut done.staged {
                    staged.properties.insert(SECONDS.into(), format!("{:.3}", done.run.seconds));
                }
                Ok(done)
            }
            Err(error) => {
                let mut run = ModelRun::new(&node.table, ModelOutcome::Failed, causes(&error));
                note(&mut run);
                Err((run, error))
            }
        }
    }

    async fn try_make(&self, at: usize, node: &Node) -> Result<Done, ModelError> {
        let data = |reader: &Node, input: &TableName| self.data(reader, input);
        let fingerprint = Fingerprint::of(self.planner.project, self.graph, node, self.context.as_of, data)?;
        let current = self.context.current.get(&node.table);
        let is_same = |current: &&TableVersion| current.properties.get(FINGERPRINT) == Some(&fingerprint.hash());
        if let Some(version) = self.beside(node, &fingerprint) {
            return self.take(at, node, version).await;
        }
        if let Some(current) = current.filter(|current| !self.context.full && is_same(current)) {
            let (ready, staged, failed_checks) = self.skip(node, current).await?;
            let mut run = ModelRun::new(&node.table, ModelOutcome::Skipped, "nothing changed".into());
            run.rows = rows_of(current);
            return Ok(Done { at, ready, run, staged, failed_checks });
        }
        let known = current.or_else(|| self.context.beside.production(&node.table));
        let before = Fingerprint::parts_of(known.and_then(|known| known.properties.get(INPUTS)));
        let causes = fingerprint.difference(before.as_ref());
        self.progress.started(&node.table);
        let (same, ready, staged, failed_checks, how) = self.construct(node, &fingerprint, &causes).await?;
        let why = if self.context.full { vec![] } else { vec![reason(&causes)] };
        let reason = how.into_iter().chain(why).collect::<Vec<_>>().join(", ");
        let outcome = if same { ModelOutcome::Same } else { ModelOutcome::Built };
        let mut run = ModelRun::new(&node.table, outcome, reason);
        (run.rows, run.bytes) = (staged.rows, staged.files.iter().map(|file| file.size_bytes).sum());
        Ok(Done { at, ready, run, staged: Some(staged), failed_checks })
    }

    /// The version of the node elsewhere that was made from the same; what is current already needs no copy.
    fn beside(&self, node: &Node, fingerprint: &Fingerprint) -> Option<&TableVersion> {
        let is_same = |version: &&TableVersion| version.properties.get(FINGERPRINT) == Some(&fingerprint.hash());
        match &self.context.beside {
            _ if self.context.full => None,
            Beside::Nothing => None,
            Beside::Production(versions) => versions.get(&node.table).filter(is_same),
            Beside::Tested(_, versions) if self.context.current.get(&node.table).filter(is_same).is_none() => {
                versions.get(&node.table).filter(is_same)
            }
            Beside::Tested(..) => None,
        }
    }

    /// Reads a version from elsewhere, or copies it; checks that it has not passed yet run all the same.
    async fn take(&self, at: usize, node: &Node, version: &TableVersion) -> Result<Done, ModelError> {
        let mut run = ModelRun::new(&node.table, ModelOutcome::Skipped, AS_PRODUCTION.into());
        run.rows = rows_of(version);
        let Beside::Tested(environment, _) = self.context.beside else {
            let (ready, _, failed_checks) = self.skip(node, version).await?;
            return Ok(Done { at, ready, run, staged: None, failed_checks });
        };
        let mut staged = self.context.store.adopt(self.context.run, environment, version).await?;
        let copy = TableVersion { files: staged.files.clone(), ..version.clone() };
        let (ready, restated, failed_checks) = self.skip(node, &copy).await?;
        staged.properties.extend(restated.into_iter().flat_map(|restated| restated.properties));
        (run.outcome, run.reason) = (ModelOutcome::Copied, format!("tested in {environment}"));
        run.bytes = staged.files.iter().map(|file| file.size_bytes).sum();
        Ok(Done { at, ready, run, staged: Some(staged), failed_checks })
    }

    /// Keeps the current version; checks that it has not passed yet run all the same, and what passes is noted.
    async fn skip(&self, node: &Node, current: &TableVersion) -> Result<(Ready, Option<Staged>, Vec<FailedCheck>), ModelError> {
        let provider: Arc<dyn TableProvider> = Arc::new(Files::of(current));
        let known = check::passed(&current.properties);
        let tables = Tables::from([(node.table.clone(), provider.clone())]);
        let (passed, failed) = self.audit(node, tables, known.clone(), false).await?;
        let staged = match passed == known {
            true => None,
            false => self.context.store.restate(current, BTreeMap::from([(CHECKS.to_owned(), json(&passed))]))?,
        };
        Ok((Ready { data: kept(current), provider, changes: vec![] }, staged, failed))
    }

    /// Runs the statement into staged files and checks them. The flag says whether the rows are those of the current version, the text how they were
    /// made if that is worth a word.
    async fn construct(
        &self,
        node: &Node,
        fingerprint: &Fingerprint,
        causes: &[Cause],
    ) -> Result<(bool, Ready, Staged, Vec<FailedCheck>, Option<String>), ModelError> {
        let planned = self.plan(node).await.map_err(first)?;
        let schema = stored_schema(&planned.schema());
        let properties = BTreeMap::from([
            (FINGERPRINT.to_owned(), fingerprint.hash()),
            (INPUTS.to_owned(), fingerprint.to_json()),
            (DATA.to_owned(), format!("run {}", self.context.run)),
            (MADE.to_owned(), self.context.run.to_string()),
        ]);
        let built = lock(&self.ready).iter().map(|(table, ready)| (table.clone(), ready.changes.clone())).collect();
        let job = Job { builder: self, node, planned: &planned, schema: &schema, properties: &properties, causes, built };
        let (mut staged, how) = match incremental::attempt(&job).await? {
            Ok((staged, how)) => (staged, Some(how)),
            Err(why) => {
                let plan = job.clustered().map_err(|source| self.failed(node, source))?;
                (self.stage(node, Planned { plan, ..planned }, &schema, properties).await?, why)
            }
        };
        let current = self.context.current.get(&node.table);
        let same =
            current.is_some_and(|c| c.properties.get(CONTENT) == Some(&staged.content) && stored_schema(&c.schema) == schema);
        let provider: Arc<dyn TableProvider> = Arc::new(Files::new(schema.clone(), staged.files.clone()));
        let tables = Tables::from([(node.table.clone(), provider.clone())]);
        let (passed, failed) = match current.filter(|_| staged.edit.is_some()) {
            Some(current) => {
                let new = Files::new(schema, DataFile::beside(&staged.files, &current.files));
                self.audit_edit(node, tables, new, current).await?
            }
            None => self.audit(node, tables, BTreeMap::new(), false).await?,
        };
        staged.properties.insert(CHECKS.to_owned(), json(&passed));
        let changes = staged.edit.as_ref().map(|edit| edit.changes.clone()).unwrap_or_default();
        Ok((same, Ready { data: staged.content.clone(), provider, changes }, staged, failed, how))
    }

    /// Changes when the rows of `table` do.
    pub(super) fn data(&self, node: &Node, table: &TableName) -> Result<String, ModelError> {
        if let Some(ready) = lock(&self.ready).get(table) {
            return Ok(ready.data.clone());
        }
        match self.context.pinned.get(table) {
            Some(version) => Ok(pulled(version)),
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
    pub(super) async fn tables(&self, node: &Node) -> Result<Tables, ModelError> {
        let mut tables = Tables::new();
        for input in &node.inputs {
            tables.insert(input.clone(), self.table(node, input).await?);
        }
        Ok(tables)
    }

    pub(super) async fn table(&self, node: &Node, table: &TableName) -> Result<Arc<dyn TableProvider>, ModelError> {
        let ready = lock(&self.ready).get(table).cloned();
        match (ready, self.graph.node(table)) {
            (Some(Ready { provider, .. }), _) => Ok(provider),
            (_, Some(view)) if view.kind == NodeKind::Mapped => self.view(view).await,
            _ => self.outside(node, table),
        }
    }

    async fn view(&self, view: &Node) -> Result<Arc<dyn TableProvider>, ModelError> {
        let raw = view.inputs.iter().map(|input| Ok((input.clone(), self.outside(view, input)?)));
        let raw = raw.collect::<Result<Tables, ModelError>>()?;
        self.planner.node(view, raw).await.map(Planned::into_view).map_err(first)
    }

    /// Runs the plan. Where it does not fit into memory, once more, alone and with operators that spill; after faults that may pass, again later.
    async fn stage(
        &self,
        node: &Node,
        planned: Planned,
        schema: &SchemaRef,
        properties: BTreeMap<String, String>,
    ) -> Result<Staged, ModelError> {
        let Planned { mut state, plan } = planned;
        let mut beside = Some(self.turns.read().await);
        let mut alone = None;
        loop {
            let whole =
                |parts| self.context.store.stage_parts(self.context.run, &node.table, schema.clone(), parts, properties.clone());
            let done = self.execute(node, &state, &plan, schema, whole).await;
            let tries = lock(&self.taken).get(&node.table).map_or(1, |taken| taken.tries);
            let Err(error) = done else { return done };
            match error.retry() {
                _ if matches!(error, ModelError::Memory { .. }) && alone.is_none() => {
                    tracing::warn!(table = %node.table, cause = causes(&error), "out of memory: planned again, alone and without hash joins");
                    beside.take();
                    alone = Some(self.turns.write().await);
                    state = frugal(state);
                }
                Retry::After(first) if tries < TRIES_MAX => {
                    let wait = first * WAIT_FACTOR.pow(tries - 1);
                    tracing::warn!(table = %node.table, cause = causes(&error), wait_seconds = wait.as_secs(), "tried again");
                    tokio::time::sleep(wait).await;
                }
                _ => return Err(error),
            }
        }
    }

    /// Runs `plan`, whose partitions are staged by `stage`.
    pub async fn execute<F: Future<Output = Result<Staged, StoreError>>>(
        &self,
        node: &Node,
        state: &SessionState,
        plan: &LogicalPlan,
        schema: &SchemaRef,
        stage: impl FnOnce(Vec<Batches>) -> F,
    ) -> Result<Staged, ModelError> {
        let failed = |source: DataFusionError| self.failed(node, source);
        let physical = state.create_physical_plan(plan).await.map_err(|error| match node.sources.first() {
            Some(source) if !is_memory(&error) => source.error(&error),
            _ => failed(error),
        })?;
        let physical = counted(physical).map_err(failed)?;
        let (meter, task) = Meter::task(state);
        // The store hands errors on in its own; the engine's is kept aside.
        let cause: Arc<Mutex<Option<DataFusionError>>> = Arc::default();
        let part = |partition| {
            let (kept, target) = (cause.clone(), schema.clone());
            let rows = physical.execute(partition, task.clone()).map_err(failed)?;
            let rows = rows.map(move |batch| Ok(RecordBatch::try_new(target.clone(), batch?.columns().to_vec())?));
            let rows = rows.map_err(move |error: DataFusionError| {
                let text = error.to_string();
                lock(&kept).get_or_insert(error);
                text.into()
            });
            Ok::<Batches, ModelError>(rows.boxed())
        };
        let parts = (0..physical.output_partitioning().partition_count()).map(part).collect::<Result<Vec<_>, _>>()?;
        let staged = stage(parts).await;
        {
            let mut taken = lock(&self.taken);
            let taken = taken.entry(node.table.clone()).or_default();
            taken.spilled_bytes += spilled_bytes(&physical);
            taken.peak_memory_bytes = taken.peak_memory_bytes.max(meter.peak_bytes());
            taken.tries += 1;
        }
        match lock(&cause).take() {
            Some(error) => Err(failed(error)),
            None => {
                let mut staged = staged?;
                let iterations = function::iterations(&physical).map(|done| (ITERATIONS.to_owned(), done.to_string()));
                staged.properties.extend(iterations);
                Ok(staged)
            }
        }
    }
}

pub(super) fn rows_of(version: &TableVersion) -> u64 {
    version.files.iter().map(|file| file.rows).sum()
}

/// Nodes built at the same time: enough to keep all cores busy while some read or write, and each a fair part of the memory.
fn nodes_at_once() -> usize {
    cores().clamp(2, 8)
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Whoever holds one of these inserts or takes one entry: a panic elsewhere leaves it whole.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The build stops at the first error; `check` tells all of them.
pub(super) fn first(errors: Vec<ModelError>) -> ModelError {
    let none = || ModelError::Engine { source: Box::new(DataFusionError::Internal("an error without a message".into())) };
    errors.into_iter().next().unwrap_or_else(none)
}

/// The operator that could not get more memory, as the pool names it.
pub(super) fn operator(error: &DataFusionError) -> String {
    let text = error.find_root().to_string();
    let named =
        text.split_once("allocation failed for ").and_then(|(_, rest)| rest.split_once(" with top")).map(|(name, _)| name);
    named.unwrap_or("an operator").to_owned()
}

pub(super) fn is_memory(error: &DataFusionError) -> bool {
    matches!(error.find_root(), DataFusionError::ResourcesExhausted(_))
}

/// Tables do not say which columns are never null: checks do, and other engines need not enforce it.
pub(super) fn stored_schema(schema: &SchemaRef) -> SchemaRef {
    let fields = schema.fields().iter().map(|field| field.as_ref().clone().with_nullable(true).with_metadata(Default::default()));
    Arc::new(Schema::new(fields.collect::<Vec<_>>()))
}
