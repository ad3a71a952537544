//! Taking confirmed changes back, as ordinary changes.

use crate::base::RunId;
use crate::store::ChangeId;

use super::{Undone, Writeback, WritebackError};

impl Writeback<'_> {
    /// Plans the reverse of each of `ids`; a person approves it like any other change. An undone wish is not planned again until what is wanted differs.
    pub async fn undo(&self, _run: RunId, _ids: &[ChangeId], _by: &str) -> Result<Undone, WritebackError> {
        todo!()
    }
}
