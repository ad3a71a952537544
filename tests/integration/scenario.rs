//! The same days of the same demo plant on SQLite, on PostgreSQL, on MariaDB, and on SQLite and PostgreSQL in one project: the same decisions, the
//! same tables.
//!
//! The mixed plant has its CRM and MES in SQLite files and its ERP and WMS in PostgreSQL. Its day passes in the other two plants, which must be
//! equal to it, and is copied from there.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::atomic::{AtomicU32, Ordering};

use loopline::demo::{self, DemoOptions};
use mysql_async::prelude::Queryable;
use serde_json::Value;
use tokio_postgres::NoTls;

use crate::harness::{Mini, Rows, copy_folder, differences, idle, temporary};

const SEED: u64 = 5;
const TODAY: &str = "2026-11-23";
/// Short, so that the test is quick; the masters are the default plant's.
const MONTHS: u32 = 3;
/// Runs after which a plant in which nothing happens has nothing left to do, approvals included.
const RUNS_MAX: usize = 6;

const CONTRACTS: [&str; 4] = ["crm", "erp", "mes", "wms"];
/// Contracts and all that is decided from them; `kpi` holds times of the ledger, which are those of the wall.
const COMPARED: [&str; 10] = ["crm", "erp", "mes", "wms", "xref", "scm", "aps", "srm", "qms", "outbox"];

/// A database on the test's server, dropped at the end.
pub struct Database {
    base: String,
    pub name: String,
}

impl Database {
    /// `None` where there is no server to test on.
    pub fn new(purpose: &str, template: Option<&str>) -> Option<Self> {
        let Ok(base) = std::env::var("LOOPLINE_TEST_POSTGRES") else {
            assert!(std::env::var("CI").as_deref() != Ok("true"), "LOOPLINE_TEST_POSTGRES is not set; tests/run sets it");
            eprintln!("skipped: LOOPLINE_TEST_POSTGRES is not set (tests/run sets it)");
            return None;
        };
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let name = format!("{purpose}_{}_{}", std::process::id(), COUNT.fetch_add(1, Ordering::SeqCst));
        let database = Self { base, name };
        database.server(&format!("create database {} template {}", database.name, template.unwrap_or("template0")));
        Some(database)
    }

    pub fn url(&self) -> String {
        let mut url = url::Url::parse(&self.base).unwrap();
        url.set_path(&self.name);
        url.to_string()
    }

    /// Does something in the server's own database.
    pub fn server(&self, sql: &str) {
        block_on(async { connect(&self.base).await.batch_execute(sql).await }).unwrap_or_else(|error| panic!("{sql}: {error:?}"));
    }

    /// Does something in this database.
    pub fn batch(&self, sql: &str) {
        block_on(async { connect(&self.url()).await.batch_execute(sql).await })
            .unwrap_or_else(|error| panic!("{sql}: {error:?}"));
    }

    /// The one row of a question, each cell as text.
    pub fn row(&self, sql: &str) -> Vec<String> {
        let messages = block_on(async { connect(&self.url()).await.simple_query(sql).await }).unwrap();
        let rows = messages.iter().filter_map(|message| match message {
            tokio_postgres::SimpleQueryMessage::Row(row) => Some(row),
            _ => None,
        });
        let rows: Vec<_> = rows.map(|row| (0..row.len()).map(|at| row.get(at).unwrap_or("").to_owned()).collect()).collect();
        assert_eq!(rows.len(), 1, "{sql}");
        rows.into_iter().next().unwrap()
    }
}

impl Drop for Database {
    fn drop(&mut self) {
        let sql = format!("drop database {} with (force)", self.name);
        let _ended = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| self.server(&sql)));
    }
}

/// The demo's databases on the test's MariaDB server, dropped at the end.
struct MariaDatabases {
    base: String,
    name: String,
}

impl MariaDatabases {
    /// `None` where there is no server to test on.
    fn new(purpose: &str) -> Option<Self> {
        let Ok(base) = std::env::var("LOOPLINE_TEST_MARIADB") else {
            assert!(std::env::var("CI").as_deref() != Ok("true"), "LOOPLINE_TEST_MARIADB is not set; tests/run sets it");
            eprintln!("skipped: LOOPLINE_TEST_MARIADB is not set (tests/run sets it)");
            return None;
        };
        Some(Self { base, name: format!("{purpose}_{}", std::process::id()) })
    }

