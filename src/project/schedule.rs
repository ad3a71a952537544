//! When a pipeline runs: by the clock, after another one, on fresh data; and what happens when that fails.

use std::collections::{BTreeMap, BTreeSet};
use std::str::FromStr;
use std::time::Duration;

use chrono_tz::Tz;

use super::problems::{Problems, suggest};
use super::section::Section;
use super::text::{duration, time_zone};
use super::{Pipeline, SqlFile};

const RETRIES_MAX: u64 = 20; // with growing pauses, more would last for days
const BACKOFF_DEFAULT: Duration = Duration::from_secs(60); // what a restart of a database takes
const BACKOFF_MAX_DEFAULT: Duration = Duration::from_secs(3_600);

/// At least one of `cron`, `after` and `on_fresh` is there.
#[derive(Debug, Clone)]
pub struct Schedule {
    pub cron: Option<Cron>,
    /// Runs whenever this pipeline has published something.
    pub after: Option<String>,
    /// Runs whenever a pull of one of these systems changed rows, whoever pulled it.
    pub on_fresh: Vec<String>,
    pub missed: Missed,
    pub overlap: Overlap,
    pub retries: Retries,
    /// Runs in a row, each with all of its retries, that may fail before the schedule pauses; never if `None`.
    pub pause_after: Option<u32>,
}

/// Times by the wall clock of a place.
#[derive(Debug, Clone)]
pub struct Cron {
    /// Six fields, seconds first.
    pub expression: String,
    pub timezone: Tz,
}

/// What happens to runs whose time passed while the hub was down.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Missed {
    RunOnce,
    Skip,
}

/// What happens when a run is due while the last one of the same pipeline still runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Overlap {
    Skip,
    /// Once, right after it.
    Wait,
}

/// How a failed run is tried again: after `backoff`, then after twice as long each time, at most `max`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Retries {
    pub count: u32,
    pub backoff: Duration,
    pub max: Duration,
}

impl Retries {
    /// The pause before the retry that follows `tries` retries.
    pub fn pause(&self, tries: u32) -> Duration {
        self.backoff.saturating_mul(2_u32.saturating_pow(tries)).min(self.max)
    }
}

/// `systems` is `None` where `loopline.toml` could not be read; `pipelines` are the names of all.
pub(super) fn read(section: Section, systems: Option<&BTreeSet<String>>, pipelines: &BTreeSet<&str>) -> Option<Schedule> {
    let cron = section.parsed("cron", check_cron);
    let timezone = section.parsed("timezone", time_zone);
    let after = section.text("after");
    if let Some(after) = after.as_ref().filter(|after| !pipelines.contains(after.value.as_str())) {
        let hint = suggest(&after.value, "pipelines", pipelines.iter().copied());
        section.problem(after.line, format!("after: there is no pipeline \"{}\"", after.value), hint);
    }
    let on_fresh = section.texts("on_fresh").unwrap_or_default();
    for system in on_fresh.iter().filter(|system| systems.is_some_and(|systems| !systems.contains(&system.value))) {
        let hint = suggest(&system.value, "systems", systems.into_iter().flatten().map(String::as_str));
        section.problem(system.line, format!("on_fresh: there is no system \"{}\" in loopline.toml", system.value), hint);
    }
    if !["cron", "after", "on_fresh"].iter().any(|key| section.has(key)) {
        let hint = "add cron = \"0 0 5 * * Mon-Fri\", after = \"another pipeline\" or on_fresh = [\"a system\"]";
        section.problem(section.line, "nothing says when it runs", Some(hint.into()));
    }
    let timezone = match section.has("cron") {
        true => section.required("timezone", "\"Europe/Berlin\"", timezone).map(|zone| zone.value),
        false => timezone.map(|zone| zone.value),
    };
    let missed = if section.has("missed") { section.word("missed") } else { Some(Missed::RunOnce) };
    let overlap = if section.has("overlap") { section.word("overlap") } else { Some(Overlap::Skip) };
    let retries = section.table("retries").map(read_retries);
    let pause_after = section.count("pause_after");
    if let Some(zero) = pause_after.as_ref().filter(|count| count.value == 0) {
        section.problem(zero.line, "pause_after: 0 would never run", Some("leave it out to go on however often it fails".into()));
    }
    section.finish();
    let cron = cron.zip(timezone).map(|(cron, timezone)| Cron { expression: cron.value, timezone });
    Some(Schedule {
        cron,
        after: after.map(|after| after.value),
        on_fresh: on_fresh.into_iter().map(|system| system.value).collect(),
        missed: missed?,
        overlap: overlap?,
        retries: retries.unwrap_or(Retries { count: 0, backoff: BACKOFF_DEFAULT, max: BACKOFF_MAX_DEFAULT }),
        pause_after: pause_after.map(|count| count.value as u32),
    })
}

fn read_retries(section: Section) -> Retries {
    let count = section.required("count", "3", section.count("count"));
    if let Some(count) = count.as_ref().filter(|count| !(1..=RETRIES_MAX).contains(&count.value)) {
        section.problem(count.line, format!("count: {} is not from 1 to {RETRIES_MAX}", count.value), None);
    }
    let backoff = section.parsed("backoff", duration).map_or(BACKOFF_DEFAULT, |pause| pause.value);
    let max = section.parsed("max", duration);
    if let Some(max) = max.as_ref().filter(|max| max.value < backoff) {
        section.problem(
            max.line,
            "max: the longest pause is shorter than the first one",
            Some("raise max, or lower backoff".into()),
        );
    }
    section.finish();
    let max = max.map_or(BACKOFF_MAX_DEFAULT.max(backoff), |max| max.value);
    Retries { count: count.map_or(0, |count| count.value as u32), backoff, max }
}

/// Accepts six fields only: with five or seven, cron programs disagree on what the first and the last one mean.
fn check_cron(text: &str) -> Result<String, String> {
    const FIELDS: &str = "second minute hour day-of-month month day-of-week, for example 0 0 5 * * Mon-Fri";
    let fields = text.split_whitespace().count();
    if fields != 6 {
        return Err(format!("\"{text}\" has {fields} fields, not 6 ({FIELDS})"));
    }
    let schedule = cron::Schedule::from_str(text).map_err(|_| format!("\"{text}\" is not a cron expression ({FIELDS})"))?;
    match schedule.upcoming(chrono::Utc).next() {
        Some(_) => Ok(text.to_owned()),
        None => Err(format!("\"{text}\" never comes")),
    }
}

/// Refuses pipelines that wait for one another.
pub(super) fn check_order(pipelines: &BTreeMap<String, Pipeline>, files: &BTreeMap<String, SqlFile>, problems: &Problems) {
    let after = |name: &str| pipelines.get(name).and_then(|pipeline| pipeline.schedule.as_ref()?.after.as_deref());
    for (name, pipeline) in pipelines {
        let chain: Vec<&str> = std::iter::successors(after(name), |before| after(before)).take(pipelines.len()).collect();
        // Told once for each circle: by its first name.
        if let Some(end) = chain.iter().position(|other| other == name)
            && chain[..=end].iter().all(|other| *other >= name.as_str())
        {
            let line = files.get(name).and_then(|file| file.text.lines().position(|line| line.contains("after")));
            let what = format!(
                "schedule: {name} runs after {}, and so none of them ever starts",
                chain[..=end].join(", which runs after ")
            );
            let hint = Some("let one of them run by cron or on_fresh alone".into());
            problems.at(&pipeline.file, line.map_or(1, |line| line + 1), what, hint);
        }
    }
}
