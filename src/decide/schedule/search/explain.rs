//! A plan as slots: what each operation waited for, how much later it could end, and why others have none.

use super::super::calendar::NEVER;
use super::super::shop::{Missing, Slot, Wait};
use super::state::State;

pub fn slots(state: &State<'_>) -> Vec<Result<Slot, Missing>> {
    let slack = slack(state);
    let problem = state.problem;
    let slot = |at: usize| {
        if let Some(missing) = &problem.missing[at] {
            return Err(missing.clone());
        }
        let time = state.times[at];
        if let Some(fixed) = problem.shop.operations[at].fixed {
            let resource = fixed.resource;
            return Ok(Slot {
                resource,
                start: fixed.start,
                setup: 0,
                end: fixed.end,
                wait: Wait::Fixed,
                after: None,
                slack: slack[at],
            });
        }
        if time.end > problem.horizon {
            let before =
                problem.preds.of(at as u32).iter().any(|(before, _)| state.times[*before as usize].end > problem.horizon);
            return Err(if before { Missing::Predecessor } else { Missing::Horizon });
        }
        let resource = Some(problem.resource(state.choice[at]));
        let (wait, after) = wait(state, at as u32);
        Ok(Slot { resource, start: time.start, setup: time.setup, end: time.end, wait, after, slack: slack[at] })
    };
    (0..problem.works.len()).map(slot).collect()
}

/// The last thing that kept an operation from starting.
fn wait(state: &State<'_>, at: u32) -> (Wait, Option<u32>) {
    let problem = state.problem;
    let (work, time) = (&problem.works[at as usize], state.times[at as usize]);
    let ends =
        problem.preds.of(at).iter().map(|(before, wait)| (state.times[*before as usize].end.saturating_add(*wait), *before));
    let before = ends.max_by_key(|(end, _)| *end);
    let ready = before.map_or(work.ready, |(end, _)| end.max(work.ready));
    let members = problem.members.range(at);
    let units = &state.chain[members.start as usize + 1..members.end as usize];
    let calendar = problem.calendar(state.choice[at as usize], units);
    let length = time.setup + problem.shop.choices[state.choice[at as usize] as usize].duration;
    let works = |from: i64| calendar.run(from, length, work.interruptible).map_or(NEVER, |(start, _)| start);
    if works(ready) < time.start {
        let held = if state.held[at as usize] { work.previous } else { i64::MIN };
        let held = problem.limits_from.of(at).iter().map(|limit| state.floors[*limit as usize]).fold(held, i64::max);
        let chained = members.clone().filter_map(|member| {
            let other = state.before(member)?;
            Some((state.times[other as usize].end, member == members.start, other, member))
        });
        let last = chained.max().filter(|(end, ..)| *end > ready);
        if held > last.map_or(ready, |last| last.0) {
            return (Wait::Hold, None);
        }
        return match last {
            Some((_, false, other, member)) => {
                (Wait::Unit(state.chain[member as usize] - problem.shop.resources.len() as u32), Some(other))
            }
            last => (Wait::Resource, last.map(|last| last.2)),
        };
    }
    if ready < time.start {
        (Wait::Calendar, None)
    } else if ready <= problem.shop.now {
        (Wait::None, None)
    } else {
        match before.filter(|(end, _)| *end >= work.ready) {
            Some((_, before)) => (Wait::Predecessor, Some(before)),
            None => (Wait::Material, None),
        }
    }
}

/// How much later each operation could end with all else in its sequence, no order later than it is or its due date, and the plan no longer.
fn slack(state: &State<'_>) -> Vec<i64> {
    let problem = state.problem;
    let plan_end = state.times.iter().zip(&problem.missing).filter(|(_, missing)| missing.is_none()).map(|(time, _)| time.end);
    let plan_end = plan_end.fold(problem.shop.now, i64::max);
    let mut latest = vec![NEVER; state.times.len()];
    let mut slack = vec![0; state.times.len()];
    for at in state.at.iter().rev() {
        let work = &problem.works[*at as usize];
        let order = &problem.shop.orders[work.order as usize];
        let order_end = state.order_end[work.order as usize];
        let mut end = if work.last { order.due.map_or(plan_end, |due| due.max(order_end)) } else { NEVER };
        for after in problem.succs.of(*at) {
            let wait = problem.preds.of(*after).iter().find(|(before, _)| before == at).map_or(0, |(_, wait)| *wait);
            end = end.min(latest[*after as usize].saturating_sub(wait));
        }
        let time = state.times[*at as usize];
        if !problem.is_free(*at) {
            latest[*at as usize] = end;
            slack[*at as usize] = (end.min(NEVER) - time.end).max(0);
            continue;
        }
        let members = problem.members.range(*at);
        for member in members.clone() {
            state.behind(member).into_iter().for_each(|behind| end = end.min(latest[behind as usize]));
            end = problem.next_block(state.chain[member as usize], time.end).map_or(end, |block| end.min(block));
        }
        let units = &state.chain[members.start as usize + 1..members.end as usize];
        let length = time.setup + problem.shop.choices[state.choice[*at as usize] as usize].duration;
        let start =
            problem.calendar(state.choice[*at as usize], units).latest(end, length, work.interruptible).unwrap_or(time.start);
        let limits = problem.limits_to.of(*at).iter().map(|limit| &problem.limits[*limit as usize]);
        let start = limits.fold(start, |start, limit| start.min(state.own_end(limit.before).saturating_add(limit.max_wait)));
        latest[*at as usize] = start.max(time.start);
        slack[*at as usize] = if start > time.start { (end - time.end).max(0) } else { 0 };
    }
    slack
}
