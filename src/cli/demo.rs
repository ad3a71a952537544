//! `loopline demo`: a simulated plant with real databases, and the loop on it.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use chrono::NaiveDate;
use clap::Args;

use crate::base::time::parse_duration;
use crate::demo::{self, DemoOptions, DemoSummary};
use crate::pipeline::{Access, Hub, RunReport};

use super::context::{Context, absolute, load};
use super::failure::CliError;
use super::format::{Table, count, minute};
use super::serve::{listen, serve_on};
use super::{Done, run as pipeline};

/// Makes a simulated plant (CRM, ERP, MES and WMS as real databases), runs the loop on it and serves the dashboard
#[derive(Args)]
#[command(
    after_help = "Examples:\n  loopline demo                          make the plant, run the loop, serve http://127.0.0.1:8080\n  loopline demo --no-serve\n  loopline demo --advance 1d             let a day pass in the plant, then run the loop again\n  loopline demo --fresh --seed 7         another plant, from the beginning\n  PGPASSWORD=… loopline demo --on postgres://user@localhost/demo\n  MYSQL_PWD=… loopline demo --on mysql://user@localhost/demo\n\nThe same seed, scale and day make the same databases. Look at the project's files: the plant's are yours to change."
)]
pub(super) struct Arguments {
    /// The demo's folder [default: this project if there is one, else ./loopline-demo]
    #[arg(long)]
    dir: Option<PathBuf>,
    /// How many plants like the default one
    #[arg(long, value_name = "N", default_value_t = 1)]
    scale: u32,
    /// Another seed makes another plant
    #[arg(long, value_name = "N", default_value_t = 1)]
    seed: u64,
    /// Put the databases into PostgreSQL, MySQL or MariaDB; the password comes from PGPASSWORD or MYSQL_PWD
    #[arg(long, value_name = "URL")]
    on: Option<String>,
    /// The day on which the history ends [default: today]
    #[arg(long, value_name = "DATE", conflicts_with = "advance")]
    today: Option<NaiveDate>,
    /// Months of history [default: 18]
    #[arg(long, value_name = "N", conflicts_with = "advance")]
    months: Option<u32>,
    /// Let whole days pass in the plant that is there, e.g. 1d
    #[arg(long, value_name = "DAYS", value_parser = days)]
    advance: Option<u32>,
    /// Remove the demo that is there, its tables and its history, and begin anew
    #[arg(long, conflicts_with = "advance")]
    fresh: bool,
    /// Stop after the run
    #[arg(long)]
    no_serve: bool,
    /// Address and port of the dashboard
    #[arg(long, default_value = "127.0.0.1:8080")]
    bind: SocketAddr,
}

/// The pipeline that is the whole loop once.
const PIPELINE: &str = "loop";

/// A promise goes to the ERP, its copy to the CRM in the run after, and that is all: more would be a loop that does not settle.
const FOLLOWING_MAX: usize = 3;

fn days(text: &str) -> Result<u32, String> {
    const DAY_SECONDS: u64 = 86_400;
    let seconds = parse_duration(text)?.as_secs();
    let days = u32::try_from(seconds / DAY_SECONDS).ok().filter(|days| *days > 0 && seconds % DAY_SECONDS == 0);
    days.ok_or_else(|| "the plant works in whole days: 1d, 7d".to_owned())
}

