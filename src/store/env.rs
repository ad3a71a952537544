//! Environments: stores of their own in `env/<name>/` of the production's, with their own tables, cuts, control state and lease.
//!
//! What stays true: an environment reads production's tables through its own cut, which names the production run that it stands on, and can write
//! none of them: whatever it writes goes to its own folder. The versions under its last cut are kept by production's maintenance, which finds
//! them in `env/<name>/system/base.json`.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::BoxStream;
use futures::{StreamExt, TryStreamExt};
use object_store::path::{Path, PathPart};
use object_store::{
    CopyOptions, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore, ObjectStoreExt,
    PutMultipartOptions, PutOptions, PutPayload, PutResult,
};

use crate::base::{RunId, TableName, failpoint};
use crate::project::Project;

use super::cut::CONTENT;
use super::place::Place;
use super::{Cut, DataFile, Lease, STORE_ID, Staged, Store, StoreError, TableVersion, types};

/// Folder of all environments in the production's store; no schema has this name.
pub(super) const FOLDER: &str = "env";
/// First part of a path that leads to a production's file.
const PRODUCTION: &str = "@production";
/// The production runs that an environment stands on, in its folder.
const BASE: &str = "system/base.json";
/// Objects copied or removed at the same time.
const AT_ONCE: usize = 8;
/// What of a table's properties says how its rows came about; the rest is of the store that they are in.
const ORIGIN: [&str; 4] = ["loopline.fingerprint", "loopline.inputs", "loopline.checks", "loopline.iterations"];

/// The row of `system.cuts` by which an environment's cut says which production run it stands on.
pub fn base_row() -> TableName {
    TableName::new("production", "cut")
}

impl Store {
    /// Whether this is an environment's store.
    pub fn is_environment(&self) -> bool {
        self.base.is_some()
    }

    /// Production's last complete cut; `None` for production itself, and while that has published nothing.
    pub async fn base_cut(&self) -> Result<Option<Cut>, StoreError> {
        match &self.base {
            Some(base) => Box::pin(base.cut()).await,
            None => Ok(None),
        }
    }

    /// The version of `table` that `cut` names, be it the environment's own or production's; `None` if it names none.
    pub async fn version_of(&self, cut: &Cut, table: &TableName) -> Result<Option<TableVersion>, StoreError> {
        if let Some(version) = cut.tables.get(table) {
            return self.load_at(table, *version).await.map(Some);
        }
        match (&self.base, cut.base.as_ref().and_then(|base| base.tables.get(table))) {
            (Some(base), Some(version)) => {
                let mut found = base.load_at(table, *version).await?;
                found.files.iter_mut().for_each(|file| file.move_to(PRODUCTION));
                Ok(Some(found))
            }
            _ => Ok(None),
        }
    }

    /// Resolves what a cut of an environment stands on.
    pub(super) async fn over_base(&self, mut cut: Cut) -> Result<Cut, StoreError> {
        let Some(run) = cut.tables.remove(&base_row()) else { return Ok(cut) };
        let run = RunId(i64::try_from(run).unwrap_or_default());
        if let Some(base) = &self.base {
            let found = Box::pin(base.cut_of(run)).await.map_err(|error| match error {
                StoreError::CutGone { .. } | StoreError::NoCutOf { .. } => StoreError::BaseGone { run },
                other => other,
            })?;
            cut.base = Some(Box::new(found));
        }
        Ok(cut)
    }

    /// Has production keep the versions of `run`, besides those under the environment's last cut. Call it before anything is built on them, and with
    /// nothing else to keep once that is published.
    pub async fn stand_on(&self, run: RunId, last: Option<&Cut>) -> Result<(), StoreError> {
        let runs: BTreeSet<i64> =
            last.and_then(|cut| cut.base.as_ref()).map(|base| base.run.0).into_iter().chain([run.0]).collect();
        let put =
            self.place.folder.put(&Path::from(BASE), serde_json::json!({ "runs": runs }).to_string().into_bytes().into()).await;
        put.map(drop).map_err(|source| StoreError::Object { what: "writing", path: BASE.into(), source })
    }

    /// Names of all environments of this production.
    pub async fn environments(&self) -> Result<Vec<String>, StoreError> {
        self.place.environments().await
    }

