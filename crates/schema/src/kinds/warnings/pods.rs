//! Pods and templates of pods.

use std::collections::HashMap;

use serde_json::Value;
use tricorn_meta::{FieldPath, Quantity, names};

use super::{Said, addresses, paths, tell, volumes};
use crate::kinds::check::At;

/// Labels of nodes that have other names now.
const NODE_LABELS: [(&str, &str); 5] = [
    ("beta.kubernetes.io/arch", "deprecated since v1.14; use \"kubernetes.io/arch\" instead"),
    ("beta.kubernetes.io/os", "deprecated since v1.14; use \"kubernetes.io/os\" instead"),
    ("failure-domain.beta.kubernetes.io/region", "deprecated since v1.17; use \"topology.kubernetes.io/region\" instead"),
    ("failure-domain.beta.kubernetes.io/zone", "deprecated since v1.17; use \"topology.kubernetes.io/zone\" instead"),
    ("beta.kubernetes.io/instance-type", "deprecated since v1.17; use \"node.kubernetes.io/instance-type\" instead"),
];

fn deprecated(label: &str) -> Option<&'static str> {
    NODE_LABELS.iter().find(|(old, _)| *old == label).map(|(_, words)| *words)
}

/// A map whose keys are labels of nodes.
pub(super) fn node_labels(map: &At<'_>, said: &mut Said) {
    for (key, value) in map.entries() {
        deprecated(key).into_iter().for_each(|words| tell(&value.path, words, said));
    }
}

/// A text that is a label of nodes.
pub(super) fn node_label(at: &At<'_>, said: &mut Said) {
    if let Some(words) = deprecated(at.text()) {
        tell(&at.path, &format!("{} is {words}", at.text()), said);
    }
}

/// A term that selects nodes. Where it is but preferred, values that no label can have are no mistake, and still select nothing.
pub(super) fn node_term(term: &At<'_>, preferred: bool, said: &mut Said) {
    for expression in term.get("matchExpressions").items() {
        node_label(&expression.get("key"), said);
        for value in expression.get("values").items().filter(|_| preferred) {
            for wrong in names::label_value(value.text()) {
                tell(&value.path, &format!("{} is invalid, {wrong}", value.text()), said);
            }
        }
    }
}

/// Says so where an amount of bytes is not whole.
pub(super) fn fraction(amounts: &At<'_>, resource: &str, said: &mut Said) {
    let amount = amounts.value.get(resource).and_then(Quantity::from_json);
    if let Some(amount) = amount.filter(|amount| amount.milli_value() % 1000 != 0) {
        tell(&amounts.path.key(resource), &format!("fractional byte value \"{amount}\" is invalid, must be an integer"), said);
    }
}

/// A pod.
pub(super) fn pod(at: &At<'_>, said: &mut Said) {
    all(&at.get("spec"), &at.at("metadata.annotations"), false, said);
}

/// A template of pods.
pub(super) fn template(at: &At<'_>, said: &mut Said) {
    all(&at.get("spec"), &at.at("metadata.annotations"), true, said);
}

const NO_FIELD: &str = "a null labelSelector results in matching no pod";

fn all(spec: &At<'_>, notes: &At<'_>, is_template: bool, said: &mut Said) {
    nodes(spec, said);
    annotations(notes, said);
    for volume in spec.get("volumes").items() {
        volumes::gone(&volume, said);
        let claim = volume.at("ephemeral.volumeClaimTemplate.spec");
        volumes::claim(&claim, said);
    }
    paths::overlapping(&spec.get("volumes"), said);
    twice(&spec.get("hostAliases"), "ip", said);
    twice(&spec.get("imagePullSecrets"), "name", said);
    for name in spec.get("imagePullSecrets").items().map(|secret| secret.get("name")).filter(At::is_empty) {
        tell(&name.path, "invalid empty name \"\"", said);
    }
    ["memory", "ephemeral-storage"].iter().for_each(|resource| fraction(&spec.get("overhead"), resource, said));
    profiles(spec, notes, is_template, said);
    containers(spec).for_each(|container| amounts_and_variables(&container, said));
    ports(spec, said);
    let grace = spec.get("terminationGracePeriodSeconds");
    if grace.int().is_some_and(|seconds| seconds < 0) {
        tell(&grace.path, "must be >= 0; negative values are invalid and will be treated as 1", said);
    }
    other_pods(spec, said);
    spec.at("dnsConfig.nameservers").items().for_each(|server| addresses::ip(&server, said));
    spec.get("hostAliases").items().for_each(|alias| addresses::ip(&alias.get("ip"), said));
}

/// What the pod says of nodes.
fn nodes(spec: &At<'_>, said: &mut Said) {
    node_labels(&spec.get("nodeSelector"), said);
    let affinity = spec.at("affinity.nodeAffinity");
    for term in affinity.at("requiredDuringSchedulingIgnoredDuringExecution.nodeSelectorTerms").items() {
        node_term(&term, false, said);
    }
    for term in affinity.get("preferredDuringSchedulingIgnoredDuringExecution").items() {
        node_term(&term.get("preference"), true, said);
    }
    for constraint in spec.get("topologySpreadConstraints").items() {
        node_label(&constraint.get("topologyKey"), said);
        if !constraint.get("labelSelector").is_set() {
            tell(&constraint.get("labelSelector").path, NO_FIELD, said);
        }
    }
}

