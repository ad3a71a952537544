//! Selectors: which tables a command or a pipeline means.
//!
//! | selector | means |
//! |---|---|
//! | `scm`, `scm.*`, `scm.supply`, `*.items` | a schema, a table, every table that fits the pattern |
//! | `tag:nightly` | models whose header has `tags = ["nightly"]` |
//! | `changed` | tables whose own statement is not the published one's, and new ones |
//! | `+x`, `x+` | also everything that x needs, that needs x |
//! | `!x` | all of that left out again |
//!
//! Several are a union; only `!` ones mean all tables but those. One syntax for commands and pipelines; `model` finds the tables.

use std::fmt;

use super::problems::suggest;
use crate::base::TableName;

/// One selector, as it was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Selector {
    text: String,
    pub excludes: bool,
    /// Whether everything that the tables need belongs to it.
    pub upstream: bool,
    /// Whether everything that needs the tables belongs to it.
    pub downstream: bool,
    pub tables: Tables,
}

/// What a selector names, before its `+`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Tables {
    Changed,
    Tag(String),
    /// Schema and name; `*` stands for any characters.
    Like(String, String),
}

/// A selector that means nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SelectorProblem {
    pub what: String,
    pub hint: Option<String>,
}

const SYNTAX: &str = "a selector is scm, scm.supply, scm.*, tag:nightly or changed, with + before or after it and ! before all";

impl Selector {
    pub fn parse(text: &str) -> Result<Self, SelectorProblem> {
        let refuse = || SelectorProblem { what: format!("\"{text}\" is not a selector"), hint: Some(SYNTAX.into()) };
        let (excludes, rest) = text.trim().strip_prefix('!').map_or((false, text.trim()), |rest| (true, rest));
        let (upstream, rest) = rest.strip_prefix('+').map_or((false, rest), |rest| (true, rest));
        let (downstream, rest) = rest.strip_suffix('+').map_or((false, rest), |rest| (true, rest));
        let is_word =
            |text: &str| !text.is_empty() && text.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '*'));
        let tables = match (rest, rest.split_once(':'), rest.split_once('.')) {
            ("changed", ..) => Tables::Changed,
            (_, Some(("tag", tag)), _) if is_word(tag) => Tables::Tag(tag.into()),
            (_, None, Some((schema, name))) if is_word(schema) && is_word(name) => Tables::Like(schema.into(), name.into()),
            (schema, None, None) if is_word(schema) => Tables::Like(schema.into(), "*".into()),
            _ => return Err(refuse()),
        };
        Ok(Self { text: text.trim().into(), excludes, upstream, downstream, tables })
    }

    /// The same, to be left out.
    pub fn exclude(text: &str) -> Result<Self, SelectorProblem> {
        Ok(Self { excludes: true, ..Self::parse(text)? })
    }

    /// What is wrong with it in a project that has these tables and tags; `None` if it names something.
    pub fn problem<'a>(
        &self,
        tables: impl Iterator<Item = &'a TableName> + Clone,
        tags: impl Iterator<Item = &'a str> + Clone,
    ) -> Option<SelectorProblem> {
        let (what, hint) = match &self.tables {
            Tables::Changed => return None,
            Tables::Tag(tag) if tags.clone().any(|known| known == tag) => return None,
            Tables::Tag(tag) => (format!("there is no tag \"{tag}\""), suggest(tag, "tags", tags)),
            like if tables.clone().any(|table| like.has(table)) => return None,
            like => {
                let wanted = like.to_string();
                let tables: Vec<String> = match wanted.contains('.') {
                    true => tables.map(TableName::to_string).collect(),
                    false => tables.map(|table| table.schema.clone()).collect(),
                };
                let kind = if wanted.contains('.') { "tables" } else { "schemas" };
                (format!("there is no schema or table \"{wanted}\""), suggest(&wanted, kind, tables.iter().map(String::as_str)))
            }
        };
        Some(SelectorProblem { what, hint })
    }
}

