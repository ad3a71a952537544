//! The search for better plans: several walkers that meet at fixed efforts, so that the same input gives the same plan on any machine.

pub mod cost;
mod explain;
mod moves;
mod random;
pub mod state;
#[cfg(test)]
mod tests;
mod walker;
mod weights;

use super::bound::lower_bound;
use super::classical;
use super::dispatch::{RULES, Rule, dispatch};
use super::shop::{Budget, Plan, Shop, Term};
use super::timing::Problem;
use cost::TERM_EXCESS;
use state::{Blueprint, State};
use walker::Walker;

/// Larger shops get fewer first plans.
const OPERATIONS_FOR_ALL_RULES: usize = 30_000;

/// The best plan found. `stop` is asked between epochs of some hundredths of a second.
pub fn solve(shop: &Shop, budget: &Budget, stop: &(dyn Fn() -> bool + Sync)) -> Plan {
    let problem = Problem::new(shop, &[]);
    let mut bound = lower_bound(&problem);
    let mut best = first(&problem, stop);
    let dispatched = best.blueprint();
    let mut iterations = 0;
    let plain = if budget.iterations > 0 { classical::search(&problem, budget, stop) } else { None };
    if let Some((plan, least, done)) = plain {
        let weight = shop.goals().iter().filter(|goal| goal.term == Term::Makespan).map(|goal| goal.weight).max().unwrap_or(1);
        bound = bound.max(i128::from(least) * i128::from(weight));
        iterations = done;
        let state = State::new(&problem, &plan);
        if state.measure.key(&state.cost) < best.measure.key(&best.cost) {
            best = state;
        }
    } else if !best.at.is_empty() && budget.iterations > 0 {
        let plan = best.blueprint();
        let walker = |stream| Walker::new(State::new(&problem, &plan), budget.seed, u64::from(stream));
        let mut walkers: Vec<Walker<'_>> = (0..budget.walkers.max(1)).map(walker).collect();
        let done = |walkers: &[Walker<'_>]| {
            walkers.iter().map(|walker| walker.best_key).min().is_some_and(|key| key[0] == 0 && key[1] <= bound)
        };
        while iterations < budget.iterations && !done(&walkers) && !stop() {
            std::thread::scope(|scope| walkers.iter_mut().for_each(|walker| drop(scope.spawn(|| walker.epoch()))));
            iterations = walkers.iter().map(|walker| walker.moves).sum();
            let leader = (0..walkers.len()).min_by_key(|walker| walkers[*walker].best_key).unwrap_or_default();
            let plan = walkers[leader].best.clone();
            walkers.iter_mut().filter(|walker| walker.cycle_done()).for_each(|walker| walker.restart(&plan));
        }
        if let Some(leader) = walkers.iter().min_by_key(|walker| walker.best_key) {
            best.reset(&leader.best);
        }
    }
    let finished = |state: &State<'_>| finish(state, bound, iterations, &mut vec![None; shop.orders.len()]);
    let searched = finished(&best);
    if best.measure.key(&best.cost)[0] == 0 {
        return searched;
    }
    // of two plans from which orders are taken out, the better one need not leave the better rest
    best.reset(&dispatched);
    let dispatched = finished(&best);
    let worth = |plan: &Plan| (plan.slots.iter().filter(|slot| slot.is_err()).count(), plan.objective);
    if worth(&dispatched) < worth(&searched) { dispatched } else { searched }
}

/// The best of the dispatching rules' plans, and of the last plan carried on if there is one.
fn first<'p>(problem: &'p Problem<'p>, stop: &(dyn Fn() -> bool + Sync)) -> State<'p> {
    let mut rules = if problem.sequence.len() > OPERATIONS_FOR_ALL_RULES { RULES[..2].to_vec() } else { RULES.to_vec() };
    if problem.works.iter().any(|work| work.previous != i64::MIN) {
        let hold = problem.wants(Term::Stability);
        rules.splice(0..0, [false, true].map(|elsewhere| Rule::Last { hold, elsewhere }));
    }
    let mut best: Option<State<'p>> = None;
    for rule in rules {
        let state = State::new(problem, &dispatch(problem, rule));
        if best.as_ref().is_none_or(|best| state.measure.key(&state.cost) < best.measure.key(&best.cost)) {
            best = Some(state);
        }
        if stop() {
            break;
        }
    }
    best.unwrap_or_else(|| State::new(problem, &dispatch(problem, RULES[0])))
}

/// Takes orders out that break a maximum wait, and says of the rest when and why.
fn finish(state: &State<'_>, bound: i128, iterations: u64, broken: &mut [Option<u32>]) -> Plan {
    let problem = state.problem;
    if state.cost.terms[TERM_EXCESS] > 0 {
        for (limit, _) in problem.limits.iter().zip(&state.excess).filter(|(_, excess)| **excess > 0) {
            let out = if problem.is_free(limit.after) { limit.after } else { limit.before };
            broken[problem.works[out as usize].order as usize].get_or_insert(limit.arc);
        }
        let rest = Problem::new(problem.shop, broken);
        let mut plan = Blueprint { units: Vec::new(), ..state.blueprint() };
        plan.order.retain(|at| rest.missing[*at as usize].is_none());
        return finish(&State::new(&rest, &plan), bound, iterations, broken);
    }
    let key = state.measure.key(&state.cost);
    Plan { slots: explain::slots(state), objective: key[1], lower_bound: bound.min(key[1]), iterations }
}
