//! A database that nobody here made: a Tryton 8.2 with six months of history, read through PostgreSQL with `connectors/tryton`.
//!
//! Every number is asked of the source in SQL and of the hub's tables; those that the description of the dump names are named here too.

use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

use crate::harness::{Mini, copy_folder, temporary};
use crate::scenario::Database;

const LOOPLINE: &str = "strategy = \"order-driven\"\nstore = \"./store\"\n[systems.tryton]\nconnector = \"tryton\"\nurl = \"URL\"\nmax_age = \"1d\"\n";
const PIPELINE: &str = "pull = [\"tryton\"]\nbuild = [\"xref\", \"scm\", \"aps\", \"srm\", \"qms\", \"kpi\", \"outbox\"]\n";
/// The supplier lot that went into pumps before anybody noticed.
const BAD_LOT: &str = "S019-2629-001";

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn dump() -> Option<PathBuf> {
    let here = root().ancestors().map(|folder| folder.join("shared/real/dumps/tryton82_seeded.dump"));
    let named = std::env::var_os("LOOPLINE_TEST_TRYTON").map(PathBuf::from);
    let found = named.into_iter().chain(here).find(|file| file.is_file());
    if found.is_none() {
        eprintln!("skipped: there is no dump of Tryton beside the repository (LOOPLINE_TEST_TRYTON may name it)");
    }
    found
}

fn restored(dump: &Path) -> Option<Database> {
    let bin = std::env::var("LOOPLINE_TEST_POSTGRES_BIN").ok();
    let database = Database::new("tryton", None)?;
    let program = bin.map_or_else(|| PathBuf::from("pg_restore"), |bin| Path::new(&bin).join("pg_restore"));
    let output = Command::new(program).args(["--no-owner", "--no-privileges", "-d", &database.url()]).arg(dump).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    Some(database)
}

fn project(database: &Database) -> Mini {
    let plant = Mini::of(temporary());
    for folder in ["sql", "connectors/tryton"] {
        let target = plant.root().join(folder);
        std::fs::create_dir_all(&target).unwrap();
        copy_folder(&root().join(folder), &target);
    }
    std::fs::create_dir(plant.root().join("pipelines")).unwrap();
    std::fs::write(plant.root().join("pipelines/loop.toml"), PIPELINE).unwrap();
    std::fs::write(plant.root().join("loopline.toml"), LOOPLINE.replace("URL", &database.url())).unwrap();
    plant
}

/// One number of the hub's tables.
fn number(plant: &Mini, sql: &str) -> f64 {
    let rows = plant.ask(sql);
    assert_eq!(rows.len(), 1, "{sql}");
    let cell = rows[0].as_object().unwrap().values().next().cloned().unwrap_or(Value::Null);
    cell.as_f64().or_else(|| cell.as_str()?.parse().ok()).unwrap_or_else(|| panic!("{sql}: {cell}"))
}

