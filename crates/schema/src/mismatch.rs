//! Whether values are of the types that their fields have, in the words of the decoder that clients know.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;
use tricorn_meta::{Quantity, Timestamp};

use crate::node::{Kind, Node};

/// How deep objects may nest.
pub const DEPTH_MAX: usize = 100;

/// A value that cannot be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mismatch {
    /// Where, such as `spec.containers[0].image`.
    pub path: String,
    /// Why, such as `json: cannot unmarshal string into Go struct field DeploymentSpec.spec.replicas of type int32`.
    pub reason: String,
    /// Whether it nests too deep to be looked at.
    pub too_deep: bool,
}

/// The values that are of the wrong type, nulls aside; also what nests too deep.
pub fn mismatches(node: Node<'_>, value: &Value) -> Vec<Mismatch> {
    let mut walk = Walk { path: String::new(), structure: String::new(), fields: Vec::new(), found: Vec::new() };
    walk.at(node, value, 0);
    walk.found
}

/// Where the reader is: the path with indexes and keys, the innermost structure, and the fields that led there.
struct Walk<'a> {
    path: String,
    structure: String,
    fields: Vec<&'a str>,
    found: Vec<Mismatch>,
}

impl<'a> Walk<'a> {
    fn at(&mut self, node: Node<'_>, value: &'a Value, depth: usize) {
        let too_deep = depth > DEPTH_MAX;
        let wrong = if too_deep { Some("json: exceeded max depth".to_owned()) } else { self.wrong(node, value) };
        if let Some(reason) = wrong {
            self.found.push(Mismatch { path: self.path.clone(), reason, too_deep });
            return;
        }
        let length = self.path.len();
        match value {
            Value::Object(map) => {
                for (key, value) in map {
                    let field = node.field(key);
                    let Some(of) = field.or_else(|| node.additional()) else { continue };
                    if length > 0 {
                        self.path.push('.');
                    }
                    self.path.push_str(key);
                    if field.is_some() {
                        let outer = std::mem::replace(&mut self.structure, short(node.type_name().unwrap_or_default()).to_owned());
                        self.fields.push(key);
                        self.at(of, value, depth + 1);
                        self.fields.pop();
                        self.structure = outer;
                    } else {
                        self.at(of, value, depth + 1);
                    }
                    self.path.truncate(length);
                }
            }
            Value::Array(items) => {
                let Some(of) = node.items() else { return };
                for (index, item) in items.iter().enumerate() {
                    self.path.push_str(&format!("[{index}]"));
                    self.at(of, item, depth + 1);
                    self.path.truncate(length);
                }
            }
            _ => {}
        }
    }

    /// Why a value cannot be read.
    fn wrong(&self, node: Node<'_>, value: &Value) -> Option<String> {
        let unfit = |wanted: String, found: String| {
            let place = match self.fields.is_empty() {
                true => "Go value".to_owned(),
                false => format!("Go struct field {}.{}", self.structure, self.fields.join(".")),
            };
            Some(format!("json: cannot unmarshal {found} into {place} of type {wanted}"))
        };
        match (node.kind(), value) {
            (_, Value::Null) | (Kind::Any, _) => None,
            (Kind::Object, Value::Object(_)) | (Kind::Array, Value::Array(_)) | (Kind::Boolean, Value::Bool(_)) => None,
            (Kind::Number, Value::Number(_)) => None,
            (Kind::String, Value::String(text)) => not_of_format(node.format().unwrap_or_default(), text),
            (Kind::Integer, Value::Number(number)) => {
                let wide = node.format() != Some("int32");
                let fits = number.as_i64().is_some_and(|n| wide || i32::try_from(n).is_ok());
                if fits { None } else { unfit(type_of(node), format!("number {number}")) }
            }
            (Kind::IntOrString, Value::String(_)) => None,
            (Kind::IntOrString, Value::Number(number)) if number.as_i64().is_some_and(|n| i32::try_from(n).is_ok()) => None,
            (Kind::IntOrString, Value::Number(number)) => unfit("int32".to_owned(), format!("number {number}")),
            (Kind::Quantity, value) => not_a_quantity(value),
            (_, value) => unfit(type_of(node), json_type(value).to_owned()),
        }
    }
}

