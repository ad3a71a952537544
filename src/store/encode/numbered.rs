//! A column whose values are numbers in a dictionary, written anew without a look at the values themselves.

use std::borrow::Cow;

use arrow::array::{Array, ArrayRef, UInt32Array};
use arrow::buffer::NullBuffer;
use parquet::errors::ParquetError;
use parquet::schema::types::ColumnDescPtr;

use super::column::{Codec, Column, Form, Values};
use super::pack;

/// With new values the dictionary of an old column has this many at most. A larger one is made anew, so that values that nobody has any more leave it.
const GROWN_MAX: usize = 1 << 8;

impl Column {
    /// A column that goes on with the dictionary of another one: `count` values, one after the other as in `page`. `None`: they are no dictionary of ours.
    pub(in crate::store) fn going_on(descriptor: ColumnDescPtr, page: &[u8], count: usize) -> Option<Self> {
        let mut column = Self::new(descriptor, true);
        let dictionary = column.dictionary.as_mut()?;
        let numbers = dictionary.numbers_of(&values(column.form, page, count)?);
        numbers.iter().copied().eq(0..count as u32).then_some(column)
    }

    /// The numbers of these values. `None`: they are too many new ones.
    pub(in crate::store) fn numbers_of(&mut self, array: &ArrayRef) -> Result<Option<UInt32Array>, ParquetError> {
        let Some(dictionary) = &mut self.dictionary else { return Ok(None) };
        let (before, mut values) = (dictionary.len(), dictionary.values.none());
        values.append(self.form, array)?;
        let numbers = dictionary.numbers_of(&values);
        let is_small = dictionary.len() == before || dictionary.len() <= GROWN_MAX;
        Ok(is_small.then(|| spread(numbers, array.nulls())))
    }

    /// The numbers in a data page of so many rows. `None`: it is no page of ours.
    pub(in crate::store) fn numbers_in(&self, page: &[u8], rows: usize) -> Option<UInt32Array> {
        let (mut rest, mut validity) = (page, None);
        if self.descriptor.max_def_level() > 0 {
            let (length, levels) = page.split_first_chunk()?;
            let (levels, values) = levels.split_at_checked(u32::from_le_bytes(*length) as usize)?;
            let levels = pack::numbers(levels, 1, rows)?;
            rest = values;
            if levels.contains(&0) {
                validity = Some(NullBuffer::from_iter(levels.into_iter().map(|level| level == 1)));
            }
        }
        let nulls = validity.as_ref().map_or(0, NullBuffer::null_count);
        let (width, positions) = rest.split_first()?;
        let numbers = pack::numbers(positions, (*width).into(), rows - nulls)?;
        let most = numbers.iter().copied().fold(0, u32::max);
        let is_known = numbers.is_empty() || (most as usize) < self.dictionary.as_ref()?.len();
        is_known.then(|| spread(numbers, validity.as_ref()))
    }

    /// Writes a page of these values.
    pub(in crate::store) fn write_numbers(&mut self, numbers: &UInt32Array, codec: &mut Codec) -> Result<(), ParquetError> {
        if numbers.is_empty() {
            return Ok(());
        }
        let valid: Cow<[u32]> = match numbers.null_count() {
            0 => numbers.values().as_ref().into(),
            _ => numbers.iter().flatten().collect(),
        };
        self.put_page(numbers.len(), numbers.nulls(), codec, |column, page| {
            (column.encode_numbers(&valid, page), column.bounds_of(&valid))
        })
    }
}

/// Numbers, each at its place among nulls.
fn spread(numbers: Vec<u32>, validity: Option<&NullBuffer>) -> UInt32Array {
    let Some(validity) = validity.filter(|validity| validity.null_count() > 0) else { return numbers.into() };
    let mut next = numbers.into_iter();
    validity.iter().map(|is_valid| if is_valid { next.next() } else { None }).collect()
}

