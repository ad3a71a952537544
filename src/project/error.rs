//! What can be wrong with a project's files.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use crate::base::{Blame, Diagnose};

#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ProjectError {
    #[error("environment variable {name} is not set")]
    SecretEnv { name: String },
    #[error("\"{name}\" is no name for an environment: lower case letters, digits and _")]
    EnvironmentName { name: String, near: String },
    #[error("cannot read {}", path.display())]
    Read { path: PathBuf, source: std::io::Error },
    /// Anything wrong at one place of one file.
    #[error("{}:{line}: {what}", path.display())]
    At { path: PathBuf, line: usize, what: String, hint: Option<String> },
}

impl ProjectError {
    /// File and line, to sort by.
    pub(super) fn place(&self) -> (&Path, usize) {
        match self {
            Self::SecretEnv { .. } | Self::EnvironmentName { .. } => (Path::new(""), 0),
            Self::Read { path, .. } => (path, 0),
            Self::At { path, line, .. } => (path, *line),
        }
    }
}

impl Diagnose for ProjectError {
    fn blame(&self) -> Blame {
        Blame::User
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::SecretEnv { name } => Some(format!("export {name}, or name a file in the system's `secret`")),
            Self::EnvironmentName { near, .. } => Some(format!("for example --env {near}")),
            Self::Read { path, source } if source.kind() == ErrorKind::NotFound => Some(match path.ends_with("loopline.toml") {
                true => "run `loopline init` here, or name the project's folder with --project".into(),
                false => "make the file, or remove what names it".into(),
            }),
            Self::Read { source, .. } if source.kind() == ErrorKind::PermissionDenied => {
                Some("give the user who runs loopline the right to read it".into())
            }
            Self::Read { .. } => None,
            Self::At { hint, .. } => hint.clone(),
        }
    }
}
