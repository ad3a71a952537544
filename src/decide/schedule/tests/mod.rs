//! Hand-worked schedules, the reasons in words, and what a large shop takes.

mod random;
mod validator;

use super::*;
use crate::decide::testing::{cell, check, context, decide, table};
use validator::{Factory, Rows, validate};

const AS_OF: &str = "2026-01-01";
/// The same instant in microseconds.
const START: i64 = 1_767_225_600_000_000;
/// 06:00 to 14:00 on two days; always.
const CALENDARS: &str = "
    resource_id | starts_at        | ends_at
    R1          | 2026-01-01 06:00 | 2026-01-01 14:00
    R1          | 2026-01-02 06:00 | 2026-01-02 14:00
    R2          | 2026-01-01 00:00 | 2026-01-05 00:00
    R3          | 2026-01-01 00:00 | 2026-01-05 00:00";
const TIMES: [&str; 5] = ["order_id", "operation_no", "starts_at", "ends_at", "waits_for"];

/// Decides over named tables and has the result validated.
fn schedule(tables: &[(&str, &'static str)]) -> RecordBatch {
    // hand-worked schedules are found at once
    let of = |name: &str| match tables.iter().find(|(known, _)| *known == name) {
        Some((_, text)) => text,
        None if name == "settings" => "iterations\n1000",
        None => "",
    };
    assert!(tables.iter().all(|(name, _)| INPUTS.iter().any(|input| input.name == *name)));
    let factory: Factory = INPUTS.each_ref().map(|input| Rows::parse(of(input.name)));
    let result = decide(&Schedule, AS_OF, &INPUTS.each_ref().map(|input| of(input.name))).unwrap();
    validate(&factory, START, &result).unwrap();
    result
}

#[test]
fn two_orders_by_hand() {
    // A is due first but its material comes at 08:00; B fills the time before it
    let operations = "
        order_id | operation_no | resource_id | duration_s | release          | due
        A        | 10           | R1          | 14400      | 2026-01-01 08:00 | 2026-01-01 12:30
        A        | 20           | R2          | 3600       | -                | 2026-01-01 12:30
        B        | 10           | R1          | 7200       | -                | 2026-01-02 06:30
        B        | 20           | R1          | 10800      | -                | 2026-01-02 06:30
        C        | 10           | R2          | 3600       | -                | -";
    let result = schedule(&[("operations", operations), ("calendars", CALENDARS)]);
    check(
        &result,
        &TIMES,
        "A | 10 | 2026-01-01 08:00:00 | 2026-01-01 12:00:00 | material
         A | 20 | 2026-01-01 12:00:00 | 2026-01-01 13:00:00 | predecessor
         B | 10 | 2026-01-01 06:00:00 | 2026-01-01 08:00:00 | calendar
         B | 20 | 2026-01-01 12:00:00 | 2026-01-02 07:00:00 | resource
         C | 10 | 2026-01-01 00:00:00 | 2026-01-01 01:00:00 | none",
    );
    check(
        &result,
        &["reason"],
        "waits for material until 2026-01-01 08:00:00
         waits for A/10 until 2026-01-01 12:00:00
         resource R1 works again from 2026-01-01 06:00:00
         resource R1 has A/10 first, until 2026-01-01 12:00:00
         starts at once",
    );
    check(
        &result,
        &["order_ends_at", "late_s", "late_cause", "late_reason"],
        "2026-01-01 13:00:00 | 1800 | material | A/10: waits for material until 2026-01-01 08:00:00
         2026-01-01 13:00:00 | 1800 | material | A/10: waits for material until 2026-01-01 08:00:00
         2026-01-02 07:00:00 | 1800 | calendar | B/10: resource R1 works again from 2026-01-01 06:00:00
         2026-01-02 07:00:00 | 1800 | calendar | B/10: resource R1 works again from 2026-01-01 06:00:00
         2026-01-01 01:00:00 | - | - | -",
    );
    // an hour of lateness in all; A alone cannot be earlier
    assert_eq!(cell(&result, "objective", 0), "3600");
}

#[test]
fn fixed_operations_stay_and_families_save_setup() {
    let operations = "
        order_id | operation_no | resource_id | duration_s | due              | fixed_start      | fixed_end        | family | setup_s
        A        | 10           | R2          | 7200       | -                | 2026-01-01 02:00 | 2026-01-01 04:00 | red    | -
        B        | 10           | R2          | 7200       | 2026-01-01 03:00 | -                | -                | red    | 1800
        C        | 10           | R2          | 5400       | 2026-01-02 00:00 | -                | -                | blue   | 1800";
    // B needs 2:30 without A before it and does not fit there; C does; after A, B needs no set-up
    let result = schedule(&[("operations", operations), ("calendars", CALENDARS)]);
    check(
        &result,
        &["order_id", "starts_at", "ends_at", "setup_s", "waits_for", "late_s"],
        "A | 2026-01-01 02:00:00 | 2026-01-01 04:00:00 | 0 | fixed | -
         B | 2026-01-01 04:00:00 | 2026-01-01 06:00:00 | 0 | resource | 10800
         C | 2026-01-01 00:00:00 | 2026-01-01 02:00:00 | 1800 | none | 0",
    );
}

#[test]
fn alternatives_setups_lanes_and_downtime() {
    let operations = "
        order_id | operation_no | resource_id | duration_s | due              | family
        A        | 10           | R2          | 3600       | 2026-01-01 01:00 | red
        B        | 10           | R2          | 3600       | 2026-01-01 02:00 | red
        C        | 10           | R3          | 3600       | 2026-01-01 03:00 | blue
        D        | 10           | R3          | 3600       | 2026-01-01 03:00 | blue
        E        | 10           | -           | -          | 2026-01-01 11:00 | green";
    let result = schedule(&[
        ("operations", operations),
        ("calendars", CALENDARS),
        // C and D run side by side; E would be slower on R1, which opens at six
        ("alternatives", "order_id | operation_no | resource_id | duration_s\nE | 10 | R1 | 18000\nE | 10 | R2 | 14400"),
        (
            "setups",
            "resource_id | from_family | to_family | seconds\nR2 | red | green | 7200\nR2 | * | * | 600\nR2 | * | red | 0",
        ),
        ("resources", "resource_id | capacity\nR3 | 2"),
        ("downtime", "resource_id | starts_at | ends_at\nR3 | 2026-01-01 00:00 | 2026-01-01 02:00"),
    ]);
    check(
        &result,
        &["order_id", "resource_id", "starts_at", "ends_at", "setup_s", "late_s"],
        "A | R2 | 2026-01-01 00:00:00 | 2026-01-01 01:00:00 | 0 | 0
         B | R2 | 2026-01-01 01:00:00 | 2026-01-01 02:00:00 | 0 | 0
         C | R3 | 2026-01-01 02:00:00 | 2026-01-01 03:00:00 | 0 | 0
         D | R3 | 2026-01-01 02:00:00 | 2026-01-01 03:00:00 | 0 | 0
         E | R2 | 2026-01-01 02:00:00 | 2026-01-01 08:00:00 | 7200 | 0",
    );
    assert_eq!((cell(&result, "objective", 0), cell(&result, "gap", 0)), ("0".into(), "0".into()));
}

#[test]
fn networks_waits_and_tools() {
    let operations = "
        order_id | operation_no | resource_id | duration_s | due
        A        | 10           | R2          | 3600       | 2026-01-01 02:00
        A        | 20           | R3          | 3600       | 2026-01-01 02:00
        B        | 10           | R2          | 3600       | 2026-01-01 02:30
        C        | 10           | R3          | 3600       | 2026-01-01 06:00";
    let result = schedule(&[
        ("operations", operations),
        ("calendars", CALENDARS),
        // A's operations run side by side, B half an hour after both
        (
            "precedence",
            "before_order_id | before_operation_no | after_order_id | after_operation_no | min_wait_s | max_wait_s
             -               | -                   | A              | 20                 | -          | -
             A               | 10                  | B              | -                  | 1800       | -
             A               | 20                  | B              | -                  | 1800       | 7200",
        ),
        ("needs", "order_id | operation_no | pool\nB | 10 | gauge\nC | 10 | gauge"),
        ("units", "unit_id | pool\nG1 | gauge"),
    ]);
    check(
        &result,
        &["order_id", "operation_no", "starts_at", "ends_at", "late_s"],
        "A | 10 | 2026-01-01 00:00:00 | 2026-01-01 01:00:00 | 0
         A | 20 | 2026-01-01 00:00:00 | 2026-01-01 01:00:00 | 0
         B | 10 | 2026-01-01 01:30:00 | 2026-01-01 02:30:00 | 0
         C | 10 | 2026-01-01 02:30:00 | 2026-01-01 03:30:00 | 0",
    );
    check(
        &result,
        &["reason"],
        "starts at once\nstarts at once\nwaits for A/20 until 2026-01-01 01:30:00\nG1 is with B/10 and is free from 2026-01-01 02:30:00",
    );
}

#[test]
fn weights_and_the_order_of_objectives() {
    // one of the two is late; the set-up is saved by doing the red ones together
    let operations = "
        order_id | operation_no | resource_id | duration_s | due              | priority | family | setup_s
        A        | 10           | R2          | 3600       | 2026-01-01 01:30 | 5        | red    | 1800
        B        | 10           | R2          | 3600       | 2026-01-01 01:30 | 2        | blue   | 1800
        C        | 10           | R2          | 3600       | -                | -        | red    | 1800";
    let plan = |settings| schedule(&[("operations", operations), ("calendars", CALENDARS), ("settings", settings)]);
    let shown = ["order_id", "starts_at", "weight", "late_s"];
    check(
        &plan("iterations | objective\n1000 | tardiness, setup"),
        &shown,
        "A | 2026-01-01 01:30:00 | 3 | 5400
         B | 2026-01-01 00:00:00 | 6 | 0
         C | 2026-01-01 03:00:00 | 2 | -",
    );
    let result = plan("iterations | objective\n1000 | setup, tardiness");
    assert_eq!(cell(&result, "objective", 0), "3600");
    let error = |settings: &str| {
        let error = decide(&Schedule, AS_OF, &[operations, CALENDARS, "", "", "", "", "", "", "", settings]).unwrap_err();
        error.to_string()
    };
    assert_eq!(
        error("objective\nlateness"),
        "schedule: input \"settings\", column \"objective\" is lateness in row number 1: write tardiness, makespan, setup, earliness, \
         stability: in order, or added up with whole weights, as in 10 tardiness + setup, makespan"
    );
}

#[test]
fn what_cannot_be_scheduled_is_reported_and_the_rest_is_scheduled() {
    let operations = "
        order_id | operation_no | resource_id | duration_s | setup_s | fixed_start      | fixed_end
        A        | 10           | R9          | 60         | -       | -                | -
        A        | 20           | R2          | 60         | -       | -                | -
        B        | 10           | -           | 60         | -       | -                | -
        C        | 10           | R2          | -60        | -       | -                | -
        D        | 10           | R2          | 60         | -       | -                | 2026-01-01 04:00
        E        | 10           | R1          | 60000      | -       | -                | -
        F        | 10           | R2          | -          | -       | -                | -
        G        | 10           | R2          | 60         | -1      | -                | -
        H        | 10           | R2          | 60         | -       | -                | -
        I        | 10           | R2          | 60         | -       | -                | -
        J        | 10           | R2          | 60         | -       | -                | -
        K        | 10           | R3          | 60         | -       | 2026-01-02 01:00 | 2026-01-02 02:00
        K        | 20           | R3          | 60         | -       | 2026-01-02 01:30 | 2026-01-02 03:00
        L        | 10           | R2          | 60         | -       | -                | -
        M        | 10           | R2          | 60         | -       | -                | -
        N        | 10           | R2          | 60         | -       | -                | -";
    let precedence = "
        before_order_id | before_operation_no | after_order_id | after_operation_no | min_wait_s | max_wait_s
        H               | 10                  | I              | 10                 | -          | -
        I               | 10                  | H              | 10                 | -          | -
        L               | 10                  | M              | 10                 | 60         | 30
        gone            | 10                  | N              | 10                 | 60         | 30";
    let needs = "order_id | operation_no | pool | count\nJ | 10 | welder | 2";
    let units = "unit_id | pool\nW1 | welder";
    let result = schedule(&[
        ("operations", operations),
        ("calendars", CALENDARS),
        ("precedence", precedence),
        ("needs", needs),
        ("units", units),
    ]);
    check(
        &result,
        &["order_id", "operation_no", "problem", "reason"],
        "A | 10 | calendar | no calendar for resource R9
         A | 20 | predecessor | A/10, which comes before it, cannot be scheduled
         B | 10 | resource | no resource
         C | 10 | duration | duration of -60 s is not between 0 and 100000000000
         D | 10 | frozen | fixed_end without fixed_start
         E | 10 | horizon | the calendar of R1 ends 2026-01-02 14:00:00 and has no room for it
         F | 10 | duration | duration is not known
         G | 10 | duration | set-up of -1 s is not between 0 and 100000000000
         H | 10 | cycle | it comes before itself: H/10 > I/10 > H/10
         I | 10 | cycle | it comes before itself: I/10 > H/10 > I/10
         J | 10 | unit | it needs 2 of welder, there are 1
         K | 10 | frozen | in progress or frozen: stays; it is fixed at a time when R3 has K/20
         K | 20 | frozen | in progress or frozen: stays; it is fixed at a time when R3 has K/10
         L | 10 | - | starts at once
         M | 10 | wait | wait of 60 to 30 s after L/10 is not possible
         N | 10 | - | resource R2 has L/10 first, until 2026-01-01 00:01:00",
    );
    let twice = "order_id | operation_no | resource_id | duration_s\nA | 10 | R2 | 60\nA | 10 | R2 | 60";
    let error = decide(&Schedule, AS_OF, &[twice, CALENDARS]).unwrap_err();
    assert_eq!(error.to_string(), "schedule: input \"operations\" has row order_id=A, resource_id=R2 twice");
}

#[test]
fn a_longest_wait_that_cannot_be_kept() {
    let operations = "
        order_id | operation_no | resource_id | duration_s | fixed_start      | fixed_end
        A        | 10           | R2          | 60         | 2026-01-01 00:00 | 2026-01-01 01:00
        A        | 20           | R1          | 60         | -                | -";
    let precedence =
        "before_order_id | before_operation_no | after_order_id | after_operation_no | max_wait_s\nA | 10 | A | 20 | 600";
    let result = schedule(&[("operations", operations), ("calendars", CALENDARS), ("precedence", precedence)]);
    check(
        &result,
        &["operation_no", "problem", "reason"],
        "10 | - | in progress or frozen: stays
         20 | wait | A/20 cannot start within 600 s after A/10",
    );
}

/// A recorded number of iterations is done again whatever the settings say.
#[test]
fn a_replay_does_what_was_recorded() {
    let row = |n: i64| format!("O{n} | 10 | R{} | {} | 2026-01-01 02:00 | {}\n", 2 + n % 2, 600 + n * 37 % 900, n * 7 % 5);
    let operations: String = (0..30).map(row).collect();
    let operations = format!("order_id | operation_no | resource_id | duration_s | due | weight\n{operations}");
    let settings = |iterations: i64| format!("seed | iterations\n7 | {iterations}");
    let tables = |settings: &str| -> Vec<RecordBatch> {
        let texts = [&operations, CALENDARS, "", "", "", "", "", "", "", settings];
        INPUTS.iter().zip(texts).map(|(input, text)| table(input, text)).collect()
    };
    let first = Schedule.decide(&tables(&settings(2_000)), &context(AS_OF)).unwrap();
    let done = Schedule.iterations(&first).unwrap();
    let replay = Context { iterations: Some(done), ..context(AS_OF) };
    assert_eq!(Schedule.decide(&tables(&settings(1)), &replay).unwrap(), first);
    // a limit that is over at once leaves the dispatching rule's plan, and says so
    let over = Context { elapsed: Some(std::sync::Arc::new(|| Duration::MAX)), ..context(AS_OF) };
    let limited = Schedule.decide(&tables(&settings(1_000_000_000)), &over).unwrap();
    assert!(Schedule.iterations(&limited).unwrap() < 1_000_000_000);
    assert!((0..limited.num_rows()).all(|row| cell(&limited, "starts_at", row) != "-"));
}

/// 20,000 operations on 100 resources over a year.
#[test]
fn a_large_shop() {
    let clock = |minutes: i64| instant(START + minutes * 60_000_000);
    let row = |n: i64| format!("O{} | {} | R{} | 3600 | {}\n", n / 5, n % 5, n * 7 % 100, clock(n * 20));
    let operations: String = (0..20_000).map(row).collect();
    let operations = format!("order_id | operation_no | resource_id | duration_s | due\n{operations}");
    let row = |n: i64| format!("R{} | {} | {}\n", n % 100, clock(n / 100 * 1_440), clock(n / 100 * 1_440 + 480));
    let calendars: String = (0..36_500).map(row).collect();
    let texts = [&operations, &calendars, "", "", "", "", "", "", "", "iterations\n100"];
    let batches: Vec<RecordBatch> = INPUTS.iter().zip(texts).map(|(input, text)| table(input, text)).collect();
    let begun = std::time::Instant::now();
    let result = Schedule.decide(&batches, &context(AS_OF)).unwrap();
    eprintln!("20,000 operations: {:?}", begun.elapsed());
    assert!(begun.elapsed().as_secs() < 60);
    assert!((0..result.num_rows()).all(|row| cell(&result, "starts_at", row) != "-"));
}
