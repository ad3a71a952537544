//! What the server's answers mean.

use mysql_async::{DriverError, Error, IoError};

use super::address::Address;
use crate::connect::ConnectError;
use crate::connect::error::Cause;

/// The server's number for an answer, if it answered.
pub(super) fn code(error: &Error) -> Option<u16> {
    match error {
        Error::Server(answer) => Some(answer.code),
        _ => None,
    }
}

/// An error after the connection was made.
pub(super) fn failure(system: &str, doing: &str, error: Error) -> ConnectError {
    let (system, doing) = (system.to_owned(), doing.to_owned());
    let code = code(&error);
    let lost = matches!(error, Error::Io(_) | Error::Driver(DriverError::ConnectionClosed | DriverError::PacketOutOfOrder));
    let source: Cause = error.into();
    match code {
        // 1044 database, 1142 table, 1143 column, 1227 and 1370 rights over the server and routines, 1290 and 1792 read-only servers.
        Some(1044 | 1142 | 1143 | 1227 | 1370 | 1290 | 1792 | 1836) => ConnectError::Denied { system, doing, source },
        // 1317 stopped by someone; 1969 and 3024 too long (MariaDB, MySQL).
        Some(1317 | 1969 | 3024) => ConnectError::Timeout { system, doing, source },
        // 1205 a lock held for too long, 1213 deadlock, 1020 changed since it was read.
        Some(1205 | 1213 | 1020) => ConnectError::Locked { system, doing, source },
        // 1053 shutdown, 1927 killed, 1159 to 1161 network, 4031 idle for too long.
        Some(1053 | 1927 | 1159..=1161 | 4031) => ConnectError::Lost { system, doing, source },
        // 1040, 1203 and 1226: too many connections, 1129: too many failed ones.
        Some(1040 | 1203 | 1226 | 1129) => ConnectError::Busy { system, doing, source },
        None if lost => ConnectError::Lost { system, doing, source },
        _ => ConnectError::Failed { system, doing, source },
    }
}

/// An error while the connection is made.
pub(super) fn opening_failure(system: &str, address: &Address, has_secret: bool, error: Error) -> ConnectError {
    let (name, shown) = (system.to_owned(), address.shown.clone());
    match code(&error) {
        Some(1045 | 1698 | 1130 | 1251 | 1862) => {
            ConnectError::Login { system: name, address: shown, user: address.user.clone(), has_secret, source: error.into() }
        }
        Some(1049) => {
            ConnectError::NoDatabase { system: name, address: shown, database: address.database.clone(), source: error.into() }
        }
        Some(3159) => ConnectError::Tls { system: name, address: shown, source: error.into() },
        Some(_) => failure(system, "opening the connection", error),
        None if is_tls(&error) => ConnectError::Tls { system: name, address: shown, source: error.into() },
        None => ConnectError::Unreachable { system: name, address: shown, source: error.into() },
    }
}

/// No encryption with the server, or none that can be trusted.
pub(super) fn is_tls(error: &Error) -> bool {
    match error {
        Error::Driver(DriverError::NoClientSslFlagFromServer) | Error::Io(IoError::Tls(_)) => true,
        // The handshake's failures come wrapped.
        Error::Io(IoError::Io(error)) => error.get_ref().is_some_and(|inner| inner.is::<rustls::Error>()),
        _ => false,
    }
}

/// The server's own words about one change, if the change itself is what it refuses.
pub(super) fn refusal(error: &Error) -> Option<String> {
    let Error::Server(answer) = error else { return None };
    // 22 data, 23 constraints, 44 check option of a view, 45 raised by a trigger.
    let by_class = ["22", "23", "44", "45"].iter().any(|class| answer.state.starts_with(class));
    // 1142 and 1143 missing rights, 1265 and 1366 values that do not fit, 1364 no default, 1288 and 1471 views, 1906 and 3105 generated columns,
    // 3819 check constraints, 1369 check option, 1442 what a trigger may not do.
    let by_code = matches!(answer.code, 1142 | 1143 | 1264..=1266 | 1366 | 1364 | 1288 | 1471 | 1906 | 3105 | 3819 | 1369 | 1442);
    (by_class || by_code).then(|| answer.message.clone())
}
