//! What history is kept, and the removal of the rest: old cuts, log files, data files.
//!
//! Kept are the versions that kept cuts name: those of young runs, of runs behind a change that was sent or still may be, of runs that an environment stands on, and the latest. Everything
//! is worked out anew from `system.cuts` and the tables' logs each time, in an order in which any step can be the last one: cuts that are given up
//! are marked first, then their log files go, then data files. Nothing that was written or was still current a day ago is removed, because a reader may
//! be in the middle of it, and because another writer's staged files look like leftovers.
//!
//! What stays true of a log: from the checkpoint below the oldest young cut on it has no gap; for each older kept version there is the checkpoint below
//! it and every commit from there on. A table that this program did not write like that (no checkpoint, a path outside its folder) is left as it is.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use arrow::array::{Array, AsArray};
use arrow::datatypes::{Int64Type, TimestampMicrosecondType};
use chrono::{DateTime, TimeDelta};
use futures::{StreamExt, TryStreamExt};
use object_store::path::Path;
use object_store::{ObjectMeta, ObjectStoreExt};

use crate::base::time::Instant;
use crate::base::{RunId, TableName, failpoint};

use super::cut::{cut_batch, cut_schema, cuts_table, newest_run};
use super::delta::Commit;
use super::file::{FileWriter, read_file};
use super::place::Place;
use super::stats::{KeyRange, key_range};
use super::{Cut, DataFile, DeletionVector, Lease, Store, StoreError, TableVersion, compact};

/// Younger files and versions may be in use by a reader, or by a writer elsewhere that has not committed yet.
const IN_USE: TimeDelta = TimeDelta::hours(24);
/// Files read or removed at the same time.
const AT_ONCE: usize = 16;

/// How long history is kept.
#[derive(Debug, Clone, Copy)]
pub struct Keep {
    /// Of every run.
    pub runs: Duration,
    /// Of runs behind a change that was sent.
    pub sent: Duration,
}

/// What must stay readable as of one instant.
#[derive(Debug)]
pub struct Keeping {
    now: Instant,
    /// Runs that were started since then are young.
    young_since: Instant,
    /// Cuts that are given up and still name their versions.
    expired: BTreeSet<RunId>,
    tables: BTreeMap<TableName, KeptVersions>,
    /// Whether the cuts that are given up say so.
    is_marked: bool,
}

/// Versions of one table that kept cuts name.
#[derive(Debug, Default, Clone)]
struct KeptVersions {
    all: BTreeSet<u64>,
    /// The least of those that young cuts name.
    young: Option<u64>,
    latest: Option<u64>,
}

/// What was removed of one table, or would be.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize)]
pub struct Trimmed {
    pub log_files: usize,
    pub data_files: usize,
    pub bytes: u64,
    /// Bytes of files that only older versions need.
    pub history_bytes: u64,
}

impl Keeping {
    /// Cuts that are given up and still name their versions.
    pub fn expired(&self) -> usize {
        self.expired.len()
    }
}