pub(super) async fn run(arguments: &Arguments, context: &Context) -> anyhow::Result<Done> {
    let dir = folder(arguments, context)?;
    let options = DemoOptions {
        dir: dir.clone(),
        scale: arguments.scale,
        seed: arguments.seed,
        on: arguments.on.clone(),
        today: arguments.today,
        months: arguments.months,
    };
    if !demo::may_hold(&dir)? {
        let what = format!("{} holds a project of its own, and the demo does not touch it", dir.display());
        return Err(CliError::usage(what, "name another folder: loopline demo --dir ./loopline-demo").into());
    }
    let listener = if arguments.no_serve { None } else { Some(listen(arguments.bind).await?) };
    prepare(arguments, &options, context).await?;
    let hub = Hub::open(Arc::new(load(&dir)?), Access::Write).await?;
    let mut report = run_once(&hub, context).await?;
    let done = pipeline::finish(&report, context)?;
    // What was written is news to the systems that keep a copy.
    for _ in 0..FOLLOWING_MAX {
        if report.summary.applied.sent == 0 {
            break;
        }
        report = run_once(&hub, context).await?;
        context.output.message(&format!("Run {}, on what followed: {}", report.run, report.message));
    }
    context.output.message(&format!("\nThe project is in {}. Have a look: {}", dir.display(), next_steps(&dir)));
    match listener {
        Some(listener) => serve_on(listener, hub, context).await,
        None => Ok(done),
    }
}

async fn run_once(hub: &Hub, context: &Context) -> anyhow::Result<RunReport> {
    let bar = context.bar();
    let report = hub.run(PIPELINE, &context.options(false, &bar)).await;
    bar.finish();
    Ok(report?)
}

fn next_steps(dir: &Path) -> String {
    let here = std::env::current_dir().is_ok_and(|current| dir == current);
    let enter = if here { String::new() } else { format!("cd {} && ", dir.display()) };
    format!("{enter}loopline write plan, loopline status, loopline demo --advance 1d")
}

fn folder(arguments: &Arguments, context: &Context) -> anyhow::Result<PathBuf> {
    match (&arguments.dir, context.named_root()) {
        (Some(dir), _) => absolute(dir),
        (None, Some(dir)) => absolute(dir),
        (None, None) => context.root().or_else(|_| absolute(Path::new("loopline-demo"))),
    }
}

/// Makes the plant where there is none, or lets time pass in it.
async fn prepare(arguments: &Arguments, options: &DemoOptions, context: &Context) -> anyhow::Result<()> {
    let exists = options.dir.join(".loopline/demo/clock").is_file();
    let bar = context.bar();
    if let Some(days) = arguments.advance {
        bar.say("the plant works on");
        let summary = demo::advance(options, days).await;
        bar.finish();
        context.output.message(&told(&summary?));
        return Ok(());
    }
    if exists && !arguments.fresh {
        if arguments.on.is_some() || arguments.scale != 1 || arguments.seed != 1 {
            let what = format!("there is a demo plant in {} already", options.dir.display());
            return Err(CliError::usage(what, "add --fresh to remove it, or name another folder with --dir").into());
        }
        bar.finish();
        context.output.message("The plant is there already; --fresh begins anew, --advance 1d lets a day pass.\n");
        return Ok(());
    }
    if exists {
        // Only what the demo and its hub made: the presence of the plant's clock was checked.
        let data = options.dir.join(".loopline");
        std::fs::remove_dir_all(&data).map_err(|source| CliError::File { what: format!("remove {}", data.display()), source })?;
    }
    bar.say("making the plant and its history");
    let summary = demo::create(options).await;
    bar.finish();
    context.output.message(&told(&summary?));
    Ok(())
}

fn told(summary: &DemoSummary) -> String {
    let mut table = Table::new(&["system", "rows written", "database"]);
    for system in &summary.systems {
        table.row(vec![system.name.into(), count(system.rows), system.url.clone()]);
    }
    let ordered = match summary.requests_ordered {
        0 => String::new(),
        requests => format!(", {requests} of the hub's purchase requests became orders"),
    };
    format!(
        "It is {} in the plant: {} open order lines, {} open work orders, {} open purchase orders{ordered}.\n{}\n",
        minute(summary.now),
        count(summary.open_order_lines),
        count(summary.open_work_orders),
        count(summary.open_purchase_orders),
        table.render(None)
    )
}

#[cfg(test)]
mod tests {
    use super::days;

    #[test]
    fn plants_work_in_whole_days() {
        assert_eq!(days("7d"), Ok(7));
        assert_eq!(days("48h"), Ok(2));
        assert!(days("1h").is_err() && days("0d").is_err() && days("soon").is_err());
    }
}
