//! Random shops against slow second implementations: longest paths by repeated relaxation, optima by trying every schedule.

use super::bound::{Task, preemptive};
use super::graph::{Graph, Move};
use super::neighbours::Path;
use super::problem::Plan;
use super::*;

/// A shop of up to `jobs` jobs of up to `operations` operations on `machines`, with up to `choices` choices each.
fn random(rng: &mut Rng, jobs: u32, operations: u32, machines: u32, choices: u32) -> Problem {
    let mut problem = Problem::new((0..machines).map(|_| i64::from(rng.below(2) * rng.below(9))).collect());
    for _ in 0..1 + rng.below(jobs) {
        let operations: Vec<Vec<Choice>> = (0..rng.below(operations + 1))
            .map(|_| {
                let choices = 1 + rng.below(choices);
                (0..choices).map(|_| Choice { machine: rng.below(machines), duration: i64::from(rng.below(10)) }).collect()
            })
            .collect();
        problem.job(i64::from(rng.below(2) * rng.below(9)), &operations).unwrap();
    }
    problem
}

fn budget(iterations: u64) -> Budget {
    Budget { iterations, walks: 2, threads: 1, seed: 1 }
}

/// Checks a solution with nothing but the problem.
fn check(problem: &Problem, solution: &Solution) {
    let chosen = |operation: usize| problem.choices[(problem.first_choice[operation] + solution.choices[operation]) as usize];
    let end = |operation: usize| solution.starts[operation] + chosen(operation).duration;
    let mut last = i64::MIN;
    for (job, range) in problem.jobs.windows(2).enumerate() {
        let mut free = problem.release[job];
        for operation in range[0] as usize..range[1] as usize {
            assert!(problem.first_choice[operation] + solution.choices[operation] < problem.first_choice[operation + 1]);
            assert!(solution.starts[operation] >= free, "operation {operation} starts before the job lets it");
            free = end(operation);
            last = last.max(free);
        }
    }
    let mut seen = vec![false; solution.starts.len()];
    for (machine, sequence) in solution.sequences.iter().enumerate() {
        let mut free = problem.available[machine];
        for operation in sequence.iter().map(|operation| *operation as usize) {
            assert_eq!(chosen(operation).machine as usize, machine);
            assert!(!std::mem::replace(&mut seen[operation], true), "operation {operation} runs twice");
            assert!(solution.starts[operation] >= free, "operation {operation} overlaps");
            free = end(operation);
        }
    }
    assert!(seen.into_iter().all(|seen| seen), "an operation does not run");
    let first = problem.release.iter().chain(&problem.available).min();
    assert_eq!(solution.makespan, last.max(*first.unwrap()));
    assert!(solution.lower_bound <= solution.makespan);
    assert_eq!(solution.proven, solution.lower_bound == solution.makespan);
}

/// The shortest makespan of all schedules in which every operation starts as early as its choice and its turn allow.
fn optimum(problem: &Problem, next: &mut Vec<u32>, ready: &mut Vec<i64>, free: &mut Vec<i64>, last: i64) -> i64 {
    let mut best = i64::MAX;
    for job in 0..next.len() {
        let operation = next[job] as usize;
        if next[job] == problem.jobs[job + 1] {
            continue;
        }
        for choice in problem.first_choice[operation]..problem.first_choice[operation + 1] {
            let Choice { machine, duration } = problem.choices[choice as usize];
            let (was_ready, was_free) = (ready[job], free[machine as usize]);
            let end = was_ready.max(was_free) + duration;
            (ready[job], free[machine as usize], next[job]) = (end, end, next[job] + 1);
            best = best.min(optimum(problem, next, ready, free, last.max(end)));
            (ready[job], free[machine as usize], next[job]) = (was_ready, was_free, next[job] - 1);
        }
    }
    if best == i64::MAX { last } else { best }
}

#[test]
fn small_shops_reach_their_optimum() {
    for (jobs, operations, machines, choices, count) in [(3, 3, 3, 1, 60), (3, 2, 3, 2, 60), (2, 3, 2, 3, 40), (4, 2, 2, 2, 20)] {
        let mut rng = Rng::new(u64::from(jobs * 100 + choices));
        for case in 0..count {
            let problem = random(&mut rng, jobs, operations, machines, choices);
            let mut next = problem.jobs[..problem.release.len()].to_vec();
            let best = optimum(&problem, &mut next, &mut problem.release.clone(), &mut problem.available.clone(), 0);
            let solution = solve(&problem, &budget(4000), |_| false);
            check(&problem, &solution);
            assert_eq!(solution.makespan, best, "case {case} of {jobs} jobs: {problem:?}");
            assert!(solution.iterations <= 4000);
        }
    }
}

