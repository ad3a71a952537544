//! The whole loop on a small plant: one ERP in SQLite, two kinds of writes.

use std::path::Path;
use std::sync::Arc;

use loopline::pipeline::{Access, Hub, PipelineError, RunOptions, RunReport, WriteSummary};
use loopline::project::Project;
use loopline::store::{Change, ChangeState, Filter, RunOutcome};
use loopline::writeback::{Selection, WritebackError};
use rusqlite::Connection;
use tempfile::TempDir;

const FILES: &[(&str, &str)] = &[
    (
        "loopline.toml",
        r#"
        strategy = "order-driven"
        store = "./store"
        [systems.erp]
        connector = "small"
        url = "sqlite:erp.db"
        max_age = "1h"
        "#,
    ),
    (
        "connectors/small/connector.toml",
        r#"
        protocol = "sql"
        [stream.orders]
        key = ["id"]
        [stream.pr]
        key = ["id"]
        cursor = { field = "seq", kind = "integer" }
        [write.purchase_requests]
        resource = "pr"
        key = ["ext_ref"]
        hub_key = "ext_ref"
        version = "row_ver"
        operations = ["insert", "update", "delete"]
        editable = "status = 'PROPOSED'"
        [write.promises]
        resource = "orders"
        key = ["id"]
        version = "row_ver"
        operations = ["update"]
        editable = "status = 'OPEN'"
        "#,
    ),
    (
        "connectors/small/erp.orders.sql",
        "select id as order_id, cast(qty as int) as quantity, promised, status, id as source_id, cast(row_ver as text) as source_version from orders",
    ),
    (
        "connectors/small/write.purchase_requests.sql",
        "select proposal_id as ext_ref, quantity as qty, 'PROPOSED' as status, _reason from outbox.purchase_requests",
    ),
    ("connectors/small/write.promises.sql", "select source_order_id as id, promised, _reason from outbox.promises"),
    (
        "sql/erp/orders.sql",
        "create table orders (
           order_id text not null,
           quantity int not null,
           promised date,
           status text not null,
           primary key (order_id)
         );",
    ),
    (
        "sql/outbox/purchase_requests.sql",
        "--! description = \"What to buy: one request for each large order\"
         --! key = [\"system\", \"proposal_id\"]
         select system, 'PR-' || order_id as proposal_id, quantity, 'order ' || order_id as _reason from erp.orders where quantity > 10",
    ),
    (
        "sql/outbox/promises.sql",
        "--! description = \"A promise for every open order\"
         --! key = [\"system\", \"source_order_id\"]
         select system, order_id as source_order_id, date '2026-03-02' as promised, 'first promise' as _reason
         from erp.orders where status = 'OPEN'",
    ),
    (
        "pipelines/ask.toml",
        r#"
        pull = ["erp"]
        build = ["outbox"]
        write = { "outbox.purchase_requests" = "approve", "outbox.promises" = "approve" }
        "#,
    ),
    (
        "pipelines/auto.toml",
        r#"
        pull = ["erp"]
        build = ["outbox"]
        write = { "outbox.purchase_requests" = "auto", "outbox.promises" = "off" }
        "#,
    ),
    (
        "pipelines/limited.toml",
        r#"
        pull = ["erp"]
        build = ["outbox"]
        write = { "outbox.purchase_requests" = { mode = "auto", limits = { rows = 1 } } }
        "#,
    ),
];

const ERP: &str = "
    create table orders (id text primary key not null, qty integer not null, promised date, status text not null, row_ver integer not null default 1);
    create table pr (
      id integer primary key not null, ext_ref text unique, qty integer, status text, row_ver integer not null default 1, seq integer not null default 1);
    create trigger orders_version after update on orders begin update orders set row_ver = old.row_ver + 1 where id = old.id; end;
    create trigger pr_version after update on pr begin
      update pr set row_ver = old.row_ver + 1, seq = (select max(seq) + 1 from pr) where id = old.id; end;
    create trigger pr_seq after insert on pr begin update pr set seq = (select max(seq) + 1 from pr) where id = new.id; end;
    insert into orders (id, qty, status) values ('A', 20, 'OPEN'), ('B', 5, 'OPEN'), ('C', 30, 'CLOSED');
    insert into pr (id, ext_ref, qty, status) values (1, null, 7, 'PROPOSED');";

pub(crate) struct Plant {
    folder: TempDir,
}

impl Plant {
    pub(crate) fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        for (name, text) in FILES {
            let path = folder.path().join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            let text: Vec<&str> = text.lines().map(str::trim_start).collect();
            std::fs::write(path, text.join("\n").trim_start()).unwrap();
        }
        let plant = Self { folder };
        plant.sql(ERP);
        plant
    }

    pub(crate) fn root(&self) -> &Path {
        self.folder.path()
    }

    /// Does something by hand in the ERP.
    pub(crate) fn sql(&self, sql: &str) {
        Connection::open(self.root().join("erp.db")).unwrap().execute_batch(sql).unwrap();
    }

    fn texts(&self, sql: &str) -> Vec<String> {
        let db = Connection::open(self.root().join("erp.db")).unwrap();
        let mut statement = db.prepare(sql).unwrap();
        statement.query_map([], |row| row.get(0)).unwrap().collect::<Result<_, _>>().unwrap()
    }

    fn requests(&self) -> Vec<String> {
        self.texts("select ext_ref || ' ' || qty || ' ' || status from pr where ext_ref is not null order by 1")
    }

    pub(crate) async fn hub(&self) -> Hub {
        let project = Project::load(self.root()).unwrap_or_else(|errors| panic!("{errors:#?}"));
        Hub::open(Arc::new(project), Access::Write).await.unwrap()
    }

    pub(crate) async fn run(&self, pipeline: &str) -> RunReport {
        let report = self.hub().await.run(pipeline, &RunOptions::default()).await.unwrap();
        assert!(matches!(report.outcome, RunOutcome::Published), "{report:#?}");
        report
    }

    async fn approve(&self) -> usize {
        self.hub().await.writeback().approve(&Selection::All, "ann").unwrap()
    }

    async fn apply(&self) -> WriteSummary {
        self.hub().await.apply(&RunOptions::default()).await.unwrap()
    }

    pub(crate) async fn changes(&self, states: &[ChangeState]) -> Vec<Change> {
        let filter = Filter { states: Some(states.to_vec()), ..Filter::default() };
        self.hub().await.store.control.changes(&filter).unwrap()
    }
}

