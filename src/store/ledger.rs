//! The ledger: the durable record of every change and each step of its life.
//!
//! ```text
//! planned ─► approved ─► sent ─► acknowledged ─► confirmed ─► undone
//!    │          │          ├─► conflicted          └─► overridden
//!    ├─► rejected          └─► failed
//!    ├─► superseded (a newer plan wants something else)
//!    └─► expired
//! ```
//! `sent` is recorded before anything is sent; a change found in `sent` has an unknown outcome and is settled by looking at the target.

use crate::base::RunId;
use crate::base::time::Instant;
use crate::base::RowChange;

use super::{Control, StoreError};

/// Number of a change, ascending in a control state.
pub type ChangeId = i64;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ChangeState {
    Planned,
    Approved,
    Sent,
    Acknowledged,
    Confirmed,
    Conflicted,
    Failed,
    Overridden,
    Rejected,
    Superseded,
    Expired,
    Undone,
}

impl ChangeState {
    /// Sent or acknowledged, not yet seen in a pull: counts as being in the target.
    pub fn in_flight(self) -> bool {
        matches!(self, Self::Sent | Self::Acknowledged)
    }

    /// Nothing more will happen to it, undo apart.
    pub fn closed(self) -> bool {
        !matches!(self, Self::Planned | Self::Approved) && !self.in_flight()
    }
}

/// A change that a plan wants.
#[derive(Debug, Clone)]
pub struct NewChange {
    pub run: RunId,
    pub system: String,
    /// Outbox model's name, without schema.
    pub kind: String,
    pub row: RowChange,
    /// The outbox row's own `_reason`: why a person should agree.
    pub reason: String,
    /// SHA-256 over system, table, operation, key, before and after: what an approval names.
    pub hash: String,
    /// [`ChangeState::Planned`], or [`ChangeState::Approved`] where a rule approves by itself.
    pub state: ChangeState,
}

/// A change as the ledger has it.
#[derive(Debug, Clone, serde::Serialize)]
pub struct Change {
    pub id: ChangeId,
    pub run: RunId,
    pub system: String,
    pub kind: String,
    pub row: RowChange,
    pub reason: String,
    pub hash: String,
    pub state: ChangeState,
    /// Who or what approved it (`rule`, a user's name).
    pub approved_by: Option<String>,
    pub planned_at: Instant,
    pub approved_at: Option<Instant>,
    pub sent_at: Option<Instant>,
    /// When it was confirmed, overridden, or otherwise closed.
    pub closed_at: Option<Instant>,
    /// What the target said: the conflicting image, the refusal, the overriding value.
    pub detail: Option<String>,
    /// The change that this one takes back.
    pub undoes: Option<ChangeId>,
}

/// One step of a change's life.
#[derive(Debug, Clone, serde::Serialize)]
pub struct ChangeEvent {
    pub change: ChangeId,
    pub state: ChangeState,
    pub at: Instant,
    pub by: Option<String>,
    pub detail: Option<String>,
}

/// Which changes to list; `None` means any.
#[derive(Debug, Clone, Default)]
pub struct Filter {
    pub states: Option<Vec<ChangeState>>,
    pub system: Option<String>,
    pub kind: Option<String>,
    pub ids: Option<Vec<ChangeId>>,
    pub limit: Option<usize>,
}

impl Control {
    /// Replaces the open plan of `system` and `kind` by `wanted`, in one transaction: planned and approved changes whose hash is wanted again keep their
    /// state and id, the others become superseded, new ones are added. Returns the changes that are now planned or approved.
    pub fn replan(&self, _system: &str, _kind: &str, _wanted: Vec<NewChange>) -> Result<Vec<Change>, StoreError> {
        todo!()
    }

    /// Moves changes that are in one of `from` to `to` and records the event; returns how many moved. Durable when it returns.
    pub fn advance(&self, _ids: &[ChangeId], _from: &[ChangeState], _to: ChangeState, _by: Option<&str>, _detail: Option<&str>) -> Result<usize, StoreError> {
        todo!()
    }

    /// Adds one change outside a plan (an undo).
    pub fn add_change(&self, _change: NewChange, _undoes: Option<ChangeId>) -> Result<ChangeId, StoreError> {
        todo!()
    }

    /// Ascending by id.
    pub fn changes(&self, _filter: &Filter) -> Result<Vec<Change>, StoreError> {
        todo!()
    }

    /// Every step of these changes, ascending by time.
    pub fn events(&self, _ids: &[ChangeId]) -> Result<Vec<ChangeEvent>, StoreError> {
        todo!()
    }

    /// Whether the hub itself inserted the row with this key (and it was not undone): only such rows may be updated or deleted by a write with a hub key.
    pub fn own_keys(&self, _system: &str, _kind: &str) -> Result<Vec<crate::base::Row>, StoreError> {
        todo!()
    }
}
