//! SQLite files.
//!
//! A file has no types to speak of: the declared column type decides (see [`catalog`]), and each value must fit it. A reading is one read
//! transaction; in rollback-journal mode it keeps writers from committing until it ends, in WAL mode it does not.

mod catalog;
mod keys;
mod source;
mod target;
mod text;
mod value;

use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::{Connection, ErrorCode, OpenFlags};

use super::ConnectError;
use super::error::Cause;
use super::task::blocking;
use crate::project::System;

pub(super) use source::Source;
pub(super) use target::Target;

/// How long to wait for another program's lock.
const BUSY_TIMEOUT: Duration = Duration::from_secs(15);

/// Opens the file that `system`'s URL names, off the asynchronous threads.
async fn open(system: &System, root: &Path, flags: OpenFlags) -> Result<Connection, ConnectError> {
    let name = system.name.clone();
    let path = path_of(system, root)?;
    blocking(&system.name, move || open_file(&name, &path, flags)).await
}

fn path_of(system: &System, root: &Path) -> Result<PathBuf, ConnectError> {
    let path = system.url.strip_prefix("sqlite:").unwrap_or(&system.url);
    let path = path.strip_prefix("//").unwrap_or(path);
    if path.is_empty() || path.contains('?') {
        return Err(ConnectError::Address {
            system: system.name.clone(),
            what: "its address names no file".into(),
            hint: "write url = \"sqlite:path/to/file.db\", without options; the path starts at the project's folder".into(),
        });
    }
    Ok(root.join(path))
}

fn open_file(system: &str, path: &Path, flags: OpenFlags) -> Result<Connection, ConnectError> {
    if !path.exists() {
        return Err(ConnectError::NoFile { system: system.into(), path: path.into() });
    }
    let connection = Connection::open_with_flags(path, flags | OpenFlags::SQLITE_OPEN_NO_MUTEX)
        .and_then(|connection| connection.busy_timeout(BUSY_TIMEOUT).map(|()| connection))
        .map_err(|error| failure(system, "opening the file", error))?;
    match connection.query_row("select count(*) from sqlite_schema", [], |_| Ok(())) {
        Ok(()) => Ok(connection),
        Err(error) if error.sqlite_error_code() == Some(ErrorCode::NotADatabase) => {
            Err(ConnectError::NotSqlite { system: system.into(), path: path.into(), source: error.into() })
        }
        Err(error) => Err(failure(system, "opening the file", error)),
    }
}

/// What SQLite's answer means.
fn failure(system: &str, doing: &str, error: rusqlite::Error) -> ConnectError {
    let (system, doing) = (system.to_owned(), doing.to_owned());
    let code = error.sqlite_error_code();
    let source: Cause = error.into();
    match code {
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => ConnectError::Locked { system, doing, source },
        Some(
            ErrorCode::PermissionDenied
            | ErrorCode::ReadOnly
            | ErrorCode::AuthorizationForStatementDenied
            | ErrorCode::CannotOpen,
        ) => ConnectError::Denied { system, doing, source },
        Some(ErrorCode::OperationInterrupted) => ConnectError::Timeout { system, doing, source },
        _ => ConnectError::Failed { system, doing, source },
    }
}
