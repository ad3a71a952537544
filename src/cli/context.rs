//! What every command works with: the project, its hub, a way to stop.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::pipeline::{Access, Cancel, Hub, RunOptions};
use crate::project::Project;

use super::failure::CliError;
use super::output::Output;
use super::progress::Bar;

/// What was typed in front of every command.
pub(super) struct Context {
    pub output: Output,
    project: Option<PathBuf>,
    environment: Option<String>,
}

impl Context {
    pub(super) fn new(output: Output, project: Option<PathBuf>, environment: Option<String>) -> Self {
        Self { output, project, environment: environment.filter(|name| !name.is_empty()) }
    }

    /// The folder that holds `loopline.toml`.
    pub(super) fn root(&self) -> anyhow::Result<PathBuf> {
        let start = match &self.project {
            Some(folder) => return absolute(folder),
            None => absolute(Path::new("."))?,
        };
        let found = start.ancestors().find(|folder| folder.join("loopline.toml").is_file());
        found.map(Path::to_owned).ok_or_else(|| {
            let what = format!("there is no loopline.toml in {} or above", start.display());
            CliError::usage(what, "start with `loopline init` or `loopline demo`, or name the folder with --project").into()
        })
    }

    /// The folder named with `--project`, if any.
    pub(super) fn named_root(&self) -> Option<&Path> {
        self.project.as_deref()
    }

    /// The project, in the environment that was named.
    pub(super) fn load(&self) -> anyhow::Result<Arc<Project>> {
        self.load_in(self.environment.as_deref())
    }

    /// The project in production (`None`) or in an environment.
    pub(super) fn load_in(&self, environment: Option<&str>) -> anyhow::Result<Arc<Project>> {
        let project = load(&self.root()?)?;
        Ok(Arc::new(match environment {
            Some(name) => project.in_environment(name)?,
            None => project,
        }))
    }

    /// Refuses a command that is about production, or about all environments.
    pub(super) fn without_environment(&self, command: &str) -> Result<(), CliError> {
        match &self.environment {
            Some(name) => {
                let what = format!("`loopline {command}` does not work in an environment, and \"{name}\" is named");
                Err(CliError::usage(what, "leave out --env, and unset LOOPLINE_ENV"))
            }
            None => Ok(()),
        }
    }

    pub(super) async fn hub(&self, access: Access) -> anyhow::Result<Hub> {
        Ok(Hub::open(self.load()?, access).await?)
    }

    /// A bar on standard error, for as long as it lives.
    pub(super) fn bar(&self) -> Bar {
        Bar::new(self.output.clone())
    }

    /// The first interrupt asks to stop between two durable steps, the second ends the process.
    pub(super) fn cancel_on_interrupt(&self) -> Cancel {
        let cancel = Cancel::default();
        let (asked, output) = (cancel.clone(), self.output.clone());
        tokio::spawn(async move {
            interrupted().await;
            asked.cancel();
            output.message("stopping after the current step; interrupt again to stop at once");
            interrupted().await;
            std::process::exit(130); // what shells expect of an interrupted program; every durable step can be the last one
        });
        cancel
    }

    pub(super) fn options<'a>(&self, full: bool, bar: &'a Bar) -> RunOptions<'a> {
        RunOptions { as_of: None, full, any_hour: false, progress: bar, cancel: self.cancel_on_interrupt() }
    }
}

/// Reads the project; all of its errors at once.
pub(super) fn load(root: &Path) -> Result<Project, CliError> {
    Project::load(root).map_err(CliError::several)
}

pub(super) fn absolute(path: &Path) -> anyhow::Result<PathBuf> {
    let full = std::path::absolute(path).map_err(|source| CliError::File { what: format!("find {}", path.display()), source })?;
    // `.` at the end would show in every message.
    Ok(full.components().collect())
}

/// Waits for Ctrl-C or a request to terminate.
async fn interrupted() {
    #[cfg(unix)]
    if let Ok(mut terminate) = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate()) {
        tokio::select! {
            _ = tokio::signal::ctrl_c() => {}
            _ = terminate.recv() => {}
        }
        return;
    }
    if tokio::signal::ctrl_c().await.is_err() {
        std::future::pending::<()>().await; // no signal can be received: nothing will ever ask to stop
    }
}
