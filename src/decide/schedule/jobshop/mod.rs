//! The makespan kernel of `schedule`: job shops and flexible job shops.
//!
//! Jobs are chains of operations, each with one or more machines that can do it and a duration for each; a machine does one at a time. The search is
//! tabu search on a longest path ([`neighbours`]), begun anew between good plans of a pool ([`pool`]). Several walks run for a fixed number of steps,
//! then the pool takes what they found in their order: problem, seed, walks and iterations decide the result, threads and clock only when it comes.

mod bound;
mod graph;
mod neighbours;
mod pool;
mod problem;
mod rng;
mod start;
#[cfg(test)]
mod tests;
mod walk;

use pool::Pool;
use problem::Instance;
use rng::Rng;
use walk::Walk;

/// Where an operation may be done, and how long it takes there; any unit of time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Choice {
    pub machine: u32,
    pub duration: i64,
}

/// A shop whose last end is to come as early as possible. Operations are numbered through all jobs.
#[derive(Debug, Clone)]
pub struct Problem {
    /// Operations of job `j`: `jobs[j]..jobs[j + 1]`.
    jobs: Vec<u32>,
    /// Choices of operation `o`: `first_choice[o]..first_choice[o + 1]`.
    first_choice: Vec<u32>,
    choices: Vec<Choice>,
    /// By job, no operation starts before.
    release: Vec<i64>,
    /// By machine, nothing starts before.
    available: Vec<i64>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BadJob {
    #[error("operation {0} of the job has no machine")]
    NoChoice(usize),
    #[error("operation {0} of the job is on machine {1}, which is not there")]
    NoMachine(usize, u32),
    #[error("a duration of operation {0} of the job is negative")]
    Negative(usize),
}

impl Problem {
    /// Machines by the time from which each is free.
    pub fn new(available: Vec<i64>) -> Self {
        Self { jobs: vec![0], first_choice: vec![0], choices: Vec::new(), release: Vec::new(), available }
    }

    /// Adds a job: its operations in order, each with its choices.
    pub fn job<C: AsRef<[Choice]>>(&mut self, release: i64, operations: &[C]) -> Result<(), BadJob> {
        for (number, choices) in operations.iter().map(C::as_ref).enumerate() {
            if choices.is_empty() {
                return Err(BadJob::NoChoice(number));
            }
            if let Some(choice) = choices.iter().find(|choice| choice.machine as usize >= self.available.len()) {
                return Err(BadJob::NoMachine(number, choice.machine));
            }
            if choices.iter().any(|choice| choice.duration < 0) {
                return Err(BadJob::Negative(number));
            }
        }
        for choices in operations {
            self.choices.extend_from_slice(choices.as_ref());
            self.first_choice.push(self.choices.len() as u32);
        }
        self.jobs.push(self.first_choice.len() as u32 - 1);
        self.release.push(release);
        Ok(())
    }
}

/// How long to search.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Budget {
    /// Steps of all walks together.
    pub iterations: u64,
    /// Walks that exchange what they find; part of what decides the result.
    pub walks: usize,
    /// How many of them run at a time.
    pub threads: usize,
    pub seed: u64,
}

/// A schedule.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Solution {
    /// By operation, which of its choices.
    pub choices: Vec<u32>,
    /// By machine, its operations in their order.
    pub sequences: Vec<Vec<u32>>,
    /// By operation, its earliest start.
    pub starts: Vec<i64>,
    pub makespan: i64,
    /// No schedule is shorter.
    pub lower_bound: i64,
    /// The makespan is the lower bound.
    pub proven: bool,
    /// Iterations done: a budget of as many gives the same schedule.
    pub iterations: u64,
}

/// Where a search stands.
#[derive(Debug, Clone, Copy)]
#[allow(dead_code, reason = "read by tests and measurements")]
pub struct Progress {
    pub iterations: u64,
    pub makespan: i64,
}

/// Searches until the budget is spent, the makespan is proven or `stop` says so: it is asked between epochs, some hundredths of a second each.
pub fn solve(problem: &Problem, budget: &Budget, mut stop: impl FnMut(Progress) -> bool) -> Solution {
    let instance = Instance::new(problem);
    let bound = bound::lower_bound(&instance);
    let mut seeds = Rng::new(budget.seed);
    let mut walks: Vec<Walk<'_>> = (0..budget.walks.max(1))
        .map(|_| {
            let mut rng = Rng::new(seeds.next());
            let plan = start::construct(&instance, &mut rng);
            Walk::new(&instance, plan, rng)
        })
        .collect();
    let mut pool = Pool::new();
    let epoch = (2_000_000 / instance.operations().max(1) as u64).clamp(64, 10_000);
    let (mut best, mut iterations) = (walks[0].best().clone(), 0);
    loop {
        walks.iter().for_each(|walk| best.keep_better(walk.best()));
        let progress = Progress { iterations, makespan: instance.instant(best.makespan) };
        if best.makespan <= bound || iterations >= budget.iterations || stop(progress) {
            break;
        }
        let steps = epoch.min((budget.iterations - iterations).div_ceil(walks.len() as u64));
        let share = walks.len().div_ceil(budget.threads.max(1));
        std::thread::scope(|scope| {
            for walks in walks.chunks_mut(share) {
                let pool = &pool;
                scope.spawn(move || walks.iter_mut().for_each(|walk| walk.run(steps, pool, bound)));
            }
        });
        iterations += steps * walks.len() as u64;
        for plan in walks.iter_mut().flat_map(|walk| walk.found.drain(..)) {
            best.keep_better(&plan);
            pool.offer(&instance, plan);
        }
    }
    let solution = instance.solution(problem, &best);
    let lower_bound = instance.instant(bound);
    Solution { lower_bound, proven: solution.makespan == lower_bound, iterations, ..solution }
}
