//! Decision functions as table functions.
