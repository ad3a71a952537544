//! The control state: runs, pulls, the ledger, schedules and the writer lease, in one SQLite file.
//!
//! It may be opened by several processes; each call is one transaction. It holds what Delta tables cannot: intents, and who may write.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use chrono::DateTime;
use rusqlite::types::{FromSql, FromSqlError, FromSqlResult, ToSql, ToSqlOutput, ValueRef};
use rusqlite::{Connection, OptionalExtension, Row, Transaction, TransactionBehavior, params};

use crate::base::RunId;
use crate::base::time::{Instant, now};

use super::StoreError;

/// How long a call waits for another process's transaction.
const BUSY: Duration = Duration::from_secs(10);

/// One script for each format; the file's `user_version` says how many were applied.
const MIGRATIONS: &[&str] = &[FIRST_FORMAT, super::pulls::MIGRATION, super::schedules::MIGRATION];

pub(super) const FIRST_FORMAT: &str = "
create table meta (name text primary key, value text not null);
create table lease (one integer primary key check (one = 1), epoch integer not null, pid integer not null, since integer not null);
insert into lease values (1, 0, 0, 0);
create table runs (
  run integer primary key, pipeline text not null, as_of integer not null, started_at integer not null, finished_at integer,
  outcome text not null, message text not null, epoch integer not null);
create table manifests (run integer primary key, manifest text not null);
create table pulls (
  id integer primary key, run integer not null, system text not null, stream text not null, started_at integer not null, seconds real not null,
  rows_read integer not null, inserted integer not null, updated integer not null, deleted integer not null, whole integer not null, error text);
create index pulls_of_stream on pulls (system, stream, id);
create table schedules (pipeline text primary key, last integer not null);
create table changes (
  id integer primary key autoincrement, run integer not null, system text not null, kind text not null, operation text not null,
  target text not null, key text not null, before text, after text, version text, reason text not null, hash text not null,
  state text not null, approved_by text, planned_at integer not null, approved_at integer, sent_at integer, closed_at integer,
  detail text, undoes integer references changes (id));
create index changes_by_state on changes (state, system, kind);
create table change_events (
  id integer primary key, change integer not null references changes (id), state text not null, at integer not null, actor text, detail text);
create index events_of_change on change_events (change);
";

/// The control state. All calls are short; durable when they return (`synchronous = FULL`, WAL).
#[derive(Debug)]
pub struct Control {
    path: PathBuf,
    db: Mutex<Connection>,
    /// Epoch of the lease that this process holds; 0 if none.
    pub(super) held: Arc<AtomicI64>,
}

/// One execution of a pipeline.
#[derive(Debug, Clone, serde::Serialize)]
pub struct RunRecord {
    pub run: RunId,
    pub pipeline: String,
    pub as_of: Instant,
    pub started_at: Instant,
    pub finished_at: Option<Instant>,
    pub outcome: RunOutcome,
    /// One line for a person: what failed, or what was done.
    pub message: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum RunOutcome {
    Running,
    Published,
    /// Published, but a system could not be pulled or a check warned.
    Degraded,
    Failed,
}

impl RunOutcome {
    pub fn text(self) -> &'static str {
        match self {
            Self::Running => "running",
            Self::Published => "published",
            Self::Degraded => "degraded",
            Self::Failed => "failed",
        }
    }
}

impl FromSql for RunOutcome {
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
        Ok(match value.as_str()? {
            "running" => Self::Running,
            "published" => Self::Published,
            "degraded" => Self::Degraded,
            "failed" => Self::Failed,
            other => return Err(unknown("outcome", other)),
        })
    }
}

/// An instant as SQLite keeps it: microseconds since 1970-01-01T00:00:00Z.
pub(super) struct Micros(pub(super) Instant);

impl ToSql for Micros {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(self.0.timestamp_micros().into())
    }
}

impl FromSql for Micros {
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
        let micros = value.as_i64()?;
        DateTime::from_timestamp_micros(micros).map(Self).ok_or(FromSqlError::OutOfRange(micros))
    }
}

/// The error for a word that this program never writes.
pub(super) fn unknown(what: &'static str, value: &str) -> FromSqlError {
    FromSqlError::Other(Box::new(StoreError::ControlValue { what, value: value.into() }))
}

impl Control {
    /// Opens or makes the file.
    pub(super) fn open(path: &Path) -> Result<Self, StoreError> {
        if let Some(folder) = path.parent() {
            std::fs::create_dir_all(folder).map_err(|source| StoreError::ControlFile { path: path.into(), source })?;
        }
        let fail = |source| StoreError::Control { path: path.into(), what: "cannot open it", source };
        let mut db = Connection::open(path).map_err(fail)?;
        db.busy_timeout(BUSY).map_err(fail)?;
        db.pragma_update(None, "journal_mode", "wal").map_err(fail)?;
        db.pragma_update(None, "synchronous", "full").map_err(fail)?;
        db.pragma_update(None, "foreign_keys", true).map_err(fail)?;
        migrate(&mut db, path)?;
        Ok(Self { path: path.into(), db: Mutex::new(db), held: Arc::default() })
    }

