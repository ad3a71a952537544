//! The rows of a reading: held in memory while they are few, in files of the table's folder when they are many.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use arrow::array::{RecordBatch, UInt32Array};
use arrow::compute::{interleave_record_batch, take_record_batch};
use arrow::datatypes::SchemaRef;
use futures::stream::{BoxStream, StreamExt, TryStreamExt};
use object_store::{ObjectStore, ObjectStoreExt};
use parquet::file::metadata::RowGroupMetaData;
use roaring::RoaringBitmap;
use tokio::task::JoinSet;

use super::diff::{Rows, Spot, first};
use super::file::{FileWriter, Located, read_columns, read_groups, read_rows};
use super::{Batches, DataFile, StoreError};

/// Rows of a batch that is put together here.
pub(super) const STEP: usize = 8_192;

/// The files of one table, to read and to write.
#[derive(Clone)]
pub(super) struct Files {
    pub(super) store: Arc<dyn ObjectStore>,
    pub(super) table: String,
    /// Folder and start of the names of new files.
    pub(super) stem: String,
    pub(super) schema: SchemaRef,
}

impl Files {
    pub(super) fn writer(&self) -> FileWriter {
        FileWriter::new(self.store.clone(), &self.table, self.stem.clone(), self.schema.clone())
    }

    /// The columns of `schema`, with the rows' positions.
    pub(super) fn columns(&self, file: &DataFile, schema: SchemaRef) -> BoxStream<'static, Result<Located, StoreError>> {
        read_columns(self.store.clone(), self.table.clone(), file, schema)
    }

    /// The same, of those row groups that are `wanted`.
    pub(super) fn groups(
        &self,
        file: &DataFile,
        schema: SchemaRef,
        wanted: impl Fn(&RowGroupMetaData) -> bool + Send + 'static,
    ) -> BoxStream<'static, Result<Located, StoreError>> {
        read_groups(self.store.clone(), self.table.clone(), file, schema, wanted)
    }

    /// The rows at `positions` with the columns of `schema`.
    pub(super) fn rows(
        &self,
        file: &DataFile,
        schema: SchemaRef,
        positions: &RoaringBitmap,
    ) -> BoxStream<'static, Result<Located, StoreError>> {
        if positions.len() == file.rows_in_file() {
            return self.columns(file, schema); // all of them
        }
        let positions = positions.iter().map(u64::from).collect();
        read_rows(self.store.clone(), self.table.clone(), file, schema, positions)
    }

    /// Removes files that nobody will name. One that stays costs space, not truth.
    pub(super) async fn discard(&self, files: impl IntoIterator<Item = &DataFile>) {
        for file in files {
            let _ = self.store.delete(&file.path.as_str().into()).await;
        }
    }

    pub(super) fn arrow(&self, what: &'static str) -> impl Fn(arrow::error::ArrowError) -> StoreError + use<> {
        let table = self.table.clone();
        move |source| StoreError::Arrow { table: table.clone(), what, source }
    }
}

/// Does `jobs`, at most `workers` at a time, each as a task of its own so that they use all cores; results are in the order of the jobs. An error ends the others.
pub(super) async fn side_by_side<T: Send + 'static>(
    table: &str,
    workers: usize,
    jobs: impl IntoIterator<Item = impl Future<Output = Result<T, StoreError>> + Send + 'static>,
) -> Result<Vec<T>, StoreError> {
    let ended = |source| StoreError::Task { table: table.into(), source };
    let (mut tasks, mut done) = (JoinSet::new(), Vec::new());
    for (number, job) in jobs.into_iter().enumerate() {
        if tasks.len() >= workers
            && let Some(first) = tasks.join_next().await
        {
            done.push(first.map_err(ended)??);
        }
        tasks.spawn(async move { Ok::<_, StoreError>((number, job.await?)) });
    }
    while let Some(next) = tasks.join_next().await {
        done.push(next.map_err(ended)??);
    }
    done.sort_unstable_by_key(|(number, _)| *number);
    Ok(done.into_iter().map(|(_, result)| result).collect())
}

/// How many tasks decode or encode files: one for each core, and no more than memory is planned for.
pub(super) fn workers() -> usize {
    std::thread::available_parallelism().map_or(1, |cores| cores.get().min(4))
}

/// Sees every batch of a reading as it comes.
pub(super) trait Intake: Send + Sync + 'static {
    /// `batch` is what follows the first `position` rows of part `part`. Returns its rows as they are to be held: as many, with the schema of the files.
    fn take(&self, part: u32, position: u32, batch: &RecordBatch) -> Result<RecordBatch, StoreError>;
}

