//! Lists that are sets or maps: what an item is known by.

use std::collections::HashSet;

use serde_json::Value;
use tricorn_meta::{FieldError, FieldPath};

/// What an item is told from others by; nothing in a list that is replaced as a whole.
fn identity(schema: &Value, item: &Value) -> Option<Value> {
    let keys = schema["x-kubernetes-list-map-keys"].as_array().into_iter().flatten().filter_map(Value::as_str);
    match schema["x-kubernetes-list-type"].as_str() {
        Some("set") => Some(item.clone()),
        Some("map") => Some(keys.map(|key| (key.to_owned(), item[key].clone())).collect()),
        _ => None,
    }
}

/// The places of items that were there before, each with what it is known by.
fn repeated(schema: &Value, items: &[Value]) -> Vec<(usize, Value)> {
    let mut seen = HashSet::new();
    let known = items.iter().enumerate().filter_map(|(index, item)| Some((index, identity(schema, item)?)));
    known.filter(|(_, identity)| !seen.insert(identity.to_string())).collect()
}

/// Sets have each value once, and lists that are maps each key. A list that had something twice before may go on so.
pub(super) fn single(schema: &Value, items: &[Value], old: Option<&Value>, path: &FieldPath, errors: &mut Vec<FieldError>) {
    let before = old.and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    let twice = repeated(schema, items);
    if !twice.is_empty() && repeated(schema, before).is_empty() {
        errors.extend(twice.into_iter().map(|(index, identity)| FieldError::duplicate(&path.index(index), identity)));
    }
}

/// What an item was before: the one with its keys, in a list that is a map.
pub(super) fn counterpart<'a>(schema: &Value, item: &Value, old: Option<&'a Value>) -> Option<&'a Value> {
    let wanted = identity(schema, item)?;
    old?.as_array()?.iter().find(|other| identity(schema, other).as_ref() == Some(&wanted))
}
