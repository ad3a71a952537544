//! Decision functions: SQL table functions over record batches, e.g. `select * from mrp('scm.demand', 'scm.supply', …)`.
//!
//! Pure: no clock, no network, no unseeded randomness; the same input gives the same output whatever the order of its rows. `model` resolves the
//! table names and hands in the rows.

mod atp;
mod columns;
mod error;
mod mrp;
mod output;
mod quantity;
mod schedule;
#[cfg(test)]
mod testing;
mod trace;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;

use crate::base::time::Instant;

pub use error::DecideError;

/// A decision function: reads whole tables, yields one.
pub trait Decision: Send + Sync {
    /// The function's name in SQL.
    fn name(&self) -> &'static str;
    /// What it decides, in one sentence, for `--help` and the docs.
    fn description(&self) -> &'static str;
    /// Changes whenever the function may yield something else for the same input; part of a model's fingerprint.
    fn version(&self) -> u32;
    /// Whether the result depends on [`Context::as_of`]: a model that calls it must declare its clock.
    fn uses_clock(&self) -> bool {
        true
    }
    /// The tables it takes, in order.
    fn inputs(&self) -> &'static [Input];
    /// The columns of its result.
    fn schema(&self) -> SchemaRef;
    /// Columns of the result that are a column of an input as it stands: (column, input, the input's column). For lineage; any other may depend on
    /// everything that the function reads.
    fn identities(&self) -> &'static [(&'static str, &'static str, &'static str)] {
        &[]
    }
    /// Decides. `tables` has one batch for each input, with the input's columns by name (more columns are ignored).
    fn decide(&self, tables: &[RecordBatch], context: &Context) -> Result<RecordBatch, DecideError>;
}

/// One table that a decision function takes: its name in the docs, and columns with their SQL types (`text`, `date`, `timestamp`, `decimal`, `bigint`).
pub struct Input {
    pub name: &'static str,
    pub columns: &'static [(&'static str, &'static str)],
}

/// What a decision may know besides its tables.
#[derive(Debug, Clone, Copy)]
pub struct Context {
    /// The run's instant, cut to the calling model's clock grain.
    pub as_of: Instant,
}

/// Every decision function.
pub fn all() -> Vec<Box<dyn Decision>> {
    vec![
        Box::new(mrp::Mrp),
        Box::new(mrp::NetRequirements),
        Box::new(atp::Atp),
        Box::new(schedule::Schedule),
        Box::new(trace::Trace),
    ]
}
