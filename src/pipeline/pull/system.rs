//! One system: its hours, its connection, tries.

use std::time::Instant as Stopwatch;

use chrono::Timelike;
use chrono_tz::Tz;
use tokio::time::{sleep, timeout};

use crate::base::RunId;
use crate::base::time::{self, Instant};
use crate::connect::{Source, source};
use crate::project::{Load, PullMode, Removals, Stream, System};
use crate::store::{PullKind, PullRecord};

use super::super::{Hub, PipelineError, RunOptions, StreamPull, SystemPull};
use super::failure::Failure;
use super::meter::Meter;
use super::stream::Task;
use super::{Count, Order};

/// Pulls after which a sweep is not due for a while: each of them saw every row.
const SWEEPS: [PullKind; 2] = [PullKind::Full, PullKind::Sweep];

/// An open system, or one to be opened.
pub(super) struct Connection<'a> {
    hub: &'a Hub,
    system: &'a System,
    source: Option<Box<dyn Source>>,
    /// Before the snapshot was opened: whatever was committed until then is in it.
    pub opened_at: Instant,
}

impl<'a> Connection<'a> {
    pub fn new(hub: &'a Hub, system: &'a System) -> Self {
        Self { hub, system, source: None, opened_at: time::now() }
    }

    /// The source, opened if it is not, and the instant before its snapshot.
    pub async fn open(&mut self) -> Result<(&dyn Source, Instant), Failure> {
        let open = match self.source.take() {
            Some(open) => open,
            None => {
                self.opened_at = time::now();
                let opened = source(self.system, &self.hub.project.root).await;
                opened.map_err(|error| Failure { is_unopened: true, ..error.into() })?
            }
        };
        Ok((&**self.source.insert(open), self.opened_at))
    }

    pub fn close(&mut self) {
        self.source = None;
    }
}

impl Hub {
    pub(super) async fn pull_system(
        &self,
        order: &Order<'_>,
        system: &System,
        streams: Vec<&Stream>,
        count: &Count,
    ) -> Result<SystemPull, PipelineError> {
        let watch = Stopwatch::now();
        let mut report = SystemPull::new(system);
        report.skipped = outside_hours(&system.load, system.time_zone, time::now()).filter(|_| !order.any_hour);
        if report.skipped.is_some() {
            return Ok(report);
        }
        let swept = self.store.control.last_successes(&system.name, &SWEEPS)?;
        let mut connection = Connection::new(self, system);
        let mut records = Vec::new();
        for (at, stream) in streams.iter().enumerate() {
            if order.options.cancel.cancelled() {
                break; // every landed stream is complete in itself
            }
            let task = Task {
                hub: self,
                system,
                stream,
                whole: order.whole,
                sweep_due: sweep_due(stream, swept.get(&stream.name).copied(), time::now()),
                allow_mass_delete: order.allow_mass_delete || stream.removals == Removals::Any,
                as_of: order.as_of,
            };
            match pull_stream(order, &mut connection, &task).await {
                Ok(pull) => {
                    count.note(order, &pull);
                    records.push(record(order.run, &pull, connection.opened_at));
                    report.streams.push(pull);
                }
                Err(unopened) => {
                    // Nothing answers: the other streams would find the same.
                    let failed = |stream: &&Stream| StreamPull::failed(system, stream, &unopened.error);
                    records.extend(streams[at..].iter().map(|stream| record(order.run, &failed(stream), connection.opened_at)));
                    (report.error, report.hint) = (Some(unopened.error), unopened.hint);
                    break;
                }
            }
        }
        self.store.control.record_pulls(&records)?;
        report.seconds = watch.elapsed().as_secs_f64();
        order.options.go_on()?;
        Ok(report)
    }
}

/// Pulls one stream. An error only if the system cannot be opened: what goes wrong with a stream is in its report.
async fn pull_stream(order: &Order<'_>, connection: &mut Connection<'_>, task: &Task<'_>) -> Result<StreamPull, Failure> {
    let watch = Stopwatch::now();
    let mut report = StreamPull::of(task.system, task.stream);
    let attempt = async |connection: &mut Connection<'_>, meter: &Meter| task.attempt(connection, meter).await;
    match tried(order.options, connection, task, &mut report.tries, attempt).await {
        Ok((pulled, meter)) => pulled.note(&mut report, &meter),
        Err(failure) if failure.is_unopened => return Err(failure),
        Err(failure) => (report.error, report.hint) = (Some(failure.error), failure.hint),
    }
    report.seconds = watch.elapsed().as_secs_f64();
    Ok(report)
}

