//! The ledger as rows of `system.changes`.

use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Array, RecordBatch, StringArray, TimestampMicrosecondArray};
use arrow::datatypes::{Field, Schema};
use serde_json::Value;

use crate::base::Row;
use crate::base::time::Instant;

use super::ledger::operation_text;
use super::{Change, Filter, Store, StoreError};

impl Store {
    /// The ledger as rows of `system.changes`, ascending by id; `hub_key` is the value of the column that the write names so.
    pub fn changes_batch(&self) -> Result<RecordBatch, StoreError> {
        let changes = self.control.changes(&Filter::default())?;
        let columns: Vec<(&str, ArrayRef)> = vec![
            ("change_id", numbers(&changes, |c| Some(c.id))),
            ("run", numbers(&changes, |c| Some(c.run.0))),
            ("system", texts(&changes, |c| Some(c.system.clone()))),
            ("kind", texts(&changes, |c| Some(c.kind.clone()))),
            ("operation", texts(&changes, |c| Some(operation_text(c.row.operation).into()))),
            ("hub_key", texts(&changes, |c| self.hub_key(c))),
            ("key_json", texts(&changes, |c| json(Some(&c.row.key)))),
            ("before_json", texts(&changes, |c| json(c.row.before.as_ref()))),
            ("after_json", texts(&changes, |c| json(c.row.after.as_ref()))),
            ("reason", texts(&changes, |c| Some(c.reason.clone()))),
            ("hash", texts(&changes, |c| Some(c.hash.clone()))),
            ("state", texts(&changes, |c| Some(c.state.text().into()))),
            ("approved_by", texts(&changes, |c| c.approved_by.clone())),
            ("planned_at", instants(&changes, |c| Some(c.planned_at))),
            ("approved_at", instants(&changes, |c| c.approved_at)),
            ("sent_at", instants(&changes, |c| c.sent_at)),
            ("closed_at", instants(&changes, |c| c.closed_at)),
            ("detail", texts(&changes, |c| c.detail.clone())),
            ("undoes", numbers(&changes, |c| c.undoes)),
        ];
        let field = |(name, column): &(&str, ArrayRef)| Field::new(*name, column.data_type().clone(), true);
        let schema = Schema::new(columns.iter().map(field).collect::<Vec<_>>());
        RecordBatch::try_new(Arc::new(schema), columns.into_iter().map(|(_, column)| column).collect())
            .map_err(|source| StoreError::Arrow { table: "system.changes".into(), what: "assemble rows", source })
    }

    fn hub_key(&self, change: &Change) -> Option<String> {
        let column = self.hub_keys.get(&(change.system.clone(), change.kind.clone()))?;
        let row = &change.row;
        let value =
            [Some(&row.key), row.after.as_ref(), row.before.as_ref()].into_iter().flatten().find_map(|row| row.get(column))?;
        match value {
            Value::Null => None,
            Value::String(text) => Some(text.clone()),
            other => Some(other.to_string()),
        }
    }
}

fn json(row: Option<&Row>) -> Option<String> {
    serde_json::to_string(row?).ok()
}

fn numbers(changes: &[Change], pick: impl Fn(&Change) -> Option<i64>) -> ArrayRef {
    Arc::new(changes.iter().map(pick).collect::<Int64Array>())
}

fn texts(changes: &[Change], pick: impl Fn(&Change) -> Option<String>) -> ArrayRef {
    Arc::new(changes.iter().map(pick).collect::<StringArray>())
}

fn instants(changes: &[Change], pick: impl Fn(&Change) -> Option<Instant>) -> ArrayRef {
    let micros = changes.iter().map(|change| pick(change).map(|at| at.timestamp_micros()));
    let array: TimestampMicrosecondArray = micros.collect();
    Arc::new(array.with_timezone("UTC"))
}

#[cfg(test)]
mod tests {
    use arrow::util::display::array_value_to_string;
    use serde_json::json;

    use super::super::testing::Bench;
    use super::super::{ChangeState, NewChange};
    use super::*;
    use crate::base::{Operation, RowChange, RunId};

    #[tokio::test(flavor = "multi_thread")]
    async fn a_change_is_a_row() {
        let bench = Bench::new().await;
        let row = RowChange {
            operation: Operation::Update,
            table: "t".into(),
            key: Row::from([("id".into(), json!(4))]),
            before: Some(Row::from([("q".into(), json!("1.5"))])),
            after: Some(Row::from([("q".into(), json!("2")), ("ref".into(), json!("H-1"))])),
            version: None,
        };
        let change = NewChange {
            run: RunId(3),
            system: "erp".into(),
            kind: "orders".into(),
            row,
            reason: "late".into(),
            hash: "h".into(),
            state: ChangeState::Planned,
        };
        bench.store.control.add_change(change, None).unwrap();
        let batch = bench.store.changes_batch().unwrap();
        let cell = |name: &str| array_value_to_string(batch.column_by_name(name).unwrap(), 0).unwrap();
        let cells = ["change_id", "run", "operation", "hub_key", "key_json", "before_json", "state", "approved_at"].map(cell);
        assert_eq!(cells, ["1", "3", "update", "H-1", r#"{"id":4}"#, r#"{"q":"1.5"}"#, "planned", ""]);
        assert_eq!((batch.num_rows(), batch.num_columns()), (1, 19));
    }
}
