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
    assert_snapshot!(drop.all().await, @"");
    let decimal = ColumnType::Decimal { precision: 10, scale: 2 };
    let drop = drop.types(&[("id", ColumnType::Long), ("qty", decimal)]);
    assert_snapshot!(drop.all().await, @"");
}

#[tokio::test(flavor = "multi_thread")]
async fn types_are_read_in_the_systems_zone_or_refused_with_the_place() {
    let mut drop = Drop::new("*.csv", Format::Csv).types(&[
        ("at", ColumnType::Timestamp),
        ("ok", ColumnType::Boolean),
        ("day", ColumnType::Date),
    ]);
    drop.put("a.csv", "at,ok,day\n2026-07-01 12:00:00,true,2026-07-01\n2026-07-01T12:00:00Z, 0 ,\n", 1);
    assert_snapshot!(drop.all().await, @"");
    drop.put("a.csv", "at,ok,day\n2026-07-01 12:00:00,true,01.07.2026\n2026-07-01T12:00:00Z,yes,\n,,2026-07-02\n", 1);
    assert_snapshot!(drop.all().await, @"");
    drop.stream.contract.values = Policy::DiscardValue;
    assert_snapshot!(drop.all().await, @"");
    drop.stream.contract.values = Policy::DiscardRow;
    assert_snapshot!(drop.all().await, @"");
}

#[tokio::test(flavor = "multi_thread")]
async fn json_lines_keep_what_they_say() {
    let drop = Drop::new("*.jsonl", Format::Jsonl).types(&[("n", ColumnType::Decimal { precision: 8, scale: 3 })]);
    drop.put("a.jsonl", "{\"id\": \"01\", \"n\": 1.10, \"tags\": [\"a\", 1.0]}\n{\"n\": 1.5e2, \"id\": 2, \"new\": null}\n", 1);
    let mut drop = drop;
    drop.stream.contract.gone_columns = Policy::Evolve;
    drop.put("b.jsonl", "{\"id\":3}", 2);
    assert_snapshot!(drop.all().await, @"");
}

#[tokio::test(flavor = "multi_thread")]
async fn workbooks_show_what_a_sheet_shows() {
    let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/files");
    let mut drop = Drop::new("stock.*", Format::Excel);
    drop.stream.files.as_mut().unwrap().sheet = Some("stock".into());
    for (name, extent) in [("stock.ods", 1), ("stock.xls", 2)] {
        drop.put(name, std::fs::read(fixtures.join(name)).unwrap(), extent);
    }
    assert_snapshot!(drop.all().await, @"");
    drop.put("stock.xlsx", std::fs::read(fixtures.join("stock.xlsx")).unwrap(), 3);
    assert_snapshot!(drop.all().await, @"");
    drop.stream.contract.values = Policy::DiscardValue;
    drop.stream.files.as_mut().unwrap().pattern = "*.xlsx".into();
    assert_snapshot!(drop.all().await, @"");
    drop.stream.files.as_mut().unwrap().sheet = Some("Stock".into());
    assert_snapshot!(drop.all().await, @"");
    drop.put("stock.xlsx", "no workbook", 3);
    assert_snapshot!(drop.all().await, @"");
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
    assert_snapshot!(drop.all().await, @"");
    drop.stream.contract.values = Policy::DiscardValue;
    drop.put("b.parquet", parquet(vec![("id", Arc::new(Int64Array::from(vec![1_i64 << 40])))]), 2);
    assert_snapshot!(drop.all().await, @"");
    drop.stream.contract.gone_columns = Policy::Evolve;
    assert_snapshot!(drop.all().await, @"");
    drop.put("b.parquet", parquet(vec![("id", Arc::new(StringArray::from(vec!["x"])))]), 2);
    assert_snapshot!(drop.all().await, @"");
    let mut drop = drop.types(&[("id", ColumnType::Text)]);
    drop.stream.exclude = vec!["at".into(), "tags".into()];
    assert_snapshot!(drop.all().await, @"");
    drop.put("b.parquet", &first[..first.len() - 9], 2);
    assert_snapshot!(drop.all().await, @"");
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
    assert_snapshot!(full.all().await, @"");
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
    assert_snapshot!(said, @"");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_listing_that_is_suddenly_empty_is_an_error() {
    let mut drop = Drop::new("in/*.csv", Format::Csv);
    assert_snapshot!(drop.all().await, @"");
    drop.put("in/a.csv", "id\n1\n", 1);
    let known: BTreeMap<_, _> = drop.fresh(&BTreeMap::new()).await.into_iter().map(|file| (file.path.clone(), file)).collect();
    std::fs::remove_dir_all(drop.folder.path().join("in")).unwrap();
    assert_snapshot!(drop.shown(Extent::NewFiles(Arc::new(known.clone()))).await, @"");
    drop.stream.removals = Removals::Any;
    assert_snapshot!(drop.shown(Extent::NewFiles(Arc::new(known))).await, @"_file: Utf8, _row: Int64");
    let mut system = system("./nowhere", None);
    Arc::get_mut(&mut system.connector).unwrap().protocol = Protocol::Files;
    let error = connect::source(&system, Path::new("/srv")).await.err().unwrap();
    assert_snapshot!(shown(&error), @"");
    let error = connect::target(&system, Path::new("/srv")).await.err().unwrap();
    assert_snapshot!(shown(&error), @"");
}

#[tokio::test(flavor = "multi_thread")]
async fn of_a_record_without_end_no_more_is_held_than_the_limit() {
    let drop = Drop::new("*.csv", Format::Csv);
    let mut text = b"id\n1\n\"".to_vec();
    text.resize(120 << 20, b'x');
    drop.put("a.csv", &text, 1);
    assert_snapshot!(drop.all().await, @"");
}
