//! What the control state remembers of schedules, and what happened that may start one.
//!
//! Each change is one transaction: the scheduler and a person who pauses or resumes may be two processes.

use rusqlite::{Connection, OptionalExtension, Row, params};

use crate::base::RunId;
use crate::base::time::Instant;

use super::StoreError;
use super::control::{Control, Micros, RunRecord, run_record};

/// Adds what a schedule needs besides its last start.
pub(super) const MIGRATION: &str = "
alter table schedules add column seen_run integer not null default 0;
alter table schedules add column tries integer not null default 0;
alter table schedules add column retry_at integer;
alter table schedules add column failures integer not null default 0;
alter table schedules add column paused text;
alter table schedules add column paused_at integer;
";

/// How far a pipeline's schedule is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ScheduleState {
    /// Times up to this one are dealt with.
    pub last: Instant,
    /// Runs and pulls up to this run are dealt with.
    pub seen: RunId,
    /// Retries since the last start that was none.
    pub tries: u32,
    pub retry_at: Option<Instant>,
    /// Runs in a row that failed, each with all of its retries.
    pub failures: u32,
    pub paused: Option<Paused>,
}

/// Why a schedule does not start anything, and since when.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Paused {
    pub why: String,
    pub since: Instant,
}

const COLUMNS: &str = "last, seen_run, tries, retry_at, failures, paused, paused_at";

impl Control {
    /// `None` for a pipeline that no scheduler has seen.
    pub fn schedule(&self, pipeline: &str) -> Result<Option<ScheduleState>, StoreError> {
        self.read("cannot read a schedule", |db| load(db, pipeline))
    }

    /// Changes what is kept of a schedule; one that is new starts from `now` and from the runs that there are.
    pub fn change_schedule(
        &self,
        pipeline: &str,
        now: Instant,
        change: impl FnOnce(&mut ScheduleState),
    ) -> Result<ScheduleState, StoreError> {
        self.write("cannot keep a schedule", |db| {
            let new = |seen| ScheduleState { last: now, seen, tries: 0, retry_at: None, failures: 0, paused: None };
            let kept = load(db, pipeline)?;
            let mut state = match &kept {
                Some(state) => state.clone(),
                None => new(newest_run(db)?),
            };
            change(&mut state);
            if kept.as_ref() == Some(&state) {
                return Ok(state);
            }
            db.execute(
                &format!("insert or replace into schedules (pipeline, {COLUMNS}) values (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)"),
                params![
                    pipeline,
                    Micros(state.last),
                    state.seen.0,
                    state.tries,
                    state.retry_at.map(Micros),
                    state.failures,
                    state.paused.as_ref().map(|paused| &paused.why),
                    state.paused.as_ref().map(|paused| Micros(paused.since)),
                ],
            )?;
            Ok(state)
        })
    }

    /// The newest run of all; 0 before the first.
    pub fn newest_run(&self) -> Result<RunId, StoreError> {
        self.read("cannot look for runs", newest_run)
    }

    /// The newest run of `pipeline` after `seen` that published its tables.
    pub fn published_since(&self, pipeline: &str, seen: RunId) -> Result<Option<RunId>, StoreError> {
        self.read("cannot look for runs", |db| {
            let sql = "select max(run) from runs where pipeline = ?1 and run > ?2 and outcome in ('published', 'degraded')";
            db.query_row(sql, params![pipeline, seen.0], |row| Ok(row.get::<_, Option<i64>>(0)?.map(RunId)))
        })
    }

    /// How many runs after `run` published their tables.
    pub fn published_after(&self, run: RunId) -> Result<usize, StoreError> {
        self.read("cannot look for runs", |db| {
            let sql = "select count(*) from runs where run > ?1 and outcome in ('published', 'degraded') and pipeline <> 'pull'";
            db.query_row(sql, [run.0], |row| row.get::<_, i64>(0)).map(|count| usize::try_from(count).unwrap_or_default())
        })
    }

    /// The newest run after `seen` in which a pull changed rows of `system`; those of `but` do not count.
    pub fn fresh_since(&self, system: &str, seen: RunId, but: &str) -> Result<Option<RunId>, StoreError> {
        self.read("cannot look for pulls", |db| {
            let sql = "select max(pulls.run) from pulls left join runs on runs.run = pulls.run
                       where system = ?1 and pulls.run > ?2 and inserted + updated + deleted > 0 and runs.pipeline is not ?3";
            db.query_row(sql, params![system, seen.0, but], |row| Ok(row.get::<_, Option<i64>>(0)?.map(RunId)))
        })
    }

