//! From a node to a plan that the engine can run, with every column checked and typed.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use datafusion::datasource::empty::EmptyTable;
use datafusion::datasource::{TableProvider, ViewTable, provider_as_source};
use datafusion::error::DataFusionError;
use datafusion::execution::SessionState;
use datafusion::logical_expr::{Expr, LogicalPlan, LogicalPlanBuilder, cast, ident, lit};
use datafusion::sql::parser::Statement as ParsedStatement;
use datafusion::sql::sqlparser::ast::Statement;

use super::engine::{Engine, Tables};
use super::error::Problem;
use super::graph::{Node, NodeKind, Source};
use super::message::{first_line, header_line_of, line_of, problem};
use super::statement::{bind_clock, cut};
use super::types::{instant, sql_name, storable};
use super::{ModelError, check, contract};
use crate::base::time::Instant;
use crate::base::{TableName, nearest};
use crate::project::{Contract, Grain, Incremental, Project};

/// A plan and the session in which it was made and can run.
pub(super) struct Planned {
    pub state: SessionState,
    pub plan: LogicalPlan,
}

impl Planned {
    pub fn schema(&self) -> SchemaRef {
        self.plan.schema().inner().clone()
    }

    /// The plan as a view, so that the statement which reads it is optimised together with it.
    pub fn into_view(self) -> Arc<dyn TableProvider> {
        Arc::new(ViewTable::new(self.plan, None))
    }
}

/// Plans nodes; what they read is handed in.
pub(super) struct Planner<'a> {
    pub project: &'a Project,
    pub engine: &'a Engine,
    pub as_of: Instant,
}

