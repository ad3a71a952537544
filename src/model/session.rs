//! Read-only SQL over one cut.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use datafusion::datasource::TableProvider;
use datafusion::error::DataFusionError;
use datafusion::execution::context::SQLOptions;
use datafusion::execution::memory_pool::MemoryPool;
use datafusion::logical_expr::LogicalPlanBuilder;
use datafusion::physical_plan::execute_stream;
use futures::TryStreamExt;

use super::build::first;
use super::engine::{Engine, Tables};
use super::error::Problem;
use super::message::problem;
use super::plan::{Planned, Planner, changes_schema, deleted_schema, select};
use super::statement::{Names, bind_clock, parse};
use super::table::Files;
use super::{Graph, ModelError, past, runs_table};
use crate::base::time::Instant;
use crate::base::{RunId, TableName, nearest};
use crate::project::Project;
use crate::store::{Cut, Store, pulls_schema};

/// A longer query is better a model.
const QUERY_SECONDS_MAX: u64 = 120;

/// Runs read-only SQL over the tables of one cut (and `raw.*` at the versions that the cut pinned, `mapped.*` over them). `now()` is the cut's instant.
///
/// Making one is cheap: a table's files are looked up when a query first reads it.
pub struct Reader<'a> {
    project: &'a Project,
    store: &'a Store,
    cut: Cut,
    engine: Engine,
    opened: Mutex<Tables>,
}

impl<'a> Reader<'a> {
    #[expect(clippy::unused_async, reason = "callers need not know that nothing is read yet")]
    pub async fn new(project: &'a Project, store: &'a Store, cut: &Cut) -> Result<Self, ModelError> {
        let engine = Engine::new(store.object_store(), project.memory_limit_bytes)?;
        Ok(Self { project, store, cut: cut.clone(), engine, opened: Mutex::default() })
    }

    pub(super) fn engine(&self) -> &Engine {
        &self.engine
    }

    pub(super) fn as_of(&self) -> Instant {
        self.cut.as_of
    }

    /// Every table that can be read, by name.
    pub fn tables(&self) -> Vec<TableName> {
        let mut names: BTreeMap<TableName, ()> = self.cut.names().into_iter().map(|table| (table.clone(), ())).collect();
        names.extend(["cuts", "changes", "pulls", "model_runs"].map(|name| (TableName::new("system", name), ())));
        // Without them a listing is still right about everything else.
        names.extend(self.store.kept_tables().unwrap_or_default().into_iter().map(|table| (table, ())));
        names.into_keys().collect()
    }

    /// The columns of a table of [`Reader::tables`].
    pub async fn schema(&self, table: &TableName) -> Result<SchemaRef, ModelError> {
        Ok(self.open(table, 1).await?.schema())
    }

    /// Runs one `select` (anything else is refused) and collects at most `rows_max` rows; the flag says whether more were there.
    pub async fn query(&self, sql: &str, rows_max: usize) -> Result<(Vec<RecordBatch>, bool), ModelError> {
        let run = tokio::time::timeout(Duration::from_secs(QUERY_SECONDS_MAX), self.run(sql, rows_max));
        run.await.map_err(|_| ModelError::Timeout { seconds: QUERY_SECONDS_MAX })?
    }

    async fn run(&self, sql: &str, rows_max: usize) -> Result<(Vec<RecordBatch>, bool), ModelError> {
        let mut parsed = parse(sql, &Names::Hub, false).map_err(|problems| {
            query_error(problems.into_iter().next().unwrap_or_else(|| Problem::new(1, "this is not a select", None)))
        })?;
        let mut tables = Tables::new();
        for read in &parsed.reads {
            if read.table.schema == "information_schema" {
                for table in self.tables() {
                    tables.insert(table.clone(), self.open(&table, read.line).await?);
                }
            } else {
                tables.insert(read.table.clone(), self.open(&read.table, read.line).await?);
            }
        }
        bind_clock(&mut parsed.statement, self.cut.as_of);
        let state = self.engine.session(tables, self.cut.as_of);
        let wrong = |error: DataFusionError| query_error(problem(&error, sql));
        let failed = |error: DataFusionError| ModelError::QueryRun { source: Box::new(error) };
        let plan = select(&state, &parsed.statement).await.map_err(wrong)?;
        let read_only = SQLOptions::new().with_allow_ddl(false).with_allow_dml(false).with_allow_statements(false);
        read_only.verify_plan(&plan).map_err(wrong)?;
        let plan = LogicalPlanBuilder::from(plan).limit(0, Some(rows_max.saturating_add(1))).and_then(LogicalPlanBuilder::build);
        let physical = state.create_physical_plan(&plan.map_err(wrong)?).await.map_err(wrong)?;
        let schema = physical.schema();
        let stream = execute_stream(physical, state.task_ctx()).map_err(failed)?;
        let batches: Vec<RecordBatch> = stream.try_collect().await.map_err(failed)?;
        Ok(cap(batches, &schema, rows_max))
    }

