//! A run's progress: one bar while it goes on, below it a line for each stream that is being read and each table that is being built; one line for each step with -v.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};

use crate::base::TableName;
use crate::model::ModelRun;
use crate::pipeline::{Flow, Progress, Stage, StreamCheck, StreamPull};
use crate::writeback::Applied;

use super::format::{count, pace, span};
use super::output::Output;

/// How often those who asked for more are told of a stream that takes long.
const TOLD_EVERY: Duration = Duration::from_secs(10);

/// One bar on standard error, and a line for each running stream or table. It draws nothing where nobody looks.
pub(super) struct Bar {
    bar: ProgressBar,
    running: Mutex<BTreeMap<String, Running>>,
    output: Output,
}

/// A stream that is being read, or a table that is being built.
struct Running {
    line: ProgressBar,
    told: Instant,
}

impl Running {
    fn new(output: &Output, template: &str) -> Self {
        let line = output.bars().add(ProgressBar::no_length());
        // Templates are constant; were one wrong, the default one would do.
        if let Ok(style) = ProgressStyle::with_template(template) {
            line.set_style(style);
        }
        Self { line, told: Instant::now() }
    }
}

fn name(system: &str, stream: &str) -> String {
    format!("{system}.{stream}")
}

/// `erp.orders: 1,204,000 rows, 80,000 rows/s, 12.3 MB/s, 40 s left`.
fn flow_text(flow: &Flow<'_>) -> String {
    let pace = pace(flow.rows, flow.bytes, flow.seconds);
    let left = flow.seconds_left().map_or_else(String::new, |left| format!(", {} left", span(left)));
    format!("{}.{}: {} rows, {pace}{left}", flow.system, flow.stream, count(flow.rows))
}

impl Bar {
    pub(super) fn new(output: Output) -> Self {
        let bar = output.bars().add(ProgressBar::new_spinner());
        bar.enable_steady_tick(Duration::from_millis(120));
        Self { bar, running: Mutex::default(), output }
    }

    fn steps(&self, done: usize, total: usize) {
        if self.bar.length() != Some(total as u64) {
            self.bar.set_length(total as u64);
            // The template is constant; were it wrong, the default one would do.
            if let Ok(style) = ProgressStyle::with_template("{prefix} {bar:24} {pos}/{len} {wide_msg}") {
                self.bar.set_style(style);
            }
        }
        self.bar.set_position(done as u64);
    }

    /// The line of a stream or table goes.
    fn ended(&self, name: &str, done: usize, total: usize) {
        let running = self.running.lock().unwrap_or_else(PoisonError::into_inner).remove(name);
        if let Some(running) = running {
            self.output.bars().remove(&running.line);
        }
        self.steps(done, total);
        self.bar.set_message(name.to_owned());
    }

    /// Says what is done besides a run.
    pub(super) fn say(&self, what: &str) {
        self.bar.set_style(ProgressStyle::default_spinner());
        self.bar.unset_length();
        self.bar.set_prefix(String::new());
        self.bar.set_message(what.to_owned());
    }

    /// Removes the bar.
    pub(super) fn finish(self) {
        self.bar.finish_and_clear();
    }
}

impl Progress for Bar {
    fn stage(&self, stage: Stage) {
        let (prefix, message) = stage.words();
        self.say(message);
        self.bar.set_prefix(prefix);
    }

    fn rows(&self, flow: &Flow<'_>) {
        let mut running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        let running = running.entry(name(flow.system, flow.stream)).or_insert_with(|| Running::new(&self.output, "  {wide_msg}"));
        running.line.set_message(flow_text(flow));
        if running.told.elapsed() >= TOLD_EVERY {
            running.told = Instant::now();
            self.output.detail(&format!("pulling {}", flow_text(flow)));
        }
    }

    fn pulled(&self, pull: &StreamPull, done: usize, total: usize) {
        self.ended(&name(&pull.system, &pull.stream), done, total);
        let outcome = match &pull.error {
            Some(error) => format!("failed: {error}"),
            None => {
                let pace = pace(pull.rows_read, pull.bytes_read, pull.seconds);
                format!(
                    "{} rows read, {} new, {} changed, {} gone; {pace}",
                    pull.rows_read, pull.inserted, pull.updated, pull.deleted
                )
            }
        };
        let tries = if pull.tries > 1 { format!(", {} tries", pull.tries) } else { String::new() };
        let kind = pull.kind.text();
        self.output.detail(&format!("pulled {}.{}, {kind}: {outcome} ({}{tries})", pull.system, pull.stream, span(pull.seconds)));
    }

    fn verified(&self, check: &StreamCheck, done: usize, total: usize) {
        self.ended(&name(&check.system, &check.stream), done, total);
        let outcome = match &check.error {
            Some(error) => format!("failed: {error}"),
            None => format!("{} missing, {} different, {} gone", check.absent, check.differing, check.gone),
        };
        self.output.detail(&format!("compared {}.{}: {outcome} ({})", check.system, check.stream, span(check.seconds)));
    }

    fn started(&self, table: &TableName) {
        let running = Running::new(&self.output, "  {msg} {elapsed}");
        running.line.set_message(table.to_string());
        running.line.enable_steady_tick(Duration::from_secs(1));
        self.running.lock().unwrap_or_else(PoisonError::into_inner).insert(table.to_string(), running);
    }

    fn model(&self, run: &ModelRun, done: usize, total: usize) {
        self.ended(&run.table, done, total);
        self.output.detail(&format!("{}: {} rows in {} ({})", run.table, count(run.rows), span(run.seconds), run.reason));
    }

    fn applied(&self, applied: &Applied) {
        self.bar.set_message(format!("{} sent, {} accepted", count(applied.sent), count(applied.acknowledged)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_running_stream_says_how_far_it_is() {
        let flow = Flow {
            system: "erp",
            stream: "orders",
            rows: 1_200_000,
            bytes: 123_000_000,
            rows_expected: Some(6_000_000),
            seconds: 10.0,
        };
        assert_eq!(flow_text(&flow), "erp.orders: 1,200,000 rows, 120,000 rows/s, 12.3 MB/s, 40 s left");
        let unknown = Flow { rows: 0, bytes: 0, rows_expected: None, seconds: 0.0, ..flow };
        assert_eq!(flow_text(&unknown), "erp.orders: 0 rows, 0 rows/s, 0.0 MB/s");
        let more = Flow { rows: 7_000_000, ..flow };
        assert_eq!(flow_text(&more), "erp.orders: 7,000,000 rows, 700,000 rows/s, 12.3 MB/s", "statistics are old");
    }
}
