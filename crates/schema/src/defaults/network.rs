//! Defaults of Services and network policies.

use serde_json::{Value, json};
use tricorn_meta::json::{list, text};

use super::missing;

/// An empty port to go to means the port itself.
pub(super) fn service_before(object: &mut Value) {
    let ports = object.pointer_mut("/spec/ports").and_then(Value::as_array_mut);
    for port in ports.into_iter().flatten().filter_map(Value::as_object_mut) {
        let unset = port.get("targetPort").is_none_or(|t| t.is_null() || t == 0 || t == "");
        if let Some(number) = port.get("port").filter(|_| unset).cloned() {
            port.insert("targetPort".to_owned(), number);
        }
    }
}

pub(super) fn service(object: &mut Value) {
    let kind = text(object, "spec.type").to_owned();
    let outside =
        matches!(kind.as_str(), "NodePort" | "LoadBalancer") || (kind == "ClusterIP" && !list(object, "spec.externalIPs").is_empty());
    let affinity = text(object, "spec.sessionAffinity").to_owned();
    let Some(spec) = object.get_mut("spec").and_then(Value::as_object_mut) else { return };
    if outside {
        missing(spec, "externalTrafficPolicy", || json!("Cluster"));
    }
    if matches!(kind.as_str(), "NodePort" | "LoadBalancer" | "ClusterIP") {
        missing(spec, "internalTrafficPolicy", || json!("Cluster"));
    }
    if kind == "LoadBalancer" {
        missing(spec, "allocateLoadBalancerNodePorts", || json!(true));
    }
    if affinity == "ClientIP" {
        let known = spec.get("sessionAffinityConfig").and_then(|c| c.get("clientIP")).and_then(|c| c.get("timeoutSeconds"));
        if known.is_none_or(Value::is_null) {
            spec.insert("sessionAffinityConfig".to_owned(), json!({"clientIP": {"timeoutSeconds": 10_800}}));
        }
    } else if affinity == "None" {
        spec.remove("sessionAffinityConfig");
    }
}

/// A policy is about ingress always, and about egress when it has such rules.
pub(super) fn policy(object: &mut Value) {
    let egress = !list(object, "spec.egress").is_empty();
    let none = list(object, "spec.policyTypes").is_empty();
    if let Some(spec) = object.get_mut("spec").and_then(Value::as_object_mut).filter(|_| none) {
        spec.insert("policyTypes".to_owned(), if egress { json!(["Ingress", "Egress"]) } else { json!(["Ingress"]) });
    }
}
