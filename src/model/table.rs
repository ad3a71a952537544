//! A table version, committed or staged, as a table provider.

use std::fmt;
use std::ops::Range;
use std::sync::{Arc, OnceLock};

use arrow::datatypes::{DataType, FieldRef, Schema, SchemaRef};
use async_trait::async_trait;
use datafusion::catalog::Session;
use datafusion::common::{Result, Statistics};
use datafusion::datasource::listing::PartitionedFile;
use datafusion::datasource::physical_plan::parquet::ParquetRowSelection;
use datafusion::datasource::physical_plan::{FileGroup, FileScanConfigBuilder, ParquetSource};
use datafusion::datasource::source::DataSourceExec;
use datafusion::datasource::{TableProvider, TableType};
use datafusion::error::DataFusionError;
use datafusion::execution::object_store::ObjectStoreUrl;
use datafusion::logical_expr::{Expr, TableProviderFilterPushDown};
use datafusion::parquet::arrow::arrow_reader::RowSelection;
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::empty::EmptyExec;
use futures::{FutureExt, StreamExt, TryStreamExt};
use object_store::ObjectStore;

use super::statistics::statistics;
use crate::store::{Chosen, Compared, DataFile, TableVersion};

/// Under this address the engine finds the store's files.
pub(super) const STORE_URL: &str = "loopline://store/";

/// An explicit list of Parquet files; a file that lacks a column of the schema has nulls there.
#[derive(Debug, Clone)]
pub(super) struct Files {
    schema: SchemaRef,
    files: Vec<DataFile>,
    choice: Option<Choice>,
    statistics: OnceLock<Statistics>,
}

/// The rows of a table that are scanned, where not all of them are.
#[derive(Clone)]
pub(super) struct Choice {
    pub chosen: Arc<Chosen>,
    /// What is read to choose.
    pub columns: SchemaRef,
    /// Makes what is compared of that, unless it is the same.
    pub compared: Option<Arc<Compared>>,
}

impl fmt::Debug for Choice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Choice").field("columns", &self.columns).finish_non_exhaustive()
    }
}

impl Files {
    pub fn new(schema: SchemaRef, files: Vec<DataFile>) -> Self {
        Self { schema, files, choice: None, statistics: OnceLock::new() }
    }

    pub fn choosing(&self, choice: Choice) -> Self {
        Self { choice: Some(choice), ..Self::new(self.schema.clone(), self.files.clone()) }
    }

    /// The same rows, texts as views into the buffers that were read: the engine filters, joins and groups by them without copying each.
    pub fn viewed(&self) -> Self {
        let view = |field: &FieldRef| match field.data_type() {
            DataType::Utf8 => Arc::new(field.as_ref().clone().with_data_type(DataType::Utf8View)),
            _ => field.clone(),
        };
        Self::new(Arc::new(Schema::new(self.schema.fields().iter().map(view).collect::<Vec<_>>())), self.files.clone())
    }

    pub fn of(version: &TableVersion) -> Self {
        Self::new(version.schema.clone(), version.files.clone())
    }

    pub fn files(&self) -> &[DataFile] {
        &self.files
    }
    fn statistics_known(&self) -> Statistics {
        // It is not known which rows are chosen, nor how many there are in files of the change feed.
        let is_known = self.choice.is_none() && self.files.iter().all(|file| file.rows > 0 || file.size_bytes == 0);
        let of_files = || match is_known {
            true => statistics(&self.schema, &self.files),
            false => Statistics::new_unknown(&self.schema),
        };
        self.statistics.get_or_init(of_files).clone()
    }

    /// Which rows of each file are scanned; `None`: all.
    async fn live(&self, store: &Arc<dyn ObjectStore>, workers: usize) -> Result<Vec<(DataFile, Option<Vec<Range<u64>>>)>> {
        let live = |file: DataFile| {
            let (store, choice) = (store.clone(), self.choice.clone());
            tokio::spawn(async move {
                let live = match choice {
                    None => file.live(&store).await,
                    Some(Choice { chosen, columns, compared }) => {
                        chosen.locate(&store, &file.path, &file, columns, compared.as_deref()).await.map(Some)
                    }
                };
                live.map(|live| (file, live)).map_err(|error| DataFusionError::External(Box::new(error)))
            })
            .map(|done| done.unwrap_or_else(|error| Err(DataFusionError::External(Box::new(error)))))
        };
        futures::stream::iter(self.files.clone()).map(live).buffered(workers).try_collect().await
    }
}

#[async_trait]
impl TableProvider for Files {
    fn schema(&self) -> SchemaRef {
        self.schema.clone()
    }

    fn table_type(&self) -> TableType {
        TableType::Base
    }

