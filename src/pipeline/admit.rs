//! Admission: how the rows that a source yields now go into the table that earlier pulls made.
//!
//! A stream's contract says what happens where the two differ. What stays true: nothing is left out without a word — every row and value that is, is
//! counted and noted with its reason — and a value is taken exactly or not at all. A row that was left out is no deleted row: the table keeps the
//! image it has. It is read again with the next whole reading or sweep, and taken once the contract lets it.
//!
//! Where nothing differs a reading passes untouched.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, BooleanArray, RecordBatch, RecordBatchOptions, new_null_array};
use arrow::compute::{cast_with_options, filter_record_batch, is_not_null, not, nullif, or};
use arrow::datatypes::{DataType, Field, FieldRef, Schema, SchemaRef};
use arrow::error::ArrowError;
use futures::StreamExt;

use crate::base::{Blame, Diagnose};
use crate::connect::{ConnectError, Object, Part, Place, Reading};
use crate::project::{Policy, Stream};
use crate::store::wider_type;

use super::exact::{self, exact};
use super::omitted::Omitted;

/// The column that the store adds to a pulled table.
const PULL: &str = "_pull";

/// How the rows of one reading become rows of their table.
#[derive(Debug)]
pub(super) struct Admission {
    /// Columns of the rows that are landed.
    schema: SchemaRef,
    /// What fills each of them.
    fills: Vec<Fill>,
    /// Columns of the reading that are not landed.
    strangers: Vec<Stranger>,
    /// Columns of the table that the source does not have any more: no row is taken meanwhile.
    missing: Vec<String>,
    omitted: Omitted,
}

/// What a landed column is filled with; `usize` is the reading's column.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fill {
    /// That column as it is.
    As(usize),
    /// That column in a type that holds all of its values.
    Wider(usize),
    /// Those values that the type holds exactly.
    Exact(usize, Misfit),
    /// Those values that another column, filled with [`Fill::Exact`], could not take.
    Variant(usize),
    Null,
}

/// What becomes of a value that its column cannot hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Misfit {
    Variant,
    Value,
    Row,
}

/// A column that the table does not get.
#[derive(Debug)]
struct Stranger {
    at: usize,
    misfit: Misfit,
}

/// The source differs from its table in a way that the stream's contract does not allow.
#[derive(Debug, thiserror::Error)]
#[error("contract: {}", differences.join("; "))]
pub(super) struct ContractError {
    differences: Vec<String>,
    hint: String,
}

impl Diagnose for ContractError {
    fn blame(&self) -> Blame {
        Blame::User
    }

    fn hint(&self) -> Option<String> {
        Some(self.hint.clone())
    }
}

impl Admission {
    /// Compares what the source has now with the table's columns (`None`: there is no table yet, and everything is new).
    pub fn new(stream: &Stream, table: Option<&Schema>, reading: &SchemaRef) -> Result<Self, ContractError> {
        let mut plan = Plan::new(stream, reading);
        let none = Schema::empty();
        let table_columns = table.unwrap_or(&none);
        for was in table_columns.fields().iter().filter(|field| field.name() != PULL) {
            match reading.index_of(was.name()) {
                Ok(at) => plan.known(was, at),
                Err(_) if is_variant(was, table_columns) => plan.fill(was.as_ref().clone(), Fill::Null),
                Err(_) => plan.gone(was),
            }
        }
        for (at, now) in reading.fields().iter().enumerate() {
            if table_columns.index_of(now.name()).is_err() {
                match table {
                    Some(_) => plan.new_column(now, at),
                    None => plan.fill(now.as_ref().clone(), Fill::As(at)),
                }
            }
        }
        plan.finish()
    }

