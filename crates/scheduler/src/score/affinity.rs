//! Prefers nodes near the pods that this one, or they, would like to be near to, and far from the others.

use std::collections::HashMap;
use std::sync::Arc;

use super::MAX;
use crate::cluster::{Cluster, NodeInfo};
use crate::pod_info::PodInfo;
use crate::terms::{AffinityTerm, labels};

/// What a required affinity of a pod that is there counts towards those that it wants near.
const HARD_AFFINITY_WEIGHT: i64 = 1;

pub(super) fn scores(pod: &PodInfo, cluster: &Cluster, possible: &[Arc<NodeInfo>]) -> Vec<i64> {
    if pod.preferred.is_empty() && !cluster.has_caring_pods() {
        return vec![0; possible.len()];
    }
    let mut by_domain: HashMap<(String, String), i64> = HashMap::new();
    for info in cluster.nodes() {
        let Some(node) = &info.node else { continue };
        let mut add = |term: &AffinityTerm, weight: i64| {
            if let Some(value) = labels(node).get(&term.topology_key) {
                *by_domain.entry((term.topology_key.clone(), value.clone())).or_insert(0) += weight;
            }
        };
        if !pod.preferred.is_empty() {
            for other in &info.pods {
                let wanted = pod.preferred.iter().filter(|(_, term)| term.matches(&other.pod, &cluster.namespaces));
                wanted.for_each(|(weight, term)| add(term, *weight));
            }
        }
        for other in &info.caring {
            let wanting = other.preferred.iter().filter(|(_, term)| term.matches(&pod.pod, &cluster.namespaces));
            wanting.for_each(|(weight, term)| add(term, *weight));
            let needing = other.affinity.iter().filter(|term| term.matches(&pod.pod, &cluster.namespaces));
            needing.for_each(|term| add(term, HARD_AFFINITY_WEIGHT));
        }
    }
    let raw = |info: &Arc<NodeInfo>| {
        let Some(node) = &info.node else { return 0 };
        let here = by_domain.iter().filter(|((key, value), _)| labels(node).get(key) == Some(value));
        here.map(|(_, weight)| *weight).sum::<i64>()
    };
    let raw: Vec<i64> = possible.iter().map(raw).collect();
    let least = raw.iter().copied().min().unwrap_or(0);
    let most = raw.iter().copied().max().unwrap_or(0);
    raw.into_iter().map(|score| if most == least { 0 } else { MAX * (score - least) / (most - least) }).collect()
}
