//! Plans: what the targets lack, as changes in the ledger.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::base::time::{self, Instant};
use crate::base::{Operation, Row, RunId, TableName};
use crate::project::{Mode, WriteRule};
use crate::store::{Change, ChangeState, Cut, Filter, NewChange, PullRecord, TableVersion};

use super::diff::{Diff, Known, Wish, diff};
use super::image::{KeyText, Wanted, current, key_text, wanted};
use super::spec::Spec;
use super::{Plan, ReasonCount, WriteReport, Writeback, WritebackError};

/// How many reasons a report names; more than a person reads at once.
const REASONS_MAX: usize = 5;

/// What to plan from, and by whose rules.
pub struct PlanRequest<'a> {
    pub run: RunId,
    pub cut: &'a Cut,
    /// The pipeline's rules by kind; kinds without a rule are not planned.
    pub rules: &'a BTreeMap<String, WriteRule>,
    /// `write.*` table → systems whose pulled rows it depends on; all must be younger than their `max_age`.
    pub inputs: &'a BTreeMap<TableName, BTreeSet<String>>,
    /// The wall clock.
    pub now: Instant,
}

/// What a plan would hold, without touching the ledger.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Preview {
    pub writes: Vec<WriteReport>,
    pub differences: Vec<Difference>,
}

/// One change that a plan would hold.
#[derive(Debug, Clone, Serialize)]
pub struct Difference {
    pub system: String,
    pub kind: String,
    pub operation: Operation,
    pub key: Row,
    pub before: Option<Row>,
    pub after: Option<Row>,
    pub reason: String,
    /// Whether the rule would approve it by itself.
    pub by_rule: bool,
}

/// What a plan found last time, and what it had read.
#[derive(Serialize, Deserialize)]
struct Kept {
    read: String,
    report: WriteReport,
}

