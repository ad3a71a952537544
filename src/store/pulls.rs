//! What the control state remembers of pulls.
//!
//! The latest pull of a stream is the one that was recorded last, whatever the wall clock said then: clocks are set back.

use std::collections::BTreeMap;

use rusqlite::types::{FromSql, FromSqlResult, ValueRef};
use rusqlite::{Row, Transaction, params};

use crate::base::time::Instant;
use crate::base::{RunId, failpoint};

use super::StoreError;
use super::control::{Control, Micros, meta_number, set_meta, unknown};

/// Second format: how much was read, how often it was tried, what was left out.
pub(super) const MIGRATION: &str = "
alter table pulls add column kind text not null default 'incremental';
update pulls set kind = 'full' where whole;
alter table pulls add column bytes_read integer not null default 0;
alter table pulls add column tries integer not null default 1;
alter table pulls add column discarded_rows integer not null default 0;
alter table pulls add column discarded_values integer not null default 0;
create index pulls_that_worked on pulls (system, stream, kind, id) where error is null;
";

/// Pulls that are remembered; a hundred streams every five minutes make as many in three and a half days.
const PULLS_MAX: i64 = 100_000;
/// Older ones are forgotten that many at a time, so that it costs nothing to speak of.
const FORGOTTEN_AT_ONCE: i64 = 1_000;

/// What a pull of a stream read, and what its rows are to the table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum PullKind {
    /// The whole table; what is missing was deleted.
    Full,
    /// Rows from the cursor on.
    Incremental,
    /// Rows from the cursor on, or all of them, which are never changed or removed.
    Append,
    /// Keys and versions of all rows, then the rows that differ.
    Sweep,
    /// Files that were not taken yet.
    Files,
    /// What a verification found to differ.
    Repair,
}

impl PullKind {
    pub const ALL: [Self; 6] = [Self::Full, Self::Incremental, Self::Append, Self::Sweep, Self::Files, Self::Repair];

    pub fn text(self) -> &'static str {
        match self {
            Self::Full => "full",
            Self::Incremental => "incremental",
            Self::Append => "append",
            Self::Sweep => "sweep",
            Self::Files => "files",
            Self::Repair => "repair",
        }
    }
}

impl FromSql for PullKind {
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
        let text = value.as_str()?;
        Self::ALL.into_iter().find(|kind| kind.text() == text).ok_or_else(|| unknown("kind of pull", text))
    }
}

/// One pull of one stream.
#[derive(Debug, Clone, serde::Serialize)]
pub struct PullRecord {
    pub run: RunId,
    pub system: String,
    pub stream: String,
    pub kind: PullKind,
    /// When its snapshot was opened.
    pub started_at: Instant,
    pub seconds: f64,
    pub rows_read: u64,
    /// Bytes of the rows in memory.
    pub bytes_read: u64,
    pub inserted: u64,
    pub updated: u64,
    pub deleted: u64,
    /// Rows and values that the stream's contract left out.
    pub discarded_rows: u64,
    pub discarded_values: u64,
    /// How often it was tried, the last time included.
    pub tries: u32,
    /// Whether every column of the whole table was read: only then is a row that does not show a change known not to have it.
    pub whole: bool,
    pub error: Option<String>,
}

const COLUMNS: &str = "run, system, stream, kind, started_at, seconds, rows_read, bytes_read, inserted, updated, deleted, discarded_rows, discarded_values,
                       tries, whole, error";

impl Control {
    pub fn record_pull(&self, pull: &PullRecord) -> Result<(), StoreError> {
        self.record_pulls(std::slice::from_ref(pull))
    }

    /// Records several pulls in one transaction.
    pub fn record_pulls(&self, pulls: &[PullRecord]) -> Result<(), StoreError> {
        let count = |n: u64| i64::try_from(n).unwrap_or(i64::MAX);
        failpoint::hit("pull.record.before");
        self.write("cannot record a pull", |db| {
            let sql = format!(
                "insert into pulls ({COLUMNS}) values (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16)"
            );
            let mut insert = db.prepare(&sql)?;
            for pull in pulls {
                insert.execute(params![
                    pull.run.0,
                    pull.system,
                    pull.stream,
                    pull.kind.text(),
                    Micros(pull.started_at),
                    pull.seconds,
                    count(pull.rows_read),
                    count(pull.bytes_read),
                    count(pull.inserted),
                    count(pull.updated),
                    count(pull.deleted),
                    count(pull.discarded_rows),
                    count(pull.discarded_values),
                    pull.tries,
                    pull.whole,
                    pull.error
                ])?;
            }
            forget(db, PULLS_MAX)
        })?;
        failpoint::hit("pull.record.after");
        Ok(())
    }