    /// The reading as the table takes it, and where it is noted what that leaves out (what the reading itself leaves out, too): complete once all
    /// parts have ended.
    pub fn apply(self, system: &str, stream: &Stream, reading: Reading) -> (Reading, Omitted) {
        let omitted = self.omitted.clone();
        omitted.also(reading.discards.clone());
        if self.changes_nothing() {
            return (reading, omitted);
        }
        let place = Arc::new(Place { system: system.into(), object: Object::Stream, name: stream.name.clone() });
        let schema = self.schema.clone();
        let admission = Arc::new(self);
        let admitted = |part: Part| {
            let (admission, place) = (Arc::clone(&admission), Arc::clone(&place));
            let admit = move |batch: Result<RecordBatch, ConnectError>| {
                admission.admit(&batch?).map_err(|source| ConnectError::Batch { place: Arc::clone(&place), source })
            };
            part.map(admit).boxed()
        };
        let parts = reading.parts.into_iter().map(admitted).collect();
        (Reading { schema, parts, ..reading }, omitted)
    }

    /// The store finds columns by name, so their order does not matter.
    fn changes_nothing(&self) -> bool {
        self.strangers.is_empty() && self.missing.is_empty() && self.fills.iter().all(|fill| matches!(fill, Fill::As(_)))
    }

    /// Rows of a batch of the reading as rows of the table.
    fn admit(&self, batch: &RecordBatch) -> Result<RecordBatch, ArrowError> {
        let (columns, losses) = self.columns(batch)?;
        let options = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
        let rows = RecordBatch::try_new_with_options(self.schema.clone(), columns, &options)?;
        let left_out = self.note(batch, &losses)?;
        if left_out.true_count() == 0 { Ok(rows) } else { filter_record_batch(&rows, &not(&left_out)?) }
    }

    /// All rows with the table's columns, and the values that those cannot take.
    fn columns(&self, batch: &RecordBatch) -> Result<(Vec<ArrayRef>, Vec<Loss>), ArrowError> {
        let mut losses = Vec::new();
        for stranger in &self.strangers {
            let rows = is_not_null(batch.column(stranger.at))?;
            losses.push(Loss {
                at: stranger.at,
                rows,
                misfit: stranger.misfit,
                reason: "the table does not have this column".into(),
            });
        }
        let mut taken = BTreeMap::new();
        for (field, fill) in self.schema.fields().iter().zip(&self.fills) {
            let Fill::Exact(at, misfit) = *fill else { continue };
            let column = batch.column(at);
            let (values, rows) = exact(column, field.data_type())?;
            if misfit != Misfit::Variant {
                let (now, was) = (exact::word(column.data_type()), exact::word(field.data_type()));
                let reason = format!("not exactly {was}; the source's type is {now} now");
                losses.push(Loss { at, rows: rows.clone(), misfit, reason });
            }
            taken.insert(at, (values, rows));
        }
        let fill = |(field, fill): (&FieldRef, &Fill)| {
            let nulls = || Ok(new_null_array(field.data_type(), batch.num_rows()));
            match fill {
                Fill::As(at) => Ok(batch.column(*at).clone()),
                Fill::Wider(at) => cast_with_options(batch.column(*at), field.data_type(), &exact::STRICT),
                Fill::Exact(at, _) => taken.get(at).map_or_else(nulls, |(values, _)| Ok(values.clone())),
                Fill::Variant(at) => taken.get(at).map_or_else(nulls, |(_, rows)| {
                    let values = nullif(batch.column(*at), &not(rows)?)?;
                    cast_with_options(&values, field.data_type(), &exact::STRICT)
                }),
                Fill::Null => nulls(),
            }
        };
        let columns = self.schema.fields().iter().zip(&self.fills).map(fill).collect::<Result<_, _>>()?;
        Ok((columns, losses))
    }

