//! Plan, approve, apply, confirm, undo: how what is wanted reaches the systems, and how that is proved.
//!
//! What stays true:
//! - Intent is durable before anything is sent; an unknown outcome is settled by looking at the target, never by sending again blindly.
//! - A change is planned only against a target that was pulled after the last send to it, and carries the image and version it was decided from.
//! - With a hub key, only rows that the ledger shows as the hub's own are updated or deleted, and only while `editable` holds.
//! - Sent is not done: a change is closed by a later pull that shows it, or shows something else.
//!
//! This module decides nothing about when: `pipeline` calls it in order.

mod apply;
mod approve;
mod confirm;
mod diff;
mod editable;
mod error;
mod image;
mod plan;
mod recover;
mod report;
mod settle;
mod spec;
mod undo;

use crate::base::time::Instant;
use crate::project::Project;
use crate::store::{PullKind, Store};

pub use approve::Selection;
pub use confirm::Confirmed;
pub use editable::Predicate;
pub use error::WritebackError;
pub use plan::{Difference, PlanRequest, Preview};
pub use recover::Recovered;
pub use report::{Applied, Gap, GapReason, Plan, ReasonCount, Settled, UndoRefused, Undone, WriteReport};

/// The ledger's side of a project: everything here works on the control state, the last cut and the targets.
#[derive(Clone, Copy)]
pub struct Writeback<'a> {
    pub project: &'a Project,
    pub store: &'a Store,
}

impl<'a> Writeback<'a> {
    pub fn new(project: &'a Project, store: &'a Store) -> Self {
        Self { project, store }
    }

    /// The freshness of a system: when the oldest of its streams was last pulled successfully; `None` if one never was.
    pub fn pulled_at(&self, system: &str) -> Result<Option<Instant>, WritebackError> {
        let Some(system) = self.project.systems.get(system) else { return Ok(None) };
        let pulled = self.store.control.last_successes(&system.name, &PullKind::ALL)?;
        let of_streams: Option<Vec<Instant>> =
            system.connector.streams.keys().map(|stream| pulled.get(stream).copied()).collect();
        Ok(of_streams.and_then(|instants| instants.into_iter().min()))
    }
}

/// What can be wrong with the writes of a project without a connection: conditions that cannot be read. Part of `loopline check`.
pub fn check(project: &Project) -> Vec<WritebackError> {
    let connectors: std::collections::BTreeMap<&str, &crate::project::Connector> =
        project.systems.values().map(|system| (system.connector.name.as_str(), &*system.connector)).collect();
    connectors
        .values()
        .flat_map(|connector| connector.writes.values().map(move |write| (connector, write)))
        .filter_map(|(connector, write)| {
            let text = write.editable.as_deref()?;
            Predicate::parse(text).err().map(|what| WritebackError::Editable {
                connector: connector.name.clone(),
                outbox: write.outbox.clone(),
                what,
            })
        })
        .collect()
}
