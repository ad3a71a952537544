//! Starting again with a control state that was lost or is older than the tables.

use serde::Serialize;

use crate::store::Cut;

use super::{Settled, Writeback, WritebackError};

/// What a recovery found.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Recovered {
    pub settled: Settled,
    /// Rows of the hub's own that the ledger did not know.
    pub adopted: usize,
    /// (system, reason): could not be looked at; the refusal to write stays until they can.
    pub errors: Vec<(String, String)>,
}

impl Writeback<'_> {
    /// Looks at the targets for rows under the hub's keys, adopts those that the ledger lacks, settles what is unknown.
    pub async fn recover(&self, _cut: &Cut) -> Result<Recovered, WritebackError> {
        todo!()
    }
}
