//! In which pieces a reading is asked for. Each row is in exactly one piece.

use arrow::array::RecordBatch;
use chrono_tz::Tz;
use mysql_async::Value;
use mysql_async::prelude::Queryable;

use super::catalog::{Column, Kind, Table, quoted};
use super::decode::{encode, instant, moment};
use crate::connect::CursorValue;
use crate::connect::instant::local_floor;
use crate::connect::value::cell_json;

/// Tables above this are split, those below are read by one statement.
pub(super) const LARGE_BYTES: u64 = 64 << 20;
/// About what a piece of a split table holds: small enough that the last ones end together.
const PIECE_BYTES: u64 = 16 << 20;
const PIECES_MAX: u64 = 1_000; // a statement costs about as much as a few hundred rows
/// Keys in one statement; each column of a key is a parameter, of which a statement takes 65,535.
const KEYS_MAX: usize = 1_000;

/// A condition (with its ` where`) and what it binds.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Piece {
    pub(super) condition: String,
    pub(super) values: Vec<Value>,
}

impl Piece {
    pub(super) fn whole() -> Self {
        Self { condition: String::new(), values: Vec::new() }
    }
}

/// A large table in ranges of its primary key's first column, if that holds integers; `None` for other tables.
pub(super) async fn ranges(client: &mut impl Queryable, table: &Table) -> Result<Option<Vec<Piece>>, mysql_async::Error> {
    let Some(key) = table.integer_key().filter(|_| table.bytes > LARGE_BYTES && table.untransacted.is_none()) else {
        return Ok(None);
    };
    let name = quoted(&key.name);
    let sql = format!("select cast(min({name}) as char), cast(max({name}) as char) from {}", table.sql_name);
    let bounds: Option<(Option<String>, Option<String>)> = client.exec_first(sql, ()).await?;
    let number = |text: Option<String>| text.and_then(|text| text.parse::<i128>().ok());
    let Some((Some(first), Some(last))) = bounds.map(|(first, last)| (number(first), number(last))) else { return Ok(None) };
    Ok(Some(split(&name, first, last, (table.bytes / PIECE_BYTES).min(PIECES_MAX))))
}

/// At most `count` ranges that cover all numbers: the first is open below and the last above, whatever `first` and `last` are.
fn split(name: &str, first: i128, last: i128, count: u64) -> Vec<Piece> {
    let (count, width) = (i128::from(count.max(1)), last - first + 1);
    let mut cuts: Vec<i128> = (1..count).map(|at| first + width * at / count).filter(|cut| *cut > first).collect();
    cuts.dedup();
    let bind =
        |number: i128| u64::try_from(number).map_or_else(|_| Value::Int(i64::try_from(number).unwrap_or(i64::MIN)), Value::UInt);
    let range = |from: Option<i128>, to: Option<i128>| {
        let conditions = [from.map(|_| format!("{name} >= ?")), to.map(|_| format!("{name} < ?"))];
        let conditions: Vec<String> = conditions.into_iter().flatten().collect();
        let condition = if conditions.is_empty() { String::new() } else { format!(" where {}", conditions.join(" and ")) };
        Piece { condition, values: [from, to].into_iter().flatten().map(bind).collect() }
    };
    let bounds: Vec<Option<i128>> = std::iter::once(None).chain(cuts.into_iter().map(Some)).chain([None]).collect();
    bounds.windows(2).map(|pair| range(pair[0], pair[1])).collect()
}

/// Rows at or after a cursor; those without a cursor value may have changed at any time. The whole table for a cursor before all time, and where the
/// stream reads the column as another type than the server compares it.
pub(super) fn since(field: &str, kind: Kind, after: CursorValue, zone: Option<Tz>) -> Piece {
    let first = match (after, kind) {
        (CursorValue::Integer(first), Kind::Int4 | Kind::Int8 | Kind::UnsignedInt8) => Some(Value::Int(first)),
        (CursorValue::Timestamp(first), Kind::Timestamp) => instant(first),
        (CursorValue::Timestamp(first), Kind::Datetime) => zone.and_then(|zone| local_floor(first, zone)).and_then(moment),
        _ => None,
    };
    let field = quoted(field);
    first.map_or_else(Piece::whole, |first| Piece {
        condition: format!(" where ({field} >= ? or {field} is null)"),
        values: vec![first],
    })
}

/// Rows with these keys. A key that the column cannot hold finds no row, so it is left out.
pub(super) fn keys(columns: &[(&Column, Kind)], batches: &[RecordBatch], zone: Option<Tz>) -> Vec<Piece> {
    let rows = batches.iter().flat_map(|batch| (0..batch.num_rows()).map(move |row| (batch, row)));
    let bound: Vec<Vec<Value>> = rows
        .filter_map(|(batch, row)| {
            let cells = columns.iter().zip(batch.columns());
            cells.map(|((column, kind), cells)| encode(&cell_json(cells, row), column, *kind, zone).ok()).collect()
        })
        .collect();
    let names = columns.iter().map(|(column, _)| quoted(&column.name)).collect::<Vec<_>>().join(", ");
    let places = columns.iter().map(|(column, kind)| placeholder(column, *kind)).collect::<Vec<_>>().join(", ");
    let piece = |keys: &[Vec<Value>]| {
        let list = vec![format!("({places})"); keys.len()].join(", ");
        Piece { condition: format!(" where ({names}) in ({list})"), values: keys.concat() }
    };
    bound.chunks(KEYS_MAX).map(piece).collect()
}

/// A parameter that is compared with, or set to, a column: decimals travel as text, and the server would compare text as doubles.
pub(super) fn placeholder(column: &Column, kind: Kind) -> String {
    match kind {
        Kind::Decimal { .. } => format!("cast(? as {})", column.type_name.replace("unsigned", "").replace("zerofill", "")),
        _ => "?".into(),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn holds(piece: &Piece, key: i128) -> bool {
        let number = |value: &Value| match value {
            Value::UInt(number) => i128::from(*number),
            Value::Int(number) => i128::from(*number),
            other => panic!("{other:?}"),
        };
        let mut values = piece.values.iter().map(number);
        let from = !piece.condition.contains(">=") || values.next().unwrap() <= key;
        from && (!piece.condition.contains("< ?") || key < values.next().unwrap())
    }

    proptest! {
        #[test]
        fn every_key_is_in_one_range(first in any::<i64>(), width in 0_i64..1_000, count in 0_u64..50, keys in prop::collection::vec(any::<i64>(), 20), near in -10_i128..1_010) {
            let first = i128::from(first);
            let ranges = split("`k`", first, first + i128::from(width), count);
            prop_assert!(ranges.len() <= usize::try_from(count.max(1)).unwrap());
            let edges = [i128::from(u64::MAX), i128::from(i64::MIN), first + near];
            for key in keys.into_iter().map(i128::from).chain(edges) {
                prop_assert_eq!(ranges.iter().filter(|range| holds(range, key)).count(), 1, "{}", key);
            }
        }
    }

    #[test]
    fn ranges_are_even_and_open_at_both_ends() {
        let shown: Vec<_> = split("`k`", 0, 99, 3).into_iter().map(|piece| (piece.condition, piece.values)).collect();
        let uint = Value::UInt;
        assert_eq!(
            shown,
            [
                (" where `k` < ?".to_owned(), vec![uint(33)]),
                (" where `k` >= ? and `k` < ?".to_owned(), vec![uint(33), uint(66)]),
                (" where `k` >= ?".to_owned(), vec![uint(66)]),
            ]
        );
        assert_eq!(split("`k`", 5, 5, 9), [Piece::whole()]);
    }
}
