//! One parsed `select`: which tables it reads, whether it looks at the clock; bare names of streams and the clock are bound here, in the syntax tree,
//! so that the planner sees only tables and literals and line numbers stay those of the file.

use std::collections::{BTreeMap, VecDeque};
use std::ops::ControlFlow;

use chrono::{Datelike, DurationRound, SubsecRound, TimeDelta, Timelike};
use datafusion::error::DataFusionError;
use datafusion::sql::parser::{DFParserBuilder, Statement as ParsedStatement};
use datafusion::sql::sqlparser::ast::{
    Expr, FunctionArg, FunctionArgExpr, Ident, ObjectName, ObjectNamePart, Query, Statement, TableAlias, TableFactor, Value,
    VisitMut, VisitorMut,
};
use datafusion::sql::sqlparser::dialect::GenericDialect;
use datafusion::sql::sqlparser::parser::{Parser, ParserError};
use datafusion::sql::sqlparser::tokenizer::{Token, TokenWithSpan, Tokenizer};

use super::error::Problem;
use super::message::{first_line, syntax_problem};
use super::past;
use crate::base::time::Instant;
use crate::base::{RunId, TableName, nearest};
use crate::decide::{self, Input};
use crate::project::Grain;

/// How deep a statement may nest; the parser and the planner are recursive.
pub(super) const NESTING_MAX: usize = 128;

/// Table functions of the engine that read no table.
const PURE_TABLE_FUNCTIONS: [&str; 3] = ["generate_series", "range", "unnest"];
/// Functions that a run replaces by its own instant, cut to the model's grain.
const CLOCK: [&str; 4] = ["now", "current_timestamp", "current_date", "today"];
/// Whether an expression may look at the clock: true also where such a name is only a part of another word.
pub(super) fn looks_at_clock(expression: &str) -> bool {
    let text = expression.to_ascii_lowercase();
    CLOCK.iter().any(|name| text.contains(name))
}

/// Functions of the wall clock without a date or zone.
const LOCAL_CLOCK: [&str; 3] = ["current_time", "localtime", "localtimestamp"];
/// Functions that yield something else each time.
const UNREPEATABLE: [&str; 2] = ["random", "uuid"];

/// A table that a statement reads, and where it says so first.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Read {
    pub table: TableName,
    /// From 1.
    pub line: usize,
}

/// A `select` whose names are resolved.
#[derive(Debug, Clone)]
pub(super) struct Select {
    pub statement: Statement,
    /// The same however it is laid out: no comments, one space between words, words without quotes in lower case.
    pub normal: String,
    /// In the order in which the statement names them, each once.
    pub reads: Vec<Read>,
    /// Line of the first use of the clock, by itself or in a decision function.
    pub clock: Option<usize>,
    /// Decision functions that the statement calls.
    pub decisions: Vec<String>,
}

/// What a table name in a statement may mean.
pub(super) enum Names<'a> {
    /// Two-part names only.
    Hub,
    /// A bare name is a stream of this system; its connector has these streams.
    Streams { system: &'a str, streams: Vec<&'a str> },
}

/// Reads exactly one `select` out of `text`.
pub(super) fn parse(text: &str, names: &Names, repeatable: bool) -> Result<Select, Vec<Problem>> {
    let (text, past) = past::take(text);
    let (mut statement, normal) = parse_one(&text).map_err(|problem| vec![problem])?;
    let mut resolver =
        Resolver { names, repeatable, past, frames: vec![], reads: vec![], clock: None, decisions: vec![], problems: vec![] };
    let _: ControlFlow<()> = VisitMut::visit(&mut statement, &mut resolver);
    let Resolver { reads, clock, decisions, mut problems, .. } = resolver;
    let first = first_line(&text);
    problems.iter_mut().for_each(|problem| problem.line = problem.line.max(first));
    if problems.is_empty() { Ok(Select { statement, normal, reads, clock, decisions }) } else { Err(problems) }
}

fn normal(tokens: &[TokenWithSpan]) -> String {
    let mut words: Vec<String> = vec![];
    for token in tokens {
        match &token.token {
            Token::Whitespace(_) => {}
            Token::Word(word) if word.quote_style.is_none() => words.push(word.value.to_ascii_lowercase()),
            other => words.push(other.to_string()),
        }
    }
    while words.last().is_some_and(|word| word == ";") {
        words.pop();
    }
    words.join(" ")
}

