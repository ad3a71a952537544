//! The plant's own planning in its ERP: reorder points, day by day. Plausible, not good: that is what the hub is for.

use super::super::plant::{Need, Place, Progress, StepState, WorkOrder, WorkStep, next};
use super::{Sim, date, day_no};
use crate::demo::calendar::{DAY, HOUR, day_of, working_days_after};
use crate::demo::master::Level;

/// Days that planning of finished items looks ahead at orders.
const HORIZON_DAYS: i32 = 7;
/// Orders for one item on one day.
const ORDERS_MAX: i64 = 3;
/// Days by which a buyer orders before the lead time says so.
const ORDER_EARLY_DAYS: i32 = 2;

impl Sim<'_> {
    /// The morning's planning: close, release, promise again, order what is short.
    pub(super) fn plan(&mut self) {
        self.close_completed();
        self.release();
        if self.connected {
            self.order_wishes();
        } else {
            self.promise_again();
        }
        let mut position = self.positions();
        for (item, known) in self.master.items.iter().enumerate() {
            let (lot, level) = (known.lot, known.level);
            // With a hub that proposes purchases the buyer only acts by himself when it gets tight.
            let reorder = if self.connected && level == Level::Bought { known.reorder / 2 } else { known.reorder };
            for _ in 0..ORDERS_MAX {
                if position[item] >= reorder {
                    break;
                }
                position[item] += lot;
                if level == Level::Bought {
                    self.buy(item, lot);
                } else {
                    self.create_work_order(item, lot);
                }
            }
        }
        for center in 0..self.master.centers.len() {
            self.dispatch(center);
        }
    }

    /// Stock and open supply less what is needed, of each item.
    fn positions(&self) -> Vec<i64> {
        let mut position: Vec<i64> = (0..self.master.items.len()).map(|item| self.usable(item)).collect();
        let horizon = day_no(self.today()) + HORIZON_DAYS;
        for line in self.open_lines().filter(|line| line.promised.unwrap_or(line.requested) <= horizon) {
            position[usize::from(line.item)] -= line.quantity - line.shipped;
        }
        for order in self.plant.open_work.iter().filter_map(|id| self.plant.work_orders.get(id)) {
            if order.completed.is_none() {
                position[usize::from(order.item)] += order.quantity;
            }
            for need in &order.needs {
                position[usize::from(need.item)] -= need.required - need.issued;
            }
        }
        for line in
            self.plant.open_purchases.iter().filter_map(|order| self.plant.purchases.get(order)).flatten().filter(|l| l.open)
        {
            position[usize::from(line.item)] += line.quantity - line.received;
        }
        position
    }

    /// An order to make `quantity` of `item`, with times as the routing has them.
    pub(super) fn create_work_order(&mut self, item: usize, quantity: i64) {
        let id = next(&mut self.plant.numbers.work_order);
        let now = self.plant.now;
        let known = &self.master.items[item];
        let mut from = now + DAY;
        let steps: Vec<WorkStep> = known
            .steps
            .iter()
            .map(|step| {
                let shifts = self.master.shifts_of(step.center);
                let start = shifts.next(from + 8 * HOUR).unwrap_or(from);
                let work = step.setup_s + (i128::from(quantity) * i128::from(step.run_us) / 1_000_000) as i64;
                let end = shifts.finish(start, work);
                from = end;
                WorkStep {
                    center: step.center as u8,
                    state: StepState::Pending,
                    planned: (start, end),
                    started: None,
                    ended: None,
                    good: 0,
                    pieces: Vec::new(),
                    run_s: 0,
                    changed: now,
                }
            })
            .collect();
        let need =
            |part: &crate::demo::master::Component| Need { item: part.item as u16, required: part.needed(quantity), issued: 0 };
        let order = WorkOrder {
            id,
            item: item as u16,
            quantity,
            good: 0,
            scrap: 0,
            created: now,
            start: day_no(day_of(now + DAY)),
            due: day_no(working_days_after(day_of(from), 1)),
            released: None,
            started: None,
            completed: None,
            progress: Progress::Planned,
            steps,
            needs: known.components.iter().map(need).collect(),
            faulty: false,
            changed: now,
        };
        self.plant.work_orders.insert(id, order);
        self.plant.open_work.insert(id);
    }

    /// Yesterday's orders go to the shop floor.
    fn release(&mut self) {
        let now = self.plant.now;
        for id in &self.plant.open_work {
            let Some(order) = self.plant.work_orders.get_mut(id) else { continue };
            if order.progress == Progress::Planned && order.created < now - 12 * HOUR {
                (order.progress, order.released, order.changed) = (Progress::Released, Some(now), now);
                if let Some(step) = order.steps.first_mut() {
                    (step.state, step.changed) = (StepState::Ready, now);
                }
            }
        }
    }

    /// Completed orders are settled after two days.
    fn close_completed(&mut self) {
        let now = self.plant.now;
        let mut closed = Vec::new();
        for id in &self.plant.open_work {
            if let Some(order) = self.plant.work_orders.get_mut(id)
                && order.completed.is_some_and(|completed| completed < now - 2 * DAY)
            {
                (order.progress, order.changed) = (Progress::Closed, now);
                closed.push(*id);
            }
        }
        for id in closed {
            self.plant.open_work.remove(&id);
        }
    }

    /// The working day on which something ordered today with `lead_days` should come.
    pub(super) fn arrival_day(&self, lead_days: i64) -> i32 {
        day_no(working_days_after(date(day_no(self.today()) + lead_days as i32), 0))
    }

    /// The buyer turns requests of the hub into orders when it is time for them.
    fn order_wishes(&mut self) {
        for wish in std::mem::take(&mut self.wishes) {
            let offers = self.master.offers_of[wish.item].iter().map(|offer| &self.master.offers[*offer]);
            let offer = offers.clone().find(|offer| Some(offer.supplier) == wish.supplier).or_else(|| offers.clone().next());
            let Some(offer) = offer.cloned() else { continue };
            let due = wish.needed - offer.lead_days as i32 - ORDER_EARLY_DAYS <= day_no(self.today());
            if due && self.dice.chance(850) {
                let requested = wish.needed.max(self.arrival_day(offer.lead_days.min(3)));
                self.place_order(&offer, wish.quantity, requested, Some(wish.proposal), Some(wish.request));
                self.requests_ordered += 1;
            }
        }
    }

    pub(super) fn rack(item: usize) -> Place {
        Self::home(item, 0)
    }
}
