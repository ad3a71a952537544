//! The ledger: the durable record of every change and each step of its life.
//!
//! ```text
//! planned ─► approved ─► sent ─► acknowledged ─► confirmed ─► undone
//!    │          │          ├─► conflicted          └─► overridden
//!    ├─► rejected          └─► failed
//!    ├─► superseded (a newer plan wants something else)
//!    └─► expired
//! ```
//! An undo is a change of its own; when it is confirmed, the change that it takes back becomes undone.
//! `sent` is recorded before anything is sent; a change found in `sent` has an unknown outcome and is settled by looking at the target.

use std::collections::{BTreeMap, BTreeSet};

use rusqlite::types::ValueRef;
use rusqlite::{Connection, OptionalExtension, Row as SqlRow, params};

use crate::base::failpoint;
use crate::base::time::{Instant, now};
use crate::base::{Operation, Row, RowChange, RunId};

use super::control::{Micros, unknown};
use super::{ChangeState, Control, StoreError};

/// Who approves where a pipeline's rule does.
const RULE: &str = "rule";

/// Number of a change, ascending in a control state.
pub type ChangeId = i64;

pub(super) fn operation_text(operation: Operation) -> &'static str {
    match operation {
        Operation::Insert => "insert",
        Operation::Update => "update",
        Operation::Delete => "delete",
    }
}

fn operation(text: &str) -> rusqlite::Result<Operation> {
    Ok(match text {
        "insert" => Operation::Insert,
        "update" => Operation::Update,
        "delete" => Operation::Delete,
        other => return Err(unknown("operation", other).into()),
    })
}

/// A change that a plan wants.
#[derive(Debug, Clone)]
pub struct NewChange {
    pub run: RunId,
    pub system: String,
    /// Outbox model's name, without schema.
    pub kind: String,
    pub row: RowChange,
    /// The outbox row's own `_reason`: why a person should agree.
    pub reason: String,
    /// SHA-256 over system, table, operation, key, before and after: what an approval names.
    pub hash: String,
    /// [`ChangeState::Planned`], or [`ChangeState::Approved`] where a rule approves by itself.
    pub state: ChangeState,
}

/// A change as the ledger has it.
#[derive(Debug, Clone, serde::Serialize)]
pub struct Change {
    pub id: ChangeId,
    pub run: RunId,
    pub system: String,
    pub kind: String,
    pub row: RowChange,
    pub reason: String,
    pub hash: String,
    pub state: ChangeState,
    /// Who or what approved it (`rule`, a user's name).
    pub approved_by: Option<String>,
    pub planned_at: Instant,
    pub approved_at: Option<Instant>,
    pub sent_at: Option<Instant>,
    /// When it was confirmed, overridden, or otherwise closed.
    pub closed_at: Option<Instant>,
    /// What the target said: the conflicting image, the refusal, the overriding value.
    pub detail: Option<String>,
    /// The change that this one takes back.
    pub undoes: Option<ChangeId>,
}

/// One step of a change's life.
#[derive(Debug, Clone, serde::Serialize)]
pub struct ChangeEvent {
    pub change: ChangeId,
    pub state: ChangeState,
    pub at: Instant,
    pub by: Option<String>,
    pub detail: Option<String>,
}

/// Which changes to list; `None` means any.
#[derive(Debug, Clone, Default)]
pub struct Filter {
    pub states: Option<Vec<ChangeState>>,
    pub system: Option<String>,
    pub kind: Option<String>,
    pub ids: Option<Vec<ChangeId>>,
    pub limit: Option<usize>,
}

