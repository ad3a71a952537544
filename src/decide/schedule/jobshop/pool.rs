//! Good plans that differ, and new ones between two of them.

use super::problem::{Instance, Plan};
use super::rng::Rng;
use super::start;

/// Plans of the first pool: a second of search fills it and mixes it a few times.
const FIRST_SIZE: usize = 8;

const SIZE_MAX: usize = 64;

#[derive(Debug)]
pub(super) struct Pool {
    plans: Vec<Plan>,
    /// Makespan of the best plan that was ever offered.
    pub(super) best: i32,
    size: usize,
    /// Plans in a row that were not taken.
    refused: usize,
    /// The pool was given up and begun anew.
    again: bool,
}

impl Pool {
    pub(super) fn new() -> Self {
        Self { plans: Vec::new(), best: i32::MAX, size: FIRST_SIZE, refused: 0, again: false }
    }

    /// Takes a plan in: best first, none twice, none as bad as the worst of a full pool. A pool that takes nothing any more is given up for a
    /// larger one.
    pub(super) fn offer(&mut self, instance: &Instance, plan: Plan) {
        self.best = self.best.min(plan.makespan);
        if self.take(instance, plan) {
            self.refused = 0;
        } else {
            self.refused += 1;
            if self.refused > 2 * self.size {
                (self.size, self.refused, self.again) = ((2 * self.size).min(SIZE_MAX), 0, true);
                self.plans.clear();
            }
        }
    }

    fn take(&mut self, instance: &Instance, plan: Plan) -> bool {
        if self.plans.len() == self.size && self.plans.last().is_some_and(|worst| worst.makespan <= plan.makespan) {
            return false;
        }
        let near = (instance.operations() * instance.search.near_percent / 100).max(1);
        let before = machine_before(instance, &plan);
        let like = |other: &Plan| machine_before(instance, other).iter().zip(&before).filter(|(a, b)| a != b).count() < near;
        if let Some(same) = self.plans.iter().position(like) {
            if self.plans[same].makespan <= plan.makespan {
                return false;
            }
            self.plans.remove(same);
        }
        let place = self.plans.partition_point(|other| other.makespan <= plan.makespan);
        self.plans.insert(place, plan);
        self.plans.truncate(self.size);
        true
    }

    /// Where the next run begins.
    pub(super) fn next(&self, instance: &Instance, rng: &mut Rng) -> Plan {
        let count = self.plans.len() as u32;
        if self.plans.len() < self.size.min(2) || (self.plans.len() < self.size && (self.again || rng.below(2) == 0)) {
            return start::construct(instance, rng);
        }
        let a = rng.below(count);
        let b = (a + 1 + rng.below(count - 1)) % count;
        blend(&self.plans[a as usize], &self.plans[b as usize], rng)
    }
}

/// A plan between two: places in the order are weighted means, choices come from either. Both orders keep every job's, so does the mean.
fn blend(a: &Plan, b: &Plan, rng: &mut Rng) -> Plan {
    let weight = 0.3 + 0.4 * rng.unit();
    let mut keys = vec![0.0; a.order.len()];
    for (plan, weight) in [(a, weight), (b, 1.0 - weight)] {
        for (place, operation) in plan.order.iter().enumerate() {
            keys[*operation as usize] += weight * place as f64;
        }
    }
    let mut order = a.order.clone();
    order.sort_by(|x, y| keys[*x as usize].total_cmp(&keys[*y as usize]));
    let choice = a.choice.iter().zip(&b.choice).map(|(a, b)| if a == b || rng.unit() < weight { *a } else { *b }).collect();
    Plan { order, choice, makespan: 0 }
}

/// What identifies a plan: for each operation the one before it on its machine, with its own choice.
fn machine_before(instance: &Instance, plan: &Plan) -> Vec<(u32, u32)> {
    let mut last = vec![u32::MAX; instance.machines()];
    let mut before = vec![(0, 0); plan.order.len()];
    for operation in &plan.order {
        let choice = plan.choice[*operation as usize];
        let last = &mut last[instance.choice(choice).machine as usize];
        before[*operation as usize] = (*last, choice);
        *last = *operation;
    }
    before
}
