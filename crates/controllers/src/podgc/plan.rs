//! Which pods go, and why.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use k8s_openapi::api::core::v1::{Node, Pod};

use crate::pods;

/// Taint that a person sets on a node that is surely off.
const OUT_OF_SERVICE: &str = "node.kubernetes.io/out-of-service";

/// Why a pod goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Why {
    /// Its node does not exist.
    Orphaned,
    /// It was deleted before it had a node.
    NeverBound,
    /// Its node is out of service.
    OutOfService,
    /// It has ended, and there are too many such.
    Terminated,
}

impl Why {
    /// What the pod's condition says.
    pub(super) fn message(self) -> Option<&'static str> {
        match self {
            Self::Orphaned => Some("PodGC: node no longer exists"),
            Self::OutOfService => Some("PodGC: node is out of service"),
            Self::NeverBound | Self::Terminated => None,
        }
    }
}

fn is_out_of_service(node: &Node) -> bool {
    let conditions = node.status.as_ref().and_then(|status| status.conditions.as_deref()).unwrap_or_default();
    let ready = conditions.iter().any(|condition| condition.type_ == "Ready" && condition.status == "True");
    let taints = node.spec.as_ref().and_then(|spec| spec.taints.as_deref()).unwrap_or_default();
    !ready && taints.iter().any(|taint| taint.key == OUT_OF_SERVICE)
}

/// The pods to remove. `gone` says of a node that is not among `nodes` whether it has been missing for long enough;
/// `threshold` ended pods may stay, 0 keeps all.
pub(super) fn doomed(all: &[Arc<Pod>], nodes: &[Arc<Node>], threshold: usize, gone: impl Fn(&str) -> bool) -> Vec<(Arc<Pod>, Why)> {
    let known: HashMap<&str, &Arc<Node>> = nodes.iter().filter_map(|node| Some((node.metadata.name.as_deref()?, node))).collect();
    let mut doomed: Vec<(Arc<Pod>, Why)> = Vec::new();
    for pod in all {
        let why = match pods::node(pod) {
            None => pods::is_deleting(pod).then_some(Why::NeverBound),
            Some(node) => match known.get(node) {
                None => gone(node).then_some(Why::Orphaned),
                Some(node) => (pods::is_deleting(pod) && is_out_of_service(node)).then_some(Why::OutOfService),
            },
        };
        doomed.extend(why.map(|why| (pod.clone(), why)));
    }
    let taken: HashSet<&str> = doomed.iter().map(|(pod, _)| pods::uid(pod)).collect();
    let mut ended: Vec<&Arc<Pod>> = all.iter().filter(|pod| pods::is_terminal(pod) && !taken.contains(pods::uid(pod))).collect();
    if threshold > 0 && ended.len() > threshold {
        ended.sort_by_key(|pod| pod.metadata.creation_timestamp.as_ref().map(|time| time.0));
        let surplus = ended.len() - threshold;
        let oldest: Vec<_> = ended.into_iter().take(surplus).map(|pod| (pod.clone(), Why::Terminated)).collect();
        doomed.extend(oldest);
    }
    doomed
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use super::*;
    use crate::pods::build::{deleting, on, pod};
    use serde_json::json;

    #[test]
    fn only_what_nobody_else_removes() {
        let nodes: Vec<Arc<Node>> = [
            json!({"metadata": {"name": "w1"}, "status": {"conditions": [{"type": "Ready", "status": "True"}]}}),
            json!({"metadata": {"name": "off"}, "spec": {"taints": [{"key": OUT_OF_SERVICE, "effect": "NoExecute"}]}}),
        ]
        .map(|node| Arc::new(serde_json::from_value(node).unwrap()))
        .into();
        let all: Vec<Arc<Pod>> = [
            on(pod("fine", "Running"), "w1"),
            on(pod("lost", "Running"), "gone"),
            on(pod("maybe", "Running"), "missing"),
            deleting(pod("unbound", "Pending")),
            deleting(on(pod("leaving", "Running"), "w1")),
            deleting(on(pod("stuck", "Running"), "off")),
            on(pod("done", "Succeeded"), "w1"),
        ]
        .map(Arc::new)
        .into();
        let found = doomed(&all, &nodes, 0, |node| node == "gone");
        let words: Vec<_> = found.iter().map(|(pod, why)| (pods::name(pod), *why)).collect();
        assert_eq!(words, [("lost", Why::Orphaned), ("unbound", Why::NeverBound), ("stuck", Why::OutOfService)]);
    }

    #[test]
    fn the_oldest_ended_pods_go_beyond_the_limit() {
        let node: Arc<Node> = Arc::new(serde_json::from_value(json!({"metadata": {"name": "w1"}})).unwrap());
        let all: Vec<Arc<Pod>> = (0..5)
            .map(|n| {
                let mut pod = on(pod(&format!("p{n}"), "Succeeded"), "w1");
                pod.metadata.creation_timestamp.as_mut().unwrap().0 = k8s_openapi::jiff::Timestamp::from_second(100 - n).unwrap();
                Arc::new(pod)
            })
            .collect();
        let found = doomed(&all, &[node], 3, |_| false);
        let names: Vec<_> = found.iter().map(|(pod, _)| pods::name(pod)).collect();
        assert_eq!(names, ["p4", "p3"]);
    }
}
