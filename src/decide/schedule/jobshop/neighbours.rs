//! The neighbourhood: moves of operations of one critical path, each with an estimate of the makespan.
//!
//! On their own machine operations move within their block to its ends, and the block's ends to its inside (N7: Zhang, Li, Guan and Rao, "A tabu
//! search algorithm with a new neighborhood structure for the job shop scheduling problem", 2007), estimated as Balas and Vazacopoulos do ("Guided
//! local search with shifting bottleneck for job shop scheduling", 1998). To another machine an operation moves between any two operations where no
//! cycle can arise (Mastrolilli and Gambardella, "Effective neighbourhood functions for the flexible job shop problem", 2000).
//!
//! An estimate is of the longest path through the operations that moved: exact or too long where the move goes to another machine, and then also of
//! the one through the next operation of the machine that is left.

use super::graph::{Graph, Move};
use super::problem::Instance;

/// Operations that one may pass: blocks of thousands are not looked at in full.
const REACH: usize = 150;

/// Operations of a path that may go to another machine in a step.
const ELSEWHERE: usize = 400;

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
    times: Vec<i32>,
    /// Which operations of a very long path may go elsewhere next.
    turn: usize,
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

    /// Calls `see` with every move whose estimate is at most the limit that `see` gave last.
    pub(super) fn moves<'p>(&'p mut self, instance: &Instance, graph: &Graph<'_>, see: impl FnMut(Candidate<'p>) -> i32) {
        let mut watch = Watch { see, limit: i32::MAX };
        let Self { operations, steps, times, turn } = self;
        let operations = operations.as_slice();
        let mut first = 0;
        while first < steps.len() {
            let machine = steps[first].machine;
            let length = steps[first..].iter().take_while(|step| step.machine == machine).count();
            let last = first + length - 1;
            let mut block = Block { graph, operations, steps, times };
            // A block that begins when its machine is free, or ends last of all, is as long in any order.
            let begin = graph.node(operations[first]).head();
            let opens = first > 0 || begin > graph.node(graph.machine_sentinel(machine)).end;
            let closes = last + 1 < steps.len();
            if length > 1 && closes {
                for from in first.max(last.saturating_sub(REACH))..last {
                    block.later(from, last, &mut watch);
                }
                for to in (first + 1).max(last.saturating_sub(REACH))..last {
                    block.earlier(last, to, &mut watch);
                }
            }
            if length > 1 && opens {
                for from in first + 1..=last.min(first + REACH) {
                    if !(closes && length == 2) {
                        block.earlier(from, first, &mut watch);
                    }
                }
                for to in first + 1..last.min(first + REACH) {
                    block.later(first, to, &mut watch);
                }
            }
            first = last + 1;
        }
        if instance.flexible {
            *turn = turn.wrapping_add(1);
            let stride = steps.len().div_ceil(ELSEWHERE).max(1);
            for (operation, step) in operations.iter().zip(steps.iter()).skip(*turn % stride).step_by(stride) {
                elsewhere(instance, graph, *operation, *step, &mut watch);
            }
        }
    }
}

/// Who looks at the moves, and up to which estimate they matter.
struct Watch<See> {
    see: See,
    limit: i32,
}

impl<'p, See: FnMut(Candidate<'p>) -> i32> Watch<See> {
    fn offer(&mut self, candidate: Candidate<'p>) {
        self.limit = (self.see)(candidate);
    }
}

struct Block<'a, 'p, 'g> {
    graph: &'a Graph<'g>,
    operations: &'p [u32],
    steps: &'a [Step],
    times: &'a mut Vec<i32>,
}

