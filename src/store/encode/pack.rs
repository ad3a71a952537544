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
    for value in values {
        word |= value << filled;
        filled += width;
        if filled >= 64 {
            put(word);
            filled -= 64;
            word = if filled == 0 { 0 } else { value >> (width - filled) };
        }
    }
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
