//! What a run did, told to someone who runs a plant, not a computer.

use std::collections::BTreeMap;
use std::fmt::Write;

use crate::model::{ModelOutcome, ModelRun};
use crate::pipeline::{CheckReport, PullReport, RunReport, StreamPull, WriteSummary};
use crate::project::Severity;
use crate::store::RunOutcome;
use crate::writeback::{GapReason, WriteReport};

use super::format::{Table, count, counted, cut, minute, paces, span};

const REASONS_MAX: usize = 3;
/// The whole reason is in `loopline write plan --json`.
const REASON_CHARS_MAX: usize = 150;

/// The whole report. `width`: of a line, where someone looks.
pub(super) fn run(report: &RunReport, width: Option<usize>) -> String {
    let seconds: f64 = report.stages.iter().map(|stage| stage.seconds).sum();
    let outcome = match report.outcome {
        RunOutcome::Running => "is still running",
        RunOutcome::Published => "done",
        RunOutcome::Degraded => "done, with something to look at",
        RunOutcome::Failed if report.cut => "published, and failed after that",
        RunOutcome::Failed => "failed: nothing was published",
    };
    let mut text =
        format!("Run {} of {}, as of {}: {outcome} ({})\n", report.run, report.pipeline, minute(report.as_of), span(seconds));
    if !report.message.is_empty() && report.outcome != RunOutcome::Published {
        line(&mut text, &report.message);
    }
    let mut came_in = pulled(&report.pull, width);
    if !report.stale.is_empty() {
        line(&mut came_in, &format!("older than they should be: {}", report.stale.join(", ")));
    }
    section(&mut text, "What came in", &came_in);
    section(&mut text, "What was computed", &built(&report.models));
    section(&mut text, "What the checks found", &checks(&report.checks));
    section(&mut text, "What was decided, and why", &decided(&report.writes));
    section(&mut text, "What was written and proved", &written(&report.summary));
    section(&mut text, "What waits for approval", &waiting(&report.writes, report.summary.waiting));
    section(&mut text, "What could not be decided or written", &failed(&report.writes, &report.summary));
    text.trim_end().to_owned()
}

fn section(text: &mut String, title: &str, body: &str) {
    if !body.is_empty() {
        let _ = write!(text, "\n{title}\n{body}");
    }
}

/// One indented line. Writing to a `String` cannot fail.
fn line(text: &mut String, what: &str) {
    let _ = writeln!(text, "  {what}");
}

fn indent(block: &str) -> String {
    block.lines().map(|line| format!("  {line}\n")).collect()
}

/// One row for each system, then what failed.
pub(super) fn pulled(report: &PullReport, width: Option<usize>) -> String {
    let mut table = Table::new(&["system", "rows read", "new", "changed", "gone", "streams", "time", "rows/s", "MB/s"]);
    let mut problems = String::new();
    for system in &report.systems {
        if let Some(why) = &system.skipped {
            line(&mut problems, &format!("{} was left alone: {why}", system.system));
            continue;
        }
        let total = |of: fn(&StreamPull) -> u64| system.streams.iter().map(of).sum::<u64>();
        let sum = |of| count(total(of));
        let (rows, megabytes) = paces(total(|stream| stream.rows_read), total(|stream| stream.bytes_read), system.seconds);
        table.row(vec![
            system.system.clone(),
            sum(|stream| stream.rows_read),
            sum(|stream| stream.inserted),
            sum(|stream| stream.updated),
            sum(|stream| stream.deleted),
            count(system.streams.len()),
            span(system.seconds),
            rows,
            megabytes,
        ]);
        let own = system.error.iter().map(|error| (system.system.clone(), error, &system.hint));
        let streams = system.streams.iter().filter_map(|stream| {
            let error = stream.error.as_ref()?;
            Some((format!("{}.{}", stream.system, stream.stream), error, &stream.hint))
        });
        for (name, error, hint) in own.chain(streams) {
            line(&mut problems, &format!("{name} could not be read: {error}"));
            if let Some(hint) = hint {
                line(&mut problems, &format!("  hint: {hint}"));
            }
        }
        for stream in &system.streams {
            let left_out = left_out(&stream.system, &stream.stream, stream.discarded_rows, stream.discarded_values);
            left_out.iter().for_each(|left_out| line(&mut problems, left_out));
        }
    }
    if table.is_empty() { problems } else { indent(&table.render(width)) + &problems }
}

