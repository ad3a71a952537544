//! The dashboard's figures, computed once for each cut.

use std::sync::Arc;

use arrow::array::{Array, Int64Array, StringArray};
use arrow::compute::cast;
use arrow::datatypes::DataType;

use super::kpi::{self, KpiView, Slice};
use super::{ServeError, Shared};
use crate::base::TableName;
use crate::model::Reader;
use crate::pipeline::PipelineError;
use crate::store::Cut;

const MONTHS: i64 = 12; // of trend: a year shows a season once

/// What the last cut says.
pub(super) struct Board {
    pub cut: Cut,
    /// In the loop's order, then by title.
    pub kpis: Vec<KpiTrend>,
    /// Documents that never reached the next system: (what, how many), most first.
    pub gaps: Vec<(String, i64)>,
    /// Keys that no identity rule matched: (entity, how many), most first.
    pub unmatched: Vec<(String, i64)>,
}

/// A KPI with its value for each of the last months.
pub(super) struct KpiTrend {
    pub view: KpiView,
    pub months: Vec<Option<f64>>,
}

/// The board of the last cut.
pub(super) async fn current(shared: &Shared) -> Result<Arc<Board>, ServeError> {
    let cut = shared.hub.store.cut().await?.ok_or(PipelineError::NoCut)?;
    let mut kept = shared.board.lock().await;
    if let Some(board) = kept.as_ref().filter(|board| board.cut.run == cut.run) {
        return Ok(board.clone());
    }
    let board = Arc::new(read(shared, cut).await?);
    *kept = Some(board.clone());
    Ok(board)
}

/// The board of any cut.
pub(super) async fn read(shared: &Shared, cut: Cut) -> Result<Board, ServeError> {
    let project = &shared.hub.project;
    let reader = Reader::new(project, &shared.hub.store, &cut).await?;
    let today = cut.as_of.date_naive();
    let year = Slice::since(today - chrono::Duration::days(MONTHS * 30), today);
    let mut kpis = Vec::new();
    for (model, definition) in kpi::all(project).filter(|(model, _)| cut.has(&model.table)) {
        let view = kpi::view(&reader, &cut, model, definition).await?;
        let months = kpi::points(&reader, &view, model, &year).await?.into_iter().map(|point| point.value).collect();
        kpis.push(KpiTrend { view, months });
    }
    kpis.sort_by(|a, b| (node_order(&a.view.node), &a.view.title).cmp(&(node_order(&b.view.node), &b.view.title)));
    let count = |table: &str, column: &str| {
        let (schema, name) = table.split_once('.').unwrap_or(("", table));
        let known = cut.has(&TableName::new(schema, name));
        known.then(|| format!("select {column}, count(*) from {table} group by 1 order by 2 desc, 1"))
    };
    let gaps = counts(&reader, count("xref.information_gaps", "gap")).await?;
    let unmatched = counts(&reader, count("xref.gaps", "entity")).await?;
    Ok(Board { cut, kpis, gaps, unmatched })
}

/// The place of a node in the loop's order; the loop as a whole comes first.
fn node_order(node: &str) -> usize {
    ["loop", "crm", "erp", "scm", "aps", "srm", "mes", "wms", "qms"].iter().position(|known| *known == node).unwrap_or(usize::MAX)
}

/// Rows of (text, count); nothing where the project has no such table.
async fn counts(reader: &Reader<'_>, sql: Option<String>) -> Result<Vec<(String, i64)>, ServeError> {
    let Some(sql) = sql else { return Ok(vec![]) };
    let (batches, _) = reader.query(&sql, 100).await?;
    let mut rows = Vec::new();
    for batch in &batches {
        let (names, totals) = (cast(batch.column(0), &DataType::Utf8).ok(), cast(batch.column(1), &DataType::Int64).ok());
        let names = names.as_ref().and_then(|column| column.as_any().downcast_ref::<StringArray>());
        let totals = totals.as_ref().and_then(|column| column.as_any().downcast_ref::<Int64Array>());
        if let (Some(names), Some(totals)) = (names, totals) {
            rows.extend(
                (0..batch.num_rows())
                    .filter(|row| names.is_valid(*row))
                    .map(|row| (names.value(row).to_owned(), totals.value(row))),
            );
        }
    }
    Ok(rows)
}
