//! Checks on staged rows.
