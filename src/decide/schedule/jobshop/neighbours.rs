//! The neighbourhood: moves of operations of one critical path, each with an estimate of the makespan.
//!
//! On their own machine operations move within their block to its ends, and the block's ends to its inside (N7: Zhang, Li, Guan and Rao, "A tabu
//! search algorithm with a new neighborhood structure for the job shop scheduling problem", 2007), estimated as Balas and Vazacopoulos do ("Guided
//! local search with shifting bottleneck for job shop scheduling", 1998). To another machine an operation moves between any two operations where no
//! cycle can arise (Mastrolilli and Gambardella, "Effective neighbourhood functions for the flexible job shop problem", 2000).
//!
//! An estimate is of the longest path through the operations that moved: exact or too long where the move goes to another machine.

use super::graph::{Graph, Move};
use super::problem::Instance;

/// Something to move, as the search weighs it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Candidate<'p> {
    pub(super) to: Move,
    pub(super) estimate: i32,
    /// On the same machine: what the operation passes. Empty when it goes to another.
    pub(super) passed: &'p [u32],
    /// It passes them towards the end.
    pub(super) later: bool,
}

/// The critical path with what estimates need of it.
#[derive(Debug, Default)]
pub(super) struct Path {
    operations: Vec<u32>,
    steps: Vec<Step>,
    heads: Vec<i32>,
}

#[derive(Debug, Clone, Copy)]
struct Step {
    duration: i32,
    machine: u32,
    /// End of the operation before in the job, rest of the one after.
    job_end: i32,
    job_rest: i32,
}

impl Path {
    /// Takes a critical path of the graph.
    pub(super) fn take(&mut self, graph: &Graph<'_>, pick: impl FnMut(u32) -> u32) {
        graph.critical_path(&mut self.operations, pick);
        self.steps.clear();
        self.steps.extend(self.operations.iter().map(|operation| {
            let node = graph.node(*operation);
            Step {
                duration: node.duration,
                machine: node.machine,
                job_end: graph.node(node.job_before).end,
                job_rest: graph.node(node.job_after).rest,
            }
        }));
    }

    /// Calls `see` with every move.
    pub(super) fn moves<'p>(&'p mut self, instance: &Instance, graph: &Graph<'_>, mut see: impl FnMut(Candidate<'p>)) {
        let Self { operations, steps, heads } = self;
        let operations = operations.as_slice();
        let mut first = 0;
        while first < steps.len() {
            let machine = steps[first].machine;
            let length = steps[first..].iter().take_while(|step| step.machine == machine).count();
            let last = first + length - 1;
            let mut block = Block { graph, operations, steps, heads };
            // A block that begins when its machine is free, or ends last of all, is as long in any order.
            let begin = graph.node(operations[first]).head();
            let opens = first > 0 || begin > graph.node(graph.machine_sentinel(machine)).end;
            let closes = last + 1 < steps.len();
            if length > 1 && closes {
                for from in first..last {
                    block.later(from, last, &mut see);
                }
                for to in first + 1..last {
                    block.earlier(last, to, &mut see);
                }
            }
            if length > 1 && opens {
                for from in first + 1..=last {
                    if !(closes && length == 2) {
                        block.earlier(from, first, &mut see);
                    }
                }
                for to in first + 1..last {
                    block.later(first, to, &mut see);
                }
            }
            first = last + 1;
        }
        if instance.flexible {
            for (operation, step) in operations.iter().zip(steps.iter()) {
                elsewhere(instance, graph, *operation, *step, &mut see);
            }
        }
    }
}

struct Block<'a, 'p, 'g> {
    graph: &'a Graph<'g>,
    operations: &'p [u32],
    steps: &'a [Step],
    heads: &'a mut Vec<i32>,
}

