//! Decision functions as table functions: `select * from mrp('scm.demand', …)`.
//!
//! The tables are named in text and looked up among those that the statement reads; their columns are checked when the statement is planned. The
//! function runs once, on a thread of its own, when all its inputs were read; inputs and result are counted in the memory pool. Its searches get a
//! stop watch that is over when nobody waits for the result any more, and how many iterations they did is a metric of the plan.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use arrow::array::RecordBatch;
use arrow::compute::concat_batches;
use arrow::datatypes::{DataType, SchemaRef};
use async_trait::async_trait;
use datafusion::catalog::{Session, TableFunctionArgs, TableFunctionImpl};
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::common::{Result, ScalarValue};
use datafusion::datasource::{TableProvider, TableType, provider_as_source};
use datafusion::error::DataFusionError;
use datafusion::execution::TaskContext;
use datafusion::execution::memory_pool::MemoryConsumer;
use datafusion::logical_expr::{Expr, LogicalPlan, LogicalPlanBuilder, ident};
use datafusion::physical_expr::{EquivalenceProperties, PhysicalExpr};
use datafusion::physical_plan::execution_plan::{Boundedness, EmissionType};
use datafusion::physical_plan::metrics::{ExecutionPlanMetricsSet, MetricBuilder, MetricsSet};
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::{
    DisplayAs, DisplayFormatType, Distribution, ExecutionPlan, Partitioning, PlanProperties, SendableRecordBatchStream, collect,
};

use super::engine::Tables;
use super::types::sql_name;
use crate::base::{TableName, nearest};
use crate::decide::{self, Context, Decision, Input};

/// A table that does not have what a decision function needs.
#[derive(Debug, thiserror::Error)]
#[error("{function}, {input}: {what}")]
pub(super) struct InputError {
    pub function: &'static str,
    input: &'static str,
    what: String,
    pub hint: Option<String>,
}

/// A decision function bound to the tables that one statement reads and to its instant.
pub(super) struct DecisionFunction {
    decision: Arc<dyn Decision>,
    tables: Arc<Tables>,
    context: Context,
}

impl DecisionFunction {
    pub fn new(decision: Arc<dyn Decision>, tables: Arc<Tables>, context: Context) -> Self {
        Self { decision, tables, context }
    }

    fn refuse(&self, input: &'static str, what: String, hint: Option<String>) -> DataFusionError {
        DataFusionError::External(Box::new(InputError { function: self.decision.name(), input, what, hint }))
    }

    /// The plan that yields the input's columns, as the types that it asks for; none of them for an input that is not named.
    fn input(&self, input: &Input, argument: Option<&Expr>) -> Result<LogicalPlan> {
        let argument = match argument {
            None | Some(Expr::Literal(ScalarValue::Null, _)) => return LogicalPlanBuilder::empty(false).build(),
            Some(argument) => argument,
        };
        let name =
            text(argument).ok_or_else(|| self.refuse(input.name, format!("{argument} is not the name of a table"), None))?;
        let table: TableName = name.parse().map_err(|what| self.refuse(input.name, what, None))?;
        let provider = self.tables.get(&table).ok_or_else(|| self.refuse(input.name, format!("unknown table {table}"), None))?;
        let plan = LogicalPlanBuilder::scan(table.to_string(), provider_as_source(provider.clone()), None)?;
        let schema = provider.schema();
        let given = |column: &str, sql_type: &str| schema.column_with_name(column).is_some() || !sql_type.ends_with('?');
        let columns = input.columns.iter().filter(|(column, sql_type)| given(column, sql_type)).map(|(column, sql_type)| {
            let sql_type = sql_type.trim_end_matches('?');
            let Some((_, field)) = schema.column_with_name(column) else {
                let near = nearest(column, schema.fields().iter().map(|field| field.name().as_str()));
                let hint =
                    near.map(|near| format!("the nearest column of {table} is {near}; name it in the model: {near} as {column}"));
                return Err(self.refuse(input.name, format!("{table} has no column {column} ({sql_type})"), hint));
            };
            if !accepts(sql_type, field.data_type()) {
                let what = format!("{table}.{column} is {}, but must be {sql_type}", sql_name(field.data_type()));
                return Err(self.refuse(input.name, what, Some("cast it in the model that makes the table".into())));
            }
            Ok(ident(*column))
        });
        let columns = columns.collect::<Result<Vec<_>>>()?;
        plan.project(columns)?.build()
    }
}

