//! `trace`.

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;

use super::{Context, DecideError, Decision, Input};

pub struct Trace;

impl Decision for Trace {
    fn name(&self) -> &'static str {
        "trace"
    }
    fn description(&self) -> &'static str {
        todo!()
    }
    fn version(&self) -> u32 {
        1
    }
    fn inputs(&self) -> &'static [Input] {
        todo!()
    }
    fn schema(&self) -> SchemaRef {
        todo!()
    }
    fn decide(&self, _tables: &[RecordBatch], _context: &Context) -> Result<RecordBatch, DecideError> {
        todo!()
    }
}