impl Writeback<'_> {
    /// Replaces the open plan of every kind that has a rule. A kind that cannot be planned now (see [`WriteReport::held`]) keeps its open plan, and
    /// so does one where nothing that the plan reads has changed.
    pub async fn plan(&self, request: &PlanRequest<'_>) -> Result<Plan, WritebackError> {
        let pulls = self.store.control.last_pulls()?;
        let mut plan = Plan::default();
        let mut fresh = Vec::new();
        for spec in Spec::all(self.project)? {
            let Some(rule) = request.rules.get(spec.kind()).filter(|rule| rule.mode != Mode::Off) else { continue };
            let (report, read) = self.plan_one(&spec, rule, request, &pulls).await?;
            fresh.extend(read.map(|read| (note_name(&spec), read, report.clone())));
            plan.writes.push(report);
        }
        // Only now is the ledger as this plan leaves it.
        let position = self.store.control.ledger_position()?;
        for (name, read, report) in fresh {
            let kept = Kept { read: format!("{read} {position}"), report };
            if let Ok(text) = serde_json::to_string(&kept) {
                self.store.control.set_note(&name, &text)?;
            }
        }
        Ok(plan)
    }

    /// What [`Writeback::plan`] would find; changes nothing.
    pub async fn preview(&self, request: &PlanRequest<'_>) -> Result<Preview, WritebackError> {
        let pulls = self.store.control.last_pulls()?;
        let mut preview = Preview::default();
        for spec in Spec::all(self.project)? {
            let Some(rule) = request.rules.get(spec.kind()).filter(|rule| rule.mode != Mode::Off) else { continue };
            let mut report = WriteReport { system: spec.system.name.clone(), kind: spec.kind().into(), ..WriteReport::default() };
            report.held = self.held(&spec, request, &pulls)?;
            if let (None, Some((write, raw))) = (&report.held, self.versions(&spec, request.cut).await?) {
                let found = self.difference(&spec, &write, &raw, &mut report).await?;
                report.count(&found.wishes);
                report.held = over_limit(rule, &found);
                preview.differences.extend(found.wishes.into_iter().map(|wish| difference(&spec, rule, wish)));
            }
            preview.writes.push(report);
        }
        Ok(preview)
    }

    /// One kind of one system; the second value says what was read, for a plan that can be kept next time.
    async fn plan_one(
        &self,
        spec: &Spec<'_>,
        rule: &WriteRule,
        request: &PlanRequest<'_>,
        pulls: &[PullRecord],
    ) -> Result<(WriteReport, Option<String>), WritebackError> {
        let mut report = WriteReport { system: spec.system.name.clone(), kind: spec.kind().into(), ..WriteReport::default() };
        report.held = self.held(spec, request, pulls)?;
        if report.held.is_some() {
            return Ok((report, None));
        }
        let Some((write, raw)) = self.versions(spec, request.cut).await? else {
            report.held = Some("the write map was not built by this run".into());
            return Ok((report, None));
        };
        let read = read_text(spec, rule, &write, &raw);
        if let Some(kept) = self.kept(spec, &read)? {
            return Ok((WriteReport { kept: true, ..kept }, Some(read)));
        }
        let found = self.difference(spec, &write, &raw, &mut report).await?;
        if let Some(why) = over_limit(rule, &found) {
            report.held = Some(why);
            return Ok((report, None));
        }
        let wishes = found.wishes.into_iter().map(|wish| new_change(spec, rule, request.run, wish)).collect();
        let open = self.store.control.replan(&spec.system.name, spec.kind(), wishes)?;
        report.count_open(&open);
        Ok((report, Some(read)))
    }

    /// The versions to compare: what is wanted as published, what the target has as last pulled. `None` if one of them does not exist.
    async fn versions(&self, spec: &Spec<'_>, cut: &Cut) -> Result<Option<(TableVersion, TableVersion)>, WritebackError> {
        let wanted = spec.wanted();
        let Some(version) = self.store.version_of(cut, &wanted).await? else { return Ok(None) };
        let Some(raw) = self.store.latest(&spec.raw()).await? else { return Ok(None) };
        Ok(Some((version, raw)))
    }

    async fn difference(
        &self,
        spec: &Spec<'_>,
        write: &TableVersion,
        raw: &TableVersion,
        report: &mut WriteReport,
    ) -> Result<Diff, WritebackError> {
        let wanted = wanted(self.store, spec, write, &raw.schema).await?;
        let known = self.known(spec)?;
        let keys = keys(spec, &wanted, &known);
        let current = current(self.store, spec, raw, &keys).await?;
        let mut found = diff(spec, &wanted, &current, &known);
        report.wanted = wanted.len();
        report.in_place = found.in_place;
        report.taken_over = found.taken_over;
        report.under_way = found.under_way;
        report.declined = found.declined;
        report.gaps = std::mem::take(&mut found.gaps);
        Ok(found)
    }

    fn known(&self, spec: &Spec<'_>) -> Result<Known, WritebackError> {
        let own = match spec.write.hub_key {
            Some(_) => self.store.control.own_keys(&spec.system.name, spec.kind())?,
            None => Vec::new(),
        };
        let states = [
            ChangeState::Planned,
            ChangeState::Approved,
            ChangeState::Sent,
            ChangeState::Acknowledged,
            ChangeState::Confirmed,
            ChangeState::Conflicted,
            ChangeState::Overridden,
            ChangeState::Rejected,
            ChangeState::Undone,
        ];
        let filter = Filter {
            states: Some(states.to_vec()),
            system: Some(spec.system.name.clone()),
            kind: Some(spec.kind().into()),
            ..Filter::default()
        };
        Ok(Known::new(spec, own, self.store.control.changes(&filter)?))
    }

    /// Why nothing may be planned for this target now; `None` if it may.
    fn held(&self, spec: &Spec<'_>, request: &PlanRequest<'_>, pulls: &[PullRecord]) -> Result<Option<String>, WritebackError> {
        let system = &spec.system.name;
        let Some(pull) = pulls.iter().find(|pull| pull.system == *system && pull.stream == spec.stream.name) else {
            return Ok(Some(format!("{} was never pulled", spec.raw())));
        };
        if pull.error.is_some() {
            return Ok(Some(format!("the last pull of {} failed", spec.raw())));
        }
        if let Some(sent) = self.store.control.last_sent(system, &spec.stream.table)?
            && sent >= pull.started_at
        {
            return Ok(Some(format!("{} was not pulled since the last change was sent to it", spec.raw())));
        }
        let none = BTreeSet::new();
        for input in request.inputs.get(&spec.wanted()).unwrap_or(&none) {
            if let Some(why) = self.too_old(input, request.now)? {
                return Ok(Some(why));
            }
        }
        self.too_old(system, request.now)
    }

    /// Why what is known of `system` is too old to write from; `None` if it is fresh.
    pub(super) fn too_old(&self, system: &str, now: Instant) -> Result<Option<String>, WritebackError> {
        let Some(system) = self.project.systems.get(system) else { return Ok(None) };
        let (limit, system) = (system.max_age, &system.name);
        let Some(at) = self.pulled_at(system)? else {
            return Ok(Some(format!("system \"{system}\" was never pulled completely")));
        };
        let age = time::age(at, now);
        Ok((age > limit).then(|| {
            format!("system \"{system}\" was last pulled {} s ago, its max_age is {} s", age.as_secs(), limit.as_secs())
        }))
    }

    /// The last report, if everything that it was made from is still the same.
    fn kept(&self, spec: &Spec<'_>, read: &str) -> Result<Option<WriteReport>, WritebackError> {
        let Some(text) = self.store.control.note(&note_name(spec))? else { return Ok(None) };
        let position = self.store.control.ledger_position()?;
        // A note of another version of this program is no error: the plan is made again.
        let kept: Option<Kept> = serde_json::from_str(&text).ok();
        Ok(kept.filter(|kept| kept.read == format!("{read} {position}")).map(|kept| kept.report))
    }
}

