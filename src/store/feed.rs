//! The change feed of a table: which rows each version brought, changed and took away.
//!
//! A commit that writes files anew names, besides them, files under `_change_data/` with the rows that really changed. Commits that only add or only
//! remove files need none: there the files say it. Commits that move rows without a change say that they do, and are left out.

use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Array, RecordBatch, StringArray};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use deltalake_core::kernel::{Action, DeletionVectorDescriptor};
use futures::stream::{StreamExt, TryStreamExt};
use object_store::ObjectStore;

use crate::base::TableName;

use super::file::{FileWriter, read_file};
use super::place::Place;
use super::{Batches, DataFile, DeletionVector, Store, StoreError};

/// What happened to a row; in every row of the feed.
pub const CHANGE_TYPE: &str = "_change_type";
/// The version that it happened in.
pub const COMMIT_VERSION: &str = "_commit_version";

/// What happened to rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Change {
    Insert,
    /// As they were before an update, and after it.
    Before,
    After,
    Delete,
}

impl Change {
    /// As Delta calls it.
    fn name(self) -> &'static str {
        match self {
            Self::Insert => "insert",
            Self::Before => "update_preimage",
            Self::After => "update_postimage",
            Self::Delete => "delete",
        }
    }
}

/// Writes the changes of one commit. If it writes any, it must write all: other files of the commit are then not looked at.
pub(super) struct Feed {
    writer: FileWriter,
    table: String,
    schema: SchemaRef,
}

impl Feed {
    /// `stem`: start of the names of a table's own files, e.g. `raw/erp__orders/p-7`; `schema`: the table's.
    pub(super) fn new(store: Arc<dyn ObjectStore>, table: &str, stem: &str, schema: &SchemaRef) -> Self {
        let schema = extended(schema, &[(CHANGE_TYPE, DataType::Utf8)]);
        let stem = match stem.rsplit_once('/') {
            Some((folder, name)) => format!("{folder}/_change_data/{name}"),
            None => format!("_change_data/{stem}"),
        };
        Self { writer: FileWriter::new(store, table, stem, schema.clone()), table: table.into(), schema }
    }

    /// Adds rows of the table's schema.
    pub(super) async fn write(&mut self, change: Change, rows: &RecordBatch) -> Result<(), StoreError> {
        let change: ArrayRef = Arc::new(StringArray::from(vec![change.name(); rows.num_rows()]));
        self.writer.write(&with(&self.table, &self.schema, rows, [change])?).await
    }

    /// The files for [`super::delta::Commit::changes`].
    pub(super) async fn finish(self) -> Result<Vec<DataFile>, StoreError> {
        self.writer.finish().await
    }
}

/// Files with the rows by which a table differs from an earlier version of itself; rows that came and went again may be in several of them.
#[derive(Debug, Default, Clone)]
pub struct Changed {
    /// Each row says what happened to it in [`CHANGE_TYPE`].
    pub told: Vec<DataFile>,
    /// All rows of these are gone.
    pub gone: Vec<DataFile>,
    /// All rows of these are new.
    pub added: Vec<DataFile>,
}

impl Store {
    /// Where the rows are that changed in the versions above `after` up to and with `until`. How many rows the files have is known of `gone` and
    /// `added` only. An error if a version of them is no longer kept.
    pub async fn changed(&self, table: &TableName, after: u64, until: u64) -> Result<Changed, StoreError> {
        let mut changed = Changed::default();
        for version in after + 1..=until {
            let files = self.changed_files(table, version).await?;
            if files.iter().all(|(change, _)| change.is_none()) {
                changed.told.extend(files.into_iter().map(|(_, file)| file));
                continue;
            }
            // The log's entry does not say how many rows a file has, the versions do.
            let (before, now) = (self.at(table, version - 1).await?, self.at(table, version).await?);
            for (change, file) in files {
                let (of, into) = match change {
                    Some(Change::Delete) => (&before, &mut changed.gone),
                    _ => (&now, &mut changed.added),
                };
                let same = |known: &&DataFile| known.path == file.path && known.deletion_vector == file.deletion_vector;
                into.extend(of.files.iter().find(same).cloned());
            }
        }
        Ok(changed)
    }

