//! What every stage shares: names, time, secrets, the shape of an error, failpoints. No I/O beyond a failpoint's.

mod error;
pub mod failpoint;
mod name;
mod row;
mod secret;
pub mod time;

pub use error::{Blame, Diagnose, Retry, causes, is_slip, nearest};
pub use name::{RunId, TableName};
pub use row::{Operation, Row, RowChange};
pub use secret::Secret;
