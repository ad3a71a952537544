//! `loopline trace`: what a lot was made from and where it went.

use arrow::array::{Array, AsArray, BooleanArray, RecordBatch};
use arrow::compute::filter_record_batch;
use clap::Args;

use crate::base::RunId;
use crate::pipeline::Access;

use super::Done;
use super::context::Context;
use super::failure::CliError;
use super::sql::{rows_json, rows_table};

/// Follows a lot back to what it was made from and forward to where it went
#[derive(Args)]
#[command(
    after_help = "Examples:\n  loopline trace L-2026-0412\n  loopline trace L-2026-0412 --forward       only where it went\n  loopline trace L-2026-0412 --json"
)]
pub(super) struct Arguments {
    lot: String,
    /// Only lots that contain this one
    #[arg(long, conflicts_with = "backward")]
    forward: bool,
    /// Only lots that this one contains
    #[arg(long)]
    backward: bool,
    /// Ask an earlier run's cut, as long as it is kept [default: the last]
    #[arg(long, value_name = "RUN")]
    as_of: Option<i64>,
}

pub(super) async fn run(arguments: &Arguments, context: &Context) -> anyhow::Result<Done> {
    let hub = context.hub(Access::Read).await?;
    let trace = hub.trace(&arguments.lot, arguments.as_of.map(RunId)).await?;
    let wanted = match (arguments.forward, arguments.backward) {
        (true, _) => Some("forward"),
        (_, true) => Some("backward"),
        _ => None,
    };
    let rows = only(&trace.rows, wanted)?;
    if context.output.json {
        context.output.data(&rows_json(&[rows])?);
    } else if rows.num_rows() == 0 {
        context.output.message(&format!("nothing is known of where lot {} comes from or went", arguments.lot));
    } else {
        context.output.data(&rows_table(&[rows], context.output.width())?);
    }
    Ok(Done::Well)
}

/// The rows of one direction, the lot itself left out.
fn only(rows: &RecordBatch, direction: Option<&str>) -> anyhow::Result<RecordBatch> {
    let Some(column) = rows.column_by_name("direction").and_then(|column| column.as_string_opt::<i32>()) else {
        return Err(CliError::usage("the trace has no direction", "this is a fault of the program").into());
    };
    let keep: BooleanArray = (0..column.len())
        .map(|row| {
            let found = column.is_valid(row).then(|| column.value(row));
            Some(found.is_some_and(|found| found != "self" && direction.is_none_or(|direction| found == direction)))
        })
        .collect();
    Ok(filter_record_batch(rows, &keep)?)
}
