//! Kinds that configure the cluster: webhooks and policies, leases, priority, flow control, certificates.

use tricorn_meta::{FieldError, names};

use super::check::{At, Errors};
use super::metadata;

/// Webhook configurations and admission policies.
pub(super) fn admission(kind: &str, at: &At<'_>, errors: &mut Errors) {
    match kind {
        "ValidatingWebhookConfiguration" | "MutatingWebhookConfiguration" => {
            let mut seen = Vec::new();
            for hook in at.get("webhooks").items() {
                webhook(&hook, errors);
                if seen.contains(&hook.get("name").text()) {
                    hook.get("name").duplicate(errors);
                }
                seen.push(hook.get("name").text());
            }
        }
        "ValidatingAdmissionPolicy" => {
            let spec = at.get("spec");
            if spec.get("validations").is_empty() && spec.get("auditAnnotations").is_empty() {
                spec.get("validations").required("validations or auditAnnotations must be non-empty", errors);
            }
            constraints(&spec, errors);
            for rule in spec.get("validations").items() {
                rule.get("expression").need(errors);
            }
        }
        "MutatingAdmissionPolicy" => {
            let spec = at.get("spec");
            spec.get("mutations").need(errors);
            constraints(&spec, errors);
        }
        "ValidatingAdmissionPolicyBinding" => {
            at.at("spec.policyName").need(errors);
            let actions = at.at("spec.validationActions");
            actions.need(errors);
            actions.items().for_each(|a| a.one_of(&["Audit", "Deny", "Warn"], errors));
        }
        "MutatingAdmissionPolicyBinding" => {
            at.at("spec.policyName").need(errors);
        }
        _ => {}
    }
}

fn constraints(spec: &At<'_>, errors: &mut Errors) {
    let matching = spec.get("matchConstraints");
    if !matching.is_set() {
        matching.required("", errors);
    } else if matching.get("resourceRules").is_empty() {
        matching.get("resourceRules").required("", errors);
    }
    spec.get("failurePolicy").one_of(&["Fail", "Ignore"], errors);
}

fn webhook(hook: &At<'_>, errors: &mut Errors) {
    let name = hook.get("name");
    if name.need(errors) {
        name.named(names::dns1123_subdomain, errors);
        if name.text().split('.').count() < 3 {
            name.invalid("should be a domain with at least three segments separated by dots", errors);
        }
    }
    hook.get("failurePolicy").one_of(&["Fail", "Ignore"], errors);
    hook.get("matchPolicy").one_of(&["Equivalent", "Exact"], errors);
    hook.get("sideEffects").required_one_of(&["None", "NoneOnDryRun"], errors);
    let seconds = hook.get("timeoutSeconds");
    if seconds.int().is_some_and(|s| !(1..=30).contains(&s)) {
        seconds.invalid("the timeout value must be between 1 and 30 seconds", errors);
    }
    for key in ["namespaceSelector", "objectSelector"] {
        metadata::selector(&hook.get(key), errors);
    }
    let config = hook.get("clientConfig");
    match (config.get("url").is_set(), config.get("service").is_set()) {
        (true, true) | (false, false) => config.required("exactly one of url or service is required", errors),
        (true, false) if !config.get("url").text().starts_with("https://") => {
            errors.push(FieldError::invalid(
                &config.get("url").path,
                config.get("url").text(),
                "'https' is the only allowed URL scheme; desired format: https://host[/path]",
            ));
        }
        (true, false) => {}
        (false, true) => {
            config.at("service.name").need(errors);
            config.at("service.namespace").need(errors);
        }
    }
    if hook.get("admissionReviewVersions").is_empty() {
        hook.get("admissionReviewVersions").required("must specify one of v1, v1beta1", errors);
    }
    for rule in hook.get("rules").items() {
        for key in ["operations", "apiGroups", "apiVersions", "resources"] {
            rule.get(key).need(errors);
        }
    }
}

/// The other kinds.
pub(super) fn rules(kind: &str, at: &At<'_>, errors: &mut Errors) {
    let spec = at.get("spec");
    match kind {
        "Lease" => {
            let seconds = spec.get("leaseDurationSeconds");
            if seconds.int().is_some_and(|s| s <= 0) {
                seconds.invalid("must be greater than 0", errors);
            }
            spec.get("leaseTransitions").not_negative(errors);
        }
        "PriorityClass" => {
            let name = at.at("metadata.name");
            let system = ["system-node-critical", "system-cluster-critical"].contains(&name.text());
            if name.text().starts_with("system-") && !system {
                name.forbidden("priority class names with 'system-' prefix are reserved for system use only. error: only well-known system priority classes may use the prefix", errors);
            }
            let value = at.get("value");
            if value.int().is_some_and(|v| v > 1_000_000_000) && !system {
                value.forbidden("maximum allowed value of a user defined priority is 1000000000", errors);
            }
            at.get("preemptionPolicy").required_one_of(&["Never", "PreemptLowerPriority"], errors);
        }
        "FlowSchema" => {
            spec.get("matchingPrecedence").within(1, 10_000, errors);
            spec.at("priorityLevelConfiguration.name").need(errors);
        }
        "PriorityLevelConfiguration" => spec.get("type").required_one_of(&["Exempt", "Limited"], errors),
        "CertificateSigningRequest" => {
            spec.get("request").need(errors);
            let usages = spec.get("usages");
            if usages.is_empty() {
                usages.required("usages must be specified", errors);
            }
            spec.get("signerName").need(errors);
            let seconds = spec.get("expirationSeconds");
            if seconds.int().is_some_and(|s| s < 600) {
                seconds.invalid("may not specify a duration less than 600 seconds (10 minutes)", errors);
            }
        }
        "RuntimeClass" => at.get("handler").need_named(names::dns1123_label, errors),
        _ => {}
    }
}

/// What may not change.
pub(super) fn change(kind: &str, at: &At<'_>, before: &At<'_>, errors: &mut Errors) {
    match kind {
        "PriorityClass" => {
            if at.get("value").int() != before.get("value").int() {
                at.get("value").forbidden("may not be changed in an update.", errors);
            }
            at.get("preemptionPolicy").unchanged(&before.get("preemptionPolicy"), errors);
        }
        "RuntimeClass" => at.get("handler").unchanged(&before.get("handler"), errors),
        "CertificateSigningRequest" => at.get("spec").unchanged(&before.get("spec"), errors),
        _ => {}
    }
}
