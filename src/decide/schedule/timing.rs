//! The shop as the search sees it, and the exact time of one operation behind others.

use std::collections::{BTreeSet, HashMap};

use super::calendar::{Calendar, NEVER};
use super::shop::{Matrix, Missing, Shop, Term};

pub const NONE: u32 = u32::MAX;

/// Items of many rows in one vector.
#[derive(Debug, Default)]
pub struct Rows<T> {
    starts: Vec<u32>,
    items: Vec<T>,
}

impl<T: Clone> Rows<T> {
    /// Items keep their order within a row.
    pub fn new(rows: usize, items: &[(u32, T)]) -> Self {
        let mut starts = vec![0_u32; rows + 1];
        items.iter().for_each(|(row, _)| starts[*row as usize + 1] += 1);
        (0..rows).for_each(|row| starts[row + 1] += starts[row]);
        let mut sorted: Vec<u32> = (0..items.len() as u32).collect();
        sorted.sort_by_key(|place| items[*place as usize].0);
        Self { starts, items: sorted.iter().map(|place| items[*place as usize].1.clone()).collect() }
    }

    pub fn of(&self, row: u32) -> &[T] {
        &self.items[self.starts[row as usize] as usize..self.starts[row as usize + 1] as usize]
    }

    pub fn range(&self, row: u32) -> std::ops::Range<u32> {
        self.starts[row as usize]..self.starts[row as usize + 1]
    }

    pub fn items(&self) -> &[T] {
        &self.items
    }
}

/// An operation, as much of it as is asked for again and again.
#[derive(Debug, Clone, Copy)]
pub struct Work {
    pub ready: i64,
    pub setup: i64,
    /// Start in the last plan, which it keeps while it is held.
    pub previous: i64,
    pub order: u32,
    pub family: u32,
    pub interruptible: bool,
    /// Fixed: its start and end.
    pub fixed: Option<(i64, i64)>,
    /// It may be the last of its order to end.
    pub last: bool,
}

/// A maximum wait.
#[derive(Debug, Clone, Copy)]
pub struct Limit {
    pub arc: u32,
    pub before: u32,
    pub after: u32,
    pub max_wait: i64,
}

/// A span in which fixed operations hold a resource or unit.
#[derive(Debug, Clone, Copy)]
struct Block {
    start: i64,
    end: i64,
    family: u32,
}

/// A shop checked and indexed. Chains are what does one thing at a time: resources, then units.
pub struct Problem<'s> {
    pub shop: &'s Shop,
    /// What is known before the search not to be schedulable.
    pub missing: Vec<Option<Missing>>,
    pub works: Vec<Work>,
    /// Operations that are not missing, each after all that precede it.
    pub sequence: Vec<u32>,
    /// (before, least wait) of each operation.
    pub preds: Rows<(u32, i64)>,
    pub succs: Rows<u32>,
    pub limits: Vec<Limit>,
    /// Limits by their earlier and by their later operation.
    pub limits_from: Rows<u32>,
    pub limits_to: Rows<u32>,
    /// Operations of each order that may be the last to end.
    pub lasts: Rows<u32>,
    /// Members of chains: one of a resource for each operation, then one for each unit that it needs; the item is the pool.
    pub members: Rows<u32>,
    pub owners: Vec<u32>,
    /// Otherwise a member of a chain has its operation's place.
    pub has_units: bool,
    pub horizon: i64,
    /// The end of the last fixed operation, or `now`.
    pub fixed_end: i64,
    calendars: Vec<Calendar>,
    /// Calendar of the times that are in both.
    both: HashMap<(u32, u32), u32>,
    blocks: Vec<Vec<Block>>,
    matrices: Vec<Option<&'s Matrix>>,
}

/// A question of [`Problem::place`]: an operation by this choice with these units, not before `from`; its resource had this family before, until `free`.
#[derive(Debug, Clone, Copy)]
pub struct Ask<'a> {
    pub operation: u32,
    pub choice: u32,
    pub units: &'a [u32],
    pub from: i64,
    pub free: i64,
    pub family: u32,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Time {
    pub start: i64,
    pub setup: i64,
    pub end: i64,
}

