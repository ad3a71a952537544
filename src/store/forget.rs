//! What the control state forgets: it is bounded, however long a hub runs.
//!
//! Never forgotten: what was sent, what is open, what a person decided within the time of sent changes, and the runs that any of it names. Records of pulls
//! are bounded where they are written.

use std::collections::{BTreeMap, BTreeSet};

use rusqlite::{Row, params};

use crate::base::RunId;
use crate::base::time::Instant;

use super::control::{Micros, meta, meta_number, set_meta};
use super::{Control, StoreError};

/// The file is written anew when this share of its pages is free, and at least this many.
const FREE_PERCENT: i64 = 25;
const FREE_PAGES_MIN: i64 = 1_024;

/// What was forgotten.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize)]
pub struct Forgotten {
    pub runs: usize,
    /// Changes that came to nothing.
    pub changes: usize,
    /// Steps of changes that were closed long ago.
    pub events: usize,
}

impl Control {
    /// When each run was started.
    pub(super) fn run_starts(&self) -> Result<BTreeMap<RunId, Instant>, StoreError> {
        self.read("cannot list runs", |db| {
            let rows = |row: &Row<'_>| Ok((RunId(row.get(0)?), row.get::<_, Micros>(1)?.0));
            db.prepare("select run, started_at from runs")?.query_map([], rows)?.collect()
        })
    }

    /// Runs behind a change that was sent since `since`, or that is still open.
    pub(super) fn sent_runs(&self, since: Instant) -> Result<BTreeSet<RunId>, StoreError> {
        self.read("cannot list runs behind changes", |db| {
            let sql = "select distinct run from changes
                       where sent_at >= ?1 or state in ('planned', 'approved', 'sent', 'acknowledged')";
            db.prepare(sql)?.query_map([Micros(since)], |row| Ok(RunId(row.get(0)?)))?.collect()
        })
    }

    /// The newest run whose changes this control state does not know because an earlier one was lost, and when that was accepted.
    pub(super) fn ledger_lost(&self) -> Result<Option<(RunId, Instant)>, StoreError> {
        self.read("cannot read what was lost", |db| {
            if meta(db, "ledger_lost_at")?.is_none() {
                return Ok(None);
            }
            let at = meta_number(db, "ledger_lost_at")?;
            let at = chrono::DateTime::from_timestamp_micros(at).unwrap_or_default();
            Ok(Some((RunId(meta_number(db, "ledger_lost_run")?), at)))
        })
    }

    pub(super) fn set_ledger_lost(&self, until: RunId, at: Instant) -> Result<(), StoreError> {
        self.write("cannot keep what was lost", |db| {
            set_meta(db, "ledger_lost_run", &until.to_string())?;
            set_meta(db, "ledger_lost_at", &at.timestamp_micros().to_string())
        })
    }

    /// Forgets what nobody needs any more: runs, changes and steps that ended before `old`, changes that came to nothing before `vain`.
    pub fn forget(&self, old: Instant, vain: Instant) -> Result<Forgotten, StoreError> {
        let (old, vain) = (Micros(old), Micros(vain));
        let forgotten = self.write("cannot forget what is old", |db| {
            db.execute("create temp table if not exists vain (id integer primary key)", [])?;
            db.execute("delete from vain", [])?;
            // What was sent is never forgotten: the hub's own rows are known by it.
            db.execute(
                "insert into vain select id from changes where sent_at is null and undoes is null
                   and id not in (select undoes from changes where undoes is not null)
                   and (state in ('superseded', 'expired') and approved_by is null and closed_at < ?2
                     or state in ('superseded', 'expired', 'rejected') and closed_at < ?1)",
                params![old, vain],
            )?;
            // The newest event says how far the ledger is.
            let events = db.execute(
                "delete from change_events where id < (select max(id) from change_events) and (change in vain or change in
                   (select id from changes where closed_at < ?1 and state not in ('planned', 'approved', 'sent', 'acknowledged')))",
                [&old],
            )?;
            let changes = db.execute("delete from changes where id in vain and id not in (select change from change_events)", [])?;
            let runs = db.execute(
                "delete from runs where started_at < ?1 and outcome <> 'running' and run < (select max(run) from runs)
                   and run not in (select run from changes) and run not in (select run from manifests)",
                [&old],
            )?;
            db.execute(
                "delete from meta where name like 'note checks of run %'
                   and cast(substr(name, 20) as integer) not in (select run from runs)",
                [],
            )?;
            Ok(Forgotten { runs, changes, events })
        })?;
        if let Err(error) = self.shrink() {
            tracing::debug!(%error, "the control state keeps its free space"); // another process reads it
        }
        Ok(forgotten)
    }

    /// Gives space back to the disk, if that is worth writing the file anew.
    fn shrink(&self) -> Result<(), StoreError> {
        self.read("cannot give space back", |db| {
            let number = |sql: &str| db.query_row(sql, [], |row| row.get::<_, i64>(0));
            let (free, pages) = (number("pragma freelist_count")?, number("pragma page_count")?);
            if free >= FREE_PAGES_MIN && free * 100 >= pages * FREE_PERCENT {
                db.execute_batch("vacuum; pragma wal_checkpoint(truncate)")?;
            }
            Ok(())
        })
    }
}

