//! Killed with SIGKILL at any instant, a run loses nothing and does nothing twice; a lost control state is noticed; people's edits stay.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::path::Path;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};

use super::harness::{Mini, Rows, comparable, differences};

/// Kills at random moments that the second test makes.
const RANDOM_KILLS: usize = 25;
/// Steps that it may need for them: a run that ended before its kill counts for nothing.
const STEPS_MAX: usize = 100;
/// Runs killed side by side: a run mostly waits for the disk.
const WORKERS: usize = 3;

/// Kills at later occurrences, and of restarts that were still clearing up after a kill.
const MORE: &[&[&str]] = &[
    &["pull.commit.before:3"],
    &["stage.file.after:7"],
    &["publish.table.after:4"],
    &["send.apply.before:2"],
    &["send.apply.after:2"],
    &["ledger.ack.before:2"],
    &["pull.deleted.after", "pull.deleted.before"],
    &["pull.deleted.after", "pull.commit.after"],
    &["publish.table.after", "publish.cut.before"],
    &["publish.cut.after", "publish.forget.before"],
    &["send.apply.after", "ledger.ack.before"],
    &["send.apply.before", "send.apply.after", "pull.record.before"],
];

/// Every failpoint that the source names, so that a new one cannot be forgotten here.
pub fn failpoints() -> BTreeSet<String> {
    fn texts(folder: &Path, into: &mut Vec<String>) {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                texts(&path, into);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                into.push(std::fs::read_to_string(&path).unwrap());
            }
        }
    }
    let mut sources = Vec::new();
    texts(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"), &mut sources);
    let is_name = |text: &&str| {
        let parts: Vec<&str> = text.split('.').collect();
        parts.len() == 3
            && ["before", "after"].contains(&parts[2])
            && parts.iter().all(|part| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_lowercase()))
    };
    sources.iter().flat_map(|source| source.split('"').filter(is_name).map(str::to_owned).collect::<Vec<_>>()).collect()
}

/// A plant whose first day is done, whose systems then changed, and what comes of it undisturbed.
struct Prepared {
    plant: Mini,
    /// What the last complete cut serves before the run, after one run, and when nothing is left to do.
    before: Rows,
    first: Rows,
    last: Rows,
    targets: Rows,
}

impl Prepared {
    fn new() -> Self {
        let plant = Mini::new();
        assert_eq!(plant.settle("loop"), 2, "the first run does everything, the second finds nothing to do");
        plant.happen("next_day");
        let undisturbed = plant.copy();
        let before = undisturbed.cut();
        undisturbed.json(&["run", "loop"]);
        let first = undisturbed.cut();
        assert_eq!(undisturbed.settle("loop"), 1);
        let prepared = Self { before, first, last: undisturbed.cut(), targets: undisturbed.targets(), plant };
        for table in ["raw.wms__stock__deleted", "system.changes", "write.erp__purchase_requests", "scm.net_requirements"] {
            assert!(prepared.last.get(table).is_some_and(|rows| !rows.is_empty()), "{table} has no rows: this tests nothing");
        }
        prepared
    }

    /// What went wrong after a kill at the first of `failpoints`, of the restart at the second, and so on; empty if nothing did.
    fn killed_at(&self, failpoints: &[&str]) -> String {
        let plant = self.plant.copy();
        drop(plant.stand_at(failpoints[0], &["run", "loop"]));
        let served = plant.cut();
        failpoints[1..].iter().for_each(|failpoint| drop(plant.stand_at(failpoint, &["run", "loop"])));
        let mut wrong = String::new();
        if served != self.before && served != self.first {
            wrong += &format!(
                "served after the kill, neither the cut before nor the one after:\n{}",
                differences(&self.first, &served)
            );
        }
        let runs = plant.settle("loop");
        if runs > 2 {
            wrong += &format!("{runs} runs until nothing was left to do\n");
        }
        wrong + &differences(&self.targets, &plant.targets()) + &differences(&self.last, &plant.cut())
    }
}

