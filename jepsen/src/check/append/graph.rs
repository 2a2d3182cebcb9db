//! Who comes before whom, and the cycles in that.

use std::collections::{HashMap, VecDeque};

/// Why one transaction comes before another one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Why {
    /// It wrote what the other one wrote after.
    WriteWrite,
    /// It wrote what the other one read.
    WriteRead,
    /// It read what was before what the other one wrote.
    ReadWrite,
    /// It was over before the other one began.
    Time,
}

/// Transactions, and moments that stand between them in time, numbered from 0; moments come last.
#[derive(Debug, Default)]
pub(super) struct Graph {
    edges: Vec<Vec<(usize, Why)>>,
    transactions: usize,
}

/// A cycle: each transaction, and why it comes before the next one.
pub(super) type Cycle = Vec<(usize, Why)>;

/// So many transactions of one knot are begun from when a shortest cycle is looked for.
const MAX_BEGINNINGS: usize = 200;

impl Graph {
    pub(super) fn new(transactions: usize) -> Self {
        Self { edges: vec![Vec::new(); transactions], transactions }
    }

    pub(super) fn add(&mut self, from: usize, to: usize, why: Why) {
        if from != to {
            self.edges[from].push((to, why));
        }
    }

    /// Adds time. An end goes to a moment, moments follow one another, and the last moment before an invocation goes to what is invoked:
    /// so a few edges say for all pairs what was over before what began. Each is (transaction, invoked, returned if it was).
    pub(super) fn add_time(&mut self, spans: &[(usize, usize, Option<usize>)]) {
        let mut ends: Vec<(usize, usize)> = spans.iter().filter_map(|(node, _, returned)| Some(((*returned)?, *node))).collect();
        ends.sort_unstable();
        let first = self.edges.len();
        self.edges.extend(std::iter::repeat_n(Vec::new(), ends.len()));
        for (moment, (_, node)) in (first..).zip(&ends) {
            self.edges[*node].push((moment, Why::Time));
            if moment > first {
                self.edges[moment - 1].push((moment, Why::Time));
            }
        }
        for (node, invoked, _) in spans {
            if let Some(last) = ends.partition_point(|(returned, _)| returned < invoked).checked_sub(1) {
                self.edges[first + last].push((*node, Why::Time));
            }
        }
    }

    /// The knots: sets of nodes each of which comes before all others. Tarjan's, without recursion.
    pub(super) fn knots(&self) -> Vec<Vec<usize>> {
        const NEW: usize = usize::MAX;
        let nodes = self.edges.len();
        let (mut number, mut low, mut on_stack) = (vec![NEW; nodes], vec![0; nodes], vec![false; nodes]);
        let (mut stack, mut knots, mut count) = (Vec::new(), Vec::new(), 0);
        for root in (0..nodes).filter(|root| !self.edges[*root].is_empty()) {
            if number[root] != NEW {
                continue;
            }
            let mut work = vec![(root, 0)];
            while let Some((node, edge)) = work.last_mut() {
                let node = *node;
                if *edge == 0 && number[node] == NEW {
                    (number[node], low[node], on_stack[node]) = (count, count, true);
                    count += 1;
                    stack.push(node);
                }
                if let Some((next, _)) = self.edges[node].get(*edge) {
                    *edge += 1;
                    if number[*next] == NEW {
                        work.push((*next, 0));
                    } else if on_stack[*next] {
                        low[node] = low[node].min(number[*next]);
                    }
                    continue;
                }
                work.pop();
                if let Some((parent, _)) = work.last() {
                    low[*parent] = low[*parent].min(low[node]);
                }
                if low[node] == number[node] {
                    let from = stack.iter().rposition(|other| *other == node).unwrap_or(0);
                    let knot = stack.split_off(from);
                    knot.iter().for_each(|node| on_stack[*node] = false);
                    if knot.len() > 1 {
                        knots.push(knot);
                    }
                }
            }
        }
        knots
    }

    /// The shortest cycle through a knot with edges of these kinds; with `single`, one that has exactly one edge of [`Why::ReadWrite`].
    pub(super) fn cycle(&self, knot: &[usize], kinds: &[Why], single: bool) -> Option<Cycle> {
        let inside: HashMap<usize, ()> = knot.iter().map(|node| (*node, ())).collect();
        let begin = knot.iter().copied().filter(|node| *node < self.transactions).take(MAX_BEGINNINGS);
        let cycles = begin.filter_map(|node| self.cycle_from(node, &inside, kinds, single));
        cycles.min_by_key(Vec::len).map(|cycle| self.without_moments(cycle))
    }

    /// A breadth-first walk back to `start`. With `single` it begins with the one edge that reads before a write.
    fn cycle_from(&self, start: usize, inside: &HashMap<usize, ()>, kinds: &[Why], single: bool) -> Option<Cycle> {
        let mut came: HashMap<usize, (usize, Why)> = HashMap::new();
        let mut queue = VecDeque::from([start]);
        while let Some(node) = queue.pop_front() {
            for (next, why) in &self.edges[node] {
                let allowed = if single && node == start { *why == Why::ReadWrite } else { kinds.contains(why) };
                if !allowed || !inside.contains_key(next) {
                    continue;
                }
                if *next == start {
                    let mut cycle = vec![(node, *why)];
                    let mut at = node;
                    while at != start {
                        let (before, why) = came.get(&at).copied()?;
                        cycle.push((before, why));
                        at = before;
                    }
                    cycle.reverse();
                    return Some(cycle);
                }
                if !came.contains_key(next) {
                    came.insert(*next, (node, *why));
                    queue.push_back(*next);
                }
            }
        }
        None
    }

    fn without_moments(&self, cycle: Cycle) -> Cycle {
        cycle.into_iter().filter(|(node, _)| *node < self.transactions).collect()
    }
}
