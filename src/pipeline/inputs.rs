//! What a run builds, which systems that depends on, and which versions it starts from.

use std::collections::{BTreeMap, BTreeSet};
use std::mem::ManuallyDrop;

use crate::base::TableName;
use crate::base::time;
use crate::model::{Graph, NodeKind, select};
use crate::project::{Mode, Pipeline, Project, Stale};
use crate::store::{Cut, TableVersion};

use super::preview::{latest, versions};
use super::pull::raw_table;
use super::{Hub, PipelineError};

/// The schema of pulled rows: a run must not lose them from the cut although it does not build them.
pub(super) const PULLED: &str = "raw";

/// The tables that a pipeline builds: what it names, the contracts of what it pulls, the write maps of what it writes.
///
/// `changed`: what the selector of that name means.
pub(super) fn targets(
    project: &Project,
    graph: &Graph,
    pipeline: &Pipeline,
    changed: &BTreeSet<TableName>,
) -> Result<Vec<TableName>, PipelineError> {
    let mut found = select(graph, project, &pipeline.build, changed)?;
    let systems = SystemsOf::new(graph);
    let pulled = |table: &TableName| systems.of(table).iter().any(|system| pipeline.pull.contains(system));
    found.extend(
        graph.nodes.iter().filter(|node| node.kind == NodeKind::Contract && pulled(&node.table)).map(|node| node.table.clone()),
    );
    for (kind, _) in pipeline.write.iter().filter(|(_, rule)| rule.mode != Mode::Off) {
        let writers = project.systems.values().filter(|system| system.connector.writes.contains_key(kind));
        found.extend(writers.map(|system| TableName::new("write", format!("{}__{kind}", system.name))));
    }
    Ok(found.into_iter().collect())
}

/// For every table, the systems whose pulled rows it depends on.
pub(super) struct SystemsOf(BTreeMap<TableName, BTreeSet<String>>);

impl SystemsOf {
    pub fn new(graph: &Graph) -> Self {
        let mut systems: BTreeMap<TableName, BTreeSet<String>> = BTreeMap::new();
        // In build order, so that the inputs of a node are known before it.
        for node in &graph.nodes {
            let mut of_node = BTreeSet::new();
            for input in &node.inputs {
                match systems.get(input) {
                    Some(found) => of_node.extend(found.iter().cloned()),
                    None => of_node.extend(system_of(input).map(str::to_owned)),
                }
            }
            systems.insert(node.table.clone(), of_node);
        }
        Self(systems)
    }

    pub fn of(&self, table: &TableName) -> BTreeSet<String> {
        self.0.get(table).cloned().unwrap_or_default()
    }

    pub fn of_all<'t>(&self, tables: impl IntoIterator<Item = &'t TableName>) -> BTreeSet<String> {
        tables.into_iter().flat_map(|table| self.of(table)).collect()
    }

    /// The part about write maps, for a plan.
    pub fn of_writes(&self) -> BTreeMap<TableName, BTreeSet<String>> {
        self.0
            .iter()
            .filter(|(table, _)| table.schema == "write")
            .map(|(table, systems)| (table.clone(), systems.clone()))
            .collect()
    }
}

/// The system of a `raw.<system>__<stream>` table.
fn system_of(table: &TableName) -> Option<&str> {
    (table.schema == PULLED).then(|| table.name.split_once("__").map(|(system, _)| system)).flatten()
}

/// Whether the inputs of a run are fresh enough.
#[derive(Debug, Default)]
pub(super) struct Staleness {
    /// Systems that are too old and must not be: the run stops.
    pub refused: Vec<String>,
    /// Systems that are too old and may be.
    pub tolerated: Vec<String>,
}

impl Hub {
    /// Every statement of the project, read once.
    pub(super) fn graph(&self) -> Result<&Graph, PipelineError> {
        if let Some(graph) = self.graph.get() {
            return Ok(graph);
        }
        let graph = Graph::new(&self.project).map_err(PipelineError::Models)?;
        Ok(self.graph.get_or_init(|| ManuallyDrop::new(graph)))
    }

    /// Looks at the age of each of `systems`.
    pub(super) fn staleness(&self, systems: &BTreeSet<String>) -> Result<Staleness, PipelineError> {
        let now = time::now();
        let mut found = Staleness::default();
        for system in systems.iter().filter_map(|name| self.project.systems.get(name)) {
            let why = match self.writeback().pulled_at(&system.name)? {
                None => format!("system \"{}\" was never pulled completely", system.name),
                Some(at) => {
                    let age = time::age(at, now);
                    if age <= system.max_age {
                        continue;
                    }
                    let (age, limit) = (age.as_secs(), system.max_age.as_secs());
                    format!("system \"{}\" was last pulled {age} s ago, its max_age is {limit} s", system.name)
                }
            };
            match system.stale {
                Stale::Fail => found.refused.push(why),
                Stale::UseLast => found.tolerated.push(why),
            }
        }
        Ok(found)
    }

    /// Every raw table that a pull writes and the tables beside it: deleted rows, what was left out, files that were taken. Some may not exist yet.
    pub(super) fn pulled_tables(&self) -> Vec<TableName> {
        let streams =
            self.project.systems.values().flat_map(|system| system.connector.streams.keys().map(|stream| (&system.name, stream)));
        let tables = streams.flat_map(|(system, stream)| {
            let live = raw_table(system, stream);
            let beside = |what: &str| TableName::new(&live.schema, format!("{}__{what}", live.name));
            [beside("deleted"), beside("discarded"), beside("files"), live]
        });
        tables.collect()
    }

    /// The latest version of every raw table and of the tables beside them.
    pub(super) async fn pin(&self) -> Result<BTreeMap<TableName, TableVersion>, PipelineError> {
        latest(self.store.view(), self.pulled_tables()).await
    }

    /// The versions of the last cut that a build may keep.
    pub(super) async fn current(
        &self,
        cut: Option<&Cut>,
        graph: &Graph,
    ) -> Result<BTreeMap<TableName, TableVersion>, PipelineError> {
        versions(self.store.view(), cut, graph).await
    }
}

/// Tables that the new cut takes over from the last one: what this run neither built nor pulled, as long as the project still has it.
pub(super) fn carried(cut: Option<&Cut>, graph: &Graph) -> BTreeMap<TableName, u64> {
    let tables = cut.into_iter().flat_map(|cut| &cut.tables);
    tables.filter(|(table, _)| graph.node(table).is_some()).map(|(table, version)| (table.clone(), *version)).collect()
}