impl<'s> Problem<'s> {
    /// `broken`: by order, the maximum wait that it cannot keep, so that it is left out.
    pub fn new(shop: &'s Shop, broken: &[Option<u32>]) -> Self {
        let count = shop.operations.len();
        let arcs = |forth: bool| -> Vec<(u32, u32)> {
            shop.arcs.iter().map(|arc| if forth { (arc.before, arc.after) } else { (arc.after, arc.before) }).collect()
        };
        let (missing, sequence, freed) = missing(shop, broken, &Rows::new(count, &arcs(true)), &Rows::new(count, &arcs(false)));
        let here = |operation: u32| missing[operation as usize].is_none();
        let live =
            || shop.arcs.iter().enumerate().filter(|(_, arc)| here(arc.before) && here(arc.after) && !freed.contains(&arc.after));
        let stays = |at: u32| shop.operations[at as usize].fixed.is_some();
        let limits: Vec<Limit> = live()
            .filter(|(_, arc)| !(stays(arc.before) && stays(arc.after)))
            .filter_map(|(place, arc)| {
                Some(Limit { arc: place as u32, before: arc.before, after: arc.after, max_wait: arc.max_wait?.max(arc.min_wait) })
            })
            .collect();
        let mut works: Vec<Work> = (0..count).map(|at| work(shop, at)).collect();
        for (_, arc) in live() {
            works[arc.before as usize].last &= works[arc.before as usize].order != works[arc.after as usize].order;
        }
        // what is fixed need not end last, whatever comes before it
        let with_fixed: BTreeSet<u32> = works.iter().filter(|work| work.fixed.is_some()).map(|work| work.order).collect();
        works.iter_mut().for_each(|work| work.last |= with_fixed.contains(&work.order));
        let lasts = sequence.iter().filter(|at| works[**at as usize].last).map(|at| (works[*at as usize].order, *at));
        let mut members = Vec::with_capacity(count);
        for at in 0..count as u32 {
            members.push((at, NONE));
            let pools = shop.needs_of(at as usize).iter().flat_map(|need| (0..need.count).map(|_| (at, need.pool)));
            members.extend(pools.filter(|_| here(at) && works[at as usize].fixed.is_none()));
        }
        let owners: Vec<u32> = members.iter().map(|(owner, _)| *owner).collect();
        let each = |key: fn(&Limit) -> u32| limits.iter().zip(0..).map(|(limit, place)| (key(limit), place)).collect::<Vec<_>>();
        let mut problem = Self {
            shop,
            preds: Rows::new(count, &live().map(|(_, arc)| (arc.after, (arc.before, arc.min_wait))).collect::<Vec<_>>()),
            succs: Rows::new(count, &live().map(|(_, arc)| (arc.before, arc.after)).collect::<Vec<_>>()),
            limits_from: Rows::new(count, &each(|limit| limit.before)),
            limits_to: Rows::new(count, &each(|limit| limit.after)),
            lasts: Rows::new(shop.orders.len(), &lasts.collect::<Vec<_>>()),
            has_units: owners.len() > count,
            owners,
            members: Rows::new(count, &members),
            horizon: shop.horizon(),
            fixed_end: works.iter().filter_map(|work| work.fixed).map(|(_, end)| end).fold(shop.now, i64::max),
            calendars: shop.calendars.iter().map(|calendar| calendar.open_end(shop.horizon() + 60_000_000)).collect(),
            both: HashMap::new(),
            blocks: vec![Vec::new(); shop.resources.len() + shop.units.len()],
            matrices: shop.resources.iter().map(|resource| Some(&shop.matrices[resource.matrix? as usize])).collect(),
            missing,
            works,
            sequence,
            limits,
        };
        problem.combine();
        problem.block();
        problem
    }

    pub fn chains(&self) -> usize {
        self.blocks.len()
    }

    pub fn is_free(&self, operation: u32) -> bool {
        self.missing[operation as usize].is_none() && self.works[operation as usize].fixed.is_none()
    }

    pub fn resource(&self, choice: u32) -> u32 {
        self.shop.choices[choice as usize].resource
    }

