//! Limit ranges and resource quotas.

use std::collections::BTreeMap;

use tricorn_meta::{FieldError, Quantity, names};

use super::check::{At, Errors};
use super::pod::resources::{self, Whose};

/// The rules for a limit range.
pub(super) fn limit_range(at: &At<'_>, errors: &mut Errors) {
    let mut seen: Vec<&str> = Vec::new();
    for limit in at.at("spec.limits").items() {
        limit_rules(&limit, &mut seen, errors);
    }
}

fn limit_rules<'a>(limit: &At<'a>, seen: &mut Vec<&'a str>, errors: &mut Errors) {
    let kind = limit.get("type");
    let wrong = names::qualified_name(kind.text());
    if wrong.is_empty() && !kind.text().contains('/') && !["Pod", "Container", "PersistentVolumeClaim"].contains(&kind.text()) {
        kind.invalid("must be a standard limit type or fully qualified", errors);
    }
    wrong.into_iter().for_each(|wrong| kind.invalid_as(kind.text(), wrong, errors));
    kind.unique(seen, errors);
    let whose = if matches!(kind.text(), "Pod" | "Container") { Whose::Container } else { Whose::Any };
    let read = |key: &str, errors: &mut Errors| -> BTreeMap<&'a str, Quantity> {
        let list = limit.get(key);
        if kind.text() == "Pod" && key.starts_with("default") && !list.is_empty() {
            list.forbidden("may not be specified when `type` is 'Pod'", errors);
            return BTreeMap::new();
        }
        let mut found = BTreeMap::new();
        for (name, amount) in list.entries() {
            resources::name(whose, name, &amount, errors);
            found.extend(amount.quantity(errors).map(|quantity| (name, quantity)));
        }
        found
    };
    let [max, min, limits, requests] = ["max", "min", "default", "defaultRequest"].map(|key| read(key, errors));
    if kind.text() == "PersistentVolumeClaim" && !min.contains_key("storage") && !max.contains_key("storage") {
        let words = "either minimum or maximum storage value is required, but neither was provided";
        limit.get("limits").required(words, errors);
    }
    let ratios = read("maxLimitRequestRatio", errors);
    // Each pair of bounds that must not cross: the lower, the upper, where it is told of, and how both are called.
    let pairs = [
        (&min, &max, "min", "min value", "max value"),
        (&min, &requests, "defaultRequest", "min value", "default request value"),
        (&requests, &max, "defaultRequest", "default request value", "max value"),
        (&requests, &limits, "defaultRequest", "default request value", "default limit value"),
        (&min, &limits, "default", "min value", "default value"),
        (&limits, &max, "default", "default value", "max value"),
    ];
    for (lower, upper, told, low_name, high_name) in pairs {
        for (name, low) in lower {
            let Some(high) = upper.get(name).filter(|high| low > *high) else { continue };
            let path = limit.get(told).path.key(name);
            errors.push(FieldError::invalid(&path, low.to_string(), format!("{low_name} {low} is greater than {high_name} {high}")));
        }
    }
    for (name, ratio) in &ratios {
        let path = limit.get("maxLimitRequestRatio").path.key(name);
        if *ratio < Quantity::from_integer(1) {
            errors.push(FieldError::invalid(&path, ratio.to_string(), format!("ratio {ratio} is less than 1")));
        }
        if let (Some(min), Some(max)) = (min.get(name), max.get(name)) {
            let most = max.milli_value() as f64 / min.milli_value() as f64;
            if ratio.milli_value() as f64 / 1000.0 > most {
                let words = format!("ratio {ratio} is greater than max/min = {most:.6}");
                errors.push(FieldError::invalid(&path, ratio.to_string(), words));
            }
        }
    }
    for (name, request) in &requests {
        let Some(other) = limits.get(name).filter(|l| *l != request && !resources::can_overcommit(name)) else { continue };
        let path = limit.get("defaultRequest").path.key(name);
        let words = format!("default value {other} must equal to defaultRequest value {request} in {name}");
        errors.push(FieldError::invalid(&path, request.to_string(), words));
    }
}

const SCOPES: [&str; 7] =
    ["Terminating", "NotTerminating", "BestEffort", "NotBestEffort", "PriorityClass", "CrossNamespacePodAffinity", "VolumeAttributesClass"];

