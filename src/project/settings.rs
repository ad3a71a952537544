//! `loopline.toml`: the plant's systems and where the hub keeps its tables.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use url::Url;

use super::names::Names;
use super::problems::{Problems, suggest};
use super::section::{Document, Entry, Located, Section};
use super::text::{bytes, duration, hours, time_zone};
use super::{
    Connector, EnvironmentSettings, Load, Protocol, Retention, SecretSource, SqlFile, Stale, Strategy, System, environment,
    source_files,
};
use crate::base::TableName;

const STORE_DEFAULT: &str = "./.loopline";
const MEMORY_DEFAULT_BYTES: usize = 1 << 30;
const MEMORY_MIN_BYTES: usize = 64 << 20; // below this, a plan of a small plant already fails
const MAX_AGE_DEFAULT: Duration = Duration::from_secs(24 * 3_600);
const CONNECTIONS_MAX: u64 = 16; // a database server has about a hundred for everybody
const RETRIES_MAX: u64 = 20; // with growing pauses, more would last for days

/// Schemes of object stores.
const STORE_SCHEMES: [&str; 6] = ["s3", "gs", "az", "abfs", "abfss", "file"];
/// Schemes of the systems that can be spoken to.
const SYSTEM_SCHEMES: [&str; 5] = ["sqlite", "postgres", "postgresql", "mysql", "mariadb"];

/// What `loopline.toml` says, resolved.
pub(super) struct Settings {
    pub strategy: Strategy,
    pub store: String,
    pub control: PathBuf,
    pub clock_file: Option<PathBuf>,
    pub memory_limit_bytes: usize,
    pub retention: Retention,
    pub authority: BTreeMap<TableName, String>,
    pub systems: BTreeMap<String, System>,
    pub environments: BTreeMap<String, EnvironmentSettings>,
}

/// What else a system's settings are resolved with.
pub(super) struct Context<'a> {
    pub root: &'a Path,
    pub names: &'a Names,
    /// Those that were read without a mistake.
    pub connectors: &'a BTreeMap<String, Arc<Connector>>,
    pub problems: &'a Problems,
}

/// The settings where all of them are right, and the names of all systems where the file is TOML at all.
pub(super) fn read(file: &SqlFile, context: &Context) -> (Option<Settings>, Option<BTreeSet<String>>) {
    let Some(document) = Document::parse(&file.path, &file.text, 1, context.problems) else { return (None, None) };
    let root = document.section();
    let names: BTreeSet<String> = root.entries("systems").into_iter().map(|entry| entry.key.value).collect();
    (resolve(root, &names, context), Some(names))
}

fn resolve(root: Section, names: &BTreeSet<String>, context: &Context) -> Option<Settings> {
    let strategy = root.required("strategy", "\"order-driven\" (or project-based, integrator)", root.word("strategy"));
    let store = read_store(&root);
    let control = root.text("control").map(|path| PathBuf::from(path.value));
    let clock_file = root.table("clock").and_then(|section| {
        let file = section.required("file", "\"path/to/clock\"", section.text("file"));
        section.finish();
        file.map(|file| PathBuf::from(file.value))
    });
    let memory_limit_bytes = root.parsed("memory_limit", memory_limit).map_or(MEMORY_DEFAULT_BYTES, |limit| limit.value);
    let retention = root.table("retention").map(read_retention).unwrap_or_default();
    let entries = root.entries("authority");
    let authority = entries.iter().filter_map(|entry| read_authority(entry, &root, names, context.names)).collect();
    let mut systems = BTreeMap::new();
    for entry in root.entries("systems") {
        let section = entry.section("system");
        if let Some(system) = section.and_then(|section| read_system(&entry.key, section, context)) {
            systems.insert(system.name.clone(), system);
        }
    }
    let environments = root.entries("env").iter().filter_map(|entry| environment::read(entry, &systems, context)).collect();
    root.finish();
    let control = control.unwrap_or_else(|| control_default(&store));
    Some(Settings {
        strategy: strategy?,
        store,
        control,
        clock_file,
        memory_limit_bytes,
        retention,
        authority,
        systems,
        environments,
    })
}

/// The control state lives beside a local store; an object store cannot hold it.
fn control_default(store: &str) -> PathBuf {
    match store.strip_prefix("file://").map_or(store.contains("://"), |_| false) {
        true => Path::new(STORE_DEFAULT).join("control.sqlite"),
        false => Path::new(store.strip_prefix("file://").unwrap_or(store)).join("control.sqlite"),
    }
}

