//! Why a stream was not pulled, and whether to try again.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::time::Duration;

use crate::base::{Diagnose, Retry, causes};
use crate::connect::ConnectError;
use crate::project::{Stream, System};
use crate::store::StoreError;

use super::super::admit::ContractError;

/// The longest wait between two tries: what has not passed by then will not pass sooner for being asked more often.
const WAIT_MAX: Duration = Duration::from_secs(60);

/// What went wrong with one try.
#[derive(Debug)]
pub(super) struct Failure {
    pub error: String,
    pub hint: Option<String>,
    pub retry: Retry,
    /// Whether the connection, and its snapshot with it, must be given up.
    pub needs_connection: bool,
    /// The system could not be opened at all.
    pub is_unopened: bool,
}

impl From<ConnectError> for Failure {
    fn from(error: ConnectError) -> Self {
        let retry = error.retry();
        Self { error: causes(&error), hint: error.hint(), retry, needs_connection: retry != Retry::Never, is_unopened: false }
    }
}

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Self {
        // A reader's errors pass through the store; where the store knows no more, the source does.
        let of_source = std::iter::successors(std::error::Error::source(&error), |cause| cause.source())
            .find_map(|cause| cause.downcast_ref::<ConnectError>());
        let hint = error.hint().or_else(|| of_source.and_then(Diagnose::hint));
        let retry = of_source.map_or_else(|| error.retry(), ConnectError::retry);
        let needs_connection = of_source.is_some() && retry != Retry::Never;
        Self { error: causes(&error), hint, retry, needs_connection, is_unopened: false }
    }
}

impl From<ContractError> for Failure {
    fn from(error: ContractError) -> Self {
        let (error, hint) = (error.to_string(), error.hint());
        Self { error, hint, retry: Retry::Never, needs_connection: false, is_unopened: false }
    }
}

impl Failure {
    /// The pull of a stream took longer than it may.
    pub fn endless(limit: Duration) -> Self {
        Self {
            error: format!("stopped after {} s, the system's load.time_limit", limit.as_secs()),
            hint: Some(
                "declare a cursor, so that less is read at once, or raise `load.time_limit` of the system in loopline.toml"
                    .into(),
            ),
            retry: Retry::Never,
            needs_connection: true,
            is_unopened: false,
        }
    }

    /// How long to wait before the next try; `None` if there is none. `seed` makes systems that failed together come back apart.
    pub fn wait(&self, tries: u32, retries: u32, seed: impl Hash) -> Option<Duration> {
        let Retry::After(first) = self.retry else { return None };
        if tries > retries {
            return None;
        }
        let longer = first.saturating_mul(1 << (tries - 1).min(16)).min(WAIT_MAX);
        let mut hasher = DefaultHasher::new();
        (seed, tries).hash(&mut hasher);
        let percent = 75 + u32::try_from(hasher.finish() % 51).unwrap_or_default();
        Some(longer * percent / 100)
    }

    /// Names the stream; errors of the store know only its table.
    pub fn placed(mut self, system: &System, stream: &Stream) -> Self {
        let place = format!("system \"{}\", stream \"{}\"", system.name, stream.name);
        if !self.is_unopened && !self.error.contains(&place) {
            self.error = format!("{place}: {}", self.error);
        }
        self
    }

    /// Says how often it was tried, if more than once.
    pub fn counted(mut self, tries: u32) -> Self {
        if tries > 1 {
            self.error += &format!(" (after {tries} tries)");
        }
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn failure(retry: Retry) -> Failure {
        Failure { error: "no answer".into(), hint: None, retry, needs_connection: true, is_unopened: false }
    }

    #[test]
    fn waits_grow_within_bounds_and_end() {
        let passing = failure(Retry::After(Duration::from_secs(1)));
        let waits: Vec<u128> = (1..=9).map(|tries| passing.wait(tries, 9, "erp").unwrap().as_millis()).collect();
        for (tries, wait) in waits.iter().enumerate() {
            let middle = 1_000 * (1 << tries).min(60);
            assert!((middle * 3 / 4..=middle * 5 / 4).contains(wait), "{waits:?}");
        }
        assert_eq!(passing.wait(4, 3, "erp"), None, "no more tries");
        assert_eq!(passing.wait(1, 3, "erp"), passing.wait(1, 3, "erp"));
        assert_ne!(passing.wait(1, 3, "erp"), passing.wait(1, 3, "mes"), "systems come back apart");
        assert_eq!(failure(Retry::Never).wait(1, 3, "erp"), None);
    }
}
