//! Read-only SQL over one cut.

use arrow::array::RecordBatch;

use crate::project::Project;
use crate::store::{Cut, Store};

use super::ModelError;

/// Runs read-only SQL over the tables of one cut (and `raw.*` at the versions that the cut pinned).
pub struct Reader {}

impl Reader {
    pub async fn new(_project: &Project, _store: &Store, _cut: &Cut) -> Result<Self, ModelError> {
        todo!()
    }

    /// Runs one `select` (anything else is refused) and collects at most `rows_max` rows; the flag says whether more were there.
    pub async fn query(&self, _sql: &str, _rows_max: usize) -> Result<(Vec<RecordBatch>, bool), ModelError> {
        todo!()
    }
}
