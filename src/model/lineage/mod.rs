//! Column lineage: from a source's field through maps, contracts, models and decision functions to the field that is written back.
//!
//! It is read from the statements' plans, nothing is declared. *Direct* origins give a column its value ([`How`], in the terms of OpenLineage's column
//! lineage facet); *rows* are the columns that decide which rows a table has (filters, joins, groups), and so touch every column of it.

mod trace;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;
use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use chrono::DateTime;
use object_store::memory::InMemory;
use serde::Serialize;

use super::engine::{Engine, Tables};
use super::graph::{Graph, Node, NodeKind};
use super::plan::{Planner, known_tables, no_rows};
use super::types::sql_name;
use super::{ModelError, contract};
use crate::base::{TableName, nearest};
use crate::project::Project;

/// A column of a table: `erp.item_sites.lead_time_days`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct ColumnName {
    pub table: TableName,
    pub column: String,
}

/// How a value becomes another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum How {
    /// As it is, perhaps in another type or under another name.
    Identity,
    Transformation,
    /// Of many rows.
    Aggregation,
}

/// Where the columns of all tables come from.
#[derive(Debug, Default)]
pub struct Lineage {
    /// In the order in which data flows.
    pub tables: Vec<TableLineage>,
    /// Tables whose columns are not known: something that they read was never pulled, or their statement is wrong.
    pub unknown: Vec<TableName>,
}

#[derive(Debug)]
pub struct TableLineage {
    pub table: TableName,
    pub kind: TableKind,
    /// The file to change; none for a pulled table.
    pub path: Option<PathBuf>,
    pub description: String,
    pub columns: Vec<ColumnLineage>,
    /// What decides which rows there are.
    pub rows: BTreeSet<ColumnName>,
}

#[derive(Debug)]
pub struct ColumnLineage {
    pub name: String,
    /// As SQL calls it.
    pub data_type: String,
    /// From the contract; a column that is handed on as it is keeps the description of the one that it was.
    pub description: String,
    pub origins: BTreeMap<ColumnName, How>,
}

/// What stands behind a table.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase", tag = "kind")]
pub enum TableKind {
    /// `raw.*`: rows as they were pulled.
    Stream {
        system: String,
        stream: String,
    },
    Mapped,
    Contract,
    Model,
    /// `write.*`: the fields of a resource of the target.
    Write {
        system: String,
        resource: String,
    },
    /// What the hub itself keeps.
    System,
}

/// A column and what it leads to, one way.
#[derive(Debug, Clone, Serialize)]
pub struct Branch {
    #[serde(serialize_with = "as_text")]
    pub column: ColumnName,
    /// How it and the column above become one another; none for the first.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub how: Option<How>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub branches: Vec<Branch>,
    /// Its branches were shown before.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub repeated: bool,
}

/// Which way to follow a column.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    /// To where its value comes from.
    Upstream,
    /// To what is made of it.
    Downstream,
}

impl Lineage {
    /// Plans every statement without rows. `raw` holds the columns of the pulled tables; what reads others is among [`Lineage::unknown`].
    ///
    /// # Errors
    /// The engine's own only: a statement that cannot be planned makes its table unknown.
    pub async fn new(project: &Project, graph: &Graph, raw: &BTreeMap<TableName, SchemaRef>) -> Result<Self, ModelError> {
        let engine = Engine::new(Arc::new(InMemory::new()), project.memory_limit_bytes)?;
        let planner = Planner { project, engine: &engine, as_of: DateTime::UNIX_EPOCH };
        let mut known = known_tables(raw);
        let mut lineage = Self::default();
        for (table, provider) in &known {
            lineage.add(Described::new(project, table, None), &provider.schema(), trace::Traced::default());
        }
        for node in &graph.nodes {
            let tables = node.inputs.iter().map(|input| Some((input.clone(), known.get(input)?.clone())));
            let Some(tables) = tables.collect::<Option<Tables>>() else {
                lineage.unknown.push(node.table.clone());
                known.extend(planner.declared(node).map(|schema| (node.table.clone(), no_rows(schema))));
                continue;
            };
            match Box::pin(planner.node(node, tables)).await {
                Ok(planned) => {
                    let schema = planned.schema();
                    lineage.add(
                        Described::new(project, &node.table, Some((node, &planner))),
                        &schema,
                        trace::trace(&planned.plan),
                    );
                    known.insert(node.table.clone(), no_rows(schema));
                }
                Err(_) => lineage.unknown.push(node.table.clone()),
            }
        }
        Ok(lineage)
    }

