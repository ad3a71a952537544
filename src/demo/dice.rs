//! Seeded chance. Every sequence depends on (seed, plant, purpose, day) alone, so that a day can be simulated again without its past.

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};

/// A seeded source of whole numbers. Whole numbers only: floating point could differ between machines.
pub struct Dice(ChaCha8Rng);

impl Dice {
    /// The dice of one plant for one `purpose` on one day.
    pub fn new(seed: u64, plant: u32, purpose: u32, day: i64) -> Self {
        let mut key = [0u8; 32];
        key[..8].copy_from_slice(&seed.to_le_bytes());
        key[8..12].copy_from_slice(&plant.to_le_bytes());
        key[12..16].copy_from_slice(&purpose.to_le_bytes());
        key[16..24].copy_from_slice(&day.to_le_bytes());
        Self(ChaCha8Rng::from_seed(key))
    }

    /// A number in `0..count`; 0 where `count` is not positive.
    pub fn below(&mut self, count: i64) -> i64 {
        if count <= 0 {
            return 0;
        }
        ((u128::from(self.0.next_u64()) * count as u128) >> 64) as i64
    }

    /// A number in `low..=high`.
    pub fn between(&mut self, low: i64, high: i64) -> i64 {
        low + self.below(high - low + 1)
    }

    /// True `per_mille` times in 1,000.
    pub fn chance(&mut self, per_mille: i64) -> bool {
        self.below(1_000) < per_mille
    }

    /// Roughly bell-shaped around `middle`, never further away than `spread`.
    pub fn bell(&mut self, middle: i64, spread: i64) -> i64 {
        let sum: i64 = (0..4).map(|_| self.between(-spread, spread)).sum();
        middle + sum / 4
    }

    /// One of `choices`; the first where there is only one. `choices` is never empty.
    pub fn pick<'a, T>(&mut self, choices: &'a [T]) -> &'a T {
        let index = self.below(choices.len() as i64) as usize;
        &choices[index]
    }

    /// An index into `weights`, in proportion to them.
    pub fn weighted(&mut self, weights: &[i64]) -> usize {
        let mut left = self.below(weights.iter().sum());
        for (index, weight) in weights.iter().enumerate() {
            left -= weight;
            if left < 0 {
                return index;
            }
        }
        weights.len().saturating_sub(1)
    }
}
