//! Whole numbers as Parquet packs them: bits, runs, differences.

/// Values of a block of differences, and of the parts of it that have a width of their own.
const BLOCK: usize = 128;
const PART: usize = 32;

/// Bits that `value` needs.
pub(super) fn width_of(value: u64) -> usize {
    (u64::BITS - value.leading_zeros()) as usize
}

/// Appends `width` bits of each value, the lowest first.
#[inline(always)]
fn pack(values: impl ExactSizeIterator<Item = u64>, width: usize, out: &mut Vec<u8>) {
    let (start, bytes) = (out.len(), (values.len() * width).div_ceil(8));
    out.resize(start + bytes.next_multiple_of(8), 0);
    let mut words = out[start..].as_chunks_mut::<8>().0.iter_mut();
    let mut put = |word: u64| words.next().into_iter().for_each(|next| *next = word.to_le_bytes());
    let (mut word, mut filled) = (0_u64, 0);
    values.for_each(|value| {
        word |= value << filled;
        filled += width;
        if filled >= 64 {
            put(word);
            filled -= 64;
            word = if filled == 0 { 0 } else { value >> (width - filled) };
        }
    });
    put(word);
    out.truncate(start + bytes);
}

/// A bit for each value that is not 0.
pub(super) fn booleans(values: &[i64], out: &mut Vec<u8>) {
    pack(values.iter().map(|value| u64::from(*value != 0)), 1, out);
}

/// A number of variable length: seven bits a byte, the lowest first.
fn number(mut value: u64, out: &mut Vec<u8>) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

/// One value, `count` times, in the hybrid of runs and bits.
pub(super) fn run(value: u32, count: usize, width: usize, out: &mut Vec<u8>) {
    number((count as u64) << 1, out);
    out.extend_from_slice(&value.to_le_bytes()[..width.div_ceil(8)]);
}

/// `count` bits in the hybrid of runs and bits.
pub(super) fn bitmap(bits: &[u8], count: usize, out: &mut Vec<u8>) {
    let bytes = count.div_ceil(8);
    number((bytes as u64) << 1 | 1, out);
    out.extend_from_slice(&bits[..bytes]);
}

/// Positions in a dictionary in the hybrid of runs and bits, behind their width.
pub(super) fn positions(values: &[u32], width: usize, out: &mut Vec<u8>) {
    out.push(width as u8);
    let Some(first) = values.first() else { return };
    if values.iter().all(|value| value == first) {
        return run(*first, values.len(), width, out);
    }
    number((values.len().div_ceil(8) as u64) << 1 | 1, out);
    let end = out.len() + values.len().div_ceil(8) * width;
    pack(values.iter().map(|value| u64::from(*value)), width, out);
    out.resize(end, 0);
}

/// The first `count` values of `width` bits in the hybrid of runs and bits. `None`: there are fewer.
pub(super) fn numbers(bytes: &[u8], width: usize, count: usize) -> Option<Vec<u32>> {
    /// Values are packed by eight.
    const GROUP: usize = 8;
    if width > u32::BITS as usize {
        return None;
    }
    let (mut numbers, mut rest) = (Vec::with_capacity(count + GROUP), bytes);
    while numbers.len() < count {
        let length = rest.iter().take(5).position(|byte| *byte < 0x80)? + 1;
        let (head, after) = rest.split_at(length);
        let head = head.iter().rev().fold(0, |head, byte| head << 7 | usize::from(byte & 0x7f));
        let (times, is_packed) = (head >> 1, head & 1 == 1);
        let (body, after) = after.split_at_checked(if is_packed { times.checked_mul(width)? } else { width.div_ceil(8) })?;
        rest = after;
        if times == 0 {
            return None;
        }
        if is_packed && width > 0 {
            let mask = u64::MAX >> (64 - width);
            for group in body.chunks_exact(width) {
                let mut words = [0; u32::BITS as usize + 8];
                words[..width].copy_from_slice(group);
                let number = |place: usize| {
                    let word = words[place * width / 8..].first_chunk().map_or(0, |word| u64::from_le_bytes(*word));
                    (word >> (place * width % 8) & mask) as u32
                };
                numbers.extend((0..GROUP).map(number));
            }
        } else {
            let value = body.iter().rev().fold(0, |value, byte| value << 8 | u32::from(*byte));
            let times = if is_packed { times.saturating_mul(GROUP) } else { times };
            numbers.resize(numbers.len() + times.min(count - numbers.len()), value);
        }
    }
    numbers.truncate(count);
    Some(numbers)
}