    /// What a resource is set up for before its first operation.
    pub fn first_family(&self, resource: u32) -> u32 {
        self.shop.resources[resource as usize].family.unwrap_or(NONE)
    }

    pub fn wants(&self, term: Term) -> bool {
        self.shop.goals().iter().any(|goal| goal.term == term)
    }

    /// Adds the calendars of operations that need units: times at which the resource and all of them work.
    fn combine(&mut self) {
        let shop = self.shop;
        let mut kinds = BTreeSet::new();
        for at in self.sequence.iter().filter(|at| self.members.of(**at).len() > 1) {
            let resources = shop.choices_of(*at as usize).iter();
            let calendars: BTreeSet<u32> = resources.map(|choice| shop.resources[choice.resource as usize].calendar).collect();
            kinds.insert((calendars, &self.members.of(*at)[1..]));
        }
        let kinds: Vec<(BTreeSet<u32>, Vec<u32>)> =
            kinds.into_iter().map(|(calendars, pools)| (calendars, pools.to_vec())).collect();
        for (mut calendars, pools) in kinds {
            for pool in pools {
                let units: BTreeSet<u32> =
                    shop.pools[pool as usize].iter().map(|unit| shop.units[*unit as usize].calendar).collect();
                let pairs = calendars.iter().flat_map(|a| units.iter().map(move |b| (*a, *b)));
                calendars = pairs.map(|(a, b)| self.add_both(a, b)).collect();
            }
        }
    }

    fn add_both(&mut self, a: u32, b: u32) -> u32 {
        if a == b {
            return a;
        }
        if let Some(both) = self.both.get(&(a, b)) {
            return *both;
        }
        let both = self.calendars[a as usize].both(&self.calendars[b as usize]);
        let same = self.calendars.iter().position(|calendar| *calendar == both);
        let place = same.unwrap_or(self.calendars.len()) as u32;
        if same.is_none() {
            self.calendars.push(both);
        }
        self.both.insert((a, b), place);
        place
    }

    /// Fixed operations hold their resources, and units that are free then.
    fn block(&mut self) {
        let shop = self.shop;
        let stays = |at: &usize| shop.operations[*at].fault.is_none();
        let mut fixed: Vec<_> =
            (0..shop.operations.len()).filter(stays).filter_map(|at| Some((shop.operations[at].fixed?, at))).collect();
        fixed.sort_by_key(|(fixed, at)| (fixed.start, fixed.end, *at));
        for (fixed, at) in fixed {
            let block = Block { start: fixed.start, end: fixed.end, family: self.works[at].family };
            if let Some(resource) = fixed.resource {
                merge(&mut self.blocks[resource as usize], block);
            }
            let first = shop.resources.len();
            for need in shop.needs_of(at) {
                let mut units: Vec<usize> = shop.pools[need.pool as usize].iter().map(|unit| first + *unit as usize).collect();
                units.sort_by_key(|unit| self.blocks[*unit].last().map_or(i64::MIN, |block| block.end));
                units.iter().take(need.count as usize).for_each(|unit| merge(&mut self.blocks[*unit], block));
            }
        }
    }

    pub fn calendar(&self, choice: u32, units: &[u32]) -> &Calendar {
        let first = self.shop.resources[self.resource(choice) as usize].calendar;
        let all = units.iter().fold(first, |a, unit| {
            let b = self.shop.units[*unit as usize - self.shop.resources.len()].calendar;
            if a == b { a } else { self.both.get(&(a, b)).copied().unwrap_or(a) }
        });
        &self.calendars[all as usize]
    }

    /// Start of the next fixed operation at or after an instant on a chain.
    pub fn next_block(&self, chain: u32, at: i64) -> Option<i64> {
        let blocks = &self.blocks[chain as usize];
        blocks.get(blocks.partition_point(|block| block.start < at)).map(|block| block.start)
    }

