//! Files in a folder or a bucket, each read exactly as it was listed: a file that becomes another one while it is read is an error.
//!
//! A stream is all files that match its pattern. Rows get two columns of their own at the end: `_file`, the path below the system's address, and
//! `_row`, the number of the row in the file. Every column of CSV, JSON lines and workbooks is text unless the connector chooses a type: no guess
//! is ever wrong, and leading zeros stay.
//!
//! The columns must be known before the first row. For CSV that is the first line of each file, for Parquet its footer; JSON lines and workbooks
//! are read twice. Memory holds a few megabytes for each part, a record (at most 100 MiB), a row group of Parquet, or a workbook (at most 64 MiB).

mod csv;
mod excel;
mod jsonl;
mod parquet;
mod place;
mod rows;
mod text;

use std::path::Path;
use std::sync::Arc;

use async_trait::async_trait;
use chrono::Utc;
use chrono_tz::Tz;
use futures::{FutureExt, StreamExt, TryStreamExt};
use tokio::sync::mpsc;

use super::error::Place;
use super::task::{ended, part_of};
use super::{ConnectError, Discards, Extent, Part, Reading, SourceFile};
use crate::project::{Files, Format, PullMode, Removals, Stream, System};

use place::{Folder, Pinned, is_same};
use rows::{Columns, FileColumns, Rows, Sender};

/// A file on a disk that changed a shorter time ago may still be written. Its writer's next bytes come sooner than this.
const SETTLED_MICROS: i64 = 2_000_000;
/// Files whose columns are looked up at the same time.
const LOOKUPS_AT_ONCE: usize = 8;
/// Batches that wait for the consumer.
const BATCHES_AHEAD: usize = 2;

/// A folder or a bucket. There is no snapshot of one: each file is what it was when its stream was listed.
pub(super) struct Source {
    folder: Folder,
    system: String,
    zone: Option<Tz>,
    /// Files that are read side by side, where their order does not matter.
    parts: usize,
}

impl Source {
    pub(super) fn open(system: &System, root: &Path) -> Result<Self, ConnectError> {
        let folder = Folder::open(system, root)?;
        Ok(Self { folder, system: system.name.clone(), zone: system.time_zone, parts: system.load.connections.max(1) })
    }

    /// The files to read, oldest first.
    async fn files(
        &self,
        place: &Arc<Place>,
        stream: &Stream,
        files: &Files,
        extent: Extent,
    ) -> Result<Vec<Pinned>, ConnectError> {
        let known = match extent {
            Extent::Whole => Arc::default(),
            Extent::NewFiles(known) => known,
            Extent::Since(_) | Extent::Columns(_) | Extent::Keys(_) => return Err(self.no_extent(stream)),
        };
        let listed = self.folder.list(&stream.name, &files.pattern).await?;
        if listed.is_empty() && (known.is_empty() || stream.removals == Removals::Few) {
            let (place, pattern) = (Arc::clone(place), files.pattern.clone());
            return Err(ConnectError::NoFiles { place, pattern, taken: known.len() });
        }
        let is_new = |file: &SourceFile| !known.get(&file.path).is_some_and(|known| is_same(known, file));
        let mut taken: Vec<Pinned> = listed.iter().filter(|file| is_new(file)).map(|file| self.folder.pin(place, file)).collect();
        let now = Utc::now().timestamp_micros();
        let is_young = |file: &Pinned| self.folder.is_local && (now - file.file.modified).abs() < SETTLED_MICROS;
        if let Some(young) = taken.iter().find(|file| is_young(file)) {
            if stream.mode == PullMode::Full {
                return Err(young.changed("it may still be written")); // without it, its rows would look deleted
            }
            taken.retain(|file| !is_young(file));
        }
        Ok(taken)
    }

    fn no_extent(&self, stream: &Stream) -> ConnectError {
        ConnectError::Address {
            system: self.system.clone(),
            what: format!("stream \"{}\": files can be read by file only, not by cursor or key", stream.name),
            hint: "remove `cursor` and `sweep` from the stream in connector.toml".into(),
        }
    }
}

#[async_trait]
impl super::Source for Source {
    async fn read(&self, stream: &Stream, extent: Extent) -> Result<Reading, ConnectError> {
        let place = Place::stream(&self.system, &stream.name);
        let Some(files) = &stream.files else {
            return Err(ConnectError::Address {
                system: self.system.clone(),
                what: format!("stream \"{}\" does not say which files it is", stream.name),
                hint: "add files = { pattern = \"orders/*.csv\" } to the stream in connector.toml".into(),
            });
        };
        let taken = self.files(&place, stream, files, extent).await?;
        let shapes: Vec<Shape> = futures::stream::iter(taken.clone())
            .map(|file| async move { Shape::of(&file, stream, files).await }.boxed())
            .buffered(LOOKUPS_AT_ONCE)
            .try_collect()
            .await?;
        let mut columns = Columns::default();
        for (file, shape) in taken.iter().zip(&shapes) {
            columns.add(stream, file, &shape.columns)?;
        }
        let listed: Vec<SourceFile> = taken.iter().map(|file| file.file.clone()).collect();
        let rows_expected = shapes.iter().map(|shape| shape.rows).sum::<Option<u64>>().filter(|rows| *rows > 0);
        // Of two rows with one key the one in the newer file counts, so their order must stay.
        let by_place = stream.key == [rows::FILE, rows::ROW];
        let count = if by_place { self.parts.min(taken.len()) } else { taken.len().min(1) };
        let mut shares: Vec<Vec<(Pinned, Shape)>> = (0..count).map(|_| Vec::new()).collect();
        for (position, file) in taken.into_iter().zip(shapes).enumerate() {
            shares[position % count].push(file);
        }
        let (schema, discards) = (columns.schema(), Discards::default());
        let share_of = |share| {
            let rows = Rows::new(&place, stream, columns.clone(), self.zone, discards.clone());
            part(Job { files: files.clone(), share, zone: self.zone, rows, system: self.system.clone() })
        };
        Ok(Reading {
            schema,
            parts: shares.into_iter().map(share_of).collect(),
            safe_until: None,
            is_unique: by_place,
            rows_expected,
            files: listed,
            discards,
        })
    }
}