    /// Names of all environments beside the one that `project` is in, whether it is there or not; opens and makes nothing.
    pub async fn environments_beside(project: &Project) -> Result<Vec<String>, StoreError> {
        match &project.environment {
            Some(environment) => Place::open(&project.root, &environment.production_store)?.environments().await,
            None => Ok(Vec::new()),
        }
    }
    /// Production runs that environments stand on.
    pub(super) async fn runs_under_environments(&self) -> Result<BTreeSet<RunId>, StoreError> {
        let mut runs = BTreeSet::new();
        for name in self.environments().await? {
            let path = Path::from(format!("{FOLDER}/{name}/{BASE}"));
            let failed = |source| StoreError::Object { what: "reading", path: path.to_string(), source };
            let bytes = match self.place.folder.get(&path).await {
                Ok(found) => found.bytes().await.map_err(failed)?,
                Err(object_store::Error::NotFound { .. }) => continue, // it has built nothing yet
                Err(source) => return Err(failed(source)),
            };
            let json: serde_json::Value =
                serde_json::from_slice(&bytes).map_err(|source| StoreError::Json { what: path.to_string(), source })?;
            runs.extend(json["runs"].as_array().into_iter().flatten().filter_map(serde_json::Value::as_i64).map(RunId));
        }
        Ok(runs)
    }

    /// Copies an environment's `version` of a table into production's folder, to be published like any staged table. Its content is the same.
    pub async fn adopt(&self, run: RunId, environment: &str, version: &TableVersion) -> Result<Staged, StoreError> {
        self.control.check_lease()?;
        let folder = Place::table_folder(&version.table);
        let copy = |from: String, to: String| async move {
            let from = Path::from(format!("{FOLDER}/{environment}/{from}"));
            let copied = self.place.folder.copy(&from, &Path::from(to)).await;
            copied.map_err(|source| StoreError::Object { what: "copying", path: from.to_string(), source })
        };
        let adopt = |file: &DataFile| {
            let (file, path) = (file.clone(), format!("{folder}/s-{run}-{}.parquet", uuid::Uuid::new_v4()));
            async move {
                copy(file.path, path.clone()).await?;
                if let Some(vector) = file.deletion_vector.as_ref().and_then(|vector| vector.path()) {
                    copy(vector.to_owned(), vector.to_owned()).await?;
                }
                Ok::<_, StoreError>(DataFile { path, ..file })
            }
        };
        failpoint::hit("promote.copy.before");
        let files = futures::stream::iter(version.files.iter().map(adopt)).buffered(AT_ONCE).try_collect().await?;
        failpoint::hit("promote.copy.after");
        let property = |name: &str| Some((name.to_owned(), version.properties.get(name)?.clone()));
        Ok(Staged {
            table: version.table.to_string(),
            schema_json: types::to_delta(&version.schema),
            files,
            rows: version.files.iter().map(|file| file.rows).sum(),
            content: version.properties.get(CONTENT).cloned().unwrap_or_default(),
            properties: ORIGIN.into_iter().filter_map(property).collect(),
            edit: None,
        })
    }

    /// Bytes of everything that the store holds.
    pub async fn size_bytes(&self) -> Result<u64, StoreError> {
        let sizes = self.place.folder.list(None).map_ok(|object| object.size);
        let total = sizes.try_fold(0, |total, size| async move { Ok(total + size) }).await;
        total.map_err(|source| StoreError::Object { what: "listing", path: "/".into(), source })
    }

    /// Removes an environment and all that is in it; what says that it is there goes last.
    pub async fn remove_environment(self, lease: Lease) -> Result<(), StoreError> {
        self.control.check_lease()?;
        if self.base.is_none() {
            return Err(StoreError::Malformed { what: "production, asked to go like an environment,".into() });
        }
        let failed = |source| StoreError::Object { what: "removal", path: "/".into(), source };
        let id = Path::from(STORE_ID);
        let objects: Vec<Path> =
            self.place.folder.list(None).map_ok(|object| object.location).try_collect().await.map_err(failed)?;
        // What lies in no table's folder is the control state, which goes when nobody holds it any more.
        let is_table = |path: &Path| *path != id && path.parts().count() > 1;
        let folder = &self.place.folder;
        let removals = objects.into_iter().filter(is_table).map(|path| async move {
            match folder.delete(&path).await {
                Ok(()) | Err(object_store::Error::NotFound { .. }) => Ok(()),
                Err(source) => Err(StoreError::Object { what: "removal", path: path.to_string(), source }),
            }
        });
        futures::stream::iter(removals).buffer_unordered(AT_ONCE).try_collect::<()>().await?;
        folder.delete(&id).await.map_err(failed)?;
        let (control, folder) = (self.control.path().to_owned(), self.place.disk.clone());
        drop(self.control);
        for extension in ["sqlite", "sqlite-wal", "sqlite-shm", "versions.json"] {
            // A bucket's environment leaves these; without its store they are started anew.
            let _ = std::fs::remove_file(control.with_extension(extension));
        }
        drop(lease);
        let _ = std::fs::remove_file(control.with_extension("lock"));
        if let Some(folder) = folder {
            let _ = std::fs::remove_dir_all(folder); // nothing but empty folders
        }
        Ok(())
    }
}

