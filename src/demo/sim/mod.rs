//! The plant at work: one event after the other, day by day.
//!
//! Physics that always holds: stock is the sum of movements and never negative; what is consumed was there, in sufficient quantity, and free;
//! a work centre does one thing at a time, within its shifts; nothing more is shipped than was ordered.

mod buy;
mod make;
mod plan;
mod quality;
mod sell;
mod ship;
mod stock;

use std::cmp::Reverse;

use chrono::{Datelike, Days, NaiveDate, Weekday};

use super::calendar::{DAY, HOUR, MINUTE, Seconds, day_of, day_start, is_working};
use super::dice::Dice;
use super::feedback::Wish;
use super::master::{LINES_PER_DAY, Master};
use super::plant::{DayNo, Event, Plant};

pub use quality::{Characteristic, characteristics};

const DICE_DAY: u32 = 10;
const DICE_OPENING: u32 = 11;

/// A plant with what it needs to go on.
pub struct Sim<'a> {
    pub master: &'a Master,
    pub plant: Plant,
    dice: Dice,
    characteristics: Vec<Characteristic>,
    /// The day that counts as the present: incidents are laid shortly before it.
    present: NaiveDate,
    /// Whether a hub plans and promises: then people leave to it what it does.
    connected: bool,
    wishes: Vec<Wish>,
    requests_ordered: usize,
}

impl<'a> Sim<'a> {
    /// A new plant on the first day of its history, with opening stock.
    pub fn open(master: &'a Master, present: NaiveDate) -> Self {
        let plant = Plant { now: day_start(master.first_day), ..Plant::default() };
        let mut sim = Self::resume(master, plant, present);
        sim.dice = Dice::new(master.seed, master.plant, DICE_OPENING, 0);
        sim.plant.busy = vec![None; master.centers.len()];
        sim.plant.families = vec![usize::MAX; master.centers.len()];
        sim.opening_stock();
        sim
    }

    /// Goes on from what was kept.
    pub fn resume(master: &'a Master, plant: Plant, present: NaiveDate) -> Self {
        let dice = Dice::new(master.seed, master.plant, DICE_OPENING, 0);
        Self {
            master,
            plant,
            dice,
            characteristics: characteristics(master),
            present,
            connected: false,
            wishes: Vec::new(),
            requests_ordered: 0,
        }
    }

    /// From now on the plant executes what a hub wrote.
    pub fn connect(&mut self, wishes: Vec<Wish>) {
        self.connected = true;
        self.wishes = wishes;
    }

    /// Purchase requests of the hub that became orders.
    pub fn requests_ordered(&self) -> usize {
        self.requests_ordered
    }

    /// Simulates from 06:00 UTC of `day` to 06:00 UTC of the next one.
    pub fn day(&mut self, day: NaiveDate) {
        self.dice = Dice::new(self.master.seed, self.master.plant, DICE_DAY, i64::from(day_no(day)));
        let start = day_start(day);
        self.plant.now = start;
        self.agenda(day, start);
        let end = start + DAY;
        while let Some(Reverse((when, _, _))) = self.plant.queue.peek()
            && *when < end
        {
            let Some(Reverse((when, _, event))) = self.plant.queue.pop() else { break };
            self.plant.now = when.max(self.plant.now);
            self.happen(event);
        }
        self.plant.now = end;
    }

    /// Puts on the calendar what comes from outside on `day`.
    fn agenda(&mut self, day: NaiveDate, start: Seconds) {
        for center in 0..self.master.centers.len() {
            let shifts = self.master.shifts_of(center).spans();
            let first = shifts.partition_point(|(begin, _)| *begin < start);
            for (begin, _) in shifts[first..].iter().take_while(|(begin, _)| *begin < start + DAY) {
                self.plant.at(*begin, Event::Dispatch { center: center as u8 });
            }
        }
        if !is_working(day) {
            return;
        }
        self.plant.at(start + 20 * MINUTE, Event::Plan);
        self.plant.at(start + 5 * HOUR, Event::Rebalance);
        self.plant.at(start + 7 * HOUR, Event::Ship { site: 0 });
        self.plant.at(start + 7 * HOUR + 30 * MINUTE, Event::Ship { site: 1 });
        if day.weekday() == Weekday::Wed {
            self.plant.at(start + 9 * HOUR, Event::Count);
        }
        for _ in 0..self.dice.bell(LINES_PER_DAY * 10 / sell::LINES_PER_ORDER_TENTHS, 8).max(3) {
            let when = start + self.dice.between(10, 9 * 60) * MINUTE;
            self.plant.at(when, Event::Order);
        }
        for _ in 0..self.dice.between(0, 3) {
            let when = start + self.dice.between(60, 8 * 60) * MINUTE;
            self.plant.at(when, Event::Opportunity);
        }
    }

    fn happen(&mut self, event: Event) {
        match event {
            Event::PieceEnds { order, step } => self.piece_ends(order, step),
            Event::Inspect { inspection, fail } => self.decide_inspection(inspection, fail),
            Event::Delivery { order, line, quantity } => self.receive(order, line, quantity),
            Event::SupplierConfirms { order, line, day } => self.supplier_confirms(order, line, day),
            Event::SupplierMoves { order, line, day } => self.supplier_moves(order, line, day),
            Event::Plan => self.plan(),
            Event::Order => self.order_arrives(),
            Event::HandOver { request } => self.hand_over(request),
            Event::Promise { order, line, schedule } => self.promise(order, line, schedule),
            Event::Dispatch { center } => self.dispatch(usize::from(center)),
            Event::Ship { site } => self.ship(site),
            Event::Rebalance => self.rebalance(),
            Event::Count => self.count(),
            Event::Complain { customer, order, shipment, item, lot, quantity } => {
                self.complain(customer, order, shipment, item, lot, quantity)
            }
            Event::ComplaintMoves { complaint } => self.complaint_moves(complaint),
            Event::Opportunity => self.opportunity(),
            Event::OpportunityEnds { opportunity } => self.opportunity_ends(opportunity),
            Event::CloseCase { case } => self.close_case(case),
        }
    }

    fn today(&self) -> NaiveDate {
        day_of(self.plant.now)
    }
}

/// Days since 1970-01-01.
pub fn day_no(day: NaiveDate) -> DayNo {
    day.signed_duration_since(NaiveDate::default()).num_days() as DayNo
}

/// The reverse of [`day_no`].
pub fn date(day: DayNo) -> NaiveDate {
    match u64::try_from(day) {
        Ok(after) => NaiveDate::default() + Days::new(after),
        Err(_) => NaiveDate::default() - Days::new(u64::from(day.unsigned_abs())),
    }
}
