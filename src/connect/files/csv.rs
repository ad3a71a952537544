//! CSV, as RFC 4180 has it and exports vary it: any delimiter, any line end, quoted fields that hold delimiters, quotes (doubled) and line ends.
//!
//! A field that is empty is null, one that is quoted and empty is an empty text. Blank lines are no records.

use std::borrow::Cow;

use super::place::Pinned;
use super::rows::{Cell, Rows, columns_of};
use super::text::{Buffer, newlines};
use crate::connect::ConnectError;
use crate::project::Files;

/// Splits the bytes of one file into records.
#[derive(Debug)]
struct Splitter {
    delimiter: u8,
    buffer: Buffer,
    /// Where to go on in the current record, and as what.
    at: usize,
    state: State,
    fields: Vec<Field>,
    /// The last record ended with `\r`: a `\n` that follows belongs to it.
    after_return: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    FieldStart,
    Plain {
        from: usize,
    },
    Quoted {
        from: usize,
        doubled: bool,
    },
    /// Behind a quote inside of a quoted field: its end, or the first half of a doubled one.
    Quote {
        from: usize,
        doubled: bool,
    },
}

/// Where a field lies in its record, without the quotes around it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Field {
    from: usize,
    to: usize,
    is_quoted: bool,
    /// Whether it holds doubled quotes.
    doubled: bool,
}

/// One record, split.
struct Record<'a> {
    line: u64,
    text: &'a str,
    fields: &'a [Field],
}

impl<'a> Record<'a> {
    fn cell(&self, position: usize) -> Cell<'a> {
        let Field { from, to, is_quoted, doubled } = self.fields[position];
        let text = &self.text[from..to];
        match text {
            "" if !is_quoted => Cell::Null,
            text if doubled => Cell::Text(text.replace("\"\"", "\"").into()),
            text => Cell::Text(Cow::Borrowed(text)),
        }
    }
}

impl Splitter {
    fn new(delimiter: u8) -> Self {
        let (buffer, fields) = (Buffer::new(), Vec::new());
        Self { delimiter, buffer, at: 0, state: State::FieldStart, fields, after_return: false }
    }

