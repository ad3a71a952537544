//! Builds a node from what changed in its inputs since it was last built, instead of from all of them.
//!
//! `inputs` tells by which rows each input differs, `local` which values of the node's key (or interval) these can touch, `restrict` keeps scans to rows
//! with such a value. Of the node's table only rows with these values are replaced. What stays true: the result is the one that a full build would
//! have. Where that cannot be shown for a statement, the node is built whole and says why.

mod inputs;
mod local;
mod restrict;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use arrow::array::{Array, AsArray, RecordBatch};
use arrow::compute::{cast, filter_record_batch};
use arrow::datatypes::{DataType, Date32Type, Int64Type, Schema, SchemaRef};
use datafusion::datasource::provider_as_source;
use datafusion::error::DataFusionError;
use datafusion::functions_aggregate::expr_fn::max;
use datafusion::logical_expr::{Expr, LogicalPlan, LogicalPlanBuilder, ident, lit};
use datafusion::physical_plan::{collect, execute_stream};
use datafusion::scalar::ScalarValue;
use futures::stream::select_all;
use futures::{StreamExt, TryStreamExt};

use self::local::{Locality, unit};
use super::build::{Builder, CONTENT, INPUTS, stored_schema};
use super::fingerprint::{Cause, Fingerprint};
use super::graph::{Node, NodeKind};
use super::plan::Planned;
use super::table::Files;
use super::{Beside, ModelError};
use crate::base::{RunId, TableName};
use crate::project::Incremental;
use crate::store::{Batches, Chosen, DataFile, Replacement, Staged, StoreError, TableVersion};

/// Property of a table version: the run that built it, whose cut names the versions that it was built from.
pub(super) const MADE: &str = "loopline.made";
/// Above this share of the table's rows another build of it all is cheaper, in per cent.
const KEYS_MAX_PERCENT: u64 = 30;
/// Fewer keys are never too many.
const KEYS_FEW: u64 = 1_000;
/// Keys that are held at once.
const KEYS_MAX: u64 = 5_000_000;
/// Contracts with fewer rows than this are built whole, without a word: that takes no longer.
const CONTRACT_ROWS_MIN: u64 = if cfg!(test) { 1 } else { 20_000 };

/// A node that is to be built.
pub(super) struct Job<'a> {
    pub builder: &'a Builder<'a>,
    pub node: &'a Node,
    pub planned: &'a Planned,
    /// Columns of the node's table.
    pub schema: &'a SchemaRef,
    /// Properties of the next version.
    pub properties: &'a BTreeMap<String, String>,
    /// Why it is built.
    pub causes: &'a [Cause],
    /// Tables that this run edited so far, with their change feeds.
    pub built: BTreeMap<TableName, Vec<DataFile>>,
}

/// Why a node is built whole, or an error that is one for a full build, too.
pub(super) enum Whole {
    /// Nobody asked for anything else, or it is said already.
    Plainly,
    Because(String),
    Failed(ModelError),
}

impl Whole {
    fn because(why: impl Into<String>) -> Self {
        Self::Because(why.into())
    }
}

impl From<DataFusionError> for Whole {
    fn from(source: DataFusionError) -> Self {
        // What an engine cannot plan or do with some of the rows it may well do with all of them.
        tracing::debug!(cause = %source, "no incremental build");
        Self::Because("the engine could not plan it otherwise".into())
    }
}

impl From<StoreError> for Whole {
    fn from(error: StoreError) -> Self {
        Self::Failed(error.into())
    }
}

/// How rows are chosen to be computed again.
struct Way {
    /// Columns by which a row is told from another; none if the model declares no key.
    key: Vec<String>,
    /// Columns of which the values are followed; those that can be.
    units: Vec<String>,
    lookback: Option<Duration>,
}

/// The staged files and how they came about, or why the node is to be built whole.
pub(super) async fn attempt(job: &Job<'_>) -> Result<Result<(Staged, String), Option<String>>, ModelError> {
    match job.attempt().await {
        Ok(done) => Ok(Ok(done)),
        Err(Whole::Plainly) => Ok(Err(None)),
        Err(Whole::Because(why)) => Ok(Err((job.is_asked() || job.builder.context.full).then(|| format!("full: {why}")))),
        Err(Whole::Failed(error)) => Err(error),
    }
}

