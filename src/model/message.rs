//! What the parser and the planner find wrong, in words that say where it is and what to do.
//!
//! They tell most of it in text of their own: what is known of it is taken apart here, the rest is passed on. `tests/fixtures/messages.txt` holds what
//! is said.

use datafusion::common::SchemaError;
use datafusion::error::DataFusionError;

use super::error::Problem;
use super::function::InputError;
use crate::base::nearest;

/// A message, what to do, and a word of the statement to look for where no place is given.
type Said = (String, Option<String>, Option<String>);

/// Functions of other databases, and what to write here.
const ELSEWHERE: [(&str, &str); 11] = [
    ("isnull", "a is null, or coalesce(a, b)"),
    ("iif", "case when condition then a else b end"),
    ("decode", "case a when … then … end"),
    ("len", "length(a)"),
    ("getdate", "now(), with a clock in the header"),
    ("sysdate", "current_date, with a clock in the header"),
    ("datediff", "a - b, which is days between dates"),
    ("dateadd", "a + interval '7 days'"),
    ("group_concat", "string_agg(a, ', ')"),
    ("mod", "a % b"),
    ("convert", "cast(a as text)"),
];

const TYPES: [&str; 9] = ["text", "int", "bigint", "double", "boolean", "date", "decimal", "timestamp", "numeric"];

/// What the planner found wrong with the statement `text`, and in which line.
pub(super) fn problem(error: &DataFusionError, text: &str) -> Problem {
    if let DataFusionError::Collection(errors) = error
        && let Some(first) = errors.first()
    {
        return problem(first, text);
    }
    let spanned =
        error.diagnostic().and_then(|diagnostic| diagnostic.span).and_then(|span| usize::try_from(span.start.line).ok());
    let (what, hint, word) = explain(error.find_root(), text);
    let line = spanned.filter(|line| *line > 0).or_else(|| word.and_then(|word| line_of(text, &word)));
    Problem { line: line.unwrap_or_else(|| first_line(text)), what, hint }
}

fn explain(root: &DataFusionError, text: &str) -> Said {
    if let DataFusionError::SchemaError(schema, _) = root {
        return schema_error(schema, text);
    }
    if let DataFusionError::External(external) = root
        && let Some(input) = external.downcast_ref::<InputError>()
    {
        return (input.to_string(), input.hint.clone(), Some(input.function.to_owned()));
    }
    let message = root.strip_backtrace();
    let message = [
        "Error during planning: ",
        "This feature is not implemented: ",
        "Internal error: ",
        "Arrow error: ",
        "Cast error: ",
        "Invalid argument error: ",
    ]
    .into_iter()
    .fold(message.as_str(), |message, start| message.strip_prefix(start).unwrap_or(message));
    known(message).unwrap_or_else(|| (message.to_owned(), None, None))
}

fn schema_error(error: &SchemaError, text: &str) -> Said {
    match error {
        SchemaError::FieldNotFound { field, valid_fields } => {
            let name = field.name();
            let hint = if text.contains(&format!("\"{name}\"")) {
                format!("a text stands in single quotes: '{name}'; what stands in double quotes is a column")
            } else if let Some(near) = nearest(name, valid_fields.iter().map(|field| field.name())) {
                format!("did you mean {near}?")
            } else if named(text, name) > 0 {
                format!("{name} is a name of this very select: write its expression again, or select from (select …)")
            } else {
                let mut names: Vec<&str> = valid_fields.iter().map(|field| field.name()).collect();
                names.dedup();
                format!("there are: {}", names.join(", "))
            };
            (format!("unknown column {}", field.flat_name()), Some(hint), Some(name.to_owned()))
        }
        SchemaError::AmbiguousReference { field } if named(text, field.name()) > 0 => twice(field.name()),
        SchemaError::AmbiguousReference { field } => {
            let hint = Some("write which table's: t.column".into());
            (format!("column {} is in several tables", field.name()), hint, Some(field.name().to_owned()))
        }
        SchemaError::DuplicateUnqualifiedField { name } => twice(name),
        SchemaError::DuplicateQualifiedField { name, .. } => twice(name),
    }
}

fn twice(name: &str) -> Said {
    let hint = Some("name one of them otherwise: … as name".into());
    (format!("two columns are called {name}"), hint, Some(name.to_owned()))
}

/// How often the statement gives a column this name.
fn named(text: &str, name: &str) -> usize {
    let words: Vec<&str> = text.split(|c: char| !c.is_alphanumeric() && c != '_').filter(|word| !word.is_empty()).collect();
    words.windows(2).filter(|pair| pair[0].eq_ignore_ascii_case("as") && pair[1] == name).count()
}