impl Control {
    /// Replaces the open plan of `system` and `kind` by `wanted`, in one transaction: planned and approved changes whose hash is wanted again keep their
    /// id and what a person decided, the others become superseded, new ones are added. An approval by rule (`approved_by` = `rule`) follows the rule:
    /// it is given or taken back as `wanted` says. Returns the changes that are now planned or approved.
    pub fn replan(&self, system: &str, kind: &str, wanted: Vec<NewChange>) -> Result<Vec<Change>, StoreError> {
        failpoint::hit("ledger.plan.before");
        let open = self.write("cannot replace a plan", |db| {
            let open = Filter {
                states: Some(vec![ChangeState::Planned, ChangeState::Approved]),
                system: Some(system.into()),
                kind: Some(kind.into()),
                ..Filter::default()
            };
            // An undo was asked for by a person and is no part of the plan.
            let mut kept: BTreeMap<String, Change> =
                select(db, &open)?.into_iter().filter(|c| c.undoes.is_none()).map(|c| (c.hash.clone(), c)).collect();
            let mut seen = BTreeSet::new();
            for change in wanted {
                if !seen.insert(change.hash.clone()) {
                    continue;
                }
                match kept.remove(&change.hash) {
                    Some(old) => {
                        renew(db, &old, &change)?;
                        follow_rule(db, &old, change.state)?;
                    }
                    None => insert(db, &change, None).map(drop)?,
                }
            }
            for old in kept.values() {
                step(db, old.id, ChangeState::Superseded, None, None)?;
            }
            select(db, &open)
        })?;
        failpoint::hit("ledger.plan.after");
        Ok(open)
    }

    /// Moves changes that are in one of `from` to `to` and records the event; returns how many moved. Durable when it returns.
    pub fn advance(
        &self,
        ids: &[ChangeId],
        from: &[ChangeState],
        to: ChangeState,
        by: Option<&str>,
        detail: Option<&str>,
    ) -> Result<usize, StoreError> {
        if let Some(state) = from.iter().find(|state| !state.may_become(to)) {
            return Err(StoreError::Transition { from: state.text(), to: to.text() });
        }
        let name = match to {
            ChangeState::Sent => Some(("ledger.sent.before", "ledger.sent.after")),
            ChangeState::Acknowledged => Some(("ledger.ack.before", "ledger.ack.after")),
            ChangeState::Confirmed => Some(("ledger.confirm.before", "ledger.confirm.after")),
            _ => None,
        };
        name.inspect(|(before, _)| failpoint::hit(before));
        let moved = self.write("cannot move changes", |db| {
            let mut moved = 0;
            for id in ids {
                let sql = "select state from changes where id = ?1";
                let state: Option<ChangeState> = db.prepare(sql)?.query_row([id], |row| row.get(0)).optional()?;
                if state.is_some_and(|state| from.contains(&state)) {
                    step(db, *id, to, by, detail)?;
                    close_undone(db, *id, to)?;
                    moved += 1;
                }
            }
            Ok(moved)
        })?;
        name.inspect(|(_, after)| failpoint::hit(after));
        Ok(moved)
    }

    /// Adds one change outside a plan (an undo).
    pub fn add_change(&self, change: NewChange, undoes: Option<ChangeId>) -> Result<ChangeId, StoreError> {
        self.write("cannot add a change", |db| insert(db, &change, undoes))
    }

    /// Ascending by id.
    pub fn changes(&self, filter: &Filter) -> Result<Vec<Change>, StoreError> {
        self.read("cannot list changes", |db| select(db, filter))
    }

    /// When a change was last sent to this table of `system`; `None` if never.
    pub fn last_sent(&self, system: &str, table: &str) -> Result<Option<Instant>, StoreError> {
        self.read("cannot read when a change was last sent", |db| {
            let sql = "select max(sent_at) from changes where system = ?1 and target = ?2";
            db.prepare(sql)?.query_row([system, table], |row| Ok(row.get::<_, Option<Micros>>(0)?.map(|at| at.0)))
        })
    }

    /// Rises with every step of every change: while it stays, so does the ledger.
    pub fn ledger_position(&self) -> Result<i64, StoreError> {
        self.read("cannot read the ledger's position", |db| {
            db.prepare("select coalesce(max(id), 0) from change_events")?.query_row([], |row| row.get(0))
        })
    }

    /// Every step of these changes, ascending by time.
    pub fn events(&self, ids: &[ChangeId]) -> Result<Vec<ChangeEvent>, StoreError> {
        self.read("cannot list events", |db| {
            let sql = "select change, state, at, actor, detail from change_events
                       where change in (select value from json_each(?1)) order by at, id";
            db.prepare(sql)?.query_map([json_list(ids)], event)?.collect()
        })
    }

