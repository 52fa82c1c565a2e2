//! The order of nodes.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashSet};

/// Which node comes after which.
#[derive(Debug, Default)]
pub(super) struct Graph {
    /// For each node what it depends on, in the order found.
    edges: Vec<Vec<usize>>,
    known: HashSet<(usize, usize)>,
}

impl Graph {
    pub(super) fn new(nodes: usize) -> Self {
        Self { edges: vec![Vec::new(); nodes], known: HashSet::new() }
    }

    /// `node` comes after `before`; a node never waits for itself.
    pub(super) fn add(&mut self, node: usize, before: usize) {
        if node != before
            && before < self.edges.len()
            && let Some(edges) = self.edges.get_mut(node)
            && self.known.insert((node, before))
        {
            edges.push(before);
        }
    }

    pub(super) fn before(&self, node: usize) -> &[usize] {
        self.edges.get(node).map_or(&[], Vec::as_slice)
    }

    /// Whether `node` waits for `other`, however indirectly.
    pub(super) fn waits_for(&self, node: usize, other: usize) -> bool {
        let mut seen = HashSet::from([node]);
        let mut open = vec![node];
        while let Some(next) = open.pop() {
            if next == other {
                return true;
            }
            open.extend(self.before(next).iter().filter(|before| seen.insert(**before)));
        }
        false
    }

    /// Every node after all it waits for, otherwise in the order of the template; or a circle.
    pub(super) fn order(&self) -> Result<Vec<usize>, Vec<usize>> {
        let mut after = vec![Vec::new(); self.edges.len()];
        let mut waiting: Vec<usize> = self.edges.iter().map(Vec::len).collect();
        for (node, edges) in self.edges.iter().enumerate() {
            for before in edges {
                if let Some(after) = after.get_mut(*before) {
                    after.push(node);
                }
            }
        }
        let free = waiting.iter().enumerate().filter(|(_, count)| **count == 0);
        let mut ready: BinaryHeap<Reverse<usize>> = free.map(|(node, _)| Reverse(node)).collect();
        let mut order = Vec::with_capacity(self.edges.len());
        while let Some(Reverse(node)) = ready.pop() {
            order.push(node);
            for next in after.get(node).into_iter().flatten() {
                if let Some(count) = waiting.get_mut(*next) {
                    *count -= 1;
                    if *count == 0 {
                        ready.push(Reverse(*next));
                    }
                }
            }
        }
        if order.len() == self.edges.len() { Ok(order) } else { Err(self.circle(&waiting)) }
    }

    /// Walks back along nodes that still wait until one comes up again.
    fn circle(&self, waiting: &[usize]) -> Vec<usize> {
        let stuck = |node: &usize| waiting.get(*node).is_some_and(|count| *count > 0);
        let mut path = Vec::new();
        let mut next = (0..waiting.len()).find(|node| stuck(node));
        while let Some(node) = next {
            if let Some(start) = path.iter().position(|seen| *seen == node) {
                path.push(node);
                return path.split_off(start);
            }
            path.push(node);
            next = self.before(node).iter().copied().find(|before| stuck(before));
        }
        path
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn graph(nodes: usize, edges: &[(usize, usize)]) -> Graph {
        let mut graph = Graph::new(nodes);
        for (node, before) in edges {
            graph.add(node % nodes, before % nodes);
        }
        graph
    }

    #[test]
    fn without_edges_the_template_decides() {
        assert_eq!(graph(3, &[]).order(), Ok(vec![0, 1, 2]));
        assert_eq!(graph(3, &[(0, 2)]).order(), Ok(vec![1, 2, 0]));
    }

    #[test]
    fn circles_are_named() {
        assert_eq!(graph(4, &[(0, 1), (1, 2), (2, 1)]).order(), Err(vec![1, 2, 1]));
    }

    proptest! {
        #[test]
        fn an_order_respects_every_edge_and_no_circle_is_accepted(
            nodes in 1usize..20,
            edges in prop::collection::vec((0usize..20, 0usize..20), 0..40),
        ) {
            let graph = graph(nodes, &edges);
            match graph.order() {
                Ok(order) => {
                    prop_assert_eq!(order.len(), nodes);
                    let place = |node: usize| order.iter().position(|other| *other == node);
                    for node in 0..nodes {
                        for before in graph.before(node) {
                            prop_assert!(place(*before) < place(node));
                            prop_assert!(!graph.waits_for(*before, node));
                        }
                    }
                }
                Err(circle) => {
                    prop_assert!(circle.len() > 2);
                    prop_assert_eq!(circle.first(), circle.last());
                    for pair in circle.windows(2) {
                        prop_assert!(graph.before(pair[0]).contains(&pair[1]));
                    }
                }
            }
        }
    }
}
