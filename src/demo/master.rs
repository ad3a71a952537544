//! The plant's master data: items with three levels of bills of material, routings, work centres, suppliers, customers, sites.
//!
//! Everything follows from (seed, plant, first day). Quantities are whole base units: pieces, or grams for bulk items.

use chrono::{Days, NaiveDate};

use super::bill;
use super::calendar::{PATTERNS, Pattern, Shifts};
use super::dice::Dice;
use super::names;

/// Purposes of dice, so that no two sequences are the same.
pub const DICE_MASTER: u32 = 1;
pub const DICE_PARTNERS: u32 = 2;

pub const FINISHED: usize = 40;
pub const SEMI: usize = 80;
pub const BASE: usize = 60;
pub const BOUGHT: usize = 220;
pub const ITEMS: usize = FINISHED + SEMI + BASE + BOUGHT;
const SUPPLIERS: usize = 60;
const CUSTOMERS: usize = 120;
/// New order lines on a working day.
pub const LINES_PER_DAY: i64 = 51;
/// Days past the present for which shifts are known.
pub const SHIFT_DAYS_AHEAD: u64 = 400;

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    Finished,
    Semi,
    Base,
    Bought,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unit {
    Piece,
    Gram,
}

/// One component: `per` of its base units for each `base` units of the parent.
#[derive(Debug, Clone)]
pub struct Component {
    pub item: usize,
    pub per: i64,
    pub base: i64,
    /// Planned loss, in per mille; on top of `per`.
    pub loss: i64,
}

impl Component {
    /// What `quantity` of the parent needs, rounded up to a whole base unit.
    pub fn needed(&self, quantity: i64) -> i64 {
        let exact = i128::from(quantity) * i128::from(self.per) * i128::from(1_000 + self.loss);
        let divisor = i128::from(self.base) * 1_000;
        ((exact + divisor - 1) / divisor) as i64
    }
}

#[derive(Debug, Clone)]
pub struct Step {
    pub center: usize,
    pub setup_s: i64,
    /// Microseconds for each base unit.
    pub run_us: i64,
}

#[derive(Debug, Clone)]
pub struct Item {
    pub level: Level,
    /// The ERP's number, printed with ten digits there and without leading zeros elsewhere.
    pub number: u32,
    pub name: String,
    pub unit: Unit,
    /// Set-up family, 0 to 5.
    pub family: usize,
    pub lots: bool,
    pub shelf_life_days: Option<i64>,
    pub gtin: Option<String>,
    /// Standard cost in cents for one piece or one kilogram.
    pub cost: i64,
    /// Pieces in one sales unit; 1 where it is sold by the piece.
    pub carton: i64,
    pub components: Vec<Component>,
    pub steps: Vec<Step>,
    /// Expected need on a working day, in thousandths of a base unit.
    pub daily: i64,
    /// Usual quantity of one order, and what it is a multiple of.
    pub lot: i64,
    pub multiple: i64,
    /// Position below which the plant reorders.
    pub reorder: i64,
    pub safety: i64,
    /// Calendar days from order to stock.
    pub lead_days: i64,
}

impl Item {
    /// Base units in one unit of the ERP's stock unit: grams are booked in kilograms.
    pub fn stock_factor(&self) -> i64 {
        match self.unit {
            Unit::Piece => 1,
            Unit::Gram => 1_000,
        }
    }
}

#[derive(Debug, Clone)]
pub struct Center {
    /// The ERP's code; the MES has a number and a code of its own.
    pub code: String,
    pub mes_code: String,
    pub name: &'static str,
    pub pattern: Pattern,
    /// Breakdowns in per mille of operations.
    pub breakdowns: i64,
}

/// An offer of one supplier for one item.
#[derive(Debug, Clone)]
pub struct Offer {
    pub item: usize,
    pub supplier: usize,
    /// Hundredths of a cent for one piece or one kilogram.
    pub price: i64,
    pub lead_days: i64,
    pub share: i64,
}

