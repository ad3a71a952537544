//! Rows of target systems and changes to them, as the ledger keeps them and `connect` applies them.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// Column → value in canonical JSON: text as string, integers and booleans as themselves, decimals as strings without trailing zeros (`"5"`, `"0.25"`),
/// dates as `YYYY-MM-DD`, instants as `YYYY-MM-DDTHH:MM:SS[.ffffff]Z`, doubles as numbers, SQL's NULL as null.
pub type Row = BTreeMap<String, serde_json::Value>;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Operation {
    Insert,
    Update,
    Delete,
}

/// One change of one row of a target.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RowChange {
    pub operation: Operation,
    /// The target's own name of the table.
    pub table: String,
    pub key: Row,
    /// The fields that are set, as they were when this was decided; `None` for an insert. For a delete: the whole row.
    pub before: Option<Row>,
    /// The fields that are set; `None` for a delete.
    pub after: Option<Row>,
    /// Version column and its value when this was decided; `None` for an insert or where the product has none.
    pub version: Option<(String, serde_json::Value)>,
}
