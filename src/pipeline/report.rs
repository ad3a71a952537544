//! What a run did, for people and machines: every type serialises.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::base::RunId;
use crate::base::time::Instant;
use crate::model::ModelRun;
use crate::project::{PullMode, Severity, Stream, System};
use crate::store::{PullKind, RangeComparison, RunOutcome};
use crate::writeback::{Applied, Confirmed, Settled, WriteReport};

use super::progress::Stage;

/// One run of a pipeline.
#[derive(Debug, Clone, Serialize)]
pub struct RunReport {
    pub run: RunId,
    pub pipeline: String,
    /// The instant that every decision of this run saw.
    pub as_of: Instant,
    pub outcome: RunOutcome,
    /// One line for a person.
    pub message: String,
    /// Whether the run published its tables.
    pub cut: bool,
    /// Systems that are older than they should be.
    pub stale: Vec<String>,
    pub pull: PullReport,
    pub models: Vec<ModelRun>,
    pub checks: Vec<CheckReport>,
    pub writes: Vec<WriteReport>,
    pub summary: WriteSummary,
    pub stages: Vec<StageTime>,
}

/// What became of changes during a run, over all kinds.
#[derive(Debug, Clone, Default, Serialize)]
pub struct WriteSummary {
    pub settled: Settled,
    pub applied: Applied,
    pub confirmed: Confirmed,
    /// Planned changes that wait for a person.
    pub waiting: usize,
}

#[derive(Debug, Clone, Default, Serialize)]
pub struct PullReport {
    pub systems: Vec<SystemPull>,
}

#[derive(Debug, Clone, Serialize)]
pub struct SystemPull {
    pub system: String,
    pub streams: Vec<StreamPull>,
    /// Why it was not pulled although nothing is wrong (the hours in which it may be).
    pub skipped: Option<String>,
    /// The system could not be opened; `streams` holds those that were pulled before.
    pub error: Option<String>,
    /// What to do about `error`.
    pub hint: Option<String>,
    pub seconds: f64,
}

#[derive(Debug, Clone, Serialize)]
pub struct StreamPull {
    pub system: String,
    pub stream: String,
    pub kind: PullKind,
    pub rows_read: u64,
    /// Bytes of these rows in memory.
    pub bytes_read: u64,
    pub inserted: u64,
    pub updated: u64,
    pub deleted: u64,
    /// Rows, and single values of other rows, that the stream's contract left out; they are in `raw.<system>__<stream>__discarded`.
    pub discarded_rows: u64,
    pub discarded_values: u64,
    /// Whether every column of the whole table was read.
    pub whole: bool,
    /// How often it was tried, the last time included.
    pub tries: u32,
    pub error: Option<String>,
    pub hint: Option<String>,
    pub seconds: f64,
}

/// What a verification of a system found.
#[derive(Debug, Clone, Serialize)]
pub struct VerifyReport {
    pub system: String,
    /// Whether each stream was pulled first, in the snapshot that was compared.
    pub pulled_first: bool,
    pub streams: Vec<StreamCheck>,
    /// The system could not be opened.
    pub error: Option<String>,
    pub hint: Option<String>,
}

/// The rows of a source beside those of its table.
#[derive(Debug, Clone, Serialize)]
pub struct StreamCheck {
    pub system: String,
    pub stream: String,
    /// When the snapshot of the last pull was opened; what changed in the source after it differs.
    pub pulled_at: Option<Instant>,
    pub source_rows: u64,
    pub table_rows: u64,
    /// Sum of 128-bit hashes of all rows, in hexadecimal.
    pub source_checksum: String,
    pub table_checksum: String,
    /// Rows that the table lacks, that differ, that the source lacks.
    pub absent: u64,
    pub differing: u64,
    pub gone: u64,
    /// Of a stream of files, whose rows are not compared: files of the listing that were not taken.
    pub untaken_files: Option<u64>,
    /// Whether anything is wrong; of a stream that only grows, `gone` rows are not.
    pub differs: bool,
    /// Ranges of the key that differ.
    pub ranges: Vec<RangeComparison>,
    /// What pulling again did about it.
    pub repaired: Option<StreamPull>,
    pub rows_read: u64,
    pub bytes_read: u64,
    pub tries: u32,
    pub error: Option<String>,
    pub hint: Option<String>,
    pub seconds: f64,
}