fn memory_limit(text: &str) -> Result<usize, String> {
    match bytes(text)? {
        limit if limit < MEMORY_MIN_BYTES => Err(format!("\"{text}\" is too little to plan with; give at least 64MiB")),
        limit => Ok(limit),
    }
}

fn read_store(root: &Section) -> String {
    let Some(store) = root.text("store") else { return STORE_DEFAULT.into() };
    if let Some((scheme, _)) = store.value.split_once("://") {
        if !STORE_SCHEMES.contains(&scheme) {
            let hint = suggest(scheme, "kinds of store", STORE_SCHEMES);
            root.problem(store.line, format!("store: \"{scheme}://\" is not a kind of store"), hint);
        } else if has_password(&store.value) {
            let hint = "remove it; the store's credentials come from the environment (AWS_…, GOOGLE_…, AZURE_…)";
            root.problem(store.line, "store: the address holds a password", Some(hint.into()));
        }
    }
    store.value
}

fn read_authority(entry: &Entry, root: &Section, systems: &BTreeSet<String>, names: &Names) -> Option<(TableName, String)> {
    let key = &entry.key;
    let contract = key.value.parse::<TableName>().ok().filter(|table| names.contracts.contains(table));
    if contract.is_none() {
        let known: Vec<String> = names.contracts.iter().map(TableName::to_string).collect();
        let hint = suggest(&key.value, "contracts", known.iter().map(String::as_str));
        root.problem(key.line, format!("authority: there is no contract \"{}\"", key.value), hint);
    }
    let system = entry.text()?;
    if !systems.contains(&system.value) {
        let hint = suggest(&system.value, "systems", systems.iter().map(String::as_str));
        root.problem(system.line, format!("authority: there is no system \"{}\"", system.value), hint);
    }
    Some((contract?, system.value))
}

fn read_system(name: &Located<String>, section: Section, context: &Context) -> Option<System> {
    if !super::files::is_identifier(&name.value) || name.value.contains("__") {
        let hint = format!("rename it, for example to \"{}\"", super::files::to_identifier(&name.value));
        section.problem(name.line, "a system is named in lower case letters, digits and single _", Some(hint));
    }
    let connector = section.required("connector", "\"the name of a folder in connectors/\"", section.text("connector"));
    if let Some(connector) = connector.as_ref().filter(|connector| !context.names.connectors.contains(&connector.value)) {
        let hint = suggest(&connector.value, "connectors", context.names.connectors.iter().map(String::as_str));
        section.problem(connector.line, format!("there is no folder connectors/{}", connector.value), hint);
    }
    let url = section.required("url", "\"postgres://user@host:5432/database\" (or mysql://…, sqlite:path)", section.text("url"));
    let protocol = connector.as_ref().and_then(|connector| context.connectors.get(&connector.value)).map(|known| known.protocol);
    match &url {
        Some(url) if protocol == Some(Protocol::Files) => source_files::check_address(url, &section),
        // Of a connector that is wrong itself it is not known what its addresses look like.
        Some(url) if protocol.is_some() || !url.value.starts_with(['.', '/']) => check_url(url, &section),
        _ => {}
    }
    let secret = section.has("secret").then(|| read_secret(&section, context.root));
    let own_zone = section.parsed("time_zone", time_zone).map(|zone| zone.value);
    let max_age = section.parsed("max_age", duration).map_or(MAX_AGE_DEFAULT, |age| age.value);
    let load = section.table("load").map(read_load).unwrap_or_default();
    let stale = if section.has("stale") { section.word("stale") } else { Some(Stale::Fail) };
    section.finish();
    let connector = Arc::clone(context.connectors.get(&connector?.value)?);
    let time_zone = own_zone.or(connector.time_zone);
    Some(System {
        name: name.value.clone(),
        connector,
        url: url?.value,
        secret: secret.flatten(),
        time_zone,
        max_age,
        stale: stale?,
        load,
    })
}

fn read_retention(section: Section) -> Retention {
    let usual = Retention::default();
    let runs = section.parsed("runs", duration).map_or(usual.runs, |age| age.value);
    let sent = section.parsed("sent", duration);
    if let Some(sent) = sent.as_ref().filter(|sent| sent.value < runs) {
        let hint = "make `sent` at least as long as `runs`, or remove it";
        section.problem(
            sent.line,
            "what is behind a sent change would be kept for a shorter time than other runs",
            Some(hint.into()),
        );
    }
    section.finish();
    Retention { runs, sent: sent.map_or(usual.sent.max(runs), |age| age.value) }
}

