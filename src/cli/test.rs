//! `loopline test`: unit tests of models, without any source.

use std::collections::BTreeSet;
use std::fmt::Write;
use std::io::IsTerminal;
use std::time::Instant;

use clap::Args;
use serde::Serialize;

use crate::model::{Difference, Graph, RowDifference, TestOutcome, TestRun, Tests, select};
use crate::pipeline::Access;
use crate::project::SelectedTables;

use super::Done;
use super::context::Context;
use super::failure::CliError;
use super::format::counted;
use super::select::Selectors;

/// Runs the unit tests of models (sql/<schema>/<model>.test), without any source or store
#[derive(Args)]
#[command(
    after_help = "Examples:\n  loopline test                     all of them\n  loopline test scm                 one schema\n  loopline test scm.bom qms+        a model; a schema and what needs it\n  loopline test changed+            what was changed since it was published, and what needs it\n  loopline test --json\n\nA test, in sql/scm/stock_value.test beside the model:\n  test stock is worth its price\n  given erp.items\n  item_id | stock | price\n  A       | 3     | 2.50\n  B       | -     | 1\n  expect\n  item_id | value\n  A       | 7.5\n\nBefore a test's own lines, `now 2026-03-10T06:00:00Z` sets the clock; `fails unique` expects a check to fail; `expect in order` minds the order.\nWhat stands above the first test is shared by all. Columns and tables that are not given are null and empty; - is null."
)]
pub(super) struct Arguments {
    #[command(flatten)]
    selectors: Selectors,
}

#[derive(Serialize)]
struct Report<'a> {
    ok: bool,
    passed: usize,
    failed: usize,
    seconds: f64,
    tests: &'a [TestRun],
}

pub(super) async fn run(arguments: &Arguments, context: &Context) -> anyhow::Result<Done> {
    let started = Instant::now();
    let project = context.load()?;
    let graph = Graph::new(&project).map_err(CliError::several)?;
    let selectors = arguments.selectors.parse()?;
    let mut wanted = project.tests.keys().cloned().collect();
    if !selectors.is_empty() {
        // Only what was published tells what changed; nothing else needs a store.
        wanted = match selectors.iter().any(|selector| selector.tables == SelectedTables::Changed) {
            true => context.hub(Access::Read).await?.selected(&graph, &selectors).await?.into_iter().collect(),
            false => select(&graph, &project, &selectors, &BTreeSet::new())?,
        };
    }
    let tests = Tests::new(project, graph)?;
    let bar = context.bar();
    bar.say("running the tests");
    let runs = tests.run(&wanted).await;
    bar.finish();
    let passed = runs.iter().filter(|run| matches!(run.outcome, TestOutcome::Passed)).count();
    let report = Report {
        ok: passed == runs.len(),
        passed,
        failed: runs.len() - passed,
        seconds: started.elapsed().as_secs_f64(),
        tests: &runs,
    };
    if context.output.json {
        context.output.data_json(&report)?;
        return Ok(done(&report));
    }
    let paint = Paint { colours: std::io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none() };
    for run in &runs {
        match &run.outcome {
            TestOutcome::Passed => context.output.detail(&format!("ok    {}: {}", run.table, run.name)),
            _ => context.output.data(&failure(run, &paint)),
        }
    }
    context.output.data(&summary(&report));
    Ok(done(&report))
}

fn done(report: &Report) -> Done {
    if report.ok { Done::Well } else { Done::NeedsAttention }
}

fn summary(report: &Report) -> String {
    let models: BTreeSet<&str> = report.tests.iter().map(|run| run.table.as_str()).collect();
    let of = format!("{} of {}", counted(report.tests.len(), "test", "tests"), counted(models.len(), "model", "models"));
    match (report.tests.len(), report.failed) {
        (0, _) => "there are no tests: they stand beside their model, in sql/<schema>/<model>.test (loopline test --help)".into(),
        (_, 0) => format!("{of}: all passed in {:.1} s", report.seconds),
        (_, failed) => format!("{of}: {failed} failed in {:.1} s", report.seconds),
    }
}

