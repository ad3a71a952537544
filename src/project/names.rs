//! What a project defines, by name, before anything is resolved: a reference is unknown only if no file defines it, right or wrong.

use std::collections::BTreeSet;

use super::files::Files;
use crate::base::TableName;

#[derive(Default)]
pub(super) struct Names {
    pub connectors: BTreeSet<String>,
    pub contracts: BTreeSet<TableName>,
    pub models: BTreeSet<TableName>,
    /// `None` until all headers were read, and where one of them is wrong.
    pub tags: Option<BTreeSet<String>>,
}

impl Names {
    pub(super) fn of(files: &Files) -> Self {
        Self {
            connectors: files.connectors.keys().cloned().collect(),
            contracts: files.contracts.keys().cloned().collect(),
            models: files.models.keys().cloned().collect(),
            tags: None,
        }
    }

    /// Names of outbox models, without schema.
    pub(super) fn outboxes(&self) -> impl Iterator<Item = &str> {
        self.models.iter().filter(|table| table.schema == "outbox").map(|table| table.name.as_str())
    }

    /// Contracts and models.
    pub(super) fn tables(&self) -> impl Iterator<Item = &TableName> + Clone {
        self.contracts.iter().chain(&self.models)
    }

    pub(super) fn has_table(&self, table: &TableName) -> bool {
        self.contracts.contains(table) || self.models.contains(table)
    }
}
