//! Where tables lie: a local folder or a bucket. Local writes reach the disk before they return.

use std::fmt;
use std::fs::File;
use std::ops::Range;
use std::path::{Path as FsPath, PathBuf};
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use chrono::{DateTime, Utc};
use deltalake_core::logstore::{LogStoreRef, StorageConfig, default_logstore};
use futures::StreamExt;
use futures::stream::BoxStream;
use object_store::local::LocalFileSystem;
use object_store::path::Path;
use object_store::prefix::PrefixStore;
use object_store::{
    CopyOptions, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore, ObjectStoreExt,
    PutMultipartOptions, PutOptions, PutPayload, PutResult, UploadPart,
};
use url::Url;

use crate::base::TableName;
use crate::project::bucket_options;

use super::StoreError;
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
            (Arc::new(SyncedDisk { inner: LocalFileSystem::new() }), prefix, url)
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

/// The local disk, with every written file and its folder synced before a write returns: `LocalFileSystem` alone leaves both to the
/// operating system, so that a power cut could lose a commit that was already reported.
#[derive(Debug, Clone)]
struct SyncedDisk {
    inner: LocalFileSystem,
}

impl fmt::Display for SyncedDisk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "synced {}", self.inner)
    }
}

impl SyncedDisk {
    fn target(&self, location: &Path) -> object_store::Result<Target> {
        let file = self.inner.path_to_filesystem(location)?;
        // Folders that do not exist yet will be new entries of their parents, which must be synced too.
        let folders: Vec<_> = file.ancestors().skip(1).map(FsPath::to_path_buf).collect();
        let old = folders.iter().position(|folder| folder.exists()).unwrap_or(folders.len());
        Ok(Target { file, folders: folders.into_iter().take(old + 1).collect() })
    }
}

/// A file to be written, and the folders that get a new entry by it.
#[derive(Debug, Clone)]
struct Target {
    file: PathBuf,
    folders: Vec<PathBuf>,
}

impl Target {
    async fn sync(self) -> object_store::Result<()> {
        let sync = move || -> std::io::Result<()> {
            File::open(&self.file)?.sync_all()?;
            self.folders.iter().try_for_each(|folder| File::open(folder)?.sync_all())
        };
        let failed = |source: BoxError| object_store::Error::Generic { store: "synced disk", source };
        match tokio::task::spawn_blocking(sync).await {
            Ok(done) => done.map_err(|e| failed(e.into())),
            Err(e) => Err(failed(e.into())),
        }
    }
}

#[async_trait]
impl ObjectStore for SyncedDisk {
    async fn put_opts(&self, location: &Path, payload: PutPayload, options: PutOptions) -> object_store::Result<PutResult> {
        let target = self.target(location)?;
        let put = self.inner.put_opts(location, payload, options).await?;
        target.sync().await?;
        Ok(put)
    }

    async fn put_multipart_opts(
        &self,
        location: &Path,
        options: PutMultipartOptions,
    ) -> object_store::Result<Box<dyn MultipartUpload>> {
        let target = self.target(location)?;
        let inner = self.inner.put_multipart_opts(location, options).await?;
        Ok(Box::new(SyncedUpload { inner, target }))
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> object_store::Result<GetResult> {
        self.inner.get_opts(location, options).await
    }

    async fn get_ranges(&self, location: &Path, ranges: &[Range<u64>]) -> object_store::Result<Vec<Bytes>> {
        self.inner.get_ranges(location, ranges).await
    }

    fn delete_stream(
        &self,
        locations: BoxStream<'static, object_store::Result<Path>>,
    ) -> BoxStream<'static, object_store::Result<Path>> {
        self.inner.delete_stream(locations)
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, object_store::Result<ObjectMeta>> {
        self.inner.list(prefix).boxed()
    }

    fn list_with_offset(&self, prefix: Option<&Path>, offset: &Path) -> BoxStream<'static, object_store::Result<ObjectMeta>> {
        self.inner.list_with_offset(prefix, offset)
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> object_store::Result<ListResult> {
        self.inner.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> object_store::Result<()> {
        let target = self.target(to)?;
        self.inner.copy_opts(from, to, options).await?;
        target.sync().await
    }
}

#[derive(Debug)]
struct SyncedUpload {
    inner: Box<dyn MultipartUpload>,
    target: Target,
}

#[async_trait]
impl MultipartUpload for SyncedUpload {
    fn put_part(&mut self, data: PutPayload) -> UploadPart {
        self.inner.put_part(data)
    }

    async fn complete(&mut self) -> object_store::Result<PutResult> {
        let put = self.inner.complete().await?;
        self.target.clone().sync().await?;
        Ok(put)
    }

    async fn abort(&mut self) -> object_store::Result<()> {
        self.inner.abort().await
    }
}
