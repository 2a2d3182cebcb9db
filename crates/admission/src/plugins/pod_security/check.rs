//! What the rules look at, and how violations are told.

use serde_json::{Map, Value};

/// One rule that a pod breaks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Violation {
    /// Identifier of the rule, which also orders violations.
    pub(super) rule: &'static str,
    /// Short name, as it is told.
    pub(super) reason: String,
    /// What exactly.
    pub(super) detail: String,
}

impl Violation {
    pub(super) fn told(&self) -> String {
        if self.detail.is_empty() { self.reason.clone() } else { format!("{} ({})", self.reason, self.detail) }
    }
}

/// A pod or a pod template.
pub(super) struct Pod<'a> {
    pub(super) spec: &'a Map<String, Value>,
    pub(super) annotations: Option<&'a Map<String, Value>>,
}

impl<'a> Pod<'a> {
    pub(super) fn at(object: &'a Value, prefix: &str) -> Option<Pod<'a>> {
        let pod = object.pointer(prefix)?;
        let annotations = pod.pointer("/metadata/annotations").and_then(Value::as_object);
        Some(Pod { spec: pod.get("spec")?.as_object()?, annotations })
    }

    /// All containers, of all three lists.
    pub(super) fn containers(&self) -> impl Iterator<Item = &'a Value> {
        let spec = self.spec;
        let lists = ["initContainers", "containers", "ephemeralContainers"];
        lists.into_iter().filter_map(move |l| spec.get(l).and_then(Value::as_array)).flatten()
    }

    /// A field of the pod's own security context.
    pub(super) fn security(&self, field: &str) -> Option<&'a Value> {
        self.spec.get("securityContext")?.get(field).filter(|v| !v.is_null())
    }

    /// Names of the containers for which `bad` holds.
    pub(super) fn bad_containers(&self, bad: impl Fn(&Value) -> bool) -> Vec<&'a str> {
        self.containers().filter(|c| bad(c)).map(name).collect()
    }

    pub(super) fn volumes(&self) -> impl Iterator<Item = &'a Value> {
        self.spec.get("volumes").and_then(Value::as_array).into_iter().flatten()
    }

    pub(super) fn is_windows(&self) -> bool {
        self.spec.get("os").and_then(|os| os.get("name")).and_then(Value::as_str) == Some("windows")
    }
}

pub(super) fn name(object: &Value) -> &str {
    object.get("name").and_then(Value::as_str).unwrap_or_default()
}

/// A field of a container's security context.
pub(super) fn security<'a>(container: &'a Value, path: &str) -> Option<&'a Value> {
    container.get("securityContext")?.pointer(path).filter(|v| !v.is_null())
}

/// `container "a"` or `containers "a", "b"`.
pub(super) fn containers(names: &[&str]) -> String {
    several("container", names)
}

/// The noun with its quoted names, in plural where there are several.
pub(super) fn several(noun: &str, names: &[&str]) -> String {
    let plural = if names.len() == 1 { "" } else { "s" };
    format!("{noun}{plural} {}", quoted(names))
}

/// `"a", "b"`.
pub(super) fn quoted(names: &[&str]) -> String {
    names.iter().map(|n| format!("{n:?}")).collect::<Vec<_>>().join(", ")
}
