//! Wanted against current: pure.
//!
//! | the target has | wanted | becomes |
//! |-|-|-|
//! | no row | a row | insert, if the write has a hub key and the hub never made this row before |
//! | another row | a row | update of the fields that differ, if `editable` and, with a hub key, the row is the hub's own |
//! | the hub's own row | nothing | delete, if `editable` |

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;
use sha2::{Digest, Sha256};

use crate::base::{Operation, Row, RowChange};
use crate::store::{Change, ChangeState};

use super::image::{KeyText, Wanted, key_text, same};
use super::spec::Spec;
use super::{Gap, GapReason};

/// What the ledger knows that a diff needs.
#[derive(Default)]
pub(super) struct Known {
    /// Rows that the hub itself inserted.
    pub own: BTreeMap<KeyText, Row>,
    /// Sent or acknowledged changes of this table, ascending.
    pub in_flight: Vec<Change>,
    /// Hashes of changes that a person took back, is taking back, or rejected.
    pub declined: BTreeSet<String>,
    /// (operation, key, after) of changes that the target or a person overrode.
    pub overridden: BTreeSet<String>,
    /// Rows whose last change met one that had changed meanwhile, and that change's hash.
    pub conflicted: BTreeMap<KeyText, String>,
}

/// A change that the plan should hold.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Wish {
    pub row: RowChange,
    pub reason: String,
    pub hash: String,
    /// A person must agree, whatever the rule says.
    pub asks: bool,
}

/// What a diff found.
#[derive(Debug, Default)]
pub(super) struct Diff {
    pub wishes: Vec<Wish>,
    pub gaps: Vec<Gap>,
    pub in_place: usize,
    pub taken_over: usize,
    pub under_way: usize,
    pub declined: usize,
}

/// Compares everything wanted with everything the target has under these keys.
pub(super) fn diff(spec: &Spec<'_>, wanted: &BTreeMap<KeyText, Wanted>, current: &BTreeMap<KeyText, Row>, known: &Known) -> Diff {
    let overlay = Overlay::new(spec, current, &known.in_flight);
    let mut found = Diff::default();
    for (key, wish) in wanted {
        let step = match overlay.row(key) {
            None => missing(spec, key, wish, known),
            Some(row) => present(spec, key, wish, row, known),
        };
        found.take(spec, step, overlay.touched.contains(key), known);
    }
    for (key, identity) in known.own.iter().filter(|(key, _)| !wanted.contains_key(*key)) {
        if let Some(row) = overlay.row(key) {
            let step = unwanted(spec, identity, row);
            found.take(spec, step, overlay.touched.contains(key), known);
        }
    }
    found
}

enum Step {
    InPlace,
    TakenOver,
    Gap(Gap),
    Change(RowChange, String, bool),
}

fn missing(spec: &Spec<'_>, key: &str, wish: &Wanted, known: &Known) -> Step {
    let gap = |reason| Step::Gap(Gap { key: wish.key.clone(), reason });
    if spec.write.hub_key.is_none() {
        return gap(GapReason::Missing);
    }
    if known.own.contains_key(key) {
        return Step::TakenOver; // made by the hub once, and gone: someone turned it into something else or removed it
    }
    if !spec.allows(Operation::Insert) {
        return gap(GapReason::NotAllowed);
    }
    let change = RowChange {
        operation: Operation::Insert,
        table: spec.stream.table.clone(),
        key: wish.key.clone(),
        before: None,
        after: Some(wish.fields.clone()),
        version: None,
    };
    Step::Change(change, wish.reason.clone(), wish.asks)
}

