//! `loopline pull`: bring in what changed in the systems.

use clap::Args;

use crate::pipeline::{Access, RunOptions};

use super::Done;
use super::context::Context;
use super::summary;

/// Brings in what changed in the systems, and nothing else
#[derive(Args)]
#[command(
    after_help = "Examples:\n  loopline pull                  all systems\n  loopline pull erp mes\n  loopline pull erp --full       every table whole, as on the first day\n  loopline pull --now            all systems, also those whose hours are others\n\nA system that is named is pulled at any hour. Killed at any instant, a pull neither loses nor doubles a row."
)]
pub(super) struct Arguments {
    /// Systems to pull, as in loopline.toml [default: all]
    #[arg(value_name = "SYSTEM")]
    systems: Vec<String>,
    /// Read every table whole, and accept however many rows are gone
    #[arg(long)]
    full: bool,
    /// Pull at once, also outside of the hours that loopline.toml gives a system
    #[arg(long)]
    now: bool,
}

pub(super) async fn run(arguments: &Arguments, context: &Context) -> anyhow::Result<Done> {
    let hub = context.hub(Access::Write).await?;
    let bar = context.bar();
    let options = RunOptions { any_hour: arguments.now, ..context.options(arguments.full, &bar) };
    let report = hub.pull(&arguments.systems, &options).await;
    bar.finish();
    let report = report?;
    if context.output.json {
        context.output.data_json(&report)?;
    } else {
        context.output.data(&summary::pulled(&report, context.output.width()));
    }
    Ok(if report.complete() { Done::Well } else { Done::NeedsAttention })
}
