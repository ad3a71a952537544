//! 128-bit hashes of rows, column by column.
//!
//! Not cryptographic: a row that was made to collide could hide a change from a pull, but no two rows of real data share a hash by chance. The
//! value of a column is mixed with the column's name and the row is the sum over its columns, so that a row has the same hash whatever the order of
//! columns, after a column of nulls was added and after `integer` became `long`. Hashes are kept with tables: a change of this file makes every table look
//! changed once.

use arrow::array::{Array, ArrayRef, ArrowPrimitiveType, AsArray, RecordBatch};
use arrow::datatypes::{DataType, Date32Type, Decimal128Type, Float64Type, Int32Type, Int64Type, TimestampMicrosecondType};
use twox_hash::XxHash3_128;

use super::StoreError;

// Odd and without pattern (digits of π and e): a product with one of them depends on every bit of the other factor.
const SPREAD: u64 = 0x2432_6a88_85a3_08d3;
const SPREAD_AGAIN: u64 = 0xb7e1_5162_8aed_2a6b;
/// Salt of the last step, which keeps sums over rows from being sums over columns.
const ROW: u128 = 0xa409_3822_299f_31d0_082e_fa98_ec4e_6c89;
/// Salt of the words of a text.
const TEXT: u128 = 0xe93d_7e3a_8b5c_1f67_9216_d5d9_8979_fb1b;
/// Texts up to this length are mixed word by word, which is faster than to begin a hash; longer ones are not.
const CHAIN_BYTES: usize = 256;

/// The hash of some bytes.
pub(super) fn of_bytes(bytes: &[u8]) -> u128 {
    XxHash3_128::oneshot(bytes)
}

/// Hashes rows over some columns, found by name; a column that a batch lacks counts as null.
#[derive(Debug, Clone)]
pub(super) struct RowHasher {
    /// Name and salt.
    columns: Vec<(String, u128)>,
}

impl RowHasher {
    pub(super) fn new<'a>(columns: impl IntoIterator<Item = &'a str>) -> Self {
        Self { columns: columns.into_iter().map(|name| (name.into(), of_bytes(name.as_bytes()))).collect() }
    }

    /// One hash for each row of `batch`, whose types are storable.
    pub(super) fn hash(&self, table: &str, batch: &RecordBatch) -> Result<Vec<u128>, StoreError> {
        let mut sums = vec![0; batch.num_rows()];
        for (name, salt) in &self.columns {
            let Some(column) = batch.column_by_name(name) else { continue };
            if !add(column, *salt, &mut sums) {
                let problem = format!("rows with a column of type {} cannot be compared", column.data_type());
                return Err(StoreError::Column { table: table.into(), column: name.clone(), problem });
            }
        }
        for sum in &mut sums {
            *sum = mix(*sum, ROW);
        }
        Ok(sums)
    }
}

/// Two hashes of `value` of 64 bits each, side by side: what one takes for the same the other tells apart.
#[inline(always)] // called for every value
fn mix(value: u128, salt: u128) -> u128 {
    let salted = value ^ salt;
    let (low, high) = (salted as u64, (salted >> 64) as u64);
    u128::from(folded(low ^ SPREAD, high.rotate_left(32) ^ SPREAD_AGAIN)) << 64
        | u128::from(folded(low ^ SPREAD_AGAIN, high ^ SPREAD))
}

/// The halves of a product on top of one another.
#[inline(always)]
fn folded(a: u64, b: u64) -> u64 {
    let product = u128::from(a) * u128::from(b);
    product as u64 ^ (product >> 64) as u64
}

