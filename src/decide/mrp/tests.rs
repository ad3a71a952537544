//! Hand-worked plans and properties of `mrp` and `net_requirements`.

use std::collections::{BTreeMap, HashMap};

use arrow::array::RecordBatch;
use proptest::prelude::*;

use super::*;
use crate::decide::testing::{cell, check, context, day, decide, show, table};

const AS_OF: &str = "2026-01-01";

/// A (lead 2) takes 2 B and 3 C, B (lead 3, lots of 50, 10 in reserve) takes 1 C, C is bought (lead 5) in lots of 500.
const ITEMS: &str = "
    A | S | make | 2 | lot-for-lot | - | - | - | -
    B | S | make | 3 | multiple | - | 50 | 10 | -
    C | S | buy | 5 | fixed | 500 | - | - | -";
const BOM: &str = "
    A | B | 2
    A | C | 3
    B | C | 1";
const DEMAND: &str = "
    SO-2 | A | S | 2026-01-25 | 50
    SO-1 | A | S | 2026-01-20 | 100";
const SUPPLY: &str = "
    stock-A | A | S | 2026-01-01 | 20
    stock-B | B | S | 2025-12-24 | 30
    WO-7 | B | S | 2026-01-10 | 40
    stock-C | C | S | 2026-01-01 | 100";

const PLAN: [&str; 7] = ["proposal_id", "start", "due", "quantity", "action", "late_days", "peg"];

#[test]
fn three_levels_by_hand() {
    let plan = decide(&Mrp, AS_OF, &[DEMAND, SUPPLY, ITEMS, BOM, ""]).unwrap();
    // A: 20 - 100 = -80, then -50. B: 30 + 40 - 160 is 100 short of 10, then -100 again. C: 100 - 100 (B) - 240 (A) = -240, the rest is enough.
    check(
        &plan,
        &PLAN,
        "PR-A-S-20260120-1 | 2026-01-18 | 2026-01-20 | 80 | new | 0 | SO-1
         PR-A-S-20260125-1 | 2026-01-23 | 2026-01-25 | 50 | new | 0 | SO-2
         PR-B-S-20260118-1 | 2026-01-15 | 2026-01-18 | 100 | new | 0 | SO-1
         PR-B-S-20260123-1 | 2026-01-20 | 2026-01-23 | 100 | new | 0 | SO-2
         PR-C-S-20260118-1 | 2026-01-13 | 2026-01-18 | 500 | new | 0 | SO-1",
    );
    check(
        &plan,
        &["make_buy", "needed", "reason"],
        "make | 2026-01-20 | needed 2026-01-20 for SO-1: stock 20, on order 0, required 100
         make | 2026-01-25 | needed 2026-01-25 for SO-2: stock 20, on order 0, required 150, planned before 80
         make | 2026-01-18 | needed 2026-01-18 for SO-1 via A: stock 30, on order 40, required 160, safety stock 10
         make | 2026-01-23 | needed 2026-01-23 for SO-2 via A: stock 30, on order 40, required 260, planned before 100, safety stock 10
         buy | 2026-01-18 | needed 2026-01-18 for SO-1 via A: stock 100, on order 0, required 340; short 240, ordered in lots 500",
    );
}

#[test]
fn the_grid_by_hand() {
    let grid = decide(&NetRequirements, AS_OF, &[DEMAND, SUPPLY, ITEMS, BOM, ""]).unwrap();
    check(
        &grid,
        &["item_id", "day", "gross", "scheduled", "planned", "projected", "net"],
        "A | 2026-01-01 | 0 | 20 | 0 | 20 | 0
         A | 2026-01-20 | 100 | 0 | 80 | 0 | 80
         A | 2026-01-25 | 50 | 0 | 50 | 0 | 50
         B | 2026-01-01 | 0 | 30 | 0 | 30 | 0
         B | 2026-01-10 | 0 | 40 | 0 | 70 | 0
         B | 2026-01-18 | 160 | 0 | 100 | 10 | 100
         B | 2026-01-23 | 100 | 0 | 100 | 10 | 100
         C | 2026-01-01 | 0 | 100 | 0 | 100 | 0
         C | 2026-01-15 | 100 | 0 | 0 | 0 | 0
         C | 2026-01-18 | 240 | 0 | 500 | 260 | 240
         C | 2026-01-20 | 100 | 0 | 0 | 160 | 0
         C | 2026-01-23 | 150 | 0 | 0 | 10 | 0",
    );
}

