//! The one way to write what an object says: amounts in their canonical form, and no empty lists and maps where leaving the field out
//! says the same. Without it, equal objects would differ, and every write would look like a change.

use serde_json::{Map, Value};
use tricorn_meta::Quantity;

use crate::node::{Kind, Node};

/// Brings an object into its normal form. Doing it again changes nothing.
pub fn normalize(node: Node<'_>, value: &mut Value) {
    match value {
        Value::Object(map) if node.kind() == Kind::Object => object(node, map),
        Value::Array(list) => {
            if let Some(of) = node.items() {
                list.iter_mut().for_each(|item| normalize(of, item));
            }
        }
        Value::String(_) | Value::Number(_) if node.kind() == Kind::Quantity => {
            if let Some(quantity) = Quantity::from_json(value) {
                let canonical = quantity.to_string();
                if value.as_str() != Some(canonical.as_str()) {
                    *value = Value::from(canonical);
                }
            }
        }
        _ => {}
    }
}

fn object(node: Node<'_>, map: &mut Map<String, Value>) {
    if node.preserve_unknown() {
        return;
    }
    map.retain(|key, value| {
        let Some(of) = node.field(key) else {
            if let Some(of) = node.additional() {
                normalize(of, value);
            }
            return true;
        };
        let required = node.required().iter().any(|name| **name == **key);
        if !required && says_nothing(of, value) {
            return false;
        }
        normalize(of, value);
        true
    });
}

/// An empty list, or an empty map of which no field is known. An empty structure may say something: `emptyDir: {}`.
fn says_nothing(node: Node<'_>, value: &Value) -> bool {
    match value {
        Value::Array(list) => list.is_empty(),
        Value::Object(map) => map.is_empty() && !node.has_fields() && node.additional().is_some(),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::{Resource, catalog, prune};
    use proptest::prelude::*;
    use serde_json::json;

    fn pod() -> Node<'static> {
        catalog().resource("", "v1", "pods").and_then(Resource::schema).unwrap()
    }

    #[test]
    fn amounts_are_canonical_and_empties_go() {
        let mut value = json!({"metadata": {"name": "p", "labels": {}, "finalizers": []}, "spec": {"nodeSelector": {}, "volumes": [{"name": "v", "emptyDir": {}}],
            "containers": [{"name": "c", "args": [], "resources": {"limits": {"cpu": 1, "memory": "1024Mi"}, "requests": {"cpu": "0.5"}}}]}});
        normalize(pod(), &mut value);
        assert_eq!(
            value,
            json!({"metadata": {"name": "p"}, "spec": {"volumes": [{"name": "v", "emptyDir": {}}],
                "containers": [{"name": "c", "resources": {"limits": {"cpu": "1", "memory": "1Gi"}, "requests": {"cpu": "500m"}}}]}})
        );
    }

    proptest! {
        #[test]
        fn pruning_and_normalizing_settle(cpu in "[0-9]{1,4}(\\.[0-9]{1,3})?(m|k|Mi|)", extra in "[a-z]{1,8}", empty in any::<bool>()) {
            let mut value = json!({"metadata": {"labels": if empty { json!({}) } else { json!({"a": "b"}) }}, "spec": {extra.as_str(): 1, "nodeName": null, "containers": [{"name": "c", extra: {}, "resources": {"limits": {"cpu": cpu}}}]}});
            prune(pod(), &mut value);
            normalize(pod(), &mut value);
            let mut again = value.clone();
            prop_assert_eq!(prune(pod(), &mut again), Vec::<String>::new());
            normalize(pod(), &mut again);
            prop_assert_eq!(again, value);
        }
    }
}
