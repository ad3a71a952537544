//! A table version, committed or staged, as a table provider.

use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use async_trait::async_trait;
use datafusion::catalog::Session;
use datafusion::common::stats::Precision;
use datafusion::common::{Result, Statistics};
use datafusion::datasource::listing::PartitionedFile;
use datafusion::datasource::physical_plan::{FileGroup, FileScanConfigBuilder, ParquetSource};
use datafusion::datasource::source::DataSourceExec;
use datafusion::datasource::{TableProvider, TableType};
use datafusion::execution::object_store::ObjectStoreUrl;
use datafusion::logical_expr::{Expr, TableProviderFilterPushDown};
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::empty::EmptyExec;

use crate::store::{DataFile, TableVersion};

/// Under this address the engine finds the store's files.
pub(super) const STORE_URL: &str = "loopline://store/";

/// An explicit list of Parquet files; a file that lacks a column of the schema has nulls there.
#[derive(Debug)]
pub(super) struct Files {
    schema: SchemaRef,
    files: Vec<DataFile>,
}

impl Files {
    pub fn new(schema: SchemaRef, files: Vec<DataFile>) -> Self {
        Self { schema, files }
    }

    pub fn of(version: &TableVersion) -> Self {
        Self::new(version.schema.clone(), version.files.clone())
    }

    pub fn rows(&self) -> u64 {
        self.files.iter().map(|file| file.rows).sum()
    }

    fn statistics_known(&self) -> Statistics {
        let known = |count: u64| usize::try_from(count).map_or(Precision::Absent, Precision::Exact);
        let bytes = self.files.iter().map(|file| file.size_bytes).sum();
        let mut statistics = Statistics::new_unknown(&self.schema);
        statistics.num_rows = known(self.rows());
        statistics.total_byte_size = known(bytes).to_inexact();
        statistics
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
        if self.files.is_empty() {
            let schema = match projection {
                Some(columns) => Arc::new(self.schema.project(columns)?),
                None => self.schema.clone(),
            };
            return Ok(Arc::new(EmptyExec::new(schema)));
        }
        let files = self.files.iter().map(|file| PartitionedFile::new(&file.path, file.size_bytes)).collect();
        let groups = FileGroup::new(files).split_files(state.config().target_partitions());
        let options = state.table_options().parquet.clone();
        let source = ParquetSource::new(self.schema.clone()).with_table_parquet_options(options);
        let config = FileScanConfigBuilder::new(ObjectStoreUrl::parse(STORE_URL)?, Arc::new(source))
            .with_file_groups(groups)
            .with_statistics(self.statistics_known())
            .with_projection_indices(projection.cloned())?
            .with_limit(if filters.is_empty() { limit } else { None })
            .build();
        Ok(DataSourceExec::from_data_source(config))
    }
}
