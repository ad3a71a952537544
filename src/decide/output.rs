//! Builds the result of a decision, column by column, in the order of its schema.

use std::sync::Arc;

use arrow::array::{ArrayRef, Date32Array, Decimal128Array, Int64Array, RecordBatch, StringArray, TimestampMicrosecondArray};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit};
use arrow::error::ArrowError;

use super::DecideError;
use super::quantity::{Day, Micro, QUANTITY_MAX};

/// A schema from column names and SQL types, as in [`Input`](super::Input). All columns are nullable.
pub fn schema(columns: &[(&str, &str)]) -> SchemaRef {
    let kind = |sql: &str| match sql {
        "date" => DataType::Date32,
        "decimal" => DataType::Decimal128(18, 6),
        "bigint" => DataType::Int64,
        "timestamp" => DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())),
        _ => DataType::Utf8,
    };
    Arc::new(Schema::new(columns.iter().map(|(name, sql)| Field::new(*name, kind(sql), true)).collect::<Vec<_>>()))
}

/// The columns of a result so far.
pub struct Output {
    function: &'static str,
    columns: &'static [(&'static str, &'static str)],
    arrays: Vec<ArrayRef>,
}

impl Output {
    pub fn new(function: &'static str, columns: &'static [(&'static str, &'static str)]) -> Self {
        Self { function, columns, arrays: Vec::with_capacity(columns.len()) }
    }

    /// Adds a text column; more than Arrow's 2 GiB is an error.
    pub fn text<'t>(&mut self, values: impl Iterator<Item = Option<&'t str>> + Clone) -> Result<(), DecideError> {
        let bytes: usize = values.clone().flatten().map(str::len).sum();
        if i32::try_from(bytes).is_err() {
            let column = self.columns.get(self.arrays.len()).map_or("", |(name, _)| name);
            return Err(DecideError::TooLarge { function: self.function, column });
        }
        self.arrays.push(Arc::new(values.collect::<StringArray>()));
        Ok(())
    }

    pub fn days(&mut self, values: impl Iterator<Item = Option<Day>>) {
        self.arrays.push(Arc::new(values.collect::<Date32Array>()));
    }

    pub fn bigints(&mut self, values: impl Iterator<Item = Option<i64>>) {
        self.arrays.push(Arc::new(values.collect::<Int64Array>()));
    }

    pub fn instants(&mut self, values: impl Iterator<Item = Option<i64>>) {
        self.arrays.push(Arc::new(values.collect::<TimestampMicrosecondArray>().with_timezone("UTC")));
    }

    /// Adds a quantity column; `what` names the row of a value that does not fit.
    pub fn quantities(
        &mut self,
        values: impl Iterator<Item = Option<Micro>> + Clone,
        what: impl Fn(usize) -> String,
    ) -> Result<(), DecideError> {
        let large = |value: &Option<Micro>| value.is_some_and(|micro| micro.unsigned_abs() > QUANTITY_MAX.unsigned_abs());
        if let Some(row) = values.clone().position(|value| large(&value)) {
            return Err(DecideError::Overflow { function: self.function, what: what(row) });
        }
        let array = values.collect::<Decimal128Array>().with_precision_and_scale(18, 6).map_err(|source| self.fault(source))?;
        self.arrays.push(Arc::new(array));
        Ok(())
    }

    pub fn finish(self) -> Result<RecordBatch, DecideError> {
        let function = self.function;
        RecordBatch::try_new(schema(self.columns), self.arrays).map_err(|source| DecideError::Result { function, source })
    }

    fn fault(&self, source: ArrowError) -> DecideError {
        DecideError::Result { function: self.function, source }
    }
}
