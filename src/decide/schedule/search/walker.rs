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
const CYCLE_EFFORT: u64 = 20;

/// Share of the moves to something worse that is accepted at the beginning of a cycle, and what it falls by in each of 64 steps.
const WARM: f64 = 0.1;
const COOLING: f64 = 0.95;

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
    temperature: f64,
    cycle: i32,
    pub stats: [u64; 4],
    abort: f64,
    /// Shares by 64ths of a cycle.
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
            cycle_effort: (operations * tune("CYCLE", CYCLE_EFFORT as f64) as u64).max(20_000),
            temperature: 0.0,
            cycle: 0,
            stats: [0; 4],
            abort: tune("ABORT", 100.0),
            cooling: std::iter::successors(Some(tune("WARM0", 0.01)), |warm| Some(warm * tune("COOLING", COOLING)))
                .take(64)
                .collect(),
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
        self.cycle += 1;
        let warm = (tune("WARM0", 0.01) * 2.0_f64.powi(self.cycle)).min(if self.cycle % 2 == 0 {
            tune("WARM", 0.1)
        } else {
            tune("HOT", 0.3)
        });
        self.cooling = std::iter::successors(Some(warm), |warm| Some(warm * tune("COOLING", COOLING))).take(64).collect();
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

    fn try_move(&mut self) {
        propose(&self.state, &mut self.random, &mut self.path, &mut self.steps);
        if self.steps.is_empty() {
            return;
        }
        let allowed = self.temperature * self.random.exponential();
        if !self.apply(allowed + self.abort * self.temperature) {
            self.steer(false);
            self.stats[0] += 1;
            return self.state.undo();
        }
        let change = self.state.change();
        if change > 0.0 {
            if self.temperature == 0.0 {
                self.temperature = change;
            }
            self.steer(change <= allowed);
        }
        if change > allowed {
            self.stats[1] += 1;
            return self.state.undo();
        }
        self.stats[2] += 1;
        if change < 0.0 {
            self.stats[3] += 1;
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

    /// A temperature at which the share of accepted moves is as wanted at this point of the cycle.
    fn steer(&mut self, accepted: bool) {
        let done = (self.effort - self.cycle_begun) as f64 / self.cycle_effort as f64;
        let wanted = self.cooling[((done * 64.0) as usize).min(63)];
        self.temperature *= if accepted { 1.0 - 0.02 * (1.0 - wanted) } else { 1.0 + 0.02 * wanted };
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

pub fn tune(name: &str, default: f64) -> f64 {
    std::env::var(name).ok().and_then(|v| v.parse().ok()).unwrap_or(default)
}