impl Planner<'_> {
    /// The file in which a node is to be changed.
    pub fn path<'n>(&'n self, node: &'n Node) -> &'n Path {
        match (node.sources.first(), self.project.contracts.get(&node.table)) {
            (Some(source), _) => &source.path,
            (None, Some(contract)) => &contract.file.path,
            (None, None) => Path::new("loopline.toml"),
        }
    }

    /// Columns that tell the node's rows apart, as far as it declares them.
    pub fn key(&self, node: &Node) -> Vec<String> {
        match (self.project.models.get(&node.table), self.project.contracts.get(&node.table)) {
            (Some(model), _) => model.key.clone(),
            (None, Some(contract)) => contract::source_key(self.project, contract),
            (None, None) => vec![],
        }
    }

    /// How often the node's rows change although its inputs do not.
    pub fn grain(&self, node: &Node) -> Option<Grain> {
        self.project.models.get(&node.table).and_then(|model| model.clock)
    }

    /// The instant that the node sees.
    pub fn instant(&self, node: &Node) -> Instant {
        self.grain(node).map_or(self.as_of, |grain| cut(self.as_of, grain))
    }

    pub async fn node(&self, node: &Node, tables: Tables) -> Result<Planned, Vec<ModelError>> {
        match node.kind {
            NodeKind::Mapped => self.mapped(node, &tables).await,
            NodeKind::Contract => self.contract(node, tables).await,
            NodeKind::Model => self.model(node, tables).await.map_err(|error| vec![error]),
            NodeKind::Write => self.write(node, tables).await,
        }
    }

    /// Plans the node and its checks over empty tables; its columns. `None` if the columns of something that it reads are not known.
    pub async fn dry_run(&self, node: &Node, known: &Tables) -> Result<Option<SchemaRef>, Vec<ModelError>> {
        let tables = node.inputs.iter().map(|input| Some((input.clone(), known.get(input)?.clone())));
        let Some(tables) = tables.collect::<Option<Tables>>() else { return Ok(None) };
        let planned = self.node(node, tables).await?;
        let schema = planned.schema();
        let physical = planned.state.create_physical_plan(&planned.plan).await;
        if let Err(error) = physical {
            return Err(vec![match node.sources.first() {
                Some(source) => source.error(&error),
                None => ModelError::Engine { source: Box::new(error) },
            }]);
        }
        if node.kind != NodeKind::Mapped {
            self.try_rules(node, &schema, Tables::new(), false).await.map_err(|error| vec![error])?;
        }
        Ok(Some(schema))
    }

    /// Plans the checks that read other tables, as far as these are known.
    pub async fn dry_run_across(&self, node: &Node, known: &Tables) -> Result<(), ModelError> {
        let tables = node.checked_against.iter().map(|table| Some((table.clone(), known.get(table)?.clone())));
        match (tables.collect::<Option<Tables>>(), known.get(&node.table)) {
            (Some(tables), Some(rows)) => self.try_rules(node, &rows.schema(), tables, true).await,
            _ => Ok(()),
        }
    }

    async fn try_rules(&self, node: &Node, schema: &SchemaRef, mut tables: Tables, across: bool) -> Result<(), ModelError> {
        let rules = check::rules(self.project, node, schema);
        let rules: Vec<_> = rules.iter().filter(|rule| rule.is_across() == across).collect();
        tables.insert(node.table.clone(), Arc::new(EmptyTable::new(schema.clone())));
        check::Audit { planner: self, node, tables, rows_before: None }.failed(&rules).await.map(drop)
    }

    /// The columns of a contract and its view, which are known without any map.
    pub fn declared(&self, node: &Node) -> Option<SchemaRef> {
        let contracts = &self.project.contracts;
        match node.kind {
            NodeKind::Contract => contracts.get(&node.table).map(|contract| contract::schema(self.project, contract)),
            NodeKind::Mapped => {
                let contract = contracts.values().find(|contract| contract::mapped_name(&contract.table) == node.table);
                contract.map(contract::mapped_schema)
            }
            _ => None,
        }
    }

    async fn mapped(&self, node: &Node, tables: &Tables) -> Result<Planned, Vec<ModelError>> {
        let contracts = &self.project.contracts;
        let Some(contract) = contracts.values().find(|contract| contract::mapped_name(&contract.table) == node.table) else {
            return Err(vec![ModelError::NoTarget { table: node.table.clone(), nearest: None }]);
        };
        let (mut branches, mut errors) = (vec![], vec![]);
        for source in &node.sources {
            match self.branch(contract, source, tables).await {
                Ok(branch) => branches.push(branch),
                Err(wrong) => errors.extend(wrong),
            }
        }
        if !errors.is_empty() {
            return Err(errors);
        }
        let fault = |source| vec![ModelError::Engine { source: Box::new(source) }];
        let plan = match contract::union(branches).map_err(fault)? {
            Some(plan) => plan,
            None => empty(&node.table, contract::mapped_schema(contract)).map_err(fault)?,
        };
        Ok(Planned { state: self.engine.session(Tables::new(), self.as_of), plan })
    }

    async fn branch(&self, contract: &Contract, source: &Source, tables: &Tables) -> Result<LogicalPlan, Vec<ModelError>> {
        let wanted = |table: &TableName| source.select.reads.iter().any(|read| read.table == *table);
        let tables = tables.iter().filter(|(table, _)| wanted(table)).map(|(table, provider)| (table.clone(), provider.clone()));
        let state = self.engine.session(tables.collect(), self.as_of);
        let plan = select(&state, &source.select.statement).await.map_err(|error| vec![source.error(&error)])?;
        let system = source.system.as_deref().unwrap_or_default();
        contract::branch(contract, system, &source.path, &source.text, plan)
    }

    async fn contract(&self, node: &Node, tables: Tables) -> Result<Planned, Vec<ModelError>> {
        let Some(contract) = self.project.contracts.get(&node.table) else {
            return Err(vec![ModelError::NoTarget { table: node.table.clone(), nearest: None }]);
        };
        let errors = self.identity_errors(&tables);
        if !errors.is_empty() {
            return Err(errors);
        }
        let sql = contract::fill_sql(self.project, contract);
        let fault = |source| vec![ModelError::Engine { source: Box::new(source) }];
        let state = self.engine.session(tables, self.as_of);
        let plan = state.create_logical_plan(&sql).await.and_then(|plan| analysed(&state, plan)).map_err(fault)?;
        Ok(Planned { state, plan })
    }

    /// Identity models that lack what filling a contract needs.
    fn identity_errors(&self, tables: &Tables) -> Vec<ModelError> {
        let mut errors = vec![];
        for (table, provider) in tables.iter().filter(|(table, _)| table.schema == "xref") {
            let Some(model) = self.project.models.get(table) else { continue };
            for name in ["system", "source_key", "hub_id"] {
                let schema = provider.schema();
                if schema.field_with_name(name).is_ok_and(|field| *field.data_type() == DataType::Utf8) {
                    continue;
                }
                let near =
                    nearest(name, schema.fields().iter().map(|field| field.name().as_str()).filter(|other| *other != name));
                let hint = near.map_or("an identity model yields system, source_key, hub_id, rule, score".to_owned(), |near| {
                    format!("the nearest column is {near}; an identity model yields system, source_key, hub_id, rule, score")
                });
                let problem = Problem::new(1, format!("{table} must yield {name} as text"), Some(hint));
                errors.push(ModelError::at(&model.file.path, problem));
            }
        }
        errors
    }

    async fn model(&self, node: &Node, tables: Tables) -> Result<Planned, ModelError> {
        let [source] = node.sources.as_slice() else {
            return Err(ModelError::NoTarget { table: node.table.clone(), nearest: None });
        };
        let at = self.instant(node);
        let mut statement = source.select.statement.clone();
        bind_clock(&mut statement, at);
        let state = self.engine.session(tables, at);
        let plan = select(&state, &statement).await.map_err(|error| source.error(&error))?;
        let plan = stored(plan, source)?;
        if let Some(model) = self.project.models.get(&node.table) {
            require(&plan, &model.key, "the header's key", source)?;
            if let Some(Incremental::Interval { column, .. }) = &model.incremental {
                require(&plan, std::slice::from_ref(column), "incremental's column", source)?;
                let field = plan.schema().field_with_unqualified_name(column).map_err(|error| source.error(&error))?;
                if !matches!(field.data_type(), DataType::Date32 | DataType::Timestamp(..)) {
                    let what = format!("incremental's column {column} is {}", sql_name(field.data_type()));
                    let hint = Some("an interval is of days (date) or instants (timestamp(6) with time zone)".into());
                    return Err(ModelError::at(
                        &source.path,
                        Problem::new(line_of(&source.text, column).unwrap_or(1), what, hint),
                    ));
                }
            }
        }
        Ok(Planned { state, plan })
    }

    /// A write map sees only the rows of its outbox model that are for its system.
    async fn write(&self, node: &Node, mut tables: Tables) -> Result<Planned, Vec<ModelError>> {
        let [source] = node.sources.as_slice() else {
            return Err(vec![ModelError::NoTarget { table: node.table.clone(), nearest: None }]);
        };
        let system = source.system.as_deref().unwrap_or_default();
        for (table, provider) in &mut tables {
            if table.schema == "outbox" {
                *provider = self.own_rows(table, provider, system).map_err(|error| vec![error])?;
            }
        }
        let resource = self.resource(node, source, &tables);
        let state = self.engine.session(tables, self.as_of);
        let plan = select(&state, &source.select.statement).await.map_err(|error| vec![source.error(&error)])?;
        let plan = stored(plan, source).map_err(|error| vec![error])?;
        let errors = self.field_errors(node, source, &plan, resource.as_ref());
        if errors.is_empty() { Ok(Planned { state, plan }) } else { Err(errors) }
    }

    fn own_rows(
        &self,
        table: &TableName,
        provider: &Arc<dyn TableProvider>,
        system: &str,
    ) -> Result<Arc<dyn TableProvider>, ModelError> {
        if provider.schema().field_with_name("system").is_err() {
            let path = self.project.models.get(table).map_or(Path::new("loopline.toml"), |model| &model.file.path);
            let hint =
                Some("yield system: the name of the target system, from the contract rows that the decision is about".into());
            return Err(ModelError::at(path, Problem::new(1, format!("{table} has no column system"), hint)));
        }
        let plan = LogicalPlanBuilder::scan(table.to_string(), provider_as_source(provider.clone()), None)
            .and_then(|plan| plan.filter(ident("system").eq(lit(system)))?.build())
            .map_err(|source| ModelError::Engine { source: Box::new(source) })?;
        // The view's columns must not be qualified with the scan's name.
        let bare =
            plan.schema().columns().into_iter().map(|column| Expr::Column(column.clone()).alias(column.name)).collect::<Vec<_>>();
        let plan = LogicalPlanBuilder::from(plan).project(bare).and_then(LogicalPlanBuilder::build);
        Ok(Arc::new(ViewTable::new(plan.map_err(|source| ModelError::Engine { source: Box::new(source) })?, None)))
    }

    /// The columns of the table that a write map's rows go to, if the map reads it.
    fn resource(&self, node: &Node, source: &Source, tables: &Tables) -> Option<SchemaRef> {
        let system = self.project.systems.get(source.system.as_ref()?)?;
        let write = system.connector.writes.get(node.table.name.strip_prefix(&format!("{}__", system.name))?)?;
        let raw = TableName::new("raw", format!("{}__{}", system.name, write.resource));
        tables.get(&raw).map(|provider| provider.schema())
    }

    /// A write map yields the key and fields of the resource, and columns that start with `_`.
    fn field_errors(&self, node: &Node, source: &Source, plan: &LogicalPlan, resource: Option<&SchemaRef>) -> Vec<ModelError> {
        let write = source
            .system
            .as_ref()
            .and_then(|name| self.project.systems.get(name))
            .and_then(|system| system.connector.writes.get(node.table.name.strip_prefix(&format!("{}__", system.name))?));
        let Some(write) = write else { return vec![] };
        let mut errors = vec![];
        errors.extend(require(plan, &write.key, "key in connector.toml", source).err());
        let Some(resource) = resource else { return errors };
        for field in plan.schema().fields().iter().filter(|field| !field.name().starts_with('_')) {
            if resource.field_with_name(field.name()).is_err() {
                let near = nearest(field.name(), resource.fields().iter().map(|field| field.name().as_str()));
                let what = format!("stream {} has no column {}", write.resource, field.name());
                let line = line_of(&source.text, field.name()).unwrap_or(1);
                let problem = Problem::new(line, what, near.map(|near| format!("did you mean {near}?")));
                errors.push(ModelError::at(&source.path, problem));
            }
        }
        errors
    }
}

