//! Rows by key: how they are told apart, ordered and found.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, ArrowPrimitiveType, AsArray, RecordBatch};
use arrow::compute::{concat, sort};
use arrow::datatypes::{
    DataType, Date32Type, Field, FieldRef, Int32Type, Int64Type, Schema, SchemaRef, TimestampMicrosecondType,
};
use arrow::error::ArrowError;
use arrow::row::{RowConverter, SortField};
use arrow::util::display::array_value_to_string;
use chrono::{DateTime, NaiveDate};
use parquet::file::metadata::RowGroupMetaData;

use super::hash::RowHasher;
use super::stats::{KeyRange, group_range, key_range};
use super::{DataFile, StoreError};

/// The keys and rows of one table.
pub(super) struct Keyed {
    pub(super) table: String,
    pub(super) schema: SchemaRef,
    /// Positions of the key's columns.
    key: Vec<usize>,
    order: RowConverter,
    keys: RowHasher,
    rows: RowHasher,
}

impl Keyed {
    /// `compared`: the columns by which rows are told apart.
    pub(super) fn new<'a>(
        table: &str,
        schema: SchemaRef,
        key: Vec<usize>,
        compared: impl IntoIterator<Item = &'a str>,
    ) -> Result<Self, StoreError> {
        let failed = |source| StoreError::Arrow { table: table.into(), what: "encode keys", source };
        let field = |column: &usize| SortField::new(schema.field(*column).data_type().clone());
        let order = RowConverter::new(key.iter().map(field).collect()).map_err(failed)?;
        let keys = RowHasher::new(key.iter().map(|column| schema.field(*column).name().as_str()));
        Ok(Self { table: table.into(), rows: RowHasher::new(compared), schema, key, order, keys })
    }

    fn failed(&self, what: &'static str) -> impl FnOnce(ArrowError) -> StoreError {
        let table = self.table.clone();
        move |source| StoreError::Arrow { table, what, source }
    }

    /// The key's columns, and of `more` those that the table has.
    pub(super) fn key_schema(&self, more: &[&str]) -> SchemaRef {
        let wanted =
            |(position, field): &(usize, &FieldRef)| self.key.contains(position) || more.contains(&field.name().as_str());
        let fields = self.schema.fields().iter().enumerate().filter(wanted);
        Arc::new(Schema::new(fields.map(|(_, field)| field.clone()).collect::<Vec<_>>()))
    }

    /// Hashes of the keys of `batch`, which may have other columns than the table.
    pub(super) fn key_hashes(&self, batch: &RecordBatch) -> Result<Vec<u128>, StoreError> {
        self.keys.hash(&self.table, batch)
    }

    /// Hashes of the rows of `batch`, over the columns by which they are told apart.
    pub(super) fn row_hashes(&self, batch: &RecordBatch) -> Result<Vec<u128>, StoreError> {
        self.rows.hash(&self.table, batch)
    }

    /// Refuses a NULL in a key; `before`: rows read before this batch.
    pub(super) fn check_nulls(&self, batch: &RecordBatch, before: u64) -> Result<(), StoreError> {
        for column in &self.key {
            let nulls = batch.column(*column).nulls().filter(|nulls| nulls.null_count() > 0);
            if let Some(row) = nulls.and_then(|nulls| nulls.iter().position(|is_valid| !is_valid)) {
                let column = self.schema.field(*column).name().clone();
                return Err(StoreError::NullKey { table: self.table.clone(), column, row: before + row as u64 + 1 });
            }
        }
        Ok(())
    }

    /// The key of one row, for a person: `order = 7, line = 2`.
    pub(super) fn describe(&self, batch: &RecordBatch, row: usize) -> String {
        let one = |column: &usize| {
            let value = array_value_to_string(batch.column(*column), row).unwrap_or_else(|_| "?".into());
            format!("{} = {value}", self.schema.field(*column).name())
        };
        self.key.iter().map(one).collect::<Vec<_>>().join(", ")
    }

    /// Rows of `batches`, given by batch and row, in the order of their keys.
    pub(super) fn sort(&self, batches: &[RecordBatch], rows: &mut [(usize, usize)]) -> Result<(), StoreError> {
        let keys = |batch: &RecordBatch| {
            let columns: Vec<ArrayRef> = self.key.iter().map(|column| batch.column(*column).clone()).collect();
            self.order.convert_columns(&columns).map_err(self.failed("encode keys"))
        };
        let keys = batches.iter().map(keys).collect::<Result<Vec<_>, _>>()?;
        rows.sort_unstable_by(|a, b| keys[a.0].row(a.1).cmp(&keys[b.0].row(b.1)));
        Ok(())
    }

    /// The keys of `batches`, to be looked for.
    pub(super) fn wanted<'a>(&self, batches: impl IntoIterator<Item = &'a RecordBatch>) -> Result<Wanted, StoreError> {
        let batches: Vec<&RecordBatch> = batches.into_iter().collect();
        let column = |column: &usize| {
            let field = self.schema.fields()[*column].clone();
            let values = Values::of(&field, &batches).map_err(self.failed("sort keys"))?;
            Ok((field, values))
        };
        Ok(Wanted(self.key.iter().map(column).collect::<Result<_, _>>()?))
    }
}