impl Store {
    /// What must stay readable as of `now`. An error while the control state does not know what was sent.
    pub async fn keeping(&self, now: Instant, keep: Keep) -> Result<Keeping, StoreError> {
        if let Some(behind) = self.control_behind().await? {
            return Err(StoreError::ControlBehind { known: behind.known, published: behind.published });
        }
        let young_since = now - TimeDelta::from_std(keep.runs).unwrap_or(TimeDelta::MAX);
        let mut keeping = Keeping { now, young_since, expired: BTreeSet::new(), tables: BTreeMap::new(), is_marked: false };
        let Some(cuts) = self.latest(&cuts_table()).await? else { return Ok(keeping) };
        let Some(newest) = newest_run(&cuts) else { return Ok(keeping) };
        let mut runs: BTreeMap<RunId, (Instant, bool)> = BTreeMap::new();
        self.each_cut_row(&cuts, |row| {
            let run = runs.entry(row.run).or_insert((row.as_of, false));
            run.1 |= row.table.is_some();
            Ok(())
        })
        .await?;
        let sent_since = now - TimeDelta::from_std(keep.sent).unwrap_or(TimeDelta::MAX);
        let (started, sent) = (self.control.run_starts()?, self.control.sent_runs(sent_since)?);
        let lost = self.control.ledger_lost()?.filter(|(_, at)| *at >= sent_since);
        let under_environments = self.runs_under_environments().await?;
        let is_young = |run: RunId| started.get(&run).is_some_and(|at| *at >= young_since);
        let is_kept = |run: RunId, as_of: Instant| {
            // A run that the control state does not know may be behind a change that it does not know either.
            let unknown = !started.contains_key(&run) && as_of >= sent_since;
            let is_used = sent.contains(&run) || under_environments.contains(&run);
            run == newest || is_young(run) || is_used || unknown || lost.is_some_and(|(until, _)| run <= until)
        };
        keeping.expired =
            runs.iter().filter(|(run, (as_of, named))| *named && !is_kept(**run, *as_of)).map(|(run, _)| *run).collect();
        let expired = &keeping.expired;
        self.each_cut_row(&cuts, |row| {
            let Some(table) = row.table.filter(|_| !expired.contains(&row.run)) else { return Ok(()) };
            let table: TableName = table.parse().map_err(|what| StoreError::Malformed { what })?;
            let kept = keeping.tables.entry(table).or_default();
            kept.all.insert(row.version);
            if is_young(row.run) {
                kept.young = Some(kept.young.map_or(row.version, |least| least.min(row.version)));
            }
            if row.run == newest {
                kept.latest = Some(row.version);
            }
            Ok(())
        })
        .await?;
        Ok(keeping)
    }

    /// Marks the cuts that are given up: of each, `system.cuts` keeps one row that names no table. Call it before anything is removed.
    pub async fn expire(&self, keeping: &mut Keeping, _lease: &Lease) -> Result<(), StoreError> {
        self.join_cuts(&keeping.expired, compact::THOROUGH.small_files_max).await?;
        keeping.is_marked = true;
        Ok(())
    }

    /// Joins the small files of `system.cuts`, but for the newest run's, which is read all the time; cuts of `expired` shrink to one row.
    /// Returns the number of files that were joined.
    pub(super) async fn join_cuts(&self, expired: &BTreeSet<RunId>, small_files_max: usize) -> Result<usize, StoreError> {
        self.control.check_lease()?;
        let Some(base) = self.load(&cuts_table()).await? else { return Ok(0) };
        let newest = newest_run(&base.version);
        let first = |file: &DataFile| match key_range(file.stats.as_deref(), "run") {
            KeyRange::Integer(first, last) if Some(RunId(last)) < newest => Some(first),
            _ => None,
        };
        let mut files: Vec<(i64, DataFile)> =
            base.version.files.iter().filter_map(|file| Some((first(file)?, file.clone()))).collect();
        files.sort_by_key(|(first, _)| *first);
        let files: Vec<DataFile> = files.into_iter().map(|(_, file)| file).collect();
        if expired.is_empty() && files.iter().filter(|file| compact::is_small(file)).count() <= small_files_max {
            return Ok(0);
        }
        let stem = format!("{}/k-{}", Place::table_folder(&cuts_table()), base.version.version + 1);
        let mut writer = FileWriter::new(Arc::clone(&self.place.folder), "system.cuts", stem, cut_schema());
        let mut marked = BTreeSet::new();
        for file in &files {
            let mut rows = read_file(Arc::clone(&self.place.folder), "system.cuts".into(), file, cut_schema());
            while let Some(batch) = rows.next().await {
                let batch = batch?;
                let runs = batch.column(0).as_primitive::<Int64Type>();
                let mut start = 0;
                // Rows of a run lie together.
                while start < batch.num_rows() {
                    let run = RunId(runs.value(start));
                    let rows = (start..batch.num_rows()).take_while(|row| runs.value(*row) == run.0).count();
                    if !expired.contains(&run) {
                        writer.write(&batch.slice(start, rows)).await?;
                    } else if marked.insert(run) {
                        let as_of = batch.column(3).as_primitive::<TimestampMicrosecondType>().value(start);
                        let as_of = DateTime::from_timestamp_micros(as_of).unwrap_or_default();
                        writer.write(&cut_batch(&Cut { run, as_of, tables: BTreeMap::new(), base: None })?).await?;
                    }
                    start += rows;
                }
            }
        }
        let (count, number) = (files.len(), i64::try_from(base.version.version + 1).unwrap_or(i64::MAX));
        let commit = Commit {
            schema: cut_schema(),
            properties: BTreeMap::new(),
            add: writer.finish().await?,
            remove: files,
            changes: Vec::new(),
            data_change: !expired.is_empty(),
            txn: (compact::APP.to_owned(), number),
            base: Some(base),
        };
        failpoint::hit("maintain.cuts.before");
        self.commit(&cuts_table(), commit).await?;
        failpoint::hit("maintain.cuts.after");
        Ok(count)
    }

