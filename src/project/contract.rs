//! Contracts: `create table` files that say which columns every product is mapped to.

use arrow::datatypes::{DataType, TimeUnit};
use sqlparser::ast::comments::{Comment, Comments};
use sqlparser::ast::{
    ColumnDef, ColumnOption, CreateTable, DataType as SqlType, ExactNumberInfo, Expr, Ident, ObjectName, Spanned, Statement,
    TableConstraint, TimezoneInfo,
};
use sqlparser::dialect::GenericDialect;
use sqlparser::parser::Parser;
use sqlparser::tokenizer::Location;

use super::SqlFile;
use super::names::Names;
use super::problems::{Problems, suggest};
use super::text::{header_line, sql_error};
use crate::base::TableName;

const TYPES: &str = "text, int, bigint, double, boolean, date, decimal(p,s), timestamp(6) with time zone";

/// Columns that every contract has without declaring them.
const IMPLIED: [&str; 5] = ["system", "source_id", "source_version", "changed_at", "deleted"];

/// A contract. Its table holds, in this order: `system`, the declared columns, `source_<column>` for each column with an
/// [`entity`](Column::entity), then `source_id text`, `source_version text`, `changed_at timestamp`, `deleted boolean`.
#[derive(Debug)]
pub struct Contract {
    pub table: TableName,
    pub file: SqlFile,
    /// The declared columns in order; `system` is implied.
    pub columns: Vec<Column>,
    /// Declared key columns; `system` is implied in front.
    pub primary_key: Vec<String>,
}

#[derive(Debug, Clone)]
pub struct Column {
    pub name: String,
    /// `text` Utf8, `int` Int32, `bigint` Int64, `double` Float64, `boolean`, `date` Date32, `decimal(p,s)` Decimal128,
    /// `timestamp(6) with time zone` Timestamp(Microsecond, "UTC"). Nothing else is accepted.
    pub data_type: DataType,
    pub nullable: bool,
    /// `references erp.items` or `references xref.items`: the source's key is replaced by the hub's id from `xref.items` if that model exists,
    /// and kept beside it in `source_<column>`.
    pub references: Option<TableName>,
    /// The `--` comment on the column's line.
    pub description: String,
    /// Line in the contract's file, from 1.
    pub line: usize,
}

/// Reads one contract file. `None` where it is wrong, which is then among the problems.
pub(super) fn read(table: &TableName, file: &SqlFile, names: &Names, problems: &Problems) -> Option<Contract> {
    let found_before = problems.count();
    let reader = Reader { table, file, names, problems };
    if let Some(line) = header_line(&file.text) {
        reader.problem(line, "a contract has no `--!` header", Some("only models have one; use `--` for a comment".into()));
    }
    let (create, comments) = reader.statement()?;
    reader.check_name(&create.name);
    let mut columns: Vec<Column> = Vec::new();
    let mut primary_key: Vec<Ident> = Vec::new();
    for definition in &create.columns {
        let Some((column, is_key)) = reader.column(definition, &comments) else { continue };
        if let Some(first) = columns.iter().find(|other| other.name == column.name) {
            reader.problem(
                column.line,
                format!("column \"{}\" is declared twice (first in line {})", column.name, first.line),
                None,
            );
            continue;
        }
        if is_key {
            primary_key.push(definition.name.clone());
        }
        columns.push(column);
    }
    for constraint in &create.constraints {
        reader.constraint(constraint, &mut primary_key);
    }
    let primary_key = reader.primary_key(primary_key, &create, &mut columns);
    reader.check_kept_beside(&columns);
    if problems.count() > found_before {
        return None;
    }
    Some(Contract { table: table.clone(), file: file.clone(), columns, primary_key })
}

struct Reader<'a> {
    table: &'a TableName,
    file: &'a SqlFile,
    names: &'a Names,
    problems: &'a Problems,
}

