//! Checks on staged rows: keys, columns that must not be null, and what a model's header says.

use std::path::Path;
use std::sync::Arc;

use arrow::array::cast::AsArray;
use arrow::array::{Array, RecordBatch};
use arrow::compute::concat_batches;
use arrow::datatypes::{DataType, Int64Type, SchemaRef};
use datafusion::datasource::TableProvider;
use datafusion::error::DataFusionError;
use datafusion::physical_plan::collect;
use datafusion::sql::sqlparser::dialect::GenericDialect;
use datafusion::sql::sqlparser::parser::Parser;
use datafusion::sql::sqlparser::tokenizer::Token;

use super::contract::source_key;
use super::engine::{Tables, problem};
use super::error::Problem;
use super::fingerprint::hex;
use super::graph::Node;
use super::plan::{Planner, select};
use super::statement::{Names, bind_clock, parse};
use super::{FailedCheck, ModelError};
use crate::project::{Project, Severity};

/// Failing rows that are kept to look at.
const SAMPLE_ROWS: usize = 20;
/// How many copies of its key a row has; no column of a table is called so.
const COPIES: &str = "_copies";

/// Something that every row must meet.
#[derive(Debug)]
pub(super) struct Rule {
    /// How the check is called in messages.
    pub name: String,
    pub severity: Severity,
    kind: RuleKind,
}

#[derive(Debug)]
enum RuleKind {
    NotNull(String),
    Unique(Vec<String>),
    /// Fails where it is false; null passes, as in SQL's own checks.
    Expression(String),
}

impl Rule {
    fn not_null(column: &str) -> Self {
        Self { name: format!("{column} is not null"), severity: Severity::Error, kind: RuleKind::NotNull(column.into()) }
    }

    fn unique(columns: Vec<String>, severity: Severity) -> Self {
        Self { name: format!("({}) is unique", columns.join(", ")), severity, kind: RuleKind::Unique(columns) }
    }

    /// A query for the failing rows.
    fn failing(&self, table: &str) -> String {
        match &self.kind {
            RuleKind::NotNull(column) => format!("select * from {table} where {} is null", quoted(column)),
            RuleKind::Expression(expression) => format!("select * from {table} where not ({expression}\n)"),
            RuleKind::Unique(columns) => {
                let (key, set) = key_and_set(columns);
                let counted = format!("select *, count(*) over (partition by {key}) as \"{COPIES}\" from {table} where {set}");
                format!("select * from ({counted}) where \"{COPIES}\" > 1 order by {key}")
            }
        }
    }

    /// A query for how many rows fail.
    fn counting(&self, table: &str) -> String {
        match &self.kind {
            RuleKind::Unique(columns) => {
                let (key, set) = key_and_set(columns);
                let copies = format!("select count(*) as n from {table} where {set} group by {key} having count(*) > 1");
                format!("select coalesce(sum(n), 0) from ({copies})")
            }
            _ => format!("select count(*) from ({})", self.failing(table)),
        }
    }
}

/// Key columns as a list, and the condition that all of them are set: nulls are found by a check of their own.
fn key_and_set(columns: &[String]) -> (String, String) {
    let key = columns.iter().map(|column| quoted(column)).collect::<Vec<_>>().join(", ");
    let set = columns.iter().map(|column| format!("{} is not null", quoted(column))).collect::<Vec<_>>().join(" and ");
    (key, set)
}

fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// The checks of a node whose rows have `schema`.
pub(super) fn rules(project: &Project, node: &Node, schema: &SchemaRef) -> Vec<Rule> {
    let mut rules = vec![];
    if let Some(contract) = project.contracts.get(&node.table) {
        rules.extend(contract.columns.iter().filter(|column| !column.nullable).map(|column| Rule::not_null(&column.name)));
        let own = source_key(project, contract);
        let hub: Vec<String> = std::iter::once("system".into()).chain(contract.primary_key.iter().cloned()).collect();
        // Two records of one source that are one thing to the hub are worth a look, not a failure: no row is lost.
        if own != hub {
            rules.push(Rule::unique(hub, Severity::Warn));
        }
        rules.push(Rule::unique(own, Severity::Error));
    }
    if let Some(model) = project.models.get(&node.table) {
        let mut keys = vec![];
        if !model.key.is_empty() {
            keys.push(model.key.clone());
        }
        let identity = ["system", "source_key", "hub_id"];
        if node.table.schema == "xref" && identity.iter().all(|name| schema.field_with_name(name).is_ok()) {
            keys.push(identity[..2].iter().map(|name| (*name).to_owned()).collect());
        }
        keys.dedup();
        for key in keys {
            rules.extend(key.iter().map(|column| Rule::not_null(column)));
            rules.push(Rule::unique(key, Severity::Error));
        }
        rules.extend(model.checks.iter().map(|check| Rule {
            name: check.expression.clone(),
            severity: check.severity,
            kind: RuleKind::Expression(check.expression.clone()),
        }));
    }
    rules
}

/// Changes whenever the checks do.
pub(super) fn hash(rules: &[Rule]) -> String {
    hex(format!("{rules:?}").as_bytes())
}