/// What is counted, the source's answer, the hub's answer, and the number that is known of this dump.
const SAME: &[(&str, &str, &str, Option<f64>)] = &[
    (
        "customers",
        "select count(*) from (select party from sale_sale union select customer from sale_complaint) as x",
        "select count(*) as n from erp.customers",
        None,
    ),
    (
        "suppliers",
        "select count(*) from (select party from purchase_purchase union select party from purchase_product_supplier) as x",
        "select count(*) as n from erp.suppliers",
        None,
    ),
    ("items", "select count(*) from product_product", "select count(*) as n from erp.items", Some(80.0)),
    ("bills of material", "select count(*) from production_bom where active", "select count(distinct bom_id) as n from erp.boms", Some(32.0)),
    ("bill lines", "select count(*) from production_bom_input", "select count(*) as n from erp.bom_lines", None),
    ("work centres", "select count(*) from production_work_center", "select count(*) as n from mes.work_centers", Some(11.0)),
    ("offers", "select count(*) from purchase_product_supplier", "select count(distinct source_id) as n from erp.supplier_items", Some(65.0)),
    ("inspections", "select count(*) from quality_inspection", "select count(*) as n from mes.inspections", Some(159.0)),
    (
        "failed inspections",
        "select count(*) from quality_inspection where state = 'failed'",
        "select count(*) as n from mes.inspections where decision = 'rejected'",
        Some(19.0),
    ),
    ("quality alerts", "select count(*) from quality_alert", "select count(*) as n from mes.quality_cases", Some(20.0)),
    ("complaints", "select count(*) from sale_complaint", "select count(*) as n from crm.complaints", Some(15.0)),
    ("opportunities", "select count(*) from sale_opportunity", "select count(distinct opportunity_id) as n from crm.opportunities", None),
    ("lots", "select count(*) from stock_lot", "select count(*) as n from wms.lots", Some(445.0)),
    (
        "receipts",
        "select count(*) from stock_shipment_in where state = 'done'",
        "select count(distinct receipt_id) as n from wms.receipts where kind = 'purchase'",
        Some(116.0),
    ),
    (
        "late receipts",
        "select count(*) from stock_shipment_in where state = 'done' and effective_date > planned_date",
        "select count(distinct r.receipt_id) as n from wms.receipts as r
         join erp.purchase_order_lines as l on l.order_id = r.order_id and l.line_no = r.order_line_no
         where r.kind = 'purchase' and cast(r.received_at as date) > l.confirmed",
        Some(69.0),
    ),
    (
        "deliveries",
        "select count(*) from stock_shipment_out where state = 'done'",
        "select count(distinct shipment_id) as n from wms.shipments",
        Some(123.0),
    ),
    ("done moves", "select count(*) from stock_move where state = 'done'", "select count(*) as n from wms.movements", Some(2_044.0)),
    (
        "moved quantity",
        "select sum(internal_quantity) from stock_move where state = 'done'",
        "select sum(quantity) as n from wms.movements",
        None,
    ),
    ("productions", "select count(*) from production", "select count(*) as n from mes.work_orders", Some(240.0)),
    (
        "productions done",
        "select count(*) from production where state = 'done'",
        "select count(*) as n from mes.work_orders where status = 'completed'",
        Some(146.0),
    ),
    (
        "lots consumed",
        "select count(distinct lot) from stock_move where state = 'done' and production_input is not null",
        "select count(distinct lot_id) as n from mes.lot_transformations where direction = 'input'",
        Some(260.0),
    ),
    (
        "lots produced",
        "select count(distinct lot) from stock_move where state = 'done' and production_output is not null",
        "select count(distinct lot_id) as n from mes.lot_transformations where direction = 'output'",
        Some(168.0),
    ),
    (
        "stock in storage",
        "select sum(case when t.type = 'storage' then internal_quantity else 0 end - case when f.type = 'storage' then internal_quantity else 0 end)
         from stock_move as m join stock_location as f on f.id = m.from_location join stock_location as t on t.id = m.to_location where m.state = 'done'",
        "select sum(quantity) as n from wms.stock",
        None,
    ),
    (
        "ordered quantity",
        "select sum(l.quantity * u.factor / d.factor) from sale_line as l join sale_sale as s on s.id = l.sale
         join product_product as p on p.id = l.product join product_template as t on t.id = p.template
         join product_uom as u on u.id = l.unit join product_uom as d on d.id = t.default_uom
         where l.type = 'line' and l.quantity > 0 and s.state in ('confirmed', 'processing', 'done', 'cancelled')",
        "select sum(quantity) as n from erp.sales_order_lines",
        None,
    ),
    (
        "open order lines",
        "select count(*) from sale_line as l join sale_sale as s on s.id = l.sale where s.state = 'processing' and l.type = 'line' and l.quantity > 0
         and coalesce((select bool_or(state in ('draft', 'assigned')) from stock_move where origin = 'sale.line,' || l.id and state <> 'cancelled'), true)",
        "select count(*) as n from erp.sales_order_lines where status = 'confirmed'",
        None,
    ),
    (
        "purchased quantity",
        "select sum(l.quantity * u.factor / d.factor) from purchase_line as l
         join product_product as p on p.id = l.product join product_template as t on t.id = p.template
         join product_uom as u on u.id = l.unit join product_uom as d on d.id = t.default_uom where l.type = 'line' and l.quantity > 0",
        "select sum(quantity) as n from erp.purchase_order_lines",
        None,
    ),
];

/// Lots that hold the bad one, and the deliveries that they left in.
const REACHED: &str = "
    with recursive reached(lot) as (
      select id from stock_lot where number = 'S019-2629-001'
      union
      select o.lot from reached as r
      join stock_move as i on i.lot = r.lot and i.production_input is not null and i.state = 'done'
      join stock_move as o on o.production_output = i.production_input and o.state = 'done' and o.lot is not null
    )
    select count(distinct m.shipment), count(distinct m.id), string_agg(distinct s.number, ' ' order by s.number)
    from reached as r join stock_move as m on m.lot = r.lot and m.state = 'done' and m.origin like 'sale.line,%'
    join stock_shipment_out as s on m.shipment = 'stock.shipment.out,' || s.id";

