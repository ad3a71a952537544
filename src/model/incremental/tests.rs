//! Incremental builds beside full ones, over random histories of two tables and statements of every kind.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use arrow::array::{ArrayRef, Date32Array, Int64Array, RecordBatch, StringArray};
use arrow::compute::concat_batches;
use futures::{StreamExt, TryStreamExt};
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::{Config, TestRunner};

use crate::base::TableName;
use crate::base::time::Instant;
use crate::model::Quiet;
use crate::model::tests::{lines, told, write};
use crate::model::{Beside, BuildContext, Graph, NodeKind, build, evaluate};
use crate::project::Project;
use crate::store::{Cut, Landing, LandingScope, Lease, Store};

const PROJECT: [(&str, &str); 7] = [
    (
        "loopline.toml",
        "strategy = \"order-driven\"\nstore = \"./.loopline\"\n\n[systems.erp]\nconnector = \"acme\"\nurl = \"sqlite:erp.db\"\nmax_age = \"2h\"\n",
    ),
    (
        "connectors/acme/connector.toml",
        "protocol = \"sql\"\n\n[stream.orders]\nkey = [\"id\"]\n\n[stream.parts]\nkey = [\"id\"]\n",
    ),
    (
        "connectors/acme/erp.orders.sql",
        "select id as order_id, customer as customer_id, part as item_id, day, qty as quantity, cast(id as text) as source_id from orders",
    ),
    ("connectors/acme/erp.items.sql", "select id as item_id, class, price from parts where price is null or price > 0"),
    (
        "sql/erp/orders.sql",
        "create table orders (\n  order_id text not null,\n  customer_id text,\n  item_id text references xref.items,\n  day date,\n  quantity bigint,\n  primary key (order_id)\n);",
    ),
    (
        "sql/erp/items.sql",
        "create table items (\n  item_id text not null references xref.items,\n  class text,\n  price bigint,\n  primary key (item_id)\n);",
    ),
    (
        "sql/xref/items.sql",
        "--! description = \"Who is who\"\n--! key = [\"system\", \"source_key\"]\n--! incremental = { by = \"key\" }\nselect system, item_id as source_key, coalesce(class, '?') || item_id as hub_id, 'rule' as rule, 1.0 as score from mapped.erp__items",
    ),
];

/// How a model must have been built at least once, and never otherwise.
#[derive(Clone, Copy, PartialEq)]
enum Expected {
    Incremental,
    Full,
}
use Expected::{Full, Incremental};

