//! Where a lot came from and where it went.

use std::sync::Arc;

use arrow::array::{Array, Int64Array, StringArray};
use arrow::compute::cast;
use arrow::datatypes::DataType;
use axum::Json;
use axum::extract::{Path, Query, State};
use serde::Serialize;
use utoipa::ToSchema;

use super::kpi::AsOf;
use super::{ServeError, Shared};

/// One lot on a trace.
#[derive(Serialize, ToSchema)]
pub(super) struct TraceRow {
    /// `self`, `backward` (what went into it) or `forward` (what it went into).
    direction: String,
    lot_id: String,
    /// Steps from the lot that was asked for.
    depth: i64,
    via_work_order: Option<String>,
    /// All lots on the shortest way, joined by ` > `.
    path: String,
}

#[derive(Serialize, ToSchema)]
pub(super) struct TraceView {
    lot: String,
    rows: Vec<TraceRow>,
}

/// The ancestors and descendants of a lot, by its hub id (`item/number`).
#[utoipa::path(get, path = "/api/v1/lots/{lot}/trace", params(("lot" = String, Path, description = "the lot's id; a `/` in it is written %2F"), AsOf), responses((status = 200, body = TraceView), (status = 404, body = super::error::Problem)))]
pub(super) async fn trace(
    State(shared): State<Arc<Shared>>,
    Path(lot): Path<String>,
    Query(as_of): Query<AsOf>,
) -> Result<Json<TraceView>, ServeError> {
    let trace = shared.hub.trace(&lot, as_of.run()).await?;
    let text = |name: &str| -> Vec<Option<String>> {
        let column = trace.rows.column_by_name(name).and_then(|column| cast(column, &DataType::Utf8).ok());
        let strings = column.as_ref().and_then(|column| column.as_any().downcast_ref::<StringArray>());
        strings.map_or_else(Vec::new, |strings| strings.iter().map(|value| value.map(str::to_owned)).collect())
    };
    let depths = trace.rows.column_by_name("depth").and_then(|column| cast(column, &DataType::Int64).ok());
    let depths: Vec<i64> = depths
        .as_ref()
        .and_then(|column| column.as_any().downcast_ref::<Int64Array>())
        .map_or_else(Vec::new, |depths| (0..depths.len()).map(|row| depths.value(row)).collect());
    let columns = text("direction").into_iter().zip(text("lot_id")).zip(depths).zip(text("via_work_order")).zip(text("path"));
    let rows = columns
        .map(|((((direction, lot_id), depth), via_work_order), path)| TraceRow {
            direction: direction.unwrap_or_default(),
            lot_id: lot_id.unwrap_or_default(),
            depth,
            via_work_order,
            path: path.unwrap_or_default(),
        })
        .collect();
    Ok(Json(TraceView { lot: trace.lot, rows }))
}
