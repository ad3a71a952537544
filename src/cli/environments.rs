//! `loopline env`: what environments there are, and how they differ from production.

use clap::{Args, Subcommand};

use crate::model::Deviation;
use crate::pipeline::{Access, EnvironmentView, Hub, TableDifference};

use super::Done;
use super::context::Context;
use super::format::{Table, bytes, count, counted, minute};

/// Lists environments, shows how one differs from production, removes one
#[derive(Args)]
#[command(
    after_help = "Examples:\n  loopline build --env dev              builds what differs from production; the rest is read from there\n  loopline sql --env dev \"select …\"\n  loopline env list\n  loopline env diff dev                 tables that differ, and how many of their rows\n  loopline promote dev                  publishes what was tested\n  loopline env drop dev\n\nAn environment writes to no system and pulls none, unless loopline.toml says so:\n  [env.dev]\n  pull = true\n  write = true\n  [env.dev.systems.erp]\n  url = \"postgres://loopline@test-erp/erp\"\n\nThe versions of production that an environment stands on are kept as long as it is there."
)]
pub(super) struct Arguments {
    #[command(subcommand)]
    action: Action,
}

#[derive(Subcommand)]
enum Action {
    /// Lists environments: what each has, and on which run of production it stands
    List,
    /// Shows every table that differs from production, why, and which rows
    Diff { environment: String },
    /// Removes an environment and all of its tables
    Drop { environment: String },
}

pub(super) async fn run(arguments: &Arguments, context: &Context) -> anyhow::Result<Done> {
    context.without_environment("env")?;
    let production = Hub::open(context.load_in(None)?, Access::Read).await?;
    match &arguments.action {
        Action::List => list(&production, context).await?,
        Action::Diff { environment } => {
            let hub = open(environment, Access::Read, &production, context).await?;
            let found = hub.environment_diff(&production).await?;
            if context.output.json {
                context.output.data_json(&found)?;
            } else if found.is_empty() {
                context.output.message(&format!("environment {environment} is as production"));
            } else {
                context.output.data(&differences(&found, context.output.width()));
            }
        }
        Action::Drop { environment } => {
            let hub = open(environment, Access::Write, &production, context).await?;
            let freed = hub.store.size_bytes().await?;
            hub.remove_environment().await?;
            context.output.message(&format!("environment {environment} is removed: {} freed", bytes(freed)));
        }
    }
    Ok(Done::Well)
}

/// The hub of an environment that is there.
pub(super) async fn open(name: &str, access: Access, production: &Hub, context: &Context) -> anyhow::Result<Hub> {
    Ok(production.environment(context.load_in(Some(name))?, access).await?)
}

async fn list(production: &Hub, context: &Context) -> anyhow::Result<()> {
    let mut views = Vec::new();
    for name in production.store.environments().await? {
        let hub = Hub::open(context.load_in(Some(&name))?, Access::Read).await?;
        views.push(hub.environment_view(production).await?);
    }
    if context.output.json {
        context.output.data_json(&views)
    } else if views.is_empty() {
        context.output.message("there is no environment; make one: loopline build --env dev");
        Ok(())
    } else {
        context.output.data(&table(&views).render(context.output.width()));
        Ok(())
    }
}

fn table(views: &[EnvironmentView]) -> Table {
    let mut table = Table::new(&["environment", "run", "as of", "own tables", "size", "stands on"]);
    for view in views {
        let base = match (&view.error, view.base, view.behind) {
            (Some(error), ..) => error.clone(),
            (None, None, _) => "nothing was built yet".into(),
            (None, Some(run), 0) => format!("run {run}, the last of production"),
            (None, Some(run), behind) => format!("run {run}; production published {} since", counted(behind, "run", "runs")),
        };
        table.row(vec![
            view.name.clone(),
            view.run.map(|run| run.to_string()).unwrap_or_default(),
            view.as_of.map(minute).unwrap_or_default(),
            count(view.tables.len()),
            bytes(view.bytes),
            base,
        ]);
    }
    table
}

fn differences(found: &[TableDifference], width: Option<usize>) -> String {
    let mut table = Table::new(&["table", "why", "rows", "in production", "only here", "only there", "columns"]);
    for one in found {
        let difference = one.difference.as_ref();
        let rows = |pick: fn(&Deviation) -> u64| difference.map(pick).filter(|rows| *rows > 0).map(count).unwrap_or_default();
        let columns = difference.map(columns).unwrap_or_default();
        let why = match (difference, one.production_rows) {
            (None, Some(_)) => format!("{}; same rows", one.why),
            _ => one.why.clone(),
        };
        table.row(vec![
            one.table.clone(),
            why,
            count(one.rows),
            one.production_rows.map(count).unwrap_or_default(),
            rows(|difference| difference.added),
            rows(|difference| difference.removed),
            columns,
        ]);
    }
    let samples = found.iter().filter_map(|one| sample(&one.table, one.difference.as_ref()?));
    [table.render(width)].into_iter().chain(samples).collect::<Vec<_>>().join("\n\n")
}

/// The first rows that differ, under the table's name.
pub(super) fn sample(table: &str, difference: &Deviation) -> Option<String> {
    (!difference.sample.is_empty()).then(|| format!("{table}, the first rows that differ:\n{}", difference.sample))
}

/// `+added text, -gone bigint`.
pub(super) fn columns(difference: &Deviation) -> String {
    let added = difference.columns_added.iter().map(|column| format!("+{column}"));
    let removed = difference.columns_removed.iter().map(|column| format!("-{column}"));
    added.chain(removed).collect::<Vec<_>>().join(", ")
}
