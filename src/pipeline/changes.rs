//! What the control state knows, as tables: the ledger in `system.changes`, the age of each system in `system.freshness`.
//!
//! SQL reads the ledger only here. Its instants are those of the plant's clock: where a project has a clock file, the wall clock's instants are moved
//! to the instant that the plant had then, by the runs that were under way.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, Int64Array, RecordBatch, StringArray, TimestampMicrosecondArray};
use arrow::datatypes::{DataType, TimestampMicrosecondType};
use futures::StreamExt;

use crate::base::{RunId, TableName, time};
use crate::store::{RunRecord, Staged, TableVersion};

use super::{Hub, PipelineError};

/// Table property that changes only with the rows, as `Store::publish` sets it.
const DATA: &str = "loopline.data";
const CONTENT: &str = "loopline.content";

fn changes_table() -> TableName {
    TableName::new("system", "changes")
}

/// `system.changes` as a run sees it.
pub(super) struct Exported {
    pub version: TableVersion,
    /// To be published with the run; equal content makes no new version.
    pub staged: Staged,
}

impl Hub {
    /// The ledger as a table.
    fn ledger_rows(&self) -> Result<RecordBatch, PipelineError> {
        let batch = self.store.changes_batch()?;
        match self.project.clock_file {
            Some(_) => Clock::new(self.store.control.runs(usize::MAX)?).moved(&batch),
            None => Ok(batch),
        }
    }

    /// `system.changes` as the next run would see it if nothing happened until then. Only what changes with its rows can be told from it.
    pub(super) async fn changes_ahead(&self) -> Result<TableVersion, PipelineError> {
        let table = changes_table();
        let batch = self.ledger_rows()?;
        let content = self.store.content_of(&table, &batch)?;
        let latest = self.store.view().latest(&table).await?;
        Ok(match latest.filter(|latest| latest.properties.get(CONTENT) == Some(&content)) {
            Some(latest) => latest,
            None => {
                let properties = [(DATA.to_owned(), "not published yet".to_owned())].into();
                TableVersion { table, version: 0, schema: batch.schema(), files: vec![], properties }
            }
        })
    }

    /// Writes the ledger as the next content of `system.changes`, to be published with the run.
    pub(super) async fn export_changes(&self, run: RunId) -> Result<Exported, PipelineError> {
        let table = changes_table();
        let batch = self.ledger_rows()?;
        let schema = batch.schema();
        let rows = futures::stream::iter([Ok(batch)]).boxed();
        let staged = self.store.stage(run, &table, schema.clone(), rows, BTreeMap::new()).await?;
        let latest = self.store.latest(&table).await?;
        if let Some(latest) = latest.as_ref().filter(|latest| latest.properties.get(CONTENT) == Some(&staged.content)) {
            return Ok(Exported { version: latest.clone(), staged });
        }
        let version = TableVersion {
            table,
            version: latest.map_or(0, |latest| latest.version + 1),
            schema,
            files: staged.files.clone(),
            properties: [(DATA.to_owned(), format!("run {run}"))].into(),
        };
        Ok(Exported { version, staged })
    }
}

impl Hub {
    /// How old the rows of each system are in this run, by the wall clock; published with the run.
    pub(super) async fn export_freshness(&self, run: RunId) -> Result<Staged, PipelineError> {
        let wall = time::now();
        let systems = self.project.systems.keys().map(|system| self.freshness(system, wall)).collect::<Result<Vec<_>, _>>()?;
        let names: StringArray = systems.iter().map(|system| Some(system.system.as_str())).collect();
        let pulled: TimestampMicrosecondArray =
            systems.iter().map(|system| system.pulled_at.map(|at| at.timestamp_micros())).collect();
        let ages: Int64Array = systems.iter().map(|system| system.age_seconds).collect();
        let limits: Int64Array = systems.iter().map(|system| i64::try_from(system.max_age_seconds).ok()).collect();
        let stale: BooleanArray = systems.iter().map(|system| Some(system.stale)).collect();
        let columns: [(&str, ArrayRef); 5] = [
            ("system", Arc::new(names)),
            ("pulled_at", Arc::new(pulled.with_timezone("UTC"))),
            ("age_seconds", Arc::new(ages)),
            ("max_age_seconds", Arc::new(limits)),
            ("stale", Arc::new(stale)),
        ];
        let batch = RecordBatch::try_from_iter(columns).map_err(|error| PipelineError::Task(error.to_string()))?;
        let schema = batch.schema();
        let rows = futures::stream::iter([Ok(batch)]).boxed();
        Ok(self.store.stage(run, &TableName::new("system", "freshness"), schema, rows, BTreeMap::new()).await?)
    }
}

/// From the wall clock to the plant's: between two runs the plant's clock is taken to go on from the earlier run's instant.
struct Clock {
    /// (wall clock at the run's start, the run's instant), ascending; microseconds.
    runs: Vec<(i64, i64)>,
}

impl Clock {
    fn new(runs: Vec<RunRecord>) -> Self {
        let mut runs: Vec<(i64, i64)> =
            runs.iter().map(|run| (run.started_at.timestamp_micros(), run.as_of.timestamp_micros())).collect();
        runs.sort_unstable();
        Self { runs }
    }

    fn plant(&self, wall: i64) -> i64 {
        let after = self.runs.partition_point(|(started, _)| *started <= wall);
        match after.checked_sub(1).and_then(|at| self.runs.get(at)) {
            Some((started, as_of)) => as_of + (wall - started),
            None => wall,
        }
    }

    fn moved(&self, batch: &RecordBatch) -> Result<RecordBatch, PipelineError> {
        let columns = batch.columns().iter().map(|column| match column.data_type() {
            DataType::Timestamp(..) => self.moved_column(column),
            _ => column.clone(),
        });
        RecordBatch::try_new(batch.schema(), columns.collect()).map_err(|error| PipelineError::Task(error.to_string()))
    }

    fn moved_column(&self, column: &ArrayRef) -> ArrayRef {
        let Some(instants) = column.as_primitive_opt::<TimestampMicrosecondType>() else { return column.clone() };
        let moved: TimestampMicrosecondArray = instants.iter().map(|instant| instant.map(|wall| self.plant(wall))).collect();
        Arc::new(moved.with_data_type(column.data_type().clone()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn instants_follow_the_plants_clock() {
        let clock = Clock { runs: vec![(100, 1_000), (200, 5_000)] };
        assert_eq!(clock.plant(50), 50);
        assert_eq!(clock.plant(100), 1_000);
        assert_eq!(clock.plant(130), 1_030);
        assert_eq!(clock.plant(260), 5_060);
    }
}
