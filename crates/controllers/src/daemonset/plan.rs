//! Which nodes lack their pod, which pods must go, and the counts.

use std::collections::BTreeMap;
use std::sync::Arc;

use k8s_openapi::api::apps::v1::{DaemonSet, DaemonSetStatus};
use k8s_openapi::api::core::v1::{
    Affinity, Node, NodeAffinity, NodeSelector, NodeSelectorRequirement, NodeSelectorTerm, Pod, PodSpec, PodTemplateSpec, Toleration,
};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use k8s_openapi::jiff::Timestamp;
use tricorn_client::demands::{matches_demands, untolerated};

use crate::deployment::scaled;
use crate::history::HASH;
use crate::pods;

/// Most pods made or removed in one round.
const BURST_PODS: usize = 250;
/// Taints that daemon pods always tolerate, with the effect.
const TOLERATED: [(&str, &str); 6] = [
    ("node.kubernetes.io/not-ready", "NoExecute"),
    ("node.kubernetes.io/unreachable", "NoExecute"),
    ("node.kubernetes.io/disk-pressure", "NoSchedule"),
    ("node.kubernetes.io/memory-pressure", "NoSchedule"),
    ("node.kubernetes.io/pid-pressure", "NoSchedule"),
    ("node.kubernetes.io/unschedulable", "NoSchedule"),
];

/// What to do.
#[derive(Debug, Default)]
pub(super) struct Plan {
    /// Names of nodes that need a pod.
    pub(super) create: Vec<String>,
    pub(super) delete: Vec<Arc<Pod>>,
    /// Failed pods among those to delete, for people to hear of.
    pub(super) failed: Vec<Arc<Pod>>,
}

/// The template with what every daemon pod gets.
pub(super) fn daemon_template(set: &DaemonSet, hash: &str) -> PodTemplateSpec {
    let spec = set.spec.clone().unwrap_or_default();
    let mut template = spec.template;
    let pod = template.spec.get_or_insert_with(PodSpec::default);
    let tolerations = pod.tolerations.get_or_insert_with(Vec::new);
    let network = pod.host_network == Some(true);
    let more = network.then_some(("node.kubernetes.io/network-unavailable", "NoSchedule"));
    for (key, effect) in TOLERATED.into_iter().chain(more) {
        let toleration = Toleration {
            key: Some(key.to_owned()),
            operator: Some("Exists".to_owned()),
            effect: Some(effect.to_owned()),
            ..Default::default()
        };
        if !tolerations.contains(&toleration) {
            tolerations.push(toleration);
        }
    }
    let labels = template.metadata.get_or_insert_with(Default::default).labels.get_or_insert_with(BTreeMap::new);
    labels.insert(HASH.to_owned(), hash.to_owned());
    labels.insert("pod-template-generation".to_owned(), set.metadata.generation.unwrap_or(1).to_string());
    template
}

/// Pins the pod of a template to one node, by the affinity that the scheduler follows.
pub(super) fn pin(template: &PodTemplateSpec, node: &str) -> PodTemplateSpec {
    let mut template = template.clone();
    let field = NodeSelectorRequirement { key: "metadata.name".to_owned(), operator: "In".to_owned(), values: Some(vec![node.to_owned()]) };
    let affinity = template.spec.get_or_insert_with(PodSpec::default).affinity.get_or_insert_with(Affinity::default);
    let affinity = affinity.node_affinity.get_or_insert_with(NodeAffinity::default);
    let required = affinity.required_during_scheduling_ignored_during_execution.get_or_insert_with(NodeSelector::default);
    if required.node_selector_terms.is_empty() {
        required.node_selector_terms.push(NodeSelectorTerm::default());
    }
    for term in &mut required.node_selector_terms {
        term.match_fields = Some(vec![field.clone()]);
    }
    template
}

/// The node that a daemon pod is on or is meant for.
pub(super) fn target(pod: &Pod) -> Option<String> {
    if let Some(node) = pods::node(pod) {
        return Some(node.to_owned());
    }
    let affinity = pod.spec.as_ref()?.affinity.as_ref()?.node_affinity.as_ref()?;
    let terms = &affinity.required_during_scheduling_ignored_during_execution.as_ref()?.node_selector_terms;
    let fields = terms.iter().flat_map(|term| term.match_fields.iter().flatten());
    fields.filter(|field| field.key == "metadata.name").find_map(|field| field.values.as_ref()?.first().cloned())
}

/// Whether a pod should come to a node, and whether one that is there may stay.
fn suits(template: &PodTemplateSpec, node: &Node) -> (bool, bool) {
    let pod = Pod { spec: template.spec.clone(), ..Pod::default() };
    let named = template.spec.as_ref().and_then(|spec| spec.node_name.as_deref()).filter(|name| !name.is_empty());
    if named.is_some_and(|named| Some(named) != node.metadata.name.as_deref()) || !matches_demands(&pod, node) {
        return (false, false);
    }
    let may_come = untolerated(node, &pod, &["NoSchedule", "NoExecute"]).is_none();
    let may_stay = untolerated(node, &pod, &["NoExecute"]).is_none();
    (may_come, may_stay)
}

