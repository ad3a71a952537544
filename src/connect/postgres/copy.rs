//! The stream of a binary `copy … to stdout`.
//!
//! It is a header, then rows (a count of fields, each with its length), then a count of −1. Messages from the server hold whole rows (the
//! protocol's promise), the first one the header as well.

/// What precedes the flags and the extension in the header.
const SIGNATURE: &[u8; 11] = b"PGCOPY\n\xff\r\n\0";

/// Finds the rows of `width` fields in the messages of one copy.
pub(super) struct Rows {
    width: i16,
    header_read: bool,
    ended: bool,
}

/// The bytes are not what `copy` sends.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Malformed(pub(super) &'static str);

/// Kind of the messages that hold rows.
pub(super) const COPY_DATA: u8 = b'd';

/// Bytes before the content of a message.
const HEAD_BYTES: usize = 5;

/// Kind and length of the message that `bytes` begin with: a letter, the length of what follows it, the content.
#[inline]
pub(super) fn head(bytes: &[u8]) -> Option<(u8, usize)> {
    let &[kind, a, b, c, d, ..] = bytes else { return None };
    Some((kind, (u32::from_be_bytes([a, b, c, d]) as usize).max(4) + 1))
}

/// Messages that were received together, and how far they are read.
pub(super) struct Block<'a> {
    bytes: &'a [u8],
    at: usize,
    /// Where the message that is being read ends.
    end: usize,
}

impl<'a> Block<'a> {
    /// Whole messages, with their heads.
    pub(super) fn of_messages(bytes: &'a [u8]) -> Self {
        Self { bytes, at: 0, end: 0 }
    }

    /// The content of one message.
    pub(super) fn of_message(bytes: &'a [u8]) -> Self {
        Self { bytes, at: 0, end: bytes.len() }
    }
}

/// Neighbouring rows of a block, whose fields are found and not yet read.
pub(super) struct Found {
    width: usize,
    pub(super) rows: usize,
    /// Size of all rows.
    pub(super) bytes: usize,
    /// Where the length of each field begins, row by row.
    starts: Vec<u32>,
}

/// A field that is not null: the first `len` bytes of `rest`, which goes on to the end of the block.
#[derive(Clone, Copy)]
pub(super) struct Field<'a> {
    pub(super) rest: &'a [u8],
    pub(super) len: usize,
}

impl<'a> Field<'a> {
    #[inline]
    pub(super) fn bytes(self) -> &'a [u8] {
        &self.rest[..self.len]
    }
}

/// Fields of [`Found`] rows one after the other; `None` is null.
#[derive(Clone)]
pub(super) struct Fields<'a> {
    bytes: &'a [u8],
    starts: &'a [u32],
    step: usize,
    at: usize,
}

impl Fields<'_> {
    /// How many fields were taken.
    pub(super) fn taken(&self) -> usize {
        self.at / self.step
    }
}

impl<'a> Iterator for Fields<'a> {
    type Item = Option<Field<'a>>;

    #[inline(always)] // called for every value
    fn next(&mut self) -> Option<Self::Item> {
        let start = *self.starts.get(self.at)?;
        self.at += self.step;
        let (len, rest) = self.bytes.get(start as usize..)?.split_first_chunk::<4>()?;
        Some(usize::try_from(i32::from_be_bytes(*len)).ok().map(|len| Field { rest, len }))
    }
}

const CUT: Malformed = Malformed("a message ends within a row");

impl Rows {
    pub(super) fn new(width: usize) -> Self {
        // A table has at most 1,600 columns.
        Self { width: i16::try_from(width).unwrap_or(i16::MAX), header_read: false, ended: false }
    }

    /// Finds the next rows of `block`: none once it is read, at most `max`, and none after those that fill `bytes`.
    pub(super) fn find(&mut self, block: &mut Block<'_>, max: usize, bytes: usize, found: &mut Found) -> Result<(), Malformed> {
        if u32::try_from(block.bytes.len()).is_err() {
            return Err(Malformed("a row is larger than 4 GB"));
        }
        (found.rows, found.bytes) = (0, 0);
        found.starts.resize(max * found.width, 0);
        while found.rows < max && found.bytes < bytes {
            if block.at == block.end {
                let rest = &block.bytes[block.at..];
                let Some((_, length)) = head(rest).filter(|(_, length)| *length <= rest.len()) else { break };
                (block.at, block.end) = (block.at + HEAD_BYTES, block.at + length);
            }
            if !self.begins(block)? {
                block.at = block.end;
                continue;
            }
            let mut at = block.at;
            for start in &mut found.starts[found.rows * found.width..][..found.width] {
                *start = at as u32;
                let len = block.bytes.get(at..).and_then(<[u8]>::first_chunk).ok_or(CUT)?;
                at += len.len() + usize::try_from(i32::from_be_bytes(*len)).unwrap_or(0);
            }
            if at > block.end {
                return Err(CUT);
            }
            found.bytes += at - block.at;
            found.rows += 1;
            block.at = at;
        }
        Ok(())
    }

    /// Whether the message goes on with a row; takes what precedes its first field.
    #[inline]
    fn begins(&mut self, block: &mut Block<'_>) -> Result<bool, Malformed> {
        if !self.header_read {
            let message = &block.bytes[block.at..block.end];
            block.at += header(message)?;
            self.header_read = true;
        }
        if block.at == block.end || self.ended {
            return Ok(false);
        }
        let count = block.bytes[block.at..block.end].first_chunk().ok_or(CUT)?;
        block.at += count.len();
        match i16::from_be_bytes(*count) {
            count if count == self.width => Ok(true),
            -1 => {
                self.ended = true;
                Ok(false)
            }
            _ => Err(Malformed("a row has another number of columns")),
        }
    }

