//! Approvals: a person, or a rule, agrees to changes as they were shown.

use chrono::TimeDelta;

use crate::base::time::Instant;
use crate::store::{ChangeId, ChangeState, Filter};

use super::{Writeback, WritebackError};

/// How long an approval may wait for its change to be sent. After a week the plant is not the one that the person had in mind.
const APPROVAL_DAYS: i64 = 7;

/// Which changes a person means.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Selection {
    All,
    /// All of one outbox model, by its name without schema.
    Kind(String),
    Ids(Vec<ChangeId>),
}

impl Selection {
    fn filter(&self, states: &[ChangeState]) -> Filter {
        let mut filter = Filter { states: Some(states.to_vec()), ..Filter::default() };
        match self {
            Self::All => {}
            Self::Kind(kind) => filter.kind = Some(kind.strip_prefix("outbox.").unwrap_or(kind).into()),
            Self::Ids(ids) => filter.ids = Some(ids.clone()),
        }
        filter
    }
}

impl Writeback<'_> {
    /// Approves the planned changes of `which`; `by` is the person's name. Returns how many moved (those already approved do not count).
    pub fn approve(&self, which: &Selection, by: &str) -> Result<usize, WritebackError> {
        self.decide(which, &[ChangeState::Planned], ChangeState::Approved, by)
    }

    /// Rejects planned and approved changes. The same wish is not planned again until what is wanted, or the row itself, differs.
    pub fn reject(&self, which: &Selection, by: &str) -> Result<usize, WritebackError> {
        self.decide(which, &[ChangeState::Planned, ChangeState::Approved], ChangeState::Rejected, by)
    }

    fn decide(&self, which: &Selection, from: &[ChangeState], to: ChangeState, by: &str) -> Result<usize, WritebackError> {
        let ids: Vec<ChangeId> = self.store.control.changes(&which.filter(from))?.iter().map(|change| change.id).collect();
        if ids.is_empty() {
            return Ok(0);
        }
        Ok(self.store.control.advance(&ids, from, to, Some(by), None)?)
    }

    /// Ends approvals that are too old to act on; returns how many. What is still wanted is planned anew by the next plan.
    pub fn expire(&self, now: Instant) -> Result<usize, WritebackError> {
        let approved = self.store.control.changes(&Selection::All.filter(&[ChangeState::Approved]))?;
        let limit = now - TimeDelta::days(APPROVAL_DAYS);
        let old: Vec<ChangeId> =
            approved.iter().filter(|change| change.approved_at.is_some_and(|at| at < limit)).map(|change| change.id).collect();
        if old.is_empty() {
            return Ok(0);
        }
        let detail = format!("approved more than {APPROVAL_DAYS} days ago");
        Ok(self.store.control.advance(&old, &[ChangeState::Approved], ChangeState::Expired, None, Some(&detail))?)
    }
}
