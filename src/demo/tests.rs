//! The plant's physics, its plausibility, and that it is the same each time.

use std::collections::BTreeMap;
use std::path::Path;

use chrono::{Days, NaiveDate};

use super::calendar::{DAY, Seconds, day_of, day_start};
use super::master::Master;
use super::plant::{MoveKind, Place, Plant};
use super::product::PRODUCTS;
use super::sim::{Sim, day_no};
use super::{DemoOptions, DemoSummary, advance, create, simulate};

const TODAY: NaiveDate = NaiveDate::from_ymd_opt(2026, 11, 23).unwrap();

fn master(months_days: u64) -> Master {
    Master::new(7, 0, TODAY - Days::new(months_days), TODAY)
}

/// Stock of each lot in each place by replaying all movements in their order; fails where it would be negative at any time.
fn replay(plant: &Plant) -> BTreeMap<(u16, u32, Place), i64> {
    let mut stock: BTreeMap<(u16, u32, Place), i64> = BTreeMap::new();
    let mut last = 0;
    for movement in &plant.log.movements {
        assert!(movement.at >= last, "movement {} is out of order", movement.id);
        last = movement.at;
        for (place, sign) in [(movement.from, -1), (movement.to, 1)] {
            let Some(place) = place else { continue };
            let left = stock.entry((movement.item, movement.lot, place)).or_default();
            *left += sign * movement.quantity;
            assert!(*left >= 0, "movement {} takes what is not there: {left}", movement.id);
        }
    }
    stock.retain(|_, quantity| *quantity != 0);
    stock
}

#[test]
fn stock_is_the_sum_of_movements_and_never_negative() {
    let master = master(200);
    let sim = simulate(&master, TODAY);
    let mut kept = BTreeMap::new();
    for (item, quants) in sim.plant.stock.iter().enumerate() {
        for quant in quants {
            kept.insert((item as u16, quant.lot, quant.place), quant.quantity);
        }
    }
    assert_eq!(replay(&sim.plant), kept);
}

#[test]
fn lots_are_used_up_after_they_were_made_and_only_from_stock() {
    let master = master(200);
    let plant = simulate(&master, TODAY).plant;
    let mut made: BTreeMap<u32, Seconds> = BTreeMap::new();
    for movement in plant.log.movements.iter().filter(|movement| movement.to.is_some()) {
        made.entry(movement.lot).or_insert(movement.at);
    }
    let mut inputs: BTreeMap<u32, Seconds> = BTreeMap::new();
    for link in &plant.log.links {
        assert!(made[&link.lot] <= link.at, "lot {} is used before it is there", link.lot);
        match link.output {
            false => drop(inputs.insert(link.order, link.at)),
            true => assert!(inputs[&link.order] < link.at, "order {} yields a lot before anything went in", link.order),
        }
    }
    // What the shop floor took is what the warehouse gave.
    let issued: i64 = plant.log.movements.iter().filter(|m| m.kind == MoveKind::Issue).map(|m| m.quantity).sum();
    let linked: i64 = plant.log.links.iter().filter(|link| !link.output).map(|link| link.quantity).sum();
    assert_eq!(issued, linked);
}

#[test]
fn a_work_center_does_one_thing_at_a_time_within_its_shifts() {
    let master = master(200);
    let plant = simulate(&master, TODAY).plant;
    for center in 0..master.centers.len() {
        let worked = plant.log.confirmations.iter().filter(|c| usize::from(c.center) == center).map(|c| (c.begin, c.end));
        let other = plant.log.states.iter().filter(|s| usize::from(s.center) == center).map(|s| (s.begin, s.end));
        let mut spans: Vec<(Seconds, Seconds)> = worked.chain(other).collect();
        spans.sort_unstable();
        for pair in spans.windows(2) {
            assert!(pair[0].1 <= pair[1].0, "{} does two things at {}", master.centers[center].code, pair[1].0);
        }
        for (begin, end) in spans {
            let shift = master.shifts_of(center).running(begin).unwrap();
            assert!(begin < end && end <= shift.1, "{} works past its shift", master.centers[center].code);
        }
    }
}

#[test]
fn no_more_is_shipped_or_received_than_was_ordered() {
    let master = master(200);
    let plant = simulate(&master, TODAY).plant;
    let mut shipped: BTreeMap<(u32, u16), i64> = BTreeMap::new();
    for shipment in &plant.shipments {
        *shipped.entry((shipment.order, shipment.order_line)).or_default() += shipment.quantity;
    }
    let mut booked: BTreeMap<(u32, u16), (i64, i64)> = BTreeMap::new();
    for line in plant.sales.values().flatten() {
        assert!((0..=line.quantity).contains(&line.shipped));
        let sums = booked.entry((line.order, line.line)).or_default();
        *sums = (sums.0 + line.quantity, sums.1 + line.shipped);
    }
    for (key, (ordered, known)) in booked {
        let left = shipped.remove(&key).unwrap_or(0);
        assert!(left <= ordered && left == known, "order line {key:?}: {left} of {ordered} left, {known} booked");
    }
    assert!(shipped.is_empty());
    for order in plant.work_orders.values() {
        assert!(order.good + order.scrap <= order.quantity && order.good >= 0, "order {} makes more than it was given", order.id);
    }
    assert!(plant.purchases.values().flatten().all(|line| (0..=line.quantity).contains(&line.received)));
}

