//! `mysql://user@host:port/database?sslmode=require`; `mariadb://` means the same.

use mysql_async::Opts;
use url::form_urlencoded;

use crate::base::nearest;
use crate::connect::ConnectError;
use crate::project::System;

const FORM: &str = "write url = \"mysql://user@host:port/database?sslmode=require\"";
const SSL_MODES: [&str; 3] = ["disable", "prefer", "require"];

/// An address, checked, without password.
#[derive(Debug)]
pub(super) struct Address {
    pub(super) opts: Opts,
    pub(super) encryption: Encryption,
    pub(super) user: String,
    pub(super) database: String,
    /// `host:port`, for messages.
    pub(super) shown: String,
}

/// `require` checks the server's certificate and name; `prefer`, the default, goes on unencrypted where the server offers no encryption that can
/// be trusted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Encryption {
    Disable,
    Prefer,
    Require,
}

impl Address {
    /// Reads `system`'s URL. Refuses one that holds a password.
    pub(super) fn parse(system: &System) -> Result<Self, ConnectError> {
        read(&system.url).map_err(|(what, hint)| ConnectError::Address {
            system: system.name.clone(),
            what: format!("its address {what}"),
            hint,
        })
    }
}

/// What is wrong and what to do about it.
type Wrong = (String, String);

fn wrong<T>(what: impl Into<String>, hint: impl Into<String>) -> Result<T, Wrong> {
    Err((what.into(), hint.into()))
}

fn read(url: &str) -> Result<Address, Wrong> {
    let holds_password = || {
        let hint = "take it out of the `url` and name its place: secret = { env = \"…\" } or { file = \"…\" }";
        wrong("holds a password", hint)
    };
    let (base, options) = url.split_once('?').unwrap_or((url, ""));
    let base = base.strip_prefix("mariadb:").map_or_else(|| base.to_owned(), |rest| format!("mysql:{rest}"));
    // The parser's own error may quote the address, and with it a password.
    let Ok(opts) = Opts::from_url(&base) else { return wrong("cannot be read", FORM) };
    if opts.pass().is_some() {
        return holds_password();
    }
    let Some(user) = opts.user().filter(|user| !user.is_empty()).map(str::to_owned) else { return wrong("names no user", FORM) };
    let Some(database) = opts.db_name().map(str::to_owned) else { return wrong("names no database", FORM) };
    let shown = format!("{}:{}", opts.ip_or_hostname(), opts.tcp_port());
    let mut encryption = Encryption::Prefer;
    for (name, value) in form_urlencoded::parse(options.as_bytes()) {
        match (name.as_ref(), value.as_ref()) {
            ("sslmode", "disable") => encryption = Encryption::Disable,
            ("sslmode", "prefer") => encryption = Encryption::Prefer,
            ("sslmode", "require" | "verify-ca" | "verify-full") => encryption = Encryption::Require,
            ("sslmode", value) => {
                let hint = nearest(value, SSL_MODES)
                    .map_or_else(|| "known modes: disable, prefer, require".into(), |near| format!("did you mean \"{near}\"?"));
                return wrong(format!("has an unknown sslmode \"{value}\""), hint);
            }
            ("password", _) => return holds_password(),
            (name, _) => return wrong(format!("has an unknown option \"{name}\""), "the only option is sslmode"),
        }
    }
    Ok(Address { opts, encryption, user, database, shown })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_an_address_with_options() {
        let address = read("mariadb://hub%40erp@erp.example:3307/prod?sslmode=require").unwrap();
        assert_eq!((address.user.as_str(), address.database.as_str()), ("hub@erp", "prod"));
        assert_eq!((address.shown.as_str(), address.encryption), ("erp.example:3307", Encryption::Require));
        let address = read("mysql://hub@erp/prod").unwrap();
        assert_eq!((address.shown.as_str(), address.encryption), ("erp:3306", Encryption::Prefer));
    }

    #[test]
    fn refuses_passwords_and_typos_without_repeating_a_secret() {
        let what = |url| {
            let (what, hint) = read(url).unwrap_err();
            format!("{what}; {hint}")
        };
        for url in ["mysql://hub:s3cret@erp/prod", "mysql://hub@erp/prod?password=s3cret", "mysql://hub:s3cret@erp:x/prod"] {
            assert!(!what(url).contains("s3cret"), "{url}");
        }
        assert!(what("mysql://hub:s3cret@erp/prod").starts_with("holds a password"));
        assert_eq!(what("mysql://hub@erp/prod?schema=x"), "has an unknown option \"schema\"; the only option is sslmode");
        assert_eq!(what("mysql://hub@erp"), format!("names no database; {FORM}"));
        assert_eq!(what("mysql://hub@erp/prod?sslmode=requier"), "has an unknown sslmode \"requier\"; did you mean \"require\"?");
    }
}
