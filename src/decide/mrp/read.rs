//! Reads the inputs of `mrp` into a [`Problem`] that does not depend on the order of their rows.

use std::collections::HashMap;

use arrow::array::{Date32Array, Decimal128Array, Int64Array, StringArray};

use crate::decide::DecideError;
use crate::decide::columns::{Column, Table};
use crate::decide::quantity::{Date, Day, Micro, Units, days};

use super::identity::Proposal;
use super::net::{Lots, Policy, Requirement};

type Text<'t> = Column<'t, StringArray>;
type Quantity<'t> = Column<'t, Decimal128Array>;
type Bigint<'t> = Column<'t, Int64Array>;

/// Reason of a requirement for an item that is not planned at the site.
pub const NO_ITEM_SITE: &str = "no item_site";

/// Demand, supply or proposals: an id, a place, a day and a quantity.
struct Movements<'t> {
    table: &'t Table<'t>,
    id: Text<'t>,
    item: Text<'t>,
    site: Text<'t>,
    due: Column<'t, Date32Array>,
    quantity: Quantity<'t>,
}

/// The columns of all inputs.
pub struct Source<'t> {
    demand: Movements<'t>,
    supply: Movements<'t>,
    proposals: Movements<'t>,
    items: Items<'t>,
    bom: Bom<'t>,
}

struct Items<'t> {
    table: &'t Table<'t>,
    item: Text<'t>,
    site: Text<'t>,
    make_buy: Text<'t>,
    lead: Bigint<'t>,
    rule: Text<'t>,
    lot_min: Quantity<'t>,
    lot_multiple: Quantity<'t>,
    safety: Quantity<'t>,
    zone: Bigint<'t>,
}

struct Bom<'t> {
    table: &'t Table<'t>,
    item: Text<'t>,
    component: Text<'t>,
    per: Quantity<'t>,
}

/// One item at one site.
pub struct Node<'t> {
    pub item: u32,
    pub site: u32,
    /// How it is planned, or why it cannot be.
    pub policy: Result<Policy, String>,
    pub requirements: Vec<Requirement<'t>>,
    pub supply: Vec<(Day, Micro)>,
    pub open: Vec<Proposal<'t>>,
}

/// A row of the input that cannot be used.
pub struct Fault<'t> {
    pub item: &'t str,
    pub site: Option<&'t str>,
    pub due: Option<Day>,
    pub peg: Option<&'t str>,
    pub reason: String,
}

/// What is to be planned. Items and sites are numbers in the order of their names.
pub struct Problem<'t> {
    pub function: &'static str,
    pub today: Day,
    pub items: Vec<&'t str>,
    pub sites: Vec<&'t str>,
    pub nodes: Vec<Node<'t>>,
    /// Components of each item, by component.
    pub bom: Vec<Vec<(u32, Micro)>>,
    pub faults: Vec<Fault<'t>>,
}

impl<'t> Movements<'t> {
    fn new(table: &'t Table<'t>, id: &'static str) -> Result<Self, DecideError> {
        Ok(Self {
            table,
            id: table.text(id)?,
            item: table.text("item_id")?,
            site: table.text("site_id")?,
            due: table.date("due")?,
            quantity: table.quantity("quantity")?,
        })
    }
}

impl<'t> Source<'t> {
    pub fn new([demand, supply, items, bom, proposals]: &'t [Table<'t>; 5]) -> Result<Self, DecideError> {
        Ok(Self {
            demand: Movements::new(demand, "demand_id")?,
            supply: Movements::new(supply, "supply_id")?,
            proposals: Movements::new(proposals, "proposal_id")?,
            items: Items {
                table: items,
                item: items.text("item_id")?,
                site: items.text("site_id")?,
                make_buy: items.text("make_buy")?,
                lead: items.bigint("lead_time_days")?,
                rule: items.text("lot_rule")?,
                lot_min: items.quantity("lot_min")?,
                lot_multiple: items.quantity("lot_multiple")?,
                safety: items.quantity("safety_stock")?,
                zone: items.bigint("zone_days")?,
            },
            bom: Bom {
                table: bom,
                item: bom.text("item_id")?,
                component: bom.text("component_id")?,
                per: bom.quantity("quantity_per")?,
            },
        })
    }
}

