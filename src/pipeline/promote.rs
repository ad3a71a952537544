//! Environments: what they have, how that differs from production, and how it gets there.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::Serialize;

use crate::base::time::Instant;
use crate::base::{RunId, TableName, nearest};
use crate::model::{Deviation, Graph, Reader, has_same_definition, why_it_differs};
use crate::project::Project;
use crate::store::{Cut, TableVersion};
use crate::writeback::WritebackError;

use super::run::Running;
use super::{Access, Hub, PipelineError, RunOptions, RunReport};

/// An environment at a glance.
#[derive(Debug, Clone, Serialize)]
pub struct EnvironmentView {
    pub name: String,
    /// Its last run and that run's instant; `None` before the first.
    pub run: Option<RunId>,
    pub as_of: Option<Instant>,
    /// The production run that it stands on, and how many production has published since.
    pub base: Option<RunId>,
    pub behind: usize,
    /// Tables of its own.
    pub tables: Vec<String>,
    pub bytes: u64,
    /// Why it cannot be read.
    pub error: Option<String>,
}

/// A table of an environment beside production's.
#[derive(Debug, Clone, Serialize)]
pub struct TableDifference {
    pub table: String,
    /// `new`, `statement changed`, `input erp.items changed`, …: what production would find if it built it now.
    pub why: String,
    pub rows: u64,
    /// `None` if production has no such table.
    pub production_rows: Option<u64>,
    /// `None` if the rows are the same, or production has no such table.
    pub difference: Option<Deviation>,
}

impl Hub {
    /// Opens an environment of this production; one that is not there is an error.
    pub async fn environment(&self, project: Arc<Project>, access: Access) -> Result<Hub, PipelineError> {
        let name = project.environment.as_ref().map(|environment| environment.name.as_str()).unwrap_or_default();
        known_environment(&self.store.environments().await?, name)?;
        Hub::open(project, access).await
    }

    /// This environment as production sees it; `production` is its hub.
    pub async fn environment_view(&self, production: &Hub) -> Result<EnvironmentView, PipelineError> {
        let name = self.project.environment.as_ref().map(|environment| environment.name.clone()).unwrap_or_default();
        let bytes = self.store.size_bytes().await?;
        let mut view =
            EnvironmentView { name, run: None, as_of: None, base: None, behind: 0, tables: vec![], bytes, error: None };
        match self.store.cut().await {
            Ok(Some(cut)) => {
                view.base = cut.base.as_ref().map(|base| base.run);
                view.behind = view.base.map_or(Ok(0), |base| production.store.control.published_after(base))?;
                (view.run, view.as_of) = (Some(cut.run), Some(cut.as_of));
                view.tables = own(&cut).map(TableName::to_string).collect();
            }
            Ok(None) => {}
            Err(error) => view.error = Some(error.to_string()),
        }
        Ok(view)
    }

    /// Removes this environment and all of its tables.
    pub async fn remove_environment(self) -> Result<(), PipelineError> {
        let lease = self.lease.ok_or(PipelineError::ReadOnly)?;
        Ok(self.store.remove_environment(lease).await?)
    }

    /// Every table of this environment beside the one that `production` has now.
    pub async fn environment_diff(&self, production: &Hub) -> Result<Vec<TableDifference>, PipelineError> {
        let cut = self.cut().await?;
        // Both sides are read through the environment, which sees production's files, too.
        let over = Cut::over(production.cut().await?);
        let reader = Reader::new(&self.project, &self.store, &cut).await?;
        let mut found = Vec::new();
        for table in own(&cut) {
            let Some(here) = self.store.version_of(&cut, table).await? else { continue };
            let there = self.store.version_of(&over, table).await?;
            let key = self.project.models.get(table).map(|model| model.key.clone()).unwrap_or_default();
            found.push(TableDifference {
                table: table.to_string(),
                why: why_it_differs(&here, there.as_ref()),
                rows: rows_of(&here),
                production_rows: there.as_ref().map(rows_of),
                difference: match &there {
                    Some(there) => reader.deviation(there, &here, &key).await?,
                    None => None,
                },
            });
        }
        Ok(found)
    }

    /// Publishes what `environment` tested, as one cut over production's last one: copied where the same statement read the same rows there, built
    /// from production's rows otherwise. Nothing else moves.
    ///
    /// # Errors
    /// [`PipelineError::Untested`] where a statement is not the one that the environment ran.
    pub async fn promote(&self, environment: &Hub, options: &RunOptions<'_>) -> Result<RunReport, PipelineError> {
        self.lease()?;
        environment.lease()?;
        let _busy = self.busy.lock().await;
        if self.store.control_behind().await?.is_some() {
            return Err(WritebackError::ControlBehind.into());
        }
        let name = environment.project.environment.as_ref().map(|environment| environment.name.clone()).unwrap_or_default();
        let graph = self.graph()?;
        let cut = environment.cut().await?;
        let mut tested = BTreeMap::new();
        for table in own(&cut).filter(|table| graph.node(table).is_some()) {
            tested.extend(environment.store.version_of(&cut, table).await?.map(|version| (table.clone(), version)));
        }
        self.refuse_untested(graph, &name, &tested)?;
        let targets: Vec<TableName> = tested.keys().cloned().collect();
        let (last, ground) = self.ground_of_promotion(graph, &name, tested).await?;
        let pipeline = format!("promote {name}");
        let run = self.store.control.start_run(&pipeline, last.as_of)?;
        let mut running = Running { run, as_of: last.as_of, options, report: RunReport::new(run, &pipeline, last.as_of) };
        let done = self.build_on(graph, &targets, ground, &mut running).await;
        running.report.cut = matches!(done, Ok(Ok(_)));
        self.close(running, done.map(|done| done.map(drop)))
    }

    /// What was never run must not get into production as if it had been.
    fn refuse_untested(
        &self,
        graph: &Graph,
        environment: &str,
        tested: &BTreeMap<TableName, TableVersion>,
    ) -> Result<(), PipelineError> {
        let changed = tested.iter().filter(|(table, version)| !has_same_definition(&self.project, graph, table, version));
        let tables: Vec<String> = changed.map(|(table, _)| table.to_string()).collect();
        match tables.is_empty() {
            true => Ok(()),
            false => Err(PipelineError::Untested { environment: environment.into(), tables }),
        }
    }
}

/// An error if `name` is none of `known`.
pub(super) fn known_environment(known: &[String], name: &str) -> Result<(), PipelineError> {
    if known.iter().any(|other| other == name) {
        return Ok(());
    }
    let hint = match nearest(name, known.iter().map(String::as_str)) {
        Some(near) => format!("did you mean {near}?"),
        None if known.is_empty() => format!("make it: loopline build --env {name}"),
        None => format!("there are: {}", known.join(", ")),
    };
    Err(PipelineError::Unknown { what: "environment", name: name.into(), hint: Some(hint) })
}

/// The environment's own tables that statements make.
fn own(cut: &Cut) -> impl Iterator<Item = &TableName> {
    cut.tables.keys().filter(|table| !["raw", "system", "production"].contains(&table.schema.as_str()))
}

fn rows_of(version: &TableVersion) -> u64 {
    version.files.iter().map(|file| file.rows).sum()
}
