//! A store in a temporary folder, and tables as text.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{
    ArrayRef, BinaryArray, BooleanArray, Date32Array, Decimal128Array, Float64Array, Int32Array, Int64Array, RecordBatch,
    StringArray, TimestampMicrosecondArray,
};
use arrow::util::display::array_value_to_string;
use chrono::DateTime;
use futures::{StreamExt, TryStreamExt};
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt};
use parquet::arrow::ArrowWriter;
use parquet::file::properties::WriterProperties;

use crate::base::TableName;
use crate::base::time::Instant;

use super::cut::DATA;
use super::delta::Commit;
use super::file::{FileWriter, columns_with_nan, written};
use super::place::Place;
use super::types;
use super::{Batches, Control, DataFile, Landed, Landing, LandingScope, Lease, Store, StoreError, TableVersion};

/// A store with its lease taken.
pub(super) struct Bench {
    pub(super) folder: tempfile::TempDir,
    pub(super) store: Store,
    pub(super) lease: Option<Lease>,
}

impl Bench {
    pub(super) async fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let store = Self::open(&folder, "control.sqlite").await.unwrap();
        let lease = Some(store.control.lease().unwrap());
        Self { folder, store, lease }
    }

    pub(super) async fn open(folder: &tempfile::TempDir, control: &str) -> Result<Store, StoreError> {
        let place = Place::open(folder.path(), "store")?;
        let control = Control::open(&folder.path().join(control))?;
        Store::assemble(place, control, BTreeMap::from([(("erp".into(), "orders".into()), "ref".into())])).await
    }

    /// Ends this process's hold and opens the store as the next process would, with the control state in `control`.
    pub(super) async fn restart_with(&mut self, control: &str) -> Result<(), StoreError> {
        self.lease = None;
        self.store = Self::open(&self.folder, control).await?;
        self.lease = Some(self.store.control.lease()?);
        Ok(())
    }

    pub(super) async fn restart(&mut self) {
        self.restart_with("control.sqlite").await.unwrap();
    }

    pub(super) async fn table(&self, table: &str) -> TableVersion {
        self.store.latest(&name(table)).await.unwrap().unwrap()
    }

    /// The rows as `a|b|c`, sorted.
    pub(super) async fn rows(&self, table: &str) -> Vec<String> {
        let version = self.table(table).await;
        rows_of(&self.store, &version).await
    }

    pub(super) async fn land(&self, pull: i64, batch: RecordBatch, options: Options) -> Result<Landed, StoreError> {
        self.store.land(landing(pull, vec![batch], options)).await
    }

    /// What the store remembers of the table is what its log says.
    pub(super) async fn check_memory(&self) {
        let [read, remembered] = self.store.read_and_remembered(&name(TABLE)).await;
        assert_eq!(read, remembered);
    }
}

pub(super) async fn rows_of(store: &Store, version: &TableVersion) -> Vec<String> {
    let batches: Vec<RecordBatch> = store.read(version).try_collect().await.unwrap();
    let mut rows: Vec<String> = batches.iter().flat_map(lines).collect();
    rows.sort();
    rows
}

pub(super) fn lines(batch: &RecordBatch) -> Vec<String> {
    let cell = |column: &ArrayRef, row: usize| array_value_to_string(column, row).unwrap();
    (0..batch.num_rows())
        .map(|row| batch.columns().iter().map(|column| cell(column, row)).collect::<Vec<_>>().join("|"))
        .collect()
}

/// How to land; everything else is the same in all tests.
#[derive(Clone)]
pub(super) struct Options {
    pub(super) whole: bool,
    pub(super) allow_mass_delete: bool,
    pub(super) cursor: Option<String>,
    pub(super) key: Vec<String>,
}

pub(super) fn whole() -> Options {
    Options { whole: true, allow_mass_delete: false, cursor: None, key: vec!["id".into()] }
}

pub(super) fn changed(cursor: &str) -> Options {
    Options { whole: false, cursor: Some(cursor.into()), ..whole() }
}

pub(super) fn landing(pull: i64, batches: Vec<RecordBatch>, options: Options) -> Landing {
    let schema = batches[0].schema();
    Landing {
        scope: if options.whole { LandingScope::Whole } else { LandingScope::Changes },
        allow_mass_delete: options.allow_mass_delete,
        cursor: Box::new(|| options.cursor),
        ..Landing::new(name(TABLE), pull, options.key, instant(pull), schema, vec![stream(batches)])
    }
}

