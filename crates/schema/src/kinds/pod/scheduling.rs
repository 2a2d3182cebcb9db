//! Where a pod may run: tolerations, affinity, spreading, gates.

use tricorn_meta::{FieldError, FieldPath, names};

use crate::kinds::check::{At, Errors};
use crate::kinds::metadata;

/// The rules for what a pod spec says about nodes.
pub(super) fn scheduling(spec: &At<'_>, errors: &mut Errors) {
    node_affinity(&spec.at("affinity.nodeAffinity"), errors);
    for kind in ["podAffinity", "podAntiAffinity"] {
        pod_affinity(&spec.get("affinity").get(kind), errors);
    }
    gates(&spec.get("schedulingGates"), errors);
    spread(&spec.get("topologySpreadConstraints"), errors);
    tolerations(&spec.get("tolerations"), errors);
}

fn gates(list: &At<'_>, errors: &mut Errors) {
    let mut seen: Vec<&str> = Vec::new();
    for gate in list.items() {
        let name = gate.get("name").told_at(gate.path);
        name.named(names::qualified_name, errors);
        name.unique(&mut seen, errors);
    }
}

/// What a taint does to pods that do not tolerate it.
pub(crate) const EFFECTS: [&str; 3] = ["NoSchedule", "PreferNoSchedule", "NoExecute"];

pub(crate) fn tolerations(list: &At<'_>, errors: &mut Errors) {
    for item in list.items() {
        let (key, operator, value, effect) = (item.get("key"), item.get("operator"), item.get("value"), item.get("effect"));
        key.maybe_named(names::qualified_name, errors);
        if key.is_empty() && operator.text() != "Exists" {
            let words = "operator must be Exists when `key` is empty, which means \"match all values and all keys\"";
            operator.invalid_as(operator.text(), words, errors);
        }
        if item.get("tolerationSeconds").is_set() && effect.text() != "NoExecute" {
            effect.invalid_as(effect.text(), "effect must be 'NoExecute' when `tolerationSeconds` is set", errors);
        }
        match operator.text() {
            "" | "Equal" => {
                let wrong = names::label_value(value.text());
                if !wrong.is_empty() {
                    operator.invalid_as(value.text(), wrong.join(";"), errors);
                }
            }
            "Exists" if !value.is_empty() => operator.invalid_as(value.text(), "value must be empty when `operator` is 'Exists'", errors),
            "Exists" => {}
            _ => operator.unsupported(&["Equal", "Exists"], errors),
        }
        effect.one_of(&EFFECTS, errors);
    }
}

/// Tolerations of a pod that exists may be added, and their seconds changed; none may go.
pub(super) fn only_added(now: &At<'_>, then: &At<'_>, errors: &mut Errors) {
    if now.value == then.value {
        return;
    }
    let bare = |at: &At<'_>| {
        let mut value = at.value.clone();
        if let Some(map) = value.as_object_mut() {
            map.remove("tolerationSeconds");
        }
        value
    };
    let kept = then.items().all(|old| now.items().any(|new| bare(&new) == bare(&old)));
    if !kept {
        return now.forbidden("existing toleration can not be modified except its tolerationSeconds", errors);
    }
    tolerations(now, errors);
}

/// A pod that is held by gates may be given fewer nodes, never more.
pub(super) fn narrowed(now: &At<'_>, then: &At<'_>, errors: &mut Errors) {
    let (new, old) = (now.get("nodeSelector"), then.get("nodeSelector"));
    metadata::labels(&new, errors);
    if old.entries().any(|(key, value)| new.value.get(key) != Some(value.value)) {
        new.invalid("only additions to spec.nodeSelector are allowed (no mutations or deletions)", errors);
    }
    node_affinity(&now.at("affinity.nodeAffinity"), errors);
    const TERMS: &str = "affinity.nodeAffinity.requiredDuringSchedulingIgnoredDuringExecution.nodeSelectorTerms";
    let (at, before) = (now.at(TERMS), then.at(TERMS));
    if before.is_empty() {
        return;
    }
    if before.len() != at.len() {
        return at.invalid("no additions/deletions to non-empty NodeSelectorTerms list are allowed", errors);
    }
    for (new, old) in at.items().zip(before.items()) {
        if !only_more(&new, &old) {
            new.invalid("only additions are allowed (no mutations or deletions)", errors);
        }
    }
}