#[test]
fn killed_before_and_after_every_durable_step_nothing_is_lost_or_done_twice() {
    let names = failpoints();
    for name in &names {
        let (step, side) = name.rsplit_once('.').unwrap();
        let other = format!("{step}.{}", if side == "before" { "after" } else { "before" });
        assert!(names.contains(&other), "there is a failpoint {name}, but none {other}");
    }
    for stage in
        ["pull.commit.", "stage.file.", "publish.manifest.", "publish.cut.", "send.apply.", "ledger.sent.", "ledger.ack."]
    {
        assert!(names.iter().any(|name| name.starts_with(stage)), "there is no failpoint {stage}*: {names:?}");
    }
    let prepared = Prepared::new();
    // Maintenance and promotions have tests of their own: a run does none, or seldom.
    let queue: VecDeque<Vec<&str>> = names
        .iter()
        .filter(|name| !["maintain.", "promote."].iter().any(|stage| name.starts_with(stage)))
        .map(|name| vec![name.as_str()])
        .chain(MORE.iter().map(|names| names.to_vec()))
        .collect();
    let queue = Mutex::new(queue);
    let wrong: Mutex<BTreeMap<String, String>> = Mutex::default();
    std::thread::scope(|scope| {
        for _ in 0..WORKERS {
            scope.spawn(|| {
                loop {
                    let Some(names) = queue.lock().unwrap().pop_front() else { break };
                    let found = prepared.killed_at(&names);
                    if !found.is_empty() {
                        wrong.lock().unwrap().insert(names.join(", then "), found);
                    }
                }
            });
        }
    });
    let wrong = wrong.into_inner().unwrap();
    assert!(wrong.is_empty(), "{}", wrong.iter().map(|(name, found)| format!("{name}:\n{found}\n")).collect::<String>());
}

/// What happens in the plant in one step of a long chain.
fn change(plant: &Mini, step: usize) {
    let item = ["BOLT", "FRAME", "MOTOR", "PAINT", "WHEEL"][step % 5];
    let at = format!("2026-03-02 {:02}:{:02}:00", 8 + step / 60, step % 60);
    match step % 6 {
        0 | 3 => plant.sql(
            "erp",
            &format!(
                "insert into order_line (order_no, line_no, item_id, quantity, requested, status) values ('T{step}', 1, '{item}', {}, date('2026-03-10', '+{step} days'), 'OPEN')",
                step + 3
            ),
        ),
        1 => plant.sql("erp", "update order_line set quantity = quantity + 5.5 where rowid = (select max(rowid) from order_line)"),
        2 => plant.sql("wms", &format!("update stock set quantity = quantity + {step} where id = 'L{}'", 1 + step % 4)),
        4 => plant.sql(
            "erp",
            &format!("update item set status = case status when 'active' then 'blocked' else 'active' end, updated = '{at}' where id = '{item}'"),
        ),
        _ => plant.sql(
            "erp",
            "delete from order_line where rowid = (select min(rowid) from order_line);
             update request set status = 'ORDERED' where id = (select max(id) from request where status = 'PROPOSED' and ext_ref is not null)",
        ),
    }
}

#[test]
fn killed_at_random_moments_again_and_again_nothing_is_lost_or_done_twice() {
    let (undisturbed, disturbed) = (Mini::new(), Mini::new());
    let mut random = ChaCha8Rng::seed_from_u64(25);
    let mut kills = 0;
    let mut run = Duration::from_secs(1); // how long the last one took undisturbed
    for step in 0..STEPS_MAX {
        if kills == RANDOM_KILLS {
            break;
        }
        let delay = run.mul_f64(f64::from(random.next_u32()) / f64::from(u32::MAX));
        std::thread::scope(|scope| {
            scope.spawn(|| {
                kills += usize::from(disturbed.kill_after(delay, &["run", "loop"]));
                disturbed.json(&["run", "loop"]);
            });
            let watch = Instant::now();
            undisturbed.json(&["run", "loop"]);
            run = watch.elapsed();
        });
        let wrong = differences(&undisturbed.targets(), &disturbed.targets());
        assert!(wrong.is_empty(), "step {step}, killed after {delay:?}:\n{wrong}");
        change(&undisturbed, step);
        change(&disturbed, step);
    }
    assert_eq!(kills, RANDOM_KILLS);
    undisturbed.settle("loop");
    disturbed.settle("loop");
    let wrong = differences(&undisturbed.targets(), &disturbed.targets()) + &differences(&undisturbed.cut(), &disturbed.cut());
    assert!(wrong.is_empty(), "{wrong}");
}

