//! Connections.

use std::sync::Arc;
use std::time::Duration;

use mysql_async::prelude::Queryable;
use mysql_async::{Conn, Error, IoError, Opts, OptsBuilder, SslOpts};
use rustls::crypto::ring;
use rustls::pki_types::CertificateDer;
use rustls::{ClientConfig, RootCertStore};

use super::address::{Address, Encryption};
use super::failure::{code, failure, is_tls, opening_failure};
use super::wire::{Login, Wire};
use crate::base::Secret;
use crate::connect::ConnectError;
use crate::connect::task::blocking;
use crate::project::System;

pub(super) const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// A dead network is noticed after a few of these.
const KEEPALIVE: Duration = Duration::from_secs(30);
/// The largest message, which bounds a row: the protocol's own limit.
const PACKET_BYTES_MAX: usize = 1 << 30;
/// How long the server keeps a connection that waits for the hub: a reading that is slow to be written, a stream that is read last.
const IDLE_SECONDS: u64 = 24 * 3_600;
/// How long a server may work on a reading without sending anything, where the load sets no limit.
const SILENCE_MAX: Duration = Duration::from_secs(3_600);
/// How long a read waits for a table that someone alters.
const READ_LOCK_SECONDS: u64 = 30;
/// The longest single statement of a write, and how long it waits for a row that someone else holds.
const WRITE_TIMEOUT: Duration = Duration::from_secs(60);
const WRITE_LOCK_SECONDS: u64 = 15;

/// What a connection is for.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Purpose {
    Read,
    Write,
}

/// A connection and what kind of server it leads to.
pub(super) struct Session {
    pub(super) conn: Conn,
    pub(super) is_mariadb: bool,
    is_encrypted: bool,
    /// Where tables without a schema are looked for.
    pub(super) database: String,
}

/// Connects and sets what every session needs.
pub(super) async fn connect(system: &System, secret: Option<&Secret>, purpose: Purpose) -> Result<Session, ConnectError> {
    let address = Address::parse(system)?;
    let opts = OptsBuilder::from_opts(address.opts.clone())
        .pass(secret.map(|secret| secret.expose().to_owned()))
        .prefer_socket(false)
        .tcp_keepalive(Some(KEEPALIVE))
        .max_allowed_packet(Some(PACKET_BYTES_MAX))
        .wait_timeout(Some(IDLE_SECONDS as usize))
        // An update counts the rows it finds, also those that have the new values already.
        .client_found_rows(true)
        .connect_attribute("program_name", "loopline");
    let (mut conn, is_encrypted) = open(system, &address, opts, secret.is_some()).await?;
    let fail = |error| failure(&system.name, "opening the connection", error);
    let version: Option<String> = conn.query_first("select version()").await.map_err(fail)?;
    let is_mariadb = version.is_some_and(|version| version.to_ascii_lowercase().contains("mariadb"));
    for statement in settings(system, purpose, is_mariadb) {
        conn.query_drop(statement).await.map_err(fail)?;
    }
    Ok(Session { conn, is_mariadb, is_encrypted, database: address.database })
}

/// Further connections that only read, as and to where `session` leads.
pub(super) async fn wires(
    system: &System,
    secret: Option<&Secret>,
    session: &Session,
    count: usize,
) -> Result<Vec<Wire>, ConnectError> {
    let address = Address::parse(system)?;
    let fail = |source| ConnectError::Tls { system: system.name.clone(), address: address.shown.clone(), source };
    let login = Login {
        host: address.opts.ip_or_hostname().to_owned(),
        port: address.opts.tcp_port(),
        user: address.user.clone(),
        password: secret.map(|secret| secret.expose().to_owned()),
        database: address.database.clone(),
        tls: if session.is_encrypted { Some(tls().map_err(|error| fail(error.into()))?) } else { None },
        silence: system.load.statement_timeout.map_or(SILENCE_MAX, |timeout| timeout + CONNECT_TIMEOUT),
    };
    let settings = settings(system, Purpose::Read, session.is_mariadb);
    let (name, has_secret) = (system.name.clone(), secret.is_some());
    blocking(&system.name, move || {
        let mut wires = Vec::with_capacity(count);
        while wires.len() < count {
            let connected = Wire::connect(&login).and_then(|mut wire| {
                settings.iter().try_for_each(|statement| wire.run(statement))?;
                Ok(wire)
            });
            match connected {
                Ok(wire) => wires.push(wire),
                Err(error) if wires.is_empty() => return Err(opening_failure(&name, &address, has_secret, error)),
                Err(error) => {
                    tracing::info!(system = name, %error, connections = wires.len(), "the server takes no further connections of the hub");
                    break;
                }
            }
        }
        Ok(wires)
    })
    .await
}

