//! Finding out what became of changes that were sent without an answer.

use std::collections::BTreeMap;

use crate::base::Row;
use crate::connect::{Target, target};
use crate::project::System;
use crate::store::{Change, ChangeId, ChangeState, Filter};

use super::image::shows;
use super::{Settled, Writeback, WritebackError};

/// What a look at the target says about a change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Finding {
    Done,
    NotDone,
    Other,
}

impl Writeback<'_> {
    /// Looks at the target of every change in state `sent`. A target that cannot be asked leaves its changes as they are.
    pub async fn settle(&self) -> Result<Settled, WritebackError> {
        let sent = Filter { states: Some(vec![ChangeState::Sent]), ..Filter::default() };
        let mut by_system: BTreeMap<String, Vec<Change>> = BTreeMap::new();
        for change in self.store.control.changes(&sent)? {
            by_system.entry(change.system.clone()).or_default().push(change);
        }
        let mut settled = Settled::default();
        for (name, changes) in by_system {
            let Some(system) = self.project.systems.get(&name) else {
                settled.unknown += changes.len();
                settled.errors.push((name, "the project no longer has this system".into()));
                continue;
            };
            if let Err(why) = self.settle_system(system, &changes, &mut settled).await? {
                settled.unknown += changes.len();
                settled.errors.push((name, why));
            }
        }
        Ok(settled)
    }

    /// The inner error is the target's: it cannot be asked.
    async fn settle_system(
        &self,
        system: &System,
        changes: &[Change],
        settled: &mut Settled,
    ) -> Result<Result<(), String>, WritebackError> {
        let target = match target(system, &self.project.root).await {
            Ok(target) => target,
            Err(error) => return Ok(Err(error.to_string())),
        };
        let mut findings = Vec::with_capacity(changes.len());
        for change in changes {
            match look(&*target, change).await {
                Ok(row) => findings.push((change.id, finding(change, row.as_ref()), row)),
                Err(error) => return Ok(Err(error.to_string())),
            }
        }
        self.record(&findings, settled).map(Ok)
    }

    fn record(&self, findings: &[(ChangeId, Finding, Option<Row>)], settled: &mut Settled) -> Result<(), WritebackError> {
        let of = |wanted: Finding| -> Vec<ChangeId> {
            findings.iter().filter(|(_, finding, _)| *finding == wanted).map(|(id, ..)| *id).collect()
        };
        let by = Some("settle");
        let from = [ChangeState::Sent];
        let control = &self.store.control;
        let done = of(Finding::Done);
        settled.acknowledged += control.advance(&done, &from, ChangeState::Acknowledged, by, Some("found in the target"))?;
        let not_done = of(Finding::NotDone);
        settled.returned += control.advance(&not_done, &from, ChangeState::Approved, by, Some("the target never got it"))?;
        for (id, _, row) in findings.iter().filter(|(_, finding, _)| *finding == Finding::Other) {
            let detail = super::apply::found_text(row.as_ref());
            settled.conflicted += control.advance(&[*id], &from, ChangeState::Conflicted, by, Some(&detail))?;
        }
        Ok(())
    }
}

/// The row that a change means, with the columns that tell whether it was done.
pub(super) async fn look(target: &dyn Target, change: &Change) -> Result<Option<Row>, crate::connect::ConnectError> {
    let images = [Some(&change.row.key), change.row.before.as_ref(), change.row.after.as_ref()];
    let mut columns: Vec<String> = images.into_iter().flatten().flat_map(|row| row.keys().cloned()).collect();
    columns.sort_unstable();
    columns.dedup();
    let mut rows = target.look(&change.row.table, &columns, std::slice::from_ref(&change.row.key)).await?;
    Ok(rows.pop().flatten())
}

fn finding(change: &Change, row: Option<&Row>) -> Finding {
    let is = |image: &Option<Row>| match (row, image) {
        (Some(row), Some(image)) => shows(row, image),
        (None, None) => true,
        _ => false,
    };
    // A deleted row has no image after, a row to insert none before.
    if is(&change.row.after) {
        Finding::Done
    } else if is(&change.row.before) {
        Finding::NotDone
    } else {
        Finding::Other
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::base::{Operation, RowChange, RunId};

    fn row(value: serde_json::Value) -> Option<Row> {
        value.as_object().map(|map| map.iter().map(|(name, value)| (name.clone(), value.clone())).collect())
    }

    fn check(
        operation: Operation,
        before: serde_json::Value,
        after: serde_json::Value,
        found: serde_json::Value,
        expected: Finding,
    ) {
        let (before, after) = (row(before), row(after));
        let change = RowChange { operation, table: "t".into(), key: Row::new(), before, after, version: None };
        let change = Change {
            id: 1,
            run: RunId(1),
            system: "erp".into(),
            kind: "k".into(),
            row: change,
            reason: String::new(),
            hash: String::new(),
            state: ChangeState::Sent,
            approved_by: None,
            planned_at: crate::base::time::now(),
            approved_at: None,
            sent_at: None,
            closed_at: None,
            detail: None,
            undoes: None,
        };
        assert_eq!(finding(&change, row(found.clone()).as_ref()), expected, "{operation:?} found {found}");
    }

    #[test]
    fn a_look_settles_every_operation() {
        let (a, b, c, gone) = (json!({"q": "1"}), json!({"q": "2"}), json!({"q": "3"}), json!(null));
        check(Operation::Update, a.clone(), b.clone(), json!({"q": "2", "x": 1}), Finding::Done);
        check(Operation::Update, a.clone(), b.clone(), a.clone(), Finding::NotDone);
        check(Operation::Update, a.clone(), b.clone(), c.clone(), Finding::Other);
        check(Operation::Update, a.clone(), b.clone(), gone.clone(), Finding::Other);
        check(Operation::Insert, gone.clone(), b.clone(), b.clone(), Finding::Done);
        check(Operation::Insert, gone.clone(), b.clone(), gone.clone(), Finding::NotDone);
        check(Operation::Insert, gone.clone(), b.clone(), c.clone(), Finding::Other);
        check(Operation::Delete, a.clone(), gone.clone(), gone.clone(), Finding::Done);
        check(Operation::Delete, a.clone(), gone.clone(), a.clone(), Finding::NotDone);
        check(Operation::Delete, a, gone, c, Finding::Other);
    }
}
