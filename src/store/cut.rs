//! Cuts: which versions one run published together.
//!
//! Publishing stores a manifest (in the control state and beside the tables), commits the tables one by one, commits the cut, and forgets the manifest.
//! Each step looks at the table's transactions first, so any step may be repeated; a publication that was cut short is finished by [`Store::roll_forward`].

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, Int64Array, RecordBatch, StringArray, TimestampMicrosecondArray};
use arrow::datatypes::{DataType, Field, Int64Type, Schema, SchemaRef, TimestampMicrosecondType};
use chrono::DateTime;
use futures::{StreamExt, TryStreamExt};
use object_store::ObjectStoreExt;
use object_store::path::Path;
use serde::{Deserialize, Serialize};

use crate::base::time::Instant;
use crate::base::{RunId, TableName, failpoint};

use super::delta::Commit;
use super::file::{FileWriter, read_file};
use super::place::Place;
use super::stats::{KeyRange, key_range};
use super::{Cut, DataFile, Lease, Staged, Store, StoreError, TableVersion, types};

/// Who commits models and cuts; the number is the run's.
const APP: &str = "loopline";
/// Hash of a table's rows, as [`Staged::content`] has it.
pub(super) const CONTENT: &str = "loopline.content";
/// Changes only when rows do; what models compare to know whether an input changed.
pub(super) const DATA: &str = "loopline.data";
/// Tables of one run that are committed at the same time: each waits for the disk or the network most of the time.
const TABLES_AT_ONCE: usize = 8;
/// How often a commit is computed anew when another program was faster.
const COMMITS_MAX: u32 = 5;

/// What a run publishes, stored before the first commit.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Manifest {
    pub(super) run: RunId,
    as_of: Instant,
    staged: Vec<Staged>,
    unchanged: BTreeMap<String, u64>,
}

impl Manifest {
    pub(super) fn staged_paths(self) -> impl Iterator<Item = String> {
        let files = |staged: Staged| staged.files.into_iter().chain(staged.edit.into_iter().flat_map(|edit| edit.changes));
        self.staged.into_iter().flat_map(files).map(|file| file.path)
    }
}

impl Store {
    /// Publishes a run: stores the manifest, commits each staged table whose content differs, and last the cut, which names the version of every
    /// table of `staged` and `unchanged`. Killed anywhere, the next [`Store::roll_forward`] finishes it.
    ///
    /// A staged table with the content of the current version makes no new one; if only its properties differ, they are committed without rows and
    /// `loopline.data` stays.
    pub async fn publish(
        &self,
        run: RunId,
        as_of: Instant,
        staged: Vec<Staged>,
        unchanged: BTreeMap<TableName, u64>,
    ) -> Result<Cut, StoreError> {
        self.control.check_lease()?;
        self.finish_manifests().await?;
        let unchanged = unchanged.into_iter().map(|(table, version)| (table.to_string(), version)).collect();
        let manifest = Manifest { run, as_of, staged, unchanged };
        self.put_manifest(&manifest).await?;
        let cut = self.finish(&manifest).await?;
        let cut = self.over_base(cut).await?;
        self.keep_known(&cut).await;
        Ok(cut)
    }

    /// Finishes publications that were cut short: commits what their manifests name, then their cuts. Marks runs as failed that an earlier holder of
    /// the lease left running. Call it once after taking the lease, before anything else is written. Returns the runs that it published.
    pub async fn roll_forward(&self, lease: &Lease) -> Result<Vec<RunId>, StoreError> {
        self.control.check_lease()?;
        let published = self.finish_manifests().await?;
        self.control.close_interrupted(lease.epoch, &published)?;
        Ok(published)
    }

    /// The last complete cut; `None` before the first run.
    pub async fn cut(&self) -> Result<Option<Cut>, StoreError> {
        let Some(cuts) = self.latest(&cuts_table()).await? else { return Ok(None) };
        let Some(newest) = newest_run(&cuts) else { return Ok(None) };
        match self.read_cut_of(&cuts, newest).await? {
            Some(cut) => self.over_base(cut).await.map(Some),
            None => Ok(None),
        }
    }

