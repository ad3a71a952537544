//! The WMS: composite text keys, whole grams and pieces, letters as status, UTC, a row version as cursor.

use super::{View, keys};
use crate::demo::DemoError;
use crate::demo::load::Kind::{Date, Int, Text, Zoned};
use crate::demo::load::{Sink, Stamp, Table, Value};
use crate::demo::master::Unit;
use crate::demo::plant::{MoveKind, Place, Quality};

const VERSION: Option<Stamp> = Some(Stamp::Version("rv"));

const ARTICLE: Table = Table {
    name: "article",
    columns: &[("article", Text), ("host_item", Text), ("ean", Text), ("descr", Text), ("base_unit", Text), ("lot_flag", Text)],
    key: &["article"],
    stamp: VERSION,
    keep: &[],
    defaults: &[],
};
const VENDOR: Table = Table {
    name: "vendor",
    columns: &[("vendor_code", Text), ("host_number", Text), ("tax_no", Text), ("name", Text)],
    key: &["vendor_code"],
    stamp: VERSION,
    keep: &[],
    defaults: &[],
};
const LOCATION: Table = Table {
    name: "location",
    columns: &[("loc", Text), ("warehouse", Text), ("label", Text), ("kind", Text), ("plannable", Text)],
    key: &["loc"],
    stamp: VERSION,
    keep: &[],
    defaults: &[],
};
const LOT: Table = Table {
    name: "lot",
    columns: &[
        ("lot_no", Text),
        ("article", Text),
        ("vendor_code", Text),
        ("vendor_lot", Text),
        ("made_utc", Zoned),
        ("best_before", Date),
        ("qs", Text),
    ],
    key: &["lot_no"],
    stamp: VERSION,
    keep: &[],
    defaults: &[],
};
const STOCK: Table = Table {
    name: "stock",
    columns: &[
        ("stock_key", Text),
        ("loc", Text),
        ("article", Text),
        ("lot_no", Text),
        ("qty", Int),
        ("reserved", Int),
        ("changed_utc", Zoned),
    ],
    key: &["stock_key"],
    stamp: None,
    keep: &[],
    defaults: &[],
};
const MOVEMENT: Table = Table {
    name: "movement",
    columns: &[
        ("mv_no", Int),
        ("code", Int),
        ("article", Text),
        ("lot_no", Text),
        ("qty", Int),
        ("from_loc", Text),
        ("to_loc", Text),
        ("at_utc", Zoned),
        ("doc", Text),
    ],
    key: &["mv_no"],
    stamp: VERSION,
    keep: &[],
    defaults: &[],
};
const RECEIPT: Table = Table {
    name: "receipt",
    columns: &[
        ("receipt_key", Text),
        ("po_no", Text),
        ("po_pos", Int),
        ("vendor_code", Text),
        ("article", Text),
        ("warehouse", Text),
        ("lot_no", Text),
        ("vendor_lot", Text),
        ("qty", Int),
        ("received_utc", Zoned),
    ],
    key: &["receipt_key"],
    stamp: VERSION,
    keep: &[],
    defaults: &[],
};
const SHIPMENT: Table = Table {
    name: "shipment",
    columns: &[
        ("note_key", Text),
        ("order_no", Text),
        ("order_pos", Int),
        ("article", Text),
        ("warehouse", Text),
        ("lot_no", Text),
        ("qty", Int),
        ("shipped_utc", Zoned),
        ("delivered_utc", Zoned),
    ],
    key: &["note_key"],
    stamp: VERSION,
    keep: &[],
    defaults: &[],
};
const COUNT: Table = Table {
    name: "count_line",
    columns: &[
        ("count_key", Text),
        ("loc", Text),
        ("article", Text),
        ("lot_no", Text),
        ("book_qty", Int),
        ("found_qty", Int),
        ("at_utc", Zoned),
    ],
    key: &["count_key"],
    stamp: VERSION,
    keep: &[],
    defaults: &[],
};

pub const TABLES: &[&Table] = &[&ARTICLE, &VENDOR, &LOCATION, &LOT, &STOCK, &MOVEMENT, &RECEIPT, &SHIPMENT, &COUNT];