    /// Removes what no kept version of `table` needs; with `is_look` only says what that is.
    pub async fn trim(&self, table: &TableName, keeping: &Keeping, is_look: bool) -> Result<Trimmed, StoreError> {
        let Some(head) = self.load(table).await? else { return Ok(Trimmed::default()) };
        let head = head.version.clone();
        let listed = self.list_folder(table).await?;
        let versions = keeping.tables.get(table).cloned().unwrap_or_default();
        let Some(plan) = LogPlan::new(&listed.log, &versions, head.version, keeping) else { return Ok(Trimmed::default()) };
        let needed = self.needed(table, &plan, &head, &versions).await?;
        let Some(needed) = needed else { return Ok(Trimmed::default()) };
        let log = listed.log.iter().filter(|file| !plan.needs(file.version)).map(|file| &file.object);
        let log: Vec<ObjectMeta> =
            log.chain(&listed.unfinished).filter(|object| !is_in_use(object, keeping.now)).cloned().collect();
        let current: BTreeSet<String> = head.files.iter().flat_map(paths).collect();
        let (kept, data): (Vec<ObjectMeta>, Vec<ObjectMeta>) = listed
            .data
            .into_iter()
            .partition(|object| needed.contains(object.location.as_ref()) || is_in_use(object, keeping.now));
        let older = kept.iter().filter(|object| !current.contains(object.location.as_ref()));
        let trimmed = Trimmed {
            log_files: log.len(),
            data_files: data.len(),
            bytes: log.iter().chain(&data).map(|object| object.size).sum(),
            history_bytes: older.map(|object| object.size).sum(),
        };
        if is_look || trimmed.log_files + trimmed.data_files == 0 {
            return Ok(trimmed);
        }
        self.control.check_lease()?;
        if !keeping.is_marked && !keeping.expired.is_empty() {
            return Err(StoreError::Malformed { what: "a removal of versions whose cuts are not marked".into() });
        }
        failpoint::hit("maintain.delete.before");
        self.forget_snapshots(table);
        self.remove(log).await?;
        self.remove(data).await?;
        failpoint::hit("maintain.delete.after");
        Ok(trimmed)
    }

    /// Paths of all files that kept versions, versions that were current a day ago, and young changes since the latest cut need. `None` if the
    /// log names a file in a way that this program does not understand.
    async fn needed(
        &self,
        table: &TableName,
        plan: &LogPlan,
        head: &TableVersion,
        versions: &KeptVersions,
    ) -> Result<Option<BTreeSet<String>>, StoreError> {
        let mut needed: BTreeSet<String> = head.files.iter().flat_map(paths).collect();
        for version in versions.all.iter().filter(|version| **version < plan.tail) {
            needed.extend(self.load_at(table, *version).await?.files.iter().flat_map(paths));
        }
        // Path → the version that put it in and its deletion vector, for each file of the version at hand.
        let first = self.load_at(table, plan.tail).await?.files;
        let vector = |file: &DataFile| file.deletion_vector.as_ref().and_then(|vector| vector.path().map(str::to_owned));
        let mut alive: BTreeMap<String, (u64, Option<String>)> =
            first.into_iter().map(|file| (file.path.clone(), (plan.tail, vector(&file)))).collect();
        let read = |version: u64| async move { Ok::<_, StoreError>((version, self.read_commit(table, version).await?)) };
        let mut commits = futures::stream::iter((plan.tail + 1)..=head.version).map(read).buffered(AT_ONCE);
        while let Some((version, text)) = commits.try_next().await? {
            let Some(commit) = CommitFiles::read(table, &text) else { return Ok(None) };
            let is_recent = plan.recent_from <= version || plan.fed_from <= version;
            for path in commit.removed {
                let Some((added, vector)) = alive.remove(&path) else { continue };
                if is_recent || versions.all.range(added..version).next().is_some() {
                    needed.insert(path);
                    needed.extend(vector);
                }
            }
            alive.extend(commit.added.into_iter().map(|(path, vector)| (path, (version, vector))));
            needed.extend(commit.changes);
        }
        for manifest in self.manifests().await? {
            needed.extend(manifest.staged_paths());
        }
        Ok(Some(needed))
    }

