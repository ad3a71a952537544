//! Connections.

use std::sync::Arc;
use std::time::Duration;

use rustls::crypto::ring;
use rustls::{ClientConfig, RootCertStore};
use tokio_postgres::config::SslMode;
use tokio_postgres::error::SqlState;
use tokio_postgres::{Client, NoTls};
use tokio_postgres_rustls::MakeRustlsConnect;

use super::address::Address;
use super::failure::{failure, is_tls, opening_failure};
use crate::base::Secret;
use crate::connect::ConnectError;
use crate::project::System;

/// How the hub shows up in the server's own lists.
const APPLICATION_NAME: &str = "loopline";
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// The longest single read; a snapshot that is held for longer keeps the server from cleaning up.
const READ_TIMEOUT: Duration = Duration::from_secs(60 * 60);
/// The longest single statement of a write.
const WRITE_TIMEOUT: Duration = Duration::from_secs(60);
/// How long a write waits for a row that someone else holds.
const LOCK_TIMEOUT: Duration = Duration::from_secs(15);

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
}

/// Connects and sets what every session needs: limits, and settings that the text forms of values depend on.
pub(super) async fn connect(system: &System, secret: Option<Secret>, purpose: Purpose) -> Result<Session, ConnectError> {
    let mut address = Address::parse(system)?;
    address.config.application_name(APPLICATION_NAME).connect_timeout(CONNECT_TIMEOUT);
    if let Some(secret) = &secret {
        address.config.password(secret.expose());
    }
    let client = client(system, &address, secret.is_some()).await?;
    let (timeout, lock) = match purpose {
        Purpose::Read => (READ_TIMEOUT, READ_TIMEOUT),
        Purpose::Write => (WRITE_TIMEOUT, LOCK_TIMEOUT),
    };
    // The search path stays the server's own: triggers of written tables may rely on it.
    let settings = format!(
        "set statement_timeout = {}; set lock_timeout = {}; set intervalstyle = 'postgres'; set datestyle = 'ISO'; set timezone = 'UTC'; \
         set standard_conforming_strings = on",
        timeout.as_millis(),
        lock.as_millis()
    );
    client.batch_execute(&settings).await.map_err(|error| failure(&system.name, "opening the connection", error))?;
    Ok(Session { client, schema: address.schema })
}

async fn client(system: &System, address: &Address, has_secret: bool) -> Result<Client, ConnectError> {
    let fail = |error| opening_failure(&system.name, address, has_secret, error);
    let mode = address.config.get_ssl_mode();
    if mode == SslMode::Disable {
        return plain(system, address).await.map_err(fail);
    }
    match address.config.connect(tls(system, address)?).await {
        Ok((client, connection)) => Ok(drive(&system.name, client, connection)),
        Err(untrusted) if mode == SslMode::Prefer && is_tls(&untrusted) => match plain(system, address).await {
            Ok(client) => {
                tracing::warn!(system = system.name, error = %untrusted, "no trusted encryption with the server; going on without (sslmode=prefer)");
                Ok(client)
            }
            // Servers that insist on encryption say so in this way; what is missing then is trust.
            Err(error) if error.code() == Some(&SqlState::INVALID_AUTHORIZATION_SPECIFICATION) => Err(fail(untrusted)),
            Err(error) => Err(fail(error)),
        },
        Err(error) => Err(fail(error)),
    }
}

async fn plain(system: &System, address: &Address) -> Result<Client, tokio_postgres::Error> {
    let mut config = address.config.clone();
    let (client, connection) = config.ssl_mode(SslMode::Disable).connect(NoTls).await?;
    Ok(drive(&system.name, client, connection))
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

/// TLS with the certificate authorities that this machine trusts.
fn tls(system: &System, address: &Address) -> Result<MakeRustlsConnect, ConnectError> {
    let mut roots = RootCertStore::empty();
    let (added, ignored) = roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    tracing::debug!(system = system.name, added, ignored, "trusted certificate authorities");
    let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|source| ConnectError::Tls {
            system: system.name.clone(),
            address: address.shown.clone(),
            source: source.into(),
        })?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(MakeRustlsConnect::new(config))
}
