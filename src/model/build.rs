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

use super::check::{self, Audit, CHECKS};
use super::engine::{Engine, Tables, frugal};
use super::fingerprint::{Fingerprint, reason};
use super::graph::{Node, NodeKind};
use super::plan::{Planned, Planner, changes_schema, deleted_schema};
use super::preview::{kept, pulled};
use super::table::Files;
use super::{BuildContext, Built, FailedCheck, Graph, ModelError, ModelOutcome, ModelRun, Progress};
use crate::base::TableName;
use crate::project::{Project, Severity};
use crate::store::{Batches, Staged, TableVersion};

/// Nodes built at the same time; each already uses several threads.
const NODES_AT_ONCE: usize = 2;

/// Property of a table version: what its rows were made from.
pub(super) const FINGERPRINT: &str = "loopline.fingerprint";
/// Property: the parts of the fingerprint, to say what changed.
pub(super) const INPUTS: &str = "loopline.inputs";
/// Property: hash of the rows; set by the store.
pub(super) const CONTENT: &str = "loopline.content";
/// Property: what last changed the rows, a pull or a run.
pub(super) const DATA: &str = "loopline.data";

/// Builds `targets` and everything they need; skips what cannot have changed.
pub async fn build(
    project: &Project,
    graph: &Graph,
    targets: &[TableName],
    context: BuildContext<'_>,
    progress: &dyn Progress,
) -> Result<Built, ModelError> {
    let wanted = graph.closure(targets)?.into_iter().filter(|at| graph.nodes[*at].kind != NodeKind::Mapped).collect();
    let engine = Engine::new(context.store.object_store(), context.memory_limit_bytes)?;
    let planner = Planner { project, engine: &engine, as_of: context.as_of };
    let builder = Builder { planner, graph, context: &context, ready: Mutex::default() };
    builder.run(wanted, progress).await
}

/// A table that later nodes may read.
#[derive(Clone)]
struct Ready {
    /// Changes when the rows do.
    data: String,
    provider: Arc<dyn TableProvider>,
}

struct Builder<'a> {
    planner: Planner<'a>,
    graph: &'a Graph,
    context: &'a BuildContext<'a>,
    ready: Mutex<BTreeMap<TableName, Ready>>,
}

/// What became of one node.
struct Done<'a> {
    node: &'a Node,
    ready: Ready,
    run: ModelRun,
    staged: Option<Staged>,
    failed_checks: Vec<FailedCheck>,
}

impl<'a> Builder<'a> {
    async fn run(&self, wanted: Vec<usize>, progress: &dyn Progress) -> Result<Built, ModelError> {
        let mut waiting = wanted.clone();
        let total = waiting.len();
        let mut open: BTreeSet<&TableName> = waiting.iter().map(|at| &self.graph.nodes[*at].table).collect();
        let mut built = Built { staged: vec![], unchanged: BTreeMap::new(), models: vec![], failed_checks: vec![] };
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
        drop(running);
        for node in wanted.iter().map(|at| &self.graph.nodes[*at]).filter(|node| !node.checked_against.is_empty()) {
            let made = |table: &TableName| {
                let ready = self.ready.lock().unwrap_or_else(PoisonError::into_inner);
                ready.contains_key(table) || self.graph.node(table).is_none_or(|node| node.kind == NodeKind::Mapped)
            };
            if made(&node.table) && node.checked_against.iter().all(made) {
                self.check_across(node, &mut built).await?;
            }
        }
        Ok(built)
    }

    /// The checks of a node that read other tables, once all of these are there.
    async fn check_across(&self, node: &Node, built: &mut Built) -> Result<(), ModelError> {
        let current = self.context.current.get(&node.table);
        let at = built.staged.iter().position(|staged| staged.table == node.table.to_string());
        let known = match (at, current) {
            (Some(at), _) => check::passed(&built.staged[at].properties),
            (None, Some(current)) => check::passed(&current.properties),
            (None, None) => return Ok(()),
        };
        let mut tables = Tables::new();
        for table in node.checked_against.iter().chain([&node.table]) {
            tables.insert(table.clone(), self.table(node, table).await?);
        }
        let (passed, failed) = self.audit(node, tables, known.clone(), true).await?;
        built.failed_checks.extend(failed);
        if passed == known {
            return Ok(());
        }
        match (at, current) {
            (Some(at), _) => drop(built.staged[at].properties.insert(CHECKS.to_owned(), json(&passed))),
            (None, Some(current)) => {
                let restated = self.context.store.restate(current, BTreeMap::from([(CHECKS.to_owned(), json(&passed))]))?;
                if restated.is_some() {
                    built.unchanged.remove(&node.table);
                }
                built.staged.extend(restated);
            }
            (None, None) => {}
        }
        Ok(())
    }

    /// Runs those of a node's rules that `known` does not say are met; yields what is known then, and what failed.
    async fn audit(
        &self,
        node: &Node,
        tables: Tables,
        mut known: BTreeMap<String, String>,
        across: bool,
    ) -> Result<(BTreeMap<String, String>, Vec<FailedCheck>), ModelError> {
        let schema = tables.get(&node.table).map_or_else(|| Arc::new(Schema::empty()), |rows| rows.schema());
        let rules = check::rules(self.planner.project, node, &schema);
        let data = match across {
            true => check::data_of(self.graph, node, |reader, table| self.data(reader, table))?,
            false => BTreeMap::new(),
        };
        let hashes = check::hashes(&rules, node, self.planner.instant(node), &data);
        let due: Vec<&check::Rule> = check::due(&rules, &hashes, &known).filter(|rule| rule.is_across() == across).collect();
        let rows_before = self.context.current.get(&node.table).map(rows_of);
        let failed = match due.is_empty() {
            true => vec![],
            false => Audit { planner: &self.planner, node, tables, rows_before }.failed(&due).await?,
        };
        known.retain(|id, _| hashes.contains_key(id.as_str()));
        for rule in due {
            match failed.iter().any(|failed| failed.kept == rule.kept) {
                true => known.remove(rule.id()),
                false => known.insert(rule.id().to_owned(), hashes[rule.id()].clone()),
            };
        }
        Ok((known, failed))
    }

