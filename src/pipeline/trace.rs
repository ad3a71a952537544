//! Where a lot came from and where it went.

use arrow::array::RecordBatch;

use super::{Hub, PipelineError};

/// The ancestors and descendants of a lot, as `decide::trace` yields them.
#[derive(Debug, Clone)]
pub struct LotTrace {
    pub lot: String,
    pub rows: RecordBatch,
}

impl Hub {
    /// Follows `qms.lot_links` of the last cut both ways.
    pub async fn trace(&self, _lot: &str) -> Result<LotTrace, PipelineError> {
        todo!()
    }
}