    fn add(&mut self, described: Described, schema: &SchemaRef, traced: trace::Traced) {
        let Described { table, kind, path, description, columns: descriptions } = described;
        let origins = traced.columns.into_iter().chain(std::iter::repeat(BTreeMap::new()));
        let columns = schema.fields().iter().zip(origins).map(|(field, origins)| {
            let own = descriptions.get(field.name()).cloned();
            let description = own.or_else(|| self.inherited(&origins)).unwrap_or_default();
            ColumnLineage { name: field.name().clone(), data_type: sql_name(field.data_type()), description, origins }
        });
        let columns = columns.collect();
        self.tables.push(TableLineage { table, kind, path, description, columns, rows: traced.rows });
    }

    /// The description of the one column that this one is.
    fn inherited(&self, origins: &BTreeMap<ColumnName, How>) -> Option<String> {
        let mut same = origins.iter().filter(|(_, how)| **how == How::Identity);
        let (Some((origin, _)), None) = (same.next(), same.next()) else { return None };
        self.column(origin).map(|column| column.description.clone()).filter(|text| !text.is_empty())
    }

    pub fn table(&self, table: &TableName) -> Option<&TableLineage> {
        self.tables.iter().find(|known| known.table == *table)
    }

    pub fn column(&self, name: &ColumnName) -> Option<&ColumnLineage> {
        self.table(&name.table)?.columns.iter().find(|column| column.name == name.column)
    }

    /// The table or column that a person named.
    ///
    /// # Errors
    /// [`ModelError::NoColumn`] with the nearest name that there is.
    pub fn find(&self, name: &str) -> Result<(&TableLineage, Option<&ColumnLineage>), ModelError> {
        if let Some(table) = self.tables.iter().find(|known| known.table.to_string() == name) {
            return Ok((table, None));
        }
        let names = || self.tables.iter().flat_map(|known| known.columns.iter().map(move |column| (known, column)));
        if let Some((table, column)) = names().find(|(table, column)| format!("{}.{}", table.table, column.name) == name) {
            return Ok((table, Some(column)));
        }
        let columns = name.matches('.').count() > 1;
        let known: Vec<String> = match columns {
            true => names().map(|(table, column)| format!("{}.{}", table.table, column.name)).collect(),
            false => self.tables.iter().map(|known| known.table.to_string()).collect(),
        };
        let nearest = nearest(name, known.iter().map(String::as_str)).map(str::to_owned);
        let unknown = self.unknown.iter().any(|table| name.starts_with(&table.to_string()));
        Err(ModelError::NoLineage { name: name.to_owned(), nearest, unknown })
    }

    /// Follows `column` as far as it goes. A column that is met twice is opened once.
    pub fn follow(&self, column: &ColumnName, way: Way) -> Branch {
        let edges = self.edges(way);
        let mut opened = BTreeSet::new();
        branch(column, None, &edges, &mut opened)
    }

    /// Tables whose rows are decided by `column` or by a column that is made of it.
    pub fn decides(&self, column: &ColumnName) -> BTreeSet<TableName> {
        let mut names = BTreeSet::new();
        self.follow(column, Way::Downstream).names(&mut names);
        let touched = self.tables.iter().filter(|table| !names.is_disjoint(&table.rows));
        touched.map(|table| table.table.clone()).collect()
    }