/// All rows of a reading.
pub(super) struct Incoming {
    files: Files,
    /// By part, in the order of its rows.
    parts: Vec<Vec<Segment>>,
    pub(super) rows: u64,
    /// Size of all rows as they were in memory.
    bytes: usize,
}

/// Neighbouring rows of a part.
struct Segment {
    start: u32,
    rows: u32,
    body: Body,
}

enum Body {
    Batch(RecordBatch),
    File(DataFile),
}

impl Incoming {
    /// Reads all parts side by side. Above `rows_bytes` in memory rows go to files that nobody sees yet.
    pub(super) async fn drain(
        files: Files,
        parts: Vec<Batches>,
        rows_bytes: usize,
        intake: Arc<dyn Intake>,
    ) -> Result<Self, StoreError> {
        let bytes = Arc::new(AtomicUsize::new(0));
        let table = files.table.clone();
        let jobs: Vec<_> = parts
            .into_iter()
            .zip(0..)
            .map(|(rows, part)| drain(files.clone(), part, rows, rows_bytes, intake.clone(), bytes.clone()))
            .collect();
        let parts = side_by_side(&table, jobs.len().max(1), jobs).await?;
        let rows = parts.iter().flatten().map(|segment| u64::from(segment.rows)).sum();
        Ok(Self { files, parts, rows, bytes: bytes.load(Ordering::Relaxed) })
    }

    /// About how much memory so many of the rows take.
    pub(super) fn bytes_of(&self, rows: u64) -> usize {
        (self.bytes as u128 * u128::from(rows) / u128::from(self.rows.max(1))) as usize
    }

    /// The files that hold the rows, if they are in files.
    pub(super) fn staged(&self) -> impl Iterator<Item = &DataFile> {
        self.parts.iter().flatten().filter_map(|segment| match &segment.body {
            Body::File(file) => Some(file),
            Body::Batch(_) => None,
        })
    }

    /// The rows if they are in memory.
    pub(super) fn held(&self) -> Option<Vec<&RecordBatch>> {
        fn held(segment: &Segment) -> Option<&RecordBatch> {
            match &segment.body {
                Body::Batch(batch) => Some(batch),
                Body::File(_) => None,
            }
        }
        self.parts.iter().flatten().map(held).collect()
    }

    pub(super) fn all(&self) -> Rows {
        Rows::of_units(self.parts.iter().map(|part| part.last().map_or(0, |last| last.start + last.rows)))
    }

    /// Segments that have one of the `wanted` rows, and which.
    fn chosen<'a>(&'a self, wanted: &'a Rows) -> impl Iterator<Item = (&'a Segment, RoaringBitmap)> {
        self.parts.iter().zip(0..).filter_map(|(part, unit)| Some((part, wanted.of(unit)?))).flat_map(|(part, wanted)| {
            part.iter().filter_map(move |segment| {
                let all = segment.start..segment.start + segment.rows;
                let chosen = match wanted.contains_range(all.clone()) {
                    true => first(segment.rows),
                    false => wanted.range(all).map(|row| row - segment.start).collect(),
                };
                (!chosen.is_empty()).then_some((segment, chosen))
            })
        })
    }

    /// The `wanted` rows, ascending.
    pub(super) fn rows<'a>(&'a self, wanted: &'a Rows) -> BoxStream<'a, Result<RecordBatch, StoreError>> {
        futures::stream::iter(self.chosen(wanted)).flat_map(|(segment, chosen)| self.of(segment, &chosen)).boxed()
    }

    fn of(&self, segment: &Segment, chosen: &RoaringBitmap) -> BoxStream<'static, Result<RecordBatch, StoreError>> {
        match &segment.body {
            Body::File(file) => self.files.rows(file, self.files.schema.clone(), chosen).map_ok(|located| located.rows).boxed(),
            Body::Batch(batch) => {
                let rows = pick(batch, chosen).map_err(self.files.arrow("pick rows"));
                futures::stream::once(async { rows }).boxed()
            }
        }
    }

    /// Makes files of the `wanted` rows: those that hold nothing else stay as they are, the rest are written anew.
    pub(super) async fn adopt(&self, wanted: &Rows) -> Result<Vec<DataFile>, StoreError> {
        let (mut adopted, mut writer) = (Vec::new(), self.files.writer());
        for (segment, chosen) in self.chosen(wanted) {
            match &segment.body {
                Body::File(file) if chosen.len() == file.rows => adopted.push(file.clone()),
                _ => {
                    let mut rows = self.of(segment, &chosen);
                    while let Some(batch) = rows.next().await {
                        writer.write(&batch?).await?;
                    }
                }
            }
        }
        adopted.extend(writer.finish().await?);
        Ok(adopted)
    }

    /// The `wanted` rows, in memory.
    pub(super) async fn pick(&self, wanted: Rows) -> Result<Picked, StoreError> {
        let batches: Vec<RecordBatch> = self.rows(&wanted).try_collect().await?;
        Ok(Picked::new(self.files.clone(), wanted, batches))
    }
}

