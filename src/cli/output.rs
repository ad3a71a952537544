//! The only place that writes to standard output (data) and standard error (everything else).

use std::io::{IsTerminal, Write};
use std::process::ExitCode;
use std::sync::Arc;

use indicatif::{MultiProgress, ProgressDrawTarget};
use serde::Serialize;
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{Layer, fmt};

use super::failure;

/// Where a command's data and messages go.
#[derive(Clone)]
pub(super) struct Output {
    pub json: bool,
    quiet: bool,
    verbose: u8,
    /// Everything on standard error goes around the bars, so that neither tears the other.
    bars: Arc<MultiProgress>,
}

impl Output {
    pub(super) fn new(json: bool, quiet: bool, verbose: u8) -> Self {
        let bars = MultiProgress::new();
        if quiet || !std::io::stderr().is_terminal() {
            bars.set_draw_target(ProgressDrawTarget::hidden());
        }
        Self { json, quiet, verbose, bars: Arc::new(bars) }
    }

    /// Data for standard output, with a line end.
    pub(super) fn data(&self, text: &str) {
        let text = text.trim_end_matches('\n');
        self.bars.suspend(|| {
            let mut stdout = std::io::stdout().lock();
            let written = writeln!(stdout, "{text}").and_then(|()| stdout.flush());
            if written.is_err() {
                std::process::exit(0); // the reader has seen enough (`| head`)
            }
        });
    }

    pub(super) fn data_json(&self, value: &impl Serialize) -> anyhow::Result<()> {
        self.data(&serde_json::to_string_pretty(value)?);
        Ok(())
    }

    /// A message for a person; left out where quiet.
    pub(super) fn message(&self, text: &str) {
        if !self.quiet {
            self.stderr(text);
        }
    }

    /// A message for those who asked for more.
    pub(super) fn detail(&self, text: &str) {
        if self.verbose > 0 {
            self.stderr(text);
        }
    }

    /// An error or a warning: shown always.
    pub(super) fn stderr(&self, text: &str) {
        self.bars.suspend(|| {
            // Nobody is left to tell if standard error is gone.
            let _ = writeln!(std::io::stderr().lock(), "{text}");
        });
    }

    pub(super) fn bars(&self) -> &MultiProgress {
        &self.bars
    }

    /// How many characters a line of data may have; `None` where a program reads it.
    #[expect(clippy::unused_self, reason = "what a line of data may hold is this type's to say")]
    pub(super) fn width(&self) -> Option<usize> {
        const NARROWEST: usize = 60; // below this, cutting leaves nothing to read
        const USUAL: usize = 160; // shells do not always tell; half a wide screen and more
        if !std::io::stdout().is_terminal() {
            return None;
        }
        let told = std::env::var("COLUMNS").ok().and_then(|columns| columns.parse().ok());
        Some(told.unwrap_or(USUAL).max(NARROWEST))
    }

    /// Shows the program's own log on standard error; its libraries' warnings only with -v.
    pub(super) fn start_logging(&self) {
        let (own, others) = match (self.quiet, self.verbose) {
            (true, _) => (LevelFilter::ERROR, LevelFilter::OFF),
            (false, 0) => (LevelFilter::WARN, LevelFilter::OFF),
            (false, 1) => (LevelFilter::INFO, LevelFilter::WARN),
            (false, _) => (LevelFilter::DEBUG, LevelFilter::INFO),
        };
        let targets = Targets::new().with_default(others).with_target("loopline", own);
        let lines = fmt::layer().with_writer(std::io::stderr).with_target(false).with_ansi(std::io::stderr().is_terminal());
        // Fails only if a subscriber is set already, as in tests.
        let _ = tracing_subscriber::registry().with(lines.with_filter(targets)).try_init();
    }
}

/// Shows help, the version or what was typed wrongly.
pub(super) fn usage(error: &clap::Error) -> ExitCode {
    let _ = error.print();
    if error.use_stderr() { ExitCode::from(failure::USER) } else { ExitCode::SUCCESS }
}
