//! The page at `/`: the loop as eight nodes, KPIs with their trend, the three usual failures, changes that wait for approval.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::extract::State;
use axum::http::HeaderMap;
use maud::{DOCTYPE, Markup, html};
use serde_json::Value;

use super::board::{self, Board, KpiTrend};
use super::{ServeError, Shared, auth, spark};
use crate::base::{Operation, Row};
use crate::pipeline::{LiveRun, PipelineError, ScheduleStatus, Status};
use crate::store::{Change, ChangeState, Filter, RunOutcome};

const CHANGES_SHOWN: usize = 8; // of each kind: enough to judge it

/// The loop in its order: node, name, what it is for.
const NODES: [(&str, &str, &str); 8] = [
    ("crm", "CRM", "what customers want"),
    ("erp", "ERP", "orders and money"),
    ("scm", "SCM", "demand, stock, supply"),
    ("aps", "APS", "finite-capacity schedule"),
    ("srm", "SRM", "suppliers"),
    ("mes", "MES", "the shop floor"),
    ("wms", "WMS", "lots and stock"),
    ("qms", "QMS", "quality, closing the loop"),
];

/// Everything the page shows.
struct View {
    board: Option<Arc<Board>>,
    status: Status,
    waiting: Vec<Change>,
    live: Option<LiveRun>,
    signed_in: bool,
}

/// The dashboard; without a token and away from loopback, the sign-in form alone.
pub(super) async fn page(State(shared): State<Arc<Shared>>, headers: HeaderMap) -> Result<Markup, ServeError> {
    let signed_in = auth::signed_in(&shared, &headers);
    if !signed_in && !shared.loopback {
        return Ok(shell(html! { main { h1 { "Loopline" } (sign_in()) } }));
    }
    let board = match board::current(&shared).await {
        Ok(board) => Some(board),
        Err(ServeError::Pipeline(PipelineError::NoCut)) => None,
        Err(error) => return Err(error),
    };
    let filter = Filter { states: Some(vec![ChangeState::Planned]), ..Filter::default() };
    let (status, waiting) = (shared.hub.status().await?, shared.hub.store.control.changes(&filter)?);
    let view = View { board, status, waiting, live: shared.hub.live(), signed_in };
    Ok(shell(body(&view)))
}

/// A page that is read again every two minutes.
pub(super) fn shell(body: Markup) -> Markup {
    refreshed(120, body)
}

pub(super) fn refreshed(seconds: u32, body: Markup) -> Markup {
    html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta http-equiv="refresh" content=(seconds);
                title { "Loopline" }
                link rel="stylesheet" href="/style.css";
                link rel="icon" href="data:,";
            }
            body { (body) }
        }
    }
}

/// The head of the other pages.
pub(super) fn head(path: &str, word: &str) -> Markup {
    html! { header { h1 { a href="/" { "Loopline" } } span.soft { a href=(format!("/{path}")) { (word) } } } }
}

fn body(view: &View) -> Markup {
    html! {
        header {
            h1 { "Loopline" }
            @if let Some((name, _)) = &view.status.environment { b { "environment " (name) } }
            span.soft { "plant time " (view.status.now.format("%a %e %b %Y, %H:%M UTC")) }
            @if let Some(run) = &view.live {
                a href="/runs/current" { "run " (run.run) " (" (run.pipeline) ") is under way: " (run.done) " of " (run.total) " tables" }
            } @else if let Some(run) = view.status.runs.first() {
                span.soft { "last run " (run.run) " (" (run.pipeline) "): " (run.message) }
            }
            @if let Some(reason) = &view.status.refused { b.bad { "nothing is written: " (reason) } }
        }
        main {
            section.loop aria-label="The loop" { @for (node, name, purpose) in NODES { (loop_node(view, node, name, purpose)) } }
            @match &view.board {
                None => { h2 { "Nothing was published yet" } p { "Run a pipeline first: " code { "loopline run" } } }
                Some(board) => {
                    h2 { "Key figures" }
                    section.kpis { @for kpi in &board.kpis { (kpi_card(kpi)) } }
                    h2 { "Where loops break" }
                    (failures(view, board))
                }
            }
            h2 id="changes" { "Waiting for approval (" (view.waiting.len()) ")" }
            (changes(view))
            @if !view.status.schedules.is_empty() { h2 id="schedules" { "Schedules" } (schedules(&view.status.schedules)) }
        }
        footer { "Figures come from the last complete run. " a href="/tables" { "Tables" } " · " a href="/runs/current" { "run under way" } " · " a href="/api/v1/kpis" { "KPIs" } " · " a href="/api/v1/runs" { "runs" } " · " a href="/api/v1/changes" { "changes" } " · " a href="/openapi.json" { "OpenAPI" } }
    }
}