    fn url(&self) -> String {
        let mut url = url::Url::parse(&self.base).unwrap();
        url.set_path(&self.name);
        url.to_string()
    }
}

impl Drop for MariaDatabases {
    fn drop(&mut self) {
        let dropped = async {
            let mut conn = mysql_async::Conn::from_url(&self.base).await?;
            for system in CONTRACTS {
                conn.query_drop(format!("drop database if exists {}_loopline_demo_{system}", self.name)).await?;
            }
            conn.disconnect().await
        };
        let _ended = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| block_on(dropped)));
    }
}

pub fn block_on<T>(work: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(work)
}

async fn connect(url: &str) -> tokio_postgres::Client {
    let (client, connection) = tokio_postgres::connect(url, NoTls).await.unwrap();
    tokio::spawn(connection);
    client
}

/// A plant made by the command, with its first run behind it.
fn plant(on: Option<&str>) -> Mini {
    let plant = Mini::of(temporary());
    let (seed, months) = (SEED.to_string(), MONTHS.to_string());
    let mut arguments = vec!["demo", "--no-serve", "--seed", &seed, "--today", TODAY, "--months", &months];
    arguments.extend(on.iter().flat_map(|url| ["--on", url]));
    let said = plant.loopline(&arguments);
    assert_eq!(said.code, Some(0), "{said:?}");
    plant
}

fn options(root: &Path, on: Option<&str>) -> DemoOptions {
    DemoOptions {
        dir: root.to_owned(),
        scale: 1,
        seed: SEED,
        on: on.map(Into::into),
        today: Some(TODAY.parse().unwrap()),
        months: Some(MONTHS),
    }
}

/// CRM and MES in files, ERP and WMS in `database`; its first run is still to come.
fn mixed(database: &Database) -> Mini {
    let plant = Mini::of(temporary());
    let other = temporary();
    block_on(demo::create(&options(plant.root(), None))).unwrap();
    block_on(demo::create(&options(other.path(), Some(&database.url())))).unwrap();
    let file = plant.root().join("loopline.toml");
    let mut text = std::fs::read_to_string(&file).unwrap();
    for system in ["erp", "wms"] {
        let from = format!("sqlite:.loopline/demo/{system}.sqlite");
        assert!(text.contains(&from), "{text}");
        text = text.replace(&from, &format!("{}?schema=loopline_demo_{system}", database.url()));
    }
    std::fs::write(file, text).unwrap();
    plant
}

/// Approves and runs until nothing is left to do.
fn settle(plant: &Mini) {
    let mut report = Value::Null;
    for _ in 0..RUNS_MAX {
        let said = plant.loopline(&["write", "approve", "--all", "--by", "test"]);
        assert!(said.code == Some(0) || said.stderr.contains("no change waits"), "{said:?}");
        report = plant.json(&["run", "loop"]);
        assert_eq!(report["outcome"], "published", "{report:#}");
        if idle(&report) {
            return;
        }
    }
    panic!("after {RUNS_MAX} runs there is still something to do: {:#}\n{:#}", report["writes"], report["summary"]);
}

fn assert_same(one: &Rows, other: &Rows, names: &str) {
    assert!(one.values().map(Vec::len).sum::<usize>() > 10_000, "the plant is empty");
    let text = differences(one, other);
    let lines = text.lines().count();
    let first: Vec<&str> = text.lines().take(20).collect();
    assert!(text.is_empty(), "{names}: {lines} differences\n{}", first.join("\n"));
}

/// Runs with nothing to do build nothing and plan nothing.
fn assert_at_rest(plant: &Mini) {
    let before = plant.tables_of(&CONTRACTS);
    let report = plant.json(&["run", "loop"]);
    assert!(idle(&report), "{report:#}");
    let built: Vec<&Value> = report["models"].as_array().unwrap().iter().filter(|model| model["outcome"] != "skipped").collect();
    assert!(built.is_empty(), "nothing changed, but: {built:#?}");
    assert_eq!(differences(&before, &plant.tables_of(&CONTRACTS)), "");
}

