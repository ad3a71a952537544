//! What each table is: the pages at `/tables` and the same as JSON under `/api/v1/tables` and `/api/v1/lineage`.

use std::collections::BTreeSet;
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::util::display::{ArrayFormatter, FormatOptions};
use axum::Json;
use axum::extract::{Path, Query, State};
use maud::{Markup, html};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::dashboard::{ago, head, shell};
use super::{ServeError, Shared, picture};
use crate::base::{Diagnose, TableName};
use crate::model::{Branch, ColumnLineage, ColumnName, Lineage, Reader, TableKind, TableLineage, Way};
use crate::pipeline::PipelineError;
use crate::project::Severity;
use crate::store::Cut;

/// Rows shown of a table.
const SAMPLE_ROWS: usize = 10;

/// A table in the list of all.
#[derive(Serialize, ToSchema)]
pub(super) struct TableView {
    table: String,
    /// `stream`, `mapped`, `contract`, `model`, `write` or `system`.
    kind: String,
    description: String,
    /// Relative to the project; none for a pulled table.
    file: Option<String>,
    columns: usize,
}

/// A table with all that is known of it.
#[derive(Serialize, ToSchema)]
pub(super) struct TableDetail {
    #[serde(flatten)]
    table: TableView,
    key: Vec<String>,
    checks: Vec<CheckView>,
    reads: Vec<String>,
    read_by: Vec<String>,
    /// Columns that decide which rows there are: filters, joins, groups.
    rows_decided_by: Vec<String>,
    column_list: Vec<ColumnView>,
}

#[derive(Serialize, ToSchema)]
pub(super) struct CheckView {
    /// What the rows meet: a name, a condition or a description.
    name: String,
    /// `error` or `warn`.
    #[schema(value_type = String)]
    severity: Severity,
}

#[derive(Serialize, ToSchema)]
pub(super) struct ColumnView {
    name: String,
    #[serde(rename = "type")]
    data_type: String,
    description: String,
    /// The columns that its value is made of.
    origins: Vec<String>,
}

/// The ways to and from a column.
#[derive(Serialize, ToSchema)]
pub(super) struct LineageView {
    column: String,
    #[schema(value_type = Object)]
    upstream: Branch,
    #[schema(value_type = Object)]
    downstream: Branch,
    decides_rows_of: Vec<String>,
}

#[derive(Deserialize, IntoParams)]
pub(super) struct Focus {
    /// A column whose lineage is drawn.
    column: Option<String>,
}

/// The lineage as of the last cut, worked out once for each.
async fn lineage(shared: &Shared) -> Result<(Cut, Arc<Lineage>), ServeError> {
    let cut = shared.hub.store.cut().await?.ok_or(PipelineError::NoCut)?;
    let mut kept = shared.lineage.lock().await;
    if let Some((_, lineage)) = kept.as_ref().filter(|(run, _)| *run == cut.run) {
        return Ok((cut, lineage.clone()));
    }
    let lineage = Arc::new(shared.hub.lineage().await?);
    *kept = Some((cut.run, lineage.clone()));
    Ok((cut, lineage))
}

fn find<'l>(lineage: &'l Lineage, name: &str) -> Result<&'l TableLineage, ServeError> {
    match lineage.find(name) {
        Ok((table, None)) => Ok(table),
        Ok((_, Some(_))) => Err(ServeError::NotFound { what: "table", name: name.into(), hint: None }),
        Err(error) => Err(ServeError::NotFound { what: "table", name: name.into(), hint: error.hint() }),
    }
}

/// Every table, in the order in which data flows.
#[utoipa::path(get, path = "/api/v1/tables", responses((status = 200, body = Vec<TableView>)))]
pub(super) async fn list(State(shared): State<Arc<Shared>>) -> Result<Json<Vec<TableView>>, ServeError> {
    let (_, lineage) = lineage(&shared).await?;
    Ok(Json(lineage.tables.iter().map(view).collect()))
}

/// One table: columns, keys, checks, what it reads and who reads it.
#[utoipa::path(get, path = "/api/v1/tables/{table}", params(("table" = String, Path, description = "schema.table")), responses((status = 200, body = TableDetail), (status = 404, body = super::error::Problem)))]
pub(super) async fn one(State(shared): State<Arc<Shared>>, Path(name): Path<String>) -> Result<Json<TableDetail>, ServeError> {
    let (_, lineage) = lineage(&shared).await?;
    let table = find(&lineage, &name)?;
    Ok(Json(detail(&shared, &lineage, table)))
}

