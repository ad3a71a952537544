//! Stock: the one place where quantities move.

use std::collections::BTreeSet;

use super::super::plant::{Bin, Count, Event, Lot, MoveKind, Movement, Place, Quality, Quant, next};
use super::{Sim, day_no};
use crate::demo::calendar::{DAY, day_of};
use crate::demo::master::Level;

/// Positions counted each week.
const COUNTED: usize = 14;
/// Share of the finished stock that the second site holds, in per mille; as its customers' share.
const SECOND_SITE: i64 = 300;

impl Sim<'_> {
    pub(super) fn home(item: usize, site: u8) -> Place {
        Place { site, bin: [Bin::Rack1, Bin::Rack2, Bin::Rack3][item % 3] }
    }

    /// What each item starts with.
    pub(super) fn opening_stock(&mut self) {
        self.plant.stock = vec![Vec::new(); self.master.items.len()];
        self.plant.bulk_lots = Vec::new();
        for item in 0..self.master.items.len() {
            if !self.master.items[item].lots {
                let lot = self.new_lot(item, None, None, Quality::Free);
                self.plant.bulk_lots.push(lot);
            }
        }
        for item in 0..self.master.items.len() {
            let known = &self.master.items[item];
            let quantity = known.reorder + known.lot * self.dice.between(20, 110) / 100;
            if quantity > 0 {
                let lot = self.incoming_lot(item, None, None, Quality::Free);
                self.put(item, lot, Self::home(item, 0), quantity, MoveKind::Adjustment, 0);
            }
        }
    }

    /// The lot under which something new is kept: a new one, or the only one of an item without lots.
    pub(super) fn incoming_lot(
        &mut self,
        item: usize,
        supplier: Option<u16>,
        supplier_lot: Option<String>,
        quality: Quality,
    ) -> u32 {
        let known = self
            .plant
            .bulk_lots
            .iter()
            .copied()
            .find(|lot| self.plant.lots.get(lot).is_some_and(|lot| usize::from(lot.item) == item));
        match known {
            Some(lot) if !self.master.items[item].lots => lot,
            _ => self.new_lot(item, supplier, supplier_lot, quality),
        }
    }

    fn new_lot(&mut self, item: usize, supplier: Option<u16>, supplier_lot: Option<String>, quality: Quality) -> u32 {
        let id = next(&mut self.plant.numbers.lot);
        let now = self.plant.now;
        let expires = self.master.items[item].shelf_life_days.map(|days| day_no(day_of(now + days * DAY)));
        let lot = Lot { id, item: item as u16, supplier, supplier_lot, made: now, expires, quality, faulty: false, changed: now };
        self.plant.lots.insert(id, lot);
        id
    }

    /// Free stock of `item` at `site`.
    pub(super) fn free(&self, item: usize, site: u8) -> i64 {
        self.plant.stock[item]
            .iter()
            .filter(|quant| quant.place.site == site && self.is_free(quant))
            .map(|quant| quant.quantity)
            .sum()
    }

    /// Stock of `item` that is or will be usable, at all sites.
    pub(super) fn usable(&self, item: usize) -> i64 {
        let usable =
            |lot: u32| self.plant.lots.get(&lot).is_some_and(|lot| matches!(lot.quality, Quality::Free | Quality::Inspection));
        self.plant.stock[item].iter().filter(|quant| usable(quant.lot)).map(|quant| quant.quantity).sum()
    }

    fn is_free(&self, quant: &Quant) -> bool {
        quant.place.bin != Bin::Quarantine && self.plant.lots.get(&quant.lot).is_some_and(|lot| lot.quality == Quality::Free)
    }

    /// The oldest free lots of `item` at `site` that make up `quantity`, or as much as there is.
    pub(super) fn pick(&self, item: usize, site: u8, quantity: i64) -> Vec<(u32, Place, i64)> {
        let mut left = quantity;
        let mut picked = Vec::new();
        for quant in self.plant.stock[item].iter().filter(|quant| quant.place.site == site && self.is_free(quant)) {
            if left == 0 {
                break;
            }
            let taken = left.min(quant.quantity);
            picked.push((quant.lot, quant.place, taken));
            left -= taken;
        }
        picked
    }

    /// Brings `quantity` of `lot` in from outside.
    pub(super) fn put(&mut self, item: usize, lot: u32, to: Place, quantity: i64, kind: MoveKind, document: u32) {
        self.change(item, lot, to, quantity);
        self.log_movement(kind, item, lot, quantity, None, Some(to), document);
    }

    /// Takes `quantity` of `lot` out; less where less is there. Gives what was taken.
    pub(super) fn take(&mut self, item: usize, lot: u32, from: Place, quantity: i64, kind: MoveKind, document: u32) -> i64 {
        let taken = quantity.min(self.on_hand(item, lot, from));
        if taken > 0 {
            self.change(item, lot, from, -taken);
            let sign = if kind == MoveKind::Adjustment { -1 } else { 1 };
            let (from, to) = if kind == MoveKind::Adjustment { (None, Some(from)) } else { (Some(from), None) };
            self.log_movement(kind, item, lot, sign * taken, from, to, document);
        }
        taken
    }

    /// Moves `quantity` of `lot` between two places.
    pub(super) fn transfer(&mut self, item: usize, lot: u32, from: Place, to: Place, quantity: i64, document: u32) {
        let moved = quantity.min(self.on_hand(item, lot, from));
        if moved > 0 && from != to {
            self.change(item, lot, from, -moved);
            self.change(item, lot, to, moved);
            self.log_movement(MoveKind::Transfer, item, lot, moved, Some(from), Some(to), document);
        }
    }

    fn on_hand(&self, item: usize, lot: u32, place: Place) -> i64 {
        self.plant.stock[item].iter().find(|quant| quant.lot == lot && quant.place == place).map_or(0, |quant| quant.quantity)
    }

    fn change(&mut self, item: usize, lot: u32, place: Place, by: i64) {
        let now = self.plant.now;
        let quants = &mut self.plant.stock[item];
        match quants.binary_search_by_key(&(lot, place), |quant| (quant.lot, quant.place)) {
            Ok(index) => {
                quants[index].quantity += by;
                quants[index].changed = now;
                if quants[index].quantity == 0 {
                    quants.remove(index);
                    self.plant.gone.insert((place, lot, item as u16));
                }
            }
            Err(index) => {
                quants.insert(index, Quant { lot, place, quantity: by, changed: now });
                self.plant.gone.remove(&(place, lot, item as u16));
            }
        }
    }

    fn log_movement(
        &mut self,
        kind: MoveKind,
        item: usize,
        lot: u32,
        quantity: i64,
        from: Option<Place>,
        to: Option<Place>,
        document: u32,
    ) {
        let id = next(&mut self.plant.numbers.movement);
        self.plant.log.movements.push(Movement {
            id,
            kind,
            item: item as u16,
            lot,
            quantity,
            from,
            to,
            at: self.plant.now,
            document,
        });
    }

    /// Refills the second site with finished items.
    pub(super) fn rebalance(&mut self) {
        let horizon = day_no(self.today()) + 7;
        let mut wanted = vec![0i64; self.master.items.len()];
        for line in self.open_lines().filter(|line| line.site == 1 && line.promised.unwrap_or(line.requested) <= horizon) {
            wanted[usize::from(line.item)] += line.quantity - line.shipped;
        }
        for (item, known) in self.master.items.iter().enumerate().filter(|(_, known)| known.level == Level::Finished) {
            let daily = known.daily * SECOND_SITE / 1_000;
            let there = self.free(item, 1);
            if there >= wanted[item] + daily * 3 / 1_000 {
                continue;
            }
            let quantity = wanted[item] + daily * 8 / 1_000 - there;
            let spare = self.free(item, 0);
            for (lot, from, picked) in self.pick(item, 0, quantity.min(spare)) {
                self.transfer(item, lot, from, Self::home(item, 1), picked, 0);
            }
        }
    }

    /// Counts some positions and books the differences.
    pub(super) fn count(&mut self) {
        let mut positions: Vec<(usize, u32, Place, i64)> = Vec::new();
        let stocked: Vec<usize> = (0..self.plant.stock.len()).filter(|item| !self.plant.stock[*item].is_empty()).collect();
        if stocked.is_empty() {
            return;
        }
        let mut seen = BTreeSet::new();
        for _ in 0..COUNTED {
            let item = *self.dice.pick(&stocked);
            let index = self.dice.below(self.plant.stock[item].len() as i64) as usize;
            let quant = &self.plant.stock[item][index];
            if seen.insert((quant.lot, quant.place)) {
                positions.push((item, quant.lot, quant.place, quant.quantity));
            }
        }
        let id = next(&mut self.plant.numbers.count);
        for (line, (item, lot, place, expected)) in positions.into_iter().enumerate() {
            let off = if self.dice.chance(120) { expected * self.dice.between(-30, 20) / 1_000 } else { 0 };
            let counted = expected + off;
            let at = self.plant.now;
            self.plant.log.counts.push(Count { id, line: line as u16 + 1, item: item as u16, place, lot, expected, counted, at });
            if off > 0 {
                self.put(item, lot, place, off, MoveKind::Adjustment, id);
            } else if off < 0 {
                self.take(item, lot, place, -off, MoveKind::Adjustment, id);
            }
        }
    }

    /// Something came into stock: work centres that waited for it look again.
    pub(super) fn wake(&mut self) {
        let now = self.plant.now;
        for center in 0..self.master.centers.len() {
            if self.plant.busy[center].is_none() && self.master.shifts_of(center).running(now).is_some() {
                self.plant.at(now, Event::Dispatch { center: center as u8 });
            }
        }
    }
}
