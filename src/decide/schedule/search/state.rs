//! A plan in the making: a choice for each operation and one order of all, from which follow the sequence on each resource and unit and every time.
//!
//! The order (`at`, and its inverse `pos`) is always one in which each operation comes after all that precede it, by arcs and on its chains.
//! A move takes an operation to another place in it; what must stay before or behind goes along, so that no move makes a cycle unnoticed.
//! Times are then made new in that order, only where they change. All that a move does can be undone.

use super::super::shop::{MOVE_RESOURCE_US, Term};
use super::super::timing::{Ask, NONE, Problem, Time, match_units};
use super::cost::{Cost, Measure, TERM_EXCESS, TERM_MISSING};

/// Times that are too early for a maximum wait are put later at most so often in one move: a sequence that can never keep it ends there.
const RAISES_MAX: u32 = 64;

/// Operations timed between two looks at whether a move is worth going on with.
const TIMED_BETWEEN_LOOKS: u64 = 32;

/// Where an operation goes in the order of all.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    Stay,
    Before(u32),
    After(u32),
}

/// What it takes to build a plan again.
#[derive(Debug, Clone, Default)]
pub struct Blueprint {
    pub order: Vec<u32>,
    pub choices: Vec<u32>,
    /// Unit of each member of a chain; empty: chosen anew.
    pub units: Vec<u32>,
    pub held: Vec<bool>,
}

#[derive(Debug)]
struct Relocation {
    operation: u32,
    choice: u32,
    /// Where its units, and the part of the order that changed, are kept in the log.
    units: usize,
    region: usize,
    lowest: u32,
}

#[derive(Debug, Default)]
struct Log {
    times: Vec<(u32, Time)>,
    ends: Vec<(u32, i64)>,
    floors: Vec<(u32, i64)>,
    excess: Vec<(u32, i64)>,
    held: Vec<u32>,
    relocations: Vec<Relocation>,
    units: Vec<u32>,
    order: Vec<u32>,
}

pub struct State<'p> {
    pub problem: &'p Problem<'p>,
    pub measure: Measure,
    pub choice: Vec<u32>,
    pub times: Vec<Time>,
    pub held: Vec<bool>,
    /// Of each member: the chain it is on, its neighbours there.
    pub chain: Vec<u32>,
    pub prev: Vec<u32>,
    pub next: Vec<u32>,
    /// Members on each chain.
    pub chains: Vec<Vec<u32>>,
    pub at: Vec<u32>,
    pub pos: Vec<u32>,
    /// Of each limit: the start of its earlier operation from which on it is kept, and how much it is exceeded.
    pub floors: Vec<i64>,
    pub excess: Vec<i64>,
    pub order_end: Vec<i64>,
    pub cost: Cost,
    /// Orders that are late, in no particular order, and the place of each among them.
    pub late: Vec<u32>,
    late_at: Vec<u32>,
    /// What a microsecond less is worth, as things stood at the last [`State::sort`]: of an operation by itself, and with what follows it on its chains.
    pub pull: Vec<f64>,
    pub drag: Vec<f64>,
    /// Operations timed so far.
    pub timed: u64,
    dirty: Vec<u64>,
    low: usize,
    touched: Vec<u32>,
    marks: Vec<u32>,
    mark: u32,
    stack: Vec<u32>,
    log: Log,
    cost_before: Cost,
}

impl<'p> State<'p> {
    pub fn new(problem: &'p Problem<'p>, blueprint: &Blueprint) -> Self {
        let count = problem.works.len();
        let members = problem.owners.len();
        let mut state = Self {
            problem,
            measure: Measure::new(problem),
            choice: blueprint.choices.clone(),
            times: problem.works.iter().map(|work| Time { start: work.previous.max(0), setup: 0, end: i64::MIN }).collect(),
            held: if blueprint.held.is_empty() { vec![false; count] } else { blueprint.held.clone() },
            chain: vec![NONE; members],
            prev: vec![NONE; members],
            next: vec![NONE; members],
            chains: vec![Vec::new(); problem.chains()],
            at: blueprint.order.clone(),
            pos: vec![NONE; count],
            floors: vec![i64::MIN; problem.limits.len()],
            excess: vec![0; problem.limits.len()],
            order_end: vec![i64::MIN; problem.shop.orders.len()],
            cost: Cost::default(),
            late: Vec::new(),
            late_at: vec![NONE; problem.shop.orders.len()],
            pull: vec![0.0; count],
            drag: vec![0.0; count],
            timed: 0,
            dirty: vec![0; blueprint.order.len() / 64 + 1],
            low: 0,
            touched: Vec::new(),
            marks: vec![0; count],
            mark: 0,
            stack: Vec::new(),
            log: Log::default(),
            cost_before: Cost::default(),
        };
        state.build(&blueprint.units);
        state
    }

