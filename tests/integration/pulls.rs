//! Ways to pull: sweeps, streams that only grow, verification and repair, tries, hours, limits; by the real binary, against SQLite and PostgreSQL.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use serde_json::{Value, json};

use crate::harness::{Mini, Said, temporary};
use crate::scenario::Database;

/// A project of one system with one stream, `items`.
struct Shop(Mini);

impl Shop {
    /// `system` and `stream`: lines of TOML.
    fn new(url: &str, system: &str, stream: &str) -> Self {
        let shop = Self(Mini::of(temporary()));
        let root = shop.0.root();
        let connector = format!("protocol = \"sql\"\ntime_zone = \"UTC\"\n\n[stream.items]\nkey = [\"id\"]\n{stream}\n");
        let settings = format!(
            "strategy = \"order-driven\"\nstore = \"./store\"\n\n[systems.erp]\nconnector = \"shop\"\nurl = \"{url}\"\n{system}\n"
        );
        std::fs::create_dir_all(root.join("connectors/shop")).unwrap();
        std::fs::write(root.join("connectors/shop/connector.toml"), connector).unwrap();
        std::fs::write(root.join("loopline.toml"), settings).unwrap();
        shop
    }

    fn sqlite(system: &str, stream: &str) -> Self {
        let shop = Self::new("sqlite:erp.db", system, stream);
        shop.0.sql("erp", "create table items (id integer primary key, name text, ver integer, upd timestamp)");
        shop
    }

    /// What the pull of the stream says.
    fn pull(&self, arguments: &[&str]) -> Value {
        self.0.json(&[&["pull", "erp"], arguments].concat())["systems"][0]["streams"][0].clone()
    }

    fn counts(pull: &Value) -> (String, u64, u64, u64) {
        let count = |name: &str| pull[name].as_u64().unwrap();
        assert_eq!(pull["error"], Value::Null, "{pull:#}");
        (pull["kind"].as_str().unwrap().into(), count("inserted"), count("updated"), count("deleted"))
    }

    /// Rows of the table as `id|name|ver`, sorted.
    fn rows(&self) -> Vec<String> {
        self.0.json(&["build"]);
        let rows = self.0.ask("select id, name, ver from raw.erp__items order by id");
        rows.iter().map(|row| format!("{}|{}|{}", row["id"], row["name"].as_str().unwrap_or("-"), row["ver"])).collect()
    }

    fn source(&self) -> Vec<String> {
        self.0.texts("erp", "select id || '|' || coalesce(name, '-') || '|' || coalesce(ver, 'null') from items order by id")
    }

    fn verify(&self, arguments: &[&str]) -> (Option<i32>, Value) {
        let said = self.0.loopline(&[&["verify", "erp", "--json"], arguments].concat());
        (said.code, parsed(&said)["streams"][0].clone())
    }
}

fn parsed(said: &Said) -> Value {
    serde_json::from_str(&said.stdout).unwrap_or_else(|error| panic!("{error}: {said:?}"))
}

fn kind(kind: &str, inserted: u64, updated: u64, deleted: u64) -> (String, u64, u64, u64) {
    (kind.into(), inserted, updated, deleted)
}

const BY_CURSOR: &str = "cursor = { field = \"upd\", kind = \"timestamp\", lookback = \"1s\" }";

/// 100 rows: `id`, a name, version 1, an hour each.
const HUNDRED: &str = "with recursive n(i) as (select 1 union all select i + 1 from n where i < 100)
    insert into items select i, 'item ' || i, 1, strftime('%Y-%m-%d %H:00:00', '2026-01-01', i || ' hours') from n";

