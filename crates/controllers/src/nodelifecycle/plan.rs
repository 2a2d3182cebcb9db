//! What a node's silence or its own words mean: conditions and taints; and when a pod must leave.

use std::time::Duration;

use k8s_openapi::api::core::v1::{Node, NodeCondition, Taint, Toleration};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use k8s_openapi::jiff::{SignedDuration, Timestamp};
use tricorn_client::demands::tolerates;

const NOT_READY: &str = "node.kubernetes.io/not-ready";
const UNREACHABLE: &str = "node.kubernetes.io/unreachable";
const UNSCHEDULABLE: &str = "node.kubernetes.io/unschedulable";

/// Conditions that a kubelet posts, and that nobody knows once it is silent.
const POSTED: [&str; 4] = ["Ready", "MemoryPressure", "DiskPressure", "PIDPressure"];

/// Taints that follow from a condition being True.
const FROM_CONDITIONS: [(&str, &str); 4] = [
    ("MemoryPressure", "node.kubernetes.io/memory-pressure"),
    ("DiskPressure", "node.kubernetes.io/disk-pressure"),
    ("PIDPressure", "node.kubernetes.io/pid-pressure"),
    ("NetworkUnavailable", "node.kubernetes.io/network-unavailable"),
];

/// A condition by its type.
pub(super) fn condition<'a>(node: &'a Node, kind: &str) -> Option<&'a NodeCondition> {
    node.status.as_ref()?.conditions.as_ref()?.iter().find(|condition| condition.type_ == kind)
}

/// "True", "False", or "Unknown".
pub(super) fn readiness(node: &Node) -> &str {
    condition(node, "Ready").map_or("Unknown", |ready| ready.status.as_str())
}

/// The node's conditions once it has been silent for too long; none if they say so already.
pub(super) fn silenced(node: &Node, now: Timestamp) -> Option<Vec<NodeCondition>> {
    let mut all = node.status.as_ref().and_then(|status| status.conditions.clone()).unwrap_or_default();
    let mut changed = false;
    for kind in POSTED {
        match all.iter_mut().find(|condition| condition.type_ == kind) {
            Some(known) if known.status == "Unknown" => {}
            Some(known) => {
                known.status = "Unknown".to_owned();
                known.reason = Some("NodeStatusUnknown".to_owned());
                known.message = Some("Kubelet stopped posting node status.".to_owned());
                known.last_transition_time = Some(Time(now));
                changed = true;
            }
            None => {
                all.push(NodeCondition {
                    type_: kind.to_owned(),
                    status: "Unknown".to_owned(),
                    reason: Some("NodeStatusNeverUpdated".to_owned()),
                    message: Some("Kubelet never posted node status.".to_owned()),
                    last_heartbeat_time: node.metadata.creation_timestamp.clone(),
                    last_transition_time: Some(Time(now)),
                });
                changed = true;
            }
        }
    }
    changed.then_some(all)
}

/// The taints that the node should have. `evict` is whether pods are to leave nodes that are not ready, which they are
/// not when no node at all is.
pub(super) fn taints(node: &Node, evict: bool, now: Timestamp) -> Vec<Taint> {
    let spec = node.spec.clone().unwrap_or_default();
    let present = spec.taints.unwrap_or_default();
    let managed = |taint: &Taint| {
        let by_condition = taint.effect == "NoSchedule"
            && ([NOT_READY, UNREACHABLE, UNSCHEDULABLE].contains(&taint.key.as_str())
                || FROM_CONDITIONS.iter().any(|(_, key)| *key == taint.key));
        by_condition || (taint.effect == "NoExecute" && [NOT_READY, UNREACHABLE].contains(&taint.key.as_str()))
    };
    let mut wanted: Vec<(&str, &str)> = Vec::new();
    let trouble = match readiness(node) {
        "True" => None,
        "False" => Some(NOT_READY),
        _ => Some(UNREACHABLE),
    };
    if let Some(key) = trouble {
        wanted.push((key, "NoSchedule"));
        if evict {
            wanted.push((key, "NoExecute"));
        }
    }
    for (kind, key) in FROM_CONDITIONS {
        if condition(node, kind).is_some_and(|condition| condition.status == "True") {
            wanted.push((key, "NoSchedule"));
        }
    }
    if spec.unschedulable == Some(true) {
        wanted.push((UNSCHEDULABLE, "NoSchedule"));
    }
    let mut all: Vec<Taint> = Vec::new();
    for taint in present {
        if !managed(&taint) || wanted.iter().any(|(key, effect)| *key == taint.key && *effect == taint.effect) {
            wanted.retain(|(key, effect)| !(*key == taint.key && *effect == taint.effect));
            all.push(taint);
        }
    }
    all.extend(wanted.into_iter().map(|(key, effect)| Taint {
        key: key.to_owned(),
        effect: effect.to_owned(),
        value: None,
        time_added: Some(Time(now)),
    }));
    all
}

/// When a pod must leave its node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stay {
    /// It may stay.
    Forever,
    /// It may stay for this long.
    For(Duration),
    /// It must go now.
    Over,
}

