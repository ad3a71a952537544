//! What the server's answers mean.

use tokio_postgres::Error;
use tokio_postgres::error::SqlState;

use super::address::Address;
use crate::connect::ConnectError;
use crate::connect::error::Cause;

/// An error after the connection was made.
pub(super) fn failure(system: &str, doing: &str, error: Error) -> ConnectError {
    let (system, doing) = (system.to_owned(), doing.to_owned());
    let code = error.code().cloned();
    let lost = error.is_closed() || (code.is_none() && is_io(&error));
    let source: Cause = error.into();
    match code {
        Some(SqlState::INSUFFICIENT_PRIVILEGE) => ConnectError::Denied { system, doing, source },
        Some(SqlState::QUERY_CANCELED) => ConnectError::Timeout { system, doing, source },
        Some(SqlState::LOCK_NOT_AVAILABLE | SqlState::T_R_DEADLOCK_DETECTED | SqlState::T_R_SERIALIZATION_FAILURE) => {
            ConnectError::Locked { system, doing, source }
        }
        Some(SqlState::ADMIN_SHUTDOWN | SqlState::CRASH_SHUTDOWN | SqlState::IDLE_IN_TRANSACTION_SESSION_TIMEOUT) => {
            ConnectError::Lost { system, doing, source }
        }
        Some(
            SqlState::CANNOT_CONNECT_NOW
            | SqlState::TOO_MANY_CONNECTIONS
            | SqlState::CONFIGURATION_LIMIT_EXCEEDED
            | SqlState::OUT_OF_MEMORY
            | SqlState::DISK_FULL,
        ) => ConnectError::Busy { system, doing, source },
        None if lost => ConnectError::Lost { system, doing, source },
        _ => ConnectError::Failed { system, doing, source },
    }
}

/// An error while the connection is made.
pub(super) fn opening_failure(system: &str, address: &Address, has_secret: bool, error: Error) -> ConnectError {
    let (name, shown) = (system.to_owned(), address.shown.clone());
    if let Some(code) = error.code() {
        return if [SqlState::INVALID_PASSWORD, SqlState::INVALID_AUTHORIZATION_SPECIFICATION].contains(code) {
            ConnectError::Login { system: name, address: shown, user: address.user.clone(), has_secret, source: error.into() }
        } else if *code == SqlState::INVALID_CATALOG_NAME {
            ConnectError::NoDatabase { system: name, address: shown, database: address.database.clone(), source: error.into() }
        } else {
            failure(system, "opening the connection", error)
        };
    }
    if is_tls(&error) {
        return ConnectError::Tls { system: name, address: shown, source: error.into() };
    }
    if is_io(&error) {
        return ConnectError::Unreachable { system: name, address: shown, source: error.into() };
    }
    if !has_secret {
        // The driver's only other complaint: the server wants a password and there is none.
        return ConnectError::Login {
            system: name,
            address: shown,
            user: address.user.clone(),
            has_secret,
            source: error.into(),
        };
    }
    failure(system, "opening the connection", error)
}

/// The driver keeps its kind private; the cause tells a broken line from an answer.
fn is_io(error: &Error) -> bool {
    causes(error).any(|cause| cause.is::<std::io::Error>())
}

pub(super) fn is_tls(error: &Error) -> bool {
    let handshake = |cause: &(dyn std::error::Error + 'static)| {
        let inner = cause.downcast_ref::<std::io::Error>().and_then(std::io::Error::get_ref);
        cause.is::<rustls::Error>() || inner.is_some_and(|inner| inner.is::<rustls::Error>())
    };
    // "error performing TLS handshake": also what a server without TLS answers to sslmode=require, without a cause of a known type.
    causes(error).any(handshake) || error.to_string().starts_with("error performing TLS handshake")
}

/// Whether the server offers no encryption at all.
pub(super) fn has_no_tls(error: &Error) -> bool {
    causes(error).any(|cause| cause.to_string() == "server does not support TLS")
}

fn causes<'a>(error: &'a Error) -> impl Iterator<Item = &'a (dyn std::error::Error + 'static)> {
    std::iter::successors(std::error::Error::source(error), |cause| cause.source())
}

/// The server's own words about one change, if the change itself is what it refuses.
pub(super) fn refusal(error: &Error) -> Option<String> {
    let answer = error.as_db_error()?;
    let code = answer.code().code();
    // 22 data, 23 constraints, 44 check option of a view, P0 raised by a trigger, 42501 missing right, 428C9 generated column, 55000 view.
    let refused =
        ["22", "23", "44", "P0"].iter().any(|class| code.starts_with(class)) || ["42501", "428C9", "55000"].contains(&code);
    refused.then(|| match answer.detail() {
        Some(detail) => format!("{} ({detail})", answer.message()),
        None => answer.message().to_owned(),
    })
}
