//! Defaults of the kinds that make pods.

use serde_json::{Value, json};
use tricorn_meta::json::{get, text};

use super::missing;

pub(super) fn deployment(object: &mut Value) {
    if text(object, "spec.strategy.type") == "RollingUpdate" {
        rolling(object, "/spec/strategy", &[("maxUnavailable", json!("25%")), ("maxSurge", json!("25%"))]);
    }
}

pub(super) fn stateful_set(object: &mut Value) {
    if text(object, "spec.updateStrategy.type") == "RollingUpdate" {
        rolling(object, "/spec/updateStrategy", &[("partition", json!(0))]);
    }
}

pub(super) fn daemon_set(object: &mut Value) {
    if text(object, "spec.updateStrategy.type") == "RollingUpdate" {
        rolling(object, "/spec/updateStrategy", &[("maxUnavailable", json!(1)), ("maxSurge", json!(0))]);
    }
}

fn rolling(object: &mut Value, strategy: &str, values: &[(&str, Value)]) {
    let Some(strategy) = object.pointer_mut(strategy).and_then(Value::as_object_mut) else { return };
    missing(strategy, "rollingUpdate", || json!({}));
    if let Some(rolling) = strategy.get_mut("rollingUpdate").and_then(Value::as_object_mut) {
        values.iter().for_each(|(key, value)| missing(rolling, key, || value.clone()));
    }
}

/// The selector and the labels come from the template.
pub(super) fn replication_controller(object: &mut Value) {
    let Some(labels) = get(object, "spec.template.metadata.labels").filter(|l| l.as_object().is_some_and(|l| !l.is_empty())).cloned()
    else {
        return;
    };
    own_labels(object, &labels);
    if let Some(spec) = object.get_mut("spec").and_then(Value::as_object_mut)
        && spec.get("selector").and_then(Value::as_object).is_none_or(|s| s.is_empty())
    {
        spec.insert("selector".to_owned(), labels);
    }
}

fn own_labels(object: &mut Value, labels: &Value) {
    let Some(metadata) = object.get_mut("metadata").and_then(Value::as_object_mut) else { return };
    if metadata.get("labels").and_then(Value::as_object).is_none_or(|l| l.is_empty()) {
        metadata.insert("labels".to_owned(), labels.clone());
    }
}

/// Completions and parallelism depend on which of them is given; the back-off limit on whether there is one an index.
pub(super) fn job(object: &mut Value) {
    if let Some(labels) = get(object, "spec.template.metadata.labels").filter(|l| l.as_object().is_some_and(|l| !l.is_empty())).cloned() {
        own_labels(object, &labels);
    }
    let Some(spec) = object.get_mut("spec").and_then(Value::as_object_mut) else { return };
    let given = |key: &str| spec.get(key).is_some_and(|v| !v.is_null());
    let both_missing = !given("completions") && !given("parallelism");
    let backoff = if given("backoffLimitPerIndex") { i32::MAX } else { 6 };
    let replacement = if given("podFailurePolicy") { "Failed" } else { "TerminatingOrFailed" };
    if both_missing {
        missing(spec, "completions", || json!(1));
    }
    missing(spec, "parallelism", || json!(1));
    missing(spec, "backoffLimit", || json!(backoff));
    missing(spec, "podReplacementPolicy", || json!(replacement));
}
