//! Typed access to columns of an input.
