//! The CRM: prefixed text keys, plain snake case, instants with zone, a timestamp as cursor.

use chrono::{Datelike, Months};

use super::{View, keys};
use crate::demo::DemoError;
use crate::demo::calendar::{HOUR, day_of};
use crate::demo::load::Kind::{Date, Dec, Int, Text, Zoned};
use crate::demo::load::{Sink, Stamp, Table, Value};
use crate::demo::master::Level;
use crate::demo::names;
use crate::demo::plant::Request;
use crate::demo::sim::day_no;

const UPDATED: Option<Stamp> = Some(Stamp::Zoned("updated_at"));

const ACCOUNT: Table = Table {
    name: "account",
    columns: &[
        ("account_id", Text),
        ("erp_number", Text),
        ("name", Text),
        ("vat_id", Text),
        ("street", Text),
        ("city", Text),
        ("country", Text),
        ("segment", Text),
        ("priority", Int),
        ("owner", Text),
        ("state", Text),
    ],
    key: &["account_id"],
    stamp: UPDATED,
    keep: &[],
    defaults: &[],
};
const PRODUCT: Table = Table {
    name: "product",
    columns: &[("product_code", Text), ("erp_number", Text), ("ean", Text), ("title", Text), ("pack_size", Int)],
    key: &["product_code"],
    stamp: UPDATED,
    keep: &[],
    defaults: &[],
};
const OPPORTUNITY: Table = Table {
    name: "opportunity",
    columns: &[
        ("opportunity_id", Text),
        ("account_id", Text),
        ("product_code", Text),
        ("pieces", Int),
        ("probability_pct", Int),
        ("close_on", Date),
        ("stage", Text),
        ("erp_order", Text),
        ("owner", Text),
    ],
    key: &["opportunity_id"],
    stamp: UPDATED,
    keep: &[],
    defaults: &[],
};
const REQUEST: Table = Table {
    name: "order_request",
    columns: &[
        ("request_id", Text),
        ("account_id", Text),
        ("customer_po", Text),
        ("state", Text),
        ("created_at", Zoned),
        ("won_at", Zoned),
        ("erp_order", Text),
        ("owner", Text),
    ],
    key: &["request_id"],
    stamp: UPDATED,
    keep: &[],
    defaults: &[],
};
const REQUEST_LINE: Table = Table {
    name: "order_request_line",
    columns: &[
        ("request_id", Text),
        ("position", Int),
        ("product_code", Text),
        ("packs", Int),
        ("wanted_on", Date),
        ("promised_on", Date),
    ],
    key: &["request_id", "position"],
    stamp: UPDATED,
    keep: &["promised_on"],
    defaults: &[],
};
const ORDER_CHANGE: Table = Table {
    name: "order_change",
    columns: &[
        ("change_id", Text),
        ("request_id", Text),
        ("position", Int),
        ("erp_order", Text),
        ("field", Text),
        ("old_value", Text),
        ("new_value", Text),
        ("changed_at", Zoned),
    ],
    key: &["change_id"],
    stamp: UPDATED,
    keep: &[],
    defaults: &[],
};
const COMPLAINT: Table = Table {
    name: "complaint",
    columns: &[
        ("complaint_id", Text),
        ("account_id", Text),
        ("erp_order", Text),
        ("delivery_note", Text),
        ("product_code", Text),
        ("batch_no", Text),
        ("pieces", Int),
        ("defect", Text),
        ("severity", Int),
        ("received_at", Zoned),
        ("state", Text),
    ],
    key: &["complaint_id"],
    stamp: UPDATED,
    keep: &[],
    defaults: &[],
};
const FORECAST: Table = Table {
    name: "forecast",
    columns: &[
        ("forecast_id", Text),
        ("product_code", Text),
        ("ship_from", Text),
        ("month_start", Date),
        ("days", Int),
        ("version", Text),
        ("packs", Dec(12, 2)),
    ],
    key: &["forecast_id"],
    stamp: None,
    keep: &[],
    defaults: &[],
};
const QUALITY_NOTICE: Table = Table {
    name: "quality_notice",
    columns: &[
        ("notice_ref", Text),
        ("account_id", Text),
        ("case_ref", Text),
        ("product_code", Text),
        ("batch_no", Text),
        ("subject", Text),
        ("message", Text),
        ("state", Text),
    ],
    key: &["notice_ref"],
    stamp: UPDATED,
    keep: &[],
    defaults: &[("state", "'new'")],
};

