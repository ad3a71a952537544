//! What people and the hub changed in the databases since the last day: the plant works on from that.

use std::collections::BTreeSet;

use chrono::NaiveDate;

use super::master::Master;
use super::plant::{Plant, Quality, StepState};
use super::product::keys;
use super::sim::day_no;

/// Rows of a query, each cell as text.
pub type Rows = Vec<Vec<Option<String>>>;

/// What is asked of each system: name, table, query.
pub const QUERIES: [(&str, &str, &str); 4] = [
    (
        "erp",
        "AUFP",
        r#"select "AUFNR", "POSNR", "EINT", "ERSTZUS", "ZUSAGE" from "AUFP" where "STATUS" = '20' and "ZUSAGE" is not null"#,
    ),
    (
        "erp",
        "BANF",
        r#"select "BANFN", "EXTREF", "MATNR", "MENGE", "BEDT", "LFNR" from "BANF"
           where "EXTREF" is not null and "STATUS" in ('10', '20') order by "BANFN""#,
    ),
    (
        "mes",
        "job_step",
        r#"select job_id, step, plan_start_ms, plan_end_ms from job_step
           where state in (0, 1) and plan_start_ms is not null and plan_end_ms is not null"#,
    ),
    ("wms", "lot", "select lot_no from lot where qs = 'S'"),
];

/// A purchase request of the hub that no order was made of yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wish {
    pub request: i64,
    pub proposal: String,
    pub item: usize,
    /// In base units.
    pub quantity: i64,
    pub needed: i32,
    pub supplier: Option<usize>,
}

/// The answers to [`QUERIES`].
#[derive(Debug, Default)]
pub struct Feedback(pub [Rows; 4]);

impl Feedback {
    /// Takes over promises, planned times and blocked lots; gives the purchase requests. Rows that cannot be read are left out: they are
    /// somebody else's.
    pub fn take_over(&self, master: &Master, plant: &mut Plant) -> Vec<Wish> {
        let [promises, requests, steps, blocked] = &self.0;
        for row in promises {
            promise(master, plant, row);
        }
        for row in steps {
            planned(master, plant, row);
        }
        let blocked: BTreeSet<&str> = blocked.iter().filter_map(|row| row.first()?.as_deref()).collect();
        for lot in plant.lots.values_mut() {
            let held = blocked.contains(keys::lot(master.plant, lot.id).as_str());
            lot.quality = match (lot.quality, held) {
                (Quality::Free | Quality::Inspection, true) => Quality::Blocked,
                (Quality::Blocked, false) => Quality::Free,
                (quality, _) => quality,
            };
        }
        requests.iter().filter_map(|row| wish(master, row)).collect()
    }
}

fn number<T: std::str::FromStr>(row: &[Option<String>], index: usize) -> Option<T> {
    row.get(index)?.as_deref()?.parse().ok()
}

fn day(row: &[Option<String>], index: usize) -> Option<i32> {
    let text = row.get(index)?.as_deref()?;
    text.get(..10)?.parse::<NaiveDate>().ok().map(day_no)
}

/// The plant's own number in a key that begins at `first` for each plant's million.
fn own(master: &Master, key: u64, first: u64) -> Option<u32> {
    let number = key.checked_sub(first + u64::from(master.plant) * 1_000_000)?;
    (number < 1_000_000).then_some(number as u32)
}

fn promise(master: &Master, plant: &mut Plant, row: &[Option<String>]) -> Option<()> {
    let order = own(master, number(row, 0)?, keys::sales_order(0, 0))?;
    let (position, schedule): (u16, u16) = (number(row, 1)?, number(row, 2)?);
    let (first, promised) = (day(row, 3), day(row, 4)?);
    let line = plant.sales.get_mut(&order)?.iter_mut().find(|line| (line.line, line.schedule) == (position, schedule))?;
    (line.first_promised, line.promised) = (first.or(Some(promised)), Some(promised));
    Some(())
}

fn planned(master: &Master, plant: &mut Plant, row: &[Option<String>]) -> Option<()> {
    let job: i64 = number(row, 0)?;
    let order = u32::try_from(job - keys::serial(master.plant, 0)).ok()?;
    let index = usize::try_from(number::<i64>(row, 1)? / 10 - 1).ok()?;
    let step = plant.work_orders.get_mut(&order)?.steps.get_mut(index)?;
    if matches!(step.state, StepState::Pending | StepState::Ready) {
        step.planned = (number::<i64>(row, 2)? / 1_000, number::<i64>(row, 3)? / 1_000);
    }
    Some(())
}

fn wish(master: &Master, row: &[Option<String>]) -> Option<Wish> {
    let matnr: u32 = number(row, 2)?;
    let item = master.items.iter().position(|item| item.number == matnr)?;
    let thousandths = thousandths(row.get(3)?.as_deref()?)?;
    let quantity = thousandths.checked_mul(master.items[item].stock_factor())? / 1_000;
    let supplier = number::<u32>(row, 5).and_then(|key| master.suppliers.iter().position(|supplier| supplier.number == key));
    let proposal = row.get(1)?.clone()?;
    (quantity > 0).then_some(Wish { request: number(row, 0)?, proposal, item, quantity, needed: day(row, 4)?, supplier })
}

/// A decimal as whole thousandths; digits behind are cut.
fn thousandths(text: &str) -> Option<i64> {
    let (whole, rest) = text.split_once('.').unwrap_or((text, ""));
    let digits: String = rest.chars().chain("000".chars()).take(3).collect();
    whole.parse::<i64>().ok()?.checked_mul(1_000)?.checked_add(digits.parse::<i64>().ok()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decimals_are_read_exactly() {
        assert_eq!(thousandths("12"), Some(12_000));
        assert_eq!(thousandths("12.5"), Some(12_500));
        assert_eq!(thousandths("0.0019"), Some(1));
        assert_eq!(thousandths("x"), None);
    }
}
