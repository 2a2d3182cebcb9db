//! What objects count for where a namespace's use is limited: the one rule that admission charges by and the quota controller counts by.

mod amounts;
mod scope;

use serde_json::Value;
use tricorn_meta::{Quantity, Timestamp, json};

pub use amounts::{Amounts, add, amounts, pod_total};
pub use scope::matches;

/// Core resources that have a quota name without the `count/` prefix.
const PLAIN: [&str; 7] =
    ["configmaps", "persistentvolumeclaims", "pods", "replicationcontrollers", "resourcequotas", "secrets", "services"];

/// Between the name of a storage class and what of it is limited.
const OF_CLASS: &str = ".storageclass.storage.k8s.io/";

/// What a pod can be limited in by name; anything else it may ask for is told by its form.
const COMPUTE: [&str; 3] = ["cpu", "memory", "ephemeral-storage"];

/// The resource (group and plural) whose objects a name in a quota is about; `None` if no object can count for it.
pub fn counted_in(name: &str) -> Option<(&str, &str)> {
    if let Some(resource) = name.strip_prefix("count/") {
        let (plural, group) = resource.split_once('.').unwrap_or((resource, ""));
        return Some((group, plural));
    }
    if PLAIN.contains(&name) {
        return Some(("", name));
    }
    let asked = name.strip_prefix("requests.");
    let is_compute = |name: &str| COMPUTE.contains(&name) || name.starts_with("hugepages-");
    match name {
        "services.nodeports" | "services.loadbalancers" => Some(("", "services")),
        "requests.storage" => Some(("", "persistentvolumeclaims")),
        _ if name.contains(OF_CLASS) => Some(("", "persistentvolumeclaims")),
        _ if is_compute(asked.unwrap_or(name)) || name.strip_prefix("limits.").is_some_and(|limit| COMPUTE.contains(&limit)) => {
            Some(("", "pods"))
        }
        _ if asked.is_some_and(is_extended) => Some(("", "pods")),
        _ => None,
    }
}

/// Whether objects of the resource count for nothing but themselves, so that nobody needs to look into them.
pub fn is_only_counted(group: &str, plural: &str) -> bool {
    !(group.is_empty() && matches!(plural, "pods" | "services" | "persistentvolumeclaims"))
}

/// Names with a domain that is not the cluster's own: devices and the like.
fn is_extended(name: &str) -> bool {
    name.contains('/') && !name.contains("kubernetes.io/") || name.starts_with("deviceclass.resource.kubernetes.io/")
}

fn things(number: usize) -> Quantity {
    Quantity::from_integer(i64::try_from(number).unwrap_or(i64::MAX))
}

/// What one object of the resource counts for, by the names that quotas have for it; nothing for a null one. A pod that should have been gone by
/// `now` counts as little as one that has ended.
pub fn usage(group: &str, plural: &str, object: &Value, now: Option<Timestamp>) -> Amounts {
    let mut usage = Amounts::new();
    if object.is_null() {
        return usage;
    }
    let name = if group.is_empty() { plural.to_owned() } else { format!("{plural}.{group}") };
    usage.insert(format!("count/{name}"), things(1));
    match (group, plural) {
        // An ended pod is still an object, and runs no more.
        ("", "pods") if !has_ended(object) && !is_overdue(object, now) => {
            usage.insert(name, things(1));
            compute(&pod_total(object, "requests"), &pod_total(object, "limits"), &mut usage);
        }
        ("", "services") => service(object, &mut usage),
        ("", "persistentvolumeclaims") => claim(object, &mut usage),
        _ => {}
    }
    if group.is_empty() && plural != "pods" && PLAIN.contains(&plural) {
        usage.insert(plural.to_owned(), things(1));
    }
    usage
}

fn has_ended(pod: &Value) -> bool {
    matches!(json::text(pod, "status.phase"), "Succeeded" | "Failed")
}

/// When a deleted pod stops counting, whether or not its node has said that it is gone.
pub fn overdue_at(pod: &Value) -> Option<Timestamp> {
    let deleted = Timestamp::parse(json::text(pod, "metadata.deletionTimestamp"))?;
    Some(deleted.plus_seconds(json::int(pod, "metadata.deletionGracePeriodSeconds")?))
}

fn is_overdue(pod: &Value, now: Option<Timestamp>) -> bool {
    now.is_some_and(|now| overdue_at(pod).is_some_and(|at| at < now))
}

/// Quota names for requests and limits.
fn compute(requests: &Amounts, limits: &Amounts, usage: &mut Amounts) {
    for (name, amount) in requests {
        let is_compute = COMPUTE.contains(&name.as_str()) || name.starts_with("hugepages-");
        if is_compute {
            usage.insert(name.clone(), *amount);
        }
        if is_compute || is_extended(name) {
            usage.insert(format!("requests.{name}"), *amount);
        }
    }
    for name in COMPUTE {
        if let Some(amount) = limits.get(name) {
            usage.insert(format!("limits.{name}"), *amount);
        }
    }
}

/// The quota names that a container, or a pod as a whole, says an amount for. `of` is where its `resources` are.
pub fn computed(of: &Value) -> Amounts {
    let mut usage = Amounts::new();
    compute(&amounts(of.pointer("/resources/requests")), &amounts(of.pointer("/resources/limits")), &mut usage);
    usage
}

fn service(service: &Value, usage: &mut Amounts) {
    let ports = json::list(service, "spec.ports");
    let allocates = service.pointer("/spec/allocateLoadBalancerNodePorts").and_then(Value::as_bool).unwrap_or(true);
    let with_node_port = || ports.iter().filter(|p| p.get("nodePort").and_then(Value::as_u64).is_some_and(|n| n != 0)).count();
    let kind = json::text(service, "spec.type");
    let node_ports = match kind {
        "NodePort" => ports.len(),
        "LoadBalancer" if allocates => ports.len(),
        "LoadBalancer" => with_node_port(),
        _ => 0,
    };
    usage.insert("services.nodeports".into(), things(node_ports));
    usage.insert("services.loadbalancers".into(), things(usize::from(kind == "LoadBalancer")));
}

fn claim(claim: &Value, usage: &mut Amounts) {
    const OLD_CLASS: &str = "volume.beta.kubernetes.io/storage-class";
    let annotated = claim.pointer("/metadata/annotations").and_then(|a| a.get(OLD_CLASS));
    let class = annotated.or_else(|| claim.pointer("/spec/storageClassName")).and_then(Value::as_str).unwrap_or_default();
    let of = |path: &str| amounts(claim.pointer(path)).get("storage").copied();
    // A volume that is being made larger counts for what it has got already, if that is more than is asked for now.
    let storage = of("/spec/resources/requests").map(|asked| match of("/status/allocatedResources") {
        Some(has) if has > asked => has,
        _ => asked,
    });
    let storage = storage.map(amounts::whole_bytes);
    if let Some(storage) = storage {
        usage.insert("requests.storage".into(), storage);
    }
    if !class.is_empty() {
        usage.insert(format!("{class}{OF_CLASS}persistentvolumeclaims"), things(1));
        if let Some(storage) = storage {
            usage.insert(format!("{class}{OF_CLASS}requests.storage"), storage);
        }
    }
}

#[cfg(test)]
mod tests;
