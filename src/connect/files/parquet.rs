//! Parquet: columns keep their types where a table can hold them; what it cannot hold becomes text where that loses nothing (times, lists and
//! structs as JSON), or is an error that asks for a choice.

use std::borrow::Cow;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch, StringBuilder, new_null_array};
use arrow::compute::{CastOptions, cast_with_options};
use arrow::datatypes::{
    DataType, Date64Type, FieldRef, TimeUnit, TimestampMicrosecondType, TimestampMillisecondType, TimestampNanosecondType,
    TimestampSecondType,
};
use arrow::error::ArrowError;
use arrow::json::writer::{EncoderOptions, make_encoder};
use chrono_tz::Tz;
use futures::TryStreamExt;
use parquet::arrow::ParquetRecordBatchStreamBuilder;

use super::place::Pinned;
use super::rows::{Cell, FileColumns, Rows, Sender, check_name};
use crate::connect::ConnectError;
use crate::connect::cells::instant_type;
use crate::connect::instant::from_local;
use crate::connect::value::{Scalar, scalar_at};
use crate::project::Stream;

const BATCH_ROWS: usize = 4_096;
const MILLIS_PER_DAY: i64 = 86_400_000;

/// The columns of a file with their types, and its number of rows.
pub(super) async fn columns(stream: &Stream, file: &Pinned) -> Result<(FileColumns, u64), ConnectError> {
    let builder = open(file).await?;
    let rows = builder.metadata().file_metadata().num_rows().unsigned_abs();
    let wanted = builder.schema().fields().iter().filter(|field| !stream.exclude.contains(field.name()));
    let column = |field: &FieldRef| {
        check_name(field.name(), 1, file)?;
        let own = own_type(field.data_type());
        let unknown = || ConnectError::UnknownType {
            place: Arc::clone(&file.place),
            column: field.name().clone(),
            type_name: field.data_type().to_string(),
        };
        match own {
            None if !stream.types.contains_key(field.name()) => Err(unknown()),
            own => Ok((field.name().clone(), own)),
        }
    };
    Ok((wanted.map(column).collect::<Result<_, _>>()?, rows))
}

async fn open(file: &Pinned) -> Result<ParquetRecordBatchStreamBuilder<Pinned>, ConnectError> {
    ParquetRecordBatchStreamBuilder::new(file.clone()).await.map_err(|error| file.parquet_failed(error))
}

/// The type that holds every value of a file's column; `None` if there is none.
fn own_type(data_type: &DataType) -> Option<DataType> {
    use DataType as T;
    Some(match data_type {
        T::Utf8 | T::LargeUtf8 | T::Utf8View | T::Null => T::Utf8,
        T::Binary | T::LargeBinary | T::BinaryView | T::FixedSizeBinary(_) => T::Binary,
        T::Int8 | T::Int16 | T::Int32 | T::UInt8 | T::UInt16 => T::Int32,
        T::Int64 | T::UInt32 => T::Int64,
        T::UInt64 => T::Decimal128(20, 0),
        T::Float16 | T::Float32 | T::Float64 => T::Float64,
        T::Boolean => T::Boolean,
        T::Date32 | T::Date64 => T::Date32,
        T::Decimal32(p, s) | T::Decimal64(p, s) | T::Decimal128(p, s) if *s >= 0 => T::Decimal128(*p, *s),
        T::Decimal256(p, s) if *p <= 38 && *s >= 0 => T::Decimal128(*p, *s),
        T::Timestamp(_, _) => instant_type(),
        T::Dictionary(_, values) => own_type(values)?,
        T::Time32(_) | T::Time64(_) => T::Utf8,
        data_type if data_type.is_nested() => T::Utf8,
        _ => return None,
    })
}

