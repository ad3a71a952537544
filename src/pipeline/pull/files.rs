//! Streams of files: which files were taken, so that each is taken once.
//!
//! `raw.<system>__<stream>__files` lists them, each with the pull that took it. It is committed before the rows of that pull, and an entry counts only
//! once its pull is committed in the table of the rows; entries of a pull that never was are removed by the next one. So a file is neither
//! forgotten nor skipped, wherever a pull is killed. A file that vanishes stays listed, and its rows stay.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{Array, AsArray, Int64Array, RecordBatch, StringArray, TimestampMicrosecondArray};
use arrow::datatypes::{Int64Type, TimestampMicrosecondType};
use arrow::error::ArrowError;
use futures::{StreamExt, TryStreamExt};

use crate::base::TableName;
use crate::connect::{Extent, SourceFile};
use crate::project::PullMode;
use crate::store::{Landing, LandingScope, PullKind, StoreError};

use super::failure::Failure;
use super::stream::{Task, Way};

/// The columns that find a row by its place.
const PLACE: [&str; 2] = ["_file", "_row"];

/// Files that committed pulls took: path → file and number of the pull.
pub(super) type Taken = BTreeMap<String, (SourceFile, i64)>;

impl Task<'_> {
    /// What to read of a stream of files.
    pub async fn new_files(&self) -> Result<Way, Failure> {
        let is_whole = self.whole || self.stream.mode == PullMode::Full;
        let (kind, extent) = match is_whole {
            true => (PullKind::Full, Extent::Whole),
            false => (PullKind::Files, self.untaken().await?),
        };
        Ok(Way { kind, extent, scope: LandingScope::Changes, gone: Vec::new() })
    }

    /// The files that no pull has taken.
    pub async fn untaken(&self) -> Result<Extent, Failure> {
        let known = self.taken().await?.into_iter().map(|(path, (file, _))| (path, file)).collect();
        Ok(Extent::NewFiles(Arc::new(known)))
    }

    /// What the rows of `files` are to the table.
    pub fn files_scope(&self, files: &[SourceFile]) -> LandingScope {
        match self.stream.mode {
            PullMode::Full => LandingScope::Whole,
            PullMode::Append => LandingScope::Append,
            // By their place, rows that a changed file does not have any more are found; by another key they may stand in any file.
            PullMode::Incremental if self.stream.key == PLACE => {
                LandingScope::Files(files.iter().map(|file| file.path.clone()).collect())
            }
            PullMode::Incremental => LandingScope::Changes,
        }
    }

    /// Notes that pull number `pull` takes `files`, before it does; returns the property that makes the pull's commit different from the last one,
    /// whether or not a row is. `None`: all of them were taken before.
    pub async fn note_files(&self, files: Vec<SourceFile>, pull: i64) -> Result<Option<String>, Failure> {
        if files.is_empty() {
            return Ok(None);
        }
        let (mut taken, mut is_new) = (self.taken().await?, false);
        for file in files {
            if taken.get(&file.path).is_none_or(|(known, _)| *known != file) {
                is_new = true;
                taken.insert(file.path.clone(), (file, pull));
            }
        }
        if !is_new {
            return Ok(None);
        }
        let table = self.files_table();
        let number = self.hub.store.next_pull(&table).await?;
        let failed = |source| StoreError::Arrow { table: table.to_string(), what: "list files", source };
        let batch = batch_of(&taken).map_err(failed)?;
        let rows = futures::stream::iter([Ok(batch.clone())]).boxed();
        let landing = Landing {
            scope: LandingScope::Whole,
            allow_mass_delete: true,
            is_unique: true,
            ..Landing::new(table.clone(), number, vec![PATH.into()], self.as_of, batch.schema(), vec![rows])
        };
        self.hub.store.land(landing).await?;
        Ok(Some(format!("{{\"files\":{pull}}}")))
    }

    /// The list of the stream's files, beside the table of its rows.
    fn files_table(&self) -> TableName {
        let live = self.table();
        TableName::new(&live.schema, format!("{}__files", live.name))
    }

    async fn taken(&self) -> Result<Taken, Failure> {
        let store = &self.hub.store;
        let Some(listed) = store.latest(&self.files_table()).await? else { return Ok(Taken::new()) };
        let last = store.next_pull(&self.table()).await? - 1;
        let mut taken = Taken::new();
        let mut rows = store.read(&listed);
        let failed = |source| StoreError::Input { table: self.files_table().to_string(), source };
        while let Some(batch) = rows.try_next().await.map_err(failed)? {
            taken.extend(files_of(&batch).into_iter().flatten().filter(|(_, (_, pull))| *pull <= last));
        }
        Ok(taken)
    }
}

const PATH: &str = "path";
const SIZE: &str = "size_bytes";
const ETAG: &str = "etag";
const MODIFIED: &str = "modified";
const TAKEN_BY: &str = "taken_by_pull";

fn batch_of(taken: &Taken) -> Result<RecordBatch, ArrowError> {
    let files = || taken.values().map(|(file, _)| file);
    let size = |file: &SourceFile| i64::try_from(file.size_bytes).unwrap_or(i64::MAX);
    let columns: [(&str, Arc<dyn Array>); 5] = [
        (PATH, Arc::new(StringArray::from_iter_values(files().map(|file| &file.path)))),
        (SIZE, Arc::new(Int64Array::from_iter_values(files().map(size)))),
        (ETAG, Arc::new(files().map(|file| file.etag.as_deref()).collect::<StringArray>())),
        (MODIFIED, Arc::new(TimestampMicrosecondArray::from_iter_values(files().map(|file| file.modified)).with_timezone("UTC"))),
        (TAKEN_BY, Arc::new(Int64Array::from_iter_values(taken.values().map(|(_, pull)| *pull)))),
    ];
    RecordBatch::try_from_iter(columns)
}

/// `None`: not a list of files, as none is that this module wrote.
fn files_of(batch: &RecordBatch) -> Option<Vec<(String, (SourceFile, i64))>> {
    let column = |name: &str| batch.column_by_name(name);
    let (paths, etags) = (column(PATH)?.as_string_opt::<i32>()?, column(ETAG)?.as_string_opt::<i32>()?);
    let (sizes, pulls) = (column(SIZE)?.as_primitive_opt::<Int64Type>()?, column(TAKEN_BY)?.as_primitive_opt::<Int64Type>()?);
    let modified = column(MODIFIED)?.as_primitive_opt::<TimestampMicrosecondType>()?;
    let file = |row| {
        let file = SourceFile {
            path: paths.value(row).into(),
            size_bytes: sizes.value(row).unsigned_abs(),
            etag: etags.is_valid(row).then(|| etags.value(row).into()),
            modified: modified.value(row),
        };
        (file.path.clone(), (file, pulls.value(row)))
    };
    Some((0..batch.num_rows()).map(file).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_of_files_reads_back() {
        let file = |path: &str, etag: Option<&str>| SourceFile {
            path: path.into(),
            size_bytes: 5,
            etag: etag.map(str::to_owned),
            modified: 7,
        };
        let files = [(file("a.csv", Some("x")), 1), (file("b/c.csv", None), 2)];
        let taken: Taken = files.map(|(file, pull)| (file.path.clone(), (file, pull))).into();
        let read: Taken = files_of(&batch_of(&taken).unwrap()).unwrap().into_iter().collect();
        assert_eq!(read, taken);
    }
}
