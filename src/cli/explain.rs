//! `loopline explain`: how a table's statement would run.

use clap::Args;
use serde::Serialize;

use crate::base::TableName;
use crate::model::{Cause, Explanation, TablePreview};
use crate::pipeline::Access;

use super::Done;
use super::context::Context;
use super::failure::CliError;
use super::format::{Table, bytes, count, span};

/// Shows what a table's statement reads, whether it would run, and how
#[derive(Args)]
#[command(
    after_help = "Examples:\n  loopline explain scm.net_requirements\n  loopline explain scm.net_requirements --analyze    run it and show what each operator does\n  loopline explain scm.net_requirements --json\n\nWith --analyze the rows go nowhere. Time is that of all cores together, without waiting."
)]
pub(super) struct Arguments {
    /// The table, e.g. scm.net_requirements
    table: String,
    /// Run the statement, and count rows and time of each operator
    #[arg(long)]
    analyze: bool,
}

#[derive(Serialize)]
struct Report {
    preview: TablePreview,
    #[serde(flatten)]
    explanation: Explanation,
}

pub(super) async fn run(arguments: &Arguments, context: &Context) -> anyhow::Result<Done> {
    let table: TableName =
        arguments.table.parse().map_err(|what: String| CliError::usage(what, "name one table: loopline explain scm.supply"))?;
    let hub = context.hub(Access::Read).await?;
    let (preview, explanation) = hub.explain(&table, arguments.analyze).await?;
    let report = Report { preview, explanation };
    if context.output.json {
        context.output.data_json(&report)?;
    } else {
        context.output.data(&text(&report, context.output.width()));
    }
    Ok(Done::Well)
}

fn text(report: &Report, width: Option<usize>) -> String {
    let Report { preview, explanation } = report;
    let causes: Vec<String> = preview.causes.iter().map(Cause::to_string).collect();
    let fate = match causes.is_empty() {
        true => "stays as it is: nothing that it depends on changed".to_owned(),
        false => format!("{}: {}", super::plan::action(preview.action), causes.join(", ")),
    };
    let mut inputs = Table::new(&["input", "version", "rows", "size"]);
    for input in &explanation.inputs {
        let version = input.version.map_or_else(|| "none yet".into(), |version| version.to_string());
        inputs.row(vec![input.table.clone(), version, count(input.rows), bytes(input.bytes)]);
    }
    let operators = match &explanation.ran {
        None => {
            let line = |operator: &crate::model::Operator| format!("{}{}", "  ".repeat(operator.depth), operator.what);
            explanation.operators.iter().map(line).collect::<Vec<_>>().join("\n")
        }
        Some(ran) => {
            let mut operators = Table::new(&["rows", "time", "spilled", "operator"]);
            for operator in &explanation.operators {
                let spilled = operator.spilled_bytes.map(|spilled| bytes(spilled as u64)).unwrap_or_default();
                let what = format!("{}{}", "  ".repeat(operator.depth), operator.what);
                operators.row(vec![
                    operator.rows.map(count).unwrap_or_default(),
                    operator.seconds.map(|seconds| format!("{:.1} ms", seconds * 1e3)).unwrap_or_default(),
                    spilled,
                    what,
                ]);
            }
            let (rows, seconds, peak) = (count(ran.rows), span(ran.seconds), bytes(ran.peak_memory_bytes));
            format!("{}\n{rows} rows in {seconds}, at most {peak} of the memory pool", operators.render(width).trim_end())
        }
    };
    format!(
        "{} ({})\n{fate}\n\n{}\n\nLogical plan\n{}\n\nPhysical plan\n{operators}",
        explanation.table,
        explanation.file,
        inputs.render(width).trim_end(),
        explanation.logical
    )
}
