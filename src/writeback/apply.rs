//! Sending approved changes.

use crate::base::time::Instant;

use super::{Applied, Writeback, WritebackError};

impl Writeback<'_> {
    /// Settles what is unknown, then sends every approved change. A system that cannot be reached does not stop the others.
    pub async fn apply(&self, _now: Instant) -> Result<Applied, WritebackError> {
        todo!()
    }
}
