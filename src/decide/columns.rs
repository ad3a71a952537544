//! Typed access to columns of an input, by name, whichever Arrow type the query engine happened to choose for them.
//!
//! Every conversion is exact: what does not fit is an error that names the function, the input, the column and the row, never a rounded
//! or defaulted value.

use std::fmt;

use arrow::array::{
    Array, ArrayRef, ArrowPrimitiveType, AsArray, BooleanArray, Date32Array, Decimal128Array, Int64Array, PrimitiveArray,
    RecordBatch, StringArray, TimestampMicrosecondArray, new_null_array,
};
use arrow::compute::{CastOptions, cast_with_options};
use arrow::datatypes::{DataType, Decimal128Type, Int64Type, TimeUnit};

use super::quantity::{Micro, QUANTITY_MAX};
use super::{DecideError, Input};

const DAY_US: i64 = 86_400_000_000;

/// One input table of a decision function.
pub struct Table<'a> {
    function: &'static str,
    input: &'a Input,
    batch: &'a RecordBatch,
}

/// One column of an input, converted.
pub struct Column<'a, A> {
    table: &'a Table<'a>,
    name: &'static str,
    array: A,
}

/// The tables of a call, in the order of the function's inputs.
pub fn tables<'a, const N: usize>(
    function: &'static str,
    inputs: &'a [Input],
    batches: &'a [RecordBatch],
) -> Result<[Table<'a>; N], DecideError> {
    let wrong = || DecideError::Inputs { function, expected: N, found: batches.len() };
    if batches.len() != N {
        return Err(wrong());
    }
    let tables: Vec<_> = inputs.iter().zip(batches).map(|(input, batch)| Table { function, input, batch }).collect();
    tables.try_into().map_err(|_| wrong())
}

impl<'a> Table<'a> {
    pub fn len(&self) -> usize {
        self.batch.num_rows()
    }

