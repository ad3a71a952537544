//! The text of unit tests: what stands in `sql/<schema>/<table>.test`.
//!
//! ```text
//! # Before the first test: what all of them share.
//! now 2026-03-10T06:00:00Z
//!
//! given erp.items
//! item_id | stock_unit
//! A       | pc
//!
//! test stock of two sites is added
//! given scm.stock
//! item_id | site_id | nettable
//! A       | S1      | 5
//! A       | S2      | 7
//! expect
//! item_id | quantity
//! A       | 12
//!
//! test an item twice breaks the key
//! given scm.stock
//! …
//! fails unique
//! ```
//!
//! `-` is null, `"…"` is the text as it stands. Tables and columns that are not given are empty and null. A header without rows expects no rows.

use crate::base::time::Instant;
use crate::base::{TableName, nearest};
use crate::model::error::Problem;

/// Words that start a line that is no row.
const WORDS: [&str; 5] = ["test", "now", "given", "expect", "fails"];

/// One case: what is given, what is expected.
#[derive(Debug, Clone, Default)]
pub(super) struct Case {
    /// What it shows, in the words of its `test` line.
    pub name: String,
    pub line: usize,
    pub now: Option<Instant>,
    pub given: Vec<Rows>,
    pub expect: Option<Rows>,
    /// Whether the rows come in this order.
    pub ordered: bool,
    /// Checks that must not hold, by name or kind, with their lines.
    pub fails: Vec<(String, usize)>,
}

/// A small table as text.
#[derive(Debug, Clone)]
pub(super) struct Rows {
    pub table: TableName,
    pub line: usize,
    /// Empty until its line was read.
    pub columns: Vec<String>,
    pub columns_line: usize,
    pub rows: Vec<Row>,
}

#[derive(Debug, Clone)]
pub(super) struct Row {
    pub line: usize,
    /// `None` is null.
    pub cells: Vec<Option<String>>,
}

/// Reads the tests of `table`; all that is wrong with them.
pub(super) fn read(table: &TableName, text: &str) -> Result<Vec<Case>, Vec<Problem>> {
    let mut reader = Reader { table, shared: Case::default(), cases: vec![], at: At::Nowhere, problems: vec![] };
    for (index, line) in text.lines().enumerate() {
        let line = line.trim();
        if !line.is_empty() && !line.starts_with('#') {
            reader.line(index + 1, line);
        }
    }
    reader.finish()
}

/// Where rows go.
enum At {
    Nowhere,
    /// Under a line that was not understood: its rows are wrong only because it is.
    Lost,
    Given,
    Expect,
}

struct Reader<'a> {
    table: &'a TableName,
    shared: Case,
    cases: Vec<Case>,
    at: At,
    problems: Vec<Problem>,
}

