//! Connections.

use std::time::Duration;

use tokio_postgres::config::{Host, SslMode, SslNegotiation};
use tokio_postgres::error::SqlState;
use tokio_postgres::{Client, NoTls};

use super::address::Address;
use super::failure::{failure, has_no_tls, is_tls, opening_failure};
use super::tap::{Copies, Tapped};
use crate::base::Secret;
use crate::connect::ConnectError;
use crate::project::System;

/// How the hub shows up in the server's own lists.
const APPLICATION_NAME: &str = "loopline";
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// The longest single statement of a write.
const WRITE_TIMEOUT: Duration = Duration::from_secs(60);
/// How long a write waits for a row that someone else holds.
const WRITE_LOCK_TIMEOUT: Duration = Duration::from_secs(15);
/// How long a read waits for a table that someone alters.
const READ_LOCK_TIMEOUT: Duration = Duration::from_secs(30);
/// A line on which nothing comes is probed after this long, and given up after that many probes without answer: a dead network must not
/// look like a slow query.
const KEEPALIVE_AFTER: Duration = Duration::from_secs(30);
const KEEPALIVE_EVERY: Duration = Duration::from_secs(10);
const KEEPALIVE_PROBES: u32 = 3;
/// How long data that was sent may stay without acknowledgement.
const ACKNOWLEDGED_WITHIN: Duration = Duration::from_secs(60);

/// What a connection is for.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Purpose {
    Read,
    Write,
}

/// A connection and where its tables are.
pub(super) struct Session {
    pub(super) client: Client,
    /// The schema of tables that are named without one; `None`: where the server's search path finds them.
    pub(super) schema: Option<String>,
    /// The rows of the copies that are read here.
    pub(super) copies: Copies,
    /// How the connection was made; `None`: as the driver makes it by itself.
    tapped: Option<Tapped>,
}

impl Session {
    /// Stops the statement that runs; the transaction is to be rolled back afterwards.
    pub(super) async fn stop(&self) -> Result<(), tokio_postgres::Error> {
        let token = self.client.cancel_token();
        match &self.tapped {
            Some(tapped) => token.cancel_query(tapped.clone()).await,
            None => token.cancel_query(NoTls).await,
        }?;
        // The request takes a way of its own. If it comes too late for the statement, it shall hit this one and none that matters; where it
        // came in time, this one is refused at once.
        let _cancelled_or_refused = self.client.batch_execute("select pg_catalog.pg_sleep(1)").await;
        Ok(())
    }
}

/// Connects and sets what every session needs: limits, and settings that the text forms of values depend on.
pub(super) async fn connect(system: &System, secret: Option<Secret>, purpose: Purpose) -> Result<Session, ConnectError> {
    let mut address = Address::parse(system)?;
    let config = &mut address.config;
    config.application_name(APPLICATION_NAME).connect_timeout(CONNECT_TIMEOUT).tcp_user_timeout(ACKNOWLEDGED_WITHIN);
    config.keepalives_idle(KEEPALIVE_AFTER).keepalives_interval(KEEPALIVE_EVERY).keepalives_retries(KEEPALIVE_PROBES);
    if let Some(secret) = &secret {
        address.config.password(secret.expose());
    }
    let (client, tapped) = client(system, &address, secret.is_some()).await?;
    let limits = match purpose {
        Purpose::Read => {
            // Processes of the server that help one statement are more than the connections that the system allows.
            let own = "set max_parallel_workers_per_gather = 0";
            let timeout = system.load.statement_timeout;
            let timeout = timeout.map(|timeout| format!("set statement_timeout = {}; ", timeout.as_millis())).unwrap_or_default();
            // To compile a statement takes longer than to read some thousand rows; servers before version 11 know no such thing.
            let plain =
                "select pg_catalog.set_config('jit', 'off', false) where pg_catalog.current_setting('jit', true) is not null";
            format!("{timeout}set lock_timeout = {}; {own}; {plain}", READ_LOCK_TIMEOUT.as_millis())
        }
        Purpose::Write => format!(
            "set statement_timeout = {}; set lock_timeout = {}",
            WRITE_TIMEOUT.as_millis(),
            WRITE_LOCK_TIMEOUT.as_millis()
        ),
    };
    // The search path stays the server's own: triggers of written tables may rely on it.
    let settings = format!(
        "{limits}; set intervalstyle = 'postgres'; set datestyle = 'ISO'; set timezone = 'UTC'; set standard_conforming_strings = on; \
         set bytea_output = 'hex'; set extra_float_digits = 3"
    );
    client.batch_execute(&settings).await.map_err(|error| failure(&system.name, "opening the connection", error))?;
    let copies = tapped.as_ref().map(|tapped| tapped.copies.clone()).unwrap_or_default();
    Ok(Session { client, schema: address.schema, copies, tapped })
}

async fn client(system: &System, address: &Address, has_secret: bool) -> Result<(Client, Option<Tapped>), ConnectError> {
    let fail = |error| opening_failure(&system.name, address, has_secret, error);
    let mode = address.config.get_ssl_mode();
    if mode == SslMode::Disable {
        return plain(system, address).await.map_err(fail);
    }
    match tapped(system, address, true).await {
        Ok(client) => Ok(client),
        Err(untrusted) if mode == SslMode::Prefer && is_tls(&untrusted) => match plain(system, address).await {
            Ok(client) => {
                if !has_no_tls(&untrusted) {
                    tracing::warn!(system = system.name, error = %untrusted, "no trusted encryption with the server; going on without (sslmode=prefer)");
                }
                Ok(client)
            }
            // Servers that insist on encryption say so in this way; what is missing then is trust.
            Err(error) if !has_no_tls(&untrusted) && error.code() == Some(&SqlState::INVALID_AUTHORIZATION_SPECIFICATION) => {
                Err(fail(untrusted))
            }
            Err(error) => Err(fail(error)),
        },
        Err(error) => Err(fail(error)),
    }
}

async fn plain(system: &System, address: &Address) -> Result<(Client, Option<Tapped>), tokio_postgres::Error> {
    if address.config.get_hosts().iter().all(|host| matches!(host, Host::Tcp(_))) {
        return tapped(system, address, false).await;
    }
    let mut config = address.config.clone();
    let (client, connection) = config.ssl_mode(SslMode::Disable).connect(NoTls).await?;
    Ok((drive(&system.name, client, connection), None))
}

async fn tapped(system: &System, address: &Address, encrypted: bool) -> Result<(Client, Option<Tapped>), tokio_postgres::Error> {
    let mut config = address.config.clone();
    config.ssl_mode(SslMode::Require);
    if !encrypted {
        config.ssl_negotiation(SslNegotiation::Direct); // nothing is negotiated
    }
    let tapped = Tapped { encrypted, copies: Copies::default() };
    let (client, connection) = config.connect(tapped.clone()).await?;
    Ok((drive(&system.name, client, connection), Some(tapped)))
}

/// Lets the connection's own work run beside the client; it ends when the client is dropped.
fn drive<S, T>(system: &str, client: Client, connection: tokio_postgres::Connection<S, T>) -> Client
where
    tokio_postgres::Connection<S, T>: Future<Output = Result<(), tokio_postgres::Error>> + Send + 'static,
{
    let system = system.to_owned();
    tokio::spawn(async move {
        if let Err(error) = connection.await {
            tracing::debug!(system, error = %error, "connection ended"); // the client's next call reports it
        }
    });
    client
}