/// Names in order, and the number of each.
struct Names<'t> {
    sorted: Vec<&'t str>,
    number: HashMap<&'t str, u32>,
}

impl<'t> Names<'t> {
    fn of<'c: 't>(columns: &[&'c Text<'_>], tables: &[&Table<'_>]) -> Result<Self, DecideError> {
        let mut number: HashMap<&str, u32> = HashMap::new();
        for (column, table) in columns.iter().zip(tables) {
            for row in 0..table.len() {
                number.insert(column.need(row)?, 0);
            }
        }
        let mut sorted: Vec<&str> = number.keys().copied().collect();
        sorted.sort_unstable();
        number = sorted.iter().zip(0..).map(|(name, number)| (*name, number)).collect();
        Ok(Self { sorted, number })
    }

    /// Only for names that were given to [`Names::of`].
    fn get(&self, name: &str) -> u32 {
        self.number.get(name).copied().unwrap_or(u32::MAX)
    }
}

/// The nodes while rows are being added to them.
struct Nodes<'t> {
    items: Names<'t>,
    sites: Names<'t>,
    nodes: Vec<Node<'t>>,
    at: HashMap<(u32, u32), usize>,
}

impl<'t> Nodes<'t> {
    fn node(&mut self, item: &str, site: &str) -> &mut Node<'t> {
        let (item, site) = (self.items.get(item), self.sites.get(site));
        let at = *self.at.entry((item, site)).or_insert_with(|| {
            let policy = Err(NO_ITEM_SITE.to_owned());
            self.nodes.push(Node { item, site, policy, requirements: Vec::new(), supply: Vec::new(), open: Vec::new() });
            self.nodes.len() - 1
        });
        &mut self.nodes[at]
    }
}

/// Reads everything. Null in a column that is needed, a key given twice and numbers that do not fit are errors.
pub fn problem<'t>(function: &'static str, source: &'t Source<'_>, today: Day) -> Result<Problem<'t>, DecideError> {
    let Source { demand, supply, proposals, items, bom } = source;
    let item_columns = [&items.item, &demand.item, &supply.item, &proposals.item, &bom.item, &bom.component];
    let item_tables = [items.table, demand.table, supply.table, proposals.table, bom.table, bom.table];
    let site_columns = [&items.site, &demand.site, &supply.site, &proposals.site];
    let mut nodes = Nodes {
        items: Names::of(&item_columns, &item_tables)?,
        sites: Names::of(&site_columns, &item_tables[..4])?,
        nodes: Vec::with_capacity(items.table.len()),
        at: HashMap::with_capacity(items.table.len()),
    };
    let mut faults = Vec::new();
    read_items(items, &mut nodes)?;
    read_demand(demand, &mut nodes, &mut faults)?;
    for row in 0..supply.table.len() {
        let quantity = (supply.due.need(row)?, supply.quantity.need(row)?);
        nodes.node(supply.item.need(row)?, supply.site.need(row)?).supply.push(quantity);
    }
    read_proposals(proposals, &mut nodes, &mut faults)?;
    let bom = read_bom(bom, &nodes.items, &mut faults)?;
    for node in &mut nodes.nodes {
        node.supply.sort_unstable();
    }
    Ok(Problem { function, today, items: nodes.items.sorted, sites: nodes.sites.sorted, nodes: nodes.nodes, bom, faults })
}

fn read_items<'t>(items: &'t Items<'_>, nodes: &mut Nodes<'t>) -> Result<(), DecideError> {
    for row in 0..items.table.len() {
        let before = nodes.nodes.len();
        let policy = policy(items, row)?;
        nodes.node(items.item.need(row)?, items.site.need(row)?).policy = policy;
        if nodes.nodes.len() == before {
            return Err(items.table.duplicate(row));
        }
    }
    Ok(())
}

/// How an item is planned; the inner error is a reason for people.
fn policy(items: &Items<'_>, row: usize) -> Result<Result<Policy, String>, DecideError> {
    let (make_buy, rule) = (items.make_buy.need(row)?, items.rule.need(row)?);
    let lead = items.lead.need(row)?;
    let (min, multiple) = (items.lot_min.get(row), items.lot_multiple.get(row));
    let (safety, zone) = (items.safety.get(row).unwrap_or(0), items.zone.get(row).unwrap_or(0));
    Ok(resolve(make_buy, lead, rule, min, multiple, safety, zone))
}

