//! `trace`: where a lot went and what it came from.
//!
//! Genealogy is a directed graph: a link says that one lot was used to make (or was repacked into) another. From each seed, breadth-first
//! search goes forward to every lot that contains it and backward to every lot it contains, so `depth` is the number of links on the
//! shortest path and circles end by themselves. Among shortest paths the first in the order of the lots' names is reported; of several links
//! between the same two lots the earliest, then the smallest work order. Of a path over 24 lots the ends are shown (`A > … > Z`). Time and memory grow with the links and with the result.

use std::collections::HashMap;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;

use super::columns::{Table, tables};
use super::output::Output;
use super::{Context, DecideError, Decision, Input};

/// Lots shown from each end of a longer path: the text of a chain of a million lots must not grow with its square.
const HALF: usize = 12;

static INPUTS: [Input; 2] = [
    Input { name: "links", columns: &[("from_lot", "text"), ("to_lot", "text"), ("work_order_id", "text"), ("at", "timestamp")] },
    Input { name: "seeds", columns: &[("lot_id", "text")] },
];

const COLUMNS: &[(&str, &str)] = &[
    ("seed", "text"),
    ("direction", "text"),
    ("lot_id", "text"),
    ("depth", "bigint"),
    ("via_work_order", "text"),
    ("path", "text"),
];

/// Lot genealogy from seeds, both ways.
pub struct Trace;

impl Decision for Trace {
    fn name(&self) -> &'static str {
        "trace"
    }

    fn description(&self) -> &'static str {
        "Every lot that contains a seed (forward) or that a seed contains (backward), with the shortest path"
    }

    fn version(&self) -> u32 {
        1
    }

    fn uses_clock(&self) -> bool {
        false
    }

    fn inputs(&self) -> &'static [Input] {
        &INPUTS
    }

    fn schema(&self) -> SchemaRef {
        super::output::schema(COLUMNS)
    }

    fn identities(&self) -> &'static [(&'static str, &'static str, &'static str)] {
        &[("seed", "seeds", "lot_id")]
    }

    fn decide(&self, batches: &[RecordBatch], _context: &Context) -> Result<RecordBatch, DecideError> {
        let [links, seeds] = tables::<2>(self.name(), &INPUTS, batches)?;
        let source = Source::new(&links, &seeds)?;
        let graph = Graph::read(&source)?;
        let mut rows = Vec::new();
        let mut visits = vec![None; graph.lots.len()];
        for seed in graph.seeds.iter().copied() {
            rows.push(Row {
                seed,
                direction: "self",
                lot: seed,
                depth: 0,
                via: None,
                path: graph.lots[seed as usize].to_owned(),
            });
            graph.search(seed, "forward", &graph.forward, &mut visits, &mut rows);
            graph.search(seed, "backward", &graph.backward, &mut visits, &mut rows);
        }
        write(self.name(), &graph, &rows)
    }
}

type Text<'t> = super::columns::Column<'t, arrow::array::StringArray>;

struct Source<'t> {
    from: Text<'t>,
    to: Text<'t>,
    order: Text<'t>,
    at: super::columns::Column<'t, arrow::array::TimestampMicrosecondArray>,
    links: usize,
    seed: Text<'t>,
    seeds: usize,
}

impl<'t> Source<'t> {
    fn new(links: &'t Table<'t>, seeds: &'t Table<'t>) -> Result<Self, DecideError> {
        Ok(Self {
            from: links.text("from_lot")?,
            to: links.text("to_lot")?,
            order: links.text("work_order_id")?,
            at: links.instant("at")?,
            links: links.len(),
            seed: seeds.text("lot_id")?,
            seeds: seeds.len(),
        })
    }
}

/// Links by the lot they start from: `ends[first[lot]..first[lot + 1]]`, each with its row in the input.
struct Adjacency {
    first: Vec<u32>,
    ends: Vec<(u32, u32)>,
}

impl Adjacency {
    /// Sorts the links by their start in linear time.
    fn new(lots: usize, from: &[u32], to: &[u32]) -> Self {
        let mut first = vec![0_u32; lots + 1];
        from.iter().for_each(|lot| first[*lot as usize + 1] += 1);
        (0..lots).for_each(|lot| first[lot + 1] += first[lot]);
        let mut next = first.clone();
        let mut ends = vec![(0, 0); from.len()];
        for (row, (from, to)) in from.iter().zip(to).enumerate() {
            let slot = &mut next[*from as usize];
            ends[*slot as usize] = (*to, row as u32);
            *slot += 1;
        }
        Self { first, ends }
    }

    fn of(&self, lot: u32) -> &[(u32, u32)] {
        &self.ends[self.first[lot as usize] as usize..self.first[lot as usize + 1] as usize]
    }
}

struct Graph<'t> {
    source: &'t Source<'t>,
    lots: Vec<&'t str>,
    seeds: Vec<u32>,
    forward: Adjacency,
    backward: Adjacency,
}

struct Row<'t> {
    seed: u32,
    direction: &'static str,
    lot: u32,
    depth: i64,
    via: Option<&'t str>,
    path: String,
}

