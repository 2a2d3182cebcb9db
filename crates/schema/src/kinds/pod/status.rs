//! What is told of a pod.

use serde_json::Value;
use tricorn_meta::names;

use super::update::annotations;
use crate::kinds::addresses::{ip, one_a_family};
use crate::kinds::check::{At, Errors};

/// The rules for a change of a pod's status.
pub(in crate::kinds) fn status(new: &At<'_>, old: &At<'_>, errors: &mut Errors) {
    annotations(&new.at("metadata.annotations"), &old.at("metadata.annotations"), errors);
    let (now, then) = (new.get("status"), old.get("status"));
    // Upstream tells of conditions as if they were in the metadata.
    let told = new.path.child("metadata").child("conditions");
    for (i, condition) in now.get("conditions").items().enumerate() {
        condition.get("type").told_at(told.index(i).child("Type")).named(names::qualified_name, errors);
    }
    let nominated = now.get("nominatedNodeName");
    if nominated.text() != then.get("nominatedNodeName").text() {
        nominated.maybe_named(names::dns1123_subdomain, errors);
    }
    if !then.get("qosClass").is_empty() {
        now.get("qosClass").unchanged(&then.get("qosClass"), errors);
    }
    let restart = old.at("spec.restartPolicy").text();
    transitions(&now, &then, "containerStatuses", restart, &old.at("spec.containers"), errors);
    transitions(&now, &then, "initContainerStatuses", restart, &old.at("spec.initContainers"), errors);
    transitions(&now, &then, "ephemeralContainerStatuses", "Never", &At::root(&Value::Null), errors);
    claims(&now.get("resourceClaimStatuses"), &new.at("spec.resourceClaims"), errors);
    addresses(&now, errors);
}

/// A container that ended for good does not come back.
fn transitions(now: &At<'_>, then: &At<'_>, list: &str, restart: &str, containers: &At<'_>, errors: &mut Errors) {
    if restart == "Always" {
        return;
    }
    let (list, before) = (now.get(list), then.get(list));
    for (i, old) in before.items().enumerate() {
        let ended = old.at("state.terminated");
        let failed = ended.get("exitCode").int().unwrap_or(0) != 0;
        if !ended.is_set() || (failed && restart == "OnFailure") {
            continue;
        }
        // A container that restarts by rules of its own is judged by the kubelet alone.
        let own = |c: &At<'_>| c.get("name").text() == old.get("name").text() && c.get("restartPolicy").is_set();
        if containers.items().any(|c| own(&c)) || restarts_all(containers) {
            continue;
        }
        let back = |new: &At<'_>| new.get("name").text() == old.get("name").text() && !new.at("state.terminated").is_set();
        if list.items().any(|new| back(&new)) {
            list.told_at(list.path.index(i).child("state")).forbidden("may not be transitioned to non-terminated state", errors);
        }
    }
}

/// Whether a container's end may restart all others.
fn restarts_all(containers: &At<'_>) -> bool {
    let mut rules = containers.items().flat_map(|c| c.get("restartPolicyRules").items());
    rules.any(|r| r.get("action").text() == "RestartAllContainers")
}

fn claims(statuses: &At<'_>, claims: &At<'_>, errors: &mut Errors) {
    let mut seen: Vec<&str> = Vec::new();
    for status in statuses.items() {
        let name = status.get("name");
        if !claims.items().any(|c| c.get("name").text() == name.text()) {
            name.invalid("must match the name of an entry in `spec.resourceClaims`", errors);
        }
        name.unique(&mut seen, errors);
        status.get("resourceClaimName").told_at(name.path).maybe_named(names::dns1123_subdomain, errors);
    }
}

fn addresses(status: &At<'_>, errors: &mut Errors) {
    for key in ["podIPs", "hostIPs"] {
        let list = status.get(key);
        for item in list.items() {
            item.get("ip").told_at(item.path.clone()).named(ip, errors);
        }
        one_a_family(&list, "IP", |item| item.value.clone(), |v| v.get("ip").and_then(Value::as_str).unwrap_or_default(), errors);
    }
    let first = status.get("hostIPs").items().next();
    if let Some(first) = first.map(|f| f.get("ip"))
        && first.text() != status.get("hostIP").text()
    {
        first.invalid("must be equal to `hostIP`", errors);
    }
}
