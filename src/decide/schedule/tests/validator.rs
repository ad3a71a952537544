//! Checks a schedule against the tables that it was made from, minute by minute, knowing nothing of how it was made. All times are whole minutes.

use std::collections::{BTreeMap, BTreeSet};

use arrow::array::RecordBatch;

use crate::decide::testing::{cell, instant};

const MINUTE_US: i64 = 60_000_000;

/// A table as text: the first line names the columns.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Rows {
    pub columns: Vec<&'static str>,
    pub rows: Vec<Vec<String>>,
}

impl Rows {
    pub fn new(columns: &[&'static str]) -> Self {
        Self { columns: columns.to_vec(), rows: vec![] }
    }

    /// As `testing::table` reads it.
    pub fn text(&self) -> String {
        let lines = self.rows.iter().map(|row| row.join(" | "));
        std::iter::once(self.columns.join(" | ")).chain(lines).collect::<Vec<_>>().join("\n")
    }

    pub fn parse(text: &'static str) -> Self {
        let mut lines = text.lines().map(str::trim).filter(|line| !line.is_empty()).map(|line| line.split('|').map(str::trim));
        let columns = lines.next().map(Iterator::collect).unwrap_or_default();
        Self { columns, rows: lines.map(|line| line.map(str::to_owned).collect()).collect() }
    }

    fn get<'r>(&self, row: &'r [String], column: &str) -> Option<&'r str> {
        let at = self.columns.iter().position(|name| *name == column)?;
        Some(row[at].as_str()).filter(|cell| *cell != "-")
    }

    fn minute(&self, row: &[String], column: &str) -> Option<i64> {
        self.get(row, column).map(|text| instant(text) / MINUTE_US)
    }

    fn minutes(&self, row: &[String], column: &str) -> Option<i64> {
        self.get(row, column).map(|text| text.parse::<i64>().unwrap() / 60)
    }

    fn key(&self, row: &[String], prefix: &str) -> Option<Key> {
        let number = self.get(row, &format!("{prefix}operation_no"))?.parse().unwrap();
        Some((self.get(row, &format!("{prefix}order_id"))?.to_owned(), number))
    }
}

/// Order and operation number.
type Key = (String, i64);

/// The function's inputs, in order; those that are not there have no columns.
pub type Factory = [Rows; 10];

/// One operation of the result.
struct Done {
    resource: String,
    lane: String,
    start: i64,
    end: i64,
    setup: i64,
    fixed: bool,
}

pub fn validate(factory: &Factory, as_of: i64, result: &RecordBatch) -> Result<(), String> {
    let [operations, ..] = factory;
    let mut inputs: Vec<&Vec<String>> = operations.rows.iter().collect();
    inputs.sort_by_key(|row| operations.key(row, ""));
    ensure(inputs.len() == result.num_rows(), || "one row for each operation".into())?;
    let mut done: BTreeMap<Key, Done> = BTreeMap::new();
    for (at, input) in inputs.iter().enumerate() {
        let of = |name| Some(cell(result, name, at)).filter(|cell| cell != "-");
        let key = operations.key(input, "").unwrap();
        ensure(of("order_id").as_ref() == Some(&key.0) && of("operation_no") == Some(key.1.to_string()), || {
            format!("{key:?} is not at its place")
        })?;
        let Some(start) = of("starts_at") else {
            ensure(of("problem").is_some() && of("reason").is_some() && of("order_ends_at").is_none(), || {
                format!("{key:?} without a reason")
            })?;
            continue;
        };
        let minute = |text: &str| instant(text) / MINUTE_US;
        let (start, end) = (minute(&start), minute(&of("ends_at").unwrap()));
        let setup = of("setup_s").unwrap().parse::<i64>().unwrap() / 60;
        let fixed = operations.minute(input, "fixed_start").is_some();
        done.insert(
            key,
            Done {
                resource: of("resource_id").unwrap_or_default(),
                lane: of("lane").unwrap_or_default(),
                start,
                end,
                setup,
                fixed,
            },
        );
    }
    let now = as_of / MINUTE_US;
    for input in &inputs {
        let key = operations.key(input, "").unwrap();
        if let Some(one) = done.get(&key) {
            operation(factory, now, input, one).map_err(|what| format!("{key:?}: {what}"))?;
        }
    }
    precedence(factory, &done)?;
    sequences(factory, &inputs, &done)?;
    units(factory, &done)?;
    sums(factory, &inputs, &done, result)
}