/// The planner's messages that can be said better.
fn known(message: &str) -> Option<Said> {
    let some = |what: String, hint: &str, word: &str| {
        Some((what, (!hint.is_empty()).then(|| hint.to_owned()), (!word.is_empty()).then(|| word.to_owned())))
    };
    if let Some(name) = between(message, "Invalid function '", "'") {
        let hint = match ELSEWHERE.iter().find(|(other, _)| *other == name) {
            Some((_, here)) => format!("write {here}"),
            None => match nearest(name, between(message, "Did you mean '", "'")) {
                Some(near) => format!("did you mean {near}?"),
                None => "select distinct function_name from information_schema.routines lists what there is".into(),
            },
        };
        return some(format!("unknown function {name}"), &hint, name);
    }
    if let Some(signature) = between(message, "argument types '", "'") {
        let name = signature.split('(').next().unwrap_or_default();
        if let Some((takes, given)) =
            between(message, "expects ", ".").and_then(|text| text.split_once(" arguments but received "))
        {
            let plural = if takes == "1" { "argument" } else { "arguments" };
            return some(format!("{name} takes {takes} {plural}, not {given}"), "", name);
        }
        return some(
            format!("there is no {}", sql_types(signature)),
            "cast the argument to a type that the function takes",
            name,
        );
    }
    if let Some(sides) = message.strip_prefix("Cannot infer common argument type for comparison operation ") {
        return some(format!("{} cannot be compared", sql_types(sides)), "cast one side, or compare other columns", "");
    }
    if let Some(sides) = between(message, "Cannot coerce arithmetic expression ", " to valid types") {
        return some(format!("{} cannot be computed", sql_types(sides)), "cast a side; texts are joined with ||", "");
    }
    if let Some(sides) = between(message, "Cannot get result type for temporal operation ", ": ") {
        return some(format!("{} cannot be computed", sql_types(sides)), "a date + cast(n as int) is n days later", "");
    }
    let number = message.strip_prefix("Can't cast value ").and_then(|rest| rest.split_once(" to type "));
    let cast = message.strip_prefix("Cannot cast string '").and_then(|rest| rest.split_once("' to value of ")).or(number);
    if let Some((value, kind)) = cast {
        return some(format!("'{value}' is no {}", sql_types(kind.trim_end_matches(" type"))), "", value);
    }
    if let Some(column) = between(message, "While expanding wildcard, column \"", "\" must appear in the GROUP BY") {
        let name = column.rsplit('.').next().unwrap_or(column);
        return some(
            format!("column {name} is not in group by"),
            &format!("add it there, or say which one of the group: max({name})"),
            name,
        );
    }
    if let Some(expression) = between(message, "non-boolean predicate '", "' returning ") {
        let kind = message.rsplit(" returning ").next().unwrap_or_default();
        let name = expression.rsplit(['.', ' ']).next().unwrap_or_default();
        return some(format!("{expression} is {}, not a condition", sql_types(kind)), "compare it with something", name);
    }
    if let Some(kind) = message.strip_prefix("Unary operator 'NOT' requires a boolean expression, got ") {
        return some(format!("it is {}, not a condition", sql_types(kind)), "compare it with something", "");
    }
    if let Some(name) = between(message, "unique expression names but the expression \"", "\" at position") {
        return Some(twice(name.rsplit('.').next().unwrap_or(name)));
    }
    if let Some(kind) = message.strip_prefix("Unsupported SQL type ") {
        let lower = kind.to_ascii_lowercase();
        let hint = match nearest(&lower, TYPES) {
            Some(near) => format!("did you mean {near}?"),
            None => "there are text, int, bigint, double, boolean, date, decimal(18,6), timestamp(6) with time zone".into(),
        };
        return some(format!("unknown type {kind}"), &hint, kind);
    }
    if let Some((before, rest)) = message
        .strip_prefix("Incompatible inputs for Union: Previous inputs were of type ")
        .and_then(|rest| rest.split_once(", but got incompatible type "))
    {
        let (other, name) = rest.split_once(" on column '").unwrap_or((rest, ""));
        let name = name.trim_end_matches('\'');
        let what = format!("column {name} is {} in one select of the union, {} in another", sql_types(before), sql_types(other));
        return some(what, "cast one of them", name);
    }
    if let Some(columns) = message.strip_prefix("Too many columns! The subquery should only return one column: ") {
        return some(
            format!("the subquery yields more than one column: {columns}"),
            "select only the one that is looked for",
            "",
        );
    }
    match message {
        "UNION queries have different number of columns" => some(
            "the selects of the union yield different numbers of columns".into(),
            "name the same columns, in the same order",
            "union",
        ),
        "Aggregate functions are not allowed in the WHERE clause. Consider using HAVING instead" => {
            some("an aggregate is no condition of single rows".into(), "write it after group by, as having …", "where")
        }
        _ => None,
    }
}

fn between<'t>(text: &'t str, start: &str, end: &str) -> Option<&'t str> {
    let rest = &text[text.find(start)? + start.len()..];
    Some(&rest[..rest.find(end)?])
}