    /// The cut that `run` published, as long as its versions are kept.
    pub async fn cut_of(&self, run: RunId) -> Result<Cut, StoreError> {
        let Some(cuts) = self.latest(&cuts_table()).await? else { return Err(StoreError::NoCutOf { run }) };
        match self.read_cut_of(&cuts, run).await? {
            None => Err(StoreError::NoCutOf { run }),
            Some(cut) if cut.tables.is_empty() && newest_run(&cuts) != Some(run) => Err(StoreError::CutGone { run }),
            Some(cut) => self.over_base(cut).await,
        }
    }

    async fn read_cut_of(&self, cuts: &TableVersion, run: RunId) -> Result<Option<Cut>, StoreError> {
        let mut cut: Option<Cut> = None;
        for file in cuts.files.iter().filter(|file| holds(file, run)) {
            let rows: Vec<RecordBatch> =
                read_file(Arc::clone(&self.place.folder), cuts.table.to_string(), file, cut_schema()).try_collect().await?;
            for batch in &rows {
                read_cut(batch, run, &mut cut)?;
            }
        }
        Ok(cut)
    }

    async fn finish_manifests(&self) -> Result<Vec<RunId>, StoreError> {
        let mut done = Vec::new();
        for manifest in self.manifests().await? {
            self.finish(&manifest).await?;
            done.push(manifest.run);
        }
        Ok(done)
    }

    /// Every step of a publication after its manifest; each may have been done before.
    async fn finish(&self, manifest: &Manifest) -> Result<Cut, StoreError> {
        let mut tables = BTreeMap::new();
        for (name, version) in &manifest.unchanged {
            tables.insert(table_name(name)?, *version);
        }
        let mut commits = futures::stream::iter(&manifest.staged)
            .map(|staged| async move {
                let table = table_name(&staged.table)?;
                failpoint::hit("publish.table.before");
                let version = self.publish_table(manifest.run, &table, staged).await?;
                failpoint::hit("publish.table.after");
                let unused = self.unused(&table, staged).await?;
                Ok::<_, StoreError>((table, version, unused))
            })
            .buffered(TABLES_AT_ONCE);
        let mut unused = Vec::new();
        while let Some((table, version, left)) = commits.try_next().await? {
            unused.extend(left);
            tables.insert(table, version);
        }
        let cut = Cut { run: manifest.run, as_of: manifest.as_of, tables, base: None };
        failpoint::hit("publish.cut.before");
        self.commit_cut(&cut).await?;
        failpoint::hit("publish.cut.after");
        self.forget_manifest(manifest.run).await?;
        for path in unused {
            // A file left behind costs space, not truth.
            let _ = self.place.folder.delete(&Path::from(path)).await;
        }
        Ok(cut)
    }

    /// Staged files of which the table makes no use because its rows stayed the same.
    async fn unused(&self, table: &TableName, staged: &Staged) -> Result<Vec<String>, StoreError> {
        let Some(now) = self.load(table).await? else { return Ok(Vec::new()) };
        let new = DataFile::beside(&staged.files, &now.version.files);
        if staged.files.is_empty() || new.is_empty() || now.version.properties.get(CONTENT) != Some(&staged.content) {
            return Ok(Vec::new());
        }
        let changes = staged.edit.iter().flat_map(|edit| &edit.changes).cloned();
        Ok(new.into_iter().chain(changes).map(|file| file.path).collect())
    }

    /// Commits one staged table; returns its version.
    async fn publish_table(&self, run: RunId, table: &TableName, staged: &Staged) -> Result<u64, StoreError> {
        let mut attempt = 1;
        loop {
            match self.try_publish_table(run, table, staged).await {
                // The whole content is replaced, so computing it again is stating it again.
                Err(StoreError::Conflict { .. }) if attempt < COMMITS_MAX => attempt += 1,
                done => return done,
            }
        }
    }

