//! The demo plant: writes and advances real source databases.

mod bill;
mod calendar;
mod dice;
mod error;
mod master;
mod names;
mod plant;
mod sim;
#[cfg(test)]
mod tests;

pub use error::DemoError;