/// Adds the hashes of the values that are not null; `false` for a type that no table has.
fn add(column: &ArrayRef, salt: u128, sums: &mut [u128]) -> bool {
    match column.data_type() {
        DataType::Int32 => primitive::<Int32Type>(column, salt, sums, |value| signed(value.into())),
        DataType::Int64 => primitive::<Int64Type>(column, salt, sums, signed),
        DataType::Date32 => primitive::<Date32Type>(column, salt, sums, |value| signed(value.into())),
        DataType::Timestamp(_, _) => primitive::<TimestampMicrosecondType>(column, salt, sums, signed),
        DataType::Decimal128(_, _) => primitive::<Decimal128Type>(column, salt, sums, i128::cast_unsigned),
        DataType::Float64 => primitive::<Float64Type>(column, salt, sums, |value| value.to_bits().into()),
        DataType::Boolean => {
            let values = column.as_boolean();
            each(column, sums, |row| mix(values.value(row).into(), salt));
        }
        DataType::Utf8 => {
            let texts = column.as_string::<i32>();
            bytes(column, salt, sums, texts.value_offsets(), texts.value_data());
        }
        DataType::Binary => {
            let binaries = column.as_binary::<i32>();
            bytes(column, salt, sums, binaries.value_offsets(), binaries.value_data());
        }
        _ => return false,
    }
    true
}

fn primitive<T: ArrowPrimitiveType>(column: &ArrayRef, salt: u128, sums: &mut [u128], word: impl Fn(T::Native) -> u128) {
    let values = column.as_primitive::<T>().values();
    each(column, sums, |row| mix(word(values[row]), salt));
}

fn bytes(column: &ArrayRef, salt: u128, sums: &mut [u128], offsets: &[i32], data: &[u8]) {
    each(column, sums, |row| {
        let (start, end) = (offsets[row] as usize, offsets[row + 1] as usize);
        mix(word(&data[start..], end - start), salt)
    });
}

/// Adds the hash of each value that is not null.
#[inline(always)] // as is `hash`, which is called in one place
fn each(column: &ArrayRef, sums: &mut [u128], hash: impl Fn(usize) -> u128) {
    let nulls = column.logical_nulls().filter(|nulls| nulls.null_count() > 0);
    for (row, sum) in sums.iter_mut().enumerate() {
        if nulls.as_ref().is_none_or(|nulls| nulls.is_valid(row)) {
            *sum = sum.wrapping_add(hash(row));
        }
    }
}

fn signed(value: i64) -> u128 {
    value.cast_unsigned().into()
}

/// The first `length` bytes of `rest` as they are with their length if they are few, hashed if they are many.
#[inline(always)]
fn word(rest: &[u8], length: usize) -> u128 {
    if length < 16 {
        return padded(rest, length);
    }
    let bytes = &rest[..length];
    if length > CHAIN_BYTES {
        return of_bytes(bytes);
    }
    let (words, end) = bytes.as_chunks();
    let chain = words.iter().fold(0, |chain, word| mix(u128::from_le_bytes(*word) ^ chain, TEXT));
    // The end is that of the last 16 bytes: to cut them costs less than to copy so many.
    let last = bytes.last_chunk().map_or(0, |last| u128::from_le_bytes(*last));
    mix(with_length(last.unbounded_shr(128 - 8 * end.len() as u32), end.len()) ^ chain, TEXT)
}

/// The first `length` bytes of `rest`, less than 16, and how many they are.
#[inline(always)]
pub(super) fn padded(rest: &[u8], length: usize) -> u128 {
    let word = match rest.first_chunk() {
        Some(word) => u128::from_le_bytes(*word) & u128::MAX.unbounded_shr(128 - 8 * length as u32),
        None => rest[..length].iter().rev().fold(0, |word, byte| word << 8 | u128::from(*byte)),
    };
    with_length(word, length)
}

#[inline(always)]
fn with_length(word: u128, length: usize) -> u128 {
    word | (length as u128) << 120
}

#[cfg(test)]
mod tests {
    use std::collections::{HashMap, HashSet};
    use std::sync::Arc;

    use arrow::array::{BinaryArray, BooleanArray, Float64Array, Int32Array, Int64Array, StringArray};

    use super::*;

    fn hash(columns: Vec<(&str, ArrayRef)>) -> Vec<u128> {
        let names: Vec<&str> = columns.iter().map(|(name, _)| *name).collect();
        let hasher = RowHasher::new(names.iter().rev().copied());
        hasher.hash("t", &RecordBatch::try_from_iter(columns).unwrap()).unwrap()
    }

