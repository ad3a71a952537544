//! What if: some tables of a cut otherwise, all that is made of them computed again in memory, and one question asked of both.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::compute::CastOptions;
use arrow::compute::cast_with_options;
use arrow::datatypes::SchemaRef;
use datafusion::datasource::MemTable;
use datafusion::error::DataFusionError;
use datafusion::execution::memory_pool::{MemoryConsumer, MemoryReservation};
use datafusion::physical_plan::execute_stream;
use futures::TryStreamExt;

use super::build::first;
use super::engine::Tables;
use super::graph::{Node, NodeKind};
use super::plan::Planned;
use super::statement::{Names, parse};
use super::{Graph, ModelError, Reader};
use crate::base::{Diagnose, TableName, nearest};

/// Rows that a statement may put in place of a table.
const ROWS_MAX: usize = 5_000_000;

/// The same question, answered by the cut and by the cut as it would be.
#[derive(Debug)]
pub struct WhatIf {
    pub before: Vec<RecordBatch>,
    pub after: Vec<RecordBatch>,
    /// Whether an answer has more rows than were asked for.
    pub more: bool,
    /// Tables that were computed again, in order.
    pub computed: Vec<TableName>,
}

/// Puts the rows of a `select` over the cut in place of each table of `replace`, computes again what the answer needs of all that is made of them, and
/// asks `question` (one `select`) of both. Nothing is stored. Columns are matched by name and cast to the table's types.
///
/// # Errors
/// What is wrong with a statement, named by the table that it stands for; a column that is missing, unknown or does not fit; out of memory.
pub async fn what_if(
    graph: &Graph,
    (before, after): (&Reader<'_>, &Reader<'_>),
    replace: &BTreeMap<TableName, String>,
    question: &str,
    rows_max: usize,
) -> Result<WhatIf, ModelError> {
    let scene = Scene { graph, before, after };
    let mut held = vec![];
    for (table, sql) in replace {
        let in_place =
            |error: ModelError| ModelError::Refused { what: format!("in place of {table}: {error}"), hint: error.hint() };
        let rows = scene.replaced(table, sql).await.map_err(in_place)?;
        held.push(scene.hold(table, rows)?);
    }
    let mut computed = vec![];
    for node in scene.affected(replace, question)? {
        held.extend(scene.compute(node).await?);
        computed.push(node.table.clone());
    }
    let (before, more_before) = before.query(question, rows_max).await?;
    let (after, more_after) = after.query(question, rows_max).await?;
    Ok(WhatIf { before, after, more: more_before || more_after, computed })
}

struct Scene<'a> {
    graph: &'a Graph,
    before: &'a Reader<'a>,
    /// Opens the same cut, except for what was put into it.
    after: &'a Reader<'a>,
}

impl Scene<'_> {
    async fn replaced(&self, table: &TableName, sql: &str) -> Result<(SchemaRef, Vec<RecordBatch>), ModelError> {
        let schema = self.before.schema(table).await?;
        let (batches, more) = self.before.query(sql, ROWS_MAX).await?;
        if more {
            return Err(refused(format!("the statement yields more than {ROWS_MAX} rows"), None));
        }
        let rows = batches.iter().map(|batch| fitted(batch, &schema)).collect::<Result<_, _>>()?;
        Ok((schema, rows))
    }

    /// Puts rows in the place of a table, and counts them in the memory pool.
    fn hold(&self, table: &TableName, (schema, rows): (SchemaRef, Vec<RecordBatch>)) -> Result<MemoryReservation, ModelError> {
        let reservation = MemoryConsumer::new(format!("rows in place of {table}")).register(&self.after.memory_pool());
        let bytes = rows.iter().map(RecordBatch::get_array_memory_size).sum();
        reservation.try_grow(bytes).map_err(query_run)?;
        self.after.put(table, Arc::new(MemTable::try_new(schema, vec![rows]).map_err(query_run)?));
        Ok(reservation)
    }

    /// What is made of the replaced tables and leads to the answer, in the order in which data flows.
    fn affected(&self, replace: &BTreeMap<TableName, String>, question: &str) -> Result<Vec<&Node>, ModelError> {
        let reads = parse(question, &Names::Hub, false).map(|select| select.reads).unwrap_or_default();
        let asked: Vec<TableName> =
            reads.into_iter().map(|read| read.table).filter(|table| self.graph.node(table).is_some()).collect();
        let needed: BTreeSet<usize> = self.graph.closure(&asked)?.into_iter().collect();
        let mut changed: BTreeSet<&TableName> = replace.keys().collect();
        let mut affected = vec![];
        for (at, node) in self.graph.nodes.iter().enumerate() {
            if !replace.contains_key(&node.table) && node.inputs.iter().any(|input| changed.contains(input)) {
                changed.insert(&node.table);
                affected.extend(needed.contains(&at).then_some(node));
            }
        }
        Ok(affected)
    }

    async fn compute(&self, node: &Node) -> Result<Option<MemoryReservation>, ModelError> {
        let mut tables = Tables::new();
        for input in &node.inputs {
            tables.insert(input.clone(), self.after.open(input, 1).await?);
        }
        let planned = self.after.planner().node(node, tables).await.map_err(first)?;
        if node.kind == NodeKind::Mapped {
            self.after.put(&node.table, planned.into_view());
            return Ok(None);
        }
        let rows =
            collect(&planned).await.map_err(|error| refused(format!("{} failed while it ran: {error}", node.table), None))?;
        self.hold(&node.table, (planned.schema(), rows)).map(Some)
    }
}

async fn collect(planned: &Planned) -> Result<Vec<RecordBatch>, DataFusionError> {
    let physical = planned.state.create_physical_plan(&planned.plan).await?;
    execute_stream(physical, planned.state.task_ctx())?.try_collect().await
}

/// The batch with the columns of `schema`, by name.
fn fitted(batch: &RecordBatch, schema: &SchemaRef) -> Result<RecordBatch, ModelError> {
    let names = || schema.fields().iter().map(|field| field.name().as_str());
    if let Some(unknown) = batch.schema().fields().iter().find(|field| schema.field_with_name(field.name()).is_err()) {
        let near = nearest(unknown.name(), names()).map(|near| format!("did you mean {near}?"));
        return Err(refused(format!("the table has no column {}", unknown.name()), near));
    }
    let strict = CastOptions { safe: false, ..CastOptions::default() };
    let columns = schema.fields().iter().map(|field| {
        let Some(column) = batch.column_by_name(field.name()) else {
            return Err(refused(format!("the statement does not yield column {}", field.name()), None));
        };
        cast_with_options(column, field.data_type(), &strict)
            .map_err(|error| refused(format!("column {}: {error}", field.name()), Some("cast it in the statement".into())))
    });
    let columns = columns.collect::<Result<_, _>>()?;
    RecordBatch::try_new(schema.clone(), columns).map_err(|error| refused(error.to_string(), None))
}

fn refused(what: String, hint: Option<String>) -> ModelError {
    ModelError::Refused { what, hint }
}

fn query_run(source: DataFusionError) -> ModelError {
    ModelError::QueryRun { source: Box::new(source) }
}
