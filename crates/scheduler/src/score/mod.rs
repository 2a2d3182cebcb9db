//! Which of the possible nodes is best: each view gives 0 to 100, and the weighted sum decides.

mod affinity;
mod balance;
mod spread;

use std::sync::Arc;

use kube::core::Selector;

use crate::cluster::{Cluster, NodeInfo};
use crate::pod_info::PodInfo;
use crate::terms::{matches_term, tolerates};

/// The best that a view can give.
const MAX: i64 = 100;
/// Weights of the views, as upstream sets them by default.
const WEIGHT_TAINTS: i64 = 3;
const WEIGHT_NODE_AFFINITY: i64 = 2;
const WEIGHT_SPREAD: i64 = 2;
const WEIGHT_POD_AFFINITY: i64 = 2;
const WEIGHT_LEAST_ALLOCATED: i64 = 1;
const WEIGHT_BALANCED: i64 = 1;
const WEIGHT_IMAGES: i64 = 1;

/// Images smaller than this, in bytes, do not matter.
const IMAGE_MIN_BYTES: i64 = 23 * 1024 * 1024;
/// Per container: images that are larger, in bytes, do not matter more.
const IMAGE_MAX_BYTES: i64 = 1000 * 1024 * 1024;

/// The score of each of the `possible` nodes, in their order. `of_service` selects the pod's siblings, for spreading pods
/// that have no constraints of their own.
pub(crate) fn scores(pod: &PodInfo, cluster: &Cluster, possible: &[Arc<NodeInfo>], of_service: Option<&Selector>) -> Vec<i64> {
    let mut total = vec![0; possible.len()];
    let mut add = |weight: i64, scores: Vec<i64>| {
        for (sum, score) in total.iter_mut().zip(scores) {
            *sum += weight * score;
        }
    };
    let each = |view: &dyn Fn(&NodeInfo) -> i64| possible.iter().map(|info| view(info)).collect::<Vec<_>>();
    add(WEIGHT_TAINTS, normalized(each(&|info| disliked_taints(pod, info)), true));
    add(WEIGHT_NODE_AFFINITY, normalized(each(&|info| preferred_node(pod, info)), false));
    add(WEIGHT_SPREAD, spread::scores(pod, cluster, possible, of_service));
    add(WEIGHT_POD_AFFINITY, affinity::scores(pod, cluster, possible));
    add(WEIGHT_LEAST_ALLOCATED, each(&|info| balance::least_allocated(pod, info)));
    add(WEIGHT_BALANCED, each(&|info| balance::balanced(pod, info)));
    add(WEIGHT_IMAGES, each(&|info| images(pod, info, cluster)));
    total
}

/// Stretches scores so that the highest becomes 100; `reverse` turns them around.
fn normalized(mut scores: Vec<i64>, reverse: bool) -> Vec<i64> {
    let highest = scores.iter().copied().max().unwrap_or(0);
    for score in &mut scores {
        let stretched = if highest == 0 { 0 } else { *score * MAX / highest };
        *score = if reverse { MAX - stretched } else { stretched };
    }
    scores
}

fn disliked_taints(pod: &PodInfo, info: &NodeInfo) -> i64 {
    let taints = info.node.as_ref().and_then(|node| node.spec.as_ref()).and_then(|spec| spec.taints.as_deref());
    let tolerations = pod.pod.spec.as_ref().and_then(|spec| spec.tolerations.as_deref()).unwrap_or_default();
    let soft = taints.unwrap_or_default().iter().filter(|taint| taint.effect == "PreferNoSchedule");
    let bare = soft.filter(|taint| !tolerations.iter().any(|toleration| tolerates(toleration, taint)));
    i64::try_from(bare.count()).unwrap_or(i64::MAX)
}

fn preferred_node(pod: &PodInfo, info: &NodeInfo) -> i64 {
    let affinity = pod.pod.spec.as_ref().and_then(|spec| spec.affinity.as_ref());
    let terms = affinity.and_then(|affinity| affinity.node_affinity.as_ref());
    let terms = terms.and_then(|affinity| affinity.preferred_during_scheduling_ignored_during_execution.as_deref());
    let Some(node) = &info.node else { return 0 };
    let matching = terms.unwrap_or_default().iter().filter(|term| matches_term(&term.preference, node));
    matching.map(|term| i64::from(term.weight)).sum()
}

fn images(pod: &PodInfo, info: &NodeInfo, cluster: &Cluster) -> i64 {
    let Some(spec) = &pod.pod.spec else { return 0 };
    let all = spec.containers.iter().chain(spec.init_containers.iter().flatten());
    let names: Vec<String> = all.filter_map(|container| container.image.as_deref()).map(full_name).collect();
    let present: Vec<(&String, i64)> = names.iter().filter_map(|name| Some((name, *info.images.get(name)?))).collect();
    if present.is_empty() {
        return 0;
    }
    let nodes = cluster.nodes().count().max(1);
    // An image that few nodes have counts less, so that they are not all sent there.
    let scaled = |(name, size): &(&String, i64)| {
        let having = cluster.nodes().filter(|info| info.images.contains_key(*name)).count();
        *size * i64::try_from(having).unwrap_or(0) / i64::try_from(nodes).unwrap_or(1)
    };
    let sum: i64 = present.iter().map(scaled).sum();
    let most = IMAGE_MAX_BYTES * i64::try_from(names.len()).unwrap_or(1);
    MAX * (sum.clamp(IMAGE_MIN_BYTES, most) - IMAGE_MIN_BYTES) / (most - IMAGE_MIN_BYTES)
}

/// An image name with its tag, as nodes report it.
fn full_name(image: &str) -> String {
    let tag_at = image.rfind(':').filter(|at| image.rfind('/').is_none_or(|slash| slash < *at));
    if tag_at.is_none() && !image.contains('@') { format!("{image}:latest") } else { image.to_owned() }
}
