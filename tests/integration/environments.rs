//! Environments: a changed model built beside production, looked at, promoted, dropped.

use std::collections::BTreeMap;
use std::path::Path;

use serde_json::Value;

use crate::harness::{Mini, Said, differences};

const MODEL: &str = "sql/scm/net_requirements.sql";
/// What lies in stock is asked for once more instead of being used.
const CHANGED: (&str, &str) = ("d.demand - coalesce(s.stock, 0) as short", "d.demand - coalesce(-s.stock, 0) as short");

fn edit(plant: &Mini, path: &str, from: &str, to: &str) {
    let path = plant.root().join(path);
    let text = std::fs::read_to_string(&path).unwrap();
    assert!(text.contains(from), "{from}");
    std::fs::write(path, text.replace(from, to)).unwrap();
}

/// A plant that is settled, and its changed model built in `dev`.
fn with_dev() -> (Mini, Value) {
    let plant = Mini::new();
    plant.settle("loop");
    edit(&plant, MODEL, CHANGED.0, CHANGED.1);
    let report = plant.json(&["build", "--env", "dev"]);
    (plant, report)
}

/// Table → (outcome, reason).
fn outcomes(report: &Value) -> BTreeMap<String, (String, String)> {
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let models = report["models"].as_array().unwrap();
    models.iter().map(|model| (text(&model["table"]), (text(&model["outcome"]), text(&model["reason"])))).collect()
}

fn tables_with<'a>(outcomes: &'a BTreeMap<String, (String, String)>, outcome: &str) -> Vec<&'a str> {
    outcomes.iter().filter(|(_, (found, _))| found == outcome).map(|(table, _)| table.as_str()).collect()
}

/// Every file of production's tables and its size.
fn files(root: &Path) -> Vec<(String, u64)> {
    let mut found = Vec::new();
    let mut open = vec![root.join("store")];
    while let Some(folder) = open.pop() {
        for entry in std::fs::read_dir(folder).unwrap().map(Result::unwrap) {
            let path = entry.path();
            if path.is_dir() && !path.ends_with("store/env") {
                open.push(path);
            } else if path.is_file() && !path.file_name().unwrap().to_str().unwrap().starts_with("control.") {
                found.push((path.display().to_string(), entry.metadata().unwrap().len()));
            }
        }
    }
    found.sort();
    found
}

fn ask(plant: &Mini, environment: &str, sql: &str) -> Vec<String> {
    let said = plant.loopline(&["sql", "--env", environment, "--json", sql]);
    assert_eq!(said.code, Some(0), "{sql}: {said:?}");
    said.stdout.lines().map(str::to_owned).collect()
}

const SHORT: &str = "select item_id, cast(short as text) as short from scm.net_requirements order by item_id";

#[test]
fn only_what_differs_is_built_and_production_is_not_touched() {
    let plant = Mini::new();
    plant.settle("loop");
    let (before, on_disk) = (plant.cut(), files(plant.root()));
    edit(&plant, MODEL, CHANGED.0, CHANGED.1);
    let report = plant.json(&["build", "--env", "dev"]);
    let found = outcomes(&report);
    assert_eq!(found["scm.net_requirements"], ("built".into(), "statement changed".into()), "{report:#}");
    assert_eq!(found["wms.stock"], ("skipped".into(), "as in production".into()));
    assert_eq!(found["outbox.stock_status"], ("skipped".into(), "as in production".into()));
    assert!(found["write.erp__purchase_requests"].1.contains("input"), "{found:?}");
    assert_eq!(differences(&before, &plant.cut()), "");
    assert_eq!(files(plant.root()), on_disk);

    // What it has itself and what it reads of production are one.
    assert_ne!(ask(&plant, "dev", SHORT), ask(&plant, "", SHORT));
    let joined = "select count(*) as n from scm.net_requirements as n join wms.stock as s on s.item_id = n.item_id join mapped.wms__stock as m on m.stock_id = s.source_id";
    assert_eq!(ask(&plant, "dev", joined), ask(&plant, "", joined));
    assert_eq!(
        ask(&plant, "dev", "select count(*) as n from system.changes"),
        ask(&plant, "", "select count(*) as n from system.changes")
    );

    // A second build finds nothing to do; taken back, nothing differs any more.
    let again = outcomes(&plant.json(&["build", "--env", "dev"]));
    assert_eq!(tables_with(&again, "built"), [""; 0], "{again:?}");
    assert_eq!(again["scm.net_requirements"].1, "nothing changed");
    edit(&plant, MODEL, CHANGED.1, CHANGED.0);
    let back = outcomes(&plant.json(&["build", "--env", "dev"]));
    assert_eq!(back["scm.net_requirements"].1, "as in production");
    let list = plant.json(&["env", "list"]);
    assert_eq!((&list[0]["name"], list[0]["tables"].as_array().unwrap().len()), (&"dev".into(), 0), "{list:#}");
    assert_eq!(ask(&plant, "dev", SHORT), ask(&plant, "", SHORT));
}

