//! The proof: what a later pull shows of the changes that targets acknowledged.

use std::collections::BTreeSet;

use serde::Serialize;

use super::{Writeback, WritebackError};

/// What pulls said about acknowledged changes.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Confirmed {
    pub confirmed: usize,
    /// The target shows something else, or nothing.
    pub overridden: usize,
    /// Of these: the target shows the row as it was before.
    pub ignored: usize,
    /// Changes that these confirmations took back.
    pub undone: usize,
    /// (system, stream): an incremental pull did not show the change; only a pull of the whole table can tell.
    pub whole_needed: BTreeSet<(String, String)>,
}

impl Writeback<'_> {
    /// Closes every acknowledged change whose target was pulled after it was sent.
    pub async fn confirm(&self) -> Result<Confirmed, WritebackError> {
        todo!()
    }
}
