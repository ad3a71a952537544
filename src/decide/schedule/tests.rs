//! Hand-worked schedules, an independent checker, and the published job-shop instances where they are at hand.

use std::collections::BTreeMap;
use std::path::Path;

use proptest::prelude::*;

use super::*;
use crate::decide::testing::{cell, check, context, decide, instant as at, show, table};

const AS_OF: &str = "2026-01-01";
const SHOWN: [&str; 5] = ["order_id", "operation_no", "starts_at", "ends_at", "waits_for"];
/// 06:00 to 14:00 on two days.
const CALENDARS: &str = "
    R1 | 2026-01-01 06:00 | 2026-01-01 14:00
    R1 | 2026-01-02 06:00 | 2026-01-02 14:00
    R2 | 2026-01-01 00:00 | 2026-01-05 00:00";

#[test]
fn two_orders_by_hand() {
    // A is due first but its material comes at 08:00; B fills the time before it
    let operations = "
        A | 10 | R1 | 14400 | 2026-01-01 08:00 | 2026-01-02 00:00 | 1 | - | - | - | -
        A | 20 | R2 | 3600 | - | 2026-01-02 00:00 | 1 | - | - | - | -
        B | 10 | R1 | 7200 | - | 2026-01-03 00:00 | 1 | - | - | - | -
        B | 20 | R1 | 10800 | - | 2026-01-03 00:00 | 1 | - | - | - | -
        C | 10 | R2 | 3600 | - | - | - | - | - | - | -";
    let result = decide(&Schedule, AS_OF, &[operations, CALENDARS]).unwrap();
    check(
        &result,
        &SHOWN,
        "A | 10 | 2026-01-01 08:00:00 | 2026-01-01 12:00:00 | material
         A | 20 | 2026-01-01 12:00:00 | 2026-01-01 13:00:00 | predecessor
         B | 10 | 2026-01-01 06:00:00 | 2026-01-01 08:00:00 | calendar
         B | 20 | 2026-01-01 12:00:00 | 2026-01-02 07:00:00 | resource
         C | 10 | 2026-01-01 00:00:00 | 2026-01-01 01:00:00 | none",
    );
    check(
        &result,
        &["order_ends_at", "late_s", "reason"],
        "2026-01-01 13:00:00 | 0 | waits for material until 2026-01-01 08:00:00
         2026-01-01 13:00:00 | 0 | waits for operation 10 until 2026-01-01 12:00:00
         2026-01-02 07:00:00 | 0 | resource R1 works again from 2026-01-01 06:00:00
         2026-01-02 07:00:00 | 0 | resource R1 has A/10 first, until 2026-01-01 12:00:00
         2026-01-01 01:00:00 | - | starts at once",
    );
}

#[test]
fn fixed_operations_stay_and_families_save_setup() {
    let operations = "
        A | 10 | R2 | 7200 | - | - | - | 2026-01-01 02:00 | 2026-01-01 04:00 | red | -
        B | 10 | R2 | 7200 | - | 2026-01-01 03:00 | - | - | - | red | 1800
        C | 10 | R2 | 5400 | - | 2026-01-02 00:00 | - | - | - | blue | 1800";
    let result = decide(&Schedule, AS_OF, &[operations, CALENDARS]).unwrap();
    // B is more urgent but needs 2:30 without A before it; C fits before A; after A, B needs no set-up
    check(
        &result,
        &SHOWN,
        "A | 10 | 2026-01-01 02:00:00 | 2026-01-01 04:00:00 | fixed
         B | 10 | 2026-01-01 04:00:00 | 2026-01-01 06:00:00 | resource
         C | 10 | 2026-01-01 00:00:00 | 2026-01-01 02:00:00 | none",
    );
    check(&result, &["late_s"], "-\n10800\n0");
}

#[test]
fn what_cannot_be_scheduled_is_reported() {
    let operations = "
        A | 10 | R9 | 60 | - | - | - | - | - | - | -
        A | 20 | R2 | 60 | - | - | - | - | - | - | -
        B | 10 | - | 60 | - | - | - | - | - | - | -
        C | 10 | R2 | -60 | - | - | - | - | - | - | -
        D | 10 | R2 | 60 | - | - | - | - | 2026-01-01 04:00 | - | -
        E | 10 | R1 | 60000 | - | - | - | - | - | - | -
        F | 10 | R2 | - | - | - | - | - | - | - | -";
    let result = decide(&Schedule, AS_OF, &[operations, CALENDARS]).unwrap();
    check(
        &result,
        &["order_id", "operation_no", "starts_at", "order_ends_at", "reason"],
        "A | 10 | - | - | no calendar for resource R9
         A | 20 | - | - | an operation before it cannot be scheduled
         B | 10 | - | - | no resource
         C | 10 | - | - | duration of -60 s is not between 0 and 100000000000
         D | 10 | - | - | fixed_end without fixed_start
         E | 10 | - | - | the calendar of R1 ends 2026-01-02 14:00:00 and has no room for it
         F | 10 | - | - | duration is not known",
    );
    let twice = "A | 10 | R2 | 60 | - | - | - | - | - | - | -\nA | 10 | R2 | 60 | - | - | - | - | - | - | -";
    let error = decide(&Schedule, AS_OF, &[twice, CALENDARS]).unwrap_err();
    assert_eq!(error.to_string(), "schedule: input \"operations\" has row order_id=A, resource_id=R2 twice");
}