    fn supports_filters_pushdown(&self, filters: &[&Expr]) -> Result<Vec<TableProviderFilterPushDown>> {
        // Row groups are left out by their statistics; the filter itself stays above the scan.
        Ok(vec![TableProviderFilterPushDown::Inexact; filters.len()])
    }

    fn statistics(&self) -> Option<Statistics> {
        Some(self.statistics_known())
    }

    async fn scan(
        &self,
        state: &dyn Session,
        projection: Option<&Vec<usize>>,
        filters: &[Expr],
        limit: Option<usize>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let url = ObjectStoreUrl::parse(STORE_URL)?;
        let store = state.runtime_env().object_store(&url)?;
        let mut files = Vec::with_capacity(self.files.len());
        for (file, live) in self.live(&store, state.config().target_partitions()).await? {
            let scanned = PartitionedFile::new(&file.path, file.size_bytes);
            match live {
                None => files.push(scanned),
                Some(live) if live.is_empty() => {}
                Some(live) => files.push(scanned.with_extension(selection(&live, file.rows_in_file()))),
            }
        }
        if files.is_empty() {
            let schema = match projection {
                Some(columns) => Arc::new(self.schema.project(columns)?),
                None => self.schema.clone(),
            };
            return Ok(Arc::new(EmptyExec::new(schema)));
        }
        let groups = FileGroup::new(files).split_files(state.config().target_partitions());
        let options = state.table_options().parquet.clone();
        let source = ParquetSource::new(self.schema.clone()).with_table_parquet_options(options);
        let config = FileScanConfigBuilder::new(url, Arc::new(source))
            .with_file_groups(groups)
            .with_statistics(self.statistics_known())
            .with_projection_indices(projection.cloned())?
            .with_limit(if filters.is_empty() { limit } else { None })
            .build();
        Ok(DataSourceExec::from_data_source(config))
    }
}

/// The rows `live` of a file of `count` rows.
fn selection(live: &[Range<u64>], count: u64) -> ParquetRowSelection {
    let ranges = live.iter().map(|range| range.start as usize..range.end as usize);
    ParquetRowSelection::new(RowSelection::from_consecutive_ranges(ranges, count as usize))
}

#[cfg(test)]
mod tests {
    use arrow::array::{ArrayRef, Int64Array, RecordBatch};
    use arrow::util::pretty::pretty_format_batches;
    use datafusion::parquet::arrow::ArrowWriter;
    use datafusion::parquet::file::properties::WriterProperties;
    use datafusion::prelude::{SessionConfig, SessionContext};
    use object_store::ObjectStoreExt;
    use object_store::memory::InMemory;

    use super::*;

    #[tokio::test]
    async fn deleted_rows_are_not_scanned() {
        let ids: ArrayRef = Arc::new(Int64Array::from_iter_values(0..40));
        let batch = RecordBatch::try_from_iter_with_nullable([("id", ids, true)]).unwrap();
        let properties = WriterProperties::builder().set_max_row_group_row_count(Some(10)).build();
        let mut writer = ArrowWriter::try_new(Vec::new(), batch.schema(), Some(properties)).unwrap();
        writer.write(&batch).unwrap();
        let bytes = writer.into_inner().unwrap();
        // The rows 3, 4, 7, 11, 18 and 29 are deleted.
        let file = serde_json::json!({
            "path": "t.parquet", "size_bytes": bytes.len(), "rows": 34, "stats": null,
            "deletion_vector": { "path": null, "descriptor": {
                "storageType": "i", "pathOrInlineDv": "^Bg9^0rr910000000000iXQKl0rr91000f55c8Xg0@@D72lkbi5=-{L",
                "sizeInBytes": 44, "cardinality": 6,
            } },
        });
        let store: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
        store.put(&"t.parquet".into(), bytes.into()).await.unwrap();
        let session = SessionContext::new_with_config(SessionConfig::new().with_target_partitions(3));
        session.runtime_env().register_object_store(ObjectStoreUrl::parse(STORE_URL).unwrap().as_ref(), store);
        let files = Files::new(batch.schema(), vec![serde_json::from_value(file).unwrap()]);
        session.register_table("t", Arc::new(files)).unwrap();
        let cases = [
            ("select count(*) as n from t", "34"),
            ("select sum(id) as n from t", "708"),
            ("select count(id) as n from t where id between 3 and 18", "11"),
            ("select count(*) as n from (select id from t where id >= 10 limit 25)", "25"),
            ("select max(id) as n from t where id < 30", "28"),
        ];
        for (sql, expected) in cases {
            let found = session.sql(sql).await.unwrap().collect().await.unwrap();
            let found = pretty_format_batches(&found).unwrap().to_string();
            assert!(found.contains(&format!("| {expected} ")), "{sql}: {found}");
        }
    }
}