    /// Keys of the rows that the hub itself inserted (and that were not undone): only such rows may be updated or deleted by a write with a hub key.
    /// A row that the hub deleted since is not among them.
    pub fn own_keys(&self, system: &str, kind: &str) -> Result<Vec<Row>, StoreError> {
        self.read("cannot list own keys", |db| {
            let sql = "select key from changes c where system = ?1 and kind = ?2 and operation = 'insert'
                         and state in ('sent', 'acknowledged', 'confirmed', 'overridden')
                         and not exists (select 1 from changes d where d.system = c.system and d.kind = c.kind and d.key = c.key
                                         and d.operation = 'delete' and d.id > c.id and d.state = 'confirmed')
                       group by key order by min(id)";
            db.prepare(sql)?.query_map([system, kind], |row| json(row, 0))?.collect()
        })
    }
}

/// The same values were decided from a newer version of the row: that is the one to compare with when sending.
fn renew(db: &Connection, old: &Change, wanted: &NewChange) -> rusqlite::Result<()> {
    if old.row.version == wanted.row.version && old.reason == wanted.reason {
        return Ok(());
    }
    let version = wanted.row.version.as_ref().map(to_json).transpose()?;
    let sql = "update changes set version = ?2, reason = ?3 where id = ?1";
    db.prepare(sql)?.execute(params![old.id, version, wanted.reason]).map(drop)
}

/// Gives or takes back an approval by rule; what a person approved stays.
fn follow_rule(db: &Connection, old: &Change, wanted: ChangeState) -> rusqlite::Result<()> {
    match (old.state, wanted) {
        (ChangeState::Planned, ChangeState::Approved) => step(db, old.id, ChangeState::Approved, Some(RULE), None),
        (ChangeState::Approved, ChangeState::Planned) if old.approved_by.as_deref() == Some(RULE) => {
            step(db, old.id, ChangeState::Planned, Some(RULE), None)
        }
        _ => Ok(()),
    }
}

fn insert(db: &Connection, change: &NewChange, undoes: Option<ChangeId>) -> rusqlite::Result<ChangeId> {
    let sql = "insert into changes (run, system, kind, operation, target, key, before, after, version, reason, hash, state, approved_by, planned_at,
                 approved_at, undoes)
               values (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16) returning id";
    let at = now();
    let approved = change.state == ChangeState::Approved;
    let row = &change.row;
    let parameters = params![
        change.run.0,
        change.system,
        change.kind,
        operation_text(row.operation),
        row.table,
        to_json(&row.key)?,
        row.before.as_ref().map(to_json).transpose()?,
        row.after.as_ref().map(to_json).transpose()?,
        row.version.as_ref().map(to_json).transpose()?,
        change.reason,
        change.hash,
        change.state,
        approved.then_some(RULE),
        Micros(at),
        approved.then_some(Micros(at)),
        undoes,
    ];
    let id = db.prepare(sql)?.query_row(parameters, |row| row.get(0))?;
    let event = "insert into change_events (change, state, at, actor, detail) values (?1, ?2, ?3, ?4, null)";
    db.prepare(event)?.execute(params![id, change.state, Micros(at), approved.then_some(RULE)])?;
    Ok(id)
}

