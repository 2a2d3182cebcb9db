//! OpenAPI documents: v2 as one, v3 one for each group and version, with the texts that `kubectl explain` prints.
//!
//! The types come from the build, texts included, and are unpacked only when somebody asks. Paths say for each verb which kind it
//! takes, and that `fieldValidation` and `dryRun` are understood: that is what kubectl looks for.

use std::collections::BTreeSet;
use std::io::Read;

use flate2::read::DeflateDecoder;
use serde_json::{Map, Value, json};

use crate::catalog::{Resource, catalog};

/// The largest set of definitions that is unpacked, in bytes; the build makes a fraction of it.
const UNPACKED_LIMIT_BYTES: u64 = 64 << 20;

/// All built-in types with their texts, by name. Unpacked anew at each call: keep the result while it is needed.
pub fn described_definitions() -> Map<String, Value> {
    let packed: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/described.json.deflate"));
    let mut text = Vec::new();
    // The build packed it; a failure would leave an empty document, which the tests below would not pass.
    let _ = DeflateDecoder::new(packed).take(UNPACKED_LIMIT_BYTES).read_to_end(&mut text);
    let mut definitions: Map<String, Value> = serde_json::from_slice(&text).unwrap_or_default();
    add_merging(&mut definitions);
    for resource in catalog().resources() {
        add_kind(&mut definitions, resource);
    }
    definitions
}

/// Adds how lists and maps merge, which the types do not say themselves.
fn add_merging(definitions: &mut Map<String, Value>) {
    for line in include_str!("../tables/merge").lines().filter(|line| !line.starts_with('#')) {
        let words: Vec<&str> = line.split_whitespace().collect();
        let [type_name, field, rest @ ..] = words.as_slice() else { continue };
        let Some(definition) = definitions.get_mut(*type_name) else { continue };
        let place = if *field == "." { Some(definition) } else { definition.get_mut("properties").and_then(|p| p.get_mut(*field)) };
        let Some(place) = place.and_then(Value::as_object_mut) else { continue };
        for (key, value) in rest.iter().filter_map(|word| word.split_once('=')) {
            match (key, value.split_once(':')) {
                ("list", Some((list, keys))) => {
                    place.insert("x-kubernetes-list-type".into(), json!(list));
                    place.insert("x-kubernetes-list-map-keys".into(), json!(keys.split(',').collect::<Vec<_>>()));
                }
                ("list", None) => drop(place.insert("x-kubernetes-list-type".into(), json!(value))),
                ("map", _) => drop(place.insert("x-kubernetes-map-type".into(), json!(value))),
                ("key", _) => drop(place.insert("x-kubernetes-patch-merge-key".into(), json!(value))),
                ("patch", _) => drop(place.insert("x-kubernetes-patch-strategy".into(), json!(value))),
                _ => {}
            }
        }
    }
}

/// Says of a kind's type which kind it is, and adds the type of its lists.
fn add_kind(definitions: &mut Map<String, Value>, resource: &Resource) {
    let kind = |kind: &str| json!([{"group": resource.group, "kind": kind, "version": resource.version}]);
    if let Some(definition) = definitions.get_mut(&resource.definition).and_then(Value::as_object_mut) {
        definition.insert("x-kubernetes-group-version-kind".into(), kind(&resource.kind));
    }
    if !resource.has_verb("list") {
        return;
    }
    let list = json!({
        "description": format!("{}List is a list of {}.", resource.kind, resource.plural),
        "type": "object",
        "required": ["items"],
        "properties": {
            "apiVersion": {"type": "string"}, "kind": {"type": "string"},
            "items": {"type": "array", "items": {"$ref": format!("#/$defs/{}", resource.definition)}},
            "metadata": {"$ref": "#/$defs/io.k8s.apimachinery.pkg.apis.meta.v1.ListMeta"},
        },
        "x-kubernetes-group-version-kind": kind(&format!("{}List", resource.kind)),
    });
    definitions.insert(format!("{}List", resource.definition), list);
}

/// The path of one version of a group, without a leading slash: `api/v1`, `apis/apps/v1`.
pub fn group_version_path(group: &str, version: &str) -> String {
    if group.is_empty() { format!("api/{version}") } else { format!("apis/{group}/{version}") }
}