/// Differences of neighbours (`DELTA_BINARY_PACKED`). `is_short`: the values have 32 bits, and so have their differences.
pub(super) fn differences(values: &[i64], is_short: bool, out: &mut Vec<u8>) {
    if is_short { of_width::<true>(values, out) } else { of_width::<false>(values, out) }
}

fn of_width<const SHORT: bool>(values: &[i64], out: &mut Vec<u8>) {
    let signed = |value: i64, out: &mut Vec<u8>| number(((value << 1) ^ (value >> 63)).cast_unsigned(), out);
    let first = values.first().copied().unwrap_or(0);
    number(BLOCK as u64, out);
    number((BLOCK / PART) as u64, out);
    number(values.len() as u64, out);
    signed(first, out);
    let mut last = first;
    for block in values.get(1..).unwrap_or_default().chunks(BLOCK) {
        let mut steps = [0_i64; BLOCK];
        let mut least = i64::MAX;
        for (step, value) in steps.iter_mut().zip(block) {
            // What overflows wraps around, here and when it is read.
            *step = if SHORT { i64::from((value.wrapping_sub(last)) as i32) } else { value.wrapping_sub(last) };
            least = least.min(*step);
            last = *value;
        }
        signed(least, out);
        let widths_at = out.len();
        out.extend_from_slice(&[0; BLOCK / PART]);
        for (part, steps) in steps[..block.len()].chunks(PART).enumerate() {
            let mut above = [0_u64; PART];
            let mut any = 0;
            for (above, step) in above.iter_mut().zip(steps) {
                *above = step.wrapping_sub(least).cast_unsigned();
                any |= *above;
            }
            let width = width_of(any);
            out[widths_at + part] = width as u8;
            pack(above.iter().copied(), width, out);
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn positions_are_read_back(values in prop::collection::vec(any::<u32>(), 0..100), width in 0_usize..=32, same in any::<bool>()) {
            let values: Vec<u32> = values.iter().map(|value| (u64::from(if same { 9 } else { *value }) & ((1 << width) - 1)) as u32).collect();
            let mut page = Vec::new();
            positions(&values, width, &mut page);
            assert_eq!(numbers(&page[1..], width, values.len()), Some(values.clone()));
            if !values.is_empty() && width > 0 {
                assert_eq!(numbers(&page[1..page.len() - 1], width, values.len()), None, "cut short");
            }
        }

        #[test]
        fn whatever_is_read_nothing_breaks(bytes in prop::collection::vec(any::<u8>(), 0..40), width in 0_usize..40, count in 0_usize..100) {
            let found = numbers(&bytes, width, count);
            assert!(found.is_none_or(|found| found.len() == count));
        }
    }

    #[test]
    fn runs_and_bits_follow_each_other() {
        let mut page = Vec::new();
        run(5, 3, 3, &mut page);
        bitmap(&[0b1000_1000, 0b1100_0110, 0b1111_1010], 24, &mut page);
        assert_eq!(numbers(&page, 3, 11), None, "bits of another width");
        let packed = [0x03, 0b1000_1000, 0b1100_0110, 0b1111_1010];
        let page = [&page[..2], &packed].concat();
        assert_eq!(numbers(&page, 3, 11), Some(vec![5, 5, 5, 0, 1, 2, 3, 4, 5, 6, 7]));
    }
}
