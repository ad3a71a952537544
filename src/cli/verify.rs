//! `loopline verify`: is what was pulled what the source has?

use clap::Args;

use crate::pipeline::{Access, StreamCheck, Verification, VerifyReport};

use super::Done;
use super::context::Context;
use super::format::{Table, count, counted, minute, span};

/// As much of a checksum as tells two apart at a glance; JSON has all of it.
const CHECKSUM_CHARS: usize = 12;

/// Compares every row of a system with the tables that its pulls made, and repairs what differs
#[derive(Args)]
#[command(
    after_help = "Examples:\n  loopline verify erp                       every stream of the system\n  loopline verify erp items orders --pull   after a pull in the same snapshot: nothing may differ then\n  loopline verify erp --repair              pulls again what differs\n\nReads every stream whole, in one snapshot. Without --pull, rows that changed in the source after the last pull differ, too.\nExit codes: 0 nothing differs or it was repaired, 1 something differs or could not be compared."
)]
pub(super) struct Arguments {
    /// The system, as in loopline.toml
    system: String,
    /// Its streams [default: all]
    #[arg(value_name = "STREAM")]
    streams: Vec<String>,
    /// Pull each stream first, in the snapshot that is then compared
    #[arg(long)]
    pull: bool,
    /// Pull again what differs
    #[arg(long)]
    repair: bool,
}

pub(super) async fn run(arguments: &Arguments, context: &Context) -> anyhow::Result<Done> {
    let how = Verification { pull: arguments.pull, repair: arguments.repair };
    let access = if how.pull || how.repair { Access::Write } else { Access::Read };
    let hub = context.hub(access).await?;
    let bar = context.bar();
    let report = hub.verify(&arguments.system, &arguments.streams, how, &context.options(false, &bar)).await;
    bar.finish();
    let report = report?;
    if context.output.json {
        context.output.data_json(&report)?;
    } else {
        context.output.data(&told(&report, context.output.width()));
    }
    Ok(if report.complete() { Done::Well } else { Done::NeedsAttention })
}

fn told(report: &VerifyReport, width: Option<usize>) -> String {
    let mut table = Table::new(&[
        "stream",
        "rows in source",
        "rows in table",
        "source",
        "table",
        "missing",
        "different",
        "gone",
        "time",
        "result",
    ]);
    let mut notes = Vec::new();
    for check in &report.streams {
        let short = |checksum: &str| checksum.chars().take(CHECKSUM_CHARS).collect::<String>();
        table.row(vec![
            check.stream.clone(),
            // Rows of files are not compared.
            if check.untaken_files.is_some() { String::new() } else { count(check.source_rows) },
            count(check.table_rows),
            short(&check.source_checksum),
            short(&check.table_checksum),
            count(check.absent),
            count(check.differing),
            count(check.gone),
            span(check.seconds),
            result(check).into(),
        ]);
        notes.extend(details(check));
    }
    if let Some(error) = &report.error {
        notes.push(format!("{} could not be read: {error}", report.system));
        notes.extend(report.hint.iter().map(|hint| format!("  hint: {hint}")));
    }
    if !report.pulled_first && report.streams.iter().any(|check| check.differs) {
        notes.push(
            "rows that changed in the source after the last pull differ, too: --pull pulls first, in the same snapshot".into(),
        );
    }
    let mut text = if table.is_empty() { String::new() } else { table.render(width) };
    if !notes.is_empty() && !text.is_empty() {
        text.push_str("\n\n");
    }
    text + &notes.join("\n")
}

fn result(check: &StreamCheck) -> &'static str {
    match check {
        StreamCheck { error: Some(_), .. } => "failed",
        StreamCheck { repaired: Some(_), .. } => "repaired",
        StreamCheck { differs: true, .. } => "differs",
        StreamCheck { gone: 1.., .. } => "equal, and older rows kept",
        StreamCheck { untaken_files: Some(_), .. } => "every file taken",
        _ => "equal",
    }
}

