//! `loopline write`: what is to be written to the systems, and who agreed.

use clap::{Args, Subcommand};
use serde::Serialize;

use crate::pipeline::{Access, Hub};
use crate::store::{Change, ChangeId, ChangeState, Filter};
use crate::writeback::Selection;

use super::context::Context;
use super::failure::CliError;
use super::format::{Table, counted, cut, difference, key};
use super::plan::operation;
use super::{Done, summary};

/// Shows, approves, rejects, sends and takes back changes to the systems
#[derive(Args)]
#[command(
    after_help = "Examples:\n  loopline write plan                          what waits, and why\n  loopline write approve 12 15\n  loopline write approve --kind purchase_requests\n  loopline write apply                         send what is approved, read it back\n  loopline write undo 12                       plan the reverse of a confirmed change\n\nEvery change has a hash over system, key, before and after: an approval holds for exactly what was shown."
)]
pub(super) struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Shows open changes, or with --state others; one line each with before → after and the reason
    Plan(PlanArguments),
    /// Approves changes that wait
    Approve(SelectionArguments),
    /// Rejects changes that wait or are approved but not sent
    Reject(SelectionArguments),
    /// Sends what is approved, reads the systems again and confirms
    Apply,
    /// Plans the reverse of confirmed changes; it is approved and sent like any other change
    Undo(UndoArguments),
    /// After a lost or restored control state: looks at the systems, adopts the hub's own rows, and lifts the refusal to write
    Recover,
}

#[derive(Args)]
struct PlanArguments {
    /// Only this system
    #[arg(long)]
    system: Option<String>,
    /// Only this kind, the name of an outbox model
    #[arg(long)]
    kind: Option<String>,
    /// Only changes in this state, e.g. confirmed; may be repeated [default: planned, approved, sent, acknowledged]
    #[arg(long, value_parser = state)]
    state: Vec<ChangeState>,
    /// Most changes to show
    #[arg(long, default_value_t = 1_000)]
    limit: usize,
}

#[derive(Args)]
struct SelectionArguments {
    /// Numbers of changes, as `write plan` shows them
    #[arg(value_name = "CHANGE", conflicts_with_all = ["all", "kind"])]
    changes: Vec<ChangeId>,
    /// All that wait now
    #[arg(long, conflicts_with = "kind")]
    all: bool,
    /// All of one kind, the name of an outbox model
    #[arg(long)]
    kind: Option<String>,
    /// In whose name [default: the user of this computer]
    #[arg(long)]
    by: Option<String>,
}

#[derive(Args)]
struct UndoArguments {
    /// Numbers of confirmed changes; `write plan --state confirmed` shows them
    #[arg(value_name = "CHANGE", required = true)]
    changes: Vec<ChangeId>,
    /// In whose name [default: the user of this computer]
    #[arg(long)]
    by: Option<String>,
}

/// States in which something is still to happen.
const OPEN: [ChangeState; 4] = [ChangeState::Planned, ChangeState::Approved, ChangeState::Sent, ChangeState::Acknowledged];

pub(super) async fn run(arguments: &Arguments, context: &Context) -> anyhow::Result<Done> {
    match &arguments.command {
        Command::Plan(arguments) => plan(arguments, context).await,
        Command::Approve(arguments) => decide(arguments, true, context).await,
        Command::Reject(arguments) => decide(arguments, false, context).await,
        Command::Apply => apply(context).await,
        Command::Undo(arguments) => undo(arguments, context).await,
        Command::Recover => recover(context).await,
    }
}

/// Reads a state as JSON spells it.
fn state(text: &str) -> Result<ChangeState, String> {
    serde_json::from_value(serde_json::Value::String(text.to_owned())).map_err(|error| error.to_string())
}

fn state_name(state: ChangeState) -> String {
    format!("{state:?}").to_lowercase()
}

