//! Rows as the server lays them out.

use mysql_async::consts::{ColumnFlags, ColumnType};
use mysql_async::{DriverError, Error, Value};

/// How a column's values are laid out in a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    Int(u8),
    UInt(u8),
    Float,
    Double,
    Date,
    Bytes,
}

/// A value as it arrived.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Field<'a> {
    Null,
    Int(i64),
    UInt(u64),
    Float(f32),
    Double(f64),
    /// Year, month, day, hour, minute, second, microsecond; parts of it may be zero.
    Date(u16, u8, u8, u8, u8, u8, u32),
    Bytes(&'a [u8]),
}

impl<'a> Field<'a> {
    /// The driver's form of a value; `None` for one that no column arrives in.
    pub(super) fn of(value: &'a Value) -> Option<Self> {
        Some(match value {
            Value::NULL => Self::Null,
            Value::Int(integer) => Self::Int(*integer),
            Value::UInt(integer) => Self::UInt(*integer),
            Value::Float(float) => Self::Float(*float),
            Value::Double(double) => Self::Double(*double),
            Value::Date(year, month, day, hour, minute, second, micros) => {
                Self::Date(*year, *month, *day, *hour, *minute, *second, *micros)
            }
            Value::Bytes(bytes) => Self::Bytes(bytes),
            Value::Time(..) => return None,
        })
    }
}

impl Form {
    /// From a column's description: six texts, then 12 bytes of which the type is the seventh and the flags the next two.
    pub(super) fn of(description: &[u8]) -> Result<Self, Error> {
        let mut rest = description;
        for _ in 0..6 {
            taken(&mut rest).ok_or_else(|| unexpected(description))?;
        }
        let &[_, _, _, _, _, _, _, kind, low, high, ..] = rest else { return Err(unexpected(description)) };
        let is_unsigned = ColumnFlags::from_bits_truncate(u16::from_le_bytes([low, high])).contains(ColumnFlags::UNSIGNED_FLAG);
        let integer = |bytes| if is_unsigned { Self::UInt(bytes) } else { Self::Int(bytes) };
        Ok(match ColumnType::try_from(kind).map_err(|_| unexpected(description))? {
            ColumnType::MYSQL_TYPE_TINY => integer(1),
            ColumnType::MYSQL_TYPE_SHORT | ColumnType::MYSQL_TYPE_YEAR => integer(2),
            ColumnType::MYSQL_TYPE_LONG | ColumnType::MYSQL_TYPE_INT24 => integer(4),
            ColumnType::MYSQL_TYPE_LONGLONG => integer(8),
            ColumnType::MYSQL_TYPE_FLOAT => Self::Float,
            ColumnType::MYSQL_TYPE_DOUBLE => Self::Double,
            ColumnType::MYSQL_TYPE_DATE
            | ColumnType::MYSQL_TYPE_DATETIME
            | ColumnType::MYSQL_TYPE_TIMESTAMP
            | ColumnType::MYSQL_TYPE_NEWDATE
            | ColumnType::MYSQL_TYPE_DATETIME2
            | ColumnType::MYSQL_TYPE_TIMESTAMP2 => Self::Date,
            ColumnType::MYSQL_TYPE_TIME | ColumnType::MYSQL_TYPE_TIME2 => return Err(unexpected(description)),
            _ => Self::Bytes,
        })
    }

    /// Takes a value of this form from what is left of a row; `None` where the row is shorter.
    #[inline(always)] // a value that is moved in pieces costs more than everything else here
    fn take<'a>(self, rest: &mut &'a [u8]) -> Option<Field<'a>> {
        Some(match self {
            Self::Int(1) => Field::Int(i8::from_le_bytes(fixed(rest)?).into()),
            Self::Int(2) => Field::Int(i16::from_le_bytes(fixed(rest)?).into()),
            Self::Int(4) => Field::Int(i32::from_le_bytes(fixed(rest)?).into()),
            Self::Int(_) => Field::Int(i64::from_le_bytes(fixed(rest)?)),
            Self::UInt(1) => Field::UInt(u8::from_le_bytes(fixed(rest)?).into()),
            Self::UInt(2) => Field::UInt(u16::from_le_bytes(fixed(rest)?).into()),
            Self::UInt(4) => Field::UInt(u32::from_le_bytes(fixed(rest)?).into()),
            Self::UInt(_) => Field::UInt(u64::from_le_bytes(fixed(rest)?)),
            Self::Float => Field::Float(f32::from_le_bytes(fixed(rest)?)),
            Self::Double => Field::Double(f64::from_le_bytes(fixed(rest)?)),
            Self::Date => return date(taken(rest)?),
            Self::Bytes => Field::Bytes(taken(rest)?),
        })
    }
}

/// A row as it lies in the receive buffer, and how its columns arrive.
#[derive(Debug, Clone, Copy)]
pub(super) struct Row<'a> {
    pub(super) bytes: &'a [u8],
    pub(super) forms: &'a [Form],
}