    /// When the snapshot of the last pull that succeeded of each stream of `system` was opened; only pulls of `kinds` count.
    pub fn last_successes(&self, system: &str, kinds: &[PullKind]) -> Result<BTreeMap<String, Instant>, StoreError> {
        let kinds: Vec<String> = kinds.iter().map(|kind| format!("'{}'", kind.text())).collect();
        self.read("cannot read when a system was pulled", |db| {
            let sql = format!(
                "select stream, started_at from pulls where id in
                   (select max(id) from pulls where system = ?1 and error is null and kind in ({}) group by stream)",
                kinds.join(", ")
            );
            let rows = |row: &Row<'_>| Ok((row.get(0)?, row.get::<_, Micros>(1)?.0));
            db.prepare(&sql)?.query_map([system], rows)?.collect()
        })
    }

    /// The last pull of each stream.
    pub fn last_pulls(&self) -> Result<Vec<PullRecord>, StoreError> {
        let condition = "id in (select max(id) from pulls group by system, stream) order by system, stream";
        Ok(self.pulls(condition)?.into_iter().map(|(_, pull)| pull).collect())
    }

    /// Makes ready for copying what was recorded since a copy that went up to `last`, and returns it. A control state that was restored or begun anew
    /// gives its younger pulls numbers above `last`.
    pub(super) fn pulls_to_copy(&self, last: i64) -> Result<Vec<(i64, PullRecord)>, StoreError> {
        self.write("cannot number pulls", |db| {
            let copied = meta_number(db, "pulls_copied")?;
            if copied < last {
                // In two steps, so that no number is in the way of another.
                db.execute("update pulls set id = -(id + ?1) where id > ?2", [last - copied, copied])?;
                db.execute("update pulls set id = -id where id < 0", [])?;
            }
            let newest: i64 = db.query_row("select coalesce(max(id), 0) from pulls", [], |row| row.get(0))?;
            // Before they are copied: after a crash in between, the copy is behind, which is told from a control state that is.
            set_meta(db, "pulls_copied", &newest.max(last).to_string())
        })?;
        self.pulls(&format!("id > {last} order by id"))
    }

    fn pulls(&self, condition: &str) -> Result<Vec<(i64, PullRecord)>, StoreError> {
        self.read("cannot list pulls", |db| {
            let sql = format!("select id, {COLUMNS} from pulls where {condition}");
            db.prepare(&sql)?.query_map([], pull_record)?.collect()
        })
    }
}

/// Forgets pulls beyond the last `kept`, but of each stream and kind the last one that succeeded: sweeps and freshness go by it.
fn forget(db: &Transaction<'_>, kept: i64) -> rusqlite::Result<()> {
    let newest: i64 = db.query_row("select coalesce(max(id), 0) from pulls", [], |row| row.get(0))?;
    let floor = newest - kept;
    if floor - meta_number(db, "pulls_forgotten")? < FORGOTTEN_AT_ONCE {
        return Ok(());
    }
    let sql = "delete from pulls where id <= ?1
                 and id not in (select max(id) from pulls where error is null group by system, stream, kind)
                 and id not in (select max(id) from pulls group by system, stream)";
    db.execute(sql, [floor])?;
    set_meta(db, "pulls_forgotten", &floor.to_string())
}

fn pull_record(row: &Row<'_>) -> rusqlite::Result<(i64, PullRecord)> {
    let count = |column: &str| row.get::<_, i64>(column).map(|n| u64::try_from(n).unwrap_or_default());
    let pull = PullRecord {
        run: RunId(row.get("run")?),
        system: row.get("system")?,
        stream: row.get("stream")?,
        kind: row.get("kind")?,
        started_at: row.get::<_, Micros>("started_at")?.0,
        seconds: row.get("seconds")?,
        rows_read: count("rows_read")?,
        bytes_read: count("bytes_read")?,
        inserted: count("inserted")?,
        updated: count("updated")?,
        deleted: count("deleted")?,
        discarded_rows: count("discarded_rows")?,
        discarded_values: count("discarded_values")?,
        tries: row.get("tries")?,
        whole: row.get("whole")?,
        error: row.get("error")?,
    };
    Ok((row.get("id")?, pull))
}