impl Tables {
    /// Whether the name alone says that `table` is meant.
    pub fn has(&self, table: &TableName) -> bool {
        matches!(self, Self::Like(schema, name) if like(schema, &table.schema) && like(name, &table.name))
    }
}

/// Whether `text` fits `pattern`, in which `*` stands for any characters.
fn like(pattern: &str, text: &str) -> bool {
    match pattern.split_once('*') {
        None => pattern == text,
        Some((start, rest)) => {
            let Some(left) = text.strip_prefix(start) else { return false };
            (0..=left.len()).filter_map(|at| left.get(at..)).any(|left| like(rest, left))
        }
    }
}

impl fmt::Display for Selector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl fmt::Display for Tables {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Changed => f.write_str("changed"),
            Self::Tag(tag) => f.write_str(tag),
            Self::Like(schema, name) if name == "*" => f.write_str(schema),
            Self::Like(schema, name) => write!(f, "{schema}.{name}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> String {
        match Selector::parse(text) {
            Ok(Selector { excludes, upstream, downstream, tables, .. }) => {
                let signs = [(excludes, "not"), (upstream, "up"), (downstream, "down")];
                let signs: Vec<&str> = signs.iter().filter(|(is, _)| *is).map(|(_, name)| *name).collect();
                format!("{tables:?} {}", signs.join(" "))
            }
            Err(problem) => problem.what,
        }
    }

    #[test]
    fn selectors_are_read() {
        for (text, expected) in [
            ("scm", r#"Like("scm", "*") "#),
            ("+aps.schedule", r#"Like("aps", "schedule") up"#),
            ("aps.schedule+", r#"Like("aps", "schedule") down"#),
            ("!+*.items+", r#"Like("*", "items") not up down"#),
            (" changed+ ", "Changed down"),
            ("tag:nightly", r#"Tag("nightly") "#),
            ("", "\"\" is not a selector"),
            ("+", "\"+\" is not a selector"),
            ("tag:", "\"tag:\" is not a selector"),
            ("tags:x", "\"tags:x\" is not a selector"),
            ("a.b.c", "\"a.b.c\" is not a selector"),
            ("scm; drop", "\"scm; drop\" is not a selector"),
            ("+!scm", "\"+!scm\" is not a selector"),
        ] {
            assert_eq!(read(text), expected, "{text}");
        }
    }

    #[test]
    fn stars_stand_for_any_characters() {
        for (pattern, text, fits) in [
            ("*", "", true),
            ("a*", "abc", true),
            ("*c", "abc", true),
            ("a*b*c", "axxbyyc", true),
            ("a*b*c", "axxcyyb", false),
            ("a**", "a", true),
            ("a", "ab", false),
            ("*ä", "ßä", true),
        ] {
            assert_eq!(like(pattern, text), fits, "{pattern} {text}");
        }
    }

    #[test]
    fn what_names_nothing_gets_the_nearest_name() {
        let tables: Vec<TableName> =
            ["scm.supply", "scm.demand_plan", "aps.schedule"].iter().map(|name| name.parse().unwrap()).collect();
        for (text, expected) in [
            ("+scm.suply", "there is no schema or table \"scm.suply\"; did you mean \"scm.supply\"?"),
            ("wms", "there is no schema or table \"wms\"; known schemas: aps, scm"),
            ("!scm.x*+", "there is no schema or table \"scm.x*\"; known tables: aps.schedule, scm.demand_plan, scm.supply"),
            ("tag:nigthly", "there is no tag \"nigthly\"; did you mean \"nightly\"?"),
            ("scm.dem*", ""),
            ("changed", ""),
        ] {
            let found = Selector::parse(text).unwrap().problem(tables.iter(), ["nightly", "slow"].into_iter());
            let found = found.map(|problem| format!("{}; {}", problem.what, problem.hint.unwrap_or_default()));
            assert_eq!(found.unwrap_or_default(), expected, "{text}");
        }
    }
}
