//! Comparing the rows of a source with those of a table, by key.

use std::collections::BTreeMap;

use arrow::array::{ArrayRef, RecordBatch, UInt64Array};
use arrow::compute::{concat_batches, take_record_batch};
use arrow::datatypes::SchemaRef;
use arrow::util::display::array_value_to_string;
use futures::{StreamExt, TryStreamExt};

use crate::base::TableName;

use super::{Batches, Comparison, RangeComparison, Store, StoreError};

impl Store {
    /// Compares all columns of the rows, or only `columns`.
    pub async fn compare(
        &self,
        table: &TableName,
        key: &[String],
        schema: SchemaRef,
        columns: Option<&[String]>,
        parts: Vec<Batches>,
    ) -> Result<Comparison, StoreError> {
        let latest = self.latest(table).await?.ok_or_else(|| StoreError::NoTable { table: table.to_string() })?;
        let names: Vec<String> = match columns {
            Some(columns) => columns.to_vec(),
            None => schema.fields().iter().map(|field| field.name().clone()).collect(),
        };
        let input = |source| StoreError::Input { table: table.to_string(), source };
        let source: Vec<RecordBatch> = futures::stream::iter(parts).flatten().try_collect().await.map_err(input)?;
        let stored: Vec<RecordBatch> = self.read(&latest).try_collect().await.map_err(input)?;
        let arrow = |source| StoreError::Arrow { table: table.to_string(), what: "compare rows", source };
        let source = concat_batches(&schema, &source).map_err(arrow)?;
        let stored = concat_batches(&latest.schema, &stored).map_err(arrow)?;
        let (left, right) = (rows(&source, key, &names).map_err(arrow)?, rows(&stored, key, &names).map_err(arrow)?);
        let mut found = Comparison { source_rows: left.len() as u64, table_rows: right.len() as u64, ..Comparison::default() };
        let (mut wanted, mut gone) = (Vec::new(), Vec::new());
        for (key, (row, at)) in &left {
            match right.get(key) {
                None => found.absent += 1,
                Some((other, _)) if other != row => found.differing += 1,
                Some(_) => continue,
            }
            wanted.push(*at);
        }
        for (key, (_, at)) in &right {
            if !left.contains_key(key) {
                found.gone += 1;
                gone.push(*at);
            }
        }
        let keys = |batch: &RecordBatch, rows: Vec<u64>| {
            let at = key.iter().map(|name| batch.schema().index_of(name)).collect::<Result<Vec<_>, _>>()?;
            take_record_batch(&batch.project(&at)?, &UInt64Array::from(rows)).map(|batch| vec![batch])
        };
        found.wanted_keys = keys(&source, wanted).map_err(arrow)?;
        found.gone_keys = keys(&stored, gone).map_err(arrow)?;
        found.ranges.push(RangeComparison {
            from: None,
            to: None,
            source_rows: found.source_rows,
            table_rows: found.table_rows,
            source_checksum: format!("{:x}", left.len()),
            table_checksum: format!("{:x}", right.len()),
        });
        Ok(found)
    }
}

type Rows = BTreeMap<Vec<String>, (Vec<String>, u64)>;

fn rows(batch: &RecordBatch, key: &[String], columns: &[String]) -> Result<Rows, arrow::error::ArrowError> {
    let cell = |column: &ArrayRef, row| array_value_to_string(column, row);
    let of = |names: &[String], row| {
        names.iter().filter_map(|name| batch.column_by_name(name)).map(|column| cell(column, row)).collect::<Result<Vec<_>, _>>()
    };
    (0..batch.num_rows()).map(|row| Ok((of(key, row)?, (of(columns, row)?, row as u64)))).collect()
}
