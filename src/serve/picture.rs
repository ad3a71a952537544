//! Lineage as a picture: tables as boxes from left to right, lines from column to column.

use std::collections::{BTreeMap, BTreeSet};

use maud::{Markup, html};

use crate::base::TableName;
use crate::model::{Branch, ColumnName, Lineage, Way};

const BOX_WIDTH: usize = 230;
const BOX_GAP: usize = 90;
const LINE_HEIGHT: usize = 18;
const BOX_SPACE: usize = 16;

/// More boxes than this are no picture any more; the list beside it has all.
const BOXES_MAX: usize = 150;

/// A box: a table with those of its columns that are on the way.
struct Shown<'a> {
    table: &'a TableName,
    columns: Vec<&'a str>,
    x: usize,
    y: usize,
}

/// The ways to and from one column.
pub(super) fn column(lineage: &Lineage, column: &ColumnName) -> Markup {
    let mut names = BTreeSet::new();
    let mut lines = BTreeSet::new();
    for way in [Way::Upstream, Way::Downstream] {
        let tree = lineage.follow(column, way);
        tree.names(&mut names);
        collect(&tree, way, &mut lines);
    }
    draw(&names, &lines, column)
}

/// Lines from left to right: (from, to).
fn collect(tree: &Branch, way: Way, lines: &mut BTreeSet<(ColumnName, ColumnName)>) {
    for branch in &tree.branches {
        let (here, there) = (tree.column.clone(), branch.column.clone());
        lines.insert(if way == Way::Upstream { (there, here) } else { (here, there) });
        collect(branch, way, lines);
    }
}

fn draw(names: &BTreeSet<ColumnName>, lines: &BTreeSet<(ColumnName, ColumnName)>, chosen: &ColumnName) -> Markup {
    let tables: BTreeSet<&TableName> = names.iter().map(|name| &name.table).collect();
    if tables.len() > BOXES_MAX {
        return html! { p.soft { "This column touches " (tables.len()) " tables, too many for a picture: " code { "loopline lineage " (chosen) } } };
    }
    let boxes = place(names, lines);
    let width = boxes.iter().map(|shown| shown.x + BOX_WIDTH).max().unwrap_or(0) + 2;
    let height = boxes.iter().map(|shown| shown.y + shown.height()).max().unwrap_or(0) + 2;
    let spot = |name: &ColumnName| {
        let shown = boxes.iter().find(|shown| *shown.table == name.table)?;
        let at = shown.columns.iter().position(|column| *column == name.column)?;
        Some((shown.x, shown.y + LINE_HEIGHT * (at + 1) + LINE_HEIGHT / 2 + 4))
    };
    let curve = |from: (usize, usize), to: (usize, usize)| {
        let (start, middle) = (from.0 + BOX_WIDTH, (from.0 + BOX_WIDTH + to.0) / 2);
        format!("M{start} {} C{middle} {} {middle} {} {} {}", from.1, from.1, to.1, to.0, to.1)
    };
    html! {
        div.scroll {
            svg.lineage width=(width) height=(height) viewBox=(format!("0 0 {width} {height}")) role="img" aria-label=(format!("Lineage of {chosen}")) {
                @for (from, to) in lines {
                    @if let (Some(from), Some(to)) = (spot(from), spot(to)) { path d=(curve(from, to)) {} }
                }
                @for shown in &boxes {
                    rect x=(shown.x) y=(shown.y) width=(BOX_WIDTH) height=(shown.height()) rx="6" {}
                    a href=(format!("/tables/{}", shown.table)) { text.table x=(shown.x + 10) y=(shown.y + LINE_HEIGHT) { (shown.table) } }
                    @for (at, column) in shown.columns.iter().enumerate() {
                        a href=(format!("/tables/{}?column={column}", shown.table)) {
                            text x=(shown.x + 18) y=(shown.y + LINE_HEIGHT * (at + 2)) class=[(*shown.table == chosen.table && *column == chosen.column).then_some("chosen")] { (column) }
                        }
                    }
                }
            }
        }
    }
}

/// Each box as far to the right as its longest way; in a rank, boxes stand where the boxes that they come from stand.
fn place<'a>(names: &'a BTreeSet<ColumnName>, lines: &'a BTreeSet<(ColumnName, ColumnName)>) -> Vec<Shown<'a>> {
    let mut ranks: BTreeMap<&TableName, usize> = names.iter().map(|name| (&name.table, 0)).collect();
    // A way has at most as many steps as there are tables.
    for _ in 0..ranks.len() {
        let mut moved = false;
        for (from, to) in lines.iter().filter(|(from, to)| from.table != to.table) {
            let behind = ranks.get(&from.table).map_or(0, |rank| rank + 1);
            if let Some(rank) = ranks.get_mut(&to.table).filter(|rank| **rank < behind) {
                *rank = behind;
                moved = true;
            }
        }
        if !moved {
            break;
        }
    }
    let mut boxes: Vec<Shown> = vec![];
    for rank in 0..=ranks.values().copied().max().unwrap_or(0) {
        let height_of_sources = |table: &TableName| {
            let sources = lines.iter().filter(|(_, to)| to.table == *table);
            let heights =
                sources.filter_map(|(from, _)| boxes.iter().find(|shown| *shown.table == from.table).map(|shown| shown.y));
            let heights: Vec<usize> = heights.collect();
            heights.iter().sum::<usize>() / heights.len().max(1)
        };
        let mut of_rank: Vec<(usize, &TableName)> =
            ranks.iter().filter(|(_, at)| **at == rank).map(|(table, _)| (height_of_sources(table), *table)).collect();
        of_rank.sort();
        let mut y = 1;
        for (_, table) in of_rank {
            let columns = names.iter().filter(|name| name.table == *table).map(|name| name.column.as_str()).collect();
            let shown = Shown { table, columns, x: 1 + rank * (BOX_WIDTH + BOX_GAP), y };
            y += shown.height() + BOX_SPACE;
            boxes.push(shown);
        }
    }
    boxes
}

impl Shown<'_> {
    fn height(&self) -> usize {
        LINE_HEIGHT * (self.columns.len() + 1) + 10
    }
}
