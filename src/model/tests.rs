//! A small project over a store in a temporary folder: what is built, skipped, refused; and the SQL that content relies on.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Array, RecordBatch, StringArray};
use arrow::util::display::array_value_to_string;
use futures::StreamExt;

use super::*;
use crate::base::Diagnose;
use crate::project::{Project, Severity};
use crate::store::{Cut, Landing};

const PROJECT: [(&str, &str); 12] = [
    (
        "loopline.toml",
        "strategy = \"order-driven\"\nstore = \"./.loopline\"\n\n[systems.crm]\nconnector = \"acme\"\nurl = \"sqlite:crm.db\"\nmax_age = \"2h\"\n\n[systems.erp]\nconnector = \"acme\"\nurl = \"sqlite:erp.db\"\nmax_age = \"2h\"\n",
    ),
    (
        "connectors/acme/connector.toml",
        "protocol = \"sql\"\n\n[stream.parts]\nkey = [\"id\"]\n\n[stream.orders]\nkey = [\"id\"]\n\n[write.requests]\nresource = \"orders\"\nkey = [\"id\"]\noperations = [\"update\"]\n",
    ),
    (
        "connectors/acme/erp.items.sql",
        "-- the map of items\nselect\n  parts.id as item_id,\n  name,\n  case state when 'A' then 'active' when 'X' then 'inactive' end as status,\n  cast(id as text) as source_id\nfrom parts\n",
    ),
    (
        "connectors/acme/write.requests.sql",
        "select r.request_id as id, o.qty, r._reason from outbox.requests r join orders o on o.id = r.request_id\n",
    ),
    (
        "sql/erp/items.sql",
        "-- One row per item.\ncreate table items (\n  item_id text not null references xref.items, -- own key\n  name text, -- text\n  status text not null, -- active, inactive\n  primary key (item_id)\n);\n",
    ),
    (
        "sql/erp/sites.sql",
        "-- No product keeps these.\ncreate table sites (\n  site_id text not null, -- key\n  primary key (site_id)\n);\n",
    ),
    (
        "sql/xref/items.sql",
        "--! description = \"Who is who\"\n--! key = [\"system\", \"source_key\"]\nselect system, item_id as source_key, case system when 'erp' then item_id else system || ':' || item_id end as hub_id, 'rule' as rule, 1.0 as score\nfrom mapped.erp__items where system <> 'mes'\n",
    ),
    (
        "sql/scm/counts.sql",
        "--! description = \"Items by status\"\n--! key = [\"status\"]\n--! checks = [\"items > 0\"]\nselect status, count(*) as items from erp.items group by status\n",
    ),
    ("sql/scm/doubled.sql", "--! description = \"Twice\"\nselect status, items * 2 as items from scm.counts\n"),
    (
        "sql/scm/today.sql",
        "--! description = \"The day\"\n--! clock = \"day\"\nselect current_date as day, now() as at, count(*) as items from erp.items\n",
    ),
    (
        "sql/outbox/requests.sql",
        "--! description = \"Wanted\"\n--! key = [\"request_id\"]\nselect system, source_item_id as request_id, 'why' as _reason from erp.items\n",
    ),
    ("sql/scm/sites.sql", "--! description = \"Sites\"\nselect site_id from erp.sites\n"),
];

fn write(root: &Path, path: &str, text: &str) {
    let path = root.join(path);
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(path, text).unwrap();
}

/// The project, with some files otherwise.
fn folder(changes: &[(&str, &str)]) -> tempfile::TempDir {
    let root = tempfile::tempdir().unwrap();
    for (path, text) in PROJECT.iter().chain(changes) {
        write(root.path(), path, text);
    }
    root
}

fn load(root: &tempfile::TempDir) -> Project {
    Project::load(root.path()).unwrap()
}

fn refused(path: &str, text: &str) -> String {
    let errors = match Graph::new(&load(&folder(&[(path, text)]))) {
        Ok(_) => return "no error".into(),
        Err(errors) => errors,
    };
    told(&errors)
}

fn told(errors: &[ModelError]) -> String {
    let line = |error: &ModelError| match error.hint() {
        Some(hint) => format!("{error}\n  hint: {hint}"),
        None => error.to_string(),
    };
    errors.iter().map(line).collect::<Vec<_>>().join("\n")
}

fn table(name: &str) -> TableName {
    name.parse().unwrap()
}

fn text(values: &[Option<&str>]) -> ArrayRef {
    Arc::new(StringArray::from(values.to_vec()))
}

fn parts(rows: &[(&str, &str)]) -> RecordBatch {
    let column =
        |pick: fn(&(&str, &str)) -> String| Arc::new(StringArray::from(rows.iter().map(pick).collect::<Vec<_>>())) as ArrayRef;
    let names = column(|row| format!("part {}", row.0));
    RecordBatch::try_from_iter([("id", column(|row| row.0.into())), ("name", names), ("state", column(|row| row.1.into()))])
        .unwrap()
}