/// Loses the control state of a plant in which a run was killed at `failpoint`, and recovers.
fn lost_and_recovered(prepared: &Prepared, failpoint: Option<&str>) {
    let plant = prepared.plant.copy();
    if let Some(failpoint) = failpoint {
        drop(plant.stand_at(failpoint, &["run", "loop"]));
    }
    plant.lose_control();
    let targets = plant.targets();
    for command in [&["run", "loop"][..], &["write", "apply"]] {
        let refused = plant.loopline(command);
        assert_eq!(refused.code, Some(1), "{failpoint:?}: {refused:?}");
        assert!(refused.stderr.contains("control state") && refused.stderr.contains("recover"), "{failpoint:?}: {refused:?}");
    }
    assert_eq!(plant.targets(), targets, "{failpoint:?}: something was written before recover");

    let recovered = plant.loopline(&["write", "recover"]);
    assert_eq!(recovered.code, Some(0), "{failpoint:?}: {recovered:?}");
    let runs = plant.settle("loop");
    assert!(runs <= 2, "{failpoint:?}: {runs} runs until nothing was left to do");
    let wrong = differences(&prepared.targets, &plant.targets());
    assert!(wrong.is_empty(), "{failpoint:?}: {wrong}");
    // The ledger begins anew; every other table is as if nothing had been lost.
    let without_ledger =
        |rows: &Rows| rows.iter().filter(|(name, _)| *name != "system.changes").map(|(n, r)| (n.clone(), r.clone())).collect();
    let wrong = differences(&without_ledger(&prepared.last), &without_ledger(&plant.cut()));
    assert!(wrong.is_empty(), "{failpoint:?}: {wrong}");
}

#[test]
fn a_lost_control_state_is_noticed_and_settled_by_looking() {
    let prepared = Prepared::new();
    lost_and_recovered(&prepared, None);
    // In the middle of a publication, of which only the manifest beside the tables is left.
    lost_and_recovered(&prepared, Some("publish.table.after"));
    lost_and_recovered(&prepared, Some("publish.cut.after"));
    // Sent or not: nobody knows.
    lost_and_recovered(&prepared, Some("send.apply.before"));
    lost_and_recovered(&prepared, Some("send.apply.after"));
}

#[test]
fn a_control_state_from_a_backup_is_noticed_and_sends_nothing_again() {
    let plant = Mini::new();
    plant.json(&["run", "ask"]);
    plant.json(&["write", "approve", "--all", "--by", "ann"]);
    let backup = plant.control();
    plant.json(&["run", "ask"]);
    let targets = plant.targets();
    plant.restore_control(&backup); // everything is approved and not yet sent, it says
    let refused = plant.loopline(&["run", "ask"]);
    assert!(refused.code == Some(1) && refused.stderr.contains("recover"), "{refused:?}");
    assert_eq!(plant.loopline(&["write", "recover"]).code, Some(0));
    plant.loopline(&["write", "apply"]);
    plant.settle("ask");
    assert_eq!(differences(&targets, &plant.targets()), "");
}

#[test]
fn only_one_process_writes_at_a_time() {
    let plant = Mini::new();
    plant.settle("loop");
    plant.happen("next_day");
    let (before, targets) = (plant.cut(), plant.targets());
    let standing = plant.stand_at("publish.table.after", &["run", "loop"]);
    for command in [&["run", "loop"][..], &["pull"], &["write", "apply"], &["write", "recover"]] {
        let refused = plant.loopline(command);
        assert!(refused.code == Some(1) && refused.stderr.starts_with("error: "), "{command:?}: {refused:?}");
    }
    assert_eq!(differences(&before, &plant.cut()), "", "what is read is the last complete cut");
    assert_eq!(differences(&targets, &plant.targets()), "");
    drop(standing);
    plant.settle("loop");
}