impl DataFile {
    fn move_to(&mut self, folder: &str) {
        self.path = format!("{folder}/{}", self.path);
        if let Some(vector) = &mut self.deletion_vector {
            vector.move_to(folder);
        }
    }
}

impl Place {
    async fn environments(&self) -> Result<Vec<String>, StoreError> {
        let folder = Path::from(FOLDER);
        let failed = |what| move |source| StoreError::Object { what, path: FOLDER.into(), source };
        let listed = self.folder.list_with_delimiter(Some(&folder)).await.map_err(failed("listing"))?;
        let mut names = Vec::new();
        for name in listed.common_prefixes.iter().filter_map(Path::filename) {
            match self.folder.head(&Path::from(format!("{FOLDER}/{name}/{STORE_ID}"))).await {
                Ok(_) => names.push(name.to_owned()),
                Err(object_store::Error::NotFound { .. }) => {}
                Err(source) => return Err(failed("look-up")(source)),
            }
        }
        Ok(names)
    }

    /// This place, from which files of `production` can be read, too.
    pub(super) fn over(mut self, production: &Self) -> Self {
        let folder = Arc::new(Layered { own: self.folder.clone(), production: production.folder.clone() });
        self.folder = folder;
        self
    }
}

/// An environment's folder, in which production's seems to lie under [`PRODUCTION`], to be read only.
#[derive(Debug)]
struct Layered {
    own: Arc<dyn ObjectStore>,
    production: Arc<dyn ObjectStore>,
}

impl fmt::Display for Layered {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} over {}", self.own, self.production)
    }
}

impl Layered {
    fn to_read(&self, location: &Path) -> (&Arc<dyn ObjectStore>, Path) {
        let mut parts = location.parts();
        match parts.next() {
            Some(first) if first == PathPart::from(PRODUCTION) => (&self.production, parts.collect()),
            _ => (&self.own, location.clone()),
        }
    }
}

#[async_trait]
impl ObjectStore for Layered {
    async fn put_opts(&self, location: &Path, payload: PutPayload, options: PutOptions) -> object_store::Result<PutResult> {
        self.own.put_opts(location, payload, options).await
    }

    async fn put_multipart_opts(
        &self,
        location: &Path,
        options: PutMultipartOptions,
    ) -> object_store::Result<Box<dyn MultipartUpload>> {
        self.own.put_multipart_opts(location, options).await
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> object_store::Result<GetResult> {
        let (store, location) = self.to_read(location);
        store.get_opts(&location, options).await
    }

    async fn get_ranges(&self, location: &Path, ranges: &[Range<u64>]) -> object_store::Result<Vec<Bytes>> {
        let (store, location) = self.to_read(location);
        store.get_ranges(&location, ranges).await
    }

    fn delete_stream(
        &self,
        locations: BoxStream<'static, object_store::Result<Path>>,
    ) -> BoxStream<'static, object_store::Result<Path>> {
        self.own.delete_stream(locations)
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, object_store::Result<ObjectMeta>> {
        self.own.list(prefix)
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> object_store::Result<ListResult> {
        self.own.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> object_store::Result<()> {
        self.own.copy_opts(from, to, options).await
    }
}

impl Cut {
    /// Whether the cut has `table`, be it production's.
    pub fn has(&self, table: &TableName) -> bool {
        self.tables.contains_key(table) || self.base.as_ref().is_some_and(|base| base.tables.contains_key(table))
    }

    /// What an environment without tables of its own sees of `production`.
    pub fn over(production: Self) -> Self {
        Self { run: production.run, as_of: production.as_of, tables: BTreeMap::new(), base: Some(Box::new(production)) }
    }

    /// Every table that can be read, by name.
    pub fn names(&self) -> BTreeSet<&TableName> {
        self.base.iter().flat_map(|base| base.tables.keys()).chain(self.tables.keys()).collect()
    }
}
