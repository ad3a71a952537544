//! Delta log: snapshots and commits.
