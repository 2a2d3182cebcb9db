//! Every built-in kind goes through the whole of a write, with an object that has all of its structures and nothing in them.
#![allow(clippy::unwrap_used)]

use serde_json::{Map, Value, json};
use tricorn_meta::Timestamp;
use tricorn_schema::{Kind, Node, Resource, catalog, columns, defaults, fields, kinds, mismatches, prune};

/// An object with every structure of its type, so many levels deep, and no values.
fn skeleton(node: Node<'_>, depth: usize) -> Value {
    match node.kind() {
        Kind::Object if depth > 0 => {
            let inner = |name: &str| node.field(name).filter(|f| matches!(f.kind(), Kind::Object | Kind::Array) && !f.preserve_unknown());
            let filled: Map<String, Value> =
                node.field_names().filter_map(|name| Some((name.to_owned(), skeleton(inner(name)?, depth - 1)))).collect();
            Value::Object(filled)
        }
        Kind::Array => match node.items().filter(|i| i.kind() == Kind::Object && depth > 0) {
            Some(of) => json!([skeleton(of, depth - 1)]),
            None => json!([]),
        },
        _ => json!({}),
    }
}

fn whole(resource: &Resource) -> Option<Value> {
    let node = resource.schema()?;
    let mut object = skeleton(node, 9);
    object["apiVersion"] = json!(resource.api_version());
    object["kind"] = json!(resource.kind);
    object["metadata"] = json!({"name": "x", "uid": "u", "creationTimestamp": "2026-01-01T00:00:00Z"});
    if resource.namespaced {
        object["metadata"]["namespace"] = json!("default");
    }
    Some(object)
}

#[test]
fn defaults_fit_the_type_and_settle() {
    let mut seen = 0;
    for resource in catalog().resources() {
        let (Some(mut object), Some(node)) = (whole(resource), resource.schema()) else { continue };
        let (group, kind) = (resource.group.as_str(), resource.kind.as_str());
        defaults::default(group, kind, &mut object);
        assert_eq!(prune(node, &mut object.clone()), Vec::<String>::new(), "{group}/{kind}");
        assert_eq!(mismatches(node, &object), Vec::new(), "{group}/{kind}");
        let once = object.clone();
        defaults::default(group, kind, &mut object);
        assert_eq!(object, once, "{group}/{kind}");
        seen += 1;
    }
    assert!(seen > 50, "{seen}");
}

#[test]
fn every_kind_can_be_prepared_judged_and_printed() {
    for resource in catalog().resources() {
        let Some(mut object) = whole(resource) else { continue };
        let (group, kind) = (resource.group.as_str(), resource.kind.as_str());
        defaults::default(group, kind, &mut object);
        kinds::prepare_for_create(group, kind, &mut object);
        kinds::validate_create(group, kind, resource.namespaced, &object);
        let mut new = object.clone();
        kinds::prepare_for_update(group, kind, &mut new, &object, None);
        assert_eq!(new, object, "{group}/{kind}: an update that changes nothing");
        kinds::validate_update(group, kind, &new, &object, None);
        let table = columns::table(group, kind, &[&object], Timestamp::from_seconds(1_800_000_000));
        assert_eq!(
            table["columnDefinitions"].as_array().map(Vec::len),
            table["rows"][0]["cells"].as_array().map(Vec::len),
            "{group}/{kind}"
        );
        for field in fields::supported(group, kind) {
            assert!(fields::value(group, kind, &object, field).is_some(), "{group}/{kind} {field}");
        }
        assert!(kinds::has_status(group, kind) || resource.subresource("status").is_none(), "{group}/{kind}: its status");
    }
}

/// An object with every field of its type, so many levels deep, and the same value wherever there is one.
fn filled(node: Node<'_>, depth: usize, value: &Value) -> Value {
    match node.kind() {
        Kind::Object if depth > 0 => {
            let fields = node.field_names().filter_map(|name| Some((name.to_owned(), filled(node.field(name)?, depth - 1, value))));
            let mut map: Map<String, Value> = fields.collect();
            if let Some(of) = node.additional() {
                for key in ["cpu", "hugepages-2Mi", "a b", ""] {
                    map.insert(key.to_owned(), filled(of, depth - 1, value));
                }
            }
            Value::Object(map)
        }
        Kind::Array if depth > 0 => match node.items() {
            Some(of) => {
                let item = filled(of, depth - 1, value);
                json!([item, item])
            }
            None => json!([value, value]),
        },
        _ => value.clone(),
    }
}

#[test]
fn no_value_is_too_odd_to_be_judged() {
    const PARTS: [Option<&str>; 7] =
        [None, Some("status"), Some("scale"), Some("approval"), Some("finalize"), Some("resize"), Some("ephemeralcontainers")];
    let odd = [
        json!(null),
        json!(""),
        json!("x"),
        json!("é/é"),
        json!("iqn.é"),
        json!("https://"),
        json!("*/%"),
        json!("::1"),
        json!("0-9223372036854775807,1"),
        json!("9223372036854775807"),
        json!(true),
        json!(0),
        json!(i64::MIN),
        json!(i64::MAX),
        json!(1.5),
        json!({}),
        json!([]),
    ];
    for resource in catalog().resources() {
        let Some(node) = resource.schema() else { continue };
        let (group, kind) = (resource.group.as_str(), resource.kind.as_str());
        for value in &odd {
            // Schemas hold schemas, so they are not gone into as deep.
            let object = filled(node, if kind == "CustomResourceDefinition" { 6 } else { 9 }, value);
            kinds::validate_create(group, kind, resource.namespaced, &object);
            let mut named = object.clone();
            named["metadata"] = json!({"name": "x", "uid": "u"});
            kinds::prepare_for_create(group, kind, &mut object.clone());
            for part in PARTS {
                kinds::prepare_for_update(group, kind, &mut named.clone(), &object, part);
                kinds::validate_update(group, kind, &named, &object, part);
                kinds::validate_update(group, kind, &named, &json!({}), part);
                kinds::validate_update(group, kind, &json!({}), &object, part);
            }
        }
    }
}
