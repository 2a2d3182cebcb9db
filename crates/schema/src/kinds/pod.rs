//! Pods, and the pod specs of everything that makes them.

use serde_json::{Value, json};
use tricorn_meta::json::{get, list, remove, text};
use tricorn_meta::{FieldError, Quantity, names};

use super::check::{At, Errors, same};
use super::container::{self, Ports};
use super::{metadata, scheduling, volume};

/// A new pod waits, whatever its creator says of its status.
pub(super) fn prepare_create(pod: &mut Value) {
    let class = qos_class(pod);
    pod["status"] = json!({"phase": "Pending", "qosClass": class});
}

/// A pod's spec changes through its spec alone, its status through its status.
pub(super) fn prepare_status(new: &mut Value, old: &Value) {
    let class = qos_class(old);
    if let Some(status) = new.get_mut("status").and_then(Value::as_object_mut) {
        status.entry("qosClass").or_insert_with(|| Value::from(class));
    }
}

/// How well the pod is paid for: Guaranteed, Burstable or BestEffort.
pub fn qos_class(pod: &Value) -> &'static str {
    let (mut any, mut all) = (false, true);
    for container in list(pod, "spec.initContainers").iter().chain(list(pod, "spec.containers")) {
        for resource in ["cpu", "memory"] {
            let amount = |of: &str| {
                let value = get(container, "resources").and_then(|r| r.get(of)).and_then(|r| r.get(resource));
                value.and_then(Quantity::from_json).filter(|q| !q.is_zero())
            };
            let (limit, request) = (amount("limits"), amount("requests"));
            any |= limit.is_some() || request.is_some();
            all &= limit.is_some() && (request.is_none() || request == limit);
        }
    }
    match (any, all) {
        (false, _) => "BestEffort",
        (true, true) => "Guaranteed",
        (true, false) => "Burstable",
    }
}

/// The rules for a new pod.
pub(super) fn create(pod: &At<'_>, errors: &mut Errors) {
    let spec = pod.get("spec");
    pod_spec(&spec, errors);
    let ephemeral = spec.get("ephemeralContainers");
    if !ephemeral.is_empty() {
        ephemeral.forbidden("cannot be set on create", errors);
    }
}

/// The rules for a template: labels, annotations and the spec.
pub(super) fn template(template: &At<'_>, errors: &mut Errors) {
    let meta = template.get("metadata");
    metadata::labels(&meta.get("labels"), errors);
    metadata::annotations(&meta.get("annotations"), errors);
    pod_spec(&template.get("spec"), errors);
    let ephemeral = template.at("spec.ephemeralContainers");
    if !ephemeral.is_empty() {
        ephemeral.forbidden("ephemeral containers not allowed in pod template", errors);
    }
}

/// The rules for a pod spec.
pub(super) fn pod_spec(spec: &At<'_>, errors: &mut Errors) {
    let volumes = volume::volumes(&spec.get("volumes"), errors);
    let mut seen: Vec<&str> = Vec::new();
    let mut ports = Ports::new(spec.get("hostNetwork").flag());
    let containers = spec.get("containers");
    if containers.is_empty() {
        containers.required("", errors);
    }
    for item in containers.items() {
        container::container(&item, &volumes, &mut seen, &mut ports, errors);
    }
    for item in spec.get("initContainers").items() {
        container::init_container(&item, &volumes, &mut seen, errors);
    }
    for item in spec.get("ephemeralContainers").items() {
        container::ephemeral_container(&item, &volumes, &mut seen, errors);
    }
    spec.get("restartPolicy").required_one_of(&["Always", "Never", "OnFailure"], errors);
    dns(spec, errors);
    spec.get("terminationGracePeriodSeconds").not_negative(errors);
    spec.get("activeDeadlineSeconds").within(1, i64::from(i32::MAX), errors);
    spec.get("nodeName").maybe_named(names::dns1123_subdomain, errors);
    spec.get("serviceAccountName").maybe_named(names::dns1123_subdomain, errors);
    spec.get("hostname").maybe_named(names::dns1123_label, errors);
    spec.get("subdomain").maybe_named(names::dns1123_label, errors);
    spec.get("priorityClassName").maybe_named(names::dns1123_subdomain, errors);
    spec.get("runtimeClassName").maybe_named(names::dns1123_subdomain, errors);
    spec.get("schedulerName").maybe_named(names::qualified_name, errors);
    spec.get("preemptionPolicy").one_of(&["Never", "PreemptLowerPriority"], errors);
    metadata::labels(&spec.get("nodeSelector"), errors);
    scheduling::scheduling(spec, errors);
    security(&spec.get("securityContext"), errors);
    for alias in spec.get("hostAliases").items() {
        alias.get("ip").named(ip, errors);
        alias.get("hostnames").items().for_each(|h| h.named(names::dns1123_subdomain, errors));
    }
    for secret in spec.get("imagePullSecrets").items() {
        secret.get("name").need(errors);
    }
    for gate in spec.get("readinessGates").items() {
        gate.get("conditionType").named(names::qualified_name, errors);
    }
}

/// An IP address.
pub(super) fn ip(text: &str) -> Vec<String> {
    if text.parse::<std::net::IpAddr>().is_ok() {
        Vec::new()
    } else {
        vec!["must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)".to_owned()]
    }
}

