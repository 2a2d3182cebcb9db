//! Lists that are merged: by value, or by merge key.

use serde_json::{Map, Value};

use super::order::arrange;
use super::{PATCH, Rules, merge_map, without_directives};

/// Merges `items` of the patch into `existing`. `order` and `delete` are the list's directives.
pub(crate) fn merge_list(
    rules: Rules<'_>,
    name: &str,
    existing: Vec<Value>,
    items: &[Value],
    order: Option<&[Value]>,
    delete: Option<&[Value]>,
) -> Result<Vec<Value>, String> {
    let before = existing.clone();
    let of_objects = items.iter().chain(&existing).chain(order.unwrap_or_default()).any(Value::is_object);
    let mut merged = if of_objects {
        let key = rules.merge_key.ok_or_else(|| format!("cannot merge list {name} without a declared merge key"))?;
        match merge_objects(rules, key, existing, items)? {
            Merged::Replaced(list) => return Ok(list),
            Merged::Together(list) => list,
        }
    } else {
        merge_scalars(existing, items, delete)
    };
    if let Some(order) = order {
        let key = if of_objects { rules.merge_key } else { None };
        merged = arrange(merged, order, &before, key);
    }
    Ok(merged)
}

enum Merged {
    Together(Vec<Value>),
    Replaced(Vec<Value>),
}

fn merge_scalars(mut existing: Vec<Value>, items: &[Value], delete: Option<&[Value]>) -> Vec<Value> {
    if let Some(delete) = delete {
        existing.retain(|v| !delete.contains(v));
    }
    let mut out: Vec<Value> = Vec::with_capacity(existing.len() + items.len());
    for value in existing.into_iter().chain(items.iter().cloned()) {
        if !out.contains(&value) {
            out.push(value);
        }
    }
    out
}

fn merge_objects(rules: Rules<'_>, key: &str, mut existing: Vec<Value>, items: &[Value]) -> Result<Merged, String> {
    let element = rules.node.and_then(|n| n.items());
    if items.iter().any(|i| directive(i) == Some("replace")) {
        return Ok(Merged::Replaced(items.iter().filter(|i| directive(i).is_none()).filter_map(without_directives).collect()));
    }
    for item in items {
        let patch = item.as_object().ok_or_else(|| format!("cannot merge {item} into a list of maps"))?;
        let id =
            patch.get(key).filter(|id| !id.is_null()).ok_or_else(|| format!("map: {item} does not contain declared merge key: {key}"))?;
        let matches = |other: &Value| other.get(key) == Some(id);
        match directive(item) {
            Some("delete") => existing.retain(|e| !matches(e)),
            Some("merge") | None => match existing.iter_mut().find(|e| matches(e)) {
                Some(Value::Object(target)) => merge_map(element, target, &plain(patch))?,
                _ => existing.extend(without_directives(item)),
            },
            Some(other) => return Err(format!("unknown patch type: {other} in map: {item}")),
        }
    }
    Ok(Merged::Together(existing))
}

fn directive(item: &Value) -> Option<&str> {
    item.get(PATCH).and_then(Value::as_str)
}

fn plain(patch: &Map<String, Value>) -> Map<String, Value> {
    let mut patch = patch.clone();
    patch.shift_remove(PATCH);
    patch
}
