//! The scheduling problem and its answer, in numbers: what `read` makes of the tables, what `solve` takes and `write` shows.
//!
//! Instants are microseconds since 1970 (UTC), durations microseconds. Things refer to one another by their places in the vectors.
//! An operation with a `fault` is not scheduled, nor is what follows it, up to the next fixed operation (which shows that the order went on all the same).

use std::ops::Range;

use super::calendar::Calendar;

/// A factory with its work.
#[derive(Debug, Clone, Default)]
pub struct Shop {
    /// Nothing that is not fixed starts before it.
    pub now: i64,
    pub orders: Vec<Order>,
    pub operations: Vec<Operation>,
    /// Alternatives of all operations; each operation names its range.
    pub choices: Vec<Choice>,
    /// Needs of all operations; each operation names its range.
    pub needs: Vec<Need>,
    pub arcs: Vec<Arc>,
    pub resources: Vec<Resource>,
    pub calendars: Vec<Calendar>,
    pub matrices: Vec<Matrix>,
    /// Single tools or people. A tool that exists three times is three units; a person with two skills is a unit in two pools.
    pub units: Vec<Unit>,
    /// The units of each pool: whoever needs the pool takes some of these.
    pub pools: Vec<Vec<u32>>,
    pub goals: Vec<Goal>,
}

/// Operations that are late together.
#[derive(Debug, Clone, Default)]
pub struct Order {
    pub due: Option<i64>,
    /// Cost of a microsecond of lateness; not negative.
    pub weight: i64,
}

/// Work that one resource does without doing anything else.
#[derive(Debug, Clone, Default)]
pub struct Operation {
    pub order: u32,
    pub choices: Range<u32>,
    pub needs: Range<u32>,
    /// Material is there from here on.
    pub release: Option<i64>,
    pub family: Option<u32>,
    /// Set-up where the resource has no matrix entry for the two families: spent unless the operation before is of the same family.
    pub setup: i64,
    /// Whether it may rest outside working time and go on after.
    pub interruptible: bool,
    /// In progress or frozen: stays where it is whatever the rest does.
    pub fixed: Option<Fixed>,
    /// Where the last plan had it: (resource, start).
    pub previous: Option<(u32, i64)>,
    pub fault: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fixed {
    pub resource: Option<u32>,
    pub start: i64,
    pub end: i64,
}

/// A resource that can do the operation, and how long it takes there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Choice {
    pub resource: u32,
    pub duration: i64,
}

/// So many units of a pool, from the start of the set-up to the end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Need {
    pub pool: u32,
    pub count: u32,
}

/// `after` starts at least `min_wait` and at most `max_wait` after the end of `before` (elapsed, not working time).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Arc {
    pub before: u32,
    pub after: u32,
    pub min_wait: i64,
    pub max_wait: Option<i64>,
}

/// Does one operation at a time.
#[derive(Debug, Clone, Copy, Default)]
pub struct Resource {
    pub calendar: u32,
    /// Set-ups between families.
    pub matrix: Option<u32>,
    /// What it is set up for at the beginning.
    pub family: Option<u32>,
}

#[derive(Debug, Clone, Copy, Default)]
pub struct Unit {
    pub calendar: u32,
}

/// Set-up from a family (row) to another (column); a negative value: no entry.
#[derive(Debug, Clone, Default)]
pub struct Matrix {
    pub families: u32,
    pub setups: Vec<i64>,
}

/// What makes a plan good. Smaller is better in all of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Term {
    /// Σ weight × microseconds after the due date, of orders.
    Tardiness,
    /// From `now` to the end of the last operation.
    Makespan,
    /// Σ of set-ups.
    Setup,
    /// Σ weight × microseconds before the due date, of orders.
    Earliness,
    /// Σ |start − previous start| of operations, and [`MOVE_RESOURCE_US`] for each that changes its resource.
    Stability,
}

#[cfg(test)]
pub const TERMS: [Term; 5] = [Term::Tardiness, Term::Makespan, Term::Setup, Term::Earliness, Term::Stability];