fn present(spec: &Spec<'_>, key: &str, wish: &Wanted, row: &Row, known: &Known) -> Step {
    let null = Value::Null;
    let differs = |(column, value): &(&String, &Value)| !same(row.get(*column).unwrap_or(&null), value);
    let after: Row = wish.fields.iter().filter(differs).map(|(column, value)| (column.clone(), value.clone())).collect();
    if after.is_empty() {
        return Step::InPlace;
    }
    let own = spec.write.hub_key.is_none() || known.own.contains_key(key);
    if !own {
        return Step::Gap(Gap { key: wish.key.clone(), reason: GapReason::NotOwn });
    }
    if !spec.editable(row) {
        return Step::TakenOver;
    }
    if !spec.allows(Operation::Update) {
        return Step::Gap(Gap { key: wish.key.clone(), reason: GapReason::NotAllowed });
    }
    let before = after.keys().map(|column| (column.clone(), row.get(column).unwrap_or(&null).clone())).collect();
    let change = RowChange {
        operation: Operation::Update,
        table: spec.stream.table.clone(),
        key: wish.key.clone(),
        before: Some(before),
        after: Some(after),
        version: spec.version(row),
    };
    Step::Change(change, wish.reason.clone(), wish.asks)
}

fn unwanted(spec: &Spec<'_>, identity: &Row, row: &Row) -> Step {
    if !spec.editable(row) || !spec.allows(Operation::Delete) {
        return Step::TakenOver;
    }
    let change = RowChange {
        operation: Operation::Delete,
        table: spec.stream.table.clone(),
        key: identity.clone(),
        before: Some(row.clone()),
        after: None,
        version: spec.version(row),
    };
    Step::Change(change, "no longer wanted".into(), false)
}

impl Diff {
    fn take(&mut self, spec: &Spec<'_>, step: Step, touched: bool, known: &Known) {
        match step {
            Step::InPlace => self.in_place += 1,
            Step::TakenOver => self.taken_over += 1,
            Step::Gap(gap) => self.gaps.push(gap),
            // The version that a further change would carry is not known before the next pull.
            Step::Change(..) if touched => self.under_way += 1,
            Step::Change(row, reason, asks) => {
                let hash = hash(&spec.system.name, &row);
                if known.declined.contains(&hash) {
                    self.declined += 1;
                    return;
                }
                let asks = asks || known.overridden.contains(&wish_text(&row)) || known.disputed(spec, &row, &hash);
                self.wishes.push(Wish { row, reason, hash, asks });
            }
        }
    }
}

/// What an approval names: SHA-256 over system, table, operation, key, before and after, as hexadecimal text. The version stays out: a person
/// agrees to values.
pub(super) fn hash(system: &str, row: &RowChange) -> String {
    let named = serde_json::json!([system, row.table, row.operation, row.key, row.before, row.after]);
    let digest = Sha256::digest(named.to_string().as_bytes());
    digest.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// What a change would make of a row, whatever the row was before.
pub(super) fn wish_text(row: &RowChange) -> String {
    serde_json::json!([row.table, row.operation, row.key, row.after]).to_string()
}

/// The target as last pulled, with every change under way taken as done.
struct Overlay<'a> {
    current: &'a BTreeMap<KeyText, Row>,
    changed: BTreeMap<KeyText, Option<Row>>,
    touched: BTreeSet<KeyText>,
}

impl<'a> Overlay<'a> {
    fn new(spec: &Spec<'_>, current: &'a BTreeMap<KeyText, Row>, in_flight: &[Change]) -> Self {
        let mut overlay = Self { current, changed: BTreeMap::new(), touched: BTreeSet::new() };
        for change in in_flight {
            let key = key_text(&spec.write.key, &change.row.key);
            let row = match (&change.row.operation, &change.row.after) {
                (Operation::Delete, _) | (_, None) => None,
                (_, Some(after)) => {
                    let mut row = overlay.row(&key).cloned().unwrap_or_default();
                    row.extend(after.clone());
                    Some(row)
                }
            };
            overlay.changed.insert(key.clone(), row);
            overlay.touched.insert(key);
        }
        overlay
    }

    fn row(&self, key: &str) -> Option<&Row> {
        match self.changed.get(key) {
            Some(row) => row.as_ref(),
            None => self.current.get(key),
        }
    }
}

