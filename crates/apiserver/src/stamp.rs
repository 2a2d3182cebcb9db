//! What the server itself writes into metadata.

use rand::Rng;
use serde_json::{Map, Value, json};
use tricorn_meta::{Timestamp, UserInfo};

/// Letters and digits that spell no words.
const SUFFIX_LETTERS: &[u8] = b"bcdfghjklmnpqrstvwxz2456789";
const SUFFIX_BYTES: usize = 5;
/// A generated name is at most this long.
const MAX_NAME_BYTES: usize = 63;

/// The moment, as metadata has it.
pub(crate) fn now() -> Timestamp {
    let elapsed = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    Timestamp::from_millis(i64::try_from(elapsed.as_millis()).unwrap_or(i64::MAX))
}

/// `base` with a random suffix.
pub(crate) fn generated_name(base: &str) -> String {
    let keep = base.len().min(MAX_NAME_BYTES - SUFFIX_BYTES);
    let mut name: String = base.chars().take(keep).collect();
    let mut random = rand::rng();
    for _ in 0..SUFFIX_BYTES {
        name.push(char::from(SUFFIX_LETTERS[random.random_range(0..SUFFIX_LETTERS.len())]));
    }
    name
}

/// Writes into a request for a certificate who makes it: nobody may ask in another's name.
pub(crate) fn requester(value: &mut Value, user: &UserInfo) {
    let Some(spec) = value.get_mut("spec").and_then(Value::as_object_mut) else { return };
    for (field, of) in
        [("username", json!(user.name)), ("uid", json!(user.uid)), ("groups", json!(user.groups)), ("extra", json!(user.extra))]
    {
        let empty = of.as_str().is_some_and(str::is_empty) || of.as_array().is_some_and(Vec::is_empty) || of == json!({});
        match empty {
            true => spec.shift_remove(field),
            false => spec.insert(field.to_owned(), of),
        };
    }
}

/// metadata, made if it is not there.
pub(crate) fn metadata(value: &mut Value) -> Option<&mut Map<String, Value>> {
    let object = value.as_object_mut()?;
    let metadata = object.entry("metadata").or_insert_with(|| Value::Object(Map::new()));
    if metadata.is_null() {
        *metadata = Value::Object(Map::new());
    }
    metadata.as_object_mut()
}

/// A field of metadata as text; empty if it is not there.
pub(crate) fn text<'a>(value: &'a Value, field: &str) -> &'a str {
    value.get("metadata").and_then(|metadata| metadata.get(field)).and_then(Value::as_str).unwrap_or_default()
}

/// The API version that an object is written in; empty if it does not say so.
pub(crate) fn api_version(value: &Value) -> &str {
    value.get("apiVersion").and_then(Value::as_str).unwrap_or_default()
}

/// Writes what every new object gets.
pub(crate) fn create(value: &mut Value, now: Timestamp) {
    if let Some(metadata) = metadata(value) {
        for unset in ["deletionTimestamp", "deletionGracePeriodSeconds", "resourceVersion", "selfLink"] {
            metadata.shift_remove(unset);
        }
        metadata.insert("uid".to_owned(), uuid::Uuid::new_v4().to_string().into());
        metadata.insert("creationTimestamp".to_owned(), now.rfc3339().into());
    }
}

/// Fields that no update changes.
const KEPT: [&str; 5] = ["uid", "creationTimestamp", "deletionTimestamp", "deletionGracePeriodSeconds", "generation"];

/// Carries over what no update changes.
pub(crate) fn update(new: &mut Value, old: &Value) {
    let Some(metadata) = metadata(new) else { return };
    metadata.shift_remove("resourceVersion");
    metadata.shift_remove("selfLink");
    for field in KEPT {
        match old.get("metadata").and_then(|metadata| metadata.get(field)) {
            Some(value) => metadata.insert(field.to_owned(), value.clone()),
            None => metadata.shift_remove(field),
        };
    }
}

/// metadata.finalizers.
pub(crate) fn finalizers(value: &Value) -> Vec<String> {
    let list = value.get("metadata").and_then(|metadata| metadata.get("finalizers")).and_then(Value::as_array);
    list.into_iter().flatten().filter_map(|name| name.as_str().map(str::to_owned)).collect()
}

pub(crate) fn set_finalizers(value: &mut Value, finalizers: Vec<String>) {
    if let Some(metadata) = metadata(value) {
        if finalizers.is_empty() {
            metadata.shift_remove("finalizers");
        } else {
            metadata.insert("finalizers".to_owned(), finalizers.into());
        }
    }
}

/// Whether the object is on its way out.
pub(crate) fn is_terminating(value: &Value) -> bool {
    value.get("metadata").and_then(|metadata| metadata.get("deletionTimestamp")).is_some_and(|at| !at.is_null())
}

/// Whether nothing holds a terminating object any more.
pub(crate) fn may_vanish(value: &Value) -> bool {
    let grace = value["metadata"]["deletionGracePeriodSeconds"].as_i64().unwrap_or(0);
    let held = value["kind"] == "Namespace" && value["spec"]["finalizers"].as_array().is_some_and(|list| !list.is_empty());
    is_terminating(value) && grace == 0 && finalizers(value).is_empty() && !held
}

/// One more generation.
pub(crate) fn bump_generation(value: &mut Value) {
    if let Some(metadata) = metadata(value) {
        let generation = metadata.get("generation").and_then(Value::as_i64).unwrap_or(0);
        if generation > 0 {
            metadata.insert("generation".to_owned(), (generation + 1).into());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn generated_names_stay_short() {
        let name = generated_name(&"a".repeat(100));
        assert_eq!(name.len(), MAX_NAME_BYTES);
        assert_eq!(generated_name("x-").len(), 7);
    }

    #[test]
    fn an_update_keeps_what_belongs_to_the_server() {
        let old = json!({"metadata": {"uid": "u", "generation": 3}});
        let mut new = json!({"metadata": {"uid": "v", "deletionTimestamp": "x", "resourceVersion": "1", "labels": {}}});
        update(&mut new, &old);
        assert_eq!(new, json!({"metadata": {"uid": "u", "generation": 3, "labels": {}}}));
    }

    #[test]
    fn a_namespace_is_held_by_its_own_finalizers() {
        let mut namespace = json!({"kind": "Namespace", "metadata": {"deletionTimestamp": "x"}, "spec": {"finalizers": ["kubernetes"]}});
        assert!(!may_vanish(&namespace));
        namespace["spec"]["finalizers"] = json!([]);
        assert!(may_vanish(&namespace));
    }
}
