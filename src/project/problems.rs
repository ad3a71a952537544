//! Collects what is wrong, over all files, so that one run of `check` shows everything.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::path::Path;

use super::ProjectError;
use super::schema::Recording;
use crate::base::nearest;

/// Everything found so far; filled through shared references because readers of files nest.
#[derive(Default)]
pub(super) struct Problems {
    errors: RefCell<Vec<ProjectError>>,
    /// What readers ask for is noted instead of read; see [`super::schema`].
    pub recording: Option<Recording>,
}

impl Problems {
    pub(super) fn recording(recording: Recording) -> Self {
        Self { recording: Some(recording), ..Self::default() }
    }

    pub(super) fn at(&self, path: &Path, line: usize, what: impl Into<String>, hint: Option<String>) {
        self.push(ProjectError::At { path: path.into(), line, what: what.into(), hint });
    }

    pub(super) fn push(&self, error: ProjectError) {
        self.errors.borrow_mut().push(error);
    }

    pub(super) fn count(&self) -> usize {
        self.errors.borrow().len()
    }

    /// All errors, ordered by file and line.
    pub(super) fn into_errors(self) -> Vec<ProjectError> {
        let mut errors = self.errors.into_inner();
        errors.sort_by(|a, b| a.place().cmp(&b.place()));
        errors
    }
}

/// What to write instead of `word`: the nearest candidate, or all of them where none is near.
pub(super) fn suggest<'a>(word: &str, kind: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<String> {
    const LISTED_MAX: usize = 12; // a longer list is not read
    let candidates: BTreeSet<&str> = candidates.into_iter().collect();
    if let Some(near) = nearest(word, candidates.iter().copied()) {
        return Some(format!("did you mean \"{near}\"?"));
    }
    if candidates.is_empty() {
        return None;
    }
    let listed: Vec<&str> = candidates.iter().copied().take(LISTED_MAX).collect();
    let more = if candidates.len() > LISTED_MAX { ", …" } else { "" };
    Some(format!("known {kind}: {}{more}", listed.join(", ")))
}
