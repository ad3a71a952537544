//! From SQL to tables: dependency graph, build, checks. The only module that holds a DataFusion session.
//!
//! Nodes of the graph, in the order in which they are built: `mapped.<schema>__<contract>` (views: the union of all maps of a contract),
//! `xref.*`, contracts (identity resolved), models, `write.<system>__<outbox>` (write maps).

mod build;
mod check;
mod checked;
mod contract;
mod deviation;
mod engine;
mod error;
mod evaluate;
mod explain;
mod fingerprint;
mod function;
mod graph;
mod incremental;
mod lineage;
mod message;
mod meter;
mod order;
mod past;
mod plan;
mod preview;
mod replay;
mod runs_table;
mod select;
mod session;
mod statement;
mod statistics;
mod table;
mod testing;
#[cfg(test)]
mod tests;
mod types;
mod what_if;

use std::collections::{BTreeMap, BTreeSet};

use arrow::array::RecordBatch;

use crate::base::time::Instant;
use crate::base::{RunId, TableName};
use crate::store::{Staged, Store, TableVersion};

pub use build::build;
pub use deviation::Deviation;
pub use error::ModelError;
pub use evaluate::evaluate;
pub use explain::{ExplainRequest, Explanation, Operator, explain};
pub use fingerprint::Cause;
pub use graph::{Graph, Node, NodeKind};
pub use lineage::{Branch, ColumnLineage, ColumnName, How, Lineage, TableKind, TableLineage, Way};
pub use preview::{Action, TablePreview, Versions, changed, preview};
pub use replay::{ReplayOutcome, Replayed, has_same_definition, replay, why_it_differs};
pub use runs_table::model_runs_batch;
pub use select::select;
pub use session::Reader;
pub use testing::{Difference, RowDifference, TestOutcome, TestProblem, TestRun, Tests};
pub use what_if::{WhatIf, what_if};

/// What a build reads and when.
pub struct BuildContext<'a> {
    pub store: &'a Store,
    pub run: RunId,
    pub as_of: Instant,
    /// Pinned versions of all `raw.*` tables and of `system.changes`.
    pub pinned: BTreeMap<TableName, TableVersion>,
    /// Current versions of all contracts and models (the last cut's), to skip what cannot have changed.
    pub current: BTreeMap<TableName, TableVersion>,
    pub memory_limit_bytes: usize,
    /// Builds every wanted node whole, also those whose inputs did not change.
    pub full: bool,
    pub beside: Beside<'a>,
}

/// Tables elsewhere that a build may use instead of making its own: those with the same fingerprint.
#[derive(Default)]
pub enum Beside<'a> {
    #[default]
    Nothing,
    /// A build of an environment: what is as in production is read from there.
    Production(BTreeMap<TableName, TableVersion>),
    /// A promotion: what the environment of this name tested is copied.
    Tested(&'a str, BTreeMap<TableName, TableVersion>),
}

impl Beside<'_> {
    /// Production's version, under an environment.
    fn production(&self, table: &TableName) -> Option<&TableVersion> {
        match self {
            Self::Production(versions) => versions.get(table),
            Self::Nothing | Self::Tested(..) => None,
        }
    }
}

/// What a build made; nothing of it is visible before `Store::publish`.
#[derive(Debug)]
pub struct Built {
    pub staged: Vec<Staged>,
    /// Tables that stay at their version.
    pub unchanged: BTreeMap<TableName, u64>,
    /// Of an environment: tables that are as in production.
    pub as_production: BTreeSet<TableName>,
    pub models: Vec<ModelRun>,
    pub failed_checks: Vec<FailedCheck>,
}

/// What happened to one node.
#[derive(Debug, Clone, serde::Serialize)]
pub struct ModelRun {
    pub table: String,
    pub outcome: ModelOutcome,
    /// Why it was built or skipped: `statement changed`, `input erp.items changed`, `nothing changed`.
    pub reason: String,
    pub rows: u64,
    pub seconds: f64,
    /// What was written, in files.
    pub bytes: u64,
    /// What did not fit into memory and went to disk.
    pub spilled_bytes: u64,
    /// The most that the statement held of the memory pool.
    pub peak_memory_bytes: u64,
    /// How often it was run: again after a fault that may pass, or when it did not fit into memory.
    pub tries: u32,
}

impl ModelRun {
    pub(crate) fn new(table: &TableName, outcome: ModelOutcome, reason: String) -> Self {
        Self {
            table: table.to_string(),
            outcome,
            reason,
            rows: 0,
            seconds: 0.0,
            bytes: 0,
            spilled_bytes: 0,
            peak_memory_bytes: 0,
            tries: 0,
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum ModelOutcome {
    Built,
    /// Built, and its rows are the same as before: what reads it need not be built.
    Same,
    Skipped,
    /// Taken over from the environment that it was tested in.
    Copied,
    /// It could not be built; the reason says why.
    Failed,
}

/// A check that did not hold.
#[derive(Debug, Clone)]
pub struct FailedCheck {
    pub table: TableName,
    pub check: String,
    pub severity: crate::project::Severity,
    /// Failing rows; 1 where the check is about the table as a whole.
    pub rows: u64,
    /// What was found, in words: `3 rows`, `there are 70, before 100`.
    pub found: String,
    /// The table outside of any cut in which failing rows are kept.
    pub kept: TableName,
    /// Failing rows, at most a thousand.
    pub sample: RecordBatch,
}

/// Called as a build goes on, for progress bars.
pub trait Progress: Send + Sync {
    /// A table is not skipped: it is being built from now on.
    fn started(&self, _table: &TableName) {}
    /// A table is done, or failed; `done` of `total` are.
    fn model(&self, run: &ModelRun, done: usize, total: usize);
}

/// Shows nothing.
struct Quiet;

impl Progress for Quiet {
    fn model(&self, _: &ModelRun, _: usize, _: usize) {}
}