/// What a change of resource counts in [`Term::Stability`]: as much as a shift by a working day.
pub const MOVE_RESOURCE_US: i64 = 8 * 3_600_000_000;

/// Goals of a smaller level come first; within a level their weighted sum counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Goal {
    pub term: Term,
    pub level: u8,
    /// At least 1.
    pub weight: i64,
}

/// How long to search. The same shop, seed and iterations give the same plan on any machine, whatever its cores.
#[derive(Debug, Clone, Copy)]
pub struct Budget {
    /// Moves tried, all walkers together; 0: the best dispatching rule's plan. Rounded up to whole epochs.
    pub iterations: u64,
    pub seed: u64,
    /// Searches side by side, each a thread. Part of the input: another number gives another plan.
    pub walkers: u32,
}

#[derive(Debug, Clone)]
pub struct Plan {
    /// One for each operation.
    pub slots: Vec<Result<Slot, Missing>>,
    /// Weighted sum of the goals of the first level, and what no plan can be below.
    pub objective: i128,
    pub lower_bound: i128,
    /// Moves tried: with this budget and no stop the same plan comes out again.
    pub iterations: u64,
}

/// When and where an operation runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Slot {
    /// None only for a fixed operation that names no resource.
    pub resource: Option<u32>,
    /// Begin of the set-up, or of the work where there is none.
    pub start: i64,
    /// Working time of the set-up.
    pub setup: i64,
    pub end: i64,
    pub wait: Wait,
    /// The operation that it waits for.
    pub after: Option<u32>,
    /// How much later it could end without any order being later than it is (or, without due date, the plan longer).
    pub slack: i64,
}

/// The last thing that kept an operation from starting.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wait {
    None,
    Fixed,
    Material,
    Predecessor,
    Calendar,
    Resource,
    /// A tool or person, by unit.
    Unit(u32),
    /// Delayed so that what follows can start within its maximum wait, or for the last plan's or due date's sake.
    Hold,
}

/// Why an operation has no slot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Missing {
    Fault(String),
    /// It comes before itself.
    Cycle,
    /// One before it has no slot.
    Predecessor,
    /// No calendar of its resources has room for it.
    Horizon,
    /// Its order cannot keep this arc's maximum wait in the plan.
    MaxWait(u32),
}

impl Shop {
    pub fn choices_of(&self, operation: usize) -> &[Choice] {
        self.operations.get(operation).map_or(&[], |o| &self.choices[o.choices.start as usize..o.choices.end as usize])
    }

    pub fn needs_of(&self, operation: usize) -> &[Need] {
        self.operations.get(operation).map_or(&[], |o| &self.needs[o.needs.start as usize..o.needs.end as usize])
    }

    /// Set-up of an operation on a resource that was used for this family before.
    #[cfg(test)]
    pub fn setup(&self, resource: u32, before: Option<u32>, operation: usize) -> i64 {
        let operation = &self.operations[operation];
        let matrix = self.resources[resource as usize].matrix.map(|matrix| &self.matrices[matrix as usize]);
        let entry = |matrix: &Matrix| {
            let place = before? as usize * matrix.families as usize + operation.family? as usize;
            matrix.setups.get(place).copied().filter(|setup| *setup >= 0)
        };
        match matrix.and_then(entry) {
            Some(setup) => setup,
            None if operation.family.is_some() && operation.family == before => 0,
            None => operation.setup,
        }
    }

    /// The end of the last working time of all; what has no room before it is not scheduled.
    pub fn horizon(&self) -> i64 {
        self.calendars.iter().filter_map(Calendar::end).fold(self.now, i64::max)
    }

    /// Goals' levels in ascending order with what the terms sum up to in each; goals missing: tardiness, then makespan.
    pub fn goals(&self) -> Vec<Goal> {
        if !self.goals.is_empty() {
            return self.goals.clone();
        }
        let goal = |term, level| Goal { term, level, weight: 1 };
        vec![goal(Term::Tardiness, 0), goal(Term::Makespan, 1)]
    }
}
