//! Writing a table that nobody sees yet.
