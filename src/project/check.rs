//! Checks: what a model's header, or a query beside the table, demands of the rows.

use std::collections::BTreeMap;
use std::time::Duration;

use super::files::CONTRACT_SCHEMAS;
use super::model::{SqlFile, header_of};
use super::names::Names;
use super::problems::Problems;
use super::section::{Document, Entry, Located, Section};
use super::text;
use crate::base::{TableName, nearest, time};

/// One demand. In a header it is a text (a condition) or a table that says of which kind it is.
#[derive(Debug, Clone)]
pub struct Check {
    /// How messages and tests call it: the header's `name`, a file's own, or made from what is checked.
    pub name: String,
    /// In the model's file, or in the query's own.
    pub line: usize,
    pub severity: Severity,
    pub kind: CheckKind,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Deserialize, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// The run publishes nothing.
    Error,
    Warn,
}

#[derive(Debug, Clone)]
pub enum CheckKind {
    /// A boolean SQL expression over the table's columns; a row for which it is null passes, as in SQL's own checks.
    Expression(String),
    NotNull(Vec<String>),
    /// These columns together; rows in which one is null pass.
    Unique(Vec<String>),
    /// Values as text; null passes.
    Accepted {
        column: String,
        values: Vec<String>,
    },
    /// Each value is in `table.target`; null passes.
    References {
        column: String,
        table: TableName,
        target: String,
        grace: Option<Grace>,
    },
    /// How many rows there are; `change`: as a share of the last published rows, 0.2 is 20 %.
    Rows {
        min: Option<u64>,
        max: Option<u64>,
        change: Option<f64>,
    },
    /// The newest value of a column of dates or instants is at most this old, by the run's clock.
    Freshness {
        column: String,
        age: Duration,
    },
    /// A `select` of failing rows: `sql/<schema>/<table>.check.<name>.sql`.
    Query(SqlFile),
}

/// Rows whose instant in `column` is younger than `time` may still lack what they refer to.
#[derive(Debug, Clone)]
pub struct Grace {
    pub column: String,
    pub time: Duration,
}

const KINDS: [&str; 7] = ["expression", "not_null", "unique", "accepted_values", "references", "rows", "freshness"];

/// Reads one item of a header's `checks`; what is wrong with it is among the problems.
pub(super) fn read(entry: &Entry, header: &Section) -> Vec<Check> {
    if entry.is_text() {
        let check = |text: Located<String>| {
            let kind = expression(&text, header)?;
            Some(Check { name: text.value, line: text.line, severity: Severity::Error, kind })
        };
        return entry.text().and_then(check).into_iter().collect();
    }
    let Some(section) = entry.section("") else { return Vec::new() };
    let name = section.text("name").map(|name| name.value);
    let severity = if section.has("severity") { section.word("severity") } else { None };
    let (kinds, found) = kinds(&section);
    if found > 1 || (found == 0 && section.knows_all()) {
        let what = if found == 0 { "the check does not say what it checks" } else { "a check is of one kind" };
        section.problem(section.line, what, Some(format!("write one of {}; each check has its own {{ … }}", KINDS.join(", "))));
    }
    let line = section.line;
    let default = |kind: &CheckKind| match kind {
        // What another system does not know yet is a gap, which is watched, and no reason to publish nothing.
        CheckKind::References { table, .. } if is_contract(table) => Severity::Warn,
        _ => Severity::Error,
    };
    for table in kinds.iter().filter_map(|kind| match kind {
        CheckKind::References { table, .. } if is_contract(table) && severity == Some(Severity::Error) => Some(table),
        _ => None,
    }) {
        let hint = "leave severity out: the check warns; a model of the gaps may have a check of its own";
        section.problem(line, format!("a reference to {table}, which systems fill, stops no run"), Some(hint.into()));
    }
    section.finish();
    let several = kinds.len() > 1;
    let check = |kind: CheckKind| {
        let described = described(&kind);
        let name = match &name {
            Some(name) if several => format!("{name}: {described}"),
            Some(name) => name.clone(),
            None => described,
        };
        Check { name, line, severity: severity.unwrap_or_else(|| default(&kind)), kind }
    };
    kinds.into_iter().map(check).collect()
}

fn is_contract(table: &TableName) -> bool {
    CONTRACT_SCHEMAS.contains(&table.schema.as_str())
}

/// What a section checks, and how many kinds of check it names.
fn kinds(section: &Section) -> (Vec<CheckKind>, usize) {
    let found = KINDS.into_iter().filter(|kind| section.has(kind)).count();
    let mut kinds = Vec::new();
    let columns = |texts: Vec<Located<String>>| texts.into_iter().map(|text| text.value).collect::<Vec<_>>();
    kinds.extend(section.text("expression").and_then(|text| expression(&text, section)));
    kinds.extend(section.one_or_more("not_null").map(|texts| CheckKind::NotNull(columns(texts))));
    kinds.extend(section.one_or_more("unique").map(|texts| CheckKind::Unique(columns(texts))));
    for entry in section.entries("accepted_values") {
        kinds.extend(entry.values().map(|values| CheckKind::Accepted { column: entry.key.value.clone(), values }));
    }
    let grace = grace(section);
    for entry in section.entries("references") {
        let Some(text) = entry.text() else { continue };
        let column = entry.key.value.clone();
        match target(&text.value, &column) {
            Some((table, target)) => kinds.push(CheckKind::References { column, table, target, grace: grace.clone() }),
            None => section.problem(
                text.line,
                format!("\"{}\" is not a table or column", text.value),
                Some(format!("write {column} = \"erp.items\", or \"erp.items.item_id\" where the column is called otherwise")),
            ),
        }
    }
    if let Some(rows) = section.table("rows") {
        let count = |key| rows.count(key).map(|count| count.value);
        let (min, max) = (count("min"), count("max"));
        let change = rows.parsed("change", percent).map(|change| change.value);
        if !["min", "max", "change"].iter().any(|key| rows.has(key)) {
            rows.problem(
                rows.line,
                "no limit is given",
                Some("write { min = 1 }, { max = 1000 } or { change = \"20%\" }".into()),
            );
        }
        rows.finish();
        kinds.push(CheckKind::Rows { min, max, change });
    }
    for entry in section.entries("freshness") {
        let Some(text) = entry.text() else { continue };
        match text::duration(&text.value) {
            Ok(age) => kinds.push(CheckKind::Freshness { column: entry.key.value.clone(), age }),
            Err(message) => section.problem(text.line, format!("freshness of {}: {message}", entry.key.value), None),
        }
    }
    (kinds, found)
}

