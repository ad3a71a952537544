//! `postgres://user@host:port/database?schema=x&sslmode=require`.

use std::str::FromStr;

use tokio_postgres::Config;
use tokio_postgres::config::{Host, SslMode};
use url::form_urlencoded;

use crate::base::nearest;
use crate::connect::ConnectError;
use crate::project::System;

/// What the URL may say behind `?`.
const OPTIONS: [&str; 2] = ["schema", "sslmode"];
const SSL_MODES: [&str; 3] = ["disable", "prefer", "require"];

/// An address, checked, without password.
#[derive(Debug)]
pub(super) struct Address {
    pub(super) config: Config,
    /// Where tables without a schema are looked for; the server's own default without it.
    pub(super) schema: Option<String>,
    pub(super) user: String,
    pub(super) database: String,
    /// `host:port`, for messages.
    pub(super) shown: String,
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
    const FORM: &str = "write url = \"postgres://user@host:port/database?schema=name&sslmode=require\"";
    let (base, options) = url.split_once('?').unwrap_or((url, ""));
    // The parser's own error may quote the address, and with it a password.
    let Ok(mut config) = Config::from_str(base) else { return wrong("cannot be read", FORM) };
    if config.get_password().is_some() {
        return wrong(
            "holds a password",
            "take it out of the `url` and name its place: secret = { env = \"…\" } or { file = \"…\" }",
        );
    }
    let Some(user) = config.get_user().map(str::to_owned) else { return wrong("names no user", FORM) };
    let Some(database) = config.get_dbname().map(str::to_owned) else { return wrong("names no database", FORM) };
    let shown = match config.get_hosts() {
        [Host::Tcp(host)] => format!("{host}:{}", config.get_ports().first().copied().unwrap_or(5432)),
        #[cfg(unix)]
        [Host::Unix(path)] => path.display().to_string(),
        _ => return wrong("names no host, or several", FORM),
    };
    let mut schema = None;
    for (name, value) in form_urlencoded::parse(options.as_bytes()) {
        match (name.as_ref(), value.as_ref()) {
            ("schema", "") => return wrong("names an empty schema", FORM),
            ("schema", value) => schema = Some(value.to_owned()),
            ("sslmode", value) => {
                config.ssl_mode(ssl_mode(value)?);
            }
            ("password", _) => {
                return wrong(
                    "holds a password",
                    "take it out of the `url` and name its place: secret = { env = \"…\" } or { file = \"…\" }",
                );
            }
            (name, _) => {
                let hint = nearest(name, OPTIONS)
                    .map_or_else(|| "known options: schema, sslmode".into(), |near| format!("did you mean \"{near}\"?"));
                return wrong(format!("has an unknown option \"{name}\""), hint);
            }
        }
    }
    Ok(Address { config, schema, user, database, shown })
}

/// `require` (and its stricter names, which it equals here) checks the server's certificate and name; `prefer`, the default, goes on
/// unencrypted where the server offers no encryption that can be trusted.
fn ssl_mode(value: &str) -> Result<SslMode, Wrong> {
    match value {
        "disable" => Ok(SslMode::Disable),
        "prefer" => Ok(SslMode::Prefer),
        "require" | "verify-ca" | "verify-full" => Ok(SslMode::Require),
        _ => {
            let hint = nearest(value, SSL_MODES)
                .map_or_else(|| "known modes: disable, prefer, require".into(), |near| format!("did you mean \"{near}\"?"));
            wrong(format!("has an unknown sslmode \"{value}\""), hint)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_an_address_with_options() {
        let address = read("postgres://hub@erp.example:5433/prod?schema=public&sslmode=require").unwrap();
        assert_eq!((address.user.as_str(), address.database.as_str()), ("hub", "prod"));
        assert_eq!((address.shown.as_str(), address.schema.as_deref()), ("erp.example:5433", Some("public")));
        assert_eq!(address.config.get_ssl_mode(), SslMode::Require);
        assert_eq!(read("postgres://hub@erp.example/prod").unwrap().config.get_ssl_mode(), SslMode::Prefer);
    }

    #[test]
    fn refuses_passwords_and_typos_without_repeating_a_secret() {
        let what = |url| {
            let (what, hint) = read(url).unwrap_err();
            format!("{what}; {hint}")
        };
        for url in
            ["postgres://hub:s3cret@erp/prod", "postgres://hub@erp/prod?password=s3cret", "postgres://hub:s3cret@erp:x/prod"]
        {
            assert!(!what(url).contains("s3cret"), "{url}");
        }
        assert!(what("postgres://hub:s3cret@erp/prod").starts_with("holds a password"));
        assert_eq!(what("postgres://hub@erp/prod?shema=x"), "has an unknown option \"shema\"; did you mean \"schema\"?");
        assert_eq!(
            what("postgres://hub@erp/prod?sslmode=requier"),
            "has an unknown sslmode \"requier\"; did you mean \"require\"?"
        );
    }
}