impl Reader<'_> {
    fn problem(&mut self, line: usize, what: impl Into<String>, hint: impl Into<String>) {
        let hint = hint.into();
        self.problems.push(Problem::new(line, what, (!hint.is_empty()).then_some(hint)));
    }

    fn case(&mut self) -> &mut Case {
        self.cases.last_mut().unwrap_or(&mut self.shared)
    }

    fn line(&mut self, line: usize, text: &str) {
        let (word, rest) = text.split_once(char::is_whitespace).map_or((text, ""), |(word, rest)| (word, rest.trim()));
        if text.contains('|') || !WORDS.contains(&word) {
            return self.row(line, text);
        }
        match word {
            "test" => self.test(line, rest),
            "now" => self.now(line, rest),
            "given" => self.given(line, rest),
            "expect" => self.expect(line, rest),
            _ => self.fails(line, rest),
        }
    }

    fn test(&mut self, line: usize, name: &str) {
        if name.is_empty() {
            self.problem(line, "the test has no name", "say what it shows: test an order without stock is late");
        }
        if let Some(other) = self.cases.iter().find(|case| case.name == name && !name.is_empty()) {
            let what = format!("another test is called \"{name}\" (line {})", other.line);
            self.problem(line, what, "name it otherwise");
        }
        let case = Case { name: name.into(), line, expect: None, fails: vec![], ..self.shared.clone() };
        self.cases.push(case);
        self.at = At::Nowhere;
    }

    fn now(&mut self, line: usize, text: &str) {
        match text.parse() {
            Ok(now) => self.case().now = Some(now),
            Err(_) => self.problem(line, format!("\"{text}\" is not an instant"), "write now 2026-03-10T06:00:00Z"),
        }
        self.at = At::Nowhere;
    }

    fn given(&mut self, line: usize, name: &str) {
        self.at = At::Given;
        let table: TableName = match name.parse() {
            Ok(table) => table,
            Err(what) => {
                self.problem(line, what, "write given erp.items");
                TableName::new("", "")
            }
        };
        let test = self.cases.last().map_or(0, |case| case.line);
        let again = self.case().given.iter().find(|rows| rows.table == table && rows.line > test).map(|rows| rows.line);
        if let Some(first) = again.filter(|_| !table.schema.is_empty()) {
            self.problem(line, format!("{table} is given twice (first in line {first})"), "put the rows under one of them");
        }
        let case = self.case();
        // A test's own rows stand in place of the shared ones.
        case.given.retain(|rows| rows.table != table);
        case.given.push(Rows { table, line, columns: vec![], columns_line: line, rows: vec![] });
    }

    fn expect(&mut self, line: usize, rest: &str) {
        self.at = At::Expect;
        let (name, ordered) = match rest.strip_suffix("in order") {
            Some(name) => (name.trim(), true),
            None => (rest, false),
        };
        if !name.is_empty() && name != self.table.to_string() {
            let what = format!("this file tests {}, not {name}", self.table);
            self.problem(line, what, "write expect alone; another table has its own file, <table>.test beside it");
        }
        if self.cases.is_empty() {
            self.problem(line, "this stands before the first test", "begin with: test what it shows");
        }
        if self.cases.last().is_some_and(|case| case.expect.is_some()) {
            self.problem(line, "the test has an expect already", "begin another one with: test what it shows");
        }
        let rows = Rows { table: self.table.clone(), line, columns: vec![], columns_line: line, rows: vec![] };
        let case = self.case();
        (case.expect, case.ordered) = (Some(rows), ordered);
    }

    fn fails(&mut self, line: usize, name: &str) {
        if self.cases.is_empty() {
            self.problem(line, "this stands before the first test", "begin with: test what it shows");
        }
        if name.is_empty() {
            self.problem(line, "which check fails?", "name it or its kind: fails unique");
        }
        self.case().fails.push((name.into(), line));
        self.at = At::Nowhere;
    }

    fn row(&mut self, line: usize, text: &str) {
        let cells = match cells(text) {
            Ok(cells) => cells,
            Err(what) => return self.problem(line, what, "close it, or leave the quotes out"),
        };
        let rows = match self.at {
            At::Given => self.case().given.last_mut(),
            At::Expect => self.case().expect.as_mut(),
            At::Nowhere => None,
            At::Lost => return,
        };
        let misspelled = || {
            let word = text.split_whitespace().next().unwrap_or_default();
            nearest(word, WORDS).map_or_else(String::new, |near| format!("did you mean {near}?"))
        };
        let Some(rows) = rows else {
            let hint = misspelled();
            let hint = if hint.is_empty() {
                "a line starts with test, now, given, expect or fails, or it is a row of a table".into()
            } else {
                hint
            };
            self.at = At::Lost;
            return self.problem(line, format!("it is not clear what \"{text}\" is"), hint);
        };
        if rows.columns.is_empty() {
            rows.columns = cells.into_iter().map(Option::unwrap_or_default).collect();
            rows.columns_line = line;
            return;
        }
        let (columns, found) = (rows.columns.len(), cells.len());
        if columns == found {
            return rows.rows.push(Row { line, cells });
        }
        let hint = if found == 1 { misspelled() } else { String::new() };
        if !hint.is_empty() {
            self.at = At::Lost;
        }
        let hint = if hint.is_empty() { "cells are parted by |; - is null".into() } else { hint };
        self.problem(line, format!("the row has {found} of {columns} cells"), hint);
    }

    fn finish(mut self) -> Result<Vec<Case>, Vec<Problem>> {
        if self.cases.is_empty() && self.problems.is_empty() {
            self.problem(1, "there is no test in it", "begin with: test what it shows");
        }
        let mut wrong = vec![];
        for case in self.cases.iter().filter(|_| self.problems.is_empty()) {
            if case.expect.is_none() && case.fails.is_empty() {
                wrong.push(Problem::new(
                    case.line,
                    "the test expects nothing",
                    Some("add expect and a table, or fails and a check".into()),
                ));
            }
            let rows = case.given.iter().chain(&case.expect).filter(|rows| rows.columns.is_empty());
            wrong.extend(rows.map(|rows| {
                Problem::new(
                    rows.line,
                    "the columns are missing",
                    Some("name them in the next line: item_id | quantity; without rows below there are none".into()),
                )
            }));
        }
        self.problems.extend(wrong);
        // What all tests share is wrong once.
        self.problems.sort_by_key(|problem| problem.line);
        self.problems.dedup();
        if self.problems.is_empty() { Ok(self.cases) } else { Err(self.problems) }
    }
}

