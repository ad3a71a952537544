//! Checks on staged rows: keys, columns that must not be null, what a header demands, queries of failing rows.
//!
//! What passed is kept with the table's version (`loopline.checks`: its id → hash of what was checked), so that a check runs when its rows, its own text
//! or a table that it reads changed, and only then; what looks at a clock that no grain holds runs each time. What warns is not kept: every run tells
//! of it until it is mended.

mod audit;

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::time::Duration;

use arrow::datatypes::SchemaRef;

pub(super) use audit::Audit;

use super::contract::source_key;
use super::fingerprint::hex;
use super::graph::{Graph, Node, NodeKind};
use super::statement::{cut, looks_at_clock};
use crate::base::TableName;
use crate::base::time::Instant;
use crate::project::{Check, CheckKind, Grace, Project, Severity};

/// Property of a table version: which checks its rows passed.
pub(super) const CHECKS: &str = "loopline.checks";
/// Failing rows of one check that are kept to look at.
pub(super) const FAILING_ROWS_MAX: usize = 1_000;
/// Bytes of a check's name in the name of its table of failing rows: short enough to type.
const SLUG_BYTES_MAX: usize = 40;
/// Digits of a hash that tell two texts of a check apart.
const HASH_DIGITS: usize = 16;

/// Something that the rows of one table must meet.
#[derive(Debug)]
pub(super) struct Rule {
    /// How the check is called in messages.
    pub name: String,
    pub severity: Severity,
    /// Where failing rows are kept: `checks.<schema>__<table>__<name>`.
    pub kept: TableName,
    /// Its line in the node's file, or in the query's own; 0 for what no line says.
    line: usize,
    kind: Kind,
}

#[derive(Debug)]
enum Kind {
    /// Rows for which this SQL condition is true fail; `written` is the part of it that a user wrote.
    Row {
        condition: String,
        written: Option<String>,
    },
    Unique(Vec<String>),
    References {
        column: String,
        table: TableName,
        target: String,
        grace: Option<Grace>,
    },
    Rows {
        min: Option<u64>,
        max: Option<u64>,
        change: Option<f64>,
    },
    Freshness {
        column: String,
        age: Duration,
    },
    /// One of the node's queries.
    Query(usize),
}

impl Rule {
    /// Whether each row meets it or not, whatever others there are.
    pub fn is_of_rows(&self) -> bool {
        matches!(self.kind, Kind::Row { .. })
    }

    /// Whether it says that `columns` tell rows apart.
    pub fn is_unique(&self, columns: &[String]) -> bool {
        matches!(&self.kind, Kind::Unique(unique) if unique == columns)
    }

    /// Names the rule among all of the project.
    pub fn id(&self) -> &str {
        &self.kept.name
    }

    /// The tables that it reads besides its own.
    pub fn reads<'r>(&'r self, node: &'r Node) -> Vec<&'r TableName> {
        match &self.kind {
            Kind::References { table, .. } => vec![table],
            Kind::Query(nth) => {
                let reads = node.checks.get(*nth).into_iter().flat_map(|query| &query.select.reads);
                reads.map(|read| &read.table).filter(|table| **table != node.table).collect()
            }
            _ => vec![],
        }
    }

    /// Whether it needs other tables than its own, so that it can run only when these are built.
    pub fn is_across(&self) -> bool {
        matches!(self.kind, Kind::References { .. } | Kind::Query(_))
    }

