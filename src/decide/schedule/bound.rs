//! What no plan can be below.

use super::search::cost::Measure;
use super::shop::Term;
use super::timing::Problem;

/// A bound of the first level's weighted sum.
///
/// Of tardiness: each order's longest chain of least durations, with releases and calendars, and nothing in its way.
pub fn lower_bound(problem: &Problem<'_>) -> i128 {
    let ends = earliest_ends(problem);
    let mut tardiness = 0;
    let measure = Measure::new(problem);
    for (order, _) in problem.shop.orders.iter().enumerate() {
        let lasts = problem.lasts.of(order as u32).iter().map(|last| ends[*last as usize]);
        tardiness += measure.lateness(order as u32, lasts.fold(i64::MIN, i64::max)).0;
    }
    let end = problem.sequence.iter().map(|at| ends[*at as usize]).fold(problem.shop.now, i64::max);
    let goals = problem.shop.goals();
    let level = goals.iter().map(|goal| goal.level).min();
    let value = |term| match term {
        Term::Tardiness => tardiness,
        Term::Makespan => i128::from(end) - i128::from(problem.shop.now),
        _ => 0,
    };
    goals.iter().filter(|goal| Some(goal.level) == level).map(|goal| i128::from(goal.weight) * value(goal.term)).sum()
}

/// The earliest end of each operation if nothing but its predecessors, material and calendars kept it waiting.
pub fn earliest_ends(problem: &Problem<'_>) -> Vec<i64> {
    let mut ends = vec![i64::MIN; problem.works.len()];
    for at in &problem.sequence {
        let before = problem.preds.of(*at).iter().map(|(before, wait)| ends[*before as usize].saturating_add(*wait));
        let from = before.fold(problem.works[*at as usize].ready, i64::max);
        ends[*at as usize] = match problem.works[*at as usize].fixed {
            Some((_, end)) => problem.preds.of(*at).iter().map(|(before, _)| ends[*before as usize]).fold(end, i64::max),
            None => problem.shop.operations[*at as usize]
                .choices
                .clone()
                .map(|choice| problem.alone(*at, choice, from))
                .min()
                .unwrap_or(from),
        };
    }
    ends
}