    /// The rows that changed in the versions above `after` up to and with `until`, version by version: the columns of version `until`, [`CHANGE_TYPE`]
    /// (`insert`, `update_preimage`, `update_postimage`, `delete`) and [`COMMIT_VERSION`]. A change may be told by taking a row out and putting it in again.
    ///
    /// An error if a version of them is no longer kept.
    pub async fn changes(&self, table: &TableName, after: u64, until: u64) -> Result<Batches, StoreError> {
        let schema = self.at(table, until).await?.schema;
        let mut files = Vec::new();
        for version in after + 1..=until {
            files.extend(self.changed_files(table, version).await?.into_iter().map(|(change, file)| (version, change, file)));
        }
        let (store, name) = (self.object_store(), table.to_string());
        let rows = move |(version, change, file): (u64, Option<Change>, DataFile)| {
            let told = extended(&schema, &[(CHANGE_TYPE, DataType::Utf8)]);
            let all = extended(&told, &[(COMMIT_VERSION, DataType::Int64)]);
            let of_file = if change.is_some() { schema.clone() } else { told };
            let name = name.clone();
            read_file(store.clone(), name.clone(), &file, of_file).map(move |batch| {
                let batch = batch?;
                let count = batch.num_rows();
                let change = change.map(|change| Arc::new(StringArray::from(vec![change.name(); count])) as ArrayRef);
                let version: ArrayRef = Arc::new(Int64Array::from(vec![version as i64; count]));
                with(&name, &all, &batch, change.into_iter().chain([version]))
            })
        };
        Ok(futures::stream::iter(files).flat_map(rows).map_err(Into::into).boxed())
    }

    /// The files with the changes of one version, and what happened to their rows if they do not say it themselves.
    async fn changed_files(&self, table: &TableName, version: u64) -> Result<Vec<(Option<Change>, DataFile)>, StoreError> {
        let what = || format!("version {version} of table {table}");
        let folder = Place::table_folder(table);
        let file = |path: &str, size: Option<i64>, vector: Option<DeletionVectorDescriptor>| {
            let size_bytes =
                size.and_then(|size| u64::try_from(size).ok()).ok_or_else(|| StoreError::Malformed { what: what() })?;
            let deletion_vector = vector.map(|vector| DeletionVector::of(table, vector)).transpose()?;
            Ok(DataFile { path: format!("{folder}/{path}"), size_bytes, rows: 0, stats: None, deletion_vector })
        };
        let (mut told, mut gone, mut added) = (Vec::new(), Vec::new(), Vec::new());
        for line in self.read_commit(table, version).await?.lines().filter(|line| !line.trim().is_empty()) {
            match serde_json::from_str(line).map_err(|source| StoreError::Json { what: what(), source })? {
                Action::Cdc(cdc) => told.push((None, file(&cdc.path, Some(cdc.size), None)?)),
                Action::Remove(remove) if remove.data_change => {
                    gone.push((Some(Change::Delete), file(&remove.path, remove.size, remove.deletion_vector)?));
                }
                Action::Add(add) if add.data_change => {
                    added.push((Some(Change::Insert), file(&add.path, Some(add.size), add.deletion_vector)?));
                }
                _ => {}
            }
        }
        gone.append(&mut added);
        Ok(if told.is_empty() { gone } else { told })
    }
}

/// `schema` and more columns behind.
fn extended(schema: &SchemaRef, more: &[(&str, DataType)]) -> SchemaRef {
    let more = more.iter().map(|(name, data_type)| Arc::new(Field::new(*name, data_type.clone(), true)));
    Arc::new(Schema::new(schema.fields().iter().cloned().chain(more).collect::<Vec<_>>()))
}

/// `rows` and more columns behind.
fn with(
    table: &str,
    schema: &SchemaRef,
    rows: &RecordBatch,
    more: impl IntoIterator<Item = ArrayRef>,
) -> Result<RecordBatch, StoreError> {
    let columns = rows.columns().iter().cloned().chain(more).collect();
    let failed = |source| StoreError::Arrow { table: table.into(), what: "assemble rows", source };
    RecordBatch::try_new(schema.clone(), columns).map_err(failed)
}