impl Source {
    /// The planner's error with file and line.
    pub(super) fn error(&self, error: &DataFusionError) -> ModelError {
        ModelError::at(&self.path, problem(error, &self.text))
    }
}

/// Plans a `select`; types of the result are final.
pub(super) async fn select(state: &SessionState, statement: &Statement) -> Result<LogicalPlan, DataFusionError> {
    let plan = state.statement_to_plan(ParsedStatement::Statement(Box::new(statement.clone()))).await?;
    analysed(state, plan)
}

/// Coerces types: until then a union's or a comparison's types may still change.
fn analysed(state: &SessionState, plan: LogicalPlan) -> Result<LogicalPlan, DataFusionError> {
    state.analyzer().execute_and_check(plan, state.config_options(), |_, _| {})
}

/// The plan with its columns in types that tables hold; refuses columns without a usable name or type.
fn stored(plan: LogicalPlan, source: &Source) -> Result<LogicalPlan, ModelError> {
    let schema = plan.schema().clone();
    let mut columns = Vec::with_capacity(schema.fields().len());
    for (position, (qualifier, field)) in schema.iter().enumerate() {
        let name = field.name();
        let wrong = |what: String, hint: String| {
            let word = name.rsplit(|c: char| !c.is_alphanumeric() && c != '_').find(|word| !word.is_empty()).unwrap_or_default();
            let line = line_of(&source.text, word).unwrap_or_else(|| first_line(&source.text));
            ModelError::at(&source.path, Problem::new(line, what, Some(hint)))
        };
        // What Delta tables refuse in a column's name.
        if name.is_empty() || name.contains([' ', ',', ';', '{', '}', '(', ')', '\n', '\t', '=', '.', '"']) {
            return Err(wrong(format!("column {} has no name: {name}", position + 1), "name it: … as name".into()));
        }
        if schema.fields()[..position].iter().any(|other| other.name() == name) {
            let hint = match source.text.contains('*') {
                true => "a * takes the columns of all tables: name those that are wanted",
                false => "name one of them otherwise: … as name",
            };
            return Err(wrong(format!("two columns are called {name}"), hint.into()));
        }
        let target = storable(field.data_type()).map_err(|hint| {
            wrong(format!("column {name} is {}, which no table holds", sql_name(field.data_type())), hint.into())
        })?;
        let column = Expr::from((qualifier, field));
        columns.push(if *field.data_type() == target { column.alias(name) } else { cast(column, target).alias(name) });
    }
    let project = || LogicalPlanBuilder::from(plan).project(columns)?.build();
    project().map_err(|error| source.error(&error))
}

