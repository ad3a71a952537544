//! What a stream's contract leaves out of one reading.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use arrow::array::{ArrayRef, BooleanArray, RecordBatch, StringArray};
use arrow::compute::filter_record_batch;
use arrow::datatypes::{Schema, SchemaRef};
use arrow::error::ArrowError;
use arrow::json::ReaderBuilder;
use serde_json::{Map, Value};

use crate::connect::{Discard, Discards, cell_json};
use crate::store::LeftOut;

/// Entries for `…__discarded` from one reading: enough to see what is wrong, and little enough to keep. All are counted.
const ENTRIES_MAX: usize = 10_000;
/// Of these, single values: a column that is left out altogether has one in every row.
const VALUES_MAX: usize = 1_000;
const ENTRIES_BYTES_MAX: usize = 16 << 20;
/// Keys of rows that were left out; with more of them nothing counts as gone.
const KEYS_MAX: usize = 1_000_000;
/// As much of a value as is fit to show.
const VALUE_CHARS_MAX: usize = 200;

/// Where it is noted what is left out; clones share it.
#[derive(Debug, Clone)]
pub(super) struct Omitted {
    /// Positions of the key's columns in a reading.
    key: Vec<usize>,
    key_schema: Arc<Schema>,
    noted: Arc<Mutex<Noted>>,
}

#[derive(Debug, Default)]
struct Noted {
    entries: Vec<Discard>,
    entries_bytes: usize,
    value_entries: usize,
    rows: u64,
    values: u64,
    keys: Vec<RecordBatch>,
    key_rows: usize,
    /// What the reading itself left out.
    of_reading: Discards,
}

impl Omitted {
    /// `key`: positions of the key's columns in a reading of `schema`.
    pub fn new(key: Vec<usize>, schema: &SchemaRef) -> Self {
        let key_schema = Schema::new(key.iter().map(|at| schema.field(*at).clone()).collect::<Vec<_>>());
        Self { key, key_schema: Arc::new(key_schema), noted: Arc::default() }
    }

    fn noted(&self) -> MutexGuard<'_, Noted> {
        self.noted.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes over what the reading itself leaves out, at the end.
    pub fn also(&self, discards: Discards) {
        self.noted().of_reading = discards;
    }

    /// A column of the table that has no values any more.
    pub fn gone(&self, column: &str) {
        let reason = "the source does not have this column any more: its values are null from now on".to_owned();
        self.noted().keep(Discard { key: String::new(), column: column.into(), reason, value: String::new(), row: None });
    }

    /// Notes rows of a batch of the reading. `at`: the column whose value is at fault, if there is one.
    pub fn rows(
        &self,
        batch: &RecordBatch,
        rows: &BooleanArray,
        column: &str,
        at: Option<usize>,
        reason: &str,
    ) -> Result<(), ArrowError> {
        let count = rows.true_count();
        if count == 0 {
            return Ok(());
        }
        let mut noted = self.noted();
        noted.rows += count as u64;
        noted.key_rows += count;
        if noted.key_rows <= KEYS_MAX {
            noted.keys.push(filter_record_batch(&batch.project(&self.key)?, rows)?);
        }
        for row in rows.values().set_indices() {
            if !noted.has_room() {
                break;
            }
            let value = at.map(|at| shown(batch.column(at), row)).unwrap_or_default();
            let (key, image) = (self.describe(batch, row), Some(image(batch, row)));
            noted.keep(Discard { key, column: column.into(), reason: reason.into(), value, row: image });
        }
        Ok(())
    }

    /// Notes single values of a batch of the reading.
    pub fn values(&self, batch: &RecordBatch, rows: &BooleanArray, at: usize, reason: &str) {
        let mut noted = self.noted();
        noted.values += rows.true_count() as u64;
        for row in rows.values().set_indices().take(VALUES_MAX.saturating_sub(noted.value_entries)) {
            let (key, column) = (self.describe(batch, row), batch.schema_ref().field(at).name().clone());
            noted.value_entries += 1;
            noted.keep(Discard { key, column, reason: reason.into(), value: shown(batch.column(at), row), row: None });
        }
    }

