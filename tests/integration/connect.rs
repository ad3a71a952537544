//! Sources and targets on real SQLite files and real PostgreSQL and MariaDB servers.

mod extents;
mod files;
mod mysql;
mod postgres;
mod postgres_read;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use futures::TryStreamExt;
use loopline::base::{Diagnose, Operation, Row, RowChange};
use loopline::connect::{self, ConnectError, CursorValue, Extent, Outcome, Source, cell_json};
use loopline::project::{Connector, Cursor, CursorKind, Load, Policy, Protocol, SecretSource, Stale, Stream, System};
use serde_json::{Value, json};

fn system(url: &str, zone: Option<chrono_tz::Tz>) -> System {
    let connector = Connector {
        name: "plant".into(),
        file: PathBuf::from("connectors/plant/connector.toml"),
        protocol: Protocol::Sql,
        time_zone: None,
        streams: BTreeMap::new(),
        writes: BTreeMap::new(),
        maps: BTreeMap::new(),
    };
    System {
        name: "erp".into(),
        connector: Arc::new(connector),
        url: url.into(),
        secret: None,
        time_zone: zone,
        max_age: Duration::from_secs(3_600),
        stale: Stale::Fail,
        load: Load::default(),
    }
}

fn stream(table: &str, key: &[&str]) -> Stream {
    let key = key.iter().map(|column| (*column).into()).collect();
    Stream { table: table.into(), ..Stream::new("things", key) }
}

fn with_cursor(mut stream: Stream, field: &str, kind: CursorKind) -> Stream {
    stream.cursor = Some(Cursor { field: field.into(), kind, lookback: 0 });
    stream
}

/// Schema as `name: type` and all rows as canonical JSON.
async fn read_all(
    source: &dyn Source,
    stream: &Stream,
    after: Option<CursorValue>,
) -> Result<(Vec<String>, Vec<Vec<Value>>), ConnectError> {
    let reading = source.read(stream, after.map_or(Extent::Whole, Extent::Since)).await?;
    let schema = reading.schema.fields().iter().map(|field| format!("{}: {}", field.name(), field.data_type())).collect();
    let table = Arc::clone(&reading.schema);
    let batches: Vec<_> = reading.rows().try_collect().await?;
    assert!(batches.iter().all(|batch| batch.schema() == table && batch.num_rows() <= 8_192));
    let cells = |batch: &arrow::array::RecordBatch, row| batch.columns().iter().map(|column| cell_json(column, row)).collect();
    let rows = batches.iter().flat_map(|batch| (0..batch.num_rows()).map(|row| cells(batch, row)).collect::<Vec<_>>()).collect();
    Ok((schema, rows))
}

fn row(value: Value) -> Row {
    serde_json::from_value(value).unwrap()
}

fn change(operation: Operation, table: &str, key: Value, before: Value, after: Value) -> RowChange {
    let image = |value: Value| (!value.is_null()).then(|| row(value));
    RowChange { operation, table: table.into(), key: row(key), before: image(before), after: image(after), version: None }
}

fn versioned(mut change: RowChange, column: &str, value: Value) -> RowChange {
    change.version = Some((column.into(), value));
    change
}

/// Message and hint of an error, and its causes: everything that a user may see.
fn shown(error: &ConnectError) -> String {
    let mut text = format!("{error}; {}", error.hint().unwrap_or_default());
    let mut cause = std::error::Error::source(error);
    while let Some(inner) = cause {
        text.push_str(&format!("; {inner}"));
        cause = inner.source();
    }
    text
}

fn sqlite(folder: &Path, script: &str) -> rusqlite::Connection {
    let connection = rusqlite::Connection::open(folder.join("plant.db")).unwrap();
    connection.execute_batch(script).unwrap();
    connection
}

const BERLIN: Option<chrono_tz::Tz> = Some(chrono_tz::Europe::Berlin);

const SQLITE_ITEMS: &str = "
    create table items (
      id integer primary key, name varchar(40), qty decimal(10,2), price numeric, weight double, active boolean, made date,
      upd datetime, photo blob, ver int default 1);
    insert into items values
      (1, 'bolt', 5, 0.1, 2.5, 1, '2026-07-01', '2026-07-01 12:00:00', x'00ff', 1),
      (2, 'Schraube ä', 1.25, '12345678901.5', 7, 0, null, '2026-07-01T10:00:00.1234567Z', null, 2),
      (3, null, null, null, null, null, null, null, null, null);";

