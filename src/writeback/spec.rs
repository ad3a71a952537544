//! One write of one system, with everything about it that a diff needs.

use crate::base::{Operation, Row, TableName};
use crate::project::{Project, Stream, System, Write};

use super::{Predicate, WritebackError};

/// A write of a connector, bound to a system.
pub(super) struct Spec<'a> {
    pub system: &'a System,
    pub write: &'a Write,
    pub stream: &'a Stream,
    pub editable: Option<Predicate>,
}

impl<'a> Spec<'a> {
    /// Every write of every system, ordered by system and kind.
    pub fn all(project: &'a Project) -> Result<Vec<Self>, WritebackError> {
        let mut specs = Vec::new();
        for system in project.systems.values() {
            for write in system.connector.writes.values() {
                specs.push(Self::new(system, write)?);
            }
        }
        Ok(specs)
    }

    /// The write `kind` of `system`; `None` if the project has no such write (any more).
    pub fn find(project: &'a Project, system: &str, kind: &str) -> Result<Option<Self>, WritebackError> {
        match project.systems.get(system) {
            Some(system) if system.connector.writes.contains_key(kind) => Self::of(system, kind).map(Some),
            _ => Ok(None),
        }
    }

    /// The write `kind` of `system`, which must exist.
    pub fn of(system: &'a System, kind: &str) -> Result<Self, WritebackError> {
        match system.connector.writes.get(kind) {
            Some(write) => Self::new(system, write),
            None => Err(WritebackError::Write {
                connector: system.connector.name.clone(),
                outbox: kind.into(),
                what: "there is no such write".into(),
            }),
        }
    }

    fn new(system: &'a System, write: &'a Write) -> Result<Self, WritebackError> {
        let connector = &system.connector;
        let stream = connector.streams.get(&write.resource).ok_or_else(|| WritebackError::Write {
            connector: connector.name.clone(),
            outbox: write.outbox.clone(),
            what: format!("there is no stream \"{}\"", write.resource),
        })?;
        let editable = match &write.editable {
            None => None,
            Some(text) => Some(Predicate::parse(text).map_err(|what| WritebackError::Editable {
                connector: connector.name.clone(),
                outbox: write.outbox.clone(),
                what,
            })?),
        };
        Ok(Self { system, write, stream, editable })
    }

    pub fn kind(&self) -> &'a str {
        &self.write.outbox
    }

    /// `raw.<system>__<stream>`: what the target had when it was last pulled.
    pub fn raw(&self) -> TableName {
        TableName::new("raw", format!("{}__{}", self.system.name, self.stream.name))
    }

    /// `write.<system>__<outbox>`: what it should have.
    pub fn wanted(&self) -> TableName {
        TableName::new("write", format!("{}__{}", self.system.name, self.write.outbox))
    }

    /// The write map's file, for messages.
    pub fn file(&self) -> String {
        self.write.map.path.display().to_string()
    }

    /// The resource lacks a column that the connector names.
    pub fn no_column(&self, name: &str) -> WritebackError {
        WritebackError::Table {
            system: self.system.name.clone(),
            table: self.raw(),
            what: format!("there is no column \"{name}\", which [write.{}] names", self.kind()),
        }
    }

    pub fn allows(&self, operation: Operation) -> bool {
        self.write.operations.contains(&operation)
    }

    /// Whether a person has not taken `row` over.
    pub fn editable(&self, row: &Row) -> bool {
        self.editable.as_ref().is_none_or(|predicate| predicate.holds(row))
    }

    /// The version column of `row` and its value; `None` where the product has none.
    pub fn version(&self, row: &Row) -> Option<(String, serde_json::Value)> {
        let column = self.write.version.as_ref()?;
        row.get(column).map(|value| (column.clone(), value.clone()))
    }

    /// The part of `row` that finds it in the target.
    pub fn key(&self, row: &Row) -> Row {
        self.write.key.iter().filter_map(|column| Some((column.clone(), row.get(column)?.clone()))).collect()
    }
}
