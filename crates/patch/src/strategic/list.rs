//! Lists that are merged: by value, or by merge key.

use std::collections::HashSet;

use serde_json::{Map, Value};

use super::order::{arrange, identity, places};
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
        let delete = places(delete, None);
        existing.retain(|v| !delete.contains_key(&v.to_string()));
    }
    let mut seen = HashSet::with_capacity(existing.len() + items.len());
    existing.into_iter().chain(items.iter().cloned()).filter(|value| seen.insert(value.to_string())).collect()
}

fn merge_objects(rules: Rules<'_>, key: &str, existing: Vec<Value>, items: &[Value]) -> Result<Merged, String> {
    let element = rules.node.and_then(|n| n.items());
    if items.iter().any(|i| directive(i) == Some("replace")) {
        return Ok(Merged::Replaced(items.iter().filter(|i| directive(i).is_none()).filter_map(without_directives).collect()));
    }
    let mut known = places(&existing, Some(key));
    let mut deleted: HashSet<String> = HashSet::new();
    let mut list: Vec<Option<Value>> = existing.into_iter().map(Some).collect();
    for item in items {
        let patch = item.as_object().ok_or_else(|| format!("cannot merge {item} into a list of maps"))?;
        let id = identity(item, Some(key)).ok_or_else(|| format!("map: {item} does not contain declared merge key: {key}"))?;
        match directive(item) {
            Some("delete") => {
                if let Some(at) = known.remove(&id) {
                    list[at] = None;
                    deleted.insert(id);
                }
            }
            Some("merge") | None => match known.get(&id).and_then(|at| list[*at].as_mut()) {
                Some(Value::Object(target)) => merge_map(element, target, &plain(patch))?,
                _ => {
                    if let Some(new) = without_directives(item) {
                        known.insert(id, list.len());
                        list.push(Some(new));
                    }
                }
            },
            Some(other) => return Err(format!("unknown patch type: {other} in map: {item}")),
        }
    }
    // Elements that share a deleted key go with it, but not those that the patch brings back.
    let back = |item: &Value, id: &String| known.get(id).is_some_and(|at| list[*at].as_ref() == Some(item));
    let gone = |item: &Value| identity(item, Some(key)).is_some_and(|id| deleted.contains(&id) && !back(item, &id));
    let kept = list.iter().flatten().filter(|item| deleted.is_empty() || !gone(item)).cloned().collect();
    Ok(Merged::Together(kept))
}

fn directive(item: &Value) -> Option<&str> {
    item.get(PATCH).and_then(Value::as_str)
}

fn plain(patch: &Map<String, Value>) -> Map<String, Value> {
    let mut patch = patch.clone();
    patch.shift_remove(PATCH);
    patch
}