#[test]
fn nothing_arrives_before_the_lead_time() {
    let items = "A | S | buy | 10 | lot-for-lot | - | - | 5 | -";
    // PO-1 arrives within the lead time and is used; what is missing comes as soon as it can, and says how late
    let demand = "SO-1 | A | S | 2026-01-03 | 30\nSO-0 | A | S | 2025-12-30 | 10";
    let plan = decide(&Mrp, AS_OF, &[demand, "PO-1 | A | S | 2026-01-08 | 15", items, "", ""]).unwrap();
    check(&plan, &PLAN, "PR-A-S-20260111-1 | 2026-01-01 | 2026-01-11 | 30 | new | 8 | SO-1");
    let reason =
        "needed 2026-01-03 for SO-1: stock 0, on order 15, required 40, safety stock 5; lead time 10 days ends 2026-01-11";
    check(&plan, &["reason"], reason);
}

#[test]
fn the_frozen_zone_takes_nothing_new() {
    let items = "A | S | buy | 1 | lot-for-lot | - | - | - | 7";
    let demand = "SO-1 | A | S | 2026-01-04 | 5";
    let plan = decide(&Mrp, AS_OF, &[demand, "", items, "", ""]).unwrap();
    check(&plan, &PLAN, "PR-A-S-20260108-1 | 2026-01-07 | 2026-01-08 | 5 | new | 4 | SO-1");
    // but a proposal that is inside stays
    let plan = decide(&Mrp, AS_OF, &[demand, "", items, "", "P | A | S | 2026-01-07 | 5"]).unwrap();
    check(&plan, &PLAN, "P | 2026-01-06 | 2026-01-07 | 5 | keep | 3 | SO-1");
}

#[test]
fn proposals_keep_their_identity() {
    let items = "A | S | buy | 30 | lot-for-lot | - | - | - | -\nB | S | buy | 1 | multiple | - | 10 | - | -";
    let demand = "
        a | A | S | 2026-03-01 | 100
        b | A | S | 2026-04-01 | 100
        c | B | S | 2026-03-01 | 95
        d | B | S | 2026-04-01 | 100";
    let proposals = "
        near | A | S | 2026-03-04 | 109
        far | A | S | 2026-03-28 | 100
        less | B | S | 2026-03-01 | 80
        none | B | S | 2026-05-01 | 7";
    let plan = decide(&Mrp, AS_OF, &[demand, "", items, "", proposals]).unwrap();
    check(
        &plan,
        &["proposal_id", "due", "quantity", "action", "previous_due", "previous_quantity"],
        "near | 2026-03-04 | 109 | keep | 2026-03-04 | 109
         far | 2026-04-01 | 100 | move | 2026-03-28 | 100
         less | 2026-03-01 | 100 | resize | 2026-03-01 | 80
         none | 2026-04-01 | 100 | move | 2026-05-01 | 7",
    );
}

#[test]
fn overdue_proposals_move() {
    let items = "A | S | buy | 0 | lot-for-lot | - | - | - | -";
    let plan = decide(&Mrp, AS_OF, &["a | A | S | 2025-12-31 | 5", "", items, "", "P | A | S | 2025-12-31 | 5"]).unwrap();
    check(&plan, &PLAN, "P | 2026-01-01 | 2026-01-01 | 5 | move | 1 | a");
}

#[test]
fn ids_do_not_collide() {
    let items = "A | S | buy | 1 | lot-for-lot | - | - | - | -\nB | S | buy | 1 | lot-for-lot | - | - | - | -";
    let proposals = "PR-A-S-20260110-1 | B | S | 2026-01-10 | 3\nPR-A-S-20260110-2 | B | S | 2026-01-11 | 3";
    let plan = decide(&Mrp, AS_OF, &["SO-1 | A | S | 2026-01-10 | 1", "", items, "", proposals]).unwrap();
    check(&plan, &["proposal_id", "item_id"], "PR-A-S-20260110-3 | A");
}

#[test]
fn what_cannot_be_planned_is_reported() {
    let items = "
        A | S | make | 2 | lot-for-lot | - | - | - | -
        D | S | move | 2 | lot-for-lot | - | - | - | -
        E | S | buy | 2 | multiple | - | - | - | -
        F | S | buy | -2 | lot-for-lot | - | - | - | -";
    let demand = "
        SO-1 | A | S | 2026-01-20 | 10
        SO-2 | A | S | 2026-01-20 | -10
        SO-3 | D | S | 2026-01-20 | 10
        SO-4 | E | S | 2026-01-20 | 10
        SO-5 | F | S | 2026-01-20 | 10
        SO-6 | A | T | 2026-01-20 | 10";
    let plan = decide(&Mrp, AS_OF, &[demand, "", items, "A | X | 1\nA | Y | -1", ""]).unwrap();
    check(
        &plan,
        &["proposal_id", "make_buy", "due", "quantity", "action", "peg", "reason"],
        "ERROR-A-*-1 | - | - | - | error | - | component Y is not used: quantity_per is -1, less than 0
         ERROR-A-S-1 | - | 2026-01-20 | - | error | SO-2 | demand SO-2 of -10 on 2026-01-20 is not used: its quantity is negative
         PR-A-S-20260120-1 | make | 2026-01-20 | 10 | new | SO-1 | needed 2026-01-20 for SO-1: stock 0, on order 0, required 10
         ERROR-A-T-1 | - | 2026-01-20 | - | error | SO-6 | no item_site
         ERROR-D-S-1 | - | 2026-01-20 | - | error | SO-3 | make_buy is 'move', expected 'make' or 'buy'
         ERROR-E-S-1 | - | 2026-01-20 | - | error | SO-4 | lot_rule is 'multiple' without a lot_multiple
         ERROR-F-S-1 | - | 2026-01-20 | - | error | SO-5 | a lead time of -2 days is not between 0 and 100000
         ERROR-X-S-1 | - | 2026-01-18 | - | error | SO-1 | no item_site",
    );
}