/// What the pod says of other pods.
fn other_pods(spec: &At<'_>, said: &mut Said) {
    for affinity in ["podAffinity", "podAntiAffinity"].map(|key| spec.get("affinity").get(key)) {
        let required = affinity.get("requiredDuringSchedulingIgnoredDuringExecution").items().collect::<Vec<_>>();
        let preferred = affinity.get("preferredDuringSchedulingIgnoredDuringExecution");
        let preferred = preferred.items().map(|term| term.get("podAffinityTerm"));
        for selector in required.into_iter().chain(preferred).map(|term| term.get("labelSelector")).filter(|s| !s.is_set()) {
            tell(&selector.path, NO_FIELD, said);
        }
    }
}

/// Annotations that mean nothing any more.
fn annotations(notes: &At<'_>, said: &mut Said) {
    for (key, field, since) in [
        ("scheduler.alpha.kubernetes.io/critical-pod", "priorityClassName", "v1.16+"),
        ("security.alpha.kubernetes.io/sysctls", "sysctls", "v1.11+"),
        ("security.alpha.kubernetes.io/unsafe-sysctls", "sysctls", "v1.11+"),
    ] {
        if notes.value.get(key).is_some() {
            tell(&notes.path.key(key), &format!("non-functional in {since}; use the \"{field}\" field instead"), said);
        }
    }
}

/// Profiles that are named in annotations, where there are fields for them.
fn profiles(spec: &At<'_>, notes: &At<'_>, is_template: bool, said: &mut Said) {
    let mut old = |key: String, words: &str| {
        if notes.value.get(&key).is_some() {
            tell(&notes.path.key(&key), words, said);
        }
    };
    let lacks = |of: &At<'_>, field: &str| !of.get("securityContext").get(field).is_set();
    const SECCOMP: &str = "non-functional in v1.27+; use the \"seccompProfile\" field instead";
    if lacks(spec, "seccompProfile") {
        old("seccomp.security.alpha.kubernetes.io/pod".to_owned(), SECCOMP);
    }
    for container in containers(spec) {
        let name = container.get("name").text();
        if lacks(&container, "seccompProfile") {
            old(format!("container.seccomp.security.alpha.kubernetes.io/{name}"), SECCOMP);
        }
        if is_template && lacks(spec, "appArmorProfile") && lacks(&container, "appArmorProfile") {
            let words = "deprecated since v1.30; use the \"appArmorProfile\" field instead";
            old(format!("container.apparmor.security.beta.kubernetes.io/{name}"), words);
        }
    }
}

/// The containers of all three sorts.
fn containers<'a>(spec: &At<'a>) -> impl Iterator<Item = At<'a>> + use<'a> {
    let lists = ["initContainers", "containers", "ephemeralContainers"].map(|list| spec.get(list));
    lists.into_iter().flat_map(|list| list.items())
}

/// Says which items repeat a field of an earlier one.
fn twice(list: &At<'_>, key: &str, said: &mut Said) {
    let mut seen: Vec<&str> = Vec::new();
    for at in list.items().map(|item| item.get(key)) {
        if seen.contains(&at.text()) {
            tell(&at.path, &format!("duplicate {key} {:?}", at.text()), said);
        }
        seen.push(at.text());
    }
}

fn amounts_and_variables(container: &At<'_>, said: &mut Said) {
    for resource in ["memory", "ephemeral-storage"] {
        ["limits", "requests"].iter().for_each(|list| fraction(&container.get("resources").get(list), resource, said));
    }
    let mut seen: Vec<&str> = Vec::new();
    for variable in container.get("env").items() {
        let (name, value) = (variable.get("name").text(), variable.get("value").text());
        if !seen.contains(&name) {
            seen.push(name);
            continue;
        }
        // To add to the earlier value is fine: X=$(X):more.
        let itself = format!("$({name})");
        if variable.get("valueFrom").is_set() || value == itself || !value.contains(&itself) {
            tell(&variable.path, &format!("hides previous definition of {name:?}, which may be dropped when using apply"), said);
        }
    }
}

/// One port: the address and the port of the host, and where it is.
type Port<'a> = (&'a str, i64, FieldPath);

/// Ports of all containers share the pod's network.
fn ports(spec: &At<'_>, said: &mut Said) {
    let mut seen: HashMap<(i64, &str), Vec<Port<'_>>> = HashMap::new();
    for port in containers(spec).flat_map(|container| container.get("ports").items()) {
        let (address, host) = (port.get("hostIP").text(), port.get("hostPort").int().unwrap_or(0));
        if !address.is_empty() && host == 0 {
            tell(&port.path, &format!("hostIP set without hostPort: {}", shown(port.value)), said);
        }
        let others = seen.entry((port.get("containerPort").int().unwrap_or(0), port.get("protocol").text())).or_default();
        for (other_address, other_host, other) in &*others {
            let what = if (address, host) == (*other_address, *other_host) {
                "duplicate"
            } else if host == 0 || *other_host == 0 {
                "overlapping"
            } else if host == *other_host && address.is_empty() != other_address.is_empty() {
                "dangerously ambiguous"
            } else {
                continue;
            };
            tell(&port.path, &format!("{what} port definition with {other}"), said);
        }
        others.push((address, host, port.path));
    }
}

/// A port as upstream prints it.
fn shown(port: &Value) -> String {
    let text = |key: &str| port.get(key).and_then(Value::as_str).unwrap_or_default();
    let number = |key: &str| port.get(key).and_then(Value::as_i64).unwrap_or(0);
    format!(
        "{{Name:{} HostPort:{} ContainerPort:{} Protocol:{} HostIP:{}}}",
        text("name"),
        number("hostPort"),
        number("containerPort"),
        text("protocol"),
        text("hostIP")
    )
}
