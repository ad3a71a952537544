//! `schema.table version as of RUN` (or `for version as of RUN`): in a query, a table as an earlier run published it.
//!
//! The parser's dialect does not know the clause, so it is taken out of the text before, blank for blank: places stay what they are.

use std::collections::BTreeMap;

use datafusion::sql::sqlparser::dialect::GenericDialect;
use datafusion::sql::sqlparser::tokenizer::{Location, Token, TokenWithSpan, Tokenizer};

use crate::base::{RunId, TableName};

/// Line and column, from 1, of a table's name.
pub(super) type Place = (u64, u64);

/// The text without such clauses, and the run of each table that had one. Text that is no SQL stays as it is.
pub(super) fn take(text: &str) -> (String, BTreeMap<Place, RunId>) {
    let mut runs = BTreeMap::new();
    if !text.to_ascii_lowercase().contains("version") {
        return (text.to_owned(), runs);
    }
    let Ok(tokens) = Tokenizer::new(&GenericDialect {}, text).tokenize_with_location() else { return (text.to_owned(), runs) };
    let tokens: Vec<TokenWithSpan> = tokens.into_iter().filter(|token| !matches!(token.token, Token::Whitespace(_))).collect();
    let mut lines: Vec<Vec<char>> = text.split('\n').map(|line| line.chars().collect()).collect();
    for (at, name) in tokens.windows(3).enumerate().filter(|(_, name)| is_name(name)) {
        let clause = &tokens[at + 3..];
        let said_for = usize::from(clause.first().is_some_and(|token| is_word(token, "for")));
        let [version, as_, of, number, ..] = &clause[said_for..] else { continue };
        let Token::Number(run, _) = &number.token else { continue };
        let is_clause = is_word(version, "version") && is_word(as_, "as") && is_word(of, "of");
        if let (true, Ok(run)) = (is_clause, run.parse()) {
            let start = name[0].span.start;
            runs.insert((start.line, start.column), RunId(run));
            clause[..said_for + 4].iter().for_each(|token| blank(&mut lines, token.span.start, token.span.end));
        }
    }
    (lines.iter().map(|line| line.iter().collect::<String>()).collect::<Vec<_>>().join("\n"), runs)
}

fn is_name(tokens: &[TokenWithSpan]) -> bool {
    matches!(tokens, [schema, dot, table] if matches!(schema.token, Token::Word(_)) && dot.token == Token::Period && matches!(table.token, Token::Word(_)))
}

fn is_word(token: &TokenWithSpan, word: &str) -> bool {
    matches!(&token.token, Token::Word(found) if found.quote_style.is_none() && found.value.eq_ignore_ascii_case(word))
}

/// None of these tokens goes over a line's end.
fn blank(lines: &mut [Vec<char>], start: Location, end: Location) {
    let index = |number: u64| usize::try_from(number).unwrap_or(usize::MAX).saturating_sub(1);
    let Some(line) = lines.get_mut(index(start.line)) else { return };
    let until = index(end.column).min(line.len());
    if let Some(part) = line.get_mut(index(start.column)..until) {
        part.fill(' ');
    }
}

/// The name under which a session knows `table` as of `run`; no table can be called so.
pub(super) fn name(table: &TableName, run: RunId) -> TableName {
    TableName::new(&table.schema, format!("{}@{run}", table.name))
}

/// What [`name`] was made from.
pub(super) fn split(name: &TableName) -> Option<(TableName, RunId)> {
    let (table, run) = name.name.split_once('@')?;
    Some((TableName::new(&name.schema, table), RunId(run.parse().ok()?)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn taken(text: &str) -> (String, Vec<(Place, i64)>) {
        let (left, runs) = take(text);
        assert_eq!(left.chars().count(), text.chars().count(), "places stay what they are");
        let words = left.split_whitespace().collect::<Vec<_>>().join(" ");
        (words, runs.into_iter().map(|(place, run)| (place, run.0)).collect())
    }

    #[test]
    fn clauses_are_taken_where_they_follow_a_table() {
        type Found<'f> = &'f [(Place, i64)];
        let cases: [(&str, &str, Found<'_>); 5] = [
            ("select 1 from erp.items version as of 17", "select 1 from erp.items", &[((1, 15), 17)]),
            ("select 'ü'\nfrom erp.items FOR Version AS OF 3 as i", "select 'ü' from erp.items as i", &[((2, 6), 3)]),
            (
                "select 1 from a.b version as of 1 join a.b\n version as of 2 on true",
                "select 1 from a.b join a.b on true",
                &[((1, 15), 1), ((1, 40), 2)],
            ),
            ("select version as of from a.b", "select version as of from a.b", &[]),
            ("select 'a.b version as of 1' -- a.b version as of 2", "select 'a.b version as of 1' -- a.b version as of 2", &[]),
        ];
        for (text, left, runs) in cases {
            assert_eq!(taken(text), (left.to_owned(), runs.to_vec()), "{text}");
        }
    }

    #[test]
    fn names_are_told_apart() {
        let table = TableName::new("erp", "items");
        assert_eq!(split(&name(&table, RunId(7))), Some((table.clone(), RunId(7))));
        assert_eq!(split(&table), None);
    }
}
