//! Keeps the scans of a plan to the rows that chosen rows of its result can depend on.

use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::Schema;
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::common::{Column, DFSchema};
use datafusion::datasource::{provider_as_source, source_as_provider};
use datafusion::error::DataFusionError;
use datafusion::execution::SessionState;
use datafusion::logical_expr::{Expr, ExprSchemable, LogicalPlan, TableScan};

use super::local::trace;
use crate::model::table::{Choice, Files};
use crate::store::{Chosen, Compared};

/// `plan` with scans that yield only what rows depend on whose `units` are among `values`, or whose first one is not before `from`. Other rows may
/// come out, too.
pub(super) fn restrict(
    state: &SessionState,
    plan: LogicalPlan,
    units: &[Expr],
    values: &[RecordBatch],
    from: Option<i64>,
) -> Result<LogicalPlan, DataFusionError> {
    let restriction = Restriction { state, values, from };
    restriction.push(plan, units.iter().cloned().map(Some).collect())
}

struct Restriction<'a> {
    state: &'a SessionState,
    values: &'a [RecordBatch],
    from: Option<i64>,
}

impl Restriction<'_> {
    /// `units`: what they are in terms of this node, where they can be followed to it.
    fn push(&self, node: LogicalPlan, units: Vec<Option<Expr>>) -> Result<LogicalPlan, DataFusionError> {
        if let LogicalPlan::TableScan(mut scan) = node {
            if let Some(files) = self.choose(&scan, &units)? {
                scan.source = provider_as_source(Arc::new(files));
            }
            return Ok(LogicalPlan::TableScan(scan));
        }
        let inner = |at| units.iter().map(|unit| trace(&node, at, unit.as_ref()?)).collect::<Vec<_>>();
        let mut inner = (0..node.inputs().len()).map(inner).collect::<Vec<_>>().into_iter();
        let pushed = node.map_children(|child| {
            let units = inner.next().unwrap_or_default();
            self.push(child, units).map(Transformed::yes)
        })?;
        Ok(pushed.data)
    }

    fn choose(&self, scan: &TableScan, units: &[Option<Expr>]) -> Result<Option<Files>, DataFusionError> {
        let source = source_as_provider(&scan.source)?;
        let Some(files) = source.downcast_ref::<Files>() else { return Ok(None) };
        let known = units.iter().zip(0..).filter_map(|(unit, at)| Some((unit.as_ref()?, at)));
        let known: Vec<(&Expr, usize)> = known.filter(|(unit, _)| !unit.column_refs().is_empty()).collect();
        // From some time on means the first unit.
        if known.is_empty() || self.from.is_some() && !known.iter().any(|(_, at)| *at == 0) {
            return Ok(None);
        }
        let Some(sample) = self.values.first() else { return self.choose_none(files) };
        let schema = sample.schema();
        let scanned = files.schema_of();
        let all = DFSchema::try_from_qualified_schema(scan.table_name.clone(), &scanned)?;
        for (unit, at) in &known {
            if unit.get_type(&all).ok().as_ref() != Some(schema.field(*at).data_type()) {
                return Ok(None);
            }
        }
        let positions: Vec<usize> = known.iter().map(|(_, at)| *at).collect();
        let columns: Vec<&Column> =
            known.iter().filter_map(|(unit, _)| if let Expr::Column(c) = unit { Some(c) } else { None }).collect();
        let mut names: Vec<&str> = columns.iter().map(|column| column.name.as_str()).collect();
        names.sort_unstable();
        names.dedup();
        let is_plain = names.len() == known.len();
        let mut read: Vec<usize> = vec![];
        for column in known.iter().flat_map(|(unit, _)| unit.column_refs()) {
            read.push(scanned.index_of(&column.name)?);
        }
        if !is_plain {
            read.sort_unstable();
            read.dedup();
        }
        let read = Arc::new(scanned.project(&read)?);
        let compared_schema = if is_plain { read.clone() } else { Arc::new(schema.project(&positions)?) };
        let values = self
            .values
            .iter()
            .map(|batch| RecordBatch::try_new(compared_schema.clone(), batch.project(&positions)?.columns().to_vec()));
        let chosen = Arc::new(
            Chosen::new(compared_schema.clone(), &values.collect::<Result<Vec<_>, _>>()?, self.from)
                .map_err(|error| DataFusionError::External(Box::new(error)))?,
        );
        let compared = if is_plain { None } else { Some(self.compared(scan, &known, &read, compared_schema)?) };
        Ok(Some(files.choosing(Choice { chosen, columns: read, compared })))
    }

    /// Nothing is chosen.
    fn choose_none(&self, files: &Files) -> Result<Option<Files>, DataFusionError> {
        Ok((self.from.is_none()).then(|| Files::new(files.schema_of(), vec![])))
    }

    /// The units as a function of the columns that are read.
    fn compared(
        &self,
        scan: &TableScan,
        known: &[(&Expr, usize)],
        read: &Arc<Schema>,
        schema: Arc<Schema>,
    ) -> Result<Arc<Compared>, DataFusionError> {
        let read = DFSchema::try_from_qualified_schema(scan.table_name.clone(), read)?;
        let made = known.iter().map(|(unit, _)| self.state.create_physical_expr((*unit).clone(), &read));
        let made = made.collect::<Result<Vec<_>, _>>()?;
        Ok(Arc::new(move |batch: &RecordBatch| {
            let columns = made.iter().map(|expr| expr.evaluate(batch)?.into_array(batch.num_rows()));
            let columns = columns.collect::<Result<Vec<_>, DataFusionError>>()?;
            Ok(RecordBatch::try_new(schema.clone(), columns)?)
        }))
    }
}