fn ensure(right: bool, what: impl FnOnce() -> String) -> Result<(), String> {
    if right { Ok(()) } else { Err(what()) }
}

/// Whether a resource or unit works in a minute; one without a calendar never does.
fn works(factory: &Factory, name: &str, minute: i64) -> bool {
    let [_, calendars, .., downtime, _] = factory;
    let within = |table: &Rows, end: i64| {
        let of = table.rows.iter().filter(|row| table.get(row, "resource_id") == Some(name));
        of.map(|row| (table.minute(row, "starts_at").unwrap(), table.minute(row, "ends_at").unwrap_or(end)))
            .any(|(start, end)| start <= minute && minute < end)
    };
    within(calendars, 0) && !within(downtime, i64::MAX)
}

/// Resource, duration, release, working time, what is fixed.
fn operation(factory: &Factory, now: i64, input: &[String], one: &Done) -> Result<(), String> {
    let [operations, _, alternatives, ..] = factory;
    if let Some(start) = operations.minute(input, "fixed_start") {
        let end = operations.minute(input, "fixed_end").unwrap_or(one.end);
        return ensure((one.start, one.end) == (start, end), || format!("was fixed from {start} to {end}"));
    }
    let key = operations.key(input, "");
    let preferred = operations.get(input, "resource_id").map(|name| (name, operations.minutes(input, "duration_s")));
    let others = alternatives.rows.iter().filter(|row| alternatives.key(row, "") == key).map(|row| {
        let minutes = alternatives.minutes(row, "duration_s").or(operations.minutes(input, "duration_s"));
        (alternatives.get(row, "resource_id").unwrap(), minutes)
    });
    let choice = preferred.into_iter().chain(others).find(|(name, _)| *name == one.resource);
    let Some((_, Some(duration))) = choice else { return Err(format!("may not run on {}", one.resource)) };
    ensure(one.start >= now && one.start >= operations.minute(input, "release").unwrap_or(now), || {
        "starts before its material is there".into()
    })?;
    let spent = (one.start..one.end).filter(|minute| works(factory, &one.resource, *minute)).count() as i64;
    ensure(spent == duration + one.setup, || format!("works {spent} minutes instead of {duration} + {}", one.setup))?;
    let whole = operations.get(input, "splittable") == Some("false");
    ensure(!whole || spent == one.end - one.start, || "rests and must not".into())?;
    let open = |minute| works(factory, &one.resource, minute);
    ensure(spent == 0 || open(one.start) && open(one.end - 1), || "starts or ends outside working time".into())
}

/// Chains and the table: (before, after, minimum, maximum wait).
fn precedence(factory: &Factory, done: &BTreeMap<Key, Done>) -> Result<(), String> {
    let [operations, _, _, table, ..] = factory;
    let keys: BTreeSet<Key> = operations.rows.iter().filter_map(|row| operations.key(row, "")).collect();
    let of = |order: &str| keys.iter().filter(|(name, _)| name == order).cloned().collect::<Vec<_>>();
    let mut arcs: Vec<(Key, Key, i64, i64)> = vec![];
    let mut told = BTreeSet::new();
    for row in &table.rows {
        let (before, after) = (table.get(row, "before_order_id"), table.get(row, "after_order_id").unwrap());
        let to = table.key(row, "after_").or_else(|| of(after).first().cloned()).filter(|key| keys.contains(key));
        let Some(to) = to else { continue };
        if before.is_none_or(|before| before == after) {
            told.insert(to.clone());
        }
        let from = before.and_then(|before| table.key(row, "before_").or_else(|| of(before).last().cloned()));
        let Some(from) = from.filter(|key| keys.contains(key)) else { continue };
        arcs.push((
            from,
            to,
            table.minutes(row, "min_wait_s").unwrap_or(0),
            table.minutes(row, "max_wait_s").unwrap_or(i64::MAX / 4),
        ));
    }
    let sorted: Vec<&Key> = keys.iter().collect();
    let chained = sorted.windows(2).filter(|pair| pair[0].0 == pair[1].0 && !told.contains(pair[1]));
    arcs.extend(chained.map(|pair| (pair[0].clone(), pair[1].clone(), 0, i64::MAX / 4)));
    for (from, to, min, max) in arcs {
        let Some(after) = done.get(&to).filter(|after| !after.fixed) else { continue };
        let Some(before) = done.get(&from) else { return Err(format!("{to:?} runs without {from:?}")) };
        let wait = after.start - before.end;
        ensure((min..=max).contains(&wait), || {
            format!("{to:?} starts {wait} minutes after {from:?}, allowed are {min} to {max}")
        })?;
    }
    Ok(())
}

