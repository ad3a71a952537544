//! What can go wrong with a system. Messages name the system, the stream or table, the column and the row's key; never a secret.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use crate::base::{Blame, Diagnose, Retry};
use crate::project::ProjectError;

/// A driver's error, kept as the cause.
pub(super) type Cause = Box<dyn std::error::Error + Send + Sync>;

/// Where in a system something went wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    pub system: String,
    pub object: Object,
    pub name: String,
}

/// What a place's name names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Object {
    Stream,
    Table,
}

impl Place {
    pub(super) fn stream(system: &str, stream: &str) -> Arc<Self> {
        Arc::new(Self { system: system.into(), object: Object::Stream, name: stream.into() })
    }

    pub(super) fn table(system: &str, table: &str) -> Arc<Self> {
        Arc::new(Self { system: system.into(), object: Object::Table, name: table.into() })
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let object = match self.object {
            Object::Stream => "stream",
            Object::Table => "table",
        };
        write!(f, "system \"{}\", {object} \"{}\"", self.system, self.name)
    }
}

/// Why a column was looked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    Key,
    Cursor,
    Version,
    Excluded,
    /// Its type is chosen in the connector.
    Typed,
    Written,
    Looked,
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Key => "key",
            Self::Cursor => "cursor",
            Self::Version => "version",
            Self::Excluded => "excluded",
            Self::Typed => "typed",
            Self::Written => "written",
            Self::Looked => "looked up",
        })
    }
}

#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConnectError {
    /// The address in `loopline.toml` cannot be used.
    #[error("system \"{system}\": {what}")]
    Address { system: String, what: String, hint: String },
    #[error("system \"{system}\": its secret cannot be read")]
    Secret { system: String, source: ProjectError },
    #[error("system \"{system}\": there is no database file {}", path.display())]
    NoFile { system: String, path: PathBuf },
    #[error("system \"{system}\": there is no folder {}", folder.display())]
    NoFolder { system: String, folder: PathBuf },
    /// A listing without a single file of the stream; `taken`: how many there were in earlier pulls.
    #[error("{place}: no file matches \"{pattern}\"{}", taken_before(*taken))]
    NoFiles { place: Arc<Place>, pattern: String, taken: usize },
    /// A file that is not what it should be.
    #[error("{place}, file {file}{}: {what}", line.map(|line| format!(", line {line}")).unwrap_or_default())]
    File { place: Arc<Place>, file: String, line: Option<u64>, what: String, hint: String },
    #[error("system \"{system}\": {} is not a SQLite database", path.display())]
    NotSqlite { system: String, path: PathBuf, source: Cause },
    /// Nothing answers at the address.
    #[error("system \"{system}\": {address} cannot be reached")]
    Unreachable { system: String, address: String, source: Cause },
    #[error("system \"{system}\": no secure connection to {address}")]
    Tls { system: String, address: String, source: Cause },
    #[error("system \"{system}\": {address} refuses user \"{user}\"")]
    Login { system: String, address: String, user: String, has_secret: bool, source: Cause },
    #[error("system \"{system}\": {address} has no database \"{database}\"")]
    NoDatabase { system: String, address: String, database: String, source: Cause },
    #[error("{place}: there is no table \"{table}\"")]
    NoTable { place: Arc<Place>, table: String, nearest: Option<String> },
    #[error("{place}: table \"{table}\" has no {role} column \"{column}\"")]
    NoColumn { place: Arc<Place>, table: String, column: String, role: Role, nearest: Option<String> },
    /// A column cannot be left out and be the key or the cursor.
    #[error("{place}: column \"{column}\" is excluded, but it is the {role}")]
    NeededColumn { place: Arc<Place>, column: String, role: Role },
    #[error("{place}: column \"{column}\" is declared as a cursor of kind {declared}, but holds {found}")]
    CursorKind { place: Arc<Place>, column: String, declared: &'static str, found: String },
    #[error("{place}: column \"{column}\" has type {type_name}, which cannot be read")]
    UnknownType { place: Arc<Place>, column: String, type_name: String },
    #[error("{place}: column \"{column}\" holds timestamps without a zone")]
    NoZone { place: Arc<Place>, column: String },
    /// One value cannot be read as its column's type without loss.
    #[error("{place}, column \"{column}\", row {key}: {what}")]
    Value { place: Arc<Place>, column: String, key: String, what: String },
    /// The contract leaves out what does not fit, but not without end.
    #[error("{place}: too many rows and values do not fit their columns' types")]
    TooManyDiscards { place: Arc<Place> },
    #[error("{place}: row {row} of this read has no value in key column \"{column}\"")]
    KeyNull { place: Arc<Place>, column: String, row: u64 },
    /// The table's shape changed while it was read.
    #[error("{place}: the table changed while it was read: {what}")]
    Changed { place: Arc<Place>, what: String },
    #[error("system \"{system}\": permission denied while {doing}")]
    Denied { system: String, doing: String, source: Cause },
    #[error("system \"{system}\": timed out while {doing}")]
    Timeout { system: String, doing: String, source: Cause },
    /// Another writer was in the way: a deadlock, a lock held for too long.
    #[error("system \"{system}\": locked by another transaction while {doing}")]
    Locked { system: String, doing: String, source: Cause },
    #[error("system \"{system}\": the connection was lost while {doing}")]
    Lost { system: String, doing: String, source: Cause },
    /// The system runs, but takes no more connections or work now.
    #[error("system \"{system}\": has no room for the hub while {doing}")]
    Busy { system: String, doing: String, source: Cause },
    /// Anything else that the system answered.
    #[error("system \"{system}\": failed while {doing}")]
    Failed { system: String, doing: String, source: Cause },
    #[error("{place}: cannot assemble a batch")]
    Batch { place: Arc<Place>, source: arrow::error::ArrowError },
    #[error("system \"{system}\": the thread that speaks to it ended early")]
    Thread { system: String, source: Cause },
}

