//! From a [`Plan`] to the result's rows, with the reasons in words.

use arrow::array::RecordBatch;

use super::super::DecideError;
use super::super::output::Output;
use super::read::Task;
use super::shop::{Missing, Plan, Slot, Wait};
use super::{COLUMNS, SECOND_US, instant};

/// Steps back from an order's end at most; a chain that is longer is no explanation.
const CHAIN_MAX: usize = 10_000;

pub fn write(function: &'static str, task: &Task, plan: &Plan) -> Result<RecordBatch, DecideError> {
    let writer = Writer::new(task, plan);
    let operations = &task.shop.operations;
    let all = 0..operations.len();
    let order = |at: usize| operations[at].order as usize;
    let slot = |at: usize| plan.slots[at].as_ref().ok();
    let lane = |at: usize| slot(at).and_then(|slot| slot.resource).map(|resource| &task.names.resources[resource as usize]);
    let asked = |at: usize| task.names.operations[at].1.as_deref();
    let reasons: Vec<String> = all.clone().map(|at| writer.reason(at)).collect();
    let causes: Vec<Option<(&str, String)>> = (0..task.shop.orders.len()).map(|order| writer.cause(order, &reasons)).collect();
    let seconds = |micros: i64| micros.div_euclid(SECOND_US) + i64::from(micros.rem_euclid(SECOND_US) != 0);
    let whole =
        |value: i128| i64::try_from((value + i128::from(SECOND_US) - 1).div_euclid(i128::from(SECOND_US))).unwrap_or(i64::MAX);
    let gap = match plan.objective {
        0 => 0,
        objective => (objective - plan.lower_bound).max(0).saturating_mul(1_000_000) / objective,
    };
    let late = |at: usize| Some(seconds(writer.ends[order(at)]?.saturating_sub(task.shop.orders[order(at)].due?).max(0)));
    let moved = |at: usize| Some(seconds(slot(at)?.start.saturating_sub(operations[at].previous?.1)));

    let mut out = Output::new(function, COLUMNS);
    out.text(all.clone().map(|at| Some(task.names.orders[order(at)].as_str())))?;
    out.bigints(all.clone().map(|at| Some(task.names.operations[at].0)));
    out.text(all.clone().map(|at| lane(at).map(|(name, _)| name.as_str()).or(asked(at))))?;
    out.bigints(all.clone().map(|at| lane(at).map(|(_, lane)| *lane)));
    out.instants(all.clone().map(|at| Some(slot(at)?.start)));
    out.instants(all.clone().map(|at| Some(slot(at)?.end)));
    out.bigints(all.clone().map(|at| Some(seconds(slot(at)?.setup))));
    out.text(all.clone().map(|at| Some(waits_for(slot(at)?.wait))))?;
    out.text(all.clone().map(|at| Some(reasons[at].as_str())))?;
    out.text(all.clone().map(|at| writer.problem(at)))?;
    out.bigints(all.clone().map(|at| Some(seconds(slot(at)?.slack))));
    out.bigints(all.clone().map(moved));
    out.instants(all.clone().map(|at| writer.ends[order(at)]));
    out.bigints(all.clone().map(late));
    out.bigints(all.clone().map(|at| Some(task.shop.orders[order(at)].weight)));
    out.text(all.clone().map(|at| causes[order(at)].as_ref().map(|(kind, _)| *kind)))?;
    out.text(all.clone().map(|at| causes[order(at)].as_ref().map(|(_, text)| text.as_str())))?;
    out.bigints(all.clone().map(|_| Some(whole(plan.objective))));
    out.bigints(all.clone().map(|_| Some(whole(plan.lower_bound))));
    out.quantities(all.clone().map(|_| Some(gap)), |_| "gap".into())?;
    out.bigints(all.clone().map(|_| i64::try_from(task.settings.budget.seed).ok()));
    out.bigints(all.map(|_| i64::try_from(plan.iterations).ok()));
    out.finish()
}

fn waits_for(wait: Wait) -> &'static str {
    match wait {
        Wait::None => "none",
        Wait::Fixed => "fixed",
        Wait::Material => "material",
        Wait::Predecessor => "predecessor",
        Wait::Calendar => "calendar",
        Wait::Resource => "resource",
        Wait::Unit(_) => "unit",
        Wait::Hold => "hold",
    }
}