/// The last part of a type's name.
fn short(name: &str) -> &str {
    name.rsplit('.').next().unwrap_or_default()
}

/// A type as Go writes it.
fn type_of(node: Node<'_>) -> String {
    match node.kind() {
        Kind::Object => match (node.type_name(), node.additional()) {
            (Some(name), _) => {
                let package = name.rsplit('.').nth(1).unwrap_or_default();
                format!("{package}.{}", short(name))
            }
            (None, Some(of)) => format!("map[string]{}", type_of(of)),
            (None, None) => "map[string]interface {}".to_owned(),
        },
        Kind::Array => format!("[]{}", node.items().map_or_else(|| "interface {}".to_owned(), type_of)),
        Kind::String if node.format() == Some("byte") => "[]uint8".to_owned(),
        Kind::String => "string".to_owned(),
        Kind::Boolean => "bool".to_owned(),
        Kind::Integer if node.format() == Some("int32") => "int32".to_owned(),
        Kind::Integer => "int64".to_owned(),
        Kind::Number => "float64".to_owned(),
        Kind::IntOrString => "int32".to_owned(),
        Kind::Quantity => "resource.Quantity".to_owned(),
        Kind::Any => "interface {}".to_owned(),
    }
}

/// The JSON type of a value.
fn json_type(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "bool",
        Value::Number(_) => "number",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    }
}

/// Why a text is not what its format says.
fn not_of_format(format: &str, text: &str) -> Option<String> {
    match format {
        "byte" => {
            let plain = |b: u8| b.is_ascii_alphanumeric() || b"+/=".contains(&b);
            let bare: String = text.chars().filter(|c| !matches!(c, '\n' | '\r')).collect();
            let at = text.bytes().position(|b| !plain(b) && !b"\n\r".contains(&b)).unwrap_or(text.len());
            STANDARD.decode(bare).is_err().then(|| format!("illegal base64 data at input byte {at}"))
        }
        "date-time" => Timestamp::parse(text).is_none().then(|| not_a_time(text)),
        _ => None,
    }
}

/// Why a text is no moment.
fn not_a_time(text: &str) -> String {
    const LAYOUT: &str = "2006-01-02T15:04:05Z07:00";
    let whole = format!("parsing time {text:?} as {LAYOUT:?}");
    let mut rest = text;
    for part in ["2006", "-", "01", "-", "02", "T", "15", ":", "04", ":", "05"] {
        let fits = rest.get(..part.len()).is_some_and(|found| match part {
            "-" | "T" | ":" => found == part,
            _ => found.bytes().all(|b| b.is_ascii_digit()),
        });
        if !fits {
            return format!("{whole}: cannot parse {rest:?} as {part:?}");
        }
        rest = &rest[part.len()..];
    }
    match rest {
        "Z" => format!("parsing time {text:?}: day out of range"),
        _ => format!("{whole}: cannot parse {rest:?} as \"Z07:00\""),
    }
}

