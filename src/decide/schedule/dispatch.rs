//! First plans: a simulation in which each resource, whenever it is free, takes the most urgent operation that is ready.
//!
//! A resource is never kept idle for something better to come, but leaves an operation to another that would end it sooner.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use super::search::state::Blueprint;
use super::timing::{Ask, NONE, Problem, Time};

/// What makes an operation urgent.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Rule {
    /// Weighted modified due date, max(work remaining, due − now) / weight: Kanet and Li, "A weighted modified due date rule for sequencing to
    /// minimize weighted tardiness", Journal of Scheduling 7, 2004.
    DueDate,
    /// Apparent tardiness cost with set-ups, by how many mean durations it looks ahead: Lee, Bhaskaran and Pinedo, "A heuristic to minimize the total
    /// weighted tardiness with sequence-dependent setups", IIE Transactions 29, 1997 (with 1/(1+x+x²/2) in place of exp(−x)).
    Cost { look_ahead: f64 },
    /// Least work remaining for the weight.
    Short,
    /// Most work remaining.
    Long,
    /// As in the last plan: by start there, not before it if it is held; what is new by the latest start for its due date. Operations keep their
    /// resource unless they may go elsewhere.
    Last { hold: bool, elsewhere: bool },
}

pub const RULES: [Rule; 6] = [
    Rule::DueDate,
    Rule::Cost { look_ahead: 8.0 },
    Rule::Cost { look_ahead: 1.0 },
    Rule::Cost { look_ahead: 32.0 },
    Rule::Short,
    Rule::Long,
];

/// Arrivals at an instant come before the decisions at that instant.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Event {
    Arrive(u32),
    Decide(u32),
}

struct Queue {
    waiting: Vec<u32>,
    free_at: i64,
    family: u32,
    /// When it is asked next.
    wake: i64,
}

struct Dispatch<'p> {
    problem: &'p Problem<'p>,
    rule: Rule,
    /// Longest work of an operation and what follows it.
    remaining: Vec<i64>,
    mean_duration: f64,
    mean_setup: f64,
    open: Vec<u32>,
    queues: Vec<Queue>,
    unit_free: Vec<i64>,
    events: BinaryHeap<Reverse<(i64, Event)>>,
    times: Vec<Option<Time>>,
    choices: Vec<u32>,
    units: Vec<u32>,
}

pub fn dispatch(problem: &Problem<'_>, rule: Rule) -> Blueprint {
    Dispatch::new(problem, rule).run()
}

/// All operations by start, each after all that precede it.
pub fn by_time(problem: &Problem<'_>, starts: &[i64]) -> Vec<u32> {
    let mut keys = vec![i64::MIN; starts.len()];
    for at in &problem.sequence {
        let before = problem.preds.of(*at).iter().map(|(before, _)| keys[*before as usize]);
        keys[*at as usize] = before.fold(starts[*at as usize], i64::max);
    }
    let mut order = problem.sequence.clone();
    order.sort_by_key(|at| keys[*at as usize]);
    order
}

/// Shortest durations of operations; nothing of what is fixed.
pub fn shortest(problem: &Problem<'_>, at: u32) -> i64 {
    let durations = problem.shop.choices_of(at as usize).iter().map(|choice| choice.duration);
    durations.min().filter(|_| problem.is_free(at)).unwrap_or(0)
}

impl<'p> Dispatch<'p> {
    fn new(problem: &'p Problem<'p>, rule: Rule) -> Self {
        let shop = problem.shop;
        let count = shop.operations.len();
        let mut remaining = vec![0_i64; count];
        let (mut work, mut setup) = (0.0, 0.0);
        for at in problem.sequence.iter().rev() {
            let behind = problem.succs.of(*at).iter().map(|after| remaining[*after as usize]).max().unwrap_or(0);
            remaining[*at as usize] = behind.saturating_add(shortest(problem, *at));
            work += shortest(problem, *at) as f64;
            setup += shop.operations[*at as usize].setup as f64;
        }
        let entries = shop.matrices.iter().flat_map(|matrix| matrix.setups.iter()).filter(|setup| **setup >= 0);
        let (sum, entries) = entries.fold((0.0, 0), |(sum, count), setup| (sum + *setup as f64, count + 1));
        let queue =
            |resource| Queue { waiting: Vec::new(), free_at: i64::MIN, family: problem.first_family(resource), wake: i64::MAX };
        Self {
            problem,
            rule,
            remaining,
            mean_duration: (work / count.max(1) as f64).max(1.0),
            mean_setup: (sum / f64::from(entries.max(1))).max(setup / count.max(1) as f64).max(1.0),
            open: (0..count as u32).map(|at| problem.preds.of(at).len() as u32).collect(),
            queues: (0..shop.resources.len() as u32).map(queue).collect(),
            unit_free: vec![i64::MIN; shop.units.len()],
            events: BinaryHeap::new(),
            times: vec![None; count],
            choices: shop.operations.iter().map(|operation| operation.choices.start).collect(),
            units: vec![NONE; problem.owners.len()],
        }
    }

