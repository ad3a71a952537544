//! `schedule`: a finite-capacity schedule of operations on resources with working calendars.
//!
//! Instants are UTC with microseconds, durations whole seconds of working time. A resource does one operation at a time; work rests outside its calendar and
//! resumes after. Operations of an order run one after the other by operation number; none starts before the run's instant or its `release`.
//! With `fixed_start` (and `fixed_end`, else it follows from the duration) an operation stays where it is, whatever the rest does.
//! An operation that does not fit before the next fixed one on its resource waits until after it.
//!
//! *Parallel schedule generation*: time goes forward; a resource that is free takes, among the operations that wait for it, the one
//! with the smallest *weighted modified due date*: max(work remaining in the order, due − now) × priority class (Kanet and Li, "A weighted
//! modified due date rule for sequencing to minimize weighted tardiness", Journal of Scheduling 7, 2004). Classes are the ranks of the
//! priorities that occur, small before large, none last; orders without due date come last, those with most work remaining first (MWKR); then
//! the names decide. A resource is never kept idle for something better to come.
//!
//! `setup_s` is spent at the beginning of the operation unless the one before it on the resource is of the same family.
//! What cannot be scheduled has no `starts_at`, and the reason says why. Planned dates are not inputs: the same operations give the same schedule.

mod calendar;
mod dispatch;
#[allow(dead_code, reason = "shops that are classical go there once the search of factories calls it")]
mod jobshop;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet, HashMap};

use arrow::array::{Int64Array, RecordBatch, StringArray, TimestampMicrosecondArray};
use arrow::datatypes::SchemaRef;
use chrono::DateTime;

use super::columns::{Column, Table, tables};
use super::output::Output;
use super::{Context, DecideError, Decision, Input};

use calendar::Calendar;
use dispatch::{Missing, Operation, Resource, Slot, Wait, dispatch, follows};

const SECOND_US: i64 = 1_000_000;

/// Longest duration and set-up, some three thousand years: more is a unit mistaken.
const DURATION_S_MAX: i64 = 100_000_000_000;

static INPUTS: [Input; 2] = [
    Input {
        name: "operations",
        columns: &[
            ("order_id", "text"),
            ("operation_no", "bigint"),
            ("resource_id", "text"),
            ("duration_s", "bigint"),
            ("release", "timestamp"),
            ("due", "timestamp"),
            ("priority", "bigint"),
            ("fixed_start", "timestamp"),
            ("fixed_end", "timestamp"),
            ("family", "text"),
            ("setup_s", "bigint"),
        ],
    },
    Input { name: "calendars", columns: &[("resource_id", "text"), ("starts_at", "timestamp"), ("ends_at", "timestamp")] },
];

const COLUMNS: &[(&str, &str)] = &[
    ("order_id", "text"),
    ("operation_no", "bigint"),
    ("resource_id", "text"),
    ("starts_at", "timestamp"),
    ("ends_at", "timestamp"),
    ("waits_for", "text"),
    ("order_ends_at", "timestamp"),
    ("late_s", "bigint"),
    ("reason", "text"),
];

/// Finite-capacity scheduling by dispatching.
pub struct Schedule;

impl Decision for Schedule {
    fn name(&self) -> &'static str {
        "schedule"
    }

    fn description(&self) -> &'static str {
        "When each operation runs on its resource, within working time and one at a time, the most urgent first"
    }

    fn version(&self) -> u32 {
        1
    }

    fn inputs(&self) -> &'static [Input] {
        &INPUTS
    }

    fn schema(&self) -> SchemaRef {
        super::output::schema(COLUMNS)
    }

    fn decide(&self, batches: &[RecordBatch], context: &Context) -> Result<RecordBatch, DecideError> {
        let [operations, calendars] = tables::<2>(self.name(), &INPUTS, batches)?;
        let source = Source::new(&operations)?;
        let calendars = read_calendars(&calendars)?;
        let shop = read(&source, &calendars)?;
        let slots = dispatch(context.as_of.timestamp_micros(), &shop.operations, &shop.resources);
        write(self.name(), &shop, &slots)
    }
}

type Text<'t> = Column<'t, StringArray>;
type Bigint<'t> = Column<'t, Int64Array>;
type Instant<'t> = Column<'t, TimestampMicrosecondArray>;

struct Source<'t> {
    table: &'t Table<'t>,
    order: Text<'t>,
    number: Bigint<'t>,
    resource: Text<'t>,
    duration: Bigint<'t>,
    release: Instant<'t>,
    due: Instant<'t>,
    priority: Bigint<'t>,
    fixed_start: Instant<'t>,
    fixed_end: Instant<'t>,
    family: Text<'t>,
    setup: Bigint<'t>,
}

impl<'t> Source<'t> {
    fn new(table: &'t Table<'t>) -> Result<Self, DecideError> {
        Ok(Self {
            table,
            order: table.text("order_id")?,
            number: table.bigint("operation_no")?,
            resource: table.text("resource_id")?,
            duration: table.bigint("duration_s")?,
            release: table.instant("release")?,
            due: table.instant("due")?,
            priority: table.bigint("priority")?,
            fixed_start: table.instant("fixed_start")?,
            fixed_end: table.instant("fixed_end")?,
            family: table.text("family")?,
            setup: table.bigint("setup_s")?,
        })
    }
}

