//! From the tables to a [`Shop`]: names become places, seconds microseconds, and what cannot be scheduled a problem of its operation.
//!
//! What spoils only one order is a problem of that order; an error is only what leaves no way to tell what was meant (a key twice, a null in a key).
//! Rows about operations that are not there are about work that is done: they are ignored.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use super::super::DecideError;
use super::super::columns::Table;
use super::calendar::Calendar;
use super::settings::{Settings, read_settings};
use super::shop::{Arc, Choice, Fixed, Matrix, Need, Operation, Order, Resource, Shop, Unit};
use super::{SECOND_US, instant};

/// Longest duration, set-up and wait, some three thousand years: more is a unit mistaken.
const DURATION_S_MAX: i64 = 100_000_000_000;
/// Most lanes of a resource and most pieces of a tool.
const CAPACITY_MAX: i64 = 1_000;
/// Most entries of all set-up matrices together, 128 MiB.
const SETUPS_MAX: usize = 16_000_000;
/// Any family in a set-up matrix.
const ANY: &str = "*";

/// What is to be scheduled, and how to call it.
pub struct Task {
    pub shop: Shop,
    pub names: Names,
    pub settings: Settings,
}

/// Names of the places in a [`Shop`].
#[derive(Default)]
pub struct Names {
    pub orders: Vec<String>,
    /// Number within the order, and the resource that was asked for.
    pub operations: Vec<(i64, Option<String>)>,
    /// Name, and which of its lanes from 1.
    pub resources: Vec<(String, i64)>,
    pub units: Vec<String>,
    /// What is wrong with each operation.
    pub problems: Vec<Option<Problem>>,
}

/// Something that is wrong with an operation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    pub kind: &'static str,
    pub what: String,
}

/// The tables in the order of the function's inputs.
pub fn read(tables: &[Table<'_>; 10], now: i64) -> Result<Task, DecideError> {
    let [operations, calendars, alternatives, precedence, setups, resources, needs, units, downtime, settings] = tables;
    let settings = read_settings(settings)?;
    let mut reader = Reader { calendars: read_calendars(calendars, downtime)?, ..Reader::default() };
    (reader.shop.now, reader.shop.goals) = (now, settings.goals.clone());
    let rows = reader.orders(operations)?;
    let choices = reader.wanted(operations, alternatives, &rows)?;
    reader.resources(resources, &choices)?;
    reader.operations(operations, &rows, &choices)?;
    reader.precedence(precedence)?;
    reader.setups(setups)?;
    reader.needs(needs, units)?;
    reader.frozen();
    for (operation, problem) in reader.shop.operations.iter_mut().zip(&reader.names.problems) {
        operation.fault = problem.as_ref().filter(|_| operation.fixed.is_none()).map(|problem| problem.what.clone());
    }
    Ok(Task { shop: reader.shop, names: reader.names, settings })
}

/// Working time by the name of a resource or unit, less its downtime (without an end: for good).
fn read_calendars(calendars: &Table<'_>, downtime: &Table<'_>) -> Result<BTreeMap<String, Calendar>, DecideError> {
    let periods = |table: &Table<'_>| {
        let (resource, starts, ends) = (table.text("resource_id")?, table.instant("starts_at")?, table.instant("ends_at")?);
        let mut periods: BTreeMap<String, Vec<(i64, Option<i64>)>> = BTreeMap::new();
        for row in 0..table.len() {
            let (start, end) = (starts.need(row)?, ends.get(row));
            if let Some(end) = end.filter(|end| *end < start) {
                return Err(table.bad_value("ends_at", instant(end), row, "it is before starts_at"));
            }
            periods.entry(resource.need(row)?.to_owned()).or_default().push((start, end));
        }
        Ok(periods)
    };
    let ends = calendars.instant("ends_at")?;
    (0..calendars.len()).try_for_each(|row| ends.need(row).map(drop))?;
    let closed = periods(downtime)?;
    let each = periods(calendars)?.into_iter().map(|(resource, windows)| {
        let open = Calendar::new(windows.into_iter().map(|(start, end)| (start, end.unwrap_or(start))).collect());
        let down = closed.get(&resource).into_iter().flatten().map(|(start, end)| (*start, end.unwrap_or(i64::MAX)));
        (resource, open.without(down.collect()))
    });
    Ok(each.collect())
}