    /// Changes whenever the rule may come out otherwise for the same rows; `None` where each run's instant is another. `at` is the instant that the
    /// node sees, if it has a grain; `data` says of other tables when their rows change.
    fn hash(&self, node: &Node, at: Option<Instant>, data: &BTreeMap<TableName, String>) -> Option<String> {
        let mut text = format!("{:?}", self.kind);
        let clock = match &self.kind {
            Kind::Freshness { .. } | Kind::References { grace: Some(_), .. } => return None,
            Kind::Row { condition, .. } => looks_at_clock(condition),
            Kind::Query(nth) => node.checks.get(*nth).is_some_and(|query| {
                let _ = write!(text, "{}", query.select.statement);
                query.select.clock.is_some()
            }),
            Kind::Unique(_) | Kind::Rows { .. } | Kind::References { .. } => false,
        };
        if clock {
            let _ = write!(text, "{}", at?);
        }
        for table in self.reads(node) {
            let _ = write!(text, "{table} {:?}", data.get(table));
        }
        let mut hash = hex(text.as_bytes());
        hash.truncate(HASH_DIGITS);
        Some(hash)
    }

    /// Whether a test's `fails NAME` means this rule: its name, or the word for its kind.
    pub fn is_called(&self, name: &str) -> bool {
        let kind = match &self.kind {
            Kind::Row { written: Some(_), .. } => "expression",
            Kind::Row { .. } if self.name.ends_with(NOT_NULL) => "not_null",
            Kind::Row { .. } => "accepted_values",
            Kind::Unique(_) => "unique",
            Kind::References { .. } => "references",
            Kind::Rows { .. } => "rows",
            Kind::Freshness { .. } => "freshness",
            Kind::Query(_) => "query",
        };
        self.name == name || kind == name
    }
}

const NOT_NULL: &str = " is not null";

/// Collects the rules of one node, each with a name of its own.
struct Rules<'a> {
    node: &'a Node,
    rules: Vec<Rule>,
}

impl Rules<'_> {
    fn add(&mut self, name: String, severity: Severity, line: usize, kind: Kind) {
        let slug = slug(&name);
        let kept = |nth: usize| {
            let nth = if nth > 1 { format!("_{nth}") } else { String::new() };
            TableName::new("checks", format!("{}__{}__{slug}{nth}", self.node.table.schema, self.node.table.name))
        };
        let free = |table: &TableName| !self.rules.iter().any(|rule| rule.kept == *table);
        let kept = (1..).map(kept).find(free).unwrap_or_else(|| kept(1));
        self.rules.push(Rule { name, severity, kept, line, kind });
    }

    fn not_null(&mut self, column: &str, line: usize) {
        let condition = format!("{} is null", quoted(column));
        self.add(format!("{column}{NOT_NULL}"), Severity::Error, line, Kind::Row { condition, written: None });
    }

    fn unique(&mut self, columns: Vec<String>, severity: Severity) {
        self.add(format!("({}) is unique", columns.join(", ")), severity, 0, Kind::Unique(columns));
    }

    fn key(&mut self, columns: Vec<String>) {
        columns.iter().for_each(|column| self.not_null(column, 0));
        self.unique(columns, Severity::Error);
    }

    fn written(&mut self, check: &Check, nth_query: usize) {
        let row = |condition| Kind::Row { condition, written: None };
        let kind = match &check.kind {
            CheckKind::Expression(text) => Kind::Row { condition: format!("not ({text}\n)"), written: Some(text.clone()) },
            CheckKind::NotNull(columns) => {
                row(columns.iter().map(|column| format!("{} is null", quoted(column))).collect::<Vec<_>>().join(" or "))
            }
            CheckKind::Unique(columns) => Kind::Unique(columns.clone()),
            CheckKind::Accepted { column, values } => {
                let values: Vec<_> = values.iter().map(|value| format!("'{}'", value.replace('\'', "''"))).collect();
                row(format!("cast({} as varchar) not in ({})", quoted(column), values.join(", ")))
            }
            CheckKind::References { column, table, target, grace } => {
                Kind::References { column: column.clone(), table: table.clone(), target: target.clone(), grace: grace.clone() }
            }
            CheckKind::Rows { min, max, change } => Kind::Rows { min: *min, max: *max, change: *change },
            CheckKind::Freshness { column, age } => Kind::Freshness { column: column.clone(), age: *age },
            CheckKind::Query(_) => Kind::Query(nth_query),
        };
        self.add(check.name.clone(), check.severity, check.line, kind);
    }
}

