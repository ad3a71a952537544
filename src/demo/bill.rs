//! Bills of material, routings, lot sizes: sized so that each work centre is busy but can keep up.

use super::calendar::DAY;
use super::dice::Dice;
use super::master::{BASE, BOUGHT, Center, Component, FINISHED, ITEMS, Item, LINES_PER_DAY, Level, SEMI, Step, Unit};
use super::names;

const FIRST_SEMI: usize = FINISHED;
const FIRST_BASE: usize = FINISHED + SEMI;
const FIRST_BOUGHT: usize = FIRST_BASE + BASE;
/// Bought items of each kind: the first are bulk, the last packaging.
const BULK: usize = 80;
const PACKAGING: usize = 20;
/// Share of a work centre's time that expected demand takes, in per cent.
const UTILISATION: i64 = 80;
/// Popularity of finished item `i` is 1 / (i + this).
const POPULARITY_OFFSET: i64 = 4;

/// All items with components; demand, lots and times are still empty.
pub fn items(plant: u32, dice: &mut Dice) -> Vec<Item> {
    let mut items: Vec<Item> = (0..ITEMS).map(|index| item(plant, index, dice)).collect();
    let mut bought = Deck::new(FIRST_BOUGHT + BULK..ITEMS - PACKAGING);
    let mut bulk = Deck::new(FIRST_BOUGHT..FIRST_BOUGHT + BULK);
    let mut packaging = Deck::new(ITEMS - PACKAGING..ITEMS);
    let mut semi = Deck::new(FIRST_SEMI..FIRST_BASE);
    let mut base = Deck::new(FIRST_BASE..FIRST_BOUGHT);
    for index in 0..FIRST_BOUGHT {
        let mut components = Vec::new();
        match items[index].level {
            Level::Finished => {
                for _ in 0..2 + usize::from(dice.chance(400)) {
                    components.push(whole(semi.draw(dice), dice.between(1, 2)));
                }
                components.push(whole(bought.draw(dice), dice.between(1, 2)));
                components.push(whole(packaging.draw(dice), 1));
            }
            Level::Semi => {
                for _ in 0..1 + usize::from(dice.chance(300)) {
                    let part = base.draw(dice);
                    let per = if items[part].unit == Unit::Gram { dice.between(20, 150) } else { dice.between(1, 2) };
                    components.push(Component { loss: 10, ..whole(part, per) });
                }
                components.push(whole(bought.draw(dice), dice.between(1, 3)));
            }
            Level::Base if items[index].unit == Unit::Gram => {
                let main = dice.between(600, 800);
                components.push(Component { base: 1_000, loss: 20, ..whole(bulk.draw(dice), main) });
                components.push(Component { base: 1_000, loss: 20, ..whole(bulk.draw(dice), 1_000 - main) });
            }
            _ => components.push(Component { loss: 30, ..whole(bulk.draw(dice), dice.between(40, 400)) }),
        }
        components.sort_by_key(|component| component.item);
        components.dedup_by_key(|component| component.item);
        items[index].components = components;
    }
    costs(&mut items);
    items
}

fn whole(item: usize, per: i64) -> Component {
    Component { item, per, base: 1, loss: 0 }
}

/// Deals each member of a range once, in random order, before any comes again: no item is without use.
struct Deck {
    all: Vec<usize>,
    left: Vec<usize>,
}

impl Deck {
    fn new(range: std::ops::Range<usize>) -> Self {
        Self { all: range.collect(), left: Vec::new() }
    }

    fn draw(&mut self, dice: &mut Dice) -> usize {
        if self.left.is_empty() {
            self.left.clone_from(&self.all);
        }
        let index = dice.below(self.left.len() as i64) as usize;
        self.left.swap_remove(index)
    }
}

fn item(plant: u32, index: usize, dice: &mut Dice) -> Item {
    let number = 100_000 + plant * 1_000 + index as u32;
    let level = match index {
        _ if index < FIRST_SEMI => Level::Finished,
        _ if index < FIRST_BASE => Level::Semi,
        _ if index < FIRST_BOUGHT => Level::Base,
        _ => Level::Bought,
    };
    let packaging = index >= ITEMS - PACKAGING;
    let bulk = match level {
        Level::Base => index.is_multiple_of(3),
        Level::Bought => index < FIRST_BOUGHT + BULK,
        _ => false,
    };
    let word = match level {
        Level::Finished => dice.pick(names::FINISHED),
        Level::Semi => dice.pick(names::SEMI),
        Level::Base if bulk => dice.pick(names::BASE_BULK),
        Level::Base => dice.pick(names::BASE_PIECE),
        Level::Bought if packaging => dice.pick(names::PACKAGING),
        Level::Bought if bulk => dice.pick(names::RAW_BULK),
        Level::Bought => dice.pick(names::RAW_PIECE),
    };
    Item {
        level,
        number,
        name: format!("{word} {}", number % 1_000 + 100),
        unit: if bulk { Unit::Gram } else { Unit::Piece },
        family: index % 6,
        lots: !packaging,
        shelf_life_days: bulk.then(|| *dice.pick(&[270, 365, 540])),
        gtin: (level == Level::Finished || dice.chance(300)).then(|| names::gtin(number)),
        cost: if packaging { dice.between(30, 180) } else { dice.between(150, 2_500) },
        carton: if level == Level::Finished { *dice.pick(&[1, 1, 6, 12]) } else { 1 },
        components: Vec::new(),
        steps: Vec::new(),
        daily: 0,
        lot: 1,
        multiple: 1,
        reorder: 0,
        safety: 0,
        lead_days: 5,
    }
}

