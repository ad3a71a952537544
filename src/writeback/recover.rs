//! Starting again with a control state that was lost or is older than the tables.
//!
//! What the hub once inserted is known only to the ledger. Without it, the keys of the last cut say what may be the hub's: those that the write
//! maps want, and those of inserts in `system.changes`. A row that the target has under such a key is adopted. What people rejected or took back is
//! read from `system.changes` too; decisions since the last cut are lost with the control state.

use std::collections::{BTreeMap, BTreeSet};

use arrow::array::RecordBatch;
use futures::TryStreamExt;
use serde::Serialize;
use serde_json::Value;

use crate::base::{Operation, Row, RowChange, TableName};
use crate::connect::{cell_json, target};
use crate::store::{ChangeState, Cut, Filter, NewChange};

use super::diff::hash;
use super::image::{KeyText, key_text, wanted};
use super::spec::Spec;
use super::{Settled, Writeback, WritebackError};

/// Keys asked for at once.
const LOOK_MAX: usize = 500;

/// What the published ledger tells of one write.
#[derive(Default)]
struct Exported {
    /// Keys of rows that the hub inserted.
    inserted: Vec<Row>,
    /// Changes that a person rejected or took back, by hash; their table is not published.
    declined: BTreeMap<String, RowChange>,
}

/// One row of `system.changes`.
struct Line<'a> {
    batch: &'a RecordBatch,
    at: usize,
}

impl Line<'_> {
    fn text(&self, name: &str) -> Option<String> {
        match cell_json(self.batch.column_by_name(name)?, self.at) {
            Value::String(text) => Some(text),
            _ => None,
        }
    }

    fn row(&self, name: &str) -> Option<Row> {
        serde_json::from_str(&self.text(name)?).ok()
    }
}

impl Exported {
    fn take(&mut self, line: &Line<'_>) {
        let operation = match line.text("operation").as_deref() {
            Some("insert") => Operation::Insert,
            Some("update") => Operation::Update,
            _ => Operation::Delete,
        };
        let Some(key) = line.row("key_json") else { return };
        let declined = matches!(line.text("state").as_deref(), Some("undone" | "rejected"));
        if operation == Operation::Insert && !declined {
            self.inserted.push(key.clone());
        }
        if let Some(hash) = line.text("hash").filter(|_| declined) {
            let (before, after) = (line.row("before_json"), line.row("after_json"));
            self.declined.insert(hash, RowChange { operation, table: String::new(), key, before, after, version: None });
        }
    }
}

/// What a recovery found.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Recovered {
    pub settled: Settled,
    /// Rows of the hub's own that the ledger did not know.
    pub adopted: usize,
    /// (system, reason): could not be looked at; the refusal to write stays until they can.
    pub errors: Vec<(String, String)>,
}