/// Whether a column of this type can be what a decision function calls `sql_type`. The function converts values, and refuses those that do not fit.
fn accepts(sql_type: &str, from: &DataType) -> bool {
    let from = match from {
        DataType::Dictionary(_, value) => value,
        other => other,
    };
    let fits = match sql_type.split('(').next().unwrap_or_default() {
        "text" => matches!(from, DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View),
        "date" => matches!(from, DataType::Date32 | DataType::Timestamp(..)),
        "timestamp" => matches!(from, DataType::Timestamp(..)),
        "decimal" => from.is_decimal() || from.is_integer(),
        "int" | "bigint" => from.is_integer(),
        "double" => from.is_floating(),
        "boolean" => *from == DataType::Boolean,
        _ => true,
    };
    fits || from.is_null()
}

fn text(argument: &Expr) -> Option<&str> {
    match argument {
        Expr::Literal(ScalarValue::Utf8(Some(text)) | ScalarValue::Utf8View(Some(text)), _) => Some(text),
        _ => None,
    }
}

impl fmt::Debug for DecisionFunction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.decision.name())
    }
}

impl TableFunctionImpl for DecisionFunction {
    fn call_with_args(&self, args: TableFunctionArgs) -> Result<Arc<dyn TableProvider>> {
        let (inputs, needed, args) = (self.decision.inputs(), self.decision.inputs_needed(), args.exprs());
        let named = args.iter().filter(|argument| !matches!(argument, Expr::Literal(ScalarValue::Null, _))).count();
        let absent =
            args[..needed.min(args.len())].iter().any(|argument| matches!(argument, Expr::Literal(ScalarValue::Null, _)));
        if !(needed..=inputs.len()).contains(&args.len()) || absent {
            let names = inputs.iter().enumerate().map(|(at, input)| match at < needed {
                true => format!("'{}'", input.name),
                false => format!("[{} => '…']", input.name),
            });
            let most = if inputs.len() > needed { format!(" to {}", inputs.len()) } else { String::new() };
            let what = format!("{needed}{most} are needed, {named} named");
            let hint = format!("{}({})", self.decision.name(), names.collect::<Vec<_>>().join(", "));
            return Err(self.refuse("tables", what, Some(hint)));
        }
        let plans = inputs.iter().enumerate().map(|(at, input)| self.input(input, args.get(at))).collect::<Result<_>>()?;
        Ok(Arc::new(DecisionTable { decision: self.decision.clone(), inputs: plans, context: self.context.clone() }))
    }
}

pub(super) struct DecisionTable {
    decision: Arc<dyn Decision>,
    inputs: Vec<LogicalPlan>,
    context: Context,
}

impl DecisionTable {
    pub fn decision(&self) -> &dyn Decision {
        self.decision.as_ref()
    }

    /// The plan of each input.
    pub fn inputs(&self) -> &[LogicalPlan] {
        &self.inputs
    }
}

impl fmt::Debug for DecisionTable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.decision.name())
    }
}

#[async_trait]
impl TableProvider for DecisionTable {
    fn schema(&self) -> SchemaRef {
        self.decision.schema()
    }

    fn table_type(&self) -> TableType {
        TableType::Temporary
    }

    async fn scan(
        &self,
        state: &dyn Session,
        projection: Option<&Vec<usize>>,
        _filters: &[Expr],
        _limit: Option<usize>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let mut children = Vec::with_capacity(self.inputs.len());
        for input in &self.inputs {
            children.push(state.create_physical_plan(input).await?);
        }
        Ok(Arc::new(DecisionExec::new(self.decision.clone(), self.context.clone(), children, projection.cloned())?))
    }
}

/// Reads all inputs, decides, yields one batch.
struct DecisionExec {
    decision: Arc<dyn Decision>,
    context: Context,
    children: Vec<Arc<dyn ExecutionPlan>>,
    projection: Option<Vec<usize>>,
    properties: Arc<PlanProperties>,
    metrics: ExecutionPlanMetricsSet,
}

/// Name of the metric that counts a search's iterations.
const ITERATIONS: &str = "iterations";

