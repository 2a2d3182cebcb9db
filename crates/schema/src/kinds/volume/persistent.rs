//! PersistentVolumes.

use serde_json::Value;
use tricorn_meta::names;

use super::{claim, disks, driver, filled, no_up, secret};
use crate::kinds::check::{At, Errors, same};
use crate::kinds::pod::{resources, scheduling};

/// Fields of a spec that say something else than where the volume is.
const NOT_SOURCES: [&str; 9] = [
    "accessModes",
    "capacity",
    "claimRef",
    "mountOptions",
    "nodeAffinity",
    "persistentVolumeReclaimPolicy",
    "storageClassName",
    "volumeMode",
    "volumeAttributesClassName",
];

fn sources<'a>(spec: &At<'a>) -> impl Iterator<Item = &'a String> + use<'a> {
    spec.map().into_iter().flatten().filter(|(k, v)| !v.is_null() && !NOT_SOURCES.contains(&k.as_str())).map(|(k, _)| k)
}

/// The rules for a volume.
pub(in crate::kinds) fn rules(at: &At<'_>, errors: &mut Errors) {
    spec(&at.get("spec"), at.at("metadata.name").text(), errors);
}

fn spec(spec: &At<'_>, name: &str, errors: &mut Errors) {
    let modes = spec.get("accessModes");
    modes.need(errors);
    claim::modes(&modes, errors);
    capacity(&spec.get("capacity"), errors);
    spec.get("persistentVolumeReclaimPolicy").one_of(&["Delete", "Recycle", "Retain"], errors);
    let affinity = spec.get("nodeAffinity");
    if affinity.is_set() {
        if affinity.get("required").is_set() {
            scheduling::node_selector(&affinity.get("required"), errors);
        } else {
            affinity.get("required").required("must specify required node constraints", errors);
        }
    }
    let mut found = false;
    for key in sources(spec) {
        if std::mem::replace(&mut found, true) {
            spec.get(key).forbidden("may not specify more than 1 volume type", errors);
        } else {
            source(spec, key, name, errors);
        }
    }
    if !found {
        spec.required("must specify a volume type", errors);
    }
    let path = spec.at("hostPath.path").text();
    if !path.is_empty() && path.bytes().all(|b| b == b'/') && spec.get("persistentVolumeReclaimPolicy").text() == "Recycle" {
        spec.get("persistentVolumeReclaimPolicy").forbidden("may not be 'recycle' for a hostPath mount of '/'", errors);
    }
    spec.get("storageClassName").maybe_named(names::dns1123_subdomain, errors);
    spec.get("volumeMode").one_of(&["Block", "Filesystem"], errors);
    let class = spec.get("volumeAttributesClassName");
    if class.is_set() {
        if class.is_empty() {
            class.required("an empty string is disallowed", errors);
        } else {
            class.named(names::dns1123_subdomain, errors);
        }
        if !spec.get("csi").is_set() {
            spec.get("csi").required("has to be specified when using volumeAttributesClassName", errors);
        }
    }
}

fn capacity(at: &At<'_>, errors: &mut Errors) {
    at.need(errors);
    if at.value.get("storage").is_none() || at.len() > 1 {
        at.unsupported(&["storage"], errors);
    }
    for (name, amount) in at.entries() {
        if let Some(quantity) = resources::amount(name, &amount, errors)
            && quantity.is_zero()
        {
            amount.invalid_as(quantity.to_string(), "must be greater than zero", errors);
        }
    }
}

/// Where the volume is: as in pods, with a namespace wherever a secret or endpoints are named.
fn source(spec: &At<'_>, key: &str, name: &str, errors: &mut Errors) {
    let at = spec.get(key);
    match key {
        "csi" => return csi(&at, errors),
        "local" => {
            if at.get("path").need(errors) {
                no_up(&at.get("path"), errors);
            }
            if !spec.get("nodeAffinity").is_set() {
                spec.get("nodeAffinity").required("Local volume requires node affinity", errors);
            }
            return;
        }
        _ => disks::source(key, &at, errors),
    }
    match key {
        "iscsi" => {
            if at.get("initiatorName").is_set() && disks::too_long(name, &at) {
                at.get("targetPortal").told_at(at.path.child("targetportal")).invalid(disks::PORTAL, errors);
            }
            secret(&at.get("secretRef"), &["name"], errors);
        }
        "cinder" | "storageos" => secret(&at.get("secretRef"), &["namespace"], errors),
        "azureFile" if at.get("secretNamespace").is_set() => at.needs(&["secretNamespace"], errors),
        "glusterfs" if at.get("endpointsNamespace").is_set() => {
            let space = at.get("endpointsNamespace");
            if space.is_empty() {
                space.invalid("if the endpointnamespace is set, it must be a valid namespace name", errors);
            } else {
                space.named(names::dns1123_label, errors);
            }
        }
        _ => {}
    }
}

