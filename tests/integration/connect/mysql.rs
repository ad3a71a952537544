//! On a real MariaDB server.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use arrow::array::{AsArray, RecordBatch};
use arrow::datatypes::Int64Type;
use futures::TryStreamExt;
use loopline::base::Operation;
use loopline::connect::{self, CursorValue, Extent, Outcome, Source};
use loopline::project::{ColumnType, CursorKind, Policy, Stream, System};
use mysql_async::prelude::Queryable;
use mysql_async::{Conn, Opts};
use serde_json::{Value, json};

use super::{BERLIN, change, check_target, read_all, row, shown, stream, system, with_cursor};

/// A database of its own on the test server, dropped with the server's folder; `None` where there is no server to test on.
async fn mysql(script: &str) -> Option<(String, Conn)> {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let Ok(base) = std::env::var("LOOPLINE_TEST_MARIADB") else {
        assert!(std::env::var("CI").as_deref() != Ok("true"), "LOOPLINE_TEST_MARIADB is not set; tests/run sets it");
        eprintln!("skipped: LOOPLINE_TEST_MARIADB is not set (tests/run sets it)");
        return None;
    };
    let name = format!("connect_{}_{}", std::process::id(), COUNT.fetch_add(1, Ordering::SeqCst));
    open(&base).await.query_drop(format!("create database {name} character set utf8mb4")).await.unwrap();
    let mut url = url::Url::parse(&base).unwrap();
    url.set_path(&name);
    let mut conn = open(url.as_str()).await;
    conn.query_drop("set sql_mode = 'NO_ENGINE_SUBSTITUTION'").await.unwrap();
    conn.query_drop(script).await.unwrap();
    Some((url.to_string(), conn))
}

async fn open(url: &str) -> Conn {
    Conn::new(Opts::from_url(url).unwrap()).await.unwrap()
}

async fn source(url: &str, zone: Option<chrono_tz::Tz>) -> Box<dyn Source> {
    connect::source(&system(url, zone), Path::new(".")).await.unwrap()
}

/// Batches of all parts, which are read side by side, and how many parts there were.
async fn drained(source: &dyn Source, stream: &Stream, extent: Extent) -> (Vec<RecordBatch>, usize) {
    let reading = source.read(stream, extent).await.unwrap();
    let parts = reading.parts.len();
    let batches = futures::future::try_join_all(reading.parts.into_iter().map(TryStreamExt::try_collect::<Vec<_>>));
    (batches.await.unwrap().concat(), parts)
}

fn numbers(batches: &[RecordBatch], column: &str) -> Vec<i64> {
    let column = |batch: &RecordBatch| batch.column_by_name(column).unwrap().as_primitive::<Int64Type>().values().to_vec();
    batches.iter().flat_map(column).collect()
}

const TYPES: &str = r#"
    create table things (
      id bigint primary key, flag tinyint(1), s smallint unsigned, m mediumint, u int unsigned zerofill, b bigint unsigned,
      d decimal(38,30), d0 decimal(20,0), f float, f2 double, b1 bit(1), b9 bit(9), b64 bit(64), y year,
      day date, dt datetime(6), ts timestamp(3) null, t time(3), t2 time,
      c char(6), v varchar(9), latin varchar(9) character set latin1, txt mediumtext, e enum('good', 'bad'), st set('p', 'q'), js json,
      bi binary(3), vb varbinary(9), bl longblob, uu uuid, ip inet6, gen bigint as (id + 1) stored, `Odd ``name` text, hidden int invisible default 3);
    insert into things (id, flag, s, m, u, b, d, d0, f, f2, b1, b9, b64, y, day, dt, ts, t, t2, c, v, latin, txt, e, st, js, bi, vb, bl, uu, ip, `Odd ``name`)
      values (-9223372036854775808, 2, 65535, -8388608, 4294967295, 18446744073709551615,
      -12345678.123456789012345678901234567890, 12345678901234567890, 16777216.0, 0.1, 1, 257, 18446744073709551615, 2155,
      '2026-07-01', '2026-07-01 12:00:00.123456', '2026-07-01 10:00:00.5', '-838:59:58.5', '04:05', 'abc', 'ä€😀', 'Ö',
      'text', 'good', 'p,q', '{"a":  1}', x'000102', x'00ff', x'ff', '6c8ab60e-7d2d-4d6e-a8a0-5a2a4a1b7d11', '::1', 'q');
    insert into things (id, hidden) values (2, null)"#;

