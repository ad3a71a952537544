//! One stream: what of it is read, and how its rows are landed.

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use futures::StreamExt;

use crate::base::TableName;
use crate::base::time::Instant;
use crate::connect::{CursorValue, Extent, Part, Reading, Source};
use crate::project::{Policy, PullMode, Stream, System};
use crate::store::{Batches, Landed, Landing, LandingScope, PullKind, StoreError, TableVersion};

use super::super::admit::Admission;
use super::super::cursor::{self, Seen};
use super::super::omitted::Omitted;
use super::super::{Hub, StreamPull};
use super::failure::Failure;
use super::meter::Meter;
use super::raw_table;
use super::system::Connection;

/// One stream to pull.
#[derive(Clone, Copy)]
pub(super) struct Task<'a> {
    pub hub: &'a Hub,
    pub system: &'a System,
    pub stream: &'a Stream,
    /// Read the whole table whatever the cursor says.
    pub whole: bool,
    /// Compare with all rows of the source, not only with those from the cursor on.
    pub sweep_due: bool,
    pub allow_mass_delete: bool,
    pub as_of: Instant,
}

/// What is read, and what its rows are to the table.
pub(super) struct Way {
    pub kind: PullKind,
    pub extent: Extent,
    pub scope: LandingScope,
    /// Keys to delete.
    pub gone: Vec<RecordBatch>,
}

/// What a pull of a stream did.
pub(super) struct Pulled {
    pub kind: PullKind,
    pub whole: bool,
    pub landed: Landed,
    /// Rows and values that the stream's contract left out.
    pub discarded: (u64, u64),
}

impl Pulled {
    /// Puts it into the stream's report.
    pub fn note(&self, report: &mut StreamPull, meter: &Meter) {
        (report.kind, report.whole) = (self.kind, self.whole);
        (report.rows_read, report.bytes_read) = (meter.rows(), meter.bytes());
        (report.discarded_rows, report.discarded_values) = self.discarded;
        (report.inserted, report.updated, report.deleted) = (self.landed.inserted, self.landed.updated, self.landed.deleted);
    }
}

