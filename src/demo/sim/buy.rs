//! Suppliers: orders, confirmations, deliveries on time or late, whole or in parts, good or with a hidden fault.

use super::super::plant::{Answer, Event, MoveKind, PurchaseLine, Quality, Receipt, next};
use super::{Sim, date, day_no};
use crate::demo::calendar::{DAY, HOUR, MINUTE, day_start, working_days_after};
use crate::demo::master::Offer;

/// Receipts that are inspected, in per mille, and hidden faults that an inspection finds.
const INSPECTED: i64 = 350;
const FOUND: i64 = 400;
/// Deliveries that come in two parts, in per mille.
const PARTIAL: i64 = 80;
/// Days before the present between which one supplier had a serious fault.
const INCIDENT_DAYS: std::ops::RangeInclusive<i32> = 35..=75;

impl Sim<'_> {
    /// Orders `quantity` of `item` from one of its suppliers, by their shares.
    pub(super) fn buy(&mut self, item: usize, quantity: i64) {
        let offers = &self.master.offers_of[item];
        let shares: Vec<i64> = offers.iter().map(|offer| self.master.offers[*offer].share).collect();
        if offers.is_empty() {
            return;
        }
        let offer = self.master.offers[offers[self.dice.weighted(&shares)]].clone();
        let requested = self.arrival_day(offer.lead_days);
        self.place_order(&offer, quantity, requested, None, None);
    }

    /// Sends an order; what the supplier will do with it is decided here.
    pub(super) fn place_order(
        &mut self,
        offer: &Offer,
        quantity: i64,
        requested: i32,
        proposal: Option<String>,
        request: Option<i64>,
    ) -> u32 {
        let order = next(&mut self.plant.numbers.purchase);
        let now = self.plant.now;
        let supplier = &self.master.suppliers[offer.supplier];
        let late =
            if self.dice.chance(supplier.late) { self.dice.between(1, supplier.late_days) } else { -self.dice.between(0, 1) };
        let arrives = working_days_after(date(requested + late as i32), 0).max(working_days_after(self.today(), 1));
        let line = PurchaseLine {
            order,
            line: 10,
            supplier: offer.supplier as u16,
            item: offer.item as u16,
            quantity,
            received: 0,
            ordered: now,
            requested,
            first_confirmed: None,
            confirmed: None,
            price: offer.price,
            open: true,
            proposal,
            request,
            changed: now,
        };
        self.plant.purchases.insert(order, vec![line]);
        self.plant.open_purchases.insert(order);
        // Some suppliers say at once that they will be late, some later, some never.
        let known = late > 2 && self.dice.chance(300);
        let day = if known { day_no(arrives) } else { requested };
        let when = now + self.dice.between(3, 40) * HOUR;
        self.plant.at(when, Event::SupplierConfirms { order, line: 10, day });
        let comes = day_start(arrives) + self.dice.between(30, 5 * 60) * MINUTE;
        if late > 2 && !known && self.dice.chance(600) && comes - 3 * DAY > when {
            let told = comes - self.dice.between(2, 3) * DAY;
            self.plant.at(told.max(when + HOUR), Event::SupplierMoves { order, line: 10, day: day_no(arrives) });
        }
        let multiple = self.master.items[offer.item].multiple;
        let first = if self.dice.chance(PARTIAL) { (quantity * 6 / 10 / multiple * multiple).max(1) } else { quantity };
        self.plant.at(comes, Event::Delivery { order, line: 10, quantity: first });
        if first < quantity {
            self.plant.at(comes + self.dice.between(3, 8) * DAY, Event::Delivery { order, line: 10, quantity: quantity - first });
        }
        order
    }

    pub(super) fn supplier_confirms(&mut self, order: u32, number: u16, day: i32) {
        self.answer(order, number, day, false);
    }

    /// The supplier tells a new date.
    pub(super) fn supplier_moves(&mut self, order: u32, number: u16, day: i32) {
        self.answer(order, number, day, true);
    }

    fn answer(&mut self, order: u32, number: u16, day: i32, announced: bool) {
        let now = self.plant.now;
        let Some(line) = self.plant.purchases.get_mut(&order).and_then(|lines| lines.iter_mut().find(|line| line.line == number))
        else {
            return;
        };
        if !line.open {
            return;
        }
        line.first_confirmed = line.first_confirmed.or(Some(day));
        (line.confirmed, line.changed) = (Some(day), now);
        let (item, quantity) = (line.item, line.quantity - line.received);
        let id = next(&mut self.plant.numbers.answer);
        self.plant.log.answers.push(Answer { id, order, line: number, announced, item, quantity, day, at: now });
    }

    /// A lorry is at the gate.
    pub(super) fn receive(&mut self, order: u32, number: u16, quantity: i64) {
        let now = self.plant.now;
        let Some(line) = self.plant.purchases.get_mut(&order).and_then(|lines| lines.iter_mut().find(|line| line.line == number))
        else {
            return;
        };
        let quantity = quantity.min(line.quantity - line.received);
        if !line.open || quantity <= 0 {
            return;
        }
        line.received += quantity;
        line.open = line.received < line.quantity;
        line.changed = now;
        let (item, supplier) = (usize::from(line.item), line.supplier);
        if !line.open {
            self.plant.open_purchases.remove(&order);
        }
        let faults = self.faults(supplier);
        let faulty = self.master.items[item].lots && self.dice.chance(faults);
        let inspected = self.master.items[item].lots && self.dice.chance(INSPECTED);
        let quality = if inspected { Quality::Inspection } else { Quality::Free };
        let printed = format!("S{supplier:02}-{}", self.dice.between(100_000, 999_999));
        let lot = self.incoming_lot(item, Some(supplier), Some(printed.clone()), quality);
        if let Some(lot) = self.plant.lots.get_mut(&lot) {
            lot.faulty = faulty;
        }
        let receipt = next(&mut self.plant.numbers.receipt);
        self.put(item, lot, Self::rack(item), quantity, MoveKind::Receipt, receipt);
        let (id, item_no) = (receipt, item as u16);
        self.plant.log.receipts.push(Receipt {
            id,
            order,
            line: number,
            supplier,
            item: item_no,
            lot,
            supplier_lot: printed,
            quantity,
            at: now,
        });
        if inspected {
            let when = now + self.dice.between(4, 90) * HOUR;
            let fail = (faulty && self.dice.chance(FOUND)) || self.dice.chance(15);
            self.open_inspection(Some(receipt), None, item, lot, quantity, when, fail);
        }
        self.wake();
    }

    /// How many of a supplier's lots have a hidden fault, in per mille.
    fn faults(&self, supplier: u16) -> i64 {
        let ago = day_no(self.present) - day_no(self.today());
        if usize::from(supplier) == self.master.incident_supplier && INCIDENT_DAYS.contains(&ago) {
            return 800;
        }
        self.master.suppliers[usize::from(supplier)].faults
    }
}
