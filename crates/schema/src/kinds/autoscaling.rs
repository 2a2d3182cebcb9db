//! Autoscalers and disruption budgets.

use tricorn_meta::FieldError;

use super::check::{At, Errors, not_negative_int_or_percent};

pub(super) fn rules(kind: &str, at: &At<'_>, errors: &mut Errors) {
    if kind == "PodDisruptionBudget" { budget(&at.get("spec"), errors) } else { autoscaler(&at.get("spec"), errors) }
}

fn budget(spec: &At<'_>, errors: &mut Errors) {
    let (low, high) = (spec.get("minAvailable"), spec.get("maxUnavailable"));
    if low.is_set() && high.is_set() {
        errors.push(FieldError::invalid(&spec.path, spec.value.clone(), "minAvailable and maxUnavailable cannot be both set"));
    }
    for at in [low, high] {
        not_negative_int_or_percent(&at, errors);
        super::check::at_most_all(&at, errors);
    }
    super::metadata::selector(&spec.get("selector"), errors);
    spec.get("unhealthyPodEvictionPolicy").one_of(&["AlwaysAllow", "IfHealthyBudget"], errors);
}

fn autoscaler(spec: &At<'_>, errors: &mut Errors) {
    let (low, high) = (spec.get("minReplicas"), spec.get("maxReplicas"));
    if low.int().is_some_and(|n| n < 1) {
        low.invalid("must be greater than or equal to 1", errors);
    }
    let max = high.int().unwrap_or(0);
    if max < 1 {
        errors.push(FieldError::invalid(&high.path, max, "must be greater than 0"));
    }
    if low.int().is_some_and(|n| n > max) {
        errors.push(FieldError::invalid(&high.path, max, "must be greater than or equal to `minReplicas`"));
    }
    let target = spec.get("scaleTargetRef");
    target.get("kind").need_named(tricorn_meta::names::path_segment, errors);
    target.get("name").need_named(tricorn_meta::names::path_segment, errors);
    let types = ["ContainerResource", "External", "Object", "Pods", "Resource"];
    for metric in spec.get("metrics").items() {
        let kind = metric.get("type");
        if kind.is_empty() { kind.required("must specify a metric source type", errors) } else { kind.one_of(&types, errors) }
    }
}