async fn plan(arguments: &PlanArguments, context: &Context) -> anyhow::Result<Done> {
    let hub = context.hub(Access::Read).await?;
    let states = if arguments.state.is_empty() { OPEN.to_vec() } else { arguments.state.clone() };
    let filter = Filter {
        states: Some(states),
        system: arguments.system.clone(),
        kind: arguments.kind.as_deref().map(without_schema),
        ids: None,
        limit: Some(arguments.limit.saturating_add(1)),
    };
    let mut changes = hub.store.control.changes(&filter)?;
    let more = changes.len() > arguments.limit;
    changes.truncate(arguments.limit);
    show(&changes, context)?;
    let waiting = changes.iter().filter(|change| change.state == ChangeState::Planned).count();
    if more {
        context.output.message(&format!("there are more than {} changes: raise --limit", arguments.limit));
    }
    if waiting > 0 {
        let what = counted(waiting, "change waits", "changes wait");
        context.output.message(&format!("\n{what}: loopline write approve NUMBER… | --kind KIND | --all"));
    }
    Ok(Done::Well)
}

/// `outbox.purchase_requests` is meant as `purchase_requests`.
fn without_schema(kind: &str) -> String {
    kind.strip_prefix("outbox.").unwrap_or(kind).to_owned()
}

fn show(changes: &[Change], context: &Context) -> anyhow::Result<()> {
    if context.output.json {
        return context.output.data_json(&changes);
    }
    if changes.is_empty() {
        context.output.message("no changes");
        return Ok(());
    }
    context.output.data(&table(changes).render(context.output.width()));
    Ok(())
}

fn table(changes: &[Change]) -> Table {
    const HASH_SHOWN: usize = 8; // enough to tell two changes apart by eye
    let mut table = Table::new(&["change", "hash", "state", "system", "kind", "what", "key", "before → after", "reason"]);
    for change in changes {
        table.row(vec![
            change.id.to_string(),
            change.hash.chars().take(HASH_SHOWN).collect(),
            state_name(change.state),
            change.system.clone(),
            change.kind.clone(),
            operation(change.row.operation).into(),
            key(&change.row.key),
            difference(&change.row.key, change.row.before.as_ref(), change.row.after.as_ref()),
            match &change.detail {
                Some(detail) => format!("{} ({})", change.reason, cut(detail, 200)),
                None => change.reason.clone(),
            },
        ]);
    }
    table
}

/// What was decided.
#[derive(Serialize)]
struct Decided {
    moved: usize,
    by: String,
    changes: Vec<Change>,
}

async fn decide(arguments: &SelectionArguments, approve: bool, context: &Context) -> anyhow::Result<Done> {
    if arguments.changes.is_empty() && !arguments.all && arguments.kind.is_none() {
        let hint = "name their numbers (`loopline write plan` shows them), or --kind KIND, or --all";
        return Err(CliError::usage("which changes?", hint).into());
    }
    let hub = context.hub(Access::Read).await?;
    let from: &[ChangeState] = if approve { &[ChangeState::Planned] } else { &[ChangeState::Planned, ChangeState::Approved] };
    let meant = select(arguments, from, &hub)?;
    let by = by(arguments.by.as_deref())?;
    // What is shown is what is decided on: a newer plan that comes between has other numbers.
    let ids = Selection::Ids(meant.iter().map(|change| change.id).collect());
    let writeback = hub.writeback();
    let moved = if approve { writeback.approve(&ids, &by)? } else { writeback.reject(&ids, &by)? };
    let ids = meant.iter().map(|change| change.id).collect();
    let changes = hub.store.control.changes(&Filter { ids: Some(ids), ..Filter::default() })?;
    if context.output.json {
        context.output.data_json(&Decided { moved, by, changes })?;
    } else {
        show(&changes, context)?;
        let done = if approve { "approved" } else { "rejected" };
        context.output.message(&format!("\n{} {done} by {by}", counted(moved, "change", "changes")));
        if approve && moved > 0 {
            context.output.message("send them with `loopline write apply`, or leave it to the next run");
        }
    }
    Ok(if moved == meant.len() { Done::Well } else { Done::NeedsAttention })
}

