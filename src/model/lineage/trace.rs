//! Follows each column of a logical plan back to the columns of the tables that the plan scans.

use std::collections::{BTreeMap, BTreeSet};

use datafusion::common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion::common::{DFSchemaRef, JoinType, TableReference};
use datafusion::datasource::source_as_provider;
use datafusion::logical_expr::utils::grouping_set_to_exprlist;
use datafusion::logical_expr::{Aggregate, Distinct, Expr, Join, LogicalPlan, Subquery, TableScan, Window};

use super::super::function::DecisionTable;
use super::{ColumnName, How};
use crate::base::TableName;

/// Where a value comes from.
pub(super) type Origins = BTreeMap<ColumnName, How>;

/// What is known of a plan's result.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Traced {
    /// For each column of the result, in order.
    pub columns: Vec<Origins>,
    /// Columns that decide which rows there are, how they are joined and grouped.
    pub rows: BTreeSet<ColumnName>,
}

/// The origins of each column of `plan`, which is analysed but not optimised: its operators are still those of the statement.
pub(super) fn trace(plan: &LogicalPlan) -> Traced {
    Tracer { working: vec![] }.plan(plan)
}

struct Tracer {
    /// Recursive queries around the plan: what is known of their rows so far.
    working: Vec<(String, Traced)>,
}

/// An operator's inputs, among which its expressions find their columns.
struct Scope<'a>(&'a [(&'a DFSchemaRef, &'a Traced)]);

impl Tracer {
    fn plan(&mut self, plan: &LogicalPlan) -> Traced {
        match plan {
            LogicalPlan::TableScan(scan) => self.scan(scan),
            LogicalPlan::Projection(projection) => self.project(&projection.input, &projection.expr),
            LogicalPlan::Filter(filter) => self.deciding(&filter.input, std::slice::from_ref(&filter.predicate)),
            LogicalPlan::Join(join) => self.join(join),
            LogicalPlan::Aggregate(aggregate) => self.aggregate(aggregate),
            LogicalPlan::Window(window) => self.window(window),
            LogicalPlan::Union(union) => {
                let branches: Vec<Traced> = union.inputs.iter().map(|input| self.plan(input)).collect();
                branches.into_iter().reduce(Traced::either).unwrap_or_default()
            }
            LogicalPlan::Distinct(Distinct::On(on)) => {
                let decided = self.deciding(&on.input, &on.on_expr);
                Traced { rows: decided.rows, ..self.project(&on.input, &on.select_expr) }
            }
            LogicalPlan::Limit(limit) => {
                let mut traced = self.plan(&limit.input);
                traced.rows.extend(self.order(&limit.input));
                traced
            }
            LogicalPlan::Unnest(unnest) => {
                let input = self.plan(&unnest.input);
                let column = |at: &usize| transformed(input.columns.get(*at).cloned().unwrap_or_default(), How::Transformation);
                Traced { columns: unnest.dependency_indices.iter().map(column).collect(), rows: input.rows }
            }
            LogicalPlan::RecursiveQuery(query) => {
                let mut known = self.plan(&query.static_term);
                // Origins only grow, and there are finitely many.
                loop {
                    self.working.push((query.name.clone(), known.clone()));
                    let grown = known.clone().either(self.plan(&query.recursive_term));
                    self.working.pop();
                    if grown == known {
                        return known;
                    }
                    known = grown;
                }
            }
            LogicalPlan::SubqueryAlias(alias) => self.plan(&alias.input),
            LogicalPlan::Subquery(subquery) => self.plan(&subquery.subquery),
            LogicalPlan::Distinct(Distinct::All(input)) => self.plan(input),
            LogicalPlan::Sort(sort) => self.plan(&sort.input),
            LogicalPlan::Repartition(repartition) => self.plan(&repartition.input),
            LogicalPlan::Values(_) | LogicalPlan::EmptyRelation(_) => Traced::blank(plan.schema().fields().len()),
            // No statement that a model may be makes another operator; if one does, everything depends on everything.
            other => {
                let inputs: Vec<Traced> = other.inputs().into_iter().map(|input| self.plan(input)).collect();
                Traced::mixed(other.schema().fields().len(), &inputs)
            }
        }
    }

