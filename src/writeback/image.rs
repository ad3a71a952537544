//! Rows of table versions in canonical JSON: what is wanted, brought to the target's own types, and what the target has.

use std::collections::{BTreeMap, BTreeSet};

use arrow::array::RecordBatch;
use arrow::datatypes::{DataType, Schema};
use futures::TryStreamExt;
use serde_json::Value;

use crate::base::{Row, nearest};
use crate::connect::{canonical_json, cell_json};
use crate::store::{Store, TableVersion};

use super::WritebackError;
use super::spec::Spec;

/// A key in a form that compares: its values in the order of the write's key columns, as JSON.
pub(super) type KeyText = String;

/// A row that the target should have.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Wanted {
    pub key: Row,
    /// Every column to set, key columns included.
    pub fields: Row,
    /// Why, for a person.
    pub reason: String,
    /// The row itself asks for a person's approval, whatever the rule says.
    pub asks: bool,
}

/// The text under which `key` is found; a column that the row lacks counts as null.
pub(super) fn key_text(columns: &[String], row: &Row) -> KeyText {
    let values: Vec<&Value> = columns.iter().map(|column| row.get(column).unwrap_or(&Value::Null)).collect();
    serde_json::to_string(&values).unwrap_or_default()
}

/// Whether two canonical values mean the same. JSON text may lose the last bits of a double, and a row must not look changed because its image
/// was stored as JSON.
pub(super) fn same(a: &Value, b: &Value) -> bool {
    match (a, b) {
        (Value::Number(left), Value::Number(right)) if left.is_f64() || right.is_f64() => {
            let (left, right) = (left.as_f64().unwrap_or(f64::NAN), right.as_f64().unwrap_or(f64::NAN));
            (left - right).abs() <= 4.0 * f64::EPSILON * left.abs().max(right.abs())
        }
        _ => a == b,
    }
}

/// Whether `row` shows everything that `image` says.
pub(super) fn shows(row: &Row, image: &Row) -> bool {
    image.iter().all(|(column, value)| row.get(column).is_some_and(|found| same(found, value)))
}

/// The columns of `image` as `row` has them.
pub(super) fn restrict(row: &Row, image: &Row) -> Row {
    image.keys().filter_map(|column| Some((column.clone(), row.get(column)?.clone()))).collect()
}

/// Everything that a write map wants, by key, in the types of the resource's columns.
pub(super) async fn wanted(
    store: &Store,
    spec: &Spec<'_>,
    version: &TableVersion,
    target: &Schema,
) -> Result<BTreeMap<KeyText, Wanted>, WritebackError> {
    let columns = Columns::resolve(spec, &version.schema, target)?;
    let mut rows = BTreeMap::new();
    let mut batches = store.read(version);
    while let Some(batch) =
        batches.try_next().await.map_err(|source| WritebackError::Read { table: version.table.clone(), source })?
    {
        for at in 0..batch.num_rows() {
            let row = columns.row(spec, &batch, at)?;
            let key = key_text(&spec.write.key, &row.key);
            if rows.insert(key.clone(), row).is_some() {
                return Err(WritebackError::Rows { file: spec.file(), what: format!("key {key} is wanted twice") });
            }
        }
    }
    Ok(rows)
}

/// The rows of the resource with one of `keys`, whole.
pub(super) async fn current(
    store: &Store,
    spec: &Spec<'_>,
    version: &TableVersion,
    keys: &BTreeSet<KeyText>,
) -> Result<BTreeMap<KeyText, Row>, WritebackError> {
    let mut rows = BTreeMap::new();
    if keys.is_empty() {
        return Ok(rows);
    }
    let mut batches = store.read(version);
    while let Some(batch) =
        batches.try_next().await.map_err(|source| WritebackError::Read { table: version.table.clone(), source })?
    {
        let key_columns = spec
            .write
            .key
            .iter()
            .map(|name| batch.column_by_name(name).ok_or_else(|| spec.no_column(name)))
            .collect::<Result<Vec<_>, _>>()?;
        for at in 0..batch.num_rows() {
            let values: Vec<Value> = key_columns.iter().map(|column| cell_json(column, at)).collect();
            let key = serde_json::to_string(&values).unwrap_or_default();
            if !keys.contains(&key) {
                continue;
            }
            if rows.insert(key.clone(), whole_row(&batch, at)).is_some() {
                let what = format!("{} has key {key} twice, so a write could not tell which row it means", spec.stream.name);
                return Err(WritebackError::Table { system: spec.system.name.clone(), table: version.table.clone(), what });
            }
        }
    }
    Ok(rows)
}

