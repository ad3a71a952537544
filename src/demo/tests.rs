use super::master::{Level, Master};
use super::sim::Sim;
use chrono::{Days, NaiveDate};

#[test]
fn probe() {
    let today = NaiveDate::from_ymd_opt(2026, 11, 23).unwrap();
    let first = NaiveDate::from_ymd_opt(2025, 5, 23).unwrap();
    let t = std::time::Instant::now();
    let m = Master::new(1, 0, first, today);
    let mut s = Sim::open(&m, today);
    let mut d = first;
    while d < today {
        s.day(d);
        d = d + Days::new(1);
        if (d - first).num_days() % 60 == 0 {
            println!(
                "{d} open sales {} lines {} overdue {} work {} purch {} busy {}",
                s.plant.open_sales.len(),
                s.plant.sales.values().flatten().filter(|l| l.open).count(),
                s.plant
                    .sales
                    .values()
                    .flatten()
                    .filter(|l| l.open && l.promised.is_some_and(|p| p < super::sim::day_no(d)))
                    .count(),
                s.plant.open_work.len(),
                s.plant.open_purchases.len(),
                s.plant.busy.iter().flatten().count()
            );
        }
    }
    println!("{:?}", t.elapsed());
    let p = &s.plant;
    println!(
        "requests {} orders {} lines {} wo {} po {} lots {} quants {} mov {} ship {} conf {} states {} links {} meas {} insp {} compl {} cases {}",
        p.requests.len(),
        p.sales.len(),
        p.sales.values().flatten().count(),
        p.work_orders.len(),
        p.purchases.len(),
        p.lots.len(),
        p.stock.iter().flatten().count(),
        p.log.movements.len(),
        p.shipments.len(),
        p.log.confirmations.len(),
        p.log.states.len(),
        p.log.links.len(),
        p.log.measurements.len(),
        p.inspections.len(),
        p.complaints.len(),
        p.cases.len()
    );
    println!("unpromised {}", p.sales.values().flatten().filter(|l| l.open && l.promised.is_none()).count());
    // on time
    let mut last = std::collections::BTreeMap::new();
    for sh in &p.shipments {
        last.insert((sh.order, sh.order_line), sh.delivered);
    }
    let (mut ok, mut n) = (0, 0);
    for l in p.sales.values().flatten().filter(|l| !l.open && !l.cancelled) {
        n += 1;
        if let (Some(d), Some(f)) = (last.get(&(l.order, l.line)), l.first_promised) {
            if super::sim::day_no(super::calendar::day_of(*d)) <= f {
                ok += 1
            }
        }
    }
    println!("on time {ok}/{n}");
    for c in 0..12 {
        let b: i64 = p.log.confirmations.iter().filter(|x| x.center as usize == c).map(|x| x.end - x.begin).sum::<i64>();
        let cap: i64 = m.shifts_of(c).spans().iter().filter(|s| s.1 < p.now).map(|s| s.1 - s.0).sum();
        println!("{} run {}%", m.centers[c].code, b * 100 / cap);
    }
    for lv in [Level::Finished, Level::Semi, Level::Base, Level::Bought] {
        let ids: Vec<usize> = (0..400).filter(|i| m.items[*i].level == lv).collect();
        let out = ids.iter().filter(|i| s_free(&s, **i) < m.items[**i].daily / 1000).count();
        println!("{lv:?} {} short {out} daily0 {} lot0 {}", ids.len(), m.items[ids[0]].daily, m.items[ids[0]].lot);
    }
}
fn s_free(s: &Sim, i: usize) -> i64 {
    s.plant.stock[i].iter().map(|q| q.quantity).sum()
}