    /// Text of any string type, also dictionary encoded.
    pub fn text(&'a self, name: &'static str) -> Result<Column<'a, StringArray>, DecideError> {
        let array = self.array(name)?;
        let textual =
            |kind: &DataType| matches!(kind, DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View | DataType::Null);
        let fits = match array.data_type() {
            DataType::Dictionary(_, values) => textual(values),
            kind => textual(kind),
        };
        if !fits {
            return Err(self.refuse(name, &array, "text"));
        }
        let array = self.cast(name, &array, &DataType::Utf8, "text")?;
        Ok(Column { table: self, name, array: array.as_string::<i32>().clone() })
    }

    /// Whole numbers of any integer type.
    pub fn bigint(&'a self, name: &'static str) -> Result<Column<'a, Int64Array>, DecideError> {
        let array = self.array(name)?;
        if !(array.data_type().is_integer() || array.data_type().is_null()) {
            return Err(self.refuse(name, &array, "bigint"));
        }
        let array = self.cast(name, &array, &DataType::Int64, "bigint")?;
        Ok(Column { table: self, name, array: array.as_primitive::<Int64Type>().clone() })
    }

    /// True or false.
    pub fn flag(&'a self, name: &'static str) -> Result<Column<'a, BooleanArray>, DecideError> {
        let array = self.array(name)?;
        if !matches!(array.data_type(), DataType::Boolean | DataType::Null) {
            return Err(self.refuse(name, &array, "boolean"));
        }
        let array = self.cast(name, &array, &DataType::Boolean, "boolean")?;
        Ok(Column { table: self, name, array: array.as_boolean().clone() })
    }

    /// Quantities in micro-units, from a decimal of any scale or an integer. More than six decimals that are not zero are an error.
    pub fn quantity(&'a self, name: &'static str) -> Result<Column<'a, Decimal128Array>, DecideError> {
        let array = self.array(name)?;
        let scale = match array.data_type() {
            DataType::Decimal32(_, scale)
            | DataType::Decimal64(_, scale)
            | DataType::Decimal128(_, scale)
            | DataType::Decimal256(_, scale) => *scale,
            kind if kind.is_integer() || kind.is_null() => 0,
            _ => return Err(self.refuse(name, &array, "decimal(18,6)")),
        };
        let array = self.cast(name, &array, &DataType::Decimal128(38, scale), "decimal(18,6)")?;
        let convert = |raw: i128| rescale(raw, scale);
        Ok(Column {
            table: self,
            name,
            array: self.exact::<Decimal128Type, Decimal128Type>(name, array.as_primitive(), convert)?,
        })
    }

    /// Dates; an instant is accepted when it is midnight UTC.
    pub fn date(&'a self, name: &'static str) -> Result<Column<'a, Date32Array>, DecideError> {
        let array = self.array(name)?;
        let array: Date32Array = match array.data_type() {
            DataType::Date32 => array.as_primitive().clone(),
            DataType::Null | DataType::Date64 => self.cast(name, &array, &DataType::Date32, "date")?.as_primitive().clone(),
            DataType::Timestamp(_, _) => {
                let instants = self.micros(name, &array)?;
                let convert = |raw: i64| match raw % DAY_US {
                    0 => i32::try_from(raw / DAY_US).map_err(|_| "it is out of range"),
                    _ => Err("it is an instant within a day, expected a date: say in which time zone by a cast in the model"),
                };
                self.exact(name, &instants, convert)?
            }
            _ => return Err(self.refuse(name, &array, "date")),
        };
        Ok(Column { table: self, name, array })
    }

    /// Instants in microseconds since 1970 UTC; a timestamp without zone is UTC, as everywhere in the hub.
    pub fn instant(&'a self, name: &'static str) -> Result<Column<'a, TimestampMicrosecondArray>, DecideError> {
        let array = self.array(name)?;
        Ok(Column { table: self, name, array: self.micros(name, &array)? })
    }

    /// Where a row is, for people: its text columns, as in `item_id=A, site_id=S`.
    pub fn row(&self, row: usize) -> String {
        let texts = self.input.columns.iter().filter(|(_, kind)| *kind == "text");
        let parts: Vec<String> = texts
            .filter_map(|(name, _)| Some((name, self.text_at(name, row)?)))
            .map(|(name, value)| format!("{name}={value}"))
            .collect();
        if parts.is_empty() { format!("number {}", row + 1) } else { parts.join(", ") }
    }

    pub fn duplicate(&self, row: usize) -> DecideError {
        DecideError::Duplicate { function: self.function, input: self.input.name, row: self.row(row) }
    }

    /// A value that the whole decision cannot do with.
    pub fn bad_value(&self, column: &'static str, value: impl fmt::Display, row: usize, problem: &'static str) -> DecideError {
        DecideError::Value {
            function: self.function,
            input: self.input.name,
            column,
            value: value.to_string(),
            row: self.row(row),
            problem,
        }
    }

    fn text_at(&self, name: &str, row: usize) -> Option<String> {
        let cell = self.batch.column_by_name(name)?.slice(row, 1);
        let cell = cast_with_options(&cell, &DataType::Utf8, &CastOptions::default()).ok()?;
        let cell = cell.as_string_opt::<i32>()?;
        cell.is_valid(0).then(|| cell.value(0).to_owned())
    }

    fn array(&self, column: &'static str) -> Result<ArrayRef, DecideError> {
        if let Some(array) = self.batch.column_by_name(column) {
            return Ok(array.clone());
        }
        let optional = self.input.columns.iter().any(|(name, kind)| *name == column && kind.ends_with('?'));
        if optional || self.batch.num_columns() == 0 {
            return Ok(new_null_array(&DataType::Null, self.batch.num_rows()));
        }
        Err(DecideError::MissingColumn {
            function: self.function,
            input: self.input.name,
            column,
            present: self.batch.schema().fields().iter().map(|field| field.name().clone()).collect(),
        })
    }

    fn refuse(&self, column: &'static str, array: &ArrayRef, expected: &'static str) -> DecideError {
        DecideError::ColumnType {
            function: self.function,
            input: self.input.name,
            column,
            found: array.data_type().to_string(),
            expected,
        }
    }

    fn cast(
        &self,
        name: &'static str,
        array: &ArrayRef,
        kind: &DataType,
        expected: &'static str,
    ) -> Result<ArrayRef, DecideError> {
        if array.data_type().is_null() {
            return Ok(new_null_array(kind, array.len()));
        }
        // safe: false, so that a value that does not fit is an error and not a null
        let options = CastOptions { safe: false, ..Default::default() };
        cast_with_options(array, kind, &options).map_err(|_| self.refuse(name, array, expected))
    }

    fn micros(&self, name: &'static str, array: &ArrayRef) -> Result<TimestampMicrosecondArray, DecideError> {
        let unit = match array.data_type() {
            DataType::Timestamp(unit, _) => *unit,
            DataType::Null => TimeUnit::Microsecond,
            _ => return Err(self.refuse(name, array, "timestamp")),
        };
        let raw = self.cast(name, array, &DataType::Int64, "timestamp")?;
        let scaled = |raw: i64, factor: i64| raw.checked_mul(factor).ok_or("it is out of range");
        let convert = |raw: i64| match unit {
            TimeUnit::Second => scaled(raw, 1_000_000),
            TimeUnit::Millisecond => scaled(raw, 1_000),
            TimeUnit::Microsecond => Ok(raw),
            TimeUnit::Nanosecond if raw % 1_000 == 0 => Ok(raw / 1_000),
            TimeUnit::Nanosecond => Err("instants have microseconds at most: cut it in the model"),
        };
        self.exact(name, raw.as_primitive::<Int64Type>(), convert)
    }

    fn exact<S: ArrowPrimitiveType, T: ArrowPrimitiveType>(
        &self,
        column: &'static str,
        source: &PrimitiveArray<S>,
        convert: impl Fn(S::Native) -> Result<T::Native, &'static str>,
    ) -> Result<PrimitiveArray<T>, DecideError>
    where
        S::Native: fmt::Debug,
    {
        let each = source.iter().enumerate().map(|(row, value)| {
            let convert = |value| convert(value).map_err(|problem| self.bad_value(column, format!("{value:?}"), row, problem));
            value.map(convert).transpose()
        });
        each.collect()
    }
}

