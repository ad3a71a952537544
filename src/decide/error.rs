//! What can be wrong with the input of a decision.

use crate::base::{Blame, Diagnose};

#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DecideError {}

impl Diagnose for DecideError {
    fn blame(&self) -> Blame {
        Blame::User
    }

    fn hint(&self) -> Option<String> {
        None
    }
}