/// Where it differs, and what was done about it.
fn details(check: &StreamCheck) -> Vec<String> {
    let mut lines = Vec::new();
    if let Some(error) = &check.error {
        lines.push(format!("{} could not be compared: {error}", check.stream));
        lines.extend(check.hint.iter().map(|hint| format!("  hint: {hint}")));
    }
    if !check.differs {
        return lines;
    }
    let pulled = check.pulled_at.map_or_else(String::new, |at| format!(", last pulled {}", minute(at)));
    lines.push(format!("{} differs{pulled}", check.stream));
    if let Some(files) = check.untaken_files {
        let files = counted(usize::try_from(files).unwrap_or(usize::MAX), "file", "files");
        lines.push(format!("  {files} in the listing that no pull has taken"));
    }
    for range in &check.ranges {
        let (from, to) = (range.from.as_deref().unwrap_or("the first key"), range.to.as_deref().unwrap_or("the last key"));
        let rows = format!("{} in the source, {} in the table", count(range.source_rows), count(range.table_rows));
        lines.push(format!("  {from} to {to}: {rows}"));
    }
    if let Some(pull) = &check.repaired {
        let rows = counted(usize::try_from(pull.inserted).unwrap_or(usize::MAX), "row", "rows");
        let how = match (pull.whole, check.untaken_files) {
            (_, Some(_)) => "those files were taken",
            (true, None) => "the whole table was read again",
            (false, None) => "those rows were read again",
        };
        lines.push(format!("  {how}: {rows} added, {} changed, {} removed", count(pull.updated), count(pull.deleted)));
    }
    lines
}

#[cfg(test)]
mod tests {
    use crate::pipeline::StreamPull;
    use crate::store::{PullKind, RangeComparison};

    use super::*;

    fn check(stream: &str) -> StreamCheck {
        StreamCheck {
            system: "erp".into(),
            stream: stream.into(),
            pulled_at: chrono::DateTime::from_timestamp(1_772_431_200, 0),
            source_rows: 1_000,
            table_rows: 1_000,
            source_checksum: "ab".repeat(16),
            table_checksum: "ab".repeat(16),
            absent: 0,
            differing: 0,
            gone: 0,
            untaken_files: None,
            differs: false,
            ranges: vec![],
            repaired: None,
            rows_read: 1_000,
            bytes_read: 8_000,
            tries: 1,
            error: None,
            hint: None,
            seconds: 0.3,
        }
    }

    #[test]
    fn a_verification_shows_both_sides_and_where_they_differ() {
        let repaired = StreamPull {
            system: "erp".into(),
            stream: "orders".into(),
            kind: PullKind::Repair,
            rows_read: 1_003,
            bytes_read: 8_000,
            inserted: 1,
            updated: 2,
            deleted: 0,
            discarded_rows: 0,
            discarded_values: 0,
            whole: false,
            tries: 1,
            error: None,
            hint: None,
            seconds: 0.3,
        };
        let range = RangeComparison {
            from: Some("100".into()),
            to: None,
            source_rows: 63,
            table_rows: 62,
            source_checksum: "1".into(),
            table_checksum: "2".into(),
        };
        let differing = StreamCheck {
            table_rows: 999,
            table_checksum: "cd".repeat(16),
            absent: 1,
            differing: 2,
            differs: true,
            ranges: vec![range],
            repaired: Some(repaired),
            ..check("orders")
        };
        let files = StreamCheck { untaken_files: Some(2), differs: true, source_checksum: String::new(), ..check("receipts") };
        let failed = StreamCheck { error: Some("no answer".into()), hint: Some("try again".into()), ..check("stock") };
        let report = VerifyReport {
            system: "erp".into(),
            pulled_first: false,
            streams: vec![check("items"), differing, StreamCheck { table_checksum: String::new(), ..files }, failed],
            error: None,
            hint: None,
        };
        insta::assert_snapshot!(told(&report, None), @r"
        stream    rows in source  rows in table  source        table         missing  different  gone  time   result
        ────────  ──────────────  ─────────────  ────────────  ────────────  ───────  ─────────  ────  ─────  ────────
        items              1,000          1,000  abababababab  abababababab        0          0     0  0.3 s  equal
        orders             1,000            999  abababababab  cdcdcdcdcdcd        1          2     0  0.3 s  repaired
        receipts                          1,000                                    0          0     0  0.3 s  differs
        stock              1,000          1,000  abababababab  abababababab        0          0     0  0.3 s  failed

        orders differs, last pulled 2026-03-02 06:00 UTC
          100 to the last key: 63 in the source, 62 in the table
          those rows were read again: 1 row added, 2 changed, 0 removed
        receipts differs, last pulled 2026-03-02 06:00 UTC
          2 files in the listing that no pull has taken
        stock could not be compared: no answer
          hint: try again
        rows that changed in the source after the last pull differ, too: --pull pulls first, in the same snapshot
        ");
    }
}
