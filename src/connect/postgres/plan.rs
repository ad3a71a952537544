//! What of a table is read and how, settled before the first row.

use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use chrono_tz::Tz;

use super::catalog::{Column, Kind, Table};
use super::encode::{dated, encode};
use super::relation::Range;
use crate::connect::cells::{Fault, schema_of};
use crate::connect::change::quoted;
use crate::connect::declared::{check_cursor, check_names};
use crate::connect::error::Place;
use crate::connect::instant::{instant_text, local_floor, local_text};
use crate::connect::{ConnectError, CursorValue, Extent, cell_json};
use crate::project::{Policy, Stream};

/// Keys in one statement.
const KEYS_MAX: usize = 5_000;

pub(super) struct Plan {
    pub(super) place: Arc<Place>,
    pub(super) schema: SchemaRef,
    pub(super) kinds: Vec<Kind>,
    pub(super) key: Vec<String>,
    pub(super) zone: Option<Tz>,
    pub(super) values: Policy,
    /// Key columns whose values are unique here if they are in the source.
    pub(super) exact_key: Vec<String>,
    /// Quoted, ready for a statement.
    pub(super) sql_name: String,
    /// What is selected, and the server's number of each expression's type.
    selected: Vec<(String, u32)>,
    /// Of the rows from a cursor on.
    condition: Option<String>,
}

/// What one statement reads.
pub(super) enum Piece {
    Range(Range),
    /// Rows with these keys: `(a, b) in (…)`.
    Keys(String),
}

impl Plan {
    pub(super) fn new(
        place: Arc<Place>,
        table: &Table,
        stream: &Stream,
        extent: &Extent,
        zone: Option<Tz>,
    ) -> Result<Self, ConnectError> {
        check_names(&place, stream, &table.names())?;
        let mut kept = Vec::new();
        for column in table.columns.iter().filter(|column| !stream.exclude.contains(&column.name)) {
            kept.push((column, column.readable(&place, zone, stream.types.get(&column.name).copied())?));
        }
        let types: Vec<_> = kept.iter().map(|(_, kind)| kind.data_type()).collect();
        check_cursor(&place, stream, kept.iter().map(|(column, _)| column.name.as_str()).zip(&types))?;

        let cursor = stream.cursor.as_ref().and_then(|cursor| kept.iter().find(|(column, _)| column.name == cursor.field));
        let condition = cursor.zip(extent.after()).and_then(|((column, kind), after)| since(&column.name, *kind, after, zone));
        let is_exact = |column: &Column, kind: Kind| !stream.types.contains_key(&column.name) && kind != Kind::Timestamp;
        let exact_key = kept.iter().filter(|(column, kind)| stream.key.contains(&column.name) && is_exact(column, *kind));
        let exact_key = exact_key.map(|(column, _)| column.name.clone()).collect();
        if let Extent::Columns(columns) = extent {
            kept.retain(|(column, _)| columns.contains(&column.name));
        }
        let types: Vec<_> = kept.iter().map(|(_, kind)| kind.data_type()).collect();
        Ok(Self {
            place,
            schema: schema_of(kept.iter().map(|(column, _)| column.name.as_str()).zip(&types)),
            key: stream.key.clone(),
            zone,
            values: stream.contract.values,
            exact_key,
            sql_name: table.sql_name.clone(),
            selected: kept.iter().map(|(column, kind)| (column.selected(*kind), column.selected_oid(*kind))).collect(),
            kinds: kept.iter().map(|(_, kind)| *kind).collect(),
            condition,
        })
    }

    /// The server's numbers of the types that the rows must have.
    pub(super) fn oids(&self) -> impl Iterator<Item = u32> {
        self.selected.iter().map(|(_, oid)| *oid)
    }

    /// The query without what its pieces add.
    pub(super) fn select(&self) -> String {
        self.query(&self.sql_name, &[])
    }

