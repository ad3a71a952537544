//! One tabu search: the best move that is not forbidden, from plan to plan, and anew from two good plans when nothing gets better.

use super::graph::{Graph, Move};
use super::neighbours::{Candidate, Path};
use super::pool::Pool;
use super::problem::{Instance, Plan};
use super::rng::Rng;

const TABU_BITS: u32 = 13;

/// By how much of the best makespan all machines are to be loaded less, at most.
const SPREAD_PERMILLE: i64 = 15;

/// A move is forbidden up to so many steps longer than the least.
const TENURE_RANDOM: u32 = 5;

/// Until which step something is forbidden. Two things may share a place: then more is forbidden than need be.
#[derive(Debug)]
struct Tabu(Vec<u32>);

impl Tabu {
    fn place(a: u32, b: u32) -> usize {
        let mixed = (u64::from(a) << 32 | u64::from(b)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        (mixed >> (64 - TABU_BITS)) as usize
    }

    fn forbid(&mut self, a: u32, b: u32, until: u32) {
        self.0[Self::place(a, b)] = until;
    }

    fn forbids(&self, a: u32, b: u32, step: u32) -> bool {
        self.0[Self::place(a, b)] > step
    }
}

/// One of the candidates offered, each as likely.
#[derive(Default)]
struct Draw<'p> {
    drawn: Option<Candidate<'p>>,
    offered: u32,
}

impl<'p> Draw<'p> {
    fn offer(&mut self, candidate: Candidate<'p>, rng: &mut Rng) {
        self.offered += 1;
        if rng.below(self.offered) == 0 {
            self.drawn = Some(candidate);
        }
    }
}

#[derive(Debug)]
pub(super) struct Walk<'i> {
    instance: &'i Instance,
    graph: Graph<'i>,
    path: Path,
    tabu: Tabu,
    rng: Rng,
    /// Steps of this run, and the one that found its best plan.
    step: u32,
    improved: u32,
    best: Plan,
    /// Best plans of the runs that ended, for the pool.
    pub(super) found: Vec<Plan>,
}

impl<'i> Walk<'i> {
    pub(super) fn new(instance: &'i Instance, start: Plan, rng: Rng) -> Self {
        let graph = Graph::new(instance, &start);
        let mut best = start;
        best.makespan = graph.makespan();
        let tabu = Tabu(vec![0; 1 << TABU_BITS]);
        Self { instance, graph, path: Path::default(), tabu, rng, step: 0, improved: 0, best, found: Vec::new() }
    }

    /// The best plan of the run that goes on.
    pub(super) fn best(&self) -> &Plan {
        &self.best
    }

    /// Takes `steps` steps, or fewer if a plan reaches `bound`.
    pub(super) fn run(&mut self, steps: u64, pool: &Pool, bound: i32) {
        for _ in 0..steps {
            if self.best.makespan <= bound {
                return;
            }
            if self.step - self.improved >= self.instance.search.patience || !self.advance() {
                self.restart(pool);
            }
        }
    }

    fn restart(&mut self, pool: &Pool) {
        let next = pool.next(self.instance, &mut self.rng);
        if self.instance.flexible {
            // With a machine that is loaded for as long as the best plan takes, no plan is better, and with all of them loaded a little less one is
            // easier to find.
            let spread = u32::try_from(i64::from(pool.best) * SPREAD_PERMILLE / 1_000).unwrap_or(0);
            self.graph.load_max = pool.best - 1 - self.rng.below(1 + spread) as i32;
        }
        self.graph.load(&next);
        self.found.push(std::mem::replace(&mut self.best, next));
        self.best.makespan = self.graph.makespan();
        self.tabu.0.fill(0);
        (self.step, self.improved) = (0, 0);
    }

    /// One step; false if there is no move.
    fn advance(&mut self) -> bool {
        let Self { instance, graph, path, tabu, rng, step, best, .. } = self;
        path.take(graph, |n| rng.below(n));
        // The best that is allowed, and any at all for when everything is forbidden.
        let (mut chosen, mut any, mut limit) = (Draw::default(), Draw::default(), i32::MAX);
        path.moves(instance, graph, |candidate| {
            let Candidate { to: Move { operation, choice, .. }, passed, later, estimate } = candidate;
            // A move forbids to pass back everything it passes; forbidden is only what passes back the farthest of them.
            let forbidden = match if later { passed.last() } else { passed.first() } {
                None => tabu.forbids(operation, u32::MAX - choice, *step),
                Some(other) if later => tabu.forbids(*other, operation, *step),
                Some(other) => tabu.forbids(operation, *other, *step),
            };
            if forbidden && estimate >= best.makespan {
                any.offer(candidate, rng);
                return limit;
            }
            if estimate < limit {
                (chosen, limit) = (Draw::default(), estimate);
            }
            chosen.offer(candidate, rng);
            limit
        });
        let Some(candidate) = chosen.drawn.or(any.drawn) else { return false };
        let Move { operation, .. } = candidate.to;
        let until = *step + instance.search.tenure + rng.below(TENURE_RANDOM);
        if candidate.passed.is_empty() {
            tabu.forbid(operation, u32::MAX - graph.choice(operation), until);
        }
        for other in candidate.passed {
            let (a, b) = if candidate.later { (operation, *other) } else { (*other, operation) };
            tabu.forbid(a, b, until);
        }
        self.step += 1;
        if self.graph.apply(candidate.to) && self.graph.makespan() < self.best.makespan {
            self.graph.save(&mut self.best);
            self.improved = self.step;
        }
        true
    }
}
