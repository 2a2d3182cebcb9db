//! Whether a value has the shape of its type: unknown fields, nulls, wrong types.

use serde_json::{Map, Value};

use crate::node::{Kind, Node};

/// How deep objects may nest.
pub const DEPTH_MAX: usize = 100;

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

/// What is wanted of values that nest too deep.
const SHALLOW: &str = "a value that nests less deep";

/// A value of the wrong type.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mismatch {
    /// Where, such as `spec.replicas`.
    pub path: String,
    /// What the type wants, such as `int32`.
    pub wanted: &'static str,
    /// What is there: `string`, `number`, `bool`, `array`, `object`.
    pub found: &'static str,
}

impl Mismatch {
    /// Whether the value nests too deep to be looked at.
    pub fn is_too_deep(&self) -> bool {
        self.wanted == SHALLOW
    }

    /// The text that clients know for an object of a built-in kind that cannot be decoded.
    pub fn decode_text(&self, kind: &str, version: &str) -> String {
        format!(
            "{kind} in version \"{version}\" cannot be handled as a {kind}: json: cannot unmarshal {} into Go struct field {kind}.{} of type {}",
            self.found, self.path, self.wanted
        )
    }
}

/// The values that are of the wrong type, nulls aside; also what nests too deep.
pub fn mismatches(node: Node<'_>, value: &Value) -> Vec<Mismatch> {
    let mut found = Vec::new();
    walk(node, value, &mut String::new(), 0, &mut found);
    found
}

fn walk(node: Node<'_>, value: &Value, path: &mut String, depth: usize, found: &mut Vec<Mismatch>) {
    if depth > DEPTH_MAX {
        found.push(Mismatch { path: path.clone(), wanted: SHALLOW, found: "too deep a value" });
        return;
    }
    if let Some(wanted) = wrong_type(node, value) {
        found.push(Mismatch { path: path.clone(), wanted, found: type_of(value) });
        return;
    }
    let length = path.len();
    match value {
        Value::Object(map) => {
            for (key, value) in map {
                let Some(of) = node.field(key).or_else(|| node.additional()) else { continue };
                if !path.is_empty() {
                    path.push('.');
                }
                path.push_str(key);
                walk(of, value, path, depth + 1, found);
                path.truncate(length);
            }
        }
        Value::Array(items) => {
            let Some(of) = node.items() else { return };
            for (index, item) in items.iter().enumerate() {
                path.push_str(&format!("[{index}]"));
                walk(of, item, path, depth + 1, found);
                path.truncate(length);
            }
        }
        _ => {}
    }
}

/// The type that was wanted, when `value` is not of it.
fn wrong_type(node: Node<'_>, value: &Value) -> Option<&'static str> {
    let (fits, wanted) = match (node.kind(), value) {
        (_, Value::Null) | (Kind::Any, _) => (true, ""),
        (Kind::Object, v) => (v.is_object(), "object"),
        (Kind::Array, v) => (v.is_array(), "array"),
        (Kind::String, v) if node.format() == Some("byte") => (v.as_str().is_some_and(is_base64), "[]uint8"),
        (Kind::String, v) => (v.is_string(), "string"),
        (Kind::Boolean, v) => (v.is_boolean(), "bool"),
        (Kind::Integer, v) if node.format() == Some("int32") => (v.as_i64().is_some_and(|n| i32::try_from(n).is_ok()), "int32"),
        (Kind::Integer, v) => (v.is_i64() || v.is_u64(), "int64"),
        (Kind::Number, v) => (v.is_number(), "float64"),
        (Kind::IntOrString, v) => (v.is_string() || v.is_i64(), "intstr.IntOrString"),
        (Kind::Quantity, v) => {
            (v.is_number() || v.as_str().is_some_and(|text| text.parse::<tricorn_meta::Quantity>().is_ok()), "resource.Quantity")
        }
    };
    (!fits).then_some(wanted)
}

/// Whether bytes can be read from the text; line breaks in it do no harm.
fn is_base64(text: &str) -> bool {
    use base64::Engine;
    let engine = base64::engine::general_purpose::STANDARD;
    match text.contains(['\n', '\r']) {
        true => engine.decode(text.replace(['\n', '\r'], "")).is_ok(),
        false => engine.decode(text).is_ok(),
    }
}

/// The JSON type of a value.
fn type_of(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "bool",
        Value::Number(_) => "number",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    }
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

    #[test]
    fn wrong_types_read_as_clients_know_them() {
        let d = json!({"spec": {"replicas": "three", "selector": {"matchLabels": {"a": 1}}}});
        let found = mismatches(deployment(), &d);
        assert_eq!(found.len(), 2);
        assert_eq!(
            found[0].decode_text("Deployment", "v1"),
            "Deployment in version \"v1\" cannot be handled as a Deployment: json: cannot unmarshal string into Go struct field Deployment.spec.replicas of type int32"
        );
        assert_eq!(found[1].path, "spec.selector.matchLabels.a");
        assert!(mismatches(deployment(), &json!({"spec": {"replicas": 3_000_000_000_i64}})).len() == 1);
        assert!(mismatches(deployment(), &json!({"spec": {"replicas": null}})).is_empty());
        let Some(secret) = catalog().resource("", "v1", "secrets").and_then(|r| r.schema()) else { panic!("secrets") };
        assert!(mismatches(secret, &json!({"data": {"a": "YQ==", "b": "", "c": "YWJj\nYWJj\n"}})).is_empty());
        assert_eq!(mismatches(secret, &json!({"data": {"a": "%"}})).len(), 1);
    }
}