/// Longest paths by relaxing every arc until nothing changes: the end of each operation and its rest; none if there is a cycle.
fn longest_paths(instance: &Instance, graph: &Graph<'_>) -> Option<(Vec<i32>, Vec<i32>)> {
    let count = instance.operations();
    let (mut ends, mut rests) = (vec![0; count], vec![0; count]);
    for _ in 0..=count {
        let before = (ends.clone(), rests.clone());
        for operation in 0..count {
            let node = graph.node(operation as u32);
            let end = |other: u32, floor: i32| if graph.is_operation(other) { ends[other as usize] } else { floor };
            let job = end(node.job_before, instance.release[instance.job_of[operation] as usize]);
            let machine = end(node.machine_before, instance.available[node.machine as usize]);
            let rest = |other: u32| if graph.is_operation(other) { rests[other as usize] } else { 0 };
            let after = rest(node.job_after).max(rest(node.machine_after));
            ends[operation] = job.max(machine) + node.duration;
            rests[operation] = after + node.duration;
        }
        if before == (ends.clone(), rests.clone()) {
            return Some((ends, rests));
        }
    }
    None
}

#[track_caller]
fn check_graph(instance: &Instance, graph: &Graph<'_>) {
    let (ends, rests) = longest_paths(instance, graph).unwrap();
    for operation in 0..instance.operations() {
        let node = graph.node(operation as u32);
        assert_eq!((node.end, node.rest), (ends[operation], rests[operation]), "operation {operation}");
    }
    assert_eq!(graph.makespan(), ends.into_iter().max().unwrap_or(0));
}

#[test]
fn moves_keep_longest_paths_and_refuse_cycles() {
    let mut rng = Rng::new(7);
    let mut refused = 0;
    for _ in 0..200 {
        let problem = random(&mut rng, 6, 5, 4, 3);
        let instance = Instance::new(&problem);
        let mut graph = Graph::new(&instance, &start::construct(&instance, &mut rng));
        check_graph(&instance, &graph);
        for _ in 0..if instance.operations() == 0 { 0 } else { 60 } {
            let operation = rng.below(instance.operations() as u32);
            let choices = instance.choices_of(operation);
            let choice = choices.start + rng.below(choices.len() as u32);
            let mut after = graph.machine_sentinel(instance.choice(choice).machine);
            for _ in 0..rng.below(6) {
                after = graph.node(after).machine_after;
            }
            if after == operation {
                continue;
            }
            let mut saved = Plan::default();
            graph.save(&mut saved);
            if !graph.apply(Move { operation, choice, after }) {
                refused += 1;
                let mut kept = Plan::default();
                graph.save(&mut kept);
                assert_eq!(kept, saved);
            }
            check_graph(&instance, &graph);
        }
    }
    assert!(refused > 100, "cycles came up only {refused} times");
}

#[test]
fn candidates_close_no_cycle_and_estimates_hold() {
    let mut rng = Rng::new(11);
    let (mut swaps, mut longer, mut elsewhere) = (0, 0, 0);
    for _ in 0..200 {
        let problem = random(&mut rng, 8, 6, 4, 2);
        let instance = Instance::new(&problem);
        let mut graph = Graph::new(&instance, &start::construct(&instance, &mut rng));
        for _ in 0..20 {
            let (mut path, mut candidates) = (Path::default(), Vec::new());
            path.take(&graph, |n| rng.below(n));
            path.moves(&instance, &graph, |candidate| {
                candidates.push((candidate.to, candidate.estimate, candidate.passed.to_vec()));
                i32::MAX
            });
            let mut plan = Plan::default();
            graph.save(&mut plan);
            for (to, estimate, passed) in &candidates {
                assert!(graph.apply(*to), "{to:?} closes a cycle");
                let through = |operation: u32| {
                    let node = graph.node(operation);
                    node.end + node.rest - node.duration
                };
                let longest = passed.iter().map(|other| through(*other)).fold(through(to.operation), i32::max);
                match passed.len() {
                    // The operation left before its estimate was made: paths may have become shorter.
                    0 => assert!(longest <= *estimate),
                    1 => assert_eq!(longest, *estimate),
                    _ => longer += 1,
                }
                *(if passed.is_empty() { &mut elsewhere } else { &mut swaps }) += 1;
                graph.load(&plan);
            }
            if candidates.is_empty() {
                break;
            }
            graph.apply(candidates[rng.below(candidates.len() as u32) as usize].0);
        }
    }
    assert!(swaps > 1000 && longer > 100 && elsewhere > 1000, "{swaps} {longer} {elsewhere}");
}

