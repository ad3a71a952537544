//! What no plan can be below.

use std::collections::BTreeSet;

use super::calendar::NEVER;
use super::dispatch::shortest;
use super::shop::Term;
use super::timing::Problem;

/// Groups of resources times operations that are looked at: beyond this only the largest groups.
const EFFORT_MAX: usize = 3_000_000;

/// Weights are rounded down to at most so many different ones.
const WEIGHTS_MAX: usize = 24;

/// A bound of the first level's weighted sum, from tardiness and makespan; the other terms count as 0.
///
/// Two relaxations, the better of them for each layer of weights (Σ w T = Σ over thresholds of (step of the threshold × Σ T of the orders that weigh as much)):
/// each order's longest chain of least durations alone in the shop; and the orders' work on a group of resources, all of it divisible and without set-ups,
/// the shortest first, so that the k-th order to end does so no earlier than the group can do the k smallest works (due dates sorted likewise).
pub fn lower_bound(problem: &Problem<'_>) -> i128 {
    let goals = problem.shop.goals();
    let level = goals.iter().map(|goal| goal.level).min();
    let first: Vec<_> = goals.iter().filter(|goal| Some(goal.level) == level).collect();
    let bounds = Bounds::new(problem);
    let value = |term| match term {
        Term::Tardiness => bounds.tardiness(),
        Term::Makespan => bounds.makespan(),
        _ => 0,
    };
    first.iter().map(|goal| i128::from(goal.weight) * value(goal.term)).sum()
}

struct Bounds<'p> {
    problem: &'p Problem<'p>,
    /// By operation: the earliest start and end if nothing but predecessors, material and calendars kept it waiting, and the longest work behind it.
    alone: Vec<(i64, i64)>,
    behind: Vec<i64>,
    /// As `behind`, of the same order only.
    tails: Vec<i64>,
    groups: Vec<Group>,
}

/// Operations that only these resources can do.
struct Group {
    operations: Vec<u32>,
    /// Instants with the work that the resources together can do until then, and how many work from there on.
    capacity: Vec<(i64, i64, i64)>,
}

impl<'p> Bounds<'p> {
    fn new(problem: &'p Problem<'p>) -> Self {
        let mut alone = vec![(0_i64, 0_i64); problem.works.len()];
        for at in &problem.sequence {
            let ends =
                |waits: bool| problem.preds.of(*at).iter().map(move |(before, wait)| (*before, if waits { *wait } else { 0 }));
            let latest = |waits: bool, from: i64| {
                ends(waits).fold(from, |from, (before, wait)| from.max(alone[before as usize].1.saturating_add(wait)))
            };
            alone[*at as usize] = match problem.works[*at as usize].fixed {
                Some((start, end)) => (start, latest(false, end)),
                None => {
                    let from = latest(true, problem.works[*at as usize].ready);
                    let choices = problem.shop.operations[*at as usize].choices.clone();
                    (from, choices.map(|choice| problem.alone(*at, choice, from)).min().unwrap_or(from))
                }
            };
        }
        let (mut behind, mut tails) = (vec![0_i64; alone.len()], vec![0_i64; alone.len()]);
        for at in problem.sequence.iter().rev() {
            for after in problem.succs.of(*at) {
                let longer = |behind: &[i64]| behind[*after as usize].saturating_add(shortest(problem, *after));
                behind[*at as usize] = behind[*at as usize].max(longer(&behind));
                if problem.works[*at as usize].order == problem.works[*after as usize].order {
                    tails[*at as usize] = tails[*at as usize].max(longer(&tails));
                }
            }
        }
        let mut bounds = Self { problem, alone, behind, tails, groups: Vec::new() };
        bounds.groups = bounds.groups();
        bounds
    }

    fn groups(&self) -> Vec<Group> {
        let free = || self.problem.sequence.iter().copied().filter(|at| self.problem.is_free(*at));
        let resources = |at: u32| -> BTreeSet<u32> {
            self.problem.shop.choices_of(at as usize).iter().map(|choice| choice.resource).collect()
        };
        let each: Vec<(u32, BTreeSet<u32>)> = free().map(|at| (at, resources(at))).collect();
        let mut sets: Vec<BTreeSet<u32>> = each.iter().map(|(_, set)| set.clone()).collect::<BTreeSet<_>>().into_iter().collect();
        sets.push(each.iter().flat_map(|(_, set)| set).copied().collect());
        sets.sort_by_key(|set| std::cmp::Reverse(set.len()));
        sets.truncate((EFFORT_MAX / each.len().max(1)).max(1));
        let group = |set: &BTreeSet<u32>| {
            let operations: Vec<u32> = each.iter().filter(|(_, own)| own.is_subset(set)).map(|(at, _)| *at).collect();
            let head = operations.iter().map(|at| self.alone[*at as usize].0).min().unwrap_or(0);
            Group { capacity: self.capacity(set, head), operations }
        };
        sets.iter().map(group).filter(|group| !group.operations.is_empty()).collect()
    }