    fn scan(&mut self, scan: &TableScan) -> Traced {
        let name = scan.table_name.table();
        if let (TableReference::Bare { .. }, Some((_, known))) =
            (&scan.table_name, self.working.iter().rev().find(|(working, _)| working == name))
        {
            return known.clone();
        }
        let provider = source_as_provider(&scan.source).ok();
        if let Some(decision) = provider.as_ref().and_then(|provider| provider.downcast_ref::<DecisionTable>()) {
            return self.decision(decision);
        }
        let Some(schema) = scan.table_name.schema() else { return Traced::blank(scan.projected_schema.fields().len()) };
        let table = TableName::new(schema, name);
        let own = |column: &String| Origins::from([(ColumnName { table: table.clone(), column: column.clone() }, How::Identity)]);
        let columns = scan.projected_schema.fields().iter().map(|field| own(field.name())).collect();
        Traced { columns, rows: BTreeSet::new() }
    }

    /// A decision function looks at all that it is given, but says which columns it hands through.
    fn decision(&mut self, table: &DecisionTable) -> Traced {
        let inputs: Vec<Traced> = table.inputs().iter().map(|input| self.plan(input)).collect();
        let fields = table.decision().schema();
        let mut traced = Traced::mixed(fields.fields().len(), &inputs);
        for (column, input, from) in table.decision().identities() {
            let place = table.decision().inputs().iter().position(|known| known.name == *input);
            let origins = place.and_then(|place| {
                let at = table.inputs().get(place)?.schema().index_of_column_by_name(None, from)?;
                inputs.get(place)?.columns.get(at).cloned()
            });
            if let (Some(origins), Ok(at)) = (origins, fields.index_of(column)) {
                traced.columns[at] = origins;
            }
        }
        traced
    }

    fn project(&mut self, input: &LogicalPlan, expressions: &[Expr]) -> Traced {
        let traced = self.plan(input);
        let schema = input.schema();
        let columns = expressions.iter().map(|expression| self.expression(expression, &Scope(&[(schema, &traced)]))).collect();
        Traced { columns, rows: traced.rows }
    }

    /// The input's columns, with rows that are decided by `conditions`, too.
    fn deciding(&mut self, input: &LogicalPlan, conditions: &[Expr]) -> Traced {
        let mut traced = self.plan(input);
        let decided = self.conditions(conditions, &Scope(&[(input.schema(), &traced)]));
        traced.rows.extend(decided);
        traced
    }

    /// What the rows below a limit are sorted by, which decides the first ones.
    fn order(&mut self, plan: &LogicalPlan) -> BTreeSet<ColumnName> {
        match plan {
            LogicalPlan::Sort(sort) => {
                let input = self.plan(&sort.input);
                let keys = sort.expr.iter().map(|key| &key.expr);
                self.conditions(keys, &Scope(&[(sort.input.schema(), &input)]))
            }
            LogicalPlan::Projection(projection) => self.order(&projection.input),
            LogicalPlan::SubqueryAlias(alias) => self.order(&alias.input),
            _ => BTreeSet::new(),
        }
    }