fn resolve(
    make_buy: &str,
    lead: i64,
    rule: &str,
    min: Option<Micro>,
    multiple: Option<Micro>,
    safety: Micro,
    zone: i64,
) -> Result<Policy, String> {
    let make = match make_buy {
        "make" => true,
        "buy" => false,
        other => return Err(format!("make_buy is '{other}', expected 'make' or 'buy'")),
    };
    for (what, quantity) in [("lot_min", min.unwrap_or(0)), ("lot_multiple", multiple.unwrap_or(0)), ("safety_stock", safety)] {
        if quantity < 0 {
            return Err(format!("{what} is {}, less than 0", Units(quantity)));
        }
    }
    let positive = |quantity: Option<Micro>| quantity.filter(|quantity| *quantity > 0);
    let free = Lots::Free { min: min.unwrap_or(0), multiple: positive(multiple) };
    let lots = match rule {
        "lot-for-lot" => free,
        "multiple" if positive(multiple).is_none() => return Err("lot_rule is 'multiple' without a lot_multiple".into()),
        "multiple" => free,
        "fixed" => Lots::Fixed(positive(min).or(positive(multiple)).ok_or("lot_rule is 'fixed' without a lot_min")?),
        other => return Err(format!("lot_rule is '{other}', expected 'lot-for-lot', 'fixed' or 'multiple'")),
    };
    Ok(Policy { make, lead: days("a lead time", lead)?, lots, safety, zone: days("a frozen zone", zone)? })
}

fn read_demand<'t>(demand: &'t Movements<'_>, nodes: &mut Nodes<'t>, faults: &mut Vec<Fault<'t>>) -> Result<(), DecideError> {
    for row in 0..demand.table.len() {
        let (id, item, site) = (demand.id.need(row)?, demand.item.need(row)?, demand.site.need(row)?);
        let (day, quantity) = (demand.due.need(row)?, demand.quantity.need(row)?);
        if quantity > 0 {
            nodes.node(item, site).requirements.push(Requirement { day, peg: Some(id), parent: None, quantity });
        } else if quantity < 0 {
            let reason = format!("demand {id} of {} on {} is not used: its quantity is negative", Units(quantity), Date(day));
            faults.push(Fault { item, site: Some(site), due: Some(day), peg: Some(id), reason });
        }
    }
    Ok(())
}

fn read_proposals<'t>(
    proposals: &'t Movements<'_>,
    nodes: &mut Nodes<'t>,
    faults: &mut Vec<Fault<'t>>,
) -> Result<(), DecideError> {
    let mut seen = std::collections::HashSet::with_capacity(proposals.table.len());
    for row in 0..proposals.table.len() {
        let (id, item, site) = (proposals.id.need(row)?, proposals.item.need(row)?, proposals.site.need(row)?);
        let (due, quantity) = (proposals.due.need(row)?, proposals.quantity.need(row)?);
        if !seen.insert(id) {
            return Err(proposals.table.duplicate(row));
        }
        if quantity < 0 {
            let reason = format!("proposal {id} of {} on {} is not used: its quantity is negative", Units(quantity), Date(due));
            faults.push(Fault { item, site: Some(site), due: Some(due), peg: None, reason });
        } else {
            nodes.node(item, site).open.push(Proposal { id: id.into(), due, quantity });
        }
    }
    Ok(())
}

fn read_bom<'t>(bom: &'t Bom<'_>, items: &Names<'t>, faults: &mut Vec<Fault<'t>>) -> Result<Vec<Vec<(u32, Micro)>>, DecideError> {
    let mut components = vec![Vec::new(); items.sorted.len()];
    for row in 0..bom.table.len() {
        let (item, component, per) = (bom.item.need(row)?, bom.component.need(row)?, bom.per.need(row)?);
        if per > 0 {
            components[items.get(item) as usize].push((items.get(component), per));
        } else if per < 0 {
            let reason = format!("component {component} is not used: quantity_per is {}, less than 0", Units(per));
            faults.push(Fault { item, site: None, due: None, peg: None, reason });
        }
    }
    for lines in &mut components {
        lines.sort_unstable();
        // several lines of one component are one requirement
        lines.dedup_by(|next, first| {
            let same = next.0 == first.0;
            first.1 += if same { next.1 } else { 0 };
            same
        });
    }
    Ok(components)
}
