//! Maintenance through the real binary: nothing looks changed after it, and a kill in the middle of it loses nothing.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use rusqlite::Connection;
use serde_json::Value;

use super::harness::{Mini, differences};
use super::kill::failpoints;

const DAY: Duration = Duration::from_secs(86_400);

/// Lets everything that is in the store now be `days` older.
fn age(plant: &Mini, days: u32) {
    fn files(folder: &Path, into: &mut Vec<PathBuf>) {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() { files(&path, into) } else { into.push(path) }
        }
    }
    let mut all = Vec::new();
    files(&plant.root().join("store"), &mut all);
    for path in all.iter().filter(|path| path.extension().is_some_and(|end| end == "json" || end == "parquet")) {
        let file = std::fs::File::options().write(true).open(path).unwrap();
        file.set_modified(SystemTime::now() - days * DAY).unwrap();
    }
    control(plant, &format!("update runs set started_at = started_at - {}", i64::from(days) * 86_400_000_000));
}

fn control(plant: &Mini, sql: &str) {
    Connection::open(plant.root().join("store/control.sqlite")).unwrap().execute_batch(sql).unwrap();
}

/// A plant in which rows came and went on several days without anything to be decided.
fn with_history() -> Mini {
    let plant = Mini::new();
    plant.settle("loop");
    for day in 1..=4 {
        plant.sql("erp", &format!("insert into order_line (order_no, line_no, item_id, quantity, requested, status) values ('T{day}', 1, 'BOLT', {day}, '2026-03-10', 'CLOSED')"));
        plant.json(&["run", "loop"]);
        plant.sql("erp", &format!("delete from order_line where order_no = 'T{day}'"));
        plant.json(&["run", "loop"]);
    }
    plant.settle("loop");
    plant
}

fn built(report: &Value) -> Vec<String> {
    let models = report["models"].as_array().unwrap().iter();
    models.filter(|model| model["outcome"] != "skipped").map(|model| format!("{} {}", model["table"], model["reason"])).collect()
}

fn files_of(plant: &Mini) -> BTreeSet<String> {
    fn walk(root: &Path, folder: &Path, into: &mut BTreeSet<String>) {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            match path.is_dir() {
                true => walk(root, &path, into),
                false => drop(into.insert(path.strip_prefix(root).unwrap().display().to_string())),
            }
        }
    }
    let (mut files, store) = (BTreeSet::new(), plant.root().join("store"));
    walk(&store, &store, &mut files);
    files.retain(|file| !file.starts_with("control."));
    files
}

#[test]
fn after_maintenance_every_row_is_there_and_nothing_is_built_anew() {
    let plant = with_history();
    let untouched = plant.copy();
    age(&plant, 30);
    plant.settle("loop");
    let (before, files) = (plant.cut(), files_of(&plant));

    let look = plant.json(&["maintain", "--dry-run"]);
    assert_eq!(files, files_of(&plant), "a look changes nothing");
    let done = plant.json(&["maintain"]);
    assert_eq!((&done["complete"], &done["dry_run"]), (&Value::Bool(true), &Value::Bool(false)));
    assert!(done["cuts_given_up"].as_u64().unwrap() > 0 && done["cuts_given_up"] == look["cuts_given_up"], "{look:#}");
    let sum = |report: &Value, part: &str, field: &str| {
        report["tables"].as_array().unwrap().iter().map(|table| table[part][field].as_u64().unwrap()).sum::<u64>()
    };
    assert!(sum(&done, "trimmed", "data_files") > 10, "{done:#}");
    assert!(sum(&done, "compacted", "files_out") > 2, "images of rows that went away are joined: {done:#}");
    assert_eq!(sum(&look, "trimmed", "data_files"), sum(&done, "trimmed", "data_files"));
    assert!(files_of(&plant).len() < files.len());

    assert_eq!(differences(&before, &plant.cut()), "", "the same rows are served");
    let report = plant.json(&["run", "loop"]);
    assert_eq!(built(&report), [""; 0], "nothing looks changed");
    assert_eq!(differences(&before, &plant.cut()), "");
    plant.happen("next_day");
    untouched.happen("next_day");
    plant.settle("loop");
    untouched.settle("loop");
    assert_eq!(differences(&untouched.cut(), &plant.cut()), "", "it goes on as if there had been no maintenance");
    assert_eq!(differences(&untouched.targets(), &plant.targets()), "");
}

