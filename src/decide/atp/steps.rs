//! A sequence of numbers with the three operations that promising needs, each in logarithmic time.

use crate::decide::quantity::Micro;

/// Numbers kept as differences in a binary tree, each node with the sum and the extremes of the running sum over its range.
pub struct Steps {
    count: usize,
    leaves: usize,
    nodes: Vec<Sums>,
}

#[derive(Debug, Clone, Copy, Default)]
struct Sums {
    total: Micro,
    high: Micro,
    low: Micro,
}

impl Sums {
    fn leaf(difference: Micro) -> Self {
        Self { total: difference, high: difference, low: difference }
    }

    fn join(left: Self, right: Self) -> Self {
        let (high, low) = (left.total + right.high, left.total + right.low);
        Self { total: left.total + right.total, high: left.high.max(high), low: left.low.min(low) }
    }
}

impl Steps {
    pub fn new(values: &[Micro]) -> Self {
        let leaves = values.len().next_power_of_two();
        let mut nodes = vec![Sums::default(); 2 * leaves];
        let before = std::iter::once(&0).chain(values);
        for (at, (value, before)) in values.iter().zip(before).enumerate() {
            nodes[leaves + at] = Sums::leaf(value - before);
        }
        for node in (1..leaves).rev() {
            nodes[node] = Sums::join(nodes[2 * node], nodes[2 * node + 1]);
        }
        Self { count: values.len(), leaves, nodes }
    }

    pub fn get(&self, at: usize) -> Micro {
        let mut node = self.leaves + at;
        let mut value = self.nodes[node].total;
        while node > 1 {
            if node % 2 == 1 {
                value += self.nodes[node - 1].total;
            }
            node /= 2;
        }
        value
    }

    /// Adds to all numbers from `at` on.
    pub fn add_from(&mut self, at: usize, value: Micro) {
        if at >= self.count {
            return;
        }
        let mut node = self.leaves + at;
        self.nodes[node] = Sums::leaf(self.nodes[node].total + value);
        while node > 1 {
            node /= 2;
            self.nodes[node] = Sums::join(self.nodes[2 * node], self.nodes[2 * node + 1]);
        }
    }

    pub fn set(&mut self, at: usize, value: Micro) {
        let change = value - self.get(at);
        self.add_from(at, change);
        self.add_from(at + 1, -change);
    }

    /// The first number from `from` on that is at least `limit`.
    pub fn first_at_least(&self, from: usize, limit: Micro) -> Option<usize> {
        self.search(1, (0, self.leaves), 0, from, limit).filter(|at| *at < self.count)
    }

    fn search(&self, node: usize, (start, end): (usize, usize), before: Micro, from: usize, limit: Micro) -> Option<usize> {
        if end <= from || before + self.nodes[node].high < limit {
            return None;
        }
        if end - start == 1 {
            return Some(start);
        }
        let middle = usize::midpoint(start, end);
        let right = before + self.nodes[2 * node].total;
        self.search(2 * node, (start, middle), before, from, limit)
            .or_else(|| self.search(2 * node + 1, (middle, end), right, from, limit))
    }

    /// The last number that is less than `limit`.
    pub fn last_below(&self, limit: Micro) -> Option<usize> {
        if self.count == 0 || self.nodes[1].low >= limit {
            return None;
        }
        let (mut node, mut before) = (1, 0);
        while node < self.leaves {
            let right = before + self.nodes[2 * node].total;
            if right + self.nodes[2 * node + 1].low < limit {
                node = 2 * node + 1;
                before = right;
            } else {
                node *= 2;
            }
        }
        Some((node - self.leaves).min(self.count - 1)) // beyond the count the last number is repeated
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn agrees_with_a_plain_list(
            mut plain in prop::collection::vec(-20_i128..20, 1..20),
            changes in prop::collection::vec((0_usize..20, -9_i128..9, prop::bool::ANY), 0..30),
            from in 0_usize..20,
            limit in -30_i128..30,
        ) {
            let mut steps = Steps::new(&plain);
            for (at, value, one) in changes {
                let at = at % plain.len();
                if one {
                    steps.set(at, value);
                    plain[at] = value;
                } else {
                    steps.add_from(at, value);
                    plain[at..].iter_mut().for_each(|number| *number += value);
                }
            }
            for (at, number) in plain.iter().enumerate() {
                prop_assert_eq!(steps.get(at), *number);
            }
            let first = (from..plain.len()).find(|at| plain[*at] >= limit);
            prop_assert_eq!(steps.first_at_least(from, limit), first);
            prop_assert_eq!(steps.last_below(limit), plain.iter().rposition(|number| *number < limit));
        }
    }
}
