//! History under retention: what is kept stays readable whatever is removed around it.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Instant as Stopwatch;

use proptest::prelude::*;
use rusqlite::params;

use super::super::control::Micros;
use super::super::feed::{Change, Feed};
use super::super::testing::*;
use super::super::{AFTER_RUN, ChangeState, NewChange, RunOutcome, THOROUGH, types, vector};
use super::*;
use crate::base::{Operation, Row, RowChange, time};

const KEEP: Keep = Keep { runs: Duration::from_secs(7 * 86_400), sent: Duration::from_secs(400 * 86_400) };

/// Days from when the test runs.
fn day(days: i64) -> Instant {
    time::now() + TimeDelta::days(days)
}

impl Bench {
    /// One run that publishes the table as it is now, started at `at`.
    async fn cut_at(&self, at: Instant) -> RunId {
        let run = self.store.control.start_run("plan", at).unwrap();
        let mut tables = BTreeMap::new();
        for table in [TABLE, DELETED] {
            let latest = self.store.latest(&name(table)).await.unwrap();
            tables.extend(latest.map(|latest| (name(table), latest.version)));
        }
        self.store.publish(run, at, Vec::new(), tables).await.unwrap();
        self.store.control.finish_run(run, RunOutcome::Published, "done").unwrap();
        let sql = "update runs set started_at = ?2 where run = ?1";
        self.store.control.write("test", |db| db.execute(sql, params![run.0, Micros(at)])).unwrap();
        run
    }

    fn sent(&self, run: RunId, at: Instant) {
        let row = RowChange {
            operation: Operation::Insert,
            table: "t".into(),
            key: Row::from([("id".into(), run.0.into())]),
            before: None,
            after: None,
            version: None,
        };
        let (system, kind, reason, hash) = ("erp".into(), "orders".into(), "late".into(), run.to_string());
        let change = NewChange { run, system, kind, row, reason, hash, state: ChangeState::Planned };
        let id = self.store.control.add_change(change, None).unwrap();
        let sql = "update changes set state = 'confirmed', sent_at = ?2, closed_at = ?2 where id = ?1";
        self.store.control.write("test", |db| db.execute(sql, params![id, Micros(at)])).unwrap();
    }

    /// Maintenance as of `now`, as a hub does it.
    async fn maintain(&self, now: Instant) -> Trimmed {
        let mut sum = Trimmed::default();
        let tables = self.store.tables().await.unwrap();
        for table in tables.iter().filter(|table| table.schema == "raw") {
            self.store.compact(table, THOROUGH, false).await.unwrap();
        }
        let mut keeping = self.store.keeping(now, KEEP).await.unwrap();
        self.store.expire(&mut keeping, self.lease.as_ref().unwrap()).await.unwrap();
        for table in tables {
            let trimmed = self.store.trim(&table, &keeping, false).await.unwrap();
            sum.log_files += trimmed.log_files;
            sum.data_files += trimmed.data_files;
        }
        self.store.control.forget(now - KEEP.sent, now - KEEP.runs).unwrap();
        sum
    }

    /// The files in a folder of the store.
    fn files(&self, folder: &str) -> BTreeSet<String> {
        let folder = self.folder.path().join("store").join(folder);
        let names = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap());
        names.filter(|entry| entry.path().is_file()).map(|entry| entry.file_name().into_string().unwrap()).collect()
    }
}

const DELETED: &str = "raw.erp__orders__deleted";
const FOLDER: &str = "raw/erp__orders";
const LOG: &str = "raw/erp__orders/_delta_log";

async fn rows_at(bench: &Bench, version: u64) -> Vec<String> {
    let version = bench.store.at(&name(TABLE), version).await.unwrap();
    rows_of(&bench.store, &version).await
}