/// Resources and durations that an operation may have, the preferred one first.
type Wanted = Vec<(String, Option<i64>)>;

#[derive(Default)]
struct Reader {
    shop: Shop,
    names: Names,
    calendars: BTreeMap<String, Calendar>,
    /// First operation of each order, by name.
    first: HashMap<String, usize>,
    /// Lanes of each resource.
    lanes: HashMap<String, std::ops::Range<u32>>,
    families: HashMap<String, u32>,
}

impl Reader {
    /// The rows of the operations by order and number; names the orders.
    fn orders(&mut self, table: &Table<'_>) -> Result<Vec<usize>, DecideError> {
        let (order, number, resource) = (table.text("order_id")?, table.bigint("operation_no")?, table.text("resource_id")?);
        let mut rows = Vec::with_capacity(table.len());
        for row in 0..table.len() {
            rows.push((order.need(row)?, number.need(row)?, row));
        }
        rows.sort_unstable();
        if let Some(twice) = rows.windows(2).find(|pair| (pair[0].0, pair[0].1) == (pair[1].0, pair[1].1)) {
            return Err(table.duplicate(twice[1].2));
        }
        for (order, number, row) in &rows {
            if self.names.orders.last().is_none_or(|last| last != order) {
                self.names.orders.push((*order).to_owned());
                self.first.insert((*order).to_owned(), self.names.operations.len());
            }
            let order = self.names.orders.len() as u32 - 1;
            self.names.operations.push((*number, resource.get(*row).map(str::to_owned)));
            self.shop.operations.push(Operation { order, ..Operation::default() });
        }
        self.names.problems = vec![None; rows.len()];
        Ok(rows.into_iter().map(|(_, _, row)| row).collect())
    }

    /// The place of an operation; without a number the order's first or last one.
    fn find(&self, order: &str, number: Option<i64>, last: bool) -> Option<usize> {
        let first = *self.first.get(order)?;
        let of = self.shop.operations[first].order;
        let count = self.shop.operations[first..].partition_point(|operation| operation.order == of);
        match number {
            None => Some(if last { first + count - 1 } else { first }),
            Some(number) => {
                let numbers = &self.names.operations[first..first + count];
                numbers.binary_search_by_key(&number, |(number, _)| *number).ok().map(|at| first + at)
            }
        }
    }

    /// The first problem of an operation is the one that is told.
    fn problem(&mut self, at: usize, kind: &'static str, what: String) {
        self.names.problems[at].get_or_insert(Problem { kind, what });
    }

    fn label(&self, at: usize) -> String {
        format!("{}/{}", self.names.orders[self.shop.operations[at].order as usize], self.names.operations[at].0)
    }

    fn wanted(&self, operations: &Table<'_>, alternatives: &Table<'_>, rows: &[usize]) -> Result<Vec<Wanted>, DecideError> {
        let (resource, duration) = (operations.text("resource_id")?, operations.bigint("duration_s")?);
        let preferred = rows.iter().map(|row| resource.get(*row).map(|name| (name.to_owned(), duration.get(*row))));
        let mut wanted: Vec<Wanted> = preferred.map(|choice| choice.into_iter().collect()).collect();
        let (order, number) = (alternatives.text("order_id")?, alternatives.bigint("operation_no")?);
        let (resource, seconds) = (alternatives.text("resource_id")?, alternatives.bigint("duration_s")?);
        let mut others = BTreeMap::new();
        for row in 0..alternatives.len() {
            let Some(at) = self.find(order.need(row)?, Some(number.need(row)?), false) else { continue };
            let name = resource.need(row)?.to_owned();
            if others.insert((at, name), seconds.get(row).or(duration.get(rows[at]))).is_some() {
                return Err(alternatives.duplicate(row));
            }
        }
        for ((at, name), seconds) in others {
            if wanted[at].iter().all(|(preferred, _)| *preferred != name) {
                wanted[at].push((name, seconds));
            }
        }
        Ok(wanted)
    }

