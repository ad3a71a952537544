//! Text files on their way in: bytes that are kept until the record they belong to is complete.

use super::place::Pinned;
use crate::connect::ConnectError;

/// Bytes of one record, at most: it must fit into memory, and a longer one is a quote that never ends or no text at all.
pub(super) const RECORD_BYTES_MAX: usize = 100 << 20;

const HINT_ENCODING: &str = "save the file as UTF-8";
const HINT_PACKED: &str = "unpack the file; packed files are not read";

/// What files start with that is not the text itself.
const STARTS: [(&[u8], &str, &str); 7] = [
    (&[0xFF, 0xFE], "the file is UTF-16 text", HINT_ENCODING),
    (&[0xFE, 0xFF], "the file is UTF-16 text", HINT_ENCODING),
    (&[0x1F, 0x8B], "the file is packed (gzip)", HINT_PACKED),
    (&[0x28, 0xB5, 0x2F, 0xFD], "the file is packed (zstd)", HINT_PACKED),
    (&[0x50, 0x4B, 0x03, 0x04], "the file is a zip archive or a workbook", "name its format: format = \"excel\""),
    (b"PAR1", "the file is Parquet", "name its format: format = \"parquet\""),
    (&[0xD0, 0xCF, 0x11, 0xE0], "the file is a workbook", "name its format: format = \"excel\""),
];
const STARTS_BYTES_MAX: usize = 4;
const BOM: &[u8] = &[0xEF, 0xBB, 0xBF];

/// The bytes of a file from its current record on.
#[derive(Debug)]
pub(super) struct Buffer {
    bytes: Vec<u8>,
    /// Where the current record starts in `bytes`.
    start: usize,
    /// Bytes of the file before `bytes`.
    before: u64,
    is_begun: bool,
    /// Whether `bytes` reach to the end of the file.
    is_end: bool,
    /// Line of the file on which the current record starts, from 1.
    pub(super) line: u64,
}

impl Buffer {
    pub(super) fn new() -> Self {
        Self { bytes: Vec::new(), start: 0, before: 0, is_begun: false, is_end: false, line: 1 }
    }

    /// Adds the file's next bytes; `None` is its end.
    pub(super) fn push(&mut self, bytes: Option<&[u8]>, file: &Pinned) -> Result<(), ConnectError> {
        self.before += self.start as u64;
        self.bytes.drain(..self.start);
        self.start = 0;
        match bytes {
            Some(bytes) => self.bytes.extend_from_slice(bytes),
            None => self.is_end = true,
        }
        if !self.is_begun && (self.is_end || self.bytes.len() >= STARTS_BYTES_MAX) {
            if let Some((_, what, hint)) = STARTS.iter().find(|(start, ..)| self.bytes.starts_with(start)) {
                return Err(file.wrong(None, *what, *hint));
            }
            self.is_begun = true;
            self.start = if self.bytes.starts_with(BOM) { BOM.len() } else { 0 };
        }
        Ok(())
    }

    /// What there is of the current record and what follows it; empty until it is known how the file starts.
    pub(super) fn rest(&self) -> &[u8] {
        if self.is_begun { &self.bytes[self.start..] } else { &[] }
    }

    pub(super) fn is_end(&self) -> bool {
        self.is_end
    }

    /// An error if the current record, which is not complete yet, is too long.
    pub(super) fn check_length(&self, file: &Pinned) -> Result<(), ConnectError> {
        if self.rest().len() <= RECORD_BYTES_MAX {
            return Ok(());
        }
        let what = format!("a record that starts here has more than {} MiB", RECORD_BYTES_MAX >> 20);
        Err(file.wrong(Some(self.line), what, "look for a quote that is never closed, or an export without line ends"))
    }

    /// The first `length` bytes of the current record as text.
    pub(super) fn text(&self, length: usize, file: &Pinned) -> Result<&str, ConnectError> {
        let bytes = &self.rest()[..length];
        std::str::from_utf8(bytes).map_err(|error| {
            let at = error.valid_up_to();
            let line = self.line + newlines(&bytes[..at]);
            let position = self.before + (self.start + at) as u64 + 1;
            let what = format!("byte {position} of the file (0x{:02X}) is not UTF-8 text", bytes[at]);
            file.wrong(Some(line), what, HINT_ENCODING)
        })
    }

    /// Goes on behind a record of `length` bytes that ended `lines` lines.
    pub(super) fn advance(&mut self, length: usize, lines: u64) {
        self.start += length;
        self.line += lines;
    }
}

pub(super) fn newlines(bytes: &[u8]) -> u64 {
    bytes.iter().filter(|byte| **byte == b'\n').count() as u64
}
