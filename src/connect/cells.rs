//! Rows from a system on their way into record batches, and what becomes of a value that does not fit its column's type: an error, or, where
//! the stream's contract says so, a discard of the value or of its row.

use std::borrow::Cow;
use std::sync::Arc;

use arrow::array::{
    ArrayBuilder, ArrayRef, ArrowPrimitiveType, BinaryArray, BooleanArray, BooleanBuilder, NullBufferBuilder, PrimitiveArray,
    RecordBatch, RecordBatchOptions, StringArray,
};
use arrow::buffer::{Buffer, NullBuffer, OffsetBuffer};
use arrow::compute::filter_record_batch;
use arrow::datatypes::{
    DataType, Date32Type, Decimal128Type, Field, Float64Type, Int32Type, Int64Type, Schema, SchemaRef, TimeUnit,
    TimestampMicrosecondType,
};
use arrow::error::ArrowError;

use super::error::Place;
use super::value::{Scalar, cell_json};
use super::{ConnectError, Discard, Discards};
use crate::project::Policy;

/// Rows in one batch, at most: what [`super::Reading::parts`] promises.
const BATCH_ROWS_MAX: usize = 8_192;
/// A batch of wide rows ends earlier, so that memory is bounded by bytes too.
const BATCH_BYTES_MAX: usize = 16 << 20;
/// Bytes of text for which a new batch has room at once.
const TEXT_RESERVED_MAX: usize = 1 << 20;
/// Room that is made at once, and how much of it a short text is written to.
const TEXT_ROOM: usize = 8 << 10;
const TEXT_COPIED: usize = 64;
/// Of a discarded value, and of each value of a row that is left out, so much is kept.
const SHOWN_CHARS_MAX: usize = 200;

/// Why one value cannot be taken; the caller knows the column and the row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Fault {
    /// The value is not one of its column's type.
    Value {
        /// What it is instead.
        what: Cow<'static, str>,
        /// The value itself, as far as `what` does not say it.
        found: Option<String>,
    },
    /// A timestamp without zone, and the system has none.
    NoZone,
    /// The bytes do not have the shape of the column's type: it changed after it was looked up.
    Shape,
}

impl Fault {
    pub(super) fn value(what: impl Into<Cow<'static, str>>) -> Self {
        Self::Value { what: what.into(), found: None }
    }

    /// Adds the value's own text.
    pub(super) fn found(self, text: impl Into<String>) -> Self {
        match self {
            Self::Value { what, .. } => Self::Value { what, found: Some(text.into()) },
            other => other,
        }
    }

    pub(super) fn describe(&self) -> &str {
        match self {
            Self::Value { what, .. } => what,
            Self::NoZone => "the timestamp has no zone, and the system declares no time_zone",
            Self::Shape => "the value does not have the column's type",
        }
    }

    pub(super) fn at(self, place: &Arc<Place>, column: &str, key: String) -> ConnectError {
        let place = Arc::clone(place);
        match self {
            Self::Value { what, .. } => ConnectError::Value { place, column: column.into(), key, what: what.into_owned() },
            Self::NoZone => ConnectError::NoZone { place, column: column.into() },
            Self::Shape => ConnectError::Changed { place, what: format!("column \"{column}\" has another type now") },
        }
    }
}

pub(super) fn text(bytes: &[u8]) -> Result<&str, Fault> {
    std::str::from_utf8(bytes)
        .map_err(|error| Fault::value(format!("the text is not valid UTF-8 (byte {})", error.valid_up_to())))
}

/// The type of every instant in the hub.
pub(super) fn instant_type() -> DataType {
    DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()))
}

/// Which values of a column are null. Nothing is done for those that are not.
struct Nulls(NullBufferBuilder);

impl Nulls {
    fn with_capacity(rows: usize) -> Self {
        Self(NullBufferBuilder::new(rows))
    }

    /// Value `row` is null, and none between it and the one before is.
    fn append(&mut self, row: usize) {
        self.0.append_n_non_nulls(row - self.0.len());
        self.0.append_null();
    }

