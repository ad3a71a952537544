//! Changes to the source systems: what waits, what was decided, what became of it.

use std::sync::Arc;

use axum::extract::{Path, Query, State};
use axum::response::Redirect;
use axum::{Form, Json};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::{ServeError, Shared};
use crate::base::time::Instant;
use crate::base::{Operation, Row, nearest};
use crate::store::{Change, ChangeState, Filter};
use crate::writeback::Selection;

const CHANGES_MAX: usize = 10_000; // what one answer may hold

#[derive(Deserialize, IntoParams)]
pub(super) struct Wanted {
    /// One state, e.g. `planned` (waits for approval), `approved`, `confirmed`, `conflicted`.
    state: Option<String>,
    system: Option<String>,
    /// Outbox model's name, e.g. `purchase_requests`.
    kind: Option<String>,
    /// At most this many (default 1000).
    limit: Option<usize>,
}

/// One change of one row of a source system.
#[derive(Serialize, ToSchema)]
pub(super) struct ChangeView {
    pub id: i64,
    pub run: i64,
    pub system: String,
    pub kind: String,
    #[schema(value_type = String)]
    pub operation: Operation,
    pub table: String,
    #[schema(value_type = Object)]
    pub key: Row,
    #[schema(value_type = Option<Object>)]
    pub before: Option<Row>,
    #[schema(value_type = Option<Object>)]
    pub after: Option<Row>,
    /// Why, in one sentence.
    pub reason: String,
    /// SHA-256 of target, key, before and after: an approval is for exactly this.
    pub hash: String,
    #[schema(value_type = String)]
    pub state: ChangeState,
    pub approved_by: Option<String>,
    #[schema(value_type = String, format = DateTime)]
    pub planned_at: Instant,
    #[schema(value_type = Option<String>, format = DateTime)]
    pub sent_at: Option<Instant>,
    #[schema(value_type = Option<String>, format = DateTime)]
    pub closed_at: Option<Instant>,
    /// What the target said: the conflicting image, the refusal, the overriding value.
    pub detail: Option<String>,
}

impl From<Change> for ChangeView {
    fn from(change: Change) -> Self {
        Self {
            id: change.id,
            run: change.run.0,
            system: change.system,
            kind: change.kind,
            operation: change.row.operation,
            table: change.row.table,
            key: change.row.key,
            before: change.row.before,
            after: change.row.after,
            reason: change.reason,
            hash: change.hash,
            state: change.state,
            approved_by: change.approved_by,
            planned_at: change.planned_at,
            sent_at: change.sent_at,
            closed_at: change.closed_at,
            detail: change.detail,
        }
    }
}

const STATES: [&str; 12] = [
    "planned",
    "approved",
    "sent",
    "acknowledged",
    "confirmed",
    "conflicted",
    "failed",
    "overridden",
    "rejected",
    "superseded",
    "expired",
    "undone",
];

fn state(text: &str) -> Result<ChangeState, ServeError> {
    serde_json::from_value(text.into()).map_err(|_| ServeError::BadRequest {
        what: format!("\"{text}\" is not a state of a change"),
        hint: Some(match nearest(text, STATES) {
            Some(near) => format!("did you mean \"{near}\"?"),
            None => format!("one of {}", STATES.join(", ")),
        }),
    })
}

/// Changes, ascending by id.
#[utoipa::path(get, path = "/api/v1/changes", params(Wanted), responses((status = 200, body = Vec<ChangeView>), (status = 400, body = super::error::Problem)))]
pub(super) async fn list(
    State(shared): State<Arc<Shared>>,
    Query(wanted): Query<Wanted>,
) -> Result<Json<Vec<ChangeView>>, ServeError> {
    let filter = Filter {
        states: wanted.state.as_deref().map(state).transpose()?.map(|state| vec![state]),
        system: wanted.system,
        kind: wanted.kind,
        ids: None,
        limit: Some(wanted.limit.unwrap_or(1_000).min(CHANGES_MAX)),
    };
    Ok(Json(shared.hub.store.control.changes(&filter)?.into_iter().map(ChangeView::from).collect()))
}

/// Which changes a decision is about: exactly one of `ids`, `kind` and `all`.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Decision {
    ids: Option<Vec<i64>>,
    kind: Option<String>,
    #[serde(default)]
    all: bool,
    /// Who decides; kept in the ledger.
    by: String,
}

#[derive(Serialize, ToSchema)]
pub(super) struct Decided {
    /// How many changes moved; those already decided do not count.
    changes: usize,
}

/// Approves or rejects planned changes. What is approved is sent by the next run.
#[utoipa::path(post, path = "/api/v1/changes/{action}", params(("action" = String, Path, description = "`approve` or `reject`")), request_body = Decision,
    responses((status = 200, body = Decided), (status = 400, body = super::error::Problem), (status = 401, body = super::error::Problem)), security(("token" = [])))]
pub(super) async fn decide(
    State(shared): State<Arc<Shared>>,
    Path(action): Path<String>,
    Json(decision): Json<Decision>,
) -> Result<Json<Decided>, ServeError> {
    let selection = match (decision.ids, decision.kind, decision.all) {
        (Some(ids), None, false) => Selection::Ids(ids),
        (None, Some(kind), false) => Selection::Kind(kind),
        (None, None, true) => Selection::All,
        _ => {
            return Err(ServeError::BadRequest {
                what: "say which changes".into(),
                hint: Some("exactly one of \"ids\", \"kind\" and \"all\": true".into()),
            });
        }
    };
    Ok(Json(Decided { changes: act(&shared, &action, &selection, &decision.by)? }))
}

#[derive(Deserialize)]
pub(super) struct DecisionForm {
    /// Exactly the changes that the page showed or counted, separated by commas.
    ids: String,
}

/// The dashboard's buttons.
pub(super) async fn decide_form(
    State(shared): State<Arc<Shared>>,
    Path(action): Path<String>,
    Form(form): Form<DecisionForm>,
) -> Result<Redirect, ServeError> {
    let ids: Result<Vec<i64>, _> = form.ids.split(',').map(str::parse).collect();
    let ids =
        ids.map_err(|_| ServeError::BadRequest { what: format!("\"{}\" are not numbers of changes", form.ids), hint: None })?;
    act(&shared, &action, &Selection::Ids(ids), "dashboard")?;
    Ok(Redirect::to("/#changes"))
}

fn act(shared: &Shared, action: &str, selection: &Selection, by: &str) -> Result<usize, ServeError> {
    let writeback = shared.hub.writeback();
    match action {
        "approve" => Ok(writeback.approve(selection, by)?),
        "reject" => Ok(writeback.reject(selection, by)?),
        _ => Err(ServeError::NotFound { what: "action", name: action.into(), hint: Some("approve or reject".into()) }),
    }
}
