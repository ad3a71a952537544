//! The distinct values of a column chunk, numbered as they come.

use super::super::hash::padded;
use super::column::{Form, Values};

const SLOTS: usize = 1 << 10;
/// An odd number without pattern (digits of π).
const SPREAD: u64 = 0x2432_6a88_85a3_08d3;

/// Tells the hash of a long value from a short value, whose length is in the highest byte.
const LONG: u128 = 0xff << 120;

/// A value is found by an open table of the hashes' lower bits; at least half of it is free.
pub(super) struct Dictionary {
    /// Number of the value + 1; 0 is free.
    slots: Vec<u32>,
    hashes: Vec<u64>,
    pub(super) values: Values,
    /// Where each value of bytes starts.
    starts: Vec<usize>,
    /// All of a value of less than 16 bytes and its length, or the hash of a longer one.
    words: Vec<u128>,
}

impl Dictionary {
    /// `like`: values of the column.
    pub(super) fn new(like: &Values) -> Self {
        Self { slots: vec![0; SLOTS], hashes: Vec::new(), values: like.none(), starts: Vec::new(), words: Vec::new() }
    }

    pub(super) fn len(&self) -> usize {
        self.hashes.len()
    }

    /// Bytes of its page.
    pub(super) fn bytes_plain(&self, form: Form) -> usize {
        match (&self.values, form) {
            (Values::Numbers(numbers), Form::Int32) => numbers.len() * 4,
            (Values::Numbers(numbers), _) => numbers.len() * 8,
            (Values::Bytes { lengths, body }, Form::Bytes) => lengths.len() * 4 + body.len(),
            (Values::Bytes { body, .. }, _) => body.len(),
        }
    }

    /// The bytes of value `number`.
    pub(super) fn bytes(&self, number: usize) -> &[u8] {
        match &self.values {
            Values::Bytes { lengths, body } => &body[self.starts[number]..][..lengths[number] as usize],
            Values::Numbers(_) => &[],
        }
    }

    /// The number of each value; new ones get the next.
    pub(super) fn numbers_of(&mut self, values: &Values) -> Vec<u32> {
        match values {
            Values::Numbers(values) => values.iter().map(|value| self.number_of_number(*value)).collect(),
            Values::Bytes { lengths, body } => {
                let mut rest = body.as_slice();
                let each = lengths.iter().map(|length| {
                    let number = self.number_of_bytes(rest, *length as usize);
                    rest = &rest[*length as usize..];
                    number
                });
                each.collect()
            }
        }
    }

    #[inline]
    fn number_of_number(&mut self, value: i64) -> u32 {
        // No two numbers have the same.
        let hash = value.cast_unsigned().wrapping_mul(SPREAD | 1).rotate_left(32);
        match self.find(hash, |own, number| own.hashes[number] == hash) {
            Ok(number) => number,
            Err(slot) => {
                if let Values::Numbers(values) = &mut self.values {
                    values.push(value);
                }
                self.add(slot, hash)
            }
        }
    }

    /// The number of the first `length` bytes of `rest`.
    #[inline]
    fn number_of_bytes(&mut self, rest: &[u8], length: usize) -> u32 {
        let (value, is_short) = (&rest[..length], length < 16);
        let word = if is_short { padded(rest, length) } else { LONG | u128::from(hash_of(value)) };
        let hash = fold(word as u64, (word >> 64) as u64);
        match self.find(hash, |own, number| own.words[number] == word && (is_short || own.bytes(number) == value)) {
            Ok(number) => number,
            Err(slot) => {
                if let Values::Bytes { lengths, body } = &mut self.values {
                    self.words.push(word);
                    self.starts.push(body.len());
                    lengths.push(value.len() as i64);
                    body.extend_from_slice(value);
                }
                self.add(slot, hash)
            }
        }
    }

    /// The number of a value, or the slot for it.
    #[inline]
    fn find(&self, hash: u64, is_it: impl Fn(&Self, usize) -> bool) -> Result<u32, usize> {
        let mask = self.slots.len() - 1;
        let mut slot = hash as usize & mask;
        loop {
            match self.slots[slot] {
                0 => return Err(slot),
                number if is_it(self, number as usize - 1) => return Ok(number - 1),
                _ => slot = (slot + 1) & mask,
            }
        }
    }

    #[cold]
    fn add(&mut self, slot: usize, hash: u64) -> u32 {
        self.hashes.push(hash);
        self.slots[slot] = self.hashes.len() as u32;
        if self.hashes.len() * 2 > self.slots.len() {
            self.slots = vec![0; self.slots.len() * 2];
            for number in 0..self.hashes.len() {
                // No two are equal.
                if let Err(slot) = self.find(self.hashes[number], |_, _| false) {
                    self.slots[slot] = number as u32 + 1;
                }
            }
        }
        self.hashes.len() as u32 - 1
    }
}

#[inline]
fn fold(hash: u64, word: u64) -> u64 {
    let product = u128::from(hash ^ word ^ SPREAD) * u128::from(SPREAD.rotate_left(31) | 1);
    (product >> 64) as u64 ^ product as u64
}

/// Of 16 bytes or more.
#[inline]
fn hash_of(bytes: &[u8]) -> u64 {
    let words = bytes.as_chunks().0.iter().map(|word| u64::from_le_bytes(*word));
    let last = bytes.last_chunk().map_or(0, |last| u64::from_le_bytes(*last));
    fold(words.fold(bytes.len() as u64, fold), last)
}
