//! The ERP, orders: customers', suppliers' and the shop floor's.

use super::erp::{CHANGED, number};
use super::{View, keys};
use crate::demo::DemoError;
use crate::demo::load::Kind::{Date, Dec, Int, Local, Serial, Text};
use crate::demo::load::{Sink, Table, Value};
use crate::demo::plant::{DayNo, Progress, PurchaseLine, SalesLine, WorkOrder};

pub const AUF: Table = Table {
    name: "AUF",
    columns: &[("AUFNR", Text), ("KDNR", Text), ("KDBEST", Text), ("HERK", Text), ("ANLZT", Local), ("WAERS", Text)],
    key: &["AUFNR"],
    stamp: CHANGED,
    keep: &[],
    defaults: &[],
};
pub const AUFP: Table = Table {
    name: "AUFP",
    columns: &[
        ("AUFNR", Text),
        ("POSNR", Int),
        ("EINT", Int),
        ("MATNR", Text),
        ("WERK", Text),
        ("VKMENGE", Dec(13, 3)),
        ("VKME", Text),
        ("GELIEF", Dec(13, 3)),
        ("VKPREIS", Dec(13, 2)),
        ("WUNSCHT", Date),
        ("ERSTZUS", Date),
        ("ZUSAGE", Date),
        ("STATUS", Text),
    ],
    key: &["AUFNR", "POSNR", "EINT"],
    stamp: CHANGED,
    keep: &["ERSTZUS", "ZUSAGE"],
    defaults: &[],
};
pub const BANF: Table = Table {
    name: "BANF",
    columns: &[
        ("BANFN", Serial),
        ("MATNR", Text),
        ("WERK", Text),
        ("MENGE", Dec(13, 3)),
        ("MEINS", Text),
        ("BEDT", Date),
        ("LFNR", Text),
        ("STATUS", Text),
        ("EXTREF", Text),
        ("BESTNR", Text),
        ("ANLZT", Local),
    ],
    key: &["BANFN"],
    stamp: CHANGED,
    keep: &["MATNR", "WERK", "MENGE", "MEINS", "BEDT", "LFNR", "EXTREF", "ANLZT"],
    defaults: &[("STATUS", "'10'")],
};
pub const BEST: Table = Table {
    name: "BEST",
    columns: &[("BESTNR", Text), ("LFNR", Text), ("ANLZT", Local), ("WAERS", Text)],
    key: &["BESTNR"],
    stamp: CHANGED,
    keep: &[],
    defaults: &[],
};
pub const BESTP: Table = Table {
    name: "BESTP",
    columns: &[
        ("BESTNR", Text),
        ("POSNR", Int),
        ("MATNR", Text),
        ("WERK", Text),
        ("MENGE", Dec(13, 3)),
        ("MEINS", Text),
        ("WEMENGE", Dec(13, 3)),
        ("WUNSCHT", Date),
        ("ERSTBEST", Date),
        ("BESTT", Date),
        ("PREIS", Dec(13, 2)),
        ("PREH", Int),
        ("EXTREF", Text),
        ("STATUS", Text),
    ],
    key: &["BESTNR", "POSNR"],
    stamp: CHANGED,
    keep: &[],
    defaults: &[],
};
pub const BESTB: Table = Table {
    name: "BESTB",
    columns: &[
        ("MELDNR", Int),
        ("BESTNR", Text),
        ("POSNR", Int),
        ("ART", Text),
        ("MENGE", Dec(13, 3)),
        ("MEINS", Text),
        ("TERMIN", Date),
        ("EINGZT", Local),
    ],
    key: &["MELDNR"],
    stamp: CHANGED,
    keep: &[],
    defaults: &[],
};
pub const FAUF: Table = Table {
    name: "FAUF",
    columns: &[
        ("FANR", Text),
        ("MATNR", Text),
        ("WERK", Text),
        ("SOLLM", Dec(13, 3)),
        ("MEINS", Text),
        ("ISTM", Dec(13, 3)),
        ("ECKSTART", Date),
        ("ECKEND", Date),
        ("EXTREF", Text),
        ("FREIGZT", Local),
        ("STATUS", Text),
    ],
    key: &["FANR"],
    stamp: CHANGED,
    keep: &[],
    defaults: &[],
};

pub fn write(view: &View<'_>, sink: &mut dyn Sink) -> Result<(), DemoError> {
    sales(view, sink)?;
    purchases(view, sink)?;
    requests(view, sink)?;
    answers(view, sink)?;
    work_orders(view, sink)
}

fn day(day: Option<DayNo>) -> Value<'static> {
    day.map_or(Value::Null, Value::Day)
}

fn sales(view: &View<'_>, sink: &mut dyn Sink) -> Result<(), DemoError> {
    let plant = view.master.plant;
    sink.table(&AUF)?;
    for head in &view.plant.log.heads {
        sink.row(
            head.at,
            &[
                keys::padded(keys::sales_order(plant, head.order)).into(),
                keys::padded(view.master.customers[usize::from(head.customer)].number).into(),
                head.request.map(|request| format!("PO {}-{request}", head.customer)).into(),
                head.request.map_or_else(|| "EDI".to_owned(), |request| format!("REQ-{plant:02}{request:06}")).into(),
                Value::At(head.at),
                "EUR".into(),
            ],
        )?;
    }
    sink.table(&AUFP)?;
    for line in view.plant.sales.values().flatten().filter(|line| view.news(line.changed)) {
        sink.row(line.changed, &sales_line(view, line))?;
    }
    Ok(())
}