/// How a node or a KPI stands: a CSS class and the word beside it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Standing {
    None,
    Good,
    Warn,
    Bad,
}

impl Standing {
    fn class(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Good => "good",
            Self::Warn => "warn",
            Self::Bad => "bad",
        }
    }

    fn word(self) -> &'static str {
        match self {
            Self::None => "no target",
            Self::Good => "on target",
            Self::Warn => "near target",
            Self::Bad => "off target",
        }
    }
}

/// Within a tenth of the target is near it.
fn standing(kpi: &KpiTrend) -> Standing {
    let (Some(value), Some(target)) = (kpi.view.value, kpi.view.target) else { return Standing::None };
    let short = if kpi.view.higher_is_better { target - value } else { value - target };
    if short <= 0.0 {
        Standing::Good
    } else if short <= target.abs() * 0.1 {
        Standing::Warn
    } else {
        Standing::Bad
    }
}

fn loop_node(view: &View, node: &str, name: &str, purpose: &str) -> Markup {
    let kpis: Vec<&KpiTrend> = view.board.iter().flat_map(|board| &board.kpis).filter(|kpi| kpi.view.node == node).collect();
    let system = view.status.systems.iter().find(|freshness| freshness.system == node);
    let worst = kpis.iter().map(|kpi| standing(kpi)).max().unwrap_or(Standing::None);
    let stale = system.is_some_and(|freshness| freshness.stale);
    let standing_now = if stale { Standing::Bad } else { worst };
    let waiting = view.waiting.iter().filter(|change| change.system == node).count();
    html! {
        article class={ "node " (standing_now.class()) } data-node=(node) {
            h3 { (name) span.state { (if stale { "stale" } else { standing_now.word() }) } }
            p.soft { (purpose) }
            @for kpi in kpis.iter().filter(|kpi| kpi.view.value.is_some()).take(2) {
                p { (kpi.view.title) ": " b class=(standing(kpi).class()) { (number(kpi.view.value)) " " (kpi.view.unit) } }
            }
            @if let Some(age) = system.and_then(|freshness| freshness.age_seconds) { p.soft { "pulled " (ago(age)) } }
            @if waiting > 0 { p { a href="#changes" { (waiting) " changes wait" } } }
        }
    }
}

fn kpi_card(kpi: &KpiTrend) -> Markup {
    let view = &kpi.view;
    let change = view.value.zip(view.previous).map(|(now, before)| now - before);
    html! {
        article.kpi data-kpi=(view.name) title=(view.description) {
            h3 { (view.title) }
            div.value { b class=(standing(kpi).class()) { (number(view.value)) } small { " " (view.unit) } }
            p {
                @if let Some(target) = view.target { "target " (number(Some(target))) " · " }
                @match change {
                    Some(change) if change.abs() >= 0.05 => { (if change > 0.0 { "▲ " } else { "▼ " }) (number(Some(change.abs()))) " in 90 days" }
                    _ => "steady"
                }
            }
            (spark::line(&kpi.months, view.target))
        }
    }
}

fn failures(view: &View, board: &Board) -> Markup {
    let states = |wanted: &[&str]| -> usize {
        view.status.changes.values().flat_map(|by_state| wanted.iter().filter_map(|state| by_state.get(*state))).sum()
    };
    let list = |rows: &[(String, i64)]| {
        html! {
            @if rows.is_empty() { p.soft { "none" } }
            ul { @for (what, count) in rows.iter().take(6) { li { (count) " " (what) } } }
        }
    };
    html! {
        section.three {
            div.panel { h3 { "Unclear boundaries" } p.soft { "keys that no rule matched across systems" } (list(&board.unmatched)) }
            div.panel { h3 { "Information gaps" } p.soft { "documents that never reached the next system" } (list(&board.gaps)) }
            div.panel {
                h3 { "Feedback" } p.soft { "what became of decisions" }
                ul {
                    li { (states(&["confirmed"])) " confirmed by a later pull" }
                    li { (states(&["approved", "sent", "acknowledged"])) " on their way" }
                    li { (states(&["conflicted", "failed"])) " conflicts or refusals" }
                    li { (states(&["overridden"])) " overridden in the source" }
                }
            }
        }
    }
}

fn changes(view: &View) -> Markup {
    if view.waiting.is_empty() {
        return html! { p.soft { "Nothing waits." } };
    }
    let mut groups: BTreeMap<(&str, &str), Vec<&Change>> = BTreeMap::new();
    for change in &view.waiting {
        groups.entry((&change.kind, &change.system)).or_default().push(change);
    }
    html! {
        @if !view.signed_in { (sign_in()) }
        @for ((kind, system), changes) in groups { (group(view, kind, system, &changes)) }
    }
}

