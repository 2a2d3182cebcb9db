//! What of a pod may change, and how.

use serde_json::Value;
use tricorn_meta::json::text;

use super::{MIRROR, container, scheduling, spec};
use crate::kinds::check::{At, Errors, same};

const UPDATABLE: &str = "pod updates may not change fields other than `spec.containers[*].image`,`spec.initContainers[*].image`,`spec.activeDeadlineSeconds`,`spec.tolerations` (only additions to existing tolerations),`spec.terminationGracePeriodSeconds` (allow it to be set to 1 if it was previously negative)";

/// The rules for a change of a pod through itself.
pub(in crate::kinds) fn update(new: &At<'_>, old: &At<'_>, errors: &mut Errors) {
    let (now, then) = (new.get("spec"), old.get("spec"));
    annotations(&new.at("metadata.annotations"), &old.at("metadata.annotations"), errors);
    for list in ["containers", "initContainers"] {
        if !images(&now.get(list), &then.get(list), errors) {
            return;
        }
    }
    if !deadline(&now, &then, errors) {
        return;
    }
    scheduling::only_added(&now.get("tolerations"), &then.get("tolerations"), errors);
    gates(&now.get("schedulingGates"), &then.get("schedulingGates"), errors);
    if same(now.value, then.value) {
        return;
    }
    let gated = !then.get("schedulingGates").is_empty();
    if gated {
        scheduling::narrowed(&now, &then, errors);
    }
    if !same(&fixed(now.value, then.value, gated), then.value) {
        now.forbidden(UPDATABLE, errors);
    }
}

/// What the kubelet made a mirror pod with stays.
pub(super) fn annotations(now: &At<'_>, then: &At<'_>, errors: &mut Errors) {
    let find = |at: &At<'_>| at.value.get(MIRROR).cloned();
    let at = now.told_at(now.path.key(MIRROR));
    match (find(then), find(now)) {
        (Some(a), b) if b.as_ref() != Some(&a) => at.forbidden("may not remove or update mirror pod annotation", errors),
        (None, Some(_)) => at.forbidden("may not add mirror pod annotation", errors),
        _ => {}
    }
}

/// Containers stay; their images may change. Says whether it is worth to look further.
fn images(now: &At<'_>, then: &At<'_>, errors: &mut Errors) -> bool {
    if now.len() != then.len() {
        now.forbidden("pod updates may not add or remove containers", errors);
        return false;
    }
    for image in now.items().map(|c| c.get("image")) {
        if image.is_empty() {
            image.required("", errors);
        }
        container::trimmed(&image, errors);
    }
    true
}

/// The deadline may be set or shortened, never taken away. Says whether it is worth to look further.
fn deadline(spec: &At<'_>, before: &At<'_>, errors: &mut Errors) -> bool {
    let (now, then) = (spec.get("activeDeadlineSeconds"), before.get("activeDeadlineSeconds"));
    let found = errors.len();
    match (now.int(), then.int()) {
        (None, Some(_)) => {
            now.invalid("must not update from a positive integer to nil value", errors);
            return true;
        }
        (Some(n), _) if !(0..=i64::from(i32::MAX)).contains(&n) => now.within(0, i64::from(i32::MAX), errors),
        (Some(n), Some(t)) if n > t => now.invalid("must be less than or equal to previous value", errors),
        (Some(0), None) => now.within(1, i64::from(i32::MAX), errors),
        _ => {}
    }
    errors.len() == found
}

fn gates(now: &At<'_>, then: &At<'_>, errors: &mut Errors) {
    for name in now.items().map(|g| g.get("name")) {
        if !then.items().any(|g| g.get("name").text() == name.text()) {
            name.forbidden(&format!("only deletion is allowed, but found new scheduling gate '{}'", name.text()), errors);
        }
    }
}

