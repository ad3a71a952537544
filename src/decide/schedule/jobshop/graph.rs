//! The disjunctive graph of one schedule: every operation with its neighbours in the job and on the machine, its longest paths, and a topological order.
//!
//! After every change the order is repaired only between the places that moved, heads are computed from there to the end and tails to the beginning.

use super::problem::{Instance, Plan};

/// What a sentinel's duration is: its own head and tail are before everything.
const BEFORE_ALL: i32 = i32::MAX / 4;

/// An operation, or a sentinel that begins and ends the chain of a job or of a machine.
#[derive(Debug, Clone, Copy)]
pub(super) struct Node {
    pub(super) job_before: u32,
    pub(super) job_after: u32,
    pub(super) machine_before: u32,
    pub(super) machine_after: u32,
    pub(super) duration: i32,
    /// Longest path to the operation's end.
    pub(super) end: i32,
    /// Longest path from the operation's start to the end of everything.
    pub(super) rest: i32,
    pub(super) machine: u32,
}

impl Node {
    pub(super) fn head(&self) -> i32 {
        self.end - self.duration
    }

    pub(super) fn tail(&self) -> i32 {
        self.rest - self.duration
    }
}

/// An operation taken from its place to another: with `choice`, right behind the node `after` of that choice's machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Move {
    pub(super) operation: u32,
    pub(super) choice: u32,
    pub(super) after: u32,
}

#[derive(Debug)]
pub(super) struct Graph<'i> {
    instance: &'i Instance,
    /// Operations, then a sentinel for each job, then one for each machine.
    nodes: Vec<Node>,
    choice: Vec<u32>,
    /// By machine, when its work would end if it were never idle.
    loads: Vec<i32>,
    /// No operation is to go to another machine whose load would exceed this.
    pub(super) load_max: i32,
    order: Vec<u32>,
    /// Place in `order`.
    place: Vec<u32>,
    makespan: i32,
    marks: Vec<bool>,
    front: Vec<u32>,
    back: Vec<u32>,
}

impl<'i> Graph<'i> {
    /// The graph of a plan.
    pub(super) fn new(instance: &'i Instance, plan: &Plan) -> Self {
        let operations = instance.operations();
        let sentinel = |end| Node {
            job_before: 0,
            job_after: 0,
            machine_before: 0,
            machine_after: 0,
            duration: BEFORE_ALL,
            end,
            rest: 0,
            machine: u32::MAX,
        };
        let mut nodes = vec![sentinel(0); operations];
        nodes.extend(instance.release.iter().chain(&instance.available).map(|time| sentinel(*time)));
        for operation in 0..operations as u32 {
            let job = operations as u32 + instance.job_of[operation as usize];
            let node = &mut nodes[operation as usize];
            let first = operation == instance.jobs[instance.job_of[operation as usize] as usize];
            node.job_before = if first { job } else { operation - 1 };
            node.job_after = instance.next(operation).unwrap_or(job);
        }
        let places = vec![0; operations];
        let marks = vec![false; nodes.len()];
        let mut graph = Self {
            instance,
            nodes,
            choice: Vec::new(),
            loads: Vec::new(),
            load_max: i32::MAX,
            order: Vec::new(),
            place: places,
            makespan: 0,
            marks,
            front: Vec::with_capacity(operations),
            back: Vec::with_capacity(operations),
        };
        graph.load(plan);
        graph
    }

    /// Replaces the schedule. The plan's order keeps the order of every job.
    pub(super) fn load(&mut self, plan: &Plan) {
        self.choice.clone_from(&plan.choice);
        self.loads.clone_from(&self.instance.available);
        self.order.clone_from(&plan.order);
        for machine in 0..self.instance.machines() as u32 {
            let sentinel = self.machine_sentinel(machine);
            let node = &mut self.nodes[sentinel as usize];
            (node.machine_before, node.machine_after) = (sentinel, sentinel);
        }
        for place in 0..self.order.len() {
            let operation = self.order[place];
            self.place[operation as usize] = place as u32;
            let choice = self.choice[operation as usize];
            let last = self.nodes[self.machine_sentinel(self.instance.choice(choice).machine) as usize].machine_before;
            self.link(Move { operation, choice, after: last });
        }
        self.heads_from(0);
        self.tails_from(self.order.len());
    }

    pub(super) fn save(&self, plan: &mut Plan) {
        plan.order.clone_from(&self.order);
        plan.choice.clone_from(&self.choice);
        plan.makespan = self.makespan;
    }

    pub(super) fn makespan(&self) -> i32 {
        self.makespan
    }

    pub(super) fn node(&self, node: u32) -> &Node {
        &self.nodes[node as usize]
    }

    pub(super) fn choice(&self, operation: u32) -> u32 {
        self.choice[operation as usize]
    }

    /// Whether a machine may take an operation that needs it so long.
    pub(super) fn has_room(&self, machine: u32, duration: i32) -> bool {
        self.loads[machine as usize] + duration <= self.load_max
    }

    pub(super) fn is_operation(&self, node: u32) -> bool {
        (node as usize) < self.order.len()
    }

    /// The node before the first and behind the last operation of a machine.
    pub(super) fn machine_sentinel(&self, machine: u32) -> u32 {
        self.order.len() as u32 + self.instance.release.len() as u32 + machine
    }