/// Runs the checks over the node's rows; yields those that do not hold, each with some of the rows.
pub(super) async fn failed(
    planner: &Planner<'_>,
    node: &Node,
    rules: &[Rule],
    provider: Arc<dyn TableProvider>,
) -> Result<Vec<FailedCheck>, ModelError> {
    let table = format!("{}.{}", quoted(&node.table.schema), quoted(&node.table.name));
    let rows = Rows { planner, node, provider };
    let mut failed = vec![];
    // Nulls are found in one reading of the table.
    let columns: Vec<&Rule> = rules.iter().filter(|rule| matches!(rule.kind, RuleKind::NotNull(_))).collect();
    let nulls = columns.iter().enumerate().filter_map(|(nth, rule)| match &rule.kind {
        RuleKind::NotNull(column) => Some(format!("count(*) - count({}) as n{nth}", quoted(column))),
        _ => None,
    });
    let nulls = nulls.collect::<Vec<_>>().join(", ");
    let null_counts =
        if columns.is_empty() { vec![] } else { counts(&rows.query(&format!("select {nulls} from {table}"), None).await?) };
    let mut suspects: Vec<&Rule> =
        columns.iter().zip(null_counts).filter(|(_, count)| *count > 0).map(|(rule, _)| *rule).collect();
    suspects.extend(rules.iter().filter(|rule| !matches!(rule.kind, RuleKind::NotNull(_))));
    for rule in suspects {
        let count = counts(&rows.query(&rule.counting(&table), Some(rule)).await?).first().copied().unwrap_or(0);
        if count > 0 {
            let sample = rows.query(&format!("{} limit {SAMPLE_ROWS}", rule.failing(&table)), Some(rule)).await?;
            failed.push(FailedCheck {
                table: node.table.clone(),
                check: rule.name.clone(),
                severity: rule.severity,
                rows: count,
                sample,
            });
        }
    }
    Ok(failed)
}

struct Rows<'a> {
    planner: &'a Planner<'a>,
    node: &'a Node,
    provider: Arc<dyn TableProvider>,
}

impl Rows<'_> {
    /// Runs a query over the node's rows only.
    async fn query(&self, sql: &str, rule: Option<&Rule>) -> Result<RecordBatch, ModelError> {
        let path = self.planner.path(self.node);
        if let Some(Rule { kind: RuleKind::Expression(expression), .. }) = rule {
            whole_expression(expression).map_err(|what| self.wrong(path, expression, what, None))?;
        }
        let wrong = |error: DataFusionError| match rule {
            Some(Rule { kind: RuleKind::Expression(expression), .. }) => {
                let found = problem(&error, sql);
                self.wrong(path, expression, found.what, found.hint)
            }
            _ => ModelError::Run { table: self.node.table.clone(), path: path.to_owned(), source: Box::new(error) },
        };
        let at = self.planner.instant(self.node);
        let mut parsed = parse(sql, &Names::Hub, true).map_err(|problems| {
            let first = problems.into_iter().next().unwrap_or_else(|| Problem::new(1, "not a check", None));
            self.wrong(path, rule.map_or("", |rule| &rule.name), first.what, first.hint)
        })?;
        bind_clock(&mut parsed.statement, at);
        let state = self.planner.engine.session(Tables::from([(self.node.table.clone(), self.provider.clone())]), at);
        let plan = select(&state, &parsed.statement).await.map_err(wrong)?;
        let physical = state.create_physical_plan(&plan).await.map_err(wrong)?;
        let schema = physical.schema();
        let batches = collect(physical, state.task_ctx()).await.map_err(wrong)?;
        concat_batches(&schema, &batches).map_err(|error| wrong(error.into()))
    }

    /// An error in a check of the model's header.
    fn wrong(&self, path: &Path, expression: &str, what: String, hint: Option<String>) -> ModelError {
        let text = self.node.sources.first().map_or("", |source| &source.text);
        let holds = |line: &str| line.starts_with("--!") && line.contains(expression);
        let line = text
            .lines()
            .position(holds)
            .or_else(|| text.lines().position(|line| line.starts_with("--!") && line.contains("check")));
        ModelError::at(path, Problem::new(line.map_or(1, |index| index + 1), format!("check \"{expression}\": {what}"), hint))
    }
}

/// The numbers of a batch of one row.
fn counts(batch: &RecordBatch) -> Vec<u64> {
    let number = |column: &Arc<dyn Array>| {
        let column =
            column.as_primitive_opt::<Int64Type>().filter(|column| column.data_type() == &DataType::Int64 && !column.is_empty());
        column.and_then(|column| u64::try_from(column.value(0)).ok()).unwrap_or(0)
    };
    batch.columns().iter().map(number).collect()
}

/// Refuses anything but one whole expression: it is put into a larger statement.
fn whole_expression(text: &str) -> Result<(), String> {
    let tell = |error: datafusion::sql::sqlparser::parser::ParserError| {
        error.to_string().trim_start_matches("sql parser error: ").to_owned()
    };
    let mut parser = Parser::new(&GenericDialect {}).try_with_sql(text).map_err(tell)?;
    parser.parse_expr().map_err(tell)?;
    match parser.next_token().token {
        Token::EOF => Ok(()),
        other => Err(format!("one condition is expected, then comes {other}")),
    }
}
