//! Rows of files on their way into record batches: the columns of a reading, and each value as its column's type.

use std::borrow::Cow;
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::{DataType, SchemaRef};
use chrono_tz::Tz;
use tokio::sync::mpsc;

use super::place::Pinned;
use crate::connect::cells::{Batcher, Fault, schema_of};
use crate::connect::chosen;
use crate::connect::error::{Place, Role, nearest_name};
use crate::connect::value::Scalar;
use crate::connect::{ConnectError, Discards};
use crate::project::{ColumnType, Policy, Stream};

/// Path of the file that a row comes from.
pub(super) const FILE: &str = "_file";
/// Number of the row in its file, from 1.
pub(super) const ROW: &str = "_row";

/// One value as its file has it.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Cell<'a> {
    Null,
    Text(Cow<'a, str>),
    /// Of the column's type already.
    Scalar(Scalar<'a>),
    /// No value, and what it is instead.
    Bad(Cow<'static, str>),
    /// A time of a clock of which nobody said in which zone it hangs.
    NoZone,
}

/// The names of a file's columns from its first record; those without a name are `column_1`, `column_2`, ….
pub(super) fn columns_of(texts: impl Iterator<Item = String>, line: u64, file: &Pinned) -> Result<Vec<String>, ConnectError> {
    let mut names: Vec<String> = Vec::new();
    for text in texts {
        let name = if text.is_empty() { format!("column_{}", names.len() + 1) } else { text };
        check_name(&name, line, file)?;
        if names.contains(&name) {
            let hint = "give each column a name of its own";
            return Err(file.wrong(Some(line), format!("two columns are named \"{name}\""), hint));
        }
        names.push(name);
    }
    Ok(names)
}

pub(super) fn check_name(name: &str, line: u64, file: &Pinned) -> Result<(), ConnectError> {
    match [FILE, ROW].contains(&name) {
        true => Err(file.wrong(Some(line), format!("\"{name}\" is a name of loopline's own"), "rename the column")),
        false => Ok(()),
    }
}

/// The columns of one file: name and, where the format knows it, type; all others are text.
pub(super) type FileColumns = Vec<(String, Option<DataType>)>;

/// The columns of a reading: those of all its files in the order in which they were first seen, without the excluded ones.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Columns(Vec<Column>);

#[derive(Debug, Clone, PartialEq)]
struct Column {
    name: String,
    data_type: DataType,
    /// The stream's choice: values of the file's own type must be read as this one.
    choice: Option<ColumnType>,
}

impl Columns {
    /// Adds the columns of `file`.
    pub(super) fn add(&mut self, stream: &Stream, file: &Pinned, found: &FileColumns) -> Result<(), ConnectError> {
        self.check_gone(stream, file, found)?;
        for (name, own) in found.iter().filter(|(name, _)| !stream.exclude.contains(name)) {
            let choice = stream.types.get(name).copied();
            let data_type = choice.map(chosen::data_type).or_else(|| own.clone()).unwrap_or(DataType::Utf8);
            let Some(column) = self.0.iter_mut().find(|column| column.name == *name) else {
                self.0.push(Column { name: name.clone(), data_type, choice });
                continue;
            };
            column.data_type = match (&column.data_type, data_type) {
                (was, now) if *was == now => now,
                (DataType::Int32, DataType::Int64) | (DataType::Int64, DataType::Int32) => DataType::Int64,
                (was, now) => {
                    let what = format!("column \"{name}\" is {now} here and {was} in another file");
                    let hint = format!("choose its type in connector.toml: types = {{ {name} = \"text\" }}");
                    return Err(file.wrong(None, what, hint));
                }
            };
        }
        let lacks = |name: &&String| *name != FILE && *name != ROW && !found.iter().any(|(found, _)| found == *name);
        match stream.key.iter().find(lacks) {
            // An empty file lacks nothing that a row would need.
            Some(column) if !found.is_empty() => {
                let nearest = nearest_name(column, found.iter().map(|(name, _)| name.as_str()));
                let (place, table) = (Arc::clone(&file.place), file.file.path.clone());
                Err(ConnectError::NoColumn { place, table, column: column.clone(), role: Role::Key, nearest })
            }
            _ => Ok(()),
        }
    }

    /// A column that older files have and this one has not is gone, whether they are read by one pull or by two.
    fn check_gone(&self, stream: &Stream, file: &Pinned, found: &FileColumns) -> Result<(), ConnectError> {
        let is_gone = |column: &&Column| !found.iter().any(|(name, _)| *name == column.name);
        match self.0.iter().find(is_gone).filter(|_| stream.contract.gone_columns == Policy::Freeze && !found.is_empty()) {
            None => Ok(()),
            Some(Column { name, .. }) => {
                let hint =
                    "add the column to the file, or let it be null: contract = { gone_columns = \"evolve\" } in connector.toml";
                Err(file.wrong(None, format!("column \"{name}\", which older files have, is gone"), hint))
            }
        }
    }

    pub(super) fn schema(&self) -> SchemaRef {
        let own = [(FILE, &DataType::Utf8), (ROW, &DataType::Int64)];
        schema_of(self.0.iter().map(|column| (column.name.as_str(), &column.data_type)).chain(own))
    }

    /// For each column, its position among those of one file.
    pub(super) fn positions(&self, found: &FileColumns) -> Vec<Option<usize>> {
        self.0.iter().map(|column| found.iter().position(|(name, _)| *name == column.name)).collect()
    }

    pub(super) fn names(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(|column| column.name.as_str())
    }

    pub(super) fn is_chosen(&self, column: usize) -> bool {
        self.0[column].choice.is_some()
    }
}

/// Where the batches of one part go; closed when nobody reads them any more.
pub(super) type Sender = mpsc::Sender<Result<RecordBatch, ConnectError>>;

/// The rows of one part of a reading, file after file.
pub(super) struct Rows {
    batcher: Batcher,
    columns: Columns,
    is_key: Vec<bool>,
    zone: Option<Tz>,
    /// Rows of the current file so far.
    row: i64,
    full: Vec<RecordBatch>,
}

impl Rows {
    pub(super) fn new(place: &Arc<Place>, stream: &Stream, columns: Columns, zone: Option<Tz>, discards: Discards) -> Self {
        let batcher =
            Batcher::new(Arc::clone(place), columns.schema(), &stream.key).with_policy(stream.contract.values, discards);
        let is_key = columns.names().map(|name| stream.key.iter().any(|key| key == name)).collect();
        Self { batcher, columns, is_key, zone, row: 0, full: Vec::new() }
    }

    pub(super) fn columns(&self) -> &Columns {
        &self.columns
    }

    /// The rows that follow are those of another file.
    pub(super) fn begin_file(&mut self) {
        self.row = 0;
    }

    pub(super) fn row_number(&self) -> u64 {
        self.row.unsigned_abs()
    }

    /// Adds a row that stands at `line`; `cell` gives the value of each column of the reading.
    pub(super) fn row<'a>(
        &mut self,
        file: &Pinned,
        line: u64,
        mut cell: impl FnMut(usize) -> Cell<'a>,
    ) -> Result<(), ConnectError> {
        self.row += 1;
        let place = || format!("{}:{line}", file.file.path);
        let width = self.columns.0.len();
        for (position, column) in self.columns.0.iter().enumerate() {
            let cell = cell(position);
            let scalar = scalar(&cell, column.choice, self.zone);
            if self.is_key[position] && scalar == Ok(None) {
                let what = format!("key column \"{}\" has no value", column.name);
                return Err(file.wrong(Some(line), what, "choose key columns that always have a value, or correct the file"));
            }
            self.batcher.push(position, scalar, place)?;
        }
        self.batcher.push(width, Ok(Some(Scalar::Text(Cow::Borrowed(&file.file.path)))), place)?;
        self.batcher.push(width + 1, Ok(Some(Scalar::Integer(self.row))), place)?;
        self.full.extend(self.batcher.end_row()?);
        Ok(())
    }

    /// Hands on the full batches; `false` if nobody reads them any more.
    pub(super) async fn send(&mut self, sender: &Sender) -> bool {
        for batch in self.full.drain(..) {
            if sender.send(Ok(batch)).await.is_err() {
                return false;
            }
        }
        true
    }

    /// As [`Self::send`], on a thread that may block.
    pub(super) fn send_blocking(&mut self, sender: &Sender) -> bool {
        self.full.drain(..).all(|batch| sender.blocking_send(Ok(batch)).is_ok())
    }

    /// Hands on what is left.
    pub(super) async fn finish(mut self, sender: &Sender) -> Result<(), ConnectError> {
        self.full.extend(self.batcher.flush()?);
        self.send(sender).await;
        Ok(())
    }
}

/// Reads a cell as a value of its column's type, exactly or not at all. Nothing but blanks is null, except as text.
fn scalar<'c>(cell: &'c Cell<'_>, choice: Option<ColumnType>, zone: Option<Tz>) -> Result<Option<Scalar<'c>>, Fault> {
    match (cell, choice) {
        (Cell::Null, _) => Ok(None),
        (Cell::Text(text), None | Some(ColumnType::Text)) => Ok(Some(Scalar::Text(Cow::Borrowed(text)))),
        (Cell::Text(text), Some(_)) if text.trim().is_empty() => Ok(None),
        (Cell::Text(text), Some(choice)) => chosen::read(text, choice, zone).map(Some),
        (Cell::Scalar(scalar), _) => Ok(Some(scalar.clone())),
        (Cell::Bad(what), _) => Err(Fault::value(what.clone())),
        (Cell::NoZone, _) => Err(Fault::NoZone),
    }
}