/// The statement, and its text in the form of [`Select::normal`].
fn parse_one(text: &str) -> Result<(Statement, String), Problem> {
    let tokens = Tokenizer::new(&GenericDialect {}, text).tokenize_with_location();
    let tokens = tokens.map_err(|error| syntax_problem(&DataFusionError::from(ParserError::from(error)), text))?;
    let normal = normal(&tokens);
    let mut statements = DFParserBuilder::new(tokens)
        .with_dialect(&GenericDialect {})
        .with_recursion_limit(NESTING_MAX)
        .build()
        .and_then(|mut parser| parser.parse_statements())
        .map_err(|error| syntax_problem(&error, text))?;
    let only_select = || Some("write one select, and nothing else".to_owned());
    let Some(first) = statements.pop_front() else {
        return Err(Problem::new(1, "there is no statement in it", only_select()));
    };
    if !statements.is_empty() {
        let what = format!("there are {} statements in it", statements.len() + 1);
        return Err(Problem::new(second_line(text), what, only_select()));
    }
    match first {
        ParsedStatement::Statement(statement) if matches!(*statement, Statement::Query(_)) => Ok((*statement, normal)),
        _ => {
            let hint = "write the select alone: a model's table is named by its file and made by the hub";
            Err(Problem::new(first_line(text), "this is not a select", Some(hint.into())))
        }
    }
}

/// The line of the second statement.
fn second_line(text: &str) -> usize {
    let tokens = Tokenizer::new(&GenericDialect {}, text).tokenize_with_location().unwrap_or_default();
    let mut after = tokens.iter().skip_while(|token| token.token != Token::SemiColon).skip(1);
    let second = after.find(|token| !matches!(token.token, Token::Whitespace(_) | Token::SemiColon));
    second.and_then(|token| usize::try_from(token.span.start.line).ok()).unwrap_or(1)
}

/// What a query's own names hide.
struct Frame {
    /// CTEs whose query was not visited yet, in order.
    pending: VecDeque<String>,
    recursive: bool,
    visible: Vec<String>,
}

struct Resolver<'a> {
    names: &'a Names<'a>,
    repeatable: bool,
    /// Tables of earlier runs.
    past: BTreeMap<past::Place, RunId>,
    frames: Vec<Frame>,
    reads: Vec<Read>,
    clock: Option<usize>,
    decisions: Vec<String>,
    problems: Vec<Problem>,
}

impl VisitorMut for Resolver<'_> {
    type Break = ();

    fn pre_visit_query(&mut self, query: &mut Query) -> ControlFlow<()> {
        if let Some(parent) = self.frames.last_mut().filter(|parent| parent.recursive) {
            parent.visible.extend(parent.pending.front().cloned());
        }
        let with = query.with.as_ref();
        let pending = with.iter().flat_map(|with| &with.cte_tables).map(|cte| normalised(&cte.alias.name)).collect();
        self.frames.push(Frame { pending, recursive: with.is_some_and(|with| with.recursive), visible: vec![] });
        ControlFlow::Continue(())
    }

    fn post_visit_query(&mut self, _: &mut Query) -> ControlFlow<()> {
        self.frames.pop();
        // A query's CTEs are visited in order before its body: whatever ends while some are pending was the first of them.
        if let Some(parent) = self.frames.last_mut() {
            parent.visible.extend(parent.pending.pop_front());
        }
        ControlFlow::Continue(())
    }

    fn pre_visit_table_factor(&mut self, factor: &mut TableFactor) -> ControlFlow<()> {
        match factor {
            TableFactor::Table { name, args: Some(args), .. } => self.function(name, &mut args.args),
            TableFactor::Function { name, args, .. } => self.function(name, args),
            TableFactor::Table { name, alias, .. } => self.table(name, alias),
            TableFactor::TableFunction { expr, .. } => {
                let hint = Some("call it directly: from f('schema.table', …)".into());
                self.problems.push(Problem::new(1, format!("table({expr}) is not supported"), hint));
            }
            _ => {}
        }
        ControlFlow::Continue(())
    }

    fn pre_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<()> {
        if let Expr::Function(function) = expr
            && let [ObjectNamePart::Identifier(ident)] = function.name.0.as_slice()
        {
            let (name, line) = (normalised(ident), line_of(ident));
            if CLOCK.contains(&name.as_str()) {
                self.clock.get_or_insert(line);
            } else if LOCAL_CLOCK.contains(&name.as_str()) {
                self.problems.push(Problem::new(line, format!("{name} has no zone"), Some("use now() or current_date".into())));
            } else if self.repeatable && UNREPEATABLE.contains(&name.as_str()) {
                let hint = Some("a run must be repeatable: derive the value from the row's key".into());
                self.problems.push(Problem::new(line, format!("{name}() yields something else each time"), hint));
            }
        }
        ControlFlow::Continue(())
    }
}

