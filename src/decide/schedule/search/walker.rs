//! One search: simulated annealing in cycles, each twice as long as the one before, from the best plan on.
//!
//! A cycle's effort is counted in operations timed, so that large shops and small ones cool as slowly for their size.

use super::cost::Key;
use super::moves::{Step, propose};
use super::random::Random;
use super::state::{Blueprint, State};

/// Effort between two meetings of the walkers: some hundredths of a second.
const EPOCH_EFFORT: u64 = 400_000;

/// What a move costs beside the operations that it times.
const MOVE_EFFORT: u64 = 8;

/// The first cycle's effort for each operation.
const CYCLE_EFFORT: u64 = 200;

/// Temperature at the beginning of a cycle, in mean costs of a move that makes things worse, and what it falls by in each of 64 steps: to a hundredth.
const WARM: f64 = 0.3;
const COOLING: f64 = 0.930_572;

pub struct Walker<'p> {
    pub state: State<'p>,
    random: Random,
    pub best: Blueprint,
    pub best_key: Key,
    /// The plan at hand is the best one and not kept yet.
    ahead: bool,
    pub moves: u64,
    effort: u64,
    cycle_begun: u64,
    cycle_effort: u64,
    /// Mean cost of moves that make things worse, of late.
    worse: f64,
    /// Temperatures by 64ths of a cycle.
    cooling: Vec<f64>,
    path: Vec<(u32, u32)>,
    steps: Vec<Step>,
}

impl<'p> Walker<'p> {
    pub fn new(state: State<'p>, seed: u64, stream: u64) -> Self {
        let operations = state.at.len() as u64;
        Self {
            best: state.blueprint(),
            best_key: state.measure.key(&state.cost),
            state,
            random: Random::new(seed, stream),
            ahead: false,
            moves: 0,
            effort: 0,
            cycle_begun: 0,
            cycle_effort: (operations * CYCLE_EFFORT).max(20_000),
            worse: 0.0,
            cooling: std::iter::successors(Some(WARM), |warm| Some(warm * COOLING)).take(64).collect(),
            path: Vec::new(),
            steps: Vec::new(),
        }
    }

    pub fn cycle_done(&self) -> bool {
        self.effort >= self.cycle_begun + self.cycle_effort
    }

    /// Begins a cycle at a plan.
    pub fn restart(&mut self, plan: &Blueprint) {
        self.state.reset(plan);
        self.ahead = false;
        self.cycle_begun = self.effort;
        self.cycle_effort *= 2;
    }

    /// Goes on until its effort is spent or its cycle done; then the best plan is kept.
    pub fn epoch(&mut self) {
        let end = self.effort + EPOCH_EFFORT;
        self.state.sort();
        while self.effort < end && !self.cycle_done() {
            let begun = self.state.timed;
            self.try_move();
            self.effort += self.state.timed - begun + MOVE_EFFORT;
            self.moves += 1;
        }
        self.keep();
    }

    fn temperature(&self) -> f64 {
        let done = (self.effort - self.cycle_begun) as f64 / self.cycle_effort as f64;
        self.worse * self.cooling[((done * 64.0) as usize).min(63)]
    }

    fn try_move(&mut self) {
        propose(&self.state, &mut self.random, &mut self.path, &mut self.steps);
        if self.steps.is_empty() {
            return;
        }
        let temperature = self.temperature();
        let allowed = temperature * self.random.exponential();
        if !self.apply(4.0 * self.worse + allowed) {
            return self.state.undo();
        }
        let change = self.state.change();
        if change > 0.0 {
            self.worse =
                if self.worse == 0.0 { change } else { self.worse + (change.min(10.0 * self.worse) - self.worse) * 0.002 };
        }
        if change > allowed {
            return self.state.undo();
        }
        let key = self.state.measure.key(&self.state.cost);
        if key < self.best_key {
            self.best_key = key;
            self.ahead = true;
        } else if self.ahead && key > self.best_key {
            self.state.undo();
            self.keep();
            self.apply(f64::INFINITY);
        }
        self.state.commit();
    }

    fn apply(&mut self, worse: f64) -> bool {
        for step in &self.steps {
            match *step {
                Step::Relocate(operation, choice, place) => {
                    if !self.state.relocate(operation, choice, place) {
                        return false;
                    }
                }
                Step::Hold(operation) => self.state.toggle_held(operation),
            }
        }
        self.state.settle(worse)
    }

    fn keep(&mut self) {
        if std::mem::take(&mut self.ahead) {
            self.best = self.state.blueprint();
        }
    }
}
