//! A question to the last cut as it is and as it would be.

use std::collections::BTreeMap;

use crate::base::TableName;
use crate::model::{Reader, WhatIf, what_if};

use super::{Hub, PipelineError};

impl Hub {
    /// Asks `question` of the last cut, and of the same with the rows of other statements in place of some tables; see [`what_if`].
    pub async fn what_if(
        &self,
        replace: &BTreeMap<TableName, String>,
        question: &str,
        rows_max: usize,
    ) -> Result<WhatIf, PipelineError> {
        let (graph, cut) = (self.graph()?, self.cut().await?);
        let before = Reader::new(&self.project, &self.store, &cut).await?;
        let after = Reader::new(&self.project, &self.store, &cut).await?;
        Ok(what_if(graph, (&before, &after), replace, question, rows_max).await?)
    }
}
