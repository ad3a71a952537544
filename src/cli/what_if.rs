//! `loopline what-if`: another shift, another machine, another order, and what would follow.

use std::collections::BTreeMap;

use arrow::array::RecordBatch;
use clap::Args;
use serde_json::{Value, json};

use crate::base::TableName;
use crate::model::WhatIf;
use crate::pipeline::Access;

use super::Done;
use super::context::Context;
use super::failure::CliError;
use super::format::Table;
use super::sql::{rows_json, rows_table};

/// Asks a question of the last run as it is and as it would be with other rows in some tables
#[derive(Args)]
#[command(
    after_help = "Examples:\n  loopline what-if \"select sum(late_s) / 3600 as late_hours from aps.order_lateness\" \\\n    --replace \"aps.calendars=select resource_id, starts_at, ends_at + interval '4 hours' as ends_at from aps.calendars\"\n  loopline what-if \"select …\" --replace erp.sales_order_lines=@rush_order.sql --json\n\nEach replacement is a select over the last run that yields the table's own columns. What is made of the replaced tables and leads to the answer is\ncomputed again in memory; nothing is stored or written."
)]
pub(super) struct Arguments {
    /// One select
    question: String,
    /// A table and the select that yields its rows instead, or @file
    #[arg(long, value_name = "TABLE=SELECT", required = true)]
    replace: Vec<String>,
    /// Most rows to show of each answer
    #[arg(long, default_value_t = 1_000)]
    limit: usize,
}

pub(super) async fn run(arguments: &Arguments, context: &Context) -> anyhow::Result<Done> {
    let mut replace = BTreeMap::new();
    for text in &arguments.replace {
        let (table, sql) = replacement(text)?;
        if replace.insert(table.clone(), sql).is_some() {
            return Err(
                CliError::usage(format!("{table} is replaced twice"), "write one select that yields all of its rows").into()
            );
        }
    }
    let hub = context.hub(Access::Read).await?;
    let bar = context.bar();
    bar.say("computing");
    let answer = hub.what_if(&replace, &arguments.question, arguments.limit).await;
    bar.finish();
    let answer = answer?;
    if context.output.json {
        let computed: Vec<String> = answer.computed.iter().map(ToString::to_string).collect();
        let report = json!({ "before": rows(&answer.before)?, "after": rows(&answer.after)?, "computed": computed });
        context.output.data_json(&report)?;
    } else {
        context.output.data(&text(&answer, context.output.width())?);
        let computed: Vec<String> = answer.computed.iter().map(ToString::to_string).collect();
        context
            .output
            .message(&format!("\ncomputed again: {}", if computed.is_empty() { "nothing".into() } else { computed.join(", ") }));
    }
    if answer.more {
        context.output.message("there are more rows: raise --limit");
    }
    Ok(Done::Well)
}

fn replacement(text: &str) -> Result<(TableName, String), CliError> {
    let hint = "write --replace \"aps.calendars=select …\" or --replace aps.calendars=@file.sql";
    let Some((table, sql)) = text.split_once('=') else {
        return Err(CliError::usage(format!("\"{text}\" does not say what to put in place of which table"), hint));
    };
    let table = table.trim().parse().map_err(|what: String| CliError::usage(what, hint))?;
    match sql.trim().strip_prefix('@') {
        Some(path) => match std::fs::read_to_string(path) {
            Ok(sql) => Ok((table, sql)),
            Err(source) => Err(CliError::File { what: format!("read {path}"), source }),
        },
        None => Ok((table, sql.to_owned())),
    }
}

fn rows(batches: &[RecordBatch]) -> anyhow::Result<Vec<Value>> {
    Ok(rows_json(batches)?.lines().map(serde_json::from_str).collect::<Result<_, _>>()?)
}

/// One row each: figure by figure with the difference. Otherwise one answer after the other.
fn text(answer: &WhatIf, width: Option<usize>) -> anyhow::Result<String> {
    let (before, after) = (rows(&answer.before)?, rows(&answer.after)?);
    let ([Value::Object(before)], [Value::Object(after)]) = (before.as_slice(), after.as_slice()) else {
        return Ok(format!("as it is\n{}\n\nwhat if\n{}", rows_table(&answer.before, width)?, rows_table(&answer.after, width)?));
    };
    let mut table = Table::new(&["figure", "as it is", "what if", "difference"]);
    for (name, now) in before {
        let then = after.get(name).unwrap_or(&Value::Null);
        let difference = match (number(now), number(then)) {
            (Some(now), Some(then)) => format!("{:+}", round(then - now)),
            _ => String::new(),
        };
        table.row(vec![name.clone(), shown(now), shown(then), difference]);
    }
    Ok(table.render(width))
}

/// Decimals come as text.
fn number(value: &Value) -> Option<f64> {
    value.as_f64().or_else(|| value.as_str()?.parse().ok())
}

/// What binary fractions add is nobody's difference.
fn round(value: f64) -> f64 {
    (value * 1e6).round() / 1e6
}

fn shown(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Null => String::new(),
        other => other.to_string(),
    }
}
