//! Which checks a build runs, and what it notes of those that are met.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::datatypes::Schema;
use datafusion::datasource::TableProvider;

use super::build::{Builder, rows_of};
use super::check::{self, Audit, CHECKS};
use super::engine::Tables;
use super::graph::Node;
use super::table::Files;
use super::{Built, FailedCheck, ModelError};
use crate::store::TableVersion;

impl Builder<'_> {
    /// The checks that read other tables than their own, once all that could be built is; those of tables that were not come another time.
    pub(super) async fn check_all_across(&self, wanted: &[usize], built: &mut Built) -> Result<(), ModelError> {
        for node in wanted.iter().map(|at| &self.graph.nodes[*at]).filter(|node| node.is_checked_across()) {
            if self.is_ready(&node.table) && node.checked_against.iter().all(|table| self.is_ready(table)) {
                self.check_across(node, built).await?;
            }
        }
        Ok(())
    }

    /// The checks of a node that read other tables, once all of these are there.
    async fn check_across(&self, node: &Node, built: &mut Built) -> Result<(), ModelError> {
        let current = self.context.current.get(&node.table);
        let at = built.staged.iter().position(|staged| staged.table == node.table.to_string());
        let known = match (at, current) {
            (Some(at), _) => check::passed(&built.staged[at].properties),
            (None, Some(current)) => check::passed(&current.properties),
            (None, None) => return Ok(()),
        };
        let mut tables = Tables::new();
        for table in node.checked_against.iter().chain([&node.table]) {
            tables.insert(table.clone(), self.table(node, table).await?);
        }
        let (passed, failed) = self.audit(node, tables, known.clone(), true).await?;
        built.failed_checks.extend(failed);
        if passed == known {
            return Ok(());
        }
        match (at, current) {
            (Some(at), _) => drop(built.staged[at].properties.insert(CHECKS.to_owned(), json(&passed))),
            (None, Some(current)) => {
                let restated = self.context.store.restate(current, BTreeMap::from([(CHECKS.to_owned(), json(&passed))]))?;
                if restated.is_some() {
                    built.unchanged.remove(&node.table);
                }
                built.staged.extend(restated);
            }
            (None, None) => {}
        }
        Ok(())
    }

    /// The checks of a table of which only some files are new. What all rows met before, only rows of these can break; and the key stays unique,
    /// because rows are edited by it.
    pub(super) async fn audit_edit(
        &self,
        node: &Node,
        tables: Tables,
        new: Files,
        current: &TableVersion,
    ) -> Result<(BTreeMap<String, String>, Vec<FailedCheck>), ModelError> {
        let project = self.planner.project;
        let rules = check::rules(project, node, &new.schema());
        let hashes = check::hashes(project, &rules, node, self.planner.as_of, &BTreeMap::new());
        let before = check::passed(&current.properties);
        let is_met = |rule: &&check::Rule| before.get(rule.id()).is_some_and(|hash| hashes.get(rule.id()) == Some(hash));
        let of_rows: Vec<&check::Rule> = rules.iter().filter(is_met).filter(|rule| rule.is_of_rows()).collect();
        let key = self.planner.key(node);
        let mut met: Vec<&check::Rule> = rules.iter().filter(is_met).filter(|rule| rule.is_unique(&key)).collect();
        let rows = Tables::from([(node.table.clone(), Arc::new(new) as Arc<dyn TableProvider>)]);
        let rows_before = Some(rows_of(current));
        let failed = match of_rows.is_empty() {
            true => vec![],
            false => Audit { planner: &self.planner, node, tables: rows, rows_before }.failed(&of_rows).await?,
        };
        met.extend(of_rows.into_iter().filter(|rule| !failed.iter().any(|failed| failed.kept == rule.kept)));
        let known = met.into_iter().filter_map(|rule| Some((rule.id().to_owned(), hashes.get(rule.id())?.clone()))).collect();
        self.audit(node, tables, known, false).await
    }

    /// Runs those of a node's rules that `known` does not say are met; yields what is known then, and what failed.
    pub(super) async fn audit(
        &self,
        node: &Node,
        tables: Tables,
        mut known: BTreeMap<String, String>,
        across: bool,
    ) -> Result<(BTreeMap<String, String>, Vec<FailedCheck>), ModelError> {
        let schema = tables.get(&node.table).map_or_else(|| Arc::new(Schema::empty()), |rows| rows.schema());
        let rules = check::rules(self.planner.project, node, &schema);
        let data = match across {
            true => check::data_of(self.graph, node, |reader, table| self.data(reader, table))?,
            false => BTreeMap::new(),
        };
        let hashes = check::hashes(self.planner.project, &rules, node, self.planner.as_of, &data);
        let due: Vec<&check::Rule> = check::due(&rules, &hashes, &known).filter(|rule| rule.is_across() == across).collect();
        let rows_before = self.context.current.get(&node.table).map(rows_of);
        let failed = match due.is_empty() {
            true => vec![],
            false => Audit { planner: &self.planner, node, tables, rows_before }.failed(&due).await?,
        };
        known.retain(|id, _| hashes.contains_key(id.as_str()));
        for rule in due {
            known.remove(rule.id());
            let met = !failed.iter().any(|failed| failed.kept == rule.kept);
            known.extend(hashes.get(rule.id()).filter(|_| met).map(|hash| (rule.id().to_owned(), hash.clone())));
        }
        Ok((known, failed))
    }
}

pub(super) fn json(passed: &BTreeMap<String, String>) -> String {
    serde_json::json!(passed).to_string()
}