/// Name, key, how it is built, statement. `day` alone as key: by interval.
const MODELS: [(&str, &str, Expected, &str); 21] = [
    (
        "filtered",
        "customer_id",
        Incremental,
        "select customer_id, count(*) as n, sum(quantity) as q, max(day) as latest from erp.orders where quantity > 2 and customer_id is not null group by customer_id",
    ),
    (
        "by_class",
        "class",
        Incremental,
        "select i.class, count(*) as n, sum(o.quantity * i.price) as value from erp.orders o join erp.items i on o.item_id = i.item_id where i.class is not null group by i.class",
    ),
    (
        "by_customer_and_class",
        "customer_id, class",
        Incremental,
        "select o.customer_id, i.class, count(*) as n from erp.orders o join erp.items i on o.item_id = i.item_id where o.customer_id is not null and i.class is not null group by o.customer_id, i.class",
    ),
    (
        "per_item",
        "item_id",
        Incremental,
        "select i.item_id, count(o.order_id) as n, max(o.day) as latest from erp.orders o right join erp.items i on o.item_id = i.item_id group by i.item_id",
    ),
    (
        "lines",
        "order_id",
        Incremental,
        "select o.order_id, o.customer_id, i.class, i.price * o.quantity as value from erp.orders o left join erp.items i on i.item_id = o.item_id",
    ),
    (
        "ranked",
        "customer_id, order_id",
        Incremental,
        "select customer_id, order_id, row_number() over (partition by customer_id order by order_id) as nth, sum(quantity) over (partition by customer_id order by order_id) as so_far from erp.orders where customer_id is not null",
    ),
    (
        "first_only",
        "customer_id",
        Incremental,
        "with n as (select *, row_number() over (partition by customer_id order by day desc nulls last, order_id) as nth from erp.orders) select customer_id, order_id, day from n where nth = 1 and customer_id is not null",
    ),
    (
        "both",
        "kind, id",
        Incremental,
        "select 'customer' as kind, customer_id as id, count(*) as n from erp.orders where customer_id is not null group by customer_id union all select 'item', item_id, sum(price) from erp.items group by item_id",
    ),
    ("chained", "n", Incremental, "select n, count(*) as customers, sum(q) as q from scm.filtered group by n"),
    (
        "chained_twice",
        "customer_id",
        Incremental,
        "select f.customer_id, f.q, c.customers from scm.filtered f join scm.chained c on c.n = f.n",
    ),
    (
        "with_a",
        "customer_id",
        Incremental,
        "select customer_id, count(*) as n from erp.orders where customer_id is not null and item_id in (select item_id from erp.items where class = 'a') group by customer_id",
    ),
    (
        "without_a",
        "order_id",
        Incremental,
        "select order_id, customer_id from erp.orders o where not exists (select 1 from erp.items i where i.item_id = o.item_id and i.class = 'a')",
    ),
    (
        "pairs",
        "customer_id, item_id",
        Incremental,
        "select distinct customer_id, item_id from erp.orders where customer_id is not null and item_id is not null",
    ),
    (
        "distinct_items",
        "customer_id",
        Incremental,
        "select customer_id, count(distinct item_id) as items, sum(quantity) as q from erp.orders where customer_id is not null group by customer_id having count(*) > 1",
    ),
    (
        "itself",
        "customer_id",
        Incremental,
        "select a.customer_id, count(*) as n, max(b.quantity) as most from erp.orders a join erp.orders b on a.customer_id = b.customer_id and a.order_id < b.order_id group by a.customer_id",
    ),
    ("per_day", "day", Incremental, "select day, sum(quantity) as q, count(*) as n from erp.orders group by day"),
    ("rows_of_days", "day", Incremental, "select day, quantity from erp.orders where quantity is not null"),
    (
        "shares",
        "customer_id",
        Full,
        "select customer_id, count(*) * 100 / (select count(*) from erp.orders) as share from erp.orders where customer_id is not null group by customer_id",
    ),
    (
        "largest",
        "order_id",
        Full,
        "select order_id, quantity from erp.orders order by quantity desc nulls last, order_id limit 3",
    ),
    (
        "any",
        "id",
        Full,
        "select coalesce(a.customer_id, b.item_id) as id, max(a.quantity) as q, max(b.price) as p from erp.orders a full join erp.items b on a.customer_id = b.item_id where coalesce(a.customer_id, b.item_id) is not null group by coalesce(a.customer_id, b.item_id)",
    ),
    ("overall", "rank", Full, "select row_number() over (order by order_id) as rank, order_id from erp.orders"),
];

type Order = (Option<&'static str>, Option<&'static str>, Option<i32>, Option<i64>);
type Part = (Option<&'static str>, Option<i64>);

/// What a pull finds: rows by id; those that it lacks are gone.
#[derive(Debug, Clone, Default)]
struct Source {
    orders: BTreeMap<u8, Order>,
    parts: BTreeMap<u8, Part>,
}

/// Changes of one round: `None` deletes.
type Round = (Vec<(u8, Option<Order>)>, Vec<(u8, Option<Part>)>);

fn rounds() -> impl Strategy<Value = Vec<Round>> {
    let customer = prop_oneof![1 => Just(None), 6 => prop::sample::select(vec!["c1", "c2", "c3", "c4"]).prop_map(Some)];
    let part = prop_oneof![1 => Just(None), 6 => prop::sample::select(vec!["0", "1", "2", "3", "4", "9"]).prop_map(Some)];
    let order = (customer, part, prop::option::weighted(0.8, 0..4_i32), prop::option::weighted(0.9, 0..6_i64));
    let class = prop_oneof![1 => Just(None), 4 => prop::sample::select(vec!["a", "b", "c"]).prop_map(Some)];
    let change = (0..24_u8, prop::option::weighted(0.75, order));
    let part_change = (0..5_u8, prop::option::weighted(0.75, (class, prop::option::weighted(0.9, 0..4_i64))));
    let first = prop::collection::vec(change.clone(), 10..30);
    let later = (prop::collection::vec(change, 0..4), prop::collection::vec(part_change.clone(), 0..3));
    ((first, prop::collection::vec(part_change, 2..8)), prop::collection::vec(later, 5..8)).prop_map(|(first, mut later)| {
        later.insert(0, first);
        later
    })
}

fn column<T, A: FromIterator<T> + arrow::array::Array + 'static>(values: impl Iterator<Item = T>) -> ArrayRef {
    Arc::new(values.collect::<A>())
}

