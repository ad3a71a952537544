//! What the control state forgets: it is bounded, however long a hub runs.
//!
//! Never forgotten: what was sent, what is open, what a person decided within the time of sent changes, the newest pulls of each stream, and the runs that any
//! of it names.

use std::collections::{BTreeMap, BTreeSet};

use rusqlite::{Row, params};

use crate::base::RunId;
use crate::base::time::Instant;

use super::control::{Micros, meta, meta_number, set_meta};
use super::{Control, StoreError};

/// Records of pulls that are kept; the newest of each stream are kept in any case.
const PULLS_MAX: i64 = 100_000;
/// The file is written anew when this share of its pages is free, and at least this many.
const FREE_PERCENT: i64 = 25;
const FREE_PAGES_MIN: i64 = 1_024;

/// What was forgotten.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize)]
pub struct Forgotten {
    pub runs: usize,
    pub pulls: usize,
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

    /// Forgets what nobody needs any more: runs, changes and steps that ended before `old`, changes that came to nothing before `vain`, pulls beyond
    /// the newest [`PULLS_MAX`].
    pub fn forget(&self, old: Instant, vain: Instant) -> Result<Forgotten, StoreError> {
        let (old, vain) = (Micros(old), Micros(vain));
        let forgotten = self.write("cannot forget what is old", |db| {
            let pulls = db.execute(
                "delete from pulls where id <= (select max(id) from pulls) - ?1
                   and id not in (select max(id) from pulls group by system, stream)
                   and id not in (select max(id) from pulls where error is null group by system, stream)
                   and id not in (select max(id) from pulls where error is null and whole group by system, stream)",
                [PULLS_MAX],
            )?;
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
            Ok(Forgotten { runs, pulls, changes, events })
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
