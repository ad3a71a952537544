//! Arguments that say which tables are meant.

use clap::Args;

use crate::project::Selector;

use super::failure::CliError;

/// Selectors, as every command takes them.
#[derive(Args)]
pub(super) struct Selectors {
    /// Which tables: scm, scm.supply, scm.*, tag:nightly, changed; +x with what x needs, x+ with what needs x, !x not x [default: all]
    #[arg(value_name = "SELECTOR")]
    pub selectors: Vec<String>,
    /// Not these; the same as !SELECTOR, which a shell may take for its own
    #[arg(long, value_name = "SELECTOR")]
    pub exclude: Vec<String>,
}

impl Selectors {
    pub(super) fn parse(&self) -> anyhow::Result<Vec<Selector>> {
        let wanted = self.selectors.iter().map(|text| Selector::parse(text));
        let unwanted = self.exclude.iter().map(|text| Selector::exclude(text));
        let read: Result<Vec<Selector>, _> = wanted.chain(unwanted).collect();
        read.map_err(|problem| CliError::usage(problem.what, problem.hint.unwrap_or_default()).into())
    }
}
