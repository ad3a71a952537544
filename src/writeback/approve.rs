//! Approvals: a person, or a rule, agrees to changes as they were shown.

use crate::base::time::Instant;
use crate::store::ChangeId;

use super::{Writeback, WritebackError};

/// Which changes a person means.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Selection {
    All,
    /// All of one outbox model, by its name without schema.
    Kind(String),
    Ids(Vec<ChangeId>),
}

impl Writeback<'_> {
    /// Approves the planned changes of `which`; `by` is the person's name. Returns how many moved (those already approved do not count).
    pub fn approve(&self, _which: &Selection, _by: &str) -> Result<usize, WritebackError> {
        todo!()
    }

    /// Rejects planned and approved changes. The same wish is planned again by the next run as long as it is wanted.
    pub fn reject(&self, _which: &Selection, _by: &str) -> Result<usize, WritebackError> {
        todo!()
    }

    /// Ends approvals that are too old to act on; returns how many.
    pub fn expire(&self, _now: Instant) -> Result<usize, WritebackError> {
        todo!()
    }
}
