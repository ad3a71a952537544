//! The API and the dashboard over a small plant: what they show, who may decide, what a new file adds.

use std::net::SocketAddr;
use std::process::Command;
use std::sync::Arc;

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::http::{Request, Response, StatusCode, header};
use loopline::base::Secret;
use loopline::pipeline::{Cancel, Silent};
use loopline::serve::{self, Options};
use loopline::store::ChangeState;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tower::ServiceExt;

use crate::r#loop::Plant;

const TOKEN: &str = "correct horse";

const KPI: &str = r#"--! description = "Open orders of all orders"
--! key = ["day", "status"]
--! [kpi]
--! title = "Open <orders>"
--! unit = "%"
--! scale = 100.0
--! better = "lower"
--! target = 50.0
--! source = "a test"
--! node = "erp"
select date '2026-03-02' as day, status, cast(sum(case when status = 'OPEN' then 1 else 0 end) as double) as numerator, cast(count(*) as double) as denominator
from erp.orders group by status
"#;

async fn app(plant: &Plant, bind: &str) -> Router {
    let options = Options { bind: bind.parse().unwrap(), token: Secret::new(TOKEN) };
    serve::app(Arc::new(plant.hub().await), options)
}

/// A plant with a KPI and four changes that wait.
async fn plant_with_kpi() -> Plant {
    let plant = Plant::new();
    std::fs::create_dir_all(plant.root().join("sql/kpi")).unwrap();
    std::fs::write(plant.root().join("sql/kpi/open_orders.sql"), KPI).unwrap();
    let pipeline = plant.root().join("pipelines/ask.toml");
    let text = std::fs::read_to_string(&pipeline).unwrap().replace("[\"outbox\"]", "[\"outbox\", \"kpi\"]");
    std::fs::write(pipeline, text).unwrap();
    plant.run("ask").await;
    plant
}

async fn send(app: &Router, request: Request<Body>) -> (StatusCode, String) {
    let response: Response<Body> = app.clone().oneshot(request).await.unwrap();
    let status = response.status();
    (status, String::from_utf8(to_bytes(response.into_body(), 10_000_000).await.unwrap().to_vec()).unwrap())
}

async fn get(app: &Router, path: &str) -> (StatusCode, String) {
    send(app, Request::get(path).header(header::HOST, "127.0.0.1:8080").body(Body::empty()).unwrap()).await
}

async fn get_json(app: &Router, path: &str) -> Value {
    let (status, body) = get(app, path).await;
    assert_eq!(status, StatusCode::OK, "{path}: {body}");
    serde_json::from_str(&body).unwrap()
}

