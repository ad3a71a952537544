//! Deliveries to customers.

use super::super::plant::{Event, MoveKind, Shipment};
use super::{Sim, day_no};
use crate::demo::calendar::{DAY, HOUR, working_days_after};

/// A delivery leaves this many working days before the promised one.
const TRANSIT_DAYS: i64 = 1;

impl Sim<'_> {
    /// The afternoon's lorry: what is due and in stock, the most urgent first.
    pub(super) fn ship(&mut self, site: u8) {
        let horizon = day_no(working_days_after(self.today(), TRANSIT_DAYS));
        let mut due: Vec<(i32, i64, u32, usize)> = Vec::new();
        for order in &self.plant.open_sales {
            for (index, line) in self.plant.sales.get(order).into_iter().flatten().enumerate() {
                let day = line.promised.unwrap_or(line.requested);
                if line.open && line.site == site && day <= horizon && line.entered < self.plant.now - HOUR {
                    let priority = self.master.customers[usize::from(line.customer)].priority;
                    due.push((day, priority, *order, index));
                }
            }
        }
        due.sort_unstable();
        let mut note: Option<(u32, u32, u16)> = None;
        for (_, _, order, index) in due {
            let (shipment, line) = match note {
                Some((of, shipment, line)) if of == order => (shipment, line),
                _ => (self.plant.numbers.shipment + 1, 0),
            };
            let shipped = self.ship_line(order, index, shipment, line);
            if shipped > 0 {
                self.plant.numbers.shipment = shipment;
                note = Some((order, shipment, line + shipped));
            }
        }
    }

    /// Ships what there is of one order line. Gives the number of lines on the delivery note, one for each lot.
    fn ship_line(&mut self, order: u32, index: usize, shipment: u32, lines: u16) -> u16 {
        let now = self.plant.now;
        let Some(line) = self.plant.sales.get(&order).and_then(|lines| lines.get(index)).cloned() else { return 0 };
        let (item, left) = (usize::from(line.item), line.quantity - line.shipped);
        let carton = self.master.items[item].carton;
        let there = self.free(item, line.site) / carton * carton;
        let quantity = if there >= left { left } else { there };
        // Less than half is not worth a lorry.
        if quantity == 0 || quantity * 2 < left {
            return 0;
        }
        let delivered = now + self.dice.between(16, 30) * HOUR + if self.dice.chance(60) { DAY } else { 0 };
        let mut number = 0;
        for (lot, place, picked) in self.pick(item, line.site, quantity) {
            number += 1;
            self.take(item, lot, place, picked, MoveKind::Shipment, shipment);
            self.plant.shipments.push(Shipment {
                id: shipment,
                line: lines + number,
                order,
                order_line: line.line,
                customer: line.customer,
                item: line.item,
                site: line.site,
                lot,
                quantity: picked,
                at: now,
                delivered,
            });
            self.maybe_complain(order, shipment, line.customer, line.item, lot, picked, delivered);
        }
        self.book_shipped(order, index, quantity);
        number
    }

    fn book_shipped(&mut self, order: u32, index: usize, quantity: i64) {
        let now = self.plant.now;
        let Some(lines) = self.plant.sales.get_mut(&order) else { return };
        if let Some(line) = lines.get_mut(index) {
            line.shipped += quantity;
            line.changed = now;
            line.open = line.shipped < line.quantity;
        }
        let shipped = lines.get(index).filter(|line| !line.open).map(|line| line.line);
        if lines.iter().all(|line| !line.open) {
            self.plant.open_sales.remove(&order);
        }
        if let Some(line) = shipped {
            self.copy_promise(order, line); // with the delivery note everything reaches the CRM
        }
    }

    fn maybe_complain(&mut self, order: u32, shipment: u32, customer: u16, item: u16, lot: u32, quantity: i64, delivered: i64) {
        let faulty = self.plant.lots.get(&lot).is_some_and(|lot| lot.faulty);
        if self.dice.chance(if faulty { 350 } else { 3 }) {
            let when = delivered + self.dice.between(3, 16) * DAY + self.dice.between(1, 8) * HOUR;
            self.plant.at(when, Event::Complain { customer, order, shipment, item, lot, quantity });
        }
    }
}
