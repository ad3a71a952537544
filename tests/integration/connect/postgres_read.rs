//! What a reading from a real PostgreSQL server promises: exact values, one snapshot over several connections, each row once, an error where a
//! table changed underneath.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use arrow::array::{AsArray, RecordBatch};
use arrow::datatypes::{Int32Type, Int64Type};
use futures::TryStreamExt;
use futures::future::try_join_all;
use loopline::base::Retry;
use loopline::connect::{self, ConnectError, Extent, Part, Reading, Source, cell_json};
use loopline::project::{ColumnType, CursorKind, Policy, Stream, System};
use serde_json::{Value, json};

use super::postgres::{open, postgres};
use super::{BERLIN, read_all, shown, stream, system, with_cursor};

async fn source(system: &System) -> Box<dyn Source> {
    connect::source(system, Path::new(".")).await.unwrap()
}

/// All parts side by side, each part's batches in their order.
async fn drain(reading: Reading) -> Result<Vec<Vec<RecordBatch>>, ConnectError> {
    let parts = reading.parts.into_iter().map(|part: Part| tokio::spawn(part.try_collect::<Vec<_>>()));
    try_join_all(parts).await.unwrap().into_iter().collect()
}

fn rows_of(batches: &[RecordBatch]) -> Vec<Value> {
    let row = |batch: &RecordBatch, at| batch.columns().iter().map(|column| cell_json(column, at)).collect::<Value>();
    batches.iter().flat_map(|batch| (0..batch.num_rows()).map(|at| row(batch, at)).collect::<Vec<_>>()).collect()
}

