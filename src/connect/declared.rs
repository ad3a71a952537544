//! Whether a stream's declaration and the source's table agree, checked before the first row.

use std::sync::Arc;

use arrow::datatypes::{DataType, TimeUnit};

use super::error::{Place, Role, nearest_name};
use super::{ConnectError, CursorValue};
use crate::project::{CursorKind, Stream};

/// Refuses a stream whose key, cursor, version, typed or excluded columns are not in the table, or whose key, cursor or version is excluded.
pub(super) fn check_names(place: &Arc<Place>, stream: &Stream, columns: &[&str]) -> Result<(), ConnectError> {
    let cursor = stream.cursor.iter().map(|cursor| (&cursor.field, Role::Cursor));
    let excluded = stream.exclude.iter().map(|column| (column, Role::Excluded));
    let version = stream.version.iter().map(|column| (column, Role::Version));
    let needed = stream.key.iter().map(|column| (column, Role::Key)).chain(cursor).chain(version);
    let typed = stream.types.keys().map(|column| (column, Role::Typed));
    for (column, role) in needed.clone().chain(typed).chain(excluded) {
        check_column(place, &stream.table, columns, column, role)?;
    }
    match needed.into_iter().find(|(column, _)| stream.exclude.contains(column)) {
        Some((column, role)) => Err(ConnectError::NeededColumn { place: Arc::clone(place), column: column.clone(), role }),
        None => Ok(()),
    }
}

/// Refuses a column that the table does not have.
pub(super) fn check_column(
    place: &Arc<Place>,
    table: &str,
    columns: &[&str],
    column: &str,
    role: Role,
) -> Result<(), ConnectError> {
    if columns.contains(&column) {
        return Ok(());
    }
    let nearest = nearest_name(column, columns.iter().copied());
    Err(ConnectError::NoColumn { place: Arc::clone(place), table: table.into(), column: column.into(), role, nearest })
}

/// Refuses a cursor column that is not of its declared kind. `columns` are those that are read.
pub(super) fn check_cursor<'a>(
    place: &Arc<Place>,
    stream: &Stream,
    columns: impl IntoIterator<Item = (&'a str, &'a DataType)>,
) -> Result<(), ConnectError> {
    let Some(cursor) = &stream.cursor else { return Ok(()) };
    let found = columns.into_iter().find(|(name, _)| *name == cursor.field).map(|(_, data_type)| data_type);
    let (fits, declared) = match cursor.kind {
        CursorKind::Timestamp => (matches!(found, Some(DataType::Timestamp(TimeUnit::Microsecond, _))), "timestamp"),
        CursorKind::Integer => (matches!(found, Some(DataType::Int32 | DataType::Int64)), "integer"),
    };
    if fits {
        return Ok(());
    }
    let found = found.map_or_else(|| "nothing".into(), |data_type| spoken(data_type).to_owned());
    Err(ConnectError::CursorKind { place: Arc::clone(place), column: cursor.field.clone(), declared, found })
}

/// Refuses a cursor value of another kind than the stream declares: the declaration changed since the last pull.
pub(super) fn check_after(place: &Arc<Place>, stream: &Stream, after: Option<CursorValue>) -> Result<(), ConnectError> {
    let declared = stream.cursor.as_ref().map(|cursor| cursor.kind);
    let (found, declared) = match (after, declared) {
        (None, _)
        | (Some(CursorValue::Timestamp(_)), Some(CursorKind::Timestamp))
        | (Some(CursorValue::Integer(_)), Some(CursorKind::Integer)) => return Ok(()),
        (Some(CursorValue::Timestamp(_)), declared) => ("a timestamp in the last pull", declared),
        (Some(CursorValue::Integer(_)), declared) => ("an integer in the last pull", declared),
    };
    let declared = match declared {
        Some(CursorKind::Timestamp) => "timestamp",
        Some(CursorKind::Integer) => "integer",
        None => "none",
    };
    let column = stream.cursor.as_ref().map_or_else(String::new, |cursor| cursor.field.clone());
    Err(ConnectError::CursorKind { place: Arc::clone(place), column, declared, found: found.into() })
}

/// A type's name for people.
fn spoken(data_type: &DataType) -> &'static str {
    match data_type {
        DataType::Utf8 => "text",
        DataType::Int32 | DataType::Int64 => "integers",
        DataType::Float64 => "doubles",
        DataType::Boolean => "booleans",
        DataType::Date32 => "dates",
        DataType::Decimal128(_, _) => "decimals",
        DataType::Timestamp(_, _) => "timestamps",
        _ => "bytes",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::Diagnose;
    use crate::project::Cursor;

    fn stream(key: &str, cursor: Option<(&str, CursorKind)>, exclude: &[&str]) -> Stream {
        Stream {
            cursor: cursor.map(|(field, kind)| Cursor { field: field.into(), kind, lookback: 0 }),
            exclude: exclude.iter().map(|column| (*column).into()).collect(),
            ..Stream::new("items", vec![key.into()])
        }
    }

    fn message(result: Result<(), ConnectError>) -> (String, Option<String>) {
        let error = result.unwrap_err();
        (error.to_string(), error.hint())
    }

    #[test]
    fn names_that_the_table_lacks_are_refused_with_the_nearest() {
        let place = Place::stream("erp", "items");
        let columns = ["item_id", "UPD", "photo"];
        let (error, hint) = message(check_names(&place, &stream("itemid", None, &[]), &columns));
        assert_eq!(error, "system \"erp\", stream \"items\": table \"items\" has no key column \"itemid\"");
        assert_eq!(hint.unwrap(), "did you mean \"item_id\"?");
        let (_, hint) = message(check_names(&place, &stream("item_id", Some(("upd", CursorKind::Timestamp)), &[]), &columns));
        assert_eq!(hint.unwrap(), "did you mean \"UPD\"?");
        let (error, _) = message(check_names(&place, &stream("item_id", None, &["item_id"]), &columns));
        assert_eq!(error, "system \"erp\", stream \"items\": column \"item_id\" is excluded, but it is the key");
        assert!(check_names(&place, &stream("item_id", Some(("UPD", CursorKind::Timestamp)), &["photo"]), &columns).is_ok());
    }

    #[test]
    fn a_cursor_of_another_kind_is_refused() {
        let place = Place::stream("erp", "items");
        let stream = stream("id", Some(("upd", CursorKind::Timestamp)), &[]);
        let (error, _) = message(check_cursor(&place, &stream, [("upd", &DataType::Utf8)]));
        assert_eq!(
            error,
            "system \"erp\", stream \"items\": column \"upd\" is declared as a cursor of kind timestamp, but holds text"
        );
        assert!(check_after(&place, &stream, Some(CursorValue::Integer(5))).is_err());
        assert!(check_after(&place, &stream, Some(CursorValue::Timestamp(5))).is_ok());
    }
}
