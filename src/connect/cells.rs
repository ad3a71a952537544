//! Rows from a system on their way into record batches.

use std::borrow::Cow;
use std::sync::Arc;

use arrow::array::{
    ArrayRef, BinaryBuilder, BooleanBuilder, Date32Builder, Decimal128Builder, Float64Builder, Int32Builder, Int64Builder,
    RecordBatch, RecordBatchOptions, StringBuilder, TimestampMicrosecondBuilder,
};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit};

use super::ConnectError;
use super::error::Place;
use super::value::Scalar;

/// Rows in one batch, at most: what [`super::Reading::batches`] promises.
const BATCH_ROWS_MAX: usize = 8_192;
/// A batch of wide rows ends earlier, so that memory is bounded by bytes too.
const BATCH_BYTES_MAX: usize = 16 << 20;

/// Why one value cannot be taken; the caller knows the column and the row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Fault {
    /// The value is not one of its column's type; says what it is instead.
    Value(Cow<'static, str>),
    /// A timestamp without zone, and the system has none.
    NoZone,
    /// The bytes do not have the shape of the column's type: it changed after it was looked up.
    Shape,
}

impl Fault {
    pub(super) fn value(what: impl Into<Cow<'static, str>>) -> Self {
        Self::Value(what.into())
    }

    pub(super) fn describe(&self) -> &str {
        match self {
            Self::Value(what) => what,
            Self::NoZone => "the timestamp has no zone, and the system declares no time_zone",
            Self::Shape => "the value does not have the column's type",
        }
    }

    pub(super) fn at(self, place: &Arc<Place>, column: &str, key: String) -> ConnectError {
        let place = Arc::clone(place);
        match self {
            Self::Value(what) => ConnectError::Value { place, column: column.into(), key, what: what.into_owned() },
            Self::NoZone => ConnectError::NoZone { place, column: column.into() },
            Self::Shape => ConnectError::Changed { place, what: format!("column \"{column}\" has another type now") },
        }
    }
}

/// The type of every instant in the hub.
pub(super) fn instant_type() -> DataType {
    DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()))
}

/// One column being filled.
pub(super) enum Cells {
    Utf8(StringBuilder),
    Int32(Int32Builder),
    Int64(Int64Builder),
    Float64(Float64Builder),
    Boolean(BooleanBuilder),
    Date(Date32Builder),
    Decimal(Decimal128Builder),
    Instant(TimestampMicrosecondBuilder),
    Binary(BinaryBuilder),
}

impl Cells {
    fn new(data_type: &DataType) -> Self {
        match data_type {
            DataType::Int32 => Self::Int32(Int32Builder::new()),
            DataType::Int64 => Self::Int64(Int64Builder::new()),
            DataType::Float64 => Self::Float64(Float64Builder::new()),
            DataType::Boolean => Self::Boolean(BooleanBuilder::new()),
            DataType::Date32 => Self::Date(Date32Builder::new()),
            DataType::Decimal128(_, _) => Self::Decimal(Decimal128Builder::new().with_data_type(data_type.clone())),
            DataType::Timestamp(TimeUnit::Microsecond, _) => {
                Self::Instant(TimestampMicrosecondBuilder::new().with_data_type(data_type.clone()))
            }
            DataType::Binary => Self::Binary(BinaryBuilder::new()),
            _ => Self::Utf8(StringBuilder::new()),
        }
    }

    /// Appends a value; returns the bytes it takes.
    fn push(&mut self, scalar: Option<Scalar<'_>>) -> Result<usize, Fault> {
        let Some(scalar) = scalar else {
            self.push_null();
            return Ok(1);
        };
        match (self, scalar) {
            (Self::Utf8(cells), Scalar::Text(text)) => {
                cells.append_value(&text);
                return Ok(text.len() + 4);
            }
            (Self::Binary(cells), Scalar::Bytes(bytes)) => {
                cells.append_value(&bytes);
                return Ok(bytes.len() + 4);
            }
            (Self::Int32(cells), Scalar::Integer(value)) => cells.append_value(i32::try_from(value).map_err(|_| Fault::Shape)?),
            (Self::Int64(cells), Scalar::Integer(value)) => cells.append_value(value),
            (Self::Float64(cells), Scalar::Double(value)) => cells.append_value(value),
            (Self::Boolean(cells), Scalar::Boolean(value)) => cells.append_value(value),
            (Self::Date(cells), Scalar::Date(days)) => cells.append_value(days),
            (Self::Decimal(cells), Scalar::Decimal(unscaled)) => cells.append_value(unscaled),
            (Self::Instant(cells), Scalar::Instant(micros)) => cells.append_value(micros),
            _ => return Err(Fault::Shape),
        }
        Ok(16)
    }

    fn push_null(&mut self) {
        match self {
            Self::Utf8(cells) => cells.append_null(),
            Self::Int32(cells) => cells.append_null(),
            Self::Int64(cells) => cells.append_null(),
            Self::Float64(cells) => cells.append_null(),
            Self::Boolean(cells) => cells.append_null(),
            Self::Date(cells) => cells.append_null(),
            Self::Decimal(cells) => cells.append_null(),
            Self::Instant(cells) => cells.append_null(),
            Self::Binary(cells) => cells.append_null(),
        }
    }

