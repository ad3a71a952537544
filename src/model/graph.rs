//! The dependency graph, read from the statements themselves.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use chrono::DateTime;
use object_store::memory::InMemory;

use super::ModelError;
use super::contract::{entity, mapped_name, reference_problems};
use super::engine::{Engine, cores};
use super::error::Problem;
use super::plan::{Planner, known_tables, no_rows};
use super::statement::{Names, Select, parse};
use crate::base::{TableName, nearest};
use crate::project::{CheckKind, Connector, Project, SqlFile, System};

/// All tables that SQL defines, in build order.
pub struct Graph {
    /// Topologically sorted.
    pub nodes: Vec<Node>,
    positions: HashMap<TableName, usize>,
}

/// One table and what it reads.
pub struct Node {
    pub table: TableName,
    pub kind: NodeKind,
    /// Every table that the statement reads, CTEs left out, tables named in decision functions' arguments included.
    pub inputs: Vec<TableName>,
    /// A model's or write map's one statement, a mapped view's one for each system; none for a contract.
    pub(super) sources: Vec<Source>,
    /// Queries of failing rows, in the order of `Project::checks`.
    pub(super) checks: Vec<Source>,
    /// What checks read besides this table: built in the same run, in any order.
    pub(super) checked_against: Vec<TableName>,
}

impl Node {
    /// Whether checks of it may read other tables.
    pub(super) fn is_checked_across(&self) -> bool {
        !self.checks.is_empty() || !self.checked_against.is_empty()
    }

    pub(super) fn new(table: TableName, kind: NodeKind, inputs: Vec<TableName>, sources: Vec<Source>) -> Self {
        Self { table, kind, inputs, sources, checks: vec![], checked_against: vec![] }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NodeKind {
    /// `mapped.*`: a view, never stored.
    Mapped,
    Contract,
    Model,
    /// `write.*`: a write map's result.
    Write,
}

/// A statement and where it is written.
pub(super) struct Source {
    pub path: PathBuf,
    pub text: String,
    pub select: Select,
    /// The system whose streams bare names are; `None` for a model.
    pub system: Option<String>,
}

impl Graph {
    /// Parses every statement; refuses unknown tables (with the nearest name), cycles and anything but one `select`, each with file and line.
    pub fn new(project: &Project) -> Result<Self, Vec<ModelError>> {
        let mut reader = GraphReader { project, nodes: BTreeMap::new(), errors: vec![] };
        reader.contracts();
        reader.models();
        reader.writes();
        reader.checks();
        reader.references();
        let GraphReader { nodes, mut errors, .. } = reader;
        if errors.is_empty() {
            match sort(nodes) {
                Ok(nodes) => return Ok(Self::of(nodes)),
                Err(error) => errors.push(error),
            }
        }
        Err(distinct(errors))
    }

    /// Plans every statement and check without rows. `raw` holds the columns of the raw tables that are known; what reads others is left out, and so
    /// is what reads a statement that is wrong. Models are planned all the same where the contracts that they read say enough.
    pub async fn check(&self, project: &Project, raw: &BTreeMap<TableName, SchemaRef>) -> Result<(), Vec<ModelError>> {
        let engine = Engine::new(Arc::new(InMemory::new()), project.memory_limit_bytes).map_err(|error| vec![error])?;
        let planner = Planner { project, engine: &engine, as_of: DateTime::UNIX_EPOCH };
        let mut known = known_tables(raw);
        let mut errors = vec![];
        for node in &self.nodes {
            let schema = match Box::pin(planner.dry_run(node, &known)).await {
                Ok(schema) => schema,
                Err(wrong) => {
                    errors.extend(wrong);
                    None
                }
            };
            if let Some(schema) = schema.or_else(|| planner.declared(node)) {
                known.insert(node.table.clone(), no_rows(schema));
            }
        }
        for node in self.nodes.iter().filter(|node| node.is_checked_across()) {
            errors.extend(Box::pin(planner.dry_run_across(node, &known)).await.err());
        }
        if errors.is_empty() { Ok(()) } else { Err(distinct(errors)) }
    }

    /// `nodes` in build order.
    pub(super) fn of(nodes: Vec<Node>) -> Self {
        let positions = nodes.iter().enumerate().map(|(at, node)| (node.table.clone(), at)).collect();
        Self { nodes, positions }
    }

    pub fn node(&self, table: &TableName) -> Option<&Node> {
        self.positions.get(table).map(|at| &self.nodes[*at])
    }

    /// Stored tables by the longest way to them: those that read none of the others first.
    pub fn ranks(&self) -> Vec<Vec<TableName>> {
        let mut ranks: Vec<Vec<TableName>> = vec![];
        let mut rank_of: HashMap<&TableName, usize> = HashMap::new();
        for node in &self.nodes {
            let is_stored = usize::from(node.kind != NodeKind::Mapped);
            let rank = node.inputs.iter().filter_map(|input| rank_of.get(input)).max().copied().unwrap_or(0);
            rank_of.insert(&node.table, rank + is_stored);
            if is_stored == 1 {
                ranks.resize_with(ranks.len().max(rank + 1), Vec::new);
                ranks[rank].push(node.table.clone());
            }
        }
        ranks
    }

    /// The tables that a node reads, mapped views as what they read.
    pub(super) fn reads<'a>(&'a self, node: &'a Node) -> impl Iterator<Item = &'a TableName> {
        let inner = |input: &'a TableName| match self.node(input).filter(|input| input.kind == NodeKind::Mapped) {
            Some(view) => view.inputs.as_slice(),
            None => std::slice::from_ref(input),
        };
        node.inputs.iter().flat_map(inner)
    }

    /// Positions of `targets` and of everything they need, in build order.
    pub(super) fn closure(&self, targets: &[TableName]) -> Result<Vec<usize>, ModelError> {
        let positions = &self.positions;
        let mut wanted = BTreeSet::new();
        let mut open: Vec<usize> = vec![];
        for table in targets {
            let Some(at) = positions.get(table) else {
                let names: Vec<String> = positions.keys().map(ToString::to_string).collect();
                let nearest = nearest(&table.to_string(), names.iter().map(String::as_str)).map(str::to_owned);
                return Err(ModelError::NoTarget { table: table.clone(), nearest });
            };
            open.push(*at);
        }
        while let Some(at) = open.pop() {
            if wanted.insert(at) {
                let needs = self.nodes[at].inputs.iter().chain(&self.nodes[at].checked_against);
                open.extend(needs.filter_map(|input| positions.get(input)));
            }
        }
        Ok(wanted.into_iter().collect())
    }
}

struct GraphReader<'a> {
    project: &'a Project,
    nodes: BTreeMap<TableName, Node>,
    errors: Vec<ModelError>,
}

