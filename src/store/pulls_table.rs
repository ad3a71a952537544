//! `system.pulls`: what the control state remembers of pulls, as a table. It belongs to no cut: every pull appends to it, and SQL reads its latest version.

use std::sync::Arc;

use arrow::array::{ArrayRef, Float64Array, Int64Array, RecordBatch, StringArray, TimestampMicrosecondArray};
use arrow::datatypes::{Field, Schema, SchemaRef};

use super::pulls::PullRecord;
use super::{Store, StoreError};

impl Store {
    /// Reads what [`Self::copy_pulls`] will need of the table's log.
    pub async fn know_pulls(&self) -> Result<(), StoreError> {
        self.journal("pulls").await.map(drop)
    }

    /// Appends to `system.pulls` what was recorded since the last time.
    pub async fn copy_pulls(&self) -> Result<(), StoreError> {
        let journal = self.journal("pulls").await?;
        let pulls = self.control.pulls_to_copy(journal.last)?;
        let Some((newest, _)) = pulls.last() else { return Ok(()) };
        let arrow = |source| StoreError::Arrow { table: "system.pulls".into(), what: "assemble rows", source };
        self.append(journal, *newest, batch(&pulls).map_err(arrow)?).await
    }
}

/// The columns of `system.pulls`.
pub fn pulls_schema() -> SchemaRef {
    batch(&[]).map_or_else(|_| Arc::new(Schema::empty()), |batch| batch.schema())
}

fn batch(pulls: &[(i64, PullRecord)]) -> Result<RecordBatch, arrow::error::ArrowError> {
    let numbers = |pick: fn(&PullRecord) -> u64| -> ArrayRef {
        Arc::new(pulls.iter().map(|(_, pull)| i64::try_from(pick(pull)).ok()).collect::<Int64Array>())
    };
    let texts = |pick: fn(&PullRecord) -> Option<&str>| -> ArrayRef {
        Arc::new(pulls.iter().map(|(_, pull)| pick(pull)).collect::<StringArray>())
    };
    let pace = |pull: &PullRecord| (pull.seconds > 0.0).then(|| pull.rows_read as f64 / pull.seconds);
    let started: TimestampMicrosecondArray = pulls.iter().map(|(_, pull)| Some(pull.started_at.timestamp_micros())).collect();
    let columns: Vec<(&str, ArrayRef)> = vec![
        ("pull_id", Arc::new(pulls.iter().map(|(number, _)| Some(*number)).collect::<Int64Array>())),
        ("run", Arc::new(pulls.iter().map(|(_, pull)| Some(pull.run.0)).collect::<Int64Array>())),
        ("system", texts(|pull| Some(&pull.system))),
        ("stream", texts(|pull| Some(&pull.stream))),
        ("kind", texts(|pull| Some(pull.kind.text()))),
        ("started_at", Arc::new(started.with_timezone("UTC"))),
        ("seconds", Arc::new(pulls.iter().map(|(_, pull)| Some(pull.seconds)).collect::<Float64Array>())),
        ("rows_read", numbers(|pull| pull.rows_read)),
        ("bytes_read", numbers(|pull| pull.bytes_read)),
        ("rows_per_second", Arc::new(pulls.iter().map(|(_, pull)| pace(pull)).collect::<Float64Array>())),
        ("inserted", numbers(|pull| pull.inserted)),
        ("updated", numbers(|pull| pull.updated)),
        ("deleted", numbers(|pull| pull.deleted)),
        ("discarded_rows", numbers(|pull| pull.discarded_rows)),
        ("discarded_values", numbers(|pull| pull.discarded_values)),
        ("tries", numbers(|pull| pull.tries.into())),
        ("error", texts(|pull| pull.error.as_deref())),
    ];
    let field = |(name, column): &(&str, ArrayRef)| Field::new(*name, column.data_type().clone(), true);
    let schema = Schema::new(columns.iter().map(field).collect::<Vec<_>>());
    RecordBatch::try_new(Arc::new(schema), columns.into_iter().map(|(_, column)| column).collect())
}

#[cfg(test)]
mod tests {
    use super::super::journal::FILES_MAX;
    use super::super::testing::{Bench, instant};
    use super::*;
    use crate::base::{RunId, TableName};
    use crate::store::PullKind;

    fn record(bench: &Bench, run: i64) {
        let pull = PullRecord {
            run: RunId(run),
            system: "erp".into(),
            stream: "items".into(),
            kind: PullKind::Sweep,
            started_at: instant(run),
            seconds: 0.5,
            rows_read: 100,
            bytes_read: 800,
            inserted: 1,
            updated: 2,
            deleted: 3,
            discarded_rows: 0,
            discarded_values: 0,
            tries: 1,
            whole: false,
            error: None,
        };
        bench.store.control.record_pull(&pull).unwrap();
    }

    async fn runs(bench: &Bench) -> Vec<String> {
        let mut rows = bench.rows("system.pulls").await;
        rows.sort_by_key(|row| row.split('|').next().unwrap().parse::<i64>().unwrap());
        rows.iter().map(|row| row.split('|').take(2).collect::<Vec<_>>().join("|")).collect()
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn every_pull_is_copied_once() {
        let mut bench = Bench::new().await;
        bench.store.copy_pulls().await.unwrap();
        assert!(bench.store.latest(&TableName::new("system", "pulls")).await.unwrap().is_none(), "nothing to copy");
        record(&bench, 1);
        record(&bench, 2);
        bench.store.copy_pulls().await.unwrap();
        bench.store.copy_pulls().await.unwrap();
        assert_eq!(bench.table("system.pulls").await.version, 0);
        let rows = bench.rows("system.pulls").await;
        assert_eq!(rows[0], "1|1|erp|items|sweep|2023-11-14T22:13:21Z|0.5|100|800|200.0|1|2|3|0|0|1|");
        record(&bench, 3);
        bench.store.copy_pulls().await.unwrap();
        assert_eq!(runs(&bench).await, ["1|1", "2|2", "3|3"]);

        // A control state that was begun anew, and one that was restored from before the second copy.
        bench.restart_with("other.sqlite").await.unwrap();
        record(&bench, 9);
        bench.store.copy_pulls().await.unwrap();
        assert_eq!(runs(&bench).await, ["1|1", "2|2", "3|3", "4|9"]);
        bench.restart().await;
        record(&bench, 10);
        record(&bench, 11);
        bench.store.copy_pulls().await.unwrap();
        assert_eq!(runs(&bench).await, ["1|1", "2|2", "3|3", "4|9", "5|10", "6|11"]);
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn files_are_merged() {
        let bench = Bench::new().await;
        let pulls = i64::try_from(FILES_MAX + 3).unwrap();
        for run in 1..=pulls {
            record(&bench, run);
            bench.store.copy_pulls().await.unwrap();
        }
        assert_eq!(bench.table("system.pulls").await.files.len(), 3);
        assert_eq!(runs(&bench).await, (1..=pulls).map(|run| format!("{run}|{run}")).collect::<Vec<_>>());
    }
}
