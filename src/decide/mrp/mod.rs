//! `mrp` and `net_requirements`: time-phased material requirements planning over a multi-level bill of materials.
//!
//! Terms are those of the APICS dictionary. Buckets are calendar days in UTC, quantities are in the item's stock unit.
//!
//! 1. *Low-level codes* order the items, so that a component is planned after all its parents ([`levels`]).
//! 2. *Netting*, for each item and site in date order: projected available = supply − gross requirements; where it would fall below the
//!    safety stock, the difference is the *net requirement* and the lot rule makes it a planned order ([`net`]). Nothing planned today can
//!    arrive before today + lead time, so everything up to that day is one bucket; supply that arrives within it is used first.
//!    A planned order is due when it is needed, but never before that day; the difference is `late_days`.
//! 3. *Identity*: planned orders take over the ids of open proposals, and their dates and quantities within a dead band ([`identity`]).
//! 4. *Explosion*: each made order requires its components at its start, at the same site, in the kept quantity and date.
//!
//! Supply counts as it is, negative stock included. What cannot be planned is a row with `action = 'error'`, without `make_buy` and `quantity`, and
//! the cause as `reason` (`no item_site` where the item is not planned at that site). A bill of materials that runs in a circle stops the function.

mod identity;
mod levels;
mod net;
mod output;
mod plan;
mod read;
#[cfg(test)]
mod tests;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;

use super::columns::tables;
use super::quantity::today;
use super::{Context, DecideError, Decision, Input};

const ITEM: (&str, &str) = ("item_id", "text");
const SITE: (&str, &str) = ("site_id", "text");
const DUE: (&str, &str) = ("due", "date");
const QUANTITY: (&str, &str) = ("quantity", "decimal");

static INPUTS: [Input; 5] = [
    Input { name: "demand", columns: &[("demand_id", "text"), ITEM, SITE, DUE, QUANTITY] },
    Input { name: "supply", columns: &[("supply_id", "text"), ITEM, SITE, DUE, QUANTITY] },
    Input {
        name: "items",
        columns: &[
            ITEM,
            SITE,
            ("make_buy", "text"),
            ("lead_time_days", "bigint"),
            ("lot_rule", "text"),
            ("lot_min", "decimal"),
            ("lot_multiple", "decimal"),
            ("safety_stock", "decimal"),
            ("zone_days", "bigint"),
        ],
    },
    Input { name: "bom", columns: &[ITEM, ("component_id", "text"), ("quantity_per", "decimal")] },
    Input { name: "proposals", columns: &[("proposal_id", "text"), ITEM, SITE, DUE, QUANTITY] },
];

/// Planned orders, one row each.
pub struct Mrp;

/// The grid behind [`Mrp`]: what happens to the projected stock of each item and site, day by day.
pub struct NetRequirements;

impl Decision for Mrp {
    fn name(&self) -> &'static str {
        "mrp"
    }

    fn description(&self) -> &'static str {
        "Planned orders for all demand, level by level of the bill of materials, keeping the identity of open proposals"
    }

    fn version(&self) -> u32 {
        1
    }

    fn inputs(&self) -> &'static [Input] {
        &INPUTS
    }

    fn schema(&self) -> SchemaRef {
        super::output::schema(output::ORDERS)
    }

    fn identities(&self) -> &'static [(&'static str, &'static str, &'static str)] {
        &[("item_id", "items", "item_id"), ("site_id", "items", "site_id"), ("make_buy", "items", "make_buy")]
    }

    fn decide(&self, batches: &[RecordBatch], context: &Context) -> Result<RecordBatch, DecideError> {
        let tables = tables(self.name(), &INPUTS, batches)?;
        let source = read::Source::new(&tables)?;
        let plan = plan::plan(read::problem(self.name(), &source, today(context))?)?;
        output::orders(&plan)
    }
}

impl Decision for NetRequirements {
    fn name(&self) -> &'static str {
        "net_requirements"
    }

    fn description(&self) -> &'static str {
        "Gross requirements, receipts, planned orders and projected stock of each item and site, for the days on which something happens"
    }

    fn version(&self) -> u32 {
        1
    }

    fn inputs(&self) -> &'static [Input] {
        &INPUTS
    }

    fn schema(&self) -> SchemaRef {
        super::output::schema(output::GRID)
    }

    fn identities(&self) -> &'static [(&'static str, &'static str, &'static str)] {
        &[("item_id", "items", "item_id"), ("site_id", "items", "site_id")]
    }

    fn decide(&self, batches: &[RecordBatch], context: &Context) -> Result<RecordBatch, DecideError> {
        let tables = tables(self.name(), &INPUTS, batches)?;
        let source = read::Source::new(&tables)?;
        let plan = plan::plan(read::problem(self.name(), &source, today(context))?)?;
        output::grid(&plan)
    }
}
