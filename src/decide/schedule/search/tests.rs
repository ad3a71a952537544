//! Random small factories with everything in them: plans checked by rules that know nothing of the search, times made new against times built anew.

use proptest::prelude::*;

use super::super::calendar::Calendar;
use super::super::shop::*;
use super::super::timing::Problem;
use super::cost::Cost;
use super::moves::{Step, propose};
use super::random::Random;
use super::state::State;
use super::*;

/// A factory from a seed: up to 6 orders of up to 5 operations, in units of a microsecond.
pub fn factory(seed: u64) -> Shop {
    let mut random = Random::new(seed, 7);
    let mut below = |bound: i64| random.below(bound as usize) as i64;
    let mut shop = Shop { now: below(20) - 10, ..Shop::default() };
    for _ in 0..3 {
        let windows = (0..40).map(|day| (day * 24 + below(10), day * 24 + 10 + below(14)));
        shop.calendars.push(Calendar::new(windows.collect()));
    }
    shop.calendars.push(Calendar::new(vec![(-100, 1_000)]));
    let mut setups = |_| if below(4) == 0 { -1 } else { below(6) };
    shop.matrices.push(Matrix { families: 3, setups: (0..9).map(&mut setups).collect() });
    let resources = 1 + below(4);
    for _ in 0..resources {
        let matrix = (below(2) == 0).then_some(0);
        let family = (below(2) == 0).then_some(below(3) as u32);
        shop.resources.push(Resource { calendar: below(4) as u32, matrix, family });
    }
    shop.units = (0..3).map(|_| Unit { calendar: below(4) as u32 }).collect();
    shop.pools = vec![vec![0], vec![1, 2], vec![0, 1, 2]];
    let special = below(4) == 0;
    for order in 0..1 + below(6) {
        let due = (below(4) > 0).then(|| below(400));
        shop.orders.push(Order { due, weight: below(5) });
        for step in 0..1 + below(5) {
            let at = shop.operations.len() as u32;
            let (choice, need) = (shop.choices.len() as u32, shop.needs.len() as u32);
            let first = below(resources);
            for other in 0..1 + below(resources) {
                shop.choices.push(Choice { resource: ((first + other) % resources) as u32, duration: below(14) });
            }
            if below(4) == 0 {
                shop.needs.push(Need { pool: below(3) as u32, count: 1 });
            }
            if step > 0 {
                let max_wait = (special && below(3) == 0).then(|| below(30));
                shop.arcs.push(Arc { before: at - 1, after: at, min_wait: below(3), max_wait });
            }
            if at > 2 && below(6) == 0 {
                shop.arcs.push(Arc { before: below(i64::from(at)) as u32, after: at, min_wait: 0, max_wait: None });
            }
            let start = below(300);
            let fixed =
                (below(12) == 0).then(|| Fixed { resource: Some(below(resources) as u32), start, end: start + below(20) });
            let fault = (below(60) == 0).then(|| "broken".to_owned());
            shop.operations.push(Operation {
                order: order as u32,
                choices: choice..shop.choices.len() as u32,
                needs: need..shop.needs.len() as u32,
                release: (below(3) == 0).then(|| below(200)),
                family: (below(3) > 0).then_some(below(3) as u32),
                setup: below(4),
                interruptible: below(3) > 0,
                fixed,
                previous: (below(3) > 0).then(|| (first as u32, below(300))),
                fault,
            });
        }
    }
    let terms = [Term::Tardiness, TERMS[below(5) as usize], TERMS[below(5) as usize]];
    shop.goals =
        (0..below(4)).map(|goal| Goal { term: terms[goal as usize], level: below(2) as u8, weight: 1 + below(3) }).collect();
    shop
}

