//! HTTP: the API under `/api/v1`, its description at `/openapi.json`, and the dashboard at `/`.
//!
//! What stays true: everything served comes from the last complete cut or the ledger, never from a run under way; whatever changes something needs
//! the token; nothing is fetched from elsewhere, so the page works without internet.

mod auth;
mod board;
mod changes;
mod dashboard;
mod error;
mod kpi;
mod live;
mod lots;
mod openapi;
mod picture;
mod runs;
mod spark;
mod tables;
mod what_if;

use std::net::SocketAddr;
use std::sync::Arc;

use axum::Router;
use axum::http::header;
use axum::middleware::from_fn_with_state;
use axum::routing::{get, post};
use tokio::net::TcpListener;
use tokio::sync::Mutex;

use crate::base::{RunId, Secret};
use crate::model::Lineage;
use crate::pipeline::{Cancel, Hub, Progress, schedule};

pub use auth::generate_token;
pub use error::ServeError;

/// How to serve.
pub struct Options {
    pub bind: SocketAddr,
    /// What a caller must show to change something, and to see anything unless `bind` is a loopback address.
    pub token: Secret,
}

/// What every handler works on.
pub(crate) struct Shared {
    hub: Arc<Hub>,
    token: Secret,
    loopback: bool,
    /// The dashboard's figures, computed once for each cut.
    board: Mutex<Option<Arc<board::Board>>>,
    /// Where columns come from, worked out once for each cut.
    lineage: Mutex<Option<(RunId, Arc<Lineage>)>>,
    /// Held while a scenario is computed.
    scenario: Mutex<()>,
}

/// Listens, runs pipelines by their schedules, and ends cleanly when `cancel` is set: requests under way are answered, a run stops between two durable steps.
pub async fn serve(
    hub: Arc<Hub>,
    listener: TcpListener,
    options: Options,
    progress: &dyn Progress,
    cancel: Cancel,
) -> Result<(), ServeError> {
    let router = app(hub.clone(), options);
    let stopping = cancel.clone();
    let http = async {
        axum::serve(listener, router).with_graceful_shutdown(async move { stopping.wait().await }).await.map_err(ServeError::Http)
    };
    let schedules = async {
        // An environment runs when someone asks it to.
        match hub.project.environment {
            Some(_) => Ok(()),
            None => schedule::serve(&hub, progress, &cancel).await.map_err(ServeError::from),
        }
    };
    let ended = tokio::try_join!(http, schedules).map(|_| ());
    cancel.cancel();
    ended
}

/// The routes, ready for a listener or a test.
pub fn app(hub: Arc<Hub>, options: Options) -> Router {
    let loopback = options.bind.ip().is_loopback();
    let shared = Arc::new(Shared {
        hub,
        token: options.token,
        loopback,
        board: Mutex::default(),
        lineage: Mutex::default(),
        scenario: Mutex::default(),
    });
    Router::new()
        .route("/", get(dashboard::page))
        .route("/runs/current", get(live::page))
        .route("/tables", get(tables::index))
        .route("/tables/{table}", get(tables::page))
        .route("/login", post(auth::login))
        .route("/changes/{action}", post(changes::decide_form))
        .route("/api/v1/kpis", get(kpi::list))
        .route("/api/v1/kpis/{name}", get(kpi::series))
        .route("/api/v1/runs", get(runs::list))
        .route("/api/v1/runs/current", get(runs::current))
        .route("/api/v1/changes", get(changes::list))
        .route("/api/v1/changes/{action}", post(changes::decide))
        .route("/api/v1/lots/{lot}/trace", get(lots::trace))
        .route("/api/v1/tables", get(tables::list))
        .route("/api/v1/tables/{table}", get(tables::one))
        .route("/api/v1/lineage/{column}", get(tables::column))
        .route("/api/v1/what-if", post(what_if::ask))
        .route("/openapi.json", get(openapi::document))
        .layer(from_fn_with_state(shared.clone(), auth::guard))
        .route("/healthz", get(runs::health))
        .route("/style.css", get(|| async { ([(header::CONTENT_TYPE, "text/css; charset=utf-8")], include_str!("style.css")) }))
        .with_state(shared)
}
