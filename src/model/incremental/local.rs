//! Which values of some columns of a statement's result can belong to rows that differ, if rows of its inputs do.
//!
//! An operator is *local* in a column if its rows with one value of the column depend only on rows of its input with one value of some expression:
//! then the value is followed down to the scans, and the changed rows of a table name the values that they touch. Where a column cannot be followed
//! into the changed side of a join, the rows of the other side are looked up by the join's equalities, as they were and as they are. A superset of
//! the values is right, so that filters may be left out.

use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Schema};
use datafusion::common::tree_node::{Transformed, TreeNode, TreeNodeRecursion};
use datafusion::common::{Column, DFSchema, JoinType, NullEquality};
use datafusion::datasource::provider_as_source;
use datafusion::error::DataFusionError;
use datafusion::functions_aggregate::expr_fn::sum;
use datafusion::logical_expr::expr::InSubquery;
use datafusion::logical_expr::{
    BinaryExpr, Distinct, Expr, Join, LogicalPlan, LogicalPlanBuilder, Operator, TableScan, ident, lit, when,
};

use super::Whole;
use super::inputs::{Inputs, table_of};
use crate::model::table::Files;
use crate::store::CHANGE_TYPE;

/// Changed rows while they are joined with others.
const TOUCHED: &str = "_touched";
/// Changed rows as they are read.
const CHANGES: &str = "_changes";
/// How often a row came, less how often it went.
const SIGN: &str = "_sign";

/// The name of the `at`-th value that is followed.
pub(super) fn unit(at: usize) -> String {
    format!("_u{at}")
}

/// Follows the changes of some inputs through a plan.
pub(super) struct Locality<'a> {
    pub inputs: &'a Inputs,
}

type Plans = Result<Vec<LogicalPlan>, Whole>;

