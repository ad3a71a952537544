//! Identity: planned orders take over open proposals, so that a changed plan is an update and an unchanged plan is nothing at all.
//!
//! Orders on the very day of a proposal choose first, then all others in date order the proposal nearest in date, then in quantity. The id is
//! kept; date and quantity too, where both differences are within the dead band: at most max(2 days, 10 % of the lead time), and less than one
//! lot (less than 10 % where there is none). What was proposed for a day in the past moves. A proposal inside the frozen zone keeps its date
//! anyway, as long as the order belongs there too; nothing new is put inside.
//!
//! Matching is repeated on its own result until that stays as it is, so planning again with the written proposals yields the same rows.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashSet};

use crate::decide::quantity::{Date, Day, Micro};

use super::net::{Planned, Policy};

/// Rounds of matching; two or three settle it, and a result that is still moving is as good as any other.
const ROUNDS_MAX: usize = 8;

/// A proposal: an open one that was given, or an order of the plan.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Proposal<'t> {
    pub id: Cow<'t, str>,
    pub due: Day,
    pub quantity: Micro,
}

/// Gives out ids that are not in use.
pub struct Ids<'t> {
    used: HashSet<Cow<'t, str>>,
}

impl<'t> Ids<'t> {
    pub fn new(used: impl Iterator<Item = Cow<'t, str>>) -> Self {
        Self { used: used.collect() }
    }

    /// `PR-<item>-<site>-<yyyymmdd>-<n>` with the smallest free n.
    pub fn proposal(&mut self, item: &str, site: &str, due: Day) -> Cow<'t, str> {
        let date = Date(due).to_string().replace('-', "");
        self.unused(&format!("PR-{item}-{site}-{date}"))
    }

    pub fn unused(&mut self, stem: &str) -> Cow<'t, str> {
        for n in 1_u64.. {
            let id: Cow<'t, str> = Cow::Owned(format!("{stem}-{n}"));
            if self.used.insert(id.clone()) {
                return id;
            }
        }
        Cow::Owned(stem.to_owned()) // not reached: there are more numbers than proposals
    }
}

/// One final order for each planned one, in the same order. Proposals that nothing needs are dropped.
pub fn settle<'t>(
    today: Day,
    policy: &Policy,
    planned: &[Planned<'_>],
    open: &[Proposal<'t>],
    mut create: impl FnMut(Day) -> Cow<'t, str>,
) -> Vec<Proposal<'t>> {
    let fence = today.saturating_add(policy.zone);
    let mut round = |open: &[Proposal<'t>]| -> Vec<Proposal<'t>> {
        let found = matched(planned, open);
        let each = planned.iter().zip(found);
        each.map(|(order, proposal)| match proposal {
            Some(proposal) => keep(policy, (today, fence), order, proposal),
            None => {
                let due = order.due.max(fence);
                Proposal { id: create(due), due, quantity: order.quantity }
            }
        })
        .collect()
    };
    let mut orders = round(open);
    if open.is_empty() && planned.first().is_none_or(|first| first.due >= fence) {
        return orders; // exactly as planned: another round would change nothing
    }
    for _ in 1..ROUNDS_MAX {
        let again = round(&orders);
        if again == orders {
            break;
        }
        orders = again;
    }
    orders
}

/// The order as the proposal has it, if the difference is not worth a change.
fn keep<'t>(policy: &Policy, (today, fence): (Day, Day), order: &Planned<'_>, proposal: &Proposal<'t>) -> Proposal<'t> {
    let overdue = proposal.due < today;
    let frozen = !overdue && proposal.due <= fence && order.due <= fence;
    let due = match (frozen, proposal.due > fence) {
        (true, _) => proposal.due,
        (false, true) => order.due.max(fence),
        (false, false) => order.due,
    };
    let days = due.abs_diff(proposal.due);
    let near = !overdue && (days <= 2 || days.saturating_mul(10) <= policy.lead.unsigned_abs());
    let change = (order.quantity - proposal.quantity).abs();
    let alike = match policy.lots.step() {
        Some(lot) => change < lot,
        None => change.saturating_mul(10) < order.quantity,
    };
    if near && alike { proposal.clone() } else { Proposal { id: proposal.id.clone(), due, quantity: order.quantity } }
}

/// The proposal that each planned order takes over; each proposal at most once.
fn matched<'p, 't>(planned: &[Planned<'_>], open: &'p [Proposal<'t>]) -> Vec<Option<&'p Proposal<'t>>> {
    let mut free: BTreeMap<Day, Vec<&Proposal<'t>>> = BTreeMap::new();
    for proposal in open {
        free.entry(proposal.due).or_default().push(proposal);
    }
    let mut found: Vec<_> = planned.iter().map(|order| take(&mut free, &[order.due], order.quantity)).collect();
    for (order, found) in planned.iter().zip(&mut found) {
        if found.is_some() {
            continue;
        }
        let before = free.range(..order.due).next_back().map(|(day, _)| *day);
        let after = free.range(order.due..).next().map(|(day, _)| *day);
        let distance = |day: &Day| day.abs_diff(order.due);
        let nearest = before.iter().chain(&after).map(distance).min();
        let days: Vec<Day> = before.into_iter().chain(after).filter(|day| Some(distance(day)) == nearest).collect();
        *found = take(&mut free, &days, order.quantity);
    }
    found
}

/// Takes the proposal of these days that is nearest in quantity; of equals the earlier, then the one with the smaller id (`-2` before `-10`).
fn take<'p, 't>(free: &mut BTreeMap<Day, Vec<&'p Proposal<'t>>>, days: &[Day], quantity: Micro) -> Option<&'p Proposal<'t>> {
    let candidates = days.iter().filter_map(|day| free.get(day)).flatten();
    let best = *candidates
        .min_by_key(|proposal| ((proposal.quantity - quantity).abs(), proposal.due, proposal.id.len(), proposal.id.as_ref()))?;
    let same_day = free.get_mut(&best.due)?;
    same_day.retain(|proposal| proposal.id != best.id);
    if same_day.is_empty() {
        free.remove(&best.due);
    }
    Some(best)
}
