//! A container's environment: literal values, references to other objects and to the pod itself, expansion of
//! `$(NAME)`, and the variables that tell of Services. Pure: objects that are referred to are looked up by the caller.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{Container, EnvVar, Pod, Service};

use super::resources;
use super::spec;

/// Objects that an environment refers to: data of ConfigMaps and Secrets by name, as text. None stands for one that
/// does not exist.
#[derive(Debug, Default, Clone)]
pub struct Sources {
    /// ConfigMaps by name.
    pub config_maps: BTreeMap<String, Option<BTreeMap<String, String>>>,
    /// Secrets by name.
    pub secrets: BTreeMap<String, Option<BTreeMap<String, String>>>,
}

/// Facts about the node and the pod that fields may name.
#[derive(Debug, Clone)]
pub struct Facts {
    /// The pod's addresses.
    pub pod_ips: Vec<String>,
    /// The node's address.
    pub host_ip: String,
    /// Allocatable processors, thousandths.
    pub node_milli_cpu: i64,
    /// Allocatable memory, bytes.
    pub node_memory_bytes: i64,
    /// Allocatable ephemeral storage, bytes.
    pub node_storage_bytes: i64,
}

/// The names of ConfigMaps and Secrets that a container's environment needs.
pub fn references(container: &Container) -> (Vec<String>, Vec<String>) {
    let mut config_maps = Vec::new();
    let mut secrets = Vec::new();
    for from in container.env_from.iter().flatten() {
        config_maps.extend(from.config_map_ref.as_ref().map(|reference| reference.name.clone()));
        secrets.extend(from.secret_ref.as_ref().map(|reference| reference.name.clone()));
    }
    for source in container.env.iter().flatten().filter_map(|variable| variable.value_from.as_ref()) {
        config_maps.extend(source.config_map_key_ref.as_ref().map(|reference| reference.name.clone()));
        secrets.extend(source.secret_key_ref.as_ref().map(|reference| reference.name.clone()));
    }
    (config_maps, secrets)
}

/// Makes the environment, or says why it cannot be made (CreateContainerConfigError).
pub fn environment(
    pod: &Pod,
    container: &Container,
    sources: &Sources,
    facts: &Facts,
    services: &[(String, String)],
) -> Result<Vec<(String, String)>, String> {
    let mut known: BTreeMap<String, String> = BTreeMap::new();
    let mut order: Vec<String> = Vec::new();
    let mut set = |known: &mut BTreeMap<String, String>, name: String, value: String| {
        if known.insert(name.clone(), value).is_none() {
            order.push(name);
        }
    };
    for (name, value) in services {
        set(&mut known, name.clone(), value.clone());
    }
    for from in container.env_from.iter().flatten() {
        let prefix = from.prefix.clone().unwrap_or_default();
        let (kind, name, optional, data) = if let Some(reference) = &from.config_map_ref {
            ("configmap", &reference.name, reference.optional, sources.config_maps.get(&reference.name))
        } else if let Some(reference) = &from.secret_ref {
            ("secret", &reference.name, reference.optional, sources.secrets.get(&reference.name))
        } else {
            continue;
        };
        match data.and_then(Option::as_ref) {
            Some(data) => data.iter().for_each(|(key, value)| set(&mut known, format!("{prefix}{key}"), value.clone())),
            None if optional == Some(true) => {}
            None => return Err(format!("{kind} \"{name}\" not found")),
        }
    }
    for variable in container.env.iter().flatten() {
        if let Some(value) = value(pod, container, variable, &known, sources, facts)? {
            set(&mut known, variable.name.clone(), value);
        }
    }
    Ok(order.into_iter().map(|name| (name.clone(), known.remove(&name).unwrap_or_default())).collect())
}

