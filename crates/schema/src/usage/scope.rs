//! Which objects a quota with scopes is about.

use serde_json::Value;
use tricorn_meta::json::{list, text};

use crate::kinds::qos_class;

/// Whether the quota is about the object. One without scopes is about everything.
pub fn matches(quota: &Value, group: &str, plural: &str, object: &Value) -> bool {
    let is = |resource: &str| group.is_empty() && plural == resource;
    let holds = |scope: &str, operator: &str, values: &[&str]| match scope {
        "VolumeAttributesClass" => is("persistentvolumeclaims") && is_named(&attributes_classes(object), operator, values),
        _ => is("pods") && of_pod(object, scope, operator, values),
    };
    let of_expression = |e: &Value| {
        let values: Vec<&str> = list(e, "values").iter().filter_map(Value::as_str).collect();
        holds(text(e, "scopeName"), text(e, "operator"), &values)
    };
    list(quota, "spec.scopes").iter().filter_map(Value::as_str).all(|scope| holds(scope, "Exists", &[]))
        && list(quota, "spec.scopeSelector.matchExpressions").iter().all(of_expression)
}

/// The classes that a claim has, has had or will have.
fn attributes_classes(claim: &Value) -> Vec<&str> {
    let places = [
        "spec.volumeAttributesClassName",
        "status.currentVolumeAttributesClassName",
        "status.modifyVolumeStatus.targetVolumeAttributesClassName",
    ];
    places.iter().map(|place| text(claim, place)).filter(|name| !name.is_empty()).collect()
}

/// Whether one of the names satisfies the selector; what has no name at all is selected where names are left out.
fn is_named(names: &[&str], operator: &str, values: &[&str]) -> bool {
    match operator {
        "In" => names.iter().any(|name| values.contains(name)),
        "NotIn" => names.is_empty() || names.iter().any(|name| !values.contains(name)),
        "Exists" => !names.is_empty(),
        "DoesNotExist" => names.is_empty(),
        _ => false,
    }
}

fn of_pod(pod: &Value, scope: &str, operator: &str, values: &[&str]) -> bool {
    let terminating = || pod.pointer("/spec/activeDeadlineSeconds").and_then(Value::as_i64).is_some_and(|seconds| seconds >= 0);
    match scope {
        "Terminating" => terminating(),
        "NotTerminating" => !terminating(),
        "BestEffort" => is_best_effort(pod),
        "NotBestEffort" => !is_best_effort(pod),
        "PriorityClass" => {
            let class = text(pod, "spec.priorityClassName");
            is_named(Some(class).filter(|class| !class.is_empty()).as_slice(), operator, values)
        }
        "CrossNamespacePodAffinity" => crosses_namespaces(pod),
        _ => false,
    }
}

/// Whether the pod asks for nothing. What its status says goes, as long as it has one.
fn is_best_effort(pod: &Value) -> bool {
    match text(pod, "status.qosClass") {
        "" => qos_class(pod) == "BestEffort",
        class => class == "BestEffort",
    }
}

fn crosses_namespaces(pod: &Value) -> bool {
    fn any_term(value: &Value) -> bool {
        match value {
            Value::Object(object) => {
                object.get("namespaces").and_then(Value::as_array).is_some_and(|n| !n.is_empty())
                    || object.get("namespaceSelector").is_some_and(|s| !s.is_null())
                    || object.values().any(any_term)
            }
            Value::Array(list) => list.iter().any(any_term),
            _ => false,
        }
    }
    ["/spec/affinity/podAffinity", "/spec/affinity/podAntiAffinity"].iter().filter_map(|p| pod.pointer(p)).any(any_term)
}
