//! How the rows of two tables differ.

use std::sync::Arc;

use arrow::array::{AsArray, RecordBatch};
use arrow::datatypes::{DataType, Int64Type, SchemaRef};
use arrow::util::pretty::pretty_format_batches;
use datafusion::datasource::TableProvider;
use datafusion::error::DataFusionError;

use super::ModelError;
use super::engine::{Engine, Tables};
use super::session::Reader;
use super::table::Files;
use crate::base::TableName;
use crate::base::time::Instant;
use crate::store::TableVersion;

/// Rows that are shown of a difference.
const SHOWN: usize = 10;

/// Rows that are in one of two tables, as often as they are; by the columns that both have.
#[derive(Debug, Clone, serde::Serialize)]
pub struct Deviation {
    /// Rows that only the first, only the second has.
    pub removed: u64,
    pub added: u64,
    /// Columns, with their types, that only the first, only the second has.
    pub columns_removed: Vec<String>,
    pub columns_added: Vec<String>,
    /// Whether no value but a `double` differs by more than a few last digits: sums of doubles depend on the order of rows.
    pub is_rounding: bool,
    /// The first of these rows by key as a text table; `change` is `-` or `+`.
    pub sample: String,
}

impl Reader<'_> {
    /// How `after` differs from `before`; `None` if it does not. `key` orders the sample.
    pub async fn deviation(
        &self,
        before: &TableVersion,
        after: &TableVersion,
        key: &[String],
    ) -> Result<Option<Deviation>, ModelError> {
        let content = |version: &TableVersion| version.properties.get("loopline.content").cloned();
        if content(before).is_some() && content(before) == content(after) {
            return Ok(None);
        }
        let sides = [Arc::new(Files::of(before)) as Arc<dyn TableProvider>, Arc::new(Files::of(after))];
        deviation(self.engine(), sides, key, self.as_of()).await
    }
}

/// How the second of `sides` differs from the first; `None` if it does not.
pub(super) async fn deviation(
    engine: &Engine,
    sides: [Arc<dyn TableProvider>; 2],
    key: &[String],
    as_of: Instant,
) -> Result<Option<Deviation>, ModelError> {
    let [before, after] = [sides[0].schema(), sides[1].schema()];
    let columns: Vec<String> = common(&before, &after);
    let (columns_removed, columns_added) = (only(&before, &after), only(&after, &before));
    let mut tables = Tables::new();
    for (name, side) in ["before", "after"].into_iter().zip(sides) {
        tables.insert(TableName::new("sides", name), side);
    }
    let found = Sides { engine, tables, as_of, before: &before, columns };
    let (removed, added) = found.counts(false).await?;
    if removed + added == 0 && columns_removed.is_empty() && columns_added.is_empty() {
        return Ok(None);
    }
    let has_doubles = before.fields().iter().any(|field| *field.data_type() == DataType::Float64);
    let is_rounding =
        has_doubles && columns_removed.is_empty() && columns_added.is_empty() && found.counts(true).await? == (0, 0);
    let sample = if removed + added > 0 { found.sample(key).await? } else { String::new() };
    Ok(Some(Deviation { removed, added, columns_removed, columns_added, is_rounding, sample }))
}

struct Sides<'a> {
    engine: &'a Engine,
    tables: Tables,
    as_of: Instant,
    before: &'a SchemaRef,
    columns: Vec<String>,
}

impl Sides<'_> {
    /// Every row that is not on both sides as often; `copies` is positive on the first side.
    fn sql(&self, rounded: bool) -> String {
        let columns: Vec<String> = self.columns.iter().map(|name| quoted(name)).collect();
        let values: Vec<String> = self
            .columns
            .iter()
            .map(|name| {
                let column = quoted(name);
                let is_double = self.before.field_with_name(name).is_ok_and(|field| *field.data_type() == DataType::Float64);
                // A single has 24 of a double's 53 bits: what several orders of summing leave alone.
                if rounded && is_double { format!("cast(cast({column} as real) as double) as {column}") } else { column }
            })
            .collect();
        let (columns, values) = (columns.join(", "), values.join(", "));
        let (comma, group) = if columns.is_empty() { ("", String::new()) } else { (", ", format!("group by {columns}")) };
        format!(
            "select {columns}{comma}sum(side) as copies from (select {values}{comma}1 as side from sides.before \
             union all select {values}{comma}-1 as side from sides.after) as both {group} having sum(side) <> 0"
        )
    }

    async fn counts(&self, rounded: bool) -> Result<(u64, u64), ModelError> {
        let sql = format!(
            "select coalesce(sum(case when copies > 0 then copies end), 0), coalesce(sum(case when copies < 0 then -copies end), 0) \
             from ({}) as differing",
            self.sql(rounded)
        );
        let batches = self.query(&sql).await?;
        let count = |column: usize| {
            let values = batches.first().and_then(|batch| batch.column(column).as_primitive_opt::<Int64Type>());
            values.filter(|values| !values.is_empty()).map_or(0, |values| values.value(0).unsigned_abs())
        };
        Ok((count(0), count(1)))
    }

    async fn sample(&self, key: &[String]) -> Result<String, ModelError> {
        let columns: Vec<String> = self.columns.iter().map(|name| quoted(name)).collect();
        let mut order: Vec<String> = key.iter().filter(|name| self.columns.contains(name)).map(|name| quoted(name)).collect();
        order.push("copies desc".into());
        let sql = format!(
            "select case when copies > 0 then '-' else '+' end as change, {} from ({}) as differing order by {} limit {SHOWN}",
            if columns.is_empty() { "copies".to_owned() } else { columns.join(", ") },
            self.sql(false),
            order.join(", ")
        );
        let batches = self.query(&sql).await?;
        Ok(pretty_format_batches(&batches).map(|table| table.to_string()).unwrap_or_default())
    }

    async fn query(&self, sql: &str) -> Result<Vec<RecordBatch>, ModelError> {
        let failed = |source: DataFusionError| ModelError::QueryRun { source: Box::new(source) };
        let state = self.engine.session(self.tables.clone(), self.as_of);
        let plan = state.create_logical_plan(sql).await.map_err(failed)?;
        let physical = state.create_physical_plan(&plan).await.map_err(failed)?;
        datafusion::physical_plan::collect(physical, state.task_ctx()).await.map_err(failed)
    }
}

fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// Names of the columns that both have with the same type.
fn common(before: &SchemaRef, after: &SchemaRef) -> Vec<String> {
    let is_common =
        |name: &str, data_type: &DataType| after.field_with_name(name).is_ok_and(|other| other.data_type() == data_type);
    let fields = before.fields().iter().filter(|field| is_common(field.name(), field.data_type()));
    fields.map(|field| field.name().clone()).collect()
}

fn only(here: &SchemaRef, there: &SchemaRef) -> Vec<String> {
    let common = common(here, there);
    let fields = here.fields().iter().filter(|field| !common.contains(field.name()));
    fields.map(|field| format!("{} {}", field.name(), super::types::sql_name(field.data_type()))).collect()
}