impl<'a> GraphReader<'a> {
    fn parse(&mut self, file: &SqlFile, names: &Names, system: Option<&str>) -> Option<Source> {
        self.source(file, parse(&file.text, names, true), system)
    }

    fn source(&mut self, file: &SqlFile, parsed: Parsed, system: Option<&str>) -> Option<Source> {
        match parsed {
            Ok(select) => {
                let system = system.map(str::to_owned);
                Some(Source { path: file.path.clone(), text: file.text.clone(), select, system })
            }
            Err(problems) => {
                self.errors.extend(problems.into_iter().map(|problem| ModelError::at(&file.path, problem)));
                None
            }
        }
    }

    fn parse_of_system(&mut self, file: &SqlFile, system: &str, connector: &'a Connector) -> Option<Source> {
        let streams = connector.streams.keys().map(String::as_str).collect();
        let source = self.parse(file, &Names::Streams { system, streams }, Some(system))?;
        if let Some(line) = source.select.clock {
            let hint = Some("use the clock in a model instead: a map yields what the source says".into());
            self.errors.push(ModelError::at(&file.path, Problem::new(line, "a map may not use the clock", hint)));
        }
        Some(source)
    }

    fn contracts(&mut self) {
        for (table, contract) in &self.project.contracts {
            self.errors.extend(reference_problems(self.project, contract));
            let authority = self.project.authority.get(table);
            let mut sources = vec![];
            for system in self.project.systems.values().filter(|system| authority.is_none_or(|name| *name == system.name)) {
                let Some(map) = system.connector.maps.get(table) else { continue };
                sources.extend(self.parse_of_system(map, &system.name, &system.connector));
            }
            let mut inputs: Vec<TableName> = vec![];
            for source in &sources {
                for read in &source.select.reads {
                    if read.table.schema != "raw" {
                        let what = format!("a map reads only its own streams, not {}", read.table);
                        let hint = Some("a bare name is a stream: from stream_name".into());
                        self.errors.push(ModelError::at(&source.path, Problem::new(read.line, what, hint)));
                    } else if !inputs.contains(&read.table) {
                        inputs.push(read.table.clone());
                    }
                }
            }
            let mapped = mapped_name(table);
            self.nodes.insert(mapped.clone(), Node::new(mapped.clone(), NodeKind::Mapped, inputs, sources));
            let mut inputs = vec![mapped];
            inputs.extend(contract.columns.iter().filter_map(|column| entity(self.project, column)));
            inputs.dedup();
            self.nodes.insert(table.clone(), Node::new(table.clone(), NodeKind::Contract, inputs, vec![]));
        }
    }