impl<'t> Graph<'t> {
    fn read(source: &'t Source<'t>) -> Result<Self, DecideError> {
        let mut number: HashMap<&str, u32> = HashMap::with_capacity(source.links);
        let mut lots: Vec<&str> = Vec::new();
        let mut intern = |lot: &'t str| {
            *number.entry(lot).or_insert_with(|| {
                lots.push(lot);
                lots.len() as u32 - 1
            })
        };
        let (mut from, mut to) = (Vec::with_capacity(source.links), Vec::with_capacity(source.links));
        for row in 0..source.links {
            from.push(intern(source.from.need(row)?));
            to.push(intern(source.to.need(row)?));
        }
        let mut seeds = Vec::with_capacity(source.seeds);
        for row in 0..source.seeds {
            seeds.push(intern(source.seed.need(row)?));
        }
        seeds.sort_unstable_by_key(|seed| lots[*seed as usize]);
        seeds.dedup();
        let (forward, backward) = (Adjacency::new(lots.len(), &from, &to), Adjacency::new(lots.len(), &to, &from));
        Ok(Self { source, lots, seeds, forward, backward })
    }

    /// Breadth-first, neighbours by name: lots come out by depth, then by the names along their path.
    ///
    /// `visits` has a place for each lot and is handed back as it came, so that a search costs what it finds and not what there is.
    fn search(
        &self,
        seed: u32,
        direction: &'static str,
        links: &Adjacency,
        visits: &mut [Option<Visit>],
        rows: &mut Vec<Row<'t>>,
    ) {
        visits[seed as usize] = Some(Visit { parent: None, anchor: seed });
        let mut found = vec![seed];
        let (mut level, mut depth) = (0..1, 0);
        while !level.is_empty() {
            depth += 1;
            for at in level.clone() {
                let from = found[at];
                let anchor = visits[from as usize].map_or(seed, |visit| visit.anchor);
                for (to, row) in self.unseen(links.of(from), visits) {
                    let anchor = if depth < HALF { to } else { anchor };
                    visits[to as usize] = Some(Visit { parent: Some(from), anchor });
                    found.push(to);
                    let via = self.source.order.get(row as usize);
                    rows.push(Row { seed, direction, lot: to, depth: depth as i64, via, path: self.path(to, depth, visits) });
                }
            }
            level = level.end..found.len();
        }
        found.iter().for_each(|lot| visits[*lot as usize] = None);
    }

    /// The lots at the other end that were not found yet, by name, each with the link to report.
    fn unseen(&self, ends: &[(u32, u32)], visits: &[Option<Visit>]) -> Vec<(u32, u32)> {
        let mut ends: Vec<(u32, u32)> = ends.iter().copied().filter(|(to, _)| visits[*to as usize].is_none()).collect();
        ends.sort_by_key(|(to, row)| (self.lots[*to as usize], self.preference(*row)));
        ends.dedup_by_key(|(to, _)| *to);
        ends
    }

    /// Which of several links between two lots is reported: known times and work orders before unknown ones.
    fn preference(&self, row: u32) -> (i64, bool, Option<&'t str>) {
        let order = self.source.order.get(row as usize);
        (self.source.at.get(row as usize).unwrap_or(i64::MAX), order.is_none(), order)
    }

    fn path(&self, lot: u32, depth: usize, visits: &[Option<Visit>]) -> String {
        let up = |lot: u32| std::iter::successors(Some(lot), |lot| visits[*lot as usize].and_then(|visit| visit.parent));
        let name = |lot: u32| self.lots[lot as usize];
        let mut names: Vec<&str> = Vec::with_capacity(2 * HALF + 1);
        if depth < 2 * HALF {
            names.extend(up(lot).map(name));
        } else {
            let anchor = visits[lot as usize].map_or(lot, |visit| visit.anchor);
            names.extend(up(lot).take(HALF).map(name));
            names.push("…");
            names.extend(up(anchor).map(name));
        }
        names.reverse();
        names.join(" > ")
    }
}

/// How a lot was found.
#[derive(Clone, Copy)]
struct Visit {
    parent: Option<u32>,
    /// The last of the first [`HALF`] lots of its path.
    anchor: u32,
}