/// The checks of a node whose rows have `schema`.
pub(super) fn rules(project: &Project, node: &Node, schema: &SchemaRef) -> Vec<Rule> {
    let mut rules = Rules { node, rules: vec![] };
    if let Some(contract) = project.contracts.get(&node.table) {
        contract.columns.iter().filter(|column| !column.nullable).for_each(|column| rules.not_null(&column.name, column.line));
        let own = source_key(project, contract);
        let hub: Vec<String> = std::iter::once("system".into()).chain(contract.primary_key.iter().cloned()).collect();
        // Two records of one source that are one thing to the hub are worth a look, not a failure: no row is lost.
        if own != hub {
            rules.unique(hub, Severity::Warn);
        }
        rules.unique(own, Severity::Error);
    }
    if let Some(model) = project.models.get(&node.table) {
        if !model.key.is_empty() {
            rules.key(model.key.clone());
        }
        let identity = ["system", "source_key", "hub_id"];
        let own = identity[..2].iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
        let is_identity = identity.iter().all(|name| schema.field_with_name(name).is_ok());
        if node.table.schema == "xref" && is_identity && own != model.key {
            rules.key(own);
        }
        model.checks.iter().for_each(|check| rules.written(check, 0));
    }
    for (nth, check) in project.checks.get(&node.table).into_iter().flatten().enumerate() {
        rules.written(check, nth);
    }
    rules.rules
}

/// The check's name as a part of a table's name.
fn slug(name: &str) -> String {
    let mut slug = String::new();
    for c in name.chars().map(|c| c.to_ascii_lowercase()) {
        if c.is_ascii_alphanumeric() {
            slug.push(c);
        } else if !slug.ends_with('_') && !slug.is_empty() {
            slug.push('_');
        }
    }
    slug.truncate(SLUG_BYTES_MAX);
    slug.trim_end_matches('_').to_owned()
}

fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// For each rule's id, what changes when it may come out otherwise for the same rows; those that each run must look at are left out.
pub(super) fn hashes<'r>(
    project: &Project,
    rules: &'r [Rule],
    node: &Node,
    as_of: Instant,
    data: &BTreeMap<TableName, String>,
) -> BTreeMap<&'r str, String> {
    let at = project.models.get(&node.table).and_then(|model| model.clock).map(|grain| cut(as_of, grain));
    rules.iter().filter_map(|rule| Some((rule.id(), rule.hash(node, at, data)?))).collect()
}

/// What changes when the rows of each table that the node's checks read besides its own do; see [`super::fingerprint::Fingerprint::of`].
pub(super) fn data_of<E>(
    graph: &Graph,
    node: &Node,
    mut data: impl FnMut(&Node, &TableName) -> Result<String, E>,
) -> Result<BTreeMap<TableName, String>, E> {
    let mut all = BTreeMap::new();
    for table in &node.checked_against {
        let text = match graph.node(table).filter(|view| view.kind == NodeKind::Mapped) {
            Some(view) => view.inputs.iter().map(|input| data(view, input)).collect::<Result<Vec<_>, E>>()?.join(" "),
            None => data(node, table)?,
        };
        all.insert(table.clone(), text);
    }
    Ok(all)
}

/// The rules that `known` does not say are met.
pub(super) fn due<'r>(
    rules: &'r [Rule],
    hashes: &BTreeMap<&str, String>,
    known: &BTreeMap<String, String>,
) -> impl Iterator<Item = &'r Rule> {
    rules.iter().filter(|rule| hashes.get(rule.id()).is_none_or(|hash| known.get(rule.id()) != Some(hash)))
}

/// Which checks a version's rows passed: id → hash.
pub(super) fn passed(properties: &BTreeMap<String, String>) -> BTreeMap<String, String> {
    properties.get(CHECKS).and_then(|json| serde_json::from_str(json).ok()).unwrap_or_default()
}
