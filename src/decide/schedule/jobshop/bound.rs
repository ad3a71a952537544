//! Lower bounds of the makespan.
//!
//! Every operation has a shortest head (its job's release and what comes before it, each in its shortest time) and a shortest tail. For a set of
//! `k` machines, the operations that can be done nowhere else keep them busy at least as long as one machine that is `k` times as fast, may interrupt
//! and always takes the operation with the longest tail (Jackson's preemptive schedule: Carlier and Pinson, "An algorithm for solving the job-shop
//! problem", 1989).

use std::collections::{BTreeSet, BinaryHeap};

use super::problem::Instance;

/// Operations looked at in all sets of machines together: some tenths of a second at most.
const WORK_MAX: usize = 3_000_000;

/// An operation as a bound sees it: its shortest head, duration and tail.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Task {
    pub(super) head: i32,
    pub(super) duration: i32,
    pub(super) tail: i32,
}

/// The largest of the bounds that jobs and sets of machines give.
pub(super) fn lower_bound(instance: &Instance) -> i32 {
    let tasks = tasks(instance);
    let jobs = tasks.iter().map(|task| task.head + task.duration + task.tail).max().unwrap_or(0);
    let needs: Vec<Vec<u32>> = (0..tasks.len() as u32).map(|operation| machines(instance, operation)).collect();
    let sets = machine_sets(&needs);
    let machines = sets.iter().map(|set| {
        let only_here =
            tasks.iter().zip(&needs).filter(|(_, need)| need.iter().all(|machine| set.binary_search(machine).is_ok()));
        let free = set.iter().map(|machine| instance.available[*machine as usize]).min().unwrap_or(0);
        let mut tasks: Vec<Task> = only_here.map(|(task, _)| Task { head: task.head.max(free), ..*task }).collect();
        preemptive(&mut tasks, set.len() as i64)
    });
    machines.max().unwrap_or(0).max(jobs)
}

fn machines(instance: &Instance, operation: u32) -> Vec<u32> {
    let mut machines: Vec<u32> = instance.choices_of(operation).map(|choice| instance.choice(choice).machine).collect();
    machines.sort_unstable();
    machines.dedup();
    machines
}

fn tasks(instance: &Instance) -> Vec<Task> {
    let shortest = |operation: u32| instance.choices_of(operation).map(|c| instance.choice(c).duration).min().unwrap_or(0);
    let mut tasks: Vec<Task> =
        (0..instance.operations() as u32).map(|o| Task { head: 0, duration: shortest(o), tail: 0 }).collect();
    for (job, release) in instance.jobs.windows(2).zip(&instance.release) {
        let (mut head, mut tail) = (*release, 0);
        for operation in job[0]..job[1] {
            let choices = instance.choices_of(operation).map(|choice| instance.choice(choice).machine as usize);
            let free = choices.map(|machine| instance.available[machine]).min().unwrap_or(0);
            let task = &mut tasks[operation as usize];
            task.head = head.max(free);
            head = task.head + task.duration;
        }
        for operation in (job[0]..job[1]).rev() {
            let task = &mut tasks[operation as usize];
            task.tail = tail;
            tail += task.duration;
        }
    }
    tasks
}

/// The sets of machines that operations need, and unions of them as far as the work allows.
fn machine_sets(needs: &[Vec<u32>]) -> Vec<Vec<u32>> {
    let sets: BTreeSet<&Vec<u32>> = needs.iter().collect();
    let mut sets: Vec<Vec<u32>> = sets.into_iter().cloned().collect();
    let sets_max = WORK_MAX / needs.len().max(1);
    if sets.iter().all(|set| set.len() == 1) {
        return sets;
    }
    let mut known: BTreeSet<Vec<u32>> = sets.iter().cloned().collect();
    let base = sets.len();
    let mut next = 0;
    while next < sets.len() {
        for other in 0..base.min(next) {
            if sets.len() >= sets_max {
                return sets;
            }
            let both: BTreeSet<u32> = sets[next].iter().chain(&sets[other]).copied().collect();
            let both: Vec<u32> = both.into_iter().collect();
            if known.insert(both.clone()) {
                sets.push(both);
            }
        }
        next += 1;
    }
    sets
}

/// When the last tail ends, at least, if the tasks share a machine of `speed`.
pub(super) fn preemptive(tasks: &mut [Task], speed: i64) -> i32 {
    tasks.sort_unstable();
    // Times in parts of which `speed` are a unit: a task then takes `duration` of them.
    let mut waiting: BinaryHeap<(i32, i64)> = BinaryHeap::new();
    let (mut now, mut last, mut next) = (0_i64, 0_i64, 0);
    loop {
        while let Some(task) = tasks.get(next).filter(|task| i64::from(task.head) * speed <= now) {
            waiting.push((task.tail, i64::from(task.duration)));
            next += 1;
        }
        let until = tasks.get(next).map(|task| i64::from(task.head) * speed);
        let Some((tail, left)) = waiting.pop() else {
            let Some(until) = until else { break };
            now = until;
            continue;
        };
        let done = until.map_or(left, |until| left.min(until - now));
        now += done;
        if done < left {
            waiting.push((tail, left - done));
        } else {
            last = last.max(now + i64::from(tail) * speed);
        }
    }
    i32::try_from((last + speed - 1) / speed).unwrap_or(i32::MAX)
}