impl Reader<'_> {
    fn problem(&self, line: usize, what: impl Into<String>, hint: Option<String>) {
        self.problems.at(&self.file.path, line.max(1), what, hint);
    }

    fn statement(&self) -> Option<(CreateTable, Comments)> {
        let (mut statements, comments) = match Parser::parse_sql_with_comments(&GenericDialect {}, &self.file.text) {
            Ok(parsed) => parsed,
            Err(error) => {
                let (message, line) = sql_error(&error);
                self.problem(line.unwrap_or(1), format!("not valid SQL: {message}"), None);
                return None;
            }
        };
        let hint = format!("a contract is one `create table {} (…)`", self.table.name);
        match (statements.pop(), statements.is_empty()) {
            (Some(Statement::CreateTable(create)), true) if create.query.is_none() => Some((create, comments)),
            (None, _) => {
                self.problem(1, "the file is empty", Some(hint));
                None
            }
            (Some(other), _) => {
                let line = other.span().start.line as usize;
                self.problem(line, "a contract holds one `create table` and nothing else", Some(hint));
                None
            }
        }
    }

    fn check_name(&self, name: &ObjectName) {
        let found = name.to_string();
        if found != self.table.name && found != self.table.to_string() {
            let hint = format!("write `create table {}`, or rename the file", self.table.name);
            self.problem(
                line_of(name),
                format!("the table is called \"{found}\", but the file's path says \"{}\"", self.table),
                Some(hint),
            );
        }
    }

    /// The column, and whether it says `primary key`.
    fn column(&self, definition: &ColumnDef, comments: &Comments) -> Option<(Column, bool)> {
        let name = identifier(&definition.name);
        let line = definition.name.span.start.line as usize;
        if IMPLIED.contains(&name.as_str()) {
            self.problem(line, format!("column \"{name}\" is in every contract and not declared"), Some("remove it".into()));
            return None;
        }
        let data_type = data_type(&definition.data_type);
        if data_type.is_none() {
            let what = format!("column \"{name}\": type {} is not supported", definition.data_type.to_string().to_lowercase());
            self.problem(line, what, Some(format!("use one of {TYPES}")));
        }
        let mut column = Column {
            name,
            data_type: data_type?,
            nullable: true,
            references: None,
            description: description(comments, line),
            line,
        };
        let mut is_key = false;
        for option in &definition.options {
            match &option.option {
                ColumnOption::Null => {}
                ColumnOption::NotNull => column.nullable = false,
                ColumnOption::PrimaryKey(_) => is_key = true,
                ColumnOption::ForeignKey(foreign) => column.references = self.reference(&column, &foreign.foreign_table),
                other => {
                    let what = format!("column \"{}\": \"{}\" is not supported", column.name, other.to_string().to_lowercase());
                    self.problem(line, what, Some("a column may say not null, primary key and references".into()));
                }
            }
        }
        Some((column, is_key))
    }

    fn reference(&self, column: &Column, target: &ObjectName) -> Option<TableName> {
        let text = target.to_string();
        let known: Vec<String> = self.names.tables().map(TableName::to_string).collect();
        let table = text.parse::<TableName>().ok().filter(|table| self.names.has_table(table));
        let Some(table) = table else {
            let hint = suggest(&text, "tables", known.iter().map(String::as_str));
            self.problem(
                line_of(target).max(column.line),
                format!("column \"{}\" references \"{text}\", which does not exist", column.name),
                hint,
            );
            return None;
        };
        let has_identity = self.names.models.contains(&TableName::new("xref", table.name.clone()));
        if has_identity && column.data_type != DataType::Utf8 {
            let what = format!("column \"{}\" holds an id of xref.{} and must be text", column.name, table.name);
            self.problem(column.line, what, Some("declare it as text; the map casts the source's key".into()));
        }
        Some(table)
    }

    fn constraint(&self, constraint: &TableConstraint, primary_key: &mut Vec<Ident>) {
        let line = constraint.span().start.line as usize;
        let TableConstraint::PrimaryKey(key) = constraint else {
            let what = format!("\"{constraint}\" is not supported");
            self.problem(line, what, Some("a contract may have one primary key; references stand beside their column".into()));
            return;
        };
        if !primary_key.is_empty() {
            self.problem(line, "the contract has two primary keys", Some("keep one".into()));
            return;
        }
        for part in &key.columns {
            match &part.column.expr {
                Expr::Identifier(column) => primary_key.push(column.clone()),
                other => self.problem(line, format!("primary key: \"{other}\" is not a column"), None),
            }
        }
    }

    fn primary_key(&self, declared: Vec<Ident>, create: &CreateTable, columns: &mut [Column]) -> Vec<String> {
        if declared.is_empty() {
            self.problem(line_of(&create.name), "the contract has no primary key", Some("end it with: primary key (…)".into()));
        }
        let mut key: Vec<String> = Vec::new();
        for column in declared {
            let (name, line) = (identifier(&column), column.span.start.line as usize);
            if key.contains(&name) {
                self.problem(line, format!("primary key: \"{name}\" stands there twice"), None);
            } else if name == "system" {
                self.problem(line, "primary key: \"system\" is implied", Some("remove it".into()));
            } else if create.columns.iter().any(|other| identifier(&other.name) == name) {
                key.push(name);
            } else {
                let hint = suggest(&name, "columns", columns.iter().map(|column| column.name.as_str()));
                self.problem(line, format!("primary key: there is no column \"{name}\""), hint);
            }
        }
        for column in columns.iter_mut().filter(|column| key.contains(&column.name)) {
            column.nullable = false;
        }
        key
    }

    /// A reference keeps the source's own value in `source_<column>`, which must not be declared as well.
    fn check_kept_beside(&self, columns: &[Column]) {
        for column in columns {
            let origin = column.name.strip_prefix("source_");
            if let Some(other) = columns.iter().find(|other| other.references.is_some() && Some(other.name.as_str()) == origin) {
                let what = format!("column \"{}\" is where the hub keeps the source's own \"{}\"", column.name, other.name);
                self.problem(column.line, what, Some("remove or rename it".into()));
            }
        }
    }
}