#[test]
fn a_database_that_nobody_here_made_is_read_as_it_is() {
    let Some(dump) = dump() else { return };
    let Some(database) = restored(&dump) else { return };
    let plant = project(&database);
    let report = plant.json(&["run", "loop"]);
    assert_eq!(report["outcome"], "published", "{report:#}");
    let mut wrong = Vec::new();
    for (what, source, hub, known) in SAME {
        let there: f64 = database.row(source)[0].parse().unwrap();
        let here = number(&plant, hub);
        if (there - here).abs() > 1e-6 * there.abs() || known.is_some_and(|known| known != there) {
            wrong.push(format!("{what}: {there} in the source, {here} in the hub, {known:?} known"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    recall_reaches_the_same_deliveries(&plant, &database);
    decisions_make_sense(&plant, &database);
    let again = plant.json(&["run", "loop"]);
    let built = again["models"].as_array().unwrap().iter().filter(|model| model["outcome"] == "built").count();
    assert_eq!(built, 0, "nothing changed in the source");
}

fn recall_reaches_the_same_deliveries(plant: &Mini, database: &Database) {
    let said = plant.loopline(&["trace", BAD_LOT, "--forward", "--json"]);
    assert_eq!(said.code, Some(0), "{said:?}");
    let text = |row: &Value, name: &str| row[name].as_str().unwrap().to_owned();
    let traced: Vec<Value> = said.stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let lots: Vec<String> =
        traced.iter().flat_map(|row| [text(row, "seed"), text(row, "lot_id")]).map(|lot| format!("'{lot}'")).collect();
    assert!(!lots.is_empty(), "lot {BAD_LOT} leads nowhere");
    let sql = format!("select distinct shipment_id from wms.shipments where lot_id in ({}) order by 1", lots.join(", "));
    let reached: Vec<String> = plant.ask(&sql).iter().map(|row| text(row, "shipment_id")).collect();
    let source = database.row(REACHED);
    assert_eq!(reached.join(" "), source[2]);
    assert_eq!(reached.len().to_string(), source[0]);
}

fn decisions_make_sense(plant: &Mini, database: &Database) {
    // Every supplier with a receipt has a card, and the lines that were late in the source are late there.
    let cards =
        plant.ask("select supplier_id, score, lines_due, rejected_ppm from srm.supplier_scorecards order by score, supplier_id");
    assert!(cards.len() >= 20, "{cards:?}");
    let bad = database.row(
        "select distinct s.supplier from stock_lot as l join stock_move as m on m.lot = l.id join stock_shipment_in as s
        on m.shipment = 'stock.shipment.in,' || s.id where l.number = 'S019-2629-001'",
    );
    let bad_score = cards.iter().find(|card| card["supplier_id"] == bad[0].as_str()).unwrap()["score"].as_f64().unwrap();
    let judged: Vec<f64> =
        cards.iter().filter(|card| card["lines_due"].as_i64() > Some(9)).map(|card| card["score"].as_f64().unwrap()).collect();
    let worse = judged.iter().filter(|score| **score < bad_score).count();
    assert!(
        worse * 2 <= judged.len(),
        "the bad lot's supplier is better than {worse} of {} with ten lines or more",
        judged.len()
    );
    // All items have order points: Tryton plans them itself, so they are planned for comparison and nothing is written.
    assert!(number(plant, "select count(*) as n from scm.net_requirements") > 0.0);
    assert!(number(plant, "select count(*) as n from scm.planned_orders where quantity > 0") > 0.0);
    assert_eq!(number(plant, "select count(*) as n from outbox.purchase_requests"), 0.0);
    let short = number(plant, "select count(distinct r.item_id) as n from scm.net_requirements as r left join erp.bom_lines as b on b.item_id = r.item_id
        left join erp.sales_order_lines as s on s.item_id = r.item_id join scm.items as i on i.item_id = r.item_id and i.site_id = r.site_id
        where b.item_id is null and s.item_id is null and i.safety_stock = 0");
    assert_eq!(short, 0.0, "a requirement needs an order, a bill of materials or an order point");
}
