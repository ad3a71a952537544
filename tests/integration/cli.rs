//! The command line as a user meets it: what it prints where, and how it exits.

use std::path::Path;
use std::process::{Command, Output};

fn loopline(folder: &Path, arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_loopline"));
    command.current_dir(folder).args(arguments).env_remove("LOOPLINE_PROJECT").stdin(std::process::Stdio::null());
    command.output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

/// Exit code, standard output, standard error.
fn ran(folder: &Path, arguments: &[&str]) -> (i32, String, String) {
    let output = loopline(folder, arguments);
    (output.status.code().unwrap(), text(&output.stdout), text(&output.stderr))
}

#[test]
fn a_new_project_is_checked_and_says_what_is_missing() {
    let folder = tempfile::tempdir().unwrap();
    let (code, out, _) = ran(folder.path(), &["init", "plant", "--strategy", "integrator"]);
    assert_eq!((code, out.lines().count()), (0, 9));
    let plant = folder.path().join("plant");
    let (code, out, error) = ran(&plant, &["check", "--offline"]);
    assert_eq!((code, error.as_str()), (0, ""));
    assert!(out.ends_with("1 contract, 2 models, 1 pipeline: no errors\n"), "{out}");

    let (code, out, error) = ran(&plant, &["check", "--json"]);
    assert_eq!(code, 1, "the database of the example does not exist: {error}");
    let report: serde_json::Value = serde_json::from_str(&out).unwrap();
    assert_eq!(report["ok"], false);
    assert!(report["errors"][0]["message"].as_str().unwrap().contains("erp.db"), "{out}");

    let (code, out, error) = ran(folder.path(), &["init", "plant"]);
    assert_eq!((code, out.as_str()), (1, ""));
    assert!(error.contains("already there") && error.contains("\nhint: "), "{error}");
}

#[test]
fn every_error_of_a_project_is_shown_with_its_place() {
    let folder = tempfile::tempdir().unwrap();
    ran(folder.path(), &["init", "."]);
    std::fs::write(folder.path().join("pipelines/daily.toml"), "pull = [\"epr\"]\nbuild = [\"smc\"]\n").unwrap();
    let (code, out, error) = ran(folder.path(), &["run"]);
    assert_eq!((code, out.as_str()), (1, ""));
    let expected = "error: pipelines/daily.toml:1: pull: there is no system \"epr\" in loopline.toml\nhint: did you mean \"erp\"?\n\
        error: pipelines/daily.toml:2: build: there is no schema or table \"smc\"\nhint: did you mean \"scm\"?\n2 errors\n";
    assert_eq!(error, expected);
}

#[test]
fn what_is_typed_wrongly_is_the_users_and_a_near_command_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let (code, out, error) = ran(folder.path(), &["chek"]);
    assert_eq!((code, out.as_str()), (1, ""));
    assert!(error.contains("'check'"), "{error}");
    let (code, _, error) = ran(folder.path(), &["status"]);
    assert_eq!(code, 1);
    assert!(
        error.starts_with("error: there is no loopline.toml in ") && error.contains("hint: start with `loopline init`"),
        "{error}"
    );
    let (code, _, error) = ran(folder.path(), &["write", "approve"]);
    assert_eq!(code, 1);
    assert!(error.contains("--all"), "{error}");
}

#[test]
fn questions_before_the_first_run_say_what_to_do() {
    let folder = tempfile::tempdir().unwrap();
    ran(folder.path(), &["init", "."]);
    for arguments in [["sql", "select 1"], ["trace", "L1"]] {
        let (code, out, error) = ran(folder.path(), &arguments);
        assert_eq!((code, out.as_str()), (1, ""));
        assert!(error.contains("nothing was published yet\nhint: run a pipeline first"), "{error}");
    }
    let (code, out, _) = ran(folder.path(), &["status"]);
    assert_eq!(code, 0);
    assert!(out.contains("never pulled"), "{out}");
}

#[test]
fn the_demo_leaves_a_project_of_ones_own_alone() {
    let folder = tempfile::tempdir().unwrap();
    ran(folder.path(), &["init", "."]);
    let (code, out, error) = ran(folder.path(), &["demo", "--no-serve"]);
    assert_eq!((code, out.as_str()), (1, ""));
    assert!(error.contains("holds a project of its own") && error.contains("hint: name another folder"), "{error}");
    assert!(!folder.path().join(".loopline").exists());
}
