//! Pipelines: when to run, what to pull, what to build, what to write.

use std::collections::BTreeMap;
use std::path::PathBuf;

use chrono_tz::Tz;

#[derive(Debug, Clone)]
pub struct Pipeline {
    pub name: String,
    pub file: PathBuf,
    pub schedule: Option<Schedule>,
    /// Systems to pull.
    pub pull: Vec<String>,
    /// Schemas (`scm`) or tables (`scm.net_requirements`) to build, with everything they need; contracts of what was pulled are implied.
    pub build: Vec<String>,
    /// Outbox model's name (without schema) → what may happen without asking.
    pub write: BTreeMap<String, WriteRule>,
}

#[derive(Debug, Clone)]
pub struct Schedule {
    /// Six fields, seconds first.
    pub cron: String,
    pub timezone: Tz,
    pub missed: Missed,
    pub overlap: Overlap,
}

/// What happens to runs whose time passed while the hub was down.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Missed {
    RunOnce,
    Skip,
}

/// What happens when a run is due while the last one of the same pipeline still runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Overlap {
    Skip,
    Queue,
}

/// `"auto"`, `"approve"`, `"off"`, or a table `{ mode = "auto", limits = { … } }`.
#[derive(Debug, Clone)]
pub struct WriteRule {
    pub mode: Mode,
    pub limits: Limits,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Deserialize, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// Approved by the rule itself, unless the row's `_mode` column says `approve`.
    Auto,
    Approve,
    Off,
}

/// Stops a runaway plan before anyone is asked: a plan that exceeds one is refused whole.
#[derive(Debug, Clone, Copy, serde::Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Limits {
    /// Most changes of one kind in one plan.
    pub rows: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { rows: 5_000 } // more than any plant decides in a day of one kind; a runaway model makes more
    }
}
