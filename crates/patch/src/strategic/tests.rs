#![allow(clippy::unwrap_used)]
use serde_json::json;
use tricorn_schema::Definitions;

use super::*;

fn definitions() -> Definitions {
    Definitions::from_openapi(&json!({"definitions": {"T": {"type": "object", "properties": {
        "name": {"type": "string"},
        "union": {"type": "object", "x-kubernetes-patch-strategy": "retainKeys", "properties": {"a": {"type": "string"}, "b": {"type": "string"}}},
        "whole": {"type": "object", "x-kubernetes-patch-strategy": "replace", "additionalProperties": {"type": "string"}},
        "labels": {"type": "object", "additionalProperties": {"type": "string"}},
        "plain": {"type": "array", "items": {"type": "string"}},
        "finalizers": {"type": "array", "items": {"type": "string"}, "x-kubernetes-patch-strategy": "merge"},
        "items": {"type": "array", "x-kubernetes-patch-strategy": "merge", "x-kubernetes-patch-merge-key": "name",
            "items": {"$ref": "#/definitions/Item"}}}},
        "Item": {"type": "object", "properties": {"name": {"type": "string"}, "v": {"type": "integer"},
            "env": {"type": "array", "x-kubernetes-patch-strategy": "merge", "x-kubernetes-patch-merge-key": "name",
                "items": {"type": "object", "properties": {"name": {"type": "string"}, "value": {"type": "string"}}}}}}}}))
}

fn patched(mut target: Value, patch: &Value) -> Result<Value, Status> {
    let definitions = definitions();
    strategic_merge(definitions.node("T").unwrap(), &mut target, patch).map(|()| target)
}

#[test]
fn every_directive() {
    let cases = [
        (
            "null removes",
            json!({"name": "a", "labels": {"x": "1"}}),
            json!({"labels": {"x": null, "y": "2"}}),
            json!({"name": "a", "labels": {"y": "2"}}),
        ),
        ("plain lists are replaced", json!({"plain": ["a", "b"]}), json!({"plain": ["c"]}), json!({"plain": ["c"]})),
        (
            "primitive lists merge",
            json!({"finalizers": ["a", "b"]}),
            json!({"finalizers": ["b", "c"]}),
            json!({"finalizers": ["a", "b", "c"]}),
        ),
        (
            "primitive deletion",
            json!({"finalizers": ["a", "b"]}),
            json!({"$deleteFromPrimitiveList/finalizers": ["a"]}),
            json!({"finalizers": ["b"]}),
        ),
        (
            "primitive order",
            json!({"finalizers": ["a", "b", "s"]}),
            json!({"finalizers": ["c"], "$setElementOrder/finalizers": ["c", "b", "a"]}),
            json!({"finalizers": ["s", "c", "b", "a"]}),
        ),
        (
            "elements merge by key",
            json!({"items": [{"name": "a", "v": 1, "env": [{"name": "X", "value": "1"}]}]}),
            json!({"items": [{"name": "b", "v": 2}, {"name": "a", "env": [{"name": "Y", "value": "2"}]}]}),
            json!({"items": [{"name": "a", "v": 1, "env": [{"name": "X", "value": "1"}, {"name": "Y", "value": "2"}]}, {"name": "b", "v": 2}]}),
        ),
        (
            "an element is deleted",
            json!({"items": [{"name": "a"}, {"name": "b"}]}),
            json!({"items": [{"$patch": "delete", "name": "a"}]}),
            json!({"items": [{"name": "b"}]}),
        ),
        (
            "a list is replaced",
            json!({"items": [{"name": "a"}, {"name": "b"}]}),
            json!({"items": [{"name": "c"}, {"$patch": "replace"}]}),
            json!({"items": [{"name": "c"}]}),
        ),
        (
            "order keeps what only the server has in place",
            json!({"items": [{"name": "a"}, {"name": "server"}, {"name": "b"}]}),
            json!({"$setElementOrder/items": [{"name": "c"}, {"name": "b"}, {"name": "a"}], "items": [{"name": "c", "v": 3}]}),
            json!({"items": [{"name": "server"}, {"name": "c", "v": 3}, {"name": "b"}, {"name": "a"}]}),
        ),
        (
            "a map is replaced",
            json!({"labels": {"x": "1"}}),
            json!({"labels": {"$patch": "replace", "y": "2"}}),
            json!({"labels": {"y": "2"}}),
        ),
        ("a map is emptied", json!({"labels": {"x": "1"}}), json!({"labels": {"$patch": "delete"}}), json!({"labels": {}})),
        ("a map with strategy replace", json!({"whole": {"x": "1"}}), json!({"whole": {"y": "2"}}), json!({"whole": {"y": "2"}})),
        (
            "keys are retained",
            json!({"union": {"a": "1"}}),
            json!({"union": {"$retainKeys": ["b"], "b": "2"}}),
            json!({"union": {"b": "2"}}),
        ),
        (
            "new parts lose nulls and directives",
            json!({}),
            json!({"union": {"$retainKeys": ["b"], "b": "2", "a": null}}),
            json!({"union": {"b": "2"}}),
        ),
        ("deleting what is not there", json!({}), json!({"items": [{"$patch": "delete", "name": "a"}]}), json!({"items": []})),
    ];
    for (what, target, patch, want) in cases {
        assert_eq!(patched(target, &patch).unwrap(), want, "{what}");
    }
}

#[test]
fn patches_that_make_no_sense() {
    let cases = [
        json!([]),
        json!({"$patch": "jump"}),
        json!({"$patch": 3}),
        json!({"items": [{"v": 1}]}),
        json!({"items": [{"name": "a", "$patch": "jump"}]}),
        json!({"union": {"$retainKeys": ["a"], "b": "1"}}),
        json!({"$setElementOrder/items": 3}),
    ];
    for patch in cases {
        assert_eq!(patched(json!({"items": [{"name": "a"}], "union": {}}), &patch).unwrap_err().code(), 400, "{patch}");
    }
}