    /// When an operation ends that starts at or after an instant with nothing in its way and no set-up.
    pub fn alone(&self, operation: u32, choice: u32, from: i64) -> i64 {
        let duration = self.shop.choices[choice as usize].duration;
        let run = self.calendar(choice, &[]).run(from, duration, self.works[operation as usize].interruptible);
        run.map_or(NEVER, |(_, end)| end)
    }

    /// Set-up of an operation on a resource that was used for this family before: what the matrix says, or else its own unless the family stays.
    pub fn setup(&self, resource: u32, before: u32, operation: u32) -> i64 {
        let work = &self.works[operation as usize];
        if let (Some(matrix), true) = (self.matrices[resource as usize], before != NONE && work.family != NONE)
            && let Some(setup) = matrix.setups.get((before * matrix.families + work.family) as usize).filter(|setup| **setup >= 0)
        {
            return *setup;
        }
        if work.family != NONE && work.family == before { 0 } else { work.setup }
    }

    /// Until when a fixed operation holds the chain that it holds at this instant.
    pub fn blocked(&self, chain: u32, at: i64) -> Option<i64> {
        hit(&self.blocks[chain as usize], at, at)
    }

    /// The earliest time for an operation: within working time, between the fixed operations, set up from what is before it.
    pub fn place(&self, ask: &Ask<'_>) -> Time {
        let work = &self.works[ask.operation as usize];
        let resource = self.resource(ask.choice);
        let calendar = self.calendar(ask.choice, ask.units);
        let blocks = self.blocks[resource as usize].as_slice();
        let mut from = ask.from.max(ask.free);
        loop {
            let (mut at, mut family) = (from, ask.family);
            if !blocks.is_empty() {
                at = calendar.next(from).unwrap_or(NEVER);
                family = family_at(blocks, at, ask);
            }
            let setup = self.setup(resource, family, ask.operation);
            let length = setup.saturating_add(self.shop.choices[ask.choice as usize].duration);
            let Some((start, end)) = calendar.run(at, length, work.interruptible) else {
                return Time { start: NEVER, setup, end: NEVER };
            };
            let chains = std::iter::once(&resource).chain(ask.units);
            match chains.filter_map(|chain| hit(&self.blocks[*chain as usize], start, end)).max() {
                Some(until) => from = until,
                None if start > at && !blocks.is_empty() && family_at(blocks, start, ask) != family => from = start,
                None => return Time { start, setup, end },
            }
        }
    }
}

fn work(shop: &Shop, at: usize) -> Work {
    let operation = &shop.operations[at];
    Work {
        ready: operation.release.map_or(shop.now, |release| release.max(shop.now)),
        setup: operation.setup,
        previous: operation.previous.map_or(i64::MIN, |(_, start)| start),
        order: operation.order,
        family: operation.family.unwrap_or(NONE),
        interruptible: operation.interruptible,
        fixed: operation.fixed.map(|fixed| (fixed.start, fixed.end)),
        last: true,
    }
}

