//! Builds the schedule: a simulation in which each resource, whenever it is free, takes the most urgent operation that is ready.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use super::calendar::Calendar;

/// An operation to schedule. Instants and durations in microseconds.
#[derive(Debug, Clone)]
pub struct Operation {
    /// Numbers in the order of their names; operations come sorted by order and operation number.
    pub order: u32,
    pub resource: Option<u32>,
    pub duration: i64,
    pub setup: i64,
    pub family: Option<u32>,
    pub release: Option<i64>,
    pub due: Option<i64>,
    /// 1 is the most important class.
    pub class: i64,
    pub fixed: Option<(i64, i64)>,
    /// Why it cannot be scheduled at all.
    pub fault: Option<String>,
}

/// What an operation waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wait {
    None,
    Fixed,
    Material,
    Predecessor,
    Calendar,
    Resource,
}

/// When an operation runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Slot {
    pub start: i64,
    pub end: i64,
    pub wait: Wait,
    /// The operation before it on the resource, if it waits for that.
    pub after: Option<usize>,
}

/// Why an operation has no slot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Missing {
    Fault(String),
    Predecessor,
    Horizon,
}

pub struct Resource {
    pub calendar: Calendar,
    /// Fixed operations (start, end, operation), by start.
    pub fixed: Vec<(i64, i64, usize)>,
}

/// Arrivals at an instant come before the decisions at that instant.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Event {
    Arrive(usize),
    Decide(u32),
}

#[derive(Default)]
struct Queue {
    waiting: Vec<usize>,
    free_at: i64,
    /// The operation that the resource had last.
    last: Option<usize>,
    /// Fixed operations before this one have begun.
    next_fixed: usize,
    /// When it is asked next.
    wake: Option<i64>,
}

/// A simulation in progress.
pub struct Dispatch<'p> {
    now: i64,
    operations: &'p [Operation],
    resources: &'p [Resource],
    /// Work of an operation and all that follow it in its order.
    remaining: Vec<i64>,
    predecessors_end: Vec<i64>,
    queues: Vec<Queue>,
    events: BinaryHeap<Reverse<(i64, Event)>>,
    slots: Vec<Option<Slot>>,
}

/// Whether the operation at this place has one before it in the same order.
pub fn follows(operations: &[Operation], at: usize) -> bool {
    at > 0 && operations.get(at).is_some_and(|operation| operation.order == operations[at - 1].order)
}

/// One entry for each operation. They must be sorted by order and operation number.
pub fn dispatch(now: i64, operations: &[Operation], resources: &[Resource]) -> Vec<Result<Slot, Missing>> {
    Dispatch::new(now, operations, resources).run()
}

impl<'p> Dispatch<'p> {
    fn new(now: i64, operations: &'p [Operation], resources: &'p [Resource]) -> Self {
        let mut remaining = vec![0_i64; operations.len()];
        for at in (0..operations.len()).rev() {
            let work = if operations[at].fixed.is_some() { 0 } else { operations[at].duration };
            let after = if follows(operations, at + 1) { remaining[at + 1] } else { 0 };
            remaining[at] = after.saturating_add(work);
        }
        let fixed = |(start, end)| Slot { start, end, wait: Wait::Fixed, after: None };
        Self {
            now,
            operations,
            resources,
            remaining,
            predecessors_end: vec![now; operations.len()],
            queues: resources.iter().map(|_| Queue { free_at: now, ..Queue::default() }).collect(),
            events: BinaryHeap::new(),
            slots: operations.iter().map(|operation| operation.fixed.map(fixed)).collect(),
        }
    }

    fn run(mut self) -> Vec<Result<Slot, Missing>> {
        for at in 0..self.operations.len() {
            if !follows(self.operations, at) {
                self.release(at, self.now);
            }
        }
        while let Some(Reverse((instant, event))) = self.events.pop() {
            match event {
                Event::Arrive(at) => self.arrive(instant, at),
                Event::Decide(resource) => self.decide(instant, resource as usize),
            }
        }
        (0..self.operations.len()).map(|at| self.slots[at].ok_or_else(|| self.missing(at))).collect()
    }

    fn missing(&self, at: usize) -> Missing {
        if let Some(fault) = &self.operations[at].fault {
            return Missing::Fault(fault.clone());
        }
        let mut first = at;
        while follows(self.operations, first) {
            first -= 1;
        }
        if (first..at).any(|before| self.slots[before].is_none()) { Missing::Predecessor } else { Missing::Horizon }
    }

    /// What comes before the operation in its order ends at `ends`. Fixed operations pass that on at once; what follows one that cannot be
    /// scheduled stays open until the next fixed one, which shows that the order went on all the same.
    fn release(&mut self, first: usize, mut ends: i64) {
        let mut open = false;
        for at in first.. {
            if at > first && !follows(self.operations, at) || at == self.operations.len() {
                return;
            }
            let operation = &self.operations[at];
            self.predecessors_end[at] = ends;
            if let Some((_, end)) = operation.fixed {
                ends = ends.max(end);
                open = false;
            } else if operation.fault.is_some() {
                open = true;
            } else if !open {
                let ready = ends.max(operation.release.unwrap_or(ends));
                self.events.push(Reverse((ready, Event::Arrive(at))));
                return;
            }
        }
    }

