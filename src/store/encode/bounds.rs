//! The least and the greatest value of a page or a column chunk.

use parquet::data_type::{ByteArray, FixedLenByteArray};
use parquet::file::page_index::column_index::ColumnIndexMetaData;
use parquet::file::statistics::{Statistics, ValueStatistics};

use super::column::{Form, Values};
use super::dictionary::Dictionary;

/// Longer texts are cut.
const TEXT_BYTES: usize = 64;
const CHARACTER_BYTES_MAX: usize = 4;

#[derive(Debug, Clone, PartialEq)]
pub(in crate::store) enum Bounds {
    /// In an order of whole numbers; see [`ordered`].
    Numbers(i64, i64),
    Bytes(Vec<u8>, Vec<u8>),
}

/// The bits of doubles as whole numbers of the same order. It is its own reverse.
fn ordered(bits: i64) -> i64 {
    bits ^ ((bits >> 63).cast_unsigned() >> 1).cast_signed()
}

/// Bytes of a form as they are compared: the sign of numbers counts first.
fn rank(form: Form, bytes: &[u8]) -> (u8, &[u8]) {
    match (form, bytes) {
        (Form::Fixed(_), [first, ..]) => (first ^ 0x80, bytes),
        _ => (0, bytes),
    }
}

/// The first bytes as a number of the same order, as far as they go.
#[inline]
fn start_of(form: Form, bytes: &[u8]) -> u64 {
    let start = match bytes.first_chunk() {
        Some(first) => u64::from_be_bytes(*first),
        None => bytes.iter().fold(0, |start, byte| start << 8 | u64::from(*byte)) << (8 * (8 - bytes.len())).min(63),
    };
    if matches!(form, Form::Fixed(_)) { start ^ 1 << 63 } else { start }
}

impl Bounds {
    /// `None`: there is no value, or none but NaN.
    pub(super) fn of(values: &Values, form: Form) -> Option<Self> {
        let span = |least: i64, greatest: i64| (least <= greatest).then_some(Self::Numbers(least, greatest));
        match values {
            Values::Numbers(numbers) if form == Form::Double => {
                let values =
                    numbers.iter().filter(|bits| !f64::from_bits(bits.cast_unsigned()).is_nan()).map(|bits| ordered(*bits));
                let (least, greatest) = values.fold((i64::MAX, i64::MIN), |(a, b), value| (a.min(value), b.max(value)));
                // Readers may think that both zeros are one.
                let (zero, minus_zero) = (ordered(0), ordered(i64::MIN));
                span(if least == zero { minus_zero } else { least }, if greatest == minus_zero { zero } else { greatest })
            }
            Values::Numbers(numbers) => {
                let (least, greatest) = numbers.iter().fold((i64::MAX, i64::MIN), |(a, b), value| (a.min(*value), b.max(*value)));
                span(least, greatest)
            }
            Values::Bytes { lengths, body } => {
                let mut rest = body.as_slice();
                Self::of_bytes(
                    lengths.iter().map(|length| {
                        let (value, after) = rest.split_at(*length as usize);
                        rest = after;
                        value
                    }),
                    form,
                )
            }
        }
    }

    /// Of those values of a dictionary that a page uses.
    pub(super) fn of_used(dictionary: &Dictionary, numbers: &[u32], form: Form) -> Option<Self> {
        let mut is_used = vec![false; dictionary.len()];
        numbers.iter().for_each(|number| is_used[*number as usize] = true);
        let used = is_used.into_iter().enumerate().filter_map(|(number, is_used)| is_used.then_some(number));
        match &dictionary.values {
            Values::Numbers(values) => Self::of(&Values::Numbers(used.map(|number| values[number]).collect()), form),
            Values::Bytes { .. } => Self::of_bytes(used.map(|number| dictionary.bytes(number)), form),
        }
    }