/// Keys that are looked for: the values of each column.
pub(super) struct Wanted(Vec<(FieldRef, Values)>);

impl Wanted {
    /// Whether statistics allow that one of them is in a file.
    pub(super) fn may_be_in(&self, file: &DataFile) -> bool {
        self.0.iter().all(|(field, values)| values.meet(&key_range(file.stats.as_deref(), field.name())))
    }

    /// Whether statistics allow that one of them is in a row group.
    pub(super) fn may_be_in_group(&self, group: &RowGroupMetaData) -> bool {
        self.0.iter().all(|(field, values)| values.meet(&group_range(field, group)))
    }
}

/// The values of a key's column, ascending.
#[derive(Debug)]
pub(super) enum Values {
    Integers(Vec<i64>),
    /// Days or microseconds, and how to read those in statistics.
    Times(Vec<i64>, fn(&str) -> Option<i64>),
    Texts(ArrayRef),
    /// A type that statistics are not used for.
    Unknown,
}

impl Values {
    /// The values of `column` in `batches`. Statistics do not tell which files hold a null, so that one null makes every file a candidate.
    pub(super) fn of(column: &Field, batches: &[&RecordBatch]) -> Result<Self, ArrowError> {
        let columns: Vec<&ArrayRef> = batches.iter().filter_map(|batch| batch.column_by_name(column.name())).collect();
        if columns.iter().any(|values| values.null_count() > 0) {
            return Ok(Self::Unknown);
        }
        Self::new(column.data_type(), &columns)
    }

    fn new(data_type: &DataType, columns: &[&ArrayRef]) -> Result<Self, ArrowError> {
        Ok(match data_type {
            DataType::Int32 => Self::Integers(sorted::<Int32Type>(columns)),
            DataType::Int64 => Self::Integers(sorted::<Int64Type>(columns)),
            DataType::Date32 => Self::Times(sorted::<Date32Type>(columns), day),
            DataType::Timestamp(_, _) => Self::Times(sorted::<TimestampMicrosecondType>(columns), micros),
            DataType::Utf8 if !columns.is_empty() => {
                let columns: Vec<&dyn Array> = columns.iter().map(|column| column.as_ref()).collect();
                Self::Texts(sort(&concat(&columns)?, None)?)
            }
            _ => Self::Unknown,
        })
    }

