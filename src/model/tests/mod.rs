//! A small project over a store in a temporary folder: what is built, skipped, refused; and the SQL that content relies on.

mod checks;
mod lineage;
mod preview;
mod running;
mod statements;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Array, RecordBatch, StringArray};
use arrow::util::display::array_value_to_string;
use futures::StreamExt;

use super::*;
use crate::base::Diagnose;
use crate::project::{Project, Severity};
use crate::store::{Cut, Landing, LandingScope};

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

pub(super) fn write(root: &Path, path: &str, text: &str) {
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

pub(super) fn told(errors: &[ModelError]) -> String {
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

/// A store with its lease, and the runs on it.
struct Bench {
    root: tempfile::TempDir,
    store: Store,
    _lease: crate::store::Lease,
    pulls: i64,
    memory_limit_bytes: usize,
}

impl Bench {
    async fn new() -> Self {
        let root = folder(&[]);
        let store = Store::open(&load(&root)).await.unwrap();
        let lease = store.control.lease().unwrap();
        let mut bench = Self { root, store, _lease: lease, pulls: 0, memory_limit_bytes: 1 << 30 };
        bench.land("raw.erp__parts", parts(&[("1", "A"), ("2", "A"), ("3", "X")])).await;
        bench.land("raw.crm__parts", parts(&[("c1", "A")])).await;
        bench.land("raw.erp__orders", orders(&["1", "3"])).await;
        bench.land("raw.crm__orders", orders(&[])).await;
        bench
    }

    async fn land(&mut self, name: &str, batch: RecordBatch) {
        self.pulls += 1;
        let landing = Landing {
            scope: LandingScope::Whole,
            allow_mass_delete: true,
            ..Landing::new(
                table(name),
                self.pulls,
                vec!["id".into()],
                crate::base::time::now(),
                batch.schema(),
                vec![futures::stream::iter([Ok(batch)]).boxed()],
            )
        };
        self.store.land(landing).await.unwrap();
    }

    async fn pinned(&self, graph: &Graph) -> BTreeMap<TableName, TableVersion> {
        let mut pinned = BTreeMap::new();
        for input in graph.nodes.iter().flat_map(|node| &node.inputs).filter(|input| input.schema == "raw") {
            pinned.extend(self.store.latest(input).await.unwrap().map(|version| (input.clone(), version)));
        }
        pinned
    }

    async fn current(&self, graph: &Graph) -> BTreeMap<TableName, TableVersion> {
        let mut current = BTreeMap::new();
        for (name, version) in self.store.cut().await.unwrap().map(|cut| cut.tables).unwrap_or_default() {
            if graph.node(&name).is_some() {
                current.insert(name.clone(), self.store.at(&name, version).await.unwrap());
            }
        }
        current
    }

    async fn build(&mut self, as_of: &str) -> Result<(Built, Option<Cut>), ModelError> {
        self.build_told(as_of, &Quiet).await
    }

    async fn build_told(&mut self, as_of: &str, progress: &dyn Progress) -> Result<(Built, Option<Cut>), ModelError> {
        let project = load(&self.root);
        let graph = Graph::new(&project).map_err(|errors| panic!("{}", told(&errors))).unwrap();
        let targets: Vec<TableName> =
            graph.nodes.iter().filter(|node| node.kind != NodeKind::Mapped).map(|node| node.table.clone()).collect();
        let (pinned, current) = (self.pinned(&graph).await, self.current(&graph).await);
        let raw: BTreeMap<TableName, u64> = pinned.iter().map(|(name, version)| (name.clone(), version.version)).collect();
        let as_of: Instant = as_of.parse().unwrap();
        let run = self.store.control.start_run("test", as_of).unwrap();
        let memory_limit_bytes = self.memory_limit_bytes;
        let beside = Beside::Nothing;
        let context = BuildContext { store: &self.store, run, as_of, pinned, current, memory_limit_bytes, full: false, beside };
        let mut built = build(&project, &graph, &targets, context, progress).await?;
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

pub(super) fn lines(batch: &RecordBatch) -> Vec<String> {
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
    let mut bench = Bench { root, store, _lease: lease, pulls: 0, memory_limit_bytes: 1 << 30 };
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
      hint: write the select alone: a model's table is named by its file and made by the hub
    create external table x stored as csv location '/etc/passwd' => query, line 1: this is not a select
      hint: write the select alone: a model's table is named by its file and made by the hub
    copy (select 1) to '/tmp/x.csv' => query, line 1: this is not a select
      hint: write the select alone: a model's table is named by its file and made by the hub
    insert into erp.items values (1) => query, line 1: this is not a select
      hint: write the select alone: a model's table is named by its file and made by the hub
    select * from '/etc/passwd' => query, line 1: a statement reads no files: '/etc/passwd'
      hint: files are a stream of a connector; a statement reads tables
    select * from "/etc/passwd" => query, line 1: unknown table /etc/passwd
      hint: a table's name has two parts: schema.name
    select * from erp.itmes => query, line 1: run 1 made no table erp.itmes
      hint: did you mean erp.items?
    select   item_nr from erp.items => query, line 2: unknown column item_nr
      hint: did you mean item_id?
    select 1; select 2 => query, line 1: there are 2 statements in it
      hint: write one select, and nothing else
    set datafusion.execution.target_partitions = 1 => query, line 1: this is not a select
      hint: write the select alone: a model's table is named by its file and made by the hub
    select * from scm.counts join scm.doubled on true where status = 'x' => query, line 1: column status is in several tables
      hint: write which table's: t.column
    "#);
    let (rows, more) = reader.query("select * from erp.items", 2).await.unwrap();
    assert_eq!((rows.iter().map(RecordBatch::num_rows).sum::<usize>(), more), (2, true));
}