impl Source {
    fn change(&mut self, (orders, parts): &Round) {
        for (id, order) in orders {
            match order {
                Some(order) => drop(self.orders.insert(*id, *order)),
                None => drop(self.orders.remove(id)),
            }
        }
        for (id, part) in parts {
            match part {
                Some(part) => drop(self.parts.insert(*id, *part)),
                None => drop(self.parts.remove(id)),
            }
        }
    }

    fn batches(&self) -> [(&'static str, RecordBatch); 2] {
        let orders: Vec<(&str, ArrayRef)> = vec![
            ("id", column::<_, StringArray>(self.orders.keys().map(|id| Some(format!("o{id}"))))),
            ("customer", column::<_, StringArray>(self.orders.values().map(|row| row.0))),
            ("part", column::<_, StringArray>(self.orders.values().map(|row| row.1))),
            ("day", column::<_, Date32Array>(self.orders.values().map(|row| row.2.map(|day| 20_000 + day)))),
            ("qty", column::<_, Int64Array>(self.orders.values().map(|row| row.3))),
        ];
        let parts: Vec<(&str, ArrayRef)> = vec![
            ("id", column::<_, StringArray>(self.parts.keys().map(|id| Some(id.to_string())))),
            ("class", column::<_, StringArray>(self.parts.values().map(|row| row.0))),
            ("price", column::<_, Int64Array>(self.parts.values().map(|row| row.1))),
        ];
        let batch = |columns: Vec<(&'static str, ArrayRef)>| {
            RecordBatch::try_from_iter_with_nullable(columns.into_iter().map(|(name, values)| (name, values, true))).unwrap()
        };
        [("raw.erp__orders", batch(orders)), ("raw.erp__parts", batch(parts))]
    }
}

fn table(name: &str) -> TableName {
    name.parse().unwrap()
}

struct Bench {
    root: tempfile::TempDir,
    project: Project,
    graph: Graph,
    store: Store,
    _lease: Lease,
    pulls: i64,
}

impl Bench {
    async fn new(models: &[(&str, &str)]) -> Self {
        let root = tempfile::tempdir().unwrap();
        for (path, text) in PROJECT.iter().chain(models) {
            write(root.path(), path, text);
        }
        let project = Project::load(root.path()).unwrap();
        let graph = Graph::new(&project).map_err(|errors| panic!("{}", told(&errors))).unwrap();
        let store = Store::open(&project).await.unwrap();
        let lease = store.control.lease().unwrap();
        Self { root, project, graph, store, _lease: lease, pulls: 0 }
    }

    /// Reads the statements again.
    fn reload(&mut self) {
        self.project = Project::load(self.root.path()).unwrap();
        self.graph = Graph::new(&self.project).map_err(|errors| panic!("{}", told(&errors))).unwrap();
    }

    async fn pull(&mut self, source: &Source) {
        self.pulls += 1;
        for (name, batch) in source.batches() {
            let rows = vec![futures::stream::iter([Ok(batch.clone())]).boxed()];
            let at = crate::base::time::now();
            let landing = Landing {
                scope: LandingScope::Whole,
                allow_mass_delete: true,
                ..Landing::new(table(name), self.pulls, vec!["id".into()], at, batch.schema(), rows)
            };
            self.store.land(landing).await.unwrap();
        }
    }