impl Task<'_> {
    pub fn table(&self) -> TableName {
        raw_table(&self.system.name, &self.stream.name)
    }

    /// One try; nothing is committed unless all of it was read.
    pub async fn attempt(&self, connection: &mut Connection<'_>, meter: &Meter) -> Result<Pulled, Failure> {
        // The log is read while the system answers.
        let (opened, known) = tokio::join!(connection.open(), self.known());
        let ((source, opened_at), latest) = (opened?, known?);
        let last = self.last_cursor(latest.as_ref());
        let seen = self.seen(last, opened_at);
        let way = match last.filter(|_| !self.whole && self.stream.mode != PullMode::Full) {
            _ if self.stream.files.is_some() => self.new_files().await?,
            Some(_) if self.sweep_due => self.sweep(source, seen.as_ref(), meter).await?.unwrap_or_else(|| self.all()),
            Some(last) => self.since(last),
            None => self.all(),
        };
        self.take(source, way, seen, meter, latest.as_ref()).await
    }

    /// The table's latest version; the store knows its last pull from then on.
    async fn known(&self) -> Result<Option<TableVersion>, StoreError> {
        let (store, table) = (&self.hub.store, self.table());
        store.next_pull(&table).await?;
        store.latest(&table).await
    }

    /// Reads and lands.
    pub async fn take(
        &self,
        source: &dyn Source,
        mut way: Way,
        seen: Option<Seen>,
        meter: &Meter,
        latest: Option<&TableVersion>,
    ) -> Result<Pulled, Failure> {
        let mut reading = source.read(self.stream, way.extent.clone()).await?;
        let follows = matches!(way.kind, PullKind::Incremental | PullKind::Sweep);
        let grows = latest.is_some_and(|latest| has_new_column(&reading.schema, latest));
        if follows && grows && self.stream.contract.new_columns == Policy::Evolve {
            // Rows that were pulled before may have a value in it without looking changed.
            drop(reading);
            way = self.all();
            reading = source.read(self.stream, way.extent.clone()).await?;
        }
        let files = std::mem::take(&mut reading.files);
        if self.stream.files.is_some() {
            if files.is_empty() {
                let landed = Landed { version: latest.map_or(0, |latest| latest.version), ..Landed::default() };
                return Ok(Pulled { kind: way.kind, whole: false, landed, discarded: (0, 0) });
            }
            way.scope = self.files_scope(&files);
        }
        let (reading, omitted) = self.admit(reading, latest)?;
        let left_out = omitted.clone();
        meter.expect(reading.rows_expected);
        seen.iter().for_each(|seen| seen.bound(reading.safe_until));
        let pull = self.hub.store.next_pull(&self.table()).await?;
        let taken = self.note_files(files, pull).await?;
        let parts = reading.parts.into_iter().map(|part| metered(part, meter, seen.as_ref())).collect();
        let whole = way.scope == LandingScope::Whole;
        let landing = Landing {
            scope: way.scope,
            gone: way.gone,
            allow_mass_delete: self.allow_mass_delete,
            is_unique: reading.is_unique,
            deletion_vectors: self.stream.deletion_vectors,
            last_wins: self.stream.files.is_some(),
            cursor: Box::new(move || taken.or_else(|| seen?.property())),
            left_out: Box::new(move || left_out.close()),
            ..Landing::new(self.table(), pull, self.stream.key.clone(), self.as_of, reading.schema, parts)
        };
        let landed = self.hub.store.land(landing).await?;
        Ok(Pulled { kind: way.kind, whole, landed, discarded: omitted.counts() })
    }

    /// The reading as the stream's contract lets it into its table, and what that leaves out.
    pub fn admit(&self, reading: Reading, latest: Option<&TableVersion>) -> Result<(Reading, Omitted), Failure> {
        let admission = Admission::new(self.stream, latest.map(|latest| &*latest.schema), &reading.schema)?;
        Ok(admission.apply(&self.system.name, self.stream, reading))
    }

    /// What the cursor will be after a pull of the snapshot that was opened after `opened_at`.
    pub fn seen(&self, last: Option<CursorValue>, opened_at: Instant) -> Option<Seen> {
        self.stream.cursor.as_ref().map(|cursor| Seen::new(cursor, last, opened_at.max(self.as_of)))
    }

    /// Where the last pull ended; `None` before the first, and for a stream whose cursor became another one.
    pub fn last_cursor(&self, latest: Option<&TableVersion>) -> Option<CursorValue> {
        cursor::parse(latest?.properties.get(cursor::PROPERTY)?, self.stream.cursor.as_ref()?)
    }

    /// Every row. What a stream that only grows does not have any more was cleaned up there, not taken back.
    pub fn all(&self) -> Way {
        let (kind, scope) = match self.stream.mode {
            PullMode::Append => (PullKind::Append, LandingScope::Changes),
            PullMode::Full | PullMode::Incremental => (PullKind::Full, LandingScope::Whole),
        };
        Way { kind, extent: Extent::Whole, scope, gone: Vec::new() }
    }

    /// Rows from the cursor on.
    fn since(&self, last: CursorValue) -> Way {
        let (kind, scope) = match self.stream.mode {
            PullMode::Append => (PullKind::Append, LandingScope::Append),
            PullMode::Full | PullMode::Incremental => (PullKind::Incremental, LandingScope::Changes),
        };
        let extent = self.stream.cursor.as_ref().map_or(Extent::Whole, |cursor| Extent::Since(cursor::start(last, cursor)));
        Way { kind, extent, scope, gone: Vec::new() }
    }
}

/// A part whose batches are counted on their way into the store.
pub(super) fn metered(part: Part, meter: &Meter, seen: Option<&Seen>) -> Batches {
    let (meter, seen) = (meter.clone(), seen.cloned());
    part.map(move |batch| {
        let batch = batch.map_err(|error| Box::new(error) as Box<dyn std::error::Error + Send + Sync>)?;
        meter.count(&batch);
        seen.iter().for_each(|seen| seen.note(&batch));
        Ok(batch)
    })
    .boxed()
}

fn has_new_column(read: &SchemaRef, table: &TableVersion) -> bool {
    read.fields().iter().any(|field| table.schema.field_with_name(field.name()).is_err())
}