    fn capacity(&self, resources: &BTreeSet<u32>, head: i64) -> Vec<(i64, i64, i64)> {
        let mut changes = Vec::new();
        for resource in resources {
            let calendar = &self.problem.shop.calendars[self.problem.shop.resources[*resource as usize].calendar as usize];
            let windows = calendar.open_end(self.problem.horizon + 1);
            let windows = windows.windows().iter().filter(|window| window.1 > head);
            changes.extend(windows.flat_map(|(start, end)| [((*start).max(head), 1), (*end, -1)]));
        }
        changes.sort_unstable();
        let (mut capacity, mut work, mut lanes, mut at) = (Vec::with_capacity(changes.len()), 0_i64, 0, head);
        for (instant, change) in changes {
            work = work.saturating_add((instant - at).saturating_mul(lanes));
            (at, lanes) = (instant, lanes + change);
            capacity.push((at, work, lanes));
        }
        capacity
    }

    fn makespan(&self) -> i128 {
        let mut end = self.problem.sequence.iter().map(|at| self.alone[*at as usize].1).fold(self.problem.fixed_end, i64::max);
        for group in &self.groups {
            let work = group.operations.iter().fold(0_i64, |sum, at| sum.saturating_add(shortest(self.problem, *at)));
            let tail = group.operations.iter().map(|at| self.behind[*at as usize]).min().unwrap_or(0);
            end = end.max(reach(&group.capacity, &mut 0, work).saturating_add(tail));
        }
        i128::from(end) - i128::from(self.problem.shop.now)
    }

    fn tardiness(&self) -> i128 {
        let orders = &self.problem.shop.orders;
        let mut weights: Vec<i64> = orders.iter().filter(|order| order.due.is_some()).map(|order| order.weight).collect();
        weights.sort_unstable();
        weights.dedup();
        let step = weights.len().div_ceil(WEIGHTS_MAX).max(1);
        let weights: Vec<i64> = weights.into_iter().step_by(step).collect();
        // by order: the lateness of its chain
        let late = |order: u32| {
            let own_end = |at: &u32| self.problem.works[*at as usize].fixed.map_or(self.alone[*at as usize].1, |(_, end)| end);
            let last = self.problem.lasts.of(order).iter().map(own_end).max()?;
            Some(i128::from(last.saturating_sub(orders[order as usize].due?).max(0)))
        };
        let late: Vec<i128> = (0..orders.len() as u32).map(|order| late(order).unwrap_or(0)).collect();
        let exact: i128 = (0..orders.len()).map(|order| late[order] * i128::from(orders[order].weight)).sum();
        let mut best = vec![0; weights.len()];
        for (layer, weight) in best.iter_mut().zip(&weights) {
            *layer = late.iter().zip(orders).filter(|(_, order)| order.weight >= *weight).map(|(late, _)| late).sum();
        }
        for group in &self.groups {
            self.improve(group, &late, &weights, &mut best);
        }
        let steps = weights.iter().scan(0, |below, weight| Some(weight - std::mem::replace(below, *weight)));
        let layered = steps.zip(&best).map(|(step, layer)| i128::from(step) * layer).sum();
        exact.max(layered)
    }

    /// Raises the layers' bounds to what a group of resources makes of them.
    fn improve(&self, group: &Group, late: &[i128], weights: &[i64], best: &mut [i128]) {
        let orders = &self.problem.shop.orders;
        let mut works: Vec<(i64, i64)> = vec![(0, i64::MAX); orders.len()];
        for at in &group.operations {
            let (work, tail) = &mut works[self.problem.works[*at as usize].order as usize];
            *work = work.saturating_add(shortest(self.problem, *at));
            *tail = (*tail).min(self.tails[*at as usize]);
        }
        for (layer, weight) in best.iter_mut().zip(weights) {
            let (mut lengths, mut dues, mut bound) = (Vec::new(), Vec::new(), 0);
            for (order, (work, tail)) in works.iter().enumerate().filter(|(order, _)| orders[*order].weight >= *weight) {
                match orders[order].due {
                    Some(due) if *tail < i64::MAX => {
                        lengths.push(*work);
                        dues.push(due.saturating_sub(*tail));
                    }
                    _ => bound += late[order],
                }
            }
            lengths.sort_unstable();
            dues.sort_unstable();
            let (mut done, mut place) = (0_i64, 0);
            for (length, due) in lengths.iter().zip(&dues) {
                done = done.saturating_add(*length);
                bound += i128::from(reach(&group.capacity, &mut place, done).saturating_sub(*due).max(0));
            }
            *layer = bound.max(*layer);
        }
    }
}

/// When a group of resources can have done so much work, from a place in its capacity on.
fn reach(capacity: &[(i64, i64, i64)], place: &mut usize, work: i64) -> i64 {
    while capacity.get(*place + 1).is_some_and(|(_, until, _)| *until < work) {
        *place += 1;
    }
    match capacity.get(*place) {
        Some((at, done, lanes)) if *lanes > 0 => at.saturating_add((work - done).max(0) / lanes).min(NEVER),
        Some((at, ..)) => *at,
        None => i64::MIN,
    }
}
