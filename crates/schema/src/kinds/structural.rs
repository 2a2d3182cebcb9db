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
