//! `schedule`: a finite-capacity schedule of operations on resources with working calendars.
//!
//! Instants are UTC with microseconds, durations whole seconds of working time. A resource does one operation at a time (on each of its lanes, where
//! `resources` gives it a `capacity`). An operation runs on the resource that it names or on one of its `alternatives`. It rests outside working time and
//! resumes after, unless it is not `splittable`. Operations of an order run one after the other by operation number, unless `precedence` says what an operation
//! follows; none starts before the run's instant or its `release`. With `fixed_start` (and `fixed_end`, else it follows from the duration) an operation stays
//! where it is, whatever the rest does.
//!
//! *Set-up* is spent at the beginning of an operation: what `setups` has for the families before and after, otherwise the operation's `setup_s`, nothing after
//! the same family. Operations that `needs` a tool or person hold it from the beginning of the set-up to their end.
//!
//! The search starts from the best of a few dispatching rules and is never worse. It looks for small weighted tardiness, then a short makespan, or what
//! `settings.objective` says; `lower_bound` is what no schedule can be below, `gap` how far the objective may be from it. Sums are in seconds, those of
//! tardiness and earliness weighted: by `weight`, otherwise 1 / rank of the priorities that occur, small before large, none last.
//! The same tables give the same schedule whatever the order of their rows: `iterations` are counted, not timed, and only `time_limit_s` ends them early.
//!
//! What cannot be scheduled has no `starts_at`, and `problem` and `reason` say why; what is fixed against itself has a `problem` and stays.

mod bound;
mod calendar;
mod classical;
mod dispatch;
mod jobshop;
mod read;
mod search;
mod settings;
mod shop;
#[cfg(test)]
mod tests;
mod timing;
mod write;

use std::time::Duration;

use arrow::array::{AsArray, RecordBatch};
use arrow::datatypes::{Int64Type, SchemaRef};
use chrono::DateTime;

use super::columns::tables;
use super::{Context, DecideError, Decision, Input};

use shop::Budget;

const SECOND_US: i64 = 1_000_000;

static INPUTS: [Input; 10] = [
    Input {
        name: "operations",
        columns: &[
            ("order_id", "text"),
            ("operation_no", "bigint"),
            ("resource_id", "text"),
            ("duration_s", "bigint"),
            ("release", "timestamp?"),
            ("due", "timestamp?"),
            ("priority", "bigint?"),
            ("weight", "bigint?"),
            ("fixed_start", "timestamp?"),
            ("fixed_end", "timestamp?"),
            ("family", "text?"),
            ("setup_s", "bigint?"),
            ("splittable", "boolean?"),
            ("planned_resource_id", "text?"),
            ("planned_start", "timestamp?"),
        ],
    },
    Input { name: "calendars", columns: &[("resource_id", "text"), ("starts_at", "timestamp"), ("ends_at", "timestamp")] },
    Input {
        name: "alternatives",
        columns: &[("order_id", "text"), ("operation_no", "bigint"), ("resource_id", "text"), ("duration_s", "bigint?")],
    },
    Input {
        name: "precedence",
        columns: &[
            ("before_order_id", "text"),
            ("before_operation_no", "bigint?"),
            ("after_order_id", "text"),
            ("after_operation_no", "bigint?"),
            ("min_wait_s", "bigint?"),
            ("max_wait_s", "bigint?"),
        ],
    },
    Input {
        name: "setups",
        columns: &[("resource_id", "text"), ("from_family", "text"), ("to_family", "text"), ("seconds", "bigint")],
    },
    Input { name: "resources", columns: &[("resource_id", "text"), ("capacity", "bigint?"), ("family", "text?")] },
    Input { name: "needs", columns: &[("order_id", "text"), ("operation_no", "bigint"), ("pool", "text"), ("count", "bigint?")] },
    Input { name: "units", columns: &[("unit_id", "text"), ("pool", "text"), ("capacity", "bigint?")] },
    Input { name: "downtime", columns: &[("resource_id", "text"), ("starts_at", "timestamp"), ("ends_at", "timestamp?")] },
    Input {
        name: "settings",
        columns: &[
            ("seed", "bigint?"),
            ("iterations", "bigint?"),
            ("walkers", "bigint?"),
            ("time_limit_s", "bigint?"),
            ("objective", "text?"),
        ],
    },
];

const COLUMNS: &[(&str, &str)] = &[
    ("order_id", "text"),
    ("operation_no", "bigint"),
    ("resource_id", "text"),
    ("lane", "bigint"),
    ("starts_at", "timestamp"),
    ("ends_at", "timestamp"),
    ("setup_s", "bigint"),
    ("waits_for", "text"),
    ("reason", "text"),
    ("problem", "text"),
    ("slack_s", "bigint"),
    ("moved_s", "bigint"),
    ("order_ends_at", "timestamp"),
    ("late_s", "bigint"),
    ("weight", "bigint"),
    ("late_cause", "text"),
    ("late_reason", "text"),
    ("objective", "bigint"),
    ("lower_bound", "bigint"),
    ("gap", "decimal"),
    ("seed", "bigint"),
    ("iterations", "bigint"),
];

/// Finite-capacity scheduling by search.
pub struct Schedule;

impl Decision for Schedule {
    fn name(&self) -> &'static str {
        "schedule"
    }

    fn description(&self) -> &'static str {
        "When and where each operation runs, within working time and one at a time, so that little is late; why, and how far that can be from the best"
    }

    fn version(&self) -> u32 {
        2
    }

    fn inputs(&self) -> &'static [Input] {
        &INPUTS
    }

    fn inputs_needed(&self) -> usize {
        2
    }

    fn schema(&self) -> SchemaRef {
        super::output::schema(COLUMNS)
    }

    fn identities(&self) -> &'static [(&'static str, &'static str, &'static str)] {
        &[("order_id", "operations", "order_id"), ("operation_no", "operations", "operation_no")]
    }

    fn decide(&self, batches: &[RecordBatch], context: &Context) -> Result<RecordBatch, DecideError> {
        let tables = tables::<10>(self.name(), &INPUTS, batches)?;
        let task = read::read(&tables, context.as_of.timestamp_micros())?;
        let elapsed = || context.elapsed.as_ref().map_or(Duration::ZERO, |elapsed| elapsed());
        let plan = match context.iterations {
            // a repeated search ends where it ended, however long that takes, unless nobody waits for it any more
            Some(iterations) => {
                search::solve(&task.shop, &Budget { iterations, ..task.settings.budget }, &|| elapsed() == Duration::MAX)
            }
            None => search::solve(&task.shop, &task.settings.budget, &|| elapsed() >= task.settings.time_limit),
        };
        write::write(self.name(), &task, &plan)
    }

    fn iterations(&self, result: &RecordBatch) -> Option<u64> {
        let column = result.column_by_name("iterations")?.as_primitive_opt::<Int64Type>()?;
        column.iter().next()?.and_then(|iterations| u64::try_from(iterations).ok())
    }
}

/// An instant for people: `2026-11-30 06:00:00`.
fn instant(micros: i64) -> String {
    DateTime::from_timestamp_micros(micros)
        .map_or_else(|| format!("instant {micros}"), |at| at.format("%Y-%m-%d %H:%M:%S").to_string())
}
