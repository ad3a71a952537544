//! Lists the files of the demo project (this repository's own configuration and SQL), so that the binary carries them all: a new file in
//! these folders needs no change in Rust.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::{env, fs, io};

const ROOTS: [&str; 4] = ["loopline.toml", "connectors", "pipelines", "sql"];

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let root = PathBuf::from(env::var("CARGO_MANIFEST_DIR")?);
    let mut files = Vec::new();
    for name in ROOTS {
        println!("cargo:rerun-if-changed={name}");
        collect(&root, &root.join(name), &mut files)?;
    }
    files.sort();
    let mut code = String::from("pub const FILES: &[(&str, &str)] = &[\n");
    // No absolute path: checkouts that share a target folder share this script's output.
    for name in files {
        writeln!(code, "    ({name:?}, include_str!(concat!(env!(\"CARGO_MANIFEST_DIR\"), {:?}))),", format!("/{name}"))?;
    }
    code.push_str("];\n");
    fs::write(PathBuf::from(env::var("OUT_DIR")?).join("project_files.rs"), code)?;
    Ok(())
}

fn collect(root: &Path, path: &Path, files: &mut Vec<String>) -> io::Result<()> {
    if path.is_dir() {
        for entry in fs::read_dir(path)? {
            collect(root, &entry?.path(), files)?;
        }
    } else if path.extension().is_some_and(|extension| extension == "sql" || extension == "toml") {
        let name: Vec<_> =
            path.strip_prefix(root).unwrap_or(path).components().map(|part| part.as_os_str().to_string_lossy()).collect();
        files.push(name.join("/"));
    }
    Ok(())
}
