//! Webhooks: where they are called, and what they are called for.

use tricorn_meta::names;

use super::check::{At, Errors};
use super::metadata;

/// The rules for a configuration of webhooks.
pub(super) fn rules(at: &At<'_>, errors: &mut Errors) {
    let mut seen: Vec<&str> = Vec::new();
    for hook in at.get("webhooks").items() {
        webhook(&hook, errors);
        if !hook.get("name").is_empty() {
            hook.get("name").unique(&mut seen, errors);
        }
    }
}

fn webhook(hook: &At<'_>, errors: &mut Errors) {
    let name = hook.get("name");
    if name.need(errors) {
        let wrong = names::dns1123_subdomain(name.text());
        if wrong.is_empty() && name.text().split('.').count() < 3 {
            name.invalid("should be a domain with at least three segments separated by dots", errors);
        }
        wrong.into_iter().for_each(|wrong| name.invalid(wrong, errors));
    }
    hook.get("rules").items().for_each(|r| operations(&r, errors));
    hook.get("failurePolicy").one_of(&["Fail", "Ignore"], errors);
    hook.get("matchPolicy").one_of(&["Equivalent", "Exact"], errors);
    hook.get("reinvocationPolicy").one_of(&["IfNeeded", "Never"], errors);
    let effects = hook.get("sideEffects");
    if !effects.is_set() {
        effects.required("must specify one of None, NoneOnDryRun", errors);
    }
    effects.one_of(&["None", "NoneOnDryRun"], errors);
    let seconds = hook.get("timeoutSeconds");
    if seconds.int().is_some_and(|s| !(1..=30).contains(&s)) {
        seconds.invalid("the timeout value must be between 1 and 30 seconds", errors);
    }
    for key in ["namespaceSelector", "objectSelector"] {
        metadata::selector(&hook.get(key), errors);
    }
    client(&hook.get("clientConfig"), errors);
    conditions(&hook.get("matchConditions"), errors);
    versions(&hook.get("admissionReviewVersions"), "must specify one of v1, v1beta1", errors);
}

/// Where a webhook is: at a URL or behind a Service.
pub(super) fn client(config: &At<'_>, errors: &mut Errors) {
    let (url, service) = (config.get("url"), config.get("service"));
    match (url.is_set(), service.is_set()) {
        (true, false) => self::url(&url, errors),
        (false, true) => self::service(&service, errors),
        _ => config.required("exactly one of url or service is required", errors),
    }
}

fn url(at: &At<'_>, errors: &mut Errors) {
    const FORM: &str = "; desired format: https://host[/path]";
    let (scheme, rest) = at.text().split_once("://").unwrap_or(("", at.text()));
    if scheme != "https" {
        at.invalid_as(scheme, format!("'https' is the only allowed URL scheme{FORM}"), errors);
    }
    let (rest, fragment) = rest.split_once('#').unwrap_or((rest, ""));
    let (rest, query) = rest.split_once('?').unwrap_or((rest, ""));
    let authority = if scheme.is_empty() { "" } else { rest.split('/').next().unwrap_or_default() };
    let (user, host) = authority.rsplit_once('@').map_or((None, authority), |(user, host)| (Some(user), host));
    if host.is_empty() {
        at.invalid_as("", format!("host must be specified{FORM}"), errors);
    }
    if let Some(user) = user {
        at.invalid_as(user, "user information is not permitted in the URL", errors);
    }
    if !fragment.is_empty() {
        at.invalid_as(fragment, "fragments are not permitted in the URL", errors);
    }
    if !query.is_empty() {
        at.invalid_as(query, "query parameters are not permitted in the URL", errors);
    }
}

fn service(at: &At<'_>, errors: &mut Errors) {
    for (key, words) in [("name", "service name is required"), ("namespace", "service namespace is required")] {
        if at.get(key).is_empty() {
            at.get(key).required(words, errors);
        }
    }
    let (port, path) = (at.get("port"), at.get("path"));
    if port.int().is_some_and(|n| !names::port_number(n).is_empty()) {
        port.invalid("port is not valid: must be between 1 and 65535, inclusive", errors);
    }
    if matches!(path.text(), "" | "/") {
        return;
    }
    let Some(inner) = path.text().strip_prefix('/') else { return path.invalid("must start with a '/'", errors) };
    for (i, step) in inner.strip_suffix('/').unwrap_or(inner).split('/').enumerate() {
        if step.is_empty() {
            path.invalid(format!("segment[{i}] may not be empty"), errors);
            continue;
        }
        names::dns1123_subdomain(step).into_iter().for_each(|wrong| path.invalid(format!("segment[{i}]: {wrong}"), errors));
    }
}