    fn conditions<'e>(&mut self, conditions: impl IntoIterator<Item = &'e Expr>, scope: &Scope) -> BTreeSet<ColumnName> {
        conditions.into_iter().flat_map(|condition| self.expression(condition, scope).into_keys()).collect()
    }

    fn join(&mut self, join: &Join) -> Traced {
        let (left, right) = (self.plan(&join.left), self.plan(&join.right));
        let scope = [(join.left.schema(), &left), (join.right.schema(), &right)];
        let conditions = join.on.iter().flat_map(|(left, right)| [left, right]).chain(&join.filter);
        let decided = self.conditions(conditions, &Scope(&scope));
        let mark = || decided.iter().map(|column| (column.clone(), How::Transformation)).collect::<Origins>();
        let columns = match join.join_type {
            JoinType::LeftSemi | JoinType::LeftAnti => left.columns,
            JoinType::RightSemi | JoinType::RightAnti => right.columns,
            JoinType::LeftMark => left.columns.into_iter().chain([mark()]).collect(),
            JoinType::RightMark => right.columns.into_iter().chain([mark()]).collect(),
            JoinType::Inner | JoinType::Left | JoinType::Right | JoinType::Full => {
                left.columns.into_iter().chain(right.columns).collect()
            }
        };
        let rows = left.rows.into_iter().chain(right.rows).chain(decided).collect();
        Traced { columns, rows }
    }

    fn aggregate(&mut self, aggregate: &Aggregate) -> Traced {
        let input = self.plan(&aggregate.input);
        let scope = [(aggregate.input.schema(), &input)];
        let groups = grouping_set_to_exprlist(&aggregate.group_expr).unwrap_or_default();
        let mut columns: Vec<Origins> = groups.iter().map(|group| self.expression(group, &Scope(&scope))).collect();
        let rows = input.rows.iter().cloned().chain(columns.iter().flat_map(|origins| origins.keys().cloned())).collect();
        // Grouping sets add a column that says which of them a row is of.
        let groups_held = aggregate.schema.fields().len().saturating_sub(aggregate.aggr_expr.len());
        columns.resize(groups_held, Origins::new());
        let figures = aggregate.aggr_expr.iter();
        columns.extend(figures.map(|figure| transformed(self.expression(figure, &Scope(&scope)), How::Aggregation)));
        Traced { columns, rows }
    }

    fn window(&mut self, window: &Window) -> Traced {
        let input = self.plan(&window.input);
        let scope = [(window.input.schema(), &input)];
        let figures = window.window_expr.iter();
        let figures: Vec<Origins> =
            figures.map(|figure| transformed(self.expression(figure, &Scope(&scope)), How::Aggregation)).collect();
        Traced { columns: input.columns.into_iter().chain(figures).collect(), rows: input.rows }
    }

    /// Where the value of `expression` comes from: its columns, and those of the subqueries in it.
    fn expression(&mut self, expression: &Expr, scope: &Scope) -> Origins {
        let mut found = Origins::new();
        let applied = expression.apply(|part| {
            match part {
                Expr::Column(column) => found.extend(scope.origins(&column.name, column.relation.as_ref())),
                Expr::OuterReferenceColumn(_, column) => found.extend(scope.origins(&column.name, column.relation.as_ref())),
                Expr::ScalarSubquery(subquery) => self.subquery(subquery, scope, &mut found),
                Expr::Exists(exists) => self.subquery(&exists.subquery, scope, &mut found),
                Expr::InSubquery(is_in) => self.subquery(&is_in.subquery, scope, &mut found),
                Expr::SetComparison(comparison) => self.subquery(&comparison.subquery, scope, &mut found),
                _ => {}
            }
            Ok(TreeNodeRecursion::Continue)
        });
        debug_assert!(applied.is_ok(), "nothing in it fails");
        if is_column(expression) { found } else { transformed(found, How::Transformation) }
    }

    fn subquery(&mut self, subquery: &Subquery, scope: &Scope, found: &mut Origins) {
        let inner = self.plan(&subquery.subquery);
        let inner = Traced::mixed(1, std::slice::from_ref(&inner));
        found.extend(inner.columns.into_iter().flatten());
        found.extend(inner.rows.into_iter().map(|column| (column, How::Transformation)));
        for outer in &subquery.outer_ref_columns {
            found.extend(self.expression(outer, scope));
        }
    }
}

/// Whether the value of a column is handed on as it is; a change of its type or name counts as that.
fn is_column(expression: &Expr) -> bool {
    match expression {
        Expr::Column(_) => true,
        Expr::Alias(alias) => is_column(&alias.expr),
        Expr::Cast(cast) => is_column(&cast.expr),
        Expr::TryCast(cast) => is_column(&cast.expr),
        _ => false,
    }
}

fn transformed(origins: Origins, how: How) -> Origins {
    origins.into_iter().map(|(column, before)| (column, before.max(how))).collect()
}

impl Scope<'_> {
    fn origins(&self, name: &str, relation: Option<&TableReference>) -> Origins {
        let found = self.0.iter().find_map(|(schema, traced)| {
            let at = schema.index_of_column_by_name(relation, name)?;
            traced.columns.get(at).cloned()
        });
        found.unwrap_or_default()
    }
}

impl Traced {
    fn blank(columns: usize) -> Self {
        Self { columns: vec![Origins::new(); columns], rows: BTreeSet::new() }
    }

    /// `columns` columns of which each depends on everything in `inputs`.
    fn mixed(columns: usize, inputs: &[Self]) -> Self {
        let all = inputs.iter().flat_map(|input| input.columns.iter().flatten());
        let all: Origins = all.map(|(column, how)| (column.clone(), (*how).max(How::Transformation))).collect();
        let rows = inputs.iter().flat_map(|input| input.rows.iter().cloned()).collect();
        Self { columns: vec![all; columns], rows }
    }

    /// Rows of one or the other, column by column.
    fn either(mut self, other: Self) -> Self {
        for (column, origins) in self.columns.iter_mut().zip(other.columns) {
            for (origin, how) in origins {
                let known = column.entry(origin).or_insert(how);
                *known = (*known).max(how);
            }
        }
        self.rows.extend(other.rows);
        self
    }
}
