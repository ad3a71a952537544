//! The snapshot that all readings of a source share, and the connections that see it.

use std::sync::Arc;

use tokio_postgres::{Error, SimpleQueryMessage};

use super::catalog;
use super::failure::failure;
use super::session::{Purpose, Session, connect};
use crate::base::Secret;
use crate::connect::ConnectError;
use crate::project::System;

/// Connections in one snapshot. The first one took it; the others came later, where a large table wanted them.
pub(super) struct Snapshot {
    system: System,
    secret: Option<Secret>,
    sessions: Vec<Arc<Session>>,
    /// By which further connections see the same; `None`: they cannot.
    name: Option<String>,
    /// See [`catalog::oldest_open_transaction`].
    pub(super) safe_until: Option<i64>,
}

impl Snapshot {
    pub(super) async fn take(system: &System, secret: Option<Secret>) -> Result<Self, ConnectError> {
        let fail = |error| failure(&system.name, "beginning a read transaction", error);
        let session = connect(system, secret.clone(), Purpose::Read).await?;
        // Before the snapshot: a transaction that commits in between is in the snapshot, one that begins in between is younger than the bound.
        let safe_until = catalog::oldest_open_transaction(&session.client).await.map_err(fail)?;
        let name = if system.load.connections > 1 { exported(&session, &system.name).await.map_err(fail)? } else { None };
        if name.is_none() {
            // The first query takes the snapshot.
            session.client.batch_execute(&format!("{BEGIN}; select pg_catalog.now(); {SAVEPOINT}")).await.map_err(fail)?;
        }
        Ok(Self { system: system.clone(), secret, sessions: vec![Arc::new(session)], name, safe_until })
    }

    /// The connection that took the snapshot, fit for the next reading: an error in the last one left its transaction unusable up to here.
    pub(super) async fn first(&self) -> Result<&Arc<Session>, ConnectError> {
        let fail = |error| failure(&self.system.name, "going back to the snapshot", error);
        for session in &self.sessions {
            session.client.batch_execute("rollback to savepoint stream").await.map_err(fail)?;
        }
        self.sessions.first().ok_or_else(|| ConnectError::Lost {
            system: self.system.name.clone(),
            doing: "going back to the snapshot".into(),
            source: "there is no connection".into(),
        })
    }

    /// Up to `count` connections that see the snapshot: fewer where the system does not give so many.
    pub(super) async fn sessions(&mut self, count: usize) -> Vec<Arc<Session>> {
        let count = count.min(self.system.load.connections);
        while self.sessions.len() < count
            && let Some(name) = &self.name
        {
            match imported(&self.system, self.secret.clone(), name).await {
                Ok(session) => self.sessions.push(Arc::new(session)),
                Err(error) => {
                    let (system, connections) = (&self.system.name, self.sessions.len());
                    tracing::warn!(
                        system,
                        connections,
                        error = crate::base::causes(&error),
                        "no further connection; going on with fewer"
                    );
                    self.name = None;
                }
            }
        }
        self.sessions.iter().take(count.max(1)).cloned().collect()
    }
}

const BEGIN: &str = "begin isolation level repeatable read read only";
const SAVEPOINT: &str = "savepoint stream";

/// Begins the transaction and exports its snapshot; `None`, and no transaction, where the server cannot.
async fn exported(session: &Session, system: &str) -> Result<Option<String>, Error> {
    let begin = format!("{BEGIN}; select pg_catalog.pg_export_snapshot(); {SAVEPOINT}");
    match session.client.simple_query(&begin).await {
        Ok(answers) => Ok(answers.iter().find_map(|answer| match answer {
            SimpleQueryMessage::Row(row) => row.get(0).map(str::to_owned),
            _ => None,
        })),
        Err(error) if error.as_db_error().is_some() => {
            tracing::warn!(system, error = %error, "the snapshot cannot be shared; reading with one connection");
            session.client.batch_execute("rollback").await.map(|()| None)
        }
        Err(error) => Err(error),
    }
}

async fn imported(system: &System, secret: Option<Secret>, name: &str) -> Result<Session, ConnectError> {
    let session = connect(system, secret, Purpose::Read).await?;
    let name = name.replace('\'', "''");
    let begin = format!("{BEGIN}; set transaction snapshot '{name}'; {SAVEPOINT}");
    let begun = session.client.batch_execute(&begin).await;
    begun.map_err(|error| failure(&system.name, "joining the snapshot", error))?;
    Ok(session)
}
