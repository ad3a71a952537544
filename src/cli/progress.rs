//! A run's progress: one bar while it goes on, one line for each step with -v.

use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};

use crate::model::ModelRun;
use crate::pipeline::{Progress, Stage, StreamPull};
use crate::writeback::Applied;

use super::format::{count, span};
use super::output::Output;

/// One bar on standard error. It draws nothing where nobody looks.
pub(super) struct Bar {
    bar: ProgressBar,
    output: Output,
}

impl Bar {
    pub(super) fn new(output: Output) -> Self {
        let bar = output.bars().add(ProgressBar::new_spinner());
        bar.enable_steady_tick(Duration::from_millis(120));
        Self { bar, output }
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
        let (prefix, message) = match stage {
            Stage::Settle => ("settle", "looking up what became of earlier changes"),
            Stage::Pull => ("pull", "opening the systems"),
            Stage::Build => ("build", "reading the statements"),
            Stage::Publish => ("publish", "making the run's tables visible together"),
            Stage::Plan => ("plan", "comparing what is wanted with the systems"),
            Stage::Apply => ("write", "sending what is approved"),
            Stage::Confirm => ("confirm", "reading back what was written"),
        };
        self.say(message);
        self.bar.set_prefix(prefix);
    }

    fn rows(&self, system: &str, stream: &str, rows: u64) {
        self.bar.set_message(format!("{system}.{stream}, {} more rows", count(rows)));
    }

    fn pulled(&self, pull: &StreamPull, done: usize, total: usize) {
        self.steps(done, total);
        self.bar.set_message(format!("{}.{}", pull.system, pull.stream));
        let outcome = match &pull.error {
            Some(error) => format!("failed: {error}"),
            None => {
                format!("{} rows read, {} new, {} changed, {} gone", pull.rows_read, pull.inserted, pull.updated, pull.deleted)
            }
        };
        self.output.detail(&format!("pulled {}.{}: {outcome} ({})", pull.system, pull.stream, span(pull.seconds)));
    }

    fn model(&self, run: &ModelRun, done: usize, total: usize) {
        self.steps(done, total);
        self.bar.set_message(run.table.clone());
        self.output.detail(&format!("{}: {} rows in {} ({})", run.table, count(run.rows), span(run.seconds), run.reason));
    }

    fn applied(&self, applied: &Applied) {
        self.bar.set_message(format!("{} sent, {} accepted", count(applied.sent), count(applied.acknowledged)));
    }
}
