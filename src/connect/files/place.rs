//! Where files lie: which of them a pattern means, and their bytes as they were when they were listed.

use std::ops::Range;
use std::path::Path as FsPath;
use std::sync::Arc;

use bytes::Bytes;
use futures::future::BoxFuture;
use futures::stream::BoxStream;
use futures::{FutureExt, StreamExt, TryStreamExt};
use globset::{GlobBuilder, GlobMatcher};
use object_store::local::LocalFileSystem;
use object_store::path::Path;
use object_store::prefix::PrefixStore;
use object_store::{GetOptions, GetRange, ObjectMeta, ObjectStore, ObjectStoreExt};
use parquet::arrow::arrow_reader::ArrowReaderOptions;
use parquet::arrow::async_reader::AsyncFileReader;
use parquet::errors::ParquetError;
use parquet::file::metadata::{ParquetMetaData, ParquetMetaDataReader};
use url::Url;

use crate::connect::error::{Cause, Place};
use crate::connect::{ConnectError, SourceFile};
use crate::project::{System, bucket_options};

/// Bytes that are fetched at once: large enough that the way to a bucket does not count, and two of them are held for each part.
const WINDOW_BYTES: u64 = 4 << 20;
/// Windows under way: one is decoded while the next one comes.
const WINDOWS_AHEAD: usize = 2;

/// The folder or bucket that a system's address names.
#[derive(Debug)]
pub(super) struct Folder {
    system: String,
    store: Arc<dyn ObjectStore>,
    /// On a disk of this machine, where a file can be seen while it is written; a bucket shows whole objects only.
    pub(super) is_local: bool,
}

impl Folder {
    pub(super) fn open(system: &System, root: &FsPath) -> Result<Self, ConnectError> {
        let name = system.name.clone();
        let unusable = |source: Cause| ConnectError::Failed { system: name.clone(), doing: "opening its address".into(), source };
        let (store, is_local): (Arc<dyn ObjectStore>, bool) = match system.url.split_once("://") {
            Some((scheme, _)) if scheme != "file" => {
                let url = Url::parse(&system.url).map_err(|error| unusable(error.into()))?;
                let (bucket, prefix) =
                    object_store::parse_url_opts(&url, bucket_options()).map_err(|error| unusable(error.into()))?;
                (Arc::new(PrefixStore::new(bucket, prefix)), false)
            }
            _ => {
                let path = system.url.strip_prefix("file:").unwrap_or(&system.url);
                let folder = root.join(path.strip_prefix("//").unwrap_or(path));
                if !folder.is_dir() {
                    return Err(ConnectError::NoFolder { system: name, folder });
                }
                (Arc::new(LocalFileSystem::new_with_prefix(folder).map_err(|error| unusable(error.into()))?), true)
            }
        };
        Ok(Self { system: system.name.clone(), store, is_local })
    }

    /// The files that `pattern` means, oldest first. Only the folder that the pattern starts with is listed; hidden files (`.x`, and `~$x`, which
    /// Excel leaves beside an open workbook) are none of them.
    pub(super) async fn list(&self, stream: &str, pattern: &str) -> Result<Vec<SourceFile>, ConnectError> {
        let failed = |error| self.failure(&format!("listing the files of stream \"{stream}\""), error);
        let Target { prefix, is_flat, glob } = Target::of(pattern).ok_or_else(|| self.no_pattern(stream, pattern))?;
        let mut listing: BoxStream<'_, object_store::Result<ObjectMeta>> = match is_flat {
            true => {
                let listed = self.store.list_with_delimiter(prefix.as_ref()).await;
                let objects = match listed {
                    // A folder that is not there yet holds no file.
                    Err(object_store::Error::NotFound { .. }) if self.is_local => Vec::new(),
                    listed => listed.map_err(failed)?.objects,
                };
                futures::stream::iter(objects.into_iter().map(Ok)).boxed()
            }
            false => self.store.list(prefix.as_ref()),
        };
        let mut files = Vec::new();
        while let Some(meta) = listing.try_next().await.map_err(failed)? {
            let name = meta.location.filename().unwrap_or_default();
            let is_hidden = name.starts_with('.') || name.starts_with("~$");
            if !is_hidden && glob.is_match(meta.location.as_ref()) {
                files.push(source_file(meta));
            }
        }
        files.sort_by(|a, b| (a.modified, &a.path).cmp(&(b.modified, &b.path)));
        Ok(files)
    }

    fn no_pattern(&self, stream: &str, pattern: &str) -> ConnectError {
        ConnectError::Address {
            system: self.system.clone(),
            what: format!("stream \"{stream}\": \"{pattern}\" is not a pattern of file names"),
            hint: "write files = { pattern = \"orders/*.csv\" } in connector.toml".into(),
        }
    }

    /// The file as it was listed.
    pub(super) fn pin(&self, place: &Arc<Place>, file: &SourceFile) -> Pinned {
        Pinned { place: Arc::clone(place), store: Arc::clone(&self.store), is_local: self.is_local, file: file.clone() }
    }

    fn failure(&self, doing: &str, error: object_store::Error) -> ConnectError {
        failure(&self.system, doing, self.is_local, error)
    }
}