fn grace(section: &Section) -> Option<Grace> {
    let time = section.parsed("grace", text::duration);
    let column = section.text("since");
    if let (Some(time), false) = (&time, section.has("since")) {
        let hint = "add since = \"a column that says when the row came to be\"";
        section.problem(time.line, "grace needs an instant to count from", Some(hint.into()));
    }
    Some(Grace { column: column?.value, time: time?.value })
}

fn expression(text: &Located<String>, section: &Section) -> Option<CheckKind> {
    match text::expression(&text.value) {
        Ok(()) => Some(CheckKind::Expression(text.value.clone())),
        Err(message) => {
            let query = text.value.trim_start().to_ascii_lowercase().starts_with("select");
            let hint = query.then(|| "a query of failing rows is a file: sql/<schema>/<table>.check.<name>.sql".to_owned());
            section.problem(text.line, format!("check \"{}\" is not a condition: {message}", text.value), hint);
            None
        }
    }
}

/// `erp.items` (its column of the same name) or `erp.items.item_id`.
fn target(text: &str, column: &str) -> Option<(TableName, String)> {
    match text.split('.').collect::<Vec<_>>().as_slice() {
        [_, _] => Some((text.parse().ok()?, column.to_owned())),
        [schema, table, target] if !target.is_empty() => Some((format!("{schema}.{table}").parse().ok()?, (*target).to_owned())),
        _ => None,
    }
}

fn percent(text: &str) -> Result<f64, String> {
    let number = text.strip_suffix('%').and_then(|number| number.trim().parse::<f64>().ok());
    number
        .filter(|number| number.is_finite() && *number >= 0.0)
        .map(|number| number / 100.0)
        .ok_or_else(|| format!("\"{text}\" is not a share (as in \"20%\")"))
}

fn described(kind: &CheckKind) -> String {
    match kind {
        CheckKind::Expression(text) => text.clone(),
        CheckKind::NotNull(columns) => format!("{} is not null", columns.join(", ")),
        CheckKind::Unique(columns) => format!("({}) is unique", columns.join(", ")),
        CheckKind::Accepted { column, values } => format!("{column} is one of {}", values.join(", ")),
        CheckKind::References { column, table, target, .. } if column == target => format!("{column} is in {table}"),
        CheckKind::References { column, table, target, .. } => format!("{column} is in {table}.{target}"),
        CheckKind::Rows { min, max, change } => {
            let bounds = [
                min.map(|min| format!("at least {min}")),
                max.map(|max| format!("at most {max}")),
                change.map(|change| format!("within {}% of the last", change * 100.0)),
            ];
            format!("rows: {}", bounds.into_iter().flatten().collect::<Vec<_>>().join(", "))
        }
        CheckKind::Freshness { column, age } => format!("{column} is at most {} old", time::duration_text(*age)),
        CheckKind::Query(file) => file.path.display().to_string(),
    }
}

/// Reads every `sql/<schema>/<table>.check.<name>.sql`.
pub(super) fn read_queries(
    files: &BTreeMap<TableName, BTreeMap<String, SqlFile>>,
    names: &Names,
    problems: &Problems,
) -> BTreeMap<TableName, Vec<Check>> {
    let mut checks = BTreeMap::new();
    for (table, queries) in files {
        if names.has_table(table) {
            checks.insert(table.clone(), queries.iter().filter_map(|(name, file)| read_query(name, file, problems)).collect());
            continue;
        }
        let tables: Vec<String> = names.tables().map(ToString::to_string).collect();
        let near = nearest(&table.to_string(), tables.iter().map(String::as_str)).map(|near| format!("did you mean {near}?"));
        for file in queries.values() {
            problems.at(&file.path, 1, format!("there is no table {table} to check"), near.clone());
        }
    }
    checks
}

/// The file's header, if it has one, may say `severity` and `description`.
fn read_query(name: &str, file: &SqlFile, problems: &Problems) -> Option<Check> {
    let check = |severity, line| Check { name: name.to_owned(), line, severity, kind: CheckKind::Query(file.clone()) };
    let Some((toml, line)) = header_of(file, problems)? else { return Some(check(Severity::Error, 1)) };
    let document = Document::parse(&file.path, &toml, line, problems)?;
    let found_before = problems.count();
    let header = document.section();
    header.text("description");
    let severity = if header.has("severity") { header.word("severity") } else { Some(Severity::Error) };
    header.finish();
    (problems.count() == found_before).then(|| check(severity.unwrap_or(Severity::Error), 1))
}
