//! Deployments.

use tricorn_meta::FieldError;

use super::check::{At, Errors, at_most_all, int_or_percent, not_negative_int_or_percent};
use super::workload;

pub(super) fn rules(at: &At<'_>, errors: &mut Errors) {
    let spec = at.get("spec");
    spec.get("replicas").not_negative(errors);
    workload::selector(&spec, "deployment", errors);
    workload::template(&spec, "ReplicaSet", errors);
    strategy(&spec.get("strategy"), errors);
    for key in ["minReadySeconds", "revisionHistoryLimit", "progressDeadlineSeconds"] {
        spec.get(key).not_negative(errors);
    }
    let deadline = spec.get("progressDeadlineSeconds");
    if deadline.int().is_some_and(|d| d >= 0 && d <= spec.get("minReadySeconds").int().unwrap_or(0)) {
        deadline.invalid("must be greater than minReadySeconds", errors);
    }
}

fn strategy(strategy: &At<'_>, errors: &mut Errors) {
    let rolling = strategy.get("rollingUpdate");
    match strategy.get("type").text() {
        "Recreate" if rolling.is_set() => rolling.forbidden("may not be specified when strategy `type` is 'Recreate'", errors),
        "Recreate" => {}
        "RollingUpdate" if !rolling.is_set() => rolling.required("this should be defaulted and never be nil", errors),
        "RollingUpdate" => {
            let (unavailable, surge) = (rolling.get("maxUnavailable"), rolling.get("maxSurge"));
            not_negative_int_or_percent(&unavailable, errors);
            not_negative_int_or_percent(&surge, errors);
            let none = |at: &At<'_>| int_or_percent(at.value).is_some_and(|(n, _)| n == 0);
            if none(&unavailable) && none(&surge) {
                errors.push(FieldError::invalid(&unavailable.path, unavailable.value.clone(), "may not be 0 when `maxSurge` is 0"));
            }
            at_most_all(&unavailable, errors);
        }
        _ => errors.push(FieldError::not_supported(&strategy.path, strategy.value.clone(), &["Recreate", "RollingUpdate"])),
    }
}
