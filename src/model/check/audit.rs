//! Runs rules over a table's rows. What is true of single rows is counted in one reading of those row groups that may have any; only what failed is
//! read again.

use std::path::Path;

use arrow::array::cast::AsArray;
use arrow::array::{Array, RecordBatch};
use arrow::compute::concat_batches;
use arrow::datatypes::{DataType, Int64Type};
use arrow::util::display::array_value_to_string;
use datafusion::error::DataFusionError;
use datafusion::functions_aggregate::expr_fn::count;
use datafusion::logical_expr::{Expr, LogicalPlanBuilder, lit};
use datafusion::physical_plan::collect;
use datafusion::sql::sqlparser::dialect::GenericDialect;
use datafusion::sql::sqlparser::parser::{Parser, ParserError};
use datafusion::sql::sqlparser::tokenizer::Token;

use super::{FAILING_ROWS_MAX, Kind, Rule, quoted};
use crate::base::time::Instant;
use crate::base::{TableName, nearest};
use crate::model::build::operator;
use crate::model::engine::Tables;
use crate::model::error::Problem;
use crate::model::graph::Node;
use crate::model::message::problem;
use crate::model::plan::{Planner, select};
use crate::model::statement::{Names, Select, bind_clock, parse};
use crate::model::types::sql_name;
use crate::model::{FailedCheck, ModelError};

/// How many copies of its key a row has; no column of a table is called so.
const COPIES: &str = "_copies";

/// The rows of one node, and of the tables that its rules read besides.
pub(in crate::model) struct Audit<'a> {
    pub planner: &'a Planner<'a>,
    pub node: &'a Node,
    pub tables: Tables,
    /// Of the last published version, if there is one.
    pub rows_before: Option<u64>,
}

