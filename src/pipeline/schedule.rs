//! When pipelines are due, and the loop that runs them.

use chrono_tz::Tz;

use crate::base::time::Instant;

use super::{Cancel, Hub, PipelineError, Progress};

/// The first instant after `after` at which `cron` (six fields, seconds first) fires in `zone`; `None` if it never fires again.
pub fn next_due(_cron: &str, _zone: Tz, _after: Instant) -> Result<Option<Instant>, PipelineError> {
    todo!()
}

/// Runs every pipeline that has a schedule when it is due, until cancelled. One run at a time in each store; `finished` sees every report or error.
pub async fn serve(_hub: &Hub, _progress: &dyn Progress, _cancel: &Cancel) -> Result<(), PipelineError> {
    todo!()
}