fn dns(spec: &At<'_>, errors: &mut Errors) {
    let policy = spec.get("dnsPolicy");
    policy.required_one_of(&["ClusterFirst", "ClusterFirstWithHostNet", "Default", "None"], errors);
    let config = spec.get("dnsConfig");
    if policy.text() == "None" {
        if !config.is_set() {
            config.required("must provide `dnsConfig` when `dnsPolicy` is None", errors);
        } else if config.get("nameservers").is_empty() {
            config.get("nameservers").required("must provide at least one DNS nameserver when `dnsPolicy` is None", errors);
        }
    }
    let nameservers = config.get("nameservers");
    if nameservers.len() > 3 {
        nameservers.invalid("must not have more than 3 nameservers", errors);
    }
    nameservers.items().for_each(|n| n.named(ip, errors));
    for option in config.get("options").items() {
        if option.get("name").is_empty() {
            errors.push(FieldError::required(&config.get("options").path, "must not be empty"));
        }
    }
}

fn security(context: &At<'_>, errors: &mut Errors) {
    for key in ["runAsUser", "runAsGroup", "fsGroup"] {
        context.get(key).within(0, i64::from(i32::MAX), errors);
    }
    context.get("supplementalGroups").items().for_each(|g| g.within(0, i64::from(i32::MAX), errors));
    context.get("fsGroupChangePolicy").one_of(&["Always", "OnRootMismatch"], errors);
    context.get("supplementalGroupsPolicy").one_of(&["Merge", "Strict"], errors);
    container::seccomp(&context.get("seccompProfile"), errors);
    for sysctl in context.get("sysctls").items() {
        sysctl.get("name").need(errors);
    }
}

const UPDATABLE: &str = "pod updates may not change fields other than `spec.containers[*].image`,`spec.initContainers[*].image`,`spec.activeDeadlineSeconds`,`spec.tolerations` (only additions to existing tolerations),`spec.terminationGracePeriodSeconds` (allow it to be set to 1 if it was previously negative)";

/// The rules for a change of a pod through itself.
pub(super) fn update(new: &At<'_>, old: &At<'_>, errors: &mut Errors) {
    let (spec, before) = (new.get("spec"), old.get("spec"));
    for list in ["containers", "initContainers"] {
        let (now, then) = (spec.get(list), before.get(list));
        if now.len() != then.len() {
            let words = if list == "containers" {
                "pod updates may not add or remove containers"
            } else {
                "pod updates may not add or remove init containers"
            };
            now.forbidden(words, errors);
            return;
        }
        for item in now.items() {
            if item.get("image").is_empty() {
                item.get("image").required("", errors);
            }
        }
    }
    deadline(&spec, &before, errors);
    scheduling::only_added(&spec.get("tolerations"), &before.get("tolerations"), errors);
    if !same(&fixed(spec.value, before.value), before.value) {
        spec.forbidden(UPDATABLE, errors);
    }
}

/// The deadline may be set or shortened, never taken away.
fn deadline(spec: &At<'_>, before: &At<'_>, errors: &mut Errors) {
    let (now, then) = (spec.get("activeDeadlineSeconds"), before.get("activeDeadlineSeconds"));
    match (now.int(), then.int()) {
        (None, Some(_)) => now.invalid("must not update from a positive integer to nil value", errors),
        (Some(n), Some(t)) if n > t => now.invalid("must be less than or equal to previous value", errors),
        _ => {}
    }
}

/// The new spec with everything that may change set back.
fn fixed(new: &Value, old: &Value) -> Value {
    let mut new = new.clone();
    for list in ["containers", "initContainers"] {
        let before = old.get(list).and_then(Value::as_array);
        let items = new.get_mut(list).and_then(Value::as_array_mut);
        for (item, then) in items.into_iter().flatten().zip(before.into_iter().flatten()) {
            put_back(item, then, "image");
        }
    }
    for key in ["activeDeadlineSeconds", "tolerations"] {
        put_back(&mut new, old, key);
    }
    if old.get("schedulingGates").and_then(Value::as_array).is_some_and(|g| !g.is_empty()) {
        for key in ["schedulingGates", "nodeSelector", "affinity"] {
            put_back(&mut new, old, key);
        }
    }
    if old.get("terminationGracePeriodSeconds").and_then(Value::as_i64).is_some_and(|s| s < 0) {
        put_back(&mut new, old, "terminationGracePeriodSeconds");
    }
    new
}

fn put_back(new: &mut Value, old: &Value, key: &str) {
    match old.get(key) {
        Some(value) => new[key] = value.clone(),
        None => {
            remove(new, key);
        }
    }
}

/// The rules for a change of a pod's ephemeral containers: they are only ever added.
pub(super) fn update_ephemeral(new: &At<'_>, old: &At<'_>, errors: &mut Errors) {
    let (now, then) = (new.at("spec.ephemeralContainers"), old.at("spec.ephemeralContainers"));
    pod_spec(&new.get("spec"), errors);
    for container in then.items() {
        let name = text(container.value, "name");
        match now.items().find(|c| text(c.value, "name") == name) {
            None => now.forbidden(&format!("existing ephemeral containers {name:?} may not be removed\n"), errors),
            Some(same) if same.value == container.value => {}
            Some(_) => now.forbidden(&format!("existing ephemeral containers {name:?} may not be changed\n"), errors),
        }
    }
}
