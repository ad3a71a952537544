//! `aps [--objective TEXT] [--plan FILE] FOLDER SECONDS…`: schedules the tables of a folder, `operations.csv`, `calendars.csv` and so on, once with each limit,
//! and prints a line of JSON for each: what `benches/aps.py` reads. The clock of the factory stands at 2026-01-01.
#![expect(clippy::print_stdout, reason = "it is a program that prints")]

use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use arrow::array::{Array, AsArray, Int64Array, RecordBatch, StringArray};
use arrow::compute::concat_batches;
use arrow::csv::{ReaderBuilder, Writer};
use arrow::datatypes::{DataType, Field, Int64Type, Schema, TimeUnit, TimestampMicrosecondType};
use chrono::DateTime;
use loopline::decide::{self, Context, Input};

fn main() -> Result<()> {
    let (mut objective, mut plan, mut rest) = (None, None, vec![]);
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        match argument.as_str() {
            "--objective" => objective = arguments.next(),
            "--plan" => plan = arguments.next(),
            _ => rest.push(argument),
        }
    }
    let [folder, limits @ ..] = rest.as_slice() else { bail!("name a folder and seconds") };
    let schedule = decide::all().into_iter().find(|decision| decision.name() == "schedule").context("there is no schedule")?;
    let mut tables: Vec<RecordBatch> =
        schedule.inputs().iter().map(|input| read(Path::new(folder), input)).collect::<Result<_>>()?;
    let as_of = DateTime::from_timestamp_micros(1_767_225_600_000_000).context("an instant")?;
    for limit in limits {
        let seconds: f64 = limit.parse().with_context(|| format!("{limit} is not a number of seconds"))?;
        if let Some(settings) = tables.last_mut() {
            *settings = settings_of(objective.as_deref())?;
        }
        let begun = Instant::now();
        let allowed = Duration::from_secs_f64(seconds);
        // the limit is one of the whole call, reading the tables and writing the result included as far as they go
        let elapsed = move || if begun.elapsed() >= allowed { Duration::MAX } else { Duration::ZERO };
        let context = Context { elapsed: Some(Arc::new(elapsed)), ..Context::at(as_of) };
        let result = schedule.decide(&tables, &context)?;
        let took = begun.elapsed().as_secs_f64();
        println!("{}", report(seconds, took, &result, as_of.timestamp_micros()));
        if let Some(plan) = &plan {
            Writer::new(File::create(plan)?).write(&result)?;
        }
    }
    Ok(())
}

/// Iterations without end: the time alone is the limit.
fn settings_of(objective: Option<&str>) -> Result<RecordBatch> {
    Ok(RecordBatch::try_from_iter([
        ("iterations", Arc::new(Int64Array::from(vec![i64::MAX])) as Arc<dyn Array>),
        ("objective", Arc::new(StringArray::from(vec![objective]))),
    ])?)
}

/// A table from its file, as far as the file has its columns; without a file the input is not given.
fn read(folder: &Path, input: &Input) -> Result<RecordBatch> {
    let path = folder.join(format!("{}.csv", input.name));
    let Ok(file) = File::open(&path) else { return Ok(RecordBatch::new_empty(Arc::new(Schema::empty()))) };
    let mut header = String::new();
    BufReader::new(&file).read_line(&mut header)?;
    let fields = header.trim().split(',').map(|name| {
        let known = input.columns.iter().find(|(known, _)| *known == name);
        let (_, kind) = known.with_context(|| format!("{}: unknown column {name}", path.display()))?;
        let kind = match kind.trim_end_matches('?') {
            "bigint" => DataType::Int64,
            "boolean" => DataType::Boolean,
            "timestamp" => DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())),
            _ => DataType::Utf8,
        };
        Ok(Field::new(name, kind, true))
    });
    let schema = Arc::new(Schema::new(fields.collect::<Result<Vec<_>>>()?));
    let batches = ReaderBuilder::new(schema.clone()).with_header(true).build(File::open(&path)?)?;
    Ok(concat_batches(&schema, &batches.collect::<Result<Vec<_>, _>>()?)?)
}

fn report(seconds: f64, took: f64, result: &RecordBatch, as_of: i64) -> serde_json::Value {
    let whole = |name: &str| result.column_by_name(name).and_then(|column| column.as_primitive_opt::<Int64Type>().cloned());
    let first = |name: &str| whole(name).and_then(|column| column.iter().next().flatten());
    let ends = result.column_by_name("ends_at").and_then(|column| column.as_primitive_opt::<TimestampMicrosecondType>());
    let last = ends.and_then(|ends| ends.iter().flatten().max());
    serde_json::json!({
        "seconds": seconds, "took": took, "objective": first("objective"), "lower_bound": first("lower_bound"), "iterations": first("iterations"),
        "makespan_s": last.map(|last| (last - as_of) / 1_000_000), "unscheduled": ends.map_or(0, Array::null_count),
        "moved": whole("moved_s").map_or(0, |moved| moved.iter().flatten().filter(|moved| *moved != 0).count()),
        "peak_mb": peak_mb(),
    })
}

/// Most memory that the process ever had, where the kernel tells.
fn peak_mb() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    line.split_whitespace().next()?.parse::<u64>().ok().map(|kb| kb / 1024)
}
