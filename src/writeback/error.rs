//! What can go wrong between what is wanted and a target.

use crate::base::{Blame, Diagnose, TableName};
use crate::store::StoreError;

#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum WritebackError {
    #[error("connector \"{connector}\", write \"{outbox}\": `editable` cannot be read: {what}")]
    Editable { connector: String, outbox: String, what: String },
    #[error("connector \"{connector}\", write \"{outbox}\": {what}")]
    Write { connector: String, outbox: String, what: String },
    #[error("write map {file}, column {column}: {what}")]
    Column { file: String, column: String, what: String, hint: Option<String> },
    #[error("write map {file}: {what}")]
    Rows { file: String, what: String },
    #[error("system \"{system}\", table {table}: {what}")]
    Table { system: String, table: TableName, what: String },
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error("cannot read rows of {table}")]
    Read { table: TableName, source: Box<dyn std::error::Error + Send + Sync> },
    #[error("the control state is older than the tables: nothing is written until the targets were looked at")]
    ControlBehind,
    #[error("there is no published cut to plan from")]
    NoCut,
}

impl Diagnose for WritebackError {
    fn blame(&self) -> Blame {
        match self {
            Self::Store(error) => error.blame(),
            Self::Read { .. } => Blame::Program,
            _ => Blame::User,
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::Editable { .. } => Some("use column names, literals, =, <>, <, >, in, is null, and, or, not".into()),
            Self::Column { hint, .. } => hint.clone(),
            Self::Store(error) => error.hint(),
            Self::ControlBehind => Some("run `loopline write recover`".into()),
            Self::NoCut => Some("run a pipeline first: `loopline run`".into()),
            Self::Write { .. } | Self::Rows { .. } | Self::Table { .. } | Self::Read { .. } => None,
        }
    }
}