fn by_node(owned: &[Arc<Pod>]) -> BTreeMap<String, Vec<Arc<Pod>>> {
    let mut all: BTreeMap<String, Vec<Arc<Pod>>> = BTreeMap::new();
    for pod in owned {
        if let Some(node) = target(pod) {
            all.entry(node).or_default().push(pod.clone());
        }
    }
    for pods in all.values_mut() {
        pods.sort_by_key(|pod| (pod.metadata.creation_timestamp.as_ref().map(|time| time.0), pods::name(pod).to_owned()));
    }
    all
}

fn has_hash(pod: &Pod, hash: &str) -> bool {
    pod.metadata.labels.as_ref().and_then(|labels| labels.get(HASH)).is_some_and(|own| own == hash)
}

/// What to do so that every suitable node has one pod of the present template.
pub(super) fn plan(
    set: &DaemonSet,
    template: &PodTemplateSpec,
    nodes: &[Arc<Node>],
    owned: &[Arc<Pod>],
    hash: &str,
    now: Timestamp,
) -> Plan {
    let mut plan = Plan::default();
    let placed = by_node(owned);
    for node in nodes {
        let name = node.metadata.name.clone().unwrap_or_default();
        let (may_come, may_stay) = suits(template, node);
        let here = placed.get(&name).map(Vec::as_slice).unwrap_or_default();
        if here.is_empty() {
            if may_come {
                plan.create.push(name);
            }
            continue;
        }
        let present = here.iter().filter(|pod| !pods::is_deleting(pod));
        let (ended, alive): (Vec<&Arc<Pod>>, Vec<&Arc<Pod>>) = present.partition(|pod| pods::is_terminal(pod));
        if !may_stay {
            plan.delete.extend(ended.into_iter().chain(alive).cloned());
            continue;
        }
        plan.failed.extend(ended.iter().filter(|pod| pods::phase(pod) == "Failed").map(|pod| (*pod).clone()));
        plan.delete.extend(ended.into_iter().cloned());
        // The oldest stays where there are several.
        plan.delete.extend(alive.into_iter().skip(1).cloned());
    }
    // Pods of nodes that are gone are left to the pod garbage collector.
    if plan.create.is_empty() && plan.delete.is_empty() {
        plan.delete = replacements(set, template, nodes, &placed, hash, now);
    }
    plan.create.truncate(BURST_PODS);
    plan.delete.truncate(BURST_PODS);
    plan
}

/// Old pods that a rolling update may remove now.
fn replacements(
    set: &DaemonSet,
    template: &PodTemplateSpec,
    nodes: &[Arc<Node>],
    placed: &BTreeMap<String, Vec<Arc<Pod>>>,
    hash: &str,
    now: Timestamp,
) -> Vec<Arc<Pod>> {
    let spec = set.spec.clone().unwrap_or_default();
    let strategy = spec.update_strategy.unwrap_or_default();
    if strategy.type_.as_deref() == Some("OnDelete") {
        return Vec::new();
    }
    let wait = spec.min_ready_seconds.unwrap_or(0);
    let (mut unavailable, mut desired) = (0_i32, 0_i32);
    let (mut broken, mut candidates) = (Vec::new(), Vec::new());
    for node in nodes.iter().filter(|node| suits(template, node).0) {
        desired += 1;
        let here = placed.get(node.metadata.name.as_deref().unwrap_or("")).map(Vec::as_slice).unwrap_or_default();
        let mut alive = here.iter().filter(|pod| pods::is_active(pod));
        match (alive.next(), alive.next()) {
            (Some(pod), None) => {
                let available = pods::is_available(pod, wait, now);
                unavailable += i32::from(!available);
                if !has_hash(pod, hash) {
                    if available { candidates.push(pod.clone()) } else { broken.push(pod.clone()) }
                }
            }
            _ => unavailable += 1,
        }
    }
    let one = IntOrString::Int(1);
    let wanted = strategy.rolling_update.as_ref().and_then(|rolling| rolling.max_unavailable.as_ref());
    let allowed = scaled(wanted, desired, true, &one).max(1);
    let spare = usize::try_from((allowed - unavailable).max(0)).unwrap_or(0);
    broken.extend(candidates.into_iter().take(spare));
    broken
}

