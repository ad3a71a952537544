//! Tables that only grow and belong to no cut: what happened, for people to ask about. SQL reads their latest version.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::compute::{concat_batches, sort_to_indices, take_record_batch};
use futures::TryStreamExt;

use crate::base::{RunId, TableName};

use super::delta::{Commit, Loaded};
use super::file::FileWriter;
use super::place::Place;
use super::{Store, StoreError, TableVersion};

/// Rows that are kept when the files are merged: the last ones.
const ROWS_MAX: usize = 100_000;
/// Each append adds a small file; so many are merged into one.
pub(super) const FILES_MAX: usize = 32;

/// A table to append to. Its first column is an ascending number, the first of what the table keeps.
pub(super) struct Journal {
    table: TableName,
    base: Option<Arc<Loaded>>,
    /// The last number that was appended; 0 if none.
    pub(super) last: i64,
}

impl Store {
    pub(super) async fn journal(&self, name: &str) -> Result<Journal, StoreError> {
        let table = TableName::new("system", name);
        let base = self.load(&table).await?;
        let last = match &base {
            Some(base) => self.txn(base, &app(&table)).await?.unwrap_or(0),
            None => 0,
        };
        Ok(Journal { table, base, last })
    }

    /// Appends rows whose last number is `number`.
    pub(super) async fn append(&self, journal: Journal, number: i64, mut batch: RecordBatch) -> Result<(), StoreError> {
        self.control.check_lease()?;
        let Journal { table, base, .. } = journal;
        let mut remove = Vec::new();
        if let Some(base) = base.as_ref().filter(|base| base.version.files.len() >= FILES_MAX) {
            batch = self.merged(&base.version, batch).await?;
            remove.clone_from(&base.version.files);
        }
        let stem = format!("{}/p-{number}", Place::table_folder(&table));
        let (schema, txn) = (batch.schema(), (app(&table), number));
        let mut writer = FileWriter::new(self.object_store(), &table.to_string(), stem, schema.clone());
        writer.write(&batch).await?;
        let add = writer.finish().await?;
        let commit =
            Commit { base, schema, properties: BTreeMap::new(), add, remove, changes: Vec::new(), data_change: true, txn };
        self.commit(&table, commit).await.map(drop)
    }

    /// Appends to `system.model_runs` what a run did with its tables (first column: the run). A run that is there already is left as it is.
    pub async fn append_model_runs(&self, run: RunId, rows: RecordBatch) -> Result<(), StoreError> {
        let journal = self.journal("model_runs").await?;
        if journal.last >= run.0 {
            return Ok(());
        }
        self.append(journal, run.0, rows).await
    }

    /// The last rows of a version and of `batch`, by number.
    async fn merged(&self, version: &TableVersion, batch: RecordBatch) -> Result<RecordBatch, StoreError> {
        let table = version.table.to_string();
        let input = |source| StoreError::Input { table: table.clone(), source };
        let arrow = |source| StoreError::Arrow { table: table.clone(), what: "merge rows", source };
        let mut batches: Vec<RecordBatch> = self.read(version).try_collect().await.map_err(input)?;
        batches.push(batch);
        let all = concat_batches(&version.schema, &batches).map_err(arrow)?;
        let order = sort_to_indices(all.column(0), None, None).map_err(arrow)?;
        let first = all.num_rows().saturating_sub(ROWS_MAX);
        take_record_batch(&all, &order.slice(first, all.num_rows() - first)).map_err(arrow)
    }
}

fn app(table: &TableName) -> String {
    format!("loopline/{table}")
}
