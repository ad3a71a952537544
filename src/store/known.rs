//! The last cut's versions as they were read, kept in a file beside the control state, so that a process which starts anew need not read the log of
//! each of a thousand tables.
//!
//! It is a cache: what is missing, unreadable, or of another commit than the table now has is read from the log. Only the holder of the lease writes it.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Mutex, MutexGuard, PoisonError};

use serde::{Deserialize, Serialize};

use crate::base::TableName;

use super::place::{Place, Stamp};
use super::{Cut, DataFile, Store, TableVersion, types};

/// Changes with the file's form.
const FORMAT: u32 = 1;

#[derive(Debug, Default, Serialize, Deserialize)]
pub(super) struct Known {
    format: u32,
    store: String,
    tables: BTreeMap<String, Entry>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
struct Entry {
    version: u64,
    /// Of the commit that made the version: a table that was removed and made anew counts its versions from 0 again.
    commit: Stamp,
    schema: String,
    files: Vec<DataFile>,
    properties: BTreeMap<String, String>,
}

/// Read when first asked for.
#[derive(Debug, Default)]
pub(super) struct KnownVersions(Mutex<Option<Known>>);

impl KnownVersions {
    fn get(&self) -> MutexGuard<'_, Option<Known>> {
        // Each change is one insert or remove: a panic elsewhere leaves it whole.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn forget(&self, table: &TableName) {
        if let Some(known) = self.get().as_mut() {
            known.tables.remove(&table.to_string());
        }
    }
}

impl Store {
    /// The version, if it was kept and its commit is still the same.
    pub(super) async fn known(&self, table: &TableName, version: u64) -> Option<TableVersion> {
        let entry = {
            let mut known = self.known.get();
            let known = known.get_or_insert_with(|| self.read_known().unwrap_or_default());
            known.tables.get(&table.to_string()).filter(|entry| entry.version == version).cloned()?
        };
        if self.place.stamp(&Place::commit_path(table, version)).await? != entry.commit {
            self.known.forget(table);
            return None;
        }
        let Entry { version, schema, files, properties, .. } = entry;
        let schema = types::from_delta(&table.to_string(), &schema).ok()?;
        Some(TableVersion { table: table.clone(), version, schema, files, properties })
    }

    /// Keeps the versions of a cut's built tables; pulled ones and the hub's own are read by their latest version anyway.
    pub(super) async fn keep_known(&self, cut: &Cut) {
        let mut tables = BTreeMap::new();
        let mut is_new = false;
        for (table, version) in cut.tables.iter().filter(|(table, _)| !matches!(table.schema.as_str(), "raw" | "system")) {
            let before = {
                let mut known = self.known.get();
                let known = known.get_or_insert_with(|| self.read_known().unwrap_or_default());
                known.tables.get(&table.to_string()).filter(|entry| entry.version == *version).cloned()
            };
            let entry = match before {
                Some(entry) => Some(entry),
                None => self.entry(table, *version).await,
            };
            is_new |= self.known.get().as_ref().is_none_or(|known| {
                known.tables.get(&table.to_string()).map(|entry| entry.version) != entry.as_ref().map(|entry| entry.version)
            });
            tables.extend(entry.map(|entry| (table.to_string(), entry)));
        }
        let (Some(store), true) = (self.control.store_id().ok().flatten(), is_new) else { return };
        let known = Known { format: FORMAT, store, tables };
        if let Err(error) = self.write_known(&known) {
            tracing::warn!("cannot keep what is known of tables: {error}");
        }
        *self.known.get() = Some(known);
    }

    async fn entry(&self, table: &TableName, version: u64) -> Option<Entry> {
        let commit = self.place.stamp(&Place::commit_path(table, version)).await?;
        let TableVersion { schema, files, properties, .. } = self.at(table, version).await.ok()?;
        Some(Entry { version, commit, schema: types::to_delta(&schema), files, properties })
    }

    fn known_path(&self) -> PathBuf {
        self.control.path().with_extension("versions.json")
    }

    fn read_known(&self) -> Option<Known> {
        let known: Known = serde_json::from_slice(&std::fs::read(self.known_path()).ok()?).ok()?;
        (known.format == FORMAT && Some(&known.store) == self.control.store_id().ok()?.as_ref()).then_some(known)
    }

    fn write_known(&self, known: &Known) -> std::io::Result<()> {
        let (path, text) = (self.known_path(), serde_json::to_vec(known)?);
        let beside = path.with_extension("json.new");
        std::fs::write(&beside, text)?;
        std::fs::rename(beside, path)
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{Bench, name, orders, stream};
    use super::*;
    use crate::base::RunId;

    async fn publish(bench: &Bench, run: i64, rows: &[(i64, &str)]) -> Cut {
        let batch = orders(rows);
        let staged =
            bench.store.stage(RunId(run), &name("scm.x"), batch.schema(), stream(vec![batch]), BTreeMap::new()).await.unwrap();
        bench.store.publish(RunId(run), super::super::testing::instant(run), vec![staged], BTreeMap::new()).await.unwrap()
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_version_is_known_until_its_commit_is_another() {
        let mut bench = Bench::new().await;
        let cut = publish(&bench, 1, &[(1, "a")]).await;
        let read = bench.store.at(&name("scm.x"), cut.tables[&name("scm.x")]).await.unwrap();
        bench.restart().await;
        let known = bench.store.known(&name("scm.x"), 0).await.unwrap();
        assert_eq!(format!("{known:?}"), format!("{read:?}"));
        assert!(bench.store.known(&name("scm.x"), 1).await.is_none());

        publish(&bench, 2, &[(1, "a"), (2, "b")]).await;
        bench.restart().await;
        assert_eq!(bench.store.known(&name("scm.x"), 1).await.unwrap().files.len(), 1);
        assert!(bench.store.known(&name("scm.x"), 0).await.is_none(), "only the last cut's");

        // The table is removed and made anew: the same number is another version.
        std::fs::remove_dir_all(bench.folder.path().join("store/scm/x")).unwrap();
        bench.restart().await;
        assert!(bench.store.known(&name("scm.x"), 1).await.is_none());
        publish(&bench, 3, &[(7, "c")]).await;
        publish(&bench, 4, &[(7, "d"), (8, "d")]).await;
        bench.restart().await;
        let known = bench.store.known(&name("scm.x"), 1).await.unwrap();
        assert_eq!(known.files[0].rows, 2);

        // A file that cannot be read is no file.
        std::fs::write(bench.store.known_path(), "{").unwrap();
        bench.restart().await;
        assert!(bench.store.known(&name("scm.x"), 1).await.is_none());
        assert_eq!(bench.store.at(&name("scm.x"), 1).await.unwrap().files[0].rows, 2);
    }
}
