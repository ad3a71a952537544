//! What a build would do and why, from versions alone: nothing here can read a row or write one.

use std::collections::{BTreeMap, BTreeSet};
use std::convert::Infallible;

use serde::Serialize;

use super::build::{CONTENT, DATA, FINGERPRINT, INPUTS};
use super::fingerprint::{Cause, Fingerprint};
use super::graph::NodeKind;
use super::{Graph, ModelError, check};
use crate::base::TableName;
use crate::base::time::Instant;
use crate::project::Project;
use crate::store::TableVersion;

/// The versions that a build would start from; see [`super::BuildContext`].
pub struct Versions {
    pub pinned: BTreeMap<TableName, TableVersion>,
    pub current: BTreeMap<TableName, TableVersion>,
    /// Production's, under an environment.
    pub production: BTreeMap<TableName, TableVersion>,
}

impl Versions {
    /// What is read where nothing is built: an environment's own, else production's.
    pub fn readable(&self) -> BTreeMap<TableName, TableVersion> {
        self.production.iter().chain(&self.current).map(|(table, version)| (table.clone(), version.clone())).collect()
    }
}

/// What would become of one table.
#[derive(Debug, Clone, Serialize)]
pub struct TablePreview {
    pub table: String,
    pub action: Action,
    /// Empty for a table that stays as it is.
    pub causes: Vec<Cause>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Action {
    /// It is built.
    Build,
    /// It is built if an input that is built comes out with other rows.
    Perhaps,
    /// Its rows stay; checks that they did not pass yet run.
    Check,
    /// Nothing that it depends on changed.
    Skip,
}

/// Looks at `targets` and everything that they need, in build order.
pub fn preview(
    project: &Project,
    graph: &Graph,
    targets: &[TableName],
    as_of: Instant,
    versions: &Versions,
) -> Result<Vec<TablePreview>, ModelError> {
    // What changes when a table's rows do; none where that is open.
    let mut known: BTreeMap<&TableName, Option<String>> = BTreeMap::new();
    let mut tables = vec![];
    for node in graph.closure(targets)?.into_iter().map(|at| &graph.nodes[at]).filter(|node| node.kind != NodeKind::Mapped) {
        let production = versions.production.get(&node.table);
        let current = versions.current.get(&node.table).or(production);
        let before = Fingerprint::parts_of(current.and_then(|current| current.properties.get(INPUTS)));
        let mut open = vec![];
        let data = |_: &_, input: &TableName| {
            Ok::<_, Infallible>(match known.get(input) {
                Some(Some(data)) => data.clone(),
                Some(None) => {
                    open.push(Cause::Upstream(input.to_string()));
                    before.as_ref().and_then(|parts| parts.get(&input.to_string())).cloned().unwrap_or_default()
                }
                None => versions.pinned.get(input).map_or_else(|| "empty".into(), pulled),
            })
        };
        let Ok(fingerprint) = Fingerprint::of(project, graph, node, as_of, data);
        let is_production = |version: &&TableVersion| version.properties.get(FINGERPRINT) == Some(&fingerprint.hash());
        let as_production = production.filter(|version| open.is_empty() && is_production(version));
        let current = as_production.or(current);
        let causes = if as_production.is_some() { vec![] } else { fingerprint.difference(before.as_ref()) };
        let is_checked = |current: &TableVersion| {
            let rules = check::rules(project, node, &current.schema);
            // What is not known yet counts as changed.
            let data = |_: &_, input: &TableName| {
                Ok::<_, Infallible>(match known.get(input) {
                    Some(data) => data.clone().unwrap_or_default(),
                    None => versions.pinned.get(input).map(pulled).unwrap_or_default(),
                })
            };
            let Ok(data) = check::data_of(graph, node, data);
            let hashes = check::hashes(project, &rules, node, as_of, &data);
            check::due(&rules, &hashes, &check::passed(&current.properties)).next().is_none()
        };
        let (action, causes) = match (causes.is_empty(), open.is_empty()) {
            (false, _) => (Action::Build, causes),
            (true, false) => (Action::Perhaps, open),
            (true, true) if current.is_some_and(is_checked) => (Action::Skip, vec![]),
            (true, true) => (Action::Check, vec![Cause::Checks]),
        };
        let stays = matches!(action, Action::Check | Action::Skip);
        known.insert(&node.table, current.filter(|_| stays).map(kept));
        tables.push(TablePreview { table: node.table.to_string(), action, causes });
    }
    Ok(tables)
}

/// Tables whose own statement is not the one that the published rows were made by, and tables that were never published.
pub fn changed(project: &Project, graph: &Graph, current: &BTreeMap<TableName, TableVersion>) -> BTreeSet<TableName> {
    let nodes = graph.nodes.iter().filter(|node| node.kind != NodeKind::Mapped);
    let is_changed = |node: &&super::Node| {
        let Ok(now) =
            Fingerprint::of(project, graph, node, chrono::DateTime::UNIX_EPOCH, |_, _| Ok::<_, Infallible>(String::new()));
        now.statement_changed(Fingerprint::parts_of(current.get(&node.table).and_then(|now| now.properties.get(INPUTS))).as_ref())
    };
    nodes.filter(is_changed).map(|node| node.table.clone()).collect()
}

/// What changes when the rows of a pulled table do.
pub(super) fn pulled(version: &TableVersion) -> String {
    version.properties.get(DATA).cloned().unwrap_or_else(|| version.version.to_string())
}

/// What changes when the rows of a built table do.
pub(super) fn kept(version: &TableVersion) -> String {
    version.properties.get(CONTENT).cloned().unwrap_or_else(|| version.version.to_string())
}
