//! Rows that are chosen by some of their values, and where they lie in a file.
//!
//! Files, row groups and rows that cannot be chosen are left out in this order, so that clustered values cost what they touch.

use std::collections::HashSet;
use std::hash::BuildHasherDefault;
use std::ops::Range;
use std::sync::Arc;

use arrow::array::{Array, AsArray, RecordBatch};
use arrow::datatypes::{DataType, Date32Type, Field, SchemaRef, TimestampMicrosecondType};
use futures::StreamExt;
use object_store::ObjectStore;
use parquet::file::metadata::{PageIndexPolicy, RowGroupMetaData};

use super::error::BoxError;
use super::file::Opened;
use super::hash::RowHasher;
use super::keyed::{Values, latest};
use super::stats::{KeyRange, group_range, key_range};
use super::stored::Unhashed;
use super::{DataFile, StoreError};

/// Makes the compared columns out of those that are read, row by row.
pub type Compared = dyn Fn(&RecordBatch) -> Result<RecordBatch, BoxError> + Send + Sync;

/// Rows with one of some values, or from some time on.
pub struct Chosen {
    schema: SchemaRef,
    hasher: RowHasher,
    values: HashSet<u128, BuildHasherDefault<Unhashed>>,
    /// By column of `schema`.
    wanted: Vec<Values>,
    /// Rows whose first column is this or later are chosen, too: days or microseconds.
    from: Option<i64>,
}

impl Chosen {
    /// Rows whose columns of `schema`, found by name, are those of a row of `values`; nulls are equal.
    pub fn new(schema: SchemaRef, values: &[RecordBatch], from: Option<i64>) -> Result<Self, StoreError> {
        let hasher = RowHasher::new(schema.fields().iter().map(|field| field.name().as_str()));
        let mut hashes = HashSet::default();
        for batch in values {
            hashes.extend(hasher.hash("of chosen rows", batch)?);
        }
        let batches: Vec<&RecordBatch> = values.iter().collect();
        let wanted = schema.fields().iter().map(|field| Values::of(field, &batches)).collect::<Result<_, _>>();
        let wanted =
            wanted.map_err(|source| StoreError::Arrow { table: "of chosen rows".into(), what: "sort values", source })?;
        Ok(Self { schema, hasher, values: hashes, wanted, from })
    }

    /// The columns that are compared.
    pub(super) fn columns(&self) -> Vec<&str> {
        self.schema.fields().iter().map(|field| field.name().as_str()).collect()
    }

    /// Which rows of `batch` are chosen.
    pub fn holds(&self, table: &str, batch: &RecordBatch) -> Result<Vec<bool>, StoreError> {
        let mut held: Vec<bool> = self.hasher.hash(table, batch)?.iter().map(|hash| self.values.contains(hash)).collect();
        let first = self.columns().first().and_then(|name| batch.column_by_name(name));
        if let (Some(from), Some(column)) = (self.from, first) {
            let mut later = |row: usize, value: i64| held[row] |= column.is_valid(row) && value >= from;
            match column.data_type() {
                DataType::Date32 => {
                    let days = column.as_primitive::<Date32Type>().values().iter();
                    days.enumerate().for_each(|(row, day)| later(row, (*day).into()));
                }
                DataType::Timestamp(..) => {
                    let micros = column.as_primitive::<TimestampMicrosecondType>().values().iter();
                    micros.enumerate().for_each(|(row, at)| later(row, *at));
                }
                _ => {}
            }
        }
        Ok(held)
    }

    /// Whether there may be a chosen row where columns have these ranges.
    fn meets(&self, range: impl Fn(&Field) -> KeyRange) -> bool {
        let columns = self.schema.fields().iter().zip(&self.wanted);
        let ranges: Vec<_> = columns.map(|(field, wanted)| (field, wanted, range(field))).collect();
        let is_later = |from: i64| {
            ranges.first().is_none_or(|(field, _, range)| latest(field.data_type(), range).is_none_or(|latest| latest >= from))
        };
        !self.values.is_empty() && ranges.iter().all(|(_, wanted, range)| wanted.meet(range)) || self.from.is_some_and(is_later)
    }

    /// Whether a file may hold a chosen row, by its statistics.
    pub(super) fn may_be_in(&self, file: &DataFile) -> bool {
        self.meets(|field| key_range(file.stats.as_deref(), field.name()))
    }

    /// Whether a row group may hold a chosen row, by its statistics.
    pub(super) fn may_be_in_group(&self, group: &RowGroupMetaData) -> bool {
        self.meets(|field| group_range(field, group))
    }

    /// Positions of a file's rows that count and are chosen, ascending. `columns`: what is read of it; `compared` makes the columns of this choice of
    /// that, where they are not columns of the file.
    pub async fn locate(
        &self,
        store: &Arc<dyn ObjectStore>,
        table: &str,
        file: &DataFile,
        columns: SchemaRef,
        compared: Option<&Compared>,
    ) -> Result<Vec<Range<u64>>, StoreError> {
        let mut found: Vec<Range<u64>> = Vec::new();
        if compared.is_none() && !self.may_be_in(file) {
            return Ok(found);
        }
        let opened = Opened::new(store, table, file, PageIndexPolicy::Skip).await?;
        let groups = opened.groups(|group| compared.is_some() || self.may_be_in_group(group));
        let mut rows = opened.read(columns, &groups)?;
        while let Some(located) = rows.next().await {
            let located = located?;
            let held = match compared {
                None => self.holds(table, &located.rows)?,
                Some(compared) => {
                    let made = compared(&located.rows).map_err(|source| StoreError::Input { table: table.into(), source })?;
                    self.holds(table, &made)?
                }
            };
            for position in located.positions.iter().zip(held).filter_map(|(position, held)| held.then_some(*position)) {
                match found.last_mut().filter(|last| last.end == position) {
                    Some(last) => last.end += 1,
                    None => found.push(position..position + 1),
                }
            }
        }
        Ok(found)
    }
}
