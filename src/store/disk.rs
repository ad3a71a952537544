//! The local disk as an object store: what is written lasts before the write returns.

use std::fmt;
use std::fs::File;
use std::io::{ErrorKind, Read, Seek, SeekFrom};
use std::ops::Range;
use std::path::{Path as FsPath, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use bytes::Bytes;
use futures::StreamExt;
use futures::stream::BoxStream;
use object_store::local::LocalFileSystem;
use object_store::path::Path;
use object_store::{
    CopyOptions, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore, PutMultipartOptions, PutOptions,
    PutPayload, PutResult, UploadPart,
};

use super::error::BoxError;

/// The local disk, with every written file and its folder synced before a write returns: `LocalFileSystem` alone leaves both to the
/// operating system, so that a power cut could lose a commit that was already reported.
#[derive(Debug, Clone, Default)]
pub(super) struct Disk {
    inner: LocalFileSystem,
    buffers: Arc<Buffers>,
}

impl fmt::Display for Disk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "synced {}", self.inner)
    }
}

impl Disk {
    fn target(&self, location: &Path) -> object_store::Result<Target> {
        let file = self.inner.path_to_filesystem(location)?;
        // Folders that do not exist yet will be new entries of their parents, which must be synced too.
        let folders: Vec<_> = file.ancestors().skip(1).map(FsPath::to_path_buf).collect();
        let old = folders.iter().position(|folder| folder.exists()).unwrap_or(folders.len());
        Ok(Target { file, folders: folders.into_iter().take(old + 1).collect() })
    }
}

/// Memory for what is read, used again: to get new memory from the system takes longer than to read into it.
#[derive(Debug, Default)]
struct Buffers {
    free: Mutex<Vec<Vec<u8>>>,
}

impl Buffers {
    /// Smaller ones are not worth it.
    const BYTES_MIN: usize = 64 << 10;
    /// Kept for later, all together.
    const FREE_BYTES_MAX: usize = 16 << 20;

    fn read(self: &Arc<Self>, file: &mut File, range: &Range<u64>) -> std::io::Result<Bytes> {
        let length = usize::try_from(range.end - range.start).map_err(std::io::Error::other)?;
        file.seek(SeekFrom::Start(range.start))?;
        if length < Self::BYTES_MIN {
            let mut bytes = vec![0; length];
            file.read_exact(&mut bytes)?;
            return Ok(bytes.into());
        }
        let mut lent = Lent { bytes: self.take(length), length, buffers: self.clone() };
        file.read_exact(&mut lent.bytes[..length])?;
        Ok(Bytes::from_owner(lent))
    }

    /// The smallest one of this size at least that is free, unless it is much larger.
    fn take(&self, length: usize) -> Vec<u8> {
        let mut free = self.free.lock().unwrap_or_else(PoisonError::into_inner);
        let fitting = free.iter().enumerate().filter(|(_, bytes)| bytes.len() >= length && bytes.len() / 4 <= length);
        match fitting.min_by_key(|(_, bytes)| bytes.len()).map(|(place, _)| place) {
            Some(place) => free.swap_remove(place),
            None => vec![0; length.next_power_of_two()],
        }
    }

    /// The last ones that came back are kept.
    fn give_back(&self, bytes: Vec<u8>) {
        let mut free = self.free.lock().unwrap_or_else(PoisonError::into_inner);
        free.push(bytes);
        let mut kept = 0;
        let first = free.iter().rposition(|bytes| {
            kept += bytes.len();
            kept > Self::FREE_BYTES_MAX
        });
        free.drain(..first.map_or(0, |first| first + 1));
    }
}

/// Bytes that were read into one of the buffers, which gets it back.
struct Lent {
    bytes: Vec<u8>,
    length: usize,
    buffers: Arc<Buffers>,
}

impl AsRef<[u8]> for Lent {
    fn as_ref(&self) -> &[u8] {
        &self.bytes[..self.length]
    }
}

impl Drop for Lent {
    fn drop(&mut self) {
        self.buffers.give_back(std::mem::take(&mut self.bytes));
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
        tokio::task::spawn_blocking(sync).await.map_err(failed)?.map_err(failed)
    }
}

fn failed(source: impl Into<BoxError>) -> object_store::Error {
    object_store::Error::Generic { store: "synced disk", source: source.into() }
}

#[async_trait]
impl ObjectStore for Disk {
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
        let (file, wanted, buffers) = (self.inner.path_to_filesystem(location)?, ranges.to_vec(), self.buffers.clone());
        let read = tokio::task::spawn_blocking(move || {
            let mut file = File::open(file)?;
            // What a broken file says of itself is not what memory is taken for.
            let size = file.metadata()?.len();
            if let Some(range) = wanted.iter().find(|range| range.start > range.end || range.end > size) {
                let what = format!("bytes {} to {} were asked for, it has {size}", range.start, range.end);
                return Err(std::io::Error::new(ErrorKind::UnexpectedEof, what));
            }
            wanted.iter().map(|range| buffers.read(&mut file, range)).collect::<std::io::Result<Vec<_>>>()
        });
        match read.await {
            Ok(Ok(bytes)) => Ok(bytes),
            Ok(Err(error)) if error.kind() == ErrorKind::UnexpectedEof => Err(failed(error)),
            // Says what is wrong in its terms.
            _ => self.inner.get_ranges(location, ranges).await,
        }
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

#[cfg(test)]
mod tests {
    use object_store::ObjectStoreExt;

    use super::*;

    #[tokio::test(flavor = "multi_thread")]
    async fn what_is_read_into_used_memory_is_right() {
        let folder = tempfile::tempdir().unwrap();
        let disk = Disk::default();
        let path = Path::from_absolute_path(folder.path().join("file")).unwrap();
        let whole: Vec<u8> = (0..3_000_000_u32).map(|n| (n * 7 / 5) as u8).collect();
        disk.put(&path, whole.clone().into()).await.unwrap();
        let mut held = Vec::new();
        for round in 0..40_u64 {
            let ranges = [round..round, 5..70_000 + round * 1_000, 1_000_000..2_000_000 + round * 20_000, round..round + 100];
            let bytes = disk.get_ranges(&path, &ranges).await.unwrap();
            for (range, bytes) in ranges.into_iter().zip(bytes) {
                assert!(bytes == whole[range.start as usize..range.end as usize]);
                held.push((range, bytes.slice(bytes.len() / 2..)));
            }
            held.drain(..held.len().saturating_sub(10));
        }
        for (range, rest) in &held {
            assert!(whole[..range.end as usize].ends_with(rest), "it is still the same");
        }
        drop(held);
        let free: usize = disk.buffers.free.lock().unwrap().iter().map(Vec::len).sum();
        assert!(free > 0 && free <= Buffers::FREE_BYTES_MAX, "{free}");
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn what_is_not_there_is_said_as_by_any_store() {
        let folder = tempfile::tempdir().unwrap();
        let disk = Disk::default();
        let path = |name: &str| Path::from_absolute_path(folder.path().join(name)).unwrap();
        disk.put(&path("short"), vec![1; 10].into()).await.unwrap();
        for (name, range, is_there) in
            [("none", 0..10, false), ("short", 5..200_000, true), ("short", 0..1 << 62, true), ("short", 50..60, true)]
        {
            let error = disk.get_ranges(&path(name), std::slice::from_ref(&range)).await.unwrap_err();
            assert_eq!(!matches!(error, object_store::Error::NotFound { .. }), is_there, "{error}");
        }
    }
}
