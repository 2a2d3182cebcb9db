//! Volumes of pods.

use tricorn_meta::{FieldError, names};

use super::check::{At, Errors};
use super::container::local_path;

/// The rules for a pod's volumes; gives their names.
pub(super) fn volumes<'a>(at: &At<'a>, errors: &mut Errors) -> Vec<&'a str> {
    let mut seen: Vec<&str> = Vec::new();
    for volume in at.items() {
        let name = volume.get("name");
        name.need_named(names::dns1123_label, errors);
        if seen.contains(&name.text()) {
            name.duplicate(errors);
        }
        source(&volume, errors);
        seen.push(name.text());
    }
    seen
}

fn source(volume: &At<'_>, errors: &mut Errors) {
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
            "configMap" => {
                at.get("name").need(errors);
                files(&at, errors);
            }
            "secret" => {
                at.get("secretName").need(errors);
                files(&at, errors);
            }
            "downwardAPI" => files(&at, errors),
            "projected" => projected(&at, errors),
            "hostPath" => host_path(&at, errors),
            "persistentVolumeClaim" => {
                at.get("claimName").need(errors);
            }
            "emptyDir" => empty_dir(&at, errors),
            "nfs" => {
                at.get("server").need(errors);
                at.get("path").need(errors);
            }
            "csi" => {
                at.get("driver").need(errors);
            }
            "image" => at.get("pullPolicy").one_of(&["Always", "IfNotPresent", "Never"], errors),
            "ephemeral" => {
                at.get("volumeClaimTemplate").need(errors);
            }
            _ => {}
        }
    }
    if !found {
        volume.required("must specify a volume type", errors);
    }
}

/// The mode of files, and the items that become them.
fn files(at: &At<'_>, errors: &mut Errors) {
    mode(&at.get("defaultMode"), errors);
    for item in at.get("items").items() {
        if item.value.get("fieldRef").is_none() && item.value.get("resourceFieldRef").is_none() {
            item.get("key").need(errors);
        }
        let path = item.get("path");
        if path.need(errors) {
            local_path(&path, errors);
        }
        mode(&item.get("mode"), errors);
    }
}

fn mode(at: &At<'_>, errors: &mut Errors) {
    if at.int().is_some_and(|m| !(0..=0o777).contains(&m)) {
        at.invalid("must be a number between 0 and 0777 (octal), both inclusive", errors);
    }
}

fn projected(at: &At<'_>, errors: &mut Errors) {
    mode(&at.get("defaultMode"), errors);
    for source in at.get("sources").items() {
        for key in ["configMap", "secret"] {
            let inner = source.get(key);
            if inner.is_set() {
                inner.get("name").need(errors);
                files(&inner, errors);
            }
        }
        if source.get("downwardAPI").is_set() {
            files(&source.get("downwardAPI"), errors);
        }
        let token = source.get("serviceAccountToken");
        if token.is_set() {
            let seconds = token.get("expirationSeconds");
            if seconds.int().is_some_and(|s| s < 600) {
                seconds.invalid("may not specify a duration less than 10 minutes", errors);
            }
            token.get("path").need(errors);
        }
    }
}

fn host_path(at: &At<'_>, errors: &mut Errors) {
    let path = at.get("path");
    if path.need(errors) && path.text().split('/').any(|p| p == "..") {
        path.invalid("must not contain '..'", errors);
    }
    let kinds = ["", "BlockDevice", "CharDevice", "Directory", "DirectoryOrCreate", "File", "FileOrCreate", "Socket"];
    at.get("type").one_of(&kinds, errors);
}

fn empty_dir(at: &At<'_>, errors: &mut Errors) {
    let limit = at.get("sizeLimit");
    if limit.is_set() && limit.quantity(errors).is_some_and(|q| q.is_negative()) {
        errors.push(FieldError::forbidden(&limit.path, "SizeLimit field must be a valid resource quantity"));
    }
}
