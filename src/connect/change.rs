//! What every target does alike with a change: which columns it touches, and whether the row is still the one it was decided from.

use std::collections::BTreeSet;

use arrow::datatypes::DataType;

use super::Outcome;
use super::value::same;
use crate::base::{Operation, Row, RowChange};

/// What a key finds.
pub(super) enum Found {
    Nothing,
    One(Row),
    /// The key does not identify a row.
    Several,
}

/// What is to be done with a change, given what its key finds: go on (`None`), or the outcome already.
pub(super) fn verdict<'a>(change: &RowChange, found: Found, type_of: impl Fn(&str) -> Option<&'a DataType>) -> Option<Outcome> {
    match (change.operation, found) {
        (_, Found::Several) => Some(Outcome::Refused { reason: "the key finds more than one row".into() }),
        (Operation::Insert, Found::Nothing) => None,
        (Operation::Insert, Found::One(row)) => Some(Outcome::Conflict { found: Some(row) }),
        (Operation::Update | Operation::Delete, Found::Nothing) => Some(Outcome::Conflict { found: None }),
        (Operation::Update | Operation::Delete, Found::One(row)) => {
            if unchanged(change, &row, type_of) {
                None
            } else {
                Some(Outcome::Conflict { found: Some(row) })
            }
        }
    }
}

/// Every column that `change` reads or sets, in order.
pub(super) fn touched(change: &RowChange) -> Vec<String> {
    let images = [Some(&change.key), change.before.as_ref(), change.after.as_ref()];
    let mut columns: BTreeSet<&String> = images.into_iter().flatten().flat_map(Row::keys).collect();
    columns.extend(change.version.iter().map(|(column, _)| column));
    columns.into_iter().cloned().collect()
}

/// Whether `found`, the row as it is now, still has the version and the before-image that `change` was decided from.
fn unchanged<'a>(change: &RowChange, found: &Row, type_of: impl Fn(&str) -> Option<&'a DataType>) -> bool {
    let version = change.version.iter().map(|(column, value)| (column, value));
    version.chain(change.before.iter().flatten()).all(|(column, decided)| {
        let now = found.get(column).unwrap_or(&serde_json::Value::Null);
        type_of(column).is_some_and(|data_type| same(decided, now, data_type))
    })
}

/// Column → value of what is set: for an insert the key as well, for an update only fields outside of it, for a delete nothing.
pub(super) fn assigned(change: &RowChange) -> Row {
    let after = change.after.clone().unwrap_or_default();
    match change.operation {
        Operation::Insert => change.key.clone().into_iter().chain(after).collect(),
        Operation::Update => after.into_iter().filter(|(column, value)| change.key.get(column) != Some(value)).collect(),
        Operation::Delete => Row::new(),
    }
}

/// `id=5, line=2`: the row's key for an error or a reason.
pub(super) fn key_text<'a>(parts: impl IntoIterator<Item = (&'a str, String)>) -> String {
    parts.into_iter().map(|(column, value)| format!("{column}={value}")).collect::<Vec<_>>().join(", ")
}

/// Quotes an identifier for SQL; the name may hold anything.
pub(super) fn quoted(identifier: &str) -> String {
    format!("\"{}\"", identifier.replace('"', "\"\""))
}

/// Quotes `table` or `schema.table`.
pub(super) fn quoted_table(table: &str) -> String {
    match table.split_once('.') {
        Some((schema, name)) => format!("{}.{}", quoted(schema), quoted(name)),
        None => quoted(table),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn row(pairs: &[(&str, serde_json::Value)]) -> Row {
        pairs.iter().map(|(column, value)| ((*column).to_owned(), value.clone())).collect()
    }

    fn change() -> RowChange {
        RowChange {
            operation: Operation::Update,
            table: "lines".into(),
            key: row(&[("id", json!(5))]),
            before: Some(row(&[("qty", json!("5"))])),
            after: Some(row(&[("qty", json!("6")), ("id", json!(5))])),
            version: Some(("ver".into(), json!(3))),
        }
    }

    #[test]
    fn compares_version_and_before_by_type() {
        let type_of = |column: &str| Some(if column == "qty" { &DataType::Decimal128(10, 2) } else { &DataType::Int64 });
        assert_eq!(touched(&change()), ["id", "qty", "ver"]);
        assert_eq!(assigned(&change()), row(&[("qty", json!("6"))]));
        assert!(unchanged(&change(), &row(&[("qty", json!("5.00")), ("ver", json!(3))]), type_of));
        assert!(!unchanged(&change(), &row(&[("qty", json!("5.01")), ("ver", json!(3))]), type_of));
        assert!(!unchanged(&change(), &row(&[("qty", json!("5")), ("ver", json!(4))]), type_of));
        assert!(!unchanged(&change(), &row(&[("qty", json!(null)), ("ver", json!(3))]), type_of));
    }

    #[test]
    fn identifiers_are_quoted_whatever_they_hold() {
        assert_eq!(quoted_table("public.a\"b"), "\"public\".\"a\"\"b\"");
        assert_eq!(quoted("x; drop table y"), "\"x; drop table y\"");
    }
}
