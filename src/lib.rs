//! Loopline closes the loop between the systems a manufacturer already runs: pull, decide in SQL, write back, confirm.
//!
//! Data moves one way through the modules below; a module imports only those listed before it (`tests/integration/tidy.rs` holds
//! the exact edges). `ARCHITECTURE.md` is the map.

#![forbid(unsafe_code)]

pub mod base;
pub mod cli;
pub mod connect;
pub mod decide;
pub mod demo;
pub mod model;
pub mod pipeline;
pub mod project;
pub mod serve;
pub mod store;
pub mod writeback;
