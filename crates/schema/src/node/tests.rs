use super::*;
use serde_json::json;

fn definitions() -> Definitions {
    Definitions::from_openapi(&json!({"definitions": {
        "T": {"type": "object", "properties": {
            "items": {"type": "array", "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["name"],
                "x-kubernetes-patch-strategy": "merge", "x-kubernetes-patch-merge-key": "name", "items": {"$ref": "#/definitions/I"}},
            "one": {"allOf": [{"$ref": "#/definitions/I"}], "x-kubernetes-patch-strategy": "replace,retainKeys"},
            "raw": {"type": "object"},
            "again": {"$ref": "#/definitions/T"}}},
        "I": {"type": "object", "x-kubernetes-map-type": "atomic", "properties": {"name": {"type": "string", "default": "x"}}}}}))
}

#[test]
fn the_graph_is_walked_through_references() {
    let definitions = definitions();
    let Some(t) = definitions.node("T") else { panic!("T") };
    let items = t.field("again").and_then(|t| t.field("items"));
    assert_eq!(items.map(Node::list_type), Some(ListType::Map(&["name".to_owned()])));
    assert_eq!(items.and_then(Node::patch_merge_key), Some("name"));
    let item = items.and_then(Node::items);
    assert_eq!(item.map(Node::map_type), Some(MapType::Atomic));
    assert_eq!(item.and_then(|i| i.field("name")).and_then(Node::default_value), Some(&json!("x")));
    let one = t.field("one").map(Node::patch_strategies);
    assert_eq!(one, Some(PatchStrategies { merge: false, replace: true, retain_keys: true }));
    assert!(t.field("raw").is_some_and(Node::preserve_unknown));
    assert!(t.field("none").is_none());
}
