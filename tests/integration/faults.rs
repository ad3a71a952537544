//! Faults under a pull: the network, the server, the disk, the object store, the table itself. What may pass is tried again; otherwise the message is
//! clear, the tables stay as they were, and the other streams finish.

use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use serde_json::Value;

use crate::harness::{Mini, temporary};
use crate::proxy::{self, Answer, Proxy};
use crate::scenario::{Database, block_on};

/// A table whose reading takes several megabytes, and a small one.
const TABLES: &str = "
    create table big as select i::bigint as id, i % 7 as quantity, md5(i::text) || md5((i + 1)::text) || md5((i + 2)::text) as note from generate_series(1, 60000) i;
    alter table big add primary key (id);
    create table small (id bigint primary key, what text);
    insert into small values (1, 'a'), (2, 'b')";
const STREAMS: &str = "[stream.big]\nkey = [\"id\"]\n[stream.small]\nkey = [\"id\"]\n";

/// A project with one system `erp` at `url`; `load` is its budget, e.g. `retries = 0`.
fn project(url: &str, load: &str, streams: &str) -> Mini {
    let plant = Mini::of(temporary());
    let connector = plant.root().join("connectors/plant");
    std::fs::create_dir_all(&connector).unwrap();
    let toml = format!(
        "strategy = \"order-driven\"\nstore = \"./store\"\n[systems.erp]\nconnector = \"plant\"\nurl = \"{url}\"\nload = {{ {load} }}\n"
    );
    std::fs::write(plant.root().join("loopline.toml"), toml).unwrap();
    std::fs::write(connector.join("connector.toml"), format!("protocol = \"sql\"\n{streams}")).unwrap();
    plant
}

fn unencrypted(url: &str) -> String {
    format!("{url}?sslmode=disable")
}

fn database(purpose: &str) -> Option<Database> {
    let database = Database::new(purpose, None)?;
    database.batch(TABLES);
    Some(database)
}

/// The number of rows of a raw table and the sum of its column `quantity` (0 where it has none).
fn rows(plant: &Mini, stream: &str) -> (usize, i64) {
    let quantities = plant.raw(&format!("erp__{stream}"), if stream == "big" { &["quantity"] } else { &[] });
    (quantities.len(), quantities.iter().filter_map(|quantity| quantity.parse::<i64>().ok()).sum())
}

/// The report of one stream.
fn pulled<'a>(report: &'a Value, stream: &str) -> &'a Value {
    let streams = report["systems"][0]["streams"].as_array().unwrap();
    streams.iter().find(|pull| pull["stream"] == stream).unwrap_or_else(|| panic!("no stream {stream}: {report:#}"))
}

fn pull(plant: &Mini, code: i32) -> Value {
    let said = plant.loopline(&["pull", "--json"]);
    assert_eq!(said.code, Some(code), "{said:?}");
    serde_json::from_str(&said.stdout).unwrap_or_else(|error| panic!("{error}: {said:?}"))
}

#[test]
fn a_network_cut_in_the_middle_of_a_stream_is_tried_again_or_changes_nothing() {
    let Some(database) = database("cut") else { return };
    let (proxy, url) = Proxy::before(&database.url());
    let plant = project(&unencrypted(&url), "retries = 1", STREAMS);
    pull(&plant, 0);
    let before = rows(&plant, "big");
    assert_eq!(before.0, 60_000);
    database.batch("update big set quantity = 9; insert into small values (3, 'c')");

    proxy.cut_after(1 << 20, usize::MAX);
    let report = pull(&plant, 1);
    let error = pulled(&report, "big")["error"].as_str().unwrap();
    assert!(error.contains("system \"erp\", stream \"big\""), "{error}");
    assert_eq!(pulled(&report, "big")["tries"], 2, "{report:#}");
    assert_eq!(pulled(&report, "small")["error"], Value::Null, "the other stream finishes: {report:#}");
    assert_eq!((rows(&plant, "big"), rows(&plant, "small").0), (before, 3));

    proxy.cut_after(1 << 20, 1);
    let report = pull(&plant, 0);
    assert_eq!(pulled(&report, "big")["tries"], 2, "one cut is made good by another try: {report:#}");
    assert_eq!(rows(&plant, "big"), (60_000, 9 * 60_000));
}

