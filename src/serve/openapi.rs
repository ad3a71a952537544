//! The API's own description, with the project's KPIs by name.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use serde_json::{Value, json};
use utoipa::OpenApi;

use super::{Shared, changes, error, kpi, lots, runs, tables, what_if};

#[derive(OpenApi)]
#[openapi(
    info(
        title = "Loopline",
        description = "KPIs, runs, changes and lots of one plant's loop. Everything is read from the last complete cut."
    ),
    paths(
        kpi::list,
        kpi::series,
        runs::list,
        runs::current,
        runs::health,
        changes::list,
        changes::decide,
        lots::trace,
        tables::list,
        tables::one,
        tables::column,
        what_if::ask
    ),
    components(schemas(error::Problem))
)]
struct Document;

/// OpenAPI 3.1.
pub(super) async fn document(State(shared): State<Arc<Shared>>) -> Json<Value> {
    let mut document = serde_json::to_value(Document::openapi()).unwrap_or_default();
    document["components"]["securitySchemes"] = json!({ "token": { "type": "http", "scheme": "bearer" } });
    let names: Vec<&str> = kpi::all(&shared.hub.project).map(|(model, _)| model.table.name.as_str()).collect();
    let table: Vec<String> = kpi::all(&shared.hub.project)
        .map(|(model, kpi)| format!("- `{}`: {} ({}). {}", model.table.name, kpi.title, kpi.unit, model.description))
        .collect();
    let operation = &mut document["paths"]["/api/v1/kpis/{name}"]["get"];
    operation["description"] = table.join("\n").into();
    if let Some(parameters) = operation["parameters"].as_array_mut() {
        for parameter in parameters.iter_mut().filter(|parameter| parameter["name"] == "name") {
            parameter["schema"]["enum"] = json!(names);
        }
    }
    Json(document)
}
