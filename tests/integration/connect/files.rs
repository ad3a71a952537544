//! Files in a real folder: formats, types, which files are taken, and what is said of those that are wrong.

use std::fs::File;
use std::time::SystemTime;

use arrow::array::{
    ArrayRef, Int32Array, Int64Array, ListBuilder, RecordBatch, StringArray, StringBuilder, TimestampNanosecondArray,
};
use futures::StreamExt;
use insta::assert_snapshot;
use loopline::connect::{Reading, SourceFile};
use loopline::project::{ColumnType, Files, Format, Policy, PullMode, Removals};

use super::*;

/// A folder of files, and a stream of them.
struct Drop {
    folder: tempfile::TempDir,
    stream: Stream,
}

const BY_PLACE: [&str; 2] = ["_file", "_row"];

impl Drop {
    fn new(pattern: &str, format: Format) -> Self {
        let files = Files { pattern: pattern.into(), format, delimiter: b',', has_header: true, sheet: None };
        let stream = Stream { files: Some(files), mode: PullMode::Incremental, ..stream("things", &BY_PLACE) };
        Self { folder: tempfile::tempdir().unwrap(), stream }
    }

    /// Writes a file that was last changed an hour ago, and `minute` minutes after that.
    fn put(&self, path: &str, bytes: impl AsRef<[u8]>, minute: u64) -> &Self {
        let path = self.folder.path().join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, bytes).unwrap();
        let modified = SystemTime::now() - Duration::from_secs(3_600 - minute * 60);
        File::options().append(true).open(&path).unwrap().set_modified(modified).unwrap();
        self
    }

    fn types(mut self, types: &[(&str, ColumnType)]) -> Self {
        self.stream.types = types.iter().map(|(column, choice)| ((*column).to_owned(), *choice)).collect();
        self
    }

    async fn read(&self, extent: Extent) -> Result<Reading, ConnectError> {
        let mut system = system(".", BERLIN);
        Arc::get_mut(&mut system.connector).unwrap().protocol = Protocol::Files;
        connect::source(&system, self.folder.path()).await?.read(&self.stream, extent).await
    }

    /// Columns and types, then a line for each row; or what is said.
    async fn shown(&self, extent: Extent) -> String {
        let rows = async {
            let reading = self.read(extent).await?;
            let fields = reading.schema.fields().iter().map(|field| format!("{}: {}", field.name(), field.data_type()));
            let mut lines = vec![fields.collect::<Vec<_>>().join(", ")];
            let discards = reading.discards.clone();
            let batches: Vec<RecordBatch> = reading.rows().try_collect().await?;
            for batch in &batches {
                let row =
                    |row| batch.columns().iter().map(|column| cell_json(column, row).to_string()).collect::<Vec<_>>().join(" ");
                lines.extend((0..batch.num_rows()).map(row));
            }
            lines.extend(discards.take().iter().map(|discard| format!("left out: {discard:?}")));
            Ok::<_, ConnectError>(lines.join("\n"))
        };
        rows.await.unwrap_or_else(|error| format!("error: {error}\nhint: {}", error.hint().unwrap_or_default()))
    }

    async fn all(&self) -> String {
        self.shown(Extent::Whole).await
    }

    /// Paths of the files that are not known.
    async fn fresh(&self, known: &BTreeMap<String, SourceFile>) -> Vec<SourceFile> {
        self.read(Extent::NewFiles(Arc::new(known.clone()))).await.unwrap().files
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn csv_is_text_unless_a_type_is_chosen() {
    let mut drop = Drop::new("in/*.csv", Format::Csv);
    drop.put("in/b.csv", "\u{feff}id;note\r\n007;\"two\r\nlines; \"\"quoted\"\"\"\r\n8;\r\n", 1);
    drop.put("in/a.csv", "id;note;qty\n9;\"\";1.50\n", 2).put("in/deeper/c.csv", "x\n1\n", 3).put("in/.hidden.csv", "x\n1\n", 3);
    drop.stream.files.as_mut().unwrap().delimiter = b';';
    assert_snapshot!(drop.all().await, @r#"
    id: Utf8, note: Utf8, qty: Utf8, _file: Utf8, _row: Int64
    "007" "two\r\nlines; \"quoted\"" null "in/b.csv" 1
    "8" null null "in/b.csv" 2
    "9" "" "1.50" "in/a.csv" 1
    "#);
    let decimal = ColumnType::Decimal { precision: 10, scale: 2 };
    let drop = drop.types(&[("id", ColumnType::Long), ("qty", decimal)]);
    assert_snapshot!(drop.all().await, @r#"
    id: Int64, note: Utf8, qty: Decimal128(10, 2), _file: Utf8, _row: Int64
    7 "two\r\nlines; \"quoted\"" null "in/b.csv" 1
    8 null null "in/b.csv" 2
    9 "" "1.5" "in/a.csv" 1
    "#);
}

#[tokio::test(flavor = "multi_thread")]
async fn types_are_read_in_the_systems_zone_or_refused_with_the_place() {
    let mut drop = Drop::new("*.csv", Format::Csv).types(&[
        ("at", ColumnType::Timestamp),
        ("ok", ColumnType::Boolean),
        ("day", ColumnType::Date),
    ]);
    drop.put("a.csv", "at,ok,day\n2026-07-01 12:00:00,true,2026-07-01\n2026-07-01T12:00:00Z, 0 ,\n", 1);
    assert_snapshot!(drop.all().await, @r#"
    at: Timestamp(µs, "UTC"), ok: Boolean, day: Date32, _file: Utf8, _row: Int64
    "2026-07-01T10:00:00Z" true "2026-07-01" "a.csv" 1
    "2026-07-01T12:00:00Z" false null "a.csv" 2
    "#);
    drop.put("a.csv", "at,ok,day\n2026-07-01 12:00:00,true,01.07.2026\n2026-07-01T12:00:00Z,yes,\n,,2026-07-02\n", 1);
    assert_snapshot!(drop.all().await, @r#"
    error: system "erp", stream "things", column "day", row a.csv:2: "01.07.2026" is not exactly a date (YYYY-MM-DD)
    hint: correct the row in the source, or say in connector.toml what to do: types = { day = "text" }, or contract = { values = "discard_row" }, or add "day" to the stream's `exclude`
    "#);
    drop.stream.contract.values = Policy::DiscardValue;
    assert_snapshot!(drop.all().await, @r#"
    at: Timestamp(µs, "UTC"), ok: Boolean, day: Date32, _file: Utf8, _row: Int64
    "2026-07-01T10:00:00Z" true null "a.csv" 1
    "2026-07-01T12:00:00Z" null null "a.csv" 2
    null null "2026-07-02" "a.csv" 3
    left out: Discard { key: "a.csv:2", column: "day", reason: "\"01.07.2026\" is not exactly a date (YYYY-MM-DD)", value: "01.07.2026", row: None }
    left out: Discard { key: "a.csv:3", column: "ok", reason: "\"yes\" is not exactly true or false", value: "yes", row: None }
    "#);
    drop.stream.contract.values = Policy::DiscardRow;
    assert_snapshot!(drop.all().await, @r#"
    at: Timestamp(µs, "UTC"), ok: Boolean, day: Date32, _file: Utf8, _row: Int64
    null null "2026-07-02" "a.csv" 3
    left out: Discard { key: "a.csv:2", column: "day", reason: "\"01.07.2026\" is not exactly a date (YYYY-MM-DD)", value: "01.07.2026", row: Some("{\"_file\":\"a.csv\",\"_row\":1,\"at\":\"2026-07-01T10:00:00Z\",\"day\":null,\"ok\":true}") }
    left out: Discard { key: "a.csv:3", column: "ok", reason: "\"yes\" is not exactly true or false", value: "yes", row: Some("{\"_file\":\"a.csv\",\"_row\":2,\"at\":\"2026-07-01T12:00:00Z\",\"day\":null,\"ok\":null}") }
    "#);
}

#[tokio::test(flavor = "multi_thread")]
async fn json_lines_keep_what_they_say() {
    let drop = Drop::new("*.jsonl", Format::Jsonl).types(&[("n", ColumnType::Decimal { precision: 8, scale: 3 })]);
    drop.put("a.jsonl", "{\"id\": \"01\", \"n\": 1.10, \"tags\": [\"a\", 1.0]}\n{\"n\": 1.5e2, \"id\": 2, \"new\": null}\n", 1);
    let mut drop = drop;
    drop.stream.contract.gone_columns = Policy::Evolve;
    drop.put("b.jsonl", "{\"id\":3}", 2);
    assert_snapshot!(drop.all().await, @r#"
    id: Utf8, n: Decimal128(8, 3), tags: Utf8, new: Utf8, _file: Utf8, _row: Int64
    "01" "1.1" "[\"a\", 1.0]" null "a.jsonl" 1
    "2" "150" null null "a.jsonl" 2
    "3" null null null "b.jsonl" 1
    "#);
}

#[tokio::test(flavor = "multi_thread")]
async fn workbooks_show_what_a_sheet_shows() {
    let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/files");
    let mut drop = Drop::new("stock.*", Format::Excel);
    drop.stream.files.as_mut().unwrap().sheet = Some("stock".into());
    for (name, extent) in [("stock.ods", 1), ("stock.xls", 2)] {
        drop.put(name, std::fs::read(fixtures.join(name)).unwrap(), extent);
    }
    assert_snapshot!(drop.all().await, @r#"
    Item No: Utf8, Counted: Utf8, At: Utf8, Share: Utf8, Ok: Utf8, Note: Utf8, _file: Utf8, _row: Int64
    "007" "5" "2026-11-23 04:30:00" "0.3" "true" null "stock.ods" 1
    "B-2" "12.5" "2026-11-24" "0.0000001" "false" "ä, ö" "stock.ods" 2
    "007" "5" "2026-11-23 04:30:00" "0.3" "true" null "stock.xls" 1
    "B-2" "12.5" "2026-11-24" "0.0000001" "false" "ä, ö" "stock.xls" 2
    "#);
    drop.put("stock.xlsx", std::fs::read(fixtures.join("stock.xlsx")).unwrap(), 3);
    assert_snapshot!(drop.all().await, @r#"
    error: system "erp", stream "things", column "Counted", row stock.xlsx:6: the cell holds #N/A
    hint: correct the row in the source, or say in connector.toml what to do: types = { Counted = "text" }, or contract = { values = "discard_row" }, or add "Counted" to the stream's `exclude`
    "#);
    drop.stream.contract.values = Policy::DiscardValue;
    drop.stream.files.as_mut().unwrap().pattern = "*.xlsx".into();
    assert_snapshot!(drop.all().await, @r#"
    Item No: Utf8, Counted: Utf8, At: Utf8, Share: Utf8, Ok: Utf8, Note: Utf8, _file: Utf8, _row: Int64
    "007" "5" "2026-11-23 04:30:00" "0.3" "true" null "stock.xlsx" 1
    "B-2" "12.5" "2026-11-24" "0.0000001" "false" "ä, ö" "stock.xlsx" 2
    "C-3" null null null null null "stock.xlsx" 3
    left out: Discard { key: "stock.xlsx:6", column: "Counted", reason: "the cell holds #N/A", value: "", row: None }
    "#);
    drop.stream.files.as_mut().unwrap().sheet = Some("Stock".into());
    assert_snapshot!(drop.all().await, @r#"
    error: system "erp", stream "things", file stock.xlsx: it has no sheet "Stock"
    hint: its sheets are "cover", "stock"; correct `sheet` in connector.toml
    "#);
    drop.put("stock.xlsx", "no workbook", 3);
    assert_snapshot!(drop.all().await, @r#"
    error: system "erp", stream "things", file stock.xlsx: it cannot be read: Cannot detect file format
    hint: check that it is a workbook (xlsx, xlsb, xls, ods) without a password
    "#);
}

fn parquet(columns: Vec<(&str, ArrayRef)>) -> Vec<u8> {
    let batch = RecordBatch::try_from_iter(columns).unwrap();
    let mut bytes = Vec::new();
    let mut writer = parquet::arrow::ArrowWriter::try_new(&mut bytes, batch.schema(), None).unwrap();
    writer.write(&batch).unwrap();
    writer.close().unwrap();
    bytes
}

#[tokio::test(flavor = "multi_thread")]
async fn parquet_keeps_its_types_or_asks() {
    let mut list = ListBuilder::new(StringBuilder::new());
    list.append_value([Some("a"), None]);
    list.append_null();
    let small = Int32Array::from(vec![Some(1), None]);
    let at = TimestampNanosecondArray::from(vec![1_782_900_000_000_000_000, 1]);
    let first = parquet(vec![("id", Arc::new(small)), ("at", Arc::new(at)), ("tags", Arc::new(list.finish()))]);
    let mut drop = Drop::new("*.parquet", Format::Parquet);
    drop.put("a.parquet", &first, 1);
    assert_snapshot!(drop.all().await, @r#"
    error: system "erp", stream "things", column "at", row a.parquet:2: the timestamp is finer than microseconds, or beyond the years that can be read
    hint: correct the row in the source, or say in connector.toml what to do: types = { at = "text" }, or contract = { values = "discard_row" }, or add "at" to the stream's `exclude`
    "#);
    drop.stream.contract.values = Policy::DiscardValue;
    drop.put("b.parquet", parquet(vec![("id", Arc::new(Int64Array::from(vec![1_i64 << 40])))]), 2);
    assert_snapshot!(drop.all().await, @r#"
    error: system "erp", stream "things", file b.parquet: column "at", which older files have, is gone
    hint: add the column to the file, or let it be null: contract = { gone_columns = "evolve" } in connector.toml
    "#);
    drop.stream.contract.gone_columns = Policy::Evolve;
    assert_snapshot!(drop.all().await, @r#"
    id: Int64, at: Timestamp(µs, "UTC"), tags: Utf8, _file: Utf8, _row: Int64
    1 "2026-07-01T08:00:00Z" "[\"a\",null]" "a.parquet" 1
    null null null "a.parquet" 2
    1099511627776 null null "b.parquet" 1
    left out: Discard { key: "a.parquet:2", column: "at", reason: "the timestamp is finer than microseconds, or beyond the years that can be read", value: "", row: None }
    "#);
    drop.put("b.parquet", parquet(vec![("id", Arc::new(StringArray::from(vec!["x"])))]), 2);
    assert_snapshot!(drop.all().await, @r#"
    error: system "erp", stream "things", file b.parquet: column "id" is Utf8 here and Int32 in another file
    hint: choose its type in connector.toml: types = { id = "text" }
    "#);
    let mut drop = drop.types(&[("id", ColumnType::Text)]);
    drop.stream.exclude = vec!["at".into(), "tags".into()];
    assert_snapshot!(drop.all().await, @r#"
    id: Utf8, _file: Utf8, _row: Int64
    "1" "a.parquet" 1
    null "a.parquet" 2
    "x" "b.parquet" 1
    "#);
    drop.put("b.parquet", &first[..first.len() - 9], 2);
    assert_snapshot!(drop.all().await, @r#"
    error: system "erp", stream "things", file b.parquet: it cannot be read as Parquet: Parquet error: Invalid Parquet file. Corrupt footer
    hint: check that the file is complete and is Parquet; move it away if it is not
    "#);
}

#[tokio::test(flavor = "multi_thread")]
async fn each_file_is_new_until_it_is_known_and_again_when_it_changes() {
    let drop = Drop::new("*.csv", Format::Csv);
    drop.put("b.csv", "id\n1\n", 1).put("a.csv", "id\n2\n", 2).put("c.csv", "id\n3\n", 1);
    let mut known = BTreeMap::new();
    let fresh = async |known: &mut BTreeMap<String, SourceFile>| {
        let files = drop.fresh(known).await;
        known.extend(files.iter().map(|file| (file.path.clone(), file.clone())));
        files.into_iter().map(|file| file.path).collect::<Vec<_>>()
    };
    assert_eq!(fresh(&mut known).await, ["b.csv", "c.csv", "a.csv"], "by the time of their last change");
    assert!(fresh(&mut known).await.is_empty());
    drop.put("b.csv", "id\n10\n", 3);
    std::fs::remove_file(drop.folder.path().join("c.csv")).unwrap();
    assert_eq!(fresh(&mut known).await, ["b.csv"]);

    // Somebody still writes it.
    std::fs::write(drop.folder.path().join("young.csv"), "id\n").unwrap();
    assert!(fresh(&mut known).await.is_empty());
    assert!(drop.all().await.lines().count() == 3);
    let full = Drop { stream: Stream { mode: PullMode::Full, ..drop.stream.clone() }, folder: drop.folder };
    assert_snapshot!(full.all().await, @r#"
    error: system "erp", stream "things": the table changed while it was read: file young.csv: it may still be written
    hint: pull again; if it happens again, compare connector.toml with the source's table
    "#);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_changes_while_it_is_read_is_not_taken() {
    let drop = Drop::new("*.csv", Format::Csv);
    let rows = |from: u32, count: u32| (from..from + count).map(|id| format!("{id},{}\n", "x".repeat(90))).collect::<String>();
    drop.put("a.csv", format!("id,note\n{}", rows(100_000, 100_000)), 1);
    for (what, then) in [("rewritten", Some(rows(500_000, 100_000))), ("removed", None)] {
        let mut part = drop.read(Extent::Whole).await.unwrap().rows();
        part.next().await.unwrap().unwrap();
        let path = drop.folder.path().join("a.csv");
        match then {
            Some(rows) => drop.put("a.csv", format!("id,note\n{rows}"), 1),
            None => {
                std::fs::remove_file(path).unwrap();
                &drop
            }
        };
        let error = part.try_collect::<Vec<_>>().await.unwrap_err();
        assert!(matches!(error, ConnectError::Changed { .. }), "{what}: {error}");
        assert_ne!(error.retry(), loopline::base::Retry::Never);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_wrong_is_said_with_file_and_line() {
    let mut said = String::new();
    let mut check = async |what: &str, pattern: &str, bytes: &[u8]| {
        let format = if pattern.ends_with("csv") { Format::Csv } else { Format::Jsonl };
        let mut drop = Drop::new(pattern, format);
        drop.stream.key = vec!["id".into()];
        drop.put(&pattern.replace('*', "a"), bytes, 1);
        said += &format!("== {what}\n{}\n", drop.all().await);
    };
    check("ragged", "*.csv", b"id,b\n1,2\n\"3\n\",4\n5\n").await;
    check("no key column", "*.csv", b"ID,b\n1,2\n").await;
    check("key without value", "*.csv", b"id,b\n1,2\n,3\n").await;
    check("two columns of one name", "*.csv", b"id,b,b\n1,2,3\n").await;
    check("a name of the hub's", "*.csv", b"id,_row\n1,2\n").await;
    check("no text", "*.csv", b"id,b\n1,M\xFCller\n").await;
    check("a packed file", "*.csv", b"\x1F\x8B\x08\x00\x00").await;
    check("an open quote", "*.csv", b"id,b\n1,\"2\n").await;
    check("no object", "*.jsonl", b"{\"id\":1}\n[2]\n").await;
    check("a member twice", "*.jsonl", b"{\"id\":1,\"id\":2}\n").await;
    check("nothing", "*/x.csv", b"").await;
    check("an empty file", "*.csv", b"").await;
    assert_snapshot!(said, @r#"
    == ragged
    error: system "erp", stream "things", file a.csv, line 5: the record has 1 fields, the first one of the file has 2
    hint: correct the line; a field that holds the delimiter must be quoted
    == no key column
    error: system "erp", stream "things": table "a.csv" has no key column "id"
    hint: did you mean "ID"?
    == key without value
    error: system "erp", stream "things", file a.csv, line 3: key column "id" has no value
    hint: choose key columns that always have a value, or correct the file
    == two columns of one name
    error: system "erp", stream "things", file a.csv, line 1: two columns are named "b"
    hint: give each column a name of its own
    == a name of the hub's
    error: system "erp", stream "things", file a.csv, line 1: "_row" is a name of loopline's own
    hint: rename the column
    == no text
    error: system "erp", stream "things", file a.csv, line 2: byte 9 of the file (0xFC) is not UTF-8 text
    hint: save the file as UTF-8
    == a packed file
    error: system "erp", stream "things", file a.csv: the file is packed (gzip)
    hint: unpack the file; packed files are not read
    == an open quote
    error: system "erp", stream "things", file a.csv, line 2: the file ends inside of a quoted field of the record that starts here
    hint: close the quote, or wait until the file is complete
    == no object
    error: system "erp", stream "things", file a.jsonl, line 2: no JSON object: invalid type: sequence, expected an object at line 1 column 0
    hint: write one JSON object in each line, without line ends inside of it
    == a member twice
    error: system "erp", stream "things", file a.jsonl, line 1: "id" stands twice in the object
    hint: write one JSON object in each line, without line ends inside of it
    == nothing
    _file: Utf8, _row: Int64
    == an empty file
    _file: Utf8, _row: Int64
    "#);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_listing_that_is_suddenly_empty_is_an_error() {
    let mut drop = Drop::new("in/*.csv", Format::Csv);
    assert_snapshot!(drop.all().await, @r#"
    error: system "erp", stream "things": no file matches "in/*.csv"
    hint: check the pattern in connector.toml and the system's `url`; names are case-sensitive
    "#);
    drop.put("in/a.csv", "id\n1\n", 1);
    let known: BTreeMap<_, _> = drop.fresh(&BTreeMap::new()).await.into_iter().map(|file| (file.path.clone(), file)).collect();
    std::fs::remove_dir_all(drop.folder.path().join("in")).unwrap();
    assert_snapshot!(drop.shown(Extent::NewFiles(Arc::new(known.clone()))).await, @r#"
    error: system "erp", stream "things": no file matches "in/*.csv", although 1 were taken before
    hint: check that the folder is mounted and may be listed; if files are taken away after a pull, set removals = "any" for the stream in connector.toml
    "#);
    drop.stream.removals = Removals::Any;
    assert_snapshot!(drop.shown(Extent::NewFiles(Arc::new(known))).await, @"_file: Utf8, _row: Int64");
    let mut system = system("./nowhere", None);
    Arc::get_mut(&mut system.connector).unwrap().protocol = Protocol::Files;
    let error = connect::source(&system, Path::new("/srv")).await.err().unwrap();
    assert_snapshot!(shown(&error), @r#"system "erp": there is no folder /srv/./nowhere; make the folder, or correct the system's `url` in loopline.toml; it starts at the project's folder"#);
    let error = connect::target(&system, Path::new("/srv")).await.err().unwrap();
    assert_snapshot!(shown(&error), @r#"system "erp": files cannot be written; remove the [write.…] sections from its connector.toml"#);
}

#[tokio::test(flavor = "multi_thread")]
async fn of_a_record_without_end_no_more_is_held_than_the_limit() {
    let drop = Drop::new("*.csv", Format::Csv);
    let mut text = b"id\n1\n\"".to_vec();
    text.resize(120 << 20, b'x');
    drop.put("a.csv", &text, 1);
    assert_snapshot!(drop.all().await, @r#"
    error: system "erp", stream "things", file a.csv, line 3: a record that starts here has more than 100 MiB
    hint: look for a quote that is never closed, or an export without line ends
    "#);
}
