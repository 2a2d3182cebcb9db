//! Volumes that hold what the API server knows.

use tricorn_meta::{FieldError, names};

use super::local_path;
use crate::kinds::check::{At, Errors};
use crate::kinds::{metadata, pod};

pub(super) fn source(kind: &str, at: &At<'_>, errors: &mut Errors) {
    match kind {
        "configMap" => at.needs(&["name"], errors),
        "secret" => at.needs(&["secretName"], errors),
        _ => {}
    }
    mode(&at.get("defaultMode"), errors);
    match kind {
        "downwardAPI" => downward(at, errors),
        "projected" => projected(at, errors),
        _ => at.get("items").items().for_each(|item| key_to_path(&item, errors)),
    }
}

fn mode(at: &At<'_>, errors: &mut Errors) {
    if at.int().is_some_and(|m| !(0..=0o777).contains(&m)) {
        at.invalid("must be a number between 0 and 0777 (octal), both inclusive", errors);
    }
}

fn key_to_path(item: &At<'_>, errors: &mut Errors) {
    item.get("key").need(errors);
    item.get("path").need(errors);
    local_path(&item.get("path"), errors);
    mode(&item.get("mode"), errors);
}

/// What a pod is told of itself. Upstream tells of the items as if they were one.
fn downward(at: &At<'_>, errors: &mut Errors) {
    for item in at.get("items").items() {
        let item = item.told_at(at.path.clone());
        item.get("path").need(errors);
        local_path(&item.get("path"), errors);
        let (field, resource) = (item.get("fieldRef"), item.get("resourceFieldRef"));
        match (field.is_set(), resource.is_set()) {
            (true, both) => {
                pod::env::field_ref(&field, &pod::env::FILE_FIELDS, errors);
                if both {
                    item.invalid_as("resource", "fieldRef and resourceFieldRef can not be specified simultaneously", errors);
                }
            }
            (false, true) => pod::env::resource_ref(&resource, true, errors),
            (false, false) => item.required("one of fieldRef and resourceFieldRef is required", errors),
        }
        mode(&item.get("mode"), errors);
    }
}

const SOURCES: [&str; 6] = ["secret", "configMap", "downwardAPI", "serviceAccountToken", "clusterTrustBundle", "podCertificate"];

fn projected(at: &At<'_>, errors: &mut Errors) {
    let mut paths: Vec<&str> = Vec::new();
    for source in at.get("sources").items() {
        for key in ["secret", "configMap"] {
            let inner = source.get(key);
            if !inner.is_set() {
                continue;
            }
            inner.get("name").need(errors);
            for item in inner.get("items").items() {
                key_to_path(&item, errors);
                once(at, &item.get("path"), inner.get("name").text(), &mut paths, errors);
            }
        }
        let inner = source.get("downwardAPI");
        downward(&inner, errors);
        for path in inner.get("items").items().map(|item| item.get("path")) {
            once(at, &path, path.text(), &mut paths, errors);
        }
        if source.get("serviceAccountToken").is_set() {
            token(at, &source.get("serviceAccountToken"), errors);
        }
        let bundle = source.get("clusterTrustBundle");
        if bundle.is_set() {
            trust(&bundle, errors);
            once(at, &bundle.get("path"), bundle.get("path").text(), &mut paths, errors);
        }
        if SOURCES.iter().filter(|key| source.get(key).is_set()).count() > 1 {
            source.forbidden("may not specify more than 1 volume type per source", errors);
        }
    }
}

/// No two sources may write the same file.
fn once<'a>(volume: &At<'_>, path: &At<'a>, shown: &str, seen: &mut Vec<&'a str>, errors: &mut Errors) {
    if path.is_empty() {
        return;
    }
    if seen.contains(&path.text()) {
        errors.push(FieldError::invalid(&volume.path, shown, "conflicting duplicate paths"));
    }
    seen.push(path.text());
}

/// How long a token is good for: no less than it takes to renew it in peace.
pub(crate) fn token_lifetime(seconds: &At<'_>, errors: &mut Errors) {
    if seconds.int().is_some_and(|s| s < 600) {
        seconds.invalid("may not specify a duration less than 10 minutes", errors);
    }
    if seconds.int().is_some_and(|s| s > 1 << 32) {
        seconds.invalid("may not specify a duration larger than 2^32 seconds", errors);
    }
}

fn token(volume: &At<'_>, token: &At<'_>, errors: &mut Errors) {
    token_lifetime(&token.get("expirationSeconds"), errors);
    let path = token.get("path").told_at(volume.path.child("path"));
    if path.need(errors) {
        local_path(&path, errors);
    }
}

fn trust(at: &At<'_>, errors: &mut Errors) {
    let (name, signer, selector) = (at.get("name"), at.get("signerName"), at.get("labelSelector"));
    match (name.is_set(), signer.is_set()) {
        (true, true) => at.invalid("only one of name and signerName may be used", errors),
        (true, false) => {
            if name.is_empty() {
                name.required("must be a valid object name", errors);
            }
            let bare = name.text().rsplit(':').next().unwrap_or_default();
            for wrong in names::dns1123_subdomain(bare) {
                name.invalid(format!("not a valid clustertrustbundlename: {wrong}"), errors);
            }
            if selector.is_set() {
                selector.invalid("labelSelector must be unset if name is specified", errors);
            }
        }
        (false, true) => {
            if signer.is_empty() {
                signer.required("must be a valid signer name", errors);
            }
            metadata::selector(&selector, errors);
        }
        (false, false) => at.required("either name or signerName must be specified", errors),
    }
    at.get("path").need(errors);
    local_path(&at.get("path"), errors);
}
