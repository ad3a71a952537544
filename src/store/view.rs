//! A store that can only be read.

use crate::base::TableName;

use super::{Cut, Store, StoreError, TableVersion};

/// What planning gets of a store: nothing that it has can commit, stage or record.
#[derive(Debug, Clone, Copy)]
pub struct View<'a>(&'a Store);

impl Store {
    pub fn view(&self) -> View<'_> {
        View(self)
    }
}

impl View<'_> {
    /// See [`Store::cut`].
    pub async fn cut(self) -> Result<Option<Cut>, StoreError> {
        self.0.cut().await
    }

    /// See [`Store::latest`].
    pub async fn latest(self, table: &TableName) -> Result<Option<TableVersion>, StoreError> {
        self.0.latest(table).await
    }

    /// See [`Store::at`].
    pub async fn at(self, table: &TableName, version: u64) -> Result<TableVersion, StoreError> {
        self.0.at(table, version).await
    }
}
