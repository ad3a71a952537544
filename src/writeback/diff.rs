//! Wanted against current: pure.
