//! What a write does to an object before it is judged: parts that the writer has no say in are set or set back, and the
//! generation counts changes of what is wanted.

use serde_json::{Map, Value, json};
use tricorn_meta::json::{ensure_object, get, int, remove, set};

use super::check::same;
use super::{core, job, pod, service};

/// Kinds whose status is written through the `status` subresource alone, and the status a new object begins with.
fn first_status(group: &str, kind: &str) -> Option<Value> {
    Some(match (group, kind) {
        ("", "Namespace") => json!({"phase": "Active"}),
        ("", "PersistentVolume" | "PersistentVolumeClaim") => json!({"phase": "Pending"}),
        ("", "Service") | ("networking.k8s.io", "Ingress") => json!({"loadBalancer": {}}),
        ("", "ReplicationController") | ("apps", "ReplicaSet") => json!({"replicas": 0}),
        ("apps", "StatefulSet") => json!({"replicas": 0, "availableReplicas": 0}),
        ("apps", "DaemonSet") => {
            json!({"currentNumberScheduled": 0, "numberMisscheduled": 0, "desiredNumberScheduled": 0, "numberReady": 0})
        }
        ("policy", "PodDisruptionBudget") => json!({"disruptionsAllowed": 0, "currentHealthy": 0, "desiredHealthy": 0, "expectedPods": 0}),
        ("autoscaling", "HorizontalPodAutoscaler") => json!({"currentReplicas": 0, "desiredReplicas": 0}),
        ("storage.k8s.io", "VolumeAttachment") => json!({"attached": false}),
        ("", "ResourceQuota" | "Pod" | "Node")
        | ("apps", "Deployment")
        | ("batch", "Job" | "CronJob")
        | ("apiregistration.k8s.io", "APIService")
        | ("apiextensions.k8s.io", "CustomResourceDefinition")
        | ("certificates.k8s.io", "CertificateSigningRequest")
        | ("flowcontrol.apiserver.k8s.io", "FlowSchema" | "PriorityLevelConfiguration")
        | ("networking.k8s.io", "ServiceCIDR")
        | ("resource.k8s.io", "ResourceClaim")
        | ("admissionregistration.k8s.io", "ValidatingAdmissionPolicy") => json!({}),
        _ => return None,
    })
}

/// Whether the kind has a `status` subresource.
pub fn has_status(group: &str, kind: &str) -> bool {
    first_status(group, kind).is_some()
}

/// Whether `metadata.generation` counts the changes of such objects.
pub fn has_generation(group: &str, kind: &str) -> bool {
    match group {
        "apps" => kind != "ControllerRevision",
        "batch"
        | "policy"
        | "apiextensions.k8s.io"
        | "admissionregistration.k8s.io"
        | "flowcontrol.apiserver.k8s.io"
        | "discovery.k8s.io" => true,
        "networking.k8s.io" => matches!(kind, "Ingress" | "IngressClass" | "NetworkPolicy"),
        "scheduling.k8s.io" => kind == "PriorityClass",
        "resource.k8s.io" => matches!(kind, "ResourceSlice" | "DeviceClass"),
        "" => matches!(kind, "Pod" | "ReplicationController"),
        _ => false,
    }
}

/// Makes a new object ready to be judged and stored: status, generation, and what the kind itself sets. The name, namespace and UID are
/// set before; defaults too.
pub fn prepare_for_create(group: &str, kind: &str, object: &mut Value) {
    match (group, kind) {
        ("", "Node") => {}
        ("", "Pod") => pod::prepare_create(object),
        _ => {
            if let (Some(status), Some(map)) = (first_status(group, kind), object.as_object_mut()) {
                map.insert("status".to_owned(), status);
            }
        }
    }
    if has_generation(group, kind) {
        set(object, "metadata.generation", 1);
    } else {
        remove(object, "metadata.generation");
    }
    match (group, kind) {
        ("", "Namespace") => core::namespace_finalizer(object),
        ("", "Secret") => core::string_data(object),
        ("", "Service") => service::prepare(object),
        ("batch", "Job") => job::prepare(object),
        _ => {}
    }
}

/// Makes a changed object ready to be judged and stored. `subresource` names what it came through; `None` is the object itself.
pub fn prepare_for_update(group: &str, kind: &str, new: &mut Value, old: &Value, subresource: Option<&str>) {
    let through_itself = subresource.is_none();
    match subresource {
        Some("status") => only_status(group, new, old),
        Some("scale") | Some("binding") | Some("ephemeralcontainers") | Some("resize") | None => keep_status(group, kind, new, old),
        Some("finalize") => keep_status(group, kind, new, old),
        Some("approval") => only_conditions(new, old),
        Some(_) => {}
    }
    match (group, kind, subresource) {
        ("", "Secret", None) => core::string_data(new),
        ("", "Service", None) => service::prepare_update(new, old),
        ("", "Namespace", None) => keep(new, old, &["spec", "status"]),
        ("", "Pod", Some("status")) => pod::prepare_status(new, old),
        ("certificates.k8s.io", "CertificateSigningRequest", None) => keep(new, old, &["spec"]),
        _ => {}
    }
    system_metadata(new, old);
    generation(group, kind, new, old, through_itself);
}