/// Refuses a plan that does not yield each of `columns`.
fn require(plan: &LogicalPlan, columns: &[String], what: &str, source: &Source) -> Result<(), ModelError> {
    let names: Vec<&str> = plan.schema().fields().iter().map(|field| field.name().as_str()).collect();
    for column in columns {
        if !names.contains(&column.as_str()) {
            let hint = nearest(column, names.iter().copied()).map(|near| format!("did you mean {near}?"));
            let line = header_line_of(&source.text, column).or_else(|| line_of(&source.text, column)).unwrap_or(1);
            let problem = Problem::new(line, format!("{what} names {column}, which the statement does not yield"), hint);
            return Err(ModelError::at(&source.path, problem));
        }
    }
    Ok(())
}

/// What no node makes, by name and without rows: the pulled tables of `raw`, the tables beside them, the ledger.
pub(super) fn known_tables(raw: &BTreeMap<TableName, SchemaRef>) -> Tables {
    let mut known = Tables::from([(TableName::new("system", "changes"), no_rows(changes_schema()))]);
    for (table, schema) in raw {
        known.insert(table.clone(), no_rows(schema.clone()));
        let deleted = TableName::new(&table.schema, format!("{}__deleted", table.name));
        known.entry(deleted).or_insert(no_rows(deleted_schema(schema)));
    }
    known
}