/// What the contract of a stream kept out of its table; `None` if nothing.
pub(super) fn left_out(system: &str, stream: &str, rows: u64, values: u64) -> Option<String> {
    let some = |number: u64, one: &str, many: &str| {
        (number > 0).then(|| format!("{} {}", count(number), if number == 1 { one } else { many }))
    };
    let what: Vec<String> = [some(rows, "row", "rows"), some(values, "value", "values")].into_iter().flatten().collect();
    let why = format!("left out by the stream's contract, see raw.{system}__{stream}__discarded");
    (!what.is_empty()).then(|| format!("{system}.{stream}: {} {why}", what.join(" and ")))
}

fn built(models: &[ModelRun]) -> String {
    if models.is_empty() {
        return String::new();
    }
    let of = |outcome| models.iter().filter(move |model| model.outcome == outcome);
    let (new, same, skipped) =
        (of(ModelOutcome::Built).count(), of(ModelOutcome::Same).count(), of(ModelOutcome::Skipped).count());
    let mut text = String::new();
    let copied = of(ModelOutcome::Copied).count();
    let rows: u64 = of(ModelOutcome::Built).map(|model| model.rows).sum();
    let mut parts = vec![format!("{} with new contents ({} rows)", counted(new, "table", "tables"), count(rows))];
    if same > 0 {
        parts.push(format!("{same} computed again with the same contents"));
    }
    if copied > 0 {
        parts.push(format!("{copied} copied"));
    }
    if skipped > 0 {
        parts.push(format!("{skipped} left as they are because nothing they depend on changed"));
    }
    line(&mut text, &parts.join(", "));
    text
}

fn checks(checks: &[CheckReport]) -> String {
    let mut text = String::new();
    for check in checks {
        let weight = if check.severity == Severity::Error { "stopped the run" } else { "warning" };
        line(&mut text, &format!("{weight}: {}: {} ({})", check.table, check.check, check.found));
        text.push_str(&check.sample.lines().map(|row| format!("    {row}\n")).collect::<String>());
        line(&mut text, &format!("  see them: loopline sql \"select * from {}\"", check.kept));
    }
    text
}

fn decided(writes: &[WriteReport]) -> String {
    let mut text = String::new();
    for write in writes.iter().filter(|write| write.wanted > 0 || write.changes() > 0) {
        let mut parts = Vec::new();
        for (number, what) in [(write.inserts, "new"), (write.updates, "changed"), (write.deletes, "withdrawn")] {
            if number > 0 {
                parts.push(format!("{} {what}", count(number)));
            }
        }
        if write.in_place > 0 {
            parts.push(format!("{} already as wanted", count(write.in_place)));
        }
        if write.taken_over > 0 {
            parts.push(format!("{} left to the people who took them over", count(write.taken_over)));
        }
        if write.under_way > 0 {
            parts.push(format!("{} on their way", count(write.under_way)));
        }
        if parts.is_empty() {
            parts.push("nothing to change".into());
        }
        line(&mut text, &format!("{} for {}: {}", name(&write.kind), write.system, parts.join(", ")));
        for top in write.top_reasons.iter().take(REASONS_MAX) {
            // Where no two reasons are the same, a count says nothing and one example is enough to see what they are like.
            let often = if top.count > 1 { format!("{} ×", count(top.count)) } else { "e.g.".into() };
            line(&mut text, &format!("  {often} {}", cut(&top.reason, REASON_CHARS_MAX)));
        }
    }
    text
}

/// `purchase requests`.
fn name(kind: &str) -> String {
    kind.replace('_', " ")
}

