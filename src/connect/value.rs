//! Values between a system's own forms, Arrow's and canonical JSON (see [`crate::base::Row`]).
//!
//! Beyond what `Row` fixes: bytes are lower-case hexadecimal text, and a double that JSON cannot hold is the text `NaN`, `Infinity` or `-Infinity`.

use std::borrow::Cow;

use arrow::array::{
    Array, AsArray, BinaryArray, BooleanArray, Date32Array, Decimal128Array, Float64Array, Int32Array, Int64Array, StringArray,
    TimestampMicrosecondArray,
};
use arrow::datatypes::{DataType, Int8Type, Int16Type, TimeUnit, UInt8Type, UInt16Type, UInt32Type};
use arrow::util::display::{ArrayFormatter, FormatOptions};
use serde_json::{Number, Value};

use super::instant;

/// One value, before it enters a column or JSON.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Scalar<'a> {
    Boolean(bool),
    Integer(i64),
    Double(f64),
    Text(Cow<'a, str>),
    /// Unscaled; the scale is the column's.
    Decimal(i128),
    /// Days since 1970-01-01.
    Date(i32),
    /// Microseconds since 1970-01-01T00:00:00Z.
    Instant(i64),
    Bytes(Cow<'a, [u8]>),
}

impl Scalar<'_> {
    /// The same value, which borrows nothing.
    pub(super) fn into_owned<'b>(self) -> Scalar<'b> {
        match self {
            Self::Text(text) => Scalar::Text(text.into_owned().into()),
            Self::Bytes(bytes) => Scalar::Bytes(bytes.into_owned().into()),
            Self::Boolean(value) => Scalar::Boolean(value),
            Self::Integer(value) => Scalar::Integer(value),
            Self::Double(value) => Scalar::Double(value),
            Self::Decimal(unscaled) => Scalar::Decimal(unscaled),
            Self::Date(days) => Scalar::Date(days),
            Self::Instant(micros) => Scalar::Instant(micros),
        }
    }
}

/// The cell at `row` in the canonical form described at [`crate::base::Row`]. Types that no reading yields are shown as Arrow's text.
pub fn cell_json(array: &dyn Array, row: usize) -> Value {
    if row >= array.len() || array.is_null(row) {
        return Value::Null;
    }
    match scalar_at(array, row) {
        Some(scalar) => scalar_json(&scalar, scale_of(array.data_type())),
        None => ArrayFormatter::try_new(array, &FormatOptions::default())
            .map_or(Value::Null, |formatter| Value::String(formatter.value(row).to_string())),
    }
}

/// Brings a JSON value of a column of type `data_type` into the canonical form (`"5.00"` → `"5"`). `None`: no value of that type, or one that
/// would not fit without loss (`"0.005"` for two decimals).
pub fn canonical_json(value: &Value, data_type: &DataType) -> Option<Value> {
    if value.is_null() {
        return Some(Value::Null);
    }
    scalar_of(value, data_type).map(|scalar| scalar_json(&scalar, scale_of(data_type)))
}

/// Whether two values of a column of type `data_type` mean the same (`"5"` and `"5.00"` as decimals do).
pub(super) fn same(a: &Value, b: &Value, data_type: &DataType) -> bool {
    match (canonical_json(a, data_type), canonical_json(b, data_type)) {
        (Some(Value::Number(a)), Some(Value::Number(b))) if *data_type == DataType::Float64 => {
            // JSON text may lose the last bits of a double, and a row must not look changed because its image was stored as JSON.
            let (a, b) = (a.as_f64().unwrap_or(f64::NAN), b.as_f64().unwrap_or(f64::NAN));
            (a - b).abs() <= 4.0 * f64::EPSILON * a.abs().max(b.abs())
        }
        (Some(a), Some(b)) => a == b,
        _ => false,
    }
}

pub(super) fn scalar_json(scalar: &Scalar<'_>, scale: i8) -> Value {
    match scalar {
        Scalar::Boolean(value) => Value::Bool(*value),
        Scalar::Integer(value) => Value::from(*value),
        Scalar::Double(value) => double_json(*value),
        Scalar::Text(text) => Value::String(text.as_ref().into()),
        Scalar::Decimal(unscaled) => Value::String(decimal_text(*unscaled, scale)),
        Scalar::Date(days) => instant::date_text(*days).map_or_else(|| Value::from(*days), Value::String),
        Scalar::Instant(micros) => instant::instant_text(*micros).map_or_else(|| Value::from(*micros), Value::String),
        Scalar::Bytes(bytes) => Value::String(hexadecimal(bytes)),
    }
}