fn csi(at: &At<'_>, errors: &mut Errors) {
    driver(&at.get("driver"), errors);
    at.get("volumeHandle").need(errors);
    for key in ["controllerPublishSecretRef", "controllerExpandSecretRef", "nodePublishSecretRef", "nodeExpandSecretRef"] {
        let secret = at.get(key);
        if secret.is_set() {
            secret.get("name").need_named(names::dns1123_subdomain, errors);
            secret.get("namespace").need_named(names::dns1123_label, errors);
        }
    }
}

/// What of a volume may not change: where it is, and how it is used.
pub(in crate::kinds) fn change(at: &At<'_>, before: &At<'_>, errors: &mut Errors) {
    let (now, then) = (at.get("spec"), before.get("spec"));
    let settled = |key: &String| {
        let (new, old) = (now.get(key), then.get(key));
        let expanding = key == "csi" && !old.get("controllerExpandSecretRef").is_set() && filled(old.value);
        if !expanding {
            return same(new.value, old.value);
        }
        let without = |value: &Value| {
            let mut value = value.clone();
            value.as_object_mut().map(|map| map.remove("controllerExpandSecretRef"));
            value
        };
        same(&without(new.value), old.value)
    };
    if !sources(&now).chain(sources(&then)).all(settled) {
        now.told_at(now.path.child("persistentvolumesource")).forbidden("spec.persistentvolumesource is immutable after creation", errors);
    }
    if then.get("nodeAffinity").is_set() {
        let (affinity, was) = (now.get("nodeAffinity"), renamed(now.get("nodeAffinity").value, then.get("nodeAffinity").value));
        let was = At { value: &was, path: affinity.path.clone() };
        affinity.told_at("nodeAffinity".into()).unchanged(&was, errors);
    }
    now.get("volumeMode").told_at("volumeMode".into()).unchanged(&then.get("volumeMode"), errors);
    if then.get("volumeAttributesClassName").is_set() && !now.get("volumeAttributesClassName").is_set() {
        now.get("volumeAttributesClassName").forbidden("update from non-nil value to nil is forbidden", errors);
    }
}

/// Labels of nodes that have other names now.
const RENAMED: [(&str, &str); 5] = [
    ("beta.kubernetes.io/arch", "kubernetes.io/arch"),
    ("beta.kubernetes.io/os", "kubernetes.io/os"),
    ("beta.kubernetes.io/instance-type", "node.kubernetes.io/instance-type"),
    ("failure-domain.beta.kubernetes.io/region", "topology.kubernetes.io/region"),
    ("failure-domain.beta.kubernetes.io/zone", "topology.kubernetes.io/zone"),
];

/// What the affinity to nodes was, with labels called as they are now, where the new one calls them so.
fn renamed(new: &Value, old: &Value) -> Value {
    match (new, old) {
        (Value::Object(new), Value::Object(old)) => {
            let part = |key: &String, value: &Value| match (key.as_str(), value.as_str(), new.get(key).and_then(Value::as_str)) {
                ("key", Some(was), Some(now)) if RENAMED.contains(&(was, now)) => Value::from(now),
                _ => renamed(new.get(key).unwrap_or(&Value::Null), value),
            };
            old.iter().map(|(key, value)| (key.clone(), part(key, value))).collect()
        }
        (Value::Array(new), Value::Array(old)) if new.len() == old.len() => {
            new.iter().zip(old).map(|(new, old)| renamed(new, old)).collect()
        }
        _ => old.clone(),
    }
}