#[test]
fn a_server_that_restarts_under_a_pull_is_tried_again() {
    let Some(server) = Server::start() else { return };
    let (proxy, url) = Proxy::before(&server.url());
    block_on(async { connect(&server.url()).await.batch_execute(TABLES).await.unwrap() });
    let plant = project(&unencrypted(&url), "retries = 5", STREAMS);
    proxy.hold_after(1 << 20);
    let running = start(&plant, &["pull", "--json"]);
    proxy.wait_until_held();
    server.control(&["restart", "-m", "immediate"]);
    proxy.release();
    let output = running.wait_with_output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert!(pulled(&report, "big")["tries"].as_u64().unwrap() >= 2, "{report:#}");
    assert_eq!((rows(&plant, "big").0, rows(&plant, "small").0), (60_000, 2));
}

#[test]
fn a_table_that_someone_locks_stops_no_other() {
    let Some(database) = database("lock") else { return };
    let plant = project(&unencrypted(&database.url()), "statement_timeout = \"1s\", retries = 0", STREAMS);
    block_on(async {
        let client = connect(&database.url()).await;
        client.batch_execute("begin; lock table big in access exclusive mode").await.unwrap();
        let report = tokio::task::spawn_blocking({
            let root = plant.root().to_owned();
            move || {
                let output = loopline(&root, &["pull", "--json"]).output().unwrap();
                serde_json::from_slice::<Value>(&output.stdout).unwrap()
            }
        })
        .await
        .unwrap();
        let error = pulled(&report, "big")["error"].as_str().unwrap();
        assert!(error.contains("stream \"big\"") && error.contains("timeout"), "{error}");
        assert_eq!(pulled(&report, "small")["inserted"], 2, "{report:#}");
        client.batch_execute("rollback").await.unwrap();
    });
    pull(&plant, 0);
    assert_eq!(rows(&plant, "big").0, 60_000);
}

#[test]
fn a_table_altered_during_the_pull_gives_an_error_or_its_rows_never_wrong_values() {
    for alter in [
        "alter table small alter column what type integer using id",
        "alter table small drop column what",
        "alter table small rename column what to that",
        "drop table small",
        "alter table small add column more integer default 7",
    ] {
        let Some(database) = database("alter") else { return };
        let (proxy, url) = Proxy::before(&database.url());
        let plant = project(&unencrypted(&url), "retries = 0, connections = 1", STREAMS);
        pull(&plant, 0);
        database.batch("update big set quantity = 9");
        proxy.hold_after(1 << 20);
        let running = start(&plant, &["pull", "--json"]);
        proxy.wait_until_held();
        database.batch(alter); // the snapshot is older than this
        proxy.release();
        let output = running.wait_with_output().unwrap();
        let report: Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!(pulled(&report, "big")["error"], Value::Null, "{alter}: {report:#}");
        assert_eq!(rows(&plant, "big"), (60_000, 9 * 60_000), "{alter}");
        let small = pulled(&report, "small");
        match small["error"].as_str() {
            Some(error) => assert!(error.contains("stream \"small\""), "{alter}: {error}"),
            None => assert_eq!((&small["updated"], &small["deleted"]), (&0.into(), &0.into()), "{alter}: {small}"),
        }
        assert_eq!(rows(&plant, "small").0, 2, "{alter}");
    }
}

#[test]
fn a_full_disk_changes_nothing_and_says_so() {
    let Some(database) = database("disk") else { return };
    let plant = project(&unencrypted(&database.url()), "retries = 0", STREAMS);
    pull(&plant, 0);
    let before = rows(&plant, "big");
    database
        .batch("update big set note = md5(note) || note || md5(note || 'x'), quantity = 9; insert into small values (3, 'c')");
    // The kernel refuses to let any file grow beyond 1 MiB, as a full disk would.
    let script = format!(
        "trap '' XFSZ; ulimit -f 1024; exec \"{}\" --project \"{}\" pull --json",
        env!("CARGO_BIN_EXE_loopline"),
        plant.root().display()
    );
    let output = Command::new("bash").args(["-c", &script]).output().unwrap();
    assert_eq!(output.status.code(), Some(1), "{}", String::from_utf8_lossy(&output.stderr));
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    let error = pulled(&report, "big")["error"].as_str().unwrap();
    assert!(error.contains("big") && error.to_lowercase().contains("file too large"), "{error}");
    assert_eq!(pulled(&report, "small")["inserted"], 1, "{report:#}");
    assert_eq!(rows(&plant, "big"), before);
    pull(&plant, 0);
    assert_eq!(rows(&plant, "big"), (60_000, 9 * 60_000));
}

