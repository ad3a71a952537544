//! KPIs: every file in `sql/kpi` is one.
//!
//! A KPI's table holds `day`, dimensions, `numerator` and `denominator`; a value over any set of rows is `scale * sum(numerator) / sum(denominator)`.

use std::sync::Arc;

use arrow::array::{Array, Date32Array, Float64Array, RecordBatch, StringArray};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Schema};
use axum::Json;
use axum::extract::{Path, Query, State};
use chrono::NaiveDate;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::{ServeError, Shared};
use crate::base::{RunId, TableName, nearest};
use crate::model::Reader;
use crate::project::{Kpi, Model, Project};
use crate::store::Cut;

const POINTS_MAX: usize = 10_000; // what one answer may hold

/// A KPI and how it is read.
#[derive(Serialize, ToSchema, Clone)]
pub(super) struct KpiView {
    pub name: String,
    pub title: String,
    pub description: String,
    pub unit: String,
    /// The value to reach, in `unit`.
    pub target: Option<f64>,
    pub higher_is_better: bool,
    /// Where the formula comes from.
    pub source: String,
    /// The part of the loop that it belongs to: `crm`, `erp`, `scm`, `aps`, `srm`, `mes`, `wms`, `qms` or `loop`.
    pub node: String,
    /// What `by` may be.
    pub dimensions: Vec<String>,
    /// The last 90 days up to the run's instant.
    pub value: Option<f64>,
    /// The 90 days before those.
    pub previous: Option<f64>,
}

/// One value of a KPI.
#[derive(Serialize, ToSchema, Clone)]
pub(super) struct Point {
    /// First day of the period; `null` for the total.
    #[schema(value_type = Option<String>, format = Date)]
    pub period: Option<NaiveDate>,
    /// The dimension's value; `null` without `by`.
    pub group: Option<String>,
    pub numerator: f64,
    pub denominator: f64,
    /// `null` where the denominator is 0.
    pub value: Option<f64>,
}

#[derive(Serialize, ToSchema)]
pub(super) struct Series {
    pub kpi: KpiView,
    /// The run whose cut this was read from.
    pub run: i64,
    pub points: Vec<Point>,
}

#[derive(Deserialize, IntoParams, Default)]
pub(super) struct Slice {
    /// One of the KPI's dimensions.
    by: Option<String>,
    /// First day.
    #[param(value_type = Option<String>, format = Date)]
    from: Option<NaiveDate>,
    /// Last day.
    #[param(value_type = Option<String>, format = Date)]
    to: Option<NaiveDate>,
    /// A run whose cut is asked instead of the last one, as long as it is kept.
    as_of: Option<i64>,
    /// Length of a period: `day`, `week`, `month`, `quarter`, `year` or `total` (default `month`).
    grain: Option<String>,
}

/// Which cut is asked.
#[derive(Deserialize, IntoParams)]
pub(super) struct AsOf {
    /// A run whose cut is asked instead of the last one, as long as it is kept.
    as_of: Option<i64>,
}

impl AsOf {
    pub(super) fn run(&self) -> Option<RunId> {
        self.as_of.map(RunId)
    }
}

impl Slice {
    /// By month, from one day to another.
    pub(super) fn since(from: NaiveDate, to: NaiveDate) -> Self {
        Self { from: Some(from), to: Some(to), ..Self::default() }
    }
}

/// All KPIs with their value now, or as of a run.
#[utoipa::path(get, path = "/api/v1/kpis", params(AsOf), responses((status = 200, body = Vec<KpiView>), (status = 409, body = super::error::Problem)))]
pub(super) async fn list(State(shared): State<Arc<Shared>>, Query(as_of): Query<AsOf>) -> Result<Json<Vec<KpiView>>, ServeError> {
    let board = match as_of.run() {
        None => super::board::current(&shared).await?,
        run => Arc::new(super::board::read(&shared, shared.hub.cut_of(run).await?).await?),
    };
    Ok(Json(board.kpis.iter().map(|kpi| kpi.view.clone()).collect()))
}

/// One KPI over time, by dimension.
#[utoipa::path(get, path = "/api/v1/kpis/{name}", params(("name" = String, Path, description = "a KPI's name"), Slice),
    responses((status = 200, body = Series), (status = 400, body = super::error::Problem), (status = 404, body = super::error::Problem)))]
pub(super) async fn series(
    State(shared): State<Arc<Shared>>,
    Path(name): Path<String>,
    Query(slice): Query<Slice>,
) -> Result<Json<Series>, ServeError> {
    let hub = &shared.hub;
    let (model, kpi) = find(&hub.project, &name)?;
    let cut = hub.cut_of(slice.as_of.map(RunId)).await?;
    let reader = Reader::new(&hub.project, &hub.store, &cut).await?;
    let kpi = view(&reader, &cut, model, kpi).await?;
    let points = points(&reader, &kpi, model, &slice).await?;
    Ok(Json(Series { kpi, run: cut.run.0, points }))
}

/// Every KPI of the project, by name.
pub(super) fn all(project: &Project) -> impl Iterator<Item = (&Model, &Kpi)> {
    project.models.values().filter_map(|model| Some((model, model.kpi.as_ref()?)))
}

