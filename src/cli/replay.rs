//! `loopline replay`: a past run once more.

use clap::Args;

use crate::base::RunId;
use crate::model::{ReplayOutcome, Replayed};
use crate::pipeline::{Access, ReplayReport};

use super::Done;
use super::context::Context;
use super::environments::{columns, sample};
use super::format::{Table, count, counted};

/// Computes a past run again from the versions that it read and as of its instant, and compares; publishes nothing
#[derive(Args)]
#[command(
    after_help = "Examples:\n  loopline replay 41\n  loopline replay 41 --json\n\nExit code 1 if a table does not come out as the run published it. How long a run can be replayed: [retention] in loopline.toml."
)]
pub(super) struct Arguments {
    /// A run that published, as `loopline status` lists them
    run: i64,
}

pub(super) async fn run(arguments: &Arguments, context: &Context) -> anyhow::Result<Done> {
    let hub = context.hub(Access::Read).await?;
    let shown = |table: &Replayed, done: usize, total: usize| {
        context.output.detail(&format!("{done} of {total}: {} {}", table.table, word(table.outcome)));
    };
    let report = hub.replay(RunId(arguments.run), &shown).await?;
    if context.output.json {
        context.output.data_json(&report)?;
    } else {
        context.output.data(&text(&report, context.output.width()));
    }
    Ok(if report.identical { Done::Well } else { Done::NeedsAttention })
}

fn word(outcome: ReplayOutcome) -> &'static str {
    match outcome {
        ReplayOutcome::Identical => "identical",
        ReplayOutcome::Differs => "differs",
        ReplayOutcome::Carried => "not of this run",
        ReplayOutcome::Gone => "no longer in the project",
        ReplayOutcome::Failed => "failed",
    }
}

fn text(report: &ReplayReport, width: Option<usize>) -> String {
    let mut table = Table::new(&["table", "", "rows then", "rows now", "only then", "only now", "columns", "cause"]);
    for one in report.tables.iter().filter(|table| table.outcome != ReplayOutcome::Identical) {
        let difference = one.difference.as_ref();
        table.row(vec![
            one.table.clone(),
            word(one.outcome).into(),
            count(one.rows),
            one.rows_now.map(count).unwrap_or_default(),
            difference.map(|difference| count(difference.removed)).unwrap_or_default(),
            difference.map(|difference| count(difference.added)).unwrap_or_default(),
            difference.map(columns).unwrap_or_default(),
            one.cause.clone().unwrap_or_else(|| "unknown: same statement, same inputs".into()),
        ]);
    }
    let same = report.tables.iter().filter(|table| table.outcome == ReplayOutcome::Identical).count();
    let verdict = if report.identical { "is identical" } else { "is not identical" };
    let mut parts = vec![format!(
        "Run {}, as of {}, {verdict}: {} came out as published.",
        report.run,
        report.as_of.to_rfc3339(),
        counted(same, "table", "tables")
    )];
    if !table.is_empty() {
        parts.push(table.render(width));
    }
    parts.extend(report.tables.iter().filter_map(|one| sample(&one.table, one.difference.as_ref()?)));
    parts.join("\n\n")
}
