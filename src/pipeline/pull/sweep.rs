//! Sweeps: keys and versions of all rows of a source against the table, which finds what a cursor does not show: rows that were deleted, rows that were
//! changed below the cursor, rows whose transaction committed late.
//!
//! Both readings of a sweep are of one snapshot, and their difference is landed in one commit: after it the table has the keys and versions of that
//! snapshot, so that the cursor may move to the highest value in it.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, PoisonError};

use arrow::array::{Array, BooleanArray, RecordBatch};
use arrow::compute::{filter_record_batch, is_null, or};
use futures::StreamExt;

use crate::connect::{Extent, Source, cell_json};
use crate::store::{Batches, Comparison, LandingScope, PullKind, StoreError};

use super::super::cursor::Seen;
use super::failure::Failure;
use super::meter::Meter;
use super::stream::{Task, Way, metered};

/// Rows without a version that are fetched one by one; of more, the whole table is read.
const UNVERSIONED_MAX: usize = 50_000;

impl Task<'_> {
    /// Compares; `None` if so much differs that the whole table is to be read.
    pub async fn sweep(&self, source: &dyn Source, seen: Option<&Seen>, meter: &Meter) -> Result<Option<Way>, Failure> {
        let columns = self.compared_columns();
        let reading = source.read(self.stream, Extent::Columns(columns.clone())).await?;
        meter.expect(reading.rows_expected);
        seen.iter().for_each(|seen| seen.bound(reading.safe_until));
        let unversioned = Unversioned::new(&self.stream.key, &columns);
        let parts = reading.parts.into_iter().map(|part| unversioned.note(metered(part, meter, seen))).collect();
        let found = self.hub.store.compare(&self.table(), &self.stream.key, reading.schema, Some(&columns), parts).await?;
        let Some(unversioned) = unversioned.take().filter(|_| !found.is_too_different) else { return Ok(None) };
        let Comparison { mut wanted_keys, gone_keys, .. } = found;
        add_keys(&mut wanted_keys, unversioned)?;
        let way = Way { kind: PullKind::Sweep, extent: Extent::Keys(wanted_keys), scope: LandingScope::Changes, gone: gone_keys };
        Ok(Some(way))
    }

    /// The key, the version, and the cursor, which is what the next pull starts from.
    fn compared_columns(&self) -> Vec<String> {
        let mut columns = self.stream.key.clone();
        for column in self.stream.version.iter().chain(self.stream.cursor.iter().map(|cursor| &cursor.field)) {
            if !columns.contains(column) {
                columns.push(column.clone());
            }
        }
        columns
    }
}

/// Adds the keys that are not there yet: a row that is asked for twice comes twice.
fn add_keys(keys: &mut Vec<RecordBatch>, more: Vec<RecordBatch>) -> Result<(), Failure> {
    let known: HashSet<String> = keys.iter().flat_map(key_texts).collect();
    for batch in more {
        keys.push(keep_keys(&batch, |key| !known.contains(key))?);
    }
    Ok(())
}

/// The batch's rows, which are keys, as text that tells them apart.
pub(super) fn key_texts(keys: &RecordBatch) -> Vec<String> {
    let key = |row| keys.columns().iter().map(|column| cell_json(column, row).to_string()).collect::<Vec<_>>().join("\n");
    (0..keys.num_rows()).map(key).collect()
}

/// Those keys for which `is_kept`.
pub(super) fn keep_keys(keys: &RecordBatch, is_kept: impl Fn(&String) -> bool) -> Result<RecordBatch, StoreError> {
    let kept: BooleanArray = key_texts(keys).iter().map(|key| Some(is_kept(key))).collect();
    let kept = filter_record_batch(keys, &kept);
    kept.map_err(|source| StoreError::Arrow { table: "of a source".into(), what: "compare keys", source })
}

/// Keys of rows that have no version: nothing tells whether they changed.
struct Unversioned {
    key: Vec<String>,
    versions: Vec<String>,
    found: Arc<Mutex<Found>>,
}