#[test]
fn circles_duplicates_and_overflow_are_errors() {
    let error = |tables: [&str; 5]| decide(&Mrp, AS_OF, &tables).unwrap_err().to_string();
    let items = format!("{ITEMS}\nD | S | make | 1 | lot-for-lot | - | - | - | -");
    let circle = error([DEMAND, "", &items, "A | B | 1\nB | D | 1\nD | B | 1", ""]);
    assert_eq!(circle, "mrp: the bill of materials runs in a circle: B > D > B");
    let twice = error([DEMAND, "", &format!("{ITEMS}{ITEMS}"), BOM, ""]);
    assert_eq!(twice, "mrp: input \"items\" has row item_id=A, site_id=S, make_buy=make, lot_rule=lot-for-lot twice");
    let large = error([DEMAND, "", ITEMS, "A | B | 999999999\nB | C | 999999999", ""]);
    assert_eq!(large, "mrp: the requirement of C for B does not fit decimal(18,6)");
}

/// A plant in which item I(n) may take any later one, as text for [`decide`].
#[derive(Debug, Clone)]
struct Plant {
    tables: [Vec<String>; 5],
}

impl Plant {
    fn plan(&self, decision: &dyn Decision) -> RecordBatch {
        let tables = self.tables.clone().map(|rows| rows.join("\n"));
        decide(decision, AS_OF, &tables.each_ref().map(String::as_str)).unwrap()
    }
}

fn date(offset: i32) -> String {
    crate::decide::quantity::Date(day(AS_OF) + offset).to_string()
}

fn movements(stem: &'static str, days: std::ops::Range<i32>, count: usize) -> impl Strategy<Value = Vec<String>> {
    let one = (0..4, 0..2, days, 1..120);
    prop::collection::vec(one, 0..count).prop_map(move |rows| {
        let each = rows.into_iter().enumerate();
        each.map(|(n, (item, site, due, quantity))| format!("{stem}{n} | I{item} | S{site} | {} | {quantity}", date(due)))
            .collect()
    })
}

fn plant() -> impl Strategy<Value = Plant> {
    let policy = (0..8_i64, 0..3_usize, 0..3_i64, 0..2_i64, 0..10_i64);
    let items = prop::collection::vec(policy, 8).prop_map(|policies| {
        let each = policies.into_iter().enumerate();
        each.map(|(n, (lead, rule, lot, safety, zone))| {
            let rule = ["lot-for-lot", "fixed", "multiple"][rule];
            let make = if n % 4 < 3 { "make" } else { "buy" };
            format!(
                "I{} | S{} | {make} | {lead} | {rule} | {} | {} | {} | {zone}",
                n % 4,
                n / 4,
                10 + lot,
                5 + 7 * lot,
                safety * 15
            )
        })
        .collect()
    });
    let bom = prop::collection::vec((0..3, 1..4, prop::sample::select(vec!["1", "2", "0.3"])), 0..4).prop_map(|edges| {
        let each = edges.into_iter().filter(|(item, below, _)| item + below < 4);
        each.map(|(item, below, per)| format!("I{item} | I{} | {per}", item + below)).collect()
    });
    (movements("D", -3..50, 25), movements("S", -3..50, 8), items, bom, movements("P", -3..50, 25))
        .prop_map(|(demand, supply, items, bom, proposals)| Plant { tables: [demand, supply, items, bom, proposals] })
}

fn cells(row: &str) -> Vec<String> {
    row.split('|').map(|cell| cell.trim().to_owned()).collect()
}

fn micro(text: &str) -> i128 {
    (text.parse::<f64>().unwrap() * 1e6).round() as i128
}

