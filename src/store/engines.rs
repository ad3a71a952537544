//! Other engines read what is written here: Polars, deltalake (delta-rs for Python) and DuckDB's own Delta reader. `LOOPLINE_TEST_PYTHON` names a Python
//! that has them.

use std::collections::BTreeMap;

use arrow::array::RecordBatch;
use futures::TryStreamExt;
use serde_json::Value;

use super::delta::Commit;
use super::feed::{Change, Feed};
use super::file::FileWriter;
use super::rewrite::{Edit, edit};
use super::testing::*;
use super::{DataFile, vector};

/// Runs a script with a table's folder as its argument; each `read_…` function of it is one engine. `None`: there is no Python.
fn read_by(script: &str, folder: &std::path::Path) -> Option<Value> {
    const RUN: &str = r#"
import glob, json, os, sys
path = sys.argv[1]
def columns(names, table):
    return sorted([str(v) for v in row] for row in zip(*[table[name] for name in names]))
def duckdb(sql):
    import duckdb, duckdb_extension_delta
    db = duckdb.connect()
    extension = glob.glob(os.path.dirname(duckdb_extension_delta.__file__) + "/extensions/*/delta.duckdb_extension")[0]
    db.execute(f"load '{extension}'; set timezone = 'UTC'")
    cursor = db.execute(sql)
    return dict(zip([d[0] for d in cursor.description], zip(*cursor.fetchall())))
"#;
    const REPORT: &str = r#"
found = {}
for name in [name for name in globals() if name.startswith("read_")]:
    try:
        found[name[5:]] = globals()[name]()
    except Exception as error:
        found[name[5:]] = f"{type(error).__name__}: {error}"[:300]
print(json.dumps(found))
"#;
    let Ok(python) = std::env::var("LOOPLINE_TEST_PYTHON") else {
        assert!(std::env::var("CI").is_err(), "LOOPLINE_TEST_PYTHON is not set: run the tests with `bash tests/run`");
        println!("skipped: LOOPLINE_TEST_PYTHON is not set");
        return None;
    };
    let script = [RUN, script, REPORT].concat();
    let output = std::process::Command::new(python).arg("-c").arg(script).arg(folder).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    // An engine may log there, too.
    let found = String::from_utf8_lossy(&output.stdout);
    Some(serde_json::from_str(found.lines().last().unwrap_or_default()).unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn other_engines_read_every_type() {
    const SCRIPT: &str = r#"
NAMES = ["id", "mark", "name", "share", "open", "due", "price", "at", "_pull"]
def read_polars():
    import polars
    return columns(NAMES, polars.read_delta(path).to_dict(as_series=False))
def read_polars_skipping():
    import polars
    return columns(NAMES, polars.scan_delta(path).filter(polars.col("id") >= 1000).collect().to_dict(as_series=False))
def read_deltalake():
    import deltalake, pyarrow
    return columns(NAMES, pyarrow.table(deltalake.DeltaTable(path).to_pyarrow_table()).to_pydict())
def read_duckdb():
    return columns(NAMES, duckdb(f"select * from delta_scan('{path}') where id >= 1000"))
"#;
    let bench = Bench::new().await;
    // Enough rows for encodings without a dictionary.
    for pull in 1..=25 {
        bench.land(pull, every_type(1000..3000 + pull, (pull % 3) as i32), whole()).await.unwrap();
    }
    let Some(found) = read_by(SCRIPT, &bench.folder.path().join("store/raw/erp__orders")) else { return };
    for engine in ["polars", "polars_skipping", "deltalake", "duckdb"] {
        let rows = found[engine].as_array().unwrap_or_else(|| panic!("{engine}: {}", found[engine]));
        assert_eq!(rows.len(), 2025, "{engine}");
        let (with, without) = (&rows[8], &rows[4]);
        let text = |row: &Value, column: usize| row[column].as_str().unwrap().to_owned();
        assert_eq!([text(with, 0), text(with, 2), text(with, 5), text(with, 8)], ["1008", "näme 1008", "1972-09-30", "25"]);
        assert_eq!((text(with, 6), text(without, 0), text(without, 6)), ("0.001008".into(), "1004".into(), "None".into()));
        assert!(text(with, 7).starts_with("1970-01-01 00:16:48.001008"), "{with}");
    }
}

/// A table whose versions came about in every way there is, and what they say of themselves.
async fn eventful(bench: &Bench) -> (u64, Vec<&'static str>) {
    let store = bench.store.object_store();
    let stem = "raw/erp__orders/p-9";
    let all: Vec<(i64, &str)> = (0..2_000).map(|id| (id, "x")).collect();
    let file = file_of(&store, &orders(&all), 300).await;
    let schema = orders(&all).schema();
    let commit = async |add: Vec<DataFile>, remove: Vec<DataFile>, changes: Vec<DataFile>, data_change: bool| {
        let base = bench.store.load(&name(TABLE)).await.unwrap();
        let txn = ("test".to_owned(), base.as_ref().map_or(0, |base| base.version.version as i64));
        let commit = Commit { base, schema: schema.clone(), properties: BTreeMap::new(), add, remove, changes, data_change, txn };
        bench.store.commit(&name(TABLE), commit).await.unwrap()
    };
    let rows = orders;
    commit(vec![file.clone()], vec![], vec![], true).await;

    // 1: one row changed, one taken out, one put in, by writing the file anew.
    let change = Edit { replaced: vec![5], rows: rows(&[(5, "y")]), old: None, removed: vec![7] };
    let edited = edit(&store, TABLE, stem, &schema, &file, &change).await.unwrap().unwrap();
    let mut writer = FileWriter::new(store.clone(), TABLE, stem.into(), schema.clone());
    writer.write(&rows(&[(2_000, "new")])).await.unwrap();
    let new = writer.finish().await.unwrap().remove(0);
    let mut feed = Feed::new(store.clone(), TABLE, stem, &schema);
    let told =
        [(Change::Before, (5, "x")), (Change::After, (5, "y")), (Change::Delete, (7, "x")), (Change::Insert, (2_000, "new"))];
    for (change, row) in told {
        feed.write(change, &rows(&[row])).await.unwrap();
    }
    commit(vec![edited.clone(), new.clone()], vec![file], feed.finish().await.unwrap(), true).await;

    // 2: rows 0 and 1999 taken out by a deletion vector (one row before the latter is gone already).
    let marked = vector::mark(&store, &name(TABLE), vec![(edited.clone(), vec![0, 1_998])]).await.unwrap().remove(0).unwrap();
    let mut feed = Feed::new(store.clone(), TABLE, stem, &schema);
    feed.write(Change::Delete, &rows(&[(0, "x"), (1_999, "x")])).await.unwrap();
    commit(vec![marked.clone()], vec![edited], feed.finish().await.unwrap(), true).await;

    // 3: the same rows in another file.
    let nothing = Edit { replaced: vec![], rows: RecordBatch::new_empty(schema.clone()), old: None, removed: vec![] };
    let moved = edit(&store, TABLE, stem, &schema, &new, &nothing).await.unwrap().unwrap();
    commit(vec![moved.clone()], vec![new], vec![], false).await;

    // 4: a file taken out, nothing said.
    let last = commit(vec![], vec![moved], vec![], true).await;
    let told = vec![
        "0|x|delete|2",
        "1999|x|delete|2",
        "2000|new|delete|4",
        "2000|new|insert|1",
        "5|x|update_preimage|1",
        "5|y|update_postimage|1",
        "7|x|delete|1",
    ];
    (last, told)
}

#[tokio::test(flavor = "multi_thread")]
async fn other_engines_read_deletion_vectors_and_changes() {
    const SCRIPT: &str = r#"
NAMES = ["id", "what"]
def read_deltalake():
    import deltalake, pyarrow
    return columns(NAMES, pyarrow.table(deltalake.QueryBuilder().register("t", deltalake.DeltaTable(path)).execute("select id, what from t").read_all()).to_pydict())
def read_duckdb():
    return columns(NAMES, duckdb(f"select * from delta_scan('{path}')"))
def read_duckdb_skipping():
    return columns(NAMES, duckdb(f"select * from delta_scan('{path}') where id in (5, 6, 7, 8, 310, 1999)"))
def read_feed():
    import deltalake, pyarrow
    feed = pyarrow.table(deltalake.DeltaTable(path).load_cdf(starting_version=1)).to_pydict()
    return columns(["id", "what", "_change_type", "_commit_version"], feed)
"#;
    let mut bench = Bench::new().await;
    let (last, told) = eventful(&bench).await;
    bench.restart().await;
    let changes: Vec<RecordBatch> = bench.store.changes(&name(TABLE), 0, last).await.unwrap().try_collect().await.unwrap();
    let mut changes: Vec<String> = changes.iter().flat_map(lines).collect();
    changes.sort();
    assert_eq!(changes, told);

    let table = bench.table(TABLE).await;
    assert_eq!(table.files.iter().map(|file| (file.rows, file.rows_in_file())).collect::<Vec<_>>(), [(1_997, 1_999)]);
    let rows = bench.rows(TABLE).await;
    assert_eq!(rows.len(), 1_997);
    let log =
        std::fs::read_to_string(bench.folder.path().join("store/raw/erp__orders/_delta_log/00000000000000000002.json")).unwrap();
    assert!(log.contains("\"minReaderVersion\":3") && log.contains("\"deletionVectors\""), "{log}");

    let Some(found) = read_by(SCRIPT, &bench.folder.path().join("store/raw/erp__orders")) else { return };
    let lines = |engine: &str| {
        let rows = found[engine].as_array().unwrap_or_else(|| panic!("{engine}: {}", found[engine]));
        let text =
            |row: &Value| row.as_array().unwrap().iter().map(|value| value.as_str().unwrap()).collect::<Vec<_>>().join("|");
        let mut lines: Vec<String> = rows.iter().map(text).collect();
        lines.sort();
        lines
    };
    assert_eq!(lines("deltalake"), rows);
    assert_eq!(lines("duckdb"), rows);
    assert_eq!(lines("duckdb_skipping"), ["310|x", "5|y", "6|x", "8|x"]);
    assert_eq!(lines("feed"), told);
}