/// The new spec with everything that may change set back.
fn fixed(new: &Value, old: &Value, gated: bool) -> Value {
    let mut new = new.clone();
    for list in ["containers", "initContainers"] {
        let before = old.get(list).and_then(Value::as_array);
        let items = new.get_mut(list).and_then(Value::as_array_mut);
        for (item, then) in items.into_iter().flatten().zip(before.into_iter().flatten()) {
            put_back(item, then, "image");
        }
    }
    for key in ["activeDeadlineSeconds", "tolerations", "schedulingGates"] {
        put_back(&mut new, old, key);
    }
    let seconds = |spec: &Value| spec.get("terminationGracePeriodSeconds").and_then(Value::as_i64);
    if seconds(old).is_some_and(|s| s < 0) && seconds(&new) == Some(1) {
        put_back(&mut new, old, "terminationGracePeriodSeconds");
    }
    if gated {
        put_back(&mut new, old, "nodeSelector");
        node_affinity_back(&mut new, old);
    }
    new
}

/// A template with everything set back that may change as long as no pod was made of it: labels and annotations, where its pods may go, and how much they
/// ask for.
pub(in crate::kinds) fn replaced(new: &Value, old: &Value) -> Value {
    let mut new = new.clone();
    let part = |of: &Value, key: &str| of.get(key).cloned().unwrap_or_default();
    if let Some(metadata) = new.get_mut("metadata") {
        ["labels", "annotations"].iter().for_each(|key| put_back(metadata, &part(old, "metadata"), key));
    }
    let before = part(old, "spec");
    let Some(spec) = new.get_mut("spec") else { return new };
    ["nodeSelector", "tolerations", "schedulingGates"].iter().for_each(|key| put_back(spec, &before, key));
    node_affinity_back(spec, &before);
    for list in ["containers", "initContainers"] {
        let items = spec.get_mut(list).and_then(Value::as_array_mut);
        for (item, then) in items.into_iter().flatten().zip(before.get(list).and_then(Value::as_array).into_iter().flatten()) {
            put_back(item, then, "resources");
        }
    }
    new
}

/// Sets node affinity back alone: affinity to other pods never changes.
fn node_affinity_back(new: &mut Value, old: &Value) {
    let before = old.get("affinity").and_then(|a| a.get("nodeAffinity")).filter(|a| !a.is_null());
    let Some(spec) = new.as_object_mut() else { return };
    match (spec.get_mut("affinity").and_then(Value::as_object_mut), before) {
        (Some(affinity), Some(before)) => {
            affinity.insert("nodeAffinity".to_owned(), before.clone());
        }
        (Some(affinity), None) => {
            affinity.remove("nodeAffinity");
            if affinity.values().all(Value::is_null) && old.get("affinity").is_none_or(Value::is_null) {
                spec.remove("affinity");
            }
        }
        (None, Some(before)) => {
            spec.insert("affinity".to_owned(), serde_json::json!({"nodeAffinity": before}));
        }
        (None, None) => {}
    }
}

fn put_back(new: &mut Value, old: &Value, key: &str) {
    let Some(map) = new.as_object_mut() else { return };
    match old.get(key) {
        Some(value) => map.insert(key.to_owned(), value.clone()),
        None => map.remove(key),
    };
}

/// The rules for a change of a pod's ephemeral containers: they are only ever added.
pub(in crate::kinds) fn update_ephemeral(new: &At<'_>, old: &At<'_>, errors: &mut Errors) {
    if old.at("metadata.annotations").value.get(MIRROR).is_some() {
        return At::whole(new.value).forbidden("static pods do not support ephemeral containers", errors);
    }
    let (now, then) = (new.at("spec.ephemeralContainers"), old.at("spec.ephemeralContainers"));
    spec::whole(&new.get("spec"), Some(new.at("metadata.name").text()), errors);
    annotations(&new.at("metadata.annotations"), &old.at("metadata.annotations"), errors);
    for container in then.items() {
        let name = text(container.value, "name");
        match now.items().find(|c| text(c.value, "name") == name) {
            None => now.forbidden(&format!("existing ephemeral containers {name:?} may not be removed\n"), errors),
            Some(same) if same.value == container.value => {}
            Some(_) => now.forbidden(&format!("existing ephemeral containers {name:?} may not be changed\n"), errors),
        }
    }
}
