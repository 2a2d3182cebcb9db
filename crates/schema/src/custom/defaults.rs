//! What a schema fills in, and what it does not know.

use serde_json::Value;

/// Fills in what the schema has defaults for.
pub fn default(schema: &Value, value: &mut Value) {
    match value {
        Value::Object(fields) => {
            for (name, property) in schema["properties"].as_object().into_iter().flatten() {
                if let (Some(default), false) = (property.get("default"), fields.contains_key(name)) {
                    fields.insert(name.clone(), default.clone());
                }
                if let Some(field) = fields.get_mut(name) {
                    if field.is_null() && property["nullable"] != true {
                        match property.get("default") {
                            Some(default) => *field = default.clone(),
                            None => continue,
                        }
                    }
                    default(property, field);
                }
            }
            if let Some(additional) = schema.get("additionalProperties").filter(|additional| additional.is_object()) {
                fields.values_mut().for_each(|field| default(additional, field));
            }
        }
        Value::Array(items) => {
            if let Some(schema) = schema.get("items") {
                items.iter_mut().for_each(|item| default(schema, item));
            }
        }
        _ => {}
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
        default(&schema, &mut value);
        assert_eq!(value, json!({"spec": {"n": 1}}));
        let mut value = json!({"spec": {"n": 2, "l": [{}]}});
        default(&schema, &mut value);
        assert_eq!(value, json!({"spec": {"n": 2, "l": [{"x": "y"}]}}));
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
