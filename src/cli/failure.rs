//! What happens when a command fails: `error: …`, its causes, `hint: …`, and the exit code.

use std::error::Error;
use std::net::SocketAddr;
use std::process::ExitCode;

use crate::base::{Blame, Diagnose};
use crate::connect::ConnectError;
use crate::demo::DemoError;
use crate::model::ModelError;
use crate::pipeline::PipelineError;
use crate::project::ProjectError;
use crate::serve::ServeError;
use crate::store::StoreError;
use crate::writeback::WritebackError;

use super::output::Output;

/// Exit code: the user's data, configuration, or a check that failed.
pub(super) const USER: u8 = 1;
/// Exit code: a fault of the program.
pub(super) const PROGRAM: u8 = 2;

/// What only the command line can find wrong.
#[derive(Debug, thiserror::Error)]
pub(super) enum CliError {
    #[error("{what}")]
    Usage { what: String, hint: String },
    #[error("cannot {what}")]
    File { what: String, source: std::io::Error },
    #[error("cannot listen on {bind}")]
    Listen { bind: SocketAddr, source: std::io::Error },
    /// Several things at once, each with its own hint.
    #[error("{} errors", .0.len())]
    Several(Vec<Box<dyn Diagnose>>),
}

impl CliError {
    pub(super) fn usage(what: impl Into<String>, hint: impl Into<String>) -> Self {
        Self::Usage { what: what.into(), hint: hint.into() }
    }

    pub(super) fn several<E: Diagnose>(errors: Vec<E>) -> Self {
        Self::Several(errors.into_iter().map(|error| Box::new(error) as Box<dyn Diagnose>).collect())
    }
}

impl Diagnose for CliError {
    fn blame(&self) -> Blame {
        match self {
            Self::Several(errors) if errors.iter().any(|error| error.blame() == Blame::Program) => Blame::Program,
            _ => Blame::User,
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::Usage { hint, .. } => Some(hint.clone()),
            Self::Listen { .. } => Some("name another address or port with --bind".into()),
            Self::File { .. } | Self::Several(_) => None,
        }
    }
}

/// The error as one of the program's own types.
fn diagnose(error: &anyhow::Error) -> Option<&dyn Diagnose> {
    macro_rules! first_of {
        ($($kind:ty),*) => {
            error.chain().find_map(|cause| {
                None$(.or_else(|| cause.downcast_ref::<$kind>().map(|error| error as &dyn Diagnose)))*
            })
        };
    }
    first_of!(CliError, ProjectError, PipelineError, WritebackError, ModelError, StoreError, ConnectError, ServeError, DemoError)
}

/// Shows the error and says how to exit.
pub(super) fn show(error: &anyhow::Error, output: &Output) -> ExitCode {
    if let Some(CliError::Several(errors)) = error.downcast_ref() {
        for error in errors {
            output.stderr(&text(error.as_ref(), error.hint()));
        }
        if errors.len() > 1 {
            output.stderr(&format!("{} errors", errors.len()));
        }
    } else if let Some(PipelineError::Models(errors)) = error.downcast_ref() {
        for error in errors {
            output.stderr(&text(error, error.hint()));
        }
    } else {
        let diagnosis = diagnose(error);
        output.stderr(&text(error.as_ref(), diagnosis.and_then(Diagnose::hint)));
    }
    match diagnose(error).map(Diagnose::blame) {
        Some(Blame::User) => ExitCode::from(USER),
        Some(Blame::Program) | None => ExitCode::from(PROGRAM),
    }
}

/// `error: …`, one line for each cause that says something new, `hint: …`.
pub(super) fn text(error: &dyn Error, hint: Option<String>) -> String {
    const CAUSES_MAX: usize = 20; // a chain of causes may be circular
    let mut said = error.to_string();
    let mut text = format!("error: {said}");
    let mut cause = error.source();
    for _ in 0..CAUSES_MAX {
        let Some(inner) = cause else { break };
        let line = inner.to_string();
        if !said.contains(&line) {
            text.push_str("\n  caused by: ");
            text.push_str(&line);
            said = line;
        }
        cause = inner.source();
    }
    if let Some(hint) = hint {
        text.push_str("\nhint: ");
        text.push_str(&hint);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn causes_are_shown_once_and_the_hint_last() {
        let io = std::io::Error::other("disk is full");
        let error = CliError::File { what: "write loopline.toml".into(), source: io };
        assert_eq!(
            text(&error, Some("make room".into())),
            "error: cannot write loopline.toml\n  caused by: disk is full\nhint: make room"
        );
    }
}
