//! What stops a run before it can make a report.

use std::path::PathBuf;

use crate::base::{Blame, Diagnose};
use crate::model::ModelError;
use crate::store::StoreError;
use crate::writeback::WritebackError;

#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PipelineError {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Writeback(#[from] WritebackError),
    /// One statement; with several wrong, the first of them.
    #[error(transparent)]
    Model(#[from] ModelError),
    #[error(transparent)]
    Decide(#[from] crate::decide::DecideError),
    /// Everything that is wrong with the project's statements.
    #[error("{}", .0.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"))]
    Models(Vec<ModelError>),
    #[error("there is no {what} \"{name}\"")]
    Unknown { what: &'static str, name: String, hint: Option<String> },
    #[error("cannot read the clock file {}: {what}", path.display())]
    Clock { path: PathBuf, what: String },
    #[error("cron expression \"{cron}\": {what}")]
    Cron { cron: String, what: String },
    #[error("pipeline \"{pipeline}\" has no schedule")]
    NoSchedule { pipeline: String, file: PathBuf },
    #[error("environment \"{environment}\" does not {what}")]
    NotHere { what: &'static str, environment: String },
    #[error("environment \"{environment}\" ran another statement of {}", tables.join(", "))]
    Untested { environment: String, tables: Vec<String> },
    #[error("this needs the store's writer lease, and the hub was opened for reading")]
    ReadOnly,
    #[error("nothing was published yet")]
    NoCut,
    #[error("stopped on request")]
    Cancelled,
    #[error("a background task ended unexpectedly: {0}")]
    Task(String),
}

impl Diagnose for PipelineError {
    fn blame(&self) -> Blame {
        match self {
            Self::Store(error) => error.blame(),
            Self::Writeback(error) => error.blame(),
            Self::Model(error) => error.blame(),
            Self::Decide(error) => error.blame(),
            Self::ReadOnly | Self::Task(_) => Blame::Program,
            _ => Blame::User,
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::Store(error) => error.hint(),
            Self::Writeback(error) => error.hint(),
            Self::Model(error) => error.hint(),
            Self::Decide(error) => error.hint(),
            Self::Models(errors) => errors.iter().find_map(Diagnose::hint),
            Self::Unknown { hint, .. } => hint.clone(),
            Self::Clock { .. } => Some("it holds one RFC 3339 instant, e.g. 2026-03-02T06:00:00Z".into()),
            Self::Cron { .. } => Some("six fields, seconds first: \"0 0 5 * * Mon-Fri\"".into()),
            Self::NotHere { what, environment } => Some(format!(
                "it works with what production pulled; to let it: [env.{environment}] {what} = true in loopline.toml"
            )),
            Self::Untested { environment, .. } => Some(format!("build it there first: loopline build --env {environment}")),
            Self::NoSchedule { file, .. } => Some(format!("give it one in {}: schedule = {{ cron = … }}", file.display())),
            Self::NoCut => Some("run a pipeline first: `loopline run`".into()),
            Self::ReadOnly | Self::Cancelled | Self::Task(_) => None,
        }
    }
}
