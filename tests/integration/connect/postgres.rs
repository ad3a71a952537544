//! On a real PostgreSQL server.

use std::path::Path;
use std::sync::atomic::{AtomicU32, Ordering};

use futures::TryStreamExt;
use loopline::base::Operation;
use loopline::connect::{self, CursorValue, Extent, Outcome};
use loopline::project::{CursorKind, Stream};
use serde_json::{Value, json};
use tokio_postgres::NoTls;

use super::{BERLIN, change, check_target, read_all, row, shown, stream, system, with_cursor};

/// A database of its own on the test server, dropped with its folder's server; `None` where there is no server to test on.
async fn postgres(script: &str) -> Option<(String, tokio_postgres::Client)> {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let Ok(base) = std::env::var("LOOPLINE_TEST_POSTGRES") else {
        assert!(std::env::var("CI").as_deref() != Ok("true"), "LOOPLINE_TEST_POSTGRES is not set; tests/run sets it");
        eprintln!("skipped: LOOPLINE_TEST_POSTGRES is not set (tests/run sets it)");
        return None;
    };
    let name = format!("connect_{}_{}", std::process::id(), COUNT.fetch_add(1, Ordering::SeqCst));
    open(&base).await.batch_execute(&format!("create database {name}")).await.unwrap();
    let mut url = url::Url::parse(&base).unwrap();
    url.set_path(&name);
    let client = open(url.as_str()).await;
    client.batch_execute(script).await.unwrap();
    Some((url.to_string(), client))
}

async fn open(url: &str) -> tokio_postgres::Client {
    let (client, connection) = tokio_postgres::connect(url, NoTls).await.unwrap();
    tokio::spawn(connection);
    client
}

