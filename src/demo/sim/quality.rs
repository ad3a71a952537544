//! Quality: measurements, inspections, cases, complaints.

use super::super::plant::{Bin, Case, Complaint, Event, Inspection, Measurement, MoveKind, Place, Quality, next};
use super::{Sim, day_no};
use crate::demo::calendar::{DAY, HOUR, MINUTE};
use crate::demo::master::{Level, Master};
use crate::demo::names;

/// Every n-th made item is measured.
const MEASURED_EVERY: usize = 6;
/// Values in one subgroup, and subgroups in one order.
const SUBGROUP: i64 = 4;
/// The work centre that drifts away in the last days before the present.
const DRIFTING_CENTER: u8 = 6;
const DRIFT_DAYS: i32 = 12;

/// Something that is measured at the end of an order. Values are in ten-thousandths of the unit.
#[derive(Debug, Clone)]
pub struct Characteristic {
    pub id: u16,
    pub item: usize,
    pub name: &'static str,
    pub unit: &'static str,
    pub target: i64,
    pub tolerance: i64,
}

/// What is measured in this plant.
pub fn characteristics(master: &Master) -> Vec<Characteristic> {
    const KINDS: [(&str, &str, i64, i64); 3] =
        [("Diameter", "mm", 240_000, 500), ("Leak rate", "ml/min", 30_000, 12_000), ("Torque", "Nm", 85_000, 6_000)];
    let made = master.items.iter().enumerate().filter(|(index, item)| item.level != Level::Bought && index % MEASURED_EVERY == 0);
    let mut all = Vec::new();
    for (index, _) in made {
        for offset in 0..2 {
            let (name, unit, target, tolerance) = KINDS[(index / MEASURED_EVERY + offset) % KINDS.len()];
            let target = target + index as i64 * 100;
            all.push(Characteristic { id: all.len() as u16 + 1, item: index, name, unit, target, tolerance });
        }
    }
    all
}

impl Sim<'_> {
    /// One subgroup of each characteristic of what was made.
    pub(super) fn measure(&mut self, order: u32, item: usize, lot: u32, center: u8, faulty: bool) {
        let now = self.plant.now;
        let ago = day_no(self.present) - day_no(self.today());
        let drift = if center == DRIFTING_CENTER { (DRIFT_DAYS - ago).clamp(0, DRIFT_DAYS * 2) } else { 0 };
        for index in 0..self.characteristics.len() {
            if self.characteristics[index].item != item {
                continue;
            }
            let Characteristic { id, target, tolerance, .. } = self.characteristics[index];
            // The spread is a fifth of the tolerance: capable, until something shifts.
            let shift = i64::from(drift) * tolerance / 16 + if faulty { tolerance * 7 / 10 } else { 0 };
            let subgroup = self.plant.numbers.measurement + 1;
            for nth in 0..SUBGROUP {
                let value = target + shift + self.dice.bell(0, tolerance * 7 / 10);
                let number = next(&mut self.plant.numbers.measurement);
                let at = now - (SUBGROUP - nth) * MINUTE;
                let measurement = Measurement { id: number, characteristic: id, value, lot, order, center, subgroup, at };
                self.plant.log.measurements.push(measurement);
            }
        }
    }

    pub(super) fn open_inspection(
        &mut self,
        receipt: Option<u32>,
        work_order: Option<u32>,
        item: usize,
        lot: u32,
        quantity: i64,
        when: i64,
        fail: bool,
    ) {
        let id = next(&mut self.plant.numbers.inspection);
        let now = self.plant.now;
        let inspection = Inspection {
            id,
            receipt,
            work_order,
            item: item as u16,
            lot,
            quantity,
            sample: (quantity / 20).max(1),
            rejected: 0,
            opened: now,
            decided: None,
            defect: None,
            changed: now,
        };
        self.plant.inspections.insert(id, inspection);
        self.plant.at(when, Event::Inspect { inspection: id, fail });
    }

    pub(super) fn decide_inspection(&mut self, id: u32, fail: bool) {
        let now = self.plant.now;
        let defect = self.dice.below(names::DEFECTS.len() as i64) as u8;
        let Some(inspection) = self.plant.inspections.get_mut(&id) else { return };
        (inspection.decided, inspection.changed) = (Some(now), now);
        if fail {
            inspection.rejected = (inspection.sample / 4).max(1);
            inspection.defect = Some(defect);
        }
        let (lot, item, receipt) = (inspection.lot, inspection.item, inspection.receipt);
        let Some(state) = self.plant.lots.get_mut(&lot) else { return };
        // Somebody may have blocked the lot meanwhile: then it stays blocked.
        if fail || state.quality == Quality::Inspection {
            (state.quality, state.changed) = (if fail { Quality::Rejected } else { Quality::Free }, now);
        }
        if fail {
            self.quarantine(item, lot, defect, receipt.is_some());
        }
        self.wake();
    }

    /// A rejected lot goes to quarantine, and somebody has to decide what becomes of it.
    fn quarantine(&mut self, item: u16, lot: u32, defect: u8, supplier: bool) {
        let now = self.plant.now;
        let id = next(&mut self.plant.numbers.case);
        for (place, quantity) in self.places(item, lot) {
            self.transfer(usize::from(item), lot, place, Place { site: place.site, bin: Bin::Quarantine }, quantity, id);
        }
        self.plant.cases.insert(id, Case { id, supplier, item, lot, defect, opened: now, closed: None, changed: now });
        let when = now + self.dice.between(5, 12) * DAY;
        self.plant.at(when, Event::CloseCase { case: id });
    }

    fn places(&self, item: u16, lot: u32) -> Vec<(Place, i64)> {
        let quants = self.plant.stock[usize::from(item)].iter();
        quants.filter(|quant| quant.lot == lot).map(|quant| (quant.place, quant.quantity)).collect()
    }

    /// The case is decided: the lot goes back or is scrapped.
    pub(super) fn close_case(&mut self, id: u32) {
        let now = self.plant.now;
        let Some(case) = self.plant.cases.get_mut(&id) else { return };
        (case.closed, case.changed) = (Some(now), now);
        let (item, lot) = (case.item, case.lot);
        for (place, quantity) in self.places(item, lot) {
            self.take(usize::from(item), lot, place, quantity, MoveKind::Adjustment, id);
        }
    }

    pub(super) fn complain(&mut self, customer: u16, order: u32, shipment: u32, item: u16, lot: u32, quantity: i64) {
        let now = self.plant.now;
        let id = next(&mut self.plant.numbers.complaint);
        let complaint = Complaint {
            id,
            customer,
            order,
            shipment,
            item,
            lot,
            lot_known: self.dice.chance(650),
            quantity: (quantity * self.dice.between(5, 60) / 100).max(1),
            defect: self.dice.weighted(&[50, 25, 15, 10]) as u8,
            severity: self.dice.weighted(&[50, 40, 10]) as u8,
            received: now,
            state: 0,
            changed: now,
        };
        self.plant.complaints.insert(id, complaint);
        let when = now + self.dice.between(10, 60) * HOUR;
        self.plant.at(when, Event::ComplaintMoves { complaint: id });
    }

    pub(super) fn complaint_moves(&mut self, id: u32) {
        let now = self.plant.now;
        let days = self.dice.between(3, 14);
        let Some(complaint) = self.plant.complaints.get_mut(&id) else { return };
        (complaint.state, complaint.changed) = (complaint.state + 1, now);
        if complaint.state < 3 {
            self.plant.at(now + days * DAY, Event::ComplaintMoves { complaint: id });
        }
    }
}