#[test]
fn a_row_edited_while_its_change_is_unknown_stays_and_no_rule_overwrites_it() {
    let plant = Mini::new();
    let standing = plant.stand_at("send.apply.before", &["run", "loop"]);
    plant.sql("erp", "update order_line set promised = '2026-12-24' where order_no = 'S1' and line_no = 1");
    drop(standing);
    for _ in 0..2 {
        let report = plant.json(&["run", "loop"]);
        assert_eq!(
            plant.texts("erp", "select promised from order_line where order_no = 'S1' and line_no = 1"),
            ["2026-12-24"],
            "{report:#}"
        );
        assert_eq!(report["summary"]["waiting"], 1, "a person is asked: {report:#}");
    }
    plant.json(&["write", "approve", "--all", "--by", "ann"]);
    plant.settle("loop");
    assert_eq!(plant.texts("erp", "select promised from order_line where order_no = 'S1' and line_no = 1"), ["2026-03-13"]);
}

#[test]
fn what_a_person_changed_between_plan_and_apply_stays() {
    let plant = Mini::new();
    plant.json(&["run", "ask"]);
    plant.json(&["write", "approve", "--all", "--by", "ann"]);
    plant.sql("erp", "update order_line set promised = '2026-12-24' where order_no = 'S1' and line_no = 1");
    plant.sql("wms", "update stock set state = 'inspection' where id = 'L4'");
    let applied = plant.loopline(&["write", "apply"]);
    assert!(applied.stdout.contains("2 changes met a row that someone had changed"), "{applied:?}");
    assert_eq!(plant.texts("erp", "select promised from order_line where order_no = 'S1' and line_no = 1"), ["2026-12-24"]);
    assert_eq!(plant.texts("wms", "select state from stock where id = 'L4'"), ["inspection"]);
    let conflicts = plant.json(&["write", "plan", "--state", "conflicted"]);
    let mut found: Vec<&str> = conflicts.as_array().unwrap().iter().map(|change| change["detail"].as_str().unwrap()).collect();
    found.sort_unstable();
    assert_eq!(found.len(), 2, "{conflicts:#}");
    assert!(found.iter().any(|detail| detail.contains("2026-12-24")) && found.iter().any(|detail| detail.contains("inspection")));
    assert_eq!(plant.texts("erp", "select ext_ref from request where ext_ref is not null").len(), 4, "the others were written");
}

#[test]
fn undo_brings_confirmed_changes_back() {
    let plant = Mini::new();
    let (erp, wms) = ("select coalesce(promised, '-') from order_line order by 1", "select state from stock order by id");
    let (promised, states) = (plant.texts("erp", erp), plant.texts("wms", wms));
    plant.json(&["run", "ask"]);
    plant.json(&["write", "approve", "--all", "--by", "ann"]);
    plant.json(&["write", "apply"]);
    assert_ne!((plant.texts("erp", erp), plant.texts("wms", wms)), (promised.clone(), states.clone()));

    let confirmed = plant.json(&["write", "plan", "--state", "confirmed"]);
    let ids: Vec<String> = confirmed.as_array().unwrap().iter().map(|change| change["id"].to_string()).collect();
    assert_eq!(ids.len(), 10, "{confirmed:#}");
    let undo: Vec<&str> = ["write", "undo", "--by", "ann"].into_iter().chain(ids.iter().map(String::as_str)).collect();
    plant.json(&undo);
    plant.json(&["write", "approve", "--all", "--by", "ann"]);
    plant.json(&["write", "apply"]);
    assert_eq!((plant.texts("erp", erp), plant.texts("wms", wms)), (promised, states));
    assert_eq!(plant.texts("erp", "select ext_ref from request where ext_ref is not null"), [""; 0]);
    assert_eq!(plant.json(&["write", "plan", "--state", "undone"]).as_array().unwrap().len(), 10);
    plant.settle("ask"); // what was taken back is not asked for again
}

#[test]
fn the_command_line_serves_the_same_rows() {
    let plant = Mini::new();
    plant.settle("loop");
    let said = plant.loopline(&["sql", "--json", "select * from outbox.purchase_requests order by proposal_id"]);
    assert_eq!(said.code, Some(0), "{said:?}");
    assert_eq!(comparable(&said.stdout), plant.cut()["outbox.purchase_requests"]);
}
