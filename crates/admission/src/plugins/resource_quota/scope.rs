//! Which requests a quota with scopes is about.

use serde_json::Value;

use crate::Request;

/// Whether the quota is about the request's object. Quotas without scopes are about everything.
pub(super) fn matches(quota: &Value, request: &Request<'_>) -> bool {
    let mut scopes = quota.pointer("/spec/scopes").and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str);
    let mut expressions = quota.pointer("/spec/scopeSelector/matchExpressions").and_then(Value::as_array).into_iter().flatten();
    let object = request.new_object();
    let is_pod = request.resource.group.is_empty() && request.resource.resource == "pods";
    let is_claim = request.resource.group.is_empty() && request.resource.resource == "persistentvolumeclaims";
    let holds = |scope: &str, operator: &str, values: &[&str]| match scope {
        "VolumeAttributesClass" => is_claim && named(object.pointer("/spec/volumeAttributesClassName"), operator, values),
        _ => is_pod && of_pod(object, scope, operator, values),
    };
    let of_expression = |e: &Value| {
        let text = |key: &str| e.get(key).and_then(Value::as_str).unwrap_or_default();
        let values: Vec<&str> = e.get("values").and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str).collect();
        holds(text("scopeName"), text("operator"), &values)
    };
    scopes.all(|s| holds(s, "Exists", &[])) && expressions.all(of_expression)
}

fn named(name: Option<&Value>, operator: &str, values: &[&str]) -> bool {
    let name = name.and_then(Value::as_str).unwrap_or_default();
    match operator {
        "In" => values.contains(&name),
        "NotIn" => !values.contains(&name),
        "Exists" => !name.is_empty(),
        "DoesNotExist" => name.is_empty(),
        _ => false,
    }
}

fn of_pod(pod: &Value, scope: &str, operator: &str, values: &[&str]) -> bool {
    let terminating = pod.pointer("/spec/activeDeadlineSeconds").is_some_and(|s| !s.is_null());
    match scope {
        "Terminating" => terminating,
        "NotTerminating" => !terminating,
        "BestEffort" => is_best_effort(pod),
        "NotBestEffort" => !is_best_effort(pod),
        "PriorityClass" => named(pod.pointer("/spec/priorityClassName"), operator, values),
        "CrossNamespacePodAffinity" => crosses_namespaces(pod),
        _ => false,
    }
}

fn is_best_effort(pod: &Value) -> bool {
    let containers =
        ["/spec/containers", "/spec/initContainers"].into_iter().filter_map(|p| pod.pointer(p).and_then(Value::as_array)).flatten();
    let mut resources = containers.map(|c| c.get("resources")).chain([pod.pointer("/spec/resources")]).flatten();
    !resources.any(|r| {
        let part = |key: &str| r.get(key).and_then(Value::as_object);
        [part("requests"), part("limits")].into_iter().flatten().any(|list| ["cpu", "memory"].iter().any(|name| list.contains_key(*name)))
    })
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
