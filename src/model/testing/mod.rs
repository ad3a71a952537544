//! Unit tests of models: given rows, expected rows, one instant; no source and no store.
//!
//! A test goes through the same names, types, clock, decision functions and checks as a run does.

mod diff;
mod read;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, RecordBatch, StringArray, new_null_array};
use arrow::compute::cast;
use arrow::datatypes::{Field, SchemaRef};
use chrono::DateTime;
use datafusion::datasource::empty::EmptyTable;
use object_store::memory::InMemory;
use serde::Serialize;
use tokio::sync::OnceCell;
use tokio::task::JoinSet;

pub use diff::{Difference, RowDifference};
use read::{Case, Rows};

use super::build::stored_schema;
use super::check::{self, Audit};
use super::engine::{Engine, Tables};
use super::error::Problem;
use super::evaluate::{memory, rows};
use super::graph::{Node, NodeKind};
use super::plan::{Planner, changes_schema};
use super::types::sql_name;
use super::{Graph, ModelError};
use crate::base::time::Instant;
use crate::base::{Diagnose, TableName, causes, nearest};
use crate::project::{Project, ProjectError};

/// What became of one test.
#[derive(Debug, Clone, Serialize)]
pub struct TestRun {
    pub table: String,
    /// Its `test` line.
    pub name: String,
    pub path: PathBuf,
    pub line: usize,
    pub outcome: TestOutcome,
    pub seconds: f64,
}

#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum TestOutcome {
    Passed,
    /// Other rows came out.
    Different(Difference),
    /// A check that must fail does not.
    Held {
        check: String,
        line: usize,
    },
    /// It cannot be run.
    Wrong(Vec<TestProblem>),
}

#[derive(Debug, Clone, Serialize)]
pub struct TestProblem {
    pub message: String,
    pub hint: Option<String>,
}

/// The tests of a project.
#[derive(Clone)]
pub struct Tests(Arc<Inner>);

struct Inner {
    project: Arc<Project>,
    graph: Graph,
    engine: Engine,
    /// Columns of what models read; a model's own are planned when they are first needed.
    schemas: BTreeMap<TableName, OnceCell<Option<SchemaRef>>>,
}

impl Tests {
    pub fn new(project: Arc<Project>, graph: Graph) -> Result<Self, ModelError> {
        let engine = Engine::new(Arc::new(InMemory::new()), project.memory_limit_bytes)?;
        let schemas = graph.nodes.iter().map(|node| (node.table.clone(), OnceCell::new())).collect();
        Ok(Self(Arc::new(Inner { project, graph, engine, schemas })))
    }

    /// The tables that have tests.
    pub fn tables(&self) -> impl Iterator<Item = &TableName> {
        self.0.project.tests.keys()
    }

    /// Runs the tests of `tables`, as many at a time as there are threads.
    pub async fn run(&self, tables: &BTreeSet<TableName>) -> Vec<TestRun> {
        let mut running = JoinSet::new();
        let mut runs = vec![];
        for (table, path) in self.0.project.tests.iter().filter(|(table, _)| tables.contains(*table)) {
            match self.0.read(table, path) {
                Ok(cases) => {
                    for case in cases {
                        let (inner, table, path) = (self.0.clone(), table.clone(), path.clone());
                        running.spawn(async move { inner.run(&table, &path, case).await });
                    }
                }
                Err(errors) => runs.push(TestRun {
                    table: table.to_string(),
                    name: String::new(),
                    path: path.clone(),
                    line: 1,
                    outcome: TestOutcome::Wrong(told(&errors)),
                    seconds: 0.0,
                }),
            }
        }
        while let Some(run) = running.join_next().await {
            // A task fails only by a fault of the program, which its own message told.
            runs.extend(run.ok());
        }
        runs.sort_by(|a, b| (&a.path, a.line).cmp(&(&b.path, b.line)));
        runs
    }

    /// All that is wrong with tests, without running them.
    pub async fn check(&self) -> Vec<ModelError> {
        let mut errors = vec![];
        for (table, path) in &self.0.project.tests {
            match self.0.read(table, path) {
                Err(wrong) => errors.extend(wrong),
                Ok(cases) => {
                    for case in &cases {
                        errors.extend(self.0.sound(table, path, case).await.err().into_iter().flatten());
                    }
                }
            }
        }
        errors.sort_by_key(ToString::to_string);
        errors.dedup_by_key(|error| error.to_string());
        errors
    }
}

impl Inner {
    fn read(&self, table: &TableName, path: &Path) -> Result<Vec<Case>, Vec<ModelError>> {
        let file = self.project.read_text(path).map_err(|errors| errors.into_iter().map(unread).collect::<Vec<_>>())?;
        if !self.project.models.contains_key(table) {
            let what = format!("there is no model {table} to test");
            let names: Vec<String> = self.project.models.keys().map(ToString::to_string).collect();
            let near = nearest(&table.to_string(), names.iter().map(String::as_str));
            let hint = near.map(|near| format!("did you mean {near}? tests stand beside the model, in <model>.test"));
            return Err(vec![ModelError::at(path, Problem::new(1, what, hint))]);
        }
        let at = |problem| ModelError::at(path, problem);
        read::read(table, &file.text).map_err(|problems| problems.into_iter().map(at).collect())
    }