impl Resolver<'_> {
    fn read(&mut self, table: TableName, line: usize) {
        if !self.reads.iter().any(|read| read.table == table) {
            self.reads.push(Read { table, line });
        }
    }

    fn table(&mut self, name: &mut ObjectName, alias: &mut Option<TableAlias>) {
        let Some(parts) = name.0.iter().map(|part| part.as_ident().cloned()).collect::<Option<Vec<Ident>>>() else { return };
        match parts.as_slice() {
            [file] if file.quote_style == Some('\'') => {
                let hint = Some("files are a stream of a connector; a statement reads tables".into());
                self.problems.push(Problem::new(line_of(file), format!("a statement reads no files: {name}"), hint));
            }
            [bare] => self.bare(name, alias, bare.clone()),
            [schema, _] if matches!(self.names, Names::Streams { .. }) && normalised(schema) == "raw" => {
                let hint = Some("a map reads the streams of its own system, by their bare name: from stream_name".into());
                self.problems.push(Problem::new(line_of(schema), format!("{name} is not for maps"), hint));
            }
            [schema, table] if let Some(run) = self.past.get(&(schema.span.start.line, schema.span.start.column)).copied() => {
                self.past(name, alias, (schema.clone(), table.clone()), run);
            }
            [schema, table] => self.read(TableName::new(normalised(schema), normalised(table)), line_of(schema)),
            [first, ..] => {
                let hint = Some("a table's name has two parts: schema.name".into());
                self.problems.push(Problem::new(line_of(first), format!("unknown table {name}"), hint));
            }
            [] => {}
        }
    }

    fn past(&mut self, name: &mut ObjectName, alias: &mut Option<TableAlias>, (schema, ident): (Ident, Ident), run: RunId) {
        let (table, line) = (TableName::new(normalised(&schema), normalised(&ident)), line_of(&schema));
        if self.repeatable {
            let hint = Some("a model reads what its own run has; ask for other runs with `loopline sql`".into());
            self.problems.push(Problem::new(line, format!("{table} version as of {run} is for queries"), hint));
            return;
        }
        let past = past::name(&table, run);
        alias.get_or_insert_with(|| TableAlias { explicit: true, name: ident, columns: vec![], at: None });
        *name = named(&past, &schema);
        self.read(past, line);
    }

    fn bare(&mut self, name: &mut ObjectName, alias: &mut Option<TableAlias>, ident: Ident) {
        let (bare, line) = (normalised(&ident), line_of(&ident));
        if self.frames.iter().any(|frame| frame.visible.contains(&bare)) {
            return;
        }
        let Names::Streams { system, streams } = self.names else {
            let hint = Some("a table's name has two parts: schema.name".into());
            self.problems.push(Problem::new(line, format!("unknown table {bare}"), hint));
            return;
        };
        if !streams.contains(&bare.strip_suffix("__deleted").unwrap_or(&bare)) {
            let hint = match nearest(&bare, streams.iter().copied()) {
                Some(near) => format!("did you mean {near}? streams are declared in connector.toml"),
                None => format!("streams of this connector: {}", streams.join(", ")),
            };
            self.problems.push(Problem::new(line, format!("unknown stream {bare}"), Some(hint)));
            return;
        }
        let table = TableName::new("raw", format!("{system}__{bare}"));
        // Columns may be qualified with the stream's name; it becomes the alias.
        alias.get_or_insert_with(|| TableAlias { explicit: true, name: ident.clone(), columns: vec![], at: None });
        *name = named(&table, &ident);
        self.read(table, line);
    }

    fn function(&mut self, name: &ObjectName, args: &mut Vec<FunctionArg>) {
        let Some(ident) = name.0.first().and_then(|part| part.as_ident()) else { return };
        let (function, line) = (normalised(ident), line_of(ident));
        let decisions = decide::all();
        if PURE_TABLE_FUNCTIONS.contains(&function.as_str()) && name.0.len() == 1 {
            if args.iter().any(|arg| !matches!(arg, FunctionArg::Unnamed(FunctionArgExpr::Expr(expr)) if !is_query(expr))) {
                self.problems.push(Problem::new(line, format!("{function} takes values, not queries"), None));
            }
        } else if let Some(decision) = decisions.iter().find(|decision| decision.name() == function && name.0.len() == 1) {
            match positional(decision.inputs(), std::mem::take(args)) {
                Ok(placed) => *args = placed,
                Err((what, hint)) => return self.problems.push(Problem::new(line, format!("{function}: {what}"), hint)),
            }
            self.decision(&function, line, args);
        } else {
            let known: Vec<_> = decisions.iter().map(|decision| decision.name()).chain(PURE_TABLE_FUNCTIONS).collect();
            let hint = match nearest(&function, known.iter().copied()) {
                Some(near) => Some(format!("did you mean {near}?")),
                None => Some(format!("there are: {}", known.join(", "))),
            };
            self.problems.push(Problem::new(line, format!("unknown table function {name}"), hint));
        }
    }

    fn decision(&mut self, function: &str, line: usize, args: &[FunctionArg]) {
        for (position, arg) in args.iter().enumerate().filter(|(_, arg)| **arg != absent()) {
            match table_argument(arg) {
                Some(Ok(table)) => self.read(table, line),
                Some(Err(what)) => {
                    self.problems.push(Problem::new(line, format!("{function}, argument {}: {what}", position + 1), None))
                }
                None => {
                    let hint = format!(
                        "{function} takes names of tables as text: {function}('schema.table', …); put a query into a model of its own"
                    );
                    let what = format!("{function}, argument {}: {arg} is not the name of a table", position + 1);
                    self.problems.push(Problem::new(line, what, Some(hint)));
                }
            }
        }
        if decide::all().iter().any(|decision| decision.name() == function && decision.uses_clock()) {
            self.clock.get_or_insert(line);
        }
        self.decisions.push(function.to_owned());
    }
}

