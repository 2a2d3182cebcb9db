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
