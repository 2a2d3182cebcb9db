//! Admission policies and their bindings. Expressions are taken as text: what they mean is for whoever evaluates them.

use tricorn_meta::{FieldError, names};

use super::check::{At, Errors};
use super::{metadata, webhook};

pub(super) fn rules(kind: &str, at: &At<'_>, errors: &mut Errors) {
    let spec = at.get("spec");
    match kind {
        "ValidatingAdmissionPolicy" => {
            policy(&spec, errors);
            validations(at, &spec, errors);
        }
        "MutatingAdmissionPolicy" => {
            policy(&spec, errors);
            spec.get("reinvocationPolicy").one_of(&["IfNeeded", "Never"], errors);
            if spec.get("mutations").is_empty() {
                spec.get("mutations").required("mutations must contain at least one item", errors);
            }
            for mutation in spec.get("mutations").items() {
                mutation.get("patchType").required_one_of(&["ApplyConfiguration", "JSONPatch"], errors);
            }
        }
        "ValidatingAdmissionPolicyBinding" => {
            binding(&spec, errors);
            actions(&spec.get("validationActions"), errors);
        }
        "MutatingAdmissionPolicyBinding" => binding(&spec, errors),
        _ => {}
    }
}

fn policy(spec: &At<'_>, errors: &mut Errors) {
    spec.get("failurePolicy").one_of(&["Fail", "Ignore"], errors);
    if spec.get("paramKind").is_set() {
        param_kind(&spec.get("paramKind"), errors);
    }
    let matching = spec.get("matchConstraints");
    if !matching.is_set() {
        matching.required("", errors);
    } else {
        match_resources(&matching, errors);
        matching.get("resourceRules").need(errors);
    }
    webhook::conditions(&spec.get("matchConditions"), errors);
    for variable in spec.get("variables").items() {
        let (name, expression) = (variable.get("name"), variable.get("expression"));
        if name.text().trim().is_empty() {
            name.required("name is not specified", errors);
        } else if !is_identifier(name.text()) {
            name.invalid("name is not a valid CEL identifier", errors);
        }
        if expression.text().trim().is_empty() {
            expression.required("expression is not specified", errors);
        }
    }
}

fn is_identifier(name: &str) -> bool {
    let word = |b: u8| b.is_ascii_alphanumeric() || b == b'_';
    name.bytes().all(word) && !name.starts_with(|c: char| c.is_ascii_digit())
}

fn param_kind(at: &At<'_>, errors: &mut Errors) {
    let (version, kind) = (at.get("apiVersion"), at.get("kind"));
    if version.need(errors) {
        let (group, name) = version.text().split_once('/').unwrap_or(("", version.text()));
        let wrong = if group.is_empty() { Vec::new() } else { names::dns1123_subdomain(group) };
        if name.contains('/') {
            version.invalid(format!("unexpected GroupVersion string: {}", version.text()), errors);
        } else if !wrong.is_empty() {
            version.invalid_as(group, wrong.join(","), errors);
        } else if name.is_empty() {
            version.invalid("version must be specified", errors);
        } else if !names::dns1035_label(name).is_empty() {
            version.invalid_as(name, names::dns1035_label(name).join(","), errors);
        }
    }
    if kind.need(errors) {
        let wrong = names::dns1035_label(&kind.text().to_lowercase());
        if !wrong.is_empty() {
            kind.invalid(format!("may have mixed case, but should otherwise match: {}", wrong.join(",")), errors);
        }
    }
}

fn match_resources(at: &At<'_>, errors: &mut Errors) {
    at.get("matchPolicy").one_of(&["Equivalent", "Exact"], errors);
    for key in ["namespaceSelector", "objectSelector"] {
        metadata::selector(&at.get(key), errors);
    }
    for rule in ["resourceRules", "excludeResourceRules"].map(|key| at.get(key)).iter().flat_map(At::items) {
        let mut seen: Vec<&str> = Vec::new();
        for name in rule.get("resourceNames").items() {
            name.named(names::path_segment, errors);
            name.unique(&mut seen, errors);
        }
        webhook::operations(&rule, errors);
    }
}

const ANNOTATIONS_MAX: usize = 20;

fn validations(at: &At<'_>, spec: &At<'_>, errors: &mut Errors) {
    let (validations, notes) = (spec.get("validations"), spec.get("auditAnnotations"));
    if validations.is_empty() && notes.is_empty() {
        for list in [&validations, &notes] {
            list.required("validations or auditAnnotations must contain at least one item", errors);
        }
        return;
    }
    for rule in validations.items() {
        let (expression, message, dynamic) = (rule.get("expression"), rule.get("message"), rule.get("messageExpression"));
        if expression.text().trim().is_empty() {
            expression.required("expression is not specified", errors);
        }
        if !dynamic.is_empty() && dynamic.text().trim().is_empty() {
            dynamic.invalid("must be non-empty if specified", errors);
        }
        let trimmed = message.text().trim();
        if !message.is_empty() && trimmed.is_empty() {
            message.invalid("message must be non-empty if specified", errors);
        } else if trimmed.contains(['\n', '\r']) {
            message.invalid("message must not contain line breaks", errors);
        }
        rule.get("reason").one_of(&["Forbidden", "Invalid", "RequestEntityTooLarge", "Unauthorized"], errors);
    }
    if notes.len() > ANNOTATIONS_MAX {
        notes.invalid(format!("must not have more than {ANNOTATIONS_MAX} auditAnnotations"), errors);
    }
    let mut seen: Vec<&str> = Vec::new();
    for note in notes.items() {
        let (key, expression) = (note.get("key"), note.get("valueExpression"));
        let whole = format!("{}/{}", at.at("metadata.name").text(), key.text());
        names::qualified_name(&whole).into_iter().for_each(|wrong| errors.push(FieldError::invalid(&key.path, whole.as_str(), wrong)));
        key.unique(&mut seen, errors);
        if expression.text().trim().is_empty() {
            expression.required("valueExpression is not specified", errors);
        }
    }
}

fn binding(spec: &At<'_>, errors: &mut Errors) {
    spec.get("policyName").need_named(names::dns1123_subdomain, errors);
    let params = spec.get("paramRef");
    if params.is_set() {
        let (name, selector, action) = (params.get("name"), params.get("selector"), params.get("parameterNotFoundAction"));
        match (name.is_empty(), selector.is_set()) {
            (true, false) => params.required("one of name or selector must be specified", errors),
            (false, true) => name.forbidden("name and selector are mutually exclusive", errors),
            (false, false) => name.named(names::path_segment, errors),
            (true, true) => metadata::selector(&selector, errors),
        }
        action.required_one_of(&["Deny", "Allow"], errors);
    }
    match_resources(&spec.get("matchResources"), errors);
}

fn actions(list: &At<'_>, errors: &mut Errors) {
    let mut seen: Vec<&str> = Vec::new();
    for action in list.items() {
        if !["Audit", "Deny", "Warn"].contains(&action.text()) {
            action.unsupported(&["Audit", "Deny", "Warn"], errors);
        }
        action.unique(&mut seen, errors);
    }
    if seen.contains(&"Deny") && seen.contains(&"Warn") {
        list.invalid("must not contain both Deny and Warn (repeating the same validation failure information in the API response and headers serves no purpose)", errors);
    }
    if seen.is_empty() {
        list.required("at least one validation action is required", errors);
    }
}