impl Diagnose for ConnectError {
    fn blame(&self) -> Blame {
        match self {
            Self::Batch { .. } | Self::Thread { .. } => Blame::Program,
            _ => Blame::User,
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::Address { hint, .. } | Self::File { hint, .. } => Some(hint.clone()),
            Self::Secret { source, .. } => source.hint(),
            Self::Batch { .. } | Self::Thread { .. } => None,
            Self::NoTable { nearest, .. } | Self::NoColumn { nearest, .. } => Some(absent(self, nearest.as_deref())),
            Self::NoFile { .. }
            | Self::NoFolder { .. }
            | Self::NotSqlite { .. }
            | Self::Unreachable { .. }
            | Self::Tls { .. }
            | Self::Login { .. }
            | Self::NoDatabase { .. } => Some(self.opening_hint().into()),
            Self::NeededColumn { .. }
            | Self::CursorKind { .. }
            | Self::UnknownType { .. }
            | Self::NoZone { .. }
            | Self::Value { .. }
            | Self::TooManyDiscards { .. }
            | Self::KeyNull { .. }
            | Self::NoFiles { .. }
            | Self::Changed { .. } => Some(self.reading_hint()),
            Self::Denied { .. }
            | Self::Timeout { .. }
            | Self::Locked { .. }
            | Self::Lost { .. }
            | Self::Busy { .. }
            | Self::Failed { .. } => Some(self.answer_hint().into()),
        }
    }
}

impl ConnectError {
    /// Whether the same reading may succeed later. Each implementation chose the variant where it saw the system's code.
    pub fn retry(&self) -> Retry {
        match self {
            Self::Unreachable { .. } | Self::Lost { .. } | Self::Busy { .. } => Retry::After(Duration::from_secs(2)),
            // Whoever holds the lock needs time; a shape that changed is read anew in the next snapshot.
            Self::Locked { .. } => Retry::After(Duration::from_secs(5)),
            Self::Changed { .. } => Retry::After(Duration::from_secs(1)),
            _ => Retry::Never,
        }
    }