    async fn sound(&self, table: &TableName, path: &Path, case: &Case) -> Result<(), Vec<ModelError>> {
        self.given(table, path, case).await?;
        if let (Some(expect), Some(schema)) = (&case.expect, self.schema(table).await?) {
            typed(expect, &schema).map_err(|problem| vec![ModelError::at(path, problem)])?;
        }
        Ok(())
    }

    async fn run(&self, table: &TableName, path: &Path, case: Case) -> TestRun {
        let started = std::time::Instant::now();
        let outcome = self.outcome(table, path, &case).await.unwrap_or_else(|errors| TestOutcome::Wrong(told(&errors)));
        let seconds = started.elapsed().as_secs_f64();
        TestRun { table: table.to_string(), name: case.name, path: path.to_owned(), line: case.line, outcome, seconds }
    }

    async fn outcome(&self, table: &TableName, path: &Path, case: &Case) -> Result<TestOutcome, Vec<ModelError>> {
        let tables = self.given(table, path, case).await?;
        let node = self.graph.node(table).ok_or_else(|| vec![ModelError::NoTarget { table: table.clone(), nearest: None }])?;
        let planner = self.planner(case.now.unwrap_or_default());
        let read = node.inputs.iter().filter_map(|input| Some((input.clone(), tables.get(input)?.clone())));
        let found = rows(&planner, node, read.collect()).await?;
        if let Some(expect) = &case.expect
            && let Some(difference) = self.difference(node, path, case, expect, &found)?
        {
            return Ok(TestOutcome::Different(difference));
        }
        let held = self.held(&planner, node, path, case, tables, &found).await.map_err(|error| vec![error])?;
        Ok(held.unwrap_or(TestOutcome::Passed))
    }

    fn planner(&self, as_of: Instant) -> Planner<'_> {
        Planner { project: &self.project, engine: &self.engine, as_of }
    }

    /// What the case gives to the tables that the model and its checks read; the others are empty.
    async fn given(&self, table: &TableName, path: &Path, case: &Case) -> Result<Tables, Vec<ModelError>> {
        let wrong = |problem| vec![ModelError::at(path, problem)];
        let Some(node) = self.graph.node(table) else {
            return Err(vec![ModelError::NoTarget { table: table.clone(), nearest: None }]);
        };
        if case.now.is_none() && node.sources.iter().any(|source| source.select.clock.is_some()) {
            let hint = Some("add now 2026-03-10T06:00:00Z, above the first test where it is the same for all".into());
            return Err(wrong(Problem::new(
                case.line,
                format!("{table} looks at the clock, and the test does not set it"),
                hint,
            )));
        }
        let readable: Vec<&TableName> = node.inputs.iter().chain(&node.checked_against).collect();
        let mut tables = Tables::new();
        for input in &readable {
            let schema = self.schema(input).await?.ok_or_else(|| {
                wrong(Problem::new(case.line, format!("{table} reads {input}, whose columns are not known"), None))
            })?;
            tables.insert((*input).clone(), Arc::new(EmptyTable::new(schema)));
        }
        for rows in &case.given {
            let Some(empty) = tables.get(&rows.table) else {
                let names: Vec<String> = readable.iter().map(ToString::to_string).collect();
                let hint = match nearest(&rows.table.to_string(), names.iter().map(String::as_str)) {
                    Some(near) => format!("did you mean {near}?"),
                    None => format!("it reads {}", names.join(", ")),
                };
                return Err(wrong(Problem::new(rows.line, format!("{table} does not read {}", rows.table), Some(hint))));
            };
            let batch = typed(rows, &empty.schema()).map_err(wrong)?;
            let provider = memory(&batch).map_err(|source| vec![ModelError::Engine { source: Box::new(source) }])?;
            tables.insert(rows.table.clone(), provider);
        }
        Ok(tables)
    }

    /// The columns of a table that models read; `None` if they depend on a source.
    async fn schema(&self, table: &TableName) -> Result<Option<SchemaRef>, Vec<ModelError>> {
        if *table == TableName::new("system", "changes") {
            return Ok(Some(changes_schema()));
        }
        let (Some(node), Some(cell)) = (self.graph.node(table), self.schemas.get(table)) else { return Ok(None) };
        cell.get_or_try_init(|| self.planned(node)).await.cloned()
    }

    async fn planned(&self, node: &Node) -> Result<Option<SchemaRef>, Vec<ModelError>> {
        let planner = self.planner(DateTime::UNIX_EPOCH);
        if let Some(schema) = planner.declared(node) {
            return Ok(Some(stored_schema(&schema)));
        }
        if node.kind != NodeKind::Model {
            return Ok(None);
        }
        let mut tables = Tables::new();
        for input in &node.inputs {
            let Some(schema) = Box::pin(self.schema(input)).await? else { return Ok(None) };
            tables.insert(input.clone(), Arc::new(EmptyTable::new(schema)));
        }
        Ok(Some(stored_schema(&planner.node(node, tables).await?.schema())))
    }

    fn difference(
        &self,
        node: &Node,
        path: &Path,
        case: &Case,
        expect: &Rows,
        found: &RecordBatch,
    ) -> Result<Option<Difference>, Vec<ModelError>> {
        let fault = |error: arrow::error::ArrowError| vec![ModelError::Engine { source: Box::new(error.into()) }];
        let expected = typed(expect, &stored_schema(&found.schema())).map_err(|problem| vec![ModelError::at(path, problem)])?;
        let schema = found.schema();
        let columns: Vec<usize> = expect.columns.iter().filter_map(|name| schema.index_of(name).ok()).collect();
        let lines = expect.rows.iter().map(|row| row.line);
        let expected: Vec<_> = lines.zip(diff::texts(&expected, &columns).map_err(fault)?).collect();
        let found = diff::texts(found, &columns).map_err(fault)?;
        let key = self.project.models.get(&node.table).map(|model| &model.key).into_iter().flatten();
        let key: Option<Vec<usize>> = key.map(|name| expect.columns.iter().position(|column| column == name)).collect();
        Ok(diff::compare(&expect.columns, &expected, &found, &key.unwrap_or_default(), case.ordered))
    }

    /// The first of the checks that the case says to fail which does not.
    async fn held(
        &self,
        planner: &Planner<'_>,
        node: &Node,
        path: &Path,
        case: &Case,
        mut tables: Tables,
        found: &RecordBatch,
    ) -> Result<Option<TestOutcome>, ModelError> {
        let rules = check::rules(&self.project, node, &found.schema());
        let rows = memory(found).map_err(|source| ModelError::Engine { source: Box::new(source) })?;
        tables.insert(node.table.clone(), rows);
        let audit = Audit { planner, node, tables, rows_before: None };
        for (name, line) in &case.fails {
            let meant: Vec<_> = rules.iter().filter(|rule| rule.is_called(name)).collect();
            if meant.is_empty() {
                let names = rules.iter().map(|rule| rule.name.as_str()).chain(["unique", "not_null"]);
                let hint = match nearest(name, names) {
                    Some(near) => format!("did you mean {near}?"),
                    None => format!("it has: {}", rules.iter().map(|rule| rule.name.as_str()).collect::<Vec<_>>().join("; ")),
                };
                return Err(ModelError::at(path, Problem::new(*line, format!("{} has no check {name}", node.table), Some(hint))));
            }
            if audit.failed(&meant).await?.is_empty() {
                return Ok(Some(TestOutcome::Held { check: name.clone(), line: *line }));
            }
        }
        Ok(None)
    }
}

