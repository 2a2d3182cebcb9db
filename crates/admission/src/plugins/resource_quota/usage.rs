//! What one object uses of each resource that a quota can name.

use std::collections::BTreeMap;

use serde_json::Value;

use super::{Amounts, amounts};
use crate::Request;
use crate::plugins::limit_ranger::{count, pod_total};

/// Resources that each container must name once a quota does.
const CONSTRAINED: &[&str] = &["cpu", "limits.cpu", "limits.memory", "memory", "requests.cpu", "requests.memory"];

/// Core resources that have a quota name without the `count/` prefix.
const PLAIN: &[&str] = &["configmaps", "persistentvolumeclaims", "pods", "replicationcontrollers", "resourcequotas", "secrets", "services"];

/// Usage of an object of the request's resource.
pub(super) fn of(request: &Request<'_>, object: &Value) -> Amounts {
    let resource = &request.resource;
    let mut usage = Amounts::new();
    if object.is_null() {
        return usage;
    }
    let core = resource.group.is_empty();
    if core
        && resource.resource == "pods"
        && matches!(object.pointer("/status/phase").and_then(Value::as_str), Some("Succeeded" | "Failed"))
    {
        return usage;
    }
    usage.insert(format!("count/{}", resource.group_resource()), count(1));
    if core && PLAIN.contains(&resource.resource.as_str()) {
        usage.insert(resource.resource.clone(), count(1));
    }
    match (core, resource.resource.as_str()) {
        (true, "pods") => compute(&pod_total(object, "requests"), &pod_total(object, "limits"), &mut usage),
        (true, "services") => service(object, &mut usage),
        (true, "persistentvolumeclaims") => claim(object, &mut usage),
        _ => {}
    }
    usage
}

/// Quota names for requests and limits.
fn compute(requests: &Amounts, limits: &Amounts, usage: &mut Amounts) {
    for (name, amount) in requests {
        match name.as_str() {
            "cpu" | "memory" | "ephemeral-storage" => {
                usage.insert(name.clone(), *amount);
                usage.insert(format!("requests.{name}"), *amount);
            }
            hugepages if hugepages.starts_with("hugepages-") => {
                usage.insert(name.clone(), *amount);
                usage.insert(format!("requests.{name}"), *amount);
            }
            extended if extended.contains('/') => {
                usage.insert(format!("requests.{name}"), *amount);
            }
            _ => {}
        }
    }
    for name in ["cpu", "memory", "ephemeral-storage"] {
        if let Some(amount) = limits.get(name) {
            usage.insert(format!("limits.{name}"), *amount);
        }
    }
}

fn service(service: &Value, usage: &mut Amounts) {
    let kind = service.pointer("/spec/type").and_then(Value::as_str).unwrap_or("ClusterIP");
    let ports = service.pointer("/spec/ports").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    let allocates = service.pointer("/spec/allocateLoadBalancerNodePorts").and_then(Value::as_bool).unwrap_or(true);
    let with_node_port = || ports.iter().filter(|p| p.get("nodePort").and_then(Value::as_u64).is_some_and(|n| n != 0)).count();
    let node_ports = match kind {
        "NodePort" => ports.len(),
        "LoadBalancer" if allocates => ports.len(),
        "LoadBalancer" => with_node_port(),
        _ => 0,
    };
    usage.insert("services.nodeports".into(), count(node_ports));
    usage.insert("services.loadbalancers".into(), count(usize::from(kind == "LoadBalancer")));
}

fn claim(claim: &Value, usage: &mut Amounts) {
    const OLD_CLASS: &str = "volume.beta.kubernetes.io/storage-class";
    let annotated = claim.pointer("/metadata/annotations").and_then(|a| a.get(OLD_CLASS));
    let class = annotated.or_else(|| claim.pointer("/spec/storageClassName")).and_then(Value::as_str).unwrap_or_default();
    let storage = amounts(claim.pointer("/spec/resources/requests")).get("storage").copied();
    if let Some(storage) = storage {
        usage.insert("requests.storage".into(), storage);
    }
    if !class.is_empty() {
        usage.insert(format!("{class}.storageclass.storage.k8s.io/persistentvolumeclaims"), count(1));
        if let Some(storage) = storage {
            usage.insert(format!("{class}.storageclass.storage.k8s.io/requests.storage"), storage);
        }
    }
}

/// Fails if a container leaves open what the quota limits: it could not be counted.
pub(super) fn constraints(request: &Request<'_>, hard: &Amounts) -> Result<(), String> {
    if !request.is("", "pods", "") {
        return Ok(());
    }
    let required: Vec<&str> = CONSTRAINED.iter().copied().filter(|name| hard.contains_key(*name)).collect();
    if required.is_empty() {
        return Ok(());
    }
    let pod = request.new_object();
    let mut at_pod = Amounts::new();
    compute(&amounts(pod.pointer("/spec/resources/requests")), &amounts(pod.pointer("/spec/resources/limits")), &mut at_pod);
    let mut missing: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for container in
        ["/spec/containers", "/spec/initContainers"].into_iter().filter_map(|p| pod.pointer(p).and_then(Value::as_array)).flatten()
    {
        let mut own = Amounts::new();
        compute(&amounts(container.pointer("/resources/requests")), &amounts(container.pointer("/resources/limits")), &mut own);
        let name = container.get("name").and_then(Value::as_str).unwrap_or_default();
        for resource in required.iter().filter(|r| !own.contains_key(**r) && !at_pod.contains_key(**r)) {
            missing.entry(resource).or_default().push(name);
        }
    }
    if missing.is_empty() {
        return Ok(());
    }
    let told: Vec<String> = missing.into_iter().map(|(resource, names)| format!("{resource} for: {}", names.join(","))).collect();
    Err(format!("must specify {}", told.join("; ")))
}
