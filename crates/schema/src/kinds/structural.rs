//! Schemas of custom kinds are structural: every field has one type, written where the field is.

use serde_json::Value;

use super::check::{At, Errors};
use crate::custom::{self, Rules, is_pruned};

const TYPES: [&str; 6] = ["array", "boolean", "integer", "number", "object", "string"];

/// The rules for a version's schema.
pub(super) fn rules(schema: &At<'_>, errors: &mut Errors) {
    let found = errors.len();
    let kind = schema.get("type");
    if kind.is_empty() {
        kind.required("must not be empty at the root", errors);
    } else if kind.text() != "object" {
        kind.invalid("must be object at the root", errors);
    }
    if schema.get("nullable").flag() {
        schema.told_at(schema.path.child("nullable")).forbidden("nullable cannot be true at the root", errors);
    }
    level(schema, errors);
    own_fields(schema, errors);
    let before = errors.len();
    if schema.get("default").is_set() {
        schema.get("default").forbidden("must be undefined at the root", errors);
    }
    // A schema that is wrong says little about what is filled in.
    if before == found {
        below(schema, true, false, errors);
    }
}

/// What is filled in must itself be right: of nothing but known fields, and nothing that the schema refuses.
fn defaults(schema: &At<'_>, in_metadata: bool, errors: &mut Errors) {
    let default = schema.get("default");
    if default.is_set() {
        if in_metadata {
            default.forbidden("must not be set in embedded metadata", errors);
        } else if !is_pruned(schema.value, default.value) {
            default.invalid("must not have unknown fields", errors);
        } else {
            // What is left open in it is filled in before it is looked at, as it will be in objects.
            let mut value = default.value.clone();
            custom::default(schema.value, &mut value);
            Rules::new(schema.value.clone()).check_value(&value, &default.path, errors);
        }
    }
    below(schema, schema.get("x-kubernetes-embedded-resource").flag(), in_metadata, errors);
}

/// The defaults further down. `whole`: these are the fields of an object with metadata.
fn below(schema: &At<'_>, whole: bool, in_metadata: bool, errors: &mut Errors) {
    for (name, property) in schema.get("properties").entries() {
        defaults(&property, in_metadata || (whole && name == "metadata"), errors);
    }
    for inner in ["additionalProperties", "items"].map(|key| schema.get(key)).into_iter().filter(|inner| inner.value.is_object()) {
        defaults(&inner, in_metadata, errors);
    }
}

/// The rules for a schema that a field, an item or a value of a map has.
fn inner(schema: &At<'_>, of: &str, errors: &mut Errors) {
    let kind = schema.get("type");
    let any = schema.get("x-kubernetes-int-or-string").flag();
    if any && !kind.is_empty() {
        kind.invalid("must be empty if x-kubernetes-int-or-string is true", errors);
    }
    if kind.is_empty() && !any && !schema.get("x-kubernetes-preserve-unknown-fields").flag() {
        kind.required(&format!("must not be empty for specified {of}"), errors);
    }
    level(schema, errors);
    embedded(schema, errors);
}

/// The rules for a schema of an object inside of another.
fn embedded(schema: &At<'_>, errors: &mut Errors) {
    if !schema.get("x-kubernetes-embedded-resource").flag() {
        return;
    }
    const OBJECT: &str = "must be object if x-kubernetes-embedded-resource is true";
    let kind = schema.get("type");
    match kind.text() {
        "object" => {}
        "" => kind.required(OBJECT, errors),
        _ => kind.invalid(OBJECT, errors),
    }
    if schema.get("properties").is_empty() && !schema.get("x-kubernetes-preserve-unknown-fields").flag() {
        let words = "must not be empty if x-kubernetes-embedded-resource is true without x-kubernetes-preserve-unknown-fields";
        schema.get("properties").required(words, errors);
    }
    own_fields(schema, errors);
}

/// What every object has is known already: a schema may do no more than narrow what objects are called.
fn own_fields(schema: &At<'_>, errors: &mut Errors) {
    let properties = schema.get("properties");
    for (name, property) in properties.entries() {
        match name {
            "kind" | "apiVersion" if property.get("type").text() != "string" => {
                property.get("type").invalid_as(property.get("type").text(), "must be string", errors);
            }
            "metadata" => {
                let known = |key: &str| matches!(key, "type" | "title" | "description" | "default" | "properties");
                let named = property.get("properties").entries().all(|(name, _)| matches!(name, "name" | "generateName"));
                if property.get("type").text() != "object" {
                    property.get("type").invalid_as(property.get("type").text(), "must be object", errors);
                }
                if !named || property.map().is_some_and(|map| map.keys().any(|key| !known(key))) {
                    let words = "must not specify anything other than name and generateName, but metadata is implicitly specified";
                    property.forbidden(words, errors);
                }
            }
            _ => {}
        }
    }
}