/// One at a time on each lane, with the set-ups that the sequence needs.
fn sequences(factory: &Factory, inputs: &[&Vec<String>], done: &BTreeMap<Key, Done>) -> Result<(), String> {
    let [operations, _, _, _, setups, resources, ..] = factory;
    let of = |name: &str| resources.rows.iter().find(|row| resources.get(row, "resource_id") == Some(name));
    type OnLane<'d> = Vec<(&'d Done, &'d [String])>;
    let mut lanes: BTreeMap<(&str, &str), OnLane<'_>> = BTreeMap::new();
    for input in inputs {
        if let Some(one) = done.get(&operations.key(input, "").unwrap()) {
            lanes.entry((&one.resource, &one.lane)).or_default().push((one, input));
        }
    }
    let matrix = |resource: &str, from: &str, to: &str| {
        let row = setups.rows.iter().find(|row| {
            let cell = |column| setups.get(row, column);
            (cell("resource_id"), cell("from_family"), cell("to_family")) == (Some(resource), Some(from), Some(to))
        })?;
        setups.minutes(row, "seconds")
    };
    for ((resource, lane), mut slots) in lanes {
        let capacity = of(resource).and_then(|row| resources.get(row, "capacity")).map_or(1, |n| n.parse::<i64>().unwrap());
        ensure(lane.is_empty() || (1..=capacity).contains(&lane.parse().unwrap()), || format!("{resource} has no lane {lane}"))?;
        let has_matrix = setups.rows.iter().any(|row| setups.get(row, "resource_id") == Some(resource));
        slots.sort_by_key(|(one, _)| (one.start, one.end));
        let mut family = of(resource).and_then(|row| resources.get(row, "family"));
        let mut first = true;
        let mut before: Option<&Done> = None;
        for (one, input) in slots {
            if let Some(before) = before {
                ensure(before.end <= one.start || before.fixed && one.fixed, || {
                    format!("{resource}/{lane} does two things at {}", one.start)
                })?;
            }
            let to = operations.get(input, "family");
            let from = family.or(Some("?").filter(|_| first && has_matrix));
            let wild = |from: &str, to: &str| matrix(resource, from, to).filter(|_| family != operations.get(input, "family"));
            let entry = from.zip(to).and_then(|(from, to)| {
                matrix(resource, from, to).or_else(|| wild("*", to)).or_else(|| wild(from, "*")).or_else(|| wild("*", "*"))
            });
            let plain = if to.is_some() && to == family { 0 } else { operations.minutes(input, "setup_s").unwrap_or(0) };
            let expected = if one.fixed { 0 } else { entry.unwrap_or(plain) };
            ensure(one.setup == expected, || {
                format!("{resource}/{lane}, {:?}: set-up {} instead of {expected}", input[..2].to_vec(), one.setup)
            })?;
            (family, first) = (to, false);
            before = before.filter(|before| before.end > one.end).or(Some(one));
        }
    }
    Ok(())
}

