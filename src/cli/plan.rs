//! `loopline plan`: what a run would do, without doing it.

use clap::Args;
use serde::Serialize;

use crate::base::Operation;
use crate::model::{Action, Cause, TablePreview};
use crate::pipeline::{Access, Freshness, Hub, PipelineError};
use crate::project::Pipeline;
use crate::writeback::{Difference, Preview};

use super::Done;
use super::context::Context;
use super::format::{Table, counted, difference, key, span};
use super::select::Selectors;

/// Shows what a run would do and why, and which writes would differ; touches nothing
#[derive(Args)]
#[command(
    after_help = "Examples:\n  loopline plan                   all tables, and what would be written\n  loopline plan loop              a pipeline\n  loopline plan changed+          tables by selector, as in `loopline build`\n  loopline plan --json\n\nA run pulls first and may find more to do. The writes are those that follow from what was last published."
)]
pub(super) struct Arguments {
    /// A pipeline, or selectors of tables
    #[command(flatten)]
    what: Selectors,
}

#[derive(Serialize)]
struct Report {
    pipelines: Vec<PipelinePlan>,
    /// In the order in which they would be built.
    tables: Vec<TablePreview>,
    /// `None` before the first run.
    writes: Option<Preview>,
}

#[derive(Serialize)]
struct PipelinePlan {
    pipeline: String,
    pulls: Vec<PullPlan>,
}

#[derive(Serialize)]
struct PullPlan {
    system: String,
    why: String,
}

pub(super) async fn run(arguments: &Arguments, context: &Context) -> anyhow::Result<Done> {
    let hub = context.hub(Access::Read).await?;
    let one = match arguments.what.selectors.as_slice() {
        [name] => hub.project.pipelines.get(name),
        _ => None,
    };
    let report = match one {
        Some(pipeline) => {
            let tables = hub.preview_run(pipeline).await?;
            Report { pipelines: pulls(&hub, [pipeline]).await?, tables, writes: writes(&hub, Some(&pipeline.name)).await? }
        }
        None => {
            let selectors = arguments.what.parse()?;
            let tables = hub.preview_build(&selectors).await?;
            match selectors.is_empty() {
                true => Report {
                    pipelines: pulls(&hub, hub.project.pipelines.values()).await?,
                    tables,
                    writes: writes(&hub, None).await?,
                },
                false => Report { pipelines: vec![], tables, writes: Some(Preview::default()) },
            }
        }
    };
    if context.output.json {
        context.output.data_json(&report)?;
    } else {
        context.output.data(&text(&report, context.output.width()));
    }
    Ok(Done::Well)
}

async fn writes(hub: &Hub, pipeline: Option<&str>) -> anyhow::Result<Option<Preview>> {
    match hub.plan(pipeline).await {
        Ok(preview) => Ok(Some(preview)),
        Err(PipelineError::NoCut) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

async fn pulls(hub: &Hub, pipelines: impl IntoIterator<Item = &Pipeline>) -> anyhow::Result<Vec<PipelinePlan>> {
    let systems = hub.status().await?.systems;
    let why = |system: &String| match systems.iter().find(|freshness| freshness.system == *system) {
        Some(Freshness { age_seconds: Some(age), stale, .. }) => {
            let age = span(*age as f64);
            if *stale { format!("last pulled {age} ago, too old to decide from") } else { format!("last pulled {age} ago") }
        }
        _ => "never pulled".to_owned(),
    };
    let plan = |pipeline: &Pipeline| PipelinePlan {
        pipeline: pipeline.name.clone(),
        pulls: pipeline.pull.iter().map(|system| PullPlan { system: system.clone(), why: why(system) }).collect(),
    };
    Ok(pipelines.into_iter().map(plan).collect())
}

fn text(report: &Report, width: Option<usize>) -> String {
    let mut parts = Vec::new();
    for pipeline in &report.pipelines {
        let mut part = format!("Pipeline {}", pipeline.pipeline);
        for pull in &pipeline.pulls {
            part.push_str(&format!("\n  pull {}: {}", pull.system, pull.why));
        }
        parts.push(part);
    }
    parts.push(tables(&report.tables, width));
    match &report.writes {
        None => parts.push("Nothing was published yet, so no write can be planned: run a pipeline first.".into()),
        Some(preview) if preview.writes.is_empty() && preview.differences.is_empty() => {}
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

/// What becomes of the tables; those that stay as they are only by their number.
fn tables(tables: &[TablePreview], width: Option<usize>) -> String {
    let number = |action: Action| tables.iter().filter(|table| table.action == action).count();
    let is_left = number(Action::Skip) == tables.len();
    if is_left {
        return format!("{} stay as they are: nothing that they depend on changed", counted(tables.len(), "table", "tables"));
    }
    let mut list = Table::new(&["table", "what", "why"]);
    for table in tables.iter().filter(|table| table.action != Action::Skip) {
        let (word, why) = (action(table.action), table.causes.iter().map(Cause::to_string).collect::<Vec<_>>().join(", "));
        list.row(vec![table.table.clone(), word.into(), why]);
    }
    let counts = [
        (Action::Build, "are built"),
        (Action::Perhaps, "perhaps"),
        (Action::Check, "are checked again"),
        (Action::Skip, "stay"),
    ];
    let counts: Vec<String> = counts
        .into_iter()
        .filter(|(action, _)| number(*action) > 0)
        .map(|(action, what)| format!("{} {what}", number(action)))
        .collect();
    format!("{}: {}\n{}", counted(tables.len(), "table", "tables"), counts.join(", "), list.render(width))
}

pub(super) fn action(action: Action) -> &'static str {
    match action {
        Action::Build => "build",
        Action::Perhaps => "perhaps",
        Action::Check => "check",
        Action::Skip => "stays",
    }
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
