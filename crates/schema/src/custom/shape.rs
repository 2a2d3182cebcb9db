//! A schema with what it leaves unsaid written down, so that it can be read like those of built-in kinds.

use serde_json::{Value, json};

/// Changes a schema and all those in it, from the inside out.
fn each(schema: &mut Value, change: &impl Fn(&mut Value)) {
    if let Some(properties) = schema.get_mut("properties").and_then(Value::as_object_mut) {
        properties.values_mut().for_each(|property| each(property, change));
    }
    for key in ["additionalProperties", "items"] {
        if let Some(inner) = schema.get_mut(key).filter(|inner| inner.is_object()) {
            each(inner, change);
        }
    }
    change(schema);
}

/// Writes down the fields that every object has: those of the whole, and those of objects inside of it. `metadata` is the schema of theirs.
pub fn with_own_fields(schema: &mut Value, metadata: &Value) {
    let write = |schema: &mut Value| {
        for (field, of) in [("apiVersion", json!({"type": "string"})), ("kind", json!({"type": "string"})), ("metadata", metadata.clone())]
        {
            schema["properties"][field] = of;
        }
    };
    each(schema, &|schema: &mut Value| {
        if schema["x-kubernetes-embedded-resource"] == true {
            write(schema);
        }
    });
    write(schema);
}

/// Says of objects without declared fields that they have none: in a custom kind, what is not declared does not stay.
pub fn closed(mut schema: Value) -> Value {
    each(&mut schema, &|schema: &mut Value| {
        let open = schema["x-kubernetes-preserve-unknown-fields"] == true
            || schema.get("properties").is_some()
            || schema.get("additionalProperties").is_some()
            || schema.get("$ref").is_some();
        if schema["type"] == "object" && !open {
            schema["additionalProperties"] = json!(false);
        }
    });
    schema
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Definitions, prune};

    #[test]
    fn only_what_is_declared_stays() {
        let mut schema = json!({"type": "object", "properties": {
            "empty": {"type": "object"},
            "any": {"type": "object", "x-kubernetes-preserve-unknown-fields": true, "properties": {"in": {"type": "object", "properties": {"a": {"type": "string"}}}}},
            "untyped": {"x-kubernetes-preserve-unknown-fields": true},
            "map": {"type": "object", "additionalProperties": {"type": "object", "properties": {"a": {"type": "string"}}}},
            "object": {"type": "object", "x-kubernetes-embedded-resource": true, "properties": {"spec": {"type": "object", "properties": {"a": {"type": "string"}}}}},
            "whole": {"type": "object", "x-kubernetes-embedded-resource": true, "x-kubernetes-preserve-unknown-fields": true},
        }});
        let metadata = json!({"type": "object", "properties": {"name": {"type": "string"}}});
        with_own_fields(&mut schema, &metadata);
        let definitions = Definitions::from_schema("K", &closed(schema));
        let Some(node) = definitions.node("K") else { panic!("K") };
        let inner = json!({"apiVersion": "v1", "kind": "K", "metadata": {"name": "n", "x": 1}, "spec": {"a": "b", "x": 1}, "x": 1});
        let mut value = json!({
            "apiVersion": "a/v1", "kind": "K", "metadata": {"name": "n", "y": 1}, "other": 1,
            "empty": {"x": 1}, "any": {"x": {"y": 1}, "in": {"a": "b", "x": 1}}, "untyped": {"x": [{"y": 1}]},
            "map": {"k": {"a": "b", "x": 1}}, "object": inner, "whole": inner,
        });
        let mut unknown = prune(node, &mut value);
        unknown.sort();
        let expected =
            ["any.in.x", "empty.x", "map.k.x", "metadata.y", "object.metadata.x", "object.spec.x", "object.x", "other", "whole.metadata.x"];
        assert_eq!(unknown, expected);
        assert_eq!(value["object"], json!({"apiVersion": "v1", "kind": "K", "metadata": {"name": "n"}, "spec": {"a": "b"}}));
        assert_eq!(value["whole"]["x"], 1);
        assert_eq!(value["untyped"], json!({"x": [{"y": 1}]}));
    }
}
