//! The rows of `mrp` and `net_requirements`.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap};
use std::fmt::Write;

use arrow::array::RecordBatch;

use crate::decide::DecideError;
use crate::decide::output::Output;
use crate::decide::quantity::{Date, Day, Micro, Units};

use super::identity::{Ids, Proposal};
use super::net::{Planned, Policy};
use super::plan::{NodePlan, Plan, start};
use super::read::Fault;

pub const ORDERS: &[(&str, &str)] = &[
    ("proposal_id", "text"),
    ("item_id", "text"),
    ("site_id", "text"),
    ("make_buy", "text"),
    ("start", "date"),
    ("due", "date"),
    ("quantity", "decimal"),
    ("action", "text"),
    ("previous_due", "date"),
    ("previous_quantity", "decimal"),
    ("needed", "date"),
    ("late_days", "bigint"),
    ("peg", "text"),
    ("reason", "text"),
];

pub const GRID: &[(&str, &str)] = &[
    ("item_id", "text"),
    ("site_id", "text"),
    ("day", "date"),
    ("gross", "decimal"),
    ("scheduled", "decimal"),
    ("planned", "decimal"),
    ("projected", "decimal"),
    ("net", "decimal"),
];

struct Row<'p> {
    id: Cow<'p, str>,
    item: &'p str,
    site: Option<&'p str>,
    make_buy: Option<&'static str>,
    start: Option<Day>,
    due: Option<Day>,
    quantity: Option<Micro>,
    action: &'static str,
    previous: Option<(Day, Micro)>,
    needed: Option<Day>,
    late_days: Option<i64>,
    peg: Option<&'p str>,
    reason: Cow<'p, str>,
}

/// Planned orders by item, site, due date and id; what cannot be planned is among them.
pub fn orders(plan: &Plan<'_>) -> Result<RecordBatch, DecideError> {
    let mut rows: Vec<Row<'_>> = plan.nodes.iter().flat_map(|node| order_rows(plan, node)).collect();
    rows.extend(fault_rows(plan));
    rows.sort_by(|a, b| {
        let key = |row: &Row<'_>| (row.due, row.id.len());
        (a.item, a.site, key(a), &a.id).cmp(&(b.item, b.site, key(b), &b.id))
    });
    let what = |row: usize| rows.get(row).map_or_else(String::new, |row| format!("the quantity of {}", row.id));
    let mut out = Output::new(plan.function, ORDERS);
    out.text(rows.iter().map(|row| Some(row.id.as_ref())))?;
    out.text(rows.iter().map(|row| Some(row.item)))?;
    out.text(rows.iter().map(|row| row.site))?;
    out.text(rows.iter().map(|row| row.make_buy))?;
    out.days(rows.iter().map(|row| row.start));
    out.days(rows.iter().map(|row| row.due));
    out.quantities(rows.iter().map(|row| row.quantity), what)?;
    out.text(rows.iter().map(|row| Some(row.action)))?;
    out.days(rows.iter().map(|row| row.previous.map(|(due, _)| due)));
    out.quantities(rows.iter().map(|row| row.previous.map(|(_, quantity)| quantity)), what)?;
    out.days(rows.iter().map(|row| row.needed));
    out.bigints(rows.iter().map(|row| row.late_days));
    out.text(rows.iter().map(|row| row.peg))?;
    out.text(rows.iter().map(|row| Some(row.reason.as_ref())))?;
    out.finish()
}

fn order_rows<'p>(plan: &'p Plan<'_>, node: &'p NodePlan<'_>) -> Vec<Row<'p>> {
    let Ok(policy) = &node.node.policy else { return Vec::new() };
    let open: HashMap<&str, &Proposal<'_>> = node.node.open.iter().map(|proposal| (proposal.id.as_ref(), proposal)).collect();
    let pairs = node.planned.iter().zip(&node.orders);
    pairs
        .map(|(planned, order)| {
            let previous = open.get(order.id.as_ref()).map(|proposal| (proposal.due, proposal.quantity));
            let arrives = order.due.max(plan.today.saturating_add(policy.lead));
            Row {
                id: Cow::Borrowed(order.id.as_ref()),
                item: plan.items[node.node.item as usize],
                site: Some(plan.sites[node.node.site as usize]),
                make_buy: Some(if policy.make { "make" } else { "buy" }),
                start: Some(start(plan.today, order.due, policy.lead)),
                due: Some(order.due),
                quantity: Some(order.quantity),
                action: action(previous, order),
                previous,
                needed: Some(planned.needed),
                late_days: Some((i64::from(arrives) - i64::from(planned.needed)).max(0)),
                peg: planned.cause.and_then(|cause| cause.peg),
                reason: Cow::Owned(reason(plan, policy, planned, order)),
            }
        })
        .collect()
}