#[test]
fn the_plant_is_plausible() {
    let first = TODAY - chrono::Months::new(18);
    let master = Master::new(1, 0, first, TODAY);
    let plant = simulate(&master, TODAY).plant;
    let lines: Vec<_> = plant.sales.values().flatten().collect();
    assert!((16_000..24_000).contains(&lines.len()), "{} order lines", lines.len());
    let open = lines.iter().filter(|line| line.open).count();
    assert!((200..700).contains(&open), "{open} open order lines");
    let unpromised = lines.iter().filter(|line| line.open && line.promised.is_none()).count();
    assert!((20..150).contains(&unpromised), "{unpromised} open lines without promise");
    let mut delivered: BTreeMap<(u32, u16), Seconds> = BTreeMap::new();
    for shipment in &plant.shipments {
        delivered.insert((shipment.order, shipment.order_line), shipment.delivered);
    }
    let closed: Vec<_> = lines.iter().filter(|line| !line.open && line.first_promised.is_some() && !line.cancelled).collect();
    let kept = |line: &&&&super::plant::SalesLine| {
        delivered.get(&(line.order, line.line)).is_some_and(|at| Some(day_no(day_of(*at))) <= line.first_promised)
    };
    let on_time = closed.iter().filter(kept).count() * 100 / closed.len();
    assert!((75..97).contains(&on_time), "{on_time} % on time");
    let work = plant.open_work.len();
    assert!((30..120).contains(&work), "{work} open work orders");
    let complaints = plant.complaints.len();
    assert!((40..600).contains(&complaints), "{complaints} complaints");
    assert!(plant.lots.values().any(|lot| lot.faulty), "no faulty lot is left to find");
}

#[test]
fn the_same_seed_makes_the_same_plant() {
    let text = |seed| {
        let master = Master::new(seed, 0, TODAY - Days::new(60), TODAY);
        let plant = simulate(&master, TODAY).plant;
        format!("{:?}{}", plant.log, serde_json::to_string(&plant).unwrap())
    };
    assert_eq!(text(3), text(3));
    assert_ne!(text(3), text(4));
}

#[test]
fn a_kept_plant_goes_on_as_if_it_had_not_stopped() {
    let master = master(60);
    let mut whole = simulate(&master, TODAY - Days::new(1));
    let mut stopped = simulate(&master, TODAY - Days::new(1));
    stopped.plant.forget_closed();
    let kept: Plant = serde_json::from_str(&serde_json::to_string(&stopped.plant).unwrap()).unwrap();
    let mut resumed = Sim::resume(&master, kept, TODAY - Days::new(1));
    whole.plant.log = super::plant::Log::default();
    whole.day(TODAY - Days::new(1));
    resumed.day(TODAY - Days::new(1));
    assert_eq!(format!("{:?}", whole.plant.log), format!("{:?}", resumed.plant.log));
    assert_eq!(resumed.plant.now, day_start(TODAY - Days::new(1)) + DAY);
}

fn options(dir: &Path, scale: u32) -> DemoOptions {
    DemoOptions { dir: dir.to_owned(), scale, seed: 5, on: None, today: Some(TODAY), months: None }
}

fn run<T>(work: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(work)
}

/// All rows of all tables of all four files.
fn contents(dir: &Path) -> BTreeMap<String, Vec<Vec<rusqlite::types::Value>>> {
    let mut contents = BTreeMap::new();
    for product in &PRODUCTS {
        let connection = rusqlite::Connection::open(dir.join(format!(".loopline/demo/{}.sqlite", product.system))).unwrap();
        for table in product.tables {
            let mut statement = connection.prepare(&format!("select * from \"{}\" order by 1, 2, 3", table.name)).unwrap();
            let width = statement.column_count();
            let rows = statement.query_map([], |row| (0..width).map(|index| row.get(index)).collect()).unwrap();
            contents.insert(format!("{}.{}", product.system, table.name), rows.map(Result::unwrap).collect());
        }
    }
    contents
}

#[test]
fn databases_are_the_same_each_time_and_grow_with_the_scale() {
    let (one, two, large) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let rows = |summary: &DemoSummary| summary.systems.iter().map(|system| system.rows).sum::<u64>();
    let small = run(create(&options(one.path(), 1))).unwrap();
    run(create(&options(two.path(), 1))).unwrap();
    assert!(contents(one.path()) == contents(two.path()), "two runs differ");
    run(advance(&options(one.path(), 1), 2)).unwrap();
    run(advance(&options(two.path(), 1), 2)).unwrap();
    assert!(contents(one.path()) == contents(two.path()), "two runs differ after two days");
    let clock = std::fs::read_to_string(one.path().join(".loopline/demo/clock")).unwrap();
    assert_eq!(clock, "2026-11-25T06:00:00Z\n");
    let double = run(create(&options(large.path(), 2))).unwrap();
    let factor = rows(&double) * 10 / rows(&small);
    assert!((18..=22).contains(&factor), "twice the scale makes {factor} tenths of the rows");
}