/// The v3 document of one version of a group.
pub fn v3<'a>(group: &str, version: &str, definitions: &Map<String, Value>, resources: impl Iterator<Item = &'a Resource>) -> Value {
    let mut paths = Map::new();
    let mut wanted = BTreeSet::new();
    for resource in resources.filter(|r| r.group == group && r.version == version) {
        add_paths(&mut paths, resource, Dialect::V3);
        wanted.insert(resource.definition.clone());
        wanted.insert(format!("{}List", resource.definition));
        for sub in &resource.subresources {
            wanted.insert(crate::definition_name(&sub.kind.group, &sub.kind.version, &sub.kind.kind));
        }
    }
    wanted.insert("io.k8s.apimachinery.pkg.apis.meta.v1.DeleteOptions".to_owned());
    let mut schemas = Map::new();
    for name in with_references(definitions, wanted) {
        if let Some(definition) = definitions.get(&name) {
            schemas.insert(name, for_v3(definition));
        }
    }
    json!({"openapi": "3.0.0", "info": info(), "paths": paths, "components": {"schemas": schemas}})
}

/// The v2 document of the whole API.
pub fn v2<'a>(definitions: &Map<String, Value>, resources: impl Iterator<Item = &'a Resource>) -> Value {
    let mut paths = Map::new();
    for resource in resources {
        add_paths(&mut paths, resource, Dialect::V2);
    }
    let definitions: Map<String, Value> = definitions.iter().map(|(name, d)| (name.clone(), for_v2(d))).collect();
    json!({"swagger": "2.0", "info": info(), "paths": paths, "definitions": definitions})
}

fn info() -> Value {
    json!({"title": "Kubernetes", "version": "v1.36.2"})
}

/// Which of the two OpenAPI versions is written.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Dialect {
    V2,
    V3,
}

/// Adds the paths of a resource and of what is below its objects.
fn add_paths(paths: &mut Map<String, Value>, resource: &Resource, dialect: Dialect) {
    let base = group_version_path(&resource.group, &resource.version);
    let all = format!("/{base}/{}", resource.plural);
    let scoped = if resource.namespaced { format!("/{base}/namespaces/{{namespace}}/{}", resource.plural) } else { all.clone() };
    let kind = json!({"group": resource.group, "kind": resource.kind, "version": resource.version});
    let collection = [("get", "list", "list"), ("post", "post", "create"), ("delete", "deletecollection", "deletecollection")];
    let object = [("get", "get", "get"), ("put", "put", "update"), ("patch", "patch", "patch"), ("delete", "delete", "delete")];
    let has = |verbs: &[String], verb: &str| verbs.iter().any(|v| v == verb);
    add_path(paths, &scoped, &collection, |verb| has(&resource.verbs, verb), &kind, &resource.definition, dialect);
    if resource.namespaced && resource.has_verb("list") {
        add_path(paths, &all, &collection[..1], |_| true, &kind, &resource.definition, dialect);
    }
    let one = format!("{scoped}/{{name}}");
    add_path(paths, &one, &object, |verb| has(&resource.verbs, verb), &kind, &resource.definition, dialect);
    let below = [("get", "get", "get"), ("post", "post", "create"), ("put", "put", "update"), ("patch", "patch", "patch")];
    for sub in &resource.subresources {
        let kind = json!({"group": sub.kind.group, "kind": sub.kind.kind, "version": sub.kind.version});
        let definition = crate::definition_name(&sub.kind.group, &sub.kind.version, &sub.kind.kind);
        add_path(paths, &format!("{one}/{}", sub.name), &below, |verb| has(&sub.verbs, verb), &kind, &definition, dialect);
    }
}

