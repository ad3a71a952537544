//! What a plan, an apply and their kin tell the caller; all of it serialises.

use serde::{Deserialize, Serialize};

use crate::base::Row;
use crate::store::ChangeId;

/// What one plan of all writes found.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Plan {
    /// One for each (system, kind) that the project writes, in that order.
    pub writes: Vec<WriteReport>,
}

/// What one plan of one kind for one system found.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct WriteReport {
    pub system: String,
    /// Outbox model's name, without schema.
    pub kind: String,
    /// Rows that the write map wants.
    pub wanted: usize,
    /// Open changes by what they do, approved or not.
    pub inserts: usize,
    pub updates: usize,
    pub deletes: usize,
    /// Of these: waiting for a person.
    pub waiting: usize,
    /// Of these: approved, by a person or by the rule.
    pub approved: usize,
    /// Rows that already are as wanted.
    pub in_place: usize,
    /// Rows that differ but were taken over by a person (`editable` no longer holds, or the hub's own row is gone): left alone.
    pub taken_over: usize,
    /// Rows that differ but have a change under way whose outcome is not known yet.
    pub under_way: usize,
    /// Wishes that a person rejected or took back and that have not changed since: not planned again.
    pub declined: usize,
    /// Rows that cannot be written, with the reason of each.
    pub gaps: Vec<Gap>,
    /// Why nothing was planned (target not pulled since the last send, inputs too old, limits); `None` if the plan is good.
    pub held: Option<String>,
    /// The most frequent reasons of the open changes.
    pub top_reasons: Vec<ReasonCount>,
    /// Whether the last plan was kept because nothing it read has changed.
    pub kept: bool,
}

impl WriteReport {
    /// Open changes of this plan.
    pub fn changes(&self) -> usize {
        self.inserts + self.updates + self.deletes
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReasonCount {
    pub reason: String,
    pub count: usize,
}

/// A wanted row that cannot become a change.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Gap {
    pub key: Row,
    pub reason: GapReason,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum GapReason {
    /// The target has no such row, and this write does not insert.
    Missing,
    /// The target has a row under the hub's key that the ledger does not know as the hub's own.
    NotOwn,
    /// The connector does not allow this operation.
    NotAllowed,
}

impl std::fmt::Display for GapReason {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Missing => "the target has no such row, and this write does not insert",
            Self::NotOwn => "the target has a row under this key that the hub did not make",
            Self::NotAllowed => "the connector does not list this operation",
        })
    }
}

/// What an apply did.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Applied {
    pub settled: Settled,
    /// Approvals that were too old to act on.
    pub expired: usize,
    pub sent: usize,
    pub acknowledged: usize,
    pub conflicted: usize,
    pub failed: usize,
    /// Sent, but nobody knows what became of it: settled by the next apply or run.
    pub unknown: usize,
    /// (system, stream) pairs that were written and should be pulled again.
    pub written: Vec<(String, String)>,
    /// Systems that could not be written, with the reason.
    pub errors: Vec<(String, String)>,
}

/// What looking at the targets said about changes whose outcome was unknown.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Settled {
    pub acknowledged: usize,
    /// Not in the target: approved again, to be sent again.
    pub returned: usize,
    pub conflicted: usize,
    /// The target could not be asked.
    pub unknown: usize,
    pub errors: Vec<(String, String)>,
}

/// What an undo planned.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Undone {
    /// (change, the planned change that takes it back).
    pub planned: Vec<(ChangeId, ChangeId)>,
    pub refused: Vec<UndoRefused>,
}

#[derive(Debug, Clone, Serialize)]
pub struct UndoRefused {
    pub change: ChangeId,
    pub reason: String,
}