/// Reads a JSON value as one of a column of type `data_type`; `None` if it is none, or would lose something.
pub(super) fn scalar_of<'a>(value: &'a Value, data_type: &DataType) -> Option<Scalar<'a>> {
    match data_type {
        DataType::Boolean => boolean(value).map(Scalar::Boolean),
        DataType::Int32 => integer(value).filter(|value| i32::try_from(*value).is_ok()).map(Scalar::Integer),
        DataType::Int64 => integer(value).map(Scalar::Integer),
        DataType::Float64 => double(value).map(Scalar::Double),
        DataType::Decimal128(precision, scale) => decimal(value, *precision, *scale).map(Scalar::Decimal),
        DataType::Date32 => instant::parse_date(value.as_str()?).map(Scalar::Date),
        DataType::Timestamp(TimeUnit::Microsecond, _) => {
            let moment = instant::parse_moment(value.as_str()?)?;
            moment.instant().map(Scalar::Instant)
        }
        DataType::Binary => from_hexadecimal(value.as_str()?).map(|bytes| Scalar::Bytes(bytes.into())),
        DataType::Utf8 => match value {
            Value::String(text) => Some(Scalar::Text(text.as_str().into())),
            Value::Number(number) if !number.is_f64() => Some(Scalar::Text(number.to_string().into())),
            _ => None,
        },
        _ => None,
    }
}

/// Digits after the point of a decimal type, otherwise 0.
pub(super) fn scale_of(data_type: &DataType) -> i8 {
    match data_type {
        DataType::Decimal128(_, scale) => *scale,
        _ => 0,
    }
}

pub(super) fn scalar_at(array: &dyn Array, row: usize) -> Option<Scalar<'_>> {
    let any = array.as_any();
    Some(match array.data_type() {
        DataType::Utf8 => Scalar::Text(any.downcast_ref::<StringArray>()?.value(row).into()),
        DataType::LargeUtf8 => Scalar::Text(array.as_string_opt::<i64>()?.value(row).into()),
        DataType::Utf8View => Scalar::Text(array.as_string_view_opt()?.value(row).into()),
        DataType::Boolean => Scalar::Boolean(any.downcast_ref::<BooleanArray>()?.value(row)),
        DataType::Int8 => Scalar::Integer(array.as_primitive_opt::<Int8Type>()?.value(row).into()),
        DataType::Int16 => Scalar::Integer(array.as_primitive_opt::<Int16Type>()?.value(row).into()),
        DataType::UInt8 => Scalar::Integer(array.as_primitive_opt::<UInt8Type>()?.value(row).into()),
        DataType::UInt16 => Scalar::Integer(array.as_primitive_opt::<UInt16Type>()?.value(row).into()),
        DataType::UInt32 => Scalar::Integer(array.as_primitive_opt::<UInt32Type>()?.value(row).into()),
        DataType::Int32 => Scalar::Integer(any.downcast_ref::<Int32Array>()?.value(row).into()),
        DataType::Int64 => Scalar::Integer(any.downcast_ref::<Int64Array>()?.value(row)),
        DataType::Float64 => Scalar::Double(any.downcast_ref::<Float64Array>()?.value(row)),
        DataType::Decimal128(_, _) => Scalar::Decimal(any.downcast_ref::<Decimal128Array>()?.value(row)),
        DataType::Date32 => Scalar::Date(any.downcast_ref::<Date32Array>()?.value(row)),
        DataType::Timestamp(TimeUnit::Microsecond, _) => {
            Scalar::Instant(any.downcast_ref::<TimestampMicrosecondArray>()?.value(row))
        }
        DataType::Binary => Scalar::Bytes(any.downcast_ref::<BinaryArray>()?.value(row).into()),
        _ => return None,
    })
}

fn double_json(value: f64) -> Value {
    let text = match value {
        value if value.is_nan() => "NaN",
        f64::INFINITY => "Infinity",
        f64::NEG_INFINITY => "-Infinity",
        // Minus zero equals zero in every system, but not as JSON.
        value => return Number::from_f64(value + 0.0).map_or(Value::Null, Value::Number),
    };
    Value::String(text.into())
}

fn boolean(value: &Value) -> Option<bool> {
    match value {
        Value::Bool(value) => Some(*value),
        Value::Number(number) => match number.as_i64() {
            Some(0) => Some(false),
            Some(1) => Some(true),
            _ => None,
        },
        _ => None,
    }
}

fn integer(value: &Value) -> Option<i64> {
    match value {
        Value::Number(number) if !number.is_f64() => number.as_i64(),
        Value::Number(_) | Value::String(_) => i64::try_from(decimal(value, 38, 0)?).ok(),
        _ => None,
    }
}