/// Adds one path with those of `operations` (method, action, verb) whose verb there is.
fn add_path(
    paths: &mut Map<String, Value>,
    path: &str,
    operations: &[(&str, &str, &str)],
    has: impl Fn(&str) -> bool,
    kind: &Value,
    definition: &str,
    dialect: Dialect,
) {
    let mut item = Map::new();
    for (method, action, verb) in operations.iter().filter(|(_, _, verb)| has(verb)) {
        let definition = if *verb == "list" { format!("{definition}List") } else { definition.to_owned() };
        item.insert((*method).to_owned(), operation(action, verb, kind, &definition, dialect));
    }
    if item.is_empty() {
        return;
    }
    let names = path.split('/').filter_map(|part| part.strip_prefix('{')?.strip_suffix('}'));
    let parameters: Vec<Value> = names.map(|name| parameter(name, "path", dialect)).collect();
    if !parameters.is_empty() {
        item.insert("parameters".to_owned(), Value::Array(parameters));
    }
    paths.insert(path.to_owned(), Value::Object(item));
}

/// The query parameters that a verb understands.
fn query_parameters(verb: &str) -> &'static [&'static str] {
    match verb {
        "create" | "update" => &["dryRun", "fieldManager", "fieldValidation", "pretty"],
        "patch" => &["dryRun", "fieldManager", "fieldValidation", "force", "pretty"],
        "delete" => &["dryRun", "gracePeriodSeconds", "orphanDependents", "propagationPolicy", "pretty"],
        "list" => &[
            "allowWatchBookmarks",
            "continue",
            "fieldSelector",
            "labelSelector",
            "limit",
            "pretty",
            "resourceVersion",
            "resourceVersionMatch",
            "sendInitialEvents",
            "timeoutSeconds",
            "watch",
        ],
        "deletecollection" => &["continue", "dryRun", "fieldSelector", "labelSelector", "limit", "propagationPolicy", "resourceVersion"],
        _ => &["pretty"],
    }
}

fn parameter(name: &str, place: &str, dialect: Dialect) -> Value {
    let kind = match name {
        "force" | "watch" | "allowWatchBookmarks" | "sendInitialEvents" | "orphanDependents" => "boolean",
        "limit" | "timeoutSeconds" | "gracePeriodSeconds" => "integer",
        _ => "string",
    };
    let mut parameter = match dialect {
        Dialect::V2 => json!({"name": name, "in": place, "type": kind, "uniqueItems": true}),
        Dialect::V3 => json!({"name": name, "in": place, "schema": {"type": kind, "uniqueItems": true}}),
    };
    if place == "path" {
        parameter["required"] = json!(true);
    }
    parameter
}

fn operation(action: &str, verb: &str, kind: &Value, definition: &str, dialect: Dialect) -> Value {
    let mut parameters: Vec<Value> = query_parameters(verb).iter().map(|name| parameter(name, "query", dialect)).collect();
    let prefix = if dialect == Dialect::V2 { "#/definitions/" } else { "#/components/schemas/" };
    let schema = json!({"$ref": format!("{prefix}{definition}")});
    let consumes: &[&str] = match verb {
        "patch" => &[
            "application/apply-patch+yaml",
            "application/json-patch+json",
            "application/merge-patch+json",
            "application/strategic-merge-patch+json",
        ],
        _ => &["application/json", "application/yaml"],
    };
    let has_body = matches!(verb, "create" | "update" | "patch");
    let body_schema = if verb == "patch" { json!({"type": "object"}) } else { schema.clone() };
    let mut operation = match dialect {
        Dialect::V2 => {
            if has_body {
                parameters.push(json!({"in": "body", "name": "body", "required": true, "schema": body_schema}));
            }
            json!({"consumes": consumes, "produces": ["application/json", "application/yaml"],
                "responses": {"200": {"description": "OK", "schema": schema}, "401": {"description": "Unauthorized"}}})
        }
        Dialect::V3 => {
            let mut operation = json!({"responses": {
                "200": {"description": "OK", "content": {"application/json": {"schema": schema}}}, "401": {"description": "Unauthorized"}}});
            if has_body {
                let content: Map<String, Value> = consumes.iter().map(|t| ((*t).to_owned(), json!({"schema": body_schema}))).collect();
                operation["requestBody"] = json!({"required": true, "content": content});
            }
            operation
        }
    };
    operation["parameters"] = Value::Array(parameters);
    operation["x-kubernetes-action"] = json!(action);
    operation["x-kubernetes-group-version-kind"] = kind.clone();
    operation
}

