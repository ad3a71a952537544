//! Models: `select` files with a `--!` TOML header.

use std::path::PathBuf;
use std::time::Duration;

use super::check::{self, Check};
use super::problems::Problems;
use super::section::{Document, Located, Section};
use super::selector::Selector;
use super::text;
use crate::base::{TableName, nearest};

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
    pub incremental: Option<Incremental>,
    pub checks: Vec<Check>,
    /// Words by which selectors name groups of models: `tag:nightly`.
    pub tags: Vec<String>,
    /// Present in `sql/kpi` only.
    pub kpi: Option<Kpi>,
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

/// How a model is kept up to date without computing all of its rows again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Incremental {
    /// Rows with a key that occurs in changed rows of an input are computed again.
    Key,
    /// Rows of changed intervals are computed again; where changes are not known, those of `lookback` before the latest row and later.
    Interval {
        /// A column of days or instants.
        column: String,
        lookback: Duration,
    },
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

const KPI_NODES: [&str; 9] = ["crm", "erp", "scm", "aps", "srm", "mes", "wms", "qms", "loop"];

/// Reads one model file; `None` where its header is wrong, which is then among the problems.
pub(super) fn read(table: &TableName, file: &SqlFile, problems: &Problems) -> Option<Model> {
    let Some((toml, first_line)) = header_of(file, problems)? else {
        let hint = "start the file with: --! description = \"what a row says\"";
        let what = if file.text.trim().is_empty() { "the file is empty" } else { "the model has no header" };
        problems.at(&file.path, 1, what, Some(hint.into()));
        return None;
    };
    let document = Document::parse(&file.path, &toml, first_line, problems)?;
    let found_before = problems.count();
    let header = document.section();
    let description = header.required("description", "\"what a row says\"", header.text("description"));
    let key = header.some_texts("key").unwrap_or_default();
    if table.schema == "outbox" {
        let example = "[\"item_id\"], the columns that identify a wanted row";
        header.required("key", example, (!key.is_empty()).then_some(()));
    }
    let clock = header.word("clock");
    let incremental = header.table("incremental").and_then(|section| read_incremental(section, &key));
    let checks = header.items("checks").iter().flat_map(|entry| check::read(entry, &header)).collect();
    let tags = header.texts("tags").unwrap_or_default();
    for tag in tags.iter().filter(|tag| Selector::parse(&format!("tag:{}", tag.value)).is_err()) {
        header.problem(tag.line, format!("tags: \"{}\" is not a word", tag.value), Some("letters, digits, _ and -".into()));
    }
    let kpi_section = header.table("kpi");
    if let Some(section) = kpi_section.as_ref().filter(|_| table.schema != "kpi") {
        section.problem(
            section.line,
            "only models in sql/kpi are indicators",
            Some("move the file to sql/kpi, or remove [kpi]".into()),
        );
    }
    if table.schema == "kpi" {
        header.required(
            "kpi",
            "{ title = \"…\", unit = \"%\", better = \"higher\", source = \"…\", node = \"scm\" }",
            kpi_section.as_ref(),
        );
    }
    let kpi = kpi_section.and_then(read_kpi);
    header.finish();
    if problems.count() > found_before {
        return None;
    }
    let texts = |texts: Vec<Located<String>>| texts.into_iter().map(|text| text.value).collect();
    let (key, tags) = (texts(key), texts(tags));
    Some(Model {
        table: table.clone(),
        file: file.clone(),
        description: description?.value,
        key,
        clock,
        incremental,
        checks,
        tags,
        kpi,
    })
}

/// The TOML of a file's header and its first line: `Some(None)` without a header, `None` where it stands in the wrong place.
pub(super) fn header_of(file: &SqlFile, problems: &Problems) -> Option<Option<(String, usize)>> {
    let Some(first_line) = text::header_line(&file.text) else { return Some(None) };
    let (toml, next_line) = text::header_toml(&file.text, first_line);
    check_place(file, first_line, next_line, problems).then_some(Some((toml, first_line)))
}

/// The header must be one block, and nothing but comments may stand before it.
fn check_place(file: &SqlFile, first_line: usize, next_line: usize, problems: &Problems) -> bool {
    let is_comment = |line: &str| line.trim().is_empty() || line.trim_start().starts_with("--");
    let before = file.text.lines().take(first_line - 1).position(|line| !is_comment(line));
    let after = file.text.lines().skip(next_line - 1).position(|line| line.trim_start().starts_with("--!"));
    if before.is_some() {
        problems.at(
            &file.path,
            first_line,
            "the header stands after the statement",
            Some("move the `--!` lines to the top of the file".into()),
        );
    }
    if let Some(offset) = after {
        let hint = "keep all `--!` lines together, without a line between them";
        problems.at(&file.path, next_line + offset, "this header line is not part of the header", Some(hint.into()));
    }
    before.is_none() && after.is_none()
}

#[derive(Clone, Copy, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
enum By {
    Key,
    Interval,
}

fn read_incremental(section: Section, key: &[Located<String>]) -> Option<Incremental> {
    let by: Option<By> = section.required("by", "\"key\" or \"interval\"", section.word("by"));
    let column = section.text("column");
    let lookback = section.parsed("lookback", text::duration);
    let incremental = match by {
        Some(By::Key) if key.is_empty() => {
            let hint = "add --! key = [\"order_id\"], the columns that identify a row";
            section.problem(section.line, "by = \"key\" needs the model's key", Some(hint.into()));
            None
        }
        Some(By::Key) if column.is_some() || lookback.is_some() => {
            section.problem(section.line, "column and lookback are for by = \"interval\"", Some("remove them".into()));
            None
        }
        Some(By::Key) => Some(Incremental::Key),
        Some(By::Interval) => {
            let column = section.required("column", "\"day\", a column of days or instants", column);
            let lookback = lookback.map_or(Duration::ZERO, |lookback| lookback.value);
            column.map(|column| Incremental::Interval { column: column.value, lookback })
        }
        None => None,
    };
    section.finish();
    incremental
}

#[derive(Clone, Copy, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
enum Better {
    Higher,
    Lower,
}

fn read_kpi(section: Section) -> Option<Kpi> {
    let title = section.required("title", "\"Lines delivered in full and on time\"", section.text("title"));
    let unit = section.required("unit", "\"%\"", section.text("unit"));
    let scale = section.number("scale").unwrap_or(1.0);
    let better: Option<Better> = section.required("better", "\"higher\"", section.word("better"));
    let target = section.number("target");
    let source = section.required("source", "\"SCOR RL.1.1\", where the formula comes from", section.text("source"));
    let node = section.required("node", "\"scm\", the part of the loop that it belongs to", section.text("node"));
    if let Some(node) = node.as_ref().filter(|node| !KPI_NODES.contains(&node.value.as_str())) {
        let hint = nearest(&node.value, KPI_NODES).map(|near| format!("did you mean \"{near}\"?"));
        section.problem(node.line, format!("node: \"{}\" is not one of {}", node.value, KPI_NODES.join(", ")), hint);
    }
    section.finish();
    let higher_is_better = matches!(better?, Better::Higher);
    Some(Kpi {
        title: title?.value,
        unit: unit?.value,
        scale,
        higher_is_better,
        target,
        source: source?.value,
        node: node?.value,
    })
}
