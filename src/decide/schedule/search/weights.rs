//! What holds operations up, and what it is worth to have them end earlier.

use super::super::timing::NONE;
use super::state::State;

impl State<'_> {
    /// The last that lets an operation start, and the member by which it keeps a chain, if it is that; none: material, or nothing.
    pub fn holder(&self, at: u32) -> Option<(u32, u32)> {
        let (mut end, mut holder) = (self.problem.works[at as usize].ready, None);
        for (before, wait) in self.problem.preds.of(at) {
            let ends = self.times[*before as usize].end.saturating_add(*wait);
            if ends > end {
                (end, holder) = (ends, Some((*before, NONE)));
            }
        }
        for member in self.problem.members.range(at) {
            if let Some(before) = self.before(member).filter(|before| self.times[*before as usize].end >= end) {
                (end, holder) = (self.times[before as usize].end, Some((before, member)));
            }
        }
        holder
    }

    /// How much later an operation starts than in the last plan.
    pub fn displaced(&self, at: u32) -> i64 {
        let previous = self.problem.works[at as usize].previous;
        if previous == i64::MIN { 0 } else { self.times[at as usize].start - previous }
    }

    /// Follows from each late order, and from the plan's end, back what holds it up.
    fn weigh(&mut self) {
        self.pull.fill(0.0);
        self.drag.fill(0.0);
        for order in &self.late {
            let lasts = self.problem.lasts.of(*order).iter().copied();
            if let Some(last) = lasts.max_by_key(|last| self.times[*last as usize].end) {
                self.pull[last as usize] += self.measure.late_weight(*order);
            }
        }
        if let Some(last) = self.at.iter().copied().max_by_key(|at| self.times[*at as usize].end) {
            self.pull[last as usize] += self.measure.end_weight();
        }
        let moved = self.measure.move_weight();
        for place in (0..self.at.len()).rev() {
            let at = self.at[place];
            if moved > 0.0 && self.displaced(at) > 0 {
                self.pull[at as usize] += moved;
            }
            self.drag[at as usize] += self.pull[at as usize];
            if let (true, Some((holder, member))) = (self.problem.is_free(at), self.holder(at)) {
                let drag = self.drag[at as usize];
                let side = if member == NONE { &mut self.pull } else { &mut self.drag };
                side[holder as usize] += drag;
            }
        }
    }

    /// Sorts the order of all by time, which keeps moves short, and weighs operations anew.
    pub fn sort(&mut self) {
        let mut keys = vec![i64::MIN; self.times.len()];
        for operation in &self.at {
            let mut key = self.times[*operation as usize].start;
            self.problem.preds.of(*operation).iter().for_each(|(before, _)| key = key.max(keys[*before as usize]));
            if self.problem.is_free(*operation) {
                for member in self.problem.members.range(*operation) {
                    self.before(member).into_iter().for_each(|before| key = key.max(keys[before as usize]));
                }
            }
            keys[*operation as usize] = key;
        }
        self.at.sort_by_key(|operation| keys[*operation as usize]);
        (0..self.at.len()).for_each(|place| self.pos[self.at[place] as usize] = place as u32);
        self.weigh();
    }
}
