//! Schedules over a small plant, by a clock that only the test moves.

use std::sync::{Arc, Mutex};

use chrono::{DateTime, Utc};
use loopline::pipeline::{Access, Cancel, Hub, Silent};
use loopline::project::Project;

use crate::harness::Mini;

/// A hub whose scheduler takes the test's instant for the wall clock.
struct Scheduler {
    hub: Hub,
    now: Mutex<DateTime<Utc>>,
}

fn at(time: &str) -> DateTime<Utc> {
    format!("2026-03-02T{time}Z").parse().unwrap()
}

impl Scheduler {
    async fn open(plant: &Mini, time: &str) -> Self {
        let project = Project::load(plant.root()).unwrap_or_else(|errors| panic!("{errors:#?}"));
        let hub = Hub::open(Arc::new(project), Access::Write).await.unwrap();
        hub.resume_schedules(at(time)).unwrap();
        Self { hub, now: Mutex::new(at(time)) }
    }

    /// The pipelines that run at this time, in order, until nothing is due.
    async fn runs_at(&self, time: &str) -> Vec<String> {
        *self.now.lock().unwrap() = at(time);
        let before = self.hub.store.control.newest_run().unwrap();
        let clock = || *self.now.lock().unwrap();
        let mut ticks = 0;
        while self.hub.tick(&clock, &Silent, &Cancel::default()).await.unwrap().is_none() {
            ticks += 1;
            assert!(ticks < 10, "it never ends");
        }
        let mut runs = self.hub.store.control.runs(20).unwrap();
        runs.retain(|run| run.run > before);
        runs.into_iter().rev().map(|run| run.pipeline).collect()
    }
}

/// A night run, what follows it, and what follows fresh rows of the ERP.
fn plant() -> Mini {
    let plant = Mini::new();
    let write = |name: &str, text: &str| std::fs::write(plant.root().join("pipelines").join(name), text).unwrap();
    let cron = "cron = \"0 0 3 * * *\", timezone = \"UTC\", retries = { count = 1, backoff = \"1m\" }, pause_after = 2";
    write("night.toml", &format!("schedule = {{ {cron} }}\npull = [\"erp\", \"wms\"]\nbuild = [\"scm\"]\n"));
    write("report.toml", "schedule = { after = \"night\" }\nbuild = [\"outbox\"]\n");
    write("fresh.toml", "schedule = { on_fresh = [\"erp\"] }\nbuild = [\"erp\"]\n");
    plant
}

#[tokio::test(flavor = "multi_thread")]
async fn one_pipeline_follows_another_and_fresh_rows() {
    let plant = plant();
    let scheduler = Scheduler::open(&plant, "01:00:00").await;
    assert!(scheduler.runs_at("02:59:59").await.is_empty());
    assert_eq!(scheduler.runs_at("03:00:00").await, ["night", "fresh", "report"]);
    assert!(scheduler.runs_at("03:00:30").await.is_empty(), "nothing twice");
    drop(scheduler);

    // A pull by hand while no scheduler runs, then a restart.
    assert_eq!(plant.loopline(&["pull", "erp"]).code, Some(0));
    let scheduler = Scheduler::open(&plant, "04:00:00").await;
    assert!(scheduler.runs_at("04:00:00").await.is_empty(), "the pull changed no row");
    drop(scheduler);
    plant.happen("next_day");
    assert_eq!(plant.loopline(&["pull", "erp"]).code, Some(0));
    let scheduler = Scheduler::open(&plant, "05:00:00").await;
    assert_eq!(scheduler.runs_at("05:00:00").await, ["fresh"]);
    assert!(scheduler.runs_at("05:00:01").await.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn failures_are_retried_then_it_pauses_until_someone_resumes_it() {
    let plant = plant();
    let model = plant.root().join("sql/scm/net_requirements.sql");
    let text = std::fs::read_to_string(&model).unwrap();
    std::fs::write(&model, text.replace("demand > 0", "demand > 1000")).unwrap();
    let scheduler = Scheduler::open(&plant, "01:00:00").await;
    assert_eq!(scheduler.runs_at("03:00:00").await, ["night", "fresh"]);
    assert!(scheduler.runs_at("03:00:59").await.is_empty());
    drop(scheduler);
    let scheduler = Scheduler::open(&plant, "03:00:59").await;
    assert_eq!(scheduler.runs_at("03:01:00").await, ["night"], "a restart forgets no retry");
    *scheduler.now.lock().unwrap() = at("04:00:00");
    let tomorrow = |time: &str| at(time) + chrono::TimeDelta::days(1);
    let clock = Mutex::new(tomorrow("03:00:00"));
    for time in ["03:00:00", "03:01:00"] {
        *clock.lock().unwrap() = tomorrow(time);
        let ran = scheduler.hub.tick(&|| *clock.lock().unwrap(), &Silent, &Cancel::default()).await.unwrap();
        assert_eq!(ran, None, "{time}: it runs");
    }
    drop(scheduler);

    let schedules = plant.json(&["schedules"]);
    let night = schedules.as_array().unwrap().iter().find(|schedule| schedule["pipeline"] == "night").unwrap();
    let why = night["paused"]["why"].as_str().unwrap();
    assert!(why.starts_with("2 runs in a row failed") && why.contains("demand > 1000"), "{schedules:#}");
    assert_eq!((&night["next_due"], &night["last"]["outcome"]), (&serde_json::Value::Null, &"failed".into()));
    let status = plant.loopline(&["status"]);
    assert!(status.stdout.contains("2 runs in a row failed"), "{status:?}");
    let resumed = plant.json(&["schedules", "resume", "night"]);
    let night = resumed.as_array().unwrap().iter().find(|schedule| schedule["pipeline"] == "night").unwrap();
    assert!(night["paused"].is_null() && night["next_due"].is_string() && night["failures"] == 0, "{resumed:#}");
    plant.json(&["schedules", "pause", "night", "--why", "stock-taking"]);
    assert!(plant.loopline(&["schedules"]).stdout.contains("stock-taking"));
    let wrong = plant.loopline(&["schedules", "pause", "nigth"]);
    assert!(wrong.code == Some(1) && wrong.stderr.contains("did you mean \"night\"?"), "{wrong:?}");
    let unscheduled = plant.loopline(&["schedules", "pause", "loop"]);
    assert!(unscheduled.code == Some(1) && unscheduled.stderr.contains("has no schedule"), "{unscheduled:?}");
}
