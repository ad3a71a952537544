//! What can go wrong with a system.

use crate::base::{Blame, Diagnose};

#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConnectError {}

impl Diagnose for ConnectError {
    fn blame(&self) -> Blame {
        Blame::User
    }

    fn hint(&self) -> Option<String> {
        None
    }
}
