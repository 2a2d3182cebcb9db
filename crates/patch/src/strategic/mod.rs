//! Strategic merge patch: a merge patch that knows which lists are merged by key, with directives inside the patch.

mod list;
mod order;

use serde_json::{Map, Value};
use tricorn_meta::Status;
use tricorn_schema::Node;

use list::merge_list;

pub(crate) const PATCH: &str = "$patch";
pub(crate) const RETAIN_KEYS: &str = "$retainKeys";
pub(crate) const DELETE_FROM: &str = "$deleteFromPrimitiveList/";
pub(crate) const SET_ORDER: &str = "$setElementOrder/";

/// Merges `patch` into `target` by the merge keys and strategies of `node`'s schema.
///
/// Directives: `$patch: replace|delete|merge` in objects and list elements, `$retainKeys`, `$deleteFromPrimitiveList/LIST`,
/// `$setElementOrder/LIST`. A patch that cannot be understood is a 400; `target` may be changed in part then, so patch a copy.
pub fn strategic_merge(node: Node<'_>, target: &mut Value, patch: &Value) -> Result<(), Status> {
    let patch = patch.as_object().ok_or_else(|| Status::bad_request("error decoding patch: a strategic merge patch must be an object"))?;
    if !target.is_object() {
        *target = Value::Object(Map::new());
    }
    let Value::Object(object) = target else { return Ok(()) };
    merge_map(Some(node), object, patch).map_err(Status::bad_request)
}

/// What the schema says of merging one field.
#[derive(Clone, Copy, Default)]
pub(crate) struct Rules<'a> {
    pub(crate) node: Option<Node<'a>>,
    pub(crate) merge_key: Option<&'a str>,
    pub(crate) merge: bool,
    pub(crate) replace: bool,
}

pub(crate) fn rules<'a>(node: Option<Node<'a>>, name: &str) -> Rules<'a> {
    let Some(field) = node.and_then(|n| n.field(name).or_else(|| n.additional())) else { return Rules::default() };
    let strategies = field.patch_strategies();
    Rules { node: Some(field), merge_key: field.patch_merge_key(), merge: strategies.merge, replace: strategies.replace }
}

/// Merges one object. Errors are plain texts.
pub(crate) fn merge_map(node: Option<Node<'_>>, target: &mut Map<String, Value>, patch: &Map<String, Value>) -> Result<(), String> {
    match patch.get(PATCH) {
        None => {}
        Some(Value::String(directive)) => match directive.as_str() {
            "replace" => {
                let mut new = patch.clone();
                new.shift_remove(PATCH);
                *target = new;
                return Ok(());
            }
            "delete" => {
                target.clear();
                return Ok(());
            }
            "merge" => {}
            other => return Err(format!("unknown patch type: {other} in map: {}", Value::Object(patch.clone()))),
        },
        Some(other) => return Err(format!("unexpected {PATCH} value {other}: it must be a string")),
    }
    retain_keys(target, patch)?;
    for name in list_names(patch) {
        let rules = rules(node, name);
        merge_list_field(rules, name, target, patch)?;
    }
    for (name, value) in patch {
        if name.starts_with('$') || value.is_array() {
            continue;
        }
        merge_field(rules(node, name), name, target, value)?;
    }
    Ok(())
}

/// Names of the lists that the patch speaks of, directly or by a directive, in the order of their first mention.
fn list_names(patch: &Map<String, Value>) -> Vec<&str> {
    let mut names: Vec<&str> = Vec::new();
    for (name, value) in patch {
        let list = name.strip_prefix(SET_ORDER).or_else(|| name.strip_prefix(DELETE_FROM));
        let list = list.or_else(|| (value.is_array() && !name.starts_with('$')).then_some(name.as_str()));
        if let Some(list) = list.filter(|l| !names.contains(l)) {
            names.push(list);
        }
    }
    names
}

