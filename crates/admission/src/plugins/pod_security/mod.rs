//! PodSecurity: the Pod Security Standards, switched on by labels of the namespace.

mod baseline;
mod check;
mod restricted;

use async_trait::async_trait;
use serde_json::Value;
use tricorn_meta::{FieldError, FieldPath, Status};

use crate::{Objects, Operation, Plugin, Request};
use check::{Pod, Violation};

const LABEL_PREFIX: &str = "pod-security.kubernetes.io/";
const ENFORCE: &str = "pod-security.kubernetes.io/enforce";
const WARN: &str = "pod-security.kubernetes.io/warn";

/// See the module. Labels `enforce` and `warn` are honoured; the version labels are shown in texts, and the newest rules hold
/// whatever they say.
pub struct PodSecurity;

/// How much a namespace allows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Level {
    Privileged,
    Baseline,
    Restricted,
}

impl Level {
    /// A level that cannot be read is the strictest: a typing error must not open a namespace.
    fn parse(text: &str) -> Level {
        match text {
            "privileged" => Level::Privileged,
            "baseline" => Level::Baseline,
            _ => Level::Restricted,
        }
    }
}

/// Where the pod template is in the resources that make pods.
fn template_of(request: &Request<'_>) -> Option<&'static str> {
    Some(match (request.resource.group.as_str(), request.resource.resource.as_str()) {
        ("", "pods") => "",
        ("", "podtemplates") => "/template",
        ("", "replicationcontrollers") | ("apps", "replicasets" | "deployments" | "statefulsets" | "daemonsets") | ("batch", "jobs") => {
            "/spec/template"
        }
        ("batch", "cronjobs") => "/spec/jobTemplate/spec/template",
        _ => return None,
    })
}

fn is_pod(request: &Request<'_>) -> bool {
    request.resource.group.is_empty() && request.resource.resource == "pods"
}

#[async_trait]
impl Plugin for PodSecurity {
    fn name(&self) -> &'static str {
        "PodSecurity"
    }

    fn validates(&self, request: &Request<'_>) -> bool {
        let write = matches!(request.operation, Operation::Create | Operation::Update);
        if request.writes("", "namespaces") {
            return true;
        }
        if !write || template_of(request).is_none() {
            return false;
        }
        match request.subresource {
            "" => true,
            "ephemeralcontainers" => is_pod(request),
            _ => false,
        }
    }

    async fn validate(&self, request: &mut Request<'_>, objects: &dyn Objects) -> Result<(), Status> {
        if request.is("", "namespaces", "") {
            return check_labels(request);
        }
        let Some(namespace) = objects.get("", "namespaces", "", request.namespace).await? else { return Ok(()) };
        let label = |name: &str| namespace.pointer("/metadata/labels").and_then(|l| l.get(name)).and_then(Value::as_str);
        let level = |name: &str| label(name).map_or(Level::Privileged, Level::parse);
        let (enforce, warn) = (level(ENFORCE), level(WARN));
        let prefix = template_of(request).unwrap_or_default();
        let spec = |object: &Value| object.pointer(&format!("{prefix}/spec")).cloned();
        if enforce.max(warn) == Level::Privileged
            || (request.operation == Operation::Update && spec(request.stored()) == spec(request.new_object()))
        {
            return Ok(());
        }
        let version = |name: &str| label(&format!("{name}-version")).unwrap_or("latest").to_owned();
        if is_pod(request)
            && let Some(told) = violations(request.new_object(), "", enforce)
        {
            let why = format!("violates PodSecurity \"{}:{}\": {told}", label(ENFORCE).unwrap_or_default(), version(ENFORCE));
            return Err(request.forbidden(why));
        }
        if let Some(told) = violations(request.new_object(), prefix, warn) {
            let text = format!("would violate PodSecurity \"{}:{}\": {told}", label(WARN).unwrap_or_default(), version(WARN));
            request.warnings.push(text);
        }
        Ok(())
    }
}

/// Refuses labels that do not name a level or a version, where they are new.
fn check_labels(request: &Request<'_>) -> Result<(), Status> {
    let labels = |object: &Value| object.pointer("/metadata/labels").and_then(Value::as_object).cloned().unwrap_or_default();
    let (old, new) = (labels(request.stored()), labels(request.new_object()));
    let mut errors = Vec::new();
    for mode in ["enforce", "audit", "warn"] {
        let is_level = |value: &str| matches!(value, "privileged" | "baseline" | "restricted");
        let is_version = |value: &str| value == "latest" || value.strip_prefix("v1.").is_some_and(|minor| minor.parse::<u16>().is_ok());
        let level = (format!("{LABEL_PREFIX}{mode}"), is_level as fn(&str) -> bool, "must be one of privileged, baseline, restricted");
        let version = (format!("{LABEL_PREFIX}{mode}-version"), is_version as fn(&str) -> bool, "must be \"latest\" or \"v1.x\"");
        for (label, fits, detail) in [level, version] {
            if let Some(value) = new.get(&label).filter(|v| old.get(&label) != Some(v))
                && !value.as_str().is_some_and(fits)
            {
                let path = FieldPath::new("metadata").child("labels").key(&label);
                errors.push(FieldError::invalid(&path, value.clone(), detail));
            }
        }
    }
    let name = request.new_object().pointer("/metadata/name").and_then(Value::as_str).unwrap_or_default();
    if errors.is_empty() { Ok(()) } else { Err(Status::invalid("", "Namespace", name, errors)) }
}

/// What a pod breaks of a level, told in one line.
fn violations(object: &Value, prefix: &str, level: Level) -> Option<String> {
    if level == Level::Privileged {
        return None;
    }
    let pod = Pod::at(object, prefix)?;
    let mut found: Vec<Violation> = baseline::check(&pod);
    if level == Level::Restricted {
        // The stricter form of a rule tells more; the weaker one would repeat it.
        found.retain(|v| !restricted::REPLACES.contains(&v.rule));
        found.extend(restricted::check(&pod));
    }
    found.sort_by_key(|v| v.rule);
    let told: Vec<String> = found.iter().map(Violation::told).collect();
    (!told.is_empty()).then(|| told.join(", "))
}

#[cfg(test)]
mod tests;
