//! The difference between the rows that a test expects and those that came out.

use arrow::array::cast::AsArray;
use arrow::array::{Array, RecordBatch};
use arrow::datatypes::{DataType, Decimal128Type, Float64Type};
use arrow::util::display::{ArrayFormatter, FormatOptions};
use serde::Serialize;

/// Decimal places in which numbers are compared.
const PLACES: u32 = 6;

/// What differs; rows that are as expected are left out.
#[derive(Debug, Clone, Serialize)]
pub struct Difference {
    pub columns: Vec<String>,
    pub rows: Vec<RowDifference>,
    pub rows_as_expected: usize,
}

/// One row. Cells are as a test's text has them; `line` is of the expected row in the test's file.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "lowercase", tag = "row")]
pub enum RowDifference {
    Missing { line: usize, cells: Vec<String> },
    Unexpected { cells: Vec<String> },
    Different { line: usize, expected: Vec<String>, found: Vec<String> },
}

/// Compares cell by cell, as text of typed values; rows that belong together are found by `key` (positions of columns), or else by likeness.
/// `None` if there is no difference.
pub(super) fn compare(
    columns: &[String],
    expected: &[(usize, Vec<String>)],
    found: &[Vec<String>],
    key: &[usize],
    ordered: bool,
) -> Option<Difference> {
    let mut rows = vec![];
    let mut as_expected = 0;
    if ordered {
        for nth in 0..expected.len().max(found.len()) {
            match (expected.get(nth), found.get(nth)) {
                (Some((_, cells)), Some(other)) if cells == other => as_expected += 1,
                (Some(row), Some(other)) => rows.push(different(row, other)),
                (Some((line, cells)), None) => rows.push(RowDifference::Missing { line: *line, cells: cells.clone() }),
                (None, Some(cells)) => rows.push(RowDifference::Unexpected { cells: cells.clone() }),
                (None, None) => {}
            }
        }
    } else {
        let mut left: Vec<&Vec<String>> = found.iter().collect();
        let mut missing = vec![];
        for row in expected {
            match left.iter().position(|other| **other == row.1) {
                Some(at) => {
                    left.remove(at);
                    as_expected += 1;
                }
                None => missing.push(row),
            }
        }
        for row in missing {
            let alike = |other: &Vec<String>| row.1.iter().zip(other).filter(|(a, b)| a == b).count();
            let same_key = |other: &Vec<String>| key.iter().all(|column| row.1[*column] == other[*column]);
            let mate = match key.is_empty() {
                true => (0..left.len()).max_by_key(|at| (alike(left[*at]), usize::MAX - at)).filter(|at| alike(left[*at]) > 0),
                false => left.iter().position(|other| same_key(other)),
            };
            rows.push(match mate {
                Some(at) => different(row, left.remove(at)),
                None => RowDifference::Missing { line: row.0, cells: row.1.clone() },
            });
        }
        rows.extend(left.into_iter().map(|cells| RowDifference::Unexpected { cells: cells.clone() }));
    }
    (!rows.is_empty()).then(|| Difference { columns: columns.to_vec(), rows, rows_as_expected: as_expected })
}

fn different((line, expected): &(usize, Vec<String>), found: &[String]) -> RowDifference {
    RowDifference::Different { line: *line, expected: expected.clone(), found: found.to_vec() }
}

/// The named columns' cells as a test would write them: equal values have equal texts.
pub(super) fn texts(batch: &RecordBatch, columns: &[usize]) -> Result<Vec<Vec<String>>, arrow::error::ArrowError> {
    let options = FormatOptions::default().with_timestamp_tz_format(Some("%Y-%m-%dT%H:%M:%S%.fZ"));
    let columns: Vec<&dyn Array> = columns.iter().map(|column| batch.column(*column).as_ref()).collect();
    let formatters = columns.iter().map(|column| ArrayFormatter::try_new(*column, &options)).collect::<Result<Vec<_>, _>>()?;
    let rows = (0..batch.num_rows()).map(|row| {
        let cells = columns.iter().zip(&formatters).map(|(column, formatter)| cell(*column, row, formatter));
        cells.collect::<Result<Vec<_>, _>>()
    });
    rows.collect()
}