fn write(function: &'static str, graph: &Graph<'_>, rows: &[Row<'_>]) -> Result<RecordBatch, DecideError> {
    let name = |lot: u32| Some(graph.lots[lot as usize]);
    let mut out = Output::new(function, COLUMNS);
    out.text(rows.iter().map(|row| name(row.seed)))?;
    out.text(rows.iter().map(|row| Some(row.direction)))?;
    out.text(rows.iter().map(|row| name(row.lot)))?;
    out.bigints(rows.iter().map(|row| Some(row.depth)));
    out.text(rows.iter().map(|row| row.via))?;
    out.text(rows.iter().map(|row| Some(row.path.as_str())))?;
    out.finish()
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use proptest::prelude::*;

    use super::*;
    use crate::decide::testing::{check, context, decide, show, table};

    const SHOWN: [&str; 5] = ["seed", "direction", "lot_id", "depth", "path"];

    #[test]
    fn both_ways_by_hand() {
        let links = "
            steel | blank | W1 | -
            blank | gear | W3 | 2026-01-02 00:00
            blank | gear | W2 | 2026-01-01 00:00
            blank | gear | - | -
            steel | gear | W9 | -
            gear | box | W4 | -
            oil | box | W4 | -
            box | gear | W5 | -";
        let result = decide(&Trace, "2026-01-01", &[links, "blank\nghost\nblank"]).unwrap();
        check(
            &result,
            &["seed", "direction", "lot_id", "depth", "via_work_order", "path"],
            "blank | self | blank | 0 | - | blank
             blank | forward | gear | 1 | W2 | blank > gear
             blank | forward | box | 2 | W4 | blank > gear > box
             blank | backward | steel | 1 | W1 | blank > steel
             ghost | self | ghost | 0 | - | ghost",
        );
    }

    #[test]
    fn long_paths_show_their_ends() {
        let links: String = (100..200).map(|n| format!("L{n} | L{} | - | -\n", n + 1)).collect();
        let result = decide(&Trace, "2026-01-01", &[&links, "L100"]).unwrap();
        let paths = show(&result, &["path"]);
        assert_eq!(paths.lines().nth(23).unwrap().split(" > ").count(), 24);
        let last: Vec<&str> = paths.lines().nth(100).unwrap().split(" > ").collect();
        assert_eq!((last.len(), last[0], last[11], last[12], last[13], last[24]), (25, "L100", "L111", "…", "L189", "L200"));
    }

    /// Shortest paths by trying all, in the order of names: a slow second implementation.
    fn brute(links: &BTreeSet<(String, String)>, seed: &str, forward: bool) -> BTreeMap<String, Vec<String>> {
        let mut best: BTreeMap<String, Vec<String>> = BTreeMap::from([(seed.to_owned(), vec![seed.to_owned()])]);
        loop {
            let mut changed = false;
            for (from, to) in links {
                let (from, to) = if forward { (from, to) } else { (to, from) };
                let Some(path) = best.get(from) else { continue };
                let path: Vec<String> = path.iter().chain([to]).cloned().collect();
                if best.get(to).is_none_or(|known| (path.len(), &path) < (known.len(), known)) {
                    best.insert(to.clone(), path);
                    changed = true;
                }
            }
            if !changed {
                return best;
            }
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, cases: 500, ..ProptestConfig::default() })]

        #[test]
        fn agrees_with_brute_force(
            (links, shuffled) in prop::collection::vec((0..12_u8, 0..12_u8), 0..30).prop_flat_map(|l| (Just(l.clone()), Just(l).prop_shuffle())),
            seeds in prop::collection::btree_set(0..14_u8, 0..3),
        ) {
            let name = |lot: &u8| format!("L{lot}");
            let text = |links: &[(u8, u8)]| links.iter().map(|(from, to)| format!("L{from} | L{to} | W{from} | -\n")).collect::<String>();
            let seeds: Vec<String> = seeds.iter().map(name).collect();
            let result = decide(&Trace, "2026-01-01", &[&text(&links), &seeds.join("\n")]).unwrap();
            let again = decide(&Trace, "2026-01-01", &[&text(&shuffled), &seeds.join("\n")]).unwrap();
            prop_assert_eq!(&result, &again);
            let links: BTreeSet<_> = links.iter().map(|(from, to)| (name(from), name(to))).collect();
            let mut expected: Vec<String> = Vec::new();
            for seed in &seeds {
                expected.push(format!("{seed} | self | {seed} | 0 | {seed}"));
                for (direction, forward) in [("forward", true), ("backward", false)] {
                    let found = brute(&links, seed, forward);
                    let others = found.iter().filter(|(lot, _)| *lot != seed);
                    expected.extend(others.map(|(lot, path)| format!("{seed} | {direction} | {lot} | {} | {}", path.len() - 1, path.join(" > "))));
                }
            }
            let text = show(&result, &SHOWN);
            let mut rows: Vec<&str> = text.lines().collect();
            rows.sort_unstable();
            expected.sort_unstable();
            prop_assert_eq!(rows, expected);
        }
    }

    /// Half a second of one core for a tangle, a second for a chain; paths that grow with their depth would not fit into memory.
    #[test]
    fn a_million_links() {
        let lots = 300_000_u64;
        let row = |n: u64| format!("L{} | L{} | W{} | -\n", n * 7_919 % lots, n * 104_729 % lots, n / 4);
        let tangle: String = (0..1_000_000).map(row).collect();
        let chain: String = (0..1_000_000_u64).map(|n| format!("L{n} | L{} | - | -\n", n + 1)).collect();
        for (links, seeds) in [(tangle, "L1\nL2\nL3"), (chain, "L500000")] {
            let batches = [table(&INPUTS[0], &links), table(&INPUTS[1], seeds)];
            let begun = std::time::Instant::now();
            let result = Trace.decide(&batches, &context("2026-01-01")).unwrap();
            eprintln!("a million links, {} rows: {:?}", result.num_rows(), begun.elapsed());
            assert!(begun.elapsed().as_secs() < 60);
        }
    }
}
