//! Streams of files, end to end with the real binary: each file is taken exactly once, from a folder and from a bucket of a real S3 server.

use std::fs::File;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, SystemTime};

use serde_json::{Value, json};

use crate::harness::{Mini, temporary};

/// The project that `loopline init` makes, its ERP a folder of files or a bucket.
struct Shop(Mini);

const STREAM: &str =
    "[stream.items]\nfiles = { pattern = \"in/*.csv\" }\ntypes = { stock = \"decimal(12,3)\", price = \"decimal(12,2)\" }\n";

impl Shop {
    fn new(url: &str, stream: &str) -> Self {
        let shop = Self(Mini::of(temporary()));
        assert_eq!(shop.0.loopline(&["init", "."]).code, Some(0));
        std::fs::write(shop.0.root().join("connectors/example/connector.toml"), format!("protocol = \"files\"\n{stream}"))
            .unwrap();
        shop.edit("loopline.toml", "sqlite:erp.db", url);
        std::fs::create_dir_all(shop.0.root().join("drop/in")).unwrap();
        shop
    }

    fn edit(&self, path: &str, from: &str, to: &str) {
        let path = self.0.root().join(path);
        let text = std::fs::read_to_string(&path).unwrap();
        assert!(text.contains(from), "{text}");
        std::fs::write(&path, text.replace(from, to)).unwrap();
    }

    /// A file of items (id, name, stock) that was last changed an hour ago.
    fn put(&self, name: &str, items: &[(&str, &str, &str)]) {
        let path = self.0.root().join("drop/in").join(name);
        std::fs::write(&path, csv(items)).unwrap();
        File::options().append(true).open(&path).unwrap().set_modified(SystemTime::now() - Duration::from_secs(3_600)).unwrap();
    }

    /// Pulls and publishes: `[rows read, new, changed, gone]`, or what is said.
    fn run(&self) -> Value {
        let said = self.0.loopline(&["run", "daily", "--json"]);
        let report: Value = serde_json::from_str(&said.stdout).unwrap_or_else(|error| panic!("{error}: {said:?}"));
        let stream = &report["pull"]["systems"][0]["streams"][0];
        match stream["error"].as_str() {
            Some(error) => json!(error),
            None => json!([stream["rows_read"], stream["inserted"], stream["updated"], stream["deleted"]]),
        }
    }

    fn items(&self, columns: &str) -> Vec<Value> {
        self.0.ask(&format!("select {columns} as item from raw.erp__items order by 1"))
    }

    fn texts(&self, columns: &str) -> Vec<String> {
        self.items(columns).iter().map(|row| row["item"].as_str().unwrap().to_owned()).collect()
    }
}

fn csv(items: &[(&str, &str, &str)]) -> String {
    let lines = items.iter().map(|(id, name, stock)| format!("{id},{name},pc,{stock},1.5\n"));
    format!("id,name,unit,stock,price\n{}", lines.collect::<String>())
}

const PLACED: &str = "_file || ':' || _row || ' ' || id || ' ' || name";

#[test]
fn each_file_is_taken_exactly_once_and_a_changed_one_again() {
    let shop = Shop::new("./drop", STREAM);
    assert!(shop.run().as_str().unwrap().contains("no file matches \"in/*.csv\""));
    shop.put("a.csv", &[("007", "Bolt", "5"), ("008", "Nut", "1.5")]);
    shop.put("b.csv", &[("009", "Pin", "5")]);
    assert_eq!(shop.run(), json!([3, 3, 0, 0]));
    assert_eq!(shop.run(), json!([0, 0, 0, 0]));
    assert_eq!(shop.texts(PLACED), ["in/a.csv:1 007 Bolt", "in/a.csv:2 008 Nut", "in/b.csv:1 009 Pin"]);
    shop.put("a.csv", &[("007", "Bolt M8", "5")]);
    shop.put("c.csv", &[]);
    std::fs::remove_file(shop.0.root().join("drop/in/b.csv")).unwrap();
    assert_eq!(shop.run(), json!([1, 0, 1, 1]), "the row that the changed file lost is gone, those of the lost file stay");
    assert_eq!(shop.run(), json!([0, 0, 0, 0]), "a file without rows is taken once, too");
    assert_eq!(shop.texts(PLACED), ["in/a.csv:1 007 Bolt M8", "in/b.csv:1 009 Pin"]);
    assert_eq!(shop.0.ask("select count(*) as n from raw.erp__items__files"), [json!({ "n": 3 })]);
}

