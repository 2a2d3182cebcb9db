//! Objects inside of objects: they say what they are, and have metadata as all objects do.

use serde_json::Value;
use tricorn_meta::{FieldError, FieldPath, names};

use crate::kinds::check::At;
use crate::kinds::metadata;

const EMPTY: &str = "must not be empty";

/// The rules for an object inside of another.
pub(super) fn check(value: &Value, path: &FieldPath, errors: &mut Vec<FieldError>) {
    let at = At { value, path: path.clone() };
    for key in ["apiVersion", "kind"] {
        let field = at.get(key);
        match field.value {
            Value::Null if value.get(key).is_none() => field.required(EMPTY, errors),
            Value::String(text) if text.is_empty() => field.invalid(EMPTY, errors),
            Value::String(text) if key == "apiVersion" && text.matches('/').count() > 1 => {
                field.invalid(format!("unexpected GroupVersion string: {text}"), errors);
            }
            Value::String(text) if key == "kind" => {
                let wrong = names::dns1035_label(&text.to_lowercase());
                if !wrong.is_empty() {
                    field.invalid(format!("may have mixed case, but should otherwise match: {}", wrong.join(",")), errors);
                }
            }
            Value::String(_) => {}
            _ => field.invalid("must be a string", errors),
        }
    }
    if at.get("metadata").map().is_some() {
        metadata::embedded(&at.get("metadata"), errors);
    }
}