/// Everything that a plan must keep.
fn check(shop: &Shop, plan: &Plan) -> Result<(), TestCaseError> {
    let slot = |at: u32| plan.slots[at as usize].as_ref().ok();
    let mut busy: Vec<Vec<(i64, i64, usize)>> = vec![Vec::new(); shop.resources.len()];
    for (at, operation) in shop.operations.iter().enumerate() {
        let Some(slot) = slot(at as u32) else { continue };
        busy[slot.resource.unwrap() as usize].push((slot.start, slot.end, at));
        prop_assert!(slot.slack >= 0);
        if let Some(fixed) = operation.fixed {
            prop_assert_eq!((slot.resource, slot.start, slot.end), (fixed.resource, fixed.start, fixed.end));
            continue;
        }
        prop_assert!(slot.start >= shop.now && operation.release.is_none_or(|release| slot.start >= release));
        let choice = shop.choices_of(at).iter().find(|choice| Some(choice.resource) == slot.resource).unwrap();
        let calendar = &shop.calendars[shop.resources[choice.resource as usize].calendar as usize];
        let (length, worked) = (choice.duration + slot.setup, calendar.work(slot.start, slot.end));
        let alone = shop.needs_of(at).is_empty();
        prop_assert!(worked == length || !alone && operation.interruptible && worked > length, "{at}: {worked} for {length}");
        prop_assert!(operation.interruptible || slot.end - slot.start == length);
    }
    for arc in &shop.arcs {
        let (Some(before), Some(after)) = (slot(arc.before), slot(arc.after)) else { continue };
        if shop.operations[arc.after as usize].fixed.is_none() {
            prop_assert!(before.end + arc.min_wait <= after.start, "{arc:?} {before:?} {after:?}");
        }
        let stay = [arc.before, arc.after].iter().all(|at| shop.operations[*at as usize].fixed.is_some());
        prop_assert!(stay || arc.max_wait.is_none_or(|wait| after.start <= before.end + wait.max(arc.min_wait)), "{arc:?}");
    }
    for (resource, slots) in busy.iter_mut().enumerate() {
        slots.sort_unstable();
        let mut end = i64::MIN;
        let by_end = |slots: &[(i64, i64, usize)], at: i64| {
            slots.iter().filter(|slot| slot.1 <= at).max_by_key(|slot| slot.1).map(|slot| slot.2)
        };
        for (start, until, at) in slots.clone() {
            let operation = &shop.operations[at];
            if operation.fixed.is_none() {
                prop_assert!(start >= end || until == start, "resource {resource} at {start}");
                // after operations without length at one instant, several families may have been the last
                let ties = slots.iter().filter(|slot| slot.1 == slot.0).count() > 0;
                if let (Some(before), false) = (by_end(slots, start), ties) {
                    let family = shop.operations[before].family;
                    let setup = plan.slots[at].as_ref().unwrap().setup;
                    prop_assert_eq!(setup, shop.setup(resource as u32, family, at));
                }
            } else {
                let over = slots.iter().any(|other| {
                    shop.operations[other.2].fixed.is_none() && other.0 < until && start < other.1 && other.0 < other.1
                });
                prop_assert!(!over, "{at} is fixed on {resource}");
            }
            end = end.max(until);
        }
    }
    for (pool, units) in shop.pools.iter().enumerate() {
        let uses =
            |at: &usize| shop.needs_of(*at).iter().any(|need| units_within(shop, need.pool, units) || need.pool as usize == pool);
        let users: Vec<&Slot> = (0..shop.operations.len())
            .filter(uses)
            .filter_map(|at| slot(at as u32))
            .filter(|slot| slot.wait != Wait::Fixed)
            .collect();
        for one in &users {
            let together = users.iter().filter(|other| other.start <= one.start && one.start < other.end).count();
            prop_assert!(together <= units.len(), "{together} of pool {pool} at {}", one.start);
        }
    }
    Ok(())
}

/// Whether a pool's units are all among these.
fn units_within(shop: &Shop, pool: u32, units: &[u32]) -> bool {
    shop.pools[pool as usize].iter().all(|unit| units.contains(unit))
}

fn budget(iterations: u64, walkers: u32) -> Budget {
    Budget { iterations, seed: 3, walkers }
}

fn never() -> bool {
    false
}

fn value(shop: &Shop, plan: &Plan) -> (usize, i128) {
    let _ = shop;
    (plan.slots.iter().filter(|slot| slot.is_err()).count(), plan.objective)
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, cases: 250, ..ProptestConfig::default() })]

    #[test]
    fn plans_keep_all_rules(seed: u64) {
        let shop = factory(seed);
        let first = solve(&shop, &budget(0, 2), &never);
        check(&shop, &first)?;
        let plan = solve(&shop, &budget(1, 2), &never);
        check(&shop, &plan)?;
        prop_assert!(plan.lower_bound <= plan.objective);
        let waits = shop.arcs.iter().any(|arc| arc.max_wait.is_some());
        prop_assert!(waits || value(&shop, &plan) <= value(&shop, &first), "{:?} {:?}", value(&shop, &plan), value(&shop, &first));
        let again = solve(&shop, &Budget { iterations: plan.iterations, ..budget(0, 2) }, &never);
        prop_assert_eq!(&again.slots, &plan.slots);
    }

    /// Moves taken and taken back leave the plan that one built anew from the same decisions is.
    #[test]
    fn times_are_those_of_a_plan_built_anew(seed: u64) {
        let shop = factory(seed);
        let problem = Problem::new(&shop, &[]);
        let mut state = first(&problem, &never);
        let mut random = Random::new(seed, 1);
        let (mut path, mut steps) = (Vec::new(), Vec::new());
        if state.at.is_empty() {
            return Ok(());
        }
        for _ in 0..60 {
            propose(&state, &mut random, 50, &mut path, &mut steps);
            let before = (state.blueprint(), state.times.clone(), state.cost, state.order_end.clone());
            let done = steps.iter().all(|step| match *step {
                Step::Relocate(operation, choice, place) => state.relocate(operation, choice, place),
                Step::Hold(operation) => { state.toggle_held(operation); true }
            });
            let settled = done && state.settle(if random.percent(20) { 0.0 } else { f64::INFINITY });
            if !settled || random.percent(30) {
                state.undo();
                let after = state.blueprint();
                prop_assert_eq!((&before.0.order, &before.0.choices, &before.0.units), (&after.order, &after.choices, &after.units));
                prop_assert_eq!((&before.1, before.2, &before.3), (&state.times, state.cost, &state.order_end));
            } else {
                state.commit();
                if random.percent(10) {
                    state.sort();
                }
                if problem.limits.is_empty() {
                    let anew = State::new(&problem, &state.blueprint());
                    prop_assert_eq!(&anew.times, &state.times);
                    prop_assert_eq!(totals(&anew), totals(&state));
                }
            }
        }
    }
}

fn totals(state: &State<'_>) -> (Cost, Vec<i64>, usize) {
    let mut cost = state.cost;
    cost.terms[Term::Makespan as usize] = state.makespan();
    (cost, state.order_end.clone(), state.late.len())
}