fn cells(row: &str) -> Vec<String> {
    row.split(" | ").map(str::to_owned).collect()
}

fn optional(text: &str) -> Option<i64> {
    (text != "-").then(|| at(text))
}

/// Working time between two instants, counted minute by minute.
fn worked(calendars: &[String], resource: &str, from: i64, to: i64) -> i64 {
    let windows: Vec<(i64, i64)> =
        calendars.iter().map(|row| cells(row)).filter(|row| row[0] == resource).map(|row| (at(&row[1]), at(&row[2]))).collect();
    let minutes = (from / 60_000_000..to / 60_000_000).map(|minute| minute * 60_000_000);
    minutes.filter(|minute| windows.iter().any(|(start, end)| start <= minute && minute < end)).count() as i64 * 60_000_000
}

/// Checks a schedule of whole minutes, knowing nothing of how it was made.
fn validate(operations: &[String], calendars: &[String], result: &RecordBatch) -> Result<(), TestCaseError> {
    let mut busy: BTreeMap<String, Vec<(i64, i64, bool)>> = BTreeMap::new();
    let mut ends: BTreeMap<String, i64> = BTreeMap::new();
    let mut inputs: Vec<Vec<String>> = operations.iter().map(|row| cells(row)).collect();
    inputs.sort_by_key(|row| (row[0].clone(), row[1].parse::<i64>().unwrap()));
    prop_assert_eq!(inputs.len(), result.num_rows());
    for (row, input) in inputs.iter().enumerate() {
        let of = |name| cell(result, name, row);
        prop_assert_eq!((&of("order_id"), &of("operation_no")), (&input[0], &input[1]));
        let Some(start) = optional(&of("starts_at")) else {
            prop_assert!(!of("reason").is_empty());
            continue;
        };
        let end = at(&of("ends_at"));
        let fixed = optional(&input[7]).is_some();
        let before = ends.get(&input[0]).copied().unwrap_or(i64::MIN);
        if fixed {
            prop_assert_eq!((start, end), (at(&input[7]), at(&input[8])));
        } else {
            prop_assert!(start >= at("2026-01-01 00:00") && start >= optional(&input[4]).unwrap_or(i64::MIN));
            prop_assert!(start >= before, "{input:?} starts before the operation before it ends");
            let seconds = |text: &str| text.parse::<i64>().unwrap_or(0) * 1_000_000;
            let (work, setup) = (seconds(&input[3]), seconds(&input[10]));
            let spent = worked(calendars, &input[2], start, end);
            prop_assert!(spent == work + setup || (spent == work && input[9] != "-"), "{input:?} works {spent}");
        }
        ends.insert(input[0].clone(), before.max(end));
        busy.entry(input[2].clone()).or_default().push((start, end, fixed));
    }
    for (resource, mut slots) in busy {
        slots.sort_unstable();
        for pair in slots.windows(2) {
            prop_assert!(pair[0].1 <= pair[1].0 || (pair[0].2 && pair[1].2), "{resource} does two things at {}", pair[1].0);
        }
    }
    Ok(())
}

fn clock(minutes: i64) -> String {
    instant(at("2026-01-01 00:00") + minutes * 60_000_000)
}

fn maybe(text: Option<String>) -> String {
    text.unwrap_or_else(|| "-".into())
}

fn operation_rows() -> impl Strategy<Value = Vec<String>> {
    let options =
        (prop::option::of(0..900_i64), prop::option::of(0..2_000_i64), prop::option::of(1..4_i64), prop::option::of(0..2_i64));
    let one = (0..6, 0..4, 0..200_i64, options, prop::option::weighted(0.1, (0..30_i64, 1..40_i64)), 0..20_i64);
    prop::collection::vec(one, 0..25).prop_map(|rows| {
        let each = rows.into_iter().enumerate();
        each.map(|(n, (order, resource, minutes, (release, due, priority, family), fixed, setup))| {
            // fixed operations at different times, so that they do not overlap one another
            let fixed = fixed.map(|(start, length)| (n as i64 * 100 + start, n as i64 * 100 + start + length));
            let (start, end) = (fixed.map(|(start, _)| clock(start)), fixed.map(|(_, end)| clock(end)));
            let (release, due) = (maybe(release.map(clock)), maybe(due.map(clock)));
            let priority = maybe(priority.map(|priority| priority.to_string()));
            let family = maybe(family.map(|family| format!("F{family}")));
            let tail = format!("{priority} | {} | {} | {family} | {}", maybe(start), maybe(end), setup * 60);
            format!("O{order} | {n} | R{resource} | {} | {release} | {due} | {tail}", minutes * 60)
        })
        .collect()
    })
}

