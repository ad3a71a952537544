//! A first plan.

use super::problem::{Instance, Plan};
use super::rng::Rng;

/// Active schedule generation (Giffler and Thompson, "Algorithms for solving production-scheduling problems", 1960): on the machine that can finish
/// something first, one of the operations that would start before that; mostly the one with most work remaining in its job.
pub(super) fn construct(instance: &Instance, rng: &mut Rng) -> Plan {
    let mut free = instance.available.clone();
    let mut ready = instance.release.clone();
    let mut next = instance.jobs[..instance.jobs.len() - 1].to_vec();
    let shortest = |operation: u32| instance.choices_of(operation).map(|c| instance.choice(c).duration).min().unwrap_or(0);
    let mut remaining: Vec<i32> = instance.jobs.windows(2).map(|range| (range[0]..range[1]).map(shortest).sum()).collect();
    let mut plan = Plan { order: Vec::with_capacity(instance.operations()), choice: vec![0; instance.operations()], makespan: 0 };
    let mut open: Vec<usize> = (0..next.len()).filter(|job| next[*job] < instance.jobs[job + 1]).collect();
    while !open.is_empty() {
        // For each open job the choice that ends first.
        let end = |job: usize, choice: u32| {
            let chosen = instance.choice(choice);
            ready[job].max(free[chosen.machine as usize]) + chosen.duration
        };
        let mut first: Option<(i32, u32)> = None;
        let mut offers = Vec::with_capacity(open.len());
        for job in &open {
            let mut best: Option<(i32, u32)> = None;
            let mut seen = 0;
            for choice in instance.choices_of(next[*job]) {
                let end = end(*job, choice);
                seen = if best.is_some_and(|(e, _)| e == end) { seen + 1 } else { 1 };
                if best.is_none_or(|(e, _)| end < e || end == e && rng.below(seen) == 0) {
                    best = Some((end, choice));
                }
            }
            if let Some((end, choice)) = best {
                if first.is_none_or(|(e, _)| end < e) {
                    first = Some((end, instance.choice(choice).machine));
                }
                offers.push((*job, end, choice));
            }
        }
        let Some((limit, machine)) = first else { break };
        offers.retain(|(_, end, choice)| {
            let chosen = instance.choice(*choice);
            chosen.machine == machine && (end - chosen.duration < limit || *end == limit)
        });
        let Some(chosen) = offers.iter().copied().max_by_key(|(job, ..)| {
            let noise = 0.8 + 0.4 * rng.unit();
            (f64::from(remaining[*job]) * noise) as i64
        }) else {
            break;
        };
        let (job, end, choice) = chosen;
        let operation = next[job];
        (ready[job], free[machine as usize]) = (end, end);
        remaining[job] -= shortest(operation);
        plan.order.push(operation);
        plan.choice[operation as usize] = choice;
        next[job] += 1;
        if next[job] == instance.jobs[job + 1] {
            open.retain(|other| *other != job);
        }
    }
    plan
}
