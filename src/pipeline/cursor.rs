//! Cursors: where the next pull of a stream starts.
//!
//! A raw table keeps the highest cursor value that its pulls have seen, bounded by what the source says no later commit can fall below. The next
//! pull starts the stream's lookback before it, inclusively; rows that were seen already change nothing.

use std::sync::{Arc, Mutex, PoisonError};

use arrow::array::{Array, AsArray, RecordBatch};
use arrow::compute::{cast, max};
use arrow::datatypes::{DataType, Int64Type, TimeUnit, TimestampMicrosecondType};

use crate::connect::CursorValue;
use crate::project::{Cursor, CursorKind};

/// Table property that holds the cursor.
pub(super) const PROPERTY: &str = "loopline.cursor";

const MICROS_PER_SECOND: i64 = 1_000_000;

/// Reads the property; one of another kind than the stream's (the connector changed) means starting from the beginning.
pub(super) fn parse(text: &str, cursor: &Cursor) -> Option<CursorValue> {
    let value: CursorValue = serde_json::from_str(text).ok()?;
    match (value, cursor.kind) {
        (CursorValue::Timestamp(_), CursorKind::Timestamp) | (CursorValue::Integer(_), CursorKind::Integer) => Some(value),
        _ => None,
    }
}

/// Where to start reading when `last` was reached.
pub(super) fn start(last: CursorValue, cursor: &Cursor) -> CursorValue {
    match last {
        CursorValue::Timestamp(micros) => {
            CursorValue::Timestamp(micros.saturating_sub(cursor.lookback.saturating_mul(MICROS_PER_SECOND)))
        }
        CursorValue::Integer(number) => CursorValue::Integer(number.saturating_sub(cursor.lookback)),
    }
}

/// The highest cursor value among the rows of one read.
#[derive(Clone)]
pub(super) struct Seen {
    cursor: Cursor,
    highest: Arc<Mutex<Option<CursorValue>>>,
}

impl Seen {
    pub fn new(cursor: &Cursor, last: Option<CursorValue>) -> Self {
        Self { cursor: cursor.clone(), highest: Arc::new(Mutex::new(last)) }
    }

    /// Takes a batch into account; `connect` checked that it has the cursor column.
    pub fn note(&self, batch: &RecordBatch) {
        let Some(column) = batch.column_by_name(&self.cursor.field) else { return };
        let found = match self.cursor.kind {
            CursorKind::Timestamp => instants(column).map(CursorValue::Timestamp),
            CursorKind::Integer => integers(column).map(CursorValue::Integer),
        };
        let mut highest = self.highest.lock().unwrap_or_else(PoisonError::into_inner);
        *highest = (*highest).max(found);
    }

    /// The property to commit: the highest value, but not above `safe_until`.
    pub fn property(&self, safe_until: Option<CursorValue>) -> Option<String> {
        let highest = *self.highest.lock().unwrap_or_else(PoisonError::into_inner);
        let bounded = match (highest?, safe_until) {
            (highest, Some(bound)) => highest.min(bound),
            (highest, None) => highest,
        };
        serde_json::to_string(&bounded).ok()
    }
}

fn instants(column: &dyn Array) -> Option<i64> {
    match column.data_type() {
        DataType::Timestamp(TimeUnit::Microsecond, _) => max(column.as_primitive::<TimestampMicrosecondType>()),
        _ => None,
    }
}

fn integers(column: &dyn Array) -> Option<i64> {
    let column = cast(column, &DataType::Int64).ok()?;
    max(column.as_primitive::<Int64Type>())
}

#[cfg(test)]
mod tests {
    use arrow::array::{Int32Array, TimestampMicrosecondArray};

    use super::*;

    fn cursor(kind: CursorKind, lookback: i64) -> Cursor {
        Cursor { field: "c".into(), kind, lookback }
    }

    #[test]
    fn a_cursor_round_trips_and_looks_back() {
        let by_time = cursor(CursorKind::Timestamp, 300);
        let at = CursorValue::Timestamp(1_000_000_000);
        let text = serde_json::to_string(&at).unwrap();
        assert_eq!(parse(&text, &by_time), Some(at));
        assert_eq!(parse(&text, &cursor(CursorKind::Integer, 0)), None);
        assert_eq!(parse("nonsense", &by_time), None);
        assert_eq!(start(at, &by_time), CursorValue::Timestamp(700_000_000));
        assert_eq!(start(CursorValue::Integer(7), &cursor(CursorKind::Integer, 2)), CursorValue::Integer(5));
    }

    #[test]
    fn the_highest_value_is_kept_and_bounded() {
        let batch = |values: Vec<Option<i32>>| {
            RecordBatch::try_from_iter([("c", Arc::new(Int32Array::from(values)) as Arc<dyn Array>)]).unwrap()
        };
        let seen = Seen::new(&cursor(CursorKind::Integer, 0), Some(CursorValue::Integer(4)));
        seen.note(&batch(vec![Some(2), None]));
        assert_eq!(seen.property(None).unwrap(), "{\"integer\":4}");
        seen.note(&batch(vec![Some(9), None]));
        assert_eq!(seen.property(None).unwrap(), "{\"integer\":9}");
        assert_eq!(seen.property(Some(CursorValue::Integer(6))).unwrap(), "{\"integer\":6}");
        let empty = Seen::new(&cursor(CursorKind::Timestamp, 0), None);
        assert_eq!(empty.property(None), None);
        let column = TimestampMicrosecondArray::from(vec![5, 7]).with_timezone("UTC");
        empty.note(&RecordBatch::try_from_iter([("c", Arc::new(column) as Arc<dyn Array>)]).unwrap());
        assert_eq!(empty.property(None).unwrap(), "{\"timestamp\":7}");
    }
}