struct Writer<'t> {
    task: &'t Task,
    plan: &'t Plan,
    /// When each order ends, if all of it is scheduled.
    ends: Vec<Option<i64>>,
    /// The last operation of each order to end, if all of it is scheduled.
    last: Vec<Option<usize>>,
    /// Arcs by the operation after: (after, before, minimum wait).
    arcs: Vec<(u32, u32, i64)>,
}

impl<'t> Writer<'t> {
    fn new(task: &'t Task, plan: &'t Plan) -> Self {
        let mut latest: Vec<Option<(i64, usize)>> = vec![None; task.shop.orders.len()];
        let mut open = vec![false; task.shop.orders.len()];
        for (at, (operation, slot)) in task.shop.operations.iter().zip(&plan.slots).enumerate() {
            let order = operation.order as usize;
            match slot {
                Ok(slot) => latest[order] = latest[order].max(Some((slot.end, at))),
                Err(_) => open[order] = true,
            }
        }
        let latest: Vec<_> = latest.into_iter().zip(open).map(|(latest, open)| latest.filter(|_| !open)).collect();
        let mut arcs: Vec<_> = task.shop.arcs.iter().map(|arc| (arc.after, arc.before, arc.min_wait)).collect();
        arcs.sort_unstable();
        let ends = latest.iter().map(|latest| latest.map(|(end, _)| end)).collect();
        Self { task, plan, ends, last: latest.into_iter().map(|latest| latest.map(|(_, at)| at)).collect(), arcs }
    }

    fn label(&self, at: usize) -> String {
        let names = &self.task.names;
        format!("{}/{}", names.orders[self.task.shop.operations[at].order as usize], names.operations[at].0)
    }

    fn before(&self, at: usize) -> impl Iterator<Item = (usize, i64)> {
        let first = self.arcs.partition_point(|(after, _, _)| (*after as usize) < at);
        let of = self.arcs[first..].iter().take_while(move |(after, _, _)| *after as usize == at);
        of.map(|(_, before, wait)| (*before as usize, *wait))
    }

