//! Kinds that keep pods running: what they have in common, and those too small for a file of their own.

use serde_json::{Value, json};
use tricorn_meta::json::set;
use tricorn_meta::{FieldError, LabelSelector, names};

use super::check::{At, Errors, at_most_all, int_or_percent, not_negative_int_or_percent, same};
use super::{metadata, pod, volume};

/// A selector that is there, selects something, and selects the template's own labels.
pub(super) fn selector(spec: &At<'_>, kind: &str, errors: &mut Errors) {
    let selector = spec.get("selector");
    if !selector.is_set() {
        selector.required("", errors);
        return;
    }
    metadata::selector(&selector, errors);
    if selector.get("matchLabels").is_empty() && selector.get("matchExpressions").is_empty() {
        selector.invalid(format!("empty selector is invalid for {kind}"), errors);
        return;
    }
    match LabelSelector::from_json(selector.value) {
        Err(_) => selector.invalid("invalid label selector", errors),
        Ok(parsed) if !parsed.matches_object(spec.get("template").value) => mismatch(spec, errors),
        Ok(_) => {}
    }
}

fn mismatch(spec: &At<'_>, errors: &mut Errors) {
    let labels = spec.at("template.metadata.labels");
    let value = if labels.is_set() { labels.value.clone() } else { json!({}) };
    errors.push(FieldError::invalid(&labels.path, value, "`selector` does not match template `labels`"));
}

/// A template of pods that run for ever. `kind` is what upstream calls their maker.
pub(super) fn template(spec: &At<'_>, kind: &str, errors: &mut Errors) {
    let template = spec.get("template");
    pod::template(&template, errors);
    let policy = template.at("spec.restartPolicy");
    if !policy.is_empty() && policy.text() != "Always" && ["Never", "OnFailure"].contains(&policy.text()) {
        errors.push(FieldError::not_supported(&policy.path, policy.text(), &["Always"]));
    }
    let deadline = template.at("spec.activeDeadlineSeconds");
    if deadline.is_set() {
        deadline.forbidden(&format!("activeDeadlineSeconds in {kind} is not Supported"), errors);
    }
}

pub(super) fn replica_set(at: &At<'_>, errors: &mut Errors) {
    let spec = at.get("spec");
    spec.get("replicas").not_negative(errors);
    spec.get("minReadySeconds").not_negative(errors);
    selector(&spec, "deployment", errors);
    template(&spec, "ReplicaSet", errors);
}

pub(super) fn replication_controller(at: &At<'_>, errors: &mut Errors) {
    let spec = at.get("spec");
    spec.get("minReadySeconds").not_negative(errors);
    spec.get("replicas").not_negative(errors);
    let selector = spec.get("selector");
    metadata::label_map(&selector, errors);
    if !selector.need(errors) {
        return;
    }
    let labels = spec.at("template.metadata.labels");
    let matches = selector.entries().all(|(k, v)| labels.value.get(k) == Some(v.value));
    if !spec.get("template").is_set() {
        spec.get("template").required("", errors);
        return;
    }
    if !matches {
        mismatch(&spec, errors);
    }
    template(&spec, "ReplicationController", errors);
}

pub(super) fn stateful_set(at: &At<'_>, errors: &mut Errors) {
    let spec = at.get("spec");
    let management = spec.get("podManagementPolicy");
    match management.text() {
        "" => management.required("", errors),
        "OrderedReady" | "Parallel" => {}
        _ => management.invalid("must be 'OrderedReady' or 'Parallel'", errors),
    }
    let strategy = spec.get("updateStrategy");
    let rolling = strategy.get("rollingUpdate");
    match strategy.get("type").text() {
        "" => strategy.required("", errors),
        "OnDelete" if rolling.is_set() => rolling.invalid("only allowed for updateStrategy 'RollingUpdate'", errors),
        "OnDelete" => {}
        "RollingUpdate" => {
            rolling.get("partition").not_negative(errors);
            let unavailable = rolling.get("maxUnavailable");
            not_negative_int_or_percent(&unavailable, errors);
            if int_or_percent(unavailable.value).is_some_and(|(n, _)| n == 0) {
                unavailable.invalid("cannot be 0", errors);
            }
            at_most_all(&unavailable, errors);
        }
        _ => strategy.invalid("must be 'RollingUpdate' or 'OnDelete'", errors),
    }
    for key in ["whenDeleted", "whenScaled"] {
        spec.get("persistentVolumeClaimRetentionPolicy").get(key).one_of(&["Retain", "Delete"], errors);
    }
    spec.get("replicas").not_negative(errors);
    spec.get("minReadySeconds").not_negative(errors);
    spec.at("ordinals.start").not_negative(errors);
    selector(&spec, "statefulset", errors);
    // Containers mount what the claims give as they mount the template's own volumes; a claim goes before a volume of its name.
    let whole = with_claims(&spec);
    template(&At { value: &whole, path: spec.path }, "StatefulSet", errors);
}

/// The spec with a volume in its template for each of its claims.
fn with_claims(spec: &At<'_>) -> Value {
    let mut whole = spec.value.clone();
    let names: Vec<&str> = spec.get("volumeClaimTemplates").items().map(|claim| claim.at("metadata.name").text()).collect();
    if names.is_empty() {
        return whole;
    }
    let own = spec.at("template.spec.volumes");
    let kept = own.items().filter(|volume| !names.contains(&volume.get("name").text())).map(|volume| volume.value.clone());
    let of_claims = names.iter().map(|name| json!({"name": name, "persistentVolumeClaim": {"claimName": name}}));
    let volumes: Vec<Value> = kept.chain(of_claims).collect();
    set(&mut whole, "template.spec.volumes", volumes);
    whole
}