#[cfg(test)]
mod tests {
    use super::super::testing::instant;
    use super::*;

    fn open(folder: &tempfile::TempDir) -> Control {
        Control::open(&folder.path().join("control.sqlite")).unwrap()
    }

    fn pull(run: i64, stream: &str, at: i64, kind: PullKind, error: Option<&str>) -> PullRecord {
        PullRecord {
            run: RunId(run),
            system: "erp".into(),
            stream: stream.into(),
            kind,
            started_at: instant(at),
            seconds: 0.5,
            rows_read: 3,
            bytes_read: 96,
            inserted: 2,
            updated: 1,
            deleted: 0,
            discarded_rows: 4,
            discarded_values: 5,
            tries: 2,
            whole: kind == PullKind::Full,
            error: error.map(Into::into),
        }
    }

    #[test]
    fn the_last_pull_is_the_one_recorded_last_whatever_the_clock_says() {
        let folder = tempfile::tempdir().unwrap();
        let control = open(&folder);
        for kind in PullKind::ALL {
            control.record_pull(&pull(1, "kinds", 1, kind, None)).unwrap();
        }
        control.record_pull(&pull(1, "items", 10, PullKind::Full, None)).unwrap();
        control.record_pull(&pull(1, "orders", 1_000_000, PullKind::Sweep, None)).unwrap();
        control.record_pull(&pull(2, "orders", 20, PullKind::Sweep, None)).unwrap(); // the clock was set back
        control.record_pull(&pull(3, "orders", 30, PullKind::Incremental, None)).unwrap();
        control.record_pull(&pull(4, "orders", 40, PullKind::Incremental, Some("no route"))).unwrap();

        let swept = control.last_successes("erp", &[PullKind::Full, PullKind::Sweep]).unwrap();
        assert_eq!((swept["items"], swept["orders"]), (instant(10), instant(20)));
        assert_eq!(control.last_successes("erp", &PullKind::ALL).unwrap()["orders"], instant(30));
        let last = control.last_pulls().unwrap();
        let of = |stream: &str| last.iter().find(|pull| pull.stream == stream).unwrap();
        assert_eq!((of("orders").run, of("orders").error.as_deref()), (RunId(4), Some("no route")));
        assert_eq!((of("kinds").kind, of("kinds").bytes_read, of("kinds").discarded_values), (PullKind::Repair, 96, 5));
    }

    #[test]
    fn old_pulls_are_forgotten_but_not_the_last_that_worked() {
        let folder = tempfile::tempdir().unwrap();
        let control = open(&folder);
        control.record_pull(&pull(1, "orders", 1, PullKind::Sweep, None)).unwrap();
        control.record_pull(&pull(1, "closed", 1, PullKind::Full, Some("gone"))).unwrap();
        let many: Vec<PullRecord> =
            (0..3_000).map(|n| pull(n, "orders", n, PullKind::Incremental, (n > 10).then_some("no route"))).collect();
        control.record_pulls(&many).unwrap();
        control.write("cannot forget", |db| forget(db, 1_000)).unwrap();
        let kept: Vec<i64> = control.pulls("true order by id").unwrap().into_iter().map(|(number, _)| number).collect();
        assert_eq!((kept[..3].to_vec(), kept.len()), (vec![1, 2, 13], 1_003));
        assert_eq!(control.last_successes("erp", &[PullKind::Sweep]).unwrap()["orders"], instant(1));
    }

    #[test]
    fn a_control_state_of_the_first_format_is_brought_along() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("control.sqlite");
        let old = rusqlite::Connection::open(&path).unwrap();
        old.execute_batch(super::super::control::FIRST_FORMAT).unwrap();
        let sql =
            "insert into pulls (run, system, stream, started_at, seconds, rows_read, inserted, updated, deleted, whole, error)
                   values (7, 'erp', 'items', 1, 0.1, 5, 5, 0, 0, 1, null)";
        old.execute(sql, []).unwrap();
        old.pragma_update(None, "user_version", 1).unwrap();
        drop(old);
        let last = open(&folder).last_pulls().unwrap();
        assert_eq!((last[0].run, last[0].kind, last[0].rows_read, last[0].tries), (RunId(7), PullKind::Full, 5, 1));
    }
}