/// Adds rows to [`TABLE`] in a file of their own, as a pull of many rows does.
pub(super) async fn append(store: &Store, pull: i64, rows: &[(i64, &str)]) -> Result<u64, StoreError> {
    let table = name(TABLE);
    let base = store.load(&table).await?;
    let schema = base.as_ref().unwrap().version.schema.clone();
    let stem = format!("{}/p-{pull}", Place::table_folder(&table));
    let mut writer = FileWriter::new(store.object_store(), TABLE, stem, schema.clone());
    writer.write(&types::by_name(TABLE, &orders(rows), &schema)?).await?;
    let (add, txn) = (writer.finish().await?, (format!("loopline/{TABLE}"), pull));
    let properties = BTreeMap::from([(DATA.to_owned(), format!("pull {pull}"))]);
    store
        .commit(&table, Commit { base, schema, properties, add, remove: Vec::new(), changes: Vec::new(), data_change: true, txn })
        .await
}

pub(super) const TABLE: &str = "raw.erp__orders";

pub(super) fn name(text: &str) -> TableName {
    text.parse().unwrap()
}

pub(super) fn instant(second: i64) -> Instant {
    DateTime::from_timestamp(1_700_000_000 + second, 0).unwrap()
}

pub(super) fn stream(batches: Vec<RecordBatch>) -> Batches {
    futures::stream::iter(batches.into_iter().map(Ok)).boxed()
}

/// Rows of `id bigint, what text`.
pub(super) fn orders(rows: &[(i64, &str)]) -> RecordBatch {
    let ids: ArrayRef = Arc::new(Int64Array::from_iter_values(rows.iter().map(|row| row.0)));
    let what: ArrayRef = Arc::new(StringArray::from_iter_values(rows.iter().map(|row| row.1)));
    RecordBatch::try_from_iter_with_nullable([("id", ids, true), ("what", what, true)]).unwrap()
}

/// `batch` with an `int` column more.
pub(super) fn with_quantity(batch: &RecordBatch, quantities: Vec<i32>) -> RecordBatch {
    let mut columns: Vec<(String, ArrayRef, bool)> = batch
        .schema()
        .fields()
        .iter()
        .zip(batch.columns())
        .map(|(field, column)| (field.name().clone(), column.clone(), true))
        .collect();
    columns.push(("quantity".into(), Arc::new(Int32Array::from(quantities)), true));
    RecordBatch::try_from_iter_with_nullable(columns).unwrap()
}

/// Rows with a column of every type; one of seven rows is mostly null.
pub(super) fn every_type(ids: std::ops::Range<i64>, mark: i32) -> RecordBatch {
    let count = ids.clone().count();
    let some = |id: i64| (id % 7 != 3).then_some(id);
    let columns: Vec<(&str, ArrayRef)> = vec![
        ("id", Arc::new(Int64Array::from_iter_values(ids.clone()))),
        ("mark", Arc::new(Int32Array::from(vec![mark; count]))),
        ("name", Arc::new(ids.clone().map(|id| some(id).map(|id| format!("näme {id}"))).collect::<StringArray>())),
        ("share", Arc::new(ids.clone().map(|id| some(id).map(|id| id as f64 / 8.0)).collect::<Float64Array>())),
        ("open", Arc::new(ids.clone().map(|id| some(id).map(|id| id % 2 == 0)).collect::<BooleanArray>())),
        ("due", Arc::new(ids.clone().map(|id| some(id).map(|id| id as i32 - 5)).collect::<Date32Array>())),
        (
            "price",
            Arc::new(
                ids.clone()
                    .map(|id| some(id).map(i128::from))
                    .collect::<Decimal128Array>()
                    .with_precision_and_scale(18, 6)
                    .unwrap(),
            ),
        ),
        (
            "at",
            Arc::new(
                ids.clone()
                    .map(|id| some(id).map(|id| id * 1_000_001))
                    .collect::<TimestampMicrosecondArray>()
                    .with_timezone("UTC"),
            ),
        ),
        ("photo", Arc::new(BinaryArray::from_iter_values(ids.map(|id| id.to_le_bytes())))),
    ];
    RecordBatch::try_from_iter_with_nullable(columns.into_iter().map(|(name, column)| (name, column, true))).unwrap()
}

/// CPU seconds of this process.
pub(super) fn cpu_s() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap();
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap().split_whitespace().collect();
    (fields[11].parse::<f64>().unwrap() + fields[12].parse::<f64>().unwrap()) / 100.0
}

/// A file of many small row groups and pages.
pub(super) async fn file_of(store: &Arc<dyn ObjectStore>, rows: &RecordBatch, group: usize) -> DataFile {
    let properties = WriterProperties::builder()
        .set_max_row_group_row_count(Some(group))
        .set_data_page_row_count_limit(3)
        .set_write_batch_size(1)
        .build();
    let mut writer = ArrowWriter::try_new(Vec::new(), rows.schema(), Some(properties)).unwrap();
    writer.write(rows).unwrap();
    let metadata = writer.finish().unwrap();
    let bytes = std::mem::take(writer.inner_mut());
    let path = Path::from("raw/erp__orders/old.parquet");
    let file = written(&rows.schema(), &path, bytes.len(), &metadata, &columns_with_nan(rows, &[]));
    store.put(&path, bytes.into()).await.unwrap();
    file
}
