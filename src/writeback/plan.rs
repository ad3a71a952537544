//! Plans: what the targets lack, as changes in the ledger.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use crate::base::time::Instant;
use crate::base::{Operation, Row, RunId, TableName};
use crate::project::{Mode, WriteRule};
use crate::store::Cut;

use super::{Plan, WriteReport, Writeback, WritebackError};

/// What to plan from, and by whose rules.
pub struct PlanRequest<'a> {
    pub run: RunId,
    pub cut: &'a Cut,
    /// The pipeline's rules by kind; kinds without a rule are not planned.
    pub rules: &'a BTreeMap<String, WriteRule>,
    /// `write.*` table → systems whose pulled rows it depends on; all must be younger than their `max_age`.
    pub inputs: &'a BTreeMap<TableName, BTreeSet<String>>,
    /// The wall clock.
    pub now: Instant,
}

/// What a plan would hold, without touching the ledger.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Preview {
    pub writes: Vec<WriteReport>,
    pub differences: Vec<Difference>,
}

/// One change that a plan would hold.
#[derive(Debug, Clone, Serialize)]
pub struct Difference {
    pub system: String,
    pub kind: String,
    pub operation: Operation,
    pub key: Row,
    pub before: Option<Row>,
    pub after: Option<Row>,
    pub reason: String,
    /// Whether the rule would approve it by itself.
    pub by_rule: bool,
}

impl Writeback<'_> {
    /// Replaces the open plan of every kind that has a rule. A kind that cannot be planned now (see [`WriteReport::held`]) keeps its open plan.
    pub async fn plan(&self, _request: &PlanRequest<'_>) -> Result<Plan, WritebackError> {
        let _ = Mode::Off;
        todo!()
    }

    /// What [`Writeback::plan`] would find; changes nothing.
    pub async fn preview(&self, _request: &PlanRequest<'_>) -> Result<Preview, WritebackError> {
        todo!()
    }
}
