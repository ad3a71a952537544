//! Landing what a pull read: one commit for rows, pull number and cursor.
//!
//! A reading is drained (`incoming`), joined by key (`join`) with the rows that the table has (`stored`), and what differs (`diff`) is written (`upsert`);
//! `merge` is the order of all that. Memory depends on `limits` alone, not on the size of either side. Stored rows are not even read where that can be avoided: a whole reading with
//! the same content as the table changes nothing, and few rows are looked up by their keys in the files that can hold them.
//!
//! Deleted rows go to `<table>__deleted`, which is appended to and committed first. What it says counts only where no live row has the key: so a key that
//! comes back needs no second write, and images of a landing that never committed do no harm (the next landing removes them). A key that was deleted
//! several times has several images; the newest `_deleted_at` is the last one.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use futures::StreamExt;
use object_store::ObjectStoreExt;

use crate::base::{TableName, failpoint};

use super::cut::{CONTENT, DATA};
use super::delta::{Commit, Loaded};
use super::evolve::{self, Evolved, KEY, PULL};
use super::file::{FileWriter, read_file};
use super::incoming::Files;
use super::keyed::Keyed;
use super::merge::{Content, Merge, Merged};
use super::place::Place;
use super::{DataFile, Landed, Landing, Store, StoreError, types};

/// Opaque to the store: where the next pull starts.
const CURSOR: &str = "loopline.cursor";
/// The last pull that added to `…__discarded`.
const DISCARDED: &str = "loopline.discarded";

impl Store {
    /// Number that the next landing in `table` must carry: one above the last that was committed, 1 for a new table.
    pub async fn next_pull(&self, table: &TableName) -> Result<i64, StoreError> {
        match self.load(table).await? {
            Some(loaded) => Ok(self.txn(&loaded, &app(table)).await?.unwrap_or(0) + 1),
            None => Ok(1),
        }
    }

    /// Commits one pull of one stream: rows, pull number and cursor in one commit.
    ///
    /// A row that equals the stored one is no change and writes nothing. If nothing changed but the cursor, only that is committed and `loopline.data`
    /// stays; if not even that, nothing is.
    pub async fn land(&self, mut landing: Landing) -> Result<Landed, StoreError> {
        self.control.check_lease()?;
        let base = self.load(&landing.table).await?;
        let last = match &base {
            Some(base) => self.txn(base, &app(&landing.table)).await?.unwrap_or(0),
            None => 0,
        };
        if let Some(base) = base.as_ref().filter(|_| last >= landing.pull) {
            return Ok(Landed { version: base.version.version, ..Landed::default() });
        }
        let (table, pull) = (landing.table.clone(), landing.pull);
        let deleted = deleted_table(&table);
        let old = base.as_ref().map(|base| &base.version);
        let name = table.to_string();
        let incoming = types::storable(&name, &landing.schema)?;
        let Evolved { schema, widened } = evolve::evolve(&name, old, &incoming)?;
        let key = evolve::key_columns(&name, old, &schema, &landing.key)?;
        let compared = schema.fields().iter().map(|field| field.name().as_str()).filter(|name| *name != PULL);
        let keyed = Arc::new(Keyed::new(&name, schema.clone(), key, compared)?);
        let files = |table: &TableName, kind, schema| {
            // Unique, so that nobody else's files are taken for those of a landing that failed.
            let stem = format!("{}-{}", stem(table, kind, pull), uuid::Uuid::new_v4().simple());
            Files { store: Arc::clone(&self.place.folder), table: table.to_string(), stem, schema }
        };
        let ours = files(&table, "p", schema.clone());
        let merge = Merge {
            table: table.clone(),
            keyed,
            list: old.map(|old| old.files.clone()).unwrap_or_default(),
            content: old.map_or(Some(Content::default()), |old| Content::parse(old.properties.get(CONTENT)?)),
            deleted: files(&deleted, "d", evolve::deleted_schema(&schema)),
            files: ours.clone(),
            limits: self.limits,
            spill_folder: self.control.path().parent().unwrap_or(Path::new(".")).into(),
            incoming,
            widened,
        };
        let Merged { landed, written, content, discarded } = match merge.run(&mut landing).await {
            Ok(merged) => merged,
            Err(error) => {
                self.discard(&ours).await;
                return Err(error);
            }
        };
        self.commit_beside(&deleted, evolve::deleted_schema(&schema), pull, last, written.deleted).await?;
        let is_noted = self.commit_discarded(&table, pull, last, landing.at, discarded).await?;

        let landed = Landed { version: old.map_or(0, |old| old.version), ..landed };
        let changed = old.is_none_or(|old| old.schema != schema) || landed.inserted + landed.updated + landed.deleted > 0;
        let mut properties = BTreeMap::from([(KEY.to_owned(), serde_json::Value::from(landing.key).to_string())]);
        properties.extend((landing.cursor)().map(|cursor| (CURSOR.to_owned(), cursor)));
        // What was left out counts only once its pull is committed, even if nothing else changed.
        properties.extend(is_noted.then(|| (DISCARDED.to_owned(), format!("pull {pull}"))));
        match content {
            Some(content) => drop(properties.insert(CONTENT.into(), content.text())),
            // What was known is no longer true.
            None if old.is_some_and(|old| old.properties.contains_key(CONTENT)) => {
                drop(properties.insert(CONTENT.into(), "unknown".into()))
            }
            None => {}
        }
        if changed {
            properties.insert(DATA.into(), format!("pull {pull}"));
        } else if old.is_some_and(|old| properties.iter().all(|(name, value)| old.properties.get(name) == Some(value))) {
            return Ok(landed);
        }
        failpoint::hit("pull.commit.before");
        let txn = (app(&table), pull);
        let commit = Commit {
            base,
            schema,
            properties,
            add: written.add,
            remove: written.remove,
            changes: written.changes,
            data_change: true,
            txn,
        };
        let version = self.commit(&table, commit).await?;
        failpoint::hit("pull.commit.after");
        Ok(Landed { version, ..landed })
    }