fn decision(token: Option<&str>, origin: Option<&str>, body: &Value) -> Request<Body> {
    let mut request = Request::post("/api/v1/changes/approve")
        .header(header::HOST, "127.0.0.1:8080")
        .header(header::CONTENT_TYPE, "application/json");
    if let Some(token) = token {
        request = request.header(header::AUTHORIZATION, format!("Bearer {token}"));
    }
    if let Some(origin) = origin {
        request = request.header(header::ORIGIN, origin);
    }
    request.body(Body::from(body.to_string())).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_kpi_file_is_in_the_api_the_description_and_the_dashboard() {
    let plant = plant_with_kpi().await;
    let app = app(&plant, "127.0.0.1:8080").await;

    let list = get_json(&app, "/api/v1/kpis").await;
    assert_eq!(list[0]["name"], "open_orders");
    assert_eq!(list[0]["dimensions"], json!(["status"]));

    let total = get_json(&app, "/api/v1/kpis/open_orders?grain=total").await;
    assert_eq!((total["points"][0]["numerator"].as_f64(), total["points"][0]["denominator"].as_f64()), (Some(2.0), Some(3.0)));
    let by = get_json(&app, "/api/v1/kpis/open_orders?by=status&grain=day&from=2026-03-01&to=2026-03-31").await;
    let points: Vec<_> = by["points"]
        .as_array()
        .unwrap()
        .iter()
        .map(|p| (p["period"].as_str(), p["group"].as_str(), p["value"].as_f64()))
        .collect();
    assert_eq!(points, [(Some("2026-03-02"), Some("CLOSED"), Some(0.0)), (Some("2026-03-02"), Some("OPEN"), Some(100.0))]);
    assert_eq!(get_json(&app, "/api/v1/kpis/open_orders?from=2026-04-01").await["points"], json!([]));

    let document = get_json(&app, "/openapi.json").await;
    assert_eq!(document["paths"]["/api/v1/kpis/{name}"]["get"]["parameters"][0]["schema"]["enum"], json!(["open_orders"]));

    let (status, page) = get(&app, "/").await;
    assert_eq!(status, StatusCode::OK);
    assert!(page.contains("data-kpi=\"open_orders\""), "{page}");
    assert!(page.contains("Open &lt;orders&gt;") && !page.contains("Open <orders>"), "text of a project is no markup");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_table_has_a_page_and_a_column_a_way() {
    let plant = plant_with_kpi().await;
    let app = app(&plant, "127.0.0.1:8080").await;

    let lineage = get_json(&app, "/api/v1/lineage/kpi.open_orders.numerator").await;
    assert_eq!(lineage["upstream"]["branches"][0]["column"], "erp.orders.status");
    assert_eq!(lineage["upstream"]["branches"][0]["how"], "aggregation");
    let table = get_json(&app, "/api/v1/tables/kpi.open_orders").await;
    assert_eq!((&table["kind"], &table["key"]), (&json!("model"), &json!(["day", "status"])));
    assert_eq!(table["reads"], json!(["erp.orders"]));
    let names: Vec<String> = get_json(&app, "/api/v1/tables")
        .await
        .as_array()
        .unwrap()
        .iter()
        .map(|table| table["table"].as_str().unwrap().to_owned())
        .collect();
    let place = |name: &str| names.iter().position(|known| known == name).unwrap_or_else(|| panic!("{name} is not in {names:?}"));
    assert!(place("raw.erp__orders") < place("erp.orders") && place("erp.orders") < place("kpi.open_orders"));

    let (status, index) = get(&app, "/tables").await;
    assert_eq!(status, StatusCode::OK);
    assert!(index.contains("href=\"/tables/kpi.open_orders\""), "{index}");
    let (status, page) = get(&app, "/tables/kpi.open_orders?column=numerator").await;
    assert_eq!(status, StatusCode::OK);
    for shown in [
        "data-column=\"numerator\"",
        "aria-label=\"Lineage of kpi.open_orders.numerator\"",
        "href=\"/tables/erp.orders?column=status\"",
        "CLOSED",
    ] {
        assert!(page.contains(shown), "{shown} is not in {page}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_scenario_is_computed_and_nothing_is_kept_of_it() {
    let plant = plant_with_kpi().await;
    let app = app(&plant, "127.0.0.1:8080").await;
    let ask = async |scenario: Value| {
        let request = Request::post("/api/v1/what-if")
            .header(header::HOST, "127.0.0.1:8080")
            .header(header::CONTENT_TYPE, "application/json")
            .header(header::AUTHORIZATION, format!("Bearer {TOKEN}"));
        let (status, body) = send(&app, request.body(Body::from(scenario.to_string())).unwrap()).await;
        (status, serde_json::from_str::<Value>(&body).unwrap())
    };
    let question = "select sum(numerator) as open, count(*) as groups from kpi.open_orders";
    let all_open = "select * exclude (status), 'OPEN' as status from erp.orders";
    let (status, answer) = ask(json!({ "replace": { "erp.orders": all_open }, "question": question })).await;
    assert_eq!(status, StatusCode::OK, "{answer}");
    assert_eq!(answer["before"], json!([{ "open": 2.0, "groups": 2 }]));
    assert_eq!(answer["after"], json!([{ "open": 3.0, "groups": 1 }]));
    assert_eq!(answer["computed"], json!(["kpi.open_orders"])); // the outboxes change too, but nobody asked for them
    assert_eq!(ask(json!({ "replace": {}, "question": question })).await.1["after"], answer["before"]);

    for (replace, what) in [
        (json!({ "erp.orders": "select 1 as stauts from erp.orders" }), "in place of erp.orders: the table has no column stauts"),
        (
            json!({ "erp.orders": "select order_id from erp.orders" }),
            "in place of erp.orders: the statement does not yield column system",
        ),
        (
            json!({ "erp.orders": "select * exclude (quantity), 'x' as quantity from erp.orders" }),
            "in place of erp.orders: column quantity: ",
        ),
        (json!({ "erp.order": "select 1 as a" }), "in place of erp.order: query, line 1: run 1 made no table erp.order"),
        (json!({ "erp.orders": "drop table erp.orders" }), "in place of erp.orders: query, line 1: this is not a select"),
    ] {
        let (status, answer) = ask(json!({ "replace": replace, "question": question })).await;
        assert_eq!(status, StatusCode::BAD_REQUEST, "{answer}");
        let found = answer["error"].as_str().unwrap_or_default();
        assert!(found.starts_with(what), "{answer}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn wrong_questions_are_told_what_is_right() {
    let plant = plant_with_kpi().await;
    let app = app(&plant, "127.0.0.1:8080").await;
    for (path, expected, hint) in [
        ("/api/v1/kpis/open_order", StatusCode::NOT_FOUND, "did you mean \"open_orders\"?"),
        ("/api/v1/kpis/open_orders?grain=fortnight", StatusCode::BAD_REQUEST, "day, week, month, quarter, year or total"),
        ("/api/v1/kpis/open_orders?by=colour", StatusCode::BAD_REQUEST, "one of status"),
        ("/api/v1/kpis/open_orders?by=%22;drop", StatusCode::BAD_REQUEST, "one of status"),
        ("/api/v1/tables/erp.order", StatusCode::NOT_FOUND, "did you mean erp.orders?"),
        ("/api/v1/lineage/erp.orders.statsu", StatusCode::NOT_FOUND, "did you mean erp.orders.status?"),
        ("/api/v1/lineage/erp.orders", StatusCode::NOT_FOUND, "name a column: schema.table.column"),
        ("/api/v1/changes?state=plannd", StatusCode::BAD_REQUEST, "did you mean \"planned\"?"),
    ] {
        let (status, body) = get(&app, path).await;
        assert_eq!(status, expected, "{path}: {body}");
        assert_eq!(serde_json::from_str::<Value>(&body).unwrap()["hint"], hint, "{path}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn only_who_has_the_token_decides() {
    let plant = plant_with_kpi().await;
    let app = app(&plant, "127.0.0.1:8080").await;
    let changes = get_json(&app, "/api/v1/changes?state=planned").await;
    assert_eq!(changes.as_array().unwrap().len(), 4);
    let one = json!({ "ids": [changes[0]["id"]], "by": "ann" });

    for (request, expected) in [
        (decision(None, None, &one), StatusCode::UNAUTHORIZED),
        (decision(Some("wrong"), None, &one), StatusCode::UNAUTHORIZED),
        (decision(Some(TOKEN), Some("http://elsewhere.example"), &one), StatusCode::FORBIDDEN),
        (decision(Some(TOKEN), None, &json!({ "by": "ann" })), StatusCode::BAD_REQUEST),
        (decision(Some(TOKEN), Some("http://127.0.0.1:8080"), &one), StatusCode::OK),
    ] {
        let (status, body) = send(&app, request).await;
        assert_eq!(status, expected, "{body}");
    }
    let approved = get_json(&app, "/api/v1/changes?state=approved").await;
    assert_eq!((approved.as_array().unwrap().len(), approved[0]["approved_by"].as_str()), (1, Some("ann")));

    let foreign = Request::get("/api/v1/kpis").header(header::HOST, "plant.example").body(Body::empty()).unwrap();
    assert_eq!(send(&app, foreign).await.0, StatusCode::FORBIDDEN, "a name that was pointed at this machine");
}

#[tokio::test(flavor = "multi_thread")]
async fn away_from_loopback_everything_needs_the_token() {
    let plant = plant_with_kpi().await;
    let app = app(&plant, "0.0.0.0:8080").await;
    assert_eq!(get(&app, "/api/v1/kpis").await.0, StatusCode::UNAUTHORIZED);
    assert_eq!(get(&app, "/healthz").await, (StatusCode::OK, "ok".into()));
    let (status, page) = get(&app, "/").await;
    assert!(status == StatusCode::OK && page.contains("Sign in") && !page.contains("data-node"), "{page}");

    let login = |token: &str| {
        let form = format!("token={}", token.replace(' ', "+"));
        Request::post("/login")
            .header(header::HOST, "plant:8080")
            .header(header::CONTENT_TYPE, "application/x-www-form-urlencoded")
            .body(Body::from(form))
            .unwrap()
    };
    assert_eq!(send(&app, login("wrong")).await.0, StatusCode::UNAUTHORIZED);
    let signed = app.clone().oneshot(login(TOKEN)).await.unwrap();
    assert_eq!(signed.status(), StatusCode::SEE_OTHER);
    let cookie = signed.headers()[header::SET_COOKIE].to_str().unwrap().to_owned();
    assert!(cookie.contains("HttpOnly") && cookie.contains("SameSite=Strict") && !cookie.contains(TOKEN), "{cookie}");
    let with_cookie =
        Request::get("/api/v1/runs").header(header::COOKIE, cookie.split(';').next().unwrap()).body(Body::empty()).unwrap();
    assert_eq!(send(&app, with_cookie).await.0, StatusCode::OK);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_added_to_a_connector_is_pulled() {
    let plant = Plant::new();
    plant.run("ask").await;
    plant.sql("create table notes (id integer primary key not null, note text); insert into notes values (1, 'x'), (2, 'y');");
    let connector = plant.root().join("connectors/small/connector.toml");
    let text = std::fs::read_to_string(&connector).unwrap() + "\n[stream.notes]\nkey = [\"id\"]\n";
    std::fs::write(connector, text).unwrap();
    let report = plant.run("ask").await;
    let notes = report.pull.systems[0].streams.iter().find(|stream| stream.stream == "notes").unwrap();
    assert_eq!(notes.inserted, 2);
}

/// The page in a real browser: eight nodes beside one another, the KPI's value, a row for each change, and a decision by its button.
#[tokio::test(flavor = "multi_thread")]
async fn a_manager_sees_the_loop_in_a_browser() {
    let Ok(chromium) = std::env::var("LOOPLINE_TEST_CHROMIUM") else {
        assert!(std::env::var("CI").is_err(), "LOOPLINE_TEST_CHROMIUM is not set: run the tests with `bash tests/run`");
        println!("skipped: LOOPLINE_TEST_CHROMIUM is not set");
        return;
    };
    let plant = plant_with_kpi().await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address: SocketAddr = listener.local_addr().unwrap();
    let cancel = Cancel::default();
    let hub = Arc::new(plant.hub().await);
    let options = Options { bind: address, token: Secret::new(TOKEN) };
    let server = serve::serve(hub.clone(), listener, options, &Silent, cancel.clone());
    let visit = async {
        let profile = tempfile::tempdir().unwrap();
        let screenshot = profile.path().join("page.png");
        let browse = |output: String| {
            let mut command = Command::new(&chromium);
            command.args([
                "--headless",
                "--no-sandbox",
                "--disable-gpu",
                "--no-first-run",
                "--disable-background-networking",
                "--disable-component-update",
            ]);
            command.args(["--disable-sync", "--hide-scrollbars", "--window-size=1300,1500", "--virtual-time-budget=3000"]);
            command.arg(format!("--user-data-dir={}", profile.path().display())).arg(output).arg(format!("http://{address}/"));
            tokio::task::spawn_blocking(move || command.output().unwrap())
        };
        let dom = String::from_utf8(browse("--dump-dom".into()).await.unwrap().stdout).unwrap();
        assert_eq!(dom.matches("data-node=").count(), 8, "{dom}");
        assert_eq!(dom.matches("data-change=").count(), 4);
        assert!(dom.contains("data-kpi=\"open_orders\""));
        browse(format!("--screenshot={}", screenshot.display())).await.unwrap();
        assert!(std::fs::metadata(&screenshot).unwrap().len() > 20_000, "the page is not blank");

        // what the button sends
        let waiting = plant_changes(&hub, ChangeState::Planned);
        let app = serve::app(hub.clone(), Options { bind: address, token: Secret::new(TOKEN) });
        let press = Request::post("/changes/approve")
            .header(header::HOST, address.to_string())
            .header(header::AUTHORIZATION, format!("Bearer {TOKEN}"))
            .header(header::CONTENT_TYPE, "application/x-www-form-urlencoded")
            .body(Body::from(format!("ids={}", waiting[0])))
            .unwrap();
        assert_eq!(send(&app, press).await.0, StatusCode::SEE_OTHER);
        assert_eq!(plant_changes(&hub, ChangeState::Approved), waiting[..1]);

        cancel.cancel();
    };
    tokio::join!(server, visit).0.unwrap();
}

fn plant_changes(hub: &loopline::pipeline::Hub, state: ChangeState) -> Vec<i64> {
    let filter = loopline::store::Filter { states: Some(vec![state]), ..Default::default() };
    hub.store.control.changes(&filter).unwrap().iter().map(|change| change.id).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn earlier_runs_are_asked_by_their_number() {
    let plant = plant_with_kpi().await;
    plant.run("ask").await;
    let app = app(&plant, "127.0.0.1:8080").await;
    let last = get_json(&app, "/api/v1/kpis/open_orders?grain=total").await;
    let first = get_json(&app, "/api/v1/kpis/open_orders?grain=total&as_of=1").await;
    assert_eq!((last["run"].as_i64(), first["run"].as_i64()), (Some(2), Some(1)));
    assert_eq!(get_json(&app, "/api/v1/kpis?as_of=1").await[0]["name"], "open_orders");
    for path in ["/api/v1/kpis?as_of=9", "/api/v1/kpis/open_orders?as_of=9", "/api/v1/lots/L1/trace?as_of=9"] {
        let (status, body) = get(&app, path).await;
        assert_eq!((status, body.contains("run 9 published nothing")), (StatusCode::NOT_FOUND, true), "{path}: {body}");
    }
}
