//! Keeping tables healthy for years: compaction after each run, and once a day everything else.
//!
//! After a run, tables that got too many small files are compacted. Once a day, or on request, a whole pass goes over all tables: cuts that are no longer
//! kept are marked, then each table is compacted and trimmed, and the control state forgets what is old. A pass after a run has little time: it goes on after the
//! next run where it stopped. Between two tables everybody else comes first; nothing here makes a run fail.

use std::time::{Duration, Instant as Stopwatch};

use chrono::TimeDelta;
use serde::{Deserialize, Serialize};

use crate::base::time::{self, Instant};
use crate::base::{Diagnose, TableName, nearest};
use crate::store::{AFTER_RUN, Bounds, Compacted, Forgotten, Keep, Keeping, THOROUGH, Trimmed};

use super::pull::causes;
use super::{Hub, PipelineError, RunOptions};

/// Time between two whole passes that nobody asked for.
const PASS_EVERY: TimeDelta = TimeDelta::hours(24);
/// What maintenance may take after a run; a pass that needs more goes on after the next one.
const AFTER_RUN_TIME: Duration = Duration::from_secs(120);
/// Under which the control state keeps how far maintenance is.
const NOTE: &str = "maintenance";
/// What maintenance did, or would do.
#[derive(Debug, Default, Serialize)]
pub struct MaintenanceReport {
    pub dry_run: bool,
    /// Cuts that are no longer kept since now.
    pub cuts_given_up: usize,
    pub tables: Vec<TableUpkeep>,
    pub forgotten: Forgotten,
    /// Whether every table was looked at.
    pub complete: bool,
    pub seconds: f64,
}

/// What maintenance did for one table.
#[derive(Debug, Serialize)]
pub struct TableUpkeep {
    pub table: String,
    pub compacted: Compacted,
    pub trimmed: Trimmed,
    pub error: Option<String>,
    pub hint: Option<String>,
}

/// How far maintenance is, and what it last found.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Upkeep {
    /// Begin of the last pass.
    pub started_at: Instant,
    /// End of the last pass that looked at every table.
    pub finished_at: Option<Instant>,
    /// Table at which the pass under way goes on.
    next: Option<String>,
    /// What the last pass left: small files, and bytes that only older versions need.
    pub small_files: usize,
    pub history_bytes: u64,
    /// Tables at which it failed.
    pub failed: usize,
}

impl Hub {
    /// A whole pass over `tables` (all if empty). With `dry_run` nothing is changed, and no lease is needed.
    pub async fn maintain(
        &self,
        tables: &[String],
        dry_run: bool,
        options: &RunOptions<'_>,
    ) -> Result<MaintenanceReport, PipelineError> {
        let all = self.store.tables().await?;
        let mut chosen = all.clone();
        if !tables.is_empty() {
            chosen = tables.iter().map(|name| one_of(&all, name)).collect::<Result<_, _>>()?;
        }
        let mut report = MaintenanceReport { dry_run, ..MaintenanceReport::default() };
        let watch = Stopwatch::now();
        if dry_run {
            self.look(&chosen, &mut report).await?;
        } else {
            let started_at = time::now();
            let next = self.pass(&chosen, None, true, options, &mut report).await?;
            if tables.is_empty() {
                self.keep_note(&report, started_at, next)?;
            }
        }
        report.seconds = watch.elapsed().as_secs_f64();
        Ok(report)
    }

    /// What maintenance last found; `None` before the first run.
    pub fn upkeep(&self) -> Result<Option<Upkeep>, PipelineError> {
        let note = self.store.control.note(NOTE)?;
        Ok(note.and_then(|text| serde_json::from_str(&text).ok()))
    }

    /// After a run or a pull. What goes wrong is logged: the run is done.
    pub(super) async fn tidy(&self, options: &RunOptions<'_>) {
        if let Err(error) = self.try_tidy(options).await {
            tracing::warn!("maintenance: {}", causes(&error));
        }
    }

    async fn try_tidy(&self, options: &RunOptions<'_>) -> Result<(), PipelineError> {
        self.lease()?;
        let until = Stopwatch::now() + AFTER_RUN_TIME;
        let mut tables: Vec<TableName> = self.pulled_tables();
        tables.push(TableName::new("system", "cuts"));
        for table in &tables {
            let Ok(_busy) = self.busy.try_lock() else { return Ok(()) };
            if options.cancel.cancelled() || Stopwatch::now() > until {
                return Ok(());
            }
            self.compact(table, AFTER_RUN).await?;
        }
        let now = time::now();
        let upkeep = self.upkeep()?;
        let Some(upkeep) = upkeep else {
            // There is no history yet.
            return self.keep_note(&MaintenanceReport { complete: true, ..MaintenanceReport::default() }, now, None);
        };
        let age = now - upkeep.started_at;
        // A clock that was set back must not put it off.
        if upkeep.next.is_none() && age < PASS_EVERY && age >= TimeDelta::zero() {
            return Ok(());
        }
        let mut tables = self.store.tables().await?;
        let started_at = if upkeep.next.is_some() { upkeep.started_at } else { now };
        if let Some(next) = &upkeep.next {
            tables.retain(|table| table.to_string() >= *next);
        }
        let mut report = MaintenanceReport::default();
        let next = self.pass(&tables, Some(until), upkeep.next.is_none(), options, &mut report).await?;
        let (removed, files) = report.tables.iter().fold((0, 0), |(bytes, files), table| {
            (bytes + table.trimmed.bytes, files + table.trimmed.data_files + table.trimmed.log_files)
        });
        tracing::info!(tables = report.tables.len(), files, bytes = removed, "maintained tables");
        self.keep_note(&report, started_at, next)
    }

