//! What the server fills in where a manifest says nothing. Most of it is the table `tables/defaults.txt`; what depends on
//! other fields is code, a file a family of kinds.

mod network;
mod pods;
mod table;
mod workloads;

use serde_json::{Map, Value, json};
use tricorn_meta::GroupVersionKind;
use tricorn_meta::json::{list, text};

use crate::{Resource, catalog};

/// Fills the defaults of a kind into an object and brings it into its normal form. Doing it again changes nothing.
pub fn default(group: &str, kind: &str, object: &mut Value) {
    if let Some(node) = catalog().kind(&GroupVersionKind::of(object)).and_then(Resource::schema) {
        crate::normalize(node, object);
    }
    before(group, kind, object);
    table::apply(group, kind, object);
    after(group, kind, object);
}

/// What must be known before the table is applied.
fn before(group: &str, kind: &str, object: &mut Value) {
    match (group, kind) {
        ("batch", "Job") => workloads::job(object),
        ("", "Service") => network::service_before(object),
        _ => {}
    }
}

/// What depends on fields that the table has filled.
fn after(group: &str, kind: &str, object: &mut Value) {
    match (group, kind) {
        ("", "Pod") => {
            if let Some(spec) = object.get_mut("spec") {
                pods::spec(spec);
                pods::requests_from_limits(spec);
            }
        }
        ("apps", "Deployment") => workloads::deployment(object),
        ("apps", "StatefulSet") => workloads::stateful_set(object),
        ("apps", "DaemonSet") => workloads::daemon_set(object),
        ("apps", "ReplicaSet") | ("batch", "Job") => {}
        ("", "ReplicationController") => workloads::replication_controller(object),
        ("", "Service") => network::service(object),
        ("", "Namespace") => namespace(object),
        ("", "Node") => node(object),
        ("", "LimitRange") => limit_range(object),
        ("networking.k8s.io", "NetworkPolicy") => network::policy(object),
        ("autoscaling", "HorizontalPodAutoscaler") => autoscaler(object),
        ("rbac.authorization.k8s.io", "RoleBinding" | "ClusterRoleBinding") => subjects(object),
        ("apiextensions.k8s.io", "CustomResourceDefinition") => definition(object),
        ("resource.k8s.io", "ResourceClaim" | "ResourceClaimTemplate") => claim_counts(object),
        _ => {}
    }
    for path in template_paths(group, kind) {
        if let Some(spec) = object.pointer_mut(path) {
            pods::spec(spec);
        }
    }
}

/// Where kinds that make pods keep their pod spec.
fn template_paths(group: &str, kind: &str) -> &'static [&'static str] {
    match (group, kind) {
        ("apps", "Deployment" | "ReplicaSet" | "StatefulSet" | "DaemonSet") | ("batch", "Job") | ("", "ReplicationController") => {
            &["/spec/template/spec"]
        }
        ("batch", "CronJob") => &["/spec/jobTemplate/spec/template/spec"],
        ("", "PodTemplate") => &["/template/spec"],
        _ => &[],
    }
}

/// Sets a key that is missing or null.
pub(crate) fn missing(map: &mut Map<String, Value>, key: &str, value: impl FnOnce() -> Value) {
    if map.get(key).is_none_or(Value::is_null) {
        map.insert(key.to_owned(), value());
    }
}

/// Every namespace carries its name as a label, so that selectors can name it.
fn namespace(object: &mut Value) {
    let name = text(object, "metadata.name").to_owned();
    if !name.is_empty()
        && let Some(labels) = tricorn_meta::json::ensure_object(object, "metadata.labels")
    {
        labels.insert("kubernetes.io/metadata.name".to_owned(), Value::from(name));
    }
}

fn node(object: &mut Value) {
    let Some(status) = object.get_mut("status").and_then(Value::as_object_mut) else { return };
    if let Some(capacity) = status.get("capacity").cloned() {
        missing(status, "allocatable", || capacity);
    }
}

/// Limits of containers fall back on one another: default on max, defaultRequest on default and min.
fn limit_range(object: &mut Value) {
    let limits = object.pointer_mut("/spec/limits").and_then(Value::as_array_mut);
    for limit in limits.into_iter().flatten().filter_map(Value::as_object_mut) {
        if limit.get("type").and_then(Value::as_str) != Some("Container") {
            continue;
        }
        for (to, from) in [("default", "max"), ("defaultRequest", "default"), ("defaultRequest", "min")] {
            let source = limit.get(from).and_then(Value::as_object).cloned().unwrap_or_default();
            if source.is_empty() {
                continue;
            }
            if let Some(target) = limit.entry(to).or_insert_with(|| json!({})).as_object_mut() {
                source.into_iter().for_each(|(k, v)| missing(target, &k, || v));
            }
        }
    }
}

fn autoscaler(object: &mut Value) {
    if text(object, "apiVersion") == "autoscaling/v1" {
        return;
    }
    let empty = list(object, "spec.metrics").is_empty();
    if let Some(spec) = object.get_mut("spec").and_then(Value::as_object_mut).filter(|_| empty) {
        let cpu = json!({"name": "cpu", "target": {"type": "Utilization", "averageUtilization": 80}});
        spec.insert("metrics".to_owned(), json!([{"type": "Resource", "resource": cpu}]));
    }
}

fn subjects(object: &mut Value) {
    let subjects = object.get_mut("subjects").and_then(Value::as_array_mut);
    for subject in subjects.into_iter().flatten().filter_map(Value::as_object_mut) {
        if matches!(subject.get("kind").and_then(Value::as_str), Some("User" | "Group")) {
            missing(subject, "apiGroup", || json!("rbac.authorization.k8s.io"));
        }
    }
}

fn definition(object: &mut Value) {
    let Some(names) = object.pointer_mut("/spec/names").and_then(Value::as_object_mut) else { return };
    let kind = names.get("kind").and_then(Value::as_str).unwrap_or_default().to_owned();
    missing(names, "singular", || Value::from(kind.to_lowercase()));
    missing(names, "listKind", || Value::from(format!("{kind}List")));
}

fn claim_counts(object: &mut Value) {
    let path = if object.pointer("/spec/spec").is_some() { "/spec/spec/devices/requests" } else { "/spec/devices/requests" };
    let requests = object.pointer_mut(path).and_then(Value::as_array_mut);
    let count = |device: &mut Value| {
        if let Some(map) = device.as_object_mut().filter(|m| m.get("allocationMode").and_then(Value::as_str) == Some("ExactCount")) {
            missing(map, "count", || json!(1));
        }
    };
    for request in requests.into_iter().flatten() {
        request.get_mut("exactly").into_iter().for_each(count);
        request.get_mut("firstAvailable").and_then(Value::as_array_mut).into_iter().flatten().for_each(count);
    }
}

#[cfg(test)]
mod tests;
