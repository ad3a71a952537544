//! Landing what a pull read: one commit for rows, pull number and cursor.
//!
//! Deleted rows go to `<table>__deleted`, which is appended to and committed first. What it says counts only where no live row has the key: so a key that
//! comes back needs no second write, and images of a landing that never committed do no harm (the next landing removes them). A key that was deleted
//! several times has several images; the newest `_deleted_at` is the last one.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use futures::StreamExt;

use crate::base::{TableName, failpoint};

use super::cut::DATA;
use super::delta::{Commit, Loaded};
use super::evolve::{self, Evolved, KEY};
use super::file::{FileWriter, read_file};
use super::keyed::Keyed;
use super::place::Place;
use super::upsert::{Scope, Upsert};
use super::{DataFile, Landed, Landing, Store, StoreError, types};

/// Opaque to the store: where the next pull starts.
const CURSOR: &str = "loopline.cursor";
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
    pub async fn land(&self, landing: Landing) -> Result<Landed, StoreError> {
        self.control.check_lease()?;
        let base = self.load(&landing.table).await?;
        let last = match &base {
            Some(base) => self.txn(base, &app(&landing.table)).await?.unwrap_or(0),
            None => 0,
        };
        if let Some(base) = base.as_ref().filter(|_| last >= landing.pull) {
            return Ok(Landed { version: base.version.version, ..Landed::default() });
        }
        let Landing { table, pull, key, whole, allow_mass_delete, at, cursor, schema, batches } = landing;
        let (deleted, name) = (deleted_table(&table), table.to_string());
        let incoming = types::storable(&name, &schema)?;
        let old = base.as_ref().map(|base| &base.version);
        let Evolved { schema, widened } = evolve::evolve(&name, old, &incoming)?;
        let keyed = Keyed::new(&name, schema.clone(), evolve::key_columns(&name, old, &schema, &key)?)?;
        let files = old.map(|old| old.files.clone()).unwrap_or_default();
        let scope = Scope { pull, whole, at, rewrite_all: widened, files };
        let mut upsert = Upsert::new(Arc::clone(&self.place.folder), stem(&table, "p", pull), keyed, scope);
        upsert.read(batches, &incoming).await?;
        upsert.guard(allow_mass_delete)?;
        let (written, counts) = upsert.write(stem(&deleted, "d", pull)).await?;
        self.commit_deleted(&deleted, &schema, pull, last, written.deleted).await?;

        let landed = Landed { version: old.map_or(0, |old| old.version), ..counts };
        let changed = old.is_none_or(|old| old.schema != schema) || landed.inserted + landed.updated + landed.deleted > 0;
        let mut properties = BTreeMap::from([(KEY.to_owned(), serde_json::Value::from(key).to_string())]);
        properties.extend(cursor().map(|cursor| (CURSOR.to_owned(), cursor)));
        if changed {
            properties.insert(DATA.into(), format!("pull {pull}"));
        } else if old.is_some_and(|old| properties.iter().all(|(name, value)| old.properties.get(name) == Some(value))) {
            return Ok(landed);
        }
        failpoint::hit("pull.commit.before");
        let txn = (app(&table), pull);
        let version =
            self.commit(&table, Commit { base, schema, properties, add: written.add, remove: written.remove, txn }).await?;
        failpoint::hit("pull.commit.after");
        Ok(Landed { version, ..landed })
    }

    /// Adds images of deleted rows. Images of landings above `last`, which never committed, are removed.
    async fn commit_deleted(
        &self,
        table: &TableName,
        live: &SchemaRef,
        pull: i64,
        last: i64,
        add: Vec<DataFile>,
    ) -> Result<(), StoreError> {
        let base = self.load(table).await?;
        let schema = evolve::deleted_schema(live);
        let (void, kept): (Vec<_>, Vec<_>) = base
            .iter()
            .flat_map(|base| base.version.files.clone())
            .partition(|file| landing_of(file).is_some_and(|pull| pull > last));
        if add.is_empty() && void.is_empty() {
            return Ok(());
        }
        let (mut add, mut remove) = (add, void);
        if base.as_ref().is_some_and(|base| types_differ(base, &schema)) {
            add.extend(self.rewrite_deleted(table, &kept, &schema).await?);
            remove.extend(kept);
        }
        let properties = BTreeMap::from([(DATA.to_owned(), format!("pull {pull}"))]);
        failpoint::hit("pull.deleted.before");
        self.commit(table, Commit { base, schema, properties, add, remove, txn: (app(table), pull) }).await?;
        failpoint::hit("pull.deleted.after");
        Ok(())
    }

    async fn rewrite_deleted(
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

fn stem(table: &TableName, kind: &str, pull: i64) -> String {
    format!("{}/{kind}-{pull}", Place::table_folder(table))
}

/// The landing that wrote a file of deleted images, by its name (`d-7-….parquet`).
fn landing_of(file: &DataFile) -> Option<i64> {
    file.path.rsplit('/').next()?.strip_prefix("d-")?.split('-').next()?.parse().ok()
}

fn types_differ(base: &Loaded, schema: &SchemaRef) -> bool {
    let now = |name: &str| schema.field_with_name(name).ok().map(|field| field.data_type());
    base.version.schema.fields().iter().any(|was| now(was.name()).is_some_and(|now| now != was.data_type()))
}