/// What a new set must keep to, and older ones need not have: its pods' names are made of its own, and so are their claims.
pub(super) fn new_stateful_set(at: &At<'_>, errors: &mut Errors) {
    let spec = at.get("spec");
    spec.get("serviceName").maybe_named(names::dns1123_label, errors);
    for claim in spec.get("volumeClaimTemplates").items() {
        volume::claim::spec(&claim.get("spec"), errors);
    }
}

pub(super) fn daemon_set(at: &At<'_>, errors: &mut Errors) {
    let spec = at.get("spec");
    selector(&spec, "daemonset", errors);
    template(&spec, "DaemonSet", errors);
    spec.get("minReadySeconds").not_negative(errors);
    spec.get("revisionHistoryLimit").not_negative(errors);
    let strategy = spec.get("updateStrategy");
    match strategy.get("type").text() {
        "OnDelete" => {}
        "RollingUpdate" if !strategy.get("rollingUpdate").is_set() => strategy.get("rollingUpdate").required("", errors),
        "RollingUpdate" => {
            let (unavailable, surge) = (strategy.at("rollingUpdate.maxUnavailable"), strategy.at("rollingUpdate.maxSurge"));
            for at in [&unavailable, &surge] {
                not_negative_int_or_percent(at, errors);
                at_most_all(at, errors);
            }
            let number = |at: &At<'_>| int_or_percent(at.value).map_or(0, |(n, _)| n);
            match (number(&unavailable) > 0, number(&surge) > 0) {
                (true, true) => surge.invalid("may not be set when maxUnavailable is non-zero", errors),
                (false, false) => unavailable.invalid("cannot be 0 when maxSurge is 0", errors),
                _ => {}
            }
        }
        _ => errors.push(FieldError::not_supported(&strategy.path, strategy.value.clone(), &["RollingUpdate", "OnDelete"])),
    }
}

pub(super) fn controller_revision(at: &At<'_>, errors: &mut Errors) {
    if !at.get("data").is_set() {
        at.get("data").required("data is mandatory", errors);
    }
    at.get("revision").not_negative(errors);
}

const STATEFUL_UPDATE: &str = "updates to statefulset spec for fields other than 'replicas', 'ordinals', 'template', 'updateStrategy', 'revisionHistoryLimit', 'persistentVolumeClaimRetentionPolicy' and 'minReadySeconds' are forbidden";

/// What may not change in kinds of the apps group.
pub(super) fn change(kind: &str, at: &At<'_>, before: &At<'_>, errors: &mut Errors) {
    match kind {
        "Deployment" | "ReplicaSet" | "DaemonSet" => at.at("spec.selector").unchanged(&before.at("spec.selector"), errors),
        "StatefulSet" => {
            let may = [
                "replicas",
                "ordinals",
                "template",
                "updateStrategy",
                "revisionHistoryLimit",
                "persistentVolumeClaimRetentionPolicy",
                "minReadySeconds",
            ];
            let (spec, then) = (at.get("spec"), before.get("spec"));
            let keys = spec.map().into_iter().chain(then.map()).flat_map(serde_json::Map::keys);
            let fixed = keys.filter(|k| !may.contains(&k.as_str())).all(|k| same(spec.get(k).value, then.get(k).value));
            if !fixed {
                spec.forbidden(STATEFUL_UPDATE, errors);
            }
        }
        "ControllerRevision" => at.get("data").unchanged(&before.get("data"), errors),
        _ => {}
    }
}

/// What is told of kinds that keep pods running: no number is negative, and no part is more than the whole.
pub(super) fn status(kind: &str, status: &At<'_>, before: &At<'_>, errors: &mut Errors) {
    const COUNTS: [&str; 16] = [
        "replicas",
        "updatedReplicas",
        "fullyLabeledReplicas",
        "currentReplicas",
        "readyReplicas",
        "availableReplicas",
        "unavailableReplicas",
        "terminatingReplicas",
        "observedGeneration",
        "currentNumberScheduled",
        "numberMisscheduled",
        "desiredNumberScheduled",
        "numberReady",
        "updatedNumberScheduled",
        "numberAvailable",
        "numberUnavailable",
    ];
    COUNTS.iter().for_each(|key| status.get(key).not_negative(errors));
    let number = |key: &str| status.get(key).int().unwrap_or(0);
    for key in ["updatedReplicas", "fullyLabeledReplicas", "currentReplicas", "readyReplicas", "availableReplicas"] {
        if number(key) > number("replicas") {
            status.get(key).invalid("cannot be greater than status.replicas", errors);
        }
    }
    if number("availableReplicas") > number("readyReplicas") {
        let words =
            if kind == "StatefulSet" { "cannot be greater than status.readyReplicas" } else { "cannot be greater than readyReplicas" };
        status.get("availableReplicas").invalid(words, errors);
    }
    let (collisions, collisions_before) = (status.get("collisionCount"), before.get("collisionCount"));
    if collisions.int().unwrap_or(0) < collisions_before.int().unwrap_or(0) {
        collisions.invalid("cannot be decremented", errors);
    }
    collisions.not_negative(errors);
}
