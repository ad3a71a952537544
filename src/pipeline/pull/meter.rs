//! How much is read, counted as batches pass.

use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant as Stopwatch};

use arrow::array::{Array, RecordBatch};

/// How often progress is shown: more often than anybody can read costs only time.
const SHOWN_EVERY: Duration = Duration::from_millis(100);

/// How far the pull of a stream is.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Flow<'a> {
    pub system: &'a str,
    pub stream: &'a str,
    pub rows: u64,
    /// Bytes of these rows in memory.
    pub bytes: u64,
    /// By the source's own statistics.
    pub rows_expected: Option<u64>,
    pub seconds: f64,
}

impl Flow<'_> {
    /// Time left at the pace so far; `None` where it cannot be told.
    pub fn seconds_left(&self) -> Option<f64> {
        let left = self.rows_expected?.checked_sub(self.rows).filter(|_| self.rows > 0)?;
        Some(self.seconds * left as f64 / self.rows as f64)
    }
}

/// Counts what is read of one stream; clones share it.
#[derive(Debug, Clone)]
pub(super) struct Meter {
    counts: Arc<Counts>,
    started: Stopwatch,
}

#[derive(Debug, Default)]
struct Counts {
    rows: AtomicU64,
    bytes: AtomicU64,
    /// 0: unknown.
    rows_expected: AtomicU64,
}

impl Meter {
    pub fn new() -> Self {
        Self { counts: Arc::default(), started: Stopwatch::now() }
    }

    pub fn count(&self, batch: &RecordBatch) {
        let bytes = |column: &Arc<dyn Array>| column.to_data().get_slice_memory_size().unwrap_or_default() as u64;
        self.counts.rows.fetch_add(batch.num_rows() as u64, Ordering::Relaxed);
        self.counts.bytes.fetch_add(batch.columns().iter().map(bytes).sum(), Ordering::Relaxed);
    }

    /// Adds rows that a reading is about to bring.
    pub fn expect(&self, rows: Option<u64>) {
        self.counts.rows_expected.fetch_add(rows.unwrap_or_default(), Ordering::Relaxed);
    }

    pub fn rows(&self) -> u64 {
        self.counts.rows.load(Ordering::Relaxed)
    }

    pub fn bytes(&self) -> u64 {
        self.counts.bytes.load(Ordering::Relaxed)
    }

    fn flow<'a>(&self, system: &'a str, stream: &'a str) -> Flow<'a> {
        Flow {
            system,
            stream,
            rows: self.rows(),
            bytes: self.bytes(),
            rows_expected: Some(self.counts.rows_expected.load(Ordering::Relaxed)).filter(|rows| *rows > 0),
            seconds: self.started.elapsed().as_secs_f64(),
        }
    }

    /// Does `work` and shows meanwhile how far it is.
    pub async fn watch<T>(&self, system: &str, stream: &str, show: impl Fn(Flow<'_>), work: impl Future<Output = T>) -> T {
        let mut work = pin!(work);
        let mut ticks = tokio::time::interval(SHOWN_EVERY);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                done = &mut work => return done,
                _ = ticks.tick() => show(self.flow(system, stream)),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use arrow::array::{Int64Array, StringArray};

    use super::*;

    #[tokio::test]
    async fn batches_are_counted_and_the_time_left_is_told() {
        let meter = Meter::new();
        let columns: [(&str, Arc<dyn Array>); 2] =
            [("id", Arc::new(Int64Array::from_iter_values(0..100))), ("text", Arc::new(StringArray::from(vec!["abcd"; 100])))];
        let batch = RecordBatch::try_from_iter(columns).unwrap();
        meter.expect(None);
        meter.count(&batch);
        meter.count(&batch.slice(0, 10));
        assert_eq!((meter.rows(), meter.flow("erp", "items").rows_expected), (110, None));
        let slice = 10 * (8 + 4 + 4);
        assert!((1_760..=1_760 + 8).contains(&meter.bytes()), "{} bytes, {slice} of them in the slice", meter.bytes());
        meter.expect(Some(330));
        let flow = Flow { seconds: 2.0, ..meter.flow("erp", "items") };
        assert_eq!(flow.seconds_left(), Some(4.0));
        assert_eq!(Flow { rows: 0, ..flow }.seconds_left(), None);
        let shown = std::cell::Cell::new(0);
        meter.watch("erp", "items", |_| shown.set(shown.get() + 1), tokio::time::sleep(SHOWN_EVERY * 3)).await;
        assert!(shown.get() >= 1);
    }
}
