//! Rows by their keys.

use std::collections::HashSet;

use arrow::array::RecordBatch;
use arrow::datatypes::DataType;
use rusqlite::types::Value as SqlValue;
use serde_json::Value;

use super::catalog::Table;
use crate::connect::change::quoted;
use crate::connect::value::cell_json;

/// How rows with certain keys are found.
pub(super) enum Lookup {
    /// By an index, one after the other: a condition and what is bound for each key.
    Each { conditions: String, keys: Vec<Vec<SqlValue>> },
    /// In one scan of the table. One value can be stored in several forms (`2026-01-01 00:00`, `2026-01-01T00:00:00`), which only reading it tells.
    Among(Wanted),
}

/// Keys in canonical form, each as a JSON array.
pub(super) struct Wanted(HashSet<String>);

impl Wanted {
    pub(super) fn contains(&self, key: Vec<Value>) -> bool {
        self.0.contains(&Value::Array(key).to_string())
    }
}

impl Lookup {
    /// `keys`: batches of the columns `key`, in that order.
    pub(super) fn new(keys: &[RecordBatch], table: &Table, key: &[String], is_unique: bool) -> Self {
        let rows = keys.iter().flat_map(|keys| (0..keys.num_rows()).map(move |row| cells(keys, row)));
        let has_one_form = key.iter().all(|name| table.column(name).is_some_and(|column| column.has_one_form()));
        if !is_unique || !has_one_form {
            return Self::Among(Wanted(rows.map(|key| Value::Array(key).to_string()).collect()));
        }
        let conditions = key.iter().zip(1..).map(|(name, at)| format!("{} = ?{at}", quoted(name))).collect::<Vec<_>>();
        let keys = rows.map(|key| key.into_iter().map(bound).collect()).collect();
        Self::Each { conditions: format!(" where {}", conditions.join(" and ")), keys }
    }
}

fn cells(keys: &RecordBatch, row: usize) -> Vec<Value> {
    keys.columns().iter().map(|column| cell_json(column, row)).collect()
}

/// Only integers and texts have one form.
fn bound(cell: Value) -> SqlValue {
    match cell {
        Value::String(text) => SqlValue::Text(text),
        other => other.as_i64().map_or(SqlValue::Null, SqlValue::Integer),
    }
}

/// Whether no two stored values of a column so declared are read as one value.
pub(super) fn has_one_form(declared: &str, data_type: Option<&DataType>) -> bool {
    let declared = declared.to_ascii_uppercase();
    let has = |part: &str| declared.contains(part);
    match data_type {
        Some(DataType::Int64) => true,
        // What has this affinity stores numbers as their text.
        Some(DataType::Utf8) => !has("INT") && (has("CHAR") || has("CLOB") || has("TEXT")),
        _ => false,
    }
}