pub fn write(view: &View<'_>, sink: &mut dyn Sink) -> Result<(), DemoError> {
    if view.fresh() {
        articles(view, sink)?;
        vendors(view, sink)?;
        locations(view, sink)?;
    }
    lots(view, sink)?;
    stock(view, sink)?;
    movements(view, sink)?;
    receipts(view, sink)?;
    shipments(view, sink)?;
    counts(view, sink)
}

/// Number of a delivery note; its lines are `note|line`.
pub fn delivery_note(plant: u32, shipment: u32) -> String {
    format!("DN{plant:02}{shipment:06}")
}

fn article(view: &View<'_>, item: u16) -> Value<'static> {
    keys::article(&view.master.items[usize::from(item)]).into()
}

fn vendor(view: &View<'_>, supplier: u16) -> String {
    format!("V{}", view.master.suppliers[usize::from(supplier)].number - 600_000)
}

fn articles(view: &View<'_>, sink: &mut dyn Sink) -> Result<(), DemoError> {
    sink.table(&ARTICLE)?;
    for item in &view.master.items {
        let unit = if item.unit == Unit::Gram { "g" } else { "pc" };
        let lots = if item.lots { "Y" } else { "N" };
        let cells = [
            keys::article(item).into(),
            item.number.to_string().into(),
            item.gtin.as_deref().into(),
            item.name.as_str().into(),
            unit.into(),
            lots.into(),
        ];
        sink.row(view.born(), &cells)?;
    }
    Ok(())
}

fn vendors(view: &View<'_>, sink: &mut dyn Sink) -> Result<(), DemoError> {
    sink.table(&VENDOR)?;
    for (index, supplier) in view.master.suppliers.iter().enumerate() {
        // A few suppliers were entered by hand, without the ERP's number.
        let number = (index % 9 != 5).then(|| supplier.number.to_string());
        let cells =
            [vendor(view, index as u16).into(), number.into(), supplier.tax_id.as_str().into(), supplier.name.as_str().into()];
        sink.row(view.born(), &cells)?;
    }
    Ok(())
}

fn locations(view: &View<'_>, sink: &mut dyn Sink) -> Result<(), DemoError> {
    const BINS: [(&str, &str, &str, &str); 8] = [
        ("R1", "Rack 1", "ST", "Y"),
        ("R2", "Rack 2", "ST", "Y"),
        ("R3", "Rack 3", "ST", "Y"),
        ("IN", "Receiving", "RC", "Y"),
        ("PR", "Line side", "PR", "Y"),
        ("QA", "Quarantine", "QU", "N"),
        ("SC", "Scrap", "SC", "N"),
        ("OUT", "Shipping", "SH", "N"),
    ];
    sink.table(&LOCATION)?;
    for site in 0..2 {
        let warehouse = view.master.site_code(site);
        for (bin, label, kind, plannable) in BINS {
            let cells =
                [format!("{warehouse}-{bin}").into(), warehouse.as_str().into(), label.into(), kind.into(), plannable.into()];
            sink.row(view.born(), &cells)?;
        }
    }
    Ok(())
}

fn letter(quality: Quality) -> &'static str {
    match quality {
        Quality::Inspection => "Q",
        Quality::Free => "F",
        Quality::Blocked => "S",
        Quality::Rejected => "X",
    }
}

fn lots(view: &View<'_>, sink: &mut dyn Sink) -> Result<(), DemoError> {
    sink.table(&LOT)?;
    for lot in view.plant.lots.values().filter(|lot| view.news(lot.changed)) {
        let Some(number) = keys::lot_of(view.master, lot.item, lot.id) else { continue };
        sink.row(
            lot.changed,
            &[
                number.into(),
                article(view, lot.item),
                lot.supplier.map(|supplier| vendor(view, supplier)).into(),
                keys::supplier_lot(lot).into(),
                Value::At(lot.made),
                lot.expires.map_or(Value::Null, Value::Day),
                letter(lot.quality).into(),
            ],
        )?;
    }
    Ok(())
}

fn stock(view: &View<'_>, sink: &mut dyn Sink) -> Result<(), DemoError> {
    sink.table(&STOCK)?;
    if !view.fresh() {
        for (place, lot, item) in &view.plant.gone {
            sink.remove(&[keys::stock(view.master, *place, *item, *lot).into()])?;
        }
    }
    for (item, quants) in view.plant.stock.iter().enumerate() {
        for quant in quants.iter().filter(|quant| view.news(quant.changed)) {
            let item = item as u16;
            sink.row(
                quant.changed,
                &[
                    keys::stock(view.master, quant.place, item, quant.lot).into(),
                    keys::location(view.master, quant.place).into(),
                    article(view, item),
                    keys::lot_of(view.master, item, quant.lot).into(),
                    quant.quantity.into(),
                    0i64.into(),
                    Value::At(quant.changed),
                ],
            )?;
        }
    }
    Ok(())
}