impl Audit<'_> {
    /// The rules that do not hold, each with some of the failing rows.
    pub async fn failed(&self, rules: &[&Rule]) -> Result<Vec<FailedCheck>, ModelError> {
        for rule in rules {
            self.sound(rule)?;
        }
        let (of_rows, others): (Vec<&Rule>, Vec<&Rule>) = rules.iter().copied().partition(|rule| Self::condition(rule).is_some());
        let (of_table, others): (Vec<&Rule>, Vec<&Rule>) = others.into_iter().partition(|rule| self.measure(rule).is_some());
        let mut suspects = vec![];
        for counted in [of_rows, of_table] {
            let counts = self.count(&counted).await?;
            suspects.extend(counted.into_iter().zip(counts).filter(|(_, count)| *count > 0).map(|(rule, _)| rule));
        }
        suspects.extend(others);
        let mut failed = vec![];
        for rule in suspects {
            failed.extend(self.failing(rule).await?);
        }
        Ok(failed)
    }

    /// What is true of single rows that break the rule.
    fn condition(rule: &Rule) -> Option<&str> {
        match &rule.kind {
            // The engine takes no subqueries inside of aggregates.
            Kind::Row { condition, .. } if !condition.to_ascii_lowercase().contains("select") => Some(condition),
            _ => None,
        }
    }

    /// What of the rule one reading of the table can tell: an aggregate that is 0 where the rule holds.
    fn measure(&self, rule: &Rule) -> Option<String> {
        match &rule.kind {
            Kind::Row { .. } => Some(format!("count(*) filter (where {})", Self::condition(rule)?)),
            Kind::Rows { min, max, change } => {
                let mut bounds = vec![];
                bounds.extend(min.map(|min| format!("count(*) < {min}")));
                bounds.extend(max.map(|max| format!("count(*) > {max}")));
                bounds.extend(
                    change
                        .zip(self.rows_before)
                        .map(|(change, before)| format!("abs(cast(count(*) as double) - {before}) > {}", change * before as f64)),
                );
                let outside = if bounds.is_empty() { "false".into() } else { bounds.join(" or ") };
                Some(format!("case when {outside} then 1 else 0 end"))
            }
            Kind::Freshness { column, age } => {
                let newest = format!("max(arrow_cast({}, '{INSTANT}'))", quoted(column));
                let bound = instant(self.planner.as_of - *age);
                Some(format!("case when coalesce({newest} < {bound}, true) then 1 else 0 end"))
            }
            Kind::Unique(_) | Kind::References { .. } | Kind::Query(_) => None,
        }
    }

    /// For each rule, what its measure says.
    async fn count(&self, rules: &[&Rule]) -> Result<Vec<u64>, ModelError> {
        if rules.is_empty() {
            return Ok(vec![]);
        }
        let measures = |rules: &[&Rule]| {
            let measures = rules.iter().enumerate().filter_map(|(nth, rule)| Some(format!("{} as m{nth}", self.measure(rule)?)));
            // Row groups in which no row can break a rule, as their statistics say, are not read at all.
            let broken: Vec<String> = rules.iter().filter_map(|rule| Some(format!("({})", Self::condition(rule)?))).collect();
            let only = if broken.is_empty() { String::new() } else { format!(" where {}", broken.join(" or ")) };
            format!("select {} from {}{only}", measures.collect::<Vec<_>>().join(", "), self.table())
        };
        match self.query(&measures(rules), None).await {
            Ok(batch) => Ok(counts(&batch)),
            Err(error) => {
                // Which of them it was, each alone tells.
                for rule in rules {
                    self.query(&measures(&[*rule]), Some(rule)).await?;
                }
                Err(error)
            }
        }
    }

    /// The rule's failing rows; `None` if there are none.
    async fn failing(&self, rule: &Rule) -> Result<Option<FailedCheck>, ModelError> {
        let select = match &rule.kind {
            Kind::Query(nth) => match self.node.checks.get(*nth) {
                Some(query) => query.select.clone(),
                None => return Ok(None),
            },
            Kind::Unique(columns) => {
                // Counting groups spills, the window that shows the rows does not: it is asked for only where there are any.
                let (key, set) = key_and_set(columns);
                let groups = format!("select count(*) as n from {} where {set} group by {key} having count(*) > 1", self.table());
                if counts(&self.query(&format!("select coalesce(sum(n), 0) from ({groups})"), Some(rule)).await?) == [0] {
                    return Ok(None);
                }
                self.parsed(&self.failing_sql(rule), Some(rule))?
            }
            _ => self.parsed(&self.failing_sql(rule), Some(rule))?,
        };
        let told = |error| self.told(error, Some(rule));
        let sample = self.run(select.clone(), Extent::Some).await.map_err(told)?;
        let rows = match sample.num_rows() {
            FAILING_ROWS_MAX.. => counts(&self.run(select, Extent::Count).await.map_err(told)?).first().copied().unwrap_or(0),
            few => few as u64,
        };
        Ok(self.found(rule, rows, sample))
    }

    /// A query for the rows that fail.
    fn failing_sql(&self, rule: &Rule) -> String {
        let table = self.table();
        match &rule.kind {
            Kind::Row { condition, .. } => format!("select * from {table} where {condition}"),
            Kind::Unique(columns) => {
                let (key, set) = key_and_set(columns);
                let counted = format!("select *, count(*) over (partition by {key}) as \"{COPIES}\" from {table} where {set}");
                format!("select * from ({counted}) where \"{COPIES}\" > 1 order by {key}")
            }
            Kind::References { column, table: other, target, grace } => {
                let due = grace.as_ref().map_or_else(String::new, |grace| {
                    let since = format!("arrow_cast(t.{}, '{INSTANT}')", quoted(&grace.column));
                    format!(" and ({since} < {} or {since} is null)", instant(self.planner.as_of - grace.time))
                });
                let (column, target, other) = (quoted(column), quoted(target), name(other));
                let unknown = format!("not exists (select 1 from {other} r where r.{target} = t.{column})");
                format!("select t.* from {table} t where t.{column} is not null{due} and {unknown}")
            }
            Kind::Rows { .. } => {
                let before = self.rows_before.map_or("cast(null as bigint)".into(), |before| before.to_string());
                format!("select count(*) as rows_now, {before} as rows_before from {table}")
            }
            Kind::Freshness { column, .. } => {
                format!("select max({}) as newest, {} as as_of from {table}", quoted(column), instant(self.planner.as_of))
            }
            Kind::Query(_) => String::new(),
        }
    }

    fn found(&self, rule: &Rule, rows: u64, sample: RecordBatch) -> Option<FailedCheck> {
        let shown = |column: usize| array_value_to_string(sample.column(column), 0).unwrap_or_default();
        let found = match &rule.kind {
            _ if rows == 0 => return None,
            Kind::Rows { .. } if self.rows_before.is_some() => format!("there are {}, before {}", shown(0), shown(1)),
            Kind::Rows { .. } => format!("there are {}", shown(0)),
            Kind::Freshness { .. } if sample.column(0).is_null(0) => "there is none".into(),
            Kind::Freshness { .. } => format!("the newest is {}", shown(0)),
            _ if rows == 1 => "1 row".into(),
            _ => format!("{rows} rows"),
        };
        Some(FailedCheck {
            table: self.node.table.clone(),
            check: rule.name.clone(),
            severity: rule.severity,
            rows,
            found,
            kept: rule.kept.clone(),
            sample,
        })
    }

    fn at(&self) -> Instant {
        self.planner.instant(self.node)
    }

    fn table(&self) -> String {
        name(&self.node.table)
    }

    /// Runs a statement of this module, with parts of the rule in it.
    async fn query(&self, sql: &str, rule: Option<&Rule>) -> Result<RecordBatch, ModelError> {
        self.run(self.parsed(sql, rule)?, Extent::All).await.map_err(|error| self.told(error, rule))
    }

    fn parsed(&self, sql: &str, rule: Option<&Rule>) -> Result<Select, ModelError> {
        parse(sql, &Names::Hub, true).map_err(|problems| {
            let first = problems.into_iter().next().unwrap_or_else(|| Problem::new(1, "not a check", None));
            self.wrong(rule, first.what, first.hint)
        })
    }

    async fn run(&self, mut parsed: Select, extent: Extent) -> Result<RecordBatch, DataFusionError> {
        bind_clock(&mut parsed.statement, self.at());
        let state = self.planner.engine.session(self.tables.clone(), self.at());
        let plan = LogicalPlanBuilder::from(select(&state, &parsed.statement).await?);
        let plan = match extent {
            Extent::All => plan,
            Extent::Some => plan.limit(0, Some(FAILING_ROWS_MAX))?,
            Extent::Count => plan.aggregate(Vec::<Expr>::new(), [count(lit(1_i64))])?,
        };
        let physical = state.create_physical_plan(&plan.build()?).await?;
        let schema = physical.schema();
        let batches = collect(physical, state.task_ctx()).await?;
        Ok(concat_batches(&schema, &batches)?)
    }

    fn told(&self, error: DataFusionError, rule: Option<&Rule>) -> ModelError {
        let (table, path) = (self.node.table.clone(), self.planner.path(self.node).to_owned());
        match (rule, error.find_root()) {
            (_, DataFusionError::ResourcesExhausted(_)) => {
                ModelError::Memory { table, path, operator: operator(&error), source: Box::new(error) }
            }
            (None, _) => ModelError::Run { table, path, source: Box::new(error) },
            (Some(Rule { kind: Kind::Query(nth), .. }), _) if self.node.checks.get(*nth).is_some() => {
                self.node.checks[*nth].error(&error)
            }
            (rule, _) => {
                let found = problem(&error, "");
                self.wrong(rule, found.what, found.hint)
            }
        }
    }

    /// Refuses what would be understood otherwise inside of a larger statement, and columns that cannot be compared.
    fn sound(&self, rule: &Rule) -> Result<(), ModelError> {
        match &rule.kind {
            Kind::Row { written: Some(text), .. } => {
                whole_expression(text).map_err(|what| self.wrong(Some(rule), what, None))?;
                if !text.to_ascii_lowercase().contains("select") {
                    return Ok(());
                }
                let reads = self.parsed(&format!("select 1 where {text}"), Some(rule))?.reads;
                let Some(other) = reads.into_iter().find(|read| read.table != self.node.table) else { return Ok(()) };
                let hint = "write { references = { column = \"schema.table\" } }, or a query of failing rows in a file: <table>.check.<name>.sql";
                Err(self.wrong(
                    Some(rule),
                    format!("a condition sees its own table only, not {}", other.table),
                    Some(hint.into()),
                ))
            }
            Kind::Freshness { column, .. } => self.dated(rule, column),
            Kind::References { column, table, target, grace } => {
                self.has(rule, &self.node.table, column)?;
                self.has(rule, table, target)?;
                grace.as_ref().map_or(Ok(()), |grace| self.dated(rule, &grace.column))
            }
            _ => Ok(()),
        }
    }

    fn has(&self, rule: &Rule, table: &TableName, column: &str) -> Result<(), ModelError> {
        let Some(schema) = self.tables.get(table).map(|rows| rows.schema()) else { return Ok(()) };
        if schema.field_with_name(column).is_ok() {
            return Ok(());
        }
        let near = nearest(column, schema.fields().iter().map(|field| field.name().as_str()));
        Err(self.wrong(Some(rule), format!("{table} has no column {column}"), near.map(|near| format!("did you mean {near}?"))))
    }

    fn dated(&self, rule: &Rule, column: &str) -> Result<(), ModelError> {
        let schema = self.tables.get(&self.node.table).map(|rows| rows.schema());
        let data_type = schema.as_ref().and_then(|schema| Some(schema.field_with_name(column).ok()?.data_type()));
        match data_type {
            Some(DataType::Date32 | DataType::Timestamp(..)) | None => Ok(()),
            Some(other) => {
                let what = format!("{column} is {}; its age is known of a date or an instant only", sql_name(other));
                Err(self.wrong(Some(rule), what, None))
            }
        }
    }

    /// An error in a check, at its line.
    fn wrong(&self, rule: Option<&Rule>, what: String, hint: Option<String>) -> ModelError {
        let path: &Path = self.planner.path(self.node);
        let (name, line) = rule.map_or(("", 1), |rule| (rule.name.as_str(), rule.line.max(1)));
        ModelError::at(path, Problem::new(line, format!("check \"{name}\": {what}"), hint))
    }
}

