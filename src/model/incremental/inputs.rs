//! By which rows the inputs of a node differ from what it was last built from.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::datasource::{TableProvider, source_as_provider};
use datafusion::error::DataFusionError;
use datafusion::logical_expr::{LogicalPlan, TableScan};

use super::{Job, Whole};
use crate::base::TableName;
use crate::model::build::stored_schema;
use crate::model::fingerprint::Cause;
use crate::model::preview::{kept, pulled};
use crate::model::table::Files;
use crate::store::{Changed, Cut, DataFile};

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

/// The inputs of `plan` that are not as they were in `cut`; `made_from`: what changes when rows do, of each table that the node was made from.
pub(super) async fn changed(
    job: &Job<'_>,
    plan: &LogicalPlan,
    cut: &Cut,
    made_from: &BTreeMap<String, String>,
) -> Result<Inputs, Whole> {
    let (mut inputs, mut read_bytes, mut all_bytes) = (Inputs::new(), 0, 0);
    for (table, scanned) in tables(plan)? {
        let name = table.to_string();
        all_bytes += scanned.as_ref().map_or(0, |scanned| bytes(scanned.files()));
        if job.causes.iter().any(|cause| matches!(cause, Cause::Input(input) if *input == name)) {
            let scanned = scanned.ok_or_else(|| Whole::because(format!("{table} is gone")))?;
            let input = one(job, &table, &scanned, cut, made_from.get(&name)).await?;
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

async fn one(job: &Job<'_>, table: &TableName, scanned: &Files, cut: &Cut, made_from: Option<&String>) -> Result<Input, Whole> {
    let context = job.builder.context;
    let gone = |error| Whole::because(format!("{table} as it was is no longer kept ({error})"));
    let before = context.store.version_of(cut, table).await.map_err(gone)?;
    let before = before.ok_or_else(|| Whole::because(format!("{table} is new")))?;
    // A promotion, for one, brings rows that were made from other versions than those of the run that is noted.
    let data = if job.builder.graph.node(table).is_some() { kept(&before) } else { pulled(&before) };
    if made_from != Some(&data) {
        return Err(Whole::because(format!("it is not known which {table} it was made from")));
    }
    if stored_schema(&before.schema) != stored_schema(&scanned.schema()) {
        return Err(Whole::because(format!("the columns of {table} changed")));
    }
    // The ledger is copied anew each time, and an environment reads tables of two stores: their files tell.
    let now = context.pinned.get(table).or_else(|| context.current.get(table));
    let changed = match now.filter(|_| table.schema != "system" && !context.store.is_environment()) {
        None => between(&before.files, scanned.files()),
        Some(now) => {
            let mut changed = context.store.changed(table, before.version, now.version).await.map_err(gone)?;
            // What this run wrote itself has no version yet.
            match job.built.get(table) {
                Some(changes) if !changes.is_empty() => changed.told.extend(changes.iter().cloned()),
                _ => {
                    let new = between(&now.files, scanned.files());
                    changed.gone.extend(new.gone);
                    changed.added.extend(new.added);
                }
            }
            changed
        }
    };
    Ok(Input { schema: scanned.schema(), before: Arc::new(Files::of(&before)), changed })
}

fn between(before: &[DataFile], now: &[DataFile]) -> Changed {
    Changed { told: vec![], gone: DataFile::beside(before, now), added: DataFile::beside(now, before) }
}

fn bytes(files: &[DataFile]) -> u64 {
    files.iter().map(|file| file.size_bytes).sum()
}

/// The tables that `plan` reads; without files where there never was a row.
fn tables(plan: &LogicalPlan) -> Result<BTreeMap<TableName, Option<Files>>, DataFusionError> {
    let mut tables = BTreeMap::new();
    plan.apply_with_subqueries(|node| {
        if let LogicalPlan::TableScan(scan) = node
            && let Some(table) = table_of(scan)
        {
            tables.insert(table, source_as_provider(&scan.source)?.downcast_ref::<Files>().cloned());
        }
        Ok(TreeNodeRecursion::Continue)
    })?;
    Ok(tables)
}
