//! Writing the next content of a table as an edit of the one it has: rows that are chosen go, others come in their place, the rest stays where it is.
//!
//! Nobody sees it before the run is published. What comes back unchanged is no change: neither is it written, nor does the change feed tell it.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;

use crate::base::time::now;
use crate::base::{RunId, failpoint};

use super::cut::CONTENT;
use super::diff::{Diff, Rules};
use super::incoming::{Files, Incoming, Intake};
use super::join::{Entry, Join};
use super::keyed::Keyed;
use super::merge::Content;
use super::place::Place;
use super::stage::{content_parts, content_text};
use super::stored::{Expected, KeySet, Stored};
use super::upsert::{Upsert, Written};
use super::{Batches, Chosen, Edit, Staged, Store, StoreError, TableVersion, types};

/// What of a table a run replaces.
pub struct Replacement<'a> {
    pub base: &'a TableVersion,
    /// Columns by which a row is found again that stays or changes. Without any, all chosen rows go and all others come.
    pub key: &'a [String],
    /// Rows that go, unless they come again.
    pub chosen: Arc<Chosen>,
    /// All chosen rows of the next content, with the table's columns.
    pub rows: Batches,
    pub properties: BTreeMap<String, String>,
}

impl Store {
    /// Writes what a replacement changes. [`StoreError::DuplicateKey`] if two different rows come with one key.
    pub async fn stage_replaced(&self, run: RunId, replacement: Replacement<'_>) -> Result<Staged, StoreError> {
        let Replacement { base, key, chosen, rows, properties } = replacement;
        let (name, schema) = (base.table.to_string(), base.schema.clone());
        let known = base.properties.get(CONTENT).and_then(|text| Some((text, content_parts(text)?)));
        let Some((base_content, (base_rows, base_sum))) = known else {
            return Err(StoreError::Malformed { what: format!("{CONTENT} of table {name}") });
        };
        let columns: Vec<String> =
            if key.is_empty() { chosen.columns().into_iter().map(str::to_owned).collect() } else { key.to_vec() };
        let positions = columns.iter().map(|column| schema.index_of(column)).collect::<Result<Vec<_>, _>>();
        let positions = positions.map_err(|source| StoreError::Arrow { table: name.clone(), what: "find its key", source })?;
        let all = schema.fields().iter().map(|field| field.name().as_str());
        let keyed = Arc::new(Keyed::new(&name, schema.clone(), positions, all)?);
        let stem = format!("{}/s-{run}-{}", Place::table_folder(&base.table), uuid::Uuid::new_v4().simple());
        let files = Files { store: Arc::clone(&self.place.folder), table: name.clone(), stem, schema: schema.clone() };
        failpoint::hit("stage.file.before");
        let edited = self.edit(base, files.clone(), keyed, !key.is_empty(), chosen, rows).await;
        let (written, diff) = match edited {
            Ok(edited) => edited,
            Err(error) => {
                self.discard(&files).await;
                return Err(error);
            }
        };
        failpoint::hit("stage.file.after");
        let is_removed = |path: &str| written.remove.iter().any(|file| file.path == path);
        let mut files: Vec<_> = base.files.iter().filter(|file| !is_removed(&file.path)).cloned().collect();
        files.extend(written.add);
        let rows = base_rows + diff.inserted - diff.gone;
        let schema_json = types::to_delta(&schema);
        let content = content_text(rows, base_sum.wrapping_add(diff.content), &schema_json);
        let edit = Some(Edit { base_content: base_content.clone(), changes: written.changes });
        Ok(Staged { table: name, schema_json, files, rows, content, properties, edit })
    }

    async fn edit(
        &self,
        base: &TableVersion,
        files: Files,
        keyed: Arc<Keyed>,
        is_keyed: bool,
        chosen: Arc<Chosen>,
        rows: Batches,
    ) -> Result<(Written, Difference), StoreError> {
        let spill_folder = self.control.path().parent().unwrap_or(Path::new("."));
        let join = Arc::new(Mutex::new(Join::new(spill_folder, self.limits.join_bytes)));
        let intake = Arc::new(Replacing { keyed: keyed.clone(), join: is_keyed.then(|| join.clone()), read: Mutex::default() });
        let incoming = Incoming::drain(files.clone(), vec![rows], self.limits.rows_bytes, intake.clone()).await?;
        let mut stored = Stored::new(files.clone(), keyed.clone(), base.files.clone(), self.limits.rows_bytes);
        stored.expected = Expected::Chosen(chosen);
        let stored = Arc::new(stored);
        stored.probe(None, KeySet::default(), &join).await?;
        let join = std::mem::replace(&mut *join.lock().unwrap_or_else(PoisonError::into_inner), Join::new(spill_folder, 0));
        let mut diff = Diff::of(&keyed.table, join, Rules::default()).await?;
        if !is_keyed {
            let read = *intake.read.lock().unwrap_or_else(PoisonError::into_inner);
            diff = diff.and(Diff::all(incoming.all(), read.sum));
        }
        if let Some(clash) = diff.clash {
            let row = incoming.pick([clash].into_iter().collect()).await?;
            let key = row.batches.iter().map(|batch| keyed.describe(batch, 0)).collect();
            return Err(StoreError::DuplicateKey { table: keyed.table.clone(), key });
        }
        let difference = Difference { inserted: diff.inserted.count(), gone: diff.gone.count(), content: diff.content };
        let upsert = Upsert {
            table: base.table.clone(),
            files,
            deleted: None,
            stored,
            incoming,
            diff,
            limits: self.limits,
            at: now(),
            widened: false,
            deletion_vectors: false,
        };
        Ok((upsert.write().await?, difference))
    }
}