    /// The lanes of every resource that has a calendar and that an operation may run on.
    fn resources(&mut self, table: &Table<'_>, wanted: &[Wanted]) -> Result<(), DecideError> {
        let (resource, capacity, family) = (table.text("resource_id")?, table.bigint("capacity")?, table.text("family")?);
        let mut known = HashMap::new();
        for row in 0..table.len() {
            let count = capacity.get(row).unwrap_or(1);
            if !(1..=CAPACITY_MAX).contains(&count) {
                return Err(table.bad_value("capacity", count, row, "it must be between 1 and 1000"));
            }
            if known.insert(resource.need(row)?.to_owned(), (count, family.get(row).map(str::to_owned))).is_some() {
                return Err(table.duplicate(row));
            }
        }
        let used: BTreeSet<&String> = wanted.iter().flatten().map(|(name, _)| name).collect();
        for name in used {
            let Some(calendar) = self.calendars.get(name) else { continue };
            let (count, family) = known.get(name).cloned().unwrap_or((1, None));
            let family = family.map(|family| dense(&mut self.families, &family));
            let first = self.shop.resources.len() as u32;
            for lane in 1..=count {
                let calendar = self.shop.calendars.len() as u32;
                self.shop.resources.push(Resource { calendar, matrix: None, family });
                self.names.resources.push((name.clone(), lane));
            }
            self.shop.calendars.push(calendar.clone());
            self.lanes.insert(name.clone(), first..first + count as u32);
        }
        Ok(())
    }

    fn operations(&mut self, table: &Table<'_>, rows: &[usize], wanted: &[Wanted]) -> Result<(), DecideError> {
        let (release, due) = (table.instant("release")?, table.instant("due")?);
        let (duration, setup) = (table.bigint("duration_s")?, table.bigint("setup_s")?);
        let (family, splittable) = (table.text("family")?, table.flag("splittable")?);
        let (planned_resource, planned_start) = (table.text("planned_resource_id")?, table.instant("planned_start")?);
        let (fixed_start, fixed_end) = (table.instant("fixed_start")?, table.instant("fixed_end")?);
        self.shop.orders = vec![Order::default(); self.names.orders.len()];
        for (at, row) in rows.iter().copied().enumerate() {
            let operation = Operation {
                order: self.shop.operations[at].order,
                release: release.get(row),
                family: family.get(row).map(|family| dense(&mut self.families, family)),
                setup: micros(setup.get(row).unwrap_or(0)).unwrap_or(0),
                interruptible: splittable.get(row).unwrap_or(true),
                ..Operation::default()
            };
            let due_of = &mut self.shop.orders[operation.order as usize].due;
            *due_of = due_of.iter().copied().chain(due.get(row)).min();
            self.shop.operations[at] = operation;
            if let Some(seconds) = setup.get(row).filter(|seconds| micros(*seconds).is_none()) {
                self.problem(at, "duration", format!("set-up of {seconds} s is not between 0 and {DURATION_S_MAX}"));
            }
            match (fixed_start.get(row), fixed_end.get(row)) {
                (None, None) => self.choices(at, &wanted[at]),
                (Some(start), end) => self.fixed(at, wanted[at].first(), duration.get(row), start, end),
                (None, Some(_)) => self.problem(at, "frozen", "fixed_end without fixed_start".to_owned()),
            }
            let lane = planned_resource.get(row).or_else(|| wanted[at].first().map(|(name, _)| name.as_str()));
            let lane = lane.and_then(|name| self.lanes.get(name)).map(|lanes| lanes.start);
            self.shop.operations[at].previous = lane.zip(planned_start.get(row));
        }
        self.weights(table, rows)
    }

    /// Weights as given; otherwise by the rank of the priorities that occur, small before large and none last: a rank counts 1 / rank.
    fn weights(&mut self, table: &Table<'_>, rows: &[usize]) -> Result<(), DecideError> {
        /// What ranks are divided into evenly.
        const FIRST: i64 = 2_520;
        let (priority, weight) = (table.bigint("priority")?, table.bigint("weight")?);
        let occurring: BTreeSet<i64> = rows.iter().filter_map(|row| priority.get(*row)).collect();
        let ranks: HashMap<i64, i64> = occurring.into_iter().zip(1..).collect();
        let mut ranked = vec![i64::MAX; self.shop.orders.len()];
        let mut given = vec![None; self.shop.orders.len()];
        for (at, row) in rows.iter().copied().enumerate() {
            let order = self.shop.operations[at].order as usize;
            let rank = priority.get(row).and_then(|priority| ranks.get(&priority).copied()).unwrap_or(ranks.len() as i64 + 1);
            ranked[order] = ranked[order].min(rank);
            if let Some(weight) = weight.get(row).filter(|weight| *weight < 0) {
                self.problem(at, "weight", format!("weight of {weight} is negative"));
            }
            given[order] = given[order].max(weight.get(row));
        }
        let share = |rank: i64| (FIRST / rank).max(1);
        let divisor = ranked.iter().map(|rank| share(*rank)).fold(0, gcd).max(1);
        for (order, (rank, given)) in self.shop.orders.iter_mut().zip(ranked.into_iter().zip(given)) {
            order.weight = given.unwrap_or(share(rank) / divisor).max(0);
        }
        Ok(())
    }

