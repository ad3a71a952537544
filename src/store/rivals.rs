//! Two hubs on one store, each with a control state and a lease of its own, as on two machines that share a bucket: the log alone keeps tables right.

use std::cell::Cell;
use std::collections::BTreeMap;

use arrow::array::RecordBatch;

use super::testing::*;
use super::{AFTER_RUN, Bounds, Lease, Store, StoreError};

const EAGER: Bounds = Bounds { small_files_max: 0, ..AFTER_RUN };

async fn rival(bench: &Bench, control: &str) -> (Store, Lease) {
    let store = Bench::open(&bench.folder, control).await.unwrap();
    let lease = store.control.lease().unwrap();
    (store, lease)
}

/// Lands until the landing is in; returns how often it was told that another hub was faster.
async fn land_in_the_end(store: &Store, batch: RecordBatch) -> usize {
    for conflicts in 0..1_000 {
        let pull = store.next_pull(&name(TABLE)).await.unwrap();
        match store.land(landing(pull, vec![batch.clone()], changed("x"))).await {
            // A landing that found its number taken did nothing, and says so.
            Ok(landed) if landed.rows_read == 0 => {}
            Ok(_) => return conflicts,
            Err(StoreError::Conflict { .. }) => {}
            Err(error) => panic!("{error}: {:?}", std::error::Error::source(&error).map(ToString::to_string)),
        }
    }
    panic!("it never got through");
}

async fn pulls(store: &Store, who: &str, rounds: i64) -> usize {
    let mut conflicts = 0;
    for round in 0..rounds {
        // Keys of its own, and one that both write.
        let own = if who == "a" { 100 + round } else { 200 + round };
        conflicts += land_in_the_end(store, orders(&[(own, &format!("{who}{round}")), (1, who)])).await;
    }
    conflicts
}

#[tokio::test(flavor = "multi_thread")]
async fn two_that_pull_lose_and_double_nothing() {
    const ROUNDS: i64 = 25;
    let bench = Bench::new().await;
    bench.land(1, orders(&[(1, "first")]), whole()).await.unwrap();
    let ((a, _held), (b, _also)) = (rival(&bench, "a.sqlite").await, rival(&bench, "b.sqlite").await);
    let (a, b) = tokio::join!(pulls(&a, "a", ROUNDS), pulls(&b, "b", ROUNDS));
    let conflicts = a + b;
    assert!(conflicts > 0, "they never met: this tests nothing");
    let mut keys: BTreeMap<String, String> = BTreeMap::new();
    for row in bench.rows(TABLE).await {
        let (key, rest) = row.split_once('|').unwrap();
        assert_eq!(keys.insert(key.into(), rest.split('|').next().unwrap().into()), None, "key {key} is there twice");
    }
    assert_eq!(keys.len() as i64, 2 * ROUNDS + 1);
    for round in 0..ROUNDS {
        assert_eq!(keys[&(100 + round).to_string()], format!("a{round}"));
        assert_eq!(keys[&(200 + round).to_string()], format!("b{round}"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_compaction_never_goes_over_a_pull() {
    const PULLS: i64 = 60;
    let bench = Bench::new().await;
    bench.land(1, orders(&[(1, "first")]), whole()).await.unwrap();
    let ((a, _held), (b, _also)) = (rival(&bench, "a.sqlite").await, rival(&bench, "b.sqlite").await);
    let (is_over, turns) = (Cell::new(false), Cell::new(0));
    let pulling = async {
        let mut conflicts = 0;
        for pull in 2..=PULLS {
            // However fast pulls are, now and then a compaction comes to its end between two of them.
            let undisturbed = turns.get() + if pull % 20 == 0 { 2 } else { 0 };
            while turns.get() < undisturbed {
                tokio::task::yield_now().await;
            }
            // A file more, and one row of another file changed.
            while matches!(append(&a, pull * 2, &[(pull, "new")]).await, Err(StoreError::Conflict { .. })) {
                conflicts += 1;
            }
            while let Err(error) = a.land(landing(pull * 2 + 1, vec![orders(&[(pull - 1, "changed")])], changed("x"))).await {
                assert!(matches!(error, StoreError::Conflict { .. }), "{error}");
                conflicts += 1;
            }
        }
        is_over.set(true);
        conflicts
    };
    let compacting = async {
        let (mut done, mut overtaken) = (0, 0);
        while !is_over.get() {
            match b.compact(&name(TABLE), EAGER, false).await.unwrap().unwrap() {
                compacted if compacted.overtaken => overtaken += 1,
                compacted if compacted.files_in > 0 => done += 1,
                _ => {}
            }
            turns.set(turns.get() + 1);
        }
        (done, overtaken)
    };
    let (conflicts, (done, overtaken)) = tokio::join!(pulling, compacting);
    assert!(
        done > 0 && overtaken + conflicts > 0,
        "{done} compactions, {overtaken} overtaken by a pull, {conflicts} pulls by one"
    );
    let keys: Vec<String> = bench.rows(TABLE).await.iter().map(|row| row.rsplit_once('|').unwrap().0.to_owned()).collect();
    let mut expected: Vec<String> = (1..PULLS).map(|id| format!("{id}|changed")).collect();
    expected.push(format!("{PULLS}|new"));
    expected.sort();
    assert_eq!(keys, expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn two_that_make_a_table_make_one() {
    let bench = Bench::new().await;
    let ((a, _held), (b, _also)) = (rival(&bench, "a.sqlite").await, rival(&bench, "b.sqlite").await);
    tokio::join!(land_in_the_end(&a, orders(&[(1, "x")])), land_in_the_end(&b, orders(&[(2, "x")])));
    let keys: Vec<String> = bench.rows(TABLE).await.iter().map(|row| row.split('|').next().unwrap().into()).collect();
    assert_eq!(keys, ["1", "2"]);
}