    /// Why a row is to be looked at.
    fn problem(&self, at: usize) -> Option<&'static str> {
        if let Some(problem) = &self.task.names.problems[at] {
            return Some(problem.kind);
        }
        match self.plan.slots[at].as_ref().err()? {
            Missing::Fault(_) => Some("fault"),
            Missing::Cycle => Some("cycle"),
            Missing::Predecessor => Some("predecessor"),
            Missing::Horizon => Some("horizon"),
            Missing::MaxWait(_) => Some("wait"),
        }
    }

    fn reason(&self, at: usize) -> String {
        let names = &self.task.names;
        let slot = match &self.plan.slots[at] {
            Ok(slot) => slot,
            Err(missing) => {
                let problem = names.problems[at].as_ref().map(|problem| problem.what.clone());
                return problem.unwrap_or_else(|| self.missing(at, missing));
            }
        };
        let resource = slot.resource.map_or("", |resource| names.resources[resource as usize].0.as_str());
        let start = instant(slot.start);
        let after = slot.after.map(|after| self.label(after as usize));
        let text = match (slot.wait, after) {
            (Wait::None, _) => "starts at once".to_owned(),
            (Wait::Fixed, _) => "in progress or frozen: stays".to_owned(),
            (Wait::Material, _) => format!("waits for material until {start}"),
            (Wait::Predecessor, Some(after)) => format!("waits for {after} until {start}"),
            (Wait::Predecessor, None) => format!("waits for the operation before it until {start}"),
            (Wait::Calendar, _) => format!("resource {resource} works again from {start}"),
            (Wait::Resource, Some(after)) => format!("resource {resource} has {after} first, until {start}"),
            (Wait::Resource, None) => format!("resource {resource} is kept for a fixed operation until {start}"),
            (Wait::Unit(unit), after) => {
                let busy = after.map_or_else(String::new, |after| format!(" is with {after} and"));
                format!("{}{busy} is free from {start}", names.units.get(unit as usize).map_or("a tool", String::as_str))
            }
            (Wait::Hold, Some(after)) => format!("held until {start} so that {after} can follow in time"),
            (Wait::Hold, None) => format!("held until {start}: not needed earlier"),
        };
        match &names.problems[at] {
            Some(problem) => format!("{text}; {}", problem.what),
            None => text,
        }
    }

    fn missing(&self, at: usize, missing: &Missing) -> String {
        let names = &self.task.names;
        match missing {
            Missing::Fault(fault) => fault.clone(),
            Missing::Predecessor => {
                let open = |at: &usize| self.plan.slots[*at].is_err();
                let before = self.before(at).map(|(before, _)| before).find(open).map(|before| self.label(before));
                format!("{}, which comes before it, cannot be scheduled", before.as_deref().unwrap_or("an operation"))
            }
            Missing::Cycle => format!("it comes before itself: {}", self.circle(at).join(" > ")),
            Missing::Horizon => {
                let shop = &self.task.shop;
                let ends = shop.choices_of(at).iter().map(|choice| {
                    (shop.calendars[shop.resources[choice.resource as usize].calendar as usize].end(), choice.resource)
                });
                let Some((end, resource)) = ends.max() else { return "no calendar has room for it".to_owned() };
                let until = end.map_or_else(String::new, |end| format!(" ends {} and", instant(end)));
                format!("the calendar of {}{until} has no room for it", names.resources[resource as usize].0)
            }
            Missing::MaxWait(arc) => match self.task.shop.arcs.get(*arc as usize) {
                Some(arc) => {
                    let (before, after) = (self.label(arc.before as usize), self.label(arc.after as usize));
                    let most = arc.max_wait.unwrap_or(i64::MAX) / SECOND_US;
                    format!("{after} cannot start within {most} s after {before}")
                }
                None => "a longest wait cannot be kept".to_owned(),
            },
        }
    }

    /// The operations of a circle that leads to this one, from the first that comes again.
    fn circle(&self, at: usize) -> Vec<String> {
        let mut path = vec![at];
        for _ in 0..CHAIN_MAX {
            let last = path[path.len() - 1];
            let before =
                self.before(last).map(|(before, _)| before).find(|before| self.plan.slots[*before] == Err(Missing::Cycle));
            let Some(before) = before else { break };
            if let Some(first) = path.iter().position(|step| *step == before) {
                path.drain(..first);
                path.push(before);
                break;
            }
            path.push(before);
        }
        path.into_iter().rev().map(|at| self.label(at)).collect()
    }

    /// What an order's lateness comes from: of the chain of operations that leads to its end, what was waited for longest; `duration` if nothing was.
    fn cause(&self, order: usize, reasons: &[String]) -> Option<(&'static str, String)> {
        let (end, due) = (self.ends[order]?, self.task.shop.orders[order].due?);
        if end <= due {
            return None;
        }
        let mut waits: Vec<(i64, usize, &'static str)> = vec![];
        let mut step = self.last[order];
        for _ in 0..CHAIN_MAX {
            let Some((at, slot)) = step.and_then(|at| Some((at, self.plan.slots[at].as_ref().ok()?))) else { break };
            let ready =
                self.before(at).filter_map(|(before, wait)| Some((self.plan.slots[before].as_ref().ok()?.end + wait, before)));
            let ready = ready.max();
            let from = ready.map_or(self.task.shop.now, |(end, _)| end);
            waits.extend(self.waits(at, slot, from));
            step = ready.map(|(_, before)| before);
        }
        let mut sums: Vec<(&str, i64, (i64, usize))> = vec![];
        for (waited, at, kind) in waits {
            match sums.iter_mut().find(|(known, ..)| *known == kind) {
                Some((_, sum, longest)) => (*sum, *longest) = (*sum + waited, (*longest).max((waited, at))),
                None => sums.push((kind, waited, (waited, at))),
            }
        }
        match sums.into_iter().max_by_key(|(_, sum, _)| *sum) {
            Some((kind, _, (_, at))) => Some((kind, format!("{}: {}", self.label(at), reasons[at]))),
            None => Some(("duration", "its operations alone take longer than the time until it is due".to_owned())),
        }
    }

    /// What an operation waited for since what comes before it ended: material first, then what kept it last.
    fn waits(&self, at: usize, slot: &Slot, from: i64) -> impl Iterator<Item = (i64, usize, &'static str)> {
        let material = self.task.shop.operations[at].release.unwrap_or(from).clamp(from, slot.start.max(from));
        let rest = match slot.wait {
            Wait::None | Wait::Material | Wait::Predecessor => "material",
            wait => waits_for(wait),
        };
        [(material - from, at, "material"), (slot.start - material, at, rest)].into_iter().filter(|(waited, ..)| *waited > 0)
    }
}