    pub(super) fn meet(&self, range: &KeyRange) -> bool {
        let within = |values: &[i64], least: i64, greatest: i64| {
            values.get(values.partition_point(|value| *value < least)).is_some_and(|value| *value <= greatest)
        };
        match (self, range) {
            (Self::Integers(values) | Self::Times(values, _), KeyRange::Integer(least, greatest)) => {
                within(values, *least, *greatest)
            }
            (Self::Times(values, parse), KeyRange::Text(least, greatest)) => match (parse(least), parse(greatest)) {
                (Some(least), Some(greatest)) => within(values, least, greatest),
                _ => true,
            },
            (Self::Texts(values), KeyRange::Text(least, greatest)) => {
                let values = values.as_string::<i32>();
                let (mut first, mut after) = (0, values.len());
                while first < after {
                    let middle = usize::midpoint(first, after);
                    if values.value(middle) < least.as_str() { first = middle + 1 } else { after = middle }
                }
                first < values.len() && values.value(first) <= greatest.as_str()
            }
            _ => true,
        }
    }
}

fn sorted<T: ArrowPrimitiveType<Native: Into<i64>>>(columns: &[&ArrayRef]) -> Vec<i64> {
    let values =
        |column: &&ArrayRef| column.as_primitive::<T>().values().iter().map(|value| (*value).into()).collect::<Vec<i64>>();
    let mut values = columns.iter().flat_map(values).collect::<Vec<i64>>();
    values.sort_unstable();
    values
}

/// The greatest value of a column of days or instants (microseconds), as far as statistics say.
pub(super) fn latest(data_type: &DataType, range: &KeyRange) -> Option<i64> {
    match range {
        KeyRange::Integer(_, greatest) => Some(*greatest),
        KeyRange::Text(_, greatest) => {
            if *data_type == DataType::Date32 {
                day(greatest)
            } else {
                micros(greatest)
            }
        }
        KeyRange::Any => None,
    }
}

fn day(text: &str) -> Option<i64> {
    Some(i64::from(text.parse::<NaiveDate>().ok()?.to_epoch_days()))
}

fn micros(text: &str) -> Option<i64> {
    Some(DateTime::parse_from_rfc3339(text).ok()?.timestamp_micros())
}

#[cfg(test)]
mod tests {
    use arrow::array::{Date32Array, Int64Array, TimestampMicrosecondArray};

    use super::*;

    #[test]
    fn files_are_left_out_by_every_column_of_the_key() {
        let columns: Vec<(&str, ArrayRef)> = vec![
            ("n", Arc::new(Int64Array::from(vec![10, 500]))),
            ("day", Arc::new(Date32Array::from(vec![19_723, 19_724]))), // 2024-01-01 and after
            ("at", Arc::new(TimestampMicrosecondArray::from(vec![1_000_000, 2_000_000]).with_timezone("UTC"))),
        ];
        let batch = RecordBatch::try_from_iter(columns).unwrap();
        let keyed = Keyed::new("t", batch.schema(), vec![0, 1, 2], []).unwrap();
        let file = |n: (i64, i64), day: (&str, &str), at: (&str, &str)| {
            let bounds = |n, day, at| serde_json::json!({ "n": n, "day": day, "at": at });
            let stats = serde_json::json!({ "minValues": bounds(n.0, day.0, at.0), "maxValues": bounds(n.1, day.1, at.1) });
            DataFile { path: String::new(), size_bytes: 0, rows: 0, stats: Some(stats.to_string()), deletion_vector: None }
        };
        let (days, times) = (("2023-05-01", "2024-01-01"), ("1970-01-01T00:00:00.5Z", "1970-01-01T00:00:01.000000Z"));
        let files = [
            file((0, 100), days, times),
            file((11, 499), days, times),
            file((0, 100), ("2023-05-01", "2023-12-31"), times),
            file((0, 100), days, ("1970-01-01T00:00:01.500Z", "1970-01-01T00:00:01.9990Z")),
            file((500, 500), ("a", "b"), times),
            DataFile { stats: None, ..file((0, 0), days, times) },
        ];
        let wanted = keyed.wanted([&batch]).unwrap();
        let found: Vec<usize> = (0..files.len()).filter(|file| wanted.may_be_in(&files[*file])).collect();
        assert_eq!(found, [0, 4, 5]);
    }
}
