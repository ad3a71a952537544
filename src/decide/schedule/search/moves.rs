//! Which moves are tried: those that could let a late order end earlier, and a few at random.

use super::super::timing::NONE;
use super::random::Random;
use super::state::{Place, State};

/// An order's critical path is followed back so far.
const PATH_MAX: usize = 100;

/// Operations are moved past at most so many others of their resource.
const FAR: usize = 24;

/// Moves of which the most promising is tried.
const TRIES: usize = 4;

#[derive(Debug, Clone, Copy)]
pub enum Step {
    Relocate(u32, u32, Place),
    Hold(u32),
}

/// An operation on a critical path, and the chain member through which another keeps it from starting; `NONE`: a predecessor or nothing does.
type Critical = (u32, u32);

/// Steps that make up a move, mostly the most promising of a few; none: nothing was found.
pub fn propose(state: &State<'_>, random: &mut Random, plain_percent: usize, path: &mut Vec<Critical>, steps: &mut Vec<Step>) {
    aim(state, random, path);
    draw(state, random, path, steps);
    if random.percent(plain_percent) {
        return;
    }
    let (mut best, mut other) = (estimate(state, steps), Vec::new());
    for _ in 1..TRIES {
        draw(state, random, path, &mut other);
        let gain = estimate(state, &other);
        if gain > best {
            best = gain;
            std::mem::swap(steps, &mut other);
        }
    }
}

/// What steps are worth if all that they change shifts by as much as is put before it or taken away.
fn estimate(state: &State<'_>, steps: &[Step]) -> f64 {
    let Some(Step::Relocate(operation, choice, place)) = steps.first().copied() else { return f64::NEG_INFINITY };
    let problem = state.problem;
    let length = |at: u32| problem.shop.choices[state.choice[at as usize] as usize].duration as f64;
    let own = state.member(operation);
    let family = |at: Option<u32>| at.map_or(NONE, |at| problem.works[at as usize].family);
    let resource = problem.resource(choice);
    let setup =
        |before: Option<u32>, after: Option<u32>| after.map_or(0, |after| problem.setup(resource, family(before), after)) as f64;
    let drag = |at: Option<u32>| at.map_or(0.0, |at| state.drag[at as usize]);
    if choice != state.choice[operation as usize] {
        let chain = &state.chains[resource as usize];
        let (before, after) = match place {
            Place::After(other) => (Some(other), state.behind(state.member(other))),
            Place::Before(other) => (state.before(state.member(other)), Some(other)),
            Place::Stay => {
                let rank = state.rank(resource, state.pos[operation as usize]);
                let owner = |rank: usize| chain.get(rank).map(|member| state.owner(*member));
                (rank.checked_sub(1).and_then(owner), owner(rank))
            }
        };
        let ready =
            problem.preds.of(operation).iter().map(|(before, wait)| state.times[*before as usize].end.saturating_add(*wait));
        let ready = ready.fold(problem.works[operation as usize].ready, i64::max);
        let start = before.map_or(ready, |before| ready.max(state.times[before as usize].end)) as f64;
        let end = start + problem.shop.choices[choice as usize].duration as f64 + setup(before, Some(operation));
        let push = after.map_or(0.0, |after| {
            (end + setup(Some(operation), Some(after)) - setup(before, Some(after)) - state.times[after as usize].start as f64)
                .max(0.0)
        });
        let own_end = state.times[operation as usize].end as f64;
        return (own_end - end) * state.pull[operation as usize] + drag(state.behind(own)) * length(operation)
            - push * drag(after);
    }
    // the operation and a block beside it change places
    let (last, links) = match place {
        Place::Before(last) => (last, &state.prev),
        Place::After(last) => (last, &state.next),
        Place::Stay => return 0.0,
    };
    let earlier = matches!(place, Place::Before(_));
    let (mut pulls, mut lengths, mut at) = (0.0, 0.0, own);
    for _ in 0..2 * FAR {
        at = links[at as usize];
        if at == NONE {
            return 0.0;
        }
        let other = state.owner(at);
        pulls += state.pull[other as usize];
        lengths += length(other);
        if other == last {
            break;
        }
    }
    let (near, own_length) = (state.owner(links[own as usize]), length(operation));
    let moved = pulls * own_length - state.pull[operation as usize] * lengths;
    let (behind, change) = if earlier {
        let (outer, behind) = (state.before(at), state.behind(own));
        let old = setup(outer, Some(last)) + setup(Some(near), Some(operation)) + setup(Some(operation), behind);
        (behind, setup(outer, Some(operation)) + setup(Some(operation), Some(last)) + setup(Some(near), behind) - old)
    } else {
        let (outer, behind) = (state.before(own), state.behind(at));
        let old = setup(outer, Some(operation)) + setup(Some(operation), Some(near)) + setup(Some(last), behind);
        (behind, setup(outer, Some(near)) + setup(Some(last), Some(operation)) + setup(Some(operation), behind) - old)
    };
    (if earlier { -moved } else { moved }) - change * drag(behind)
}

fn draw(state: &State<'_>, random: &mut Random, path: &[Critical], steps: &mut Vec<Step>) {
    steps.clear();
    if path.is_empty() {
        return;
    }
    let (operation, member) = path[random.below(path.len())];
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

/// Finds the operations to move: on the critical path of a late order, or of the plan's last operation, or just one.
fn aim(state: &State<'_>, random: &mut Random, path: &mut Vec<Critical>) {
    path.clear();
    let last = if random.percent(8) {
        None
    } else if state.measure.uses_stability && random.percent(50) {
        let picks = (0..8).map(|_| state.at[random.below(state.at.len())]);
        picks.max_by_key(|at| state.displaced(*at))
    } else if state.measure.uses_makespan && (state.late.is_empty() || random.percent(5)) {
        let tails = state.chains.iter().filter_map(|chain| Some(state.owner(*chain.last()?)));
        tails.max_by_key(|at| state.times[*at as usize].end)
    } else if state.late.is_empty() {
        None
    } else {
        let mut pick = || state.late[random.below(state.late.len())];
        let (a, b) = (pick(), pick());
        let late = |order: u32| state.measure.lateness(order, state.order_end[order as usize]).0;
        let order = if late(a) >= late(b) { a } else { b };
        state.problem.lasts.of(order).iter().copied().max_by_key(|at| state.times[*at as usize].end)
    };
    match last {
        Some(last) => critical(state, last, path),
        None => {
            let any = state.at[random.below(state.at.len())];
            if state.problem.is_free(any) {
                path.push((any, state.holder(any).map_or(NONE, |(_, member)| member)));
            }
        }
    }
}

/// The operations back from one, each the last to let the other start; those that another on a chain keeps waiting, or that could run elsewhere.
fn critical(state: &State<'_>, last: u32, path: &mut Vec<Critical>) {
    path.clear();
    let mut at = last;
    for _ in 0..PATH_MAX {
        if !state.problem.is_free(at) {
            return;
        }
        let holder = state.holder(at);
        let through = holder.map_or(NONE, |(_, member)| member);
        if through != NONE || state.problem.shop.operations[at as usize].choices.len() > 1 {
            path.push((at, through));
        }
        let Some((from, _)) = holder else { return };
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
    state.owner(at)
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
        let other = state.owner(at);
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