fn movements(view: &View<'_>, sink: &mut dyn Sink) -> Result<(), DemoError> {
    sink.table(&MOVEMENT)?;
    let plant = view.master.plant;
    let place = |place: Option<Place>| -> Value<'static> { place.map(|place| keys::location(view.master, place)).into() };
    for movement in &view.plant.log.movements {
        let document = movement.document;
        let (code, doc) = match movement.kind {
            MoveKind::Receipt => (101i64, Some(receipt_no(plant, document))),
            MoveKind::Transfer => (311, None),
            MoveKind::Issue => (261, Some(keys::work_order(plant, document).to_string())),
            MoveKind::Production => (131, Some(keys::work_order(plant, document).to_string())),
            MoveKind::Shipment => (601, Some(delivery_note(plant, document))),
            MoveKind::Adjustment => (701, (document > 0).then(|| count_no(plant, document))),
        };
        sink.row(
            movement.at,
            &[
                keys::serial(plant, movement.id).into(),
                code.into(),
                article(view, movement.item),
                keys::lot_of(view.master, movement.item, movement.lot).into(),
                movement.quantity.into(),
                place(movement.from),
                place(movement.to),
                Value::At(movement.at),
                doc.into(),
            ],
        )?;
    }
    Ok(())
}

fn count_no(plant: u32, count: u32) -> String {
    format!("C{plant:02}{count:04}")
}

/// Number of a receipt; its only line is `receipt|1`.
pub fn receipt_no(plant: u32, receipt: u32) -> String {
    format!("GR{plant:02}{receipt:06}")
}

fn receipts(view: &View<'_>, sink: &mut dyn Sink) -> Result<(), DemoError> {
    sink.table(&RECEIPT)?;
    for receipt in &view.plant.log.receipts {
        sink.row(
            receipt.at,
            &[
                format!("{}|1", receipt_no(view.master.plant, receipt.id)).into(),
                keys::purchase_order(view.master.plant, receipt.order).to_string().into(),
                i64::from(receipt.line).into(),
                vendor(view, receipt.supplier).into(),
                article(view, receipt.item),
                view.master.site_code(0).into(),
                keys::lot_of(view.master, receipt.item, receipt.lot).into(),
                receipt.supplier_lot.as_str().into(),
                receipt.quantity.into(),
                Value::At(receipt.at),
            ],
        )?;
    }
    Ok(())
}

fn shipments(view: &View<'_>, sink: &mut dyn Sink) -> Result<(), DemoError> {
    sink.table(&SHIPMENT)?;
    for shipment in &view.plant.shipments {
        let arrived = shipment.delivered <= view.plant.now;
        let changed = if arrived { shipment.delivered } else { shipment.at };
        if !view.news(changed) {
            continue;
        }
        sink.row(
            changed,
            &[
                format!("{}|{}", delivery_note(view.master.plant, shipment.id), shipment.line).into(),
                keys::sales_order(view.master.plant, shipment.order).to_string().into(),
                i64::from(shipment.order_line).into(),
                article(view, shipment.item),
                view.master.site_code(usize::from(shipment.site)).into(),
                keys::lot_of(view.master, shipment.item, shipment.lot).into(),
                shipment.quantity.into(),
                Value::At(shipment.at),
                if arrived { Value::At(shipment.delivered) } else { Value::Null },
            ],
        )?;
    }
    Ok(())
}

fn counts(view: &View<'_>, sink: &mut dyn Sink) -> Result<(), DemoError> {
    sink.table(&COUNT)?;
    for count in &view.plant.log.counts {
        sink.row(
            count.at,
            &[
                format!("{}|{}", count_no(view.master.plant, count.id), count.line).into(),
                keys::location(view.master, count.place).into(),
                article(view, count.item),
                keys::lot_of(view.master, count.item, count.lot).into(),
                count.expected.into(),
                count.counted.into(),
                Value::At(count.at),
            ],
        )?;
    }
    Ok(())
}
