//! From selectors to tables of the graph.

use std::collections::BTreeSet;

use super::graph::NodeKind;
use super::{Graph, ModelError};
use crate::base::TableName;
use crate::project::{Project, SelectedTables, Selector};

/// The tables that `selectors` mean: the union of all, less those of `!` selectors; of no selector none, of only `!` selectors all the others.
/// `changed` are the tables that the selector `changed` means ([`super::changed`]).
pub fn select(
    graph: &Graph,
    project: &Project,
    selectors: &[Selector],
    changed: &BTreeSet<TableName>,
) -> Result<BTreeSet<TableName>, ModelError> {
    let tables = || graph.nodes.iter().filter(|node| node.kind != NodeKind::Mapped).map(|node| &node.table);
    let tags = || project.models.values().flat_map(|model| model.tags.iter().map(String::as_str));
    let meant = |selector: &Selector, table: &TableName| match &selector.tables {
        SelectedTables::Changed => changed.contains(table),
        SelectedTables::Tag(tag) => project.models.get(table).is_some_and(|model| model.tags.contains(tag)),
        like => like.has(table),
    };
    let (mut wanted, mut unwanted) = (BTreeSet::new(), BTreeSet::new());
    if selectors.iter().all(|selector| selector.excludes) && !selectors.is_empty() {
        wanted.extend(tables());
    }
    for selector in selectors {
        if let Some(problem) = selector.problem(tables(), tags()) {
            let what = format!("selector \"{selector}\": {}", problem.what);
            return Err(ModelError::Refused { what, hint: problem.hint });
        }
        let named: Vec<&TableName> = tables().filter(|table| meant(selector, table)).collect();
        let side = if selector.excludes { &mut unwanted } else { &mut wanted };
        if selector.upstream {
            side.extend(graph.upstream(&named));
        }
        if selector.downstream {
            side.extend(graph.downstream(&named));
        }
        side.extend(named);
    }
    let stored: BTreeSet<&TableName> = tables().collect();
    Ok(wanted.difference(&unwanted).filter(|table| stored.contains(*table)).map(|table| (*table).clone()).collect())
}

impl Graph {
    /// `tables` and everything that they need, directly or not.
    pub(super) fn upstream<'a>(&'a self, tables: &[&'a TableName]) -> BTreeSet<&'a TableName> {
        // Nodes come after what they read: from the end on, everything that needs a node is known before it.
        let mut needed: BTreeSet<&TableName> = tables.iter().copied().collect();
        for node in self.nodes.iter().rev() {
            if needed.contains(&node.table) {
                needed.extend(&node.inputs);
            }
        }
        needed
    }

    /// `tables` and everything that needs them, directly or not.
    pub(super) fn downstream<'a>(&'a self, tables: &[&'a TableName]) -> BTreeSet<&'a TableName> {
        let mut reached: BTreeSet<&TableName> = tables.iter().copied().collect();
        for node in &self.nodes {
            if node.inputs.iter().any(|input| reached.contains(input)) {
                reached.insert(&node.table);
            }
        }
        reached
    }
}