/// What went wrong, and where in the test's file.
fn failure(run: &TestRun, paint: &Paint) -> String {
    let named = if run.name.is_empty() { String::new() } else { format!(": {}", run.name) };
    let mut text = format!("{}  {}{named}  {}:{}\n", paint.red("FAIL"), run.table, run.path.display(), run.line);
    match &run.outcome {
        TestOutcome::Passed => {}
        TestOutcome::Different(difference) => text.push_str(&rows(difference, paint)),
        TestOutcome::Held { check, line } => {
            let _ = writeln!(text, "  line {line}: the check {check} holds, and should fail");
        }
        TestOutcome::Wrong(problems) => {
            for problem in problems {
                let _ = writeln!(text, "  error: {}", problem.message);
                if let Some(hint) = &problem.hint {
                    let _ = writeln!(text, "  hint: {hint}");
                }
            }
        }
    }
    text
}

/// The rows that differ, aligned: `-` is missing, `+` was not expected, `~` differs, from what is expected to what came out.
fn rows(difference: &Difference, paint: &Paint) -> String {
    /// A cell, and how it looks.
    type Cell = (String, fn(&Paint, &str) -> String);
    let plain = |text: &String| (text.clone(), Paint::plain as fn(&Paint, &str) -> String);
    let with = |line: Option<usize>, sign: &str, cells: Vec<Cell>| {
        let line = line.map_or_else(String::new, |line| line.to_string());
        [vec![(sign.to_owned(), Paint::plain as _), (line, Paint::plain as _)], cells].concat()
    };
    let head = difference.columns.iter().map(plain).collect();
    let mut lines: Vec<Vec<Cell>> = vec![with(None, "", head)];
    lines[0][1].0 = "line".into();
    for row in &difference.rows {
        lines.push(match row {
            RowDifference::Missing { line, cells } => {
                with(Some(*line), "-", cells.iter().map(|cell| (cell.clone(), Paint::red as _)).collect())
            }
            RowDifference::Unexpected { cells } => {
                with(None, "+", cells.iter().map(|cell| (cell.clone(), Paint::green as _)).collect())
            }
            RowDifference::Different { line, expected, found } => {
                let cells = expected.iter().zip(found).map(|(expected, found)| match expected == found {
                    true => plain(expected),
                    false => (format!("{expected} → {found}"), Paint::yellow as _),
                });
                with(Some(*line), "~", cells.collect())
            }
        });
    }
    let width = |column: usize| lines.iter().map(|line| line[column].0.chars().count()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..lines[0].len()).map(width).collect();
    let mut text = String::new();
    for line in &lines {
        let cells = line.iter().zip(&widths).map(|((cell, look), width)| look(paint, &format!("{cell:width$}")));
        let _ = writeln!(text, "  {}", cells.collect::<Vec<_>>().join("  ").trim_end());
    }
    if difference.rows_as_expected > 0 {
        let _ = writeln!(text, "  ({} as expected)", counted(difference.rows_as_expected, "row is", "rows are"));
    }
    text
}

/// Colours, where a person looks.
struct Paint {
    colours: bool,
}

impl Paint {
    fn with(&self, code: u8, text: &str) -> String {
        if self.colours { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_owned() }
    }

    #[expect(clippy::unused_self, reason = "one look among others")]
    fn plain(&self, text: &str) -> String {
        text.to_owned()
    }

    fn red(&self, text: &str) -> String {
        self.with(31, text)
    }

    fn green(&self, text: &str) -> String {
        self.with(32, text)
    }

    fn yellow(&self, text: &str) -> String {
        self.with(33, text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_differs_is_shown_in_columns() {
        let cells = |text: &str| text.split(' ').map(str::to_owned).collect::<Vec<_>>();
        let outcome = TestOutcome::Different(Difference {
            columns: cells("item_id quantity"),
            rows: vec![
                RowDifference::Different { line: 14, expected: cells("A 4"), found: cells("A 5") },
                RowDifference::Missing { line: 15, cells: cells("B 1.5") },
                RowDifference::Unexpected { cells: cells("C -") },
            ],
            rows_as_expected: 2,
        });
        let run = TestRun {
            table: "scm.stock".into(),
            name: "two sites".into(),
            path: "sql/scm/stock.test".into(),
            line: 9,
            outcome,
            seconds: 0.1,
        };
        insta::assert_snapshot!(failure(&run, &Paint { colours: false }), @r#"
    FAIL  scm.stock: two sites  sql/scm/stock.test:9
         line  item_id  quantity
      ~  14    A        4 → 5
      -  15    B        1.5
      +        C        -
      (2 rows are as expected)
    "#);
        let report = Report { ok: false, passed: 1, failed: 1, seconds: 0.25, tests: &[run.clone(), run] };
        assert_eq!(summary(&report), "2 tests of 1 model: 1 failed in 0.2 s");
    }
}