/// One step of one change, and its event.
fn step(db: &Connection, id: ChangeId, to: ChangeState, by: Option<&str>, detail: Option<&str>) -> rusqlite::Result<()> {
    let at = Micros(now());
    let sql = match to {
        ChangeState::Planned => "update changes set state = ?2, detail = coalesce(?4, detail), approved_by = null, approved_at = null where id = ?1",
        // From `sent` back to `approved`: the approval is still the first one.
        ChangeState::Approved => {
            "update changes set state = ?2, detail = coalesce(?4, detail), approved_at = coalesce(approved_at, ?3), sent_at = null,
               approved_by = coalesce(approved_by, ?5) where id = ?1"
        }
        ChangeState::Sent => "update changes set state = ?2, detail = coalesce(?4, detail), sent_at = ?3 where id = ?1",
        to if to.closed() => "update changes set state = ?2, detail = coalesce(?4, detail), closed_at = ?3 where id = ?1",
        _ => "update changes set state = ?2, detail = coalesce(?4, detail) where id = ?1",
    };
    let mut update = db.prepare(sql)?;
    match to {
        ChangeState::Approved => update.execute(params![id, to, at, detail, by])?,
        _ => update.execute(params![id, to, at, detail])?,
    };
    let event = "insert into change_events (change, state, at, actor, detail) values (?1, ?2, ?3, ?4, ?5)";
    db.prepare(event)?.execute(params![id, to, at, by, detail]).map(drop)
}

/// A confirmed undo closes the change that it took back.
fn close_undone(db: &Connection, id: ChangeId, to: ChangeState) -> rusqlite::Result<()> {
    if to != ChangeState::Confirmed {
        return Ok(());
    }
    let sql = "select o.id, o.state from changes u join changes o on o.id = u.undoes where u.id = ?1";
    let undone: Option<(ChangeId, ChangeState)> =
        db.prepare(sql)?.query_row([id], |row| Ok((row.get(0)?, row.get(1)?))).optional()?;
    match undone {
        Some((old, state)) if state.may_become(ChangeState::Undone) => {
            step(db, old, ChangeState::Undone, None, Some(&format!("undone by change {id}")))
        }
        _ => Ok(()),
    }
}

fn select(db: &Connection, filter: &Filter) -> rusqlite::Result<Vec<Change>> {
    let states = filter.states.as_ref().map(|states| json_list(&states.iter().map(|state| state.text()).collect::<Vec<_>>()));
    let ids = filter.ids.as_ref().map(|ids| json_list(ids));
    let limit = filter.limit.map_or(-1, |limit| i64::try_from(limit).unwrap_or(i64::MAX));
    let sql = "select id, run, system, kind, operation, target, key, before, after, version, reason, hash, state, approved_by, planned_at,
                 approved_at, sent_at, closed_at, detail, undoes from changes
               where (?1 is null or state in (select value from json_each(?1))) and (?2 is null or system = ?2) and (?3 is null or kind = ?3)
                 and (?4 is null or id in (select value from json_each(?4))) order by id limit ?5";
    let mut statement = db.prepare(sql)?;
    statement.query_map(params![states, filter.system, filter.kind, ids, limit], change)?.collect()
}

fn change(row: &SqlRow<'_>) -> rusqlite::Result<Change> {
    let instant = |column: usize| row.get::<_, Option<Micros>>(column).map(|at| at.map(|at| at.0));
    Ok(Change {
        id: row.get(0)?,
        run: RunId(row.get(1)?),
        system: row.get(2)?,
        kind: row.get(3)?,
        row: RowChange {
            operation: operation(row.get_ref(4)?.as_str()?)?,
            table: row.get(5)?,
            key: json(row, 6)?,
            before: optional_json(row, 7)?,
            after: optional_json(row, 8)?,
            version: optional_json(row, 9)?,
        },
        reason: row.get(10)?,
        hash: row.get(11)?,
        state: row.get(12)?,
        approved_by: row.get(13)?,
        planned_at: row.get::<_, Micros>(14)?.0,
        approved_at: instant(15)?,
        sent_at: instant(16)?,
        closed_at: instant(17)?,
        detail: row.get(18)?,
        undoes: row.get(19)?,
    })
}

fn event(row: &SqlRow<'_>) -> rusqlite::Result<ChangeEvent> {
    Ok(ChangeEvent {
        change: row.get(0)?,
        state: row.get(1)?,
        at: row.get::<_, Micros>(2)?.0,
        by: row.get(3)?,
        detail: row.get(4)?,
    })
}

fn to_json<T: serde::Serialize>(value: &T) -> rusqlite::Result<String> {
    serde_json::to_string(value).map_err(|e| rusqlite::Error::ToSqlConversionFailure(e.into()))
}