pub const TABLES: &[&Table] =
    &[&ACCOUNT, &PRODUCT, &OPPORTUNITY, &REQUEST, &REQUEST_LINE, &ORDER_CHANGE, &COMPLAINT, &FORECAST, &QUALITY_NOTICE];

pub fn write(view: &View<'_>, sink: &mut dyn Sink) -> Result<(), DemoError> {
    if view.fresh() {
        accounts(view, sink)?;
        products(view, sink)?;
        forecasts(view, sink)?;
    }
    opportunities(view, sink)?;
    requests(view, sink)?;
    order_changes(view, sink)?;
    complaints(view, sink)
}

fn account_id(view: &View<'_>, customer: u16, twin: bool) -> String {
    let number = view.master.customers[usize::from(customer)].number;
    if twin { format!("CUS-9{number}") } else { format!("CUS-0{number}") }
}

fn product_code(view: &View<'_>, item: u16) -> String {
    format!("PRD-{}", view.master.items[usize::from(item)].number)
}

fn request_id(view: &View<'_>, request: u32) -> String {
    format!("REQ-{:02}{request:06}", view.master.plant)
}

fn order_text(view: &View<'_>, order: u32) -> String {
    keys::sales_order(view.master.plant, order).to_string()
}

fn owner(customer: u16) -> &'static str {
    names::OWNERS[usize::from(customer) % names::OWNERS.len()]
}

fn accounts(view: &View<'_>, sink: &mut dyn Sink) -> Result<(), DemoError> {
    sink.table(&ACCOUNT)?;
    for (index, customer) in view.master.customers.iter().enumerate() {
        let number = customer.linked.then(|| customer.number.to_string());
        for (twin, name) in [(false, Some(&customer.name)), (true, customer.twin.as_ref())] {
            let Some(name) = name else { continue };
            sink.row(
                view.born() + index as i64 * HOUR,
                &[
                    account_id(view, index as u16, twin).into(),
                    if twin { Value::Null } else { number.clone().into() },
                    name.as_str().into(),
                    if twin { Value::Null } else { customer.tax_id.as_deref().into() },
                    customer.street.as_str().into(),
                    customer.city.into(),
                    customer.country.into(),
                    customer.segment.into(),
                    customer.priority.into(),
                    owner(index as u16).into(),
                    "active".into(),
                ],
            )?;
        }
    }
    Ok(())
}

fn products(view: &View<'_>, sink: &mut dyn Sink) -> Result<(), DemoError> {
    sink.table(&PRODUCT)?;
    for (index, item) in view.master.items.iter().enumerate().filter(|(_, item)| item.level == Level::Finished) {
        // Some products are only known by their bar code.
        let number = (index % 5 != 4).then(|| item.number.to_string());
        let code = product_code(view, index as u16);
        sink.row(
            view.born(),
            &[code.into(), number.into(), item.gtin.as_deref().into(), item.name.as_str().into(), item.carton.into()],
        )?;
    }
    Ok(())
}

/// Six months from the present one, a little too high for some items and too low for others.
fn forecasts(view: &View<'_>, sink: &mut dyn Sink) -> Result<(), DemoError> {
    const WORKING_DAYS: i64 = 21;
    sink.table(&FORECAST)?;
    let today = day_of(view.plant.now);
    let Some(first) = today.with_day(1) else { return Ok(()) };
    let version = format!("{:04}-{:02}", first.year(), first.month());
    for (index, item) in view.master.items.iter().enumerate().filter(|(_, item)| item.level == Level::Finished) {
        for month in 0..6u32 {
            let start = first + Months::new(month);
            let days = (start + Months::new(1)).signed_duration_since(start).num_days();
            let bias = 85 + (index as i64 * 7 + i64::from(month) * 3) % 30;
            let pieces = item.daily * WORKING_DAYS * bias / 100_000;
            let id = format!("{}-{:04}{:02}-{}", product_code(view, index as u16), start.year(), start.month(), version);
            sink.row(
                view.plant.now,
                &[
                    id.into(),
                    product_code(view, index as u16).into(),
                    view.master.site_code(0).into(),
                    Value::Day(day_no(start)),
                    days.into(),
                    version.as_str().into(),
                    Value::Dec(pieces * 100 / item.carton, 2),
                ],
            )?;
        }
    }
    Ok(())
}

