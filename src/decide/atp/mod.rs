//! `atp`: the earliest day on which each open sales order line can be had.
//!
//! Available-to-promise in the sense of the APICS dictionary, cumulative with look-ahead, for each item and site on its own. Days are calendar days in
//! UTC, quantities are in the item's stock unit; a line is delivered in full on one day.
//!
//! - Supply is what is there by a day: stock and receipts, overdue ones counted today. A negative row (negative stock) is taken away.
//! - *Promised lines* reserve first, in the order of promise, priority (small before large, none last) and line id. A line is available on its promise,
//!   or when supply covers it and all lines before it, if that is later. A line that supply never covers reserves nothing.
//! - *Lines without promise* follow in the order of priority, request and line id. Each takes the earliest day, not before its request
//!   or today, on which its quantity is free and nobody who was promised before is served later than without it; on the same day they come after those.
//! - Nobody waits longer than for a replenishment ordered today: today + lead time, but not before the promise or request
//!   (*capable-to-promise*, basis `lead-time`). Such a line reserves nothing.
//!
//! Once the promises are written and nothing else changed, the same days come out again. A line without quantity to promise from and
//! without lead time has no `available`, and the reason says why.

mod promise;
mod steps;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use arrow::array::{Date32Array, Decimal128Array, Int64Array, RecordBatch, StringArray};
use arrow::datatypes::SchemaRef;

use super::columns::{Column, Table, tables};
use super::output::Output;
use super::quantity::{Day, Micro, days, today};
use super::{Context, DecideError, Decision, Input};

use promise::{Answer, Basis, Line, Offer, promise};

static INPUTS: [Input; 3] = [
    Input {
        name: "lines",
        columns: &[
            ("line_id", "text"),
            ("item_id", "text"),
            ("site_id", "text"),
            ("requested", "date"),
            ("promised", "date"),
            ("quantity", "decimal"),
            ("priority", "bigint"),
        ],
    },
    Input { name: "supply", columns: &[("item_id", "text"), ("site_id", "text"), ("due", "date"), ("quantity", "decimal")] },
    Input { name: "items", columns: &[("item_id", "text"), ("site_id", "text"), ("lead_time_days", "bigint")] },
];

const COLUMNS: &[(&str, &str)] = &[
    ("line_id", "text"),
    ("item_id", "text"),
    ("site_id", "text"),
    ("quantity", "decimal"),
    ("requested", "date"),
    ("promised", "date"),
    ("available", "date"),
    ("basis", "text"),
    ("late_days", "bigint"),
    ("reason", "text"),
];

/// Available-to-promise with look-ahead.
pub struct Atp;

impl Decision for Atp {
    fn name(&self) -> &'static str {
        "atp"
    }

    fn description(&self) -> &'static str {
        "The earliest day on which each order line can be had without breaking a promise, from stock, receipts or the lead time"
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

    fn identities(&self) -> &'static [(&'static str, &'static str, &'static str)] {
        &[
            ("line_id", "lines", "line_id"),
            ("item_id", "lines", "item_id"),
            ("site_id", "lines", "site_id"),
            ("quantity", "lines", "quantity"),
            ("requested", "lines", "requested"),
            ("promised", "lines", "promised"),
        ]
    }

    fn decide(&self, batches: &[RecordBatch], context: &Context) -> Result<RecordBatch, DecideError> {
        let [lines, supply, items] = tables::<3>(self.name(), &INPUTS, batches)?;
        let source = Source::new(&lines, &supply, &items)?;
        let rows = answers(&source, today(context))?;
        write(self.name(), &rows)
    }
}

type Text<'t> = Column<'t, StringArray>;
type Date<'t> = Column<'t, Date32Array>;
type Quantity<'t> = Column<'t, Decimal128Array>;

struct Source<'t> {
    lines: &'t Table<'t>,
    id: Text<'t>,
    place: (Text<'t>, Text<'t>),
    requested: Date<'t>,
    promised: Date<'t>,
    quantity: Quantity<'t>,
    priority: Column<'t, Int64Array>,
    supply: &'t Table<'t>,
    supply_place: (Text<'t>, Text<'t>),
    due: Date<'t>,
    supplied: Quantity<'t>,
    items: &'t Table<'t>,
    item_place: (Text<'t>, Text<'t>),
    lead: Column<'t, Int64Array>,
}