fn action(previous: Option<(Day, Micro)>, order: &Proposal<'_>) -> &'static str {
    match previous {
        None => "new",
        Some((due, _)) if due != order.due => "move",
        Some((_, quantity)) if quantity != order.quantity => "resize",
        Some(_) => "keep",
    }
}

/// One sentence with the numbers, e.g. `needed 2026-11-30 for SO-1001/10: stock 20, on order 0, required 120`.
fn reason(plan: &Plan<'_>, policy: &Policy, planned: &Planned<'_>, order: &Proposal<'_>) -> String {
    let mut text = format!("needed {} for ", Date(planned.needed));
    let parent = planned.cause.and_then(|cause| cause.parent).map(|parent| plan.items[parent as usize]);
    let peg = planned.cause.and_then(|cause| cause.peg);
    // writing to a string cannot fail
    let _ = match (peg, parent) {
        (Some(peg), Some(parent)) => write!(text, "{peg} via {parent}"),
        (Some(peg), None) => write!(text, "{peg}"),
        (None, Some(parent)) => write!(text, "safety stock of {parent}"),
        (None, None) => write!(text, "safety stock"),
    };
    let _ = write!(text, ": stock {}, on order {}", Units(planned.stock), Units(planned.on_order));
    let _ = write!(text, ", required {}", Units(planned.required));
    if planned.before > 0 {
        let _ = write!(text, ", planned before {}", Units(planned.before));
    }
    if policy.safety > 0 {
        let _ = write!(text, ", safety stock {}", Units(policy.safety));
    }
    if planned.quantity != planned.net {
        let _ = write!(text, "; short {}, ordered in lots {}", Units(planned.net), Units(planned.quantity));
    }
    if planned.due > planned.needed {
        let _ = write!(text, "; lead time {} days ends {}", policy.lead, Date(planned.due));
    }
    let fence = plan.today.saturating_add(policy.zone);
    if order.due == fence && planned.due < fence {
        let _ = write!(text, "; frozen until {}", Date(fence));
    } else if order.due != planned.due || order.quantity != planned.quantity {
        let _ = write!(text, "; {} on {} left as proposed", Units(order.quantity), Date(order.due));
    }
    text
}

fn fault_rows<'p>(plan: &'p Plan<'_>) -> Vec<Row<'p>> {
    let mut faults: Vec<Fault<'p>> = plan.nodes.iter().filter_map(|node| node_fault(plan, node)).collect();
    faults.extend(plan.faults.iter().map(|fault| Fault { reason: fault.reason.clone(), ..*fault }));
    faults.sort_by(|a, b| (a.item, a.site, a.due, a.peg, &a.reason).cmp(&(b.item, b.site, b.due, b.peg, &b.reason)));
    // ids of their own, so that the key of the result stays unique
    let mut ids = Ids::new(std::iter::empty());
    faults
        .into_iter()
        .map(|fault| Row {
            id: ids.unused(&format!("ERROR-{}-{}", fault.item, fault.site.unwrap_or("*"))),
            item: fault.item,
            site: fault.site,
            make_buy: None,
            start: None,
            due: fault.due,
            quantity: None, // nothing that could be mistaken for supply
            action: "error",
            previous: None,
            needed: fault.due,
            late_days: None,
            peg: fault.peg,
            reason: Cow::Owned(fault.reason),
        })
        .collect()
}

/// All that an item would need that cannot be planned: one row with the first day; the grid has the quantities.
fn node_fault<'p>(plan: &'p Plan<'_>, node: &'p NodePlan<'_>) -> Option<Fault<'p>> {
    let reason = node.node.policy.as_ref().err()?.clone();
    let required = node.node.requirements.iter().map(|requirement| requirement.day).min();
    let due = required.or_else(|| node.node.open.iter().map(|proposal| proposal.due).min())?;
    Some(Fault {
        item: plan.items[node.node.item as usize],
        site: Some(plan.sites[node.node.site as usize]),
        due: Some(due),
        peg: node.node.requirements.first().and_then(|first| first.peg),
        reason,
    })
}

#[derive(Default, Clone, Copy)]
struct DayTotals {
    gross: Micro,
    scheduled: Micro,
    planned: Micro,
    net: Micro,
    projected: Micro,
}

/// Day by day, for items with requirements or orders. What is overdue counts today; `projected` is what is left at the end of the day.
pub fn grid(plan: &Plan<'_>) -> Result<RecordBatch, DecideError> {
    let busy = plan.nodes.iter().filter(|node| !(node.node.requirements.is_empty() && node.orders.is_empty()));
    let rows: Vec<(&str, &str, Day, DayTotals)> = busy
        .flat_map(|node| {
            let (item, site) = (plan.items[node.node.item as usize], plan.sites[node.node.site as usize]);
            totals(plan.today, node).into_iter().map(move |(day, totals)| (item, site, day, totals))
        })
        .collect();
    let what =
        |row: usize| rows.get(row).map_or_else(String::new, |(item, site, day, _)| format!("{item} at {site} on {}", Date(*day)));
    let mut out = Output::new(plan.function, GRID);
    out.text(rows.iter().map(|row| Some(row.0)))?;
    out.text(rows.iter().map(|row| Some(row.1)))?;
    out.days(rows.iter().map(|row| Some(row.2)));
    out.quantities(rows.iter().map(|row| Some(row.3.gross)), what)?;
    out.quantities(rows.iter().map(|row| Some(row.3.scheduled)), what)?;
    out.quantities(rows.iter().map(|row| Some(row.3.planned)), what)?;
    out.quantities(rows.iter().map(|row| Some(row.3.projected)), what)?;
    out.quantities(rows.iter().map(|row| Some(row.3.net)), what)?;
    out.finish()
}

fn totals(today: Day, node: &NodePlan<'_>) -> BTreeMap<Day, DayTotals> {
    let mut days: BTreeMap<Day, DayTotals> = BTreeMap::new();
    for requirement in &node.node.requirements {
        days.entry(requirement.day.max(today)).or_default().gross += requirement.quantity;
    }
    for (day, quantity) in &node.node.supply {
        days.entry((*day).max(today)).or_default().scheduled += quantity;
    }
    for (planned, order) in node.planned.iter().zip(&node.orders) {
        days.entry(planned.needed.max(today)).or_default().net += planned.net;
        days.entry(order.due.max(today)).or_default().planned += order.quantity;
    }
    let mut projected = 0;
    for day in days.values_mut() {
        projected += day.scheduled + day.planned - day.gross;
        day.projected = projected;
    }
    days
}
