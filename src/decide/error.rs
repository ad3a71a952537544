//! What can be wrong with the input of a decision.

use arrow::error::ArrowError;

use crate::base::{Blame, Diagnose, nearest};

/// A decision that cannot be taken from the rows given. Rows that only spoil themselves are reported in the result instead.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DecideError {
    #[error("{function}: takes {expected} tables, got {found}")]
    Inputs { function: &'static str, expected: usize, found: usize },

    #[error("{function}: input \"{input}\" has no column \"{column}\"")]
    MissingColumn { function: &'static str, input: &'static str, column: &'static str, present: Vec<String> },

    #[error("{function}: input \"{input}\", column \"{column}\" is {found}, expected {expected}")]
    ColumnType { function: &'static str, input: &'static str, column: &'static str, found: String, expected: &'static str },

    #[error("{function}: input \"{input}\", column \"{column}\" is null in row {row}")]
    Null { function: &'static str, input: &'static str, column: &'static str, row: String },

    #[error("{function}: input \"{input}\", column \"{column}\" is {value} in row {row}: {problem}")]
    Value { function: &'static str, input: &'static str, column: &'static str, value: String, row: String, problem: &'static str },

    #[error("{function}: input \"{input}\" has row {row} twice")]
    Duplicate { function: &'static str, input: &'static str, row: String },

    #[error("{function}: the bill of materials runs in a circle: {}", .items.join(" > "))]
    BomCycle { function: &'static str, items: Vec<String> },

    #[error("{function}: {what} does not fit decimal(18,6)")]
    Overflow { function: &'static str, what: String },

    #[error("{function}: column \"{column}\" of the result exceeds 2 GiB of text")]
    TooLarge { function: &'static str, column: &'static str },

    #[error("{function}: cannot build the result")]
    Result {
        function: &'static str,
        #[source]
        source: ArrowError,
    },
}

impl Diagnose for DecideError {
    fn blame(&self) -> Blame {
        match self {
            Self::Result { .. } => Blame::Program,
            _ => Blame::User,
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::MissingColumn { column, present, .. } => Some(match nearest(column, present.iter().map(String::as_str)) {
                Some(near) => format!("did you mean \"{near}\"? it must be named {column}"),
                None => format!("it has: {}", present.join(", ")),
            }),
            Self::ColumnType { column, expected, .. } => {
                Some(format!("cast({column} as {expected}) in the model that feeds the function"))
            }
            Self::Null { column, .. } => Some(format!("fill {column} or leave the row out in the model that feeds the function")),
            Self::Duplicate { .. } => Some("the model that feeds the function must yield each key once".into()),
            Self::BomCycle { .. } => {
                Some("remove one of these components, or end its validity, in the system that owns the bill".into())
            }
            Self::TooLarge { .. } => Some("ask for fewer seeds or rows at a time".into()),
            Self::Inputs { .. } | Self::Value { .. } | Self::Overflow { .. } | Self::Result { .. } => None,
        }
    }
}