fn double(value: &Value) -> Option<f64> {
    const EXACT_MAX: i64 = 1 << 53; // beyond it a double skips integers
    match value {
        Value::Number(number) => match number.as_i64() {
            Some(integer) if (-EXACT_MAX..=EXACT_MAX).contains(&integer) => Some(integer as f64),
            Some(_) => None,
            None => number.as_f64(),
        },
        Value::String(text) => match text.as_str() {
            "NaN" => Some(f64::NAN),
            "Infinity" => Some(f64::INFINITY),
            "-Infinity" => Some(f64::NEG_INFINITY),
            // A decimal (`"0.25"`) is written to a double as the nearest one, which is what the column can hold.
            text => decimal_unscaled(text, 38, 0)
                .map_or_else(|| plain_double(text), |integer| double(&Value::from(i64::try_from(integer).ok()?))),
        },
        _ => None,
    }
}

fn plain_double(text: &str) -> Option<f64> {
    let plain = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit() || matches!(byte, b'-' | b'.'));
    if plain { text.parse().ok() } else { None }
}

fn decimal(value: &Value, precision: u8, scale: i8) -> Option<i128> {
    match value {
        Value::String(text) => decimal_unscaled(text, precision, scale),
        Value::Number(number) if number.is_f64() => decimal_unscaled(&number.as_f64()?.to_string(), precision, scale),
        Value::Number(number) => decimal_unscaled(&number.to_string(), precision, scale),
        _ => None,
    }
}

/// Reads plain decimal text (no exponent) exactly as an unscaled integer; `None` if it is no number or does not fit.
pub(super) fn decimal_unscaled(text: &str, precision: u8, scale: i8) -> Option<i128> {
    let (negative, digits) = match text.as_bytes() {
        [b'-', rest @ ..] => (true, rest),
        [b'+', rest @ ..] => (false, rest),
        rest => (false, rest),
    };
    let point = digits.iter().position(|byte| *byte == b'.');
    let (whole, fraction) = point.map_or((digits, &[][..]), |at| (&digits[..at], &digits[at + 1..]));
    if whole.is_empty() && fraction.is_empty() {
        return None;
    }
    let kept = fraction.len() - fraction.iter().rev().take_while(|byte| **byte == b'0').count();
    let mut unscaled: i128 = 0;
    for byte in whole.iter().chain(&fraction[..kept]) {
        if !byte.is_ascii_digit() {
            return None;
        }
        unscaled = unscaled.checked_mul(10)?.checked_add(i128::from(byte - b'0'))?;
    }
    let unscaled = shift(unscaled, i32::from(scale) - i32::try_from(kept).ok()?)?;
    fits(unscaled, precision).then_some(if negative { -unscaled } else { unscaled })
}

/// `value × 10^exponent`, exactly or not at all.
pub(super) fn shift(value: i128, exponent: i32) -> Option<i128> {
    if value == 0 {
        return Some(0);
    }
    let power = 10_i128.checked_pow(exponent.unsigned_abs())?;
    if exponent >= 0 { value.checked_mul(power) } else { (value % power == 0).then(|| value / power) }
}

/// Whether an unscaled decimal has at most `precision` digits.
pub(super) fn fits(unscaled: i128, precision: u8) -> bool {
    10_i128.checked_pow(u32::from(precision)).is_some_and(|limit| unscaled.unsigned_abs() < limit.unsigned_abs())
}

/// Plain text of a decimal without trailing zeros.
pub(super) fn decimal_text(unscaled: i128, scale: i8) -> String {
    if scale <= 0 {
        let zeros = if unscaled == 0 { 0 } else { usize::from(scale.unsigned_abs()) };
        return format!("{unscaled}{}", "0".repeat(zeros));
    }
    let scale = usize::from(scale.unsigned_abs());
    let digits = format!("{:0>width$}", unscaled.unsigned_abs(), width = scale + 1);
    let (whole, fraction) = digits.split_at(digits.len() - scale);
    let fraction = fraction.trim_end_matches('0');
    let sign = if unscaled < 0 { "-" } else { "" };
    if fraction.is_empty() { format!("{sign}{whole}") } else { format!("{sign}{whole}.{fraction}") }
}

pub(super) fn hexadecimal(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    bytes.iter().flat_map(|byte| [byte >> 4, byte & 15]).map(|digit| char::from(DIGITS[usize::from(digit)])).collect()
}

