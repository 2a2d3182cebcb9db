//! Whether a configuration can be applied: every field is declared, values have their kinds, list keys are there and single.

use std::collections::HashSet;

use serde_json::Value;
use tricorn_schema::{Kind, Node};

use crate::fields::display;
use crate::typed::{Shape, Type, steps};

/// All faults of `value`, each with its path.
pub(crate) fn validate(of: Type<'_>, value: &Value) -> Vec<String> {
    let mut errors = Vec::new();
    walk(of, value, &mut String::new(), &mut errors);
    errors
}

fn fault(path: &str, what: &str) -> String {
    if path.is_empty() { what.to_owned() } else { format!("{path}: {what}") }
}

fn walk(of: Type<'_>, value: &Value, path: &mut String, errors: &mut Vec<String>) {
    let Type::Known(node) = of else { return };
    if let Some(what) = wrong_kind(node, value) {
        errors.push(fault(path, &what));
        return;
    }
    let length = path.len();
    match value {
        Value::Object(object) => {
            for (name, value) in object {
                path.push('.');
                path.push_str(name);
                let declared = node.kind() != Kind::Object || node.field(name).is_some() || node.additional().is_some() || is_open(node);
                if declared {
                    walk(of.field(name).0, value, path, errors);
                } else {
                    errors.push(fault(path, "field not declared in schema"));
                }
                path.truncate(length);
            }
        }
        Value::Array(list) => {
            let shape = of.shape(value);
            if matches!(shape, Shape::Leaf) {
                return;
            }
            match steps(&shape, list) {
                Err(why) => errors.push(fault(path, &why)),
                Ok(steps) => {
                    let mut seen = HashSet::with_capacity(steps.len());
                    for (i, step) in steps.iter().enumerate() {
                        if !seen.insert(step) {
                            errors.push(fault(path, &format!("duplicate entries for key {}", display(step))));
                            continue;
                        }
                        path.push_str(&display(step));
                        walk(of.element(), &list[i], path, errors);
                        path.truncate(length);
                    }
                }
            }
        }
        _ => {}
    }
}

/// Whether fields that are not declared are kept: no properties at all, or said so.
fn is_open(node: Node<'_>) -> bool {
    node.preserve_unknown() || !node.has_fields()
}

fn wrong_kind(node: Node<'_>, value: &Value) -> Option<String> {
    let fits = match (node.kind(), value) {
        (_, Value::Null) | (Kind::Any, _) => true,
        (Kind::Object, v) => v.is_object(),
        (Kind::Array, v) => v.is_array(),
        (Kind::String, v) => v.is_string(),
        (Kind::Boolean, v) => v.is_boolean(),
        (Kind::Integer | Kind::Number, v) => v.is_number(),
        (Kind::IntOrString | Kind::Quantity, v) => v.is_string() || v.is_number(),
    };
    if fits {
        return None;
    }
    let got = match value {
        Value::Bool(_) => "bool",
        Value::Number(_) => "number",
        Value::String(_) => "string",
        Value::Array(_) => "list",
        _ => "map",
    };
    let wanted = match node.kind() {
        Kind::Object => "map",
        Kind::Array => "list",
        Kind::String => "string",
        Kind::Boolean => "boolean",
        _ => "numeric (int or float)",
    };
    Some(format!("expected {wanted}, got {got}"))
}
