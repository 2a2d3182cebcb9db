//! Small kinds of the core group.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use tricorn_meta::json::{ensure_object, get, set};
use tricorn_meta::{FieldError, names};

use super::check::{At, Errors, same};
use super::metadata;

/// The most bytes that a ConfigMap or Secret may hold.
const SIZE_MAX: usize = 1024 * 1024;

/// A new namespace is held by the namespace controller until it is empty.
pub(super) fn namespace_finalizer(namespace: &mut Value) {
    let mut finalizers = get(namespace, "spec.finalizers").and_then(Value::as_array).cloned().unwrap_or_default();
    if !finalizers.iter().any(|f| f == "kubernetes") {
        finalizers.push(json!("kubernetes"));
    }
    set(namespace, "spec.finalizers", finalizers);
}

/// `stringData` is a way to write `data`, and is never stored.
pub(super) fn string_data(secret: &mut Value) {
    let Some(Value::Object(plain)) = secret.as_object_mut().and_then(|s| s.remove("stringData")) else { return };
    if plain.is_empty() {
        return;
    }
    if let Some(data) = ensure_object(secret, "data") {
        for (key, value) in plain {
            data.insert(key, Value::from(STANDARD.encode(value.as_str().unwrap_or_default())));
        }
    }
}

pub(super) fn rules(kind: &str, at: &At<'_>, errors: &mut Errors) {
    match kind {
        "ConfigMap" => config_map(at, errors),
        "Secret" => secret(at, errors),
        "Namespace" => {
            let list = at.at("spec.finalizers");
            list.items().for_each(|f| metadata::finalizer(&f.told_at(list.path.clone()), true, errors));
        }
        "Binding" => {
            let target = at.get("target");
            if !matches!(target.get("kind").text(), "" | "Node") {
                target.get("kind").unsupported(&["Node", "<empty>"], errors);
            }
            target.get("name").need(errors);
        }
        _ => {}
    }
}

/// How many bytes a text in base64 stands for.
fn bytes(at: &At<'_>) -> usize {
    let text = at.text().trim_end_matches('=');
    text.len() * 3 / 4
}

/// What the namespace's phase may be: it follows from whether it is being deleted.
pub(super) fn namespace_status(at: &At<'_>, errors: &mut Errors) {
    let (phase, deleted) = (at.at("status.phase"), at.at("metadata.deletionTimestamp").is_set());
    let told = phase.told_at(at.path.child("status").child("Phase"));
    match (phase.text(), deleted) {
        ("Active", false) | ("Terminating", true) => {}
        (_, false) => told.invalid_as(phase.text(), "may only be 'Active' if `deletionTimestamp` is empty", errors),
        (_, true) => told.invalid_as(phase.text(), "may only be 'Terminating' if `deletionTimestamp` is not empty", errors),
    }
}

/// What holds a namespace back, as it is written through `finalize`.
pub(super) fn namespace_finalize(at: &At<'_>, errors: &mut Errors) {
    at.at("spec.finalizers").items().for_each(|f| metadata::finalizer(&f, true, errors));
}

fn config_map(at: &At<'_>, errors: &mut Errors) {
    let mut size = 0;
    for (key, value) in at.get("data").entries() {
        names::config_map_key(key).into_iter().for_each(|wrong| errors.push(FieldError::invalid(&value.path, key, wrong)));
        if at.get("binaryData").value.get(key).is_some() {
            value.invalid_as(key, "duplicate of key present in binaryData", errors);
        }
        size += value.text().len();
    }
    for (key, value) in at.get("binaryData").entries() {
        names::config_map_key(key).into_iter().for_each(|wrong| errors.push(FieldError::invalid(&value.path, key, wrong)));
        size += bytes(&value);
    }
    if size > SIZE_MAX {
        errors.push(FieldError::too_long(&At::whole(at.value).path, SIZE_MAX));
    }
}

fn secret(at: &At<'_>, errors: &mut Errors) {
    let data = at.get("data");
    let mut size = 0;
    for (key, value) in data.entries() {
        names::config_map_key(key).into_iter().for_each(|wrong| errors.push(FieldError::invalid(&value.path, key, wrong)));
        size += bytes(&value);
    }
    if size > SIZE_MAX {
        errors.push(FieldError::too_long(&data.path, SIZE_MAX));
    }
    let need = |key: &str, errors: &mut Errors| {
        if data.value.get(key).is_none() {
            errors.push(FieldError::required(&data.path.key(key), ""));
        }
    };
    match at.get("type").text() {
        "kubernetes.io/service-account-token" => {
            let account = at.at("metadata.annotations").value.get("kubernetes.io/service-account.name");
            if account.and_then(Value::as_str).is_none_or(str::is_empty) {
                errors.push(FieldError::required(&at.at("metadata.annotations").path.key("kubernetes.io/service-account.name"), ""));
            }
        }
        "kubernetes.io/dockercfg" => json_in(&data, ".dockercfg", errors),
        "kubernetes.io/dockerconfigjson" => json_in(&data, ".dockerconfigjson", errors),
        "kubernetes.io/basic-auth" if data.value.get("username").is_none() && data.value.get("password").is_none() => {
            need("username", errors);
            need("password", errors);
        }
        "kubernetes.io/ssh-auth" if data.get("ssh-privatekey").is_empty() => {
            errors.push(FieldError::required(&data.path.key("ssh-privatekey"), ""));
        }
        "kubernetes.io/tls" => {
            need("tls.crt", errors);
            need("tls.key", errors);
        }
        _ => {}
    }
}

/// A field of a secret that must be there and hold a JSON object.
fn json_in(data: &At<'_>, key: &str, errors: &mut Errors) {
    let path = data.path.key(key);
    let Some(text) = data.value.get(key).and_then(Value::as_str) else { return errors.push(FieldError::required(&path, "")) };
    let bytes = STANDARD.decode(text).unwrap_or_default();
    if let Err(wrong) = serde_json::from_slice::<serde_json::Map<String, Value>>(&bytes) {
        errors.push(FieldError::invalid(&path, "<secret contents redacted>", wrong.to_string()));
    }
}

const IMMUTABLE: &str = "field is immutable when `immutable` is set";

/// What may not change.
pub(super) fn change(kind: &str, at: &At<'_>, before: &At<'_>, errors: &mut Errors) {
    match kind {
        "Secret" | "ConfigMap" => {
            if kind == "Secret" {
                at.get("type").unchanged(&before.get("type"), errors);
            }
            if before.get("immutable").flag() {
                if !at.get("immutable").flag() {
                    at.get("immutable").forbidden(IMMUTABLE, errors);
                }
                for key in ["data", "binaryData"] {
                    if !same(at.get(key).value, before.get(key).value) {
                        at.get(key).forbidden(IMMUTABLE, errors);
                    }
                }
            }
        }
        _ => {}
    }
}