#[tokio::test(flavor = "multi_thread")]
async fn old_cuts_are_given_up_and_say_so() {
    let mut bench = Bench::new().await;
    let mut runs = Vec::new();
    for pull in 1..=60 {
        bench.land(pull, orders(&[(1, &format!("v{pull}")), (2, "same")]), whole()).await.unwrap();
        runs.push(bench.cut_at(day(pull - 60)).await);
    }
    bench.sent(runs[9], day(-50));
    let before: Vec<Vec<String>> = vec![rows_at(&bench, 9).await, rows_at(&bench, 53).await, rows_at(&bench, 59).await];
    let (files, log) = (bench.files(FOLDER), bench.files(LOG));

    // A look changes nothing.
    let keeping = bench.store.keeping(day(2), KEEP).await.unwrap();
    assert_eq!(keeping.expired(), 54, "60 runs without those of 5 days and the one behind a sent change");
    let look = bench.store.trim(&name(TABLE), &keeping, true).await.unwrap();
    assert!(look.data_files > 40 && look.log_files > 20, "{look:?}");
    assert_eq!((&files, &log), (&bench.files(FOLDER), &bench.files(LOG)));
    let unmarked = bench.store.trim(&name(TABLE), &keeping, false).await.unwrap_err();
    assert!(matches!(unmarked, StoreError::Malformed { .. }), "{unmarked}");

    bench.maintain(day(2)).await;
    bench.restart().await;
    assert_eq!(rows_at(&bench, 9).await, before[0], "behind a sent change");
    assert_eq!(rows_at(&bench, 59).await, before[2]);
    assert_eq!(rows_at(&bench, 55).await, ["1|v56|56", "2|same|1"]);
    let cut = bench.store.cut_of(runs[9]).await.unwrap();
    assert_eq!(cut.tables[&name(TABLE)], 9);
    for gone in [0, 8, 10, 30, 50] {
        let error = bench.store.cut_of(runs[gone]).await.unwrap_err();
        assert_eq!(error.to_string(), format!("run {} was published, but its versions are no longer kept", runs[gone]));
    }
    let never = bench.store.cut_of(RunId(999)).await.unwrap_err();
    assert_eq!(never.to_string(), "run 999 published nothing");
    assert_eq!(bench.store.cut().await.unwrap().unwrap().run, runs[59]);
    // One file for each version that is kept: the sent one and those of the last days.
    assert!(bench.files(FOLDER).len() < 10, "{:?}", bench.files(FOLDER));
    assert!(bench.files(LOG).len() < 45, "{:?}", bench.files(LOG));
    assert!(bench.files("system/cuts").len() <= 2, "{:?}", bench.files("system/cuts"));
    assert_eq!(bench.maintain(day(2)).await.data_files, 0, "nothing is left to do");

    // Much later the latest cut alone is left, and the table goes on.
    bench.maintain(day(1_000)).await;
    bench.restart().await;
    assert_eq!(bench.store.cut().await.unwrap().unwrap().run, runs[59]);
    assert_eq!(bench.files(FOLDER).len(), 1);
    assert_eq!(bench.store.next_pull(&name(TABLE)).await.unwrap(), 61);
    bench.land(61, orders(&[(1, "on"), (2, "same")]), whole()).await.unwrap();
    assert_eq!(bench.rows(TABLE).await, ["1|on|61", "2|same|1"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_current_a_day_ago_and_leftovers_of_today_stay() {
    let bench = Bench::new().await;
    for pull in 1..=5 {
        bench.land(pull, orders(&[(1, &format!("v{pull}"))]), whole()).await.unwrap();
    }
    let leftover = bench.folder.path().join("store").join(FOLDER).join("p-9-lost.parquet");
    std::fs::write(&leftover, "never finished").unwrap();
    std::fs::write(bench.folder.path().join("store").join(FOLDER).join("notes.txt"), "mine").unwrap();
    bench.cut_at(day(-9)).await;
    let files = bench.files(FOLDER);
    assert_eq!(bench.maintain(day(0)).await, Trimmed::default());
    assert_eq!(bench.files(FOLDER), files);
    assert_eq!(rows_at(&bench, 0).await, ["1|v1|1"]);
    bench.maintain(day(2)).await;
    assert!(!leftover.exists());
    assert_eq!(bench.files(FOLDER).len(), 2, "the current file, and what is none of ours");
    assert_eq!(bench.rows(TABLE).await, ["1|v5|5"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn pulls_that_nobody_builds_from_do_not_pile_up() {
    let mut bench = Bench::new().await;
    bench.land(1, orders(&[(1, "first")]), whole()).await.unwrap();
    let run = bench.cut_at(day(-50)).await;
    for pull in 2..=65 {
        bench.land(pull, orders(&[(1, &format!("v{pull}"))]), whole()).await.unwrap();
    }
    bench.maintain(day(3)).await;
    assert_eq!(bench.files(FOLDER).len(), 65, "changes since the latest cut are young");
    let idle = Bench::open(&bench.folder, "other.sqlite").await.unwrap();
    idle.load(&name(TABLE)).await.unwrap();
    bench.maintain(day(20)).await;
    assert_eq!(bench.store.next_pull(&name(TABLE)).await.unwrap(), 66, "the process goes on");
    assert_eq!(idle.next_pull(&name(TABLE)).await.unwrap(), 66, "and so does one that does not know of it");
    bench.restart().await;
    assert_eq!(bench.files(FOLDER).len(), 2, "the latest cut's and the current one");
    assert!(bench.files(LOG).len() < 15, "{:?}", bench.files(LOG));
    assert_eq!(bench.store.cut().await.unwrap().unwrap().run, run);
    assert_eq!((rows_at(&bench, 0).await, bench.rows(TABLE).await), (vec!["1|first|1".into()], vec!["1|v65|65".into()]));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_ledger_keeps_every_run_that_may_be_behind_a_change() {
    let mut bench = Bench::new().await;
    bench.land(1, orders(&[(1, "a")]), whole()).await.unwrap();
    let run = bench.cut_at(day(-50)).await;
    bench.land(2, orders(&[(1, "b")]), whole()).await.unwrap();
    bench.cut_at(day(-49)).await;
    bench.restart_with("other.sqlite").await.unwrap();
    let refused = bench.store.keeping(day(2), KEEP).await.unwrap_err();
    assert!(matches!(refused, StoreError::ControlBehind { .. }), "{refused}");
    bench.store.adopt_control(bench.lease.as_ref().unwrap()).await.unwrap();
    bench.maintain(day(2)).await;
    assert_eq!(bench.store.cut_of(run).await.unwrap().tables[&name(TABLE)], 0);
    assert_eq!(rows_at(&bench, 0).await, ["1|a|1"]);
    bench.maintain(day(500)).await;
    assert!(matches!(bench.store.cut_of(run).await, Err(StoreError::CutGone { .. })));
}

#[tokio::test(flavor = "multi_thread")]
async fn deletion_vectors_and_the_change_feed_live_as_long_as_what_needs_them() {
    let mut bench = Bench::new().await;
    let rows: Vec<(i64, String)> = (0..100).map(|id| (id, format!("r{id}"))).collect();
    let rows: Vec<(i64, &str)> = rows.iter().map(|(id, text)| (*id, text.as_str())).collect();
    bench.land(1, orders(&rows), whole()).await.unwrap();
    let store = bench.store.object_store();
    let table = name(TABLE);
    // Three versions, each with rows marked in the same file, told in the change feed; the first is behind a sent change.
    let mut runs = Vec::new();
    for (number, marks) in [vec![3, 4], vec![50], (10..40).collect()].into_iter().enumerate() {
        let base = bench.store.load(&table).await.unwrap().unwrap();
        let now = base.version.clone();
        let marked = vector::mark(&store, &table, vec![(now.files[0].clone(), marks)]).await.unwrap().remove(0).unwrap();
        let mut feed = Feed::new(Arc::clone(&store), TABLE, &format!("{FOLDER}/p-{number}"), &now.schema);
        let gone = types::by_name(TABLE, &orders(&[(1, "gone")]), &now.schema).unwrap();
        feed.write(Change::Delete, &gone).await.unwrap();
        let commit = Commit {
            schema: now.schema.clone(),
            properties: BTreeMap::new(),
            add: vec![marked],
            remove: now.files.clone(),
            changes: feed.finish().await.unwrap(),
            data_change: true,
            txn: ("test".into(), number as i64),
            base: Some(base),
        };
        bench.store.commit(&table, commit).await.unwrap();
        runs.push(bench.cut_at(day(number as i64 * 3 - 20)).await);
    }
    bench.sent(runs[0], day(-20));
    let vectors = |bench: &Bench| bench.files(FOLDER).iter().filter(|file| file.ends_with(".bin")).count();
    assert_eq!((vectors(&bench), bench.files(&format!("{FOLDER}/_change_data")).len()), (3, 3));
    let (first, last) = (rows_at(&bench, 1).await, rows_at(&bench, 3).await);
    assert_eq!((first.len(), last.len()), (98, 67));

    bench.maintain(day(2)).await;
    bench.restart().await;
    assert_eq!(bench.table(TABLE).await.files[0].deletion_vector, None, "a third of the file was deleted: it was written anew");
    assert_eq!(bench.rows(TABLE).await, last);
    assert_eq!(rows_at(&bench, 1).await, first);
    assert_eq!(rows_at(&bench, 3).await, last, "the latest cut");
    assert_eq!(vectors(&bench), 2, "that of the run in between is gone");
    bench.maintain(day(500)).await;
    assert_eq!((rows_at(&bench, 3).await, vectors(&bench)), (last, 1));
}

/// One step in the life of a table.
#[derive(Debug, Clone)]
enum Step {
    Land(Vec<(i64, u8)>, bool),
    Cut { days_old: i64, sent: bool },
    Compact,
    Maintain,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        6 => (proptest::collection::vec((0_i64..12, 0_u8..4), 1..6), any::<bool>()).prop_map(|(rows, whole)| Step::Land(rows, whole)),
        3 => (0_i64..12, proptest::bool::weighted(0.2)).prop_map(|(days_old, sent)| Step::Cut { days_old, sent }),
        1 => Just(Step::Compact),
        1 => Just(Step::Maintain),
    ];
    proptest::collection::vec(step, 10..70)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 12, ..ProptestConfig::default() })]
    #[test]
    fn kept_versions_read_the_same_and_nothing_else_is_left(steps in steps()) {
        let runtime = tokio::runtime::Runtime::new().unwrap();
        runtime.block_on(live(steps));
    }
}

async fn live(steps: Vec<Step>) {
    let mut bench = Bench::new().await;
    let mut pull = 0;
    // Run → whether it stays for long, its age, the table's version and its rows.
    let mut cuts: BTreeMap<RunId, (bool, i64, u64, Vec<String>)> = BTreeMap::new();
    for step in steps.into_iter().chain([Step::Maintain]) {
        let exists = bench.store.latest(&name(TABLE)).await.unwrap().is_some();
        match step {
            Step::Land(rows, is_whole) => {
                pull += 1;
                let rows: BTreeMap<i64, String> = rows.into_iter().map(|(id, n)| (id, format!("t{n}"))).collect();
                let rows: Vec<(i64, &str)> = rows.iter().map(|(id, text)| (*id, text.as_str())).collect();
                let options = if is_whole { Options { allow_mass_delete: true, ..whole() } } else { changed(&pull.to_string()) };
                bench.land(pull, orders(&rows), options).await.unwrap();
            }
            Step::Cut { days_old, sent } if exists => {
                let run = bench.cut_at(day(-days_old)).await;
                if sent {
                    bench.sent(run, day(-days_old));
                }
                let table = bench.table(TABLE).await;
                cuts.insert(run, (sent, days_old, table.version, rows_of(&bench.store, &table).await));
            }
            Step::Compact if exists => drop(bench.store.compact(&name(TABLE), AFTER_RUN, false).await.unwrap()),
            Step::Maintain if exists => {
                let rows = bench.rows(TABLE).await;
                bench.maintain(day(2)).await;
                if pull % 2 == 0 {
                    bench.restart().await;
                }
                assert_eq!(bench.rows(TABLE).await, rows);
                let newest = cuts.keys().max().copied();
                cuts.retain(|run, (sent, days_old, ..)| *sent || *days_old + 2 < 7 || Some(*run) == newest);
                let mut needed: BTreeSet<String> = bench.table(TABLE).await.files.into_iter().map(|file| file.path).collect();
                for (run, (_, _, version, rows)) in &cuts {
                    assert_eq!(bench.store.cut_of(*run).await.unwrap().tables[&name(TABLE)], *version);
                    let version = bench.store.at(&name(TABLE), *version).await.unwrap();
                    assert_eq!(rows_of(&bench.store, &version).await, *rows, "run {run}");
                    needed.extend(version.files.into_iter().map(|file| file.path));
                }
                let found: BTreeSet<String> = bench.files(FOLDER).iter().map(|file| format!("{FOLDER}/{file}")).collect();
                let extra: Vec<&String> = found.difference(&needed).collect();
                // Changes since the latest cut are kept, too.
                let since = newest.map_or(0, |run| cuts[&run].2);
                let recent = bench.table(TABLE).await.version - since;
                assert!(extra.len() as u64 <= recent, "{extra:?} since {since}");
            }
            _ => {}
        }
    }
}

/// Other engines see the head and a kept version below a gap in the log.
#[tokio::test(flavor = "multi_thread")]
async fn other_engines_read_a_trimmed_log() {
    const SCRIPT: &str = r#"
import glob, json, os, sys
path, version = sys.argv[1], int(sys.argv[2])
from deltalake import DeltaTable
import duckdb, duckdb_extension_delta, polars, pyarrow
db = duckdb.connect()
db.execute("load '%s'" % glob.glob(os.path.dirname(duckdb_extension_delta.__file__) + "/extensions/*/delta.duckdb_extension")[0])
found = {}
for name, at in (("head", None), ("old", version)):
    found["deltalake " + name] = pyarrow.table(DeltaTable(path, version=at).to_pyarrow_table()).column("what").to_pylist()
    found["polars " + name] = polars.read_delta(path, version=at)["what"].to_list()
found["duckdb head"] = [row[0] for row in db.execute(f"select what from delta_scan('{path}')").fetchall()]
found["duckdb old"] = [row[0] for row in db.execute(f"select what from delta_scan('{path}', version={version})").fetchall()]
print(json.dumps(found))
"#;
    let Ok(python) = std::env::var("LOOPLINE_TEST_PYTHON") else {
        assert!(std::env::var("CI").is_err(), "LOOPLINE_TEST_PYTHON is not set: run the tests with `bash tests/run`");
        println!("skipped: LOOPLINE_TEST_PYTHON is not set");
        return;
    };
    let bench = Bench::new().await;
    for pull in 1..=130 {
        bench.land(pull, orders(&[(1, &format!("v{pull}"))]), whole()).await.unwrap();
        let run = bench.cut_at(day(pull - 130)).await;
        if pull == 33 {
            bench.sent(run, day(-90));
        }
    }
    bench.maintain(day(2)).await;
    assert!(!bench.files(LOG).iter().any(|file| file.starts_with("00000000000000000050")), "there is a gap");
    let path = bench.folder.path().join("store").join(FOLDER);
    let output = std::process::Command::new(python).arg("-c").arg(SCRIPT).arg(&path).arg("32").output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let found: BTreeMap<String, Vec<String>> = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(found.len(), 6);
    for (engine, rows) in found {
        assert_eq!(rows, [if engine.ends_with("head") { "v130" } else { "v33" }], "{engine}");
    }
}

/// Pulls at regular times, each with a few changed rows and a cut; maintenance after each run and once a day.
async fn pulls_go_on(commits: i64, pulls_a_day: i64, report_every: i64) {
    const ROWS: i64 = 2_000;
    let mut bench = Bench::new().await;
    let rows: Vec<(i64, String)> = (0..ROWS).map(|id| (id, "start".into())).collect();
    let batch = |rows: &[(i64, String)]| orders(&rows.iter().map(|(id, text)| (*id, text.as_str())).collect::<Vec<_>>());
    bench.land(1, batch(&rows), changed("0")).await.unwrap();
    let mut expected: BTreeMap<i64, (String, i64)> = rows.into_iter().map(|(id, text)| (id, (text, 1))).collect();
    let (start, begun) = (time::now(), Stopwatch::now());
    for pull in 2..=commits {
        let some: Vec<(i64, String)> =
            (0..3).map(|n| ((pull * 7_919 + n * 311) % (ROWS + pull / 10), format!("v{pull}"))).collect();
        bench.land(pull, batch(&some), changed(&pull.to_string())).await.unwrap();
        expected.extend(some.into_iter().map(|(id, text)| (id, (text, pull))));
        let now = start + TimeDelta::minutes(1_440 / pulls_a_day * pull);
        let run = bench.cut_at(now).await;
        if pull % (pulls_a_day * 30) == 500 {
            bench.sent(run, now);
        }
        bench.store.compact(&name(TABLE), AFTER_RUN, false).await.unwrap();
        bench.store.compact(&name("system.cuts"), AFTER_RUN, false).await.unwrap();
        if pull % pulls_a_day == 0 {
            // Files are as old as the test: a day later they are old enough.
            bench.maintain(now + TimeDelta::days(1)).await;
        }
        if pull % report_every == 0 || pull == commits {
            bench.restart().await;
            let watch = Stopwatch::now();
            let table = bench.table(TABLE).await;
            let opened = watch.elapsed();
            let bytes: u64 = bench
                .files(FOLDER)
                .iter()
                .map(|f| bench.folder.path().join("store").join(FOLDER).join(f).metadata().unwrap().len())
                .sum();
            println!(
                "{pull} pulls, {:.0?}: opened in {opened:?}; {} files of the table, {} in its folder ({bytes} bytes), {} in its log; cuts: {} files, {} in the log; control state {} bytes",
                begun.elapsed(),
                table.files.len(),
                bench.files(FOLDER).len(),
                bench.files(LOG).len(),
                bench.files("system/cuts").len(),
                bench.files("system/cuts/_delta_log").len(),
                bench.folder.path().join("control.sqlite").metadata().unwrap().len(),
            );
            assert!(opened < Duration::from_millis(500), "{opened:?}"); // unoptimised, beside other tests
            // A week, and the days until the next maintenance.
            assert!((bench.files(LOG).len() as i64) < 9 * pulls_a_day * 23 / 20 + 40, "{}", bench.files(LOG).len());
            assert!(table.files.len() <= 20 && bench.table("system.cuts").await.files.len() <= 20);
            assert!(
                (bench.files("system/cuts").len() as i64) < 3 * pulls_a_day
                    && (bench.files(FOLDER).len() as i64) < 9 * pulls_a_day
            );
        }
    }
    let mut rows: Vec<String> = expected.iter().map(|(id, (text, pull))| format!("{id}|{text}|{pull}")).collect();
    rows.sort();
    assert_eq!(bench.rows(TABLE).await, rows);
}

#[tokio::test(flavor = "multi_thread")]
async fn weeks_of_pulls_leave_a_table_healthy() {
    pulls_go_on(2_000, 48, 500).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "a measurement: a year of pulls every five minutes, about an hour"]
async fn a_year_of_pulls_leaves_a_table_healthy() {
    pulls_go_on(105_120, 288, 8_640).await;
}