    async fn try_publish_table(&self, run: RunId, table: &TableName, staged: &Staged) -> Result<u64, StoreError> {
        let base = self.load(table).await?;
        let mut properties = staged.properties.clone();
        properties.insert(CONTENT.into(), staged.content.clone());
        let schema = types::from_delta(&staged.table, &staged.schema_json)?;
        let (mut add, mut remove, mut changes) = (staged.files.clone(), Vec::new(), Vec::new());
        let mut same = false;
        if let Some(loaded) = &base {
            let now = &loaded.version;
            if self.txn(loaded, APP).await?.is_some_and(|done| done >= run.0) {
                return Ok(now.version);
            }
            let content = now.properties.get(CONTENT);
            same = content == Some(&staged.content);
            if same && properties.iter().all(|(name, value)| now.properties.get(name) == Some(value)) {
                return Ok(now.version);
            }
            if !same && staged.files.is_empty() && staged.rows > 0 {
                // Properties for rows that are no longer there.
                return Ok(now.version);
            }
            (add, remove) = if same {
                Default::default()
            } else {
                (DataFile::beside(&staged.files, &now.files), DataFile::beside(&now.files, &staged.files))
            };
            // What a feed tells is true of the rows that it was made from only.
            let edit = staged.edit.as_ref().filter(|edit| !same && content == Some(&edit.base_content));
            changes = edit.map(|edit| edit.changes.clone()).unwrap_or_default();
        }
        if !same {
            properties.insert(DATA.into(), format!("run {run}"));
        }
        let txn = (APP.to_owned(), run.0);
        self.commit(table, Commit { base, schema, properties, add, remove, changes, data_change: true, txn }).await
    }

    async fn commit_cut(&self, cut: &Cut) -> Result<(), StoreError> {
        let table = cuts_table();
        let base = self.load(&table).await?;
        if let Some(loaded) = &base
            && self.txn(loaded, APP).await?.is_some_and(|done| done >= cut.run.0)
        {
            return Ok(());
        }
        let stem = format!("{}/c-{}", Place::table_folder(&table), cut.run);
        let mut writer = FileWriter::new(Arc::clone(&self.place.folder), &table.to_string(), stem, cut_schema());
        writer.write(&cut_batch(cut)?).await?;
        let add = writer.finish().await?;
        let properties = BTreeMap::from([(DATA.into(), format!("run {}", cut.run))]);
        let commit = Commit {
            base,
            schema: cut_schema(),
            properties,
            add,
            remove: Vec::new(),
            changes: Vec::new(),
            data_change: true,
            txn: (APP.into(), cut.run.0),
        };
        self.commit(&table, commit).await.map(drop)
    }

    async fn put_manifest(&self, manifest: &Manifest) -> Result<(), StoreError> {
        let what = || format!("the manifest of run {}", manifest.run);
        let json = serde_json::to_string(manifest).map_err(|source| StoreError::Json { what: what(), source })?;
        let path = manifest_path(manifest.run);
        failpoint::hit("publish.manifest.before");
        self.control.put_manifest(manifest.run, &json)?;
        let put = self.place.folder.put(&path, json.into_bytes().into()).await;
        put.map_err(|source| StoreError::Object { what: "writing", path: path.to_string(), source })?;
        failpoint::hit("publish.manifest.after");
        Ok(())
    }

    async fn forget_manifest(&self, run: RunId) -> Result<(), StoreError> {
        let path = manifest_path(run);
        match self.place.folder.delete(&path).await {
            Ok(()) | Err(object_store::Error::NotFound { .. }) => {}
            Err(source) => return Err(StoreError::Object { what: "removal", path: path.to_string(), source }),
        }
        if !self.control.has_manifest(run)? {
            // The control state that began this publication is lost: the one that finishes it must not look as if it knew the run's intents.
            return self.control.raise_run_floor(run);
        }
        failpoint::hit("publish.forget.before");
        self.control.published(run)?;
        failpoint::hit("publish.forget.after");
        Ok(())
    }

    /// Unfinished manifests, oldest first: the control state's, and those beside the tables that a lost control state no longer knows.
    pub(super) async fn manifests(&self) -> Result<Vec<Manifest>, StoreError> {
        let parse = |what: String, json: &[u8]| {
            serde_json::from_slice::<Manifest>(json).map_err(|source| StoreError::Json { what, source })
        };
        let mut found = BTreeMap::new();
        let folder = Path::from(MANIFESTS);
        let mut listing = self.place.folder.list(Some(&folder));
        while let Some(object) = listing.next().await {
            let object = object.map_err(|source| StoreError::Object { what: "listing", path: folder.to_string(), source })?;
            let failed = |source| StoreError::Object { what: "reading", path: object.location.to_string(), source };
            let bytes = self.place.folder.get(&object.location).await.map_err(failed)?.bytes().await.map_err(failed)?;
            let manifest = parse(object.location.to_string(), &bytes)?;
            found.insert(manifest.run, manifest);
        }
        for (run, json) in self.control.manifests()? {
            found.insert(run, parse(format!("the manifest of run {run}"), json.as_bytes())?);
        }
        Ok(found.into_values().collect())
    }
}

