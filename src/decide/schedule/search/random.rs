//! Random numbers of the search: the same on every machine, without a library's mathematics.

/// SplitMix64: Steele, Lea and Flood, "Fast splittable pseudorandom number generators", 2014.
#[derive(Debug, Clone)]
pub struct Random(u64);

impl Random {
    pub fn new(seed: u64, stream: u64) -> Self {
        let mut random = Self(seed ^ stream.wrapping_mul(0xA076_1D64_78BD_642F));
        random.next();
        random
    }

    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    /// Below `bound`, which is at least 1.
    pub fn below(&mut self, bound: usize) -> usize {
        ((u128::from(self.next()) * bound as u128) >> 64) as usize
    }

    /// Whether something of so many per cent happens.
    pub fn percent(&mut self, percent: usize) -> bool {
        self.below(100) < percent
    }

    /// 1 half of the time, else evenly up to `most`.
    pub fn distance(&mut self, most: usize) -> usize {
        if most < 2 || self.percent(50) { 1 } else { 1 + self.below(most) }
    }

    /// Distributed almost like −ln of an even number between 0 and 1.
    pub fn exponential(&mut self) -> f64 {
        let draw = self.next() | 1;
        let halvings = draw.leading_zeros();
        let rest = (draw << halvings) as f64 / 2.0_f64.powi(64);
        std::f64::consts::LN_2 * (f64::from(halvings) + 2.0 * (1.0 - rest))
    }
}