/// What is to be scheduled: `labels[n]` is (order, number, resource) of `operations[n]`.
struct Shop<'t> {
    labels: Vec<(&'t str, i64, Option<&'t str>)>,
    operations: Vec<Operation>,
    resources: Vec<Resource>,
}

/// The working time of each resource, by name.
fn read_calendars(table: &Table<'_>) -> Result<BTreeMap<String, Calendar>, DecideError> {
    let (resource, starts, ends) = (table.text("resource_id")?, table.instant("starts_at")?, table.instant("ends_at")?);
    let mut windows: BTreeMap<String, Vec<(i64, i64)>> = BTreeMap::new();
    for row in 0..table.len() {
        let (start, end) = (starts.need(row)?, ends.need(row)?);
        if end < start {
            return Err(table.bad_value("ends_at", instant(end), row, "it is before starts_at"));
        }
        windows.entry(resource.need(row)?.to_owned()).or_default().push((start, end));
    }
    Ok(windows.into_iter().map(|(resource, windows)| (resource, Calendar::new(windows))).collect())
}

fn read<'c>(source: &'c Source<'_>, calendars: &BTreeMap<String, Calendar>) -> Result<Shop<'c>, DecideError> {
    let mut rows = Vec::with_capacity(source.table.len());
    for row in 0..source.table.len() {
        rows.push((source.order.need(row)?, source.number.need(row)?, row));
    }
    rows.sort_unstable();
    if let Some(twice) = rows.windows(2).find(|pair| (pair[0].0, pair[0].1) == (pair[1].0, pair[1].1)) {
        return Err(source.table.duplicate(twice[1].2));
    }
    let numbers: HashMap<&str, u32> = calendars.keys().map(String::as_str).zip(0..).collect();
    let mut resources: Vec<Resource> =
        calendars.values().map(|calendar| Resource { calendar: calendar.clone(), fixed: Vec::new() }).collect();
    let priorities: BTreeSet<i64> = rows.iter().filter_map(|(_, _, row)| source.priority.get(*row)).collect();
    let class: HashMap<i64, i64> = priorities.into_iter().zip(1..).collect();
    let (mut orders, mut families) = (HashMap::new(), HashMap::new());
    let (mut labels, mut operations) = (Vec::with_capacity(rows.len()), Vec::with_capacity(rows.len()));
    for (order, number, row) in rows {
        let resource = source.resource.get(row);
        let place = resource.and_then(|resource| numbers.get(resource).copied());
        let calendar = place.map(|place| &resources[place as usize].calendar);
        let mut operation = operation(source, row, calendar);
        operation.order = dense(&mut orders, order);
        operation.resource = place;
        operation.family = source.family.get(row).map(|family| dense(&mut families, family));
        let priority = source.priority.get(row).and_then(|priority| class.get(&priority));
        operation.class = priority.copied().unwrap_or(class.len() as i64 + 1);
        if let (Some(place), Some((start, end))) = (place, operation.fixed) {
            resources[place as usize].fixed.push((start, end, operations.len()));
        }
        labels.push((order, number, resource));
        operations.push(operation);
    }
    resources.iter_mut().for_each(|resource| resource.fixed.sort_unstable());
    Ok(Shop { labels, operations, resources })
}

fn dense<'n>(numbers: &mut HashMap<&'n str, u32>, name: &'n str) -> u32 {
    let next = numbers.len() as u32;
    *numbers.entry(name).or_insert(next)
}

/// One operation without its place among the others; `fault` says why it cannot be scheduled.
fn operation(source: &Source<'_>, row: usize, calendar: Option<&Calendar>) -> Operation {
    let (duration, setup) = (source.duration.get(row), source.setup.get(row).unwrap_or(0));
    let fixed = (source.fixed_start.get(row), source.fixed_end.get(row));
    let plausible = |seconds: i64| (0..=DURATION_S_MAX).contains(&seconds);
    let mut fault = None;
    let mut slot = None;
    match (fixed, duration, source.resource.get(row)) {
        ((Some(start), Some(end)), _, _) if start <= end => slot = Some((start, end)),
        ((Some(_), Some(_)), _, _) => fault = Some("fixed_end is before fixed_start".to_owned()),
        ((None, Some(_)), _, _) => fault = Some("fixed_end without fixed_start".to_owned()),
        (_, None, _) => fault = Some("duration is not known".to_owned()),
        (_, Some(seconds), _) if !plausible(seconds) => {
            fault = Some(format!("duration of {seconds} s is not between 0 and {DURATION_S_MAX}"))
        }
        _ if !plausible(setup) => fault = Some(format!("set-up of {setup} s is not between 0 and {DURATION_S_MAX}")),
        (_, _, None) => fault = Some("no resource".to_owned()),
        (_, _, Some(resource)) if calendar.is_none() => fault = Some(format!("no calendar for resource {resource}")),
        ((Some(start), None), Some(seconds), Some(resource)) => {
            let finish = |calendar: &Calendar| calendar.finish(calendar.next(start)?, seconds * SECOND_US);
            slot = calendar.and_then(finish).map(|end| (start, end));
            fault = slot.is_none().then(|| format!("the calendar of {resource} ends before the fixed operation does"));
        }
        ((None, None), Some(_), Some(_)) => {}
    }
    let micros = |seconds: i64| if plausible(seconds) { seconds * SECOND_US } else { 0 };
    Operation {
        order: 0,
        resource: None,
        duration: micros(duration.unwrap_or(0)),
        setup: micros(setup),
        family: None,
        release: source.release.get(row),
        due: source.due.get(row),
        class: 1,
        fixed: slot,
        fault,
    }
}

