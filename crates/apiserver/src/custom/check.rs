//! Defaults and rules of a structural schema.

use serde_json::Value;
use std::collections::HashSet;
use tricorn_meta::{FieldError, FieldPath};

/// Fills in what the schema has defaults for.
pub(crate) fn default(schema: &Value, value: &mut Value) {
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
                    default_in(property, field);
                }
            }
            if let Some(additional) = schema.get("additionalProperties").filter(|additional| additional.is_object()) {
                fields.values_mut().for_each(|field| default_in(additional, field));
            }
        }
        Value::Array(items) => {
            if let Some(schema) = schema.get("items") {
                items.iter_mut().for_each(|item| default_in(schema, item));
            }
        }
        _ => {}
    }
}

fn default_in(schema: &Value, value: &mut Value) {
    default(schema, value);
}

/// Checks the rules that a schema states by itself. (Rules in CEL are not evaluated.)
pub(crate) fn validate(schema: &Value, value: &Value, errors: &mut Vec<FieldError>) {
    for (name, property) in schema["properties"].as_object().into_iter().flatten() {
        // Names and metadata have rules of their own.
        if !matches!(name.as_str(), "apiVersion" | "kind" | "metadata")
            && let Some(field) = value.get(name)
        {
            check(property, field, &FieldPath::new(name.as_str()), errors);
        }
    }
    required(schema, value, &FieldPath::root(), errors);
}

fn required(schema: &Value, value: &Value, path: &FieldPath, errors: &mut Vec<FieldError>) {
    for name in schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str) {
        if value.get(name).is_none() {
            errors.push(FieldError::required(&path.child(name), ""));
        }
    }
}

/// Sets have each value once, and lists that are maps each key.
fn single(schema: &Value, items: &[Value], path: &FieldPath, errors: &mut Vec<FieldError>) {
    let keys: Vec<&str> = schema["x-kubernetes-list-map-keys"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    let identity = |item: &Value| match schema["x-kubernetes-list-type"].as_str() {
        Some("set") => Some(item.clone()),
        Some("map") => Some(keys.iter().map(|key| ((*key).to_owned(), item[*key].clone())).collect()),
        _ => None,
    };
    let mut seen = HashSet::new();
    for (index, item) in items.iter().enumerate() {
        if let Some(identity) = identity(item)
            && !seen.insert(identity.to_string())
        {
            errors.push(FieldError::duplicate(&path.index(index), identity));
        }
    }
}

fn check(schema: &Value, value: &Value, path: &FieldPath, errors: &mut Vec<FieldError>) {
    let invalid = |detail: String| FieldError::invalid(path, value.clone(), format!("{path} in body {detail}"));
    if value.is_null() {
        return;
    }
    if let Some(allowed) = schema["enum"].as_array()
        && !allowed.contains(value)
    {
        let texts: Vec<String> = allowed.iter().map(Value::to_string).collect();
        errors.push(FieldError::invalid(path, value.clone(), format!("supported values: {}", texts.join(", "))));
    }
    match value {
        Value::Object(fields) => {
            required(schema, value, path, errors);
            for (name, field) in fields {
                if let Some(property) = schema["properties"].get(name) {
                    check(property, field, &path.child(name), errors);
                } else if let Some(additional) = schema.get("additionalProperties").filter(|additional| additional.is_object()) {
                    check(additional, field, &path.key(name), errors);
                }
            }
            bound(
                schema,
                "minProperties",
                fields.len(),
                |limit| invalid(format!("should have at least {limit} properties")),
                |is, limit| is < limit,
                errors,
            );
            bound(
                schema,
                "maxProperties",
                fields.len(),
                |limit| invalid(format!("should have at most {limit} properties")),
                |is, limit| is > limit,
                errors,
            );
        }
        Value::Array(items) => {
            for (index, item) in items.iter().enumerate() {
                check(&schema["items"], item, &path.index(index), errors);
            }
            single(schema, items, path, errors);
            bound(
                schema,
                "minItems",
                items.len(),
                |limit| invalid(format!("should have at least {limit} items")),
                |is, limit| is < limit,
                errors,
            );
            bound(
                schema,
                "maxItems",
                items.len(),
                |limit| invalid(format!("should have at most {limit} items")),
                |is, limit| is > limit,
                errors,
            );
        }
        Value::String(text) => {
            let length = text.chars().count();
            bound(
                schema,
                "minLength",
                length,
                |limit| invalid(format!("should be at least {limit} chars long")),
                |is, limit| is < limit,
                errors,
            );
            bound(
                schema,
                "maxLength",
                length,
                |limit| invalid(format!("should be at most {limit} chars long")),
                |is, limit| is > limit,
                errors,
            );
        }
        Value::Number(number) => {
            let number = number.as_f64().unwrap_or_default();
            if let Some(minimum) = schema["minimum"].as_f64()
                && (number < minimum || (schema["exclusiveMinimum"] == true && number <= minimum))
            {
                errors.push(invalid(format!("should be greater than or equal to {minimum}")));
            }
            if let Some(maximum) = schema["maximum"].as_f64()
                && (number > maximum || (schema["exclusiveMaximum"] == true && number >= maximum))
            {
                errors.push(invalid(format!("should be less than or equal to {maximum}")));
            }
        }
        _ => {}
    }
}

fn bound(
    schema: &Value,
    name: &str,
    is: usize,
    error: impl Fn(u64) -> FieldError,
    broken: impl Fn(u64, u64) -> bool,
    errors: &mut Vec<FieldError>,
) {
    if let Some(limit) = schema[name].as_u64()
        && broken(is as u64, limit)
    {
        errors.push(error(limit));
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
    fn rules_name_the_field() {
        let schema = json!({"properties": {"spec": {"required": ["a"], "properties": {"n": {"maximum": 3}, "e": {"enum": ["x"]}}}}});
        let mut errors = Vec::new();
        validate(&schema, &json!({"spec": {"n": 4, "e": "z"}}), &mut errors);
        let paths: Vec<_> = errors.iter().map(|error| error.path.as_str().to_owned()).collect();
        assert_eq!(paths, ["spec.a", "spec.n", "spec.e"]);
    }
}
