//! `loopline maintain`: compaction and the removal of what is no longer kept.

use clap::Args;

use crate::pipeline::{Access, MaintenanceReport};

use super::Done;
use super::context::Context;
use super::format::{Table, bytes, count, counted, span};

/// Compacts tables, and removes versions, log files and leftovers that are no longer kept
#[derive(Args)]
#[command(
    after_help = "Examples:\n  loopline maintain --dry-run             what would be done\n  loopline maintain\n  loopline maintain raw.erp__orders       some tables only\n\nThis happens by itself after runs and pulls, a little at a time. No row changes, and nothing is built anew."
)]
pub(super) struct Arguments {
    /// Tables [default: all]
    #[arg(value_name = "TABLE")]
    tables: Vec<String>,
    /// Only say what would be done
    #[arg(long)]
    dry_run: bool,
}

pub(super) async fn run(arguments: &Arguments, context: &Context) -> anyhow::Result<Done> {
    let access = if arguments.dry_run { Access::Read } else { Access::Write };
    let hub = context.hub(access).await?;
    let bar = context.bar();
    let report = hub.maintain(&arguments.tables, arguments.dry_run, &context.options(false, &bar)).await;
    bar.finish();
    let report = report?;
    if context.output.json {
        context.output.data_json(&report)?;
    } else {
        context.output.data(&text(&report, context.output.width()));
    }
    let failed = report.tables.iter().any(|table| table.error.is_some());
    Ok(if failed || !report.complete { Done::NeedsAttention } else { Done::Well })
}

fn text(report: &MaintenanceReport, width: Option<usize>) -> String {
    let mut table =
        Table::new(&["table", "files", "rewritten", "into", "log files removed", "data files removed", "space freed", "history"]);
    for upkeep in &report.tables {
        let (compacted, trimmed) = (&upkeep.compacted, &upkeep.trimmed);
        if compacted.files_out + trimmed.log_files + trimmed.data_files == 0 {
            continue;
        }
        let into = match (compacted.overtaken, report.dry_run) {
            (true, _) => "overtaken by a pull".into(),
            (false, true) => String::new(),
            (false, false) => count(compacted.files_in),
        };
        table.row(vec![
            upkeep.table.clone(),
            count(compacted.files),
            count(compacted.files_out),
            into,
            count(trimmed.log_files),
            count(trimmed.data_files),
            bytes(trimmed.bytes),
            bytes(trimmed.history_bytes),
        ]);
    }
    let mut parts = Vec::new();
    if !table.is_empty() {
        parts.push(table.render(width));
    }
    let (freed, history) = report
        .tables
        .iter()
        .fold((0, 0), |(freed, history), table| (freed + table.trimmed.bytes, history + table.trimmed.history_bytes));
    let would = if report.dry_run { "would be " } else { "" };
    let mut summary = format!(
        "{} {would}maintained in {}: {} {would}freed, {} {would}kept for history, {} {would}given up.",
        counted(report.tables.len(), "table", "tables"),
        span(report.seconds),
        bytes(freed),
        bytes(history),
        counted(report.cuts_given_up, "old cut", "old cuts"),
    );
    let forgotten = report.forgotten.runs + report.forgotten.changes + report.forgotten.events;
    if forgotten > 0 {
        summary += &format!(" {} of the control state forgotten.", counted(forgotten, "record", "records"));
    }
    if !report.complete {
        summary += " Stopped on request before every table was done.";
    }
    parts.push(summary);
    for table in &report.tables {
        if let Some(error) = &table.error {
            let hint = table.hint.as_ref().map(|hint| format!("\n  hint: {hint}")).unwrap_or_default();
            parts.push(format!("{} could not be maintained: {error}{hint}", table.table));
        }
    }
    parts.join("\n\n")
}
