//! The ERP, master data: cryptic upper-case names, ten-digit text keys, local time without zone, numeric status codes, quantities in
//! sales and stock units with conversions.

use super::{View, erp_orders, keys};
use crate::demo::DemoError;
use crate::demo::calendar::{DAY, PATTERNS};
use crate::demo::load::Kind::{Date, Dec, Int, Local, Text};
use crate::demo::load::{Sink, Stamp, Table, Value};
use crate::demo::master::{Item, Level, Unit};
use crate::demo::names;
use crate::demo::sim::day_no;

pub const CHANGED: Option<Stamp> = Some(Stamp::Local("AENDZT"));
/// Days ahead for which shifts are kept.
const SHIFT_DAYS: i64 = 180;

const WRK: Table = Table {
    name: "WRK",
    columns: &[("WERK", Text), ("NAME", Text), ("ART", Text), ("KALID", Text), ("ZONE", Text), ("WAERS", Text)],
    key: &["WERK"],
    stamp: None,
    keep: &[],
    defaults: &[],
};
const KNA: Table = Table {
    name: "KNA",
    columns: &[
        ("KDNR", Text),
        ("NAME1", Text),
        ("USTID", Text),
        ("ORT", Text),
        ("LAND", Text),
        ("PRIO", Int),
        ("WAERS", Text),
        ("SPERR", Text),
    ],
    key: &["KDNR"],
    stamp: CHANGED,
    keep: &[],
    defaults: &[],
};
const LIF: Table = Table {
    name: "LIF",
    columns: &[
        ("LFNR", Text),
        ("NAME1", Text),
        ("USTID", Text),
        ("ORT", Text),
        ("LAND", Text),
        ("FREIG", Text),
        ("WAERS", Text),
        ("INCO", Text),
    ],
    key: &["LFNR"],
    stamp: CHANGED,
    keep: &[],
    defaults: &[],
};
const MAT: Table = Table {
    name: "MAT",
    columns: &[
        ("MATNR", Text),
        ("BEZ", Text),
        ("MTART", Text),
        ("RFAM", Text),
        ("MEINS", Text),
        ("CHPFL", Text),
        ("HALTB", Int),
        ("REVST", Text),
        ("EAN", Text),
        ("STAT", Text),
    ],
    key: &["MATNR"],
    stamp: CHANGED,
    keep: &[],
    defaults: &[],
};
const MATU: Table = Table {
    name: "MATU",
    columns: &[("MATNR", Text), ("MEINH", Text), ("UMZ", Int), ("UMN", Int)],
    key: &["MATNR", "MEINH"],
    stamp: None,
    keep: &[],
    defaults: &[],
};
const MATW: Table = Table {
    name: "MATW",
    columns: &[
        ("MATNR", Text),
        ("WERK", Text),
        ("BESKZ", Text),
        ("DISP", Text),
        ("WBZ", Int),
        ("LOSKZ", Text),
        ("MINLOS", Dec(13, 3)),
        ("RUNDW", Dec(13, 3)),
        ("SBEST", Dec(13, 3)),
        ("FIXHOR", Int),
        ("PLANHOR", Int),
        ("DISPO", Text),
    ],
    key: &["MATNR", "WERK"],
    stamp: CHANGED,
    keep: &[],
    defaults: &[],
};
const STL: Table = Table {
    name: "STL",
    columns: &[
        ("STLNR", Text),
        ("STAND", Text),
        ("MATNR", Text),
        ("WERK", Text),
        ("BMENGE", Dec(13, 3)),
        ("GAB", Date),
        ("RANG", Int),
    ],
    key: &["STLNR", "STAND"],
    stamp: CHANGED,
    keep: &[],
    defaults: &[],
};
const STLP: Table = Table {
    name: "STLP",
    columns: &[
        ("STLNR", Text),
        ("STAND", Text),
        ("POSNR", Int),
        ("KOMP", Text),
        ("MENGE", Dec(13, 3)),
        ("AUSS", Dec(5, 2)),
        ("VORNR", Int),
    ],
    key: &["STLNR", "STAND", "POSNR"],
    stamp: CHANGED,
    keep: &[],
    defaults: &[],
};
const APL: Table = Table {
    name: "APL",
    columns: &[
        ("PLNR", Text),
        ("VORNR", Int),
        ("MATNR", Text),
        ("WERK", Text),
        ("ARBPL", Text),
        ("KTEXT", Text),
        ("RUEST", Dec(9, 2)),
        ("BEARB", Dec(13, 3)),
        ("BASIS", Dec(13, 3)),
        ("LIEGZ", Dec(7, 2)),
    ],
    key: &["PLNR", "VORNR"],
    stamp: CHANGED,
    keep: &[],
    defaults: &[],
};
const KAL: Table = Table {
    name: "KAL",
    columns: &[("KALID", Text), ("BEGZT", Local), ("ENDZT", Local), ("KAPAZ", Int), ("ART", Text)],
    key: &["KALID", "BEGZT"],
    stamp: None,
    keep: &[],
    defaults: &[],
};
const INFO: Table = Table {
    name: "INFO",
    columns: &[
        ("LFNR", Text),
        ("MATNR", Text),
        ("WERK", Text),
        ("GAB", Date),
        ("STAFM", Dec(13, 3)),
        ("PREIS", Dec(13, 2)),
        ("PREH", Int),
        ("WAERS", Text),
        ("WBZ", Int),
        ("RUNDW", Dec(13, 3)),
        ("QUOTE", Int),
        ("LFMAT", Text),
    ],
    key: &["LFNR", "MATNR", "WERK", "GAB", "STAFM"],
    stamp: CHANGED,
    keep: &[],
    defaults: &[],
};
const KOST: Table = Table {
    name: "KOST",
    columns: &[
        ("MATNR", Text),
        ("WERK", Text),
        ("ART", Text),
        ("GAB", Date),
        ("BETR", Dec(13, 2)),
        ("WAERS", Text),
        ("PREH", Int),
    ],
    key: &["MATNR", "WERK", "ART", "GAB"],
    stamp: CHANGED,
    keep: &[],
    defaults: &[],
};