#[derive(Debug, Clone)]
pub struct Supplier {
    pub number: u32,
    pub name: String,
    pub city: &'static str,
    pub country: &'static str,
    pub tax_id: String,
    /// Deliveries that come late, in per mille, and by how many days at most.
    pub late: i64,
    pub late_days: i64,
    /// Lots with a hidden fault, in per mille.
    pub faults: i64,
    pub blocked: bool,
}

#[derive(Debug, Clone)]
pub struct Customer {
    pub number: u32,
    pub name: String,
    pub street: String,
    pub city: &'static str,
    pub country: &'static str,
    pub tax_id: Option<String>,
    /// Whether the CRM knows the ERP's number.
    pub linked: bool,
    pub segment: &'static str,
    pub priority: i64,
    pub weight: i64,
    /// Index of the site that delivers.
    pub site: usize,
    /// How a second, duplicate account of the CRM spells the name.
    pub twin: Option<String>,
}

/// One plant with its warehouse.
pub struct Master {
    pub seed: u64,
    pub plant: u32,
    /// The first day of the history.
    pub first_day: NaiveDate,
    pub items: Vec<Item>,
    pub centers: Vec<Center>,
    pub suppliers: Vec<Supplier>,
    pub offers: Vec<Offer>,
    /// Offers of each item.
    pub offers_of: Vec<Vec<usize>>,
    pub customers: Vec<Customer>,
    /// The supplier of the most used parts: the one whose bad lots matter.
    pub incident_supplier: usize,
    shifts: Vec<Shifts>,
}

impl Master {
    /// The master data of plant number `plant`, with shifts from `first_day` to well past `present`.
    pub fn new(seed: u64, plant: u32, first_day: NaiveDate, present: NaiveDate) -> Self {
        let mut dice = Dice::new(seed, plant, DICE_MASTER, 0);
        let centers = centers(plant);
        let mut items = bill::items(plant, &mut dice);
        bill::explode(&mut items);
        bill::lots_and_times(&mut items, &centers, &mut dice);
        let mut partners = Dice::new(seed, plant, DICE_PARTNERS, 0);
        let suppliers = suppliers(plant, &mut partners);
        let offers = offers(&mut items, suppliers.len(), &mut partners);
        bill::reorder_points(&mut items);
        let mut offers_of = vec![Vec::new(); items.len()];
        for (index, offer) in offers.iter().enumerate() {
            offers_of[offer.item].push(index);
        }
        let customers = customers(plant, &mut partners);
        let incident_supplier = most_used(&items, &offers, suppliers.len());
        let last = present + Days::new(SHIFT_DAYS_AHEAD);
        let shifts = PATTERNS.iter().map(|pattern| Shifts::new(*pattern, first_day - Days::new(3), last)).collect();
        Self { seed, plant, first_day, items, centers, suppliers, offers, offers_of, customers, incident_supplier, shifts }
    }

    pub fn shifts(&self, pattern: Pattern) -> &Shifts {
        &self.shifts[pattern as usize]
    }

    pub fn shifts_of(&self, center: usize) -> &Shifts {
        self.shifts(self.centers[center].pattern)
    }

    /// The ERP's key of site 0 (plant) or 1 (distribution warehouse).
    pub fn site_code(&self, site: usize) -> String {
        format!("{}", 1_000 + u64::from(self.plant) * 100 + site as u64 * 10)
    }
}

fn centers(plant: u32) -> Vec<Center> {
    use Pattern::{One, Three, Two};
    const CENTERS: [(&str, &str, Pattern, i64); 12] = [
        ("MIX", "Mixer", Three, 25),
        ("EXT", "Extruder", Three, 45),
        ("PR1", "Press 1", Two, 30),
        ("PR2", "Press 2", Two, 30),
        ("MI1", "Milling 1", Two, 35),
        ("MI2", "Milling 2", Two, 35),
        ("DRL", "Drilling", Two, 20),
        ("WLD", "Welding cell", Two, 50),
        ("COA", "Coating line", Three, 40),
        ("AS1", "Assembly 1", Two, 10),
        ("AS2", "Assembly 2", Two, 10),
        ("PCK", "Test and packing", One, 10),
    ];
    CENTERS
        .iter()
        .enumerate()
        .map(|(index, (code, name, pattern, breakdowns))| Center {
            code: format!("{code}{plant:02}"),
            mes_code: format!("wc-{:03}", plant as usize * 12 + index + 1),
            name,
            pattern: *pattern,
            breakdowns: *breakdowns,
        })
        .collect()
}

