//! Selectors over the graph, and that a build does what its preview said.

use super::*;
use crate::project::Selector;

const TAGGED: [(&str, &str); 2] = [
    (
        "sql/scm/doubled.sql",
        "--! description = \"Twice\"\n--! tags = [\"nightly\", \"slow\"]\nselect status, items * 2 as items from scm.counts\n",
    ),
    ("sql/aps/late.sql", "--! description = \"X\"\n--! tags = [\"nightly\"]\nselect count(*) as n from scm.doubled, scm.today\n"),
];

fn chosen(texts: &str) -> String {
    let project = load(&folder(&TAGGED));
    let graph = Graph::new(&project).map_err(|errors| told(&errors)).unwrap();
    let selectors: Vec<Selector> = texts.split(' ').map(|text| Selector::parse(text).unwrap()).collect();
    match select(&graph, &project, &selectors, &[table("scm.counts")].into()) {
        Ok(tables) => tables.iter().map(ToString::to_string).collect::<Vec<_>>().join(" "),
        Err(error) => told(&[error]),
    }
}

#[test]
fn selectors_find_tables() {
    for (selectors, expected) in [
        ("scm", "scm.counts scm.doubled scm.sites scm.today"),
        ("scm.* !scm.s*", "scm.counts scm.doubled scm.today"),
        ("+scm.counts", "erp.items scm.counts xref.items"),
        ("scm.counts+", "aps.late scm.counts scm.doubled"),
        ("+scm.sites+", "erp.sites scm.sites"),
        ("changed+ xref", "aps.late scm.counts scm.doubled xref.items"),
        ("changed", "scm.counts"),
        ("tag:nightly", "aps.late scm.doubled"),
        ("tag:nightly !tag:slow", "aps.late"),
        ("!erp+", "xref.items"),
        ("erp.items+ !+aps.late", "outbox.requests write.crm__requests write.erp__requests"),
        ("write.*", "write.crm__requests write.erp__requests"),
        (
            "mapped",
            "selector \"mapped\": there is no schema or table \"mapped\"\n  hint: known schemas: aps, erp, outbox, scm, write, xref",
        ),
        ("scm !tag:nightli", "selector \"!tag:nightli\": there is no tag \"nightli\"\n  hint: did you mean \"nightly\"?"),
    ] {
        assert_eq!(chosen(selectors), expected, "{selectors}");
    }
}

