//! Where columns come from, statement by statement.

use super::*;

/// A statement, and the origins of its columns: `=` as it is, `~` transformed, `+` aggregated; after `|` what decides its rows.
const CASES: [(&str, &str); 24] = [
    ("select name from erp.items", "name =erp.items.name"),
    ("select name as n, cast(name as text) as c from erp.items", "n =erp.items.name; c =erp.items.name"),
    ("select upper(name) as n, 1 as one from erp.items", "n ~erp.items.name; one"),
    ("select name from erp.items where status = 'active'", "name =erp.items.name | erp.items.status"),
    (
        "select s, m from (select status as s, max(name) as m from erp.items group by status) as t",
        "s =erp.items.status; m +erp.items.name | erp.items.status",
    ),
    ("select count(*) as n from erp.items", "n"),
    (
        "select status from erp.items group by status having max(name) > 'a'",
        "status =erp.items.status | erp.items.name, erp.items.status",
    ),
    (
        "select i.name, d.items from erp.items as i join scm.doubled as d on d.status = i.status",
        "name =erp.items.name; items =scm.doubled.items | erp.items.status, scm.doubled.status",
    ),
    (
        "select i.name from erp.items as i left join scm.doubled as d using (status)",
        "name =erp.items.name | erp.items.status, scm.doubled.status",
    ),
    (
        "select name from erp.items where status in (select status from scm.counts)",
        "name =erp.items.name | erp.items.status, scm.counts.status",
    ),
    (
        "select name from erp.items as i where exists (select 1 as one from scm.counts as c where c.status = i.status)",
        "name =erp.items.name | erp.items.status, scm.counts.status",
    ),
    ("select name, (select max(items) from scm.counts) as most from erp.items", "name =erp.items.name; most +scm.counts.items"),
    (
        "select name, (select max(c.items) from scm.counts as c where c.status = i.status) as most from erp.items as i",
        "name =erp.items.name; most ~erp.items.status, +scm.counts.items, ~scm.counts.status",
    ),
    ("select name from erp.items union all select status from scm.counts", "name =erp.items.name, =scm.counts.status"),
    (
        "select name, row_number() over (partition by status order by item_id) as nth from erp.items",
        "name =erp.items.name; nth +erp.items.item_id, +erp.items.status",
    ),
    (
        "select case when status = 'active' then name else item_id end as n from erp.items",
        "n ~erp.items.item_id, ~erp.items.name, ~erp.items.status",
    ),
    ("with c as (select status as s from erp.items), d as (select s || 'x' as t from c) select t from d", "t ~erp.items.status"),
    ("select name from erp.items order by status limit 3", "name =erp.items.name | erp.items.status"),
    ("select name from erp.items order by status", "name =erp.items.name"),
    ("select distinct name from erp.items", "name =erp.items.name"),
    (
        "with recursive walk as (select item_id as at, 1 as depth from erp.items union all select d.status as at, depth + 1 as depth from walk join scm.doubled as d on d.status = walk.at where depth < 3) select at, depth from walk",
        "at =erp.items.item_id, =scm.doubled.status; depth | erp.items.item_id, scm.doubled.status",
    ),
    (
        "select a.name, b.name as other from erp.items as a cross join erp.items as b",
        "name =erp.items.name; other =erp.items.name",
    ),
    ("select unnest(make_array(name, status)) as part from erp.items", "part ~erp.items.name, ~erp.items.status"),
    ("select coalesce(sum(items), 0) as n from scm.counts", "n +scm.counts.items"),
];

fn described(table: &TableLineage) -> String {
    let sign = |how: &How| match how {
        How::Identity => '=',
        How::Transformation => '~',
        How::Aggregation => '+',
    };
    let column = |column: &ColumnLineage| {
        let origins: Vec<String> = column.origins.iter().map(|(origin, how)| format!("{}{origin}", sign(how))).collect();
        format!("{} {}", column.name, origins.join(", ")).trim().to_owned()
    };
    let columns = table.columns.iter().map(column).collect::<Vec<_>>().join("; ");
    let rows = table.rows.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
    if rows.is_empty() { columns } else { format!("{columns} | {rows}") }
}