    /// Whether the stream's last row has been seen: a stream that merely stops lost some.
    pub(super) fn has_ended(&self) -> bool {
        self.ended
    }
}

/// Length of what precedes the first row.
fn header(message: &[u8]) -> Result<usize, Malformed> {
    let rest = message.strip_prefix(SIGNATURE).ok_or(Malformed("the stream does not begin like a binary copy"))?;
    let extension = rest.get(4..).and_then(<[u8]>::split_first_chunk);
    let (len, rest) = extension.ok_or(Malformed("the stream's header is too short"))?;
    let len = usize::try_from(i32::from_be_bytes(*len)).ok().filter(|len| *len <= rest.len());
    Ok(message.len() - rest.len() + len.ok_or(Malformed("the stream's header is too short"))?)
}

impl Found {
    /// Rows of `width` fields.
    pub(super) fn new(width: usize) -> Self {
        Self { width, rows: 0, bytes: 0, starts: Vec::new() }
    }

    /// The fields of `column`; the rows are those of `block`.
    pub(super) fn column<'a>(&'a self, block: &Block<'a>, column: usize) -> Fields<'a> {
        Fields { bytes: block.bytes, starts: &self.starts[..self.rows * self.width], step: self.width, at: column }
    }

    /// The fields of one row.
    pub(super) fn row<'a>(&'a self, block: &Block<'a>, row: usize) -> Fields<'a> {
        Fields { bytes: block.bytes, starts: &self.starts[row * self.width..][..self.width], step: 1, at: 0 }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    type Row = Vec<Option<Vec<u8>>>;

    fn bytes_of(row: &Row) -> Vec<u8> {
        let mut bytes = i16::try_from(row.len()).unwrap().to_be_bytes().to_vec();
        for field in row {
            let len = field.as_ref().map_or(-1, |field| i32::try_from(field.len()).unwrap());
            bytes.extend(len.to_be_bytes());
            bytes.extend(field.iter().flatten());
        }
        bytes
    }

    fn a_header() -> Vec<u8> {
        [SIGNATURE.as_slice(), &[0, 0, 0, 0], &[0, 0, 0, 2], b"xy"].concat()
    }

    /// The rows of a block, `max` at a time, read by row and by column.
    fn add(reader: &mut Rows, mut block: Block<'_>, max: usize, rows: &mut Vec<Row>) -> Result<(), Malformed> {
        let mut found = Found::new(3);
        loop {
            reader.find(&mut block, max, 20, &mut found)?;
            if found.rows == 0 {
                return Ok(());
            }
            assert!(found.rows <= max && (found.rows == 1 || found.bytes < 20 + 3 * 9));
            let taken = |fields: Fields<'_>| fields.map(|field| field.map(|field| field.bytes().to_vec())).collect::<Row>();
            let columns: Vec<Row> = (0..3).map(|column| taken(found.column(&block, column))).collect();
            for row in 0..found.rows {
                let fields = taken(found.row(&block, row));
                assert_eq!(fields, columns.iter().map(|column| column[row].clone()).collect::<Row>());
                rows.push(fields);
            }
        }
    }

    /// The rows of messages that come one by one, and those of the same messages in one block.
    fn read(messages: &[Vec<u8>], max: usize) -> [Result<(Vec<Row>, bool), Malformed>; 2] {
        let head = |message: &Vec<u8>| [&[COPY_DATA][..], &(message.len() as u32 + 4).to_be_bytes()].concat();
        let together: Vec<u8> = messages.iter().flat_map(|message| [head(message), message.clone()].concat()).collect();
        let blocks = [messages.iter().map(|message| Block::of_message(message)).collect(), vec![Block::of_messages(&together)]];
        blocks.map(|blocks| {
            let (mut reader, mut rows) = (Rows::new(3), Vec::new());
            for block in blocks {
                add(&mut reader, block, max, &mut rows)?;
            }
            Ok((rows, reader.has_ended()))
        })
    }

    proptest! {
        /// However rows are put into messages, the same come out.
        #[test]
        fn rows_survive(rows in prop::collection::vec(prop::collection::vec(prop::option::of(prop::collection::vec(any::<u8>(), 0..6)), 3), 0..9), size in 1_usize..4, max in 1_usize..5) {
            let mut messages: Vec<Vec<u8>> = rows.chunks(size).map(|rows| rows.iter().flat_map(bytes_of).collect()).collect();
            messages.push((-1_i16).to_be_bytes().to_vec());
            messages[0] = [a_header(), messages[0].clone()].concat();
            prop_assert_eq!(read(&messages, max), [Ok((rows.clone(), true)), Ok((rows.clone(), true))]);
            messages.pop();
            if !messages.is_empty() {
                prop_assert_eq!(read(&messages, max), [Ok((rows.clone(), false)), Ok((rows, false))]);
            }
        }

        #[test]
        fn no_bytes_panic(bytes in prop::collection::vec(any::<u8>(), 0..60), with_header in any::<bool>()) {
            let _ = read(&[if with_header { [a_header(), bytes.clone()].concat() } else { bytes.clone() }], 2);
            let _ = add(&mut Rows::new(3), Block::of_messages(&bytes), 2, &mut Vec::new());
        }
    }
}