#[tokio::test]
async fn mysql_types_are_exact() {
    let Some((url, mut conn)) = mysql(TYPES).await else { return };
    // A float that text would round to 0.1.
    conn.query_drop("insert into things (id, f) values (3, 0.1)").await.unwrap();
    let (schema, rows) = read_all(source(&url, BERLIN).await.as_ref(), &stream("things", &["id"]), None).await.unwrap();
    insta::assert_snapshot!(schema.join(", "), @r#"id: Int64, flag: Int32, s: Int32, m: Int32, u: Int64, b: Decimal128(20, 0), d: Decimal128(38, 30), d0: Decimal128(20, 0), f: Float64, f2: Float64, b1: Boolean, b9: Int64, b64: Decimal128(20, 0), y: Int32, day: Date32, dt: Timestamp(µs, "UTC"), ts: Timestamp(µs, "UTC"), t: Utf8, t2: Utf8, c: Utf8, v: Utf8, latin: Utf8, txt: Utf8, e: Utf8, st: Utf8, js: Utf8, bi: Binary, vb: Binary, bl: Binary, uu: Utf8, ip: Utf8, gen: Int64, Odd `name: Utf8, hidden: Int32"#);
    let expected = json!([
        i64::MIN,
        2,
        65535,
        -8388608,
        4294967295_u32,
        "18446744073709551615",
        "-12345678.12345678901234567890123456789",
        "12345678901234567890",
        16777216.0,
        0.1,
        true,
        257,
        "18446744073709551615",
        2155,
        "2026-07-01",
        "2026-07-01T10:00:00.123456Z",
        "2026-07-01T10:00:00.500000Z",
        "-838:59:58.500",
        "04:05:00",
        "abc",
        "ä€😀",
        "Ö",
        "text",
        "good",
        "p,q",
        "{\"a\":  1}",
        "000102",
        "00ff",
        "ff",
        "6c8ab60e-7d2d-4d6e-a8a0-5a2a4a1b7d11",
        "::1",
        i64::MIN + 1,
        "q",
        3
    ]);
    assert_eq!(Value::from(rows[0].clone()), expected);
    assert!(rows[1].iter().skip(1).filter(|value| !value.is_null()).eq([&json!(3)]), "only what is generated: {:?}", rows[1]);
    assert_eq!(rows[2][8], json!(f64::from(0.1_f32)));
}

#[tokio::test]
async fn mysql_streams_may_choose_types() {
    let script = "create table things (id int primary key, big decimal(65,30), n decimal(10,2), t time, g point, b bit(9), raw blob, f float, tiny tinyint(1), day varchar(20));
        insert into things values (1, 12345678901234567890123456789012345.678901234567890123456789012345, 7.00, '04:05', point(1, 2), 257, x'00ff', 0.5, 1, '2026-07-01'),
          (2, 0, 7.50, null, null, null, null, null, 2, '1.7.2026')";
    let Some((url, _conn)) = mysql(script).await else { return };
    let types = [
        ("big", ColumnType::Text),
        ("n", ColumnType::Integer),
        ("t", ColumnType::Text),
        ("g", ColumnType::Text),
        ("b", ColumnType::Text),
        ("raw", ColumnType::Text),
        ("f", ColumnType::Double),
        ("tiny", ColumnType::Boolean),
        ("day", ColumnType::Date),
    ];
    let choosing = |left_out: &[&str]| {
        let types = types.iter().map(|(name, chosen)| ((*name).to_owned(), *chosen));
        let exclude = left_out.iter().map(|name| (*name).to_owned()).collect();
        Stream { types: types.collect(), exclude, ..with_cursor(stream("things", &["id"]), "id", CursorKind::Integer) }
    };
    let source = source(&url, None).await;
    let message = shown(&read_all(source.as_ref(), &choosing(&[]), None).await.unwrap_err());
    assert!(message.contains("column \"n\", row id=2: \"7.50\" is not exactly an integer of 32 bits"), "{message}");
    let message = shown(&read_all(source.as_ref(), &choosing(&["n"]), None).await.unwrap_err());
    assert!(message.contains("column \"tiny\", row id=2: \"2\" is not exactly true or false"), "{message}");
    let message = shown(&read_all(source.as_ref(), &choosing(&["n", "tiny"]), None).await.unwrap_err());
    assert!(message.contains("column \"day\", row id=2: \"1.7.2026\" is not exactly a date"), "{message}");
    let (_, rows) = read_all(source.as_ref(), &choosing(&["n", "tiny", "day"]), None).await.unwrap();
    let big = "12345678901234567890123456789012345.678901234567890123456789012345";
    assert_eq!(Value::from(rows[0].clone()), json!([1, big, "04:05:00", "POINT(1 2)", "257", "00ff", 0.5]));
}

#[tokio::test]
async fn mysql_reads_one_snapshot_and_from_a_cursor() {
    let script = "create table things (id int primary key, upd timestamp(6) null, local datetime(6));
        set time_zone = '+00:00';
        insert into things values (1, '2026-07-01 10:00:00', '2026-07-01 12:00:00'), (2, '2026-07-01 10:00:01', null)";
    let Some((url, mut conn)) = mysql(script).await else { return };
    let source = source(&url, BERLIN).await;
    conn.query_drop("insert into things (id) values (3)").await.unwrap();
    let by_time = with_cursor(stream("things", &["id"]), "upd", CursorKind::Timestamp);
    let ids = |rows: Vec<Vec<Value>>| rows.into_iter().map(|row| row[0].clone()).collect::<Vec<_>>();
    assert_eq!(ids(read_all(source.as_ref(), &by_time, None).await.unwrap().1), [1, 2], "the snapshot is older than the insert");
    let instant = Some(CursorValue::Timestamp(1_782_900_000_000_001)); // just after row 1
    assert_eq!(ids(read_all(source.as_ref(), &by_time, instant).await.unwrap().1), [2]);
    let by_local = with_cursor(stream("things", &["id"]), "local", CursorKind::Timestamp);
    assert_eq!(ids(read_all(source.as_ref(), &by_local, instant).await.unwrap().1), [2], "no cursor yet: always read");
    let by_id = with_cursor(stream("things", &["id"]), "id", CursorKind::Integer);
    let reading = source.read(&by_id, Extent::Since(CursorValue::Integer(2))).await.unwrap();
    assert!(reading.safe_until.is_none() && reading.is_unique);
}

/// A table of about 100 MB whose amounts always have the same sum, however they are moved.
const ACCOUNTS: &str = "create table accounts (id bigint unsigned, line int, amount bigint, note varchar(4000), primary key (id, line));
    insert into accounts select if(seq % 7 = 0, 18446744073709551615 - seq, seq), seq % 3, 100, repeat('x', 3500) from seq_1_to_28000;
    analyze table accounts";
const ACCOUNTS_ROWS: i64 = 28_000;

fn with_connections(url: &str, connections: usize) -> System {
    let mut system = system(url, None);
    system.load.connections = connections;
    system
}

/// Moves amounts between rows, changes keys, and keeps the sum, until it is told to stop.
fn mover(url: &str, stop: &Arc<AtomicBool>) -> tokio::task::JoinHandle<u32> {
    let (url, stop) = (url.to_owned(), Arc::clone(stop));
    tokio::spawn(async move {
        let mut conn = open(&url).await;
        let mut moves = 0;
        while !stop.load(Ordering::SeqCst) {
            let (from, to) = (moves * 7_919 % 28_000, moves * 104_729 % 28_000);
            let moved = format!(
                "start transaction; update accounts set amount = amount - 5 where id = (select id from accounts order by id limit {from}, 1) limit 1;
                 update accounts set amount = amount + 5 where id = (select id from accounts order by id desc limit {to}, 1) limit 1; commit"
            );
            match conn.query_drop(moved).await {
                // The two movers met; the server took this one's transaction back.
                Err(mysql_async::Error::Server(error)) if error.code == 1213 => {}
                result => result.unwrap(),
            }
            moves += 1;
        }
        moves
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn mysql_connections_share_a_snapshot_and_ranges_hold_each_row_once() {
    let Some((url, mut conn)) = mysql(ACCOUNTS).await else { return };
    let stop = Arc::new(AtomicBool::new(false));
    let movers = [mover(&url, &stop), mover(&url, &stop)];
    let wide = Stream { exclude: vec!["note".into()], ..stream("accounts", &["id", "line"]) };
    let (mut round, mut tries) = (0, 0);
    while round < 6 {
        let source = connect::source(&with_connections(&url, 3), Path::new(".")).await.unwrap();
        let reading = source.read(&wide, Extent::Whole).await.unwrap();
        // A long statement of another test may stand in the way of the moment without commits.
        tries += 1;
        if reading.parts.len() == 1 && tries < 60 {
            continue;
        }
        round += 1;
        assert!(reading.is_unique);
        assert!(reading.rows_expected.is_some_and(|rows| rows > 0), "{:?}", reading.rows_expected);
        drop(reading); // half a reading leaves the connections usable
        let (batches, parts) = drained(source.as_ref(), &wide, Extent::Whole).await;
        assert_eq!(parts, 3);
        let amounts = numbers(&batches, "amount");
        assert_eq!((amounts.len(), amounts.iter().sum::<i64>()), (ACCOUNTS_ROWS as usize, ACCOUNTS_ROWS * 100), "round {round}");
        let (again, _) =
            drained(source.as_ref(), &wide, Extent::Columns(vec!["id".into(), "line".into(), "amount".into()])).await;
        let (mut one, mut other) = (numbers(&batches, "amount"), numbers(&again, "amount"));
        one.sort_unstable();
        other.sort_unstable();
        assert_eq!(one, other, "the snapshot stays");
    }
    stop.store(true, Ordering::SeqCst);
    for mover in movers {
        assert!(mover.await.unwrap() > 0, "nothing moved during the test");
    }

    let careful = format!("careful_{}", std::process::id());
    conn.query_drop(format!("create user {careful}; grant select on accounts to {careful}")).await.unwrap();
    let source =
        connect::source(&with_connections(&url.replace("root@", &format!("{careful}@")), 3), Path::new(".")).await.unwrap();
    let (batches, parts) = drained(source.as_ref(), &wide, Extent::Whole).await;
    assert_eq!(
        (numbers(&batches, "amount").len(), parts),
        (ACCOUNTS_ROWS as usize, 1),
        "without the right to lock: one connection"
    );
    drop(source);
    conn.query_drop(format!("drop user {careful}")).await.unwrap();
}

#[tokio::test]
async fn mysql_reads_rows_by_key_and_columns() {
    let script = "create table things (a bigint unsigned, b varchar(20), c decimal(6,2), at datetime(3), note text, primary key (a, b, c, at), unique key other (note(20)));
        insert into things select seq, concat('k', seq), seq / 4, '2026-01-01' + interval seq second, 'x' from seq_1_to_3000";
    let Some((url, mut conn)) = mysql(&script.replace(", unique key other (note(20))", "")).await else { return };
    conn.query_drop("create table loose (id int, u int null, unique key (u)); create table viewed (id int primary key); create view looked as select * from viewed").await.unwrap();
    let source = source(&url, BERLIN).await;
    let things = stream("things", &["c", "a", "at", "b"]);
    let (batches, _) = drained(source.as_ref(), &things, Extent::Whole).await;
    let in_key_order = |batch: &RecordBatch| batch.project(&[2, 0, 3, 1]).unwrap();
    let wanted: Vec<_> = batches.iter().map(|batch| in_key_order(&batch.slice(0, batch.num_rows().min(2_500)))).collect();
    let (found, _) = drained(source.as_ref(), &things, Extent::Keys(wanted)).await;
    assert_eq!(found.iter().map(RecordBatch::num_rows).sum::<usize>(), 2_500);
    let (none, _) = drained(source.as_ref(), &things, Extent::Keys(Vec::new())).await;
    assert!(none.is_empty());

    let reading = source.read(&things, Extent::Columns(vec!["at".into(), "a".into()])).await.unwrap();
    let names: Vec<_> = reading.schema.fields().iter().map(|field| field.name().as_str()).collect();
    assert_eq!(names, ["a", "at"]);
    drop(reading);
    for (table, key, unique) in [("things", "b", false), ("loose", "u", false), ("looked", "id", false), ("viewed", "id", true)] {
        assert_eq!(source.read(&stream(table, &[key]), Extent::Whole).await.unwrap().is_unique, unique, "{table}.{key}");
    }
    let local = source.read(&things, Extent::Whole).await.unwrap();
    assert!(!local.is_unique, "two local times of a clock change may be one instant");
}

#[tokio::test]
async fn mysql_errors_name_the_place_and_the_way_out() {
    let nobody = format!("nobody_{}", std::process::id());
    let script = "create table things (id int primary key, big decimal(65,30), p point, ts datetime);
        create table zero (id int primary key, day date, at timestamp null); insert into zero values (7, '0000-00-00', null), (8, null, '0000-00-00 00:00:00');
        create table fine (id int); insert into fine values (1), (null); create table secret (id int); create table Cased (id int);
        create user NOBODY identified by 'topsecret'; grant select on fine to NOBODY";
    let Some((url, mut conn)) = mysql(&script.replace("NOBODY", &nobody)).await else { return };
    let source = source(&url, None).await;
    let without = |exclude: &[&str]| Stream {
        exclude: exclude.iter().map(|column| (*column).into()).collect(),
        ..stream("things", &["id"])
    };
    let cases = [
        (stream("thing", &["id"]), "system \"erp\", stream \"things\": there is no table \"thing\"; did you mean \"things\"?"),
        (stream("cased", &["id"]), "system \"erp\", stream \"things\": there is no table \"cased\"; did you mean \"Cased\"?"),
        (stream("things", &["i"]), "system \"erp\", stream \"things\": table \"things\" has no key column \"i\""),
        (
            stream("things", &["id"]),
            "system \"erp\", stream \"things\": column \"big\" has type decimal(65,30), which cannot be read",
        ),
        (without(&["big"]), "system \"erp\", stream \"things\": column \"p\" has type point, which cannot be read"),
        (
            without(&["big", "p"]),
            "system \"erp\", stream \"things\": column \"ts\" holds timestamps without a zone; set time_zone",
        ),
        (without(&["ts", "nope"]), "system \"erp\", stream \"things\": table \"things\" has no excluded column \"nope\""),
        (
            stream("zero", &["id"]),
            "system \"erp\", stream \"things\", column \"day\", row id=7: the date is 0000-00-00, which no calendar has",
        ),
        (
            Stream { exclude: vec!["day".into()], ..stream("zero", &["id"]) },
            "system \"erp\", stream \"things\", column \"at\", row id=8: the date is 0000-00-00, which no calendar has",
        ),
        (stream("fine", &["id"]), "system \"erp\", stream \"things\": row 2 of this read has no value in key column \"id\""),
    ];
    for (stream, expected) in cases {
        let message = shown(&read_all(source.as_ref(), &stream, None).await.unwrap_err());
        assert!(message.starts_with(expected), "{message}");
    }

    let leaving_out = |values| {
        let mut zero = stream("zero", &["id"]);
        zero.contract.values = values;
        zero
    };
    for (policy, rows, reasons) in [(Policy::DiscardRow, 0, 2), (Policy::DiscardValue, 2, 2)] {
        let reading = source.read(&leaving_out(policy), Extent::Whole).await.unwrap();
        let discards = reading.discards.clone();
        let batches: Vec<_> = reading.rows().try_collect().await.unwrap();
        assert_eq!(batches.iter().map(RecordBatch::num_rows).sum::<usize>(), rows, "{policy:?}");
        let discards = discards.take();
        assert_eq!(discards.len(), reasons, "{discards:?}");
        assert_eq!(
            (discards[0].key.as_str(), discards[0].column.as_str(), discards[0].value.as_str()),
            ("id=7", "day", "0000-00-00")
        );
    }

    let altered = source.read(&stream("fine", &["id"]), Extent::Whole).await.unwrap();
    drop(altered);
    conn.query_drop("alter table secret add column more int default 5, force").await.unwrap();
    let message = shown(&read_all(source.as_ref(), &stream("secret", &["id"]), None).await.unwrap_err());
    assert!(message.starts_with("system \"erp\", stream \"things\": the table changed while it was read"), "{message}");
    let message = shown(&read_all(source.as_ref(), &stream("fine", &["id"]), None).await.unwrap_err());
    assert!(message.contains("row 2 of this read"), "the transaction lives on: {message}");
    drop(source);

    let mut as_nobody = system(&url.replace("root@", &format!("{nobody}@")), None);
    let message = shown(&connect::source(&as_nobody, Path::new(".")).await.err().unwrap());
    assert!(
        message.contains(&format!("refuses user \"{nobody}\"; check the user")) && message.contains("name the place of it"),
        "{message}"
    );
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("password"), "topsecret\n").unwrap();
    as_nobody.secret = Some(loopline::project::SecretSource::File(folder.path().join("password")));
    let source = connect::source(&as_nobody, Path::new(".")).await.unwrap();
    let message = shown(&read_all(source.as_ref(), &stream("secret", &["id"]), None).await.unwrap_err());
    assert!(message.contains("there is no table \"secret\"") && message.contains("rights of the hub's user"), "{message}");
    drop(source);

    let nowhere = url.replace("/connect_", "/nowhere_");
    let message = shown(&connect::source(&system(&nowhere, None), Path::new(".")).await.err().unwrap());
    assert!(message.contains("has no database \"nowhere_") && message.contains("correct the database's name"), "{message}");
    let message = shown(&connect::source(&system(&format!("{url}?sslmode=require"), None), Path::new(".")).await.err().unwrap());
    assert!(message.contains("no secure connection to"), "{message}");
    conn.query_drop(format!("drop user {nobody}")).await.unwrap();
}

#[tokio::test]
async fn mysql_statements_end_in_time() {
    let Some((url, _conn)) = mysql("create table slow (id int primary key); insert into slow values (1), (2), (3); create view sleepy as select id, sleep(5) as s from slow").await
    else {
        return;
    };
    let mut limited = system(&url, None);
    limited.load.statement_timeout = Some(std::time::Duration::from_millis(300));
    let source = connect::source(&limited, Path::new(".")).await.unwrap();
    let message = shown(&read_all(source.as_ref(), &stream("sleepy", &["id"]), None).await.unwrap_err());
    assert!(message.starts_with("system \"erp\": timed out while reading stream \"things\""), "{message}");
    assert_eq!(read_all(source.as_ref(), &stream("slow", &["id"]), None).await.unwrap().1.len(), 3, "the snapshot lives on");
}

#[tokio::test]
async fn mysql_target_compares_and_sets() {
    let script = "create table `lines` (id int, part varchar(20), qty numeric(10,2) check (qty >= 0), due datetime(6), note text, ver int default 1, primary key (id, part));
        insert into `lines` values (1, 'a', 5, '2026-07-01 12:00:00', 'n', 1), (2, 'b', null, null, null, 1)";
    let Some((url, mut conn)) = mysql(script).await else { return };
    check_target(&system(&url, BERLIN), Path::new(".")).await;
    let due: Option<String> = conn.query_first("select cast(due as char) from `lines` where id = 1").await.unwrap();
    assert_eq!(due.unwrap(), "2026-07-02 12:00:00.000000");
}

#[tokio::test]
async fn mysql_target_binds_every_type_and_refuses_what_would_be_cut() {
    let script = "create table things (id bigint unsigned primary key, flag tinyint(1), f float, f2 double, b1 bit(1), b9 bit(9), b64 bit(64), v varchar(3), latin varchar(9) character set latin1,
          e enum('good', 'bad'), js json, day date, ts timestamp(6) null, t0 datetime, raw varbinary(9), tm time, n decimal(38,10), gen int as (1) stored);
        insert into things (id) values (18446744073709551615);
        create table old (id int primary key, n int) engine = MyISAM; insert into old values (1, 1);
        create table guarded (id int primary key, n int); insert into guarded values (1, 1);
        create trigger guard before update on guarded for each row if new.n > 9 then signal sqlstate '45000' set message_text = 'too many'; end if";
    let Some((url, _conn)) = mysql(script).await else { return };
    let target = connect::target(&system(&url, BERLIN), Path::new(".")).await.unwrap();
    let key = json!({"id": "18446744073709551615"});
    let after = json!({"flag": 2, "f": 0.5, "f2": 0.1, "b1": true, "b9": 257, "b64": "18446744073709551615", "v": "abc", "latin": "Ö", "e": "bad", "js": "{\"a\": 1}",
        "day": "2026-07-01", "ts": "2026-07-01T10:00:00.000001Z", "t0": "2026-07-01T10:00:00Z", "raw": "00ff", "tm": "-100:05:00", "n": "-1234567890123456789012345678.0000000001"});
    let nothing = Value::Object(after.as_object().unwrap().keys().map(|column| (column.clone(), Value::Null)).collect());
    let update = |before: Value, after: Value| change(Operation::Update, "things", key.clone(), before, after);
    let columns: Vec<String> = after.as_object().unwrap().keys().cloned().collect();
    assert_eq!(target.apply(&[update(nothing, after.clone())]).await.unwrap(), [Outcome::Applied]);
    assert_eq!(target.look("things", &columns, &[row(key.clone())]).await.unwrap(), [Some(row(after.clone()))]);
    assert_eq!(
        target.apply(&[update(after.clone(), after)]).await.unwrap(),
        [Outcome::Applied],
        "its own image is the before-image"
    );
    let refused = [
        json!({"v": "abcd"}),
        json!({"latin": "€😀"}),
        json!({"e": "so-so"}),
        json!({"js": "{"}),
        json!({"t0": "2026-07-01T10:00:00.5Z"}),
        json!({"ts": "2050-01-01T00:00:00Z"}),
        json!({"f": 0.1}),
        json!({"b9": 512}),
        json!({"flag": 128}),
        json!({"day": "x"}),
        json!({"day": "12026-01-01"}),
        json!({"raw": "00112233445566778899"}),
        json!({"gen": 2}),
    ];
    let changes: Vec<_> = refused.iter().map(|after| update(Value::Null, after.clone())).collect();
    for (outcome, after) in target.apply(&changes).await.unwrap().iter().zip(&refused) {
        assert!(matches!(outcome, Outcome::Refused { .. }), "{after}: {outcome:?}");
    }
    let set = |table: &str, n: i64| change(Operation::Update, table, json!({"id": 1}), json!({"n": 1}), json!({"n": n}));
    let outcomes = target.apply(&[set("old", 2), set("guarded", 10), set("guarded", 2)]).await.unwrap();
    assert_eq!(outcomes[0], Outcome::Refused { reason: "the table's engine MyISAM knows no transactions".into() });
    assert_eq!(outcomes[1..], [Outcome::Refused { reason: "too many".into() }, Outcome::Applied]);
}

#[tokio::test]
async fn mysql_target_waits_for_a_writer_and_sees_what_it_wrote() {
    let Some((url, mut conn)) =
        mysql("create table `lines` (id int primary key, qty int); insert into `lines` values (1, 5)").await
    else {
        return;
    };
    conn.query_drop("start transaction; update `lines` set qty = 6; insert into `lines` values (2, 7)").await.unwrap();
    let target = connect::target(&system(&url, None), Path::new(".")).await.unwrap();
    let changes = [
        change(Operation::Update, "lines", json!({"id": 1}), json!({"qty": 5}), json!({"qty": 9})),
        change(Operation::Insert, "lines", json!({"id": 2}), json!(null), json!({"qty": 9})),
    ];
    let (outcomes, ()) = tokio::join!(target.apply(&changes), async {
        // The change waits for the row's lock; committing lets it go on. The server looks again only if it was not asked for 0.1 s.
        let sql = "select count(*) from information_schema.innodb_trx t join information_schema.processlist p on p.id = t.trx_mysql_thread_id
            where t.trx_state = 'LOCK WAIT' and p.db = database()";
        while conn.query_first::<u64, _>(sql).await.unwrap() == Some(0) {
            tokio::time::sleep(std::time::Duration::from_millis(200)).await;
        }
        conn.query_drop("commit").await.unwrap();
    });
    let found = |id: i64, qty: i64| Outcome::Conflict { found: Some(row(json!({"id": id, "qty": qty}))) };
    assert_eq!(outcomes.unwrap(), [found(1, 6), found(2, 7)]);
}

#[tokio::test]
async fn mysql_reads_a_million_rows() {
    let script = "create table things (id bigint primary key, name varchar(40), qty decimal(12,3), upd timestamp(6) null)
        as select seq as id, concat('item ', seq) as name, seq / 7 as qty, now(6) as upd from seq_1_to_1000000";
    let Some((url, _conn)) = mysql(script).await else { return };
    let source = source(&url, None).await;
    let started = std::time::Instant::now();
    let reading = source.read(&stream("things", &["id"]), Extent::Whole).await.unwrap();
    let rows: usize =
        reading.rows().map_ok(|batch| batch.num_rows()).try_fold(0, |sum, rows| async move { Ok(sum + rows) }).await.unwrap();
    assert_eq!(rows, 1_000_000);
    println!("{:.0} rows/s", 1.0e6 / started.elapsed().as_secs_f64());
}

#[tokio::test]
async fn mysql_connections_are_encrypted_where_the_server_can_be_trusted() {
    let Some((url, mut conn)) = mysql("create table things (id int primary key); insert into things values (1), (2)").await
    else {
        return;
    };
    let authority = std::env::var("LOOPLINE_TEST_MARIADB_CA").unwrap();
    let user = format!("encrypted_{}", std::process::id());
    conn.query_drop(format!("create user {user} identified by 'topsecret' require ssl; grant select on things to {user}"))
        .await
        .unwrap();
    let folder = tempfile::tempdir().unwrap();
    let connector = folder.path().join("connectors/plant");
    std::fs::create_dir_all(&connector).unwrap();
    std::fs::write(connector.join("connector.toml"), "protocol = \"sql\"\n[stream.things]\nkey = [\"id\"]\n").unwrap();
    let url = format!("{}?sslmode=require", url.replace("root@", &format!("{user}@")));
    let settings = format!(
        "strategy = \"integrator\"\n[systems.erp]\nconnector = \"plant\"\nurl = \"{url}\"\nsecret = {{ env = \"SECRET\" }}\n"
    );
    std::fs::write(folder.path().join("loopline.toml"), settings).unwrap();
    let pull = |trusted: &str| {
        let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_loopline"));
        command.current_dir(folder.path()).arg("pull").env("SECRET", "topsecret").env("SSL_CERT_FILE", trusted);
        let said = command.output().unwrap();
        (said.status.code(), String::from_utf8_lossy(&[said.stdout, said.stderr].concat()).into_owned())
    };
    let (code, said) = pull("/nowhere.pem");
    assert!(code != Some(0) && said.contains("no secure connection to"), "{said}");
    let (code, said) = pull(&authority);
    assert!(code == Some(0) && said.contains("erp"), "{said}");
    assert!(!said.contains("topsecret"));
    conn.query_drop(format!("drop user {user}")).await.unwrap();
}
