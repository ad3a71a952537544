//! `loopline pull`: bring in what changed in the systems.

use clap::Args;

use crate::pipeline::Access;

use super::Done;
use super::context::Context;
use super::summary;

/// Brings in what changed in the systems, and nothing else
#[derive(Args)]
#[command(
    after_help = "Examples:\n  loopline pull                  all systems\n  loopline pull erp mes\n  loopline pull erp --full       every table whole, as on the first day\n\nKilled at any instant, a pull neither loses nor doubles a row."
)]
pub(super) struct Arguments {
    /// Systems to pull, as in loopline.toml [default: all]
    #[arg(value_name = "SYSTEM")]
    systems: Vec<String>,
    /// Read every table whole, and accept however many rows are gone
    #[arg(long)]
    full: bool,
}

pub(super) async fn run(arguments: &Arguments, context: &Context) -> anyhow::Result<Done> {
    let hub = context.hub(Access::Write).await?;
    let bar = context.bar();
    let report = hub.pull(&arguments.systems, &context.options(arguments.full, &bar)).await;
    bar.finish();
    let report = report?;
    if context.output.json {
        context.output.data_json(&report)?;
    } else {
        context.output.data(&summary::pulled(&report, context.output.width()));
    }
    Ok(if report.complete() { Done::Well } else { Done::NeedsAttention })
}
