//! Short ways into JSON objects.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

/// The value at a dotted path such as `spec.nodeName`; list indexes are numbers (`spec.containers.0.name`).
pub fn get<'a>(value: &'a Value, path: &str) -> Option<&'a Value> {
    path.split('.').try_fold(value, |at, key| match at {
        Value::Array(items) => key.parse::<usize>().ok().and_then(|i| items.get(i)),
        _ => at.get(key),
    })
}

/// The text at a dotted path; `""` where there is none.
pub fn text<'a>(value: &'a Value, path: &str) -> &'a str {
    get(value, path).and_then(Value::as_str).unwrap_or_default()
}

/// The integer at a dotted path.
pub fn int(value: &Value, path: &str) -> Option<i64> {
    get(value, path).and_then(Value::as_i64)
}

/// The boolean at a dotted path; false where there is none.
pub fn flag(value: &Value, path: &str) -> bool {
    get(value, path).and_then(Value::as_bool).unwrap_or(false)
}

/// The list at a dotted path; empty where there is none.
pub fn list<'a>(value: &'a Value, path: &str) -> &'a [Value] {
    get(value, path).and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default()
}

/// The object at a dotted path.
pub fn object<'a>(value: &'a Value, path: &str) -> Option<&'a Map<String, Value>> {
    get(value, path).and_then(Value::as_object)
}

/// The map of strings at a dotted path; empty where there is none, entries that are no strings left out.
pub fn strings(value: &Value, path: &str) -> BTreeMap<String, String> {
    let entries = object(value, path).into_iter().flatten();
    entries.filter_map(|(k, v)| v.as_str().map(|v| (k.clone(), v.to_owned()))).collect()
}

/// The object at a dotted path, made where it is missing. `None` where something else is in the way.
pub fn ensure_object<'a>(value: &'a mut Value, path: &str) -> Option<&'a mut Map<String, Value>> {
    let mut at = value;
    for key in path.split('.').filter(|k| !k.is_empty()) {
        let map = at.as_object_mut()?;
        let entry = map.entry(key).or_insert(Value::Null);
        if entry.is_null() {
            *entry = Value::Object(Map::new());
        }
        at = entry;
    }
    at.as_object_mut()
}

/// Sets the value at a dotted path of objects, making those that are missing.
pub fn set(value: &mut Value, path: &str, new: impl Into<Value>) {
    let (parent, key) = path.rsplit_once('.').unwrap_or(("", path));
    if let Some(map) = ensure_object(value, parent) {
        map.insert(key.to_owned(), new.into());
    }
}

/// Takes the value at a dotted path of objects away.
pub fn remove(value: &mut Value, path: &str) -> Option<Value> {
    let (parent, key) = path.rsplit_once('.').unwrap_or(("", path));
    let parent = parent.split('.').filter(|k| !k.is_empty()).try_fold(value, |at, key| at.get_mut(key))?;
    parent.as_object_mut()?.remove(key)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn paths_lead_in_and_out() {
        let mut v = json!({"spec": {"items": [{"name": "a"}]}});
        assert_eq!(text(&v, "spec.items.0.name"), "a");
        set(&mut v, "status.phase", "Active");
        assert_eq!(v["status"]["phase"], "Active");
        assert_eq!(remove(&mut v, "status.phase"), Some(json!("Active")));
        assert_eq!(remove(&mut v, "nothing.here"), None);
        assert_eq!(int(&v, "spec.replicas"), None);
    }
}
