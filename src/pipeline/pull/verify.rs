//! Verification: every row of a source, read whole in one snapshot, against the table that its pulls made; and the repair of what differs. Files are
//! taken once and may be gone afterwards: of a stream of files it is verified that each file of the listing was taken, by its identity.

use std::collections::{BTreeSet, HashSet};
use std::time::Instant as Stopwatch;

use arrow::array::RecordBatch;

use crate::base::time::Instant;
use crate::base::{Retry, RunId, nearest};
use crate::connect::Extent;
use crate::project::{PullMode, Removals, Stream, System};
use crate::store::{Comparison, LandingScope, PullKind, RangeComparison, RunOutcome};

use super::super::{Hub, PipelineError, RunOptions, StreamCheck, StreamPull, VerifyReport};
use super::failure::Failure;
use super::meter::Meter;
use super::stream::{Pulled, Task, Way, metered};
use super::sweep::{keep_keys, key_texts};
use super::system::{Connection, record, tried};

/// What a verification does besides comparing; either needs the writer lease.
#[derive(Debug, Clone, Copy, Default)]
pub struct Verification {
    /// Pulls each stream first, in the snapshot that is then compared: what differs after that, a pull did not see.
    pub pull: bool,
    /// Pulls again what differs.
    pub repair: bool,
}

/// What comparing one stream found and did.
struct Found {
    comparison: Comparison,
    /// Of a stream of files: how many were not taken.
    untaken: Option<u64>,
    pulled: Option<Pulled>,
    repaired: Option<Pulled>,
    opened_at: Instant,
}

impl Hub {
    /// Compares streams of a system (all if empty) with their tables. What goes wrong with one stream, or with the system, is in the report.
    pub async fn verify(
        &self,
        system: &str,
        streams: &[String],
        how: Verification,
        options: &RunOptions<'_>,
    ) -> Result<VerifyReport, PipelineError> {
        let system = self.system(system)?;
        let streams = streams_of(system, streams)?;
        let as_of = options.as_of.map_or_else(|| self.now(), Ok)?;
        if !how.pull && !how.repair {
            return self.verify_streams(system, &streams, how, options, as_of, None).await;
        }
        self.lease()?;
        self.may("pull")?;
        let _busy = self.busy.lock().await;
        let run = self.store.control.start_run("verify", as_of)?;
        let done = self.verify_streams(system, &streams, how, options, as_of, Some(run)).await;
        self.note_pulls().await;
        let (outcome, message) = match &done {
            Ok(report) if report.complete() => (RunOutcome::Published, report.summary()),
            Ok(report) => (RunOutcome::Degraded, report.summary()),
            Err(error) => (RunOutcome::Failed, error.to_string()),
        };
        self.store.control.finish_run(run, outcome, &message)?;
        done
    }

    async fn verify_streams(
        &self,
        system: &System,
        streams: &[&Stream],
        how: Verification,
        options: &RunOptions<'_>,
        as_of: Instant,
        run: Option<RunId>,
    ) -> Result<VerifyReport, PipelineError> {
        let mut report = VerifyReport::new(system, how);
        let mut connection = Connection::new(self, system);
        let pulled_at = self.store.control.last_successes(&system.name, &PullKind::ALL)?;
        for stream in streams {
            if options.cancel.cancelled() {
                break;
            }
            let allow_mass_delete = options.full || stream.removals == Removals::Any;
            let task = Task { hub: self, system, stream, whole: options.full, sweep_due: false, allow_mass_delete, as_of };
            let mut check = StreamCheck { pulled_at: pulled_at.get(&stream.name).copied(), ..StreamCheck::of(system, stream) };
            let watch = Stopwatch::now();
            let attempt = async |connection: &mut Connection<'_>, meter: &Meter| task.verify(how, connection, meter).await;
            match tried(options, &mut connection, &task, &mut check.tries, attempt).await {
                Ok((found, meter)) => {
                    (check.rows_read, check.bytes_read) = (meter.rows(), meter.bytes());
                    let mut pulls = Vec::new();
                    for pulled in found.pulled.iter().chain(&found.repaired) {
                        let mut pull = StreamPull { tries: check.tries, ..StreamPull::of(system, stream) };
                        pulled.note(&mut pull, &meter);
                        pull.seconds = watch.elapsed().as_secs_f64();
                        pulls.extend(run.map(|run| record(run, &pull, found.opened_at)));
                        if pulled.kind == PullKind::Repair {
                            check.repaired = Some(pull);
                        }
                    }
                    if !pulls.is_empty() {
                        check.pulled_at = Some(found.opened_at);
                        self.store.control.record_pulls(&pulls)?;
                    }
                    check.note(stream.mode, found.comparison);
                    (check.untaken_files, check.differs) =
                        (found.untaken, check.differs || found.untaken.is_some_and(|files| files > 0));
                }
                Err(failure) if failure.is_unopened => {
                    (report.error, report.hint) = (Some(failure.error), failure.hint);
                    break;
                }
                Err(failure) => (check.error, check.hint) = (Some(failure.error), failure.hint),
            }
            check.seconds = watch.elapsed().as_secs_f64();
            options.progress.verified(&check, report.streams.len() + 1, streams.len());
            report.streams.push(check);
        }
        options.go_on()?;
        Ok(report)
    }

