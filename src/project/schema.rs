//! JSON Schemas of the files that a user writes, for editors that complete and check them.
//!
//! They are made from the readers themselves: a recording document has no values and notes which keys it is asked for, as what. Readers are called a few
//! times, so that both sides of what depends on a key being there are seen. What a key means is in `keys.toml`; a test holds the two together.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::rc::Rc;

use serde_json::{Map, Value, json};

use super::files::ConnectorFiles;
use super::names::Names;
use super::problems::Problems;
use super::{SqlFile, connector, model, pipeline, settings};
use crate::base::TableName;

/// The kinds of files that have a schema: name, and the glob of the files that it is for.
pub const SCHEMAS: [(&str, &str); 4] = [
    ("loopline", "loopline.toml"),
    ("connector", "connectors/*/connector.toml"),
    ("pipeline", "pipelines/*.toml"),
    ("model", "sql/**/*.sql"), // the lines that start with --!
];

/// What each key means: `"pipeline.schedule.cron" = "…"`; `*` stands for a name that the user chooses.
const KEYS: &str = include_str!("keys.toml");

/// What a reader is told while it is recorded.
#[derive(Debug, Clone, Copy)]
pub(super) struct Pass {
    /// Whether a key that is asked about is there.
    pub present: bool,
    /// Whether a value that may be text or a table is text.
    pub text: bool,
    bit: u8,
}

const PASSES: [Pass; 3] = [
    Pass { present: true, text: false, bit: 1 },
    Pass { present: true, text: true, bit: 2 },
    Pass { present: false, text: false, bit: 4 },
];

pub(super) struct Recording {
    pub shape: Rc<Shape>,
    pub pass: Pass,
}

/// The keys of a table.
#[derive(Default)]
pub(super) struct Shape(RefCell<BTreeMap<String, Rc<Key>>>);

/// What may stand behind a key.
#[derive(Default)]
pub(super) struct Key {
    accepts: RefCell<Vec<Accepts>>,
    /// Passes in which it was asked for, and in which it had to be there.
    asked: Cell<u8>,
    required: Cell<u8>,
}

pub(super) enum Accepts {
    Text,
    Words(&'static [&'static str]),
    Count,
    Number,
    Flag,
    /// Of what its items may be.
    List(Rc<Key>),
    Table(Rc<Shape>),
    /// Names that the user chooses, each with what its value may be.
    Map(Rc<Key>),
}

impl Shape {
    pub fn note(&self, key: &str, accepts: Option<Accepts>, recording: &Recording) -> Rc<Key> {
        let key = self.0.borrow_mut().entry(key.to_owned()).or_default().clone();
        key.asked.set(key.asked.get() | recording.pass.bit);
        if let Some(accepts) = accepts {
            key.accept(accepts);
        }
        key
    }

    fn schema(&self, path: &str, texts: &BTreeMap<String, String>) -> Value {
        let keys = self.0.borrow();
        let properties: Map<String, Value> =
            keys.iter().map(|(name, key)| (name.clone(), key.schema(&format!("{path}.{name}"), texts))).collect();
        let required: Vec<&String> = keys.iter().filter(|(_, key)| key.is_required()).map(|(name, _)| name).collect();
        json!({ "type": "object", "properties": properties, "required": required, "additionalProperties": false })
    }
}

impl Key {
    pub fn text() -> Rc<Self> {
        let key = Self::default();
        key.accept(Accepts::Text);
        Rc::new(key)
    }

    /// Adds a kind of value; what is known of a list, table or map is kept.
    pub fn accept(&self, accepts: Accepts) {
        let same = |known: &Accepts| std::mem::discriminant(known) == std::mem::discriminant(&accepts);
        if !self.accepts.borrow().iter().any(same) {
            self.accepts.borrow_mut().push(accepts);
        }
    }

    pub fn require(&self, recording: &Recording) {
        self.required.set(self.required.get() | recording.pass.bit);
    }

    fn is_required(&self) -> bool {
        self.required.get() != 0 && self.required.get() == self.asked.get()
    }

    fn find<T>(&self, pick: impl Fn(&Accepts) -> Option<T>) -> Option<T> {
        self.accepts.borrow().iter().find_map(pick)
    }

    /// The keys of the table that the value may be.
    pub fn table(&self) -> Rc<Shape> {
        self.find(|known| if let Accepts::Table(shape) = known { Some(shape.clone()) } else { None }).unwrap_or_default()
    }

    pub fn items(&self) -> Rc<Self> {
        self.find(|known| if let Accepts::List(items) = known { Some(items.clone()) } else { None }).unwrap_or_default()
    }

    pub fn values(&self) -> Rc<Self> {
        self.find(|known| if let Accepts::Map(values) = known { Some(values.clone()) } else { None }).unwrap_or_default()
    }

