//! Requests for certificates.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;
use tricorn_meta::{FieldError, Timestamp, names};

use super::check::{At, Errors};

const USAGES: [&str; 23] = [
    "any",
    "cert sign",
    "client auth",
    "code signing",
    "content commitment",
    "crl sign",
    "data encipherment",
    "decipher only",
    "digital signature",
    "email protection",
    "encipher only",
    "ipsec end system",
    "ipsec tunnel",
    "ipsec user",
    "key agreement",
    "key encipherment",
    "microsoft sgc",
    "netscape sgc",
    "ocsp signing",
    "s/mime",
    "server auth",
    "signing",
    "timestamping",
];

/// The rules for a request.
pub(super) fn rules(at: &At<'_>, errors: &mut Errors) {
    let spec = at.get("spec");
    let request = spec.get("request");
    let pem = STANDARD.decode(request.text()).unwrap_or_default();
    if !String::from_utf8_lossy(&pem).contains("-----BEGIN CERTIFICATE REQUEST-----") {
        request.invalid_as(request.text(), "PEM block type must be CERTIFICATE REQUEST", errors);
    }
    let usages = spec.get("usages");
    usages.need(errors);
    let mut seen: Vec<&str> = Vec::new();
    for usage in usages.items() {
        if !USAGES.contains(&usage.text()) {
            usage.unsupported(&USAGES, errors);
        }
        usage.unique(&mut seen, errors);
    }
    let signer = spec.get("signerName");
    if signer.text() == "kubernetes.io/legacy-unknown" {
        signer.invalid("the legacy signerName is not allowed via this API version", errors);
    } else {
        signer_name(&signer, errors);
    }
    let seconds = spec.get("expirationSeconds");
    if seconds.int().is_some_and(|s| s < 600) {
        seconds.invalid("may not specify a duration less than 600 seconds (10 minutes)", errors);
    }
    conditions(&at.at("status.conditions"), errors);
}

const SIGNER_MAX_BYTES: usize = 571;

/// `example.com/signer-name`.
pub(super) fn signer_name(at: &At<'_>, errors: &mut Errors) {
    if !at.need(errors) {
        return;
    }
    let Some((domain, path)) = at.text().split_once('/').filter(|(_, path)| !path.contains('/')) else {
        return at.invalid("must be a fully qualified domain and path of the form 'example.com/signer-name'", errors);
    };
    let bad = |label: &str| names::dns1123_label(label).into_iter().map(|wrong| format!("validating label {label:?}: {wrong}")).collect();
    let wrong: Vec<String> = domain.split('.').flat_map(|label| -> Vec<String> { bad(label) }).collect();
    wrong.into_iter().for_each(|wrong| errors.push(FieldError::invalid(&at.path, domain, wrong)));
    if !domain.contains('.') {
        errors.push(FieldError::invalid(&at.path, domain, "should be a domain with at least two segments separated by dots"));
    }
    let wrong: Vec<String> = path.split('.').flat_map(|label| -> Vec<String> { bad(label) }).collect();
    wrong.into_iter().for_each(|wrong| errors.push(FieldError::invalid(&at.path, path, wrong)));
    at.at_most_bytes(SIGNER_MAX_BYTES, errors);
}

fn conditions(list: &At<'_>, errors: &mut Errors) {
    let mut seen: Vec<&str> = Vec::new();
    for condition in list.items() {
        let (kind, status) = (condition.get("type"), condition.get("status"));
        kind.need(errors);
        let final_ = matches!(kind.text(), "Approved" | "Denied" | "Failed");
        status.required_one_of(if final_ { &["True"] } else { &["False", "True", "Unknown"] }, errors);
        let other = match kind.text() {
            "Approved" => "Denied",
            "Denied" => "Approved",
            _ => "",
        };
        if !other.is_empty() && seen.contains(&other) {
            kind.invalid("Approved and Denied conditions are mutually exclusive", errors);
        }
        kind.unique(&mut seen, errors);
    }
}

/// Writes down when conditions came about, where the writer has not said so. One that says what it said before has not come about anew.
pub fn date_conditions(request: &mut Value, before: &Value, now: Timestamp) {
    let known = before.pointer("/status/conditions").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    let conditions = request.pointer_mut("/status/conditions").and_then(Value::as_array_mut);
    for condition in conditions.into_iter().flatten().filter_map(Value::as_object_mut) {
        let is_dated = |time: Option<&Value>| time.and_then(Value::as_str).is_some_and(|time| !time.is_empty());
        if !is_dated(condition.get("lastUpdateTime")) {
            condition.insert("lastUpdateTime".to_owned(), now.rfc3339().into());
        }
        if !is_dated(condition.get("lastTransitionTime")) {
            let is_same = |old: &&Value| ["type", "status"].iter().all(|key| old.get(key) == condition.get(*key));
            let since = known.iter().find(is_same).and_then(|old| old.get("lastTransitionTime")).filter(|time| is_dated(Some(time)));
            let since = since.cloned().unwrap_or_else(|| now.rfc3339().into());
            condition.insert("lastTransitionTime".to_owned(), since);
        }
    }
}

/// What may not change. `part` is the subresource that the change came through.
pub(super) fn change(at: &At<'_>, before: &At<'_>, part: Option<&str>, errors: &mut Errors) {
    let list = at.at("status.conditions");
    if part.is_some() {
        conditions(&list, errors);
    }
    let of = |at: &At<'_>, kind: &str| {
        at.at("status.conditions").items().filter(|c| c.get("type").text() == kind).map(|c| c.value.clone()).collect::<Vec<_>>()
    };
    for kind in ["Approved", "Denied", "Failed"] {
        let (new, old) = (of(at, kind), of(before, kind));
        if new.len() < old.len() {
            list.forbidden(&format!("updates may not remove a condition of type {kind:?}"), errors);
        } else if part != Some("approval") && kind != "Failed" {
            if new.len() > old.len() {
                list.forbidden(&format!("updates may not add a condition of type {kind:?}"), errors);
            } else if new != old {
                list.forbidden(&format!("updates may not modify a condition of type {kind:?}"), errors);
            }
        }
    }
    let (certificate, was) = (at.at("status.certificate"), before.at("status.certificate"));
    if certificate.text() != was.text() {
        if part != Some("status") {
            certificate.forbidden("updates may not set certificate content", errors);
        } else if !was.is_empty() {
            certificate.forbidden("updates may not modify existing certificate content", errors);
        }
    }
}
