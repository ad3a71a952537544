//! What a run would build and why. It works on a [`View`] of the store, which cannot write.

use std::collections::{BTreeMap, BTreeSet};

use futures::{StreamExt, TryStreamExt};

use crate::base::TableName;
use crate::model::{self, ExplainRequest, Explanation, Graph, NodeKind, TablePreview, Versions};
use crate::project::{Pipeline, SelectedTables, Selector};
use crate::store::{Cut, TableVersion, View};

use super::inputs::targets;
use super::{Hub, PipelineError};

/// Snapshots opened at the same time.
pub(super) const SNAPSHOTS_AT_ONCE: usize = 16;

impl Hub {
    /// What a run of `pipeline` would do with its tables if its pull brought nothing new.
    pub async fn preview_run(&self, pipeline: &Pipeline) -> Result<Vec<TablePreview>, PipelineError> {
        let graph = self.graph()?;
        let targets = self.targets_of(graph, pipeline).await?;
        self.preview(graph, &targets).await
    }

    /// What a build of the tables that `selectors` mean (all if there are none) would do.
    pub async fn preview_build(&self, selectors: &[Selector]) -> Result<Vec<TablePreview>, PipelineError> {
        let graph = self.graph()?;
        let targets = self.selected(graph, selectors).await?;
        self.preview(graph, &targets).await
    }

    /// What a build of `table` would do, and how its statement would run over the published tables.
    pub async fn explain(&self, table: &TableName, analyze: bool) -> Result<(TablePreview, Explanation), PipelineError> {
        let (graph, as_of) = (self.graph()?, self.instant(None).await?);
        let versions = self.versions(graph).await?;
        let previews = model::preview(&self.project, graph, std::slice::from_ref(table), as_of, &versions)?;
        let request = ExplainRequest { table, as_of, analyze };
        let explanation = model::explain(&self.project, graph, &self.store, versions, &request).await?;
        let preview = previews.into_iter().next_back().ok_or(PipelineError::NoCut)?;
        Ok((preview, explanation))
    }

    async fn preview(&self, graph: &Graph, targets: &[TableName]) -> Result<Vec<TablePreview>, PipelineError> {
        Ok(model::preview(&self.project, graph, targets, self.instant(None).await?, &self.versions(graph).await?)?)
    }

    /// What a build would start from now.
    async fn versions(&self, graph: &Graph) -> Result<Versions, PipelineError> {
        let view = self.store.view();
        if self.store.is_environment() {
            return self.versions_over_production(graph).await;
        }
        let mut pinned = latest(view, self.pulled_tables()).await?;
        let changes = self.changes_ahead().await?;
        pinned.insert(changes.table.clone(), changes);
        Ok(Versions { pinned, current: versions(view, view.cut().await?.as_ref(), graph).await?, production: BTreeMap::new() })
    }

    /// The tables that `selectors` mean; all if there are none.
    pub async fn selected(&self, graph: &Graph, selectors: &[Selector]) -> Result<Vec<TableName>, PipelineError> {
        if selectors.is_empty() {
            let stored = graph.nodes.iter().filter(|node| node.kind != NodeKind::Mapped);
            return Ok(stored.map(|node| node.table.clone()).collect());
        }
        let changed = self.changed(graph, selectors).await?;
        Ok(model::select(graph, &self.project, selectors, &changed)?.into_iter().collect())
    }

    pub(super) async fn targets_of(&self, graph: &Graph, pipeline: &Pipeline) -> Result<Vec<TableName>, PipelineError> {
        targets(&self.project, graph, pipeline, &self.changed(graph, &pipeline.build).await?)
    }

    /// The tables that `changed` means, if one of the selectors is that.
    async fn changed(&self, graph: &Graph, selectors: &[Selector]) -> Result<BTreeSet<TableName>, PipelineError> {
        if !selectors.iter().any(|selector| selector.tables == SelectedTables::Changed) {
            return Ok(BTreeSet::new());
        }
        let current = self.versions(graph).await?.readable();
        Ok(model::changed(&self.project, graph, &current))
    }
}

/// The latest version of each of `tables` that exists.
pub(super) async fn latest(view: View<'_>, tables: Vec<TableName>) -> Result<BTreeMap<TableName, TableVersion>, PipelineError> {
    let versions: Vec<Option<TableVersion>> = futures::stream::iter(tables)
        .map(|table| async move { view.latest(&table).await })
        .buffer_unordered(SNAPSHOTS_AT_ONCE)
        .try_collect()
        .await?;
    Ok(versions.into_iter().flatten().map(|version| (version.table.clone(), version)).collect())
}

/// The versions of a cut's tables that the graph still has.
pub(super) async fn versions(
    view: View<'_>,
    cut: Option<&Cut>,
    graph: &Graph,
) -> Result<BTreeMap<TableName, TableVersion>, PipelineError> {
    let tables: Vec<(&TableName, u64)> =
        graph.nodes.iter().filter_map(|node| Some((&node.table, *cut?.tables.get(&node.table)?))).collect();
    let versions: Vec<TableVersion> = futures::stream::iter(tables)
        .map(|(table, version)| view.at(table, version))
        .buffer_unordered(SNAPSHOTS_AT_ONCE)
        .try_collect()
        .await?;
    Ok(versions.into_iter().map(|version| (version.table.clone(), version)).collect())
}