fn merge_field(rules: Rules<'_>, name: &str, target: &mut Map<String, Value>, value: &Value) -> Result<(), String> {
    match (target.get_mut(name), value) {
        (_, Value::Null) => {
            target.shift_remove(name);
        }
        (Some(Value::Object(below)), Value::Object(patch)) if !rules.replace => merge_map(rules.node, below, patch)?,
        (_, value) => {
            if let Some(new) = without_directives(value) {
                target.insert(name.to_owned(), new);
            }
        }
    }
    Ok(())
}

fn merge_list_field(rules: Rules<'_>, name: &str, target: &mut Map<String, Value>, patch: &Map<String, Value>) -> Result<(), String> {
    let directive = |prefix: &str| match patch.get(&format!("{prefix}{name}")) {
        None => Ok(None),
        Some(Value::Array(list)) => Ok(Some(list.as_slice())),
        Some(_) => Err(format!("invalid value of {prefix}{name}: it must be a list")),
    };
    let order = directive(SET_ORDER)?;
    let delete = directive(DELETE_FROM)?;
    let items = match patch.get(name) {
        Some(Value::Array(list)) => Some(list.as_slice()),
        // A null or something that is no list is merged as any field is.
        Some(_) => return Ok(()),
        None => None,
    };
    if !rules.merge {
        if let Some(items) = items {
            let items: Vec<Value> = items.iter().filter(|i| !is_directive(i)).filter_map(without_directives).collect();
            target.insert(name.to_owned(), Value::Array(items));
        }
        return Ok(());
    }
    let existing = match target.get_mut(name) {
        Some(Value::Array(existing)) => std::mem::take(existing),
        _ if items.is_none() => return Ok(()),
        _ => Vec::new(),
    };
    let merged = merge_list(rules, name, existing, items.unwrap_or_default(), order, delete)?;
    target.insert(name.to_owned(), Value::Array(merged));
    Ok(())
}

/// Whether a list element is only a directive (`{"$patch": "replace"}`).
fn is_directive(item: &Value) -> bool {
    item.as_object().is_some_and(|o| o.len() == 1 && o.contains_key(PATCH))
}

/// Keeps of the target only the keys that the patch names, so that the members of a union exclude each other.
fn retain_keys(target: &mut Map<String, Value>, patch: &Map<String, Value>) -> Result<(), String> {
    let Some(keys) = patch.get(RETAIN_KEYS) else { return Ok(()) };
    let keys: Vec<&str> = keys.as_array().map(|k| k.iter().filter_map(Value::as_str).collect()).ok_or("$retainKeys must be a list")?;
    for name in patch.iter().filter(|(_, v)| !v.is_null()).map(|(name, _)| name) {
        if !name.starts_with('$') && !keys.contains(&name.as_str()) {
            return Err(format!("{RETAIN_KEYS} directive must contain all fields present in the patch: {name} is missing"));
        }
    }
    target.retain(|name, _| keys.contains(&name.as_str()));
    Ok(())
}

/// A patch value for a place where there is nothing yet: directives and nulls have done their work.
/// `None` for an object that asks for its own deletion.
pub(crate) fn without_directives(value: &Value) -> Option<Value> {
    Some(match value {
        Value::Object(object) => {
            if object.get(PATCH).and_then(Value::as_str) == Some("delete") {
                return None;
            }
            let kept = object.iter().filter(|(name, value)| !is_directive_name(name) && !value.is_null());
            Value::Object(kept.filter_map(|(name, value)| Some((name.clone(), without_directives(value)?))).collect())
        }
        Value::Array(list) => Value::Array(list.iter().filter(|i| !is_directive(i)).filter_map(without_directives).collect()),
        other => other.clone(),
    })
}

fn is_directive_name(name: &str) -> bool {
    name == PATCH || name == RETAIN_KEYS || name.starts_with(SET_ORDER) || name.starts_with(DELETE_FROM)
}

#[cfg(test)]
mod tests;
