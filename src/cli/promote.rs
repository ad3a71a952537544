//! `loopline promote`: what an environment tested becomes production's.

use clap::Args;

use crate::model::ModelOutcome;
use crate::pipeline::{Access, Hub, RunReport};
use crate::store::RunOutcome;

use super::Done;
use super::context::Context;
use super::environments::open;
use super::format::{Table, count, counted};
use super::summary;

/// Publishes what an environment tested, as one cut: copied where production's rows are still those it was tested on, built anew otherwise
#[derive(Args)]
#[command(
    after_help = "Examples:\n  loopline promote dev\n  loopline promote dev --json\n\nNothing but the environment's tables moves: no system is pulled or written to, and the rows are those of production's last run. A statement that was\nchanged after the environment ran it is refused: build it there first."
)]
pub(super) struct Arguments {
    environment: String,
}

pub(super) async fn run(arguments: &Arguments, context: &Context) -> anyhow::Result<Done> {
    context.without_environment("promote")?;
    let production = Hub::open(context.load_in(None)?, Access::Write).await?;
    let environment = open(&arguments.environment, Access::Write, &production, context).await?;
    let bar = context.bar();
    let report = production.promote(&environment, &context.options(false, &bar)).await;
    bar.finish();
    let report = report?;
    if context.output.json {
        context.output.data_json(&report)?;
    } else {
        context.output.data(&text(&report, context.output.width()));
    }
    Ok(if report.outcome == RunOutcome::Failed { Done::NeedsAttention } else { Done::Well })
}

fn text(report: &RunReport, width: Option<usize>) -> String {
    let mut table = Table::new(&["table", "how", "why", "rows"]);
    let moved = report.models.iter().filter(|model| model.outcome != ModelOutcome::Skipped);
    for model in moved.clone() {
        let how = if model.outcome == ModelOutcome::Copied { "copied" } else { "built" };
        table.row(vec![model.table.clone(), how.into(), model.reason.clone(), count(model.rows)]);
    }
    if report.outcome == RunOutcome::Failed {
        return summary::run(report, width);
    }
    if table.is_empty() {
        return "production has all of it already".into();
    }
    let tables = counted(moved.count(), "table", "tables");
    format!("{}\n\nRun {} published {tables}.", table.render(width), report.run)
}