impl<'p> Block<'_, 'p, '_> {
    /// The operation at `from` right behind the one at `to`, if no path leads from its job to there.
    fn later(&mut self, from: usize, to: usize, see: &mut impl FnMut(Candidate<'p>)) {
        let (operation, behind) = (self.operations[from], self.operations[to]);
        let node = self.graph.node(operation);
        let last = self.graph.node(behind);
        if node.job_after == behind || self.graph.node(node.job_after).tail() >= last.rest {
            return;
        }
        let steps = &self.steps[from + 1..=to];
        let mut end = self.graph.node(node.machine_before).end;
        self.heads.clear();
        for step in steps {
            let head = end.max(step.job_end);
            self.heads.push(head);
            end = head + step.duration;
        }
        let moved = self.steps[from];
        let mut rest = self.graph.node(last.machine_after).rest.max(moved.job_rest) + moved.duration;
        let mut estimate = end.max(moved.job_end) + rest;
        for (step, head) in steps.iter().zip(self.heads.iter()).rev() {
            rest = rest.max(step.job_rest) + step.duration;
            estimate = estimate.max(head + rest);
        }
        let to_place = Move { operation, choice: self.graph.choice(operation), after: behind };
        see(Candidate { to: to_place, estimate, passed: &self.operations[from + 1..=to], later: true });
    }

    /// The operation at `from` right before the one at `to`, if no path leads from there to its job.
    fn earlier(&mut self, from: usize, to: usize, see: &mut impl FnMut(Candidate<'p>)) {
        let (operation, before) = (self.operations[from], self.operations[to]);
        let node = self.graph.node(operation);
        let first = self.graph.node(before);
        if node.job_before == before || self.graph.node(node.job_before).head() >= first.end {
            return;
        }
        let steps = &self.steps[to..from];
        let moved = self.steps[from];
        let head = self.graph.node(first.machine_before).end.max(moved.job_end);
        let mut end = head + moved.duration;
        self.heads.clear();
        for step in steps {
            let head = end.max(step.job_end);
            self.heads.push(head);
            end = head + step.duration;
        }
        let mut rest = self.graph.node(node.machine_after).rest;
        let mut estimate = 0;
        for (step, head) in steps.iter().zip(self.heads.iter()).rev() {
            rest = rest.max(step.job_rest) + step.duration;
            estimate = estimate.max(head + rest);
        }
        estimate = estimate.max(head + rest.max(moved.job_rest) + moved.duration);
        let to_place = Move { operation, choice: self.graph.choice(operation), after: first.machine_before };
        see(Candidate { to: to_place, estimate, passed: &self.operations[to..from], later: false });
    }
}

/// The moves of an operation to its other choices. Between `before` and `after` it fits if neither the one after it in its job leads to `before` nor
/// `after` to the one before it in its job; heads along a machine grow, so these places are a stretch of the sequence.
fn elsewhere<'p>(instance: &Instance, graph: &Graph<'_>, operation: u32, step: Step, see: &mut impl FnMut(Candidate<'p>)) {
    let own = graph.choice(operation);
    let node = graph.node(operation);
    let ready = graph.node(node.job_before).head();
    let next_end = graph.node(node.job_after).end;
    let next_end = if graph.is_operation(node.job_after) { next_end } else { i32::MAX };
    for choice in instance.choices_of(operation) {
        let chosen = instance.choice(choice);
        if choice == own || chosen.machine == step.machine {
            continue;
        }
        let mut before = graph.machine_sentinel(chosen.machine);
        loop {
            let after = graph.node(before).machine_after;
            let (first, second) = (graph.node(before), graph.node(after));
            if before == node.job_after || graph.is_operation(before) && first.head() >= next_end {
                break;
            }
            if after != node.job_before && (second.end > ready || !graph.is_operation(after)) {
                let head = first.end.max(step.job_end);
                let estimate = head + chosen.duration + second.rest.max(step.job_rest);
                see(Candidate { to: Move { operation, choice, after: before }, estimate, passed: &[], later: true });
            }
            if !graph.is_operation(after) {
                break;
            }
            before = after;
        }
    }
}