    fn arrive(&mut self, instant: i64, at: usize) {
        let Some(resource) = self.operations[at].resource else { return };
        self.queues[resource as usize].waiting.push(at);
        self.wake(resource as usize, instant);
    }

    /// Asks a resource again at an instant, unless it is asked before.
    fn wake(&mut self, resource: usize, instant: i64) {
        let queue = &mut self.queues[resource];
        if queue.wake.is_none_or(|wake| instant < wake) {
            queue.wake = Some(instant);
            self.events.push(Reverse((instant, Event::Decide(resource as u32))));
        }
    }

    /// If the resource is free and at work, it takes the most urgent operation that fits before its next fixed one.
    fn decide(&mut self, instant: i64, resource: usize) {
        if self.queues[resource].wake.take_if(|wake| *wake == instant).is_none() || self.queues[resource].waiting.is_empty() {
            return;
        }
        let idle = self.idle(instant, resource);
        let Some(start) = self.resources[resource].calendar.next(idle) else { return };
        if start > instant {
            return self.wake(resource, start);
        }
        let queue = &self.queues[resource];
        let candidates = queue.waiting.iter().enumerate();
        let best = candidates
            .filter_map(|(place, at)| Some((self.urgency(start, resource, *at), place, self.fits(start, resource, *at)?)))
            .min_by_key(|(urgency, _, _)| *urgency);
        match best {
            Some((_, place, end)) => self.assign(resource, place, start, end),
            None => {
                if let Some((_, end, _)) = self.resources[resource].fixed.get(queue.next_fixed) {
                    self.wake(resource, (*end).max(start + 1));
                }
            }
        }
    }

    /// When the resource is through with what it has begun, and with the fixed operations that begin until then.
    fn idle(&mut self, instant: i64, resource: usize) -> i64 {
        let queue = &mut self.queues[resource];
        let mut idle = instant.max(queue.free_at);
        while let Some((start, end, at)) = self.resources[resource].fixed.get(queue.next_fixed) {
            if *start > idle {
                break;
            }
            idle = idle.max(*end);
            queue.last = Some(*at);
            queue.next_fixed += 1;
        }
        queue.free_at = idle;
        idle
    }

    /// Set-up is saved where the operation before it was of the same family.
    fn setup(&self, resource: usize, at: usize) -> i64 {
        let before = self.queues[resource].last.and_then(|last| self.operations[last].family);
        let operation = &self.operations[at];
        if operation.family.is_some() && operation.family == before { 0 } else { operation.setup }
    }

    /// When the operation ends if it starts now; none: not before the next fixed operation or the calendar's end.
    fn fits(&self, start: i64, resource: usize, at: usize) -> Option<i64> {
        let work = self.setup(resource, at).saturating_add(self.operations[at].duration);
        let Resource { calendar, fixed } = &self.resources[resource];
        let limit = fixed.get(self.queues[resource].next_fixed).map_or(i64::MAX, |(start, _, _)| *start);
        calendar.finish(start, work).filter(|end| *end <= limit)
    }

    /// Smaller is more urgent: weighted modified due date, then most work remaining, then the name.
    fn urgency(&self, start: i64, resource: usize, at: usize) -> (i128, Reverse<i64>, usize) {
        let operation = &self.operations[at];
        let remaining = self.remaining[at].saturating_add(self.setup(resource, at));
        // without a due date an order comes after all that have one
        let allowance = operation.due.map_or(i128::from(i64::MAX) * 4, |due| i128::from(due) - i128::from(start));
        (allowance.max(i128::from(remaining)) * i128::from(operation.class), Reverse(self.remaining[at]), at)
    }

    fn assign(&mut self, resource: usize, place: usize, start: i64, end: i64) {
        let queue = &mut self.queues[resource];
        let at = queue.waiting.swap_remove(place);
        let before = queue.last.replace(at);
        queue.free_at = end;
        let wait = self.wait(resource, at, start);
        self.slots[at] = Some(Slot { start, end, wait, after: before.filter(|_| wait == Wait::Resource) });
        if follows(self.operations, at + 1) {
            self.release(at + 1, end.max(self.predecessors_end[at]));
        }
        if !self.queues[resource].waiting.is_empty() {
            self.wake(resource, end);
        }
    }

    /// The last thing that kept the operation from starting.
    fn wait(&self, resource: usize, at: usize, start: i64) -> Wait {
        let (before, release) = (self.predecessors_end[at], self.operations[at].release.unwrap_or(self.now));
        let ready = before.max(release);
        if self.resources[resource].calendar.next(ready).is_some_and(|works| works < start) {
            Wait::Resource
        } else if ready < start {
            Wait::Calendar
        } else if ready <= self.now {
            Wait::None
        } else if before >= release {
            Wait::Predecessor
        } else {
            Wait::Material
        }
    }
}
