//! The four products of the demo: their tables, and how the plant's records look in them. They do not look alike on purpose.

mod crm;
mod erp;
mod erp_orders;
pub mod keys;
mod mes;
mod wms;

use super::DemoError;
use super::calendar::Seconds;
use super::load::{Sink, Table};
use super::master::Master;
use super::plant::Plant;
use super::sim::Characteristic;

/// What is written: everything, or what changed since.
pub struct View<'a> {
    pub master: &'a Master,
    pub plant: &'a Plant,
    pub characteristics: &'a [Characteristic],
    /// Records that changed at or before this are in the database already; `None` for a new one.
    pub since: Option<Seconds>,
}

impl View<'_> {
    /// Whether a record that changed then has to be written.
    fn news(&self, changed: Seconds) -> bool {
        self.since.is_none_or(|since| changed > since)
    }

    /// Whether the plant is written for the first time, with its master data.
    fn fresh(&self) -> bool {
        self.since.is_none()
    }

    /// When master data was last changed.
    fn born(&self) -> Seconds {
        super::calendar::day_start(self.master.first_day)
    }
}

/// One of the four.
pub struct Product {
    /// Name of the system in loopline.toml, of its file and of its schema.
    pub system: &'static str,
    pub tables: &'static [&'static Table],
    pub write: fn(&View<'_>, &mut dyn Sink) -> Result<(), DemoError>,
}

pub const PRODUCTS: [Product; 4] = [
    Product { system: "crm", tables: crm::TABLES, write: crm::write },
    Product { system: "erp", tables: erp::TABLES, write: erp::write },
    Product { system: "mes", tables: mes::TABLES, write: mes::write },
    Product { system: "wms", tables: wms::TABLES, write: wms::write },
];
