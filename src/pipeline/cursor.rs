//! Cursors: where the next pull of a stream starts.
//!
//! A raw table keeps the highest cursor value that its pulls have seen, bounded by what the source says no later commit can fall below. The next
//! pull starts the stream's lookback before it, inclusively; rows that were seen already change nothing.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use arrow::array::{Array, AsArray, RecordBatch};
use arrow::compute::{cast, max};
use arrow::datatypes::{DataType, Int64Type, TimeUnit, TimestampMicrosecondType};

use crate::base::time::Instant;
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

/// The highest cursor value among the rows of one pull.
#[derive(Clone)]
pub(super) struct Seen {
    cursor: Cursor,
    range: Arc<Mutex<Range>>,
}

#[derive(Clone, Copy)]
struct Range {
    highest: Option<CursorValue>,
    /// The next pull starts no later than this.
    bound: Option<CursorValue>,
}

impl Seen {
    /// `last`: what was reached before. `opened_at`: an instant before the snapshot; one row dated in the far future must not hide those that are
    /// written until then.
    pub fn new(cursor: &Cursor, last: Option<CursorValue>, opened_at: Instant) -> Self {
        let bound = match cursor.kind {
            CursorKind::Timestamp => Some(CursorValue::Timestamp(opened_at.timestamp_micros())),
            CursorKind::Integer => None,
        };
        Self { cursor: cursor.clone(), range: Arc::new(Mutex::new(Range { highest: last, bound })) }
    }

    fn range(&self) -> MutexGuard<'_, Range> {
        self.range.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// No row that commits later can carry a cursor below `safe_until`.
    pub fn bound(&self, safe_until: Option<CursorValue>) {
        let mut range = self.range();
        range.bound = range.bound.into_iter().chain(safe_until).min();
    }

    /// Takes a batch into account; `connect` checked that it has the cursor column.
    pub fn note(&self, batch: &RecordBatch) {
        let Some(column) = batch.column_by_name(&self.cursor.field) else { return };
        let found = match self.cursor.kind {
            CursorKind::Timestamp => instants(column).map(CursorValue::Timestamp),
            CursorKind::Integer => integers(column).map(CursorValue::Integer),
        };
        let mut range = self.range();
        range.highest = range.highest.max(found);
    }

    /// The property to commit: the highest value, but not above the bounds.
    pub fn property(&self) -> Option<String> {
        let Range { highest, bound } = *self.range();
        serde_json::to_string(&bound.into_iter().chain(highest).min().filter(|_| highest.is_some())?).ok()
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
        let opened_at = Instant::from_timestamp_micros(100).unwrap();
        let seen = Seen::new(&cursor(CursorKind::Integer, 0), Some(CursorValue::Integer(4)), opened_at);
        seen.note(&batch(vec![Some(2), None]));
        assert_eq!(seen.property().unwrap(), "{\"integer\":4}");
        seen.note(&batch(vec![Some(900), None]));
        assert_eq!(seen.property().unwrap(), "{\"integer\":900}");
        seen.bound(Some(CursorValue::Integer(6)));
        seen.bound(None);
        assert_eq!(seen.property().unwrap(), "{\"integer\":6}");
        let empty = Seen::new(&cursor(CursorKind::Timestamp, 0), None, opened_at);
        assert_eq!(empty.property(), None);
        let instants = |micros: Vec<i64>| {
            let column = TimestampMicrosecondArray::from(micros).with_timezone("UTC");
            RecordBatch::try_from_iter([("c", Arc::new(column) as Arc<dyn Array>)]).unwrap()
        };
        empty.note(&instants(vec![5, 7]));
        assert_eq!(empty.property().unwrap(), "{\"timestamp\":7}");
        empty.note(&instants(vec![1 << 60]));
        assert_eq!(empty.property().unwrap(), "{\"timestamp\":100}", "a row of the far future hides nothing");
        empty.bound(Some(CursorValue::Timestamp(6)));
        assert_eq!(empty.property().unwrap(), "{\"timestamp\":6}");
    }
}
