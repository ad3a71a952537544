//! What a plan costs: exact sums for comparing plans, one number for steering the search.

use super::super::shop::{Goal, Term};
use super::super::timing::Problem;

/// Operations beyond the horizon, and Σ of what maximum waits are exceeded by: hard, ahead of all goals.
pub const TERM_MISSING: usize = 5;
pub const TERM_EXCESS: usize = 6;

/// What a goal of the next level counts in steering, against one of its own level.
const NEXT_LEVEL: f64 = 1e-3;

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Cost {
    /// By `Term`, then the two above.
    pub terms: [i128; 7],
}

/// Compared level by level; the first element counts what is hard.
pub type Key = [i128; 6];

#[derive(Debug, Clone)]
pub struct Measure {
    /// Due date and weight of each order.
    orders: Vec<(i64, i64)>,
    goals: Vec<Goal>,
    factors: [f64; 7],
    pub uses_makespan: bool,
    pub uses_stability: bool,
}

impl Measure {
    pub fn new(problem: &Problem<'_>) -> Self {
        let shop = problem.shop;
        let mut goals = shop.goals();
        let mut levels: Vec<u8> = goals.iter().map(|goal| goal.level).collect();
        levels.sort_unstable();
        levels.dedup();
        goals.iter_mut().for_each(|goal| goal.level = levels.partition_point(|level| *level < goal.level) as u8);
        let mut factors = [0.0; 7];
        for goal in &goals {
            factors[goal.term as usize] += goal.weight as f64 * NEXT_LEVEL.powi(i32::from(goal.level));
        }
        let heaviest = shop.orders.iter().map(|order| order.weight).fold(1, i64::max) as f64;
        factors[TERM_EXCESS] = 10.0 * heaviest * factors.iter().fold(1.0, |a: f64, b| a.max(*b));
        factors[TERM_MISSING] = factors[TERM_EXCESS] * (problem.horizon - shop.now).max(1) as f64;
        let uses = |term| goals.iter().any(|goal: &Goal| goal.term == term);
        Self {
            orders: shop.orders.iter().map(|order| (order.due.unwrap_or(i64::MAX), order.weight)).collect(),
            uses_makespan: uses(Term::Makespan),
            uses_stability: uses(Term::Stability),
            factors,
            goals,
        }
    }

    /// Weighted lateness and earliness of an order that ends then.
    pub fn lateness(&self, order: u32, end: i64) -> (i128, i128) {
        let (due, weight) = self.orders[order as usize];
        if due == i64::MAX || end == i64::MIN {
            return (0, 0);
        }
        let late = i128::from(end) - i128::from(due);
        (late.max(0) * i128::from(weight), (-late).max(0) * i128::from(weight))
    }

    /// What steering gains by a microsecond less of a late order, and of the whole plan.
    pub fn late_weight(&self, order: u32) -> f64 {
        self.factors[Term::Tardiness as usize] * self.orders[order as usize].1 as f64
    }

    pub fn move_weight(&self) -> f64 {
        self.factors[Term::Stability as usize]
    }

    pub fn end_weight(&self) -> f64 {
        self.factors[Term::Makespan as usize]
    }

    pub fn change(&self, before: &Cost, after: &Cost) -> f64 {
        self.factors
            .iter()
            .zip(after.terms.iter().zip(&before.terms))
            .map(|(factor, (after, before))| factor * (after - before) as f64)
            .sum()
    }

    pub fn key(&self, cost: &Cost) -> Key {
        let mut key = [0; 6];
        key[0] = cost.terms[TERM_MISSING] * i128::from(i64::MAX) + cost.terms[TERM_EXCESS];
        for goal in &self.goals {
            key[(goal.level as usize + 1).min(5)] += i128::from(goal.weight) * cost.terms[goal.term as usize];
        }
        key
    }
}
