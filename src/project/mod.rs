//! Reads `loopline.toml`, connectors, pipelines and SQL headers into one checked [`Project`].
//!
//! Reading has two steps: files and TOML sections with the line of each value (private), then [`Project::load`] resolves them; only resolved types
//! leave this module. Nothing here opens a connection or resolves a table inside a statement: `model` does the latter.

mod check;
mod connector;
mod contract;
mod environment;
mod error;
mod files;
mod load;
mod model;
mod names;
mod pipeline;
mod problems;
mod schedule;
mod schema;
mod section;
mod selector;
mod settings;
mod source_files;
mod stream;
#[cfg(test)]
mod tests;
mod text;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use chrono_tz::Tz;

use crate::base::{Secret, TableName};

pub use check::{Check, CheckKind, Grace, Severity};
pub use connector::{Connector, Protocol, Write};
pub use contract::{Column, Contract};
pub use environment::{Environment, EnvironmentSettings};
pub use error::ProjectError;
pub use model::{Grain, Incremental, Kpi, Model, SqlFile};
pub use pipeline::{Limits, Mode, Pipeline, WriteRule};
pub use schedule::{Cron, Missed, Overlap, Retries, Schedule};
pub use schema::{SCHEMAS, schema};
pub use selector::{Selector, SelectorProblem, Tables as SelectedTables};
pub use source_files::bucket_options;
pub use stream::{ColumnType, Cursor, CursorKind, Files, Format, Policy, PullMode, Removals, Stream, StreamContract};

/// Everything the user wrote, checked and resolved.
#[derive(Debug)]
pub struct Project {
    /// The folder that holds `loopline.toml`; every other path is relative to it.
    pub root: PathBuf,
    pub strategy: Strategy,
    /// Where tables live: a path relative to `root`, or a URL (`s3://…`).
    pub store: String,
    /// Where the control state lives (SQLite file). Defaults to `control.sqlite` in a local store, `.loopline/control.sqlite` otherwise.
    pub control: PathBuf,
    /// A file with the plant's own current instant (RFC 3339), for a simulated plant; `None` means the wall clock.
    pub clock_file: Option<PathBuf>,
    /// The pool that everything that holds rows draws from, in bytes.
    pub memory_limit_bytes: usize,
    pub retention: Retention,
    /// For each contract filled by several systems and kept by one: contract → system. Others fill reconciliation only.
    pub authority: BTreeMap<TableName, String>,
    pub systems: BTreeMap<String, System>,
    pub contracts: BTreeMap<TableName, Contract>,
    pub models: BTreeMap<TableName, Model>,
    /// Queries of failing rows beside contracts and models, besides the checks of models' headers.
    pub checks: BTreeMap<TableName, Vec<Check>>,
    /// Files of unit tests by the table that they test; they are read when they are run. The table may not exist.
    pub tests: BTreeMap<TableName, PathBuf>,
    pub pipelines: BTreeMap<String, Pipeline>,
    /// What `[env.<name>]` says of environments.
    pub environments: BTreeMap<String, EnvironmentSettings>,
    /// `None` is production; see [`Project::in_environment`].
    pub environment: Option<Environment>,
}

/// How long versions of tables are kept, so that `as of RUN` can be replayed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Retention {
    /// Runs that sent nothing.
    pub runs: Duration,
    /// Runs behind a change that was sent.
    pub sent: Duration,
}

impl Default for Retention {
    /// A week to look at what a run did; more than a year for what was decided and sent, so that it can be compared with last year's.
    fn default() -> Self {
        const DAY_SECONDS: u64 = 86_400;
        Self { runs: Duration::from_secs(7 * DAY_SECONDS), sent: Duration::from_secs(400 * DAY_SECONDS) }
    }
}

/// Which kind of firm this is; picks what matters first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Deserialize, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Strategy {
    ProjectBased,
    OrderDriven,
    Integrator,
}

/// One running application of the firm.
#[derive(Debug, Clone)]
pub struct System {
    pub name: String,
    pub connector: Arc<Connector>,
    /// Address without any secret: `sqlite:crm.db` (path relative to the project), `postgres://user@host:port/database?schema=x`,
    /// `mysql://user@host:port/database`.
    pub url: String,
    pub secret: Option<SecretSource>,
    /// Zone of the source's timestamps without zone; the system's own wins over the connector's.
    pub time_zone: Option<Tz>,
    /// How old this system's last pull may be when something is decided or written from it.
    pub max_age: Duration,
    pub stale: Stale,
    pub load: Load,
}

/// What a pull may ask of a system.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Load {
    /// Connections that one pull may use at a time.
    pub connections: usize,
    /// How long one statement may run before the source stops it; `None` leaves it to the source.
    pub statement_timeout: Option<Duration>,
    /// Hours of the day (in the system's time zone, UTC without one) in which it may be pulled: from, to (exclusive); over midnight where `to`
    /// is the smaller one.
    pub hours: Option<(u32, u32)>,
    /// How often a reading is tried again after a fault that may pass.
    pub retries: u32,
    /// How long the pull of one stream may take, all tries together: a source that never ends must not hold the others up for ever.
    pub time_limit: Duration,
}

impl Default for Load {
    /// Two connections keep two cores busy and hardly disturb anyone; twelve hours read any table of a plant over night.
    fn default() -> Self {
        Self { connections: 2, statement_timeout: None, hours: None, retries: 3, time_limit: Duration::from_secs(12 * 3_600) }
    }
}

/// What to do when a system's last pull is older than its `max_age`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Stale {
    Fail,
    UseLast,
}

/// Where a secret comes from. It is read when a connection is opened, never kept in the project.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SecretSource {
    Env(String),
    File(PathBuf),
}

impl SecretSource {
    /// Reads the secret now; trailing line ends of a file are cut.
    pub fn read(&self) -> Result<Secret, ProjectError> {
        match self {
            Self::Env(name) => std::env::var(name).map(Secret::new).map_err(|_| ProjectError::SecretEnv { name: name.clone() }),
            Self::File(path) => std::fs::read_to_string(path)
                .map(|text| Secret::new(text.trim_end_matches(['\r', '\n'])))
                .map_err(|source| ProjectError::Read { path: path.clone(), source }),
        }
    }
}
