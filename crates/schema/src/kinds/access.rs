//! Roles and bindings.

use tricorn_meta::{FieldError, names};

use super::check::{At, Errors};

pub(super) fn rules(kind: &str, at: &At<'_>, errors: &mut Errors) {
    match kind {
        "Role" => at.get("rules").items().for_each(|r| policy_rule(&r, true, errors)),
        "ClusterRole" => {
            at.get("rules").items().for_each(|r| policy_rule(&r, false, errors));
            let selectors = at.at("aggregationRule.clusterRoleSelectors");
            if at.get("aggregationRule").is_set() && selectors.is_empty() {
                selectors.required("at least one clusterRoleSelector required if aggregationRule is non-nil", errors);
            }
            selectors.items().for_each(|s| super::metadata::selector(&s, errors));
        }
        "RoleBinding" => binding(at, &["ClusterRole", "Role"], true, errors),
        "ClusterRoleBinding" => binding(at, &["ClusterRole"], false, errors),
        _ => {}
    }
}

fn policy_rule(rule: &At<'_>, namespaced: bool, errors: &mut Errors) {
    if rule.get("verbs").is_empty() {
        rule.get("verbs").required("verbs must contain at least one value", errors);
    }
    let urls = rule.get("nonResourceURLs");
    if !urls.is_empty() {
        if namespaced {
            urls.invalid("namespaced rules cannot apply to non-resource URLs", errors);
        }
        if ["apiGroups", "resources", "resourceNames"].iter().any(|k| !rule.get(k).is_empty()) {
            urls.invalid("rules cannot apply to both regular resources and non-resource URLs", errors);
        }
        return;
    }
    if rule.get("apiGroups").is_empty() {
        rule.get("apiGroups").required("resource rules must supply at least one api group", errors);
    }
    if rule.get("resources").is_empty() {
        rule.get("resources").required("resource rules must supply at least one resource", errors);
    }
}

fn binding(at: &At<'_>, kinds: &[&str], namespaced: bool, errors: &mut Errors) {
    let role = at.get("roleRef");
    let group = role.get("apiGroup");
    if group.text() != "rbac.authorization.k8s.io" {
        errors.push(FieldError::not_supported(&group.path, group.text(), &["rbac.authorization.k8s.io"]));
    }
    if !kinds.contains(&role.get("kind").text()) {
        errors.push(FieldError::not_supported(&role.get("kind").path, role.get("kind").text(), kinds));
    }
    role.get("name").need_named(names::path_segment, errors);
    for subject in at.get("subjects").items() {
        subject.get("name").need(errors);
        let group = subject.get("apiGroup");
        let expected = match subject.get("kind").text() {
            "ServiceAccount" => {
                subject.get("name").maybe_named(names::dns1123_subdomain, errors);
                if !namespaced && subject.get("namespace").is_empty() {
                    subject.get("namespace").required("", errors);
                }
                ""
            }
            "User" | "Group" => "rbac.authorization.k8s.io",
            other => {
                errors.push(FieldError::not_supported(&subject.get("kind").path, other, &["ServiceAccount", "User", "Group"]));
                continue;
            }
        };
        if group.text() != expected {
            errors.push(FieldError::not_supported(&group.path, group.text(), &[expected]));
        }
    }
}

/// What a binding grants never changes.
pub(super) fn change(at: &At<'_>, before: &At<'_>, errors: &mut Errors) {
    if at.get("roleRef").value != before.get("roleRef").value {
        at.get("roleRef").invalid("cannot change roleRef", errors);
    }
}
