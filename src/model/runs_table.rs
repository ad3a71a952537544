//! `system.model_runs`: what each run did with each table that it did not skip.

use std::sync::Arc;

use arrow::array::{ArrayRef, Float64Array, Int64Array, RecordBatch, StringArray, TimestampMicrosecondArray};
use arrow::datatypes::{Field, Schema};
use arrow::error::ArrowError;

use super::{ModelOutcome, ModelRun};
use crate::base::RunId;
use crate::base::time::Instant;

/// A row for each table that was built or failed; `None` if there is none.
pub fn model_runs_batch(run: RunId, as_of: Instant, models: &[ModelRun]) -> Option<Result<RecordBatch, ArrowError>> {
    let models: Vec<&ModelRun> = models.iter().filter(|model| model.outcome != ModelOutcome::Skipped).collect();
    (!models.is_empty()).then(|| batch(run, as_of, &models))
}

pub(super) fn batch(run: RunId, as_of: Instant, models: &[&ModelRun]) -> Result<RecordBatch, ArrowError> {
    let numbers = |pick: fn(&ModelRun) -> u64| -> ArrayRef {
        Arc::new(models.iter().map(|model| i64::try_from(pick(model)).ok()).collect::<Int64Array>())
    };
    let texts = |pick: fn(&ModelRun) -> String| -> ArrayRef {
        Arc::new(models.iter().map(|model| Some(pick(model))).collect::<StringArray>())
    };
    let outcome = |model: &ModelRun| format!("{:?}", model.outcome).to_lowercase();
    let as_of = TimestampMicrosecondArray::from(vec![as_of.timestamp_micros(); models.len()]).with_timezone("UTC");
    let columns: Vec<(&str, ArrayRef)> = vec![
        ("run", Arc::new(Int64Array::from(vec![run.0; models.len()]))),
        ("as_of", Arc::new(as_of)),
        ("table", texts(|model| model.table.clone())),
        ("outcome", texts(outcome)),
        ("reason", texts(|model| model.reason.clone())),
        ("rows", numbers(|model| model.rows)),
        ("bytes", numbers(|model| model.bytes)),
        ("seconds", Arc::new(models.iter().map(|model| Some(model.seconds)).collect::<Float64Array>())),
        ("spilled_bytes", numbers(|model| model.spilled_bytes)),
        ("peak_memory_bytes", numbers(|model| model.peak_memory_bytes)),
        ("tries", numbers(|model| model.tries.into())),
    ];
    let field = |(name, column): &(&str, ArrayRef)| Field::new(*name, column.data_type().clone(), true);
    let schema = Schema::new(columns.iter().map(field).collect::<Vec<_>>());
    RecordBatch::try_new(Arc::new(schema), columns.into_iter().map(|(_, column)| column).collect())
}
