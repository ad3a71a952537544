//! Customers: requests, orders, promises, opportunities.

use super::super::plant::{Event, Opportunity, OrderChange, OrderHead, Request, SalesLine, next};
use super::{Sim, day_no};
use crate::demo::bill;
use crate::demo::calendar::{DAY, HOUR, MINUTE, day_of, working_day_before, working_days_after};

/// Mean lines of an order, in tenths.
pub(super) const LINES_PER_ORDER_TENTHS: i64 = 25;
/// Orders that come by EDI straight into the ERP, in per mille.
const DIRECT: i64 = 200;
/// Won requests that nobody hands over, in per mille.
const FORGOTTEN: i64 = 3;

impl Sim<'_> {
    pub(super) fn open_lines(&self) -> impl Iterator<Item = &SalesLine> {
        self.plant.open_sales.iter().filter_map(|order| self.plant.sales.get(order)).flatten().filter(|line| line.open)
    }

    /// A customer wants something: a request in the CRM, or an order by EDI.
    pub(super) fn order_arrives(&mut self) {
        let weights: Vec<i64> = self.master.customers.iter().map(|customer| customer.weight).collect();
        let customer = self.dice.weighted(&weights);
        let now = self.plant.now;
        let id = next(&mut self.plant.numbers.request);
        let popularity = bill::popularity();
        let wait =
            [self.dice.between(2, 6), self.dice.between(7, 18), self.dice.between(19, 40)][self.dice.weighted(&[25, 50, 25])];
        let requested = day_no(working_days_after(self.today() + chrono::Days::new(wait as u64), 0));
        let twin = self.master.customers[customer].twin.is_some() && self.dice.chance(300);
        let mut lines: Vec<Request> = Vec::new();
        for line in 1..=self.dice.between(1, 4) as u16 {
            let item = self.dice.weighted(&popularity);
            let (low, high) = bill::line_range(&self.master.items[item]);
            let quantity = self.dice.between(low, high) * self.master.items[item].carton;
            let (customer, item) = (customer as u16, item as u16);
            let (won, lost, order, promised) = (None, false, None, None);
            lines.push(Request {
                request: id,
                line,
                customer,
                twin,
                item,
                quantity,
                requested,
                created: now,
                won,
                lost,
                order,
                promised,
                changed: now,
            });
        }
        if self.dice.chance(DIRECT) {
            self.book(lines, None);
            return;
        }
        if !self.dice.chance(100) {
            let when = now + self.dice.between(40, 30 * 60) * MINUTE;
            self.plant.at(when, Event::HandOver { request: id });
        } else if self.dice.chance(600) {
            lines.iter_mut().for_each(|line| line.lost = true);
        }
        self.plant.requests.insert(id, lines);
    }

    /// A request is won and becomes an order.
    pub(super) fn hand_over(&mut self, request: u32) {
        let now = self.plant.now;
        let forgotten = self.dice.chance(FORGOTTEN);
        let Some(lines) = self.plant.requests.get_mut(&request) else { return };
        let order = self.plant.numbers.order + 1;
        for line in lines.iter_mut() {
            (line.won, line.changed) = (Some(now - 20 * MINUTE), now);
            line.order = (!forgotten).then_some(order);
        }
        if !forgotten {
            let lines = lines.clone();
            self.plant.request_of.insert(order, request);
            self.book(lines, Some(request));
        }
    }

    fn book(&mut self, requested: Vec<Request>, request: Option<u32>) {
        let now = self.plant.now;
        let order = next(&mut self.plant.numbers.order);
        let mut lines = Vec::new();
        for wanted in &requested {
            let customer = &self.master.customers[usize::from(wanted.customer)];
            let carton = self.master.items[usize::from(wanted.item)].carton;
            // A few customers take a line in two deliveries.
            let split = wanted.quantity >= 2 * carton && self.dice.chance(40);
            let second = if split { wanted.quantity / carton / 2 * carton } else { 0 };
            for (schedule, quantity, later) in [(1, wanted.quantity - second, 0), (2, second, 7)] {
                if quantity == 0 {
                    continue;
                }
                let when = self.promise_time();
                self.plant.at(when, Event::Promise { order, line: wanted.line, schedule });
                lines.push(SalesLine {
                    order,
                    line: wanted.line,
                    schedule,
                    customer: wanted.customer,
                    item: wanted.item,
                    site: customer.site as u8,
                    quantity,
                    shipped: 0,
                    entered: now,
                    requested: wanted.requested + later,
                    first_promised: None,
                    promised: None,
                    open: true,
                    cancelled: false,
                    changed: now,
                });
            }
        }
        let customer = requested.first().map_or(0, |line| line.customer);
        self.plant.log.heads.push(OrderHead { order, customer, request, at: now });
        self.plant.sales.insert(order, lines);
        self.plant.open_sales.insert(order);
    }

    /// When somebody finds the time to promise a date: mostly the next day, sometimes much later.
    fn promise_time(&mut self) -> i64 {
        let days = if self.dice.chance(60) { 6 } else { 1 };
        let day = working_days_after(self.today(), days);
        super::day_start(day) + self.dice.between(60, 6 * 60) * MINUTE
    }

    /// Promises a date: the requested one if stock is left for it, else after a usual time of making.
    pub(super) fn promise(&mut self, order: u32, number: u16, schedule: u16) {
        let Some(line) =
            self.plant.sales.get(&order).and_then(|lines| lines.iter().find(|l| (l.line, l.schedule) == (number, schedule)))
        else {
            return;
        };
        if !line.open || line.promised.is_some() {
            return;
        }
        let (item, wanted, requested, unshipped) = (line.item, line.quantity, line.requested, line.shipped == 0);
        let taken: i64 =
            self.open_lines().filter(|l| l.item == item && l.promised.is_some()).map(|l| l.quantity - l.shipped).sum();
        let spare = self.usable(usize::from(item)) - taken;
        let today = self.today();
        let soonest = day_no(working_days_after(today, if spare >= wanted { 2 } else { 9 }));
        let promised = requested.max(soonest);
        self.change_of_mind(order, number, schedule);
        let cancelled = self.dice.chance(8) && unshipped;
        let copied = self.dice.chance(860);
        let now = self.plant.now;
        let Some(lines) = self.plant.sales.get_mut(&order) else { return };
        for line in lines.iter_mut().filter(|l| (l.line, l.schedule) == (number, schedule)) {
            (line.first_promised, line.promised, line.changed) = (Some(promised), Some(promised), now);
            if cancelled {
                (line.open, line.cancelled) = (false, true);
            }
        }
        if lines.iter().all(|line| !line.open) {
            self.plant.open_sales.remove(&order);
        }
        if copied {
            self.copy_promise(order, number);
        }
    }

    /// Some customers move the requested date after ordering.
    fn change_of_mind(&mut self, order: u32, number: u16, schedule: u16) {
        if schedule != 1 || !self.dice.chance(25) {
            return;
        }
        let now = self.plant.now;
        let Some(lines) = self.plant.sales.get_mut(&order) else { return };
        let Some(line) = lines.iter_mut().find(|l| (l.line, l.schedule) == (number, schedule)) else { return };
        let (old, new) = (line.requested, line.requested + 7);
        (line.requested, line.changed) = (new, now);
        let Some(request) = self.request_of(order) else { return };
        if let Some(copy) = self.plant.requests.get_mut(&request).and_then(|lines| lines.iter_mut().find(|l| l.line == number)) {
            (copy.requested, copy.changed) = (new, now);
        }
        let id = next(&mut self.plant.numbers.order_change);
        self.plant.log.order_changes.push(OrderChange { id, request, line: number, order, old, new, at: now });
    }

    fn request_of(&self, order: u32) -> Option<u32> {
        self.plant.request_of.get(&order).copied()
    }

    /// Somebody keys the promise into the CRM: the latest one of the line's deliveries.
    pub(super) fn copy_promise(&mut self, order: u32, number: u16) {
        let now = self.plant.now;
        let lines = self.plant.sales.get(&order).into_iter().flatten().filter(|line| line.line == number && !line.cancelled);
        let Some(promised) = lines.filter_map(|line| line.promised).max() else { return };
        let Some(request) = self.request_of(order) else { return };
        if let Some(copy) = self.plant.requests.get_mut(&request).and_then(|lines| lines.iter_mut().find(|l| l.line == number))
            && copy.promised != Some(promised)
        {
            (copy.promised, copy.changed) = (Some(promised), now);
        }
    }

    /// Overdue lines: some customers are told a new date.
    pub(super) fn promise_again(&mut self) {
        let today = day_no(self.today());
        let late: Vec<(u32, u16, u16)> = self
            .open_lines()
            .filter(|line| line.promised.is_some_and(|promised| promised < today))
            .map(|line| (line.order, line.line, line.schedule))
            .collect();
        let promised = day_no(working_days_after(self.today(), 5));
        let now = self.plant.now;
        for (order, number, schedule) in late {
            if !self.dice.chance(300) {
                continue;
            }
            if let Some(lines) = self.plant.sales.get_mut(&order) {
                for line in lines.iter_mut().filter(|l| (l.line, l.schedule) == (number, schedule)) {
                    (line.promised, line.changed) = (Some(promised), now);
                }
            }
            if self.dice.chance(500) {
                self.copy_promise(order, number);
            }
        }
    }

    pub(super) fn opportunity(&mut self) {
        let id = next(&mut self.plant.numbers.opportunity);
        let now = self.plant.now;
        let item = self.dice.weighted(&bill::popularity());
        let (_, high) = bill::line_range(&self.master.items[item]);
        let quantity = high * self.master.items[item].carton * self.dice.between(1, 6);
        let days = self.dice.between(14, 90);
        let close = day_no(working_day_before(day_of(now + days * DAY)));
        let customer = self.dice.below(self.master.customers.len() as i64) as u16;
        let per_cent = *self.dice.pick(&[10, 25, 50, 75, 90]);
        let opportunity = Opportunity {
            id,
            customer,
            item: item as u16,
            quantity,
            per_cent,
            close,
            created: now,
            state: 0,
            order: None,
            changed: now,
        };
        self.plant.opportunities.insert(id, opportunity);
        let when = now + days * DAY + self.dice.between(-3, 12) * 8 * HOUR;
        self.plant.at(when, Event::OpportunityEnds { opportunity: id });
    }

    /// An opportunity is decided; a won one comes from a recent order of the customer.
    pub(super) fn opportunity_ends(&mut self, id: u32) {
        let now = self.plant.now;
        let Some(opportunity) = self.plant.opportunities.get_mut(&id) else { return };
        let won = self.dice.chance(i64::from(opportunity.per_cent) * 9);
        (opportunity.state, opportunity.changed) = (if won { 1 } else { 2 }, now);
        let customer = opportunity.customer;
        let order = self.plant.open_sales.iter().rev().find(|order| {
            self.plant.sales.get(order).and_then(|lines| lines.first()).is_some_and(|line| line.customer == customer)
        });
        opportunity.order = order.copied().filter(|_| won);
    }
}