fn read_load(section: Section) -> Load {
    let usual = Load::default();
    let limited = |key, least: u64, most: u64| {
        let count = section.count(key)?;
        if !(least..=most).contains(&count.value) {
            section.problem(count.line, format!("\"{key}\" must be {least} to {most}, not {}", count.value), None);
        }
        Some(count.value)
    };
    let connections = limited("connections", 1, CONNECTIONS_MAX).and_then(|count| usize::try_from(count).ok());
    let retries = limited("retries", 0, RETRIES_MAX).and_then(|count| u32::try_from(count).ok());
    let load = Load {
        connections: connections.unwrap_or(usual.connections),
        statement_timeout: section.parsed("statement_timeout", duration).map(|limit| limit.value),
        hours: section.parsed("hours", hours).map(|hours| hours.value),
        retries: retries.unwrap_or(usual.retries),
        time_limit: section.parsed("time_limit", duration).map_or(usual.time_limit, |limit| limit.value),
    };
    section.finish();
    load
}

pub(super) fn check_url(url: &Located<String>, section: &Section) {
    let scheme = url.value.split(':').next().unwrap_or_default();
    if !SYSTEM_SCHEMES.contains(&scheme) || !url.value.contains(':') {
        // No guess at a near one: mssql is not a misspelt mysql.
        let hint = "write sqlite:path/to/file.db, postgres://user@host:5432/database or mysql://user@host:3306/database";
        section.problem(url.line, format!("\"{scheme}:\" is not an address that can be spoken to"), Some(hint.into()));
        return;
    }
    if scheme == "sqlite" {
        if url.value.trim_start_matches("sqlite:").trim_start_matches('/').is_empty() {
            section.problem(url.line, "the address names no file", Some("write sqlite:path/to/file.db".into()));
        }
        return;
    }
    if has_password(&url.value) {
        // The address itself is not repeated: messages end up in logs.
        let hint =
            "remove it from the address and name where it is kept: secret = { env = \"NAME\" } or secret = { file = \"path\" }";
        section.problem(url.line, "the address holds a password", Some(hint.into()));
        return;
    }
    let example = match scheme {
        "mysql" | "mariadb" => "write mysql://user@host:3306/database",
        _ => "write postgres://user@host:5432/database, with ?schema=name if it is not public",
    };
    match Url::parse(&url.value) {
        Err(error) => section.problem(url.line, format!("the address is not valid: {error}"), Some(example.into())),
        Ok(parsed) => {
            let database = parsed.path().trim_matches('/');
            for (part, missing) in
                [("host", parsed.host_str().is_none()), ("user", parsed.username().is_empty()), ("database", database.is_empty())]
            {
                if missing {
                    section.problem(url.line, format!("the address names no {part}"), Some(example.into()));
                }
            }
        }
    }
}

/// Whether an address carries a password, in either place where one can stand, also where the rest of the address is wrong.
pub(super) fn has_password(url: &str) -> bool {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    let user = authority.rsplit_once('@').map_or("", |(user, _)| user);
    let query = rest.split_once('?').map_or("", |(_, query)| query);
    let in_query = query.split('&').any(|pair| {
        let key = pair.split('=').next().unwrap_or_default().to_ascii_lowercase();
        ["password", "pwd", "passwd", "secret", "token"].contains(&key.as_str())
    });
    user.contains(':') || in_query
}

pub(super) fn read_secret(system: &Section, root: &Path) -> Option<SecretSource> {
    let hint = "write secret = { env = \"NAME\" } or secret = { file = \"path\" }; the secret itself never stands in a file of the project";
    if let Some(line) = system.line_of_text("secret") {
        system.problem(line, "\"secret\" must say where the secret is kept, not the secret itself", Some(hint.into()));
        return None;
    }
    let section = system.table("secret")?;
    let (env, file) = (section.text("env"), section.text("file"));
    if section.has("env") == section.has("file") {
        section.problem(section.line, "a secret needs either env or file", Some(hint.into()));
    }
    section.finish();
    match (env, file) {
        (Some(env), None) => Some(SecretSource::Env(env.value)),
        (None, Some(file)) => Some(SecretSource::File(root.join(file.value))),
        _ => None,
    }
}