#[test]
fn the_difference_is_shown_and_promoted_by_copying() {
    let (plant, _) = with_dev();
    let list = plant.json(&["env", "list"]);
    assert_eq!((list[0]["behind"].as_u64(), list[0]["run"].as_i64()), (Some(0), Some(1)), "{list:#}");
    let diff = plant.json(&["env", "diff", "dev"]);
    let table = |name: &str| diff.as_array().unwrap().iter().find(|table| table["table"] == name).unwrap().clone();
    let net = table("scm.net_requirements");
    assert_eq!((&net["why"], net["rows"].as_u64()), (&"statement changed".into(), net["production_rows"].as_u64()), "{diff:#}");
    let changed = "select count(*) as n from scm.net_requirements where stock > 0";
    let changed = plant.ask(changed)[0]["n"].as_u64();
    assert!(changed > Some(0) && changed < net["rows"].as_u64());
    assert_eq!((net["difference"]["added"].as_u64(), net["difference"]["removed"].as_u64()), (changed, changed), "{diff:#}");
    assert!(net["difference"]["sample"].as_str().unwrap().contains("| - "), "{diff:#}");
    assert!(plant.loopline(&["env", "diff", "dev"]).stdout.contains("scm.net_requirements"));

    let tested = ask(&plant, "dev", SHORT);
    let targets = plant.targets();
    let promoted = plant.json(&["promote", "dev"]);
    let found = outcomes(&promoted);
    let copied = tables_with(&found, "copied");
    assert!(copied.contains(&"scm.net_requirements") && copied.contains(&"write.erp__purchase_requests"), "{promoted:#}");
    assert_eq!(tables_with(&found, "built"), [""; 0], "{promoted:#}");
    assert_eq!(ask(&plant, "", SHORT), tested);
    assert_eq!(differences(&targets, &plant.targets()), "", "a promotion writes to no system");

    // Production finds nothing to do, the environment nothing of its own.
    let build = outcomes(&plant.json(&["build"]));
    assert_eq!(tables_with(&build, "skipped").len(), build.len(), "{build:?}");
    let dev = outcomes(&plant.json(&["build", "--env", "dev"]));
    assert!(dev.values().all(|(_, reason)| reason == "as in production"), "{dev:?}");
    assert!(plant.loopline(&["promote", "dev"]).stdout.contains("has all of it already"));

    let dropped = plant.loopline(&["env", "drop", "dev"]);
    assert!(dropped.code == Some(0) && dropped.stderr.contains("freed"), "{dropped:?}");
    assert!(!plant.root().join("store/env/dev").exists());
    assert_eq!(plant.json(&["env", "list"]), serde_json::json!([]));
    assert_eq!(ask(&plant, "", SHORT), tested);
    plant.settle("loop");
}

