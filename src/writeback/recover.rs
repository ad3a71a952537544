//! Starting again with a control state that was lost or is older than the tables.
//!
//! What the hub once inserted is known only to the ledger. Without it, the keys of the last cut say what may be the hub's: those that the write
//! maps want, and those of inserts in `system.changes`. A row that the target has under such a key is adopted.

use std::collections::BTreeMap;

use arrow::array::Array;
use futures::TryStreamExt;
use serde::Serialize;
use serde_json::Value;

use crate::base::{Operation, Row, RowChange, TableName};
use crate::connect::{cell_json, target};
use crate::store::{ChangeState, Cut, NewChange};

use super::diff::hash;
use super::image::{KeyText, key_text, wanted};
use super::spec::Spec;
use super::{Settled, Writeback, WritebackError};

/// Keys asked for at once.
const LOOK_MAX: usize = 500;

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
        let inserted = self.inserted(cut).await?;
        for spec in Spec::all(self.project)? {
            if spec.write.hub_key.is_none() {
                continue;
            }
            match self.adopt(&spec, cut, &inserted).await? {
                Ok(adopted) => recovered.adopted += adopted,
                Err(why) => recovered.errors.push((spec.system.name.clone(), why)),
            }
        }
        Ok(recovered)
    }

    /// Keys of all inserts that `system.changes` of the cut knows, by system and kind.
    async fn inserted(&self, cut: &Cut) -> Result<BTreeMap<(String, String), Vec<Row>>, WritebackError> {
        let table = TableName::new("system", "changes");
        let mut keys: BTreeMap<(String, String), Vec<Row>> = BTreeMap::new();
        let Some(version) = cut.tables.get(&table) else { return Ok(keys) };
        let version = self.store.at(&table, *version).await?;
        let mut batches = self.store.read(&version);
        while let Some(batch) =
            batches.try_next().await.map_err(|source| WritebackError::Read { table: table.clone(), source })?
        {
            let text = |name: &str, at: usize| {
                batch.column_by_name(name).and_then(|column| match cell_json(column as &dyn Array, at) {
                    Value::String(text) => Some(text),
                    _ => None,
                })
            };
            for at in 0..batch.num_rows() {
                if text("operation", at).as_deref() != Some("insert") {
                    continue;
                }
                let key = text("key_json", at).and_then(|json| serde_json::from_str(&json).ok());
                if let (Some(system), Some(kind), Some(key)) = (text("system", at), text("kind", at), key) {
                    keys.entry((system, kind)).or_default().push(key);
                }
            }
        }
        Ok(keys)
    }

    /// The inner error is the target's: it cannot be asked.
    async fn adopt(
        &self,
        spec: &Spec<'_>,
        cut: &Cut,
        inserted: &BTreeMap<(String, String), Vec<Row>>,
    ) -> Result<Result<usize, String>, WritebackError> {
        let identity = (spec.system.name.clone(), spec.kind().to_owned());
        let none = Vec::new();
        let known = inserted.get(&identity).unwrap_or(&none);
        let mut candidates: BTreeMap<KeyText, Row> =
            known.iter().map(|key| (key_text(&spec.write.key, key), key.clone())).collect();
        let mut columns = spec.write.key.clone();
        let raw = self.store.latest(&spec.raw()).await?;
        if let (Some(version), Some(raw)) = (cut.tables.get(&spec.wanted()), raw) {
            let version = self.store.at(&spec.wanted(), *version).await?;
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
        let change = NewChange {
            run: cut.run,
            system: spec.system.name.clone(),
            kind: spec.kind().into(),
            hash: hash(&spec.system.name, &row),
            row,
            reason: "found in the target under a key of the hub".into(),
            state: ChangeState::Planned,
        };
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
