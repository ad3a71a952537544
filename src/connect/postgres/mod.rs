//! PostgreSQL, read through its binary `copy`.
//!
//! A source is one connection in one `repeatable read, read only` transaction: all its streams show the same instant. A target is one
//! connection; a slice of changes is one transaction with a savepoint for each change.

mod address;
mod catalog;
mod copy;
mod decode;
mod failure;
mod session;
mod source;
mod target;

pub(super) use source::Source;
pub(super) use target::Target;
