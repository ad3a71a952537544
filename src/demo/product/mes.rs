//! The MES: whole numbers as keys, milliseconds since 1970, minutes and milliseconds as durations, work centre codes of its own.

use super::{View, keys, wms};
use crate::demo::DemoError;
use crate::demo::calendar::{DAY, Seconds};
use crate::demo::load::Kind::{Dec, Int, Text};
use crate::demo::load::{Sink, Stamp, Table, Value};
use crate::demo::master::{Item, Unit};
use crate::demo::names;
use crate::demo::plant::{MachineState, Progress, StepState, WorkOrder};

const MODIFIED: Option<Stamp> = Some(Stamp::Millis("modified_ms"));

macro_rules! table {
    ($name:literal, $key:expr, $stamp:expr, $keep:expr, [$($column:literal $kind:expr),* $(,)?]) => {
        Table { name: $name, columns: &[$(($column, $kind)),*], key: $key, stamp: $stamp, keep: $keep, defaults: &[] }
    };
}

const PRODUCT: Table = table!("product", &["id"], MODIFIED, &[], ["id" Int, "sku" Text, "gtin" Text, "label" Text, "uom" Text]);
const MACHINE: Table = table!("machine", &["id"], MODIFIED, &[], [
    "id" Int, "code" Text, "host_code" Text, "label" Text, "plant" Text, "shift_model" Text, "slots" Int, "speed_pct" Int,
]);
const CHANGEOVER: Table = table!("changeover", &["machine_id", "from_family", "to_family"], None, &[], [
    "machine_id" Int, "from_family" Text, "to_family" Text, "minutes" Dec(7, 2),
]);
const JOB: Table = table!("job", &["id"], MODIFIED, &[], [
    "id" Int, "host_no" Text, "product_id" Int, "plant" Text, "qty" Dec(14, 3), "good" Dec(14, 3), "scrap" Dec(14, 3), "due_ms" Int,
    "started_ms" Int, "finished_ms" Int, "state" Int,
]);
const JOB_STEP: Table = table!("job_step", &["job_id", "step"], MODIFIED, &["plan_start_ms", "plan_end_ms"], [
    "job_id" Int, "step" Int, "machine_id" Int, "qty" Dec(14, 3), "good" Dec(14, 3), "setup_min" Dec(9, 2), "cycle_ms" Dec(16, 3),
    "plan_start_ms" Int, "plan_end_ms" Int, "start_ms" Int, "end_ms" Int, "state" Int,
]);
const JOB_MATERIAL: Table = table!("job_material", &["job_id", "line"], MODIFIED, &[], [
    "job_id" Int, "line" Int, "product_id" Int, "need" Dec(14, 3), "issued" Dec(14, 3),
]);
const REPORT: Table = table!("report", &["id"], MODIFIED, &[], [
    "id" Int, "job_id" Int, "step" Int, "machine_id" Int, "good" Dec(14, 3), "scrap" Dec(14, 3), "cause" Text, "begin_ms" Int, "end_ms" Int,
]);
const MACHINE_STATE: Table = table!("machine_state", &["id"], MODIFIED, &[], [
    "id" Int, "machine_id" Int, "state" Text, "cause" Text, "begin_ms" Int, "end_ms" Int,
]);
const LOT_LINK: Table = table!("lot_link", &["id"], MODIFIED, &[], [
    "id" Int, "job_id" Int, "dir" Text, "product_id" Int, "lot" Text, "qty" Dec(14, 3), "at_ms" Int,
]);
const SPEC: Table = table!("spec", &["id"], None, &[], [
    "id" Int, "plan" Text, "product_id" Int, "step" Int, "label" Text, "unit" Text, "nominal" Dec(12, 4), "low" Dec(12, 4),
    "high" Dec(12, 4), "sampling" Text,
]);
const READING: Table = table!("reading", &["id"], MODIFIED, &[], [
    "id" Int, "spec_id" Int, "val" Dec(12, 4), "lot" Text, "job_id" Int, "machine_id" Int, "grp" Int, "at_ms" Int,
]);
const INSPECTION: Table = table!("inspection", &["id"], MODIFIED, &[], [
    "id" Int, "kind" Int, "receipt_no" Text, "job_id" Int, "product_id" Int, "lot" Text, "lot_qty" Dec(14, 3), "sample" Dec(14, 3),
    "bad" Dec(14, 3), "defect" Text, "verdict" Int, "opened_ms" Int, "closed_ms" Int,
]);
const QCASE: Table = table!("qcase", &["id"], MODIFIED, &[], [
    "id" Int, "kind" Int, "product_id" Int, "lot" Text, "defect" Text, "owner" Text, "outcome" Text, "state" Int, "opened_ms" Int,
    "closed_ms" Int,
]);