/// How long a pod with `tolerations` may stay on a node with `taints`. The time runs from when a taint was added.
pub(super) fn stay(tolerations: &[Toleration], taints: &[Taint], now: Timestamp) -> Stay {
    let mut end: Option<Timestamp> = None;
    for taint in taints.iter().filter(|taint| taint.effect == "NoExecute") {
        let covering: Vec<&Toleration> = tolerations.iter().filter(|toleration| tolerates(toleration, taint)).collect();
        if covering.is_empty() {
            return Stay::Over;
        }
        let shortest = covering.iter().filter_map(|toleration| toleration.toleration_seconds).min();
        if let Some(seconds) = shortest {
            let since = taint.time_added.as_ref().map_or(now, |time| time.0);
            let until = since.checked_add(SignedDuration::from_secs(seconds.max(0))).unwrap_or(Timestamp::MAX);
            end = Some(end.map_or(until, |end| end.min(until)));
        }
    }
    match end {
        None => Stay::Forever,
        Some(end) if end <= now => Stay::Over,
        Some(end) => Stay::For(Duration::try_from(end.duration_since(now)).unwrap_or_default()),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use super::*;
    use serde_json::json;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_second(seconds).unwrap()
    }

    fn node(ready: &str, unschedulable: bool, taints: serde_json::Value) -> Node {
        serde_json::from_value(json!({"metadata": {"name": "w1"}, "spec": {"unschedulable": unschedulable, "taints": taints},
            "status": {"conditions": [{"type": "Ready", "status": ready}, {"type": "DiskPressure", "status": "False"}]}}))
        .unwrap()
    }

    fn words(taints: &[Taint]) -> Vec<String> {
        taints.iter().map(|taint| format!("{}:{}", taint.key.trim_start_matches("node.kubernetes.io/"), taint.effect)).collect()
    }

    #[test]
    fn taints_follow_the_conditions() {
        let own = json!([{"key": "mine", "effect": "NoSchedule"}, {"key": NOT_READY, "effect": "NoSchedule"}]);
        for (node, evict, expected) in [
            (node("True", false, own.clone()), true, vec!["mine:NoSchedule"]),
            (node("False", false, own.clone()), true, vec!["mine:NoSchedule", "not-ready:NoSchedule", "not-ready:NoExecute"]),
            (node("Unknown", false, own.clone()), true, vec!["mine:NoSchedule", "unreachable:NoSchedule", "unreachable:NoExecute"]),
            (node("Unknown", false, own), false, vec!["mine:NoSchedule", "unreachable:NoSchedule"]),
            (node("True", true, json!([])), true, vec!["unschedulable:NoSchedule"]),
        ] {
            assert_eq!(words(&taints(&node, evict, at(0))), expected);
        }
    }

    #[test]
    fn a_taint_that_stays_keeps_its_time() {
        let first = node("False", false, json!([]));
        let mut second = first.clone();
        second.spec.as_mut().unwrap().taints = Some(taints(&first, true, at(10)));
        assert_eq!(taints(&second, true, at(99)), taints(&first, true, at(10)));
    }

    #[test]
    fn silence_makes_conditions_unknown_once() {
        let mut node = node("True", false, json!([]));
        let conditions = silenced(&node, at(50)).unwrap();
        let ready = conditions.iter().find(|condition| condition.type_ == "Ready").unwrap();
        assert_eq!((ready.status.as_str(), ready.reason.as_deref()), ("Unknown", Some("NodeStatusUnknown")));
        let memory = conditions.iter().find(|condition| condition.type_ == "MemoryPressure").unwrap();
        assert_eq!(memory.reason.as_deref(), Some("NodeStatusNeverUpdated"));
        node.status.as_mut().unwrap().conditions = Some(conditions);
        assert_eq!(silenced(&node, at(60)), None);
    }

    #[test]
    fn tolerations_buy_time() {
        let taint: Taint =
            serde_json::from_value(json!({"key": UNREACHABLE, "effect": "NoExecute", "timeAdded": "1970-01-01T00:01:40Z"})).unwrap();
        let toleration = |seconds: Option<i64>| Toleration {
            key: Some(UNREACHABLE.into()),
            operator: Some("Exists".into()),
            effect: Some("NoExecute".into()),
            toleration_seconds: seconds,
            value: None,
        };
        for (tolerations, now, expected) in [
            (vec![], 100, Stay::Over),
            (vec![toleration(None)], 9999, Stay::Forever),
            (vec![toleration(Some(300))], 150, Stay::For(Duration::from_secs(250))),
            (vec![toleration(Some(300)), toleration(Some(20))], 110, Stay::For(Duration::from_secs(10))),
            (vec![toleration(Some(300))], 400, Stay::Over),
            (vec![toleration(Some(0))], 100, Stay::Over),
        ] {
            assert_eq!(stay(&tolerations, std::slice::from_ref(&taint), at(now)), expected);
        }
        assert_eq!(stay(&[], &[], at(0)), Stay::Forever);
    }
}