    fn finish(mut self, rows: usize) -> Option<NullBuffer> {
        self.0.append_n_non_nulls(rows - self.0.len());
        self.0.finish()
    }
}

/// A place in [`Texts`].
pub(super) struct Mark {
    values: usize,
    bytes: usize,
}

/// Texts or bytes being collected.
pub(super) struct Texts {
    ends: Vec<i32>,
    /// The values up to `end`, and room for the next ones.
    bytes: Vec<u8>,
    end: usize,
    nulls: Nulls,
}

impl Texts {
    fn with_capacity(rows: usize, bytes: usize) -> Self {
        let mut ends = Vec::with_capacity(rows + 1);
        ends.push(0);
        Self { ends, bytes: Vec::with_capacity(bytes + TEXT_ROOM), end: 0, nulls: Nulls::with_capacity(rows) }
    }

    /// Appends the first `len` bytes of `rest`. Short ones are copied with what follows them: copies of a known length cost less.
    #[inline]
    pub(super) fn append(&mut self, rest: &[u8], len: usize) {
        if self.bytes.len() < self.end + len.max(TEXT_COPIED) {
            self.bytes.resize(self.end + len.max(TEXT_ROOM), 0);
        }
        let room = &mut self.bytes[self.end..];
        if let (true, Some(to), Some(from)) = (len <= 16, room.first_chunk_mut::<16>(), rest.first_chunk()) {
            *to = *from;
        } else if let (true, Some(to), Some(from)) =
            (len <= TEXT_COPIED, room.first_chunk_mut::<TEXT_COPIED>(), rest.first_chunk())
        {
            *to = *from;
        } else {
            room[..len].copy_from_slice(&rest[..len]);
        }
        self.end += len;
        self.end_value();
    }

    /// Up to where values were appended so far.
    pub(super) fn mark(&self) -> Mark {
        Mark { values: self.ends.len() - 1, bytes: self.end }
    }

    /// Whether all values since `mark` are texts; most are ASCII, which is seen faster than that they are UTF-8.
    pub(super) fn are_texts(&self, mark: &Mark) -> bool {
        let is_text = |ends: &[i32]| text(&self.bytes[ends[0] as usize..ends[1] as usize]).is_ok();
        self.bytes[mark.bytes..self.end].is_ascii() || self.ends[mark.values..].windows(2).all(is_text)
    }

    /// Takes away what was appended since `mark`, none of which is null.
    pub(super) fn go_back(&mut self, mark: Mark) {
        self.ends.truncate(mark.values + 1);
        self.end = mark.bytes;
    }

    fn append_null(&mut self) {
        self.nulls.append(self.ends.len() - 1);
        self.end_value();
    }

    /// A batch has [`BATCH_BYTES_MAX`] and one row, and no source sends a row of more than 1 GB.
    #[inline]
    fn end_value(&mut self) {
        self.ends.push(self.end as i32);
    }

    fn finish(mut self) -> (OffsetBuffer<i32>, Buffer, Option<NullBuffer>) {
        let nulls = self.nulls.finish(self.ends.len() - 1);
        self.bytes.truncate(self.end);
        (OffsetBuffer::new(self.ends.into()), self.bytes.into(), nulls)
    }
}

/// Values of a fixed size being collected.
pub(super) struct Numbers<T: ArrowPrimitiveType> {
    values: Vec<T::Native>,
    nulls: Nulls,
}

impl<T: ArrowPrimitiveType> Numbers<T> {
    fn with_capacity(rows: usize) -> Self {
        Self { values: Vec::with_capacity(rows), nulls: Nulls::with_capacity(rows) }
    }

    #[inline(always)] // called for every value, in a crate that is compiled in many pieces
    pub(super) fn append(&mut self, value: T::Native) {
        self.values.push(value);
    }

    fn append_null(&mut self) {
        self.nulls.append(self.values.len());
        self.values.push(T::Native::default());
    }