    /// Notes what is lost, rows first: the values of a row that is left out need no word of their own. Returns which rows that are.
    fn note(&self, batch: &RecordBatch, losses: &[Loss]) -> Result<BooleanArray, ArrowError> {
        let all = |value| BooleanArray::from(vec![value; batch.num_rows()]);
        let mut left_out = all(false);
        if let Some(column) = self.missing.first() {
            self.omitted.rows(batch, &all(true), column, None, "the source does not have this column any more")?;
            return Ok(all(true));
        }
        for loss in losses.iter().filter(|loss| loss.misfit == Misfit::Row) {
            let rows = arrow::compute::and(&loss.rows, &not(&left_out)?)?;
            self.omitted.rows(batch, &rows, batch.schema_ref().field(loss.at).name(), Some(loss.at), &loss.reason)?;
            left_out = or(&left_out, &rows)?;
        }
        for loss in losses.iter().filter(|loss| loss.misfit == Misfit::Value) {
            let rows = arrow::compute::and(&loss.rows, &not(&left_out)?)?;
            self.omitted.values(batch, &rows, loss.at, &loss.reason);
        }
        Ok(left_out)
    }
}

/// Values of one column of a batch that the table does not take.
struct Loss {
    at: usize,
    rows: BooleanArray,
    misfit: Misfit,
    reason: String,
}

/// An admission being made.
struct Plan<'a> {
    stream: &'a Stream,
    reading: &'a SchemaRef,
    fields: Vec<Field>,
    fills: Vec<Fill>,
    strangers: Vec<Stranger>,
    missing: Vec<String>,
    /// Variant columns that are needed.
    variants: Vec<(Field, usize)>,
    omitted: Omitted,
    refused: Vec<String>,
    /// Policies that would have let the refused differences in.
    allowing: Vec<&'static str>,
}

impl<'a> Plan<'a> {
    fn new(stream: &'a Stream, reading: &'a SchemaRef) -> Self {
        let key = stream.key.iter().filter_map(|column| reading.index_of(column).ok()).collect();
        let omitted = Omitted::new(key, reading);
        let (fields, fills, strangers, missing, variants, refused, allowing) = Default::default();
        Self { stream, reading, fields, fills, strangers, missing, variants, omitted, refused, allowing }
    }

    fn fill(&mut self, field: Field, fill: Fill) {
        self.fields.push(field);
        self.fills.push(fill);
    }

    fn refuse(&mut self, difference: String, policy: Option<&'static str>) {
        self.refused.push(difference);
        self.allowing.extend(policy.filter(|policy| !self.allowing.contains(policy)));
    }

