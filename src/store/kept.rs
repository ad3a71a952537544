//! Rows that are kept to look at, outside of any cut: what failed a check in a run that publishes nothing.

use std::collections::BTreeMap;

use arrow::array::RecordBatch;

use crate::base::{RunId, TableName};

use super::delta::Commit;
use super::file::FileWriter;
use super::place::Place;
use super::{Store, StoreError, types};

/// Who commits them; the number is the run's.
const APP: &str = "loopline/kept";
/// Note: such tables that hold rows.
const NOTE: &str = "kept tables";

impl Store {
    /// Makes `rows` the whole content of `table`, which belongs to no cut: SQL reads its latest version.
    pub async fn keep_rows(&self, run: RunId, table: &TableName, rows: &RecordBatch) -> Result<(), StoreError> {
        self.control.check_lease()?;
        let name = table.to_string();
        let base = self.load(table).await?;
        let schema = types::storable(&name, &rows.schema())?;
        let mut add = Vec::new();
        if rows.num_rows() > 0 {
            let stem = format!("{}/k-{run}", Place::table_folder(table));
            let mut writer = FileWriter::new(self.object_store(), &name, stem, schema.clone());
            writer.write(&types::by_position(&name, rows, &schema)?).await?;
            add = writer.finish().await?;
        }
        let remove = base.as_ref().map(|base| base.version.files.clone()).unwrap_or_default();
        let (properties, changes, txn) = (BTreeMap::new(), Vec::new(), (APP.to_owned(), run.0));
        self.commit(table, Commit { base, schema, properties, add, remove, changes, data_change: true, txn }).await?;
        let mut kept = self.kept_tables()?;
        kept.retain(|other| other != table);
        kept.extend((rows.num_rows() > 0).then(|| table.clone()));
        let names: Vec<String> = kept.iter().map(ToString::to_string).collect();
        self.control.set_note(NOTE, &serde_json::json!(names).to_string())
    }

    /// Such tables that hold rows.
    pub fn kept_tables(&self) -> Result<Vec<TableName>, StoreError> {
        let names: Vec<String> = self.control.note(NOTE)?.and_then(|text| serde_json::from_str(&text).ok()).unwrap_or_default();
        Ok(names.iter().filter_map(|name| name.parse().ok()).collect())
    }

    /// Leaves no rows in such a table.
    pub async fn clear_kept(&self, run: RunId, table: &TableName) -> Result<(), StoreError> {
        match self.latest(table).await? {
            Some(version) if !version.files.is_empty() => {
                self.keep_rows(run, table, &RecordBatch::new_empty(version.schema)).await
            }
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::*;
    use super::*;

    #[tokio::test(flavor = "multi_thread")]
    async fn the_last_rows_are_kept_until_they_are_cleared() {
        let bench = Bench::new().await;
        let table = name("checks.scm__stock__quantity_0");
        bench.store.keep_rows(RunId(1), &table, &orders(&[(1, "a"), (2, "b")])).await.unwrap();
        let renamed = RecordBatch::try_from_iter([("key", orders(&[(3, "c")]).column(0).clone())]).unwrap();
        bench.store.keep_rows(RunId(2), &table, &renamed).await.unwrap();
        assert_eq!(bench.rows("checks.scm__stock__quantity_0").await, ["3"]);
        assert_eq!(bench.store.kept_tables().unwrap(), std::slice::from_ref(&table));
        bench.store.clear_kept(RunId(3), &table).await.unwrap();
        bench.store.clear_kept(RunId(4), &name("checks.never__was")).await.unwrap();
        assert!(bench.rows("checks.scm__stock__quantity_0").await.is_empty());
        assert!(bench.store.kept_tables().unwrap().is_empty());
    }
}
