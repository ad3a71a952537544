//! What can be wrong with a statement, or happen while it runs.

use std::path::{Path, PathBuf};

use datafusion::error::DataFusionError;

use crate::base::{Blame, Diagnose, Retry, TableName};
use crate::store::{StoreError, retry_after};

#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ModelError {
    /// Anything wrong at one place of one file.
    #[error("{}:{line}: {what}", path.display())]
    At { path: PathBuf, line: usize, what: String, hint: Option<String> },
    /// Anything wrong with a statement that is in no file.
    #[error("query, line {line}: {what}")]
    Query { line: usize, what: String, hint: Option<String> },
    #[error("{}: system {system}, stream {stream}: {table} does not exist yet", path.display())]
    NeverPulled { system: String, stream: String, table: TableName, path: PathBuf },
    #[error("there is no table {table} to build")]
    NoTarget { table: TableName, nearest: Option<String> },
    #[error("there is no table or column {name} whose lineage is known")]
    NoLineage { name: String, nearest: Option<String>, unknown: bool },
    #[error("{what}")]
    Refused { what: String, hint: Option<String> },
    #[error("{}: {table}: out of memory in {operator}", path.display())]
    Memory {
        table: TableName,
        path: PathBuf,
        /// Which part of the plan could not get more.
        operator: String,
        #[source]
        source: Box<DataFusionError>,
    },
    /// The statement is sound, but a row made it fail.
    #[error("{}: {table} failed while it ran", path.display())]
    Run {
        table: TableName,
        path: PathBuf,
        #[source]
        source: Box<DataFusionError>,
    },
    #[error("query failed while it ran")]
    QueryRun {
        #[source]
        source: Box<DataFusionError>,
    },
    #[error("query took longer than {seconds} s")]
    Timeout { seconds: u64 },
    #[error("cannot set up the query engine")]
    Engine {
        #[source]
        source: Box<DataFusionError>,
    },
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl ModelError {
    /// An error at one line of one file.
    pub(super) fn at(path: &Path, problem: Problem) -> Self {
        Self::At { path: path.to_owned(), line: problem.line, what: problem.what, hint: problem.hint }
    }

    /// Whether the same may work a little later.
    pub(super) fn retry(&self) -> Retry {
        match self {
            Self::Store(error) => error.retry(),
            _ => self.source_error().map_or(Retry::Never, |error| retry_after(error)),
        }
    }

    /// Whether the error came from a table's files rather than from the statement.
    fn source_error(&self) -> Option<&DataFusionError> {
        match self {
            Self::Memory { source, .. } | Self::Run { source, .. } | Self::QueryRun { source } | Self::Engine { source } => {
                Some(source)
            }
            _ => None,
        }
    }
}

/// What is wrong with a statement, before it is known in which file.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Problem {
    /// From 1.
    pub line: usize,
    pub what: String,
    pub hint: Option<String>,
}

impl Problem {
    pub fn new(line: usize, what: impl Into<String>, hint: Option<String>) -> Self {
        Self { line, what: what.into(), hint }
    }
}

impl Diagnose for ModelError {
    fn blame(&self) -> Blame {
        let internal =
            |error: &DataFusionError| matches!(error.find_root(), DataFusionError::Internal(_) | DataFusionError::Ffi(_));
        match self {
            Self::Store(error) => error.blame(),
            Self::Engine { .. } => Blame::Program,
            _ if self.source_error().is_some_and(internal) => Blame::Program,
            _ => Blame::User,
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::At { hint, .. } | Self::Query { hint, .. } | Self::Refused { hint, .. } => hint.clone(),
            Self::NeverPulled { system, .. } => Some(format!("pull it first: loopline pull {system}")),
            Self::NoTarget { nearest, .. } => nearest.as_ref().map(|name| format!("did you mean {name}?")),
            Self::NoLineage { unknown: true, .. } => {
                Some("something that it reads was never pulled, or its statement is wrong: loopline check".into())
            }
            Self::NoLineage { nearest, .. } => nearest.as_ref().map(|name| format!("did you mean {name}?")),
            Self::Memory { .. } => {
                Some("raise memory_limit in loopline.toml, or make the statement keep fewer rows at once".into())
            }
            Self::Run { .. } => Some("a value of some row does not fit the statement: see the cause".into()),
            Self::Timeout { .. } => Some("narrow the query".into()),
            Self::Store(error) => error.hint(),
            Self::QueryRun { .. } | Self::Engine { .. } => None,
        }
    }
}
