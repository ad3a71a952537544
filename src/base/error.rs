//! The shape every module's error has: whose fault it is and what to do about it.

use std::time::Duration;

/// Who has to act on an error; decides the exit code.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Blame {
    /// The user's data or configuration, or a source that cannot be reached: exit code 1.
    User,
    /// A fault of the program: exit code 2.
    Program,
}

/// Whether doing it again may help; decided where the cause is seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Retry {
    Never,
    /// The fault may pass: again after this long, longer each time.
    After(Duration),
}

/// An error that says what to do next, apart from what went wrong.
pub trait Diagnose: std::error::Error + Send + Sync + 'static {
    /// Who has to act.
    fn blame(&self) -> Blame;
    /// One sentence on what to do; `None` where the message says it already.
    fn hint(&self) -> Option<String>;
}

/// The candidate most like `word`, for "did you mean …?"; `None` if nothing is near.
pub fn nearest<'a>(word: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    const LIKENESS_MIN: f64 = 0.7; // below this a suggestion misleads more than it helps
    candidates
        .into_iter()
        .map(|candidate| (likeness(word, candidate), candidate))
        .filter(|(likeness, _)| *likeness >= LIKENESS_MIN)
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .map(|(_, candidate)| candidate)
}

/// From 0 to 1. One slip of the fingers (`epr` for `erp`) counts as near also where the word is so short that little else is alike.
fn likeness(word: &str, candidate: &str) -> f64 {
    const SHORTEST: usize = 3; // of two letters, one is no likeness
    const ONE_SLIP: f64 = 0.75;
    let by_letters = strsim::jaro_winkler(word, candidate);
    let one_slip = word.chars().count() >= SHORTEST && is_slip(word, candidate);
    if one_slip { by_letters.max(ONE_SLIP) } else { by_letters }
}

/// Whether `word` is `other` but for one slip of the fingers.
pub fn is_slip(word: &str, other: &str) -> bool {
    strsim::damerau_levenshtein(word, other) == 1
}

/// An error and what caused it, on one line; causes that the message repeats already are left out.
pub fn causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(next) = cause {
        let message = next.to_string();
        if !text.contains(&message) {
            text = format!("{text}: {message}");
        }
        cause = next.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_slip_in_a_short_name_is_near_and_another_name_is_not() {
        assert_eq!(nearest("epr", ["crm", "erp", "mes"]), Some("erp"));
        assert_eq!(nearest("purchase_request", ["purchase_requests", "promise_dates"]), Some("purchase_requests"));
        assert_eq!(nearest("wms", ["crm", "erp"]), None);
        assert_eq!(nearest("s4", ["s3", "gs"]), None);
    }
}
