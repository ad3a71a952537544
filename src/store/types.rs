//! The column types that tables may have, in Arrow's words and in Delta's.
//!
//! Arrow's are Utf8, Int32, Int64, Float64, Boolean, Date32, Decimal128(p, s), Timestamp(µs, UTC) and Binary; every column may be null. They are what
//! Delta's reader version 1 can hold, so that every engine reads the tables.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, RecordBatch, RecordBatchOptions, new_null_array};
use arrow::compute::{CastOptions, cast_with_options};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit};
use serde_json::{Value, json};

use super::StoreError;

/// The schema that a table gets for rows of `schema`: narrower types are widened without loss (`Int16` → `Int32`), views and dictionaries
/// resolved; anything that would lose something is an error.
pub(super) fn storable(table: &str, schema: &Schema) -> Result<SchemaRef, StoreError> {
    let mut fields: Vec<Field> = Vec::with_capacity(schema.fields().len());
    for field in schema.fields() {
        let column = |problem: String| StoreError::Column { table: table.into(), column: field.name().clone(), problem };
        if fields.iter().any(|other| other.name().eq_ignore_ascii_case(field.name())) {
            return Err(column("two columns have this name, capitals apart".into()));
        }
        let data_type = storable_type(field.data_type()).map_err(column)?;
        fields.push(Field::new(field.name(), data_type, true));
    }
    Ok(Arc::new(Schema::new(fields)))
}

fn storable_type(data_type: &DataType) -> Result<DataType, String> {
    use DataType as T;
    Ok(match data_type {
        T::Utf8 | T::LargeUtf8 | T::Utf8View => T::Utf8,
        T::Binary | T::LargeBinary | T::BinaryView | T::FixedSizeBinary(_) => T::Binary,
        T::Int8 | T::Int16 | T::Int32 | T::UInt8 | T::UInt16 => T::Int32,
        T::Int64 | T::UInt32 => T::Int64,
        T::UInt64 => T::Decimal128(20, 0),
        T::Float16 | T::Float32 | T::Float64 => T::Float64,
        T::Boolean => T::Boolean,
        T::Date32 | T::Date64 => T::Date32,
        T::Decimal32(p, s) | T::Decimal64(p, s) | T::Decimal128(p, s) if *s >= 0 => T::Decimal128(*p, *s),
        T::Decimal256(p, s) if *p <= 38 && *s >= 0 => T::Decimal128(*p, *s),
        T::Timestamp(_, Some(_)) => instant(),
        T::Timestamp(_, None) => {
            return Err("a timestamp without time zone cannot be stored; cast it to timestamp(6) with time zone".into());
        }
        T::Null => return Err("a NULL without a type cannot be stored; cast it, e.g. cast(null as text)".into()),
        T::Dictionary(_, values) => storable_type(values)?,
        other => return Err(format!("type {other} cannot be stored; cast it to a type of a contract")),
    })
}

/// Microseconds in UTC, the only type of instants.
pub(super) fn instant() -> DataType {
    DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()))
}

/// Delta's schema JSON of a storable schema.
pub(super) fn to_delta(schema: &Schema) -> String {
    let fields: Vec<Value> = schema
        .fields()
        .iter()
        .map(|field| json!({ "name": field.name(), "type": delta_type(field.data_type()), "nullable": true, "metadata": {} }))
        .collect();
    json!({ "type": "struct", "fields": fields }).to_string()
}

/// Delta's name of a type; also how errors name it.
pub(super) fn delta_type(data_type: &DataType) -> String {
    match data_type {
        DataType::Utf8 => "string".into(),
        DataType::Int32 => "integer".into(),
        DataType::Int64 => "long".into(),
        DataType::Float64 => "double".into(),
        DataType::Boolean => "boolean".into(),
        DataType::Date32 => "date".into(),
        DataType::Decimal128(p, s) => format!("decimal({p},{s})"),
        DataType::Timestamp(_, _) => "timestamp".into(),
        DataType::Binary => "binary".into(),
        other => other.to_string(),
    }
}

/// The Arrow schema of a table from Delta's schema JSON.
pub(super) fn from_delta(table: &str, json: &str) -> Result<SchemaRef, StoreError> {
    let what = || format!("the schema of table {table}");
    let value: Value = serde_json::from_str(json).map_err(|source| StoreError::Json { what: what(), source })?;
    let malformed = || StoreError::Malformed { what: what() };
    let fields = value["fields"].as_array().ok_or_else(malformed)?;
    let field = |field: &Value| {
        let name = field["name"].as_str().ok_or_else(malformed)?;
        let data_type = field["type"].as_str().and_then(arrow_type).ok_or_else(|| StoreError::Column {
            table: table.into(),
            column: name.into(),
            problem: format!("type {} is not one that loopline stores", field["type"]),
        })?;
        Ok(Field::new(name, data_type, true))
    };
    Ok(Arc::new(Schema::new(fields.iter().map(field).collect::<Result<Vec<_>, StoreError>>()?)))
}

fn arrow_type(name: &str) -> Option<DataType> {
    Some(match name {
        "string" => DataType::Utf8,
        "byte" | "short" | "integer" => DataType::Int32,
        "long" => DataType::Int64,
        "float" | "double" => DataType::Float64,
        "boolean" => DataType::Boolean,
        "date" => DataType::Date32,
        "timestamp" => instant(),
        "binary" => DataType::Binary,
        decimal => {
            let (precision, scale) = decimal.strip_prefix("decimal(")?.strip_suffix(')')?.split_once(',')?;
            DataType::Decimal128(precision.trim().parse().ok()?, scale.trim().parse().ok()?)
        }
    })
}