    /// Marks, compacts, trims, forgets. Returns where it stopped, if it did.
    async fn pass(
        &self,
        tables: &[TableName],
        until: Option<Stopwatch>,
        forget: bool,
        options: &RunOptions<'_>,
        report: &mut MaintenanceReport,
    ) -> Result<Option<TableName>, PipelineError> {
        let (now, keep) = (time::now(), self.keep());
        let mut keeping = self.store.keeping(now, keep).await?;
        {
            let _busy = self.busy.lock().await;
            self.store.expire(&mut keeping, self.lease()?).await?;
        }
        report.cuts_given_up = keeping.expired();
        for table in tables {
            if options.cancel.cancelled() || until.is_some_and(|until| Stopwatch::now() > until) {
                return Ok(Some(table.clone()));
            }
            let _busy = self.busy.lock().await;
            report.tables.push(self.upkeep_of(table, &keeping, false).await);
        }
        if forget {
            let ago = |time: Duration| now - TimeDelta::from_std(time).unwrap_or(TimeDelta::MAX);
            report.forgotten = self.store.control.forget(ago(keep.sent), ago(keep.runs))?;
        }
        report.complete = true;
        Ok(None)
    }

    async fn look(&self, tables: &[TableName], report: &mut MaintenanceReport) -> Result<(), PipelineError> {
        let keeping = self.store.keeping(time::now(), self.keep()).await?;
        report.cuts_given_up = keeping.expired();
        for table in tables {
            report.tables.push(self.upkeep_of(table, &keeping, true).await);
        }
        report.complete = true;
        Ok(())
    }

    /// One table that cannot be maintained keeps no other from it.
    async fn upkeep_of(&self, table: &TableName, keeping: &Keeping, is_look: bool) -> TableUpkeep {
        let mut upkeep = TableUpkeep {
            table: table.to_string(),
            compacted: Compacted::default(),
            trimmed: Trimmed::default(),
            error: None,
            hint: None,
        };
        let work = async {
            if is_look {
                upkeep.compacted = self.store.compact(table, THOROUGH, true).await?.unwrap_or_default();
            } else {
                upkeep.compacted = self.compact(table, THOROUGH).await?;
            }
            upkeep.trimmed = self.store.trim(table, keeping, is_look).await?;
            Ok::<(), crate::store::StoreError>(())
        };
        if let Err(error) = work.await {
            (upkeep.error, upkeep.hint) = (Some(causes(&error)), error.hint());
        }
        upkeep
    }

    async fn compact(&self, table: &TableName, bounds: Bounds) -> Result<Compacted, crate::store::StoreError> {
        Ok(self.store.compact(table, bounds, false).await?.unwrap_or_default())
    }

    fn keep(&self) -> Keep {
        let kept = self.project.retention;
        Keep { runs: kept.runs, sent: kept.sent }
    }

    fn keep_note(&self, report: &MaintenanceReport, started_at: Instant, next: Option<TableName>) -> Result<(), PipelineError> {
        let before = self.upkeep()?.unwrap_or_default();
        let upkeep = Upkeep {
            started_at,
            finished_at: if report.complete { Some(time::now()) } else { before.finished_at },
            next: next.map(|table| table.to_string()),
            small_files: report.tables.iter().map(|table| table.compacted.small_files_left).sum(),
            history_bytes: report.tables.iter().map(|table| table.trimmed.history_bytes).sum(),
            failed: report.tables.iter().filter(|table| table.error.is_some()).count(),
        };
        let text = serde_json::to_string(&upkeep).map_err(|error| PipelineError::Task(error.to_string()))?;
        Ok(self.store.control.set_note(NOTE, &text)?)
    }
}

fn one_of(tables: &[TableName], name: &str) -> Result<TableName, PipelineError> {
    let known: Vec<String> = tables.iter().map(TableName::to_string).collect();
    tables.iter().find(|table| table.to_string() == name).cloned().ok_or_else(|| {
        let hint = nearest(name, known.iter().map(String::as_str)).map(|near| format!("did you mean {near}?"));
        PipelineError::Unknown { what: "table", name: name.into(), hint }
    })
}
