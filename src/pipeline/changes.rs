//! The ledger as a table: `system.changes`.
