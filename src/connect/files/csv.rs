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
    Plain { from: usize },
    Quoted { from: usize, doubled: bool },
    /// Behind a quote inside of a quoted field: its end, or the first half of a doubled one.
    Quote { from: usize, doubled: bool },
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
                return Err(file.wrong(Some(record.line), what, "correct the line; a field that holds the delimiter must be quoted"));
            }
            rows.row(file, record.line, |column| positions[column].map_or(Cell::Null, |position| record.cell(position)))
        };
        while splitter.next(file, &mut take)? {}
        Ok(())
    }
}