    /// The statement that reads a piece. `copy` takes no parameters: what is spliced in was formatted or quoted here.
    pub(super) fn copy(&self, piece: &Piece) -> String {
        let query = match piece {
            Piece::Range(Range { from, pages: None }) => self.query(from, &[]),
            Piece::Range(Range { from, pages: Some((first, None)) }) => self.query(from, &[&format!("ctid >= '({first},0)'")]),
            Piece::Range(Range { from, pages: Some((first, Some(end))) }) => {
                self.query(from, &[&format!("ctid >= '({first},0)' and ctid < '({end},0)'")])
            }
            Piece::Keys(condition) => self.query(&self.sql_name, &[condition]),
        };
        format!("copy ({query}) to stdout (format binary)")
    }

    fn query(&self, from: &str, conditions: &[&str]) -> String {
        let list = self.selected.iter().map(|(expression, _)| expression.as_str()).collect::<Vec<_>>().join(", ");
        let conditions: Vec<_> = self.condition.as_deref().into_iter().chain(conditions.iter().copied()).collect();
        let condition = if conditions.is_empty() { String::new() } else { format!(" where {}", conditions.join(" and ")) };
        format!("select {list} from {from}{condition}")
    }

    /// Statements for the rows with these keys.
    pub(super) fn keys(&self, table: &Table, stream: &Stream, batches: &[RecordBatch]) -> Result<Vec<Piece>, ConnectError> {
        let of_table = |name: &String| table.column(name).map(|column| (column, stream.types.get(name).copied()));
        let columns: Vec<(&Column, Kind)> = stream
            .key
            .iter()
            .filter_map(of_table)
            .map(|(column, choice)| Ok((column, column.readable(&self.place, self.zone, choice)?)))
            .collect::<Result<_, ConnectError>>()?;
        let mut pieces = Vec::new();
        for batch in batches {
            for start in (0..batch.num_rows()).step_by(KEYS_MAX) {
                let slice = batch.slice(start, KEYS_MAX.min(batch.num_rows() - start));
                pieces.push(Piece::Keys(self.key_condition(&columns, &slice)?));
            }
        }
        Ok(pieces)
    }

    fn key_condition(&self, columns: &[(&Column, Kind)], keys: &RecordBatch) -> Result<String, ConnectError> {
        let mut arrays = Vec::with_capacity(columns.len());
        for ((column, kind), cells) in columns.iter().zip(keys.columns()) {
            let mut elements = Vec::with_capacity(keys.num_rows());
            for row in 0..keys.num_rows() {
                let value = cell_json(cells, row);
                let text = match (kind, value.as_str()) {
                    (Kind::Json, Some(text)) => Ok(text.to_owned()),
                    (Kind::Bytes, Some(hexadecimal)) => Ok(format!("\\x{hexadecimal}")),
                    _ => encode(&value, column, *kind, self.zone),
                };
                let text = text.map_err(|what| Fault::value(what).at(&self.place, &column.name, value.to_string()))?;
                elements.push(format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\"")));
            }
            let cast = if *kind == Kind::Json { "text" } else { &column.cast };
            arrays.push(format!("pg_catalog.unnest('{{{}}}'::{cast}[])", elements.join(",").replace('\'', "''")));
        }
        let names = columns.iter().map(|(column, kind)| match kind {
            Kind::Json => column.selected(*kind),
            _ => quoted(&column.name),
        });
        let names = names.collect::<Vec<_>>().join(", ");
        Ok(format!("({names}) in (select * from rows from ({}))", arrays.join(", ")))
    }

    pub(super) fn changed(&self, what: impl Into<String>) -> ConnectError {
        ConnectError::Changed { place: Arc::clone(&self.place), what: what.into() }
    }
}

/// The condition for rows at or after a cursor. Rows without a cursor value may have changed at any time. `None`: a cursor before all time.
fn since(field: &str, kind: Kind, after: CursorValue, zone: Option<Tz>) -> Option<String> {
    let first = match (after, kind) {
        (CursorValue::Integer(first), _) => format!("{first}"),
        (CursorValue::Timestamp(first), Kind::Timestamp) => {
            format!("timestamp '{}'", dated(local_text(local_floor(first, zone?)?, ' ', 6)))
        }
        (CursorValue::Timestamp(first), _) => format!("timestamptz '{}'", dated(instant_text(first)?)),
    };
    let field = quoted(field);
    Some(format!("({field} >= {first} or {field} is null)"))
}