    /// What the key or the cursor is to this column; without it rows could not be told apart or would be read for ever.
    fn role(&self, column: &str) -> Option<&'static str> {
        if self.stream.key.iter().any(|key| key == column) {
            return Some("part of the key");
        }
        self.stream.cursor.as_ref().filter(|cursor| cursor.field == column).map(|_| "the cursor")
    }

    fn known(&mut self, was: &Field, at: usize) {
        let (old, new) = (was.data_type(), self.reading.field(at).data_type());
        if old == new {
            return self.fill(was.clone(), Fill::As(at));
        }
        let role = self.role(was.name());
        let types = format!("it was {} and is now {}", exact::word(old), exact::word(new));
        let contract = self.stream.contract;
        let (policy, name, what) = match wider_type(old, new) {
            Some(wider) if wider == *old => return self.fill(was.clone(), Fill::Wider(at)),
            Some(wider) if contract.widened_types == Policy::Evolve => {
                return self.fill(was.clone().with_data_type(wider), Fill::Wider(at));
            }
            Some(_) => (contract.widened_types, "widened_types", "became wider"),
            None if role.is_some() => {
                let role = role.unwrap_or_default();
                return self.refuse(format!("column \"{}\", {role}, has another type: {types}", was.name()), None);
            }
            None => (contract.changed_types, "changed_types", "has another type"),
        };
        let misfit = match policy {
            Policy::Freeze => return self.refuse(format!("column \"{}\" {what}: {types}", was.name()), Some(name)),
            Policy::Evolve => Misfit::Variant,
            Policy::DiscardValue if role.is_none() => Misfit::Value,
            Policy::DiscardValue | Policy::DiscardRow => Misfit::Row,
        };
        // Text takes every value.
        if misfit == Misfit::Variant && *old != DataType::Utf8 {
            self.variants.push((Field::new(variant_name(was.name(), new), new.clone(), true), at));
        }
        self.fill(was.clone(), Fill::Exact(at, misfit));
    }

    fn gone(&mut self, was: &Field) {
        match self.stream.contract.gone_columns {
            Policy::Freeze => {
                let why = if self.stream.exclude.contains(was.name()) { "excluded now" } else { "gone from the source" };
                let what = format!("column \"{}\" ({}) is {why}", was.name(), exact::word(was.data_type()));
                return self.refuse(what, Some("gone_columns"));
            }
            Policy::DiscardRow => self.missing.push(was.name().clone()),
            Policy::DiscardValue => self.omitted.gone(was.name()),
            Policy::Evolve => {}
        }
        self.fill(was.clone(), Fill::Null);
    }

    fn new_column(&mut self, now: &Field, at: usize) {
        let misfit = match (self.stream.contract.new_columns, self.role(now.name())) {
            (Policy::Evolve, _) => return self.fill(now.clone(), Fill::As(at)),
            (Policy::Freeze, _) => {
                let what = format!("column \"{}\" ({}) is new", now.name(), exact::word(now.data_type()));
                return self.refuse(what, Some("new_columns"));
            }
            (_, Some(role)) => {
                let what = format!("column \"{}\", {role}, is new and cannot be left out", now.name());
                return self.refuse(what, Some("new_columns"));
            }
            (Policy::DiscardRow, None) => Misfit::Row,
            (Policy::DiscardValue, None) => Misfit::Value,
        };
        self.strangers.push(Stranger { at, misfit });
    }

    /// A variant column may be there from an earlier pull, perhaps narrower.
    fn place_variants(&mut self) {
        for (variant, from) in std::mem::take(&mut self.variants) {
            let place = self.fields.iter().position(|field| field.name() == variant.name());
            let own = self.reading.index_of(variant.name()).is_err();
            let known = place.map(|place| self.fields[place].data_type().clone());
            let Some(data_type) = known
                .map_or_else(|| Some(variant.data_type().clone()), |known| wider_type(&known, variant.data_type()))
                .filter(|_| own)
            else {
                let what = format!(
                    "column \"{}\", which would take values of \"{}\" that are not of its type any more, is there already and holds something else",
                    variant.name(),
                    self.reading.field(from).name()
                );
                self.refuse(what, None);
                continue;
            };
            let field = variant.with_data_type(data_type);
            match place {
                Some(place) => (self.fields[place], self.fills[place]) = (field, Fill::Variant(from)),
                None => self.fill(field, Fill::Variant(from)),
            }
        }
    }

    fn finish(mut self) -> Result<Admission, ContractError> {
        self.place_variants();
        if !self.refused.is_empty() {
            return Err(ContractError { hint: self.hint(), differences: self.refused });
        }
        let Self { fields, fills, strangers, missing, omitted, .. } = self;
        Ok(Admission { schema: Arc::new(Schema::new(fields)), fills, strangers, missing, omitted })
    }

    fn hint(&self) -> String {
        if self.allowing.is_empty() {
            return "restore it in the source, or delete the table's folder so that the next pull reads it anew".into();
        }
        let evolve = self.allowing.iter().map(|name| format!("{name} = \"evolve\"")).collect::<Vec<_>>().join(", ");
        format!(
            "if the table shall follow: contract = {{ {evolve} }} in stream \"{}\" of connector.toml; discard_row or discard_value keep the table as it is",
            self.stream.name
        )
    }
}

/// Where values of `column` go that have become of another type than the column.
fn variant_name(column: &str, data_type: &DataType) -> String {
    let word = exact::word(data_type);
    format!("{column}__{}", word.split('(').next().unwrap_or(&word))
}

fn is_variant(field: &Field, table: &Schema) -> bool {
    let of =
        |(column, _): (&str, &str)| table.index_of(column).is_ok() && variant_name(column, field.data_type()) == *field.name();
    field.name().rsplit_once("__").is_some_and(of)
}

#[cfg(test)]
mod tests;