/// What only the server writes stays; what a client left out of its manifest is filled in.
fn system_metadata(new: &mut Value, old: &Value) {
    let before = get(old, "metadata").and_then(Value::as_object);
    let (Some(before), Some(metadata)) = (before, ensure_object(new, "metadata")) else { return };
    for key in ["uid", "creationTimestamp", "deletionTimestamp", "deletionGracePeriodSeconds", "selfLink", "generation"] {
        let given = metadata.get(key).is_some_and(|v| !v.is_null());
        let fixed = matches!(key, "creationTimestamp" | "deletionTimestamp" | "deletionGracePeriodSeconds" | "generation");
        match before.get(key).filter(|v| !v.is_null()) {
            Some(value) if fixed || !given => {
                metadata.insert(key.to_owned(), value.clone());
            }
            None if fixed => {
                metadata.remove(key);
            }
            _ => {}
        }
    }
}

fn generation(group: &str, kind: &str, new: &mut Value, old: &Value, through_itself: bool) {
    if !has_generation(group, kind) {
        return;
    }
    let current = int(old, "metadata.generation").unwrap_or(0);
    let differ = |path: &str| !same(get(new, path).unwrap_or(&Value::Null), get(old, path).unwrap_or(&Value::Null));
    let changed = match kind {
        "Deployment" => differ("spec") || (through_itself && notes(new) != notes(old)),
        "EndpointSlice" => wanted(new) != wanted(old) || differ("metadata.labels"),
        "PriorityClass" | "ValidatingWebhookConfiguration" | "MutatingWebhookConfiguration" => wanted(new) != wanted(old),
        _ => differ("spec"),
    };
    let deleted = get(new, "metadata.deletionTimestamp").is_some() && get(old, "metadata.deletionTimestamp").is_none();
    let next = if changed || deleted { current + 1 } else { current };
    set(new, "metadata.generation", next);
}

/// What a Deployment's annotations ask for: they are handed down to its ReplicaSets. The revision is what was made of it, not what is wanted.
fn notes(object: &Value) -> Vec<(&String, &Value)> {
    let notes = get(object, "metadata.annotations").and_then(Value::as_object);
    notes.into_iter().flatten().filter(|(key, _)| *key != "deployment.kubernetes.io/revision").collect()
}

/// All of an object that is not metadata or status.
fn wanted(object: &Value) -> Map<String, Value> {
    let mut map = object.as_object().cloned().unwrap_or_default();
    for key in ["metadata", "status", "apiVersion", "kind"] {
        map.remove(key);
    }
    map
}

fn keep(new: &mut Value, old: &Value, keys: &[&str]) {
    let Some(map) = new.as_object_mut() else { return };
    for key in keys {
        match old.get(*key) {
            Some(value) => map.insert((*key).to_owned(), value.clone()),
            None => map.remove(*key),
        };
    }
}

fn keep_status(group: &str, kind: &str, new: &mut Value, old: &Value) {
    if has_status(group, kind) {
        keep(new, old, &["status"]);
    }
}

/// Of a write through `status`, only the status counts, and those parts of metadata that say nothing about what is wanted.
fn only_status(group: &str, new: &mut Value, old: &Value) {
    let keys: Vec<String> = new.as_object().into_iter().chain(old.as_object()).flat_map(Map::keys).cloned().collect();
    let others: Vec<&str> =
        keys.iter().map(String::as_str).filter(|k| !matches!(*k, "status" | "metadata" | "apiVersion" | "kind")).collect();
    keep(new, old, &others);
    let fixed: &[&str] = if matches!(group, "apps" | "batch") { &["labels", "ownerReferences"] } else { &["ownerReferences"] };
    if let (Some(metadata), Some(before)) = (new.get_mut("metadata"), old.get("metadata")) {
        keep(metadata, before, fixed);
    }
}

/// Of a write through `approval`, only the conditions of the status count.
fn only_conditions(new: &mut Value, old: &Value) {
    let conditions = remove(new, "status.conditions");
    keep(new, old, &["spec", "status"]);
    remove(new, "status.conditions");
    if let Some(conditions) = conditions {
        set(new, "status.conditions", conditions);
    }
}