/// A type, a literal, a chosen type, and how that is read: the Arrow type and the value, or a part of what the error says.
type TypeCase = (&'static str, &'static str, Option<ColumnType>, Result<(&'static str, Value), &'static str>);

#[tokio::test]
async fn postgres_types_are_exact_or_refused() {
    use ColumnType::{Boolean, Date, Double, Integer, Long, Text, Timestamp};
    let decimal = |precision, scale| ColumnType::Decimal { precision, scale };
    let cases: Vec<TypeCase> = vec![
        ("bool", "true", None, Ok(("Boolean", json!(true)))),
        ("bool", "true", Some(Text), Ok(("Utf8", json!("true")))),
        ("smallint", "-32768", None, Ok(("Int32", json!(-32768)))),
        ("smallint", "5", Some(Long), Ok(("Int64", json!(5)))),
        ("int", "2147483647", None, Ok(("Int32", json!(2147483647)))),
        ("int", "5", Some(Boolean), Err("\"5\" is not exactly true or false")),
        ("int", "1", Some(Boolean), Ok(("Boolean", json!(true)))),
        ("bigint", "-9223372036854775808", None, Ok(("Int64", json!(i64::MIN)))),
        ("bigint", "3000000000", Some(Integer), Err("\"3000000000\" is not exactly an integer of 32 bits")),
        ("real", "'NaN'", None, Ok(("Float64", json!("NaN")))),
        ("real", "0.1", None, Ok(("Float64", json!(f64::from(0.1_f32))))),
        ("real", "0.1", Some(Text), Ok(("Utf8", json!("0.1")))),
        ("float8", "'-Infinity'", None, Ok(("Float64", json!("-Infinity")))),
        ("float8", "1e300", Some(decimal(38, 2)), Err("is not exactly decimal(38,2)")),
        ("float8", "1.5e3", Some(decimal(38, 2)), Ok(("Decimal128(38, 2)", json!("1500")))),
        ("numeric(15,2)", "-12345678901.5", None, Ok(("Decimal128(15, 2)", json!("-12345678901.5")))),
        ("numeric(15,2)", "0", None, Ok(("Decimal128(15, 2)", json!("0")))),
        (
            "numeric(38,38)",
            "0.00000000000000000000000000000000000001",
            None,
            Ok(("Decimal128(38, 38)", json!("0.00000000000000000000000000000000000001"))),
        ),
        (
            "numeric(38,0)",
            "99999999999999999999999999999999999999",
            None,
            Ok(("Decimal128(38, 0)", json!("99999999999999999999999999999999999999"))),
        ),
        ("numeric(5,-2)", "1234500", None, Ok(("Decimal128(7, 0)", json!("1234500")))),
        ("numeric(2,4)", "0.0012", None, Ok(("Decimal128(4, 4)", json!("0.0012")))),
        ("numeric(15,2)", "'NaN'", None, Err("row id=1: the number is NaN")),
        ("numeric", "'Infinity'", None, Err("row id=1: the number is infinity")),
        ("numeric", "'Infinity'", Some(Double), Ok(("Float64", json!("Infinity")))),
        ("numeric", "'NaN'", Some(Text), Ok(("Utf8", json!("NaN")))),
        ("numeric", "0.0000000001", None, Ok(("Decimal128(38, 10)", json!("0.0000000001")))),
        ("numeric", "0.00000000001", None, Err("does not fit decimal(38,10) exactly")),
        ("numeric", "0.00000000001", Some(decimal(38, 20)), Ok(("Decimal128(38, 20)", json!("0.00000000001")))),
        ("numeric", "0.1", Some(Double), Ok(("Float64", json!(0.1)))),
        (
            "numeric(40,2)",
            "1",
            None,
            Err("has type numeric(40,2), which cannot be read; choose what it becomes with types = { v = \"text\" }"),
        ),
        (
            "numeric(40,2)",
            "12345678901234567890123456789012345678.25",
            Some(Text),
            Ok(("Utf8", json!("12345678901234567890123456789012345678.25"))),
        ),
        ("numeric(40,2)", "7.25", Some(decimal(10, 2)), Ok(("Decimal128(10, 2)", json!("7.25")))),
        ("money", "12.5", None, Err("has type money, which cannot be read")),
        ("money", "12.5", Some(Text), Ok(("Utf8", json!("$12.50")))),
        ("text", "'ä'", None, Ok(("Utf8", json!("ä")))),
        ("text", "' 42 '", Some(Long), Ok(("Int64", json!(42)))),
        ("text", "'4 2'", Some(Long), Err("row id=1: \"4 2\" is not exactly an integer of 64 bits")),
        ("varchar(9)", "'v '", None, Ok(("Utf8", json!("v ")))),
        ("char(6)", "'ab c'", None, Ok(("Utf8", json!("ab c")))),
        ("\"char\"", "'q'", None, Ok(("Utf8", json!("q")))),
        ("name", "'n'", None, Ok(("Utf8", json!("n")))),
        ("bytea", "'\\x00ff'", None, Ok(("Binary", json!("00ff")))),
        ("bytea", "'\\x00ff'", Some(Text), Ok(("Utf8", json!("\\x00ff")))),
        ("date", "'2026-07-01'", None, Ok(("Date32", json!("2026-07-01")))),
        ("date", "'0044-03-15 BC'", None, Ok(("Date32", json!("-0043-03-15")))),
        ("date", "'4713-01-01 BC'", None, Ok(("Date32", json!("-4712-01-01")))),
        ("date", "'294276-12-31'", None, Ok(("Date32", json!(106_762_939)))),
        ("date", "'infinity'", None, Err("column \"v\", row id=1: the date is infinity")),
        ("date", "'-infinity'", Some(Text), Ok(("Utf8", json!("-infinity")))),
        ("date", "'2026-07-01'", Some(Timestamp), Ok(("Timestamp(µs, \"UTC\")", json!("2026-06-30T22:00:00Z")))),
        ("timestamp", "'2026-07-01 12:00:00.5'", None, Ok(("Timestamp(µs, \"UTC\")", json!("2026-07-01T10:00:00.500000Z")))),
        ("timestamp", "'2026-03-29 02:30:00'", None, Ok(("Timestamp(µs, \"UTC\")", json!("2026-03-29T01:30:00Z")))),
        ("timestamp", "'infinity'", None, Err("row id=1: the timestamp is infinity")),
        ("timestamp", "'2026-07-01 12:00'", Some(Date), Err("\"2026-07-01 12:00:00\" is not exactly a date")),
        ("timestamptz", "'2026-07-01 12:00:00+02'", None, Ok(("Timestamp(µs, \"UTC\")", json!("2026-07-01T10:00:00Z")))),
        ("timestamptz", "'0044-03-15 12:00:00+00 BC'", None, Ok(("Timestamp(µs, \"UTC\")", json!("-0043-03-15T12:00:00Z")))),
        ("timestamptz", "'294276-01-01 00:00:00+00'", None, Err("lies outside of the years that tables can hold")),
        ("timestamptz", "'-infinity'", None, Err("row id=1: the timestamp is -infinity")),
        ("timestamptz", "'2026-07-01 12:00:00+02'", Some(Text), Ok(("Utf8", json!("2026-07-01 10:00:00+00")))),
        ("time", "'04:05:06.7'", None, Ok(("Utf8", json!("04:05:06.7")))),
        ("timetz", "'04:05+02'", None, Ok(("Utf8", json!("04:05:00+02")))),
        ("interval", "'1 mon -2 days 03:00'", None, Ok(("Utf8", json!("1 mon -2 days +03:00:00")))),
        ("uuid", "'6C8AB60E-7d2d-4d6e-a8a0-5a2a4a1b7d11'", None, Ok(("Utf8", json!("6c8ab60e-7d2d-4d6e-a8a0-5a2a4a1b7d11")))),
        ("json", "'{\"a\":  1}'", None, Ok(("Utf8", json!("{\"a\":  1}")))),
        ("jsonb", "'{\"a\":  1.10}'", None, Ok(("Utf8", json!("{\"a\": 1.10}")))),
        ("xml", "'<a/>'", None, Ok(("Utf8", json!("<a/>")))),
        ("int[]", "'{1,null,3}'", None, Ok(("Utf8", json!("[1,null,3]")))),
        ("text[]", "array['x', 'y\"z']", None, Ok(("Utf8", json!("[\"x\",\"y\\\"z\"]")))),
        ("text[]", "array['x', 'y z']", Some(Text), Ok(("Utf8", json!("{x,\"y z\"}")))),
        ("numeric(6,2)[]", "'{1.50,2}'", None, Ok(("Utf8", json!("[1.50,2.00]")))),
        ("mood", "'good'", None, Ok(("Utf8", json!("good")))),
        ("tiny_eur", "1.2345", None, Ok(("Decimal128(12, 4)", json!("1.2345")))),
        ("plate", "'abc'", None, Ok(("Utf8", json!("abc")))),
        ("inet", "'10.0.0.1/8'", None, Ok(("Utf8", json!("10.0.0.1/8")))),
        ("cidr", "'10.0.0.0/8'", None, Ok(("Utf8", json!("10.0.0.0/8")))),
        ("macaddr", "'08:00:2b:01:02:03'", None, Ok(("Utf8", json!("08:00:2b:01:02:03")))),
        ("bit(3)", "b'101'", None, Ok(("Utf8", json!("101")))),
        ("bit varying", "b'10'", None, Ok(("Utf8", json!("10")))),
        ("oid", "4294967295", None, Err("has type oid, which cannot be read")),
        ("oid", "4294967295", Some(Long), Ok(("Int64", json!(4_294_967_295_i64)))),
        ("point", "'(1,2)'", None, Err("has type point, which cannot be read")),
        ("point", "'(1,2)'", Some(Text), Ok(("Utf8", json!("(1,2)")))),
        ("int4range", "'[1,5)'", Some(Text), Ok(("Utf8", json!("[1,5)")))),
        ("pair", "'(1,x)'", None, Err("has type pair, which cannot be read")),
        ("pair", "'(1,x)'", Some(Text), Ok(("Utf8", json!("(1,x)")))),
        ("numeric(6,2) generated always as (id * 1.5) stored", "default", None, Ok(("Decimal128(6, 2)", json!("1.5")))),
    ];
    let script = "create type mood as enum ('good', 'bad'); create domain money_eur as numeric(12,4) check (value >= 0);
        create domain tiny_eur as money_eur; create domain plate as char(6); create type pair as (a int, b text); set lc_monetary = 'C'";
    let Some((url, client)) = postgres(script).await else { return };
    let tables = cases.iter().enumerate().map(|(at, (name, literal, ..))| {
        format!(
            "create table t{at} (id int primary key, v {name}); insert into t{at} values (1, {literal}), (2, {});",
            if *literal == "default" { "default" } else { "null" }
        )
    });
    client.batch_execute(&tables.collect::<String>()).await.unwrap();
    let source = source(&system(&url, BERLIN)).await;
    for (at, (name, literal, choice, expected)) in cases.iter().enumerate() {
        let types = choice.map(|choice| ("v".to_owned(), choice)).into_iter().collect();
        let stream = Stream { types, ..stream(&format!("t{at}"), &["id"]) };
        let found = read_all(source.as_ref(), &stream, None).await;
        match (found, expected) {
            (Ok((schema, rows)), Ok((data_type, value))) => {
                assert_eq!(
                    (schema[1].as_str(), &rows[0][1]),
                    (format!("v: {data_type}").as_str(), value),
                    "{name} {literal} {choice:?}"
                );
                assert!(*literal == "default" || rows[1][1].is_null());
            }
            (Err(error), Err(part)) => assert!(shown(&error).contains(part), "{name} {literal}: {}", shown(&error)),
            (found, _) => panic!("{name} {literal} {choice:?}: {found:?}"),
        }
    }
}

#[tokio::test]
async fn postgres_values_that_do_not_fit_are_left_out_as_the_contract_says() {
    let script = "create table things (v numeric(6,2), day date, id int primary key, note text);
        insert into things values (1, '2026-07-01', 1, 'a'), ('NaN', '2026-07-02', 2, 'b'), (3, 'infinity', 3, 'c'), ('NaN', '-infinity', 4, null)";
    let Some((url, _client)) = postgres(script).await else { return };
    let source = source(&system(&url, BERLIN)).await;
    let with = |values| {
        let mut stream = stream("things", &["id"]);
        stream.contract.values = values;
        stream
    };
    let message = shown(&read_all(source.as_ref(), &with(Policy::Freeze), None).await.unwrap_err());
    assert!(message.contains("column \"v\", row id=2: the number is NaN") && message.contains("discard_row"), "{message}");

    for (policy, kept, noted) in [
        (
            Policy::DiscardValue,
            json!([["1", "2026-07-01", 1, "a"], [null, "2026-07-02", 2, "b"], ["3", null, 3, "c"], [null, null, 4, null]]),
            json!([
                ["id=2", "v", "NaN", null],
                ["id=3", "day", "infinity", null],
                ["id=4", "v", "NaN", null],
                ["id=4", "day", "-infinity", null]
            ]),
        ),
        (
            Policy::DiscardRow,
            json!([["1", "2026-07-01", 1, "a"]]),
            json!([
                ["id=2", "v", "NaN", {"v": null, "day": "2026-07-02", "id": 2, "note": "b"}],
                ["id=3", "day", "infinity", {"v": "3", "day": null, "id": 3, "note": "c"}],
                ["id=4", "v", "NaN", {"v": null, "day": null, "id": 4, "note": null}],
                ["id=4", "day", "-infinity", {"v": null, "day": null, "id": 4, "note": null}]
            ]),
        ),
    ] {
        let reading = source.read(&with(policy), Extent::Whole).await.unwrap();
        let discards = reading.discards.clone();
        let parts = drain(reading).await.unwrap();
        assert_eq!(Value::from(rows_of(&parts[0])), kept, "{policy:?}");
        let row = |row: Option<String>| row.map_or(Value::Null, |row| serde_json::from_str(&row).unwrap());
        let found: Vec<_> = discards.take().into_iter().map(|it| json!([it.key, it.column, it.value, row(it.row)])).collect();
        assert_eq!(Value::from(found), noted, "{policy:?}");
    }
}

/// Accounts between which money is moved: whatever the snapshot, each account is there once and the sum is the same.
const ACCOUNTS: i64 = 400_000;

#[tokio::test]
async fn postgres_ranges_give_each_row_once_and_all_connections_one_snapshot() {
    let script = format!(
        "create table plain (id bigint primary key, amount bigint not null, pad text not null);
         insert into plain select i, 100, repeat('x', 200) from generate_series(1, {ACCOUNTS}) i;
         create table parted (like plain) partition by range (id);
         create table parted_a partition of parted for values from (0) to ({ACCOUNTS} / 2);
         create table parted_b partition of parted for values from ({ACCOUNTS} / 2) to (1000000000);
         insert into parted select * from plain;
         create table parent (like plain); insert into parent select * from plain where id % 4 > 0;
         create table child () inherits (parent); insert into child select * from plain where id % 4 = 0;
         analyze plain; analyze parted"
    );
    let Some((url, _client)) = postgres(&script).await else { return };
    for (table, may_know_rows) in [("plain", true), ("parted", true), ("parent", false)] {
        // Before the snapshot: holes and moved rows. After it: rows that change place, come and go while they are read.
        let writer = open(&url).await;
        let disturb = format!(
            "update {table} set amount = amount - 1 where id % 7 = 0; update {table} set amount = amount + 1 where id % 7 = 1 and id <= {ACCOUNTS} / 7 * 7;
             insert into {table} select max(id) + 1, 0, '' from {table}; delete from {table} where id = (select max(id) from {table})"
        );
        writer.batch_execute(&format!("begin; {disturb}; commit")).await.unwrap();
        let source = source(&system(&url, None)).await;
        let go_on = tokio::spawn(async move {
            loop {
                writer.batch_execute(&format!("begin; {disturb}; commit")).await.unwrap();
            }
        });
        tokio::time::sleep(Duration::from_millis(50)).await;
        let reading = source.read(&stream(table, &["id"]), Extent::Whole).await.unwrap();
        assert_eq!(reading.parts.len(), 2, "{table}");
        let expected = reading.rows_expected;
        assert!(!may_know_rows || expected.is_some_and(|rows| rows.abs_diff(ACCOUNTS as u64) < 100_000), "{expected:?}");
        let parts = drain(reading).await.unwrap();
        go_on.abort();
        assert!(parts.iter().all(|batches| !batches.is_empty()), "{table}: both connections read something");
        let (mut count, mut amounts, mut ids) = (0, 0, vec![false; ACCOUNTS as usize + 1]);
        for batch in parts.iter().flatten() {
            count += batch.num_rows() as i64;
            amounts += batch.column(1).as_primitive::<Int64Type>().values().iter().sum::<i64>();
            for id in batch.column(0).as_primitive::<Int64Type>().values() {
                assert!(!std::mem::replace(&mut ids[*id as usize], true), "{table}: account {id} twice");
            }
        }
        assert_eq!((count, amounts), (ACCOUNTS, 100 * ACCOUNTS), "{table}");
    }
}

#[tokio::test]
async fn postgres_goes_on_with_one_connection_and_stops_what_nobody_reads() {
    let script = "create table things as select i as id, repeat('x', 200) as pad from generate_series(1, 400000) i";
    let Some((url, client)) = postgres(script).await else { return };
    let single = format!("single_{}", std::process::id());
    client
        .batch_execute(&format!("create role {single} login connection limit 1; grant select on things to {single}"))
        .await
        .unwrap();
    let source = source(&system(&url.replace("postgres@", &format!("{single}@")), None)).await;
    let mut reading = source.read(&stream("things", &["id"]), Extent::Whole).await.unwrap();
    assert_eq!(reading.parts.len(), 1, "the role may not have two connections");
    assert!(reading.parts[0].try_next().await.unwrap().is_some());
    drop(reading);
    // The snapshot is free again as soon as the statement has stopped, and fit for the next reading.
    let watch = std::time::Instant::now();
    let reading = source.read(&stream("things", &["id"]), Extent::Whole).await.unwrap();
    let rows: usize = drain(reading).await.unwrap().iter().flatten().map(RecordBatch::num_rows).sum();
    assert_eq!(rows, 400_000);
    println!("stopped and read again in {:?}", watch.elapsed());
    drop(source);
    let cleaned = format!("drop owned by {single}; drop role {single}");
    while client.batch_execute(&cleaned).await.is_err() {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn postgres_reads_columns_and_rows_by_key() {
    let script = r#"create type mood as enum ('good', 'so, "so"');
        create table things (id int, code text, m mood, u uuid, n numeric, b bytea, t timestamptz, c char(4), tags text[], note text, upd timestamptz,
          primary key (id, code, m, u, n, b, t, c, tags));
        insert into things select i, code, m, u, n, b, t, c, tags, 'n' || i, now() from generate_series(1, 6000) i,
          (values ('plain', 'good'::mood, '6c8ab60e-7d2d-4d6e-a8a0-5a2a4a1b7d11'::uuid, 1.50, '\x00'::bytea, '2026-07-01 10:00:00.000001Z'::timestamptz, 'ab'::char(4), array['x']),
                  (E'{"a\\b'',c} \n', 'so, "so"', '6c8ab60e-7d2d-4d6e-a8a0-5a2a4a1b7d12', -7, '\x5c22', '0044-03-15 12:00:00+00 BC', '"', array['"', ''])) k(code, m, u, n, b, t, c, tags);
        create table few (id int primary key); insert into few values (1), (2)"#;
    let Some((url, _client)) = postgres(script).await else { return };
    let source = source(&system(&url, BERLIN)).await;
    let key = ["id", "code", "m", "u", "n", "b", "t", "c", "tags"];
    let stream = with_cursor(super::stream("things", &key), "upd", CursorKind::Timestamp);
    let mut columns: Vec<String> = key.map(str::to_owned).to_vec();
    let reading = source.read(&stream, Extent::Columns(columns.clone())).await.unwrap();
    assert!(reading.is_unique);
    let keys = drain(reading).await.unwrap().concat();
    columns.push("upd".into());
    let versions = drain(source.read(&stream, Extent::Columns(columns)).await.unwrap()).await.unwrap().concat();
    assert_eq!((keys[0].num_columns(), versions[0].num_columns()), (9, 10), "of the sweep only what is compared");

    // Of 12,000 rows all but the first 500: more than one statement.
    let wanted: Vec<_> = keys
        .iter()
        .enumerate()
        .map(|(at, batch)| if at == 0 { batch.slice(500, batch.num_rows() - 500) } else { batch.clone() })
        .collect();
    let reading = source.read(&stream, Extent::Keys(wanted.clone())).await.unwrap();
    assert_eq!(reading.rows_expected, Some(11_500));
    let found = drain(reading).await.unwrap().concat();
    let key_of = |batches: &[RecordBatch]| {
        let mut keys: Vec<String> =
            rows_of(batches).into_iter().map(|row| Value::from(row.as_array().unwrap()[..9].to_vec()).to_string()).collect();
        keys.sort();
        keys
    };
    assert_eq!(key_of(&found), key_of(&wanted));
    assert!(rows_of(&found).iter().all(|row| row[9] == json!(format!("n{}", row[0]))), "whole rows");

    let few = super::stream("few", &["id"]);
    let ids = drain(source.read(&few, Extent::Whole).await.unwrap()).await.unwrap().concat();
    assert_eq!(ids[0].column(0).as_primitive::<Int32Type>().values(), &[1, 2]);
    let none = source.read(&few, Extent::Keys(Vec::new())).await.unwrap();
    assert!(drain(none).await.unwrap().concat().is_empty(), "no key, no row");
}

#[tokio::test]
async fn postgres_knows_which_keys_are_unique() {
    let cases = [
        ("create table t (id int primary key)", "id", true),
        ("create table t (id int, line int, primary key (id))", "id,line", true),
        ("create table t (id int, line int, primary key (id, line))", "id", false),
        ("create table t (id int, line int not null); create unique index on t (line) include (id)", "line", true),
        ("create table t (id int unique)", "id", false), // may be null
        ("create table t (id int not null); create unique index on t (id) where id > 5", "id", false),
        ("create table t (id text not null); create unique index on t (lower(id))", "id", false),
        ("create table t (id int not null); create index on t (id)", "id", false),
        ("create table t (id int not null, constraint u unique (id) deferrable initially deferred)", "id", true),
        ("create table t (id timestamp primary key)", "id", false), // two local times may be one instant
        ("create table t (id int primary key); create table u () inherits (t)", "id", false),
        ("create table t (id int primary key) partition by range (id); create table u partition of t default", "id", true),
        ("create table u (id int primary key); create view t as select * from u", "id", false),
        ("create materialized view t as select 1 as id; create unique index on t (id)", "id", false),
    ];
    let Some((url, client)) = postgres("").await else { return };
    for (at, (script, key, expected)) in cases.into_iter().enumerate() {
        client.batch_execute(&format!("create schema s{at}; set search_path = s{at}; {script}")).await.unwrap();
        let source = source(&system(&format!("{url}?schema=s{at}"), BERLIN)).await;
        let stream = stream("t", &key.split(',').collect::<Vec<_>>());
        let reading = source.read(&stream, Extent::Whole).await.unwrap();
        assert_eq!(reading.is_unique, expected, "{script}");
    }
    // A chosen type may make one value of two.
    client.batch_execute("create table public.t (id numeric primary key)").await.unwrap();
    let source = source(&system(&format!("{url}?schema=public"), None)).await;
    let types = BTreeMap::from([("id".to_owned(), ColumnType::Double)]);
    let reading = source.read(&Stream { types, ..stream("t", &["id"]) }, Extent::Whole).await.unwrap();
    assert!(!reading.is_unique);
}

/// What happens to a table between the snapshot and its reading, and what the reading says; nothing: it goes on as the snapshot shows it.
#[tokio::test]
async fn postgres_tables_that_change_underneath_are_refused() {
    let cases = [
        ("alter table t drop column v", "column \"v\" does not exist"),
        ("alter table t rename column v to w", "column \"v\" does not exist"),
        ("alter table t alter column v type bigint", "column \"v\" has another type now"),
        ("alter table t alter column v type int using v + 1", "were written anew"),
        ("truncate t", "were written anew"),
        ("drop table t cascade", "was dropped or made anew"),
        ("drop table t cascade; create table t (id int primary key, v int)", "was dropped or made anew"),
        ("alter table t rename to moved; create table t (id int primary key, v int)", "was dropped or made anew"),
        ("alter table t add column w int default 7; insert into t values (3, 3); create index on t (v)", ""),
        ("delete from t; insert into t values (9, 9)", ""),
        ("vacuum full t", "were written anew"),
    ];
    let Some((url, client)) = postgres("create schema mine").await else { return };
    let url = format!("{url}?schema=public");
    for (script, expected) in cases {
        let tables = "drop schema public cascade; create schema public; create table t (id int primary key, v int); insert into t values (1, 1), (2, 2)";
        client.batch_execute(tables).await.unwrap();
        if script == "truncate t" {
            let through = "create view through as select * from t; create table p (id int, v int) partition by list (v);
                create table p1 partition of p for values in (1); insert into p values (1, 1)";
            client.batch_execute(through).await.unwrap();
        }
        let source = source(&system(&url, None)).await;
        for statement in script.split("; ") {
            client.batch_execute(statement).await.unwrap();
        }
        let found = read_all(source.as_ref(), &stream("t", &["id"]), None).await;
        if expected.is_empty() {
            assert_eq!(found.unwrap().1, [[json!(1), json!(1)], [json!(2), json!(2)]], "{script}");
            continue;
        }
        let error = found.unwrap_err();
        assert!(shown(&error).contains(expected), "{script}: {}", shown(&error));
        assert!(matches!(error.retry(), Retry::After(_)), "{script}: {error:?}");
        // An empty table must not look like one whose rows are gone through a view or its partitions either.
        if script == "truncate t" {
            client.batch_execute("truncate p1").await.unwrap();
            for table in ["through", "p"] {
                let error = read_all(source.as_ref(), &stream(table, &["id"]), None).await.unwrap_err();
                assert!(matches!(&error, ConnectError::Changed { .. }), "{table}: {error:?}");
            }
        }
    }
}

#[tokio::test]
async fn postgres_faults_say_whether_they_may_pass() {
    let script = "create table things as select i as id, repeat('x', 200) as pad from generate_series(1, 100000) i;
        create view slow as select 1 as id, pg_sleep(60)::text as nap; create table few as select 1 as id";
    let Some((url, client)) = postgres(script).await else { return };
    let mut impatient = system(&url, None);
    impatient.load.statement_timeout = Some(Duration::from_millis(800));
    let impatient = source(&impatient).await;
    let error = read_all(impatient.as_ref(), &stream("slow", &["id"]), None).await.unwrap_err();
    assert!(matches!(error, ConnectError::Timeout { .. }) && error.retry() == Retry::Never, "{error:?}");
    let (_, rows) = read_all(impatient.as_ref(), &stream("few", &["id"]), None).await.unwrap();
    assert_eq!(rows, [[json!(1)]], "the snapshot lives on");
    drop(impatient);

    let source = source(&system(&url, None)).await;
    let mut reading = source.read(&stream("things", &["id"]), Extent::Whole).await.unwrap().rows();
    reading.try_next().await.unwrap();
    client.batch_execute("select pg_terminate_backend(pid) from pg_stat_activity where application_name = 'loopline' and datname = current_database()").await.unwrap();
    let error = reading.try_collect::<Vec<_>>().await.unwrap_err();
    assert!(matches!(error, ConnectError::Lost { .. }) && matches!(error.retry(), Retry::After(_)), "{error:?}");
    let error = source.read(&stream("things", &["id"]), Extent::Whole).await.err().unwrap();
    assert!(matches!(error, ConnectError::Lost { .. }), "{error:?}");
    let error = connect::source(&system("postgres://hub@127.0.0.1:1/prod", None), Path::new(".")).await.err().unwrap();
    assert!(matches!(error.retry(), Retry::After(_)), "{error:?}");
}

#[tokio::test]
async fn postgres_reads_a_row_of_100_megabytes() {
    const BYTES: usize = 100_000_000;
    let Some((url, _client)) = postgres(&format!(
        "create table things as select 1 as id, repeat('x', {BYTES}) as v, 'after' as w union all select 2, 'y', 'z'"
    ))
    .await
    else {
        return;
    };
    let source = source(&system(&url, None)).await;
    let batches = drain(source.read(&stream("things", &["id"]), Extent::Whole).await.unwrap()).await.unwrap().concat();
    assert_eq!(batches.iter().map(RecordBatch::num_rows).collect::<Vec<_>>(), [1, 1], "a batch is bounded by bytes");
    assert_eq!(
        (batches[0].column(1).as_string::<i32>().value(0).len(), batches[0].column(2).as_string::<i32>().value(0)),
        (BYTES, "after")
    );
}