/// Decodes one file. `false` if nobody reads the rows any more.
pub(super) async fn decode(
    file: &Pinned,
    positions: &[Option<usize>],
    zone: Option<Tz>,
    rows: &mut Rows,
    sender: &Sender,
) -> Result<bool, ConnectError> {
    let names: Vec<String> = rows.columns().names().map(str::to_owned).collect();
    let mut batches = open(file).await?.with_batch_size(BATCH_ROWS).build().map_err(|error| file.parquet_failed(error))?;
    while let Some(batch) = batches.try_next().await.map_err(|error| file.parquet_failed(error))? {
        let columns = prepared(&batch, &names, positions, rows, file)?;
        for row in 0..batch.num_rows() {
            let number = rows.row_number() + 1;
            rows.row(file, number, |column| columns[column].as_ref().map_or(Cell::Null, |array| cell(array, row, zone)))?;
        }
        if !rows.send(sender).await {
            return Ok(false);
        }
    }
    Ok(true)
}

/// For each column of the reading its array in this batch: of the column's type, or text where the stream chose the type.
fn prepared(
    batch: &RecordBatch,
    names: &[String],
    positions: &[Option<usize>],
    rows: &Rows,
    file: &Pinned,
) -> Result<Vec<Option<ArrayRef>>, ConnectError> {
    let column = |(position, name): (usize, &String)| {
        if positions[position].is_none() {
            return Ok(None);
        }
        let schema = batch.schema_ref();
        let (Some(array), Ok(at)) = (batch.column_by_name(name), schema.index_of(name)) else { return Ok(None) };
        let is_chosen = rows.columns().is_chosen(position);
        let prepared = if is_chosen { text(&schema.fields()[at], array) } else { typed(&schema.fields()[at], array) };
        let hint = format!("choose what the column becomes in connector.toml: types = {{ {name} = \"text\" }}");
        prepared.map(Some).map_err(|error| file.wrong(None, format!("column \"{name}\" cannot be read: {error}"), hint))
    };
    names.iter().enumerate().map(column).collect()
}

/// `array` as the type that [`own_type`] gives it, except for instants and dates, which [`cell`] reads one by one.
fn typed(field: &FieldRef, array: &ArrayRef) -> Result<ArrayRef, ArrowError> {
    match array.data_type() {
        DataType::Timestamp(_, _) | DataType::Date64 => Ok(Arc::clone(array)),
        DataType::Dictionary(_, values) => {
            let plain = strict(array, values)?;
            let field = Arc::new(field.as_ref().clone().with_data_type(values.as_ref().clone()));
            typed(&field, &plain)
        }
        DataType::Null => Ok(new_null_array(&DataType::Utf8, array.len())),
        data_type if data_type.is_nested() => text(field, array),
        data_type => strict(array, &own_type(data_type).unwrap_or(DataType::Utf8)),
    }
}

/// `array` as text from which its type can be read again: JSON for lists and structs.
fn text(field: &FieldRef, array: &ArrayRef) -> Result<ArrayRef, ArrowError> {
    if !array.data_type().is_nested() {
        return strict(array, &DataType::Utf8);
    }
    let options = EncoderOptions::default().with_explicit_nulls(true);
    let mut encoder = make_encoder(field, array, &options)?;
    let mut texts = StringBuilder::new();
    let mut json = Vec::new();
    for row in 0..array.len() {
        if array.is_null(row) {
            texts.append_null();
            continue;
        }
        json.clear();
        encoder.encode(row, &mut json);
        texts.append_value(std::str::from_utf8(&json)?);
    }
    Ok(Arc::new(texts.finish()))
}

fn strict(array: &ArrayRef, data_type: &DataType) -> Result<ArrayRef, ArrowError> {
    cast_with_options(array, data_type, &CastOptions { safe: false, ..CastOptions::default() })
}