impl Locality<'_> {
    /// Plans with the columns [`unit`]: the values of `wants` in all rows by which the result of `node` differs, and perhaps more.
    pub fn touched(&self, node: &LogicalPlan, wants: &[Expr]) -> Plans {
        if !self.reaches(node)? {
            return Ok(vec![]);
        }
        self.refuse_subqueries(node)?;
        match node {
            LogicalPlan::TableScan(scan) => self.differences(scan, wants),
            LogicalPlan::Join(join) => Ok([self.side(node, join, 0, wants)?, self.side(node, join, 1, wants)?].concat()),
            // Rows that neither were nor are in the result touch nothing.
            LogicalPlan::Filter(filter) if is_rowwise(&filter.input) => {
                let more: Vec<Expr> = wants.iter().cloned().chain([filter.predicate.clone()]).collect();
                let passed = |plan| {
                    let units = (0..wants.len()).map(|at| ident(unit(at)));
                    LogicalPlanBuilder::from(plan).filter(ident(unit(wants.len())))?.project(units)?.build()
                };
                Ok(self.touched(&filter.input, &more)?.into_iter().map(passed).collect::<Result<_, _>>()?)
            }
            _ => {
                let mut found = vec![];
                for (at, input) in node.inputs().into_iter().enumerate() {
                    if self.reaches(input)? {
                        let traced = wants.iter().map(|want| trace(node, at, want).ok_or_else(|| not_local(node, want)));
                        found.extend(self.touched(input, &traced.collect::<Result<Vec<_>, _>>()?)?);
                    }
                }
                Ok(found)
            }
        }
    }

    /// What the changes of one side of a join touch.
    fn side(&self, node: &LogicalPlan, join: &Join, at: usize, wants: &[Expr]) -> Plans {
        let (this, other) = if at == 0 { (&join.left, &join.right) } else { (&join.right, &join.left) };
        if !self.reaches(this)? {
            return Ok(vec![]);
        }
        if let Some(traced) = wants.iter().map(|want| trace(node, at, want)).collect::<Option<Vec<_>>>() {
            return self.touched(this, &traced);
        }
        let is_of = |side: &LogicalPlan, column: &Column| side.schema().has_column(column);
        let columns: Vec<&Column> = wants.iter().flat_map(Expr::column_refs).collect();
        if at == 1 && join.null_aware {
            return Err(Whole::because("not in (select …) looks at all rows of the subquery"));
        }
        if let Some(column) =
            columns.iter().find(|column| is_optional(join, column) || !is_of(this, column) && !is_of(other, column))
        {
            return Err(Whole::because(format!("{} comes from the optional side of an outer join", column.name)));
        }
        if join.on.is_empty() {
            return Err(Whole::because(format!(
                "every row depends on {}, by a subquery or a join without an equality",
                self.names(this)?
            )));
        }
        // Follow the columns of this side and those it is joined by; the other side's rows are found by these.
        let own: Vec<&Column> = columns.into_iter().filter(|column| is_of(this, column)).collect();
        let pair =
            |(left, right): &(Expr, Expr)| if at == 0 { (left.clone(), right.clone()) } else { (right.clone(), left.clone()) };
        let pairs: Vec<(Expr, Expr)> = join.on.iter().map(pair).collect();
        let followed: Vec<Expr> =
            own.iter().map(|column| Expr::Column((*column).clone())).chain(pairs.iter().map(|(own, _)| own.clone())).collect();
        let touched = |at: usize| Expr::Column(Column::new(Some(TOUCHED), unit(at)));
        let operator = match join.null_equality {
            NullEquality::NullEqualsNothing => Operator::Eq,
            NullEquality::NullEqualsNull => Operator::IsNotDistinctFrom,
        };
        let on: Vec<Expr> = pairs
            .into_iter()
            .enumerate()
            .map(|(key, (_, theirs))| {
                Expr::BinaryExpr(BinaryExpr::new(Box::new(touched(own.len() + key)), operator, Box::new(theirs)))
            })
            .collect();
        let found = wants.iter().map(|want| {
            replace(want, |column| {
                Some(own.iter().position(|other| *other == column).map_or_else(|| column.clone().into(), touched))
            })
        });
        let found: Vec<Expr> = found.collect::<Option<_>>().unwrap_or_default();
        let mut partners = vec![other.as_ref().clone()];
        if self.reaches(other)? {
            partners.push(self.before(other)?);
        }
        let mut plans = vec![];
        for plan in self.touched(this, &followed)? {
            for partner in &partners {
                let rows = LogicalPlanBuilder::from(plan.clone()).alias(TOUCHED)?;
                plans.push(named(rows.join_on(partner.clone(), JoinType::Inner, on.clone())?, found.clone())?);
            }
        }
        Ok(plans)
    }

    /// The values of `wants` in the rows of a table that came or went, as far as the statement sees a difference.
    fn differences(&self, scan: &TableScan, wants: &[Expr]) -> Plans {
        let Some(input) = table_of(scan).and_then(|table| self.inputs.get(&table)) else { return Ok(vec![]) };
        let names: Vec<String> = scan.projected_schema.fields().iter().map(|field| field.name().clone()).collect();
        let kind = Arc::new(Field::new(CHANGE_TYPE, DataType::Utf8, true));
        let telling = Arc::new(Schema::new(input.schema.fields().iter().cloned().chain([kind]).collect::<Vec<_>>()));
        let came = ident(CHANGE_TYPE).in_list(vec![lit("insert"), lit("update_postimage")], false);
        let told = when(came, lit(1_i64)).otherwise(lit(-1_i64))?;
        let changed = &input.changed;
        let parts = [
            (&changed.told, telling, told),
            (&changed.gone, input.schema.clone(), lit(-1_i64)),
            (&changed.added, input.schema.clone(), lit(1_i64)),
        ];
        let mut all: Option<LogicalPlanBuilder> = None;
        for (files, schema, sign) in parts.into_iter().filter(|(files, ..)| !files.is_empty()) {
            let source = provider_as_source(Arc::new(Files::new(schema, files.clone())));
            let columns = names.iter().map(|name| Expr::Column(Column::new(Some(CHANGES), name)).alias(name));
            let rows = LogicalPlanBuilder::scan(CHANGES, source, None)?.project(columns.chain([sign.alias(SIGN)]))?;
            all = Some(match all {
                Some(all) => all.union(rows.build()?)?,
                None => rows,
            });
        }
        let Some(all) = all else { return Ok(vec![]) };
        // A row that went and came again as it was is no difference.
        let columns = || names.iter().map(ident);
        let differing = all.aggregate(columns(), vec![sum(ident(SIGN)).alias(SIGN)])?.filter(ident(SIGN).not_eq(lit(0_i64)))?;
        let rows = differing.project(columns())?.alias(scan.table_name.clone())?;
        Ok(vec![named(rows, wants.to_vec())?])
    }

    /// `plan` over its inputs as they were.
    fn before(&self, plan: &LogicalPlan) -> Result<LogicalPlan, DataFusionError> {
        let older = |node| match node {
            LogicalPlan::TableScan(mut scan) => match table_of(&scan).and_then(|table| self.inputs.get(&table)) {
                Some(input) => {
                    scan.source = provider_as_source(input.before.clone());
                    Ok(Transformed::yes(LogicalPlan::TableScan(scan)))
                }
                None => Ok(Transformed::no(LogicalPlan::TableScan(scan))),
            },
            other => Ok(Transformed::no(other)),
        };
        plan.clone().transform_down_with_subqueries(older).map(|done| done.data)
    }

    /// The changed tables that `plan` reads.
    fn names(&self, plan: &LogicalPlan) -> Result<String, DataFusionError> {
        let mut names = vec![];
        plan.apply_with_subqueries(|node| {
            if let LogicalPlan::TableScan(scan) = node {
                names.extend(table_of(scan).filter(|table| self.inputs.contains_key(table)).map(|table| table.to_string()));
            }
            Ok(TreeNodeRecursion::Continue)
        })?;
        names.dedup();
        Ok(names.join(", "))
    }

    fn reaches(&self, plan: &LogicalPlan) -> Result<bool, DataFusionError> {
        Ok(!self.names(plan)?.is_empty())
    }

    /// The optimiser turns subqueries into joins where it can; of what remains every row may depend on every row of the subquery.
    fn refuse_subqueries(&self, node: &LogicalPlan) -> Result<(), Whole> {
        for expr in node.expressions() {
            let mut names = String::new();
            expr.apply(|expr| {
                let plan = match expr {
                    Expr::ScalarSubquery(subquery) | Expr::InSubquery(InSubquery { subquery, .. }) => Some(&subquery.subquery),
                    Expr::Exists(exists) => Some(&exists.subquery.subquery),
                    Expr::SetComparison(comparison) => Some(&comparison.subquery.subquery),
                    _ => None,
                };
                if let Some(plan) = plan {
                    names += &self.names(plan)?;
                }
                Ok(TreeNodeRecursion::Continue)
            })?;
            if !names.is_empty() {
                return Err(Whole::because(format!("a subquery over {names} is not local to the key")));
            }
        }
        Ok(())
    }
}

