//! Volumes, claims and storage classes.

use tricorn_meta::{FieldError, Quantity, names};

use super::check::{At, Errors, same};

const MODES: [&str; 4] = ["ReadOnlyMany", "ReadWriteMany", "ReadWriteOnce", "ReadWriteOncePod"];

pub(super) fn rules(kind: &str, at: &At<'_>, errors: &mut Errors) {
    match kind {
        "PersistentVolume" => volume(at, errors),
        "PersistentVolumeClaim" => claim(&at.get("spec"), errors),
        "StorageClass" => class(at, errors),
        "CSINode" => {
            for driver in at.at("spec.drivers").items() {
                driver.get("name").need(errors);
                driver.get("nodeID").need(errors);
            }
        }
        "VolumeAttachment" => {
            at.at("spec.attacher").need(errors);
            at.at("spec.nodeName").need(errors);
        }
        _ => {}
    }
}

fn modes(at: &At<'_>, errors: &mut Errors) {
    if at.is_empty() {
        at.required("at least 1 access mode is required", errors);
    }
    for mode in at.items() {
        if !MODES.contains(&mode.text()) {
            errors.push(FieldError::not_supported(&at.path, mode.text(), &MODES));
        }
    }
    if at.len() > 1 && at.items().any(|m| m.text() == "ReadWriteOncePod") {
        at.forbidden("may not use ReadWriteOncePod with other access modes", errors);
    }
}

fn storage(at: &At<'_>, errors: &mut Errors) {
    let amount = at.get("storage");
    let found = amount.value;
    match Quantity::from_json(found) {
        Some(quantity) if quantity.is_negative() || quantity.is_zero() => {
            errors.push(FieldError::invalid(&at.path.key("storage"), quantity.to_string(), "must be greater than zero"));
        }
        Some(_) => {}
        None if amount.is_set() => {
            amount.quantity(errors);
        }
        None => errors.push(FieldError::required(&at.path.key("storage"), "")),
    }
}

fn volume(at: &At<'_>, errors: &mut Errors) {
    let spec = at.get("spec");
    modes(&spec.get("accessModes"), errors);
    storage(&spec.get("capacity"), errors);
    let not_sources = [
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
    let sources = spec.map().into_iter().flatten().filter(|(k, v)| !v.is_null() && !not_sources.contains(&k.as_str())).count();
    match sources {
        0 => spec.required("must specify a volume type", errors),
        1 => {}
        _ => spec.forbidden("may not specify more than 1 volume type", errors),
    }
    let path = spec.at("hostPath.path");
    if spec.get("hostPath").is_set() && path.need(errors) {
        if path.text().split('/').any(|p| p == "..") {
            path.invalid("must not contain '..'", errors);
        }
        if path.text() == "/" && spec.get("persistentVolumeReclaimPolicy").text() == "Recycle" {
            spec.get("persistentVolumeReclaimPolicy").forbidden("may not be 'recycle' for a hostPath mount of '/'", errors);
        }
    }
    if spec.get("local").is_set() && spec.at("nodeAffinity.required").is_empty() {
        spec.get("nodeAffinity").required("Local volume requires node affinity", errors);
    }
    spec.get("persistentVolumeReclaimPolicy").one_of(&["Delete", "Recycle", "Retain"], errors);
    spec.get("volumeMode").one_of(&["Block", "Filesystem"], errors);
    spec.get("storageClassName").maybe_named(names::dns1123_subdomain, errors);
    if spec.at("nodeAffinity.required").is_set() {
        super::scheduling::node_selector(&spec.at("nodeAffinity.required"), errors);
    }
}

fn claim(spec: &At<'_>, errors: &mut Errors) {
    let modes_at = spec.get("accessModes");
    if modes_at.is_empty() {
        modes_at.required("at least 1 access mode is required", errors)
    } else {
        modes(&modes_at, errors)
    }
    storage(&spec.at("resources.requests"), errors);
    if spec.get("selector").is_set() {
        super::metadata::selector(&spec.get("selector"), errors);
    }
    spec.get("storageClassName").maybe_named(names::dns1123_subdomain, errors);
    spec.get("volumeMode").one_of(&["Block", "Filesystem"], errors);
}

fn class(at: &At<'_>, errors: &mut Errors) {
    at.get("provisioner").need(errors);
    at.get("reclaimPolicy").one_of(&["Delete", "Retain"], errors);
    at.get("volumeBindingMode").required_one_of(&["Immediate", "WaitForFirstConsumer"], errors);
}

/// What may not change.
pub(super) fn change(kind: &str, at: &At<'_>, before: &At<'_>, errors: &mut Errors) {
    match kind {
        "PersistentVolumeClaim" => claim_change(&at.get("spec"), &before.get("spec"), before, errors),
        "StorageClass" => {
            for key in ["parameters", "provisioner", "reclaimPolicy", "volumeBindingMode"] {
                if !same(at.get(key).value, before.get(key).value) {
                    at.get(key).forbidden(&format!("updates to {key} are forbidden."), errors);
                }
            }
        }
        "PersistentVolume" => at.at("spec.volumeMode").unchanged(&before.at("spec.volumeMode"), errors),
        "VolumeAttachment" => at.get("spec").unchanged(&before.get("spec"), errors),
        _ => {}
    }
}

const CLAIM_FIXED: &str = "spec is immutable after creation except resources.requests and volumeAttributesClassName for bound claims";

fn claim_change(now: &At<'_>, then: &At<'_>, before: &At<'_>, errors: &mut Errors) {
    let size = |at: &At<'_>| Quantity::from_json(at.at("resources.requests").get("storage").value);
    let keys = now.map().into_iter().chain(then.map()).flat_map(serde_json::Map::keys);
    let fixed = keys
        .filter(|k| !matches!(k.as_str(), "resources" | "volumeAttributesClassName" | "volumeName" | "storageClassName"))
        .all(|k| same(now.get(k).value, then.get(k).value));
    let named = then.get("volumeName").is_empty() || same(now.get("volumeName").value, then.get("volumeName").value);
    let classed = same(now.get("storageClassName").value, then.get("storageClassName").value) || !then.get("storageClassName").is_set();
    let bound = before.at("status.phase").text() == "Bound";
    let grown = size(now) != size(then);
    if !fixed || !named || !classed || (grown && !bound) {
        now.forbidden(CLAIM_FIXED, errors);
    }
    if grown && bound && size(now) < size(then) {
        now.at("resources.requests.storage").forbidden("field can not be less than status.capacity", errors);
    }
}