/// Where a column comes from and what is made of it.
#[utoipa::path(get, path = "/api/v1/lineage/{column}", params(("column" = String, Path, description = "schema.table.column")), responses((status = 200, body = LineageView), (status = 404, body = super::error::Problem)))]
pub(super) async fn column(State(shared): State<Arc<Shared>>, Path(name): Path<String>) -> Result<Json<LineageView>, ServeError> {
    let (_, lineage) = lineage(&shared).await?;
    let missing = |hint| ServeError::NotFound { what: "column", name: name.clone(), hint };
    let found = lineage.find(&name).map_err(|error| missing(error.hint()))?;
    let (table, Some(column)) = found else { return Err(missing(Some("name a column: schema.table.column".into()))) };
    let column = ColumnName { table: table.table.clone(), column: column.name.clone() };
    Ok(Json(LineageView {
        upstream: lineage.follow(&column, Way::Upstream),
        downstream: lineage.follow(&column, Way::Downstream),
        decides_rows_of: lineage.decides(&column).iter().map(ToString::to_string).collect(),
        column: column.to_string(),
    }))
}

fn view(table: &TableLineage) -> TableView {
    TableView {
        table: table.table.to_string(),
        kind: kind_word(&table.kind).into(),
        description: table.description.clone(),
        file: table.path.as_ref().map(|path| path.display().to_string()),
        columns: table.columns.len(),
    }
}

fn kind_word(kind: &TableKind) -> &'static str {
    match kind {
        TableKind::Stream { .. } => "stream",
        TableKind::Mapped => "mapped",
        TableKind::Contract => "contract",
        TableKind::Model => "model",
        TableKind::Write { .. } => "write",
        TableKind::System => "system",
    }
}

fn detail(shared: &Shared, lineage: &Lineage, table: &TableLineage) -> TableDetail {
    let project = &shared.hub.project;
    let model = project.models.get(&table.table);
    let key = model.map(|model| model.key.clone()).or_else(|| {
        let contract = project.contracts.get(&table.table)?;
        Some(std::iter::once("system".to_owned()).chain(contract.primary_key.iter().cloned()).collect())
    });
    let queries = project.checks.get(&table.table).into_iter().flatten();
    let checks = model.into_iter().flat_map(|model| &model.checks).chain(queries);
    let checks = checks.map(|check| CheckView { name: check.name.clone(), severity: check.severity });
    let column = |column: &ColumnLineage| ColumnView {
        name: column.name.clone(),
        data_type: column.data_type.clone(),
        description: column.description.clone(),
        origins: column.origins.keys().map(ToString::to_string).collect(),
    };
    let texts = |tables: BTreeSet<&TableName>| tables.into_iter().map(ToString::to_string).collect();
    let readers = lineage.tables.iter().filter(|other| touched(other).contains(&table.table)).map(|other| &other.table);
    TableDetail {
        table: view(table),
        key: key.unwrap_or_default(),
        checks: checks.collect(),
        reads: texts(touched(table)),
        read_by: texts(readers.collect()),
        rows_decided_by: table.rows.iter().map(ToString::to_string).collect(),
        column_list: table.columns.iter().map(column).collect(),
    }
}

/// The tables that a table is made of.
fn touched(table: &TableLineage) -> BTreeSet<&TableName> {
    let columns = table.columns.iter().flat_map(|column| column.origins.keys());
    columns.chain(&table.rows).map(|column| &column.table).collect()
}

/// The page of all tables.
pub(super) async fn index(State(shared): State<Arc<Shared>>) -> Result<Markup, ServeError> {
    let (_, lineage) = lineage(&shared).await?;
    // The order in which data flows first meets them.
    let mut ordered: Vec<&str> = vec![];
    for table in &lineage.tables {
        if !ordered.contains(&table.table.schema.as_str()) {
            ordered.push(&table.table.schema);
        }
    }
    Ok(shell(html! {
        (head("tables", "tables"))
        main {
            @for schema in ordered {
                h2 id=(schema) { (schema) }
                div.scroll { table { tbody {
                    @for table in lineage.tables.iter().filter(|table| table.table.schema == schema) {
                        tr { td { (link(&table.table)) } td.soft { (kind_word(&table.kind)) } td { (table.description) } }
                    }
                } } }
            }
            @if !lineage.unknown.is_empty() {
                h2 { "Not known" }
                p.soft { "What these read was never pulled, or their statement is wrong: " @for table in &lineage.unknown { (table) " " } }
            }
        }
    }))
}

fn link(table: &TableName) -> Markup {
    html! { a href=(format!("/tables/{table}")) { (table) } }
}