fn rescale(raw: i128, scale: i8) -> Result<Micro, &'static str> {
    const PRECISE: &str = "a quantity has at most six decimals: round it in the model";
    const LARGE: &str = "it does not fit decimal(18,6)";
    let factor = 10_i128.checked_pow(u32::from((6 - i32::from(scale)).unsigned_abs() as u16)).ok_or(LARGE)?;
    let micro = if scale <= 6 {
        raw.checked_mul(factor).ok_or(LARGE)?
    } else if raw % factor == 0 {
        raw / factor
    } else {
        return Err(PRECISE);
    };
    if micro.abs() <= QUANTITY_MAX { Ok(micro) } else { Err(LARGE) }
}

impl<A: Array> Column<'_, A> {
    fn null(&self, row: usize) -> DecideError {
        DecideError::Null {
            function: self.table.function,
            input: self.table.input.name,
            column: self.name,
            row: self.table.row(row),
        }
    }
}

impl Column<'_, BooleanArray> {
    /// The value, if there is one.
    pub fn get(&self, row: usize) -> Option<bool> {
        self.array.is_valid(row).then(|| self.array.value(row))
    }
}

impl Column<'_, StringArray> {
    /// The value, if there is one.
    pub fn get(&self, row: usize) -> Option<&str> {
        self.array.is_valid(row).then(|| self.array.value(row))
    }

    /// The value; a null is an error.
    pub fn need(&self, row: usize) -> Result<&str, DecideError> {
        self.get(row).ok_or_else(|| self.null(row))
    }
}