impl Job<'_> {
    fn declared(&self) -> Option<&Incremental> {
        self.builder.planner.project.models.get(&self.node.table)?.incremental.as_ref()
    }

    /// Whether a person asked for it; contracts are kept up to date this way where it pays.
    fn is_asked(&self) -> bool {
        self.declared().is_some()
    }

    /// The node's plan, by the values of which rows will be replaced if a person asked for that: so neighbours lie in few files.
    pub fn clustered(&self) -> Result<LogicalPlan, DataFusionError> {
        let plan = self.planned.plan.clone();
        let columns = match self.declared() {
            Some(Incremental::Key) => self.builder.planner.key(self.node),
            Some(Incremental::Interval { column, .. }) => vec![column.clone()],
            None => return Ok(plan),
        };
        let places = columns.iter().map(|name| self.schema.index_of(name)).collect::<Result<Vec<_>, _>>()?;
        let order = places.iter().map(|at| Expr::from(plan.schema().qualified_field(*at)).sort(true, false)).collect::<Vec<_>>();
        LogicalPlanBuilder::from(plan).sort(order)?.build()
    }

    fn way(&self, current: &TableVersion) -> Option<Way> {
        let key = self.builder.planner.key(self.node);
        match self.declared() {
            Some(Incremental::Key) => Some(Way { units: key.clone(), key, lookback: None }),
            Some(Incremental::Interval { column, lookback }) => {
                Some(Way { key, units: vec![column.clone()], lookback: Some(*lookback) })
            }
            None if self.node.kind == NodeKind::Contract && rows_of(&current.files) >= CONTRACT_ROWS_MIN => {
                Some(Way { units: key.clone(), key, lookback: None })
            }
            None => None,
        }
    }

    async fn attempt(&self) -> Result<(Staged, String), Whole> {
        let context = self.builder.context;
        if context.full {
            return Err(Whole::because("asked for"));
        }
        let current = context.current.get(&self.node.table).ok_or(Whole::Plainly)?;
        if matches!(context.beside, Beside::Production(_)) {
            return Err(Whole::because("an environment's inputs are in two stores"));
        }
        let way = self.way(current).ok_or(Whole::Plainly)?;
        // Anything but rows and the clock makes other rows of the same rows.
        if self.causes.iter().any(|cause| !matches!(cause, Cause::Input(_) | Cause::Clock)) {
            return Err(Whole::Plainly);
        }
        let clock_moved = self.causes.contains(&Cause::Clock);
        if clock_moved && way.lookback.is_none() {
            return Err(Whole::because("with another clock any row may differ"));
        }
        if self.node.sources.iter().any(|source| !source.select.decisions.is_empty()) {
            return Err(Whole::because("decision functions read whole tables"));
        }
        if stored_schema(&current.schema) != *self.schema {
            return Err(Whole::because("its columns changed"));
        }
        let base = self.newest(current).await?;
        let plan = self.planned.state.optimize(&self.planned.plan)?;
        let found = self.touched(&plan, &way, current).await;
        let (units, values, note) = match (found, way.lookback) {
            (Ok((units, values)), _) => (units, values, None),
            (Err(Whole::Because(why)), Some(_)) => (way.units.clone(), vec![], Some(why)),
            (Err(whole), _) => return Err(whole),
        };
        let from = match way.lookback.filter(|_| note.is_some() || clock_moved) {
            Some(lookback) => Some(self.start(current, &way.units[0], lookback).await?),
            None => None,
        };
        let staged = self.replace(&plan, &way, &base, &units, &values, from).await?;
        Ok((staged, told(&way, &units, &values, from.is_some(), note, current)))
    }

    /// The same rows in the files of now, which maintenance may have put together since.
    async fn newest(&self, current: &TableVersion) -> Result<TableVersion, Whole> {
        let content = |version: &TableVersion| version.properties.get(CONTENT).cloned();
        let latest = self.builder.context.store.latest(&self.node.table).await?;
        let same = latest.filter(|latest| content(latest) == content(current) && latest.schema == current.schema);
        Ok(same.unwrap_or_else(|| current.clone()))
    }

    /// Values of the units that rows may have which differ from the current ones.
    async fn touched(
        &self,
        plan: &LogicalPlan,
        way: &Way,
        current: &TableVersion,
    ) -> Result<(Vec<String>, Vec<RecordBatch>), Whole> {
        let run = current.properties.get(MADE).and_then(|run| run.parse().ok()).map(RunId);
        let run = run.ok_or_else(|| Whole::because("what it was made from is not known"))?;
        let gone = |error| Whole::because(format!("what it was made from is no longer kept ({error})"));
        let cut = self.builder.context.store.cut_of(run).await.map_err(gone)?;
        let made_from = Fingerprint::parts_of(current.properties.get(INPUTS)).unwrap_or_default();
        let inputs = inputs::changed(self, plan, &cut, &made_from).await?;
        let locality = Locality { inputs: &inputs };
        let (mut units, mut refused) = (vec![], None);
        for name in &way.units {
            match locality.touched(plan, &self.columns(plan, std::slice::from_ref(name))?) {
                Ok(_) => units.push(name.clone()),
                Err(Whole::Because(why)) => drop(refused.get_or_insert(why)),
                Err(whole) => return Err(whole),
            }
        }
        if let (true, Some(why)) = (units.is_empty(), refused) {
            return Err(Whole::Because(why));
        }
        let plans = locality.touched(plan, &self.columns(plan, &units)?)?;
        let limit = (rows_of(&current.files) * KEYS_MAX_PERCENT / 100).clamp(KEYS_FEW, KEYS_MAX);
        let values = self.distinct(plans, &units, limit).await?;
        Ok((units, values))
    }

    /// The columns `names` of the statement's result.
    fn columns(&self, plan: &LogicalPlan, names: &[String]) -> Result<Vec<Expr>, Whole> {
        let column = |name: &String| {
            let at = self.schema.index_of(name).map_err(|error| DataFusionError::ArrowError(Box::new(error), None))?;
            if *self.schema.field(at).data_type() == DataType::Float64 {
                return Err(Whole::because(format!("{name} is a double, and doubles are no keys")));
            }
            Ok(Expr::from(plan.schema().qualified_field(at)))
        };
        names.iter().map(column).collect()
    }

    /// The distinct rows of `plans`, with the names and types of `units`.
    async fn distinct(&self, plans: Vec<LogicalPlan>, units: &[String], limit: u64) -> Result<Vec<RecordBatch>, Whole> {
        let mut plans = plans.into_iter();
        let Some(first) = plans.next() else { return Ok(vec![]) };
        let all = plans.try_fold(LogicalPlanBuilder::from(first), LogicalPlanBuilder::union)?;
        let names = units.iter().enumerate().map(|(at, name)| ident(unit(at)).alias(name));
        let plan = all.distinct()?.project(names)?.build()?;
        let physical = self.planned.state.create_physical_plan(&plan).await?;
        let mut rows = execute_stream(physical, self.planned.state.task_ctx())?;
        let schema = self.unit_schema(units)?;
        let (mut values, mut count) = (vec![], 0);
        while let Some(batch) = rows.try_next().await? {
            count += batch.num_rows() as u64;
            if count > limit {
                return Err(Whole::because(format!("more than {} keys are touched", number(limit))));
            }
            let columns = batch.columns().iter().zip(schema.fields()).map(|(column, field)| cast(column, field.data_type()));
            let columns = columns.collect::<Result<Vec<_>, _>>().map_err(DataFusionError::from)?;
            values.push(RecordBatch::try_new(schema.clone(), columns).map_err(DataFusionError::from)?);
        }
        Ok(values)
    }

    fn unit_schema(&self, units: &[String]) -> Result<SchemaRef, Whole> {
        let field = |name: &String| self.schema.field_with_name(name).cloned().map_err(DataFusionError::from);
        Ok(Arc::new(Schema::new(units.iter().map(field).collect::<Result<Vec<_>, _>>()?)))
    }

    /// `lookback` before the latest value of `column`, in its own unit: days or microseconds.
    async fn start(&self, current: &TableVersion, column: &str, lookback: Duration) -> Result<i64, Whole> {
        let files = Arc::new(Files::of(current));
        let rows = LogicalPlanBuilder::scan("latest", provider_as_source(files), None)?;
        let plan = rows.aggregate(Vec::<Expr>::new(), vec![max(ident(column)).alias("latest")])?.build()?;
        let physical = self.planned.state.create_physical_plan(&plan).await?;
        let found = collect(physical, self.planned.state.task_ctx()).await?;
        let latest = found.iter().map(|batch| batch.column(0)).find(|column| column.is_valid(0));
        let latest = latest.ok_or_else(|| Whole::because(format!("no row has a {column} yet")))?;
        match latest.data_type() {
            DataType::Date32 => {
                let days = lookback.as_secs().div_ceil(86_400);
                Ok(i64::from(latest.as_primitive::<Date32Type>().value(0)).saturating_sub_unsigned(days))
            }
            DataType::Timestamp(..) => {
                let micros = cast(latest, &DataType::Int64).map_err(DataFusionError::from)?;
                let back = u64::try_from(lookback.as_micros()).unwrap_or(u64::MAX);
                Ok(micros.as_primitive::<Int64Type>().value(0).saturating_sub_unsigned(back))
            }
            _ => Err(Whole::because(format!("{column} is neither a date nor an instant"))),
        }
    }

    /// Computes the rows that have one of the `values` or lie after `from`, and stages them in the place of the current ones.
    async fn replace(
        &self,
        plan: &LogicalPlan,
        way: &Way,
        current: &TableVersion,
        units: &[String],
        values: &[RecordBatch],
        from: Option<i64>,
    ) -> Result<Staged, Whole> {
        let schema = self.unit_schema(units)?;
        let chosen = Arc::new(Chosen::new(schema.clone(), values, from)?);
        let columns = self.columns(plan, units)?;
        let plan = match from {
            // The engine itself does what can be done with a comparison.
            Some(from) if values.is_empty() => {
                let start = match schema.field(0).data_type() {
                    DataType::Date32 => ScalarValue::Date32(i32::try_from(from).ok()),
                    _ => ScalarValue::TimestampMicrosecond(Some(from), Some("UTC".into())),
                };
                LogicalPlanBuilder::from(plan.clone()).filter(columns[0].clone().gt_eq(lit(start)))?.build()?
            }
            _ => restrict::restrict(&self.planned.state, plan.clone(), &columns, schema, values, from)?,
        };
        let context = self.builder.context;
        let stage = |parts: Vec<Batches>| {
            let rows = select_all(parts);
            let (filter, table) = (chosen.clone(), self.node.table.to_string());
            let rows = rows.and_then(move |batch| {
                let kept = filter.holds(&table, &batch).map_err(Into::into);
                std::future::ready(kept.and_then(|kept| Ok(filter_record_batch(&batch, &kept.into())?)))
            });
            let (key, properties) = (way.key.as_slice(), self.properties.clone());
            let replacement = Replacement { base: current, key, chosen: chosen.clone(), rows: rows.boxed(), properties };
            context.store.stage_replaced(context.run, replacement)
        };
        if values.is_empty() && from.is_none() {
            return Ok(stage(vec![]).await?);
        }
        let _turn = self.builder.turns.read().await;
        match self.builder.execute(self.node, &self.planned.state, &plan, self.schema, stage).await {
            // A full build shows all rows that have this key.
            Err(ModelError::Store(StoreError::DuplicateKey { key, .. })) => {
                Err(Whole::because(format!("several rows have the key {key}")))
            }
            Err(ModelError::Store(error)) => Err(error.into()),
            Err(error) => Err(otherwise(&error)),
            Ok(staged) => Ok(staged),
        }
    }
}