fn value(
    pod: &Pod,
    container: &Container,
    variable: &EnvVar,
    known: &BTreeMap<String, String>,
    sources: &Sources,
    facts: &Facts,
) -> Result<Option<String>, String> {
    let Some(from) = &variable.value_from else {
        return Ok(Some(expand(variable.value.as_deref().unwrap_or_default(), known)));
    };
    if let Some(reference) = &from.field_ref {
        return field(pod, &reference.field_path, facts).map(Some);
    }
    if let Some(reference) = &from.resource_field_ref {
        let target = match &reference.container_name {
            Some(name) => spec::members(pod).into_iter().map(|member| member.container).find(|other| other.name == *name),
            None => Some(container.clone()),
        };
        let target = target.ok_or_else(|| "container not found".to_owned())?;
        return resource(&target, &reference.resource, reference.divisor.as_ref().map(resources::milli), facts).map(Some);
    }
    let (kind, name, key, optional, data) = if let Some(reference) = &from.config_map_key_ref {
        ("configmap", &reference.name, &reference.key, reference.optional, sources.config_maps.get(&reference.name))
    } else if let Some(reference) = &from.secret_key_ref {
        ("secret", &reference.name, &reference.key, reference.optional, sources.secrets.get(&reference.name))
    } else {
        return Err(format!("environment variable {}: this kind of source is not implemented", variable.name));
    };
    let found = data.and_then(Option::as_ref);
    match (found.map(|data| data.get(key)), optional) {
        (Some(Some(value)), _) => Ok(Some(value.clone())),
        (_, Some(true)) => Ok(None),
        (Some(None), _) => {
            let kind = if kind == "configmap" { "ConfigMap" } else { "Secret" };
            Err(format!("couldn't find key {key} in {kind} {}/{name}", spec::namespace(pod)))
        }
        (None, _) => Err(format!("{kind} \"{name}\" not found")),
    }
}

/// A field of the pod, by the paths that the downward API knows.
pub fn field(pod: &Pod, path: &str, facts: &Facts) -> Result<String, String> {
    let lines = |map: &Option<BTreeMap<String, String>>| {
        map.iter().flatten().map(|(key, value)| format!("{key}={}", serde_json::Value::from(value.as_str()))).collect::<Vec<_>>().join("\n")
    };
    let entry = |map: &Option<BTreeMap<String, String>>, key: &str| {
        map.as_ref().and_then(|map| map.get(key.trim_end_matches(']').trim_matches('\'').trim_matches('"'))).cloned().unwrap_or_default()
    };
    let metadata = &pod.metadata;
    let pod_spec = pod.spec.clone().unwrap_or_default();
    Ok(match path {
        "metadata.name" => spec::name(pod).to_owned(),
        "metadata.namespace" => spec::namespace(pod).to_owned(),
        "metadata.uid" => spec::uid(pod).to_owned(),
        "metadata.labels" => lines(&metadata.labels),
        "metadata.annotations" => lines(&metadata.annotations),
        "spec.nodeName" => pod_spec.node_name.unwrap_or_default(),
        "spec.serviceAccountName" => pod_spec.service_account_name.unwrap_or_default(),
        "status.hostIP" | "status.hostIPs" => facts.host_ip.clone(),
        "status.podIP" => facts.pod_ips.first().cloned().unwrap_or_default(),
        "status.podIPs" => facts.pod_ips.join(","),
        _ => {
            if let Some(key) = path.strip_prefix("metadata.labels[") {
                entry(&metadata.labels, key)
            } else if let Some(key) = path.strip_prefix("metadata.annotations[") {
                entry(&metadata.annotations, key)
            } else {
                return Err(format!("unsupported fieldPath: {path}"));
            }
        }
    })
}

/// A container's request or limit in units of the divisor (thousandths; none is 1).
pub fn resource(container: &Container, path: &str, divisor_milli: Option<i64>, facts: &Facts) -> Result<String, String> {
    let (kind, name) = path.split_once('.').ok_or_else(|| format!("unsupported container resource: {path}"))?;
    let default = match name {
        "cpu" => facts.node_milli_cpu,
        "memory" => facts.node_memory_bytes.saturating_mul(1000),
        "ephemeral-storage" => facts.node_storage_bytes.saturating_mul(1000),
        _ => 0,
    };
    let value = match kind {
        "limits" => resources::limit(container, name).map(resources::milli).filter(|value| *value > 0).unwrap_or(default),
        "requests" => resources::request(container, name).map(resources::milli).unwrap_or_default(),
        _ => return Err(format!("unsupported container resource: {path}")),
    };
    let divisor = divisor_milli.filter(|divisor| *divisor > 0).unwrap_or(1000);
    Ok((value / divisor + i64::from(value % divisor > 0)).to_string())
}

