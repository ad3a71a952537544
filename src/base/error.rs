//! The shape every module's error has: whose fault it is and what to do about it.

/// Who has to act on an error; decides the exit code.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Blame {
    /// The user's data or configuration, or a source that cannot be reached: exit code 1.
    User,
    /// A fault of the program: exit code 2.
    Program,
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
        .map(|candidate| (strsim::jaro_winkler(word, candidate), candidate))
        .filter(|(likeness, _)| *likeness >= LIKENESS_MIN)
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .map(|(_, candidate)| candidate)
}
