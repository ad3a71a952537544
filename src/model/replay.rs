//! A past run once more, from the versions that it read and as of its instant; nothing is written.
//!
//! Each table is made again from what the run's cut has of its inputs. If all of them come out as they were published, the whole run does.

use std::collections::BTreeMap;

use datafusion::execution::SessionState;

use super::build::{Builder, stored_schema};
use super::difference::{Difference, difference};
use super::engine::{Engine, frugal};
use super::fingerprint::{Fingerprint, definition};
use super::graph::{Graph, Node, NodeKind};
use super::plan::{Planned, Planner};
use super::table::Files;
use super::{BuildContext, ModelError};
use crate::base::{TableName, causes};
use crate::project::Project;
use crate::store::TableVersion;

const CONTENT: &str = "loopline.content";
const INPUTS: &str = "loopline.inputs";
const DATA: &str = "loopline.data";

/// One table of a replayed run.
#[derive(Debug, Clone, serde::Serialize)]
pub struct Replayed {
    pub table: String,
    pub outcome: ReplayOutcome,
    /// Rows that the run published, and rows that came out now.
    pub rows: u64,
    pub rows_now: Option<u64>,
    /// Why it differs, or was not made again, as far as that is known.
    pub cause: Option<String>,
    pub difference: Option<Difference>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum ReplayOutcome {
    Identical,
    Differs,
    /// The run did not make it: it took it over from an earlier one.
    Carried,
    /// The project no longer has it.
    Gone,
    Failed,
}

/// Makes every table of `context.current` again. `context` is that of the run: its number, instant and pinned versions.
pub async fn replay(
    project: &Project,
    graph: &Graph,
    context: BuildContext<'_>,
    progress: &(dyn Fn(&Replayed, usize, usize) + Sync),
) -> Result<Vec<Replayed>, ModelError> {
    let engine = Engine::new(context.store.object_store(), context.memory_limit_bytes)?;
    let planner = Planner { project, engine: &engine, as_of: context.as_of };
    let builder = Builder::over_current(planner, graph, &context);
    let mut replayed = Vec::new();
    let gone = context.current.iter().filter(|(table, _)| graph.node(table).is_none());
    replayed.extend(gone.map(|(table, version)| Replayed::new(table, version, ReplayOutcome::Gone)));
    let nodes: Vec<(&Node, &TableVersion)> =
        graph.nodes.iter().filter_map(|node| Some((node, context.current.get(&node.table)?))).collect();
    for (done, (node, version)) in nodes.iter().enumerate() {
        let one = match builder.replay(node, version).await {
            Ok(one) => one,
            Err(error) => Replayed { cause: Some(causes(&error)), ..Replayed::new(&node.table, version, ReplayOutcome::Failed) },
        };
        progress(&one, done + 1, nodes.len());
        replayed.push(one);
    }
    Ok(replayed)
}

impl Replayed {
    fn new(table: &TableName, version: &TableVersion, outcome: ReplayOutcome) -> Self {
        let rows = version.files.iter().map(|file| file.rows).sum();
        Self { table: table.to_string(), outcome, rows, rows_now: None, cause: None, difference: None }
    }
}

impl<'a> Builder<'a> {
    async fn replay(&self, node: &'a Node, version: &TableVersion) -> Result<Replayed, ModelError> {
        let fingerprint = self.fingerprint(node)?;
        let recorded = parts(version);
        if let Some(part) = moved(&fingerprint, &recorded) {
            let made_by = version.properties.get(DATA).map_or("an earlier run", String::as_str);
            let cause = format!("its rows are of {made_by}, from before {part} changed");
            return Ok(Replayed { cause: Some(cause), ..Replayed::new(&node.table, version, ReplayOutcome::Carried) });
        }
        // Of the statement, or of the maps that it reads through a view.
        let is_same_statement = fingerprint.parts.iter().all(|(part, now)| recorded.get(part) == Some(now));
        let (content, rows) = self.content(node).await?;
        let mut one = Replayed { rows_now: Some(rows), ..Replayed::new(&node.table, version, ReplayOutcome::Identical) };
        if version.properties.get(CONTENT) == Some(&content) {
            return Ok(one);
        }
        let key = self.planner.project.models.get(&node.table).map(|model| model.key.clone()).unwrap_or_default();
        let sides = [std::sync::Arc::new(Files::of(version)) as _, self.plan(node).await?.into_view()];
        one.difference = difference(self.planner.engine, sides, &key, self.context.as_of).await?;
        one.outcome = ReplayOutcome::Differs;
        one.cause = match &one.difference {
            _ if !is_same_statement => Some("statement changed since".into()),
            Some(difference) if difference.is_rounding => Some("sums of doubles in another order".into()),
            _ => None,
        };
        Ok(one)
    }
}

impl Builder<'_> {
    /// Hash and number of the rows that the node's statement yields; where they do not fit into memory, once more with operators that spill.
    async fn content(&self, node: &Node) -> Result<(String, u64), ModelError> {
        let Planned { state, plan } = self.plan(node).await?;
        let schema = stored_schema(plan.schema().inner());
        let run = async |state: &SessionState| {
            let (batches, cause) = self.rows(node, state, &plan, &schema).await?;
            let hashed = self.context.store.content_of(&node.table, schema.clone(), batches).await;
            self.judge(node, &cause, hashed)
        };
        match run(&state).await {
            Err(ModelError::Memory { .. }) => run(&frugal(state.clone())).await,
            other => other,
        }
    }
}

/// What a version's rows were made from, as it was noted with them.
fn parts(version: &TableVersion) -> BTreeMap<String, String> {
    version.properties.get(INPUTS).and_then(|json| serde_json::from_str(json).ok()).unwrap_or_default()
}

/// The first thing but the statement that is not as it was when the rows were made.
fn moved(fingerprint: &Fingerprint, recorded: &BTreeMap<String, String>) -> Option<String> {
    let others = fingerprint.parts.iter().filter(|(part, _)| *part != Fingerprint::DEFINITION);
    let differs = |then: &String, now: &String| then != now && !Fingerprint::is_other_view(then, now);
    let mut moved = others.filter(|(part, now)| recorded.get(*part).is_some_and(|then| differs(then, now)));
    moved.next().map(|(part, _)| if part == Fingerprint::CLOCK { "the clock".into() } else { part.clone() })
}

/// Whether the rows of `version` were made by the statement that `table` has now.
pub fn has_same_definition(project: &Project, graph: &Graph, table: &TableName, version: &TableVersion) -> bool {
    let now = graph.node(table).filter(|node| node.kind != NodeKind::Mapped).map(|node| definition(project, node));
    now.is_some() && parts(version).get(Fingerprint::DEFINITION) == now.as_ref()
}

/// In words, what made the rows of `here` others than those of `there`.
pub fn why_it_differs(here: &TableVersion, there: Option<&TableVersion>) -> String {
    Fingerprint { parts: parts(here) }.difference(there.and_then(|there| there.properties.get(INPUTS)))
}
