//! Runs, and whether the server lives.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Query, State};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::{ServeError, Shared};
use crate::base::time::Instant;
use crate::pipeline::LiveRun;

const RUNS_MAX: usize = 1_000; // a page for a person or a chart, not an export

#[derive(Deserialize, IntoParams)]
pub(super) struct Page {
    /// How many of the latest runs (default 50, at most 1000).
    limit: Option<usize>,
}

/// One execution of a pipeline.
#[derive(Serialize, ToSchema)]
pub(super) struct RunView {
    run: i64,
    pipeline: String,
    /// The instant that every decision of the run saw.
    #[schema(value_type = String, format = DateTime)]
    as_of: Instant,
    #[schema(value_type = String, format = DateTime)]
    started_at: Instant,
    #[schema(value_type = Option<String>, format = DateTime)]
    finished_at: Option<Instant>,
    /// `running`, `published`, `degraded` or `failed`.
    #[schema(value_type = String)]
    outcome: crate::store::RunOutcome,
    message: String,
}

/// The latest runs, newest first.
#[utoipa::path(get, path = "/api/v1/runs", params(Page), responses((status = 200, body = Vec<RunView>)))]
pub(super) async fn list(State(shared): State<Arc<Shared>>, Query(page): Query<Page>) -> Result<Json<Vec<RunView>>, ServeError> {
    let runs = shared.hub.store.control.runs(page.limit.unwrap_or(50).min(RUNS_MAX))?;
    let views = runs.into_iter().map(|run| RunView {
        run: run.run.0,
        pipeline: run.pipeline,
        as_of: run.as_of,
        started_at: run.started_at,
        finished_at: run.finished_at,
        outcome: run.outcome,
        message: run.message,
    });
    Ok(Json(views.collect()))
}

/// What the run under way is doing; `null` if none is.
#[utoipa::path(get, path = "/api/v1/runs/current", responses((status = 200, description = "run, stage, tables built and being built", body = Object)))]
pub(super) async fn current(State(shared): State<Arc<Shared>>) -> Json<Option<LiveRun>> {
    Json(shared.hub.live())
}

/// Answers `ok` while the server lives and its control state can be read.
#[utoipa::path(get, path = "/healthz", responses((status = 200, body = String)))]
pub(super) async fn health(State(shared): State<Arc<Shared>>) -> Result<&'static str, ServeError> {
    shared.hub.store.control.runs(1)?;
    Ok("ok")
}