/// The counts of the status.
pub(super) fn status(
    set: &DaemonSet,
    template: &PodTemplateSpec,
    nodes: &[Arc<Node>],
    owned: &[Arc<Pod>],
    hash: &str,
    now: Timestamp,
) -> DaemonSetStatus {
    let placed = by_node(owned);
    let wait = set.spec.as_ref().and_then(|spec| spec.min_ready_seconds).unwrap_or(0);
    let (mut desired, mut current, mut ready, mut available, mut updated, mut misplaced) = (0, 0, 0, 0, 0, 0);
    for node in nodes {
        let here = placed.get(node.metadata.name.as_deref().unwrap_or("")).map(Vec::as_slice).unwrap_or_default();
        if !suits(template, node).0 {
            misplaced += i32::from(!here.is_empty());
            continue;
        }
        desired += 1;
        let Some(pod) = here.first() else { continue };
        current += 1;
        ready += i32::from(pods::is_ready(pod));
        available += i32::from(pods::is_available(pod, wait, now));
        updated += i32::from(has_hash(pod, hash));
    }
    let some = |count: i32| Some(count).filter(|count| *count != 0);
    let old = set.status.clone().unwrap_or_default();
    DaemonSetStatus {
        desired_number_scheduled: desired,
        current_number_scheduled: current,
        number_misscheduled: misplaced,
        number_ready: ready,
        number_available: some(available),
        number_unavailable: some(desired - available),
        updated_number_scheduled: some(updated),
        observed_generation: set.metadata.generation,
        collision_count: old.collision_count,
        conditions: old.conditions,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use super::*;
    use crate::pods::build::{deleting, labelled, on, pod, ready};
    use serde_json::{Value, json};

    fn node(name: &str, taints: Value) -> Arc<Node> {
        Arc::new(
            serde_json::from_value(json!({"metadata": {"name": name, "labels": {"os": "linux"}}, "spec": {"taints": taints}})).unwrap(),
        )
    }

    fn set() -> DaemonSet {
        serde_json::from_value(json!({"metadata": {"name": "d", "generation": 1}, "spec": {"selector": {},
            "updateStrategy": {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": 1}},
            "template": {"spec": {"containers": [], "nodeSelector": {"os": "linux"}}}}}))
        .unwrap()
    }

    fn names(pods: &[Arc<Pod>]) -> Vec<&str> {
        pods.iter().map(|pod| pods::name(pod)).collect()
    }

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_second(seconds).unwrap()
    }

    #[test]
    fn every_suitable_node_gets_one() {
        let set = set();
        let template = daemon_template(&set, "h1");
        let nodes = [
            node("a", json!([])),
            node("tainted", json!([{"key": "x", "effect": "NoSchedule"}])),
            node("silent", json!([{"key": "node.kubernetes.io/unreachable", "effect": "NoExecute"}])),
            node("b", json!([])),
        ];
        let owned = [Arc::new(on(pod("p", "Running"), "b"))];
        let made = plan(&set, &template, &nodes, &owned, "h1", at(0));
        assert_eq!(made.create, ["a", "silent"]);
        assert!(made.delete.is_empty());
        let status = status(&set, &template, &nodes, &owned, "h1", at(0));
        assert_eq!((status.desired_number_scheduled, status.current_number_scheduled, status.number_ready), (3, 1, 0));
    }

    #[test]
    fn surplus_ended_and_unwelcome_pods_go() {
        let set = set();
        let template = daemon_template(&set, "h1");
        let nodes = [node("a", json!([])), node("b", json!([{"key": "x", "effect": "NoExecute"}])), node("c", json!([]))];
        let owned: Vec<_> = [
            on(pod("a1", "Running"), "a"),
            on(pod("a2", "Running"), "a"),
            on(pod("b1", "Running"), "b"),
            on(pod("c1", "Failed"), "c"),
            deleting(on(pod("c2", "Running"), "c")),
        ]
        .map(Arc::new)
        .into();
        let made = plan(&set, &template, &nodes, &owned, "h1", at(0));
        assert_eq!(names(&made.delete), ["a2", "b1", "c1"]);
        assert_eq!(names(&made.failed), ["c1"]);
        assert!(made.create.is_empty(), "c waits until its old pods are gone");
    }

    #[test]
    fn a_rolling_update_replaces_broken_pods_and_one_good_one() {
        let set = set();
        let template = daemon_template(&set, "h2");
        let nodes = ["a", "b", "c"].map(|name| node(name, json!([])));
        let old = |name: &str, node: &str| labelled(ready(on(pod(name, "Running"), node), 1), HASH, "h1");
        let all: Vec<_> = [old("a1", "a"), old("b1", "b"), old("c1", "c")].map(Arc::new).into();
        assert_eq!(names(&plan(&set, &template, &nodes, &all, "h2", at(9)).delete), ["a1"]);
        let broken = labelled(on(pod("b1", "Running"), "b"), HASH, "h1");
        let all: Vec<_> = [old("a1", "a"), broken, old("c1", "c")].map(Arc::new).into();
        assert_eq!(names(&plan(&set, &template, &nodes, &all, "h2", at(9)).delete), ["b1"]);
        let fresh = labelled(on(pod("a2", "Pending"), "a"), HASH, "h2");
        let all: Vec<_> = [fresh, old("b1", "b"), old("c1", "c")].map(Arc::new).into();
        assert!(plan(&set, &template, &nodes, &all, "h2", at(9)).delete.is_empty());
    }

    #[test]
    fn a_pinned_pod_is_found_by_its_node() {
        let template = pin(&daemon_template(&set(), "h"), "w7");
        let pod = Pod { spec: template.spec, ..Pod::default() };
        assert_eq!(target(&pod).as_deref(), Some("w7"));
    }
}