    /// `id=5, line=2`.
    fn describe(&self, batch: &RecordBatch, row: usize) -> String {
        let part = |at: &usize| format!("{}={}", batch.schema_ref().field(*at).name(), cell_json(batch.column(*at), row));
        self.key.iter().map(part).collect::<Vec<_>>().join(", ")
    }

    /// Rows and values that were left out so far.
    pub fn counts(&self) -> (u64, u64) {
        let noted = self.noted();
        (noted.rows, noted.values)
    }

    /// What the landing must know of it; called when all parts of the reading have ended.
    pub fn close(&self) -> LeftOut {
        let mut noted = self.noted();
        let of_reading = noted.of_reading.take();
        let images: Vec<&str> = of_reading.iter().filter_map(|discard| discard.row.as_deref()).collect();
        noted.rows += images.len() as u64;
        noted.values += (of_reading.len() - images.len()) as u64;
        let of_images = self.keys_of(&images);
        let mut keys = std::mem::take(&mut noted.keys);
        let are_complete = noted.key_rows <= KEYS_MAX;
        let keys = of_images.filter(|_| are_complete).map(|of_images| {
            keys.extend(of_images);
            keys
        });
        of_reading.into_iter().for_each(|discard| noted.keep(discard));
        let entries = std::mem::take(&mut noted.entries);
        LeftOut { entries: (!entries.is_empty()).then(|| table(&entries)).and_then(Result::ok), keys }
    }

    /// The keys in images of rows; `None` if one cannot be read.
    fn keys_of(&self, images: &[&str]) -> Option<Vec<RecordBatch>> {
        if images.is_empty() {
            return Some(Vec::new());
        }
        let mut decoder = ReaderBuilder::new(Arc::clone(&self.key_schema)).with_batch_size(images.len()).build_decoder().ok()?;
        for image in images {
            let read = decoder.decode(image.as_bytes()).ok()?;
            if read < image.len() {
                return None;
            }
        }
        Some(decoder.flush().ok()?.into_iter().collect())
    }
}

impl Noted {
    fn has_room(&self) -> bool {
        self.entries.len() < ENTRIES_MAX && self.entries_bytes < ENTRIES_BYTES_MAX
    }

    fn keep(&mut self, discard: Discard) {
        if self.has_room() {
            let texts = [&discard.key, &discard.column, &discard.reason, &discard.value];
            self.entries_bytes += texts.map(String::len).iter().sum::<usize>() + discard.row.as_ref().map_or(0, String::len);
            self.entries.push(discard);
        }
    }
}

/// A value as text.
fn shown(column: &ArrayRef, row: usize) -> String {
    let text = match cell_json(column, row) {
        Value::String(text) => text,
        other => other.to_string(),
    };
    match text.char_indices().nth(VALUE_CHARS_MAX) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text,
    }
}

/// The whole row as a JSON object.
fn image(batch: &RecordBatch, row: usize) -> String {
    let cell = |(field, column): (&Arc<arrow::datatypes::Field>, &ArrayRef)| (field.name().clone(), cell_json(column, row));
    let cells: Map<String, Value> = batch.schema_ref().fields().iter().zip(batch.columns()).map(cell).collect();
    Value::Object(cells).to_string()
}

/// The columns of `…__discarded` that the store does not add itself.
fn table(entries: &[Discard]) -> Result<RecordBatch, ArrowError> {
    let texts = |of: fn(&Discard) -> Option<&str>| Arc::new(entries.iter().map(of).collect::<StringArray>()) as ArrayRef;
    RecordBatch::try_from_iter_with_nullable([
        ("key", texts(|entry| Some(&entry.key)), true),
        ("column", texts(|entry| Some(&entry.column)), true),
        ("reason", texts(|entry| Some(&entry.reason)), true),
        ("value", texts(|entry| Some(&entry.value)), true),
        ("row", texts(|entry| entry.row.as_deref()), true),
    ])
}