    async fn list_folder(&self, table: &TableName) -> Result<Listed, StoreError> {
        let folder = Path::from(Place::table_folder(table));
        let mut listed = Listed::default();
        let mut listing = self.place.folder.list(Some(&folder));
        while let Some(object) = listing.next().await {
            let object = object.map_err(|source| StoreError::Object { what: "listing", path: folder.to_string(), source })?;
            listed.add(&folder, object);
        }
        Ok(listed)
    }

    async fn remove(&self, objects: Vec<ObjectMeta>) -> Result<(), StoreError> {
        let remove = |object: ObjectMeta| async move {
            match self.place.folder.delete(&object.location).await {
                Ok(()) | Err(object_store::Error::NotFound { .. }) => Ok(()),
                Err(source) => Err(StoreError::Object { what: "removal", path: object.location.to_string(), source }),
            }
        };
        futures::stream::iter(objects).map(remove).buffer_unordered(AT_ONCE).try_collect().await
    }

    async fn each_cut_row(
        &self,
        cuts: &TableVersion,
        mut see: impl FnMut(CutRow<'_>) -> Result<(), StoreError>,
    ) -> Result<(), StoreError> {
        for file in &cuts.files {
            let mut rows = read_file(Arc::clone(&self.place.folder), cuts.table.to_string(), file, cut_schema());
            while let Some(batch) = rows.next().await {
                let batch = batch?;
                let (runs, tables) = (batch.column(0).as_primitive::<Int64Type>(), batch.column(1).as_string::<i32>());
                let versions = batch.column(2).as_primitive::<Int64Type>();
                let instants = batch.column(3).as_primitive::<TimestampMicrosecondType>();
                for row in (0..batch.num_rows()).filter(|row| runs.is_valid(*row)) {
                    see(CutRow {
                        run: RunId(runs.value(row)),
                        table: tables.is_valid(row).then(|| tables.value(row)),
                        version: u64::try_from(versions.value(row)).unwrap_or_default(),
                        as_of: DateTime::from_timestamp_micros(instants.value(row)).unwrap_or_default(),
                    })?;
                }
            }
        }
        Ok(())
    }
}

struct CutRow<'a> {
    run: RunId,
    table: Option<&'a str>,
    version: u64,
    as_of: Instant,
}

fn is_in_use(object: &ObjectMeta, now: Instant) -> bool {
    object.last_modified > now - IN_USE
}

/// The files of a table's folder.
#[derive(Default)]
struct Listed {
    log: Vec<LogFile>,
    /// Commits that were never finished.
    unfinished: Vec<ObjectMeta>,
    data: Vec<ObjectMeta>,
}

struct LogFile {
    version: u64,
    /// What follows the version in its name.
    kind: String,
    object: ObjectMeta,
}

impl Listed {
    fn add(&mut self, folder: &Path, object: ObjectMeta) {
        let Some(parts) = object.location.prefix_match(folder) else { return };
        let parts: Vec<String> = parts.map(|part| part.as_ref().to_owned()).collect();
        match parts.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
            ["_delta_log", name] if name.ends_with(".json.tmp") => self.unfinished.push(object),
            ["_delta_log", name] => {
                let version = name.get(..20).and_then(|digits| digits.parse().ok());
                if let (Some(version), Some(kind)) = (version, name.get(20..)) {
                    self.log.push(LogFile { version, kind: kind.to_owned(), object });
                }
            }
            // Anything else in the folder is not a table's.
            [name] | ["_change_data", name] if name.ends_with(".parquet") => self.data.push(object),
            [name] if name.starts_with("deletion_vector_") && name.ends_with(".bin") => self.data.push(object),
            _ => {}
        }
    }
}