    /// For failures before anything was read.
    fn opening_hint(&self) -> &'static str {
        match self {
            Self::NoFile { .. } => "correct the path after `sqlite:` in loopline.toml; it starts at the project's folder",
            Self::NoFolder { .. } => {
                "make the folder, or correct the system's `url` in loopline.toml; it starts at the project's folder"
            }
            Self::NotSqlite { .. } => "name a SQLite database file in the system's `url`",
            Self::Unreachable { .. } => {
                "check host and port in the system's `url`, and that the database runs and can be reached from here"
            }
            Self::Tls { .. } => {
                "install the certificate authority of the server in this machine's trust store, or set sslmode=disable in the `url` where the network is trusted"
            }
            Self::Login { has_secret: false, .. } => {
                "check the user in the system's `url`; if it has a password, name the place of it in loopline.toml: secret = { env = \"…\" } or { file = \"…\" }"
            }
            Self::Login { .. } => "check the user in the system's `url` and the password that its `secret` names",
            _ => "correct the database's name in the system's `url`",
        }
    }

    /// For what a stream's declaration and the source's table disagree on.
    fn reading_hint(&self) -> String {
        match self {
            Self::NeededColumn { column, .. } => format!("remove \"{column}\" from `exclude` in connector.toml"),
            Self::CursorKind { .. } => {
                "choose a timestamp or integer column as cursor in connector.toml, or leave the cursor out: then every pull compares the whole table".into()
            }
            Self::UnknownType { column, .. } => format!(
                "choose what it becomes with types = {{ {column} = \"text\" }} in connector.toml, or add \"{column}\" to the stream's `exclude`"
            ),
            Self::NoZone { .. } => "set time_zone (for example \"Europe/Berlin\") in connector.toml or for the system in loopline.toml".into(),
            Self::Value { column, .. } => format!(
                "correct the row in the source, or say in connector.toml what to do: types = {{ {column} = \"text\" }}, or contract = {{ values = \"discard_row\" }}, or add \"{column}\" to the stream's `exclude`"
            ),
            Self::TooManyDiscards { .. } => {
                "look at what the source holds now; if these values are as they should be, choose other `types` in connector.toml".into()
            }
            Self::NoFiles { taken: 0, .. } => "check the pattern in connector.toml and the system's `url`; names are case-sensitive".into(),
            Self::NoFiles { .. } => {
                "check that the folder is mounted and may be listed; if files are taken away after a pull, set removals = \"any\" for the stream in connector.toml".into()
            }
            Self::KeyNull { .. } => "choose key columns that always have a value, or correct the row in the source".into(),
            _ => "pull again; if it happens again, compare connector.toml with the source's table".into(),
        }
    }

    /// For what the running system answered.
    fn answer_hint(&self) -> &'static str {
        match self {
            Self::Denied { .. } => "grant the hub's user the right to do this in the source system",
            Self::Timeout { .. } => {
                "try again when the system is less busy; for a large table declare a cursor, so that less is read at once"
            }
            Self::Locked { .. } => "try again; another program holds a lock on these rows",
            Self::Busy { .. } => "try again later, lower load.connections, or let the database take more connections",
            Self::Lost { .. } => "check the network and the database's own log, then try again",
            _ => "the cause is the database's own message; correct the declaration or the database, then try again",
        }
    }
}

fn taken_before(taken: usize) -> String {
    if taken == 0 { String::new() } else { format!(", although {taken} were taken before") }
}

fn absent(error: &ConnectError, nearest: Option<&str>) -> String {
    match (error, nearest) {
        (_, Some(nearest)) => format!("did you mean \"{nearest}\"?"),
        (ConnectError::NoTable { .. }, None) => {
            "check `table` in connector.toml, `schema` in the system's `url`, and the rights of the hub's user".into()
        }
        (_, None) => "compare the names in connector.toml with the source's table; they are case-sensitive".into(),
    }
}

/// The name most like `wanted`; one that differs only in case wins.
pub(super) fn nearest_name<'a>(wanted: &str, names: impl IntoIterator<Item = &'a str> + Clone) -> Option<String> {
    let same_letters = names.clone().into_iter().find(|name| name.eq_ignore_ascii_case(wanted));
    same_letters.or_else(|| crate::base::nearest(wanted, names)).map(str::to_owned)
}
