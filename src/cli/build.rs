//! `loopline build`: compute tables from what was last pulled.

use clap::Args;

use crate::pipeline::Access;

use super::Done;
use super::context::Context;
use super::run::finish;

/// Computes tables from what was last pulled, checks and publishes them; writes to no system
#[derive(Args)]
#[command(
    after_help = "Examples:\n  loopline build                          all models\n  loopline build scm                      one schema, with everything it needs\n  loopline build scm.net_requirements qms\n  loopline build scm --full               everything anew, also what did not change\n\nTables whose statement, inputs and clock did not change are left as they are."
)]
pub(super) struct Arguments {
    /// Schemas or tables [default: all]
    #[arg(value_name = "TABLE")]
    targets: Vec<String>,
    /// Build every table whole, also incremental ones and those whose inputs did not change
    #[arg(long)]
    full: bool,
}

pub(super) async fn run(arguments: &Arguments, context: &Context) -> anyhow::Result<Done> {
    let hub = context.hub(Access::Write).await?;
    let bar = context.bar();
    let report = hub.build(&arguments.targets, &context.options(arguments.full, &bar)).await;
    bar.finish();
    finish(&report?, context)
}
