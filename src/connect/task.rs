//! Parts that a task or thread of its own fills.

use futures::StreamExt;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use super::{ConnectError, Part};

use arrow::array::RecordBatch;

/// The batches until the task has ended; if it ended by a panic, that is the last item, so that half a table never looks like all of it.
pub(super) fn part_of(
    system: String,
    batches: mpsc::Receiver<Result<RecordBatch, ConnectError>>,
    task: JoinHandle<()>,
) -> Part {
    let next = move |(mut batches, task): (mpsc::Receiver<_>, Option<JoinHandle<()>>)| {
        let system = system.clone();
        async move {
            if let Some(batch) = batches.recv().await {
                return Some((batch, (batches, task)));
            }
            match task?.await {
                Ok(()) => None,
                Err(source) => Some((Err(ConnectError::Thread { system, source: source.into() }), (batches, None))),
            }
        }
    };
    futures::stream::unfold((batches, Some(task)), next).boxed()
}
