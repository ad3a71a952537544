//! Which types tables hold, and which fit into which without loss.

use arrow::datatypes::{DataType, TimeUnit};

/// `timestamp(6) with time zone`: every instant in the hub.
pub(super) fn instant() -> DataType {
    DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()))
}

/// The type as SQL spells it.
pub(super) fn sql_name(data_type: &DataType) -> String {
    match data_type {
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => "text".into(),
        DataType::Int8 | DataType::Int16 | DataType::Int32 | DataType::UInt8 | DataType::UInt16 => "int".into(),
        DataType::Int64 | DataType::UInt32 | DataType::UInt64 => "bigint".into(),
        DataType::Float16 | DataType::Float32 | DataType::Float64 => "double".into(),
        DataType::Boolean => "boolean".into(),
        DataType::Date32 => "date".into(),
        DataType::Decimal32(p, s) | DataType::Decimal64(p, s) | DataType::Decimal128(p, s) | DataType::Decimal256(p, s) => {
            format!("decimal({p},{s})")
        }
        DataType::Timestamp(_, Some(_)) => "timestamp with time zone".into(),
        DataType::Timestamp(_, None) => "timestamp without time zone".into(),
        DataType::Null => "null".into(),
        DataType::List(of) | DataType::LargeList(of) => format!("a list of {}", sql_name(of.data_type())),
        DataType::Interval(_) | DataType::Duration(_) => "an interval".into(),
        other => other.to_string(),
    }
}

/// Whether a value of `from` either is a value of `to` or is refused when its row is converted: an integer out of range, a decimal with too many
/// whole digits. What could change a value silently does not fit.
pub(super) fn fits(from: &DataType, to: &DataType) -> bool {
    use DataType::{
        Decimal128, Float16, Float32, Float64, Int8, Int16, Int32, Int64, Null, Timestamp, UInt8, UInt16, UInt32, UInt64,
    };
    if from == to || *from == Null {
        return true;
    }
    let integer = |t: &DataType| matches!(t, Int8 | Int16 | Int32 | Int64 | UInt8 | UInt16 | UInt32 | UInt64);
    match to {
        DataType::Utf8 => matches!(from, DataType::LargeUtf8 | DataType::Utf8View),
        Int32 | Int64 => integer(from),
        Float64 => matches!(from, Float16 | Float32),
        Decimal128(_, scale) => integer(from) || matches!(from, Decimal128(_, s) if s <= scale),
        Timestamp(_, Some(_)) => matches!(from, Timestamp(_, Some(_))),
        _ => false,
    }
}

/// What to write in a map when `from` does not fit `to`.
pub(super) fn cast_hint(column: &str, from: &DataType, to: &DataType) -> String {
    match (from, to) {
        (DataType::Timestamp(_, None), DataType::Timestamp(_, Some(_))) => {
            format!("say which zone it is in: {column} at time zone 'Europe/Berlin'")
        }
        (_, DataType::Timestamp(_, Some(_))) => format!("cast it: cast({column} as timestamp(6) with time zone)"),
        _ => format!("cast it where no value can be lost: cast({column} as {})", sql_name(to)),
    }
}

/// The type under which a column of this type is stored; an error says what to do about one that no table holds.
pub(super) fn storable(data_type: &DataType) -> Result<DataType, &'static str> {
    use DataType::{Binary, Boolean, Date32, Decimal128, Float64, Int32, Int64, Timestamp, Utf8};
    Ok(match data_type {
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => Utf8,
        DataType::Int8 | DataType::Int16 | DataType::Int32 | DataType::UInt8 | DataType::UInt16 => Int32,
        DataType::Int64 | DataType::UInt32 | DataType::UInt64 => Int64,
        DataType::Float16 | DataType::Float32 | DataType::Float64 => Float64,
        DataType::Boolean => Boolean,
        DataType::Date32 => Date32,
        DataType::Decimal32(p, s) | DataType::Decimal64(p, s) | DataType::Decimal128(p, s) => Decimal128(*p, *s),
        DataType::Binary | DataType::LargeBinary | DataType::BinaryView => Binary,
        DataType::Timestamp(_, Some(_)) => instant(),
        DataType::Dictionary(_, value) => storable(value)?,
        Timestamp(_, None) => return Err("an instant needs a zone: … at time zone 'UTC' (or its own), or cast it to a date"),
        DataType::Null => return Err("give it a type: cast(null as text)"),
        DataType::Interval(_) | DataType::Duration(_) => {
            return Err("a table holds no intervals: turn it into seconds with extract(epoch from …), or into days");
        }
        DataType::List(_) | DataType::LargeList(_) => {
            return Err("a table holds no lists: string_agg(…, ', ') makes a text of one");
        }
        DataType::Decimal256(..) => return Err("cast it to a decimal of at most 38 digits"),
        _ => return Err("cast it to text, int, bigint, double, boolean, date, decimal or timestamp(6) with time zone"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_lossless_types_fit() {
        let decimal = DataType::Decimal128;
        for (from, to, expected) in [
            (DataType::Utf8View, DataType::Utf8, true),
            (DataType::Int64, DataType::Int32, true),
            (DataType::Int32, DataType::Int64, true),
            (DataType::Int64, decimal(18, 6), true),
            (decimal(10, 2), decimal(18, 6), true),
            (decimal(18, 6), decimal(18, 2), false),
            (DataType::Float64, decimal(18, 6), false),
            (DataType::Int64, DataType::Utf8, false),
            (DataType::Timestamp(TimeUnit::Microsecond, None), instant(), false),
            (DataType::Timestamp(TimeUnit::Second, Some("+02:00".into())), instant(), true),
            (DataType::Date32, instant(), false),
            (DataType::Null, DataType::Date32, true),
        ] {
            assert_eq!(fits(&from, &to), expected, "{from} into {to}");
        }
    }
}
