//! Which moves are tried: those that could let a late order end earlier, and a few at random.

use super::super::shop::Term;
use super::super::timing::NONE;
use super::random::Random;
use super::state::{Place, State};

/// An order's critical path is followed back so far.
const PATH_MAX: usize = 100;

/// Operations are moved past at most so many others of their resource.
const FAR: usize = 24;

#[derive(Debug, Clone, Copy)]
pub enum Step {
    Relocate(u32, u32, Place),
    Hold(u32),
}

/// An operation on a critical path, and the chain member through which another keeps it from starting; `NONE`: a predecessor or nothing does.
type Critical = (u32, u32);

/// Steps that make up a move; none: nothing was found this time.
pub fn propose(state: &State<'_>, random: &mut Random, path: &mut Vec<Critical>, steps: &mut Vec<Step>) {
    steps.clear();
    let (operation, member) = target(state, random, path);
    if operation == NONE || !state.problem.is_free(operation) {
        return;
    }
    let choices = state.problem.shop.operations[operation as usize].choices.clone();
    if state.measure.uses_stability && random.percent(10) && state.problem.works[operation as usize].previous != i64::MIN {
        return steps.push(Step::Hold(operation));
    }
    if choices.len() > 1 && random.percent(35) {
        return reassign(state, random, operation, steps);
    }
    let own = state.member(operation);
    if member != NONE && member != own {
        return match state.before(member).filter(|_| random.percent(70)) {
            Some(before) => steps.push(Step::Relocate(operation, state.choice[operation as usize], Place::Before(before))),
            None => steps.push(Step::Relocate(operation, state.choice[operation as usize], Place::Stay)),
        };
    }
    let Some(before) = state.before(own) else { return };
    let choice = state.choice[operation as usize];
    match random.below(100) {
        0..35 => {
            let first = walk(state, own, &state.prev, random.distance(FAR));
            steps.push(Step::Relocate(operation, choice, Place::Before(first)));
        }
        35..60 => {
            let last = walk(state, own, &state.next, random.distance(FAR) - 1);
            steps.push(Step::Relocate(before, state.choice[before as usize], Place::After(last)));
        }
        60..85 => {
            let first = walk(state, own, &state.prev, 1 + random.distance(FAR));
            steps.push(Step::Relocate(operation, choice, Place::Before(first)));
            if first != before {
                steps.push(Step::Relocate(first, state.choice[first as usize], Place::After(before)));
            }
        }
        _ => group(state, random, operation, steps),
    }
}

fn target(state: &State<'_>, random: &mut Random, path: &mut Vec<Critical>) -> Critical {
    let anything = |random: &mut Random| (state.at[random.below(state.at.len())], NONE);
    if random.percent(8) {
        return anything(random);
    }
    let last = if state.late.is_empty() || state.measure.uses_makespan && random.percent(5) {
        if !state.measure.uses_makespan {
            return anything(random);
        }
        let tails = state.chains.iter().filter_map(|chain| Some(state.problem.owners[*chain.last()? as usize]));
        tails.max_by_key(|at| state.times[*at as usize].end)
    } else {
        let mut pick = || state.late[random.below(state.late.len())];
        let (a, b) = (pick(), pick());
        let late = |order: u32| state.measure.lateness(order, state.order_end[order as usize]).0;
        let order = if late(a) >= late(b) { a } else { b };
        state.problem.lasts.of(order).iter().copied().max_by_key(|at| state.times[*at as usize].end)
    };
    let Some(last) = last else { return (NONE, NONE) };
    critical(state, last, path);
    if path.is_empty() { (last, NONE) } else { path[random.below(path.len())] }
}

/// The operations back from one, each the last to let the other start; those that another on a chain keeps waiting, or that could run elsewhere.
fn critical(state: &State<'_>, last: u32, path: &mut Vec<Critical>) {
    path.clear();
    let mut at = last;
    for _ in 0..PATH_MAX {
        if !state.problem.is_free(at) {
            return;
        }
        let (mut end, mut from, mut through) = (state.problem.works[at as usize].ready, NONE, NONE);
        for (before, wait) in state.problem.preds.of(at) {
            let ends = state.times[*before as usize].end.saturating_add(*wait);
            if ends > end {
                (end, from) = (ends, *before);
            }
        }
        for member in state.problem.members.range(at) {
            if let Some(before) = state.before(member)
                && state.times[before as usize].end >= end
            {
                (end, from, through) = (state.times[before as usize].end, before, member);
            }
        }
        if through != NONE || state.problem.shop.operations[at as usize].choices.len() > 1 {
            path.push((at, through));
        }
        if from == NONE {
            return;
        }
        at = from;
    }
}

/// The operation so many places along a chain, or the last one there is.
fn walk(state: &State<'_>, member: u32, links: &[u32], count: usize) -> u32 {
    let mut at = member;
    for _ in 0..count {
        if links[at as usize] == NONE {
            break;
        }
        at = links[at as usize];
    }
    state.problem.owners[at as usize]
}

/// To another resource, about where it could start.
fn reassign(state: &State<'_>, random: &mut Random, operation: u32, steps: &mut Vec<Step>) {
    let choices = state.problem.shop.operations[operation as usize].choices.clone();
    let choice = choices.start + random.below(choices.len()) as u32;
    if choice == state.choice[operation as usize] {
        return;
    }
    let ready =
        state.problem.preds.of(operation).iter().map(|(before, wait)| state.times[*before as usize].end.saturating_add(*wait));
    let ready = ready.fold(state.problem.works[operation as usize].ready, i64::max);
    let earliest = if random.percent(50) { ready } else { ready.max(state.times[operation as usize].start) };
    let chain = &state.chains[state.problem.resource(choice) as usize];
    let owner = |rank: usize| state.problem.owners[chain[rank] as usize];
    let rank = chain.partition_point(|member| state.times[state.problem.owners[*member as usize] as usize].start < earliest);
    let rank = (rank + random.below(3)).saturating_sub(1).min(chain.len());
    let pos = state.pos[operation as usize];
    let place = if rank > 0 && state.pos[owner(rank - 1) as usize] > pos {
        Place::After(owner(rank - 1))
    } else if rank < chain.len() && state.pos[owner(rank) as usize] < pos {
        Place::Before(owner(rank))
    } else {
        Place::Stay
    };
    steps.push(Step::Relocate(operation, choice, place));
}

/// Next to another of its family.
fn group(state: &State<'_>, random: &mut Random, operation: u32, steps: &mut Vec<Step>) {
    let family = state.problem.works[operation as usize].family;
    let choice = state.choice[operation as usize];
    let own = state.member(operation);
    let back = random.percent(60);
    let links = if back { &state.prev } else { &state.next };
    let mut at = links[own as usize];
    for _ in 0..2 * FAR {
        if at == NONE {
            return;
        }
        let other = state.problem.owners[at as usize];
        if state.problem.works[other as usize].family == family && links[own as usize] != at {
            let place = match (back, state.behind(at)) {
                (true, Some(next)) => Place::Before(next),
                (true, None) => return,
                (false, _) => Place::Before(other),
            };
            // from behind, the other comes here; from here, this goes back there
            steps.push(if back {
                Step::Relocate(operation, choice, place)
            } else {
                Step::Relocate(other, state.choice[other as usize], state.behind(own).map_or(Place::Stay, Place::Before))
            });
            return;
        }
        at = links[at as usize];
    }
}

/// Whether there is anything to win at all.
pub fn worth_moving(state: &State<'_>) -> bool {
    !state.late.is_empty() || state.problem.shop.goals().iter().any(|goal| goal.term != Term::Tardiness)
}
