//! Parts of a SQLite stream: some columns of every row, the rows with certain keys; what the file itself knows of its keys.

use arrow::array::RecordBatch;
use futures::TryStreamExt;
use loopline::connect::{self, Extent, Reading, Source, cell_json};
use loopline::project::{CursorKind, Stream};
use serde_json::{Value, json};

use super::{sqlite, stream, system, with_cursor};

const TABLES: &str = "
    create table items (id integer primary key, name text, upd timestamp);
    insert into items values (1, 'a', '2026-01-01 08:00:00'), (2, 'b', '2026-01-02 08:00:00'), (3, 'c', null);
    create table lots (plant text, code varchar(9), note text, primary key (plant, code));
    insert into lots values ('n', '1', 'x'), ('n', '2', 'y'), ('s', '1', 'z');
    create table loose (id integer, code, at timestamp);
    insert into loose values (1, 5, '2026-01-01 08:00:00'), (2, '6', '2026-01-01T09:00:00'), (3, 'o''x', '2026-01-01 10:00:00+00:00');
    create unique index loose_id on loose (id) where id > 0;
    create unique index loose_code on loose (code);
    create unique index loose_at on loose (at);
    create view shown as select id, name from items;";

async fn open(folder: &std::path::Path) -> Box<dyn Source> {
    sqlite(folder, TABLES);
    connect::source(&system("sqlite:plant.db", Some(chrono_tz::UTC)), folder).await.unwrap()
}

async fn rows(reading: Reading) -> Vec<Vec<Value>> {
    let batches: Vec<RecordBatch> = reading.rows().try_collect().await.unwrap();
    let cells = |batch: &RecordBatch, row| batch.columns().iter().map(|column| cell_json(column, row)).collect();
    batches.iter().flat_map(|batch| (0..batch.num_rows()).map(|row| cells(batch, row)).collect::<Vec<_>>()).collect()
}

/// The key columns of the rows that `sql` finds, as a comparison would ask for them.
async fn keys(source: &dyn Source, stream: &Stream, keep: &[usize]) -> Vec<RecordBatch> {
    let reading = source.read(stream, Extent::Columns(stream.key.clone())).await.unwrap();
    let batches: Vec<RecordBatch> = reading.rows().try_collect().await.unwrap();
    let order: Vec<usize> = stream.key.iter().map(|name| batches[0].schema().index_of(name).unwrap()).collect();
    keep.iter().map(|row| batches[0].project(&order).unwrap().slice(*row, 1)).collect()
}

#[tokio::test]
async fn columns_are_projected_and_the_cursor_need_not_be_among_them() {
    let folder = tempfile::tempdir().unwrap();
    let source = open(folder.path()).await;
    let items = with_cursor(stream("items", &["id"]), "upd", CursorKind::Timestamp);
    let read = source.read(&items, Extent::Columns(vec!["name".into(), "id".into()])).await.unwrap();
    assert_eq!(rows(read).await, [[json!(1), json!("a")], [json!(2), json!("b")], [json!(3), json!("c")]]);
}

#[tokio::test]
async fn rows_are_found_by_their_keys_in_whatever_form_they_are_stored() {
    let folder = tempfile::tempdir().unwrap();
    let source = open(folder.path()).await;
    let cases = [
        (stream("items", &["id"]), vec![0, 2], vec![json!(1), json!(3)]),
        (stream("lots", &["code", "plant"]), vec![1, 2], vec![json!("n"), json!("s")]),
        (stream("loose", &["code"]), vec![0, 2], vec![json!(1), json!(3)]),
        (stream("loose", &["at"]), vec![0, 1, 2], vec![json!(1), json!(2), json!(3)]),
        (stream("loose", &["id", "code"]), vec![1], vec![json!(2)]),
        (stream("shown", &["id"]), vec![1], vec![json!(2)]),
        (stream("items", &["id"]), vec![], vec![]),
    ];
    for (stream, keep, expected) in cases {
        let wanted = keys(source.as_ref(), &stream, &keep).await;
        let read = source.read(&stream, Extent::Keys(wanted)).await.unwrap();
        assert_eq!(read.rows_expected, Some(keep.len() as u64));
        let mut found: Vec<Value> = rows(read).await.into_iter().map(|row| row[0].clone()).collect();
        found.sort_by_key(ToString::to_string);
        assert_eq!(found, expected, "{} by {:?}", stream.table, stream.key);
    }
}

#[tokio::test]
async fn a_key_is_unique_only_where_the_file_says_so_of_the_values_that_are_read() {
    let folder = tempfile::tempdir().unwrap();
    let source = open(folder.path()).await;
    let cases = [
        ("items", &["id"][..], true, Some(3)),
        ("items", &["name", "id"], true, Some(3)),
        ("items", &["name"], false, Some(3)),
        ("lots", &["plant", "code"], true, Some(3)),
        ("lots", &["plant"], false, Some(3)),
        ("loose", &["id"], false, Some(3)),   // only of some rows
        ("loose", &["code"], false, Some(3)), // 5 and '5' are read as one text
        ("loose", &["at"], false, Some(3)),   // one instant has several texts
        ("shown", &["id"], false, None),
    ];
    for (table, key, is_unique, rows_expected) in cases {
        let read = source.read(&stream(table, key), Extent::Whole).await.unwrap();
        assert_eq!((read.is_unique, read.rows_expected), (is_unique, rows_expected), "{table} by {key:?}");
    }
}