impl Known {
    /// Sorts what the ledger has of one write; `changes` are all that are not superseded or expired.
    pub fn new(spec: &Spec<'_>, own: Vec<Row>, changes: Vec<Change>) -> Self {
        let mut known =
            Self { own: own.into_iter().map(|key| (key_text(&spec.write.key, &key), key)).collect(), ..Self::default() };
        let hashes: BTreeMap<i64, &str> = changes.iter().map(|change| (change.id, change.hash.as_str())).collect();
        for change in &changes {
            let key = key_text(&spec.write.key, &change.row.key);
            match change.state {
                ChangeState::Planned | ChangeState::Approved => {}
                ChangeState::Conflicted => drop(known.conflicted.insert(key, change.hash.clone())),
                _ => drop(known.conflicted.remove(&key)),
            }
            match change.state {
                // A rejected undo declines nothing: the change that it would have taken back stays.
                ChangeState::Rejected if change.undoes.is_some() => {}
                ChangeState::Undone | ChangeState::Rejected => drop(known.declined.insert(change.hash.clone())),
                ChangeState::Overridden => drop(known.overridden.insert(wish_text(&change.row))),
                _ => {}
            }
            let open_undo = change.undoes.filter(|_| !change.state.closed());
            if let Some(hash) = open_undo.and_then(|undone| hashes.get(&undone)) {
                known.declined.insert((*hash).to_owned());
            }
        }
        known.in_flight = changes.into_iter().filter(|change| change.state.in_flight()).collect();
        known
    }