/// What comes and goes at each item and site by day, from the inputs and the plan's own rows.
fn flows(plant: &Plant) -> HashMap<(String, String), BTreeMap<i32, i128>> {
    let plan = plant.plan(&Mrp);
    let mut flows: HashMap<(String, String), BTreeMap<i32, i128>> = HashMap::new();
    let mut flow = |item: &str, site: &str, on: i32, quantity: i128| {
        *flows.entry((item.into(), site.into())).or_default().entry(on).or_default() += quantity;
    };
    for (table, sign) in [(0, -1), (1, 1)] {
        for row in plant.tables[table].iter().map(|row| cells(row)) {
            flow(&row[1], &row[2], day(&row[3]), sign * micro(&row[4]));
        }
    }
    for row in 0..plan.num_rows() {
        let of = |name| cell(&plan, name, row);
        flow(&of("item_id"), &of("site_id"), day(&of("due")), micro(&of("quantity")));
        for line in
            plant.tables[3].iter().map(|row| cells(row)).filter(|line| line[0] == of("item_id") && of("make_buy") == "make")
        {
            flow(&line[1], &of("site_id"), day(&of("start")), -(micro(&of("quantity")) * micro(&line[2])) / 1_000_000);
        }
    }
    flows
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, cases: 400, ..ProptestConfig::default() })]

    /// Projected stock never falls below the safety stock once a new order can be there.
    #[test]
    fn a_plan_covers_all_demand(mut plant in plant()) {
        plant.tables[4].clear();
        let flows = flows(&plant);
        for item in plant.tables[2].iter().map(|row| cells(row)) {
            let earliest = day(AS_OF) + item[3].parse::<i32>().unwrap().max(item[8].parse().unwrap());
            let Some(days) = flows.get(&(item[0].clone(), item[1].clone())) else { continue };
            let mut stock = 0;
            for (on, change) in days {
                stock += change;
                let last_before_earliest = days.range(on + 1..).next().is_none_or(|(next, _)| *next > earliest);
                prop_assert!(*on < earliest && !last_before_earliest || stock >= micro(&item[7]), "{} {} on {on}: {stock}", item[0], item[1]);
            }
        }
    }

    #[test]
    fn a_written_plan_stays_as_it_is(mut plant in plant()) {
        let first = plant.plan(&Mrp);
        let written = show(&first, &["proposal_id", "item_id", "site_id", "due", "quantity"]);
        plant.tables[4] = written.lines().map(str::to_owned).collect();
        let second = plant.plan(&Mrp);
        let same = ["proposal_id", "item_id", "site_id", "start", "due", "quantity", "needed", "late_days", "peg", "reason"];
        prop_assert_eq!(show(&first, &same), show(&second, &same));
        let kept = (0..second.num_rows()).all(|row| cell(&second, "action", row) == "keep");
        prop_assert!(kept);
    }

    #[test]
    fn the_order_of_rows_does_not_matter((plant, shuffled) in plant().prop_flat_map(|plant| {
        let [a, b, c, d, e] = plant.tables.clone().map(|rows| Just(rows).prop_shuffle());
        (Just(plant), (a, b, c, d, e).prop_map(|(a, b, c, d, e)| Plant { tables: [a, b, c, d, e] }))
    })) {
        prop_assert_eq!(plant.plan(&Mrp), shuffled.plan(&Mrp));
        prop_assert_eq!(plant.plan(&NetRequirements), shuffled.plan(&NetRequirements));
    }

    #[test]
    fn orders_start_before_they_end_and_not_in_the_past(plant in plant()) {
        let plan = plant.plan(&Mrp);
        for row in 0..plan.num_rows() {
            let (start, due) = (day(&cell(&plan, "start", row)), day(&cell(&plan, "due", row)));
            prop_assert!(day(AS_OF) <= start && start <= due);
        }
    }
}

/// 100,000 items on four levels with a demand each: a second of one core; quadratic steps would take hours.
#[test]
fn many_items() {
    let (mut items, mut demand, mut bom) = (String::new(), String::new(), String::new());
    for n in 0..100_000 {
        items += &format!("I{n} | S | make | 3 | lot-for-lot | - | - | - | -\n");
        demand += &format!("D{n} | I{n} | S | {} | 10\n", date(20 + n % 300));
        if n % 4 > 0 {
            bom += &format!("I{} | I{n} | 2\n", n - 1);
        }
    }
    let tables = [demand.as_str(), "", &items, &bom, ""];
    let batches: Vec<RecordBatch> = Mrp.inputs().iter().zip(tables).map(|(input, rows)| table(input, rows)).collect();
    let begun = std::time::Instant::now();
    let plan = Mrp.decide(&batches, &context(AS_OF)).unwrap();
    eprintln!("100,000 items, {} orders: {:?}", plan.num_rows(), begun.elapsed());
    assert_eq!(plan.num_rows(), 250_000);
    assert!(begun.elapsed().as_secs() < 60);
}