const MANIFESTS: &str = "system/manifests";

fn manifest_path(run: RunId) -> Path {
    Path::from(format!("{MANIFESTS}/{run}.json"))
}

pub(super) fn cuts_table() -> TableName {
    TableName::new("system", "cuts")
}

fn table_name(text: &str) -> Result<TableName, StoreError> {
    text.parse().map_err(|what| StoreError::Malformed { what })
}

/// The newest run among the files of `system.cuts`, by their statistics.
pub(super) fn newest_run(cuts: &TableVersion) -> Option<RunId> {
    let newest = |file: &DataFile| match key_range(file.stats.as_deref(), "run") {
        KeyRange::Integer(_, newest) => Some(RunId(newest)),
        _ => None,
    };
    cuts.files.iter().filter_map(newest).max()
}

fn holds(file: &DataFile, run: RunId) -> bool {
    match key_range(file.stats.as_deref(), "run") {
        KeyRange::Integer(oldest, newest) => (oldest..=newest).contains(&run.0),
        _ => true,
    }
}

pub(super) fn cut_schema() -> SchemaRef {
    Arc::new(Schema::new(vec![
        Field::new("run", DataType::Int64, true),
        Field::new("table", DataType::Utf8, true),
        Field::new("version", DataType::Int64, true),
        Field::new("as_of", types::instant(), true),
    ]))
}

/// A cut of no tables still has a row, with nulls, because the row is the publication; so has a cut whose versions are no longer kept.
pub(super) fn cut_batch(cut: &Cut) -> Result<RecordBatch, StoreError> {
    let mut rows: Vec<(Option<String>, Option<i64>)> =
        cut.tables.iter().map(|(table, version)| (Some(table.to_string()), i64::try_from(*version).ok())).collect();
    if rows.is_empty() {
        rows.push((None, None));
    }
    let columns: Vec<ArrayRef> = vec![
        Arc::new(Int64Array::from(vec![cut.run.0; rows.len()])),
        Arc::new(rows.iter().map(|(table, _)| table.as_deref()).collect::<StringArray>()),
        Arc::new(rows.iter().map(|(_, version)| *version).collect::<Int64Array>()),
        Arc::new(TimestampMicrosecondArray::from(vec![cut.as_of.timestamp_micros(); rows.len()]).with_timezone("UTC")),
    ];
    RecordBatch::try_new(cut_schema(), columns).map_err(|source| StoreError::Arrow {
        table: cuts_table().to_string(),
        what: "assemble rows",
        source,
    })
}