    /// Builds this plan instead.
    pub fn reset(&mut self, blueprint: &Blueprint) {
        let timed = self.timed;
        *self = Self { timed, measure: self.measure.clone(), ..Self::new(self.problem, blueprint) };
    }

    pub fn blueprint(&self) -> Blueprint {
        Blueprint { order: self.at.clone(), choices: self.choice.clone(), units: self.chain.clone(), held: self.held.clone() }
    }

    fn build(&mut self, units: &[u32]) {
        (0..self.at.len()).for_each(|place| self.pos[self.at[place] as usize] = place as u32);
        self.dirty.fill(0);
        for place in 0..self.at.len() {
            let operation = self.at[place];
            if self.problem.is_free(operation) {
                let members = self.problem.members.range(operation);
                let units = units.get(members.start as usize + 1..members.end as usize);
                if let Some(units) = units {
                    self.chain[members.start as usize + 1..members.end as usize].copy_from_slice(units);
                }
                self.attach(operation, units.is_none());
                self.cost.terms[Term::Stability as usize] += self.changed_resource(operation);
            }
            let time = self.time(operation, NONE);
            self.set(operation, time);
        }
        self.touched.clear();
        self.touched.extend_from_slice(&self.at);
        self.settle(f64::INFINITY);
        self.cost.terms[Term::Makespan as usize] = self.makespan();
        self.commit();
    }

    fn changed_resource(&self, operation: u32) -> i128 {
        let previous = self.problem.shop.operations[operation as usize].previous;
        let here = self.problem.resource(self.choice[operation as usize]);
        previous
            .filter(|(resource, _)| *resource != here && self.measure.uses_stability)
            .map_or(0, |_| i128::from(MOVE_RESOURCE_US))
    }

    /// From `now` to the end of the last operation.
    pub fn makespan(&self) -> i128 {
        let tails =
            self.chains.iter().filter_map(|chain| Some(self.times[self.problem.owners[*chain.last()? as usize] as usize].end));
        i128::from(tails.fold(self.problem.fixed_end, i64::max)) - i128::from(self.problem.shop.now)
    }

    /// The earliest time of an operation behind all that precede it, but for one of them.
    pub fn time(&self, operation: u32, except: u32) -> Time {
        let work = &self.problem.works[operation as usize];
        let mut from = work.ready;
        for (before, wait) in self.problem.preds.of(operation) {
            if *before != except {
                from = from.max(self.times[*before as usize].end.saturating_add(*wait));
            }
        }
        if let Some((start, end)) = work.fixed {
            let waited = self.problem.preds.of(operation).iter().map(|(before, _)| self.times[*before as usize].end);
            return Time { start, setup: 0, end: waited.fold(end, i64::max) };
        }
        if self.held[operation as usize] {
            from = from.max(work.previous);
        }
        if !self.floors.is_empty() {
            let floors = self.problem.limits_from.of(operation).iter().map(|limit| self.floors[*limit as usize]);
            from = floors.fold(from, i64::max);
        }
        let choice = self.choice[operation as usize];
        let members = if self.problem.has_units { self.problem.members.range(operation) } else { operation..operation + 1 };
        let (free, family) = match self.before(members.start) {
            Some(before) => (self.times[before as usize].end, self.problem.works[before as usize].family),
            None => (i64::MIN, self.problem.first_family(self.problem.resource(choice))),
        };
        for member in members.start + 1..members.end {
            if let Some(before) = self.before(member) {
                from = from.max(self.times[before as usize].end);
            }
        }
        let units = &self.chain[members.start as usize + 1..members.end as usize];
        self.problem.place(&Ask { operation, choice, units, from, free, family })
    }

    /// When an operation itself ends; one that is fixed lets others wait for what should have come before it too.
    pub fn own_end(&self, operation: u32) -> i64 {
        self.problem.works[operation as usize].fixed.map_or(self.times[operation as usize].end, |(_, end)| end)
    }

    pub fn owner(&self, member: u32) -> u32 {
        if self.problem.has_units { self.problem.owners[member as usize] } else { member }
    }

    /// The operation before this member on its chain.
    pub fn before(&self, member: u32) -> Option<u32> {
        let before = self.prev[member as usize];
        (before != NONE).then(|| self.owner(before))
    }

    pub fn behind(&self, member: u32) -> Option<u32> {
        let next = self.next[member as usize];
        (next != NONE).then(|| self.owner(next))
    }