#[derive(Default)]
struct Found {
    rows: usize,
    keys: Vec<RecordBatch>,
}

impl Unversioned {
    fn new(key: &[String], columns: &[String]) -> Self {
        let versions = columns.iter().filter(|column| !key.contains(column)).cloned().collect();
        Self { key: key.to_vec(), versions, found: Arc::default() }
    }

    /// The same batches, whose rows without version are kept in mind.
    fn note(&self, part: Batches) -> Batches {
        let (key, versions, found) = (self.key.clone(), self.versions.clone(), Arc::clone(&self.found));
        part.map(move |batch| {
            let batch = batch?;
            let mut found = found.lock().unwrap_or_else(PoisonError::into_inner);
            if found.rows <= UNVERSIONED_MAX
                && let Some(keys) = without_version(&batch, &key, &versions)?
            {
                found.rows += keys.num_rows();
                found.keys.push(keys);
            }
            Ok(batch)
        })
        .boxed()
    }

    /// `None` if there are too many.
    fn take(self) -> Option<Vec<RecordBatch>> {
        let mut found = self.found.lock().unwrap_or_else(PoisonError::into_inner);
        (found.rows <= UNVERSIONED_MAX).then(|| std::mem::take(&mut found.keys))
    }
}

/// The keys of the batch's rows in which any of `versions` is null; `None` if there are none.
fn without_version(
    batch: &RecordBatch,
    key: &[String],
    versions: &[String],
) -> Result<Option<RecordBatch>, arrow::error::ArrowError> {
    let columns = versions.iter().filter_map(|name| batch.column_by_name(name)).filter(|column| column.null_count() > 0);
    let mut unversioned: Option<BooleanArray> = None;
    for column in columns {
        let nulls = is_null(column)?;
        unversioned = Some(match unversioned {
            Some(before) => or(&before, &nulls)?,
            None => nulls,
        });
    }
    let Some(unversioned) = unversioned else { return Ok(None) };
    let schema = batch.schema();
    let key = key.iter().map(|name| schema.index_of(name)).collect::<Result<Vec<_>, _>>()?;
    filter_record_batch(&batch.project(&key)?, &unversioned).map(Some)
}

#[cfg(test)]
mod tests {
    use arrow::array::{ArrayRef, AsArray, Int64Array, StringArray};
    use arrow::datatypes::Int64Type;

    use super::*;

    #[test]
    fn no_key_is_asked_for_twice() {
        let keys = |ids: Vec<i64>| RecordBatch::try_from_iter([("id", Arc::new(Int64Array::from(ids)) as ArrayRef)]).unwrap();
        let mut wanted = vec![keys(vec![1, 2])];
        add_keys(&mut wanted, vec![keys(vec![2, 3]), keys(vec![1])]).unwrap();
        assert_eq!(wanted.iter().flat_map(key_texts).collect::<Vec<_>>(), ["1", "2", "3"]);
    }

    #[test]
    fn rows_without_a_version_are_always_fetched() {
        let columns: [(&str, ArrayRef); 3] = [
            ("id", Arc::new(Int64Array::from(vec![1, 2, 3, 4]))),
            ("upd", Arc::new(StringArray::from(vec![Some("a"), None, Some("c"), None]))),
            ("ver", Arc::new(Int64Array::from(vec![Some(1), Some(2), None, None]))),
        ];
        let batch = RecordBatch::try_from_iter(columns).unwrap();
        let keys = |versions: &[&str]| {
            let versions: Vec<String> = versions.iter().map(|name| (*name).to_owned()).collect();
            let keys = without_version(&batch, &["id".into()], &versions).unwrap();
            keys.map(|keys| keys.column(0).as_primitive::<Int64Type>().values().to_vec())
        };
        assert_eq!(keys(&["upd"]), Some(vec![2, 4]));
        assert_eq!(keys(&["upd", "ver"]), Some(vec![2, 3, 4]));
        assert_eq!(keys(&["id"]), None);
    }
}