    /// Hands the next complete record to `take`; `false` if there is none (yet).
    fn next(&mut self, file: &Pinned, take: impl FnOnce(Record<'_>) -> Result<(), ConnectError>) -> Result<bool, ConnectError> {
        let Some((length, behind)) = self.scan(file)? else {
            self.buffer.check_length(file)?;
            return Ok(false);
        };
        let text = self.buffer.text(length, file)?;
        take(Record { line: self.buffer.line, text, fields: &self.fields })?;
        let lines = newlines(&text.as_bytes()[..length]) + 1;
        self.go_on(behind, lines);
        Ok(true)
    }

    fn go_on(&mut self, behind: usize, lines: u64) {
        self.buffer.advance(behind, lines);
        self.fields.clear();
        (self.at, self.state) = (0, State::FieldStart);
    }

    /// Finds the end of the current record: its length, and that with the line end behind it.
    fn scan(&mut self, file: &Pinned) -> Result<Option<(usize, usize)>, ConnectError> {
        loop {
            let bytes = self.buffer.rest();
            let Some(byte) = bytes.get(self.at).copied() else {
                return if self.buffer.is_end() { self.end(file) } else { Ok(None) };
            };
            let (at, is_end) = (self.at, byte == b'\n' || byte == b'\r');
            if std::mem::take(&mut self.after_return) && byte == b'\n' {
                self.buffer.advance(1, 0);
                continue;
            }
            self.at += 1;
            match self.state {
                State::FieldStart if is_end && self.fields.is_empty() => {
                    self.go_on(at + 1, 1);
                    self.after_return = byte == b'\r';
                    continue;
                }
                State::FieldStart if byte == b'"' => self.state = State::Quoted { from: at + 1, doubled: false },
                State::FieldStart if byte == self.delimiter || is_end => self.field(at, at, false, false),
                State::FieldStart => self.state = State::Plain { from: at },
                State::Plain { from } if byte == self.delimiter || is_end => self.field(from, at, false, false),
                State::Plain { .. } => {
                    let rest = &bytes[self.at..];
                    let ends = |byte: &u8| *byte == self.delimiter || *byte == b'\n' || *byte == b'\r';
                    self.at += rest.iter().position(ends).unwrap_or(rest.len());
                    continue;
                }
                State::Quoted { from, doubled } if byte == b'"' => self.state = State::Quote { from, doubled },
                State::Quoted { .. } => {
                    let rest = &bytes[self.at..];
                    self.at += rest.iter().position(|byte| *byte == b'"').unwrap_or(rest.len());
                    continue;
                }
                State::Quote { from, .. } if byte == b'"' => self.state = State::Quoted { from, doubled: true },
                State::Quote { from, doubled } if byte == self.delimiter || is_end => self.field(from, at - 1, true, doubled),
                State::Quote { .. } => {
                    let line = self.buffer.line + newlines(&bytes[..at]);
                    let what = "text follows the closing quote of a field";
                    return Err(file.wrong(Some(line), what, "write a quote inside of a quoted field twice"));
                }
            }
            if is_end && self.state == State::FieldStart {
                self.after_return = byte == b'\r';
                return Ok(Some((at, at + 1)));
            }
        }
    }

    /// The last record, which needs no line end.
    fn end(&mut self, file: &Pinned) -> Result<Option<(usize, usize)>, ConnectError> {
        let at = self.at;
        match self.state {
            State::FieldStart if self.fields.is_empty() => return Ok(None),
            State::FieldStart => self.field(at, at, false, false),
            State::Plain { from } => self.field(from, at, false, false),
            State::Quote { from, doubled } => self.field(from, at - 1, true, doubled),
            State::Quoted { .. } => {
                let what = "the file ends inside of a quoted field of the record that starts here";
                return Err(file.wrong(Some(self.buffer.line), what, "close the quote, or wait until the file is complete"));
            }
        }
        Ok(Some((at, at)))
    }

    fn field(&mut self, from: usize, to: usize, is_quoted: bool, doubled: bool) {
        self.fields.push(Field { from, to, is_quoted, doubled });
        self.state = State::FieldStart;
    }
}

/// Finds the names of a file's columns in its first bytes.
pub(super) struct Header {
    splitter: Splitter,
    has_header: bool,
}

impl Header {
    pub(super) fn new(files: &Files) -> Self {
        Self { splitter: Splitter::new(files.delimiter), has_header: files.has_header }
    }

    /// The names once they are known, or the file's bytes have ended (`None`); an empty file has no column.
    pub(super) fn push(&mut self, bytes: Option<&[u8]>, file: &Pinned) -> Result<Option<Vec<String>>, ConnectError> {
        self.splitter.buffer.push(bytes, file)?;
        let mut names = None;
        let has_header = self.has_header;
        self.splitter.next(file, |record| {
            let texts = (0..record.fields.len()).map(|position| match record.cell(position) {
                Cell::Text(text) if has_header => text.trim().to_owned(),
                _ => String::new(),
            });
            names = Some(columns_of(texts, record.line, file)?);
            Ok(())
        })?;
        Ok(names.or_else(|| bytes.is_none().then(Vec::new)))
    }
}

/// Decodes one file.
pub(super) struct Decoder {
    splitter: Splitter,
    /// Whether the header is still to come.
    in_header: bool,
    /// For each column of the reading, its position in the file.
    positions: Vec<Option<usize>>,
    width: usize,
}

impl Decoder {
    /// `positions`: for each column of the reading, its place among the `width` columns of the file.
    pub(super) fn new(files: &Files, positions: Vec<Option<usize>>, width: usize) -> Self {
        Self { splitter: Splitter::new(files.delimiter), in_header: files.has_header, positions, width }
    }

    /// Takes the file's next bytes; `None` is its end.
    pub(super) fn push(&mut self, bytes: Option<&[u8]>, file: &Pinned, rows: &mut Rows) -> Result<(), ConnectError> {
        self.splitter.buffer.push(bytes, file)?;
        let Self { splitter, in_header, positions, width } = self;
        let mut take = |record: Record<'_>| {
            if std::mem::take(in_header) {
                return Ok(());
            }
            let found = record.fields.len();
            if found != *width {
                let what = format!("the record has {found} fields, the first one of the file has {width}");
                return Err(file.wrong(
                    Some(record.line),
                    what,
                    "correct the line; a field that holds the delimiter must be quoted",
                ));
            }
            rows.row(file, record.line, |column| positions[column].map_or(Cell::Null, |position| record.cell(position)))
        };
        while splitter.next(file, &mut take)? {}
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::base::causes;