fn write(function: &'static str, shop: &Shop<'_>, slots: &[Result<Slot, Missing>]) -> Result<RecordBatch, DecideError> {
    let ends = order_ends(&shop.operations, slots);
    let slot = |at: usize| slots[at].as_ref().ok();
    let late = |at: usize| {
        let late = ends[at]?.saturating_sub(shop.operations[at].due?).max(0);
        Some(late / SECOND_US + i64::from(late % SECOND_US != 0))
    };
    let reasons: Vec<String> = (0..slots.len()).map(|at| reason(shop, slots, at)).collect();
    let all = 0..slots.len();
    let mut out = Output::new(function, COLUMNS);
    out.text(shop.labels.iter().map(|label| Some(label.0)))?;
    out.bigints(shop.labels.iter().map(|label| Some(label.1)));
    out.text(shop.labels.iter().map(|label| label.2))?;
    out.instants(all.clone().map(|at| Some(slot(at)?.start)));
    out.instants(all.clone().map(|at| Some(slot(at)?.end)));
    out.text(all.clone().map(|at| Some(waits_for(slot(at)?.wait))))?;
    out.instants(ends.iter().copied());
    out.bigints(all.map(late));
    out.text(reasons.iter().map(|reason| Some(reason.as_str())))?;
    out.finish()
}

/// The end of each operation's order, if all of it is scheduled.
fn order_ends(operations: &[Operation], slots: &[Result<Slot, Missing>]) -> Vec<Option<i64>> {
    let mut ends = Vec::with_capacity(slots.len());
    while ends.len() < slots.len() {
        let first = ends.len();
        let count = 1 + (first + 1..slots.len()).take_while(|at| follows(operations, *at)).count();
        let end = slots[first..first + count].iter().try_fold(i64::MIN, |end, slot| Some(end.max(slot.as_ref().ok()?.end)));
        ends.extend(std::iter::repeat_n(end, count));
    }
    ends
}

fn waits_for(wait: Wait) -> &'static str {
    match wait {
        Wait::None => "none",
        Wait::Fixed => "fixed",
        Wait::Material => "material",
        Wait::Predecessor => "predecessor",
        Wait::Calendar => "calendar",
        Wait::Resource => "resource",
    }
}

fn reason(shop: &Shop<'_>, slots: &[Result<Slot, Missing>], at: usize) -> String {
    let resource = shop.labels[at].2.unwrap_or("");
    let slot = match &slots[at] {
        Ok(slot) => slot,
        Err(Missing::Fault(fault)) => return fault.clone(),
        Err(Missing::Predecessor) => return "an operation before it cannot be scheduled".to_owned(),
        Err(Missing::Horizon) => {
            let end = shop.operations[at].resource.and_then(|place| shop.resources[place as usize].calendar.end());
            let until = end.map_or_else(String::new, |end| format!(" ends {} and", instant(end)));
            return format!("the calendar of {resource}{until} has no room for it");
        }
    };
    let start = instant(slot.start);
    let text = match (slot.wait, slot.after.map(|before| shop.labels[before])) {
        (Wait::None, _) => "starts at once".to_owned(),
        (Wait::Fixed, _) => "in progress or frozen: stays".to_owned(),
        (Wait::Material, _) => format!("waits for material until {start}"),
        (Wait::Predecessor, _) => format!("waits for operation {} until {start}", shop.labels[at - 1].1),
        (Wait::Calendar, _) => format!("resource {resource} works again from {start}"),
        (Wait::Resource, Some((order, number, _))) => format!("resource {resource} has {order}/{number} first, until {start}"),
        (Wait::Resource, None) => format!("resource {resource} is kept for a fixed operation until {start}"),
    };
    let next = shop.operations.get(at + 1).filter(|_| follows(&shop.operations, at + 1));
    match next.and_then(|next| next.fixed) {
        Some((begins, _)) if begins < slot.end => format!("{text}; the next operation is fixed to start before it ends"),
        _ => text,
    }
}

/// An instant for people: `2026-11-30 06:00:00`.
fn instant(micros: i64) -> String {
    DateTime::from_timestamp_micros(micros)
        .map_or_else(|| format!("instant {micros}"), |at| at.format("%Y-%m-%d %H:%M:%S").to_string())
}