fn schedules(schedules: &[ScheduleStatus]) -> Markup {
    html! {
        div.scroll { table {
            thead { tr { th { "Pipeline" } th { "Starts" } th { "Due next" } th { "Last run" } } }
            tbody {
                @for schedule in schedules {
                    tr data-schedule=(schedule.pipeline) {
                        td { (schedule.pipeline) }
                        td { (schedule.starts.join(", ")) }
                        td {
                            @match (&schedule.paused, schedule.next_due) {
                                (Some(paused), _) => { b.bad { "paused" } " since " (paused.since.format("%e %b %H:%M UTC")) br; span.soft { (paused.why) } }
                                (None, Some(due)) => { (due.format("%e %b %H:%M UTC")) @if schedule.is_retry { " (again)" } }
                                (None, None) => { "–" }
                            }
                        }
                        td {
                            @if let Some(last) = &schedule.last {
                                @let failed = last.outcome == RunOutcome::Failed;
                                span.bad[failed] { (last.outcome.text()) } " " (last.started_at.format("%e %b %H:%M UTC")) br; span.soft { (last.message) }
                            }
                        }
                    }
                }
            }
        } }
    }
}

/// The changes of one kind for one system: decided one by one or, as counted here, together.
fn group(view: &View, kind: &str, system: &str, changes: &[&Change]) -> Markup {
    let ids = |changes: &[&Change]| changes.iter().map(|change| change.id.to_string()).collect::<Vec<_>>().join(",");
    let decide = |changes: &[&Change], all: &str| {
        let ids = ids(changes);
        html! { @if view.signed_in { (button("approve", all, &ids, "main")) " " (button("reject", all, &ids, "")) } }
    };
    html! {
        div.group { h3 { (changes.len()) " " (kind.replace('_', " ")) " for " (system) } (decide(changes, " all")) }
        div.scroll { table {
            thead { tr { th { "What" } th { "Change" } th { "Why" } th {} } }
            tbody {
                @for change in changes.iter().take(CHANGES_SHOWN) {
                    tr data-change=(change.id) {
                        td { (operation(change.row.operation)) br; span.soft { (pairs(&change.row.key)) } }
                        td.change { (difference(change)) }
                        td { (change.reason) }
                        td { (decide(&[change], "")) }
                    }
                }
            }
        } }
        @if changes.len() > CHANGES_SHOWN { p.soft { "and " (changes.len() - CHANGES_SHOWN) " more: " code { "loopline write plan" } } }
    }
}

fn button(action: &str, all: &str, ids: &str, class: &str) -> Markup {
    html! { form.inline method="post" action=(format!("/changes/{action}")) { input type="hidden" name="ids" value=(ids); button class=(class) { (action) (all) } } }
}

fn sign_in() -> Markup {
    html! {
        form method="post" action="/login" { p { label { "Token to decide: " input type="password" name="token" autocomplete="off" required; } " " button { "Sign in" } } }
    }
}

fn operation(operation: Operation) -> &'static str {
    match operation {
        Operation::Insert => "new",
        Operation::Update => "change",
        Operation::Delete => "delete",
    }
}

fn pairs(row: &Row) -> String {
    row.iter().map(|(column, value)| format!("{column} {}", text(value))).collect::<Vec<_>>().join(", ")
}

fn difference(change: &Change) -> Markup {
    let before = |column: &str| change.row.before.as_ref().and_then(|row| row.get(column)).filter(|value| !value.is_null());
    let after: Vec<(&String, &Value)> =
        change.row.after.iter().flatten().filter(|(column, value)| !value.is_null() && before(column) != Some(value)).collect();
    html! {
        @for (column, value) in after {
            div { (column) ": " @if let Some(old) = before(column) { s { (text(old)) } " → " } (text(value)) }
        }
    }
}

fn text(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Null => "–".into(),
        other => other.to_string(),
    }
}

fn number(value: Option<f64>) -> String {
    match value {
        None => "–".into(),
        Some(value) if value.abs() >= 10_000.0 => format!("{:.0} k", value / 1_000.0),
        Some(value) if value.abs() >= 100.0 => format!("{value:.0}"),
        Some(value) => format!("{value:.1}"),
    }
}

pub(super) fn ago(seconds: i64) -> String {
    match seconds {
        ..120 => "just now".into(),
        120..7_200 => format!("{} min ago", seconds / 60),
        7_200..172_800 => format!("{} h ago", seconds / 3_600),
        _ => format!("{} days ago", seconds / 86_400),
    }
}