#[test]
fn a_run_that_is_no_longer_kept_says_so() {
    let plant = with_history();
    age(&plant, 30);
    let last = plant.json(&["run", "loop"])["run"].as_i64().unwrap();
    plant.json(&["maintain"]);
    let ask = |run: i64| {
        plant.loopline(&["sql", "--as-of", &run.to_string(), "--json", "select count(*) as n from scm.net_requirements"])
    };
    assert_eq!(ask(last).code, Some(0));
    let sent = plant.json(&["write", "plan", "--state", "confirmed"])[0]["run"].as_i64().unwrap();
    assert_eq!(ask(sent).code, Some(0), "the run behind a sent change: {:?}", ask(sent));
    let gone = ask(last - 3);
    assert_eq!(gone.code, Some(1), "{gone:?}");
    assert!(
        gone.stderr
            .starts_with(&format!("error: run {} was published, but its versions are no longer kept\nhint: how long", last - 3)),
        "{gone:?}"
    );
    let never = ask(9_999);
    assert!(never.code == Some(1) && never.stderr.starts_with("error: run 9999 published nothing\n"), "{never:?}");
    let unknown = plant.loopline(&["maintain", "raw.erp__itm"]);
    assert_eq!((unknown.code, unknown.stdout.as_str()), (Some(1), ""));
    assert!(unknown.stderr.contains("there is no table \"raw.erp__itm\"\nhint: did you mean raw.erp__item?"), "{unknown:?}");
}

#[test]
fn a_pass_happens_by_itself_once_a_day() {
    let plant = with_history();
    age(&plant, 30);
    let files = files_of(&plant);
    plant.json(&["run", "loop"]);
    assert!(files_of(&plant).is_superset(&files), "not yet due");
    control(
        &plant,
        "update meta set value = json_set(value, '$.started_at', '2026-01-01T00:00:00Z') where name = 'note maintenance'",
    );
    plant.json(&["run", "loop"]);
    let left = files_of(&plant);
    assert!(files.difference(&left).count() > 10, "what is old is gone");
    let status = plant.loopline(&["status"]);
    assert!(status.stdout.contains("Tables were maintained "), "{status:?}");
    plant.json(&["run", "loop"]);
    assert!(files_of(&plant).is_superset(&left), "once a day");
}

#[test]
fn killed_at_any_step_of_maintenance_nothing_is_lost() {
    let prepared = with_history();
    age(&prepared, 30);
    prepared.json(&["run", "loop"]);
    let before = prepared.cut();
    let names: Vec<String> = failpoints().into_iter().filter(|name| name.starts_with("maintain.")).collect();
    assert!(names.len() >= 6, "{names:?}");
    for name in names.iter().map(String::as_str).chain(["maintain.delete.before:3", "maintain.delete.after:2"]) {
        let plant = prepared.copy();
        for path in files_of(&plant).iter().filter(|path| prepared_is_old(&prepared, path)) {
            let file = std::fs::File::options().write(true).open(plant.root().join("store").join(path)).unwrap();
            file.set_modified(SystemTime::now() - 30 * DAY).unwrap();
        }
        drop(plant.stand_at(name, &["maintain"]));
        assert_eq!(differences(&before, &plant.cut()), "", "{name}: what is served after the kill");
        plant.json(&["maintain"]);
        assert_eq!(differences(&before, &plant.cut()), "", "{name}");
        let report = plant.json(&["run", "loop"]);
        assert_eq!(built(&report), [""; 0], "{name}");
        assert_eq!(differences(&before, &plant.cut()), "", "{name}: after a run");
    }
}

fn prepared_is_old(prepared: &Mini, path: &str) -> bool {
    let modified = prepared.root().join("store").join(path).metadata().unwrap().modified().unwrap();
    modified < SystemTime::now() - DAY
}