    fn run(mut self) -> Blueprint {
        for at in self.problem.sequence.clone() {
            if self.problem.preds.of(at).is_empty() {
                self.release(at);
            }
        }
        while let Some(Reverse((instant, event))) = self.events.pop() {
            match event {
                Event::Arrive(at) => self.arrive(instant, at),
                Event::Decide(resource) => self.decide(instant, resource),
            }
        }
        // what has no room comes behind everything else
        for at in self.problem.sequence.clone() {
            if self.times[at as usize].is_none() && self.problem.is_free(at) {
                self.events.clear();
                let choice = self.choices[at as usize];
                let ready = self.ready(at).max(self.problem.horizon.saturating_add(1));
                let (time, units) = self.try_on(at, choice, ready);
                self.assign(at, choice, time, &units);
            }
        }
        let starts: Vec<i64> = self.times.iter().map(|time| time.map_or(0, |time| time.start)).collect();
        let order = by_time(self.problem, &starts);
        let hold = matches!(self.rule, Rule::Last { hold: true, .. });
        let held = self.problem.works.iter().map(|work| hold && work.previous != i64::MIN).collect();
        Blueprint { order, choices: self.choices, units: self.units, held }
    }

    /// When what precedes an operation lets it start, and its material is there.
    fn ready(&self, at: u32) -> i64 {
        let ends = self.problem.preds.of(at).iter();
        let ends = ends.filter_map(|(before, wait)| Some(self.times[*before as usize]?.end.saturating_add(*wait)));
        let work = &self.problem.works[at as usize];
        let held = if matches!(self.rule, Rule::Last { hold: true, .. }) { work.previous } else { i64::MIN };
        ends.fold(work.ready.max(held), i64::max)
    }

    /// All that precedes the operation has a time. A fixed one passes that on at once.
    fn release(&mut self, at: u32) {
        match self.problem.works[at as usize].fixed {
            Some((start, end)) => {
                let ends = self.problem.preds.of(at).iter().filter_map(|(before, _)| Some(self.times[*before as usize]?.end));
                self.finish(at, Time { start, setup: 0, end: ends.fold(end, i64::max) });
            }
            None => self.events.push(Reverse((self.ready(at), Event::Arrive(at)))),
        }
    }

    fn finish(&mut self, at: u32, time: Time) {
        self.times[at as usize] = Some(time);
        for after in self.problem.succs.of(at) {
            self.open[*after as usize] -= 1;
            if self.open[*after as usize] == 0 {
                self.release(*after);
            }
        }
    }

    fn arrive(&mut self, instant: i64, at: u32) {
        let last = self.problem.shop.operations[at as usize]
            .previous
            .filter(|_| matches!(self.rule, Rule::Last { elsewhere: false, .. }));
        let stays = |resource: u32| last.is_none_or(|(last, _)| last == resource);
        let choices = self.problem.shop.choices_of(at as usize);
        let gone = !choices.iter().any(|choice| stays(choice.resource));
        for choice in choices.iter().filter(|choice| gone || stays(choice.resource)) {
            self.queues[choice.resource as usize].waiting.push(at);
            self.wake(choice.resource, instant);
        }
    }

    /// Asks a resource again at an instant, unless it is asked before.
    fn wake(&mut self, resource: u32, instant: i64) {
        let queue = &mut self.queues[resource as usize];
        let instant = instant.max(queue.free_at);
        if instant < queue.wake && instant <= self.problem.horizon {
            queue.wake = instant;
            self.events.push(Reverse((instant, Event::Decide(resource))));
        }
    }

    /// If the resource is free and at work, it takes the most urgent operation that can start.
    fn decide(&mut self, instant: i64, resource: u32) {
        if self.queues[resource as usize].wake != instant {
            return;
        }
        self.queues[resource as usize].wake = i64::MAX;
        let mut waiting = std::mem::take(&mut self.queues[resource as usize].waiting);
        waiting.retain(|at| self.times[*at as usize].is_none());
        let calendar = self.problem.shop.resources[resource as usize].calendar;
        let works = self.problem.shop.calendars[calendar as usize].next(instant);
        let later = self.problem.blocked(resource, instant).or(works.filter(|works| *works > instant));
        if let (Some(later), false) = (later, waiting.is_empty()) {
            self.wake(resource, later);
        }
        if later.is_none() && works.is_some() {
            self.take(instant, resource, &waiting);
        }
        self.queues[resource as usize].waiting = waiting;
    }

    fn take(&mut self, instant: i64, resource: u32, waiting: &[u32]) {
        let mut ranked: Vec<_> = waiting.iter().map(|at| (self.urgency(instant, resource, *at), *at)).collect();
        let order =
            |a: &((f64, i64), u32), b: &((f64, i64), u32)| a.0.0.total_cmp(&b.0.0).then(b.0.1.cmp(&a.0.1)).then(a.1.cmp(&b.1));
        let mut again = i64::MAX;
        while let Some(best) = (0..ranked.len()).min_by(|a, b| order(&ranked[*a], &ranked[*b])) {
            let (_, at) = ranked.swap_remove(best);
            let Some(choice) = self.choice(at, resource) else { continue };
            let (time, units) = self.try_on(at, choice, instant);
            if time.end > self.problem.horizon {
                continue;
            }
            if time.start > instant {
                again = again.min(time.start);
            } else if let Some(other) = self.may_leave(at).then(|| self.sooner_elsewhere(at, choice, instant, time.end)).flatten()
            {
                again = again.min(other.start.max(instant + time.end - other.end));
            } else {
                self.assign(at, choice, time, &units);
                return self.wake(resource, time.end);
            }
        }
        self.wake(resource, again);
    }