#[test]
fn a_source_that_never_ends_is_stopped() {
    let Some(database) = database("endless") else { return };
    database.batch("create view endless as select i as id from generate_series(1, 1000000000000) i where i > 0");
    database.batch("create function forever() returns setof bigint language plpgsql as $$ declare i bigint := 0; begin loop i := i + 1; return next i; end loop; end $$");
    let streams = format!("{STREAMS}[stream.endless]\nkey = [\"id\"]\n");
    let plant = project(&unencrypted(&database.url()), "time_limit = \"2s\", retries = 0", &streams);
    let report = pull(&plant, 1);
    let error = pulled(&report, "endless")["error"].as_str().unwrap();
    assert!(error.contains("stream \"endless\"") && error.contains("time_limit"), "{error}");
    assert_eq!((rows(&plant, "endless").0, rows(&plant, "big").0), (0, 60_000));
    let left = std::fs::read_dir(plant.root().join("store/raw/erp__endless")).map_or(0, Iterator::count);
    assert_eq!(left, 0, "files of a reading that was stopped are removed");
}

#[test]
fn a_row_of_a_hundred_megabytes_is_pulled() {
    let Some(database) = database("huge") else { return };
    database.batch("insert into small values (100, repeat('0123456789', 10485760))");
    let plant = project(&unencrypted(&database.url()), "retries = 0", STREAMS);
    pull(&plant, 0);
    assert_eq!(rows(&plant, "small").0, 3);
}

#[test]
fn an_object_store_that_answers_with_errors_is_tried_again_and_half_an_upload_is_none() {
    let Some(server) = s3() else { return };
    let Some(database) = database("bucket") else { return };
    let bucket = format!("faults-{}", std::process::id());
    make_bucket(&server, &bucket);
    let (broken, failing) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicBool::new(false)));
    let (breaks, fails) = (Arc::clone(&broken), Arc::clone(&failing));
    let address = proxy::http(server.parse().unwrap(), move |number, first| {
        let is_data = first.starts_with("PUT") && first.contains(".parquet");
        if fails.load(Ordering::SeqCst) && is_data {
            return Answer::Status("500 Internal Server Error");
        }
        match number % 7 {
            3 => Answer::Status("503 Slow Down"),
            5 if is_data && breaks.swap(false, Ordering::SeqCst) => Answer::HalfThenCut,
            _ => Answer::Pass,
        }
    });
    let plant = project(&unencrypted(&database.url()), "retries = 1", STREAMS);
    let toml = plant.root().join("loopline.toml");
    let text = std::fs::read_to_string(&toml).unwrap();
    std::fs::write(&toml, text.replace("./store", &format!("s3://{bucket}/hub"))).unwrap();
    let environment = [
        ("AWS_ENDPOINT", format!("http://{address}")),
        ("AWS_ALLOW_HTTP", "true".to_owned()),
        ("AWS_ACCESS_KEY_ID", "test".to_owned()),
        ("AWS_SECRET_ACCESS_KEY", "test".to_owned()),
        ("AWS_REGION", "us-east-1".to_owned()),
    ];
    let run = |code: i32| {
        let output = loopline(plant.root(), &["pull", "--json"]).envs(environment.clone()).output().unwrap();
        assert_eq!(
            output.status.code(),
            Some(code),
            "{}{}",
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr)
        );
        serde_json::from_slice::<Value>(&output.stdout).unwrap()
    };
    broken.store(true, Ordering::SeqCst);
    assert_eq!(pulled(&run(0), "big")["inserted"], 60_000);

    database.batch("update big set quantity = 9; insert into small values (3, 'c')");
    failing.store(true, Ordering::SeqCst);
    let report = run(1);
    assert!(pulled(&report, "big")["error"].as_str().is_some_and(|error| error.contains("big")), "{report:#}");
    failing.store(false, Ordering::SeqCst);
    let report = run(0);
    assert_eq!(
        (&pulled(&report, "big")["updated"], &pulled(&report, "small")["inserted"]),
        (&60_000.into(), &1.into()),
        "nothing was lost or taken twice: {report:#}"
    );
    let again = run(0);
    assert_eq!((&pulled(&again, "big")["updated"], &pulled(&again, "big")["inserted"]), (&0.into(), &0.into()));
}

