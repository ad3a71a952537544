//! What a node's rows depend on, as a hash.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use sha2::{Digest, Sha256};

use super::contract::fill_sql;
use super::graph::{Node, NodeKind};
use crate::decide;
use crate::project::{Contract, Project};

/// Changes whenever this module may make other rows of the same statement and inputs.
const BUILDER_VERSION: u32 = 1;

/// The parts of what a node depends on: its definition, its clock, and the data of each table that it reads.
pub(super) struct Fingerprint {
    pub parts: BTreeMap<String, String>,
}

impl Fingerprint {
    pub const DEFINITION: &'static str = "definition";
    pub const CLOCK: &'static str = "clock";

    pub fn hash(&self) -> String {
        hex(self.to_json().as_bytes())
    }

    pub fn to_json(&self) -> String {
        serde_json::json!(self.parts).to_string()
    }

    /// The data of a view: its definition, and its definition with its inputs, so that one can be told from the other.
    pub fn of_view(&self) -> String {
        format!("{}/{}", self.parts.get(Self::DEFINITION).map(String::as_str).unwrap_or_default(), self.hash())
    }

    /// Whether `one` and `other` are data of the same rows through different definitions of a view, for all that is known.
    pub fn is_other_view(one: &str, other: &str) -> bool {
        one.split_once('/').zip(other.split_once('/')).is_some_and(|((one, _), (other, _))| one != other)
    }

    /// Why these parts are not those of `before`, in words.
    pub fn difference(&self, before: Option<&String>) -> String {
        let Some(before) = before.and_then(|json| serde_json::from_str::<BTreeMap<String, String>>(json).ok()) else {
            return "new".into();
        };
        let changed = |part: &str| self.parts.get(part) != before.get(part);
        if changed(Self::DEFINITION) {
            return "statement changed".into();
        }
        let inputs: Vec<&str> =
            self.parts.keys().map(String::as_str).filter(|part| *part != Self::CLOCK && changed(part)).collect();
        match inputs.as_slice() {
            [] if changed(Self::CLOCK) => "the clock moved on".into(),
            [] => "statement changed".into(),
            [input] => format!("input {input} changed"),
            [input, rest @ ..] => format!("input {input} and {} more changed", rest.len()),
        }
    }
}

/// Hash of what a node does with its inputs. Comments and white space do not count.
pub(super) fn definition(project: &Project, node: &Node) -> String {
    let mut text = format!("{BUILDER_VERSION}\n{:?}\n", node.kind);
    for source in &node.sources {
        let _ = writeln!(text, "{:?} {}", source.system, source.select.statement);
        for decision in decide::all().iter().filter(|decision| source.select.decisions.iter().any(|name| name == decision.name()))
        {
            let _ = writeln!(text, "{} {}", decision.name(), decision.version());
        }
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
    hex(text.as_bytes())
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
