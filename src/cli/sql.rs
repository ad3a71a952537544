//! `loopline sql`: questions to the last published run.

use std::io::{IsTerminal, Read};

use arrow::array::RecordBatch;
use arrow::json::WriterBuilder;
use arrow::json::writer::LineDelimited;
use arrow::util::display::{ArrayFormatter, FormatOptions};
use clap::Args;

use crate::base::RunId;
use crate::model::Reader;
use crate::pipeline::Access;

use super::Done;
use super::context::Context;
use super::failure::CliError;
use super::format::{count, render};

/// Asks one `select` of the tables that the last complete run published
#[derive(Args)]
#[command(
    after_help = "Examples:\n  loopline sql \"select item_id, quantity from scm.net_requirements limit 10\"\n  loopline sql \"select table_schema, table_name from information_schema.tables\"\n  loopline sql --as-of 41 \"select * from scm.net_requirements\"   what run 41 published\n  loopline sql --json < question.sql       one JSON object for each row\n\nRead only: anything but a select is refused."
)]
pub(super) struct Arguments {
    /// The statement [default: standard input]
    statement: Option<String>,
    /// Ask an earlier run's cut, as long as it is kept [default: the last]
    #[arg(long, value_name = "RUN")]
    as_of: Option<i64>,
    /// Most rows to show
    #[arg(long, default_value_t = 1_000)]
    limit: usize,
}

const STATEMENT_BYTES_MAX: u64 = 1 << 20; // a longer question was piped in by mistake

pub(super) async fn run(arguments: Arguments, context: &Context) -> anyhow::Result<Done> {
    let statement = match arguments.statement {
        Some(statement) if statement != "-" => statement,
        _ => read_stdin()?,
    };
    let hub = context.hub(Access::Read).await?;
    let cut = hub.cut_of(arguments.as_of.map(RunId)).await?;
    let reader = Reader::new(&hub.project, &hub.store, &cut).await?;
    let bar = context.bar();
    let result = reader.query(&statement, arguments.limit).await;
    bar.finish();
    let (batches, more) = result?;
    if context.output.json {
        let rows = rows_json(&batches)?;
        if !rows.is_empty() {
            context.output.data(&rows);
        }
    } else {
        context.output.data(&rows_table(&batches, context.output.width())?);
    }
    if more {
        context.output.message(&format!("there are more than {} rows: raise --limit", count(arguments.limit)));
    }
    Ok(Done::Well)
}

fn read_stdin() -> anyhow::Result<String> {
    let hint = "loopline sql \"select …\", or pipe a statement in";
    let stdin = std::io::stdin();
    if stdin.is_terminal() {
        return Err(CliError::usage("there is no statement", hint).into());
    }
    let mut statement = String::new();
    let read = stdin.lock().take(STATEMENT_BYTES_MAX).read_to_string(&mut statement);
    read.map_err(|source| CliError::File { what: "read the statement from standard input".into(), source })?;
    if statement.trim().is_empty() {
        return Err(CliError::usage("the statement is empty", hint).into());
    }
    Ok(statement)
}

/// Rows as aligned text.
pub(super) fn rows_table(batches: &[RecordBatch], width: Option<usize>) -> anyhow::Result<String> {
    let Some(first) = batches.first() else { return Ok(String::new()) };
    let head: Vec<String> = first.schema().fields().iter().map(|field| field.name().clone()).collect();
    let options = FormatOptions::default().with_timestamp_tz_format(Some("%Y-%m-%dT%H:%M:%S%.fZ"));
    let mut rows = Vec::new();
    for batch in batches {
        let columns: Vec<ArrayFormatter> =
            batch.columns().iter().map(|column| ArrayFormatter::try_new(column, &options)).collect::<Result<_, _>>()?;
        for row in 0..batch.num_rows() {
            let cells = columns.iter().map(|column| column.value(row).try_to_string()).collect::<Result<Vec<_>, _>>()?;
            rows.push(cells);
        }
    }
    Ok(render(&head, &rows, width))
}

/// One JSON object for each row, each on a line of its own; NULL is written.
pub(super) fn rows_json(batches: &[RecordBatch]) -> anyhow::Result<String> {
    let mut bytes = Vec::new();
    let mut writer = WriterBuilder::new().with_explicit_nulls(true).build::<_, LineDelimited>(&mut bytes);
    writer.write_batches(&batches.iter().collect::<Vec<_>>())?;
    writer.finish()?;
    drop(writer);
    Ok(String::from_utf8(bytes)?)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{ArrayRef, Int64Array, StringArray};

    use super::*;

    #[test]
    fn rows_are_shown_as_text_and_as_json() {
        let columns: [(&str, ArrayRef); 2] = [
            ("lot", Arc::new(StringArray::from(vec![Some("L1"), None]))),
            ("quantity", Arc::new(Int64Array::from(vec![Some(7), Some(12)]))),
        ];
        let batch = RecordBatch::try_from_iter(columns).unwrap();
        let table = rows_table(std::slice::from_ref(&batch), None).unwrap();
        assert_eq!(table, "lot  quantity\n───  ────────\nL1          7\n           12");
        assert_eq!(rows_json(&[batch]).unwrap(), "{\"lot\":\"L1\",\"quantity\":7}\n{\"lot\":null,\"quantity\":12}\n");
    }
}
