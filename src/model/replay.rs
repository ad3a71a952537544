//! A past run once more, from the versions that it read and as of its instant; nothing is written.
//!
//! Each table is made again from what the run's cut has of its inputs. If all of them come out as they were published, the whole run does.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::sync::{Arc, Mutex, PoisonError};

use arrow::array::RecordBatch;
use chrono::DateTime;
use datafusion::error::DataFusionError;
use datafusion::execution::SessionState;
use datafusion::physical_plan::execute_stream;
use futures::{StreamExt, TryStreamExt};

use super::build::{Builder, CONTENT, DATA, INPUTS, ITERATIONS, first, stored_schema};
use super::deviation::{Deviation, deviation};
use super::engine::{Engine, frugal};
use super::fingerprint::{Cause, Fingerprint, reason};
use super::graph::{Graph, Node, NodeKind};
use super::plan::{Planned, Planner};
use super::table::Files;
use super::{BuildContext, ModelError, Quiet};
use crate::base::{TableName, causes};
use crate::project::Project;
use crate::store::TableVersion;

/// One table of a replayed run.
#[derive(Debug, Clone, serde::Serialize)]
pub struct Replayed {
    pub table: String,
    pub outcome: ReplayOutcome,
    /// Rows that the run published, and rows that came out now.
    pub rows: u64,
    pub rows_now: Option<u64>,
    /// Why it differs, or was not made again, as far as that is known.
    pub cause: Option<String>,
    pub difference: Option<Deviation>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum ReplayOutcome {
    Identical,
    Differs,
    /// The run did not make it: it took it over from an earlier one.
    Carried,
    /// The project no longer has it.
    Gone,
    Failed,
}

/// Makes every table of `context.current` again. `context` is that of the run: its number, instant and pinned versions.
pub async fn replay(
    project: &Project,
    graph: &Graph,
    context: BuildContext<'_>,
    progress: &(dyn Fn(&Replayed, usize, usize) + Sync),
) -> Result<Vec<Replayed>, ModelError> {
    let engine = Engine::new(context.store.object_store(), context.memory_limit_bytes)?;
    let planner = Planner { project, engine: &engine, as_of: context.as_of };
    let builder = Builder::new(planner, graph, &context, &Quiet);
    context.current.keys().for_each(|table| builder.keep(table));
    let gone = context.current.iter().filter(|(table, _)| graph.node(table).is_none());
    let mut replayed: Vec<Replayed> = gone.map(|(table, version)| Replayed::new(table, version, ReplayOutcome::Gone)).collect();
    let nodes: Vec<(&Node, &TableVersion)> =
        graph.nodes.iter().filter_map(|node| Some((node, context.current.get(&node.table)?))).collect();
    for (done, (node, version)) in nodes.iter().enumerate() {
        let one = match builder.replay(graph, node, version).await {
            Ok(one) => one,
            Err(error) => Replayed { cause: Some(causes(&error)), ..Replayed::new(&node.table, version, ReplayOutcome::Failed) },
        };
        progress(&one, done + 1, nodes.len());
        replayed.push(one);
    }
    Ok(replayed)
}

impl Replayed {
    fn new(table: &TableName, version: &TableVersion, outcome: ReplayOutcome) -> Self {
        let rows = version.files.iter().map(|file| file.rows).sum();
        Self { table: table.to_string(), outcome, rows, rows_now: None, cause: None, difference: None }
    }
}

impl Builder<'_> {
    async fn replay(&self, graph: &Graph, node: &Node, version: &TableVersion) -> Result<Replayed, ModelError> {
        let project = self.planner.project;
        let data = |reader: &Node, input: &TableName| self.data(reader, input);
        let now = Fingerprint::of(project, graph, node, self.context.as_of, data)?;
        let differing = now.difference(parts_of(version).as_ref());
        if let Some(moved) = differing.iter().find(|cause| matches!(cause, Cause::Input(_) | Cause::Clock)) {
            let made_by = version.properties.get(DATA).map_or("an earlier run", String::as_str);
            let cause = Some(format!("its rows are of {made_by}, since when {moved}"));
            return Ok(Replayed { cause, ..Replayed::new(&node.table, version, ReplayOutcome::Carried) });
        }
        let iterations = version.properties.get(ITERATIONS).and_then(|done| done.parse().ok());
        let (content, rows) = self.content(node, iterations).await?;
        let mut one = Replayed { rows_now: Some(rows), ..Replayed::new(&node.table, version, ReplayOutcome::Identical) };
        if version.properties.get(CONTENT) == Some(&content) {
            return Ok(one);
        }
        let key = project.models.get(&node.table).map(|model| model.key.clone()).unwrap_or_default();
        let view = self.repeated(node, iterations).await?.into_view();
        one.difference = deviation(self.planner.engine, [Arc::new(Files::of(version)), view], &key, self.context.as_of).await?;
        one.outcome = ReplayOutcome::Differs;
        one.cause = match &one.difference {
            _ if !differing.is_empty() => Some(format!("{} since", reason(&differing))),
            Some(difference) if difference.is_rounding => Some("sums of doubles in another order".into()),
            _ => None,
        };
        Ok(one)
    }