#[test]
fn a_sweep_finds_what_the_cursor_does_not_show() {
    let shop = Shop::sqlite("", &format!("{BY_CURSOR}\nversion = \"ver\"\nsweep = \"1s\""));
    shop.0.sql("erp", HUNDRED);
    assert_eq!(Shop::counts(&shop.pull(&[])), kind("full", 100, 0, 0));
    // Below the cursor: a row is gone, one has changed, one is late; two have no date or no version and changed.
    shop.0.sql(
        "erp",
        "delete from items where id = 7; update items set name = 'silent', ver = 2 where id = 8;
         insert into items values (500, 'late', 1, '2026-01-01 03:30:00');
         update items set name = 'undated', upd = null where id = 9;
         update items set name = 'unversioned', ver = null where id = 10;
         update items set name = 'newest', ver = 2, upd = '2026-02-01 00:00:00' where id = 11",
    );
    std::thread::sleep(Duration::from_millis(1_100));
    let pull = shop.pull(&[]);
    assert_eq!(Shop::counts(&pull), kind("sweep", 1, 4, 1));
    assert_eq!(pull["rows_read"], 100 + 5, "keys and versions of all rows, and the rows that differ");
    assert_eq!(shop.rows(), shop.source());
    assert_eq!(shop.0.ask("select id from raw.erp__items__deleted"), [json!({"id": 7})]);

    // The cursor moved on: only the row without a date and the newest are read now.
    let next = Shop::sqlite_again(&shop, "sweep = \"1s\"", "sweep = \"1d\"").pull(&[]);
    assert_eq!((Shop::counts(&next), next["rows_read"].as_u64()), (kind("incremental", 0, 0, 0), Some(2)));
    // What a sweep does not see either is what changes neither cursor nor version: that is what `verify` is for.
    shop.0.sql("erp", "update items set name = 'invisible' where id = 12");
    assert_eq!(Shop::counts(&Shop::sqlite_again(&shop, "sweep = \"1d\"", "sweep = \"1s\"").pull(&[])), kind("sweep", 0, 0, 0));
    assert_ne!(shop.rows(), shop.source());
}

impl Shop {
    /// The same shop with its connector edited.
    fn sqlite_again<'a>(shop: &'a Self, from: &str, to: &str) -> &'a Self {
        let path = shop.0.root().join("connectors/shop/connector.toml");
        let text = std::fs::read_to_string(&path).unwrap();
        assert!(text.contains(from), "{text}");
        std::fs::write(path, text.replace(from, to)).unwrap();
        if to.contains("1s") {
            std::thread::sleep(Duration::from_millis(1_100));
        }
        shop
    }
}

#[test]
fn a_sweep_that_would_remove_too_much_stops_and_asks() {
    let shop = Shop::sqlite("", &format!("{BY_CURSOR}\nversion = \"ver\"\nsweep = \"1s\""));
    shop.0.sql("erp", &format!("{HUNDRED}; insert into items select id + 1000, name, ver, upd from items"));
    shop.pull(&[]);
    shop.0.sql("erp", "delete from items where id > 1050");
    std::thread::sleep(Duration::from_millis(1_100));
    let said = shop.0.loopline(&["pull", "erp", "--json"]);
    let stream = parsed(&said)["systems"][0]["streams"][0].clone();
    assert_eq!(said.code, Some(1));
    let error = stream["error"].as_str().unwrap();
    assert!(error.contains("stream \"items\"") && error.contains("would remove 50 of 200 rows"), "{error}");
    assert_eq!(shop.rows().len(), 200);
    assert_eq!(Shop::counts(&shop.pull(&["--full"])), kind("full", 0, 0, 50));
    assert_eq!(shop.rows(), shop.source());
}

#[test]
fn a_new_column_brings_the_values_of_all_rows() {
    let shop = Shop::sqlite("", BY_CURSOR);
    shop.0.sql("erp", HUNDRED);
    shop.pull(&[]);
    shop.0.sql("erp", "alter table items add column colour text; update items set colour = 'red' where id = 3");
    assert_eq!(Shop::counts(&shop.pull(&[])), kind("full", 0, 1, 0));
    assert_eq!(Shop::counts(&shop.pull(&[])), kind("incremental", 0, 0, 0));
    shop.0.json(&["build"]);
    assert_eq!(shop.0.ask("select id from raw.erp__items where colour = 'red'"), [json!({"id": 3})]);
}