/// The cells of a line; bars at its ends and quotes around a cell are not part of it.
fn cells(line: &str) -> Result<Vec<Option<String>>, String> {
    let line = line.strip_prefix('|').unwrap_or(line);
    let mut cells = vec![];
    let mut rest = line.trim();
    loop {
        let cell;
        if let Some(quoted) = rest.strip_prefix('"') {
            let Some((text, after)) = quoted.split_once('"') else { return Err(format!("the quote of {rest} is not closed")) };
            cell = Some(text.to_owned());
            rest = after.trim_start();
            if !rest.is_empty() && !rest.starts_with('|') {
                return Err(format!("after the quote comes {rest}"));
            }
        } else {
            let end = rest.find('|').unwrap_or(rest.len());
            let text = rest[..end].trim();
            cell = (text != "-").then(|| text.to_owned());
            rest = &rest[end..];
        }
        cells.push(cell);
        match rest.strip_prefix('|').map(str::trim) {
            Some(more) if !more.is_empty() => rest = more,
            // A bar at the end of the line.
            _ => return Ok(cells),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cells_are_parted_by_bars() {
        for (line, expected) in [
            ("a | b", vec![Some("a"), Some("b")]),
            ("| a | - |", vec![Some("a"), None]),
            ("-", vec![None]),
            ("a || b", vec![Some("a"), Some(""), Some("b")]),
            ("\"a | b\" | \"-\" | \"\"", vec![Some("a | b"), Some("-"), Some("")]),
        ] {
            let found = cells(line).unwrap();
            assert_eq!(found.iter().map(Option::as_deref).collect::<Vec<_>>(), expected, "{line}");
        }
        assert!(cells("\"a | b").is_err() && cells("\"a\" b").is_err());
    }

    #[test]
    fn tests_share_what_stands_before_them() {
        let text = "now 2026-03-10T06:00:00Z\ngiven erp.items\nitem_id\nA\n\ntest one\nexpect\nitem_id\nA\n\ntest two\ngiven erp.items\nitem_id\nB\nfails unique\nexpect scm.bom in order\nitem_id\n";
        let cases = read(&TableName::new("scm", "bom"), text).unwrap();
        let [one, two] = cases.as_slice() else { panic!("{cases:?}") };
        assert_eq!((one.name.as_str(), one.line, one.given[0].rows[0].line), ("one", 6, 4));
        assert_eq!((two.given.len(), two.given[0].rows[0].cells[0].as_deref()), (1, Some("B")));
        assert_eq!((two.ordered, two.fails.as_slice()), (true, [("unique".to_owned(), 15)].as_slice()));
        assert_eq!((one.now, two.now), (two.now, one.now));
    }
}