#[tokio::test]
async fn sqlite_types_are_exact() {
    let folder = tempfile::tempdir().unwrap();
    sqlite(folder.path(), SQLITE_ITEMS);
    let source = connect::source(&system("sqlite:plant.db", BERLIN), folder.path()).await.unwrap();
    let (schema, rows) = read_all(source.as_ref(), &stream("items", &["id"]), None).await.unwrap();
    insta::assert_debug_snapshot!(schema.join(", "), @r#""id: Int64, name: Utf8, qty: Decimal128(10, 2), price: Decimal128(38, 10), weight: Float64, active: Boolean, made: Date32, upd: Timestamp(µs, \"UTC\"), photo: Binary, ver: Int64""#);
    assert_eq!(
        rows[0],
        vec![
            json!(1),
            json!("bolt"),
            json!("5"),
            json!("0.1"),
            json!(2.5),
            json!(true),
            json!("2026-07-01"),
            json!("2026-07-01T10:00:00Z"),
            json!("00ff"),
            json!(1)
        ]
    );
    assert_eq!(
        rows[1],
        vec![
            json!(2),
            json!("Schraube ä"),
            json!("1.25"),
            json!("12345678901.5"),
            json!(7.0),
            json!(false),
            json!(null),
            json!("2026-07-01T10:00:00.123456Z"),
            json!(null),
            json!(2)
        ]
    );
    assert_eq!(rows[2][1..], vec![Value::Null; 9]);
}

#[tokio::test]
async fn sqlite_reads_one_snapshot_and_from_a_cursor() {
    let folder = tempfile::tempdir().unwrap();
    let connection = sqlite(folder.path(), &format!("pragma journal_mode = wal; {SQLITE_ITEMS}"));
    let source = connect::source(&system("sqlite:plant.db", BERLIN), folder.path()).await.unwrap();
    connection
        .execute_batch("insert into items (id, upd) values (9, '2026-09-01 00:00:00'); delete from items where id = 1")
        .unwrap();

    let by_time = with_cursor(stream("items", &["id"]), "upd", CursorKind::Timestamp);
    let ids = |rows: Vec<Vec<Value>>| rows.into_iter().map(|row| row[0].clone()).collect::<Vec<_>>();
    let (_, rows) = read_all(source.as_ref(), &by_time, None).await.unwrap();
    assert_eq!(ids(rows), [1, 2, 3], "the snapshot is older than the writes");

    let instant = 1_782_900_000_000_000; // 2026-07-01T10:00:00Z
    let (_, rows) = read_all(source.as_ref(), &by_time, Some(CursorValue::Timestamp(instant))).await.unwrap();
    assert_eq!(ids(rows), [1, 2, 3], "inclusive, with rows that have no cursor");
    let (_, rows) = read_all(source.as_ref(), &by_time, Some(CursorValue::Timestamp(instant + 1))).await.unwrap();
    assert_eq!(ids(rows), [2, 3]);
    let by_version = with_cursor(stream("items", &["id"]), "ver", CursorKind::Integer);
    let (_, rows) = read_all(source.as_ref(), &by_version, Some(CursorValue::Integer(2))).await.unwrap();
    assert_eq!(ids(rows), [2, 3]);

    let fresh = connect::source(&system("sqlite:plant.db", BERLIN), folder.path()).await.unwrap();
    let (_, rows) = read_all(fresh.as_ref(), &by_time, None).await.unwrap();
    assert_eq!(ids(rows), [2, 3, 9]);
}

#[tokio::test]
async fn sqlite_large_tables_come_in_batches_and_may_be_dropped_half_read() {
    let folder = tempfile::tempdir().unwrap();
    let connection = sqlite(folder.path(), "create table items (id integer primary key, name text)");
    connection
        .execute_batch("with recursive n(i) as (select 1 union all select i + 1 from n where i < 100000) insert into items select i, 'item ' || i from n")
        .unwrap();
    let source = connect::source(&system("sqlite:plant.db", None), folder.path()).await.unwrap();
    let mut half = source.read(&stream("items", &["id"]), Extent::Whole).await.unwrap().rows();
    assert_eq!(half.try_next().await.unwrap().unwrap().num_rows(), 8_192);
    drop(half);
    let (_, rows) = read_all(source.as_ref(), &stream("items", &["id"]), None).await.unwrap();
    assert_eq!(rows.len(), 100_000);
}

/// What a SQLite table with these rows says when `stream` is read.
async fn sqlite_error(script: &str, stream: &Stream, zone: Option<chrono_tz::Tz>) -> String {
    let folder = tempfile::tempdir().unwrap();
    sqlite(folder.path(), script);
    let source = connect::source(&system("sqlite:plant.db", zone), folder.path()).await.unwrap();
    shown(&read_all(source.as_ref(), stream, None).await.unwrap_err())
}

#[tokio::test]
async fn sqlite_errors_name_the_place_and_the_way_out() {
    let items = |values: &str| {
        format!(
            "create table items (id int, qty decimal(4,1), upd datetime, big decimal(60,2)); insert into items (id, qty, upd) values {values}"
        )
    };
    let plain = || Stream { exclude: vec!["big".into()], ..stream("items", &["id"]) };
    let cases = [
        (
            items("(1, 1, null)"),
            stream("itms", &["id"]),
            "system \"erp\", stream \"things\": there is no table \"itms\"; did you mean \"items\"?",
        ),
        (
            items("(1, 1, null)"),
            stream("items", &["ID"]),
            "system \"erp\", stream \"things\": table \"items\" has no key column \"ID\"; did you mean \"id\"?",
        ),
        (
            items("(1, 1, null)"),
            stream("items", &["id"]),
            "system \"erp\", stream \"things\": column \"big\" has type decimal(60,2), which cannot be read; choose what it becomes with types = { big = \"text\" }",
        ),
        (
            items("(1, 1, null)"),
            with_cursor(plain(), "qty", CursorKind::Timestamp),
            "system \"erp\", stream \"things\": column \"qty\" is declared as a cursor of kind timestamp, but holds decimals",
        ),
        (
            items("(7, 0.25, null)"),
            plain(),
            "system \"erp\", stream \"things\", column \"qty\", row id=7: \"0.25\" does not fit decimal(4,1)",
        ),
        (
            items("(7, 1, 'soon')"),
            plain(),
            "system \"erp\", stream \"things\", column \"upd\", row id=7: \"soon\" is no timestamp",
        ),
        (
            items("(7, 1, 1782900000)"),
            plain(),
            "system \"erp\", stream \"things\", column \"upd\", row id=7: holds integer 1782900000, but its declared type needs an ISO timestamp as text",
        ),
        (
            items("(7, 1, '2026-07-01 12:00')"),
            plain(),
            "system \"erp\", stream \"things\": column \"upd\" holds timestamps without a zone; set time_zone",
        ),
        (
            items("(7, 1, null), (null, 1, null)"),
            plain(),
            "system \"erp\", stream \"things\": row 2 of this read has no value in key column \"id\"",
        ),
        (
            items("('x', 1, null)"),
            plain(),
            "system \"erp\", stream \"things\", column \"id\", row id=?: holds text \"x\", but its declared type needs an integer",
        ),
    ];
    for (script, stream, expected) in cases {
        let message = sqlite_error(&script, &stream, None).await;
        assert!(message.starts_with(expected), "{message}");
    }
}

#[tokio::test]
async fn sqlite_values_that_do_not_fit_are_left_out_as_the_contract_says() {
    let folder = tempfile::tempdir().unwrap();
    let script =
        "create table items (id int, qty decimal(4,1)); insert into items values (1, 1), (2, 0.25), (3, null), (4, 99999)";
    sqlite(folder.path(), script);
    let source = connect::source(&system("sqlite:plant.db", None), folder.path()).await.unwrap();
    let mut stream = stream("items", &["id"]);
    for (policy, kept) in [
        (Policy::DiscardRow, json!([[1, "1"], [3, null]])),
        (Policy::DiscardValue, json!([[1, "1"], [2, null], [3, null], [4, null]])),
    ] {
        stream.contract.values = policy;
        let reading = source.read(&stream, Extent::Whole).await.unwrap();
        let discards = reading.discards.clone();
        let batches: Vec<_> = reading.rows().try_collect().await.unwrap();
        let rows = batches.iter().flat_map(|batch| {
            (0..batch.num_rows()).map(move |row| json!([cell_json(batch.column(0), row), cell_json(batch.column(1), row)]))
        });
        assert_eq!(rows.collect::<Value>(), kept);
        let noted: Vec<_> = discards.take().into_iter().map(|noted| (noted.key, noted.reason)).collect();
        let reason = |text: &str| format!("\"{text}\" does not fit decimal(4,1)");
        assert_eq!(noted, [("id=2".to_owned(), reason("0.25")), ("id=4".to_owned(), reason("99999"))]);
    }
}

#[tokio::test]
async fn addresses_that_lead_nowhere_say_so() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("text.db"), "this is not a database, but it is long enough to look like one".repeat(20))
        .unwrap();
    let message = |url: &'static str| {
        let folder = folder.path().to_owned();
        async move { connect::source(&system(url, None), &folder).await.err().map(|error| shown(&error)).unwrap_or_default() }
    };
    assert!(message("sqlite:none.db").await.starts_with("system \"erp\": there is no database file"));
    assert!(message("sqlite:text.db").await.contains("is not a SQLite database; name a SQLite database file"));
    assert!(message("mssql://a@b/c").await.contains("names no database that protocol \"sql\" can speak to"));
    assert!(
        message("postgres://hub@127.0.0.1:1/prod")
            .await
            .starts_with("system \"erp\": 127.0.0.1:1 cannot be reached; check host and port")
    );
    let with_password = message("postgres://hub:topsecret@127.0.0.1/prod").await;
    assert!(with_password.contains("holds a password") && !with_password.contains("topsecret"));

    let mut secretive = system("postgres://hub@127.0.0.1:1/prod", None);
    secretive.secret = Some(SecretSource::Env("LOOPLINE_TEST_NO_SUCH_VARIABLE".into()));
    let error = connect::target(&secretive, folder.path()).await.err().unwrap();
    assert!(shown(&error).contains("export LOOPLINE_TEST_NO_SUCH_VARIABLE"), "{}", shown(&error));
}

