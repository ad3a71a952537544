//! How nodes run: within the memory pool, again after what passes, and what is told of it.

use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use datafusion::error::DataFusionError;

use super::*;
use crate::base::Retry;

/// A project with one more model, `scm.big`, and a pool of 16 MB of its own: those of one size are one in a process.
async fn bench(model: &str) -> Bench {
    static POOLS: AtomicUsize = AtomicUsize::new(0);
    let memory_limit_bytes = (16 << 20) + POOLS.fetch_add(1, Ordering::Relaxed);
    let bench = Bench { memory_limit_bytes, ..Bench::new().await };
    write(bench.root.path(), "sql/scm/big.sql", &format!("--! description = \"Many rows\"\n{model}\n"));
    bench
}

fn run_of<'a>(built: &'a Built, table: &str) -> &'a ModelRun {
    built.models.iter().find(|run| run.table == table).unwrap()
}

const SERIES: &str = "(select value as id, value % 1000 as grp, 'text ' || value as name from generate_series(1, 1000000))";

#[tokio::test(flavor = "multi_thread")]
async fn what_does_not_fit_spills_and_is_counted() {
    let mut bench = bench(&format!("select * from {SERIES} order by name")).await;
    let (built, cut) = bench.build("2026-03-04T05:06:07Z").await.map_err(|error| told(&[error])).unwrap();
    let run = run_of(&built, "scm.big");
    assert_eq!((run.rows, run.tries), (1_000_000, 1));
    assert!(run.spilled_bytes > 1 << 20, "{run:?}");
    assert!((1 << 20..16 << 20).contains(&run.peak_memory_bytes), "{run:?}");
    assert!(run.bytes > 1 << 20 && run.seconds > 0.0, "{run:?}");
    assert_eq!(bench.rows(&cut.unwrap(), "select count(*), count(distinct id) from scm.big").await, ["1000000|1000000"]);
    assert!(bench.store.latest(&table("scm.big")).await.unwrap().unwrap().properties.contains_key("loopline.seconds"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hash_join_that_does_not_fit_is_planned_again_with_a_join_that_spills() {
    let mut bench =
        bench(&format!("select a.id, a.name as one, b.name as other from {SERIES} a join {SERIES} b on b.id = a.id")).await;
    let (built, cut) = bench.build("2026-03-04T05:06:07Z").await.map_err(|error| told(&[error])).unwrap();
    assert_eq!(run_of(&built, "scm.big").tries, 2);
    assert_eq!(bench.rows(&cut.unwrap(), "select count(*), count(distinct id) from scm.big").await, ["1000000|1000000"]);
}

/// Keeps what it is told.
#[derive(Default)]
struct Heard(Mutex<Vec<String>>);

impl Progress for Heard {
    fn started(&self, table: &TableName) {
        self.0.lock().unwrap().push(format!("started {table}"));
    }

    fn model(&self, run: &ModelRun, _: usize, _: usize) {
        self.0.lock().unwrap().push(format!("{:?} {}", run.outcome, run.table));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_window_that_does_not_fit_names_itself_and_nothing_is_published() {
    let mut bench = bench(&format!("select id, name, count(*) over () as total from {SERIES}")).await;
    let heard = Heard::default();
    let error = bench.build_told("2026-03-04T05:06:07Z", &heard).await.map(|_| ()).unwrap_err();
    let text = told(&[error]);
    assert!(text.starts_with("sql/scm/big.sql: scm.big: out of memory in WindowAggExec[0]"), "{text}");
    assert!(text.contains("hint: raise memory_limit"), "{text}");
    assert!(bench.store.cut().await.unwrap().is_none());
    let heard = heard.0.into_inner().unwrap();
    assert!(heard.contains(&"started scm.big".to_owned()) && heard.contains(&"Failed scm.big".to_owned()), "{heard:?}");
}

#[test]
fn faults_of_a_distant_store_pass_and_others_do_not() {
    let fault = |store| object_store::Error::Generic { store, source: "503 Slow Down".into() };
    let run = |source| ModelError::Run { table: table("scm.x"), path: "x.sql".into(), source: Box::new(source) };
    let read = datafusion::parquet::errors::ParquetError::External(Box::new(fault("S3")));
    assert!(matches!(run(DataFusionError::ObjectStore(Box::new(fault("S3")))).retry(), Retry::After(_)));
    assert!(matches!(run(DataFusionError::ParquetError(Box::new(read))).retry(), Retry::After(_)));
    assert_eq!(run(DataFusionError::ObjectStore(Box::new(fault("LocalFileSystem")))).retry(), Retry::Never);
    assert_eq!(run(DataFusionError::Execution("division by zero".into())).retry(), Retry::Never);
}