fn told(errors: &[ModelError]) -> Vec<TestProblem> {
    errors.iter().map(|error| TestProblem { message: causes(error), hint: error.hint() }).collect()
}

fn unread(error: ProjectError) -> ModelError {
    match error {
        ProjectError::At { path, line, what, hint } => ModelError::At { path, line, what, hint },
        other => ModelError::Query { line: 1, hint: other.hint(), what: causes(&other) },
    }
}

/// The rows as `schema` types them; columns that are not named are null.
fn typed(rows: &Rows, schema: &SchemaRef) -> Result<RecordBatch, Problem> {
    for (position, name) in rows.columns.iter().enumerate() {
        let names = schema.fields().iter().map(|field| field.name().as_str());
        if schema.field_with_name(name).is_err() {
            let hint = match nearest(name, names.clone()) {
                Some(near) => format!("did you mean {near}?"),
                None => format!("there are: {}", names.collect::<Vec<_>>().join(", ")),
            };
            return Err(Problem::new(rows.columns_line, format!("{} has no column {name}", rows.table), Some(hint)));
        }
        if rows.columns[..position].contains(name) {
            return Err(Problem::new(rows.columns_line, format!("column {name} is named twice"), None));
        }
    }
    let column = |field: &Arc<Field>| column(rows, field);
    let columns = schema.fields().iter().map(column).collect::<Result<Vec<_>, _>>()?;
    RecordBatch::try_new(schema.clone(), columns).map_err(|error| Problem::new(rows.line, error.to_string(), None))
}

fn column(rows: &Rows, field: &Field) -> Result<ArrayRef, Problem> {
    let Some(at) = rows.columns.iter().position(|name| name == field.name()) else {
        return Ok(new_null_array(field.data_type(), rows.rows.len()));
    };
    let cells: StringArray = rows.rows.iter().map(|row| row.cells[at].as_deref()).collect();
    let typed = cast(&cells, field.data_type());
    let typed = typed.map_err(|error| Problem::new(rows.columns_line, format!("{}: {error}", field.name()), None))?;
    match (0..cells.len()).find(|row| typed.is_null(*row) && !cells.is_null(*row)) {
        None => Ok(typed),
        Some(row) => {
            let what = format!("\"{}\" is no {}, which {} is", cells.value(row), sql_name(field.data_type()), field.name());
            Err(Problem::new(rows.rows[row].line, what, Some("- is null".into())))
        }
    }
}