    /// Whether a person has changed the row since the hub decided about it, and the hub has not written it since: then a rule does not decide about
    /// it again. The very same change once more means that only something else in the row had changed.
    fn disputed(&self, spec: &Spec<'_>, row: &RowChange, hash: &str) -> bool {
        self.conflicted.get(&key_text(&spec.write.key, &row.key)).is_some_and(|conflicted| conflicted != hash)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use serde_json::json;

    use super::*;
    use crate::project::{Connector, Load, Protocol, SqlFile, Stale, Stream, System, Write};

    fn system(hub_key: Option<&str>, editable: Option<&str>) -> System {
        let stream = Stream { table: "PR".into(), ..Stream::new("pr", vec!["id".into()]) };
        let write = Write {
            outbox: "purchase_requests".into(),
            resource: "pr".into(),
            key: vec!["ref".into()],
            hub_key: hub_key.map(Into::into),
            version: Some("ver".into()),
            operations: vec![Operation::Insert, Operation::Update, Operation::Delete],
            editable: editable.map(Into::into),
            map: SqlFile { path: "write.purchase_requests.sql".into(), text: String::new() },
        };
        let connector = Connector {
            name: "demo".into(),
            file: "connector.toml".into(),
            protocol: Protocol::Sql,
            time_zone: None,
            streams: [("pr".to_owned(), stream)].into(),
            writes: [("purchase_requests".to_owned(), write)].into(),
            maps: BTreeMap::new(),
        };
        System {
            name: "erp".into(),
            connector: Arc::new(connector),
            url: "sqlite:erp.db".into(),
            secret: None,
            time_zone: None,
            max_age: Duration::from_secs(3_600),
            stale: Stale::Fail,
            load: Load::default(),
        }
    }

    fn row(value: Value) -> Row {
        value.as_object().into_iter().flatten().map(|(name, value)| (name.clone(), value.clone())).collect()
    }

    fn rows(value: Value) -> BTreeMap<KeyText, Row> {
        let key = ["ref".to_owned()];
        value.as_array().into_iter().flatten().map(|value| (key_text(&key, &row(value.clone())), row(value.clone()))).collect()
    }

    fn wanted(value: Value) -> BTreeMap<KeyText, Wanted> {
        let wish = |fields: Row| Wanted {
            key: [("ref".to_owned(), fields["ref"].clone())].into(),
            fields,
            reason: "because".into(),
            asks: false,
        };
        rows(value).into_iter().map(|(key, fields)| (key, wish(fields))).collect()
    }

    fn own(keys: &[&str]) -> Known {
        let keys = keys.iter().map(|key| row(json!({"ref": key})));
        Known { own: keys.map(|key| (key_text(&["ref".to_owned()], &key), key)).collect(), ..Known::default() }
    }

    fn operations(found: &Diff) -> Vec<Operation> {
        found.wishes.iter().map(|wish| wish.row.operation).collect()
    }

    fn change(id: i64, row: RowChange, state: ChangeState) -> Change {
        let now = crate::base::time::now();
        Change {
            id,
            run: crate::base::RunId(1),
            system: "erp".into(),
            kind: "purchase_requests".into(),
            hash: hash("erp", &row),
            row,
            reason: String::new(),
            state,
            approved_by: None,
            planned_at: now,
            approved_at: None,
            sent_at: None,
            closed_at: None,
            detail: None,
            undoes: None,
        }
    }

    #[test]
    fn own_rows_are_inserted_updated_and_deleted() {
        let system = system(Some("ref"), Some("status = 'OPEN'"));
        let spec = Spec::of(&system, "purchase_requests").unwrap();
        let wanted = wanted(json!([{"ref": "A", "qty": "1"}, {"ref": "B", "qty": "2"}, {"ref": "C", "qty": "3"}]));
        let current = rows(json!([
            {"ref": "B", "qty": "9", "status": "OPEN", "ver": 7},
            {"ref": "C", "qty": "3", "status": "OPEN", "ver": 1},
            {"ref": "D", "qty": "4", "status": "OPEN", "ver": 2},
        ]));
        let found = diff(&spec, &wanted, &current, &own(&["B", "C", "D"]));
        assert_eq!(operations(&found), [Operation::Insert, Operation::Update, Operation::Delete]);
        assert_eq!(found.in_place, 1);
        let update = &found.wishes[1].row;
        assert_eq!(update.before, Some(row(json!({"qty": "9"}))));
        assert_eq!(update.after, Some(row(json!({"qty": "2"}))));
        assert_eq!(update.version, Some(("ver".into(), json!(7))));
    }

    #[test]
    fn rows_of_others_and_rows_taken_over_are_left_alone() {
        let system = system(Some("ref"), Some("status = 'OPEN'"));
        let spec = Spec::of(&system, "purchase_requests").unwrap();
        let wanted = wanted(json!([{"ref": "A", "qty": "1"}, {"ref": "B", "qty": "2"}, {"ref": "C", "qty": "2"}]));
        let current = rows(json!([
            {"ref": "A", "qty": "9", "status": "OPEN"},
            {"ref": "B", "qty": "9", "status": "ORDERED"},
            {"ref": "X", "qty": "9", "status": "OPEN"},
        ]));
        let found = diff(&spec, &wanted, &current, &own(&["B", "C"]));
        assert!(found.wishes.is_empty());
        assert_eq!(found.gaps, [Gap { key: row(json!({"ref": "A"})), reason: GapReason::NotOwn }]);
        assert_eq!(found.taken_over, 2); // B was ordered, C was made by the hub and is gone
    }

    #[test]
    fn without_a_hub_key_a_missing_row_is_a_gap() {
        let system = system(None, None);
        let spec = Spec::of(&system, "purchase_requests").unwrap();
        let found = diff(&spec, &wanted(json!([{"ref": "A", "qty": "1"}])), &BTreeMap::new(), &Known::default());
        assert_eq!(found.gaps, [Gap { key: row(json!({"ref": "A"})), reason: GapReason::Missing }]);
    }

    #[test]
    fn what_is_under_way_counts_as_done() {
        let system = system(Some("ref"), None);
        let spec = Spec::of(&system, "purchase_requests").unwrap();
        let insert = RowChange {
            operation: Operation::Insert,
            table: "PR".into(),
            key: row(json!({"ref": "A"})),
            before: None,
            after: Some(row(json!({"ref": "A", "qty": "1"}))),
            version: None,
        };
        let known = Known { in_flight: vec![change(1, insert, ChangeState::Sent)], ..own(&["A"]) };
        let found = diff(&spec, &wanted(json!([{"ref": "A", "qty": "1"}])), &BTreeMap::new(), &known);
        assert_eq!((found.wishes.len(), found.in_place), (0, 1));
        let found = diff(&spec, &wanted(json!([{"ref": "A", "qty": "2"}])), &BTreeMap::new(), &known);
        assert_eq!((found.wishes.len(), found.under_way), (0, 1));
    }

    #[test]
    fn declined_wishes_stay_declined_until_they_change_and_overridden_ones_ask() {
        let system = system(None, None);
        let spec = Spec::of(&system, "purchase_requests").unwrap();
        let current = rows(json!([{"ref": "A", "qty": "1", "ver": 1}]));
        let first = diff(&spec, &wanted(json!([{"ref": "A", "qty": "2"}])), &current, &Known::default());
        let undone = change(1, first.wishes[0].row.clone(), ChangeState::Undone);
        let known = Known::new(&spec, vec![], vec![undone]);
        let again = diff(&spec, &wanted(json!([{"ref": "A", "qty": "2"}])), &current, &known);
        assert_eq!((again.wishes.len(), again.declined), (0, 1));
        let other = diff(&spec, &wanted(json!([{"ref": "A", "qty": "3"}])), &current, &known);
        assert_eq!(other.wishes.len(), 1);

        let rejected = change(3, first.wishes[0].row.clone(), ChangeState::Rejected);
        let known = Known::new(&spec, vec![], vec![rejected]);
        let again = diff(&spec, &wanted(json!([{"ref": "A", "qty": "2"}])), &current, &known);
        assert_eq!((again.wishes.len(), again.declined), (0, 1));

        let overridden = change(2, first.wishes[0].row.clone(), ChangeState::Overridden);
        let known = Known::new(&spec, vec![], vec![overridden]);
        let elsewhere = rows(json!([{"ref": "A", "qty": "5", "ver": 2}]));
        let again = diff(&spec, &wanted(json!([{"ref": "A", "qty": "2"}])), &elsewhere, &known);
        assert!(again.wishes[0].asks);
    }

    #[test]
    fn after_a_conflict_a_person_decides_unless_only_the_version_had_changed() {
        let system = system(None, None);
        let spec = Spec::of(&system, "purchase_requests").unwrap();
        let wanted = wanted(json!([{"ref": "A", "qty": "2"}]));
        let asks = |qty: &str, version: i64, changes: Vec<Change>| {
            let current = rows(json!([{"ref": "A", "qty": qty, "ver": version}]));
            diff(&spec, &wanted, &current, &Known::new(&spec, vec![], changes)).wishes[0].asks
        };
        let current = rows(json!([{"ref": "A", "qty": "1", "ver": 1}]));
        let first = diff(&spec, &wanted, &current, &Known::default()).wishes[0].row.clone();
        let conflicted = change(1, first.clone(), ChangeState::Conflicted);
        assert!(!asks("1", 2, vec![conflicted.clone()]));
        assert!(asks("7", 2, vec![conflicted.clone()]));
        assert!(asks("7", 2, vec![conflicted.clone(), change(2, first.clone(), ChangeState::Planned)]));
        assert!(!asks("7", 3, vec![conflicted, change(2, first, ChangeState::Confirmed)]));
    }

    #[test]
    fn the_hash_does_not_depend_on_the_version() {
        let system = system(None, None);
        let spec = Spec::of(&system, "purchase_requests").unwrap();
        let at = |version: i64| {
            let current = rows(json!([{"ref": "A", "qty": "1", "ver": version}]));
            diff(&spec, &wanted(json!([{"ref": "A", "qty": "2"}])), &current, &Known::default()).wishes[0].hash.clone()
        };
        assert_eq!(at(1), at(2));
        assert_eq!(at(1).len(), 64);
    }
}
