//! What the planner may assume of a table's rows: their number, and each column's range and nulls, as Delta keeps them of each file.
//!
//! Everything but the number is a guess to it (bounds of texts are cut off, deleted rows are still counted), so it orders joins by them and answers nothing.

use arrow::datatypes::{DataType, Field, Schema};
use datafusion::common::stats::Precision;
use datafusion::common::{ColumnStatistics, ScalarValue, Statistics};
use serde_json::Value;

use crate::store::DataFile;

pub(super) fn statistics(schema: &Schema, files: &[DataFile]) -> Statistics {
    let known = |count: u64| usize::try_from(count).map_or(Precision::Absent, Precision::Exact);
    let mut statistics = Statistics::new_unknown(schema);
    statistics.num_rows = known(files.iter().map(|file| file.rows).sum());
    statistics.total_byte_size = known(files.iter().map(|file| file.size_bytes).sum()).to_inexact();
    let of_file = |file: &DataFile| serde_json::from_str::<Value>(file.stats.as_ref()?).ok();
    if let Some(files) = files.iter().map(of_file).collect::<Option<Vec<Value>>>() {
        statistics.column_statistics = schema.fields().iter().map(|field| column(field, &files)).collect();
    }
    statistics
}

/// A column over all files; what one of them does not say is not known.
fn column(field: &Field, files: &[Value]) -> ColumnStatistics {
    let guess = |value: Option<ScalarValue>| value.map_or(Precision::Absent, Precision::Inexact);
    let bounds = |which: &'static str| files.iter().map(move |file| scalar(&file[which][field.name()], field.data_type()));
    let least = bounds("minValues").reduce(|a, b| a.zip(b).map(|(a, b)| if b < a { b } else { a })).flatten();
    let most = bounds("maxValues").reduce(|a, b| a.zip(b).map(|(a, b)| if b > a { b } else { a })).flatten();
    let nulls: Option<u64> = files.iter().map(|file| file["nullCount"][field.name()].as_u64()).sum();
    let nulls = nulls.and_then(|nulls| usize::try_from(nulls).ok());
    let mut column = ColumnStatistics::new_unknown();
    (column.min_value, column.max_value) = (guess(least), guess(most));
    column.null_count = nulls.map_or(Precision::Absent, Precision::Inexact);
    column
}

/// A bound in the column's type; texts are left out, because nothing is estimated from them.
fn scalar(value: &Value, data_type: &DataType) -> Option<ScalarValue> {
    let text = match value {
        Value::String(text) => text.clone(),
        Value::Number(number) => number.to_string(),
        _ => return None,
    };
    if matches!(data_type, DataType::Utf8 | DataType::Utf8View | DataType::Binary | DataType::Boolean) {
        return None;
    }
    ScalarValue::try_from_string(text, data_type).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_those_of_all_files() {
        let schema = Schema::new(vec![
            Field::new("id", DataType::Int64, true),
            Field::new("price", DataType::Decimal128(15, 2), true),
            Field::new("day", DataType::Date32, true),
            Field::new("name", DataType::Utf8, true),
            Field::new("half", DataType::Float64, true),
        ]);
        let file = |stats: &str| DataFile {
            path: "x.parquet".into(),
            size_bytes: 10,
            rows: 3,
            stats: Some(stats.into()),
            deletion_vector: None,
        };
        let files = [
            file(
                r#"{"minValues":{"id":5,"price":1.5,"day":"2026-01-02","name":"a","half":0.5},"maxValues":{"id":9,"price":9.25,"day":"2026-02-01","name":"b","half":1.5},"nullCount":{"id":1,"price":0}}"#,
            ),
            file(
                r#"{"minValues":{"id":-1,"price":2,"day":"2025-12-31","name":"c"},"maxValues":{"id":7,"price":10.00,"day":"2026-01-01","name":"d"},"nullCount":{"id":2}}"#,
            ),
        ];
        let found = statistics(&schema, &files);
        assert_eq!((found.num_rows, found.total_byte_size), (Precision::Exact(6), Precision::Inexact(20)));
        let text = |column: &ColumnStatistics| format!("{} {} {}", column.min_value, column.max_value, column.null_count);
        let columns: Vec<String> = found.column_statistics.iter().map(text).collect();
        let expected = [
            "Inexact(Int64(-1)) Inexact(Int64(9)) Inexact(3)",
            "Inexact(Decimal128(1.50,15,2)) Inexact(Decimal128(10.00,15,2)) Absent",
            "Inexact(Date32(\"2025-12-31\")) Inexact(Date32(\"2026-02-01\")) Absent",
            "Absent Absent Absent",
            "Absent Absent Absent",
        ];
        assert_eq!(columns, expected);
        assert_eq!(statistics(&schema, &[file("{")]).column_statistics, Statistics::unknown_column(&schema));
    }
}
