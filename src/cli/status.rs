//! `loopline status`: where the loop stands.

use clap::Args;

use crate::pipeline::{Access, Status};
use crate::project::Severity;
use crate::store::RunOutcome;

use super::Done;
use super::context::Context;
use super::format::{Table, bytes, count, counted, minute, span};
use super::schedules::table as schedules;
use super::summary::left_out;

/// Shows where the loop stands: systems and how fresh they are, runs, changes, what is due next
#[derive(Args)]
#[command(after_help = "Examples:\n  loopline status\n  loopline status --json")]
pub(super) struct Arguments {}

pub(super) async fn run(_arguments: &Arguments, context: &Context) -> anyhow::Result<Done> {
    let hub = context.hub(Access::Read).await?;
    let status = hub.status().await?;
    if context.output.json {
        context.output.data_json(&status)?;
    } else {
        context.output.data(&text(&status, context.output.width()));
    }
    Ok(if status.refused.is_some() { Done::NeedsAttention } else { Done::Well })
}

fn text(status: &Status, width: Option<usize>) -> String {
    let published = match status.cut {
        Some((run, as_of)) => format!("Run {run} is published, as of {}.", minute(as_of)),
        None => "Nothing was published yet: run a pipeline.".into(),
    };
    let environment = status.environment.as_ref().map(|(name, base)| match base {
        Some(run) => format!("Environment {name}, on run {run} of production.\n"),
        None => format!("Environment {name}.\n"),
    });
    let published = environment.unwrap_or_default() + &published;
    let mut parts = vec![format!("{published} It is {} in the plant.", minute(status.now))];
    parts.extend(status.refused.as_ref().map(|why| format!("Nothing is written: {why}")));
    parts.extend((!status.systems.is_empty()).then(|| systems(status).render(width)));
    let left_out =
        status.pulls.iter().filter_map(|pull| left_out(&pull.system, &pull.stream, pull.discarded_rows, pull.discarded_values));
    let left_out: Vec<String> = left_out.collect();
    parts.extend((!left_out.is_empty()).then(|| left_out.join("\n")));
    let tables = [runs(status), checks(status), changes(status), schedules(&status.schedules)];
    parts.extend(tables.iter().filter(|table| !table.is_empty()).map(|table| table.render(width)));
    parts.extend(upkeep(status));
    parts.join("\n\n")
}

/// Tables are maintained by themselves: said is what a person may want to know.
fn upkeep(status: &Status) -> Option<String> {
    let upkeep = status.upkeep.as_ref().filter(|upkeep| upkeep.small_files + upkeep.failed > 0 || upkeep.history_bytes > 0)?;
    let failed = match upkeep.failed {
        0 => String::new(),
        failed => format!(", {} could not be: loopline maintain", counted(failed, "table", "tables")),
    };
    let (at, history) = (minute(upkeep.started_at), bytes(upkeep.history_bytes));
    Some(format!(
        "Tables were maintained {at}: {} small, {history} kept for history{failed}.",
        counted(upkeep.small_files, "file", "files")
    ))
}

fn systems(status: &Status) -> Table {
    let mut table = Table::new(&["system", "last pull", "age", "streams", "rows read", "state"]);
    for system in &status.systems {
        let pulls = || status.pulls.iter().filter(|pull| pull.system == system.system);
        let failed = pulls().filter(|pull| pull.error.is_some()).count();
        let state = match (failed, system.pulled_at, system.stale) {
            (0, None, _) => "never pulled".to_owned(),
            (0, Some(_), false) => "fresh".to_owned(),
            (0, Some(_), true) => format!("too old (limit {})", span(system.max_age_seconds as f64)),
            (failed, ..) => format!("{failed} failed"),
        };
        table.row(vec![
            system.system.clone(),
            system.pulled_at.map(minute).unwrap_or_default(),
            system.age_seconds.map(|age| span(age as f64)).unwrap_or_default(),
            count(pulls().count()),
            count(pulls().map(|pull| pull.rows_read).sum::<u64>()),
            state,
        ]);
    }
    table
}

fn runs(status: &Status) -> Table {
    const RUNS_SHOWN: usize = 5;
    let mut table = Table::new(&["run", "pipeline", "started", "took", "outcome", "message"]);
    for run in status.runs.iter().take(RUNS_SHOWN) {
        let outcome = match run.outcome {
            RunOutcome::Running => "running",
            RunOutcome::Published => "published",
            RunOutcome::Degraded => "published, look",
            RunOutcome::Failed => "failed",
        };
        let took = run.finished_at.map(|end| span((end - run.started_at).as_seconds_f64()));
        table.row(vec![
            run.run.to_string(),
            run.pipeline.clone(),
            minute(run.started_at),
            took.unwrap_or_default(),
            outcome.into(),
            run.message.clone(),
        ]);
    }
    table
}

/// Checks that do not hold, and where their failing rows are.
fn checks(status: &Status) -> Table {
    let mut table = Table::new(&["check", "of", "run", "severity", "found", "rows are in"]);
    for check in &status.checks {
        let severity = if check.severity == Severity::Error { "error" } else { "warn" };
        let (run, found) = (check.run.to_string(), check.found.clone());
        table.row(vec![check.check.clone(), check.table.clone(), run, severity.into(), found, check.kept.clone()]);
    }
    table
}

fn changes(status: &Status) -> Table {
    let mut table = Table::new(&["kind of change", "state", "changes"]);
    for (kind, states) in &status.changes {
        for (state, number) in states.iter().filter(|(_, number)| **number > 0) {
            table.row(vec![kind.clone(), state.clone(), count(*number)]);
        }
    }
    table
}