impl<'p> Block<'_, 'p, '_> {
    /// The operation at `from` right behind the one at `to`, if no path leads from its job to there.
    fn later(&mut self, from: usize, to: usize, watch: &mut Watch<impl FnMut(Candidate<'p>) -> i32>) {
        let (operation, behind) = (self.operations[from], self.operations[to]);
        let node = self.graph.node(operation);
        let last = self.graph.node(behind);
        if node.job_after == behind || self.graph.node(node.job_after).tail() >= last.rest {
            return;
        }
        let steps = &self.steps[from + 1..=to];
        let mut end = self.graph.node(node.machine_before).end;
        self.times.clear();
        for step in steps {
            let head = end.max(step.job_end);
            self.times.push(head);
            end = head + step.duration;
        }
        let moved = self.steps[from];
        let mut rest = self.graph.node(last.machine_after).rest.max(moved.job_rest) + moved.duration;
        let mut estimate = end.max(moved.job_end) + rest;
        for (step, head) in steps.iter().zip(self.times.iter()).rev() {
            if estimate > watch.limit {
                return;
            }
            rest = rest.max(step.job_rest) + step.duration;
            estimate = estimate.max(head + rest);
        }
        if estimate > watch.limit {
            return;
        }
        let to_place = Move { operation, choice: self.graph.choice(operation), after: behind };
        watch.offer(Candidate { to: to_place, estimate, passed: &self.operations[from + 1..=to], later: true });
    }

    /// The operation at `from` right before the one at `to`, if no path leads from there to its job.
    fn earlier(&mut self, from: usize, to: usize, watch: &mut Watch<impl FnMut(Candidate<'p>) -> i32>) {
        let (operation, before) = (self.operations[from], self.operations[to]);
        let node = self.graph.node(operation);
        let first = self.graph.node(before);
        if node.job_before == before || self.graph.node(node.job_before).head() >= first.end {
            return;
        }
        let steps = &self.steps[to..from];
        let moved = self.steps[from];
        let mut rest = self.graph.node(node.machine_after).rest;
        self.times.clear();
        for step in steps.iter().rev() {
            rest = rest.max(step.job_rest) + step.duration;
            self.times.push(rest);
        }
        let mut end = self.graph.node(first.machine_before).end.max(moved.job_end) + moved.duration;
        let mut estimate = end + rest.max(moved.job_rest);
        for (step, rest) in steps.iter().zip(self.times.iter().rev()) {
            if estimate > watch.limit {
                return;
            }
            let head = end.max(step.job_end);
            estimate = estimate.max(head + rest);
            end = head + step.duration;
        }
        if estimate > watch.limit {
            return;
        }
        let to_place = Move { operation, choice: self.graph.choice(operation), after: first.machine_before };
        watch.offer(Candidate { to: to_place, estimate, passed: &self.operations[to..from], later: false });
    }
}

/// The moves of an operation to its other choices. Between `before` and `after` it fits if neither the one after it in its job leads to `before` nor
/// `after` to the one before it in its job; heads along a machine grow, so these places are a stretch of the sequence.
fn elsewhere<'p>(
    instance: &Instance,
    graph: &Graph<'_>,
    operation: u32,
    step: Step,
    watch: &mut Watch<impl FnMut(Candidate<'p>) -> i32>,
) {
    let own = graph.choice(operation);
    let node = graph.node(operation);
    let left = left_behind(graph, operation);
    if left > watch.limit {
        return;
    }
    let ready = graph.node(node.job_before).head();
    let next_end = graph.node(node.job_after).end;
    let next_end = if graph.is_operation(node.job_after) { next_end } else { i32::MAX };
    for choice in instance.choices_of(operation) {
        let chosen = instance.choice(choice);
        let shortest = step.job_end + chosen.duration + step.job_rest;
        if choice == own
            || chosen.machine == step.machine
            || shortest > watch.limit
            || !graph.has_room(chosen.machine, chosen.duration)
        {
            continue;
        }
        let mut before = graph.machine_sentinel(chosen.machine);
        let mut best = (watch.limit, None);
        loop {
            let after = graph.node(before).machine_after;
            let (first, second) = (graph.node(before), graph.node(after));
            if before == node.job_after || graph.is_operation(before) && first.head() >= next_end {
                break;
            }
            if after != node.job_before && (second.end > ready || !graph.is_operation(after)) {
                let through = first.end.max(step.job_end) + chosen.duration + second.rest.max(step.job_rest);
                let estimate = through.max(left);
                if estimate < best.0 || estimate == best.0 && best.1.is_none() {
                    best = (estimate, Some(before));
                }
            }
            if !graph.is_operation(after) {
                break;
            }
            before = after;
        }
        if let (estimate, Some(after)) = best {
            watch.offer(Candidate { to: Move { operation, choice, after }, estimate, passed: &[], later: true });
        }
    }
}

/// The longest path through what follows on the machine once the operation is gone.
fn left_behind(graph: &Graph<'_>, operation: u32) -> i32 {
    let node = graph.node(operation);
    if !graph.is_operation(node.machine_after) {
        return 0;
    }
    let next = graph.node(node.machine_after);
    graph.node(node.machine_before).end.max(graph.node(next.job_before).end) + next.rest
}