    /// The node's plan, in which searches do as many iterations as they did in the run.
    async fn repeated(&self, node: &Node, iterations: Option<u64>) -> Result<Planned, ModelError> {
        let Some(iterations) = iterations else { return self.plan(node).await.map_err(first) };
        let Planner { project, engine, as_of } = self.planner;
        let planner = Planner { project, engine: &engine.repeating(iterations), as_of };
        planner.node(node, self.tables(node).await?).await.map_err(first)
    }

    /// Hash and number of the rows that the node's statement yields; where they do not fit into memory, once more with operators that spill.
    async fn content(&self, node: &Node, iterations: Option<u64>) -> Result<(String, u64), ModelError> {
        let planned = self.repeated(node, iterations).await?;
        match self.hash(node, &planned, &planned.state).await {
            Err(ModelError::Memory { .. }) => self.hash(node, &planned, &frugal(planned.state.clone())).await,
            other => other,
        }
    }

    async fn hash(&self, node: &Node, planned: &Planned, state: &SessionState) -> Result<(String, u64), ModelError> {
        let failed = |source: DataFusionError| self.failed(node, source);
        let physical = state.create_physical_plan(&planned.plan).await.map_err(failed)?;
        let (schema, stream) = (stored_schema(&planned.schema()), execute_stream(physical, state.task_ctx()).map_err(failed)?);
        // The store hands errors on in its own words; the engine's is kept aside.
        let cause: Arc<Mutex<Option<DataFusionError>>> = Arc::default();
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
        let hashed = self.context.store.content_of_batches(&node.table, schema, batches.boxed()).await;
        match cause.lock().unwrap_or_else(PoisonError::into_inner).take() {
            Some(error) => Err(failed(error)),
            None => Ok(hashed?),
        }
    }
}

/// What a version's rows were made from, as it was noted with them.
fn parts_of(version: &TableVersion) -> Option<BTreeMap<String, String>> {
    Fingerprint::parts_of(version.properties.get(INPUTS))
}

/// Whether the rows of `version` were made by the statement that `table` has now.
pub fn has_same_definition(project: &Project, graph: &Graph, table: &TableName, version: &TableVersion) -> bool {
    let Some(node) = graph.node(table).filter(|node| node.kind != NodeKind::Mapped) else { return false };
    let Ok(now) = Fingerprint::of(project, graph, node, DateTime::UNIX_EPOCH, |_, _| Ok::<_, Infallible>(String::new()));
    !now.statement_changed(parts_of(version).as_ref())
}

/// In words, what made the rows of `here` others than those of `there`.
pub fn why_it_differs(here: &TableVersion, there: Option<&TableVersion>) -> String {
    let here = Fingerprint { parts: parts_of(here).unwrap_or_default() };
    reason(&here.difference(there.and_then(parts_of).as_ref()))
}