/// Which log files stay.
#[derive(Debug, PartialEq, Eq)]
struct LogPlan {
    /// From this checkpoint on there is no gap.
    tail: u64,
    /// First and last version of what stays below.
    older: Vec<(u64, u64)>,
    /// The first version that was committed within the last day, or one above the last.
    recent_from: u64,
    /// The first version after the latest cut whose changes a model may ask for; a model that was not built for longer is built anew.
    fed_from: u64,
}

impl LogPlan {
    /// `None` if nothing can be given up.
    fn new(log: &[LogFile], versions: &KeptVersions, head: u64, keeping: &Keeping) -> Option<Self> {
        let is_checkpoint = |file: &&LogFile| file.kind == ".checkpoint.parquet" && file.object.size > 0;
        let checkpoints: BTreeSet<u64> = log.iter().filter(is_checkpoint).map(|file| file.version).collect();
        let first_since = |since: Instant| {
            let commits = log.iter().filter(|file| file.kind == ".json" && file.object.last_modified > since);
            commits.map(|file| file.version).min().unwrap_or(head + 1)
        };
        let recent_from = first_since(keeping.now - IN_USE);
        let fed_from = versions.latest.map_or(head + 1, |latest| first_since(keeping.young_since).max(latest + 1));
        // The version before a recent one was current within the last day, too; changes are told from the version before them.
        let oldest = head.min(recent_from.saturating_sub(1)).min(fed_from - 1).min(versions.young.unwrap_or(head));
        let below = |version: u64| checkpoints.range(..=version).next_back().copied();
        let from_start = log.iter().any(|file| file.version == 0 && file.kind == ".json").then_some(0);
        let tail = below(oldest).or(from_start)?;
        let older = versions.all.iter().filter(|version| **version < tail);
        let older = older.map(|version| Some((below(*version).or(from_start)?, *version))).collect::<Option<Vec<_>>>()?;
        Some(Self { tail, older, recent_from, fed_from })
    }

    fn needs(&self, version: u64) -> bool {
        version >= self.tail || self.older.iter().any(|(from, to)| (*from..=*to).contains(&version))
    }
}

/// The objects that a file consists of.
fn paths(file: &DataFile) -> impl Iterator<Item = String> {
    let vector = file.deletion_vector.as_ref().and_then(|vector| vector.path().map(str::to_owned));
    [file.path.clone()].into_iter().chain(vector)
}

/// The files that a commit names, as paths from the store's folder.
#[derive(Default)]
struct CommitFiles {
    /// With their deletion vectors.
    added: Vec<(String, Option<String>)>,
    removed: Vec<String>,
    /// Rows of the change feed.
    changes: Vec<String>,
}

impl CommitFiles {
    /// `None` if it names a file outside the table's folder.
    fn read(table: &TableName, text: &str) -> Option<Self> {
        let folder = Place::table_folder(table);
        let mut files = Self::default();
        for line in text.lines().filter(|line| !line.trim().is_empty()) {
            let mut action: serde_json::Value = serde_json::from_str(line).ok()?;
            for kind in ["add", "remove", "cdc"] {
                let Some(named) = action.get_mut(kind).filter(|named| !named.is_null()) else { continue };
                let path = named["path"].as_str().filter(|path| !path.contains("://") && !path.starts_with('/'))?;
                let path = format!("{folder}/{}", Path::from_url_path(path).ok()?);
                match kind {
                    "remove" => files.removed.push(path),
                    "cdc" => files.changes.push(path),
                    _ => {
                        let vector = match named["deletionVector"].take() {
                            serde_json::Value::Null => None,
                            found => {
                                let vector = DeletionVector::of(table, serde_json::from_value(found).ok()?).ok()?;
                                vector.path().map(str::to_owned)
                            }
                        };
                        files.added.push((path, vector));
                    }
                }
            }
        }
        Some(files)
    }
}

#[cfg(test)]
mod tests;