#[test]
fn with_a_key_of_its_own_the_newest_file_counts() {
    let shop = Shop::new("./drop", &format!("{STREAM}key = [\"id\"]\n"));
    shop.put("b.csv", &[("007", "Bolt", "5"), ("008", "Nut", "1.5")]);
    std::thread::sleep(Duration::from_millis(20));
    shop.put("a.csv", &[("007", "Bolt M8", "6")]);
    assert_eq!(shop.run(), json!([3, 2, 0, 0]));
    assert_eq!(shop.texts("id || ' ' || name"), ["007 Bolt M8", "008 Nut"]);
    shop.put("c.csv", &[("008", "Nut M8", "2")]);
    assert_eq!(shop.run(), json!([1, 0, 1, 0]));
    assert_eq!(shop.texts("id || ' ' || name || ' ' || _file"), ["007 Bolt M8 in/a.csv", "008 Nut M8 in/c.csv"]);
}

#[test]
fn all_files_together_are_the_table_in_full_mode() {
    let shop = Shop::new("./drop", &format!("{STREAM}mode = \"full\"\nremovals = \"any\"\n"));
    shop.put("a.csv", &[("1", "Bolt", "5")]);
    shop.put("b.csv", &[("2", "Nut", "5")]);
    assert_eq!(shop.run(), json!([2, 2, 0, 0]));
    std::fs::remove_file(shop.0.root().join("drop/in/a.csv")).unwrap();
    assert_eq!(shop.run(), json!([1, 0, 0, 1]));
    assert_eq!(shop.texts(PLACED), ["in/b.csv:1 2 Nut"]);
}

#[test]
fn a_pull_that_is_killed_between_its_commits_takes_every_file_once() {
    for (failpoint, count) in
        [("pull.commit.before", 1), ("pull.commit.after", 1), ("pull.commit.before", 2), ("pull.commit.after", 2)]
    {
        let shop = Shop::new("./drop", STREAM);
        shop.put("a.csv", &[("1", "Bolt", "5")]);
        assert_eq!(shop.run(), json!([1, 1, 0, 0]));
        shop.put("b.csv", &[("2", "Nut", "5")]);
        shop.put("gone.csv", &[("3", "Pin", "5")]);
        drop(shop.0.stand_at(&format!("{failpoint}:{count}"), &["run", "daily"]));
        // What the killed pull saw and did not take must not count as taken.
        let path = shop.0.root().join("drop/in/gone.csv");
        std::fs::rename(&path, shop.0.root().join("drop/gone.csv")).unwrap();
        shop.run();
        std::fs::rename(shop.0.root().join("drop/gone.csv"), &path).unwrap();
        shop.run();
        assert_eq!(shop.run(), json!([0, 0, 0, 0]), "{failpoint}:{count}");
        assert_eq!(shop.texts(PLACED), ["in/a.csv:1 1 Bolt", "in/b.csv:1 2 Nut", "in/gone.csv:1 3 Pin"], "{failpoint}:{count}");
    }
}

#[test]
fn a_wrong_file_stops_its_stream_and_takes_nothing() {
    let shop = Shop::new("./drop", STREAM);
    shop.put("a.csv", &[("1", "Bolt", "5")]);
    shop.put("b.csv", &[("2", "Nut", "many")]);
    let said = shop.run();
    let expected = "column \"stock\", row in/b.csv:2: \"many\" is not exactly decimal(12,3)";
    assert!(said.as_str().unwrap().ends_with(expected), "{said}");
    shop.put("b.csv", &[("2", "Nut", "7")]);
    assert_eq!(shop.run(), json!([2, 2, 0, 0]));
}

/// The S3 server that `tests/run` started, with a new bucket.
struct Bucket {
    name: String,
    address: String,
}

impl Bucket {
    fn new(name: &str) -> Self {
        let server = std::env::var("LOOPLINE_TEST_S3").expect("run the tests by `bash tests/run`, which starts an S3 server");
        let name = format!("{name}-{}", std::process::id());
        let bucket = Self { name, address: server.trim_start_matches("http://").into() };
        bucket.put("", "");
        bucket
    }

