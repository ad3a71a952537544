//! Random landings in all scopes against a map that does the same one row at a time.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use arrow::array::{ArrayRef, Float64Array, Int64Array, RecordBatch, StringArray, TimestampMicrosecondArray};
use futures::{StreamExt, TryStreamExt};
use proptest::prelude::*;

use super::evolve::PULL;
use super::hash::RowHasher;
use super::limits::Limits;
use super::merge::Content;
use super::testing::*;
use super::{Batches, Landed, Landing, LandingScope, cut};

/// Rows of a source: what each key says; a key's file is `f<key % 4>`.
type Source = BTreeMap<i64, u8>;

/// What a source does between two pulls, and how it is pulled.
#[derive(Debug, Clone)]
struct Step {
    set: Vec<(i64, u8)>,
    remove: Vec<i64>,
    scope: usize,
    /// Removed keys are reported.
    sweeps: bool,
    files: Vec<u8>,
    parts: usize,
    batch: usize,
    /// Adds a row of a key that comes again: the same one, or an older one where the last wins.
    doubled: bool,
    last_wins: bool,
    restarts: bool,
    rows_bytes: usize,
    join_bytes: usize,
    probe_rows: usize,
    small_file_bytes: u64,
}

fn step() -> impl Strategy<Value = Step> {
    let rows = (prop::collection::vec((0_i64..60, 0_u8..3), 0..25), prop::collection::vec(0_i64..60, 0..6));
    let how = (0_usize..4, any::<bool>(), prop::collection::vec(0_u8..4, 0..3), 1_usize..4, 1_usize..9);
    let flags = (any::<bool>(), any::<bool>(), prop::bool::weighted(0.2));
    let limits = (
        prop::sample::select(vec![0, 3_000, 48 << 20]),
        prop::sample::select(vec![0, 400, 48 << 20]),
        prop::sample::select(vec![0, 1 << 20]),
        prop::sample::select(vec![0, 1 << 20]),
    );
    (rows, how, flags, limits).prop_map(
        |((set, remove), (scope, sweeps, files, parts, batch), (doubled, last_wins, restarts), limits)| Step {
            set,
            remove,
            scope,
            sweeps,
            files,
            parts,
            batch,
            doubled,
            last_wins,
            restarts,
            rows_bytes: limits.0,
            join_bytes: limits.1,
            probe_rows: limits.2,
            small_file_bytes: limits.3,
        },
    )
}

fn file_of(key: i64) -> String {
    format!("f{}", key % 4)
}

fn batch(rows: &[(i64, u8)]) -> RecordBatch {
    let ids: ArrayRef = Arc::new(Int64Array::from_iter_values(rows.iter().map(|row| row.0)));
    let what: ArrayRef = Arc::new(rows.iter().map(|row| (row.1 > 0).then(|| row.1.to_string())).collect::<StringArray>());
    let files: ArrayRef = Arc::new(StringArray::from_iter_values(rows.iter().map(|row| file_of(row.0))));
    RecordBatch::try_from_iter_with_nullable([("id", ids, true), ("what", what, true), ("_file", files, true)]).unwrap()
}

fn line(key: i64, what: u8) -> String {
    let what = if what > 0 { what.to_string() } else { String::new() };
    format!("{key}|{what}|{}", file_of(key))
}

/// The table as it must be: value and pull by key; and images of deleted rows.
#[derive(Default)]
struct Model {
    live: BTreeMap<i64, (u8, i64)>,
    deleted: BTreeSet<String>,
}

impl Model {
    fn land(&mut self, pull: i64, scope: &LandingScope, read: &Source, gone: &[i64]) -> Landed {
        let mut landed = Landed::default();
        let is_gone = |key: &i64| match scope {
            LandingScope::Whole => !read.contains_key(key),
            LandingScope::Files(files) => files.contains(&file_of(*key)) && !read.contains_key(key),
            LandingScope::Changes | LandingScope::Append => false,
        };
        let lost: Vec<i64> =
            self.live.keys().copied().filter(|key| is_gone(key) || gone.contains(key) && !read.contains_key(key)).collect();
        for key in lost {
            let (what, was) = self.live.remove(&key).unwrap();
            let at = instant(pull).format("%Y-%m-%dT%H:%M:%SZ");
            self.deleted.insert(format!("{}|{was}|{at}", line(key, what)));
            landed.deleted += 1;
        }
        for (key, what) in read {
            match self.live.get(key) {
                None => landed.inserted += 1,
                Some(_) if *scope == LandingScope::Append => continue,
                Some((old, _)) if old == what => continue,
                Some(_) => landed.updated += 1,
            }
            self.live.insert(*key, (*what, pull));
        }
        landed
    }
}

