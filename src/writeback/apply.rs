//! Sending approved changes.

use std::collections::{BTreeMap, BTreeSet};

use crate::base::failpoint;
use crate::base::time::Instant;
use crate::base::{Row, RowChange, causes};
use crate::connect::{Outcome, Target, target};
use crate::project::System;
use crate::store::{Change, ChangeId, ChangeState, Filter};

use super::{Applied, Writeback, WritebackError};

/// Changes sent in one transaction of the target: few enough that its locks are short.
const SLICE_MAX: usize = 100;

impl Writeback<'_> {
    /// Settles what is unknown, then sends every approved change, by system in slices. A system that cannot be reached, or whose rows are older than
    /// its `max_age`, does not stop the others.
    pub async fn apply(&self, now: Instant) -> Result<Applied, WritebackError> {
        if self.store.control_behind().await?.is_some() {
            return Err(WritebackError::ControlBehind);
        }
        let mut applied = Applied { settled: self.settle().await?, expired: self.expire(now)?, ..Applied::default() };
        let approved = Filter { states: Some(vec![ChangeState::Approved]), ..Filter::default() };
        let mut by_system: BTreeMap<String, Vec<Change>> = BTreeMap::new();
        for change in self.store.control.changes(&approved)? {
            by_system.entry(change.system.clone()).or_default().push(change);
        }
        for (name, changes) in by_system {
            let Some(system) = self.project.systems.get(&name) else {
                applied.errors.push((name, "the project no longer has this system".into()));
                continue;
            };
            if let Some(why) = self.too_old(&name, now)? {
                applied.errors.push((name, format!("nothing is written from old rows: {why}")));
                continue;
            }
            match target(system, &self.project.root).await {
                Ok(target) => self.send(system, &*target, changes, &mut applied).await?,
                Err(error) => applied.errors.push((name, causes(&error))),
            }
        }
        applied.written.sort();
        applied.written.dedup();
        Ok(applied)
    }

    async fn send(
        &self,
        system: &System,
        target: &dyn Target,
        changes: Vec<Change>,
        applied: &mut Applied,
    ) -> Result<(), WritebackError> {
        let mut done = Done::default();
        for slice in slices(changes) {
            let ids: Vec<ChangeId> = slice.iter().map(|change| change.id).collect();
            // Intent is durable before anything is sent. Someone may have rejected a change since it was listed: that one stays behind.
            self.store.control.advance(&ids, &[ChangeState::Approved], ChangeState::Sent, None, None)?;
            let sent = Filter { states: Some(vec![ChangeState::Sent]), ids: Some(ids), ..Filter::default() };
            let slice = self.store.control.changes(&sent)?;
            let rows = done.renew(target, &slice).await;
            failpoint::hit("send.apply.before");
            let outcome = target.apply(&rows).await;
            failpoint::hit("send.apply.after");
            applied.sent += slice.len();
            applied.written.extend(slice.iter().filter_map(|change| self.resource(system, change)));
            match outcome {
                Ok(outcomes) => self.outcomes(&slice, &outcomes, applied, &mut done)?,
                Err(error) => {
                    applied.unknown += slice.len();
                    applied.errors.push((system.name.clone(), causes(&error)));
                    return Ok(());
                }
            }
        }
        Ok(())
    }

    fn outcomes(
        &self,
        slice: &[Change],
        outcomes: &[Outcome],
        applied: &mut Applied,
        done: &mut Done,
    ) -> Result<(), WritebackError> {
        let from = [ChangeState::Sent];
        let control = &self.store.control;
        let mut acknowledged = Vec::new();
        for (change, outcome) in slice.iter().zip(outcomes) {
            match outcome {
                Outcome::Applied => {
                    acknowledged.push(change.id);
                    done.note(change);
                }
                Outcome::Conflict { found } => {
                    let detail = found_text(found.as_ref());
                    applied.conflicted += control.advance(&[change.id], &from, ChangeState::Conflicted, None, Some(&detail))?;
                }
                Outcome::Refused { reason } => {
                    applied.failed += control.advance(&[change.id], &from, ChangeState::Failed, None, Some(reason))?;
                }
            }
        }
        applied.acknowledged += control.advance(&acknowledged, &from, ChangeState::Acknowledged, None, None)?;
        Ok(())
    }

    fn resource(&self, system: &System, change: &Change) -> Option<(String, String)> {
        let write = system.connector.writes.get(&change.kind)?;
        Some((system.name.clone(), write.resource.clone()))
    }
}

/// What a conflict found, for a person and for the ledger.
pub(super) fn found_text(found: Option<&Row>) -> String {
    match found {
        None => "the row is gone".into(),
        Some(row) => format!("the target has {}", serde_json::to_string(row).unwrap_or_default()),
    }
}

/// Slices of at most [`SLICE_MAX`] changes in which no row is changed twice: a later change of the same row goes into a later slice.
fn slices(changes: Vec<Change>) -> Vec<Vec<Change>> {
    let mut slices: Vec<Vec<Change>> = Vec::new();
    let mut rows: BTreeMap<String, usize> = BTreeMap::new();
    for change in changes {
        let row = row_text(&change);
        let from = rows.get(&row).map_or(0, |slice| slice + 1);
        let at = (from..slices.len()).find(|at| slices[*at].len() < SLICE_MAX).unwrap_or(slices.len());
        if at == slices.len() {
            slices.push(Vec::new());
        }
        rows.insert(row, at);
        slices[at].push(change);
    }
    slices
}

fn row_text(change: &Change) -> String {
    serde_json::json!([change.row.table, change.row.key]).to_string()
}

/// Rows that this apply has changed itself: a later change of the same row was decided from the version before. It gets the version that the
/// row has now, and its own before-image is compared as always.
#[derive(Default)]
struct Done(BTreeSet<String>);

impl Done {
    fn note(&mut self, change: &Change) {
        self.0.insert(row_text(change));
    }

    async fn renew(&self, target: &dyn Target, slice: &[Change]) -> Vec<RowChange> {
        let mut rows = Vec::with_capacity(slice.len());
        for change in slice {
            let mut row = change.row.clone();
            if let Some((column, _)) = row.version.clone().filter(|_| self.0.contains(&row_text(change))) {
                // Where the look fails the old version stays, and the change becomes a conflict rather than a guess.
                let looked = target.look(&row.table, std::slice::from_ref(&column), std::slice::from_ref(&row.key)).await;
                if let Some(value) = looked.ok().and_then(|mut rows| rows.pop().flatten()).and_then(|mut row| row.remove(&column))
                {
                    row.version = Some((column, value));
                }
            }
            rows.push(row);
        }
        rows
    }
}