    fn record(&self, done: Done, built: &mut Built, progress: &dyn Progress, total: usize) {
        let Done { node, ready, run, staged, failed_checks } = done;
        if let (None, Some(current)) = (&staged, self.context.current.get(&node.table)) {
            built.unchanged.insert(node.table.clone(), current.version);
        }
        built.staged.extend(staged);
        built.failed_checks.extend(failed_checks);
        progress.model(&run, built.models.len() + 1, total);
        built.models.push(run);
        self.ready.lock().unwrap_or_else(PoisonError::into_inner).insert(node.table.clone(), ready);
    }

    async fn make(&self, node: &'a Node) -> Result<Done<'a>, ModelError> {
        let started = std::time::Instant::now();
        let data = |reader: &Node, input: &TableName| self.data(reader, input);
        let fingerprint = Fingerprint::of(self.planner.project, self.graph, node, self.context.as_of, data)?;
        let current = self.context.current.get(&node.table);
        let (outcome, reason, rows, ready, staged, failed_checks) = match current {
            Some(current) if current.properties.get(FINGERPRINT) == Some(&fingerprint.hash()) => {
                let (ready, staged, failed) = self.skip(node, current).await?;
                (ModelOutcome::Skipped, "nothing changed".to_owned(), rows_of(current), ready, staged, failed)
            }
            _ => {
                let before = Fingerprint::parts_of(current.and_then(|current| current.properties.get(INPUTS)));
                let reason = reason(&fingerprint.difference(before.as_ref()));
                let (same, ready, staged, failed) = self.construct(node, &fingerprint).await?;
                let outcome = if same { ModelOutcome::Same } else { ModelOutcome::Built };
                (outcome, reason, staged.rows, ready, Some(staged), failed)
            }
        };
        let run = ModelRun { table: node.table.to_string(), outcome, reason, rows, seconds: started.elapsed().as_secs_f64() };
        Ok(Done { node, ready, run, staged, failed_checks })
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
        Ok((Ready { data: kept(current), provider }, staged, failed))
    }

    /// Runs the statement into staged files and checks them. The flag says whether the rows are those of the current version.
    async fn construct(
        &self,
        node: &Node,
        fingerprint: &Fingerprint,
    ) -> Result<(bool, Ready, Staged, Vec<FailedCheck>), ModelError> {
        let tables = self.tables(node).await?;
        let planned = self.planner.node(node, tables).await.map_err(first)?;
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
        let tables = Tables::from([(node.table.clone(), provider.clone())]);
        let (passed, failed) = self.audit(node, tables, BTreeMap::new(), false).await?;
        staged.properties.insert(CHECKS.to_owned(), json(&passed));
        Ok((same, Ready { data: staged.content.clone(), provider }, staged, failed))
    }

    /// Changes when the rows of `table` do.
    fn data(&self, node: &Node, table: &TableName) -> Result<String, ModelError> {
        if let Some(ready) = self.ready.lock().unwrap_or_else(PoisonError::into_inner).get(table) {
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
    async fn tables(&self, node: &Node) -> Result<Tables, ModelError> {
        let mut tables = Tables::new();
        for input in &node.inputs {
            tables.insert(input.clone(), self.table(node, input).await?);
        }
        Ok(tables)
    }

    async fn table(&self, node: &Node, table: &TableName) -> Result<Arc<dyn TableProvider>, ModelError> {
        let ready = self.ready.lock().unwrap_or_else(PoisonError::into_inner).get(table).cloned();
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
        let failed = |source: DataFusionError| {
            let (table, path, memory) = (node.table.clone(), self.planner.path(node).to_owned(), is_memory(&source));
            let source = Box::new(source);
            if memory { ModelError::Memory { table, path, source } } else { ModelError::Run { table, path, source } }
        };
        let physical = state.create_physical_plan(plan).await.map_err(|error| match node.sources.first() {
            Some(source) if !is_memory(&error) => source.error(&error),
            _ => failed(error),
        })?;
        let stream = execute_stream(physical, state.task_ctx()).map_err(failed)?;
        // The store hands errors on in its own; the engine's is kept aside.
        let cause: Arc<Mutex<Option<DataFusionError>>> = Arc::default();
        let (kept, target) = (cause.clone(), schema.clone());
        let batches: Batches = stream
            .and_then(move |batch| {
                let batch = RecordBatch::try_new(target.clone(), batch.columns().to_vec());
                async move { Ok(batch?) }
            })
            .map_err(move |error| {
                let text = error.to_string();
                kept.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(error);
                text.into()
            })
            .boxed();
        let staged = self.context.store.stage(self.context.run, &node.table, schema.clone(), batches, properties).await;
        match cause.lock().unwrap_or_else(PoisonError::into_inner).take() {
            Some(error) => Err(failed(error)),
            None => Ok(staged?),
        }
    }
}

fn json(passed: &BTreeMap<String, String>) -> String {
    serde_json::json!(passed).to_string()
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
