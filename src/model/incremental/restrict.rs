//! Keeps the scans of a plan to the rows that chosen rows of its result can depend on.

use std::collections::BTreeSet;
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::{FieldRef, SchemaRef};
use datafusion::common::DFSchema;
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::datasource::{TableProvider, provider_as_source, source_as_provider};
use datafusion::error::DataFusionError;
use datafusion::execution::SessionState;
use datafusion::logical_expr::{Expr, ExprSchemable, LogicalPlan, TableScan};

use super::local::trace;
use crate::model::table::{Choice, Files};
use crate::store::{Chosen, Compared};

/// `plan` with scans that yield only what rows depend on whose `units` are among `values` (of `schema`), or whose first unit is not before `from`.
/// Other rows may come out, too.
pub(super) fn restrict(
    state: &SessionState,
    plan: LogicalPlan,
    units: &[Expr],
    schema: SchemaRef,
    values: &[RecordBatch],
    from: Option<i64>,
) -> Result<LogicalPlan, DataFusionError> {
    let restriction = Restriction { state, schema, values, from };
    restriction.push(plan, units.iter().cloned().map(Some).collect())
}

struct Restriction<'a> {
    state: &'a SessionState,
    /// Of the values.
    schema: SchemaRef,
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

    /// The scan's table with its chosen rows; `None` if any row may be needed.
    fn choose(&self, scan: &TableScan, units: &[Option<Expr>]) -> Result<Option<Files>, DataFusionError> {
        let source = source_as_provider(&scan.source)?;
        let Some(files) = source.downcast_ref::<Files>() else { return Ok(None) };
        let known = units.iter().enumerate().filter_map(|(at, unit)| Some((at, unit.as_ref()?)));
        let (positions, known): (Vec<usize>, Vec<&Expr>) = known.filter(|(_, unit)| !unit.column_refs().is_empty()).unzip();
        // `from` is about the first unit.
        if known.is_empty() || self.from.is_some() && positions[0] != 0 {
            return Ok(None);
        }
        let (table, schema) = (files.schema(), Arc::new(self.schema.project(&positions)?));
        let all = DFSchema::try_from_qualified_schema(scan.table_name.clone(), &table)?;
        let is_same = |(unit, field): (&&Expr, &FieldRef)| unit.get_type(&all).is_ok_and(|found| found == *field.data_type());
        if !known.iter().zip(schema.fields()).all(is_same) {
            return Ok(None);
        }
        let columns = known.iter().flat_map(|unit| unit.column_refs()).map(|column| table.index_of(&column.name));
        let columns = columns.collect::<Result<BTreeSet<usize>, _>>()?;
        let plain = |unit: &&Expr| if let Expr::Column(column) = unit { table.index_of(&column.name).ok() } else { None };
        let plain = known.iter().map(plain).collect::<Option<Vec<usize>>>().filter(|plain| plain.len() == columns.len());
        let (columns, schema, compared) = match plain {
            Some(plain) => {
                let columns = Arc::new(table.project(&plain)?);
                (columns.clone(), columns, None)
            }
            None => {
                let columns = Arc::new(table.project(&columns.into_iter().collect::<Vec<_>>())?);
                let compared = self.compared(scan, &known, &columns, schema.clone())?;
                (columns, schema, Some(compared))
            }
        };
        let values = self.values.iter().map(|batch| {
            let values = positions.iter().map(|at| batch.column(*at).clone()).collect();
            RecordBatch::try_new(schema.clone(), values)
        });
        let chosen = Chosen::new(schema.clone(), &values.collect::<Result<Vec<_>, _>>()?, self.from);
        let chosen = Arc::new(chosen.map_err(|error| DataFusionError::External(Box::new(error)))?);
        Ok(Some(files.choosing(Choice { chosen, columns, compared })))
    }

    /// The units as a function of the columns that are read.
    fn compared(
        &self,
        scan: &TableScan,
        units: &[&Expr],
        columns: &SchemaRef,
        schema: SchemaRef,
    ) -> Result<Arc<Compared>, DataFusionError> {
        let read = DFSchema::try_from_qualified_schema(scan.table_name.clone(), columns)?;
        let made = units.iter().map(|unit| self.state.create_physical_expr((*unit).clone(), &read));
        let made = made.collect::<Result<Vec<_>, _>>()?;
        Ok(Arc::new(move |batch: &RecordBatch| {
            let columns = made.iter().map(|expr| expr.evaluate(batch)?.into_array(batch.num_rows()));
            let columns = columns.collect::<Result<Vec<_>, DataFusionError>>()?;
            Ok(RecordBatch::try_new(schema.clone(), columns)?)
        }))
    }
}
