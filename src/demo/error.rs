//! What can go wrong with the demo plant.

use std::path::PathBuf;

use crate::base::{Blame, Diagnose};

#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DemoError {
    #[error("demo: {what}")]
    Option { what: String, hint: String },
    #[error("demo: cannot write {}", path.display())]
    Write {
        path: PathBuf,
        #[source]
        source: std::io::Error,
    },
    #[error("demo: cannot read {}", path.display())]
    Read {
        path: PathBuf,
        #[source]
        source: std::io::Error,
    },
    #[error("demo: {} is not a state of the demo plant", path.display())]
    State {
        path: PathBuf,
        #[source]
        source: serde_json::Error,
    },
    #[error("demo: there is no plant in {}", dir.display())]
    Missing { dir: PathBuf },
    #[error("demo: system \"{system}\", table \"{table}\"")]
    Sqlite {
        system: &'static str,
        table: String,
        #[source]
        source: rusqlite::Error,
    },
    #[error("demo: system \"{system}\", table \"{table}\"")]
    Postgres {
        system: &'static str,
        table: String,
        #[source]
        source: tokio_postgres::Error,
    },
    #[error("demo: system \"{system}\", table \"{table}\"")]
    Mysql {
        system: &'static str,
        table: String,
        #[source]
        source: mysql_async::Error,
    },
    #[error("demo: system \"{system}\": cannot connect to {url}")]
    Connect {
        system: &'static str,
        url: String,
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    #[error("demo: a background task of the demo plant stopped")]
    Task(#[source] tokio::task::JoinError),
}

impl Diagnose for DemoError {
    fn blame(&self) -> Blame {
        match self {
            Self::Task(_) => Blame::Program,
            _ => Blame::User,
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::Option { hint, .. } => Some(hint.clone()),
            Self::Missing { .. } | Self::State { .. } => Some("run `loopline demo` in this folder to make one".into()),
            Self::Sqlite { .. } | Self::Postgres { .. } | Self::Mysql { .. } => {
                Some("run `loopline demo` again: it drops and remakes its own tables".into())
            }
            Self::Connect { .. } => {
                Some("is the server running, and does PGPASSWORD (MySQL: MYSQL_PWD) hold the password?".into())
            }
            _ => None,
        }
    }
}