fn open_changes(report: &RunReport) -> usize {
    report.writes.iter().map(|write| write.changes()).sum()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_approved_is_written_confirmed_and_then_left_alone() {
    let plant = Plant::new();
    let first = plant.run("ask").await;
    assert_eq!((open_changes(&first), first.summary.waiting, first.summary.applied.sent), (4, 4, 0), "{:#?}", first.writes);
    assert!(plant.requests().is_empty());

    // Nothing changed: the same plan, nothing built but what reads the ledger.
    let second = plant.run("ask").await;
    assert_eq!((open_changes(&second), second.summary.waiting), (4, 4));
    assert!(second.models.iter().all(|model| model.reason == "nothing changed"), "{:#?}", second.models);

    assert_eq!(plant.approve().await, 4);
    let third = plant.run("ask").await;
    assert_eq!((third.summary.applied.sent, third.summary.confirmed.confirmed), (4, 4), "{:#?}", third.summary);
    assert_eq!(plant.requests(), ["PR-A 20 PROPOSED", "PR-C 30 PROPOSED"]);
    assert_eq!(plant.texts("select id from orders where promised = '2026-03-02' order by 1"), ["A", "B"]);

    let fourth = plant.run("ask").await;
    assert_eq!((open_changes(&fourth), fourth.summary.applied.sent), (0, 0));
    let fifth = plant.run("ask").await;
    assert!(fifth.models.iter().all(|model| model.reason == "nothing changed"), "{:#?}", fifth.models);
    assert!(fifth.writes.iter().all(|write| write.kept && write.changes() == 0), "{:#?}", fifth.writes);
    assert_eq!(plant.changes(&[ChangeState::Confirmed]).await.len(), 4);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_row_edited_by_hand_is_a_conflict_not_an_overwrite() {
    let plant = Plant::new();
    plant.run("ask").await;
    plant.approve().await;
    plant.sql("update orders set promised = '2026-12-24' where id = 'A'");
    let applied = plant.apply().await;
    assert_eq!((applied.applied.sent, applied.applied.conflicted, applied.confirmed.confirmed), (4, 1, 3), "{applied:#?}");
    assert_eq!(plant.texts("select promised from orders where id = 'A'"), ["2026-12-24"]);
    let conflict = &plant.changes(&[ChangeState::Conflicted]).await[0];
    assert!(conflict.detail.as_ref().unwrap().contains("2026-12-24"), "{conflict:#?}");

    // What is wanted still differs, so it is asked for again, from what is there now.
    let again = plant.run("ask").await;
    assert_eq!(again.summary.waiting, 1);
    let planned = &plant.changes(&[ChangeState::Planned]).await[0];
    assert_eq!(planned.row.before.as_ref().unwrap()["promised"], "2026-12-24");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_approval_survives_an_edit_of_another_field() {
    let plant = Plant::new();
    plant.run("ask").await;
    plant.approve().await;
    plant.sql("update orders set qty = 21 where id = 'A'"); // a new version of the row, and a new quantity to buy
    let report = plant.run("ask").await;
    assert_eq!((report.summary.applied.sent, report.summary.applied.conflicted), (3, 0), "{:#?}", report.summary);
    assert_eq!(plant.requests(), ["PR-C 30 PROPOSED"]); // the other quantity was never approved
    assert_eq!(plant.texts("select id from orders where promised is not null order by 1"), ["A", "B"]);
    assert_eq!(report.summary.waiting, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_undone_change_is_not_planned_again_until_the_wish_changes() {
    let plant = Plant::new();
    plant.run("auto").await;
    assert_eq!(plant.requests(), ["PR-A 20 PROPOSED", "PR-C 30 PROPOSED"]);
    let inserted = plant.changes(&[ChangeState::Confirmed]).await;
    let id = inserted.iter().find(|change| change.row.key["ext_ref"] == "PR-A").unwrap().id;
    let undone = plant.hub().await.undo(&[id], "ann").await.unwrap();
    assert_eq!(undone.planned.len(), 1, "{undone:#?}");
    assert_eq!(plant.hub().await.undo(&[id], "ann").await.unwrap().refused.len(), 1);
    plant.approve().await;
    let applied = plant.apply().await;
    assert_eq!((applied.confirmed.confirmed, applied.confirmed.undone), (1, 1), "{applied:#?}");
    assert_eq!(plant.requests(), ["PR-C 30 PROPOSED"]);
    assert_eq!(plant.changes(&[ChangeState::Undone]).await[0].id, id);

    let report = plant.run("auto").await;
    assert_eq!((open_changes(&report), report.summary.applied.sent), (0, 0), "{:#?}", report.writes);
    plant.sql("update orders set qty = 25 where id = 'A'");
    plant.run("auto").await;
    assert_eq!(plant.requests(), ["PR-A 25 PROPOSED", "PR-C 30 PROPOSED"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rejected_change_is_not_planned_again_until_the_wish_changes() {
    let plant = Plant::new();
    plant.run("ask").await;
    assert_eq!(plant.hub().await.writeback().reject(&Selection::Kind("purchase_requests".into()), "ann").unwrap(), 2);
    // Another pipeline's rule would approve it by itself.
    let report = plant.run("auto").await;
    assert_eq!((open_changes(&report), report.summary.applied.sent), (0, 0), "{:#?}", report.writes);
    plant.sql("update orders set qty = 25 where id = 'A'");
    plant.run("auto").await;
    assert_eq!(plant.requests(), ["PR-A 25 PROPOSED"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn own_rows_follow_the_wish_and_rows_taken_over_do_not() {
    let plant = Plant::new();
    plant.run("auto").await;
    plant.sql("update pr set status = 'ORDERED' where ext_ref = 'PR-C'; update orders set qty = 50 where qty > 10");
    let report = plant.run("auto").await;
    assert_eq!(plant.requests(), ["PR-A 50 PROPOSED", "PR-C 30 ORDERED"]);
    assert_eq!(report.writes.iter().map(|write| write.taken_over).sum::<usize>(), 1);
    plant.sql("update orders set qty = 1");
    plant.run("auto").await;
    assert_eq!(plant.requests(), ["PR-C 30 ORDERED"]);
    // A buyer removes a request of the hub: it is not made again.
    plant.sql("update orders set qty = 60 where id = 'B'");
    plant.run("auto").await;
    assert_eq!(plant.requests(), ["PR-B 60 PROPOSED", "PR-C 30 ORDERED"]);
    plant.sql("delete from pr where ext_ref = 'PR-B'");
    plant.hub().await.pull(&[], &RunOptions { full: true, ..RunOptions::default() }).await.unwrap();
    plant.run("auto").await;
    assert_eq!(plant.requests(), ["PR-C 30 ORDERED"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_control_state_writes_nothing_before_recover() {
    let plant = Plant::new();
    plant.run("auto").await;
    plant.run("ask").await;
    // A person rejects a promise, which the targets cannot tell; the next run publishes that.
    let hub = plant.hub().await;
    let promises = hub.store.control.changes(&Filter { kind: Some("promises".into()), ..Filter::default() }).unwrap();
    hub.writeback().reject(&Selection::Ids(vec![promises[0].id]), "ann").unwrap();
    drop(hub);
    plant.run("auto").await;
    for file in ["control.sqlite", "control.sqlite-wal", "control.sqlite-shm", "control.lock"] {
        let _ = std::fs::remove_file(plant.root().join("store").join(file));
    }
    plant.sql("update orders set qty = 21 where id = 'A'");
    let refused = plant.hub().await.run("auto", &RunOptions::default()).await;
    assert!(matches!(refused, Err(PipelineError::Writeback(WritebackError::ControlBehind))), "{refused:#?}");
    assert!(plant.hub().await.status().await.unwrap().refused.is_some());

    let recovered = plant.hub().await.recover(&RunOptions::default()).await.unwrap();
    assert_eq!((recovered.adopted, recovered.errors.len()), (2, 0), "{recovered:#?}");
    let report = plant.run("auto").await;
    assert_eq!((report.summary.applied.sent, report.summary.confirmed.confirmed), (1, 1), "{:#?}", report.summary);
    assert_eq!(plant.requests(), ["PR-A 21 PROPOSED", "PR-C 30 PROPOSED"]);
    assert_eq!(plant.run("ask").await.summary.waiting, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_sent_without_an_answer_is_settled_by_looking() {
    let plant = Plant::new();
    plant.run("ask").await;
    plant.approve().await;
    let hub = plant.hub().await;
    let approved = Filter { kind: Some("purchase_requests".into()), ..Filter::default() };
    let ids: Vec<i64> = hub.store.control.changes(&approved).unwrap().iter().map(|change| change.id).collect();
    // As if killed after the target got one of the two.
    hub.store.control.advance(&ids, &[ChangeState::Approved], ChangeState::Sent, None, None).unwrap();
    drop(hub);
    plant.sql("insert into pr (ext_ref, qty, status) values ('PR-A', 20, 'PROPOSED')");
    let report = plant.run("ask").await;
    let settled = &report.summary.settled;
    assert_eq!((settled.acknowledged, settled.returned, settled.conflicted), (1, 1, 0), "{settled:#?}");
    assert_eq!(plant.requests(), ["PR-A 20 PROPOSED", "PR-C 30 PROPOSED"]);
    assert_eq!(report.summary.confirmed.confirmed, 4, "{:#?}", report.summary);
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_written_from_old_rows() {
    let plant = Plant::new();
    plant.run("ask").await;
    plant.approve().await;
    let settings = plant.root().join("loopline.toml");
    let text = std::fs::read_to_string(&settings).unwrap().replace("\"1h\"", "\"1s\"");
    std::fs::write(settings, text).unwrap();
    tokio::time::sleep(std::time::Duration::from_millis(2_100)).await;
    let applied = plant.apply().await;
    assert_eq!(applied.applied.sent, 0);
    assert!(applied.applied.errors[0].1.contains("max_age"), "{applied:#?}");
    assert!(plant.requests().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_runaway_plan_is_refused_whole() {
    let plant = Plant::new();
    let report = plant.run("limited").await;
    assert!(
        report.writes.iter().any(|write| write.held.as_ref().is_some_and(|why| why.contains("limit of 1"))),
        "{:#?}",
        report.writes
    );
    assert!(plant.requests().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_system_that_cannot_be_pulled_and_is_stale_stops_the_run() {
    let plant = Plant::new();
    let elsewhere = plant.root().join("elsewhere.db");
    std::fs::rename(plant.root().join("erp.db"), &elsewhere).unwrap();
    let hub = plant.hub().await;
    let report = hub.run("auto", &RunOptions::default()).await.unwrap();
    assert_eq!(report.outcome, RunOutcome::Failed);
    assert!(!report.cut && report.message.contains("erp"), "{}", report.message);
    assert!(hub.store.cut().await.unwrap().is_none());
}
