//! What would follow from other rows in some tables.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::json::WriterBuilder;
use arrow::json::writer::JsonArray;
use axum::Json;
use axum::extract::State;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

use super::{ServeError, Shared};
use crate::base::{Blame, Diagnose, TableName};
use crate::model::ModelError;

const ROWS_MAX: usize = 10_000;

/// A question, and what to put in place of some tables.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Scenario {
    /// Table (`aps.calendars`) → a select over the last run that yields the table's own columns.
    replace: BTreeMap<String, String>,
    /// One select.
    question: String,
}

/// The answers of the last run as it is and as it would be.
#[derive(Serialize, ToSchema)]
pub(super) struct Answer {
    #[schema(value_type = Vec<Object>)]
    before: Value,
    #[schema(value_type = Vec<Object>)]
    after: Value,
    /// Whether an answer has more rows than are shown.
    more: bool,
    /// Tables that were computed again.
    computed: Vec<String>,
}

/// Asks a question of the last run as it is and with other rows in some tables. Nothing is stored; one scenario is computed at a time.
#[utoipa::path(post, path = "/api/v1/what-if", request_body = Scenario, responses((status = 200, body = Answer), (status = 400, body = super::error::Problem)))]
pub(super) async fn ask(State(shared): State<Arc<Shared>>, Json(scenario): Json<Scenario>) -> Result<Json<Answer>, ServeError> {
    let mut replace = BTreeMap::new();
    for (table, sql) in scenario.replace {
        let table: TableName = table.parse().map_err(|what| ServeError::BadRequest { what, hint: None })?;
        replace.insert(table, sql);
    }
    let _one = shared.scenario.lock().await;
    let answer = shared.hub.what_if(&replace, &scenario.question, ROWS_MAX).await.map_err(|error| match error.blame() {
        // The statements are the caller's.
        Blame::User => ServeError::BadRequest { what: error.to_string(), hint: error.hint() },
        Blame::Program => error.into(),
    })?;
    Ok(Json(Answer {
        before: rows(&answer.before)?,
        after: rows(&answer.after)?,
        more: answer.more,
        computed: answer.computed.iter().map(ToString::to_string).collect(),
    }))
}

fn rows(batches: &[RecordBatch]) -> Result<Value, ServeError> {
    let mut writer = WriterBuilder::new().with_explicit_nulls(true).build::<_, JsonArray>(Vec::new());
    let failed = |error: arrow::error::ArrowError| ModelError::QueryRun { source: Box::new(error.into()) };
    writer.write_batches(&batches.iter().collect::<Vec<_>>()).map_err(failed)?;
    writer.finish().map_err(failed)?;
    Ok(serde_json::from_slice(&writer.into_inner()).unwrap_or_default())
}
