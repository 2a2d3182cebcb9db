//! Volumes: those of pods, those of clusters, and claims to them.

pub(super) mod claim;
mod disks;
pub(super) mod files;
pub(super) mod persistent;

use serde_json::Value;
use tricorn_meta::{FieldError, names};

use super::check::{At, Errors};

/// The rules for a pod's volumes; gives those that are right. `pod` is the name of the Pod, `None` in a template.
pub(super) fn volumes<'a>(list: &At<'a>, pod: Option<&str>, errors: &mut Errors) -> Vec<At<'a>> {
    let pod_name = pod.filter(|name| !name.is_empty());
    let mut good: Vec<At<'a>> = Vec::new();
    for volume in list.items() {
        let (name, found) = (volume.get("name"), errors.len());
        source(&volume, pod, errors);
        name.need_named(names::dns1123_label, errors);
        if good.iter().any(|v| v.get("name").text() == name.text()) {
            name.duplicate(errors);
        }
        if errors.len() == found {
            good.push(volume.clone());
        }
        let claim = volume.at("persistentVolumeClaim.claimName");
        let made = |v: &At<'_>, pod: &str| v.get("ephemeral").is_set() && claim.text() == format!("{pod}-{}", v.get("name").text());
        if pod_name.is_some_and(|pod| list.items().any(|v| made(&v, pod))) {
            claim.invalid("must not reference a PVC that gets created for an ephemeral volume", errors);
        }
    }
    good
}

/// Exactly one source, and the rules for it.
fn source(volume: &At<'_>, pod: Option<&str>, errors: &mut Errors) {
    let mut found = false;
    for (key, value) in volume.value.as_object().into_iter().flatten() {
        if key == "name" || value.is_null() {
            continue;
        }
        let at = volume.get(key);
        if std::mem::replace(&mut found, true) {
            at.forbidden("may not specify more than 1 volume type", errors);
            continue;
        }
        match key.as_str() {
            "emptyDir" => empty_dir(&at, errors),
            "persistentVolumeClaim" => at.needs(&["claimName"], errors),
            "ephemeral" => ephemeral(volume, &at, pod, errors),
            "csi" => csi(&at, errors),
            "image" => image(&at, pod.is_some(), errors),
            "configMap" | "secret" | "downwardAPI" | "projected" => files::source(key, &at, errors),
            _ => disks::source(key, &at, errors),
        }
        if key == "iscsi" && at.get("initiatorName").is_set() && disks::too_long(volume.get("name").text(), &at) {
            volume.get("name").invalid(disks::PORTAL, errors);
        }
    }
    if !found {
        volume.required("must specify a volume type", errors);
    }
}

fn empty_dir(at: &At<'_>, errors: &mut Errors) {
    let limit = at.get("sizeLimit");
    if limit.is_set() && limit.quantity(errors).is_some_and(|q| q.is_negative()) {
        errors.push(FieldError::forbidden(&limit.path, "SizeLimit field must be a valid resource quantity"));
    }
}

fn image(at: &At<'_>, of_pod: bool, errors: &mut Errors) {
    if of_pod {
        at.get("reference").need(errors);
    }
    at.get("pullPolicy").one_of(&["Always", "IfNotPresent", "Never"], errors);
}

fn csi(at: &At<'_>, errors: &mut Errors) {
    driver(&at.get("driver"), errors);
    let secret = at.get("nodePublishSecretRef");
    if secret.is_set() && secret.get("name").need(errors) {
        secret.get("name").told_at(at.path.child("name")).named(names::dns1123_subdomain, errors);
    }
}

const DRIVER_MAX_BYTES: usize = 63;

/// The name of a CSI driver.
pub(super) fn driver(at: &At<'_>, errors: &mut Errors) {
    at.need(errors);
    at.at_most_bytes(DRIVER_MAX_BYTES, errors);
    let wrong = names::dns1123_subdomain(&at.text().to_lowercase());
    wrong.into_iter().for_each(|wrong| at.invalid_as(at.text(), wrong, errors));
}

/// A claim that is made for the pod, and named after it and the volume.
fn ephemeral(volume: &At<'_>, at: &At<'_>, pod: Option<&str>, errors: &mut Errors) {
    let template = at.get("volumeClaimTemplate");
    if !template.is_set() {
        template.required("", errors);
    } else {
        let meta = template.get("metadata");
        super::metadata::annotations(&meta.get("annotations"), errors);
        super::metadata::labels(&meta.get("labels"), errors);
        let others = meta.map().into_iter().flatten().filter(|(k, v)| !v.is_null() && !matches!(k.as_str(), "annotations" | "labels"));
        others.for_each(|(key, _)| meta.get(key).forbidden("cannot be set", errors));
        claim::spec(&template.get("spec"), errors);
    }
    let name = volume.get("name");
    if let Some(pod) = pod.filter(|p| !p.is_empty() && !name.is_empty()) {
        let made = format!("{pod}-{}", name.text());
        names::dns1123_subdomain(&made).into_iter().for_each(|wrong| name.invalid(format!("PVC name {made:?}: {wrong}"), errors));
    }
}

/// Whether no part of a path leads up.
pub(super) fn no_backsteps(path: &str) -> bool {
    path.split('/').all(|part| part != "..")
}

/// A path that does not lead up.
fn no_up(at: &At<'_>, errors: &mut Errors) {
    if !no_backsteps(at.text()) {
        at.invalid("must not contain '..'", errors);
    }
}

/// A path that stays below where it begins.
pub(super) fn descending_path(at: &At<'_>, errors: &mut Errors) {
    if at.text().starts_with('/') {
        at.invalid("must be a relative path", errors);
    }
    no_up(at, errors);
}

/// A path that stays below where it begins, and leaves alone what the kubelet keeps there.
pub(super) fn local_path(at: &At<'_>, errors: &mut Errors) {
    descending_path(at, errors);
    if at.text().starts_with("..") && !at.text().starts_with("../") {
        at.invalid("must not start with '..'", errors);
    }
}

/// The rules for a path of the host.
fn host_path(at: &At<'_>, errors: &mut Errors) {
    let path = at.get("path");
    if !path.need(errors) {
        return;
    }
    no_up(&path, errors);
    let kinds = ["", "BlockDevice", "CharDevice", "Directory", "DirectoryOrCreate", "File", "FileOrCreate", "Socket"];
    at.get("type").one_of(&kinds, errors);
}

/// A secret by its name alone, or by namespace and name where the volume is in none.
fn secret(at: &At<'_>, keys: &[&str], errors: &mut Errors) {
    if at.is_set() {
        at.needs(keys, errors);
    }
}

/// Whether a value is a non-empty map.
fn filled(value: &Value) -> bool {
    value.as_object().is_some_and(|map| !map.is_empty())
}
