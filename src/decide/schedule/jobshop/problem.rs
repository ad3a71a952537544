//! The problem as the search reads it: flat arrays, times that fit 32 bits.

use super::{Problem, Solution};

/// Largest time inside the search: sums of two stay in 32 bits.
const TIME_MAX: i64 = 1 << 29;

/// A choice of an operation.
#[derive(Debug, Clone, Copy)]
pub(super) struct Choice {
    pub(super) machine: u32,
    pub(super) duration: i32,
}

/// Operations are numbered through all jobs. Times are the problem's from `origin` on, divided by `scale` and rounded down: exactly what the problem
/// says unless its horizon exceeds [`TIME_MAX`] of its own units (the greatest common divisor of its times).
#[derive(Debug)]
pub(super) struct Instance {
    /// Job `j` has the operations `jobs[j]..jobs[j + 1]`.
    pub(super) jobs: Vec<u32>,
    pub(super) job_of: Vec<u32>,
    /// Operation `o` has the choices `first_choice[o]..first_choice[o + 1]`.
    pub(super) first_choice: Vec<u32>,
    pub(super) choices: Vec<Choice>,
    pub(super) release: Vec<i32>,
    pub(super) available: Vec<i32>,
    origin: i64,
    scale: i64,
    /// More than one choice somewhere.
    pub(super) flexible: bool,
    pub(super) search: Search,
}

/// How to search a kind of shop: numbers found by trial.
#[derive(Debug, Clone, Copy)]
pub(super) struct Search {
    /// For how many steps a move is forbidden, at least.
    pub(super) tenure: u32,
    /// Steps without a better plan after which a run ends.
    pub(super) patience: u32,
    /// Two plans are alike if a smaller part of all operations differs in its choice or in what is before it on the machine.
    pub(super) near_percent: usize,
}

impl Instance {
    pub(super) fn new(problem: &Problem) -> Self {
        let instants = || problem.release.iter().chain(&problem.available).copied();
        let origin = instants().min().unwrap_or(0);
        let durations = problem.choices.iter().map(|choice| choice.duration);
        let unit = instants().map(|instant| instant.saturating_sub(origin)).chain(durations).fold(0, gcd).max(1);
        let latest = instants().max().unwrap_or(0).saturating_sub(origin);
        let longest = problem.first_choice.windows(2).map(|range| longest(problem, range[0]..range[1]));
        let horizon = longest.fold(latest, i64::saturating_add);
        let scale = unit.saturating_mul(horizon / unit / TIME_MAX + 1);
        let small = |time: i64| i32::try_from(time / scale).unwrap_or(i32::MAX / 4);
        let instant = |time: &i64| small(time.saturating_sub(origin));
        let flexible = problem.choices.len() + 1 != problem.first_choice.len();
        let job_of = (0..).zip(problem.jobs.windows(2)).flat_map(|(job, range)| (range[0]..range[1]).map(move |_| job)).collect();
        Self {
            jobs: problem.jobs.clone(),
            job_of,
            first_choice: problem.first_choice.clone(),
            choices: problem.choices.iter().map(|c| Choice { machine: c.machine, duration: small(c.duration) }).collect(),
            release: problem.release.iter().map(instant).collect(),
            available: problem.available.iter().map(instant).collect(),
            origin,
            scale,
            flexible,
            search: if flexible {
                Search { tenure: 9, patience: 700, near_percent: 3 }
            } else {
                let tenure = 5 + (problem.release.len() / problem.available.len().max(1)) as u32;
                Search { tenure, patience: 4_000, near_percent: 15 }
            },
        }
    }

    pub(super) fn operations(&self) -> usize {
        self.job_of.len()
    }

    pub(super) fn machines(&self) -> usize {
        self.available.len()
    }

    /// A time of the search as the problem says it.
    pub(super) fn instant(&self, time: i32) -> i64 {
        self.origin + i64::from(time) * self.scale
    }

    /// A plan with the times of the problem itself.
    pub(super) fn solution(&self, problem: &Problem, plan: &Plan) -> Solution {
        let mut sequences = vec![Vec::new(); self.machines()];
        let (mut free, mut ready) = (problem.available.clone(), problem.release.clone());
        let mut starts = vec![0; self.operations()];
        let mut makespan = self.instant(0);
        for operation in plan.order.iter().copied() {
            let choice = problem.choices[plan.choice[operation as usize] as usize];
            let (machine, job) = (choice.machine as usize, self.job_of[operation as usize] as usize);
            let start = free[machine].max(ready[job]);
            let end = start + choice.duration;
            (free[machine], ready[job], makespan) = (end, end, makespan.max(end));
            starts[operation as usize] = start;
            sequences[machine].push(operation);
        }
        let choices = plan.choice.iter().zip(&self.first_choice).map(|(choice, first)| choice - first).collect();
        Solution { choices, sequences, starts, makespan, ..Solution::default() }
    }

    /// The choices of an operation, as positions in `choices`.
    pub(super) fn choices_of(&self, operation: u32) -> std::ops::Range<u32> {
        self.first_choice[operation as usize]..self.first_choice[operation as usize + 1]
    }

    pub(super) fn choice(&self, choice: u32) -> Choice {
        self.choices[choice as usize]
    }

    /// The operation after in the job.
    pub(super) fn next(&self, operation: u32) -> Option<u32> {
        let last = self.jobs[self.job_of[operation as usize] as usize + 1];
        (operation + 1 < last).then_some(operation + 1)
    }
}

fn longest(problem: &Problem, choices: std::ops::Range<u32>) -> i64 {
    choices.map(|choice| problem.choices[choice as usize].duration).max().unwrap_or(0)
}

fn gcd(a: i64, b: i64) -> i64 {
    if b == 0 { a } else { gcd(b, a % b) }
}

/// What the search remembers of a schedule: operations in a topological order, and the choice of each.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Plan {
    pub(super) order: Vec<u32>,
    pub(super) choice: Vec<u32>,
    pub(super) makespan: i32,
}

impl Plan {
    /// Becomes the other if that is shorter.
    pub(super) fn keep_better(&mut self, other: &Plan) {
        if other.makespan < self.makespan {
            self.clone_from(other);
        }
    }
}