/// Whether a term asks for all that it asked for, and in the same order. One that asked for nothing matched nothing, and has to go on so.
fn only_more(new: &At<'_>, old: &At<'_>) -> bool {
    let lists = ["matchExpressions", "matchFields"];
    if lists.iter().all(|key| old.get(key).is_empty()) {
        return lists.iter().all(|key| new.get(key).is_empty());
    }
    lists.iter().all(|key| {
        let (new, old) = (new.get(key), old.get(key));
        new.len() >= old.len() && new.items().zip(old.items()).all(|(a, b)| a.value == b.value)
    })
}

fn node_affinity(at: &At<'_>, errors: &mut Errors) {
    let required = at.get("requiredDuringSchedulingIgnoredDuringExecution");
    if required.is_set() {
        node_selector(&required, errors);
    }
    for preferred in at.get("preferredDuringSchedulingIgnoredDuringExecution").items() {
        weight(&preferred, errors);
        node_term(&preferred.get("preference"), false, errors);
    }
}

fn weight(at: &At<'_>, errors: &mut Errors) {
    let weight = at.get("weight");
    if !(1..=100).contains(&weight.int().unwrap_or(0)) {
        weight.invalid_as(weight.int().unwrap_or(0), "must be in the range 1-100", errors);
    }
}

/// A selector of nodes: at least one term.
pub(crate) fn node_selector(at: &At<'_>, errors: &mut Errors) {
    let terms = at.get("nodeSelectorTerms");
    if terms.is_empty() {
        terms.required("must have at least one node selector term", errors);
    }
    terms.items().for_each(|term| node_term(&term, true, errors));
}

/// One term. Values that no label can have are wrong where the term must hold, and useless where it is preferred.
fn node_term(term: &At<'_>, must_hold: bool, errors: &mut Errors) {
    for expression in term.get("matchExpressions").items() {
        node_requirement(&expression, errors);
        expression.get("key").named(names::qualified_name, errors);
        if must_hold {
            expression.get("values").items().for_each(|v| v.named(names::label_value, errors));
        }
    }
    for field in term.get("matchFields").items() {
        field_requirement(&field, errors);
    }
}

fn node_requirement(at: &At<'_>, errors: &mut Errors) {
    let (operator, values) = (at.get("operator"), at.get("values"));
    metadata::operands(&operator, &values, errors);
    match operator.text() {
        "Gt" | "Lt" if values.len() != 1 => values.required("must be specified single value when `operator` is 'Lt' or 'Gt'", errors),
        "In" | "NotIn" | "Exists" | "DoesNotExist" | "Gt" | "Lt" => {}
        _ => operator.invalid_as(operator.text(), "not a valid selector operator", errors),
    }
}

/// Of a node's fields only its name can be asked for.
fn field_requirement(at: &At<'_>, errors: &mut Errors) {
    let (key, operator, values) = (at.get("key"), at.get("operator"), at.get("values"));
    match operator.text() {
        "In" | "NotIn" if values.len() != 1 => {
            values.required("must be only one value when `operator` is 'In' or 'NotIn' for node field selector", errors);
        }
        "In" | "NotIn" => {}
        _ => operator.invalid_as(operator.text(), "not a valid selector operator", errors),
    }
    if key.text() == "metadata.name" {
        values.items().for_each(|v| v.named(names::dns1123_subdomain, errors));
    } else {
        key.invalid_as(key.text(), "not a valid field selector key", errors);
    }
}

fn pod_affinity(at: &At<'_>, errors: &mut Errors) {
    for term in at.get("requiredDuringSchedulingIgnoredDuringExecution").items() {
        pod_term(&term, errors);
    }
    for preferred in at.get("preferredDuringSchedulingIgnoredDuringExecution").items() {
        weight(&preferred, errors);
        pod_term(&preferred.get("podAffinityTerm"), errors);
    }
}