/// What every session needs: limits, and settings that the meaning of values depends on.
fn settings(system: &System, purpose: Purpose, is_mariadb: bool) -> [String; 2] {
    let (timeout, lock) = match purpose {
        Purpose::Read => (system.load.statement_timeout, READ_LOCK_SECONDS),
        Purpose::Write => (Some(WRITE_TIMEOUT), WRITE_LOCK_SECONDS),
    };
    let timeout = match timeout {
        None => String::new(),
        Some(timeout) if is_mariadb => format!(", max_statement_time = {}", timeout.as_secs_f64()),
        Some(timeout) => format!(", max_execution_time = {}", timeout.as_millis()),
    };
    // Strict, so that a value that does not fit is refused and not cut; without the modes that change how values are compared or shown.
    let variables = format!(
        "set session time_zone = '+00:00', sql_mode = 'STRICT_ALL_TABLES,NO_ENGINE_SUBSTITUTION', lock_wait_timeout = {lock}, \
         innodb_lock_wait_timeout = {lock}, wait_timeout = {IDLE_SECONDS}, net_write_timeout = {IDLE_SECONDS}, autocommit = 1{timeout}"
    );
    [variables, "set session transaction isolation level repeatable read".into()]
}

/// A connection, and whether it is encrypted.
async fn open(system: &System, address: &Address, opts: OptsBuilder, has_secret: bool) -> Result<(Conn, bool), ConnectError> {
    let fail = |error| opening_failure(&system.name, address, has_secret, error);
    if address.encryption == Encryption::Disable {
        return attempt(opts).await.map(|conn| (conn, false)).map_err(fail);
    }
    match attempt(opts.clone().ssl_opts(trusted())).await {
        Err(untrusted) if address.encryption == Encryption::Prefer && is_tls(&untrusted) => match attempt(opts).await {
            Ok(conn) => {
                tracing::warn!(system = system.name, error = %untrusted, "no trusted encryption with the server; going on without (sslmode=prefer)");
                Ok((conn, false))
            }
            // A server that insists on encryption: what is missing is trust.
            Err(error) if code(&error) == Some(3159) => Err(fail(untrusted)),
            Err(error) => Err(fail(error)),
        },
        result => result.map(|conn| (conn, true)).map_err(fail),
    }
}

async fn attempt(opts: impl Into<Opts>) -> Result<Conn, Error> {
    match tokio::time::timeout(CONNECT_TIMEOUT, Conn::new(opts)).await {
        Ok(result) => result,
        Err(elapsed) => Err(Error::Io(IoError::Io(std::io::Error::new(std::io::ErrorKind::TimedOut, elapsed)))),
    }
}

/// TLS with the certificate authorities that this machine trusts, for the driver.
fn trusted() -> SslOpts {
    // The driver takes the process's provider; whoever set one first is as good.
    let _set_already = ring::default_provider().install_default();
    let usable = |certificate: &CertificateDer<'static>| RootCertStore::empty().add(certificate.clone()).is_ok();
    let certificates = rustls_native_certs::load_native_certs().certs.into_iter().filter(usable);
    let roots = certificates.map(|certificate| certificate.to_vec().into()).collect();
    SslOpts::default().with_disable_built_in_roots(true).with_root_certs(roots)
}

/// The same for connections that only read.
fn tls() -> Result<Arc<ClientConfig>, rustls::Error> {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider())).with_safe_default_protocol_versions()?;
    Ok(Arc::new(config.with_root_certificates(roots).with_no_client_auth()))
}