/// What is known of a file before its rows are read.
struct Shape {
    columns: FileColumns,
    /// Workbooks: where its columns are.
    header: excel::Header,
    /// Where the format tells.
    rows: Option<u64>,
}

impl Shape {
    async fn of(file: &Pinned, stream: &Stream, files: &Files) -> Result<Self, ConnectError> {
        let mut shape = Self { columns: Vec::new(), header: excel::Header::default(), rows: None };
        let untyped = |names: Vec<String>| names.into_iter().map(|name| (name, None)).collect();
        match files.format {
            Format::Csv => {
                let mut header = csv::Header::new(files);
                let mut bytes = file.bytes();
                loop {
                    let window = bytes.try_next().await?;
                    if let Some(names) = header.push(window.as_deref(), file)? {
                        shape.columns = untyped(names);
                        break;
                    }
                }
            }
            Format::Jsonl => {
                let mut keys = jsonl::Keys::new();
                let mut bytes = file.bytes();
                while let Some(window) = bytes.try_next().await? {
                    keys.push(Some(&window), file)?;
                }
                keys.push(None, file)?;
                shape.columns = keys.columns();
            }
            Format::Excel => {
                let (bytes, files, at) = (whole(file).await?, files.clone(), file.clone());
                let header = tokio::task::spawn_blocking(move || excel::header(bytes, &files, &at)).await;
                shape.header = header.map_err(|source| ended(&file.place.system, source))??;
                shape.columns = untyped(shape.header.names().cloned().collect());
            }
            Format::Parquet => {
                let (columns, rows) = parquet::columns(stream, file).await?;
                (shape.columns, shape.rows) = (columns, Some(rows));
            }
        }
        Ok(shape)
    }
}

async fn whole(file: &Pinned) -> Result<bytes::Bytes, ConnectError> {
    if file.file.size_bytes > excel::WORKBOOK_BYTES_MAX {
        let what = format!("the workbook has more than {} MiB", excel::WORKBOOK_BYTES_MAX >> 20);
        return Err(file.wrong(None, what, "save its sheet as CSV, which is read piece by piece"));
    }
    let windows: Vec<bytes::Bytes> = file.bytes().try_collect().await?;
    Ok(windows.concat().into())
}

/// The files of one part, and what they become.
struct Job {
    system: String,
    files: Files,
    share: Vec<(Pinned, Shape)>,
    zone: Option<Tz>,
    rows: Rows,
}

/// The batches of one part. A task of its own decodes, from the first time that a batch is asked for.
fn part(job: Job) -> Part {
    let start = async move {
        let system = job.system.clone();
        let (sender, receiver) = mpsc::channel(BATCHES_AHEAD);
        let task = tokio::spawn(async move {
            if let Err(error) = job.run(&sender).await {
                let _reader_gone = sender.send(Err(error)).await;
            }
        });
        part_of(system, receiver, task)
    };
    futures::stream::once(start).flatten().boxed()
}

impl Job {
    async fn run(self, sender: &Sender) -> Result<(), ConnectError> {
        let Self { files, share, zone, mut rows, .. } = self;
        for (file, shape) in share {
            rows.begin_file();
            let positions = rows.columns().positions(&shape.columns);
            let is_read = match files.format {
                Format::Csv => {
                    let mut decoder = csv::Decoder::new(&files, positions, shape.columns.len());
                    each_window(&file, &mut rows, sender, |bytes, rows| decoder.push(bytes, &file, rows)).await?
                }
                Format::Jsonl => {
                    let mut decoder = jsonl::Decoder::new(&rows);
                    each_window(&file, &mut rows, sender, |bytes, rows| decoder.push(bytes, &file, rows)).await?
                }
                Format::Parquet => parquet::decode(&file, &positions, zone, &mut rows, sender).await?,
                Format::Excel => {
                    let bytes = whole(&file).await?;
                    let (files, file, sender, system) = (files.clone(), file.clone(), sender.clone(), self.system.clone());
                    let decode = move || {
                        let is_read = excel::decode(bytes, &files, &shape.header, &file, &mut rows, &sender);
                        is_read.map(|is_read| (is_read, rows))
                    };
                    let (is_read, back) =
                        tokio::task::spawn_blocking(decode).await.map_err(|source| ended(&system, source))??;
                    rows = back;
                    is_read
                }
            };
            if !is_read {
                return Ok(());
            }
            file.check_unchanged().await?;
        }
        rows.finish(sender).await
    }
}

/// Feeds the file's bytes to a decoder, and the batches that come of it to the consumer; `false` if there is none any more.
async fn each_window(
    file: &Pinned,
    rows: &mut Rows,
    sender: &Sender,
    mut push: impl FnMut(Option<&[u8]>, &mut Rows) -> Result<(), ConnectError>,
) -> Result<bool, ConnectError> {
    let mut bytes = file.bytes();
    loop {
        let window = bytes.try_next().await?;
        push(window.as_deref(), rows)?;
        if !rows.send(sender).await {
            return Ok(false);
        }
        if window.is_none() {
            return Ok(true);
        }
    }
}