/// The name as SQL reads it: unquoted ones in lower case.
fn identifier(ident: &Ident) -> String {
    if ident.quote_style.is_some() { ident.value.clone() } else { ident.value.to_lowercase() }
}

fn line_of(name: &ObjectName) -> usize {
    name.span().start.line as usize
}

/// The `--` comment at the end of `line`.
fn description(comments: &Comments, line: usize) -> String {
    let line = line as u64;
    let found = comments.find(Location::new(line, 1)..Location::new(line + 1, 1)).find_map(|comment| match &comment.comment {
        Comment::SingleLine { content, .. } => Some(content.trim().to_owned()),
        _ => None,
    });
    found.unwrap_or_default()
}

fn data_type(declared: &SqlType) -> Option<DataType> {
    const DECIMAL_DIGITS_MAX: u64 = 38; // of Decimal128
    Some(match declared {
        SqlType::Text => DataType::Utf8,
        SqlType::Int(None) | SqlType::Integer(None) => DataType::Int32,
        SqlType::BigInt(None) => DataType::Int64,
        SqlType::Double(ExactNumberInfo::None) | SqlType::DoublePrecision => DataType::Float64,
        SqlType::Boolean => DataType::Boolean,
        SqlType::Date => DataType::Date32,
        SqlType::Decimal(ExactNumberInfo::PrecisionAndScale(precision, scale))
            if (1..=DECIMAL_DIGITS_MAX).contains(precision) && (0..=*precision as i64).contains(scale) =>
        {
            DataType::Decimal128(u8::try_from(*precision).ok()?, i8::try_from(*scale).ok()?)
        }
        SqlType::Timestamp(Some(6), TimezoneInfo::WithTimeZone) => DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())),
        _ => return None,
    })
}