#[test]
fn what_production_moved_on_from_is_built_from_its_rows() {
    let (plant, _) = with_dev();
    // Production runs the statements that it has.
    edit(&plant, MODEL, CHANGED.1, CHANGED.0);
    plant.happen("next_day");
    plant.settle("loop");
    edit(&plant, MODEL, CHANGED.0, CHANGED.1);
    let list = plant.json(&["env", "list"]);
    assert!(list[0]["behind"].as_u64() > Some(0), "{list:#}");

    let promoted = plant.json(&["promote", "dev"]);
    let found = outcomes(&promoted);
    assert_eq!(found["scm.net_requirements"].0, "built", "{promoted:#}");
    assert_eq!(tables_with(&found, "copied"), [""; 0], "{promoted:#}");
    let build = outcomes(&plant.json(&["build"]));
    assert_eq!(tables_with(&build, "built"), [""; 0], "it is what production would have built: {build:?}");
    let fresh = Mini::new();
    fresh.settle("loop");
    fresh.happen("next_day");
    fresh.settle("loop");
    edit(&fresh, MODEL, CHANGED.0, CHANGED.1);
    fresh.json(&["build"]);
    assert_eq!(ask(&plant, "", SHORT), ask(&fresh, "", SHORT));
}

#[test]
fn a_statement_that_was_never_run_there_is_not_promoted() {
    let (plant, _) = with_dev();
    let before = plant.cut();
    edit(&plant, MODEL, "coalesce(-s.stock, 0)", "coalesce(-s.stock, 1)");
    let refused = plant.loopline(&["promote", "dev"]);
    assert_eq!(refused.code, Some(1), "{refused:?}");
    assert!(refused.stderr.contains("another statement of scm.net_requirements") && refused.stderr.contains("build --env dev"));
    assert_eq!(differences(&before, &plant.cut()), "");
}

#[test]
fn a_failed_check_is_promoted_by_no_one() {
    let (plant, _) = with_dev();
    let before = plant.cut();
    edit(&plant, MODEL, "demand > 0", "demand > 1000");
    let refused = plant.loopline(&["promote", "dev"]);
    assert!(refused.code == Some(1) && refused.stdout.contains("demand > 1000"), "{refused:?}");
    assert_eq!(differences(&before, &plant.cut()), "");
}

#[test]
fn a_promotion_that_was_killed_is_finished_or_begun_anew() {
    let (prepared, _) = with_dev();
    let tested = ask(&prepared, "dev", SHORT);
    for (failpoint, is_published) in [
        ("promote.copy.after:2", false),
        ("publish.manifest.before", false),
        ("publish.manifest.after", true),
        ("publish.table.after:2", true),
        ("publish.cut.before", true),
        ("publish.cut.after", true),
        ("publish.forget.before", true),
    ] {
        let plant = prepared.copy();
        let before = plant.cut();
        drop(plant.stand_at(failpoint, &["promote", "dev"]));
        if failpoint != "publish.cut.after" && failpoint != "publish.forget.before" {
            assert_eq!(differences(&before, &plant.cut()), "", "{failpoint}: read is the last complete cut");
        }
        plant.json(&["pull"]); // whoever writes next finishes it
        assert_eq!(ask(&plant, "", SHORT) == tested, is_published, "{failpoint}");
        let again = plant.loopline(&["promote", "dev"]);
        assert_eq!(again.code, Some(0), "{failpoint}: {again:?}");
        assert_eq!(ask(&plant, "", SHORT), tested, "{failpoint}");
        let build = outcomes(&plant.json(&["build"]));
        assert_eq!(tables_with(&build, "built"), [""; 0], "{failpoint}: {build:?}");
    }
}