    fn of_bytes<'a>(mut values: impl Iterator<Item = &'a [u8]>, form: Form) -> Option<Self> {
        let first = values.next()?;
        let (mut least, mut greatest) = ((start_of(form, first), first), (start_of(form, first), first));
        for value in values {
            let value = (start_of(form, value), value);
            // Most are told apart by their first bytes.
            if value.0 <= least.0 && rank(form, value.1) < rank(form, least.1) {
                least = value;
            } else if value.0 >= greatest.0 && rank(form, value.1) > rank(form, greatest.1) {
                greatest = value;
            }
        }
        let (least, greatest) = (least.1, greatest.1);
        Some(Self::Bytes(least.into(), greatest.into()))
    }

    pub(super) fn and(self, other: &Self, form: Form) -> Self {
        match (self, other) {
            (Self::Numbers(a, b), Self::Numbers(c, d)) => Self::Numbers(a.min(*c), b.max(*d)),
            (Self::Bytes(a, b), Self::Bytes(c, d)) => Self::Bytes(
                if rank(form, c) < rank(form, &a) { c.clone() } else { a },
                if rank(form, d) > rank(form, &b) { d.clone() } else { b },
            ),
            (own, _) => own, // values of a column are of one kind
        }
    }

    /// What a column index says of a page; `None`: nothing.
    pub(in crate::store) fn in_index(index: &ColumnIndexMetaData, page: usize) -> Option<Self> {
        Some(match index {
            ColumnIndexMetaData::BOOLEAN(of) => Self::Numbers((*of.min_value(page)?).into(), (*of.max_value(page)?).into()),
            ColumnIndexMetaData::INT32(of) => Self::Numbers((*of.min_value(page)?).into(), (*of.max_value(page)?).into()),
            ColumnIndexMetaData::INT64(of) => Self::Numbers(*of.min_value(page)?, *of.max_value(page)?),
            ColumnIndexMetaData::DOUBLE(of) => {
                let number = |value: &f64| ordered(value.to_bits().cast_signed());
                Self::Numbers(number(of.min_value(page)?), number(of.max_value(page)?))
            }
            ColumnIndexMetaData::BYTE_ARRAY(of) | ColumnIndexMetaData::FIXED_LEN_BYTE_ARRAY(of) => {
                Self::Bytes(of.min_value(page)?.into(), of.max_value(page)?.into())
            }
            _ => return None,
        })
    }

    /// As they are laid out.
    pub(super) fn bytes(&self, form: Form) -> (Vec<u8>, Vec<u8>) {
        let number = |value: &i64| match form {
            Form::Boolean => vec![u8::from(*value != 0)],
            Form::Int32 => (*value as i32).to_le_bytes().to_vec(),
            Form::Double => ordered(*value).to_le_bytes().to_vec(),
            _ => value.to_le_bytes().to_vec(),
        };
        match self {
            Self::Numbers(least, greatest) => (number(least), number(greatest)),
            Self::Bytes(least, greatest) if form == Form::Bytes => (cut_below(least), cut_above(greatest)),
            Self::Bytes(least, greatest) => (least.clone(), greatest.clone()),
        }
    }

    pub(super) fn statistics(&self, form: Form, nulls: u64) -> Statistics {
        let double = |value: i64| f64::from_bits(ordered(value).cast_unsigned());
        let nulls = Some(nulls);
        match self {
            Self::Numbers(a, b) => match form {
                Form::Boolean => Statistics::boolean(Some(*a != 0), Some(*b != 0), None, nulls, false),
                Form::Int32 => Statistics::int32(Some(*a as i32), Some(*b as i32), None, nulls, false),
                Form::Double => Statistics::double(Some(double(*a)), Some(double(*b)), None, nulls, false),
                _ => Statistics::int64(Some(*a), Some(*b), None, nulls, false),
            },
            Self::Bytes(a, b) => {
                let (least, greatest) = self.bytes(form);
                // What an index said may have been cut before.
                let is_exact = |bound: &[u8], whole: &[u8]| bound == whole && whole.len() <= TEXT_BYTES - CHARACTER_BYTES_MAX;
                let (least_is_exact, greatest_is_exact) = (is_exact(&least, a), is_exact(&greatest, b));
                if form == Form::Bytes {
                    let bounds = ValueStatistics::new(Some(ByteArray::from(least)), Some(greatest.into()), None, nulls, false);
                    bounds.with_min_is_exact(least_is_exact).with_max_is_exact(greatest_is_exact).into()
                } else {
                    let fixed = |bytes: Vec<u8>| Some(FixedLenByteArray::from(ByteArray::from(bytes)));
                    Statistics::fixed_len_byte_array(fixed(least), fixed(greatest), None, nulls, false)
                }
            }
        }
    }

    /// Statistics that say no more than how many values are null.
    pub(super) fn unknown(form: Form, nulls: u64) -> Statistics {
        let nulls = Some(nulls);
        match form {
            Form::Boolean => Statistics::boolean(None, None, None, nulls, false),
            Form::Int32 => Statistics::int32(None, None, None, nulls, false),
            Form::Int64 => Statistics::int64(None, None, None, nulls, false),
            Form::Double => Statistics::double(None, None, None, nulls, false),
            Form::Bytes => Statistics::byte_array(None, None, None, nulls, false),
            Form::Fixed(_) => Statistics::fixed_len_byte_array(None, None, None, nulls, false),
        }
    }
}

/// The longest start of `bytes` that is kept; of a text it is whole characters.
fn start(bytes: &[u8]) -> &[u8] {
    match std::str::from_utf8(bytes) {
        Ok(text) => &bytes[..text.floor_char_boundary(TEXT_BYTES)],
        Err(_) => &bytes[..TEXT_BYTES.min(bytes.len())],
    }
}

fn cut_below(bytes: &[u8]) -> Vec<u8> {
    start(bytes).to_vec()
}

/// Something short that is not less than `bytes`; they themselves where there is nothing.
fn cut_above(bytes: &[u8]) -> Vec<u8> {
    if bytes.len() <= TEXT_BYTES {
        return bytes.to_vec();
    }
    let above = match std::str::from_utf8(start(bytes)) {
        Ok(text) => text.char_indices().rev().find_map(|(at, last)| {
            let next = char::from_u32(u32::from(last) + 1).filter(|next| next.len_utf8() == last.len_utf8())?;
            Some([&text.as_bytes()[..at], next.to_string().as_bytes()].concat())
        }),
        Err(_) => {
            let at = start(bytes).iter().rposition(|byte| *byte < u8::MAX);
            at.map(|at| [&bytes[..at], &[bytes[at] + 1]].concat())
        }
    };
    above.unwrap_or_else(|| bytes.to_vec())
}
