//! Where a pod may run: tolerations, affinity, spreading, gates.

use tricorn_meta::{FieldError, names};

use super::check::{At, Errors};
use super::metadata;

/// The rules for what a pod spec says about nodes.
pub(super) fn scheduling(spec: &At<'_>, errors: &mut Errors) {
    tolerations(&spec.get("tolerations"), errors);
    node_affinity(&spec.at("affinity.nodeAffinity"), errors);
    for kind in ["podAffinity", "podAntiAffinity"] {
        pod_affinity(&spec.get("affinity").get(kind), errors);
    }
    spread(&spec.get("topologySpreadConstraints"), errors);
    let mut seen: Vec<&str> = Vec::new();
    for gate in spec.get("schedulingGates").items() {
        let name = gate.get("name");
        name.named(names::qualified_name, errors);
        if seen.contains(&name.text()) {
            gate.duplicate(errors);
        }
        seen.push(name.text());
    }
}

fn tolerations(list: &At<'_>, errors: &mut Errors) {
    for item in list.items() {
        let (key, operator, value, effect) = (item.get("key"), item.get("operator"), item.get("value"), item.get("effect"));
        key.maybe_named(names::qualified_name, errors);
        if key.is_empty() && operator.text() != "Exists" {
            let words = "operator must be Exists when `key` is empty, which means \"match all values and all keys\"";
            errors.push(FieldError::invalid(&operator.path, operator.text(), words));
        }
        if item.get("tolerationSeconds").is_set() && effect.text() != "NoExecute" {
            errors.push(FieldError::invalid(&effect.path, effect.text(), "effect must be 'NoExecute' when `tolerationSeconds` is set"));
        }
        match operator.text() {
            "" | "Equal" => value.named(names::label_value, errors),
            "Exists" if !value.is_empty() => {
                errors.push(FieldError::invalid(&operator.path, value.text(), "value must be empty when `operator` is 'Exists'"));
            }
            "Exists" => {}
            _ => operator.one_of(&["Equal", "Exists"], errors),
        }
        effect.one_of(&["NoExecute", "NoSchedule", "PreferNoSchedule"], errors);
    }
}

/// Tolerations of a pod that exists may be added, and their seconds changed; none may go.
pub(super) fn only_added(now: &At<'_>, then: &At<'_>, errors: &mut Errors) {
    let bare = |at: &At<'_>| {
        let mut value = at.value.clone();
        if let Some(map) = value.as_object_mut() {
            map.remove("tolerationSeconds");
        }
        value
    };
    let kept = then.items().all(|old| now.items().any(|new| bare(&new) == bare(&old)));
    if !kept {
        now.forbidden("existing toleration can not be modified except its tolerationSeconds", errors);
    }
    tolerations(now, errors);
}

fn node_affinity(at: &At<'_>, errors: &mut Errors) {
    let required = at.get("requiredDuringSchedulingIgnoredDuringExecution");
    if required.is_set() {
        node_selector(&required, errors);
    }
    for preferred in at.get("preferredDuringSchedulingIgnoredDuringExecution").items() {
        weight(&preferred, errors);
        node_term(&preferred.get("preference"), errors);
    }
}

fn weight(at: &At<'_>, errors: &mut Errors) {
    let weight = at.get("weight");
    if !(1..=100).contains(&weight.int().unwrap_or(0)) {
        errors.push(FieldError::invalid(&weight.path, weight.int().unwrap_or(0), "must be in the range 1-100"));
    }
}

/// A selector of nodes: at least one term.
pub(super) fn node_selector(at: &At<'_>, errors: &mut Errors) {
    let terms = at.get("nodeSelectorTerms");
    if terms.is_empty() {
        terms.required("must have at least one node selector term", errors);
    }
    terms.items().for_each(|term| node_term(&term, errors));
}

fn node_term(term: &At<'_>, errors: &mut Errors) {
    for expression in term.get("matchExpressions").items() {
        node_requirement(&expression, errors);
        expression.get("key").named(names::qualified_name, errors);
    }
    for field in term.get("matchFields").items() {
        node_requirement(&field, errors);
    }
}

fn node_requirement(at: &At<'_>, errors: &mut Errors) {
    let (operator, values) = (at.get("operator"), at.get("values"));
    match operator.text() {
        "In" | "NotIn" if values.is_empty() => values.required("must be specified when `operator` is 'In' or 'NotIn'", errors),
        "Exists" | "DoesNotExist" if !values.is_empty() => {
            values.forbidden("may not be specified when `operator` is 'Exists' or 'DoesNotExist'", errors)
        }
        "Gt" | "Lt" if values.len() != 1 => values.required("must be specified single value when `operator` is 'Lt' or 'Gt'", errors),
        "In" | "NotIn" | "Exists" | "DoesNotExist" | "Gt" | "Lt" => {}
        _ => operator.invalid("not a valid selector operator", errors),
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
    metadata::selector(&term.get("labelSelector"), errors);
    metadata::selector(&term.get("namespaceSelector"), errors);
    term.get("namespaces").items().for_each(|n| n.named(names::dns1123_label, errors));
    let key = term.get("topologyKey");
    if key.is_empty() { key.required("can not be empty", errors) } else { key.named(names::qualified_name, errors) }
}

fn spread(list: &At<'_>, errors: &mut Errors) {
    for constraint in list.items() {
        let skew = constraint.get("maxSkew");
        if skew.int().unwrap_or(0) <= 0 {
            errors.push(FieldError::invalid(&skew.path, skew.int().unwrap_or(0), "must be greater than zero"));
        }
        let key = constraint.get("topologyKey");
        if key.is_empty() {
            key.required("can not be empty", errors)
        } else {
            key.named(names::qualified_name, errors)
        }
        constraint.get("whenUnsatisfiable").required_one_of(&["DoNotSchedule", "ScheduleAnyway"], errors);
        let domains = constraint.get("minDomains");
        if domains.int().is_some_and(|n| n <= 0) {
            domains.invalid("must be greater than zero", errors);
        }
        for key in ["nodeAffinityPolicy", "nodeTaintsPolicy"] {
            constraint.get(key).one_of(&["Honor", "Ignore"], errors);
        }
        metadata::selector(&constraint.get("labelSelector"), errors);
    }
}