#[test]
fn the_same_days_give_the_same_tables_on_every_database() {
    let files = std::thread::spawn(|| {
        let plant = plant(None);
        settle(&plant);
        plant
    });
    let Some(all) = Database::new("scenario_all", None) else {
        // Without a server the day on SQLite is still looked at.
        return next_day_on_files(&files.join().unwrap());
    };
    let half = Database::new("scenario_half", None).unwrap();
    let maria = MariaDatabases::new("scenario").map(|databases| {
        std::thread::spawn(move || {
            let plant = plant(Some(&databases.url()));
            settle(&plant);
            (databases, plant)
        })
    });
    let both = mixed(&half);
    let server = plant(Some(&all.url()));
    settle(&server);
    settle(&both);
    let files = files.join().unwrap();
    let maria = maria.map(|maria| maria.join().unwrap());

    let expected = files.tables_of(&COMPARED);
    assert_same(&expected, &server.tables_of(&COMPARED), "PostgreSQL, first day");
    assert_same(&expected, &both.tables_of(&COMPARED), "both, first day");
    if let Some((_, plant)) = &maria {
        assert_same(&expected, &plant.tables_of(&COMPARED), "MariaDB, first day");
        assert_at_rest(plant);
    }
    assert_at_rest(&files);
    assert_at_rest(&server);
    assert_at_rest(&both);

    block_on(demo::advance(&options(files.root(), None), 1)).unwrap();
    block_on(demo::advance(&options(server.root(), Some(&all.url())), 1)).unwrap();
    if let Some((databases, plant)) = &maria {
        block_on(demo::advance(&options(plant.root(), Some(&databases.url())), 1)).unwrap();
    }
    copy_folder(&files.root().join(".loopline/demo"), &both.root().join(".loopline/demo"));
    half.server(&format!("drop database {} with (force)", half.name));
    half.server(&format!("create database {} template {}", half.name, all.name));
    explained(&files);
    std::thread::scope(|scope| {
        for plant in [&files, &server, &both].into_iter().chain(maria.as_ref().map(|(_, plant)| plant)) {
            scope.spawn(|| settle(plant));
        }
    });
    let expected = files.tables_of(&COMPARED);
    assert_same(&expected, &server.tables_of(&COMPARED), "PostgreSQL, second day");
    assert_same(&expected, &both.tables_of(&COMPARED), "both, second day");
    if let Some((_, plant)) = &maria {
        assert_same(&expected, &plant.tables_of(&COMPARED), "MariaDB, second day");
    }
    assert_at_rest(&files);
}

fn next_day_on_files(plant: &Mini) {
    assert_at_rest(plant);
    block_on(demo::advance(&options(plant.root(), None), 1)).unwrap();
    explained(plant);
    settle(plant);
    assert_at_rest(plant);
}

/// What a row of a table says, by column.
type Facts = BTreeMap<String, Value>;

/// Rows that are only in one of the two.
fn touched(before: &Rows, after: &Rows) -> BTreeMap<String, Vec<Facts>> {
    let none = Vec::new();
    let names: BTreeSet<&String> = before.keys().chain(after.keys()).collect();
    let facts = |row: &String| serde_json::from_str::<Facts>(row).unwrap();
    names
        .into_iter()
        .map(|name| {
            let one: BTreeSet<&String> = before.get(name).unwrap_or(&none).iter().collect();
            let other: BTreeSet<&String> = after.get(name).unwrap_or(&none).iter().collect();
            (name.clone(), one.symmetric_difference(&other).map(|row| facts(row)).collect())
        })
        .collect()
}

fn values(rows: &BTreeMap<String, Vec<Facts>>, columns: &[&str]) -> BTreeSet<String> {
    let all = rows.values().flatten();
    all.flat_map(|row| columns.iter().filter_map(|column| Some(row.get(*column)?.as_str()?.to_owned()))).collect()
}

/// The items with everything that they are made of and that is made of them.
fn families(plant: &Mini, items: BTreeSet<String>) -> BTreeSet<String> {
    let sql = "select b.item_id as parent, l.item_id as child from erp.boms as b join erp.bom_lines as l on l.bom_id = b.bom_id and l.revision = b.revision";
    let text = |row: &Value, name: &str| row[name].as_str().unwrap().to_owned();
    let links: Vec<(String, String)> = plant.ask(sql).iter().map(|row| (text(row, "parent"), text(row, "child"))).collect();
    let close = |up: bool| {
        let mut found = items.clone();
        loop {
            let size = found.len();
            for (parent, child) in &links {
                let (from, to) = if up { (child, parent) } else { (parent, child) };
                if found.contains(from) {
                    found.insert(to.clone());
                }
            }
            if found.len() == size {
                return found;
            }
        }
    };
    close(true).into_iter().chain(close(false)).collect()
}