    fn system(&self, name: &str) -> Result<&System, PipelineError> {
        let known = &self.project.systems;
        known.get(name).ok_or_else(|| unknown("system", name, known.keys().map(String::as_str)))
    }
}

impl Task<'_> {
    async fn verify(&self, how: Verification, connection: &mut Connection<'_>, meter: &Meter) -> Result<Found, Failure> {
        let pulled = if how.pull { Some(self.attempt(connection, meter).await?) } else { None };
        let (source, opened_at) = connection.open().await?;
        let Some(latest) = self.hub.store.latest(&self.table()).await? else { return Err(self.unpulled()) };
        if self.stream.files.is_some() {
            let (mut way, table_rows) = (self.new_files().await?, latest.files.iter().map(|file| file.rows).sum());
            way.kind = PullKind::Repair;
            let untaken = source.read(self.stream, self.untaken().await?).await?.files.len() as u64;
            let repair = how.repair && untaken > 0;
            let repaired = if repair { Some(self.take(source, way, None, meter, Some(&latest)).await?) } else { None };
            let comparison = Comparison { table_rows, ..Comparison::default() };
            return Ok(Found { comparison, untaken: Some(untaken), pulled, repaired, opened_at });
        }
        let (reading, omitted) = self.admit(source.read(self.stream, Extent::Whole).await?, Some(&latest))?;
        meter.expect(reading.rows_expected);
        let seen = self.seen(self.last_cursor(Some(&latest)), opened_at);
        seen.iter().for_each(|seen| seen.bound(reading.safe_until));
        let parts = reading.parts.into_iter().map(|part| metered(part, meter, seen.as_ref())).collect();
        let key = &self.stream.key;
        let mut comparison = self.hub.store.compare(&self.table(), key, reading.schema, None, parts).await?;
        spare(&mut comparison, omitted.close().keys)?;
        let mut repaired = None;
        if how.repair && differs(self.stream.mode, &comparison) {
            let gone = std::mem::take(&mut comparison.gone_keys);
            let way = if comparison.is_too_different {
                Way { kind: PullKind::Repair, ..self.all() }
            } else {
                Way {
                    kind: PullKind::Repair,
                    extent: Extent::Keys(std::mem::take(&mut comparison.wanted_keys)),
                    scope: LandingScope::Changes,
                    gone: if self.stream.mode == PullMode::Append { Vec::new() } else { gone },
                }
            };
            repaired = Some(self.take(source, way, seen, meter, Some(&latest)).await?);
        }
        Ok(Found { comparison, untaken: None, pulled, repaired, opened_at })
    }

    fn unpulled(&self) -> Failure {
        Failure {
            error: "was never pulled, so there is nothing to compare with".into(),
            hint: Some(format!("loopline pull {}", self.system.name)),
            retry: Retry::Never,
            needs_connection: false,
            is_unopened: false,
        }
    }
}

/// What a stream that only grows does not have any more was cleaned up there: the table keeps it.
fn differs(mode: PullMode, found: &Comparison) -> bool {
    found.absent + found.differing > 0 || (found.gone > 0 && mode != PullMode::Append)
}

/// A row that the contract leaves out is not gone: the table keeps the image that it has. `left_out`: keys; `None` if they are too many to know.
fn spare(found: &mut Comparison, left_out: Option<Vec<RecordBatch>>) -> Result<(), Failure> {
    let spared: Option<HashSet<String>> = left_out.map(|left_out| left_out.iter().flat_map(key_texts).collect());
    if spared.as_ref().is_some_and(HashSet::is_empty) {
        return Ok(());
    }
    for gone in &mut found.gone_keys {
        let kept = keep_keys(gone, |key| spared.as_ref().is_some_and(|spared| !spared.contains(key)))?;
        found.gone -= (gone.num_rows() - kept.num_rows()) as u64;
        *gone = kept;
    }
    Ok(())
}

fn streams_of<'a>(system: &'a System, names: &[String]) -> Result<Vec<&'a Stream>, PipelineError> {
    let known = &system.connector.streams;
    let find = |name: &String| known.get(name).ok_or_else(|| unknown("stream", name, known.keys().map(String::as_str)));
    let named: BTreeSet<&String> = names.iter().collect();
    if named.is_empty() { Ok(known.values().collect()) } else { named.into_iter().map(find).collect() }
}

