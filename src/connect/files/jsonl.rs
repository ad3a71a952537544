//! JSON lines: one object in each line. Text is its text; every other value, also a list or an object, is the JSON as it stands in the file.

use std::collections::{HashMap, HashSet};
use std::fmt;

use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;

use super::place::Pinned;
use super::rows::{Cell, FileColumns, Rows, check_name};
use super::text::Buffer;
use crate::connect::ConnectError;

const HINT: &str = "write one JSON object in each line, without line ends inside of it";

/// Splits the bytes of one file into lines.
struct Lines {
    buffer: Buffer,
    /// How much of the current line was searched for its end.
    searched: usize,
}

impl Lines {
    fn new() -> Self {
        Self { buffer: Buffer::new(), searched: 0 }
    }

    /// Hands every object that is complete by now to `take`.
    fn push(
        &mut self,
        bytes: Option<&[u8]>,
        file: &Pinned,
        mut take: impl FnMut(u64, Object<'_>) -> Result<(), ConnectError>,
    ) -> Result<(), ConnectError> {
        self.buffer.push(bytes, file)?;
        loop {
            let rest = self.buffer.rest();
            let found = rest[self.searched..].iter().position(|byte| *byte == b'\n').map(|at| self.searched + at);
            let length = match found {
                Some(length) => length,
                None if self.buffer.is_end() && !rest.is_empty() => rest.len(),
                None => {
                    self.searched = rest.len();
                    return self.buffer.check_length(file);
                }
            };
            let line = self.buffer.line;
            let text = self.buffer.text(length, file)?.trim();
            if !text.is_empty() {
                let object = serde_json::from_str(text);
                take(line, object.map_err(|error| file.wrong(Some(line), format!("no JSON object: {error}"), HINT))?)?;
            }
            self.buffer.advance(length + usize::from(found.is_some()), 1);
            self.searched = 0;
        }
    }
}

/// The members of an object in their order, each value as it stands.
struct Object<'a>(Vec<(String, &'a RawValue)>);

impl<'de> Deserialize<'de> for Object<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Members;
        impl<'de> Visitor<'de> for Members {
            type Value = Object<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut members = Vec::new();
                while let Some(member) = map.next_entry::<String, &'de RawValue>()? {
                    members.push(member);
                }
                Ok(Object(members))
            }
        }
        deserializer.deserialize_map(Members)
    }
}

fn cell(value: &RawValue) -> Cell<'_> {
    match value.get() {
        "null" => Cell::Null,
        text if text.starts_with('"') => match serde_json::from_str::<String>(text) {
            Ok(text) => Cell::Text(text.into()),
            // Lone surrogates: JSON that no text can hold.
            Err(_) => Cell::Bad("the JSON text holds half of a character".into()),
        },
        other => Cell::Text(other.into()),
    }
}

/// Collects the names of all members of a file's objects.
pub(super) struct Keys {
    lines: Lines,
    columns: FileColumns,
    seen: HashSet<String>,
}

impl Keys {
    pub(super) fn new() -> Self {
        Self { lines: Lines::new(), columns: Vec::new(), seen: HashSet::new() }
    }

    pub(super) fn push(&mut self, bytes: Option<&[u8]>, file: &Pinned) -> Result<(), ConnectError> {
        let Self { lines, columns, seen } = self;
        lines.push(bytes, file, |line, object| {
            for (name, _) in object.0 {
                if seen.insert(name.clone()) {
                    check_name(&name, line, file)?;
                    columns.push((name, None));
                }
            }
            Ok(())
        })
    }

    pub(super) fn columns(self) -> FileColumns {
        self.columns
    }
}

/// Decodes one file.
pub(super) struct Decoder {
    lines: Lines,
    positions: HashMap<String, usize>,
    width: usize,
}

impl Decoder {
    pub(super) fn new(rows: &Rows) -> Self {
        let positions: HashMap<String, usize> =
            rows.columns().names().enumerate().map(|(position, name)| (name.to_owned(), position)).collect();
        Self { lines: Lines::new(), width: positions.len(), positions }
    }

    /// Takes the file's next bytes; `None` is its end.
    pub(super) fn push(&mut self, bytes: Option<&[u8]>, file: &Pinned, rows: &mut Rows) -> Result<(), ConnectError> {
        let Self { lines, positions, width } = self;
        lines.push(bytes, file, |line, object| {
            let mut values: Vec<Option<&RawValue>> = vec![None; *width];
            for (name, value) in object.0 {
                let Some(position) = positions.get(&name) else { continue };
                if values[*position].replace(value).is_some() {
                    return Err(file.wrong(Some(line), format!("\"{name}\" stands twice in the object"), HINT));
                }
            }
            rows.row(file, line, |column| values[column].map_or(Cell::Null, cell))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_stand_as_they_are_written() {
        let file = Pinned::for_test("a.jsonl");
        let mut lines = Lines::new();
        let mut seen = Vec::new();
        let text = "{\"id\": 0, \"n\": 1.10, \"big\": 123456789012345678901234567890, \"t\": \"\\u00e4\"}\n\n{\"o\": {\"a\": [1, 2.0]}, \"b\": true, \"z\": null}";
        for chunk in text.as_bytes().chunks(7).map(Some).chain([None]) {
            lines
                .push(chunk, &file, |line, object| {
                    seen.extend(object.0.iter().map(|(name, value)| format!("{line} {name} {:?}", cell(value))));
                    Ok(())
                })
                .unwrap();
        }
        let expected = [
            "1 id Text(\"0\")",
            "1 n Text(\"1.10\")",
            "1 big Text(\"123456789012345678901234567890\")",
            "1 t Text(\"ä\")",
            "3 o Text(\"{\\\"a\\\": [1, 2.0]}\")",
            "3 b Text(\"true\")",
            "3 z Null",
        ];
        assert_eq!(seen, expected);
    }

    #[test]
    fn what_is_no_object_is_refused_with_its_line() {
        for (text, expected) in [
            ("{\"a\":1}\n[1]\n", ", line 2: no JSON object: invalid type: sequence, expected an object at line 1 column 0"),
            ("{\"a\":1}\n{\"a\":", ", line 2: no JSON object: EOF while parsing a value at line 1 column 5"),
        ] {
            let file = Pinned::for_test("a.jsonl");
            let mut lines = Lines::new();
            let pushed =
                lines.push(Some(text.as_bytes()), &file, |_, _| Ok(())).and_then(|()| lines.push(None, &file, |_, _| Ok(())));
            assert_eq!(pushed.unwrap_err().to_string(), format!("system \"drop\", stream \"orders\", file a.jsonl{expected}"));
        }
    }
}
