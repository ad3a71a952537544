//! Threads that may block, and parts that one of them fills.

use arrow::array::RecordBatch;
use futures::StreamExt;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use super::error::Cause;
use super::{ConnectError, Part};

/// Runs `work` on a thread that may block.
pub(super) async fn blocking<T: Send + 'static>(
    system: &str,
    work: impl FnOnce() -> Result<T, ConnectError> + Send + 'static,
) -> Result<T, ConnectError> {
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result,
        Err(source) => Err(ended(system, source)),
    }
}

pub(super) fn ended(system: &str, source: impl Into<Cause>) -> ConnectError {
    ConnectError::Thread { system: system.into(), source: source.into() }
}

/// The batches until the task has ended; if it ended by a panic, that is the last item, so that half a table never looks like all of it.
pub(super) fn part_of(system: String, batches: mpsc::Receiver<Result<RecordBatch, ConnectError>>, task: JoinHandle<()>) -> Part {
    let next = move |(mut batches, task): (mpsc::Receiver<_>, Option<JoinHandle<()>>)| {
        let system = system.clone();
        async move {
            if let Some(batch) = batches.recv().await {
                return Some((batch, (batches, task)));
            }
            match task?.await {
                Ok(()) => None,
                Err(source) => Some((Err(ended(&system, source)), (batches, None))),
            }
        }
    };
    futures::stream::unfold((batches, Some(task)), next).boxed()
}
