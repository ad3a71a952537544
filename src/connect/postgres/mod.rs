//! PostgreSQL, read through its binary `copy`.
//!
//! A source is one `repeatable read, read only` transaction, whose snapshot further connections import: all its streams show the same instant.
//! A large table is read in ranges of pages by all of them. A target is one connection; a slice of changes is one transaction with a savepoint
//! for each change.

mod address;
mod catalog;
mod copy;
mod decode;
mod encode;
mod failure;
mod part;
mod plan;
mod relation;
mod session;
mod snapshot;
mod source;
mod tap;
mod target;

pub(super) use source::Source;
pub(super) use target::Target;