fn cell<'a>(array: &'a ArrayRef, row: usize, zone: Option<Tz>) -> Cell<'a> {
    if array.is_null(row) {
        return Cell::Null;
    }
    match array.data_type() {
        DataType::Utf8 => Cell::Text(Cow::Borrowed(array.as_string::<i32>().value(row))),
        DataType::Timestamp(unit, own_zone) => match micros(array, *unit, row) {
            Some(micros) if own_zone.is_some() => Cell::Scalar(Scalar::Instant(micros)),
            Some(micros) => match zone.map(|zone| from_local(micros, zone)) {
                Some(Some(instant)) => Cell::Scalar(Scalar::Instant(instant)),
                Some(None) => Cell::Bad("the timestamp is beyond the years that can be read".into()),
                None => Cell::NoZone,
            },
            None => Cell::Bad("the timestamp is finer than microseconds, or beyond the years that can be read".into()),
        },
        DataType::Date64 => {
            let millis = array.as_primitive::<Date64Type>().value(row);
            match i32::try_from(millis / MILLIS_PER_DAY) {
                Ok(days) if millis % MILLIS_PER_DAY == 0 => Cell::Scalar(Scalar::Date(days)),
                _ => Cell::Bad("the date is not a whole day".into()),
            }
        }
        _ => scalar_at(array, row).map_or(Cell::Bad("the value has an unknown type".into()), Cell::Scalar),
    }
}

/// `None`: does not fit into whole microseconds.
fn micros(array: &ArrayRef, unit: TimeUnit, row: usize) -> Option<i64> {
    match unit {
        TimeUnit::Second => array.as_primitive::<TimestampSecondType>().value(row).checked_mul(1_000_000),
        TimeUnit::Millisecond => array.as_primitive::<TimestampMillisecondType>().value(row).checked_mul(1_000),
        TimeUnit::Microsecond => Some(array.as_primitive::<TimestampMicrosecondType>().value(row)),
        TimeUnit::Nanosecond => {
            let nanos = array.as_primitive::<TimestampNanosecondType>().value(row);
            (nanos % 1_000 == 0).then_some(nanos / 1_000)
        }
    }
}

#[cfg(test)]
mod tests {
    use arrow::array::{Float32Array, Int64Array, ListBuilder, StringArray, TimestampNanosecondArray, UInt64Array};
    use arrow::array::{Int32Builder, Time64MicrosecondArray};
    use arrow::datatypes::Field;

    use super::*;

    #[test]
    fn values_keep_their_meaning() {
        let read = |array: ArrayRef, zone: Option<Tz>| {
            let field: FieldRef = Arc::new(Field::new("c", array.data_type().clone(), true));
            let typed = typed(&field, &array).unwrap();
            format!("{:?}", cell(&typed, 0, zone))
        };
        let mut list = ListBuilder::new(Int32Builder::new());
        list.append_value([Some(1), None]);
        let nanos = |nanos| Arc::new(TimestampNanosecondArray::from(vec![nanos]));
        let berlin = Some(chrono_tz::Europe::Berlin);
        let wide = UInt64Array::from(vec![u64::MAX]);
        assert_eq!(read(Arc::new(wide), None), "Scalar(Decimal(18446744073709551615))");
        assert_eq!(read(Arc::new(Float32Array::from(vec![0.5])), None), "Scalar(Double(0.5))");
        assert_eq!(read(Arc::new(list.finish()), None), "Text(\"[1,null]\")");
        assert_eq!(read(Arc::new(Time64MicrosecondArray::from(vec![1_500_000])), None), "Text(\"00:00:01.500\")");
        assert_eq!(read(nanos(3_600_000_001_000), berlin), "Scalar(Instant(1))");
        assert_eq!(read(nanos(1_000), None), "NoZone");
        assert!(read(nanos(1), berlin).contains("finer than microseconds"));
        assert_eq!(read(Arc::new(StringArray::from(vec![None::<&str>])), None), "Null");
        assert_eq!(read(Arc::new(Int64Array::from(vec![5])), None), "Scalar(Integer(5))");
        assert_eq!(own_type(&DataType::Decimal256(76, 10)), None);
        assert_eq!(own_type(&DataType::Interval(arrow::datatypes::IntervalUnit::DayTime)), None);
    }
}
