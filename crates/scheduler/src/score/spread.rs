//! Prefers nodes in domains that have fewer of the pod's siblings.

use std::collections::HashMap;
use std::sync::Arc;

use kube::core::Selector;

use super::MAX;
use crate::cluster::{Cluster, NodeInfo};
use crate::filter::counts_for;
use crate::pod_info::{PodInfo, Spread};
use crate::terms::labels;

/// Constraints for pods that belong to a Service or a controller and have none of their own.
const DEFAULTS: [(&str, i64); 2] = [("kubernetes.io/hostname", 3), ("topology.kubernetes.io/zone", 5)];
/// The label whose domains are single nodes.
const HOSTNAME: &str = "kubernetes.io/hostname";

pub(super) fn scores(pod: &PodInfo, cluster: &Cluster, possible: &[Arc<NodeInfo>], of_service: Option<&Selector>) -> Vec<i64> {
    let (constraints, is_default) = soft_constraints(pod, of_service);
    if constraints.is_empty() {
        return vec![0; possible.len()];
    }
    let lacks = |info: &NodeInfo| {
        let node = info.node.as_ref();
        !is_default && !node.is_some_and(|node| constraints.iter().all(|c| labels(node).contains_key(&c.topology_key)))
    };
    let ignored: Vec<bool> = possible.iter().map(|info| lacks(info)).collect();
    let mut raw = vec![0.0_f64; possible.len()];
    for constraint in &constraints {
        add_constraint(constraint, pod, cluster, possible, &ignored, &mut raw);
    }
    normalize(&raw, &ignored)
}

fn soft_constraints(pod: &PodInfo, of_service: Option<&Selector>) -> (Vec<Spread>, bool) {
    if !pod.spread.is_empty() {
        return (pod.spread.iter().filter(|constraint| !constraint.hard).cloned().collect(), false);
    }
    let Some(selector) = of_service else { return (Vec::new(), true) };
    let default = |(key, max_skew): (&str, i64)| Spread {
        topology_key: key.to_owned(),
        max_skew,
        min_domains: None,
        selector: Some(selector.clone()),
        hard: false,
        honors_affinity: true,
        honors_taints: false,
    };
    (DEFAULTS.into_iter().map(default).collect(), true)
}

fn add_constraint(constraint: &Spread, pod: &PodInfo, cluster: &Cluster, possible: &[Arc<NodeInfo>], ignored: &[bool], raw: &mut [f64]) {
    let domain = |info: &NodeInfo| info.node.as_ref().and_then(|node| labels(node).get(&constraint.topology_key)).cloned();
    let mut counts: HashMap<String, i64> = HashMap::new();
    for (info, ignored) in possible.iter().zip(ignored) {
        if let Some(domain) = domain(info).filter(|_| !ignored) {
            counts.entry(domain).or_insert(0);
        }
    }
    if constraint.topology_key == HOSTNAME {
        for info in possible {
            if let Some(count) = domain(info).and_then(|domain| counts.get_mut(&domain)) {
                *count += counts_for(constraint, pod, info);
            }
        }
    } else {
        for info in cluster.nodes() {
            if let Some(count) = domain(info).and_then(|domain| counts.get_mut(&domain)) {
                *count += counts_for(constraint, pod, info);
            }
        }
    }
    // Few domains differ more from each other than many, so they weigh less.
    #[allow(clippy::cast_precision_loss)]
    let weight = (counts.len() as f64 + 2.0).ln();
    for ((info, ignored), raw) in possible.iter().zip(ignored).zip(raw) {
        if let Some(count) = domain(info).filter(|_| !ignored).and_then(|domain| counts.get(&domain)) {
            #[allow(clippy::cast_precision_loss)]
            let (count, slack) = (*count as f64, (constraint.max_skew - 1) as f64);
            *raw += count * weight + slack;
        }
    }
}

fn normalize(raw: &[f64], ignored: &[bool]) -> Vec<i64> {
    // Sums of a few thousand pods with small weights.
    #[allow(clippy::cast_possible_truncation)]
    let rounded: Vec<i64> = raw.iter().map(|score| score.round() as i64).collect();
    let valid = rounded.iter().zip(ignored).filter(|(_, ignored)| !**ignored).map(|(score, _)| *score);
    let (least, most) = valid.fold((i64::MAX, 0), |(least, most), score| (least.min(score), most.max(score)));
    let one = |(score, ignored): (&i64, &bool)| match (ignored, most) {
        (true, _) => 0,
        (false, 0) => MAX,
        (false, most) => MAX * (most + least - score) / most,
    };
    rounded.iter().zip(ignored).map(one).collect()
}