async fn run(steps: Vec<Step>, deletion_vectors: bool) {
    let mut bench = Bench::new().await;
    let mut source = Source::new();
    let mut model = Model::default();
    let mut replay = Replay::default();
    for (number, step) in steps.into_iter().enumerate() {
        let pull = number as i64 + 1;
        source.retain(|key, _| !step.remove.contains(key));
        source.extend(step.set.iter().copied());
        let files: Vec<String> = step.files.iter().map(|file| format!("f{file}")).collect();
        let scope = [LandingScope::Whole, LandingScope::Changes, LandingScope::Append, LandingScope::Files(files.clone())]
            [step.scope]
            .clone();
        let is_read = |key: &i64| match &scope {
            LandingScope::Whole => true,
            LandingScope::Changes | LandingScope::Append => step.set.iter().any(|(set, _)| set == key),
            LandingScope::Files(files) => files.contains(&file_of(*key)),
        };
        let read: Source = source.iter().filter(|(key, _)| is_read(key)).map(|(key, what)| (*key, *what)).collect();
        let gone: Vec<i64> = if step.sweeps { step.remove.clone() } else { Vec::new() };
        let expected = model.land(pull, &scope, &read, &gone);

        let last_wins = step.last_wins && step.parts == 1;
        let mut rows: Vec<(i64, u8)> = read.into_iter().rev().collect();
        if let Some((key, what)) = rows.last().copied().filter(|_| step.doubled) {
            rows.insert(0, (key, if last_wins { what + 1 } else { what }));
        }
        let count = rows.len() as u64;
        let each = rows.len().div_ceil(step.parts).max(1);
        let part = |rows: &[(i64, u8)]| stream(rows.chunks(step.batch).map(batch).chain([batch(&[])]).collect());
        let parts = rows.chunks(each).map(part).collect();
        let keys = Int64Array::from(gone.clone());
        bench.store.limits = Limits {
            rows_bytes: step.rows_bytes,
            join_bytes: step.join_bytes,
            probe_rows: step.probe_rows,
            small_file_bytes: step.small_file_bytes,
        };
        let landing = Landing {
            scope,
            allow_mass_delete: true,
            is_unique: !step.doubled,
            last_wins,
            deletion_vectors,
            gone: if gone.is_empty() {
                Vec::new()
            } else {
                vec![RecordBatch::try_from_iter([("id", Arc::new(keys) as ArrayRef)]).unwrap()]
            },
            cursor: Box::new(move || Some(pull.to_string())),
            ..Landing::new(name(TABLE), pull, vec!["id".into()], instant(pull), batch(&[]).schema(), parts)
        };
        let landed = bench.store.land(landing).await.unwrap();
        bench.check_memory().await;
        assert_eq!(landed, Landed { version: landed.version, rows_read: count, ..expected }, "pull {pull}");
        if step.restarts {
            bench.restart().await;
        }
        check(&bench, &model, pull).await;
        replay.follow(&bench).await;
    }
}

/// The table as the change feed tells it: how often each row is there.
#[derive(Default)]
struct Replay {
    version: Option<u64>,
    rows: BTreeMap<String, i64>,
}

impl Replay {
    async fn follow(&mut self, bench: &Bench) {
        let table = bench.table(TABLE).await;
        let mut count = |row: &str, by: i64| *self.rows.entry(row.to_owned()).or_default() += by;
        match self.version {
            None => {
                let first = bench.store.at(&name(TABLE), 0).await.unwrap();
                rows_of(&bench.store, &first).await.iter().for_each(|row| count(row, 1));
            }
            Some(version) => {
                let changes = bench.store.changes(&name(TABLE), version, table.version).await.unwrap();
                let batches: Vec<RecordBatch> = changes.try_collect().await.unwrap();
                for line in batches.iter().flat_map(lines) {
                    let mut parts = line.rsplitn(3, '|').skip(1);
                    let (change, row) = (parts.next().unwrap(), parts.next().unwrap());
                    count(row, if ["insert", "update_postimage"].contains(&change) { 1 } else { -1 });
                }
            }
        }
        self.version = Some(table.version);
        self.rows.retain(|_, count| *count != 0);
        assert!(self.rows.values().all(|count| *count == 1), "{:?}", self.rows);
        let rows: BTreeSet<String> = bench.rows(TABLE).await.into_iter().collect();
        assert_eq!(self.rows.keys().cloned().collect::<BTreeSet<_>>(), rows, "version {}", table.version);
    }
}

async fn check(bench: &Bench, model: &Model, pull: i64) {
    let mut expected: Vec<String> = model.live.iter().map(|(key, (what, at))| format!("{}|{at}", line(*key, *what))).collect();
    expected.sort();
    assert_eq!(bench.rows(TABLE).await, expected, "after pull {pull}");
    if !model.deleted.is_empty() {
        let deleted: Vec<String> = model.deleted.iter().cloned().collect();
        assert_eq!(bench.rows("raw.erp__orders__deleted").await, deleted, "after pull {pull}");
    }
    let table = bench.table(TABLE).await;
    let batches: Vec<RecordBatch> = bench.store.read(&table).try_collect().await.unwrap();
    let names: Vec<String> = table.schema.fields().iter().map(|field| field.name().clone()).filter(|name| name != PULL).collect();
    let hasher = RowHasher::new(names.iter().map(String::as_str));
    let mut content = Content::default();
    batches.iter().for_each(|batch| content.add(&hasher.hash(TABLE, batch).unwrap()));
    assert_eq!(table.properties.get(cut::CONTENT), Some(&content.text()), "after pull {pull}");
    let mut files: HashMap<&str, u32> = HashMap::new();
    table.files.iter().for_each(|file| *files.entry(&file.path).or_default() += 1);
    assert!(files.values().all(|count| *count == 1), "no file twice");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, failure_persistence: None, ..ProptestConfig::default() })]
    #[test]
    fn a_table_is_what_its_source_was(steps in prop::collection::vec(step(), 1..12), deletion_vectors in any::<bool>()) {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        runtime.block_on(run(steps, deletion_vectors));
    }
}

