//! `plan`, selectors, `explain` and `system.model_runs`, as a user meets them.

use serde_json::{Value, json};

use crate::harness::Mini;

/// Table → what a plan says of it, those that stay as they are left out.
fn planned(mini: &Mini, arguments: &[&str]) -> Value {
    let report = mini.json(&[&["plan"], arguments].concat());
    let tables = report["tables"].as_array().unwrap().iter().filter(|table| table["action"] != "skip");
    tables
        .map(|table| (table["table"].as_str().unwrap().to_owned(), table["action"].clone()))
        .collect::<serde_json::Map<_, _>>()
        .into()
}

fn edit(mini: &Mini, path: &str, from: &str, to: &str) {
    let path = mini.root().join(path);
    let text = std::fs::read_to_string(&path).unwrap();
    assert!(text.contains(from), "{text}");
    std::fs::write(&path, text.replace(from, to)).unwrap();
}

#[test]
fn a_plan_says_what_a_build_then_does() {
    let mini = Mini::new();
    mini.settle("loop");
    assert_eq!(planned(&mini, &[]), json!({}));
    let said = mini.loopline(&["plan", "scm"]);
    assert!(said.stdout.contains("stay as they are"), "{said:?}");

    let model = "sql/scm/net_requirements.sql";
    edit(&mini, model, "d.demand - coalesce(s.stock, 0) as short", "d.demand - coalesce(s.stock, 0) + 1 as short");
    let all = planned(&mini, &[]);
    assert_eq!(all["scm.net_requirements"], "build");
    assert_eq!(all["outbox.purchase_requests"], "perhaps");
    assert!(all.get("erp.items").is_none());
    assert_eq!(planned(&mini, &["changed"]), json!({ "scm.net_requirements": "build" }));
    assert_eq!(planned(&mini, &["changed+", "!outbox", "--exclude", "write"]), json!({ "scm.net_requirements": "build" }));
    assert_eq!(planned(&mini, &["changed+"]), all);
    assert_eq!(planned(&mini, &["ask"]), all, "a pipeline");

    let report = mini.json(&["build", "changed+"]);
    let made: Vec<&str> = report["models"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|model| model["outcome"] != "skipped")
        .map(|model| model["table"].as_str().unwrap())
        .collect();
    assert!(made.contains(&"scm.net_requirements"), "{made:?}");
    assert_eq!(planned(&mini, &[]), json!({}));
    let runs = mini.loopline(&[
        "sql",
        "--json",
        "select outcome, reason from system.model_runs where \"table\" = 'scm.net_requirements' order by run desc",
    ]);
    let last: Value = serde_json::from_str(runs.stdout.lines().next().unwrap_or_default()).unwrap_or_else(|_| panic!("{runs:?}"));
    assert_eq!(last, json!({ "outcome": "built", "reason": "statement changed" }));

    let said = mini.loopline(&["plan", "scm.net_requirement"]);
    assert_eq!((said.code, said.stdout.as_str()), (Some(1), ""));
    let expected = "error: selector \"scm.net_requirement\": there is no schema or table \"scm.net_requirement\"\nhint: did you mean \"scm.net_requirements\"?\n";
    assert_eq!(said.stderr, expected);
    let said = mini.loopline(&["build", "scm;drop"]);
    assert!(said.stderr.starts_with("error: \"scm;drop\" is not a selector\nhint: a selector is "), "{said:?}");
}

#[test]
fn a_statement_is_explained() {
    let mini = Mini::new();
    mini.settle("loop");
    let said = mini.loopline(&["explain", "scm.net_requirements", "--analyze"]);
    assert_eq!(said.code, Some(0), "{said:?}");
    for part in [
        "scm.net_requirements (sql/scm/net_requirements.sql)",
        "stays as it is",
        "erp.sales_order_lines",
        "Logical plan",
        "DataSourceExec",
        "of the memory pool",
    ] {
        assert!(said.stdout.contains(part), "{part}: {}", said.stdout);
    }
    let report = mini.json(&["explain", "erp.items"]);
    assert_eq!((report["ran"].clone(), report["preview"]["action"].clone()), (Value::Null, json!("skip")));
    assert!(report["inputs"].to_string().contains("raw.erp__"), "{report}");
    let said = mini.loopline(&["explain", "scm.nothing"]);
    assert_eq!(said.code, Some(1), "{said:?}");
}
