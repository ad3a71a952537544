//! The dependency graph, read from the statements themselves.

use crate::base::TableName;
use crate::project::Project;

use super::ModelError;

/// All tables that SQL defines, in build order.
pub struct Graph {
    /// Topologically sorted.
    pub nodes: Vec<Node>,
}

/// One table and what it reads.
pub struct Node {
    pub table: TableName,
    pub kind: NodeKind,
    /// Every table that the statement reads, CTEs left out, tables named in decision functions' arguments included.
    pub inputs: Vec<TableName>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NodeKind {
    /// `mapped.*`: a view, never stored.
    Mapped,
    Contract,
    Model,
    /// `write.*`: a write map's result.
    Write,
}

impl Graph {
    /// Parses every statement; refuses unknown tables (with the nearest name), cycles and anything but one `select`, each with file and line.
    pub fn new(_project: &Project) -> Result<Self, Vec<ModelError>> {
        todo!()
    }
}
