//! Names of tables and runs.

use std::fmt;
use std::str::FromStr;

/// A table as SQL names it: `schema.name`, e.g. `erp.items`, `scm.net_requirements`, `system.cuts`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TableName {
    pub schema: String,
    pub name: String,
}

impl TableName {
    pub fn new(schema: impl Into<String>, name: impl Into<String>) -> Self {
        Self { schema: schema.into(), name: name.into() }
    }
}

impl fmt::Display for TableName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.schema, self.name)
    }
}

impl FromStr for TableName {
    type Err = String;

    /// Reads `schema.name`; both parts are lower-case identifiers (`a-z`, `0-9`, `_`).
    fn from_str(text: &str) -> Result<Self, String> {
        let identifier = |part: &str| {
            part.starts_with(|c: char| c.is_ascii_lowercase() || c == '_')
                && part.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_')
        };
        match text.split_once('.') {
            Some((schema, name)) if identifier(schema) && identifier(name) => Ok(Self::new(schema, name)),
            _ => Err(format!("\"{text}\" is not a table name (schema.name in lower case)")),
        }
    }
}

/// Number of a run, ascending from 1 in each store; also the transaction version under which the run's tables are committed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
#[serde(transparent)]
pub struct RunId(pub i64);

impl fmt::Display for RunId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}