    /// Removes what a landing wrote that will not be committed: a disk that is full must not stay so. What cannot be removed now is left to maintenance.
    pub(super) async fn discard(&self, files: &Files) {
        let folder = files.stem.rsplit_once('/').map_or("", |(folder, _)| folder);
        let mut listing = self.place.folder.list(Some(&folder.into()));
        while let Some(Ok(object)) = listing.next().await {
            if object.location.as_ref().starts_with(&files.stem) {
                let _ = self.place.folder.delete(&object.location).await;
            }
        }
    }

    /// Adds rows to a table beside the one that is landed in. Those of landings above `last`, which never committed, are removed.
    pub(super) async fn commit_beside(
        &self,
        table: &TableName,
        schema: SchemaRef,
        pull: i64,
        last: i64,
        add: Vec<DataFile>,
    ) -> Result<(), StoreError> {
        let base = self.load(table).await?;
        let (void, kept): (Vec<_>, Vec<_>) = base
            .iter()
            .flat_map(|base| base.version.files.clone())
            .partition(|file| landing_of(file).is_some_and(|pull| pull > last));
        if add.is_empty() && void.is_empty() {
            return Ok(());
        }
        let (mut add, mut remove) = (add, void);
        if base.as_ref().is_some_and(|base| types_differ(base, &schema)) {
            add.extend(self.rewrite_beside(table, &kept, &schema).await?);
            remove.extend(kept);
        }
        let properties = BTreeMap::from([(DATA.to_owned(), format!("pull {pull}"))]);
        failpoint::hit("pull.deleted.before");
        self.commit(
            table,
            Commit { base, schema, properties, add, remove, changes: Vec::new(), data_change: true, txn: (app(table), pull) },
        )
        .await?;
        failpoint::hit("pull.deleted.after");
        Ok(())
    }

    async fn rewrite_beside(
        &self,
        table: &TableName,
        files: &[DataFile],
        schema: &SchemaRef,
    ) -> Result<Vec<DataFile>, StoreError> {
        // 0: these images are of landings that did commit.
        let mut writer = FileWriter::new(Arc::clone(&self.place.folder), &table.to_string(), stem(table, "d", 0), schema.clone());
        for file in files {
            let mut rows = read_file(Arc::clone(&self.place.folder), table.to_string(), file, schema.clone());
            while let Some(batch) = rows.next().await {
                writer.write(&batch?).await?;
            }
        }
        writer.finish().await
    }
}

fn app(table: &TableName) -> String {
    format!("loopline/{table}")
}

fn deleted_table(table: &TableName) -> TableName {
    TableName::new(&table.schema, format!("{}__deleted", table.name))
}

pub(super) fn stem(table: &TableName, kind: &str, pull: i64) -> String {
    format!("{}/{kind}-{pull}", Place::table_folder(table))
}