/// What an edit does to the count of rows and the sum of their hashes.
struct Difference {
    inserted: u64,
    gone: u64,
    content: u128,
}

/// Makes rows of a statement rows of the table, and adds them to the join if they have a key.
struct Replacing {
    keyed: Arc<Keyed>,
    join: Option<Arc<Mutex<Join>>>,
    read: Mutex<Content>,
}

impl Intake for Replacing {
    fn take(&self, part: u32, position: u32, batch: &RecordBatch) -> Result<RecordBatch, StoreError> {
        let schema: &SchemaRef = &self.keyed.schema;
        let batch = types::by_position(&self.keyed.table, batch, schema)?;
        let rows = self.keyed.row_hashes(&batch)?;
        self.read.lock().unwrap_or_else(PoisonError::into_inner).add(&rows);
        if let Some(join) = &self.join {
            let keys = self.keyed.key_hashes(&batch)?;
            let mut join = join.lock().unwrap_or_else(PoisonError::into_inner);
            for ((key, row), position) in keys.into_iter().zip(rows).zip(position..) {
                join.push(Entry::read(key, row, part, position))?;
            }
        }
        Ok(batch)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::sync::Arc;

    use futures::TryStreamExt;

    use super::super::testing::*;
    use super::*;

    const ITEMS: &str = "erp.items";

    async fn publish(bench: &Bench, run: i64, staged: Staged) {
        bench.store.publish(RunId(run), instant(run), vec![staged], BTreeMap::new()).await.unwrap();
    }

    async fn replace(bench: &Bench, run: i64, key: &[String], ids: &[i64], rows: &[(i64, &str)]) -> Result<Staged, StoreError> {
        let base = bench.table(ITEMS).await;
        let ids = orders(&ids.iter().map(|id| (*id, "")).collect::<Vec<_>>()).project(&[0]).unwrap();
        let chosen = Arc::new(Chosen::new(ids.schema(), &[ids], None).unwrap());
        let replacement = Replacement { base: &base, key, chosen, rows: stream(vec![orders(rows)]), properties: BTreeMap::new() };
        bench.store.stage_replaced(RunId(run), replacement).await
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn what_changes_is_replaced_and_told() {
        for key in [vec!["id".to_owned()], vec![]] {
            let bench = Bench::new().await;
            let rows = orders(&[(1, "a"), (2, "b"), (3, "c"), (4, "d")]);
            let whole =
                bench.store.stage(RunId(1), &name(ITEMS), rows.schema(), stream(vec![rows]), BTreeMap::new()).await.unwrap();
            publish(&bench, 1, whole).await;
            // 5 was chosen and is not there, 2 comes back as it was.
            let staged = replace(&bench, 2, &key, &[2, 3, 4, 5], &[(2, "b"), (3, "C"), (6, "f")]).await.unwrap();
            let all = orders(&[(6, "f"), (1, "a"), (2, "b"), (3, "C")]);
            let whole =
                bench.store.stage(RunId(9), &name(ITEMS), all.schema(), stream(vec![all]), BTreeMap::new()).await.unwrap();
            assert_eq!((&staged.content, staged.rows), (&whole.content, 4));
            publish(&bench, 2, staged).await;
            assert_eq!(bench.rows(ITEMS).await, ["1|a", "2|b", "3|C", "6|f"]);
            let feed = bench.store.changes(&name(ITEMS), 0, 1).await.unwrap();
            let mut feed: Vec<String> = feed.try_collect::<Vec<_>>().await.unwrap().iter().flat_map(lines).collect();
            feed.sort();
            let told: &[&str] = match key.is_empty() {
                false => &["3|C|update_postimage|1", "3|c|update_preimage|1", "4|d|delete|1", "6|f|insert|1"],
                true => &["2|b|delete|1", "2|b|insert|1", "3|C|insert|1", "3|c|delete|1", "4|d|delete|1", "6|f|insert|1"],
            };
            assert_eq!(feed, told);
        }
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn no_change_keeps_every_file() {
        let bench = Bench::new().await;
        let rows = orders(&[(1, "a"), (2, "b")]);
        let whole = bench.store.stage(RunId(1), &name(ITEMS), rows.schema(), stream(vec![rows]), BTreeMap::new()).await.unwrap();
        publish(&bench, 1, whole).await;
        for (run, key, ids) in [(2, vec!["id".to_owned()], vec![2]), (3, vec![], vec![]), (4, vec![], vec![1, 2])] {
            let kept = if ids.len() == 2 { vec![(1, "a"), (2, "b")] } else { vec![(2, "b")] };
            let rows = if ids.is_empty() { &[] } else { kept.as_slice() };
            let mut staged = replace(&bench, run, &key, &ids, rows).await.unwrap();
            staged.properties.insert("loopline.fingerprint".into(), run.to_string());
            publish(&bench, run, staged).await;
            assert_eq!(bench.rows(ITEMS).await, ["1|a", "2|b"]);
            assert_eq!(bench.table(ITEMS).await.properties["loopline.data"], "run 1");
        }
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn two_rows_with_one_key_are_refused() {
        let bench = Bench::new().await;
        let rows = orders(&[(1, "a")]);
        let whole = bench.store.stage(RunId(1), &name(ITEMS), rows.schema(), stream(vec![rows]), BTreeMap::new()).await.unwrap();
        publish(&bench, 1, whole).await;
        let refused = replace(&bench, 2, &["id".into()], &[1], &[(1, "b"), (1, "c")]).await.unwrap_err();
        assert_eq!(refused.to_string(), "table erp.items: two different rows have the key id = 1");
    }
}
