//! Checks: what each kind finds, that changed ones run again, that met ones do not.

use super::*;

const COUNTS: &str = "sql/scm/counts.sql";
const AT: &str = "2026-03-04T05:06:07Z";

/// The header of a model of items by status with these checks.
fn counts(checks: &str) -> String {
    format!(
        "--! description = \"Items by status\"\n--! key = [\"status\"]\n--! checks = [{checks}]\nselect status, count(*) as items, date '2026-03-01' as day from erp.items group by status\n"
    )
}

/// What failed: severity, check, what was found, rows.
fn failed(built: &Built) -> Vec<String> {
    let told = |check: &FailedCheck| {
        let severity = if check.severity == Severity::Error { "error" } else { "warn" };
        let mut rows = lines(&check.sample);
        rows.sort();
        format!("{severity} {}: {} | {}", check.check, check.found, rows.join(" ; "))
    };
    built.failed_checks.iter().map(told).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn every_kind_of_check_finds_what_breaks_it() {
    let mut bench = Bench::new().await;
    write(
        bench.root.path(),
        "sql/scm/doubled.sql",
        "--! description = \"Twice\"\nselect status, count(*) * 2 as items from erp.items group by status union all select null, 2\n",
    );
    let query = "-- two\n--! severity = \"warn\"\nselect d.status, d.items, c.items as half from scm.doubled d join scm.counts c using (status) where d.items <> c.items\n";
    write(bench.root.path(), "sql/scm/counts.check.not_half.sql", query);
    let checks = r#""items > 1", { expression = "items < (select max(items) from scm.counts)", name = "not the most" }, { not_null = ["status", "items"] },
--!   { unique = "items" }, { accepted_values = { status = ["active", "gone"], items = [3, 1] } }, { references = { items = "scm.doubled" } },
--!   { references = { status = "erp.items.status" }, grace = "2d", since = "day" }, { rows = { min = 3, change = "10%" } },
--!   { freshness = { day = "2d" } }"#;
    write(bench.root.path(), COUNTS, &counts(checks));
    let (built, cut) = bench.build(AT).await.unwrap();
    assert!(cut.is_none());
    insta::assert_snapshot!(failed(&built).join("\n"), @r#"
    error items > 1: 1 row | inactive|1|2026-03-01
    error status is one of active, gone: 1 row | inactive|1|2026-03-01
    error rows: at least 3, within 10% of the last: there are 2 | 2|
    error day is at most 2d old: the newest is 2026-03-01 | 2026-03-01|2026-03-04T05:06:07Z
    error not the most: 1 row | active|3|2026-03-01
    error items is in scm.doubled: 2 rows | active|3|2026-03-01 ; inactive|1|2026-03-01
    warn not_half: 2 rows | active|6|3 ; inactive|2|1
    "#);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_check_runs_when_it_or_what_it_reads_changed_and_not_again() {
    let mut bench = Bench::new().await;
    let against = r#"{ references = { items = "scm.known" } }, "items > 0""#;
    write(bench.root.path(), "sql/scm/known.sql", "--! description = \"Known\"\nselect 3 as items union all select 1\n");
    write(bench.root.path(), COUNTS, &counts(against));
    let passed = |cut: &Cut| cut.tables[&table("scm.counts")];
    let (_, first) = bench.build(AT).await.unwrap();
    let (built, second) = bench.build(AT).await.unwrap();
    assert_eq!(passed(&first.unwrap()), passed(&second.unwrap()), "{:?}", outcomes(&built));

    // A check is added that is met: the table stays as it is, the next run knows that it was.
    write(bench.root.path(), COUNTS, &counts(&format!("{against}, \"items < 9\"")));
    let (built, third) = bench.build(AT).await.unwrap();
    assert_eq!(outcomes(&built)["scm.counts"], (ModelOutcome::Skipped, "nothing changed".into()));
    assert_eq!(outcomes(&built)["scm.doubled"], (ModelOutcome::Skipped, "nothing changed".into()));
    let third = third.unwrap();
    let version = bench.store.at(&table("scm.counts"), passed(&third)).await.unwrap();
    assert!(version.properties["loopline.checks"].contains("items_9"), "{:?}", version.properties);
    let (_, fourth) = bench.build(AT).await.unwrap();
    assert_eq!(passed(&third), passed(&fourth.unwrap()));

    // What it refers to changes, the table itself does not.
    write(bench.root.path(), "sql/scm/known.sql", "--! description = \"Known\"\nselect 3 as items\n");
    let (built, cut) = bench.build(AT).await.unwrap();
    assert!(cut.is_none());
    assert_eq!(outcomes(&built)["scm.counts"].0, ModelOutcome::Skipped);
    assert_eq!(failed(&built), ["error items is in scm.known: 1 row | inactive|1|2026-03-01"]);
    write(bench.root.path(), "sql/scm/known.sql", "--! description = \"Known\"\nselect 3 as items union all select 1\n");
    assert!(bench.build(AT).await.unwrap().1.is_some());
}

#[tokio::test(flavor = "multi_thread")]
async fn the_clock_makes_rows_old_and_a_run_may_lose_too_many() {
    let mut bench = Bench::new().await;
    write(bench.root.path(), COUNTS, &counts(r#"{ freshness = { day = "4d" } }, { rows = { change = "40%" } }"#));
    let first = bench.build(AT).await.unwrap().1.unwrap();
    let second = bench.build("2026-03-04T06:06:07Z").await.unwrap().1.unwrap();
    let counts = table("scm.counts");
    assert_eq!(first.tables[&counts], second.tables[&counts], "a check that runs each time makes no versions");
    let (built, cut) = bench.build("2026-03-05T05:06:07Z").await.unwrap();
    assert!(cut.is_none());
    assert_eq!(failed(&built), ["error day is at most 4d old: the newest is 2026-03-01 | 2026-03-01|2026-03-05T05:06:07Z"]);
    bench.land("raw.erp__parts", parts(&[("1", "A"), ("2", "A")])).await;
    let (built, _) = bench.build(AT).await.unwrap();
    assert_eq!(failed(&built), ["error rows: within 40% of the last: there are 1, before 2 | 1|2"]);
}

#[tokio::test]
async fn wrong_checks_are_told_with_their_line() {
    let mut told_all = vec![];
    for checks in [
        r#""items >""#,
        r#""select * from scm.counts""#,
        r#""items in (select item_id from erp.items)""#,
        r#"{ expresion = "items > 0" }"#,
        r#"{ unique = "status", not_null = "status" }"#,
        r#"{ unique = "stauts" }"#,
        r#"{ freshness = { status = "1d" } }"#,
        r#"{ freshness = { day = "1 day" } }"#,
        r#"{ references = { status = "erp.itmes" } }"#,
        r#"{ references = { status = "items" } }"#,
        r#"{ references = { status = "erp.items" } }"#,
        r#"{ references = { status = "erp.items.status" }, severity = "error" }"#,
        r#"{ references = { status = "erp.items.status" }, grace = "1d" }"#,
        r#"{ rows = { change = 20 } }"#,
        r#"{ rows = {} }"#,
        r#"{ accepted_values = { status = "active" } }"#,
        r#""items + 1""#,
        r#""items > 'a'""#,
    ] {
        let root = folder(&[(COUNTS, &counts(checks))]);
        let told = match Project::load(root.path()) {
            Err(errors) => {
                errors.iter().map(|error| format!("{error}\n  hint: {:?}", error.hint())).collect::<Vec<_>>().join("\n")
            }
            Ok(project) => match Graph::new(&project) {
                Err(errors) => told(&errors),
                Ok(graph) => {
                    graph.check(&project, &BTreeMap::new()).await.map_or_else(|errors| told(&errors), |()| "no error".into())
                }
            },
        };
        told_all.push(format!("{checks}\n{told}"));
    }
    insta::assert_snapshot!(told_all.join("\n"), @r#"
    "items >"
    sql/scm/counts.sql:3: check "items >" is not a condition: Expected: an expression, found: EOF
      hint: None
    "select * from scm.counts"
    sql/scm/counts.sql:3: check "select * from scm.counts" is not a condition: Expected: EOF, found: scm
      hint: Some("a query of failing rows is a file: sql/<schema>/<table>.check.<name>.sql")
    "items in (select item_id from erp.items)"
    sql/scm/counts.sql:3: check "items in (select item_id from erp.items)": a condition sees its own table only, not erp.items
      hint: write { references = { column = "schema.table" } }, or a query of failing rows in a file: <table>.check.<name>.sql
    { expresion = "items > 0" }
    sql/scm/counts.sql:3: checks: unknown key "expresion"
      hint: Some("did you mean \"expression\"?")
    { unique = "status", not_null = "status" }
    sql/scm/counts.sql:3: checks: a check is of one kind
      hint: Some("write one of expression, not_null, unique, accepted_values, references, rows, freshness; each check has its own { … }")
    { unique = "stauts" }
    sql/scm/counts.sql:3: check "(stauts) is unique": unknown column stauts
      hint: did you mean status?
    { freshness = { status = "1d" } }
    sql/scm/counts.sql:3: check "status is at most 1d old": status is text; its age is known of a date or an instant only
    { freshness = { day = "1 day" } }
    sql/scm/counts.sql:3: checks: freshness of day: "1 day" is not a duration (a whole number and s, m, h or d: 30s, 5m, 2h, 1d)
      hint: None
    { references = { status = "erp.itmes" } }
    sql/scm/counts.sql:3: unknown table erp.itmes
      hint: did you mean erp.items?
    { references = { status = "items" } }
    sql/scm/counts.sql:3: checks: "items" is not a table or column
      hint: Some("write status = \"erp.items\", or \"erp.items.item_id\" where the column is called otherwise")
    { references = { status = "erp.items" } }
    no error
    { references = { status = "erp.items.status" }, severity = "error" }
    sql/scm/counts.sql:3: checks: a reference to erp.items, which systems fill, stops no run
      hint: Some("leave severity out: the check warns; a model of the gaps may have a check of its own")
    { references = { status = "erp.items.status" }, grace = "1d" }
    sql/scm/counts.sql:3: checks: grace needs an instant to count from
      hint: Some("add since = \"a column that says when the row came to be\"")
    { rows = { change = 20 } }
    sql/scm/counts.sql:3: checks, rows: "change" must be text, not an integer
      hint: None
    { rows = {} }
    sql/scm/counts.sql:3: checks, rows: no limit is given
      hint: Some("write { min = 1 }, { max = 1000 } or { change = \"20%\" }")
    { accepted_values = { status = "active" } }
    sql/scm/counts.sql:3: checks: "status" must be a list of values, not text
      hint: Some("write status = [\"active\"]")
    "items + 1"
    sql/scm/counts.sql:3: check "items + 1": it is bigint, not a condition
      hint: compare it with something
    "items > 'a'"
    sql/scm/counts.sql:3: check "items > 'a'": 'a' is no bigint
    "#);
}