impl PullReport {
    /// Whether every stream of every system was pulled, as far as its hours allow.
    pub fn complete(&self) -> bool {
        self.systems.iter().all(|system| system.error.is_none() && system.streams.iter().all(|stream| stream.error.is_none()))
    }

    /// One line for a person.
    pub fn summary(&self) -> String {
        let streams = || self.systems.iter().flat_map(|system| &system.streams);
        let systems = |is: fn(&SystemPull) -> bool| self.systems.iter().filter(|system| is(system)).count();
        let changed: u64 = streams().map(|stream| stream.inserted + stream.updated + stream.deleted).sum();
        let failed = streams().filter(|stream| stream.error.is_some()).count();
        let mut text = format!("{} streams pulled, {changed} rows changed", streams().count() - failed);
        let also = [
            (failed, "streams failed"),
            (systems(|system| system.error.is_some()), "systems not reached"),
            (systems(|system| system.skipped.is_some()), "systems left alone at this hour"),
        ];
        for (number, what) in also.iter().filter(|(number, _)| *number > 0) {
            text += &format!(", {number} {what}");
        }
        text
    }

    /// Systems that were not pulled completely, each with its first error.
    pub fn incomplete(&self) -> BTreeMap<&str, &str> {
        self.systems.iter().filter_map(SystemPull::first_error).collect()
    }

    /// Adds a later pull of the same run.
    pub(super) fn add(&mut self, later: Self) {
        for system in later.systems {
            match self.systems.iter_mut().find(|known| known.system == system.system) {
                Some(known) => {
                    known.seconds += system.seconds;
                    known.error = system.error.or_else(|| known.error.take());
                    known.streams.extend(system.streams);
                }
                None => self.systems.push(system),
            }
        }
    }
}

impl SystemPull {
    pub(super) fn new(system: &System) -> Self {
        Self { system: system.name.clone(), streams: Vec::new(), skipped: None, error: None, hint: None, seconds: 0.0 }
    }

    /// What the system's own error, its streams' first one, or its hours say against its rows being of now.
    fn first_error(&self) -> Option<(&str, &str)> {
        let of_stream = || self.streams.iter().find_map(|stream| stream.error.as_deref());
        Some((self.system.as_str(), self.error.as_deref().or_else(of_stream).or(self.skipped.as_deref())?))
    }
}

impl StreamPull {
    pub(super) fn of(system: &System, stream: &Stream) -> Self {
        Self {
            system: system.name.clone(),
            stream: stream.name.clone(),
            kind: match stream.mode {
                PullMode::Full => PullKind::Full,
                PullMode::Incremental => PullKind::Incremental,
                PullMode::Append => PullKind::Append,
            },
            rows_read: 0,
            bytes_read: 0,
            inserted: 0,
            updated: 0,
            deleted: 0,
            discarded_rows: 0,
            discarded_values: 0,
            whole: false,
            tries: 0,
            error: None,
            hint: None,
            seconds: 0.0,
        }
    }

    pub(super) fn failed(system: &System, stream: &Stream, error: &str) -> Self {
        Self { error: Some(error.into()), ..Self::of(system, stream) }
    }
}

/// A check that did not hold.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct CheckReport {
    /// Its last run.
    pub run: RunId,
    pub table: String,
    pub check: String,
    pub severity: Severity,
    /// How many rows fail; 1 where the check is about the table as a whole.
    pub rows: u64,
    /// What was found, in words: `3 rows`, `there are 70, before 100`.
    pub found: String,
    /// The table that keeps failing rows, at most a thousand: `checks.scm__stock__quantity_0`.
    pub kept: String,
    /// The first failing rows as a text table.
    pub sample: String,
}

#[derive(Debug, Clone, Copy, Serialize)]
pub struct StageTime {
    pub stage: Stage,
    pub seconds: f64,
}