#[tokio::test]
async fn postgres_types_are_exact() {
    let script = r#"
        create type mood as enum ('good', 'bad');
        create domain money_eur as numeric(12,4) check (value >= 0);
        create domain tiny_eur as money_eur;
        create table things (
          id bigint primary key, a int2, b int4, f4 real, f8 double precision, ok bool, t text, v varchar(9), c char(6), u uuid, js json, jb jsonb, m mood,
          d tiny_eur, n numeric, n2 numeric(20,0), day date, ts timestamp, tz timestamptz, raw bytea, tm time, iv interval, tags text[], "Odd ""name" "char");
        insert into things values (1, -2, 3, 0.5, 0.1, true, 'ä', 'v', 'abc', '6c8ab60e-7d2d-4d6e-a8a0-5a2a4a1b7d11', '{"a":  1}', '{"a":  1}', 'good',
          12345678.9012, -0.00001, 12345678901234567890, '2026-07-01', '2026-07-01 12:00:00.5', '2026-07-01 12:00:00+02', '\x00ff', '04:05', '1 day 2 hours',
          array['x', 'y"z'], 'q');
        insert into things (id) values (2)"#;
    let Some((url, _)) = postgres(script).await else { return };
    let source = connect::source(&system(&url, BERLIN), Path::new(".")).await.unwrap();
    let (schema, rows) = read_all(source.as_ref(), &stream("things", &["id"]), None).await.unwrap();
    insta::assert_debug_snapshot!(schema.join(", "), @r#""id: Int64, a: Int32, b: Int32, f4: Float64, f8: Float64, ok: Boolean, t: Utf8, v: Utf8, c: Utf8, u: Utf8, js: Utf8, jb: Utf8, m: Utf8, d: Decimal128(12, 4), n: Decimal128(38, 10), n2: Decimal128(20, 0), day: Date32, ts: Timestamp(µs, \"UTC\"), tz: Timestamp(µs, \"UTC\"), raw: Binary, tm: Utf8, iv: Utf8, tags: Utf8, Odd \"name: Utf8""#);
    let expected = json!([
        1,
        -2,
        3,
        0.5,
        0.1,
        true,
        "ä",
        "v",
        "abc",
        "6c8ab60e-7d2d-4d6e-a8a0-5a2a4a1b7d11",
        "{\"a\":  1}",
        "{\"a\": 1}",
        "good",
        "12345678.9012",
        "-0.00001",
        "12345678901234567890",
        "2026-07-01",
        "2026-07-01T10:00:00.500000Z",
        "2026-07-01T10:00:00Z",
        "00ff",
        "04:05:00",
        "1 day 02:00:00",
        "[\"x\",\"y\\\"z\"]",
        "q"
    ]);
    assert_eq!(Value::from(rows[0].clone()), expected);
    assert_eq!(rows[1][1..], vec![Value::Null; 23]);
}

#[tokio::test]
async fn postgres_reads_one_snapshot_bounded_by_open_transactions() {
    let script =
        "create schema prod; create table prod.things (id int primary key, upd timestamptz default now(), local timestamp);
        insert into prod.things values (1, '2026-07-01 10:00:00Z', '2026-07-01 12:00:00'), (2, '2026-07-01 10:00:01Z', null)";
    let Some((url, client)) = postgres(script).await else { return };
    let other = open(&url).await;
    other.batch_execute("begin; select now()").await.unwrap();
    let began: i64 = other.query_one("select (extract(epoch from now()) * 1000000)::bigint", &[]).await.unwrap().get(0);

    let url = format!("{url}?schema=prod&sslmode=disable");
    let source = connect::source(&system(&url, BERLIN), Path::new(".")).await.unwrap();
    client.batch_execute("insert into prod.things values (3)").await.unwrap();
    let by_time = with_cursor(stream("things", &["id"]), "upd", CursorKind::Timestamp);
    let reading = source.read(&by_time, Extent::Whole).await.unwrap();
    assert_eq!(
        reading.safe_until,
        Some(CursorValue::Timestamp(began)),
        "a transaction that is still open may commit rows with its start"
    );
    drop(reading);

    let blind = format!("blind_{}", std::process::id());
    client
        .batch_execute(&format!(
            "create role {blind} login; grant usage on schema prod to {blind}; grant select on prod.things to {blind}"
        ))
        .await
        .unwrap();
    let unsure = connect::source(&system(&url.replace("postgres@", &format!("{blind}@")), BERLIN), Path::new(".")).await.unwrap();
    assert_eq!(
        unsure.read(&by_time, Extent::Whole).await.unwrap().safe_until,
        None,
        "a transaction that this user cannot see gives no bound"
    );
    drop(unsure);
    client.batch_execute(&format!("drop owned by {blind}; drop role {blind}")).await.unwrap();

    let ids = |rows: Vec<Vec<Value>>| rows.into_iter().map(|row| row[0].clone()).collect::<Vec<_>>();
    assert_eq!(ids(read_all(source.as_ref(), &by_time, None).await.unwrap().1), [1, 2], "the snapshot is older than the insert");

    let instant = Some(CursorValue::Timestamp(1_782_900_000_000_001)); // just after row 1
    assert_eq!(ids(read_all(source.as_ref(), &by_time, instant).await.unwrap().1), [2]);
    let by_local = with_cursor(stream("things", &["id"]), "local", CursorKind::Timestamp);
    assert_eq!(ids(read_all(source.as_ref(), &by_local, instant).await.unwrap().1), [2], "no cursor yet: always read");
    let by_id = with_cursor(stream("prod.things", &["id"]), "id", CursorKind::Integer);
    let reading = source.read(&by_id, Extent::Since(CursorValue::Integer(2))).await.unwrap();
    assert_eq!(reading.safe_until, None);
}

#[tokio::test]
async fn postgres_errors_name_the_place_and_the_way_out() {
    // Roles belong to the whole server, so this one has the process's number.
    let nobody = format!("nobody_{}", std::process::id());
    let script = "create table things (id int, n numeric, day date, ts timestamp, p point, hidden text);
        insert into things values (7, 'NaN', null, null, null, null);
        create table infinite (id int, day date, ts timestamptz); insert into infinite values (8, 'infinity', null);
        create table fine (id int); create schema closed; create table closed.things (id int); insert into fine values (1), (null); create table secret (id int);
        create role NOBODY login password 'topsecret'; grant select on fine to NOBODY";
    let Some((url, client)) = postgres(&script.replace("NOBODY", &nobody)).await else { return };
    let source = connect::source(&system(&url, None), Path::new(".")).await.unwrap();
    let without = |exclude: &[&str]| Stream {
        exclude: exclude.iter().map(|column| (*column).into()).collect(),
        ..stream("things", &["id"])
    };
    let cases = [
        (stream("thing", &["id"]), "system \"erp\", stream \"things\": there is no table \"thing\"; did you mean \"things\"?"),
        (stream("things", &["i"]), "system \"erp\", stream \"things\": table \"things\" has no key column \"i\""),
        (
            stream("things", &["id"]),
            "system \"erp\", stream \"things\": column \"ts\" holds timestamps without a zone; set time_zone",
        ),
        (without(&["ts"]), "system \"erp\", stream \"things\": column \"p\" has type point, which cannot be read; add \"p\""),
        (without(&["ts", "p"]), "system \"erp\", stream \"things\", column \"n\", row id=7: the number is NaN"),
        (without(&["ts", "nope"]), "system \"erp\", stream \"things\": table \"things\" has no excluded column \"nope\""),
        (stream("infinite", &["id"]), "system \"erp\", stream \"things\", column \"day\", row id=8: the date is infinity"),
        (stream("fine", &["id"]), "system \"erp\", stream \"things\": row 2 of this read has no value in key column \"id\""),
    ];
    for (stream, expected) in cases {
        let message = shown(&read_all(source.as_ref(), &stream, None).await.unwrap_err());
        assert!(message.starts_with(expected), "{message}");
    }

    let as_nobody = url.replace("postgres@", &format!("{nobody}@"));
    let source = connect::source(&system(&as_nobody, None), Path::new(".")).await.unwrap();
    let message = shown(&read_all(source.as_ref(), &stream("secret", &["id"]), None).await.unwrap_err());
    assert!(
        message.starts_with("system \"erp\": permission denied while reading stream \"things\"; grant the hub's user"),
        "{message}"
    );
    let message = shown(&read_all(source.as_ref(), &stream("closed.things", &["id"]), None).await.unwrap_err());
    assert!(message.starts_with("system \"erp\": permission denied while looking up table \"closed.things\""), "{message}");
    let message = shown(&read_all(source.as_ref(), &stream("fine", &["id"]), None).await.unwrap_err());
    assert!(message.contains("row 2 of this read"), "the transaction lives on: {message}");
    drop(source);

    let nowhere = url.replace("/connect_", "/nowhere_");
    let message = shown(&connect::source(&system(&nowhere, None), Path::new(".")).await.err().unwrap());
    assert!(message.contains("has no database \"nowhere_") && message.contains("correct the database's name"), "{message}");
    let stranger = url.replace("postgres@", "stranger@");
    let message = shown(&connect::source(&system(&stranger, None), Path::new(".")).await.err().unwrap());
    assert!(message.contains("refuses user \"stranger\"; check the user"), "{message}");
    let message = shown(&connect::source(&system(&format!("{url}?sslmode=require"), None), Path::new(".")).await.err().unwrap());
    assert!(message.contains("no secure connection to"), "{message}");
    client.batch_execute(&format!("drop owned by {nobody}; drop role {nobody}")).await.unwrap();
}

#[tokio::test]
async fn postgres_target_compares_and_sets() {
    let script = "create table lines (id int, part varchar(20), qty numeric(10,2) check (qty >= 0), due timestamp, note text, ver int default 1, primary key (id, part));
        insert into lines values (1, 'a', 5, '2026-07-01 12:00:00', 'n', 1), (2, 'b', null, null, null, 1)";
    let Some((url, client)) = postgres(script).await else { return };
    check_target(&system(&url, BERLIN), Path::new(".")).await;
    let due: String = client.query_one("select due::text from lines where id = 1", &[]).await.unwrap().get(0);
    assert_eq!(due, "2026-07-02 12:00:00");
}

#[tokio::test]
async fn postgres_target_binds_every_type_and_refuses_what_would_be_cut() {
    let script = "create type mood as enum ('good', 'bad');
        create table things (id uuid primary key, f4 real, f8 double precision, ok bool, v varchar(3), m mood, jb jsonb, day date, tz timestamptz, t0 timestamp(0),
          raw bytea, tm time, n numeric, tags text[]);
        insert into things (id) values ('6c8ab60e-7d2d-4d6e-a8a0-5a2a4a1b7d11')";
    let Some((url, _client)) = postgres(script).await else { return };
    let target = connect::target(&system(&url, BERLIN), Path::new(".")).await.unwrap();
    let key = json!({"id": "6c8ab60e-7d2d-4d6e-a8a0-5a2a4a1b7d11"});
    let after = json!({"f4": 0.5, "f8": 0.1, "ok": true, "v": "abc", "m": "bad", "jb": "{\"a\": 1}", "day": "2026-07-01", "tz": "2026-07-01T10:00:00.000001Z",
        "t0": "2026-07-01T10:00:00Z", "raw": "00ff", "tm": "04:05:00", "n": "0.0000000001"});
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
        json!({"m": "so-so"}),
        json!({"t0": "2026-07-01T10:00:00.5Z"}),
        json!({"f4": 0.1}),
        json!({"tags": "[]"}),
        json!({"day": "x"}),
        json!({"ok": "yes"}),
    ];
    let changes: Vec<_> = refused.iter().map(|after| update(Value::Null, after.clone())).collect();
    for (outcome, after) in target.apply(&changes).await.unwrap().iter().zip(&refused) {
        assert!(matches!(outcome, Outcome::Refused { .. }), "{after}: {outcome:?}");
    }
}

