//! The proof: what a later pull shows of the changes that targets acknowledged.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use crate::base::Row;
use crate::store::{Change, ChangeId, ChangeState, Filter, PullRecord};

use super::image::{current, key_text, restrict, shows};
use super::spec::Spec;
use super::{Writeback, WritebackError};

/// What pulls said about acknowledged changes.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Confirmed {
    pub confirmed: usize,
    /// The target shows something else, or nothing.
    pub overridden: usize,
    /// Of these: the target shows the row as it was before.
    pub ignored: usize,
    /// Changes that these confirmations took back.
    pub undone: usize,
    /// (system, stream): an incremental pull did not show the change; only a pull of the whole table can tell.
    pub whole_needed: BTreeSet<(String, String)>,
}

impl Confirmed {
    /// Adds what a second look found; its `whole_needed` counts.
    pub fn add(&mut self, later: Self) {
        self.confirmed += later.confirmed;
        self.overridden += later.overridden;
        self.ignored += later.ignored;
        self.undone += later.undone;
        self.whole_needed = later.whole_needed;
    }
}

/// What a pulled row says about a change.
#[derive(Debug, PartialEq)]
enum Verdict {
    Confirmed,
    Ignored,
    Overridden(String),
}

impl Writeback<'_> {
    /// Closes every acknowledged change whose target was pulled after it was sent.
    pub async fn confirm(&self) -> Result<Confirmed, WritebackError> {
        let mut result = Confirmed::default();
        let open = Filter { states: Some(vec![ChangeState::Acknowledged]), ..Filter::default() };
        let mut by_write: BTreeMap<(String, String), Vec<Change>> = BTreeMap::new();
        for change in self.store.control.changes(&open)? {
            by_write.entry((change.system.clone(), change.kind.clone())).or_default().push(change);
        }
        if by_write.is_empty() {
            return Ok(result);
        }
        let pulls = self.store.control.last_pulls()?;
        for ((system, kind), changes) in by_write {
            if let Some(spec) = Spec::find(self.project, &system, &kind)? {
                self.confirm_write(&spec, changes, &pulls, &mut result).await?;
            }
        }
        Ok(result)
    }

    async fn confirm_write(
        &self,
        spec: &Spec<'_>,
        mut changes: Vec<Change>,
        pulls: &[PullRecord],
        result: &mut Confirmed,
    ) -> Result<(), WritebackError> {
        let of_stream =
            |pull: &&PullRecord| pull.system == spec.system.name && pull.stream == spec.stream.name && pull.error.is_none();
        let Some(pull) = pulls.iter().find(of_stream) else { return Ok(()) };
        changes.retain(|change| change.sent_at.is_some_and(|at| at < pull.started_at));
        let Some(raw) = self.store.latest(&spec.raw()).await?.filter(|_| !changes.is_empty()) else { return Ok(()) };
        let keys = changes.iter().map(|change| key_text(&spec.write.key, &change.row.key)).collect();
        let rows = current(self.store, spec, &raw, &keys).await?;
        let mut confirmed = Vec::new();
        let mut ignored = Vec::new();
        for change in &changes {
            match verdict(change, rows.get(&key_text(&spec.write.key, &change.row.key))) {
                Verdict::Confirmed => confirmed.push(change),
                // An incremental pull does not see deletes, nor changes that do not move the cursor.
                _ if !pull.whole => drop(result.whole_needed.insert((spec.system.name.clone(), spec.stream.name.clone()))),
                Verdict::Ignored => ignored.push(change.id),
                Verdict::Overridden(detail) => {
                    result.overridden += self.close(&[change.id], ChangeState::Overridden, Some(&detail))?
                }
            }
        }
        result.undone += confirmed.iter().filter(|change| change.undoes.is_some()).count();
        let confirmed: Vec<ChangeId> = confirmed.iter().map(|change| change.id).collect();
        result.confirmed += self.close(&confirmed, ChangeState::Confirmed, None)?;
        let ignored =
            self.close(&ignored, ChangeState::Overridden, Some("ignored by the target: it still has the row as it was"))?;
        result.ignored += ignored;
        result.overridden += ignored;
        Ok(())
    }

    fn close(&self, ids: &[ChangeId], to: ChangeState, detail: Option<&str>) -> Result<usize, WritebackError> {
        if ids.is_empty() {
            return Ok(0);
        }
        Ok(self.store.control.advance(ids, &[ChangeState::Acknowledged], to, None, detail)?)
    }
}

fn verdict(change: &Change, row: Option<&Row>) -> Verdict {
    match (row, &change.row.after) {
        (None, None) => Verdict::Confirmed,
        (Some(row), Some(after)) if shows(row, after) => Verdict::Confirmed,
        _ => match (row, &change.row.before) {
            (Some(row), Some(before)) if shows(row, before) => Verdict::Ignored,
            (None, None) => Verdict::Overridden("gone: the target has no such row".into()),
            (None, Some(_)) => Verdict::Overridden("gone: the target no longer has this row".into()),
            (Some(row), _) => {
                let image = change.row.after.as_ref().map_or_else(|| row.clone(), |after| restrict(row, after));
                Verdict::Overridden(super::apply::found_text(Some(&image)))
            }
        },
    }
}
