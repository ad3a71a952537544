//! One binary for every test that needs more than one module: databases, the command line, a browser, other engines.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "tests may fail loudly"
)]

mod bad_input;
mod checks;
mod cli;
mod connect;
mod contracts;
mod environments;
mod faults;
mod files;
mod harness;
mod history;
mod kill;
mod kill_pull;
mod r#loop;
mod maintain;
mod messages;
mod plan;
mod proxy;
mod pulls;
mod scenario;
mod schedules;
mod serve;
mod sql_models;
mod tidy;
mod tryton;