/// Does something with a stream, again after faults that may pass: with a fresh connection, and never longer than the system's time limit.
pub(super) async fn tried<T>(
    options: &RunOptions<'_>,
    connection: &mut Connection<'_>,
    task: &Task<'_>,
    tries: &mut u32,
    attempt: impl AsyncFn(&mut Connection<'_>, &Meter) -> Result<T, Failure>,
) -> Result<(T, Meter), Failure> {
    let (watch, load, system, stream) = (Stopwatch::now(), &task.system.load, &task.system.name, &task.stream.name);
    loop {
        *tries += 1;
        let meter = Meter::new();
        let shown = meter.watch(system, stream, |flow| options.progress.rows(&flow), attempt(connection, &meter));
        let ended = timeout(load.time_limit.saturating_sub(watch.elapsed()), shown).await;
        let failure = match ended.unwrap_or_else(|_elapsed| Err(Failure::endless(load.time_limit))) {
            Ok(done) => return Ok((done, meter)),
            Err(failure) => failure,
        };
        if failure.needs_connection {
            connection.close();
        }
        let wait = failure.wait(*tries, load.retries, (system, stream));
        let wait = wait.filter(|wait| !options.cancel.cancelled() && watch.elapsed() + *wait < load.time_limit);
        let Some(wait) = wait else { return Err(failure.counted(*tries).placed(task.system, task.stream)) };
        tracing::warn!("{}; trying again in {:.1} s", failure.error, wait.as_secs_f64());
        tokio::select! {
            () = sleep(wait) => {}
            () = options.cancel.wait() => return Err(failure.counted(*tries).placed(task.system, task.stream)),
        }
    }
}

/// Whether the stream's rows are to be compared with all rows of the source.
fn sweep_due(stream: &Stream, last: Option<Instant>, now: Instant) -> bool {
    let every = stream.sweep_every.filter(|_| stream.mode == PullMode::Incremental);
    every.is_some_and(|every| last.is_none_or(|last| time::age(last, now) >= every))
}

/// Why the system is not pulled at this hour; `None` if it may be.
fn outside_hours(load: &Load, zone: Option<Tz>, now: Instant) -> Option<String> {
    let (from, to) = load.hours?;
    let zone = zone.unwrap_or(Tz::UTC);
    let hour = now.with_timezone(&zone).hour();
    let within = if from < to { (from..to).contains(&hour) } else { hour >= from || hour < to };
    (!within).then(|| format!("outside of its hours, {from} to {to} ({zone})"))
}

pub(super) fn record(run: RunId, pull: &StreamPull, started_at: Instant) -> PullRecord {
    PullRecord {
        run,
        system: pull.system.clone(),
        stream: pull.stream.clone(),
        kind: pull.kind,
        started_at,
        seconds: pull.seconds,
        rows_read: pull.rows_read,
        bytes_read: pull.bytes_read,
        inserted: pull.inserted,
        updated: pull.updated,
        deleted: pull.deleted,
        discarded_rows: pull.discarded_rows,
        discarded_values: pull.discarded_values,
        tries: pull.tries,
        whole: pull.whole,
        error: pull.error.clone(),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use chrono::TimeDelta;

    use super::*;
    use crate::project::{Cursor, CursorKind};

    #[test]
    fn a_sweep_is_due_by_its_age_also_if_the_clock_was_set_back() {
        let cursor = Cursor { field: "upd".into(), kind: CursorKind::Timestamp, lookback: 0 };
        let daily = Stream {
            cursor: Some(cursor),
            mode: PullMode::Incremental,
            sweep_every: Some(Duration::from_secs(86_400)),
            ..Stream::new("items", vec!["id".into()])
        };
        let now: Instant = "2026-03-02T06:00:00Z".parse().unwrap();
        let due = |stream: &Stream, hours: i64| sweep_due(stream, Some(now + TimeDelta::hours(hours)), now);
        assert!(sweep_due(&daily, None, now));
        assert_eq!([due(&daily, -25), due(&daily, -24), due(&daily, -23)], [true, true, false]);
        assert_eq!([due(&daily, 1), due(&daily, 24 * 365)], [false, true], "a pull of next year is no reason to wait for a year");
        assert!(!due(&Stream { mode: PullMode::Append, ..daily.clone() }, -25));
        assert!(!due(&Stream { sweep_every: None, ..daily }, -25));
    }

    #[test]
    fn hours_are_those_of_the_systems_zone() {
        let at = |hours, zone: Option<Tz>, now: &str| {
            let load = Load { hours: Some(hours), ..Load::default() };
            outside_hours(&load, zone, now.parse().unwrap())
        };
        let berlin = Some(Tz::Europe__Berlin);
        assert_eq!(at((20, 6), berlin, "2026-07-01T18:00:00Z"), None);
        assert_eq!(at((20, 6), berlin, "2026-07-01T03:59:59Z"), None);
        assert_eq!(at((20, 6), berlin, "2026-07-01T04:00:00Z").unwrap(), "outside of its hours, 20 to 6 (Europe/Berlin)");
        assert_eq!(at((8, 17), None, "2026-07-01T17:00:00Z").unwrap(), "outside of its hours, 8 to 17 (UTC)");
        assert_eq!(at((8, 17), None, "2026-07-01T08:00:00Z"), None);
        assert_eq!(at((0, 24), None, "2026-07-01T23:59:00Z"), None);
    }
}