pub const TABLES: &[&Table] = &[
    &PRODUCT,
    &MACHINE,
    &CHANGEOVER,
    &JOB,
    &JOB_STEP,
    &JOB_MATERIAL,
    &REPORT,
    &MACHINE_STATE,
    &LOT_LINK,
    &SPEC,
    &READING,
    &INSPECTION,
    &QCASE,
];

pub fn write(view: &View<'_>, sink: &mut dyn Sink) -> Result<(), DemoError> {
    if view.fresh() {
        masters(view, sink)?;
        machines(view, sink)?;
        specs(view, sink)?;
    }
    jobs(view, sink)?;
    reports(view, sink)?;
    links(view, sink)?;
    readings(view, sink)?;
    inspections(view, sink)?;
    cases(view, sink)
}

fn millis(at: Seconds) -> Value<'static> {
    Value::Int(at * 1_000)
}

/// Pieces, or kilograms of bulk items, with three places.
fn quantity(item: &Item, base: i64) -> Value<'static> {
    Value::Dec(keys::thousandths(item, base), 3)
}

fn machine(view: &View<'_>, center: u8) -> Value<'static> {
    Value::Int(i64::from(view.master.plant) * 100 + i64::from(center) + 1)
}

fn defect(code: u8) -> &'static str {
    names::DEFECTS[usize::from(code) % names::DEFECTS.len()]
}

fn masters(view: &View<'_>, sink: &mut dyn Sink) -> Result<(), DemoError> {
    sink.table(&PRODUCT)?;
    for item in &view.master.items {
        // Some products carry a bar code only: the ERP's number was never entered.
        let sku = (item.gtin.is_none() || item.number % 6 != 0).then(|| item.number.to_string());
        let unit = if item.unit == Unit::Gram { "kg" } else { "pcs" };
        sink.row(
            view.born(),
            &[keys::mes_item(item).into(), sku.into(), item.gtin.as_deref().into(), item.name.as_str().into(), unit.into()],
        )?;
    }
    Ok(())
}

fn machines(view: &View<'_>, sink: &mut dyn Sink) -> Result<(), DemoError> {
    sink.table(&MACHINE)?;
    for (index, center) in view.master.centers.iter().enumerate() {
        sink.row(
            view.born(),
            &[
                machine(view, index as u8),
                center.mes_code.as_str().into(),
                center.code.as_str().into(),
                center.name.into(),
                view.master.site_code(0).into(),
                center.pattern.code().into(),
                1i64.into(),
                100i64.into(),
            ],
        )?;
    }
    sink.table(&CHANGEOVER)?;
    for index in 0..view.master.centers.len() {
        let steps = || view.master.items.iter().flat_map(|item| item.steps.iter()).filter(move |step| step.center == index);
        let mean = steps().map(|step| step.setup_s).sum::<i64>() / (steps().count() as i64).max(1);
        sink.row(view.born(), &[machine(view, index as u8), "*".into(), "*".into(), Value::Dec(mean * 100 / 60, 2)])?;
        for family in 1..=6 {
            let name = format!("F{family}");
            sink.row(
                view.born(),
                &[machine(view, index as u8), name.clone().into(), name.into(), Value::Dec(mean * 25 / 60, 2)],
            )?;
        }
    }
    Ok(())
}

fn specs(view: &View<'_>, sink: &mut dyn Sink) -> Result<(), DemoError> {
    sink.table(&SPEC)?;
    for spec in view.characteristics {
        let item = &view.master.items[spec.item];
        sink.row(
            view.born(),
            &[
                keys::serial(view.master.plant, u32::from(spec.id)).into(),
                format!("Q{}", item.number).into(),
                keys::mes_item(item).into(),
                (item.steps.len() as i64 * 10).into(),
                spec.name.into(),
                spec.unit.into(),
                Value::Dec(spec.target, 4),
                Value::Dec(spec.target - spec.tolerance, 4),
                Value::Dec(spec.target + spec.tolerance, 4),
                "4 of each order".into(),
            ],
        )?;
    }
    Ok(())
}