/// Rows of `id bigint, price double, quantity bigint, note text, at timestamp` for these ids, made as they are asked for.
fn made(ids: impl Iterator<Item = i64> + Send + 'static, version: i64) -> Batches {
    let ids: Box<dyn Iterator<Item = i64> + Send> = Box::new(ids);
    futures::stream::unfold(ids, move |mut ids| async move {
        let chunk: Vec<i64> = ids.by_ref().take(8_192).collect();
        if chunk.is_empty() {
            return None;
        }
        let columns: Vec<(&str, ArrayRef, bool)> = vec![
            ("id", Arc::new(Int64Array::from(chunk.clone())), true),
            (
                "price",
                Arc::new(Float64Array::from_iter_values(chunk.iter().map(|id| (id * 7_919 % 100_003) as f64 / 100.0))),
                true,
            ),
            ("quantity", Arc::new(Int64Array::from_iter_values(chunk.iter().map(|id| id * 31 % 1_000 + version))), true),
            (
                "note",
                Arc::new(StringArray::from_iter_values(chunk.iter().map(|id| format!("note {} of {id}", id * 13 % 977)))),
                true,
            ),
            (
                "at",
                Arc::new(TimestampMicrosecondArray::from_iter_values(chunk.iter().map(|id| id * 1_000_003)).with_timezone("UTC")),
                true,
            ),
        ];
        Some((RecordBatch::try_from_iter_with_nullable(columns).map_err(Into::into), ids))
    })
    .boxed()
}

/// How long landings take and how much memory the process ever held; prints, asserts nothing about time. `LOOPLINE_ROWS`: rows of the table.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "a measurement"]
async fn measure() {
    let rows: i64 = std::env::var("LOOPLINE_ROWS").map_or(20_000_000, |rows| rows.parse().unwrap());
    let bench = Bench::new().await;
    let schema = made(0..1, 0).next().await.unwrap().unwrap().schema();
    let random = |count: i64, seed: i64| -> Vec<i64> {
        let key = |n: i64| ((n + seed * 1_000_003) as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 20;
        let keys: BTreeSet<i64> = (0..count).map(|n| (key(n) % rows as u64) as i64).collect();
        keys.into_iter().collect()
    };
    let cases: Vec<(&str, LandingScope, bool, Vec<Batches>)> = vec![
        ("first", LandingScope::Whole, false, vec![made(0..rows / 2, 0), made(rows / 2..rows, 0)]),
        ("whole, equal", LandingScope::Whole, false, vec![made(0..rows / 2, 0), made(rows / 2..rows, 0)]),
        ("10,000 random", LandingScope::Changes, false, vec![made(random(10_000, 1).into_iter(), 1)]),
        ("the same again", LandingScope::Changes, false, vec![made(random(10_000, 1).into_iter(), 1)]),
        ("0.1 % clustered", LandingScope::Changes, false, vec![made(rows / 3..rows / 3 + rows / 1_000, 2)]),
        ("0.1 % random", LandingScope::Changes, false, vec![made(random(rows / 1_000, 5).into_iter(), 3)]),
        ("10,000 random by vectors", LandingScope::Changes, true, vec![made(random(10_000, 77).into_iter(), 4)]),
        ("whole, 0.2 % different", LandingScope::Whole, false, vec![made(0..rows / 2, 0), made(rows / 2..rows, 0)]),
    ];
    for (pull, (what, scope, deletion_vectors, parts)) in (1..).zip(cases) {
        let start = std::time::Instant::now();
        let landing = Landing {
            scope,
            deletion_vectors,
            is_unique: true,
            ..Landing::new(name(TABLE), pull, vec!["id".into()], instant(pull), schema.clone(), parts)
        };
        let landed = bench.store.land(landing).await.unwrap();
        let status = std::fs::read_to_string("/proc/self/status").unwrap();
        let peak = status.lines().find(|line| line.starts_with("VmHWM")).unwrap().to_owned();
        println!("{what}: {:?} {landed:?} {peak} files {}", start.elapsed(), bench.table(TABLE).await.files.len());
    }
    let start = std::time::Instant::now();
    let parts = vec![made(0..rows / 2, 0), made(rows / 2..rows, 0)];
    let compared = bench.store.compare(&name(TABLE), &["id".into()], schema, None, parts).await.unwrap();
    println!("compare: {:?} {} differ", start.elapsed(), compared.differing);
}
