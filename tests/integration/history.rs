//! Past runs: asked again, and computed again.

use crate::harness::Mini;

fn edit(plant: &Mini, path: &str, from: &str, to: &str) {
    let path = plant.root().join(path);
    let text = std::fs::read_to_string(&path).unwrap();
    assert!(text.contains(from), "{from}");
    std::fs::write(path, text.replace(from, to)).unwrap();
}

#[test]
fn a_past_run_comes_out_as_it_was_published() {
    let plant = Mini::new();
    plant.settle("loop");
    plant.happen("next_day");
    std::fs::write(plant.root().join("clock"), "2026-03-03T06:00:00Z\n").unwrap();
    plant.settle("loop");
    let status = plant.json(&["status"]);
    let runs: Vec<i64> = status["runs"].as_array().unwrap().iter().map(|run| run["run"].as_i64().unwrap()).collect();
    assert!(runs.len() >= 4, "{status:#}");
    let before = plant.cut();
    for run in &runs {
        let report = plant.json(&["replay", &run.to_string()]);
        assert_eq!(report["identical"], true, "run {run}: {report:#}");
        let outcomes = report["tables"].as_array().unwrap().iter().map(|table| table["outcome"].as_str().unwrap());
        assert!(outcomes.filter(|outcome| *outcome == "identical").count() >= 9, "{report:#}");
    }
    assert_eq!(crate::harness::differences(&before, &plant.cut()), "");

    // Comments are no change, another statement is, and so is a table that is gone.
    let first = runs.last().unwrap().to_string();
    edit(&plant, "sql/scm/net_requirements.sql", "-- what is blocked", "-- whatever is blocked");
    assert_eq!(plant.json(&["replay", &first])["identical"], true);
    edit(&plant, "sql/scm/net_requirements.sql", "coalesce(s.stock, 0) as short", "coalesce(-s.stock, 0) as short");
    let said = plant.loopline(&["replay", &first, "--json"]);
    assert_eq!(said.code, Some(1), "{said:?}");
    let report: serde_json::Value = serde_json::from_str(&said.stdout).unwrap();
    let differs: Vec<_> = report["tables"].as_array().unwrap().iter().filter(|table| table["outcome"] == "differs").collect();
    assert_eq!(differs.len(), 1, "what reads it is made from what was published: {report:#}");
    assert_eq!((&differs[0]["table"], &differs[0]["cause"]), (&"scm.net_requirements".into(), &"statement changed since".into()));
    assert_eq!(differs[0]["difference"]["removed"], differs[0]["difference"]["added"]);
    assert!(differs[0]["difference"]["sample"].as_str().unwrap().contains("| + "), "{report:#}");
    let text = plant.loopline(&["replay", &first]);
    assert!(text.stdout.contains("is not identical") && text.stdout.contains("statement changed since"), "{text:?}");

    let unknown = plant.loopline(&["replay", "999"]);
    assert!(unknown.code == Some(1) && unknown.stderr.contains("run 999 published nothing"), "{unknown:?}");
}

#[test]
fn what_a_run_took_over_is_told_from_what_it_made() {
    let plant = Mini::new();
    plant.settle("loop");
    plant.happen("next_day");
    plant.json(&["pull"]);
    let report = plant.json(&["build", "wms"]);
    let replay = plant.json(&["replay", &report["run"].to_string()]);
    let outcome =
        |name: &str| replay["tables"].as_array().unwrap().iter().find(|table| table["table"] == name).unwrap()["outcome"].clone();
    assert_eq!((outcome("wms.stock"), outcome("scm.net_requirements")), ("identical".into(), "carried".into()), "{replay:#}");
    assert_eq!(replay["identical"], true);
}

#[test]
fn one_question_reads_several_runs() {
    let plant = Mini::new();
    plant.settle("loop");
    let first = plant.json(&["status"])["cut"][0].as_i64().unwrap();
    plant.happen("next_day");
    plant.settle("loop");
    let count = |sql: &str| plant.ask(sql)[0]["n"].as_i64().unwrap();
    let (then, now) = (
        plant.loopline(&["sql", "--as-of", &first.to_string(), "select count(*) as n from erp.items"]),
        count("select count(*) as n from erp.items"),
    );
    assert!(then.stdout.contains(&(now - 1).to_string()), "{then:?}");
    for clause in
        [format!("version as of {first}"), format!("for version as of {first}"), format!("FOR VERSION AS OF {first} as then")]
    {
        let sql = format!("select (select count(*) from erp.items) - count(*) as n from erp.items {clause}");
        assert_eq!(count(&sql), 1, "{sql}");
    }
    let new = format!(
        "select count(*) as n from erp.items as i where not exists (select 1 from erp.items version as of {first} as old where old.item_id = i.item_id)"
    );
    assert_eq!(count(&new), 1);
    let refused = plant.loopline(&["sql", "select 1 from erp.items version as of 999"]);
    assert!(refused.code == Some(1) && refused.stderr.contains("run 999 published nothing"), "{refused:?}");
    edit(&plant, "sql/scm/net_requirements.sql", "from wms.stock group", &format!("from wms.stock version as of {first} group"));
    let refused = plant.loopline(&["check", "--offline"]);
    assert!(refused.code == Some(1) && refused.stderr.contains("net_requirements.sql:12"), "{refused:?}");
}