#[cfg(test)]
mod tests {
    use chrono::TimeDelta;

    use super::super::ledger::Filter;
    use super::super::testing::instant;
    use super::super::{ChangeState, RunOutcome};
    use super::*;
    use crate::base::time::now;

    #[test]
    fn what_is_old_is_forgotten_and_what_matters_stays() {
        let folder = tempfile::tempdir().unwrap();
        let control = Control::open(&folder.path().join("control.sqlite")).unwrap();
        for _ in 0..4 {
            let run = control.start_run("plan", instant(1)).unwrap();
            control.finish_run(run, RunOutcome::Published, "").unwrap();
            control.set_note(&format!("checks of run {run}"), "[]").unwrap();
        }
        control.set_note("other", "stays").unwrap();
        let sql = "
            update runs set started_at = 0 where run < 4;
            insert into changes (id, run, system, kind, operation, target, key, reason, hash, state, approved_by, planned_at, sent_at, closed_at) values
              (1, 1, 's', 'k', 'insert', 't', '{}', '', 'a', 'superseded', null, 0, null, 1),
              (2, 2, 's', 'k', 'insert', 't', '{}', '', 'b', 'confirmed', null, 0, 1, 1),
              (3, 3, 's', 'k', 'insert', 't', '{}', '', 'c', 'planned', null, 0, null, null),
              (4, 4, 's', 'k', 'insert', 't', '{}', '', 'd', 'rejected', null, 0, null, 1),
              (5, 4, 's', 'k', 'insert', 't', '{}', '', 'e', 'superseded', 'ada', 0, null, ?1),
              (6, 4, 's', 'k', 'insert', 't', '{}', '', 'f', 'superseded', null, 0, null, ?1),
              (7, 4, 's', 'k', 'insert', 't', '{}', '', 'g', 'superseded', null, 0, null, ?2);
            insert into change_events (change, state, at) select id, 'planned', 0 from changes;
            insert into change_events (change, state, at) values (2, 'sent', 1), (2, 'confirmed', 1), (7, 'superseded', 2)";
        let ago = |days| (now() - TimeDelta::days(days)).timestamp_micros().to_string();
        let sql = sql.replace("?1", &ago(20)).replace("?2", &ago(2));
        control.write("test", |db| db.execute_batch(&sql)).unwrap();
        let before = control.ledger_position().unwrap();

        let forgotten = control.forget(now() - TimeDelta::days(400), now() - TimeDelta::days(7)).unwrap();
        assert_eq!(forgotten, Forgotten { runs: 1, changes: 3, events: 6 });
        let changes: Vec<(i64, ChangeState)> =
            control.changes(&Filter::default()).unwrap().into_iter().map(|change| (change.id, change.state)).collect();
        use ChangeState::*;
        assert_eq!(
            changes,
            [(2, Confirmed), (3, Planned), (5, Superseded), (7, Superseded)],
            "sent, open, a person's, of yesterday"
        );
        assert_eq!(control.ledger_position().unwrap(), before);
        let runs: Vec<i64> = control.runs(9).unwrap().iter().map(|run| run.run.0).collect();
        assert_eq!(runs, [4, 3, 2]);
        assert_eq!((control.note("checks of run 1").unwrap(), control.note("checks of run 2").unwrap().is_some()), (None, true));
        assert!(control.note("other").unwrap().is_some());
        assert_eq!(control.forget(now() - TimeDelta::days(400), now() - TimeDelta::days(7)).unwrap(), Forgotten::default());
        assert_eq!(control.start_run("plan", instant(9)).unwrap(), RunId(5), "no number is used twice");
    }
}
