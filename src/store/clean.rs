//! Removes files that a killed run or pull wrote and nobody committed.
//!
//! A staged file is kept for ever once its run is published; files of superseded versions stay, because older cuts need them.

use chrono::{DateTime, TimeDelta, Utc};
use futures::StreamExt;
use object_store::ObjectStoreExt;
use object_store::path::Path;

use crate::base::{RunId, TableName};

use super::cut::published_runs;
use super::{Store, StoreError};

/// Younger files may belong to a run that is still going on.
const AGE_HOURS: i64 = 24;
/// Objects looked at in one go; the rest waits for the next start.
const OBJECTS_MAX: usize = 50_000;

/// Who wrote a data file, by its name.
enum Writer {
    Run(RunId),
    Pull(TableName, i64),
}

impl Store {
    /// Removes old leftovers; what cannot be removed now is left for the next time.
    pub(super) async fn clean(&self) {
        match self.clean_older(Utc::now() - TimeDelta::hours(AGE_HOURS)).await {
            Ok(0) => {}
            Ok(files) => tracing::info!(files, "removed files that no commit names"),
            Err(error) => tracing::warn!(%error, "cannot remove files that no commit names"),
        }
    }

    /// Returns how many files were removed.
    pub(super) async fn clean_older(&self, limit: DateTime<Utc>) -> Result<usize, StoreError> {
        let mut candidates = Vec::new();
        let mut listing = self.place.folder.list(None).take(OBJECTS_MAX);
        while let Some(object) = listing.next().await {
            let object = object.map_err(|source| StoreError::Object { what: "listing", path: "/".into(), source })?;
            if object.last_modified < limit {
                candidates.extend(writer(&object.location).map(|writer| (object.location, writer)));
            }
        }
        let published = published_runs(self).await?;
        let unfinished: Vec<RunId> = self.manifests().await?.into_iter().map(|manifest| manifest.run).collect();
        let mut removed = 0;
        for (path, writer) in candidates {
            let lost = match writer {
                Writer::Run(run) => !published.contains(&run) && !unfinished.contains(&run),
                Writer::Pull(table, pull) => self.next_pull(&table).await? <= pull,
            };
            if lost {
                self.place.folder.delete(&path).await.map_err(|source| StoreError::Object {
                    what: "removal",
                    path: path.to_string(),
                    source,
                })?;
                removed += 1;
            }
        }
        Ok(removed)
    }
}

/// Reads `schema/name/s-<run>-….parquet` and `schema/name/p-<pull>-….parquet`.
fn writer(path: &Path) -> Option<Writer> {
    let mut parts = path.as_ref().split('/');
    let (schema, name, file) = (parts.next()?, parts.next()?, parts.next()?);
    if parts.next().is_some() || !file.ends_with(".parquet") {
        return None;
    }
    let (kind, rest) = file.split_once('-')?;
    let number = rest.split_once('-')?.0.parse().ok()?;
    match kind {
        "s" => Some(Writer::Run(RunId(number))),
        "p" => Some(Writer::Pull(TableName::new(schema, name), number)),
        _ => None,
    }
}