/// Versions of the question that a webhook understands.
pub(super) fn versions(list: &At<'_>, words: &str, errors: &mut Errors) {
    if list.is_empty() {
        return list.required(words, errors);
    }
    let mut seen: Vec<&str> = Vec::new();
    for version in list.items() {
        if seen.contains(&version.text()) {
            version.invalid("duplicate version", errors);
            continue;
        }
        seen.push(version.text());
        version.named(names::dns1035_label, errors);
    }
    if !seen.iter().any(|v| matches!(*v, "v1" | "v1beta1")) {
        list.invalid("must include at least one of v1, v1beta1", errors);
    }
}

const CONDITIONS_MAX: usize = 64;

/// Expressions that have to hold before anything else is looked at. What they mean is not looked at here.
pub(super) fn conditions(list: &At<'_>, errors: &mut Errors) {
    list.at_most_items(CONDITIONS_MAX, errors);
    let mut seen: Vec<&str> = Vec::new();
    for condition in list.items() {
        let (name, expression) = (condition.get("name"), condition.get("expression"));
        if expression.text().trim().is_empty() {
            expression.required("", errors);
        }
        name.need_named(names::qualified_name, errors);
        if !name.is_empty() {
            name.unique(&mut seen, errors);
        }
    }
}

/// A rule of what is done to what.
pub(super) fn operations(rule: &At<'_>, errors: &mut Errors) {
    let star = |list: &At<'_>| list.len() > 1 && list.items().any(|item| item.text() == "*");
    let operations = rule.get("operations");
    operations.need(errors);
    if star(&operations) {
        operations.invalid("if '*' is present, must not specify other operations", errors);
    }
    for operation in operations.items() {
        const KNOWN: [&str; 5] = ["*", "CONNECT", "CREATE", "DELETE", "UPDATE"];
        if !KNOWN.contains(&operation.text()) {
            operation.unsupported(&KNOWN, errors);
        }
    }
    for (key, what) in [("apiGroups", "API groups"), ("apiVersions", "API versions")] {
        let list = rule.get(key);
        list.need(errors);
        if star(&list) {
            list.invalid(format!("if '*' is present, must not specify other {what}"), errors);
        }
    }
    for version in rule.get("apiVersions").items().filter(At::is_empty) {
        version.required("", errors);
    }
    resources(&rule.get("resources"), errors);
    rule.get("scope").one_of(&["*", "Cluster", "Namespaced"], errors);
}

/// Resources with their subresources: none may be named that another entry stands for already.
fn resources(list: &At<'_>, errors: &mut Errors) {
    list.need(errors);
    let (mut all_below, mut all_above): (Vec<&str>, Vec<&str>) = (Vec::new(), Vec::new());
    let mut last_is_whole = false;
    for item in list.items() {
        let text = item.text();
        if text.is_empty() {
            item.required("", errors);
            continue;
        }
        let Some((resource, below)) = text.split_once('/') else {
            last_is_whole = text != "*";
            continue;
        };
        if all_below.contains(&resource) {
            item.invalid(format!("if '{resource}/*' is present, must not specify {text}"), errors);
        }
        if all_above.contains(&below) {
            item.invalid(format!("if '*/{below}' is present, must not specify {text}"), errors);
        }
        if below == "*" {
            all_below.push(resource);
        }
        if resource == "*" {
            all_above.push(below);
        }
    }
    let has = |text: &str| list.items().any(|item| item.text() == text);
    if list.len() > 1 && has("*/*") {
        list.invalid("if '*/*' is present, must not specify other resources", errors);
    }
    if has("*") && last_is_whole {
        list.invalid("if '*' is present, must not specify other resources without subresources", errors);
    }
}
