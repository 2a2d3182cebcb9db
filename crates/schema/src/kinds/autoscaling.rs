//! Autoscalers and disruption budgets.

use tricorn_meta::{Quantity, names};

use super::check::{At, Errors, not_negative_int_or_percent};
use super::pod::resources::{self, Whose};

/// The rules for a disruption budget.
pub(super) fn budget(spec: &At<'_>, errors: &mut Errors) {
    let (low, high) = (spec.get("minAvailable"), spec.get("maxUnavailable"));
    if low.is_set() && high.is_set() {
        spec.invalid("minAvailable and maxUnavailable cannot be both set", errors);
    }
    for at in [low, high] {
        not_negative_int_or_percent(&at, errors);
        super::check::at_most_all(&at, errors);
    }
    super::metadata::selector(&spec.get("selector"), errors);
    spec.get("unhealthyPodEvictionPolicy").one_of(&["AlwaysAllow", "IfHealthyBudget"], errors);
}

/// The rules for an autoscaler.
pub(super) fn autoscaler(spec: &At<'_>, errors: &mut Errors) {
    let (low, high) = (spec.get("minReplicas"), spec.get("maxReplicas"));
    if low.int().is_some_and(|n| n < 1) {
        low.invalid("must be greater than or equal to 1", errors);
    }
    let max = high.int().unwrap_or(0);
    if max < 1 {
        high.invalid_as(max, "must be greater than 0", errors);
    }
    if low.int().is_some_and(|n| n > max) {
        high.invalid_as(max, "must be greater than or equal to `minReplicas`", errors);
    }
    reference(&spec.get("scaleTargetRef"), errors);
    spec.get("metrics").items().for_each(|m| metric(&m, errors));
    for direction in ["scaleUp", "scaleDown"] {
        let rules = spec.get("behavior").get(direction);
        if rules.is_set() {
            behavior(&rules, errors);
        }
    }
}

fn reference(at: &At<'_>, errors: &mut Errors) {
    at.get("kind").need_named(names::path_segment, errors);
    at.get("name").need_named(names::path_segment, errors);
}

const WINDOW_MAX_SECONDS: i64 = 3600;
const PERIOD_MAX_SECONDS: i64 = 1800;

/// How fast the autoscaler may go.
fn behavior(rules: &At<'_>, errors: &mut Errors) {
    let window = rules.get("stabilizationWindowSeconds");
    match window.int() {
        Some(n) if n < 0 => window.invalid("must be greater than or equal to zero", errors),
        Some(n) if n > WINDOW_MAX_SECONDS => window.invalid(format!("must be less than or equal to {WINDOW_MAX_SECONDS}"), errors),
        _ => {}
    }
    rules.get("selectPolicy").one_of(&["Disabled", "Max", "Min"], errors);
    let tolerance = rules.get("tolerance");
    if Quantity::from_json(tolerance.value).is_some_and(|q| q.is_negative()) {
        tolerance.invalid("must be greater than or equal to zero", errors);
    }
    let policies = rules.get("policies");
    if policies.is_empty() {
        policies.required("must specify at least one Policy", errors);
    }
    for policy in policies.items() {
        let (kind, value, period) = (policy.get("type"), policy.get("value"), policy.get("periodSeconds"));
        if !["Percent", "Pods"].contains(&kind.text()) {
            kind.unsupported(&["Percent", "Pods"], errors);
        }
        for at in [&value, &period] {
            if at.int().unwrap_or(0) <= 0 {
                at.invalid_as(at.int().unwrap_or(0), "must be greater than zero", errors);
            }
        }
        if period.int().is_some_and(|n| n > PERIOD_MAX_SECONDS) {
            period.invalid(format!("must be less than or equal to {PERIOD_MAX_SECONDS}"), errors);
        }
    }
}

