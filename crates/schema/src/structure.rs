//! What a value has that its type does not: unknown fields, and nulls.

use serde_json::{Map, Value};

use crate::node::{Kind, Node};

/// Takes away what the type does not have, and nulls, which say nothing; gives the paths of the unknown fields.
pub fn prune(node: Node<'_>, value: &mut Value) -> Vec<String> {
    let mut unknown = Vec::new();
    prune_at(node, value, &mut String::new(), &mut unknown);
    unknown
}

fn prune_at(node: Node<'_>, value: &mut Value, path: &mut String, unknown: &mut Vec<String>) {
    let length = path.len();
    match value {
        Value::Object(map) if node.kind() == Kind::Object => {
            prune_object(node, map, path, unknown);
        }
        Value::Array(items) => {
            let Some(of) = node.items() else { return };
            for (index, item) in items.iter_mut().enumerate() {
                path.push_str(&format!("[{index}]"));
                prune_at(of, item, path, unknown);
                path.truncate(length);
            }
        }
        _ => {}
    }
}

fn prune_object(node: Node<'_>, map: &mut Map<String, Value>, path: &mut String, unknown: &mut Vec<String>) {
    let length = path.len();
    let keeps = node.preserve_unknown();
    map.retain(|key, value| {
        let of = node.field(key);
        let Some(of) = of.or_else(|| node.additional()) else {
            if !keeps {
                unknown.push(join(path, key));
            }
            return keeps;
        };
        if value.is_null() && !of.nullable() && of.kind() != Kind::Any {
            return false;
        }
        if !path.is_empty() {
            path.push('.');
        }
        path.push_str(key);
        prune_at(of, value, path, unknown);
        path.truncate(length);
        true
    });
}

fn join(path: &str, key: &str) -> String {
    if path.is_empty() { key.to_owned() } else { format!("{path}.{key}") }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::catalog::catalog;
    use serde_json::json;

    fn deployment() -> Node<'static> {
        let found = catalog().resource("apps", "v1", "deployments").and_then(|r| r.schema());
        let Some(node) = found else { panic!("deployments") };
        node
    }

    #[test]
    fn unknown_fields_are_named_and_go() {
        let mut d = json!({"apiVersion": "apps/v1", "kind": "Deployment", "spec": {"replicas": 1, "foo": 1, "paused": null,
            "template": {"metadata": {"labels": {"any": "label"}, "creationTimestamp": null}, "spec": {"containers": [{"name": "c", "imagee": "x"}]}}}});
        assert_eq!(prune(deployment(), &mut d), ["spec.foo", "spec.template.spec.containers[0].imagee"]);
        let kept = json!({"apiVersion": "apps/v1", "kind": "Deployment", "spec": {"replicas": 1,
            "template": {"metadata": {"labels": {"any": "label"}}, "spec": {"containers": [{"name": "c"}]}}}});
        assert_eq!(d, kept);
        assert!(prune(deployment(), &mut d).is_empty());
        assert_eq!(d, kept);
    }
}
