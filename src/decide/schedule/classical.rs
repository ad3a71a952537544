//! Plain job shops, whose makespan counts first: the kernel for these searches them.

use super::dispatch::by_time;
use super::jobshop;
use super::search::state::Blueprint;
use super::shop::{Budget, Term};
use super::timing::Problem;

/// A plan, what no makespan can be below, and the kernel's iterations; none: the shop has more to it than the kernel knows.
pub fn search(problem: &Problem<'_>, budget: &Budget, stop: &dyn Fn() -> bool) -> Option<(Blueprint, i64, u64)> {
    let shop = problem.shop;
    let jobs = jobs(problem)?;
    let free = |resource: &super::shop::Resource| match shop.calendars[resource.calendar as usize].windows() {
        [(start, _)] => Some((start - shop.now).max(0)),
        _ => None,
    };
    let mut kernel = jobshop::Problem::new(shop.resources.iter().map(free).collect::<Option<_>>()?);
    for job in &jobs {
        let choice = |choice: &super::shop::Choice| jobshop::Choice { machine: choice.resource, duration: choice.duration };
        let operations: Vec<Vec<_>> = job.iter().map(|at| shop.choices_of(*at as usize).iter().map(choice).collect()).collect();
        kernel.job(problem.works[job[0] as usize].ready - shop.now, &operations).ok()?;
    }
    let walks = budget.walkers.max(1) as usize;
    let budget = jobshop::Budget { iterations: budget.iterations, walks, threads: walks, seed: budget.seed };
    let found = jobshop::solve(&kernel, &budget, |_| stop());
    let (mut starts, mut choices) = (vec![0; problem.works.len()], vec![0; problem.works.len()]);
    for (place, at) in jobs.iter().flatten().enumerate() {
        starts[*at as usize] = found.starts[place];
        choices[*at as usize] = shop.operations[*at as usize].choices.start + found.choices[place];
    }
    let plan = Blueprint { order: by_time(problem, &starts), choices, units: Vec::new(), held: Vec::new() };
    Some((plan, found.lower_bound, found.iterations))
}

/// The operations of each job in their order; none: not a plain job shop.
fn jobs(problem: &Problem<'_>) -> Option<Vec<Vec<u32>>> {
    let shop = problem.shop;
    let goals = shop.goals();
    let level = goals.iter().map(|goal| goal.level).min();
    let makespan = goals.iter().all(|goal| Some(goal.level) != level || goal.term == Term::Makespan);
    let plain = problem.sequence.len() == shop.operations.len() && !problem.has_units && problem.limits.is_empty();
    let setups = !shop.matrices.is_empty() || problem.works.iter().any(|work| work.setup > 0 || work.fixed.is_some());
    if !makespan || !plain || setups || shop.arcs.iter().any(|arc| arc.min_wait > 0) {
        return None;
    }
    let mut jobs: Vec<Vec<u32>> = Vec::new();
    for first in problem.sequence.iter().filter(|at| problem.preds.of(**at).is_empty()) {
        let mut job = vec![*first];
        let mut at = *first;
        while let [next] = problem.succs.of(at) {
            if problem.preds.of(*next).len() > 1 || problem.works[*next as usize].ready > problem.works[*first as usize].ready {
                return None;
            }
            at = *next;
            job.push(at);
        }
        if !problem.succs.of(at).is_empty() {
            return None;
        }
        jobs.push(job);
    }
    Some(jobs)
}
