//! What can go wrong with tables and the control state.

use std::path::PathBuf;
use std::time::Duration;

use crate::base::time::Instant;
use crate::base::{Blame, Diagnose, Retry};

#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    #[error("cannot open store \"{store}\"")]
    Open { store: String, source: BoxError },
    #[error("store \"{store}\" carries a password in its address")]
    SecretInUrl { store: String },
    #[error("{what} of store object {path} failed")]
    Object { what: &'static str, path: String, source: object_store::Error },
    #[error("table {table}: {what}")]
    Delta { table: String, what: &'static str, source: BoxError },
    #[error("table {table}, file {path}: cannot {what}")]
    Parquet { table: String, path: String, what: &'static str, source: parquet::errors::ParquetError },
    #[error("table {table}: cannot {what}")]
    Arrow { table: String, what: &'static str, source: arrow::error::ArrowError },
    #[error("there is no table {table}")]
    NoTable { table: String },
    #[error("deletion vector {path}: {problem}")]
    DeletionVector { path: String, problem: String },
    #[error("table {table} was changed by another program while it was being committed")]
    Conflict { table: String, source: BoxError },
    /// The rows that were on their way in could not be read.
    #[error("table {table}: cannot read the rows to store")]
    Input { table: String, source: BoxError },
    #[error("table {table}, column {column}: {problem}")]
    Column { table: String, column: String, problem: String },
    #[error("table {table}, column {column}: its type was {was} and is now {now}")]
    ColumnChanged { table: String, column: String, was: String, now: String },
    #[error("table {table}, column {column} ({was}) is gone from the source (type now: none)")]
    ColumnGone { table: String, column: String, was: String },
    #[error("table {table}: its key was ({was}) and is now ({now})")]
    KeyChanged { table: String, was: String, now: String },
    #[error("table {table}: key column {column} is NULL in row {row} of the read")]
    NullKey { table: String, column: String, row: u64 },
    #[error("table {table}: two different rows have the key {key}")]
    DuplicateKey { table: String, key: String },
    #[error("table {table}: sweep would remove {deleted} of {rows} rows")]
    MassDelete { table: String, deleted: u64, rows: u64 },
    #[error("cannot keep what does not fit into memory in {}", path.display())]
    Spill { path: PathBuf, source: std::io::Error },
    #[error("table {table}: a task of the landing ended early")]
    Task { table: String, source: tokio::task::JoinError },
    #[error("the store is being written by process {pid} since {since}")]
    LeaseHeld { pid: i64, since: Instant },
    #[error("this process does not hold the writer lease of the store")]
    NoLease,
    #[error("control state {}: {what}", path.display())]
    Control { path: PathBuf, what: &'static str, source: rusqlite::Error },
    #[error("cannot open control state {}", path.display())]
    ControlFile { path: PathBuf, source: std::io::Error },
    #[error("control state {} was written by a newer version of loopline (format {found}, known up to {known})", path.display())]
    ControlNewer { path: PathBuf, found: i64, known: i64 },
    #[error("control state {} belongs to another store", path.display())]
    ControlForeign { path: PathBuf },
    #[error("control state: cannot read {what} \"{value}\"")]
    ControlValue { what: &'static str, value: String },
    #[error("the control state knows runs up to {known}, run {published} was published: nothing old may be removed")]
    ControlBehind { known: crate::base::RunId, published: crate::base::RunId },
    #[error("run {run} was published, but its versions are no longer kept")]
    CutGone { run: crate::base::RunId },
    #[error("the environment stands on run {run} of production, whose versions are no longer kept")]
    BaseGone { run: crate::base::RunId },
    #[error("run {run} published nothing")]
    NoCutOf { run: crate::base::RunId },
    #[error("a change cannot go from {from} to {to}")]
    Transition { from: &'static str, to: &'static str },
    #[error("cannot read {what}")]
    Json { what: String, source: serde_json::Error },
    #[error("{what} is not of the form that loopline writes")]
    Malformed { what: String },
}

/// A cause whose type does not matter to callers.
pub type BoxError = Box<dyn std::error::Error + Send + Sync>;

impl Diagnose for StoreError {
    fn blame(&self) -> Blame {
        match self {
            Self::Transition { .. } | Self::NoLease | Self::Arrow { .. } | Self::Task { .. } => Blame::Program,
            _ => Blame::User,
        }
    }

    fn hint(&self) -> Option<String> {
        let hint = match self {
            Self::Open { .. } => {
                "check `store` in loopline.toml and, for a cloud store, the AWS_…, GOOGLE_… or AZURE_… variables"
            }
            Self::SecretInUrl { .. } => {
                "remove it from `store` in loopline.toml; credentials come from the AWS_…, GOOGLE_… or AZURE_… variables"
            }
            Self::DeletionVector { .. } => "restore the file, or delete the table's folder so that the next pull reads it anew",
            Self::Conflict { .. } => "run it again; keep other programs from writing to the store's tables while loopline runs",
            Self::ColumnChanged { .. } => {
                "exclude the column in the connector, or delete the table's folder so that the next pull reads it anew"
            }
            Self::ColumnGone { .. } => {
                "restore it in the source, or delete the table's folder so that the next pull reads it anew"
            }
            Self::KeyChanged { .. } => "delete the table's folder so that the next pull reads it anew",
            Self::NullKey { .. } | Self::DuplicateKey { .. } => {
                "choose a key in connector.toml that is never NULL and unique in the source"
            }
            Self::Spill { .. } => "free space on the disk that holds the control state",
            Self::MassDelete { .. } => {
                "check the source; if the rows are really gone: `loopline pull SYSTEM --full`; if they come and go as a rule: removals = \"any\" in the stream"
            }
            Self::LeaseHeld { .. } => "wait for it to end, or stop that process; reading needs no lease",
            Self::ControlBehind { .. } => "run `loopline write recover`",
            Self::CutGone { .. } => {
                "how long runs are kept: `runs` and `sent` (runs behind a change that was sent) under [retention] in loopline.toml"
            }
            Self::BaseGone { .. } => {
                "build the environment anew: `loopline build --env NAME`, or remove it: `loopline env drop NAME`"
            }
            Self::NoCutOf { .. } => "`loopline status` lists the last runs",
            Self::ControlNewer { .. } => "use the newer version",
            Self::ControlForeign { .. } => {
                "set `control` in loopline.toml to this store's own file, or move the file away and run `loopline write recover`"
            }
            _ => return None,
        };
        Some(hint.into())
    }
}

impl StoreError {
    /// Whether the same may work a little later: another writer was faster, or a store across the network does not answer as it should.
    pub fn retry(&self) -> Retry {
        match self {
            Self::Conflict { .. } => Retry::After(Duration::from_millis(200)),
            _ => retry_after(self),
        }
    }
}

/// Whether an error goes back to a store that does not answer as it should.
pub fn retry_after(error: &(dyn std::error::Error + 'static)) -> Retry {
    let causes = std::iter::successors(error.source(), |cause| cause_of(*cause));
    let passing = causes.filter_map(|cause| cause.downcast_ref()).any(may_pass);
    if passing { Retry::After(Duration::from_secs(2)) } else { Retry::Never }
}

/// The next cause. An `io::Error` passes over the error that it wraps.
fn cause_of<'a>(error: &'a (dyn std::error::Error + 'static)) -> Option<&'a (dyn std::error::Error + 'static)> {
    let wrapped = error.downcast_ref::<std::io::Error>().and_then(std::io::Error::get_ref);
    wrapped.map(|wrapped| wrapped as &(dyn std::error::Error + 'static)).or_else(|| error.source())
}

/// What object_store does not name otherwise: no answer, 5xx, throttling, all beyond its own tries. A full or broken disk does not pass.
fn may_pass(error: &object_store::Error) -> bool {
    matches!(error, object_store::Error::Generic { store, .. } if !store.starts_with("LocalFileSystem"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_network_does_passes_and_what_a_disk_does_not() {
        let object = |store| object_store::Error::Generic { store, source: "503 Slow Down".into() };
        let failed = |source| StoreError::Object { what: "writing", path: "p".into(), source };
        assert_eq!(failed(object("S3")).retry(), Retry::After(Duration::from_secs(2)));
        assert_eq!(failed(object("LocalFileSystem")).retry(), Retry::Never);
        assert_eq!(failed(object_store::Error::NotFound { path: "p".into(), source: "gone".into() }).retry(), Retry::Never);
        let parquet = parquet::errors::ParquetError::External(Box::new(std::io::Error::other(object("S3"))));
        let within = StoreError::Parquet { table: "t".into(), path: "p".into(), what: "write it", source: parquet };
        assert!(matches!(within.retry(), Retry::After(_)), "a cause of a cause");
        assert!(matches!(StoreError::Conflict { table: "t".into(), source: "later".into() }.retry(), Retry::After(_)));
        assert_eq!(StoreError::NoLease.retry(), Retry::Never);
    }
}