/// Standard costs of made items: their components, and a third on top for the work.
fn costs(items: &mut [Item]) {
    for index in (0..FIRST_BOUGHT).rev() {
        let hundredths: i64 = items[index]
            .components
            .iter()
            .map(|part| items[part.item].cost * 100 * part.per / part.base / items[part.item].stock_factor())
            .sum();
        items[index].cost = (hundredths * items[index].stock_factor() * 4 / 300).max(50);
    }
}

/// Expected daily need of every item, from the popularity of finished ones down through the bills.
pub fn explode(items: &mut [Item]) {
    let weights: Vec<i64> = popularity();
    let total: i64 = weights.iter().sum();
    for (index, weight) in weights.iter().enumerate() {
        items[index].daily = LINES_PER_DAY * 1_000 * weight / total * mean_line(&items[index]);
    }
    for index in 0..FIRST_BOUGHT {
        let daily = items[index].daily;
        for part in items[index].components.clone() {
            items[part.item].daily += part.needed(daily);
        }
    }
}

/// How often each finished item is ordered, relative to the others.
pub fn popularity() -> Vec<i64> {
    (0..FINISHED as i64).map(|index| 100_000 / (index + POPULARITY_OFFSET)).collect()
}

/// Least and greatest quantity of an order line, in sales units.
pub fn line_range(item: &Item) -> (i64, i64) {
    if item.carton == 1 { (4, 36) } else { (1, 5) }
}

/// Mean quantity of an order line, in pieces.
fn mean_line(item: &Item) -> i64 {
    let (low, high) = line_range(item);
    (low + high) * item.carton / 2
}

/// Lot sizes, then routings whose times fill each work centre to [`UTILISATION`].
pub fn lots_and_times(items: &mut [Item], centers: &[Center], dice: &mut Dice) {
    for item in items.iter_mut() {
        let days = match item.level {
            Level::Finished => 6,
            Level::Semi => 9,
            Level::Base => 11,
            Level::Bought => 22,
        };
        item.multiple = match item.unit {
            Unit::Piece => {
                if item.level == Level::Bought {
                    50
                } else {
                    item.carton.max(5)
                }
            }
            Unit::Gram => 5_000,
        };
        item.lot = round_up(item.daily * days / 1_000, item.multiple).max(item.multiple);
    }
    for (index, item) in items.iter_mut().enumerate().take(FIRST_BOUGHT) {
        let route: Vec<usize> = match item.level {
            Level::Finished => vec![9 + index % 2, 11],
            Level::Semi => {
                let first = 4 + index % 4;
                vec![first, if dice.chance(500) { 8 } else { 4 + (first - 3) % 4 }]
            }
            Level::Base if item.unit == Unit::Gram => vec![index / 3 % 2],
            _ => vec![2 + index % 2],
        };
        item.steps = route
            .into_iter()
            .map(|center| Step { center, setup_s: 60 * dice.between(12, 35), run_us: dice.between(60, 140) })
            .collect();
        item.lead_days = match item.level {
            Level::Finished => 8,
            _ => 7,
        };
    }
    for (center, machine) in centers.iter().enumerate() {
        fill(items, center, machine.pattern.day_seconds());
    }
}

/// Turns the relative times of one work centre into microseconds for each unit, so that all orders of a day take [`UTILISATION`] of it.
fn fill(items: &mut [Item], center: usize, day_seconds: i64) {
    // Orders per day are daily / lot / 1,000: a whole order takes its relative time, whatever its quantity.
    let each = |item: &Item, value: i64| value * 1_000 * item.daily / (item.lot * 1_000);
    let here = |item: &Item| item.steps.iter().find(|step| step.center == center).cloned();
    let load = |value: &dyn Fn(&Step) -> i64, items: &[Item]| -> i64 {
        items.iter().filter_map(|item| here(item).map(|step| each(item, value(&step)))).sum()
    };
    let setup = load(&|step| step.setup_s, items) / 1_000;
    let budget_s = (day_seconds * UTILISATION / 100 - setup).max(day_seconds / 5);
    let relative = load(&|step| step.run_us, items).max(1);
    for item in items.iter_mut() {
        let lot = item.lot;
        for step in item.steps.iter_mut().filter(|step| step.center == center) {
            let order_s = i128::from(budget_s) * 1_000 * i128::from(step.run_us) / i128::from(relative);
            step.run_us = ((order_s.min(i128::from(DAY)) * 1_000_000 / i128::from(lot)) as i64).max(1);
        }
    }
}

/// Reorder points: need during the lead time, and the greatest single withdrawal.
pub fn reorder_points(items: &mut [Item]) {
    let mut greatest = vec![0i64; items.len()];
    for item in items.iter() {
        for part in &item.components {
            greatest[part.item] = greatest[part.item].max(part.needed(item.lot));
        }
    }
    for (item, greatest) in items.iter_mut().zip(greatest) {
        let lead = item.lead_days * 5 / 7 + 1;
        item.safety = match item.level {
            Level::Finished => item.daily / 1_000,
            Level::Semi | Level::Base => item.daily / 1_000 + greatest / 4,
            Level::Bought => item.daily * 3 / 1_000 + greatest / 4,
        };
        item.reorder = match item.level {
            Level::Finished => item.safety,
            _ => item.safety + item.daily * lead / 1_000 + greatest,
        };
    }
}

fn round_up(quantity: i64, multiple: i64) -> i64 {
    (quantity + multiple - 1) / multiple * multiple
}

const _: () = assert!(FIRST_BOUGHT + BOUGHT == ITEMS);
