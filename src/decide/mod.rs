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

use std::sync::Arc;
use std::time::Duration;

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
    /// How many of them, from the first on, a call must name.
    fn inputs_needed(&self) -> usize {
        self.inputs().len()
    }
    /// The columns of its result.
    fn schema(&self) -> SchemaRef;
    /// Columns of the result that are a column of an input as it stands: (column, input, the input's column). For lineage; any other may depend on
    /// everything that the function reads.
    fn identities(&self) -> &'static [(&'static str, &'static str, &'static str)] {
        &[]
    }
    /// Decides. `tables` has one batch for each input, with the input's columns by name (more columns are ignored); an input that was not named is a
    /// batch without columns.
    fn decide(&self, tables: &[RecordBatch], context: &Context) -> Result<RecordBatch, DecideError>;
    /// How many iterations a search took for this result: what [`Context::iterations`] must be to get the same again.
    fn iterations(&self, _result: &RecordBatch) -> Option<u64> {
        None
    }
}

/// One table that a decision function takes: its name in the docs, and columns with their SQL types (`text`, `date`, `timestamp`, `decimal`, `bigint`,
/// `boolean`). A column whose type ends in `?` may be missing, which is as if it were null.
pub struct Input {
    pub name: &'static str,
    pub columns: &'static [(&'static str, &'static str)],
}

/// What a decision may know besides its tables.
#[derive(Clone)]
pub struct Context {
    /// The run's instant, cut to the calling model's clock grain.
    pub as_of: Instant,
    /// Time since the decision began, by which a search knows that its limit is over; none: nothing is limited by time.
    pub elapsed: Option<Elapsed>,
    /// Does exactly so many iterations, whatever the budget and the time limit: repeats a decision that was recorded.
    pub iterations: Option<u64>,
}

/// A stop watch.
pub type Elapsed = Arc<dyn Fn() -> Duration + Send + Sync>;

impl Context {
    /// Decides as of an instant, without a limit in time.
    pub fn at(as_of: Instant) -> Self {
        Self { as_of, elapsed: None, iterations: None }
    }
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