    fn finish(self, data_type: &DataType) -> ArrayRef {
        let nulls = self.nulls.finish(self.values.len());
        Arc::new(PrimitiveArray::<T>::new(self.values.into(), nulls).with_data_type(data_type.clone()))
    }
}

/// One column being filled.
pub(super) enum Cells {
    Utf8(Texts),
    Int32(Numbers<Int32Type>),
    Int64(Numbers<Int64Type>),
    Float64(Numbers<Float64Type>),
    Boolean(BooleanBuilder),
    Date(Numbers<Date32Type>),
    Decimal(Numbers<Decimal128Type>),
    Instant(Numbers<TimestampMicrosecondType>),
    Binary(Texts),
}

impl Cells {
    /// Room for `rows` values, and `bytes` of text or binary.
    pub(super) fn new(data_type: &DataType, rows: usize, bytes: usize) -> Self {
        match data_type {
            DataType::Int32 => Self::Int32(Numbers::with_capacity(rows)),
            DataType::Int64 => Self::Int64(Numbers::with_capacity(rows)),
            DataType::Float64 => Self::Float64(Numbers::with_capacity(rows)),
            DataType::Boolean => Self::Boolean(BooleanBuilder::with_capacity(rows)),
            DataType::Date32 => Self::Date(Numbers::with_capacity(rows)),
            DataType::Decimal128(_, _) => Self::Decimal(Numbers::with_capacity(rows)),
            DataType::Timestamp(TimeUnit::Microsecond, _) => Self::Instant(Numbers::with_capacity(rows)),
            DataType::Binary => Self::Binary(Texts::with_capacity(rows, bytes)),
            _ => Self::Utf8(Texts::with_capacity(rows, bytes)),
        }
    }

    /// Appends a value; returns the bytes it takes.
    pub(super) fn push(&mut self, scalar: Option<Scalar<'_>>) -> Result<usize, Fault> {
        let Some(scalar) = scalar else {
            self.push_null();
            return Ok(1);
        };
        match (self, scalar) {
            (Self::Utf8(cells), Scalar::Text(text)) => {
                cells.append(text.as_bytes(), text.len());
                return Ok(text.len() + 4);
            }
            (Self::Binary(cells), Scalar::Bytes(bytes)) => {
                cells.append(&bytes, bytes.len());
                return Ok(bytes.len() + 4);
            }
            (Self::Int32(cells), Scalar::Integer(value)) => cells.append(i32::try_from(value).map_err(|_| Fault::Shape)?),
            (Self::Int64(cells), Scalar::Integer(value)) => cells.append(value),
            (Self::Float64(cells), Scalar::Double(value)) => cells.append(value),
            (Self::Boolean(cells), Scalar::Boolean(value)) => cells.append_value(value),
            (Self::Date(cells), Scalar::Date(days)) => cells.append(days),
            (Self::Decimal(cells), Scalar::Decimal(unscaled)) => cells.append(unscaled),
            (Self::Instant(cells), Scalar::Instant(micros)) => cells.append(micros),
            _ => return Err(Fault::Shape),
        }
        Ok(16)
    }

    /// Values so far.
    fn len(&self) -> usize {
        match self {
            Self::Utf8(cells) | Self::Binary(cells) => cells.ends.len() - 1,
            Self::Int32(cells) => cells.values.len(),
            Self::Int64(cells) => cells.values.len(),
            Self::Float64(cells) => cells.values.len(),
            Self::Boolean(cells) => cells.len(),
            Self::Date(cells) => cells.values.len(),
            Self::Decimal(cells) => cells.values.len(),
            Self::Instant(cells) => cells.values.len(),
        }
    }