fn find<'a>(project: &'a Project, name: &str) -> Result<(&'a Model, &'a Kpi), ServeError> {
    all(project).find(|(model, _)| model.table.name == name).ok_or_else(|| ServeError::NotFound {
        what: "KPI",
        name: name.into(),
        hint: nearest(name, all(project).map(|(model, _)| model.table.name.as_str()))
            .map(|near| format!("did you mean \"{near}\"?")),
    })
}

/// The KPI with its dimensions and its value now.
pub(super) async fn view(reader: &Reader<'_>, cut: &Cut, model: &Model, kpi: &Kpi) -> Result<KpiView, ServeError> {
    let schema = reader.schema(&model.table).await?;
    let today = cut.as_of.date_naive();
    let window = |from: i64, to: i64| Slice {
        from: Some(today - chrono::Duration::days(from)),
        to: Some(today - chrono::Duration::days(to)),
        grain: Some("total".into()),
        ..Slice::default()
    };
    let mut view = KpiView {
        name: model.table.name.clone(),
        title: kpi.title.clone(),
        description: model.description.clone(),
        unit: kpi.unit.clone(),
        target: kpi.target,
        higher_is_better: kpi.higher_is_better,
        source: kpi.source.clone(),
        node: kpi.node.clone(),
        dimensions: dimensions(&schema),
        value: None,
        previous: None,
    };
    let total = |points: Vec<Point>| points.first().and_then(|point| point.value);
    view.value = total(points(reader, &view, model, &window(89, 0)).await?);
    view.previous = total(points(reader, &view, model, &window(179, 90)).await?);
    Ok(view)
}

fn dimensions(schema: &Schema) -> Vec<String> {
    schema
        .fields()
        .iter()
        .filter(|field| matches!(field.data_type(), DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View))
        .map(|field| field.name().clone())
        .collect()
}

/// The KPI's values in `slice`, ascending by period and group.
pub(super) async fn points(reader: &Reader<'_>, kpi: &KpiView, model: &Model, slice: &Slice) -> Result<Vec<Point>, ServeError> {
    let period = match slice.grain.as_deref().unwrap_or("month") {
        grain @ ("day" | "week" | "month" | "quarter" | "year") => format!("cast(date_trunc('{grain}', day) as date)"),
        "total" => "cast(null as date)".into(),
        grain => {
            return Err(ServeError::BadRequest {
                what: format!("\"{grain}\" is not a grain"),
                hint: Some("day, week, month, quarter, year or total".into()),
            });
        }
    };
    let group = match slice.by.as_deref() {
        None => "cast(null as varchar)".into(),
        Some(by) if kpi.dimensions.iter().any(|dimension| dimension == by) => format!("\"{by}\""),
        Some(by) => {
            return Err(ServeError::BadRequest {
                what: format!("KPI \"{}\" has no dimension \"{by}\"", kpi.name),
                hint: Some(format!("one of {}", kpi.dimensions.join(", "))),
            });
        }
    };
    let from = slice.from.map(|day| format!(" and day >= date '{day}'")).unwrap_or_default();
    let to = slice.to.map(|day| format!(" and day <= date '{day}'")).unwrap_or_default();
    let TableName { schema, name } = &model.table;
    let sql = format!(
        "with slice as (select {period} as period, {group} as grp, numerator, denominator from {schema}.{name} where true{from}{to}) \
         select period, grp, sum(numerator), sum(denominator) from slice group by period, grp order by period, grp"
    );
    let (batches, _) = reader.query(&sql, POINTS_MAX).await?;
    let scale = model.kpi.as_ref().map_or(1.0, |kpi| kpi.scale);
    Ok(batches.iter().flat_map(|batch| read_points(batch, scale)).collect())
}

fn read_points(batch: &RecordBatch, scale: f64) -> Vec<Point> {
    let column = |index: usize, to: &DataType| cast(batch.column(index), to).ok();
    let (periods, groups) = (column(0, &DataType::Date32), column(1, &DataType::Utf8));
    let (numerators, denominators) = (column(2, &DataType::Float64), column(3, &DataType::Float64));
    let periods = periods.as_ref().and_then(|column| column.as_any().downcast_ref::<Date32Array>());
    let groups = groups.as_ref().and_then(|column| column.as_any().downcast_ref::<StringArray>());
    let number = |column: &Option<Arc<dyn Array>>, row: usize| {
        let array = column.as_ref().and_then(|column| column.as_any().downcast_ref::<Float64Array>());
        array.filter(|array| array.is_valid(row)).map_or(0.0, |array| array.value(row))
    };
    (0..batch.num_rows())
        .map(|row| {
            let (numerator, denominator) = (number(&numerators, row), number(&denominators, row));
            Point {
                period: periods.filter(|array| array.is_valid(row)).and_then(|array| array.value_as_date(row)),
                group: groups.filter(|array| array.is_valid(row)).map(|array| array.value(row).to_owned()),
                numerator,
                denominator,
                value: (denominator != 0.0).then(|| scale * numerator / denominator),
            }
        })
        .collect()
}
