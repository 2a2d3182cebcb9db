//! The decision: a node for a pod, or the reasons why there is none.

use std::collections::BTreeMap;
use std::sync::Arc;

use kube::core::Selector;

use crate::cluster::{Cluster, NodeInfo};
use crate::filter::Filters;
use crate::fit_error::{FitError, Rejection};
use crate::pod_info::PodInfo;
use crate::score::scores;

/// Up to this many nodes, every one is looked at.
const SEARCH_ALL_NODES: usize = 100;
/// Of very many nodes, at least this share in percent is searched for possible ones.
const SEARCH_LEAST_PERCENT: usize = 5;

/// What is chosen from outside: where the search begins, which of several equally good nodes is taken.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Chance {
    pub(crate) start: usize,
    pub(crate) tie: u64,
}

/// No node fits, and what each said.
#[derive(Clone, Debug)]
pub(crate) struct NoFit {
    pub(crate) error: FitError,
    pub(crate) by_node: BTreeMap<String, Rejection>,
}

/// The name of the best node for `pod`.
pub(crate) fn place(pod: &PodInfo, cluster: &Cluster, of_service: Option<&Selector>, chance: Chance) -> Result<String, Box<NoFit>> {
    let nodes: Vec<&Arc<NodeInfo>> = cluster.nodes().collect();
    let filters = Filters::new(pod, cluster);
    let enough = enough_nodes(nodes.len());
    let mut possible: Vec<Arc<NodeInfo>> = Vec::new();
    let mut no_fit = NoFit { error: FitError { nodes: nodes.len(), ..FitError::default() }, by_node: BTreeMap::new() };
    for at in 0..nodes.len() {
        let info = nodes[(chance.start + at) % nodes.len()];
        match filters.check(info) {
            Ok(()) => possible.push(info.clone()),
            Err(rejection) => {
                no_fit.error.note(&rejection);
                no_fit.by_node.insert(info.name().to_owned(), rejection);
            }
        }
        if possible.len() >= enough {
            break;
        }
    }
    match possible.as_slice() {
        [] => return Err(Box::new(no_fit)),
        [only] => return Ok(only.name().to_owned()),
        _ => {}
    }
    let scores = scores(pod, cluster, &possible, of_service);
    let best = scores.iter().copied().max().unwrap_or(0);
    let winners: Vec<&Arc<NodeInfo>> = possible.iter().zip(&scores).filter(|(_, score)| **score == best).map(|(info, _)| info).collect();
    let pick = usize::try_from(chance.tie % winners.len().max(1) as u64).unwrap_or(0);
    Ok(winners[pick].name().to_owned())
}

/// How many possible nodes are enough to choose from.
fn enough_nodes(all: usize) -> usize {
    if all <= SEARCH_ALL_NODES {
        return all.max(1);
    }
    let percent = 50_usize.saturating_sub(all / 125).max(SEARCH_LEAST_PERCENT);
    (all * percent / 100).max(SEARCH_ALL_NODES)
}

#[cfg(test)]
#[path = "place_tests.rs"]
mod tests;