/// In every minute there is a way to give each operation the tools and people that it holds, each at most once.
fn units(factory: &Factory, done: &BTreeMap<Key, Done>) -> Result<(), String> {
    let [_, _, _, _, _, _, needs, table, ..] = factory;
    let mut holds: Vec<(&Done, &str)> = vec![];
    for row in &needs.rows {
        let count = needs.get(row, "count").map_or(1, |count| count.parse::<usize>().unwrap());
        if let Some(one) = done.get(&needs.key(row, "").unwrap()).filter(|one| !one.fixed) {
            holds.extend(std::iter::repeat_n((one, needs.get(row, "pool").unwrap()), count));
        }
    }
    let mut members: BTreeMap<&str, BTreeSet<(&str, i64)>> = BTreeMap::new();
    for row in &table.rows {
        let name = table.get(row, "unit_id").unwrap();
        let pieces = table.get(row, "capacity").map_or(1, |n| n.parse::<i64>().unwrap());
        members.entry(table.get(row, "pool").unwrap()).or_default().extend((0..pieces).map(|piece| (name, piece)));
    }
    for minute in holds.iter().map(|(one, _)| one.start).collect::<BTreeSet<_>>() {
        let held: Vec<&str> =
            holds.iter().filter(|(one, _)| one.start <= minute && minute < one.end).map(|(_, pool)| *pool).collect();
        let mut given: BTreeMap<(&str, i64), usize> = BTreeMap::new();
        for at in 0..held.len() {
            ensure(give(at, &held, &members, &mut given, &mut BTreeSet::new()), || {
                format!("too few of {} at {minute}", held[at])
            })?;
        }
    }
    Ok(())
}

/// Finds a unit for a holder, moving others where that helps (an augmenting path).
fn give<'t>(
    at: usize,
    held: &[&str],
    members: &BTreeMap<&str, BTreeSet<(&'t str, i64)>>,
    given: &mut BTreeMap<(&'t str, i64), usize>,
    tried: &mut BTreeSet<(&'t str, i64)>,
) -> bool {
    for unit in members.get(held[at]).into_iter().flatten() {
        if tried.insert(*unit) {
            let free = match given.get(unit).copied() {
                None => true,
                Some(other) => give(other, held, members, given, tried),
            };
            if free {
                given.insert(*unit, at);
                return true;
            }
        }
    }
    false
}

/// Ends and lateness of orders, and that the objective is what the rows sum up to.
fn sums(factory: &Factory, inputs: &[&Vec<String>], done: &BTreeMap<Key, Done>, result: &RecordBatch) -> Result<(), String> {
    let [operations, .., settings] = factory;
    let number = |name: &str, at: usize| cell(result, name, at).parse::<i64>().unwrap();
    let mut tardiness = BTreeMap::new();
    for (at, input) in inputs.iter().enumerate() {
        let (order, _) = operations.key(input, "").unwrap();
        let of_order: Vec<&&Vec<String>> = inputs.iter().filter(|row| operations.key(row, "").unwrap().0 == order).collect();
        let ends: Option<Vec<i64>> = of_order.iter().map(|row| Some(done.get(&operations.key(row, "").unwrap())?.end)).collect();
        let end = ends.and_then(|ends| ends.into_iter().max());
        let shown = Some(cell(result, "order_ends_at", at)).filter(|cell| cell != "-").map(|text| instant(&text) / MINUTE_US);
        ensure(end == shown, || format!("order {order} ends {end:?}, not {shown:?}"))?;
        let due = of_order.iter().filter_map(|row| operations.minute(row, "due")).min();
        let late = end.zip(due).map(|(end, due)| (end - due).max(0) * 60);
        ensure(late.map_or("-".into(), |late| late.to_string()) == cell(result, "late_s", at), || {
            format!("order {order} is late {late:?}, not {}", cell(result, "late_s", at))
        })?;
        ensure((cell(result, "late_cause", at) != "-") == (late > Some(0)), || format!("order {order} has no cause"))?;
        tardiness.insert(order, late.unwrap_or(0) * number("weight", at));
        ensure(number("lower_bound", at) <= number("objective", at), || "the lower bound is above the objective".into())?;
    }
    let complete = done.len() == inputs.len();
    if complete && !inputs.is_empty() && settings.rows.iter().all(|row| settings.get(row, "objective").is_none()) {
        let sum: i64 = tardiness.values().sum();
        ensure(sum == number("objective", 0), || format!("objective {} instead of {sum}", number("objective", 0)))?;
    }
    Ok(())
}