fn note_name(spec: &Spec<'_>) -> String {
    format!("plan {} {}", spec.system.name, spec.kind())
}

/// Everything that a plan of this write depends on besides the ledger, as one hash.
fn read_text(spec: &Spec<'_>, rule: &WriteRule, write: &TableVersion, raw: &TableVersion) -> String {
    let read = serde_json::json!([
        write.version,
        raw.version,
        rule.mode,
        rule.limits.rows,
        spec.write.key,
        spec.write.hub_key,
        spec.write.version,
        spec.write.operations,
        spec.write.editable,
        spec.stream.table,
        env!("CARGO_PKG_VERSION"),
    ]);
    Sha256::digest(read.to_string().as_bytes()).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Every key whose current row matters.
fn keys(spec: &Spec<'_>, wanted: &BTreeMap<KeyText, Wanted>, known: &Known) -> BTreeSet<KeyText> {
    let in_flight = known.in_flight.iter().map(|change| key_text(&spec.write.key, &change.row.key));
    wanted.keys().cloned().chain(known.own.keys().cloned()).chain(in_flight).collect()
}

fn over_limit(rule: &WriteRule, found: &Diff) -> Option<String> {
    let (changes, limit) = (found.wishes.len(), rule.limits.rows);
    (changes > limit).then(|| format!("{changes} changes are more than the limit of {limit} rows: nothing is planned"))
}

fn by_rule(rule: &WriteRule, wish: &Wish) -> bool {
    rule.mode == Mode::Auto && !wish.asks
}

fn new_change(spec: &Spec<'_>, rule: &WriteRule, run: RunId, wish: Wish) -> NewChange {
    let state = if by_rule(rule, &wish) { ChangeState::Approved } else { ChangeState::Planned };
    NewChange {
        run,
        system: spec.system.name.clone(),
        kind: spec.kind().into(),
        row: wish.row,
        reason: wish.reason,
        hash: wish.hash,
        state,
    }
}

fn difference(spec: &Spec<'_>, rule: &WriteRule, wish: Wish) -> Difference {
    Difference {
        system: spec.system.name.clone(),
        kind: spec.kind().into(),
        operation: wish.row.operation,
        by_rule: by_rule(rule, &wish),
        key: wish.row.key,
        before: wish.row.before,
        after: wish.row.after,
        reason: wish.reason,
    }
}

impl WriteReport {
    fn count(&mut self, wishes: &[Wish]) {
        self.operations(wishes.iter().map(|wish| (wish.row.operation, wish.reason.as_str())));
    }

    fn count_open(&mut self, open: &[Change]) {
        self.operations(open.iter().map(|change| (change.row.operation, change.reason.as_str())));
        self.approved = open.iter().filter(|change| change.state == ChangeState::Approved).count();
        self.waiting = open.len() - self.approved;
    }

    fn operations<'a>(&mut self, changes: impl Iterator<Item = (Operation, &'a str)>) {
        let mut reasons: BTreeMap<&str, usize> = BTreeMap::new();
        for (operation, reason) in changes {
            *reasons.entry(reason).or_default() += 1;
            match operation {
                Operation::Insert => self.inserts += 1,
                Operation::Update => self.updates += 1,
                Operation::Delete => self.deletes += 1,
            }
        }
        let mut reasons: Vec<ReasonCount> =
            reasons.into_iter().map(|(reason, count)| ReasonCount { reason: reason.into(), count }).collect();
        reasons.sort_by(|a, b| b.count.cmp(&a.count).then_with(|| a.reason.cmp(&b.reason)));
        reasons.truncate(REASONS_MAX);
        self.top_reasons = reasons;
    }
}
