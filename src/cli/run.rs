//! `loopline run`: one pipeline from pull to proof.

use clap::Args;

use crate::pipeline::{Access, RunReport};
use crate::project::Project;
use crate::store::RunOutcome;

use super::Done;
use super::context::Context;
use super::failure::CliError;
use super::summary;

/// Runs a pipeline once: pull, build, check, publish, plan, write, confirm
#[derive(Args)]
#[command(
    after_help = "Examples:\n  loopline run loop\n  loopline run                   the project's only pipeline\n  loopline run loop --json\n\nWhat is written without asking is what the pipeline's rules allow; the rest waits: see `loopline write plan`."
)]
pub(super) struct Arguments {
    /// The pipeline, a file in pipelines/ [default: the only one]
    pipeline: Option<String>,
    /// Read every table whole, accept however many rows are gone, and build every model whole
    #[arg(long)]
    full: bool,
}

pub(super) async fn run(arguments: &Arguments, context: &Context) -> anyhow::Result<Done> {
    let hub = context.hub(Access::Write).await?;
    let pipeline = choose(&hub.project, arguments.pipeline.as_deref())?;
    let bar = context.bar();
    let report = hub.run(pipeline, &context.options(arguments.full, &bar)).await;
    bar.finish();
    finish(&report?, context)
}

/// The pipeline that is meant where none is named: the only one there is.
fn choose<'a>(project: &'a Project, named: Option<&'a str>) -> Result<&'a str, CliError> {
    if let Some(named) = named {
        return Ok(named);
    }
    let mut names = project.pipelines.keys();
    match (names.next(), names.next()) {
        (Some(only), None) => Ok(only),
        (None, _) => Err(CliError::usage("the project has no pipeline", "write one: pipelines/daily.toml")),
        _ => {
            let all: Vec<&str> = project.pipelines.keys().map(String::as_str).collect();
            Err(CliError::usage("which pipeline?", format!("name one of {}", all.join(", "))))
        }
    }
}

/// Shows a run's report and says how to exit.
pub(super) fn finish(report: &RunReport, context: &Context) -> anyhow::Result<Done> {
    if context.output.json {
        context.output.data_json(report)?;
    } else {
        context.output.data(&summary::run(report, context.output.width()));
    }
    let failed = report.outcome == RunOutcome::Failed || !report.pull.complete() || summary::needs_attention(&report.summary);
    Ok(if failed { Done::NeedsAttention } else { Done::Well })
}