/// The name of `table` where the statement has `place`.
fn named(table: &TableName, place: &Ident) -> ObjectName {
    let part = |value: &str| ObjectNamePart::Identifier(Ident { value: value.into(), quote_style: Some('"'), span: place.span });
    ObjectName(vec![part(&table.schema), part(&table.name)])
}

/// Named arguments, `input => 'schema.table'`, at the places of their inputs; null where one before them is not given. Otherwise what is wrong, and a hint.
fn positional(inputs: &[Input], args: Vec<FunctionArg>) -> Result<Vec<FunctionArg>, (String, Option<String>)> {
    let mut placed: Vec<Option<FunctionArg>> = vec![];
    let mut named = false;
    for arg in args {
        let (at, arg) = match arg {
            FunctionArg::Named { name, arg, .. } => {
                named = true;
                let name = normalised(&name);
                let names = || inputs.iter().map(|input| input.name);
                let at = names().position(|input| input == name).ok_or_else(|| {
                    let hint = match nearest(&name, names()) {
                        Some(near) => format!("did you mean {near}?"),
                        None => format!("it takes: {}", names().collect::<Vec<_>>().join(", ")),
                    };
                    (format!("unknown input {name}"), Some(hint))
                })?;
                (at, FunctionArg::Unnamed(arg))
            }
            arg if named => return Err((format!("{arg} comes after a named input"), Some("name it too".into()))),
            arg => (placed.len(), arg),
        };
        placed.resize(placed.len().max(at + 1), None);
        if placed[at].replace(arg).is_some() {
            return Err((format!("input {} is given twice", inputs[at].name), None));
        }
    }
    Ok(placed.into_iter().map(|arg| arg.unwrap_or_else(absent)).collect())
}

/// The argument for an input that is not given.
fn absent() -> FunctionArg {
    FunctionArg::Unnamed(FunctionArgExpr::Expr(Expr::Value(Value::Null.into())))
}

fn is_query(expr: &Expr) -> bool {
    matches!(expr, Expr::Subquery(_) | Expr::Exists { .. } | Expr::InSubquery { .. })
}

/// The table that a decision function's argument names; `None` if it is no text.
fn table_argument(arg: &FunctionArg) -> Option<Result<TableName, String>> {
    let FunctionArg::Unnamed(FunctionArgExpr::Expr(Expr::Value(value))) = arg else { return None };
    match &value.value {
        Value::SingleQuotedString(text) => Some(text.parse()),
        _ => None,
    }
}

/// The identifier as the planner sees it: lower case unless quoted.
fn normalised(ident: &Ident) -> String {
    if ident.quote_style.is_some() { ident.value.clone() } else { ident.value.to_ascii_lowercase() }
}

fn line_of(ident: &Ident) -> usize {
    usize::try_from(ident.span.start.line).map_or(1, |line| line.max(1))
}

