//! Rows by key: how they are hashed, ordered and told apart.

use std::cmp::Ordering;
use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, RecordBatch, UInt32Array};
use arrow::compute::{concat_batches, filter_record_batch, take_record_batch};
use arrow::datatypes::{DataType, Int32Type, Int64Type, Schema, SchemaRef};
use arrow::error::ArrowError;
use arrow::row::{RowConverter, Rows, SortField};
use arrow::util::display::array_value_to_string;

use super::stage::hash;
use super::stats::{KeyRange, key_range};
use super::types::by_name;
use super::{DataFile, StoreError};

/// Encodes the keys and rows of one pulled table, whose last column is `_pull`.
pub(super) struct Keyed {
    pub(super) table: String,
    pub(super) schema: SchemaRef,
    /// Positions of the key's columns.
    key: Vec<usize>,
    keys: RowConverter,
    rows: RowConverter,
}

/// The rows of a batch as hashes.
pub(super) struct Hashes {
    pub(super) keys: Vec<u128>,
    /// Over all columns but `_pull`.
    pub(super) rows: Vec<u128>,
}

impl Keyed {
    pub(super) fn new(table: &str, schema: SchemaRef, key: Vec<usize>) -> Result<Self, StoreError> {
        let failed = |source| StoreError::Arrow { table: table.into(), what: "encode rows", source };
        let field = |column: usize| SortField::new(schema.field(column).data_type().clone());
        let keys = RowConverter::new(key.iter().map(|column| field(*column)).collect()).map_err(failed)?;
        let rows = RowConverter::new((0..schema.fields().len() - 1).map(field).collect()).map_err(failed)?;
        Ok(Self { table: table.into(), schema, key, keys, rows })
    }

    fn failed(&self, what: &'static str) -> impl FnOnce(ArrowError) -> StoreError {
        let table = self.table.clone();
        move |source| StoreError::Arrow { table, what, source }
    }

    /// The keys of `batch` in their order.
    pub(super) fn keys(&self, batch: &RecordBatch) -> Result<Rows, StoreError> {
        let columns: Vec<ArrayRef> = self.key.iter().map(|column| batch.column(*column).clone()).collect();
        self.keys.convert_columns(&columns).map_err(self.failed("encode keys"))
    }

    /// Hashes of keys in batches of the key's columns alone.
    pub(super) fn hashes_of_keys(&self, batch: &RecordBatch) -> Result<Vec<u128>, StoreError> {
        let fields: Vec<_> = self.key.iter().map(|column| self.schema.fields()[*column].clone()).collect();
        let columns = by_name(&self.table, batch, &Arc::new(Schema::new(fields)))?;
        let keys = self.keys.convert_columns(columns.columns()).map_err(self.failed("encode keys"))?;
        Ok(keys.iter().map(|key| hash(key.as_ref())).collect())
    }

    pub(super) fn hashes(&self, batch: &RecordBatch) -> Result<Hashes, StoreError> {
        let rows = self.rows.convert_columns(&batch.columns()[..batch.num_columns() - 1]).map_err(self.failed("encode rows"))?;
        Ok(Hashes { keys: self.key_hashes(batch)?, rows: rows.iter().map(|row| hash(row.as_ref())).collect() })
    }

    pub(super) fn key_hashes(&self, batch: &RecordBatch) -> Result<Vec<u128>, StoreError> {
        Ok(self.keys(batch)?.iter().map(|key| hash(key.as_ref())).collect())
    }

    /// Hashes of the rows of `batch` whose key is in `wanted`: the others need not be encoded.
    pub(super) fn hashes_of(&self, batch: &RecordBatch, wanted: &HashSet<u128>) -> Result<Hashes, StoreError> {
        let keep: Vec<bool> = self.key_hashes(batch)?.iter().map(|key| wanted.contains(key)).collect();
        if keep.contains(&true) {
            self.hashes(&self.filter(batch, keep)?)
        } else {
            Ok(Hashes { keys: Vec::new(), rows: Vec::new() })
        }
    }