/// How many iterations the decision functions of a plan did that has run; `None` if none of them searches.
pub(super) fn iterations(plan: &Arc<dyn ExecutionPlan>) -> Option<u64> {
    let own = plan.metrics().and_then(|metrics| metrics.sum_by_name(ITERATIONS)).map(|sum| sum.as_usize() as u64);
    plan.children().into_iter().filter_map(iterations).chain(own).reduce(|sum, one| sum + one)
}

/// A stop watch for a search; it shows the end of time when `wanted` is gone.
fn stop_watch(wanted: &Arc<()>) -> decide::Elapsed {
    let (begun, wanted) = (Instant::now(), Arc::downgrade(wanted));
    Arc::new(move || if wanted.strong_count() == 0 { Duration::MAX } else { begun.elapsed() })
}

impl DecisionExec {
    fn new(
        decision: Arc<dyn Decision>,
        context: Context,
        children: Vec<Arc<dyn ExecutionPlan>>,
        projection: Option<Vec<usize>>,
    ) -> Result<Self> {
        let schema = match &projection {
            Some(columns) => Arc::new(decision.schema().project(columns)?),
            None => decision.schema(),
        };
        let properties = PlanProperties::new(
            EquivalenceProperties::new(schema),
            Partitioning::UnknownPartitioning(1),
            EmissionType::Final,
            Boundedness::Bounded,
        );
        let metrics = ExecutionPlanMetricsSet::new();
        Ok(Self { decision, context, children, projection, properties: Arc::new(properties), metrics })
    }
}

impl fmt::Debug for DecisionExec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "DecisionExec({})", self.decision.name())
    }
}

impl DisplayAs for DecisionExec {
    fn fmt_as(&self, _: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "DecisionExec: {}", self.decision.name())
    }
}

impl ExecutionPlan for DecisionExec {
    fn name(&self) -> &'static str {
        "DecisionExec"
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        &self.properties
    }

    fn required_input_distribution(&self) -> Vec<Distribution> {
        vec![Distribution::SinglePartition; self.children.len()]
    }

    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        self.children.iter().collect()
    }

    fn apply_expressions(
        &self,
        _: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> Result<TreeNodeRecursion>,
    ) -> Result<TreeNodeRecursion> {
        Ok(TreeNodeRecursion::Continue)
    }

    fn with_new_children(self: Arc<Self>, children: Vec<Arc<dyn ExecutionPlan>>) -> Result<Arc<dyn ExecutionPlan>> {
        Ok(Arc::new(Self::new(self.decision.clone(), self.context.clone(), children, self.projection.clone())?))
    }

    fn metrics(&self) -> Option<MetricsSet> {
        Some(self.metrics.clone_inner())
    }

    fn execute(&self, _partition: usize, task: Arc<TaskContext>) -> Result<SendableRecordBatchStream> {
        let (decision, mut context, projection) = (self.decision.clone(), self.context.clone(), self.projection.clone());
        let (children, metrics) = (self.children.clone(), self.metrics.clone());
        let batch = async move {
            let memory = MemoryConsumer::new(format!("decision function {}", decision.name())).register(task.memory_pool());
            let mut tables = Vec::with_capacity(children.len());
            for child in children {
                let schema = child.schema();
                let batches = collect(child, task.clone()).await?;
                // Once as read and once joined into one batch.
                memory.try_grow(2 * batches.iter().map(RecordBatch::get_array_memory_size).sum::<usize>())?;
                tables.push(concat_batches(&schema, &batches)?);
            }
            let wanted = Arc::new(());
            context.elapsed = Some(stop_watch(&wanted));
            let search = decision.clone();
            let decided = tokio::task::spawn_blocking(move || search.decide(&tables, &context)).await;
            drop(wanted);
            let result = decided
                .map_err(|panic| DataFusionError::ExecutionJoin(Box::new(panic)))?
                .map_err(|error| DataFusionError::External(Box::new(error)))?;
            if let Some(iterations) = decision.iterations(&result) {
                MetricBuilder::new(&metrics).global_counter(ITERATIONS).add(usize::try_from(iterations).unwrap_or(usize::MAX));
            }
            memory.try_grow(result.get_array_memory_size())?;
            match projection {
                Some(columns) => Ok(result.project(&columns)?),
                None => Ok(result),
            }
        };
        Ok(Box::pin(RecordBatchStreamAdapter::new(self.schema(), futures::stream::once(batch))))
    }
}
