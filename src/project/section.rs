//! Reads TOML tables key by key, with the line of each value. What a reader never asked for is an unknown key.
//!
//! The same readers tell the JSON Schema of what they read ([`super::schema`]): a document that records has no values, and notes what it is asked for.
//!
//! This stands where derived types with `deny_unknown_fields` would: those stop at a file's first mistake, this finds all of them.

use std::cell::RefCell;
use std::path::Path;
use std::rc::Rc;

use serde::Deserialize;
use serde::de::IntoDeserializer;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::problems::{Problems, suggest};
use super::schema::{Accepts, Key, Shape};
use crate::base::{is_slip, nearest};

/// A TOML text and where it comes from.
pub(super) struct Document<'a> {
    path: &'a Path,
    text: &'a str,
    problems: &'a Problems,
    table: Spanned<DeTable<'a>>,
    first_line: usize,
    /// While recording: an empty text and an empty table, as values of keys that the user would choose.
    samples: [Spanned<DeValue<'a>>; 2],
}

/// A value and the line that it stands on, from 1.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Located<T> {
    pub value: T,
    pub line: usize,
}

/// One table of a document.
pub(super) struct Section<'a> {
    document: &'a Document<'a>,
    table: &'a DeTable<'a>,
    pub line: usize,
    /// `system "erp"`; empty for the document itself.
    name: String,
    asked: RefCell<Vec<&'static str>>,
    /// While recording: what was asked for so far.
    shape: Option<Rc<Shape>>,
}

/// One `key = value` of a table whose keys are names that the user chose.
pub(super) struct Entry<'a> {
    pub key: Located<String>,
    section: &'a Section<'a>,
    value: &'a Spanned<DeValue<'a>>,
    /// While recording: what was asked of the value.
    shape: Option<Rc<Key>>,
}

impl<'a> Document<'a> {
    /// `None` if the text is not TOML; every mistake is then among the problems. `first_line`: where a missing key of the document is reported.
    pub(super) fn parse(path: &'a Path, text: &'a str, first_line: usize, problems: &'a Problems) -> Option<Self> {
        let (table, errors) = DeTable::parse_recoverable(text);
        for error in &errors {
            let line = error.span().map_or(first_line, |span| line_of(text, span.start));
            let written =
                error.span().and_then(|span| text.get(span)).filter(|written| !written.is_empty() && !written.contains('\n'));
            let (what, hint) = match (error.message(), written) {
                ("duplicate key", Some(key)) => (format!("\"{key}\" stands twice"), Some("keep one".into())),
                (what, _) if what.starts_with("invalid basic string") => {
                    (format!("not valid TOML: {what}"), Some("close the text with \"".into()))
                }
                (what, _) => (format!("not valid TOML: {what}"), None),
            };
            problems.at(path, line, what, hint);
        }
        let sample = |value| Spanned::new(0..0, value);
        let samples = [sample(DeValue::String("".into())), sample(DeValue::Table(DeTable::new()))];
        errors.is_empty().then_some(Self { path, text, problems, table, first_line, samples })
    }

    pub(super) fn section(&'a self) -> Section<'a> {
        let shape = self.problems.recording.as_ref().map(|recording| recording.shape.clone());
        Section { shape, ..Section::new(self, self.table.get_ref(), self.first_line, String::new()) }
    }
}

fn line_of(text: &str, offset: usize) -> usize {
    1 + text.as_bytes()[..offset.min(text.len())].iter().filter(|byte| **byte == b'\n').count()
}

impl<'a> Section<'a> {
    fn new(document: &'a Document<'a>, table: &'a DeTable<'a>, line: usize, name: String) -> Self {
        Self { document, table, line, name, asked: RefCell::default(), shape: None }
    }

    /// Notes that `key` may be what `accepts` says, while recording.
    fn note(&self, key: &str, accepts: Option<Accepts>) -> Option<Rc<Key>> {
        let recording = self.document.problems.recording.as_ref()?;
        Some(self.shape.as_ref()?.note(key, accepts, recording))
    }

    fn recording(&self) -> bool {
        self.shape.is_some()
    }

    /// Reports something wrong in this section.
    pub(super) fn problem(&self, line: usize, what: impl std::fmt::Display, hint: Option<String>) {
        let what = if self.name.is_empty() { what.to_string() } else { format!("{}: {what}", self.name) };
        self.document.problems.at(self.document.path, line, what, hint);
    }

    fn line_at(&self, offset: usize) -> usize {
        line_of(self.document.text, offset)
    }

