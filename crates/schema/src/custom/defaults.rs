//! What a schema fills in, and what it does not know.

use serde_json::Value;

/// What is filled in for a value that is missing (`None`), or null where null says nothing.
fn filled<'a>(schema: &'a Value, value: Option<&Value>) -> Option<&'a Value> {
    let says_nothing = value.is_none_or(|value| value.is_null() && schema["nullable"] != true);
    schema.get("default").filter(|_| says_nothing)
}

/// The schema of the values of a map.
fn additional(schema: &Value) -> Option<&Value> {
    schema.get("additionalProperties").filter(|additional| additional.is_object())
}

/// Whether anything can be filled in at all.
pub fn has_defaults(schema: &Value) -> bool {
    let properties = schema["properties"].as_object().into_iter().flatten().map(|(_, property)| property);
    schema.get("default").is_some() || properties.chain(additional(schema)).chain(schema.get("items")).any(has_defaults)
}

/// Fills in what the schema has defaults for.
pub fn default(schema: &Value, value: &mut Value) {
    match value {
        Value::Object(fields) => {
            for (name, property) in schema["properties"].as_object().into_iter().flatten() {
                if let Some(default) = filled(property, fields.get(name)) {
                    fields.insert(name.clone(), default.clone());
                }
            }
            for (name, field) in fields {
                match (schema["properties"].get(name), additional(schema)) {
                    (Some(property), _) => default(property, field),
                    (None, Some(additional)) => item(additional, field),
                    (None, None) => {}
                }
            }
        }
        Value::Array(items) => {
            if let Some(schema) = schema.get("items") {
                items.iter_mut().for_each(|one| item(schema, one));
            }
        }
        _ => {}
    }
}

/// One of many: it is there, and may be null.
fn item(schema: &Value, value: &mut Value) {
    if let Some(default) = filled(schema, Some(value)) {
        *value = default.clone();
    }
    default(schema, value);
}

/// Whether nothing is left to be filled in.
pub fn is_defaulted(schema: &Value, value: &Value) -> bool {
    let is_whole = |schema: &Value, value: &Value| filled(schema, Some(value)).is_none() && is_defaulted(schema, value);
    match value {
        Value::Object(fields) => {
            let mut properties = schema["properties"].as_object().into_iter().flatten();
            let named = |(name, property): (&String, &Value)| match fields.get(name) {
                Some(field) => is_whole(property, field),
                None => property.get("default").is_none(),
            };
            let unnamed = fields.iter().filter(|(name, _)| schema["properties"].get(*name).is_none());
            properties.all(named) && additional(schema).is_none_or(|of| unnamed.map(|(_, field)| field).all(|field| is_whole(of, field)))
        }
        Value::Array(items) => schema.get("items").is_none_or(|of| items.iter().all(|one| is_whole(of, one))),
        _ => true,
    }
}

/// Whether the schema knows every field of the value.
pub fn is_pruned(schema: &Value, value: &Value) -> bool {
    let preserves = schema["x-kubernetes-preserve-unknown-fields"] == true;
    match value {
        Value::Object(fields) => fields.iter().all(|(name, field)| {
            let embedded = schema["x-kubernetes-embedded-resource"] == true && matches!(name.as_str(), "apiVersion" | "kind" | "metadata");
            match (schema["properties"].get(name), schema.get("additionalProperties")) {
                (Some(property), _) => is_pruned(property, field),
                (None, Some(additional)) if additional.is_object() => is_pruned(additional, field),
                (None, Some(additional)) => additional == true || preserves,
                (None, None) => preserves || embedded,
            }
        }),
        Value::Array(items) => items.iter().all(|item| is_pruned(&schema["items"], item)),
        _ => true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn defaults_reach_into_lists() {
        let schema = json!({"properties": {"spec": {"default": {}, "properties": {"n": {"default": 1}, "l": {"items": {"properties": {"x": {"default": "y"}}}}}}}});
        let mut value = json!({});
        assert!(has_defaults(&schema) && !is_defaulted(&schema, &value));
        default(&schema, &mut value);
        assert_eq!(value, json!({"spec": {"n": 1}}));
        let mut value = json!({"spec": {"n": 2, "l": [{}]}});
        default(&schema, &mut value);
        assert_eq!(value, json!({"spec": {"n": 2, "l": [{"x": "y"}]}}));
    }

    #[test]
    fn nulls_that_say_nothing_are_filled_in() {
        let schema = json!({"properties": {
            "a": {"default": 1}, "b": {"default": 1, "nullable": true}, "c": {"type": "string"},
            "m": {"additionalProperties": {"default": 2}}, "l": {"items": {"default": 3}},
        }});
        let mut value = json!({"a": null, "b": null, "c": null, "m": {"x": null, "y": 1}, "l": [null, 1]});
        assert!(!is_defaulted(&schema, &value));
        default(&schema, &mut value);
        assert_eq!(value, json!({"a": 1, "b": null, "c": null, "m": {"x": 2, "y": 1}, "l": [3, 1]}));
        assert!(is_defaulted(&schema, &value));
        assert!(!is_defaulted(&schema, &json!({"a": 1, "b": 1, "l": [null]})));
        assert!(!has_defaults(&json!({"properties": {"a": {"type": "string"}}, "additionalProperties": true})));
    }

    #[test]
    fn what_a_schema_does_not_know_is_seen() {
        let schema = json!({"properties": {
            "a": {"type": "string"}, "m": {"additionalProperties": {"properties": {"x": {}}}}, "l": {"items": {"properties": {"x": {}}}},
            "any": {"x-kubernetes-preserve-unknown-fields": true},
        }});
        for (value, expected) in [
            (json!({"a": "x", "m": {"k": {"x": 1}}, "l": [{"x": 1}], "any": {"goes": 1}}), true),
            (json!({"b": 1}), false),
            (json!({"m": {"k": {"y": 1}}}), false),
            (json!({"l": [{"y": 1}]}), false),
        ] {
            assert_eq!(is_pruned(&schema, &value), expected, "{value}");
        }
    }
}