    fn choices(&mut self, at: usize, wanted: &Wanted) {
        let first = self.shop.choices.len();
        let mut without = None;
        for (name, seconds) in wanted {
            let duration = match seconds.map(|seconds| micros(seconds).ok_or(seconds)) {
                None => return self.problem(at, "duration", "duration is not known".to_owned()),
                Some(Err(seconds)) => {
                    let what = format!("duration of {seconds} s is not between 0 and {DURATION_S_MAX}");
                    return self.problem(at, "duration", what);
                }
                Some(Ok(duration)) => duration,
            };
            match self.lanes.get(name) {
                Some(lanes) => self.shop.choices.extend(lanes.clone().map(|resource| Choice { resource, duration })),
                None => without = without.or(Some(name)),
            }
        }
        self.shop.operations[at].choices = first as u32..self.shop.choices.len() as u32;
        if self.shop.choices.len() == first {
            match without {
                Some(name) => self.problem(at, "calendar", format!("no calendar for resource {name}")),
                None => self.problem(at, "resource", "no resource".to_owned()),
            }
        }
    }

    /// Without an end it follows from the duration.
    fn fixed(
        &mut self,
        at: usize,
        preferred: Option<&(String, Option<i64>)>,
        seconds: Option<i64>,
        start: i64,
        end: Option<i64>,
    ) {
        let resource = preferred.and_then(|(name, _)| self.lanes.get(name)).map(|lanes| lanes.start);
        let end = match (end, seconds.and_then(micros), preferred) {
            (Some(end), ..) if end < start => return self.problem(at, "frozen", "fixed_end is before fixed_start".to_owned()),
            (Some(end), ..) => end,
            (None, None, _) => {
                return self.problem(at, "duration", "duration is not known, nor the end of what is fixed".to_owned());
            }
            (None, Some(work), Some((name, _))) => {
                let calendar = self.calendars.get(name);
                match calendar.and_then(|calendar| calendar.finish(calendar.next(start)?, work)) {
                    Some(end) => end,
                    None if calendar.is_none() => {
                        return self.problem(at, "calendar", format!("no calendar for resource {name}"));
                    }
                    None => {
                        let what = format!("the calendar of {name} ends before the fixed operation does");
                        return self.problem(at, "horizon", what);
                    }
                }
            }
            (None, Some(_), None) => return self.problem(at, "resource", "no resource".to_owned()),
        };
        self.shop.operations[at].fixed = Some(Fixed { resource, start, end });
    }

    /// Within an order each operation follows the one before it by number, unless the table says what it follows (or, by a null, that it follows nothing).
    fn precedence(&mut self, table: &Table<'_>) -> Result<(), DecideError> {
        let (before, before_no) = (table.text("before_order_id")?, table.bigint("before_operation_no")?);
        let (after, after_no) = (table.text("after_order_id")?, table.bigint("after_operation_no")?);
        let (min, max) = (table.bigint("min_wait_s")?, table.bigint("max_wait_s")?);
        let (mut arcs, mut told) = (BTreeSet::new(), BTreeSet::new());
        for row in 0..table.len() {
            let name = after.need(row)?;
            let Some(to) = self.find(name, after_no.get(row), false) else { continue };
            if before.get(row).is_none_or(|before| before == name) {
                told.insert(to);
            }
            let Some(from) = before.get(row).and_then(|name| self.find(name, before_no.get(row), true)) else { continue };
            let (least, most) = (min.get(row).unwrap_or(0), max.get(row));
            match (micros(least), most.map(micros)) {
                (Some(min), None) => drop(arcs.insert((from, to, min, None))),
                (Some(min), Some(Some(max))) if min <= max => drop(arcs.insert((from, to, min, Some(max)))),
                _ => {
                    let most = most.map_or_else(String::new, |most| format!(" to {most}"));
                    self.problem(to, "wait", format!("wait of {least}{most} s after {} is not possible", self.label(from)));
                }
            }
        }
        let operations = &self.shop.operations;
        let follows = |at: &usize| operations[*at].order == operations[*at - 1].order && !told.contains(at);
        arcs.extend((1..operations.len()).filter(follows).map(|at| (at - 1, at, 0, None)));
        let arc = |(before, after, min_wait, max_wait)| Arc { before: before as u32, after: after as u32, min_wait, max_wait };
        self.shop.arcs = arcs.into_iter().map(arc).collect();
        Ok(())
    }