/// Replaces `$(NAME)` by known values; `$$` is a dollar sign; unknown names stay as they are.
pub fn expand(text: &str, known: &BTreeMap<String, String>) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('$') {
        out.push_str(&rest[..at]);
        rest = &rest[at + 1..];
        if let Some(after) = rest.strip_prefix('$') {
            out.push('$');
            rest = after;
        } else if let Some((name, after)) = rest.strip_prefix('(').and_then(|inner| inner.split_once(')')) {
            match known.get(name) {
                Some(value) => out.push_str(value),
                None => {
                    out.push_str("$(");
                    out.push_str(name);
                    out.push(')');
                }
            }
            rest = after;
        } else {
            out.push('$');
        }
    }
    out.push_str(rest);
    out
}

/// The variables that tell of Services: those of the pod's namespace when it wants links, `kubernetes` of the default
/// namespace always.
pub fn service_variables<'a>(services: impl Iterator<Item = &'a Service>, namespace: &str, links: bool) -> Vec<(String, String)> {
    let mut variables = BTreeMap::new();
    let mut chosen: Vec<&Service> = services
        .filter(|service| {
            let own = service.metadata.namespace.as_deref().unwrap_or_default();
            let master = own == "default" && service.metadata.name.as_deref() == Some("kubernetes");
            master || (links && own == namespace)
        })
        .collect();
    // The namespace's own service wins over the master's of the same name.
    chosen.sort_by_key(|service| service.metadata.namespace.as_deref() == Some(namespace));
    for service in chosen {
        let Some(spec) = &service.spec else { continue };
        let Some(address) = spec.cluster_ip.as_deref().filter(|address| !address.is_empty() && *address != "None") else { continue };
        let Some(first) = spec.ports.iter().flatten().next() else { continue };
        let name = service.metadata.name.as_deref().unwrap_or_default().to_ascii_uppercase().replace('-', "_");
        variables.insert(format!("{name}_SERVICE_HOST"), address.to_owned());
        variables.insert(format!("{name}_SERVICE_PORT"), first.port.to_string());
        for (position, port) in spec.ports.iter().flatten().enumerate() {
            let protocol = port.protocol.clone().unwrap_or_else(|| "TCP".into());
            let url = format!("{}://{address}:{}", protocol.to_ascii_lowercase(), port.port);
            let prefix = format!("{name}_PORT_{}_{}", port.port, protocol.to_ascii_uppercase());
            if let Some(port_name) = port.name.as_deref().filter(|name| !name.is_empty()) {
                variables
                    .insert(format!("{name}_SERVICE_PORT_{}", port_name.to_ascii_uppercase().replace('-', "_")), port.port.to_string());
            }
            if position == 0 {
                variables.insert(format!("{name}_PORT"), url.clone());
            }
            variables.insert(prefix.clone(), url);
            variables.insert(format!("{prefix}_PROTO"), protocol.to_ascii_lowercase());
            variables.insert(format!("{prefix}_PORT"), port.port.to_string());
            variables.insert(format!("{prefix}_ADDR"), address.to_owned());
        }
    }
    variables.into_iter().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn references_expand_and_doubled_dollars_do_not() {
        let known = BTreeMap::from([("A".to_owned(), "1".to_owned())]);
        for (text, expanded) in [("$(A)-$(B)", "1-$(B)"), ("$$(A)", "$(A)"), ("a$", "a$"), ("$(A", "$(A"), ("x$(A)$(A)", "x11")] {
            assert_eq!(expand(text, &known), expanded);
        }
    }
}