/// A full build may do, or tell better what is wrong.
fn otherwise(error: &ModelError) -> Whole {
    tracing::debug!(cause = %error, "an incremental build failed");
    Whole::because("computing some rows failed")
}

fn rows_of(files: &[DataFile]) -> u64 {
    files.iter().map(|file| file.rows).sum()
}

/// What was done, for a person.
fn told(
    way: &Way,
    units: &[String],
    values: &[RecordBatch],
    later: bool,
    note: Option<String>,
    current: &TableVersion,
) -> String {
    let count: u64 = values.iter().map(|batch| batch.num_rows() as u64).sum();
    let mut text = match (way.lookback.is_some(), units == way.key) {
        (false, true) => format!("incremental: {} of {} keys", number(count), number(rows_of(&current.files))),
        _ => format!("incremental: {} of {}", counted(count, "value"), units.join(", ")),
    };
    if later {
        text = format!("{text} and what is not older than the lookback");
    }
    match note {
        Some(why) => format!("incremental: {} not older than the lookback ({why})", way.units.join(", ")),
        None => text,
    }
}

fn counted(count: u64, what: &str) -> String {
    format!("{} {what}{}", number(count), if count == 1 { "" } else { "s" })
}

/// `1,204`, `3 M`.
fn number(count: u64) -> String {
    if count >= 1_000_000 {
        let tenths = count / 100_000;
        return if tenths.is_multiple_of(10) {
            format!("{} M", tenths / 10)
        } else {
            format!("{}.{} M", tenths / 10, tenths % 10)
        };
    }
    if count >= 1_000 { format!("{},{:03}", count / 1_000, count % 1_000) } else { count.to_string() }
}