    /// The member of a resource's chain that stands for the operation.
    pub fn member(&self, operation: u32) -> u32 {
        self.problem.members.range(operation).start
    }

    /// Where an operation at this place of the order belongs on a chain.
    pub fn rank(&self, chain: u32, pos: u32) -> usize {
        self.chains[chain as usize].partition_point(|member| self.pos[self.problem.owners[*member as usize] as usize] < pos)
    }

    fn attach(&mut self, operation: u32, choose: bool) {
        let members = self.problem.members.range(operation);
        let pos = self.pos[operation as usize];
        self.chain[members.start as usize] = self.problem.resource(self.choice[operation as usize]);
        if choose && members.len() > 1 {
            self.choose_units(operation);
        }
        for member in members {
            let chain = self.chain[member as usize];
            let rank = self.rank(chain, pos);
            let list = &mut self.chains[chain as usize];
            let prev = if rank > 0 { list[rank - 1] } else { NONE };
            let next = list.get(rank).copied().unwrap_or(NONE);
            list.insert(rank, member);
            self.link(prev, member);
            self.link(member, next);
            if next != NONE {
                self.touched.push(self.problem.owners[next as usize]);
            }
        }
        self.touched.push(operation);
    }

    fn detach(&mut self, operation: u32) {
        let pos = self.pos[operation as usize];
        for member in self.problem.members.range(operation) {
            let chain = self.chain[member as usize];
            let rank = self.rank(chain, pos);
            self.chains[chain as usize].remove(rank);
            let (prev, next) = (self.prev[member as usize], self.next[member as usize]);
            self.link(prev, next);
            if next != NONE {
                self.touched.push(self.problem.owners[next as usize]);
            }
        }
    }

    fn link(&mut self, before: u32, after: u32) {
        if before != NONE {
            self.next[before as usize] = after;
        }
        if after != NONE {
            self.prev[after as usize] = before;
        }
    }

    /// Takes of each pool the units that delay the operation, and what comes after on them, least.
    fn choose_units(&mut self, operation: u32) {
        let members = self.problem.members.range(operation);
        let pos = self.pos[operation as usize];
        let ready =
            self.problem.preds.of(operation).iter().map(|(before, wait)| self.times[*before as usize].end.saturating_add(*wait));
        let ready = ready.fold(self.problem.works[operation as usize].ready, i64::max);
        let length = self.problem.shop.choices[self.choice[operation as usize] as usize].duration;
        let first = self.problem.shop.resources.len() as u32;
        for member in members.start + 1..members.end {
            let pool = self.problem.members.items()[member as usize];
            let taken = &self.chain[members.start as usize + 1..member as usize];
            let units =
                self.problem.shop.pools[pool as usize].iter().map(|unit| first + unit).filter(|unit| !taken.contains(unit));
            let best = units.min_by_key(|unit| {
                let (rank, chain) = (self.rank(*unit, pos), &self.chains[*unit as usize]);
                let owner = |member: &u32| self.times[self.problem.owners[*member as usize] as usize];
                let free = if rank > 0 { owner(&chain[rank - 1]).end } else { i64::MIN };
                let start = ready.max(free);
                let push = chain.get(rank).map_or(0, |next| (start.saturating_add(length) - owner(next).start).max(0));
                ((start - ready).saturating_add(push), std::cmp::Reverse(free), *unit)
            });
            let Some(unit) = best else {
                // units taken for one need may be all that would do for another
                let matched = match_units(
                    self.problem.shop,
                    &self.problem.members.items()[members.start as usize + 1..members.end as usize],
                );
                let units = matched.unwrap_or_default().into_iter().map(|unit| first + unit);
                return (members.start + 1..members.end).zip(units).for_each(|(member, unit)| self.chain[member as usize] = unit);
            };
            self.chain[member as usize] = unit;
        }
    }

    /// Moves an operation; false, and nothing has changed: what it would have to pass must stay where it is.
    pub fn relocate(&mut self, operation: u32, choice: u32, place: Place) -> bool {
        let pos = self.pos[operation as usize];
        let (units, region) = (self.log.units.len(), self.log.order.len());
        let (low, high) = match place {
            Place::After(other) if self.pos[other as usize] > pos => (pos, self.pos[other as usize]),
            Place::Before(other) if self.pos[other as usize] < pos => (self.pos[other as usize], pos),
            _ => (pos, pos),
        };
        let members = self.problem.members.range(operation);
        self.log.units.extend_from_slice(&self.chain[members.start as usize..members.end as usize]);
        self.detach(operation);
        self.log.relocations.push(Relocation { operation, choice: self.choice[operation as usize], units, region, lowest: low });
        let moved = low == high || self.shift(operation, low, high, low == pos);
        if moved {
            self.cost.terms[Term::Stability as usize] -= self.changed_resource(operation);
            self.choice[operation as usize] = choice;
            self.cost.terms[Term::Stability as usize] += self.changed_resource(operation);
        } else {
            self.log.relocations.pop();
            self.log.units.truncate(units);
        }
        self.attach(operation, moved);
        moved
    }