/// Whether a column of type `now` fits a column of type `was` as it is, needs the column widened, or does neither.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fit {
    Fits,
    /// The table's column must become `now`.
    Widens,
    No,
}

pub(super) fn fit(was: &DataType, now: &DataType) -> Fit {
    match wider(was, now) {
        Some(wider) if wider == *was => Fit::Fits,
        Some(wider) if wider == *now => Fit::Widens,
        _ => Fit::No,
    }
}

/// The narrowest type that holds every value of both, if both are exact numbers (or the same type) and 38 digits are enough.
pub fn wider(a: &DataType, b: &DataType) -> Option<DataType> {
    /// Digits before the point and after it.
    fn digits(data_type: &DataType) -> Option<(i16, i16)> {
        Some(match data_type {
            DataType::Int32 => (10, 0),
            DataType::Int64 => (19, 0),
            DataType::Decimal128(precision, scale) => (i16::from(*precision) - i16::from(*scale), i16::from(*scale)),
            _ => return None,
        })
    }
    if a == b {
        return Some(a.clone());
    }
    let ((before, after), (other_before, other_after)) = (digits(a)?, digits(b)?);
    if matches!((a, b), (DataType::Int32 | DataType::Int64, DataType::Int32 | DataType::Int64)) {
        return Some(DataType::Int64);
    }
    let (before, after) = (before.max(other_before), after.max(other_after));
    let precision = u8::try_from(before + after).ok().filter(|precision| *precision <= 38)?;
    Some(DataType::Decimal128(precision, i8::try_from(after).ok()?))
}

/// `batch` with the columns of `schema`, found by name; missing ones are null.
pub(super) fn by_name(table: &str, batch: &RecordBatch, schema: &SchemaRef) -> Result<RecordBatch, StoreError> {
    let columns = schema.fields().iter().map(|field| match batch.column_by_name(field.name()) {
        Some(column) => cast(table, field, column),
        None => Ok(new_null_array(field.data_type(), batch.num_rows())),
    });
    assemble(table, schema, columns.collect::<Result<_, _>>()?, batch.num_rows())
}

/// `batch` with the types of `schema`, column by column; for rows whose schema went through [`storable`].
pub(super) fn by_position(table: &str, batch: &RecordBatch, schema: &SchemaRef) -> Result<RecordBatch, StoreError> {
    if batch.num_columns() != schema.fields().len() {
        let problem = format!("a batch has {} columns where {} were announced", batch.num_columns(), schema.fields().len());
        return Err(StoreError::Column { table: table.into(), column: "*".into(), problem });
    }
    let columns = schema.fields().iter().zip(batch.columns()).map(|(field, column)| cast(table, field, column));
    assemble(table, schema, columns.collect::<Result<_, _>>()?, batch.num_rows())
}

pub(super) fn cast(table: &str, field: &Field, column: &ArrayRef) -> Result<ArrayRef, StoreError> {
    if column.data_type() == field.data_type() {
        return Ok(column.clone());
    }
    let strict = CastOptions { safe: false, ..Default::default() };
    cast_with_options(column, field.data_type(), &strict).map_err(|e| StoreError::Column {
        table: table.into(),
        column: field.name().clone(),
        problem: format!("cannot read {} as {}: {e}", column.data_type(), field.data_type()),
    })
}

fn assemble(table: &str, schema: &SchemaRef, columns: Vec<ArrayRef>, rows: usize) -> Result<RecordBatch, StoreError> {
    let options = RecordBatchOptions::new().with_row_count(Some(rows));
    RecordBatch::try_new_with_options(schema.clone(), columns, &options).map_err(|source| StoreError::Arrow {
        table: table.into(),
        what: "assemble rows",
        source,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exact_numbers_have_a_type_that_holds_both() {
        use DataType::{Decimal128 as Decimal, Float64, Int32, Int64, Utf8};
        let cases = [
            (Int32, Int64, Some(Int64)),
            (Int64, Int32, Some(Int64)),
            (Utf8, Utf8, Some(Utf8)),
            (Utf8, Int64, None),
            (Int32, Float64, None),
            (Int32, Decimal(12, 2), Some(Decimal(12, 2))),
            (Int64, Decimal(12, 2), Some(Decimal(21, 2))),
            (Decimal(12, 2), Decimal(18, 6), Some(Decimal(18, 6))),
            (Decimal(18, 6), Decimal(12, 2), Some(Decimal(18, 6))),
            (Decimal(12, 2), Decimal(12, 4), Some(Decimal(14, 4))),
            (Decimal(38, 0), Decimal(10, 2), None),
        ];
        for (was, now, expected) in cases {
            assert_eq!(wider(&was, &now), expected, "{was} and {now}");
        }
        assert_eq!(fit(&Decimal(12, 2), &Decimal(18, 6)), Fit::Widens);
        assert_eq!(fit(&Decimal(18, 6), &Decimal(12, 2)), Fit::Fits);
        assert_eq!(fit(&Decimal(12, 2), &Decimal(12, 4)), Fit::No, "neither holds the other");
    }
}