fn unknown<'a>(what: &'static str, name: &str, known: impl Iterator<Item = &'a str>) -> PipelineError {
    let hint = nearest(name, known).map(|near| format!("did you mean \"{near}\"?"));
    PipelineError::Unknown { what, name: name.into(), hint }
}

impl VerifyReport {
    fn new(system: &System, how: Verification) -> Self {
        Self { system: system.name.clone(), pulled_first: how.pull, streams: Vec::new(), error: None, hint: None }
    }

    /// Whether every stream could be compared and is, or was made, as the source has it.
    pub fn complete(&self) -> bool {
        let well = |check: &StreamCheck| check.error.is_none() && (!check.differs || check.repaired.is_some());
        self.error.is_none() && self.streams.iter().all(well)
    }

    /// One line for a person.
    pub fn summary(&self) -> String {
        let count = |is: fn(&StreamCheck) -> bool| self.streams.iter().filter(|check| is(check)).count();
        format!(
            "{} streams verified, {} differ, {} repaired, {} failed",
            count(|check| check.error.is_none()),
            count(|check| check.differs),
            count(|check| check.repaired.is_some()),
            count(|check| check.error.is_some()) + usize::from(self.error.is_some())
        )
    }
}

impl StreamCheck {
    fn of(system: &System, stream: &Stream) -> Self {
        Self {
            system: system.name.clone(),
            stream: stream.name.clone(),
            pulled_at: None,
            source_rows: 0,
            table_rows: 0,
            source_checksum: String::new(),
            table_checksum: String::new(),
            absent: 0,
            differing: 0,
            gone: 0,
            untaken_files: None,
            differs: false,
            ranges: Vec::new(),
            repaired: None,
            rows_read: 0,
            bytes_read: 0,
            tries: 0,
            error: None,
            hint: None,
            seconds: 0.0,
        }
    }

    fn note(&mut self, mode: PullMode, found: Comparison) {
        self.differs = differs(mode, &found);
        (self.source_rows, self.table_rows) = (found.source_rows, found.table_rows);
        (self.absent, self.differing, self.gone) = (found.absent, found.differing, found.gone);
        self.source_checksum = sum(found.ranges.iter().map(|range| &range.source_checksum));
        self.table_checksum = sum(found.ranges.iter().map(|range| &range.table_checksum));
        let differs =
            |range: &RangeComparison| range.source_rows != range.table_rows || range.source_checksum != range.table_checksum;
        self.ranges = found.ranges.into_iter().filter(differs).collect();
    }
}

/// The sum of checksums is the checksum of all rows.
fn sum<'a>(checksums: impl Iterator<Item = &'a String>) -> String {
    let sum = checksums.filter_map(|text| u128::from_str_radix(text, 16).ok()).fold(0_u128, u128::wrapping_add);
    format!("{sum:032x}")
}

#[cfg(test)]
mod tests {
    use arrow::array::{ArrayRef, Int64Array};

    use super::*;

    #[test]
    fn checksums_of_ranges_add_up() {
        let all = ["ffffffffffffffffffffffffffffffff".to_owned(), "3".to_owned()];
        assert_eq!(sum(all.iter()), format!("{:032x}", 2));
    }

    #[test]
    fn rows_that_the_contract_leaves_out_are_not_gone() {
        let keys = |ids: Vec<i64>| {
            vec![RecordBatch::try_from_iter([("id", std::sync::Arc::new(Int64Array::from(ids)) as ArrayRef)]).unwrap()]
        };
        let found = || Comparison { gone: 3, gone_keys: keys(vec![1, 2, 3]), ..Comparison::default() };
        let left = |left_out: Option<Vec<RecordBatch>>| {
            let mut found = found();
            spare(&mut found, left_out).unwrap();
            (found.gone, found.gone_keys[0].num_rows())
        };
        assert_eq!(left(Some(vec![])), (3, 3));
        assert_eq!(left(Some(keys(vec![2, 9]))), (2, 2));
        assert_eq!(left(None), (0, 0), "nothing may count as gone");
    }

    #[test]
    fn what_a_growing_stream_lost_is_no_difference() {
        let found = |absent, differing, gone| Comparison { absent, differing, gone, ..Comparison::default() };
        assert!(!differs(PullMode::Append, &found(0, 0, 5)) && differs(PullMode::Append, &found(0, 1, 0)));
        assert!(differs(PullMode::Full, &found(0, 0, 5)) && !differs(PullMode::Incremental, &found(0, 0, 0)));
    }
}
