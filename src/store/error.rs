//! What can go wrong with tables and the control state.

use crate::base::{Blame, Diagnose};

#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {}

impl Diagnose for StoreError {
    fn blame(&self) -> Blame {
        Blame::Program
    }

    fn hint(&self) -> Option<String> {
        None
    }
}