    fn value(&self, key: &'static str) -> Option<&'a Spanned<DeValue<'a>>> {
        self.asked.borrow_mut().push(key);
        self.note(key, None);
        self.table.iter().find(|(name, _)| name.get_ref() == key).map(|(_, value)| value)
    }

    /// Whether `key` is there at all; asking makes it known.
    pub(super) fn has(&self, key: &'static str) -> bool {
        let value = self.value(key);
        match &self.document.problems.recording {
            Some(recording) => recording.pass.present,
            None => value.is_some(),
        }
    }

    /// Reports `key` as missing if `value` is `None` because nothing was written at all.
    pub(super) fn required<T>(&self, key: &'static str, example: &str, value: Option<T>) -> Option<T> {
        if let (Some(noted), Some(recording)) = (self.note(key, None), &self.document.problems.recording) {
            noted.require(recording);
            return value;
        }
        // A key that is only misspelled is told as that.
        let misspelled = || self.table.keys().any(|other| is_slip(other.get_ref(), key));
        if value.is_none() && !self.has(key) && !misspelled() {
            self.problem(self.line, format!("\"{key}\" is missing"), Some(format!("add {key} = {example}")));
        }
        value
    }

    fn wrong_type(&self, key: &str, value: &Spanned<DeValue>, expected: &str) {
        let found = match value.get_ref().type_str() {
            "string" => "text",
            "array" => "a list",
            "integer" => "an integer",
            "float" => "a number",
            "boolean" => "true or false",
            "table" => "a table",
            other => other,
        };
        let span = value.span();
        let is_number = matches!(value.get_ref(), DeValue::Integer(_) | DeValue::Float(_));
        let found = match self.document.text.get(span.clone()) {
            Some(written) if is_number && expected.contains("number") => written, // the right type and still not acceptable
            _ => found,
        };
        let text = value.get_ref().as_str().filter(|_| expected.starts_with("a list"));
        let hint = text.map(|text| format!("write {key} = [\"{text}\"]"));
        self.problem(self.line_at(span.start), format!("\"{key}\" must be {expected}, not {found}"), hint);
    }

    pub(super) fn text(&self, key: &'static str) -> Option<Located<String>> {
        self.note(key, Some(Accepts::Text));
        let value = self.value(key)?;
        self.text_of(key, value)
    }

    fn text_of(&self, key: &str, value: &Spanned<DeValue>) -> Option<Located<String>> {
        let line = self.line_at(value.span().start);
        match value.get_ref().as_str() {
            Some("") => {
                self.problem(line, format!("\"{key}\" is empty"), None);
                None
            }
            Some(text) => Some(Located { value: text.to_owned(), line }),
            None => {
                self.wrong_type(key, value, "text");
                None
            }
        }
    }

    /// Text that `parse` understands; its message becomes the problem.
    pub(super) fn parsed<T>(&self, key: &'static str, parse: impl Fn(&str) -> Result<T, String>) -> Option<Located<T>> {
        let Located { value, line } = self.text(key)?;
        match parse(&value) {
            Ok(value) => Some(Located { value, line }),
            Err(message) => {
                self.problem(line, format!("{key}: {message}"), None);
                None
            }
        }
    }

    /// One of the words of `T`, an enum without fields.
    pub(super) fn word<T: for<'de> Deserialize<'de>>(&self, key: &'static str) -> Option<T> {
        if self.recording() {
            self.note(key, word::<T>("").err().map(Accepts::Words));
            return None;
        }
        let text = self.text(key)?;
        self.word_of(key, &text)
    }

    pub(super) fn word_of<T: for<'de> Deserialize<'de>>(&self, key: &str, text: &Located<String>) -> Option<T> {
        match word(&text.value) {
            Ok(word) => Some(word),
            Err(known) => {
                let hint = nearest(&text.value, known.iter().copied()).map(|near| format!("did you mean \"{near}\"?"));
                self.problem(text.line, format!("{key}: \"{}\" is not one of {}", text.value, known.join(", ")), hint);
                None
            }
        }
    }

    /// A list of texts, each at most once.
    pub(super) fn texts(&self, key: &'static str) -> Option<Vec<Located<String>>> {
        self.note(key, Some(Accepts::List(Key::text())));
        let value = self.value(key)?;
        let Some(array) = value.get_ref().as_array() else {
            self.wrong_type(key, value, "a list of texts");
            return None;
        };
        let mut texts: Vec<Located<String>> = Vec::new();
        for item in array.iter() {
            let text = self.text_of(key, item)?;
            if texts.iter().any(|other| other.value == text.value) {
                self.problem(text.line, format!("\"{}\" stands twice in \"{key}\"", text.value), Some("keep one".into()));
            } else {
                texts.push(text);
            }
        }
        Some(texts)
    }

