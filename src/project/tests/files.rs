//! What systems and streams of files say.

use super::*;

/// The project with a second system whose connector is of files.
fn with_files(url: &str, stream: &str) -> tempfile::TempDir {
    let root = valid();
    let settings = std::fs::read_to_string(root.path().join("loopline.toml")).unwrap();
    write(root.path(), "loopline.toml", format!("{settings}\n[systems.drop]\nconnector = \"drop\"\nurl = \"{url}\"\n"));
    write(root.path(), "connectors/drop/connector.toml", format!("protocol = \"files\"\n[stream.orders]\n{stream}"));
    root
}

fn said(url: &str, stream: &str) -> String {
    messages(with_files(url, stream).path())
}

#[test]
fn streams_of_files_are_read_as_they_are_written() {
    let read = |stream: &str| {
        let project = Project::load(with_files("s3://bucket/in", stream).path()).unwrap_or_else(|errors| panic!("{errors:#?}"));
        project.systems["drop"].connector.streams["orders"].clone()
    };
    let plain = read("files = { pattern = \"orders/*.csv\" }");
    assert_eq!((plain.key, plain.mode), (vec!["_file".to_owned(), "_row".to_owned()], PullMode::Incremental));
    let csv = Files { pattern: "orders/*.csv".into(), format: Format::Csv, delimiter: b',', has_header: true, sheet: None };
    assert_eq!(plain.files, Some(csv.clone()));
    let odd = read(
        "key = [\"id\"]\nmode = \"append\"\nfiles = { pattern = \"**/orders\", format = \"csv\", delimiter = \"|\", header = false }",
    );
    assert_eq!((odd.key, odd.mode), (vec!["id".to_owned()], PullMode::Append));
    assert_eq!(odd.files, Some(Files { pattern: "**/orders".into(), delimiter: b'|', has_header: false, ..csv.clone() }));
    assert_eq!(read("files = { pattern = \"a.tsv\" }").files.unwrap().delimiter, b'\t');
    let sheet = read("files = { pattern = \"a.XLSX\", sheet = \"Stock\" }").files.unwrap();
    assert_eq!((sheet.format, sheet.sheet.as_deref()), (Format::Excel, Some("Stock")));
    assert_eq!(read("files = { pattern = \"a.jsonl\" }").contract.gone_columns, Policy::Evolve);
}

#[test]
fn what_is_wrong_with_files_is_said() {
    let orders = "files = { pattern = \"orders/*.csv\" }";
    for url in ["./drop", "/srv/drop", "file:///srv/drop", "file:drop", "gs://bucket", "az://container/x"] {
        assert_eq!(said(url, orders), "no error", "{url}");
    }
    let check = |url: &str, stream: &str, expected: &[&str]| {
        let said = said(url, stream);
        assert!(expected.iter().all(|part| said.contains(part)), "{stream}: {said}");
    };
    check("ftp://host/x", orders, &["loopline.toml:16: system \"drop\": \"ftp:\" is not an address of files"]);
    check("s3://key:word@bucket", orders, &["the address holds a password", "hint: remove it; credentials of buckets"]);
    check("s3://", orders, &["the address names no folder or bucket"]);
    check("s3:bucket", orders, &["the address names no folder or bucket"]);
    let here = "connectors/drop/connector.toml:3: stream \"orders\"";
    check("./drop", "key = [\"id\"]", &["\"files\" is missing\nhint: add files = { pattern"]);
    check("./drop", "files = {}", &["\"pattern\" is missing"]);
    check("./drop", "files = { pattern = \"a.dat\" }", &[here, "does not say which format the files have\nhint: add format"]);
    check("./drop", "files = { pattern = \"a.csv\", format = \"cvs\" }", &[here, "did you mean \"csv\"?"]);
    check("./drop", "files = { pattern = \"../a.csv\" }", &["\"../a.csv\" is not a path below the system's address"]);
    check("./drop", "files = { pattern = \"a[.csv\" }", &["\"a[.csv\" is not a pattern: "]);
    check("./drop", "files = { pattern = \"a.csv\", delimiter = \"::\" }", &["\"::\" is not one character between fields"]);
    check("./drop", "files = { pattern = \"a.csv\", sheet = \"x\" }", &["\"sheet\" has no effect: it is for excel only"]);
    check(
        "./drop",
        "files = { pattern = \"a.parquet\", delimiter = \";\" }",
        &["\"delimiter\" has no effect: it is for csv only"],
    );
    check("./drop", &format!("{orders}\ncursor = {{ field = \"x\" }}"), &["\"cursor\" has no effect on a stream of files"]);
    check("./drop", &format!("{orders}\nsweep = \"daily\""), &["\"sweep\" has no effect on a stream of files"]);
    let sql = connector("exclude = [\"photo\"]", orders);
    assert!(sql.contains("\"files\" needs a connector of files"), "{sql}");
}
