//! The shop floor: work centres take the most urgent step that can run, use up lots, make new ones.

use super::super::plant::{
    Confirmation, Event, Link, MachineState, MoveKind, Piece, PieceKind, Progress, Quality, StateEvent, StepState, next,
};
use super::Sim;
use crate::demo::calendar::{HOUR, MINUTE, Seconds};

/// Finished orders that a final inspection looks at, in per mille.
const FINAL_INSPECTION: i64 = 120;

impl Sim<'_> {
    /// An idle work centre looks for work.
    pub(super) fn dispatch(&mut self, center: usize) {
        let now = self.plant.now;
        if self.plant.busy[center].is_some() || self.master.shifts_of(center).running(now).is_none() {
            return;
        }
        let mut ready: Vec<(Seconds, u32, u8)> = Vec::new();
        for id in &self.plant.open_work {
            let Some(order) = self.plant.work_orders.get(id) else { continue };
            if matches!(order.progress, Progress::Released | Progress::Started) {
                let steps = order.steps.iter().enumerate();
                let waiting = steps.filter(|(_, step)| usize::from(step.center) == center && step.state == StepState::Ready);
                ready.extend(waiting.map(|(index, step)| (step.planned.0, *id, index as u8)));
            }
        }
        ready.sort_unstable();
        if let Some((_, order, step)) = ready.into_iter().find(|(_, order, step)| *step > 0 || self.has_materials(*order)) {
            self.start(center, order, step);
        }
    }

    fn has_materials(&self, order: u32) -> bool {
        let Some(order) = self.plant.work_orders.get(&order) else { return false };
        order.needs.iter().all(|need| self.free(usize::from(need.item), 0) >= need.required - need.issued)
    }

    fn start(&mut self, center: usize, id: u32, step: u8) {
        if step == 0 {
            self.issue(id);
        }
        let now = self.plant.now;
        let Some(order) = self.plant.work_orders.get(&id) else { return };
        let item = &self.master.items[usize::from(order.item)];
        let index = usize::from(step);
        let quantity = if index == 0 { order.quantity } else { order.steps[index - 1].good };
        let route = &item.steps[index];
        let same = self.plant.families[center] == item.family;
        let setup = if same { route.setup_s / 4 } else { route.setup_s };
        let planned = (i128::from(quantity) * i128::from(route.run_us) / 1_000_000) as i64;
        let run = (planned * self.dice.bell(101, 14) / 100).max(MINUTE);
        let pieces = self.pieces(center, setup, run);
        let Some(first) = pieces.first().copied() else { return };
        self.plant.families[center] = item.family;
        self.plant.busy[center] = Some((id, step));
        if let Some(order) = self.plant.work_orders.get_mut(&id) {
            let state = &mut order.steps[index];
            (state.state, state.started, state.pieces, state.run_s, state.changed) =
                (StepState::Started, Some(now), pieces, run, now);
            (order.progress, order.changed) = (Progress::Started, now);
            order.started = order.started.or(Some(now));
        }
        self.plant.at(first.end, Event::PieceEnds { order: id, step });
    }

    /// Set-up, work and now and then a breakdown, cut at the ends of shifts.
    fn pieces(&mut self, center: usize, setup: i64, run: i64) -> Vec<Piece> {
        let breakdown = self.dice.chance(self.master.centers[center].breakdowns);
        let before = if breakdown { run * self.dice.between(10, 90) / 100 } else { run };
        let down = if breakdown { self.dice.between(20, 300) * MINUTE } else { 0 };
        let shifts = self.master.shifts_of(center);
        let mut from = self.plant.now;
        let mut pieces = Vec::new();
        for (kind, seconds) in
            [(PieceKind::Setup, setup), (PieceKind::Run, before), (PieceKind::Down, down), (PieceKind::Run, run - before)]
        {
            if seconds > 0 {
                pieces.extend(shifts.pieces(from, seconds).into_iter().map(|(begin, end)| Piece { kind, begin, end }));
                from = pieces.last().map_or(from, |piece| piece.end);
            }
        }
        pieces
    }

    /// Takes all components of an order from the racks, the oldest lots first.
    fn issue(&mut self, id: u32) {
        let Some(needs) = self.plant.work_orders.get(&id).map(|order| order.needs.clone()) else { return };
        let mut faulty = false;
        for (index, need) in needs.iter().enumerate() {
            let item = usize::from(need.item);
            for (lot, place, picked) in self.pick(item, 0, need.required - need.issued) {
                let taken = self.take(item, lot, place, picked, MoveKind::Issue, id);
                faulty |= self.plant.lots.get(&lot).is_some_and(|lot| lot.faulty);
                let number = next(&mut self.plant.numbers.link);
                let at = self.plant.now;
                self.plant.log.links.push(Link {
                    id: number,
                    order: id,
                    output: false,
                    item: need.item,
                    lot,
                    quantity: taken,
                    at,
                });
                if let Some(order) = self.plant.work_orders.get_mut(&id) {
                    order.needs[index].issued += taken;
                }
            }
        }
        let spoilt = faulty && self.dice.chance(800);
        if let Some(order) = self.plant.work_orders.get_mut(&id) {
            order.faulty |= spoilt;
        }
    }

    /// A piece of work is over: report it, go on or finish the step.
    pub(super) fn piece_ends(&mut self, id: u32, step: u8) {
        let Some(order) = self.plant.work_orders.get_mut(&id) else { return };
        let state = &mut order.steps[usize::from(step)];
        if state.pieces.is_empty() {
            return;
        }
        let piece = state.pieces.remove(0);
        let following = state.pieces.first().copied();
        let center = state.center;
        match piece.kind {
            PieceKind::Run => self.confirm(id, step, piece, following.is_none()),
            PieceKind::Setup => self.log_state(center, MachineState::Setup, piece),
            PieceKind::Down => self.log_state(center, MachineState::Down, piece),
        }
        match following {
            Some(piece) => self.plant.at(piece.end, Event::PieceEnds { order: id, step }),
            None => self.finish_step(id, step),
        }
    }

    fn log_state(&mut self, center: u8, state: MachineState, piece: Piece) {
        let id = next(&mut self.plant.numbers.state);
        self.plant.log.states.push(StateEvent { id, center, state, begin: piece.begin, end: piece.end });
    }

    fn confirm(&mut self, id: u32, step: u8, piece: Piece, last: bool) {
        let now = self.plant.now;
        let permille = if self.dice.chance(80) { self.dice.between(15, 60) } else { self.dice.between(0, 9) };
        let Some(order) = self.plant.work_orders.get_mut(&id) else { return };
        let index = usize::from(step);
        let quantity = if index == 0 { order.quantity } else { order.steps[index - 1].good };
        let state = &mut order.steps[index];
        let already = state.good;
        let scrap = if last { quantity * permille / 1_000 } else { 0 };
        let share = (i128::from(quantity) * i128::from(piece.end - piece.begin) / i128::from(state.run_s.max(1))) as i64;
        // Never more than what a full scrap on the last piece would leave.
        let most = (quantity * 94 / 100 - already).max(0);
        let good = if last { (quantity - scrap - already).max(0) } else { share.min(most) };
        state.good += good;
        state.changed = now;
        order.scrap += scrap;
        if index + 1 == order.steps.len() {
            order.good = order.steps[index].good;
        }
        order.changed = now;
        let (center, item) = (order.steps[index].center, order.item);
        let number = next(&mut self.plant.numbers.confirmation);
        let confirmation =
            Confirmation { id: number, order: id, step, center, item, good, scrap, begin: piece.begin, end: piece.end };
        self.plant.log.confirmations.push(confirmation);
    }

    fn finish_step(&mut self, id: u32, step: u8) {
        let now = self.plant.now;
        let Some(order) = self.plant.work_orders.get_mut(&id) else { return };
        let index = usize::from(step);
        let center = usize::from(order.steps[index].center);
        (order.steps[index].state, order.steps[index].ended, order.steps[index].changed) = (StepState::Completed, Some(now), now);
        self.plant.busy[center] = None;
        match order.steps.get_mut(index + 1) {
            Some(following) => {
                (following.state, following.changed) = (StepState::Ready, now);
                let center = following.center;
                self.plant.at(now, Event::Dispatch { center });
            }
            None => self.complete(id),
        }
        self.plant.at(now, Event::Dispatch { center: center as u8 });
    }

    /// The last step is done: a new lot comes into stock.
    fn complete(&mut self, id: u32) {
        let now = self.plant.now;
        let Some(order) = self.plant.work_orders.get_mut(&id) else { return };
        (order.progress, order.completed, order.changed) = (Progress::Completed, Some(now), now);
        let (item, good, faulty) = (usize::from(order.item), order.good, order.faulty);
        let center = order.steps.last().map_or(0, |step| step.center);
        if good == 0 {
            return;
        }
        let inspected = self.dice.chance(FINAL_INSPECTION);
        let quality = if inspected { Quality::Inspection } else { Quality::Free };
        let lot = self.incoming_lot(item, None, None, quality);
        if let Some(lot) = self.plant.lots.get_mut(&lot) {
            lot.faulty |= faulty;
        }
        self.put(item, lot, Self::home(item, 0), good, MoveKind::Production, id);
        let number = next(&mut self.plant.numbers.link);
        self.plant.log.links.push(Link { id: number, order: id, output: true, item: item as u16, lot, quantity: good, at: now });
        self.measure(id, item, lot, center, faulty);
        if inspected {
            let when = now + self.dice.between(4, 70) * HOUR;
            let fail = (faulty && self.dice.chance(500)) || self.dice.chance(8);
            self.open_inspection(None, Some(id), item, lot, good, when, fail);
        }
        self.wake();
    }
}