    /// Builds and publishes everything; why each table was built.
    async fn build(&self, as_of: &str, full: bool) -> (Cut, BTreeMap<String, String>) {
        let nodes = || self.graph.nodes.iter().filter(|node| node.kind != NodeKind::Mapped);
        let targets: Vec<TableName> = nodes().map(|node| node.table.clone()).collect();
        let mut pinned = BTreeMap::new();
        for name in ["raw.erp__orders", "raw.erp__parts"].map(table) {
            pinned.insert(name.clone(), self.store.latest(&name).await.unwrap().unwrap());
        }
        let mut current = BTreeMap::new();
        for (name, version) in self.store.cut().await.unwrap().map(|cut| cut.tables).unwrap_or_default() {
            if self.graph.node(&name).is_some() {
                current.insert(name.clone(), self.store.at(&name, version).await.unwrap());
            }
        }
        let raw: BTreeMap<TableName, u64> = pinned.iter().map(|(name, version)| (name.clone(), version.version)).collect();
        let as_of: Instant = as_of.parse().unwrap();
        let run = self.store.control.start_run("test", as_of).unwrap();
        let memory_limit_bytes = self.project.memory_limit_bytes;
        let context =
            BuildContext { store: &self.store, run, as_of, pinned, current, memory_limit_bytes, full, beside: Beside::Nothing };
        let built = build(&self.project, &self.graph, &targets, context, &Quiet).await;
        let built = built.map_err(|error| panic!("{}", told(&[error]))).unwrap();
        assert!(built.failed_checks.is_empty(), "{:?}", built.failed_checks);
        let reasons = built.models.iter().map(|run| (run.table.clone(), run.reason.clone())).collect();
        let unchanged = built.unchanged.into_iter().chain(raw).collect();
        (self.store.publish(run, as_of, built.staged, unchanged).await.unwrap(), reasons)
    }

    /// Builds, compares with full builds, and says why each table was built.
    async fn checked(&self, as_of: &str) -> BTreeMap<String, String> {
        let (cut, reasons) = self.build(as_of, false).await;
        self.check(&cut, as_of).await;
        reasons
    }

    async fn rows(&self, cut: &Cut, name: &TableName) -> RecordBatch {
        let version = self.store.at(name, cut.tables[name]).await.unwrap();
        let batches: Vec<RecordBatch> = self.store.read(&version).try_collect().await.unwrap();
        let rows = concat_batches(&version.schema, &batches).unwrap();
        if name.schema != "raw" {
            let content = &version.properties["loopline.content"];
            assert!(content.starts_with(&format!("{}-", rows.num_rows())), "{name}: {content}");
        }
        rows
    }

    /// Every model has the rows that its statement yields over what it reads.
    async fn check(&self, cut: &Cut, as_of: &str) {
        for node in self.graph.nodes.iter().filter(|node| matches!(node.kind, NodeKind::Model | NodeKind::Contract)) {
            let mut inputs = BTreeMap::new();
            for input in &node.inputs {
                let rows = match self.graph.node(input).filter(|input| input.kind == NodeKind::Mapped) {
                    Some(view) => self.view(cut, &view.table, as_of).await,
                    None => self.rows(cut, input).await,
                };
                inputs.insert(input.clone(), rows);
            }
            let whole = evaluate(&self.project, &self.graph, &node.table, &inputs, as_of.parse().unwrap()).await.unwrap();
            let (mut whole, mut found) = (lines(&whole), lines(&self.rows(cut, &node.table).await));
            whole.sort();
            found.sort();
            assert_eq!(found, whole, "{}", node.table);
        }
    }

