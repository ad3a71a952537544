//! Fills contracts: the union of maps, with keys replaced by hub ids.

use std::fmt::Write as _;
use std::path::Path;
use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use datafusion::error::DataFusionError;
use datafusion::logical_expr::{Expr, LogicalPlan, LogicalPlanBuilder, cast, lit};

use super::ModelError;
use super::error::Problem;
use super::message::line_of;
use super::types::{cast_hint, fits, instant, sql_name};
use crate::base::{TableName, nearest};
use crate::project::{Column, Contract, Project};

/// Columns that a map may yield besides the declared ones; null where it does not.
const ORIGIN: [&str; 3] = ["source_id", "source_version", "changed_at"];

/// The view over all maps of a contract: `mapped.erp__items` of `erp.items`.
pub(super) fn mapped_name(contract: &TableName) -> TableName {
    TableName::new("mapped", format!("{}__{}", contract.schema, contract.name))
}

/// The identity model by which a column's keys are replaced, if the project has one.
pub(super) fn entity(project: &Project, column: &Column) -> Option<TableName> {
    let name = TableName::new("xref", column.references.as_ref()?.name.clone());
    project.models.contains_key(&name).then_some(name)
}

/// `system`, the declared columns, `source_id`, `source_version`, `changed_at`.
pub(super) fn mapped_schema(contract: &Contract) -> SchemaRef {
    let mut fields = vec![Field::new("system", DataType::Utf8, true)];
    fields.extend(contract.columns.iter().map(|column| Field::new(&column.name, column.data_type.clone(), true)));
    fields.extend(ORIGIN.iter().map(|name| Field::new(*name, origin_type(name), true)));
    Arc::new(Schema::new(fields))
}

/// `system`, the declared columns, `source_<column>` for each replaced key, `source_id`, `source_version`, `changed_at`, `deleted`.
pub(super) fn schema(project: &Project, contract: &Contract) -> SchemaRef {
    let mapped = mapped_schema(contract);
    let (declared, origin) = mapped.fields().split_at(contract.columns.len() + 1);
    let kept = contract.columns.iter().filter(|column| entity(project, column).is_some());
    let kept = kept.map(|column| Arc::new(Field::new(format!("source_{}", column.name), DataType::Utf8, true)));
    let deleted = Arc::new(Field::new("deleted", DataType::Boolean, true));
    Arc::new(Schema::new(declared.iter().cloned().chain(kept).chain(origin.iter().cloned()).chain([deleted]).collect::<Vec<_>>()))
}

fn origin_type(name: &str) -> DataType {
    if name == "changed_at" { instant() } else { DataType::Utf8 }
}

/// One map's rows as the contract types them. Refuses missing and unknown columns, and types that do not fit.
pub(super) fn branch(
    contract: &Contract,
    system: &str,
    path: &Path,
    text: &str,
    plan: LogicalPlan,
) -> Result<LogicalPlan, Vec<ModelError>> {
    let map = MapColumns { contract, text, plan: &plan };
    let mut problems = map.unknown();
    let mut columns = vec![lit(system).alias("system")];
    for column in &contract.columns {
        match map.declared(column) {
            Ok(expr) => columns.push(expr),
            Err(problem) => problems.push(*problem),
        }
    }
    for name in ORIGIN {
        match map.origin(name) {
            Ok(expr) => columns.push(expr),
            Err(problem) => problems.push(*problem),
        }
    }
    if !problems.is_empty() {
        return Err(problems.into_iter().map(|problem| ModelError::at(path, problem)).collect());
    }
    let project = || LogicalPlanBuilder::from(plan.clone()).project(columns)?.build();
    project().map_err(|error| vec![ModelError::at(path, super::message::problem(&error, text))])
}

struct MapColumns<'a> {
    contract: &'a Contract,
    text: &'a str,
    plan: &'a LogicalPlan,
}