pub(super) fn no_rows(schema: SchemaRef) -> Arc<dyn TableProvider> {
    Arc::new(EmptyTable::new(schema))
}

fn empty(table: &TableName, schema: SchemaRef) -> Result<LogicalPlan, DataFusionError> {
    let plan = LogicalPlanBuilder::scan(table.to_string(), provider_as_source(no_rows(schema)), None)?;
    let bare: Vec<_> =
        plan.schema().columns().into_iter().map(|column| Expr::Column(column.clone()).alias(column.name)).collect();
    plan.project(bare)?.build()
}

/// `system.changes` before the first run copied anything to it.
pub(super) fn changes_schema() -> SchemaRef {
    let (text, integer) = (DataType::Utf8, DataType::Int64);
    let columns = [
        ("change_id", integer.clone()),
        ("run", integer.clone()),
        ("system", text.clone()),
        ("kind", text.clone()),
        ("operation", text.clone()),
        ("hub_key", text.clone()),
        ("key_json", text.clone()),
        ("before_json", text.clone()),
        ("after_json", text.clone()),
        ("reason", text.clone()),
        ("hash", text.clone()),
        ("state", text.clone()),
        ("approved_by", text.clone()),
        ("planned_at", instant()),
        ("approved_at", instant()),
        ("sent_at", instant()),
        ("closed_at", instant()),
        ("detail", text),
        ("undoes", integer),
    ];
    Arc::new(Schema::new(columns.into_iter().map(|(name, data_type)| Field::new(name, data_type, true)).collect::<Vec<_>>()))
}

/// A raw table's sibling of deleted rows, before anything was deleted.
pub(super) fn deleted_schema(live: &SchemaRef) -> SchemaRef {
    let mut fields: Vec<_> = live.fields().iter().cloned().collect();
    fields.push(Arc::new(Field::new("_deleted_at", instant(), true)));
    Arc::new(Schema::new(fields))
}
