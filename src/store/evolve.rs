//! How a pulled table's columns follow its source's.

use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Schema, SchemaRef};

use super::types::{self, Fit, delta_type};
use super::{StoreError, TableVersion};

/// Number of the pull that last wrote the row; always a pulled table's last column.
pub(super) const PULL: &str = "_pull";
/// When the row was found gone; last column of `…__deleted`.
pub(super) const DELETED_AT: &str = "_deleted_at";
/// The key's columns as a JSON list, a property of a pulled table.
pub(super) const KEY: &str = "loopline.key";

/// A pulled table's columns after a landing.
#[derive(Debug)]
pub(super) struct Evolved {
    /// The source's own columns, then `_pull`.
    pub(super) schema: SchemaRef,
    /// Whether a column became wider, so that every file must be written anew: engines refuse a file whose type is not the table's.
    pub(super) widened: bool,
}

/// The columns of a table that gets rows of `incoming` (storable types).
///
/// New columns are added, exact numbers may become wider (`integer` to `long`, a decimal to a larger one); a column that is gone or has another type
/// is an error. What a stream's contract lets differ was settled before: this is the last line of defence.
pub(super) fn evolve(table: &str, old: Option<&TableVersion>, incoming: &Schema) -> Result<Evolved, StoreError> {
    reserved(table, incoming)?;
    let mut fields: Vec<Field> = Vec::with_capacity(incoming.fields().len() + 1);
    let mut widened = false;
    for was in old.iter().flat_map(|old| old.schema.fields()).filter(|field| field.name() != PULL) {
        let now = incoming.field_with_name(was.name()).map_err(|_| StoreError::ColumnGone {
            table: table.into(),
            column: was.name().clone(),
            was: delta_type(was.data_type()),
        })?;
        match types::fit(was.data_type(), now.data_type()) {
            Fit::Fits => fields.push(was.as_ref().clone()),
            Fit::Widens => {
                widened = true;
                fields.push(now.clone());
            }
            Fit::No => {
                return Err(StoreError::ColumnChanged {
                    table: table.into(),
                    column: was.name().clone(),
                    was: delta_type(was.data_type()),
                    now: delta_type(now.data_type()),
                });
            }
        }
    }
    for now in incoming.fields() {
        if !fields.iter().any(|field| field.name() == now.name()) {
            fields.push(now.as_ref().clone());
        }
    }
    fields.push(Field::new(PULL, DataType::Int64, true));
    let schema = types::storable(table, &Schema::new(fields))?;
    Ok(Evolved { schema, widened })
}

fn reserved(table: &str, incoming: &Schema) -> Result<(), StoreError> {
    let taken = |field: &&Arc<Field>| [PULL, DELETED_AT].iter().any(|name| field.name().eq_ignore_ascii_case(name));
    match incoming.fields().iter().find(taken) {
        None => Ok(()),
        Some(field) => Err(StoreError::Column {
            table: table.into(),
            column: field.name().clone(),
            problem: "this name is loopline's own; exclude the column in the connector".into(),
        }),
    }
}

/// Positions of the key's columns; a key that differs from the table's own is an error.
pub(super) fn key_columns(
    table: &str,
    old: Option<&TableVersion>,
    schema: &Schema,
    key: &[String],
) -> Result<Vec<usize>, StoreError> {
    let was = old.and_then(|old| old.properties.get(KEY)).and_then(|json| serde_json::from_str::<Vec<String>>(json).ok());
    if let Some(was) = was.filter(|was| was != key) {
        return Err(StoreError::KeyChanged { table: table.into(), was: was.join(", "), now: key.join(", ") });
    }
    let missing = |column: &str| StoreError::Column {
        table: table.into(),
        column: column.into(),
        problem: "a key column must be there".into(),
    };
    if key.is_empty() {
        return Err(missing("(key)"));
    }
    key.iter().map(|column| schema.index_of(column).map_err(|_| missing(column))).collect()
}

/// The columns of `…__deleted` for a pulled table's.
pub(super) fn deleted_schema(schema: &Schema) -> SchemaRef {
    let mut fields: Vec<Field> = schema.fields().iter().map(|field| field.as_ref().clone()).collect();
    fields.push(Field::new(DELETED_AT, types::instant(), true));
    Arc::new(Schema::new(fields))
}