    /// Takes the operation at one end of a part of the order to the other, with all that is bound to it in between.
    fn shift(&mut self, operation: u32, low: u32, high: u32, later: bool) -> bool {
        self.mark += 1;
        self.marks[operation as usize] = self.mark;
        self.stack.push(operation);
        let far = self.at[if later { high } else { low } as usize];
        while let Some(at) = self.stack.pop() {
            let mut bound = |other: u32| {
                let within = if later { self.pos[other as usize] <= high } else { self.pos[other as usize] >= low };
                if within && self.marks[other as usize] != self.mark {
                    self.marks[other as usize] = self.mark;
                    self.stack.push(other);
                }
            };
            if later {
                self.problem.succs.of(at).iter().for_each(|after| bound(*after));
            } else {
                self.problem.preds.of(at).iter().for_each(|(before, _)| bound(*before));
            }
            if at != operation && self.problem.is_free(at) {
                let links = if later { &self.next } else { &self.prev };
                for member in self.problem.members.range(at) {
                    let other = links[member as usize];
                    if other != NONE {
                        bound(self.problem.owners[other as usize]);
                    }
                }
            }
        }
        if self.marks[far as usize] == self.mark {
            return false;
        }
        let old = self.log.order.len();
        self.log.order.extend_from_slice(&self.at[low as usize..=high as usize]);
        let mut place = low;
        for pass in [later, !later] {
            for index in old..self.log.order.len() {
                let at = self.log.order[index];
                if (self.marks[at as usize] == self.mark) != pass {
                    self.at[place as usize] = at;
                    self.pos[at as usize] = place;
                    place += 1;
                }
            }
        }
        true
    }

    pub fn toggle_held(&mut self, operation: u32) {
        self.held[operation as usize] ^= true;
        self.log.held.push(operation);
        self.touched.push(operation);
    }

    /// Makes times new after moves; false: given up, since it costs more than `worse` by far; then it must be undone.
    pub fn settle(&mut self, worse: f64) -> bool {
        let (mut raises, begun) = (0, self.timed);
        self.low = usize::MAX;
        while let Some(operation) = self.touched.pop() {
            self.soil(operation);
        }
        while let Some(operation) = self.take() {
            self.timed += 1;
            if (self.timed - begun).is_multiple_of(TIMED_BETWEEN_LOOKS)
                && self.measure.change(&self.cost_before, &self.cost) > worse
            {
                self.dirty[self.low..].fill(0);
                return false;
            }
            let (time, old) = (self.time(operation, NONE), self.times[operation as usize]);
            if time != old {
                self.log.times.push((operation, old));
                self.set(operation, time);
            }
            if !self.problem.limits.is_empty() {
                self.keep_limits(operation, &mut raises);
            }
            if time.end != old.end {
                for place in 0..self.problem.succs.of(operation).len() {
                    self.soil(self.problem.succs.of(operation)[place]);
                }
                if self.problem.is_free(operation) {
                    for member in self.problem.members.range(operation) {
                        self.behind(member).into_iter().for_each(|next| self.soil(next));
                    }
                }
            }
        }
        if self.measure.uses_makespan {
            self.cost.terms[Term::Makespan as usize] = self.makespan();
        }
        true
    }

    fn soil(&mut self, operation: u32) {
        let pos = self.pos[operation as usize] as usize;
        self.dirty[pos / 64] |= 1 << (pos % 64);
        self.low = self.low.min(pos / 64);
    }

    fn take(&mut self) -> Option<u32> {
        while let Some(word) = self.dirty.get_mut(self.low) {
            if *word != 0 {
                let bit = word.trailing_zeros() as usize;
                *word &= *word - 1;
                return Some(self.at[self.low * 64 + bit]);
            }
            self.low += 1;
        }
        self.low = 0;
        None
    }