fn orders(ids: &[&str]) -> RecordBatch {
    let quantities: ArrayRef = Arc::new(Int64Array::from(vec![7; ids.len()]));
    RecordBatch::try_from_iter([("id", text(&ids.iter().map(|id| Some(*id)).collect::<Vec<_>>())), ("qty", quantities)]).unwrap()
}

struct Quiet;

impl Progress for Quiet {
    fn model(&self, _: &ModelRun, _: usize, _: usize) {}
}

/// A store with its lease, and the runs on it.
struct Bench {
    root: tempfile::TempDir,
    store: Store,
    _lease: crate::store::Lease,
    pulls: i64,
}

impl Bench {
    async fn new() -> Self {
        let root = folder(&[]);
        let store = Store::open(&load(&root)).await.unwrap();
        let lease = store.control.lease().unwrap();
        let mut bench = Self { root, store, _lease: lease, pulls: 0 };
        bench.land("raw.erp__parts", parts(&[("1", "A"), ("2", "A"), ("3", "X")])).await;
        bench.land("raw.crm__parts", parts(&[("c1", "A")])).await;
        bench.land("raw.erp__orders", orders(&["1", "3"])).await;
        bench.land("raw.crm__orders", orders(&[])).await;
        bench
    }

    async fn land(&mut self, name: &str, batch: RecordBatch) {
        self.pulls += 1;
        let landing = Landing {
            table: table(name),
            pull: self.pulls,
            key: vec!["id".into()],
            whole: true,
            allow_mass_delete: true,
            at: crate::base::time::now(),
            cursor: Box::new(|| None),
            schema: batch.schema(),
            batches: futures::stream::iter([Ok(batch)]).boxed(),
        };
        self.store.land(landing).await.unwrap();
    }

    async fn build(&mut self, as_of: &str) -> Result<(Built, Option<Cut>), ModelError> {
        let project = load(&self.root);
        let graph = Graph::new(&project).map_err(|errors| panic!("{}", told(&errors))).unwrap();
        let targets: Vec<TableName> =
            graph.nodes.iter().filter(|node| node.kind != NodeKind::Mapped).map(|node| node.table.clone()).collect();
        let mut pinned = BTreeMap::new();
        for input in graph.nodes.iter().flat_map(|node| &node.inputs).filter(|input| input.schema == "raw") {
            pinned.extend(self.store.latest(input).await.unwrap().map(|version| (input.clone(), version)));
        }
        let mut current = BTreeMap::new();
        for (name, version) in self.store.cut().await.unwrap().map(|cut| cut.tables).unwrap_or_default() {
            if graph.node(&name).is_some() {
                current.insert(name.clone(), self.store.at(&name, version).await.unwrap());
            }
        }
        let raw: BTreeMap<TableName, u64> = pinned.iter().map(|(name, version)| (name.clone(), version.version)).collect();
        let as_of: Instant = as_of.parse().unwrap();
        let run = self.store.control.start_run("test", as_of).unwrap();
        let context =
            BuildContext { store: &self.store, run, as_of, pinned, current, memory_limit_bytes: project.memory_limit_bytes };
        let mut built = build(&project, &graph, &targets, context, &Quiet).await?;
        if built.failed_checks.iter().any(|check| check.severity == Severity::Error) {
            return Ok((built, None));
        }
        let unchanged = built.unchanged.clone().into_iter().chain(raw).collect();
        let cut = self.store.publish(run, as_of, std::mem::take(&mut built.staged), unchanged).await.unwrap();
        Ok((built, Some(cut)))
    }

    async fn rows(&self, cut: &Cut, sql: &str) -> Vec<String> {
        let project = load(&self.root);
        let reader = Reader::new(&project, &self.store, cut).await.unwrap();
        let (batches, _) = reader.query(sql, 100).await.map_err(|error| panic!("{}", told(&[error]))).unwrap();
        batches.iter().flat_map(lines).collect()
    }
}

fn lines(batch: &RecordBatch) -> Vec<String> {
    let cell = |column: &ArrayRef, row: usize| array_value_to_string(column, row).unwrap();
    (0..batch.num_rows())
        .map(|row| batch.columns().iter().map(|column| cell(column, row)).collect::<Vec<_>>().join("|"))
        .collect()
}