    fn models(&mut self) {
        let texts: Vec<&str> = self.project.models.values().map(|model| model.file.text.as_str()).collect();
        for ((table, model), parsed) in self.project.models.iter().zip(parse_all(&texts)) {
            let Some(source) = self.source(&model.file, parsed, None) else { continue };
            if let Some(line) = source.select.clock.filter(|_| model.clock.is_none()) {
                let hint = Some("say how often that changes the rows, at the top of the file: --! clock = \"day\" (minute, hour, day or month)".into());
                let problem = Problem::new(line, format!("{table} uses the clock without declaring it"), hint);
                self.errors.push(ModelError::at(&source.path, problem));
            }
            let inputs = source.select.reads.iter().map(|read| read.table.clone()).collect();
            self.nodes.insert(table.clone(), Node::new(table.clone(), NodeKind::Model, inputs, vec![source]));
        }
    }

    fn writes(&mut self) {
        for system in self.project.systems.values() {
            for (outbox, write) in &system.connector.writes {
                self.write(system, outbox, &write.map);
            }
        }
    }

    fn write(&mut self, system: &'a System, outbox: &str, map: &SqlFile) {
        let outbox_table = TableName::new("outbox", outbox);
        if !self.project.models.contains_key(&outbox_table) {
            let path = system.connector.file.clone();
            let names: Vec<_> =
                self.project.models.keys().filter(|table| table.schema == "outbox").map(|table| table.name.as_str()).collect();
            let hint = match nearest(outbox, names) {
                Some(near) => Some(format!("did you mean [write.{near}]?")),
                None => Some(format!("write it: sql/outbox/{outbox}.sql")),
            };
            self.errors.push(ModelError::at(
                &path,
                Problem::new(1, format!("[write.{outbox}]: there is no model {outbox_table}"), hint),
            ));
            return;
        }
        let Some(source) = self.parse_of_system(map, &system.name, &system.connector) else { return };
        let inputs = source.select.reads.iter().map(|read| read.table.clone()).collect();
        let table = TableName::new("write", format!("{}__{outbox}", system.name));
        self.nodes.insert(table.clone(), Node::new(table, NodeKind::Write, inputs, vec![source]));
    }

    /// Queries of failing rows, and the tables that columns are checked against.
    fn checks(&mut self) {
        for (table, checks) in &self.project.checks {
            let queries = checks.iter().filter_map(|check| match &check.kind {
                CheckKind::Query(file) => Some(file),
                _ => None,
            });
            let queries: Vec<Source> = queries.filter_map(|file| self.parse(file, &Names::Hub, None)).collect();
            if let Some(node) = self.nodes.get_mut(table) {
                let reads = queries.iter().flat_map(|query| &query.select.reads).map(|read| &read.table);
                node.checked_against = reads.filter(|read| *read != table).cloned().collect();
                node.checks = queries;
            }
        }
        for (table, model) in &self.project.models {
            let against = model.checks.iter().filter_map(|check| match &check.kind {
                CheckKind::References { table, .. } => Some(table.clone()),
                _ => None,
            });
            if let Some(node) = self.nodes.get_mut(table) {
                node.checked_against.extend(against);
                node.checked_against.sort();
                node.checked_against.dedup();
                node.checked_against.retain(|against| against != table);
            }
        }
    }

    /// Refuses every read of a table that is not there, or that this kind of statement must not read.
    fn references(&mut self) {
        let readable: BTreeSet<String> = self
            .nodes
            .values()
            .filter(|node| node.kind != NodeKind::Write)
            .map(|node| node.table.to_string())
            .chain(["system.changes".to_owned()])
            .collect();
        let mut reads: Vec<(&Path, &TableName, usize, bool)> = vec![];
        for node in self.nodes.values() {
            let is_write = node.kind == NodeKind::Write;
            let own = node.sources.iter().filter(|_| matches!(node.kind, NodeKind::Model | NodeKind::Write));
            for source in own.chain(&node.checks) {
                reads.extend(source.select.reads.iter().map(|read| (source.path.as_path(), &read.table, read.line, is_write)));
            }
        }
        for model in self.project.models.values() {
            reads.extend(model.checks.iter().filter_map(|check| match &check.kind {
                CheckKind::References { table, .. } => Some((model.file.path.as_path(), table, check.line, false)),
                _ => None,
            }));
        }
        for (path, table, line, of_write) in reads {
            let name = table.to_string();
            let own_stream = table.schema == "raw" && of_write;
            // A model that does not parse is there, and reported already.
            if readable.contains(&name) || own_stream || self.project.models.contains_key(table) {
                continue;
            }
            let (what, hint) = match table.schema.as_str() {
                "raw" => (format!("{name}: only maps read raw tables"), Some("read the contract that it is mapped to".into())),
                "write" => (format!("{name}: nothing reads the results of write maps"), Some("read the outbox model".into())),
                _ => {
                    // Often the name is right and the schema is not.
                    let elsewhere = |other: &&String| other.split_once('.').is_some_and(|(_, other)| other == table.name);
                    let near = readable.iter().find(elsewhere).map(String::as_str);
                    let near = near.or_else(|| nearest(&name, readable.iter().map(String::as_str)));
                    (format!("unknown table {name}"), near.map(|near| format!("did you mean {near}?")))
                }
            };
            self.errors.push(ModelError::at(path, Problem::new(line, what, hint)));
        }
    }
}