/// The rows of `plan` as the values that are followed.
fn named(plan: LogicalPlanBuilder, values: Vec<Expr>) -> Result<LogicalPlan, DataFusionError> {
    plan.project(values.into_iter().enumerate().map(|(at, value)| value.alias(unit(at))))?.build()
}

/// Whether each row of the result is made of one row of one table.
fn is_rowwise(node: &LogicalPlan) -> bool {
    match node {
        LogicalPlan::TableScan(_) => true,
        LogicalPlan::Projection(_) | LogicalPlan::Filter(_) | LogicalPlan::SubqueryAlias(_) => {
            node.inputs().into_iter().all(is_rowwise)
        }
        _ => false,
    }
}

/// What `want`, an expression over the result of `node`, is in terms of its `at`-th input, if `node` is local in it.
pub(super) fn trace(node: &LogicalPlan, at: usize, want: &Expr) -> Option<Expr> {
    let nth = |schema: &DFSchema, column: &Column| schema.maybe_index_of_column(column);
    match node {
        LogicalPlan::Projection(projection) => {
            replace(want, |column| projection.expr.get(nth(&projection.schema, column)?).cloned().map(bare))
        }
        LogicalPlan::Aggregate(aggregate) => replace(want, |column| {
            let group = aggregate.group_expr.get(nth(&aggregate.schema, column)?)?;
            let is_plain = !aggregate.group_expr.iter().any(|group| matches!(group, Expr::GroupingSet(_)));
            is_plain.then(|| bare(group.clone()))
        }),
        LogicalPlan::SubqueryAlias(_) | LogicalPlan::Union(_) => {
            let inner = node.inputs().get(at)?.schema().columns();
            replace(want, |column| Some(inner.get(nth(node.schema(), column)?)?.clone().into()))
        }
        LogicalPlan::Window(window) => {
            let parted = |expr: &Expr, column: &Column| match expr.clone().unalias() {
                Expr::WindowFunction(function) => {
                    function.params.partition_by.iter().any(|by| matches!(by, Expr::Column(by) if by == column))
                }
                _ => false,
            };
            replace(want, |column| window.window_expr.iter().all(|expr| parted(expr, column)).then(|| column.clone().into()))
        }
        LogicalPlan::Filter(_) | LogicalPlan::Repartition(_) | LogicalPlan::Distinct(Distinct::All(_)) => Some(want.clone()),
        LogicalPlan::Sort(sort) if sort.fetch.is_none() => Some(want.clone()),
        LogicalPlan::Join(join) if at == 0 || !join.null_aware => {
            let this = if at == 0 { &join.left } else { &join.right };
            replace(want, |column| {
                if is_optional(join, column) {
                    return None;
                }
                if this.schema().has_column(column) {
                    return Some(column.clone().into());
                }
                let equal = |(left, right): &(Expr, Expr)| {
                    let (own, theirs) = if at == 0 { (left, right) } else { (right, left) };
                    matches!(theirs, Expr::Column(theirs) if theirs == column).then(|| own.clone())
                };
                join.on.iter().find_map(equal)
            })
        }
        _ => None,
    }
}

