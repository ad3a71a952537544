//! Pulling systems into raw tables.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant as Stopwatch;

use chrono::TimeDelta;
use futures::StreamExt;
use futures::future::try_join_all;

pub(super) use crate::base::causes;
use crate::base::time::{self, Instant};
use crate::base::{Diagnose, RunId, TableName, nearest};
use crate::connect::{ConnectError, CursorValue, Extent, Part, Source, source};
use crate::project::{Removals, Stream, System};
use crate::store::{Landed, Landing, LandingScope, PullRecord, RunOutcome};

use super::cursor::{self, Seen};
use super::{Hub, PipelineError, PullReport, RunOptions, StreamPull, SystemPull};

/// Which streams to pull, and how.
pub(super) struct Order<'a> {
    pub run: RunId,
    /// System → streams; `None` means all of them.
    pub systems: BTreeMap<String, Option<BTreeSet<String>>>,
    /// Read whole tables whatever the cursors say.
    pub whole: bool,
    /// Let whole reads remove any number of rows.
    pub allow_mass_delete: bool,
    pub options: &'a RunOptions<'a>,
    /// Instant of the plant's clock.
    pub as_of: Instant,
}

/// How far a pull of several systems is.
struct Count {
    done: AtomicUsize,
    total: usize,
}

/// Rows that one landing brought, or why it did not.
type Outcome = Result<Landed, (String, Option<String>)>;

impl Hub {
    /// Pulls these systems (all if empty): systems side by side, the streams of one in one snapshot. A stream that fails stops no other; see the report.
    pub async fn pull(&self, systems: &[String], options: &RunOptions<'_>) -> Result<PullReport, PipelineError> {
        let report = self.pull_only(systems, options).await?;
        self.tidy(options).await;
        Ok(report)
    }

    async fn pull_only(&self, systems: &[String], options: &RunOptions<'_>) -> Result<PullReport, PipelineError> {
        self.lease()?;
        let _busy = self.busy.lock().await;
        let systems = self.systems(systems)?;
        let as_of = options.as_of.map_or_else(|| self.now(), Ok)?;
        let run = self.store.control.start_run("pull", as_of)?;
        let systems = systems.into_iter().map(|system| (system, None)).collect();
        let order = Order { run, systems, whole: options.full, allow_mass_delete: options.full, options, as_of };
        let report = match self.pull_systems(&order).await {
            Ok(report) => report,
            Err(error) => {
                self.store.control.finish_run(run, RunOutcome::Failed, &error.to_string())?;
                return Err(error);
            }
        };
        let outcome = if report.complete() { RunOutcome::Published } else { RunOutcome::Degraded };
        self.store.control.finish_run(run, outcome, &report.summary())?;
        Ok(report)
    }

    fn systems(&self, names: &[String]) -> Result<Vec<String>, PipelineError> {
        let known = &self.project.systems;
        for name in names {
            if !known.contains_key(name) {
                let near = nearest(name, known.keys().map(String::as_str));
                let hint = near.map(|near| format!("did you mean \"{near}\"?"));
                return Err(PipelineError::Unknown { what: "system", name: name.clone(), hint });
            }
        }
        Ok(if names.is_empty() { known.keys().cloned().collect() } else { names.to_vec() })
    }

    pub(super) async fn pull_systems(&self, order: &Order<'_>) -> Result<PullReport, PipelineError> {
        let mut tasks = Vec::new();
        let mut total = 0;
        for (name, only) in &order.systems {
            let Some(system) = self.project.systems.get(name) else { continue };
            let wanted = |stream: &&Stream| only.as_ref().is_none_or(|only| only.contains(&stream.name));
            let streams: Vec<&Stream> = system.connector.streams.values().filter(wanted).collect();
            total += streams.len();
            tasks.push((system, streams));
        }
        let count = Count { done: AtomicUsize::new(0), total };
        let pulls = tasks.into_iter().map(|(system, streams)| self.pull_system(order, system, streams, &count));
        Ok(PullReport { systems: try_join_all(pulls).await? })
    }