    pub(super) fn push_null(&mut self) {
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

    /// The column so far; the next one gets as much room, because its batch is probably alike.
    pub(super) fn finish(&mut self, data_type: &DataType, rows: usize) -> Result<ArrayRef, ArrowError> {
        let bytes = match self {
            Self::Utf8(cells) | Self::Binary(cells) => cells.end.min(TEXT_RESERVED_MAX),
            _ => 0,
        };
        Ok(match std::mem::replace(self, Self::new(data_type, rows, bytes)) {
            Self::Utf8(cells) => {
                let (offsets, bytes, nulls) = cells.finish();
                Arc::new(StringArray::try_new(offsets, bytes, nulls)?)
            }
            Self::Binary(cells) => {
                let (offsets, bytes, nulls) = cells.finish();
                Arc::new(BinaryArray::try_new(offsets, bytes, nulls)?)
            }
            Self::Int32(cells) => cells.finish(data_type),
            Self::Int64(cells) => cells.finish(data_type),
            Self::Float64(cells) => cells.finish(data_type),
            Self::Boolean(mut cells) => Arc::new(cells.finish()),
            Self::Date(cells) => cells.finish(data_type),
            Self::Decimal(cells) => cells.finish(data_type),
            Self::Instant(cells) => cells.finish(data_type),
        })
    }
}

/// A value of the batch being filled that does not fit.
struct Misfit {
    row: usize,
    drops_row: bool,
    discard: Discard,
}

/// Collects rows into batches of a bounded size, refuses a key without value, and keeps the stream's contract about values.
pub(super) struct Batcher {
    place: Arc<Place>,
    schema: SchemaRef,
    cells: Vec<Cells>,
    is_key: Vec<bool>,
    values: Policy,
    discards: Discards,
    misfits: Vec<Misfit>,
    rows: usize,
    bytes: usize,
    rows_before: u64,
}

impl Batcher {
    /// One for which a value that does not fit is an error.
    pub(super) fn new(place: Arc<Place>, schema: SchemaRef, key: &[String]) -> Self {
        let cells = schema.fields().iter().map(|field| Cells::new(field.data_type(), 0, 0)).collect();
        let is_key = schema.fields().iter().map(|field| key.contains(field.name())).collect();
        let (values, discards) = (Policy::Freeze, Discards::default());
        Self { place, schema, cells, is_key, values, discards, misfits: Vec::new(), rows: 0, bytes: 0, rows_before: 0 }
    }

    /// Does with a value that does not fit what `values` says ([`crate::project::StreamContract::values`]); notes it in `discards`.
    pub(super) fn with_policy(self, values: Policy, discards: Discards) -> Self {
        Self { values, discards, ..self }
    }

    /// Sets `column` of the current row. Every column of a row is set once, before [`Self::end_row`]. `key` describes the row.
    pub(super) fn push(
        &mut self,
        column: usize,
        scalar: Result<Option<Scalar<'_>>, Fault>,
        key: impl FnOnce() -> String,
    ) -> Result<(), ConnectError> {
        let pushed = match scalar {
            Ok(None) => return self.push_null(column),
            Ok(scalar) => self.cells[column].push(scalar),
            Err(fault) => Err(fault),
        };
        match pushed {
            Ok(bytes) => self.bytes += bytes,
            Err(fault) => self.misfit(column, fault, key)?,
        }
        Ok(())
    }

    /// Sets `column` of the current row to null.
    pub(super) fn push_null(&mut self, column: usize) -> Result<(), ConnectError> {
        if self.is_key[column] {
            let row = self.rows_before + self.cells[column].len() as u64 + 1;
            let column = self.schema.field(column).name().clone();
            return Err(ConnectError::KeyNull { place: Arc::clone(&self.place), column, row });
        }
        self.cells[column].push_null();
        Ok(())
    }

    /// The column to append to, for sources that know how to without a [`Scalar`]; they tell the bytes of rows by [`Self::add_bytes`]. A source may
    /// go on by columns, some rows at a time.
    #[inline]
    pub(super) fn cells(&mut self, column: usize) -> &mut Cells {
        &mut self.cells[column]
    }

    #[inline]
    pub(super) fn add_bytes(&mut self, bytes: usize) {
        self.bytes += bytes;
    }

