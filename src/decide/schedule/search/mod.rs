//! The search for better plans: several walkers that meet at fixed efforts, so that the same input gives the same plan on any machine.

pub mod cost;
mod explain;
mod moves;
mod random;
pub mod state;
#[cfg(test)]
mod tests;
mod walker;

use super::bound::lower_bound;
use super::dispatch::{RULES, carry_on, dispatch};
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
    let bound = lower_bound(&problem);
    let mut best = first(&problem, stop);
    let mut iterations = 0;
    if !best.at.is_empty() && budget.iterations > 0 {
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
        if std::env::var("DEBUG").is_ok() {
            for w in &walkers {
                eprintln!("moves {} timed {} abort/reject/accept/better {:?}", w.moves, w.state.timed, w.stats);
            }
        }
        if let Some(leader) = walkers.iter().min_by_key(|walker| walker.best_key) {
            best.reset(&leader.best);
        }
    }
    finish(&best, bound, iterations, &mut vec![None; shop.orders.len()])
}

/// The best of the dispatching rules' plans, and of the last plan carried on if there is one.
fn first<'p>(problem: &'p Problem<'p>, stop: &(dyn Fn() -> bool + Sync)) -> State<'p> {
    let mut best = if problem.shop.operations.iter().any(|operation| operation.previous.is_some()) {
        State::new(problem, &carry_on(problem, problem.wants(Term::Stability)))
    } else {
        State::new(problem, &dispatch(problem, RULES[0]))
    };
    let rules = if problem.sequence.len() > OPERATIONS_FOR_ALL_RULES { &RULES[..2] } else { &RULES[..] };
    for rule in rules {
        if stop() {
            break;
        }
        let state = State::new(problem, &dispatch(problem, *rule));
        if std::env::var("DEBUG").is_ok() {
            eprintln!("{rule:?} {:.0}", state.measure.key(&state.cost)[1] as f64 / 3.6e9);
        }
        if state.measure.key(&state.cost) < best.measure.key(&best.cost) {
            best = state;
        }
    }
    best
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
    let mut terms = [0; 5];
    terms.copy_from_slice(&state.cost.terms[..5]);
    Plan { slots: explain::slots(state), terms, objective: key[1], lower_bound: bound.min(key[1]), iterations }
}