impl<'a> Row<'a> {
    /// Calls `each` with the values in order and their positions; an error that it returns ends the row. The bytes are a zero, one bit for each
    /// column that is null (from the third bit on), then the others' values.
    #[inline]
    pub(super) fn fields<E>(self, mut each: impl FnMut(usize, &Field<'a>) -> Result<(), E>) -> Result<Result<(), E>, Error> {
        let broken = || unexpected(self.bytes);
        let (head, mut rest) = self.bytes.split_at_checked(1 + (self.forms.len() + 9) / 8).ok_or_else(broken)?;
        for (at, form) in self.forms.iter().enumerate() {
            let is_null = head[1 + (at + 2) / 8] >> ((at + 2) % 8) & 1 == 1;
            let taken = if is_null { Some(Field::Null) } else { form.take(&mut rest) };
            let Some(field) = taken else { return Err(broken()) };
            if let Err(error) = each(at, &field) {
                return Ok(Err(error));
            }
        }
        if rest.is_empty() { Ok(Ok(())) } else { Err(broken()) }
    }
}

fn fixed<const N: usize>(rest: &mut &[u8]) -> Option<[u8; N]> {
    let (value, after) = rest.split_first_chunk()?;
    *rest = after;
    Some(*value)
}

/// 0, 4, 7 or 11 bytes, cut behind the last part that is not zero.
fn date(bytes: &[u8]) -> Option<Field<'_>> {
    let year = |low: u8, high: u8| u16::from_le_bytes([low, high]);
    Some(match *bytes {
        [] => Field::Date(0, 0, 0, 0, 0, 0, 0),
        [a, b, month, day] => Field::Date(year(a, b), month, day, 0, 0, 0, 0),
        [a, b, month, day, hour, minute, second] => Field::Date(year(a, b), month, day, hour, minute, second, 0),
        [a, b, month, day, hour, minute, second, c, d, e, f] => {
            Field::Date(year(a, b), month, day, hour, minute, second, u32::from_le_bytes([c, d, e, f]))
        }
        _ => return None,
    })
}

/// A number of variable length.
pub(super) fn number_of(rest: &mut &[u8]) -> Option<u64> {
    let [first] = fixed(rest)?;
    Some(match first {
        0..=0xfa => first.into(),
        0xfc => u16::from_le_bytes(fixed(rest)?).into(),
        0xfd => {
            let [a, b, c] = fixed(rest)?;
            u32::from_le_bytes([a, b, c, 0]).into()
        }
        0xfe => u64::from_le_bytes(fixed(rest)?),
        _ => return None,
    })
}

/// Bytes behind their number.
fn taken<'a>(rest: &mut &'a [u8]) -> Option<&'a [u8]> {
    let length = usize::try_from(number_of(rest)?).ok()?;
    let (bytes, after) = rest.split_at_checked(length)?;
    *rest = after;
    Some(bytes)
}

pub(super) fn unexpected(payload: &[u8]) -> Error {
    Error::Driver(DriverError::UnexpectedPacket { payload: payload.iter().take(64).copied().collect() })
}

#[cfg(test)]
mod tests {
    use mysql_common::proto::MySerialize;
    use proptest::prelude::*;

    use super::*;

    /// A row as the server lays it out.
    fn laid_out(values: &[Value]) -> Vec<u8> {
        let mut row = vec![0; 1 + (values.len() + 9) / 8];
        for (at, value) in values.iter().enumerate() {
            match value {
                Value::NULL => row[1 + (at + 2) / 8] |= 1 << ((at + 2) % 8),
                value => value.serialize(&mut row),
            }
        }
        row
    }

    proptest! {
        /// Against the driver's own writer of values.
        #[test]
        fn rows_are_read_as_they_were_written(rows in prop::collection::vec((any::<Option<i64>>(), any::<u64>(), any::<f64>(), prop::collection::vec(any::<u8>(), 0..70_000), any::<(u16, u8, u8, u8, u8, u8, u32)>()), 0..12)) {
            let (mut values, mut forms) = (Vec::new(), Vec::new());
            for (int, uint, double, bytes, (year, month, day, hour, minute, second, micros)) in rows {
                values.extend([int.map_or(Value::NULL, Value::Int), Value::UInt(uint), Value::Double(double), Value::Bytes(bytes)]);
                values.push(Value::Date(year, month, day, hour, minute, second, micros));
                forms.extend([Form::Int(8), Form::UInt(8), Form::Double, Form::Bytes, Form::Date]);
            }
            let row = laid_out(&values);
            let mut count = 0;
            let read = Row { bytes: &row, forms: &forms }.fields(|at, field| {
                count += 1;
                let same = Some(*field) == Field::of(&values[at]) || matches!(field, Field::Double(double) if double.is_nan());
                if same { Ok(()) } else { Err(format!("{field:?} at {at}")) }
            });
            prop_assert_eq!(read.unwrap(), Ok(()));
            prop_assert_eq!(count, values.len());
        }

        #[test]
        fn no_bytes_panic(bytes in prop::collection::vec(any::<u8>(), 0..60), forms in prop::collection::vec(0..8_usize, 0..20)) {
            let all = [Form::Int(1), Form::Int(2), Form::UInt(4), Form::UInt(8), Form::Float, Form::Double, Form::Date, Form::Bytes];
            let forms: Vec<_> = forms.into_iter().map(|at| all[at]).collect();
            let _ = Row { bytes: &bytes, forms: &forms }.fields::<()>(|_, _| Ok(()));
            let _ = Form::of(&bytes);
        }
    }
}