pub const TABLES: &[&Table] = &[
    &WRK,
    &KNA,
    &LIF,
    &MAT,
    &MATU,
    &MATW,
    &STL,
    &STLP,
    &APL,
    &KAL,
    &INFO,
    &KOST,
    &erp_orders::AUF,
    &erp_orders::AUFP,
    &erp_orders::BANF,
    &erp_orders::BEST,
    &erp_orders::BESTP,
    &erp_orders::BESTB,
    &erp_orders::FAUF,
];

pub fn write(view: &View<'_>, sink: &mut dyn Sink) -> Result<(), DemoError> {
    if view.fresh() {
        partners(view, sink)?;
        items(view, sink)?;
        bills(view, sink)?;
        routings(view, sink)?;
        prices(view, sink)?;
    }
    calendars(view, sink)?;
    erp_orders::write(view, sink)
}

pub fn number(item: &Item) -> String {
    keys::padded(item.number)
}

fn partners(view: &View<'_>, sink: &mut dyn Sink) -> Result<(), DemoError> {
    sink.table(&WRK)?;
    for (site, kind, name) in [(0, "P", "Werk"), (1, "L", "Auslieferungslager")] {
        let code = view.master.site_code(site);
        let name = format!("{name} {code}");
        sink.row(view.born(), &[code.into(), name.into(), kind.into(), "2S".into(), "Europe/Berlin".into(), "EUR".into()])?;
    }
    sink.table(&KNA)?;
    for customer in &view.master.customers {
        sink.row(
            view.born(),
            &[
                keys::padded(customer.number).into(),
                customer.name.as_str().into(),
                customer.tax_id.as_deref().into(),
                customer.city.into(),
                customer.country.into(),
                customer.priority.into(),
                "EUR".into(),
                "".into(),
            ],
        )?;
    }
    sink.table(&LIF)?;
    for (index, supplier) in view.master.suppliers.iter().enumerate() {
        let approval = if supplier.blocked {
            "9"
        } else if index % 12 == 11 {
            "2"
        } else {
            "1"
        };
        sink.row(
            view.born(),
            &[
                keys::padded(supplier.number).into(),
                supplier.name.as_str().into(),
                supplier.tax_id.as_str().into(),
                supplier.city.into(),
                supplier.country.into(),
                approval.into(),
                "EUR".into(),
                if index % 3 == 0 { "DAP" } else { "FCA" }.into(),
            ],
        )?;
    }
    Ok(())
}