#[test]
fn a_circle_is_shown_with_each_of_its_lines() {
    let counts = "--! description = \"Items\"\nselect status, 1 as items\nfrom aps.late, erp.items\n";
    let root = folder(&[TAGGED[0], TAGGED[1], ("sql/scm/counts.sql", counts)]);
    let Err(errors) = Graph::new(&load(&root)) else { panic!("no error") };
    insta::assert_snapshot!(told(&errors), @r"
    sql/aps/late.sql:3: these tables need one another: aps.late (sql/aps/late.sql:3) reads scm.doubled (sql/scm/doubled.sql:3) reads scm.counts (sql/scm/counts.sql:3) reads aps.late
      hint: break the circle; identity models (xref.*) read mapped.* tables, not contracts
    ");
    let text = "--! description = \"X\"\nselect *\nfrom scm.items";
    let misplaced = "sql/scm/sites.sql:3: unknown table scm.items\n  hint: did you mean erp.items?";
    assert_eq!(refused("sql/scm/sites.sql", text), misplaced, "the right name in the wrong schema");
}

/// What a preview says, in words, and what the build then did with each table.
async fn said_and_done(bench: &mut Bench, as_of: &str) -> BTreeMap<String, (String, ModelOutcome)> {
    let project = load(&bench.root);
    let graph = Graph::new(&project).map_err(|errors| told(&errors)).unwrap();
    let targets: Vec<TableName> = graph.nodes.iter().map(|node| node.table.clone()).collect();
    let versions =
        Versions { pinned: bench.pinned(&graph).await, current: bench.current(&graph).await, production: BTreeMap::new() };
    let said = preview(&project, &graph, &targets, as_of.parse().unwrap(), &versions).unwrap();
    let done = outcomes(&bench.build(as_of).await.unwrap().0);
    assert_eq!(said.len(), done.len());
    let words = |table: &TablePreview| {
        let causes: Vec<String> = table.causes.iter().map(ToString::to_string).collect();
        format!("{:?}: {}", table.action, causes.join(", "))
    };
    let both = |table: &TablePreview| {
        let outcome = done[&table.table].0;
        match table.action {
            Action::Build => assert_ne!(outcome, ModelOutcome::Skipped, "{table:?}"),
            Action::Skip | Action::Check => assert_eq!(outcome, ModelOutcome::Skipped, "{table:?}"),
            Action::Perhaps => {}
        }
        (table.table.clone(), (words(table), outcome))
    };
    said.iter().map(both).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_build_does_what_its_preview_said() {
    let mut bench = Bench::new().await;
    let first = said_and_done(&mut bench, "2026-03-04T05:06:07Z").await;
    assert!(first.values().all(|(said, _)| said == "Build: new"), "{first:?}");
    let again = said_and_done(&mut bench, "2026-03-04T06:06:07Z").await;
    assert!(again.values().all(|(said, _)| said == "Skip: "), "{again:?}");
    let is = |all: &BTreeMap<String, (String, ModelOutcome)>, table: &str| all[table].0.clone();

    let clock = said_and_done(&mut bench, "2026-03-05T06:06:07Z").await;
    assert_eq!(is(&clock, "scm.today"), "Build: the clock moved on");

    // A name changes, the counts do not: what reads them is only perhaps built, and then left alone.
    bench.land("raw.erp__parts", parts(&[("1", "A"), ("2", "A"), ("4", "X")])).await;
    let pulled = said_and_done(&mut bench, "2026-03-05T06:06:07Z").await;
    assert_eq!(is(&pulled, "erp.items"), "Build: input raw.erp__parts changed");
    assert_eq!(pulled["scm.counts"], ("Perhaps: input erp.items may change".into(), ModelOutcome::Same));
    assert_eq!(pulled["scm.doubled"], ("Perhaps: input scm.counts may change".into(), ModelOutcome::Skipped));
    assert_eq!(is(&pulled, "scm.sites"), "Skip: ");

    let path = "sql/scm/counts.sql";
    let text = PROJECT.iter().find(|(name, _)| *name == path).unwrap().1;
    write(bench.root.path(), path, &text.replace("items > 0", "items > -1").replace("select", "SELECT  "));
    let checked = said_and_done(&mut bench, "2026-03-05T06:06:07Z").await;
    assert_eq!(is(&checked, "scm.counts"), "Check: checks changed, or failed last time");
    assert_eq!(is(&checked, "scm.doubled"), "Skip: ");
    write(bench.root.path(), path, &text.replace("count(*)", "count(*) + 1"));
    let edited = said_and_done(&mut bench, "2026-03-05T06:06:07Z").await;
    assert_eq!(is(&edited, "scm.counts"), "Build: statement changed");

    // The statement of a map belongs to the contract that it fills.
    let path = "connectors/acme/erp.items.sql";
    let text = PROJECT.iter().find(|(name, _)| *name == path).unwrap().1;
    write(bench.root.path(), path, &text.replace("  name,", "  upper(name) as name,"));
    let mapped = said_and_done(&mut bench, "2026-03-05T06:06:07Z").await;
    assert_eq!(is(&mapped, "erp.items"), "Build: statement changed");
    assert_eq!(is(&mapped, "xref.items"), "Build: statement changed");
    assert_eq!(is(&mapped, "scm.counts"), "Perhaps: input erp.items may change");
}

#[tokio::test(flavor = "multi_thread")]
async fn only_edited_statements_are_changed() {
    let mut bench = Bench::new().await;
    bench.build("2026-03-04T05:06:07Z").await.unwrap();
    bench.land("raw.erp__parts", parts(&[("9", "A")])).await;
    let path = "sql/scm/doubled.sql";
    write(bench.root.path(), path, "--! description = \"Twice\"\nselect status, items * 3 as items from scm.counts\n");
    write(bench.root.path(), "sql/scm/fresh.sql", "--! description = \"New\"\nselect 1 as one from erp.sites\n");
    let project = load(&bench.root);
    let graph = Graph::new(&project).map_err(|errors| told(&errors)).unwrap();
    let found = changed(&project, &graph, &bench.current(&graph).await);
    assert_eq!(found, [table("scm.doubled"), table("scm.fresh")].into());
}
