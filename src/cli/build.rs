//! `loopline build`: compute tables from what was last pulled.

use clap::Args;

use crate::pipeline::Access;

use super::Done;
use super::context::Context;
use super::run::finish;
use super::select::Selectors;

/// Computes tables from what was last pulled, checks and publishes them; writes to no system
#[derive(Args)]
#[command(
    after_help = "Examples:\n  loopline build                          all models\n  loopline build scm                      one schema, with everything it needs\n  loopline build scm.net_requirements qms\n  loopline build changed+                 what was edited, and what follows from it\n  loopline build tag:nightly --exclude kpi\n  loopline build scm --full               everything anew, also what did not change\n\nWhat a table needs is built with it. Tables whose statement, inputs and clock did not change are left as they are."
)]
pub(super) struct Arguments {
    #[command(flatten)]
    tables: Selectors,
    /// Build every table whole, also incremental ones and those whose inputs did not change
    #[arg(long)]
    full: bool,
}

pub(super) async fn run(arguments: &Arguments, context: &Context) -> anyhow::Result<Done> {
    let hub = context.hub(Access::Write).await?;
    let bar = context.bar();
    let report = hub.build(&arguments.tables.parse()?, &context.options(arguments.full, &bar)).await;
    bar.finish();
    finish(&report?, context)
}