    async fn view(&self, cut: &Cut, name: &TableName, as_of: &str) -> RecordBatch {
        let mut inputs = BTreeMap::new();
        for input in &self.graph.node(name).unwrap().inputs {
            inputs.insert(input.clone(), self.rows(cut, input).await);
        }
        evaluate(&self.project, &self.graph, name, &inputs, as_of.parse().unwrap()).await.unwrap()
    }
}

fn models() -> Vec<(String, String)> {
    let model = |(name, key, _, statement): &(&str, &str, Expected, &str)| {
        let header = match *key {
            "day" => "--! incremental = { by = \"interval\", column = \"day\" }".to_owned(),
            key => {
                let key: Vec<String> = key.split(", ").map(|column| format!("\"{column}\"")).collect();
                format!("--! key = [{}]\n--! incremental = {{ by = \"key\" }}", key.join(", "))
            }
        };
        (format!("sql/scm/{name}.sql"), format!("--! description = \"{name}\"\n{header}\n{statement}\n"))
    };
    MODELS.iter().map(model).collect()
}

const AS_OF: &str = "2026-03-04T05:06:07Z";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn incremental_builds_are_full_builds() {
    let files = models();
    let files: Vec<(&str, &str)> = files.iter().map(|(path, text)| (path.as_str(), text.as_str())).collect();
    let cases = std::env::var("PROPTEST_CASES").ok().and_then(|cases| cases.parse().ok()).unwrap_or(4);
    let mut runner = TestRunner::new(Config { failure_persistence: None, ..Config::default() });
    let mut incremental = BTreeSet::new();
    for _ in 0..cases {
        let history = rounds().new_tree(&mut runner).unwrap().current();
        println!("{history:?}");
        let (mut bench, mut source) = (Bench::new(&files).await, Source::default());
        for (round, changes) in history.iter().enumerate() {
            source.change(changes);
            bench.pull(&source).await;
            let reasons = bench.checked(AS_OF).await;
            for (name, _, expected, _) in &MODELS {
                let reason = &reasons[&format!("scm.{name}")];
                println!("{round} {name}: {reason}");
                match expected {
                    Incremental => assert!(!reason.starts_with("full"), "{name}: {reason}"),
                    Full => assert!(!reason.starts_with("incremental"), "{name}: {reason}"),
                }
            }
            incremental.extend(reasons.into_iter().filter(|(_, why)| why.starts_with("incremental")).map(|(table, _)| table));
        }
    }
    let expected = MODELS.iter().filter(|model| model.2 == Incremental).map(|model| format!("scm.{}", model.0));
    let expected: BTreeSet<String> = expected.chain(["erp.items", "erp.orders", "xref.items"].map(str::to_owned)).collect();
    assert_eq!(incremental, expected);
}

/// A table, its header and its statement.
const TOLD: [(&str, &str); 4] = [
    (
        "sql/scm/by_customer.sql",
        "--! description = \"x\"\n--! key = [\"customer_id\"]\n--! incremental = { by = \"key\" }\nselect customer_id, count(*) as n, sum(quantity) as q from erp.orders where customer_id is not null group by customer_id\n",
    ),
    (
        "sql/scm/recent.sql",
        "--! description = \"x\"\n--! clock = \"day\"\n--! incremental = { by = \"interval\", column = \"day\", lookback = \"1d\" }\nselect day, sum(quantity) as q from erp.orders where day < current_date group by day\n",
    ),
    (
        "sql/scm/tops.sql",
        "--! description = \"x\"\n--! incremental = { by = \"interval\", column = \"day\" }\nselect day, count(*) as n, (select max(price) from erp.items) as top from erp.orders where day is not null group by day\n",
    ),
    (
        "sql/scm/by_hour.sql",
        "--! description = \"x\"\n--! key = [\"customer_id\"]\n--! clock = \"hour\"\n--! incremental = { by = \"key\" }\nselect customer_id, count(*) as n, now() as at from erp.orders where customer_id is not null group by customer_id\n",
    ),
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_build_says_how_and_why() {
    let mut bench = Bench::new(&TOLD).await;
    let order = |customer, day, quantity| (customer, Some("1"), Some(day), Some(quantity));
    let orders = (0..6).map(|id| (id, order(Some(if id < 3 { "c1" } else { "c2" }), i32::from(id), 5)));
    let parts = [(1, (Some("a"), Some(7)))];
    let mut source = Source { orders: orders.collect(), parts: parts.into() };
    let (morning, noon, tomorrow) = ("2026-03-04T05:06:07Z", "2026-03-04T12:00:00Z", "2026-03-05T12:00:00Z");
    let map = |bench: &mut Bench, from: &str, to: &str| {
        let path = bench.root.path().join("connectors/acme/erp.orders.sql");
        let text = std::fs::read_to_string(&path).unwrap();
        std::fs::write(&path, text.replace(from, to)).unwrap();
        bench.reload();
    };
    let mut told = String::new();
    let mut tell = |what: &str, reasons: BTreeMap<String, String>| {
        told += &format!("{what}\n");
        for (table, why) in reasons.iter().filter(|(_, why)| *why != "nothing changed") {
            told += &format!("  {table}: {why}\n");
        }
    };
    bench.pull(&source).await;
    tell("first", bench.checked(morning).await);
    tell("nothing", bench.checked(morning).await);
    source.orders.insert(5, order(Some("c2"), 5, 6));
    bench.pull(&source).await;
    tell("a quantity", bench.checked(morning).await);
    source.orders.insert(5, (Some("c2"), None, Some(5), Some(6)));
    bench.pull(&source).await;
    tell("what nobody reads", bench.checked(morning).await);
    tell("the hour", bench.checked(noon).await);
    tell("the day", bench.checked(tomorrow).await);
    map(&mut bench, "qty as", "qty + 1 as");
    tell("the map", bench.checked(tomorrow).await);
    source.parts.insert(1, (Some("a"), Some(8)));
    bench.pull(&source).await;
    let (cut, reasons) = bench.build(tomorrow, false).await;
    tell("the price", reasons);
    let tops = lines(&bench.rows(&cut, &table("scm.tops")).await);
    let with = |price: &str| tops.iter().filter(|row| row.ends_with(price)).count();
    assert_eq!((with("|7"), with("|8")), (5, 1), "older days are not looked at: {tops:?}");
    let (cut, reasons) = bench.build(tomorrow, true).await;
    assert!(reasons.values().all(|why| why == "full: asked for"), "{reasons:?}");
    bench.check(&cut, tomorrow).await;
    insta::assert_snapshot!(told, @r"
    first
      erp.items: new
      erp.orders: new
      scm.by_customer: new
      scm.by_hour: new
      scm.recent: new
      scm.tops: new
      xref.items: new
    nothing
    a quantity
      erp.orders: incremental: 1 of 6 keys, input raw.erp__orders changed
      scm.by_customer: incremental: 1 of 2 keys, input erp.orders changed
      scm.by_hour: incremental: 0 of 2 keys, input erp.orders changed
      scm.recent: incremental: 1 value of day, input erp.orders changed
      scm.tops: incremental: 0 values of day, input erp.orders changed
    what nobody reads
      erp.orders: incremental: 1 of 6 keys, input raw.erp__orders changed
      scm.by_customer: incremental: 0 of 2 keys, input erp.orders changed
      scm.by_hour: incremental: 0 of 2 keys, input erp.orders changed
      scm.recent: incremental: 0 values of day, input erp.orders changed
      scm.tops: incremental: 0 values of day, input erp.orders changed
    the hour
      scm.by_hour: full: with another clock any row may differ, the clock moved on
    the day
      scm.by_hour: full: with another clock any row may differ, the clock moved on
      scm.recent: incremental: 0 values of day and what is not older than the lookback, the clock moved on
    the map
      erp.orders: statement changed
      scm.by_customer: incremental: 2 of 2 keys, input erp.orders changed
      scm.by_hour: incremental: 0 of 2 keys, input erp.orders changed
      scm.recent: incremental: 6 values of day, input erp.orders changed
      scm.tops: incremental: 0 values of day, input erp.orders changed
    the price
      erp.items: incremental: 1 of 1 keys, input raw.erp__parts changed
      scm.tops: incremental: day not older than the lookback (a subquery over erp.items is not local to the key), input erp.items changed
      xref.items: incremental: 1 of 1 keys, input raw.erp__parts changed
    ");
}