fn items(view: &View<'_>, sink: &mut dyn Sink) -> Result<(), DemoError> {
    sink.table(&MAT)?;
    for item in &view.master.items {
        let kind = match item.level {
            Level::Finished => "FERT",
            Level::Semi | Level::Base => "HALB",
            Level::Bought if !item.lots => "VERP",
            Level::Bought if item.unit == Unit::Gram => "ROH",
            Level::Bought => "TEIL",
        };
        sink.row(
            view.born(),
            &[
                number(item).into(),
                item.name.as_str().into(),
                kind.into(),
                (item.level != Level::Bought).then(|| format!("F{}", item.family + 1)).into(),
                keys::erp_unit(item).into(),
                if item.lots { "X" } else { "" }.into(),
                item.shelf_life_days.into(),
                (item.level != Level::Bought).then_some("A").into(),
                item.gtin.as_deref().into(),
                "".into(),
            ],
        )?;
    }
    sink.table(&MATU)?;
    for item in &view.master.items {
        let other = match (item.carton, item.unit) {
            (_, Unit::Gram) => Some(("G", 1i64, 1_000i64)),
            (1, _) => None,
            (carton, _) => Some(("KAR", carton, 1)),
        };
        if let Some((unit, numerator, denominator)) = other {
            sink.row(view.born(), &[number(item).into(), unit.into(), numerator.into(), denominator.into()])?;
        }
    }
    sink.table(&MATW)?;
    for (index, item) in view.master.items.iter().enumerate() {
        sink.row(view.born(), &planning(view, index, item, 0))?;
        if item.level == Level::Finished {
            sink.row(view.born(), &planning(view, index, item, 1))?;
        }
    }
    Ok(())
}

fn planning(view: &View<'_>, index: usize, item: &Item, site: usize) -> [Value<'static>; 12] {
    let quantity = |base: i64| Value::Dec(keys::thousandths(item, base), 3);
    let made = item.level != Level::Bought;
    let source = if site == 1 {
        "U"
    } else if made {
        "E"
    } else {
        "F"
    };
    // Part of the bought items has no safety stock in the ERP: the hub's own policy applies.
    let safety = if made || index.is_multiple_of(4) {
        quantity(if site == 1 { item.safety * 3 / 10 } else { item.safety })
    } else {
        Value::Null
    };
    [
        number(item).into(),
        view.master.site_code(site).into(),
        source.into(),
        "PD".into(),
        (if site == 1 { 1 } else { item.lead_days }).into(),
        if made && site == 0 { "FX" } else { "MB" }.into(),
        quantity(if site == 1 { item.carton } else { item.lot }),
        quantity(if site == 1 { item.carton } else { item.multiple }),
        safety,
        2i64.into(),
        (if made { 5i64 } else { 7 }).into(),
        names::PLANNERS[index % names::PLANNERS.len()].into(),
    ]
}

fn bills(view: &View<'_>, sink: &mut dyn Sink) -> Result<(), DemoError> {
    let made = || view.master.items.iter().filter(|item| !item.components.is_empty());
    sink.table(&STL)?;
    for item in made() {
        let base = Value::Dec(bill_base(item) * 1_000, 3);
        let since = Value::Day(day_no(view.master.first_day));
        sink.row(
            view.born(),
            &[bill(item).into(), "01".into(), number(item).into(), view.master.site_code(0).into(), base, since, 1i64.into()],
        )?;
    }
    sink.table(&STLP)?;
    for item in made() {
        for (position, part) in item.components.iter().enumerate() {
            let component = &view.master.items[part.item];
            let exact = crate::demo::master::Component { loss: 0, ..part.clone() };
            let quantity = exact.needed(bill_base(item) * item.stock_factor());
            sink.row(
                view.born(),
                &[
                    bill(item).into(),
                    "01".into(),
                    (position as i64 * 10 + 10).into(),
                    number(component).into(),
                    Value::Dec(keys::thousandths(component, quantity), 3),
                    Value::Dec(part.loss * 10, 2),
                    10i64.into(),
                ],
            )?;
        }
    }
    Ok(())
}

