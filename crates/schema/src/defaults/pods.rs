//! Defaults of pods that depend on other fields.

use serde_json::{Map, Value, json};

use super::missing;

const CONTAINERS: [&str; 3] = ["initContainers", "containers", "ephemeralContainers"];

/// What holds for every pod spec, in a Pod or in a template.
pub(super) fn spec(spec: &mut Value) {
    let host_network = spec.get("hostNetwork").and_then(Value::as_bool).unwrap_or(false);
    for list in CONTAINERS {
        for container in items(spec, list) {
            if let Some(container) = container.as_object_mut() {
                pull_policy(container);
                if host_network {
                    host_ports(container);
                }
            }
        }
    }
    for volume in items(spec, "volumes") {
        if let Some(map) = volume.as_object_mut().filter(|m| m.len() <= 1 && m.contains_key("name")) {
            map.insert("emptyDir".to_owned(), json!({}));
        }
        if let Some(image) = volume.get_mut("image").and_then(Value::as_object_mut) {
            volume_pull_policy(image);
        }
    }
    service_account(spec);
}

/// The old and the new name of the field always say the same.
fn service_account(spec: &mut Value) {
    let Some(spec) = spec.as_object_mut() else { return };
    let name = ["serviceAccountName", "serviceAccount"]
        .iter()
        .find_map(|k| spec.get(*k).filter(|v| v.as_str().is_some_and(|s| !s.is_empty())).cloned());
    if let Some(name) = name {
        spec.insert("serviceAccountName".to_owned(), name.clone());
        spec.insert("serviceAccount".to_owned(), name);
    }
}

fn items<'a>(spec: &'a mut Value, list: &str) -> impl Iterator<Item = &'a mut Value> {
    spec.get_mut(list).and_then(Value::as_array_mut).into_iter().flatten()
}

/// Images whose tag is `latest`, or which have none, are pulled always.
fn pull_policy(container: &mut Map<String, Value>) {
    let image = container.get("image").and_then(Value::as_str).unwrap_or_default();
    let policy = policy_of(image);
    missing(container, "imagePullPolicy", || json!(policy));
}

/// Images that are mounted are pulled by the same rule.
fn volume_pull_policy(source: &mut Map<String, Value>) {
    let image = source.get("reference").and_then(Value::as_str).unwrap_or_default();
    let policy = policy_of(image);
    missing(source, "pullPolicy", || json!(policy));
}

fn policy_of(image: &str) -> &'static str {
    if moves(image) { "Always" } else { "IfNotPresent" }
}

/// Whether the image's name can mean another image tomorrow.
fn moves(image: &str) -> bool {
    if image.contains('@') {
        return false;
    }
    let last = image.rsplit('/').next().unwrap_or_default();
    last.split_once(':').is_none_or(|(_, tag)| tag == "latest")
}

fn host_ports(container: &mut Map<String, Value>) {
    let ports = container.get_mut("ports").and_then(Value::as_array_mut);
    for port in ports.into_iter().flatten().filter_map(Value::as_object_mut) {
        if let Some(number) = port.get("containerPort").cloned() {
            missing(port, "hostPort", || number);
        }
    }
}

/// A Pod's containers request what they are limited to, where they do not say otherwise.
pub(super) fn requests_from_limits(spec: &mut Value) {
    for list in ["initContainers", "containers"] {
        for container in items(spec, list) {
            let Some(resources) = container.get_mut("resources").and_then(Value::as_object_mut) else { continue };
            let Some(limits) = resources.get("limits").and_then(Value::as_object).filter(|l| !l.is_empty()).cloned() else { continue };
            if let Some(requests) = resources.entry("requests").or_insert_with(|| json!({})).as_object_mut() {
                limits.into_iter().for_each(|(name, amount)| missing(requests, &name, || amount));
            }
        }
    }
}
