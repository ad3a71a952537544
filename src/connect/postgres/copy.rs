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

/// Kind and length of the message that `bytes` begin with: a letter, the length of what follows it, the content.
#[inline]
pub(super) fn head(bytes: &[u8]) -> Option<(u8, usize)> {
    let &[kind, a, b, c, d, ..] = bytes else { return None };
    Some((kind, (u32::from_be_bytes([a, b, c, d]) as usize).max(4) + 1))
}

/// Takes the next of several messages: its content.
#[inline]
pub(super) fn message<'a>(bytes: &mut &'a [u8]) -> Option<&'a [u8]> {
    let (_, length) = head(bytes)?;
    let (message, rest) = bytes.split_at_checked(length)?;
    *bytes = rest;
    message.get(5..)
}

const CUT: Malformed = Malformed("a message ends within a row");

impl Rows {
    pub(super) fn new(width: usize) -> Self {
        // A table has at most 1,600 columns.
        Self { width: i16::try_from(width).unwrap_or(i16::MAX), header_read: false, ended: false }
    }

    /// The rows of a message, without what precedes the first.
    pub(super) fn body<'a>(&mut self, message: &'a [u8]) -> Result<&'a [u8], Malformed> {
        if self.header_read {
            return Ok(message);
        }
        self.header_read = true;
        let rest = message.strip_prefix(SIGNATURE).ok_or(Malformed("the stream does not begin like a binary copy"))?;
        let extension = rest.get(4..).and_then(<[u8]>::split_first_chunk::<4>);
        let (len, rest) = extension.ok_or(Malformed("the stream's header is too short"))?;
        usize::try_from(i32::from_be_bytes(*len))
            .ok()
            .and_then(|len| rest.get(len..))
            .ok_or(Malformed("the stream's header is too short"))
    }

    /// Whether `bytes` go on with a row; the caller takes its fields one by one by [`field`].
    #[inline]
    pub(super) fn begins(&mut self, bytes: &mut &[u8]) -> Result<bool, Malformed> {
        if bytes.is_empty() || self.ended {
            return Ok(false);
        }
        let (count, rest) = bytes.split_first_chunk::<2>().ok_or(CUT)?;
        *bytes = rest;
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

/// Takes the next field of a row; `None` is null.
#[inline]
pub(super) fn field<'a>(bytes: &mut &'a [u8]) -> Result<Option<&'a [u8]>, Malformed> {
    let (len, rest) = bytes.split_first_chunk::<4>().ok_or(CUT)?;
    let Ok(len) = usize::try_from(i32::from_be_bytes(*len)) else {
        *bytes = rest;
        return Ok(None);
    };
    let (field, rest) = rest.split_at_checked(len).ok_or(CUT)?;
    *bytes = rest;
    Ok(Some(field))
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

    fn header() -> Vec<u8> {
        [SIGNATURE.as_slice(), &[0, 0, 0, 0], &[0, 0, 0, 2], b"xy"].concat()
    }

    fn read(messages: &[Vec<u8>]) -> Result<(Vec<Row>, bool), Malformed> {
        let (mut reader, mut rows) = (Rows::new(3), Vec::new());
        for message in messages {
            let mut bytes = reader.body(message)?;
            while reader.begins(&mut bytes)? {
                rows.push((0..3).map(|_| Ok(field(&mut bytes)?.map(<[u8]>::to_vec))).collect::<Result<_, _>>()?);
            }
        }
        Ok((rows, reader.has_ended()))
    }

    proptest! {
        /// However rows are put into messages, the same come out.
        #[test]
        fn rows_survive(rows in prop::collection::vec(prop::collection::vec(prop::option::of(prop::collection::vec(any::<u8>(), 0..6)), 3), 0..9), size in 1_usize..4) {
            let mut messages: Vec<Vec<u8>> = rows.chunks(size).map(|rows| rows.iter().flat_map(bytes_of).collect()).collect();
            messages.push((-1_i16).to_be_bytes().to_vec());
            messages[0] = [header(), messages[0].clone()].concat();
            prop_assert_eq!(read(&messages), Ok((rows.clone(), true)));
            messages.pop();
            if !messages.is_empty() {
                prop_assert_eq!(read(&messages), Ok((rows, false)));
            }
        }

        #[test]
        fn no_bytes_panic(bytes in prop::collection::vec(any::<u8>(), 0..60), with_header in any::<bool>()) {
            let _ = read(&[if with_header { [header(), bytes].concat() } else { bytes }]);
        }
    }
}