    /// The latest run of `pipeline`.
    pub fn last_run(&self, pipeline: &str) -> Result<Option<RunRecord>, StoreError> {
        self.read("cannot look for runs", |db| {
            let sql = "select run, pipeline, as_of, started_at, finished_at, outcome, message from runs where pipeline = ?1
                       order by run desc limit 1";
            db.query_row(sql, [pipeline], run_record).optional()
        })
    }
}

fn newest_run(db: &Connection) -> rusqlite::Result<RunId> {
    db.query_row("select coalesce(max(run), 0) from runs", [], |row| Ok(RunId(row.get(0)?)))
}

fn load(db: &Connection, pipeline: &str) -> rusqlite::Result<Option<ScheduleState>> {
    let instant = |row: &Row<'_>, at: usize| Ok::<_, rusqlite::Error>(row.get::<_, Option<Micros>>(at)?.map(|at| at.0));
    db.query_row(&format!("select {COLUMNS} from schedules where pipeline = ?1"), [pipeline], |row| {
        Ok(ScheduleState {
            last: row.get::<_, Micros>(0)?.0,
            seen: RunId(row.get(1)?),
            tries: row.get(2)?,
            retry_at: instant(row, 3)?,
            failures: row.get(4)?,
            paused: row.get::<_, Option<String>>(5)?.zip(instant(row, 6)?).map(|(why, since)| Paused { why, since }),
        })
    })
    .optional()
}

#[cfg(test)]
mod tests {
    use super::super::testing::instant;
    use super::super::{PullKind, PullRecord, RunOutcome};
    use super::*;

    #[test]
    fn what_is_kept_survives_and_a_new_schedule_starts_from_now() {
        let folder = tempfile::tempdir().unwrap();
        let open = || Control::open(&folder.path().join("control.sqlite")).unwrap();
        let run = open().start_run("other", instant(1)).unwrap();
        assert_eq!(open().schedule("plan").unwrap(), None);
        let paused = Paused { why: "by ann".into(), since: instant(9) };
        let kept = open()
            .change_schedule("plan", instant(5), |state| {
                assert_eq!((state.last, state.seen), (instant(5), run));
                (state.tries, state.retry_at, state.failures, state.paused) = (2, Some(instant(7)), 1, Some(paused.clone()));
            })
            .unwrap();
        assert_eq!(open().schedule("plan").unwrap(), Some(kept.clone()));
        assert_eq!(open().change_schedule("plan", instant(8), |_| {}).unwrap(), kept, "now is for new ones");
    }

    #[test]
    fn runs_and_fresh_rows_are_news_until_they_are_seen() {
        let folder = tempfile::tempdir().unwrap();
        let control = Control::open(&folder.path().join("control.sqlite")).unwrap();
        let pull = |run: RunId, system: &str, updated: u64| PullRecord {
            run,
            system: system.into(),
            stream: "s".into(),
            kind: PullKind::Full,
            started_at: instant(1),
            seconds: 0.0,
            rows_read: 9,
            bytes_read: 0,
            inserted: 0,
            updated,
            deleted: 0,
            discarded_rows: 0,
            discarded_values: 0,
            tries: 1,
            whole: true,
            error: None,
        };
        let run = |pipeline: &str, outcome| {
            let run = control.start_run(pipeline, instant(1)).unwrap();
            control.finish_run(run, outcome, "").unwrap();
            run
        };
        let first = run("night", RunOutcome::Published);
        let failed = run("night", RunOutcome::Failed);
        control.record_pulls(&[pull(first, "erp", 0), pull(failed, "erp", 3)]).unwrap();
        assert_eq!(control.published_since("night", RunId(0)).unwrap(), Some(first));
        assert_eq!(control.published_since("night", first).unwrap(), None, "a failed run published nothing");
        assert_eq!(control.fresh_since("erp", RunId(0), "plan").unwrap(), Some(failed), "its rows are there all the same");
        assert_eq!(control.fresh_since("erp", RunId(0), "night").unwrap(), None, "its own pulls are no news to it");
        assert_eq!(control.fresh_since("erp", failed, "plan").unwrap(), None);
        assert_eq!(control.fresh_since("wms", RunId(0), "plan").unwrap(), None);
        assert_eq!(control.last_run("night").unwrap().unwrap().run, failed);
    }
}