fn opportunities(view: &View<'_>, sink: &mut dyn Sink) -> Result<(), DemoError> {
    sink.table(&OPPORTUNITY)?;
    for opportunity in view.plant.opportunities.values().filter(|o| view.news(o.changed)) {
        let stage = match (opportunity.state, opportunity.per_cent) {
            (1, _) => "closed_won",
            (2, _) => "closed_lost",
            (_, 0..=25) => "qualify",
            (_, 26..=50) => "propose",
            _ => "negotiate",
        };
        sink.row(
            opportunity.changed,
            &[
                format!("OPP-{:02}{:05}", view.master.plant, opportunity.id).into(),
                account_id(view, opportunity.customer, false).into(),
                product_code(view, opportunity.item).into(),
                opportunity.quantity.into(),
                i64::from(opportunity.per_cent).into(),
                Value::Day(opportunity.close),
                stage.into(),
                opportunity.order.map(|order| order_text(view, order)).into(),
                owner(opportunity.customer).into(),
            ],
        )?;
    }
    Ok(())
}

fn requests(view: &View<'_>, sink: &mut dyn Sink) -> Result<(), DemoError> {
    sink.table(&REQUEST)?;
    for (id, lines) in &view.plant.requests {
        let Some(first) = lines.first() else { continue };
        // The head changes with its state, the lines also with their dates.
        let changed = first.won.map_or(first.created, |won| won + HOUR / 3).max(if first.lost { first.changed } else { 0 });
        if view.news(changed) {
            sink.row(changed, &request_head(view, *id, first))?;
        }
    }
    sink.table(&REQUEST_LINE)?;
    for (id, lines) in &view.plant.requests {
        for line in lines.iter().filter(|line| view.news(line.changed)) {
            let carton = view.master.items[usize::from(line.item)].carton;
            sink.row(
                line.changed,
                &[
                    request_id(view, *id).into(),
                    i64::from(line.line).into(),
                    product_code(view, line.item).into(),
                    (line.quantity / carton).into(),
                    Value::Day(line.requested),
                    line.promised.map_or(Value::Null, Value::Day),
                ],
            )?;
        }
    }
    Ok(())
}

fn request_head(view: &View<'_>, id: u32, first: &Request) -> [Value<'static>; 8] {
    let state = match (first.lost, first.won) {
        (true, _) => "lost",
        (_, Some(_)) => "won",
        _ => "offered",
    };
    [
        request_id(view, id).into(),
        account_id(view, first.customer, first.twin).into(),
        format!("PO {}-{id}", first.customer).into(),
        state.into(),
        Value::At(first.created),
        first.won.map_or(Value::Null, Value::At),
        first.order.map(|order| order_text(view, order)).into(),
        owner(first.customer).into(),
    ]
}

fn order_changes(view: &View<'_>, sink: &mut dyn Sink) -> Result<(), DemoError> {
    sink.table(&ORDER_CHANGE)?;
    for change in &view.plant.log.order_changes {
        let text = |day| crate::demo::sim::date(day).to_string();
        sink.row(
            change.at,
            &[
                format!("CHG-{:02}{:05}", view.master.plant, change.id).into(),
                request_id(view, change.request).into(),
                i64::from(change.line).into(),
                order_text(view, change.order).into(),
                "wanted_on".into(),
                text(change.old).into(),
                text(change.new).into(),
                Value::At(change.at),
            ],
        )?;
    }
    Ok(())
}

fn complaints(view: &View<'_>, sink: &mut dyn Sink) -> Result<(), DemoError> {
    sink.table(&COMPLAINT)?;
    for complaint in view.plant.complaints.values().filter(|complaint| view.news(complaint.changed)) {
        let batch = keys::lot_of(view.master, complaint.item, complaint.lot).filter(|_| complaint.lot_known);
        let state = ["open", "in_progress", "accepted", "closed"][usize::from(complaint.state.min(3))];
        sink.row(
            complaint.changed,
            &[
                format!("CMP-{:02}{:05}", view.master.plant, complaint.id).into(),
                account_id(view, complaint.customer, false).into(),
                order_text(view, complaint.order).into(),
                super::wms::delivery_note(view.master.plant, complaint.shipment).into(),
                product_code(view, complaint.item).into(),
                batch.into(),
                complaint.quantity.into(),
                names::DEFECTS[usize::from(complaint.defect) % names::DEFECTS.len()].into(),
                i64::from(complaint.severity + 1).into(),
                Value::At(complaint.received),
                state.into(),
            ],
        )?;
    }
    Ok(())
}
