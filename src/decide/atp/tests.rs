//! Hand-worked promises and properties of `atp`.

use proptest::prelude::*;

use super::*;
use crate::decide::testing::{cell, check, day, decide, show};

const AS_OF: &str = "2026-01-01";
const ITEMS: &str = "A | S | 30";
const SUPPLY: &str = "
    A | S | 2025-12-20 | 40
    A | S | 2026-01-10 | 60";
const SHOWN: [&str; 4] = ["line_id", "available", "basis", "late_days"];

#[test]
fn look_ahead_by_hand() {
    // 40 today, 60 on the 10th; K has 50 on the 15th. So 40 + 60 - 50 = 50 are free, 40 of them before the 10th.
    let lines = "
        K | A | S | 2026-01-15 | 2026-01-15 | 50 | -
        L | A | S | 2026-01-05 | - | 30 | -
        M | A | S | 2026-01-05 | - | 15 | -
        N | A | S | 2026-01-06 | - | 10 | -";
    let result = decide(&Atp, AS_OF, &[lines, SUPPLY, ITEMS]).unwrap();
    // L takes 30 of the stock; M needs 15 where 10 are left until the 10th; N finds 5 and waits for a replenishment
    check(
        &result,
        &SHOWN,
        "K | 2026-01-15 | receipt | 0
         L | 2026-01-05 | stock | 0
         M | 2026-01-10 | receipt | 5
         N | 2026-01-31 | lead-time | 25",
    );
    check(
        &result,
        &["reason"],
        "supply by 2026-01-10 of 100 covers 50 after 0 promised
         stock of 40 covers 30 after 0 promised
         supply by 2026-01-10 of 100 covers 15 after 30 promised
         supply of 100 covers 10 never: replenished within the lead time of 30 days",
    );
}

#[test]
fn priority_goes_before_the_request() {
    let lines = "
        L | A | S | 2026-01-02 | - | 40 | 2
        M | A | S | 2026-01-05 | - | 40 | 1
        N | A | S | 2026-01-02 | - | 40 | -";
    let result = decide(&Atp, AS_OF, &[lines, SUPPLY, ITEMS]).unwrap();
    check(&result, &SHOWN, "L | 2026-01-10 | receipt | 8\nM | 2026-01-05 | stock | 0\nN | 2026-01-31 | lead-time | 29");
}

#[test]
fn overdue_and_late_promises() {
    let lines = "
        K | A | S | 2025-12-01 | 2025-12-05 | 40 | -
        L | A | S | 2026-01-02 | 2026-01-03 | 30 | -
        M | A | S | 2026-01-02 | 2026-01-04 | 50 | -";
    let result = decide(&Atp, AS_OF, &[lines, SUPPLY, ITEMS]).unwrap();
    check(&result, &SHOWN, "K | 2026-01-01 | stock | 31\nL | 2026-01-10 | receipt | 8\nM | 2026-01-31 | lead-time | 29");
}

#[test]
fn what_cannot_be_promised_says_why() {
    let lines = "
        K | A | S | 2026-01-05 | - | -4 | -
        L | B | S | 2026-01-05 | - | 4 | -
        M | C | S | 2026-01-05 | - | 4 | -";
    let result =
        decide(&Atp, AS_OF, &[lines, "C | S | 2026-01-01 | 10\nC | S | 2026-01-08 | -7", "A | S | 3\nC | S | -"]).unwrap();
    check(
        &result,
        &["line_id", "available", "basis", "reason"],
        "K | - | - | not promised: its quantity of -4 is negative
         L | - | - | supply of 0 never covers 4, and no lead time is known: no item_site
         M | - | - | supply of 3 never covers 4, and no lead time is known: the item has none",
    );
}

fn date(offset: i32) -> String {
    crate::decide::quantity::Date(day(AS_OF) + offset).to_string()
}

fn maybe(value: Option<String>) -> String {
    value.unwrap_or_else(|| "-".into())
}

fn lines() -> impl Strategy<Value = Vec<String>> {
    let one = (0..2, -5..30, prop::option::weighted(0.4, -5..40), 1..30, prop::option::of(0..3));
    prop::collection::vec(one, 0..20).prop_map(|lines| {
        let each = lines.into_iter().enumerate();
        each.map(|(n, (item, requested, promised, quantity, priority))| {
            let (promised, priority) = (maybe(promised.map(date)), maybe(priority.map(|priority: i32| priority.to_string())));
            format!("L{n} | I{item} | S | {} | {promised} | {quantity} | {priority}", date(requested))
        })
        .collect()
    })
}

fn shop() -> impl Strategy<Value = [Vec<String>; 3]> {
    let supply = prop::collection::vec((0..2, -5..40, -10..60), 0..8);
    let supply = supply
        .prop_map(|rows| rows.iter().map(|(item, on, quantity)| format!("I{item} | S | {} | {quantity}", date(*on))).collect());
    let items = prop::collection::vec(prop::option::weighted(0.7, 0..25), 2);
    let items = items.prop_map(|rows| {
        let each = rows.iter().enumerate();
        each.map(|(n, lead)| format!("I{n} | S | {}", maybe(lead.map(|lead: i32| lead.to_string())))).collect()
    });
    (lines(), supply, items).prop_map(|(lines, supply, items)| [lines, supply, items])
}