    /// Records as lists of fields, the file's bytes coming in chunks of `size`.
    fn split(bytes: &[u8], size: usize) -> Result<Vec<Vec<Option<String>>>, String> {
        let file = Pinned::for_test("a.csv");
        let mut splitter = Splitter::new(b';');
        let mut records = Vec::new();
        let mut take = |record: Record<'_>| {
            let text = |position| match record.cell(position) {
                Cell::Text(text) => Some(text.into_owned()),
                _ => None,
            };
            records.push((0..record.fields.len()).map(text).collect());
            Ok(())
        };
        for chunk in bytes.chunks(size).map(Some).chain([None]) {
            splitter.buffer.push(chunk, &file).map_err(|error| causes(&error))?;
            while splitter.next(&file, &mut take).map_err(|error| causes(&error))? {}
        }
        Ok(records)
    }

    #[test]
    fn fields_are_split_as_exports_write_them() {
        let split = |text: &str| split(text.as_bytes(), 3).unwrap();
        let fields =
            |fields: &[&str]| fields.iter().map(|field| (*field != "-").then(|| (*field).to_owned())).collect::<Vec<_>>();
        assert_eq!(split("a;b\n1;2\n"), [fields(&["a", "b"]), fields(&["1", "2"])]);
        assert_eq!(split("\u{feff}a;b\r\n\r\n;\"\"\r\n"), [fields(&["a", "b"]), fields(&["-", ""])]);
        assert_eq!(split("\"x;\"\"y\"\"\nz\";5\" pipe"), [fields(&["x;\"y\"\nz", "5\" pipe"])]);
        assert_eq!(split("a\rb\r"), [fields(&["a"]), fields(&["b"])]);
        assert_eq!(split("a;"), [fields(&["a", "-"])]);
        assert!(split("\n\n").is_empty() && split("").is_empty());
    }

    #[test]
    fn what_is_no_csv_is_refused_with_its_place() {
        let place = "system \"drop\", stream \"orders\", file a.csv";
        for (bytes, expected) in [
            (&b"a;b\n1;\"x\ny\n"[..], ", line 2: the file ends inside of a quoted field of the record that starts here"),
            (b"a\n\"x\ny\"z\n", ", line 3: text follows the closing quote of a field"),
            (b"a\nb\nM\xE4rz\n", ", line 3: byte 6 of the file (0xE4) is not UTF-8 text"),
            (b"\xFF\xFEa\0", ": the file is UTF-16 text"),
            (b"\x1F\x8B\x08\0", ": the file is packed (gzip)"),
        ] {
            assert_eq!(split(bytes, 2).unwrap_err(), format!("{place}{expected}"));
        }
    }

    proptest! {
        /// Whatever is written by the rules is read back, in chunks of any size.
        #[test]
        fn what_is_written_is_read_back(
            records in prop::collection::vec(prop::collection::vec((prop::option::of("[ab;\"\n\rä ]{0,6}"), any::<bool>()), 1..4), 0..6),
            end in prop::sample::select(vec!["\n", "\r\n", "\r"]),
            size in 1_usize..9,
        ) {
            let mut text = String::new();
            let mut expected = Vec::new();
            for record in &records {
                let mut fields = Vec::new();
                for (position, (field, quote)) in record.iter().enumerate() {
                    text += if position > 0 { ";" } else { "" };
                    // A lone empty field would be a blank line, an empty text must be quoted to be one.
                    let field = if record.len() == 1 { field.clone().or(Some(String::new())) } else { field.clone() };
                    if let Some(value) = &field {
                        let must = value.is_empty() || value.contains([';', '\n', '\r']) || value.starts_with('"');
                        text += &if must || *quote { format!("\"{}\"", value.replace('"', "\"\"")) } else { value.clone() };
                    }
                    fields.push(field);
                }
                text += end;
                expected.push(fields);
            }
            prop_assert_eq!(split(text.as_bytes(), size), Ok(expected));
        }

        #[test]
        fn any_bytes_are_read_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..60), size in 1_usize..9) {
            prop_assert_eq!(split(&bytes, size), split(&bytes, 64));
        }
    }
}