fn from_hexadecimal(text: &str) -> Option<Vec<u8>> {
    let digit = |byte: u8| char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    let bytes = text.as_bytes();
    if !bytes.len().is_multiple_of(2) {
        return None;
    }
    bytes.chunks_exact(2).map(|pair| Some(digit(pair[0])? << 4 | digit(pair[1])?)).collect()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::ArrayRef;
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    /// The cell's JSON, read back and canonical again, is itself and gives the same array.
    fn round_trip(array: ArrayRef) -> Result<(), TestCaseError> {
        let cell = cell_json(&array, 0);
        prop_assert_eq!(canonical_json(&cell, array.data_type()), Some(cell.clone()));
        let scalar = scalar_of(&cell, array.data_type());
        prop_assert_eq!(scalar, scalar_at(&array, 0));
        Ok(())
    }

    proptest! {
        #[test]
        fn text_round_trips(text in ".*") {
            round_trip(Arc::new(StringArray::from(vec![text])))?;
        }

        #[test]
        fn integers_round_trip(value in any::<i64>(), small in any::<i32>()) {
            round_trip(Arc::new(Int64Array::from(vec![value])))?;
            round_trip(Arc::new(Int32Array::from(vec![small])))?;
        }

        #[test]
        fn doubles_round_trip(value in any::<f64>().prop_filter("NaN is not equal to itself", |value| !value.is_nan())) {
            round_trip(Arc::new(Float64Array::from(vec![value])))?;
        }

        #[test]
        fn decimals_round_trip(value in -(10_i128.pow(38) - 1)..10_i128.pow(38), scale in 0_i8..=38) {
            round_trip(Arc::new(Decimal128Array::from(vec![value]).with_precision_and_scale(38, scale).unwrap()))?;
        }

        #[test]
        fn dates_and_instants_round_trip(days in -800_000_i32..3_000_000, micros in -62_000_000_000_000_000_i64..260_000_000_000_000_000) {
            round_trip(Arc::new(Date32Array::from(vec![days])))?;
            round_trip(Arc::new(TimestampMicrosecondArray::from(vec![micros]).with_timezone("UTC")))?;
        }

        #[test]
        fn bytes_round_trip(bytes in prop::collection::vec(any::<u8>(), 0..40)) {
            round_trip(Arc::new(BinaryArray::from_vec(vec![&bytes])))?;
        }

        #[test]
        fn any_text_is_read_or_refused(text in ".{0,30}") {
            for data_type in [DataType::Decimal128(10, 2), DataType::Date32, DataType::Float64, DataType::Int64, DataType::Binary,
                DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()))] {
                if let Some(once) = canonical_json(&json!(text), &data_type) {
                    prop_assert_eq!(canonical_json(&once, &data_type), Some(once.clone()));
                }
            }
        }
    }

    #[test]
    fn decimals_compare_by_value_and_refuse_loss() {
        let two = DataType::Decimal128(10, 2);
        assert_eq!(canonical_json(&json!("5.00"), &two), Some(json!("5")));
        assert_eq!(canonical_json(&json!(5), &two), Some(json!("5")));
        assert_eq!(canonical_json(&json!(0.1), &two), Some(json!("0.1")));
        assert_eq!(canonical_json(&json!("-0.00"), &two), Some(json!("0")));
        assert_eq!(canonical_json(&json!("0.005"), &two), None);
        assert_eq!(canonical_json(&json!("123456789.00"), &two), None);
        assert_eq!(canonical_json(&json!("1e3"), &two), None);
        assert!(same(&json!("5"), &json!("5.00"), &two));
        assert!(!same(&json!("5"), &Value::Null, &two));
    }

    #[test]
    fn other_types_refuse_loss() {
        assert_eq!(canonical_json(&json!("7.0"), &DataType::Int64), Some(json!(7)));
        assert_eq!(canonical_json(&json!(7.5), &DataType::Int64), None);
        assert_eq!(canonical_json(&json!(3_000_000_000_i64), &DataType::Int32), None);
        assert_eq!(canonical_json(&json!(i64::MAX), &DataType::Float64), None);
        assert_eq!(canonical_json(&json!("2026-02-30"), &DataType::Date32), None);
        assert_eq!(canonical_json(&json!(1), &DataType::Boolean), Some(json!(true)));
        assert_eq!(canonical_json(&json!(7), &DataType::Utf8), Some(json!("7")));
        let instant = DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()));
        assert_eq!(canonical_json(&json!("2026-03-29 02:30:00+02:00"), &instant), Some(json!("2026-03-29T00:30:00Z")));
        assert_eq!(canonical_json(&json!("2026-03-29 02:30:00"), &instant), None, "no zone, no instant");
    }

    #[test]
    fn doubles_survive_a_lost_last_bit() {
        assert!(same(&json!(0.1), &json!(0.1 + f64::EPSILON / 16.0), &DataType::Float64));
        assert!(!same(&json!(0.1), &json!(0.100_000_1), &DataType::Float64));
    }
}