fn run(tables: &[Vec<String>; 3]) -> RecordBatch {
    let tables = tables.clone().map(|rows| rows.join("\n"));
    decide(&Atp, AS_OF, &tables.each_ref().map(String::as_str)).unwrap()
}

/// The lines with the answers written as promises where there was none.
fn written(lines: &[String], result: &RecordBatch) -> Vec<String> {
    let available = |line: &str| {
        let row = (0..result.num_rows()).find(|row| cell(result, "line_id", *row) == line).unwrap();
        cell(result, "available", row)
    };
    let each = lines.iter().map(|line| {
        let mut cells: Vec<String> = line.split(" | ").map(str::to_owned).collect();
        if cells[4] == "-" {
            cells[4] = available(&cells[0]);
        }
        cells.join(" | ")
    });
    each.collect()
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, cases: 2_000, ..ProptestConfig::default() })]

    #[test]
    fn written_promises_hold(mut shop in shop()) {
        let first = run(&shop);
        shop[0] = written(&shop[0], &first);
        let second = run(&shop);
        prop_assert_eq!(show(&first, &["line_id", "available"]), show(&second, &["line_id", "available"]));
    }

    /// Whatever is promised from supply is there: in the order of the days, supply less all that was taken from it never falls below zero.
    #[test]
    fn nothing_is_promised_twice(shop in shop()) {
        let result = run(&shop);
        let mut flows: Vec<(String, String, i8, i64)> = Vec::new(); // item, day, supply first, quantity
        for row in &shop[1] {
            let cells: Vec<&str> = row.split(" | ").collect();
            flows.push((cells[0].into(), cells[2].max(AS_OF).into(), 0, cells[3].parse().unwrap()));
        }
        for row in 0..result.num_rows() {
            let of = |name| cell(&result, name, row);
            if of("basis") == "stock" || of("basis") == "receipt" {
                flows.push((of("item_id"), of("available"), 1, -of("quantity").parse::<i64>().unwrap()));
            }
            prop_assert!(of("available") == "-" || of("available").as_str() >= AS_OF);
            prop_assert!(of("promised") != "-" || of("available") == "-" || of("available") >= of("requested"));
        }
        for item in ["I0", "I1"] {
            let mut of_item: Vec<_> = flows.iter().filter(|flow| flow.0 == item).collect();
            of_item.sort();
            let taken_away = shop[1].iter().any(|row| row.starts_with(item) && row.contains("| -"));
            let mut stock = 0;
            for flow in of_item {
                stock += flow.3;
                prop_assert!(stock >= 0 || taken_away, "{} on {}: {stock}", item, flow.1);
            }
        }
    }

    /// New lines never make a promised line later.
    #[test]
    fn promises_come_first(shop in shop()) {
        let mut promised_only = shop.clone();
        promised_only[0].retain(|line| line.split(" | ").nth(4) != Some("-"));
        let (alone, together) = (run(&promised_only), run(&shop));
        let all = show(&together, &["line_id", "available"]);
        for line in show(&alone, &["line_id", "available"]).lines() {
            prop_assert!(all.lines().any(|other| other == line), "{line}");
        }
    }

    /// One new line among promised ones: on no earlier day could it be promised without being late itself or making another later.
    #[test]
    fn no_earlier_day_would_do(shop in shop()) {
        let mut shop = shop;
        shop[2].clear(); // no replenishment, so that supply alone decides
        let mut first = true;
        shop[0].retain(|line| line.split(" | ").nth(4) != Some("-") || std::mem::take(&mut first));
        let Some(at) = shop[0].iter().position(|line| line.split(" | ").nth(4) == Some("-")) else { return Ok(()) };
        let mut cells: Vec<String> = shop[0][at].split(" | ").map(str::to_owned).collect();
        // whoever was promised the same day before comes first
        (cells[0], cells[6]) = ("Z".into(), "-".into());
        shop[0][at] = cells.join(" | ");
        let before = run(&shop);
        let all = show(&before, &["line_id", "available"]);
        let available = all.lines().find_map(|line| line.strip_prefix(&format!("{} | ", cells[0]))).unwrap();
        let from = day(AS_OF).max(day(&cells[3]));
        let until = if available == "-" { from + 60 } else { day(available) };
        for on in from..until {
            let mut promised = cells.clone();
            promised[4] = date(on - day(AS_OF));
            shop[0][at] = promised.join(" | ");
            let after = show(&run(&shop), &["line_id", "available"]);
            let holds = after.lines().all(|line| line == format!("{} | {}", cells[0], promised[4]) || all.lines().any(|other| other == line));
            prop_assert!(!holds || !after.contains(&format!("{} | {}", cells[0], promised[4])), "{} could have {}", cells[0], promised[4]);
        }
    }

    #[test]
    fn the_order_of_rows_does_not_matter((shop, shuffled) in shop().prop_flat_map(|shop| {
        let [a, b, c] = shop.clone().map(|rows| Just(rows).prop_shuffle());
        (Just(shop), (a, b, c).prop_map(|(a, b, c)| [a, b, c]))
    })) {
        prop_assert_eq!(run(&shop), run(&shuffled));
    }
}