/// Bills are for a hundred stock units, so that three places after the point are enough.
fn bill_base(_item: &Item) -> i64 {
    100
}

fn bill(item: &Item) -> String {
    format!("B{}", item.number)
}

fn routings(view: &View<'_>, sink: &mut dyn Sink) -> Result<(), DemoError> {
    sink.table(&APL)?;
    for item in &view.master.items {
        for (index, step) in item.steps.iter().enumerate() {
            let center = &view.master.centers[step.center];
            // Minutes for a whole lot, as the planner measured it.
            let run = (i128::from(item.lot) * i128::from(step.run_us) / 60_000) as i64;
            sink.row(
                view.born(),
                &[
                    format!("R{}", item.number).into(),
                    (index as i64 * 10 + 10).into(),
                    number(item).into(),
                    view.master.site_code(0).into(),
                    center.code.as_str().into(),
                    center.name.into(),
                    Value::Dec(step.setup_s * 100 / 60, 2),
                    Value::Dec(run, 3),
                    Value::Dec(keys::thousandths(item, item.lot), 3),
                    Value::Dec(400, 2),
                ],
            )?;
        }
    }
    Ok(())
}

fn prices(view: &View<'_>, sink: &mut dyn Sink) -> Result<(), DemoError> {
    let since = || Value::Day(day_no(view.master.first_day));
    sink.table(&INFO)?;
    for offer in &view.master.offers {
        let item = &view.master.items[offer.item];
        let multiple = keys::thousandths(item, item.multiple);
        // From ten lots on it is five per cent cheaper.
        for (least, price) in [(item.multiple, offer.price), (item.lot * 10, offer.price * 95 / 100)] {
            sink.row(
                view.born(),
                &[
                    keys::padded(view.master.suppliers[offer.supplier].number).into(),
                    number(item).into(),
                    view.master.site_code(0).into(),
                    since(),
                    Value::Dec(keys::thousandths(item, least), 3),
                    Value::Dec(price, 2),
                    100i64.into(),
                    "EUR".into(),
                    offer.lead_days.into(),
                    Value::Dec(multiple, 3),
                    offer.share.into(),
                    format!("{}-{}", offer.supplier, item.number).into(),
                ],
            )?;
        }
    }
    sink.table(&KOST)?;
    for item in &view.master.items {
        for site in 0..if item.level == Level::Finished { 2 } else { 1 } {
            let code = view.master.site_code(site);
            sink.row(
                view.born(),
                &[number(item).into(), code.into(), "S".into(), since(), Value::Dec(item.cost, 2), "EUR".into(), 1i64.into()],
            )?;
        }
    }
    Ok(())
}

/// Shifts up to half a year ahead; each day of the simulation adds one more day.
fn calendars(view: &View<'_>, sink: &mut dyn Sink) -> Result<(), DemoError> {
    if view.master.plant > 0 {
        return Ok(()); // all plants share them
    }
    let last = view.plant.now + SHIFT_DAYS * DAY;
    let first = view.since.map_or(i64::MIN, |since| since + SHIFT_DAYS * DAY);
    sink.table(&KAL)?;
    for pattern in PATTERNS {
        for (begin, end) in view.master.shifts(pattern).spans().iter().filter(|(begin, _)| *begin > first && *begin <= last) {
            sink.row(*begin, &[pattern.code().into(), Value::At(*begin), Value::At(*end), 1i64.into(), "A".into()])?;
        }
    }
    Ok(())
}