/// Every column of the source; those that the hub adds start with `_` and stay out, bytes stay out because they are never compared or set.
fn whole_row(batch: &RecordBatch, at: usize) -> Row {
    let schema = batch.schema();
    let columns = schema.fields().iter().zip(batch.columns());
    columns
        .filter(|(field, _)| !field.name().starts_with('_') && *field.data_type() != DataType::Binary)
        .map(|(field, column)| (field.name().clone(), cell_json(column, at)))
        .collect()
}

/// Columns of a write map: where they are and which type the target wants.
struct Columns {
    fields: Vec<(usize, String, DataType)>,
    reason: Option<usize>,
    mode: Option<usize>,
}

impl Columns {
    fn resolve(spec: &Spec<'_>, map: &Schema, target: &Schema) -> Result<Self, WritebackError> {
        let mut columns = Self { fields: Vec::new(), reason: None, mode: None };
        for (at, field) in map.fields().iter().enumerate() {
            match field.name().as_str() {
                "_reason" => columns.reason = Some(at),
                "_mode" => columns.mode = Some(at),
                name if name.starts_with('_') => {}
                name => columns.fields.push((at, name.to_owned(), target_type(spec, name, target)?)),
            }
        }
        for key in &spec.write.key {
            if !columns.fields.iter().any(|(_, name, _)| name == key) {
                return Err(WritebackError::Column {
                    file: spec.file(),
                    column: key.clone(),
                    what: "the map does not yield this key column".into(),
                    hint: Some(format!("add it to the select, or correct `key` of [write.{}]", spec.kind())),
                });
            }
        }
        Ok(columns)
    }

    fn row(&self, spec: &Spec<'_>, batch: &RecordBatch, at: usize) -> Result<Wanted, WritebackError> {
        let mut fields = Row::new();
        for (position, name, data_type) in &self.fields {
            let column = batch.column(*position);
            let value = cell_json(column, at);
            let Some(value) = canonical_json(&value, data_type) else {
                return Err(WritebackError::Column {
                    file: spec.file(),
                    column: name.clone(),
                    what: format!("{value} does not fit the target's {data_type} without loss"),
                    hint: Some("cast or round it in the map".into()),
                });
            };
            fields.insert(name.clone(), value);
        }
        let key = spec.key(&fields);
        if let Some((column, _)) = key.iter().find(|(_, value)| value.is_null()) {
            return Err(WritebackError::Rows { file: spec.file(), what: format!("key column {column} is null in a row") });
        }
        let text = |column: Option<usize>| column.map(|column| cell_json(batch.column(column), at));
        let reason = match text(self.reason) {
            Some(Value::String(reason)) => reason,
            _ => String::new(),
        };
        let asks = match text(self.mode) {
            None | Some(Value::Null) => false,
            Some(Value::String(mode)) if mode == "auto" => false,
            Some(Value::String(mode)) if mode == "approve" => true,
            Some(other) => {
                let what = format!("_mode is {other}, not 'auto' or 'approve'");
                return Err(WritebackError::Rows { file: spec.file(), what });
            }
        };
        Ok(Wanted { key, fields, reason, asks })
    }
}

fn target_type(spec: &Spec<'_>, name: &str, target: &Schema) -> Result<DataType, WritebackError> {
    let names = target.fields().iter().map(|field| field.name().as_str());
    match target.field_with_name(name) {
        Ok(field) if *field.data_type() == DataType::Binary => Err(WritebackError::Column {
            file: spec.file(),
            column: name.into(),
            what: "bytes are not written".into(),
            hint: None,
        }),
        Ok(field) => Ok(field.data_type().clone()),
        Err(_) => Err(WritebackError::Column {
            file: spec.file(),
            column: name.into(),
            what: format!("stream \"{}\" of system \"{}\" has no such column", spec.stream.name, spec.system.name),
            hint: nearest(name, names).map(|near| format!("did you mean {near}?")),
        }),
    }
}
