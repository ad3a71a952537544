//! Checks end to end: failing rows are kept in a table of their own, `status` says where, and they are gone when the check is met again.

use crate::harness::{Mini, differences};

const MODEL: &str = "sql/scm/net_requirements.sql";

fn header(plant: &Mini, checks: &str) {
    let path = plant.root().join(MODEL);
    let text = std::fs::read_to_string(&path).unwrap();
    let lines = text.lines().map(|line| if line.starts_with("--! checks") { checks } else { line });
    std::fs::write(path, lines.collect::<Vec<_>>().join("\n")).unwrap();
}

#[test]
fn failing_rows_are_kept_until_the_check_is_met() {
    let plant = Mini::new();
    plant.settle("loop");
    let before = plant.cut();
    let rows = plant.ask("select item_id from scm.net_requirements where demand <= 5 order by 1").len();
    assert!(rows > 0);

    header(&plant, "--! checks = [{ expression = \"demand > 5\", name = \"worth it\" }]");
    let said = plant.loopline(&["build", "scm"]);
    let text = format!("{}{}", said.stdout, said.stderr);
    assert_eq!(said.code, Some(1), "{text}");
    let kept = "checks.scm__net_requirements__worth_it";
    for part in ["nothing is published", "scm.net_requirements: worth it", kept] {
        assert!(text.contains(part), "{part:?} is not in: {text}");
    }
    assert!(differences(&before, &plant.cut()).is_empty());
    assert_eq!(plant.ask(&format!("select * from {kept}")).len(), rows);
    let status = plant.json(&["status"]);
    assert_eq!((&status["checks"][0]["kept"], &status["checks"][0]["severity"]), (&kept.into(), &"error".into()), "{status:#}");
    assert!(plant.loopline(&["status"]).stdout.contains(kept));

    // As a warning it stops nothing, and is told by every run.
    header(&plant, "--! checks = [{ expression = \"demand > 5\", name = \"worth it\", severity = \"warn\" }]");
    for _ in 0..2 {
        let report = plant.json(&["build", "scm"]);
        assert_eq!((&report["cut"], &report["checks"][0]["check"]), (&true.into(), &"worth it".into()), "{report:#}");
    }
    // A check that is met: its rows are gone, and the table that it is about was not made again.
    header(&plant, "--! checks = [{ expression = \"demand > 0\", name = \"worth it\" }]");
    let report = plant.json(&["build", "scm"]);
    assert_eq!(report["checks"].as_array().map(Vec::len), Some(0), "{report:#}");
    let model = report["models"].as_array().unwrap().iter().find(|run| run["table"] == "scm.net_requirements").unwrap();
    assert_eq!(model["outcome"], "skipped");
    assert_eq!(plant.json(&["status"])["checks"].as_array().map(Vec::len), Some(0));
    assert!(plant.ask(&format!("select * from {kept}")).is_empty());
}
