//! Hard topology spread constraints: no domain may be ahead of the emptiest one by more than the skew.

use std::collections::HashMap;

use k8s_openapi::api::core::v1::Node;
use kube::core::SelectorExt;

use crate::cluster::{Cluster, NodeInfo};
use crate::fit_error::{Check, Rejection};
use crate::pod_info::{PodInfo, Spread};
use crate::terms::{labels, matches_demands, untolerated};

/// How many matching pods each domain of one constraint has.
struct Skew<'a> {
    constraint: &'a Spread,
    counts: HashMap<String, i64>,
    fewest: i64,
    /// 1 if the pod itself counts, once placed.
    own: i64,
}

/// All hard constraints of one pod.
pub(super) struct Skews<'a> {
    all: Vec<Skew<'a>>,
}

/// Whether a node's pods count for a constraint of `pod`.
fn is_counted(constraint: &Spread, pod: &PodInfo, node: &Node) -> bool {
    (!constraint.honors_affinity || matches_demands(&pod.pod, node))
        && (!constraint.honors_taints || untolerated(node, &pod.pod, &["NoSchedule", "NoExecute"]).is_none())
}

/// Pods on a node that a constraint of `pod` counts.
pub(crate) fn counts_for(constraint: &Spread, pod: &PodInfo, info: &NodeInfo) -> i64 {
    let Some(selector) = &constraint.selector else { return 0 };
    let counted = |other: &&std::sync::Arc<PodInfo>| {
        other.namespace() == pod.namespace() && other.pod.metadata.deletion_timestamp.is_none() && selector.matches(other.labels())
    };
    i64::try_from(info.pods.iter().filter(counted).count()).unwrap_or(i64::MAX)
}

impl<'a> Skews<'a> {
    pub(super) fn new(pod: &'a PodInfo, cluster: &Cluster) -> Self {
        let hard: Vec<&Spread> = pod.spread.iter().filter(|constraint| constraint.hard).collect();
        let has_all_keys = |node: &Node| hard.iter().all(|constraint| labels(node).contains_key(&constraint.topology_key));
        let skew = |constraint: &'a Spread| {
            let mut counts = HashMap::new();
            for info in cluster.nodes() {
                let Some(node) = info.node.as_ref().filter(|node| has_all_keys(node)) else { continue };
                if is_counted(constraint, pod, node)
                    && let Some(domain) = labels(node).get(&constraint.topology_key)
                {
                    *counts.entry(domain.clone()).or_insert(0) += counts_for(constraint, pod, info);
                }
            }
            let too_few = constraint.min_domains.is_some_and(|least| counts.len() < least);
            let fewest = if too_few { 0 } else { counts.values().copied().min().unwrap_or(0) };
            let own = constraint.selector.as_ref().is_some_and(|selector| selector.matches(pod.labels()));
            Skew { constraint, counts, fewest, own: i64::from(own) }
        };
        Self { all: hard.iter().copied().map(skew).collect() }
    }

    pub(super) fn check(&self, node: &Node) -> Result<(), Rejection> {
        for skew in &self.all {
            let Some(domain) = labels(node).get(&skew.constraint.topology_key) else {
                let reason = "node(s) didn't match pod topology spread constraints (missing required label)";
                return Err(Rejection::new(Check::PodTopologySpread, reason, false));
            };
            let present = skew.counts.get(domain).copied().unwrap_or(0);
            if present + skew.own - skew.fewest > skew.constraint.max_skew {
                let reason = "node(s) didn't match pod topology spread constraints";
                return Err(Rejection::new(Check::PodTopologySpread, reason, true));
            }
        }
        Ok(())
    }
}