fn sales_line(view: &View<'_>, line: &SalesLine) -> [Value<'static>; 13] {
    let item = &view.master.items[usize::from(line.item)];
    let packs = |pieces: i64| Value::Dec(pieces * 1_000 / item.carton, 3);
    let status = match (line.cancelled, line.open) {
        (true, _) => "90",
        (_, true) => "20",
        _ => "30",
    };
    [
        keys::padded(keys::sales_order(view.master.plant, line.order)).into(),
        i64::from(line.line).into(),
        i64::from(line.schedule).into(),
        number(item).into(),
        view.master.site_code(usize::from(line.site)).into(),
        packs(line.quantity),
        if item.carton == 1 { "ST" } else { "KAR" }.into(),
        packs(line.shipped),
        Value::Dec(item.cost * item.carton * 17 / 10, 2),
        Value::Day(line.requested),
        day(line.first_promised),
        day(line.promised),
        status.into(),
    ]
}

fn purchases(view: &View<'_>, sink: &mut dyn Sink) -> Result<(), DemoError> {
    let plant = view.master.plant;
    let key = |line: &PurchaseLine| keys::padded(keys::purchase_order(plant, line.order));
    sink.table(&BEST)?;
    for line in view.plant.purchases.values().filter_map(|lines| lines.first()).filter(|line| view.news(line.ordered)) {
        let supplier = keys::padded(view.master.suppliers[usize::from(line.supplier)].number);
        sink.row(line.ordered, &[key(line).into(), supplier.into(), Value::At(line.ordered), "EUR".into()])?;
    }
    sink.table(&BESTP)?;
    for line in view.plant.purchases.values().flatten().filter(|line| view.news(line.changed)) {
        let item = &view.master.items[usize::from(line.item)];
        let quantity = |base: i64| Value::Dec(keys::thousandths(item, base), 3);
        let status = match (line.open, line.first_confirmed) {
            (false, _) => "40",
            (true, Some(_)) => "20",
            (true, None) => "10",
        };
        sink.row(
            line.changed,
            &[
                key(line).into(),
                i64::from(line.line).into(),
                number(item).into(),
                view.master.site_code(0).into(),
                quantity(line.quantity),
                keys::erp_unit(item).into(),
                quantity(line.received),
                Value::Day(line.requested),
                day(line.first_confirmed),
                day(line.confirmed),
                Value::Dec(line.price, 2),
                100i64.into(),
                line.proposal.as_deref().map(str::to_owned).into(),
                status.into(),
            ],
        )?;
    }
    Ok(())
}

/// A buyer wrote a request of his own for some orders of the history; requests of the hub that became orders are marked.
fn requests(view: &View<'_>, sink: &mut dyn Sink) -> Result<(), DemoError> {
    let plant = view.master.plant;
    sink.table(&BANF)?;
    for line in view.plant.purchases.values().flatten().filter(|line| view.news(line.ordered)) {
        let item = &view.master.items[usize::from(line.item)];
        let (id, reference) = match line.request {
            Some(request) => (request, line.proposal.clone()),
            None if view.fresh() && line.order % 9 == 0 => (1_000_000 + keys::serial(plant, line.order), None),
            None => continue,
        };
        sink.row(
            line.ordered,
            &[
                id.into(),
                number(item).into(),
                view.master.site_code(0).into(),
                Value::Dec(keys::thousandths(item, line.quantity), 3),
                keys::erp_unit(item).into(),
                Value::Day(line.requested),
                keys::padded(view.master.suppliers[usize::from(line.supplier)].number).into(),
                "30".into(),
                reference.into(),
                keys::padded(keys::purchase_order(plant, line.order)).into(),
                Value::At(line.ordered - 3_600),
            ],
        )?;
    }
    Ok(())
}

fn answers(view: &View<'_>, sink: &mut dyn Sink) -> Result<(), DemoError> {
    let plant = view.master.plant;
    sink.table(&BESTB)?;
    for answer in &view.plant.log.answers {
        let item = &view.master.items[usize::from(answer.item)];
        sink.row(
            answer.at,
            &[
                keys::serial(plant, answer.id).into(),
                keys::padded(keys::purchase_order(plant, answer.order)).into(),
                i64::from(answer.line).into(),
                if answer.announced { "LA" } else { "AB" }.into(),
                Value::Dec(keys::thousandths(item, answer.quantity), 3),
                keys::erp_unit(item).into(),
                Value::Day(answer.day),
                Value::At(answer.at),
            ],
        )?;
    }
    Ok(())
}

fn work_orders(view: &View<'_>, sink: &mut dyn Sink) -> Result<(), DemoError> {
    sink.table(&FAUF)?;
    for order in view.plant.work_orders.values().filter(|order| view.news(order.changed)) {
        sink.row(order.changed, &work_order(view, order))?;
    }
    Ok(())
}

fn work_order(view: &View<'_>, order: &WorkOrder) -> [Value<'static>; 11] {
    let item = &view.master.items[usize::from(order.item)];
    let booked = if order.completed.is_some() { order.good } else { 0 };
    let status = match order.progress {
        Progress::Planned => "15",
        Progress::Released | Progress::Started => "20",
        Progress::Completed => "40",
        Progress::Closed => "50",
    };
    [
        keys::padded(keys::work_order(view.master.plant, order.id)).into(),
        number(item).into(),
        view.master.site_code(0).into(),
        Value::Dec(keys::thousandths(item, order.quantity), 3),
        keys::erp_unit(item).into(),
        Value::Dec(keys::thousandths(item, booked), 3),
        Value::Day(order.start),
        Value::Day(order.due),
        Value::Null,
        order.released.map_or(Value::Null, Value::At),
        status.into(),
    ]
}