#[tokio::test]
async fn postgres_target_waits_for_a_writer_and_sees_what_it_wrote() {
    let Some((url, client)) = postgres("create table lines (id int primary key, qty int); insert into lines values (1, 5)").await
    else {
        return;
    };
    client.batch_execute("begin; update lines set qty = 6").await.unwrap();
    let target = connect::target(&system(&url, None), Path::new(".")).await.unwrap();
    let changes = [change(Operation::Update, "lines", json!({"id": 1}), json!({"qty": 5}), json!({"qty": 9}))];
    let (outcomes, ()) = tokio::join!(target.apply(&changes), async {
        // The change waits for the row's lock; committing lets it go on.
        while client
            .query_one(
                "select count(*) from pg_stat_activity where wait_event_type = 'Lock' and datname = current_database()",
                &[],
            )
            .await
            .unwrap()
            .get::<_, i64>(0)
            == 0
        {
            tokio::task::yield_now().await;
        }
        client.batch_execute("commit").await.unwrap();
    });
    assert_eq!(outcomes.unwrap(), [Outcome::Conflict { found: Some(row(json!({"id": 1, "qty": 6}))) }]);
}

#[tokio::test]
async fn postgres_reads_a_million_rows() {
    let script = "create table things as select i as id, 'item ' || i as name, (i / 7.0)::numeric(12,3) as qty, now() as upd from generate_series(1, 1000000) i";
    let Some((url, _client)) = postgres(script).await else { return };
    let source = connect::source(&system(&url, None), Path::new(".")).await.unwrap();
    let started = std::time::Instant::now();
    let reading = source.read(&stream("things", &["id"]), Extent::Whole).await.unwrap();
    let rows: usize =
        reading.rows().map_ok(|batch| batch.num_rows()).try_fold(0, |sum, rows| async move { Ok(sum + rows) }).await.unwrap();
    assert_eq!(rows, 1_000_000);
    println!("{:.0} rows/s", 1.0e6 / started.elapsed().as_secs_f64());
}