    /// A list of at least one text.
    pub(super) fn some_texts(&self, key: &'static str) -> Option<Vec<Located<String>>> {
        let texts = self.texts(key)?;
        if texts.is_empty() {
            self.problem(self.line, format!("\"{key}\" is empty"), Some("name at least one".into()));
        }
        (!texts.is_empty()).then_some(texts)
    }

    /// One text, or a list of at least one.
    pub(super) fn one_or_more(&self, key: &'static str) -> Option<Vec<Located<String>>> {
        self.note(key, Some(Accepts::Text));
        self.note(key, Some(Accepts::List(Key::text())));
        let value = self.value(key)?;
        if value.get_ref().is_str() { self.text_of(key, value).map(|text| vec![text]) } else { self.some_texts(key) }
    }

    /// A list whose items are texts or tables.
    pub(super) fn items(&'a self, key: &'static str) -> Vec<Entry<'a>> {
        if let Some(noted) = self.note(key, Some(Accepts::List(Rc::default()))) {
            return self.samples(noted.items());
        }
        let Some(value) = self.value(key) else { return Vec::new() };
        let Some(array) = value.get_ref().as_array() else {
            self.wrong_type(key, value, "a list");
            return Vec::new();
        };
        let entry = |item: &'a Spanned<DeValue<'a>>| {
            let key = Located { value: key.to_owned(), line: self.line_at(item.span().start) };
            Entry { key, section: self, value: item, shape: None }
        };
        array.iter().map(entry).collect()
    }

    pub(super) fn count(&self, key: &'static str) -> Option<Located<u64>> {
        self.note(key, Some(Accepts::Count));
        let value = self.value(key)?;
        let count = value.get_ref().as_integer().and_then(|integer| u64::from_str_radix(integer.as_str(), integer.radix()).ok());
        if count.is_none() {
            self.wrong_type(key, value, "a whole number from 0");
        }
        count.map(|count| Located { value: count, line: self.line_at(value.span().start) })
    }

    pub(super) fn flag(&self, key: &'static str) -> Option<bool> {
        self.note(key, Some(Accepts::Flag));
        let value = self.value(key)?;
        let flag = value.get_ref().as_bool();
        if flag.is_none() {
            self.wrong_type(key, value, "true or false");
        }
        flag
    }

    pub(super) fn number(&self, key: &'static str) -> Option<f64> {
        self.note(key, Some(Accepts::Number));
        let value = self.value(key)?;
        let number = match value.get_ref() {
            DeValue::Integer(integer) => integer.as_str().parse().ok(),
            DeValue::Float(float) => float.as_str().parse().ok(),
            _ => None,
        };
        let finite = number.filter(|number: &f64| number.is_finite());
        if finite.is_none() {
            self.wrong_type(key, value, "a finite number");
        }
        finite
    }

    /// The line of `key` if its value is text, where a table is expected.
    pub(super) fn line_of_text(&self, key: &'static str) -> Option<usize> {
        if let Some(recording) = &self.document.problems.recording {
            return recording.pass.text.then_some(1);
        }
        self.value(key).filter(|value| value.get_ref().is_str()).map(|value| self.line_at(value.span().start))
    }

