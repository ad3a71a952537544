//! The shape of the code: which module may import which, what only one module uses, how long a file gets, which licences come in.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Module → the modules it may import (the table in ARCHITECTURE.md).
const MAY_IMPORT: &[(&str, &[&str])] = &[
    ("base", &[]),
    ("project", &["base"]),
    ("connect", &["base", "project"]),
    ("store", &["base", "project"]),
    ("decide", &["base"]),
    ("model", &["base", "project", "store", "decide"]),
    ("writeback", &["base", "project", "store", "connect"]),
    ("pipeline", &["base", "project", "store", "connect", "decide", "model", "writeback"]),
    ("serve", &["base", "project", "store", "model", "writeback", "pipeline"]),
    ("demo", &["base"]),
    ("cli", &["base", "project", "store", "connect", "decide", "model", "writeback", "pipeline", "serve", "demo"]),
];

/// Crate → the modules that may use it.
const ONLY_IN: &[(&str, &[&str])] = &[
    ("toml::", &["project"]),
    ("tokio_postgres::", &["connect", "demo"]),
    ("mysql_async::", &["connect", "demo"]),
    ("mysql_common::", &["connect"]),
    ("deltalake_core::", &["store"]),
    ("rusqlite::", &["connect", "store", "demo"]),
    ("datafusion::", &["model"]),
    ("axum::", &["serve"]),
    ("maud::", &["serve"]),
    ("clap::", &["cli"]),
    ("indicatif::", &["cli"]),
    ("anyhow::", &["cli"]),
];

/// A longer file has more than one subject.
const FILE_LINES_MAX: usize = 600;

const LICENCES: &[&str] = &[
    "MIT",
    "Apache-2.0",
    "BSD-2-Clause",
    "BSD-3-Clause",
    "ISC",
    "Zlib",
    "Unicode-3.0",
    "CC0-1.0",
    "0BSD",
    "BSL-1.0",
    "Unlicense",
    "MIT-0",
    "CDLA-Permissive-2.0",
    "bzip2-1.0.6",
    "OpenSSL",
    "MPL-2.0",
    "Apache-2.0 WITH LLVM-exception",
];

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn rust_files(folder: &Path, into: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            rust_files(&path, into);
        } else if path.extension().is_some_and(|e| e == "rs") {
            into.push(path);
        }
    }
}

/// Every line of `src/` as (module, place, text), comments left out.
fn source_lines() -> Vec<(String, String, String)> {
    let source = root().join("src");
    let mut files = Vec::new();
    rust_files(&source, &mut files);
    files
        .iter()
        .flat_map(|file| {
            let relative = file.strip_prefix(&source).unwrap();
            let module = relative.components().next().unwrap().as_os_str().to_str().unwrap().to_owned();
            let text = std::fs::read_to_string(file).unwrap();
            text.lines()
                .enumerate()
                .filter(|(_, line)| !line.trim_start().starts_with("//"))
                .map(|(n, line)| (module.clone(), format!("src/{}:{}", relative.display(), n + 1), line.to_owned()))
                .collect::<Vec<_>>()
        })
        .collect()
}

#[test]
fn modules_import_only_those_before_them() {
    let allowed: BTreeMap<_, _> = MAY_IMPORT.iter().copied().collect();
    let mut broken = Vec::new();
    for (module, place, line) in source_lines() {
        let Some(may) = allowed.get(module.as_str()) else { continue };
        for (_, after) in line.match_indices("crate::").map(|(at, m)| (at, &line[at + m.len()..])) {
            let imported: String = after.chars().take_while(|c| c.is_ascii_lowercase() || *c == '_').collect();
            if allowed.contains_key(imported.as_str()) && imported != module && !may.contains(&imported.as_str()) {
                broken.push(format!("{place}: {module} may not import {imported}"));
            }
        }
    }
    assert!(broken.is_empty(), "{}", broken.join("\n"));
}

#[test]
fn each_crate_is_used_where_it_belongs() {
    let broken: Vec<_> = source_lines()
        .iter()
        .flat_map(|(module, place, line)| {
            ONLY_IN
                .iter()
                .filter(|(name, only)| {
                    let used =
                        line.match_indices(name).any(|(at, _)| !line[..at].ends_with(|c: char| c.is_alphanumeric() || c == '_'));
                    used && !only.contains(&module.as_str())
                })
                .map(|(name, only)| format!("{place}: {name} belongs to {}", only.join(", ")))
                .collect::<Vec<_>>()
        })
        .collect();
    assert!(broken.is_empty(), "{}", broken.join("\n"));
}

#[test]
fn files_have_one_subject() {
    let mut files = Vec::new();
    rust_files(&root().join("src"), &mut files);
    let long: Vec<_> = files
        .iter()
        .map(|file| (file, std::fs::read_to_string(file).unwrap()))
        .filter(|(_, text)| text.lines().count() > FILE_LINES_MAX)
        .map(|(file, text)| format!("{}: {} lines, at most {FILE_LINES_MAX}", file.display(), text.lines().count()))
        .collect();
    assert!(long.is_empty(), "{}", long.join("\n"));
}

#[test]
fn modules_say_what_they_are_for() {
    let mut files = Vec::new();
    rust_files(&root().join("src"), &mut files);
    let silent: Vec<_> = files.iter().filter(|file| !std::fs::read_to_string(file).unwrap().starts_with("//!")).collect();
    assert!(silent.is_empty(), "no module docs: {silent:?}");
}

#[test]
fn licences_of_dependencies_fit() {
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--format-version", "1", "--locked", "--offline", "--filter-platform", "x86_64-unknown-linux-gnu"])
        .current_dir(root())
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let metadata: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let fits = |expression: &str| {
        expression.replace('/', " OR ").split(" OR ").any(|choice| {
            choice
                .split(" AND ")
                .all(|licence| LICENCES.contains(&licence.trim_matches(|c: char| c.is_whitespace() || c == '(' || c == ')')))
        })
    };
    let unfit: Vec<_> = metadata["packages"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|package| !package["license"].as_str().is_some_and(fits))
        .map(|package| format!("{} {}: {}", package["name"], package["version"], package["license"]))
        .collect();
    assert!(unfit.is_empty(), "{}", unfit.join("\n"));
}