    /// Set-ups between families; the row that names both counts before those with `*`, and the family before the one after.
    fn setups(&mut self, table: &Table<'_>) -> Result<(), DecideError> {
        let (resource, from, to) = (table.text("resource_id")?, table.text("from_family")?, table.text("to_family")?);
        let seconds = table.bigint("seconds")?;
        let mut rows: BTreeMap<&str, BTreeMap<(&str, &str), i64>> = BTreeMap::new();
        for row in 0..table.len() {
            let spent = seconds.need(row)?;
            let spent = micros(spent).ok_or_else(|| table.bad_value("seconds", spent, row, "it must be 0 or more"))?;
            let entries = rows.entry(resource.need(row)?).or_default();
            if entries.insert((from.need(row)?, to.need(row)?), spent).is_some() {
                return Err(table.duplicate(row));
            }
        }
        // what a resource is set up for before its first operation, where nobody knows it: a family that only `*` matches
        let unknown = self.families.len() as u32;
        let count = self.families.len() + 1;
        let mut matrices: HashMap<Vec<i64>, u32> = HashMap::new();
        for (name, entries) in rows {
            let Some(lanes) = self.lanes.get(name) else { continue };
            if (matrices.len() + 1) * count * count > SETUPS_MAX {
                return Err(table.bad_value(
                    "resource_id",
                    name,
                    0,
                    "there are too many families for set-up matrices: group them",
                ));
            }
            let mut setups = vec![-1; count * count];
            let mut fill = |from: &str, to: &str, spent: i64| {
                let places = |family: &str| match family {
                    ANY => 0..count,
                    family => self.families.get(family).map_or(0..0, |place| *place as usize..*place as usize + 1),
                };
                for before in places(from) {
                    // the same family again needs a row of its own
                    let wild = from == ANY || to == ANY;
                    places(to)
                        .filter(|after| !(wild && before == *after))
                        .for_each(|after| setups[before * count + after] = spent);
                }
            };
            let mut entries: Vec<_> = entries.into_iter().collect();
            // later ones overwrite: `*` to `*`, family to `*`, `*` to family, both
            entries.sort_by_key(|((from, to), _)| (*to != ANY, *from != ANY));
            entries.iter().for_each(|((from, to), spent)| fill(from, to, *spent));
            let next = matrices.len() as u32;
            let matrix = *matrices.entry(setups).or_insert(next);
            for resource in &mut self.shop.resources[lanes.start as usize..lanes.end as usize] {
                (resource.matrix, resource.family) = (Some(matrix), resource.family.or(Some(unknown)));
            }
        }
        let mut matrices: Vec<(Vec<i64>, u32)> = matrices.into_iter().collect();
        matrices.sort_unstable_by_key(|(_, place)| *place);
        self.shop.matrices = matrices.into_iter().map(|(setups, _)| Matrix { families: count as u32, setups }).collect();
        Ok(())
    }

