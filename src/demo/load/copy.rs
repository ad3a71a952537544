//! Rows on their way to a server: the text format of PostgreSQL's COPY, one buffer for each table.

use super::sqlite::stamp_value;
use super::{Kind, Sink, Table, Value, ddl, text};
use crate::demo::DemoError;
use crate::demo::calendar::Seconds;

/// The rows of one table.
pub struct Copy {
    pub table: &'static Table,
    pub text: String,
    /// Conditions for rows that are gone.
    pub gone: Vec<String>,
    columns: Vec<(&'static str, Kind)>,
    version: i64,
}

/// Collects rows; `versions` has the highest row version of each table so far.
#[derive(Default)]
pub struct CopyBuffer {
    pub copies: Vec<Copy>,
    pub versions: std::collections::BTreeMap<&'static str, i64>,
    pub rows: u64,
}

impl CopyBuffer {
    /// An empty buffer that numbers its rows from where `other` stands.
    pub fn after(other: &Self) -> Self {
        Self { copies: Vec::new(), versions: other.versions.clone(), rows: 0 }
    }

    /// Goes on from where `other`, which was loaded, stands.
    pub fn go_on(&mut self, other: Self) {
        self.versions = other.versions;
        self.rows += other.rows;
    }
}

impl Copy {
    /// The rows as lists of SQL literals for MySQL, `('1', null, 'x'), (…)`, each list about `bytes_max` long: its literals have the escapes of
    /// this format, and its instants no zone.
    pub fn literals(&self, bytes_max: usize) -> impl Iterator<Item = String> {
        let mut lines = self.text.lines();
        std::iter::from_fn(move || {
            let mut out = String::new();
            while out.len() < bytes_max
                && let Some(line) = lines.next()
            {
                out.push_str(if out.is_empty() { "(" } else { ", (" });
                for (at, (field, (_, kind))) in line.split('\t').zip(&self.columns).enumerate() {
                    out.push_str(if at > 0 { ", " } else { "" });
                    match field {
                        "\\N" => out.push_str("null"),
                        field => {
                            let field = if *kind == Kind::Zoned { field.trim_end_matches('Z') } else { field };
                            out.push('\'');
                            out.push_str(&field.replace('\'', "''"));
                            out.push('\'');
                        }
                    }
                }
                out.push(')');
            }
            (!out.is_empty()).then_some(out)
        })
    }
}

impl Sink for CopyBuffer {
    fn table(&mut self, table: &'static Table) -> Result<(), DemoError> {
        let version = self.versions.get(table.name).copied().unwrap_or(0);
        self.copies.push(Copy { table, text: String::new(), gone: Vec::new(), columns: ddl::columns(table), version });
        Ok(())
    }

    fn row(&mut self, changed: Seconds, values: &[Value<'_>]) -> Result<(), DemoError> {
        let Some(copy) = self.copies.last_mut() else { return Ok(()) };
        self.rows += 1;
        debug_assert_eq!(values.len(), copy.table.columns.len(), "{}", copy.table.name);
        for (value, (_, kind)) in values.iter().zip(&copy.columns) {
            push(&mut copy.text, value, *kind, false);
        }
        if let Some(stamp) = copy.table.stamp {
            copy.version += 1;
            self.versions.insert(copy.table.name, copy.version);
            push(&mut copy.text, &stamp_value(stamp, changed, copy.version), stamp.kind(), true);
        }
        copy.text.pop();
        copy.text.push('\n');
        Ok(())
    }

    fn remove(&mut self, key: &[Value<'_>]) -> Result<(), DemoError> {
        let Some(copy) = self.copies.last_mut() else { return Ok(()) };
        let conditions: Vec<String> = copy
            .table
            .key
            .iter()
            .zip(key)
            .map(|(column, value)| {
                let mut literal = String::new();
                text::push(&mut literal, value, Kind::Text, false);
                format!("{} = '{}'", ddl::quoted(column), literal.replace('\'', "''"))
            })
            .collect();
        copy.gone.push(conditions.join(" and "));
        Ok(())
    }
}

fn push(out: &mut String, value: &Value<'_>, kind: Kind, fine: bool) {
    match value {
        Value::Null => out.push_str("\\N"),
        Value::Text(text) if text.contains(['\\', '\t', '\n', '\r']) => {
            for c in text.chars() {
                match c {
                    '\\' => out.push_str("\\\\"),
                    '\t' => out.push_str("\\t"),
                    '\n' => out.push_str("\\n"),
                    '\r' => out.push_str("\\r"),
                    c => out.push(c),
                }
            }
        }
        value => text::push(out, value, kind, fine),
    }
    out.push('\t');
}
