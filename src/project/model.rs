//! Models: `select` files with a `--!` TOML header.

use std::path::PathBuf;

use crate::base::TableName;

/// One SQL file: where it is, what it says.
#[derive(Debug, Clone)]
pub struct SqlFile {
    /// Relative to the project's root.
    pub path: PathBuf,
    /// The whole text, header included, so that a parser's line numbers are the file's.
    pub text: String,
}

/// A table computed by one `select`.
#[derive(Debug)]
pub struct Model {
    pub table: TableName,
    pub file: SqlFile,
    pub description: String,
    /// Columns that identify a row; checked to be unique and not null.
    pub key: Vec<String>,
    /// How often `now()` and `current_date` change what the model yields; it may not use them without saying so.
    pub clock: Option<Grain>,
    pub checks: Vec<Check>,
    /// Present in `sql/kpi` only.
    pub kpi: Option<Kpi>,
}

/// A condition that every row must meet.
#[derive(Debug, Clone)]
pub struct Check {
    /// A boolean SQL expression over the model's columns.
    pub expression: String,
    pub severity: Severity,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// The run publishes nothing.
    Error,
    Warn,
}

/// The resolution of the clock that a model sees: `as_of` is cut to it before it is bound.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Deserialize, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Grain {
    Minute,
    Hour,
    Day,
    Month,
}

/// How a KPI is shown. The model yields `day date`, any text dimensions, `numerator double`, `denominator double`; over any set of rows the
/// value is `scale * sum(numerator) / sum(denominator)`, so it aggregates rightly over days and dimensions.
#[derive(Debug, Clone)]
pub struct Kpi {
    pub title: String,
    /// `%`, `days`, `ppm`, `EUR`, …
    pub unit: String,
    pub scale: f64,
    /// Whether more is better.
    pub higher_is_better: bool,
    pub target: Option<f64>,
    /// Where the formula comes from (`SCOR RL.1.1`, `ISO 22400-2`).
    pub source: String,
    /// One of `crm erp scm aps srm mes wms qms loop`: the node of the loop that it belongs to.
    pub node: String,
}