/// `as_of` cut to the grain.
pub(super) fn cut(as_of: Instant, grain: Grain) -> Instant {
    let hour = |at: Instant| at.duration_trunc(TimeDelta::hours(1)).unwrap_or(at);
    let day = |at: Instant| hour(at).with_hour(0).unwrap_or(at);
    match grain {
        Grain::Minute => as_of.trunc_subsecs(0).with_second(0).unwrap_or(as_of),
        Grain::Hour => hour(as_of),
        Grain::Day => day(as_of),
        Grain::Month => day(as_of).with_day(1).unwrap_or(as_of),
    }
}

/// Replaces `now()`, `current_timestamp`, `current_date` and `today()` by `at`.
pub(super) fn bind_clock(statement: &mut Statement, at: Instant) {
    struct Binder {
        now: Option<Expr>,
        today: Option<Expr>,
    }
    impl VisitorMut for Binder {
        type Break = ();

        fn post_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<()> {
            let Expr::Function(function) = &*expr else { return ControlFlow::Continue(()) };
            let [ObjectNamePart::Identifier(ident)] = function.name.0.as_slice() else { return ControlFlow::Continue(()) };
            let bound = match normalised(ident).as_str() {
                "now" | "current_timestamp" => self.now.clone(),
                "current_date" | "today" => self.today.clone(),
                _ => None,
            };
            if let Some(bound) = bound {
                *expr = bound;
            }
            ControlFlow::Continue(())
        }
    }
    let now =
        expression(&format!("arrow_cast('{}', 'Timestamp(Microsecond, Some(\"UTC\"))')", at.format("%Y-%m-%dT%H:%M:%S%.6fZ")));
    let today = expression(&format!("date '{}'", at.format("%Y-%m-%d")));
    let _: ControlFlow<()> = VisitMut::visit(statement, &mut Binder { now, today });
}