/// What every target must do, on a table `lines` (id, part: key; qty decimal(10,2) not negative; due timestamp without zone; note; ver) with
/// rows (1, 'a', 5, 2026-07-01 12:00 Berlin, 'n', 1) and (2, 'b', null, null, null, 1).
async fn check_target(system: &System, root: &Path) {
    let target = connect::target(system, root).await.unwrap();
    let key = |id: i64, part: &str| json!({"id": id, "part": part});
    let update = |id, part: &str, before, after| change(Operation::Update, "lines", key(id, part), before, after);
    let changes = [
        // Decimal 5 is 5.00; the instant is written as local time.
        versioned(
            update(
                1,
                "a",
                json!({"qty": "5.00", "due": "2026-07-01T10:00:00Z"}),
                json!({"qty": "6.5", "due": "2026-07-02T10:00:00Z"}),
            ),
            "ver",
            json!(1),
        ),
        versioned(update(2, "b", json!({"qty": null}), json!({"qty": "1"})), "ver", json!(7)),
        update(2, "b", json!({"qty": "3"}), json!({"qty": "1"})),
        update(3, "c", json!({"qty": "3"}), json!({"qty": "1"})),
        update(2, "b", json!({"qty": null}), json!({"qty": "-1"})),
        update(2, "b", json!({"qty": null}), json!({"qty": "1.005"})),
        update(2, "b", json!({"qty": null, "note": null}), json!({"qty": "2", "note": "it's \"quoted\"; drop table lines"})),
        change(Operation::Insert, "lines", key(1, "a"), json!(null), json!({"qty": "9"})),
        change(
            Operation::Insert,
            "lines",
            key(4, "d"),
            json!(null),
            json!({"qty": "0.25", "due": "2026-12-01T11:00:00.5Z", "note": null, "ver": 1}),
        ),
        change(Operation::Insert, "lines", json!({"id": 5, "part": null}), json!(null), json!({"qty": "1"})),
    ];
    let outcomes = target.apply(&changes).await.unwrap();
    let found = |id: i64, part: &str, rest: Value| {
        let mut found = row(key(id, part));
        found.extend(row(rest));
        Outcome::Conflict { found: Some(found) }
    };
    assert_eq!(outcomes[0], Outcome::Applied);
    assert_eq!(outcomes[1], found(2, "b", json!({"qty": null, "ver": 1})));
    assert_eq!(outcomes[2], found(2, "b", json!({"qty": null})));
    assert_eq!(outcomes[3], Outcome::Conflict { found: None });
    assert!(
        matches!(&outcomes[4], Outcome::Refused { reason } if reason.to_lowercase().contains("constraint")),
        "{:?}",
        outcomes[4]
    );
    assert!(
        matches!(&outcomes[5], Outcome::Refused { reason } if reason.contains("\"qty\"") && reason.contains("does not fit")),
        "{:?}",
        outcomes[5]
    );
    assert_eq!(outcomes[6], Outcome::Applied);
    assert_eq!(outcomes[7], found(1, "a", json!({"qty": "6.5"})));
    assert_eq!(outcomes[8], Outcome::Applied);
    assert_eq!(outcomes[9], Outcome::Refused { reason: "a key column has no value".into() });

    let columns = ["qty".to_owned(), "due".to_owned(), "note".to_owned()];
    let keys = [row(key(1, "a")), row(key(2, "b")), row(key(3, "c")), row(key(4, "d"))];
    let rows = target.look("lines", &columns, &keys).await.unwrap();
    let expected = [
        Some(json!({"qty": "6.5", "due": "2026-07-02T10:00:00Z", "note": "n"})),
        Some(json!({"qty": "2", "due": null, "note": "it's \"quoted\"; drop table lines"})),
        None,
        Some(json!({"qty": "0.25", "due": "2026-12-01T11:00:00.500000Z", "note": null})),
    ];
    assert_eq!(rows, expected.map(|value| value.map(row)));

    let delete = |id, part: &str, before| change(Operation::Delete, "lines", key(id, part), before, json!(null));
    let outcomes = target
        .apply(&[delete(4, "d", json!({"id": 4, "part": "d", "qty": "9"})), delete(4, "d", json!({"id": 4, "qty": "0.250"}))])
        .await
        .unwrap();
    assert!(matches!(&outcomes[0], Outcome::Conflict { found: Some(_) }));
    assert_eq!(outcomes[1], Outcome::Applied);
    assert_eq!(target.look("lines", &columns, &[row(key(4, "d"))]).await.unwrap(), [None]);

    let error = target.apply(&[update(1, "a", json!({"quantity": "1"}), json!({"quantity": "2"}))]).await.unwrap_err();
    assert_eq!(error.to_string(), "system \"erp\", table \"lines\": table \"lines\" has no written column \"quantity\"");
    let outcomes = target.apply(&[update(1, "a", json!({"qty": "6.5"}), json!({"qty": "7"}))]).await.unwrap();
    assert_eq!(outcomes, [Outcome::Applied], "an error leaves the target usable");
    let outcomes = target
        .apply(&[update(1, "a", json!({"due": "2026-07-02T10:00:00Z"}), json!({"due": "2026-10-25T01:30:00Z"}))])
        .await
        .unwrap();
    assert!(matches!(&outcomes[0], Outcome::Refused { reason } if reason.contains("the clocks show it twice")), "{outcomes:?}");
}

