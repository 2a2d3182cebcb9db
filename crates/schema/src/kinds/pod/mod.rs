//! Pods, and the pod specs of everything that makes them.

mod container;
pub(super) mod env;
mod mounts;
mod probe;
mod resize;
pub(super) mod resources;
pub(super) mod scheduling;
mod security;
mod spec;
mod status;
mod update;
mod windows;

use serde_json::{Value, json};
use tricorn_meta::json::{get, list};
use tricorn_meta::{FieldError, Quantity};

use super::check::{At, Errors};
use super::metadata;

pub(super) use resize::resize;
pub(super) use status::status;
pub(super) use update::{replaced, update, update_ephemeral};

/// A new pod waits, whatever its creator says of its status.
pub(super) fn prepare_create(pod: &mut Value) {
    let class = qos_class(pod);
    pod["status"] = json!({"phase": "Pending", "qosClass": class});
}

/// A pod's spec changes through its spec alone, its status through its status.
pub(super) fn prepare_status(new: &mut Value, old: &Value) {
    let class = qos_class(old);
    if let Some(status) = new.get_mut("status").and_then(Value::as_object_mut) {
        status.entry("qosClass").or_insert_with(|| Value::from(class));
    }
}

/// How well the pod is paid for: Guaranteed, Burstable or BestEffort.
pub fn qos_class(pod: &Value) -> &'static str {
    let (mut any, mut all) = (false, true);
    for container in list(pod, "spec.initContainers").iter().chain(list(pod, "spec.containers")) {
        for resource in ["cpu", "memory"] {
            let amount = |of: &str| {
                let value = get(container, "resources").and_then(|r| r.get(of)).and_then(|r| r.get(resource));
                value.and_then(Quantity::from_json).filter(|q| !q.is_zero())
            };
            let (limit, request) = (amount("limits"), amount("requests"));
            any |= limit.is_some() || request.is_some();
            all &= limit.is_some() && (request.is_none() || request == limit);
        }
    }
    match (any, all) {
        (false, _) => "BestEffort",
        (true, true) => "Guaranteed",
        (true, false) => "Burstable",
    }
}

const MIRROR: &str = "kubernetes.io/config.mirror";

/// The rules for a new pod.
pub(super) fn create(pod: &At<'_>, errors: &mut Errors) {
    let spec = pod.get("spec");
    annotations(&pod.at("metadata.annotations"), &spec, errors);
    spec::whole(&spec, Some(pod.at("metadata.name").text()), errors);
    let ephemeral = spec.get("ephemeralContainers");
    if !ephemeral.is_empty() {
        ephemeral.forbidden("cannot be set on create", errors);
    }
    if !spec.get("nodeName").is_empty() && !spec.get("schedulingGates").is_empty() {
        spec.get("nodeName").forbidden("cannot be set until all schedulingGates have been cleared", errors);
    }
}

/// The rules for a template: labels, annotations and the spec.
pub(super) fn template(template: &At<'_>, errors: &mut Errors) {
    let meta = template.get("metadata");
    let spec = template.get("spec");
    metadata::labels(&meta.get("labels").told_at(template.path.child("labels")), errors);
    let notes = meta.get("annotations").told_at(template.path.child("annotations"));
    metadata::annotations(&notes, errors);
    annotations(&notes, &spec, errors);
    spec::whole(&spec, None, errors);
    let ephemeral = spec.get("ephemeralContainers");
    if !ephemeral.is_empty() {
        ephemeral.forbidden("ephemeral containers not allowed in pod template", errors);
    }
}

/// What annotations mean to pods alone.
fn annotations(notes: &At<'_>, spec: &At<'_>, errors: &mut Errors) {
    let note = |key: &str| notes.value.get(key).and_then(Value::as_str);
    if let Some(value) = note(MIRROR)
        && spec.get("nodeName").is_empty()
    {
        errors.push(FieldError::invalid(&notes.path.key(MIRROR), value, "must set spec.nodeName if mirror pod annotation is set"));
    }
    const COST: &str = "controller.kubernetes.io/pod-deletion-cost";
    if let Some(value) = note(COST)
        && (value.parse::<i32>().is_err() || value.starts_with('+') || (value.len() > 1 && value.starts_with('0')))
    {
        errors.push(FieldError::invalid(&notes.path.key(COST), value, "must be a 32bit integer"));
    }
}

/// The containers of a pod spec of all three sorts.
fn all_containers<'a>(spec: &At<'a>) -> impl Iterator<Item = At<'a>> {
    let lists = ["initContainers", "containers", "ephemeralContainers"].map(|list| spec.get(list));
    lists.into_iter().flat_map(|list| list.items())
}