/// Values one after the other.
fn values(form: Form, bytes: &[u8], count: usize) -> Option<Values> {
    let numbers = |width: usize| {
        let bytes = bytes.get(..count.checked_mul(width)?)?;
        let number = |bytes: &[u8]| match bytes.first_chunk() {
            Some(bytes) => i64::from_le_bytes(*bytes),
            None => bytes.first_chunk().map_or(0, |bytes| i32::from_le_bytes(*bytes).into()),
        };
        Some(Values::Numbers(bytes.chunks(width).map(number).collect()))
    };
    match form {
        Form::Boolean => None,
        Form::Int32 => numbers(4),
        Form::Int64 | Form::Double => numbers(8),
        Form::Fixed(length) => {
            let body = bytes.get(..count.checked_mul(length)?)?.to_vec();
            Some(Values::Bytes { lengths: vec![length as i64; count], body })
        }
        Form::Bytes => {
            let (mut lengths, mut body, mut rest) = (Vec::new(), Vec::new(), bytes);
            for _ in 0..count {
                let (length, after) = rest.split_first_chunk()?;
                let (value, after) = after.split_at_checked(u32::from_le_bytes(*length) as usize)?;
                lengths.push(value.len() as i64);
                body.extend_from_slice(value);
                rest = after;
            }
            Some(Values::Bytes { lengths, body })
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{Int64Array, StringArray};
    use parquet::basic::Type;
    use parquet::schema::types::{ColumnDescriptor, ColumnPath, Type as SchemaType};

    use super::*;

    fn column(physical: Type, plain: &[u8], count: usize) -> Option<Column> {
        let of = SchemaType::primitive_type_builder("x", physical).build().unwrap();
        Column::going_on(Arc::new(ColumnDescriptor::new(Arc::new(of), 1, 0, ColumnPath::from("x"))), plain, count)
    }

    #[test]
    fn a_dictionary_goes_on_if_it_is_one() {
        let plain: Vec<u8> = [7_i64, -1].iter().flat_map(|number| number.to_le_bytes()).collect();
        let mut numbers = column(Type::INT64, &plain, 2).unwrap();
        let more: ArrayRef = Arc::new(Int64Array::from(vec![Some(-1), None, Some(9), Some(7)]));
        assert_eq!(numbers.numbers_of(&more).unwrap().unwrap(), UInt32Array::from(vec![Some(1), None, Some(2), Some(0)]));
        let many: ArrayRef = Arc::new((0..254).map(|n| n * 1_000).collect::<Int64Array>());
        assert_eq!(numbers.numbers_of(&many).unwrap(), None, "too many new ones");
        let known: ArrayRef = Arc::new(Int64Array::from(vec![253_000]));
        assert!(numbers.numbers_of(&known).unwrap().is_some(), "none of them new");

        let mut texts = column(Type::BYTE_ARRAY, b"\x02\0\0\0ab\0\0\0\0", 2).unwrap();
        let more: ArrayRef = Arc::new(StringArray::from(vec!["", "ab"]));
        assert_eq!(texts.numbers_of(&more).unwrap().unwrap(), UInt32Array::from(vec![1, 0]));

        assert!(column(Type::INT64, &plain, 3).is_none(), "cut short");
        assert!(column(Type::BYTE_ARRAY, b"\x02\0\0\0a", 1).is_none(), "cut short");
        assert!(column(Type::INT32, &[0; 8], 2).is_none(), "a value twice");
        assert!(column(Type::INT64, &[0; 8], usize::MAX).is_none());
        assert!(column(Type::BOOLEAN, &[0; 8], 2).is_none());
    }

    #[test]
    fn pages_are_read_if_they_are_ours() {
        let plain: Vec<u8> = [7_i64, 8, 9].iter().flat_map(|number| number.to_le_bytes()).collect();
        let numbers = column(Type::INT64, &plain, 3).unwrap();
        let in_page = |page: &[u8], rows| numbers.numbers_in(page, rows);
        let valid = [2, 0, 0, 0, 4 << 1, 1];
        let page = [&valid[..], &[2, 3, 0b1001_0010, 0]].concat();
        assert_eq!(in_page(&page, 4), Some(UInt32Array::from(vec![2, 0, 1, 2])));
        let with_null = [2, 0, 0, 0, 3, 0b1011, 2, 4 << 1, 1];
        assert_eq!(in_page(&with_null, 4), Some(UInt32Array::from(vec![Some(1), Some(1), None, Some(1)])));
        assert_eq!(in_page(&[&valid[..], &[2, 4 << 1, 3]].concat(), 4), None, "no such value");
        assert_eq!(in_page(&page[..7], 4), None, "cut short");
        assert_eq!(in_page(&page[..3], 4), None, "cut short");
        assert_eq!(in_page(&[9, 0, 0, 0], 4), None, "cut short");
    }
}