fn shop() -> impl Strategy<Value = [Vec<String>; 2]> {
    let windows = prop::collection::vec((0..3, 0..3_000_i64, 1..600_i64), 0..15);
    let calendars = windows.prop_map(|windows| {
        windows
            .iter()
            .map(|(resource, start, length)| format!("R{resource} | {} | {}", clock(*start), clock(start + length)))
            .collect()
    });
    (operation_rows(), calendars).prop_map(|(operations, calendars)| [operations, calendars])
}

fn run(tables: &[Vec<String>; 2]) -> RecordBatch {
    decide(&Schedule, AS_OF, &tables.clone().map(|rows| rows.join("\n")).each_ref().map(String::as_str)).unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, cases: 1_000, ..ProptestConfig::default() })]

    #[test]
    fn schedules_are_feasible(shop in shop()) {
        validate(&shop[0], &shop[1], &run(&shop))?;
    }

    #[test]
    fn the_order_of_rows_does_not_matter((shop, shuffled) in shop().prop_flat_map(|shop| {
        let [a, b] = shop.clone().map(|rows| Just(rows).prop_shuffle());
        (Just(shop), (a, b).prop_map(|(a, b)| [a, b]))
    })) {
        prop_assert_eq!(run(&shop), run(&shuffled));
    }
}

/// Job shops of Taillard with their best known makespans: feasible, and within twice the best.
#[test]
fn published_job_shops() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/data/jsp");
    for (name, best) in [("ta01", 1_231), ("ta11", 1_357), ("ta20", 1_348)] {
        let Ok(text) = std::fs::read_to_string(folder.join(format!("{name}.txt"))) else {
            eprintln!("skipped: there is no ../shared/data/jsp/{name}.txt");
            continue;
        };
        let shop = job_shop(&text);
        let result = run(&shop);
        validate(&shop[0], &shop[1], &result).unwrap();
        let ends = show(&result, &["ends_at"]);
        let makespan = ends.lines().map(at).max().map_or(0, |end| (end - at("2026-01-01 00:00")) / 60_000_000);
        eprintln!("{name}: makespan {makespan}, best known {best}, ratio {:.3}", makespan as f64 / best as f64);
        assert!(best <= makespan && makespan < 2 * best, "{name}: {makespan}");
    }
}

/// An instance, its time units as minutes.
fn job_shop(text: &str) -> [Vec<String>; 2] {
    let mut lines = text.lines().map(|line| line.split_whitespace().map(|n| n.parse().unwrap()).collect::<Vec<i64>>());
    let machines = lines.next().unwrap()[1];
    let jobs = lines.filter(|line| !line.is_empty()).enumerate();
    let operations = jobs.flat_map(|(job, line)| {
        let steps = line.chunks(2).enumerate();
        let row = |(step, pair): (usize, &[i64])| {
            format!("J{job} | {step} | M{} | {} | - | - | - | - | - | - | -", pair[0], pair[1] * 60)
        };
        steps.map(row).collect::<Vec<_>>()
    });
    let calendars = (0..machines).map(|machine| format!("M{machine} | {} | {}", clock(0), clock(10_000)));
    [operations.collect(), calendars.collect()]
}

/// 20,000 operations on 100 resources over a year: a twentieth of a second of one core.
#[test]
fn a_large_shop() {
    let row = |n: i64| format!("O{} | {} | R{} | 3600 | - | {} | - | - | - | - | -\n", n / 5, n % 5, n * 7 % 100, clock(n * 20));
    let operations: String = (0..20_000).map(row).collect();
    let row = |n: i64| format!("R{} | {} | {}\n", n % 100, clock(n / 100 * 1_440), clock(n / 100 * 1_440 + 480));
    let calendars: String = (0..36_500).map(row).collect();
    let inputs = Schedule.inputs();
    let batches = [table(&inputs[0], &operations), table(&inputs[1], &calendars)];
    let begun = std::time::Instant::now();
    let result = Schedule.decide(&batches, &context(AS_OF)).unwrap();
    eprintln!("20,000 operations: {:?}", begun.elapsed());
    assert!(begun.elapsed().as_secs() < 60);
    assert!((0..result.num_rows()).all(|row| cell(&result, "starts_at", row) != "-"));
}