    /// Sets `column` of its current row, whose value does not fit, to null and discards it or the row, or refuses it. A key is never null: its
    /// row goes.
    #[cold]
    pub(super) fn misfit(&mut self, column: usize, fault: Fault, key: impl FnOnce() -> String) -> Result<(), ConnectError> {
        let name = self.schema.field(column).name();
        let discards = matches!(self.values, Policy::DiscardValue | Policy::DiscardRow);
        match fault {
            Fault::Value { what, found } if discards => {
                let value = found.map(|text| text.chars().take(SHOWN_CHARS_MAX).collect()).unwrap_or_default();
                let discard = Discard { key: key(), column: name.clone(), reason: what.into_owned(), value, row: None };
                let drops_row = self.values == Policy::DiscardRow || self.is_key[column];
                self.misfits.push(Misfit { row: self.cells[column].len(), drops_row, discard });
            }
            fault => return Err(fault.at(&self.place, name, key())),
        }
        self.cells[column].push_null();
        Ok(())
    }

    /// Rows and bytes for which the batch has room; a row may be larger.
    pub(super) fn room(&self) -> (usize, usize) {
        (BATCH_ROWS_MAX - self.rows, BATCH_BYTES_MAX.saturating_sub(self.bytes))
    }

    /// Ends the current row; yields a batch when it is full.
    #[inline]
    pub(super) fn end_row(&mut self) -> Result<Option<RecordBatch>, ConnectError> {
        self.end_rows(1)
    }

    /// Ends so many rows, no more than there was room for; yields a batch when it is full.
    #[inline]
    pub(super) fn end_rows(&mut self, count: usize) -> Result<Option<RecordBatch>, ConnectError> {
        self.rows += count;
        if self.rows >= BATCH_ROWS_MAX || self.bytes >= BATCH_BYTES_MAX { self.flush() } else { Ok(None) }
    }

    /// What was collected since the last batch; `None` if nothing was.
    pub(super) fn flush(&mut self) -> Result<Option<RecordBatch>, ConnectError> {
        if self.rows == 0 {
            return Ok(None);
        }
        let fields = self.schema.fields().iter();
        let failed = |source: ArrowError| ConnectError::Batch { place: Arc::clone(&self.place), source };
        let columns = self.cells.iter_mut().zip(fields).map(|(cells, field)| cells.finish(field.data_type(), self.rows));
        let columns = columns.collect::<Result<_, _>>().map_err(failed)?;
        let options = RecordBatchOptions::new().with_row_count(Some(self.rows));
        let mut batch = RecordBatch::try_new_with_options(Arc::clone(&self.schema), columns, &options).map_err(failed)?;
        if !self.misfits.is_empty() {
            let misfits = std::mem::take(&mut self.misfits);
            batch = self.without(batch, misfits)?;
        }
        self.rows_before += self.rows as u64;
        self.rows = 0;
        self.bytes = 0;
        Ok((batch.num_rows() > 0).then_some(batch))
    }