#[test]
fn threads_and_repetition_change_nothing() {
    let mut rng = Rng::new(3);
    for choices in [1, 3] {
        let mut problem = Problem::new(vec![0; 6]);
        for _ in 0..12 {
            let operation = |rng: &mut Rng| -> Vec<Choice> {
                (0..choices).map(|_| Choice { machine: rng.below(6), duration: 1 + i64::from(rng.below(90)) }).collect()
            };
            problem.job(0, &(0..8).map(|_| operation(&mut rng)).collect::<Vec<_>>()).unwrap();
        }
        let whole = solve(&problem, &Budget { walks: 3, ..budget(40_000) }, |_| false);
        check(&problem, &whole);
        for threads in [1, 2, 3] {
            let again = solve(&problem, &Budget { walks: 3, threads, ..budget(40_000) }, |_| false);
            assert_eq!(again, whole);
        }
        let stopped =
            solve(&problem, &Budget { walks: 3, threads: 2, ..budget(u64::MAX) }, |progress| progress.iterations > 15_000);
        let replayed = solve(&problem, &Budget { walks: 3, ..budget(stopped.iterations) }, |_| false);
        assert_eq!(stopped, replayed);
        assert_ne!(solve(&problem, &Budget { seed: 2, ..budget(2_000) }, |_| false).starts, whole.starts);
    }
}

#[test]
fn times_beyond_32_bits_are_kept() {
    let hour_us = 3_600_000_000;
    for odd in [0, 1] {
        let epoch = 1_800_000_000_000_000;
        let mut problem = Problem::new(vec![epoch + 5 * hour_us, epoch]);
        for job in 0..5_i64 {
            let operations =
                [(1, 3 + job), (0, 9 - job)].map(|(machine, hours)| [Choice { machine, duration: hours * hour_us + odd }]);
            problem.job(epoch + job * hour_us, &operations).unwrap();
        }
        let solution = solve(&problem, &budget(1000), |_| false);
        check(&problem, &solution);
        // Machine 0 from its fifth hour on, without a break: 9 + 8 + 7 + 6 + 5 hours.
        assert_eq!(solution.makespan - epoch, 40 * hour_us + 5 * odd);
    }
}

#[test]
fn preemptive_bound_is_jacksons_schedule() {
    let mut rng = Rng::new(5);
    for _ in 0..300 {
        let speed = 1 + i64::from(rng.below(3));
        let mut number = |max| rng.below(max) as i32;
        let mut tasks: Vec<Task> = (0..6).map(|_| Task { head: number(12), duration: number(7), tail: number(12) }).collect();
        // Time goes by in parts of which `speed` are a unit; each part goes to the longest tail.
        let mut left: Vec<i32> = tasks.iter().map(|task| task.duration).collect();
        let mut last = tasks.iter().map(|task| (task.head + task.tail) * speed as i32).max().unwrap();
        for now in 0..200 {
            let ready = (0..6).filter(|task| left[*task] > 0 && tasks[*task].head * speed as i32 <= now);
            if let Some(task) = ready.max_by_key(|task| tasks[*task].tail) {
                left[task] -= 1;
                last = last.max(now + 1 + tasks[task].tail * speed as i32);
            }
        }
        let slow = (last + speed as i32 - 1) / speed as i32;
        assert_eq!(preemptive(&mut tasks, speed), slow);
    }
}

#[test]
fn bad_jobs_are_refused() {
    let mut problem = Problem::new(vec![0]);
    let on = |machine, duration| vec![Choice { machine, duration }];
    assert_eq!(problem.job(0, &[on(0, 1), vec![]]), Err(BadJob::NoChoice(1)));
    assert_eq!(problem.job(0, &[on(1, 1)]), Err(BadJob::NoMachine(0, 1)));
    assert_eq!(problem.job(0, &[on(0, -1)]), Err(BadJob::Negative(0)));
    assert_eq!(problem.job::<Vec<Choice>>(0, &[]), Ok(()));
    let nothing = solve(&problem, &budget(10), |_| false);
    assert_eq!((nothing.makespan, nothing.proven), (0, true));
}