/// The landing that wrote a file beside the table it landed in, by its name (`d-7-….parquet`).
pub(super) fn landing_of(file: &DataFile) -> Option<i64> {
    file.path.rsplit('/').next()?.strip_prefix("d-")?.split('-').next()?.parse().ok()
}

fn types_differ(base: &Loaded, schema: &SchemaRef) -> bool {
    let now = |name: &str| schema.field_with_name(name).ok().map(|field| field.data_type());
    base.version.schema.fields().iter().any(|was| now(was.name()).is_some_and(|now| now != was.data_type()))
}

#[cfg(test)]
mod tests {
    use arrow::array::{Int32Array, RecordBatch, StringArray};

    use super::super::testing::*;
    use super::*;

    const DELETED: &str = "raw.erp__orders__deleted";

    #[tokio::test(flavor = "multi_thread")]
    async fn lands_updates_and_deletes() {
        let bench = Bench::new().await;
        let landed = bench.land(1, orders(&[(2, "b"), (1, "a"), (3, "c")]), whole()).await.unwrap();
        assert_eq!(landed, Landed { version: 0, rows_read: 3, inserted: 3, updated: 0, deleted: 0 });
        assert_eq!(bench.rows(TABLE).await, ["1|a|1", "2|b|1", "3|c|1"]);

        let landed = bench.land(2, orders(&[(1, "a"), (2, "B"), (4, "d")]), whole()).await.unwrap();
        assert_eq!(landed, Landed { version: 1, rows_read: 3, inserted: 1, updated: 1, deleted: 1 });
        assert_eq!(bench.rows(TABLE).await, ["1|a|1", "2|B|2", "4|d|2"]);
        assert_eq!(bench.rows(DELETED).await, ["3|c|1|2023-11-14T22:13:22Z"]);
        let old = bench.store.at(&name(TABLE), 0).await.unwrap();
        assert_eq!(rows_of(&bench.store, &old).await, ["1|a|1", "2|b|1", "3|c|1"]);
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn equal_rows_write_nothing() {
        let mut bench = Bench::new().await;
        bench.land(1, orders(&[(1, "a"), (2, "b")]), changed("10")).await.unwrap();
        let data = |version: &crate::store::TableVersion| version.properties[DATA].clone();

        let same = bench.land(2, orders(&[(2, "b")]), changed("10")).await.unwrap();
        assert_eq!((same.version, same.rows_read), (0, 1), "nothing to commit");
        let moved = bench.land(2, orders(&[(2, "b")]), changed("11")).await.unwrap();
        assert_eq!(moved.version, 1, "only the cursor");
        bench.restart().await;
        let table = bench.table(TABLE).await;
        assert_eq!((table.properties[CURSOR].as_str(), data(&table).as_str()), ("11", "pull 1"));
        assert_eq!(bench.store.next_pull(&name(TABLE)).await.unwrap(), 3);

        let changed = bench.land(3, orders(&[(2, "B")]), changed("12")).await.unwrap();
        assert_eq!((changed.updated, changed.version), (1, 2));
        assert_eq!(data(&bench.table(TABLE).await), "pull 3");
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_landing_that_is_there_is_not_made_twice() {
        let mut bench = Bench::new().await;
        bench.land(1, orders(&[(1, "a")]), changed("1")).await.unwrap();
        bench.restart().await;
        let again = bench.land(1, orders(&[(1, "other")]), changed("2")).await.unwrap();
        assert_eq!(again, Landed::default());
        assert_eq!(bench.rows(TABLE).await, ["1|a|1"]);
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn columns_follow_the_source() {
        let bench = Bench::new().await;
        let (first, second) = (orders(&[(1, "a"), (2, "b")]), orders(&[(2, "b"), (3, "c")]));
        bench.land(1, first.clone(), whole()).await.unwrap();
        bench.land(2, with_quantity(&second, vec![5, 6]), changed("2")).await.unwrap();
        assert_eq!(bench.rows(TABLE).await, ["1|a||1", "2|b|5|2", "3|c|6|2"]);

        let gone = bench.land(3, first, whole()).await.unwrap_err();
        assert_eq!(gone.to_string(), "table raw.erp__orders, column quantity (integer) is gone from the source (type now: none)");
        let text: ArrayRefs =
            vec![("id", Arc::new(StringArray::from(vec!["1"]))), ("what", Arc::new(StringArray::from(vec!["a"])))];
        let text = with_quantity(&RecordBatch::try_from_iter(text).unwrap(), vec![1]);
        let other = bench.land(3, text, whole()).await.unwrap_err();
        assert_eq!(other.to_string(), "table raw.erp__orders, column id: its type was long and is now string");
    }

    type ArrayRefs = Vec<(&'static str, arrow::array::ArrayRef)>;

    #[tokio::test(flavor = "multi_thread")]
    async fn integers_widen_in_every_file() {
        let bench = Bench::new().await;
        let small: ArrayRefs =
            vec![("id", Arc::new(Int32Array::from(vec![1, 2]))), ("what", Arc::new(StringArray::from(vec!["a", "b"])))];
        bench.land(1, RecordBatch::try_from_iter(small).unwrap(), whole()).await.unwrap();
        bench.land(2, orders(&[(1_i64 << 40, "z")]), changed("1")).await.unwrap();
        assert_eq!(bench.rows(TABLE).await, ["1099511627776|z|2", "1|a|1", "2|b|1"]);
        let table = bench.table(TABLE).await;
        assert!(table.files.iter().all(|file| file.path.contains("/p-2-")), "{:?}", table.files);
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn keys_must_be_there_and_unique() {
        let bench = Bench::new().await;
        let twice = bench.land(1, orders(&[(1, "a"), (1, "a")]), whole()).await.unwrap();
        assert_eq!(twice.inserted, 1, "equal rows are one row");
        let clash = bench.land(2, orders(&[(7, "x"), (7, "y")]), changed("1")).await.unwrap_err();
        assert_eq!(clash.to_string(), "table raw.erp__orders: two different rows have the key id = 7");
        let options = Options { key: vec!["id".into(), "what".into()], ..whole() };
        let other = bench.land(2, orders(&[(1, "a")]), options).await.unwrap_err();
        assert_eq!(other.to_string(), "table raw.erp__orders: its key was (id) and is now (id, what)");
        let ids: ArrayRefs = vec![("id", Arc::new(arrow::array::Int64Array::from(vec![Some(1), None])))];
        let batch = RecordBatch::try_from_iter(ids).unwrap();
        let landing = Landing { table: name("raw.erp__other"), ..landing(1, vec![batch], whole()) };
        let null = bench.store.land(landing).await.unwrap_err();
        assert_eq!(null.to_string(), "table raw.erp__other: key column id is NULL in row 2 of the read");
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_sweep_that_removes_too_much_stops() {
        let bench = Bench::new().await;
        let rows: Vec<(i64, &str)> = (0..100).map(|id| (id, "x")).collect();
        bench.land(1, orders(&rows), whole()).await.unwrap();
        let most = bench.land(2, orders(&rows[..79]), whole()).await.unwrap_err();
        assert_eq!(most.to_string(), "table raw.erp__orders: sweep would remove 21 of 100 rows");
        assert_eq!(bench.land(2, orders(&rows[..80]), whole()).await.unwrap().deleted, 20);
        let asked = Options { allow_mass_delete: true, ..whole() };
        assert_eq!(bench.land(3, orders(&rows[..1]), asked).await.unwrap().deleted, 79);
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_source_that_is_suddenly_empty_removes_nothing() {
        let bench = Bench::new().await;
        bench.land(1, orders(&[(1, "a"), (2, "b")]), whole()).await.unwrap();
        let empty = bench.land(2, orders(&[]), whole()).await.unwrap_err();
        assert_eq!(empty.to_string(), "table raw.erp__orders: sweep would remove 2 of 2 rows");
        let asked = Options { allow_mass_delete: true, ..whole() };
        assert_eq!(bench.land(2, orders(&[]), asked).await.unwrap().deleted, 2);
        assert_eq!(bench.land(3, orders(&[]), whole()).await.unwrap().deleted, 0, "it was empty before");
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_landing_that_fails_leaves_no_files() {
        let mut bench = Bench::new().await;
        bench.land(1, orders(&[(1, "a"), (2, "b")]), whole()).await.unwrap();
        bench.store.limits.rows_bytes = 0;
        let parts =
            vec![stream(vec![orders(&[(1, "a")]), orders(&[(2, "x")])]), stream(vec![orders(&[(3, "c")]), orders(&[(2, "y")])])];
        let landing = Landing { parts, ..landing(2, vec![orders(&[])], whole()) };
        let clash = bench.store.land(landing).await.unwrap_err();
        assert_eq!(clash.to_string(), "table raw.erp__orders: two different rows have the key id = 2");
        let folder = bench.folder.path().join("store/raw/erp__orders");
        let names = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
        let left: Vec<String> = names.filter(|name| name.starts_with("p-2-")).collect();
        assert!(left.is_empty(), "{left:?}");
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn only_touched_files_are_written_anew() {
        let bench = Bench::new().await;
        bench.land(1, orders(&[(1, "a"), (2, "b")]), whole()).await.unwrap();
        let first = bench.table(TABLE).await.files;
        // A second file that no small file takes in: made by hand, as a large one would be.
        let far = orders(&[(100, "x"), (101, "y")]);
        let base = bench.store.load(&name(TABLE)).await.unwrap();
        let schema = base.as_ref().unwrap().version.schema.clone();
        let mut writer = FileWriter::new(bench.store.object_store(), TABLE, stem(&name(TABLE), "p", 1), schema.clone());
        writer.write(&types::by_name(TABLE, &far, &schema).unwrap()).await.unwrap();
        let add = writer.finish().await.unwrap();
        let commit = Commit {
            base,
            schema,
            properties: BTreeMap::new(),
            add: add.clone(),
            remove: Vec::new(),
            changes: Vec::new(),
            data_change: true,
            txn: (app(&name(TABLE)), 2),
        };
        bench.store.commit(&name(TABLE), commit).await.unwrap();

        bench.land(3, orders(&[(101, "Y")]), changed("1")).await.unwrap();
        let files = bench.table(TABLE).await.files;
        assert_eq!(files.len(), 2);
        assert!(files.iter().any(|file| file.path == first[0].path), "the other file stays");
        assert!(!files.iter().any(|file| file.path == add[0].path));
        assert_eq!(bench.rows(TABLE).await, ["100|x|", "101|Y|3", "1|a|1", "2|b|1"]);
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn images_of_a_landing_that_never_committed_are_removed() {
        let mut bench = Bench::new().await;
        bench.land(1, orders(&[(1, "a"), (2, "b"), (3, "c")]), whole()).await.unwrap();
        // Killed between the two commits: the image of 3 is there, the row too.
        let schema = bench.table(TABLE).await.schema;
        let deleted = name(DELETED);
        let mut writer =
            FileWriter::new(bench.store.object_store(), DELETED, stem(&deleted, "d", 2), evolve::deleted_schema(&schema));
        let image = types::by_name(DELETED, &orders(&[(3, "c")]), &evolve::deleted_schema(&schema)).unwrap();
        writer.write(&image).await.unwrap();
        bench.store.commit_beside(&deleted, evolve::deleted_schema(&schema), 2, 1, writer.finish().await.unwrap()).await.unwrap();
        assert_eq!(bench.rows(DELETED).await.len(), 1);

        bench.restart().await;
        // 3 is back by now, and 2 is gone.
        bench.land(2, orders(&[(1, "a"), (3, "c")]), whole()).await.unwrap();
        assert_eq!(bench.rows(TABLE).await, ["1|a|1", "3|c|1"]);
        assert_eq!(bench.rows(DELETED).await, ["2|b|1|2023-11-14T22:13:22Z"]);
        bench.land(3, orders(&[(1, "a")]), whole()).await.unwrap();
        assert_eq!(bench.rows(DELETED).await.len(), 2, "what did commit is kept");
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn another_writer_is_a_conflict() {
        let bench = Bench::new().await;
        bench.land(1, orders(&[(1, "a")]), whole()).await.unwrap();
        let base = bench.store.load(&name(TABLE)).await.unwrap();
        bench.land(2, orders(&[(1, "b")]), whole()).await.unwrap();
        let schema = base.as_ref().unwrap().version.schema.clone();
        let commit = |number| Commit {
            base: base.clone(),
            schema: schema.clone(),
            properties: BTreeMap::from([("x".into(), "y".into())]),
            add: Vec::new(),
            remove: Vec::new(),
            changes: Vec::new(),
            data_change: true,
            txn: (app(&name(TABLE)), number),
        };
        for number in [3, 2] {
            // A number that is there already may be another hub's.
            let conflict = bench.store.commit(&name(TABLE), commit(number)).await.unwrap_err();
            assert!(matches!(conflict, StoreError::Conflict { .. }), "{conflict:?}");
        }
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn landing_needs_the_lease() {
        let mut bench = Bench::new().await;
        bench.lease = None;
        assert!(matches!(bench.land(1, orders(&[(1, "a")]), whole()).await, Err(StoreError::NoLease)));
    }
}
