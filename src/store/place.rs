//! Where tables lie: a local folder or a bucket.

use std::path::{Path as FsPath, PathBuf};
use std::sync::Arc;

use chrono::{DateTime, Utc};
use deltalake_core::logstore::{LogStoreRef, StorageConfig, default_logstore};
use object_store::path::Path;
use object_store::prefix::PrefixStore;
use object_store::{ObjectStore, ObjectStoreExt};
use url::Url;

use crate::base::TableName;
use crate::project::bucket_options;

use super::StoreError;
use super::disk::Disk;
use super::error::BoxError;

/// The object store and the folder in it that holds all tables.
#[derive(Debug, Clone)]
pub(super) struct Place {
    /// The whole disk or bucket.
    whole: Arc<dyn ObjectStore>,
    /// Rooted at the store's folder.
    pub(super) folder: Arc<dyn ObjectStore>,
    prefix: Path,
    /// Address of the folder; ends with a slash.
    url: Url,
    /// The folder on this machine's disk, if it is there.
    pub(super) disk: Option<PathBuf>,
}

/// By which an object that was written anew is told from the one before.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub(super) struct Stamp {
    bytes: u64,
    modified_micros: i64,
}

impl Place {
    /// Opens `store`: a path relative to `root`, or a URL (`s3://`, `gs://`, `az://`, …).
    pub(super) fn open(root: &FsPath, store: &str) -> Result<Self, StoreError> {
        let fail = |source: BoxError| StoreError::Open { store: store.into(), source };
        let mut disk = None;
        let (whole, prefix, url): (Arc<dyn ObjectStore>, Path, Url) = if store.contains("://") {
            let url = Url::parse(&format!("{}/", store.trim_end_matches('/'))).map_err(|e| fail(e.into()))?;
            if url.password().is_some() {
                return Err(StoreError::SecretInUrl { store: url.host_str().unwrap_or_default().into() });
            }
            let (whole, prefix) = object_store::parse_url_opts(&url, bucket_options()).map_err(|e| fail(e.into()))?;
            (Arc::from(whole), prefix, url)
        } else {
            let folder = local_folder(root, store).map_err(|e| fail(e.into()))?;
            let prefix = Path::from_absolute_path(&folder).map_err(|e| fail(e.into()))?;
            let url = Url::from_directory_path(&folder).map_err(|()| fail("not an absolute path".into()))?;
            disk = Some(folder);
            (Arc::new(Disk::default()), prefix, url)
        };
        let folder = Arc::new(PrefixStore::new(whole.clone(), prefix.clone()));
        Ok(Self { whole, folder, prefix, url, disk })
    }

    /// The table's folder, relative to the store's.
    pub(super) fn table_folder(table: &TableName) -> String {
        format!("{}/{}", table.schema, table.name)
    }

    pub(super) fn commit_path(table: &TableName, version: u64) -> Path {
        Path::from(format!("{}/_delta_log/{version:020}.json", Self::table_folder(table)))
    }

    /// The stamp of an object; `None` if it is not there or cannot be looked at.
    pub(super) async fn stamp(&self, path: &Path) -> Option<Stamp> {
        let stamp = |bytes, modified: DateTime<Utc>| Stamp { bytes, modified_micros: modified.timestamp_micros() };
        if let Some(disk) = &self.disk {
            // A look at a disk takes less than handing it to another thread.
            let metadata = std::fs::metadata(disk.join(path.as_ref())).ok()?;
            return Some(stamp(metadata.len(), metadata.modified().ok()?.into()));
        }
        let object = self.folder.head(path).await.ok()?;
        Some(stamp(object.size, object.last_modified))
    }

    /// The Delta log of `table`.
    pub(super) fn log(&self, table: &TableName) -> Result<LogStoreRef, StoreError> {
        let folder = Self::table_folder(table);
        let url = self.url.join(&format!("{folder}/")).map_err(|source| StoreError::Delta {
            table: table.to_string(),
            what: "its address is not a URL",
            source: source.into(),
        })?;
        let at = self.prefix.parts().chain(Path::from(folder).parts()).collect::<Path>();
        let table_store = Arc::new(PrefixStore::new(self.whole.clone(), at));
        Ok(default_logstore(table_store, self.whole.clone(), &url, &StorageConfig::default()))
    }
}

fn local_folder(root: &FsPath, store: &str) -> std::io::Result<PathBuf> {
    let folder = root.join(store);
    std::fs::create_dir_all(&folder)?;
    folder.canonicalize()
}