#[test]
fn stock_in_the_warehouse_is_the_sum_of_its_movements_after_a_day_too() {
    let dir = tempfile::tempdir().unwrap();
    run(create(&options(dir.path(), 1))).unwrap();
    run(advance(&options(dir.path(), 1), 1)).unwrap();
    let connection = rusqlite::Connection::open(dir.path().join(".loopline/demo/wms.sqlite")).unwrap();
    let wrong: i64 = connection
        .query_row(
            "with moved as (
               select article, lot_no, to_loc as loc, qty from movement where to_loc is not null
               union all select article, lot_no, from_loc, -qty from movement where from_loc is not null),
             book as (select article, lot_no, loc, sum(qty) as qty from moved group by 1, 2, 3 having sum(qty) <> 0)
             select count(*) from (
               select article, lot_no, loc, qty from book except select article, lot_no, loc, qty from stock
               union all
               select * from (select article, lot_no, loc, qty from stock except select article, lot_no, loc, qty from book))",
            [],
            |row| row.get(0),
        )
        .unwrap();
    assert_eq!(wrong, 0);
}

#[test]
fn an_edit_by_hand_moves_the_stamp_past_every_other() {
    let dir = tempfile::tempdir().unwrap();
    run(create(&options(dir.path(), 1))).unwrap();
    for product in &PRODUCTS {
        let connection =
            rusqlite::Connection::open(dir.path().join(format!(".loopline/demo/{}.sqlite", product.system))).unwrap();
        for table in product.tables {
            let Some(stamp) = table.stamp else { continue };
            let name = format!("\"{}\"", table.name);
            let column = format!("\"{}\"", stamp.column());
            let rows: i64 = connection.query_row(&format!("select count(*) from {name}"), [], |row| row.get(0)).unwrap();
            if rows == 0 {
                continue;
            }
            let key = format!("\"{}\"", table.key[0]);
            let sql = format!("update {name} set {key} = {key} where rowid = (select min(rowid) from {name})");
            for _ in 0..2 {
                let before: String = text(&connection, &format!("select max({column}) from {name}"));
                connection.execute(&sql, []).unwrap();
                let after: String = text(&connection, &format!("select {column} from {name} order by rowid limit 1"));
                let grew = (after.len(), &after) > (before.len(), &before);
                assert!(grew, "{}.{}: {after} is not past {before}", product.system, table.name);
            }
        }
    }
}

fn text(connection: &rusqlite::Connection, sql: &str) -> String {
    connection.query_row(&format!("select cast(({sql}) as text)"), [], |row| row.get(0)).unwrap()
}

#[test]
fn what_the_hub_wrote_is_executed_and_stays() {
    let dir = tempfile::tempdir().unwrap();
    run(create(&options(dir.path(), 1))).unwrap();
    let erp = rusqlite::Connection::open(dir.path().join(".loopline/demo/erp.sqlite")).unwrap();
    let material = text(&erp, "select \"MATNR\" from \"INFO\" order by 1 limit 1");
    erp.execute(
        "insert into \"BANF\" (\"MATNR\", \"WERK\", \"MENGE\", \"MEINS\", \"BEDT\", \"EXTREF\") values (?1, '1000', 12.5, 'KG', '2026-11-30', 'hub-1')",
        [&material],
    )
    .unwrap();
    let line = text(&erp, "select min(rowid) from \"AUFP\" where \"STATUS\" = '20' and \"WUNSCHT\" > '2026-12-01'");
    erp.execute("update \"AUFP\" set \"ZUSAGE\" = '2027-02-01', \"ERSTZUS\" = '2027-02-01' where rowid = ?1", [&line]).unwrap();
    let mut ordered = 0;
    for _ in 0..4 {
        ordered += run(advance(&options(dir.path(), 1), 1)).unwrap().requests_ordered;
    }
    assert_eq!(ordered, 1);
    assert_eq!(text(&erp, "select \"STATUS\" from \"BANF\" where \"EXTREF\" = 'hub-1'"), "30");
    assert_eq!(text(&erp, "select count(*) from \"BESTP\" where \"EXTREF\" = 'hub-1' and \"MENGE\" = 12.5"), "1");
    assert_eq!(text(&erp, &format!("select \"ZUSAGE\" from \"AUFP\" where rowid = {line}")), "2027-02-01");
}

#[test]
fn advancing_nothing_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let missing = run(advance(&options(dir.path(), 1), 1)).unwrap_err().to_string();
    assert!(missing.starts_with("demo: there is no plant in "), "{missing}");
    assert_eq!(run(advance(&options(dir.path(), 1), 0)).unwrap_err().to_string(), "demo: cannot advance by 0 days");
}
