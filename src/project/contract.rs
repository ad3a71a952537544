//! Contracts: `create table` files that say which columns every product is mapped to.

use arrow::datatypes::DataType;

use super::SqlFile;
use crate::base::TableName;

/// A contract. Its table holds, in this order: `system`, the declared columns, `source_<column>` for each column with an
/// [`entity`](Column::entity), then `source_id text`, `source_version text`, `changed_at timestamp`, `deleted boolean`.
#[derive(Debug)]
pub struct Contract {
    pub table: TableName,
    pub file: SqlFile,
    /// The declared columns in order; `system` is implied.
    pub columns: Vec<Column>,
    /// Declared key columns; `system` is implied in front.
    pub primary_key: Vec<String>,
}

#[derive(Debug, Clone)]
pub struct Column {
    pub name: String,
    /// `text` Utf8, `int` Int32, `bigint` Int64, `double` Float64, `boolean`, `date` Date32, `decimal(p,s)` Decimal128,
    /// `timestamp(6) with time zone` Timestamp(Microsecond, "UTC"). Nothing else is accepted.
    pub data_type: DataType,
    pub nullable: bool,
    /// `references erp.items` or `references xref.items`: the source's key is replaced by the hub's id from `xref.items` if that model exists,
    /// and kept beside it in `source_<column>`.
    pub references: Option<TableName>,
    /// The `--` comment on the column's line.
    pub description: String,
    /// Line in the contract's file, from 1.
    pub line: usize,
}
