//! Finding out what became of changes that were sent without an answer.

use super::{Settled, Writeback, WritebackError};

impl Writeback<'_> {
    /// Looks at the target of every change in state `sent`.
    pub async fn settle(&self) -> Result<Settled, WritebackError> {
        todo!()
    }
}