/// How much of a query's result is wanted.
#[derive(Clone, Copy)]
enum Extent {
    All,
    /// At most [`FAILING_ROWS_MAX`] rows.
    Some,
    Count,
}

const INSTANT: &str = "Timestamp(Microsecond, Some(\"UTC\"))";

fn instant(at: Instant) -> String {
    format!("arrow_cast('{}', '{INSTANT}')", at.format("%Y-%m-%dT%H:%M:%S%.6fZ"))
}

fn name(table: &TableName) -> String {
    format!("{}.{}", quoted(&table.schema), quoted(&table.name))
}

/// Key columns as a list, and the condition that all of them are set: nulls are found by a check of their own.
fn key_and_set(columns: &[String]) -> (String, String) {
    let key = columns.iter().map(|column| quoted(column)).collect::<Vec<_>>().join(", ");
    let set = columns.iter().map(|column| format!("{} is not null", quoted(column))).collect::<Vec<_>>().join(" and ");
    (key, set)
}

/// The numbers of a batch of one row.
fn counts(batch: &RecordBatch) -> Vec<u64> {
    let number = |column: &dyn Array| {
        let column = column.as_primitive_opt::<Int64Type>().filter(|column| !column.is_empty());
        column.and_then(|column| u64::try_from(column.value(0)).ok()).unwrap_or(0)
    };
    batch.columns().iter().map(|column| number(column)).collect()
}

/// Refuses anything but one whole expression: it is put into a larger statement.
fn whole_expression(text: &str) -> Result<(), String> {
    let tell = |error: ParserError| error.to_string().trim_start_matches("sql parser error: ").to_owned();
    let mut parser = Parser::new(&GenericDialect {}).try_with_sql(text).map_err(tell)?;
    parser.parse_expr().map_err(tell)?;
    match parser.next_token().token {
        Token::EOF => Ok(()),
        other => Err(format!("one condition is expected, then comes {other}")),
    }
}
