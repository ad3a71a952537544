//! How a table's statement would run now: what it reads, the plans, and, if asked, what each operator does.

use std::sync::Arc;
use std::time::Instant as Stopwatch;

use datafusion::error::DataFusionError;
use datafusion::physical_plan::{ExecutionPlan, displayable, execute_stream};
use futures::TryStreamExt;
use serde::Serialize;

use super::build::{Builder, first};
use super::engine::Engine;
use super::meter::{Meter, counted, spilled_bytes};
use super::plan::{Planned, Planner};
use super::preview::Versions;
use super::{Beside, BuildContext, Graph, ModelError, Quiet};
use crate::base::time::Instant;
use crate::base::{RunId, TableName};
use crate::project::Project;
use crate::store::Store;

/// One table's statement, before it runs.
#[derive(Debug, Clone, Serialize)]
pub struct Explanation {
    pub table: String,
    /// Where the statement is.
    pub file: String,
    pub inputs: Vec<InputVersion>,
    /// The optimised logical plan, one operator on a line.
    pub logical: String,
    /// The operators as they run, outermost first.
    pub operators: Vec<Operator>,
    /// `None` if it was not run.
    pub ran: Option<Ran>,
}

/// The version of a table that the statement would read.
#[derive(Debug, Clone, Serialize)]
pub struct InputVersion {
    pub table: String,
    /// `None` for a table without any rows yet.
    pub version: Option<u64>,
    pub rows: u64,
    pub bytes: u64,
}

#[derive(Debug, Clone, Serialize)]
pub struct Operator {
    /// How deep in the tree, from 0.
    pub depth: usize,
    pub what: String,
    /// Rows that it yielded; `None` where the statement was not run, or the operator does not say.
    pub rows: Option<usize>,
    /// Time that it computed, on all cores together.
    pub seconds: Option<f64>,
    pub spilled_bytes: Option<usize>,
}

#[derive(Debug, Clone, Copy, Serialize)]
pub struct Ran {
    pub rows: u64,
    pub seconds: f64,
    pub spilled_bytes: u64,
    pub peak_memory_bytes: u64,
}

/// What to explain, and whether to run it; its rows go nowhere.
pub struct ExplainRequest<'a> {
    pub table: &'a TableName,
    pub as_of: Instant,
    pub analyze: bool,
}

pub async fn explain(
    project: &Project,
    graph: &Graph,
    store: &Store,
    versions: Versions,
    request: &ExplainRequest<'_>,
) -> Result<Explanation, ModelError> {
    let position = *graph.closure(std::slice::from_ref(request.table))?.last().unwrap_or(&0);
    let node = &graph.nodes[position];
    let (current, pinned) = (versions.readable(), versions.pinned);
    let memory_limit_bytes = project.memory_limit_bytes;
    let (as_of, beside) = (request.as_of, Beside::Nothing);
    let context = BuildContext { store, run: RunId(0), as_of, pinned, current, memory_limit_bytes, full: false, beside };
    let engine = Engine::new(store.object_store(), memory_limit_bytes)?;
    let planner = Planner { project, engine: &engine, as_of: request.as_of };
    let builder = Builder::new(planner, graph, &context, &Quiet);
    let mut inputs = vec![];
    for input in graph.reads(node) {
        let version = context.current.get(input).or_else(|| context.pinned.get(input));
        if let (None, Some(_)) = (version, graph.node(input)) {
            let hint = Some(format!("build it first: loopline build {input}"));
            return Err(ModelError::Refused { what: format!("{} reads {input}, which was not built yet", node.table), hint });
        }
        inputs.push(InputVersion {
            table: input.to_string(),
            version: version.map(|version| version.version),
            rows: version.map_or(0, |version| version.files.iter().map(|file| file.rows).sum()),
            bytes: version.map_or(0, |version| version.files.iter().map(|file| file.size_bytes).sum()),
        });
        builder.keep(input);
    }
    let Planned { state, plan } = builder.plan(node).await.map_err(first)?;
    let failed = |source: DataFusionError| builder.failed(node, source);
    let logical = state.optimize(&plan).map_err(failed)?.display_indent().to_string();
    let physical = state.create_physical_plan(&plan).await.and_then(counted).map_err(failed)?;
    let mut ran = None;
    if request.analyze {
        let (started, (meter, task)) = (Stopwatch::now(), Meter::task(&state));
        let rows = execute_stream(physical.clone(), task).map_err(failed)?;
        let rows = rows.try_fold(0, |rows, batch| async move { Ok(rows + batch.num_rows() as u64) }).await.map_err(failed)?;
        ran = Some(Ran {
            rows,
            seconds: started.elapsed().as_secs_f64(),
            spilled_bytes: spilled_bytes(&physical),
            peak_memory_bytes: meter.peak_bytes(),
        });
    }
    let mut operators = vec![];
    list(&physical, 0, request.analyze, &mut operators);
    let file = builder.planner.path(node).display().to_string();
    Ok(Explanation { table: node.table.to_string(), file, inputs, logical, operators, ran })
}

fn list(plan: &Arc<dyn ExecutionPlan>, depth: usize, is_run: bool, operators: &mut Vec<Operator>) {
    let metrics = plan.metrics().filter(|_| is_run);
    let metrics = metrics.as_ref();
    operators.push(Operator {
        depth,
        what: displayable(plan.as_ref()).one_line().to_string().trim_end().to_owned(),
        rows: metrics.and_then(|metrics| metrics.output_rows()),
        seconds: metrics.and_then(|metrics| metrics.elapsed_compute()).map(|nanoseconds| nanoseconds as f64 / 1e9),
        spilled_bytes: metrics.and_then(|metrics| metrics.spilled_bytes()).filter(|bytes| *bytes > 0),
    });
    plan.children().into_iter().for_each(|child| list(child, depth + 1, is_run, operators));
}