/// What was sent, and what the systems showed when they were read again.
pub(super) fn written(summary: &WriteSummary) -> String {
    let (applied, confirmed) = (&summary.applied, &summary.confirmed);
    let mut text = String::new();
    if applied.sent > 0 {
        line(
            &mut text,
            &format!(
                "{} sent, {} accepted by the systems",
                counted(applied.sent, "change", "changes"),
                count(applied.acknowledged)
            ),
        );
        let mut tables: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
        for (system, stream) in &applied.written {
            tables.entry(system).or_default().push(stream);
        }
        for (system, streams) in tables {
            line(&mut text, &format!("  {system}: {}", streams.join(", ")));
        }
    }
    let also = [
        (confirmed.confirmed, "confirmed by reading the system again"),
        (confirmed.overridden, "overridden: the system shows something else now"),
        (confirmed.undone, "taken back"),
        (summary.settled.acknowledged, "of an earlier run turned out to have arrived"),
        (summary.settled.returned, "of an earlier run had not arrived and will be sent again"),
        (applied.expired, "approvals were too old and ended"),
    ];
    for (number, what) in also.iter().filter(|(number, _)| *number > 0) {
        line(&mut text, &format!("{} {what}", count(*number)));
    }
    text
}

fn waiting(writes: &[WriteReport], total: usize) -> String {
    let mut text = String::new();
    for write in writes.iter().filter(|write| write.waiting > 0) {
        let what = format!("{} of {} for {}", counted(write.waiting, "change", "changes"), name(&write.kind), write.system);
        line(&mut text, &format!("{what}: loopline write approve --kind {}", write.kind));
    }
    if text.is_empty() && total > 0 {
        line(&mut text, &format!("{} of earlier runs", counted(total, "change", "changes")));
    }
    if !text.is_empty() {
        line(&mut text, "see them all with: loopline write plan");
    }
    text
}

/// Everything that was wanted and did not happen.
pub(super) fn failed(writes: &[WriteReport], summary: &WriteSummary) -> String {
    let mut text = String::new();
    for write in writes {
        if let Some(held) = &write.held {
            line(&mut text, &format!("{} for {}: not planned, {held}", name(&write.kind), write.system));
        }
        let mut gaps: BTreeMap<GapReason, usize> = BTreeMap::new();
        for gap in &write.gaps {
            *gaps.entry(gap.reason).or_default() += 1;
        }
        for (reason, number) in gaps {
            line(
                &mut text,
                &format!("{} for {}: {} left out, {reason}", name(&write.kind), write.system, counted(number, "row", "rows")),
            );
        }
    }
    let applied = &summary.applied;
    let numbers = [
        (applied.conflicted + summary.settled.conflicted, "met a row that someone had changed meanwhile, and left it alone"),
        (applied.failed, "refused by the system"),
        (applied.unknown + summary.settled.unknown, "sent without an answer; the next run looks what became of them"),
    ];
    for (number, what) in numbers.iter().filter(|(number, _)| *number > 0) {
        line(&mut text, &format!("{} {what}", counted(*number, "change", "changes")));
    }
    for (system, error) in applied.errors.iter().chain(&summary.settled.errors) {
        line(&mut text, &format!("{system} could not be written: {error}"));
    }
    text
}

/// Whether a person has to look: something was to be written and was not.
pub(super) fn needs_attention(summary: &WriteSummary) -> bool {
    let applied = &summary.applied;
    applied.failed > 0 || !applied.errors.is_empty() || !summary.settled.errors.is_empty()
}

#[cfg(test)]
mod tests {
    use chrono::DateTime;

    use crate::base::RunId;
    use crate::pipeline::{Stage, StageTime, SystemPull};
    use crate::store::PullKind;
    use crate::writeback::{Applied, Confirmed, Gap, ReasonCount};

    use super::*;