    /// Puts what comes before a maximum wait later, or earlier again, as its successor's time without it asks for.
    fn keep_limits(&mut self, operation: u32, raises: &mut u32) {
        for place in 0..self.problem.limits_to.of(operation).len() {
            let number = self.problem.limits_to.of(operation)[place];
            let limit = self.problem.limits[number as usize];
            let (before, own) = (self.times[limit.before as usize], self.times[operation as usize]);
            let excess = own.start.saturating_sub(self.own_end(limit.before).saturating_add(limit.max_wait)).max(0);
            if excess != self.excess[number as usize] {
                self.log.excess.push((number, self.excess[number as usize]));
                self.cost.terms[TERM_EXCESS] += i128::from(excess) - i128::from(self.excess[number as usize]);
                self.excess[number as usize] = excess;
            }
            if self.problem.works[limit.before as usize].fixed.is_some() || *raises >= RAISES_MAX {
                continue;
            }
            let alone = self.time(operation, limit.before).start;
            let length = self.problem.shop.choices[self.choice[limit.before as usize] as usize].duration + before.setup;
            let floor = alone.saturating_sub(limit.max_wait).saturating_sub(length);
            if floor != self.floors[number as usize] {
                self.log.floors.push((number, self.floors[number as usize]));
                self.floors[number as usize] = floor;
                *raises += 1;
                self.soil(limit.before);
            }
        }
    }

    /// Takes a time over, with what it changes in the cost.
    fn set(&mut self, operation: u32, time: Time) {
        let problem = self.problem;
        let work = &problem.works[operation as usize];
        let old = std::mem::replace(&mut self.times[operation as usize], time);
        let terms = &mut self.cost.terms;
        terms[Term::Setup as usize] += i128::from(time.setup - old.setup);
        if work.fixed.is_none() {
            let beyond = |end: i64| i128::from(end > problem.horizon);
            terms[TERM_MISSING] += beyond(time.end) - beyond(old.end);
            if self.measure.uses_stability && work.previous != i64::MIN {
                let moved = |start: i64| i128::from(start.saturating_sub(work.previous).saturating_abs());
                terms[Term::Stability as usize] += moved(time.start) - moved(old.start);
            }
        }
        if work.last && time.end != old.end {
            let end = match problem.lasts.of(work.order) {
                [_] => self.own_end(operation),
                lasts => lasts.iter().map(|last| self.own_end(*last)).fold(i64::MIN, i64::max),
            };
            self.set_order(work.order, end, true);
        }
    }

    fn set_order(&mut self, order: u32, end: i64, log: bool) {
        let old = std::mem::replace(&mut self.order_end[order as usize], end);
        if log {
            self.log.ends.push((order, old));
        }
        let (before, after) = (self.measure.lateness(order, old), self.measure.lateness(order, end));
        if log {
            self.cost.terms[Term::Tardiness as usize] += after.0 - before.0;
            self.cost.terms[Term::Earliness as usize] += after.1 - before.1;
        }
        match (before.0 > 0, after.0 > 0) {
            (false, true) => {
                self.late_at[order as usize] = self.late.len() as u32;
                self.late.push(order);
            }
            (true, false) => {
                let place = self.late_at[order as usize];
                self.late.swap_remove(place as usize);
                if let Some(moved) = self.late.get(place as usize) {
                    self.late_at[*moved as usize] = place;
                }
            }
            _ => {}
        }
    }

    /// Keeps what has been done since the last time.
    pub fn commit(&mut self) {
        let log = &mut self.log;
        log.times.clear();
        log.ends.clear();
        log.floors.clear();
        log.excess.clear();
        log.held.clear();
        log.relocations.clear();
        log.units.clear();
        log.order.clear();
        self.cost_before = self.cost;
    }

    pub fn undo(&mut self) {
        let mut log = std::mem::take(&mut self.log);
        while let Some((operation, time)) = log.times.pop() {
            self.times[operation as usize] = time;
        }
        while let Some((order, end)) = log.ends.pop() {
            self.set_order(order, end, false);
        }
        while let Some((limit, floor)) = log.floors.pop() {
            self.floors[limit as usize] = floor;
        }
        while let Some((limit, excess)) = log.excess.pop() {
            self.excess[limit as usize] = excess;
        }
        while let Some(operation) = log.held.pop() {
            self.held[operation as usize] ^= true;
        }
        while let Some(back) = log.relocations.pop() {
            self.detach(back.operation);
            for (place, at) in (back.lowest..).zip(log.order.drain(back.region..)) {
                self.at[place as usize] = at;
                self.pos[at as usize] = place;
            }
            self.choice[back.operation as usize] = back.choice;
            for (member, chain) in self.problem.members.range(back.operation).zip(log.units.drain(back.units..)) {
                self.chain[member as usize] = chain;
            }
            self.attach(back.operation, false);
        }
        self.log = log;
        self.touched.clear();
        self.cost = self.cost_before;
    }

    pub fn change(&self) -> f64 {
        self.measure.change(&self.cost_before, &self.cost)
    }
}
