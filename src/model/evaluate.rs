//! One table over given rows, without a store.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::compute::concat_batches;
use datafusion::datasource::{MemTable, TableProvider};
use datafusion::error::DataFusionError;
use datafusion::physical_plan::collect;
use object_store::memory::InMemory;

use super::build::first;
use super::engine::{Engine, Tables};
use super::graph::Node;
use super::plan::Planner;
use super::{Graph, ModelError};
use crate::base::TableName;
use crate::base::time::Instant;
use crate::project::Project;

/// Runs the statement of `table` over `rows`, which holds everything that it reads, as a run at `as_of` would. Checks are not run.
///
/// # Errors
/// The statement's own; [`ModelError::NoTarget`] where the graph has no such table or `rows` lacks one that it reads.
pub async fn evaluate(
    project: &Project,
    graph: &Graph,
    table: &TableName,
    given: &BTreeMap<TableName, RecordBatch>,
    as_of: Instant,
) -> Result<RecordBatch, ModelError> {
    let missing = |table: &TableName| ModelError::NoTarget { table: table.clone(), nearest: None };
    let node = graph.node(table).ok_or_else(|| missing(table))?;
    let engine = Engine::new(Arc::new(InMemory::new()), project.memory_limit_bytes)?;
    let planner = Planner { project, engine: &engine, as_of };
    let mut tables = Tables::new();
    for input in &node.inputs {
        let batch = given.get(input).ok_or_else(|| missing(input))?;
        tables.insert(input.clone(), memory(batch).map_err(|source| ModelError::Engine { source: Box::new(source) })?);
    }
    rows(&planner, node, tables).await.map_err(first)
}

/// The rows that a node's statement yields over `tables`.
pub(super) async fn rows(planner: &Planner<'_>, node: &Node, tables: Tables) -> Result<RecordBatch, Vec<ModelError>> {
    let planned = planner.node(node, tables).await?;
    let failed = |source: DataFusionError| {
        let (table, path) = (node.table.clone(), planner.path(node).to_owned());
        vec![ModelError::Run { table, path, source: Box::new(source) }]
    };
    let physical = planned.state.create_physical_plan(&planned.plan).await;
    let physical = physical.map_err(|error| match node.sources.first() {
        Some(source) => vec![source.error(&error)],
        None => failed(error),
    })?;
    let schema = physical.schema();
    let batches = collect(physical, planned.state.task_ctx()).await.map_err(failed)?;
    concat_batches(&schema, &batches).map_err(|error| failed(error.into()))
}

pub(super) fn memory(batch: &RecordBatch) -> Result<Arc<dyn TableProvider>, DataFusionError> {
    Ok(Arc::new(MemTable::try_new(batch.schema(), vec![vec![batch.clone()]])?))
}
