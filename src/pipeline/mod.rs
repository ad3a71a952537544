//! Plans and runs pipelines: the only module that calls the stages in order.
//!
//! One run: settle what is unknown → pull → confirm → copy the ledger to `system.changes` → build → check → publish → plan → apply what is
//! approved → pull what was written → confirm.
//!
//! What stays true:
//! - A run publishes all of its tables or none, and nothing when a check that may stop it failed.
//! - Every durable step can be the last one: the next run goes on from there.
//! - `system.changes` is the ledger after the run's pull and before its own plan, so the loop's KPIs are as of the run's start; what a run sends and
//!   confirms shows in the next run, which finds `system.changes` changed and rebuilds exactly what reads it.

mod admit;
mod apply;
mod changes;
mod checks;
mod cursor;
mod error;
mod exact;
mod ground;
mod hub;
mod inputs;
mod lineage;
mod live;
mod maintain;
mod omitted;
mod preview;
mod progress;
mod promote;
mod pull;
mod replay;
mod report;
mod run;
pub mod schedule;
mod status;
mod trace;
mod what_if;

pub use error::PipelineError;
pub use hub::{Access, Hub, RunOptions};
pub use live::LiveRun;
pub use maintain::{MaintenanceReport, TableUpkeep, Upkeep};
pub use progress::{Cancel, Progress, Silent, Stage};
pub use promote::{EnvironmentView, TableDifference};
pub use pull::{Flow, Verification};
pub use replay::ReplayReport;
pub use report::{
    CheckReport, PullReport, RunReport, StageTime, StreamCheck, StreamPull, SystemPull, VerifyReport, WriteSummary,
};
pub use schedule::ScheduleStatus;
pub use status::{Freshness, Status};
pub use trace::LotTrace;