fn suppliers(plant: u32, dice: &mut Dice) -> Vec<Supplier> {
    (0..SUPPLIERS)
        .map(|index| {
            let number = 700_000 + plant * 1_000 + index as u32;
            let (city, country) = *dice.pick(names::CITIES);
            // Most suppliers are good, a few are late, and a few of them deliver bad lots.
            let kind = dice.weighted(&[70, 20, 10]);
            Supplier {
                number,
                name: names::supplier(plant as usize * SUPPLIERS + index),
                city,
                country,
                tax_id: names::tax_id(country, number),
                late: [60, 280, 420][kind] + dice.below(60),
                late_days: [5, 12, 20][kind],
                faults: [2, 5, 25][kind],
                blocked: index == SUPPLIERS - 1,
            }
        })
        .collect()
}

/// Who sells each bought item, and at what price. Sets the item's planned lead time to the longest of its usual sources.
fn offers(items: &mut [Item], suppliers: usize, dice: &mut Dice) -> Vec<Offer> {
    let mut offers = Vec::new();
    for (index, item) in items.iter_mut().enumerate().filter(|(_, item)| item.level == Level::Bought) {
        let count = [1, 2, 3][dice.weighted(&[50, 35, 15])];
        let shares: &[i64] = [&[100][..], &[70, 30][..], &[50, 30, 20][..]][count - 1];
        let first = dice.below(suppliers as i64 - 1) as usize;
        let lead = dice.between(5, 28);
        for (rank, share) in shares.iter().enumerate() {
            let supplier = (first + rank * 7) % (suppliers - 1); // the last one is blocked
            let price = item.cost * 100 * dice.between(92, 112) / 100;
            offers.push(Offer { item: index, supplier, price, lead_days: (lead + dice.between(-3, 5)).max(3), share: *share });
        }
        let longest = offers.iter().filter(|offer| offer.item == index).map(|offer| offer.lead_days).max();
        item.lead_days = longest.unwrap_or(lead);
    }
    offers
}

/// The supplier whose parts go into the most orders.
fn most_used(items: &[Item], offers: &[Offer], suppliers: usize) -> usize {
    let mut used = vec![0i64; suppliers];
    for offer in offers.iter().filter(|offer| items[offer.item].lots) {
        used[offer.supplier] += items[offer.item].daily * 100 / items[offer.item].lot.max(1) * offer.share;
    }
    (0..suppliers).max_by_key(|supplier| used[*supplier]).unwrap_or(0)
}

fn customers(plant: u32, dice: &mut Dice) -> Vec<Customer> {
    (0..CUSTOMERS)
        .map(|index| {
            let number = 100_000 + plant * 1_000 + index as u32;
            let (city, country) = *dice.pick(names::CITIES);
            let name = names::customer(plant as usize * CUSTOMERS + index);
            let priority = 1 + dice.weighted(&[20, 50, 30]) as i64;
            Customer {
                number,
                street: names::street(dice),
                city,
                country,
                tax_id: dice.chance(920).then(|| names::tax_id(country, number)),
                linked: dice.chance(850),
                segment: ["key account", "industry", "trade"][(priority - 1) as usize],
                priority,
                weight: 200 / (3 + index as i64) + 2,
                site: usize::from(dice.chance(300)),
                twin: (index % 30 == 7).then(|| names::respelled(&name)),
                name,
            }
        })
        .collect()
}