    async fn pull_system(
        &self,
        order: &Order<'_>,
        system: &System,
        streams: Vec<&Stream>,
        count: &Count,
    ) -> Result<SystemPull, PipelineError> {
        let watch = Stopwatch::now();
        let started_at = time::now();
        let mut report = SystemPull { system: system.name.clone(), streams: Vec::new(), error: None, hint: None, seconds: 0.0 };
        let mut records = Vec::new();
        match source(system, &self.project.root).await {
            Ok(source) => {
                for stream in streams {
                    if order.options.cancel.cancelled() {
                        break; // every landed stream is complete in itself
                    }
                    let pull = self.pull_stream(order, system, stream, &*source).await;
                    let done = count.done.fetch_add(1, Ordering::Relaxed) + 1;
                    order.options.progress.pulled(&pull, done, count.total);
                    // The snapshot is as old as its opening, whenever its stream was read.
                    records.push(record(order.run, &pull, started_at));
                    report.streams.push(pull);
                }
            }
            Err(error) => {
                (report.error, report.hint) = (Some(causes(&error)), error.hint());
                let failed = |stream: &Stream| StreamPull::failed(system, stream, &error.to_string());
                records.extend(streams.into_iter().map(|stream| record(order.run, &failed(stream), started_at)));
            }
        }
        self.store.control.record_pulls(&records)?;
        report.seconds = watch.elapsed().as_secs_f64();
        order.options.go_on()?;
        Ok(report)
    }

    /// Never an error: what goes wrong with one stream is in its report.
    async fn pull_stream(&self, order: &Order<'_>, system: &System, stream: &Stream, source: &dyn Source) -> StreamPull {
        let watch = Stopwatch::now();
        let mut report = StreamPull::of(system, stream);
        match self.land(order, system, stream, source, &mut report.whole).await {
            Ok(landed) => {
                order.options.progress.rows(&system.name, &stream.name, landed.rows_read);
                report.count(landed);
            }
            Err((error, hint)) => (report.error, report.hint) = (Some(placed(error, system, stream)), hint),
        }
        report.seconds = watch.elapsed().as_secs_f64();
        report
    }

    async fn land(&self, order: &Order<'_>, system: &System, stream: &Stream, source: &dyn Source, whole: &mut bool) -> Outcome {
        let table = raw_table(&system.name, &stream.name);
        let last = self.last_cursor(&table, stream).await.map_err(told)?;
        let after = match last {
            Some(last) if !order.whole && !self.sweep_due(system, stream).map_err(told)? => Some(last),
            _ => None,
        };
        *whole = after.is_none();
        let start = after.zip(stream.cursor.as_ref()).map(|(last, cursor)| cursor::start(last, cursor));
        let reading = source.read(stream, start.map_or(Extent::Whole, Extent::Since)).await.map_err(told)?;
        let seen = stream.cursor.as_ref().map(|cursor| Seen::new(cursor, last));
        let (noting, safe_until) = (seen.clone(), reading.safe_until);
        let noted = |part: Part| {
            let noting = noting.clone();
            part.map(move |batch| {
                let batch = batch.map_err(|error| Box::new(error) as Box<dyn std::error::Error + Send + Sync>)?;
                noting.iter().for_each(|seen| seen.note(&batch));
                Ok(batch)
            })
            .boxed()
        };
        let pull = self.store.next_pull(&table).await.map_err(told)?;
        let parts = reading.parts.into_iter().map(noted).collect();
        let landing = Landing {
            scope: if *whole { LandingScope::Whole } else { LandingScope::Changes },
            allow_mass_delete: order.allow_mass_delete || stream.removals == Removals::Any,
            is_unique: reading.is_unique,
            deletion_vectors: stream.deletion_vectors,
            cursor: Box::new(move || seen.and_then(|seen| seen.property(safe_until))),
            ..Landing::new(table, pull, stream.key.clone(), order.as_of, reading.schema, parts)
        };
        self.store.land(landing).await.map_err(told)
    }

