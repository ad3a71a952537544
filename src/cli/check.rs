//! `loopline check`: everything that can be known before a run.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use clap::Args;
use serde::Serialize;

use crate::base::{Diagnose, TableName};
use crate::connect::{self, Extent};
use crate::model::{Graph, ModelError, Tests};
use crate::project::{Project, System};
use crate::writeback;

use super::Done;
use super::context::Context;
use super::failure::text;
use super::format::{Table, counted};

/// Checks files, statements and connections, and says all that is wrong
#[derive(Args)]
#[command(
    after_help = "Examples:\n  loopline check\n  loopline check --offline        without connecting to any system\n  loopline check --json\n\nReads every file, plans every statement, then connects to each system and looks at each stream's table."
)]
pub(super) struct Arguments {
    /// Do not connect to the systems
    #[arg(long)]
    offline: bool,
}

/// What was looked at, and what is wrong.
#[derive(Serialize)]
struct Report {
    ok: bool,
    contracts: usize,
    models: usize,
    pipelines: usize,
    systems: Vec<SystemCheck>,
    errors: Vec<Problem>,
}

#[derive(Serialize)]
struct SystemCheck {
    system: String,
    connector: String,
    /// `None` where it was not asked.
    reachable: Option<bool>,
    streams: usize,
    streams_readable: usize,
}

#[derive(Serialize)]
struct Problem {
    message: String,
    hint: Option<String>,
}

#[derive(Default)]
struct Problems {
    texts: Vec<String>,
    list: Vec<Problem>,
}

impl Problems {
    fn add(&mut self, error: &impl Diagnose) {
        self.texts.push(text(error, error.hint()));
        self.list.push(Problem { message: error.to_string(), hint: error.hint() });
    }
}

pub(super) async fn run(arguments: &Arguments, context: &Context) -> anyhow::Result<Done> {
    let root = context.root()?;
    let mut problems = Problems::default();
    let mut report = Report { ok: false, contracts: 0, models: 0, pipelines: 0, systems: vec![], errors: vec![] };
    match Project::load(&root) {
        Ok(project) => {
            let project = Arc::new(project);
            (report.contracts, report.models, report.pipelines) =
                (project.contracts.len(), project.models.len(), project.pipelines.len());
            check_project(&project, arguments, context, &mut problems, &mut report.systems).await;
        }
        Err(errors) => errors.iter().for_each(|error| problems.add(error)),
    }
    report.ok = problems.list.is_empty();
    report.errors = problems.list;
    if context.output.json {
        context.output.data_json(&report)?;
    } else {
        problems.texts.iter().for_each(|text| context.output.stderr(text));
        context.output.data(&summary(&report));
    }
    Ok(if report.ok { Done::Well } else { Done::NeedsAttention })
}

async fn check_project(
    project: &Arc<Project>,
    arguments: &Arguments,
    context: &Context,
    problems: &mut Problems,
    systems: &mut Vec<SystemCheck>,
) {
    writeback::check(project).iter().for_each(|error| problems.add(error));
    let mut raw = BTreeMap::new();
    let bar = context.bar();
    for system in project.systems.values() {
        bar.say(&format!("looking at {}", system.name));
        let streams = system.connector.streams.len();
        let mut checked = SystemCheck {
            system: system.name.clone(),
            connector: system.connector.name.clone(),
            reachable: None,
            streams,
            streams_readable: 0,
        };
        if !arguments.offline {
            look(system, project, &mut checked, &mut raw, problems).await;
        }
        systems.push(checked);
    }
    bar.say("planning the statements");
    if let Err(errors) = check_statements(project, &raw).await {
        errors.iter().for_each(|error| problems.add(error));
    }
    bar.finish();
}

/// Connects, and asks each stream's table for its columns; no row is read.
async fn look(
    system: &System,
    project: &Project,
    checked: &mut SystemCheck,
    raw: &mut BTreeMap<TableName, SchemaRef>,
    problems: &mut Problems,
) {
    let source = match connect::source(system, &project.root).await {
        Ok(source) => source,
        Err(error) => {
            checked.reachable = Some(false);
            problems.add(&error);
            return;
        }
    };
    checked.reachable = Some(true);
    for stream in system.connector.streams.values() {
        match source.read(stream, Extent::Whole).await {
            Ok(reading) => {
                checked.streams_readable += 1;
                raw.insert(TableName::new("raw", format!("{}__{}", system.name, stream.name)), reading.schema);
            }
            Err(error) => problems.add(&error),
        }
    }
    // A connection that only serves writes has rights of its own.
    if !system.connector.writes.is_empty()
        && let Err(error) = connect::target(system, &project.root).await
    {
        problems.add(&error);
    }
}

async fn check_statements(project: &Arc<Project>, raw: &BTreeMap<TableName, SchemaRef>) -> Result<(), Vec<ModelError>> {
    let graph = Graph::new(project)?;
    graph.check(project, raw).await?;
    let tests = Tests::new(project.clone(), graph).map_err(|error| vec![error])?;
    let errors = tests.check().await;
    if errors.is_empty() { Ok(()) } else { Err(errors) }
}

fn summary(report: &Report) -> String {
    let mut table = Table::new(&["system", "connector", "connection", "streams"]);
    for system in &report.systems {
        let connection = match system.reachable {
            Some(true) => "ok",
            Some(false) => "failed",
            None => "not tried",
        };
        let streams = match system.reachable {
            Some(true) => format!("{} of {} readable", system.streams_readable, system.streams),
            _ => system.streams.to_string(),
        };
        table.row(vec![system.system.clone(), system.connector.clone(), connection.into(), streams]);
    }
    let counts = [
        counted(report.contracts, "contract", "contracts"),
        counted(report.models, "model", "models"),
        counted(report.pipelines, "pipeline", "pipelines"),
    ];
    let found = if report.errors.is_empty() { "no errors".to_owned() } else { counted(report.errors.len(), "error", "errors") };
    let counts = format!("{}: {found}", counts.join(", "));
    if table.is_empty() { counts } else { format!("{}\n\n{counts}", table.render(None)) }
}