fn jobs(view: &View<'_>, sink: &mut dyn Sink) -> Result<(), DemoError> {
    sink.table(&JOB)?;
    for order in view.plant.work_orders.values().filter(|order| view.news(order.changed)) {
        sink.row(order.changed, &job(view, order))?;
    }
    sink.table(&JOB_STEP)?;
    for order in view.plant.work_orders.values() {
        for index in (0..order.steps.len()).filter(|index| view.news(order.steps[*index].changed)) {
            sink.row(order.steps[index].changed, &job_step(view, order, index))?;
        }
    }
    sink.table(&JOB_MATERIAL)?;
    for order in view.plant.work_orders.values() {
        let changed = order.started.unwrap_or(order.created);
        if !view.news(changed) {
            continue;
        }
        for (line, need) in order.needs.iter().enumerate() {
            let item = &view.master.items[usize::from(need.item)];
            sink.row(
                changed,
                &[
                    keys::serial(view.master.plant, order.id).into(),
                    (line as i64 + 1).into(),
                    keys::mes_item(item).into(),
                    quantity(item, need.required),
                    quantity(item, need.issued),
                ],
            )?;
        }
    }
    Ok(())
}

fn job(view: &View<'_>, order: &WorkOrder) -> [Value<'static>; 11] {
    let item = &view.master.items[usize::from(order.item)];
    let state = match order.progress {
        Progress::Planned => 0i64,
        Progress::Released => 1,
        Progress::Started => 2,
        Progress::Completed => 3,
        Progress::Closed => 4,
    };
    [
        keys::serial(view.master.plant, order.id).into(),
        keys::work_order(view.master.plant, order.id).to_string().into(),
        keys::mes_item(item).into(),
        view.master.site_code(0).into(),
        quantity(item, order.quantity),
        quantity(item, order.good),
        quantity(item, order.scrap),
        millis(i64::from(order.due) * DAY),
        order.started.map_or(Value::Null, millis),
        order.completed.map_or(Value::Null, millis),
        state.into(),
    ]
}

fn job_step(view: &View<'_>, order: &WorkOrder, index: usize) -> [Value<'static>; 12] {
    let item = &view.master.items[usize::from(order.item)];
    let (step, route) = (&order.steps[index], &item.steps[index]);
    let input = if index == 0 {
        order.quantity
    } else if step.started.is_some() {
        order.steps[index - 1].good
    } else {
        order.quantity
    };
    let state = match step.state {
        StepState::Pending => 0i64,
        StepState::Ready => 1,
        StepState::Started => 2,
        StepState::Completed => 3,
    };
    [
        keys::serial(view.master.plant, order.id).into(),
        (index as i64 * 10 + 10).into(),
        machine(view, step.center),
        quantity(item, input),
        quantity(item, step.good),
        Value::Dec(route.setup_s * 100 / 60, 2),
        // For a piece or a kilogram, in microseconds, written as milliseconds.
        Value::Dec(route.run_us * item.stock_factor(), 3),
        millis(step.planned.0),
        millis(step.planned.1),
        step.started.map_or(Value::Null, millis),
        step.ended.map_or(Value::Null, millis),
        state.into(),
    ]
}

fn reports(view: &View<'_>, sink: &mut dyn Sink) -> Result<(), DemoError> {
    let plant = view.master.plant;
    sink.table(&REPORT)?;
    for report in &view.plant.log.confirmations {
        let item = &view.master.items[usize::from(report.item)];
        sink.row(
            report.end,
            &[
                keys::serial(plant, report.id).into(),
                keys::serial(plant, report.order).into(),
                (i64::from(report.step) * 10 + 10).into(),
                machine(view, report.center),
                quantity(item, report.good),
                quantity(item, report.scrap),
                (report.scrap > 0).then(|| names::DEFECTS[report.id as usize % names::DEFECTS.len()]).into(),
                millis(report.begin),
                millis(report.end),
            ],
        )?;
    }
    sink.table(&MACHINE_STATE)?;
    for event in &view.plant.log.states {
        let (state, cause) = match event.state {
            MachineState::Setup => ("SETUP", None),
            MachineState::Down => ("DOWN", Some(["mechanical", "electrical", "tool", "material"][event.id as usize % 4])),
        };
        sink.row(
            event.end,
            &[
                keys::serial(plant, event.id).into(),
                machine(view, event.center),
                state.into(),
                cause.into(),
                millis(event.begin),
                millis(event.end),
            ],
        )?;
    }
    Ok(())
}