    fn schema(&self, path: &str, texts: &BTreeMap<String, String>) -> Value {
        let accepts = self.accepts.borrow();
        let words = accepts.iter().any(|known| matches!(known, Accepts::Words(_)));
        let one = |known: &Accepts| match known {
            Accepts::Text => json!({ "type": "string", "minLength": 1 }),
            Accepts::Words(words) => json!({ "enum": words }),
            Accepts::Count => json!({ "type": "integer", "minimum": 0 }),
            Accepts::Number => json!({ "type": "number" }),
            Accepts::Flag => json!({ "type": "boolean" }),
            Accepts::List(items) => json!({ "type": "array", "items": items.schema(path, texts) }),
            Accepts::Table(shape) => shape.schema(path, texts),
            Accepts::Map(values) => {
                json!({ "type": "object", "additionalProperties": values.schema(&format!("{path}.*"), texts) })
            }
        };
        // A text of which the words are known is no other text.
        let mut kinds: Vec<Value> = accepts.iter().filter(|known| !(words && matches!(known, Accepts::Text))).map(one).collect();
        let mut schema = match kinds.len() {
            0 => json!({}),
            1 => kinds.remove(0),
            _ => json!({ "anyOf": kinds }),
        };
        if let Some(text) = texts.get(path) {
            schema["description"] = text.as_str().into();
        }
        schema
    }
}

/// The JSON Schema (draft 7, which editors of TOML understand) of one kind of file; `None` if there is no such kind.
pub fn schema(name: &str) -> Option<Value> {
    let shape = recorded(name)?;
    let mut schema = shape.schema(name, &texts());
    schema["$schema"] = "http://json-schema.org/draft-07/schema#".into();
    schema["title"] = format!("Loopline: {}", SCHEMAS.iter().find(|(known, _)| *known == name)?.1).into();
    Some(schema)
}

/// What each key means, by its path.
fn texts() -> BTreeMap<String, String> {
    toml::from_str(KEYS).unwrap_or_default()
}

fn recorded(name: &str) -> Option<Rc<Shape>> {
    let shape = Rc::<Shape>::default();
    for pass in PASSES {
        let problems = Problems::recording(Recording { shape: shape.clone(), pass });
        let names = Names::default();
        let file = |text: &str| SqlFile { path: PathBuf::new(), text: text.to_owned() };
        match name {
            "loopline" => {
                let connectors = BTreeMap::new();
                let context =
                    settings::Context { root: Path::new(""), names: &names, connectors: &connectors, problems: &problems };
                settings::read(&file(""), &context);
            }
            "connector" => {
                let files = ConnectorFiles { toml: Some(file("")), sql: BTreeMap::new() };
                drop(connector::read("", &files, &names, &problems));
            }
            "pipeline" => drop(pipeline::read("", &file(""), None, &BTreeSet::new(), &names, &problems)),
            "model" => drop(model::read(&TableName::new("scm", ""), &file("--!\n"), &problems)),
            _ => return None,
        }
    }
    Some(shape)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn paths_of_value(key: &Key, path: &str, found: &mut BTreeSet<String>) {
        for known in key.accepts.borrow().iter() {
            match known {
                Accepts::Table(shape) => paths(shape, path, found),
                Accepts::List(items) => paths_of_value(items, path, found),
                Accepts::Map(values) => paths_of_value(values, &format!("{path}.*"), found),
                _ => {}
            }
        }
    }

    fn paths(shape: &Shape, path: &str, found: &mut BTreeSet<String>) {
        for (name, key) in shape.0.borrow().iter() {
            let path = format!("{path}.{name}");
            paths_of_value(key, &path, found);
            found.insert(path);
        }
    }

    #[test]
    fn every_key_that_a_reader_asks_for_is_described_and_no_other() {
        let mut asked = BTreeSet::new();
        for (name, _) in SCHEMAS {
            paths(&recorded(name).unwrap(), name, &mut asked);
        }
        let described: BTreeSet<String> = toml::from_str::<BTreeMap<String, String>>(KEYS).unwrap().into_keys().collect();
        let missing: Vec<&String> = asked.difference(&described).collect();
        let unknown: Vec<&String> = described.difference(&asked).collect();
        assert!(
            missing.is_empty() && unknown.is_empty(),
            "not in keys.toml: {missing:#?}\nin keys.toml, but never read: {unknown:#?}"
        );
    }

    #[test]
    fn a_schema_says_what_a_key_may_be_and_whether_it_must_be_there() {
        let schema = schema("pipeline").unwrap();
        let schedule = &schema["properties"]["schedule"];
        assert_eq!(schedule["required"], json!([])); // cron needs a zone, but there are other reasons to run
        assert_eq!(schedule["properties"]["retries"]["required"], json!(["count"]));
        assert_eq!(schedule["properties"]["missed"]["enum"], json!(["run-once", "skip"]));
        assert_eq!(schedule["additionalProperties"], json!(false));
        assert_eq!(schema["properties"]["pull"]["items"]["type"], "string");
        let rule = &schema["properties"]["write"]["additionalProperties"]["anyOf"];
        assert_eq!((&rule[0]["type"], &rule[1]["required"]), (&json!("string"), &json!(["mode"])));
        let stream = &super::schema("connector").unwrap()["properties"]["stream"]["additionalProperties"];
        assert_eq!(stream.get("required"), Some(&json!([]))); // a stream of files needs no key
        assert!(super::schema("pipelines").is_none());
    }
}