/// What a pattern asks of a listing.
struct Target {
    /// The folder that the pattern names without any wildcard.
    prefix: Option<Path>,
    /// Whether all files lie in that very folder, so that those below it need not be listed.
    is_flat: bool,
    glob: GlobMatcher,
}

impl Target {
    fn of(pattern: &str) -> Option<Self> {
        let glob = GlobBuilder::new(pattern).literal_separator(true).build().ok()?.compile_matcher();
        let segments: Vec<&str> = pattern.split('/').collect();
        let is_plain = |segment: &&&str| !segment.contains(['*', '?', '[', '{', '\\']);
        let plain = segments[..segments.len() - 1].iter().take_while(is_plain).count();
        let prefix = (plain > 0).then(|| Path::parse(segments[..plain].join("/"))).transpose().ok()?;
        Some(Self { prefix, is_flat: segments.len() == plain + 1, glob })
    }
}

fn source_file(meta: ObjectMeta) -> SourceFile {
    SourceFile {
        path: meta.location.to_string(),
        size_bytes: meta.size,
        etag: meta.e_tag,
        modified: meta.last_modified.timestamp_micros(),
    }
}

/// Whether two listings of a path are one file: same size and ETag, or the same time of change where there is no ETag.
pub(super) fn is_same(a: &SourceFile, b: &SourceFile) -> bool {
    let same_content = match (&a.etag, &b.etag) {
        (Some(a), Some(b)) => a == b,
        _ => a.modified == b.modified,
    };
    a.size_bytes == b.size_bytes && same_content
}

/// A file that is read as it was listed, or not at all.
#[derive(Debug, Clone)]
pub(super) struct Pinned {
    pub(super) place: Arc<Place>,
    store: Arc<dyn ObjectStore>,
    is_local: bool,
    pub(super) file: SourceFile,
}

impl Pinned {
    /// Its bytes in order.
    pub(super) fn bytes(&self) -> BoxStream<'_, Result<Bytes, ConnectError>> {
        let size = self.file.size_bytes;
        let windows = (0..size.div_ceil(WINDOW_BYTES)).map(move |window| {
            let from = window * WINDOW_BYTES;
            from..size.min(from + WINDOW_BYTES)
        });
        futures::stream::iter(windows)
            .map(move |window| async move { self.window(window).await.map_err(|error| self.failed(error)) })
            .buffered(WINDOWS_AHEAD)
            .boxed()
    }

    async fn window(&self, range: Range<u64>) -> object_store::Result<Bytes> {
        let modified = chrono::DateTime::from_timestamp_micros(self.file.modified);
        let options = GetOptions {
            if_match: self.file.etag.clone(),
            if_unmodified_since: modified.filter(|_| self.file.etag.is_none()),
            range: Some(GetRange::Bounded(range)),
            ..GetOptions::default()
        };
        self.store.get_opts(&self.path(), options).await?.bytes().await
    }

    /// An error if the file is another one by now: not every store compares while it answers, and a file on a disk can change in between.
    pub(super) async fn check_unchanged(&self) -> Result<(), ConnectError> {
        let now = self.store.head(&self.path()).await.map_err(|error| self.failed(error))?;
        if is_same(&source_file(now), &self.file) { Ok(()) } else { Err(self.changed("it has another size or time of change")) }
    }

    fn path(&self) -> Path {
        // Paths come from a listing, which yields only valid ones.
        Path::parse(&self.file.path).unwrap_or_else(|_| Path::from(self.file.path.as_str()))
    }

    pub(super) fn changed(&self, what: &str) -> ConnectError {
        ConnectError::Changed { place: Arc::clone(&self.place), what: format!("file {}: {what}", self.file.path) }
    }

    fn failed(&self, error: object_store::Error) -> ConnectError {
        match error {
            object_store::Error::Precondition { .. } => self.changed("it is another file now"),
            object_store::Error::NotFound { .. } => self.changed("it is not there any more"),
            error => failure(&self.place.system, &format!("reading file {}", self.file.path), self.is_local, error),
        }
    }

    pub(super) fn wrong(&self, line: Option<u64>, what: impl Into<String>, hint: impl Into<String>) -> ConnectError {
        let (place, file) = (Arc::clone(&self.place), self.file.path.clone());
        ConnectError::File { place, file, line, what: what.into(), hint: hint.into() }
    }

    /// What went wrong with a Parquet file: the store's error if it was one.
    pub(super) fn parquet_failed(&self, error: ParquetError) -> ConnectError {
        match error {
            ParquetError::External(cause) => match cause.downcast::<object_store::Error>() {
                Ok(error) => self.failed(*error),
                Err(cause) => self.wrong(None, format!("it cannot be read as Parquet: {cause}"), HINT_PARQUET),
            },
            error => self.wrong(None, format!("it cannot be read as Parquet: {error}"), HINT_PARQUET),
        }
    }
}