    /// Notes what does not fit, now that the other values of its row are known, and takes out the rows that go.
    fn without(&self, batch: RecordBatch, mut misfits: Vec<Misfit>) -> Result<RecordBatch, ConnectError> {
        misfits.sort_by_key(|misfit| misfit.row);
        let mut keeps = vec![true; batch.num_rows()];
        for Misfit { row, drops_row, mut discard } in misfits {
            if drops_row {
                discard.row = Some(row_json(&batch, row));
            }
            keeps[row] &= !drops_row;
            if !self.discards.note(discard) {
                return Err(ConnectError::TooManyDiscards { place: Arc::clone(&self.place) });
            }
        }
        let failed = |source: ArrowError| ConnectError::Batch { place: Arc::clone(&self.place), source };
        filter_record_batch(&batch, &BooleanArray::from(keeps)).map_err(failed)
    }
}

/// A row as a JSON object; long values are cut.
fn row_json(batch: &RecordBatch, row: usize) -> String {
    let columns = batch.schema_ref().fields().iter().zip(batch.columns());
    let cells = columns.map(|(field, column)| {
        let value = match cell_json(column, row) {
            serde_json::Value::String(text) => text.chars().take(SHOWN_CHARS_MAX).collect::<String>().into(),
            other => other,
        };
        (field.name().clone(), value)
    });
    serde_json::Value::Object(cells.collect()).to_string()
}

/// The schema of a reading. Every column may be null, so that it does not depend on what is declared as the key.
pub(super) fn schema_of<'a>(columns: impl IntoIterator<Item = (&'a str, &'a DataType)>) -> SchemaRef {
    let fields = columns.into_iter().map(|(name, data_type)| Field::new(name, data_type.clone(), true));
    Arc::new(Schema::new(fields.collect::<Vec<_>>()))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

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
    fn values_that_do_not_fit_go_as_the_contract_says() {
        let batch_of = |policy| {
            let discards = Discards::default();
            let mut rows = batcher().with_policy(policy, discards.clone());
            for (id, fits) in [(1, true), (2, false), (3, true)] {
                let note = if fits { Ok(Some(Scalar::Text("x".into()))) } else { Err(Fault::value("no text").found("\u{1}")) };
                rows.push(0, Ok(Some(Scalar::Integer(id))), String::new)?;
                rows.push(1, note, || format!("id={id}"))?;
                assert!(rows.end_row()?.is_none());
            }
            rows.push(0, Err(Fault::value("no number")), || "id=?".into())?;
            rows.push(1, Ok(None), String::new)?;
            rows.end_row()?;
            let batch = rows.flush()?.unwrap();
            let noted = discards.take().into_iter().map(|noted| (noted.key, noted.column, noted.value, noted.row));
            let cells = (0..batch.num_rows()).map(|row| (cell_json(batch.column(0), row), cell_json(batch.column(1), row)));
            Ok::<_, ConnectError>((cells.collect::<Vec<_>>(), noted.collect::<Vec<_>>()))
        };
        let said = batch_of(Policy::Freeze).unwrap_err().to_string();
        assert_eq!(said, "system \"erp\", stream \"items\", column \"note\", row id=2: no text");
        let noted = |key: &str, column: &str, value: &str, row: Option<&str>| {
            (key.to_owned(), column.to_owned(), value.to_owned(), row.map(str::to_owned))
        };
        let (rows, discards) = batch_of(Policy::DiscardValue).unwrap();
        assert_eq!(rows, [(json!(1), json!("x")), (json!(2), json!(null)), (json!(3), json!("x"))]);
        let key_gone = noted("id=?", "id", "", Some(r#"{"id":null,"note":null}"#));
        assert_eq!(discards, [noted("id=2", "note", "\u{1}", None), key_gone.clone()], "a key is never null: its row goes");
        let (rows, discards) = batch_of(Policy::DiscardRow).unwrap();
        assert_eq!(rows, [(json!(1), json!("x")), (json!(3), json!("x"))]);
        assert_eq!(discards, [noted("id=2", "note", "\u{1}", Some(r#"{"id":2,"note":null}"#)), key_gone]);
    }

    #[test]
    fn discards_have_an_end() {
        let mut rows = batcher().with_policy(Policy::DiscardRow, Discards::default());
        let error = (0..1_000_000).find_map(|id| {
            rows.push(0, Ok(Some(Scalar::Integer(id))), String::new).ok()?;
            rows.push(1, Err(Fault::value("no text")), || "id".into()).ok()?;
            rows.end_row().err()
        });
        assert!(matches!(error, Some(ConnectError::TooManyDiscards { .. })));
    }

    #[test]
    fn a_key_without_value_names_its_row() {
        let mut rows = batcher();
        push_row(&mut rows, Some(1), "x").unwrap();
        let error = push_row(&mut rows, None, "x").unwrap_err();
        assert_eq!(error.to_string(), "system \"erp\", stream \"items\": row 2 of this read has no value in key column \"id\"");
    }
}