fn read_cut(batch: &RecordBatch, run: RunId, cut: &mut Option<Cut>) -> Result<(), StoreError> {
    let runs = batch.column(0).as_primitive::<Int64Type>();
    let tables = batch.column(1).as_string::<i32>();
    let versions = batch.column(2).as_primitive::<Int64Type>();
    let instants = batch.column(3).as_primitive::<TimestampMicrosecondType>();
    for row in (0..batch.num_rows()).filter(|row| runs.is_valid(*row) && runs.value(*row) == run.0) {
        let malformed = || StoreError::Malformed { what: format!("row {row} of run {run} in system.cuts") };
        let as_of = DateTime::from_timestamp_micros(instants.value(row)).ok_or_else(malformed)?;
        let cut = cut.get_or_insert_with(|| Cut { run, as_of, tables: BTreeMap::new(), base: None });
        if tables.is_valid(row) {
            let version = u64::try_from(versions.value(row)).map_err(|_| malformed())?;
            cut.tables.insert(table_name(tables.value(row))?, version);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::testing::*;
    use super::super::{ControlBehind, RunOutcome};
    use super::*;

    const ITEMS: &str = "erp.items";
    const STOCK: &str = "wms.stock";

    async fn stage(bench: &Bench, run: i64, table: &str, rows: &[(i64, &str)], fingerprint: &str) -> Staged {
        let batch = orders(rows);
        let properties = BTreeMap::from([("loopline.fingerprint".to_owned(), fingerprint.to_owned())]);
        bench.store.stage(RunId(run), &name(table), batch.schema(), stream(vec![batch]), properties).await.unwrap()
    }

    async fn publish(bench: &Bench, run: i64, staged: Vec<Staged>) -> Cut {
        bench.store.publish(RunId(run), instant(run), staged, BTreeMap::new()).await.unwrap()
    }

    fn versions(cut: &Cut) -> Vec<(String, u64)> {
        cut.tables.iter().map(|(table, version)| (table.to_string(), *version)).collect()
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn publishes_what_differs() {
        let mut bench = Bench::new().await;
        assert!(bench.store.cut().await.unwrap().is_none());
        let staged = vec![stage(&bench, 1, ITEMS, &[(1, "a"), (2, "b")], "f1").await, stage(&bench, 1, STOCK, &[], "f1").await];
        assert!(bench.store.latest(&name(ITEMS)).await.unwrap().is_none(), "staged rows are visible to nobody");
        let cut = publish(&bench, 1, staged).await;
        assert_eq!(versions(&cut), [(ITEMS.into(), 0), (STOCK.into(), 0)]);
        assert_eq!(bench.rows(ITEMS).await, ["1|a", "2|b"]);
        assert!(bench.rows(STOCK).await.is_empty());

        // The same rows in another order; another statement for one table.
        let staged = vec![stage(&bench, 2, ITEMS, &[(2, "b"), (1, "a")], "f1").await, stage(&bench, 2, STOCK, &[], "f2").await];
        let unused = staged[0].files[0].path.clone();
        let cut = publish(&bench, 2, staged).await;
        assert_eq!(versions(&cut), [(ITEMS.into(), 0), (STOCK.into(), 1)]);
        assert_eq!(bench.table(STOCK).await.properties[DATA], "run 1", "no rows moved");
        assert!(bench.store.object_store().head(&Path::from(unused)).await.is_err(), "unused files are removed");

        let unchanged = BTreeMap::from([(name(STOCK), 1)]);
        let staged = vec![stage(&bench, 3, ITEMS, &[(1, "a")], "f1").await];
        bench.store.publish(RunId(3), instant(3), staged, unchanged).await.unwrap();
        bench.restart().await;
        let cut = bench.store.cut().await.unwrap().unwrap();
        assert_eq!((cut.run, cut.as_of), (RunId(3), instant(3)));
        assert_eq!(versions(&cut), [(ITEMS.into(), 1), (STOCK.into(), 1)]);
        assert_eq!(bench.rows(ITEMS).await, ["1|a"]);
        assert_eq!(bench.table(ITEMS).await.properties[DATA], "run 3");
        assert_eq!(bench.rows("system.cuts").await.len(), 6);
    }

    /// Ends a publication after so many of its steps, as a kill would.
    async fn cut_short(bench: &Bench, manifest: &Manifest, steps: usize) {
        bench.store.put_manifest(manifest).await.unwrap();
        for staged in manifest.staged.iter().take(steps) {
            bench.store.publish_table(manifest.run, &name(&staged.table), staged).await.unwrap();
        }
        if steps > manifest.staged.len() {
            let tables = BTreeMap::from([(name(ITEMS), 1), (name(STOCK), 1)]);
            bench.store.commit_cut(&Cut { run: manifest.run, as_of: manifest.as_of, tables, base: None }).await.unwrap();
        }
        if steps > manifest.staged.len() + 1 {
            bench.store.object_store().delete(&manifest_path(manifest.run)).await.unwrap();
        }
    }

    async fn survives(steps: usize, control: &str) {
        let mut bench = Bench::new().await;
        let run = bench.store.control.start_run("plan", instant(1)).unwrap();
        let staged = vec![stage(&bench, 1, ITEMS, &[(1, "a")], "f").await, stage(&bench, 1, STOCK, &[(9, "x")], "f").await];
        publish(&bench, 1, staged).await;
        bench.store.control.finish_run(run, RunOutcome::Degraded, "done").unwrap();

        let run = bench.store.control.start_run("plan", instant(2)).unwrap();
        let staged = vec![stage(&bench, 2, ITEMS, &[(1, "A")], "f").await, stage(&bench, 2, STOCK, &[(9, "X")], "f").await];
        let manifest = Manifest { run, as_of: instant(2), staged, unchanged: BTreeMap::new() };
        cut_short(&bench, &manifest, steps).await;

        bench.restart_with(control).await.unwrap();
        if steps <= 2 {
            assert_eq!(bench.store.cut().await.unwrap().unwrap().run, RunId(1), "the old cut stands until all is there");
        }
        let lease = bench.lease.take().unwrap();
        let published = bench.store.roll_forward(&lease).await.unwrap();
        let again = bench.store.roll_forward(&lease).await.unwrap();
        assert_eq!(again, []);
        assert_eq!(published, [RunId(2)]);
        let cut = bench.store.cut().await.unwrap().unwrap();
        assert_eq!((cut.run, versions(&cut)), (RunId(2), vec![(ITEMS.into(), 1), (STOCK.into(), 1)]), "{steps} steps");
        assert_eq!(bench.rows(ITEMS).await, ["1|A"]);
        assert_eq!(bench.rows(STOCK).await, ["9|X"]);
        assert_eq!(bench.rows("system.cuts").await.len(), 4);
        assert!(bench.store.manifests().await.unwrap().is_empty());
        let known = control == "control.sqlite";
        // Another control state than the one that began the publication lacks its intents, and must go on looking like it.
        assert_eq!(bench.store.control_behind().await.unwrap().is_some(), !known);
        if known {
            assert_eq!(bench.store.control.runs(1).unwrap()[0].outcome, RunOutcome::Published);
        }
        assert_eq!(bench.store.control.start_run("plan", instant(3)).unwrap(), RunId(3));
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_publication_cut_short_is_rolled_forward() {
        for steps in 0..=4 {
            survives(steps, "control.sqlite").await;
        }
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_lost_control_state_rolls_forward_too() {
        for steps in 0..=3 {
            survives(steps, "new.sqlite").await;
        }
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn the_next_run_finishes_an_earlier_publication_first() {
        let bench = Bench::new().await;
        let staged = vec![stage(&bench, 1, ITEMS, &[(1, "a")], "f").await];
        let manifest = Manifest { run: RunId(1), as_of: instant(1), staged, unchanged: BTreeMap::new() };
        cut_short(&bench, &manifest, 0).await;
        let staged = vec![stage(&bench, 2, ITEMS, &[(1, "b")], "f").await];
        assert_eq!(versions(&publish(&bench, 2, staged).await), [(ITEMS.into(), 1)]);
        assert_eq!(bench.rows(ITEMS).await, ["1|b"]);
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn an_old_control_state_is_noticed() {
        let mut bench = Bench::new().await;
        let run = bench.store.control.start_run("plan", instant(1)).unwrap();
        publish(&bench, run.0, vec![stage(&bench, 1, ITEMS, &[(1, "a")], "f").await]).await;
        assert_eq!(bench.store.control_behind().await.unwrap(), None);
        bench.restart_with("other.sqlite").await.unwrap();
        let behind = ControlBehind { published: RunId(1), known: RunId(0) };
        assert_eq!(bench.store.control_behind().await.unwrap(), Some(behind));
        assert_eq!(bench.store.control.start_run("plan", instant(2)).unwrap(), RunId(2), "a published number is not used again");
        let lease = bench.lease.take().unwrap();
        bench.store.adopt_control(&lease).await.unwrap();
        assert_eq!(bench.store.control_behind().await.unwrap(), None);
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_control_state_of_another_store_is_refused() {
        let mut bench = Bench::new().await;
        std::fs::remove_dir_all(bench.folder.path().join("store")).unwrap();
        let refused = bench.restart_with("control.sqlite").await.unwrap_err();
        assert!(matches!(refused, StoreError::ControlForeign { .. }), "{refused:?}");
    }
}