fn cell(column: &dyn Array, row: usize, formatter: &ArrayFormatter) -> Result<String, arrow::error::ArrowError> {
    if column.is_null(row) {
        return Ok("-".into());
    }
    Ok(match column.data_type() {
        DataType::Float64 => {
            let number = column.as_primitive::<Float64Type>().value(row);
            let factor = 10_f64.powi(PLACES as i32);
            let rounded = (number * factor).round() / factor;
            // Minus nothing is nothing, and what is too large to be rounded so has no places.
            if rounded.is_finite() { format!("{}", rounded + 0.0) } else { format!("{number}") }
        }
        DataType::Decimal128(_, scale) => decimal(column.as_primitive::<Decimal128Type>().value(row), *scale),
        DataType::Utf8 => quoted(&formatter.value(row).try_to_string()?),
        _ => formatter.value(row).try_to_string()?,
    })
}

fn decimal(value: i128, scale: i8) -> String {
    let scale = u32::try_from(scale).unwrap_or(0);
    let excess = 10_i128.pow(scale.saturating_sub(PLACES));
    let (value, scale) = ((value + value.signum() * (excess / 2)) / excess, scale.min(PLACES));
    let one = 10_i128.pow(scale);
    let sign = if value < 0 { "-" } else { "" };
    let digits = format!("{sign}{}.{:0width$}", (value / one).abs(), (value % one).abs(), width = scale as usize);
    digits.trim_end_matches('0').trim_end_matches('.').to_owned()
}

/// Text that a test would read otherwise is put into quotes.
fn quoted(text: &str) -> String {
    let plain = !text.is_empty() && text != "-" && text.trim() == text && !text.contains(['|', '"', '\n']);
    if plain { text.to_owned() } else { format!("\"{text}\"") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decimals_have_one_text() {
        for (value, scale, expected) in
            [(1_500_000, 6, "1.5"), (-5, 1, "-0.5"), (0, 6, "0"), (23_333_333_333, 10, "2.333333"), (7, 0, "7"), (100, 0, "100")]
        {
            assert_eq!(decimal(value, scale), expected);
        }
    }

    #[test]
    fn rows_find_each_other_by_key_or_by_likeness() {
        let row = |text: &str| text.split(' ').map(str::to_owned).collect::<Vec<_>>();
        let columns = row("item site n");
        let expected = [(3, row("A S1 1")), (4, row("B S1 2")), (5, row("C S1 3"))];
        let found = [row("B S1 2"), row("A S1 9"), row("D S2 4")];
        let told = |difference: Option<Difference>| {
            let text = |row: &RowDifference| match row {
                RowDifference::Missing { line, cells } => format!("- {line} {}", cells.join(" ")),
                RowDifference::Unexpected { cells } => format!("+ {}", cells.join(" ")),
                RowDifference::Different { line, expected, found } => {
                    format!("~ {line} {} > {}", expected.join(" "), found.join(" "))
                }
            };
            difference.map(|difference| difference.rows.iter().map(text).collect::<Vec<_>>().join(", ")).unwrap_or_default()
        };
        assert_eq!(told(compare(&columns, &expected, &found, &[0, 1], false)), "~ 3 A S1 1 > A S1 9, - 5 C S1 3, + D S2 4");
        assert_eq!(told(compare(&columns, &expected, &found[..2], &[], false)), "~ 3 A S1 1 > A S1 9, - 5 C S1 3");
        assert_eq!(
            told(compare(&columns, &expected[..2], &[row("B S1 2"), row("A S1 1")], &[0], true)),
            "~ 3 A S1 1 > B S1 2, ~ 4 B S1 2 > A S1 1"
        );
        assert_eq!(told(compare(&columns, &expected[..1], &[row("A S1 1"), row("A S1 1")], &[0], false)), "+ A S1 1");
        assert_eq!(told(compare(&columns, &expected, &[row("C S1 3"), row("A S1 1"), row("B S1 2")], &[], false)), "");
    }
}