    fn edges(&self, way: Way) -> BTreeMap<ColumnName, Vec<(ColumnName, How)>> {
        let mut edges: BTreeMap<ColumnName, Vec<(ColumnName, How)>> = BTreeMap::new();
        for table in &self.tables {
            for column in &table.columns {
                let this = ColumnName { table: table.table.clone(), column: column.name.clone() };
                for (origin, how) in &column.origins {
                    let (from, to) = match way {
                        Way::Upstream => (this.clone(), origin.clone()),
                        Way::Downstream => (origin.clone(), this.clone()),
                    };
                    edges.entry(from).or_default().push((to, *how));
                }
            }
        }
        edges
    }
}

fn branch(
    column: &ColumnName,
    how: Option<How>,
    edges: &BTreeMap<ColumnName, Vec<(ColumnName, How)>>,
    opened: &mut BTreeSet<ColumnName>,
) -> Branch {
    let next = edges.get(column).map(Vec::as_slice).unwrap_or_default();
    let repeated = !next.is_empty() && !opened.insert(column.clone());
    let branches = match repeated {
        true => vec![],
        false => next.iter().map(|(column, how)| branch(column, Some(*how), edges, opened)).collect(),
    };
    Branch { column: column.clone(), how, branches, repeated }
}

impl Branch {
    /// All columns of it, itself included.
    pub fn names(&self, names: &mut BTreeSet<ColumnName>) {
        names.insert(self.column.clone());
        self.branches.iter().for_each(|branch| branch.names(names));
    }
}

/// What the project's files say of a table.
struct Described {
    table: TableName,
    kind: TableKind,
    path: Option<PathBuf>,
    description: String,
    columns: BTreeMap<String, String>,
}

impl Described {
    fn new(project: &Project, table: &TableName, node: Option<(&Node, &Planner)>) -> Self {
        let contract = project.contracts.values().find(|contract| match node.map(|(node, _)| node.kind) {
            Some(NodeKind::Mapped) => contract::mapped_name(&contract.table) == *table,
            _ => contract.table == *table,
        });
        let path = node.map(|(node, planner)| planner.path(node).to_owned());
        let model = project.models.get(table);
        let description = model.map(|model| model.description.clone());
        let description = description.or_else(|| contract.map(contract::description)).unwrap_or_default();
        let columns = contract.into_iter().flat_map(|contract| &contract.columns);
        let columns = columns.filter(|column| !column.description.is_empty());
        let columns = columns.map(|column| (column.name.clone(), column.description.clone())).collect();
        Self { table: table.clone(), kind: kind(project, table, node.map(|(node, _)| node.kind)), path, description, columns }
    }
}

fn kind(project: &Project, table: &TableName, node: Option<NodeKind>) -> TableKind {
    let of_system = || {
        let names = project.systems.keys().find_map(|system| {
            let rest = table.name.strip_prefix(system.as_str())?.strip_prefix("__")?;
            Some((system.clone(), rest.to_owned()))
        });
        names.unwrap_or_default()
    };
    match node {
        Some(NodeKind::Mapped) => TableKind::Mapped,
        Some(NodeKind::Contract) => TableKind::Contract,
        Some(NodeKind::Model) => TableKind::Model,
        Some(NodeKind::Write) => {
            let (system, outbox) = of_system();
            let write = project.systems.get(&system).and_then(|system| system.connector.writes.get(&outbox));
            TableKind::Write { resource: write.map_or(outbox, |write| write.resource.clone()), system }
        }
        None if table.schema == "raw" => {
            let (system, stream) = of_system();
            TableKind::Stream { system, stream }
        }
        None => TableKind::System,
    }
}

impl fmt::Display for ColumnName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.table, self.column)
    }
}

impl FromStr for ColumnName {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (table, column) = text.rsplit_once('.').ok_or_else(|| format!("\"{text}\" is not schema.table.column"))?;
        Ok(Self { table: table.parse()?, column: column.to_owned() })
    }
}

fn as_text<S: serde::Serializer>(column: &ColumnName, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(column)
}