/// The engine's names of types as SQL has them.
fn sql_types(text: &str) -> String {
    const NAMES: [(&str, &str); 15] = [
        ("LargeUtf8", "text"),
        ("Utf8View", "text"),
        ("Utf8", "text"),
        ("UInt64", "bigint"),
        ("Int64", "bigint"),
        ("Int32", "int"),
        ("Float64", "double"),
        ("Boolean", "boolean"),
        ("Date32", "date"),
        ("Decimal128", "decimal"),
        ("Timestamp(µs, \"UTC\")", "timestamp with time zone"),
        ("Timestamp(ns)", "timestamp without time zone"),
        ("Timestamp(µs)", "timestamp without time zone"),
        ("Duration(µs)", "interval"),
        ("Interval(MonthDayNano)", "interval"),
    ];
    let text = NAMES.iter().fold(text.to_owned(), |text, (from, to)| text.replace(from, to));
    // decimal(18, 6)
    text.split("decimal(")
        .map(|part| part.replacen(", ", ",", usize::from(part.starts_with(|c: char| c.is_ascii_digit()))))
        .collect::<Vec<_>>()
        .join("decimal(")
}

/// What the parser found wrong; it says where in its message only.
pub(super) fn syntax_problem(error: &DataFusionError, text: &str) -> Problem {
    let message = match error.find_root() {
        DataFusionError::SQL(parser, _) => parser.to_string(),
        other => other.strip_backtrace(),
    };
    let message = message.trim_start_matches("sql parser error: ");
    let (what, place) = message.split_once(" at Line: ").unwrap_or((message, ""));
    let line = place.split(',').next().and_then(|line| line.trim().parse().ok()).unwrap_or_else(|| first_line(text));
    if text.contains("{{") || text.contains("{%") {
        let at = text.lines().position(|line| line.contains("{{") || line.contains("{%")).map_or(line, |at| at + 1);
        let hint = "name the table itself, schema.table: what a statement reads is what it depends on";
        return Problem::new(at, "there is no templating", Some(hint.into()));
    }
    let (what, hint, line) = syntax(what, line, text);
    Problem::new(line, what, hint)
}

fn syntax(what: &str, line: usize, text: &str) -> (String, Option<String>, usize) {
    /// Words by which a clause begins, in the order in which clauses come.
    const CLAUSES: [&str; 9] = ["with", "select", "from", "join", "where", "group", "having", "order", "limit"];
    let found = what.split_once("found: ").map_or("", |(_, found)| found.trim());
    let word = found.to_ascii_lowercase();
    if what == "Unexpected EOF while in a multi-line comment" {
        let open = text.rfind("/*").map_or(line, |at| 1 + text[..at].matches('\n').count());
        return ("the comment is not closed".into(), Some("end it with */".into()), open);
    }
    if what == "Unterminated string literal" {
        return ("the text is not closed".into(), Some("end it with '; a quote within it is written twice: ''".into()), line);
    }
    let hint = match what.split(", found").next().unwrap_or_default() {
        "Expected: an SQL statement" => match nearest(&word, ["select", "with"]) {
            Some(near) => format!("did you mean {near}?"),
            None => "write one select".into(),
        },
        "Expected: end of statement" if CLAUSES.contains(&word.as_str()) => format!("the order is {}", CLAUSES.join(", ")),
        "Expected: end of statement" | "Expected: )" if found.starts_with(|c: char| c.is_alphabetic() || c == '_') => {
            let close = if what.starts_with("Expected: )") { ", or a )" } else { "" };
            format!("is a comma{close} or a word missing before {found}?")
        }
        "Expected: an expression" if found == "EOF" => "something is missing at the end".into(),
        "Expected: an expression" => format!("something is missing before {found}, or one comma is too many"),
        _ => return (what.to_owned(), None, line),
    };
    (what.to_owned(), Some(hint), line)
}

/// The first line of `text`, from 1, that has `word` outside of comments.
pub(super) fn line_of(text: &str, word: &str) -> Option<usize> {
    let part = |c: char| c.is_alphanumeric() || c == '_';
    let holds = |line: &str| {
        let code = line.split("--").next().unwrap_or_default();
        code.match_indices(word).any(|(at, _)| !code[..at].ends_with(part) && !code[at + word.len()..].starts_with(part))
    };
    text.lines().position(holds).map(|index| index + 1)
}

/// The first line of a header, from 1, that has `word`.
pub(super) fn header_line_of(text: &str, word: &str) -> Option<usize> {
    text.lines().position(|line| line.trim_start().starts_with("--!") && line.contains(word)).map(|index| index + 1)
}

/// The first line that is not only a comment.
pub(super) fn first_line(text: &str) -> usize {
    let comment = |line: &str| line.trim().is_empty() || line.trim_start().starts_with("--");
    text.lines().position(|line| !comment(line)).map_or(1, |index| index + 1)
}
