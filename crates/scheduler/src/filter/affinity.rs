//! Required pod affinity and anti-affinity, of the pod and of those that are there.

use std::collections::{HashMap, HashSet};

use k8s_openapi::api::core::v1::Node;

use crate::cluster::Cluster;
use crate::fit_error::{Check, Rejection};
use crate::pod_info::PodInfo;
use crate::terms::{AffinityTerm, labels};

/// Domains, as label keys with their values.
type Domains = HashSet<(String, String)>;

/// Where the pod must not go because of others, where it must not go by its own wish, and where it must.
pub(super) struct Neighbours<'a> {
    pod: &'a PodInfo,
    keep_out: Domains,
    avoided: Domains,
    /// For each domain of the affinity terms: whether a pod that matches all of them is in it.
    wanted: HashMap<(String, String), usize>,
    /// The pod matches its own affinity terms, so it may be the first of its kind.
    suits_itself: bool,
}

fn domain(node: &Node, term: &AffinityTerm) -> Option<(String, String)> {
    let value = labels(node).get(&term.topology_key)?;
    Some((term.topology_key.clone(), value.clone()))
}

impl<'a> Neighbours<'a> {
    pub(super) fn new(pod: &'a PodInfo, cluster: &Cluster) -> Self {
        let namespaces = &cluster.namespaces;
        let (mut keep_out, mut avoided) = (Domains::new(), Domains::new());
        let mut wanted = HashMap::new();
        let asks = !pod.affinity.is_empty() || !pod.anti_affinity.is_empty();
        if asks || cluster.has_caring_pods() {
            for info in cluster.nodes() {
                let Some(node) = &info.node else { continue };
                for other in &info.caring {
                    let against = other.anti_affinity.iter().filter(|term| term.matches(&pod.pod, namespaces));
                    keep_out.extend(against.filter_map(|term| domain(node, term)));
                }
                if !asks {
                    continue;
                }
                for other in &info.pods {
                    let against = pod.anti_affinity.iter().filter(|term| term.matches(&other.pod, namespaces));
                    avoided.extend(against.filter_map(|term| domain(node, term)));
                    if !pod.affinity.is_empty() && pod.affinity.iter().all(|term| term.matches(&other.pod, namespaces)) {
                        for place in pod.affinity.iter().filter_map(|term| domain(node, term)) {
                            *wanted.entry(place).or_insert(0) += 1;
                        }
                    }
                }
            }
        }
        let suits_itself = pod.affinity.iter().all(|term| term.matches(&pod.pod, namespaces));
        Self { pod, keep_out, avoided, wanted, suits_itself }
    }

    pub(super) fn check(&self, node: &Node) -> Result<(), Rejection> {
        let all_in = |term: &AffinityTerm| domain(node, term).is_some_and(|place| self.wanted.contains_key(&place));
        if !self.pod.affinity.is_empty() && !self.pod.affinity.iter().all(all_in) {
            let has_keys = self.pod.affinity.iter().all(|term| domain(node, term).is_some());
            let may_be_first = self.wanted.is_empty() && self.suits_itself && has_keys;
            if !may_be_first {
                let reason = "node(s) didn't match pod affinity rules";
                return Err(Rejection::new(Check::InterPodAffinity, reason, false));
            }
        }
        let forbidden = |term: &AffinityTerm| domain(node, term).is_some_and(|place| self.avoided.contains(&place));
        if self.pod.anti_affinity.iter().any(forbidden) {
            let reason = "node(s) didn't match pod anti-affinity rules";
            return Err(Rejection::new(Check::InterPodAffinity, reason, true));
        }
        if self.keep_out.iter().any(|(key, value)| labels(node).get(key) == Some(value)) {
            let reason = "node(s) didn't satisfy existing pods anti-affinity rules";
            return Err(Rejection::new(Check::InterPodAffinity, reason, true));
        }
        Ok(())
    }
}