fn expression(text: &str) -> Option<Expr> {
    Parser::new(&GenericDialect {}).try_with_sql(text).and_then(|mut parser| parser.parse_expr()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hub(text: &str) -> Result<Vec<String>, String> {
        parse(text, &Names::Hub, true)
            .map(|select| select.reads.iter().map(|read| format!("{}:{}", read.table, read.line)).collect())
            .map_err(|problems| format!("{}: {}", problems[0].line, problems[0].what))
    }

    #[test]
    fn reads_are_tables_not_ctes() {
        let text = "with a as (select * from erp.items),\n b as (select * from a join\n wms.stock using (item_id))\nselect * from b where id in (select id from crm.customers)";
        assert_eq!(hub(text), Ok(vec!["erp.items:1".into(), "wms.stock:3".into(), "crm.customers:4".into()]));
        assert_eq!(hub("with a as (select * from b), b as (select 1) select * from a"), Err("1: unknown table b".into()));
        assert_eq!(hub("with recursive a as (select 1 as n union all select n + 1 from a) select * from a"), Ok(vec![]));
        assert_eq!(hub("select * from (with a as (select 1) select * from a) x, a"), Err("1: unknown table a".into()));
    }

    /// A name is a CTE's only where that CTE is in scope; names of two parts are always tables.
    #[test]
    fn every_read_is_found() {
        for (text, expected) in [
            ("select * from a.t where exists (select 1 from b.t where b.t.x = a.t.x)", "a.t b.t"),
            ("select (select max(x) from a.t) as m, case when 1 in (select x from b.t) then 1 end from c.t", "a.t b.t c.t"),
            (
                "select * from a.t join b.t on b.t.x = (select min(x) from c.t), lateral (select * from d.t where d.t.y = a.t.y) l",
                "a.t b.t c.t d.t",
            ),
            ("select * from a.t union all (select * from b.t except select * from c.t)", "a.t b.t c.t"),
            ("select x from a.t order by (select y from b.t)", "a.t b.t"),
            (
                "select x, count(*) filter (where x in (select x from b.t)) from a.t group by x having max(y) > (select 1 from c.t)",
                "b.t a.t c.t",
            ),
            ("with a as (select * from s.a) select * from a join t.a on true", "s.a t.a"),
            ("with A as (select 1 from s.t) select * from a, \"a\"", "s.t"),
            ("with a as (select 1), b as (with a as (select * from s.x) select * from a) select * from a, b", "s.x"),
            (
                "with a as (with inner_one as (select * from s.x) select * from inner_one) select * from a where x in (with z as (select * from s.y) select * from z)",
                "s.x s.y",
            ),
            (
                "with recursive a as (select x from s.x union all select x + 1 from a where x < (select max(x) from s.y)) select * from a",
                "s.x s.y",
            ),
            (
                "with p as (select * from trace('s.a', 's.b', 's.c', 's.d')) select * from p, generate_series(1, 3)",
                "s.a s.b s.c s.d",
            ),
            ("select * from (values (1), (2)) v(x) join s.t using (x)", "s.t"),
            ("select * from \"S\".\"T\" join S.T on true", "S.T s.t"),
            ("select sum(x) over (partition by (select 1 from a.t)) from b.t", "a.t b.t"),
            (
                "with a as (select * from s.t) select * from (select * from a) x where not exists (select * from b)",
                "1: unknown table b",
            ),
            ("with recursive a as (select 1 from b), b as (select 1) select * from a", "1: unknown table b"),
            ("select * from (with c as (select 1) select * from c) x join (select * from c) y on true", "1: unknown table c"),
        ] {
            let found = hub(text)
                .map(|reads| reads.iter().map(|read| read.split(':').next().unwrap().to_owned()).collect::<Vec<_>>().join(" "));
            assert_eq!(found.unwrap_or_else(|error| error), expected, "{text}");
        }
    }

    #[test]
    fn layout_does_not_count() {
        let same = [
            "select a, 'X' as \"B\" from s.t where a<>1",
            "--! x = 1\nSELECT A,\n  'X' AS \"B\" /* why */ FROM s.T\nWHERE a <> 1 ;;\n",
        ];
        let normal = |text: &str| parse_one(text).unwrap().1;
        assert_eq!(normal(same[0]), normal(same[1]));
        for other in [
            "select a, 'x' as \"B\" from s.t where a<>1",
            "select a, 'X' as \"b\" from s.t where a<>1",
            "select a, 'X' as \"B\" from s.t where a<>10",
        ] {
            assert_ne!(normal(same[0]), normal(other), "{other}");
        }
    }

    #[test]
    fn only_one_select() {
        for (text, expected) in [
            ("", "1: there is no statement in it"),
            ("select 1; select 2", "1: there are 2 statements in it"),
            ("create table x (a int)", "1: this is not a select"),
            ("drop table erp.items", "1: this is not a select"),
            ("copy (select 1) to 'x.csv'", "1: this is not a select"),
            ("select random()", "1: random() yields something else each time"),
            ("--! clock = \"day\"\nselect\n localtime", "3: localtime has no zone"),
        ] {
            assert_eq!(hub(text), Err(expected.into()), "{text}");
        }
        assert!(hub("select\n from from x").is_err_and(|error| error.starts_with("2: ")));
    }

    #[test]
    fn bare_names_are_streams_in_a_map() {
        let names = Names::Streams { system: "erp", streams: vec!["orders", "items"] };
        let select = parse("select orders.id from orders join items i on i.id = orders.id", &names, true).unwrap();
        assert_eq!(
            select.statement.to_string(),
            r#"SELECT orders.id FROM "raw"."erp__orders" AS orders JOIN "raw"."erp__items" i ON i.id = orders.id"#
        );
        let problems = parse("select 1 from order", &names, true).unwrap_err();
        assert_eq!(problems[0].hint.as_deref(), Some("did you mean orders? streams are declared in connector.toml"));
    }

    #[test]
    fn clock_is_bound() {
        let mut select = parse("select now(), current_date, CURRENT_TIMESTAMP from erp.items", &Names::Hub, true).unwrap();
        assert_eq!(select.clock, Some(1));
        bind_clock(&mut select.statement, "2026-03-04T05:06:07.5Z".parse().unwrap());
        let now = r#"arrow_cast('2026-03-04T05:06:07.500000Z', 'Timestamp(Microsecond, Some("UTC"))')"#;
        assert_eq!(select.statement.to_string(), format!("SELECT {now}, DATE '2026-03-04', {now} FROM erp.items"));
    }

    #[test]
    fn grains() {
        let at: Instant = "2026-03-04T05:06:07.5Z".parse().unwrap();
        for (grain, expected) in [
            (Grain::Minute, "2026-03-04T05:06:00Z"),
            (Grain::Hour, "2026-03-04T05:00:00Z"),
            (Grain::Day, "2026-03-04T00:00:00Z"),
            (Grain::Month, "2026-03-01T00:00:00Z"),
        ] {
            assert_eq!(cut(at, grain), expected.parse::<Instant>().unwrap());
        }
    }
}
