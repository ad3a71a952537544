//! MySQL and MariaDB, read through the binary protocol of prepared statements: integers, floats and dates arrive as numbers, never as rounded text.
//!
//! A source is one or several connections, each in a read-only transaction with the same snapshot: all its streams show the same instant; they speak
//! the protocol directly ([`wire`]). One more, of the driver, looks tables up. Several that read need a moment in which nothing commits (see [`source`]); without the right to that moment there is one. A target is one connection; a slice of
//! changes is one transaction with a savepoint for each change. Tables of engines without transactions (MyISAM) have no snapshot: each is read by
//! one statement, which sees one instant of its own, and they cannot be written.
//!
//! These servers give no bound for late commits (a statement's clock may be older than its transaction), so timestamp cursors rely on the stream's
//! lookback and its sweeps.

mod address;
mod catalog;
mod decode;
mod failure;
mod field;
mod pieces;
mod session;
mod source;
mod target;
mod wire;

pub(super) use source::Source;
pub(super) use target::Target;