fn json<T: serde::de::DeserializeOwned>(row: &SqlRow<'_>, column: usize) -> rusqlite::Result<T> {
    let failed = |e: serde_json::Error| rusqlite::Error::FromSqlConversionFailure(column, rusqlite::types::Type::Text, e.into());
    serde_json::from_str(row.get_ref(column)?.as_str()?).map_err(failed)
}

fn optional_json<T: serde::de::DeserializeOwned>(row: &SqlRow<'_>, column: usize) -> rusqlite::Result<Option<T>> {
    if row.get_ref(column)? == ValueRef::Null { Ok(None) } else { json(row, column).map(Some) }
}

/// A list as one parameter, for `json_each`.
fn json_list<T: serde::Serialize>(list: &[T]) -> String {
    serde_json::to_string(list).unwrap_or_else(|_| "[]".into())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use ChangeState as S;

    fn control() -> (tempfile::TempDir, Control) {
        let folder = tempfile::tempdir().unwrap();
        let control = Control::open(&folder.path().join("control.sqlite")).unwrap();
        (folder, control)
    }

    fn wanted(run: i64, key: &str, quantity: i64, state: ChangeState) -> NewChange {
        let row = RowChange {
            operation: Operation::Insert,
            table: "pr".into(),
            key: Row::from([("ref".into(), json!(key))]),
            before: None,
            after: Some(Row::from([("ref".into(), json!(key)), ("quantity".into(), json!(quantity))])),
            version: Some(("row_ver".into(), json!(7))),
        };
        let hash = format!("{key}-{quantity}");
        NewChange {
            run: RunId(run),
            system: "erp".into(),
            kind: "purchase_requests".into(),
            row,
            reason: "short".into(),
            hash,
            state,
        }
    }

    fn states(control: &Control) -> Vec<(ChangeId, S)> {
        control.changes(&Filter::default()).unwrap().into_iter().map(|c| (c.id, c.state)).collect()
    }

    fn replan(control: &Control, wanted: Vec<NewChange>) -> Vec<ChangeId> {
        control.replan("erp", "purchase_requests", wanted).unwrap().into_iter().map(|c| c.id).collect()
    }

    #[test]
    fn a_new_plan_keeps_what_is_wanted_again() {
        let (_folder, control) = control();
        assert_eq!(
            replan(&control, vec![wanted(1, "a", 1, S::Planned), wanted(1, "b", 1, S::Planned), wanted(1, "c", 1, S::Planned)]),
            [1, 2, 3]
        );
        assert_eq!(control.advance(&[1, 2], &[S::Planned], S::Approved, Some("ada"), None).unwrap(), 2);
        let open =
            replan(&control, vec![wanted(2, "a", 1, S::Planned), wanted(2, "b", 5, S::Planned), wanted(2, "c", 1, S::Planned)]);
        assert_eq!(open, [1, 3, 4]);
        assert_eq!(states(&control), [(1, S::Approved), (2, S::Superseded), (3, S::Planned), (4, S::Planned)]);
        let kept = &control.changes(&Filter { ids: Some(vec![1]), ..Filter::default() }).unwrap()[0];
        assert_eq!((kept.approved_by.as_deref(), kept.run), (Some("ada"), RunId(1)));
        assert_eq!(kept.row, wanted(1, "a", 1, S::Planned).row);
        assert_eq!(control.replan("crm", "purchase_requests", vec![]).unwrap().len(), 0);
        assert_eq!(replan(&control, vec![]), Vec::<ChangeId>::new());
    }

    #[test]
    fn an_approval_by_rule_follows_the_rule() {
        let (_folder, control) = control();
        replan(&control, vec![wanted(1, "a", 1, S::Approved), wanted(1, "b", 1, S::Planned)]);
        control.advance(&[2], &[S::Planned], S::Approved, Some("ada"), None).unwrap();
        replan(&control, vec![wanted(2, "a", 1, S::Planned), wanted(2, "b", 1, S::Planned)]);
        assert_eq!(states(&control), [(1, S::Planned), (2, S::Approved)]);
        replan(&control, vec![wanted(3, "a", 1, S::Approved), wanted(3, "b", 1, S::Planned)]);
        assert_eq!(states(&control), [(1, S::Approved), (2, S::Approved)]);
    }

    #[test]
    fn a_change_goes_through_its_life() {
        let (_folder, control) = control();
        replan(&control, vec![wanted(1, "a", 1, S::Planned)]);
        let step = |from: S, to: S| control.advance(&[1, 99], &[from], to, Some("ada"), Some("said so")).unwrap();
        assert_eq!(step(S::Approved, S::Sent), 0, "not approved yet");
        assert_eq!(step(S::Planned, S::Approved), 1);
        assert_eq!(step(S::Approved, S::Sent), 1);
        assert_eq!(replan(&control, vec![]), Vec::<ChangeId>::new());
        assert_eq!(states(&control), [(1, S::Sent)], "what was sent is no longer the plan's");
        assert_eq!(control.own_keys("erp", "purchase_requests").unwrap(), [wanted(1, "a", 1, S::Planned).row.key]);
        assert_eq!(step(S::Sent, S::Acknowledged), 1);
        assert_eq!(step(S::Acknowledged, S::Confirmed), 1);
        let change = control.changes(&Filter::default()).unwrap().remove(0);
        assert!(change.approved_at.is_some() && change.sent_at.is_some() && change.closed_at.is_some());
        assert_eq!(change.detail.as_deref(), Some("said so"));
        let steps: Vec<S> = control.events(&[1]).unwrap().into_iter().map(|event| event.state).collect();
        assert_eq!(steps, [S::Planned, S::Approved, S::Sent, S::Acknowledged, S::Confirmed]);
        let back = control.advance(&[1], &[S::Confirmed], S::Sent, None, None).unwrap_err();
        assert_eq!(back.to_string(), "a change cannot go from confirmed to sent");
    }

    #[test]
    fn a_confirmed_undo_closes_what_it_takes_back() {
        let (_folder, control) = control();
        replan(&control, vec![wanted(1, "a", 1, S::Approved)]);
        let advance = |id: ChangeId, from: S, to: S| assert_eq!(control.advance(&[id], &[from], to, None, None).unwrap(), 1);
        advance(1, S::Approved, S::Sent);
        advance(1, S::Sent, S::Confirmed);
        let mut delete = wanted(2, "a", 1, S::Planned);
        delete.row.operation = Operation::Delete;
        (delete.row.before, delete.row.after) = (delete.row.after, None);
        let undo = control.add_change(delete, Some(1)).unwrap();
        assert_eq!(replan(&control, vec![]), [undo], "an undo is no part of the plan");
        advance(undo, S::Planned, S::Approved);
        advance(undo, S::Approved, S::Sent);
        assert_eq!(control.own_keys("erp", "purchase_requests").unwrap().len(), 1);
        advance(undo, S::Sent, S::Confirmed);
        assert_eq!(states(&control), [(1, S::Undone), (undo, S::Confirmed)]);
        assert_eq!(control.own_keys("erp", "purchase_requests").unwrap().len(), 0);
    }

    #[test]
    fn changes_are_found_by_state_system_kind_and_id() {
        let (_folder, control) = control();
        replan(&control, (0..5).map(|n| wanted(1, &n.to_string(), n, S::Planned)).collect());
        let find = |filter: Filter| control.changes(&filter).unwrap().into_iter().map(|c| c.id).collect::<Vec<_>>();
        assert_eq!(find(Filter { limit: Some(2), ..Filter::default() }), [1, 2]);
        assert_eq!(find(Filter { ids: Some(vec![4, 2, 77]), ..Filter::default() }), [2, 4]);
        assert_eq!(find(Filter { states: Some(vec![S::Sent]), ..Filter::default() }), Vec::<ChangeId>::new());
        assert_eq!(
            find(Filter { states: Some(vec![S::Planned, S::Sent]), system: Some("erp".into()), ..Filter::default() }).len(),
            5
        );
        assert_eq!(find(Filter { kind: Some("other".into()), ..Filter::default() }), Vec::<ChangeId>::new());
    }
}