    /// Tools and people. A unit without a calendar is always there.
    fn needs(&mut self, needs: &Table<'_>, units: &Table<'_>) -> Result<(), DecideError> {
        let (unit, pool, capacity) = (units.text("unit_id")?, units.text("pool")?, units.bigint("capacity")?);
        let mut pools: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
        let mut counts: BTreeMap<String, i64> = BTreeMap::new();
        for row in 0..units.len() {
            let (name, count) = (unit.need(row)?.to_owned(), capacity.get(row).unwrap_or(1));
            if !(0..=CAPACITY_MAX).contains(&count) {
                return Err(units.bad_value("capacity", count, row, "it must be between 0 and 1000"));
            }
            pools.entry(pool.need(row)?.to_owned()).or_default().insert(name.clone());
            let most = counts.entry(name).or_default();
            *most = count.max(*most);
        }
        let (mut pieces, horizon) = (HashMap::new(), self.shop.horizon());
        for (name, count) in counts {
            let calendar = self.shop.calendars.len() as u32;
            let always = || Calendar::new(vec![(i64::MIN / 4, horizon)]);
            self.shop.calendars.push(self.calendars.get(&name).cloned().unwrap_or_else(always));
            let first = self.shop.units.len() as u32;
            self.shop.units.extend((0..count).map(|_| Unit { calendar }));
            self.names.units.extend((0..count).map(|_| name.clone()));
            pieces.insert(name, first..first + count as u32);
        }
        let members = |names: &BTreeSet<String>| names.iter().flat_map(|name| pieces[name].clone()).collect::<Vec<u32>>();
        self.shop.pools = pools.values().map(members).collect();
        let places: HashMap<&str, usize> = pools.keys().map(String::as_str).zip(0..).collect();

        let (order, number) = (needs.text("order_id")?, needs.bigint("operation_no")?);
        let (pool, count) = (needs.text("pool")?, needs.bigint("count")?);
        let mut wanted = BTreeMap::new();
        for row in 0..needs.len() {
            let Some(at) = self.find(order.need(row)?, Some(number.need(row)?), false) else { continue };
            let (name, count) = (pool.need(row)?, count.get(row).unwrap_or(1));
            let there = places.get(name).map_or(0, |pool| self.shop.pools[*pool].len());
            match places.get(name) {
                Some(pool) if (0..=there as i64).contains(&count) => {
                    if wanted.insert((at, *pool), count as u32).is_some() {
                        return Err(needs.duplicate(row));
                    }
                }
                _ => self.problem(at, "unit", format!("it needs {count} of {name}, there are {there}")),
            }
        }
        for ((at, pool), count) in wanted.into_iter().filter(|(_, count)| *count > 0) {
            let next = self.shop.needs.len() as u32;
            self.shop.needs.push(Need { pool: pool as u32, count });
            let range = &mut self.shop.operations[at].needs;
            *range = if range.start == range.end { next } else { range.start }..next + 1;
        }
        Ok(())
    }

    /// Gives the fixed operations of a resource their lanes, and finds those that contradict one another. They stay where they are all the same.
    fn frozen(&mut self) {
        let operations = &self.shop.operations;
        let mut fixed: Vec<(i64, i64, usize, String)> = vec![];
        for (at, operation) in operations.iter().enumerate() {
            if let Some(Fixed { resource: Some(resource), start, end }) = operation.fixed {
                fixed.push((start, end, at, self.names.resources[resource as usize].0.clone()));
            }
        }
        fixed.sort_unstable();
        let mut last: Vec<Option<(i64, usize)>> = vec![None; self.shop.resources.len()];
        for (start, end, at, name) in fixed {
            let Some(lane) = self.lanes[&name].clone().min_by_key(|lane| last[*lane as usize]) else { continue };
            if let Some(fixed) = &mut self.shop.operations[at].fixed {
                fixed.resource = Some(lane);
            }
            let place = &mut last[lane as usize];
            let before = place.filter(|(until, _)| *until > start && start < end);
            *place = (*place).max(Some((end, at)));
            if let Some((_, other)) = before {
                self.problem(at, "frozen", format!("it is fixed at a time when {name} has {}", self.label(other)));
                self.problem(other, "frozen", format!("it is fixed at a time when {name} has {}", self.label(at)));
            }
        }
        for arc in self.shop.arcs.clone() {
            let of = |at: u32| self.shop.operations[at as usize].fixed;
            if let (Some(before), Some(after)) = (of(arc.before), of(arc.after))
                && after.start < before.end
            {
                let what = format!("it is fixed to start before {} ends", self.label(arc.before as usize));
                self.problem(arc.after as usize, "frozen", what);
            }
        }
    }
}

fn dense(numbers: &mut HashMap<String, u32>, name: &str) -> u32 {
    if let Some(number) = numbers.get(name) {
        return *number;
    }
    let next = numbers.len() as u32;
    numbers.insert(name.to_owned(), next);
    next
}

/// Seconds as microseconds; none if they are negative or not plausible.
fn micros(seconds: i64) -> Option<i64> {
    (0..=DURATION_S_MAX).contains(&seconds).then_some(seconds * SECOND_US)
}

fn gcd(a: i64, b: i64) -> i64 {
    if b == 0 { a } else { gcd(b, a % b) }
}
