//! Texts for people: tables, numbers, times, rows.

use serde_json::Value;

use crate::base::Row;
use crate::base::time::Instant;

/// Aligned columns: text to the left, numbers to the right.
pub(super) struct Table {
    head: Vec<&'static str>,
    rows: Vec<Vec<String>>,
}

impl Table {
    pub(super) fn new(head: &[&'static str]) -> Self {
        Self { head: head.to_vec(), rows: Vec::new() }
    }

    pub(super) fn row(&mut self, cells: Vec<String>) {
        self.rows.push(cells);
    }

    pub(super) fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// `width`: how long a line may get; columns from the widest on are cut to fit.
    pub(super) fn render(&self, width: Option<usize>) -> String {
        let head: Vec<String> = self.head.iter().map(ToString::to_string).collect();
        render(&head, &self.rows, width)
    }
}

const GAP: usize = 2;

/// Aligned columns under a line.
pub(super) fn render(head: &[String], rows: &[Vec<String>], width: Option<usize>) -> String {
    let mut widths: Vec<usize> = head.iter().map(|name| name.chars().count()).collect();
    for row in rows {
        for (column, cell) in row.iter().enumerate().take(widths.len()) {
            widths[column] = widths[column].max(cell.chars().count());
        }
    }
    if let Some(width) = width {
        shrink(&mut widths, width);
    }
    let right: Vec<bool> = (0..head.len()).map(|column| is_numeric(rows, column)).collect();
    let line = |cells: &[String]| {
        let aligned = cells.iter().enumerate().take(widths.len()).map(|(column, cell)| {
            let cell = cut(&cell.replace(['\n', '\t'], " "), widths[column]);
            let padding = " ".repeat(widths[column].saturating_sub(cell.chars().count()));
            if right[column] { padding + &cell } else { cell + &padding }
        });
        aligned.collect::<Vec<_>>().join(&" ".repeat(GAP)).trim_end().to_owned()
    };
    let rule: Vec<String> = widths.iter().map(|width| "─".repeat(*width)).collect();
    let mut lines = vec![line(head), line(&rule)];
    lines.extend(rows.iter().map(|row| line(row)));
    lines.join("\n")
}

/// Takes from the widest column until the line fits or nothing readable could be taken.
fn shrink(widths: &mut [usize], width: usize) {
    const READABLE: usize = 12;
    loop {
        let total: usize = widths.iter().sum::<usize>() + GAP * widths.len().saturating_sub(1);
        let Some(widest) = widths.iter_mut().max() else { return };
        if total <= width || *widest <= READABLE {
            return;
        }
        *widest = widest.saturating_sub(total - width).max(READABLE).max(*widest / 2);
    }
}

fn is_numeric(rows: &[Vec<String>], column: usize) -> bool {
    let mut cells = rows.iter().filter_map(|row| row.get(column)).filter(|cell| !cell.is_empty()).peekable();
    let number = |cell: &String| {
        cell.starts_with(|c: char| c.is_ascii_digit() || c == '-')
            && cell.chars().all(|c| c.is_ascii_digit() || ",.-".contains(c))
            && cell.matches('-').count() <= 1
    };
    cells.peek().is_some() && cells.all(number)
}

/// At most `width` characters.
pub(super) fn cut(text: &str, width: usize) -> String {
    if text.chars().count() <= width {
        return text.to_owned();
    }
    text.chars().take(width.saturating_sub(1)).chain(['…']).collect()
}

/// `12,345`.
pub(super) fn count(number: impl TryInto<u64>) -> String {
    let digits = number.try_into().unwrap_or(u64::MAX).to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// `1 change`, `12 changes`.
pub(super) fn counted(number: usize, one: &str, many: &str) -> String {
    if number == 1 { format!("1 {one}") } else { format!("{} {many}", count(number)) }
}

/// `512 B`, `1.2 MB`, `34 GB`.
pub(super) fn bytes(number: u64) -> String {
    let mut size = number as f64;
    for unit in ["B", "kB", "MB", "GB"] {
        match size {
            _ if unit == "B" && number < 1_000 => return format!("{number} B"),
            s if s < 9.95 => return format!("{s:.1} {unit}"),
            s if s < 999.5 => return format!("{s:.0} {unit}"),
            _ => size /= 1_000.0,
        }
    }
    format!("{size:.1} TB")
}

/// `2026-03-02 06:00 UTC`.
pub(super) fn minute(instant: Instant) -> String {
    instant.format("%Y-%m-%d %H:%M UTC").to_string()
}

/// `0.4 s`, `12 s`, `3 min`, `2 h`, `5 d`.
pub(super) fn span(seconds: f64) -> String {
    match seconds {
        s if s < 9.95 => format!("{s:.1} s"),
        s if s < 120.0 => format!("{s:.0} s"),
        s if s < 7_200.0 => format!("{:.0} min", s / 60.0),
        s if s < 172_800.0 => format!("{:.0} h", s / 3_600.0),
        s => format!("{:.0} d", s / 86_400.0),
    }
}

/// Numbers of rows and megabytes for each second.
pub(super) fn paces(rows: u64, bytes: u64, seconds: f64) -> (String, String) {
    const SHORTEST: f64 = 0.001; // what took no time at all has no pace
    let each = |number: u64| if seconds < SHORTEST { 0.0 } else { number as f64 / seconds };
    (count(each(rows).round() as u64), format!("{:.1}", each(bytes) / 1e6))
}

/// `80,000 rows/s, 12.3 MB/s`.
pub(super) fn pace(rows: u64, bytes: u64, seconds: f64) -> String {
    let (rows, megabytes) = paces(rows, bytes, seconds);
    format!("{rows} rows/s, {megabytes} MB/s")
}

/// A value as a person writes it; NULL as `–`.
pub(super) fn value(value: &Value) -> String {
    match value {
        Value::Null => "–".into(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

/// `ref=P-17, line=1`; the value alone where there is one column.
pub(super) fn key(row: &Row) -> String {
    match row.len() {
        1 => row.values().map(value).collect(),
        _ => row.iter().map(|(column, cell)| format!("{column}={}", value(cell))).collect::<Vec<_>>().join(", "),
    }
}

/// `quantity 30 → 40, due 2026-03-02 → 2026-03-09`; fields that stay the same and those of the key are left out. Cut where a line would be too long to
/// compare with the next one: JSON has all of it.
pub(super) fn difference(key: &Row, before: Option<&Row>, after: Option<&Row>) -> String {
    const CHARS_MAX: usize = 160;
    cut(&differences(key, before, after), CHARS_MAX)
}

fn differences(key: &Row, before: Option<&Row>, after: Option<&Row>) -> String {
    match (before, after) {
        (_, None) => "removed".into(),
        (None, Some(after)) => {
            let fields = after.iter().filter(|(column, cell)| !cell.is_null() && !key.contains_key(*column));
            fields.map(|(column, cell)| format!("{column} {}", value(cell))).collect::<Vec<_>>().join(", ")
        }
        (Some(before), Some(after)) => {
            let null = Value::Null;
            let changed = after.iter().filter_map(|(column, cell)| {
                let was = before.get(column).unwrap_or(&null);
                (was != cell).then(|| format!("{column} {} → {}", value(was), value(cell)))
            });
            changed.collect::<Vec<_>>().join(", ")
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn row(cells: &[(&str, Value)]) -> Row {
        cells.iter().map(|(column, cell)| ((*column).to_owned(), cell.clone())).collect()
    }

    #[test]
    fn tables_align_numbers_right_and_cut_the_widest_column() {
        let mut table = Table::new(&["name", "rows"]);
        table.row(vec!["items".into(), "1,204".into()]);
        table.row(vec!["a table with a long name".into(), "7".into()]);
        insta::assert_snapshot!(table.render(None), @r"
        name                       rows
        ────────────────────────  ─────
        items                     1,204
        a table with a long name      7
        ");
        assert!(table.render(Some(24)).lines().all(|line| line.chars().count() <= 24));
    }

    #[test]
    fn numbers_and_times_read_well() {
        assert_eq!([count(0_u64), count(999_u64), count(1_000_u64), count(1_234_567_u64)], ["0", "999", "1,000", "1,234,567"]);
        assert_eq!([span(0.04), span(61.0), span(200.0), span(9_000.0)], ["0.0 s", "61 s", "3 min", "2 h"]);
        assert_eq!(counted(1, "change", "changes"), "1 change");
        assert_eq!(
            [bytes(0), bytes(999), bytes(1_000), bytes(9_960_000), bytes(1_234_567_890)],
            ["0 B", "999 B", "1.0 kB", "10 MB", "1.2 GB"]
        );
    }

    #[test]
    fn changes_say_what_differs() {
        let none = Row::new();
        let (before, after) =
            (row(&[("qty", json!("30")), ("due", json!(null))]), row(&[("qty", json!("40")), ("due", json!(null))]));
        assert_eq!(difference(&none, Some(&before), Some(&after)), "qty 30 → 40");
        assert_eq!(difference(&none, None, Some(&after)), "qty 40");
        assert_eq!(difference(&none, Some(&before), None), "removed");
        assert_eq!(key(&row(&[("ref", json!("P-17"))])), "P-17");
    }
}