/// The page of one table; with a column, the picture of its lineage.
pub(super) async fn page(
    State(shared): State<Arc<Shared>>,
    Path(name): Path<String>,
    Query(focus): Query<Focus>,
) -> Result<Markup, ServeError> {
    let (cut, lineage) = lineage(&shared).await?;
    let table = find(&lineage, &name)?;
    let detail = detail(&shared, &lineage, table);
    let chosen = focus.column.as_ref().and_then(|column| table.columns.iter().find(|known| known.name == *column));
    let chosen =
        chosen.or(table.columns.first()).map(|column| ColumnName { table: table.table.clone(), column: column.name.clone() });
    let rows = sample(&shared, &cut, &table.table).await?;
    let ages = shared.hub.status().await?.systems;
    Ok(shell(html! {
        (head("tables", "tables"))
        main {
            h2 { (name) }
            p { (table.description) }
            p.soft {
                (kind_word(&table.kind))
                @match &table.kind {
                    TableKind::Stream { system, stream } => { " " (stream) " of system " (system) }
                    TableKind::Write { system, resource } => { " to " (resource) " of system " (system) }
                    _ => {}
                }
                @if let Some(file) = &detail.table.file { " · " code { (file) } }
                @if !detail.key.is_empty() { " · key " (detail.key.join(", ")) }
                @if let Some(version) = cut.tables.get(&table.table) { " · version " (version) ", run " (cut.run) " as of " (cut.as_of.format("%Y-%m-%d %H:%M UTC")) }
                @for age in ages.iter().filter(|age| systems(&lineage, table).contains(age.system.as_str())) {
                    @if let Some(seconds) = age.age_seconds { " · " (age.system) " pulled " (ago(seconds)) }
                }
            }
            div.scroll { table {
                thead { tr { th { "Column" } th { "Type" } th { "Comes from" } th { "Description" } } }
                tbody { @for column in &detail.column_list {
                    tr data-column=(column.name) {
                        td { a href=(format!("/tables/{name}?column={}", column.name)) { (column.name) } }
                        td.soft { (column.data_type) }
                        td { @for origin in &column.origins { (origin) br; } }
                        td { (column.description) }
                    }
                } }
            } }
            @if let Some(chosen) = &chosen {
                h2 id="lineage" { "Lineage of " (chosen.column) }
                (picture::column(&lineage, chosen))
            }
            h2 { "Neighbours" }
            p { "reads " @for other in &detail.reads { a href=(format!("/tables/{other}")) { (other) } " " } @if detail.reads.is_empty() { "no table" } }
            p { "read by " @for other in &detail.read_by { a href=(format!("/tables/{other}")) { (other) } " " } @if detail.read_by.is_empty() { "no table" } }
            @if !detail.checks.is_empty() {
                h2 { "Checks" }
                ul { @for check in &detail.checks { li { code { (check.name) } @if check.severity == Severity::Warn { " " span.soft { "warns" } } } } }
            }
            @if let Some(rows) = &rows {
                h2 { "Rows" }
                (rows_table(rows))
            }
        }
    }))
}

/// The systems that a table's rows come from.
fn systems<'l>(lineage: &'l Lineage, table: &'l TableLineage) -> BTreeSet<&'l str> {
    let (mut open, mut seen, mut systems) = (vec![table], BTreeSet::new(), BTreeSet::new());
    while let Some(table) = open.pop() {
        if let TableKind::Stream { system, .. } = &table.kind {
            systems.insert(system.as_str());
        }
        if seen.insert(&table.table) {
            open.extend(touched(table).into_iter().filter_map(|name| lineage.table(name)));
        }
    }
    systems
}

/// Some rows of a table of the cut.
async fn sample(shared: &Shared, cut: &Cut, table: &TableName) -> Result<Option<Vec<RecordBatch>>, ServeError> {
    if !cut.has(table) {
        return Ok(None);
    }
    let reader = Reader::new(&shared.hub.project, &shared.hub.store, cut).await?;
    let (batches, _) = reader.query(&format!("select * from \"{}\".\"{}\"", table.schema, table.name), SAMPLE_ROWS).await?;
    Ok(Some(batches))
}

fn rows_table(batches: &[RecordBatch]) -> Markup {
    let options = FormatOptions::default().with_null("–");
    let names: Vec<String> = batches
        .first()
        .map(|batch| batch.schema().fields().iter().map(|field| field.name().clone()).collect())
        .unwrap_or_default();
    html! {
        @if names.is_empty() { p.soft { "none" } } @else {
            div.scroll { table {
                thead { tr { @for name in &names { th { (name) } } } }
                tbody { @for batch in batches { @for row in 0..batch.num_rows() {
                    tr { @for column in batch.columns() {
                        td { (ArrayFormatter::try_new(column, &options).map(|cell| cell.value(row).to_string()).unwrap_or_default()) }
                    } }
                } } }
            } }
        }
    }
}
