//! `loopline schedules`: what runs by itself, and when.

use clap::{Args, Subcommand};

use crate::base::time;
use crate::pipeline::{Access, ScheduleStatus};

use super::Done;
use super::context::Context;
use super::format::{Table, counted, minute};

/// Shows what runs by itself and when; pauses a schedule, or lets it go on
#[derive(Args)]
#[command(
    after_help = "Examples:\n  loopline schedules\n  loopline schedules pause nightly --why \"the ERP is migrated\"\n  loopline schedules resume nightly\n\n`loopline serve` runs what is due; it notices a pause within half a minute. What comes due in a pause does not run later."
)]
pub(super) struct Arguments {
    #[command(subcommand)]
    action: Option<Action>,
}

#[derive(Subcommand)]
enum Action {
    /// Lists schedules: when each is due next, how its last run ended, whether it is paused and why
    List,
    /// Stops a schedule until it is resumed
    Pause {
        pipeline: String,
        /// Shown wherever the schedule is
        #[arg(long, value_name = "TEXT", default_value = "by hand")]
        why: String,
    },
    /// Lets a schedule go on from now
    Resume { pipeline: String },
}

pub(super) async fn run(arguments: &Arguments, context: &Context) -> anyhow::Result<Done> {
    let hub = context.hub(Access::Read).await?;
    match &arguments.action {
        Some(Action::Pause { pipeline, why }) => hub.pause_schedule(pipeline, why)?,
        Some(Action::Resume { pipeline }) => hub.resume_schedule(pipeline)?,
        None | Some(Action::List) => {}
    }
    let schedules = hub.schedules(time::now())?;
    if context.output.json {
        context.output.data_json(&schedules)?;
    } else if schedules.is_empty() {
        context.output.message("no pipeline has a schedule; each runs by hand: loopline run");
    } else {
        context.output.data(&table(&schedules).render(context.output.width()));
    }
    Ok(Done::Well)
}

pub(super) fn table(schedules: &[ScheduleStatus]) -> Table {
    let mut table = Table::new(&["pipeline", "starts", "due next", "last run", "ended", "paused"]);
    for schedule in schedules {
        let due = match (schedule.next_due, schedule.is_retry) {
            (None, _) => String::new(),
            (Some(due), false) => minute(due),
            (Some(due), true) => format!("{} (again)", minute(due)),
        };
        let failures = match schedule.failures {
            0 | 1 => String::new(),
            failures => format!(", {} in a row", counted(failures as usize, "failure", "failures")),
        };
        table.row(vec![
            schedule.pipeline.clone(),
            schedule.starts.join(", "),
            due,
            schedule.last.as_ref().map(|last| minute(last.started_at)).unwrap_or_default(),
            schedule.last.as_ref().map(|last| format!("{}{failures}", last.outcome.text())).unwrap_or_default(),
            schedule.paused.as_ref().map(|paused| format!("{}: {}", minute(paused.since), paused.why)).unwrap_or_default(),
        ]);
    }
    table
}
