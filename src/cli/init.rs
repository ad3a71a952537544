//! `loopline init`: a new project, small, valid and commented.

use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum};

use super::Done;
use super::context::{Context, absolute};
use super::failure::CliError;

/// Makes a new project with commented files
#[derive(Args)]
#[command(
    after_help = "Examples:\n  loopline init my-plant\n  loopline init my-plant --strategy project-based\n\nNothing that is already there is overwritten. Then: cd my-plant, edit loopline.toml, loopline check."
)]
pub(super) struct Arguments {
    /// The project's folder, made if it does not exist
    #[arg(default_value = ".")]
    dir: PathBuf,
    /// Which kind of firm this is; it decides what matters first
    #[arg(long, value_enum, default_value = "order-driven")]
    strategy: StrategyName,
}

#[derive(Clone, Copy, ValueEnum)]
enum StrategyName {
    /// Made to order, each order a project: budget, milestones, long-lead items
    ProjectBased,
    /// Many orders through shared machines: promises, material, finite schedule
    OrderDriven,
    /// Buys, assembles and distributes: allocation, suppliers, stock by site
    Integrator,
}

impl StrategyName {
    fn text(self) -> &'static str {
        match self {
            Self::ProjectBased => "project-based",
            Self::OrderDriven => "order-driven",
            Self::Integrator => "integrator",
        }
    }
}

/// Path in the project → content; `{strategy}` is replaced.
const FILES: [(&str, &str); 9] = [
    ("loopline.toml", include_str!("template/loopline.toml")),
    (".gitignore", "/.loopline/\n"),
    ("connectors/example/connector.toml", include_str!("template/connector.toml")),
    ("connectors/example/erp.items.sql", include_str!("template/map.sql")),
    ("pipelines/daily.toml", include_str!("template/pipeline.toml")),
    ("sql/erp/items.sql", include_str!("template/contract.sql")),
    ("sql/xref/items.sql", include_str!("template/identity.sql")),
    ("sql/scm/stock_value.sql", include_str!("template/model.sql")),
    ("sql/scm/stock_value.test", include_str!("template/model.test")),
];

pub(super) fn run(arguments: &Arguments, context: &Context) -> anyhow::Result<Done> {
    let root = absolute(&arguments.dir)?;
    write(&root, arguments.strategy)?;
    for (path, _) in FILES {
        context.output.data(&Path::new(&arguments.dir).join(path).display().to_string());
    }
    context
        .output
        .message("\nNext: name your ERP in loopline.toml, describe its tables in connectors/example, then run `loopline check`.");
    Ok(Done::Well)
}

fn write(root: &Path, strategy: StrategyName) -> Result<(), CliError> {
    let present: Vec<String> = FILES
        .iter()
        .map(|(path, _)| root.join(path))
        .filter(|path| path.exists())
        .map(|path| path.display().to_string())
        .collect();
    if let Some(first) = present.first() {
        let what = format!("{first} is already there, and nothing is overwritten");
        return Err(CliError::usage(what, "name another folder: loopline init my-plant"));
    }
    for (path, text) in FILES {
        let path = root.join(path);
        let failed = |source| CliError::File { what: format!("write {}", path.display()), source };
        if let Some(folder) = path.parent() {
            std::fs::create_dir_all(folder).map_err(failed)?;
        }
        std::fs::write(&path, text.replace("{strategy}", strategy.text())).map_err(failed)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use crate::base::TableName;
    use crate::model::Graph;
    use crate::project::Project;

    use super::*;

    #[test]
    fn the_new_project_is_valid_and_nothing_is_overwritten() {
        for strategy in StrategyName::value_variants() {
            let root = tempfile::tempdir().unwrap();
            write(root.path(), *strategy).unwrap();
            let project = Project::load(root.path()).unwrap_or_else(|errors| panic!("{errors:?}"));
            assert!(project.models.contains_key(&TableName::new("scm", "stock_value")));
            if let Err(errors) = Graph::new(&project) {
                panic!("{errors:?}");
            }
            assert!(write(root.path(), *strategy).unwrap_err().to_string().contains("already there"));
        }
    }
}