    fn stream(name: &str, rows_read: u64, error: Option<&str>) -> StreamPull {
        StreamPull {
            system: "erp".into(),
            stream: name.into(),
            kind: PullKind::Full,
            rows_read,
            bytes_read: rows_read * 1_000,
            inserted: rows_read,
            updated: 0,
            deleted: 0,
            discarded_rows: 0,
            discarded_values: 0,
            whole: true,
            tries: 1,
            error: error.map(Into::into),
            hint: error.map(|_| "look at its key".into()),
            seconds: 0.2,
        }
    }

    fn model(table: &str, outcome: ModelOutcome) -> ModelRun {
        ModelRun { rows: 600, seconds: 0.1, ..ModelRun::new(&table.parse().unwrap(), outcome, "input changed".into()) }
    }

    fn report() -> RunReport {
        let purchase = WriteReport {
            system: "erp".into(),
            kind: "purchase_requests".into(),
            wanted: 12,
            inserts: 9,
            updates: 2,
            waiting: 4,
            approved: 7,
            in_place: 1,
            gaps: vec![Gap { key: [("id".to_owned(), "7".into())].into(), reason: GapReason::NotOwn }],
            top_reasons: vec![ReasonCount { reason: "short from 2026-03-09".into(), count: 8 }],
            ..WriteReport::default()
        };
        let applied =
            Applied { sent: 7, acknowledged: 6, conflicted: 1, written: vec![("erp".into(), "pr".into())], ..Applied::default() };
        RunReport {
            run: RunId(3),
            pipeline: "loop".into(),
            as_of: DateTime::from_timestamp(1_772_431_200, 0).unwrap(),
            outcome: RunOutcome::Degraded,
            message: "1 stream could not be read".into(),
            cut: true,
            stale: vec!["mes".into()],
            pull: PullReport {
                systems: vec![
                    SystemPull {
                        system: "erp".into(),
                        streams: vec![stream("items", 1_200, None), stream("orders", 0, Some("no key"))],
                        skipped: None,
                        error: None,
                        hint: None,
                        seconds: 0.4,
                    },
                    SystemPull {
                        system: "wms".into(),
                        streams: vec![],
                        skipped: Some("outside of its hours, 20 to 6 (UTC)".into()),
                        error: None,
                        hint: None,
                        seconds: 0.0,
                    },
                ],
            },
            models: vec![model("scm.plan", ModelOutcome::Built), model("scm.stock", ModelOutcome::Skipped)],
            checks: vec![],
            writes: vec![purchase],
            summary: WriteSummary {
                applied,
                confirmed: Confirmed { confirmed: 6, ..Confirmed::default() },
                waiting: 4,
                ..WriteSummary::default()
            },
            stages: vec![StageTime { stage: Stage::Pull, seconds: 12.0 }],
        }
    }

    #[test]
    fn a_run_is_told_from_what_came_in_to_what_waits() {
        insta::assert_snapshot!(run(&report(), None), @r#"
    Run 3 of loop, as of 2026-03-02 06:00 UTC: done, with something to look at (12 s)
      1 stream could not be read

    What came in
      system  rows read    new  changed  gone  streams  time   rows/s  MB/s
      ──────  ─────────  ─────  ───────  ────  ───────  ─────  ──────  ────
      erp         1,200  1,200        0     0        2  0.4 s   3,000   3.0
      erp.orders could not be read: no key
        hint: look at its key
      wms was left alone: outside of its hours, 20 to 6 (UTC)
      older than they should be: mes

    What was computed
      1 table with new contents (600 rows), 1 left as they are because nothing they depend on changed

    What was decided, and why
      purchase requests for erp: 9 new, 2 changed, 1 already as wanted
        8 × short from 2026-03-09

    What was written and proved
      7 changes sent, 6 accepted by the systems
        erp: pr
      6 confirmed by reading the system again

    What waits for approval
      4 changes of purchase requests for erp: loopline write approve --kind purchase_requests
      see them all with: loopline write plan

    What could not be decided or written
      purchase requests for erp: 1 row left out, the target has a row under this key that the hub did not make
      1 change met a row that someone had changed meanwhile, and left it alone
    "#);
    }
}