#[test]
fn a_stream_that_only_grows_is_never_changed_or_cleaned() {
    let shop = Shop::sqlite("", "mode = \"append\"\ncursor = { field = \"id\", kind = \"integer\" }");
    shop.0.sql("erp", HUNDRED);
    assert_eq!(Shop::counts(&shop.pull(&[])), kind("append", 100, 0, 0));
    shop.0.sql("erp", "insert into items values (101, 'next', 1, null); delete from items where id <= 60; update items set name = 'rewritten' where id = 100");
    assert_eq!(Shop::counts(&shop.pull(&[])), kind("append", 1, 0, 0));
    let (code, check) = shop.verify(&[]);
    assert_eq!((code, &check["gone"], &check["differing"]), (Some(1), &json!(60), &json!(1)), "{check:#}");
    let (code, check) = shop.verify(&["--repair"]);
    assert_eq!(
        (code, &check["repaired"]["updated"], &check["repaired"]["deleted"]),
        (Some(0), &json!(1), &json!(0)),
        "{check:#}"
    );
    assert_eq!(shop.rows().len(), 101);
    let (code, check) = shop.verify(&[]);
    assert_eq!((code, &check["differs"], &check["gone"]), (Some(0), &json!(false), &json!(60)));
}

#[test]
fn a_verification_finds_a_hand_made_difference_and_repairs_it() {
    let shop = Shop::sqlite("", BY_CURSOR);
    let (code, check) = shop.verify(&[]);
    assert_eq!((code, check["hint"].as_str()), (Some(1), Some("loopline pull erp")), "{check:#}");
    shop.0.sql("erp", HUNDRED);
    shop.pull(&[]);
    let (code, check) = shop.verify(&[]);
    assert_eq!(
        (code, &check["differs"], &check["source_rows"], &check["table_rows"]),
        (Some(0), &json!(false), &json!(100), &json!(100))
    );
    assert_eq!(check["source_checksum"], check["table_checksum"]);

    shop.0.sql("erp", "update items set name = 'by hand' where id = 40; delete from items where id = 41; insert into items values (200, 'late', 1, '2026-01-01 02:30:00')");
    for arguments in [&[][..], &["--pull"]] {
        let (code, check) = shop.verify(arguments);
        let found = [&check["absent"], &check["differing"], &check["gone"], &check["differs"]].map(ToString::to_string);
        assert_eq!((code, found.join(" ").as_str()), (Some(1), "1 1 1 true"), "{arguments:?}: {check:#}");
        assert_ne!(check["source_checksum"], check["table_checksum"]);
        assert!(!check["ranges"].as_array().unwrap().is_empty());
    }
    let (code, check) = shop.verify(&["items", "--repair"]);
    let repaired = &check["repaired"];
    assert_eq!((code, Shop::counts(repaired)), (Some(0), kind("repair", 1, 1, 1)));
    assert_eq!(shop.rows(), shop.source());
    assert_eq!(shop.verify(&[]).0, Some(0));
    let said = shop.0.loopline(&["verify", "erp", "item"]);
    assert!(said.code == Some(1) && said.stderr.contains("did you mean \"items\"?"), "{said:?}");
    let text = shop.0.loopline(&["verify", "erp"]).stdout;
    assert!(text.contains("items") && text.contains("equal"), "{text}");
}

#[test]
fn a_verification_of_files_tells_which_were_not_taken() {
    let shop = Shop::new("./drop", "", "files = { pattern = \"*.csv\" }");
    let connector = shop.0.root().join("connectors/shop/connector.toml");
    let text = std::fs::read_to_string(&connector).unwrap();
    std::fs::write(&connector, text.replace("protocol = \"sql\"", "protocol = \"files\"")).unwrap();
    std::fs::create_dir_all(shop.0.root().join("drop")).unwrap();
    let put = |name: &str, rows: &str| {
        let path = shop.0.root().join("drop").join(name);
        std::fs::write(&path, format!("id,name,ver\n{rows}")).unwrap();
        // A file of just now may still be written.
        let file = std::fs::File::options().append(true).open(path).unwrap();
        file.set_modified(std::time::SystemTime::now() - Duration::from_secs(60)).unwrap();
    };
    put("a.csv", "1,one,1\n2,two,1\n");
    assert_eq!(shop.pull(&[])["inserted"], 2);
    assert_eq!(shop.verify(&[]).0, Some(0));
    put("b.csv", "3,three,1\n");
    let (code, check) = shop.verify(&[]);
    assert_eq!((code, &check["untaken_files"], &check["differs"]), (Some(1), &json!(1), &json!(true)), "{check:#}");
    let (code, check) = shop.verify(&["--repair"]);
    assert_eq!((code, &check["repaired"]["inserted"]), (Some(0), &json!(1)), "{check:#}");
    let (code, check) = shop.verify(&[]);
    assert_eq!((code, &check["untaken_files"], &check["table_rows"]), (Some(0), &json!(0), &json!(3)));
}

