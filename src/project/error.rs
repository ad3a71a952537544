//! What can be wrong with a project's files.

use std::path::PathBuf;

use crate::base::{Blame, Diagnose};

#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ProjectError {
    #[error("environment variable {name} is not set")]
    SecretEnv { name: String },
    #[error("cannot read {}", path.display())]
    Read { path: PathBuf, source: std::io::Error },
    /// Anything wrong at one place of one file.
    #[error("{}:{line}: {what}", path.display())]
    At { path: PathBuf, line: usize, what: String, hint: Option<String> },
}

impl Diagnose for ProjectError {
    fn blame(&self) -> Blame {
        Blame::User
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::SecretEnv { name } => Some(format!("export {name}, or name a file in the system's `secret`")),
            Self::Read { .. } => None,
            Self::At { hint, .. } => hint.clone(),
        }
    }
}