/// The names given, and all that they refer to.
fn with_references(definitions: &Map<String, Value>, mut wanted: BTreeSet<String>) -> BTreeSet<String> {
    let mut open: Vec<String> = wanted.iter().cloned().collect();
    while let Some(name) = open.pop() {
        let Some(definition) = definitions.get(&name) else { continue };
        collect_references(definition, &mut |target| {
            if wanted.insert(target.to_owned()) {
                open.push(target.to_owned());
            }
        });
    }
    wanted
}

fn collect_references(value: &Value, found: &mut impl FnMut(&str)) {
    match value {
        Value::Object(map) => {
            for (key, value) in map {
                match value {
                    Value::String(target) if key == "$ref" => found(target.rsplit('/').next().unwrap_or(target)),
                    value => collect_references(value, found),
                }
            }
        }
        Value::Array(items) => items.iter().for_each(|item| collect_references(item, found)),
        _ => {}
    }
}

/// A type as v3 writes it: references with anything beside them are wrapped, since v3 would not read what is beside.
fn for_v3(value: &Value) -> Value {
    rewrite(value, "#/components/schemas/", true)
}

/// A type as v2 writes it.
fn for_v2(value: &Value) -> Value {
    rewrite(value, "#/definitions/", false)
}

fn rewrite(value: &Value, prefix: &str, wrap: bool) -> Value {
    match value {
        Value::Object(map) => {
            let mut out: Map<String, Value> = Map::with_capacity(map.len());
            for (key, value) in map {
                match (key.as_str(), value) {
                    ("$ref", Value::String(target)) => {
                        let target = json!(format!("{prefix}{}", target.rsplit('/').next().unwrap_or(target)));
                        if wrap && map.len() > 1 {
                            out.insert("allOf".into(), json!([{"$ref": target}]));
                        } else {
                            out.insert("$ref".into(), target);
                        }
                    }
                    ("x-kubernetes-int-or-string", Value::Bool(true)) => {
                        if wrap {
                            out.insert("oneOf".into(), json!([{"type": "string"}, {"type": "integer"}]));
                        } else {
                            out.insert("type".into(), json!("string"));
                        }
                        out.insert("format".into(), json!("int-or-string"));
                    }
                    _ => drop(out.insert(key.clone(), rewrite(value, prefix, wrap))),
                }
            }
            Value::Object(out)
        }
        Value::Array(items) => Value::Array(items.iter().map(|item| rewrite(item, prefix, wrap)).collect()),
        other => other.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_reference_leads_somewhere() {
        let definitions = described_definitions();
        for (group, versions) in catalog().groups() {
            for version in versions {
                let document = v3(group, version, &definitions, catalog().resources());
                let schemas = document["components"]["schemas"].as_object().map_or(0, Map::len);
                assert!(schemas > 5, "{group}/{version}: {schemas}");
                collect_references(&document, &mut |name| {
                    let options = name.ends_with("Options") && !name.ends_with("DeleteOptions");
                    assert!(options || document["components"]["schemas"].get(name).is_some(), "{group}/{version}: {name}");
                });
            }
        }
    }

    #[test]
    fn kubectl_finds_what_it_looks_for() {
        let definitions = described_definitions();
        let apps = v3("apps", "v1", &definitions, catalog().resources());
        let patch = &apps["paths"]["/apis/apps/v1/namespaces/{namespace}/deployments/{name}"]["patch"];
        assert_eq!(patch["x-kubernetes-group-version-kind"]["kind"], "Deployment");
        assert!(patch["parameters"].as_array().is_some_and(|all| all.iter().any(|p| p["name"] == "fieldValidation")));
        let deployment = &apps["components"]["schemas"]["io.k8s.api.apps.v1.Deployment"];
        assert_eq!(deployment["x-kubernetes-group-version-kind"][0]["kind"], "Deployment");
        assert!(deployment["description"].is_string());
        let pods = &apps["components"]["schemas"]["io.k8s.api.core.v1.PodSpec"]["properties"]["containers"];
        assert_eq!(pods["x-kubernetes-patch-merge-key"], "name");
        let whole = v2(&definitions, catalog().resources());
        assert!(whole["definitions"]["io.k8s.api.core.v1.PodList"].is_object());
    }
}