fn links(view: &View<'_>, sink: &mut dyn Sink) -> Result<(), DemoError> {
    let plant = view.master.plant;
    sink.table(&LOT_LINK)?;
    for link in &view.plant.log.links {
        let Some(lot) = keys::lot_of(view.master, link.item, link.lot) else { continue };
        let item = &view.master.items[usize::from(link.item)];
        sink.row(
            link.at,
            &[
                keys::serial(plant, link.id).into(),
                keys::serial(plant, link.order).into(),
                if link.output { "O" } else { "I" }.into(),
                keys::mes_item(item).into(),
                lot.into(),
                quantity(item, link.quantity),
                millis(link.at),
            ],
        )?;
    }
    Ok(())
}

fn readings(view: &View<'_>, sink: &mut dyn Sink) -> Result<(), DemoError> {
    let plant = view.master.plant;
    sink.table(&READING)?;
    for reading in &view.plant.log.measurements {
        sink.row(
            reading.at,
            &[
                keys::serial(plant, reading.id).into(),
                keys::serial(plant, u32::from(reading.characteristic)).into(),
                Value::Dec(reading.value, 4),
                keys::lot(plant, reading.lot).into(),
                keys::serial(plant, reading.order).into(),
                machine(view, reading.center),
                keys::serial(plant, reading.subgroup).into(),
                millis(reading.at),
            ],
        )?;
    }
    Ok(())
}

fn inspections(view: &View<'_>, sink: &mut dyn Sink) -> Result<(), DemoError> {
    let plant = view.master.plant;
    sink.table(&INSPECTION)?;
    for inspection in view.plant.inspections.values().filter(|inspection| view.news(inspection.changed)) {
        let item = &view.master.items[usize::from(inspection.item)];
        let verdict = match (inspection.decided, inspection.rejected) {
            (None, _) => 0i64,
            (Some(_), 0) => 1,
            _ => 3,
        };
        sink.row(
            inspection.changed,
            &[
                keys::serial(plant, inspection.id).into(),
                if inspection.receipt.is_some() { 1i64 } else { 3 }.into(),
                inspection.receipt.map(|receipt| wms::receipt_no(plant, receipt)).into(),
                inspection.work_order.map(|order| keys::serial(plant, order)).into(),
                keys::mes_item(item).into(),
                keys::lot_of(view.master, inspection.item, inspection.lot).into(),
                quantity(item, inspection.quantity),
                quantity(item, inspection.sample),
                quantity(item, inspection.rejected),
                inspection.defect.map(defect).into(),
                verdict.into(),
                millis(inspection.opened),
                inspection.decided.map_or(Value::Null, millis),
            ],
        )?;
    }
    Ok(())
}

fn cases(view: &View<'_>, sink: &mut dyn Sink) -> Result<(), DemoError> {
    let plant = view.master.plant;
    sink.table(&QCASE)?;
    for case in view.plant.cases.values().filter(|case| view.news(case.changed)) {
        let item = &view.master.items[usize::from(case.item)];
        let outcome = case.closed.map(|_| if case.supplier { "return" } else { "scrap" });
        sink.row(
            case.changed,
            &[
                keys::serial(plant, case.id).into(),
                if case.supplier { 2i64 } else { 1 }.into(),
                keys::mes_item(item).into(),
                keys::lot_of(view.master, case.item, case.lot).into(),
                defect(case.defect).into(),
                "q.lang".into(),
                outcome.into(),
                if case.closed.is_some() { 9i64 } else { 1 }.into(),
                millis(case.opened),
                case.closed.map_or(Value::Null, millis),
            ],
        )?;
    }
    Ok(())
}