    /// From now on, `table` is `provider`.
    pub(super) fn put(&self, table: &TableName, provider: Arc<dyn TableProvider>) {
        self.opened.lock().unwrap_or_else(PoisonError::into_inner).insert(table.clone(), provider);
    }

    pub(super) fn planner(&self) -> Planner<'_> {
        Planner { project: self.project, engine: &self.engine, as_of: self.cut.as_of }
    }

    pub(super) fn memory_pool(&self) -> Arc<dyn MemoryPool> {
        self.engine.session(Tables::new(), self.cut.as_of).runtime_env().memory_pool.clone()
    }

    pub(super) async fn open(&self, table: &TableName, line: usize) -> Result<Arc<dyn TableProvider>, ModelError> {
        if let Some(provider) = self.opened.lock().unwrap_or_else(PoisonError::into_inner).get(table) {
            return Ok(provider.clone());
        }
        let provider = match table.schema.as_str() {
            "mapped" => self.view(table, line).await?,
            _ => self.stored(table, line).await?,
        };
        self.put(table, provider.clone());
        Ok(provider)
    }

    /// The union of a contract's maps over the pulled tables of the cut, as the run saw it.
    async fn view(&self, table: &TableName, line: usize) -> Result<Arc<dyn TableProvider>, ModelError> {
        let graph = Graph::new(self.project).map_err(first)?;
        let node = graph.node(table).ok_or_else(|| self.unknown(self.cut.run, table, line))?;
        let mut raw = Tables::new();
        for input in &node.inputs {
            let provider = match input.name.strip_suffix("__deleted") {
                Some(live) if !self.cut.has(input) => {
                    let live = self.stored(&TableName::new(&input.schema, live), line).await?;
                    Arc::new(Files::new(deleted_schema(&live.schema()), vec![]))
                }
                _ => self.stored(input, line).await?,
            };
            raw.insert(input.clone(), provider);
        }
        self.planner().node(node, raw).await.map(Planned::into_view).map_err(first)
    }

    async fn stored(&self, table: &TableName, line: usize) -> Result<Arc<dyn TableProvider>, ModelError> {
        if let Some((table, run)) = past::split(table) {
            let cut = self.store.cut_of(run).await?;
            let version = self.store.version_of(&cut, &table).await?;
            return version.map(|version| Arc::new(Files::of(&version)) as _).ok_or_else(|| self.unknown(run, &table, line));
        }
        let version = match self.store.version_of(&self.cut, table).await? {
            Some(version) => Some(version),
            None if matches!(table.schema.as_str(), "system" | "checks") => self.store.latest(table).await?,
            None => None,
        };
        match version {
            Some(version) => Ok(Arc::new(Files::of(&version))),
            None if *table == TableName::new("system", "changes") => Ok(Arc::new(Files::new(changes_schema(), vec![]))),
            None if *table == TableName::new("system", "pulls") => Ok(Arc::new(Files::new(pulls_schema(), vec![]))),
            None if *table == TableName::new("system", "model_runs") => {
                let none = runs_table::batch(self.cut.run, self.cut.as_of, &[]);
                let none = none.map_err(|error| ModelError::Engine { source: Box::new(error.into()) })?;
                Ok(Arc::new(Files::new(none.schema(), vec![])))
            }
            None => Err(self.unknown(self.cut.run, table, line)),
        }
    }

    fn unknown(&self, run: RunId, table: &TableName, line: usize) -> ModelError {
        let names: Vec<String> = self.tables().iter().map(ToString::to_string).collect();
        let hint = match nearest(&table.to_string(), names.iter().map(String::as_str)) {
            Some(near) => format!("did you mean {near}?"),
            None => "select table_schema, table_name from information_schema.tables lists what there is".into(),
        };
        query_error(Problem::new(line, format!("run {run} made no table {table}"), Some(hint)))
    }
}

fn query_error(problem: Problem) -> ModelError {
    ModelError::Query { line: problem.line, what: problem.what, hint: problem.hint }
}

/// The first `rows_max` rows (one batch at least, for its schema), and whether there were more.
fn cap(batches: Vec<RecordBatch>, schema: &SchemaRef, rows_max: usize) -> (Vec<RecordBatch>, bool) {
    let total: usize = batches.iter().map(RecordBatch::num_rows).sum();
    let mut left = rows_max;
    let mut kept = vec![];
    for batch in batches {
        let rows = batch.num_rows().min(left);
        left -= rows;
        if rows > 0 {
            kept.push(batch.slice(0, rows));
        }
    }
    if kept.is_empty() {
        kept.push(RecordBatch::new_empty(schema.clone()));
    }
    (kept, total > rows_max)
}
