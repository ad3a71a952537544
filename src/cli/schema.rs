//! `loopline schema`: JSON Schemas of a project's files, for editors.

use std::path::Path;

use clap::Args;
use serde_json::Value;

use crate::project::{SCHEMAS, schema};

use super::Done;
use super::context::Context;
use super::failure::CliError;

/// Shows the JSON Schema of a kind of file, or writes all of them for editors
#[derive(Args)]
#[command(
    after_help = "Examples:\n  loopline schema pipeline\n  loopline schema --write        .schemas/*.json and .taplo.toml, which editors of TOML look for\n\nKinds: loopline, connector, pipeline, model (the lines of a model that start with --!)."
)]
pub(super) struct Arguments {
    /// loopline, connector, pipeline or model
    #[arg(required_unless_present = "write", value_parser = clap::builder::PossibleValuesParser::new(SCHEMAS.map(|(name, _)| name)))]
    kind: Option<String>,
    /// Write all of them into the project
    #[arg(long, conflicts_with = "kind")]
    write: bool,
}

pub(super) fn run(arguments: &Arguments, context: &Context) -> anyhow::Result<Done> {
    if let Some(schema) = arguments.kind.as_deref().and_then(schema) {
        context.output.data(&pretty(&schema)?);
        return Ok(Done::Well);
    }
    let root = context.root()?;
    for (path, text) in files()? {
        let path = root.join(path);
        save(&path, &text)?;
        context.output.data(&path.display().to_string());
    }
    Ok(Done::Well)
}

/// Path in the project → content.
pub(super) fn files() -> anyhow::Result<Vec<(String, String)>> {
    let mut files = Vec::new();
    let mut rules = String::from("# Which schema is for which file; made by `loopline schema --write`.\n");
    for (name, glob) in SCHEMAS {
        let path = format!(".schemas/{name}.json");
        if let Some(schema) = schema(name) {
            files.push((path.clone(), pretty(&schema)?));
        }
        if glob.ends_with(".toml") {
            rules += &format!("\n[[rule]]\ninclude = [\"{glob}\"]\nschema = {{ path = \"{path}\", enabled = true }}\n");
        }
    }
    files.push((".taplo.toml".to_owned(), rules));
    Ok(files)
}

fn pretty(schema: &Value) -> Result<String, serde_json::Error> {
    Ok(serde_json::to_string_pretty(schema)? + "\n")
}

fn save(path: &Path, text: &str) -> Result<(), CliError> {
    let failed = |source| CliError::File { what: format!("write {}", path.display()), source };
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder).map_err(failed)?;
    }
    std::fs::write(path, text).map_err(failed)
}