fn pod_term(term: &At<'_>, errors: &mut Errors) {
    let selector = term.get("labelSelector");
    metadata::selector(&selector, errors);
    metadata::selector(&term.get("namespaceSelector"), errors);
    let told = term.path.child("namespace");
    term.get("namespaces").items().for_each(|n| n.told_at(told.clone()).named(names::dns1123_label, errors));
    let (same, other) = (term.get("matchLabelKeys"), term.get("mismatchLabelKeys"));
    label_keys(&same, &selector, errors);
    label_keys(&other, &selector, errors);
    twice(&same, &selector, &term.path, errors);
    for key in same.items().filter(|k| other.items().any(|o| o.text() == k.text())) {
        key.invalid("exists in both matchLabelKeys and mismatchLabelKeys", errors);
    }
    let key = term.get("topologyKey");
    if key.is_empty() {
        key.required("can not be empty", errors);
    }
    key.named(names::qualified_name, errors);
}

/// Keys whose values are taken from the pod itself.
fn label_keys(keys: &At<'_>, selector: &At<'_>, errors: &mut Errors) {
    if !keys.is_empty() && !selector.is_set() {
        return keys.forbidden("must not be specified when labelSelector is not set", errors);
    }
    keys.items().for_each(|k| k.named(names::qualified_name, errors));
}

/// A key of the pod's own is in the selector once, since it is put there on creation; twice is once too often.
fn twice(keys: &At<'_>, selector: &At<'_>, told: &FieldPath, errors: &mut Errors) {
    let labels = selector.get("matchLabels");
    let mut seen: Vec<&str> = labels.entries().map(|(key, _)| key).collect();
    for key in selector.get("matchExpressions").items().map(|e| e.get("key")) {
        let place = keys.items().position(|k| k.text() == key.text());
        if let Some(i) = place.filter(|_| seen.contains(&key.text())) {
            errors.push(FieldError::invalid(&told.index(i), key.text(), "exists in both matchLabelKeys and labelSelector"));
        }
        seen.push(key.text());
    }
}

fn spread(list: &At<'_>, errors: &mut Errors) {
    let kinds: Vec<(&str, &str)> = list.items().map(|c| (c.get("topologyKey").text(), c.get("whenUnsatisfiable").text())).collect();
    for (i, constraint) in list.items().enumerate() {
        let (skew, key, action) = (constraint.get("maxSkew"), constraint.get("topologyKey"), constraint.get("whenUnsatisfiable"));
        if skew.int().unwrap_or(0) <= 0 {
            skew.invalid_as(skew.int().unwrap_or(0), "must be greater than zero", errors);
        }
        if key.is_empty() {
            key.required("can not be empty", errors);
        }
        if !["DoNotSchedule", "ScheduleAnyway"].contains(&action.text()) {
            action.unsupported(&["DoNotSchedule", "ScheduleAnyway"], errors);
        }
        if kinds[i + 1..].contains(&kinds[i]) {
            let path = constraint.path.child("{topologyKey, whenUnsatisfiable}");
            errors.push(FieldError::duplicate(&path, format!("{{{}, {}}}", key.text(), action.text())));
        }
        let domains = constraint.get("minDomains");
        domains.positive(errors);
        if domains.is_set() && action.text() != "DoNotSchedule" {
            let words = format!("can only use minDomains if whenUnsatisfiable=DoNotSchedule, not {}", action.text());
            domains.invalid(words, errors);
        }
        for key in ["nodeAffinityPolicy", "nodeTaintsPolicy"] {
            constraint.get(key).one_of(&["Honor", "Ignore"], errors);
        }
        let (keys, selector) = (constraint.get("matchLabelKeys"), constraint.get("labelSelector"));
        label_keys(&keys, &selector, errors);
        twice(&keys, &selector, &keys.path, errors);
        metadata::selector(&selector, errors);
    }
}