    async fn last_cursor(&self, table: &TableName, stream: &Stream) -> Result<Option<CursorValue>, PipelineError> {
        let Some(cursor) = &stream.cursor else { return Ok(None) };
        let latest = self.store.latest(table).await?;
        Ok(latest.and_then(|latest| cursor::parse(latest.properties.get(cursor::PROPERTY)?, cursor)))
    }

    /// Whether the stream's regular whole read is due.
    fn sweep_due(&self, system: &System, stream: &Stream) -> Result<bool, PipelineError> {
        let Some(every) = stream.sweep_every else { return Ok(false) };
        let last = self.store.control.last_successes(&system.name, true)?.get(&stream.name).copied();
        let every = TimeDelta::from_std(every).unwrap_or(TimeDelta::MAX);
        Ok(last.is_none_or(|last| time::now().signed_duration_since(last) >= every))
    }
}

/// `raw.<system>__<stream>`.
pub(super) fn raw_table(system: &str, stream: &str) -> TableName {
    TableName::new("raw", format!("{system}__{stream}"))
}

/// The message of an error with its causes, and what to do; where the error itself does not know, the source that caused it may.
fn told(error: impl Diagnose + 'static) -> (String, Option<String>) {
    let of_source = || {
        std::iter::successors(error.source(), |cause| cause.source())
            .find_map(|cause| cause.downcast_ref::<ConnectError>()?.hint())
    };
    let hint = error.hint().or_else(of_source);
    (causes(&error), hint)
}

/// A message that names the stream; those of the store know only its table.
fn placed(error: String, system: &System, stream: &Stream) -> String {
    let place = format!("system \"{}\", stream \"{}\"", system.name, stream.name);
    if error.contains(&place) { error } else { format!("{place}: {error}") }
}

fn record(run: RunId, pull: &StreamPull, started_at: Instant) -> PullRecord {
    PullRecord {
        run,
        system: pull.system.clone(),
        stream: pull.stream.clone(),
        started_at,
        seconds: pull.seconds,
        rows_read: pull.rows_read,
        inserted: pull.inserted,
        updated: pull.updated,
        deleted: pull.deleted,
        whole: pull.whole,
        error: pull.error.clone(),
    }
}

impl StreamPull {
    fn of(system: &System, stream: &Stream) -> Self {
        Self {
            system: system.name.clone(),
            stream: stream.name.clone(),
            rows_read: 0,
            inserted: 0,
            updated: 0,
            deleted: 0,
            whole: false,
            error: None,
            hint: None,
            seconds: 0.0,
        }
    }

    fn failed(system: &System, stream: &Stream, error: &str) -> Self {
        Self { error: Some(error.into()), ..Self::of(system, stream) }
    }

    fn count(&mut self, landed: Landed) {
        self.rows_read = landed.rows_read;
        self.inserted = landed.inserted;
        self.updated = landed.updated;
        self.deleted = landed.deleted;
    }
}

impl PullReport {
    /// One line for a person.
    pub fn summary(&self) -> String {
        let streams = || self.systems.iter().flat_map(|system| &system.streams);
        let changed: u64 = streams().map(|stream| stream.inserted + stream.updated + stream.deleted).sum();
        let failed = streams().filter(|stream| stream.error.is_some()).count();
        let unreached = self.systems.iter().filter(|system| system.error.is_some()).count();
        let mut text = format!("{} streams pulled, {changed} rows changed", streams().count() - failed);
        if failed > 0 {
            text += &format!(", {failed} streams failed");
        }
        if unreached > 0 {
            text += &format!(", {unreached} systems not reached");
        }
        text
    }

    /// Systems that were not pulled completely, each with its first error.
    pub fn incomplete(&self) -> BTreeMap<&str, &str> {
        self.systems.iter().filter_map(SystemPull::first_error).collect()
    }
}

impl SystemPull {
    fn first_error(&self) -> Option<(&str, &str)> {
        let of_stream = || self.streams.iter().find_map(|stream| stream.error.as_deref());
        Some((self.system.as_str(), self.error.as_deref().or_else(of_stream)?))
    }
}
