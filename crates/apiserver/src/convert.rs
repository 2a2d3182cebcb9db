//! From one served version of a built-in kind to another. Most differ in nothing but their name.

use serde_json::{Map, Value, json};
use tricorn_meta::gvk;

/// Turns the object into `group`/`version`.
pub(crate) fn convert(value: &mut Value, group: &str, version: &str) {
    let from = value["apiVersion"].as_str().unwrap_or_default().to_owned();
    match (from.as_str(), group, version) {
        ("v1", "events.k8s.io", _) => rename_all(value, false),
        ("events.k8s.io/v1", "", "v1") => rename_all(value, true),
        ("autoscaling/v1", "autoscaling", "v2") => autoscaler_to_v2(value),
        ("autoscaling/v2", "autoscaling", "v1") => autoscaler_to_v1(value),
        _ => {}
    }
    value["apiVersion"] = gvk::join_api_version(group, version).into();
}

/// core/v1 name and events.k8s.io/v1 name of the same field.
const EVENT_FIELDS: [(&str, &str); 7] = [
    ("involvedObject", "regarding"),
    ("message", "note"),
    ("source", "deprecatedSource"),
    ("firstTimestamp", "deprecatedFirstTimestamp"),
    ("lastTimestamp", "deprecatedLastTimestamp"),
    ("count", "deprecatedCount"),
    ("reportingComponent", "reportingController"),
];

fn rename_all(value: &mut Value, to_core: bool) {
    let Some(object) = value.as_object_mut() else { return };
    let renamed: Map<String, Value> = std::mem::take(object)
        .into_iter()
        .map(|(name, value)| {
            let found = EVENT_FIELDS.iter().find(|(core, new)| name == if to_core { *new } else { *core });
            let name = found.map_or(name, |(core, new)| if to_core { (*core).to_owned() } else { (*new).to_owned() });
            (name, value)
        })
        .collect();
    *object = renamed;
}

const CPU_TARGET: &str = "targetCPUUtilizationPercentage";
/// Where version 1 keeps the metrics that it has no fields for.
const METRICS: &str = "autoscaling.alpha.kubernetes.io/metrics";

fn is_cpu(metric: &Value) -> bool {
    metric["type"] == "Resource" && metric["resource"]["name"] == "cpu" && metric["resource"]["target"]["type"] == "Utilization"
}

fn autoscaler_to_v1(value: &mut Value) {
    let metrics = value["spec"].as_object_mut().and_then(|spec| spec.shift_remove("metrics"));
    let metrics = metrics.and_then(|metrics| metrics.as_array().cloned()).unwrap_or_default();
    if let Some(cpu) = metrics.iter().find(|metric| is_cpu(metric)) {
        value["spec"][CPU_TARGET] = cpu["resource"]["target"]["averageUtilization"].clone();
    }
    let others: Vec<_> = metrics.into_iter().filter(|metric| !is_cpu(metric)).collect();
    if !others.is_empty() {
        value["metadata"]["annotations"][METRICS] = Value::Array(others).to_string().into();
    }
}

fn autoscaler_to_v2(value: &mut Value) {
    let mut metrics = Vec::new();
    if let Some(target) = value["spec"].as_object_mut().and_then(|spec| spec.shift_remove(CPU_TARGET)) {
        metrics.push(
            json!({"type": "Resource", "resource": {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": target}}}),
        );
    }
    let kept = value["metadata"]["annotations"].as_object_mut().and_then(|annotations| annotations.shift_remove(METRICS));
    if let Some(Value::Array(others)) = kept.and_then(|text| serde_json::from_str(text.as_str()?).ok()) {
        metrics.extend(others);
    }
    if !metrics.is_empty() {
        value["spec"]["metrics"] = Value::Array(metrics);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_keeps_its_contents_under_other_names() {
        let core = json!({"apiVersion": "v1", "kind": "Event", "involvedObject": {"name": "a"}, "message": "m"});
        let mut new = core.clone();
        convert(&mut new, "events.k8s.io", "v1");
        assert_eq!(new, json!({"apiVersion": "events.k8s.io/v1", "kind": "Event", "regarding": {"name": "a"}, "note": "m"}));
        convert(&mut new, "", "v1");
        assert_eq!(new, core);
    }

    #[test]
    fn an_autoscaler_survives_the_older_version() {
        let v2 = json!({"apiVersion": "autoscaling/v2", "spec": {"metrics": [
            {"type": "Resource", "resource": {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": 50}}}, {"type": "Pods", "pods": {}},
        ]}, "metadata": {"annotations": {}}});
        let mut value = v2.clone();
        convert(&mut value, "autoscaling", "v1");
        assert_eq!(value["spec"][CPU_TARGET], 50);
        convert(&mut value, "autoscaling", "v2");
        assert_eq!(value, v2);
    }
}