impl<T: ArrowPrimitiveType> Column<'_, PrimitiveArray<T>> {
    /// The value, if there is one.
    pub fn get(&self, row: usize) -> Option<T::Native> {
        self.array.is_valid(row).then(|| self.array.value(row))
    }

    /// The value; a null is an error.
    pub fn need(&self, row: usize) -> Result<T::Native, DecideError> {
        self.get(row).ok_or_else(|| self.null(row))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{
        Decimal256Array, DictionaryArray, Int32Array, LargeStringArray, StringViewArray, TimestampNanosecondArray,
    };
    use arrow::datatypes::{Int32Type, i256};

    use super::*;
    use crate::base::Diagnose;

    static INPUTS: [Input; 1] = [Input { name: "demand", columns: &[("demand_id", "text"), ("x", "decimal")] }];

    fn with<R>(x: ArrayRef, check: impl FnOnce(&Table<'_>) -> R) -> R {
        let ids: ArrayRef = Arc::new(StringArray::from((0..x.len()).map(|n| format!("D{n}")).collect::<Vec<_>>()));
        let batches = [RecordBatch::try_from_iter([("demand_id", ids), ("x", x)]).unwrap()];
        let [table] = tables::<1>("mrp", &INPUTS, &batches).unwrap();
        check(&table)
    }

    #[test]
    fn text_of_any_kind() {
        let dictionary: DictionaryArray<Int32Type> = vec!["a", "b"].into_iter().collect();
        let kinds: [ArrayRef; 4] = [
            Arc::new(StringArray::from(vec!["a", "b"])),
            Arc::new(LargeStringArray::from(vec!["a", "b"])),
            Arc::new(StringViewArray::from(vec!["a", "b"])),
            Arc::new(dictionary),
        ];
        for kind in kinds {
            with(kind, |table| assert_eq!(table.text("x").unwrap().need(1).unwrap(), "b"));
        }
    }

    #[test]
    fn quantities_of_any_scale() {
        let decimal = |value: i128, scale| {
            Arc::new(Decimal128Array::from(vec![value]).with_precision_and_scale(38, scale).unwrap()) as ArrayRef
        };
        let wide = Decimal256Array::from(vec![i256::from(125)]).with_precision_and_scale(50, 2).unwrap();
        for (array, micro) in [
            (decimal(12, 0), 12_000_000),
            (decimal(-125, 2), -1_250_000),
            (decimal(1_250_000_000, 9), 1_250_000),
            (Arc::new(wide) as ArrayRef, 1_250_000),
            (Arc::new(Int32Array::from(vec![7])) as ArrayRef, 7_000_000),
        ] {
            with(array, |table| assert_eq!(table.quantity("x").unwrap().need(0).unwrap(), micro));
        }
    }

    #[test]
    fn errors_name_function_input_column_and_row() {
        let inexact = Arc::new(Decimal128Array::from(vec![1_000, 1]).with_precision_and_scale(38, 9).unwrap());
        with(inexact, |table| {
            let error = table.quantity("x").err().unwrap().to_string();
            assert_eq!(
                error,
                "mrp: input \"demand\", column \"x\" is 1 in row demand_id=D1: a quantity has at most six decimals: round it in the model"
            );
        });
        with(Arc::new(StringArray::from(vec!["a"])), |table| {
            let error = table.quantity("x").err().unwrap();
            assert_eq!(error.to_string(), "mrp: input \"demand\", column \"x\" is Utf8, expected decimal(18,6)");
            assert!(table.date("x").is_err() && table.bigint("x").is_err() && table.instant("x").is_err());
            let error = table.text("demandid").err().unwrap();
            assert_eq!(error.hint().unwrap(), "did you mean \"demand_id\"? it must be named demandid");
        });
        with(new_null_array(&DataType::Null, 1), |table| {
            assert_eq!(table.quantity("x").unwrap().get(0), None);
            let error = table.date("x").unwrap().need(0).unwrap_err().to_string();
            assert_eq!(error, "mrp: input \"demand\", column \"x\" is null in row demand_id=D0");
        });
    }

    #[test]
    fn instants_and_dates_are_exact() {
        let nanos = |values: Vec<i64>| Arc::new(TimestampNanosecondArray::from(values).with_timezone("UTC")) as ArrayRef;
        with(nanos(vec![86_400_000_000_000]), |table| {
            assert_eq!(table.instant("x").unwrap().need(0).unwrap(), DAY_US);
            assert_eq!(table.date("x").unwrap().need(0).unwrap(), 1);
        });
        with(nanos(vec![1_001]), |table| assert!(table.instant("x").is_err()));
        with(nanos(vec![1_000]), |table| assert!(table.date("x").is_err()));
    }
}
