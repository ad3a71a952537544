//! Pipelines: when to run, what to pull, what to build, what to write.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use super::SqlFile;
use super::names::Names;
use super::problems::{Problems, suggest};
use super::schedule::{self, Schedule};
use super::section::{Document, Entry, Located, Section};
use super::selector::{Selector, SelectorProblem, Tables};

#[derive(Debug, Clone)]
pub struct Pipeline {
    pub name: String,
    pub file: PathBuf,
    pub schedule: Option<Schedule>,
    /// Systems to pull.
    pub pull: Vec<String>,
    /// What to build, with everything that it needs; contracts of what was pulled are implied.
    pub build: Vec<Selector>,
    /// Outbox model's name (without schema) → what may happen without asking.
    pub write: BTreeMap<String, WriteRule>,
}

/// `"auto"`, `"approve"`, `"off"`, or a table `{ mode = "auto", limits = { … } }`.
#[derive(Debug, Clone)]
pub struct WriteRule {
    pub mode: Mode,
    pub limits: Limits,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Deserialize, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// Approved by the rule itself, unless the row's `_mode` column says `approve`.
    Auto,
    Approve,
    Off,
}

/// Stops a runaway plan before anyone is asked: a plan that exceeds one is refused whole.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Most changes of one kind in one plan.
    pub rows: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { rows: 5_000 } // more than any plant decides in a day of one kind; a runaway model makes more
    }
}

/// Reads one pipeline file. `systems` is `None` where `loopline.toml` could not be read, so that nothing is known about them; `pipelines` are the
/// names of all.
pub(super) fn read(
    name: &str,
    file: &SqlFile,
    systems: Option<&BTreeSet<String>>,
    pipelines: &BTreeSet<&str>,
    names: &Names,
    problems: &Problems,
) -> Option<Pipeline> {
    let document = Document::parse(&file.path, &file.text, 1, problems)?;
    let found_before = problems.count();
    let root = document.section();
    let schedule = root.table("schedule").and_then(|section| schedule::read(section, systems, pipelines));
    let pull = root.texts("pull").unwrap_or_default();
    for system in &pull {
        if let Some(systems) = systems.filter(|systems| !systems.contains(&system.value)) {
            let hint = suggest(&system.value, "systems", systems.iter().map(String::as_str));
            root.problem(system.line, format!("pull: there is no system \"{}\" in loopline.toml", system.value), hint);
        }
    }
    let build = root.texts("build").unwrap_or_default();
    let build = build.iter().filter_map(|target| selector(target, &root, names)).collect();
    let write = root.entries("write").iter().filter_map(|entry| read_rule(entry, &root, names)).collect();
    root.finish();
    if problems.count() > found_before {
        return None;
    }
    let values = |texts: Vec<Located<String>>| texts.into_iter().map(|text| text.value).collect();
    Some(Pipeline { name: name.into(), file: file.path.clone(), schedule, pull: values(pull), build, write })
}

fn selector(target: &Located<String>, root: &Section, names: &Names) -> Option<Selector> {
    let tags = names.tags.iter().flatten().map(String::as_str);
    let read = Selector::parse(&target.value);
    let problem = match &read {
        // A tag may stand in a header that could not be read.
        Ok(selector) if names.tags.is_none() && matches!(selector.tables, Tables::Tag(_)) => None,
        Ok(selector) => selector.problem(names.tables(), tags),
        Err(problem) => Some(problem.clone()),
    };
    if let Some(SelectorProblem { what, hint }) = problem {
        root.problem(target.line, format!("build: {what}"), hint);
    }
    read.ok()
}

fn read_rule(entry: &Entry, root: &Section, names: &Names) -> Option<(String, WriteRule)> {
    let key = &entry.key;
    let outbox = key.value.strip_prefix("outbox.").unwrap_or(&key.value);
    if !key.value.starts_with("outbox.") || !names.outboxes().any(|name| name == outbox) {
        let known: Vec<String> = names.outboxes().map(|name| format!("outbox.{name}")).collect();
        let hint = suggest(&format!("outbox.{outbox}"), "outboxes", known.iter().map(String::as_str));
        root.problem(key.line, format!("write: there is no outbox \"{}\"", key.value), hint);
    }
    let rule = if entry.is_text() {
        WriteRule { mode: root.word_of(&key.value, &entry.text()?)?, limits: Limits::default() }
    } else {
        let section = entry.section("write")?;
        let mode = section.required("mode", "\"approve\"", section.word("mode"));
        let limits = section.table("limits").map_or_else(|| Some(Limits::default()), read_limits);
        section.finish();
        WriteRule { mode: mode?, limits: limits? }
    };
    Some((outbox.to_owned(), rule))
}

fn read_limits(section: Section) -> Option<Limits> {
    let default = Limits::default();
    let rows = if section.has("rows") { section.count("rows").map(|rows| rows.value as usize) } else { Some(default.rows) };
    if rows == Some(0) {
        section.problem(section.line, "a limit of 0 rows lets nothing through", Some("use mode = \"off\"".into()));
    }
    section.finish();
    Some(Limits { rows: rows? })
}