async fn drain(
    files: Files,
    part: u32,
    mut batches: Batches,
    rows_bytes: usize,
    intake: Arc<dyn Intake>,
    bytes: Arc<AtomicUsize>,
) -> Result<Vec<Segment>, StoreError> {
    let (mut held, mut writer, mut position) = (Vec::new(), None::<FileWriter>, 0_u32);
    while let Some(batch) = batches.next().await {
        let input = |source| StoreError::Input { table: files.table.clone(), source };
        let batch = intake.take(part, position, &batch.map_err(input)?)?;
        let end = u32::try_from(batch.num_rows()).ok().and_then(|rows| position.checked_add(rows));
        let start =
            std::mem::replace(&mut position, end.ok_or_else(|| input("one part of it has over four billion rows".into()))?);
        let total = bytes.fetch_add(batch.get_array_memory_size(), Ordering::Relaxed);
        if writer.is_none() && total > rows_bytes {
            let writer = writer.insert(files.writer());
            for segment in std::mem::take(&mut held) {
                if let Segment { body: Body::Batch(batch), .. } = segment {
                    writer.write(&batch).await?;
                }
            }
        }
        match &mut writer {
            Some(writer) => writer.write(&batch).await?,
            None => held.push(Segment { start, rows: position - start, body: Body::Batch(batch) }),
        }
    }
    let Some(writer) = writer else { return Ok(held) };
    let mut start = 0;
    let segment = |file: DataFile| {
        let rows = file.rows as u32;
        let segment = Segment { start, rows, body: Body::File(file) };
        start += rows;
        segment
    };
    Ok(writer.finish().await?.into_iter().map(segment).collect())
}

fn pick(batch: &RecordBatch, rows: &RoaringBitmap) -> Result<RecordBatch, arrow::error::ArrowError> {
    if rows.len() == batch.num_rows() as u64 {
        return Ok(batch.clone());
    }
    take_record_batch(batch, &UInt32Array::from_iter_values(rows.iter()))
}

/// Some rows in memory, found by where they came from.
pub(super) struct Picked {
    files: Files,
    rows: Rows,
    pub(super) batches: Vec<RecordBatch>,
    /// Row at which each batch starts.
    starts: Vec<u64>,
}

impl Picked {
    /// `batches` hold `rows` in ascending order.
    fn new(files: Files, rows: Rows, batches: Vec<RecordBatch>) -> Self {
        let mut next = 0;
        let start = |batch: &RecordBatch| {
            next += batch.num_rows() as u64;
            next - batch.num_rows() as u64
        };
        let starts = batches.iter().map(start).collect();
        Self { files, rows, batches, starts }
    }

    /// Batch and row of each spot.
    pub(super) fn find(&self, spots: impl IntoIterator<Item = Spot>) -> Vec<(usize, usize)> {
        let found = |spot| {
            let rank = self.rows.rank(spot)?;
            let batch = self.starts.partition_point(|start| *start <= rank).checked_sub(1)?;
            Some((batch, (rank - self.starts[batch]) as usize))
        };
        spots.into_iter().filter_map(found).collect()
    }

    pub(super) fn take(&self, spots: impl IntoIterator<Item = Spot>) -> Result<RecordBatch, StoreError> {
        interleave(&self.files, &self.batches, &self.find(spots))
    }
}

/// Rows of `batches`, given by batch and row.
pub(super) fn interleave(files: &Files, batches: &[RecordBatch], rows: &[(usize, usize)]) -> Result<RecordBatch, StoreError> {
    if rows.is_empty() {
        return Ok(RecordBatch::new_empty(files.schema.clone()));
    }
    interleave_record_batch(&batches.iter().collect::<Vec<_>>(), rows).map_err(files.arrow("put rows together"))
}