/// A purchase proposal with its quantity and day.
fn proposal(row: &Facts) -> String {
    let cell = |name: &str| row.get(name).cloned().unwrap_or_default();
    format!("{} {} {}", cell("proposal_id"), cell("quantity"), cell("needed_date"))
}

/// Everything that is to be bought, however far ahead.
fn proposals(plant: &Mini) -> BTreeSet<String> {
    let rows = plant.ask("select proposal_id, quantity, needed_date from srm.purchase_proposals");
    rows.into_iter().map(|row| proposal(&serde_json::from_value(row).unwrap())).collect()
}

/// Runs the day that has passed and holds each new or changed decision against the rows that the day touched: a purchase request's item must be of
/// one family (by bills of material) with an item whose demand, stock or supply changed, or it was proposed the day before already and must be ordered
/// now; a promise needs a new or changed line of its order or a touched item;
/// a copy of a promise needs a promise or its own request; a lot hold and a notice need a touched lot, case or complaint of the item; a step of the schedule
/// a work centre at which something was worked, planned or stopped, or whose material moved.
fn explained(plant: &Mini) {
    let (inputs, wanted) = (plant.tables_of(&CONTRACTS), plant.tables_of(&["outbox"]));
    let ahead = proposals(plant);
    let report = plant.json(&["run", "loop"]);
    assert_eq!(report["outcome"], "published", "{report:#}");
    let (inputs, mut decided) = (touched(&inputs, &plant.tables_of(&CONTRACTS)), touched(&wanted, &plant.tables_of(&["outbox"])));
    decided.remove("outbox.work_orders"); // the demo's ERP takes none: nothing is written
    let items = values(&inputs, &["item_id"]);
    let family = families(plant, items.clone());
    let orders = values(&inputs, &["order_id", "erp_order_id", "request_id"]);
    let lots = values(&inputs, &["lot_id", "lot_number"]);
    let centers: BTreeSet<String> = values(&inputs, &["work_center_id"]);
    let is_in = |row: &Facts, column: &str, set: &BTreeSet<String>| {
        row.get(column).and_then(Value::as_str).is_some_and(|value| set.contains(value))
    };
    let lines =
        plant.ask("select order_id, item_id from erp.sales_order_lines union select request_id, item_id from crm.order_requests");
    let mut items_of: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for line in &lines {
        let text = |name: &str| line[name].as_str().unwrap_or_default().to_owned();
        items_of.entry(text("order_id")).or_default().insert(text("item_id"));
    }
    let of_touched_item = |row: &Facts, column: &str| {
        let order = row.get(column).and_then(Value::as_str).unwrap_or_default();
        items_of.get(order).is_some_and(|items| items.iter().any(|item| family.contains(item)))
    };
    let mut unexplained = Vec::new();
    for (table, rows) in &decided {
        for row in rows {
            let why = match table.as_str() {
                "outbox.purchase_requests" => is_in(row, "item_id", &family) || ahead.contains(&proposal(row)),
                "outbox.promise_dates" => is_in(row, "order_id", &orders) || of_touched_item(row, "order_id"),
                "outbox.crm_promise_dates" => is_in(row, "request_id", &orders) || of_touched_item(row, "request_id"),
                "outbox.lot_holds" => is_in(row, "lot_id", &lots) || is_in(row, "item_id", &items),
                "outbox.quality_notices" => is_in(row, "lot_number", &lots) || is_in(row, "item_id", &items),
                "outbox.operation_schedule" => is_in(row, "work_center_id", &centers),
                other => panic!("say what explains a row of {other}"),
            };
            if !why {
                unexplained.push(format!("{table}: {row:?}"));
            }
        }
    }
    assert!(unexplained.is_empty(), "the day does not explain\n{}", unexplained.join("\n"));
    // A day moves a small part of what stands: neither all promises nor all requests.
    for write in report["writes"].as_array().unwrap() {
        let (wanted, place) = (write["wanted"].as_u64().unwrap(), write["in_place"].as_u64().unwrap());
        let kind = write["kind"].as_str().unwrap();
        if ["promise_dates", "crm_promise_dates"].contains(&kind) {
            assert!(place * 2 > wanted, "{kind}: only {place} of {wanted} stay after one day");
        }
    }
}
