//! What pulls left out: `<table>__discarded`, one row for each row or value, kept for people to look at.
//!
//! Entries are committed before the rows of their pull and count once that is committed: those of a pull that never was are removed by the next
//! landing. An entry that is there already is not repeated, so a source that stays wrong adds nothing.

use std::collections::HashSet;
use std::sync::Arc;

use arrow::array::{Array, BooleanArray, Int64Array, RecordBatch, TimestampMicrosecondArray};
use arrow::compute::filter_record_batch;
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use futures::TryStreamExt;

use crate::base::TableName;
use crate::base::time::Instant;

use super::evolve::PULL;
use super::file::{FileWriter, read_file};
use super::hash::RowHasher;
use super::land::{landing_of, stem};
use super::{Store, StoreError, types};

/// When the entry was made.
const AT: &str = "at";

impl Store {
    /// Adds entries of a pull to the table beside `live`; returns whether any was new. Those of pulls above `last` do not count and are removed.
    pub(super) async fn commit_discarded(
        &self,
        live: &TableName,
        pull: i64,
        last: i64,
        at: Instant,
        entries: Option<RecordBatch>,
    ) -> Result<bool, StoreError> {
        let table = TableName::new(&live.schema, format!("{}__discarded", live.name));
        let base = self.load(&table).await?;
        let known = || base.as_ref().map(|base| base.version.schema.clone());
        let Some(schema) = entries.as_ref().map(|entries| discarded_schema(&entries.schema())).or_else(known) else {
            return Ok(false);
        };
        let mut writer = FileWriter::new(self.object_store(), &table.to_string(), stem(&table, "d", pull), schema.clone());
        if let Some(entries) = entries {
            let entries = self.unknown(&table, last, &schema, entries).await?;
            writer.write(&stamped(&table, &schema, pull, at, &entries)?).await?;
        }
        let add = writer.finish().await?;
        let is_new = !add.is_empty();
        self.commit_beside(&table, schema, pull, last, add).await?;
        Ok(is_new)
    }

    /// Those entries that no committed pull made before.
    async fn unknown(
        &self,
        table: &TableName,
        last: i64,
        schema: &SchemaRef,
        entries: RecordBatch,
    ) -> Result<RecordBatch, StoreError> {
        let name = table.to_string();
        let said = entries.schema();
        let hasher = RowHasher::new(said.fields().iter().map(|field| field.name().as_str()));
        let mut known = HashSet::new();
        let files = self.load(table).await?.map(|loaded| loaded.version.files.clone()).unwrap_or_default();
        for file in files.iter().filter(|file| landing_of(file).is_none_or(|pull| pull <= last)) {
            let mut rows = read_file(self.object_store(), name.clone(), file, schema.clone());
            while let Some(batch) = rows.try_next().await? {
                known.extend(hasher.hash(&name, &batch)?);
            }
        }
        let failed = |source| StoreError::Arrow { table: name.clone(), what: "pick entries", source };
        let is_new: BooleanArray = hasher.hash(&name, &entries)?.into_iter().map(|hash| Some(known.insert(hash))).collect();
        filter_record_batch(&entries, &is_new).map_err(failed)
    }
}

/// `_pull`, `at`, then what the pipeline says of each entry.
fn discarded_schema(entries: &Schema) -> SchemaRef {
    let own = [Field::new(PULL, DataType::Int64, true), Field::new(AT, types::instant(), true)];
    Arc::new(Schema::new(own.into_iter().chain(entries.fields().iter().map(|field| field.as_ref().clone())).collect::<Vec<_>>()))
}

fn stamped(
    table: &TableName,
    schema: &SchemaRef,
    pull: i64,
    at: Instant,
    entries: &RecordBatch,
) -> Result<RecordBatch, StoreError> {
    let rows = entries.num_rows();
    let mut columns: Vec<Arc<dyn Array>> = vec![
        Arc::new(Int64Array::from(vec![pull; rows])),
        Arc::new(TimestampMicrosecondArray::from(vec![at.timestamp_micros(); rows]).with_timezone("UTC")),
    ];
    columns.extend_from_slice(entries.columns());
    RecordBatch::try_new(schema.clone(), columns).map_err(|source| StoreError::Arrow {
        table: table.to_string(),
        what: "assemble rows",
        source,
    })
}

#[cfg(test)]
mod tests {
    use arrow::array::{ArrayRef, StringArray};

    use super::super::testing::*;
    use super::super::{Landing, LeftOut};
    use super::*;

    const BESIDE: &str = "raw.erp__orders__discarded";

    fn entries(keys: &[&str]) -> Option<RecordBatch> {
        let keys: ArrayRef = Arc::new(StringArray::from(keys.to_vec()));
        RecordBatch::try_from_iter_with_nullable([("key", keys, true)]).ok()
    }

    async fn land(bench: &Bench, pull: i64, rows: &[(i64, &str)], left_out: LeftOut) -> u64 {
        let landing = Landing { left_out: Box::new(|| left_out), ..landing(pull, vec![orders(rows)], whole()) };
        bench.store.land(landing).await.unwrap().deleted
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn entries_are_kept_once_and_their_rows_are_not_gone() {
        let mut bench = Bench::new().await;
        let only = |keys: &[&str]| LeftOut { entries: entries(keys), ..LeftOut::default() };
        land(&bench, 1, &[(1, "a"), (2, "b"), (3, "c")], only(&["id=7"])).await;
        assert_eq!(bench.rows(BESIDE).await, ["1|2023-11-14T22:13:21Z|id=7"]);

        let left_out = LeftOut { keys: Some(vec![orders(&[(2, "")]).project(&[0]).unwrap()]), ..only(&["id=7", "id=2"]) };
        assert_eq!(land(&bench, 2, &[(1, "a")], left_out).await, 1, "only row 3 is gone");
        assert_eq!(bench.rows(TABLE).await, ["1|a|1", "2|b|1"]);
        assert_eq!(bench.rows(BESIDE).await.len(), 2);
        let version = bench.table(BESIDE).await.version;

        assert_eq!(land(&bench, 3, &[(1, "a")], LeftOut { keys: None, ..only(&["id=2"]) }).await, 0, "nobody knows what is gone");
        assert_eq!(bench.table(BESIDE).await.version, version, "nothing new was left out");
        bench.restart().await;
        assert_eq!(bench.store.next_pull(&name(TABLE)).await.unwrap(), 3, "nothing was committed");
        land(&bench, 3, &[(1, "a"), (2, "b")], only(&["id=9"])).await;
        assert_eq!(
            bench.store.next_pull(&name(TABLE)).await.unwrap(),
            4,
            "what was left out is committed although no row changed"
        );
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn entries_of_a_landing_that_never_committed_are_removed() {
        let bench = Bench::new().await;
        land(&bench, 1, &[(1, "a")], LeftOut::default()).await;
        bench.store.commit_discarded(&name(TABLE), 2, 1, instant(2), entries(&["id=5", "id=6"])).await.unwrap();
        land(&bench, 2, &[(1, "b")], LeftOut { entries: entries(&["id=6"]), ..LeftOut::default() }).await;
        assert_eq!(bench.rows(BESIDE).await, ["2|2023-11-14T22:13:22Z|id=6"]);
        bench.store.commit_discarded(&name(TABLE), 3, 2, instant(3), entries(&["id=5"])).await.unwrap();
        land(&bench, 3, &[(1, "c")], LeftOut::default()).await;
        assert_eq!(bench.rows(BESIDE).await, ["2|2023-11-14T22:13:22Z|id=6"]);
    }
}