    /// Refuses a NULL in a key; `before`: rows read before this batch.
    pub(super) fn check_nulls(&self, batch: &RecordBatch, before: u64) -> Result<(), StoreError> {
        for column in &self.key {
            let values = batch.column(*column);
            if let Some(row) = (0..values.len()).find(|row| values.is_null(*row)) {
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

    pub(super) fn concat<'a>(&self, batches: impl IntoIterator<Item = &'a RecordBatch>) -> Result<RecordBatch, StoreError> {
        concat_batches(&self.schema, batches).map_err(self.failed("join batches"))
    }

    pub(super) fn filter(&self, batch: &RecordBatch, keep: Vec<bool>) -> Result<RecordBatch, StoreError> {
        filter_record_batch(batch, &BooleanArray::from(keep)).map_err(self.failed("pick rows"))
    }

    pub(super) fn take(&self, batch: &RecordBatch, rows: Vec<u32>) -> Result<RecordBatch, StoreError> {
        take_record_batch(batch, &UInt32Array::from(rows)).map_err(self.failed("pick rows"))
    }

    /// Positions of the rows of `batch` in the order of their keys.
    pub(super) fn order(&self, batch: &RecordBatch) -> Result<Vec<u32>, StoreError> {
        let keys = self.keys(batch)?;
        let mut order: Vec<u32> = (0..).take(batch.num_rows()).collect();
        order.sort_unstable_by(|a, b| keys.row(*a as usize).cmp(&keys.row(*b as usize)));
        Ok(order)
    }

    /// `batch` in the order of its keys.
    pub(super) fn sorted(&self, batch: &RecordBatch) -> Result<RecordBatch, StoreError> {
        self.take(batch, self.order(batch)?)
    }

    /// Positions of the files that may hold a key of `batches`, judged by the key's first column.
    pub(super) fn candidates(&self, files: &[DataFile], batches: &[RecordBatch]) -> Vec<usize> {
        let column = self.key[0];
        let name = self.schema.field(column).name();
        let values: Vec<&ArrayRef> = batches.iter().map(|batch| batch.column(column)).collect();
        let wanted = Wanted::new(self.schema.field(column).data_type(), &values);
        let may_hold = |file: &DataFile| wanted.meets(&key_range(file.stats.as_deref(), name));
        files.iter().enumerate().filter(|(_, file)| may_hold(file)).map(|(position, _)| position).collect()
    }
}

/// The values of the key's first column that are looked for, ascending.
enum Wanted<'a> {
    Integers(Vec<i64>),
    Texts(Vec<&'a str>),
    /// A type that statistics are not used for.
    Unknown,
}

impl<'a> Wanted<'a> {
    fn new(data_type: &DataType, values: &[&'a ArrayRef]) -> Self {
        match data_type {
            DataType::Int32 => Self::integers(
                values.iter().flat_map(|column| column.as_primitive::<Int32Type>().values().iter().map(|n| i64::from(*n))),
            ),
            DataType::Int64 => {
                Self::integers(values.iter().flat_map(|column| column.as_primitive::<Int64Type>().values().iter().copied()))
            }
            DataType::Utf8 => {
                let mut texts: Vec<&str> = values.iter().flat_map(|column| column.as_string::<i32>().iter().flatten()).collect();
                texts.sort_unstable();
                Self::Texts(texts)
            }
            _ => Self::Unknown,
        }
    }

    fn integers(values: impl Iterator<Item = i64>) -> Self {
        let mut values: Vec<i64> = values.collect();
        values.sort_unstable();
        Self::Integers(values)
    }

    fn meets(&self, range: &KeyRange) -> bool {
        match (self, range) {
            (Self::Integers(values), KeyRange::Integer(least, greatest)) => {
                values.get(values.partition_point(|value| value < least)).is_some_and(|value| value <= greatest)
            }
            (Self::Texts(values), KeyRange::Text(least, greatest)) => {
                let first = values.partition_point(|value| value.cmp(&least.as_str()) == Ordering::Less);
                values.get(first).is_some_and(|value| *value <= greatest.as_str())
            }
            _ => true,
        }
    }
}

/// What is known of one key.
#[derive(Debug, Clone, Copy)]
struct Entry {
    /// Hash of the row that the table has.
    stored: u128,
    /// Hash of the row that was read.
    read: u128,
    /// Position of the file that holds it; [`NEW`] if none.
    file: u32,
    seen: bool,
}

/// Position of no file: the row is new.
pub(super) const NEW: u32 = u32::MAX;

/// What becomes of a stored row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fate {
    Stays,
    /// Another row with its key was read.
    Replaced,
    Gone,
}

/// What becomes of a row that was read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Seen {
    Unchanged,
    /// The same key with another row came before.
    Clash,
    Inserted,
    /// Position of the file that holds the row it replaces.
    Updated(u32),
}

/// All keys of the files that can matter, and of the rows that were read.
#[derive(Debug, Default)]
pub(super) struct Index {
    entries: HashMap<u128, Entry>,
}

impl Index {
    pub(super) fn store(&mut self, hashes: &Hashes, file: u32) {
        for (key, stored) in hashes.keys.iter().zip(&hashes.rows) {
            self.entries.insert(*key, Entry { stored: *stored, read: 0, file, seen: false });
        }
    }

    pub(super) fn see(&mut self, key: u128, read: u128) -> Seen {
        let Some(entry) = self.entries.get_mut(&key) else {
            self.entries.insert(key, Entry { stored: 0, read, file: NEW, seen: true });
            return Seen::Inserted;
        };
        if entry.seen {
            return if entry.read == read { Seen::Unchanged } else { Seen::Clash };
        }
        entry.seen = true;
        entry.read = read;
        if entry.stored == read { Seen::Unchanged } else { Seen::Updated(entry.file) }
    }

    /// A row that was not read, although the source has it: it is not gone.
    pub(super) fn spare(&mut self, key: u128) {
        if let Some(entry) = self.entries.get_mut(&key).filter(|entry| !entry.seen) {
            entry.seen = true;
            entry.read = entry.stored;
        }
    }

    /// Spares all rows that were not read.
    pub(super) fn spare_all(&mut self) {
        self.entries.values_mut().filter(|entry| !entry.seen).for_each(|entry| (entry.seen, entry.read) = (true, entry.stored));
    }

    /// `whole`: a stored row that was not read is gone.
    pub(super) fn fate(&self, key: u128, whole: bool) -> Fate {
        match self.entries.get(&key) {
            Some(entry) if entry.seen && entry.stored != entry.read => Fate::Replaced,
            Some(entry) if !entry.seen && whole => Fate::Gone,
            _ => Fate::Stays,
        }
    }

    /// Files of the rows that are gone from a whole read, once for each row.
    pub(super) fn gone(&self) -> impl Iterator<Item = u32> {
        self.entries.values().filter(|entry| !entry.seen).map(|entry| entry.file)
    }

    /// Rows that the table had.
    pub(super) fn stored(&self) -> u64 {
        self.entries.values().filter(|entry| entry.file != NEW).count() as u64
    }
}