fn loopline(root: &std::path::Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_loopline"));
    command.arg("--project").arg(root).args(arguments).stdin(Stdio::null());
    command
}

fn start(plant: &Mini, arguments: &[&str]) -> std::process::Child {
    loopline(plant.root(), arguments).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
}

async fn connect(url: &str) -> tokio_postgres::Client {
    let (client, connection) = tokio_postgres::connect(url, tokio_postgres::NoTls).await.unwrap();
    tokio::spawn(connection);
    client
}

/// `host:port` of an S3 server; `None` where there is none to test on.
fn s3() -> Option<String> {
    let Ok(url) = std::env::var("LOOPLINE_TEST_S3") else {
        assert!(std::env::var("CI").as_deref() != Ok("true"), "LOOPLINE_TEST_S3 is not set; tests/run sets it");
        eprintln!("skipped: LOOPLINE_TEST_S3 is not set (tests/run sets it)");
        return None;
    };
    Some(url.trim_start_matches("http://").trim_end_matches('/').to_owned())
}

fn make_bucket(server: &str, bucket: &str) {
    use std::io::{Read, Write};
    let mut stream = std::net::TcpStream::connect(server).unwrap();
    write!(stream, "PUT /{bucket} HTTP/1.1\r\nhost: {server}\r\ncontent-length: 0\r\nconnection: close\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
}

/// A PostgreSQL server of its own, which a test may restart.
struct Server {
    folder: tempfile::TempDir,
    bin: std::path::PathBuf,
    port: u16,
}

impl Server {
    fn start() -> Option<Self> {
        let bin = std::env::var_os("LOOPLINE_TEST_POSTGRES_BIN").map(std::path::PathBuf::from);
        let Some(bin) = bin else {
            assert!(std::env::var("CI").as_deref() != Ok("true"), "LOOPLINE_TEST_POSTGRES_BIN is not set; tests/run sets it");
            eprintln!("skipped: LOOPLINE_TEST_POSTGRES_BIN is not set (tests/run sets it)");
            return None;
        };
        let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let server = Self { folder: tempfile::tempdir().unwrap(), bin, port };
        // The server refuses to run as root.
        if is_root() {
            assert!(Command::new("chown").arg("postgres").arg(server.folder.path()).status().unwrap().success());
        }
        let data = server.data();
        server.run("initdb", &["-D", &data, "-U", "postgres", "-A", "trust", "-E", "UTF8", "--locale=C.UTF-8", "--no-sync"]);
        server.control(&["start"]);
        Some(server)
    }

    fn url(&self) -> String {
        format!("postgres://postgres@127.0.0.1:{}/postgres", self.port)
    }

    fn data(&self) -> String {
        self.folder.path().join("data").display().to_string()
    }

    fn control(&self, what: &[&str]) {
        let (data, log) = (self.data(), self.folder.path().join("log").display().to_string());
        let options = format!("-c listen_addresses=127.0.0.1 -c port={} -c unix_socket_directories='' -c fsync=off", self.port);
        self.run("pg_ctl", &[&["-D", &data, "-w", "-t", "60", "-l", &log, "-o", &options], what].concat());
    }

    fn run(&self, program: &str, arguments: &[&str]) {
        let program = self.bin.join(program);
        let mut command = if is_root() {
            let mut command = Command::new("runuser");
            command.args(["-u", "postgres", "--"]).arg(program);
            command
        } else {
            Command::new(program)
        };
        let status = command.args(arguments).stdout(Stdio::null()).current_dir("/").status().unwrap();
        assert!(status.success(), "{arguments:?}");
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let data = self.data();
        let _stopped = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            self.run("pg_ctl", &["-D", &data, "-m", "immediate", "stop"])
        }));
    }
}

fn is_root() -> bool {
    use std::os::unix::fs::MetadataExt;
    std::fs::metadata("/proc/self").is_ok_and(|own| own.uid() == 0)
}