/// What cannot be scheduled, the rest in an order in which each comes after all that precede it, and the fixed operations that a circle went through:
/// what precedes them is not asked for.
fn missing(
    shop: &Shop,
    broken: &[Option<u32>],
    succs: &Rows<u32>,
    preds: &Rows<u32>,
) -> (Vec<Option<Missing>>, Vec<u32>, BTreeSet<u32>) {
    let count = shop.operations.len();
    let mut open: Vec<u32> = (0..count as u32).map(|at| preds.of(at).len() as u32).collect();
    let mut sorted: Vec<u32> = (0..count as u32).filter(|at| open[*at as usize] == 0).collect();
    let mut fixed = (0..count as u32).filter(|at| shop.operations[*at as usize].fixed.is_some());
    let (mut next, mut freed) = (0, BTreeSet::new());
    loop {
        while let Some(at) = sorted.get(next).copied() {
            next += 1;
            for after in succs.of(at) {
                let open = &mut open[*after as usize];
                if *open == 1 {
                    sorted.push(*after);
                }
                *open = open.saturating_sub(1);
            }
        }
        // what is fixed waits for nothing: a circle through it is none
        let Some(at) = fixed.find(|at| open[*at as usize] > 0) else { break };
        open[at as usize] = 0;
        freed.insert(at);
        sorted.push(at);
    }
    // what is left is on a cycle or behind one; what is left from the other end too is between cycles
    let mut missing: Vec<Option<Missing>> = vec![None; count];
    let mut closed: Vec<u32> = (0..count as u32).map(|at| succs.of(at).len() as u32).collect();
    let mut ends: Vec<u32> = (0..count as u32).filter(|at| closed[*at as usize] == 0).collect();
    while let Some(at) = ends.pop() {
        for before in preds.of(at) {
            closed[*before as usize] -= 1;
            if closed[*before as usize] == 0 {
                ends.push(*before);
            }
        }
    }
    for at in (0..count).filter(|at| open[*at] > 0) {
        let cyclic = closed[at] > 0;
        missing[at] = Some(if cyclic { Missing::Cycle } else { Missing::Predecessor });
    }
    for at in sorted.iter().map(|at| *at as usize) {
        let operation = &shop.operations[at];
        let pools = shop.needs_of(at).iter().flat_map(|need| (0..need.count).map(|_| need.pool));
        missing[at] = if let Some(fault) = &operation.fault {
            Some(Missing::Fault(fault.clone()))
        } else if operation.fixed.is_some() {
            None
        } else if let Some(Some(arc)) = broken.get(operation.order as usize) {
            Some(Missing::MaxWait(*arc))
        } else if operation.choices.is_empty() {
            Some(Missing::Fault("no resource".to_owned()))
        } else if match_units(shop, &pools.collect::<Vec<_>>()).is_none() {
            Some(Missing::Fault("needs more tools or people than there are".to_owned()))
        } else {
            preds.of(at as u32).iter().any(|before| missing[*before as usize].is_some()).then_some(Missing::Predecessor)
        };
    }
    sorted.retain(|at| missing[*at as usize].is_none());
    (missing, sorted, freed)
}

/// A different unit for each of these pools.
pub fn match_units(shop: &Shop, pools: &[u32]) -> Option<Vec<u32>> {
    let mut taken: Vec<(u32, usize)> = Vec::with_capacity(pools.len());
    for need in 0..pools.len() {
        if !augment(shop, pools, need, &mut Vec::new(), &mut taken) {
            return None;
        }
    }
    taken.sort_unstable_by_key(|(_, need)| *need);
    Some(taken.into_iter().map(|(unit, _)| unit).collect())
}

/// Finds a unit for one more need; those that have one may have to take another.
fn augment(shop: &Shop, pools: &[u32], need: usize, seen: &mut Vec<u32>, taken: &mut Vec<(u32, usize)>) -> bool {
    for unit in &shop.pools[pools[need] as usize] {
        if seen.contains(unit) {
            continue;
        }
        seen.push(*unit);
        let holder = taken.iter().position(|(other, _)| other == unit);
        match holder {
            None => taken.push((*unit, need)),
            Some(place) if augment(shop, pools, taken[place].1, seen, taken) => {
                taken.iter_mut().filter(|t| t.0 == *unit).for_each(|t| t.1 = need)
            }
            Some(_) => continue,
        }
        return true;
    }
    false
}

/// Adds a block, which starts after those before it or at the same time.
fn merge(blocks: &mut Vec<Block>, block: Block) {
    match blocks.last_mut().filter(|last| block.start < last.end || block.start == last.start) {
        Some(last) if block.end >= last.end => *last = Block { start: last.start, ..block },
        Some(_) => {}
        None => blocks.push(block),
    }
}

/// The end of the first block that is in the way.
fn hit(blocks: &[Block], start: i64, end: i64) -> Option<i64> {
    if blocks.last()?.end <= start {
        return None;
    }
    let next = blocks[blocks.partition_point(|block| block.end <= start)];
    (next.start < end || next.start <= start).then_some(next.end)
}

/// The family that the resource is set up for at an instant.
fn family_at(blocks: &[Block], at: i64, ask: &Ask<'_>) -> u32 {
    let before = blocks[..blocks.partition_point(|block| block.end <= at)].last();
    before.filter(|block| block.end > ask.free).map_or(ask.family, |block| block.family)
}