fn level(schema: &At<'_>, errors: &mut Errors) {
    unsupported(schema, errors);
    let kind = schema.get("type");
    if kind.text() == "null" {
        kind.forbidden("type cannot be set to null, use nullable as an alternative", errors);
    } else {
        kind.one_of(&TYPES, errors);
    }
    if schema.get("uniqueItems").flag() {
        let words = "uniqueItems cannot be set to true since the runtime complexity becomes quadratic";
        schema.get("uniqueItems").forbidden(words, errors);
    }
    if schema.get("x-kubernetes-preserve-unknown-fields").value == false {
        schema.get("x-kubernetes-preserve-unknown-fields").invalid("must be true or undefined", errors);
    }
    lists_and_maps(schema, errors);
    let (properties, additional, items) = (schema.get("properties"), schema.get("additionalProperties"), schema.get("items"));
    if !properties.is_empty() && (additional.value == false || additional.value.is_object()) {
        additional.forbidden("additionalProperties and properties are mutual exclusive", errors);
    }
    properties.entries().for_each(|(_, property)| inner(&property, "object fields", errors));
    if additional.value.is_object() {
        inner(&additional, "object fields", errors);
    }
    if items.value.is_array() {
        items.forbidden("items must be a schema object and not an array", errors);
    } else if items.is_set() {
        inner(&items, "array items", errors);
    } else if kind.text() == "array" {
        items.required("must be specified", errors);
    }
    cel(&schema.get("x-kubernetes-validations"), errors);
    combined(schema, schema.get("x-kubernetes-int-or-string").flag(), errors);
}

/// Schemas that are combined to one say what values may be, and nothing of what fields there are.
fn combined(schema: &At<'_>, any_type: bool, errors: &mut Errors) {
    // The one way to say that both types of a field that may have either will do.
    let any = schema.get("anyOf");
    let both = any_type && any.items().map(|one| one.get("type").text()).eq(["integer", "string"]);
    any.items().for_each(|one| part(&one, both, false, errors));
    schema.get("allOf").items().enumerate().for_each(|(index, one)| part(&one, false, any_type && index == 0, errors));
    schema.get("oneOf").items().for_each(|one| part(&one, false, false, errors));
    if schema.get("not").is_set() {
        part(&schema.get("not"), false, false, errors);
    }
}

/// One of them. `typed`: it may name a type; `any_type`: those in it may.
fn part(schema: &At<'_>, typed: bool, any_type: bool, errors: &mut Errors) {
    const UNDEFINED: &str = "must be undefined to be structural";
    let is_true = |key: &str| schema.get(key).value == &Value::Bool(true);
    for key in ["title", "description"] {
        if !schema.get(key).is_empty() {
            schema.get(key).forbidden("must be empty to be structural", errors);
        }
    }
    if !schema.get("type").is_empty() && !typed {
        schema.get("type").forbidden("must be empty to be structural", errors);
    }
    for key in ["default", "additionalProperties"] {
        if schema.get(key).is_set() {
            schema.get(key).forbidden(UNDEFINED, errors);
        }
    }
    if is_true("nullable") {
        schema.get("nullable").forbidden("must be false to be structural", errors);
    }
    for key in ["x-kubernetes-embedded-resource", "x-kubernetes-int-or-string"] {
        if is_true(key) {
            schema.get(key).forbidden("must be false to be structural", errors);
        }
    }
    for key in ["x-kubernetes-preserve-unknown-fields", "x-kubernetes-list-map-keys", "x-kubernetes-list-type", "x-kubernetes-map-type"] {
        if schema.get(key).is_set() {
            schema.get(key).forbidden(UNDEFINED, errors);
        }
    }
    schema.get("properties").entries().for_each(|(_, property)| part(&property, false, false, errors));
    if schema.get("items").is_set() {
        part(&schema.get("items"), false, false, errors);
    }
    combined(schema, any_type, errors);
}

/// Parts of JSON Schema that are no part of a structural one.
fn unsupported(schema: &At<'_>, errors: &mut Errors) {
    for key in ["$ref", "$schema", "additionalItems", "definitions", "dependencies", "id", "patternProperties"] {
        let at = schema.get(key);
        if at.is_set() && at.value != "" {
            let name = key.trim_start_matches('$');
            at.forbidden(&format!("{} is not supported", if key == "$ref" { "$ref" } else { name }), errors);
        }
    }
}