    fn finish(&mut self) -> ArrayRef {
        match self {
            Self::Utf8(cells) => Arc::new(cells.finish()),
            Self::Int32(cells) => Arc::new(cells.finish()),
            Self::Int64(cells) => Arc::new(cells.finish()),
            Self::Float64(cells) => Arc::new(cells.finish()),
            Self::Boolean(cells) => Arc::new(cells.finish()),
            Self::Date(cells) => Arc::new(cells.finish()),
            Self::Decimal(cells) => Arc::new(cells.finish()),
            Self::Instant(cells) => Arc::new(cells.finish()),
            Self::Binary(cells) => Arc::new(cells.finish()),
        }
    }
}

/// Collects rows into batches of a bounded size and refuses a key without value.
pub(super) struct Batcher {
    place: Arc<Place>,
    schema: SchemaRef,
    cells: Vec<Cells>,
    is_key: Vec<bool>,
    rows: usize,
    bytes: usize,
    rows_before: u64,
}

impl Batcher {
    pub(super) fn new(place: Arc<Place>, schema: SchemaRef, key: &[String]) -> Self {
        let cells = schema.fields().iter().map(|field| Cells::new(field.data_type())).collect();
        let is_key = schema.fields().iter().map(|field| key.contains(field.name())).collect();
        Self { place, schema, cells, is_key, rows: 0, bytes: 0, rows_before: 0 }
    }

    /// Sets `column` of the current row. Every column of a row is set once, before [`Self::end_row`]. `key` describes the row in an error.
    pub(super) fn push(
        &mut self,
        column: usize,
        scalar: Result<Option<Scalar<'_>>, Fault>,
        key: impl FnOnce() -> String,
    ) -> Result<(), ConnectError> {
        let name = || self.schema.field(column).name().clone();
        let scalar = match scalar {
            Ok(None) if self.is_key[column] => {
                let row = self.rows_before + self.rows as u64 + 1;
                return Err(ConnectError::KeyNull { place: Arc::clone(&self.place), column: name(), row });
            }
            Ok(scalar) => scalar,
            Err(fault) => return Err(fault.at(&self.place, &name(), key())),
        };
        match self.cells[column].push(scalar) {
            Ok(bytes) => self.bytes += bytes,
            Err(fault) => return Err(fault.at(&self.place, &name(), key())),
        }
        Ok(())
    }

    /// Ends the current row; yields a batch when it is full.
    pub(super) fn end_row(&mut self) -> Result<Option<RecordBatch>, ConnectError> {
        self.rows += 1;
        if self.rows >= BATCH_ROWS_MAX || self.bytes >= BATCH_BYTES_MAX { self.flush() } else { Ok(None) }
    }

    /// What was collected since the last batch; `None` if nothing was.
    pub(super) fn flush(&mut self) -> Result<Option<RecordBatch>, ConnectError> {
        if self.rows == 0 {
            return Ok(None);
        }
        let columns = self.cells.iter_mut().map(Cells::finish).collect();
        let options = RecordBatchOptions::new().with_row_count(Some(self.rows));
        let batch = RecordBatch::try_new_with_options(Arc::clone(&self.schema), columns, &options)
            .map_err(|source| ConnectError::Batch { place: Arc::clone(&self.place), source })?;
        self.rows_before += self.rows as u64;
        self.rows = 0;
        self.bytes = 0;
        Ok(Some(batch))
    }
}

/// The schema of a reading. Every column may be null, so that it does not depend on what is declared as the key.
pub(super) fn schema_of<'a>(columns: impl IntoIterator<Item = (&'a str, &'a DataType)>) -> SchemaRef {
    let fields = columns.into_iter().map(|(name, data_type)| Field::new(name, data_type.clone(), true));
    Arc::new(Schema::new(fields.collect::<Vec<_>>()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn batcher() -> Batcher {
        let key = ["id".to_owned()];
        let schema = schema_of([("id", &DataType::Int64), ("note", &DataType::Utf8)]);
        Batcher::new(Place::stream("erp", "items"), schema, &key)
    }

    fn push_row(batcher: &mut Batcher, id: Option<i64>, note: &str) -> Result<Option<RecordBatch>, ConnectError> {
        batcher.push(0, Ok(id.map(Scalar::Integer)), String::new)?;
        batcher.push(1, Ok(Some(Scalar::Text(note.into()))), String::new)?;
        batcher.end_row()
    }

    #[test]
    fn batches_end_at_the_row_and_byte_limits() {
        let mut rows = batcher();
        let full: Vec<_> =
            (0..20_000).filter_map(|id| push_row(&mut rows, Some(id), "x").unwrap()).map(|batch| batch.num_rows()).collect();
        assert_eq!(full, [BATCH_ROWS_MAX, BATCH_ROWS_MAX]);
        assert_eq!(rows.flush().unwrap().unwrap().num_rows(), 20_000 - 2 * BATCH_ROWS_MAX);
        assert!(rows.flush().unwrap().is_none());

        let wide = "x".repeat(BATCH_BYTES_MAX / 2);
        assert!(push_row(&mut rows, Some(1), &wide).unwrap().is_none());
        assert_eq!(push_row(&mut rows, Some(2), &wide).unwrap().unwrap().num_rows(), 2);
    }

    #[test]
    fn a_key_without_value_names_its_row() {
        let mut rows = batcher();
        push_row(&mut rows, Some(1), "x").unwrap();
        let error = push_row(&mut rows, None, "x").unwrap_err();
        assert_eq!(error.to_string(), "system \"erp\", stream \"items\": row 2 of this read has no value in key column \"id\"");
    }
}
