//! Room for an important pod: which less important ones would have to go, and on which node that costs least.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::sync::Arc;

use k8s_openapi::jiff::Timestamp;

use crate::cluster::{Cluster, NodeInfo};
use crate::filter::Filters;
use crate::place::NoFit;
use crate::pod_info::PodInfo;

/// At most so many nodes are looked at closely, or a tenth of all if that is more.
const CANDIDATE_NODES: usize = 100;

/// Who has to go, from where.
#[derive(Clone, Debug)]
pub(crate) struct Preemption {
    pub(crate) node: String,
    pub(crate) victims: Vec<Arc<PodInfo>>,
}

/// The cheapest way to make room for `pod` after `no_fit`, or why there is none, in upstream's words.
pub(crate) fn preempt(pod: &PodInfo, cluster: &Cluster, no_fit: &NoFit) -> Result<Preemption, String> {
    if pod.pod.spec.as_ref().and_then(|spec| spec.preemption_policy.as_deref()) == Some("Never") {
        return Err("preemption: not eligible due to preemptionPolicy=Never.".to_owned());
    }
    let nodes: Vec<&Arc<NodeInfo>> = cluster.nodes().collect();
    let nominated = pod.pod.status.as_ref().and_then(|status| status.nominated_node_name.as_deref());
    if let Some(info) = nodes.iter().find(|info| nominated == Some(info.name()))
        && info.pods.iter().any(|other| other.priority < pod.priority && other.pod.metadata.deletion_timestamp.is_some())
    {
        return Err("preemption: not eligible due to a terminating pod on the nominated node.".to_owned());
    }
    let mut why: BTreeMap<&str, usize> = BTreeMap::new();
    let mut best: Option<(Cost, Preemption)> = None;
    let mut looked_at = 0;
    for info in &nodes {
        let could_help = no_fit.by_node.get(info.name()).is_some_and(|rejection| rejection.pods_could_yield);
        if !could_help {
            *why.entry("Preemption is not helpful for scheduling").or_insert(0) += 1;
            continue;
        }
        if looked_at >= CANDIDATE_NODES.max(nodes.len() / 10) {
            break;
        }
        let Some(victims) = victims(pod, cluster, info) else {
            *why.entry("No preemption victims found for incoming pod").or_insert(0) += 1;
            continue;
        };
        looked_at += 1;
        let cost = cost(&victims);
        if best.as_ref().is_none_or(|(least, _)| cost < *least) {
            best = Some((cost, Preemption { node: info.name().to_owned(), victims }));
        }
    }
    best.map(|(_, preemption)| preemption).ok_or_else(|| {
        let parts: Vec<String> = why.iter().map(|(reason, count)| format!("{count} {reason}")).collect();
        format!("preemption: 0/{} nodes are available: {}.", nodes.len(), parts.join(", "))
    })
}

fn started(pod: &PodInfo) -> Timestamp {
    let status = pod.pod.status.as_ref();
    status.and_then(|status| status.start_time.as_ref()).map_or(Timestamp::MAX, |time| time.0)
}

/// The fewest pods of lower priority whose going makes room on a node.
fn victims(pod: &PodInfo, cluster: &Cluster, info: &NodeInfo) -> Option<Vec<Arc<PodInfo>>> {
    let mut lower: Vec<Arc<PodInfo>> = info.pods.iter().filter(|other| other.priority < pod.priority).cloned().collect();
    if lower.is_empty() {
        return None;
    }
    let mut node = info.clone();
    lower.iter().for_each(|other| node.remove(other));
    let fits = |node: &NodeInfo| {
        let imagined = cluster.with_node(node.clone());
        Filters::new(pod, &imagined).check(node).is_ok()
    };
    if !fits(&node) {
        return None;
    }
    // The more important and the longer there, the sooner a pod is spared.
    lower.sort_by_key(|other| (Reverse(other.priority), started(other)));
    let mut victims = Vec::new();
    for other in lower {
        node.add(other.clone());
        if !fits(&node) {
            node.remove(&other);
            victims.push(other);
        }
    }
    (!victims.is_empty()).then_some(victims)
}

/// Lower is better: the most important victim, their importance together, their number, and how long the most important
/// of them has run.
type Cost = (i32, i64, usize, Reverse<Timestamp>);

fn cost(victims: &[Arc<PodInfo>]) -> Cost {
    let highest = victims.iter().map(|victim| victim.priority).max().unwrap_or(i32::MIN);
    // Shifted so that more victims never look cheaper than fewer.
    let sum = victims.iter().map(|victim| i64::from(victim.priority) + i64::from(i32::MAX) + 1).sum();
    let earliest = victims.iter().filter(|victim| victim.priority == highest).map(|victim| started(victim)).min();
    (highest, sum, victims.len(), Reverse(earliest.unwrap_or(Timestamp::MAX)))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use super::*;
    use crate::place::{Chance, place};
    use serde_json::json;

    fn pod(name: &str, priority: i32, cpu: &str) -> PodInfo {
        let pod = json!({"metadata": {"name": name, "namespace": "default"}, "spec": {"priority": priority,
            "containers": [{"name": "a", "resources": {"requests": {"cpu": cpu}}}]}});
        PodInfo::new(Arc::new(serde_json::from_value(pod).unwrap()))
    }

    fn cluster(pods: &[(&str, &str, i32, &str)]) -> Cluster {
        let mut cluster = Cluster::default();
        for name in ["w1", "w2"] {
            let node = json!({"metadata": {"name": name}, "status": {"allocatable": {"cpu": "4", "memory": "8Gi", "pods": "10"}}});
            cluster.set_node(Arc::new(serde_json::from_value(node).unwrap()));
        }
        for (name, node, priority, cpu) in pods {
            cluster.place(Arc::new(pod(name, *priority, cpu)), node);
        }
        cluster
    }

    fn outcome(incoming: &PodInfo, cluster: &Cluster) -> Result<(String, Vec<String>), String> {
        let no_fit = place(incoming, cluster, None, Chance::default()).unwrap_err();
        let preemption = preempt(incoming, cluster, &no_fit)?;
        Ok((preemption.node, preemption.victims.iter().map(|victim| victim.name().to_owned()).collect()))
    }

    #[test]
    fn the_least_important_pods_go_and_no_more_than_needed() {
        let full = cluster(&[("a", "w1", 5, "2"), ("b", "w1", 1, "2"), ("c", "w2", 5, "2"), ("d", "w2", 4, "2")]);
        assert_eq!(outcome(&pod("p", 10, "2"), &full), Ok(("w1".into(), vec!["b".into()])));
    }

    #[test]
    fn equals_are_left_alone() {
        let full = cluster(&[("a", "w1", 5, "4"), ("b", "w2", 5, "4")]);
        assert_eq!(
            outcome(&pod("p", 5, "2"), &full),
            Err("preemption: 0/2 nodes are available: 2 No preemption victims found for incoming pod.".into())
        );
    }

    #[test]
    fn what_can_never_fit_takes_nobody_with_it() {
        let full = cluster(&[("a", "w1", 1, "4"), ("b", "w2", 1, "4")]);
        assert_eq!(
            outcome(&pod("p", 5, "64"), &full),
            Err("preemption: 0/2 nodes are available: 2 Preemption is not helpful for scheduling.".into())
        );
    }
}
