//! A small schema of workloads, and writers, for the tests of ownership.
#![allow(clippy::unwrap_used, dead_code)]

use std::sync::OnceLock;

use serde_json::{Value, json};
use tricorn_meta::Status;
use tricorn_patch::{FieldSet, Writer, apply, reset_fields, track_update};
use tricorn_schema::{Definitions, Node};

/// The type `App`: a Deployment cut down to one of each kind of list and map.
pub fn app() -> Node<'static> {
    static DEFINITIONS: OnceLock<Definitions> = OnceLock::new();
    let text = json!({"type": "string"});
    let map = json!({"type": "object", "additionalProperties": text});
    let definitions = DEFINITIONS.get_or_init(|| {
        Definitions::from_openapi(&json!({"definitions": {
            "App": {"type": "object", "properties": {"apiVersion": text, "kind": text, "metadata": {"$ref": "#/definitions/Meta"},
                "spec": {"type": "object", "properties": {
                    "replicas": {"type": "integer"}, "paused": {"type": "boolean"},
                    "selector": {"type": "object", "x-kubernetes-map-type": "atomic", "properties": {"matchLabels": map}},
                    "args": {"type": "array", "items": text, "x-kubernetes-list-type": "atomic"},
                    "containers": {"type": "array", "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["name"], "items": {"$ref": "#/definitions/Container"}},
                    "strategy": {"type": "object", "properties": {"type": text, "rolling": {"type": "object", "properties": {"surge": {"x-kubernetes-int-or-string": true}}}}}}},
                "status": {"type": "object", "properties": {"ready": {"type": "integer"},
                    "conditions": {"type": "array", "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["type"],
                        "items": {"type": "object", "properties": {"type": text, "status": text}}}}}}},
            "Meta": {"type": "object", "properties": {"name": text, "namespace": text, "uid": text, "resourceVersion": text, "labels": map, "annotations": map,
                "finalizers": {"type": "array", "items": text, "x-kubernetes-list-type": "set"},
                "managedFields": {"type": "array", "items": {"type": "object"}}}},
            "Container": {"type": "object", "properties": {"name": text, "image": text, "resources": {"type": "object", "properties": {"limits": map}},
                "ports": {"type": "array", "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["port", "protocol"],
                    "items": {"type": "object", "properties": {"port": {"type": "integer"}, "protocol": {"type": "string", "default": "TCP"}, "name": text}}}}}}}))
    });
    definitions.node("App").unwrap()
}

fn no_reset() -> &'static FieldSet {
    static MAIN: OnceLock<FieldSet> = OnceLock::new();
    MAIN.get_or_init(|| reset_fields("apps", "", true))
}

fn status_reset() -> &'static FieldSet {
    static STATUS: OnceLock<FieldSet> = OnceLock::new();
    STATUS.get_or_init(|| reset_fields("apps", "status", true))
}

/// A moment, as the entries have it.
pub fn at(second: u32) -> String {
    format!("2026-01-01T00:{:02}:{:02}Z", second / 60, second % 60)
}

pub fn writer<'a>(manager: &'a str, time: &'a str) -> Writer<'a> {
    Writer { manager, api_version: "apps/v1", time, subresource: "", builtin: true, reset: no_reset() }
}

pub fn status_writer<'a>(manager: &'a str, time: &'a str) -> Writer<'a> {
    Writer { subresource: "status", reset: status_reset(), ..writer(manager, time) }
}

/// An object of the type with a spec.
pub fn object(spec: Value) -> Value {
    json!({"apiVersion": "apps/v1", "kind": "App", "metadata": {"name": "a", "namespace": "n"}, "spec": spec})
}

/// Creates by plain write.
pub fn created(manager: &str, second: u32, spec: Value) -> Value {
    let mut new = object(spec);
    let time = at(second);
    track_update(app(), None, &mut new, &writer(manager, &time));
    new["metadata"]["uid"] = json!("u");
    new
}

/// Changes by plain write.
pub fn updated(live: &Value, manager: &str, second: u32, change: impl FnOnce(&mut Value)) -> Value {
    let mut new = live.clone();
    change(&mut new);
    let time = at(second);
    track_update(app(), Some(live), &mut new, &writer(manager, &time));
    new
}

/// Applies.
pub fn applied(live: Option<&Value>, manager: &str, second: u32, spec: Value, force: bool) -> Result<Value, Status> {
    let time = at(second);
    apply(app(), live, &object(spec), &writer(manager, &time), force)
}

/// The fields of one entry; null if there is none.
pub fn fields(object: &Value, manager: &str, operation: &str) -> Value {
    let entries = object["metadata"]["managedFields"].as_array().cloned().unwrap_or_default();
    entries.into_iter().find(|e| e["manager"] == manager && e["operation"] == operation).map(|e| e["fieldsV1"].clone()).unwrap_or_default()
}

/// Every path of FieldsV1 that leads nowhere in `value`.
pub fn leaks(fields: &Value, value: &Value, path: &str, out: &mut Vec<String>) {
    for (step, below) in fields.as_object().unwrap() {
        if step == "." {
            continue;
        }
        let (kind, rest) = step.split_once(':').unwrap();
        let found = match kind {
            "f" => value.get(rest).cloned(),
            "v" => value.as_array().and_then(|l| l.iter().find(|v| **v == serde_json::from_str::<Value>(rest).unwrap()).cloned()),
            _ => {
                let keys: Value = serde_json::from_str(rest).unwrap();
                let is = |item: &&Value| keys.as_object().unwrap().iter().all(|(k, v)| item.get(k).or(Some(&json!("TCP"))) == Some(v));
                value.as_array().and_then(|l| l.iter().find(is).cloned())
            }
        };
        match found {
            None => out.push(format!("{path}/{step}")),
            Some(found) => leaks(below, &found, &format!("{path}/{step}"), out),
        }
    }
}