impl<'t> Source<'t> {
    fn new(lines: &'t Table<'t>, supply: &'t Table<'t>, items: &'t Table<'t>) -> Result<Self, DecideError> {
        Ok(Self {
            lines,
            id: lines.text("line_id")?,
            place: (lines.text("item_id")?, lines.text("site_id")?),
            requested: lines.date("requested")?,
            promised: lines.date("promised")?,
            quantity: lines.quantity("quantity")?,
            priority: lines.bigint("priority")?,
            supply,
            supply_place: (supply.text("item_id")?, supply.text("site_id")?),
            due: supply.date("due")?,
            supplied: supply.quantity("quantity")?,
            items,
            item_place: (items.text("item_id")?, items.text("site_id")?),
            lead: items.bigint("lead_time_days")?,
        })
    }
}

/// One item at one site, as read.
#[derive(Default)]
struct Place {
    lines: Vec<usize>,
    receipts: Vec<(Day, Micro)>,
    lead: Option<Result<Day, String>>,
}

struct Row<'t> {
    id: &'t str,
    item: &'t str,
    site: &'t str,
    line: Line,
    answer: Answer,
}

fn need<'c>(place: &'c (Text<'_>, Text<'_>), row: usize) -> Result<(&'c str, &'c str), DecideError> {
    Ok((place.0.need(row)?, place.1.need(row)?))
}

fn read<'c>(source: &'c Source<'_>) -> Result<BTreeMap<(&'c str, &'c str), Place>, DecideError> {
    let mut places: BTreeMap<(&str, &str), Place> = BTreeMap::new();
    let mut seen = std::collections::HashSet::new();
    for row in 0..source.lines.len() {
        if !seen.insert(source.id.need(row)?) {
            return Err(source.lines.duplicate(row));
        }
        places.entry(need(&source.place, row)?).or_default().lines.push(row);
    }
    for row in 0..source.supply.len() {
        // supply that nobody asks for is of no interest
        if let Some(place) = places.get_mut(&need(&source.supply_place, row)?) {
            place.receipts.push((source.due.need(row)?, source.supplied.need(row)?));
        }
    }
    for row in 0..source.items.len() {
        let Some(place) = places.get_mut(&need(&source.item_place, row)?) else { continue };
        let lead = match source.lead.get(row) {
            Some(lead) => days("a lead time", lead),
            None => Err("the item has none".to_owned()),
        };
        if place.lead.replace(lead).is_some() {
            return Err(source.items.duplicate(row));
        }
    }
    Ok(places)
}

/// The answers by item, site and line.
fn answers<'c>(source: &'c Source<'_>, today: Day) -> Result<Vec<Row<'c>>, DecideError> {
    let mut rows = Vec::with_capacity(source.lines.len());
    for ((item, site), mut place) in read(source)? {
        place.lines.sort_by_key(|row| source.id.get(*row));
        let lead = place.lead.unwrap_or_else(|| Err("no item_site".to_owned()));
        let offer = Offer::new(today, lead, place.receipts);
        let mut lines = Vec::with_capacity(place.lines.len());
        for (rank, row) in place.lines.iter().enumerate() {
            let (requested, promised) = (source.requested.get(*row), source.promised.get(*row));
            let (quantity, priority) = (source.quantity.need(*row)?, source.priority.get(*row));
            lines.push(Line { rank, requested, promised, quantity, priority });
        }
        let answers = promise(&offer, &lines);
        for ((row, line), answer) in place.lines.iter().zip(lines).zip(answers) {
            rows.push(Row { id: source.id.need(*row)?, item, site, line, answer });
        }
    }
    Ok(rows)
}

fn write(function: &'static str, rows: &[Row<'_>]) -> Result<RecordBatch, DecideError> {
    let basis = |basis: Basis| match basis {
        Basis::Stock => "stock",
        Basis::Receipt => "receipt",
        Basis::LeadTime => "lead-time",
    };
    let what = |row: usize| rows.get(row).map_or_else(String::new, |row| format!("the quantity of {}", row.id));
    let late = |row: &Row<'_>| Some(i64::from(row.answer.available?) - i64::from(row.line.requested?));
    let mut out = Output::new(function, COLUMNS);
    out.text(rows.iter().map(|row| Some(row.id)))?;
    out.text(rows.iter().map(|row| Some(row.item)))?;
    out.text(rows.iter().map(|row| Some(row.site)))?;
    out.quantities(rows.iter().map(|row| Some(row.line.quantity)), what)?;
    out.days(rows.iter().map(|row| row.line.requested));
    out.days(rows.iter().map(|row| row.line.promised));
    out.days(rows.iter().map(|row| row.answer.available));
    out.text(rows.iter().map(|row| row.answer.basis.map(basis)))?;
    out.bigints(rows.iter().map(late));
    out.text(rows.iter().map(|row| Some(row.answer.reason.as_str())))?;
    out.finish()
}