type Parsed = Result<Select, Vec<Problem>>;

/// Parses the statements of models, many of them on several cores.
fn parse_all(texts: &[&str]) -> Vec<Parsed> {
    const PART_MIN: usize = 64; // fewer take less time than a thread
    const STACK_BYTES: usize = 8 << 20; // the parser is recursive
    let parse = |texts: &[&str]| texts.iter().map(|text| parse(text, &Names::Hub, true)).collect::<Vec<_>>();
    let mut parts = texts.chunks(texts.len().div_ceil(cores()).max(PART_MIN));
    let first = parts.next().unwrap_or_default();
    std::thread::scope(|scope| {
        let start = |part| (part, std::thread::Builder::new().stack_size(STACK_BYTES).spawn_scoped(scope, move || parse(part)));
        let threads: Vec<_> = parts.map(start).collect();
        let mut parsed = parse(first);
        for (part, thread) in threads {
            parsed.extend(match thread {
                Ok(thread) => thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)),
                Err(_) => parse(part),
            });
        }
        parsed
    })
}

/// A connector's file is read once for each system that runs the product; what is wrong with it is told once.
fn distinct(errors: Vec<ModelError>) -> Vec<ModelError> {
    let mut told = BTreeSet::new();
    errors.into_iter().filter(|error| told.insert(error.to_string())).collect()
}

/// Orders nodes so that each comes after what it reads; nodes that could come in any order come by name.
fn sort(mut open: BTreeMap<TableName, Node>) -> Result<Vec<Node>, ModelError> {
    let mut sorted = Vec::with_capacity(open.len());
    while !open.is_empty() {
        let ready: Vec<TableName> = open
            .values()
            .filter(|node| !node.inputs.iter().any(|input| open.contains_key(input)))
            .map(|node| node.table.clone())
            .collect();
        if ready.is_empty() {
            return Err(cycle(&open));
        }
        sorted.extend(ready.iter().filter_map(|table| open.remove(table)));
    }
    Ok(sorted)
}

/// The error for nodes of which each reads another one of them.
fn cycle(open: &BTreeMap<TableName, Node>) -> ModelError {
    let mut path: Vec<&Node> = vec![];
    let mut next = open.values().next();
    while let Some(node) = next {
        if let Some(start) = path.iter().position(|other| other.table == node.table) {
            path.drain(..start);
            break;
        }
        path.push(node);
        next = node.inputs.iter().find_map(|input| open.get(input));
    }
    // A contract has no statement: what it reads follows from its columns.
    let place = |node: &Node, read: &TableName| {
        let found = |source: &Source| source.select.reads.iter().find(|other| other.table == *read).map(|read| read.line);
        node.sources.iter().find_map(|source| Some((source.path.clone(), found(source)?)))
    };
    let next = |at: usize| path.get(at + 1).or(path.first()).map(|node| &node.table);
    let places: Vec<_> = (0..path.len()).map(|at| place(path[at], next(at)?)).collect();
    let step = |(node, place): (&&Node, &Option<(PathBuf, usize)>)| match place {
        Some((path, line)) => format!("{} ({}:{line})", node.table, path.display()),
        None => node.table.to_string(),
    };
    let mut steps: Vec<String> = path.iter().zip(&places).map(step).collect();
    steps.extend(path.first().map(|node| node.table.to_string()));
    let what = format!("these tables need one another: {}", steps.join(" reads "));
    let hint = Some("break the circle; identity models (xref.*) read mapped.* tables, not contracts".into());
    match places.into_iter().flatten().next() {
        Some((path, line)) => ModelError::at(&path, Problem::new(line, what, hint)),
        None => ModelError::Query { line: 1, what, hint },
    }
}