/// Why a value is no amount.
fn not_a_quantity(value: &Value) -> Option<String> {
    const FORM: &str = "quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'";
    if Quantity::from_json(value).is_some() {
        return None;
    }
    let text = value.as_str().unwrap_or_default();
    let suffix = text.trim_start_matches(['+', '-']).trim_start_matches(|c: char| c.is_ascii_digit() || c == '.');
    let known = !suffix.is_empty() && suffix.len() < text.len() && suffix.chars().all(|c| "eEinumkKMGTP".contains(c));
    Some(if known { "unable to parse quantity's suffix" } else { FORM }.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::catalog::catalog;
    use serde_json::json;

    fn said(group: &str, plural: &str, value: Value) -> String {
        let Some(node) = catalog().resource(group, "v1", plural).and_then(|r| r.schema()) else { panic!("{plural}") };
        mismatches(node, &value).iter().map(|one| one.reason.clone()).collect::<Vec<_>>().join("|")
    }

    #[test]
    fn wrong_types_read_as_clients_know_them() {
        let field = |found: &str, place: &str, wanted: &str| {
            format!("json: cannot unmarshal {found} into Go struct field {place} of type {wanted}")
        };
        let pod = |container: Value| json!({"spec": {"template": {"spec": {"containers": [container]}}}});
        let of_container = |name: &str| format!("Container.spec.template.spec.containers.{name}");
        for (value, expected) in [
            (json!({"spec": {"replicas": 3}}), String::new()),
            (json!({"spec": {"replicas": null}}), String::new()),
            (json!({"spec": {"replicas": "three"}}), field("string", "DeploymentSpec.spec.replicas", "int32")),
            (json!({"spec": {"replicas": 1.5}}), field("number 1.5", "DeploymentSpec.spec.replicas", "int32")),
            (json!({"spec": {"replicas": 3_000_000_000_i64}}), field("number 3000000000", "DeploymentSpec.spec.replicas", "int32")),
            (json!({"spec": []}), field("array", "Deployment.spec", "v1.DeploymentSpec")),
            (json!({"metadata": {"labels": {"a": 1}}}), field("number", "ObjectMeta.metadata.labels", "string")),
            (json!({"metadata": {"labels": []}}), field("array", "ObjectMeta.metadata.labels", "map[string]string")),
            (json!({"spec": {"paused": "yes"}}), field("string", "DeploymentSpec.spec.paused", "bool")),
            (
                json!({"spec": {"template": {"spec": {"containers": {}}}}}),
                field("object", "PodSpec.spec.template.spec.containers", "[]v1.Container"),
            ),
            (pod(json!({"args": "x"})), field("string", &of_container("args"), "[]string")),
            (pod(json!({"env": [{"name": "a", "value": 1}]})), field("number", "EnvVar.spec.template.spec.containers.env.value", "string")),
            (
                pod(json!({"livenessProbe": {"httpGet": {"port": true}}})),
                field("bool", "HTTPGetAction.spec.template.spec.containers.livenessProbe.httpGet.port", "int32"),
            ),
            (pod(json!({"resources": {"limits": {"cpu": "1ME"}}})), "unable to parse quantity's suffix".to_owned()),
            (
                pod(json!({"resources": {"limits": {"cpu": "x"}}})),
                "quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'".to_owned(),
            ),
            (
                json!({"metadata": {"creationTimestamp": "yesterday"}}),
                "parsing time \"yesterday\" as \"2006-01-02T15:04:05Z07:00\": cannot parse \"yesterday\" as \"2006\"".to_owned(),
            ),
        ] {
            assert_eq!(said("apps", "deployments", value.clone()), expected, "{value}");
        }
        for (data, expected) in [
            (json!({"a": "YQ==", "b": "", "c": "YWJj\nYWJj\n", "d": null}), ""),
            (json!({"a": "%"}), "illegal base64 data at input byte 0"),
            (json!({"a": "YQ=="}), ""),
        ] {
            assert_eq!(said("", "secrets", json!({"data": data})), expected);
        }
    }

    #[test]
    fn a_mismatch_says_where_it_is() {
        let Some(node) = catalog().resource("", "v1", "pods").and_then(|r| r.schema()) else { panic!("pods") };
        let found = mismatches(node, &json!({"spec": {"containers": [{"args": [1]}], "nodeSelector": {"a": 1}}}));
        assert_eq!(found.iter().map(|one| one.path.as_str()).collect::<Vec<_>>(), ["spec.containers[0].args[0]", "spec.nodeSelector.a"]);
    }
}