/// Whether a column is null in rows of a join that have no partner on its side.
fn is_optional(join: &Join, column: &Column) -> bool {
    let left = matches!(join.join_type, JoinType::Right | JoinType::Full) && join.left.schema().has_column(column);
    let right = matches!(join.join_type, JoinType::Left | JoinType::Full) && join.right.schema().has_column(column);
    left || right
}

/// `want` with each column replaced; `None` if one of them has no replacement.
fn replace(want: &Expr, by: impl Fn(&Column) -> Option<Expr>) -> Option<Expr> {
    let mut is_whole = true;
    let replaced = want.clone().transform(|expr| match expr {
        Expr::Column(column) => match by(&column) {
            // What comes in its place has columns of its own, which stay.
            Some(other) => Ok(Transformed::new(other, true, TreeNodeRecursion::Jump)),
            None => {
                is_whole = false;
                Ok(Transformed::no(Expr::Column(column)))
            }
        },
        other => Ok(Transformed::no(other)),
    });
    replaced.ok().filter(|_| is_whole).map(|replaced| replaced.data)
}

fn bare(expr: Expr) -> Expr {
    expr.unalias_nested().data
}

fn not_local(node: &LogicalPlan, want: &Expr) -> Whole {
    let name = want.column_refs().into_iter().next().map_or_else(|| want.to_string(), |column| column.name.clone());
    Whole::because(match node {
        LogicalPlan::Aggregate(_) => format!("{name} is not one of the columns that rows are grouped by"),
        LogicalPlan::Window(_) => format!("a window is not partitioned by {name}"),
        LogicalPlan::Limit(_) | LogicalPlan::Sort(_) => "limit looks at all rows".to_owned(),
        LogicalPlan::Distinct(_) => format!("distinct on is not local to {name}"),
        other => format!("{} is not local to {name}", other.display()),
    })
}