#[tokio::test]
async fn sqlite_target_compares_and_sets() {
    let folder = tempfile::tempdir().unwrap();
    let connection = sqlite(
        folder.path(),
        "create table lines (id int, part text, qty decimal(10,2) check (qty >= 0), due datetime, note text, ver int default 1, primary key (id, part));
         insert into lines values (1, 'a', 5, '2026-07-01 12:00:00', 'n', 1), (2, 'b', null, null, null, 1)",
    );
    check_target(&system("sqlite:plant.db", BERLIN), folder.path()).await;
    let due: String = connection.query_row("select due from lines where id = 1", [], |row| row.get(0)).unwrap();
    assert_eq!(due, "2026-07-02 12:00:00", "local time in the form of the column's other values");
}

#[tokio::test]
async fn sqlite_triggers_and_locks_are_told_apart() {
    let folder = tempfile::tempdir().unwrap();
    sqlite(
        folder.path(),
        "create table lines (id integer primary key, state text);
         insert into lines values (1, 'open'), (2, 'open'), (3, 'open');
         create trigger guard before update on lines when new.state = 'bad' begin select raise(abort, 'a released line is not changed'); end;
         create trigger ender before update on lines when new.state = 'worse' begin select raise(rollback, 'nothing is changed'); end;",
    );
    let target = connect::target(&system("sqlite:plant.db", None), folder.path()).await.unwrap();
    let update = |id: i64, state: &str| {
        change(Operation::Update, "lines", json!({"id": id}), json!({"state": "open"}), json!({"state": state}))
    };
    let outcomes = target.apply(&[update(1, "bad"), update(2, "done")]).await.unwrap();
    assert_eq!(outcomes, [Outcome::Refused { reason: "a released line is not changed".into() }, Outcome::Applied]);
    let error = target.apply(&[update(1, "done"), update(3, "worse")]).await.unwrap_err();
    assert!(matches!(error, ConnectError::Failed { .. } | ConnectError::Locked { .. }), "{error:?}");
    let rows = target.look("lines", &["state".into()], &[row(json!({"id": 1}))]).await.unwrap();
    assert_eq!(rows, [Some(row(json!({"state": "open"})))], "the slice left nothing behind");
}
