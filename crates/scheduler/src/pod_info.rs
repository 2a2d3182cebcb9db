//! A pod with everything that placement asks of it, worked out once.

use std::collections::BTreeMap;
use std::sync::Arc;

use k8s_openapi::api::core::v1::{Pod, PodAffinityTerm, WeightedPodAffinityTerm};
use kube::core::Selector;

use crate::resources::{Resources, pod_estimate, pod_requests};
use crate::terms::{AffinityTerm, selector_of};

/// A port of the host that a pod takes.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct HostPort {
    pub(crate) address: String,
    pub(crate) protocol: String,
    pub(crate) port: i32,
}

impl HostPort {
    /// Whether both cannot be had on one host.
    pub(crate) fn clashes(&self, other: &Self) -> bool {
        let anywhere = |address: &str| address == "0.0.0.0";
        self.port == other.port
            && self.protocol == other.protocol
            && (self.address == other.address || anywhere(&self.address) || anywhere(&other.address))
    }
}

/// One topology spread constraint.
#[derive(Clone, Debug)]
pub(crate) struct Spread {
    pub(crate) topology_key: String,
    pub(crate) max_skew: i64,
    pub(crate) min_domains: Option<usize>,
    pub(crate) selector: Option<Selector>,
    /// Forbids a node that would skew too much, rather than only disliking it.
    pub(crate) hard: bool,
    /// Only nodes that match the pod's node affinity count.
    pub(crate) honors_affinity: bool,
    /// Only nodes whose taints the pod tolerates count.
    pub(crate) honors_taints: bool,
}

/// What placement asks of a pod.
#[derive(Clone, Debug)]
pub(crate) struct PodInfo {
    pub(crate) pod: Arc<Pod>,
    pub(crate) priority: i32,
    pub(crate) requests: Resources,
    pub(crate) estimate: Resources,
    pub(crate) ports: Vec<HostPort>,
    pub(crate) affinity: Vec<AffinityTerm>,
    pub(crate) anti_affinity: Vec<AffinityTerm>,
    pub(crate) preferred: Vec<(i64, AffinityTerm)>,
    pub(crate) spread: Vec<Spread>,
}

impl PodInfo {
    /// Reads a pod.
    pub(crate) fn new(pod: Arc<Pod>) -> Self {
        let affinity = pod.spec.as_ref().and_then(|spec| spec.affinity.clone()).unwrap_or_default();
        let together = affinity.pod_affinity.unwrap_or_default();
        let apart = affinity.pod_anti_affinity.unwrap_or_default();
        let terms = |terms: &Option<Vec<PodAffinityTerm>>| terms.iter().flatten().map(|term| AffinityTerm::of(term, &pod)).collect();
        let weighted = |terms: &Option<Vec<WeightedPodAffinityTerm>>, sign: i64| {
            let read = |term: &WeightedPodAffinityTerm| (sign * i64::from(term.weight), AffinityTerm::of(&term.pod_affinity_term, &pod));
            terms.iter().flatten().map(read).collect::<Vec<_>>()
        };
        let mut preferred = weighted(&together.preferred_during_scheduling_ignored_during_execution, 1);
        preferred.extend(weighted(&apart.preferred_during_scheduling_ignored_during_execution, -1));
        Self {
            priority: pod.spec.as_ref().and_then(|spec| spec.priority).unwrap_or(0),
            requests: pod_requests(&pod),
            estimate: pod_estimate(&pod),
            ports: host_ports(&pod),
            affinity: terms(&together.required_during_scheduling_ignored_during_execution),
            anti_affinity: terms(&apart.required_during_scheduling_ignored_during_execution),
            preferred,
            spread: spread(&pod),
            pod,
        }
    }

    /// The pod's name.
    pub(crate) fn name(&self) -> &str {
        self.pod.metadata.name.as_deref().unwrap_or("")
    }

    /// The pod's namespace.
    pub(crate) fn namespace(&self) -> &str {
        self.pod.metadata.namespace.as_deref().unwrap_or("")
    }

    /// The pod's labels.
    pub(crate) fn labels(&self) -> &BTreeMap<String, String> {
        static EMPTY: BTreeMap<String, String> = BTreeMap::new();
        self.pod.metadata.labels.as_ref().unwrap_or(&EMPTY)
    }

    /// Whether other pods have to be looked at when a pod like this is placed near it.
    pub(crate) fn cares_for_others(&self) -> bool {
        !(self.affinity.is_empty() && self.anti_affinity.is_empty() && self.preferred.is_empty())
    }
}

fn host_ports(pod: &Pod) -> Vec<HostPort> {
    let Some(spec) = &pod.spec else { return Vec::new() };
    let sidecars = spec.init_containers.iter().flatten().filter(|c| c.restart_policy.as_deref() == Some("Always"));
    let ports = spec.containers.iter().chain(sidecars).flat_map(|container| container.ports.iter().flatten());
    let taken = ports.filter_map(|port| {
        Some(HostPort {
            address: port.host_ip.clone().filter(|address| !address.is_empty()).unwrap_or_else(|| "0.0.0.0".to_owned()),
            protocol: port.protocol.clone().unwrap_or_else(|| "TCP".to_owned()),
            port: port.host_port.filter(|port| *port > 0)?,
        })
    });
    taken.collect()
}

fn spread(pod: &Pod) -> Vec<Spread> {
    let Some(spec) = &pod.spec else { return Vec::new() };
    let read = |constraint: &k8s_openapi::api::core::v1::TopologySpreadConstraint| {
        let mut selector = constraint.label_selector.clone();
        for key in constraint.match_label_keys.iter().flatten() {
            let value = pod.metadata.labels.as_ref().and_then(|labels| labels.get(key));
            if let (Some(selector), Some(value)) = (&mut selector, value) {
                selector.match_labels.get_or_insert_with(BTreeMap::new).insert(key.clone(), value.clone());
            }
        }
        Spread {
            topology_key: constraint.topology_key.clone(),
            max_skew: i64::from(constraint.max_skew),
            min_domains: constraint.min_domains.and_then(|count| usize::try_from(count).ok()),
            selector: selector_of(selector.as_ref()),
            hard: constraint.when_unsatisfiable == "DoNotSchedule",
            honors_affinity: constraint.node_affinity_policy.as_deref() != Some("Ignore"),
            honors_taints: constraint.node_taints_policy.as_deref() == Some("Honor"),
        }
    };
    spec.topology_spread_constraints.iter().flatten().map(read).collect()
}