    /// A longest path, first operation first; where several are, `pick(n)` says which of `n`.
    pub(super) fn critical_path(&self, path: &mut Vec<u32>, mut pick: impl FnMut(u32) -> u32) {
        path.clear();
        let mut seen = 0;
        let mut at = None;
        for last in self.job_ends() {
            if self.node(last).end == self.makespan {
                seen += 1;
                if pick(seen) == 0 {
                    at = Some(last);
                }
            }
        }
        while let Some(operation) = at {
            path.push(operation);
            let node = self.node(operation);
            let tight = |before: u32| self.is_operation(before) && self.node(before).end == node.head();
            let (job, machine) = (tight(node.job_before), tight(node.machine_before));
            at = match (job, machine) {
                (true, true) => Some(if pick(2) == 0 { node.job_before } else { node.machine_before }),
                (true, false) => Some(node.job_before),
                (false, true) => Some(node.machine_before),
                (false, false) => None,
            };
        }
        path.reverse();
    }

    /// Makes the move and computes the longest paths anew. False if it would close a cycle: then nothing has changed.
    pub(super) fn apply(&mut self, to: Move) -> bool {
        let operation = to.operation;
        let old = Move { operation, choice: self.choice(operation), after: self.node(operation).machine_before };
        self.unlink(operation);
        self.link(to);
        match self.repair(operation) {
            Some((from, until)) => {
                self.heads_from(from);
                self.tails_from(until + 1);
                true
            }
            None => {
                self.unlink(operation);
                self.link(old);
                false
            }
        }
    }

    fn unlink(&mut self, operation: u32) {
        let Node { machine_before, machine_after, machine, duration, .. } = *self.node(operation);
        self.loads[machine as usize] -= duration;
        self.nodes[machine_before as usize].machine_after = machine_after;
        self.nodes[machine_after as usize].machine_before = machine_before;
    }

    fn link(&mut self, Move { operation, choice, after }: Move) {
        let chosen = self.instance.choice(choice);
        let next = self.node(after).machine_after;
        self.nodes[after as usize].machine_after = operation;
        self.nodes[next as usize].machine_before = operation;
        let node = &mut self.nodes[operation as usize];
        (node.machine_before, node.machine_after) = (after, next);
        (node.duration, node.machine) = (chosen.duration, chosen.machine);
        self.choice[operation as usize] = choice;
        self.loads[chosen.machine as usize] += chosen.duration;
    }

    /// Brings an operation with new neighbours to its place in the order: between those before and those behind it. Gives the first and the last
    /// place that changed, none if the graph has a cycle.
    fn repair(&mut self, operation: u32) -> Option<(usize, usize)> {
        let place = |node: u32| self.place.get(node as usize).map(|place| *place as usize);
        let node = *self.node(operation);
        let at = place(operation).unwrap_or(0);
        let earliest = place(node.job_before).max(place(node.machine_before));
        let latest = match (place(node.job_after), place(node.machine_after)) {
            (Some(a), Some(b)) => Some(a.min(b)),
            (a, b) => a.or(b),
        };
        // Everything from `low` to `high` is in question: what leads to the operation goes before it, the rest behind.
        let (low, high) = (latest.unwrap_or(usize::MAX), earliest.map_or(0, |place| place + 1));
        let (from, until) = (at.min(low), if high == 0 { at } else { at.max(high - 1) });
        self.front.clear();
        self.back.clear();
        let mut cycle = false;
        for index in (from..=until).rev() {
            let other = self.order[index];
            if other == operation {
                continue;
            }
            let before = if index >= high {
                false
            } else if index < low {
                true
            } else {
                let Node { job_after, machine_after, .. } = *self.node(other);
                let leads = other == node.job_before
                    || other == node.machine_before
                    || self.marks[job_after as usize]
                    || self.marks[machine_after as usize];
                self.marks[other as usize] = leads;
                cycle |= leads && (other == node.job_after || other == node.machine_after);
                leads
            };
            if before { self.front.push(other) } else { self.back.push(other) }
        }
        for other in &self.front {
            self.marks[*other as usize] = false;
        }
        if cycle {
            return None;
        }
        let sorted = self.front.iter().rev().chain([&operation]).chain(self.back.iter().rev());
        for (index, other) in (from..).zip(sorted) {
            self.order[index] = *other;
            self.place[*other as usize] = index as u32;
        }
        Some((from, until))
    }

    fn heads_from(&mut self, place: usize) {
        for operation in &self.order[place..] {
            let node = self.nodes[*operation as usize];
            let ready = self.nodes[node.job_before as usize].end.max(self.nodes[node.machine_before as usize].end);
            self.nodes[*operation as usize].end = ready + node.duration;
        }
        self.makespan = self.job_ends().map(|last| self.node(last).end).max().unwrap_or(0);
    }

    fn tails_from(&mut self, place: usize) {
        for operation in self.order[..place].iter().rev() {
            let node = self.nodes[*operation as usize];
            let after = self.nodes[node.job_after as usize].rest.max(self.nodes[node.machine_after as usize].rest);
            self.nodes[*operation as usize].rest = after + node.duration;
        }
    }

    /// The last operation of each job.
    fn job_ends(&self) -> impl Iterator<Item = u32> {
        self.instance.jobs.windows(2).filter(|range| range[0] < range[1]).map(|range| range[1] - 1)
    }
}