    fn put(&self, key: &str, body: &str) -> String {
        self.request("PUT", key, body)
    }

    fn request(&self, method: &str, key: &str, body: &str) -> String {
        let mut server = TcpStream::connect(&self.address).unwrap();
        let (name, address, length) = (&self.name, &self.address, body.len());
        // The server believes any signature, but lets nobody without one change an object.
        let signature = "AWS4-HMAC-SHA256 Credential=test/20260101/us-east-1/s3/aws4_request, SignedHeaders=host, Signature=0";
        let head = format!(
            "{method} /{name}/{key} HTTP/1.1\r\nHost: {address}\r\nAuthorization: {signature}\r\nContent-Length: {length}\r\n\
             Connection: close\r\n\r\n"
        );
        server.write_all(format!("{head}{body}").as_bytes()).unwrap();
        let mut answer = String::new();
        server.read_to_string(&mut answer).unwrap();
        assert!(answer.starts_with("HTTP/1.1 2"), "{answer}");
        answer
    }

    /// What the environment says to whoever speaks to the server.
    fn environment(&self) -> Vec<(&'static str, String)> {
        vec![
            ("AWS_ENDPOINT", format!("http://{}", self.address)),
            ("AWS_ALLOW_HTTP", "true".into()),
            ("AWS_REGION", "us-east-1".into()),
            ("AWS_ACCESS_KEY_ID", "test".into()),
            ("AWS_SECRET_ACCESS_KEY", "test".into()),
        ]
    }
}

#[test]
fn a_bucket_is_read_as_a_folder_is() {
    let bucket = Bucket::new("drop");
    let mut shop = Shop::new(&format!("s3://{}/plant", bucket.name), STREAM);
    shop.0.set_environment(bucket.environment());
    assert!(shop.run().as_str().unwrap().contains("no file matches \"in/*.csv\""));
    bucket.put("plant/in/a%20b.csv", &csv(&[("1", "Bolt", "5"), ("2", "Nut", "5")]));
    bucket.put("plant/elsewhere.csv", "x\n1\n");
    assert_eq!(shop.run(), json!([2, 2, 0, 0]));
    assert_eq!(shop.run(), json!([0, 0, 0, 0]));
    bucket.put("plant/in/a%20b.csv", &csv(&[("1", "Bolt M8", "5")]));
    bucket.put("plant/in/c.csv", &csv(&[("3", "Pin", "5")]));
    assert_eq!(shop.run(), json!([2, 1, 1, 1]));
    assert_eq!(shop.texts(PLACED), ["in/a b.csv:1 1 Bolt M8", "in/c.csv:1 3 Pin"]);
    for key in ["plant/in/a%20b.csv", "plant/in/c.csv"] {
        bucket.request("DELETE", key, "");
    }
    let said = shop.run();
    assert!(said.as_str().unwrap().ends_with("no file matches \"in/*.csv\", although 2 were taken before"), "{said}");
}

#[test]
fn a_bucket_that_is_not_there_is_an_error() {
    let bucket = Bucket::new("there");
    let mut shop = Shop::new("s3://not-there-at-all", STREAM);
    shop.0.set_environment(bucket.environment());
    let said = shop.run();
    assert!(said.as_str().unwrap().contains("listing the files of stream \"items\""), "{said}");
}

#[test]
fn a_store_may_lie_in_a_bucket() {
    let bucket = Bucket::new("store");
    let mut shop = Shop::new("./drop", STREAM);
    shop.edit("loopline.toml", "./.loopline", &format!("s3://{}/hub", bucket.name));
    shop.0.set_environment(bucket.environment());
    shop.put("a.csv", &[("1", "Bolt", "5"), ("2", "Nut", "5")]);
    assert_eq!(shop.run(), json!([2, 2, 0, 0]));
    shop.put("a.csv", &[("1", "Bolt M8", "5"), ("2", "Nut", "5")]);
    assert_eq!(shop.run(), json!([2, 0, 1, 0]));
    assert_eq!(shop.texts(PLACED), ["in/a.csv:1 1 Bolt M8", "in/a.csv:2 2 Nut"]);
    assert!(bucket.request("GET", "?list-type=2&prefix=hub/raw/erp__items/_delta_log", "").contains(".json"));
    assert!(!shop.0.root().join("store").exists());
}