async fn lineage(files: &[(&str, &str)]) -> Lineage {
    let project = load(&folder(files));
    let graph = Graph::new(&project).map_err(|errors| told(&errors)).unwrap();
    let raw = ["crm", "erp"].into_iter().flat_map(|system| {
        [
            (table(&format!("raw.{system}__parts")), parts(&[]).schema()),
            (table(&format!("raw.{system}__orders")), orders(&[]).schema()),
        ]
    });
    Lineage::new(&project, &graph, &raw.collect()).await.unwrap()
}

#[tokio::test]
async fn columns_are_followed_through_every_kind_of_statement() {
    let files: Vec<(String, String)> = CASES
        .iter()
        .enumerate()
        .map(|(at, (sql, _))| (format!("sql/scm/case_{at}.sql"), format!("--! description = \"A case\"\n{sql}\n")))
        .collect();
    let files: Vec<(&str, &str)> = files.iter().map(|(path, text)| (path.as_str(), text.as_str())).collect();
    let lineage = lineage(&files).await;
    assert!(lineage.unknown.is_empty(), "{:?}", lineage.unknown);
    let found = |at: usize| described(lineage.table(&table(&format!("scm.case_{at}"))).unwrap());
    let wrong: Vec<String> = CASES
        .iter()
        .enumerate()
        .filter(|(at, (_, expected))| found(*at) != *expected)
        .map(|(at, (sql, expected))| format!("{sql}\n  found    {}\n  expected {expected}", found(at)))
        .collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[tokio::test]
async fn a_field_is_followed_from_its_source_to_the_write() {
    let lineage = lineage(&[]).await;
    let column = |name: &str| name.parse::<ColumnName>().unwrap();
    let names = |name: &str, way| {
        let mut names = std::collections::BTreeSet::new();
        lineage.follow(&column(name), way).names(&mut names);
        names.iter().map(ToString::to_string).collect::<Vec<_>>()
    };
    // The write map of each of the two systems that run the product takes the requests of both.
    let downstream = names("raw.erp__parts.id", Way::Downstream);
    for reached in [
        "mapped.erp__items.item_id",
        "xref.items.hub_id",
        "erp.items.item_id",
        "erp.items.source_item_id",
        "outbox.requests.request_id",
        "write.erp__requests.id",
    ] {
        assert!(downstream.contains(&reached.to_owned()), "{reached} is not in {downstream:?}");
    }
    let upstream = names("scm.doubled.items", Way::Upstream);
    assert_eq!(upstream, ["scm.counts.items", "scm.doubled.items"]); // a count is made of rows, not of a column
    assert!(lineage.decides(&column("raw.erp__parts.state")).contains(&table("scm.counts")));
    // A column that is handed on keeps its description.
    assert_eq!(lineage.column(&column("scm.counts.status")).unwrap().description, "active, inactive");
    assert_eq!(lineage.table(&table("erp.items")).unwrap().description, "One row per item.");
    let TableKind::Write { system, resource } = &lineage.table(&table("write.erp__requests")).unwrap().kind else { panic!() };
    assert_eq!((system.as_str(), resource.as_str()), ("erp", "orders"));
}

#[tokio::test]
async fn what_is_not_known_says_so() {
    let project = load(&folder(&[]));
    let graph = Graph::new(&project).unwrap_or_else(|_| panic!());
    let lineage = Lineage::new(&project, &graph, &BTreeMap::new()).await.unwrap();
    assert!(lineage.unknown.contains(&table("mapped.erp__items")));
    let told = |name: &str| {
        let error = lineage.find(name).unwrap_err();
        format!("{error}; {}", error.hint().unwrap_or_default())
    };
    insta::assert_snapshot!(told("mapped.erp__items"), @"there is no table or column mapped.erp__items whose lineage is known; something that it reads was never pulled, or its statement is wrong: loopline check");
    insta::assert_snapshot!(told("scm.count.items"), @"there is no table or column scm.count.items whose lineage is known; did you mean scm.counts.items?");
    insta::assert_snapshot!(told("scm.coutns"), @"there is no table or column scm.coutns whose lineage is known; did you mean scm.counts?");
}
