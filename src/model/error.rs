//! What can be wrong with a statement, or happen while it runs.

use crate::base::{Blame, Diagnose};

#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ModelError {}

impl Diagnose for ModelError {
    fn blame(&self) -> Blame {
        Blame::User
    }

    fn hint(&self) -> Option<String> {
        None
    }
}
