//! What a node's rows depend on, in parts that can be compared.

use std::collections::BTreeMap;
use std::fmt::{self, Write as _};

use serde::Serialize;
use sha2::{Digest, Sha256};

use super::contract::fill_sql;
use super::graph::{Graph, Node, NodeKind};
use super::statement::cut;
use crate::base::TableName;
use crate::base::time::Instant;
use crate::decide;
use crate::project::{Contract, Project};

/// Changes whenever this module may make other rows of the same statement and inputs.
const BUILDER_VERSION: u32 = 2;

/// The parts of what a node depends on, by name: its statement, its clock, the functions that it calls, and the data of each table that it reads.
/// Only names of tables have a dot.
pub(super) struct Fingerprint {
    pub parts: BTreeMap<String, String>,
}

const STATEMENT: &str = "statement";
const CLOCK: &str = "clock";
const BUILDER: &str = "loopline";
const FUNCTION: &str = "function ";

/// Why a table is built, or looked at.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase", tag = "cause", content = "of")]
pub enum Cause {
    New,
    Statement,
    /// This version of Loopline may make other rows than the one before.
    Loopline,
    Function(String),
    Clock,
    Input(String),
    /// An input is built; whether its rows change, nobody knows yet.
    Upstream(String),
    /// The rows did not pass these checks yet.
    Checks,
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::New => f.write_str("new"),
            Self::Statement => f.write_str("statement changed"),
            Self::Loopline => f.write_str("made by another version of Loopline"),
            Self::Function(name) => write!(f, "function {name} changed"),
            Self::Clock => f.write_str("the clock moved on"),
            Self::Input(table) => write!(f, "input {table} changed"),
            Self::Upstream(table) => write!(f, "input {table} may change"),
            Self::Checks => f.write_str("checks changed, or failed last time"),
        }
    }
}

/// The first causes in words; of many inputs one is named.
pub(super) fn reason(causes: &[Cause]) -> String {
    let of_tables = |cause: &&Cause| matches!(cause, Cause::Input(_) | Cause::Upstream(_));
    let inputs = causes.iter().filter(of_tables).count();
    let mut texts: Vec<String> = causes.iter().filter(|cause| !of_tables(cause)).map(Cause::to_string).collect();
    texts.extend(causes.iter().find(of_tables).map(|cause| match inputs {
        1 => cause.to_string(),
        _ => cause.to_string().replacen(' ', &format!("s ({inputs}): "), 1),
    }));
    texts.join(", ")
}

impl Fingerprint {
    /// `data` says, for a node and a table that it reads, what changes when that table's rows do. Mapped views belong to whatever reads them.
    pub fn of<E>(
        project: &Project,
        graph: &Graph,
        node: &Node,
        as_of: Instant,
        mut data: impl FnMut(&Node, &TableName) -> Result<String, E>,
    ) -> Result<Self, E> {
        let mut statement = definition(project, node);
        let mut parts = BTreeMap::from([(BUILDER.to_owned(), BUILDER_VERSION.to_string())]);
        let views = node.inputs.iter().filter_map(|input| graph.node(input)).filter(|input| input.kind == NodeKind::Mapped);
        for reader in std::iter::once(node).chain(views) {
            if reader.table != node.table {
                statement.push_str(&definition(project, reader));
            }
            for input in reader.inputs.iter().filter(|input| input.schema != "mapped") {
                parts.insert(input.to_string(), data(reader, input)?);
            }
            let called =
                |name: &str| reader.sources.iter().any(|source| source.select.decisions.iter().any(|called| called == name));
            for decision in decide::all().iter().filter(|decision| called(decision.name())) {
                parts.insert(format!("{FUNCTION}{}", decision.name()), decision.version().to_string());
            }
        }
        parts.insert(STATEMENT.into(), hex(statement.as_bytes()));
        if let Some(grain) = project.models.get(&node.table).and_then(|model| model.clock) {
            parts.insert(CLOCK.into(), cut(as_of, grain).to_rfc3339());
        }
        Ok(Self { parts })
    }

    pub fn hash(&self) -> String {
        hex(self.to_json().as_bytes())
    }

    pub fn to_json(&self) -> String {
        serde_json::json!(self.parts).to_string()
    }

    /// The parts in a text that [`Self::to_json`] made.
    pub fn parts_of(json: Option<&String>) -> Option<BTreeMap<String, String>> {
        serde_json::from_str(json?).ok()
    }

    /// Why these parts are not those of `before`; empty if they are.
    pub fn difference(&self, before: Option<&BTreeMap<String, String>>) -> Vec<Cause> {
        let Some(before) = before else { return vec![Cause::New] };
        let names = self.parts.keys().chain(before.keys().filter(|name| !self.parts.contains_key(*name)));
        let mut changed: Vec<&str> =
            names.filter(|name| self.parts.get(*name) != before.get(*name)).map(String::as_str).collect();
        // A statement that no longer reads a table changed; that is said already.
        if changed.contains(&STATEMENT) {
            changed.retain(|name| before.contains_key(*name) && self.parts.contains_key(*name) || *name == STATEMENT);
        }
        let mut causes: Vec<Cause> = changed
            .into_iter()
            .map(|name| match (name, name.strip_prefix(FUNCTION)) {
                (STATEMENT, _) => Cause::Statement,
                (CLOCK, _) => Cause::Clock,
                (BUILDER, _) => Cause::Loopline,
                (_, Some(function)) => Cause::Function(function.into()),
                (table, None) => Cause::Input(table.into()),
            })
            .collect();
        causes.sort_by_key(|cause| !matches!(cause, Cause::Statement));
        causes
    }

    /// Whether the statement alone is another one than before.
    pub fn statement_changed(&self, before: Option<&BTreeMap<String, String>>) -> bool {
        self.parts.get(STATEMENT) != before.and_then(|parts| parts.get(STATEMENT))
    }
}

/// What a node does with its inputs. Comments, white space and the case of words do not count.
fn definition(project: &Project, node: &Node) -> String {
    let mut text = format!("{:?}\n", node.kind);
    for source in &node.sources {
        let _ = writeln!(text, "{:?} {}", source.system, source.select.normal);
    }
    match node.kind {
        NodeKind::Mapped => {
            let contract =
                project.contracts.values().find(|contract| super::contract::mapped_name(&contract.table) == node.table);
            if let Some(contract) = contract {
                columns(contract, &mut text);
            }
        }
        NodeKind::Contract => {
            if let Some(contract) = project.contracts.get(&node.table) {
                columns(contract, &mut text);
                text.push_str(&fill_sql(project, contract));
            }
        }
        NodeKind::Model => {
            if let Some(model) = project.models.get(&node.table) {
                let _ = writeln!(text, "{:?} {:?}", model.key, model.clock);
            }
        }
        NodeKind::Write => {}
    }
    text
}

fn columns(contract: &Contract, text: &mut String) {
    for column in &contract.columns {
        let _ = writeln!(text, "{} {}", column.name, column.data_type);
    }
}

pub(super) fn hex(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}
