//! `loopline plan`: what a run would do, without doing it.

use clap::Args;
use serde::Serialize;

use crate::base::{Operation, TableName};
use crate::model::NodeKind;
use crate::pipeline::{Access, Freshness, Hub, PipelineError};
use crate::project::Pipeline;
use crate::writeback::{Difference, Preview};

use super::Done;
use super::check::graph;
use super::context::Context;
use super::format::{Table, counted, difference, key, span};

/// Shows what a run would do and why, and which writes would differ; touches nothing
#[derive(Args)]
#[command(
    after_help = "Examples:\n  loopline plan\n  loopline plan loop\n  loopline plan --json\n\nThe writes are those that follow from what was last published; a run pulls first and may find others."
)]
pub(super) struct Arguments {
    /// Only this pipeline [default: all]
    pipeline: Option<String>,
}

#[derive(Serialize)]
struct Report {
    pipelines: Vec<PipelinePlan>,
    /// `None` before the first run.
    writes: Option<Preview>,
}

#[derive(Serialize)]
struct PipelinePlan {
    pipeline: String,
    pulls: Vec<PullPlan>,
    tables: Vec<String>,
}

#[derive(Serialize)]
struct PullPlan {
    system: String,
    why: String,
}

pub(super) async fn run(arguments: &Arguments, context: &Context) -> anyhow::Result<Done> {
    let hub = context.hub(Access::Read).await?;
    let status = hub.status().await?;
    let mut pipelines = Vec::new();
    for pipeline in hub.project.pipelines.values() {
        if arguments.pipeline.as_ref().is_none_or(|name| *name == pipeline.name) {
            pipelines.push(plan_of(pipeline, &hub, &status.systems)?);
        }
    }
    let writes = match hub.plan(arguments.pipeline.as_deref()).await {
        Ok(preview) => Some(preview),
        Err(PipelineError::NoCut) => None,
        Err(error) => return Err(error.into()),
    };
    let report = Report { pipelines, writes };
    if context.output.json {
        context.output.data_json(&report)?;
    } else {
        context.output.data(&text(&report, context.output.width()));
    }
    Ok(Done::Well)
}

fn plan_of(pipeline: &Pipeline, hub: &Hub, systems: &[Freshness]) -> anyhow::Result<PipelinePlan> {
    let why = |system: &str| match systems.iter().find(|freshness| freshness.system == system) {
        Some(Freshness { age_seconds: Some(age), stale, .. }) => {
            let age = span(*age as f64);
            if *stale { format!("last pulled {age} ago, too old to decide from") } else { format!("last pulled {age} ago") }
        }
        _ => "never pulled".to_owned(),
    };
    let pulls = pipeline.pull.iter().map(|system| PullPlan { system: system.clone(), why: why(system) }).collect();
    Ok(PipelinePlan { pipeline: pipeline.name.clone(), pulls, tables: tables(pipeline, hub)? })
}

/// Every table that the pipeline builds or leaves as it is, in order.
fn tables(pipeline: &Pipeline, hub: &Hub) -> anyhow::Result<Vec<String>> {
    let graph = graph(&hub.project)?;
    let named = |table: &TableName| pipeline.build.iter().any(|target| *target == table.schema || *target == table.to_string());
    let written = |table: &TableName| pipeline.write.keys().any(|outbox| table.name.ends_with(&format!("__{outbox}")));
    let mut needed: Vec<&TableName> = Vec::new();
    for node in graph.nodes.iter().rev() {
        let target = match node.kind {
            NodeKind::Write => written(&node.table),
            NodeKind::Contract | NodeKind::Model => named(&node.table),
            NodeKind::Mapped => false,
        };
        // Nodes come after what they read, so from the end on everything that needs a node is known before it.
        if target || needed.contains(&&node.table) {
            needed.push(&node.table);
            needed.extend(&node.inputs);
        }
    }
    let stored = graph.nodes.iter().filter(|node| node.kind != NodeKind::Mapped && needed.contains(&&node.table));
    Ok(stored.map(|node| node.table.to_string()).collect())
}

fn text(report: &Report, width: Option<usize>) -> String {
    let mut parts = Vec::new();
    for pipeline in &report.pipelines {
        let mut part = format!("Pipeline {}", pipeline.pipeline);
        for pull in &pipeline.pulls {
            part.push_str(&format!("\n  pull {}: {}", pull.system, pull.why));
        }
        let tables = counted(pipeline.tables.len(), "table", "tables");
        part.push_str(&format!("\n  build {tables}, those of them whose statement, inputs or clock changed"));
        parts.push(part);
    }
    match &report.writes {
        None => parts.push("Nothing was published yet, so no write can be planned: run a pipeline first.".into()),
        Some(preview) if preview.differences.is_empty() => {
            parts.push("Every system is as wanted: nothing would be written.".into())
        }
        Some(preview) => parts.push(differences(&preview.differences, width)),
    }
    let held = report.writes.iter().flat_map(|preview| &preview.writes);
    for (write, held) in held.filter_map(|write| Some((write, write.held.as_ref()?))) {
        parts.push(format!("{} for {} would not be planned: {held}", write.kind, write.system));
    }
    parts.join("\n\n")
}

fn differences(differences: &[Difference], width: Option<usize>) -> String {
    let mut table = Table::new(&["system", "kind", "what", "key", "before → after", "reason", "approval"]);
    for change in differences {
        table.row(vec![
            change.system.clone(),
            change.kind.clone(),
            operation(change.operation).into(),
            key(&change.key),
            difference(&change.key, change.before.as_ref(), change.after.as_ref()),
            change.reason.clone(),
            if change.by_rule { "by rule" } else { "asks" }.into(),
        ]);
    }
    let total = counted(differences.len(), "change", "changes");
    format!("{total} would be written\n{}", table.render(width))
}

pub(super) fn operation(operation: Operation) -> &'static str {
    match operation {
        Operation::Insert => "new",
        Operation::Update => "change",
        Operation::Delete => "remove",
    }
}
