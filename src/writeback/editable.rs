//! The small condition language of `editable`.

use crate::base::Row;

/// A condition over the columns of one row.
#[derive(Debug, Clone, PartialEq)]
pub struct Predicate {}

impl Predicate {
    /// Reads a condition; the error says what is not understood.
    pub fn parse(_text: &str) -> Result<Self, String> {
        todo!()
    }

    /// Whether the condition is true for `row`; unknown (a NULL somewhere that matters) is not true.
    pub fn holds(&self, _row: &Row) -> bool {
        todo!()
    }
}
