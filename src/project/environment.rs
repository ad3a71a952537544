//! Environments: the same project with tables of its own, over production's.

use std::collections::BTreeMap;
use std::path::PathBuf;

use super::problems::suggest;
use super::section::{Entry, Section};
use super::settings::{Context, check_url, read_secret};
use super::{Project, ProjectError, Protocol, SecretSource, System, files, source_files};

/// The environment that a project was opened in.
#[derive(Debug, Clone)]
pub struct Environment {
    pub name: String,
    pub production_store: String,
    pub production_control: PathBuf,
    pub settings: EnvironmentSettings,
}

/// What `[env.<name>]` allows; nothing where `loopline.toml` does not name the environment.
#[derive(Debug, Clone, Default)]
pub struct EnvironmentSettings {
    /// Whether it pulls, into raw tables of its own; otherwise it reads what production pulled.
    pub pull: bool,
    /// Whether it writes to systems, by a ledger of its own. It pulls, too: nothing is written that was not seen.
    pub write: bool,
    /// Systems that it speaks to at another address, e.g. a test ERP.
    systems: BTreeMap<String, (String, Option<SecretSource>)>,
}

impl Project {
    /// The project in the environment `name`: its tables in `<store>/env/<name>/`, its control state in `env/<name>/` beside production's.
    ///
    /// # Errors
    /// A name that is no lower-case identifier.
    pub fn in_environment(mut self, name: &str) -> Result<Self, ProjectError> {
        if !files::is_identifier(name) {
            return Err(ProjectError::EnvironmentName { name: name.into(), near: files::to_identifier(name) });
        }
        let settings = self.environments.get(name).cloned().unwrap_or_default();
        for (system, (url, secret)) in &settings.systems {
            if let Some(system) = self.systems.get_mut(system) {
                (system.url, system.secret) = (url.clone(), secret.clone());
            }
        }
        let store = format!("{}/env/{name}", self.store.trim_end_matches('/'));
        let folder = self.control.parent().map(PathBuf::from).unwrap_or_default();
        let control = folder.join("env").join(name).join("control.sqlite");
        self.environment = Some(Environment {
            name: name.into(),
            production_store: std::mem::replace(&mut self.store, store),
            production_control: std::mem::replace(&mut self.control, control),
            settings,
        });
        Ok(self)
    }
}

/// Reads `[env.<name>]`.
pub(super) fn read(
    entry: &Entry,
    systems: &BTreeMap<String, System>,
    context: &Context,
) -> Option<(String, EnvironmentSettings)> {
    let name = &entry.key;
    let section = entry.section("env")?;
    if !files::is_identifier(&name.value) {
        let hint = format!("rename it, for example to \"{}\"", files::to_identifier(&name.value));
        section.problem(name.line, "an environment is named in lower case letters, digits and _", Some(hint));
    }
    let pull = section.flag("pull").unwrap_or(false);
    let write = section.flag("write").unwrap_or(false);
    if write && !pull {
        let hint = "add pull = true: what is written is compared with what the system has";
        section.problem(section.line, "an environment that writes must pull, too", Some(hint.into()));
    }
    let addresses =
        section.entries("systems").iter().filter_map(|entry| read_system(entry, &section, systems, context)).collect();
    section.finish();
    Some((name.value.clone(), EnvironmentSettings { pull, write, systems: addresses }))
}

fn read_system(
    entry: &Entry,
    section: &Section,
    systems: &BTreeMap<String, System>,
    context: &Context,
) -> Option<(String, (String, Option<SecretSource>))> {
    let name = &entry.key;
    let system = systems.get(&name.value);
    if system.is_none() {
        let hint = suggest(&name.value, "systems", systems.keys().map(String::as_str));
        section.problem(name.line, format!("there is no system \"{}\"", name.value), hint);
    }
    let address = entry.section("system")?;
    let url = address.required("url", "\"postgres://user@test-host:5432/database\"", address.text("url"));
    match url.as_ref().zip(system) {
        Some((url, system)) if system.connector.protocol == Protocol::Files => source_files::check_address(url, &address),
        Some((url, _)) => check_url(url, &address),
        None => {}
    }
    let secret = address.has("secret").then(|| read_secret(&address, context.root));
    address.finish();
    Some((name.value.clone(), (url?.value, secret.flatten())))
}