#[test]
fn every_pull_is_a_row_of_system_pulls() {
    let shop = Shop::sqlite("", BY_CURSOR);
    shop.0.sql("erp", HUNDRED);
    shop.pull(&[]);
    shop.pull(&[]);
    shop.0.sql("erp", "alter table items rename to articles");
    shop.0.loopline(&["pull"]);
    shop.0.json(&["build"]);
    let pulls = shop.0.ask(
        "select kind, rows_read, bytes_read > 0 as has_bytes, inserted, tries, error is null as well, rows_per_second > 0 as has_pace
         from system.pulls where system = 'erp' and stream = 'items' order by pull_id",
    );
    let row = |kind: &str, rows: u64, inserted: u64, well: bool| json!({"kind": kind, "rows_read": rows, "has_bytes": rows > 0, "inserted": inserted, "tries": 1, "well": well, "has_pace": rows > 0});
    assert_eq!(pulls, [row("full", 100, 100, true), row("incremental", 1, 0, true), row("incremental", 0, 0, false)]);
}

#[test]
fn a_system_is_left_alone_outside_of_its_hours_unless_it_is_named() {
    use chrono::Timelike;
    let hour = chrono::Utc::now().hour();
    // Not now, and not within the minutes that this test takes.
    let hours = format!("{}-{}", (hour + 2) % 24, (hour + 3) % 24);
    let shop = Shop::sqlite(&format!("load = {{ hours = \"{hours}\" }}"), "");
    shop.0.sql("erp", HUNDRED);
    let report = shop.0.json(&["pull"]);
    let skipped = report["systems"][0]["skipped"].as_str().unwrap();
    assert!(skipped.starts_with("outside of its hours"), "{skipped}");
    assert_eq!(report["systems"][0]["streams"], json!([]));
    assert_eq!(Shop::counts(&shop.pull(&[])), kind("full", 100, 0, 0));
    assert_eq!(shop.0.json(&["pull", "--now"])["systems"][0]["skipped"], Value::Null);
    let text = shop.0.loopline(&["pull"]).stdout;
    assert!(text.contains("erp was left alone: outside of its hours"), "{text}");
}

#[test]
fn a_source_that_never_ends_is_stopped_and_the_table_stays() {
    let shop = Shop::sqlite("load = { time_limit = \"2s\" }", "");
    shop.0.sql("erp", HUNDRED);
    shop.pull(&[]);
    shop.0.sql(
        "erp",
        "alter table items rename to once;
         create view items as with recursive n(i) as (select 1 union all select i + 1 from n) select once.* from n, once where id = 1",
    );
    let started = std::time::Instant::now();
    let said = shop.0.loopline(&["pull", "erp", "--json"]);
    let stream = parsed(&said)["systems"][0]["streams"][0].clone();
    assert_eq!(said.code, Some(1));
    assert!(stream["error"].as_str().unwrap().contains("stopped after 2 s, the system's load.time_limit"), "{stream:#}");
    assert!(started.elapsed() < Duration::from_secs(20), "{:?}", started.elapsed());
    assert_eq!(shop.rows().len(), 100);
}

#[test]
fn an_instant_of_the_future_in_the_control_state_stops_nothing() {
    let shop = Shop::sqlite("", &format!("{BY_CURSOR}\nversion = \"ver\"\nsweep = \"1h\""));
    shop.0.sql("erp", HUNDRED);
    shop.pull(&[]);
    assert_eq!(Shop::counts(&shop.pull(&[])).0, "incremental");
    // As if the clock had been a year ahead.
    let control = rusqlite::Connection::open(shop.0.root().join("store/control.sqlite")).unwrap();
    control.execute("update pulls set started_at = started_at + 31536000000000", []).unwrap();
    let status = shop.0.json(&["status"]);
    assert_eq!(status["systems"][0]["stale"], json!(true), "nobody knows how old the rows are");
    assert_eq!(Shop::counts(&shop.pull(&[])).0, "sweep");
    assert_eq!(Shop::counts(&shop.pull(&[])).0, "incremental");
    assert_eq!(shop.0.json(&["status"])["systems"][0]["stale"], json!(false));
}

