//! One search: simulated annealing in cycles, each twice as long as the one before, from the best plan on.
//!
//! A cycle's effort is counted in operations timed, so that large shops and small ones cool as slowly for their size.

use super::cost::Key;
use super::moves::{Step, propose};
use super::random::Random;
use super::state::{Blueprint, State};

/// Effort between two meetings of the walkers, some hundredths of a second; in large shops more for each operation, since a meeting costs as much.
const EPOCH_EFFORT: u64 = 400_000;
const EPOCH_EFFORT_EACH: u64 = 10;

/// What a move costs beside the operations that it times.
const MOVE_EFFORT: u64 = 8;

/// The first cycle's effort for each operation, and at least.
const CYCLE_EFFORT_EACH: u64 = 20;
const CYCLE_EFFORT_MIN: u64 = 20_000;

/// Share of the moves to something worse that is accepted at the beginning of the first cycle; it doubles from cycle to cycle up to a limit, which is higher
/// in each third one. Within a cycle it falls by a factor in each of 64 steps.
const SHARE_FIRST: f64 = 0.01;
const SHARE_MAX: [f64; 3] = [0.1, 0.1, 0.3];
const COOLING: f64 = 0.95;

/// Moves that are taken as they come, in per cent, in each of three cycles; of others the most promising of a few.
const PLAIN_PERCENT: [usize; 3] = [20, 20, 60];

/// How fast the temperature follows the share.
const STEERING: f64 = 0.02;

/// A move is given up half-way when it costs so many temperatures too much.
const HOPELESS: f64 = 10.0;

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
    cycle: usize,
    /// Share of the first cycles so far, doubled by each.
    share: f64,
    /// Shares by 64ths of a cycle.
    shares: Vec<f64>,
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
            cycle_effort: (operations * CYCLE_EFFORT_EACH).max(CYCLE_EFFORT_MIN),
            temperature: 0.0,
            cycle: 0,
            share: SHARE_FIRST,
            shares: cooled(SHARE_FIRST),
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
        self.share = (2.0 * self.share).min(1.0);
        self.shares = cooled(self.share.min(SHARE_MAX[self.cycle % 3]));
    }

    /// Goes on until its effort is spent or its cycle done; then the best plan is kept.
    pub fn epoch(&mut self) {
        let end = self.effort + EPOCH_EFFORT.max(EPOCH_EFFORT_EACH * self.state.at.len() as u64);
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
        propose(&self.state, &mut self.random, PLAIN_PERCENT[self.cycle % 3], &mut self.path, &mut self.steps);
        if self.steps.is_empty() {
            return;
        }
        let allowed = self.temperature * self.random.exponential();
        if !self.apply(allowed + HOPELESS * self.temperature) {
            self.steer(false);
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

    /// A temperature at which the share of accepted moves is as wanted at this point of the cycle.
    fn steer(&mut self, accepted: bool) {
        let done = (self.effort - self.cycle_begun) as f64 / self.cycle_effort as f64;
        let wanted = self.shares[((done * 64.0) as usize).min(63)];
        self.temperature *= if accepted { 1.0 - STEERING * (1.0 - wanted) } else { 1.0 + STEERING * wanted };
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

fn cooled(share: f64) -> Vec<f64> {
    std::iter::successors(Some(share), |share| Some(share * COOLING)).take(64).collect()
}
