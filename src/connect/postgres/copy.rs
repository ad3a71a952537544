//! The stream of a binary `copy … to stdout`.
//!
//! It is a header, then rows (a count of fields, each with its length), then a count of −1. The server sends whole rows, but nothing
//! promises that, so what is left of a message is kept for the next one.

/// What precedes the flags and the extension in the header.
const SIGNATURE: &[u8; 11] = b"PGCOPY\n\xff\r\n\0";

/// Splits messages into rows of `width` fields.
pub(super) struct Rows {
    width: usize,
    /// Kept between messages, because most of them hold one row.
    fields: Fields,
    /// Bytes of a row that is not complete yet.
    rest: Vec<u8>,
    header_read: bool,
    ended: bool,
}

/// Where each field of a row lies in the bytes it was split from; `None` is null.
pub(super) type Fields = Vec<Option<std::ops::Range<usize>>>;

/// The bytes are not what `copy` sends.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Malformed(pub(super) &'static str);

impl Rows {
    pub(super) fn new(width: usize) -> Self {
        Self { width, fields: Fields::with_capacity(width), rest: Vec::new(), header_read: false, ended: false }
    }

    /// Takes a message and hands each complete row to `each`.
    pub(super) fn take<E: From<Malformed>>(
        &mut self,
        message: &[u8],
        mut each: impl FnMut(&[u8], &Fields) -> Result<(), E>,
    ) -> Result<(), E> {
        let kept = std::mem::take(&mut self.rest);
        let joined;
        let mut bytes = if kept.is_empty() {
            message
        } else {
            joined = [kept.as_slice(), message].concat();
            joined.as_slice()
        };
        if !self.header_read {
            match header_len(bytes)? {
                Some(len) => bytes = &bytes[len..],
                None => {
                    self.rest = bytes.to_vec();
                    return Ok(());
                }
            }
            self.header_read = true;
        }
        while !self.ended {
            let Some(len) = self.row_len(bytes)? else { break };
            if !self.ended {
                each(bytes, &self.fields)?;
            }
            bytes = &bytes[len..];
        }
        self.rest = bytes.to_vec();
        Ok(())
    }

    /// Whether the stream's last row has been seen: a stream that merely stops lost some.
    pub(super) fn has_ended(&self) -> bool {
        self.ended
    }

    /// Finds the fields of the first row; `None` if it is not complete.
    fn row_len(&mut self, bytes: &[u8]) -> Result<Option<usize>, Malformed> {
        self.fields.clear();
        let Some(count) = word(bytes, 0) else { return Ok(None) };
        let count = i16::from_be_bytes(count);
        if count == -1 {
            self.ended = true;
            return Ok(Some(2));
        }
        if usize::try_from(count) != Ok(self.width) {
            return Err(Malformed("a row has another number of columns"));
        }
        let mut at = 2;
        for _ in 0..self.width {
            let Some(len) = word(bytes, at) else { return Ok(None) };
            at += 4;
            match usize::try_from(i32::from_be_bytes(len)) {
                Ok(len) if bytes.len() - at < len => return Ok(None),
                Ok(len) => {
                    self.fields.push(Some(at..at + len));
                    at += len;
                }
                Err(_) => self.fields.push(None),
            }
        }
        Ok(Some(at))
    }
}

/// Length of the header with its extension; `None` if it is not complete.
fn header_len(bytes: &[u8]) -> Result<Option<usize>, Malformed> {
    let Some(signature) = bytes.get(..SIGNATURE.len()) else { return Ok(None) };
    if signature != SIGNATURE {
        return Err(Malformed("the stream does not begin like a binary copy"));
    }
    let Some(extension) = word(bytes, SIGNATURE.len() + 4) else { return Ok(None) };
    let extension = usize::try_from(i32::from_be_bytes(extension)).map_err(|_| Malformed("the header has a negative length"))?;
    let len = SIGNATURE.len() + 8 + extension;
    Ok((bytes.len() >= len).then_some(len))
}

fn word<const N: usize>(bytes: &[u8], at: usize) -> Option<[u8; N]> {
    bytes.get(at..at.checked_add(N)?)?.try_into().ok()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn stream(rows: &[Vec<Option<Vec<u8>>>]) -> Vec<u8> {
        let mut bytes = [SIGNATURE.as_slice(), &[0; 8]].concat();
        for row in rows {
            bytes.extend(i16::try_from(row.len()).unwrap().to_be_bytes());
            for field in row {
                let len = field.as_ref().map_or(-1, |field| i32::try_from(field.len()).unwrap());
                bytes.extend(len.to_be_bytes());
                bytes.extend(field.iter().flatten());
            }
        }
        bytes.extend((-1_i16).to_be_bytes());
        bytes
    }

    proptest! {
        /// However the stream is cut into messages, the same rows come out.
        #[test]
        fn rows_survive_any_cut(rows in prop::collection::vec(prop::collection::vec(prop::option::of(prop::collection::vec(any::<u8>(), 0..6)), 3), 0..6), size in 1_usize..30) {
            let mut reader = Rows::new(3);
            let mut read = Vec::new();
            for message in stream(&rows).chunks(size) {
                reader.take(message, |bytes, fields| -> Result<(), Malformed> {
                    read.push(fields.iter().map(|field| field.clone().map(|range| bytes[range].to_vec())).collect::<Vec<_>>());
                    Ok(())
                }).unwrap();
            }
            prop_assert!(reader.has_ended());
            prop_assert_eq!(read, rows);
        }

        #[test]
        fn no_bytes_panic(bytes in prop::collection::vec(any::<u8>(), 0..60), with_header in any::<bool>()) {
            let message = if with_header { [&stream(&[])[..19], &bytes].concat() } else { bytes };
            let _ = Rows::new(2).take(&message, |_, _| -> Result<(), Malformed> { Ok(()) });
        }
    }
}