/// Passes connections on to `upstream`; of the first `cut` that carry rows, each is cut after `bytes` bytes from there.
fn proxy(upstream: String, cut: usize, bytes: usize) -> (u16, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let cuts = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&cuts);
    std::thread::spawn(move || {
        for client in listener.incoming() {
            let (client, upstream) = (client.unwrap(), TcpStream::connect(&upstream).unwrap());
            let (mut up_read, mut up_write) = (upstream.try_clone().unwrap(), upstream);
            let (mut down_read, mut down_write) = (client.try_clone().unwrap(), client);
            std::thread::spawn(move || {
                let _ = std::io::copy(&mut down_read, &mut up_write);
                let _ = up_write.shutdown(Shutdown::Both);
            });
            let cuts = Arc::clone(&counted);
            std::thread::spawn(move || {
                let (mut buffer, mut passed) = ([0; 16_384], 0);
                while let Ok(read @ 1..) = up_read.read(&mut buffer) {
                    passed += read;
                    if passed > bytes && cuts.fetch_add(1, Ordering::SeqCst) < cut {
                        break;
                    }
                    if down_write.write_all(&buffer[..read]).is_err() {
                        break;
                    }
                }
                let _ = (down_write.shutdown(Shutdown::Both), up_read.shutdown(Shutdown::Both));
            });
        }
    });
    (port, cuts)
}

/// A PostgreSQL database with 50,000 items behind a proxy that cuts so many connections; `None` where there is no server.
fn cut_shop(name: &str, cut: usize, system: &str) -> Option<(Shop, Arc<AtomicUsize>, Database)> {
    let database = Database::new(name, None)?;
    let items =
        "create table items (id bigint primary key, name text, ver integer, upd timestamptz);
         insert into items select i, repeat('x', 40), 1, '2026-01-01'::timestamptz + i * interval '1 minute' from generate_series(1, 50000) i";
    database.batch(items);
    let url = url::Url::parse(&database.url()).unwrap();
    let (port, cuts) = proxy(format!("{}:{}", url.host_str().unwrap(), url.port().unwrap_or(5432)), cut, 200_000);
    let mut through = url.clone();
    through.set_host(Some("127.0.0.1")).unwrap();
    through.set_port(Some(port)).unwrap();
    Some((Shop::new(through.as_str(), system, BY_CURSOR), cuts, database))
}

#[test]
fn a_connection_that_is_cut_in_the_middle_is_tried_again() {
    let Some((shop, cuts, _database)) = cut_shop("pulls_cut", 1, "") else { return };
    let pull = shop.pull(&[]);
    assert_eq!((Shop::counts(&pull), &pull["tries"]), (kind("full", 50_000, 0, 0), &json!(2)));
    assert!(cuts.load(Ordering::SeqCst) >= 1);
    shop.0.json(&["build"]);
    assert_eq!(
        shop.0.ask("select count(*) as n, count(distinct id) as ids from raw.erp__items"),
        [json!({"n": 50_000, "ids": 50_000})]
    );
    assert_eq!(shop.verify(&[]).0, Some(0));
}

#[test]
fn tries_end_and_leave_the_table_as_it_was() {
    let Some((shop, _cuts, _database)) = cut_shop("pulls_lost", usize::MAX, "load = { retries = 1 }") else { return };
    let said = shop.0.loopline(&["pull", "erp", "--json"]);
    let stream = parsed(&said)["systems"][0]["streams"][0].clone();
    assert_eq!((said.code, &stream["tries"]), (Some(1), &json!(2)), "{said:?}");
    let error = stream["error"].as_str().unwrap();
    assert!(error.contains("connection was lost") && error.contains("(after 2 tries)"), "{error}");
    assert!(!shop.0.root().join("store/raw/erp__items/_delta_log").exists());
}
