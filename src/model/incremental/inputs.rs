//! By which rows the inputs of a node differ from what it was last built from.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::error::DataFusionError;
use datafusion::logical_expr::{LogicalPlan, TableScan};

use super::{Job, NewFiles, Whole};
use crate::base::TableName;
use crate::model::build::{CONTENT, DATA, stored_schema};
use crate::model::table::Files;
use crate::store::{Changed, Cut, DataFile, TableVersion};

/// Reading more than this share of the inputs to learn what changed does not pay, in per cent; what is small is read anyway.
const READ_MAX_PERCENT: u64 = 30;
const READ_ANYWAY_BYTES: u64 = 4 << 20;

/// A table whose rows changed.
pub(super) struct Input {
    pub before: Arc<Files>,
    pub schema: SchemaRef,
    pub changed: Changed,
}

/// The tables whose rows changed, by name.
pub(super) type Inputs = BTreeMap<TableName, Input>;

/// The table that a scan reads; `None` for a table function.
pub(super) fn table_of(scan: &TableScan) -> Option<TableName> {
    Some(TableName::new(scan.table_name.schema()?, scan.table_name.table()))
}

/// The inputs of `plan` that are not as they were in `cut`.
pub(super) async fn changed(job: &Job<'_>, plan: &LogicalPlan, cut: &Cut) -> Result<Inputs, Whole> {
    let (mut inputs, mut read_bytes, mut all_bytes) = (Inputs::new(), 0, 0);
    for (table, schema) in tables(plan)? {
        let now = job.builder.context.pinned.get(&table).or_else(|| job.builder.context.current.get(&table));
        let built = job.built.get(&table);
        all_bytes += bytes(built.map_or_else(|| now.map_or(&[][..], |now| &now.files), |built| &built.files));
        let found = match (now, cut.tables.get(&table)) {
            (Some(now), Some(version)) => one(job, now, built, *version, &schema).await?,
            // A table that never had a row.
            (None, None) if built.is_none() => None,
            _ => return Err(Whole::because(format!("{table} is new"))),
        };
        if let Some(input) = found {
            let Changed { told, gone, added } = &input.changed;
            read_bytes += bytes(told) + bytes(gone) + bytes(added);
            inputs.insert(table, input);
        }
    }
    if read_bytes > READ_ANYWAY_BYTES && read_bytes > all_bytes * READ_MAX_PERCENT / 100 {
        let tables: Vec<String> = inputs.keys().map(ToString::to_string).collect();
        return Err(Whole::because(format!("most of {} was written anew", tables.join(", "))));
    }
    Ok(inputs)
}

async fn one(
    job: &Job<'_>,
    now: &TableVersion,
    built: Option<&NewFiles>,
    version: u64,
    schema: &SchemaRef,
) -> Result<Option<Input>, Whole> {
    let (store, table) = (job.builder.context.store, &now.table);
    let gone = |error| Whole::because(format!("version {version} of {table} is no longer kept ({error})"));
    let before = store.at(table, version).await.map_err(gone)?;
    let same = |name: &str| now.properties.get(name).is_some_and(|value| before.properties.get(name) == Some(value));
    let is_model = job.builder.graph.node(table).is_some();
    if built.is_none() && (now.version == before.version || same(if is_model { CONTENT } else { DATA })) {
        return Ok(None);
    }
    if stored_schema(&before.schema) != stored_schema(schema) {
        return Err(Whole::because(format!("the columns of {table} changed")));
    }
    // What this run wrote itself has no versions yet.
    let mut changed = match table.schema.as_str() {
        "system" => between(&before.files, &now.files),
        _ => store.changed(table, version, now.version).await.map_err(gone)?,
    };
    if let Some(NewFiles { files, changes }) = built {
        let new = if changes.is_empty() { between(&now.files, files) } else { Changed::default() };
        changed.told.extend(changes.iter().cloned());
        changed.gone.extend(new.gone);
        changed.added.extend(new.added);
    }
    let before_files = Arc::new(Files::of(&before));
    Ok(Some(Input { before: before_files, schema: schema.clone(), changed }))
}

fn between(before: &[DataFile], now: &[DataFile]) -> Changed {
    Changed { told: vec![], gone: DataFile::beside(before, now), added: DataFile::beside(now, before) }
}

fn bytes(files: &[DataFile]) -> u64 {
    files.iter().map(|file| file.size_bytes).sum()
}

/// The tables that `plan` reads, with all of their columns.
fn tables(plan: &LogicalPlan) -> Result<BTreeMap<TableName, SchemaRef>, DataFusionError> {
    let mut tables = BTreeMap::new();
    plan.apply_with_subqueries(|node| {
        if let LogicalPlan::TableScan(scan) = node {
            tables.extend(table_of(scan).map(|table| (table, scan.source.schema())));
        }
        Ok(TreeNodeRecursion::Continue)
    })?;
    Ok(tables)
}
