//! May this be done?

use crate::context::Context;
use crate::server::Server;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use tricorn_authz::{Attributes, Decision};
use tricorn_meta::{FieldError, FieldPath, Status, UserInfo};

fn text<'a>(value: &'a Value, field: &str) -> &'a str {
    value[field].as_str().unwrap_or_default()
}

fn words(value: &Value) -> Vec<String> {
    value.as_array().into_iter().flatten().filter_map(|word| word.as_str().map(str::to_owned)).collect()
}

/// SubjectAccessReview: about anybody.
pub(super) fn subject(server: &Server, spec: &Value) -> Result<Value, Status> {
    let extra: BTreeMap<String, Vec<String>> =
        spec["extra"].as_object().into_iter().flatten().map(|(key, values)| (key.to_lowercase(), words(values))).collect();
    let user = UserInfo { name: text(spec, "user").to_owned(), uid: text(spec, "uid").to_owned(), groups: words(&spec["groups"]), extra };
    if user.name.is_empty() && user.groups.is_empty() {
        let error = FieldError::invalid(&FieldPath::new("spec.user"), "", "at least one of user or group must be specified");
        return Err(Status::invalid("authorization.k8s.io", "SubjectAccessReview", "", vec![error]));
    }
    decide(server, &user, spec)
}

/// LocalSubjectAccessReview: about anybody, in one namespace.
pub(super) fn local(server: &Server, context: &Context, spec: &Value) -> Result<Value, Status> {
    if text(&spec["resourceAttributes"], "namespace") != context.info.namespace {
        let error = FieldError::invalid(
            &FieldPath::new("spec.resourceAttributes.namespace"),
            text(&spec["resourceAttributes"], "namespace"),
            "must match metadata.namespace",
        );
        return Err(Status::invalid("authorization.k8s.io", "LocalSubjectAccessReview", "", vec![error]));
    }
    subject(server, spec)
}

/// SelfSubjectAccessReview: about the asker.
pub(super) fn own(server: &Server, context: &Context, spec: &Value) -> Result<Value, Status> {
    decide(server, &context.user, spec)
}

fn decide(server: &Server, user: &UserInfo, spec: &Value) -> Result<Value, Status> {
    let (resource, path) = (&spec["resourceAttributes"], &spec["nonResourceAttributes"]);
    let attributes = match (resource.is_object(), path.is_object()) {
        (true, false) => Attributes {
            namespace: text(resource, "namespace"),
            api_version: text(resource, "version"),
            subresource: text(resource, "subresource"),
            name: text(resource, "name"),
            ..Attributes::resource(user, text(resource, "verb"), text(resource, "group"), text(resource, "resource"))
        },
        (false, true) => Attributes::path(user, text(path, "verb"), text(path, "path")),
        _ => {
            let path = FieldPath::new("spec.resourceAttributes");
            let error = FieldError::invalid(&path, "", "exactly one of nonResourceAttributes or resourceAttributes must be specified");
            return Err(Status::invalid("authorization.k8s.io", "SubjectAccessReview", "", vec![error]));
        }
    };
    let decision = server.authorizer.read().authorize(&attributes);
    let mut status = json!({"allowed": decision.allowed()});
    if matches!(decision, Decision::Deny(_)) {
        status["denied"] = json!(true);
    }
    if !decision.reason().is_empty() {
        status["reason"] = json!(decision.reason());
    }
    Ok(status)
}

/// SelfSubjectRulesReview: all that the asker may do in a namespace.
pub(super) fn rules(server: &Server, context: &Context, spec: &Value) -> Result<Value, Status> {
    let namespace = text(spec, "namespace");
    if namespace.is_empty() {
        return Err(Status::bad_request("no namespace on request"));
    }
    let rules = server.authorizer.read().rules_for(&context.user, namespace);
    let kept = |rule: &tricorn_authz::Rule, fields: &[&str]| {
        let all = serde_json::to_value(rule).unwrap_or_default();
        let mut out = serde_json::Map::new();
        for field in fields {
            if let Some(value) = all.get(field).filter(|value| !value.is_null()) {
                out.insert((*field).to_owned(), value.clone());
            }
        }
        Value::Object(out)
    };
    let resources: Vec<_> = rules.resources.iter().map(|rule| kept(rule, &["verbs", "apiGroups", "resources", "resourceNames"])).collect();
    let paths: Vec<_> = rules.paths.iter().map(|rule| kept(rule, &["verbs", "nonResourceURLs"])).collect();
    let mut status = json!({"resourceRules": resources, "nonResourceRules": paths, "incomplete": !rules.errors.is_empty()});
    if !rules.errors.is_empty() {
        status["evaluationError"] = json!(rules.errors.join(", "));
    }
    Ok(status)
}
