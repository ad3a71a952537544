//! What a build stands on: in production what was last pulled and published, in an environment production's last cut.

use std::collections::BTreeMap;

use futures::{StreamExt, TryStreamExt};

use crate::base::TableName;
use crate::base::time::Instant;
use crate::model::{Beside, Graph, Versions};
use crate::project::EnvironmentSettings;
use crate::store::{Cut, TableVersion, base_row};

use super::inputs::{PULLED, carried};
use super::preview::SNAPSHOTS_AT_ONCE;
use super::{Hub, PipelineError};

/// Property by which models see whether rows changed.
const DATA: &str = "loopline.data";

/// What a build reads, what it may leave as it is, and what its cut has besides what it makes.
pub(super) struct Ground<'a> {
    /// Pulled rows and the ledger, as they are read.
    pub pinned: BTreeMap<TableName, TableVersion>,
    pub current: BTreeMap<TableName, TableVersion>,
    pub beside: Beside<'a>,
    /// Versions for the cut, unless the build makes others.
    pub tables: BTreeMap<TableName, u64>,
    /// Whether the ledger and the freshness of systems are published with it.
    pub exports: bool,
}

impl Hub {
    /// What the environment may do; `None` in production, which may do everything.
    fn allowed(&self) -> Option<&EnvironmentSettings> {
        self.project.environment.as_ref().map(|environment| &environment.settings)
    }

    /// Whether systems are pulled here.
    pub(super) fn pulls(&self) -> bool {
        self.allowed().is_none_or(|settings| settings.pull)
    }

    /// Whether systems are written to from here.
    pub(super) fn writes(&self) -> bool {
        self.allowed().is_none_or(|settings| settings.write)
    }

    /// An error where an environment may not do `what`.
    pub(super) fn may(&self, what: &'static str) -> Result<(), PipelineError> {
        match &self.project.environment {
            Some(environment) if !(if what == "pull" { self.pulls() } else { self.writes() }) => {
                Err(PipelineError::NotHere { what, environment: environment.name.clone() })
            }
            _ => Ok(()),
        }
    }

    /// The instant that a run sees: in an environment that reads production's rows, the one for which they were published.
    pub(super) async fn instant(&self, as_of: Option<Instant>) -> Result<Instant, PipelineError> {
        match as_of {
            Some(as_of) => Ok(as_of),
            None if self.pulls() => self.now(),
            None => Ok(self.base_cut().await?.as_of),
        }
    }

    /// Production's last cut, under an environment.
    async fn base_cut(&self) -> Result<Cut, PipelineError> {
        self.store.base_cut().await?.ok_or(PipelineError::NoCut)
    }

    pub(super) async fn ground(&self, graph: &Graph) -> Result<Ground<'static>, PipelineError> {
        let last = self.store.cut().await?;
        let current = self.current(last.as_ref(), graph).await?;
        let mut tables = carried(last.as_ref(), graph);
        if !self.store.is_environment() {
            let pinned = self.pin().await?;
            tables.extend(pinned.iter().map(|(table, version)| (table.clone(), version.version)));
            return Ok(Ground { pinned, current, beside: Beside::Nothing, tables, exports: true });
        }
        let base = self.base_cut().await?;
        self.store.stand_on(base.run, last.as_ref()).await?;
        tables.insert(base_row(), u64::try_from(base.run.0).unwrap_or_default());
        let (mut pinned, production) = self.split(&Cut::over(base)).await?;
        for (table, version) in self.pin_here().await? {
            tables.insert(table.clone(), version.version);
            pinned.insert(table, version);
        }
        Ok(Ground { pinned, current, beside: Beside::Production(production), tables, exports: self.pulls() })
    }

    /// What a build of an environment would start from.
    pub(super) async fn versions_over_production(&self, graph: &Graph) -> Result<Versions, PipelineError> {
        let (mut pinned, production) = self.split(&Cut::over(self.base_cut().await?)).await?;
        pinned.extend(self.pin_here().await?);
        let current = self.current(self.store.cut().await?.as_ref(), graph).await?;
        Ok(Versions { pinned, current, production })
    }

    /// The latest pulled rows that a build would read.
    pub(super) async fn readable(&self) -> Result<BTreeMap<TableName, TableVersion>, PipelineError> {
        match self.store.is_environment() {
            false => self.pin().await,
            true => {
                let (mut pinned, _) = self.split(&Cut::over(self.base_cut().await?)).await?;
                pinned.extend(self.pin_here().await?);
                Ok(pinned)
            }
        }
    }

    /// What an environment pulled itself, if it does.
    async fn pin_here(&self) -> Result<BTreeMap<TableName, TableVersion>, PipelineError> {
        let mut pinned = if self.pulls() { self.pin().await? } else { BTreeMap::new() };
        for data in pinned.values_mut().filter_map(|version| version.properties.get_mut(DATA)) {
            // Pulls are numbered here as they are there.
            *data = format!("here {data}");
        }
        Ok(pinned)
    }

    /// What a promotion stands on: the last cut with all that it read, so that nothing moves but what is promoted.
    pub(super) async fn ground_of_promotion<'a>(
        &self,
        graph: &Graph,
        environment: &'a str,
        tested: BTreeMap<TableName, TableVersion>,
    ) -> Result<(Cut, Ground<'a>), PipelineError> {
        let last = self.cut().await?;
        let (pinned, current) = self.split(&last).await?;
        let tables = last.tables.iter().filter(|(table, _)| pinned.contains_key(*table) || graph.node(table).is_some());
        let tables = tables.map(|(table, version)| (table.clone(), *version)).collect();
        Ok((last, Ground { pinned, current, beside: Beside::Tested(environment, tested), tables, exports: false }))
    }

    /// The versions of a cut: what no statement makes, and what the project's statements make or made.
    pub(super) async fn split(
        &self,
        cut: &Cut,
    ) -> Result<(BTreeMap<TableName, TableVersion>, BTreeMap<TableName, TableVersion>), PipelineError> {
        let is_outside = |table: &TableName| [PULLED, "system"].contains(&table.schema.as_str());
        let (mut outside, mut made) = (BTreeMap::new(), BTreeMap::new());
        let versions: Vec<Option<TableVersion>> = futures::stream::iter(cut.names().into_iter().cloned().collect::<Vec<_>>())
            .map(|table| async move { self.store.version_of(cut, &table).await })
            .buffer_unordered(SNAPSHOTS_AT_ONCE)
            .try_collect()
            .await?;
        for (table, version) in versions.into_iter().flatten().map(|version| (version.table.clone(), version)) {
            if is_outside(&table) { &mut outside } else { &mut made }.insert(table, version);
        }
        Ok((outside, made))
    }
}
