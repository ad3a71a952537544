//! The project's own models: `loopline test` passes, and every model that decides something is tested.

use std::path::Path;

use loopline::project::Project;

use crate::harness::Mini;

/// Schemas whose models must have tests. Of `kpi`, the formulas that are easily got wrong have some; of `aps`, what is not the work of `schedule`.
const DECIDING: [&str; 5] = ["scm", "srm", "qms", "outbox", "xref"];

#[test]
fn models_yield_what_was_worked_out_by_hand() {
    let root = env!("CARGO_MANIFEST_DIR");
    let said = Mini::of(tempfile::tempdir().unwrap()).loopline(&["test", "--project", root]);
    assert_eq!(said.code, Some(0), "{}{}", said.stdout, said.stderr);
}

#[test]
fn every_model_that_decides_is_tested() {
    let project = Project::load(Path::new(env!("CARGO_MANIFEST_DIR"))).unwrap();
    let deciding = project.models.keys().filter(|table| DECIDING.contains(&table.schema.as_str()));
    let untested: Vec<String> = deciding.filter(|table| !project.tests.contains_key(*table)).map(ToString::to_string).collect();
    assert!(untested.is_empty(), "without tests: {}", untested.join(", "));
}