/// The changes that are meant; every number must be one that can still be decided on.
fn select(arguments: &SelectionArguments, from: &[ChangeState], hub: &Hub) -> anyhow::Result<Vec<Change>> {
    let ids = (!arguments.changes.is_empty()).then(|| arguments.changes.clone());
    let states = ids.is_none().then(|| from.to_vec());
    let kind = arguments.kind.as_deref().map(without_schema);
    let changes = hub.store.control.changes(&Filter { states, system: None, kind: kind.clone(), ids, limit: None })?;
    for id in &arguments.changes {
        let found = changes.iter().find(|change| change.id == *id);
        let problem = match found {
            None => Some(format!("there is no change {id}")),
            Some(change) if !from.contains(&change.state) => Some(format!("change {id} is {} already", state_name(change.state))),
            Some(_) => None,
        };
        if let Some(problem) = problem {
            return Err(
                CliError::usage(problem, "`loopline write plan` shows what can be decided on; nothing was changed").into()
            );
        }
    }
    if changes.is_empty() {
        let what = kind.map_or_else(|| "no change waits".to_owned(), |kind| format!("no change of kind \"{kind}\" waits"));
        return Err(CliError::usage(what, "`loopline write plan` shows what waits").into());
    }
    Ok(changes)
}

/// Who decides; an approval without a name would be worth nothing.
fn by(named: Option<&str>) -> Result<String, CliError> {
    let named = named.map(str::to_owned);
    let from_system = || ["LOOPLINE_USER", "USER", "LOGNAME", "USERNAME"].iter().find_map(|name| std::env::var(name).ok());
    let found = named.or_else(from_system).filter(|name| !name.trim().is_empty());
    found.ok_or_else(|| CliError::usage("in whose name?", "add --by NAME"))
}

async fn apply(context: &Context) -> anyhow::Result<Done> {
    let hub = context.hub(Access::Write).await?;
    let bar = context.bar();
    let summary = hub.apply(&context.options(false, &bar)).await;
    bar.finish();
    let summary = summary?;
    if context.output.json {
        context.output.data_json(&summary)?;
    } else {
        let parts = [summary::written(&summary), summary::failed(&[], &summary)].concat();
        let parts = if parts.is_empty() { "nothing was approved, and nothing had to be confirmed".into() } else { parts };
        context.output.data(&parts);
    }
    Ok(if summary::needs_attention(&summary) { Done::NeedsAttention } else { Done::Well })
}

async fn undo(arguments: &UndoArguments, context: &Context) -> anyhow::Result<Done> {
    let hub = context.hub(Access::Write).await?;
    let undone = hub.undo(&arguments.changes, &by(arguments.by.as_deref())?).await?;
    if context.output.json {
        context.output.data_json(&undone)?;
    } else {
        let ids = undone.planned.iter().map(|(_, reverse)| *reverse).collect();
        show(&hub.store.control.changes(&Filter { ids: Some(ids), ..Filter::default() })?, context)?;
        for refused in &undone.refused {
            context.output.stderr(&format!("change {} cannot be undone: {}", refused.change, refused.reason));
        }
        if !undone.planned.is_empty() {
            context.output.message("\napprove and send them: loopline write approve NUMBER…, loopline write apply");
        }
    }
    Ok(if undone.refused.is_empty() { Done::Well } else { Done::NeedsAttention })
}

async fn recover(context: &Context) -> anyhow::Result<Done> {
    let hub = context.hub(Access::Write).await?;
    let bar = context.bar();
    let recovered = hub.recover(&context.options(false, &bar)).await;
    bar.finish();
    let recovered = recovered?;
    if context.output.json {
        context.output.data_json(&recovered)?;
    } else {
        context.output.data(&format!(
            "{} of the hub's own found in the systems and adopted, {} settled",
            counted(recovered.adopted, "row", "rows"),
            counted(
                recovered.settled.acknowledged + recovered.settled.returned + recovered.settled.conflicted,
                "change",
                "changes"
            ),
        ));
        for (system, error) in recovered.errors.iter().chain(&recovered.settled.errors) {
            context
                .output
                .stderr(&format!("error: {system} could not be looked at: {error}\nhint: nothing is written until it can be"));
        }
    }
    Ok(if recovered.errors.is_empty() { Done::Well } else { Done::NeedsAttention })
}