const HINT_PARQUET: &str = "check that the file is complete and is Parquet; move it away if it is not";

impl AsyncFileReader for Pinned {
    fn get_bytes(&mut self, range: Range<u64>) -> BoxFuture<'_, Result<Bytes, ParquetError>> {
        let window = async move { self.window(range).await.map_err(|error| ParquetError::External(error.into())) };
        window.boxed()
    }

    fn get_metadata<'a>(
        &'a mut self,
        _options: Option<&'a ArrowReaderOptions>,
    ) -> BoxFuture<'a, Result<Arc<ParquetMetaData>, ParquetError>> {
        let size = self.file.size_bytes;
        async move { ParquetMetaDataReader::new().load_and_finish(self, size).await.map(Arc::new) }.boxed()
    }
}

/// What a store's answer means. Whatever a bucket's client could not settle by its own tries may pass; a disk's errors do not.
fn failure(system: &str, doing: &str, is_local: bool, error: object_store::Error) -> ConnectError {
    use object_store::Error as E;
    let (system, doing) = (system.to_owned(), doing.to_owned());
    match &error {
        E::PermissionDenied { .. } | E::Unauthenticated { .. } => ConnectError::Denied { system, doing, source: error.into() },
        E::Generic { .. } if !is_local => ConnectError::Lost { system, doing, source: error.into() },
        _ => ConnectError::Failed { system, doing, source: error.into() },
    }
}

#[cfg(test)]
impl Pinned {
    /// A file that is named in errors and never read.
    pub(super) fn for_test(path: &str) -> Self {
        let file = SourceFile { path: path.into(), size_bytes: 0, etag: None, modified: 0 };
        let place = Place::stream("drop", "orders");
        Self { place, store: Arc::new(object_store::memory::InMemory::new()), is_local: true, file }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pattern_lists_no_more_than_it_must() {
        let check = |pattern: &str, prefix: Option<&str>, is_flat: bool, hits: &[&str], misses: &[&str]| {
            let target = Target::of(pattern).unwrap();
            assert_eq!((target.prefix.as_ref().map(Path::as_ref), target.is_flat), (prefix, is_flat), "{pattern}");
            assert!(hits.iter().all(|path| target.glob.is_match(path)), "{pattern}");
            assert!(!misses.iter().any(|path| target.glob.is_match(path)), "{pattern}");
        };
        check("*.csv", None, true, &["a.csv"], &["x/a.csv", "a.csv.tmp"]);
        check("orders/2026/*.csv", Some("orders/2026"), true, &["orders/2026/a b.csv"], &["orders/2026/x/a.csv"]);
        check("orders/*/a.csv", Some("orders"), false, &["orders/x/a.csv"], &["orders/a.csv"]);
        check("lots/**/*.{csv,txt}", Some("lots"), false, &["lots/a.csv", "lots/x/y/a.txt"], &["a.csv"]);
        check("stock.xlsx", None, true, &["stock.xlsx"], &["stock.xls"]);
        assert!(Target::of("a[b.csv").is_none());
    }

    #[test]
    fn a_file_is_known_by_its_etag_or_else_by_its_time() {
        let file = |size_bytes, etag: Option<&str>, modified| SourceFile {
            path: "a".into(),
            size_bytes,
            etag: etag.map(str::to_owned),
            modified,
        };
        assert!(is_same(&file(1, Some("x"), 1), &file(1, Some("x"), 2)));
        assert!(!is_same(&file(1, Some("x"), 1), &file(1, Some("y"), 1)));
        assert!(!is_same(&file(1, Some("x"), 1), &file(2, Some("x"), 1)));
        assert!(is_same(&file(1, None, 1), &file(1, None, 1)));
        assert!(!is_same(&file(1, None, 1), &file(1, None, 2)));
    }
}