fn lists_and_maps(schema: &At<'_>, errors: &mut Errors) {
    let kind = schema.get("type");
    for (key, wanted, known) in [
        ("x-kubernetes-map-type", "object", &["atomic", "granular"][..]),
        ("x-kubernetes-list-type", "array", &["atomic", "map", "set"][..]),
    ] {
        let at = schema.get(key);
        if !at.is_set() {
            continue;
        }
        let words = format!("must be {wanted} if {key} is specified");
        if kind.is_empty() {
            kind.required(&words, errors);
        } else if kind.text() != wanted {
            kind.invalid(words, errors);
        }
        at.one_of(known, errors);
    }
    items_of_lists(schema, errors);
    let (list, keys) = (schema.get("x-kubernetes-list-type"), schema.get("x-kubernetes-list-map-keys"));
    if keys.is_empty() {
        if list.text() == "map" {
            keys.required("must not be empty if x-kubernetes-list-type is map", errors);
        }
        return;
    }
    if list.text() != "map" {
        let told = list.told_at(list.path.clone());
        if list.is_empty() {
            told.required("must be map if x-kubernetes-list-map-keys is non-empty", errors);
        } else {
            told.invalid("must be map if x-kubernetes-list-map-keys is non-empty", errors);
        }
    }
    let known = schema.at("items.properties");
    let mut seen: Vec<&str> = Vec::new();
    for key in keys.items() {
        if known.value.get(key.text()).is_none() {
            key.invalid("must be an existing property of the items", errors);
        }
        key.unique(&mut seen, errors);
    }
}

/// What items must be that are told apart: by their value as a whole, or by fields that each of them has.
fn items_of_lists(schema: &At<'_>, errors: &mut Errors) {
    let (list, items) = (schema.get("x-kubernetes-list-type").text(), schema.get("items"));
    if !matches!(list, "set" | "map") || !items.is_set() {
        return;
    }
    if items.get("nullable").flag() {
        items.get("nullable").forbidden(&format!("cannot be nullable when x-kubernetes-list-type is {list}"), errors);
    }
    let kind = items.get("type");
    if list == "set" {
        let words = "must be atomic as item of a list with x-kubernetes-list-type=set";
        for (of, key) in [("object", "x-kubernetes-map-type"), ("array", "x-kubernetes-list-type")] {
            let merging = items.get(key);
            // A list is atomic unless it says otherwise.
            let is_atomic = merging.text() == "atomic" || (of == "array" && merging.is_empty());
            if kind.text() == of && !is_atomic {
                merging.invalid(words, errors);
            }
        }
        return;
    }
    if kind.text() != "object" {
        kind.invalid_as(kind.text(), "must be object if parent array's x-kubernetes-list-type is map", errors);
    }
    for key in schema.get("x-kubernetes-list-map-keys").items().map(|key| key.text()) {
        let place = items.get("properties");
        let Some(value) = place.value.get(key) else { continue };
        let property = At { value, path: place.path.key(key) };
        if matches!(property.get("type").text(), "array" | "object") {
            property.get("type").invalid("must be a scalar type if parent array's x-kubernetes-list-type is map", errors);
        }
        if !items.get("required").items().any(|name| name.text() == key) && !property.get("default").is_set() {
            let words = "this property is in x-kubernetes-list-map-keys, so it must have a default or be a required property";
            property.get("default").required(words, errors);
        }
        if property.get("nullable").flag() {
            let words = "this property is in x-kubernetes-list-map-keys, so it cannot be nullable";
            property.get("nullable").forbidden(words, errors);
        }
    }
}

/// Rules that are written in CEL. What they mean is for whoever evaluates them.
fn cel(list: &At<'_>, errors: &mut Errors) {
    for item in list.items() {
        let (rule, message, reason) = (item.get("rule"), item.get("message"), item.get("reason"));
        let text = rule.text().trim();
        if text.is_empty() {
            rule.required("rule is not specified", errors);
        }
        if !message.is_empty() && message.text().trim().is_empty() {
            message.invalid("message must be non-empty if specified", errors);
        } else if message.text().contains(['\n', '\r']) {
            message.invalid("message must not contain line breaks", errors);
        } else if message.is_empty() && text.contains(['\n', '\r']) {
            message.required("message must be specified if rule contains line breaks", errors);
        }
        reason.one_of(&["FieldValueDuplicate", "FieldValueForbidden", "FieldValueInvalid", "FieldValueRequired"], errors);
    }
}
