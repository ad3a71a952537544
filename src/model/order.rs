//! The order in which nodes are built: each after what it reads, and first those behind which the longest way lies.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, BinaryHeap};

use super::Graph;
use crate::base::TableName;

/// What a node is taken to last that was never built, in milliseconds.
const UNKNOWN_MS: u64 = 100;

/// Nodes that wait, and those that may be built now.
pub(super) struct Order {
    /// For each waiting node, how many of the nodes that it reads are not built yet.
    blockers: BTreeMap<usize, usize>,
    readers: BTreeMap<usize, Vec<usize>>,
    /// Milliseconds until the end of the longest way, by this node.
    way_ms: BTreeMap<usize, u64>,
    ready: BinaryHeap<(u64, Reverse<usize>)>,
}

impl Order {
    /// `wanted`: positions in the graph, ascending. `seconds`: how long a node took last time.
    pub fn new(graph: &Graph, wanted: &[usize], seconds: impl Fn(&TableName) -> Option<f64>) -> Self {
        let positions: BTreeMap<&TableName, usize> = wanted.iter().map(|at| (&graph.nodes[*at].table, *at)).collect();
        let (mut blockers, mut readers) = (BTreeMap::new(), BTreeMap::<usize, Vec<usize>>::new());
        for at in wanted {
            let inputs: BTreeSet<usize> =
                graph.nodes[*at].inputs.iter().filter_map(|input| positions.get(input).copied()).collect();
            blockers.insert(*at, inputs.len());
            inputs.into_iter().for_each(|input| readers.entry(input).or_default().push(*at));
        }
        let mut way_ms: BTreeMap<usize, u64> = BTreeMap::new();
        for at in wanted.iter().rev() {
            let behind = readers.get(at).into_iter().flatten().filter_map(|reader| way_ms.get(reader)).max();
            let own = seconds(&graph.nodes[*at].table).map_or(UNKNOWN_MS, |seconds| (seconds * 1_000.0) as u64 + 1);
            way_ms.insert(*at, own + behind.copied().unwrap_or_default());
        }
        let mut order = Self { blockers, readers, way_ms, ready: BinaryHeap::new() };
        let free: Vec<usize> = order.blockers.iter().filter(|(_, blockers)| **blockers == 0).map(|(at, _)| *at).collect();
        free.into_iter().for_each(|at| order.free(at));
        order
    }

    fn free(&mut self, at: usize) {
        self.ready.push((self.way_ms.get(&at).copied().unwrap_or_default(), Reverse(at)));
    }

    /// Takes a node that may be built now.
    pub fn next(&mut self) -> Option<usize> {
        self.ready.pop().map(|(_, Reverse(at))| at)
    }

    /// The node's rows may be read. Nodes behind one that is never done are never built.
    pub fn done(&mut self, at: usize) {
        for reader in self.readers.remove(&at).unwrap_or_default() {
            if let Some(blockers) = self.blockers.get_mut(&reader) {
                *blockers -= 1;
                if *blockers == 0 {
                    self.free(reader);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Node, NodeKind};
    use super::*;

    fn graph(nodes: &[(&str, &[&str])]) -> Graph {
        let node = |(table, inputs): &(&str, &[&str])| {
            let inputs = inputs.iter().map(|input| input.parse().unwrap()).collect();
            Node::new(table.parse().unwrap(), NodeKind::Model, inputs, vec![])
        };
        Graph::of(nodes.iter().map(node).collect())
    }

    #[test]
    fn the_longest_way_goes_first() {
        let nodes: [(&str, &[&str]); 5] =
            [("s.a", &[]), ("s.b", &["raw.x"]), ("s.c", &["s.b"]), ("s.d", &["s.a"]), ("s.e", &["s.c", "s.d", "s.d"])];
        let graph = graph(&nodes);
        let took = |table: &TableName| match table.name.as_str() {
            "a" => Some(0.5),
            "b" | "e" => Some(1.0),
            "c" => Some(30.0),
            _ => None,
        };
        let mut order = Order::new(&graph, &[0, 1, 2, 3, 4], took);
        let mut taken = vec![];
        while let Some(at) = order.next() {
            taken.push(graph.nodes[at].table.name.clone());
            order.done(at);
        }
        assert_eq!(taken, ["b", "c", "a", "d", "e"]);

        // What is behind a node that is not done never comes.
        let mut order = Order::new(&graph, &[0, 1, 2, 3, 4], took);
        assert_eq!([order.next(), order.next(), order.next()], [Some(1), Some(0), None]);
        order.done(0);
        assert_eq!([order.next(), order.next()], [Some(3), None]);
    }
}