    fn choice(&self, at: u32, resource: u32) -> Option<u32> {
        self.problem.shop.operations[at as usize].choices.clone().find(|choice| self.problem.resource(*choice) == resource)
    }

    fn may_leave(&self, at: u32) -> bool {
        self.problem.works[at as usize].previous == i64::MIN || !matches!(self.rule, Rule::Last { elsewhere: false, .. })
    }

    /// The time of the operation on a resource that would end it before this instant.
    fn sooner_elsewhere(&self, at: u32, choice: u32, instant: i64, end: i64) -> Option<Time> {
        let others = self.problem.shop.operations[at as usize].choices.clone().filter(|other| *other != choice);
        let quick = others.filter(|other| instant.saturating_add(self.problem.shop.choices[*other as usize].duration) < end);
        quick
            .map(|other| self.try_on(at, other, instant).0)
            .filter(|time| time.end < end)
            .min_by_key(|time| (time.end, time.start))
    }

    /// The time of an operation by a choice as things stand, with the units that are free first.
    fn try_on(&self, at: u32, choice: u32, from: i64) -> (Time, Vec<u32>) {
        let members = self.problem.members.of(at);
        let first = self.problem.shop.resources.len() as u32;
        let mut units: Vec<u32> = Vec::with_capacity(members.len() - 1);
        for pool in &members[1..] {
            let free =
                self.problem.shop.pools[*pool as usize].iter().map(|unit| first + unit).filter(|unit| !units.contains(unit));
            // the one that was free last leaves the others for what starts earlier
            let free_at = |unit: &u32| self.unit_free[(*unit - first) as usize];
            units.extend(free.min_by_key(|unit| (free_at(unit).max(from), Reverse(free_at(unit)), *unit)));
        }
        if units.len() + 1 < members.len() {
            let matched = super::timing::match_units(self.problem.shop, &members[1..]);
            units = matched.unwrap_or_default().into_iter().map(|unit| first + unit).collect();
        }
        let queue = &self.queues[self.problem.resource(choice) as usize];
        let from = units.iter().map(|unit| self.unit_free[(*unit - first) as usize]).fold(from, i64::max);
        let ask = Ask { operation: at, choice, units: &units, from, free: queue.free_at, family: queue.family };
        (self.problem.place(&ask), units)
    }

    /// Smaller is more urgent; then the one with the greater second value, then the first by place.
    fn urgency(&self, instant: i64, resource: u32, at: u32) -> (f64, i64) {
        let work = &self.problem.works[at as usize];
        let order = &self.problem.shop.orders[work.order as usize];
        let behind = self.remaining[at as usize];
        let queue = &self.queues[resource as usize];
        let setup = self.problem.setup(resource, queue.family, at);
        let remaining = behind.saturating_add(setup) as f64;
        let weight = (order.weight as f64).max(1e-9);
        let urgency = match (self.rule, order.due) {
            (Rule::Long, _) => 0.0,
            (Rule::Last { .. }, _) if work.previous != i64::MIN => work.previous as f64,
            (Rule::Last { .. }, due) => due.map_or(1e30, |due| due as f64 - remaining),
            (Rule::Short, _) => remaining / weight,
            // without a due date an order comes after all that have one
            (_, None) => 1e30 / weight,
            (Rule::DueDate, Some(due)) => remaining.max(due.saturating_sub(instant) as f64) / weight,
            (Rule::Cost { look_ahead }, Some(due)) => {
                let decay = |x: f64| 1.0 / (1.0 + x + x * x / 2.0);
                let slack = (due.saturating_sub(instant) as f64 - remaining).max(0.0);
                let cost = weight / remaining.max(1.0) * decay(slack / (look_ahead * self.mean_duration));
                -cost * decay(4.0 * setup as f64 / self.mean_setup)
            }
        };
        (urgency, behind)
    }

    fn assign(&mut self, at: u32, choice: u32, time: Time, units: &[u32]) {
        let resource = self.problem.resource(choice);
        let queue = &mut self.queues[resource as usize];
        queue.free_at = time.end;
        queue.family = self.problem.works[at as usize].family;
        self.choices[at as usize] = choice;
        let members = self.problem.members.range(at);
        self.units[members.start as usize] = resource;
        for (member, unit) in (members.start + 1..members.end).zip(units) {
            self.units[member as usize] = *unit;
            self.unit_free[*unit as usize - self.problem.shop.resources.len()] = time.end;
        }
        self.finish(at, time);
    }
}