    fn db(&self) -> MutexGuard<'_, Connection> {
        // A panic elsewhere left at worst a transaction that was rolled back.
        self.db.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Reads.
    pub(super) fn read<T>(
        &self,
        what: &'static str,
        read: impl FnOnce(&Connection) -> rusqlite::Result<T>,
    ) -> Result<T, StoreError> {
        read(&self.db()).map_err(|source| StoreError::Control { path: self.path.clone(), what, source })
    }

    /// Writes in one transaction, which is on disk when this returns.
    pub(super) fn write<T>(
        &self,
        what: &'static str,
        write: impl FnOnce(&Transaction<'_>) -> rusqlite::Result<T>,
    ) -> Result<T, StoreError> {
        let run = || {
            let mut db = self.db();
            let transaction = db.transaction_with_behavior(TransactionBehavior::Immediate)?;
            let value = write(&transaction)?;
            transaction.commit()?;
            Ok(value)
        };
        run().map_err(|source| StoreError::Control { path: self.path.clone(), what, source })
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Starts a run and gives it the next number, which is above every number that this store ever published.
    pub fn start_run(&self, pipeline: &str, as_of: Instant) -> Result<RunId, StoreError> {
        let epoch = self.held.load(Ordering::SeqCst);
        self.write("cannot start a run", |db| {
            let floor = meta_number(db, "run_floor")?.max(meta_number(db, "published")?);
            db.query_row(
                "insert into runs select max(coalesce(max(run), 0), ?1) + 1, ?2, ?3, ?4, null, 'running', '', ?5 from runs returning run",
                params![floor, pipeline, Micros(as_of), Micros(now()), epoch],
                |row| Ok(RunId(row.get(0)?)),
            )
        })
    }

    pub fn finish_run(&self, run: RunId, outcome: RunOutcome, message: &str) -> Result<(), StoreError> {
        self.write("cannot finish a run", |db| {
            let sql = "update runs set outcome = ?2, message = ?3, finished_at = ?4 where run = ?1";
            db.execute(sql, params![run.0, outcome.text(), message, Micros(now())]).map(drop)
        })
    }

    /// Latest first.
    pub fn runs(&self, limit: usize) -> Result<Vec<RunRecord>, StoreError> {
        self.read("cannot list runs", |db| {
            let sql =
                "select run, pipeline, as_of, started_at, finished_at, outcome, message from runs order by run desc limit ?1";
            let limit = i64::try_from(limit).unwrap_or(i64::MAX);
            db.prepare(sql)?.query_map([limit], run_record)?.collect()
        })
    }

    /// A small text kept under `name`, e.g. what a plan was made from.
    pub fn note(&self, name: &str) -> Result<Option<String>, StoreError> {
        self.read("cannot read a note", |db| meta(db, &format!("note {name}")))
    }

    pub fn set_note(&self, name: &str, text: &str) -> Result<(), StoreError> {
        if self.note(name)?.as_deref() == Some(text) {
            return Ok(());
        }
        self.write("cannot keep a note", |db| set_meta(db, &format!("note {name}"), text))
    }

    /// The newest run that this control state knows as published; 0 before the first.
    pub fn last_published_run(&self) -> Result<RunId, StoreError> {
        self.read("cannot read the last published run", |db| Ok(RunId(meta_number(db, "published")?)))
    }

    /// Sees to it that no run number up to `run` is given out again.
    pub(super) fn raise_run_floor(&self, run: RunId) -> Result<(), StoreError> {
        self.write("cannot raise the run number", |db| {
            if meta_number(db, "run_floor")? < run.0 { set_meta(db, "run_floor", &run.to_string()) } else { Ok(()) }
        })
    }

    /// The store that this control state belongs to; `None` for a new file.
    pub(super) fn store_id(&self) -> Result<Option<String>, StoreError> {
        self.read("cannot read the store's id", |db| meta(db, "store"))
    }

    pub(super) fn set_store_id(&self, id: &str) -> Result<(), StoreError> {
        self.write("cannot keep the store's id", |db| set_meta(db, "store", id))
    }

    pub(super) fn put_manifest(&self, run: RunId, manifest: &str) -> Result<(), StoreError> {
        self.write("cannot keep a manifest", |db| {
            db.execute("insert or replace into manifests values (?1, ?2)", params![run.0, manifest]).map(drop)
        })
    }

    pub(super) fn has_manifest(&self, run: RunId) -> Result<bool, StoreError> {
        self.read("cannot look for a manifest", |db| db.prepare("select 1 from manifests where run = ?1")?.exists([run.0]))
    }

    /// Manifests of publications that are not finished, oldest first.
    pub(super) fn manifests(&self) -> Result<Vec<(RunId, String)>, StoreError> {
        self.read("cannot read manifests", |db| {
            let rows = |row: &Row<'_>| Ok((RunId(row.get(0)?), row.get(1)?));
            db.prepare("select run, manifest from manifests order by run")?.query_map([], rows)?.collect()
        })
    }

    /// Records that `run` is published, and forgets its manifest.
    pub(super) fn published(&self, run: RunId) -> Result<(), StoreError> {
        self.write("cannot record a publication", |db| {
            if meta_number(db, "published")? < run.0 {
                set_meta(db, "published", &run.to_string())?;
            }
            // Until `finish_run` says more: a crash in between must not make a published run look failed.
            let sql = "update runs set outcome = 'published', finished_at = ?2 where run = ?1 and outcome = 'running'";
            db.execute(sql, params![run.0, Micros(now())])?;
            db.execute("delete from manifests where run = ?1", [run.0]).map(drop)
        })
    }

    /// Closes runs that no process works on any more: earlier holders' running ones, published if in `published`.
    pub(super) fn close_interrupted(&self, epoch: i64, published: &[RunId]) -> Result<(), StoreError> {
        self.write("cannot close interrupted runs", |db| {
            for run in published {
                let sql = "update runs set outcome = 'published', message = 'interrupted; publication finished after a restart', finished_at = ?2
                           where run = ?1 and outcome in ('running', 'failed')";
                db.execute(sql, params![run.0, Micros(now())])?;
            }
            let sql = "update runs set outcome = 'failed', message = 'interrupted', finished_at = ?1
                       where outcome = 'running' and epoch <> ?2 and run not in (select run from manifests)";
            db.execute(sql, params![Micros(now()), epoch]).map(drop)
        })
    }
}

fn migrate(db: &mut Connection, path: &Path) -> Result<(), StoreError> {
    let fail = |source| StoreError::Control { path: path.into(), what: "cannot bring it to the current format", source };
    let known = MIGRATIONS.len() as i64;
    let transaction = db.transaction_with_behavior(TransactionBehavior::Immediate).map_err(fail)?;
    let found: i64 = transaction.query_row("pragma user_version", [], |row| row.get(0)).map_err(fail)?;
    if found > known {
        return Err(StoreError::ControlNewer { path: path.into(), found, known });
    }
    for script in MIGRATIONS.iter().skip(usize::try_from(found).unwrap_or_default()) {
        transaction.execute_batch(script).map_err(fail)?;
    }
    transaction.pragma_update(None, "user_version", known).map_err(fail)?;
    transaction.commit().map_err(fail)
}

pub(super) fn meta(db: &Connection, name: &str) -> rusqlite::Result<Option<String>> {
    db.query_row("select value from meta where name = ?1", [name], |row| row.get(0)).optional()
}

pub(super) fn meta_number(db: &Connection, name: &str) -> rusqlite::Result<i64> {
    let text = meta(db, name)?.unwrap_or_else(|| "0".into());
    text.parse().map_err(|_| {
        rusqlite::Error::FromSqlConversionFailure(
            0,
            rusqlite::types::Type::Text,
            Box::new(StoreError::ControlValue { what: "number", value: text }),
        )
    })
}

pub(super) fn set_meta(db: &Connection, name: &str, value: &str) -> rusqlite::Result<()> {
    let sql = "insert into meta values (?1, ?2) on conflict (name) do update set value = excluded.value";
    db.execute(sql, params![name, value]).map(drop)
}

pub(super) fn run_record(row: &Row<'_>) -> rusqlite::Result<RunRecord> {
    Ok(RunRecord {
        run: RunId(row.get(0)?),
        pipeline: row.get(1)?,
        as_of: row.get::<_, Micros>(2)?.0,
        started_at: row.get::<_, Micros>(3)?.0,
        finished_at: row.get::<_, Option<Micros>>(4)?.map(|at| at.0),
        outcome: row.get(5)?,
        message: row.get(6)?,
    })
}

#[cfg(test)]
mod tests {
    use super::super::testing::instant;
    use super::*;

    fn open(folder: &tempfile::TempDir) -> Control {
        Control::open(&folder.path().join("deep/control.sqlite")).unwrap()
    }

    #[test]
    fn runs_survive() {
        let folder = tempfile::tempdir().unwrap();
        let control = open(&folder);
        let run = control.start_run("plan", instant(1)).unwrap();
        control.finish_run(run, RunOutcome::Degraded, "crm was not pulled").unwrap();
        control.raise_run_floor(RunId(41)).unwrap();
        control.raise_run_floor(RunId(7)).unwrap();
        assert_eq!(control.start_run("plan", instant(2)).unwrap(), RunId(42));
        let control = open(&folder);
        let runs = control.runs(10).unwrap();
        let seen: Vec<_> = runs.iter().map(|run| (run.run.0, run.outcome, run.message.as_str(), run.as_of)).collect();
        assert_eq!(
            seen,
            [(42, RunOutcome::Running, "", instant(2)), (1, RunOutcome::Degraded, "crm was not pulled", instant(1))]
        );
        control.close_interrupted(1, &[]).unwrap();
        assert_eq!(control.runs(1).unwrap()[0].outcome, RunOutcome::Failed);
    }

    #[test]
    fn a_newer_format_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        drop(open(&folder));
        let path = folder.path().join("deep/control.sqlite");
        Connection::open(&path).unwrap().pragma_update(None, "user_version", 99).unwrap();
        let refused = Control::open(&path).unwrap_err();
        assert!(matches!(refused, StoreError::ControlNewer { found: 99, .. }), "{refused:?}");
    }
}