    pub(super) fn table(&'a self, key: &'static str) -> Option<Section<'a>> {
        if let Some(noted) = self.note(key, Some(Accepts::Table(Rc::default()))) {
            return Some(self.sample(noted.table()));
        }
        let value = self.value(key)?;
        let line = self.line_at(value.span().start);
        let DeValue::Table(table) = value.get_ref() else {
            self.wrong_type(key, value, "a table");
            return None;
        };
        let name = if self.name.is_empty() { key.to_owned() } else { format!("{}, {key}", self.name) };
        Some(Section::new(self.document, table, line, name))
    }

    /// All `name = …` of the table `key`, in the order of the names; empty if there is none.
    pub(super) fn entries(&'a self, key: &'static str) -> Vec<Entry<'a>> {
        if let Some(noted) = self.note(key, Some(Accepts::Map(Rc::default()))) {
            return self.samples(noted.values());
        }
        let Some(value) = self.value(key) else { return Vec::new() };
        let DeValue::Table(table) = value.get_ref() else {
            self.wrong_type(key, value, "a table");
            return Vec::new();
        };
        let entry = |(key, value): (&'a Spanned<toml::de::DeString<'a>>, &'a Spanned<DeValue<'a>>)| Entry {
            key: Located { value: key.get_ref().to_string(), line: self.line_at(key.span().start) },
            section: self,
            value,
            shape: None,
        };
        table.iter().map(entry).collect()
    }

    /// Whether every key was asked for.
    pub(super) fn knows_all(&self) -> bool {
        let asked = self.asked.borrow();
        self.table.keys().all(|key| asked.iter().any(|name| key.get_ref() == name))
    }

    /// A section without keys that records what is asked of it.
    fn sample(&self, shape: Rc<Shape>) -> Section<'a> {
        Section { shape: Some(shape), ..Section::new(self.document, self.document.table.get_ref(), self.line, String::new()) }
    }

    /// A text and a table in place of what the user would write.
    fn samples(&'a self, shape: Rc<Key>) -> Vec<Entry<'a>> {
        let key = || Located { value: "name".to_owned(), line: self.line };
        self.document.samples.iter().map(|value| Entry { key: key(), section: self, value, shape: Some(shape.clone()) }).collect()
    }

    /// Reports every key that no reader asked for.
    pub(super) fn finish(self) {
        let asked = self.asked.borrow();
        for (key, _) in self.table.iter().filter(|(key, _)| !asked.iter().any(|name| key.get_ref() == name)) {
            let hint = suggest(key.get_ref(), "keys", asked.iter().copied());
            self.problem(self.line_at(key.span().start), format!("unknown key \"{}\"", key.get_ref()), hint);
        }
    }
}

impl<'a> Entry<'a> {
    pub(super) fn text(&self) -> Option<Located<String>> {
        if let Some(shape) = self.shape.as_ref().filter(|_| self.is_text()) {
            shape.accept(Accepts::Text);
        }
        self.section.text_of(&self.key.value, self.value)
    }

    /// A list of at least one text, number or truth value, as they are written.
    pub(super) fn values(&self) -> Option<Vec<String>> {
        if let Some(shape) = &self.shape {
            let items = Key::text();
            items.accept(Accepts::Number);
            items.accept(Accepts::Flag);
            shape.accept(Accepts::List(items));
            return None;
        }
        let value = |item: &Spanned<DeValue<'a>>| match item.get_ref() {
            DeValue::String(text) => Some(text.to_string()),
            DeValue::Integer(integer) => Some(integer.as_str().to_owned()),
            DeValue::Float(float) => Some(float.as_str().to_owned()),
            DeValue::Boolean(truth) => Some(truth.to_string()),
            _ => None,
        };
        let values = self.value.get_ref().as_array().and_then(|items| items.iter().map(value).collect::<Option<Vec<_>>>());
        let values = values.filter(|values| !values.is_empty());
        if values.is_none() {
            self.section.wrong_type(&self.key.value, self.value, "a list of values");
        }
        values
    }

    pub(super) fn is_text(&self) -> bool {
        self.value.get_ref().is_str()
    }

    /// The value as a section that messages call `kind "key"`, or `key` alone where `kind` is empty.
    pub(super) fn section(&self, kind: &str) -> Option<Section<'a>> {
        let DeValue::Table(table) = self.value.get_ref() else {
            self.section.wrong_type(&self.key.value, self.value, "a table");
            return None;
        };
        if let Some(shape) = &self.shape {
            shape.accept(Accepts::Table(Rc::default()));
            return Some(self.section.sample(shape.table()));
        }
        let name = if kind.is_empty() { self.key.value.clone() } else { format!("{kind} \"{}\"", self.key.value) };
        Some(Section::new(self.section.document, table, self.key.line, name))
    }
}

/// Reads an enum without fields; the error is all its words.
pub(super) fn word<T: for<'de> Deserialize<'de>>(text: &str) -> Result<T, &'static [&'static str]> {
    let deserializer: serde::de::value::StrDeserializer<'_, UnknownWord> = text.into_deserializer();
    T::deserialize(deserializer).map_err(|error| error.0)
}

/// Keeps the words that serde would have accepted.
#[derive(Debug)]
struct UnknownWord(&'static [&'static str]);

impl std::fmt::Display for UnknownWord {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "not one of {}", self.0.join(", "))
    }
}

impl std::error::Error for UnknownWord {}

impl serde::de::Error for UnknownWord {
    fn custom<T: std::fmt::Display>(_message: T) -> Self {
        Self(&[])
    }

    fn unknown_variant(_variant: &str, expected: &'static [&'static str]) -> Self {
        Self(expected)
    }
}