/// The sources of metrics, in the order in which upstream looks at them: the type, and the field that goes with it.
const SOURCES: [(&str, &str); 5] = [
    ("Object", "object"),
    ("External", "external"),
    ("Pods", "pods"),
    ("Resource", "resource"),
    ("ContainerResource", "containerResource"),
];

fn metric(metric: &At<'_>, errors: &mut Errors) {
    let kind = metric.get("type");
    if kind.is_empty() {
        kind.required("must specify a metric source type", errors);
    }
    let mut given = SOURCES.iter().map(|(_, field)| *field).filter(|field| metric.get(field).is_set());
    if let Some(first) = given.clone().next() {
        source(first, &metric.get(first), errors);
    }
    let Some((_, expected)) = SOURCES.iter().find(|(name, _)| *name == kind.text()) else {
        return kind.unsupported(&["ContainerResource", "External", "Object", "Pods", "Resource"], errors);
    };
    if !metric.get(expected).is_set() {
        metric.get(expected).required("must populate information for the given metric source", errors);
    }
    if given.clone().count() != 1 {
        for other in given.by_ref().filter(|field| field != expected) {
            metric.get(other).forbidden("must populate the given metric source only", errors);
        }
    }
}

fn source(kind: &str, at: &At<'_>, errors: &mut Errors) {
    match kind {
        "resource" => {
            if at.get("name").is_empty() {
                at.get("name").required("must specify a resource name", errors);
            }
        }
        "containerResource" => {
            let (name, container) = (at.get("name"), at.get("container"));
            if name.is_empty() {
                name.required("must specify a resource name", errors);
            } else {
                resources::name(Whose::Container, name.text(), &name, errors);
            }
            if container.is_empty() {
                container.required("must specify a container", errors);
            } else {
                container.named(names::dns1123_label, errors);
            }
        }
        _ => {
            if kind == "object" {
                reference(&at.get("describedObject"), errors);
            }
            let name = at.at("metric.name");
            if name.is_empty() {
                name.required("must specify a metric name", errors);
            } else {
                name.named(names::path_segment, errors);
            }
        }
    }
    target(&at.get("target"), errors);
    wanted(kind, &at.get("target"), errors);
}

fn target(at: &At<'_>, errors: &mut Errors) {
    let kind = at.get("type");
    if kind.is_empty() {
        kind.required("must specify a metric target type", errors);
    }
    if !["Utilization", "Value", "AverageValue"].contains(&kind.text()) {
        kind.invalid_as(kind.text(), "must be either Utilization, Value, or AverageValue", errors);
    }
    for amount in ["value", "averageValue"].map(|key| at.get(key)).iter().filter(|a| a.is_set()) {
        if Quantity::from_json(amount.value).is_some_and(|q| q <= Quantity::ZERO) {
            amount.invalid("must be positive", errors);
        }
    }
    let share = at.get("averageUtilization");
    if share.int().is_some_and(|n| n < 1) {
        share.invalid("must be greater than 0", errors);
    }
}

/// Which of the target's fields go with a source.
fn wanted(kind: &str, at: &At<'_>, errors: &mut Errors) {
    let [value, average, share] = ["value", "averageValue", "averageUtilization"].map(|key| at.get(key));
    match kind {
        "pods" if !average.is_set() => average.required("must specify a positive target averageValue", errors),
        "object" if !value.is_set() && !average.is_set() => {
            average.required("must set either a target value or averageValue", errors);
        }
        "external" => match (value.is_set(), average.is_set()) {
            (false, false) => average.required("must set either a target value for metric or a per-pod target", errors),
            (true, true) => value.forbidden("may not set both a target value for metric and a per-pod target", errors),
            _ => {}
        },
        "resource" | "containerResource" => match (share.is_set(), average.is_set()) {
            (false, false) => share.required("must set either a target raw value or a target utilization", errors),
            (true, true) => average.forbidden("may not set both a target raw value and a target utilization", errors),
            _ => {}
        },
        _ => {}
    }
}