/// The rules for a quota.
pub(super) fn quota(at: &At<'_>, errors: &mut Errors) {
    let spec = at.get("spec");
    hard(&spec.get("hard"), errors);
    let scopes = spec.get("scopes");
    let named: Vec<&str> = scopes.items().map(|s| s.text()).collect();
    for scope in &named {
        scope_rules(scope, &spec, &scopes, &scopes, errors);
    }
    conflicts(&named, &scopes, errors);
    let selector = spec.get("scopeSelector");
    let expressions = selector.get("matchExpressions");
    let mut named = Vec::new();
    for expression in expressions.items().map(|e| e.told_at(expressions.path.clone())) {
        let (scope, operator, values) = (expression.get("scopeName"), expression.get("operator"), expression.get("values"));
        scope_rules(scope.text(), &spec, &scope, &selector.told_at(expressions.path.clone()), errors);
        if SCOPES[..4].contains(&scope.text()) || scope.text() == "CrossNamespacePodAffinity" {
            let words = "must be 'Exists' when scope is any of ResourceQuotaScopeTerminating, ResourceQuotaScopeNotTerminating, ResourceQuotaScopeBestEffort, ResourceQuotaScopeNotBestEffort or ResourceQuotaScopeCrossNamespacePodAffinity";
            if operator.text() != "Exists" {
                operator.invalid_as(operator.text(), words, errors);
            }
        }
        match operator.text() {
            "In" | "NotIn" if values.is_empty() => {
                values.required("must be at least one value when `operator` is 'In' or 'NotIn' for scope selector", errors);
            }
            "Exists" | "DoesNotExist" if !values.is_empty() => {
                values.invalid("must be no value when `operator` is 'Exist' or 'DoesNotExist' for scope selector", errors);
            }
            "In" | "NotIn" | "Exists" | "DoesNotExist" => {}
            _ => operator.invalid_as(operator.text(), "not a valid selector operator", errors),
        }
        named.push(scope.text());
    }
    conflicts(&named, &scopes.told_at(expressions.path), errors);
}

fn hard(list: &At<'_>, errors: &mut Errors) {
    for (name, amount) in list.entries() {
        resources::name(Whose::Quota, name, &amount, errors);
        resources::amount(name, &amount, errors);
    }
}

/// A scope is known, and goes with all that is limited.
fn scope_rules(scope: &str, spec: &At<'_>, unknown: &At<'_>, misfit: &At<'_>, errors: &mut Errors) {
    if !SCOPES.contains(&scope) {
        unknown.invalid("unsupported scope", errors);
        return;
    }
    for (name, _) in spec.get("hard").entries() {
        let of_claims = matches!(name, "persistentvolumeclaims" | "requests.storage");
        let computed = matches!(
            name.strip_prefix("requests.").or(name.strip_prefix("limits.")).unwrap_or(name),
            "cpu" | "memory" | "ephemeral-storage" | "pods"
        );
        let huge = resources::is_huge(name.strip_prefix("requests.").unwrap_or(name));
        let other = ["services", "secrets", "configmaps", "replicationcontrollers", "resourcequotas", "services.nodeports"];
        let standard = of_claims || computed || huge || other.contains(&name) || name == "services.loadbalancers";
        let fits = match scope {
            "BestEffort" => name == "pods",
            "VolumeAttributesClass" => of_claims,
            _ => computed,
        };
        if standard && !fits && !huge {
            misfit.invalid("unsupported scope applied to resource", errors);
        }
    }
}

fn conflicts(named: &[&str], at: &At<'_>, errors: &mut Errors) {
    for pair in [["BestEffort", "NotBestEffort"], ["Terminating", "NotTerminating"]] {
        if pair.iter().all(|scope| named.contains(scope)) {
            at.invalid("conflicting scopes", errors);
        }
    }
}

/// What of a quota may not change: what it is about.
pub(super) fn change(at: &At<'_>, before: &At<'_>, errors: &mut Errors) {
    let sorted = |of: &At<'_>| {
        let mut scopes: Vec<String> = of.at("spec.scopes").items().map(|s| s.text().to_owned()).collect();
        scopes.sort();
        scopes.dedup();
        scopes
    };
    if sorted(at) != sorted(before) {
        at.at("spec.scopes").invalid("field is immutable", errors);
    }
}

/// What is told of a quota.
pub(super) fn status(at: &At<'_>, errors: &mut Errors) {
    hard(&at.at("status.hard"), errors);
    hard(&at.at("status.used"), errors);
}