impl Writeback<'_> {
    /// Looks at the targets for rows under the hub's keys, adopts those that the ledger lacks, settles what is unknown. The caller lifts the refusal
    /// to write if there are no errors.
    pub async fn recover(&self, cut: &Cut) -> Result<Recovered, WritebackError> {
        let mut recovered = Recovered { settled: self.settle().await?, ..Recovered::default() };
        recovered.errors.append(&mut recovered.settled.errors.clone());
        let exported = self.exported(cut).await?;
        let nothing = Exported::default();
        for spec in Spec::all(self.project)? {
            let of_write = exported.get(&(spec.system.name.clone(), spec.kind().to_owned())).unwrap_or(&nothing);
            self.restore_declined(&spec, cut, of_write)?;
            if spec.write.hub_key.is_none() {
                continue;
            }
            match self.adopt(&spec, cut, &of_write.inserted).await? {
                Ok(adopted) => recovered.adopted += adopted,
                Err(why) => recovered.errors.push((spec.system.name.clone(), why)),
            }
        }
        Ok(recovered)
    }

    /// What `system.changes` of the cut tells, by system and kind.
    async fn exported(&self, cut: &Cut) -> Result<BTreeMap<(String, String), Exported>, WritebackError> {
        let table = TableName::new("system", "changes");
        let mut exported: BTreeMap<(String, String), Exported> = BTreeMap::new();
        let Some(version) = self.store.version_of(cut, &table).await? else { return Ok(exported) };
        let mut batches = self.store.read(&version);
        while let Some(batch) =
            batches.try_next().await.map_err(|source| WritebackError::Read { table: table.clone(), source })?
        {
            for at in 0..batch.num_rows() {
                let line = Line { batch: &batch, at };
                let Some((system, kind)) = line.text("system").zip(line.text("kind")) else { continue };
                exported.entry((system, kind)).or_default().take(&line);
            }
        }
        Ok(exported)
    }

    /// What people rejected or took back stays so: their decisions are not in the targets.
    fn restore_declined(&self, spec: &Spec<'_>, cut: &Cut, exported: &Exported) -> Result<(), WritebackError> {
        let control = &self.store.control;
        let states = vec![ChangeState::Undone, ChangeState::Rejected];
        let filter = Filter {
            states: Some(states),
            system: Some(spec.system.name.clone()),
            kind: Some(spec.kind().into()),
            ..Filter::default()
        };
        let known: BTreeSet<String> = control.changes(&filter)?.into_iter().map(|change| change.hash).collect();
        for (hash, row) in exported.declined.iter().filter(|(hash, _)| !known.contains(*hash)) {
            let row = RowChange { table: spec.stream.table.clone(), ..row.clone() };
            let reason = "rejected or taken back before the control state was lost";
            let id = [control.add_change(self.found(spec, cut, row, hash.clone(), reason), None)?];
            control.advance(&id, &[ChangeState::Planned], ChangeState::Rejected, Some("recover"), None)?;
        }
        Ok(())
    }

    fn found(&self, spec: &Spec<'_>, cut: &Cut, row: RowChange, hash: String, reason: &str) -> NewChange {
        NewChange {
            run: cut.run,
            system: spec.system.name.clone(),
            kind: spec.kind().into(),
            row,
            reason: reason.into(),
            hash,
            state: ChangeState::Planned,
        }
    }

    /// The inner error is the target's: it cannot be asked.
    async fn adopt(&self, spec: &Spec<'_>, cut: &Cut, known: &[Row]) -> Result<Result<usize, String>, WritebackError> {
        let mut candidates: BTreeMap<KeyText, Row> =
            known.iter().map(|key| (key_text(&spec.write.key, key), key.clone())).collect();
        let mut columns = spec.write.key.clone();
        let raw = self.store.latest(&spec.raw()).await?;
        if let (Some(version), Some(raw)) = (self.store.version_of(cut, &spec.wanted()).await?, raw) {
            for (key, row) in wanted(self.store, spec, &version, &raw.schema).await? {
                columns.extend(row.fields.keys().filter(|column| !columns.contains(column)).cloned().collect::<Vec<_>>());
                candidates.insert(key, row.key);
            }
        }
        for own in self.store.control.own_keys(&spec.system.name, spec.kind())? {
            candidates.remove(&key_text(&spec.write.key, &own));
        }
        if candidates.is_empty() {
            return Ok(Ok(0));
        }
        let target = match target(spec.system, &self.project.root).await {
            Ok(target) => target,
            Err(error) => return Ok(Err(error.to_string())),
        };
        let mut adopted = 0;
        let candidates: Vec<Row> = candidates.into_values().collect();
        for keys in candidates.chunks(LOOK_MAX) {
            let rows = match target.look(&spec.stream.table, &columns, keys).await {
                Ok(rows) => rows,
                Err(error) => return Ok(Err(error.to_string())),
            };
            for (key, row) in keys.iter().zip(rows) {
                if let Some(row) = row {
                    self.adopt_row(spec, cut, key, row)?;
                    adopted += 1;
                }
            }
        }
        Ok(Ok(adopted))
    }

    fn adopt_row(&self, spec: &Spec<'_>, cut: &Cut, key: &Row, row: Row) -> Result<(), WritebackError> {
        let row = RowChange {
            operation: Operation::Insert,
            table: spec.stream.table.clone(),
            key: key.clone(),
            before: None,
            after: Some(row),
            version: None,
        };
        let control = &self.store.control;
        let hash = hash(&spec.system.name, &row);
        let change = self.found(spec, cut, row, hash, "found in the target under a key of the hub");
        let id = [control.add_change(change, None)?];
        let steps = [
            (ChangeState::Planned, ChangeState::Approved),
            (ChangeState::Approved, ChangeState::Sent),
            (ChangeState::Sent, ChangeState::Confirmed),
        ];
        for (from, to) in steps {
            control.advance(&id, &[from], to, Some("recover"), Some("adopted by recover"))?;
        }
        Ok(())
    }
}