fn outcomes(built: &Built) -> BTreeMap<String, (ModelOutcome, String)> {
    built.models.iter().map(|run| (run.table.clone(), (run.outcome, run.reason.clone()))).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn contracts_are_filled_and_models_built() {
    let mut bench = Bench::new().await;
    let (built, cut) = bench.build("2026-03-04T05:06:07Z").await.unwrap();
    let cut = cut.unwrap();
    assert!(built.failed_checks.is_empty(), "{:?}", built.failed_checks);
    let items =
        bench.rows(&cut, "select system, item_id, source_item_id, status, source_id, deleted from erp.items order by 1, 2").await;
    assert_eq!(
        items,
        ["crm|crm:c1|c1|active|c1|false", "erp|1|1|active|1|false", "erp|2|2|active|2|false", "erp|3|3|inactive|3|false"]
    );
    assert_eq!(bench.rows(&cut, "select * from scm.doubled order by status").await, ["active|6", "inactive|2"]);
    assert_eq!(bench.rows(&cut, "select * from scm.today").await, ["2026-03-04|2026-03-04T00:00:00Z|4"]);
    assert_eq!(bench.rows(&cut, "select count(*) from erp.sites").await, ["0"]);
    assert_eq!(bench.rows(&cut, "select * from write.erp__requests order by id").await, ["1|7|why", "3|7|why"]);
    assert_eq!(bench.rows(&cut, "select count(*) from write.crm__requests").await, ["0"]);
    assert_eq!(bench.rows(&cut, "select system, item_id from mapped.erp__items where system = 'crm'").await, ["crm|c1"]);
    assert_eq!(bench.rows(&cut, "select now()").await, ["2026-03-04T05:06:07Z"]);
    let columns = "select column_name from information_schema.columns where table_name = 'counts' order by ordinal_position";
    assert_eq!(bench.rows(&cut, columns).await, ["status", "items"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn only_what_may_change_is_built() {
    let mut bench = Bench::new().await;
    bench.build("2026-03-04T05:06:07Z").await.unwrap();
    let (built, _) = bench.build("2026-03-04T09:00:00Z").await.unwrap();
    assert!(built.models.iter().all(|run| run.outcome == ModelOutcome::Skipped), "{:?}", outcomes(&built));

    // The next day only what looks at the clock is built.
    let (built, _) = bench.build("2026-03-05T09:00:00Z").await.unwrap();
    let changed: Vec<_> = outcomes(&built).into_iter().filter(|(_, (outcome, _))| *outcome != ModelOutcome::Skipped).collect();
    assert_eq!(changed, [("scm.today".into(), (ModelOutcome::Built, "the clock moved on".into()))]);

    // A name changes, the counts do not: what reads the counts is left alone.
    bench.land("raw.crm__parts", parts(&[("c1", "A"), ("c2", "X")])).await;
    bench.land("raw.erp__parts", parts(&[("1", "A"), ("2", "A")])).await;
    let (built, _) = bench.build("2026-03-05T09:00:00Z").await.unwrap();
    let outcomes_now = outcomes(&built);
    assert_eq!(outcomes_now["scm.counts"], (ModelOutcome::Same, "input erp.items changed".into()));
    assert_eq!(outcomes_now["scm.doubled"], (ModelOutcome::Skipped, "nothing changed".into()));

    // Comments and white space are no change; another expression is.
    let path = "sql/scm/doubled.sql";
    write(bench.root.path(), path, "--! description = \"Two\"\n-- more\nselect status,\n  items * 2 as items from scm.counts\n");
    let (built, _) = bench.build("2026-03-05T09:00:00Z").await.unwrap();
    assert!(built.models.iter().all(|run| run.outcome == ModelOutcome::Skipped), "{:?}", outcomes(&built));
    write(bench.root.path(), path, "--! description = \"Two\"\nselect status, items * 3 as items from scm.counts\n");
    let (built, _) = bench.build("2026-03-05T09:00:00Z").await.unwrap();
    assert_eq!(outcomes(&built)["scm.doubled"], (ModelOutcome::Built, "statement changed".into()));
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_that_break_a_contract_stop_the_run() {
    let mut bench = Bench::new().await;
    bench.land("raw.erp__parts", parts(&[("1", "A"), ("2", "?")])).await;
    let (built, cut) = bench.build("2026-03-04T05:06:07Z").await.unwrap();
    assert!(cut.is_none());
    let [failed] = built.failed_checks.as_slice() else { panic!("{:?}", built.failed_checks) };
    assert_eq!((failed.table.to_string(), failed.check.as_str(), failed.rows), ("erp.items".into(), "status is not null", 1));
    assert_eq!(lines(&failed.sample), ["erp|2|part 2||2|2|||false"]);
    // What reads the failed table is not built.
    assert!(!built.models.iter().any(|run| run.table == "scm.counts"));
}

#[tokio::test(flavor = "multi_thread")]
async fn header_checks_hold_back_a_run() {
    let mut bench = Bench::new().await;
    bench.build("2026-03-04T05:06:07Z").await.unwrap();
    // A check that is added later is run although the rows did not change.
    let text = PROJECT.iter().find(|(path, _)| *path == "sql/scm/counts.sql").unwrap().1.replace("items > 0", "items > 1");
    write(bench.root.path(), "sql/scm/counts.sql", &text);
    let (built, cut) = bench.build("2026-03-04T05:06:07Z").await.unwrap();
    assert!(cut.is_none());
    assert_eq!(outcomes(&built)["scm.counts"].0, ModelOutcome::Skipped);
    let [failed] = built.failed_checks.as_slice() else { panic!("{:?}", built.failed_checks) };
    assert_eq!((failed.check.as_str(), lines(&failed.sample)), ("items > 1", vec!["inactive|1".to_owned()]));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_that_was_never_pulled_is_named() {
    let root = folder(&[]);
    let store = Store::open(&load(&root)).await.unwrap();
    let lease = store.control.lease().unwrap();
    let mut bench = Bench { root, store, _lease: lease, pulls: 0 };
    let error = bench.build("2026-03-04T05:06:07Z").await.map(|_| ()).unwrap_err();
    insta::assert_snapshot!(told(&[error]), @r#"
    connectors/acme/erp.items.sql: system crm, stream parts: raw.crm__parts does not exist yet
      hint: pull it first: loopline pull crm
    "#);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reader_only_reads() {
    let mut bench = Bench::new().await;
    let cut = bench.build("2026-03-04T05:06:07Z").await.unwrap().1.unwrap();
    let project = load(&bench.root);
    let reader = Reader::new(&project, &bench.store, &cut).await.unwrap();
    let mut told_all = vec![];
    for sql in [
        "drop table erp.items",
        "create external table x stored as csv location '/etc/passwd'",
        "copy (select 1) to '/tmp/x.csv'",
        "insert into erp.items values (1)",
        "select * from '/etc/passwd'",
        "select * from \"/etc/passwd\"",
        "select * from erp.itmes",
        "select\n  item_nr from erp.items",
        "select 1; select 2",
        "set datafusion.execution.target_partitions = 1",
        "select * from scm.counts join scm.doubled on true where status = 'x'",
    ] {
        let error = reader.query(sql, 10).await.map(|_| ()).unwrap_err();
        told_all.push(format!("{} => {}", sql.replace('\n', " "), told(&[error])));
    }
    insta::assert_snapshot!(told_all.join("\n"), @r#"
    drop table erp.items => query, line 1: this is not a select
      hint: write one select, and nothing else
    create external table x stored as csv location '/etc/passwd' => query, line 1: this is not a select
      hint: write one select, and nothing else
    copy (select 1) to '/tmp/x.csv' => query, line 1: this is not a select
      hint: write one select, and nothing else
    insert into erp.items values (1) => query, line 1: this is not a select
      hint: write one select, and nothing else
    select * from '/etc/passwd' => query, line 1: unknown table /etc/passwd
      hint: a table's name has two parts: schema.name
    select * from "/etc/passwd" => query, line 1: unknown table /etc/passwd
      hint: a table's name has two parts: schema.name
    select * from erp.itmes => query, line 1: run 1 made no table erp.itmes
      hint: did you mean erp.items?
    select   item_nr from erp.items => query, line 2: unknown column item_nr
      hint: did you mean item_id?
    select 1; select 2 => query, line 1: there are 2 statements in it
      hint: write one select, and nothing else
    set datafusion.execution.target_partitions = 1 => query, line 1: this is not a select
      hint: write one select, and nothing else
    select * from scm.counts join scm.doubled on true where status = 'x' => query, line 1: column status is in several tables
      hint: write which table's: t.column
    "#);
    let (rows, more) = reader.query("select * from erp.items", 2).await.unwrap();
    assert_eq!((rows.iter().map(RecordBatch::num_rows).sum::<usize>(), more), (2, true));
}

#[test]
fn statements_are_checked_when_the_graph_is_made() {
    let model = |text: &str| refused("sql/scm/doubled.sql", &format!("--! description = \"x\"\n{text}\n"));
    let told_all = [
        model("select 1 as a from erp.itmes"),
        model("select * from raw.erp__parts"),
        model("select * from write.erp__requests"),
        model("select now() as at"),
        model("select * from mrp((select 1))"),
        model("select * from mpr('erp.items')"),
        model("select status from scm.doubled"),
        refused(
            "sql/xref/items.sql",
            "--! description = \"x\"\n--! key = [\"system\", \"source_key\"]\nselect system, item_id as source_key, item_id as hub_id from erp.items\n",
        ),
        refused("connectors/acme/erp.items.sql", "select id as item_id from part"),
        refused("connectors/acme/erp.items.sql", "select id as item_id from erp.items"),
        refused("connectors/acme/erp.items.sql", "select id as item_id, now() as changed_at from parts"),
    ];
    insta::assert_snapshot!(told_all.join("\n"), @r#"
    sql/scm/doubled.sql:2: unknown table erp.itmes
      hint: did you mean erp.items?
    sql/scm/doubled.sql:2: raw.erp__parts: only maps read raw tables
      hint: read the contract that it is mapped to
    sql/scm/doubled.sql:2: write.erp__requests: nothing reads the results of write maps
      hint: read the outbox model
    sql/scm/doubled.sql:2: scm.doubled uses the clock without declaring it
      hint: say how often that changes the rows, at the top of the file: --! clock = "day" (minute, hour, day or month)
    sql/scm/doubled.sql:2: mrp, argument 1: (SELECT 1) is not the name of a table
      hint: mrp takes names of tables as text: mrp('schema.table', …); put a query into a model of its own
    sql/scm/doubled.sql:2: unknown table function mpr
      hint: there are: mrp, net_requirements, atp, schedule, trace, generate_series, range, unnest
    sql/scm/doubled.sql:2: these tables need one another: scm.doubled reads scm.doubled
      hint: break the circle; identity models (xref.*) read mapped.* tables, not contracts
    sql/xref/items.sql:3: these tables need one another: erp.items reads xref.items reads erp.items
      hint: break the circle; identity models (xref.*) read mapped.* tables, not contracts
    connectors/acme/erp.items.sql:1: unknown stream part
      hint: did you mean parts? streams are declared in connector.toml
    connectors/acme/erp.items.sql:1: a map reads only its own streams, not erp.items
      hint: a bare name is a stream: from stream_name
    connectors/acme/erp.items.sql:1: a map may not use the clock
      hint: use the clock in a model instead: a map yields what the source says
    "#);
}

async fn planned(path: &str, body: &str) -> String {
    let project = load(&folder(&[(path, body)]));
    let graph = Graph::new(&project).map_err(|errors| panic!("{}", told(&errors))).unwrap();
    let schemas = [
        ("raw.erp__parts", parts(&[]).schema()),
        ("raw.crm__parts", parts(&[]).schema()),
        ("raw.erp__orders", orders(&[]).schema()),
    ];
    let raw = schemas.into_iter().map(|(name, schema)| (table(name), schema)).collect();
    graph.check(&project, &raw).await.map(|()| "no error".to_owned()).unwrap_or_else(|errors| told(&errors))
}

#[tokio::test]
async fn columns_and_types_are_checked_without_rows() {
    let map = "connectors/acme/erp.items.sql";
    let model = "sql/scm/doubled.sql";
    let mut told_all = vec![planned(model, PROJECT[8].1).await];
    for (path, body) in [
        (map, "select id as item_id, name as label, 'x' as status from parts"),
        (map, "select\n  id as item_id, name,\n  1 as status\nfrom parts"),
        (map, "select id as item_id, nmae as name, 'x' as status from parts"),
        (map, "select id as item_id, name, 'x' as status, '2026-01-01' as changed_at from parts"),
        (model, "--! description = \"x\"\nselect\n  sttus\nfrom erp.items"),
        (model, "--! description = \"x\"\nselect count(*) from erp.items"),
        (model, "--! description = \"x\"\nselect status, status from erp.items"),
        (model, "--! description = \"x\"\nselect null as a from erp.items"),
        (model, "--! description = \"x\"\nselect cast('2026-01-01' as timestamp) as a from erp.items"),
        (model, "--! description = \"x\"\n--! key = [\"stats\"]\nselect status from erp.items"),
        (model, "--! description = \"x\"\n--! checks = [\"stats = 'a'\"]\nselect status from erp.items"),
        (model, "--! description = \"x\"\n--! clock = \"day\"\nselect * from mrp('erp.items')"),
        (model, "--! description = \"x\"\nselect * from trace('erp.items')"),
        (model, "--! description = \"x\"\nselect status + 1 as a from erp.items where status = date '2026-01-01'"),
        (
            "connectors/acme/write.requests.sql",
            "select request_id as idd, 1 as quantity from outbox.requests join orders on true",
        ),
    ] {
        told_all.push(format!("{}\n{}", body.replace('\n', " "), planned(path, body).await));
    }
    insta::assert_snapshot!(told_all.join("\n"), @r#"
    no error
    select id as item_id, name as label, 'x' as status from parts
    connectors/acme/erp.items.sql:1: column label is not in contract erp.items (sql/erp/items.sql)
    connectors/acme/erp.items.sql:1: column name of contract erp.items (sql/erp/items.sql:4) is missing
      hint: if the product has no such field: cast(null as text) as name
    select   id as item_id, name,   1 as status from parts
    connectors/acme/erp.items.sql:3: column status is bigint, but contract erp.items says text
      hint: cast it where no value can be lost: cast(status as text)
    select id as item_id, nmae as name, 'x' as status from parts
    connectors/acme/erp.items.sql:1: unknown column nmae
      hint: did you mean name?
    select id as item_id, name, 'x' as status, '2026-01-01' as changed_at from parts
    connectors/acme/erp.items.sql:1: column changed_at is text, but contract erp.items says timestamp with time zone
      hint: cast it: cast(changed_at as timestamp(6) with time zone)
    --! description = "x" select   sttus from erp.items
    sql/scm/doubled.sql:3: unknown column sttus
      hint: did you mean status?
    --! description = "x" select count(*) from erp.items
    sql/scm/doubled.sql:2: column 1 has no name: count(*)
      hint: name it: … as name
    --! description = "x" select status, status from erp.items
    sql/scm/doubled.sql:2: Projections require unique expression names but the expression "erp.items.status" at position 0 and "erp.items.status" at position 1 have the same name. Consider aliasing ("AS") one of them.
    --! description = "x" select null as a from erp.items
    sql/scm/doubled.sql:2: column a is null, which no table holds
      hint: give it a type: cast(null as text)
    --! description = "x" select cast('2026-01-01' as timestamp) as a from erp.items
    sql/scm/doubled.sql:2: column a is timestamp without time zone, which no table holds
      hint: an instant needs a zone: … at time zone 'UTC' (or its own), or cast it to a date
    --! description = "x" --! key = ["stats"] select status from erp.items
    sql/scm/doubled.sql:1: the header's key names stats, which the statement does not yield
      hint: did you mean status?
    --! description = "x" --! checks = ["stats = 'a'"] select status from erp.items
    sql/scm/doubled.sql:2: check "stats = 'a'": unknown column stats
      hint: did you mean status?
    --! description = "x" --! clock = "day" select * from mrp('erp.items')
    sql/scm/doubled.sql:3: mrp, tables: 5 are needed, 1 named
      hint: mrp('demand', 'supply', 'items', 'bom', 'proposals')
    --! description = "x" select * from trace('erp.items')
    sql/scm/doubled.sql:2: trace, tables: 2 are needed, 1 named
      hint: trace('links', 'seeds')
    --! description = "x" select status + 1 as a from erp.items where status = date '2026-01-01'
    sql/scm/doubled.sql:2: Cannot coerce arithmetic expression Utf8 + Int64 to valid types
    select request_id as idd, 1 as quantity from outbox.requests join orders on true
    connectors/acme/write.requests.sql:1: key in connector.toml names id, which the statement does not yield
      hint: did you mean idd?
    connectors/acme/write.requests.sql:1: stream orders has no column idd
      hint: did you mean id?
    connectors/acme/write.requests.sql:1: stream orders has no column quantity
    "#);
}

/// What one expression yields, with its type.
async fn value(expression: &str) -> String {
    let body = format!(
        "--! description = \"x\"\n--! clock = \"day\"\nselect {expression} as v from (select date '2026-03-29' as d, timestamp '2026-03-29T01:30:00' as t, cast(7 as decimal(18,6)) as q, cast(0.1 as decimal(18,6)) as p, cast('2026-03-28T23:30:00Z' as timestamp(6) with time zone) as z, 3 as i) s"
    );
    let project = load(&folder(&[("sql/scm/doubled.sql", &body)]));
    let graph = Graph::new(&project).map_err(|errors| panic!("{}", told(&errors))).unwrap();
    let as_of = "2026-03-04T05:06:07Z".parse().unwrap();
    match evaluate(&project, &graph, &table("scm.doubled"), &BTreeMap::new(), as_of).await {
        Ok(batch) => format!("{expression} = {} {}", lines(&batch).join(";"), batch.schema().field(0).data_type()),
        Err(error) => {
            let cause = std::error::Error::source(&error).map(|cause| format!(" ({cause})")).unwrap_or_default();
            format!("{expression}: {}{cause}", told(&[error]).lines().next().unwrap())
        }
    }
}

#[tokio::test]
async fn sql_means_what_models_rely_on() {
    let mut told_all = vec![];
    for expression in [
        "t at time zone 'Europe/Berlin'",
        "(cast('2026-07-01T12:00:00' as timestamp)) at time zone 'America/New_York'",
        "z at time zone 'Europe/Berlin'",
        "cast(z at time zone 'Europe/Berlin' as date)",
        "cast(z as date)",
        "date_trunc('day', z)",
        "date_trunc('day', z at time zone 'Europe/Berlin')",
        "cast(d as timestamp(6) with time zone)",
        "cast(t as timestamp(6) with time zone)",
        "now()",
        "now() - interval '30 days'",
        "current_date + 7",
        "current_date - interval '1 month'",
        "current_date + interval '1 day' * i",
        "current_date - d",
        "d - interval '1 day'",
        "date_part('day', now() - z)",
        "extract(epoch from now() - z)",
        "extract(epoch from (now() - z)) / 86400",
        "extract(isodow from d)",
        "extract(week from d)",
        "to_char(d, '%G-W%V')",
        "date_bin(interval '7 days', z)",
        "q * p",
        "q / 3",
        "q / p",
        "q * 1.5",
        "q * 0.1",
        "cast(q * 0.1 as decimal(18,6))",
        "q + i",
        "sum(q)",
        "avg(q)",
        "sum(i)",
        "count(*)",
        "7 / 2",
        "7 / 2.0",
        "cast(7 as double) / 0",
        "7 / 0",
        "q / 0",
        "i / nullif(0, 0)",
        "round(q / 3, 2)",
        "ceil(q / 3)",
        "floor(q)",
        "greatest(q, 8)",
        "coalesce(null, q)",
        "cast('12.3456789' as decimal(18,6))",
        "cast('abc' as decimal(18,6))",
        "cast('1e3' as decimal(18,6))",
        "cast('99999999999999' as decimal(18,6))",
        "cast('2026-02-30' as date)",
        "cast('20260203' as date)",
        "cast(1e20 as bigint)",
        "to_timestamp(1767225600)",
        "to_timestamp_micros(1767225600000000)",
        "arrow_cast(to_timestamp(1767225600), 'Timestamp(Microsecond, Some(\"UTC\"))')",
        "lpad(cast(i as text), 5, '0')",
        "split_part('a-b', '-', 2)",
        "regexp_replace('A-01', '[^0-9]', '')",
        "'a' || null",
        "concat('a', null, 'b')",
        "string_agg('a', ',')",
        "stddev(q)",
        "approx_percentile_cont(q, 0.9)",
        "row_number() over (order by i)",
        "sum(q) over (order by d rows between unbounded preceding and current row)",
        "lag(q) over (order by d)",
        "case i when 1 then 'a' end",
        "i in (1, 2, null)",
        "'ABC' ilike 'a%'",
        "md5('a')",
        "i is distinct from null",
        "bool_and(i = 3)",
        "array_agg(i)",
        "power(2, 10)",
        "abs(cast(-1.5 as double))",
        "mod(7, 4)",
        "7 % 4",
    ] {
        told_all.push(value(expression).await);
    }
    insta::assert_snapshot!(told_all.join("\n"), @r#"
    t at time zone 'Europe/Berlin' = 2026-03-29T00:30:00Z Timestamp(µs, "UTC")
    (cast('2026-07-01T12:00:00' as timestamp)) at time zone 'America/New_York' = 2026-07-01T16:00:00Z Timestamp(µs, "UTC")
    z at time zone 'Europe/Berlin' = 2026-03-28T23:30:00Z Timestamp(µs, "UTC")
    cast(z at time zone 'Europe/Berlin' as date) = 2026-03-29 Date32
    cast(z as date) = 2026-03-28 Date32
    date_trunc('day', z) = 2026-03-28T00:00:00Z Timestamp(µs, "UTC")
    date_trunc('day', z at time zone 'Europe/Berlin') = 2026-03-28T23:00:00Z Timestamp(µs, "UTC")
    cast(d as timestamp(6) with time zone) = 2026-03-29T00:00:00Z Timestamp(µs, "UTC")
    cast(t as timestamp(6) with time zone) = 2026-03-29T01:30:00Z Timestamp(µs, "UTC")
    now() = 2026-03-04T00:00:00Z Timestamp(µs, "UTC")
    now() - interval '30 days' = 2026-02-02T00:00:00Z Timestamp(µs, "UTC")
    current_date + 7 = 2026-03-11 Date32
    current_date - interval '1 month' = 2026-02-04 Date32
    current_date + interval '1 day' * i: sql/scm/doubled.sql:3: Cannot get result type for temporal operation Interval(MonthDayNano) * Int64: Invalid argument error: Invalid interval arithmetic operation: Interval(MonthDayNano) * Interval(MonthDayNano)
    current_date - d = -25 Int64
    d - interval '1 day' = 2026-03-28 Date32
    date_part('day', now() - z) = -24 Int32
    extract(epoch from now() - z) = -2158200.0 Float64
    extract(epoch from (now() - z)) / 86400 = -24.979166666666668 Float64
    extract(isodow from d) = 7 Int32
    extract(week from d) = 13 Int32
    to_char(d, '%G-W%V') = 2026-W13 Utf8
    date_bin(interval '7 days', z) = 2026-03-26T00:00:00Z Timestamp(µs, "UTC")
    q * p = 0.700000000000 Decimal128(37, 12)
    q / 3 = 2.3333333333 Decimal128(22, 10)
    q / p = 70.0000000000 Decimal128(28, 10)
    q * 1.5 = 10.5 Float64
    q * 0.1 = 0.7000000000000001 Float64
    cast(q * 0.1 as decimal(18,6)) = 0.700000 Decimal128(18, 6)
    q + i = 10.000000 Decimal128(27, 6)
    sum(q) = 7.000000 Decimal128(28, 6)
    avg(q) = 7.0000000000 Decimal128(22, 10)
    sum(i) = 3 Int64
    count(*) = 1 Int64
    7 / 2 = 3 Int64
    7 / 2.0 = 3.5 Float64
    cast(7 as double) / 0 = inf Float64
    7 / 0: sql/scm/doubled.sql: scm.doubled failed while it ran (Arrow error: Divide by zero error)
    q / 0: sql/scm/doubled.sql: scm.doubled failed while it ran (Arrow error: Divide by zero error)
    i / nullif(0, 0) =  Int64
    round(q / 3, 2) = 2.33 Decimal128(22, 2)
    ceil(q / 3) = 3.0000000000 Decimal128(22, 10)
    floor(q) = 7.000000 Decimal128(18, 6)
    greatest(q, 8) = 8.000000 Decimal128(26, 6)
    coalesce(null, q) = 7.000000 Decimal128(18, 6)
    cast('12.3456789' as decimal(18,6)) = 12.345679 Decimal128(18, 6)
    cast('abc' as decimal(18,6)): sql/scm/doubled.sql: scm.doubled failed while it ran (Optimizer rule 'simplify_expressions' failed
    caused by
    Arrow error: Cast error: Cannot cast string 'abc' to value of Decimal128(38, 10) type)
    cast('1e3' as decimal(18,6)): sql/scm/doubled.sql: scm.doubled failed while it ran (Optimizer rule 'simplify_expressions' failed
    caused by
    Arrow error: Cast error: Cannot cast string '1e3' to value of Decimal128(38, 10) type)
    cast('99999999999999' as decimal(18,6)): sql/scm/doubled.sql: scm.doubled failed while it ran (Optimizer rule 'simplify_expressions' failed
    caused by
    Arrow error: Invalid argument error: 99999999999999.000000 is too large to store in a Decimal128 of precision 18. Max is 999999999999.999999)
    cast('2026-02-30' as date): sql/scm/doubled.sql: scm.doubled failed while it ran (Optimizer rule 'simplify_expressions' failed
    caused by
    Arrow error: Cast error: Cannot cast string '2026-02-30' to value of Date32 type)
    cast('20260203' as date) = 2026-02-03 Date32
    cast(1e20 as bigint): sql/scm/doubled.sql: scm.doubled failed while it ran (Optimizer rule 'simplify_expressions' failed
    caused by
    Arrow error: Cast error: Can't cast value 1e20 to type Int64)
    to_timestamp(1767225600) = 2026-01-01T00:00:00Z Timestamp(µs, "UTC")
    to_timestamp_micros(1767225600000000) = 2026-01-01T00:00:00Z Timestamp(µs, "UTC")
    arrow_cast(to_timestamp(1767225600), 'Timestamp(Microsecond, Some("UTC"))') = 2026-01-01T00:00:00Z Timestamp(µs, "UTC")
    lpad(cast(i as text), 5, '0') = 00003 Utf8
    split_part('a-b', '-', 2) = b Utf8
    regexp_replace('A-01', '[^0-9]', '') = -01 Utf8
    'a' || null =  Utf8
    concat('a', null, 'b') = ab Utf8
    string_agg('a', ',') = a Utf8
    stddev(q) =  Float64
    approx_percentile_cont(q, 0.9) = 7.0 Float64
    row_number() over (order by i) = 1 Int64
    sum(q) over (order by d rows between unbounded preceding and current row) = 7.000000 Decimal128(28, 6)
    lag(q) over (order by d) =  Decimal128(18, 6)
    case i when 1 then 'a' end =  Utf8
    i in (1, 2, null) =  Boolean
    'ABC' ilike 'a%' = true Boolean
    md5('a'): sql/scm/doubled.sql:3: Invalid function 'md5'.
    i is distinct from null = true Boolean
    bool_and(i = 3) = true Boolean
    array_agg(i): sql/scm/doubled.sql:3: column v is List(Int64), which no table holds
    power(2, 10) = 1024.0 Float64
    abs(cast(-1.5 as double)) = 1.5 Float64
    mod(7, 4): sql/scm/doubled.sql:3: Invalid function 'mod'.
    7 % 4 = 3 Int64
    "#);
}
