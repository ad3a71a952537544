//! Keys of the products: the same record has another one in each.

use super::super::plant::{Bin, Lot, Place};
use crate::demo::master::{Item, Master, Unit};

/// Plants that keys have room for.
pub const PLANTS_MAX: u32 = 90;

/// The number printed on a customer's order; the ERP keeps it with leading zeros.
pub fn sales_order(plant: u32, number: u32) -> u64 {
    100_000_000 + u64::from(plant) * 1_000_000 + u64::from(number)
}

pub fn purchase_order(plant: u32, number: u32) -> u64 {
    400_000_000 + u64::from(plant) * 1_000_000 + u64::from(number)
}

pub fn work_order(plant: u32, number: u32) -> u64 {
    700_000_000 + u64::from(plant) * 1_000_000 + u64::from(number)
}

/// What a number is in the ERP: text of ten digits.
pub fn padded(number: impl Into<u64>) -> String {
    format!("{:010}", number.into())
}

/// A number of a record that is only known within its product.
pub fn serial(plant: u32, number: u32) -> i64 {
    i64::from(plant) * 10_000_000 + i64::from(number)
}

pub fn lot(plant: u32, number: u32) -> String {
    format!("L{plant:02}{number:06}")
}

/// The lot's number where the item is kept by lot.
pub fn lot_of(master: &Master, item: u16, number: u32) -> Option<String> {
    master.items[usize::from(item)].lots.then(|| lot(master.plant, number))
}

pub fn location(master: &Master, place: Place) -> String {
    let bin = match place.bin {
        Bin::Rack1 => "R1",
        Bin::Rack2 => "R2",
        Bin::Rack3 => "R3",
        Bin::Quarantine => "QA",
    };
    format!("{}-{bin}", master.site_code(usize::from(place.site)))
}

pub fn article(item: &Item) -> String {
    format!("A-{}", item.number)
}

/// The key of a stock record in the WMS.
pub fn stock(master: &Master, place: Place, item: u16, lot: u32) -> String {
    let what = lot_of(master, item, lot).unwrap_or_else(|| article(&master.items[usize::from(item)]));
    format!("{}|{what}", location(master, place))
}

/// The item's number in the MES.
pub fn mes_item(item: &Item) -> i64 {
    i64::from(item.number) - 95_000
}

pub fn erp_unit(item: &Item) -> &'static str {
    match item.unit {
        Unit::Piece => "ST",
        Unit::Gram => "KG",
    }
}

/// Base units as thousandths of the ERP's stock unit.
pub fn thousandths(item: &Item, quantity: i64) -> i64 {
    quantity * 1_000 / item.stock_factor()
}

/// The lot number that a supplier printed.
pub fn supplier_lot(lot: &Lot) -> Option<&str> {
    lot.supplier_lot.as_deref()
}
