//! Taking confirmed changes back, as ordinary changes.
//!
//! The reverse of an insert is a delete, of an update the update back, of a delete the insert of the row as it was. It is possible as long as the
//! row is as the change left it and `editable` holds. A wish that was undone is not planned again until what is wanted differs: the next plan finds
//! its hash among the undone ones.

use crate::base::{Operation, Row, RowChange, RunId};
use crate::store::{Change, ChangeId, ChangeState, Filter, NewChange};

use super::diff::hash;
use super::image::{current, key_text, restrict, shows};
use super::spec::Spec;
use super::{UndoRefused, Undone, Writeback, WritebackError};

impl Writeback<'_> {
    /// Plans the reverse of each of `ids`; a person approves it like any other change.
    pub async fn undo(&self, run: RunId, ids: &[ChangeId], by: &str) -> Result<Undone, WritebackError> {
        let known = self.store.control.changes(&Filter { ids: Some(ids.to_vec()), ..Filter::default() })?;
        let open = [ChangeState::Planned, ChangeState::Approved, ChangeState::Sent, ChangeState::Acknowledged];
        let open = self.store.control.changes(&Filter { states: Some(open.to_vec()), ..Filter::default() })?;
        let mut undone = Undone::default();
        for id in ids {
            let reversed = match known.iter().find(|change| change.id == *id) {
                None => Err("there is no such change".to_owned()),
                Some(_) if open.iter().any(|change| change.undoes == Some(*id)) => Err("it is being undone already".to_owned()),
                Some(change) => self.reverse(change).await?.map(|row| (change, row)),
            };
            match reversed {
                Ok((change, row)) => {
                    let planned = self.store.control.add_change(reverse_change(run, change, row, by), Some(*id))?;
                    undone.planned.push((*id, planned));
                }
                Err(reason) => undone.refused.push(UndoRefused { change: *id, reason }),
            }
        }
        Ok(undone)
    }

    /// The change that takes `change` back, or why there is none.
    async fn reverse(&self, change: &Change) -> Result<Result<RowChange, String>, WritebackError> {
        if change.state != ChangeState::Confirmed {
            return Ok(Err("only a confirmed change can be undone".into()));
        }
        let Some(spec) = Spec::find(self.project, &change.system, &change.kind)? else {
            return Ok(Err("the project no longer has this write".into()));
        };
        let Some(raw) = self.store.latest(&spec.raw()).await? else {
            return Ok(Err(format!("{} does not exist", spec.raw())));
        };
        let key = key_text(&spec.write.key, &change.row.key);
        let mut rows = current(self.store, &spec, &raw, &[key.clone()].into()).await?;
        Ok(reverse_row(&spec, change, rows.remove(&key)))
    }
}

fn reverse_row(spec: &Spec<'_>, change: &Change, row: Option<Row>) -> Result<RowChange, String> {
    let taken_over = || Err("a person has taken the row over: it can no longer be undone".to_owned());
    let changed = || Err("the row has changed since: it can no longer be undone".to_owned());
    let RowChange { operation, table, key, before, after, .. } = change.row.clone();
    match (operation, row) {
        (Operation::Insert, Some(row)) if !spec.editable(&row) => taken_over(),
        (Operation::Insert, Some(row)) if !after.as_ref().is_some_and(|after| shows(&row, after)) => changed(),
        (Operation::Insert, Some(row)) => {
            let version = spec.version(&row);
            Ok(RowChange { operation: Operation::Delete, table, key, before: Some(row), after: None, version })
        }
        (Operation::Update, Some(row)) if !spec.editable(&row) => taken_over(),
        (Operation::Update, Some(row)) => {
            let (Some(before), Some(after)) = (before, after) else { return Err("its images are missing".into()) };
            if !shows(&row, &after) {
                return changed();
            }
            let version = spec.version(&row);
            Ok(RowChange { operation, table, key, before: Some(restrict(&row, &after)), after: Some(before), version })
        }
        (Operation::Delete, None) => {
            let Some(mut image) = before else { return Err("its image is missing".into()) };
            if let Some(version) = &spec.write.version {
                image.remove(version); // the target counts versions itself
            }
            Ok(RowChange { operation: Operation::Insert, table, key, before: None, after: Some(image), version: None })
        }
        (Operation::Insert | Operation::Update, None) => Err("the row is gone".into()),
        (Operation::Delete, Some(_)) => Err("there is a row under this key again".into()),
    }
}

fn reverse_change(run: RunId, change: &Change, row: RowChange, by: &str) -> NewChange {
    NewChange {
        run,
        system: change.system.clone(),
        kind: change.kind.clone(),
        hash: hash(&change.system, &row),
        row,
        reason: format!("{by} takes back change {}: {}", change.id, change.reason),
        state: ChangeState::Planned,
    }
}