#[test]
fn production_keeps_what_an_environment_stands_on() {
    let plant = Mini::new();
    edit(&plant, "loopline.toml", "[clock]", "[retention]\nruns = \"1s\"\nsent = \"1s\"\n\n[clock]");
    // Nothing is sent, so that no run is kept for what it sent.
    plant.json(&["run", "ask"]);
    let first = plant.json(&["status"])["cut"][0].as_i64().unwrap();
    plant.json(&["build"]);
    edit(&plant, MODEL, CHANGED.0, CHANGED.1);
    let base = plant.json(&["build", "--env", "dev"]);
    assert_eq!(base["outcome"], "published");
    let rows = ask(&plant, "dev", "select * from wms.stock order by stock_id");
    let stands_on = plant.json(&["env", "list"])[0]["base"].as_i64().unwrap();
    assert!(stands_on > first);
    plant.happen("next_day");
    edit(&plant, MODEL, CHANGED.1, CHANGED.0);
    plant.json(&["pull"]);
    plant.json(&["build"]);
    std::thread::sleep(std::time::Duration::from_millis(1_100)); // retention is by the wall clock
    plant.json(&["maintain"]);
    let gone = |said: Said| said.code == Some(1) && said.stderr.contains("no longer kept");
    assert!(
        plant.loopline(&["sql", "--as-of", &stands_on.to_string(), "select 1"]).code == Some(0),
        "an environment stands on it"
    );
    assert_eq!(ask(&plant, "dev", "select * from wms.stock order by stock_id"), rows);
    plant.json(&["env", "list"]);
    assert_eq!(plant.loopline(&["env", "drop", "dev"]).code, Some(0));
    plant.json(&["maintain"]);
    assert!(gone(plant.loopline(&["sql", "--as-of", &stands_on.to_string(), "select 1"])));
}

#[test]
fn an_environment_touches_systems_only_where_it_was_told() {
    let (plant, _) = with_dev();
    let targets = plant.targets();
    plant.happen("next_day");
    let after = plant.targets();
    assert_ne!(differences(&targets, &after), "");
    for command in [&["pull", "--env", "dev"][..], &["write", "apply", "--env", "dev"]] {
        let refused = plant.loopline(command);
        assert!(refused.code == Some(1) && refused.stderr.contains("[env.dev]"), "{command:?}: {refused:?}");
    }
    let report = plant.json(&["run", "loop", "--env", "dev"]);
    assert_eq!((report["pull"]["systems"].as_array().unwrap().len(), report["writes"].as_array().unwrap().len()), (0, 0));
    assert_eq!(differences(&after, &plant.targets()), "");

    // Told to, and to speak to a copy of the ERP.
    std::fs::copy(plant.root().join("erp.db"), plant.root().join("test_erp.db")).unwrap();
    let settings = "[env.dev]\npull = true\nwrite = true\n[env.dev.systems.erp]\nurl = \"sqlite:test_erp.db\"\n\n[clock]";
    edit(&plant, "loopline.toml", "[clock]", settings);
    let before = plant.cut();
    let report = plant.json(&["run", "loop", "--env", "dev"]);
    assert!(report["summary"]["applied"]["sent"].as_u64() > Some(0), "{report:#}");
    let changed: Vec<String> = differences(&after, &plant.targets()).lines().map(str::to_owned).collect();
    assert!(!changed.iter().any(|line| line.contains("erp.")), "the real ERP was written to: {changed:#?}");
    assert_eq!(differences(&before, &plant.cut()), "", "pulls of an environment are its own");
    assert_eq!(plant.texts("test_erp", "select count(*) || '' from request where ext_ref is not null").len(), 1);
}

#[test]
fn mistakes_are_told_with_what_is_right() {
    let plant = Mini::new();
    let check = |arguments: &[&str], expected: &[&str]| {
        let said = plant.loopline(arguments);
        assert_eq!(said.code, Some(1), "{arguments:?}: {said:?}");
        for part in expected {
            assert!(said.stderr.contains(part), "{arguments:?}: {said:?}");
        }
    };
    check(&["build", "--env", "dev"], &["nothing was published yet"]);
    plant.json(&["run", "ask"]);
    check(&["sql", "--env", "dev", "select 1"], &["nothing was published yet"]);
    check(&["build", "--env", "My Dev"], &["\"My Dev\" is no name for an environment", "my_dev"]);
    check(&["env", "diff", "dve"], &["there is no environment \"dve\""]);
    plant.json(&["build", "--env", "dev"]);
    check(&["env", "diff", "dve"], &["did you mean dev?"]);
    check(&["promote", "dev", "--env", "dev"], &["does not work in an environment"]);
    edit(&plant, "loopline.toml", "[clock]", "[env.dev]\nwrite = true\nsystems = { epr = { url = \"sqlite:x.db\" } }\n\n[clock]");
    check(&["check", "--offline"], &["must pull, too", "did you mean \"erp\"?"]);
}
