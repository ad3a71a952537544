//! From files to a checked [`Project`].

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use super::files::Files;
use super::names::Names;
use super::problems::Problems;
use super::{Project, ProjectError, check, connector, contract, model, pipeline, schedule, settings};

impl Project {
    /// Reads the project in `root` and checks all that can be checked without a connection. Collects every error of every file rather than stopping at
    /// the first; they are ordered by file and line.
    pub fn load(root: &Path) -> Result<Self, Vec<ProjectError>> {
        let problems = Problems::default();
        match read(root, &problems) {
            Some(project) if problems.count() == 0 => Ok(project),
            _ => Err(problems.into_errors()),
        }
    }
}

/// `None` only with a problem.
fn read(root: &Path, problems: &Problems) -> Option<Project> {
    let files = Files::read(root, problems);
    let settings_file = files.settings.as_ref()?;
    let mut names = Names::of(&files);
    let mut contracts = BTreeMap::new();
    for (table, file) in files.contracts.iter().filter_map(|(table, file)| Some((table, file.as_ref()?))) {
        contracts.extend(contract::read(table, file, &names, problems).map(|contract| (table.clone(), contract)));
    }
    let mut models = BTreeMap::new();
    for (table, file) in files.models.iter().filter_map(|(table, file)| Some((table, file.as_ref()?))) {
        models.extend(model::read(table, file, problems).map(|model| (table.clone(), model)));
    }
    if models.len() == files.models.len() {
        names.tags = Some(models.values().flat_map(|model: &model::Model| model.tags.iter().cloned()).collect());
    }
    let checks = check::read_queries(&files.checks, &names, problems);
    let mut connectors = BTreeMap::new();
    for (name, folder) in &files.connectors {
        let connector = connector::read(name, folder, &names, problems);
        connectors.extend(connector.map(|connector| (name.clone(), Arc::new(connector))));
    }
    let context = settings::Context { root, names: &names, connectors: &connectors, problems };
    let (settings, systems) = settings::read(settings_file, &context);
    let mut pipelines = BTreeMap::new();
    let pipeline_names = files.pipelines.keys().map(String::as_str).collect();
    for (name, file) in &files.pipelines {
        let pipeline = pipeline::read(name, file, systems.as_ref(), &pipeline_names, &names, problems);
        pipelines.extend(pipeline.map(|pipeline| (name.clone(), pipeline)));
    }
    schedule::check_order(&pipelines, &files.pipelines, problems);
    let settings = settings?;
    Some(Project {
        root: root.to_owned(),
        strategy: settings.strategy,
        store: settings.store,
        control: settings.control,
        clock_file: settings.clock_file,
        memory_limit_bytes: settings.memory_limit_bytes,
        retention: settings.retention,
        authority: settings.authority,
        systems: settings.systems,
        contracts,
        models,
        checks,
        tests: files.tests,
        pipelines,
        environments: settings.environments,
        environment: None,
    })
}