impl MapColumns<'_> {
    fn names(&self) -> Vec<&str> {
        self.plan.schema().fields().iter().map(|field| field.name().as_str()).collect()
    }

    fn line(&self, word: &str) -> usize {
        line_of(self.text, word).unwrap_or(1)
    }

    fn column(&self, name: &str) -> Option<(Expr, &DataType)> {
        let position = self.names().iter().position(|other| *other == name)?;
        let (qualifier, field) = self.plan.schema().qualified_field(position);
        Some((Expr::from((qualifier, field)), field.data_type()))
    }

    /// Columns that the contract does not have, or that are there twice.
    fn unknown(&self) -> Vec<Problem> {
        let declared: Vec<&str> = self.contract.columns.iter().map(|column| column.name.as_str()).chain(ORIGIN).collect();
        let names = self.names();
        let mut problems = vec![];
        for (position, name) in names.iter().enumerate() {
            if names[..position].contains(name) {
                problems.push(Problem::new(self.line(name), format!("column {name} is yielded twice"), None));
            } else if *name == "system" {
                let hint = Some("leave it out: it is added from loopline.toml".into());
                problems.push(Problem::new(self.line(name), "a map does not yield system", hint));
            } else if !declared.contains(name) {
                let hint = nearest(name, declared.iter().copied()).map(|near| format!("did you mean {near}?"));
                let what =
                    format!("column {name} is not in contract {} ({})", self.contract.table, self.contract.file.path.display());
                problems.push(Problem::new(self.line(name), what, hint));
            }
        }
        problems
    }

    fn declared(&self, column: &Column) -> Result<Expr, Box<Problem>> {
        let Some((expr, from)) = self.column(&column.name) else {
            let of = format!("{} ({}:{})", self.contract.table, self.contract.file.path.display(), column.line);
            let names = self.names();
            let unused = names.into_iter().filter(|name| !self.contract.columns.iter().any(|column| column.name == *name));
            let hint = match nearest(&column.name, unused) {
                Some(near) => format!("did you mean {near}? write: {near} as {}", column.name),
                None if column.nullable => {
                    format!("if the product has no such field: cast(null as {}) as {}", sql_name(&column.data_type), column.name)
                }
                None => "the contract says not null: the map must find a value".into(),
            };
            return Err(Box::new(Problem::new(1, format!("column {} of contract {of} is missing", column.name), Some(hint))));
        };
        self.typed(expr, &column.name, from, &column.data_type)
    }

    fn origin(&self, name: &str) -> Result<Expr, Box<Problem>> {
        let target = origin_type(name);
        match self.column(name) {
            None => Ok(cast(lit(datafusion::scalar::ScalarValue::Null), target).alias(name)),
            // Any key or version can be shown as text.
            Some((expr, from)) if target == DataType::Utf8 && !from.is_nested() => Ok(cast(expr, target).alias(name)),
            Some((expr, from)) => self.typed(expr, name, from, &target),
        }
    }

    fn typed(&self, expr: Expr, name: &str, from: &DataType, to: &DataType) -> Result<Expr, Box<Problem>> {
        if !fits(from, to) {
            let what = format!("column {name} is {}, but contract {} says {}", sql_name(from), self.contract.table, sql_name(to));
            return Err(Box::new(Problem::new(self.line(name), what, Some(cast_hint(name, from, to)))));
        }
        Ok(if from == to { expr.alias(name) } else { cast(expr, to.clone()).alias(name) })
    }
}

/// What the comment at the top of a contract's file says.
pub(super) fn description(contract: &Contract) -> String {
    let lines = contract.file.text.lines().map_while(|line| line.trim().strip_prefix("--"));
    lines.map(str::trim).collect::<Vec<_>>().join(" ")
}

/// The union of a contract's branches.
pub(super) fn union(branches: Vec<LogicalPlan>) -> Result<Option<LogicalPlan>, DataFusionError> {
    let mut branches = branches.into_iter();
    let Some(first) = branches.next() else { return Ok(None) };
    branches.try_fold(LogicalPlanBuilder::from(first), LogicalPlanBuilder::union)?.build().map(Some)
}

/// The `select` that fills a contract from its mapped view: keys become hub ids, the source's own stay in `source_<column>`.
pub(super) fn fill_sql(project: &Project, contract: &Contract) -> String {
    let mapped = mapped_name(&contract.table);
    let (mut select, mut kept, mut joins) = (String::from("select m.\"system\""), String::new(), String::new());
    for (position, column) in contract.columns.iter().enumerate() {
        let name = &column.name;
        let Some(xref) = entity(project, column) else {
            let _ = write!(select, ", m.\"{name}\"");
            continue;
        };
        let _ = write!(select, ", coalesce(x{position}.\"hub_id\", m.\"system\" || ':' || m.\"{name}\") as \"{name}\"");
        let _ = write!(kept, ", m.\"{name}\" as \"source_{name}\"");
        let _ = write!(
            joins,
            " left join \"xref\".\"{}\" x{position} on x{position}.\"system\" = m.\"system\" and x{position}.\"source_key\" = m.\"{name}\"",
            xref.name
        );
    }
    format!(
        "{select}{kept}, m.\"source_id\", m.\"source_version\", m.\"changed_at\", false as \"deleted\" from \"{}\".\"{}\" m{joins}",
        mapped.schema, mapped.name
    )
}

/// The columns by which a row of a contract is told from another in its source: hub ids may merge two records of one source into one thing.
pub(super) fn source_key(project: &Project, contract: &Contract) -> Vec<String> {
    let own = |key: &String| match contract.columns.iter().find(|column| column.name == *key) {
        Some(column) if entity(project, column).is_some() => format!("source_{key}"),
        _ => key.clone(),
    };
    std::iter::once("system".into()).chain(contract.primary_key.iter().map(own)).collect()
}

/// What is wrong with a contract's references, seen from the identity models.
pub(super) fn reference_problems(project: &Project, contract: &Contract) -> Vec<ModelError> {
    let wrong = contract.columns.iter().filter(|column| column.data_type != DataType::Utf8 && entity(project, column).is_some());
    let problem = |column: &Column| {
        let what =
            format!("column {} is {}, but its keys become hub ids, which are text", column.name, sql_name(&column.data_type));
        ModelError::at(
            &contract.file.path,
            Problem::new(column.line, what, Some("declare it as text, and cast it in the maps".into())),
        )
    };
    wrong.map(problem).collect()
}