    /// Rows in whose values chance collisions would show: neighbours, swaps, prefixes, zero bytes, null against empty.
    #[test]
    fn only_equal_rows_have_equal_hashes() {
        let numbers = [None, Some(0), Some(1), Some(-1), Some(1 << 32), Some(i64::MIN), Some(i64::MAX)];
        let longs: Vec<String> = [15, 16, 17, 31, 32, 33, 255, 256, 257].map(|length| "x".repeat(length)).into();
        let swapped = ["a", "b"].map(|first| first.repeat(16) + &if first == "a" { "b" } else { "a" }.repeat(16));
        let texts = [None, Some(""), Some("\0"), Some("a"), Some("a\0"), Some("b")].into_iter();
        let texts: Vec<Option<&str>> = texts.chain(longs.iter().chain(&swapped).map(|text| Some(text.as_str()))).collect();
        let mut rows = Vec::new();
        for a in numbers {
            for b in numbers {
                for c in &texts {
                    for d in &texts {
                        rows.push((a, b, *c, *d));
                    }
                }
            }
        }
        let columns: Vec<(&str, ArrayRef)> = vec![
            ("a", Arc::new(rows.iter().map(|row| row.0).collect::<Int64Array>())),
            ("b", Arc::new(rows.iter().map(|row| row.1).collect::<Int64Array>())),
            ("c", Arc::new(rows.iter().map(|row| row.2).collect::<StringArray>())),
            ("d", Arc::new(rows.iter().map(|row| row.3.map(str::as_bytes)).collect::<BinaryArray>())),
        ];
        let hashes = hash(columns);
        let distinct: HashSet<u128> = hashes.iter().copied().collect();
        assert_eq!(distinct.len(), rows.len());
        let mut halves: HashMap<u64, u32> = HashMap::new();
        hashes.iter().for_each(|hash| *halves.entry((hash >> 64) as u64).or_default() += 1);
        assert!(halves.values().all(|count| *count == 1), "each half is a hash of its own");
    }

    /// Hashes are kept with tables.
    #[test]
    fn short_values_are_padded_with_zeros() {
        let bytes: Vec<u8> = (1..18).map(|byte| byte * 14).collect();
        for length in 0..16 {
            let mut word = [0; 16];
            word[15] = length as u8;
            word[..length].copy_from_slice(&bytes[..length]);
            assert_eq!(padded(&bytes[..length], length), u128::from_le_bytes(word), "{length}");
            assert_eq!(padded(&bytes, length), u128::from_le_bytes(word), "{length} of more");
        }
    }

    #[test]
    fn evolution_keeps_hashes() {
        let narrow: ArrayRef = Arc::new(Int32Array::from(vec![Some(-7), None]));
        let wide: ArrayRef = Arc::new(Int64Array::from(vec![Some(-7), None]));
        let other: ArrayRef = Arc::new(Float64Array::from(vec![None, None]));
        let flag: ArrayRef = Arc::new(BooleanArray::from(vec![true, false]));
        let before = hash(vec![("n", narrow), ("f", flag.clone())]);
        assert_eq!(before, hash(vec![("f", flag.clone()), ("x", other), ("n", wide.clone())]));
        assert_ne!(before, hash(vec![("n", flag), ("f", wide)]), "the name counts");
    }

    #[test]
    fn sums_of_rows_are_not_sums_of_columns() {
        let rows = |a: [i64; 2], b: [i64; 2]| {
            let columns: Vec<(&str, ArrayRef)> =
                vec![("a", Arc::new(Int64Array::from(a.to_vec()))), ("b", Arc::new(Int64Array::from(b.to_vec())))];
            hash(columns).into_iter().fold(0, u128::wrapping_add)
        };
        assert_ne!(rows([1, 2], [3, 4]), rows([1, 2], [4, 3]));
        assert_eq!(rows([1, 2], [3, 4]), rows([2, 1], [4, 3]));
    }
}
