//! Where the columns of the project's tables come from.

use std::collections::BTreeMap;

use crate::model::Lineage;

use super::{Hub, PipelineError};

impl Hub {
    /// The lineage of every column, over the columns of what was pulled so far.
    pub async fn lineage(&self) -> Result<Lineage, PipelineError> {
        let graph = self.graph()?;
        let raw: BTreeMap<_, _> = self.readable().await?.into_iter().map(|(table, version)| (table, version.schema)).collect();
        Ok(Lineage::new(&self.project, graph, &raw).await?)
    }
}
