//! `loopline lineage`: where a column comes from and what is made of it.

use clap::Args;
use serde::Serialize;

use crate::model::{Branch, ColumnLineage, ColumnName, How, Lineage, TableKind, TableLineage, Way};
use crate::pipeline::Access;

use super::Done;
use super::context::Context;
use super::format::Table;

/// Follows a column from the source's field to the field that is written back
#[derive(Args)]
#[command(
    after_help = "Examples:\n  loopline lineage erp.item_sites.lead_time_days      both ways\n  loopline lineage outbox.promise_dates.promised --upstream\n  loopline lineage scm.net_requirements               every column of a table\n  loopline lineage raw.erp__products.lead_days --json\n\nRead from the statements themselves, through maps, contracts, models and decision functions."
)]
pub(super) struct Arguments {
    /// A table or a column: schema.table or schema.table.column
    name: String,
    /// Only where it comes from
    #[arg(long, conflicts_with = "downstream")]
    upstream: bool,
    /// Only what is made of it
    #[arg(long)]
    downstream: bool,
}

#[derive(Serialize)]
struct ColumnReport<'a> {
    column: String,
    #[serde(rename = "type")]
    data_type: &'a str,
    description: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    upstream: Option<Branch>,
    #[serde(skip_serializing_if = "Option::is_none")]
    downstream: Option<Branch>,
    /// Tables whose filters, joins or groups use it or what is made of it.
    decides_rows_of: Vec<String>,
}

#[derive(Serialize)]
struct TableReport<'a> {
    table: String,
    #[serde(flatten)]
    kind: &'a TableKind,
    description: &'a str,
    columns: Vec<ColumnReport<'a>>,
    /// Columns that decide which rows there are.
    rows_decided_by: Vec<String>,
}

pub(super) async fn run(arguments: &Arguments, context: &Context) -> anyhow::Result<Done> {
    let hub = context.hub(Access::Read).await?;
    let lineage = hub.lineage().await?;
    match lineage.find(&arguments.name)? {
        (table, Some(column)) => {
            let report = report(&lineage, table, column, arguments);
            if context.output.json {
                context.output.data_json(&report)?;
            } else {
                context.output.data(&column_text(&lineage, table, &report));
            }
        }
        (table, None) if context.output.json => {
            let columns = table.columns.iter().map(|column| report(&lineage, table, column, arguments)).collect();
            let rows_decided_by = table.rows.iter().map(ToString::to_string).collect();
            let TableLineage { kind, description, .. } = table;
            context.output.data_json(&TableReport {
                table: table.table.to_string(),
                kind,
                description,
                columns,
                rows_decided_by,
            })?;
        }
        (table, None) => context.output.data(&table_text(table, context.output.width())),
    }
    if !lineage.unknown.is_empty() {
        let names: Vec<String> = lineage.unknown.iter().map(ToString::to_string).collect();
        context
            .output
            .message(&format!("not followed, because what they read was never pulled or is wrong: {}", names.join(", ")));
    }
    Ok(Done::Well)
}

fn report<'a>(lineage: &Lineage, table: &TableLineage, column: &'a ColumnLineage, arguments: &Arguments) -> ColumnReport<'a> {
    let name = ColumnName { table: table.table.clone(), column: column.name.clone() };
    let follow = |way, wanted: bool| wanted.then(|| lineage.follow(&name, way));
    ColumnReport {
        column: name.to_string(),
        data_type: &column.data_type,
        description: &column.description,
        upstream: follow(Way::Upstream, !arguments.downstream),
        downstream: follow(Way::Downstream, !arguments.upstream),
        decides_rows_of: lineage.decides(&name).iter().map(ToString::to_string).collect(),
    }
}

fn column_text(lineage: &Lineage, table: &TableLineage, report: &ColumnReport) -> String {
    let mut lines = vec![format!("{}  {}  {}", report.column, report.data_type, report.description).trim_end().to_owned()];
    lines.extend(place(table).map(|place| format!("  {place}")));
    for (title, tree) in [("comes from", &report.upstream), ("goes to", &report.downstream)] {
        let Some(tree) = tree else { continue };
        lines.push(String::new());
        if tree.branches.is_empty() {
            lines.push(format!("{title} nothing else"));
            continue;
        }
        lines.push(title.to_owned());
        tree.branches.iter().for_each(|branch| tree_lines(lineage, branch, 1, &mut lines));
    }
    if !report.decides_rows_of.is_empty() {
        lines.push(String::new());
        lines.push(format!("decides rows of (filters, joins, groups): {}", report.decides_rows_of.join(", ")));
    }
    lines.join("\n")
}

fn tree_lines(lineage: &Lineage, branch: &Branch, depth: usize, lines: &mut Vec<String>) {
    let how = match branch.how {
        Some(How::Transformation) => "  transformed",
        Some(How::Aggregation) => "  aggregated",
        Some(How::Identity) | None => "",
    };
    let place = lineage.table(&branch.column.table).and_then(place).map(|place| format!("  ({place})")).unwrap_or_default();
    let repeated = if branch.repeated { "  …" } else { "" };
    lines.push(format!("{}{}{how}{place}{repeated}", "  ".repeat(depth), branch.column));
    branch.branches.iter().for_each(|branch| tree_lines(lineage, branch, depth + 1, lines));
}

/// Where people find the table: its file, or the system that it stands for.
fn place(table: &TableLineage) -> Option<String> {
    match &table.kind {
        TableKind::Stream { system, stream } => Some(format!("stream {stream} of system {system}")),
        TableKind::Write { system, resource } => Some(format!("written to {resource} of system {system}")),
        // A view of the contract beside it.
        TableKind::Mapped => None,
        _ => table.path.as_ref().map(|path| path.display().to_string()),
    }
}

fn table_text(table: &TableLineage, width: Option<usize>) -> String {
    let mut lines = vec![format!("{}  {}", table.table, table.description).trim_end().to_owned()];
    lines.extend(place(table).map(|place| format!("  {place}")));
    let mut columns = Table::new(&["column", "type", "comes from", "description"]);
    for column in &table.columns {
        let origins: Vec<String> = column.origins.keys().map(ToString::to_string).collect();
        columns.row(vec![column.name.clone(), column.data_type.clone(), origins.join(", "), column.description.clone()]);
    }
    lines.push(String::new());
    lines.push(columns.render(width));
    if !table.rows.is_empty() {
        let decided: Vec<String> = table.rows.iter().map(ToString::to_string).collect();
        lines.push(format!("\nrows are decided by {}", decided.join(", ")));
    }
    lines.join("\n")
}
